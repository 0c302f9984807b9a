"""A layer of the proof as something that is run part by part: its goal, how its next part is run and read.

There are two kinds: `Seeds` go on from the last one that was run, and `Rows` from those that were run least recently.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from proof.record.here import Here
from proof.record.part import ROOT, Part, Tally
from proof.record.reading import Outcome, read_mutants, read_rows, read_seeds, read_tests

PIECE = 600.0
"""s that a part takes, about."""
BEGIN = 20.0
"""s until a part has begun to work."""
SURE = 1.5
"""What is allowed for it that something takes longer than it did before."""
TEST = 'pytest -q -s -n0 --tb=short -p no:cacheprovider -p proof.unshrunk'


class Order(NamedTuple):
    """A part that is to be run."""

    campaign: Campaign
    words: tuple[str, ...]
    """The command, behind its interpreter's ``-m``."""
    environ: Mapping[str, str]
    kinds: tuple[str, ...]
    first: int = 0
    rows: tuple[str, ...] = ()
    of: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Campaign:
    """What all campaigns have."""

    name: str
    about: str
    command: str
    """Words behind ``python -m``, in which for each part is put in what {first}, {count}, {until}, {row}, {rows} stand
    for, and for {mix} the kinds of servers that are here."""
    goals: Mapping[str, int]
    counts: Sequence[str] = ()
    """Which of its figures are recorded."""
    each: float
    """s for one seed, step or row, as long as nobody has measured it."""
    kinds: tuple[str, ...] = ()
    """Kinds of servers, where it needs certain ones."""
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    modules: tuple[str, ...] = ()
    """Modules besides its own that must be there."""
    python: str = ''
    """A version, where it needs a certain one."""

    def missing(self, here: Here) -> str:
        """What it needs and is not here, '' where nothing is."""
        if none := [name for name in (self.command.split()[0], *self.modules) if not is_there(name)]:
            return f'there is no module {none[0]}'
        lacking = [kind for kind in self.kinds if kind not in here.servers]
        if not here.python(self.python):
            lacking.append(f'Python {self.python}')
        return ', '.join(lacking)

    def goals_of(self, tally: Tally) -> Mapping[str, int]:
        return self.goals

    def pace(self, parts: Sequence[Part]) -> float:
        """How long (s) one of it takes, by the last parts that were run."""
        raise NotImplementedError

    def plan(self, parts: Sequence[Part], seconds: float, here: Here) -> Order | None:
        """The next part, which ends in so many seconds; None where there is none."""
        raise NotImplementedError

    def read(self, order: Order, text: str, status: int | None) -> Outcome:
        """What a part has come to; its status is None where it was cut off."""
        raise NotImplementedError

    def _order(self, here: Here, rows: tuple[str, ...] = (), of: int = 0, words: str = '', **given: object) -> Order:
        kinds = self.kinds or (tuple(here.servers) if '{mix}' in self.command else ())
        given |= {'mix': ','.join(kinds)}
        # Names of rows may have blanks in them.
        put = {'{rows}': rows, '{row}': tuple(words.split())}
        command = [one for word in self.command.split() for one in put.get(word) or (word.format(**given),)]
        environ = {name: text.format(**given) for name, text in self.environ.items()}
        first = given.get('first', 0)
        assert isinstance(first, int)
        return Order(self, tuple(command), environ, kinds, first, rows, of)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeds(Campaign):
    """Numbers, each of which is run once."""

    unit: str = 'seeds'
    """What {count} is a number of, a figure of the last line: seeds, by this or another name, or steps."""
    begin: int = 1
    last: int = 0
    """The last number there is, 0 where there is no end of them."""
    step: int = 1
    """{count} is a multiple of it, and so is the distance of the first of a part from the first of all."""
    tests: bool = False
    """Whether tests are run, whose seeds are not counted by {count}."""

    def pace(self, parts: Sequence[Part]) -> float:
        last = [part for part in parts if part.seeds and not part.cut][-5:]
        done = sum(part.counts.get(self.unit, len(part.keys())) for part in last)
        return sum(part.seconds for part in last) / done if done else self.each

    def plan(self, parts: Sequence[Part], seconds: float, here: Here) -> Order | None:
        each = self.pace(parts)
        first = max([self.begin, *(part.seeds[1] + 1 for part in parts if part.seeds)])
        first += (self.begin - first) % self.step
        # A layer that looks at the clock by itself needs no more than time for its last seed.
        is_timed = '{until}' in self.command
        piece = min(PIECE, seconds if is_timed else seconds / SURE)
        least = BEGIN + each * (2 * SURE if is_timed else self.step)
        count = int((piece - BEGIN) / each * (2 if is_timed else 1)) // self.step * self.step
        if self.last:
            count = min(count, self.last + 1 - first)
        if piece < least or count <= 0:
            return None
        until = round(piece - BEGIN - SURE * each)
        return self._order(here, first=first, count=count, until=until)

    def read(self, order: Order, text: str, status: int | None) -> Outcome:
        if self.tests:
            return read_tests(text, status, order.first, self.counts)
        return read_seeds(text, status, order.first, self.unit, self.counts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps(Seeds):
    """Random steps from a seed that is the number of the part."""

    def read(self, order: Order, text: str, status: int | None) -> Outcome:
        outcome = read_rows(text, status, ['all'], self.counts)
        return outcome._replace(rows=(), seeds=(order.first, order.first) if outcome.rows else None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows(Campaign):
    """Names, which may be run again and again, first what was never run, then what was not for longest."""

    names: Callable[[], Mapping[str, str]]
    """The rows that there are, with their words in the place of {row}."""
    goals: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'rows': 0})
    most: int = 1
    """So many in one part at the most."""
    sure: float = SURE
    """What is allowed for it that a row takes longer than it did before."""
    mutants: bool = False

    def goals_of(self, tally: Tally) -> Mapping[str, int]:
        return {'rows': tally.rows}

    def pace(self, parts: Sequence[Part]) -> float:
        return self._pace(parts, None)

    def _pace(self, parts: Sequence[Part], row: str | None) -> float:
        """How long (s) a row takes: where each is run alone, it is known of each."""
        known = [part for part in parts if not part.cut and part.rows and (row is None or row in part.rows)][-5:]
        if row is not None and not known:
            return self.each
        rows = sum(len(part.rows) for part in known)
        return sum(part.seconds for part in known) / rows if rows else self.each

    def plan(self, parts: Sequence[Part], seconds: float, here: Here) -> Order | None:
        names = self.names()
        last = Tally(parts).keys
        room = min(PIECE, seconds / self.sure) - BEGIN
        chosen: list[str] = []
        for row in sorted(names, key=lambda row: last.get(row, '')):
            pace = self._pace(parts, row if self.most == 1 else None)
            # One alone may take longer than a part does.
            if pace <= room or not chosen and BEGIN + self.sure * pace <= seconds:
                chosen.append(row)
                room -= pace
            if len(chosen) == self.most or chosen and room < pace:
                break
        # Rows that were run already are not run instead of others for which there is no time.
        if not chosen or not names.keys() <= last.keys() and last.keys() >= {*chosen}:
            return None
        return self._order(here, tuple(chosen), len(names), names[chosen[0]] or chosen[0])

    def read(self, order: Order, text: str, status: int | None) -> Outcome:
        return read_mutants(text, order.rows) if self.mutants else read_rows(text, status, order.rows, self.counts)


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def modules_of(folder: str) -> Mapping[str, str]:
    """The modules of tests of a folder."""
    return {path.relative_to(ROOT).as_posix(): '' for path in sorted((ROOT / 'test' / folder).glob('test_*.py'))}
