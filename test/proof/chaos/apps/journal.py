"""Where each process of a run writes down what happens in it, a line for each word, and how the lines are read.

Instants are ms by the clock of the machine, which is that of its servers; the clocks that processes go by are wrong at
times.  A line is one write, so who is killed has lost nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]
"""``w`` is the word, ``at`` when, ``pid`` whose."""


def now() -> float:
    """The time (ms), whatever `time.time` says here."""
    return time.clock_gettime(time.CLOCK_REALTIME) * 1000


class Journal:
    """That of one process: after a fork, or in a new process, another file."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._file = (0, -1)
        self._lock = threading.Lock()

    def write(self, word: str, **what: Any) -> None:
        """Write a line."""
        if self.folder is None:
            return
        line = {'w': word, 'at': round(now(), 1), 'pid': os.getpid(), **what}
        os.write(self._open(self.folder, os.getpid()), json.dumps(line).encode() + b'\n')

    def _open(self, folder: Path, pid: int) -> int:
        with self._lock:
            if self._file[0] != pid:
                self._file = pid, os.open(folder / f'{pid}.json', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            return self._file[1]


def read_lines(folder: Path) -> list[Line]:
    """All lines of a run, in the order of time."""
    return sorted(_lines_of(folder.glob('*.json')), key=lambda line: float(line['at']))


def _lines_of(files: Iterable[Path]) -> Iterator[Line]:
    for path in files:
        # The last line of who was killed may be cut off.
        for text in path.read_text().split('\n')[:-1]:
            yield json.loads(text)


class Reader:
    """Counts words of journals that others write, as they come."""

    def __init__(self, folder: Path, word: str) -> None:
        self._folder = folder
        self._word = f'{{"w": "{word}"'.encode()
        self._read: dict[Path, int] = {}
        self.count = 0

    def look(self) -> int:
        """How many there are."""
        for path in self._folder.glob('*.json'):
            with path.open('rb') as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
            whole = data.rfind(b'\n') + 1
            self._read[path] = self._read.get(path, 0) + whole
            self.count += data[:whole].count(self._word)
        return self.count
