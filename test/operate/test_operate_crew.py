"""Workers as an operator sees them: who lives, who is stuck and why, who was lost, and what rubbish hides nobody."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import redis.asyncio

from support.bounding import Bound
from support.waiting import until
from torrelque import Torrelque
from torrelque.operate import WorkerView, crew
from torrelque.worker import Delivery, Worker, get_workers

pytestmark = pytest.mark.one_server


async def handle(delivery: Delivery) -> None: ...


async def write_heart(client: redis.asyncio.Redis, queue: Torrelque, name: str | bytes, **fields: Any) -> None:
    """A heart as a worker writes it, but for what is given; None leaves a field out."""
    now = float((await client.time())[0]) * 1000
    health = {
        'name': 'x', 'host': 'h', 'pid': 7, 'state': 'running', 'started': now / 1000 - 60, 'seen': now / 1000,
        'queues': [queue.name], 'functions': ['f'], 'running': [],
    }  # fmt: skip
    heart = {
        'number': 's.1', 'seen': f'{now:.0f}', 'interval': '5000', 'state': 'running', 'slots': '10', 'busy': '3',
        'lag': '2', 'claimed': '0.5', 'health': json.dumps(health),
    } | fields  # fmt: skip
    key = queue.keys['worker'].encode() + b':' + (name if isinstance(name, bytes) else name.encode())
    await client.hset(key, mapping={field: value for field, value in heart.items() if value is not None})
    seen = heart['seen']
    await client.zadd(queue.keys['workers'], {name: float(seen) if isinstance(seen, str) and seen.isdigit() else now})  # type: ignore[type-var]


async def only(queue: Torrelque) -> WorkerView:
    [small], [view] = await crew.read_workers(queue, running=False), await crew.read_workers(queue)
    assert small.state == view.state or view.hanging
    return view


# Stuck


@pytest.mark.parametrize(
    ('fields', 'why'),
    [
        ({}, None),
        ({'claimed': '29.9'}, None),
        ({'claimed': '30.5'}, '7 of its 10 places are free, 1 tasks are ready, and it has claimed none for 30 s'),
        ({'claimed': '3000', 'busy': '10'}, None),
        ({'claimed': '3000', 'state': 'stopping'}, None),
        ({'claimed': ''}, None),
        ({'claimed': 'nan'}, None),
        ({'claimed': '1e300'}, None),
        ({'lag': '9999'}, None),
        ({'lag': '12345'}, 'its event loop stood still for 12 s'),
        ({'state': 'odd'}, None),
    ],
)
async def test_a_worker_that_lives_and_takes_nothing_that_is_ready_is_stuck(
    queue: Torrelque, client: redis.asyncio.Redis, fields: dict[str, str], why: str | None
) -> None:
    await queue.enqueue(1)
    await write_heart(client, queue, 'a', **fields)
    view = await only(queue)
    state = 'stuck' if why else 'stopping' if fields.get('state') == 'stopping' else 'running'
    assert (view.state, view.why) == (state, why)


@pytest.mark.parametrize('ready', ['plain', 'priority', 'group', 'none', 'hole', 'paused', 'delayed'])
async def test_only_what_could_be_handed_out_makes_a_worker_stuck(
    queue: Torrelque, client: redis.asyncio.Redis, ready: str
) -> None:
    await write_heart(client, queue, 'a', claimed='60')
    if ready == 'paused':
        await queue.pause()
    if ready != 'none':
        task_id = await queue.enqueue(
            1, group='g' if ready == 'group' else None, priority=5 if ready == 'priority' else 0,
            delay=60 if ready == 'delayed' else None,
        )  # fmt: skip
    if ready == 'hole':
        await queue.enqueue(2)
        await queue.dequeue_many(1)
        await queue.cancel(task_id)
        await client.delete(queue.keys['pending'])
    assert (await only(queue)).state == ('stuck' if ready in ('plain', 'priority', 'group') else 'running')


async def test_a_worker_all_of_whose_places_hang_is_stuck(queue: Torrelque) -> None:
    gate = threading.Event()

    def hang(delivery: Delivery) -> None:
        gate.wait(60)

    await queue.enqueue(1)
    try:
        async with Worker(queue, hang, concurrency=1, timeout=0.05, max_attempts=1, heartbeat=0.05):
            while (found := await crew.read_workers(queue)) == [] or found[0].state != 'stuck':
                await asyncio.sleep(0.005)
            assert found[0].why == 'all its 1 places are taken by threads that hang'
            gate.set()
    finally:
        gate.set()


@pytest.mark.parametrize('several', [False, True])
async def test_a_worker_that_has_nothing_to_do_is_known_to_claim(
    queue: Torrelque, client: redis.asyncio.Redis, worker_bound: Bound, several: bool
) -> None:
    worker_bound(claim_patience=0.05)
    async with Torrelque(client, queue=queue.name + '-b') as second:
        async with Worker([queue, second] if several else queue, handle, heartbeat=0.05) as worker:
            await until(lambda: worker.health().claimed is not None)
            rose = [0.0]
            # It falls back again and again though there is no task.
            while len(rose) < 4:
                claimed = worker.health().claimed
                assert claimed is not None
                rose = [*rose[:-1], claimed] if claimed >= rose[-1] else [*rose, claimed]
                await asyncio.sleep(0.005)
            # And what comes is taken.
            await second.enqueue(1) if several else await queue.enqueue(1)
            await until(lambda: worker.health().succeeded)


async def test_a_worker_that_waits_for_its_own_rate_is_not_stuck(queue: Torrelque) -> None:
    await queue.enqueue_many(range(5))
    async with Worker(queue, handle, rate=(1, 3600), heartbeat=0.05) as worker:
        await until(lambda: worker.health().succeeded == 1)
        await until(lambda: worker.health().claimed is None)
        while (await only(queue)).claimed is not None:
            await asyncio.sleep(0.005)


# Lost, and odd


async def test_a_worker_is_lost_for_an_hour(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    now = float((await client.time())[0]) * 1000
    for name, ago in (('just', 16_000), ('long', 3_500_000)):
        await write_heart(client, queue, name, seen=f'{now - ago:.0f}')
    await client.zadd(queue.keys['workers'], {'gone': now - 100_000, 'long gone': now - 3_700_000})
    views = {view.name: view for view in await crew.read_workers(queue)}
    assert {name: view.state for name, view in views.items()} == dict.fromkeys(('just', 'long', 'gone'), 'lost')
    assert (views['gone'].why or '').endswith('nothing is left of what it told of itself')
    assert await get_workers(queue) == []


@pytest.mark.parametrize('field', ['seen', 'interval', 'state', 'slots', 'busy', 'lag', 'claimed', 'health'])
@pytest.mark.parametrize(
    'value', [None, '', 'rubbish', '-1', '1e999', 'nan', '9' * 400, '{"a": [1', '[]', '[' * 50_000, '\x1b[2J', '{}'],
)  # fmt: skip
async def test_rubbish_in_a_heart_hides_no_worker(
    queue: Torrelque, client: redis.asyncio.Redis, field: str, value: str | None
) -> None:
    await write_heart(client, queue, 'a', **{field: value})
    await write_heart(client, queue, 'b')
    first, second = await crew.read_workers(queue)
    assert (first.name, second.name, second.state) == ('a', 'b', 'running')
    assert first.as_json() and json.dumps(first.as_json())
    if field == 'health':
        assert first.why == (None if value == '{}' else 'its health cannot be read')
        assert (first.concurrency, first.busy, first.state) == (10, 3, 'running')


@pytest.mark.parametrize(
    'health',
    [
        {'running': [1, None, {'id': 5, 'since': 'x'}, {'id': 'a', 'since': 1e400, 'attempt': -5, 'group': 3}]},
        {'running': {}, 'functions': [1, 'f', None], 'queues': 'q', 'pid': 'x', 'host': 5, 'started': True},
        {'pid': 10**300, 'rss': -5, 'succeeded': 1e300, 'seen': -1e300, 'version': []},
    ],
)  # fmt: skip
async def test_a_health_that_was_written_by_hand_is_told_as_far_as_it_can_be(
    queue: Torrelque, client: redis.asyncio.Redis, health: dict[str, Any]
) -> None:
    await write_heart(client, queue, b'\xff\n', health=json.dumps(health))
    view = await only(queue)
    assert view.name == '\udcff\n' and view.state == 'running'
    assert json.dumps(view.as_json())


async def test_names_of_any_text_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    names = ['a:b', '*', '\x1b]0;x\x07', '\u202ename', '\U0001f600' * 50, 'x' * 5000, ' ']
    for name in names:
        async with Worker(queue, handle, name=name, heartbeat=60):
            while [view.name for view in await crew.read_workers(queue)] != [name]:
                await asyncio.sleep(0.005)


async def test_many_workers_are_read_page_by_page(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    now = float((await client.time())[0]) * 1000
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(1250):
            pipeline.hset(f'{queue.keys["worker"]}:{number:04d}', mapping={'seen': f'{now:.0f}', 'interval': 60_000})
            pipeline.zadd(queue.keys['workers'], {f'{number:04d}': now + number % 7})
        await pipeline.execute()
    for running in (False, True):
        found = await crew.read_workers(queue, running)
        assert [view.name for view in found] == [f'{number:04d}' for number in range(1250)]
        assert {view.state for view in found} == {'running'}


async def test_who_may_only_read_sees_workers(server: Any, client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await write_heart(client, queue, 'a')
    await client.execute_command(
        'ACL', 'SETUSER', 'looks', 'on', '>secret', f'~{queue.keys["pending"].removesuffix("pending")}*', '+@read',
        '+@scripting', '+time', '+@connection',
    )  # fmt: skip
    try:
        async with server.client(username='looks', password='secret') as own, Torrelque(own, queue=queue.name) as mine:
            assert [view.name for view in await crew.read_workers(mine)] == ['a']
    finally:
        await client.execute_command('ACL', 'DELUSER', 'looks')
