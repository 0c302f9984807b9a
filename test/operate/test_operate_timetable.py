"""What becomes of all schedules of a queue: late, dry and paused ones are told, and a great many cost no more."""

from __future__ import annotations

import time
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque
from torrelque.operate import Operator, Overview, Reason

MAY = datetime(datetime.now(timezone.utc).year + 1, 5, 1, 9, 30, tzinfo=timezone.utc)
"""An instant that is to come."""
CRON = {'cron': '@daily', 'timezone': 'UTC'}

NONE = {'schedules': 0, 'late_schedules': 0, 'late_since': None, 'late_names': (), 'dry_schedules': 0, 'dry_names': (),
        'paused_schedules': 0}  # fmt: skip


async def told(queue: Torrelque) -> dict[str, Any]:
    """What the overview says of schedules."""
    found = await Operator(queue).overview()
    return {field.name: getattr(found, field.name) for field in fields(Overview) if field.name in NONE}


async def make_late(queue: Torrelque, client: redis.asyncio.Redis, *names: str, seconds: float = 300) -> float:
    """Have nobody have fired schedules for so long; since when."""
    since = round(time.time() * 1000 - seconds * 1000)
    for name in names:
        await client.zadd(queue.keys['schedules'], {name: since})
    return since / 1000


async def make_dry(queue: Torrelque, client: redis.asyncio.Redis, *names: str) -> None:
    """Set schedules whose instants are used up."""
    for name in names:
        await queue.set_schedule(name, 1, times=[MAY], spec=CRON)
        await client.zadd(queue.keys['schedules'], {name: 'inf'})
        await client.delete(queue.keys['schedules'].removesuffix('schedules') + f'times:{name}')
    found = await Operator(queue).schedules()
    assert {view.name for view in found if view.state == 'dry'} >= {*names}


async def why(queue: Torrelque) -> list[Reason]:
    return await Operator(queue).explain()


async def test_nothing_is_told_where_no_schedule_is(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    assert await told(queue) == NONE
    await queue.pause('acme')
    assert await told(queue) == NONE and {*NONE} - {'late_since', 'late_names', 'dry_names'} <= {
        *(await Operator(queue).overview()).exact
    }
    await queue.set_schedule('tidy', 1, every=3600)
    assert await told(queue) == {**NONE, 'schedules': 1}
    await client.delete(queue.keys['paused'])
    assert await told(queue) == {**NONE, 'schedules': 1}


async def test_late_dry_and_paused_ones_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for name in 'late', 'later', 'held', 'fine':
        await queue.set_schedule(name, 1, every=3600)
    await queue.set_schedule('over', 1, times=[MAY])
    await queue.set_schedule('ends', 1, times=[MAY], spec=CRON, until=MAY)
    base = queue.keys['schedules'].removesuffix('schedules')
    await client.hset(f'{base}schedule:ends', 'until', '1000')
    await client.delete(f'{base}times:ends')
    await client.zadd(queue.keys['schedules'], {'over': 'inf', 'ends': 'inf'})
    await make_dry(queue, client, 'dry', 'held too')
    await queue.pause_schedule('held')
    await queue.pause_schedule('held too')
    await make_late(queue, client, 'held', seconds=900)
    since = await make_late(queue, client, 'late', seconds=600)
    await make_late(queue, client, 'later')
    assert await told(queue) == {
        'schedules': 8, 'late_schedules': 2, 'late_since': since, 'late_names': ('late', 'later'), 'dry_schedules': 1,
        'dry_names': ('dry',), 'paused_schedules': 2,
    }  # fmt: skip
    assert {'late_schedules', 'dry_schedules', 'paused_schedules'} <= {*(await Operator(queue).overview()).exact}


async def test_of_a_great_many_some_are_looked_at(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.set_schedule('s0', 1, every=3600)
    base = queue.keys['schedules'].removesuffix('schedules')
    known: Any = await client.hgetall(f'{base}schedule:s0')
    pipe = client.pipeline()
    for n in range(1, 10_000):
        pipe.hset(f'{base}schedule:s{n}', mapping=known)
    await pipe.execute()
    late = {f's{n}': 1.7e12 + n for n in range(5000)}
    await client.zadd(queue.keys['schedules'], {**late, **{f's{n}': 3e12 + n for n in range(5000, 10_000)}})
    for n in 0, 1, 2:
        await client.hset(f'{base}schedule:s{n}', 'paused', '1')
    await client.config_resetstat()
    found = await told(queue)
    assert found == {
        **NONE, 'schedules': 10_000, 'late_schedules': 4997, 'late_since': (1.7e12 + 3) / 1000,
        'late_names': tuple(f's{n}' for n in range(3, 13)), 'paused_schedules': 3,
    }  # fmt: skip
    assert 'late_schedules' not in (await Operator(queue).overview()).exact
    calls = sum(stats['calls'] for name, stats in (await client.info('commandstats')).items() if 'hmget' in name)
    assert calls < 1000


async def test_what_is_spoilt_is_neither_late_nor_dry(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    base = queue.keys['schedules'].removesuffix('schedules')
    await client.zadd(queue.keys['schedules'], {'gone': 1, 'text': 1, 'gone too': 'inf'})
    await client.set(f'{base}schedule:text', 'x')
    found = await Operator(queue).overview()
    assert (found.late_schedules, found.late_since, found.dry_schedules) == (0, None, 0)
    assert found.broken == ('schedule:text',)
    await client.delete(queue.keys['schedules'])
    await client.set(queue.keys['schedules'], 'x')
    assert (await Operator(queue).overview()).broken == ('schedules',)
    assert 'the key \'schedules\' holds a string, and not a sorted set' in [
        finding.text for finding in await Operator(queue).examine()
    ]


async def test_why_nothing_moves_may_be_a_schedule_that_nobody_fires(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    [reason] = await why(queue)
    assert (reason.code, reason.text) == ('delayed', 'nothing is pending: the schedule tidy is the next that fires')
    assert reason.until == (await queue.get_schedule('tidy')).next
    since = await make_late(queue, client, 'tidy')
    reason, *_ = await why(queue)
    assert (reason.code, reason.since, reason.count) == ('overdue', since, 1)
    assert reason.text.startswith('the schedule tidy is late, by up to 30')
    assert reason.text.endswith(' s, and nobody fires it: no consumer waits, and nobody sweeps')
    assert reason.command == f'torrelque sweep -q {queue.name}'
    await queue.set_schedule('send', 1, every=3600)
    await make_late(queue, client, 'send', seconds=200)
    assert (await why(queue))[0].text.startswith('the schedules tidy, send are late, by up to 30')
    await queue.sweep()
    assert {reason.code for reason in await why(queue)} & {'overdue', 'unknown'} == set()


async def test_why_nothing_moves_may_be_a_schedule_that_is_dry(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await make_dry(queue, client, 'tidy')
    [reason] = await why(queue)
    assert (reason.code, reason.count, reason.command) == ('dry', 1, f'torrelque schedules -q {queue.name}')
    assert reason.text.startswith('the schedule tidy is dry, and nothing fires any more: ')
    await queue.set_schedule('over', 1, times=[MAY])
    await client.zadd(queue.keys['schedules'], {'over': 'inf'})
    await queue.remove_schedule('tidy')
    assert [reason.code for reason in await why(queue)] == ['unknown']


async def test_an_id_that_is_the_name_of_a_schedule_is_known_as_one(queue: Torrelque) -> None:
    operator = Operator(queue)
    await queue.set_schedule('tidy', 1, every=3600)
    [reason] = await operator.explain('tidy')
    assert (reason.code, reason.text) == ('unknown', 'the queue knows no such task, but a schedule of this name')
    assert reason.command == f'torrelque schedules tidy -q {queue.name}'
    await queue.pause_schedule('tidy')
    assert (await operator.explain('tidy'))[0].text.endswith('a schedule of this name, which is paused')
    assert 'schedule' not in (await operator.explain('other'))[0].text


async def test_a_doctor_tells_what_is_late_and_what_is_dry(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for n in range(5):
        await queue.set_schedule(f's{n}', 1, every=3600)
    await make_late(queue, client, 's0', seconds=30)
    assert [one for one in await Operator(queue).examine() if one.subject == 'schedules'] == []
    await make_late(queue, client, *(f's{n}' for n in range(5)))
    await make_dry(queue, client, 'x')
    late, dry = (one for one in await Operator(queue).examine() if one.subject == 'schedules')
    assert late.level == dry.level == 'warning'
    assert late.text.startswith('5 late, the first by 30') and "'s0', 's1', 's2' and 2 more; nobody sweeps" in late.text
    assert late.advice == f'start a worker, or once: torrelque sweep -q {queue.name}'
    assert dry.text == "1 dry, so that they do not fire: 'x'"
    assert dry.advice is not None and dry.advice.endswith(f': torrelque schedules -q {queue.name}')


@pytest.mark.first_server
async def test_the_overview_of_a_queue_without_schedules_asks_no_more_than_before(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.pause('acme')
    await queue.enqueue(1, group='acme')
    await Operator(queue).overview()
    await client.config_resetstat()
    await Operator(queue).overview()
    stats = await client.info('commandstats')
    # The keys of pauses, and of nothing else, exist: one look whether they do; and one of six counts is of hearts.
    assert stats['cmdstat_exists']['calls'] == 1 and stats['cmdstat_zcard']['calls'] == 6
    assert not any('zrangebyscore' in name for name in stats)
