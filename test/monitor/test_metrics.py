"""What an exporter tells of queues, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
import redis.asyncio

from support.hearts import write_heart
from support.measuring import (
    OPEN,
    check_histograms,
    lasting,
    numbers,
    samples_of,
    scrape,
    value,
    values,
    write_totals,
)
from support.servers import RealServer, free_port
from torrelque import Torrelque, TorrelqueError
from torrelque.monitor import Metrics
from torrelque.monitor.series import ROWS

pytestmark = pytest.mark.first_server


def visitor(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://it', follow_redirects=True)


async def test_both_texts_tell_what_the_queue_has(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    ids = await queue.enqueue_many(range(6))
    await queue.enqueue(1, delay=100)
    await queue.enqueue(1, priority=3)
    await queue.enqueue_many(range(4), group='acme')
    taken = await queue.dequeue_many(2)
    await queue.bury(taken[0][0])
    await queue.set_schedule('nightly', 1, every=60)
    await queue.pause_schedule('nightly')
    await write_heart(client, queue, 'a')
    await write_heart(client, queue, 'gone', [str(ids[-1])], ago=100)
    await write_totals(queue, {'shop.send': numbers(5, 3, 1, 2)}, ['*wait', json.dumps([2, 1, *[0] * 14, 21])])
    metrics, its = Metrics(queue, groups=['acme', 'other']), {'queue': queue.name}
    told = await scrape(metrics)
    assert lasting(told) == lasting(await scrape(metrics, OPEN))
    assert values(told, 'tasks', 'status', **its) == {
        'pending': 9, 'working': 1, 'delayed': 1, 'dead': 1, 'waiting': 0
    }  # fmt: skip
    assert value(told, 'up', **its) == 1
    assert (value(told, 'tasks_ready', **its), value(told, 'tasks_overdue', **its)) == (7, 0)
    assert values(told, 'workers', 'state', **its) == {'live': 1, 'stuck': 0, 'lost': 1}
    assert (value(told, 'worker_slots', **its), value(told, 'worker_slots_busy', **its)) == (10, 0)
    assert values(told, 'schedules', 'state', **its) == {'all': 1, 'late': 0, 'dry': 0, 'paused': 1}
    assert values(told, 'groups', 'state', **its) == {'all': 1, 'paused': 0, 'rated': 0}
    assert values(told, 'attempts_total', 'outcome', task='shop.send', **its) == {
        'succeeded': 5, 'retried': 2, 'dead': 1, 'lost': 2
    }  # fmt: skip
    assert values(told, 'group_waiting', 'group', **its) == {'acme': 3, 'other': 0}
    assert 0 < (value(told, 'oldest_pending_age_seconds', **its) or 0) < 100
    assert 0 < (value(told, 'oldest_dead_age_seconds', **its) or 0) < 100
    assert 0 < (value(told, 'group_oldest_age_seconds', group='acme', **its) or 0) < 100
    assert value(told, 'oldest_lease_overdue_seconds', **its) == 0
    assert check_histograms(told) == 2
    assert value(told, 'wait_seconds_bucket', le='0.005', **its) == 2
    assert (value(told, 'wait_seconds_count', **its), value(told, 'wait_seconds_sum', **its)) == (3, 0.021)
    assert value(told, 'run_seconds_bucket', task='shop.send', le='0.005', **its) == 0
    assert value(told, 'run_seconds_bucket', task='shop.send', le='0.01', **its) == 8
    assert value(told, 'run_seconds_sum', task='shop.send', **its) == 0.0015


async def test_leases_that_have_ended_are_told_by_the_first(queue: Torrelque) -> None:
    await queue.enqueue(1, task_timeout=1e-3)
    await queue.enqueue(2)
    await queue.dequeue_many(2)
    metrics = Metrics(queue)
    while not value(await scrape(metrics), 'oldest_lease_overdue_seconds', queue=queue.name):
        await asyncio.sleep(0)


def test_no_label_tells_a_worker_a_host_or_a_task() -> None:
    labels = {label for row in ROWS for label in row.labels}
    assert labels == {'queue', 'status', 'state', 'task', 'outcome', 'group', 'rule', 'shard'}
    grouped = {row.name for row in ROWS if 'group' in row.labels}
    assert grouped == {'torrelque_group_waiting', 'torrelque_group_oldest_age_seconds'}
    assert all(re.fullmatch('torrelque_[a-z_]+', row.name) and row.help.endswith('.') for row in ROWS)


HOSTILE = ('a"b', 'line\nbreak', 'back\\slash', 'naïve 𝄞', '{x="y"} 1', '', 'byte\udcff', '%s %d', ' # EOF')


async def test_hostile_names_are_legal_in_both_texts(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='q"\n\\ 𝄞') as queue:
        # A byte that is no UTF-8 is written out, so it may be called as another one.
        rows = {name: numbers(number) for number, name in enumerate([*HOSTILE, 'byte\\udcff'], 1)}
        await write_totals(queue, rows)
        await queue.enqueue(1, group='g"\n')
        metrics = Metrics(queue, groups=['g"\n'])
        for accept in '', OPEN:
            told = await scrape(metrics, accept)
            counted = {
                dict(pairs)['task']: number for (name, pairs), number in told.items()
                if name == 'torrelque_attempts_total' and dict(pairs)['outcome'] == 'succeeded'
            }  # fmt: skip
            names = {'': '*none', 'byte\udcff': 'byte\\udcff'}
            assert counted == {
                **{names.get(name, name): number for number, name in enumerate(HOSTILE, 1)},
                'byte\\udcff': HOSTILE.index('byte\udcff') + 1 + len(HOSTILE) + 1,
            }
            assert values(told, 'group_waiting', 'group', queue=queue.name) == {'g"\n': 1}
            assert check_histograms(told) == len(counted) + 1


async def test_functions_beyond_two_hundred_are_one(queue: Torrelque) -> None:
    await write_totals(queue, {f'f{number:03}': numbers(number) for number in range(250)} | {'*other': numbers(7)})
    told = await scrape(Metrics(queue))
    found = {
        dict(pairs)['task']: number for (name, pairs), number in told.items()
        if name == 'torrelque_attempts_total' and dict(pairs)['outcome'] == 'succeeded'
    }  # fmt: skip
    assert len(found) == 200
    assert sum(found.values()) == sum(range(250)) + 7
    assert found['f198'] == 198 and found['*other'] > 7
    assert check_histograms(told) == 201


async def test_a_queue_that_cannot_be_read_is_down_and_the_others_are_told(
    queue: Torrelque, client: redis.asyncio.Redis, server: RealServer
) -> None:
    await queue.enqueue(1)
    await client.acl_setuser('few', enabled=True, nopass=True, categories=['+@all'], keys=[f'{{{queue.name}}}*'])
    nowhere = redis.asyncio.Redis(port=free_port())
    async with (
        server.client(username='few', password='x') as few, nowhere,
        Torrelque(few, queue='refused') as refused, Torrelque(nowhere, queue='away') as away,
    ):  # fmt: skip
        metrics = Metrics([refused, queue, away], timeout=0.5)
        async with visitor(metrics) as reader:
            answer = await reader.get('/metrics')
            told = samples_of(answer.content)
            assert answer.status_code == 200
            assert (await reader.get('/scale.json')).status_code == 503
            assert (await reader.get('/scale.json', params={'q': queue.name})).json()['pending'] == 1
        assert values(told, 'up', 'queue') == {'refused': 0, queue.name: 1, 'away': 0}
        assert value(told, 'tasks', queue=queue.name, status='pending') == 1
        assert {dict(pairs)['queue'] for (name, pairs), _ in told.items() if name == 'torrelque_tasks'} == {queue.name}
        assert await metrics.silent() == ['refused', 'away']
        await metrics.aclose()
    await client.acl_deluser('few')


async def test_what_is_not_known_is_left_out(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1)
    for name in 'dead', 'totals', 'alerts', 'workers':
        await client.set(queue.keys['pending'].replace('pending', name), 'x')
    told = await scrape(Metrics(queue))
    assert (value(told, 'up', queue=queue.name), value(told, 'broken_keys', queue=queue.name)) == (1, 2)
    assert value(told, 'worker_slots', queue=queue.name) is None and not values(told, 'workers', 'state')
    assert {*values(told, 'tasks', 'status', queue=queue.name)} == {'working', 'delayed', 'waiting'}
    assert value(told, 'oldest_dead_age_seconds', queue=queue.name) is None


async def test_a_scrape_is_few_calls_and_scrapes_of_a_second_are_one(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.enqueue(1)
    metrics = Metrics(queue, groups=['a', 'b'])
    await scrape(metrics)
    await client.config_resetstat()
    await metrics.aclose()
    async with visitor(metrics) as reader:
        answers = await asyncio.gather(*(reader.get('/') for _ in range(10)))
        answers += [await reader.get('/', headers={'accept': OPEN})]
    assert len({answer.content for answer in answers[:10]}) == 1
    assert len(await metrics.samples()) > 30
    stats: dict[str, Any] = await client.info('commandstats')
    sent = {name: one['calls'] for name, one in stats.items() if name.startswith('cmdstat_evalsha')}
    # Figures, counts, groups, alerts.
    assert sum(sent.values()) == 4


async def test_whoever_leaves_does_not_keep_others_from_the_answer(queue: Torrelque) -> None:
    metrics = Metrics(queue)
    first = asyncio.ensure_future(metrics.exposition())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(metrics.exposition())
    await asyncio.sleep(0)
    first.cancel()
    assert samples_of((await second)[0])
    await metrics.aclose()


async def test_alerts_that_fire_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    seconds, _ = await client.time()
    states = {
        'backlog:1': {'state': 'firing', 'seen': seconds * 1000}, 'backlog:2': {'state': 'calm', 'seen': 5},
        'dead:x': {'state': 'calm', 'seen': seconds * 1000}, 'falls:1': {'state': 'falling', 'seen': seconds * 1000},
        'nobody looks:1': {'state': 'firing', 'seen': (seconds - 400) * 1000}, 'bad:1': [], 'worse:1': {'state': 1},
    }  # fmt: skip
    key = queue.keys['pending'].replace('pending', 'alerts')
    await client.hset(key, mapping={
        name: json.dumps({'since': 5, **state} if isinstance(state, dict) else state) for name, state in states.items()
    })  # fmt: skip
    for protocol in 2, 3:
        options = {**client.connection_pool.connection_kwargs, 'protocol': protocol}
        pool = redis.asyncio.ConnectionPool(connection_class=client.connection_pool.connection_class, **options)
        async with redis.asyncio.Redis.from_pool(pool) as other, Torrelque(other, queue=queue.name) as one:
            told = await scrape(Metrics(one))
            assert values(told, 'alert_firing', 'rule', queue=queue.name) == {'backlog': 1, 'dead': 0, 'falls': 1}


async def test_what_cannot_be_meant_is_refused(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for given, options, text in (
        ('mail', {}, 'an exporter is of queues'),
        ([], {}, 'an exporter needs a queue at least'),
        (queue, {'groups': 'acme'}, 'groups must be names of groups'),
        (queue, {'groups': ['']}, 'a group must not be empty'),
        (queue, {'groups': map(str, range(101))}, 'tell of 100 groups by name at the most, not of 101'),
        (queue, {'timeout': 0}, 'timeout must be from 0.01'),
        (lambda one: [one], {}, 'queues is called with'),
    ):
        with pytest.raises(TorrelqueError, match=text):
            Metrics(given, **options)
    metrics = Metrics(lambda: 5)
    with pytest.raises(TorrelqueError, match='an exporter is of queues'):
        await metrics.exposition()
