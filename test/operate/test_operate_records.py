"""What was counted, by minutes, hours and functions; and the registry of queues."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque
from torrelque.operate import Operator, Totals, known, records, registry, scan
from torrelque.operate.records import percentile
from torrelque.protocol.keys import BUCKETS, REGISTRY
from torrelque.testing import Clock
from torrelque.worker import Delivery, Worker, get_workers


async def server_time(client: redis.asyncio.Redis) -> int:
    return int((await client.time())[0])


async def write_record(
    client: redis.asyncio.Redis, queue: Torrelque, kind: str, ago: int, functions: dict[str, list[float]], **others: Any
) -> int:
    """A record of so many minutes, or hours, ago; its number."""
    length = {'minute': 60, 'hour': 3600}[kind]
    number = await server_time(client) // length - ago
    fields = {f'={name}': json.dumps(numbers) for name, numbers in functions.items()}
    fields |= {f'*{name}': json.dumps(value) for name, value in others.items()}
    await client.hset(f'{queue.keys[kind]}:{number}', mapping=fields)  # type: ignore[arg-type]
    return number


def of_buckets(**counts: int) -> list[int]:
    return [counts.get(f'b{number}', 0) for number in range(len(BUCKETS))]


# History


async def test_minutes_are_told_up_to_eight_hours_and_hours_beyond(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    for kind, agos in (('minute', (0, 1, 59, 60, 479, 480, 600)), ('hour', (0, 7, 13 * 24, 15 * 24))):
        for ago in agos:
            await write_record(client, queue, kind, ago, {'f': [1, 0, 0, 0, 2, *of_buckets(b0=1)]})
    operator = Operator(queue)
    for length, count, one in ((3600, 4, 60), (8 * 3600, 6, 60), (8 * 3600 + 1, 2, 3600), (14 * 86400, 3, 3600)):
        found = await operator.history(length)
        assert (len(found), {record.length for record in found}) == (count, {one}), length
        starts = [record.start for record in found]
        assert starts == sorted(starts) and all(start % one == 0 for start in starts)
    # What nobody has written is a gap.
    starts = [record.start for record in await operator.history(3600)]
    assert [(starts[-1] - start) / 60 for start in starts] == [60, 59, 1, 0]


async def test_a_record_has_all_that_was_written(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await write_record(
        client, queue, 'minute', 0, {'b': [1, 2, 3, 4, 5.5], 'a': [10, 20, 30, 40, 50], '*other': [1, 0, 0, 0, 0]},
        run=[*range(16), 99], wait=[*range(16, 32), 2500], sizes=[1, 2, 3, 4, 5000, 6, 7, 8], new='of a later version',
    )  # fmt: skip
    [record] = await records.read_history(queue, 60)
    assert record.functions == (
        ('*other', Totals(1)), ('a', Totals(10, 20, 30, 40, 0.05)), ('b', Totals(1, 2, 3, 4, 0.0055))
    )  # fmt: skip
    assert record.totals == Totals(12, 22, 33, 44, 0.0555)
    assert (record.run, record.wait, record.wait_time) == (tuple(range(16)), tuple(range(16, 32)), 2.5)
    sizes = record.sizes
    assert sizes is not None and [*sizes.as_json().values()] == [1, 2, 3, 4, 5.0, 6, 7, 8]
    assert json.dumps(record.as_json())


@pytest.mark.parametrize(
    'text', ['', 'x', '[]', '["1"]', '{"a": 1}', '[null,1,1,1,1]', '[1e999,1,1,1,1]', '9' * 5000, '[' * 9999]
)
async def test_rubbish_in_a_record_is_told_as_nothing(
    queue: Torrelque, client: redis.asyncio.Redis, text: str
) -> None:
    number = await write_record(client, queue, 'minute', 0, {'good': [1, 0, 0, 0, 2]})
    key = f'{queue.keys["minute"]}:{number}'
    await client.hset(key, mapping={'=bad': text, '*run': text, '*wait': text, '*sizes': text, b'=\xff\x1b': text})
    [record] = await records.read_history(queue, 60)
    assert dict(record.functions) == {'good': Totals(1, 0, 0, 0, 0.002), 'bad': Totals(), '\udcff\x1b': Totals()}
    assert (sum(record.run), sum(record.wait), record.sizes) == (0, 0, None)


# Functions


async def test_functions_are_told_over_a_time_and_since_their_counts_began(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await write_record(client, queue, 'minute', 0, {'f': [1, 1, 1, 1, 100]})
    await write_record(client, queue, 'minute', 300, {'f': [2, 0, 0, 0, 100]})
    of_hour: dict[str, list[float]] = {'f': [5, 1, 1, 1, 600, *of_buckets(b3=6)], 'g': [9, 0, 0, 0, 0, *of_buckets()]}
    await write_record(client, queue, 'hour', 0, of_hour)
    await write_record(client, queue, 'hour', 100, {'f': [50, 0, 0, 0, 600, *of_buckets(b4=50)]})
    await client.hset(queue.keys['totals'], '=f', json.dumps([500, 0, 0, 0, 5000, *of_buckets(b9=500)]))
    for since, succeeded in ((60, 1), (6 * 3600, 3), (9 * 3600, 5), (200 * 3600, 55), (None, 500)):
        found = {view.name: view for view in await Operator(queue).functions(since=since)}
        assert found['f'].totals.succeeded == succeeded, since
    names = [view.name for view in await Operator(queue).functions(since=9 * 3600)]
    assert names == ['g', 'f']
    [view] = await Operator(queue).functions()
    assert view.mean == 0.01 and view.p50 == pytest.approx(3.75)


def test_a_percentile_lies_in_the_bucket_that_its_run_is_in() -> None:
    random.seed(5)
    for _ in range(300):
        times = sorted(random.lognormvariate(0, 3) for _ in range(random.randrange(1, 60)))
        bounds = [*zip((0, *BUCKETS), BUCKETS, strict=False)]
        buckets = [sum(lower < one <= upper for one in times) for lower, upper in bounds]
        for part in (0.01, 0.5, 0.95, 1.0):
            true = times[math.ceil(part * len(times)) - 1]
            found = percentile(buckets, part)
            assert found is not None
            lower = max(bound for bound in (0, *BUCKETS) if bound < true)
            upper = min(bound for bound in BUCKETS if bound >= true)
            assert lower <= found <= (1800 if upper == math.inf else upper)
    assert percentile([0] * 16, 0.5) is None
    assert percentile([0] * 15 + [3], 0.5) == 1800
    assert percentile([4] + [0] * 15, 0.5) == pytest.approx(0.0025)


async def test_keys_of_another_kind_are_told_as_nothing(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    now = await server_time(client)
    for key in (f'minute:{now // 60}', f'hour:{now // 3600}', 'totals'):
        name, _, number = key.partition(':')
        await client.set(queue.keys[name] + (f':{number}' if number else ''), 'rubbish')
    assert await Operator(queue).history() == []
    assert await Operator(queue).functions() == []
    assert await Operator(queue).functions(since=60) == []


# The moved clock


async def test_a_moved_clock_leaves_hearts_alone_and_has_records_expire_in_their_time(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    await queue.enqueue(1)
    await Worker(queue, handle, heartbeat=60, burst=True).run()
    async with Worker(queue, handle, name='lives', heartbeat=60):
        while not await get_workers(queue):
            pass
        await Clock(queue).move(2 * 3600)
        assert [each.name for each in await get_workers(queue)] == ['lives']
        assert len(await records.read_history(queue, 60)) == 1
        await Clock(queue).move(7 * 3600)
        assert await records.read_history(queue, 60) == []
        assert len(await records.read_history(queue, 9 * 3600)) == 1
        await Clock(queue).move(31 * 86400)
        assert await records.read_functions(queue, None) == []
        assert await records.read_history(queue, 9 * 3600) == []
        assert [each.name for each in await get_workers(queue)] == ['lives']


# The registry


async def test_an_operator_notes_a_queue_once_a_minute(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await registry.note(queue)
    [found] = await known(client)
    assert found.name == queue.name and found.seen is not None and abs(found.seen - await server_time(client)) < 60
    await client.zadd(REGISTRY, {queue.name: 5})
    await registry.note(queue)
    assert [found.seen for found in await known(client)] == [5]
    assert 0 < await client.ttl(REGISTRY) <= 30 * 86400


@pytest.mark.parametrize('options', [{}, {'decode_responses': True}, {'protocol': 3}])
async def test_all_queues_of_a_server_are_found_by_their_keys(server: Any, options: dict[str, Any]) -> None:
    names = ['mail', '{shop}mail', 'a:b', '{x}:tasks', 'ü\U0001f600', 'with space', 'a{', '*', '[a]']
    async with server.client(**options) as own:
        for name in names:
            async with Torrelque(own, queue=name) as queue:
                await queue.enqueue(1)
                await registry.note(queue)
        async with server.client() as raw:
            await raw.set(b'{\xff}:tasks', 'x')
            for odd in ('tasks', ':tasks', '{}:tasks', '{a}tasks', '{a}:tasks:x', 'a}:tasks'):
                await raw.set(odd, 'x')
        found = [queue async for queue in scan(own)]
        # A name is a text, so what is no text is not a queue's.
        assert sorted(queue.name for queue in found) == sorted(names)
        assert {queue.seen for queue in found} == {None}
        assert [queue.name for queue in await known(own)] == sorted(names)


async def test_what_was_written_of_a_queue_is_forgotten_and_its_tasks_stay(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    await queue.enqueue_many(range(5))
    await Worker(queue, handle, heartbeat=60, burst=True).run()
    await client.lpush(queue.keys['acts'], 'x')
    await write_record(client, queue, 'minute', 479, {'f': [1, 0, 0, 0, 0]})
    await write_record(client, queue, 'hour', 14 * 24 - 1, {'f': [1, 0, 0, 0, 0, *of_buckets()]})
    await queue.enqueue(1)
    await queue.set_limit('g', concurrency=1)
    await Operator(queue).forget()
    keys: Any = await client.keys('*')
    left = {key.decode().removeprefix(queue.keys['pending'].removesuffix('pending')) for key in keys}
    assert {name.partition(':')[0] for name in left} <= {'pending', 'tasks', 'task', 'limits', 'bell', 'worker'}
    assert (await queue.get_queue_stats()).pending == 1 and await known(client) == []


async def test_a_registry_of_another_kind_stops_no_note(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await client.set(REGISTRY, 'rubbish')
    await registry.note(queue)
    assert await client.get(REGISTRY) == b'rubbish'
