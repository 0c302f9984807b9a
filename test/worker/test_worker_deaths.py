"""The worker calls `on_dead` for each death, also for one that nobody saw."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque.sync
from deaths_child import make_app
from support.dying import die_by_requeue, untold, unwilling
from support.processes import running
from support.servers import RealServer
from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueDeath,
    TorrelqueTaskSerialiser,
    TorrelqueTaskStatus as Status,
)
from torrelque.aio.link import Link, Request
from torrelque.tasks import Tasks
from torrelque.testing import Clock
from torrelque.worker import DeathError, Delivery, Job, ThreadWorker, Worker, deaths

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

CHILD = Path(__file__).parent / 'deaths_child.py'


class Heard:
    """A hook, and what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Delivery, BaseException]] = []
        self.called = asyncio.Event()

    def __call__(self, delivery: Delivery, error: BaseException) -> None:
        self.calls.append((delivery, error))
        self.called.set()

    @property
    def ids(self) -> list[str]:
        return [str(delivery.id) for delivery, _ in self.calls]

    async def wait(self) -> None:
        await asyncio.wait_for(self.called.wait(), 90)


class Asked(Torrelque):
    """A queue object that counts who asks for deaths, and what may go wrong then."""

    asked = 0
    troubles: Iterator[BaseException | None] = iter(())

    async def take_deaths(self, max_tasks: int = 50, *, again_after: float = 60) -> list[TorrelqueDeath]:
        self.asked += 1
        if trouble := next(self.troubles, None):
            raise trouble
        return await super().take_deaths(max_tasks, again_after=again_after)


async def ignore(delivery: Delivery) -> None:
    pass


async def told_later(queue: Torrelque) -> list[str]:
    """What is told of by others when whoever took it to tell of it has had his time."""
    await Clock(queue).move(61)
    heard = Heard()
    await Worker(queue, ignore, on_dead=heard, burst=True).run()
    return heard.ids


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
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look often."""
    monkeypatch.setattr(deaths, 'EVERY', 0.02)


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


async def test_slow_hooks_leave_deaths_to_those_who_have_time(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, 'HOLD', 0.001)
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


# What a hook is called with


async def test_a_hook_is_called_with_a_delivery_that_cannot_be_settled(queue: Torrelque) -> None:
    answers: list[Any] = []

    async def look(delivery: Delivery, error: BaseException) -> None:
        assert isinstance(error, DeathError)
        answers.extend([await delivery.touch(progress=1), delivery.report(1), await queue.release(delivery.id)])
        answers.extend([delivery.task, delivery.attempt, delivery.group, delivery.queue, delivery.job.max_attempts])
        answers.append(error.error)

    task_id = await die_by_requeue(queue, {'a': 1}, group='tenant')
    worker = Worker(queue, ignore, on_dead=look, max_attempts=7, burst=True)
    await worker.run()
    assert answers == [False, False, False, {'a': 1}, 1, 'tenant', queue, 7, 'its attempts are used up']
    state = await queue.get_task_state(task_id)
    assert (state.status, state.progress) == (Status.DEAD, None)
    # It was another worker's task.
    assert (worker.health().dead, worker.health().failed) == (0, 0)


async def test_a_task_that_nobody_can_read_is_none_in_the_hook(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    heard = Heard()
    task_id = await queue.enqueue(1)
    serialiser = TorrelqueTaskSerialiser(str, unwilling)
    async with Torrelque(client, queue=queue.name, serialiser=serialiser) as other, Worker(
        other, ignore, on_dead=heard
    ):
        await heard.wait()
    ((delivery, error),) = heard.calls
    assert (delivery.id, delivery.task) == (task_id, None)
    assert isinstance(error, DeathError) and isinstance(error.__cause__, ValueError)
    assert 'the payload cannot be read: ValueError: not mine' in str(error)


async def test_a_task_whose_state_was_lost_is_told_of(queue: Torrelque) -> None:
    heard = Heard()
    task_id = await queue.enqueue(1)
    await queue.command('DEL', f'{queue.keys["task"]}:{task_id}')
    await Worker(queue, ignore, on_dead=heard, burst=True).run()
    ((delivery, error),) = heard.calls
    assert (delivery.id, delivery.task, delivery.attempt) == (task_id, 1, 1)
    assert 'its state was lost' in str(error)


def test_the_error_of_a_death_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(DeathError('why')))
    assert (error.error, str(error)) == ('why', 'the task died where nobody saw it: why')


async def test_hooks_of_worker_and_function_are_called_in_their_order(queue: Torrelque) -> None:
    calls: list[str] = []

    def worker_hook(delivery: Delivery, error: BaseException) -> None:
        calls.append(f'worker, {delivery.job.name}')

    async def function_hook(delivery: Delivery, error: BaseException) -> None:
        calls.append(f'function, {delivery.job.name}')

    app = Tasks(queue)

    @app.task(name='heard', max_attempts=1, on_dead=function_hook)
    def heard() -> None: ...

    @app.task(name='unheard', max_attempts=1)
    def unheard() -> None: ...

    for name in ('heard', 'unheard'):
        await app.enqueue(name)
        await queue.requeue((await queue.dequeue())[0])
    await die_by_requeue(queue, {'task': 'unknown'})
    await Worker(app, on_dead=worker_hook, burst=True).run()
    assert sorted(calls) == ['function, heard', 'worker, ', 'worker, heard', 'worker, unheard']
    assert calls.index('function, heard') == calls.index('worker, heard') + 1


async def test_a_hook_that_fails_was_told(queue: Torrelque, caplog: pytest.LogCaptureFixture) -> None:
    def fail(delivery: Delivery, error: BaseException) -> None:
        raise ZeroDivisionError

    task_id = await die_by_requeue(queue)
    await Worker(queue, ignore, on_dead=fail, burst=True).run()
    assert 'ZeroDivisionError' in caplog.text
    (record,) = [record for record in caplog.records if 'nobody saw it die' in record.getMessage()]
    assert record.levelname == 'ERROR' and task_id in record.getMessage()
    assert await told_later(queue) == []


async def test_a_hook_that_cancels_itself_was_told_and_is_told_of_the_next(queue: Torrelque) -> None:
    heard = Heard()

    async def leave(delivery: Delivery, error: BaseException) -> None:
        heard(delivery, error)
        raise asyncio.CancelledError

    ids = {str(await die_by_requeue(queue)) for _ in range(3)}
    await Worker(queue, ignore, on_dead=leave, burst=True).run()
    assert {*heard.ids} == ids and len(heard.ids) == 3
    assert not await untold(queue)


# When


async def test_a_burst_tells_of_what_died_before_and_does_what_the_hooks_enqueue(queue: Torrelque) -> None:
    done: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        done.append(delivery.task)

    async def instead(delivery: Delivery, error: BaseException) -> None:
        await queue.enqueue(f'instead of {delivery.task}')

    for n in range(25):
        await die_by_requeue(queue, n)
    await Worker(queue, handle, on_dead=instead, burst=True).run()
    assert {*done} == {f'instead of {n}' for n in range(25)} and len(done) == 25


async def test_a_worker_that_stops_tells_of_what_died_meanwhile(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, 'EVERY', 1e6)
    heard = Heard()
    looked = asyncio.Event()

    def hear(delivery: Delivery, error: BaseException) -> None:
        heard(delivery, error)
        looked.set()

    await queue.enqueue('second', max_attempts=1)
    task_id, _ = await queue.dequeue()
    await die_by_requeue(queue, 'first')
    async with Worker(queue, ignore, on_dead=hear):
        await asyncio.wait_for(looked.wait(), 90)
        assert await queue.requeue(task_id)
    assert [delivery.task for delivery, _ in heard.calls] == ['first', 'second']


async def test_a_hook_that_does_not_end_is_cancelled_with_the_worker_and_called_by_another(queue: Torrelque) -> None:
    started = asyncio.Event()

    async def hang(delivery: Delivery, error: BaseException) -> None:
        started.set()
        await asyncio.sleep(600)

    task_id = await die_by_requeue(queue)
    async with Worker(queue, ignore, on_dead=hang, shutdown_timeout=0.01):
        await asyncio.wait_for(started.wait(), 90)
    assert await told_later(queue) == [task_id]


async def test_a_second_stop_does_not_wait_for_a_hook(queue: Torrelque) -> None:
    started = asyncio.Event()

    async def hang(delivery: Delivery, error: BaseException) -> None:
        started.set()
        await asyncio.sleep(600)

    await die_by_requeue(queue)
    worker = Worker(queue, ignore, on_dead=hang, shutdown_timeout=1e6, signals=False)
    run = asyncio.create_task(worker.run())
    await asyncio.wait_for(started.wait(), 90)
    worker.stop()
    worker.stop()
    await asyncio.wait_for(run, 90)
    assert [task for task in asyncio.all_tasks() if 'Deaths' in repr(task)] == []


async def test_a_hook_goes_on_while_a_burst_is_told_to_stop(queue: Torrelque) -> None:
    heard, started, going = Heard(), asyncio.Event(), asyncio.Event()

    async def slow(delivery: Delivery, error: BaseException) -> None:
        started.set()
        await going.wait()
        heard(delivery, error)

    await die_by_requeue(queue)
    worker = Worker(queue, ignore, on_dead=slow, burst=True, signals=False)
    run = asyncio.create_task(worker.run())
    await asyncio.wait_for(started.wait(), 90)
    worker.stop()
    # As many turns of the event loop as a worker needs to end that has nothing in hand.
    for _ in range(100):
        await asyncio.sleep(0)
    assert not run.done()
    going.set()
    await asyncio.wait_for(run, 90)
    assert len(heard.calls) == 1


async def test_a_server_that_does_not_answer_keeps_no_worker(
    client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, 'LAST', 0.01)
    asked = asyncio.Event()

    class Silent(Torrelque):
        async def take_deaths(self, max_tasks: int = 50, *, again_after: float = 60) -> list[TorrelqueDeath]:
            asked.set()
            await asyncio.sleep(1e6)
            return []

    async with Silent(client, queue=queue.name) as silent:
        async with Worker(silent, ignore, on_dead=Heard(), shutdown_timeout=1e6):
            await asyncio.wait_for(asked.wait(), 90)


async def test_what_goes_wrong_is_logged_and_tried_again(
    client: redis.asyncio.Redis, queue: Torrelque, often: None, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with Asked(client, queue=queue.name) as asked:
        asked.troubles = iter([TorrelqueConnectionError('away'), ZeroDivisionError()])
        await die_by_requeue(queue)
        async with Worker(asked, ignore, on_dead=heard):
            await heard.wait()
    assert asked.asked >= 3
    assert f'deaths in queue {queue.name!r} are not told of yet: away' in caplog.text


class Bare:
    """An app that does not say whether it has hooks."""

    def __init__(self, queue: Torrelque) -> None:
        self.queues = (queue,)

    async def prepare(self) -> None: ...

    def find(self, delivery: Delivery) -> Job:
        return Job(ignore)


@pytest.mark.parametrize('hook', [False, True])
@pytest.mark.parametrize('kind', ['handler', 'app', 'bare app'])
async def test_deaths_are_asked_for_where_somebody_listens(
    client: redis.asyncio.Redis, queue: Torrelque, kind: str, hook: bool, often: None
) -> None:
    heard = Heard() if hook else None
    async with Asked(client, queue=queue.name) as asked, Asked(client, queue='stolen') as stolen:
        served: Any = {'handler': asked, 'app': Tasks(asked), 'bare app': Bare(asked)}[kind]
        handler = ignore if kind == 'handler' else None
        task_id = await die_by_requeue(stolen)
        async with Worker(served, handler, steal=[stolen], on_dead=heard) as worker:
            if heard is not None:
                await heard.wait()
                assert heard.ids == [task_id]
            elif kind == 'bare app':
                while not asked.asked or await untold(stolen):
                    await asyncio.sleep(0.01)
            else:
                # Others begin to look when they begin to work.
                await asked.enqueue({'task': 'unknown'})
                while not (worker.health().succeeded or worker.health().failed):
                    await asyncio.sleep(0.01)
    if heard is None and kind != 'bare app':
        assert (asked.asked, stolen.asked) == (0, 0)
        assert await untold(queue) == set()


async def test_an_app_asks_where_a_function_has_a_hook(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task
    def unheard() -> None: ...

    assert not app.has_on_dead

    @app.task(on_dead=lambda delivery, error: None)
    def heard() -> None: ...

    assert app.has_on_dead


async def test_a_look_at_a_queue_without_deaths_is_one_command(
    client: redis.asyncio.Redis, queue: Torrelque, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    submit = Link.submit

    def note(link: Link, request: Request) -> None:
        sent.append('' if request.transition is None else request.transition.name)
        submit(link, request)

    async with Asked(client, queue=queue.name) as asked:
        await asked.get_queue_stats()
        monkeypatch.setattr(Link, 'submit', note)
        async with Worker(asked, ignore, on_dead=Heard()):
            while asked.asked < 5:
                await asyncio.sleep(0.01)
        assert sent.count('tell') == asked.asked
    assert {*sent} <= {'tell', 'claim', 'leave', ''}


def test_a_worker_in_a_thread_tells_of_deaths(server: RealServer, queue_name: str) -> None:
    heard = threading.Event()
    with server.sync_client() as client:
        other = torrelque.sync.Torrelque(client, queue=queue_name)
        other.enqueue(1, max_attempts=1)
        task_id, _ = other.dequeue()
        assert other.requeue(task_id)
        queue = Torrelque(server.client(), queue=queue_name)
        with ThreadWorker(queue, ignore, on_dead=lambda delivery, error: heard.set()):
            assert heard.wait(90)
        assert other.take_deaths() == []
        assert not client.exists(other.keys['untold'])
        other.close()
