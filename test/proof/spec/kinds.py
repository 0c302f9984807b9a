"""Kinds of queues that walks go through."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What a queue has."""

    groups: tuple[int, ...]
    limits: tuple[int, ...] = ()
    own: bool = False
    """Whether ids are the callers'."""
    long: bool = False
    """Whether lists are long."""
    urgencies: tuple[int, ...] = (0, 0, 0)
    rates: int = 0
    """Bits of the groups that have one."""
    pauses: bool = False


KINDS = {
    'plain': Kind((-1, -1, -1)),
    'group': Kind((0, 0, 0), (1,)),
    'wide': Kind((0, 0, 0), (2,), own=True),
    'mixed': Kind((0, 1, -1), (1, 1), own=True),
    'holes': Kind((-1, -1, -1), own=True, long=True),
    'holes of groups': Kind((0, 0, -1), (1,), own=True, long=True),
    'priorities': Kind((-1, -1, -1), urgencies=(1, 0, -1)),
    'priorities and groups': Kind((-1, 0, -1), (1,), own=True, long=True, urgencies=(2, 0, -1)),
    'rates': Kind((0, 0, 0), (2,), rates=1),
    'rates of some': Kind((0, 1, 1), (1, 2), own=True, rates=2),
    'pauses': Kind((-1, -1, 0), (1,), urgencies=(1, 0, 0), pauses=True),
    'pauses and rates': Kind((0, 0, 1), (2, 1), own=True, rates=1, pauses=True),
}
