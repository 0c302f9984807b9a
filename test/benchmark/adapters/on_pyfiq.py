"""pyfiq: the loops pop from its backend, which is what its worker thread does; there is no acknowledgement."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pyfiq
from pyfiq.producer import mgr

from benchmark.adapters.child import MissingError, Payload, System, handle, noop_sync, serve

QUEUE = 'bench'


class Pyfiq(System):
    threads = True
    most = 100

    async def open(self) -> None:
        # As its threaded worker does when it starts; that one would begin to consume at once.
        mgr.backend = self._backend = pyfiq.RedisQueueBackend(self.setting.roomy)
        self._noop = pyfiq.fifo(queue=QUEUE)(noop_sync)

    def put(self, payload: Payload, delay: float = 0) -> None:
        if delay:
            raise MissingError('no delays')
        self._noop(payload)

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        stopped = threading.Event()

        def loop() -> None:
            while not stopped.is_set():
                task = self._backend.pop(QUEUE)
                if task is not None:
                    handle(*task.args)

        threads = [threading.Thread(target=loop, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join(3)


if __name__ == '__main__':
    serve(Pyfiq)
