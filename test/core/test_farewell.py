"""What is on its way when an event loop ends is carried out, and a server that does not answer holds nobody up."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import pytest

from support.bounding import Bound
from support.servers import MakeServer, RealServer
from support.waiting import until_idle
from torrelque import Torrelque

pytestmark = pytest.mark.filterwarnings('ignore::ResourceWarning')


async def settle(server: RealServer) -> object:
    """Two calls to a server that stands still, of which the second is large; whatever must be kept meanwhile."""
    queue = Torrelque(server.client())
    await queue.enqueue_many(range(2))
    (one, _), (other, _) = await queue.dequeue_many(2)
    server.pause()
    calls = [asyncio.ensure_future(queue.release(one)), asyncio.ensure_future(queue.requeue(other))]
    await asyncio.sleep(0)
    return queue, calls


def test_all_calls_of_a_loop_that_ends_reach_a_server_that_is_slow(make_server: MakeServer, bound: Bound) -> None:
    bound(claim_closing=240.0)
    server = make_server()
    goes_on = threading.Event()

    def resume() -> None:
        goes_on.set()
        server.resume()

    async def main() -> object:
        kept = await settle(server)
        threading.Timer(0.2, resume).start()
        return kept

    asyncio.run(main())
    assert goes_on.is_set()
    gc.collect()
    asyncio.run(until_idle(server, 60, 1))


@pytest.mark.one_server
def test_consumers_that_end_with_their_loop_strand_nothing(server: RealServer, bound: Bound) -> None:
    bound(claim_closing=120.0, closing=30.0)  # A busy machine needs longer.

    async def main(turns: int) -> object:
        client = server.client()
        queue = Torrelque(client)

        async def consume() -> None:
            while True:
                task_id, _ = await queue.dequeue()
                await queue.release(task_id)

        kept = queue, [asyncio.ensure_future(consume()) for _ in range(10)]
        await queue.enqueue_many(range(300))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()
        return kept

    for turns in range(0, 40, 3):
        asyncio.run(main(turns))
        gc.collect()
        asyncio.run(until_idle(server, 60))
        with server.sync_client() as client:
            client.flushall()


@pytest.mark.one_server
def test_a_waiter_that_is_cancelled_waits_for_what_its_claim_brings(make_server: MakeServer, bound: Bound) -> None:
    bound(claim_closing=240.0)
    server = make_server()

    async def main() -> object:
        queue = Torrelque(server.client())
        await queue.enqueue(1)
        server.pause()
        waiter = asyncio.ensure_future(queue.dequeue())
        await asyncio.sleep(0)
        threading.Timer(0.2, server.resume).start()
        waiter.cancel()
        await asyncio.wait([waiter])
        return queue

    # It ends without the last turns that `asyncio.run` gives it.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    asyncio.run(until_idle(server, 60, 1))


def test_a_server_that_does_not_answer_keeps_no_loop_from_its_end(make_server: MakeServer, bound: Bound) -> None:
    bound(claim_closing=0.1)
    server = make_server()
    try:
        asyncio.run(settle(server))
        gc.collect()
    finally:
        server.resume()


def test_a_queue_that_is_closed_leaves_nothing_that_its_loop_would_wait_for(server: RealServer) -> None:
    async def main() -> None:
        begun: list[Any] = []
        sys.set_asyncgen_hooks(firstiter=begun.append)
        async with server.client() as client, Torrelque(client) as queue, Torrelque(client, queue='other') as other:
            await queue.enqueue(1)
            await other.enqueue(1)
        assert [farewell.ag_frame for farewell in begun] == [None]

    asyncio.run(main())
