"""Counters never sink, whoever begins anew; and it is all the same who tells of them."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.measuring import OPEN, Samples, check_histograms, lasting, numbers, scrape, value, values, write_totals
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.monitor import Metrics
from torrelque.operate import Operator
from torrelque.tasks import Tasks, current
from torrelque.worker import Backoff, Worker

pytestmark = pytest.mark.first_server


def make_app(queue: Torrelque) -> tuple[Tasks, Any]:
    """An app of a function that succeeds, fails, or does so at the second attempt."""
    app = Tasks(queue)

    @app.task(max_attempts=2)
    async def send(how: str) -> None:
        if how == 'dead' or how == 'again' and current().attempt == 1:
            raise ValueError(how)

    return app, send


async def work(app: Tasks) -> None:
    """Workers that do all there is, retries too, and say goodbye."""
    [queue] = app.queues
    while (stats := await queue.get_queue_stats()).pending or stats.working or stats.delayed:
        await Worker(app, burst=True, heartbeat=0.1, retry=Backoff(base=0.01), signals=False).run()
        if stats.delayed:
            await queue.sweep()


def counted(samples: Samples) -> Samples:
    return {key: number for key, number in samples.items() if key[0].endswith(('_total', '_bucket', '_count', '_sum'))}


def check_growing(before: Samples, after: Samples) -> None:
    assert {key for key, number in counted(before).items() if after.get(key, -1) < number} == set()


async def test_each_attempt_of_a_worker_is_in_one_outcome(queue: Torrelque) -> None:
    app, send = make_app(queue)
    for how in 'fine', 'fine', 'again', 'dead', 'dead':
        await send.enqueue(how)
    await work(app)
    told = await scrape(Metrics(queue))
    [task] = {dict(pairs)['task'] for (name, pairs), _ in told.items() if name == 'torrelque_attempts_total'}
    assert values(told, 'attempts_total', 'outcome', queue=queue.name, task=task) == {
        'succeeded': 3, 'retried': 3, 'dead': 2, 'lost': 0
    }  # fmt: skip
    assert value(told, 'run_seconds_count', queue=queue.name, task=task) == 8
    assert check_histograms(told) == 2


@pytest.mark.long
async def test_counters_grow_over_restarts_of_workers_servers_and_exporters(durable_server: RealServer) -> None:
    told: list[Samples] = []
    for turn in range(3):
        async with durable_server.client() as client, Torrelque(client, queue='mail') as queue:
            app, send = make_app(queue)
            for how in 'fine', 'again', 'dead':
                await send.enqueue(how)
            await work(app)
            told.append(await scrape(Metrics(queue)))
        if turn < 2:
            await asyncio.to_thread(durable_server.kill)
            await asyncio.to_thread(durable_server.start)
    for before, after in itertools.pairwise(told):
        check_growing(before, after)
    [task] = {dict(pairs)['task'] for (name, pairs), _ in told[0].items() if name == 'torrelque_attempts_total'}
    outcomes = [values(one, 'attempts_total', 'outcome', queue='mail', task=task) for one in told]
    assert outcomes == [
        {'succeeded': 2 * turn, 'retried': 2 * turn, 'dead': turn, 'lost': 0} for turn in (1, 2, 3)
    ]  # fmt: skip


async def test_counters_grow_while_workers_work(queue: Torrelque) -> None:
    app, send = make_app(queue)
    metrics = Metrics(queue)
    for number in range(60):
        await send.enqueue(('fine', 'again', 'dead')[number % 3])
    working = asyncio.ensure_future(work(app))
    before = await scrape(metrics)
    while not working.done():
        after = await scrape(metrics)
        check_growing(before, after)
        before = after
    await working
    totals = [one.totals for counts in await Operator(queue).counts() for one in counts.functions]
    assert sum(one.succeeded + one.failed + one.lost for one in totals) == 100


async def test_totals_that_were_deleted_begin_anew(queue: Torrelque) -> None:
    app, send = make_app(queue)
    await send.enqueue('fine')
    await work(app)
    before = await scrape(Metrics(queue))
    await Operator(queue).forget()
    await send.enqueue('fine')
    await work(app)
    assert counted(await scrape(Metrics(queue))).keys() == counted(before).keys()


async def test_ten_exporters_of_a_queue_agree(queue: Torrelque, server: RealServer) -> None:
    app, send = make_app(queue)
    for how in 'fine', 'again', 'dead':
        await send.enqueue(how)
    await queue.enqueue_many(range(3), group='acme')
    await work(app)
    async with AsyncExitStack() as stack:
        exporters = []
        for _ in range(10):
            client = await stack.enter_async_context(server.client())
            other = await stack.enter_async_context(Torrelque(client, queue=queue.name))
            exporters.append(Metrics(other, groups=['acme']))
        told = await asyncio.gather(*map(scrape, exporters))
    first, *others = map(lasting, told)
    assert first and all(one == first for one in others)


@pytest.mark.parametrize('accept', ['', OPEN])
async def test_counters_are_told_as_they_are_now(queue: Torrelque, accept: str) -> None:
    metrics = Metrics(queue)
    for succeeded in 1, 2, 2:
        await write_totals(queue, {'100 %': numbers(succeeded), '%s': numbers(5)})
        told = await scrape(metrics, accept)
        assert value(told, 'attempts_total', queue=queue.name, task='100 %', outcome='succeeded') == succeeded
        assert value(told, 'run_seconds_bucket', queue=queue.name, task='100 %', le='0.01') == succeeded
        assert value(told, 'run_seconds_count', queue=queue.name, task='%s') == 5
    # A function that is gone, as where totals began anew, has no series any more.
    await Operator(queue).forget()
    await write_totals(queue, {'new': numbers(1)})
    assert {dict(pairs)['task'] for (name, pairs), _ in (await scrape(metrics, accept)).items()
            if name == 'torrelque_attempts_total'} == {'new'}  # fmt: skip
