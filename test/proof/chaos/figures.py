"""What the chaos comes to: sums of runs, and how they are told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from proof.standstill import FAILING, SLOW, STOLEN


@dataclass
class Figures:
    """Sums of runs."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Of the line, the server and the processes."""
    connections: int = 0
    """The most at once, with the faults over."""
    longest: float = 0.0
    """The longest time (s) that the machine ran, with the faults over, and nobody was handed a task that was there."""
    late: list[str] = field(default_factory=list)
    """What kept tasks in a queue without being a fault of it."""
    found: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.counts += other.counts
        self.faults += other.faults
        self.connections = max(self.connections, other.connections)
        self.longest = max(self.longest, other.longest)
        self.late += other.late
        self.found += other.found

    def as_json(self) -> str:
        sums: dict[str, Any]
        done = ('seeds', 'tasks', 'handouts', 'by_workers', 'watches', 'waits', 'damaged', 'unknown')
        sums = {name: self.counts[name] for name in (*done, 'losses', 'twice', 'stale', 'leftovers', 'unheard')}
        sums |= {verdict: self.counts[verdict] for verdict in (SLOW, STOLEN, *FAILING)}
        sums |= {'connections': self.connections, 'longest': self.longest}
        faults = {'faults': sum(self.faults.values()), 'faults_by_kind': dict(self.faults.most_common())}
        return json.dumps({**sums, **faults, 'seconds': self.counts['seconds'], 'faults_found': len(self.found)})
