"""All flows of a few tasks: who waits for whom, in which way, and for how many, each shape once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from model.model_ends import Part

KINDS = ('then', 'end', 'fail')
Shape = tuple[Part, ...]


def shapes(count: int, single: bool) -> list[Shape]:
    """The shapes of so many tasks, one of those that differ by their names only.

    :param single: whether a task that waits for another one alone is there with both joins, which are the same to it.
    """
    return [shape for shape in _all_shapes(count, single) if shape == _least(shape)]


def _all_shapes(count: int, single: bool) -> Iterator[Shape]:
    parts = [[*_parts(number, single)] for number in range(count)]
    return itertools.product(*parts)


def _parts(number: int, single: bool) -> Iterator[Part]:
    """What a task may wait for that has so many before it."""
    for kinds in itertools.product((None, *KINDS), repeat=number):
        after = tuple((other, kind) for other, kind in enumerate(kinds) if kind is not None)
        yield Part(after)
        if len(after) > (0 if single else 1):
            yield Part(after, True)


def _least(shape: Shape) -> Shape:
    """The least of the shapes that it becomes by other names of its tasks, each behind those that it waits for."""
    return min(_renamed(shape, order) for order in itertools.permutations(range(len(shape))) if _fine(shape, order))


def _fine(shape: Shape, order: Sequence[int]) -> bool:
    """Whether each task comes behind those that it waits for; `order` has the new number of each."""
    return all(order[other] < order[number] for number, part in enumerate(shape) for other, _ in part.after)


def _renamed(shape: Shape, order: Sequence[int]) -> Shape:
    renamed = [Part() for _ in shape]
    for number, part in enumerate(shape):
        renamed[order[number]] = Part(tuple(sorted((order[other], kind) for other, kind in part.after)), part.any)
    return tuple(renamed)
