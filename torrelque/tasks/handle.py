"""What a producer has of a call that was enqueued: a handle, and the error of a task that failed.

Other layers may import the names in `__all__`.
"""

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Generic, TypeVar

from torrelque import (
    Duration,
    TorrelqueClosedError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
)
from torrelque.worker.crossing import ENDED

from .loops import Loops

__all__ = ['Handle', 'TaskFailedError', 'is_dead']

T = TypeVar('T')


class TaskFailedError(TorrelqueError):
    """The task has no result: it is dead, was rejected, or was cancelled.  A dead task stays until it is redriven."""

    task_id: str
    status: TorrelqueTaskStatus
    """WAITING where its function has returned a flow, which stands still because a task of it is dead."""
    error: str | None
    """The error that is kept with the task: the last lines of a traceback, or what it was rejected with."""

    def __init__(self, task_id: str, status: TorrelqueTaskStatus, error: str | None) -> None:
        last = (error or '').strip().rpartition('\n')[2]
        what = 'a flow that stands still' if status is TorrelqueTaskStatus.WAITING else status.name.lower()
        super().__init__(f'task {task_id!r} is {what}' + (f': {last}' if last else ''))
        self.task_id = task_id
        self.status = status
        self.error = error

    def __reduce__(
        self,
    ) -> tuple[type['TaskFailedError'], tuple[str, TorrelqueTaskStatus, str | None], dict[str, str | None]]:
        return type(self), (self.task_id, self.status, self.error), {'queue': self.queue}


class Handle(Generic[T]):
    """A task that was enqueued, in any event loop of the process.

    Where a call of an ordered function in a coroutine gives the handle, the task is still on its way.  ``await handle``
    waits until the queue has the task, gives the handle again, and raises what enqueueing raised.  The other methods
    wait for that, too.
    """

    __slots__ = ('_decode', '_gone', '_id', '_loops', '_queue', '_sending', '_since')

    def __init__(
        self,
        loops: Loops,
        task_id: str | None,
        gone: float | None = None,
        sending: 'asyncio.Future[str] | None' = None,
        queue: str | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        # Legend.  _loops: what the app has in its event loops.  _queue: the name of the queue, where it is not the
        # app's own.  _decode: makes the result of what is kept of it, if anything must.  _gone: after how many seconds
        # the lack of a result says nothing any more; None is at once.  _sending: the call that brings the id.  _since:
        # when the handle was made, by the monotonic clock (s).
        self._loops = loops
        self._queue = queue
        self._decode = decode
        self._id = task_id
        self._gone = gone
        self._sending = sending
        self._since = time.monotonic()

    def __repr__(self) -> str:
        return f'<Handle {self._id!r}>' if self._id is not None else '<Handle of a task that is being enqueued>'

    def __await__(self) -> Generator[Any, None, 'Handle[T]']:
        if self._id is None and self._sending is not None:
            self._id = yield from _sent(self._sending).__await__()
            self._sending = None
        return self

    @property
    def id(self) -> str:
        """The task's id."""
        if self._id is None:
            if self._sending is None or not self._sending.done():
                raise TorrelqueError('the task is being enqueued; await the handle')
            self._id = _outcome(self._sending)
        return self._id

    async def state(self) -> TorrelqueTaskState:
        """As `torrelque.Torrelque.get_task_state`."""
        await self
        return await self._loops.here().find(self._queue).get_task_state(self.id)

    async def watch(self, timeout: Duration | None = None) -> AsyncGenerator[TorrelqueTaskState, None]:
        """As `torrelque.Torrelque.watch`."""
        await self
        async for state in self._loops.here().find(self._queue).watch(self.id, timeout=timeout):
            yield state

    async def cancel(self) -> bool:
        """As `torrelque.Torrelque.cancel`: True if the task was there and not final; a running one is cancelled."""
        await self
        return await self._loops.here().find(self._queue).cancel(self.id)

    async def result(self, timeout: Duration | None = None) -> T:
        """Wait until the task has ended; what its function returned.  The task goes on when the call is cancelled.

        :param timeout: how long to wait (s), for ever by default.
        :raises TaskFailedError: it is dead, was rejected or cancelled; or its function has returned a flow, of which a
            task is dead.
        :raises TorrelqueTimeoutError: it has not ended in time.
        :raises TorrelqueTypeError: what is kept of the result is not what the function's annotation says here.
        :raises TorrelqueLookupError: the queue knows nothing of the task, and nobody can tell what it came to.

        The final state of a task is there for the ``result_ttl`` of the call or the function, or for as long as the app
        is to ``keep`` it; after that nobody can tell.  A cancelled task is forgotten after a minute.

        Where the app keeps nothing, a task that the queue has forgotten has returned None, as long as another result
        would still be there: for the ``result_ttl`` of the queue after the call, with the handle that the call gave.
        (Where the worker was given a shorter one, an early reader may be told None for a result that is gone; and a
        cancelled task looks the same after its minute.)  Whoever began to wait while the task was there is told what
        became of it in any case.
        """
        await self
        last: TorrelqueTaskState | None = None
        queue = self._loops.here().find(self._queue)
        try:
            async for last in queue.watch(self.id, timeout=timeout):
                if is_dead(last) or last.dead:
                    break
            # Of a task that has become a flow, or of one of a flow, the result is kept with the flow.
            if last is not None and (last.total is not None or last.flow is not None and not _is_settled(last)):
                last = await queue.get_task_state(self.id)
        except TorrelqueLookupError as exc:
            last = await self._ended_in_flow(queue, last)
            if last is None and (self._gone is None or time.monotonic() - self._since > self._gone):
                raise exc
        if last is not None and (last.status in _FAILED or last.dead or is_dead(last)):
            status = TorrelqueTaskStatus.DEAD if is_dead(last) else last.status
            failed = TaskFailedError(self.id, status, last.error)
            failed.queue = queue.name
            raise failed
        result = None if last is None else last.result
        return result if self._decode is None else self._decode(result)  # type: ignore[return-value]  # as the function

    async def _ended_in_flow(self, queue: TorrelqueQueue, last: TorrelqueTaskState | None) -> TorrelqueTaskState | None:
        """The state of a task of which nothing is left but what its flow keeps, if it is one; else the last that was
        seen."""
        # Such a task has the id of its flow in its own.
        if '.' not in self.id:
            return last
        try:
            return await queue.get_task_state(self.id)
        except TorrelqueLookupError:
            return last

    def wait_result(self, timeout: Duration | None = None) -> T:
        """As `result`, for synchronous code.

        :raises TorrelqueError: an event loop runs here, which the call would block.
        :raises TorrelqueClosedError: the app was closed meanwhile.
        """
        return self._loops.call(self.result(timeout))


async def _sent(sending: 'asyncio.Future[str]') -> str:
    """The id that a call brings which was made in this event loop or in another one."""
    loop = sending.get_loop()
    if sending.done():
        return _outcome(sending)
    if loop is asyncio.get_running_loop():
        # A caller that is cancelled while it waits does not take the call back, so the call is shielded from that.
        return await asyncio.shield(sending)
    outcome: concurrent.futures.Future[str] = concurrent.futures.Future()

    def pass_on(sent: 'asyncio.Future[str]') -> None:
        try:
            outcome.set_result(_outcome(sent))
        except Exception as exc:
            outcome.set_exception(exc)

    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(sending.add_done_callback, pass_on)
    # A loop that has ended calls nothing back.  So it counts as ended when it was found standing still twice, a second
    # apart; a loop that comes to its end stands still between two of its runs, too.
    here, still = asyncio.wrap_future(outcome), 0
    while not here.done() and still < 2:
        await asyncio.wait([here], timeout=1)
        still = 0 if loop.is_running() else still + 1
    if here.done():
        return here.result()
    here.cancel()
    raise TorrelqueClosedError(ENDED)


def _outcome(sending: 'asyncio.Future[str]') -> str:
    """The id that a call has brought.  A call that was cancelled was so because its event loop ended."""
    try:
        return sending.result()
    except asyncio.CancelledError as exc:
        raise TorrelqueClosedError(ENDED) from exc


def is_dead(state: TorrelqueTaskState) -> bool:
    """Whether a task is dead.  One that is dead in another queue is still worked on in that of its flow, with the
    error."""
    away = state.status is TorrelqueTaskStatus.WORKING and state.queue is not None
    return state.status is TorrelqueTaskStatus.DEAD or away and state.error is not None


def _is_settled(state: TorrelqueTaskState) -> bool:
    return state.status.isfinal() or state.status is TorrelqueTaskStatus.DEAD


_FAILED = (TorrelqueTaskStatus.DEAD, TorrelqueTaskStatus.REJECTED, TorrelqueTaskStatus.CANCELLED)
