"""Flows in a test of an application: they run at once, in this process and without a server."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import typed_flows
from torrelque import (
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
)
from torrelque.flows import FlowFailedError, FlowProgress, Outcome, any_failed, current_flow, first, gather
from torrelque.tasks import TaskFailedError, Tasks
from torrelque.testing import Eager, eager

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')
seen: list[Any] = []
broken: set[str] = set()


@dataclass
class Item:
    name: str
    day: dt.date


@app.task
async def make(name: str) -> Item:
    if name in broken:
        raise ValueError(f'{name} is broken')
    return Item(name, dt.date(2026, 11, 29))


@app.task
def both(one: Item, other: Item | None = None) -> list[Item]:
    seen.append(one)
    return [one] if other is None else [one, other]


@app.task
async def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


@app.task
async def name_of(item: Item) -> str:
    if item.name in broken:
        raise ValueError(f'{item.name} is broken')
    return item.name


@app.task
async def note(value: Any) -> Any:
    seen.append(value)
    return value


@app.task
async def items_of(count: int) -> list[Item]:
    return [Item(str(number), dt.date(2026, 1, 1)) for number in range(count)]


@app.task
async def pushes() -> str:
    flow = current_flow()
    await flow.push('greeting', 'hello')
    assert current_flow() is flow and await flow.pull('nothing', 5) == 5
    with pytest.raises(TorrelqueLookupError):
        await flow.pull('nothing')
    # What a server refuses is refused, by the same errors.
    with pytest.raises(TorrelqueTypeError, match='cannot be serialised'):
        await flow.push('thing', object())
    for names in ({'after': ['nobody']}, {'before': ['nobody']}):
        with pytest.raises(TorrelqueLookupError, match=r'there is no task .* to wait for'):
            await flow.add(note.s(1), **names)
    return f'{flow.name} of {flow.id}'


@app.task
def pulls() -> str:
    assert threading.current_thread() is not threading.main_thread()
    flow = current_flow()
    return str(flow.wait(flow.pull('greeting')))


@app.task
async def adds() -> list[str]:
    flow = current_flow()
    added = await flow.add(make.s('x') >> name_of >> note, before=['late'])
    return [*added, *await flow.add(items_of.s(2).map(name_of) >> note)]


@pytest.fixture(autouse=True)
def ran() -> Iterator[Eager]:
    seen.clear()
    broken.clear()
    with eager(app, max_attempts=1) as block:
        yield block


def names_of(ran: Eager) -> list[str]:
    return [task.id.partition('.')[2] for task in ran.tasks]


# The examples


async def test_the_typed_examples_run() -> None:
    typed_flows.done.clear()
    with eager(typed_flows.app, max_attempts=1):
        assert await typed_flows.etl() == 2
        await (await typed_flows.order(7)).result()
        assert await typed_flows.images('zip') == 'ZIP/A, ZIP/B, ZIP/C'
        with pytest.raises(FlowFailedError, match='is rejected: charge: ValueError: no money'):
            await (await typed_flows.journey('rome')).result()
        assert await (await typed_flows.more().enqueue()).result() == 2
    assert typed_flows.done == [
        '2 of 3 into sales', 'thanks for invoice 7 and parcel 7', 'removed zip',
        'undo book_hotel: hotel of rome', 'undo book_flight: flight of rome',
    ]  # fmt: skip


# Data


async def test_results_are_carried_by_the_types_of_the_functions(ran: Eager) -> None:
    flow = names.s(both.s(make.s('a').result, other=make.s('b').result).result)
    handle = await flow.enqueue()
    assert await handle.result() == ['a', 'b']
    assert seen == [Item('a', dt.date(2026, 11, 29))]
    assert names_of(ran) == ['make', 'make-2', 'both', 'names']
    assert ran.tasks[2].task == {
        'task': both.name, 'args': [None], 'kwargs': {'other': None}, 'flow': handle.id, 'name': 'both',
        'from': [[['args', 0], f'{handle.id}.make'], [['kwargs', 'other'], f'{handle.id}.make-2']],
    }  # fmt: skip
    item = await (await (note.s(1) >> make.s('c')).enqueue()).result()
    assert item == Item('c', dt.date(2026, 11, 29))
    assert await (await gather(make.s('d'), note.s([2])).enqueue()).result() == [Item('d', dt.date(2026, 11, 29)), [2]]


async def test_a_map_calls_a_function_for_each_element(ran: Eager) -> None:
    flow = items_of.s(3).map(name_of, limit=2) >> note
    assert await (await flow.enqueue()).result() == ['0', '1', '2']
    assert names_of(ran) == ['items_of', 'name_of', 'name_of.0', 'name_of.1', 'name_of.2', 'note']
    assert {task.group for task in ran.tasks} == {None, f'map:{name_of.name}'}
    assert await (await items_of.s(2).map(both).enqueue()).result() == [
        [Item('0', dt.date(2026, 1, 1))], [Item('1', dt.date(2026, 1, 1))],
    ]  # fmt: skip


async def test_a_map_of_nothing_is_an_empty_list() -> None:
    assert await (await (items_of.s(0).map(name_of) >> note).enqueue()).result() == []
    assert await (await (gather() >> note).enqueue()).result() == []


async def test_maps_among_others_and_maps_of_maps_give_one_list() -> None:
    mixed = (items_of.s(2).map(name_of) | make.s('x') >> name_of | note.s(5)) >> note
    assert await (await mixed.enqueue()).result() == ['0', '1', 'x', 5]
    chained = items_of.s(2).map(name_of).map(note)
    assert await (await chained.enqueue()).result() == ['0', '1']


async def test_the_end_of_a_map_is_that_of_all_its_calls(ran: Eager) -> None:
    broken.add('1')
    calls = items_of.s(3).map(name_of)
    calls.at_end(note.s('end')).if_failed(note.s('failed'))
    with pytest.raises(FlowFailedError, match=r'is rejected: name_of.1: ValueError: 1 is broken'):
        await (await (calls >> note).options(on_failure='skip').enqueue()).result()
    assert names_of(ran)[2:] == ['name_of.0', 'name_of.1', 'name_of.2', 'note-2', 'note'] and seen == ['failed', 'end']
    broken.clear()
    seen.clear()
    calls = items_of.s(3).map(name_of)
    calls.at_end(note.s('end')).if_failed(note.s('failed'))
    assert await (await calls.enqueue()).result() == ['0', '1', '2']
    assert seen == ['end']


async def test_a_map_goes_on_where_what_comes_behind_it_was_skipped(ran: Eager) -> None:
    broken.add('a')
    flow = gather(make.s('a') >> name_of, items_of.s(2).map(name_of)) >> note
    handle = await flow.options(on_failure='skip').enqueue()
    with pytest.raises(FlowFailedError, match='make: ValueError: a is broken'):
        await handle.result()
    hows = {outcome.name: outcome.how async for outcome in handle.outcomes()}
    assert hows['note'] == 'failed' and hows['name_of-2.0'] == hows['name_of-2.1'] == 'completed'


async def test_what_is_mapped_must_be_a_list(ran: Eager) -> None:
    handle = await note.s('abc').map(note).enqueue()
    with pytest.raises(FlowFailedError, match=r'note-2: .*Reject: what is mapped must be a list, and is str'):
        await handle.result()
    assert handle.id in repr(handle)


async def test_the_first_result_is_taken() -> None:
    broken.add('a')
    flow = first(make.s('a'), make.s('b')) >> name_of
    handle = await flow.options(on_failure='skip').enqueue()
    assert await handle.task('name_of').result() == 'b'
    with pytest.raises(FlowFailedError, match='is rejected: make: ValueError: a is broken'):
        await handle.result()


# What fails


async def test_a_flow_that_stands_still_says_so_at_once_and_goes_on_by_a_redrive() -> None:
    broken.add('a')
    handle = await (make.s('a') >> name_of >> note).options(flow_id='mine').enqueue()
    with pytest.raises(FlowFailedError) as caught:
        await handle.result()
    assert str(caught.value).endswith("flow 'mine' stands still: make: ValueError: a is broken")
    assert [*caught.value.failed] == ['make'] and caught.value.status is TorrelqueTaskStatus.WAITING
    assert await handle.progress() == FlowProgress(total=3, left=3, dead=1, failed=0)
    assert [progress async for progress in handle.watch()] == [FlowProgress(3, 3, 1, 0)]
    broken.clear()
    assert await handle.redrive() == 1
    assert await handle.result() == 'a' == await app.flow('mine').result()
    assert await handle.progress() == FlowProgress(3, 0, 0, 0)


@pytest.mark.parametrize(
    ('on_failure', 'ran_at_last', 'status'),
    [('wait', [], 'WAITING'), ('skip', ['make', 'end'], 'REJECTED'), ('cancel', ['make', 'end'], 'CANCELLED')],
)
async def test_what_becomes_of_a_failure(ran: Eager, on_failure: Any, ran_at_last: list[str], status: str) -> None:
    broken.add('a')
    flow = make.s('a') >> name_of >> note
    flow.at_end(note.s('end').named('end'))
    handle = await flow.options(on_failure=on_failure).enqueue()
    assert (await handle.state()).status.name == status
    assert names_of(ran) == (ran_at_last or ['make'])
    with pytest.raises(FlowFailedError):
        await handle.result()
    hows = {outcome.name: outcome.how async for outcome in handle.outcomes()}
    if on_failure == 'skip':
        assert hows == {'make': 'failed', 'name_of': 'failed', 'note': 'failed', 'end': 'completed'}


async def test_what_is_for_a_failure_runs_after_one_only() -> None:
    flow = make.s('a').if_failed(note.s('failed'))
    handle = await flow.enqueue()
    await handle.result()
    assert seen == [] and [outcome.how async for outcome in handle.outcomes()] == ['completed', 'skipped']
    with pytest.raises(TaskFailedError, match=r"task '.*note' is cancelled: skipped"):
        await handle.task('note').result()
    broken.add('a')
    one, two = make.s('a'), make.s('b')
    any_failed(one, two)(note.s('any'))
    with pytest.raises(FlowFailedError, match='stands still'):
        await (await gather(one, two).enqueue()).result()
    assert seen == ['any']


async def test_the_outcomes_and_the_tasks_of_a_flow_are_told() -> None:
    handle = await (make.s('a') >> name_of).enqueue()
    assert [outcome async for outcome in handle.outcomes()] == [
        Outcome('make', 'completed', {'name': 'a', 'day': '2026-11-29'}, None),
        Outcome('name_of', 'completed', 'a', None),
    ]
    assert await handle.task('name_of').result() == 'a'
    with pytest.raises(TorrelqueLookupError):
        await handle.task('nobody').result()
    assert await handle.draw() == (
        'flowchart LR\n    n0["make"]:::completed\n    n1["name_of"]:::completed\n    n0 --> n1\n'
        '    classDef completed fill:#3aa981\n'
    )


async def test_ids_of_the_callers_own_are_refused_twice() -> None:
    await make.s('a').options(flow_id='mine').enqueue()
    with pytest.raises(TorrelqueDuplicateError):
        await make.s('a').options(flow_id='mine').enqueue()
    with pytest.raises(TorrelqueLookupError):
        await app.flow('yours').result()


# In a function


async def test_a_function_knows_its_flow(ran: Eager) -> None:
    handle = await (pushes.s() >> pulls.s()).options(flow_id='mine').enqueue()
    assert await handle.result() == 'hello'
    assert await handle.task('pushes').result() == 'pushes of mine'
    with pytest.raises(TorrelqueError, match='no task is being run here'):
        current_flow()
    with pytest.raises(TaskFailedError, match='is not one of a flow'):
        await (await pushes.enqueue()).result()


async def test_a_function_adds_to_its_flow(ran: Eager) -> None:
    handle = await (adds.s() >> note.s('late').named('late')).enqueue()
    await handle.result()
    assert await handle.task('adds').result() == [
        'adds.make', 'adds.name_of', 'adds.note', 'adds.items_of', 'adds.name_of-2', 'adds.note-2',
    ]  # fmt: skip
    assert sorted(map(str, seen)) == ["['0', '1']", 'late', 'x'] and seen.index('x') < seen.index('late')
    assert (await handle.progress()).total == 10


@app.task
async def adds_behind(name: str) -> list[str]:
    return await current_flow().add(note.s('behind'), after=[name])


@pytest.mark.parametrize(('name', 'how'), [('make', 'failed'), ('note', 'completed')])
async def test_what_is_added_behind_a_task_that_has_ended_begins_or_is_skipped_at_once(name: str, how: str) -> None:
    broken.add('a')
    before = make.s('a') if name == 'make' else note.s('a')
    before.at_end(adds_behind.s(name))
    handle = await before.options(on_failure='skip').enqueue()
    assert {outcome.name: outcome.how async for outcome in handle.outcomes()}['adds_behind.note'] == how
    assert ('behind' in seen) is (how == 'completed')


async def test_a_call_depends_on_others(ran: Eager) -> None:
    broken.add('a')
    good, bad = await note.enqueue(1), await make.enqueue('a')
    assert await (await note.options(depends_on=[good.id]).enqueue(2)).result() == 2
    waits = await note.options(depends_on=[good.id, bad.id]).enqueue(3)
    assert (await waits.state()).status is TorrelqueTaskStatus.WAITING
    await bad.cancel()
    skipped = await note.options(depends_on=[bad.id]).enqueue(4)
    with pytest.raises(TaskFailedError, match='skipped: what it depends on has failed'):
        await skipped.result()
    with pytest.raises(TorrelqueLookupError):
        await note.options(depends_on=['nobody']).enqueue(5)
    assert seen == [1, 2]


def test_synchronous_code_pushes_a_flow(ran: Eager) -> None:
    handle = (make.s('a') >> name_of).push()
    assert handle.wait_result() == 'a'
    assert names_of(ran) == ['make', 'name_of']


async def test_no_synchronous_code_blocks_an_event_loop() -> None:
    with pytest.raises(TorrelqueError, match='an event loop runs here'):
        make.s('a').push()
