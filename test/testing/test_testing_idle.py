"""The worker that is run until nothing is left to do."""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque, TorrelqueError, TorrelqueTaskId, TorrelqueTimeoutError, TorrelqueTypeError
from torrelque.tasks import Tasks
from torrelque.testing import Clock, NotIdleError, repeat_until_idle, run_until_idle
from torrelque.worker import Backoff, Breaker, Delivery

HOUR = 3600
DAY = 24 * HOUR
SOON = 60
"""s in which a consumer that waits has noticed; without being told it would wait for an hour."""


@pytest.fixture
def clock(queue: Torrelque) -> Clock:
    return Clock(queue)


@pytest.fixture
async def waiting(server: RealServer, queue: Torrelque) -> AsyncIterator[Callable[[], Awaitable[asyncio.Task[Any]]]]:
    """Let a consumer with a client of its own wait for a task."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client())
        other = await stack.enter_async_context(Torrelque(client, queue=queue.name))

        async def wait() -> asyncio.Task[Any]:
            consumer = asyncio.create_task(other.dequeue())
            await until_waiting(client)
            assert not consumer.done()
            return consumer

        yield wait


# Until nothing is left


async def test_all_may_take_a_timedelta(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        await asyncio.Event().wait()

    await queue.enqueue(1)
    with pytest.raises(NotIdleError, match=r'after 0\.2 s'):
        await run_until_idle(queue, handle, within=timedelta(milliseconds=200))
    with pytest.raises(NotIdleError, match=r'after 0\.2 s'):
        await repeat_until_idle(asyncio.Event().wait, queue, within=timedelta(milliseconds=200))


Handler = Callable[[TorrelqueTaskId, Any], Awaitable[float | None]]


def burst(queue: Torrelque, handle: Handler, runs: list[int] | None = None) -> Callable[[], Awaitable[None]]:
    """A loop that works on what is there: released, or given back with the delay that the handler returns."""

    async def run() -> None:
        if runs is not None:
            runs.append(1)
        while True:
            try:
                task_id, task = await queue.dequeue(0)
            except TorrelqueTimeoutError:
                return
            delay = await handle(task_id, task)
            if delay is None:
                await queue.release(task_id)
            else:
                await queue.requeue(task_id, delay=delay, error=f'Traceback\nboom {task_id.attempt}\n')

    return run


async def test_retries_with_hours_between_them_take_no_time(queue: Torrelque) -> None:
    attempts = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        attempts.append(task_id.attempt)
        return None if task_id.attempt == 6 else HOUR * 2 ** (task_id.attempt or 0)

    await queue.enqueue('task', delay=HOUR)
    moved = await repeat_until_idle(burst(queue, handle), queue)
    assert attempts == [1, 2, 3, 4, 5, 6]
    assert moved == pytest.approx(HOUR * sum(2**attempt for attempt in range(6)), abs=100)
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_dead_tasks_are_done_with(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return HOUR

    await queue.enqueue('task', max_attempts=3)
    moved = await repeat_until_idle(burst(queue, handle), [queue])
    assert moved == pytest.approx(2 * HOUR, abs=100)
    assert await queue.get_queue_stats() == (1, 0, 0, 0, 1, 0)


async def test_task_of_somebody_who_is_gone_is_worked_on(queue: Torrelque) -> None:
    done = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        done.append(task_id.attempt)
        return None

    await queue.enqueue('task', task_timeout=DAY)
    await queue.dequeue()
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(DAY, abs=100)
    assert done == [2]


async def test_rates_and_probes_are_moved_to(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    await queue.set_limit('api', rate=(1, HOUR))
    for number in range(3):
        await queue.enqueue(number, group='api')
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(2 * HOUR, abs=100)
    await queue.pause(probe=HOUR)
    for number in range(3):
        await queue.enqueue(number)
    assert await repeat_until_idle(burst(queue, handle), queue) == pytest.approx(3 * HOUR, abs=100)


async def test_a_worker_that_is_run_until_idle_waits_for_no_token_and_for_nobody(queue: Torrelque) -> None:
    done: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.task)

    await queue.set_limit('api', rate=(1, HOUR))
    await queue.enqueue_many(range(3), group='api')
    assert await run_until_idle(queue, handle) == pytest.approx(2 * HOUR, abs=100)
    await queue.set_limit('line', concurrency=1)
    await queue.enqueue_many(range(2), group='line', task_timeout=HOUR)
    await queue.dequeue()
    assert await run_until_idle(queue, handle) == pytest.approx(HOUR, abs=100)
    assert done == [0, 1, 2, 0, 1]


async def test_several_queues_share_a_clock(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    async with Torrelque(client, queue='other') as other:
        await queue.enqueue('task', delay=HOUR)
        await other.enqueue('task', delay=2 * HOUR)
        clock = Clock(queue)
        first, second = burst(queue, handle), burst(other, handle)

        async def run() -> None:
            await first()
            await second()

        assert await repeat_until_idle(run, [queue, other], clock=clock) == pytest.approx(2 * HOUR, abs=100)
        assert clock.queues == [queue, other]
        assert clock.moved == pytest.approx(2 * HOUR, abs=100)


async def test_clock_need_not_be_moved(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None if task_id.attempt == 3 else 0.05

    await queue.enqueue('task')
    assert await repeat_until_idle(burst(queue, handle), queue, move=False) == 0


async def test_short_delays_are_not_taken_for_none(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None if task_id.attempt == 50 else 0.001

    await queue.enqueue('task')
    await repeat_until_idle(burst(queue, handle), queue)


async def test_task_that_is_tried_for_ever_is_told(queue: Torrelque) -> None:
    runs: list[int] = []

    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return HOUR if task == 'bad' else None

    await queue.enqueue('good')
    task_id = await queue.enqueue('bad', group='acme')
    with pytest.raises(NotIdleError) as caught:
        await repeat_until_idle(burst(queue, handle, runs), queue, max_rounds=7)
    assert len(runs) == 7
    assert str(caught.value) == (
        'tasks are left: the worker was run 7 times, and is not done with them\n'
        f"  queue '{queue.name}': 1 delayed\n"
        f"    {task_id} DELAYED, of group 'acme', attempts: 7: boom 7"
    )
    assert caught.value.left == {queue.name: (1, 0, 0, 1, 0, 0)}
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, TorrelqueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.left) == (str(caught.value), caught.value.left)


async def test_worker_that_does_not_end_is_told(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        await asyncio.sleep(0.001)
        return 0

    await queue.enqueue('bad')
    with pytest.raises(NotIdleError, match=r'is not done with them after 0\.3 s'):
        await repeat_until_idle(burst(queue, handle), queue, within=0.3)
    assert {task.get_coro().__name__ for task in asyncio.all_tasks()} == {  # type: ignore[union-attr]
        test_worker_that_does_not_end_is_told.__name__
    }


@pytest.mark.parametrize('group', [None, 'acme'])
async def test_pause_is_told(queue: Torrelque, group: str | None) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        return None

    for _ in range(12):
        await queue.enqueue('task', group=group)
    await queue.enqueue('task', group=group, delay=HOUR)
    await queue.pause(group)
    with pytest.raises(NotIdleError, match='leaves them alone, and no time will change that') as caught:
        await repeat_until_idle(burst(queue, handle), queue)
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  queue '{queue.name}': 13 pending"
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == '    …'


async def test_error_of_the_loop_is_raised(queue: Torrelque) -> None:
    async def handle(task_id: TorrelqueTaskId, task: Any) -> float | None:
        raise TimeoutError('mine')

    await queue.enqueue('task')
    with pytest.raises(TimeoutError, match='mine'):
        await repeat_until_idle(burst(queue, handle), queue)


async def test_worker_is_run_until_nothing_is_left(queue: Torrelque) -> None:
    attempts = []

    async def handle(delivery: Delivery) -> str:
        attempts.append(delivery.attempt)
        if delivery.attempt < 4:
            raise ValueError('not yet')
        return 'done'

    task_id = await queue.enqueue('task', delay=DAY)
    moved = await run_until_idle(queue, handle, retry=Backoff(base=HOUR, factor=2, cap=DAY, jitter=False))
    assert attempts == [1, 2, 3, 4]
    assert moved == pytest.approx(DAY + HOUR * (1 + 2 + 4), abs=100)
    assert (await queue.get_task_state(task_id)).result == 'done'


async def test_worker_that_never_succeeds_is_told(queue: Torrelque, clock: Clock) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError('never')

    await queue.enqueue('task')
    with pytest.raises(NotIdleError, match=r'was run 5 times(.|\n)* DELAYED, attempts: 5: .*never'):
        await run_until_idle(queue, handle, clock=clock, retry=HOUR, max_rounds=5)
    assert clock.moved == pytest.approx(5 * HOUR, abs=100)
    # With an end it is dead, and that is the end.
    assert await run_until_idle(queue, handle, max_attempts=7, retry=HOUR) == pytest.approx(HOUR, abs=100)
    assert (await queue.get_queue_stats()).dead == 1


async def test_decorated_tasks_are_run_until_nothing_is_left(queue: Torrelque) -> None:
    app = Tasks(queue)
    sent: list[str] = []

    @app.task(name='send', max_attempts=5, retry=HOUR)
    async def send(addr: str) -> int:
        sent.append(addr)
        if len(sent) < 3:
            raise ValueError('not yet')
        return len(sent)

    handle = await send.enqueue('joe@doe.com')
    assert await run_until_idle(app) == pytest.approx(2 * HOUR, abs=100)
    assert await handle.result(timeout=SOON) == 3


async def test_queues_of_a_worker_are_all_served(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    done = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.queue.name)

    async with Torrelque(client, queue='second') as second, Torrelque(client, queue='stolen') as stolen:
        for each, delay in ((queue, 3), (second, 2), (stolen, 1)):
            await each.enqueue('task', delay=delay * HOUR)
        await run_until_idle([queue, second], handle, steal=[stolen])
    assert done == ['stolen', 'second', queue.name]


async def test_breaker_of_a_worker_is_probed(queue: Torrelque) -> None:
    calls = []

    async def handle(delivery: Delivery) -> None:
        calls.append(delivery.id.probe)
        if len(calls) < 5:
            raise ConnectionError

    for _ in range(8):
        await queue.enqueue('task')
    await run_until_idle(queue, handle, concurrency=1, retry=HOUR, breaker=Breaker(failures=3, pause=HOUR))
    # Three fail, the first probe fails as well, the second succeeds.
    assert calls[:5] == [False, False, False, True, True]
    assert len(calls) == 8 + 4
    assert not any(calls[5:])


async def test_loop_is_cancelled_with_its_caller(queue: Torrelque) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.sleep(HOUR)
        finally:
            ended.set()

    waiting = asyncio.create_task(repeat_until_idle(run, queue))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_only_queues_can_be_idle() -> None:
    for wrong in ([], None, 'queue', [None]):
        with pytest.raises(TorrelqueTypeError):
            await repeat_until_idle(lambda: asyncio.sleep(0), wrong)  # type: ignore[arg-type]


async def test_signals_are_left_to_the_test(queue: Torrelque) -> None:
    def handlers() -> list[Any]:
        return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    async def handle(delivery: Delivery) -> None:
        seen.append(handlers())

    seen: list[Any] = []
    await queue.enqueue('task')
    await run_until_idle(queue, handle)
    assert seen == [handlers()]
