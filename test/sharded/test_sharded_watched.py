"""Metrics, alerts and the dashboard of a queue with shards: it is one queue, by its one name."""

from __future__ import annotations

import asyncio

import pytest

from support.alerting import Told, states_of
from support.looks import Look
from support.measuring import scrape, value, values
from support.sharding import group_of, numbers_of
from torrelque.monitor import Alerts, Metrics, Rule
from torrelque.operate import Operator
from torrelque.sharded import Sharded
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server

ITS = {'queue': 'email'}


async def fill(queue: Sharded) -> list[str]:
    """A dead and two pending tasks in each shard; the ids of the dead."""
    await queue.ready()
    dead = []
    for shard in range(3):
        await queue.enqueue({'task': 'send'}, group=group_of(shard, 3))
        task_id, _ = await queue.dequeue(20)
        await queue.bury(task_id, error='KeyError: 1')
        dead.append(str(task_id))
    for shard in range(3):
        for _ in range(2):
            await queue.enqueue({'task': 'send'}, group=group_of(shard, 3))
    return dead


async def test_metrics_are_sums_with_one_label(sharded: Sharded) -> None:
    await fill(sharded)
    release = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await release.wait()

    async with Worker(sharded, handle, concurrency=4, heartbeat=1) as worker:
        while (await Operator(sharded).overview()).busy < 4:
            await asyncio.sleep(0.02)
        metrics = Metrics(sharded, groups=[group_of(1, 3)])
        told = await scrape(metrics)
        assert values(told, 'tasks', 'status', **ITS) == {
            'pending': 2, 'working': 4, 'delayed': 0, 'dead': 3, 'waiting': 0,
        }  # fmt: skip
        assert value(told, 'up', **ITS) == 1
        assert (value(told, 'worker_slots', **ITS), value(told, 'worker_slots_busy', **ITS)) == (4, 4)
        assert {dict(labels)['queue'] for _, labels in told if 'queue' in dict(labels)} == {'email'}
        await metrics.aclose()
        release.set()
        while worker.health().succeeded < 6:
            await asyncio.sleep(0.02)
    if isinstance(sharded.client, list):
        collector = Metrics(sharded).collector()
        families = await asyncio.to_thread(lambda: [*collector.collect()])
        dead = [
            sample.value for family in families for sample in family.samples
            if sample.name == 'torrelque_tasks' and sample.labels.get('status') == 'dead'
        ]  # fmt: skip
        assert dead == [3]
        await asyncio.to_thread(collector.close)


async def test_alerts_are_looked_at_once_for_all_shards(sharded: Sharded) -> None:
    await fill(sharded)
    rule = Rule('dead', 'dead', above=3, for_=0, clear_for=0, repeat=0)
    told = Told()
    looker = Alerts(sharded, [rule], told)
    assert states_of(await looker.look()) == {'dead': 'firing'}
    assert [await shard.command('EXISTS', shard.keys['alerts']) for shard in sharded.shards] == [1, 0, 0]
    await sharded.redrive()
    assert states_of(await looker.look()) == {'dead': 'calm'}
    await looker.aclose()
    assert [notice.queue for notice in told.notices] == ['email', 'email']


PAGES = ('', 'queue', 'tasks', 'errors', 'groups', 'group', 'flows', 'schedules', 'workers', 'history', 'acts')


async def test_each_page_is_of_the_one_queue(sharded: Sharded) -> None:
    await fill(sharded)
    async with Look(sharded) as look:
        for page in PAGES:
            query = {} if page in ('', 'workers', 'acts') else {'q': 'email'}
            if page == 'group':
                query['name'] = group_of(2, 3)
            html = await look.get(page, **query)
            assert 'email' in html.text and '{email' not in html.text, page


async def test_tasks_are_found_and_acted_on_from_the_dashboard(
    sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.dashboard.masses.COUNTED', 30.0)
    monkeypatch.setattr('torrelque.dashboard.masses.SOUGHT', 30.0)
    dead = await fill(sharded)
    assert {*numbers_of(sharded, dead)} == {0, 1, 2}
    async with Look(sharded, 'redrive', 'pause', 'enqueue') as look:
        for task_id in dead:
            assert 'KeyError' in (await look.get('task', q='email', id=task_id)).text
        query = {'act': 'redrive', 'status': 'dead', 'function': 'send'}
        assert (await look.get('ask', **query)).one('h1').text == 'Redrive 3 dead tasks of function send'
        response = await look.act(query)
        assert '3 redriven' in (await look.get(response.headers['location'])).text
        assert (await sharded.get_queue_stats()).dead == 0
        response = await look.act({'act': 'pause', 'group': group_of(2, 3)})
        assert response.status_code == 303
        assert (await Operator(sharded).group(group_of(2, 3))).paused
        assert 'is paused already' in (await look.get('ask', act='pause', group=group_of(2, 3))).text
        response = await look.act({'act': 'copy', 'id': dead[2]})
        assert 'The copy is enqueued' in (await look.get(response.headers['location'])).text
        assert (await sharded.get_group_stats(group_of(2, 3))).waiting == 4
