"""Bulk calls: order, memory, chunks, and what is told when they fail half-way."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import redis.asyncio

import torrelque
from torrelque import Torrelque
from torrelque.aio.link import Link, Request


async def agenerate(n: int) -> AsyncIterator[int]:
    for k in range(n):
        await asyncio.sleep(0)
        yield k


@pytest.mark.parametrize('n', [0, 1, 249, 250, 251, 1003])
async def test_any_iterable_in_its_order(queue: Torrelque, n: int) -> None:
    for tasks in (range(n), list(range(n)), iter(range(n)), (k for k in range(n)), agenerate(n)):
        ids = await queue.enqueue_many(tasks)
        assert len(set(ids)) == n
        if n:
            assert await queue.dequeue(0, max_tasks=n + 1) == list(zip(ids, range(n), strict=True))


async def test_options_are_those_of_all(queue: Torrelque) -> None:
    ids = await queue.enqueue_many([1, 2], delay=60, task_timeout=7, max_attempts=3)
    for task_id in ids:
        state = await queue.get_task_state(task_id)
        assert (state.status, state.timeout, state.max_attempts) == (2, 7, 3)


async def test_large_payloads_are_sent_and_taken_in_small_calls(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    tasks = ['x' * 400_000 + str(n) for n in range(12)] + ['y' * 3_000_000]
    await queue.enqueue_many(tasks)
    got = await queue.dequeue(0, max_tasks=20)
    assert [task for _, task in got] == tasks
    for task_id, _ in got:
        await queue.requeue(task_id)
    # One call takes no more than about a megabyte; order is kept when the rest is put back.
    waiting = [asyncio.ensure_future(queue.dequeue(60)) for _ in range(13)]
    assert [(await call)[1] for call in waiting] == tasks


class BoomError(Exception):
    pass


@pytest.mark.parametrize('after', [0, 3, 250, 777])
@pytest.mark.parametrize('kind', ['iterable', 'async', 'payload'])
async def test_a_failure_half_way_tells_what_is_in(queue: Torrelque, after: int, kind: str) -> None:
    def fail() -> Iterator[object]:
        yield from range(after)
        if kind == 'payload':
            yield object()
        raise BoomError

    async def afail() -> AsyncIterator[object]:
        for k in fail():
            yield k

    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await queue.enqueue_many(afail() if kind == 'async' else fail())
    assert isinstance(caught.value.__cause__, TypeError if kind == 'payload' else BoomError)
    assert len(caught.value.task_ids) == after
    if after:
        got = await queue.dequeue(0, max_tasks=1000)
        assert got == list(zip(caught.value.task_ids, range(after), strict=True))
    assert (await queue.get_queue_stats()).pending == 0


async def test_a_full_queue_half_way(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=600) as queue:
        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            await queue.enqueue_many(range(5000))
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueFullError)
        assert caught.value.__cause__.size == 600
        assert await queue.dequeue(0, max_tasks=1000) == list(zip(caught.value.task_ids, range(600), strict=True))


async def test_a_cancelled_bulk_call_is_cancelled(queue: Torrelque) -> None:
    async def endless() -> AsyncIterator[int]:
        n = 0
        while True:
            n += 1
            yield n
            await asyncio.sleep(0)

    call = asyncio.ensure_future(queue.enqueue_many(endless()))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_other_calls_come_between(queue: Torrelque) -> None:
    bulk = asyncio.ensure_future(queue.enqueue_many({'n': n} for n in range(20_000)))
    turns = 0
    while not bulk.done():
        await queue.get_queue_stats()
        turns += 1
    assert turns > 10
    await bulk


async def test_a_large_payload_goes_by_itself(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    await queue.get_queue_stats()
    assert queue._session is not None
    call = queue._session.call

    def note(name: str, args: Sequence[Any]) -> Any:
        calls.append(sum(len(arg) for arg in args))
        return call(name, args)

    monkeypatch.setattr(queue._session, 'call', note)
    tasks = ['small'] * 10 + ['x' * 3_000_000] + ['small'] * 10 + ['y' * 2_000_000, 'z' * 2_000_000]
    ids = await queue.enqueue_many(iter(tasks))
    assert len(calls) == 5 and calls[0] < 2000 and calls[2] < 2000
    assert await queue.dequeue(0, max_tasks=50) == list(zip(ids, tasks, strict=True))


async def test_a_sequence_of_the_old_kind_is_iterable(queue: Torrelque) -> None:
    class Old:
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    assert len(await queue.enqueue_many(Old())) == 3  # type: ignore[arg-type]


async def test_a_cancelled_bulk_waiter_gives_back_in_order(queue: Torrelque) -> None:
    await queue.enqueue_many(range(2000))
    for turns in range(0, 30, 3):
        waiting = asyncio.ensure_future(queue.dequeue(max_tasks=1500))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            # It was faster than the cancellation.
            for task_id, _ in reversed(waiting.result()):
                await queue.requeue(task_id, forgive=True)
        while (await queue.get_queue_stats()).working:
            await asyncio.sleep(0.002)
    assert [n for _, n in await queue.dequeue(max_tasks=2000)] == list(range(2000))


@pytest.mark.parametrize(('group', 'bound'), [(None, 250), ('g', 50)])
@pytest.mark.long
async def test_no_call_is_longer_than_its_bounds(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, group: str | None, bound: int
) -> None:
    """The bounds are those of the data model: a longer script would stop the server for everybody."""
    # How many arguments come before those of the tasks, and how many there are of each.
    shapes = {'enqueue': (2, 3), 'release': (1, 3), 'requeue': (2, 7), 'bury': (1, 5), 'redrive': (3, 1)}
    most: collections.Counter[str] = collections.Counter()
    submit = Link.submit

    def note(link: Link, request: Request) -> None:
        name = request.transition.name if request.transition else ''
        if name in ('claim', 'sweep'):
            most[name] = max(most[name], int(request.args[{'claim': 2, 'sweep': 0}[name]]))
        elif name in shapes:
            head, each = shapes[name]
            most[name] = max(most[name], (len(request.args) - head) // each)
        submit(link, request)

    monkeypatch.setattr(Link, 'submit', note)

    async def take() -> list[Any]:
        taken: list[Any] = []
        while len(taken) < 1000:
            taken += [task_id for task_id, _ in await queue.dequeue(60, max_tasks=1000)]
        return taken

    ids = await queue.enqueue_many(range(500), group=group)
    ids += await asyncio.gather(*(queue.enqueue(n, group=group) for n in range(500)))
    await asyncio.gather(*(queue.requeue(task_id) for task_id in await take()))
    await asyncio.gather(*(queue.bury(task_id) for task_id in await take()))
    assert await queue.redrive() == 1000
    taken = await take()
    await asyncio.gather(*(queue.release(task_id) for task_id in taken[:500]))
    assert all(await queue.release_many(taken[500:]))
    await queue.sweep()
    # A release takes half as long, and a claim looks at the time itself.
    bounds = {**dict.fromkeys(shapes, bound), 'release': min(250, 2 * bound), 'redrive': 50, 'claim': 250, 'sweep': 200}
    assert most.keys() == bounds.keys() and all(most[name] <= bounds[name] for name in most), most


async def test_nothing_is_sent_behind_a_gap(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=250) as queue:

        def tasks() -> Iterator[int]:
            yield from range(750)

        async def take_turns() -> AsyncIterator[int]:
            for n in tasks():
                yield n
                if n == 740:
                    # The second call was refused by now; there is room for the third.
                    assert queue._session is not None
                    while queue._session._futures:
                        await asyncio.sleep(0.001)
                    got = await queue.dequeue(0, max_tasks=250)
                    await queue.release_many([task_id for task_id, _ in got])

        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            await queue.enqueue_many(take_turns())
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueFullError)
        assert len(caught.value.task_ids) == 250
        assert (await queue.get_queue_stats()).tasks == 0
