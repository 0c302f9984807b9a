"""Messages: each error and each line of the log says which queue it is about.

That every line does so which any test provokes, and names no queue twice, is looked after in `conftest`; that every
call does so to which a server gives a senseless reply, in `test_replies`.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import logging
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque.sync
from support.bounding import Bound
from support.servers import MakeServer, RealServer, free_port
from support.sources import parse
from torrelque import (
    Torrelque,
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTimeoutError,
)
from torrelque.error import copy_error, of_queue, reason_of
from torrelque.protocol.bounds import BOUNDS

pytestmark = pytest.mark.one_server

CORE = [path for room in ('aio', 'sync', 'protocol') for path in (Path(torrelque.__file__).parent / room).glob('*.py')]

# What holds a queue's name, or the words that stand for a server, where something is logged.
NAMES = {'queue', 'name', '_name', '_queue', '_server'}


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    while not condition():
        await asyncio.sleep(0.005)


class AsThreads:
    """The synchronous queue, each call in a thread, so that one text serves for both."""

    def __init__(self, queue: torrelque.sync.Torrelque) -> None:
        self.queue = queue

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        verb = getattr(self.queue, 'close' if name == 'aclose' else name)
        return lambda *args, **options: asyncio.to_thread(verb, *args, **options)


@pytest.fixture(params=['asyncio', 'threads'])
async def either(
    request: pytest.FixtureRequest, server: RealServer, client: redis.asyncio.Redis, queue_name: str
) -> AsyncIterator[Any]:
    """A queue object of either kind, which has the task ``known`` and is full with three."""
    if request.param == 'asyncio':
        async with Torrelque(client, queue=queue_name, max_tasks=3) as queue:
            await queue.enqueue('task', task_id='known', delay=60)
            yield queue
    else:
        with server.sync_client() as sync, torrelque.sync.Torrelque(sync, queue=queue_name, max_tasks=3) as threads:
            await asyncio.to_thread(threads.enqueue, 'task', task_id='known', delay=60)
            yield AsThreads(threads)


# Error, what it says behind the queue's name, and the call that comes to it.
ERRORS: dict[str, tuple[type[TorrelqueError], str, Callable[[Any], Awaitable[Any]]]] = {
    'empty': (TorrelqueTimeoutError, 'no task came within 0.02 s', lambda queue: queue.dequeue(0.02)),
    'empty at once': (TorrelqueTimeoutError, 'no task came within 0 s', lambda queue: queue.dequeue(0)),
    'none': (TorrelqueLookupError, "the queue has no task 'none'", lambda queue: queue.get_task_state('none')),
    'duplicate': (
        TorrelqueDuplicateError, "the queue has a task 'known' already",
        lambda queue: queue.enqueue(1, task_id='known'),
    ),
    'bulk': (
        TorrelqueBulkError, 'the bulk call failed after 2 tasks', lambda queue: queue.enqueue_many(range(4)),
    ),
    'broken': (
        TorrelqueError, "the key of the state of task 'broken' holds something else",
        lambda queue: queue.cancel('broken'),
    ),
    'broken, enqueued': (
        TorrelqueError, "the key of the state of task 'broken' holds something else",
        lambda queue: queue.enqueue(1, task_id='broken'),
    ),
    'no state': (TorrelqueError, "the state of task 'strange' cannot be read: ", lambda q: q.get_task_state('strange')),
    'no progress': (
        TorrelqueError, "the progress of task 'known' cannot be read: ", lambda queue: queue.get_task_state('known'),
    ),
    'no command': (TorrelqueServerError, 'unknown command', lambda queue: queue.command('NONSENSE')),
}  # fmt: skip


@pytest.mark.parametrize('case', ERRORS)
async def test_an_error_names_its_queue(
    either: Any, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, case: str
) -> None:
    prefix = queue.keys['task']
    await client.set(f'{prefix}:broken', 'something else')
    await client.hset(f'{prefix}:strange', 'status', 'x')
    await client.hset(f'{prefix}:known', 'progress', '{')
    kind, message, call = ERRORS[case]
    with pytest.raises(kind) as caught:
        await call(either)
    error = caught.value
    assert error.queue == queue_name and str(error).startswith(f"queue '{queue_name}': ") and message in str(error)
    assert type(error) is kind or kind is TorrelqueServerError
    if isinstance(error, TorrelqueBulkError):
        assert str(error.__cause__) == f"queue '{queue_name}': the queue is full: it has 3 tasks"


async def test_a_closed_queue_names_itself(either: Any, queue_name: str) -> None:
    waiting = asyncio.ensure_future(either.dequeue())
    await either.get_queue_stats()
    await either.aclose()
    with pytest.raises(TorrelqueClosedError) as caught:
        await waiting
    assert str(caught.value) == f"queue '{queue_name}': the queue was closed while this call waited for a task"
    for call in (either.enqueue(1), either.get_queue_stats(), either.dequeue(), either.release_many(['known'])):
        with pytest.raises(TorrelqueClosedError) as caught:
            await call
        assert str(caught.value) == f"queue '{queue_name}': the queue was closed"


async def test_a_queue_that_was_closed_before_it_was_used_names_itself(client: redis.asyncio.Redis) -> None:
    queue = Torrelque(client, queue='mail')
    await queue.aclose()
    with pytest.raises(TorrelqueClosedError, match="queue 'mail': the queue was closed"):
        await queue.get_queue_stats()
    with pytest.raises(TorrelqueClosedError, match="queue 'mail': the queue was closed"):
        queue.schedule_sweep()


async def test_a_watch_names_its_queue_and_its_task(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def watch(task_id: str, **options: Any) -> str:
        with pytest.raises(TorrelqueError) as caught:
            await queue.wait(task_id, **options)
        assert caught.value.queue == queue.name
        return str(caught.value).removeprefix(f"queue '{queue.name}': ")

    await queue.enqueue(1, task_id='known')
    assert await watch('none') == "the queue has no task 'none'"
    assert await watch('known', timeout=0.05) == "task 'known' was not final within 0.05 s: it is PENDING"
    await client.hset(f'{queue.keys["task"]}:strange', 'status', 'x')
    assert (await watch('strange')).startswith("the state of task 'strange' cannot be read: ")
    await client.set(f'{queue.keys["task"]}:broken', 'something else')
    assert await watch('broken') == "the key of the state of task 'broken' holds something else"

    twice = queue.watch('known')
    await twice.__anext__()
    first = asyncio.ensure_future(anext(twice))
    await asyncio.sleep(0)
    with pytest.raises(TorrelqueError, match=rf"queue '{queue.name}': this watch of task 'known' is being waited for"):
        await anext(twice)
    await queue.aclose()
    with pytest.raises(TorrelqueClosedError) as caught:
        await first
    assert str(caught.value) == f"queue '{queue.name}': the queue was closed while task 'known' was watched"


async def test_a_queue_of_another_loop_names_itself(queue: Torrelque) -> None:
    await queue.get_queue_stats()
    with pytest.raises(TorrelqueError, match=rf"queue '{queue.name}': a queue object belongs to the event loop"):
        await asyncio.to_thread(asyncio.run, queue.get_queue_stats())
    with pytest.raises(TorrelqueError, match=rf"queue '{queue.name}': schedule_sweep needs a running event loop"):
        await asyncio.to_thread(queue.schedule_sweep)


async def test_a_call_that_finds_no_server_names_its_queue_and_its_script(
    bound: Bound, hasty: None, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with redis.asyncio.Redis(port=port) as client, Torrelque(client, queue='mail') as queue:
        with redis.Redis(port=port) as sync, torrelque.sync.Torrelque(sync, queue='mail') as threads:
            bound(repeat=0)
            for either in (queue, AsThreads(threads)):
                for call, what in (
                    (either.enqueue(1), 'enqueue: no connection to the server: '),
                    (either.release('known'), 'release: no connection to the server: '),
                    (either.release_many(['known']), 'release: no connection to the server: '),
                    (either.get_queue_stats(), 'stats: no connection to the server: '),
                    (either.get_task_state('known'), 'HMGET: no connection to the server: '),
                ):
                    with pytest.raises(TorrelqueConnectionError) as caught:
                        await call
                    text = str(caught.value)
                    assert text.startswith("queue 'mail': ") and what in text and text.count('mail') == 1
        bound(repeat=BOUNDS.repeat)
        with pytest.raises(TorrelqueTimeoutError, match=r"queue 'mail': no reply of the server in time: .") as late:
            await queue.dequeue(0)
        assert str(late.value).count('mail') == 1
    assert f'cannot connect to the server at localhost:{port}' in caplog.text


async def test_what_is_lost_and_back_is_told_with_its_name(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, bound: Bound, hasty: None
) -> None:
    caplog.set_level(logging.DEBUG, 'torrelque')
    bound(repeat=0.5)
    server = make_server({'notify-keyspace-events': 'KA'})
    place = f'the server at {server.socket}'
    async with server.client() as client, Torrelque(client, queue='mail') as queue:
        with server.sync_client() as sync, torrelque.sync.Torrelque(sync, queue='post') as threads:
            await queue.enqueue(1, task_id='watched', delay=600)
            watching = asyncio.ensure_future(queue.wait('watched'))
            waiting = [asyncio.ensure_future(call) for call in (queue.dequeue(), asyncio.to_thread(threads.dequeue))]
            await until(lambda: bool(threads._fetcher.listening))
            await asyncio.to_thread(server.kill)
            await until(lambda: "queue 'mail': waiting for the server to come back: " in caplog.text)
            await until(lambda: "queue 'post': waiting for the server to come back: " in caplog.text)
            await until(lambda: f'the connection to {place} was lost: ' in caplog.text)
            await until(lambda: f'cannot connect to {place}, and will try again: ' in caplog.text)
            await until(lambda: "queue 'mail': watching goes on when the server is back: " in caplog.text)
            await asyncio.to_thread(server.start)
            await until(lambda: "queue 'mail': the server is back" in caplog.text)
            await until(lambda: "queue 'post': the server is back" in caplog.text)
            assert f'there is a connection to {place} again' in caplog.text
            watching.cancel()
            await queue.enqueue(2)
            await asyncio.to_thread(threads.enqueue, 3)
            await asyncio.gather(*waiting)


async def test_what_is_told_of_a_task_names_its_queue(
    either: Any, client: redis.asyncio.Redis, queue_name: str, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    def told(text: str) -> None:
        assert f"queue '{queue_name}': {text}" in caplog.messages

    task_id = await either.enqueue(1)
    await client.hset(queue.keys['tasks'], task_id, b'{')
    with pytest.raises(TorrelqueTimeoutError):
        await either.dequeue(0)
    (dead,) = [text for text in caplog.messages if 'is dead' in text]
    assert dead.startswith(f"queue '{queue_name}': task '{task_id}' is dead: the payload cannot be read: ")

    taken, _ = [await either.enqueue(2), await either.dequeue()]
    await either.release(taken)
    assert not await either.release(taken)
    told(f"release of task '{taken}': its caller does not hold it: unknown")

    lost = await either.enqueue(3)
    await client.hdel(queue.keys['tasks'], lost)
    with pytest.raises(TorrelqueTimeoutError):
        await either.dequeue(0)
    told(f"task '{lost}' was damaged: payload_lost")


@pytest.mark.parametrize('error', [
    TorrelqueDuplicateError('a', 'mail'), TorrelqueFullError(3, 'mail'), TorrelqueBulkError(['a'], 'mail'),
    of_queue('mail', TorrelqueTimeoutError('late')), of_queue('mail', TorrelqueConnectionError('away')),
    of_queue('mail', TorrelqueServerError('OOM')),
    TorrelqueDuplicateError('a'), TorrelqueFullError(3), TorrelqueBulkError(['a']), TorrelqueClosedError('closed'),
], ids=repr)  # fmt: skip
def test_an_error_keeps_its_queue(error: TorrelqueError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_an_error_without_a_queue_says_as_much() -> None:
    assert str(TorrelqueFullError(3)) == 'the queue is full: it has 3 tasks'
    assert str(TorrelqueDuplicateError('a')) == "the queue has a task 'a' already"
    assert TorrelqueDuplicateError('a').queue is None and TorrelqueDuplicateError('a').task_id == 'a'


def test_an_error_keeps_the_queue_that_it_was_given_first() -> None:
    error = of_queue('mail', TorrelqueServerError('OOM'))
    error.passing = True
    copied = copy_error(of_queue('post', error))
    assert str(copied) == str(error) == "queue 'mail': OOM" and copied.passing  # type: ignore[attr-defined]
    assert error.args == ('OOM',) and reason_of(error) == 'OOM' and reason_of(KeyError()) == 'KeyError()'


@pytest.mark.parametrize('path', CORE, ids=lambda path: f'{path.parent.name}.{path.stem}')
def test_each_line_of_the_log_is_given_a_name(path: Path) -> None:
    nameless = []
    for node in ast.walk(parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith('logger.'):
            given = {ast.unparse(argument).rpartition('.')[2] for argument in node.args}
            if not given & NAMES:
                nameless.append(ast.unparse(node))
    assert nameless == []


class OursError(TorrelqueDuplicateError):
    """A user's, made by one argument."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id, 'mail')


def test_an_error_of_a_users_class_is_pickled_with_its_queue() -> None:
    error = pickle.loads(pickle.dumps(OursError('a')))
    assert (type(error), error.task_id, error.queue) == (OursError, 'a', 'mail')


class BodiedError(TorrelqueError):
    """A user's, whose attribute of this name is something else."""

    queue = object()  # type: ignore[assignment]


def test_only_a_name_is_told_as_one() -> None:
    assert str(BodiedError('no')) == 'no'
