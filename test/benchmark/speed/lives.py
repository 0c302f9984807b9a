"""What the whole life of a task costs the server: commands of its scripts, and instructions.

    python -m benchmark.speed.lives [CALLS]

One task at a time while others are pending, and where nothing else is in the queue; and 250 together, plain ones and
such as have groups of their own.  It needs valgrind.  With the root of another checkout before this one's in
``PYTHONPATH``, it is the scripts of that one that are counted.
"""

from __future__ import annotations

import itertools
import json
import secrets
import sys
from collections.abc import Callable

from benchmark.speed.instructions import PAYLOAD, Counted, counted_server
from torrelque.protocol.bounds import BOUNDS

GROUPS = 4000
WAITING = 4
"""Calls whose tasks wait while more are enqueued and taken."""

Cost = tuple[float, float]
"""Commands, and instructions."""


class Lives(Counted):
    """Whole lives of tasks of a server that is counted."""

    _numbers = itertools.count()
    grouped = False

    def enqueue(self, count: int) -> int:  # type: ignore[override]
        """Store so many tasks, plain ones or of groups of their own."""
        words: list[str] = []
        for _ in range(count):
            group = next(self._numbers) % GROUPS
            options = f'{{"timeout":300000,"group":"customer-{group}"}}' if self.grouped else '300000'
            words += [secrets.token_hex(16), PAYLOAD, options]
        assert self.call('enqueue', ['', '2000', *words]) == b'ok'
        return count

    def take(self, count: int) -> int:
        """Take what a claim gives; how many."""
        before = len(self._taken)
        self._claims += 1
        record = f'{self.keys["claim"]}:counted:{self._claims}'
        reply = self.call('claim', ['', record, str(count), '0', '2000', str(BOUNDS.bulk_bytes)])
        for start in range(6, len(reply), 4):
            self._taken += [reply[start].decode(), f'{reply[start + 2]}-{reply[1].decode()}', '']
        return (len(self._taken) - before) // 3

    def settle(self, count: int) -> int:
        """Finish the first of what was taken."""
        self.release(count)
        return count

    def commands(self) -> int:
        """Commands that were executed, but for those of this program itself."""
        stats: dict[str, dict[str, int]] = self.client.info('commandstats')
        return sum(of_one['calls'] for name, of_one in stats.items() if not name.endswith(('_evalsha', '_info')))

    def end(self) -> None:
        """Begin anew, with an empty server."""
        self.client.flushall()
        self.forget()

    def cost(self, calls: Callable[[], list[int]]) -> Cost:
        """Commands and instructions of each task of some calls, each of which says how many it was for."""
        before = self.commands()
        with self.counting():
            count = sum(calls())
        spent = self.counted()
        return (self.commands() - before) / count, spent / count


def among_others(lives: Lives, calls: int) -> dict[str, Cost]:
    """Costs of each verb, of one task at a time while others are pending."""
    lives.enqueue(BOUNDS.bulk)
    found: dict[str, Cost] = {}
    for verb, call in (('enqueue', lives.enqueue), ('claim', lives.take), ('release', lives.settle)):
        # What is done once, as the first call of a script, does not count.
        for _ in range(5):
            call(1)
        found[verb] = lives.cost(lambda call=call: [call(1) for _ in range(calls)])  # type: ignore[misc]
    lives.end()
    return found


def alone(lives: Lives, calls: int) -> dict[str, Cost]:
    """Costs of lives where nothing else is in the queue; a consumer takes the ring."""

    def live(count: int) -> list[int]:
        for _ in range(count):
            lives.enqueue(1)
            assert lives.client.rpop(lives.keys['bell'])
            lives.take(1)
            lives.release(1)
        return [1] * count

    live(5)
    found = {'all': lives.cost(lambda: live(calls))}
    lives.end()
    return found


def together(lives: Lives, calls: int, grouped: bool) -> dict[str, Cost]:
    """Costs of each verb, of a task among 250, or among as many as a claim gives."""
    lives.grouped, bulk = grouped, BOUNDS.bulk
    for _ in range(WAITING):
        lives.enqueue(bulk)

    def release() -> int:
        return lives.settle(min(100 if grouped else bulk, len(lives._taken) // 3))

    found = {
        'enqueue': lives.cost(lambda: [lives.enqueue(bulk) for _ in range(calls)]),
        'claim': lives.cost(lambda: [lives.take(bulk) for _ in range(calls)]),
        'release': lives.cost(lambda: [release() for _ in range(calls)]),
    }
    lives.end()
    return found


def measure(calls: int) -> dict[str, dict[str, Cost]]:
    """Costs by the kind of life and the verb, with their sum as ``life``."""
    with counted_server() as counted:
        # The same server, with calls of its own.
        lives = Lives.__new__(Lives)
        lives.__dict__.update(counted.__dict__)
        found = {
            'one, others pending': among_others(lives, calls),
            'one alone': alone(lives, calls),
            '250 plain': together(lives, 4, grouped=False),
            '250 of groups': together(lives, 4, grouped=True),
        }
    for costs in found.values():
        commands, spent = zip(*costs.values(), strict=True)
        costs['life'] = sum(commands), sum(spent)
    return found


if __name__ == '__main__':
    print(json.dumps(measure(int((sys.argv[1:] or ['60'])[0])), indent=1))
