"""Keys of a queue, and all that may be written into them by hand: other types, other values, other scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import redis.asyncio

VALUES = (
    b'', b'nan', b'inf', b'-inf', b'-1', b'0', b'1.5', b'5', b'6', b'7', b'1e308', b'9' * 400, b'-' + b'9' * 20,
    b'x' * 5000, b'\xff\xfe', b'a\nb\tc', b'{', b'[]', b'{}', b'[[[]]]', b'null', b'true', b'"x"', b'[1e400]',
    b'["\\ud800"]', b'{"a":{"b":[1,2,null]}}',
)  # fmt: skip
"""What is written into a field, a list or a string."""
SCORES = (float('-inf'), -9e15, -1.0, 0.0, 1.5, 9e15, 1e308, float('inf'))
OTHERS: dict[bytes, tuple[Any, ...]] = {
    b'string': ('SET', b'\xff'), b'list': ('RPUSH', b'\xff', 'a'), b'hash': ('HSET', b'\xff', 'x', '', ''),
    b'zset': ('ZADD', 'inf', b'\xff', '-inf', 'a', '-1', ''), b'set': ('SADD', b'\xff', 'a', ''),
}  # fmt: skip
"""How a key comes to hold something else."""


class Key(NamedTuple):
    """A key as it was."""

    name: Any
    kind: Any
    members: list[Any]
    """Fields of a hash, or members of a sorted set."""
    content: Any
    """What RESTORE takes."""


async def read_keys(client: redis.asyncio.Redis, pattern: str) -> list[Key]:
    found: list[Key] = []
    for name in sorted([name async for name in client.scan_iter(match=pattern, count=1000)]):
        kind = await client.type(name)
        members: Any = []
        if kind == b'hash':
            members = await client.hkeys(name)
        elif kind == b'zset':
            members = await client.zrange(name, 0, -1)
        found.append(Key(name, kind, members, await client.dump(name)))
    return found


async def restore(client: redis.asyncio.Redis, keys: list[Key], pattern: str) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.delete(*[name async for name in client.scan_iter(match=pattern, count=1000)])
        for key in keys:
            pipeline.restore(key.name, 0, key.content)
        await pipeline.execute()


def spoilings(key: Key) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """What may become of a key: in words, and as commands."""
    yield 'is gone', [('DEL', key.name)]
    for kind, (command, *words) in OTHERS.items():
        if kind != key.kind:
            yield f'is a {kind.decode()}', [('DEL', key.name), (command, key.name, *words)]
    if key.kind == b'hash':
        for value in VALUES:
            for member in key.members:
                yield f'{member!r} is {value[:30]!r}', [('HSET', key.name, member, value)]
            pairs = [word for member in key.members for word in (member, value)]
            yield f'all are {value[:30]!r}', [('HSET', key.name, *pairs)]
        yield 'has more', [('HSET', key.name, b'\xff\0', b'\xff', '', '', 'x' * 3000, 'nan')]
    elif key.kind == b'zset':
        for score in SCORES:
            pairs = [word for member in key.members for word in (score, member)]
            yield f'scores are {score}', [('ZADD', key.name, *pairs)]
        yield 'has more', [('ZADD', key.name, -5, b'\xff\0', 1, '', 2, 'x' * 3000, 1e12, 'nobody')]
    elif key.kind == b'set':
        yield 'has more', [('SADD', key.name, b'\xff\0', '', 'x' * 3000)]
    else:
        for value in VALUES:
            commands = ('LPUSH', 'RPUSH') if key.kind == b'list' else ('SET',)
            yield f'has {value[:30]!r}', [(command, key.name, value) for command in commands]
