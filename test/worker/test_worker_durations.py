"""The worker takes a `datetime.timedelta` wherever it takes seconds, and does the same with either."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given, strategies as st

import torrelque
from torrelque import TaskStatus, Torrelque
from torrelque.worker import Backoff, Breaker, Delivery, Job, Retry, RetryRule, ThreadWorker, Worker
from torrelque.worker.retry import check_rule, delay_after

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

TIMES = st.timedeltas() | st.timedeltas(timedelta(0), timedelta(minutes=1))


def outcome(make: Callable[[Any], Any], time: object) -> Any:
    try:
        return make(time)
    except torrelque.Error as exc:
        return type(exc)


def rule_of(rule: RetryRule) -> Any:
    return delay_after(check_rule(rule), OSError(), 3)


MAKERS: dict[str, Callable[[Any], Any]] = {
    'base': lambda time: Backoff(time, jitter=False),
    'cap': lambda time: Backoff(2, cap=time, jitter=False),
    'growing': lambda time: Backoff(time, cap=timedelta(days=100_000), jitter=False).delay(2),
    'pause': lambda time: Breaker(pause=time),
    'retry': lambda time: Retry(time).delay,
    'retry, raised': lambda time: delay_after(5, Retry(delay=time), 1),
    'a rule': rule_of,
    'a mapping': lambda time: rule_of({OSError: time}),
    'a function': lambda time: delay_after(lambda error, attempt: time, OSError(), 1),
}


@pytest.mark.parametrize('maker', MAKERS)
@given(time=TIMES)
def test_a_rule_of_a_timedelta_is_that_of_so_many_seconds(maker: str, time: timedelta) -> None:
    make = MAKERS[maker]
    assert outcome(make, time) == outcome(make, time.total_seconds())


def test_values_have_seconds_whatever_they_were_made_with() -> None:
    assert repr(Backoff(timedelta(seconds=2), cap=timedelta(minutes=1))) == repr(Backoff(2.0, cap=60.0))
    assert Breaker(pause=timedelta(minutes=1)).pause == 60.0
    again = pickle.loads(pickle.dumps(Retry(timedelta(minutes=1), 'why')))
    assert (again.delay, str(again)) == (60.0, 'why')


OPTIONS = ('timeout', 'result_ttl', 'shutdown_timeout', 'heartbeat', 'retry')


@pytest.mark.parametrize('option', [*OPTIONS, 'rate'])
def test_a_worker_refuses_a_timedelta_that_cannot_be_meant(queue: Torrelque, option: str) -> None:
    async def handle(delivery: Delivery) -> None: ...

    for kind in (Worker, ThreadWorker):
        for time in (timedelta(-1), timedelta.max):
            options: dict[str, Any] = {option: (1, time) if option == 'rate' else time}
            with pytest.raises(torrelque.ValueError, match='datetime'):
                kind(queue, handle, **options)


async def test_a_handler_ends_at_its_time_limit_and_is_tried_again_by_a_timedelta(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    hour = timedelta(hours=1)
    task_id = await queue.enqueue(1)

    async def handle(delivery: Delivery) -> None:
        await asyncio.Event().wait()

    worker = Worker(
        queue, handle, burst=True, timeout=timedelta(milliseconds=10), retry=hour, shutdown_timeout=hour,
        heartbeat=hour, rate=(100, hour),
    )  # fmt: skip
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert (state.status, 'the time limit of 0.01 s is over' in (state.error or '')) == (TaskStatus.DELAYED, True)
    assert await wait_of(client, queue, task_id) == pytest.approx(3600, abs=120)


async def wait_of(client: redis.asyncio.Redis, queue: Torrelque, task_id: str) -> float:
    """How long (s) a task is delayed."""
    seconds, microseconds = await client.time()
    due = await client.zscore(queue.keys['delayed'], task_id)
    assert due is not None
    return float(due) / 1000 - seconds - microseconds / 1e6


async def test_what_a_handler_raises_and_a_job_says_may_be_a_timedelta(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    hour = timedelta(hours=1)

    async def handle(delivery: Delivery) -> str:
        if delivery.task == 'retry':
            raise Retry(delay=hour)
        if delivery.task == 'hang':
            await asyncio.Event().wait()
        if delivery.task == 'fail':
            raise OSError
        return 'done'

    class App:
        queues = (queue,)

        async def prepare(self) -> None: ...

        def find(self, delivery: Delivery) -> Job:
            limit = timedelta(milliseconds=10) if delivery.task == 'hang' else hour
            return Job(handle, timeout=limit, retry={OSError: 2 * hour, Exception: hour}, result_ttl=3 * hour)

    ids = {task: await queue.enqueue(task) for task in ('retry', 'hang', 'fail', 'fine')}
    with caplog.at_level(logging.INFO, 'torrelque'):
        await Worker(App(), burst=True).run()
    waits = {task: await wait_of(client, queue, ids[task]) for task in ('retry', 'hang', 'fail')}
    assert waits == {
        'retry': pytest.approx(3600, abs=120),
        'hang': pytest.approx(7200, abs=120),
        'fail': pytest.approx(7200, abs=120),
    }
    assert 10000 < await client.ttl(f'{queue.keys["task"]}:{ids["fine"]}') <= 10800
    assert 'is tried again in 3.6e+03 s' in caplog.text


async def test_the_result_of_a_worker_and_the_pause_of_a_breaker_have_the_time_of_a_timedelta(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(delivery: Delivery) -> str:
        if delivery.task == 'fail':
            raise OSError
        return 'done'

    task_id = await queue.enqueue('fine')
    await Worker(queue, handle, burst=True, result_ttl=timedelta(hours=3)).run()
    assert 10000 < await client.ttl(f'{queue.keys["task"]}:{task_id}') <= 10800
    await queue.enqueue('fail')
    breaker = Breaker(failures=1, pause=timedelta(hours=1))
    await Worker(queue, handle, burst=True, breaker=breaker, retry=timedelta(hours=1)).run()
    assert 'is paused, with a probe every 3600 s' in caplog.text


def test_a_worker_in_a_thread_is_waited_for_by_a_timedelta(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    worker = ThreadWorker(queue, handle, shutdown_timeout=timedelta(minutes=1))
    worker.start()
    assert not worker.join(timedelta(milliseconds=1))
    for time in (timedelta(-1), -1, '1'):
        for wait in (worker.join, worker.stop):
            with pytest.raises((torrelque.TypeError, torrelque.ValueError)):
                wait(time)  # type: ignore[arg-type]
    assert worker.is_alive()
    worker.stop(timedelta(0))
    assert worker.join(timedelta(minutes=1))
    worker.stop(timedelta(days=365_000 // 10))
