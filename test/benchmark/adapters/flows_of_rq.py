"""Jobs of rq that depend on others."""

import rq

from benchmark.adapters.child import Payload, chunks, noop_sync
from benchmark.adapters.flows import Flowing, serve
from benchmark.adapters.on_rq import CHUNK, Rq


class Dependent(Rq, Flowing):
    async def chain(self, payloads: list[Payload]) -> None:
        job = None
        for payload in payloads:
            job = self._queue.enqueue(noop_sync, payload, depends_on=job)

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        jobs = []
        for chunk in chunks(payloads, CHUNK):
            jobs += self._queue.enqueue_many([rq.Queue.prepare_data(noop_sync, (payload,)) for payload in chunk])
        self._queue.enqueue(noop_sync, last, depends_on=jobs)


if __name__ == '__main__':
    serve(Dependent)
