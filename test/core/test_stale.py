"""Whoever no longer holds a task is told so, though the reply of the call was lost and the task is gone by then."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.waiting import until_waiting
from torrelque import Torrelque, TorrelqueTaskId
from torrelque.protocol.lease import release_token

pytestmark = pytest.mark.first_server

Release = Callable[[TorrelqueTaskId], Awaitable[bool]]
HOW = ['alone', 'kept', 'in bulk', 'in a thread', 'in a thread, in bulk']


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.fixture
def threaded(proxy: Proxy, queue_name: str) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=proxy.path) as client:
        with torrelque.sync.Torrelque(client, queue=queue_name) as queue:
            yield queue


@pytest.fixture(params=HOW)
def release(request: pytest.FixtureRequest, faulty: Torrelque, threaded: Any) -> Release:
    """Release a task in one of the ways that there are."""

    async def alone(task_id: TorrelqueTaskId) -> bool:
        return await faulty.release(task_id)

    async def kept(task_id: TorrelqueTaskId) -> bool:
        return await faulty.release(task_id, result='done')

    async def in_bulk(task_id: TorrelqueTaskId) -> bool:
        return (await faulty.release_many([task_id]))[0]

    async def in_a_thread(task_id: TorrelqueTaskId) -> bool:
        return bool(await asyncio.to_thread(threaded.release, task_id))

    async def in_a_thread_in_bulk(task_id: TorrelqueTaskId) -> bool:
        return bool((await asyncio.to_thread(threaded.release_many, [task_id]))[0])

    return dict(zip(HOW, (alone, kept, in_bulk, in_a_thread, in_a_thread_in_bulk), strict=True))[request.param]


async def test_a_stale_owner_is_not_told_that_it_was_done(
    queue: Torrelque, proxy: Proxy, release: Release
) -> None:
    await queue.enqueue(1, task_timeout=0.02)
    stale, _ = await queue.dequeue()
    again, _ = await queue.dequeue()
    assert again.attempt == 2 and await queue.touch(again, task_timeout=600)
    assert await queue.release(again) is True
    proxy.lose_reply(calls_of('release'))
    assert await release(stale) is False
    assert proxy.lossless


async def test_a_lease_that_was_touched_too_little_is_over_too(
    queue: Torrelque, proxy: Proxy, release: Release
) -> None:
    await queue.enqueue(1, task_timeout=600)
    stale, _ = await queue.dequeue()
    assert await queue.touch(stale, task_timeout=0.02)
    again, _ = await queue.dequeue()
    assert await queue.release(again) is True
    proxy.lose_reply(calls_of('release'))
    assert await release(stale) is False


@pytest.mark.parametrize('way', ['claimed', 'touched', 'touched in bulk', 'touched in a thread', 'pickled'])
async def test_who_held_the_lease_when_it_called_is_told_that_it_was_done(
    queue: Torrelque, threaded: Any, proxy: Proxy, release: Release, way: str
) -> None:
    """Its first sending was carried out, and nothing is left to tell the second."""
    await queue.enqueue(1, task_timeout=0.02 if 'touched' in way else 600)
    taken, _ = await queue.dequeue()
    if way == 'touched':
        assert await queue.touch(taken, task_timeout=600)
    elif way == 'touched in bulk':
        assert await queue.touch_many([taken], task_timeout=600) == [True]
    elif way == 'touched in a thread':
        assert await asyncio.to_thread(threaded.touch, taken, task_timeout=600)
    elif way == 'pickled':
        taken = pickle.loads(pickle.dumps(taken))
    # The first lease would be over.
    await asyncio.sleep(0.03)
    proxy.lose_reply(calls_of('release'))
    assert await release(taken) is True
    assert proxy.lossless


async def test_a_stale_owner_from_another_process_is_not_told_that_it_was_done(
    queue: Torrelque, proxy: Proxy, release: Release
) -> None:
    await queue.enqueue(1, task_timeout=0.02)
    stale, _ = await queue.dequeue()
    again, _ = await queue.dequeue()
    assert await queue.release(again) is True
    proxy.lose_reply(calls_of('release'))
    assert await release(pickle.loads(pickle.dumps(stale))) is False


async def test_a_lease_that_ran_out_unnoticed_can_still_be_released(queue: Torrelque, release: Release) -> None:
    await queue.enqueue(1, task_timeout=0.02)
    taken, _ = await queue.dequeue()
    await asyncio.sleep(0.03)
    assert await release(taken) is True
    assert (await queue.get_queue_stats()).tasks == 0


async def test_stale_and_fresh_ones_of_one_call_are_told_apart(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy
) -> None:
    await queue.enqueue_many(range(3), task_timeout=0.02)
    stale = [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
    again: list[TorrelqueTaskId] = []
    while len(again) < 3:
        again += [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
    await queue.release_many(again)
    await queue.enqueue_many(range(3))
    fresh = [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
    proxy.lose_reply(calls_of('release'))
    mixed = [one for pair in zip(stale, fresh, strict=True) for one in pair]
    assert await faulty.release_many(mixed) == [False, True] * 3


async def test_the_lease_of_a_claim_that_was_asked_for_again_is_not_over_with_the_first(
    client: Any, proxy: Proxy, queue: Torrelque, faulty: Torrelque, bound: Bound
) -> None:
    await faulty.get_queue_stats()
    bound(repeat=0.5)
    waiting = asyncio.ensure_future(faulty.dequeue())
    await until_waiting(client)
    proxy.refusing = True
    proxy.cut()
    session = faulty._session
    while session is None or session.shelf._error is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    await queue.enqueue(1, task_timeout=0.4)
    proxy.refusing = False
    bound(repeat=15)
    taken, _ = await waiting
    # By the server's clock its lease may last; by the first claim it would be over.
    assert release_token(taken) in (taken.token, f'{taken.token}?400')


async def test_a_touch_that_shortens_a_lease_and_has_no_answer_counts(
    queue: Torrelque, proxy: Proxy, release: Release
) -> None:
    await queue.enqueue(1, task_timeout=600)
    stale, _ = await queue.dequeue()
    touching = asyncio.ensure_future(queue.touch(stale, task_timeout=0.02))
    await asyncio.sleep(0)
    touching.cancel()
    again, _ = await queue.dequeue()
    assert await queue.release(again) is True
    proxy.lose_reply(calls_of('release'))
    assert await release(stale) is False


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy])
async def test_a_copy_knows_the_lease(
    queue: Torrelque, proxy: Proxy, release: Release, copied: Callable[[Any], Any]
) -> None:
    await queue.enqueue(1, task_timeout=0.02)
    taken, _ = await queue.dequeue()
    assert await queue.touch(copied(taken), task_timeout=600)
    proxy.lose_reply(calls_of('release'))
    assert await release(copied(taken)) is True


async def test_an_id_that_was_never_dequeued_is_a_plain_one_though_it_was_touched(
    queue: Torrelque, proxy: Proxy, release: Release
) -> None:
    task_id = await queue.enqueue(1)
    await queue.dequeue()
    assert await queue.touch(task_id)
    assert release_token(task_id) == ''
    proxy.lose_reply(calls_of('release'))
    assert await release(task_id) is True
