"""The worker: what it says, and options that cannot be meant."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.refusing import said
from support.servers import MakeServer
from support.waiting import nothing_left, until
from torrelque import Torrelque
from torrelque.worker import Backoff, Breaker, Delivery, Reject, Retry, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


async def test_a_worker_tells_of_its_start_its_tasks_and_its_end(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque')

    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'fail' and delivery.attempt == 1:
            raise ValueError('no')
        if delivery.task == 'retry' and delivery.attempt == 1:
            raise Retry(delay=0)
        if delivery.task == 'reject':
            raise Reject('never')

    task_id = await queue.enqueue('fine', group='g')
    await Worker(queue, handle, burst=True, name='w', concurrency=3).run()
    start, end, stop = (record for record in caplog.records if record.name == 'torrelque.worker')
    assert [start.levelno, end.levelno, stop.levelno] == [logging.INFO] * 3
    message = start.getMessage()
    assert all(word in message for word in ('worker w', repr(queue.name), 'handle', '3', 'torrelque '))
    fields = vars(end)
    assert (fields['event'], fields['worker'], fields['queue']) == ('task_succeeded', 'w', queue.name)
    assert fields['function'].endswith('handle') and fields['seconds'] >= 0
    assert (fields['task_id'], fields['attempt'], fields['group']) == (task_id, 1, 'g')
    assert all(word in end.getMessage() for word in ('handle', repr(str(task_id)), 'attempt 1'))
    assert (vars(stop)['event'], vars(stop)['succeeded'], vars(stop)['dead']) == ('worker_stopped', 1, 0)
    assert '1 succeeded' in stop.getMessage()

    caplog.clear()
    await queue.enqueue_many(['fail', 'retry', 'reject'])
    await Worker(queue, handle, burst=True, retry=0, concurrency=1).run()
    assert sorted(said(caplog)) == sorted(
        [
            ('INFO', 'worker_started'), ('WARNING', 'task_failed'), ('INFO', 'task_retried'), ('ERROR', 'task_dead'),
            ('INFO', 'task_succeeded'), ('INFO', 'task_succeeded'), ('INFO', 'worker_stopped'),
        ]
    )  # fmt: skip
    (failed,) = [record for record in caplog.records if getattr(record, 'event', '') == 'task_failed']
    assert failed.exc_info and isinstance(failed.exc_info[1], ValueError) and vars(failed)['error'] == 'ValueError: no'
    assert vars(failed)['delay'] == 0 and 'handle' in failed.getMessage()


async def test_a_worker_works_where_the_package_is_not_installed(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    async def handle(delivery: Delivery) -> None: ...

    monkeypatch.setattr(importlib.metadata, 'version', unknown)
    caplog.set_level(logging.INFO, 'torrelque')
    await queue.enqueue(1)
    worker = Worker(queue, handle, burst=True)
    await worker.run()
    assert worker.health().succeeded == 1 and 'torrelque (not installed)' in caplog.text


async def test_a_worker_that_ends_by_an_error_says_so_at_once(
    client: redis.asyncio.Redis, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Torrelque(client, queue=queue_name)

    async def handle(delivery: Delivery) -> None:
        pass

    worker = Worker(queue, handle)
    with pytest.raises(torrelque.TorrelqueClosedError):
        async with worker:
            await queue.enqueue(1)
            await until(lambda: worker.health().succeeded)
            await queue.aclose()
            await until(lambda: ('ERROR', 'worker_failed') in said(caplog))
    (record,) = [record for record in caplog.records if getattr(record, 'event', '') == 'worker_failed']
    assert 'the queue was closed' in record.getMessage() and record.exc_info
    assert not [record for record in caplog.records if record.name == 'asyncio']


# What cannot be meant


async def a_coroutine(one: Any, two: Any) -> None: ...


def a_generator(one: Any, two: Any = None) -> Iterator[None]:
    yield


async def an_async_generator(one: Any, two: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize('handler', [a_generator, an_async_generator, lambda: 1, a_coroutine, dict, None, 'x'])
async def test_what_is_no_handler_is_refused(queue: Torrelque, handler: Any) -> None:
    with pytest.raises(torrelque.TorrelqueTypeError):
        Worker(queue, handler)


async def test_two_objects_of_one_queue_are_refused(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    async with Torrelque(client, queue=queue.name) as same:
        for queues, steal in (([queue, same], []), ([queue], [same])):
            with pytest.raises(torrelque.TorrelqueValueError, match='named twice'):
                Worker(queues, handle, steal=steal)


@pytest.mark.parametrize(
    'options',
    [{'base': 1e300}, {'cap': 1e300}, {'base': 10**400}, {'factor': 1e300}, {'jitter': 'no'}, {'base': -1}],
    ids=repr,
)
def test_what_would_break_later_is_refused_when_a_back_off_is_made(options: dict[str, Any]) -> None:
    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
        Backoff(**options)


@pytest.mark.parametrize(
    'options',
    [
        {'retry': None}, {'retry': ValueError}, {'retry': 'soon'}, {'retry': [3]}, {'retry': {ValueError: 'soon'}},
        {'retry': {'ValueError': 3}}, {'retry': -1}, {'retry': float('nan')}, {'result_ttl': 1e11},
        {'timeout': 1e11}, {'timeout': 1e-9}, {'timeout': 0}, {'shutdown_timeout': 1e11}, {'shutdown_timeout': None},
        {'heartbeat': 1e11}, {'heartbeat': 1e-9}, {'name': b'x'}, {'name': ''}, {'name': 5}, {'name': '\ud800'},
        {'breaker': 5}, {'breaker': Breaker}, {'rate': 5}, {'rate': (1, 1e-9)}, {'rate': (0, 1)}, {'steal': 'abc'},
        {'steal': 5}, {'middleware': 5}, {'middleware': 'abc'}, {'middleware': [5]}, {'on_start': 5},
        {'run_in': None}, {'run_in': 'nowhere'}, {'run_in': []}, {'max_attempts': 1.5}, {'max_attempts': True},
        {'max_attempts': 0}, {'concurrency': 0}, {'concurrency': 1.0}, {'max_attempts': -1.0}, {'burst': 'no'},
        {'signals': 1}, {'retry': 1e300}, {'retry': {ValueError: 1e300}}, {'retry': lambda error: 1},
        {'retry': a_coroutine}, {'retry': a_generator}, {'on_start': a_generator}, {'on_dead': an_async_generator},
        {'on_success': lambda delivery: 1}, {'on_error': lambda: 1}, {'middleware': [None]},
        {'middleware': [lambda delivery: 1]}, {'middleware': [an_async_generator]},
    ],
)  # fmt: skip
async def test_what_would_break_later_is_refused_when_a_worker_is_made(
    client: redis.asyncio.Redis, queue: Torrelque, options: dict[str, Any]
) -> None:
    async def handle(delivery: Delivery) -> None: ...

    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
        Worker(queue, handle, **options)
    assert await nothing_left(client, queue)


@pytest.mark.parametrize(
    'options',
    [
        {'errors': 'ValueError'}, {'errors': 5}, {'errors': [5]}, {'errors': (ValueError(),)}, {'pause': 0},
        {'pause': 1e11}, {'pause': None}, {'failures': 0}, {'window': 0}, {'share': 0}, {'per': 'task'},
        {'errors': ()}, {'failures': 30, 'share': 0.5, 'window': 20}, {'window': 10**30}, {'failures': 10**30},
    ],
    ids=repr,
)  # fmt: skip
def test_what_would_break_later_is_refused_when_a_breaker_is_made(options: dict[str, Any]) -> None:
    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
        Breaker(**options)


@pytest.mark.parametrize('errors', [[ValueError], ValueError, {ValueError}])
async def test_errors_of_a_breaker_may_be_any_collection_of_them(queue: Torrelque, errors: Any) -> None:
    async def handle(delivery: Delivery) -> None:
        raise ValueError

    await queue.enqueue(1)
    await Worker(queue, handle, burst=True, retry=3600, breaker=Breaker(failures=1, errors=errors)).run()
    assert (await queue.get_group_stats('any')).paused


async def test_a_connection_that_was_lost_is_told_and_that_it_is_back(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque')
    server = make_server()

    def lines(text: str) -> list[str]:
        pattern = text.replace('PLACE', r'the server at \S+')
        return [message for message in caplog.messages if re.match(pattern, message)]

    async def handle(delivery: Delivery) -> None: ...

    async with server.client() as client, Torrelque(client, queue='q') as queue:
        async with Worker(queue, handle) as worker:
            await queue.enqueue(1)
            await until(lambda: worker.health().succeeded == 1)
            await asyncio.to_thread(server.kill)
            await until(lambda: lines('the connection to PLACE was lost: .'))
            assert not lines('there is a connection to PLACE again')
            await until(lambda: lines('cannot connect to PLACE, and will try again: .'))
            await asyncio.to_thread(server.start)
            await until(lambda: lines('there is a connection to PLACE again'))
            await queue.enqueue(2)
            await until(lambda: worker.health().succeeded == 2)
