"""The record: a file to which lines are added, and none is changed; a line is a part that was run, or a verdict on one.

So two branches that have both added lines are merged by keeping those of both, and what both have run counts once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
RECORD = ROOT / 'docs' / 'proof' / 'runs.jsonl'

Key = int | str
"""A seed, or the name of a row."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What one process has run of a campaign."""

    campaign: str
    when: str
    """When it began, in UTC."""
    seconds: float
    counts: Mapping[str, int]
    found: Sequence[str] = ()
    seeds: Sequence[int] = ()
    """The first and the last, where it is seeds."""
    rows: Sequence[str] = ()
    """Their names, where it is rows."""
    of: int = 0
    """How many rows there were."""
    cut: bool = False
    """Whether it was ended before its end; then it is what is sure to be done."""
    on: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Servers, Python, processors, and how busy they were before."""
    commit: str = ''
    tree: str = ''
    """A hash of the package, see `hash_tree`."""

    @property
    def id(self) -> str:
        return f'{self.campaign} {self.when}'

    def keys(self) -> set[Key]:
        """What was run."""
        return {*range(self.seeds[0], self.seeds[1] + 1)} if self.seeds else {*self.rows}

    def as_line(self) -> str:
        said = {name: value for name, value in vars(self).items() if value or name in ('counts', 'found')}
        return json.dumps(said, sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of that which a part has found."""

    about: str
    """The id of the part."""
    mended: str = ''
    """The commit; '' where it was no fault of the queue."""
    why: str = ''

    def as_line(self) -> str:
        return json.dumps({name: value for name, value in vars(self).items() if value}, sort_keys=True)


class Record:
    """All that has been run."""

    def __init__(self, path: Path = RECORD) -> None:
        self._path = path
        lines = [*dict.fromkeys(path.read_text('utf-8').splitlines())] if path.exists() else []
        said = [json.loads(line) for line in lines]
        self.parts = sorted((Part(**one) for one in said if 'about' not in one), key=lambda part: part.when)
        self.verdicts = {one['about']: Verdict(**one) for one in said if 'about' in one}

    def add(self, line: Part | Verdict) -> None:
        if isinstance(line, Part):
            self.parts.append(line)
        else:
            self.verdicts[line.about] = line
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open('a', encoding='utf-8') as file:
            file.write(line.as_line() + '\n')

    def of(self, campaign: str) -> list[Part]:
        return [part for part in self.parts if part.campaign == campaign]

    def finds(self, parts: Iterable[Part]) -> tuple[int, int]:
        """How much parts have found, and how much of that is mended; what was no fault of the queue is in neither."""
        found = [part for part in parts if part.found and not self._is_dismissed(part)]
        mended = [part for part in found if part.id in self.verdicts]
        return sum(len(part.found) for part in found), sum(len(part.found) for part in mended)

    def _is_dismissed(self, part: Part) -> bool:
        verdict = self.verdicts.get(part.id)
        return verdict is not None and not verdict.mended


class Tally:
    """What parts of one campaign come to together, each seed and row once."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.keys: dict[Key, str] = {}
        """When each was run last."""
        self.counts: Counter[str] = Counter()
        self.rows = 0
        """How many rows there were when some were run last."""
        for part in parts:
            keys = part.keys()
            new = len(keys.difference(self.keys)) / len(keys) if keys else 0
            self.counts.update({name: round(count * new) for name, count in part.counts.items()})
            self.keys.update(dict.fromkeys(keys, part.when))
            self.rows = part.of or self.rows

    def reached(self, goal: str) -> int:
        """How much of a goal was reached: seeds and rows are counted, all else is told by those who ran."""
        return len(self.keys) if goal in ('seeds', 'rows') else self.counts[goal]

    def share(self, goals: Mapping[str, int]) -> float:
        """Which share of its goals was reached, by the one of which least was, 1 at the most."""
        return min(min(1.0, self.reached(name) / many) if many else 0.0 for name, many in goals.items())


def spans(keys: Iterable[Key]) -> Iterator[tuple[int, int]]:
    """Numbers as spans of those that follow one another."""
    numbers = sorted(key for key in keys if isinstance(key, int))
    first = 0
    for place, number in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != number + 1:
            yield numbers[first], number
            first = place + 1


def hash_tree(package: Path = ROOT / 'torrelque') -> str:
    """A hash of the package's sources: figures with the same one are of the same code."""
    found = hashlib.sha256()
    for path in sorted(package.rglob('*')):
        if path.is_file() and '__pycache__' not in path.parts:
            found.update(path.relative_to(package).as_posix().encode() + b'\0' + path.read_bytes() + b'\0')
    return found.hexdigest()[:12]
