"""Handlers in processes: how they end, what is told of it, and what they may do."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import multiprocessing
import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.bounding import Bound
from support.processes import is_alive, wait_end
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskState, TorrelqueTaskStatus as Status
from torrelque.worker import Delivery, Worker
from torrelque.worker.job import Place

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


def last_line(state: TorrelqueTaskState) -> str:
    return (state.error or '').rstrip().rpartition('\n')[2]


# What a process died of


@handler
def leave(delivery: Any, code: int) -> None:
    os._exit(code)


@handler
def end_by(delivery: Any, number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


@handler
def read_nothing(delivery: Any) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


@handler
def fork_and_die(delivery: Any) -> None:
    # It leaves the group, and holds all that was open; before it has left, it would be killed with the group.
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.setsid()
        os.write(writer, b'.')
        time.sleep(600)
        os._exit(0)
    os.read(reader, 1)
    delivery.report(pid)
    os._exit(3)


@pytest.mark.parametrize(
    ('task', 'told'),
    [
        (('leave', 7), '(exit code 7)'),
        (('end_by', signal.SIGUSR1), '(killed by SIGUSR1)'),
        (('end_by', signal.SIGKILL), '(killed by SIGKILL, which the system sends where memory runs out)'),
        (('end_by', signal.SIGRTMIN + 5), f'(killed by signal {signal.SIGRTMIN + 5})'),
        (('read_nothing',), '(killed by SIGSEGV)'),
    ],
    ids=str,
)
async def test_the_error_tells_what_a_process_died_of(queue: Torrelque, task: tuple[Any, ...], told: str) -> None:
    state = await attempt(queue, *task)
    assert state.status is Status.DEAD
    assert last_line(state) == f'torrelque.worker.child.ChildError: the process of the handler died {told}'


@handler
def count_and_die(delivery: Any, folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    os._exit(1)


async def test_a_call_that_kills_its_process_is_one_attempt(queue: Torrelque, tmp_path: Path) -> None:
    ids = await queue.enqueue_many([['answer', 1], ['count_and_die', str(tmp_path)]], max_attempts=1)
    # In a process that has worked before.
    await Worker(queue, handle, run_in='process', concurrency=1, burst=True).run()
    assert [(await queue.get_task_state(task_id)).status for task_id in ids] == [Status.COMPLETED, Status.DEAD]
    assert len(os.listdir(tmp_path)) == 1


async def test_a_death_is_noticed_though_something_that_was_forked_lives_on(queue: Torrelque) -> None:
    state = await asyncio.wait_for(attempt(queue, 'fork_and_die'), 200)
    os.kill(state.progress, signal.SIGKILL)
    assert '(exit code 3)' in last_line(state)


async def test_a_process_that_cannot_be_started_is_a_failure(queue: Torrelque) -> None:
    await attempt(queue, 'answer', 1)
    before = {*os.listdir('/proc/self/fd')}
    executable = multiprocessing.spawn.get_executable()
    multiprocessing.spawn.set_executable('/no/such/python')
    try:
        state = await attempt(queue, 'answer', 1)
    finally:
        multiprocessing.spawn.set_executable(executable)
    assert state.status is Status.DEAD
    assert 'no process could be started for the handler: FileNotFoundError' in last_line(state)
    assert {*os.listdir('/proc/self/fd')} == before


# Killed while it has nothing to do


@handler
def answer(delivery: Any, value: Any) -> Any:
    return value


@handler
def own_pid(delivery: Any) -> int:
    return os.getpid()


async def test_a_process_that_is_killed_while_idle_costs_no_attempt(queue: Torrelque) -> None:
    ids = [await queue.enqueue(['own_pid'], max_attempts=1)]
    async with Worker(queue, handle, run_in='process', concurrency=1):
        for _ in range(3):
            pid = (await queue.wait(ids[-1], timeout=200)).result
            os.kill(pid, signal.SIGKILL)
            wait_end(pid)
            ids.append(await queue.enqueue(['own_pid'], max_attempts=1))
        await queue.wait(ids[-1], timeout=200)
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert {state.status for state in states} == {Status.COMPLETED}
    assert len({state.result for state in states}) == 4


@pytest.mark.parametrize('size', [1, 5_000_000])
async def test_a_process_that_is_killed_before_it_has_read_its_task_costs_no_attempt(
    queue: Torrelque, size: int
) -> None:
    first = await queue.enqueue(['own_pid'])
    async with Worker(queue, handle, run_in='process', concurrency=1) as worker:
        pid = (await queue.wait(first, timeout=200)).result
        os.kill(pid, signal.SIGSTOP)
        task_id = await queue.enqueue(['answer', 'x' * size], max_attempts=1)
        await until(lambda: worker.health().running)
        # It is on its way, or partly; nobody is told when.
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        state = await queue.wait(task_id, timeout=200)
    assert (state.status, len(state.result)) == (Status.COMPLETED, size)


# What ends a handler, and not the worker


@handler
def raise_kind(delivery: Any, name: str) -> None:
    raise KINDS[name]('as told')


class Odd(BaseException):
    pass


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, StopIteration, Odd)
}


@pytest.mark.parametrize('place', ['thread', 'process'])
@pytest.mark.parametrize('name', KINDS)
async def test_whatever_a_handler_raises_is_a_failed_attempt(queue: Torrelque, name: str, place: Place) -> None:
    async def in_a_task(delivery: Delivery, call_next: Callable[[Delivery], Any]) -> Any:
        # An event loop is ended by what one of its tasks raises, be it caught by another.
        return await asyncio.create_task(call_next(delivery))

    other = await queue.enqueue(['answer', 1])
    state = await attempt(queue, 'raise_kind', name, run_in=place, middleware=[in_a_task])
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert f'the handler raised {name}' in last_line(state)
    assert 'in raise_kind' in (state.error or '')
    assert (await queue.get_task_state(other)).result == 1


@handler
def run_program(delivery: Any, *command: str) -> None:
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    delivery.report(program.pid)
    program.wait()


PATIENT = 'echo ready; while :; do sleep 0.05; done'


async def begin(worker: Worker, queue: Torrelque, task_id: str) -> Any:
    """Wait until a handler has reported something, and what."""
    while (progress := (await queue.get_task_state(task_id)).progress) is None:
        await asyncio.sleep(0.005)
    return progress


@pytest.mark.parametrize('mind', ['', 'trap "" TERM; '], ids=['minds', 'ignores'])
@pytest.mark.parametrize('end', ['cancelled', 'given back'])
async def test_what_a_process_started_has_ended_before_its_task_is_settled(
    queue: Torrelque, mind: str, end: str, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    there: list[bool] = []
    requeue = queue.requeue

    async def look(*args: Any, **kwargs: Any) -> Any:
        # As dead as it may be, it is there until its parent has asked for it.
        there.append(is_alive(pid))
        return await requeue(*args, **kwargs)

    monkeypatch.setattr(queue, 'requeue', look)
    worker_bound(killed=100)
    task_id = await queue.enqueue(['run_program', 'sh', '-c', mind + PATIENT])
    async with Worker(queue, handle, run_in='process', concurrency=1, shutdown_timeout=0) as worker:
        pid = await begin(worker, queue, task_id)
        if end == 'cancelled':
            await queue.cancel(task_id)
            await until(lambda: not worker.health().running)
    assert there == [False]


async def test_what_a_process_started_may_clear_up(queue: Torrelque, tmp_path: Path, worker_bound: Bound) -> None:
    worker_bound(group_grace=100)
    command = f'trap "sleep 0.1; touch {tmp_path}/clear; exit" TERM; {PATIENT}'
    task_id = await queue.enqueue(['run_program', 'sh', '-c', command])
    async with Worker(queue, handle, run_in='process', concurrency=1, shutdown_timeout=0) as worker:
        await begin(worker, queue, task_id)
    assert os.listdir(tmp_path) == ['clear']


# Silence


@handler
def sleep(delivery: Any, seconds: float) -> None:
    time.sleep(seconds)
    raise ValueError('late')


@pytest.mark.one_server
@pytest.mark.parametrize('place', ['thread', 'process'])
async def test_nothing_is_said_of_what_nobody_waits_for_any_more(
    queue: Torrelque, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, 'asyncio')
    state = await attempt(queue, 'sleep', 3 if place == 'thread' else 600, run_in=place, timeout=1)
    assert 'the time limit of 1 s is over' in last_line(state)
    cancelled = await queue.enqueue(['sleep', 3])
    async with Worker(queue, handle, run_in=place, shutdown_timeout=0) as worker:
        await until(lambda: worker.health().running)
        await queue.cancel(cancelled)
        await until(lambda: not worker.health().running)
        await queue.enqueue(['sleep', 3])
        await until(lambda: worker.health().running)
    for _ in range(3):
        await asyncio.sleep(0.01)
        gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == 'asyncio'] == []


async def test_nothing_is_left_of_processes(queue: Torrelque) -> None:
    open_files: list[int] = []
    for _ in range(5):
        for task in (['leave', 1], ['sleep', 600], ['answer', 1]):
            await attempt(queue, *task, timeout=1)
        open_files.append(len(os.listdir('/proc/self/fd')))
    # Connections to the server come and go.
    assert open_files[-1] < open_files[0] + 4
    while [thread for thread in threading.enumerate() if thread.name.startswith('torrelque-child')]:
        await asyncio.sleep(0.005)
