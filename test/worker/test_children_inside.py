"""Handlers in processes: what they may start, share and set there."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import multiprocessing
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import torrelque
from support.bounding import Bound
from torrelque import Torrelque, TorrelqueTaskState, TorrelqueTaskStatus as Status
from torrelque.worker import ChildDelivery, Worker
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.process import Process

if sys.platform != 'linux':
    pytest.skip('of Linux: /proc', allow_module_level=True)

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = [pytest.mark.one_server, pytest.mark.long]

HANDLERS: dict[str, Callable[..., Any]] = {}

T = TypeVar('T', bound=Callable[..., Any])


def handler(function: T) -> T:
    HANDLERS[function.__name__] = function
    return function


def handle(delivery: Any) -> Any:
    """The handler of all tests, in a process or a thread: what a task names."""
    name, *rest = delivery.task
    return HANDLERS[name](delivery, *rest)


async def attempt(queue: Torrelque, *task: Any, **options: Any) -> TorrelqueTaskState:
    """What becomes of a task of one attempt in a worker of its own."""
    task_id = await queue.enqueue([*task], max_attempts=1)
    await Worker(queue, handle, **{'run_in': 'process', 'burst': True, **options}).run()
    return await queue.get_task_state(task_id)


# Killed while it has nothing to do


@handler
def answer(delivery: Any, value: Any) -> Any:
    return value


@handler
def own_pid(delivery: Any) -> int:
    return os.getpid()


async def begin(worker: Worker, queue: Torrelque, task_id: str) -> Any:
    """Wait until a handler has reported something, and what."""
    while (progress := (await queue.get_task_state(task_id)).progress) is None:
        await asyncio.sleep(0.005)
    return progress


# multiprocessing


def square(number: int) -> int:
    return number * number


@handler
def pool(delivery: Any, method: str | None) -> list[int]:
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        return list(pool.map(square, [1, 2, 3]))


@handler
def executor(delivery: Any) -> list[int]:
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        return list(pool.map(square, [1, 2, 3]))


@handler
def process_and_queue(delivery: Any) -> list[int]:
    numbers: Any = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=put_squares, args=(numbers,))
    process.start()
    process.join()
    return [numbers.get() for _ in range(3)]


def put_squares(numbers: Any) -> None:
    for number in (1, 2, 3):
        numbers.put(square(number))


def semaphores() -> set[str]:
    return {name for name in os.listdir('/dev/shm') if name.startswith('sem.')}


@pytest.mark.parametrize(
    'task', [('pool', None), ('pool', 'spawn'), ('pool', 'forkserver'), ('executor',), ('process_and_queue',)], ids=str
)
async def test_a_handler_in_a_process_may_use_multiprocessing(
    queue: Torrelque, task: tuple[str, ...], capfd: pytest.CaptureFixture[str], worker_bound: Bound
) -> None:
    worker_bound(leisure=100)
    before = semaphores()
    state = await attempt(queue, *task)
    assert (state.status, state.result) == (Status.COMPLETED, [1, 4, 9]), state.error
    assert capfd.readouterr() == ('', '')
    # Those of other programs go as well.
    while not semaphores() <= before:
        await asyncio.sleep(0.005)


@handler
def hold_shared_memory(delivery: Any) -> None:
    from multiprocessing.shared_memory import SharedMemory

    memory = SharedMemory(create=True, size=1000)
    delivery.report(memory.name)
    time.sleep(600)


async def test_what_a_killed_process_shared_is_cleared_away(queue: Torrelque, worker_bound: Bound) -> None:
    worker_bound(group_grace=100)
    task_id = await queue.enqueue(['hold_shared_memory'])
    async with Worker(queue, handle, run_in='process', concurrency=1, shutdown_timeout=0) as worker:
        name = await begin(worker, queue, task_id)
        assert name in os.listdir('/dev/shm')
    while name in os.listdir('/dev/shm'):
        await asyncio.sleep(0.005)


@handler
def register(delivery: Any, path: str) -> None:
    def end() -> None:
        time.sleep(0.5)
        Path(path).touch()

    atexit.register(end)


async def test_an_idle_process_ends_in_its_own_way(queue: Torrelque, tmp_path: Path, worker_bound: Bound) -> None:
    worker_bound(leisure=100)
    await queue.enqueue(['register', str(tmp_path / 'ended')])
    await Worker(queue, handle, run_in='process', burst=True).run()
    assert os.listdir(tmp_path) == ['ended']


# The process itself


def ask(process: Process) -> Any:
    process.pipe.send_bytes(pickle.dumps((handle, torrelque.TorrelqueTaskId('a'), ['answer', 5])))
    return pickle.loads(process.pipe.recv_bytes()[1:])[1]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_process_is_deaf_from_its_birth(number: signal.Signals) -> None:
    process = Process(BOUNDS)
    try:
        pid = process._process.pid
        # While its interpreter starts.
        os.kill(pid, number)
        assert ask(process) == 5
        os.kill(pid, number)
        assert ask(process) == 5
    finally:
        process.kill()
        process.join()
    assert process.exit_code == -signal.SIGKILL


@handler
def signals_of_programs(delivery: Any) -> list[str]:
    text = subprocess.run(['cat', '/proc/self/status'], check=True, capture_output=True, text=True).stdout
    masks = [line.split()[1] for line in text.splitlines() if line.startswith(('SigBlk', 'SigIgn'))]
    return [hex(int(mask, 16) & sum(1 << number - 1 for number in (1, 2, 3, 15))) for mask in masks]


@handler
def end_forks(delivery: Any) -> list[int | None]:
    codes: list[int | None] = []
    for _ in range(50):
        process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))
        process.start()
        # Perhaps before it has taken its first step.
        process.terminate()
        process.join()
        codes.append(process.exitcode)
    return codes


async def test_what_a_process_starts_hears_signals(queue: Torrelque) -> None:
    state = await attempt(queue, 'signals_of_programs')
    assert state.result == ['0x0', '0x0']
    state = await attempt(queue, 'end_forks', timeout=200)
    assert state.result == [-signal.SIGTERM] * 50


@handler
def set_handlers(delivery: Any) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    return os.getpid()


async def test_a_handler_that_sets_signal_handlers_has_them_for_itself(queue: Torrelque) -> None:
    ids = [await queue.enqueue(['set_handlers'])]
    async with Worker(queue, handle, run_in='process', concurrency=1):
        pid = (await queue.wait(ids[0], timeout=200)).result
        os.kill(pid, signal.SIGTERM)
        state = await queue.wait(await queue.enqueue(['own_pid']), timeout=200)
    assert state.result == pid


def fork_and_return(delivery: ChildDelivery) -> Any:
    if delivery.task == 'fork' and os.fork() == 0:
        os.execvp('no-such-program', ['no-such-program'])  # fails, and the fork comes back from here
    return f'the answer of {delivery.task}'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there are no forks')
async def test_a_fork_that_comes_back_answers_nobody(queue: Torrelque) -> None:
    ids = [await queue.enqueue(what, max_attempts=1) for what in ('fork', 'two', 'three')]
    await Worker(queue, fork_and_return, run_in='process', concurrency=1, burst=True, result_ttl=60).run()
    results = [(await queue.get_task_state(task_id)).result for task_id in ids]
    assert results == ['the answer of fork', 'the answer of two', 'the answer of three']
