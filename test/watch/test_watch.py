"""Watching: what is seen, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import watching
from support.proxy import Proxy
from support.servers import MakeServer, RealServer
from support.watching import READ, begin, channels, reads_of, statuses, until_unsubscribed
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.aio import watcher

pytestmark = pytest.mark.first_server

still, faulty, as_it_is = watching.still, watching.faulty, watching.as_it_is


@pytest.fixture(params=['told', 'plain'])
def server(request: pytest.FixtureRequest, server: RealServer, plain_server: RealServer) -> RealServer:
    """Each test runs on a server that tells what has changed, and on one that does not."""
    return plain_server if request.param == 'plain' else server


# What is seen


@pytest.mark.parametrize('options', [{'protocol': 2}, {'protocol': 3}, {'decode_responses': True, 'db': 3}])
async def test_a_watch_shows_each_change_and_ends_with_the_final_state(
    server: RealServer, options: dict[str, Any]
) -> None:
    async with server.client(**options) as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        watched, state = await begin(queue, task_id)
        assert (state.status, state.dequeue_count) == (Status.PENDING, 0)
        task_id, _ = await queue.dequeue()
        state = await anext(watched)
        assert (state.status, state.dequeue_count) == (Status.WORKING, 1)
        for progress in (0.5, {'done': 3}):
            await queue.touch(task_id, progress=progress)
            assert (await anext(watched)).progress == progress
        await queue.requeue(task_id, 60, error='no luck')
        state = await anext(watched)
        assert (state.status, state.error) == (Status.DELAYED, 'no luck')
        await client.zadd(queue.keys['delayed'], {task_id: 1})
        await queue.sweep()
        assert (await anext(watched)).status is Status.PENDING
        task_id, _ = await queue.dequeue()
        assert (await anext(watched)).dequeue_count == 2
        await queue.release(task_id, result=[7])
        state = await anext(watched)
        assert state == await queue.get_task_state(task_id)
        assert (state.status, state.result) == (Status.COMPLETED, [7])
        assert await statuses(watched) == []


async def test_a_renewed_lease_and_the_same_progress_again_are_no_change(queue: Torrelque) -> None:
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    watched, _ = await begin(queue, task_id)
    await queue.touch(task_id, progress=1)
    assert (await anext(watched)).progress == 1
    await queue.touch(task_id, progress=1)
    await queue.touch(task_id)
    await queue.touch(task_id, progress=2)
    assert (await anext(watched)).progress == 2


@pytest.mark.parametrize('status', [Status.COMPLETED, Status.REJECTED, Status.CANCELLED])
async def test_a_final_state_is_yielded_once(queue: Torrelque, status: Status) -> None:
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    await queue.release(task_id, status=status, result_ttl=60)
    assert await statuses(queue.watch(task_id)) == [status]
    assert (await queue.wait(task_id)).status is status


async def test_a_task_that_is_released_without_a_result_just_ends(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    waiting = asyncio.ensure_future(queue.wait(task_id))
    taken, _ = await queue.dequeue()
    assert (await anext(watched)).status is Status.WORKING
    seen = await queue.get_task_state(task_id)
    await queue.release(taken)
    assert await statuses(watched) == []
    assert await waiting == seen._replace(status=Status.COMPLETED)
    await until_unsubscribed(client)


async def test_wait_gives_the_final_state(queue: Torrelque) -> None:
    for status in (Status.COMPLETED, Status.REJECTED):
        task_id = await queue.enqueue(1)
        waiting = asyncio.ensure_future(queue.wait(task_id, timeout=60))
        taken, _ = await queue.dequeue()
        await queue.release(taken, result='r', status=status)
        state = await waiting
        assert (state.status, state.result) == (status, 'r')


async def test_dead_is_not_final(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    taken, _ = await queue.dequeue()
    await queue.bury(taken, error='why')
    while (state := await anext(watched)).status is not Status.DEAD:
        assert state.status is Status.WORKING
    assert state.error == 'why'
    await queue.redrive(task_id)
    assert (await anext(watched)).status is Status.PENDING
    await queue.cancel(task_id)
    assert await statuses(watched) == [Status.CANCELLED]


async def test_a_slow_reader_skips_states_but_never_the_last(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    other = queue.watch(task_id)
    for n in range(5):
        taken, _ = await queue.dequeue()
        await queue.touch(taken, progress=n)
        await queue.requeue(taken)
    taken, _ = await queue.dequeue()
    await queue.release(taken, result='end')
    # The hub has it before the reader looks.
    assert (await queue.wait(task_id)).result == 'end'
    assert [(state.status, state.result) async for state in watched] == [(Status.COMPLETED, 'end')]
    assert [state.result async for state in other] == ['end']


async def test_unknown_tasks(queue: Torrelque) -> None:
    for call in (anext(queue.watch('nobody')), queue.wait('nobody', timeout=60)):
        with pytest.raises(torrelque.TorrelqueLookupError, match='nobody'):
            await call


async def test_bad_arguments_are_refused_at_once(queue: Torrelque) -> None:
    task_id: Any
    for task_id in (None, 3, b'x', ''):
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            queue.watch(task_id)
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            await queue.wait(task_id)
    timeout: Any
    for timeout in (-1, float('nan'), float('inf'), '1', True):
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            queue.watch('x', timeout=timeout)


async def test_the_timeout_comes_after_the_first_state(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    loop = asyncio.get_running_loop()
    task_id = await queue.enqueue(1)
    for timeout in (0, 0.05, 0.2):
        started, seen = loop.time(), []
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            async for state in queue.watch(task_id, timeout=timeout):
                seen.append(state.status)
        assert seen == [Status.PENDING]
        assert timeout - 0.001 <= loop.time() - started
        with pytest.raises(TimeoutError):
            await queue.wait(task_id, timeout=timeout)
    await until_unsubscribed(client)
    watched, _ = await begin(queue, task_id, timeout=3600)
    await watched.aclose()
    assert watched._watcher.timer.cancelled()
    taken, _ = await queue.dequeue()
    await queue.release(taken, result=1)
    assert (await queue.wait(task_id, timeout=0)).result == 1


async def test_a_first_state_that_comes_late_is_given_before_the_timeout(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    gate = proxy.hold_reply(READ)
    watched: Any = faulty.watch(task_id, timeout=0)
    first = asyncio.ensure_future(anext(watched))
    await gate.arrived.wait()
    while not watched._watcher.late:
        await asyncio.sleep(0.005)
    gate.open()
    assert (await first).status is Status.PENDING
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await anext(watched)


async def test_an_own_id_that_is_enqueued_again_is_another_task(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own')
    watched, _ = await begin(queue, 'own')
    taken, _ = await queue.dequeue()
    assert (await anext(watched)).status is Status.WORKING
    async with queue.client.pipeline(transaction=True) as pipeline:
        await queue.release(taken, pipeline=pipeline)
        await queue.enqueue(2, task_id='own', pipeline=pipeline)
        await pipeline.execute()
    assert await statuses(watched) == []
    assert (await begin(queue, 'own'))[1].status is Status.PENDING


async def test_many_watch_one_task(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    waiting = [asyncio.ensure_future(queue.wait(task_id)) for _ in range(300)]
    watched, _ = await begin(queue, task_id)
    waiting += [asyncio.ensure_future(queue.wait(task_id)) for _ in range(300)]
    taken, _ = await queue.dequeue()
    await queue.release(taken, result='r')
    assert {state.result for state in await asyncio.gather(*waiting)} == {'r'}
    assert (await statuses(watched))[-1] is Status.COMPLETED


async def test_large_states_come_in_several_replies(proxy: Proxy, faulty: Torrelque, queue: Torrelque) -> None:
    ids = []
    for n in range(7):
        await queue.enqueue(n)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=str(n) * 400_000)
        ids.append(taken)
    states = await asyncio.gather(*map(faulty.wait, ids))
    assert [state.result for state in states] == [str(n) * 400_000 for n in range(7)]
    assert reads_of(proxy) >= 4


async def test_a_thousand_tasks_over_one_connection(proxy: Proxy, queue_name: str) -> None:
    async with proxy.client(max_connections=10) as client, Torrelque(client, queue=queue_name) as queue:
        ids = await queue.enqueue_many(range(1000))
        await begin(queue, ids[0])
        connections = len(await client.client_list())
        waiting = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids]
        assert queue._session is not None
        while sum(task.state is not None for task in queue._session.hub._tasks.values()) < 1000:
            await asyncio.sleep(0.01)
        assert len(await channels(client)) == 1000
        assert len(await client.client_list()) == connections
        # Each in a call of bounded length, and not one by one.
        reads = reads_of(proxy)
        assert 4 <= reads <= 50
        while (await queue.get_queue_stats()).tasks:
            taken = await queue.dequeue(max_tasks=100)
            for task_id, n in taken:
                await queue.release(task_id, result=n)
        assert [state.result for state in await asyncio.gather(*waiting)] == list(range(1000))
        await until_unsubscribed(client)


async def test_idle_watchers_ask_nothing(as_it_is: None, make_server: MakeServer) -> None:
    async with make_server().client() as client, Torrelque(client) as queue:
        ids = await queue.enqueue_many(range(100))
        watched = [(await begin(queue, task_id))[0] for task_id in ids]
        asked = {'anything'}
        # A process that a busy machine has let stand still looks once, because it may have missed something.
        while asked - {'cmdstat_info', 'cmdstat_config'}:
            await client.config_resetstat()
            await asyncio.sleep(2.5)
            asked = {name.partition('|')[0] for name in await client.info('commandstats')}
        for item in watched:
            await item.aclose()


# Nothing is left behind


async def test_who_leaves_takes_the_subscription_along(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    before = asyncio.all_tasks()
    one, two = await queue.enqueue_many(range(2))
    stays, _ = await begin(queue, two)
    async for _ in queue.watch(one):
        break
    with contextlib.suppress(ZeroDivisionError):
        async for _ in queue.watch(one):
            1 / 0  # noqa: B018
    waiting = asyncio.ensure_future(queue.wait(one))
    while len(await channels(client)) < 2:
        await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    watched, _ = await begin(queue, one)
    await watched.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(watched)
    while len(await channels(client)) > 1:
        await asyncio.sleep(0.005)
    assert [channel.decode().rpartition(':')[2] for channel in await channels(client)] == [two]
    del stays
    await until_unsubscribed(client)
    assert queue._session is not None
    assert asyncio.all_tasks() == before and queue._session.hub._timer is None


async def test_watches_one_after_the_other_leave_no_memory(queue: Torrelque) -> None:
    ids = set()
    for n in range(300):
        ids.add(await queue.enqueue(n))
        task_id, _ = await queue.dequeue()
        await queue.release(task_id, result=n)
        assert (await queue.wait(task_id)).result == n
    gc.collect()
    assert not [item for item in gc.get_objects() if issubclass(type(item), watcher.Task) and item.id in ids]


async def test_closing_a_watch_ends_who_waits_for_it(queue: Torrelque) -> None:
    watched, _ = await begin(queue, await queue.enqueue(1))
    waiting = asyncio.ensure_future(anext(watched))
    await asyncio.sleep(0)
    with pytest.raises(torrelque.TorrelqueError, match='already'):
        await anext(watched)
    await watched.aclose()
    with pytest.raises(StopAsyncIteration):
        await asyncio.shield(waiting)


async def test_closing_the_queue_ends_the_watches(client: redis.asyncio.Redis, queue_name: str) -> None:
    connections = len(await client.client_list())
    queue = Torrelque(client, queue=queue_name)
    task_id = await queue.enqueue(1)
    waiting = asyncio.ensure_future(queue.wait(task_id))
    watched, _ = await begin(queue, task_id)
    await queue.aclose()
    for call in (waiting, anext(watched), anext(queue.watch(task_id)), queue.wait(task_id)):
        with pytest.raises(torrelque.TorrelqueClosedError):
            await call
    await until_unsubscribed(client)
    while len(await client.client_list()) > connections:
        await asyncio.sleep(0.005)


async def test_a_watch_keeps_its_queue_object_and_no_longer(
    client: redis.asyncio.Redis, queue: Torrelque, queue_name: str
) -> None:
    task_id = await queue.enqueue(1)
    watched = Torrelque(client, queue=queue_name).watch(task_id)
    assert (await anext(watched)).status is Status.PENDING
    gc.collect()
    await queue.dequeue()
    assert (await anext(watched)).status is Status.WORKING
    connections = len(await client.client_list())
    del watched
    while len(await client.client_list()) > connections - 1:
        await asyncio.sleep(0.005)
    assert await channels(client) == []


def test_a_watch_may_outlive_its_loop(server: RealServer, queue_name: str) -> None:
    kept = []

    async def main() -> None:
        async with server.client() as client:
            queue = Torrelque(client, queue=queue_name)
            watched, _ = await begin(queue, await queue.enqueue(1))
            kept.append(watched)
            waiting = asyncio.ensure_future(queue.wait(watched._task_id))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert queue._session is not None
            await queue._session.close()

    asyncio.run(main())
    kept.clear()
    gc.collect()


async def test_a_queue_object_belongs_to_one_loop_for_watches_too(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    with pytest.raises(torrelque.TorrelqueError, match='event loop'):
        await asyncio.to_thread(lambda: asyncio.run(queue.wait(task_id)))
    watched, _ = await begin(queue, task_id)

    async def go_on() -> None:
        await anext(watched)

    with pytest.raises(torrelque.TorrelqueError, match='event loop'):
        await asyncio.to_thread(lambda: asyncio.run(go_on()))
