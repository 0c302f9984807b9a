"""The worker: what a task is booked as, and that it is booked whatever the server refuses for a while."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.bounding import Bound
from support.servers import MakeServer
from support.waiting import nothing_left, until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import Tasks
from torrelque.worker import Backoff, Breaker, Delivery, Reject, Retry, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

Handler = Callable[[Delivery], Awaitable[Any]]


async def until_async(condition: Callable[[], Awaitable[object]]) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


# What a library makes of a cancellation


async def lets_it_pass() -> None:
    await asyncio.sleep(3600)


async def makes_it_an_error() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ConnectionError('the connection was lost') from None


async def fails_to_clean_up() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        {'a': 1}['missing']


async def ends_by_an_abort() -> None:
    try:
        await asyncio.sleep(3600)
    except BaseException as exc:
        raise SystemExit('aborted') from exc


async def asks_for_another_attempt() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise Retry(delay=0) from None


async def is_a_group() -> None:
    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]  # of Python 3.11
        group.create_task(makes_it_an_error())
        group.create_task(lets_it_pass())


ENDINGS = [lets_it_pass, makes_it_an_error, fails_to_clean_up, ends_by_an_abort, asks_for_another_attempt] + (
    [is_a_group] if sys.version_info >= (3, 11) else []
)


@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('how', ['stop', 'cancelled', 'time limit', 'task cancelled', 'lease lost'])
async def test_a_cancellation_is_booked_as_what_it_is(
    queue: Torrelque, how: str, ending: Callable[[], Awaitable[None]]
) -> None:
    begun = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await ending()

    limit = how == 'time limit'
    task_id = await queue.enqueue(1, max_attempts=5 if limit else 1)
    rules: dict[str, Any] = {'timeout': 0.05, 'retry': {TimeoutError: None, BaseException: 3600}} if limit else {}
    worker = Worker(queue, handle, shutdown_timeout=0, burst=how not in ('stop', 'cancelled'), **rules)
    running = asyncio.ensure_future(worker.run())
    await begun.wait()
    if how == 'stop':
        worker.stop()
    elif how == 'cancelled':
        running.cancel()
    elif how == 'task cancelled':
        assert await queue.cancel(task_id)
    elif how == 'lease lost':
        assert await queue.requeue(str(task_id), delay=3600, forgive=True)  # by an operator, without a token
    await asyncio.wait([running])
    state = await queue.get_task_state(task_id)
    health = worker.health()
    expected = {
        'stop': (Status.PENDING, 0, (0, 0, 0)),
        'cancelled': (Status.PENDING, 0, (0, 0, 0)),
        'time limit': (Status.DEAD, 1, (1, 1, 0)),
        'task cancelled': (Status.CANCELLED, 1, (0, 0, 1)),
        'lease lost': (Status.DELAYED, 0, (0, 0, 1)),
    }
    counted = state.dequeue_count - state.forgiven
    assert (state.status, counted, (health.failed, health.dead, health.lost)) == expected[how]
    if limit:
        assert (state.error or '').endswith('TimeoutError: the time limit of 0.05 s is over')


async def test_the_end_of_the_event_loop_is_no_failure(server: Any, queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(2), max_attempts=1)

    def run() -> None:
        async def main() -> None:
            async with server.client() as own, Torrelque(own, queue=queue.name) as mine:
                begun: list[Delivery] = []

                async def handle(delivery: Delivery) -> None:
                    begun.append(delivery)
                    await (makes_it_an_error if delivery.task else lets_it_pass)()

                running = asyncio.ensure_future(Worker(mine, handle, signals=False).run())
                await until(lambda: len(begun) == 2)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.wait([running])

        asyncio.run(main())

    await asyncio.to_thread(run)
    for task_id in ids:
        state = await queue.get_task_state(task_id)
        assert (state.status, state.dequeue_count - state.forgiven) == (Status.PENDING, 0)


@pytest.mark.parametrize('how', ['timer', 'now', 'raised', 'future'])
async def test_a_task_that_cancels_itself_is_a_failed_attempt(queue: Torrelque, how: str) -> None:
    async def handle(delivery: Delivery) -> None:
        this = asyncio.current_task()
        assert this is not None
        if how == 'timer':
            asyncio.get_running_loop().call_later(0.001, this.cancel)
            await asyncio.sleep(3600)
        if how == 'now':
            this.cancel()
            await asyncio.sleep(0)
        if how == 'raised':
            raise asyncio.CancelledError
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    task_id = await queue.enqueue(1, max_attempts=2)
    worker = Worker(queue, handle, retry=3600, burst=True)
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count, state.forgiven) == (Status.DELAYED, 1, 0)
    assert (state.error or '').rpartition('\n')[2].startswith('asyncio.exceptions.CancelledError')
    assert (worker.health().failed, worker.health().lost) == (1, 0)


async def test_a_timer_that_a_handler_left_behind_does_not_meet_the_settling(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> str:
        this = asyncio.current_task()
        assert this is not None
        # It goes off while the queue is told of the result.
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(this.cancel))
        return 'done'

    seen: list[Any] = []
    ids = await queue.enqueue_many(range(20))
    worker = Worker(queue, handle, burst=True, on_success=lambda delivery, result: seen.append(result))
    await worker.run()
    assert worker.health().succeeded == 20 and seen == ['done'] * 20
    assert {(await queue.get_task_state(task_id)).status for task_id in ids} == {Status.COMPLETED}


@pytest.mark.parametrize('kind', [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize('place', ['coroutine', 'thread', 'middleware'])
async def test_an_interrupt_of_a_handler_is_a_failed_attempt(
    queue: Torrelque, place: str, kind: type[BaseException]
) -> None:
    async def coroutine(delivery: Delivery) -> None:
        if delivery.task == 'interrupt' and place == 'coroutine':
            raise kind

    def thread(delivery: Delivery) -> None:
        if delivery.task == 'interrupt':
            raise kind

    async def middleware(delivery: Delivery, call_next: Handler) -> Any:
        if delivery.task == 'interrupt' and place == 'middleware':
            raise kind
        return await call_next(delivery)

    task_id = await queue.enqueue('interrupt', max_attempts=1)
    await queue.enqueue_many(['other'] * 5)
    worker = Worker(queue, thread if place == 'thread' else coroutine, middleware=[middleware], burst=True)
    await worker.run()
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and kind.__name__ in (state.error or '')
    assert (worker.health().succeeded, worker.health().dead) == (5, 1)


# What the server refuses for a moment


@pytest.fixture
async def alone(make_server: MakeServer) -> AsyncIterator[tuple[redis.asyncio.Redis, Torrelque]]:
    """A server of the test's own, whose settings it may change."""
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        yield client, queue


@pytest.mark.parametrize('what', ['bulk', 'kept', 'result', 'retry', 'dead', 'rejected', 'stopped', 'limited'])
async def test_what_was_done_is_booked_when_the_server_takes_writes_again(
    alone: tuple[redis.asyncio.Redis, Torrelque], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, queue = alone
    go = asyncio.Event()
    begun = 0

    async def handle(delivery: Delivery) -> Any:
        nonlocal begun
        begun += 1
        if what == 'limited':
            await asyncio.sleep(3600)
        await go.wait()
        if what in ('retry', 'dead'):
            raise ValueError('no')
        if what == 'rejected':
            raise Reject('never')
        return 'a result' if what == 'result' else None

    all_options: dict[str, dict[str, Any]] = {
        'kept': {'result_ttl': 600},
        'retry': {'retry': 3600},
        'limited': {'timeout': 0.3},
        'stopped': {'shutdown_timeout': 60},
    }
    options = all_options.get(what, {})
    # Those of `release_many`, in more than one call of it.
    count = 300 if what == 'bulk' else 3
    ids = await queue.enqueue_many(range(count), max_attempts=None if what == 'retry' else 1)
    worker = Worker(queue, handle, concurrency=count, **options)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: begun == count)
    await client.config_set('min-replicas-to-write', 1)
    go.set()
    if what == 'stopped':
        worker.stop()
    await until(lambda: [record for record in caplog.records if 'not settled yet' in record.getMessage()])
    await asyncio.sleep(0.3)  # of some more tries
    await client.config_set('min-replicas-to-write', 0)
    health = worker.health
    await until(lambda: health().succeeded + health().failed == count and not health().running)
    worker.stop()
    await running
    assert begun == count and health().lost == 0
    stats = await queue.get_queue_stats()
    dead = count if what in ('dead', 'rejected', 'limited') else 0
    assert (stats.dead, stats.delayed, stats.working) == (dead, count if what == 'retry' else 0, 0)
    if what in ('kept', 'result'):
        state = await queue.get_task_state(ids[0])
        assert (state.status, state.result) == (Status.COMPLETED, 'a result' if what == 'result' else None)


async def test_a_bulk_release_that_is_refused_half_way_loses_nothing(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        pass

    await queue.enqueue_many(range(600))
    release, calls = queue.release_many, 0

    async def refuse(task_ids: Any, **kwargs: Any) -> list[bool]:
        nonlocal calls
        ids, done = list(task_ids), []
        # As the queue does it: in calls of so many, of which one may be refused.
        for start in range(0, len(ids), 250):
            calls += 1
            if calls == 2:
                error = torrelque.TorrelqueServerError('NOREPLICAS not enough good replicas')
                error.passing = True
                raise error
            done += await release(ids[start : start + 250], **kwargs)
        return done

    queue.release_many = refuse  # type: ignore[method-assign]
    worker = Worker(queue, handle, burst=True, concurrency=600)
    await worker.run()
    assert (worker.health().succeeded, worker.health().lost) == (600, 0)


async def test_a_lease_is_renewed_while_its_task_cannot_be_settled(queue: Torrelque) -> None:
    queue.task_timeout = 1.5

    async def handle(delivery: Delivery) -> int:
        return 1

    task_id = await queue.enqueue(1)
    refused = 0
    release = queue.release

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused < 8:
            error = torrelque.TorrelqueServerError('NOREPLICAS not enough good replicas')
            error.passing = True
            raise error
        return await release(*args, **kwargs)

    queue.release = refuse  # type: ignore[method-assign]
    worker = Worker(queue, handle, burst=True)
    await worker.run()
    assert (worker.health().succeeded, worker.health().lost, refused) == (1, 0, 8)
    assert (await queue.get_task_state(task_id)).dequeue_count == 1


async def test_a_worker_that_stops_does_not_wait_for_ever_for_a_server_that_takes_no_writes(
    alone: tuple[redis.asyncio.Redis, Torrelque], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr('torrelque.worker.worker.CANCEL_TIMEOUT', 0.3)
    client, queue = alone
    go = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await go.wait()

    await queue.enqueue_many(range(3))
    worker = Worker(queue, handle, shutdown_timeout=0.1)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: len(worker.health().running) == 3)
    await client.config_set('min-replicas-to-write', 1)
    go.set()
    await until(lambda: 'not settled yet' in caplog.text)
    worker.stop()
    await running
    assert [record.levelno for record in caplog.records if 'its lease will run out' in record.getMessage()] == [
        logging.ERROR
    ] * 3
    assert not [task for task in asyncio.all_tasks() if 'torrelque.worker' in repr(task.get_coro())]


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
        assert all('test_worker_settling' in line for line in files)
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


# What a worker says


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.levelname, getattr(record, 'event', '')) for record in caplog.records]
    return [(level, event) for level, event in found if event]


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
        return [message for message in caplog.messages if text in message]

    async def handle(delivery: Delivery) -> None: ...

    async with server.client() as client, Torrelque(client, queue='q') as queue:
        async with Worker(queue, handle) as worker:
            await queue.enqueue(1)
            await until(lambda: worker.health().succeeded == 1)
            await asyncio.to_thread(server.kill)
            await until(lambda: lines('the connection to the server was lost'))
            assert not lines('there is a connection to the server again')
            await until(lambda: lines('cannot connect to the server, and will try again'))
            await asyncio.to_thread(server.start)
            await until(lambda: lines('there is a connection to the server again'))
            await queue.enqueue(2)
            await until(lambda: worker.health().succeeded == 2)
