"""Bulk acts while tasks go on: an act changes only what still is what was selected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest
import redis.asyncio

import torrelque.sync
from support.burying import bury, die, hand_out, work_on
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.operate import Operator, Outcome, Selection, pages, places
from torrelque.testing import Clock

pytestmark = pytest.mark.first_server

Other = torrelque.sync.Torrelque


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    """The queue of the test, behind a line that can be held."""
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.fixture
def other(server: RealServer, queue_name: str) -> Iterator[Other]:
    """Whoever works meanwhile."""
    with server.sync_client() as client, Other(client, queue=queue_name) as queue:
        yield queue


def figures(outcome: Outcome) -> tuple[int, int, dict[str, int]]:
    return outcome.matched, outcome.done, dict(outcome.refused)


def when_one_is_done(change: Callable[[], object]) -> Callable[[Outcome], None]:
    """A progress that changes something once, between two tasks of the act."""
    changed: list[object] = []

    def watch(outcome: Outcome) -> None:
        if outcome.done == 1 and not changed:
            changed.append(change())

    return watch


async def statuses(queue: Torrelque, ids: Sequence[str]) -> list[Status]:
    return [(await queue.get_task_state(task_id)).status for task_id in ids]


# Before its turn comes


def take(other: Other, ids: Sequence[str]) -> None:
    """All that are left are worked on."""
    assert len(other.dequeue_many(10)) == 4


def give_back_late(other: Other, ids: Sequence[str]) -> None:
    """All that are left were worked on, and have been pending for no time."""
    for task_id, _ in other.dequeue_many(10):
        assert other.requeue(task_id)


def enqueue_anew(other: Other, ids: Sequence[str]) -> None:
    """The ids of all that are left are those of other tasks."""
    for task_id in ids:
        if other.cancel(task_id):
            other.enqueue('another', task_id=task_id)


@pytest.mark.parametrize(
    ('change', 'selection', 'status'),
    [
        (take, Selection(), Status.WORKING),
        (take, Selection(status='pending'), Status.WORKING),
        (give_back_late, Selection(older=0), Status.PENDING),
        (enqueue_anew, Selection(), Status.PENDING),
        (enqueue_anew, Selection(text='first'), Status.PENDING),
    ],
)
async def test_what_has_changed_before_its_turn_comes_is_left(
    queue: Torrelque, other: Other, change: Callable[[Other, Sequence[str]], None], selection: Selection, status: Status
) -> None:
    ids = [await queue.enqueue('first', task_id=f'own-{n}') for n in range(5)]
    outcome = await Operator(queue).cancel(
        selection, rate=8, on_progress=when_one_is_done(lambda: change(other, ids))
    )
    assert figures(outcome) == (5, 1, {'changed': 4})
    assert sorted(await statuses(queue, ids)) == sorted([Status.CANCELLED, *[status] * 4])


async def test_ids_alone_are_meant_whatever_has_become_of_them(queue: Torrelque, other: Other) -> None:
    ids = [*map(str, await queue.enqueue_many(range(5)))]
    outcome = await Operator(queue).cancel(
        Selection(ids=ids), rate=8, on_progress=when_one_is_done(lambda: take(other, ids))
    )
    assert figures(outcome) == (5, 5, {})


async def test_what_has_ended_before_its_turn_comes_is_counted_by_why(queue: Torrelque, other: Other) -> None:
    await die(queue, 5)
    ids = [task.id for task in await Operator(queue).page('dead')]

    def go_on() -> None:
        other.redrive(ids[1])
        (done, _), (failed, _) = other.dequeue_many(2)
        assert (done, failed) == (ids[0], ids[1])
        assert other.release(done) and other.bury(failed, error='again')
        other.redrive(ids[2])
        other.cancel(ids[3])

    outcome = await Operator(queue).redrive(Selection(), rate=8, on_progress=when_one_is_done(go_on))
    # One that has died anew is not brought back a second time.
    assert figures(outcome) == (5, 2, {'not_dead': 2, 'changed': 1})
    assert (await queue.get_task_state(ids[1])).error == 'again'


async def test_what_dies_again_is_not_brought_back_though_a_clock_was_set_back(
    client: redis.asyncio.Redis, queue: Torrelque, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A walk of many thousands, in small.
    monkeypatch.setattr(pages, 'PART', 1)
    monkeypatch.setattr(places, 'REMEMBERED', 0)
    ids = await die(queue, 4)
    await client.zadd(queue.keys['dead'], {ids[3]: 4_000_000_000_000})
    again: list[str] = []

    def fail(outcome: Outcome) -> None:
        if outcome.done and other.get_queue_stats().pending and len(again) < 20:
            held, _ = other.dequeue(0)
            assert other.bury(held, error='again')
            again.append(held)

    outcome = await Operator(queue).redrive(Selection(), rate=8, on_progress=fail)
    assert figures(outcome) == (4, 4, {}) and {*again} <= {*ids} and len(again) in (3, 4)


async def test_an_orphan_whose_holder_has_come_back_is_left(queue: Torrelque, other: Other) -> None:
    held = await work_on(queue, [*range(4)], task_timeout=100)
    await Clock(queue).move(60)
    outcome = await Operator(queue).requeue(
        Selection(status='orphaned'),
        rate=8,
        on_progress=when_one_is_done(lambda: [other.touch(task_id) for task_id in held]),
    )
    assert figures(outcome) == (4, 1, {'changed': 3})


@pytest.mark.parametrize('act', ['requeue', 'bury'])
async def test_what_was_handed_out_anew_before_its_turn_comes_stays_with_its_holder(
    queue: Torrelque, other: Other, act: str
) -> None:
    held = await work_on(queue, [*range(4)], task_timeout=100)
    again: list[str] = []

    def hand_on() -> None:
        for task_id in held:
            other.requeue(task_id)
        again.extend(task_id for task_id, _ in other.dequeue_many(10))

    outcome = await getattr(Operator(queue), act)(
        Selection(status='working'), rate=8, on_progress=when_one_is_done(hand_on)
    )
    assert figures(outcome) == (4, 1, {'lease_lost': 3})
    done = [other.release(task_id) for task_id in again]
    assert sum(done) >= 3


# At the last moment: when the call is on its way


async def test_what_is_taken_at_the_last_moment_is_not_cancelled(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy
) -> None:
    await queue.enqueue_many(range(10))
    gate = proxy.hold_request(calls_of('cancel'))
    running = asyncio.ensure_future(Operator(faulty).cancel(Selection(status='pending')))
    await gate.arrived.wait()
    held = await hand_out(queue, 5)
    await bury(queue, held[:2])
    gate.open()
    assert figures(await running) == (10, 5, {'changed': 5})
    assert await statuses(queue, held) == [Status.DEAD] * 2 + [Status.WORKING] * 3
    assert await queue.release(held[4])


@pytest.mark.parametrize('act', ['requeue', 'bury'])
async def test_what_is_handed_out_anew_at_the_last_moment_stays_with_its_holder(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, act: str
) -> None:
    held = await work_on(queue, [*range(10)], task_timeout=100)
    gate = proxy.hold_request(calls_of(act))
    running = asyncio.ensure_future(getattr(Operator(faulty), act)(Selection()))
    await gate.arrived.wait()
    for task_id in held[:5]:
        assert await queue.requeue(task_id)
    again = await hand_out(queue, 3)
    gate.open()
    assert figures(await running) == (10, 5, {'lease_lost': 3, 'not_working': 2})
    for task_id in again:
        assert await queue.release(task_id)
