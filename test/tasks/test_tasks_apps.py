"""Several apps in one worker, and calls of functions that an app, or a worker's version of it, does not know."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from support.bounding import Bound
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskStatus as Status, TorrelqueValueError
from torrelque.tasks import Tasks, current
from torrelque.worker import Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


# Several apps


async def test_a_worker_serves_several_apps_each_with_its_own_functions(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[str]:
        yield f'of {app.queue.name}'

    other = Torrelque(client, queue='other')
    apps = [Tasks(queue, lifespan=live), Tasks(other, lifespan=live), Tasks(queue)]
    for number, app in enumerate(apps):

        @app.task(name=f'tell {number}')
        async def tell() -> Any:
            return current().queue.name, current().state

    handles = [await app.enqueue(f'tell {number}') for number, app in enumerate(apps)]
    async with other, Worker(apps) as worker:
        assert [one.name for one in worker.queues] == [queue.name, 'other']
        assert [await handle.result(60) for handle in handles] == [
            [queue.name, f'of {queue.name}'], ['other', 'of other'], [queue.name, None],
        ]  # fmt: skip


async def test_apps_of_one_name_on_two_databases_keep_apart(server: RealServer, worker_bound: Bound) -> None:
    worker_bound(unknown_pause=0.01)
    async with server.client() as one, server.client(db=1) as two:
        queues = [Torrelque(client, queue='q') for client in (one, two)]
        apps = [Tasks(queue) for queue in queues]
        for number, app in enumerate(apps):
            app.task(name='tell')(functools.partial(give, number))
        apps[0].task(name='only')(give_nothing)
        handles = [await app.enqueue('tell') for app in apps]
        stray = await apps[1].enqueue('only', check=False)
        async with Worker(apps):
            assert [await handle.result(60) for handle in handles] == [0, 1]
            async for state in stray.watch(60):
                if state.forgiven:
                    break
        for queue in queues:
            await queue.aclose()


def give(number: int) -> int:
    return number


def give_nothing() -> None: ...


async def test_hooks_of_a_worker_of_several_apps_see_what_no_app_has(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    states: list[Any] = []
    async with Torrelque(client, queue='other') as other:
        await queue.enqueue('no call')
        await drain([Tasks(queue), Tasks(other)], on_dead=lambda delivery, error: states.append(delivery.state))
    assert states == [None]


async def test_views_of_one_app_have_one_lifespan(queue: Torrelque) -> None:
    entered: list[Tasks] = []

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[int]:
        entered.append(app)
        yield len(entered)

    app = Tasks(queue, lifespan=live)

    @app.task
    async def tell() -> Any:
        return current().state

    handles = [await tell.options(queue=name).enqueue() for name in ('a', 'b')]
    async with Worker([app.serving(['a']), app.serving(['b'])]):
        assert [await handle.result(60) for handle in handles] == [1, 1]
    assert entered == [app]


async def test_two_apps_of_a_queue_have_no_function_of_the_same_name(queue: Torrelque) -> None:
    apps = [Tasks(queue), Tasks(queue)]
    for app in apps:
        app.task(name='tell')(tell)
    with pytest.raises(TorrelqueValueError, match=r"two apps of queue .* have a function 'tell'"):
        Worker(apps)


def tell() -> None: ...


async def test_weights_of_several_apps_count_beside_one_another(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async with Torrelque(client, queue='other') as other:
        apps = [Tasks(queue, queues={'urgent': 3}), Tasks(other)]
        worker = Worker(apps)
        weights = worker._served.weights or {}
        assert {one.name: weight for one, weight in weights.items()} == {'urgent': 3, queue.name: 1, 'other': 1}


# Names that the app does not know


async def test_a_call_of_another_program_can_be_enqueued_by_its_name(queue: Torrelque) -> None:
    producer, program = Tasks(queue), Tasks(queue)

    @program.task(name='shop.send', max_attempts=3)
    async def send(to: str, check: bool = False) -> list[Any]:
        return [to, check, dict(current().headers)]

    with pytest.raises(TorrelqueLookupError, match=r"no function 'shop.send'.*check=False"):
        await producer.enqueue('shop.send', 'joe')
    assert (await queue.get_queue_stats()).tasks == 0
    first = await producer.enqueue('shop.send', 'joe', check=False)
    second = await producer.named('shop.send', headers={'tenant': 'acme'}).enqueue('ann', check=True)
    third = await asyncio.to_thread(producer.push, 'shop.send', to='sue', check=False)
    async with Worker(program):
        assert await first.result(60) == ['joe', False, {}]
        assert await second.result(60) == ['ann', True, {'tenant': 'acme'}]
        assert await third.result(60) == ['sue', False, {}]
    await producer.aclose()


async def test_a_worker_of_an_old_version_leaves_new_calls_to_others(queue: Torrelque, worker_bound: Bound) -> None:
    worker_bound(unknown_pause=0.01)
    old, new = Tasks(queue), Tasks(queue)

    @new.task(name='shop.send', max_attempts=1)
    async def send() -> int:
        return current().attempt

    handle = await send.enqueue()
    async with Worker(old):
        async for state in handle.watch(60):
            if state.forgiven >= 2:
                break
        assert "no function 'shop.send'" in (state.error or '')
    async with Worker(new):
        assert await handle.result(60) > 2
    assert (await handle.state()).forgiven >= 2


async def test_what_went_back_for_other_reasons_does_not_count_as_unknown(
    queue: Torrelque, worker_bound: Bound
) -> None:
    worker_bound(unknown_pause=0.01, unknown=3)
    app = Tasks(queue)
    handle = await app.enqueue('shop.send', check=False)
    for _ in range(5):
        task_id, _ = await queue.dequeue()
        await queue.requeue(task_id, forgive=True)
    async with Worker(app):
        async for state in handle.watch(60):
            if state.status is Status.DEAD:
                break
    assert state.forgiven == 5 + 3
    assert await queue.redrive(handle.id)
    async with Worker(app):
        async for state in handle.watch(60):
            if state.status is Status.DEAD and state.forgiven > 5 + 3 + 2:
                break


async def test_a_call_that_no_worker_knows_is_dead_in_the_end(queue: Torrelque, worker_bound: Bound) -> None:
    worker_bound(unknown_pause=0.0, unknown=3)
    app, dead = Tasks(queue), list[str]()
    handle = await app.enqueue('shop.send', check=False)
    async with Worker(app, on_dead=lambda delivery, error: dead.append(str(error))):
        async for state in handle.watch(60):
            if state.status is Status.DEAD:
                break
    assert (state.dequeue_count, state.forgiven) == (4, 3)
    assert len(dead) == 1 and "no function 'shop.send'" in dead[0]
