"""What goes along with a call to its function, in whatever way it is enqueued and run."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any

import pytest

from support.carrying import Requests, inside, request, tell_of_process
from torrelque import Torrelque, TorrelqueQueue, TorrelqueTypeError
from torrelque.flows import current_flow, gather
from torrelque.operate import Operator
from torrelque.tasks import Call, CallNext, Sending, Tasks, Work, current, share_context
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server


async def drain(app: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, burst=True, **options).run(), 60)


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue, context=Requests())


@pytest.fixture
def seen(app: Tasks) -> list[str]:
    """What functions of the name ``note`` have seen."""
    seen: list[str] = []

    @app.task(name='note')
    async def note(n: int = 0) -> int:
        seen.append(inside.get())
        return n

    return seen


async def payload_of(queue: TorrelqueQueue, handle: Any) -> Any:
    return (await Operator(queue).task(str(handle.id))).payload


def note_of(app: Tasks) -> Any:
    return app.functions['note']


async def test_a_function_is_run_in_the_context_of_whoever_has_enqueued_its_call(app: Tasks) -> None:
    @app.task
    async def tell() -> list[str]:
        before = inside.get()
        await asyncio.sleep(0)
        return [before, inside.get()]

    @app.task
    def tell_in_thread() -> str:
        return inside.get()

    @app.task
    def tell_later() -> Awaitable[list[str]]:
        return tell.function()

    request.set('r1')
    handles: list[Any] = [await tell.enqueue(), await tell_in_thread.enqueue(), await tell_later.enqueue()]
    request.set(None)
    handles.append(await tell.enqueue())
    payloads = [await payload_of(app.queue, handle) for handle in handles]
    assert [payload.get('context') for payload in payloads] == [{'request': 'r1'}] * 3 + [None]
    await drain(app)
    assert [await handle.result() for handle in handles] == [['r1'] * 2, 'r1', ['r1'] * 2, ['none'] * 2]
    assert inside.get() == 'none'


@pytest.mark.long
async def test_a_function_in_a_process_is_run_in_the_context(app: Tasks) -> None:
    tell = app.task(run_in='process')(tell_of_process.function)
    request.set('r1')
    handle = await tell.enqueue()
    await drain(app)
    told, process = await handle.result()
    assert told == 'r1' and process != os.getpid()


async def test_many_calls_and_calls_through_middleware_have_the_context(queue: Torrelque, seen: list[str]) -> None:
    async def pass_on(call: Call, call_next: CallNext) -> str:
        return await call_next(call)

    app = Tasks(queue, context=Requests(), middleware=[pass_on])

    @app.task(name='note')
    async def note(n: int = 0) -> None:
        seen.append(f'{n} {inside.get()}')

    request.set('r1')
    await note.map([1, 2])
    await note.options(headers={'a': 'b'}).enqueue(3)
    await drain(app)
    assert sorted(seen) == ['1 r1', '2 r1', '3 r1']


async def test_synchronous_code_and_ordered_queues_have_the_context(app: Tasks, seen: list[str]) -> None:
    @app.fifo(queue='orders')
    async def book(n: int) -> None:
        seen.append(f'{n} {inside.get()}')

    def push() -> None:
        request.set('thread')
        note_of(app).push()
        prepared = note_of(app).prepare()
        prepared()
        book(1)

    request.set('r1')
    await asyncio.to_thread(push)
    book(2)
    await book(3)
    await drain(app)
    assert sorted(seen) == ['1 thread', '2 r1', '3 r1', 'thread', 'thread']
    await asyncio.to_thread(app.close)


async def test_each_attempt_has_the_same_context_and_so_has_a_task_that_was_redriven(app: Tasks) -> None:
    seen: list[str] = []

    @app.task(max_attempts=2, retry=0)
    async def fail() -> None:
        seen.append(inside.get())
        raise ValueError

    request.set('r1')
    await fail.enqueue()
    await drain(app)
    request.set('of the operator')
    await app.queue.redrive()
    await drain(app)
    assert seen == ['r1'] * len(seen) and len(seen) > 2


async def test_steps_of_flows_have_the_context_and_so_have_those_that_come_to_it(
    app: Tasks, seen: list[str]
) -> None:
    note = note_of(app)

    @app.task
    async def numbers() -> list[int]:
        seen.append('numbers ' + inside.get())
        return [1, 2]

    @app.task
    async def more() -> Work[list[int]]:
        request.set('of more')
        await current_flow().add(note.s(5))
        return numbers.s()

    request.set('r1')
    await gather(numbers.s().map(note), more.s()).enqueue()
    await drain(app)
    assert sorted(seen) == ['numbers r1', 'numbers r1', 'of more', 'r1', 'r1']


async def test_a_schedule_has_no_context_of_whoever_has_set_it(app: Tasks, seen: list[str]) -> None:
    request.set('r1')
    await app.schedules.add('tick', '0 0 1 1 *', note_of(app).s())
    await Operator(app.queue).fire('tick')
    await drain(app)
    assert seen == ['none']


async def test_a_context_is_no_argument_and_changes_neither_job_nor_name(app: Tasks, seen: list[str]) -> None:
    note = note_of(app)
    request.set('r1')
    first = await note.options(task_id='a').enqueue(1)
    payload = await payload_of(app.queue, first)
    request.set('r2')
    with pytest.raises(Exception, match='a'):
        await note.options(task_id='a').enqueue(1)
    assert payload['args'] == [1] and payload['context'] == {'request': 'r1'}
    await drain(app)
    assert await first.result() == 1


async def test_an_app_without_contexts_runs_what_has_one(queue: Torrelque, app: Tasks, seen: list[str]) -> None:
    request.set('r1')
    await note_of(app).enqueue()
    other = Tasks(queue)
    other.task(name='note')(note_of(app).function)
    await drain(other)
    assert seen == ['none']


@pytest.mark.parametrize(('given', 'warned'), [
    ({'request': 'x' * 2041}, False),
    ({'request': 'x' * 2042}, True),
    ({'request': 'é' * 1021}, True),
    ({'request': 7}, True),
    ({}, False),
])  # fmt: skip
async def test_what_is_too_large_or_no_text_is_left_out_with_a_warning(
    queue: Torrelque, caplog: pytest.LogCaptureFixture, given: Any, warned: bool
) -> None:
    class Large(Requests):
        def give(self) -> Mapping[str, str] | None:
            return given  # type: ignore[no-any-return]

    app = Tasks(queue, context=Large())

    @app.task
    async def note() -> None: ...

    handle = await note.enqueue()
    payload = await payload_of(queue, handle)
    assert payload.get('context') == (None if warned or not given else given)
    assert bool(caplog.records) is warned


async def test_a_context_that_fails_stops_neither_call_nor_function(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    fails: list[str] = []

    class Failing(Requests):
        def give(self) -> Mapping[str, str] | None:
            if 'give' in fails:
                raise OSError('give')
            return {'request': 'x'}

        @contextlib.contextmanager
        def take(self, context: Mapping[str, str], /) -> Iterator[None]:
            if 'take' in fails:
                raise OSError('take')
            with contextlib.suppress(ValueError):
                yield
            raise OSError('end')

        @contextlib.contextmanager
        def enqueueing(self, sending: Sending) -> Iterator[None]:
            yield
            raise OSError('enqueueing')

    app = Tasks(queue, context=Failing())

    @app.task(max_attempts=1)
    async def note(fails: bool = False) -> int:
        if fails:
            raise ValueError('its own')
        return 1

    fails.append('give')
    handles = [await note.enqueue()]
    fails[:] = ['take']
    handles.append(await note.enqueue())
    await drain(app)
    fails[:] = []
    handles.append(await note.enqueue())
    dead = await note.enqueue(True)
    await drain(app)
    assert [await handle.result() for handle in handles] == [1] * 3
    assert 'its own' in str((await queue.get_task_state(str(dead.id))).error)
    assert sum(record.name == 'torrelque.tasks' for record in caplog.records) == 4 + 1 + 1 + 2


async def test_a_shared_context_is_that_of_all_apps_until_it_is_taken_back(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task
    async def tell() -> str:
        return f'{inside.get()} {current().task.get("context")}'

    take_back = share_context(Requests())
    try:
        request.set('r1')
        handles = [await tell.enqueue(), *await tell.options(delay=0).map([])]
        await drain(app)
    finally:
        take_back()
    take_back()
    handles.append(await tell.enqueue())
    await drain(app)
    assert [await handle.result() for handle in handles] == ["r1 {'request': 'r1'}", 'none None']


def test_what_is_no_context_is_refused(queue: Torrelque) -> None:
    for wrong in ('text', Requests, object(), [Requests(), None]):
        with pytest.raises(TorrelqueTypeError, match='context'):
            Tasks(queue, context=wrong)  # type: ignore[arg-type]
