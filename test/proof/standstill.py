"""Whether a queue that is not empty yet is slow, was robbed of its machine, or stands still.

With all faults over, a `Watchman` in each process that consumes writes a line each second: what is left, where, and how
many were handed out here.  Where nobody was for two seconds though a task could be taken, it writes down the state of
all that fetches and connects in its process (`dumps.py`).  `judge` tells from the lines what it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio

from proof.dumps import dump_all
from proof.history import now
from proof.pulse import Load, Pulse

SLOW, STOLEN, STANDSTILL, STRANDED = 'slow', 'stolen', 'standstill', 'stranded'
FAILING = (STANDSTILL, STRANDED)
"""What is a fault of the queue, and not of the machine."""
STILL = 12.0
"""s that the machine ran, and nobody was handed anything, after which it is a standstill.

More than a consumer needs for what it cannot know of: a connection that is silent counts as dead after 3 s, after 5 at
the bell, and one that is silent in its handshake after 3 to 6."""
ENOUGH = 0.5
"""Of the time: a second of which the machine ran less was stolen."""
CAP = 240.0
"""s after which nobody waits for more, whatever goes on."""
PATIENCE = 30.0
"""s that the machine ran and the queue was empty, after which nobody waits for a call that does not end."""
IDLE = 2.0
"""s without any hand-out after which the state of all is written down."""
DUMPS = 12
"""That many times at the most."""

SAMPLE = """
local prefix, t = ARGV[1], redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function count(command, name, ...)
  local n = redis.pcall(command, prefix .. name, ...)
  return type(n) == 'number' and n or 0
end
local due = count('ZCOUNT', 'delayed', 0, now) + count('ZCOUNT', 'working', 0, now) + count('ZCOUNT', 'rated', 0, now)
return {count('HLEN', 'tasks'), count('LLEN', 'pending'), count('LLEN', 'turns'), count('ZCARD', 'priority'), due,
  count('ZCARD', 'working'), count('ZCARD', 'delayed'), count('ZCARD', 'dead'), count('SCARD', 'paused'),
  count('SISMEMBER', 'paused', '')}
"""
PLACES = ('tasks', 'pending', 'turns', 'priority', 'due', 'working', 'delayed', 'dead', 'paused', 'halted')


class Sample(NamedTuple):
    """What there was in about a second."""

    seconds: float
    ran: float
    """Of them, s that the machine ran."""
    handed: int
    """Tasks that were handed out in this process."""
    left: int
    takeable: int
    """Tasks that somebody who asked would be handed; some of them only after a sweep."""

    @property
    def is_stolen(self) -> bool:
        return self.ran < ENOUGH * self.seconds


def judge(samples: Sequence[Sample], still: float = STILL) -> tuple[str, str]:
    """What it was that kept a queue from being empty by now, and why one thinks so.

    Slow is where hand-outs went on until the end, stolen where they did not, but neither did the machine; a standstill
    is that all could run for so long, tasks could be taken, and none was.  Stranded are tasks of which, for as long,
    nobody could have been handed any.
    """
    idle: list[Sample] = []
    for place, sample in reversed([*enumerate(samples)]):
        # What others were handed, and finished, is less here.
        if sample.handed or place and sample.left < samples[place - 1].left:
            break
        idle.insert(0, sample)
    ran, seconds = sum(sample.ran for sample in idle), sum(sample.seconds for sample in idle)
    left = samples[-1].left if samples else 0
    why = f'{left} are left; nobody was handed anything for {seconds:.1f} s, of which the machine ran {ran:.1f}'
    if ran >= still and left:
        taking = sum(sample.ran for sample in idle if sample.takeable)
        return (STANDSTILL if taking >= still / 2 else STRANDED), why
    if idle and all(sample.is_stolen for sample in idle[-3:]):
        return STOLEN, why
    return SLOW, f'{why}; {sum(sample.handed for sample in samples)} were handed out before'


class Watchman:
    """Looks on in a process that consumes, when the faults are over."""

    def __init__(
        self,
        path: Path,
        pulse: Pulse,
        socket: str,
        prefix: str,
        count: Callable[[], int],
        still: float = STILL,
        every: float = 1.0,
    ) -> None:
        self.samples: list[Sample] = []
        self.pulse = pulse
        self.path = path
        self._count = count
        """How many tasks were handed out in this process."""
        self._still = still
        self._every = every
        self._socket = socket
        self._prefix = prefix
        self.longest = 0.0
        """The longest time (s) that the machine ran, something was left, and nobody was handed anything."""
        self._dumps = 0
        self._handed = count()
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, if that is not done yet."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.pulse.stop()

    def verdict(self) -> tuple[str, str]:
        """What it is by now."""
        return judge(self.samples, self._still)

    def is_hopeless(self) -> bool:
        """Whether it makes no sense to wait for more."""
        empty = 0.0
        for sample in reversed(self.samples):
            if sample.left:
                break
            empty += sample.ran
        endless = empty > PATIENCE or sum(each.seconds for each in self.samples) > CAP
        return endless or self.verdict()[0] in FAILING

    async def wait(self, tasks: Iterable[asyncio.Future[Any]]) -> set[asyncio.Future[Any]]:
        """Wait for the end of all, for as long as anything goes on; those that are not done."""
        late = {*tasks}
        while late and not self.is_hopeless():
            late = (await asyncio.wait(late, timeout=0.2))[1]
        return late

    async def _run(self) -> None:
        # Without a timeout: with one, the client library waits by `asyncio.wait_for`, which before Python 3.12 swallows
        # a cancellation that comes together with the result.
        client = redis.asyncio.Redis(unix_socket_path=self._socket, socket_timeout=None)
        with contextlib.suppress(redis.RedisError, OSError):
            self.pulse.others.append((await client.info('server'))['process_id'])
        load, since = Load.read(), (self._count(), self.pulse.time())
        try:
            while not self._is_over:
                began, ran = time.monotonic(), self.pulse.time()
                while time.monotonic() < began + self._every:
                    await asyncio.sleep(self._every / 20)
                    is_empty = bool(self.samples) and not self.samples[-1].left
                    if self._count() != since[0] or is_empty:
                        since = self._count(), self.pulse.time()
                    self.longest = max(self.longest, self.pulse.time() - since[1])
                try:
                    places = dict(zip(PLACES, await client.eval(SAMPLE, 0, self._prefix), strict=True))
                except (redis.RedisError, OSError) as exc:
                    self.write({'error': repr(exc)})
                    continue
                before, load = load, Load.read()
                sample = self._add(time.monotonic() - began, self.pulse.time() - ran, places)
                share = [round(new - old, 2) for new, old in zip(load, before, strict=True)]
                self.write({**sample._asdict(), **places, 'busy, idle, stolen': share})
                idle = self.pulse.time() - since[1]
                if idle >= IDLE * self._every and sample.takeable and self._dumps < DUMPS:
                    self._dumps += 1
                    self.write({'idle for': round(idle, 2), 'state': dump_all()})
        finally:
            await client.aclose()

    def _add(self, seconds: float, ran: float, places: dict[str, int]) -> Sample:
        names = ('due',) if places['halted'] else ('pending', 'turns', 'priority', 'due')
        handed, self._handed = self._count() - self._handed, self._count()
        sample = Sample(round(seconds, 3), round(ran, 3), handed, places['tasks'], sum(places[name] for name in names))
        self.samples.append(sample)
        return sample

    def write(self, line: dict[str, Any]) -> None:
        """Add a line; one write, so that who is killed has lost nothing."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, json.dumps({'at': round(now()), **line}).encode() + b'\n')
        finally:
            os.close(file)
