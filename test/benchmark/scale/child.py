"""A producer or a consumer in a process of its own.

    python -m benchmark.scale.child JSON

The argument says where the server and what the queue is.  Lines of JSON on standard input say what to do, each is
answered by one on standard output; it ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from benchmark.scale.primaries import connect
from benchmark.scale.work import Tally, drain_by_loops, drain_in_bulk, enqueue_by_loops, small_task
from torrelque import Torrelque, TorrelqueTimeoutError
from torrelque.sharded import Sharded

NAME = 'benchmark-child'
"""What the connections of children are called."""

WARM = 2
"""Tasks for each loop before the clock runs."""


class Worker:
    """Does what the lines say, with one queue object."""

    def __init__(self, queue: Torrelque | Sharded, orders: asyncio.StreamReader) -> None:
        self._queue = queue
        self._orders = orders
        self._count = 0
        self._ended = 0.0

    async def serve(self) -> None:
        while line := await self._orders.readline():
            order = json.loads(line)
            answer = await getattr(self, f'do_{order.pop("do")}')(**order)
            print(json.dumps(answer), flush=True)

    async def do_warm(self, loops: int) -> dict[str, Any]:
        """Open the connections and load the scripts; another's tasks are taken as well as our own."""
        put = len(await self._queue.enqueue_many([small_task(n) for n in range(WARM * loops)]))
        self._count = 0

        async def loop() -> None:
            while True:
                try:
                    task_id, _ = await self._queue.dequeue(0.2)
                except TorrelqueTimeoutError:
                    return
                self._done(await self._queue.release(task_id))

        await asyncio.gather(*(loop() for _ in range(loops)))
        return {'put': put, 'count': self._count}

    async def do_enqueue(self, count: int) -> dict[str, Any]:
        """Enqueue in bulk."""
        began = time.monotonic()
        put = len(await self._queue.enqueue_many(small_task(n) for n in range(count)))
        return {'count': put, 'began': began, 'ended': time.monotonic()}

    async def do_drain(self, loops: int, bulk: int = 0, watch: bool = False) -> dict[str, Any]:
        """Drain until the next line comes, which is when the queue is empty: how many, and when the last was done.

        Where it is to watch, it holds one task and follows that until the end.
        """
        held = None
        if watch:
            held, _ = await self._queue.dequeue()
            watching = asyncio.ensure_future(self._queue.wait(held))
        began = self._ended = time.monotonic()
        self._count = 0
        work = [asyncio.ensure_future(self._bulk(bulk) if bulk else self._loop()) for _ in range(loops)]
        ending = asyncio.ensure_future(self._orders.readline())
        await asyncio.wait([ending, *work], return_when=asyncio.FIRST_COMPLETED)
        for one in work:
            if one.done():
                one.result()  # a loop ends by an error only
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        ended = self._ended
        if held is not None:
            self._done(await self._queue.release(held))
            await watching
        return {'count': self._count, 'began': began, 'ended': ended}

    async def do_life(self, count: int, loops: int = 0) -> dict[str, Any]:
        """Enqueue so many tasks, and drain them: by so many loops, or in bulk; the processor time (s) of both."""
        tally, used = Tally(), time.process_time()
        if loops:
            await enqueue_by_loops(self._queue, count, loops)
        else:
            await self._queue.enqueue_many(small_task(n) for n in range(count))
        if loops:
            await drain_by_loops(self._queue, tally, count, loops)
        else:
            await drain_in_bulk(self._queue, tally, count)
        return {'count': tally.drained, 'process': time.process_time() - used}

    async def do_consume(self, loops: int, work: float = 0.0) -> dict[str, Any]:
        """Take tasks, which say when they were enqueued, until the next line comes: how long (s) each has waited.

        Each is worked on for some time, ``work`` (s) at the most.
        """
        waited: list[float] = []

        async def loop() -> None:
            while True:
                task_id, since = await self._queue.dequeue()
                waited.append(time.monotonic() - since)
                await asyncio.sleep(random.random() * work)
                await self._queue.release(task_id)

        used, began = time.process_time(), time.monotonic()
        working = [asyncio.ensure_future(loop()) for _ in range(loops)]
        await self._orders.readline()
        share = (time.process_time() - used) / (time.monotonic() - began)
        for one in working:
            if one.done():
                one.result()  # a loop ends by an error only
            one.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        return {'waited': waited, 'share': share}

    async def do_tell(self, loops: int) -> dict[str, Any]:
        """Take tasks for ever, and tell of each: its attempt, and how long (s) it has waited."""

        async def loop() -> None:
            while True:
                task_id, (number, since) = await self._queue.dequeue()
                print(json.dumps([number, task_id.attempt, time.monotonic() - since]), flush=True)
                await asyncio.sleep(random.random() * 0.01)
                await self._queue.release(task_id)

        await self._queue.ready()
        print('there', flush=True)
        await asyncio.gather(*(loop() for _ in range(loops)))
        raise AssertionError('loops end by an error only')

    async def _loop(self) -> None:
        while True:
            task_id, _ = await self._queue.dequeue()
            self._done(await self._queue.release(task_id))

    async def _bulk(self, most: int) -> None:
        while True:
            some = await self._queue.dequeue_many(most)
            self._done(sum(await self._queue.release_many([task_id for task_id, _ in some])))

    def _done(self, count: int) -> None:
        self._count += count
        self._ended = time.monotonic()


async def main() -> None:
    where = json.loads(sys.argv[1])
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with connect(where, client_name=NAME) as queue:
        await Worker(queue, orders).serve()


if __name__ == '__main__':
    asyncio.run(main())
