"""History that is kept: what is read anew is told as if all were."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque
from torrelque.dashboard.past import LATE, MOST, Past
from torrelque.operate import Operator, Record

pytestmark = pytest.mark.one_server

HOURS = 3600.0
NUMBERS = itertools.count(1)


class Counting(Operator):
    """An operator that notes how much of the past it was asked for."""

    def __init__(self, queue: Torrelque) -> None:
        super().__init__(queue)
        self.asked: list[Any] = []

    async def history(self, length: Any = 3600, *, queue: str | None = None) -> list[Record]:
        self.asked.append(length)
        return await super().history(length, queue=queue)


async def write(client: redis.asyncio.Redis, queue: Torrelque, kind: str, agos: range) -> float:
    """Records of so many minutes, or hours, ago; the time."""
    now = int((await client.time())[0])
    for ago in agos:
        number = now // {'minute': 60, 'hour': 3600}[kind] - ago
        await client.hset(f'{queue.keys[kind]}:{number}', mapping={'=f': json.dumps([next(NUMBERS), 0, 0, 0, 0])})
    return float(now)


def inner(records: list[Record], now: float, span: float) -> list[Record]:
    """Without the first of a time, which pass out of it while a test goes on."""
    return [record for record in records if record.start > now - span + 2 * record.length]


@pytest.mark.parametrize(('kind', 'spans'), [('minute', (3600.0, 8 * HOURS)), ('hour', (72 * HOURS, 336 * HOURS))])
async def test_only_what_may_be_new_is_read_again(
    queue: Torrelque, client: redis.asyncio.Redis, kind: str, spans: tuple[float, float]
) -> None:
    operator, past = Counting(queue), Past()
    now = await write(client, queue, kind, range(0, 400, 3))
    short, long = spans
    # A longer time than is kept is read whole.
    for span in spans:
        found = inner(await past.read(operator, 'x', span, now), now, span)
        assert found == inner(await Operator(queue).history(span), now, span)
    await write(client, queue, kind, range(2))
    for span in spans:
        found = inner(await past.read(operator, 'x', span, now + 1), now, span)
        assert found == inner(await Operator(queue).history(span), now, span) != []
    assert operator.asked[:2] == [short, long] and len(operator.asked) == 4
    assert all(length <= max(8 * HOURS + 1, 2 * LATE) for length in operator.asked[2:])


async def test_after_a_long_time_all_is_read(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    operator, past = Counting(queue), Past()
    now = await write(client, queue, 'minute', range(60))
    await past.read(operator, 'x', HOURS, now - HOURS)
    await past.read(operator, 'x', HOURS, now)
    assert operator.asked == [HOURS] * 2
    # A clock that was set back tells nothing.
    await past.read(operator, 'x', HOURS, now - 10)
    assert operator.asked == [HOURS] * 3
    past.forget()
    found = inner(await past.read(operator, 'x', HOURS, now), now, HOURS)
    assert found == inner(await Operator(queue).history(HOURS), now, HOURS) != []
    assert operator.asked == [HOURS] * 4


async def test_few_histories_are_kept(queue: Torrelque) -> None:
    operator, past = Counting(queue), Past()
    for n in range(MOST + 1):
        await past.read(operator, f'q{n}', HOURS, 1e9)
    operator.asked.clear()
    await past.read(operator, f'q{MOST}', HOURS, 1e9 + 1)
    await past.read(operator, 'q0', HOURS, 1e9 + 1)
    assert operator.asked == [1 + LATE, HOURS]
