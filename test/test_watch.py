"""Watching: what is seen, that nothing is missed, and that nothing is left behind."""

import asyncio
import contextlib
import gc
import pickle
import threading

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from proxy import calls_of, has_part
from torrelque import Torrelque, TorrelqueTaskStatus as Status, hub, link, listen
from torrelque.protocol import notifications_missing

READ = calls_of('state')


def reads_of(proxy):
    return sum(b''.join(proxy.requests).count(part) for part in READ)


async def statuses(watched):
    return [state.status async for state in watched]


async def begin(queue, task_id, **options):
    """A watch that has yielded its first state, and that state."""
    watched = queue.watch(task_id, **options)
    return watched, await anext(watched)


async def channels(client):
    return sorted(await client.pubsub_channels())


async def until_unsubscribed(client):
    while await channels(client):
        await asyncio.sleep(0.005)


async def kill_listeners(client):
    """Kill the connections that listen; how many there were.  Who listens is known by its commands: a connection of
    RESP3 that listens is none of type pubsub for every server."""
    found = [item for item in await client.client_list() if item['cmd'] in ('subscribe', 'unsubscribe')]
    for item in found:
        await client.client_kill_filter(_id=item['id'])
    return len(found)


@pytest.fixture
async def faulty(proxy, queue_name):
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """No second line of defence: what happens is the effect of notifications, and of what the test is about."""
    monkeypatch.setattr(hub, 'TICK', 3600)


@pytest.fixture
def fast(still, monkeypatch):
    """The second line of defence comes sooner, for tests that would wait for it."""
    monkeypatch.setattr(hub, 'TICK', 0.1)


@pytest.fixture
def unsafe(fast, monkeypatch):
    """The connection is looked after, but nothing is read in case a notification was lost."""
    monkeypatch.setattr(hub, 'SAFETY', 10**6)


@pytest.fixture
def as_it_is(still, monkeypatch):
    """The second line of defence as it is outside tests."""
    monkeypatch.setattr(hub, 'TICK', 1.0)


async def without_listener(client, queue):
    """Kill the connection that listens, and let no other come in its place."""
    await client.config_set('maxclients', len(await client.client_list()) - 1)
    assert await kill_listeners(client) == 1
    while queue._session.hub._listener.connected:
        await asyncio.sleep(0.005)


# What is seen


@pytest.mark.parametrize('options', [{'protocol': 2}, {'protocol': 3}, {'decode_responses': True, 'db': 3}])
async def test_a_watch_shows_each_change_and_ends_with_the_final_state(server, options):
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


async def test_a_renewed_lease_and_the_same_progress_again_are_no_change(queue):
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
async def test_a_final_state_is_yielded_once(queue, status):
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    await queue.release(task_id, status=status, result_ttl=60)
    assert await statuses(queue.watch(task_id)) == [status]
    assert (await queue.wait(task_id)).status is status


async def test_a_task_that_is_released_without_a_result_just_ends(client, queue):
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


async def test_wait_gives_the_final_state(queue):
    for status in (Status.COMPLETED, Status.REJECTED):
        task_id = await queue.enqueue(1)
        waiting = asyncio.ensure_future(queue.wait(task_id, timeout=60))
        taken, _ = await queue.dequeue()
        await queue.release(taken, result='r', status=status)
        state = await waiting
        assert (state.status, state.result) == (status, 'r')


async def test_dead_is_not_final(queue):
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


async def test_a_slow_reader_skips_states_but_never_the_last(queue):
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


async def test_unknown_tasks(queue):
    for call in (anext(queue.watch('nobody')), queue.wait('nobody', timeout=60)):
        with pytest.raises(torrelque.TorrelqueLookupError, match='nobody'):
            await call


async def test_bad_arguments_are_refused_at_once(queue):
    for task_id in (None, 3, b'x', ''):
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            queue.watch(task_id)
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            await queue.wait(task_id)
    for timeout in (-1, float('nan'), float('inf'), '1', True):
        with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
            queue.watch('x', timeout=timeout)


async def test_the_timeout_comes_after_the_first_state(client, queue):
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


async def test_a_first_state_that_comes_late_is_given_before_the_timeout(proxy, faulty, queue):
    task_id = await queue.enqueue(1)
    gate = proxy.hold_reply(READ)
    watched = faulty.watch(task_id, timeout=0)
    first = asyncio.ensure_future(anext(watched))
    await gate.arrived.wait()
    while not watched._watcher.late:
        await asyncio.sleep(0.005)
    gate.open()
    assert (await first).status is Status.PENDING
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await anext(watched)


async def test_an_own_id_that_is_enqueued_again_is_another_task(queue):
    await queue.enqueue(1, task_id='own')
    watched, _ = await begin(queue, 'own')
    taken, _ = await queue.dequeue()
    assert (await anext(watched)).status is Status.WORKING
    async with queue._client.pipeline(transaction=True) as pipeline:
        await queue.release(taken, pipeline=pipeline)
        await queue.enqueue(2, task_id='own', pipeline=pipeline)
        await pipeline.execute()
    assert await statuses(watched) == []
    assert (await begin(queue, 'own'))[1].status is Status.PENDING


async def test_many_watch_one_task(queue):
    task_id = await queue.enqueue(1)
    waiting = [asyncio.ensure_future(queue.wait(task_id)) for _ in range(300)]
    watched, _ = await begin(queue, task_id)
    waiting += [asyncio.ensure_future(queue.wait(task_id)) for _ in range(300)]
    taken, _ = await queue.dequeue()
    await queue.release(taken, result='r')
    assert {state.result for state in await asyncio.gather(*waiting)} == {'r'}
    assert (await statuses(watched))[-1] is Status.COMPLETED


async def test_large_states_come_in_several_replies(proxy, faulty, queue):
    ids = []
    for n in range(7):
        await queue.enqueue(n)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=str(n) * 400_000)
        ids.append(taken)
    states = await asyncio.gather(*map(faulty.wait, ids))
    assert [state.result for state in states] == [str(n) * 400_000 for n in range(7)]
    assert reads_of(proxy) >= 4


async def test_a_thousand_tasks_over_one_connection(proxy, queue_name):
    async with proxy.client(max_connections=10) as client, Torrelque(client, queue=queue_name) as queue:
        ids = await queue.enqueue_many(range(1000))
        await begin(queue, ids[0])
        connections = len(await client.client_list())
        waiting = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids]
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


async def test_idle_watchers_ask_nothing(as_it_is, make_server):
    async with make_server().client() as client, Torrelque(client) as queue:
        ids = await queue.enqueue_many(range(100))
        watched = [(await begin(queue, task_id))[0] for task_id in ids]
        await client.config_resetstat()
        await asyncio.sleep(2.5)
        asked = {name.partition('|')[0] for name in await client.info('commandstats')}
        assert asked <= {'cmdstat_info', 'cmdstat_config'}
        for item in watched:
            await item.aclose()


# Nothing is missed


@pytest.mark.parametrize('hold', ['hold_request', 'hold_reply'])
@pytest.mark.parametrize('step', [b'notify-keyspace-events', b'SUBSCRIBE', READ])
@pytest.mark.parametrize('keep', [True, False])
async def test_an_end_between_two_steps_is_seen(proxy, faulty, queue, step, hold, keep):
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    gate = getattr(proxy, hold)(step)
    seen = asyncio.ensure_future(statuses(faulty.watch(task_id)))
    await gate.arrived.wait()
    await queue.release(taken, result=1 if keep else None)
    gate.open()
    try:
        result = await asyncio.wait_for(seen, 5)
        # The task is read before its end or after it, and then its end.
        assert result in ([Status.WORKING, Status.COMPLETED], [Status.COMPLETED]) if keep else [[Status.WORKING]]
    except torrelque.TorrelqueLookupError:
        assert not keep


async def test_an_end_between_the_steps_of_a_second_watch_is_seen(proxy, faulty, queue):
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
        assert (await asyncio.wait_for(second, 5))[-1] is Status.COMPLETED
        if not leave:
            assert await statuses(watched) == [Status.COMPLETED]


async def test_who_joins_while_the_first_read_is_on_its_way_is_read_for(proxy, faulty, queue):
    """And sees nothing older than its call."""
    task_id = await queue.enqueue(1)
    await begin(queue, task_id)  # now the server knows the script
    gate = proxy.hold_reply(READ)
    first = asyncio.ensure_future(begin(faulty, task_id))
    await gate.arrived.wait()
    await asyncio.sleep(0.05)  # the server has answered
    faulty._session.hub._listener._heard = lambda channels: None  # that would come too late
    await queue.dequeue()
    second = asyncio.ensure_future(begin(faulty, task_id))
    await asyncio.sleep(0.05)
    assert not second.done()
    gate.open()
    assert (await asyncio.wait_for(first, 5))[1].status is Status.PENDING
    assert (await asyncio.wait_for(second, 5))[1].status is Status.WORKING


async def test_a_listener_that_is_killed_is_replaced(client, queue):
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    for _ in range(3):
        assert await kill_listeners(client) == 1
        taken, _ = await queue.dequeue()
        while (state := await asyncio.wait_for(anext(watched), 5)).status is not Status.WORKING:
            pass
        await queue.requeue(taken)
        while (state := await asyncio.wait_for(anext(watched), 5)).status is not Status.PENDING:
            pass
    assert state.requeue_count == 3


async def test_the_end_while_there_is_no_connection_is_seen(proxy, faulty, queue):
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    proxy.refusing = True
    proxy.cut()
    await queue.release(taken, result=1)
    await asyncio.sleep(0.2)
    proxy.refusing = False
    assert await asyncio.wait_for(statuses(watched), 5) == [Status.COMPLETED]


async def test_a_listener_that_falls_silent_is_replaced(unsafe, proxy, faulty, queue):
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    proxy.mute(b'SUBSCRIBE')
    while proxy._muted:
        await asyncio.sleep(0.01)
    await queue.release(taken, result=1)
    assert await asyncio.wait_for(statuses(watched), 10) == [Status.COMPLETED]


@pytest.mark.filterwarnings('ignore:.*lib_name')
@pytest.mark.parametrize('options', [{}, {'protocol': 2, 'lib_name': None, 'lib_version': None}])
async def test_a_watch_goes_on_and_another_begins_while_nobody_listens(unsafe, make_server, options):
    async with make_server().client(**options) as client, Torrelque(client) as queue:
        one, two = await queue.enqueue_many(range(2))
        first, _ = await begin(queue, one)
        await without_listener(client, queue)
        second, state = await asyncio.wait_for(begin(queue, two), 10)
        assert state.status is Status.PENDING
        taken = await queue.dequeue(max_tasks=2)
        for task_id, _ in taken:
            await queue.release(task_id, result=1)
        for watched in (first, second):
            assert (await asyncio.wait_for(statuses(watched), 10))[-1] is Status.COMPLETED
        await client.config_set('maxclients', 100)
        third, _ = await begin(queue, await queue.enqueue(1))
        while not queue._session.hub._listener.connected:
            await asyncio.sleep(0.01)
        await third.aclose()


async def test_a_watch_begins_at_once_where_nobody_listens(make_server):
    async with make_server().client() as client, Torrelque(client) as queue:
        one, two = await queue.enqueue_many(range(2))
        _first, _ = await begin(queue, one)
        await without_listener(client, queue)
        assert (await asyncio.wait_for(begin(queue, two), 10))[1].status is Status.PENDING


@pytest.mark.parametrize('silence', [3, 10**6])
async def test_a_watch_begins_while_the_listener_is_silent(unsafe, proxy, faulty, queue, monkeypatch, silence):
    monkeypatch.setattr(listen, 'SILENCE', silence)
    one, two = await queue.enqueue_many(range(2))
    await begin(faulty, one)
    proxy.mute(b'SUBSCRIBE')
    _, state = await asyncio.wait_for(begin(faulty, two), 10)
    assert state.status is Status.PENDING


async def test_a_short_watch_sees_the_state_while_the_listener_is_silent(proxy, faulty, queue):
    one, two = await queue.enqueue_many(range(2))
    await begin(faulty, one)
    proxy.mute(b'SUBSCRIBE')
    watched, state = await begin(faulty, two, timeout=0)
    assert state.status is Status.PENDING
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await anext(watched)


async def test_a_listener_that_is_well_stays(fast, make_server):
    async with make_server().client() as client, Torrelque(client) as queue:
        watched, _ = await begin(queue, await queue.enqueue(1))
        made = (await client.info('stats'))['total_connections_received']
        await asyncio.sleep(1.5)
        assert (await client.info('stats'))['total_connections_received'] == made
        await watched.aclose()


async def test_many_subscribe_step_by_step(proxy, faulty, queue, monkeypatch):
    monkeypatch.setattr(listen, 'CHUNK', 10)
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
    while len(await channels(queue._client)) < 95:
        await asyncio.sleep(0.005)
    for item in watched[:40]:
        await item.aclose()
    await queue.dequeue(max_tasks=95)
    await queue.release_many(ids, result_ttl=60)
    for item in watched[40:]:
        assert (await statuses(item))[-1] is Status.COMPLETED
    await until_unsubscribed(queue._client)


async def test_a_notification_that_is_lost_delays_the_end_only(fast, make_server, monkeypatch):
    monkeypatch.setattr(listen, 'SILENCE', 10**6)
    async with make_server().client() as client, Torrelque(client) as queue:
        ids = await queue.enqueue_many(range(20))
        await queue.dequeue(max_tasks=20)
        watched = [(await begin(queue, task_id))[0] for task_id in ids]
        await client.config_set('notify-keyspace-events', '')
        await queue.release_many(ids, result_ttl=60)
        for item in watched:
            assert await asyncio.wait_for(statuses(item), 10) == [Status.COMPLETED]


@pytest.mark.parametrize('command', [('DEL',), ('PEXPIRE', 50)])
async def test_a_state_that_is_gone_ends_the_watch(client, queue, command):
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    waiting = asyncio.ensure_future(queue.wait(task_id))
    while len(queue._session.hub._tasks) < 1 or not waiting.get_coro().cr_await:
        await asyncio.sleep(0.01)
    await client.execute_command(command[0], f'{queue.keys["task"]}:{task_id}', *command[1:])
    assert await asyncio.wait_for(statuses(watched), 10) == []
    assert (await asyncio.wait_for(waiting, 10)).status is Status.COMPLETED


async def test_what_was_seen_before_a_server_lost_writes_is_not_seen_again(client, queue):
    await queue.enqueue(1)
    task_id, _ = await queue.dequeue()
    watched, state = await begin(queue, task_id)
    assert (state.status, state.dequeue_count) == (Status.WORKING, 1)
    key = f'{queue.keys["task"]}:{task_id}'
    await client.hset(key, mapping={'status': 0, 'dequeue_count': 0})
    while queue._session.hub._tasks[f'__keyspace@0__:{key}'.encode()].state.status is not Status.PENDING:
        await asyncio.sleep(0.005)
    assert not watched._watcher.fresh
    await client.hset(key, mapping={'status': 1, 'dequeue_count': 1})
    await queue.release(task_id, result=1)
    assert (await statuses(watched))[-1] is Status.COMPLETED


async def test_what_cannot_be_read_is_told(client, queue):
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


async def test_progress_without_equality_is_no_change_by_itself(fast, client, queue_name):
    """Deserialised anew it is another object each time."""
    async with Torrelque(client, queue=queue_name, serialiser=pickle) as queue:
        await queue.enqueue(1)
        task_id, _ = await queue.dequeue()
        await queue.touch(task_id, progress=threading.Barrier)
        watched, _ = await begin(queue, task_id)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(watched), 1.5)


async def test_watches_survive_a_restart_of_the_server(durable_server):
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await asyncio.to_thread(durable_server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(durable_server.start)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 10) == [Status.COMPLETED]


async def test_watches_survive_a_server_that_is_away_for_longer_than_calls(durable_server, monkeypatch):
    monkeypatch.setattr(link, 'GIVE_UP', 2)
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await asyncio.to_thread(durable_server.kill)
        second = asyncio.ensure_future(begin(queue, task_id))
        while queue._session.hub._error is None:
            await asyncio.sleep(0.01)
        with pytest.raises(torrelque.TorrelqueTimeoutError) as caught:
            await queue.wait(task_id, timeout=0)
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueConnectionError)
        await asyncio.to_thread(durable_server.start)
        assert (await asyncio.wait_for(second, 10))[1].status is Status.WORKING
        while not await queue.touch(taken):
            await asyncio.sleep(0.01)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 10) == [Status.COMPLETED]


async def test_a_first_watch_waits_for_a_server_that_was_there(durable_server, monkeypatch):
    monkeypatch.setattr(link, 'GIVE_UP', 2)
    async with durable_server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        await asyncio.to_thread(durable_server.kill)
        waiting = asyncio.ensure_future(begin(queue, task_id))
        while not (queue._session.hub._error or waiting.done()):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(durable_server.start)
        assert (await asyncio.wait_for(waiting, 10))[1].status is Status.PENDING


async def test_a_server_that_was_never_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(link, 'GIVE_UP', 2)
    async with redis.asyncio.Redis(unix_socket_path=str(tmp_path / 'nobody')) as client, Torrelque(client) as queue:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await asyncio.wait_for(queue.wait('x'), 10)


async def test_every_watch_ends_and_shows_no_step_back(client, queue, queue_name):
    """Consumers work, and the listening connection is killed again and again."""
    order = {Status.PENDING: 0, Status.DELAYED: 0, Status.WORKING: 1, Status.COMPLETED: 2}

    async def consume():
        while True:
            task_id, n = await queue.dequeue()
            if task_id.attempt < 3:
                await queue.requeue(task_id, 0.01 * (n % 3))
            else:
                await queue.release(task_id, result=n)

    async def follow(watcher, task_id):
        steps = [(state.dequeue_count, order[state.status]) async for state in watcher.watch(task_id)]
        assert steps[-1] == (3, 2)
        # Back in the queue after an attempt counts as later than the attempt.
        places = [(count, 1.5 if step == 0 and count else step) for count, step in steps]
        assert places == sorted(places)

    async with Torrelque(client, queue=queue_name) as watcher:
        ids = await queue.enqueue_many(range(300))
        following = [asyncio.ensure_future(follow(watcher, task_id)) for task_id in ids]
        while len(await channels(client)) < 300:
            await asyncio.sleep(0.005)
        consumers = [asyncio.ensure_future(consume()) for _ in range(10)]
        while not all(item.done() for item in following):
            await kill_listeners(client)
            await asyncio.wait(following, timeout=0.05)
        await asyncio.gather(*following)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.wait(consumers)


async def test_watches_follow_a_slot_of_a_cluster(as_it_is, cluster):
    async with cluster.client() as client, cluster.client() as other, Torrelque(client, queue='watched') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        async with Torrelque(other, queue='watched') as consumer:
            for _ in range(3):
                one, two = await consumer.enqueue_many(range(2))
                taken = await consumer.dequeue(max_tasks=2)
                first, _ = await begin(queue, one)
                second, _ = await begin(queue, two)
                to = (cluster.owner_of(slot) + 1) % 3
                await asyncio.to_thread(cluster.begin_move, slot, to)
                await consumer_release(consumer, taken[0][0], cluster, slot, to)
                assert await asyncio.wait_for(statuses(first), 10) == [Status.COMPLETED]
                # Listens where the slot is now.
                while not await cluster_channels(cluster, to):
                    await asyncio.sleep(0.02)
                await consumer.release(taken[1][0], result=2)
                assert await asyncio.wait_for(statuses(second), 10) == [Status.COMPLETED]


async def test_idle_watches_follow_a_slot_of_a_cluster(unsafe, cluster):
    """Also where they heard nothing of the move."""
    async with cluster.client() as client, Torrelque(client, queue='idle') as queue:
        slot = cluster.slot_of(queue.keys['pending'])
        watched, _ = await begin(queue, await queue.enqueue(1))
        queue._session.hub._listener._heard = lambda channels: None
        to = (cluster.owner_of(slot) + 1) % 3
        await asyncio.to_thread(cluster.move_slot, slot, to)
        while not await cluster_channels(cluster, to):
            await asyncio.sleep(0.02)
        await watched.aclose()


async def consumer_release(consumer, task_id, cluster, slot, to):
    """Release a task in a slot that is half moved; the call waits for the rest of the move."""
    call = asyncio.ensure_future(consumer.release(task_id, result=1))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(cluster.finish_move, slot, to)
    assert await call


async def cluster_channels(cluster, index):
    async with cluster.nodes[index].client() as client:
        return await client.pubsub_channels()


async def test_watches_follow_a_failover(as_it_is, sentinel):
    client = sentinel.master_for()
    async with Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        watched, _ = await begin(queue, task_id)
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await asyncio.to_thread(sentinel.wait_failover)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=1)
        assert (await asyncio.wait_for(statuses(watched), 20))[-1] is Status.COMPLETED
    await client.aclose()


# The server's settings


@pytest.mark.parametrize('flags', ['', 'K', 'EA', 'AE', 'Kgh', 'Khx', 'Kg$'])
async def test_notifications_that_are_off_are_told_and_asked_for_once(make_server, flags):
    async with make_server({'notify-keyspace-events': f'"{flags}"'}).client() as client, Torrelque(client) as queue:
        ids = await queue.enqueue_many(range(50))
        await client.config_resetstat()
        errors = await asyncio.gather(*map(queue.wait, ids), return_exceptions=True)
        assert len(set(map(id, errors))) == 50
        for error in errors:
            assert type(error) is torrelque.TorrelqueError
            assert 'notify-keyspace-events' in str(error) and 'KA' in str(error) and 'Kghx' in str(error)
        stats = await client.info('commandstats')
        assert stats.get('cmdstat_config|get', stats.get('cmdstat_config', {'calls': 0}))['calls'] in (1, 2)
        await until_unsubscribed(client)
        await client.config_set('notify-keyspace-events', 'Kghx')
        watched, state = await begin(queue, ids[0])
        assert state.status is Status.PENDING
        await queue.cancel(ids[0])
        assert await asyncio.wait_for(statuses(watched), 5) == [Status.CANCELLED]


@pytest.mark.parametrize(
    ('reply', 'fine'),
    [
        ({b'notify-keyspace-events': b'AK'}, True),
        ([b'notify-keyspace-events', b'AKE'], True),
        ([b'notify-keyspace-events', b'ghxK'], True),
        ([b'notify-keyspace-events', b'xghE'], False),
        ({b'notify-keyspace-events': b''}, False),
        ({}, True),
        ([], True),
    ],
)
def test_settings_of_notifications(reply, fine):
    assert (not notifications_missing(reply)) is fine


async def test_nothing_is_shown_before_the_settings_are_known(proxy, faulty, queue):
    task_id = await queue.enqueue(1)
    gate = proxy.hold_reply(b'notify-keyspace-events')
    first = asyncio.ensure_future(begin(faulty, task_id))
    await gate.arrived.wait()
    while not await channels(queue._client):
        await asyncio.sleep(0.005)
    await queue.dequeue()
    assert not has_part(b''.join(proxy.requests), READ) and not first.done()
    gate.open()
    assert (await first)[1].status is Status.WORKING


async def user(server, *rules):
    """A client of a user with such rules."""
    async with server.client() as client:
        await client.execute_command('ACL', 'SETUSER', 'someone', 'on', '>secret', '~*', '+@all', *rules)
    return server.client(username='someone', password='secret')


async def test_a_server_that_does_not_tell_its_settings_is_trusted(make_server):
    async with await user(make_server(), '&*', '-config') as client, Torrelque(client) as queue:
        watched, _ = await begin(queue, await queue.enqueue(1))
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=1)
        assert (await asyncio.wait_for(statuses(watched), 5))[-1] is Status.COMPLETED


async def test_who_may_not_listen_is_told(make_server):
    server = make_server()
    async with await user(server, 'resetchannels') as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            await asyncio.wait_for(queue.wait(task_id), 5)


async def test_who_may_not_listen_to_one_task_is_told_of_that_one(make_server):
    server = make_server()
    rules = ('resetchannels', '&__keyspace@0__:{trq}:task:mine*')
    async with await user(server, *rules) as client, Torrelque(client) as queue:
        for task_id in ('mine', 'yours'):
            await queue.enqueue(1, task_id=task_id)
        watched, _ = await begin(queue, 'mine')
        with pytest.raises(redis.exceptions.NoPermissionError):
            await asyncio.wait_for(queue.wait('yours'), 5)
        await queue.cancel('mine')
        assert await asyncio.wait_for(statuses(watched), 5) == [Status.CANCELLED]


# Nothing is left behind


async def test_who_leaves_takes_the_subscription_along(client, queue):
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
    assert asyncio.all_tasks() == before and queue._session.hub._timer is None


async def test_watches_one_after_the_other_leave_no_memory(queue):
    ids = set()
    for n in range(300):
        ids.add(await queue.enqueue(n))
        task_id, _ = await queue.dequeue()
        await queue.release(task_id, result=n)
        assert (await queue.wait(task_id)).result == n
    gc.collect()
    assert not [item for item in gc.get_objects() if isinstance(item, hub._Task) and item.id in ids]


async def test_closing_a_watch_ends_who_waits_for_it(queue):
    watched, _ = await begin(queue, await queue.enqueue(1))
    waiting = asyncio.ensure_future(anext(watched))
    await asyncio.sleep(0)
    with pytest.raises(torrelque.TorrelqueError, match='already'):
        await anext(watched)
    await watched.aclose()
    with pytest.raises(StopAsyncIteration):
        await asyncio.shield(waiting)


async def test_closing_the_queue_ends_the_watches(client, queue_name):
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


async def test_a_watch_keeps_its_queue_object_and_no_longer(client, queue, queue_name):
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


def test_a_watch_may_outlive_its_loop(server, queue_name):
    kept = []

    async def main():
        async with server.client() as client:
            queue = Torrelque(client, queue=queue_name)
            watched, _ = await begin(queue, await queue.enqueue(1))
            kept.append(watched)
            waiting = asyncio.ensure_future(queue.wait(watched._task_id))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
            await queue._session.close()

    asyncio.run(main())
    kept.clear()
    gc.collect()


async def test_a_queue_object_belongs_to_one_loop_for_watches_too(queue):
    task_id = await queue.enqueue(1)
    with pytest.raises(torrelque.TorrelqueError, match='event loop'):
        await asyncio.to_thread(lambda: asyncio.run(queue.wait(task_id)))
    watched, _ = await begin(queue, task_id)

    async def go_on():
        await anext(watched)

    with pytest.raises(torrelque.TorrelqueError, match='event loop'):
        await asyncio.to_thread(lambda: asyncio.run(go_on()))


async def test_a_read_that_failed_is_tried_again(proxy, faulty, queue, monkeypatch):
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    watched, _ = await begin(faulty, task_id)
    # The connection for calls falls silent, and the one that listens does not.
    monkeypatch.setattr(link, 'GIVE_UP', 2)
    proxy.mute(READ)
    await queue.release(taken, result=1)
    assert await asyncio.wait_for(statuses(watched), 10) == [Status.COMPLETED]
