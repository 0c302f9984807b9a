"""The worker: what the server refuses for good, and what is kept of an error."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import refusing
from support.bounding import Bound
from support.refusing import said
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import Tasks
from torrelque.worker import Breaker, Delivery, Worker

alone = refusing.alone


# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

Handler = Callable[[Delivery], Awaitable[Any]]


# What the server refuses for good


@pytest.mark.parametrize('setting', ['proto-max-bulk-len', 'client-query-buffer-limit'])
async def test_a_result_that_is_too_large_for_the_server_makes_the_task_dead(
    alone: tuple[redis.asyncio.Redis, Torrelque], setting: str, bound: Bound
) -> None:
    bound(repeat=0.75)
    client, queue = alone
    await client.config_set(setting, 1 << 20)

    async def handle(delivery: Delivery) -> Any:
        return 'x' * (2 << 20) if delivery.task == 'large' else 'fine'

    others = await queue.enqueue_many(['small'] * 2)
    large = await queue.enqueue('large')
    others += await queue.enqueue_many(['small'] * 3)
    async with Worker(queue, handle) as worker:
        await until(lambda: worker.health().succeeded + worker.health().dead == 6)
    state = await queue.get_task_state(large)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert 'such result' in (state.error or '') or 'invalid bulk length' in (state.error or '')
    for task_id in others:
        assert (await queue.get_task_state(task_id)).result == 'fine'
    assert (worker.health().succeeded, worker.health().dead) == (5, 1)


@pytest.mark.parametrize('place', ['coroutine', 'thread'])
async def test_a_progress_that_the_server_refuses_is_raised_in_the_handler(
    alone: tuple[redis.asyncio.Redis, Torrelque], place: str
) -> None:
    client, queue = alone
    await client.config_set('proto-max-bulk-len', 1 << 20)

    async def coroutine(delivery: Delivery) -> str:
        with pytest.raises(torrelque.TorrelqueServerError, match='invalid bulk length'):
            await delivery.touch('x' * (2 << 20))
        with pytest.raises(torrelque.TorrelqueTypeError):
            await delivery.touch(object())
        assert await delivery.touch(5)
        return 'lives on'

    def thread(delivery: Delivery) -> str:
        with pytest.raises(torrelque.TorrelqueServerError, match='invalid bulk length'):
            delivery.report('x' * (2 << 20))
        with pytest.raises(torrelque.TorrelqueTypeError):
            delivery.report(object())
        assert delivery.report(5)
        return 'lives on'

    task_id = await queue.enqueue(1)
    handler: Any = coroutine if place == 'coroutine' else thread
    await Worker(queue, handler, burst=True, max_attempts=1).run()
    state = await queue.get_task_state(task_id)
    assert (state.result, state.progress) == ('lives on', 5)


@pytest.mark.parametrize('place', ['coroutine', 'thread'])
async def test_a_progress_that_no_connection_survives_is_raised_in_the_handler(
    alone: tuple[redis.asyncio.Redis, Torrelque], place: str
) -> None:
    client, queue = alone
    queue.task_timeout = 3
    await client.config_set('client-query-buffer-limit', 1 << 20)
    neighbours = 0

    async def coroutine(delivery: Delivery) -> str:
        nonlocal neighbours
        if delivery.task == 'neighbour':
            neighbours += 1
            await asyncio.sleep(1)
            return 'undisturbed'
        with pytest.raises(torrelque.TorrelqueError):
            await delivery.touch('x' * (3 << 20))
        return 'lives on'

    def thread(delivery: Delivery) -> str:
        if delivery.task == 'neighbour':
            return 'undisturbed'
        with pytest.raises(torrelque.TorrelqueError):
            delivery.report('x' * (3 << 20))
        return 'lives on'

    ids = await queue.enqueue_many(['large', 'neighbour'], max_attempts=2)
    handler: Any = coroutine if place == 'coroutine' else thread
    async with Worker(queue, handler) as worker:
        await until(lambda: worker.health().succeeded == 2)
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert [(state.result, state.dequeue_count) for state in states] == [('lives on', 1), ('undisturbed', 1)]


async def test_a_progress_is_written_when_the_server_takes_writes_again(
    alone: tuple[redis.asyncio.Redis, Torrelque],
) -> None:
    client, queue = alone
    await queue.enqueue(1, max_attempts=1)

    async def handle(delivery: Delivery) -> None:
        await client.config_set('min-replicas-to-write', 1)
        writing = asyncio.ensure_future(delivery.touch('half'))
        await asyncio.sleep(0.3)
        await client.config_set('min-replicas-to-write', 0)
        assert await writing

    worker = Worker(queue, handle, burst=True)
    await worker.run()
    assert worker.health().succeeded == 1


@pytest.mark.parametrize('delay', [None, 0])
async def test_an_error_that_cannot_be_kept_is_replaced(queue: Torrelque, delay: int | None) -> None:
    verb = 'bury' if delay is None else 'requeue'
    settle = getattr(queue, verb)
    texts: list[str] = []

    async def refuse(*args: Any, error: str, **kwargs: Any) -> bool:
        texts.append(error)
        if 'odd' in error:
            raise torrelque.TorrelqueServerError('ERR no such texts here')
        held: bool = await settle(*args, error=error, **kwargs)
        return held

    setattr(queue, verb, refuse)

    async def handle(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            raise ValueError('odd')

    task_id = await queue.enqueue(1)
    rule: Any = {ValueError: delay}
    await Worker(queue, handle, burst=True, retry=rule).run()
    assert len(texts) == 2
    if delay is None:
        state = await queue.get_task_state(task_id)
        assert state.status is Status.DEAD
        assert state.error == (
            'ValueError, of which the text could not be kept: TorrelqueServerError: ERR no such texts here'
        )


async def test_any_text_of_an_error_is_kept(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger('torrelque.worker')
    monkeypatch.setattr(log, 'propagate', False)  # not every report of a test takes such texts
    said: list[str] = []
    monkeypatch.setattr(log, 'handle', lambda record: said.append(f'{record.getMessage()} {record.error}'))

    class ShyError(Exception):
        def __str__(self) -> str:
            raise RuntimeError('not for you')

    errors: list[BaseException] = [ValueError('\ud800'), ValueError('x' * 10_000_000), ShyError(), ValueError('\0\r\n')]

    async def handle(delivery: Delivery) -> None:
        raise errors[delivery.task]

    ids = await queue.enqueue_many(range(len(errors)))
    await Worker(queue, handle, burst=True, max_attempts=1).run()
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert {state.status for state in states} == {Status.DEAD}
    assert (states[0].error or '').endswith('ValueError: \\ud800')
    assert len(states[1].error or '') < 4001 and 'ShyError' in (states[2].error or '')
    assert len(said) == 4 and all(line.encode() for line in said)


async def test_of_a_long_error_the_end_is_kept(queue: Torrelque) -> None:
    long = 'begin' + 'x' * 5000

    async def handle(delivery: Delivery) -> None:
        raise ValueError('the end') from KeyError(long)

    task_id = await queue.enqueue(1)
    await Worker(queue, handle, burst=True, max_attempts=1).run()
    error = (await queue.get_task_state(task_id)).error or ''
    assert len(error) == 4001 and error.startswith('…') and error.endswith('ValueError: the end')
    assert 'begin' not in error


async def test_a_long_message_leaves_room_for_the_class_and_the_frames(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError('begin' + 'x' * 50_000 + 'end')

    task_id = await queue.enqueue(1)
    await Worker(queue, handle, burst=True, max_attempts=1).run()
    error = (await queue.get_task_state(task_id)).error or ''
    assert error.startswith('Traceback') and 'in handle' in error and 'ValueError: beginxxx' in error
    assert error.endswith('xxxend') and len(error) < 4000


async def test_exceptions_that_are_odd_themselves_are_failures_like_others(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    class GroupError(Exception):
        @property
        def exceptions(self) -> Any:
            raise ZeroDivisionError

    class RingError(Exception):
        @property
        def exceptions(self) -> Any:
            return [self, self]

    class ShyError(Exception):
        def __repr__(self) -> str:
            raise ZeroDivisionError

        __str__ = __repr__

    kinds = [GroupError, RingError, ShyError]
    told: list[BaseException] = []

    async def handle(delivery: Delivery) -> None:
        raise kinds[delivery.task]

    await queue.enqueue_many(range(3))
    breaker = Breaker(failures=3, pause=3600)
    worker = Worker(
        queue, handle, burst=True, max_attempts=1, on_dead=lambda delivery, error: told.append(error), breaker=breaker
    )
    await worker.run()
    assert {type(error) for error in told} == {*kinds} and worker.health().dead == 3
    assert [event for event in said(caplog) if event[1]] == [('ERROR', 'task_dead')] * 3
    assert (await queue.get_group_stats('any')).paused


# What is kept of an error


async def test_a_kept_error_begins_with_the_users_frames(queue: Torrelque) -> None:
    def fail() -> None:
        raise ValueError('deep')

    async def coroutine(delivery: Delivery) -> None:
        fail()

    def thread(delivery: Delivery) -> None:
        fail()

    async def middleware(delivery: Delivery, call_next: Handler) -> Any:
        return await call_next(delivery)

    for handler, around in ((coroutine, []), (thread, []), (coroutine, [middleware]), (thread, [middleware])):
        task_id = await queue.enqueue(1)
        await Worker(queue, handler, burst=True, max_attempts=1, middleware=around).run()
        error = (await queue.get_task_state(task_id)).error or ''
        files = [line for line in error.splitlines() if line.startswith('  File ')]
        names = [line.rpartition(' in ')[2] for line in files]
        assert error.startswith('Traceback (most recent call last):\n  File ')
        assert all(Path(__file__).stem in line for line in files)
        assert names == ['middleware'] * len(around) + [handler.__name__, 'fail']
        assert await queue.cancel(task_id)


async def test_a_kept_error_has_none_of_our_frames_where_there_is_no_other(queue: Torrelque) -> None:
    task_id = await queue.enqueue({'task': 'no such function'})
    await Worker(Tasks(queue), burst=True).run()
    error = (await queue.get_task_state(task_id)).error or ''
    assert error.startswith('torrelque.error.TorrelqueLookupError: the app has no function') and 'File' not in error


@pytest.mark.skipif(sys.version_info < (3, 11), reason='there are no exception groups')
async def test_of_a_group_its_members_are_kept(queue: Torrelque, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def handle(delivery: Delivery) -> None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
            group.create_task(fail(ValueError('one')))
            group.create_task(fail(KeyError('two')))

    task_id = await queue.enqueue(1)
    await Worker(queue, handle, burst=True, max_attempts=1).run()
    error = (await queue.get_task_state(task_id)).error or ''
    last = "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions): ValueError: one; KeyError: 'two'"
    assert error.splitlines()[-1] == last
    assert 'in fail' in error and 'torrelque/worker' not in error
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().endswith(last)
