"""Handlers in processes: what is sent to them and back, and what cannot be."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.spawn
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.waiting import until
from torrelque import Torrelque, TorrelqueServerError, TorrelqueTaskState, TorrelqueTaskStatus as Status
from torrelque.worker import ChildDelivery, Worker
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


@handler
def own_pid(delivery: Any) -> int:
    return os.getpid()


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
        (('raise_one', 'NoWayError'), 'ChildError: test_children_answers.NoWayError: something else'),
        (('raise_one', 'NoError'), 'ChildError: test_children_answers.NoError: something else'),
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
