"""Does what a reason says: carries out command lines of the core's acts, and looks what a claim made now would give."""

from __future__ import annotations

import argparse
import itertools
import shlex
from typing import Any

import redis.asyncio

from torrelque import Torrelque, TorrelqueLimit
from torrelque.cli.amounts import KEEP
from torrelque.cli.parser import make_parser
from torrelque.operate import Operator, Selection
from torrelque.protocol.transition import Transition


def parse(line: str) -> argparse.Namespace:
    """The words of a command line as a shell makes them, then as the command reads them."""
    first, *words = shlex.split(line)
    assert first == 'torrelque', line
    return make_parser().parse_args(words)


def _set(given: Any, now: Any) -> Any:
    """What a limit is from now on; what nothing is said of stays as it is."""
    return now if given is KEEP else given


async def obey(queue: Torrelque, line: str) -> None:
    """Carry a command line out, by verbs of the core.  One that only tells something is an error."""
    found = parse(line)
    assert found.queue == [queue.name]
    verb = found.command.name
    if verb == 'redrive':
        assert await queue.redrive(*found.ids) == 1
    elif verb == 'requeue' and found.status is not None:
        assert (await Operator(queue).requeue(Selection(status=found.status, group=found.group))).done
    elif verb == 'requeue':
        [task_id] = found.ids
        assert await queue.requeue(task_id)
    elif verb == 'resume':
        assert await queue.resume(found.group)
    elif verb == 'sweep':
        await queue.sweep()
    elif verb == 'limit':
        own = (await queue.get_limits()).get(found.group, TorrelqueLimit(None, None))
        concurrency, rate = _set(found.concurrency, own.concurrency), _set(found.rate, own.rate)
        await queue.set_limit(found.group, concurrency=concurrency, rate=rate)
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
