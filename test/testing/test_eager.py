"""Calls that run at once, without a server: what they come to, and what may be said of them."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from torrelque import (
    TorrelqueBulkError,
    TorrelqueDuplicateError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueTaskStatus as Status,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.tasks import Call, CallNext, Depends, TaskFailedError, Tasks, current
from torrelque.testing import Eager, eager

NOWHERE = 'redis://nowhere.invalid'
"""Whoever uses the server of this address fails, and does so late."""


@pytest.fixture
def app() -> Tasks:
    return Tasks.from_url(NOWHERE, queue='shop')


# What a call comes to


async def test_a_call_has_run_when_it_returns(app: Tasks) -> None:
    @app.task
    async def add(left: int, right: int = 1) -> int:
        return left + right

    with eager(app):
        handle = await add.enqueue(1, right=2)
        state = await handle.state()
        assert (state.status, state.result, state.dequeue_count) == (Status.COMPLETED, 3, 1)
        assert await handle.result() == 3
        assert [each.status async for each in handle.watch()] == [Status.COMPLETED]
        assert await handle.cancel() is False
        assert await add.handle(handle.id).result() == await app.handle(handle.id).result() == 3
        assert await (await app.enqueue('test_eager.test_a_call_has_run_when_it_returns.<locals>.add', 1)).result() == 2
        assert [await handle.result() for handle in await add.map(range(3))] == [1, 2, 3]
        assert [await handle.result() for handle in await add.starmap([(1, 2), (3, 4)])] == [3, 7]


def test_synchronous_code_pushes(app: Tasks) -> None:
    @app.task
    def add(left: int, right: int) -> int:
        return left + right

    with eager(app):
        handle = add.push(1, 2)
        assert handle.wait_result() == 3
        assert app.call(handle.state()).status is Status.COMPLETED
        assert [handle.wait_result() for handle in app.call(add.starmap([(1, 2), (3, 4)]))] == [3, 7]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith('torrelque')]


async def test_a_failed_call_tells_of_itself(app: Tasks) -> None:
    @app.task(max_attempts=2)
    def fail() -> None:
        raise KeyError('what is missing')

    with eager(app):
        handle = await fail.enqueue()
        with pytest.raises(TaskFailedError, match="is dead: KeyError: 'what is missing'"):
            await handle.result()
        state = await handle.state()
        assert (state.status, state.dequeue_count) == (Status.DEAD, 2)
        watch = handle.watch()
        assert await watch.__anext__() == state
        with pytest.raises(TorrelqueTimeoutError, match='is dead, and nothing becomes of it'):
            await watch.__anext__()
        # As everywhere else, what is dead can be taken back.
        assert await handle.cancel()
        assert (await handle.state()).status is Status.CANCELLED


async def test_arguments_and_results_are_what_the_serialiser_makes_of_them(app: Tasks) -> None:
    given: list[Any] = []

    @app.task
    async def note(value: Any) -> Any:
        given.append(value)
        return {1: ('a',)}

    with eager(app) as ran:
        # Types leave an argument of any kind to the serialiser.
        handle = await note.enqueue(('a', 'b'))
        assert given == [['a', 'b']]
        assert await handle.result() == {'1': ['a']}
        for bad in ({1}, object(), b''):
            with pytest.raises(TorrelqueTypeError):
                await note.enqueue(bad)
        unfit: Any = note
        with pytest.raises(TorrelqueTypeError, match='missing a required argument'):
            await unfit.enqueue()
        with pytest.raises(TorrelqueBulkError) as info:
            await note.map([1, {2}, 3])
        assert len(info.value.task_ids) == 1 and info.value.queue == 'shop'
        assert [task.args for task in ran.tasks] == [(['a', 'b'],), (1,)]


@dataclasses.dataclass
class Parcel:
    to: str
    since: datetime.date


async def test_types_are_carried_as_over_a_server(app: Tasks) -> None:
    pytest.importorskip('msgspec')

    @app.task
    async def forward(parcel: Parcel, by: datetime.timedelta) -> Parcel:
        return dataclasses.replace(parcel, since=parcel.since + by)

    unfit: Any = forward
    with eager(app) as ran:
        handle = await forward.enqueue(Parcel('joe', datetime.date(2026, 1, 31)), datetime.timedelta(days=1))
        assert await handle.result() == Parcel('joe', datetime.date(2026, 2, 1))
        assert (await handle.state()).result == {'to': 'joe', 'since': '2026-02-01'}
        assert ran.tasks[0].args == ({'to': 'joe', 'since': '2026-01-31'}, 'P1D')
        with pytest.raises(TorrelqueTypeError, match='by'):
            await unfit.enqueue(Parcel('joe', datetime.date(2026, 1, 31)), 'tomorrow')


async def test_dependencies_are_made_and_cleaned_up(app: Tasks) -> None:
    events: list[str] = []

    async def connect() -> AsyncIterator[str]:
        events.append('connect')
        yield 'connection'
        events.append('close')

    @app.task
    async def work(number: int, connection: str = Depends(connect)) -> str:
        events.append('work')
        return f'{connection} {number}'

    with eager(app) as ran:
        assert await (await work.enqueue(1)).result() == 'connection 1'
        assert ran.tasks[0].args == (1,)
    assert events == ['connect', 'work', 'close']


async def test_a_result_that_cannot_be_kept_is_dealt_with_as_by_a_worker(app: Tasks) -> None:
    @app.task(max_attempts=2)
    async def unfit() -> object:
        return object()

    with eager(app):
        state = await (await unfit.enqueue()).state()
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert state.error is not None and 'the result cannot be serialised' in state.error


async def test_what_nobody_keeps_is_forgotten(app: Tasks) -> None:
    app = Tasks.from_url(NOWHERE, queue='shop', keep=0)

    @app.task
    async def nothing() -> None:
        pass

    with eager(app) as ran:
        handle = await nothing.options(task_id='mine').enqueue()
        with pytest.raises(TorrelqueLookupError, match=r"^queue 'shop': the queue has no task 'mine'"):
            await handle.state()
        nothing_kept: object = await handle.result()  # type: ignore[func-returns-value]
        assert nothing_kept is None
        # The id is free again.
        await nothing.options(task_id='mine').enqueue()
        assert [task.state.status for task in ran.tasks] == [Status.COMPLETED] * 2


async def test_what_was_enqueued_is_told(app: Tasks) -> None:
    @app.task(name='send', group=lambda to, **more: f'of {to}', priority=lambda to, **more: len(to))
    async def send(to: str, **more: int) -> None:
        pass

    with eager(app) as ran:
        await send.options(delay=60, headers={'tenant': 'joe'}, task_id='mine', queue='urgent').enqueue('joe', copies=2)
        (task,) = ran.tasks
    assert (task.id, task.queue, task.name) == ('mine', 'urgent', 'send')
    assert (task.args, task.kwargs) == (('joe',), {'copies': 2})
    assert (task.group, task.priority, task.delay, task.headers) == ('of joe', 3, 60, {'tenant': 'joe'})
    assert task.state.status is Status.COMPLETED and (task.state.group, task.state.priority) == ('of joe', 3)
    assert task.task == {'task': 'send', 'args': ['joe'], 'kwargs': {'copies': 2}, 'headers': {'tenant': 'joe'}}
    assert repr(task) == "<EagerTask send 'mine' of 'urgent': COMPLETED>"
    assert isinstance(ran, Eager) and '1 tasks' in repr(ran)


async def test_a_delivery_is_that_of_a_worker(app: Tasks) -> None:
    seen: list[Any] = []

    @app.task(queue='urgent')
    async def look() -> None:
        delivery = current()
        seen.append((delivery.queue.name, delivery.id, delivery.attempt, delivery.group, delivery.headers))
        assert await delivery.touch(progress={'percent': 50})
        assert await delivery.queue.get_task_state(delivery.id) == await handles[0].state() if handles else True

    handles: list[Any] = []
    with eager(app):
        handle = await look.options(headers={'a': [1]}, group='g').enqueue()
        state = await handle.state()
    assert seen == [('urgent', handle.id, 1, 'g', {'a': [1]})]
    assert state.progress == {'percent': 50}


# Options


async def test_what_is_delayed_runs_at_once(app: Tasks) -> None:
    @app.task
    async def work() -> int:
        return 1

    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    with eager(app) as ran:
        assert await (await work.options(delay=3600).enqueue()).result() == 1
        assert await (await work.options(eta=later).enqueue()).result() == 1
    first, second = ran.tasks
    assert first.delay == 3600 and 86_000 < second.delay <= 86_400


async def test_a_task_that_has_expired_is_dead(app: Tasks) -> None:
    @app.task
    async def work() -> int:
        return 1

    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    with eager(app):
        assert await (await work.options(expires=60).enqueue()).result() == 1
        with pytest.raises(TaskFailedError, match='expired'):
            await (await work.options(expires=past).enqueue()).result()


async def test_ids_of_the_callers_own_are_refused_twice(app: Tasks) -> None:
    @app.task(max_attempts=1)
    async def work(fails: bool = False) -> None:
        assert not fails

    with eager(app):
        await work.options(task_id='mine').enqueue()
        with pytest.raises(TorrelqueDuplicateError) as info:
            await work.options(task_id='mine').enqueue()
        assert (info.value.task_id, info.value.queue) == ('mine', 'shop')
        await work.options(task_id='mine', queue='urgent').enqueue()
        dead = await work.options(task_id='dead').enqueue(True)
        with pytest.raises(TorrelqueDuplicateError):
            await work.options(task_id='dead').enqueue()
        assert await dead.cancel()
        await work.options(task_id='dead').enqueue()
    with eager(app):
        await work.options(task_id='mine').enqueue()


async def test_options_are_checked(app: Tasks) -> None:
    @app.task
    async def work() -> None:
        pass

    bad: list[Any] = [{'delay': -1}, {'priority': 101}, {'max_attempts': 0}, {'task_id': ''}, {'headers': 3}]
    with eager(app) as ran:
        for options in bad:
            with pytest.raises((TorrelqueTypeError, TorrelqueValueError)):
                await work.options(**options).enqueue()
        with pytest.raises(TorrelqueTypeError, match='cannot be serialised'):
            await work.options(headers={'a': {1}}).enqueue()
        assert ran.tasks == []


async def test_a_full_queue_refuses(app: Tasks) -> None:
    @app.task(max_attempts=1)
    async def work(fails: bool = False) -> None:
        assert not fails

    with eager(app):
        for fails in (False, True, False):
            await work.options(max_tasks=1).enqueue(fails)
        await app.enqueue('of another program', check=False)
        with pytest.raises(TorrelqueFullError) as info:
            await work.options(max_tasks=1).enqueue()
        assert (info.value.size, info.value.queue) == (1, 'shop')


async def test_calls_go_through_the_middleware_of_the_app() -> None:
    async def add_tenant(call: Call, call_next: CallNext) -> str:
        call.headers['tenant'] = call.queue
        call.args = (*call.args, 1)
        return await call_next(call)

    app = Tasks.from_url(NOWHERE, queue='shop', middleware=[add_tenant])

    @app.task
    async def work(*args: int) -> list[Any]:
        return [*args, dict(current().headers)]

    with eager(app):
        assert await (await work.enqueue(0)).result() == [0, 1, {'tenant': 'shop'}]
        assert [await handle.result() for handle in await work.map([0])] == [[0, 1, {'tenant': 'shop'}]]


# Names


async def test_a_function_that_the_app_does_not_know_is_recorded(app: Tasks) -> None:
    with eager(app) as ran:
        with pytest.raises(TorrelqueLookupError, match=r"the app has no function 'billing\.charge'"):
            await app.enqueue('billing.charge', 1)
        handle = await app.enqueue('billing.charge', 1, check=False)
        assert (await handle.state()).status is Status.PENDING
        with pytest.raises(TorrelqueTimeoutError, match='is pending, and nothing becomes of it'):
            await handle.result()
        assert [(task.name, task.args) for task in ran.tasks] == [('billing.charge', (1,))]
        assert await handle.cancel()


async def test_several_apps_know_each_others_functions(app: Tasks) -> None:
    billing = Tasks.from_url(NOWHERE, queue='billing')

    @billing.task(name='charge')
    async def charge(amount: int) -> str:
        return f'{amount} by {current().queue.name}'

    with eager([app, billing]):
        handle = await app.named('charge').options(queue='billing').enqueue(3)
        assert await handle.result() == '3 by billing'
        assert await (await charge.enqueue(4)).result() == '4 by billing'
        assert await billing.handle(handle.id).result() == '3 by billing'


async def test_what_is_no_call_is_dead(app: Tasks) -> None:
    with eager(app):
        task_id = await app.queue.enqueue({'addr': 'joe@doe.com'})
        state = await app.queue.get_task_state(task_id)
        assert state.status is Status.DEAD and 'no call of a function' in (state.error or '')
        assert (await app.queue.get_queue_stats()).dead == 1
