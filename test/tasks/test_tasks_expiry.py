"""Calls that expire: that are not run when they would begin too late."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError, TorrelqueValueError
from torrelque.tasks import TaskFailedError, Tasks, current
from torrelque.testing import Clock
from torrelque.worker import Worker


async def drain(app: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True).run(), 60)


def tell_attempt() -> Any:
    return current().attempt


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
