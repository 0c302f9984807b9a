"""What a worker has counted of the tasks of a queue since its last beat, and keeps until the server has it.

Other layers may import the names in `__all__`.
"""

import bisect
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torrelque import TorrelqueQueue
from torrelque.protocol.keys import BUCKETS

from .bounds import Bounds
from .held import Held

__all__ = ['OTHER']

OTHER = '*other'
"""What the functions above the bound are called, all together."""

SUCCEEDED, FAILED, DEAD, LOST, RUN, FIRST = range(6)
"""Places in the list of a function: counts, ms run, and the first bucket of run times."""

Attempts = tuple[int, int, int, int]
"""Of a function: how many attempts succeeded, failed (those of dead tasks too), were dead, were lost."""


class Packet(NamedTuple):
    """Counts on their way to the server."""

    number: int
    """1 is the first of a worker."""
    functions: tuple[tuple[str, str], ...]
    """Names; and of each the counts, ms run, and the buckets, as `write` makes a text of them."""
    run: str
    """The buckets of all of these, and the sum (ms), likewise; '' where nothing ran."""
    wait: str
    """The same of samples of waits; '' where there are none."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that must not be lost."""
        return not self.functions and not self.wait


class _Names:
    """What functions are counted as: those above the bound all as one.

    Names stay once they are there, so that a function is not counted under its own name at one time and among the
    others at another.
    """

    def __init__(self, most: int) -> None:
        self._known: set[str] = set()
        self._most = most

    def name(self, name: str) -> str:
        """What a function is counted as."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


_END = operator.attrgetter('resolved.job.name', 'ended', 'delivery.since')
"""Of a task whose handler has succeeded: its function, when that has ended, when the task was delivered."""
_NAME = operator.itemgetter(0)


class Tally:
    """Counts of one queue in one worker.

    A success costs no more than the appending of what is at hand: what is made of that is made once a beat.
    """

    def __init__(self, bounds: Bounds) -> None:
        # Legend.  _names: as the class says.  _ends: of attempts that succeeded, as `_END` says.  _counts: by function
        # what was not sent yet, but for these; those that have waited longest come first.  _waits: buckets and sum (ms)
        # of samples.  _packet: what is on its way, until it is known to be there.  _number: that of the last packet.
        # _packed: counts by function of all packets that there were.
        self._bounds = bounds
        self._names = _Names(bounds.functions)
        self._ends: list[tuple[str, float, float]] = []
        self._counts: dict[str, list[float]] = {}
        self._waits: list[float] = []
        self._packet: Packet | None = None
        self._number = 0
        self._packed: dict[str, Attempts] = {}

    # Counting

    def released(self, held: Sequence[Held], outcomes: Sequence[bool]) -> None:
        """The handlers of these tasks have succeeded; of each, whether it was still ours."""
        if all(outcomes):
            self._ends.extend(map(_END, held))
        else:
            for each, was_ours in zip(held, outcomes, strict=True):
                if was_ours:
                    self._ends.append(_END(each))
                else:
                    self.count(each, LOST)
        if len(self._ends) > self._bounds.untold_runs:
            self._fold()

    def count(self, held: Held, what: int) -> None:
        """An attempt has come to something else.  What it is counted as for the first time has its run time."""
        counts = self._of(self._names.name(str(held.resolved.job.name)))
        counts[what] += 1
        if (ran := held.take_run()) is not None:
            _add([ran], counts, FIRST, RUN)

    def waited(self, seconds: float) -> None:
        """A task was taken that had been ready for so long."""
        self._waits = self._waits or [0.0] * (len(BUCKETS) + 1)
        _add([seconds], self._waits, 0, len(BUCKETS))

    # Sending

    def pack(self, whole: bool = False) -> Packet:
        """What is to be sent next: what was not acknowledged, or else what was counted since.

        :param whole: have all functions in it, and not the first ones only.
        """
        if self._packet is not None and not self._packet.is_empty:
            return self._packet
        self._fold()
        names = [*self._counts][: None if whole else self._bounds.beat_functions]
        taken = {name: self._counts.pop(name) for name in names}
        for name, counts in taken.items():
            self._packed[name] = _plus(counts, self._packed.get(name))
        run = _together(taken.values())
        waits, self._waits = self._waits, []
        self._number += 1
        self._packet = Packet(
            self._number,
            tuple((str(name)[: self._bounds.function_name], write(counts)) for name, counts in taken.items()),
            write(run),
            write(waits),
        )
        return self._packet

    def acknowledge(self, packet: Packet) -> None:
        """A packet is known to be there."""
        if packet is self._packet:
            self._packet = None

    def attempts(self) -> dict[str, Attempts]:
        """What was counted since the beginning, by function, whether it was sent or not."""
        self._fold()
        return {**self._packed, **{name: _plus(now, self._packed.get(name)) for name, now in self._counts.items()}}

    # Parts

    def _of(self, name: str) -> list[float]:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = [0.0] * (FIRST + len(BUCKETS))
        return counts

    def _fold(self) -> None:
        """Make counts of run times."""
        ends, self._ends = self._ends, []
        # What goes through all of them are loops in C, because this is what a heartbeat costs a task.  Functions have
        # their names, and their turns, in the order in which they first ended.
        found = {name: self._of(self._names.name(name)) for name in dict.fromkeys(map(_NAME, ends))}
        for name, some in itertools.groupby(sorted(ends, key=_NAME), _NAME):
            _, ended, since = zip(*some, strict=True)
            counts = found[name]
            counts[SUCCEEDED] += len(ended)
            _add([*map(operator.sub, ended, since)], counts, FIRST, RUN)


Tallies = Mapping[TorrelqueQueue, Tally]
"""The tally of each queue of a worker."""


def _plus(counts: Sequence[float], more: Attempts | None) -> Attempts:
    succeeded, failed, dead, lost = more or (0, 0, 0, 0)
    return (
        succeeded + int(counts[SUCCEEDED]), failed + int(counts[FAILED]), dead + int(counts[DEAD]),
        lost + int(counts[LOST]),
    )  # fmt: skip


def together(tallies: Tallies | None) -> dict[str, Attempts]:
    """The attempts of all queues, by function."""
    found: dict[str, Attempts] = {}
    for tally in (tallies or {}).values():
        for name, counts in tally.attempts().items():
            found[name] = _plus(counts, found.get(name))
    return found


def _add(seconds: list[float], counts: list[float], first: int, total: int) -> None:
    """Put times into buckets, and add them up.  The list is left sorted."""
    seconds.sort()
    before, most = 0, len(seconds)
    for place, bound in enumerate(BUCKETS, first):
        upto = bisect.bisect_right(seconds, bound, before)
        counts[place] += upto - before
        if (before := upto) == most:
            break
    counts[total] += 1000 * sum(seconds)


def _together(lists: Iterable[list[float]]) -> list[float]:
    """Buckets and sum of several functions."""
    columns = [sum(column) for column in zip(*lists, strict=True)] or [0.0] * (FIRST + len(BUCKETS))
    return [*columns[FIRST:], columns[RUN]]


def write(numbers: Iterable[float]) -> str:
    """Those of some numbers that are not 0, each behind its place, from 1: counts whole, times (ms) to the microsecond.
    """
    places = [(place, round(number, 3)) for place, number in enumerate(numbers, 1)]
    return ' '.join(f'{place} {number:.14g}' for place, number in places if number)
