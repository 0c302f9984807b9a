"""Tells the queue what became of tasks, again and again until it has taken it, or the leases have run out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from torrelque import TorrelqueConnectionError, TorrelqueServerError

from .bounds import Bounds
from .held import Held
from .log import Log

T = TypeVar('T')


class Telling:
    """Makes the calls that settle the tasks of one worker.

    A call that the queue could not take at the moment is made again as long as the lease lasts, which is renewed
    meanwhile; when the worker ends, until ``until`` at the latest.
    """

    def __init__(self, log: Log, bounds: Bounds) -> None:
        self.stopping = False
        """Whether the worker has come to its end (`stop`)."""
        self.until = 0.0
        """By the event loop's clock: when a worker that stops gives up (`stop`)."""
        self.interrupted = False
        """Whether the worker's own run was cancelled, as it is where the whole event loop ends (`interrupt`)."""
        self.given_up = False
        """Whether calls that are on their way now are cancelled by the worker itself (`give_up`)."""
        self._log = log
        self._bounds = bounds

    def stop(self, until: float) -> None:
        """The worker ends: a call is made again until then only, by the event loop's clock."""
        self.stopping = True
        self.until = until

    def interrupt(self) -> None:
        """The worker's own run was cancelled."""
        self.interrupted = True

    def give_up(self) -> None:
        """The worker is about to cancel the calls that are on their way; their tasks are left to their leases."""
        self.given_up = True

    async def repeat(self, held: Sequence[Held], call: Callable[[], Awaitable[T]]) -> T:
        """Call the queue for tasks, again and again while it does not take the call, and the leases last.

        :raises Exception: what the queue has raised last, where time does not mend it or there is none left.
        """
        loop = asyncio.get_running_loop()
        tries, silent_until = 0, 0.0
        while True:
            try:
                return await call()
            except (TorrelqueConnectionError, TorrelqueServerError) as exc:
                if isinstance(exc, TorrelqueServerError) and not exc.passing:
                    raise
                now = loop.time()
                if now > max(each.valid for each in held) or self.stopping and now > self.until:
                    raise
                if now >= silent_until:
                    silent_until = now + self._bounds.settle_log
                    self._log.unsettled(held[0].delivery, exc, again=True)
                for each in held:
                    each.retry()
            tries += 1
            await asyncio.sleep(self._bounds.settle_pauses.delay(tries))

    def broke_off(self, held: Sequence[Held], error: BaseException) -> None:
        """Log that tasks could not be settled: their leases run out, then they are handed out again.

        A cancellation by the end of the event loop is no such case, because what was being sent is sent all the same.
        """
        for each in held:
            each.end_as('lost')
        if isinstance(error, asyncio.CancelledError):
            if not self.given_up:
                return
            error = TimeoutError('the queue has not taken it by the end of the worker')
        for each in held:
            self._log.unsettled(each.delivery, error)
