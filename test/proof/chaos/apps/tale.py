"""What happened in a run, as it was written down: calls, attempts, and what was done to processes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from proof.chaos.apps.journal import Line

LEASE = 1500.0
"""ms."""


@dataclass
class Send:
    """A call that somebody has enqueued, or has tried to."""

    n: int
    kind: str
    at: float
    until: float = math.inf
    """When it was acknowledged."""
    id: str | None = None
    group: str | None = None
    order: str | None = None
    queue: str = 'main'
    expires: float | None = None
    """s."""
    parts: dict[str, int] = field(default_factory=dict)
    """Of a flow: ids of those that its join waits for, and their numbers."""

    @property
    def is_sure(self) -> bool:
        return self.until < math.inf


@dataclass
class Attempt:
    """A function that has begun."""

    id: str
    token: str
    fn: str
    n: int | None
    pid: int
    parent: int
    began: float
    ended: float = math.inf
    """When the function has returned, or has raised."""
    has_returned: bool = False
    has_failed: bool = False
    """Whether it has raised what it was to raise, and not because its lease was lost."""
    released: float = math.inf
    """When the queue was known to have taken that."""
    last: float = 0.0
    """When the function was last known to go on."""
    leased: float = 0.0
    """Until when it certainly had a lease, unless that was given back."""
    is_in_child: bool = False

    @property
    def number(self) -> int:
        return int(self.token.partition('-')[0])

    @property
    def claimed(self) -> float:
        """When it was handed out, by the clock of the server."""
        return float(self.token.partition('-')[2])


@dataclass
class Firing:
    """What the queue says of a schedule in the end."""

    name: str
    fired: int
    skipped: int
    last: float
    """The last instant that something was decided about."""
    before: float
    """When it was not there yet."""
    after: float
    """When it was."""


IN_CHILD = ('computes', 'rows', 'holds_process')


class Tale:
    """A run."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.sends: dict[int, Send] = {}
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)
        self.kills: dict[int, float] = {}
        self.told: dict[int, float] = {}
        self.stops: list[tuple[int, float, float]] = []
        self.dead: list[tuple[str, float, str]] = []
        self.finals: dict[str, str] = {}
        """What the queue says in the end of each call: the name of a status, '' where it knows nothing."""
        self.firings: list[Firing] = []
        self.counted: dict[str, int] = {}
        """By function, how many attempts have succeeded, as the records of workers say."""
        self.gaps: list[tuple[float, float]] = []
        """Times of which a server says that what it has answered may be lost."""
        self.is_late = False
        """Whether a busy machine has left something in the queues."""
        self.troubles: list[str] = []
        self.calm = math.inf
        """When the faults were over."""
        self.twice: list[str] = []
        self.counts: Counter[str] = Counter()
        self._tokens: dict[tuple[str, str], Attempt] = {}
        for line in lines:
            self.counts[line['w']] += 1
            _READERS[line['w']](self, line)
        for attempts in self.attempts.values():
            attempts.sort(key=lambda one: one.claimed)

    def all_attempts(self) -> Iterable[Attempt]:
        for attempts in self.attempts.values():
            yield from attempts

    # Lines

    def _sends(self, line: Line) -> None:
        names = ('n', 'kind', 'at', 'id', 'group', 'order', 'expires', 'parts', 'queue')
        self.sends[line['n']] = Send(**{name: line[name] for name in names if name in line})

    def _sent(self, line: Line) -> None:
        send = self.sends[line['n']]
        send.until, send.id = min(send.until, line['at']), line['id']

    def _begins(self, line: Line) -> None:
        fn, key = line['fn'], (line['id'], line['token'])
        if key in self._tokens:
            self.twice.append(f'{line["id"]} {line["token"]}')
            return
        one = Attempt(line['id'], line['token'], fn, line['n'], line['pid'], line['parent'], line['at'])
        one.last, one.leased, one.is_in_child = one.began, one.claimed + LEASE, fn in IN_CHILD
        self._tokens[key] = one
        self.attempts[one.id].append(one)

    def _of(self, line: Line) -> Attempt | None:
        return self._tokens.get((line['id'], line['token']))

    def _goes_on(self, line: Line) -> None:
        if one := self._of(line):
            one.last = max(one.last, line['at'])

    def _touched(self, line: Line) -> None:
        if one := self._of(line):
            one.leased = max(one.leased, line['began'] + LEASE)

    def _ends(self, line: Line) -> None:
        if one := self._of(line):
            one.ended, one.has_returned = line['at'], line['w'] == 'ends'
            one.has_failed = line.get('error') == 'ValueError'
            one.last = max(one.last, line['at'])

    def _released(self, line: Line) -> None:
        if one := self._of(line):
            one.released = line['at']

    def _kills(self, line: Line) -> None:
        self.kills.setdefault(line['who'], line['at'])

    def _told(self, line: Line) -> None:
        self.told.setdefault(line['who'], line['at'])

    def _stops(self, line: Line) -> None:
        self.stops.append((line['who'], line['at'], line['until']))

    def _dead(self, line: Line) -> None:
        self.dead.append((line['id'], line['at'], line['error']))

    def _final(self, line: Line) -> None:
        self.finals[line['id']] = line['status']

    def _firing(self, line: Line) -> None:
        self.firings.append(Firing(**{name: line[name] for name in Firing.__dataclass_fields__}))

    def _counted(self, line: Line) -> None:
        self.counted[line['fn']] = line['succeeded']

    def _gap(self, line: Line) -> None:
        self.gaps.append((line['begin'], line['end']))

    def _late(self, line: Line) -> None:
        self.is_late = True

    def _trouble(self, line: Line) -> None:
        self.troubles.append(line['text'])

    def _calm(self, line: Line) -> None:
        self.calm = line['at']

    def _pass(self, line: Line) -> None:
        pass

    # What the rules ask

    def is_forgiven(self, begin: float, end: float) -> bool:
        """Whether the server may have lost something of that time."""
        return any(begin <= until and since <= end for since, until in self.gaps)

    def could_run(self, pids: Iterable[int], at: float) -> float:
        """When processes that had something to notice at some time could at the latest run."""
        late = at
        for pid, since, until in sorted(self.stops, key=lambda stop: stop[1]):
            if pid in pids and since <= late:
                late = max(late, until)
        return late

    def stops_beyond_lease(self, one: Attempt) -> Iterator[float]:
        """When the worker of what runs in a process of its own went on, which stood still for longer than a lease."""
        stops = [stop for stop in self.stops if stop[0] == one.parent]
        for who, since, until in stops:
            # The end of one that began before has it go on.
            is_whole = not any(begin < since < end for _, begin, end in stops)
            if is_whole and one.is_in_child and one.claimed < since and max(since + LEASE, one.leased) < until:
                yield self.could_run((who,), until)

    def has_said_goodbye(self, pid: int) -> bool:
        """Whether a worker ended when it was told to, with no fault about."""
        return pid not in self.kills and self.told.get(pid, -math.inf) >= self.calm

    def was_given_back(self, one: Attempt) -> float:
        """From when on a worker may have given back what still ran in a thread, or in a process that was killed."""
        if one.is_in_child:
            # It does not end by itself when it is told to, and whoever was killed gives nothing back.
            return min(self.kills.get(one.pid, math.inf), self.told.get(one.parent, math.inf))
        return self.told.get(one.pid, math.inf)


_READERS: dict[str, Callable[[Tale, Any], None]] = {
    'sends': Tale._sends, 'sent': Tale._sent, 'unsure': Tale._pass, 'begins': Tale._begins,
    'goes on': Tale._goes_on, 'touched': Tale._touched, 'ends': Tale._ends, 'raises': Tale._ends,
    'released': Tale._released, 'kills': Tale._kills, 'told': Tale._told, 'stops': Tale._stops, 'dead': Tale._dead,
    'final': Tale._final, 'firing': Tale._firing, 'counted': Tale._counted, 'gap': Tale._gap,
    'trouble': Tale._trouble, 'calm': Tale._calm, 'late': Tale._late, 'ended': Tale._pass,
}  # fmt: skip
