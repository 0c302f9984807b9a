"""Where the time of an idle pick-up goes, and what a claim would bring that waits on the server behind the block.

    python -m benchmark.speed.pickup [PICKUPS]

A consumer hears the bell over one connection and then claims over another.  Beside that, the claim is written behind
the block over the same connection: the server carries it out in the moment in which the block ends, so that one reply
wakes the consumer and not two.  Both are links alone, without the rest of a consumer, in one process, by turns.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time

from benchmark.tables import Table, as_text
from support.servers import RealServer
from torrelque.aio.client import make_connector
from torrelque.aio.link import Callback, Link, Request
from torrelque.codec import JSON
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import Claimed, read_claim

STEPS = ('the call of enqueue is built and written', 'the block ends', "the claim's reply is read")
WARM = 20


class Consumer:
    """Waits for one task at a time."""

    def __init__(self, server: RealServer) -> None:
        self.client = server.client()
        self.calls = Calls('pickup', JSON, None)
        self.link, self.bell, self.producer = (
            Link(make_connector(self.client, self.calls.keys['pending']), BOUNDS) for _ in range(3)
        )
        self._number = 0

    async def pick_up(self, armed: bool) -> list[float]:
        """ms from the call of enqueue until each of the steps."""
        got: asyncio.Future[Claimed] = self.link.loop.create_future()
        marks: list[float] = []

        def claimed(reply: object, error: Exception | None) -> None:
            assert error is None, error
            taken = read_claim(reply)
            marks.append(time.perf_counter())
            got.set_result(taken)

        def heard(reply: object, error: Exception | None) -> None:
            marks.append(time.perf_counter())
            if not armed:
                self._claim(self.link, claimed)

        self.bell.submit(Request(None, ('BLPOP', self.calls.keys['bell'], '2'), heard, repeat=False))
        if armed:
            self._claim(self.bell, claimed)
        await asyncio.sleep(random.uniform(0.015, 0.025))
        began = time.perf_counter()
        call = self.calls.enqueue({'addr': 'joe@doe.com'}, 300, None, None, None, None, 0)
        words = [*self.calls.heads['enqueue'], *call.args]
        self.producer.submit(Request(self.calls.transitions['enqueue'], words, lambda reply, error: None))
        marks.append(time.perf_counter())
        [(task_id, _)] = (await got).tasks
        await self.link.call(self.calls.transitions['release'], ['', task_id, task_id.token, ''])
        return [1000 * (mark - began) for mark in marks]

    def _claim(self, link: Link, claimed: Callback) -> None:
        self._number += 1
        record = f'{self.calls.keys["claim"]}:pickup:{self._number}'
        link.submit(Request(self.calls.transitions['claim'], self.calls.claim('', record, 1, 1), claimed))

    async def close(self) -> None:
        for link in (self.link, self.bell, self.producer):
            link.close()
        await self.client.aclose()


async def measure(count: int) -> Table:
    with RealServer('valkey9') as server:
        consumer = Consumer(server)
        found: dict[bool, list[list[float]]] = {False: [], True: []}
        for number in range(WARM + count):
            for armed, several in found.items():
                steps = await consumer.pick_up(armed)
                if number >= WARM:
                    several.append(steps)
        await consumer.close()
    medians = {armed: [statistics.median(step) for step in zip(*found[armed], strict=True)] for armed in found}
    rows = [
        [name, *(f'{medians[armed][k]:.2f}' for armed in (False, True)), f'{medians[True][k] / medians[False][k]:.2f}']
        for k, name in enumerate(STEPS)
    ]
    head = ['', 'a claim behind the ring', 'behind the block', 'ratio']
    return Table('Idle pick-up, ms from the call until ...', head, rows)


if __name__ == '__main__':
    print('\n'.join(as_text([asyncio.run(measure(int((sys.argv[1:] or ['300'])[0])))])))
