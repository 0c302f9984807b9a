"""Workers and the event loops of others: no call waits for the loop that it keeps from going on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from support import crossing
from support.crossing import PATIENCE, add, in_thread, outcome, until
from support.servers import MakeServer, RealServer
from torrelque import Torrelque, TorrelqueClosedError, TorrelqueError
from torrelque.tasks import Tasks, current
from torrelque.worker import Delivery, ThreadWorker, Worker

app = crossing.app


# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


# Calls that would block the loop that they wait for


@pytest.fixture
def queue_of_thread(server: RealServer, queue_name: str) -> Torrelque:
    return Torrelque(server.client(), queue=queue_name)


def attempt(call: Callable[[], Any]) -> str:
    try:
        call()
    except TorrelqueError as exc:
        return str(exc)
    return 'no error'


@pytest.mark.parametrize('where', ['handler', 'middleware', 'on_start', 'on_success', 'async hook', 'thread hook'])
def test_calls_that_would_block_their_own_loop_are_refused(queue_of_thread: Torrelque, where: str) -> None:
    queue, seen = queue_of_thread, list[str]()
    app = Tasks(queue)
    function = app.task(name='add')(add)

    def block(delivery: Delivery) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: worker.call(queue.get_queue_stats()), lambda: delivery.report(1), worker.stop, worker.join,
            lambda: function.push(1), lambda: app.call(queue.get_queue_stats()), app.handle('x').wait_result, app.close,
        ]  # fmt: skip
        seen.extend(attempt(call) for call in calls)

    async def ablock(delivery: Delivery, result: Any = None) -> None:
        block(delivery)

    async def around(delivery: Delivery, call_next: Any) -> Any:
        block(delivery)
        return await call_next(delivery)

    async def nothing(delivery: Delivery) -> None: ...

    every: dict[str, dict[str, Any]] = {
        'handler': {}, 'middleware': {'middleware': [around]}, 'on_start': {'on_start': block},
        'on_success': {'on_success': lambda delivery, result: block(delivery)}, 'async hook': {'on_success': ablock},
        'thread hook': {'on_success': lambda delivery, result: block(delivery)},
    }  # fmt: skip
    handler: Any = ablock if where == 'handler' else (lambda delivery: None) if where == 'thread hook' else nothing
    worker = ThreadWorker(queue, handler, **every[where]).start()
    worker.call(queue.enqueue(1))
    assert outcome(lambda: until(lambda: worker.health().succeeded and len(seen) == 8)) is None
    assert worker.is_alive()
    worker.stop()
    assert all('block' in text for text in seen), seen


def test_threads_of_handlers_may_report_and_call(queue_of_thread: Torrelque) -> None:
    queue, seen = queue_of_thread, list[Any]()

    def work(delivery: Delivery) -> None:
        seen.append(delivery.report('half'))
        seen.append(worker.call(queue.get_queue_stats()).working)

    async def handle(delivery: Delivery) -> None:
        await asyncio.to_thread(work, delivery)

    def plain(delivery: Delivery) -> None:
        work(delivery)

    async def either(delivery: Delivery) -> None:
        await handle(delivery)

    handlers: list[Any] = [plain, either]
    for handler in handlers:
        queue = Torrelque(queue_of_thread.client, queue=queue_of_thread.name)
        with ThreadWorker(queue, handler) as worker:
            worker.call(queue.enqueue(1))
            until(lambda: worker.health().succeeded)
    assert seen == [True, 1] * 2


def test_a_handler_tells_its_own_worker_to_stop(queue_of_thread: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        worker.stop(timeout=0)

    worker = ThreadWorker(queue_of_thread, handler=handle).start()
    worker.call(queue_of_thread.enqueue(1))
    assert worker.join(PATIENCE)
    assert worker.health().succeeded == 1


def test_calls_of_a_worker_that_ends_come_to_an_end(queue_of_thread: Torrelque) -> None:
    begun = threading.Event()

    async def sleep() -> None:
        begun.set()
        await asyncio.Event().wait()

    worker = ThreadWorker(queue_of_thread, lambda delivery: None).start()
    with contextlib.suppress(TorrelqueClosedError), in_thread(lambda: worker.call(sleep())) as done:
        assert begun.wait(PATIENCE)
        worker.stop()
        assert isinstance(done.exception(PATIENCE), TorrelqueClosedError)
    with pytest.raises(TorrelqueError, match='does not run'):
        worker.call(queue_of_thread.get_queue_stats())


# What goes wrong when a worker begins, and when it ends


async def test_a_worker_of_a_thread_that_has_the_queue_of_this_loop_does_not_start(queue: Torrelque) -> None:
    app = Tasks(queue)
    function = app.task(name='add')(add)
    await function.enqueue(1)
    for worker in (ThreadWorker(app), ThreadWorker(queue, lambda delivery: None)):
        with pytest.raises(TorrelqueError, match='event loop'):
            worker.start()
        assert not worker.is_alive()
        # It was told, and is told once.
        worker.stop()
        with pytest.raises(TorrelqueError, match='once'):
            worker.start()
    # What is of this loop goes on.
    handle = await function.enqueue(1)
    async with Worker(app):
        assert await handle.result(PATIENCE) == 2


def test_a_queue_that_cannot_be_served_does_not_start(make_server: MakeServer, queue_name: str) -> None:
    server = make_server({'requirepass': 'secret'})
    worker = ThreadWorker(Torrelque(server.client(password='wrong'), queue=queue_name), lambda delivery: None)
    with pytest.raises(redis.exceptions.AuthenticationError):
        worker.start()
    worker.stop()
    closed = Torrelque(server.client(password='secret'), queue=queue_name)
    asyncio.run(closed.aclose())
    with pytest.raises(TorrelqueClosedError):
        ThreadWorker(closed, lambda delivery: None).start()


def fail_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    aclose = Torrelque.aclose

    async def aclose_badly(self: Torrelque) -> None:
        await aclose(self)
        raise RuntimeError('what went wrong at the end')

    monkeypatch.setattr(Torrelque, 'aclose', aclose_badly)


def test_what_an_app_cannot_prepare_is_told_at_the_start(app: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare() -> None:
        raise ZeroDivisionError('what went wrong')

    monkeypatch.setattr(app, 'prepare', prepare)
    fail_to_close(monkeypatch)
    worker = ThreadWorker(app)
    with pytest.raises(ZeroDivisionError):
        worker.start()
    worker.stop()


def test_the_first_error_of_a_worker_is_told_not_what_follows_from_it(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_close(monkeypatch)
    queue = Torrelque(server.client(), queue=queue_name)
    with server.sync_client() as client:
        client.set(queue.keys['pending'], 'rubbish')
        worker = ThreadWorker(queue, lambda delivery: None).start()
        assert worker.join(PATIENCE)
        with pytest.raises(redis.exceptions.ResponseError):
            worker.stop()
        client.delete(queue.keys['pending'])
    worker = ThreadWorker(Torrelque(server.client(), queue=queue_name), lambda delivery: None).start()
    with pytest.raises(RuntimeError, match='at the end'):
        worker.stop()


def test_a_worker_starts_though_its_server_is_away(make_server: MakeServer, queue_name: str) -> None:
    server = make_server()
    queue = Torrelque(server.client(), queue=queue_name)
    server.stop()
    worker = ThreadWorker(queue, lambda delivery: None).start()
    assert worker.is_alive()
    worker.stop()


# What a task is run for


@pytest.fixture
async def busy(queue: Torrelque) -> AsyncIterator[Tasks]:
    app = Tasks(queue)
    async with Worker(app):
        yield app
    await app.aclose()


async def test_what_outlives_a_function_has_no_task(busy: Tasks) -> None:
    left: list[Any] = []
    over = asyncio.Event()

    async def later() -> str:
        await over.wait()
        return attempt(current)

    def in_a_thread(over: threading.Event) -> str:
        over.wait(PATIENCE)
        return attempt(current)

    @busy.task
    async def work() -> str:
        left.extend([asyncio.create_task(later()), asyncio.create_task(asyncio.to_thread(in_a_thread, gone))])
        return await asyncio.create_task(nested())

    async def nested() -> str:
        return await asyncio.to_thread(lambda: current().id)

    gone = threading.Event()
    handle = await work.enqueue()
    assert await handle.result(PATIENCE) == handle.id
    over.set()
    gone.set()
    assert [await one for one in left] == ['the task that was run here has ended'] * 2


@pytest.mark.parametrize('kind', ['thread', 'wrapper'])
async def test_what_outlives_a_plain_function_has_no_task(busy: Tasks, kind: str) -> None:
    gone = threading.Event()

    def later() -> str:
        gone.wait(PATIENCE)
        return attempt(current)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        left: list[concurrent.futures.Future[str]] = []

        def begin() -> str:
            left.append(pool.submit(contextvars.copy_context().run, later))
            return current().id

        async def rest() -> str:
            return begin()

        def wrapper() -> Any:
            return rest()

        handle: Any = await busy.task(begin if kind == 'thread' else wrapper).enqueue()
        assert await handle.result(PATIENCE) == handle.id
        gone.set()
        assert [one.result(PATIENCE) for one in left] == ['the task that was run here has ended']
