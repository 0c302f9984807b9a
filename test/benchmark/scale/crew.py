"""Child processes that work on queues at the same time, and what they did together."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from benchmark.scale.work import LOOPS, PATIENCE, Tally
from support.processes import TEST, environment
from torrelque.protocol.keys import make_keys

CHILD = 'benchmark.scale.child'
LOOK = 0.02
"""s between two looks at whether a queue is empty."""
SETTLED = 0.2
"""s after which consumers that find nothing are connected to the bell."""
ENDED = 'a child has ended; its last words are above'


class Crew:
    """Children that are connected, warm and idle; they begin when they are told, and all at once."""

    def __init__(self, places: Sequence[dict[str, Any]], tally: Tally, loops: int = LOOPS) -> None:
        self._children: list[subprocess.Popen[bytes]] = []
        self._tally = tally
        try:
            for place in places:
                command = [sys.executable, '-m', CHILD, json.dumps(place)]
                child = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TEST, env=environment(*sys.path)
                )
                self._children.append(child)
            for answer in self.ask(len(places), do='warm', loops=loops):
                tally.put(answer['put'])
                tally.take(answer['count'])
        except BaseException:
            self.close()
            raise

    def fill(self, number: int, count: int) -> float:
        """So many of them enqueue as many tasks each; tasks a second, of all together."""
        answers = self.ask(number, do='enqueue', count=count)
        put: int = sum(answer['count'] for answer in answers)
        self._tally.put(put)
        return put / _seconds(answers)

    def drain(self, number: int, left: Left, look: Callable[[], None] | None = None, **order: Any) -> float:
        """So many of them drain until nothing is left; tasks a second, of all together.  ``look`` is called meanwhile,
        and once more when they wait."""
        self.tell(number, do='drain', **order)
        until = time.monotonic() + PATIENCE
        while not left.empty():
            if time.monotonic() > until:
                raise TimeoutError(f'the queues are not empty after {PATIENCE:.0f} s')
            if any(child.poll() is not None for child in self._children):
                raise RuntimeError(ENDED)
            if look:
                look()
            time.sleep(LOOK)
        if look:
            time.sleep(SETTLED)
            look()
        self.tell(number)
        answers = self.answers(number)
        done: int = sum(answer['count'] for answer in answers)
        self._tally.take(done)
        return done / _seconds(answers)

    def ask(self, number: int, **order: Any) -> list[dict[str, Any]]:
        self.tell(number, **order)
        return self.answers(number)

    def close(self) -> None:
        """They end with their input."""
        for child in self._children:
            with child:
                assert child.stdin is not None
                child.stdin.close()
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()

    def tell(self, number: int, **order: Any) -> None:
        """Have the first ones do something; without an order, end what they do."""
        for child in self._children[:number]:
            assert child.stdin is not None
            child.stdin.write(json.dumps(order).encode() + b'\n')
            child.stdin.flush()

    def answers(self, number: int) -> list[dict[str, Any]]:
        """What they answer to what they were told last."""
        answers = []
        for child in self._children[:number]:
            assert child.stdout is not None
            if not select.select([child.stdout], [], [], PATIENCE)[0]:
                raise TimeoutError(f'a child gives no answer within {PATIENCE:.0f} s')
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(ENDED)
            answers.append(json.loads(line))
        return answers


class Left:
    """What there is in queues, each on the server of a client, but for so many tasks that somebody holds."""

    def __init__(self, queues: Sequence[tuple[redis.Redis, str]], held: int = 0) -> None:
        self._queues = [(client, make_keys(queue)) for client, queue in queues]
        self._held = held

    def empty(self) -> bool:
        return all(self._empty(client, keys) for client, keys in self._queues)

    def _empty(self, client: redis.Redis, keys: dict[str, str]) -> bool:
        # Both at one moment: else a task could be on its way from one to the other.
        both = client.pipeline()
        both.llen(keys['pending'])
        both.zcard(keys['working'])
        pending, working = both.execute()
        return bool(pending == 0 and working <= self._held)


def _seconds(answers: list[dict[str, Any]]) -> float:
    """From the first that began to the last that ended: the clock is the same for all processes."""
    ended, began = max(answer['ended'] for answer in answers), min(answer['began'] for answer in answers)
    return float(ended - began)


@contextmanager
def start_crew(places: Sequence[dict[str, Any]], tally: Tally, loops: int = LOOPS) -> Iterator[Crew]:
    """A child for each place; they end with the block."""
    crew = Crew(places, tally, loops)
    try:
        yield crew
    finally:
        crew.close()
