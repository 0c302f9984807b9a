"""The worker: schedules fire also while all its places are taken."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from support.bounding import bind_workers
from support.waiting import until
from torrelque import Torrelque
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    bind_workers(monkeypatch, firing_pause=0.02, firing_look=1)


class Long:
    """A handler that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self, delivery: Delivery) -> None:
        self.begun.set()
        await self.end.wait()


async def until_fired(queue: Torrelque, name: str, count: int) -> None:
    while (await queue.get_schedule(name)).fired < count:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize('options', [{}, {'concurrency': 10, 'rate': (1, 3600)}], ids=['full', 'slow'])
async def test_a_worker_without_a_place_fires_each_instant(queue: Torrelque, options: dict[str, Any]) -> None:
    handle = Long()
    await queue.enqueue('long')
    async with Worker(queue, handle, **{'concurrency': 1, 'shutdown_timeout': 1, **options}):
        await handle.begun.wait()
        await queue.set_schedule('often', 'often', every=0.3, overlap='allow', missed='none')
        # Of instants that are due together none would fire.
        await asyncio.wait_for(until_fired(queue, 'often', 3), 20)
        assert (await queue.get_queue_stats()).working == 1
        await queue.remove_schedule('often')
        handle.end.set()


async def test_a_worker_with_a_place_leaves_it_to_the_queue(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    monkeypatch.setattr('torrelque.worker.firing.run_script', lambda *args: looks.append(args))
    handle = Long()
    handle.end.set()
    async with Worker(queue, handle, concurrency=1) as worker:
        await queue.set_schedule('often', 'often', every=0.1)
        await until(lambda: worker.health().succeeded >= 3)
        await queue.remove_schedule('often')
    assert looks == []


async def test_a_server_that_refuses_is_told_and_asked_again(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweep, refusals = queue.sweep, [1]

    async def refuse() -> Any:
        if refusals:
            refusals.clear()
            await queue.command('NONSENSE')
        return await sweep()

    monkeypatch.setattr(queue, 'sweep', refuse)
    handle = Long()
    await queue.enqueue('long')
    with caplog.at_level(logging.WARNING):
        async with Worker(queue, handle, concurrency=1, shutdown_timeout=1):
            await handle.begun.wait()
            await queue.set_schedule('often', 'often', every=0.1, overlap='allow')
            await asyncio.wait_for(until_fired(queue, 'often', 1), 20)
            await queue.remove_schedule('often')
            handle.end.set()
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f'queue {queue.name!r}: a worker that takes no tasks could not fire schedules: ')
    assert 'NONSENSE' in line
