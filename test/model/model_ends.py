"""How tasks of flows end, by the table of edges in plain Python: what may become of a flow, whatever the order of ends.

An end is 'c' completed, 'f' failed, 'n' not needed, 'x' cancelled with the flow, and None where there is none yet.  A
death is no end where the flow is to wait for a redrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set as AbstractSet
from typing import NamedTuple

Ends = tuple[str | None, ...]


class Part(NamedTuple):
    """What a task of a flow waits for."""

    after: tuple[tuple[int, str], ...] = ()
    """Numbers of the others, and the kinds of the edges."""
    any: bool = False
    """Whether one of them is enough."""


def fits(kind: str, how: str | None) -> bool | None:
    """Whether an end, or 'd', a death, satisfies an edge; None while that is open."""
    if how is None:
        return None
    if kind == 'end':
        return True
    if kind == 'then':
        return None if how == 'd' else how == 'c'
    return how in ('d', 'f')


def takes(kind: str, number: int, ends: Sequence[str | None], died: AbstractSet[int]) -> bool | None:
    """Whether an edge from a task is satisfied, which may have been dead before it has ended."""
    return (number in died and fits(kind, 'd')) or fits(kind, ends[number])


def begins(part: Part, ends: Sequence[str | None], died: AbstractSet[int] = frozenset()) -> bool | None:
    """Whether a task may begin; False where it never may, so that it is skipped, and None while that is open."""
    found = [takes(kind, number, ends, died) for number, kind in part.after]
    if part.any and found:
        return True if True in found else None if None in found else False
    return False if False in found else None if None in found else True


def blames(part: Part, ends: Sequence[str | None], died: AbstractSet[int] = frozenset()) -> set[str]:
    """As what a task may end that is skipped, by whichever it is told of of those that keep it from running."""
    barred = [number for number, kind in part.after if takes(kind, number, ends, died) is False]
    return {how if how in ('f', 'x') else 'n' for number in barred if (how := ends[number]) is not None}


def outcomes(parts: Sequence[Part], ways: Sequence[str]) -> set[Ends]:
    """All that may become of a flow whose tasks run until none may begin, each behind those that it waits for.

    :param ways: how each ends where it runs: 'c', 'f', or 'd' where its death holds the flow.
    """
    return {*_outcomes(parts, ways, (), frozenset())}


def _outcomes(parts: Sequence[Part], ways: Sequence[str], ends: Ends, died: frozenset[int]) -> Iterator[Ends]:
    number = len(ends)
    if number == len(parts):
        yield ends
        return
    may = begins(parts[number], ends, died)
    if may and ways[number] == 'd':
        yield from _outcomes(parts, ways, (*ends, None), died | {number})
        return
    hows: set[str | None] = {ways[number]} if may else {None} if may is None else {*blames(parts[number], ends, died)}
    for how in hows:
        yield from _outcomes(parts, ways, (*ends, how), died)
