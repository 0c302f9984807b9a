"""The heartbeat: by it other processes see a worker, and what it has counted is added up in the server.

A beat is one script.  It has what was counted since the last one that the server is known to have; a beat whose reply
was lost is sent again as it was, and known by its number.  So counts are lost with a worker that is killed only.

Other layers may import the names in `__all__`.
"""

import asyncio
import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueTaskId

from .bounds import BOUNDS, Bounds
from .counts import Packet, Tallies, Tally
from .health import WorkerHealth
from .registry import note
from .scripts import run_script
from .trace import reason

__all__ = ['pack_health']

logger = logging.getLogger(__package__)

_WAIT_FIELDS = 'last_dequeue_time', 'enqueue_time', 'last_requeue_time', 'ready_time'
"""Of a task's state: when it was taken, and the times of which the last one is since when it was ready (ms)."""


class Heart:
    """Writes the health of a worker, and what it has counted, into one of its queues, over that queue's own connection,
    until it is stopped.

    ``{queue}:workers`` is a sorted set of names by the time of their last beats, ``{queue}:worker:NAME`` a hash.
    """

    def __init__(
        self, queue: TorrelqueQueue, interval: float, tell: Callable[[], WorkerHealth], bounds: Bounds
    ) -> None:
        self.queue = queue
        """The queue that it writes into."""
        self.tally = Tally(bounds)
        """What the worker has counted of this queue's tasks."""
        self.lag = 0.0
        """How late (s) the event loop was at the most, since the last beat."""
        self.on_sample: Callable[[TorrelqueQueue], object] | None = None
        """Called with the queue after a beat that was the first of a quarter of a minute, of all workers of the queue;
        what it raises is logged only."""
        # Legend.  _start: by it a worker is told from an earlier one of the same name.  _wanted: time (s) from one beat
        # to the next that the worker was made with, _pause: that of now, which the server may have made longer, and
        # None before the first reply.  _noted: when the queue was noted last, by the event loop's clock.
        self._start = f'{time.time_ns() // 1_000_000}{secrets.token_hex(3)}'
        self._wanted = interval
        self._pause: float | None = None
        self._noted: float | None = None
        self._bounds = bounds
        self._tell = tell
        loop = asyncio.get_running_loop()
        self._loop = loop
        # What the heart waits for may swallow a cancellation, so there is another sign for the end as well.
        self._over: asyncio.Future[None] = loop.create_future()
        self.living = loop.create_task(self._live(), name='torrelque heart')
        """The asyncio task of the heart: done when the goodbye was said."""

    def end(self) -> None:
        """Beat no more, and write down that the worker is gone; `living` is done then."""
        if not self._over.done():
            self._over.set_result(None)

    async def beat(self, health: WorkerHealth) -> None:
        """Write down that the worker lives, and what it has counted.  A failure is logged only, because the next beat
        comes; what was counted goes with that one."""
        packet = self.tally.pack()
        lag, self.lag = self.lag, 0.0
        try:
            _, _, pause, sampled = await self._write(health._replace(lag=lag), packet)
        except Exception as exc:
            self.lag = max(self.lag, lag)
            name = self.queue.name
            logger.warning('queue %r: the heartbeat could not be written: %s', name, reason(exc, name))
        else:
            self.tally.acknowledge(packet)
            # Workers that were started together are drawn apart by a first pause of any length.
            first = self._pause is None
            self._pause = pause / 1000 * random.random() if first else pause / 1000
            if sampled and len(self.queue.shards) > 1:
                await self._sample_others()
            if sampled and self.on_sample is not None and not self._over.done():
                self._tell_sampled(self.on_sample)

    async def _sample_others(self) -> None:
        """Have the sample that a beat has taken be one of all shards; one that does not answer is not in it."""
        home, *others = self.queue.shards
        asked = (run_script(one, 'sizes', (one.keys['pending'], one.keys['never'])) for one in others)
        found = [sizes for sizes in await asyncio.gather(*asked, return_exceptions=True) if isinstance(sizes, list)]
        if found:
            *counts, waits = zip(*found, strict=True)
            keys = home.keys['pending'], home.keys['never']
            try:
                await run_script(home, 'enlarge', keys, *map(sum, counts), max(waits))
            except Exception as exc:
                logger.debug('queue %r: the sizes of all shards are not written: %s', self.queue.name, exc)

    def _tell_sampled(self, call: Callable[[TorrelqueQueue], object]) -> None:
        try:
            call(self.queue)
        except Exception:
            logger.exception('queue %r: on_sample failed', self.queue.name)

    async def _live(self) -> None:
        try:
            while not self._over.done():
                await self._until_over(self.beat(self._tell()))
                await self._until_over(self._note())
                spread = self._bounds.beat_spread
                pause = (self._pause or self._wanted) * random.uniform(1 - spread, 1 + spread)
                await asyncio.wait([self._over], timeout=pause)
        finally:
            await self._say_goodbye()

    async def _note(self) -> None:
        now = self._loop.time()
        if not self._over.done() and (self._noted is None or now - self._noted >= self._bounds.note_pause):
            self._noted = now
            await note(self.queue)

    async def _until_over(self, beat: Any) -> None:
        """Wait for a beat; at the end for a moment only, because the server may be away."""
        beating = asyncio.ensure_future(beat)
        try:
            await asyncio.wait([beating, self._over], return_when=asyncio.FIRST_COMPLETED)
            if not beating.done():
                await asyncio.wait([beating], timeout=self._bounds.beat_closing)
        finally:
            beating.cancel()

    async def _say_goodbye(self) -> None:
        # The goodbye must come behind the last beat.  It does, because both go over one connection, even when nobody
        # waits for them any more.
        try:
            await asyncio.wait_for(self._close(), self._bounds.beat_closing)
        except Exception as exc:
            name = self.queue.name
            why = reason(exc, name) if str(exc) else 'no reply of the server'
            logger.warning('queue %r: the heartbeat could not be ended: %s', name, why)

    async def _close(self) -> None:
        """Send what a beat had for which no reply came, and behind it, without waiting, the goodbye with the rest."""
        health = self._tell()
        packets = [self.tally.pack(whole=True)]
        self.tally.acknowledge(packets[0])
        if not (rest := self.tally.pack(whole=True)).is_empty:
            packets.append(rest)
        calls = [
            asyncio.ensure_future(self._write(health, packet, last=packet is packets[-1])) for packet in packets
        ]
        try:
            await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()

    async def _write(self, health: WorkerHealth, packet: Packet, last: bool = False) -> list[Any]:
        keys = self.queue.keys['pending'], self.queue.keys['never']
        lag, claimed = health.lag or 0.0, health.claimed
        counts = [word for name, text in packet.functions for word in (name.encode('utf-8', 'backslashreplace'), text)]
        reply: list[Any] = await run_script(
            self.queue, 'beat', keys,
            health.name, self._start, packet.number, '' if last else health.state, max(1, round(1000 * self._wanted)),
            health.concurrency, health.busy, round(1000 * lag), '' if claimed is None else f'{claimed:.3f}',
            '' if last else pack_health(health, self._bounds), packet.run, packet.wait, *counts,
        )  # fmt: skip
        return reply


class Hearts:
    """The hearts of a worker, one for each queue, and what they need of its event loop."""

    def __init__(
        self, queues: Sequence[TorrelqueQueue], interval: float, tell: Callable[[], WorkerHealth], bounds: Bounds,
        on_sample: Callable[[TorrelqueQueue], object] | None = None,
    ) -> None:
        self._bounds = bounds
        self._hearts = [Heart(queue, interval, tell, bounds) for queue in queues]
        for heart in self._hearts:
            heart.on_sample = on_sample
        self.tallies: Tallies = {heart.queue: heart.tally for heart in self._hearts}
        """What counts, by queue."""
        # Legend.  _look: time (s) from one look at the event loop to the next, which is due at _due.  _next: when the
        # wait of a task is asked for again, _calls: what asks.
        self._loop = asyncio.get_running_loop()
        # The clock of asyncio's own loops is behind a method in Python, for which each task would pay.
        plain = type(self._loop).time is asyncio.BaseEventLoop.time
        self.clock: Callable[[], float] = time.monotonic if plain else self._loop.time
        """The clock of the event loop (s)."""
        self._look = max(bounds.lag_look / 20, min(bounds.lag_look, interval / 10))
        self._due = self._loop.time() + self._look
        self._timer = self._loop.call_at(self._due, self._look_at_loop)
        self._next = 0.0
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def lag(self) -> float:
        """How late (s) the event loop was at the most, since the last beat."""
        return max(heart.lag for heart in self._hearts)

    def taken(self, queue: TorrelqueQueue, tasks: Sequence[tuple[TorrelqueTaskId, Any]], now: float) -> None:
        """Tasks are about to be handled.  Now and then, ask for how long one of them had been ready: nobody waits for
        the answer, and the call goes before any that settles the task."""
        if now < self._next or len(self._calls) >= self._bounds.wait_calls:
            return
        self._next = now + self._bounds.wait_pause
        task_id, _ = random.choice(tasks)
        # The asyncio task is not made by the loop's factory, because that is for the tasks that handlers begin.
        call = asyncio.Task(self._ask_wait(queue, task_id), loop=self._loop)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def stop(self) -> None:
        """Have the hearts beat no more, and write down that the worker is gone; also when the call is cancelled."""
        self._timer.cancel()
        calls = [*self._calls]
        for call in calls:
            call.cancel()
        for heart in self._hearts:
            heart.end()
        living = [heart.living for heart in self._hearts]
        _, late = await asyncio.wait([*living, *calls], timeout=3 * self._bounds.beat_closing)
        for one in late:
            one.cancel()

    def _look_at_loop(self) -> None:
        now = self._loop.time()
        for heart in self._hearts:
            heart.lag = max(heart.lag, now - self._due)
        self._due = now + self._look
        self._timer = self._loop.call_at(self._due, self._look_at_loop)

    async def _ask_wait(self, queue: TorrelqueQueue, task_id: TorrelqueTaskId) -> None:
        try:
            shard = queue.shard_of(task_id)
            key = f'{shard.keys["task"]}:{task_id}'.encode()
            taken, *since = await shard.command('HMGET', key, *_WAIT_FIELDS)
            if taken is not None and any(since):
                ready = max(float(one) for one in since if one is not None)
                self.tallies[queue].waited(max(0.0, float(taken) - ready) / 1000)
        except Exception as exc:
            logger.debug('queue %r: how long task %r had waited is not known: %s', queue.name, str(task_id), exc)


def pack_health(health: WorkerHealth, bounds: Bounds = BOUNDS) -> bytes:
    """Health as JSON, of so many bytes at the most: what does not fit into the lists is left out."""
    fields = {**health._asdict(), 'name': health.name[:1000], 'host': health.host[:1000]}
    lists: dict[str, tuple[list[Any], int, int]] = {
        'queues': ([*health.queues], bounds.health_functions, 8),
        'functions': ([*health.functions], bounds.health_functions, 4),
        'running': ([task._asdict() for task in health.running], bounds.health_running, 1),
    }
    fields.update(dict.fromkeys(lists, ()))
    room = bounds.health - len(_dump(fields))
    for name, (items, most, part) in lists.items():
        fields[name], used = _fit(items[:most], room // part)
        room -= used
    fields['functions_cut'] = len(fields['functions']) < len(health.functions)
    return _dump(fields)


def _fit(items: Sequence[Any], room: int) -> tuple[list[Any], int]:
    """The first items that have room, and how many bytes they take."""
    found: list[Any] = []
    used = 0
    for item in items:
        size = len(_dump(item)) + 2
        if used + size > room:
            break
        found.append(item)
        used += size
    return found, used


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode('utf-8', 'backslashreplace')
