"""Keeps the leases of what a worker holds, and has it notice when one is lost or its task is cancelled.

One timer looks at all deliveries: it renews each at a third of its lease, some hundred in one call, and has those that
run for longer than a second watched, so that their holder learns of a cancellation at once and not at the next renewal.
"""

import asyncio
import logging
import math
from collections.abc import Coroutine, Mapping
from typing import Any

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskStatus

from .delivery import Delivery, Stop

logger = logging.getLogger(__package__)

YOUNG = 1.0
"""s after which a delivery is watched: most tasks are done before."""
SLACK = 12
"""Leases are renewed together that are due within this part of a lease."""


class Keeper:
    """Looks after the deliveries in ``held``, a mapping that its owner changes; `look_at` tells of each new one."""

    def __init__(self, held: Mapping[Delivery, object]) -> None:
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def look_at(self, delivery: Delivery) -> None:
        """Keep the time of one delivery more."""
        when = delivery._renew_at
        if delivery._watch is None:
            when = min(when, delivery.since + YOUNG)
        if self._timer is None or when < self._timer.when():
            self._arm(when)

    async def close(self) -> None:
        """Look at nothing any more."""
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
        now = self._loop.time()
        following = now + 60
        due: dict[Torrelque, list[Delivery]] = {}
        for delivery in self._held:
            if delivery._settled and delivery._booked is not None:
                continue
            if delivery._watch is None and not delivery._settled:
                if now - delivery.since >= YOUNG:
                    delivery._watch = self._call(self._follow(delivery))
                else:
                    following = min(following, delivery.since + YOUNG)
            if delivery._renew_at - now <= delivery._lease / SLACK:
                due.setdefault(delivery.queue, []).append(delivery)
                delivery._renew_at = math.inf
            following = min(following, delivery._renew_at)
        for queue, deliveries in due.items():
            self._call(self._renew(queue, deliveries))
        self._timer = self._loop.call_at(following, self._look) if self._held else None

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> 'asyncio.Task[None]':
        call = self._loop.create_task(coroutine)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def _renew(self, queue: Torrelque, deliveries: list[Delivery]) -> None:
        while deliveries := [each for each in deliveries if not each._settled or each._booked is None]:
            began = self._loop.time()
            call = self._loop.create_task(queue.touch_many([delivery.id for delivery in deliveries]))
            try:
                await asyncio.wait([call], timeout=max(0, min(each._valid for each in deliveries) - began))
                if call.done() and not call.exception():
                    for delivery, held in zip(deliveries, call.result(), strict=True):
                        if held:
                            delivery._valid = began + delivery._lease
                            delivery._renew_at = began + delivery._lease / 3
                            self.look_at(delivery)
                        else:
                            delivery._cancel(Stop.LOST)
                    return
                if call.done():
                    # Tried for as long as the leases last: nobody else may have been told of them.
                    logger.warning('leases could not be renewed, and are tried again: %s', call.exception())
                    await asyncio.sleep(0.2)
            finally:
                call.cancel()
            now = self._loop.time()
            for delivery in deliveries:
                if delivery._valid <= now:
                    delivery._cancel(Stop.EXPIRED)
            deliveries = [delivery for delivery in deliveries if delivery._stop is None]

    async def _follow(self, delivery: Delivery) -> None:
        try:
            async for state in delivery.queue.watch(delivery.id):
                if state.status is TorrelqueTaskStatus.CANCELLED:
                    delivery._cancel(Stop.CANCELLED)
                elif state.status is not TorrelqueTaskStatus.WORKING or state.dequeue_count != delivery.attempt:
                    delivery._cancel(Stop.LOST)
            delivery._cancel(Stop.LOST)
        except TorrelqueLookupError:
            delivery._cancel(Stop.LOST)
        except Exception as exc:
            # The next renewal tells, too.
            logger.debug('%r is not watched: %s', delivery, exc)
