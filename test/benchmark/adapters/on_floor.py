"""The floor: what the server and redis-py do without any queue, with about a task's work for each item.

``ping``, ``evalsha`` and ``pipeline`` go through the client as one would write it; ``ping_held`` and ``evalsha_held``
over one connection that is held, which saves the visit of the pool, ``evalsha_bare`` over one that has nothing of
redis-py.  ``evalsha_100`` has 100 items a call.  ``evalsha_blocking`` goes through the synchronous client.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import hiredis
import redis
import redis.asyncio

from benchmark.adapters.child import Payload, System, chunks, serve

# A hash and a list element for each item: about what enqueueing writes.
SCRIPT = """
for i = 1, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('LPUSH', KEYS[2], ARGV[i])
end
return #ARGV
"""
KEYS = ('floor:tasks', 'floor:pending')


class Bare(asyncio.Protocol):
    """One call at a time, with nothing around it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def call(self, words: tuple[Any, ...]) -> Any:
        self._reply = self._loop.create_future()
        self._transport.write(hiredis.pack_command(words))
        return await self._reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if (reply := self._reader.gets()) is not False:
            self._reply.set_result(reply)

    def close(self) -> None:
        self._transport.close()


class Floor(System):
    async def open(self) -> None:
        self._client = redis.asyncio.from_url(self.setting.url)
        self._sha = await self._client.script_load(SCRIPT)

    async def close(self) -> None:
        await self._client.aclose()

    async def floor(self, what: str, payloads: list[Payload]) -> None:
        await getattr(self, f'_{what}')(payloads)

    async def _ping(self, payloads: list[Payload]) -> None:
        for _ in payloads:
            await self._client.ping()

    async def _ping_held(self, payloads: list[Payload]) -> None:
        await self._over_held([('PING',)] * len(payloads))

    async def _evalsha(self, payloads: list[Payload]) -> None:
        for number, payload in enumerate(payloads):
            await self._client.evalsha(self._sha, 2, *KEYS, *_item(number, payload))

    async def _evalsha_held(self, payloads: list[Payload]) -> None:
        items = enumerate(payloads)
        await self._over_held([('EVALSHA', self._sha, 2, *KEYS, *_item(*item)) for item in items])

    async def _evalsha_bare(self, payloads: list[Payload]) -> None:
        place = urlsplit(self.setting.url)
        loop = asyncio.get_running_loop()
        _, bare = await loop.create_connection(Bare, str(place.hostname), place.port or 6379)
        try:
            for item in enumerate(payloads):
                await bare.call(('EVALSHA', self._sha, 2, *KEYS, *_item(*item)))
        finally:
            bare.close()

    async def _evalsha_blocking(self, payloads: list[Payload]) -> None:
        with redis.Redis.from_url(self.setting.url) as client:
            for number, payload in enumerate(payloads):
                client.evalsha(self._sha, 2, *KEYS, *_item(number, payload))

    async def _evalsha_100(self, payloads: list[Payload]) -> None:
        calls = []
        for chunk in chunks(payloads, 100):
            items = [part for item in enumerate(chunk) for part in _item(*item)]
            calls.append(('EVALSHA', self._sha, 2, *KEYS, *items))
        await self._over_held(calls)

    async def _pipeline(self, payloads: list[Payload]) -> None:
        for chunk in chunks(payloads, 500):
            async with self._client.pipeline(transaction=False) as pipeline:
                for number, payload in enumerate(chunk):
                    task_id, data = _item(number, payload)
                    pipeline.hset(KEYS[0], task_id, data)
                    pipeline.lpush(KEYS[1], task_id)
                await pipeline.execute()

    async def _over_held(self, calls: list[tuple[Any, ...]]) -> None:
        connection = await self._client.connection_pool.get_connection()
        try:
            for call in calls:
                await connection.send_command(*call)
                await connection.read_response()
        finally:
            await self._client.connection_pool.release(connection)


def _item(number: int, payload: Payload) -> tuple[str, str]:
    return f'{number:032x}', json.dumps(payload)


if __name__ == '__main__':
    serve(Floor)
