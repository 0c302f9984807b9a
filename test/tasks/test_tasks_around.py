"""What stands around calls at the worker: expiry, resources, threads."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueTaskStatus as Status,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.tasks import TaskFailedError, Tasks, current
from torrelque.testing import Clock
from torrelque.worker import Delivery, Job, Worker


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


def tell_attempt() -> Any:
    return current().attempt


# Expiry


@pytest.mark.parametrize('kind', ['seconds', 'timedelta', 'datetime', 'decorator'])
async def test_a_task_that_is_handed_out_too_late_is_dead_and_never_run(queue: Torrelque, kind: str) -> None:
    app, clock, ran, dead = Tasks(queue), Clock(queue), list[str](), list[str]()

    @app.task(expires=60 if kind == 'decorator' else None, on_dead=lambda delivery, error: dead.append(str(error)))
    async def note(text: str) -> None:
        ran.append(text)

    now = datetime.datetime.now(datetime.timezone.utc)
    expires: Any = {'seconds': 60, 'timedelta': datetime.timedelta(minutes=1), 'decorator': None}.get(
        kind, now + datetime.timedelta(minutes=1)
    )
    expiring = note.options(expires=expires)
    await expiring.enqueue('in time')
    await drain(app)
    handles = [await expiring.enqueue('late'), *await expiring.map(['late'])]
    await clock.move(61)
    await drain(app)
    assert ran == ['in time'] and len(dead) == 2
    for handle in handles:
        with pytest.raises(TaskFailedError, match='expired: it was handed out'):
            await handle.result(60)
        assert (await handle.state()).status is Status.DEAD


async def test_an_expired_task_that_had_failed_before_says_why(queue: Torrelque) -> None:
    app, clock = Tasks(queue), Clock(queue)

    @app.task(expires=60, retry=120)
    async def fail() -> None:
        raise ConnectionError('the mail server is away')

    handle = await fail.enqueue()
    await drain(app)
    await clock.move(121)
    await drain(app)
    with pytest.raises(TaskFailedError, match=r'expired.*last attempt failed with ConnectionError: the mail server'):
        await handle.result(60)


@pytest.mark.parametrize('delay', [None, 10])
async def test_a_redriven_task_has_its_time_anew(queue: Torrelque, delay: float | None) -> None:
    app, clock, ran = Tasks(queue), Clock(queue), list[str]()

    @app.task(expires=60, max_attempts=1)
    async def note(text: str) -> None:
        ran.append(text)
        if text == 'fails':
            raise ConnectionError('the mail server is away')

    late = await note.options(delay=delay).enqueue('late')
    await clock.move(61)
    await drain(app)
    assert ran == []
    fails = await note.enqueue('fails')
    await drain(app)
    assert (await late.state()).status is (await fails.state()).status is Status.DEAD
    # The second one was enqueued a day ago, by what the queue knows.
    await queue.client.hset(f'{queue.keys["task"]}:{fails.id}', 'enqueue_time', '1600000000000')
    assert await queue.redrive() == 2
    await drain(app)
    assert ran == ['fails', 'late', 'fails']
    assert (await late.state()).status is Status.COMPLETED


async def test_a_redriven_task_expires_all_the_same(queue: Torrelque) -> None:
    app, ran = Tasks(queue), list[int]()

    @app.task(expires=0.001, on_dead=lambda delivery, error: dead.append(str(error)))
    async def note() -> None:
        ran.append(1)

    dead: list[str] = []
    handle = await note.enqueue()
    for _ in range(2):
        await asyncio.sleep(0.002)
        await drain(app)
        assert await queue.redrive(handle.id) == 1
    assert ran == [] and len(dead) == 2
    assert 's after it was enqueued, and had 0.001 s' in dead[0]
    assert 's after it was redriven, and had 0.001 s' in dead[1]


async def test_a_first_delay_is_part_of_the_time_of_a_task(queue: Torrelque) -> None:
    app, clock, ran = Tasks(queue), Clock(queue), list[int]()

    @app.task(expires=60, retry=30)
    async def fail() -> None:
        ran.append(1)
        raise ConnectionError

    handle = await fail.options(delay=50).enqueue()
    await clock.move(51)
    await drain(app)
    await clock.move(31)
    await drain(app)
    assert ran == [1]
    state = await handle.state()
    assert state.status is Status.DEAD and state.ready_time is not None
    assert 'after it was enqueued' in (state.error or '')


async def test_an_expired_call_of_an_ordered_queue_lets_the_next_one_go(queue: Torrelque) -> None:
    app, clock, ran = Tasks(queue), Clock(queue), list[int]()

    @app.fifo(queue='q')
    async def note(number: int) -> None:
        ran.append(number)

    await note.options(expires=1).enqueue(1)
    await note.enqueue(2)
    await clock.move(2)
    await drain(app)
    assert ran == [2]


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        ({'expires': 0}, TorrelqueValueError, 'expires must'),
        ({'expires': 'soon'}, TorrelqueTypeError, 'expires must'),
        ({'expires': datetime.datetime(2030, 1, 1)}, TorrelqueValueError, 'a time zone'),
        ({'expires': 10, 'delay': 10}, TorrelqueValueError, 'would never run'),
    ],
)
async def test_an_expiry_that_cannot_be_meant_is_refused(
    queue: Torrelque, options: Any, error: type, text: str
) -> None:
    with pytest.raises(error, match=text):
        Tasks(queue).task(tell_attempt).options(**options)


async def test_an_expiry_that_another_program_wrote_wrongly_is_dead_at_once(queue: Torrelque) -> None:
    app = Tasks(queue)
    app.task(name='tell')(tell_attempt)
    task_id = await queue.enqueue({'task': 'tell', 'expires': 'soon'})
    await drain(app)
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and 'the expires of a task must be' in (state.error or '')


# Resources


async def test_a_worker_enters_the_lifespan_of_its_app_and_leaves_it_at_its_end(queue: Torrelque) -> None:
    happened: list[Any] = []

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[dict[str, int]]:
        happened.append('begins')
        yield {'connections': 3}
        happened.append('ends')

    app = Tasks(queue, lifespan=live)

    @app.task
    async def note() -> None:
        happened.append(current().state)

    @app.task
    def note_in_thread() -> None:
        happened.append(current().state)

    await note.enqueue()
    await drain(app)
    await note_in_thread.enqueue()
    await drain(app)
    assert happened == ['begins', {'connections': 3}, 'ends'] * 2
    plain = Tasks(queue)
    plain.task(name='state')(tell_state)
    handle = await plain.enqueue('state')
    await drain(plain)
    assert (await handle.state()).result is None


async def tell_state() -> Any:
    return current().state


async def test_a_worker_tells_that_it_is_ready_behind_the_lifespan_and_before_the_first_task(queue: Torrelque) -> None:
    happened: list[Any] = []

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[None]:
        happened.append('begins')
        try:
            yield
        finally:
            happened.append('ends')

    app = Tasks(queue, lifespan=live)

    @app.task
    async def note() -> None:
        happened.append('runs')

    await note.enqueue()
    worker = Worker(app, burst=True)
    assert worker.on_ready is None
    worker.on_ready = lambda: happened.append(worker.health().state)
    await worker.run()
    assert happened == ['begins', 'running', 'runs', 'ends']

    def fail() -> None:
        raise ZeroDivisionError

    other = Worker(app, burst=True)
    other.on_ready = fail
    with pytest.raises(ZeroDivisionError):
        await other.run()
    assert happened[4:] == ['begins', 'ends']


async def test_a_lifespan_is_left_after_the_last_task_however_the_worker_ends(queue: Torrelque) -> None:
    happened: list[str] = []

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0.01)
            happened.append('left')

    app, begun = Tasks(queue, lifespan=live), asyncio.Event()

    @app.task
    async def block() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            happened.append('stopped')

    await block.enqueue()
    running = asyncio.ensure_future(Worker(app, signals=False).run())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert happened == ['stopped', 'left']
    assert (await queue.get_queue_stats()).pending == 1


@pytest.mark.parametrize('where', ['begin', 'end'])
async def test_a_lifespan_that_waits_does_not_keep_a_worker_that_is_to_stop(queue: Torrelque, where: str) -> None:
    waits, happened = asyncio.Event(), list[str]()

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[None]:
        try:
            if where == 'begin':
                waits.set()
                await asyncio.Event().wait()
            yield
            waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            happened.append('cut')
            raise

    app = Tasks(queue, lifespan=live)
    handle = await app.task(tell_attempt).enqueue()
    worker = Worker(app, signals=False)
    running = asyncio.ensure_future(worker.run())
    if where == 'end':
        assert await handle.result(60) == 1
        worker.stop()
    await waits.wait()
    worker.stop()
    await asyncio.wait_for(running, 60)
    assert happened == ['cut'] and worker.health().state == 'stopped'
    assert (await queue.get_queue_stats()).pending == (where == 'begin')


async def test_a_run_that_is_cancelled_while_its_lifespan_begins_is_cancelled(queue: Torrelque) -> None:
    waits = asyncio.Event()

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[None]:
        waits.set()
        await asyncio.Event().wait()
        yield

    running = asyncio.ensure_future(Worker(Tasks(queue, lifespan=live), signals=False).run())
    await waits.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_lifespan_that_cannot_begin_ends_the_worker_before_any_task(queue: Torrelque) -> None:
    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[None]:
        raise ConnectionError('no database')
        yield

    app = Tasks(queue, lifespan=live)
    await app.task(tell_attempt).enqueue()
    with pytest.raises(ConnectionError, match='no database'):
        await Worker(app, burst=True).run()
    stats = await queue.get_queue_stats()
    assert (stats.pending, stats.tasks) == (1, 1)


async def test_hooks_of_a_death_that_nobody_saw_have_the_state_of_the_worker(queue: Torrelque) -> None:
    states: list[Any] = []

    @contextlib.asynccontextmanager
    async def live(app: Tasks) -> AsyncIterator[int]:
        yield 7

    app = Tasks(queue, lifespan=live)
    app.task(name='tell', on_dead=lambda delivery, error: states.append(delivery.state))(tell_attempt)
    await queue.enqueue({'task': 'tell'}, max_attempts=1)
    task_id, _ = await queue.dequeue()
    await queue.requeue(task_id, error='killed')
    await drain(app)
    assert states == [7]


@pytest.mark.parametrize('of', ['app', 'worker', 'both'])
async def test_a_plain_function_runs_inside_the_context_manager_of_its_thread(queue: Torrelque, of: str) -> None:
    happened: list[Any] = []

    @contextlib.contextmanager
    def around(delivery: Delivery) -> Iterator[None]:
        happened.append(('enters', threading.get_ident(), delivery.task['args']))
        try:
            yield
        except ValueError as exc:
            happened.append(str(exc))
            raise
        finally:
            happened.append('leaves')

    @contextlib.contextmanager
    def wrong(delivery: Delivery) -> Iterator[None]:
        raise AssertionError('the app goes before the worker')
        yield

    app = Tasks(queue, around_thread=None if of == 'worker' else around)

    @app.task(max_attempts=1)
    def work(fail: bool) -> None:
        happened.append(threading.get_ident())
        if fail:
            raise ValueError('failed')

    @app.task
    async def elsewhere() -> None:
        happened.append('in the event loop')

    given = {'worker': around, 'both': wrong, 'app': None}[of]
    await work.enqueue(False)
    await drain(app, around_thread=given)
    assert happened == [('enters', happened[1], [False]), happened[1], 'leaves'] and isinstance(happened[1], int)
    happened.clear()
    await work.enqueue(True)
    await drain(app, around_thread=given)
    assert happened[2:] == ['failed', 'leaves']
    happened.clear()
    await elsewhere.enqueue()
    await drain(app, around_thread=given)
    assert happened == ['in the event loop']


@pytest.mark.parametrize('option', ['lifespan', 'around_thread'])
async def test_resources_that_cannot_be_made_are_refused(queue: Torrelque, option: str) -> None:
    for bad in (3, lambda: None):
        options: Any = {option: bad}
        with pytest.raises(TorrelqueTypeError, match=option):
            Tasks(queue, **options)


# What a job may say


async def test_a_server_that_is_away_for_a_moment_is_no_reason_to_refuse_a_task(queue: Torrelque) -> None:
    asked: list[Any] = []

    async def admit(delivery: Delivery) -> None:
        asked.append(delivery.task)
        if len(asked) < 3:
            raise TorrelqueConnectionError('away')

    class Own:
        queues = (queue,)

        async def prepare(self) -> None: ...

        def find(self, delivery: Delivery) -> Job:
            return Job(lambda delivery: 'done', 'own', 1, admit=admit, result_ttl=60)

    task_id = await queue.enqueue('task')
    await drain(Own())
    assert (await queue.get_task_state(task_id)).result == 'done' and len(asked) == 3


async def test_a_job_may_refuse_a_task_and_keep_something_else_than_its_result(queue: Torrelque) -> None:
    seen: list[Any] = []

    async def admit(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if delivery.task == 'bad':
            raise ValueError('not admitted')

    class Own:
        queues = (queue,)

        async def prepare(self) -> None: ...

        def find(self, delivery: Delivery) -> Job:
            return Job(
                lambda delivery: delivery.task, 'own', 1, admit=admit, encode=len, result_ttl=60,
                on_success=lambda delivery, result: seen.append(result),
            )  # fmt: skip

    good, bad = await queue.enqueue('good'), await queue.enqueue('bad')
    await drain(Own())
    assert seen == ['good', 'good', 'bad'] or sorted(seen) == ['bad', 'good', 'good']
    assert (await queue.get_task_state(good)).result == 4
    assert 'not admitted' in ((await queue.get_task_state(bad)).error or '')
