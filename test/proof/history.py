"""What happened in a run: who asked for what and when, what was answered, and who was handed what.

Each process writes lines of its own, each with one write, so that kill -9 loses none.  A call is written down before it
is made and after it has answered: where the second line is missing, or says that the call raised, its outcome is
unknown, which is neither done nor undone.  Times are milliseconds of the clock of this machine, which is the servers'.

A *job* is the number in a task's payload; it stays the same whatever ids a queue gives.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_clock = time.time
"""As it is before a test changes it: a client's clock may be an hour off, that of the history never is."""


ROUNDING = 1.0
"""ms by which the server's whole milliseconds may differ from the clock."""


def now() -> float:
    """The time (ms)."""
    return _clock() * 1000


@dataclass
class Act:
    """A call that concerns one job."""

    verb: str
    """enqueue, cancel, or what a holder does: release, requeue, bury, touch."""
    job: int
    began: float
    ended: float | None = None
    """None where it was never answered, for its process was killed."""
    answer: bool | None = None
    """None is unknown."""
    hand: str = ''
    """Of which hand-out, for what a holder does."""
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return self.answer is True

    @property
    def may_be_done(self) -> bool:
        return self.answer is not False

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may have been sent more than once: not where it was answered while its connection lived."""
        return self.answer is None or bool(self.info.get('again', True))

    @property
    def end(self) -> float:
        """When it was certainly over (ms); one that raised may still be sent again."""
        return float('inf') if self.ended is None or self.answer is None else self.ended


@dataclass
class Hand:
    """A job that was handed to somebody."""

    key: str
    job: int
    who: str
    attempt: int | None
    earliest: float
    """The claim was not made before (ms); both are the same where the server's time is known."""
    latest: float
    lease: float
    """ms."""
    acts: list[Act] = field(default_factory=list)

    def end_of_lease(self) -> float:
        """When the lease ends at the earliest (ms): what certainly renewed it is counted."""
        ends = [self.earliest + self.lease]
        ends += [act.began + self.lease for act in self.acts if act.verb == 'touch' and act.is_done]
        return max(ends)

    def may_be_released_by(self, act: Act) -> bool:
        """Whether a release was done, for all that is known.

        Where its lease was over, one that was sent more than once is answered False though the first sending may have
        been carried out.
        """
        over = (float('inf') if act.ended is None else act.ended) + ROUNDING >= self.end_of_lease()
        return act.verb == 'release' and (act.may_be_done or act.may_be_repeated and over)

    def given_back(self) -> float | None:
        """From when on its holder may have given it back, or finished it (ms)."""
        return min((act.began for act in self.acts if act.verb != 'touch' and act.may_be_done), default=None)


class Damage(NamedTuple):
    """What was done to the keys of a task by hand."""

    task_id: str
    kind: str
    is_done: bool
    """Whether it certainly was; else nobody knows."""


@dataclass
class Story:
    """All that happened to a job."""

    job: int
    enqueues: list[Act] = field(default_factory=list)
    cancels: list[Act] = field(default_factory=list)
    hands: list[Hand] = field(default_factory=list)
    damage: Damage | None = None

    @property
    def acts(self) -> Iterator[Act]:
        for hand in self.hands:
            yield from hand.acts

    @property
    def is_acknowledged(self) -> bool:
        return any(act.is_done for act in self.enqueues)

    @property
    def is_confirmed(self) -> bool:
        """Whether replicas had it, by what `WAIT` said."""
        return any(act.info.get('confirmed') for act in self.enqueues)

    @property
    def group(self) -> str | None:
        return next((act.info.get('group') for act in self.enqueues), None)

    @property
    def is_finished(self) -> bool:
        """Whether somebody released or cancelled it, for all that is known."""
        return any(hand.may_be_released_by(act) for hand in self.hands for act in hand.acts) or any(
            act.may_be_done for act in self.cancels
        )


class Watched(NamedTuple):
    """What somebody saw who followed a task."""

    job: int
    began: float
    ended: float
    states: list[tuple[int, int, int]]
    """Status, hand-outs and returns, as they came."""
    end: str
    """How it ended: final, gone (without a final state), unknown (no such task), late, failed, left by the watcher."""


class Trouble(NamedTuple):
    """Something that an actor saw, and that must not be."""

    who: str
    invariant: int
    text: str


class Recorder:
    """Writes the lines of one actor."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._who = who
        self._count = 0
        self.hands = 0
        """How many tasks it was told of that were handed out."""

    def close(self) -> None:
        os.close(self._file)

    def begin(self, verb: str, jobs: Iterable[int], *, hands: Iterable[str] = (), **info: Any) -> str:
        """Somebody is about to make a call for some jobs; the key for its end."""
        key = self._key()
        self._write(['begin', key, now(), verb, [*jobs], [*hands], info])
        return key

    def end(self, key: str, answers: Iterable[bool | None] | None, **info: Any) -> None:
        """The call has answered for each of its jobs, or raised, which is None."""
        self._write(['end', key, now(), None if answers is None else [*answers], info])

    def handed(
        self, job: int, *, attempt: int | None, earliest: float, latest: float, lease: float, **info: Any
    ) -> str:
        """A job was handed out, by a claim between these times (ms); the key of the hand-out."""
        key = self._key()
        self.hands += 1
        self._write(['hand', key, now(), job, attempt, earliest, latest, lease, info])
        return key

    def watched(self, job: int, began: float, states: Sequence[tuple[int, int, int]], end: str) -> None:
        """Somebody followed a task, and has come to the end."""
        self._write(['watch', self._key(), now(), job, began, [*states], end])

    def note(self, what: str) -> None:
        """Something happened that is to be counted."""
        self._write(['note', self._key(), now(), what])

    def damage(self, job: int, task_id: str, kind: str) -> str:
        """Somebody is about to damage the keys of a task; the key for the end of it."""
        key = self._key()
        self._write(['damage', key, now(), job, task_id, kind])
        return key

    def damaged(self, key: str) -> None:
        """The damage was done."""
        self._write(['damaged', key, now()])

    def report(self, task_id: str) -> None:
        """Somebody was told that a task is damaged."""
        self._write(['report', self._key(), now(), task_id])

    def trouble(self, invariant: int, text: str) -> None:
        """Something happened that must not."""
        self._write(['trouble', self._key(), now(), invariant, text])

    def _key(self) -> str:
        self._count += 1
        return f'{self._who}/{self._count}'

    def _write(self, line: list[Any]) -> None:
        os.write(self._file, json.dumps(line, separators=(',', ':')).encode() + b'\n')


class History:
    """All lines of a run, put together by job."""

    def __init__(self, lines: Iterable[list[Any]]) -> None:
        self.stories: dict[int, Story] = {}
        self.watches: list[Watched] = []
        self.notes: Counter[str] = Counter()
        self.troubles: list[Trouble] = []
        self.reported: set[str] = set()
        """Ids of tasks of which somebody was told that they are damaged."""
        self._damaging: dict[str, Story] = {}
        self._hands: dict[str, Hand] = {}
        self._calls: dict[str, list[Act]] = {}
        rest: dict[str, list[list[Any]]] = {'begin': [], 'end': []}
        for kind, *line in lines:
            if kind == 'hand':
                self._add_hand(*line)
            elif kind == 'watch':
                _, ended, job, began, states, end = line
                self.watches.append(Watched(job, began, ended, [(*state,) for state in states], end))
            elif kind == 'note':
                self.notes[line[2]] += 1
            elif kind == 'trouble':
                self.troubles.append(Trouble(line[0].rpartition('/')[0], line[2], line[3]))
            elif kind == 'report':
                self.reported.add(line[2])
            elif kind == 'damage':
                key, _, job, task_id, how = line
                self._damaging[key] = self.story(job)
                self._damaging[key].damage = Damage(task_id, how, False)
            elif kind == 'damaged':
                story = self._damaging[line[0]]
                story.damage = story.damage and story.damage._replace(is_done=True)
            else:
                rest[kind].append(line)
        for call in rest['begin']:
            self._add_call(*call)
        for answer in rest['end']:
            self._end_call(*answer)
        for story in self.stories.values():
            story.hands.sort(key=lambda hand: (hand.earliest, hand.attempt or 0))

    @classmethod
    def read(cls, paths: Iterable[Path]) -> History:
        """From files; the last line of one whose writer was killed may be cut."""

        def lines() -> Iterator[list[Any]]:
            for path in paths:
                for line in path.read_bytes().split(b'\n')[:-1]:
                    yield json.loads(line)

        return cls(lines())

    def story(self, job: int) -> Story:
        return self.stories.setdefault(job, Story(job))

    @property
    def hands(self) -> list[Hand]:
        return [*self._hands.values()]

    @property
    def unknown(self) -> int:
        """Of how many jobs' calls nobody knows whether they were carried out."""
        return sum(act.answer is None for acts in self._calls.values() for act in acts)

    def _add_hand(
        self,
        key: str,
        at: float,
        job: int,
        attempt: int | None,
        earliest: float,
        latest: float,
        lease: float,
        info: dict[str, Any],
    ) -> None:
        who = key.rpartition('/')[0]
        hand = Hand(key, job, who, attempt, earliest, latest, lease)
        self._hands[key] = hand
        self.story(job).hands.append(hand)

    def _add_call(
        self, key: str, at: float, verb: str, jobs: list[int], hands: list[str], info: dict[str, Any]
    ) -> None:
        acts = [Act(verb, job, at, info=dict(info)) for job in jobs]
        self._calls[key] = acts
        for place, act in enumerate(acts):
            if hands:
                act.hand = hands[place]
                self._hands[act.hand].acts.append(act)
            elif verb == 'enqueue':
                self.story(act.job).enqueues.append(act)
            else:
                self.story(act.job).cancels.append(act)

    def _end_call(self, key: str, at: float, answers: list[bool | None] | None, info: dict[str, Any]) -> None:
        for place, act in enumerate(self._calls[key]):
            act.ended = at
            act.answer = answers[place] if answers is not None else None
            act.info.update(info)
