"""What processes are in the middle of, by their journals: so a storm strikes where something can be lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from proof.chaos.apps.journal import Line, now
from proof.chaos.apps.tale import IN_CHILD

LEFT = 8000.0
"""ms that a function has still to go whose worker is stopped: longer than that is, and what it may go on for then."""


class Running(NamedTuple):
    """A function that has not ended yet, as far as one knows."""

    worker: int
    """The process that holds its lease."""
    is_in_child: bool
    end: float
    """When it will end (ms)."""
    is_renewed: bool
    """Whether its last line says that its lease was renewed."""

    @property
    def is_long(self) -> bool:
        """Whether it is in a process of its own, and would be seen to go on there without its lease."""
        return self.is_in_child and self.end > now() + LEFT


def running_in(folder: Path, pids: Iterable[int]) -> Iterator[Running]:
    """What some processes are in the middle of."""
    for pid in pids:
        path = folder / f'{pid}.json'
        if not path.exists():
            continue
        begun: dict[str, Line] = {}
        last: dict[str, Line] = {}
        for text in path.read_text().split('\n')[:-1]:
            line = json.loads(text)
            if line['w'] == 'begins':
                begun[line['token']] = line
            elif line['w'] in ('ends', 'raises'):
                begun.pop(line['token'], None)
            last[line.get('token', '')] = line
        for token, line in begun.items():
            is_in_child, end = line['fn'] in IN_CHILD, line['at'] + 1000 * line['lasts']
            worker = line['parent'] if is_in_child else pid
            yield Running(worker, is_in_child, end, last[token]['w'] == 'touched')
