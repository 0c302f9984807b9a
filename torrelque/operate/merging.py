"""Tasks of a place that has parts in several shards, in the one order that they have together.

The order is that of scores, and of ids where these are the same: it is total over all parts, so one position in it is a
cursor of all of them.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from torrelque import TorrelqueQueue

from . import pages
from .hearts import Watch
from .parts import AwayError, ask_parts
from .places import Walk
from .values import AwayShard, TaskView


class Merged(NamedTuple):
    """Some tasks of all parts."""

    tasks: list[TaskView]
    cursor: str | None
    looked_at: int
    broken: tuple[str, ...]
    away: tuple[AwayShard, ...]


class _Way(NamedTuple):
    """How far the walk has come in a part."""

    part: TorrelqueQueue
    walk: Walk
    watch: Watch


def is_ranked(queue: TorrelqueQueue, place: str) -> bool:
    """Whether the tasks of a place have an order over all parts.

    :raises TorrelqueValueError: there is no such place.
    """
    return Walk(queue, place).ranked is not None


async def read(
    parts: Sequence[TorrelqueQueue], place: str, after: str | None, most: int, look: int, payload: int,
    newest_first: bool,
) -> Merged:  # fmt: skip
    """The next tasks, so many at the most, of which about so many are looked at.

    :raises TorrelqueValueError: the cursor is none of this place.
    :raises AwayError: no part answers.
    """
    ways = [_Way(part, Walk(part, place, newest_first=newest_first), Watch(part)) for part in parts]
    if after is not None:
        for way in ways:
            way.walk.load(after)
    found: list[TaskView] = []
    away: dict[int, AwayShard] = {}
    looked_at, more = 0, True
    while more and len(found) < most and looked_at < look:
        there = [way for way in ways if way.part.number not in away]  # type: ignore[attr-defined]
        more, some, missing = await _next(there, min(most - len(found), look - looked_at), newest_first)
        tasks, silent = await _views(some, place, payload)
        away.update({shard.number: shard for shard in (*missing, *silent)})
        found += tasks
        looked_at += max(1, len(some))
    broken = tuple(sorted({name for way in ways for name in way.walk.broken}))
    return Merged(found, ways[0].walk.save() if more else None, looked_at, broken, tuple(away.values()))


async def _next(
    ways: Sequence[_Way], count: int, newest_first: bool
) -> tuple[bool, list[tuple[_Way, bytes]], tuple[AwayShard, ...]]:
    """The next ids of all parts, of which each has the way of its part; and whether more are behind."""

    by_part = {way.part: way for way in ways}

    async def peek(part: TorrelqueQueue) -> tuple[_Way, bool, list[tuple[float, bytes]]]:
        way = by_part[part]
        assert way.walk.ranked is not None
        return way, *await way.walk.ranked.peek(count)

    told, away = await ask_parts([*by_part], peek)
    every = sorted(((*one, way) for way, _, some in told for one in some), key=lambda it: it[:2], reverse=newest_first)
    first = every[:count]
    if first:
        for way in ways:
            assert way.walk.ranked is not None
            way.walk.ranked.go_on(*first[-1][:2])
    more = len(every) > count or any(behind for _, behind, _ in told)
    return more, [(way, member) for _, member, way in first], away


async def _views(
    some: Sequence[tuple[_Way, bytes]], place: str, payload: int
) -> tuple[list[TaskView], tuple[AwayShard, ...]]:
    """What is to be told of tasks, in their order, as far as they are in the place still."""
    by_way: dict[int, list[bytes]] = {}
    ways = {id(way): way for way, _ in some}
    for way, member in some:
        by_way.setdefault(id(way), []).append(member)

    async def look(number: int) -> dict[tuple[int, bytes], TaskView] | AwayShard:
        way, ids = ways[number], by_way[number]
        try:
            views = await pages.read_ids(way.part, ids, payload, True, way.watch)
        except AwayError as exc:
            return exc.away
        assert way.walk.ranked is not None
        names = way.walk.ranked.names
        return {
            (number, member): view
            for member, view in zip(ids, views, strict=True) if pages.belongs(view, names, place, way.watch)
        }  # fmt: skip

    told = await asyncio.gather(*map(look, by_way))
    views = {key: view for one in told if isinstance(one, dict) for key, view in one.items()}
    keys = [(id(way), member) for way, member in some]
    return [views[key] for key in keys if key in views], tuple(one for one in told if isinstance(one, AwayShard))
