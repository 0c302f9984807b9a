"""One task in the hands of a worker."""

import asyncio
import concurrent.futures
import enum
import inspect
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueError,
    TorrelqueServerError,
    TorrelqueTaskId,
    TorrelqueTypeError,
)

if TYPE_CHECKING:
    from .handling import Plan
    from .job import Job

T = TypeVar('T')

PATIENCE = 10.0
"""s for which a progress is written again where the server takes no writes at the moment, as after a lost reply."""
ENDED = 'the event loop of the call has ended; whether it was carried out is unknown'


class Stop(enum.Enum):
    """Why a handler is cancelled."""

    LOST = 'its lease is lost'
    CANCELLED = 'the task was cancelled'
    EXPIRED = 'its lease ran out while the server could not be reached'
    TIMEOUT = 'its time limit is over'
    SHUTDOWN = 'the worker stops'


class Delivery:
    """What a handler is called with: a task, for one attempt."""

    __slots__ = (
        'id', 'queue', 'since', 'task',
        '_booked', '_handling', '_lease', '_plan', '_renew_at', '_settled',
        '_stop', '_thread', '_valid', '_watch', '_work',
    )  # fmt: skip

    id: TorrelqueTaskId
    """The id, which carries the right to settle the task.  The worker settles it: a handler returns or raises."""
    task: Any
    """What was enqueued."""
    queue: Torrelque
    """Where it came from."""
    since: float
    """When the worker took it, by the clock of its event loop (s)."""

    def __init__(self, queue: Torrelque, task_id: TorrelqueTaskId, task: Any, plan: 'Plan', now: float) -> None:
        self.id = task_id
        self.task = task
        self.queue = queue
        self.since = now
        self._plan = plan
        self._lease = task_id.timeout or queue.task_timeout
        self._renew_at = now + self._lease / 3
        self._valid = now + self._lease
        self._work: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._thread: asyncio.Future[Any] | None = None
        self._stop: Stop | None = None
        # Legend.  handling: its handler runs, and can be cancelled.  settled: what becomes of the task is decided.
        # booked: the queue was told of that, or cannot be; None while it could not be at the first try, so that the
        # lease is renewed on.
        self._handling = False
        self._settled = False
        self._booked: bool | None = False

    def __repr__(self) -> str:
        return f'<Delivery {str(self.id)!r} of {self.queue.name!r}, attempt {self.attempt}>'

    @property
    def attempt(self) -> int:
        """Which hand-out of the task this is, 1 at the first."""
        return self.id.attempt or 1

    @property
    def job(self) -> 'Job':
        """What is done with it, and how."""
        return self._plan.job

    @property
    def group(self) -> str | None:
        """The task's group, if it has one."""
        return self.id.group

    async def touch(self, progress: Any = None) -> bool:
        """Write down how far the work is, and renew the lease (which the worker does in any case).

        :param progress: any value but None that the serialiser takes, to be read in the task's state.
        :return: False when the task is not ours any more: cancelled, or handed to somebody else.  Then the handler is
            cancelled as well.
        :raises TorrelqueError: the serialiser or the server does not take it; where the server takes no writes at the
            moment, after some ten seconds.
        """
        held = await self._write(progress)
        if not held:
            self._cancel(Stop.LOST)
        return held

    async def _write(self, progress: Any) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            try:
                return await self.queue.touch(self.id, progress=progress)
            except TorrelqueServerError as exc:
                if not exc.passing or loop.time() > end:
                    raise
            await asyncio.sleep(0.1)

    def report(self, progress: Any) -> bool:
        """As `touch`, from a handler's thread, or one that a coroutine function started; it waits for the answer.

        :raises TorrelqueError: called in the worker's event loop, by a coroutine function or a hook; ``await touch``.
        """
        assert self._work is not None
        return run_in_loop(self._work.get_loop(), self.touch(progress))

    @property
    def _hangs(self) -> bool:
        """Whether its task is settled, and only its thread goes on."""
        thread = self._thread
        return bool(self._booked) and thread is not None and not thread.done()

    def _cancel(self, why: Stop) -> None:
        """Cancel the handler, once; it is told where it waits.  A handler that has ended is let be."""
        if self._stop is None and not self._settled:
            self._stop = why
            if self._handling and self._work is not None:
                self._work.cancel()


def run_in_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of another thread, which may end before the coroutine does.

    :raises TorrelqueError: the loop is the one that runs here, which the call would block for ever.
    :raises TorrelqueClosedError: the loop was closed, or has ended meanwhile.
    """
    if not asyncio.iscoroutine(coroutine):
        raise TorrelqueTypeError(f'what is run in an event loop must be a coroutine, not {type(coroutine).__name__}')
    if asyncio._get_running_loop() is loop:
        close_coroutine(coroutine)
        raise TorrelqueError('this call would block the event loop that it waits for; await its asynchronous form')
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as exc:
        close_coroutine(coroutine)
        raise TorrelqueClosedError('the event loop was closed') from exc
    still = 0
    try:
        # A loop that comes to its end stands still now and then, and goes on.
        while not future.done() and still < 2:
            concurrent.futures.wait([future], timeout=1)
            still = 0 if loop.is_running() else still + 1
        if future.done():
            return future.result()
    except concurrent.futures.CancelledError as exc:
        raise TorrelqueClosedError(ENDED) from exc
    finally:
        if loop.is_closed():
            close_coroutine(coroutine)
        else:
            future.cancel()
    raise TorrelqueClosedError(ENDED)


def close_coroutine(coroutine: Any) -> None:
    """Let a coroutine be that was not begun, without a warning that nobody awaited it."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()
