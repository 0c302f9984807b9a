"""A checker of small systems: every state that can be reached, and what must hold in each.

It goes breadth first, so what it finds is a shortest way to the fault.  Of a state it keeps a fingerprint of 64 bits
and who it came from; the way is found again by walking it.  Two states with one fingerprint would be taken for one:
with *n* states the chance is about n² / 2^65, a millionth with six million.
"""

from __future__ import annotations

import hashlib
import marshal
import sys
import time
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

State = Any
"""Numbers, strings, bytes and tuples of them."""

OWN, TIME, CHOICE, FAULT = range(4)
"""Kinds of steps: what happens by itself at once; what happens in time; what somebody may choose to do; what breaks."""

Step = tuple[str, int, State, str]
"""What it is called, its kind, the state after, and the name of an invariant that the step itself breaks, or ''."""


class System(Protocol):
    """What is explored."""

    def initial(self) -> Iterable[State]:
        """Where it begins."""

    def steps(self, state: State) -> Iterable[Step]:
        """What may happen next."""

    def broken(self, state: State) -> str:
        """The invariant that a state breaks, or ''."""

    def stuck(self, state: State) -> str:
        """What a state breaks in which nothing happens by itself, or ''."""

    def good(self, state: State) -> bool:
        """Whether a state is one that must be within reach, by steps that are neither choice nor fault."""


class Found(NamedTuple):
    """A fault: the invariant, and the shortest way to it."""

    name: str
    path: list[tuple[str, State]]

    def __str__(self) -> str:
        lines = [f'{number:3} {label}' for number, (label, _) in enumerate(self.path)]
        return '\n'.join([f'broken: {self.name}', *lines])


class Result(NamedTuple):
    """What was seen."""

    states: int
    transitions: int
    depth: int
    seconds: float
    complete: bool
    found: Found | None


def fingerprint(state: State) -> int:
    """64 bits of a state."""
    # The second version of the format has no references, so equal states have equal bytes.
    return int.from_bytes(hashlib.blake2b(marshal.dumps(state, 2), digest_size=8).digest(), sys.byteorder)


class _Search:
    """States by the order in which they were met."""

    def __init__(self, system: System, reach: bool) -> None:
        self.system = system
        self.reach = reach
        self.seen: dict[int, int] = {}
        self.parents = array('I')
        self.sources, self.targets = array('I'), array('I')
        self.goals = array('I')
        self.transitions = 0

    def meet(self, state: State, parent: int) -> tuple[int, bool]:
        """The number of a state, and whether it is new."""
        number = len(self.parents)
        known = self.seen.setdefault(fingerprint(state), number)
        if known != number:
            return known, False
        self.parents.append(parent if parent >= 0 else number)
        if self.reach and self.system.good(state):
            self.goals.append(number)
        return number, True

    def spread(self, number: int, state: State, following: list[tuple[int, State]]) -> Found | None:
        """Take all steps from a state."""
        alive = False
        for label, kind, after, broken in self.system.steps(state):
            self.transitions += 1
            alive = alive or kind == OWN
            target, new = self.meet(after, number)
            if self.reach and kind <= TIME:
                self.sources.append(number)
                self.targets.append(target)
            if broken or new and (broken := self.system.broken(after)):
                return Found(broken, [*self.path(number), (label, after)])
            if new:
                following.append((target, after))
        if not alive and (broken := self.system.stuck(state)):
            return Found(broken, self.path(number))
        return None

    def path(self, number: int) -> list[tuple[str, State]]:
        """The way to a state, walked again."""
        numbers = [number]
        while self.parents[numbers[-1]] != numbers[-1]:
            numbers.append(self.parents[numbers[-1]])
        numbers.reverse()
        state = next(state for state in self.system.initial() if self.seen[fingerprint(state)] == numbers[0])
        way = [('at first', state)]
        for number in numbers[1:]:
            label, state = next(
                (label, after) for label, _, after, _ in self.system.steps(state)
                if self.seen.get(fingerprint(after)) == number
            )  # fmt: skip
            way.append((label, state))
        return way

    def unreached(self) -> int | None:
        """The first state from which none that is good can be reached, or None."""
        count = len(self.parents)
        first = array('I', bytes(4 * (count + 1)))
        for target in self.targets:
            first[target + 1] += 1
        for number in range(count):
            first[number + 1] += first[number]
        place, incoming = first[:], array('I', bytes(4 * len(self.targets)))
        for source, target in zip(self.sources, self.targets, strict=True):
            incoming[place[target]] = source
            place[target] += 1
        reached = bytearray(count)
        waiting = list(self.goals)
        for number in waiting:
            reached[number] = 1
        while waiting:
            number = waiting.pop()
            for source in incoming[first[number] : first[number + 1]]:
                if not reached[source]:
                    reached[source] = 1
                    waiting.append(source)
        missing = reached.find(0)
        return None if missing < 0 else missing


def explore(
    system: System, *, reach: str = '', states: int = 0, seconds: float = 0, progress: bool = False
) -> Result:  # fmt: skip
    """Go through all states, or as many, or for as long, as is said.

    ``reach`` names the invariant that is broken where no good state can be reached; without it that is not looked at.
    """
    search, start, depth, complete = _Search(system, bool(reach)), time.monotonic(), 0, True
    found: Found | None = None

    def result() -> Result:
        return Result(len(search.parents), search.transitions, depth, time.monotonic() - start, complete, found)

    frontier: list[tuple[int, State]] = []
    for state in system.initial():
        number, new = search.meet(state, -1)
        if new:
            frontier.append((number, state))
            if broken := system.broken(state):
                found = Found(broken, [('at first', state)])
                return result()
    while frontier:
        following: list[tuple[int, State]] = []
        for number, state in _draining(frontier):
            if states and len(search.parents) >= states or seconds and time.monotonic() - start > seconds:
                complete = False
                return result()
            found = search.spread(number, state, following)
            if found:
                return result()
        frontier = following
        depth += bool(frontier)
        if progress:
            print(depth, len(search.parents), search.transitions, f'{time.monotonic() - start:.0f} s', file=sys.stderr)
    if reach and (lost := search.unreached()) is not None:
        found = Found(reach, search.path(lost))
    return result()


def _draining(frontier: list[tuple[int, State]]) -> Iterator[tuple[int, State]]:
    """Each, and the memory of each is free once it was taken."""
    frontier.reverse()
    while frontier:
        yield frontier.pop()
