"""Flows through workers over a line that loses requests and replies."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.bounding import Bound
from support.proxy import Proxy, calls_of
from torrelque import Torrelque
from torrelque.flows import current_flow, gather
from torrelque.tasks import Tasks, current
from torrelque.testing import using
from torrelque.worker import Worker

pytestmark = [pytest.mark.first_server, pytest.mark.long]

LOST = ('flow', 'add', 'spread', 'release', 'requeue', 'bury', 'redrive', 'claim', 'give', 'sweep')
app = Tasks.from_url('redis://nowhere.invalid', queue='shop')
ran: Counter[str] = Counter()
broken: set[str] = set()


@app.task
async def numbers(count: int) -> list[int]:
    ran[current().id] += 1
    return [*range(count)]


@app.task
async def double(value: int) -> int:
    ran[current().id] += 1
    await asyncio.sleep(0)
    return 2 * value


@app.task
def add(values: list[int]) -> int:
    ran[current().id] += 1
    return sum(values)


@app.task
async def grows(count: int) -> int:
    ran[current().id] += 1
    flow = current_flow()
    await flow.push('count', count)
    await flow.add(gather(*(double.s(number) for number in range(count))) >> add, before=['told'])
    return count


@app.task
async def told(value: int) -> Any:
    ran[current().id] += 1
    return await current_flow().pull('count')


@app.task(max_attempts=1)
async def breaks(name: str) -> str:
    ran[current().id] += 1
    if name in broken:
        raise ValueError(f'{name} is broken')
    return name


@asynccontextmanager
async def losing(proxy: Proxy, draw: random.Random, count: list[int]) -> AsyncIterator[None]:
    """A block in which calls are lost: requests, or, as a rule, replies."""

    async def lose() -> None:
        while True:
            proxy.calm()
            which = tuple(part for name in draw.sample(LOST, 4) for part in calls_of(name))
            draw.choice([proxy.lose_reply, proxy.lose_reply, proxy.lose_request])(which)
            await asyncio.sleep(draw.random() * 0.02)
            if proxy.lossless:
                count[0] += 1
                # Whatever is on its way is sent again over a new connection, and must not be lost again and again.
                await asyncio.sleep(0.05)

    task = asyncio.ensure_future(lose())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        proxy.calm()


@pytest.mark.parametrize('seed', range(3))
async def test_each_task_of_a_flow_runs_once_whatever_is_lost(
    proxy: Proxy, queue_name: str, bound: Bound, seed: int
) -> None:
    # On a busy machine a connection may be cut again before it was made, for longer than calls are repeated.
    bound(repeat=1e6)
    draw, lost = random.Random(seed), [0]
    ran.clear()
    broken.clear()
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue, using(app, queue):
        async with losing(proxy, draw, lost), Worker(app, concurrency=10), Worker(app, concurrency=1):
            handles, expected = [], []
            for number in itertools.count():
                if lost[0] >= 40:
                    break
                size = draw.randrange(30)
                handles.append(await (numbers.s(size).map(double) >> add).options(flow_id=f'maps{number}').enqueue())
                expected.append(size * (size - 1))
                handles.append(await (grows.s(size) >> told).options(flow_id=f'grows{number}').enqueue())
                expected.append(size)
                row = double.s(1)
                for _ in range(8):
                    row = row >> double
                handles.append(await row.options(flow_id=f'row{number}').enqueue())
                expected.append(2**9)
                if number % 5 == 4:
                    await asyncio.gather(*(handle.result(120) for handle in handles[-15:]))
            assert await asyncio.gather(*(handle.result(120) for handle in handles)) == expected
            broken.add('x')
            stands = await gather(*(breaks.s(name) for name in 'axyx')).options(flow_id='stands').enqueue()
            while (await stands.progress()) != (4, 2, 2, 0):
                await asyncio.sleep(0.01)
            broken.clear()
            assert await stands.redrive() == 2
            assert await stands.result(120) == [*'axyx']
    again = {task_id: count for task_id, count in ran.items() if count > 1}
    assert again == {'stands.breaks-2': 2, 'stands.breaks-4': 2}
