"""The survey of groups, and one group: limits, buckets, orders, patterns."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import redis.asyncio

import torrelque
from torrelque import Torrelque
from torrelque.operate import Operator, grouping
from torrelque.operate.grouping import matches
from torrelque.operate.limits import Limits, read_limits, tokens_of

pytestmark = pytest.mark.first_server


async def test_groups_are_told_by_a_figure_the_first_of_all(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for number in range(250):
        await queue.enqueue_many(range(number % 7 + 1), group=f'g{number:03}')
    ids = [*await queue.enqueue_many(range(20), group='most')]
    await client.hset(f'{queue.keys["task"]}:{ids[0]}', 'enqueue_time', 1000)
    await queue.set_limit('g100', concurrency=9)
    operator = Operator(queue)
    told = await operator.groups(most=3)
    assert [(group.name, group.waiting) for group in told.groups] == [('most', 20), ('g006', 7), ('g013', 7)]
    assert (told.total, told.broken, told.queue) == (251, (), queue.name)
    assert [group.name for group in (await operator.groups(by='name', most=2)).groups] == ['g000', 'g001']
    [oldest, *_] = (await operator.groups(by='oldest', most=5)).groups
    assert (oldest.name, oldest.oldest, oldest.head) == ('most', 1, ids[0])
    await queue.dequeue_many(30)
    told = await operator.groups(by='slots', most=1000)
    assert [group.slots for group in told.groups] == sorted((group.slots for group in told.groups), reverse=True)
    with pytest.raises(torrelque.TorrelqueValueError, match="not by 'size'"):
        await operator.groups(by='size')
    with pytest.raises(torrelque.TorrelqueTypeError, match='a pattern must be a str'):
        await operator.groups(pattern=5)  # type: ignore[arg-type]


async def test_a_survey_keeps_few_and_leaves_the_server_to_others(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, 'PART', 10)
    for number in range(400):
        await queue.enqueue(number, group=f'g{number:03}')
    kept = []
    first = grouping.first

    def note(groups: dict[str, Any], by: str, most: int) -> list[Any]:
        kept.append(len(groups))
        return first(groups, by, most)

    monkeypatch.setattr(grouping, 'first', note)
    began = time.monotonic()
    told = await Operator(queue).groups(by='name', most=2)
    took = time.monotonic() - began
    assert [group.name for group in told.groups] == ['g000', 'g001']
    assert max(kept) < 200
    # About forty calls, of which each but the last has its pause.
    assert told.took <= took
    assert told.took >= 15 * grouping.PACE


async def test_limits_of_a_group_are_its_own_or_those_of_all(queue: Torrelque) -> None:
    operator = Operator(queue)
    assert (await operator.group('none')).limit == math.inf
    await queue.set_limit(concurrency=5, rate=(10, 2))
    await queue.set_limit('own', concurrency=3, rate=(4, 1))
    await queue.set_limit('free', concurrency=math.inf, rate=math.inf)
    found = {}
    for name in ('other', 'own', 'free'):
        group = await operator.group(name)
        found[name] = (group.limit, group.rate, group.own_limit, group.own_rate, group.tokens)
    assert found == {
        'other': (5, (10, 2.0), False, False, 10),
        'own': (3, (4, 1.0), True, True, 4),
        'free': (math.inf, None, True, True, None),
    }


async def test_tokens_are_those_that_a_claim_would_find(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.set_limit('g', rate=(4, 1000))
    await queue.enqueue_many(range(10), group='g')
    await queue.dequeue_many(3, 0)
    group = await Operator(queue).group('g')
    assert group.tokens is not None
    assert 1 <= group.tokens < 2
    await queue.dequeue(0)
    assert ((await Operator(queue).group('g')).tokens or 0) < 1
    assert (await Operator(queue).group('g')).head is None


async def test_the_pause_of_a_group_is_told(queue: Torrelque) -> None:
    await queue.enqueue(1, group='g')
    await queue.pause('g', probe=50)
    group = await Operator(queue).group('g')
    assert group.paused
    assert group.probe is not None
    await queue.pause('g')
    group = await Operator(queue).group('g')
    assert (group.paused, group.probe) == (True, None)
    await queue.resume('g')
    await queue.pause()
    assert not (await Operator(queue).group('g')).paused


@pytest.mark.parametrize(
    'text, limits',
    [
        ('{"concurrency":3,"rate":[5,1000]}', Limits(3, (5, 1000))),
        ('{"concurrency":0,"rate":0}', Limits(math.inf, False)),
        ('{}', Limits(None, None)), ('', Limits(None, None)), ('[]', Limits(None, None)), ('{', Limits(None, None)),
        ('{"concurrency":true,"rate":false}', Limits(None, None)), ('{"concurrency":"3"}', Limits(None, None)),
        ('{"concurrency":-1}', Limits(math.inf, None)), ('{"rate":[0,1000]}', Limits(None, None)),
        ('{"rate":[1]}', Limits(None, None)), ('{"rate":[1,0]}', Limits(None, None)),
        ('{"rate":"5"}', Limits(None, None)),
        ('{"rate":["5","7"]}', Limits(None, (5, 7))), ('{"rate":[1e300,1]}', Limits(None, None)),
    ],
)  # fmt: skip
def test_limits_are_read_as_the_core_reads_them(text: str, limits: Limits) -> None:
    assert read_limits(text.encode()) == limits


@pytest.mark.parametrize(
    'text, tokens',
    [
        (None, 10), (b'', 10), (b'3 5000', 8), (b'0 5000', 5), (b'0 0', 10), (b'2.5 10000', 2.5), (b'-3 10000', 0),
        (b'1 99999', 1), (b'x 5000', 10), (b'x', 10), (b'nan 10000', 10),
    ],
)  # fmt: skip
def test_a_bucket_fills_by_its_rate(text: bytes | None, tokens: float) -> None:
    assert tokens_of(text, (10, 10_000), 10_000) == tokens


@pytest.mark.parametrize(
    'name, pattern, matching',
    [
        ('abc', 'abc', True), ('abc', 'ab', False), ('abc', 'a*', True), ('abc', '*c', True), ('abc', '*b*', True),
        ('abc', '*', True), ('', '*', True), ('abc', 'a*c*', True), ('aba', 'ab*ba', False), ('abba', 'ab*ba', True),
        ('a*b', 'a*b', True), ('[a]', '[a]*', True), ('a', '[a]', False), ('ab', 'a?', False), ('aXbXc', 'a*b*c', True),
        ('acb', 'a*b*c', False),
    ],
)  # fmt: skip
def test_a_star_stands_for_any_text_and_nothing_else_does(name: str, pattern: str, matching: bool) -> None:
    assert matches(name, pattern) is matching


def test_no_pattern_takes_long() -> None:
    assert not matches('a' * 100_000, '*a' * 5000 + '*b')
