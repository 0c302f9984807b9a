"""What becomes of a task by what came of its handler: released, given back, dead; told to the queue until it has it.

How a handler ended is decided here by why it was cancelled, if it was, and not by the exception that came out of it:
what it awaits may make any other of a cancellation.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTaskState,
)

from .breaker import Gates
from .chain import call_hooks_apart
from .check import check_number
from .deaths import acknowledge, tell_after
from .delivery import Delivery, Stop
from .log import Log
from .results import Results
from .retry import Backoff, delay_after
from .trace import error_text, summary

logger = logging.getLogger(__package__)

T = TypeVar('T')

LONGEST = 1e9
"""s that a task waits for its next attempt at the most, some 30 years, whatever its rule says."""
PAUSES = Backoff(base=0.05, cap=0.5, jitter=False)
"""Time between two tries to settle a task where the server takes no writes."""
TELLING = 10.0
"""s between two lines that say that a task is not settled yet."""


@dataclass
class Counts:
    """What a worker has done."""

    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0


class Settling:
    """Settles the deliveries of one worker.

    While its worker works, and at its end until ``until``, a call that the queue could not take at the moment is made
    again as long as the lease lasts, which is renewed meanwhile.
    """

    def __init__(self, log: Log, gates: Gates | None) -> None:
        self.counts = Counts()
        self.stopping = False
        self.until = 0.0
        """By the event loop's clock: when a worker that stops gives up."""
        self.interrupted = False
        """Whether the worker's own run was cancelled, as it is where the whole event loop comes to its end."""
        self.given_up = False
        self._log = log
        self._gates = gates
        self._results: dict[Torrelque, Results] = {}

    async def repeat(self, deliveries: list[Delivery], call: Callable[[], Awaitable[T]]) -> T:
        """Call the queue, again and again while it does not take the call, and the leases last.

        :raises Exception: what the queue has raised last, where time does not mend it or there is none left.
        """
        loop = asyncio.get_running_loop()
        tries, silent = 0, 0.0
        while True:
            try:
                return await call()
            except (TorrelqueConnectionError, TorrelqueServerError) as exc:
                if isinstance(exc, TorrelqueServerError) and not exc.passing:
                    raise
                now = loop.time()
                if now > max(each._valid for each in deliveries) or self.stopping and now > self.until:
                    raise
                if now >= silent:
                    silent = now + TELLING
                    self._log.unsettled(deliveries[0], exc, again=True)
                for each in deliveries:
                    each._booked = None
            tries += 1
            await asyncio.sleep(PAUSES.delay(tries))

    def broke_off(self, deliveries: list[Delivery], error: BaseException) -> None:
        """Tell of tasks that could not be settled: their leases run out, then they are handed out again.

        A cancellation by the end of the event loop is no such case: what was being sent is sent all the same.
        """
        if isinstance(error, asyncio.CancelledError):
            if not self.given_up:
                return
            error = TimeoutError('the queue has not taken it by the end of the worker')
        for delivery in deliveries:
            self._log.unsettled(delivery, error)

    # Outcomes

    async def succeeded(self, delivery: Delivery, result: Any) -> None:
        """The handler has returned."""
        queue, ttl = delivery.queue, delivery._plan.ttl
        if result is None:
            release = lambda: queue.release(delivery.id, result_ttl=ttl)  # noqa: E731
        else:
            results = self._results.get(queue)
            if results is None:
                results = self._results[queue] = Results(queue)
            release = lambda: results.release(delivery, result, ttl)  # noqa: E731

        try:
            held = await self.repeat([delivery], release)
        except (TorrelqueConnectionError, TorrelqueClosedError):
            raise
        except Exception as exc:
            # A result that is refused is refused again: to do all of it once more would not help.
            await self.failed(delivery, exc, hopeless=True)
            return
        self.released([delivery], [held])
        if not held:
            return
        if self._gates is not None:
            await self._gates.count(delivery, None)
        if delivery._plan.on_success:
            await call_hooks_apart(delivery._plan.on_success, delivery, result)

    def released(self, deliveries: list[Delivery], told: list[bool]) -> None:
        """Count releases, and tell of them."""
        held = sum(told)
        self.counts.succeeded += held
        self.counts.lost += len(told) - held
        if held < len(told) or self._log.tells_of_success():
            for delivery, ours in zip(deliveries, told, strict=True):
                (self._log.succeeded if ours else self._log.lost)(delivery)

    async def raised(self, delivery: Delivery, error: BaseException, asked: bool) -> None:
        """The handler has raised something; ``asked`` is whether its asyncio task was cancelled, by whomever."""
        why = delivery._stop
        if why is Stop.TIMEOUT:
            late = TimeoutError(f'the time limit of {delivery.job.timeout:g} s is over')
            late.__cause__ = error
            await self.failed(delivery, late)
            return
        if why is None and asked and not self.interrupted:
            # Where the whole event loop ends, the worker is told in the same turn: see `Worker._serve_until_stopped`.
            await asyncio.sleep(0)
        if why is None and not (asked and self.interrupted):
            # The failure is the handler's own: neither the worker nor the end of the event loop has cancelled it.
            await self.failed(delivery, error)
            return
        if why is not None and why is not Stop.SHUTDOWN:
            self.counts.lost += 1
        self._log.stopped_task(delivery)
        # The task of whoever still holds it is given back, a cancelled one is cleared away.
        await self.repeat([delivery], lambda: delivery.queue.requeue(delivery.id, forgive=True))

    async def failed(self, delivery: Delivery, error: BaseException, hopeless: bool = False) -> None:
        """An attempt has failed; where it is ``hopeless`` there is no other."""
        self.counts.failed += 1
        if self._gates is not None and not hopeless:
            # The breaker is told before the task is settled, which else might be handed out again at once.
            await self._gates.count(delivery, error)
        state = None
        try:
            state = await self.repeat([delivery], lambda: delivery.queue.get_task_state(delivery.id))
        except TorrelqueLookupError:
            self.counts.lost += 1
            self._log.failed(delivery, error, None, held=False)
            return
        except Exception as exc:
            # Without its state it is settled by what is known here; the queue itself counts the task's own attempts.
            logger.warning('the state of task %r is not known: %s', str(delivery.id), exc)
        delay = None if hopeless else self._delay(delivery, error, state)
        held = await self._give_up(delivery, error, delay)
        if not held:
            self.counts.lost += 1
        elif delay is None:
            self.counts.dead += 1
        self._log.failed(delivery, error, delay, held)
        await call_hooks_apart(delivery._plan.on_error, delivery, error)
        if held and delay is None and delivery._plan.on_dead:
            await call_hooks_apart(delivery._plan.on_dead, delivery, error)
            await acknowledge(delivery.queue, delivery.id)

    async def was_used_up(self, delivery: Delivery, most: int) -> bool:
        """Whether the attempts were used up before this one, and nobody lived to tell."""
        try:
            state = await delivery.queue.get_task_state(delivery.id)
        except TorrelqueLookupError:
            return False
        return state.max_attempts is None and state.dequeue_count - state.forgiven > most

    # Parts

    async def _give_up(self, delivery: Delivery, error: BaseException, delay: float | None) -> bool:
        """Bury a task, or give it back after a delay, with its error, or with why that cannot be kept."""
        queue, task_id = delivery.queue, delivery.id

        async def settle(text: str) -> bool:
            if delay is None:
                # Should this worker be killed before its hooks have returned, another one calls them.
                return await queue.bury(task_id, error=text, tell_after=tell_after(delivery._plan.on_dead))
            return await queue.requeue(task_id, delay, error=text)

        try:
            return await self.repeat([delivery], lambda: settle(error_text(error)))
        except (TorrelqueConnectionError, TorrelqueClosedError):
            raise
        except Exception as exc:
            text = f'{type(error).__name__}, of which the text could not be kept: {summary(exc)}'
            return await self.repeat([delivery], lambda: settle(text))

    def _delay(self, delivery: Delivery, error: BaseException, state: TorrelqueTaskState | None) -> float | None:
        """How long (s) to wait before the next attempt; None where there is none."""
        used = delivery.attempt if state is None else state.dequeue_count - state.forgiven
        # The task's own number goes first.
        most = (state and state.max_attempts) or delivery.job.max_attempts
        if most is not None and 0 < most <= used:
            return None
        rule = delivery.job.retry
        assert rule is not None
        try:
            delay = delay_after(rule, error, max(1, used))
            return delay if delay is None else min(check_number(delay, 'a wait before a retry', 0), LONGEST)
        except Exception:
            logger.exception('the retry rule failed; %r is tried again by the default', delivery)
            return Backoff().delay(max(1, used))
