"""What `on_dead` of a worker is called with, and when."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque.sync
from support.bounding import Bound
from support.dying import Heard, die_by_requeue, ignore, told_later, untold, unwilling
from support.servers import RealServer
from torrelque import (
    Duration,
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueDeath,
    TorrelqueTaskSerialiser,
    TorrelqueTaskStatus as Status,
)
from torrelque.aio.link import Link, Request
from torrelque.tasks import Tasks
from torrelque.worker import DeathError, Delivery, Job, ThreadWorker, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


class Asked(Torrelque):
    """A queue object that counts who asks for deaths, and what may go wrong then."""

    asked = 0
    troubles: Iterator[BaseException | None] = iter(())

    async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        self.asked += 1
        if trouble := next(self.troubles, None):
            raise trouble
        return await super().take_deaths(max_tasks, again_after=again_after)


@pytest.fixture
def often(worker_bound: Bound) -> None:
    """Workers look often."""
    worker_bound(deaths_look=0.02)


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


async def test_a_worker_that_stops_tells_of_what_died_meanwhile(queue: Torrelque, worker_bound: Bound) -> None:
    worker_bound(deaths_look=1e6)
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
    client: redis.asyncio.Redis, queue: Torrelque, worker_bound: Bound
) -> None:
    worker_bound(deaths_closing=0.01)
    asked = asyncio.Event()

    class Silent(Torrelque):
        async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
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
                await asked.enqueue('no call')
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
