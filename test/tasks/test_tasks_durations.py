"""Decorated functions take a `datetime.timedelta` wherever they take seconds, and the payload has seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given, strategies as st

import torrelque
from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.tasks.options import Options
from torrelque.worker import Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

HOUR = timedelta(hours=1)
TIMES = st.timedeltas() | st.timedeltas(timedelta(0), timedelta(minutes=1))


def outcome(make: Callable[[Any], Any], time: object) -> Any:
    try:
        return make(time)
    except torrelque.Error as exc:
        return type(exc)


@pytest.mark.parametrize('option', ['delay', 'task_timeout', 'result_ttl', 'expires'])
@given(time=TIMES)
def test_an_option_of_a_timedelta_is_that_of_so_many_seconds(option: str, time: timedelta) -> None:
    def make(time: object) -> Options:
        return Options().changed(**{option: time})

    assert outcome(make, time) == outcome(make, time.total_seconds())


async def test_a_call_and_a_decorator_take_timedeltas(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    app = Tasks(queue, keep=2 * HOUR)

    @app.task(timeout=HOUR, retry=HOUR, task_timeout=HOUR, result_ttl=3 * HOUR, expires=24 * HOUR)
    async def double(number: int) -> int:
        return 2 * number

    handle = await double.enqueue(1)
    assert (await handle.state()).timeout == 3600
    late = await double.options(delay=HOUR, task_timeout=2 * HOUR, result_ttl=HOUR, expires=5 * HOUR).enqueue(2)
    state = await late.state()
    assert (state.status, state.timeout) == (torrelque.TaskStatus.DELAYED, 7200)
    payload = json.loads(await client.hget(queue.keys['tasks'], late.id))  # type: ignore[arg-type]
    assert (payload['result_ttl'], payload['expires']) == (3600, 18000)

    async with Worker(app):
        assert await handle.result(timeout=timedelta(minutes=1)) == 2
    assert 10000 < await client.ttl(f'{queue.keys["task"]}:{handle.id}') <= 10800
    with pytest.raises(torrelque.TimeoutError):
        await late.result(timedelta(milliseconds=1))
    with pytest.raises(torrelque.TimeoutError):
        async for _ in late.watch(timedelta(milliseconds=1)):
            pass
    with pytest.raises(torrelque.TimeoutError):
        await asyncio.to_thread(late.wait_result, timedelta(milliseconds=1))
    await app.aclose()


async def test_what_a_function_left_is_kept_for_a_timedelta(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    app = Tasks(queue, keep=2 * HOUR)

    @app.task
    async def nothing() -> None: ...

    handle = await nothing.enqueue()
    await Worker(app, burst=True).run()
    assert 7000 < await client.ttl(f'{queue.keys["task"]}:{handle.id}') <= 7200
    await app.aclose()


async def test_an_ordered_function_takes_timedeltas(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.fifo(queue='mails', retry_wait=HOUR, timeout=HOUR, task_timeout=2 * HOUR, result_ttl=HOUR)
    async def fail() -> None:
        raise OSError

    handle = await fail()
    assert (await handle.state()).timeout == 7200
    await Worker(app, burst=True).run()
    assert (await handle.state()).status is torrelque.TaskStatus.DELAYED
    await app.aclose()


@pytest.mark.parametrize(
    'options',
    [
        {'timeout': -HOUR}, {'timeout': timedelta(0)}, {'task_timeout': -HOUR}, {'result_ttl': timedelta.max},
        {'retry': -HOUR}, {'expires': timedelta(0)}, {'expires': datetime(2030, 1, 1, tzinfo=timezone.utc)},
        {'timeout': '1'}, {'timeout': timedelta(microseconds=1)},
    ],
    ids=repr,
)  # fmt: skip
def test_a_decorator_refuses_a_duration_that_cannot_be_meant(queue: Torrelque, options: dict[str, Any]) -> None:
    app = Tasks(queue)

    def function() -> None: ...

    with pytest.raises((torrelque.TypeError, torrelque.ValueError)):
        app.task(**options)(function)
    assert not app.functions
