"""Flows through workers, on real servers: what is handed on, and to whom."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

import typed_flows
from support.stepping import (
    Item,
    adds_once,
    adds_twice,
    app,
    broken,
    gives,
    in_order,
    made_of,
    make,
    name_of,
    note,
    numbers,
    numbers_of,
    pid_of,
    seen,
    takes,
)
from torrelque import (
    Torrelque,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueNode,
    TorrelqueTaskStatus,
)
from torrelque.flows import FlowFailedError, gather
from torrelque.testing import using
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server


@pytest.fixture
async def used(queue: Torrelque) -> AsyncIterator[Torrelque]:
    seen.clear()
    broken.clear()
    async with using(app, queue):
        yield queue


async def test_the_typed_examples_run(queue: Torrelque) -> None:
    typed_flows.done.clear()
    async with using(typed_flows.app, queue):
        async with Worker(typed_flows.app, max_attempts=1):
            assert await typed_flows.etl() == 2
            await (await typed_flows.order(7)).result(60)
            assert await typed_flows.images('zip') == 'ZIP/A, ZIP/B, ZIP/C'
            with pytest.raises(FlowFailedError, match='is rejected: charge: ValueError: no money'):
                await (await typed_flows.journey('rome')).result(60)
            assert await (await typed_flows.more().enqueue()).result(60) == 2
            await typed_flows.nightly()
            firing = await typed_flows.app.schedules.fire('nightly')
            nightly = typed_flows.app.flow(await firing.result(60))
            await nightly.result(60)
            assert nightly.id == f'{firing.id}.flow'
    assert sorted(typed_flows.done) == [
        '2 of 3 into sales', 'mail 14.0', 'removed zip', 'thanks for invoice 7 and parcel 7',
        'undo book_flight: flight of rome', 'undo book_hotel: hotel of rome',
    ]  # fmt: skip


async def test_results_reach_functions_in_loops_threads_and_processes_by_their_types(used: Torrelque) -> None:
    item = make.s('a')
    flow = gather(name_of.s(item.result), pid_of.s(item.result), note.s({'x': [item.result]}), item)
    async with Worker(app):
        handle = await flow.enqueue()
        name, (other, pid), noted, made = await handle.result(60)
    assert (name, other, made) == ('a', 'a', Item('a', dt.date(2026, 11, 29)))
    assert pid != os.getpid() and noted == {'x': [{'name': 'a', 'day': '2026-11-29'}]}
    with pytest.raises(TorrelqueLookupError):
        await handle.task('nobody').result(60)
    assert await handle.task('make').result(60) == Item('a', dt.date(2026, 11, 29))


async def test_nothing_is_left_but_what_is_said_to_be_kept(used: Torrelque, client: redis.asyncio.Redis) -> None:
    async with Worker(app):
        handle = await (numbers.s(3).map(note) >> note).options(flow_id='mine').enqueue()
        await handle.result(60)
    await (numbers.s(3).map(note) >> note).options(flow_id='mine too', result_ttl=0).enqueue()
    await Worker(app, burst=True).run()
    left = sorted(os.fsdecode(key).rpartition('}')[2] for key in await client.keys(f'{{{used.name}}}*'))
    assert [key for key in left if 'mine' in key] == [':done:mine', ':task:mine'] and len(seen) == 8


async def test_another_process_has_a_handle_by_the_id(used: Torrelque) -> None:
    async with Worker(app):
        handle = await (make.s('a') >> name_of).options(flow_id='mine', name='items').enqueue()
        await handle.result(60)
        made = await make.s('b').options(flow_id='yours').enqueue()
        assert await made.result(60) == await app.flow('yours').result(60) == Item('b', dt.date(2026, 11, 29))
    assert await app.flow('mine').result(60) == 'a'
    assert (await used.get_flow('mine')).name == 'items'
    with pytest.raises(TorrelqueLookupError):
        await app.flow('nobodys').result(60)
    with pytest.raises(TorrelqueDuplicateError):
        await make.s('a').options(flow_id='mine').enqueue()
    await used.enqueue_flow([], flow_id='bare', task=5)
    with pytest.raises(TorrelqueError, match="'bare' is no flow of decorated functions"):
        await app.flow('bare').result(60)


async def test_a_map_of_nothing_and_maps_of_maps(used: Torrelque) -> None:
    async with Worker(app):
        assert await (await (numbers.s(0).map(note) >> note).enqueue()).result(60) == []
        assert await (await numbers.s(3).map(numbers).map(note, limit=1).enqueue()).result(60) == [[], [0], [0, 1]]
    limits = await used.get_limits()
    assert limits[f'map:{note.name}'].concurrency == 1


async def test_what_an_attempt_has_added_is_not_added_again(used: Torrelque) -> None:
    async with Worker(app):
        handle = await adds_twice.s(3).enqueue()
        names = await handle.result(60)
    assert names == ['adds_twice.note', 'adds_twice.note-2', 'adds_twice.note-3', 'adds_twice.note-4']
    assert sorted(map(str, seen)) == ['0', '1', '2', '[0, 1, 2]']


async def test_outcomes_come_in_the_order_of_the_flow(used: Torrelque) -> None:
    row = note.s(0)
    for number in range(1, 600):
        row = row >> note.s(number)
    handle = await row.enqueue()
    outcomes = [outcome async for outcome in handle.outcomes()]
    assert [outcome.name for outcome in outcomes] == ['note', *(f'note-{number}' for number in range(2, 601))]
    assert {outcome.how for outcome in outcomes} == {None}


async def test_each_task_has_its_result_by_its_type(used: Torrelque) -> None:
    day = dt.date(2026, 11, 29)
    flow = make.s('a') >> name_of >> numbers_of >> note
    made = numbers.s(2).map(made_of) >> note
    async with Worker(app):
        handle, other = await flow.enqueue(), await made.enqueue()
        await handle.result(60)
        await other.result(60)
        for one, two in ((handle, other), (app.flow(handle.id), app.flow(other.id))):
            assert await one.task('make').result(60) == Item('a', day)
            assert await two.task('made_of.1').result(60) == Item('1', day)
            assert await two.task('made_of').result(60) == 2
        bare = await used.enqueue_flow([TorrelqueNode('x', {'task': make.name, 'args': ['b']})])
        assert await app.flow(bare).task('x').result(60) == {'name': 'b', 'day': '2026-11-29'}


async def test_ids_and_names_may_be_any_text(used: Torrelque) -> None:
    flow_id, name = 'ä.b c\n{x}:\U0001f600', "a \"b'"
    flow = (numbers.s(2).named(name).map(note) | adds_once.s().named('add s')) >> note
    async with Worker(app):
        handle = await flow.options(flow_id=flow_id, name='ä').enqueue()
        assert await handle.result(60) == [0, 1, ['add s.note']]
        assert await handle.task(name).result(60) == [0, 1]
    outcomes = {outcome.name: outcome.how async for outcome in app.flow(flow_id).outcomes()}
    assert {*outcomes} == {name, 'note', 'note.0', 'note.1', 'add s', 'add s.note', 'note-2'}
    assert {*outcomes.values()} == {'completed'}
    assert '["a #quot;b\'"]:::completed' in await handle.draw()


async def test_an_ordered_function_keeps_its_order_in_a_flow(used: Torrelque) -> None:
    async with Worker(app, concurrency=3):
        handle = await gather(*(in_order.s(number) for number in range(5))).enqueue()
        assert await handle.result(60) == [1, 1, 1, 1, 1]
    assert (await used.get_limits())['fifo:orders'].concurrency == 1


async def test_any_handle_has_the_result_that_a_flow_keeps(used: Torrelque) -> None:
    handle = await (note.s(1) >> note).options(flow_id='mine').enqueue()
    waiting = [asyncio.ensure_future(app.handle(f'mine.{name}').result(60)) for name in ('note', 'note-2')]
    async with Worker(app):
        assert await asyncio.gather(*waiting) == [1, 1]
        await handle.result(60)
        assert await app.handle('mine.note').result(60) == 1
        with pytest.raises(TorrelqueLookupError):
            await app.handle('mine.nobody').result(60)


async def test_a_flow_has_values_of_its_own(used: Torrelque) -> None:
    async with Worker(app):
        handle = await (gives.s() >> takes.s()).options(flow_id='mine').enqueue()
        assert await handle.result(60) == [{'n': [1]}, 'default', 'takes', 'mine']


async def test_a_call_depends_on_others(used: Torrelque) -> None:
    one, two = await note.enqueue(1), await note.enqueue(2)
    last = await note.options(depends_on=[one.id, two.id]).enqueue(3)
    assert (await last.state()).status is TorrelqueTaskStatus.WAITING
    async with Worker(app):
        assert await last.result(60) == 3
    assert seen == [1, 2, 3]


async def test_a_flow_that_was_started_is_not_started_again(used: Torrelque) -> None:
    work = (note.s(1) >> note.s(2)).pack()
    async with Worker(app):
        handles = []
        for _ in range(2):
            await used.enqueue(work.payload, task_id='firing')
            handles.append(app.handle('firing'))
            assert await handles[-1].result(60) == 'firing.flow'
            await app.flow('firing.flow').result(60)
            # Nobody knows any more that it was there, so the same comes again.
            await used.command('DEL', f'{used.keys["task"]}:firing')
    assert seen == [1, 2]


@pytest.mark.long
async def test_large_flows_run(used: Torrelque) -> None:
    async with Worker(app, concurrency=100):
        handle = await (gather(*(note.s(number) for number in range(1000))) >> note).enqueue()
        assert await handle.result(60) == [*range(1000)]
        handle = await (numbers.s(1000).map(note) >> note).enqueue()
        assert await handle.result(60) == [*range(1000)]
        row = note.s(0)
        for number in range(1, 1000):
            row = row >> note.s(number)
        assert await (await row.enqueue()).result(60) == 999
        assert [outcome.result async for outcome in (handle.outcomes())].count(None) == 0
        handle = await gather(*(made_of.s(number) for number in range(1100))).enqueue()
        results = await app.flow(handle.id).result(60)
        assert results == [Item(str(number), dt.date(2026, 11, 29)) for number in range(1100)]
