"""The circuit breaker of the worker: a pause for all processes, probes, and the end of both."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskId
from torrelque.worker import Backoff, Breaker, Delivery, Reject, Retry, ThreadWorker, Worker

NOW = Backoff(base=0, jitter=False)


class Service:
    """What the handlers need, and which may be down."""

    def __init__(self) -> None:
        self.down = True
        self.calls: list[tuple[TorrelqueTaskId, str | None, Any]] = []

    async def handle(self, delivery: Delivery) -> None:
        self.calls.append((delivery.id, delivery.group, delivery.task))
        if self.down and delivery.task != 'fine':
            raise ConnectionError('the service is down')


async def is_paused(client: redis.asyncio.Redis, queue: Torrelque, name: str = '') -> bool:
    return bool(await client.sismember(queue.keys['paused'], name))


async def test_failures_in_a_row_pause_the_queue_for_all_until_a_probe_succeeds(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    service = Service()
    breaker = Breaker(failures=3, pause=0.3)
    await queue.enqueue_many(range(40))
    async with Torrelque(client, queue=queue.name) as other:
        options: dict[str, Any] = {'breaker': breaker, 'retry': NOW, 'concurrency': 1}
        async with Worker(queue, service.handle, **options) as one, Worker(other, service.handle, **options) as two:
            await until(lambda: sum(task_id.probe for task_id, *_ in service.calls) >= 3)
            handed = [task_id for task_id, *_ in service.calls]
            # Each counts for itself.
            assert 3 <= sum(not task_id.probe for task_id in handed) <= 6
            assert await is_paused(client, queue)
            service.down = False
            await until(lambda: one.health().succeeded + two.health().succeeded == 40)
        assert not await is_paused(client, queue)
    times = sorted(float(task_id.token.partition('-')[2]) for task_id in handed if task_id.probe)
    assert all(later - earlier >= 300 - 1 for earlier, later in itertools.pairwise(times))


async def test_a_success_in_between_begins_the_row_anew(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    service = Service()
    await queue.enqueue_many(['bad', 'bad', 'fine'] * 5, max_attempts=1)
    await Worker(queue, service.handle, breaker=Breaker(failures=3), burst=True, concurrency=1).run()
    assert len(service.calls) == 15
    assert not await is_paused(client, queue)


async def test_a_share_of_the_last_tasks_opens_it(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    service = Service()
    breaker = Breaker(failures=4, share=0.5, window=10, pause=60)
    await queue.enqueue_many(['bad', 'fine', 'fine'] * 6, max_attempts=1)
    worker = Worker(queue, service.handle, breaker=breaker, burst=True, concurrency=1)
    await worker.run()
    assert not await is_paused(client, queue)
    await queue.enqueue_many(['bad', 'fine'] * 10, max_attempts=1)
    worker = Worker(queue, service.handle, breaker=breaker, burst=True, concurrency=1)
    service.calls.clear()
    await worker.run()
    assert await is_paused(client, queue)
    assert 8 <= len(service.calls) <= 12


async def test_it_may_pause_the_group_alone(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    service = Service()
    await queue.enqueue_many(range(10), group='broken')
    async with Worker(
        queue, service.handle, breaker=Breaker(failures=2, pause=0.2, per='group'), retry=NOW, concurrency=1
    ) as worker:
        while not await is_paused(client, queue, 'broken'):
            await asyncio.sleep(0.005)
        await queue.enqueue_many(['fine'] * 20, group='whole')
        await until(lambda: worker.health().succeeded == 20)
        assert await is_paused(client, queue, 'broken') and not await is_paused(client, queue)
        service.down = False
        await until(lambda: worker.health().succeeded == 30)
        assert not await is_paused(client, queue, 'broken')


async def test_the_pause_of_an_operator_stays(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    service, go_on = Service(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await go_on.wait()
        await service.handle(delivery)

    await queue.enqueue_many(range(4), max_attempts=1)
    async with Worker(queue, handle, breaker=Breaker(failures=2, pause=0.05), concurrency=3) as worker:
        await until(lambda: len(worker.health().running) == 3)
        await queue.pause()
        go_on.set()
        await until(lambda: worker.health().dead == 3)
        await asyncio.sleep(0.2)
        assert await is_paused(client, queue) and not await client.exists(queue.keys['probes'])
        assert await queue.get_queue_stats() == (4, 1, 0, 0, 3, 0)
        await queue.resume()
        await until(lambda: worker.health().dead == 4)

        # Paused by an operator while a probe is on its way, which succeeds.
        go_on.clear()
        service.down = False
        await queue.pause(probe=0.05)
        await queue.enqueue_many(['fine', 'fine'])
        await until(lambda: worker.health().running)
        await queue.pause()
        go_on.set()
        await until(lambda: worker.health().succeeded)
        await asyncio.sleep(0.2)
        assert await is_paused(client, queue)
        assert worker.health().succeeded <= 2
        await queue.resume()
        await until(lambda: worker.health().succeeded == 2)


async def test_a_probe_that_succeeds_leaves_the_pause_that_an_operator_sets_in_this_moment(
    client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, resume, resumed = Service(), Torrelque.resume, asyncio.Event()

    async def resume_late(own: Torrelque, *args: Any, **options: Any) -> Any:
        # The worker has decided to end its pause, and its call is not there yet.
        async with Torrelque(client, queue=queue.name) as other:
            await other.pause()
        try:
            return await resume(own, *args, **options)
        finally:
            resumed.set()

    service.down = False
    monkeypatch.setattr(Torrelque, 'resume', resume_late)
    await queue.pause(probe=0.01)
    await queue.enqueue_many(['fine', 'fine'])
    async with Worker(queue, service.handle, breaker=Breaker(failures=2, pause=0.01), concurrency=1) as worker:
        await resumed.wait()
        await until(lambda: worker.health().succeeded)
        assert await is_paused(client, queue) and not await client.exists(queue.keys['probes'])
    assert len(service.calls) == 1
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)


async def test_a_breaker_works_beside_an_application_with_the_same_client(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    await queue.enqueue_many(range(20))
    async with server.client(max_connections=1, decode_responses=True) as own:
        async with own.pipeline() as pipeline:
            # Its only connection belongs to this loop, and is taken.
            await pipeline.watch('x')
            options: dict[str, Any] = {'breaker': Breaker(failures=2, pause=0.05), 'retry': NOW, 'concurrency': 1}
            worker = ThreadWorker(Torrelque(own, queue=queue.name), service.handle, **options)
            await asyncio.to_thread(worker.start)
            while not await is_paused(client, queue):
                await asyncio.sleep(0.005)
            service.down = False
            await until(lambda: worker.health().succeeded == 20)
            await asyncio.to_thread(worker.stop)
        assert await own.ping()
    assert not await is_paused(client, queue)
    assert 'the circuit breaker failed' not in caplog.text


async def test_a_breaker_that_cannot_pause_does_not_keep_the_task(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    await client.set(queue.keys['probes'], 'rubbish')
    await queue.enqueue(1, max_attempts=3)
    worker = Worker(queue, service.handle, breaker=Breaker(failures=1), retry=NOW, burst=True)
    await worker.run()
    assert (len(service.calls), worker.health().dead) == (3, 1)
    assert 'the circuit breaker failed' in caplog.text


async def test_what_is_no_failure_of_a_service_does_not_count(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise {'retry': Retry(delay=100), 'reject': Reject('x'), 'value': ValueError('x')}[delivery.task]

    await queue.enqueue_many(['retry', 'reject', 'value'] * 5, max_attempts=1)
    breaker = Breaker(failures=1, errors=(OSError,))
    await Worker(queue, handle, breaker=breaker, burst=True, concurrency=1).run()
    assert not await is_paused(client, queue)


@pytest.mark.parametrize(
    'options',
    [
        {'failures': 0}, {'failures': 1.5}, {'window': 0}, {'share': 0}, {'share': 1.5}, {'share': float('nan')},
        {'pause': 0}, {'pause': -1}, {'pause': float('inf')}, {'per': 'moon'},
    ],
    ids=repr,
)  # fmt: skip
def test_breakers_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((torrelque.TorrelqueValueError, torrelque.TorrelqueTypeError)):
        Breaker(**options)
