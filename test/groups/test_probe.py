"""Pauses that let one task through every so often: how often, which one, and who is woken for it."""

from __future__ import annotations

import asyncio
import itertools
import pickle

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.probing import clock, keys_of, make_due, times_of
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from support.taking import drain, take_all, tasks_of
from support.waiting import nothing_left, until_waiting
from torrelque import Torrelque

pytestmark = pytest.mark.first_server

GROUPS = pytest.mark.parametrize('group', [None, 'g'])


@GROUPS
async def test_one_task_is_let_through_when_its_time_has_come_and_no_more(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    before = await clock(client)
    await queue.pause(group, probe=60)
    instant, every = await times_of(client, queue, group)
    assert before + 60_000 <= instant <= await clock(client) + 60_000 and every == 60_000
    await queue.enqueue_many(range(4), group=group)
    assert await take_all(queue) == []

    for n in range(2):
        await make_due(client, queue, group)
        before = await clock(client)
        ((task_id, task),) = await take_all(queue, bulk=100)
        assert (task, task_id.probe, task_id.group) == (n, True, group)
        assert (await times_of(client, queue, group))[0] >= before + 60_000
        assert await take_all(queue) == []
    assert (await queue.get_group_stats('g')).paused

    await queue.resume(group)
    rest = await take_all(queue)
    assert [(task, task_id.probe, task_id.group) for task_id, task in rest] == [(2, False, group), (3, False, group)]


def test_the_id_of_a_probe_keeps_its_mark_when_it_is_pickled() -> None:
    for probe in (True, False):
        task_id = torrelque.TorrelqueTaskId('a', 1, '1-1', 'g', 2.0, probe)
        assert pickle.loads(pickle.dumps(task_id)).probe is probe
    assert torrelque.TorrelqueTaskId('a').probe is False


@pytest.mark.first_server
@pytest.mark.parametrize('paused', ['the queue', 'the queue with groups', 'a group', 'a strict group'])
async def test_many_consumers_are_given_one_probe_in_each_interval(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None, paused: str
) -> None:
    group = 'g' if 'a ' in paused else None
    taken = []
    enough = asyncio.Event()

    async def consume(queue: Torrelque) -> None:
        while True:
            task_id, _ = await queue.dequeue()
            taken.append(task_id)
            await queue.release(task_id)
            if len(taken) == 5:
                enough.set()

    if paused == 'a strict group':
        await queue.set_limit('g', concurrency=1)
    await queue.pause(group, probe=0.2)
    first, _ = await times_of(client, queue, group)
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        consumers = [asyncio.create_task(consume(some)) for some in (queue, other) for _ in range(20)]
        await until_waiting(client, 2)
        await queue.enqueue_many(range(100), group=(lambda n: f'g{n % 7}') if 'groups' in paused else group)
        # Nobody's block at the bell ends by itself: they wake for it.
        await asyncio.wait_for(enough.wait(), 60)
        for consumer in consumers:
            consumer.cancel()
        await asyncio.wait(consumers)
    # Whole milliseconds of the server, as the times are.
    instants = [int(float(task_id.token.partition('-')[2])) for task_id in taken]
    assert all(task_id.probe for task_id in taken) and instants[0] >= first
    assert all(later - sooner >= 200 for sooner, later in itertools.pairwise(instants))


@GROUPS
@pytest.mark.parametrize('late', [False, True], ids=['enqueued before', 'enqueued after'])
async def test_who_waits_already_is_told_of_the_time(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    endless: None,
    group: str | None,
    late: bool,
) -> None:
    await queue.pause(group, probe=1000)
    if not late:
        await queue.enqueue(1, group=group)
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        waiting = asyncio.ensure_future(other.dequeue())
        await until_waiting(client)
        await queue.pause(group, probe=0.2)
        if late:
            await queue.enqueue(1, group=group)
        task_id, _ = await asyncio.wait_for(waiting, 60)
    assert task_id.probe


@GROUPS
async def test_a_pause_without_probes_stays_one(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.enqueue(1, group=group)
    await queue.pause(group)
    await queue.pause(group, probe=0.01)
    assert not await client.exists(queue.keys['probes'])
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0.1)
    await queue.resume(group)
    assert await queue.dequeue(60)


@GROUPS
async def test_who_leaves_while_it_keeps_the_time_wakes_another(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None, group: str | None
) -> None:
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            leaves = asyncio.ensure_future(one.dequeue())
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            await queue.pause(group, probe=1)
            await queue.enqueue(1, group=group)
            assert one._session is not None
            while one._session.shelf._timer is None:
                # On a machine that took a second for that, the probe would be due already.
                assert not leaves.done()
                await asyncio.sleep(0.005)
            assert two._session is not None
            assert two._session.shelf._timer is None
            leaves.cancel()
            await asyncio.wait([leaves])
            assert (await asyncio.wait_for(stays, 60))[0].probe


@GROUPS
async def test_who_waits_for_a_probe_does_not_spin(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group, probe=60)
    await queue.pause('h')
    await queue.enqueue_many([1, 2], group=group)
    await queue.enqueue(3, group='h')
    waiting = asyncio.create_task(queue.dequeue(60))
    await until_waiting(client)
    with server.sync_client() as raw:
        await asyncio.sleep(0.2)
        calls = raw.info('commandstats')['cmdstat_evalsha']['calls']
        await asyncio.sleep(0.3)
        assert raw.info('commandstats')['cmdstat_evalsha']['calls'] - calls <= 1
    await queue.resume(group)
    await waiting


async def test_a_due_probe_that_finds_nothing_does_not_spin(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.pause(probe=60)
    await queue.pause('h')
    await queue.enqueue(3, group='h')
    await make_due(client, queue, None)
    waiting = asyncio.create_task(queue.dequeue(60))
    await until_waiting(client)
    with server.sync_client() as raw:
        await asyncio.sleep(0.2)
        calls = raw.info('commandstats')['cmdstat_evalsha']['calls']
        await asyncio.sleep(0.3)
        assert raw.info('commandstats')['cmdstat_evalsha']['calls'] - calls <= 1
    await queue.enqueue(4)
    task_id, task = await asyncio.wait_for(waiting, 60)
    assert (task, task_id.probe) == (4, True)


@pytest.mark.parametrize(('paused', 'group'), [(None, None), (None, 'g'), ('g', 'g')])
async def test_a_claim_whose_reply_is_lost_is_given_the_same_probe(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, queue_name: str, paused: str | None, group: str | None
) -> None:
    await queue.pause(paused, probe=60)
    await queue.enqueue_many(range(3), group=group)
    await make_due(client, queue, paused)
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue=queue_name) as faulty:
        await faulty.get_queue_stats()
        proxy.lose_reply(calls_of('claim'))
        task_id, task = await faulty.dequeue(60)
        assert proxy.lossless
        assert (task, task_id.probe, task_id.attempt, task_id.group) == (0, True, 1, group)
        assert await take_all(faulty) == await take_all(queue) == []
        assert await faulty.release(task_id)


async def test_a_claim_whose_reply_is_lost_tells_its_probes_from_the_others(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, queue_name: str
) -> None:
    await queue.pause('g', probe=60)
    await queue.enqueue_many(['g', 'h', 'i'], group=lambda task: task)
    await queue.enqueue_many(['plain', 'another'])
    await make_due(client, queue, 'g')
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue=queue_name) as faulty:
        await faulty.get_queue_stats()
        proxy.lose_reply(calls_of('claim'))
        taken = await faulty.dequeue(60, max_tasks=10)
        assert proxy.lossless
    assert sorted((task, task_id.probe, task_id.group) for task_id, task in taken) == [
        *(('another', False, None), ('g', True, 'g'), ('h', False, 'h'), ('i', False, 'i'), ('plain', False, None)),
    ]


@GROUPS
async def test_after_a_probe_whose_holder_is_gone_comes_the_next_task(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group, probe=60)
    await queue.enqueue_many(range(2), group=group, task_timeout=600)
    for n in range(2):
        await make_due(client, queue, group)
        assert await tasks_of(queue) == [n]
    assert (await queue.get_queue_stats()).working == 2


@GROUPS
async def test_a_probe_that_finds_no_task_waits_for_the_next(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None, endless: None
) -> None:
    await queue.pause(group, probe=60)
    await make_due(client, queue, group)
    assert await take_all(queue) == []
    assert await keys_of(client, queue) == {'paused', 'probes'}
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    await queue.enqueue_many([1, 2], group=group)
    task_id, task = await asyncio.wait_for(waiting, 60)
    assert (task, task_id.probe) == (1, True)
    assert await take_all(queue) == []


@GROUPS
async def test_a_pause_of_what_is_paused_starts_its_time_anew(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group, probe=60)
    await queue.enqueue_many(range(2), group=group)
    await make_due(client, queue, group)
    await queue.pause(group, probe=30)
    instant, every = await times_of(client, queue, group)
    assert every == 30_000 and instant > 1
    # A head that had come up for the last probe goes back.
    assert await take_all(queue) == []

    await make_due(client, queue, group)
    await queue.pause(group)
    assert await take_all(queue) == []
    assert not await client.exists(queue.keys['probes'], queue.keys['rated'])
    await queue.sweep()
    assert await take_all(queue) == [] and (await queue.get_group_stats('g')).paused


@GROUPS
async def test_nothing_is_left_of_probes_after_resume(
    client: redis.asyncio.Redis, queue: Torrelque, group: str | None
) -> None:
    await queue.pause(group, probe=60)
    await queue.enqueue_many(range(3), group=group)
    await make_due(client, queue, group)
    ((task_id, _),) = await take_all(queue)
    await queue.requeue(task_id)
    await queue.resume(group)
    assert not await client.exists(queue.keys['probes'], queue.keys['rated'], queue.keys['paused'])
    assert sorted(await drain(queue)) == [0, 1, 2]
    assert await nothing_left(client, queue)
