"""Schedules under many sweepers whose replies are lost, while they are set anew, and over a server that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

import torrelque
from support.proxy import Proxy, calls_of, open_proxy
from support.servers import RealServer
from torrelque import Torrelque

SWEEPERS = 6
SCHEDULES = 50
"""Of each kind."""


async def lose_some(queue: Torrelque, proxy: Proxy, draw: random.Random) -> None:
    """Sweep again and again; the reply of each third sweep is lost, or its request."""
    while True:
        if draw.random() < 1 / 3:
            proxy.calm()
            draw.choice([proxy.lose_reply, proxy.lose_reply, proxy.lose_request])(calls_of('sweep'))
        await queue.sweep()
        await asyncio.sleep(draw.random() * 0.02)


async def work(queue: Torrelque, taken: Counter[str]) -> None:
    while True:
        with contextlib.suppress(torrelque.TorrelqueTimeoutError):
            some = await queue.dequeue_many(50, 60)
            taken.update(str(task_id) for task_id, _ in some)
            await queue.release_many([task_id for task_id, _ in some])


@contextlib.asynccontextmanager
async def going_on(*jobs: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def plan(queue: Torrelque, seconds: float) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Set schedules that end by themselves: what was set, and ids of all that they are to fire."""
    now = time.time()
    plans: dict[str, dict[str, Any]] = {}
    for number in range(SCHEDULES):
        plans[f'e{number}'] = {'every': (40 + number) / 1000, 'until': now + seconds}
        times = [now + 1 + k * seconds / 40 for k in range(40)]
        plans[f'l{number}'] = {'times': times, 'until': now + seconds}
    expected: set[str] = set()
    for name, options in plans.items():
        await queue.set_schedule(name, 0, overlap='allow', missed='all', **options)
    for schedule in [one async for one in queue.get_schedules()]:
        end = round((now + seconds) * 1000)
        if schedule.every is None:
            instants = [round(instant * 1000) for instant in plans[schedule.name]['times']]
        else:
            # Those that it may have had since it was set, before it was looked at.
            every = round(schedule.every * 1000)
            instants = [*range(-(-round(now * 1000) // every) * every, end + 1, every)]
        expected |= {f'{schedule.name}@{instant}' for instant in instants if instant <= end}
    return plans, expected


async def until_over(queue: Torrelque, taken: Counter[str]) -> None:
    """Wait until no schedule fires any more, and all tasks are done."""
    while [one async for one in queue.get_schedules() if one.next is not None]:
        await asyncio.sleep(0.05)
    while (await queue.get_queue_stats()).tasks:
        await asyncio.sleep(0.05)


def check(taken: Counter[str], expected: set[str], begun: float, fired: int) -> None:
    assert [task_id for task_id, count in taken.items() if count > 1] == []
    assert {*taken} - expected == set()
    # What was to fire while schedules were being set may have been over by then.
    missing = expected - {*taken}
    assert [task_id for task_id in missing if int(task_id.partition('@')[2]) > begun * 1000] == []
    assert fired == len(taken) > 100


@pytest.mark.first_server
@pytest.mark.parametrize('seconds', [4, pytest.param(40, marks=[pytest.mark.long, pytest.mark.one_server])])
async def test_each_instant_fires_once_however_many_sweep_and_replies_are_lost(
    server: RealServer, queue: Torrelque, seconds: float
) -> None:
    draw, taken = random.Random(7), Counter[str]()
    async with contextlib.AsyncExitStack() as stack:
        jobs: list[Any] = []
        for number in range(SWEEPERS):
            proxy = await stack.enter_async_context(open_proxy(server))
            client = await stack.enter_async_context(proxy.client())
            other = await stack.enter_async_context(Torrelque(client, queue=queue.name))
            jobs.append(lose_some(other, proxy, draw) if number < SWEEPERS - 2 else work(other, taken))
        plans, expected = await plan(queue, seconds)
        begun = time.time()

        async def set_anew() -> None:
            while True:
                name = draw.choice([*plans])
                await queue.set_schedule(name, draw.random(), overlap='allow', missed='all', **plans[name])
                await asyncio.sleep(draw.random() * 0.01)

        async with going_on(*jobs, set_anew()):
            await until_over(queue, taken)
    fired = sum([one.fired async for one in queue.get_schedules()])
    assert sum([one.skipped async for one in queue.get_schedules()]) == 0
    check(taken, expected, begun, fired)


@pytest.mark.long
@pytest.mark.parametrize('away', [0.0, 1.5])
async def test_a_server_that_is_killed_over_an_instant_fires_it_once(durable_server: RealServer, away: float) -> None:
    taken = Counter[str]()
    async with contextlib.AsyncExitStack() as stack:
        queues = []
        for _ in range(4):
            client = await stack.enter_async_context(durable_server.client())
            queues.append(await stack.enter_async_context(Torrelque(client)))
        _, expected = await plan(queues[0], 6)
        begun = time.time()
        async with going_on(*(work(queue, taken) for queue in queues[1:])):
            for _ in range(2):
                await asyncio.sleep(1)
                await asyncio.to_thread(durable_server.kill)
                await asyncio.sleep(away)
                await asyncio.to_thread(durable_server.start)
            await until_over(queues[0], taken)
        fired = sum([one.fired async for one in queues[0].get_schedules()])
    check(taken, expected, begun, fired)
