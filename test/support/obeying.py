"""Does what a reason says: carries out command lines of the core's acts, and looks what a claim made now would give."""

from __future__ import annotations

import argparse
import itertools
import re
import shlex
from typing import Any

import redis.asyncio

from torrelque import Torrelque
from torrelque.protocol.transition import Transition


def _rate(text: str) -> tuple[int, float]:
    match = re.fullmatch(r'(\d+)/(\d+(?:\.\d+)?(?:e[+-]?\d+)?)s', text)
    assert match is not None, text
    return int(match[1]), float(match[2])


def parser() -> argparse.ArgumentParser:
    """The grammar of the commands that a reason may tell, as far as they are told."""
    whole = argparse.ArgumentParser('torrelque', allow_abbrev=False)
    verbs = whole.add_subparsers(dest='verb', required=True)

    def verb(name: str, *, operand: str | None = None, group: bool = False) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, allow_abbrev=False)
        if operand is not None:
            one.add_argument('operand', metavar=operand)
        if group:
            one.add_argument('--group')
        one.add_argument('-q', dest='queue', required=True)
        return one

    for name in ('redrive', 'requeue'):
        verb(name, operand='ID')
    for name in ('pause', 'resume', 'why'):
        verb(name, group=True)
    for name in ('sweep', 'doctor'):
        verb(name)
    limit = verb('limit', operand='GROUP')
    limit.add_argument('--concurrency', type=int)
    limit.add_argument('--rate', type=_rate)
    return whole


def parse(line: str) -> argparse.Namespace:
    """The words of a command line as a shell makes them, then as the command reads them."""
    first, *words = shlex.split(line)
    assert first == 'torrelque', line
    return parser().parse_args(words)


async def obey(queue: Torrelque, line: str) -> None:
    """Carry a command line out.  One that only tells something is an error."""
    found = parse(line)
    assert found.queue == queue.name
    if found.verb == 'redrive':
        assert await queue.redrive(found.operand) == 1
    elif found.verb == 'requeue':
        assert await queue.requeue(found.operand)
    elif found.verb == 'resume':
        assert await queue.resume(found.group)
    elif found.verb == 'sweep':
        await queue.sweep()
    elif found.verb == 'limit':
        # A limit that is not named stays as it is.
        own = (await queue.get_limits()).get(found.operand)
        concurrency, rate = (own.concurrency, own.rate) if own else (None, None)
        await queue.set_limit(
            found.operand,
            concurrency=concurrency if found.concurrency is None else found.concurrency,
            rate=rate if found.rate is None else found.rate,
        )
    else:
        raise AssertionError(f'nothing is done by: {line}')


# A claim made now

_numbers = itertools.count()


async def claim(client: redis.asyncio.Redis, queue: Torrelque, most: int = 6) -> str | None:
    """The task that a claim of one gives; made again, as whoever waits does, where it gave nothing but left something.
    """
    transition = Transition('claim', queue.keys)
    for _ in range(most):
        record = f'{queue.keys["claim"]}:obeying:{next(_numbers)}'
        words = transition.words(['', record, '1', '1', '2000', '1000000'], False)
        reply: list[Any] = await client.execute_command(*words)
        await client.delete(record)
        if len(reply) > 6:
            given: bytes = reply[6]
            return given.decode()
        if not reply[3]:
            break
    return None


class Snapshot:
    """All keys of a database at one moment, to be brought back as often as needed."""

    def __init__(self, items: list[tuple[bytes, bytes, int]]) -> None:
        self._items = items

    @classmethod
    async def take(cls, client: redis.asyncio.Redis) -> Snapshot:
        keys: list[Any] = await client.keys('*')
        async with client.pipeline(transaction=True) as pipe:
            for key in keys:
                pipe.dump(key)
                pipe.pttl(key)
            replies = await pipe.execute()
        # What has expired between the two is not there any more.
        return cls([item for item in zip(keys, replies[::2], replies[1::2], strict=True) if item[1]])

    async def restore(self, client: redis.asyncio.Redis) -> None:
        async with client.pipeline(transaction=True) as pipe:
            pipe.flushdb()
            for key, value, ttl in self._items:
                pipe.restore(key, max(0, ttl), value)
            await pipe.execute()
