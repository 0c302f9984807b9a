"""Torrelque, of this checkout."""

import sys
from typing import Any

import redis.asyncio

from benchmark.adapters.child import Looped, Payload, handle, serve
from torrelque import Torrelque, TorrelqueTaskSerialiser


def options() -> dict[str, Any]:
    """The serialiser that the environment has, else Torrelque's own."""
    if '--orjson' in sys.argv:
        import orjson

        return {'serialiser': orjson}
    if '--msgspec' in sys.argv:
        import msgspec

        return {'serialiser': TorrelqueTaskSerialiser(msgspec.json.encode, msgspec.json.decode)}
    return {}


class Ours(Looped):
    async def open(self) -> None:
        self._client = redis.asyncio.from_url(self.setting.url)
        self._queue = Torrelque(self._client, queue='bench', **options())
        if self.setting.lease:
            self._queue.task_timeout = self.setting.lease

    async def close(self) -> None:
        await self._queue.aclose()
        await self._client.aclose()

    async def enqueue_many(self, payloads: list[Payload]) -> None:
        await self._queue.enqueue_many(payloads)

    async def drain_bulk(self, count: int, bulk: int) -> None:
        while count > 0:
            some = await self._queue.dequeue_many(bulk)
            for _, payload in some:
                handle(payload)
            await self._queue.release_many([task_id for task_id, _ in some])
            count -= len(some)


if __name__ == '__main__':
    serve(Ours)
