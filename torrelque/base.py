"""What a queue object is before its verbs: how it is made and closed, and how its calls are sent."""

import weakref
from types import TracebackType
from typing import Any, TypeVar

from . import check, protocol
from .client import Client, add_to_pipeline, check_client
from .error import TorrelqueClosedError, TorrelqueTypeError
from .keys import make_keys
from .model import JSON, TorrelqueSerialiser
from .session import Plan, Session
from .sweep import Sweeper
from .watch import Watch

Self = TypeVar('Self', bound='QueueObject')


class QueueObject:
    """All of `Torrelque` but its verbs."""

    client: Client
    """What the object was made with."""
    serialiser: TorrelqueSerialiser
    """What turns tasks, results and progress into bytes and back."""
    name: str
    """The queue's name."""
    keys: dict[str, str]
    """Full names of the queue's keys.  ``'task'`` is a prefix: a task's state is at ``f"{keys['task']}:{task_id}"``."""

    def __init__(
        self,
        client: Client,
        *,
        queue: str = 'trq',
        serialiser: TorrelqueSerialiser = JSON,
        max_tasks: int | None = None,
    ) -> None:
        check_client(client)
        if not callable(getattr(serialiser, 'dumps', None)) or not callable(getattr(serialiser, 'loads', None)):
            raise TorrelqueTypeError(f'a serialiser must have dumps and loads: {serialiser!r}')
        if max_tasks is not None:
            check.check_count(max_tasks, 'max_tasks')
        self.keys = make_keys(queue)
        self.name = queue
        self.client = client
        self.serialiser = serialiser
        self._plan = Plan(self.keys, serialiser, max_tasks)
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
            session = self._session = Session(self.client, self._plan)
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

    async def _settle(
        self, name: str, task_id: str, args: list[protocol.Arg], pipeline: Any, size: int = 0
    ) -> bool:
        if pipeline is not None:
            await self._add_to_pipeline(pipeline, name, args)
            return None  # type: ignore[return-value]  # nobody can know yet, and few look
        return await self._started().settle(name, args, task_id, size + protocol.weight_of(task_id))

    async def _add_to_pipeline(
        self, pipeline: Any, name: str, args: list[protocol.Arg], resent: bool = False
    ) -> None:
        words = self._plan.transitions[name].words([*self._plan.head(name), *args], resent)
        await add_to_pipeline(self.client, pipeline, words)
