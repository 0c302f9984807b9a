"""What rules measure, of real queues; and that no more is read than they need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from support.acting import bury_all
from support.hearts import write_heart
from torrelque import Torrelque, TorrelqueServerError
from torrelque.monitor import Alerts, Rule
from torrelque.monitor.measures import MEASURES, measure, read
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server

Setup = Callable[[Torrelque, redis.asyncio.Redis], Awaitable[object]]


async def found(queue: Torrelque, name: str, at_least: int = 20) -> tuple[float | None, str]:
    return measure(name, await read(Operator(queue), [name]), at_least)


async def later(queue: Torrelque, client: redis.asyncio.Redis, *ids: str, seconds: int = 100) -> None:
    """Have tasks be ready since so long."""
    for task_id in ids:
        key = f'{queue.keys["task"]}:{task_id}'
        await client.hset(key, 'enqueue_time', int(await client.hget(key, 'enqueue_time') or 0) - 1000 * seconds)


async def count_minute(queue: Torrelque, client: redis.asyncio.Redis, numbers: str, ago: int = 0) -> None:
    """Have workers have counted something, so many minutes ago."""
    now, _ = await client.time()
    await client.hset(f'{queue.keys["minute"]}:{now // 60 - ago}', '=send', numbers)


async def enqueued(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await later(queue, client, await queue.enqueue(1), await queue.enqueue(2))


async def buried(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for task_id in await bury_all(queue, [1, 2]):
        await client.zincrby(queue.keys['dead'], -100_000, task_id)


async def alive(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1)
    await write_heart(client, queue, 'w')


async def lost(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1)
    await write_heart(client, queue, 'w', ago=100)


async def stuck(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await write_heart(client, queue, 'w', lag=20)


async def running(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await write_heart(client, queue, 'w', ids=['a'])


async def ended(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1)
    [(task_id, _)] = await queue.dequeue_many(1)
    await client.zincrby(queue.keys['working'], -1e6, str(task_id))


async def due(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    task_id = await queue.enqueue(1, delay=1000)
    await client.zincrby(queue.keys['delayed'], -1_100_000, task_id)


async def paused(queue: Torrelque, _: redis.asyncio.Redis) -> None:
    await queue.pause()


async def grouped(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await later(queue, client, await queue.enqueue(1, group='a'), seconds=50)
    await later(queue, client, await queue.enqueue(1, group='b'))


async def failing(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await count_minute(queue, client, '[15, 5, 2]')
    await count_minute(queue, client, '[0, 0, 1]', 8)
    await count_minute(queue, client, '[0, 90, 90]', 12)


async def idle(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await alive(queue, client)
    await count_minute(queue, client, '[9]', 5)


async def moving(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await alive(queue, client)
    await count_minute(queue, client, '[1]')


async def nothing(_: Torrelque, __: redis.asyncio.Redis) -> None:
    pass


@pytest.mark.parametrize(('prepare', 'name', 'value', 'words'), [
    (enqueued, 'oldest', 100, 'the oldest task has waited for 1m40s or longer'),
    (enqueued, 'pending', 2, '2 tasks are pending'), (enqueued, 'ready', 2, '2 tasks are ready'),
    (enqueued, 'no_worker', 1, 'no worker lives, and 2 tasks are pending'),
    (nothing, 'no_worker', 0, 'no worker lives, and nothing is pending'),
    (lost, 'no_worker', 1, 'no worker lives, and 1 task is pending'),
    (alive, 'no_worker', 0, '1 worker lives, and 1 task is pending'),
    (buried, 'dead', 2, '2 tasks are dead'), (buried, 'dead_age', 100, 'a task has been dead for 1m40s'),
    (nothing, 'dead_age', 0, 'no task is dead'),
    (lost, 'stuck', 1, '0 workers are stuck, and 1 was lost in the last hour'),
    (stuck, 'stuck', 1, '1 worker is stuck, and 0 were lost in the last hour'),
    (running, 'running', 100, 'the longest task runs for 1m40s'), (nothing, 'running', 0, None),
    (ended, 'overdue', 700, None), (due, 'overdue', 100, 'a task is overdue by 1m40s: nobody sweeps'),
    (nothing, 'overdue', 0, 'nothing is overdue'),
    (paused, 'paused', 1, 'the queue is paused'), (nothing, 'paused', 0, 'the queue is not paused'),
    (grouped, 'group_oldest', 100, 'the oldest task of a group has waited for 1m40s'),
    (failing, 'failed_share', 0.25, '5 of 20 attempts failed in 5 minutes (25%)'),
    (nothing, 'failed_share', None, 'nothing was tried in 5 minutes'),
    (failing, 'dead_new', 3, '3 tasks have died in 10 minutes'),
    (idle, 'stalled', 1, '1 task is ready, 10 places are free, and nothing was finished in 2 minutes'),
    (moving, 'stalled', 0, 'what is ready is taken'), (enqueued, 'stalled', 0, 'what is ready is taken'),
    (nothing, 'late', 0, 'no schedule is late'), (nothing, 'dry', 0, '0 schedules are dry'),
])  # fmt: skip
async def test_a_measure_is_read_of_its_queue(
    queue: Torrelque, client: redis.asyncio.Redis, prepare: Setup, name: str, value: float | None, words: str | None
) -> None:
    await prepare(queue, client)
    told, text = await found(queue, name)
    assert told == (value if value is None else pytest.approx(value, abs=5 if value > 50 else 0))
    # On a busy machine a second more has gone by.
    told_of, *_ = (words or text).partition('1m')
    assert text == words or (words is None or value == 100) and text.startswith(told_of)


async def test_of_few_attempts_no_share_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await failing(queue, client)
    words = '5 of 20 attempts failed in 5 minutes (25%'
    assert await found(queue, 'failed_share', 20) == (0.25, f'{words})')
    assert await found(queue, 'failed_share', 21) == (None, f'{words}, too few for a share)')


async def test_a_schedule_that_is_late(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    now, _ = await client.time()
    await queue.set_schedule('late', 1, every=1000)
    await client.zadd(queue.keys['schedules'], {'late': (now - 100) * 1000})
    value, words = await found(queue, 'late')
    assert value == pytest.approx(100, abs=5) and words.startswith('a schedule is late by 1m4')


async def test_for_all_rules_each_answer_is_asked_for_once(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue(1, group='a')
    rules = [Rule(name, name, above=1) for name in MEASURES]
    looker = Alerts(queue, rules)
    await looker.look()
    # The state of the rules, figures, minutes, and groups of this queue; none has hearts, leases, schedules.
    assert await counted(client, looker) == 4
    assert await counted(client, Alerts(queue, [Rule('a', 'pending', above=9)])) == 2


async def counted(client: redis.asyncio.Redis, looker: Alerts) -> int:
    """Scripts that a look is made of."""
    await client.config_resetstat()
    await looker.look()
    stats: Any = await client.info('commandstats')
    return sum(int(one['calls']) for name, one in stats.items() if name.startswith(('cmdstat_eval', 'cmdstat_fcall')))


async def test_a_queue_that_the_server_refuses_is_no_measure(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await client.acl_setuser(
        'blind', enabled=True, nopass=True, keys=['elsewhere'], commands=['+@all'], reset=True
    )
    async with redis.asyncio.Redis(
        connection_pool=redis.asyncio.ConnectionPool(
            **{**client.connection_pool.connection_kwargs, 'username': 'blind', 'password': 'x'},
            connection_class=client.connection_pool.connection_class,
        )
    ) as own, Torrelque(own, queue=queue.name) as blind:
        with pytest.raises(TorrelqueServerError):
            await found(blind, 'oldest')
        assert await Alerts(blind, [Rule('a', 'oldest')]).look() == []
    await client.acl_deluser('blind')
