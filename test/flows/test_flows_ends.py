"""Flows through workers, on real servers: what fails, stands still, is cancelled or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from support.stepping import app, broken, fragile, make, name_of, note, numbers, seen, wait
from torrelque import (
    Torrelque,
    TorrelqueLookupError,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
)
from torrelque.flows import FlowFailedError, FlowProgress, any_failed, first, gather
from torrelque.tasks import TaskFailedError
from torrelque.testing import run_until_idle, using
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server


@pytest.fixture
async def used(queue: Torrelque) -> AsyncIterator[Torrelque]:
    seen.clear()
    broken.clear()
    async with using(app, queue):
        yield queue


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
        with pytest.raises(TorrelqueLookupError, match=r"queue '.+': the result of 'mine.note-2' is not there"):
            await handle.result(60)
    other = await (note.s(1) >> note).options(flow_id='other').enqueue()
    task_id, _ = await used.dequeue()
    await used.release(task_id, result=1)
    await used.command('HDEL', f'{used.keys["done"]}:other', 'other.note')
    async with Worker(app):
        with pytest.raises(FlowFailedError, match=r"note-2: .*Reject: the result of 'other.note' is not there"):
            await other.result(60)


async def test_a_queue_is_idle_where_a_flow_stands_still(used: Torrelque) -> None:
    broken.add('a')
    handle = await (note.s(1) >> make.s('a') >> name_of).enqueue()
    await run_until_idle(app, max_attempts=1)
    assert await handle.progress() == FlowProgress(3, 2, 1, 0)
    broken.clear()
    await handle.redrive()
    await run_until_idle(app, max_attempts=1)
    assert await handle.result(60) == 'a'
