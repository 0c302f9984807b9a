"""Calls that are cancelled, objects that are closed, loops that end: nothing is stranded, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import warnings
from collections.abc import Awaitable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.proxy import calls_of, has_part, open_proxy
from support.servers import MakeServer, RealServer
from support.waiting import idle, until_idle, until_waiting
from torrelque import Torrelque

pytestmark = pytest.mark.one_server  # the kind of the server has nothing to do with them

# Calls that are cancelled


@pytest.mark.parametrize('turns', range(12))
async def test_a_waiter_cancelled_at_any_turn_strands_nothing(queue: Torrelque, turns: int) -> None:
    await queue.enqueue_many(range(3))
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    cancelled = isinstance(results[1], asyncio.CancelledError)
    await asyncio.sleep(0.02)
    stats = await queue.get_queue_stats()
    assert (stats.working, stats.pending) == ((2, 1) if cancelled else (3, 0))
    if cancelled:
        task_id, _ = await queue.dequeue(0)
        state = await queue.get_task_state(task_id)
        assert state.dequeue_count - state.forgiven == 1


@pytest.mark.parametrize('turns', range(12))
@pytest.mark.parametrize('verb', ['enqueue', 'release', 'requeue', 'touch', 'bury', 'cancel'])
async def test_a_call_cancelled_at_any_turn_is_whole_and_poisons_nothing(
    queue: Torrelque, turns: int, verb: str
) -> None:
    await queue.enqueue(0)
    taken, _ = await queue.dequeue()
    call = asyncio.ensure_future(queue.enqueue(1) if verb == 'enqueue' else getattr(queue, verb)(taken))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled() or call.result()
    assert (await queue.get_queue_stats())[0] == sum((await queue.get_queue_stats())[1:])
    await queue.enqueue(2)
    assert 2 in dict(await queue.dequeue(0, max_tasks=5)).values()


async def test_a_claim_for_waiters_that_are_gone_goes_back_to_the_head(
    server: RealServer, queue: Torrelque, queue_name: str
) -> None:
    async with open_proxy(server) as proxy, proxy.client() as slow, Torrelque(slow, queue=queue_name) as waiter:
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await waiter.dequeue(0)
        ids = await queue.enqueue_many(range(4))
        before = len(proxy.requests)
        proxy.silent = True
        waiting = [asyncio.ensure_future(waiter.dequeue()) for _ in range(3)]
        while (await queue.get_queue_stats()).working < 1:
            await asyncio.sleep(0.002)
        assert has_part(b''.join(proxy.requests[before:]), calls_of('claim'))
        for call in waiting:
            call.cancel()
        proxy.silent = False
        proxy.cut()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await idle(queue, 4)
        got = await queue.dequeue(max_tasks=10)
        assert got == list(zip(ids, range(4), strict=True))


async def test_wait_for_loses_nothing(queue: Torrelque) -> None:
    for n in range(200):
        waiting = asyncio.ensure_future(asyncio.wait_for(queue.dequeue(), n * 0.00002))
        await asyncio.sleep(0)
        await queue.enqueue(n)
        try:
            task_id, task = await waiting
        except asyncio.TimeoutError:
            task_id, task = await queue.dequeue(60)
        assert task == n
        await queue.release(task_id)
    await idle(queue)


async def test_a_settle_call_that_is_cancelled_before_it_is_sent_is_sent(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(10))
    taken = [task_id for task_id, _ in await queue.dequeue(max_tasks=10)]
    assert taken == ids
    calls = [asyncio.ensure_future(queue.release(task_id)) for task_id in taken]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await idle(queue)


async def test_a_cancelled_caller_takes_nobody_along(queue: Torrelque) -> None:
    await queue.get_queue_stats()
    first, *calls = [asyncio.ensure_future(queue.enqueue(n)) for n in range(4)]
    await first
    assert queue._session is not None
    while (batch := queue._session.batch('enqueue'))._waiting:
        await asyncio.sleep(0)
    # They are on their way together.
    assert batch._away
    calls[0].cancel()
    ids = await asyncio.wait_for(asyncio.gather(*calls[1:]), 60)
    assert calls[0].cancelled() and len(set(ids)) == 2
    assert await queue.get_queue_stats() == (4, 4, 0, 0, 0, 0)


@pytest.mark.parametrize('wanted', [1, 5])
async def test_a_waiter_cancelled_when_it_was_just_served_gives_back(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, wanted: int
) -> None:
    await queue.get_queue_stats()
    assert queue._session is not None
    waiters = queue._session.waiters

    def then_cancel(serve: Any) -> Any:
        return lambda what: (serve(what), waiters.waiting or waiting.cancel())[0]

    for name in ('deliver', 'settle'):
        monkeypatch.setattr(waiters, name, then_cancel(getattr(waiters, name)))
    waiting = asyncio.ensure_future(queue.dequeue(max_tasks=wanted))
    task_id = await queue.enqueue(1)
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await asyncio.wait_for(idle(queue, 1), 60)
    state = await queue.get_task_state(task_id)
    assert (state.dequeue_count, state.forgiven) == (1, 1)


@pytest.mark.parametrize('verb', ['stats', 'enqueue'])
async def test_a_cancelled_call_costs_no_connection(
    queue: Torrelque, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    await queue.get_queue_stats()
    assert queue._session is not None
    before = queue._session._link._transport
    call = asyncio.ensure_future(queue.get_queue_stats() if verb == 'stats' else queue.enqueue(1))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await queue.get_queue_stats()
    assert queue._session._link._transport is before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Objects that are closed


async def test_aclose_ends_waiting_calls_and_leaves_the_client(client: redis.asyncio.Redis, queue_name: str) -> None:
    queue = Torrelque(client, queue=queue_name)
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(3)]
    await until_waiting(client)
    await queue.aclose()
    for call in waiting:
        with pytest.raises(torrelque.TorrelqueError, match='closed'):
            await call
    other: Awaitable[object]
    for other in (queue.enqueue(1), queue.dequeue(0), queue.sweep(), queue.release('x'), queue.enqueue_many([1])):
        with pytest.raises(torrelque.TorrelqueError, match='closed'):
            await other
    await queue.aclose()
    assert await client.ping()
    assert await client.keys('*') == []


async def test_aclose_gives_back_what_was_claimed_meanwhile(client: redis.asyncio.Redis, queue_name: str) -> None:
    for turns in range(10):
        await client.flushdb()
        queue = Torrelque(client, queue=queue_name)
        await queue.enqueue(1)
        waiting = asyncio.ensure_future(queue.dequeue())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(queue.aclose())
        results = await asyncio.gather(waiting, return_exceptions=True)
        await closing
        async with Torrelque(client, queue=queue_name) as other:
            stats = await other.get_queue_stats()
        assert stats.pending == isinstance(results[0], torrelque.TorrelqueError)
        assert not [key for key in await client.keys('*') if b':claim:' in key]


async def test_closing_waits_for_calls_that_are_on_their_way(client: redis.asyncio.Redis, queue_name: str) -> None:
    queue = Torrelque(client, queue=queue_name)
    await queue.get_queue_stats()
    calls = [asyncio.ensure_future(call) for call in (queue.enqueue(1), queue.enqueue(2), queue.get_queue_stats())]
    await asyncio.sleep(0)
    await queue.aclose()
    assert len(await asyncio.gather(*calls)) == 3


async def test_closing_gives_back_what_a_claim_that_is_sent_again_brings(
    server: RealServer, queue: Torrelque, queue_name: str
) -> None:
    async with open_proxy(server) as proxy, proxy.client() as client:
        closing = Torrelque(client, queue=queue_name)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await closing.dequeue(0)  # from now on the server knows the script
        await queue.enqueue(1)
        proxy.lose_reply(calls_of('claim'))
        waiting = asyncio.ensure_future(closing.dequeue())
        await asyncio.sleep(0)
        proxy.refusing = True
        assert closing._session is not None
        while closing._session._link.connected:
            await asyncio.sleep(0.001)
        end = asyncio.ensure_future(closing.aclose())
        await asyncio.sleep(0.1)
        proxy.refusing = False
        await end
        with pytest.raises(torrelque.TorrelqueClosedError):
            await waiting
        assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)


@pytest.mark.parametrize('again', [False, True])
async def test_closing_that_is_cancelled_goes_on_by_itself(
    server: RealServer, queue: Torrelque, queue_name: str, again: bool
) -> None:
    await queue.enqueue(1)
    async with open_proxy(server) as proxy, proxy.client() as client:
        closing = Torrelque(client, queue=queue_name)
        await closing.get_queue_stats()
        gate = proxy.hold_reply(calls_of('claim'))
        waiting = asyncio.ensure_future(closing.dequeue())
        await gate.arrived.wait()
        end = asyncio.ensure_future(closing.aclose())
        await asyncio.sleep(0.01)
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        gate.open()
        if again:
            await closing.aclose()
            assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)
        with pytest.raises(torrelque.TorrelqueClosedError):
            await waiting
        taken, _ = await queue.dequeue(60)
        assert await queue.release(taken)


# Loops and processes


async def test_another_loop_is_refused(server: RealServer) -> None:
    client = server.client()
    queue = Torrelque(client)
    await queue.enqueue(1)

    def elsewhere() -> None:
        async def call() -> None:
            with pytest.raises(torrelque.TorrelqueError, match='event loop'):
                await queue.enqueue(2)

        asyncio.run(call())

    await asyncio.to_thread(elsewhere)
    assert (await queue.dequeue(0))[1] == 1
    await queue.aclose()
    await client.aclose()


async def test_objects_made_before_a_fork_are_told_apart(server: RealServer, queue_name: str) -> None:
    code = (
        'import asyncio, os, sys, redis.asyncio, torrelque\n'
        'client = redis.asyncio.Redis(unix_socket_path=sys.argv[1])\n'
        'queue = torrelque.Torrelque(client, queue=sys.argv[2])\n'
        'queue._calls.mark()\n'
        'async def main():\n'
        '    try:\n'
        '        await queue.enqueue(1, task_id="own")\n'
        '    except torrelque.TorrelqueDuplicateError:\n'
        '        os._exit(7)\n'
        '    os._exit(0)\n'
        'children = []\n'
        'for n in range(3):\n'
        '    if not (pid := os.fork()):\n'
        '        asyncio.run(main())\n'
        '    children.append(pid)\n'
        'codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)\n'
        'assert codes == [0, 7, 7], codes\n'
    )
    process = await asyncio.create_subprocess_exec(sys.executable, '-c', code, server.socket, queue_name)
    assert await process.wait() == 0


async def test_objects_that_are_not_closed_leave_no_connection(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str
) -> None:
    async def use(other: redis.asyncio.Redis) -> None:
        queue = Torrelque(other, queue=queue_name)
        await queue.enqueue(1)
        await queue.dequeue()
        with contextlib.suppress(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0.01)

    before = len(await client.client_list())
    async with server.client() as other:
        for _ in range(20):
            await use(other)
        while len(await client.client_list()) > before:
            gc.collect()
            await asyncio.sleep(0.01)


def test_an_object_can_be_closed_after_its_loop(server: RealServer) -> None:
    client = server.client()
    queue = Torrelque(client)

    async def use() -> None:
        await queue.enqueue(1)
        await client.aclose()

    async def close() -> None:
        await queue.aclose()
        with pytest.raises(torrelque.TorrelqueError):
            await queue.enqueue(1)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        asyncio.run(use())
        asyncio.run(close())
        gc.collect()


def test_a_settle_call_that_is_cancelled_with_its_loop_is_sent(make_server: MakeServer) -> None:
    server = make_server()

    async def main() -> Torrelque:
        client = server.client()
        queue = Torrelque(client)
        await queue.enqueue_many(range(3))
        # The server does not know the script yet, and nobody will be there to send it again, whole.
        taken = [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
        # No reply comes before the loop ends.
        server.pause()
        calls = [asyncio.ensure_future(queue.release(task_id)) for task_id in taken]
        await asyncio.sleep(0)
        await client.aclose()
        assert calls
        return queue

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        try:
            asyncio.run(main())
        finally:
            server.resume()
        gc.collect()
        asyncio.run(until_idle(server, 60, 0))
