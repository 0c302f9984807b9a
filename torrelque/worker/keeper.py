"""Keeps the leases of what a worker holds, and has it notice when one is lost or its task is cancelled.

One timer looks at all tasks: it renews each at a third of its lease, some hundred in one call.  It has those tasks
watched whose handlers run for longer than a second, so that a handler learns of a cancellation at once and not at the
next renewal.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from torrelque import TorrelqueLookupError, TorrelqueQueue, TorrelqueTaskStatus

from .bounds import Bounds
from .held import Held, Stop

logger = logging.getLogger(__package__)


class Keeper:
    """Looks after the tasks in ``held``, a mapping that its owner changes; `look_at` tells the keeper of each new one.
    """

    def __init__(self, held: Mapping[Held, object], bounds: Bounds) -> None:
        self._held = held
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def look_at(self, held: Held) -> None:
        """Keep the time of one task more."""
        when = held.renew_at
        if held.watch is None:
            when = min(when, held.delivery.since + self._bounds.watch_after)
        if self._timer is None or when < self._timer.when():
            self._arm(when)

    async def close(self) -> None:
        """End all renewals and watches, and look at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now, bounds = self._loop.time(), self._bounds
        following = now + bounds.keeper_look
        due: dict[TorrelqueQueue, list[Held]] = {}
        for held in self._held:
            if not held.needs_lease:
                continue
            if held.watch is None and not held.settled:
                since = held.delivery.since
                if now - since >= bounds.watch_after:
                    held.watch_by(self._call(self._follow(held)))
                else:
                    following = min(following, since + bounds.watch_after)
            if held.renew_at - now <= held.lease * bounds.renew_slack:
                due.setdefault(held.delivery.queue, []).append(held)
                held.renewing()
            following = min(following, held.renew_at)
        for queue, some in due.items():
            for part in [some] if len(queue.shards) == 1 else _by_shard(queue, some):
                self._call(self._renew(queue, part))
        self._timer = self._loop.call_at(following, self._look) if self._held else None

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> 'asyncio.Task[None]':
        call = self._loop.create_task(coroutine)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def _renew(self, queue: TorrelqueQueue, some: list[Held]) -> None:
        while some := [held for held in some if held.needs_lease]:
            began = self._loop.time()
            call = self._loop.create_task(queue.touch_many([held.delivery.id for held in some]))
            try:
                await asyncio.wait([call], timeout=max(0, min(held.valid for held in some) - began))
                if call.done() and not call.exception():
                    for held, ours in zip(some, call.result(), strict=True):
                        if ours:
                            held.renewed(began)
                            self.look_at(held)
                        else:
                            held.stop(Stop.LOST)
                    return
                if call.done():
                    # A renewal that failed may not have reached the server, so the leases may still be ours: try until
                    # they have run out.
                    logger.warning('leases could not be renewed, and are tried again: %s', call.exception())
                    await asyncio.sleep(self._bounds.renew_pause)
            finally:
                call.cancel()
            now = self._loop.time()
            for held in some:
                if held.valid <= now:
                    held.stop(Stop.EXPIRED)
            some = [held for held in some if held.stopped is None]

    async def _follow(self, held: Held) -> None:
        delivery = held.delivery
        try:
            async for state in delivery.queue.watch(delivery.id):
                if state.status is TorrelqueTaskStatus.CANCELLED:
                    held.stop(Stop.CANCELLED)
                elif state.status is not TorrelqueTaskStatus.WORKING or state.dequeue_count != delivery.attempt:
                    held.stop(Stop.LOST)
            held.stop(Stop.LOST)
        except TorrelqueLookupError:
            held.stop(Stop.LOST)
        except Exception as exc:
            # Without the watch, the next renewal tells whether the task is still ours.
            logger.debug('%r is not watched: %s', delivery, exc)


def _by_shard(queue: TorrelqueQueue, some: Iterable[Held]) -> Iterable[list[Held]]:
    """Tasks of a queue by its shards, so that no lease is lost because the server of another task is away."""
    found: dict[TorrelqueQueue, list[Held]] = {}
    for held in some:
        found.setdefault(queue.shard_of(held.delivery.id), []).append(held)
    return found.values()
