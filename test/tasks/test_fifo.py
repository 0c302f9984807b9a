"""Strict order: calls of one ordered queue run one at a time, in the order in which they were made."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from typing import Any

import pytest

import torrelque
from support import ordering
from support.ordering import Log, ended
from support.proxy import Proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus as Status
from torrelque.tasks import Handle, TaskFailedError, Tasks, current
from torrelque.worker import Backoff, Reject, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

app = ordering.app


async def test_calls_of_a_queue_run_one_at_a_time_in_their_order(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def one(number: int) -> None:
        with log.of(number):
            await asyncio.sleep(0.001)

    @app.fifo(queue='q')
    def other(number: int) -> None:
        with log.of(number):
            pass

    # None is awaited, and the first must make the order.
    handles: list[Handle[Any]] = [(one if n % 3 else other)(n) for n in range(30)]
    assert 'being enqueued' in repr(handles[0])
    with pytest.raises(torrelque.TorrelqueError, match='await the handle'):
        handles[0].id  # noqa: B018
    async with Worker(app, concurrency=10), Worker(app, concurrency=10):
        await ended(handles)
    assert (log.begun, log.most) == ([*range(30)], 1)
    assert await handles[0] is handles[0]


async def test_queues_do_not_wait_for_each_other(app: Tasks) -> None:
    both = [asyncio.Event(), asyncio.Event()]

    def make(mine: int) -> Any:
        @app.fifo(queue=f'q{mine}', name=f'f{mine}')
        async def meet() -> None:
            both[mine].set()
            await both[1 - mine].wait()

        return meet

    handles = [make(0)(), make(1)()]
    async with Worker(app):
        await ended(handles)


async def test_every_way_to_enqueue_keeps_the_order(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def note(number: int) -> None:
        with log.of(number):
            await asyncio.sleep(0)

    numbers = itertools.count()
    note(next(numbers))
    note(next(numbers))
    many = [asyncio.ensure_future(note.map([next(numbers) for _ in range(300)]))]
    await asyncio.sleep(0)
    note(next(numbers))
    await note.enqueue(next(numbers))
    note(next(numbers))
    await note.options(task_timeout=60).enqueue(next(numbers))
    note(next(numbers))
    (last,) = await note.map([next(numbers)])
    await many[0]
    # Synchronous calls have another event loop.
    await note(next(numbers))
    pushed = await asyncio.to_thread(note, next(numbers))
    async with Worker(app, concurrency=10):
        await pushed.result(60)
    assert log.begun == [*range(next(numbers))]
    assert last.id != pushed.id


async def test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    def ordered() -> None: ...

    @app.fifo(queue='other')
    def other() -> None: ...

    await queue.set_limit('fifo:q', concurrency=7, rate=(100, 1))
    await ordered()
    assert (await queue.get_limits()) == {'fifo:q': TorrelqueLimit(1, (100, 1))}
    async with Worker(app):
        for _ in range(1000):
            if 'fifo:other' in await queue.get_limits():
                break
            await asyncio.sleep(0.01)
    assert (await queue.get_limits())['fifo:other'] == TorrelqueLimit(1, None)
    await ordered.options(task_timeout=3).enqueue()
    state = await (await other()).state()
    assert (state.group, state.max_attempts) == ('fifo:other', None)


@pytest.mark.parametrize('kind', ['coroutine', 'thread'])
async def test_one_that_fails_blocks_its_queue_until_it_succeeds(app: Tasks, kind: str) -> None:
    log = Log()
    seen: list[Any] = []

    def work(number: int) -> int:
        with log.of((number, current().attempt)):
            if number == 1 and current().attempt < 4:
                raise ConnectionError('not yet')
            return number

    async def awork(number: int) -> int:
        return work(number)

    function: Any = app.fifo(
        queue='q', retry_wait=0.01, on_error=lambda delivery, error: seen.append(str(error)),
        on_success=lambda delivery, result: seen.append(result),
    )(awork if kind == 'coroutine' else work)  # fmt: skip
    handles = [function(number) for number in range(3)]
    async with Worker(app, max_attempts=2):
        assert [await handle.result(60) for handle in handles] == [0, 1, 2]
    assert log.begun == [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    assert seen == [0, 'not yet', 'not yet', 'not yet', 1, 2]


@pytest.mark.parametrize('retries', [0, 2])
async def test_when_its_retries_are_used_up_it_is_dead_and_the_next_begins(app: Tasks, retries: int) -> None:
    log = Log()
    dead: list[str] = []

    @app.fifo(
        queue='q', max_retries=retries, retry_wait=Backoff(base=0.01), on_dead=lambda one, error: dead.append(one.id)
    )
    async def work(number: int) -> None:
        with log.of(number):
            if number == 1:
                raise ValueError('never')

    handles = [work(number) for number in range(3)]
    async with Worker(app):
        await handles[2].result(60)
        with pytest.raises(TaskFailedError, match='ValueError: never'):
            await handles[1].result(60)
    assert log.begun == [0, *[1] * (retries + 1), 2]
    assert dead == [handles[1].id]


async def test_a_rejected_one_is_dead_at_once(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def work(number: int) -> None:
        with log.of(number):
            if number == 0:
                raise Reject('no')

    handles = [work(number) for number in range(2)]
    async with Worker(app):
        await handles[1].result(60)
    assert log.begun == [0, 1]
    assert (await handles[0].state()).status is Status.DEAD


async def test_a_cancelled_one_is_left_out(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def work(number: int) -> None:
        with log.of(number):
            pass

    handles = [work(number) for number in range(4)]
    assert await handles[1].cancel()
    async with Worker(app):
        await handles[3].result(60)
    assert log.begun == [0, 2, 3]


@pytest.mark.parametrize(
    'options',
    [{'queue': ''}, {'queue': 1}, {'max_retries': -2}, {'max_retries': 1.5}, {'retry_wait': -1}, {'timeout': 0}],
)
def test_a_decorator_refuses_what_cannot_be_meant(app: Tasks, options: Any) -> None:
    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
        app.fifo(**{'queue': 'q', **options})
    function: Any = app.fifo(queue='q')(len)
    with pytest.raises(torrelque.TorrelqueTypeError, match='ordered'):
        function.options(group='other')
    with pytest.raises(torrelque.TorrelqueTypeError, match='ordered'):
        function.options(priority=1)


# Errors


async def test_an_error_of_enqueueing_is_raised_where_it_is_awaited(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    async def work(value: object) -> None: ...

    good, bad, other = work(1), work(object()), work(2)
    with pytest.raises(torrelque.TorrelqueTypeError, match='cannot be serialised'):
        await bad
    with pytest.raises(torrelque.TorrelqueTypeError):
        bad.id  # noqa: B018
    with pytest.raises(torrelque.TorrelqueTypeError):
        await bad.result()
    await other
    assert [task['args'] for _, task in [await queue.dequeue(0)]] == [[1]]
    assert (await good.state()).status is Status.WORKING


async def test_an_error_of_enqueueing_that_nobody_awaits_is_logged(
    app: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    @app.fifo(queue='q')
    async def work(value: object) -> None: ...

    work(object())
    await work(1)
    gc.collect()
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(0)
    (record,) = [record for record in caplog.records if record.name == 'asyncio']
    assert 'enqueueing test_fifo.' in record.getMessage() and 'never retrieved' in record.getMessage()


async def test_the_first_call_fails_and_the_second_makes_the_order(
    server: RealServer, proxy: Proxy, queue_name: str
) -> None:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        app = Tasks(queue)

        @app.fifo(queue='q')
        async def work(value: object) -> None: ...

        bad, good = work(object()), work(2)
        await good
        with pytest.raises(torrelque.TorrelqueTypeError):
            await bad
        assert (await queue.get_limits())['fifo:q'].concurrency == 1


async def test_who_is_cancelled_does_not_take_the_call_back(app: Tasks) -> None:
    @app.fifo(queue='q')
    async def work() -> int:
        return 1

    handle = work()

    async def wait() -> None:
        await handle

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    async with Worker(app):
        assert await handle.result(60) == 1
    assert waiting.cancelled()


async def test_a_handle_that_is_on_its_way_is_awaited_in_another_loop(app: Tasks) -> None:
    @app.fifo(queue='q')
    async def noop() -> None: ...

    handle = noop()

    async def wait() -> str:
        return (await handle).id

    task_id = await asyncio.to_thread(asyncio.run, wait())
    assert (await handle.state()).status is Status.PENDING
    assert handle.id == task_id


async def test_closing_waits_for_calls_that_are_on_their_way(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    async def work(number: int) -> None: ...

    for number in range(500):
        work(number)
    await app.aclose()
    assert (await queue.get_queue_stats()).tasks == 500
