"""Tasks of an iterable of any length, put into calls."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torrelque.codec import TorrelqueSerialiser, serialise
from torrelque.model import TorrelqueTaskId

from .bounds import Bounds
from .ids import Ids
from .replies import outcome_error, read_outcomes
from .transition import Arg


class BulkEnqueue:
    """Puts tasks into calls.  The next may be made while one is on its way, to be sent when it has returned: so what
    is in the queue after a failure is a beginning of the iterable, without gaps."""

    def __init__(
        self,
        queue: str,
        serialiser: TorrelqueSerialiser,
        bounds: Bounds,
        ids: Ids,
        options_of: Callable[[Any], tuple[str, bool]],
        varied: bool,
    ) -> None:
        self.queue = queue
        """Name of the queue, for messages."""
        self.task_ids: list[Any] = []
        """Ids of the tasks that are known to be in the queue."""
        self._serialiser = serialiser
        self._bulk, self._bulk_bytes = bounds.bulk, bounds.bulk_bytes
        self._grouped_bytes = bounds.grouped_bytes
        self._new_id = ids.new
        self._options_of = options_of
        self._of_all = None if varied else options_of(None)
        self._made: list[TorrelqueTaskId] = []
        self._args: list[Arg] = []
        self._size = 0
        self._next: tuple[TorrelqueTaskId, bytes, str, int] | None = None
        self._away: list[TorrelqueTaskId] = []

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._made)

    def add(self, task: Any) -> bool:
        """Take a task; whether it is time to send."""
        payload = serialise(self._serialiser, task, 'the task')
        options, grouped = self._of_all or self._options_of(task)
        task_id, made = self._new_id(), self._made
        size = len(payload) + (self._grouped_bytes if grouped else 0)
        total = self._size + size
        if total > self._bulk_bytes and made:
            self._next = task_id, payload, options, size
            return True
        self._args += (task_id, payload, options)
        made.append(task_id)
        self._size = total
        return len(made) >= self._bulk or total >= self._bulk_bytes

    def take_call(self) -> list[Arg]:
        """Arguments of the call of what was taken since the last, which has returned; none when there is nothing."""
        self._away, self._made = self._made, []
        args, self._args, self._size = self._args, [], 0
        if self._next is not None:
            task_id, payload, options, self._size = self._next
            self._args, self._made, self._next = [task_id, payload, options], [task_id], None
        return args

    def returned(self, reply: Any) -> None:
        """Keep the ids of the tasks that the call took in; raises where it refused one."""
        if reply == b'ok':
            self.task_ids += self._away
            return
        error = None
        for task_id, outcome in zip(self._away, read_outcomes('enqueue', reply, len(self._away)), strict=True):
            wrong = outcome_error(outcome, task_id, self.queue)
            if wrong is None:
                self.task_ids.append(task_id)
            error = error or wrong
        if error is not None:
            raise error

    def drop(self) -> None:
        """A call failed.  What comes after a gap is not sent."""
        self._made, self._args, self._next = [], [], None


class Many(NamedTuple):
    """Tasks to settle, or whose leases are to be renewed."""

    name: str
    """The script."""
    task_ids: list[str]
    rest: list[Arg]
    """What is said of each, behind its id and token."""

    @property
    def width(self) -> int:
        """How many arguments each task has."""
        return 2 + len(self.rest)
