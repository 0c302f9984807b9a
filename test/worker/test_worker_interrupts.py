"""The worker: tasks that handlers begin, hooks that raise odd things, and the end of the wait for handlers."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from support.servers import MakeServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, ThreadWorker, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.long

Begins = Callable[[Callable[[], Awaitable[None]]], Awaitable[Any]]


# Asyncio tasks that a handler began


async def by_wait_for(work: Any) -> None:
    await asyncio.wait_for(work(), 60)


async def by_gather(work: Any) -> None:
    await asyncio.gather(work(), asyncio.sleep(0))


async def by_a_task(work: Any) -> None:
    await asyncio.create_task(work())


async def by_a_task_of_a_task(work: Any) -> None:
    async def outer() -> None:
        await asyncio.create_task(work())

    await asyncio.create_task(outer())


async def by_a_group(work: Any) -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]  # of Python 3.11
        group.create_task(work())


WAYS: list[Begins] = [by_wait_for, by_gather, by_a_task, by_a_task_of_a_task]
if sys.version_info >= (3, 11):
    WAYS.append(by_a_group)


@pytest.mark.parametrize('kind', [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('place', ['handler', 'middleware'])
async def test_what_ends_an_event_loop_is_a_failed_attempt_in_tasks_that_a_handler_began(
    queue: Torrelque, place: str, way: Begins, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise kind('as told')

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'exit' and place == 'handler':
            await way(work)

    async def around(delivery: Delivery, call_next: Any) -> Any:
        if delivery.task == 'exit' and place == 'middleware':
            await way(work)
        return await call_next(delivery)

    task_id = await queue.enqueue('exit', max_attempts=2)
    await queue.enqueue_many(['fine'] * 5)
    worker = Worker(queue, handle, retry=3600, middleware=[around], burst=True)
    before = asyncio.get_running_loop().get_task_factory()
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count, state.forgiven) == (Status.DELAYED, 1, 0)
    assert kind.__name__ in (state.error or '')
    assert (worker.health().succeeded, worker.health().failed) == (5, 1)
    assert asyncio.get_running_loop().get_task_factory() is before
    assert not [record for record in caplog.records if record.name == 'asyncio']


async def test_tasks_that_a_handler_began_are_as_any_other(queue: Torrelque) -> None:
    seen: list[Any] = []

    async def work(what: str) -> str:
        return what

    async def handle(delivery: Delivery) -> None:
        named = asyncio.get_running_loop().create_task(work('named'), name='its name')
        seen.append((named.get_name(), 'work' in repr(named), await named))
        early = asyncio.create_task(work('early'))
        early.cancel()  # before its first step
        seen.append((await asyncio.gather(early, return_exceptions=True))[0].__class__)
        sleeping = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        sleeping.cancel()
        await asyncio.wait([sleeping])
        seen.append(sleeping.cancelled())
        failing = asyncio.create_task(fail())
        await asyncio.wait([failing])
        seen.append(repr(failing.exception()))

    async def fail() -> None:
        raise ValueError('no')

    await queue.enqueue(1)
    await Worker(queue, handle, burst=True).run()
    assert seen == [('its name', True, 'named'), asyncio.CancelledError, True, "ValueError('no')"]


async def test_a_task_factory_of_the_application_makes_those_tasks_too(queue: Torrelque) -> None:
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__.rpartition('.')[2])
        return asyncio.Task(coroutine, loop=loop, **options)

    async def work() -> None: ...

    async def handle(delivery: Delivery) -> None:
        await asyncio.create_task(work())

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        await queue.enqueue(1)
        await Worker(queue, handle, burst=True).run()
        assert loop.get_task_factory() is factory and 'work' in made
    finally:
        loop.set_task_factory(before)


# Hooks


class OddError(BaseException):
    """Neither an error nor a cancellation."""


KINDS = [ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, OddError]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('asynchronous', [False, True])
async def test_what_a_hook_raises_is_logged_and_changes_nothing(
    queue: Torrelque, asynchronous: bool, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    def hook(name: str) -> Any:
        async def later(*args: Any) -> None:
            called.append(name)
            await asyncio.sleep(0)
            raise kind

        def now(*args: Any) -> None:
            called.append(name)
            raise kind

        return later if asynchronous else now

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'fail':
            raise ValueError('no')

    await queue.enqueue_many(['fine', 'fail'], max_attempts=1)
    names = ('on_start', 'on_success', 'on_error', 'on_dead')
    worker = Worker(queue, handle, burst=True, concurrency=1, **{name: hook(name) for name in names})
    await worker.run()
    assert called == ['on_start', 'on_success', 'on_start', 'on_error', 'on_dead']
    assert (worker.health().succeeded, worker.health().failed, worker.health().dead) == (1, 1, 1)
    told = [message for message in caplog.messages if 'the hook' in message]
    assert len(told) == 5
    assert not [record for record in caplog.records if record.name == 'asyncio']
    assert await queue.take_deaths() == []


async def test_a_hook_that_cancels_its_own_task_changes_nothing(queue: Torrelque) -> None:
    async def hook(*args: Any) -> None:
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
        await asyncio.sleep(0)

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(0)

    await queue.enqueue(1, max_attempts=1)
    worker = Worker(queue, handle, burst=True, on_start=hook, on_success=hook)
    await worker.run()
    assert (worker.health().succeeded, worker.health().failed) == (1, 0)


# The wait for handlers, and the beginning


@pytest.mark.parametrize('how', ['itself', 'a future', 'by an error'])
async def test_a_handler_that_cancels_itself_while_its_worker_stops_has_failed(queue: Torrelque, how: str) -> None:
    go = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await go.wait()
        this = asyncio.current_task()
        assert this is not None
        if how == 'a future':
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        this.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if how == 'by an error':
                raise ValueError('my failure') from None
            raise

    task_id = await queue.enqueue(1, max_attempts=1)
    worker = Worker(queue, handle, shutdown_timeout=60)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: worker.health().running)
    worker.stop()
    await until(lambda: worker.health().state == 'stopping')
    go.set()
    await running
    state = await queue.get_task_state(task_id)
    assert (state.status, state.forgiven, worker.health().failed) == (Status.DEAD, 0, 1)


async def test_an_app_with_an_ordered_queue_begins_when_the_server_takes_writes(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_server().client() as client, Torrelque(client, queue='q') as queue:
        app = Tasks(queue)
        done: list[int] = []

        @app.fifo(queue='orders')
        def order(number: int) -> None:
            done.append(number)

        await order.enqueue(1)
        app._loops._ordered.clear()
        await queue.set_limit('fifo:orders')
        await client.config_set('min-replicas-to-write', 1)
        async with Worker(app):
            await until(lambda: 'cannot begin yet' in caplog.text)
            await client.config_set('min-replicas-to-write', 0)
            await until(lambda: done == [1])
        await client.config_set('min-replicas-to-write', 1)
        app._loops._ordered.clear()
        await queue.command('PING')
        worker = Worker(app)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: worker.health().state == 'running')
        worker.stop()
        await running
        await client.config_set('min-replicas-to-write', 0)
        await app.aclose()


@pytest.mark.parametrize('weighted', [False, True])
async def test_no_queue_waits_for_the_silent_server_of_another(
    make_server: MakeServer, weighted: bool, hasty: None
) -> None:
    mute, well = make_server(), make_server()
    done: list[str] = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.queue.name)

    async with mute.client() as client, well.client() as other:
        async with Torrelque(client, queue='b') as b, Torrelque(other, queue='a') as a:
            dequeue, asked = b.dequeue_many, 0

            async def ask(*args: Any, **options: Any) -> Any:
                nonlocal asked
                asked += 1
                return await dequeue(*args, **options)

            b.dequeue_many = ask  # type: ignore[method-assign]
            served: Any = {a: 1, b: 1} if weighted else [b, a]
            async with Worker(served, handle, concurrency=1) as worker:
                await b.enqueue(1)
                # A task of which its queue was not told yet would keep the only place.
                await until(lambda: worker.health().succeeded == 1)
                mute.pause()
                asked = 0
                try:
                    await a.enqueue_many(range(100))
                    await until(lambda: len(done) == 101)
                finally:
                    mute.resume()
                # Each look at the silent server takes a second.
                assert asked < 30
                await b.enqueue(2)
                await until(lambda: len(done) == 102)


async def test_a_worker_in_a_thread_begins_where_the_server_takes_no_writes_for_a_while(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server({'save': '3600 1', 'stop-writes-on-bgsave-error': 'yes', 'dbfilename': 'dump.rdb'})
    done: list[Any] = []
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        folder = (await client.config_get('dir'))['dir']
        await queue.enqueue(1)
        path = f'{folder}/dump.rdb'
        os.mkdir(path)
        await client.bgsave()
        while (await client.info('persistence'))['rdb_last_bgsave_status'] != 'err':
            await asyncio.sleep(0.01)
        mine = Torrelque(redis.asyncio.from_url(server.url), queue='q')
        worker = await asyncio.to_thread(ThreadWorker(mine, lambda delivery: done.append(1)).start)
        assert worker.is_alive()
        os.rmdir(path)
        await client.bgsave()
        await until(lambda: done)
        await asyncio.to_thread(worker.stop)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
