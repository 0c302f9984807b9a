"""What both queues are made of, the asynchronous and the synchronous one.  Nothing here sends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torrelque.codec import TorrelqueSerialiser
from torrelque.model import Duration
from torrelque.protocol.bounds import BOUNDS, Bounds
from torrelque.protocol.calls import Calls
from torrelque.protocol.check import check_call, seconds_of

TIMES = {'task_timeout', 'result_ttl', 'sweep_interval'}
"""Times of a queue object that may be set as any duration, and are read in seconds."""

if TYPE_CHECKING:

    class Time:
        """What checkers of types know of such a time.  It is a plain attribute, because it is read by most calls."""

        def __get__(self, queue: object, kind: object = None) -> float: ...

        def __set__(self, queue: object, duration: Duration) -> None: ...


class Queue:
    """A queue object before its verbs: what it was made with, and the builders of its calls."""

    client: Any
    """What the object was made with, in each queue a client of its own kind."""
    serialiser: TorrelqueSerialiser
    """What turns tasks, results and progress into bytes and back."""
    max_tasks: int | None
    """How many tasks the queue may have before it refuses more; None is any number."""
    name: str
    """The queue's name."""
    keys: dict[str, str]
    """Full names of the queue's keys.  ``'task'`` is a prefix: a task's state is at ``f"{keys['task']}:{task_id}"``."""
    if TYPE_CHECKING:
        task_timeout = Time()
        result_ttl = Time()
    else:
        task_timeout: float = 300
        """Length of a task's leases (s) where `enqueue` was not given another."""
        result_ttl: float = 3600
        """How long (s) a kept state can be read where `release` was not given another time."""
    _bounds: Bounds = BOUNDS
    """Limits and times of the core."""

    @property
    def when_low(self) -> Callable[[list[str]], object] | None:
        """What is told of schedules that have fewer than eight instants left, by name, when a sweep of this object has
        fired them; a plain function, which is to return soon."""
        return self._calls.when_low

    @when_low.setter
    def when_low(self, call: Callable[[list[str]], object] | None) -> None:
        self._calls.when_low = None if call is None else check_call(call, 'when_low', 'names')

    def __init__(self, client: Any, queue: str, serialiser: TorrelqueSerialiser, max_tasks: int | None) -> None:
        self._calls = Calls(queue, serialiser, max_tasks, self._bounds)
        self.keys = self._calls.keys
        self.name = queue
        self.client = client
        self.serialiser = serialiser
        self.max_tasks = max_tasks

    if not TYPE_CHECKING:
        # Checkers that knew of this would let any attribute be set.
        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, seconds_of(value) if name in TIMES else value)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self.name!r}>'
