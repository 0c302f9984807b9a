"""Flows whose tasks are in several queues, where something goes wrong: whoever carries dies, replies, keys are lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from support.abroad import Pair, evaluate, state
from support.proxy import Proxy, calls_of
from support.servers import MakeServer
from support.standing import START, Either, StandingClock
from support.topology import Cluster
from torrelque import Node, Torrelque, TorrelqueTaskStatus as Status, TorrelqueValueError
from torrelque.protocol.carrying import read_collect

pytestmark = pytest.mark.first_server


async def test_whoever_dies_on_the_way_is_followed_by_another(pair: Pair) -> None:
    home, other = pair.home, pair.other
    nodes = [Node('a', 1, queue='other', delay=1), Node('b', 2, {'a': 'then'}, queue='other')]
    await home.enqueue_flow(nodes, flow_id='f', result_ttl=600)
    await pair.clock.move(1)

    async def collected(queue: Either) -> Any:
        return read_collect(await evaluate(pair, queue, 'collect', ['50', '1000000']))

    # It dies with what it has collected.
    [errand] = await collected(home)
    assert errand.what == 'host' and await collected(home) == []
    await pair.carry()
    assert (await other.get_queue_stats()).tasks == 0
    await pair.clock.move(15)
    # The next one dies when the other queue has it.
    [errand] = await collected(home)
    await evaluate(pair, other, 'host', ['', *other.queue._calls.host([errand], 'home')])
    await pair.clock.move(15)
    await pair.carry()
    assert await collected(home) == [] and (await other.get_queue_stats()).tasks == 1
    [(task_id, _)] = await other.take()
    await other.release(task_id, result='once')

    # On the way back one dies with the news, the next when they have arrived.
    [errand] = await collected(other)
    await pair.carry()
    assert errand.what == 'ended' and await pair.how('a') == (None, None)
    await pair.clock.move(15)
    [errand] = await collected(other)
    await evaluate(pair, home, 'arrive', home.queue._calls.arrive([errand], 'other'))
    assert await pair.how('a') == ('completed', 'once')
    await pair.clock.move(15)
    await pair.carry()
    assert await collected(other) == []
    await pair.work(other, 'b')
    ended = await home.get_task_state('f')
    assert (ended.status, ended.failed) == (Status.COMPLETED, 0) and not await pair.left()


async def test_whoever_could_not_carry_it_says_so_after_another_one_has(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other', delay=1)], flow_id='f', result_ttl=60)
    await pair.clock.move(1)
    words = await evaluate(pair, home, 'collect', ['50', '1000000'])
    await pair.clock.move(15)
    await pair.carry()
    await evaluate(pair, home, 'carried', home.queue._calls.carried([(read_collect(words)[0], False)]))
    await pair.clock.move(60)
    await pair.carry()
    await pair.work(other, 'a')
    assert (await home.get_task_state('f')).status is Status.COMPLETED and not await pair.left()


@pytest.mark.parametrize('end', ['release', 'bury', 'requeue', 'cancel', 'let go'])
async def test_whoever_waits_is_rung_for_news_also_where_no_task_is_left(pair: Pair, end: str) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, max_attempts=1, queue='other')], flow_id='f')
    [(task_id, _)] = await other.take()
    await pair.client.delete(other.keys['bell'])
    if end in ('cancel', 'let go'):
        await other.cancel('f.a')
    if end in ('release', 'let go'):
        await other.release(task_id)
    elif end == 'cancel':
        await pair.clock.move(1000)
        await evaluate(pair, other, 'sweep', ['50'])
    else:
        await getattr(other, end)(task_id)
    assert await pair.client.exists(other.keys['bell'])
    await pair.carry()
    assert (await home.get_task_state('f')).left == (1 if end in ('bury', 'requeue') else 0)


async def test_a_late_repetition_of_what_brought_a_task_does_not_run_it_again(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other', delay=1), Node('b', 2)], flow_id='f')
    await pair.clock.move(1)
    [errand] = read_collect(await evaluate(pair, home, 'collect', ['50', '1000000']))
    words = ['', *other.queue._calls.host([errand], 'home')]
    assert await evaluate(pair, other, 'host', words) == b'ok'
    assert await evaluate(pair, other, 'host', words) == b'ok'
    await pair.work(other, 'a')
    for resent in (False, True):
        assert await evaluate(pair, other, 'host', words, resent) == [b'gone']
    assert await other.take() == [] and (await home.get_task_state('f')).left == 1


async def test_news_that_come_late_change_nothing(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other')], flow_id='f', result_ttl=600)

    async def collected() -> Any:
        [errand] = read_collect(await evaluate(pair, other, 'collect', ['50', '1000000']))
        return home.queue._calls.arrive([errand], 'other')

    [(task_id, _)] = await other.take()
    await other.bury(task_id)
    death = await collected()
    await other.redrive('f.a')
    await pair.clock.move(15)
    await pair.carry()
    await evaluate(pair, home, 'arrive', death)
    assert (await home.get_task_state('f')).dead == 0
    await pair.work(other, 'a', 1)
    first = await home.get_task_state('f')
    # Another flow of the same id is not told of what was of the one before.
    await pair.clock.move(700)
    await pair.client.delete(f'{home.keys["task"]}:f', f'{home.keys["done"]}:f')
    await home.enqueue_flow([Node('a', 2, queue='other')], flow_id='f', result_ttl=600)
    await evaluate(pair, home, 'arrive', death)
    death[2] = 'ended'
    await evaluate(pair, home, 'arrive', death)
    assert (first.left, (await home.get_task_state('f')).left) == (0, 1)
    assert [task for _, task in await other.take()] == [2]


async def test_nothing_waits_over_there_for_a_task_that_counts_at_home(pair: Pair) -> None:
    home, other = pair.home, pair.other
    nodes = [Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'})]
    await home.enqueue_flow(nodes, flow_id='f')
    taken = []
    for wanted in (Status.PENDING, Status.WORKING):
        assert (await state(other, 'a')).status is wanted
        with pytest.raises(TorrelqueValueError, match='of another queue, where a new one can wait'):
            await other.enqueue(3, task_id='c', depends_on=['f.a'])
        taken += await other.take()
    assert await home.enqueue(4, task_id='d', depends_on=['f.a']) == 'd'
    [(task_id, _)] = taken
    assert await other.release(task_id)
    await pair.carry()
    assert await pair.how('a') == ('completed', None) and await home.ids() == ['f.b', 'd']


async def test_a_full_queue_is_tried_again_more_and_more_seldom(pair: Pair) -> None:
    home, other = pair.home, pair.other
    ids = [await other.enqueue(n) for n in range(3)]
    home.queue._calls._max_tasks = other.queue._calls._max_tasks = 3
    await home.enqueue_flow([Node('a', 1, queue='other')], flow_id='f')
    waits = []
    for _ in range(9):
        assert (await other.get_queue_stats()).tasks == 3
        due = await pair.client.zscore(home.keys['away'], 'f.a') or 0
        waits.append(due / 1000 - pair.clock.now)
        await pair.clock.set(due / 1000)
        await pair.carry()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert await other.cancel(ids[0])
    await pair.clock.move(60)
    await pair.carry()
    assert (await state(other, 'a')).status is Status.PENDING


async def test_an_id_that_another_task_has_over_there_is_a_failure(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await other.enqueue('mine', task_id='f.a')
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'fail'})], flow_id='f', result_ttl=60)
    assert await pair.how('a') == ('failed', "queue 'other' has another task of this id")
    assert [task for _, task in await other.take()] == ['mine']
    await pair.work(home, 'b')
    assert (await home.get_task_state('f')).status is Status.REJECTED


@pytest.mark.parametrize('lost', ['state', 'both'])
@pytest.mark.parametrize('begun', [False, True])
async def test_what_is_lost_over_there_is_told_at_home(pair: Pair, lost: str, begun: bool) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2)], flow_id='f', result_ttl=60)
    if begun:
        assert len(await other.take()) == 1
        await pair.clock.move(400)
    await pair.client.delete(f'{other.keys["task"]}:f.a')
    if lost == 'both':
        await pair.client.hdel(other.keys['tasks'], 'f.a')
    assert await other.take() == []
    await pair.carry()
    if lost == 'both':
        assert await pair.how('a') == ('failed', 'its state was lost')
        return
    assert ((await home.get_task_state('f')).dead, (await state(other, 'a')).status) == (1, Status.DEAD)
    await other.redrive('f.a')
    await pair.work(other, 'a')
    assert await pair.how('a') == ('completed', None)


async def test_a_redrive_of_the_flow_sends_again_what_was_lost_altogether(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'})], flow_id='f')
    [(task_id, _)] = await other.take()
    await other.bury(task_id)
    await pair.carry()
    await other.redrive('f.a')
    await pair.carry()
    await pair.client.delete(*[key async for key in pair.client.scan_iter('{other}*')])
    assert await home.redrive('f') == 0
    [(task_id, _)] = await other.take()
    await other.bury(task_id)
    await pair.carry()
    assert (await home.get_task_state('f')).dead == 1
    await other.redrive()
    await pair.work(other, 'a')
    assert await home.ids() == ['f.b']


async def test_an_end_arrives_though_what_stood_for_the_task_was_lost(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'})], flow_id='f')
    await pair.client.delete(f'{home.keys["task"]}:f.a')
    await pair.work(other, 'a', 'safe', whole=False)
    assert await pair.how('a') == ('completed', 'safe') and await home.ids() == ['f.b']


async def test_a_payload_that_was_lost_at_home_is_a_failure(pair: Pair) -> None:
    home = pair.home
    await home.enqueue_flow([Node('a', 1, queue='other', delay=5)], flow_id='f', result_ttl=60)
    await pair.client.hdel(home.keys['tasks'], 'f.a')
    await pair.clock.move(5)
    await pair.carry(whole=False)
    assert await pair.how('a') == ('failed', 'its payload was lost')
    assert not await pair.left()


async def test_an_operator_does_not_settle_what_is_worked_on_elsewhere(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other')], flow_id='f')
    before = await state(home, 'a')
    for verb in (home.release, home.requeue, home.bury, home.touch):
        assert not await verb('f.a')
    assert await home.redrive('f.a') == 0
    assert await state(home, 'a') == before and await home.take() == []
    await pair.work(other, 'a')
    assert not await pair.left()


async def test_on_a_full_server_ends_come_home_and_tasks_go_out_when_there_is_room(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client:
        clock = StandingClock(client, monkeypatch)
        await clock.set(START)
        async with Torrelque(client, queue='home') as home, Torrelque(client, queue='other') as other:
            nodes = [
                Node('a', 1, queue='other'), Node('b', 2, queue='other'), Node('c', 3, {'a': 'then'}),
                Node('d', 4, {'a': 'then'}, queue='other'),
            ]  # fmt: skip
            await home.enqueue_flow(nodes, flow_id='f')
            (one, _), (two, _) = await other.dequeue_many(2, 60)
            await client.config_set('maxmemory', 1)
            assert await other.release(one, result='a') and await other.bury(two, error='boom')
            await other.sweep()
            state = await home.get_task_state('f')
            assert (state.left, state.dead) == (3, 1)
            assert (await home.dequeue(60))[0] == 'f.c' and (await other.get_queue_stats()).pending == 0
            await client.config_set('maxmemory', 0)
            await clock.move(1)
            await home.sweep()
            assert (await other.dequeue(60))[0] == 'f.d'


# Without a clock that stands, and over faulty lines


async def work_off(queue: Torrelque, done: list[str]) -> None:
    while True:
        task_id, _ = await queue.dequeue()
        done.append(str(task_id))
        await queue.release(task_id, result=f'of {task_id}')


@contextlib.asynccontextmanager
async def served(*queues: Torrelque) -> AsyncIterator[list[str]]:
    done: list[str] = []
    working = [asyncio.ensure_future(work_off(queue, done)) for queue in queues]
    try:
        yield done
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


def zigzag(length: int) -> list[Node]:
    return [
        Node(f'{n}', n, {f'{n - 1}': 'then'} if n else {}, queue=['there', None][n % 2]) for n in range(length)
    ]


@pytest.mark.parametrize('script', ['collect', 'host', 'carried', 'arrive'])
async def test_a_lost_reply_of_each_hop_is_made_up_for(
    proxy: Proxy, client: redis.asyncio.Redis, script: str
) -> None:
    async with proxy.client() as faulty, Torrelque(faulty, queue='here') as here:
        async with Torrelque(faulty, queue='there') as there, served(here, there) as done:
            await here.get_queue_stats()
            proxy.lose_reply(calls_of(script))
            await here.enqueue_flow(zigzag(4), flow_id='f', out=['3'])
            ended = await here.wait('f', timeout=60)
            assert proxy.lossless and ended.result == 'of f.3'
            assert done == ['f.0', 'f.1', 'f.2', 'f.3']


async def test_consumers_of_both_queues_that_wait_pass_a_flow_on_by_themselves(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='here') as here, Torrelque(client, queue='there') as there:
        async with served(here, there) as done:
            began = asyncio.get_running_loop().time()
            await here.enqueue_flow(zigzag(20), flow_id='f', out=['19'])
            assert (await here.wait('f', timeout=60)).result == 'of f.19'
            took = asyncio.get_running_loop().time() - began
    assert done == [f'f.{n}' for n in range(20)]
    # No deadline of a retry was waited for.
    assert took < 15


async def test_whoever_leaves_carries_what_it_has_ended_last(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='here') as here:
        await here.enqueue_flow([Node('a', 1, queue='there'), Node('b', 2, queue='there')], flow_id='f')
        async with Torrelque(client, queue='there') as there:
            for name in ('f.a', 'f.b'):
                task_id, _ = await there.dequeue(60)
                assert task_id == name and await there.release(task_id)
                if name == 'f.a':
                    await there.sweep()
        assert (await here.wait('f', timeout=60)).status is Status.COMPLETED
        assert [outcome.how for outcome in await here.get_results('f', 'f.a', 'f.b')] == ['completed'] * 2


async def test_in_a_cluster_the_queues_may_be_on_several_nodes(cluster: Cluster) -> None:
    names = ['here', 'there']
    assert len({cluster.owner_of(cluster.slot_of(f'{{{name}}}:pending')) for name in names}) == 2
    async with cluster.client() as client, Torrelque(client, queue='here') as here:
        async with Torrelque(client, queue='there') as there, served(here, there) as done:
            await here.enqueue_flow(zigzag(6), flow_id='f', out=['5'])
            assert (await here.wait('f', timeout=60)).result == 'of f.5'
    assert done == [f'f.{n}' for n in range(6)]


