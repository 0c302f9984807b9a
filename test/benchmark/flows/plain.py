"""What plain calls cost the server in instructions; it needs nothing that older checkouts do not have.

    python -m benchmark.flows.plain CALLS ROUNDS

With the root of another checkout before this one's in ``PYTHONPATH``, it is the scripts of that one that are counted.
"""

from __future__ import annotations

import functools
import json
import sys

from benchmark.speed.instructions import counted_server
from torrelque.protocol.bounds import BOUNDS

ROUNDS = 3
"""Of all calls at the most, because their instructions differ a little with what the server's tables hold."""
SWEEP = 'sweep, with nothing to do'


def measure(calls: int, rounds: int) -> dict[str, float]:
    """Instructions of each task, by calls; of large ones there are fewer."""
    found: dict[str, list[float]] = {}
    with counted_server('sweep') as counted:

        def sweep() -> None:
            counted.call('sweep', [str(BOUNDS.sweep)])

        for _ in range(min(rounds, ROUNDS)):
            for size, times in ((1, calls), (BOUNDS.bulk, max(2, calls // 15))):
                counted.enqueue(BOUNDS.bulk)
                for what in (counted.enqueue, counted.claim, counted.release):
                    title = f'{what.__name__}, {size} in a call: each task'
                    found.setdefault(title, []).append(counted.count(functools.partial(what, size), times, size))
                counted.client.flushall()
            found.setdefault(SWEEP, []).append(counted.count(sweep, calls))
    return {title: sum(several) / len(several) for title, several in found.items()}


if __name__ == '__main__':
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
