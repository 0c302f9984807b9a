"""Tasks that are with nobody: one rule, in whichever way they are told of; and what their group waits for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import redis.asyncio

from support.explaining import by, first
from support.obeying import claim, obey
from torrelque import Torrelque
from torrelque.operate import Operator, Selection
from torrelque.worker.bounds import BOUNDS
from torrelque.worker.health import RunningTask, WorkerHealth
from torrelque.worker.heart import pack_health

pytestmark = pytest.mark.first_server


class Case(NamedTuple):
    """What there is of a task whose lease is 60 s long, in seconds before now; and whether it is with nobody."""

    claimed: float
    renewed: float
    seen: float
    """When the last beat of the worker came that names it."""
    orphaned: bool
    names: int = 1
    """How many tasks that worker has in hand."""


async def beat(
    client: redis.asyncio.Redis, queue: Torrelque, name: str, ids: Sequence[str], ago: float = 0.0, *,
    group: str | None = None, **given: Any,
) -> None:  # fmt: skip
    """A heart whose last beat came so long ago."""
    seconds, _ = await client.time()
    seen = (seconds - ago) * 1000
    tasks = tuple(RunningTask(task_id, queue.name, 'shop.send', group, 1, seconds - 100) for task_id in ids)
    health = WorkerHealth(name, 'h', 1, 'running', 1.0, seen / 1000, (queue.name,), 1000, tasks, 0, 0, 0, 0)
    health = health._replace(**given)
    fields: dict[Any, Any] = {
        'number': '1.1', 'seen': seen, 'interval': 5000, 'state': 'running', 'slots': health.concurrency,
        'busy': health.busy or len(ids), 'lag': 0, 'claimed': '0.1', 'health': pack_health(health, BOUNDS),
    }  # fmt: skip
    await client.hset(f'{queue.keys["workers"][:-1]}:{name}', mapping=fields)
    await client.zadd(queue.keys['workers'], {name: seen})


async def age(client: redis.asyncio.Redis, queue: Torrelque, task_id: str, case: Case) -> None:
    seconds, _ = await client.time()
    await client.zadd(queue.keys['working'], {task_id: (seconds - case.renewed + 60) * 1000})
    await client.hset(
        f'{queue.keys["task"]}:{task_id}', mapping={'last_dequeue_time': round((seconds - case.claimed) * 1000)}
    )


CASES = {
    'the worker was lost with it': Case(50, 25, 25, True),
    'the lost worker had renewed it before': Case(50, 28, 25, True),
    'it was renewed since the worker was lost': Case(50, 10, 25, False),
    'another has claimed it since': Case(10, 10, 25, False),
    'another has claimed it since and is gone as well': Case(40, 40, 45, True),
    'it was renewed since, and then no more': Case(100, 35, 50, True),
    'the worker lives': Case(50, 25, 1, False),
    'the worker lives and does not renew': Case(50, 40, 1, False),
    'nobody names it': Case(50, 25, 0, False, 0),
    'nobody names it or renews it': Case(50, 35, 0, True, 0),
    'who lives has more in hand than it can name': Case(50, 35, 0, False, 101),
}


@pytest.mark.parametrize('case', CASES.values(), ids=[name.replace(' ', '-') for name in CASES])
async def test_all_ways_tell_the_same_tasks_to_be_with_nobody(
    queue: Torrelque, client: redis.asyncio.Redis, case: Case
) -> None:
    await queue.set_limit('acme', concurrency=1)
    [held, waits] = await queue.enqueue_many(range(2), group='acme', task_timeout=60)
    await queue.dequeue(0)
    await age(client, queue, held, case)
    others = [f'other-{number}' for number in range(min(100, case.names))]
    await beat(client, queue, 'web-1', [held] if case.names == 1 else others, case.seen, busy=case.names)
    operator = Operator(queue)
    [reason] = await operator.explain(held)
    assert reason.code == ('orphaned' if case.orphaned else 'working'), reason.text
    assert reason.holders[0].orphaned == case.orphaned
    assert [task.id for task in await operator.page('orphaned')] == [held] * case.orphaned
    selection = Selection(status='orphaned')
    assert [task.id async for task in operator.tasks(selection)] == [held] * case.orphaned
    assert (await operator.requeue(selection, dry_run=True)).matched == case.orphaned
    at_limit = await first(queue, waits)
    assert [(one.id, one.orphaned) for one in at_limit.holders] == [(held, case.orphaned)]


async def test_worker_that_is_silent_while_leases_are_renewed_is_told_so(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.enqueue(1, task_timeout=60)
    task_id, _ = await queue.dequeue(0)
    await age(client, queue, str(task_id), Case(50, 10, 25, False))
    await beat(client, queue, 'web-1', [str(task_id)], 25)
    [reason] = await Operator(queue).explain(str(task_id))
    text = 'it is worked on: its lease is renewed, though worker web-1, which has it in hand, is silent'
    assert (reason.code, reason.text, reason.workers, reason.command) == ('working', text, ('web-1',), None)


@pytest.mark.parametrize('group', ['acme', '-b', "c d'$(x)", 'a*', 'a?'])
async def test_group_that_tasks_of_nobody_hold_up_goes_on_by_the_command(
    queue: Torrelque, client: redis.asyncio.Redis, group: str
) -> None:
    await queue.set_limit(group, concurrency=2)
    ids = await queue.enqueue_many(range(4), group=group, task_timeout=60)
    await queue.dequeue_many(2)
    await age(client, queue, ids[0], Case(50, 25, 25, True))
    await beat(client, queue, 'web-1', [ids[0]], 25, group=group)
    await beat(client, queue, 'web-2', [ids[1]], group=group)
    reason = await first(queue, ids[2])
    told = [(one.id, one.worker, one.orphaned) for one in reason.holders]
    assert sorted(told) == sorted([(ids[0], 'web-1', True), (ids[1], 'web-2', False)])
    text = 'the group is at its limit: 2 of 2 slots are in use; 1 of the tasks is with nobody, it seems'
    assert (reason.code, reason.text) == ('at-limit', text)
    if group == 'acme':
        assert reason.command == by(queue, 'requeue --group acme --status orphaned')
    await obey(queue, str(reason.command))
    assert await claim(client, queue) == ids[0]


async def test_for_how_long_a_worker_has_been_silent_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1, task_timeout=60)
    task_id, _ = await queue.dequeue(0)
    await age(client, queue, str(task_id), Case(50, 40, 25, True))
    await beat(client, queue, 'web-1', [str(task_id)], 25)
    [reason] = await Operator(queue).explain(str(task_id))
    [silent] = map(int, re.findall(r'web-1, which had it in hand, has been silent for (\d+) s', reason.text))
    assert reason.code == 'orphaned' and 25 <= silent < 60 and reason.until == reason.holders[0].until


async def test_group_whose_name_is_a_pattern_has_its_own_tasks_brought_back(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    for group in ('a*', 'ab'):
        await queue.set_limit(group, concurrency=1)
        ids = await queue.enqueue_many(range(2), group=group, task_timeout=60)
        await queue.dequeue(0)
        await age(client, queue, ids[0], Case(50, 40, 25, True))
    reason, *_ = await Operator(queue).explain(group='a*')
    assert reason.command == by(queue, "requeue --group 'a[*]' --status orphaned")
    await obey(queue, reason.command)
    assert [task.group for task in await Operator(queue).page('working')] == ['ab']


async def test_only_hearts_are_read_whole_that_tell_of_what_is_asked(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    ids = await queue.enqueue_many([{'task': 'shop.pay'}] * 70, group='acme')
    await queue.dequeue_many(60)
    for number, task_id in enumerate(ids[:60]):
        await beat(client, queue, f'web-{number}', [task_id], version='x' * 10_000, functions=('shop.pay',))
    operator = Operator(queue)

    async def cost(answer: Any) -> int:
        before = (await client.info('stats'))['total_net_output_bytes']
        await answer
        return int((await client.info('stats'))['total_net_output_bytes'] - before)

    whole = await cost(operator.workers())
    assert whole > 600_000
    assert await cost(operator.explain('unknown')) < 10_000
    for one in (operator.explain(ids[3]), operator.explain(ids[65]), operator.explain(), operator.task(ids[3])):
        assert await cost(one) < 40_000
    assert await cost(operator.requeue(Selection(ids=ids), dry_run=True)) < whole / 2
    page = await operator.page('working', most=20)
    held = {str(task_id): f'web-{number}' for number, task_id in enumerate(ids[:60])}
    assert len(page) == 20 and all(task.worker == held[task.id] for task in page)


@pytest.mark.parametrize('odd', ['a"b', 'a\\b', 'é\n', '\udcff', '{"id": "x"}'])
async def test_task_is_found_in_hearts_whatever_its_id_is(
    queue: Torrelque, client: redis.asyncio.Redis, odd: str
) -> None:
    others = await queue.enqueue_many(range(20), task_timeout=60)
    await queue.dequeue_many(20)
    key = odd.encode('utf-8', 'surrogateescape')
    state = f'{queue.keys["task"]}:'.encode()
    await client.execute_command('COPY', state + others[0].encode(), state + key)
    seconds, _ = await client.time()
    await client.zadd(queue.keys['working'], {key: (seconds + 60) * 1000})
    await client.hset(queue.keys['tasks'], key, '1')
    await beat(client, queue, 'web-1', [odd])
    await beat(client, queue, 'web-2', others[:1])
    operator = Operator(queue)
    assert (await operator.task(odd)).worker == 'web-1'
    assert (await operator.explain(odd))[0].workers == ('web-1',)
    told = {task.id: task.worker for task in await operator.page('working')}
    assert (len(told), told[odd], told[others[0]], told[others[1]]) == (21, 'web-1', 'web-2', None)
