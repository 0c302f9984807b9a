"""Nothing is missed of a watched task: between two steps, without a listener, by a lost notification."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import watching
from support.bounding import Bound
from support.proxy import Proxy
from support.servers import MakeServer
from support.watching import READ, begin, both, channels, kill_listeners, statuses, until_unsubscribed, without_listener
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.aio import listener as listen

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.long

still, faulty, fast, unsafe = watching.still, watching.faulty, watching.fast, watching.unsafe
server = watching.server


@both
@pytest.mark.parametrize('hold', ['hold_request', 'hold_reply'])
@pytest.mark.parametrize('step', [b'notify-keyspace-events', b'SUBSCRIBE', READ])
@pytest.mark.parametrize('keep', [True, False])
async def test_an_end_between_two_steps_is_seen(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, step: Any, hold: str, keep: bool
) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    gate = getattr(proxy, hold)(step)
    seen = asyncio.ensure_future(statuses(faulty.watch(task_id)))
    await gate.arrived.wait()
    await queue.release(taken, result=1 if keep else None)
    gate.open()
    try:
        result = await asyncio.wait_for(seen, 60)
        # The task is read before its end or after it, and then its end.
        assert result in ([Status.WORKING, Status.COMPLETED], [Status.COMPLETED]) if keep else [[Status.WORKING]]
    except torrelque.TorrelqueLookupError:
        assert not keep


@both
async def test_an_end_between_the_steps_of_a_second_watch_is_seen(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    """Of a task that is watched already, and of one that was watched a moment ago."""
    for leave in (False, True):
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(faulty, task_id)
        gate = proxy.hold_request(READ)
        if leave:
            await watched.aclose()
        second = asyncio.ensure_future(statuses(faulty.watch(task_id)))
        await gate.arrived.wait()
        await queue.release(taken, result=1)
        gate.open()
        assert (await asyncio.wait_for(second, 60))[-1] is Status.COMPLETED
        if not leave:
            assert await statuses(watched) == [Status.COMPLETED]


@both
async def test_who_joins_while_the_first_read_is_on_its_way_is_read_for(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    """And sees nothing older than its call."""
    task_id = await queue.enqueue(1)
    await begin(queue, task_id)  # now the server knows the script
    gate = proxy.hold_reply(READ)
    first = asyncio.ensure_future(begin(faulty, task_id))
    await gate.arrived.wait()
    await asyncio.sleep(0.05)  # the server has answered
    assert faulty._session is not None
    faulty._session.hub._listener._heard = lambda channels: None  # that would come too late
    await queue.dequeue()
    second = asyncio.ensure_future(begin(faulty, task_id))
    await asyncio.sleep(0.05)
    assert not second.done()
    gate.open()
    assert (await asyncio.wait_for(first, 60))[1].status is Status.PENDING
    assert (await asyncio.wait_for(second, 60))[1].status is Status.WORKING


async def test_a_listener_that_is_killed_is_replaced(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    for _ in range(3):
        assert await kill_listeners(client) == 1
        taken, _ = await queue.dequeue()
        while (state := await asyncio.wait_for(anext(watched), 60)).status is not Status.WORKING:
            pass
        await queue.requeue(taken)
        while (state := await asyncio.wait_for(anext(watched), 60)).status is not Status.PENDING:
            pass
    assert state.requeue_count == 3


@both
async def test_the_end_while_there_is_no_connection_is_seen(proxy: Proxy, faulty: Torrelque, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    proxy.refusing = True
    proxy.cut()
    await queue.release(taken, result=1)
    await asyncio.sleep(0.2)
    proxy.refusing = False
    assert await asyncio.wait_for(statuses(watched), 60) == [Status.COMPLETED]


async def test_a_listener_that_falls_silent_is_replaced(
    unsafe: None, proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    proxy.mute(b'SUBSCRIBE')
    while not proxy.lossless:
        await asyncio.sleep(0.01)
    await queue.release(taken, result=1)
    assert await asyncio.wait_for(statuses(watched), 60) == [Status.COMPLETED]


@pytest.mark.filterwarnings('ignore:.*lib_name')
@pytest.mark.parametrize('options', [{}, {'protocol': 2, 'lib_name': None, 'lib_version': None}])
async def test_a_watch_goes_on_and_another_begins_while_nobody_listens(
    unsafe: None, make_server: MakeServer, options: dict[str, Any]
) -> None:
    async with make_server().client(**options) as client, Torrelque(client) as queue:
        one, two = await queue.enqueue_many(range(2))
        first, _ = await begin(queue, one)
        await without_listener(client, queue)
        second, state = await asyncio.wait_for(begin(queue, two), 60)
        assert state.status is Status.PENDING
        taken = await queue.dequeue(max_tasks=2)
        for task_id, _ in taken:
            await queue.release(task_id, result=1)
        for watched in (first, second):
            assert (await asyncio.wait_for(statuses(watched), 60))[-1] is Status.COMPLETED
        await client.config_set('maxclients', 100)
        third, _ = await begin(queue, await queue.enqueue(1))
        assert queue._session is not None
        while not queue._session.hub._listener.connected:
            await asyncio.sleep(0.01)
        await third.aclose()


async def test_a_watch_begins_at_once_where_nobody_listens(make_server: MakeServer) -> None:
    async with make_server().client() as client, Torrelque(client) as queue:
        one, two = await queue.enqueue_many(range(2))
        _first, _ = await begin(queue, one)
        await without_listener(client, queue)
        assert (await asyncio.wait_for(begin(queue, two), 60))[1].status is Status.PENDING


@pytest.mark.parametrize('silence', [3, 10**6])
async def test_a_watch_begins_while_the_listener_is_silent(
    unsafe: None, proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound, silence: int
) -> None:
    bound(watch_silence_ticks=silence)
    one, two = await queue.enqueue_many(range(2))
    await begin(faulty, one)
    proxy.mute(b'SUBSCRIBE')
    _, state = await asyncio.wait_for(begin(faulty, two), 60)
    assert state.status is Status.PENDING


@both
async def test_a_short_watch_sees_the_state_while_the_listener_is_silent(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    one, two = await queue.enqueue_many(range(2))
    await begin(faulty, one)
    proxy.mute(b'SUBSCRIBE')
    watched, state = await begin(faulty, two, timeout=0)
    assert state.status is Status.PENDING
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await anext(watched)


async def test_a_listener_that_is_well_stays(fast: None, make_server: MakeServer) -> None:
    async with make_server().client() as client, Torrelque(client) as queue:
        watched, _ = await begin(queue, await queue.enqueue(1))
        made = (await client.info('stats'))['total_connections_received']
        await asyncio.sleep(1.5)
        assert (await client.info('stats'))['total_connections_received'] == made
        await watched.aclose()


async def test_many_subscribe_step_by_step(proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound) -> None:
    bound(subscribe_channels=10)
    ids = await queue.enqueue_many(range(95))
    gate = proxy.hold_reply(b'\nSUBSCRIBE\r')
    beginning = [asyncio.ensure_future(begin(faulty, task_id)) for task_id in ids[:94]]
    await gate.arrived.wait()
    beginning.append(asyncio.ensure_future(begin(faulty, ids[94])))
    await asyncio.sleep(0.05)
    assert b''.join(proxy.requests).count(b'\nSUBSCRIBE\r') == 1
    gate.open()
    watched = [watched for watched, _ in await asyncio.gather(*beginning)]
    assert b''.join(proxy.requests).count(b'\nSUBSCRIBE\r') == 10
    proxy.cut()
    while len(await channels(queue.client)) < 95:
        await asyncio.sleep(0.005)
    for item in watched[:40]:
        await item.aclose()
    await queue.dequeue(max_tasks=95)
    await queue.release_many(ids, result_ttl=60)
    for item in watched[40:]:
        assert (await statuses(item))[-1] is Status.COMPLETED
    await until_unsubscribed(queue.client)


async def test_a_notification_that_is_lost_delays_the_end_only(
    fast: None, make_server: MakeServer, bound: Bound
) -> None:
    bound(watch_silence_ticks=10**6, watch_ask_ticks=10**6)
    async with make_server().client() as client, Torrelque(client) as queue:
        ids = await queue.enqueue_many(range(20))
        await queue.dequeue(max_tasks=20)
        watched = [(await begin(queue, task_id))[0] for task_id in ids]
        await client.config_set('notify-keyspace-events', '')
        await queue.release_many(ids, result_ttl=60)
        for item in watched:
            assert await asyncio.wait_for(statuses(item), 60) == [Status.COMPLETED]


@both
@pytest.mark.parametrize('command', [('DEL',), ('PEXPIRE', 50)])
async def test_a_state_that_is_gone_ends_the_watch(
    client: redis.asyncio.Redis, queue: Torrelque, command: tuple[Any, ...]
) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    call: Any = queue.wait(task_id)
    waiting = asyncio.ensure_future(call)
    assert queue._session is not None
    while len(queue._session.hub._tasks) < 1 or not call.cr_await:
        await asyncio.sleep(0.01)
    await client.execute_command(command[0], f'{queue.keys["task"]}:{task_id}', *command[1:])
    assert await asyncio.wait_for(statuses(watched), 60) == []
    assert (await asyncio.wait_for(waiting, 60)).status is Status.COMPLETED


@both
async def test_what_was_seen_before_a_server_lost_writes_is_not_seen_again(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    watched, state = await begin(queue, task_id)
    assert (state.status, state.dequeue_count) == (Status.WORKING, 1)
    key = f'{queue.keys["task"]}:{task_id}'
    await client.hset(key, mapping={'status': 0, 'dequeue_count': 0})
    assert queue._session is not None
    task: Any = queue._session.hub._tasks[f'__keyspace@0__:{key}'.encode()]
    while task.state.status is not Status.PENDING:
        await asyncio.sleep(0.005)
    assert not watched._watcher.fresh
    await client.hset(key, mapping={'status': 1, 'dequeue_count': 1})
    await queue.release(task_id, result=1)
    assert (await statuses(watched))[-1] is Status.COMPLETED


@both
async def test_what_cannot_be_read_is_told(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    key = f'{queue.keys["task"]}:{task_id}'
    healthy, _ = await begin(queue, await queue.enqueue(2))
    watched, _ = await begin(queue, task_id)
    await client.hset(key, 'progress', 'no JSON')
    with pytest.raises(torrelque.TorrelqueError, match='progress'):
        await anext(watched)
    await client.hset(key, mapping={'progress': '1', 'timeout': '9' * 400})
    with pytest.raises(torrelque.TorrelqueError, match='state'):
        await queue.wait(task_id)
    await client.delete(key)
    await client.set(key, 'something else')
    with pytest.raises(torrelque.TorrelqueError, match=str(task_id)):
        await queue.wait(task_id)
    await queue.dequeue()
    assert (await anext(healthy)).status is Status.WORKING


@both
async def test_progress_without_equality_is_no_change_by_itself(
    fast: None, client: redis.asyncio.Redis, queue_name: str
) -> None:
    """Deserialised anew it is another object each time."""
    async with Torrelque(client, queue=queue_name, serialiser=pickle) as queue:
        await queue.enqueue(1)
        task_id, _ = await queue.dequeue()
        await queue.touch(task_id, progress=threading.Barrier)
        watched, _ = await begin(queue, task_id)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(watched), 1.5)


@both
async def test_a_read_that_failed_is_tried_again(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound
) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    # The connection for calls falls silent, and the one that listens does not.
    bound(repeat=0.5)
    proxy.mute(READ)
    await queue.release(taken, result=1)
    assert await asyncio.wait_for(statuses(watched), 60) == [Status.COMPLETED]


async def test_a_listener_that_is_told_of_others_only_keeps_nobody_waiting(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    """It is not deaf, but whoever waits for the confirmation of a subscription would wait for ever."""
    take = listen.Listener._take

    def take_another(listener: Any, reply: Any, heard: Any) -> None:
        if isinstance(reply, list) and reply[0] in (b'subscribe', b'message'):
            reply = [reply[0], b'another', reply[2]]
        take(listener, reply, heard)

    monkeypatch.setattr(listen.Listener, '_take', take_another)
    task_id = await queue.enqueue(1)
    waiting = asyncio.ensure_future(queue.wait(task_id))
    taken, _ = await queue.dequeue()
    while not any(watcher.state for task in queue._started().hub._tasks.values() for watcher in task.watchers):
        await asyncio.sleep(0.01)
    await queue.release(taken, result='done')
    assert (await asyncio.wait_for(waiting, 60)).result == 'done'
