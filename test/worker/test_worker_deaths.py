"""The worker calls `on_dead` for each death, also for one that nobody saw."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deaths_child import make_app
from support.bounding import Bound
from support.dying import Heard, die_by_requeue, ignore, told_later, untold
from support.processes import running
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = [pytest.mark.first_server, pytest.mark.long]

CHILD = Path(__file__).parent / 'deaths_child.py'


@contextlib.asynccontextmanager
async def hanging(server: RealServer, queue: Torrelque, role: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A worker in a process of its own that hangs in its handler or hook; it is killed at the end of the block."""
    command = [sys.executable, str(CHILD), server.url, queue.name, role]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == 'hangs\n'
        yield process
        process.kill()


@pytest.fixture
def often(worker_bound: Bound) -> None:
    """Workers look often."""
    worker_bound(deaths_look=0.02)


# Killed workers


@pytest.mark.parametrize('started', ['before', 'after the sweep'])
@pytest.mark.parametrize('way', ['enqueue', 'decorator', 'worker'])
async def test_the_next_worker_tells_of_the_task_of_a_killed_one(
    server: RealServer, queue: Torrelque, way: str, started: str, often: None
) -> None:
    """Whoever said that there is one attempt only: the call that enqueued, the decorator, the worker."""
    heard = Heard()
    app = make_app(queue, heard)
    if way == 'decorator':
        task_id = (await app.enqueue('hold')).id
        worker = Worker(app)
    else:
        task_id = await queue.enqueue(1, task_timeout=1, max_attempts=1 if way == 'enqueue' else None)
        worker = Worker(queue, ignore, max_attempts=1 if way == 'worker' else None, on_dead=heard)
    async with hanging(server, queue, way) as process:
        if started == 'before':
            async with worker:
                process.kill()
                await heard.wait()
    if started != 'before':
        while sum((await queue.sweep())[::2]) != 1:
            await asyncio.sleep(0.01)
        async with worker:
            await heard.wait()
    ((delivery, error),) = heard.calls
    assert (delivery.id, delivery.attempt, delivery.queue.name) == (task_id, 1 + (way == 'worker'), queue.name)
    assert 'attempts are used up' in str(error)
    assert (await queue.get_task_state(task_id)).status is Status.DEAD
    assert await told_later(queue) == []
    assert not await untold(queue)


@pytest.mark.parametrize('role', ['tell', 'bury'])
async def test_a_worker_that_is_killed_in_the_hook_has_not_told(
    server: RealServer, queue: Torrelque, role: str
) -> None:
    if role == 'tell':
        task_id = await die_by_requeue(queue)
    else:
        task_id = await queue.enqueue(1)
    async with hanging(server, queue, role):
        # It is the other's for a minute.
        assert await queue.take_deaths() == []
    assert await queue.take_deaths() == []
    assert await told_later(queue) == [task_id]
    assert await told_later(queue) == []


# One of many


async def test_two_workers_tell_of_each_death_once(server: RealServer, queue: Torrelque, often: None) -> None:
    heard = Heard()
    await queue.enqueue_many(range(30), max_attempts=1)
    ids = [task_id for task_id, _ in await queue.dequeue(max_tasks=30)]
    async with server.client() as client, Torrelque(client, queue=queue.name) as other:
        async with Worker(queue, ignore, on_dead=heard), Worker(other, ignore, on_dead=heard):
            for task_id in ids:
                assert await queue.requeue(task_id)
            while len(heard.calls) < 30:
                await asyncio.sleep(0.01)
    assert sorted(heard.ids) == sorted(ids)
    assert await told_later(queue) == []


async def test_a_death_after_a_redrive_is_told_of_anew(queue: Torrelque) -> None:
    heard = Heard()

    async def bring_back(delivery: Delivery, error: BaseException) -> None:
        heard(delivery, error)
        if delivery.attempt == 1:
            assert await delivery.queue.redrive(delivery.id) == 1
            task_id, _ = await queue.dequeue()
            assert await queue.requeue(task_id)

    task_id = await die_by_requeue(queue)
    await Worker(queue, ignore, on_dead=bring_back, burst=True).run()
    assert [(delivery.id, delivery.attempt) for delivery, _ in heard.calls] == [(task_id, 1), (task_id, 2)]
    assert await told_later(queue) == []


async def test_what_a_worker_buries_itself_is_told_of_once(queue: Torrelque) -> None:
    heard = Heard()

    async def fail(delivery: Delivery) -> None:
        raise ValueError('no')

    task_id = await queue.enqueue(1)
    worker = Worker(queue, fail, max_attempts=1, on_dead=heard, burst=True)
    await worker.run()
    assert heard.ids == [task_id] and isinstance(heard.calls[0][1], ValueError)
    assert worker.health().dead == 1
    assert not await untold(queue)


async def test_slow_hooks_leave_deaths_to_those_who_have_time(queue: Torrelque, worker_bound: Bound) -> None:
    worker_bound(death_hold=0.001)
    heard = Heard()

    async def slow(delivery: Delivery, error: BaseException) -> None:
        if heard.calls:
            heard(delivery, error)
            return
        heard(delivery, error)
        while len(others := await queue.take_deaths()) < 5:
            await queue.acknowledge_deaths([])
        # Somebody else has told of them all.
        await queue.acknowledge_deaths([death.id for death in others])

    for n in range(5):
        await die_by_requeue(queue, n)
    await Worker(queue, ignore, on_dead=slow, burst=True).run()
    assert len(heard.calls) == 1
    assert not await untold(queue)
