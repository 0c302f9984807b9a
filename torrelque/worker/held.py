"""The worker's ledger: what it knows of each task that it holds, and the handler does not see."""

import asyncio
import enum
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueTaskId

from .delivery import Common, Delivery, Settled
from .job import Resolved

logger = logging.getLogger(__package__)


class Stop(enum.Enum):
    """Why a handler is cancelled."""

    LOST = 'its lease is lost'
    CANCELLED = 'the task was cancelled'
    EXPIRED = 'its lease ran out while the server could not be reached'
    TIMEOUT = 'its time limit is over'
    SHUTDOWN = 'the worker stops'


class Held:
    """A task that a worker holds, from its claim until the queue was told of the end of the attempt.

    Each attribute is written by the methods here alone, which are named in its line.  Instants are of the event loop's
    clock (s).
    """

    __slots__ = (
        'delivery', 'resolved', 'lease', 'valid', 'renew_at', 'work', 'watch', 'thread', 'handling',
        'ended', 'stopped', 'settled', 'retrying', 'booked', 'outcome', 'error', 'tells', '__weakref__',
    )  # fmt: skip

    delivery: Delivery
    """What the handler is called with."""
    resolved: Resolved
    """What is done with the task: the worker's default until the app has found the job of the task (`resolve`)."""

    # The lease

    lease: float
    """Length of the lease (s)."""
    valid: float
    """Until when the lease lasts for sure (`renewed`)."""
    renew_at: float
    """When the lease is to be renewed; infinite while a renewal is on its way (`renewing`, `renewed`)."""

    # The life

    work: 'asyncio.Task[None] | None'
    """The asyncio task that calls the handler (`begin`), later the one that settles the task (`settle`)."""
    watch: 'asyncio.Task[None] | None'
    """The asyncio task that follows the task's state, once the handler has run for a while (`watch_by`)."""
    thread: 'asyncio.Future[Any] | None'
    """The call of the handler in a thread, which goes on when ``work`` is cancelled (`run_in_thread`)."""
    handling: bool
    """Whether the handler runs, so that a cancellation of ``work`` reaches it (`enter`, `leave`, `leave_at`)."""
    ended: float
    """When the handler has ended, where the worker counts run times; 0 before that, or when it was counted (`leave_at`,
    `take_run`)."""

    # The end

    stopped: Stop | None
    """Why the handler was cancelled, or will not be begun (`stop`)."""
    settled: bool
    """Whether what becomes of the task is decided, so that nothing stops its handler any more (`settle`)."""
    retrying: bool
    """Whether the queue could not be told of that at the first try, so that the lease is renewed on (`retry`)."""
    booked: bool
    """Whether the queue was told of that, or cannot be told (`book`)."""
    outcome: Settled
    """What that is: a release, unless something else was said (`end_as`)."""
    error: BaseException | None
    """The error that counts, if there is one (`end_as`)."""
    tells: 'tuple[Callable[[Settled, BaseException | None], object], ...] | None'
    """What is called with both (`tell_end`), once (`tell`)."""

    def __init__(
        self,
        queue: TorrelqueQueue,
        task_id: TorrelqueTaskId,
        task: Any,
        resolved: Resolved,
        now: float,
        common: Common,
    ) -> None:
        self.delivery = Delivery(queue, task_id, task, resolved.job, now, common, weakref.ref(self))
        self.resolved = resolved
        self.lease = task_id.timeout or queue.task_timeout
        self.renewed(now)
        self.work = self.watch = self.thread = self.stopped = self.error = self.tells = None
        self.handling = self.settled = self.retrying = self.booked = False
        self.ended = 0.0
        self.outcome = 'released'

    def __repr__(self) -> str:
        return repr(self.delivery)

    def resolve(self, resolved: Resolved) -> None:
        """The app has found the job of the task."""
        self.resolved = resolved
        self.delivery.job = resolved.job

    # The lease

    @property
    def needs_lease(self) -> bool:
        """Whether the lease is to be renewed: the handler runs, or the queue could not be told of its end yet."""
        return not self.settled or self.retrying

    def renewing(self) -> None:
        """A renewal is on its way."""
        self.renew_at = math.inf

    def renewed(self, began: float) -> None:
        """The lease was renewed by a call that ``began`` then, so it lasts from that time at least."""
        self.valid = began + self.lease
        self.renew_at = began + self.lease / 3

    # The life

    def begin(self, work: 'asyncio.Task[None]') -> None:
        """The task is handled by an asyncio task."""
        self.work = work

    def watch_by(self, watch: 'asyncio.Task[None]') -> None:
        """The task's state is followed by another asyncio task."""
        self.watch = watch

    def run_in_thread(self, thread: 'asyncio.Future[Any]') -> None:
        """The handler was called in a thread."""
        self.thread = thread

    def enter(self) -> None:
        """The handler is about to run."""
        self.handling = True

    def leave(self) -> None:
        """The handler has ended."""
        self.handling = False

    def leave_at(self, now: float) -> None:
        """The handler has ended, in a worker that counts run times."""
        self.handling = False
        self.ended = now

    def take_run(self) -> float | None:
        """For how long (s) the attempt has run, from when the worker took the task; once.  None where the handler was
        not begun, or its run time was taken before."""
        ran = self.ended - self.delivery.since if self.ended else None
        self.ended = 0.0
        return ran

    @property
    def over(self) -> bool:
        """Whether the attempt has come to its end, or is about to, though the handler's thread may go on."""
        return self.stopped is not None or self.settled

    @property
    def hangs(self) -> bool:
        """Whether the queue was told of the end, and only the handler's thread goes on."""
        return self.booked and self.thread is not None and not self.thread.done()

    # The end

    def lose(self) -> None:
        """The task is not ours any more: `stop`, as a delivery may have it."""
        self.stop(Stop.LOST)

    def stop(self, why: Stop) -> None:
        """Cancel the handler, once: the first reason counts.  The handler of a settled task has ended, or goes on in a
        thread; so nothing is done then."""
        if self.stopped is None and not self.settled:
            self.stopped = why
            if self.handling and self.work is not None:
                self.work.cancel()

    def settle(self, work: 'asyncio.Task[None] | None' = None) -> None:
        """What becomes of the task is decided; ``work`` tells the queue, where it is not told in bulk."""
        self.settled = True
        if work is not None:
            self.work = work

    def retry(self) -> None:
        """The queue could not be told of the end, and is called again."""
        self.retrying = True

    def book(self) -> None:
        """The queue was told of the end, or cannot be told."""
        self.booked = True
        self.retrying = False

    def end_as(self, outcome: Settled, error: BaseException | None = None) -> None:
        """What becomes of the task, or has become of it."""
        self.outcome = outcome
        self.error = error

    def tell_end(self, tell: Callable[[Settled, BaseException | None], object]) -> None:
        """Have a function called with what has become of the task, when the queue was told of it or cannot be told."""
        self.tells = (*(self.tells or ()), tell)

    def tell(self) -> None:
        """Call them; what they raise is logged."""
        tells, self.tells = self.tells, None
        for one in tells or ():
            try:
                one(self.outcome, self.error)
            except Exception:
                logger.exception('%r, which is told what became of %r, failed', one, self.delivery)
