"""pydocket: its worker."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import docket

from benchmark.adapters.child import Payload, System, noop, running, serve

logging.getLogger('docket').setLevel(logging.WARNING)


class Pydocket(System):
    async def open(self) -> None:
        self._docket = docket.Docket(name='bench', url=self.setting.roomy)
        await self._docket.__aenter__()
        self._docket.register(noop)

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)

    async def enqueue(self, payload: Payload, delay: float = 0) -> None:
        when = datetime.now(timezone.utc) + timedelta(seconds=delay) if delay else None
        await self._docket.add(noop, when=when)(payload)

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        # A call each: it has the task's key.
        await self._docket.add_many([self._docket.call(noop)(payload) for payload in payloads])

    @asynccontextmanager
    async def consumers(self, count: int) -> AsyncIterator[None]:
        options: dict[str, Any] = {}
        if self.setting.lease:
            options['redelivery_timeout'] = timedelta(seconds=self.setting.lease)
        async with docket.Worker(self._docket, concurrency=count, **options) as worker:
            async with running(worker.run_forever()):
                yield


if __name__ == '__main__':
    serve(Pydocket)
