"""What a handler is called with: one task, for one attempt; and what is to be done with it, its job.

Other layers may import the names in `__all__`.

The hooks of a job are called with deliveries, and a delivery names its job.  Types that name one another share a
module, so that no two modules import one another.
"""

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from torrelque import Duration, TorrelqueError, TorrelqueQueue, TorrelqueServerError, TorrelqueTaskId

from .bounds import Bounds
from .crossing import close_coroutine, run_in_loop
from .retry import RetryRule

__all__ = [
    'Common',
    'Delivery',
    'Holder',
    'Instead',
    'Job',
    'Place',
    'Settled',
    'States',
    'headers_of',
    'instant_of',
    'run_for',
]

T = TypeVar('T')

Place = Literal['thread', 'process']
"""Where a handler that is no coroutine function runs."""
Settled = Literal['released', 'retried', 'dead', 'lost', 'cancelled', 'returned']
"""What has become of an attempt.  ``'lost'``: the task was not ours any more, or the queue could not be told;
``'cancelled'``: somebody has cancelled it; ``'returned'``: it was given back uncounted, as when the worker ends."""


class Job(NamedTuple):
    """A handler, and what goes for its tasks instead of what goes for the worker's others."""

    call: Callable[[Any], Any]
    """A coroutine function, or a function, which then runs in a thread or in a process."""
    name: str = ''
    max_attempts: int | None = None
    """How often a task is tried; -1 is without end, None is as the worker says.  The task's own goes before both."""
    retry: RetryRule | None = None
    """When a failed task is tried again; None is as the worker says."""
    timeout: Duration | None = None
    """How long the handler may run; None is as the worker says."""
    result_ttl: Duration | None = None
    """How long the result can be read; None is as the worker says."""
    run_in: Place | None = None
    """Where a plain function runs; None is as the worker says."""
    on_success: 'Callable[[Delivery, Any], Any] | None' = None
    """The hooks of the job are called after those of the worker, with the same arguments."""
    on_error: 'Callable[[Delivery, BaseException], Any] | None' = None
    on_dead: 'Callable[[Delivery, BaseException], Any] | None' = None
    keep: Duration | None = None
    """How long the final state stays, with a result or none, where nothing else says a ``result_ttl``."""
    admit: 'Callable[[Delivery], Awaitable[None]] | None' = None
    """Awaited in the event loop before the handler, and before hooks and middleware; what it raises counts as raised by
    the handler, so that a `Reject` has the task dead."""
    encode: Callable[[Any], Any] | None = None
    """Called with a result that is not None: what is kept of it.  Hooks see the result itself."""
    around_thread: 'Callable[[Delivery], AbstractContextManager[Any]] | None' = None
    """Makes the context manager in which a plain function runs, in its thread; None is as the worker says."""


class Instead:
    """What a handler returns in the place of a result, where other tasks are to give that."""

    async def take_place(self, delivery: 'Delivery', ttl: float | None) -> bool:
        """Finish the task of the handler; whether it was still ours.  It may be called again, when it has failed.

        :param ttl: how long (s) a result is to be there; None is as the queue says.
        :raises TorrelqueError: nothing was changed.
        """
        raise NotImplementedError


class States(dict[object, Any]):
    """What each of several apps has yielded for one worker, by the app."""


_FIRING = re.compile(r'.*@([0-9]{12,14})(?:\.[0-9a-f]{8})?', re.DOTALL)


def instant_of(task_id: str) -> datetime.datetime | None:
    """The instant in the id of a task that a schedule has fired, in UTC; None where there is none."""
    found = _FIRING.fullmatch(task_id)
    if found is None:
        return None
    try:
        return _EPOCH + datetime.timedelta(milliseconds=int(found[1]))
    except OverflowError:
        return None


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def headers_of(task: Any) -> Mapping[str, Any]:
    """The headers in a payload."""
    headers = task.get('headers') if isinstance(task, Mapping) else None
    return headers if isinstance(headers, Mapping) else {}


class Holder(Protocol):
    """What holds the task of a delivery, as far as the delivery has to tell it something."""

    @property
    def over(self) -> bool:
        """Whether what becomes of the attempt is decided, or is about to be, whatever its handler does."""
        ...

    def lose(self) -> None:
        """Take note that the task is not ours any more, and cancel its handler."""
        ...

    def tell_end(self, tell: Callable[[Settled, BaseException | None], object]) -> None:
        """Have a function called with what has become of the attempt, and why."""
        ...


@dataclass(eq=False)
class Common:
    """What all deliveries of a worker have in common."""

    loop: asyncio.AbstractEventLoop
    """The worker's event loop, in which `Delivery.report` has the progress written."""
    bounds: Bounds
    """The worker's limits and times."""
    state: Any = None
    """What the app's `lifespan` has yielded."""
    worker: str = ''
    """The name of the worker."""


class Delivery:
    """What a handler is called with: a task, for one attempt."""

    __slots__ = ('added', 'app', 'id', 'job', 'queue', 'since', 'task', '_common', '_holder')

    id: TorrelqueTaskId
    """The id, which carries the right to settle the task.  The worker settles it: a handler returns or raises."""
    task: Any
    """What was enqueued."""
    queue: TorrelqueQueue
    """The queue that the task was taken from."""
    since: float
    """When the worker took the task, by the clock of its event loop (s)."""
    job: Job
    """What is done with the task, and how; the worker's defaults until the app has found the job of the task."""
    added: set[str]
    """Names that its function has given to tasks that it has added to its flow; there only where it has added some."""
    app: object
    """Which of the worker's apps has the job of the task; there only where the worker serves several."""

    def __init__(
        self,
        queue: TorrelqueQueue,
        task_id: TorrelqueTaskId,
        task: Any,
        job: Job,
        since: float,
        common: Common,
        holder: 'Callable[[], Holder | None]',
    ) -> None:
        self.id = task_id
        self.task = task
        self.queue = queue
        self.since = since
        self.job = job
        # Legend.  _common: what the delivery shares with the worker's others.  _holder: gives what holds the task, as
        # long as a worker does.  It is a weak reference, because the holder refers to the delivery, and a circle of the
        # two would keep the task's payload until the garbage collector runs.
        self._common = common
        self._holder = holder

    def __repr__(self) -> str:
        return f'<Delivery {str(self.id)!r} of {self.queue.name!r}, attempt {self.attempt}>'

    @property
    def attempt(self) -> int:
        """Which hand-out of the task this is, 1 at the first."""
        return self.id.attempt or 1

    @property
    def group(self) -> str | None:
        """The task's group, if it has one."""
        return self.id.group

    @property
    def scheduled(self) -> datetime.datetime | None:
        """The instant, in UTC, for which a schedule has fired the task, however late it was handed out; None for a task
        that no schedule has fired.  It is told by the task's id, ``NAME@MILLISECONDS``."""
        return instant_of(self.id)

    @property
    def headers(self) -> Mapping[str, Any]:
        """What travels beside the arguments of a call, such as the context of a trace: the ``headers`` of a payload
        that is a mapping.  Empty where there are none."""
        return headers_of(self.task)

    @property
    def state(self) -> Any:
        """What the `lifespan` of the task's app has yielded for this worker; None where it has none."""
        state = self._common.state
        return state.get(getattr(self, 'app', None)) if isinstance(state, States) else state

    @property
    def over(self) -> bool:
        """Whether the attempt is over though its handler runs: it is past its time limit, its lease is lost, the task
        was cancelled, or the worker has ended.  A coroutine function is cancelled then; a function in a thread cannot
        be ended, and may look here, from any thread, before it does what is not to be done twice."""
        holder = self._holder()
        return holder is None or holder.over

    @property
    def worker(self) -> str:
        """The name of the worker that has the task."""
        return self._common.worker

    def when_settled(self, tell: Callable[[Settled, BaseException | None], object]) -> bool:
        """Have a function called in the worker's event loop when it is known what has become of the attempt, which a
        middleware has not lived to see: with one of ``Settled``, and the error that counts, if there is one.

        What it raises is logged.  A worker that is killed calls nothing.

        :return: False where no worker has the task, so that nobody will call it.
        """
        if (holder := self._holder()) is None:
            return False
        holder.tell_end(tell)
        return True

    async def touch(self, progress: Any = None) -> bool:
        """Write down how far the work is, and renew the lease (which the worker does in any case).

        :param progress: any value but None that the serialiser takes, to be read in the task's state.
        :return: False when the task is not ours any more: cancelled, or handed to somebody else.  Then the handler is
            cancelled as well.
        :raises TorrelqueError: the serialiser or the server does not take it; where the server takes no writes at the
            moment, after some ten seconds.
        """
        ours = await self._write(progress)
        if not ours and (holder := self._holder()) is not None:
            holder.lose()
        return ours

    async def _write(self, progress: Any) -> bool:
        loop, bounds = asyncio.get_running_loop(), self._common.bounds
        end = loop.time() + bounds.progress
        while True:
            try:
                return await self.queue.touch(self.id, progress=progress)
            except TorrelqueServerError as exc:
                if not exc.passing or loop.time() > end:
                    raise
            await asyncio.sleep(bounds.progress_pause)

    def report(self, progress: Any) -> bool:
        """As `touch`, from a handler's thread, or one that a coroutine function started; it waits for the answer.

        :raises TorrelqueError: called in the worker's event loop, by a coroutine function or a hook; ``await touch``.
        """
        return run_in_loop(self._common.loop, self.touch(progress))


def run_for(delivery: Any, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop of the worker that a delivery is of, from a thread of its handler, and wait.

    :raises TorrelqueError: it is called in that event loop; or the delivery is of no worker, or of a process.
    """
    common = getattr(delivery, '_common', None)
    if not isinstance(common, Common):
        close_coroutine(coroutine)
        raise TorrelqueError(f'{delivery!r} is not one that a worker of this process has')
    return run_in_loop(common.loop, coroutine)
