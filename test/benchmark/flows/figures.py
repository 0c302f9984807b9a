"""A figure of flows with its goal, how much is measured, and the flows that are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torrelque import TorrelqueNode


class Plan(NamedTuple):
    """How much is measured."""

    counts: int
    """Calls of one task whose instructions are counted; of large ones it is a tenth."""
    rounds: int
    """Of timed scripts the best counts, of rates the median."""
    chain: int
    """Links of one chain, and of that with one loop."""
    chains: int
    """As many chains at once."""
    length: int
    """Links of each of them."""
    fans: tuple[int, ...]
    """Tasks that one waits for; each is ten times the one before."""
    counted: tuple[int, ...]
    """The same, of which instructions are counted; these take a hundred times as long."""
    out: int
    """Tasks that wait for one."""
    cancelled: int
    """Tasks of the flow that is cancelled."""
    beside: tuple[int, ...]
    """Fan-ins of the packages beside."""


FULL = Plan(300, 5, 1000, 100, 100, (10_000, 100_000), (3000, 30_000), 10_000, 10_000, (1000, 10_000))
SMALL = Plan(3, 1, 20, 3, 5, (30, 300), (30, 300), 300, 60, (20,))


class Figure(NamedTuple):
    """Something that was measured."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    least: bool = False
    """Whether it is to be as large as its goal at the least, and not at the most."""

    @property
    def reached(self) -> bool:
        """Whether it is what it is to be."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.least else self.value <= self.goal


def chains(many: int, length: int) -> Iterator[TorrelqueNode]:
    """So many chains, of tasks each of which waits for the one before."""
    for chain in range(many):
        for number in range(length):
            after = {f'{chain}-{number - 1}': 'then'} if number else {}
            yield TorrelqueNode(f'{chain}-{number}', number, after)  # type: ignore[arg-type]


def fan_in(size: int) -> Iterator[TorrelqueNode]:
    """So many tasks, and one that waits for all of them."""
    for number in range(size):
        yield TorrelqueNode(str(number), number)
    yield TorrelqueNode('join', 'join', {str(number): 'then' for number in range(size)})


def fan_out(size: int) -> Iterator[TorrelqueNode]:
    """One task, and so many that wait for it."""
    yield TorrelqueNode('root', 'root')
    for number in range(size):
        yield TorrelqueNode(str(number), number, {'root': 'then'})


def web(size: int) -> Iterator[TorrelqueNode]:
    """Tasks each of which waits for the three before."""
    for number in range(size):
        before = range(max(0, number - 3), number)
        yield TorrelqueNode(str(number), number, {str(other): 'then' for other in before})
