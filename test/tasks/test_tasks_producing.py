"""What stands around calls at the producer: headers and middleware."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.servers import RealServer
from torrelque import Torrelque, TorrelqueBulkError, TorrelqueError, TorrelqueTypeError
from torrelque.tasks import Call, CallNext, Tasks, current
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


# Headers


@pytest.mark.parametrize('run_in', [None, 'thread', 'process'])
async def test_headers_travel_to_the_function(queue: Torrelque, run_in: Any) -> None:
    app = Tasks(queue)
    function: Any = app.task(name='tell', run_in=run_in)(tell_headers if run_in else tell_headers_here)
    with_headers = function.options(headers={'tenant': 'acme', 'trace': [1]})
    handles = [await function.enqueue(), await with_headers.enqueue(), *await with_headers.starmap([()])]
    handles.append(await with_headers.options(headers={'trace': 'x'}).enqueue())
    async with Worker(app):
        found = [await handle.result(60) for handle in handles]
    assert found == [{}, *[{'tenant': 'acme', 'trace': [1]}] * 2, {'tenant': 'acme', 'trace': 'x'}]


def tell_headers() -> Any:
    return dict(current().headers)


async def tell_headers_here() -> Any:
    return tell_headers()


async def test_a_plain_queue_has_headers_in_its_own_payload(queue: Torrelque) -> None:
    found: list[Any] = []

    async def look(delivery: Delivery) -> None:
        found.append(dict(delivery.headers))

    await queue.enqueue_many([{'headers': {'a': 1}}, {'headers': 3}, 'text', None])
    await asyncio.wait_for(Worker(queue, look, burst=True).run(), 60)
    assert found == [{'a': 1}, {}, {}, {}]


@pytest.mark.parametrize('headers', [['a'], {1: 'a'}, 'a'])
async def test_headers_that_are_no_mapping_are_refused(queue: Torrelque, headers: Any) -> None:
    with pytest.raises(TorrelqueTypeError, match='headers must be a mapping'):
        Tasks(queue).task(tell_headers).options(headers=headers)


# Middleware


class Middleware:
    """Two of them, which write down what passes."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def outer(self, call: Call, call_next: CallNext) -> str:
        call.headers['tenant'] = 'acme'
        task_id = await call_next(call)
        self.seen.append(task_id)
        return task_id

    async def inner(self, call: Call, call_next: CallNext) -> str:
        self.seen.append((call.name, call.args, call.kwargs, dict(call.headers), call.queue))
        if 13 in call.args:
            raise ValueError('unlucky')
        call.args = tuple(arg + 100 for arg in call.args)
        return await call_next(call)


async def test_a_call_goes_through_the_middleware_of_its_app(queue: Torrelque) -> None:
    middleware = Middleware()
    app = Tasks(queue, middleware=[middleware.outer, middleware.inner])

    @app.task(name='add', group=lambda number: f'g{number}')
    async def add(number: int) -> Any:
        return number + 1, current().group, dict(current().headers)

    handles = [await add.enqueue(1), await asyncio.to_thread(add.push, 2)]
    handles.append(await add.options(headers={'a': 1}).enqueue(3))
    assert middleware.seen[:2] == [('add', (1,), {}, {'tenant': 'acme'}, queue.name), handles[0].id]
    async with Worker(app):
        assert [await handle.result(60) for handle in handles] == [
            [102, 'g101', {'tenant': 'acme'}], [103, 'g102', {'tenant': 'acme'}],
            [104, 'g103', {'tenant': 'acme', 'a': 1}],
        ]  # fmt: skip
    with pytest.raises(ValueError, match='unlucky'):
        await add.enqueue(13)
    await asyncio.to_thread(app.close)


async def test_a_middleware_may_let_only_so_many_calls_of_a_bulk_pass_at_a_time(queue: Torrelque) -> None:
    gate = asyncio.Semaphore(10)

    async def narrow(call: Call, call_next: CallNext) -> str:
        async with gate:
            return await call_next(call)

    app = Tasks(queue, middleware=[narrow])
    handles = await app.task(add_one).map(range(25))
    assert len({handle.id for handle in handles}) == 25
    assert (await queue.get_queue_stats()).tasks == 25


async def test_a_middleware_that_fails_behind_the_sending_loses_no_id(queue: Torrelque) -> None:
    async def audit(call: Call, call_next: CallNext) -> str:
        task_id = await call_next(call)
        if call.args == (3,):
            raise ConnectionError('no audit')
        return task_id

    app = Tasks(queue, middleware=[audit])
    with pytest.raises(TorrelqueBulkError) as caught:
        await app.task(add_one).map(range(10))
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert len(caught.value.task_ids) == (await queue.get_queue_stats()).tasks == 10


async def add_one(number: int) -> int:
    return number + 1


@pytest.mark.parametrize('ordered', [False, True])
async def test_bulk_calls_go_through_the_middleware_together(queue: Torrelque, ordered: bool) -> None:
    middleware = Middleware()
    app = Tasks(queue, middleware=[middleware.outer, middleware.inner])

    async def add(number: int) -> int:
        return number + 1

    function: Any = app.fifo(queue='q', name='add')(add) if ordered else app.task(name='add')(add)
    assert await function.map([]) == []
    handles = await function.map(range(100, 700))
    async with Worker(app):
        assert [await handle.result(60) for handle in handles] == [*range(201, 801)]
    with pytest.raises(TorrelqueBulkError) as caught:
        await function.map([1, 2, 13, 4])
    assert isinstance(caught.value.__cause__, ValueError) and len(caught.value.task_ids) == 2
    assert (await queue.get_queue_stats()).tasks == 2
    with pytest.raises(TorrelqueBulkError) as caught:
        await function.starmap([(1,), (2, 3)])
    assert isinstance(caught.value.__cause__, TorrelqueTypeError)


async def test_ordered_calls_keep_their_order_through_a_middleware_that_waits(queue: Torrelque) -> None:
    waits = [0.0, 0.2, 0.0]

    async def wait(call: Call, call_next: CallNext) -> str:
        await asyncio.sleep(waits.pop(0))
        return await call_next(call)

    app, done = Tasks(queue, middleware=[wait]), list[int]()

    @app.fifo(queue='q')
    async def note(number: int) -> None:
        done.append(number)

    await note(0)  # from now on calls may be on their way together
    first, second = note(1), note(2)
    await second
    await first
    await drain(app)
    assert done == [0, 1, 2]


async def test_a_middleware_that_gives_no_id_is_told_so(queue: Torrelque) -> None:
    async def forgetful(call: Call, call_next: CallNext) -> Any:
        return None

    app = Tasks(queue, middleware=[forgetful])
    with pytest.raises(TorrelqueTypeError, match='must return what call_next has given'):
        await app.task(tell_headers).enqueue()
    for bad in ([print], 'ab', [lambda call: call], forgetful):
        with pytest.raises(TorrelqueTypeError, match='middleware'):
            Tasks(queue, middleware=bad)  # type: ignore[arg-type]


# Calls that wait for something


async def test_a_call_that_is_prepared_is_enqueued_when_that_is_called(
    queue: Torrelque, server: RealServer
) -> None:
    app = Tasks.from_url(server.url, queue=queue.name)

    @app.task(name='send')
    def send(to: str, *, copies: int = 1) -> str:
        return f'{copies} to {to}'

    def work() -> list[str]:
        call = send.options(task_id='own').prepare('joe', copies=2)
        with pytest.raises(TorrelqueTypeError, match='nobody'):
            send.prepare('joe', nobody=1)  # type: ignore[call-arg]
        assert app.call(lambda: app.queue.get_queue_stats()).tasks == 0
        return [call().id, send.prepare('ann')().id]

    ids = await asyncio.to_thread(work)
    assert ids[0] == 'own'
    assert [(await queue.dequeue())[1]['args'] for _ in ids] == [['joe'], ['ann']]
    await app.aclose()


async def test_any_queue_of_the_server_can_be_had(queue: Torrelque) -> None:
    app = Tasks(queue)
    assert app.queue_named(queue.name) is app.queue
    other = app.queue_named('other')
    assert other.name == 'other'
    assert app.queue_named('other') is other
    with pytest.raises(TorrelqueError, match='no event loop runs here'):
        await asyncio.to_thread(app.queue_named, 'other')
