"""Has one delivery handled: calls its handler, and has its task settled by what came of it."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from torrelque import Torrelque, TorrelqueTypeError

from .breaker import Breaker, Gates
from .chain import Middleware, call_hooks, in_loop, make_chain
from .check import check_call, is_async
from .children import Children
from .delivery import Delivery, Stop
from .job import Job
from .log import Log
from .options import Served, check_job, check_portable
from .releasing import Releaser
from .settling import Counts, Settling
from .threads import Threads, result_of

MANY = 10_000
"""Plans that are kept at the most, should an app make a job for each task."""


class Plan(NamedTuple):
    """A job with the worker's defaults in it."""

    source: Job
    """As it was given; kept, for plans are found by its `id`, which else could be another's."""
    job: Job
    is_async: bool
    on_success: tuple[Callable[..., Any], ...]
    on_error: tuple[Callable[..., Any], ...]
    on_dead: tuple[Callable[..., Any], ...]
    ttl: float | None
    """How long (s) the final state is kept; None is as the queue says, and without a result not at all."""
    quiet: bool
    """Whether a success without a result needs nothing but the release."""


class Handling:
    """Handles the deliveries of one worker, each in an asyncio task that may be cancelled by `Delivery`.

    That task ends with the handler, so that whatever the handler does to it meets nothing but the handler; the
    delivery is settled in another one, or in bulk.
    """

    def __init__(
        self,
        served: Served,
        defaults: Job,
        on_start: Callable[[Delivery], Any] | None,
        middleware: Sequence[Middleware],
        breaker: Breaker | None,
        ended: Callable[[Delivery], None],
        log: Log,
    ) -> None:
        self.defaults = defaults
        self._ended = ended
        self.log = log
        # A releaser is for one queue and one time to keep: no queue waits for the server of another.
        self._releasers: dict[tuple[Torrelque, float | None], Releaser] = {}
        if on_start is not None:
            check_call(on_start, 'on_start', 'delivery')
        for one in middleware:
            check_call(one, 'middleware', 'delivery', 'call_next')
        if breaker is not None and not isinstance(breaker, Breaker):
            raise TorrelqueTypeError(f'breaker must be a Breaker, not {type(breaker).__name__}')
        self._app = served.app
        self._on_start = on_start
        gates = None if breaker is None else Gates(breaker)
        self.settling = Settling(log, gates)
        self._counts_outcomes = gates is not None
        self._chain = make_chain(self._run, middleware) if middleware or on_start else None
        self._threads = Threads('torrelque-handler')
        self._children = Children()
        self._plans: dict[int, Plan] = {}
        self.plan = self._plan_of(defaults)

    @property
    def counts(self) -> Counts:
        """What the worker has done."""
        return self.settling.counts

    async def close(self) -> None:
        """End idle threads and processes."""
        self._threads.close()
        await self._children.close()

    async def abandon(self, held: Iterable[Delivery]) -> None:
        """Give up what the queue has not taken yet."""
        self.settling.given_up = True
        late = [each._work for each in held if each._settled and not each._booked and each._work is not None]
        calls = [releaser.call for releaser in self._releasers.values() if releaser.call is not None]
        for work in (*late, *calls):
            work.cancel()
        if late or calls:
            await asyncio.wait([*late, *calls], timeout=1)

    async def handle(self, delivery: Delivery) -> None:
        """Have a task handled; when it is settled, ``ended`` is called."""
        later = False
        try:
            later = await self._handle(delivery)
        except Exception as exc:
            # Its lease runs out, then it is handed out again.
            self.log.unsettled(delivery, exc)
        finally:
            if not later:
                self._ended(delivery)

    async def _handle(self, delivery: Delivery) -> bool:
        """Whether ``ended`` is called by somebody else, when the task is settled."""
        settling = self.settling
        if self._app is not None:
            try:
                delivery._plan = self._plan_of(self._app.find(delivery))
            except Exception as exc:
                return self._settle(delivery, settling.failed(delivery, exc, hopeless=True))
        plan, timer = delivery._plan, None
        job = plan.job
        most = job.max_attempts
        if most is not None and 0 < most < delivery.attempt and await settling.was_used_up(delivery, most):
            error = RuntimeError('its attempts are used up: the last worker died, or lost its lease')
            return self._settle(delivery, settling.failed(delivery, error, hopeless=True))
        if job.timeout is not None:
            timer = asyncio.get_running_loop().call_later(job.timeout, delivery._cancel, Stop.TIMEOUT)
        delivery._handling = True
        try:
            if delivery._stop is not None:
                # The task was lost, cancelled or given back before its handler began.
                raise asyncio.CancelledError
            result = await (self._through_chain(delivery) if self._chain or not plan.is_async else job.call(delivery))
        except BaseException as exc:
            if isinstance(exc, GeneratorExit) and not in_loop():
                # A coroutine that is thrown away with its event loop has not raised anything.
                raise
            # Given back meanwhile, at the end of the worker, it is nobody's failure.
            return not delivery._settled and self._settle(delivery, settling.raised(delivery, exc, _was_asked(exc)))
        finally:
            delivery._handling = False
            if timer is not None:
                timer.cancel()
        if delivery._settled:
            return False
        if result is None and plan.quiet:
            delivery._settled = True
            self._releaser(delivery.queue, plan.ttl).add(delivery)
            return True
        return self._settle(delivery, settling.succeeded(delivery, result))

    # Settling

    def _settle(self, delivery: Delivery, outcome: Coroutine[Any, Any, None]) -> bool:
        delivery._settled = True
        # Not by the loop's factory, for it is no task that the handler began.
        delivery._work = asyncio.Task(self._have_settled(delivery, outcome), loop=asyncio.get_running_loop())
        return True

    async def _have_settled(self, delivery: Delivery, outcome: Coroutine[Any, Any, None]) -> None:
        try:
            try:
                await outcome
            finally:
                delivery._booked = True
            thread = delivery._thread
            if thread is not None and not thread.done():
                self.log.goes_on(delivery)
                await asyncio.wait([thread])
        except (Exception, asyncio.CancelledError) as exc:
            self.settling.broke_off([delivery], exc)
        finally:
            self._ended(delivery)

    def _releaser(self, queue: Torrelque, ttl: float | None) -> Releaser:
        releaser = self._releasers.get((queue, ttl))
        if releaser is None:
            if len(self._releasers) >= MANY:
                # Releasers that are at work go on by themselves.
                self._releasers.clear()
            releaser = Releaser(queue, ttl, self.settling, self._ended)
            self._releasers[queue, ttl] = releaser
        return releaser

    # The handler

    def _plan_of(self, job: Job) -> Plan:
        plan = self._plans.get(id(job))
        if plan is None:
            plan = self._make_plan(job)
            if len(self._plans) >= MANY:
                self._plans.clear()
            self._plans[id(job)] = plan
        return plan

    def _make_plan(self, job: Job) -> Plan:
        defaults = self.defaults
        # What a job leaves open is as the worker says.
        fields = [other if own in (None, '') else own for own, other in zip(job, defaults, strict=True)]
        full = check_job(Job._make(fields))
        coroutine = is_async(full.call)
        if not coroutine and full.run_in == 'process':
            check_portable(full.call)
        sources = (defaults,) if job is defaults else (defaults, job)
        on_success, on_error, on_dead = (
            tuple(hook for source in sources if (hook := getattr(source, name)) is not None)
            for name in ('on_success', 'on_error', 'on_dead')
        )
        ttl = full.keep or None if full.result_ttl is None else full.result_ttl
        quiet = not on_success and not self._counts_outcomes
        return Plan(job, full, coroutine, on_success, on_error, on_dead, ttl, quiet)

    async def _through_chain(self, delivery: Delivery) -> Any:
        if self._on_start is not None:
            await call_hooks((self._on_start,), delivery, asked=lambda: delivery._stop is not None)
        return await (self._run if self._chain is None else self._chain)(delivery)

    async def _run(self, delivery: Delivery) -> Any:
        plan = delivery._plan
        if plan.is_async:
            return await plan.job.call(delivery)
        if plan.job.run_in == 'process':
            return await self._children.run(plan.job.call, delivery)
        delivery._thread = self._threads.run(_begin, plan.job.call, delivery)
        # The thread goes on when this is cancelled.
        result = await result_of(delivery._thread)
        return await result if inspect.isawaitable(result) else result


def _begin(call: Callable[[Delivery], Any], delivery: Delivery) -> Any:
    """In a thread: call a handler, unless its task was given back before the thread had come to it."""
    return None if delivery._stop is not None else call(delivery)


def _was_asked(error: BaseException) -> bool:
    """Whether the current task was cancelled, whatever came of that; Python 3.10 does not tell, so it may have been."""
    if sys.version_info < (3, 11):
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) or bool(task is not None and task.cancelling())
