"""Has the handler of each task called, and hands on what came of it."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueLookupError, TorrelqueTypeError
from torrelque.protocol.check import check_call

from .bounds import Bounds
from .breaker import Breaker, Gates
from .chain import Middleware, call_hooks, idle_of, loop_runs, make_chain
from .children import Children
from .counts import Tallies
from .delivery import Delivery, Job
from .held import Held, Stop
from .log import Log
from .options import Served
from .resolving import Resolver
from .settling import Settling
from .threads import Threads, result_of


class Handling:
    """Handles the tasks of one worker, each in an asyncio task that `Held.stop` may cancel.

    That asyncio task ends with the handler, so that whatever the handler does to it meets nothing but the handler; the
    task of the queue is settled in another one, or in bulk.

    :param defaults: the worker's own job.
    :param ended: called with each task when it is settled, or cannot be settled.
    """

    def __init__(
        self,
        served: Served,
        defaults: Job,
        on_start: Callable[[Delivery], Any] | None,
        middleware: Sequence[Middleware],
        breaker: Breaker | None,
        ended: Callable[[Held], None],
        log: Log,
        bounds: Bounds,
    ) -> None:
        if on_start is not None:
            check_call(on_start, 'on_start', 'delivery')
        for one in middleware:
            check_call(one, 'middleware', 'delivery', 'call_next')
        if breaker is not None and not isinstance(breaker, Breaker):
            raise TorrelqueTypeError(f'breaker must be a Breaker, not {type(breaker).__name__}')
        gates = None if breaker is None else Gates(breaker)
        self.resolver = Resolver(defaults, gates is not None, bounds)
        self.settling = Settling(log, gates, ended, bounds)
        self.clock: Callable[[], float] | None = None
        """Tells the time of the event loop, where run times are counted."""
        self._ended = ended
        self._log = log
        self._app = served.app
        self._on_start = on_start
        self._middleware = middleware
        self._idle = idle_of(middleware)
        self._threads = Threads('torrelque-handler')
        self._children = Children(bounds)

    def count(self, tallies: Tallies, clock: Callable[[], float]) -> None:
        """From now on count attempts, and their run times by a clock, which is that of the event loop."""
        self.settling.tallies, self.clock = tallies, clock

    async def close(self) -> None:
        """End idle threads and processes."""
        self._threads.close()
        await self._children.close()

    async def handle(self, held: Held) -> None:
        """Have a task handled; when it is settled, ``ended`` is called."""
        later = False
        try:
            later = await self._handle(held)
        except Exception as exc:
            # The task is not settled: its lease runs out, then it is handed out again.
            self._log.unsettled(held.delivery, exc)
        finally:
            if not later:
                self._ended(held)

    async def _handle(self, held: Held) -> bool:
        """Whether the task is being settled, so that ``ended`` is called at the end of that."""
        settling, timer = self.settling, None
        if self._app is not None:
            try:
                held.resolve(self.resolver.resolve(self._app.find(held.delivery)))
            except TorrelqueLookupError as exc:
                settling.settle(held, settling.unknown(held, exc))
                return True
            except Exception as exc:
                settling.settle(held, settling.failed(held, exc, hopeless=True))
                return True
        job = held.resolved.job
        most = job.max_attempts
        if most is not None and 0 < most < held.delivery.attempt and await settling.was_used_up(held, most):
            error = RuntimeError('its attempts are used up: the last worker died, or lost its lease')
            settling.settle(held, settling.failed(held, error, hopeless=True))
            return True
        direct = held.resolved.direct
        if not direct and job.admit is not None and not await self._admit(held, job.admit):
            return True
        if (timeout := held.resolved.timeout) is not None:
            timer = asyncio.get_running_loop().call_later(timeout, held.stop, Stop.TIMEOUT)
        held.enter()
        try:
            if held.stopped is not None:
                # The task was lost, cancelled or given back before its handler began.
                raise asyncio.CancelledError
            plain = direct and self._on_start is None and (
                not self._middleware or self._idle is not None and self._idle()
            )
            result = await (job.call(held.delivery) if plain else self._through_chain(held))
        except BaseException as exc:
            if isinstance(exc, GeneratorExit) and not loop_runs():
                # The coroutine is thrown away with its event loop: the handler has not raised this.
                raise
            if held.settled:
                # The worker has ended and given the task back meanwhile, so the exception is nobody's failure.
                return False
            settling.settle(held, settling.raised(held, exc, _was_asked(exc)))
            return True
        finally:
            if self.clock is None:
                held.leave()
            else:
                held.leave_at(self.clock())
            if timer is not None:
                timer.cancel()
        if held.settled:
            return False
        if result is None and held.resolved.quiet:
            settling.release(held)
        else:
            settling.settle(held, settling.succeeded(held, result))
        return True

    async def _admit(self, held: Held, admit: Callable[[Delivery], Awaitable[None]]) -> bool:
        """Whether a task is admitted; else it has failed.  A server that is away is waited for, as long as the lease
        lasts."""
        try:
            await self.settling.telling.repeat([held], lambda: admit(held.delivery))
        except TorrelqueConnectionError:
            raise
        except Exception as exc:
            self.settling.settle(held, self.settling.failed(held, exc))
            return False
        return True

    # The handler

    async def _through_chain(self, held: Held) -> Any:
        if self._on_start is not None:
            await call_hooks((self._on_start,), held.delivery, asked=lambda: held.stopped is not None)
        handler = functools.partial(self._call_handler, held)
        return await make_chain(handler, self._middleware)(held.delivery)

    async def _call_handler(self, held: Held, delivery: Delivery) -> Any:
        """Call the handler where it belongs, with the delivery that the last middleware has passed on."""
        job = held.resolved.job
        if held.resolved.is_async:
            return await job.call(delivery)
        if job.run_in == 'process':
            return await self._children.run(job.call, delivery)
        thread = self._threads.run(_begin, job.call, held, delivery)
        held.run_in_thread(thread)
        # The thread goes on when this asyncio task is cancelled.
        result = await result_of(thread)
        return await result if inspect.isawaitable(result) else result


def _begin(call: Callable[[Delivery], Any], held: Held, delivery: Delivery) -> Any:
    """In a thread: call a handler, unless its task was given back before the thread had come to it."""
    if held.stopped is not None:
        return None
    around = held.resolved.job.around_thread
    if around is None:
        return call(delivery)
    with around(delivery):
        return call(delivery)


def _was_asked(error: BaseException) -> bool:
    """Whether the current asyncio task was cancelled, whatever came of that.  Python 3.10 does not tell, so there it
    may have been."""
    if sys.version_info < (3, 11):
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) or bool(task is not None and task.cancelling())
