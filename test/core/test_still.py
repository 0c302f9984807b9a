"""Whoever comes to wait where the last claim has left nothing does without a claim of its own, and misses nothing."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy
from support.servers import RealServer
from support.waiting import until, until_waiting
from torrelque import Torrelque, TorrelqueTimeoutError
from torrelque.aio.link import Link, Request
from torrelque.sync.fetcher import Fetch

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

TASKS = 20


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """How many calls of each script, and blocks at the bell, were sent."""
    counts: collections.Counter[str] = collections.Counter()
    submit = Link.submit

    def count(link: Link, request: Request) -> None:
        counts[request.transition.name if request.transition else str(request.args[0])] += 1
        submit(link, request)

    monkeypatch.setattr(Link, 'submit', count)
    return counts


async def make_still(queue: Torrelque) -> None:
    """Claim in vain."""
    with pytest.raises(TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert queue._session is not None
    assert queue._session.shelf.still


@pytest.mark.parametrize('loops', [1, 5])
async def test_a_task_now_and_then_is_one_claim(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    endless: None,
    sent: collections.Counter[str],
    loops: int,
) -> None:
    taken: asyncio.Queue[int] = asyncio.Queue()

    async def consume(consumer: Torrelque) -> None:
        while True:
            task_id, task = await consumer.dequeue()
            await consumer.release(task_id)
            taken.put_nowait(task)

    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as consumer:
        consuming = [asyncio.ensure_future(consume(consumer)) for _ in range(loops)]
        for n in range(-1, TASKS):
            await until_waiting(client)
            if n == 0:
                sent.clear()
                # However busy the machine is, the bell does not seem to have rung before it was listened at.
                consumer._started().shelf._took = 0.0
            await queue.enqueue(n)
            assert await asyncio.wait_for(taken.get(), 60) == n
        assert TASKS <= sent['claim'] <= TASKS + 1, sent
        assert sent['leave'] == 0
        for each in consuming:
            each.cancel()
        await asyncio.wait(consuming)


async def test_who_enqueues_and_dequeues_by_turns_does_not_wait_for_the_bell(
    queue: Torrelque, endless: None, sent: collections.Counter[str]
) -> None:
    await make_still(queue)
    sent.clear()
    for n in range(TASKS):
        await queue.enqueue(n)
        task_id, task = await queue.dequeue()
        assert task == n
        await queue.release(task_id)
    assert sent['BLPOP'] < TASKS / 2, sent


async def test_who_does_not_wait_asks_all_the_same(queue: Torrelque, sent: collections.Counter[str]) -> None:
    for _ in range(3):
        await make_still(queue)
    assert (sent['claim'], sent['BLPOP']) == (3, 0)


async def test_a_time_that_is_over_before_any_reply_ends_with_a_claim(
    proxy: Proxy, queue_name: str, hasty: None, sent: collections.Counter[str]
) -> None:
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as queue:
        await make_still(queue)
        for _ in range(3):
            with pytest.raises(TorrelqueTimeoutError, match='no task came within') as caught:
                await queue.dequeue(0.01)
            assert caught.value.replied
        assert sent['claim'] == 4
        proxy.silent = True
        with pytest.raises(TorrelqueTimeoutError, match='no reply of the server'):
            await queue.dequeue(0.01)
        proxy.silent = False
        proxy.cut()


async def test_who_comes_while_the_connection_to_the_bell_is_dead_is_served_when_a_block_is_over(
    proxy: Proxy, queue: Torrelque, queue_name: str, bound: Bound
) -> None:
    # Nobody finds out that it is dead.
    bound(silence=1e6, guard_looks=10**6, block=0.5)
    async with proxy.client() as own, Torrelque(own, queue=queue_name) as deaf:
        gate = proxy.hold_request(b'BLPOP')
        await make_still(deaf)
        waiting = asyncio.ensure_future(deaf.dequeue())
        await gate.arrived.wait()
        await queue.enqueue(1)
        assert (await asyncio.wait_for(waiting, 60))[1] == 1
        gate.open()


async def test_a_ring_that_nobody_has_heard_is_there_for_who_comes(
    server: RealServer, queue: Torrelque, queue_name: str, endless: None, sent: collections.Counter[str]
) -> None:
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        await make_still(other)
        await queue.enqueue_many(range(3))
        sent.clear()
        assert [(await asyncio.wait_for(other.dequeue(), 60))[1] for _ in range(3)] == [0, 1, 2]
        # It is told that work is left, and waits for the bell no more.
        assert (sent['BLPOP'], sent['claim']) == (1, 3)


async def test_a_ring_that_another_has_taken_is_rung_on_when_it_leaves_work(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None
) -> None:
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            takes = asyncio.ensure_future(one.dequeue())
            await until_waiting(client)
            await make_still(two)
            await queue.enqueue_many(range(2))
            assert (await asyncio.wait_for(takes, 60))[1] == 0
            assert (await asyncio.wait_for(two.dequeue(), 60))[1] == 1


async def test_who_was_given_back_its_task_asks(queue: Torrelque, endless: None) -> None:
    """The call that gives it back is on its way over the same connection, and the bell on another."""
    await make_still(queue)
    waiting = asyncio.ensure_future(queue.dequeue())
    session = queue._started()
    await until(lambda: session.shelf._bell.call)
    waiting.cancel()
    await asyncio.wait([waiting])
    session.shelf.give_back([])
    assert not session.shelf.still


# Threads


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """How many claims threads have made, and how often they have listened."""
    counts: collections.Counter[str] = collections.Counter()
    for name in ('_claim', '_listen'):
        real = getattr(Fetch, name)

        def count(fetch: Fetch, *args: Any, _name: str = name, _real: Any = real) -> Any:
            counts[_name] += 1
            return _real(fetch, *args)

        monkeypatch.setattr(Fetch, name, count)
    return counts


async def test_a_task_now_and_then_is_one_claim_of_a_thread(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    endless: None,
    called: collections.Counter[str],
) -> None:
    with server.sync_client() as own, torrelque.sync.Torrelque(own, queue=queue_name) as threads:
        for n in range(-1, TASKS):
            waiting = asyncio.ensure_future(asyncio.to_thread(threads.dequeue))
            await until_waiting(client)
            if n == 0:
                called.clear()
                threads._fetcher.took = 0.0
            await queue.enqueue(n)
            task_id, task = await asyncio.wait_for(waiting, 60)
            assert task == n
            await asyncio.to_thread(threads.release, task_id)
        assert TASKS <= called['_claim'] <= TASKS + 1, called


async def test_a_thread_that_does_not_wait_asks_all_the_same(
    server: RealServer, queue_name: str, called: collections.Counter[str]
) -> None:
    with server.sync_client() as own, torrelque.sync.Torrelque(own, queue=queue_name) as threads:
        for _ in range(3):
            with pytest.raises(TorrelqueTimeoutError):
                await asyncio.to_thread(threads.dequeue, 0)
        assert (called['_claim'], called['_listen']) == (3, 0)
        # Whose time is over asks before it says so.
        with pytest.raises(TorrelqueTimeoutError):
            await asyncio.to_thread(threads.dequeue, 0.01)
        assert (called['_claim'], called['_listen']) == (4, 1)


async def test_a_ring_that_no_thread_has_heard_is_there_for_who_comes(
    server: RealServer, queue: Torrelque, queue_name: str, endless: None, called: collections.Counter[str]
) -> None:
    with server.sync_client() as own, torrelque.sync.Torrelque(own, queue=queue_name) as threads:
        with pytest.raises(TorrelqueTimeoutError):
            await asyncio.to_thread(threads.dequeue, 0)
        await queue.enqueue_many(range(3))
        called.clear()
        taken = [(await asyncio.to_thread(threads.dequeue, 60))[1] for _ in range(3)]
        assert taken == [0, 1, 2]
        assert (called['_listen'], called['_claim']) == (1, 3)
