"""Handlers in processes: how they end, what is told of it, and what they may do."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import ctypes
import gc
import logging
import multiprocessing
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

import torrelque
from support.processes import is_alive, wait_end
from support.waiting import until
from torrelque import Torrelque, TorrelqueServerError, TorrelqueTaskState, TorrelqueTaskStatus as Status
from torrelque.worker import ChildDelivery, Delivery, Worker
from torrelque.worker.job import Place
from torrelque.worker.process import Process

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

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
    # It leaves the group, and holds all that was open.
    if not (pid := os.fork()):
        os.setsid()
        time.sleep(600)
        os._exit(0)
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
    queue: Torrelque, mind: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []
    requeue = queue.requeue

    async def look(*args: Any, **kwargs: Any) -> Any:
        # As dead as it may be, it is there until its parent has asked for it.
        there.append(is_alive(pid))
        return await requeue(*args, **kwargs)

    monkeypatch.setattr(queue, 'requeue', look)
    monkeypatch.setattr('torrelque.worker.children.PATIENCE', 100)
    task_id = await queue.enqueue(['run_program', 'sh', '-c', mind + PATIENT])
    async with Worker(queue, handle, run_in='process', concurrency=1, shutdown_timeout=0) as worker:
        pid = await begin(worker, queue, task_id)
        if end == 'cancelled':
            await queue.cancel(task_id)
            await until(lambda: not worker.health().running)
    assert there == [False]


async def test_what_a_process_started_may_clear_up(
    queue: Torrelque, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.group.GRACE', 100)
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


# What is sent, there and back


class NoWay:
    """It cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError('not for others')


class OneWay:
    """It can be pickled, and be read in no other process."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def __reduce__(self) -> Any:
        return restore, (os.getpid(),)


def restore(pid: int) -> OneWay:
    if pid != os.getpid():
        raise RuntimeError('too far from home')
    return OneWay()


class NoWayError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit('not even so')


class NoError(Exception):
    def __reduce__(self) -> Any:
        return str, ('no exception',)


@handler
def raise_one(delivery: Any, name: str) -> None:
    raise {'NoWayError': NoWayError, 'NoError': NoError}[name]('something else')


@handler
def return_one(delivery: Any, name: str) -> Any:
    return {'NoWay': NoWay, 'OneWay': OneWay}[name]()


@handler
def report(delivery: Any, what: str) -> Any:
    progress: Any = {'NoWay': NoWay(), 'OneWay': OneWay(), 'set': {1}, 'text': 'half', 'refused': 'refused'}[what]
    try:
        return delivery.report(progress)
    except Exception as exc:
        # It can go on.
        return [type(exc).__name__, str(exc), delivery.report('after')]


class Odds:
    """A serialiser that brings what is no JSON."""

    def dumps(self, value: Any) -> bytes:
        return str(value).encode()

    def loads(self, data: bytes) -> Any:
        return {'NoWay': NoWay, 'OneWay': OneWay}[data.decode()]()


@pytest.mark.parametrize(
    ('task', 'told'),
    [
        (('return_one', 'NoWay'), 'Reject: the result cannot be pickled: TypeError: not for others'),
        (('return_one', 'OneWay'), 'Reject: the result cannot be read: RuntimeError: too far from home'),
        (('raise_one', 'NoWayError'), 'ChildError: test_children.NoWayError: something else'),
        (('raise_one', 'NoError'), 'ChildError: test_children.NoError: something else'),
    ],
    ids=str,
)
async def test_what_cannot_be_sent_back_is_told(queue: Torrelque, task: tuple[str, ...], told: str) -> None:
    task_id = await queue.enqueue([*task], max_attempts=None if 'return' in task[0] else 1)
    # In the same process.
    pids = [await queue.enqueue(['own_pid'])]
    await Worker(queue, handle, run_in='process', burst=True, concurrency=1).run()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert last_line(state).endswith(f'.{told}')
    assert (await queue.get_task_state(pids[0])).status is Status.COMPLETED


@pytest.mark.parametrize(
    ('name', 'told'),
    [
        ('NoWay', 'the task cannot be pickled: TypeError: not for others'),
        ('OneWay', 'the handler, or its task, cannot be loaded in a process: RuntimeError: too far from home'),
    ],
)
async def test_a_task_that_no_process_can_have_is_dead_at_once(
    queue: Torrelque, client: Any, name: str, told: str
) -> None:
    async with Torrelque(client, queue=queue.name, serialiser=Odds()) as odd:
        task_id = await odd.enqueue(name)
        await Worker(odd, handle, run_in='process', burst=True).run()
        state = await odd.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert last_line(state) == f'torrelque.worker.retry.Reject: {told}'


@pytest.mark.parametrize('place', ['thread', 'process'])
@pytest.mark.parametrize(
    ('what', 'kind', 'told'),
    [
        ('NoWay', 'TypeError', 'not for others'),
        ('OneWay', 'RuntimeError', 'too far from home'),
        ('set', 'TorrelqueTypeError', ''),
        ('refused', 'TorrelqueServerError', 'ERR too much'),
    ],
)
async def test_a_progress_that_is_refused_is_raised_in_the_handler(
    queue: Torrelque, place: Place, what: str, kind: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = queue.touch

    async def refuse(*args: Any, **kwargs: Any) -> bool:
        if kwargs.get('progress') == 'refused':
            raise TorrelqueServerError('ERR too much')
        return await touch(*args, **kwargs)

    monkeypatch.setattr(queue, 'touch', refuse)
    state = await attempt(queue, 'report', what, run_in=place)
    assert (state.status, state.progress) == (Status.COMPLETED, 'after')
    if place == 'process' or what in ('set', 'refused'):
        assert (state.result[0], state.result[2]) == (kind, True) and told in state.result[1]


@handler
def report_oddly(delivery: Any) -> Any:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        fine = [*pool.map(delivery.report, range(40))]
    reader, writer = os.pipe()
    if not os.fork():
        try:
            delivery.report('from a fork')
        except BaseException as exc:
            os.write(writer, type(exc).__name__.encode())
        os._exit(0)
    os.close(writer)
    kept.append(delivery)
    return [all(fine), os.read(reader, 100).decode()]


@handler
def report_late(delivery: Any) -> Any:
    return kept[0].report('late')


kept: list[ChildDelivery] = []


async def test_reports_come_from_threads_and_not_from_forks_nor_too_late(queue: Torrelque) -> None:
    ids = await queue.enqueue_many([['report_oddly'], ['report_late']])
    await Worker(queue, handle, run_in='process', concurrency=1, burst=True).run()
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert [state.result for state in states] == [[True, 'ChildError'], False]
    assert [state.progress for state in states][1] is None


@handler
def interrupt_a_report(delivery: Any, path: str) -> Any:
    def interrupt(number: int, frame: Any) -> None:
        Path(path).touch()
        raise InterruptedError('by a clock')

    signal.signal(signal.SIGALRM, interrupt)
    try:
        delivery.report(os.getpid())
    except InterruptedError:
        return os.getpid()


async def test_a_report_that_is_interrupted_is_not_the_next_task(
    queue: Torrelque, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = queue.touch

    async def interrupt(*args: Any, **kwargs: Any) -> bool:
        os.kill(kwargs['progress'], signal.SIGALRM)
        await until(lambda: os.listdir(tmp_path))
        return await touch(*args, **kwargs)

    monkeypatch.setattr(queue, 'touch', interrupt)
    tasks = [['interrupt_a_report', str(tmp_path / 'interrupted')], ['own_pid']]
    ids = await queue.enqueue_many(tasks, max_attempts=1)
    await Worker(queue, handle, run_in='process', concurrency=1, burst=True).run()
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert [state.status for state in states] == [Status.COMPLETED] * 2
    assert states[0].result != states[1].result


# What cannot be loaded


class Absent:
    """The name of a handler that is in this process only."""

    def __init__(self, error: str) -> None:
        self.error = error

    def __call__(self, delivery: Any) -> None: ...

    def __reduce__(self) -> Any:
        return fail, (self.error, os.getpid())


def fail(error: str, pid: int) -> Any:
    if pid == os.getpid():
        return Absent(error)
    raise pickle.loads(bytes.fromhex(error))


@pytest.mark.parametrize(
    ('error', 'dead'),
    [(RuntimeError('call setup() first'), True), (SystemExit(3), True), (ConnectionError('no database'), False)],
    ids=repr,
)
async def test_a_handler_that_cannot_be_imported_is_told_and_not_tried_for_ever(
    queue: Torrelque, error: BaseException, dead: bool
) -> None:
    task_id = await queue.enqueue(1, max_attempts=3)
    await Worker(queue, Absent(pickle.dumps(error).hex()), run_in='process', retry=0, burst=True).run()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1 if dead else 3)
    text = ''.join(str(part) for part in error.args)
    assert last_line(state).endswith(f'{type(error).__name__}: {text}')
    assert 'in fail' in (state.error or '')


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
    queue: Torrelque, task: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.process.LEISURE', 100)
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


async def test_what_a_killed_process_shared_is_cleared_away(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.group.GRACE', 100)
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


async def test_an_idle_process_ends_in_its_own_way(
    queue: Torrelque, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.worker.process.LEISURE', 100)
    await queue.enqueue(['register', str(tmp_path / 'ended')])
    await Worker(queue, handle, run_in='process', burst=True).run()
    assert os.listdir(tmp_path) == ['ended']


# The process itself


def ask(process: Process) -> Any:
    process.pipe.send_bytes(pickle.dumps((handle, torrelque.TorrelqueTaskId('a'), ['answer', 5])))
    return pickle.loads(process.pipe.recv_bytes()[1:])[1]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_process_is_deaf_from_its_birth(number: signal.Signals) -> None:
    process = Process()
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


if sys.platform != 'linux':
    pytest.skip('of Linux: /proc', allow_module_level=True)


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
