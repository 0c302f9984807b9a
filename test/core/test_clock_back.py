"""The server's clock goes back: what waits by an instant waits no longer than it takes, but for delays and leases.

Instants that a queue has stored are put ahead by an hour, which is the same, seen from the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import MakeServer, RealServer
from support.taking import take_all, tasks_of
from support.waiting import until_waiting
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.testing import Clock

pytestmark = pytest.mark.long

HOUR = 3600
SOON = 20
"""s in which what has waited for its own length must have come, however busy the machine is."""
BACK = """
local base, far = string.sub(KEYS[1], 1, -8), ARGV[1] * 1000
for _, name in ipairs({'delayed', 'working', 'rated'}) do
  local items = redis.call('ZRANGE', base .. name, 0, -1, 'WITHSCORES')
  for j = 1, #items, 2 do
    redis.call('ZADD', base .. name, string.format('%.0f', items[j + 1] + far), items[j])
  end
end
local probes = redis.call('HGETALL', base .. 'probes')
for j = 1, #probes, 2 do
  local instant, every = string.match(probes[j + 1], '^(%d+) (%d+)$')
  redis.call('HSET', base .. 'probes', probes[j], string.format('%.0f %s', instant + far, every))
end
for j = 2, #ARGV do
  local key = base .. 'rate:' .. ARGV[j]
  local text = redis.call('GET', key)
  if text then
    local left, since = string.match(text, '^(%S+) (%d+)$')
    local ttl = redis.call('PTTL', key)
    redis.call('SET', key, string.format('%s %.0f', left, since + far), 'PX', ttl + far)
  end
end
"""


async def go_back(client: redis.asyncio.Redis, queue: Torrelque, *rated: str, seconds: float = HOUR) -> None:
    """The server's clock goes back; ``rated`` are the groups that have buckets."""
    await client.eval(BACK, 1, queue.keys['pending'], seconds, *rated)


async def now_of(client: redis.asyncio.Redis) -> int:
    seconds, microseconds = await client.time()
    return seconds * 1000 + microseconds // 1000


@contextlib.asynccontextmanager
async def somebody_waits(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> AsyncIterator[asyncio.Task[Any]]:
    """A consumer that waits, with a client of its own."""
    async with server.client() as other_client, Torrelque(other_client, queue=queue.name) as other:
        consumer = asyncio.create_task(other.dequeue())
        await until_waiting(client)
        yield consumer


async def test_a_bucket_counts_from_now_on(client: Any, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(1, 60))
    await queue.enqueue(1, group='a')
    await queue.release((await queue.dequeue(0))[0])
    await go_back(client, queue, 'a')
    await queue.enqueue(2, group='a')
    # It is written so, or the next who looks would count anew.
    left, since = (await client.get(f'{queue.keys["rate"]}:a')).split()
    assert float(left) < 1 and int(since) <= await now_of(client)
    assert await client.pttl(f'{queue.keys["rate"]}:a') <= 60_000
    await Clock(queue).move(60)
    assert (await queue.dequeue(SOON))[1] == 2


async def test_a_task_that_comes_after_it_waits_for_one_token(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(1, 0.5))
    await queue.enqueue(1, group='a')
    await queue.release((await queue.dequeue(0))[0])
    await go_back(client, queue, 'a')
    await queue.enqueue(2, group='a')
    assert (await queue.dequeue(SOON))[1] == 2


async def test_what_is_left_in_a_bucket_stays(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(3, HOUR))
    await queue.enqueue_many(range(4), group='a')
    assert await tasks_of(queue, 1) == [0]
    await go_back(client, queue, 'a')
    assert await tasks_of(queue) == [1, 2]
    await go_back(client, queue, 'a')
    assert await tasks_of(queue) == []


@pytest.mark.first_server
@pytest.mark.parametrize('before', [True, False])
async def test_a_group_that_waits_for_a_token_waits_no_longer_than_one_takes(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, before: bool
) -> None:
    await queue.set_limit('a', rate=(1, 1.5))
    await queue.enqueue_many(range(3), group='a')
    assert await tasks_of(queue) == [0]
    if before:
        async with somebody_waits(server, client, queue) as consumer:
            await go_back(client, queue, 'a')
            assert (await asyncio.wait_for(consumer, SOON))[1] == 1
    else:
        await go_back(client, queue, 'a')
        assert (await queue.dequeue(SOON))[1] == 1
    assert (await queue.dequeue(SOON))[1] == 2


async def test_a_sweep_sees_it_where_all_consumers_are_away(client: Any, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(1, 1.5))
    await queue.enqueue_many(range(2), group='a')
    assert await tasks_of(queue) == [0]
    await go_back(client, queue, 'a')
    assert await queue.sweep() == (0, 0, 0, 0)
    assert await client.zscore(queue.keys['rated'], 'a') <= await now_of(client) + 1500


async def test_groups_that_wait_are_looked_at_once(
    server: RealServer, client: Any, queue: Torrelque
) -> None:
    """However many they are, and also behind one that has to wait for long."""
    await queue.set_limit('slow', rate=(1, HOUR))
    await queue.set_limit(rate=(1, 60))
    groups = ['slow', *(f'g{n}' for n in range(180))]
    await queue.enqueue_many([(group, n) for n in range(2) for group in groups], group=lambda task: task[0])
    assert len(await take_all(queue, bulk=250)) == len(groups)
    await go_back(client, queue, *groups)
    with server.sync_client() as raw:
        before = raw.info('commandstats')['cmdstat_evalsha']['calls']
        assert await queue.sweep() == (0, 0, 0, 0)
        after = raw.info('commandstats')['cmdstat_evalsha']['calls']
        # Fifty in each step, and none is seen twice.
        assert after - before <= 6
    now = await now_of(client)
    rated = await client.zrange(queue.keys['rated'], 0, -1, withscores=True)
    waits = {name.decode(): score - now for name, score in rated}
    assert {*waits} == {*groups}
    assert HOUR * 1000 - 60_000 < waits.pop('slow') <= HOUR * 1000
    assert max(waits.values()) <= 60_000


async def test_groups_that_wait_as_they_should_are_let_be(client: Any, queue: Torrelque) -> None:
    await queue.set_limit('a', rate=(1, HOUR))
    await queue.set_limit('b', rate=(1, 2 * HOUR))
    await queue.pause('c', probe=HOUR)
    await queue.enqueue_many([0, 1], group='a')
    await queue.enqueue_many([0, 1], group='b')
    await queue.enqueue_many([0, 1], group='c')
    assert await tasks_of(queue) == [0, 0]
    before = await client.zrange(queue.keys['rated'], 0, -1, withscores=True)
    seen = (await client.info('commandstats')).get('cmdstat_zunionstore')
    for _ in range(3):
        assert await take_all(queue) == []
        assert await queue.sweep() == (0, 0, 0, 0)
    assert (await client.info('commandstats')).get('cmdstat_zunionstore') == seen
    assert await client.zrange(queue.keys['rated'], 0, -1, withscores=True) == before
    assert {name for name, _ in before} == {b'a', b'b', b'c'}


async def test_what_nobody_can_wait_for_is_no_endless_loop(client: Any, queue: Torrelque) -> None:
    """An entry, a bucket or a probe that was written by hand."""
    await queue.set_limit('a', rate=(1, HOUR))
    await queue.enqueue_many([0, 1], group='a')
    assert await tasks_of(queue) == [0]
    far = await now_of(client) + 1000 * HOUR * 1000
    await client.zadd(queue.keys['rated'], {'a': far, 'nothing': far, 'b': far})
    await client.set(f'{queue.keys["rate"]}:a', f'-1000 {far}')
    await client.hset(queue.keys['probes'], 'b', f'{far} 1000')
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0.5)
    assert await queue.sweep() == (0, 0, 0, 0)
    assert await client.zrange(queue.keys['rated'], 0, -1) == [b'a']
    assert await client.zscore(queue.keys['rated'], 'a') <= await now_of(client) + HOUR * 1000


@pytest.mark.first_server
@pytest.mark.parametrize('before', [True, False])
@pytest.mark.parametrize('group', [None, 'g'])
async def test_a_probe_comes_now_and_the_next_in_its_time(
    server: RealServer, client: Any, queue: Torrelque, group: str | None, before: bool
) -> None:
    await queue.pause(group, probe=60)
    await queue.enqueue_many(range(3), group=group)
    assert await take_all(queue) == []
    if before:
        async with somebody_waits(server, client, queue) as consumer:
            await go_back(client, queue)
            task_id, task = await asyncio.wait_for(consumer, SOON)
    else:
        await go_back(client, queue)
        task_id, task = await queue.dequeue(SOON)
    assert (task, task_id.probe) == (0, True)
    assert await take_all(queue) == []
    instant, every = (await client.hget(queue.keys['probes'], group or '')).split()
    assert int(instant) <= await now_of(client) + 60_000 and every == b'60000'


async def test_a_full_server_lets_it_pass(make_server: MakeServer, queue_name: str) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.set_limit('a', rate=(1, 1.5))
        await queue.enqueue_many(range(3), group='a')
        assert await tasks_of(queue) == [0]
        await go_back(client, queue, 'a')
        await client.config_set('maxmemory', 1)
        # Whoever leaves has written nothing before.
        leave = queue._calls.transitions['leave'].words(['', '2000'], False)
        assert await client.execute_command(*leave) == b'ok'
        assert await client.zscore(queue.keys['rated'], 'a') == 0
        assert (await queue.dequeue(SOON))[1] == 1
        await client.config_set('maxmemory', 0)


async def test_delays_and_leases_come_late_by_what_it_went_back(client: Any, queue: Torrelque) -> None:
    await queue.enqueue('delayed', delay=60)
    await queue.enqueue('leased', task_timeout=60)
    held, _ = await queue.dequeue(0)
    await go_back(client, queue)
    await Clock(queue).move(HOUR - 60)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert await queue.sweep() == (0, 0, 0, 0)

    # A lease that is renewed is as long as it should be.
    assert await queue.touch(held, task_timeout=60)
    assert await client.zscore(queue.keys['working'], held) <= await now_of(client) + 60_000
    # An operator takes it away at once.
    assert await queue.requeue(str(held))
    assert (await queue.dequeue(0))[1] == 'leased' and not await queue.release(held)
    # What is delayed is cancelled, and enqueued anew.
    (delayed,) = [task_id.decode() for task_id in await client.zrange(queue.keys['delayed'], 0, -1)]
    assert (await queue.get_task_state(delayed)).status is Status.DELAYED
    assert not await queue.requeue(delayed) and await queue.redrive(delayed) == 0
    assert await queue.cancel(delayed)


async def test_a_group_waits_no_longer_beside_those_that_are_busy(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    """The entries of the busy ones are always near, and that which the clock has made late is behind them all."""
    await queue.set_limit(rate=(1, 0.3))
    await queue.enqueue_many(range(3), group='old')
    await queue.enqueue_many(range(900), group=lambda n: f'busy {n % 30}')
    seen = []
    while 'old' not in seen:
        seen.append((await queue.dequeue(60))[0].group)
    await client.zadd(queue.keys['rated'], {'old': (await ms_of(client)) + 3_600_000})
    while seen.count('old') < 3:
        seen.append((await queue.dequeue(60))[0].group)
        assert len(seen) < 900


async def ms_of(client: redis.asyncio.Redis) -> int:
    seconds, micros = await client.time()
    return seconds * 1000 + micros // 1000
