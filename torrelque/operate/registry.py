"""Which queues there are: names that hearts and operators note, and a scan of the keys, which is slow."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakKeyDictionary

import redis.asyncio

from torrelque import Torrelque, TorrelqueQueue, TorrelqueServerError, TorrelqueValueError
from torrelque.protocol.keys import FIXED, OPERATORS, REGISTRY, WORKERS, make_keys
from torrelque.worker.places import clients_of
from torrelque.worker.registry import note as note_once, registry_queue

from .values import Found

PAUSE = 60.0
"""From one note of a queue to the next (s), in one process."""
PAGE = 1000
"""Names, or keys, that one call reads."""

# When each queue of a client was noted last, by a clock that only goes on.
_noted: WeakKeyDictionary[Any, dict[str, float]] = WeakKeyDictionary()


async def note(queue: TorrelqueQueue) -> None:
    """Note that a queue was seen, at most once a minute in a process.  A refusal is passed over."""
    times = _noted.setdefault(clients_of(queue)[0], {})
    now = time.monotonic()
    if (last := times.get(queue.name)) is None or now - last >= PAUSE:
        times[queue.name] = now
        await note_once(queue)


async def known(client: Any) -> list[Found]:
    """The queues of the registry, in order of their names.

    :raises TorrelqueServerError: the server refuses to tell, or the key holds something else.
    """
    found: dict[bytes, float] = {}
    passed = 0
    async with registry_queue(client) as one:
        while True:
            page = await one.command('ZRANGE', REGISTRY, passed, passed + PAGE - 1, 'WITHSCORES')
            # By one protocol of the server these are pairs, by the other names and scores by turns.
            pairs = page if page and isinstance(page[0], list) else list(zip(page[::2], page[1::2], strict=True))
            found.update((name, float(score)) for name, score in pairs)
            passed += PAGE
            if len(pairs) < PAGE:
                return sorted((Found(_text(name), seen) for name, seen in found.items()), key=lambda queue: queue.name)


async def scan(client: Any) -> AsyncIterator[Found]:
    """Queues by their keys: walks all keys of the server, or of all primaries of a Cluster.

    Each queue is told once, as soon as one of its keys is found.
    """
    seen: set[str] = set()
    async for key in _keys(client):
        name = _queue_of(_text(key))
        if name is not None and name not in seen:
            seen.add(name)
            whole = await _whole_of(client, name)
            if whole == name or whole not in seen:
                seen.add(whole)
                yield Found(whole, None)


async def forget(queue: TorrelqueQueue) -> None:
    """Delete all that hearts and operators have written of a queue: records, totals, acts, its name in the registry.

    The hearts of workers stay, because these go on beating.
    """
    keys = queue.keys
    now = int((await queue.command('TIME'))[0])
    names = [keys[name] for name in (*OPERATORS, 'totals', 'sampled')]
    # Minutes are kept for 8 hours, hours for 14 days; the next one may begin meanwhile.
    names += [f'{keys["minute"]}:{now // 60 - back}' for back in range(-1, 8 * 60 + 2)]
    names += [f'{keys["hour"]}:{now // 3600 - back}' for back in range(-1, 14 * 24 + 2)]
    for start in range(0, len(names), 250):
        await queue.command('UNLINK', *(name.encode() for name in names[start : start + 250]))
    async with registry_queue(queue.client) as one:
        await one.command('ZREM', REGISTRY, queue.name.encode())
    _noted.get(queue.client, {}).pop(queue.name, None)


# Parts


async def _whole_of(client: Any, name: str) -> str:
    """The queue of which one is a shard, as it says itself; any other is its own."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return name
    async with Torrelque(client, queue=name) as shard:
        try:
            return name if await shard.command('GET', shard.keys['shards']) is None else match[1]
        except TorrelqueServerError:
            return name



async def _keys(client: Any) -> AsyncIterator[bytes | str]:
    """Keys that may be those of queues."""
    pattern = '*{*}*:*'
    if isinstance(client, redis.asyncio.RedisCluster):
        async for key in client.scan_iter(match=pattern, count=PAGE):
            yield key
        return
    # The client may decode, and fail at a key that is no text; so it is asked over a connection that does not.
    async with registry_queue(client) as one:
        cursor = b'0'
        while True:
            cursor, keys = await one.command('SCAN', cursor, 'MATCH', pattern, 'COUNT', PAGE)
            for key in keys:
                yield key
            if cursor == b'0':
                return


_SHARD = re.compile(r'(.+):\d+(?:\.\d+)?', re.DOTALL)
"""What the hash tag of a shard is like."""
_ENDS = frozenset({*FIXED, *OPERATORS, *WORKERS})


def _queue_of(key: str) -> str | None:
    """The queue that a key belongs to; None where that is not sure."""
    base, _, end = key.rpartition(':')
    if end not in _ENDS:
        return None
    for name in (base[1:-1], base):
        try:
            if make_keys(name).get(end) == key:
                return name
        except (TorrelqueValueError, UnicodeError):
            continue
    return None


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode('utf-8', 'surrogateescape')
