"""The exception tree.  Each class says what is true once it was raised."""

from typing import TypeGuard, TypeVar

import redis.exceptions

E = TypeVar('E', bound='TorrelqueError')


class ShardName(str):
    """The name of a queue where it is one shard of it that is meant: the log has `queue 'email' (shard 1): `, and an
    error `queue 'email': shard 1: `."""

    number: int
    """Of the shard."""

    def __new__(cls, queue: str, number: int) -> 'ShardName':
        """The name of a queue, and the number of its shard."""
        name = super().__new__(cls, queue)
        name.number = number
        return name

    def __repr__(self) -> str:
        return f'{str(self)!r} (shard {self.number})'

    def __reduce__(self) -> tuple[type['ShardName'], tuple[str, int]]:
        return type(self), (str(self), self.number)


def _before(queue: str) -> str:
    """What the text of an error about a queue begins with."""
    return f'queue {str(queue)!r}: ' + (f'shard {queue.number}: ' if isinstance(queue, ShardName) else '')


class TorrelqueError(Exception):
    """Something was refused or failed; every error of this package is one of these."""

    queue: str | None = None
    """Name of the queue that the error is about, with which its text begins; None where that is not known."""

    def __str__(self) -> str:
        message = super().__str__()
        # A subclass of a user's may have an attribute of this name that is something else.
        return _before(self.queue) + message if isinstance(self.queue, str) else message


def of_queue(queue: str | None, error: E) -> E:
    """An error that says which queue it is about; one that says so already is left as it is."""
    if error.queue is None:
        error.queue = queue
    return error


def reason_of(error: BaseException) -> str:
    """The text of an error for a line that names the queue itself; never empty."""
    text = str(error)
    if isinstance(error, TorrelqueError) and error.queue is not None:
        text = text.removeprefix(_before(error.queue))
    return text or repr(error)


class TorrelqueTypeError(TorrelqueError, TypeError):
    """An argument is of the wrong type, a payload cannot be serialised, or the client is not of the server's kind.
    Nothing was carried out."""


class TorrelqueValueError(TorrelqueError, ValueError):
    """An argument has a value that cannot be meant.  Nothing was sent."""


class TorrelqueClosedError(TorrelqueError):
    """The queue object was closed: a waiting call took nothing, a new call sent nothing."""


class TorrelqueTimeoutError(TorrelqueError, TimeoutError):
    """The time is over: nothing was taken, or what was watched has not come to its end.  Where the server did not reply
    while a task was waited for, nobody knows whether there was one, and ``__cause__`` tells why."""

    replied: bool = True
    """Whether the server has said so; else it gave no reply in time."""


def no_task(queue: str, timeout: float | None) -> TorrelqueTimeoutError:
    """The error of a call that waited for a task for ``timeout`` (s), and of which the server says that none came."""
    return of_queue(queue, TorrelqueTimeoutError(f'no task came within {timeout or 0:g} s'))


def no_reply(queue: str, cause: BaseException) -> TorrelqueTimeoutError:
    """The error of a call that waited for a task while the server gave no reply, with why it did not."""
    error = of_queue(queue, TorrelqueTimeoutError(f'no reply of the server in time: {reason_of(cause)}'))
    error.replied, error.__cause__ = False, cause
    return error


class TorrelqueLookupError(TorrelqueError, LookupError):
    """The queue has no task of this id: never enqueued, or finished and forgotten."""


class TorrelqueLeaseLostError(TorrelqueError):
    """The caller does not hold the task any more in whose name it acts.  Nothing was changed."""


class TorrelqueDuplicateError(TorrelqueError):
    """The queue knows a task of this id already.  Nothing was changed."""

    task_id: str
    """The id that was refused."""

    def __init__(self, task_id: str, queue: str | None = None) -> None:
        super().__init__(f'the queue has a task {task_id!r} already')
        self.task_id = task_id
        self.queue = queue

    def __reduce__(self) -> tuple[type['TorrelqueDuplicateError'], tuple[str], dict[str, str | None]]:
        return type(self), (self.task_id,), {'queue': self.queue}


class TorrelqueFullError(TorrelqueError):
    """The queue has as many tasks as it may have.  The task was not enqueued."""

    size: int
    """Tasks in the queue when it refused, dead ones not counted."""

    def __init__(self, size: int, queue: str | None = None) -> None:
        super().__init__(f'the queue is full: it has {size} tasks')
        self.size = size
        self.queue = queue

    def __reduce__(self) -> tuple[type['TorrelqueFullError'], tuple[int], dict[str, str | None]]:
        return type(self), (self.size,), {'queue': self.queue}


class TorrelqueBulkError(TorrelqueError):
    """A bulk call failed half-way.  The tasks of ``task_ids`` are in the queue; ``__cause__`` tells
    what went wrong.  The ids are those of the first tasks of the iterable, in its order, so it can be
    gone on with at ``len(task_ids)``; when the server was lost, the next few may be in as well."""

    task_ids: list[str]
    """Ids of the tasks that are known to be in the queue."""

    def __init__(self, task_ids: list[str], queue: str | None = None) -> None:
        super().__init__(f'the bulk call failed after {len(task_ids)} tasks')
        self.task_ids = task_ids
        self.queue = queue

    def __reduce__(self) -> tuple[type['TorrelqueBulkError'], tuple[list[str]], dict[str, str | None]]:
        return type(self), (self.task_ids,), {'queue': self.queue}


class TorrelqueConnectionError(TorrelqueError, redis.exceptions.ConnectionError):
    """The server could not be reached, or did not answer, for as long as the call was repeated.
    Whether the call had its effect is unknown, unless ``untouched`` says that it had none."""

    untouched: bool = False
    """Whether the call surely had no effect: it was never sent, or was refused as a whole."""


class TorrelqueServerError(TorrelqueError, redis.exceptions.ResponseError):
    """The server answered with an error, which is told as it came, behind the queue's name: as a rule, the call was not
    carried out.  Those of memory, of a right, of a read-only server and of authentication are of the client library's
    classes as well."""

    passing: bool = False
    """Whether time may mend it: the server takes no writes now, because of a replica, its disk or its memory."""
    untouched: bool = False
    """Whether the call surely had no effect: such a server has refused it as a whole, and it was not sent before."""


class ServerOutOfMemoryError(TorrelqueServerError, redis.exceptions.OutOfMemoryError):
    """The server's memory is full."""


class ServerReadOnlyError(TorrelqueServerError, redis.exceptions.ReadOnlyError):
    """The server takes no writes."""


class ServerPermissionError(TorrelqueServerError, redis.exceptions.NoPermissionError):
    """The connection's user has no right to run the command."""


class ServerAuthenticationError(TorrelqueServerError, redis.exceptions.AuthenticationError):
    """The server refuses the connection's user name or password, or wants one and was given none."""


class ServerStaleError(TorrelqueServerError):
    """A shard does not have the tasks of this group, or of this id, any more: another one has, by a newer map of the
    shards.  Nothing was changed.  A `torrelque.sharded.Sharded` reads that map and sends again; in a transaction, the
    caller does."""


def is_untouched(error: BaseException | None) -> TypeGuard['TorrelqueConnectionError | TorrelqueServerError']:
    """Whether a call that came to this error surely had no effect, so that it may be made elsewhere."""
    return isinstance(error, (TorrelqueConnectionError, TorrelqueServerError)) and error.untouched


def copy_error(error: Exception) -> Exception:
    """One failure of many callers: each gets an error of its own, for the traceback that it collects."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        copy = TorrelqueError(reason_of(error))
    copy.__cause__ = error.__cause__
    if isinstance(error, TorrelqueError) and isinstance(copy, TorrelqueError):
        of_queue(error.queue, copy)
    if isinstance(error, TorrelqueServerError) and isinstance(copy, TorrelqueServerError):
        copy.passing, copy.untouched = error.passing, error.untouched
    elif isinstance(error, TorrelqueConnectionError) and isinstance(copy, TorrelqueConnectionError):
        copy.untouched = error.untouched
    return copy
