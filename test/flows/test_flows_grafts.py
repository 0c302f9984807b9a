"""Functions that return flows, on a server and in memory."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest

import typed_flows
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.flows import FlowFailedError, FlowHandle, Parallel, Step, current_flow, gather, given
from torrelque.tasks import Handle, TaskFailedError, Tasks, Work, current
from torrelque.testing import eager, using
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

app = Tasks.from_url('redis://nowhere.invalid', queue='grafts', name='grafts')
broken: set[str] = set()
ran: list[str] = []


@app.task
async def size(text: str) -> int:
    ran.append(current().id.partition('.')[2])
    return len(text)


@app.task(max_attempts=1)
async def fragile(text: str) -> str:
    if text in broken:
        raise ValueError(text)
    return text


@app.task
async def words(text: str) -> list[str]:
    return text.split()


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
async def double(number: int) -> int:
    return 2 * number


@app.task
async def note(what: str) -> None:
    ran.append(what)


# Functions that return flows


@app.task
async def sizes(texts: list[str]) -> Parallel[int]:
    return gather(*map(size.s, texts))


@app.task
def length(text: str) -> Step[int]:
    return words.s(text) >> sizes >> total


@app.task(run_in='process')
def length_in_process(text: str) -> Work[int]:
    return words.s(text).map(size) >> total


@app.task
async def mapped(text: str) -> Parallel[int]:
    return words.s(text).map(size)


@app.task
async def checked(text: str) -> Step[int]:
    return fragile.s(text) >> size


@app.task
async def both(text: str) -> Work[list[str]]:
    return words.s(text) if ' ' in text else given([text])


@app.task(max_attempts=1)
async def deeper(left: int) -> Work[int]:
    return deeper.s(left - 1) if left else given(0)


@app.task
async def named(text: str) -> Step[int]:
    flow = current_flow()
    await flow.add(size.s(text * 2))
    return size.s(text)


@app.task(retry=lambda error, attempt: 0)
async def many_named(text: str) -> Step[int]:
    flow = current_flow()
    for step in (size.s(text * 2), size.s(text).named('size-2'), size.s(text)):
        await flow.add(step)
    if broken:
        broken.clear()
        raise OSError
    return gather(size.s(text), size.s(text), size.s(text * 2)) >> total


@app.task
async def dated(day: dt.date) -> Step[dt.date]:
    return next_day.s(day)


@app.task
async def next_day(day: dt.date) -> dt.date:
    return day + dt.timedelta(days=1)


@app.task
async def careless(text: str) -> Work[int]:
    return checked.s(text).options(on_failure='skip', name='careless', result_ttl=60)


@app.fifo(queue='papers')
async def in_order(text: str) -> Step[int]:
    return size.s(text)


@pytest.fixture(params=['eager', 'server'])
async def ground(request: pytest.FixtureRequest, queue: Torrelque) -> AsyncIterator[str]:
    broken.clear()
    ran.clear()
    if request.param == 'eager':
        with eager(app):
            yield 'eager'
    else:
        async with using(app, queue), Worker(app):
            yield 'server'


async def result(handle: FlowHandle[Any] | Handle[Any]) -> Any:
    return await handle.result(60)


# What is handed on


async def test_the_typed_examples_run(queue: Torrelque) -> None:
    expected = 'ZIP/A, ZIP/B, ZIP/C', ['ZIP/A', 'ZIP/B', 'ZIP/C'], 13
    with eager(typed_flows.app, max_attempts=1):
        assert await typed_flows.grafts() == expected
    async with using(typed_flows.app, queue), Worker(typed_flows.app, max_attempts=1):
        assert await typed_flows.grafts() == expected


async def test_a_step_takes_the_place_of_a_task_and_gives_its_result(ground: str) -> None:
    assert await result(await (length.s('ab cde f') >> double).enqueue()) == 12
    assert await result(await (mapped.s('ab cde') >> total).enqueue()) == 5
    assert await result(await (sizes.s(['ab', 'c']) >> total).enqueue()) == 3
    assert await result(await (words.s('a bb').map(length) >> total).enqueue()) == 3
    assert await result(await (mapped.s('ab cde') >> mapped_again).enqueue()) == [1, 1]
    assert await result(await (dated.s(dt.date(2026, 1, 31)) >> next_day).enqueue()) == dt.date(2026, 2, 2)


@app.task
async def mapped_again(numbers: list[int]) -> Parallel[int]:
    return gather(*(size.s(str(number)) for number in numbers))


async def test_no_step_is_an_empty_list_and_a_value_is_itself(ground: str) -> None:
    assert await result(await (sizes.s([]) >> total).enqueue()) == 0
    assert await result(await sizes.enqueue([])) == []
    assert await result(await (both.s('a b') >> sizes).enqueue()) == [1, 1]
    assert await result(await (both.s('ab') >> sizes).enqueue()) == [2]
    assert await result(await both.enqueue('ab')) == ['ab']


async def test_a_task_that_was_enqueued_alone_becomes_a_flow(ground: str) -> None:
    handle = await length.enqueue('ab cde f')
    assert await result(handle) == 6
    flow = app.flow(handle.id)
    assert await result(flow) == 6
    progress = await flow.progress()
    assert (progress.left, progress.failed) == (0, 0) and progress.total == 7
    assert 'sizes' in await flow.draw()
    assert await result(flow.task('sizes')) == [2, 3, 1]
    assert await result(await in_order('abc')) == 3
    assert await result(await dated.enqueue(dt.date(2026, 1, 31))) == dt.date(2026, 2, 1)


async def test_a_function_in_a_process_returns_a_flow(ground: str) -> None:
    assert await result(await (length_in_process.s('ab c') >> double).enqueue()) == 6
    assert await result(await length_in_process.enqueue('ab c')) == 3


async def test_names_begin_with_that_of_the_task(ground: str) -> None:
    handle = await (words.s('a bb').map(length) >> total).enqueue()
    assert await result(handle) == 3
    outcomes = {outcome.name: outcome.result async for outcome in handle.outcomes()}
    assert outcomes['length.1'] == outcomes['length.1.total'] == outcomes['length.1.sizes.size'] == 2
    assert outcomes['length.1.sizes'] == outcomes['length.1.sizes.gather'] == [2]
    assert await result(handle.task('length.0')) == 1
    assert (await handle.task('length.0').state()).status is Status.COMPLETED


async def test_what_a_function_returns_has_other_names_than_what_it_has_added(ground: str) -> None:
    handle = await named.s('abc').enqueue()
    assert await result(handle) == 3
    assert sorted(ran) == ['named.size', 'named.size-2']
    ran.clear()
    broken.add('many')
    handle = await many_named.s('abc').enqueue()
    assert await result(handle) == 3 + 3 + 2 * 3
    # The attempt that failed has added the same.
    assert len(ran) == len({*ran}) == 6 and {'many_named.size', 'many_named.size-2', 'many_named.size-4'} <= {*ran}


# Failures


async def test_a_graft_that_fails_is_a_task_that_has_failed(ground: str) -> None:
    broken.add('x')
    flow = checked.s('x') >> double
    flow.at_end(note.s('end')).if_failed(note.s('failed'))
    handle = await flow.options(on_failure='skip').enqueue()
    with pytest.raises(FlowFailedError) as caught:
        await handle.result(60)
    assert [*caught.value.failed] == ['checked.fragile']
    hows = {outcome.name: outcome.how async for outcome in handle.outcomes()}
    assert hows['checked'] == hows['checked.fragile'] == hows['checked.size'] == hows['double'] == 'failed'
    assert sorted(ran) == ['end', 'failed']
    with pytest.raises(TaskFailedError):
        await result(handle.task('checked'))


async def test_a_graft_that_stands_still_goes_on_after_a_redrive(ground: str) -> None:
    broken.add('x')
    alone, handle = await checked.enqueue('x'), await (checked.s('x') >> double).enqueue()
    with pytest.raises(FlowFailedError, match=r'stands still: checked.fragile: ValueError: x') as caught:
        await handle.result(60)
    assert [*caught.value.failed] == ['checked.fragile']
    with pytest.raises(TaskFailedError, match=r'is a flow that stands still: .*ValueError: x') as failed:
        await alone.result(60)
    assert failed.value.status is Status.WAITING
    broken.clear()
    assert await handle.redrive() == 1 and await app.flow(alone.id).redrive() == 1
    assert (await handle.result(60), await alone.result(60)) == (2, 1)


async def test_a_task_alone_becomes_a_flow_with_options(ground: str) -> None:
    broken.add('x')
    handle = await careless.enqueue('x')
    with pytest.raises(TaskFailedError, match='is rejected'):
        await handle.result(60)
    with pytest.raises(FlowFailedError):
        await app.flow(handle.id).result(60)


async def test_grafts_have_a_bound(ground: str) -> None:
    assert await result(await (deeper.s(49) >> double).enqueue()) == 0
    handle = await deeper.s(60).options(on_failure='skip').enqueue()
    with pytest.raises(FlowFailedError, match='is too deep: functions return steps'):
        await handle.result(60)


@app.task(max_attempts=1)
async def wrong(kind: str) -> Step[int]:
    other = Tasks.from_url('redis://elsewhere.invalid', queue='other', name='other')
    if kind == 'app':
        other_size = other.task(name='size')(size.function)
        return gather(other_size.s('a'), size.s('a')) >> total
    step = size.s('a')
    if kind == 'circle':
        step.at_end(step)
    return step.options(name='x') if kind == 'options' else step.options(flow_id='x')  # type: ignore[return-value]


@pytest.mark.parametrize(
    ('kind', 'why'),
    [
        ('app', 'are for one server'),
        ('circle', 'wait for one another: size -> size'), ('options', 'is one of a flow, whose options'),
    ],
)  # fmt: skip
async def test_what_cannot_take_a_place_has_the_task_dead(ground: str, kind: str, why: str) -> None:
    handle = await (wrong.s(kind) >> double).enqueue()
    with pytest.raises(FlowFailedError, match=why):
        await handle.result(60)


async def test_a_task_that_was_enqueued_alone_gives_its_place_to_no_other_id(ground: str) -> None:
    with pytest.raises(TaskFailedError, match='has no flow_id'):
        await result(await wrong.enqueue('id'))
    with pytest.raises(TypeError, match='is what a function returns'):
        await app.schedules.add('x', '* * * * *', given(3))


# Others that enqueue


async def test_a_schedule_fires_a_function_that_returns_a_flow(queue: Torrelque) -> None:
    async with using(app, queue), Worker(app):
        await app.schedules.add('alone', '0 0 1 1 *', length.s('ab c'))
        await app.schedules.add('flow', '0 0 1 1 *', length.s('ab c') >> double)
        alone, flow = await app.schedules.fire('alone'), await app.schedules.fire('flow')
        assert await result(length.handle(alone.id)) == 3
        assert await result(app.flow(await flow.result(60))) == 6


async def test_a_call_that_depends_on_a_task_waits_for_the_flow_that_it_becomes(queue: Torrelque) -> None:
    async with using(app, queue):
        one = await length.enqueue('ab c')
        last = await note.options(depends_on=[one.id], result_ttl=60).enqueue('last')
        ran.clear()
        async with Worker(app):
            await last.result(60)
        assert ran[-1] == 'last' and len(ran) == 3


async def test_hooks_and_middleware_see_the_step(queue: Torrelque) -> None:
    seen: list[Any] = []
    released = asyncio.Event()

    async def middleware(delivery: Any, call_next: Any) -> Any:
        seen.append(value := await call_next(delivery))
        return value

    def on_success(delivery: Any, value: Any) -> None:
        seen.append(value)
        released.set()

    async with using(app, queue), Worker(app, middleware=[middleware], on_success=on_success):
        handle = await length.enqueue('')
        assert await result(handle) == 0
        await released.wait()
    assert isinstance(seen[0], Step) and seen[0] in seen[1:]
