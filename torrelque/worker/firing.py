"""Fires schedules while the worker takes no tasks, because it has as many in hand as it may have.

Whoever waits for tasks fires schedules, and such a worker does not wait.  Were all workers of a queue like that, the
instants would be over when one of them has a place again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from torrelque import TorrelqueClosedError, TorrelqueError, TorrelqueQueue

from .bounds import Bounds
from .scripts import run_script
from .trace import reason

logger = logging.getLogger(__package__)


class Firing:
    """Looks after the schedules of a worker's queues.

    It looks at a queue when the worker has been busy for some time, and then at the instant when the next schedule
    fires, but twice a minute at the least, because another schedule may have been set.
    """

    def __init__(self, queues: Sequence[TorrelqueQueue], is_busy: Callable[[], bool], bounds: Bounds) -> None:
        # Legend.  _is_busy: whether the worker takes no tasks now.  _due: when to look at a queue next, by the clock of
        # the event loop.  _going_on: what looks.
        self._queues = queues
        self._is_busy = is_busy
        self._bounds = bounds
        self._due = dict.fromkeys(queues, 0.0)
        self._going_on: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on."""
        if self._queues:
            self._going_on = asyncio.ensure_future(self._go_on())

    def end(self) -> None:
        """Look no more; what was being fired may have been, or not."""
        if self._going_on is not None:
            self._going_on.cancel()

    async def _go_on(self) -> None:
        clock, pause, was_busy = asyncio.get_running_loop().time, self._bounds.firing_pause, False
        while True:
            await asyncio.sleep(pause)
            is_busy = self._is_busy()
            if is_busy and was_busy:
                for queue in self._queues:
                    if self._due[queue] <= clock():
                        self._due[queue] = await self._look(queue) + clock()
                pause = min(self._bounds.firing_pause, max(0, min(self._due.values()) - clock()))
            else:
                pause = self._bounds.firing_pause
            was_busy = is_busy

    async def _look(self, queue: TorrelqueQueue) -> float:
        """Fire what is due; after how long (s) to look again."""
        most, home = self._bounds.firing_look, queue.home
        try:
            left = await run_script(home, 'due', [home.keys['schedules']])
            if left is not None and int(left) <= 0:
                await home.sweep()
                left = await run_script(home, 'due', [home.keys['schedules']])
        except TorrelqueClosedError:
            return most
        except TorrelqueError as exc:
            what = 'queue %r: a worker that takes no tasks could not fire schedules: %s'
            logger.warning(what, queue.name, reason(exc, queue.name))
            return most
        return most if left is None else min(most, max(int(left), 0) / 1000)
