"""What stands around calls at the worker: resources, threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueTypeError,
)
from torrelque.tasks import Tasks, current
from torrelque.worker import Delivery, Job, Worker


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


def tell_attempt() -> Any:
    return current().attempt


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
