"""What becomes of a task by what came of its handler: released, given back, or dead.

How a handler ended is decided here by why it was cancelled, if it was, and not by the exception that came out of it:
code that the handler awaits may turn a cancellation into any other exception.
"""

import asyncio
import functools
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueTaskState,
)
from torrelque.protocol.check import check_number

from .bounds import Bounds
from .breaker import Gates
from .chain import call_hooks_apart
from .counts import DEAD, FAILED, LOST, Tallies
from .deaths import acknowledge
from .delivery import Instead
from .held import Held, Stop
from .log import Log
from .releasing import Releaser, SpreadReleaser
from .results import Results, SpreadResults
from .retry import Backoff, delay_after
from .telling import Telling
from .trace import error_text, summary

logger = logging.getLogger(__package__)

_GIVEN_BACK = re.compile(r'\(given back (\d+) times\)$')
"""What ends the error of a task that no worker has known yet."""


@dataclass
class Counts:
    """What a worker has done."""

    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0


class Settling:
    """Settles the tasks of one worker, each in an asyncio task of its own or in bulk.

    :param ended: called with each task that was handed to `settle` or `release`, when the queue was told of it, or
        cannot be told, and no thread of its handler goes on.
    """

    def __init__(self, log: Log, gates: Gates | None, ended: Callable[[Held], None], bounds: Bounds) -> None:
        self.counts = Counts()
        self.tallies: Tallies | None = None
        """What counts by queue and function, where the worker has a heartbeat."""
        self.telling = Telling(log, bounds)
        self._bounds = bounds
        self._log = log
        self._gates = gates
        self._ended = ended
        # Each releaser is for one queue and one time to keep, so that no queue waits for the server of another; where a
        # queue has shards, so is each of them.
        self._releasers: dict[tuple[TorrelqueQueue, float | None], Releaser | SpreadReleaser] = {}
        self._results: dict[TorrelqueQueue, Results | SpreadResults] = {}

    def settle(self, held: Held, outcome: Coroutine[Any, Any, None]) -> None:
        """Have a task settled by one of the outcomes below."""
        # The asyncio task is not made by the loop's factory, because that is for the tasks that handlers begin.
        held.settle(asyncio.Task(self._have_settled(held, outcome), loop=asyncio.get_running_loop()))

    def release(self, held: Held) -> None:
        """Have a task released in bulk, which needs nothing but that."""
        held.settle()
        key = held.delivery.queue, held.resolved.ttl
        releaser = self._releasers.get(key)
        if releaser is None:
            if len(self._releasers) >= self._bounds.releasers:
                # Releasers that are at work go on by themselves.
                self._releasers.clear()
            make = functools.partial(Releaser, *key, self.telling, self._bounds, self.released, self._ended)
            releaser = make() if len(key[0].shards) == 1 else SpreadReleaser(key[0], make)
            self._releasers[key] = releaser
        releaser.add(held)

    async def abandon(self, held: Iterable[Held]) -> None:
        """Give up what the queue has not taken yet."""
        self.telling.give_up()
        late = [each.work for each in held if each.settled and not each.booked and each.work is not None]
        calls = [call for releaser in self._releasers.values() for call in releaser.calls]
        for work in (*late, *calls):
            work.cancel()
        if late or calls:
            await asyncio.wait([*late, *calls], timeout=self._bounds.abandon)

    async def _have_settled(self, held: Held, outcome: Coroutine[Any, Any, None]) -> None:
        try:
            try:
                await outcome
            except (Exception, asyncio.CancelledError):
                held.end_as('lost')
                raise
            finally:
                held.book()
                held.tell()
            if held.thread is not None and not held.thread.done():
                self._log.goes_on(held.delivery)
                await asyncio.wait([held.thread])
        except (Exception, asyncio.CancelledError) as exc:
            self.telling.broke_off([held], exc)
        finally:
            self._ended(held)

    # Outcomes

    async def succeeded(self, held: Held, result: Any) -> None:
        """The handler has returned."""
        delivery, ttl, encode = held.delivery, held.resolved.ttl, held.resolved.job.encode
        queue = delivery.queue
        if result is None:
            release = lambda: queue.release(delivery.id, result_ttl=ttl)  # noqa: E731
        elif isinstance(result, Instead):
            release = functools.partial(result.take_place, delivery, ttl)
        else:
            results = self._results.get(queue)
            if results is None:
                kind = Results if len(queue.shards) == 1 else SpreadResults
                results = self._results[queue] = kind(queue, self._bounds)
            kept = encode or _unchanged
            release = lambda: results.release(delivery, kept(result), ttl)  # noqa: E731

        try:
            ours = await self.telling.repeat([held], release)
        except (TorrelqueConnectionError, TorrelqueClosedError):
            raise
        except Exception as exc:
            # The handler succeeded; another attempt would produce the same value, which is refused again.  So the task
            # is dead; but a queue that is full has room again.
            await self.failed(held, exc, hopeless=not isinstance(exc, TorrelqueFullError))
            return
        self.released([held], [ours])
        if not ours:
            return
        if self._gates is not None:
            await self._gates.count(delivery, None)
        if held.resolved.on_success:
            await call_hooks_apart(held.resolved.on_success, delivery, result)

    def released(self, held: Sequence[Held], outcomes: Sequence[bool]) -> None:
        """Count and log releases; of each task whether it was still ours."""
        ours = sum(outcomes)
        self.counts.succeeded += ours
        self.counts.lost += len(outcomes) - ours
        if self.tallies is not None:
            self.tallies[held[0].delivery.queue].released(held, outcomes)
        if ours < len(outcomes) or self._log.tells_of_success():
            for each, was_ours in zip(held, outcomes, strict=True):
                if not was_ours:
                    each.end_as('lost')
                (self._log.succeeded if was_ours else self._log.lost)(each.delivery)

    async def raised(self, held: Held, error: BaseException, asked: bool) -> None:
        """The handler has raised something; ``asked`` is whether its asyncio task was cancelled, by whomever."""
        delivery, why = held.delivery, held.stopped
        interrupted = self.telling.interrupted
        if why is Stop.TIMEOUT:
            late = TimeoutError(f'the time limit of {held.resolved.timeout:g} s is over')
            late.__cause__ = error
            await self.failed(held, late)
            return
        if why is None and asked and not interrupted:
            # Where the whole event loop ends, handlers and worker are cancelled in the same turn, in any order.  Let
            # the worker take its cancellation and say so: see `Worker._serve_until_stopped`.
            await asyncio.sleep(0)
            interrupted = self.telling.interrupted
        if why is None and not (asked and interrupted):
            # Neither the worker nor the end of the event loop has cancelled the handler: the failure is its own.
            await self.failed(held, error)
            return
        if why is not None and why is not Stop.SHUTDOWN:
            self._count(held, LOST)
            held.end_as('cancelled' if why is Stop.CANCELLED else 'lost')
        else:
            held.end_as('returned')
        self._log.stopped_task(delivery, why)
        # A task that is still ours is given back, a cancelled one is cleared away.
        await self.telling.repeat([held], lambda: delivery.queue.requeue(delivery.id, forgive=True))

    async def failed(self, held: Held, error: BaseException, hopeless: bool = False) -> None:
        """An attempt has failed; where it is ``hopeless`` there is no other."""
        delivery = held.delivery
        if self._gates is not None and not hopeless:
            # Once settled, the task might be handed out again at once; so the breaker is told first.
            await self._gates.count(delivery, error)
        state = None
        try:
            state = await self.telling.repeat([held], lambda: delivery.queue.get_task_state(delivery.id))
        except TorrelqueLookupError:
            self._count(held, LOST)
            held.end_as('lost', error)
            self._log.failed(delivery, error, None, ours=False)
            return
        except Exception as exc:
            # Without its state the task is settled by what is known here; the queue itself counts the attempts that
            # the task was enqueued with.
            logger.warning('the state of task %r is not known: %s', str(delivery.id), exc)
        delay = None if hopeless else self._delay(held, error, state)
        ours = await self._give_up(held, error, delay)
        # Both at once: a beat between them would tell of a failure that has another attempt, and the next one would
        # take that back.
        self._count(held, FAILED if ours else LOST)
        if ours and delay is None:
            self._count(held, DEAD)
        held.end_as('lost' if not ours else 'dead' if delay is None else 'retried', error)
        self._log.failed(delivery, error, delay, ours)
        await call_hooks_apart(held.resolved.on_error, delivery, error)
        if ours and delay is None and held.resolved.on_dead:
            await call_hooks_apart(held.resolved.on_dead, delivery, error)
            await acknowledge(delivery.queue, delivery.id)

    async def unknown(self, held: Held, error: TorrelqueLookupError) -> None:
        """The app does not know what to do with a task.  A worker of another version may know it, as while a new one is
        being deployed, so the task goes back uncounted; until that has been in vain for so often."""
        delivery, bounds = held.delivery, self._bounds
        try:
            state = await self.telling.repeat([held], lambda: delivery.queue.get_task_state(delivery.id))
        except TorrelqueLookupError:
            self._count(held, LOST)
            self._log.failed(delivery, error, None, ours=False)
            return
        # The times are counted in the text of the error, because a task may have gone back uncounted for other reasons.
        before = _GIVEN_BACK.search(state.error or '')
        times = int(before[1]) if before else 0
        if times >= bounds.unknown:
            await self.failed(held, error, hopeless=True)
            return
        delay = bounds.unknown_pauses.delay(times + 1)
        text = f'{error_text(error)} (given back {times + 1} times)'
        ours = await self.telling.repeat(
            [held], lambda: delivery.queue.requeue(delivery.id, delay, error=text, forgive=True)
        )
        if not ours:
            self._count(held, LOST)
        self._log.unknown(delivery, error, delay, ours)

    async def was_used_up(self, held: Held, most: int) -> bool:
        """Whether the attempts were used up before this one, and nobody lived to tell."""
        try:
            state = await held.delivery.queue.get_task_state(held.delivery.id)
        except TorrelqueLookupError:
            return False
        return state.max_attempts is None and state.dequeue_count - state.forgiven > most

    # Parts

    def _count(self, held: Held, what: int) -> None:
        """Count what an attempt has come to, other than a success."""
        counts = self.counts
        if what == FAILED:
            counts.failed += 1
        elif what == DEAD:
            counts.dead += 1
        else:
            counts.lost += 1
        if self.tallies is not None:
            self.tallies[held.delivery.queue].count(held, what)

    async def _give_up(self, held: Held, error: BaseException, delay: float | None) -> bool:
        """Bury a task, or give it back after a delay, with its error, or with why the error cannot be kept."""
        queue, task_id = held.delivery.queue, held.delivery.id

        async def settle(text: str) -> bool:
            if delay is None:
                # Should this worker be killed before its hooks have returned, another worker calls them.
                hold = self._bounds.death_hold if held.resolved.on_dead else None
                return await queue.bury(task_id, error=text, tell_after=hold)
            return await queue.requeue(task_id, delay, error=text)

        try:
            return await self.telling.repeat([held], lambda: settle(error_text(error)))
        except (TorrelqueConnectionError, TorrelqueClosedError):
            raise
        except Exception as exc:
            text = f'{type(error).__name__}, of which the text could not be kept: {summary(exc)}'
            return await self.telling.repeat([held], lambda: settle(text))

    def _delay(self, held: Held, error: BaseException, state: TorrelqueTaskState | None) -> float | None:
        """How long (s) to wait before the next attempt; None where there is none."""
        delivery = held.delivery
        used = delivery.attempt if state is None else state.dequeue_count - state.forgiven
        # What the task was enqueued with goes before the job.
        most = (state and state.max_attempts) or delivery.job.max_attempts
        if most is not None and 0 < most <= used:
            return None
        rule = delivery.job.retry
        assert rule is not None
        try:
            delay = delay_after(rule, error, max(1, used))
            longest = self._bounds.longest_delay
            return delay if delay is None else min(check_number(delay, 'a wait before a retry', 0), longest)
        except Exception:
            logger.exception('the retry rule failed; %r is tried again by the default', delivery)
            return Backoff().delay(max(1, used))


def _unchanged(result: Any) -> Any:
    return result
