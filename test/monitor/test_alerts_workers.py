"""Alerts at which workers look as they beat, and alerts of workers that are gone."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from support.alerting import AlertClock, Told
from support.commanding import PACKAGES
from support.hooking import open_hook
from support.processes import environment, running
from support.servers import RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueQueue
from torrelque.monitor import Alerts, Rule, Webhook, alerts
from torrelque.worker import Delivery, Worker, get_workers

pytestmark = pytest.mark.first_server

CHILD = Path(__file__).parents[1] / 'worker' / 'hearts_child.py'


async def hang(_: Delivery) -> None:
    await asyncio.sleep(600)


async def test_of_all_workers_the_one_that_beats_first_looks(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    looks: list[str] = []
    workers = [Worker(queue, hang, name=name, heartbeat=0.02) for name in 'ab']
    for worker in workers:
        worker.on_sample = lambda queue: looks.append(queue.name)
    async with workers[0], workers[1]:
        while len(await get_workers(queue)) < 2:
            await asyncio.sleep(0.01)
        await until(lambda: looks)
        assert looks == [queue.name]
        # As a quarter of a minute later.
        await client.delete(queue.keys['sampled'])
        await until(lambda: len(looks) > 1)
    assert looks == [queue.name] * 2


async def test_a_worker_tells_of_its_queues(queue: Torrelque) -> None:
    told = Told()
    await queue.enqueue(1)
    worker = Worker(queue, hang, heartbeat=0.05, shutdown_timeout=0)
    async with Alerts.of_worker(worker, [Rule('busy', 'tasks', above=1, for_=0)], told), worker:
        await until(lambda: told.words)
    assert told.words == [('busy', 'firing')]


async def test_what_a_look_raises_does_not_harm_the_worker(
    queue: Torrelque, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(queue, hang, name='w', heartbeat=0.02)

    def fail(_: TorrelqueQueue) -> None:
        raise KeyError(1)

    worker.on_sample = fail
    async with worker:
        for count in (1, 2):
            await client.delete(queue.keys['sampled'])
            await until(lambda: len(caplog.records) >= count)  # noqa: B023 - it is called before the next round
    lines = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert lines[:2] == [(logging.ERROR, f'queue {queue.name!r}: on_sample failed')] * 2


async def test_a_killed_worker_raises_an_alert_by_webhook(
    server: RealServer, queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, 'PAUSE', 0.02)
    rules = [Rule('stuck', 'stuck'), Rule('no_worker', 'no_worker', for_=0.1)]
    await queue.enqueue('hang')
    command = [sys.executable, str(CHILD), server.url, queue.name, 'w', '0.2']
    with open_hook() as hook:
        with running(command, stdout=subprocess.PIPE, env=environment(str(PACKAGES))) as child:
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == 'hangs\n'
            while not await get_workers(queue):
                await asyncio.sleep(0.01)
            looking = asyncio.ensure_future(Alerts(queue, rules, {'ops': Webhook(hook.url)}).run())
            child.send_signal(signal.SIGKILL)
        await queue.enqueue('waits')
        bodies = await asyncio.to_thread(hook.wait, 2)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
    texts = {body['rule']: body['text'] for body in bodies}
    assert texts['stuck'].startswith(f'FIRING: stuck on {queue.name}: 0 workers are stuck, and 1 was lost in the last')
    assert f'no_worker on {queue.name}: no worker lives, and ' in texts['no_worker']


async def test_an_end_while_a_look_is_on_its_way_is_one(queue: Torrelque, alert_clock: AlertClock) -> None:
    looker = Alerts(queue, [Rule('some', 'pending', above=1)])
    async with looker:
        looker.look_soon(queue)
    looker.look_soon(queue)
    await looker.aclose()
    await looker.aclose()
