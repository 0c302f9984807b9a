"""The survey of groups: all of them are looked at, 100 a call, and the first by some figure are kept."""

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueTypeError

from .asking import ask
from .limits import read_limits, tokens_of
from .reading import bytes_of, instant_of, probe_of, text_of, whole_of
from .values import Groups, GroupView

ORDERS = ('waiting', 'oldest', 'slots', 'name')
PART = 50
"""Groups of one call, about."""
MOST_NAMED = 100
"""Groups that are read by their names, at the most."""
PACE = 0.02
"""From one call to the next (s), at the least: a survey is to leave the server to others."""

_KEYS: dict[str, Callable[[GroupView], Any]] = {
    'waiting': lambda group: (-group.waiting, group.name),
    'oldest': lambda group: (math.inf if group.oldest is None else group.oldest, group.name),
    'slots': lambda group: (-group.slots, group.name),
    'name': lambda group: group.name,
}


async def survey(queue: TorrelqueQueue, by: str, most: int, pattern: str | None) -> Groups:
    """The first groups by a figure; ``pattern`` has ``*``."""
    if pattern is not None and not isinstance(pattern, str):
        raise TorrelqueTypeError(f'a pattern must be a str, not {type(pattern).__name__}')
    began, cursor, kept, total, broken = time.monotonic(), b'', dict[str, GroupView](), 0, set[str]()
    start: float | None = None
    while cursor != b'0':
        asked = time.monotonic()
        stamp, spoilt, cursor, default, *found = await ask(queue, 'survey', cursor or b'0', PART)
        now = int(stamp) / 1000
        start = now if start is None else start
        broken |= set(map(text_of, spoilt))
        total += len(found)
        for words in found:
            view = _view(queue, now, default, words)
            if pattern is None or matches(view.name, pattern):
                kept[view.name] = view
        if len(kept) > 2 * most + 10 * PART:
            kept = {view.name: view for view in first(kept, by, most)}
        if cursor != b'0':
            await asyncio.sleep(max(0.0, asked + PACE - time.monotonic()))
    took = time.monotonic() - began
    groups = tuple(first(kept, by, most))
    return Groups(queue.name, start or 0.0, took, groups, total, tuple(sorted(broken)))


async def read_group(queue: TorrelqueQueue, name: str) -> GroupView:
    """One group; one that has nothing is told with zeros."""
    stamp, _, _, default, words = await ask(queue, 'survey', '', '', bytes_of(name, 'a group'))
    return _view(queue, int(stamp) / 1000, default, words)


async def read_groups(queue: TorrelqueQueue, names: Sequence[str]) -> list[GroupView]:
    """Some groups by their names, in one call; one that has nothing is told with zeros."""
    if not names:
        return []
    words = [bytes_of(name, 'a group') for name in names]
    stamp, _, _, default, *found = await ask(queue, 'survey', '', '', *words)
    return [_view(queue, int(stamp) / 1000, default, one) for one in found]


def first(groups: dict[str, GroupView], by: str, most: int) -> list[GroupView]:
    """The first of some groups in an order."""
    return heapq.nsmallest(most, groups.values(), key=_KEYS[by])


def matches(name: str, pattern: str) -> bool:
    """Whether a name is as a pattern says, in which ``*`` stands for any text.  It takes no longer than both are long
    together, or nearly so, whatever they are."""
    first, *parts = pattern.split('*')
    if not parts:
        return name == pattern
    last = parts.pop()
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in parts:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _view(queue: TorrelqueQueue, now: float, default: bytes, words: Sequence[Any]) -> GroupView:
    name, waiting, slots, head, limits, paused, probe, bucket, oldest = words
    own, others = read_limits(limits), read_limits(default)
    limit = own.concurrency or others.concurrency or math.inf
    rate = (others if own.rate is None else own).rate or None
    return GroupView(
        queue=queue.name,
        name=text_of(name),
        waiting=waiting,
        slots=max(0, whole_of(slots) or 0),
        limit=limit,
        rate=None if not isinstance(rate, tuple) else (int(rate[0]), rate[1] / 1000),
        tokens=None if not isinstance(rate, tuple) else tokens_of(bucket, rate, round(now * 1000)),
        own_limit=own.concurrency is not None,
        own_rate=own.rate is not None,
        paused=paused == 1,
        probe=probe_of(probe, now) if paused == 1 else None,
        head=None if head is None else text_of(head),
        oldest=instant_of(oldest),
    )
