"""Flows through workers, on real servers."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import redis.asyncio

import typed_flows
from torrelque import (
    Torrelque,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
)
from torrelque.flows import FlowFailedError, FlowProgress, any_failed, current_flow, first, gather
from torrelque.tasks import TaskFailedError, Tasks, current
from torrelque.testing import run_until_idle, using
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')
seen: list[Any] = []
broken: set[str] = set()


@dataclasses.dataclass
class Item:
    name: str
    day: dt.date


@app.task
async def make(name: str) -> Item:
    if name in broken:
        raise ValueError(f'{name} is broken')
    return Item(name, dt.date(2026, 11, 29))


@app.task
def name_of(item: Item) -> str:
    return item.name


@app.task(run_in='process')
def pid_of(item: Item) -> tuple[str, int]:
    return item.name, os.getpid()


@app.task
async def note(value: Any = None) -> Any:
    seen.append(value)
    return value


@app.task
async def numbers(count: int) -> list[int]:
    return [*range(count)]


@app.task
async def fragile(number: int) -> int:
    if str(number) in broken:
        raise ValueError(f'{number} is broken')
    seen.append(number)
    return number


@app.task
async def wait() -> None:
    seen.append('waits')
    await asyncio.get_running_loop().create_future()


@app.task(max_attempts=2, retry=0)
async def adds_twice(count: int) -> list[str]:
    added = await current_flow().add(gather(*(note.s(number) for number in range(count))) >> note)
    if current().attempt == 1:
        raise ValueError('after it has added')
    return added


@app.task
async def adds_once() -> list[str]:
    return await current_flow().add(note.s('added'))


at_work: list[int] = []


@app.fifo(queue='orders')
async def in_order(number: int) -> int:
    at_work.append(number)
    await asyncio.sleep(0)
    count = len(at_work)
    at_work.remove(number)
    return count


@app.task
async def gives() -> None:
    await current_flow().push('key', {'n': [1]})


@app.task
def takes() -> Any:
    flow = current_flow()
    return [flow.wait(flow.pull('key')), flow.wait(flow.pull('none', 'default')), flow.name, flow.id]


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


async def test_a_flow_that_stands_still_says_so_at_once_and_goes_on_by_a_redrive(used: Torrelque) -> None:
    broken.add('a')
    async with Worker(app, max_attempts=1):
        handle = await ((make.s('a') | make.s('b')) >> note).options(flow_id='mine').enqueue()
        with pytest.raises(FlowFailedError) as caught:
            await handle.result(60)
        assert str(caught.value).endswith("flow 'mine' stands still: make: ValueError: a is broken")
        assert caught.value.status is TorrelqueTaskStatus.WAITING and caught.value.queue == used.name
        assert [*caught.value.failed] == ['make']
        await handle.task('make-2').result(60)
        assert await handle.progress() == FlowProgress(3, 2, 1, 0)
        with pytest.raises(FlowFailedError, match='stands still'):
            await app.flow('mine').result(60)
        with pytest.raises(TaskFailedError, match='is dead: ValueError: a is broken'):
            await handle.task('make').result(60)
        broken.clear()
        assert await handle.redrive() == 1
        assert len(await handle.result(60)) == 2


@pytest.mark.parametrize('on_failure', ['skip', 'cancel'])
async def test_what_runs_at_the_end_runs_when_all_else_has_ended(used: Torrelque, on_failure: Any) -> None:
    broken.add('a')
    flow = make.s('a') >> name_of >> note
    flow.at_end(note.s('end'))
    async with Worker(app, max_attempts=1):
        handle = await flow.options(on_failure=on_failure).enqueue()
        with pytest.raises(FlowFailedError, match='make: ValueError: a is broken'):
            await handle.result(60)
        await handle.task('note-2').result(60)
    assert seen == ['end']
    status = {'skip': TorrelqueTaskStatus.REJECTED, 'cancel': TorrelqueTaskStatus.CANCELLED}[on_failure]
    assert (await handle.state()).status is status


async def test_a_flow_is_cancelled(used: Torrelque) -> None:
    flow = wait.s() >> note.s('never')
    flow.at_end(note.s('end'))
    async with Worker(app):
        handle = await flow.enqueue()
        async with aclosing(handle.task('wait').watch(60)) as states:
            async for state in states:
                if state.status is TorrelqueTaskStatus.WORKING:
                    break
        assert await handle.cancel()
        with pytest.raises(FlowFailedError, match='is cancelled'):
            await handle.result(60)
        await handle.task('note-2').result(60)
    assert seen == ['waits', 'end']


async def test_a_flow_has_its_time(used: Torrelque) -> None:
    flow = wait.s() >> note.s('never')
    flow.at_end(note.s('end'))
    async with Worker(app):
        handle = await flow.options(timeout=0.1).enqueue()
        with pytest.raises(FlowFailedError, match='is cancelled: its time is over') as caught:
            await handle.result(60)
        assert caught.value.failed == {}
        await handle.task('note-2').result(60)
    assert seen[-1] == 'end' and 'never' not in seen


async def test_a_result_that_does_not_come_in_time_is_not_waited_for(used: Torrelque) -> None:
    handle = await note.s(1).enqueue()
    with pytest.raises(TorrelqueTimeoutError):
        await handle.result(0)


async def test_the_first_and_any_failed(used: Torrelque) -> None:
    broken.add('a')
    one, two = make.s('a'), make.s('b')
    chosen = first(one, two) >> name_of
    any_failed(one, two)(note.s('failed'))
    async with Worker(app, max_attempts=1):
        handle = await chosen.options(on_failure='skip').enqueue()
        assert await handle.task('name_of').result(60) == 'b'
        await handle.task('note').result(60)
    assert seen == ['failed']


async def test_a_map_of_nothing_and_maps_of_maps(used: Torrelque) -> None:
    async with Worker(app):
        assert await (await (numbers.s(0).map(note) >> note).enqueue()).result(60) == []
        assert await (await numbers.s(3).map(numbers).map(note, limit=1).enqueue()).result(60) == [[], [0], [0, 1]]
    limits = await used.get_limits()
    assert limits[f'map:{note.name}'].concurrency == 1


async def test_the_end_of_a_map_is_that_of_all_its_calls(used: Torrelque) -> None:
    broken.add('1')
    calls = numbers.s(3).map(fragile)
    calls.at_end(note.s('end')).if_failed(note.s('failed'))
    async with Worker(app, max_attempts=1):
        handle = await (calls >> note).options(on_failure='skip').enqueue()
        with pytest.raises(FlowFailedError, match=r'fragile.1: ValueError: 1 is broken'):
            await handle.result(60)
        assert sorted(seen, key=str) == [0, 2, 'end', 'failed'] and seen.index('end') >= 2
        hows = {outcome.name: outcome.how async for outcome in handle.outcomes()}
        assert hows.pop('fragile.1') == hows.pop('note-3') == 'failed' and {*hows.values()} == {'completed'}

        broken.clear()
        calls = numbers.s(2).map(fragile)
        calls.if_failed(note.s('failed'))
        handle = await calls.enqueue()
        assert await handle.result(60) == [0, 1]
        with pytest.raises(TaskFailedError, match="note' is cancelled"):
            await handle.task('note').result(60)


async def test_a_map_goes_on_where_what_comes_behind_it_was_skipped(used: Torrelque) -> None:
    broken.add('a')
    handle = await (gather(make.s('a'), numbers.s(2).map(note)) >> note).options(on_failure='skip').enqueue()
    async with Worker(app, max_attempts=1, concurrency=1):
        with pytest.raises(FlowFailedError, match='make: ValueError: a is broken'):
            await handle.result(60)
    hows = {outcome.name: outcome.how async for outcome in handle.outcomes()}
    assert hows == {
        'make': 'failed', 'numbers': 'completed', 'note': 'completed', 'note-2': 'failed', 'note.0': 'completed',
        'note.1': 'completed',
    }  # fmt: skip


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


async def test_nothing_can_be_told_of_a_flow_of_which_nothing_is_kept(used: Torrelque) -> None:
    handle = await note.s(1).options(result_ttl=0).enqueue()
    waiting = asyncio.ensure_future(handle.result(60))
    async with Worker(app):
        with pytest.raises(TorrelqueLookupError):
            await waiting


async def test_a_result_that_was_lost_is_told_of(used: Torrelque) -> None:
    handle = await (note.s(1) >> note).options(flow_id='mine').enqueue()
    kept = f'{used.keys["done"]}:mine'
    async with Worker(app):
        await handle.result(60)
        await used.command('HDEL', kept, 'mine.note-2')
        with pytest.raises(TorrelqueLookupError, match=r"the result of 'mine.note-2' is not there: it has not ended"):
            await handle.result(60)
    other = await (note.s(1) >> note).options(flow_id='other').enqueue()
    task_id, _ = await used.dequeue()
    await used.release(task_id, result=1)
    await used.command('HDEL', f'{used.keys["done"]}:other', 'other.note')
    async with Worker(app):
        with pytest.raises(FlowFailedError, match=r"note-2: .*Reject: the result of 'other.note' is not there"):
            await other.result(60)


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


async def test_a_queue_is_idle_where_a_flow_stands_still(used: Torrelque) -> None:
    broken.add('a')
    handle = await (note.s(1) >> make.s('a') >> name_of).enqueue()
    await run_until_idle(app, max_attempts=1)
    assert await handle.progress() == FlowProgress(3, 2, 1, 0)
    broken.clear()
    await handle.redrive()
    await run_until_idle(app, max_attempts=1)
    assert await handle.result(60) == 'a'


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
