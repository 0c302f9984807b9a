"""What the output of a layer says: figures are JSON at the end of a line, those of the whole run in the last of them.

The last line of a layer is its figures alone, with ``faults_found``.  Where there is none, because the run was cut off,
the lines of its seeds are what is sure: ``seed 17 valkey9 {…}``.  Tests print a line of figures each, whose ``last`` is
their last seed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FIGURES = re.compile(r'(\{.*\})$')
SEED = re.compile(r'^(?:seed|round|piece) (\d+) (?:[\w-]+ )*\{')
PASSED = re.compile(r'^(?:seed \d+ \w+:|\{)')
STOPPED = re.compile(r'\b(?:seed|storm|history) (\d+) fails')
FAILED = re.compile(r'^(?:FAILED|ERROR) (test\S*?::.+)$')
CAUGHT = re.compile(r'^(\S+): (caught|hangs) by (.*) \([\d.]+ s\)$')
SURVIVED = re.compile(r'^(\S+): SURVIVED \(.*\)$')
PATH = re.compile(r'(?<![\w.:/])/(?:[\w.+-]+/)+([\w.+-]*)')
MOST, LONGEST = 5, 300
"""Lines of what was found that are kept, and their characters."""


class Outcome(NamedTuple):
    """What a part has come to."""

    counts: dict[str, int]
    found: list[str]
    seeds: tuple[int, int] | None = None
    rows: Sequence[str] = ()

    @property
    def is_something(self) -> bool:
        return self.seeds is not None or bool(self.rows)


def figures_in(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if match := FIGURES.search(line):
            try:
                said = json.loads(match[1])
            except ValueError:
                continue
            yield said


def last_figures(lines: Sequence[str]) -> dict[str, Any] | None:
    """The figures of the whole run, None where it did not come to its end."""
    last = [*figures_in(line for line in lines[-1:] if line.startswith('{'))]
    for figures in last:
        # The fuzzing of one reader says `found`.
        figures.setdefault('faults_found', figures.get('found'))
    return last[0] if last and last[0]['faults_found'] is not None else None


def sums(said: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, int]:
    """Sums of some figures, where they are numbers."""
    counts: Counter[str] = Counter()
    for figures in said:
        counts.update({name: round(figures[name]) for name in names if isinstance(figures.get(name), int | float)})
    return dict(counts)


def trouble(lines: Iterable[str]) -> list[str]:
    """The first lines that say what was found: without figures, without places of this machine, and without lines that
    are indented behind another, because these tell how it came to that."""
    said = [line.rstrip() for line in lines if line.strip() and not FIGURES.search(line) and not PASSED.match(line)]
    found = [line.strip() for place, line in enumerate(said) if place == 0 or line[0] != ' ']
    return _shortened([PATH.sub(r'…/\1', line)[:LONGEST] for line in found])


def _shortened(found: list[str]) -> list[str]:
    """The first of them, and how many there are besides."""
    return found if len(found) <= MOST else [*found[: MOST - 1], f'and {len(found) - MOST + 1} more']


def read_seeds(text: str, status: int | None, first: int, many: str, names: Sequence[str]) -> Outcome:
    """What was run of seeds, from the first on.

    :param status: None is a run that was cut off.
    :param many: which figure says how many seeds there were.
    """
    lines = text.splitlines()
    if figures := last_figures(lines):
        count = int(figures[many])
        found = trouble(lines[:-1]) or [f'{figures["faults_found"]} faults'] if figures['faults_found'] else []
        return Outcome(sums([figures], names), found, (first, first + count - 1) if count else None)
    done = {int(match[1]): line for line in lines if (match := SEED.match(line))}
    last = first
    while last in done:
        last += 1
    counts = sums(figures_in(done[seed] for seed in range(first, last)), names)
    ends = [*figures_in(done[seed] for seed in range(first, last))]
    found = trouble(lines) if any(end.get('faults_found') for end in ends) else []
    return Outcome(counts, found, (first, last - 1) if last > first else None)


def read_tests(text: str, status: int | None, first: int, names: Sequence[str]) -> Outcome:
    """What tests have run of seeds; a test that fails stops at a seed, and the next part goes on behind it."""
    lines = text.splitlines()
    said = [figures for figures in figures_in(lines) if 'last' in figures]
    stopped = [int(number) for number in STOPPED.findall(text)]
    found = [match[1][:LONGEST] for line in lines if (match := FAILED.match(line))][:MOST]
    if found:
        found += [PATH.sub(r'…/\1', line)[:LONGEST] for line in lines if line.startswith('E  ')][: MOST - len(found)]
    elif status is None:
        # Which of the tests is at which seed is not known.
        return Outcome({}, [])
    last = min(stopped) if stopped else max((figures['last'] for figures in said), default=None)
    return Outcome(sums(said, names), found, (first, last) if last is not None else None)


def read_rows(text: str, status: int | None, rows: Sequence[str], names: Sequence[str]) -> Outcome:
    """What was run of rows, which are all done where there is an end."""
    lines = text.splitlines()
    figures = last_figures(lines)
    failed = [match[1][:LONGEST] for line in lines if (match := FAILED.match(line))]
    if figures is None and not (failed or status == 0):
        # Some tell of each row when it is done.
        done = [said for said in figures_in(lines) if said.get('row') in rows]
        found = trouble(lines) if any(said['faults'] for said in done) else []
        return Outcome({}, found, rows=tuple(said['row'] for said in done))
    faults = figures['faults_found'] if figures else len(failed)
    found = failed[:MOST] or trouble(lines[:-1]) or [f'{faults} faults'] if faults else []
    return Outcome(sums([figures or {}], names), found, rows=rows)


def read_mutants(text: str, rows: Sequence[str]) -> Outcome:
    """What became of hand-made faults, each of which has a line."""
    caught, found, counts = [], [], Counter[str]()
    for line in text.splitlines():
        if (match := CAUGHT.match(line)) and match[1] in rows:
            caught.append(match[1])
            counts[match[2]] += 1
        elif (match := SURVIVED.match(line)) and match[1] in rows:
            found.append(line[:LONGEST])
            caught.append(match[1])
            counts['survived'] += 1
    return Outcome(dict(counts), found, rows=caught)
