"""What happens to one delivery: its handler is called, and its task settled by what came of it."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueLookupError,
    TorrelqueTaskState,
    TorrelqueTypeError,
    TorrelqueValueError,
)

from .breaker import Breaker, Gates
from .chain import Middleware, call_hooks, make_chain
from .check import check_number
from .children import Children
from .delivery import Delivery, Stop
from .job import Job, is_async
from .options import Served, check_attempts, check_portable
from .releasing import Releaser
from .retry import Backoff, check_rule, delay_after, error_text
from .threads import Threads, result_of

logger = logging.getLogger(__package__)

T = TypeVar('T')

LONGEST = 1e9
"""s that a task waits for its next attempt at the most: more than a queue takes."""
MANY = 10_000
"""Plans that are kept at the most, should an app make a job for each task."""


@dataclass
class Counts:
    """What a worker has done."""

    succeeded: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0


class Plan(NamedTuple):
    """A job with the worker's defaults in it."""

    source: Job
    job: Job
    is_async: bool
    on_success: tuple[Callable[..., Any], ...]
    on_error: tuple[Callable[..., Any], ...]
    on_dead: tuple[Callable[..., Any], ...]
    quiet: bool
    """Whether a success without a result needs nothing but the release."""


class Handling:
    """Handles the deliveries of one worker, each in an asyncio task that may be cancelled by `Delivery`."""

    def __init__(
        self,
        served: Served,
        defaults: Job,
        on_start: Callable[[Delivery], Any] | None,
        middleware: Sequence[Middleware],
        breaker: Breaker | None,
        ended: Callable[[Delivery], None],
    ) -> None:
        self.defaults = defaults
        self._ended = ended
        # One for each queue: no queue waits for the server of another.
        self._releasers: dict[Torrelque, Releaser] = {}
        self.counts = Counts()
        self.stopping = False
        for hook in (on_start, defaults.on_success, defaults.on_error, defaults.on_dead, *middleware):
            if hook is not None and not callable(hook):
                raise TorrelqueTypeError(f'not callable: {hook!r}')
        self._app = served.app
        self._on_start = on_start
        self._gates = None if breaker is None else Gates(breaker)
        self._chain = make_chain(self._run, middleware) if middleware or on_start else None
        self._threads = Threads('torrelque-handler')
        self._children = Children()
        self._plans: dict[int, Plan] = {}
        self.plan = self._plan_of(defaults)

    async def close(self) -> None:
        """End idle threads and processes."""
        self._threads.close()
        await self._children.close()

    async def handle(self, delivery: Delivery) -> None:
        """Have a task handled, and settle it; then ``ended`` is called."""
        released_later = False
        try:
            released_later = await self._handle(delivery)
        except Exception:
            # Its lease runs out, then it is handed out again.
            logger.exception('%r could not be settled', delivery)
        finally:
            if not released_later:
                self._ended(delivery)

    async def _handle(self, delivery: Delivery) -> bool:
        if self._app is not None:
            try:
                delivery._plan = self._plan_of(self._app.find(delivery))
            except Exception as exc:
                await self._failed(delivery, exc, hopeless=True)
                return False
        plan, timer = delivery._plan, None
        job = plan.job
        most = job.max_attempts
        if most is not None and 0 < most < delivery.attempt and await self._was_used_up(delivery, most):
            return False
        if job.timeout is not None:
            timer = asyncio.get_running_loop().call_later(job.timeout, delivery._cancel, Stop.TIMEOUT)
        delivery._handling = True
        try:
            if delivery._stop is not None:
                # Before it began.
                raise asyncio.CancelledError
            result = await (self._through_chain(delivery) if self._chain or not plan.is_async else job.call(delivery))
        except asyncio.CancelledError as exc:
            delivery._handling = False
            if not delivery._settled:
                await self._cancelled(delivery, exc)
        except KeyboardInterrupt:
            # It ends the event loop.
            raise
        except BaseException as exc:
            delivery._handling = False
            # Given back meanwhile, at the end of the worker, it is nobody's failure.
            if not delivery._settled:
                await self._failed(delivery, exc)
        else:
            delivery._handling = False
            if result is None and plan.quiet and self._gates is None and not delivery._settled:
                delivery._settled = True
                self._releaser(delivery.queue).add(delivery)
                return True
            if not delivery._settled:
                await self._succeeded(delivery, result)
        finally:
            if timer is not None:
                timer.cancel()
        if delivery._thread is not None and not delivery._thread.done():
            logger.warning('%r goes on in its thread, and keeps its place in the worker', delivery)
            await asyncio.wait([delivery._thread])
        return False

    def _releaser(self, queue: Torrelque) -> Releaser:
        releaser = self._releasers.get(queue)
        if releaser is None:
            releaser = self._releasers[queue] = Releaser(queue, self._released)
        return releaser

    def _released(self, delivery: Delivery, held: bool | None) -> None:
        if held:
            self.counts.succeeded += 1
        elif held is not None:
            self.counts.lost += 1
        self._ended(delivery)

    # The handler

    def _plan_of(self, job: Job) -> Plan:
        plan = self._plans.get(id(job))
        if plan is None:
            defaults = self.defaults
            # What a job leaves open is as the worker says.
            fields = [other if own in (None, '') else own for own, other in zip(job, defaults, strict=True)]
            full = Job._make(fields)
            check_attempts(full.max_attempts)
            if full.retry is not None:
                check_rule(full.retry)
            coroutine = is_async(full.call)
            if not coroutine and full.run_in == 'process':
                check_portable(full.call)
            sources = (defaults,) if job is defaults else (defaults, job)
            on_success, on_error, on_dead = (
                tuple(hook for source in sources if (hook := getattr(source, name)) is not None)
                for name in ('on_success', 'on_error', 'on_dead')
            )
            if len(self._plans) >= MANY:
                self._plans.clear()
            quiet = not on_success and full.result_ttl is None
            plan = self._plans[id(job)] = Plan(job, full, coroutine, on_success, on_error, on_dead, quiet)
        return plan

    async def _through_chain(self, delivery: Delivery) -> Any:
        if self._on_start is not None:
            await call_hooks((self._on_start,), delivery)
        return await (self._run if self._chain is None else self._chain)(delivery)

    async def _run(self, delivery: Delivery) -> Any:
        plan = delivery._plan
        if plan.is_async:
            return await plan.job.call(delivery)
        delivery._loop = asyncio.get_running_loop()
        if plan.job.run_in == 'process':
            return await self._children.run(plan.job.call, delivery)
        delivery._thread = self._threads.run(_begin, plan.job.call, delivery)
        # It goes on when this is cancelled.
        result = await result_of(delivery._thread)
        return await result if inspect.isawaitable(result) else result

    # What came of it

    async def _succeeded(self, delivery: Delivery, result: Any) -> None:
        job = delivery.job
        delivery._settled = True
        try:
            if result is None and job.result_ttl is None:
                held = await delivery.queue.release(delivery.id)
            else:
                held = await delivery.queue.release(delivery.id, result=result, result_ttl=job.result_ttl)
        except (TorrelqueTypeError, TorrelqueValueError) as exc:
            # To do it all again would not help.
            await self._failed(delivery, exc, hopeless=True)
            return
        except TorrelqueConnectionError:
            held = await self._settle(
                delivery, lambda: delivery.queue.release(delivery.id, result=result, result_ttl=job.result_ttl)
            )
        if not held:
            self.counts.lost += 1
            return
        self.counts.succeeded += 1
        if self._gates is not None:
            await self._gates.count(delivery, None)
        if delivery._plan.on_success:
            await call_hooks(delivery._plan.on_success, delivery, result)

    async def _cancelled(self, delivery: Delivery, error: asyncio.CancelledError) -> None:
        why = delivery._stop
        if why is Stop.TIMEOUT:
            late = TimeoutError(f'the time limit of {delivery.job.timeout:g} s is over')
            late.__cause__ = error
            await self._failed(delivery, late)
            return
        # Where the whole event loop ends, the worker is told in the same turn: see `Worker._serve_until_stopped`.
        if why is None and not self.stopping:
            await asyncio.sleep(0)
        if why is None and not self.stopping and not _is_cancelled():
            # The handler's own affair.
            await self._failed(delivery, error)
            return
        if why is not None and why is not Stop.SHUTDOWN:
            self.counts.lost += 1
            logger.warning('%r was stopped: %s', delivery, why.value)
        # The task of who still holds it is given back, a cancelled one is cleared away.
        await self._settle(delivery, lambda: delivery.queue.requeue(delivery.id, forgive=True))
        if why is None:
            raise error

    async def _failed(self, delivery: Delivery, error: BaseException, hopeless: bool = False) -> None:
        self.counts.failed += 1
        if self._gates is not None and not hopeless:
            # First: else it might be handed out again at once.
            await self._gates.count(delivery, error)
        state = None
        try:
            state = await self._repeat(delivery, lambda: delivery.queue.get_task_state(delivery.id))
        except TorrelqueLookupError:
            self.counts.lost += 1
            logger.warning('%r failed, and its task is gone: %s', delivery, error)
            return
        except Exception as exc:
            # The queue itself counts the task's own attempts.
            logger.warning('%r failed, and its state is not known: %s', delivery, exc)
        delay = None if hopeless else self._delay(delivery, error, state)
        text = error_text(error)
        if delay is None:
            held = await self._settle(delivery, lambda: delivery.queue.bury(delivery.id, error=text))
        else:
            held = await self._settle(delivery, lambda: delivery.queue.requeue(delivery.id, delay, error=text))
        what = 'is lost' if not held else 'is dead' if delay is None else f'is tried again in {delay:.3g} s'
        logger.warning('%r failed, and %s: %s: %s', delivery, what, type(error).__name__, error)
        await call_hooks(delivery._plan.on_error, delivery, error)
        if held and delay is None:
            self.counts.dead += 1
            await call_hooks(delivery._plan.on_dead, delivery, error)

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

    async def _was_used_up(self, delivery: Delivery, most: int) -> bool:
        """Whether the attempts were used up before this one, and nobody lived to tell; then the task is dead."""
        try:
            state = await delivery.queue.get_task_state(delivery.id)
        except TorrelqueLookupError:
            return False
        if state.max_attempts is not None or state.dequeue_count - state.forgiven <= most:
            return False
        error = RuntimeError('its attempts are used up: the last worker died, or lost its lease')
        await self._failed(delivery, error, hopeless=True)
        return True

    async def _settle(self, delivery: Delivery, settle: Callable[[], Awaitable[bool]]) -> bool:
        delivery._settled = True
        return await self._repeat(delivery, settle)

    async def _repeat(self, delivery: Delivery, call: Callable[[], Awaitable[T]]) -> T:
        """Call the queue, again and again while the server is away and the lease lasts."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await call()
            except TorrelqueConnectionError as exc:
                if self.stopping or loop.time() > delivery._valid:
                    raise
                logger.warning('%r is not settled yet: %s', delivery, exc)


def _begin(call: Callable[[Delivery], Any], delivery: Delivery) -> Any:
    """In a thread: call a handler, unless its task was given back before the thread had come to it."""
    return None if delivery._stop is not None else call(delivery)


def _is_cancelled() -> bool:
    """Whether somebody else cancels the current task; Python 3.10 does not tell."""
    task = asyncio.current_task()
    return bool(task is not None and getattr(task, 'cancelling', int)())
