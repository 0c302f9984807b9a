"""What a queue object is before its verbs: how it is made and closed, and how its calls are sent."""

import weakref
from types import TracebackType
from typing import Any, TypeVar

from torrelque.error import TorrelqueClosedError
from torrelque.model import JSON, TorrelqueSerialiser
from torrelque.protocol import check
from torrelque.protocol.bounds import BOUNDS, Bounds
from torrelque.protocol.calls import Call, Calls

from .client import Client, add_to_pipeline, check_client
from .session import Session
from .sweeper import Sweeper
from .watch import Watch

Self = TypeVar('Self', bound='QueueObject')


class QueueObject:
    """All of `Torrelque` but its verbs."""

    client: Client
    """What the object was made with."""
    serialiser: TorrelqueSerialiser
    """What turns tasks, results and progress into bytes and back."""
    max_tasks: int | None
    """How many tasks the queue may have before it refuses more; None is any number."""
    name: str
    """The queue's name."""
    keys: dict[str, str]
    """Full names of the queue's keys.  ``'task'`` is a prefix: a task's state is at ``f"{keys['task']}:{task_id}"``."""

    _bounds: Bounds = BOUNDS
    """Limits and times of the core."""

    def __init__(
        self,
        client: Client,
        *,
        queue: str = 'trq',
        serialiser: TorrelqueSerialiser = JSON,
        max_tasks: int | None = None,
    ) -> None:
        check_client(client)
        self._calls = Calls(queue, serialiser, max_tasks, self._bounds)
        self.keys = self._calls.keys
        self.name = queue
        self.client = client
        self.serialiser = serialiser
        self.max_tasks = max_tasks
        self._session: Session | None = None
        self._sweeper: Sweeper | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.name!r}>'

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the waiting `dequeue` calls and the watches with a `TorrelqueError`, and disconnect.

        What was taken for the waiting calls is given back.  The caller's client stays open.  Calls that are on their
        way are waited for, some seconds at the most.
        """
        self._stop_sweeper()
        if self._session is not None:
            await self._session.close()
        self._closed = True

    # Parts

    def _started(self) -> Session:
        session = self._session
        if session is None:
            if self._closed:
                raise TorrelqueClosedError('the queue was closed')
            session = self._session = Session(self.client, self._calls)
            # Many make an object for each request, and do not close it.
            weakref.finalize(self, session.abandon).atexit = False
        session.check()
        return session

    def _stop_sweeper(self) -> None:
        if self._sweeper is not None:
            self._sweeper.stop()
            self._sweeper = None

    def _watch(self, task_id: str, timeout: float | None) -> Watch:
        if timeout is not None:
            timeout = check.milliseconds(timeout, 'timeout') / 1000
        return Watch(lambda: self._started().hub, check.check_id(task_id), timeout)

    async def _settle(self, call: Call, pipeline: Any) -> bool:
        if pipeline is not None:
            await add_to_pipeline(self.client, pipeline, self._calls.words(call))
            return None  # type: ignore[return-value]  # nobody can know yet, and few look
        return await self._started().settle(*call)
