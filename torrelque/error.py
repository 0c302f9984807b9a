"""The exception tree.  Each class says what is true once it was raised."""

import redis.exceptions


class TorrelqueError(Exception):
    """Something was refused or failed; every error of this package is one of these."""


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


def no_reply(cause: BaseException) -> TorrelqueTimeoutError:
    """The error of a call that waited for a task while the server gave no reply, with why it did not."""
    error = TorrelqueTimeoutError(f'no reply of the server in time: {str(cause) or repr(cause)}')
    error.replied, error.__cause__ = False, cause
    return error


class TorrelqueLookupError(TorrelqueError, LookupError):
    """The queue has no task of this id: never enqueued, or finished and forgotten."""


class TorrelqueDuplicateError(TorrelqueError):
    """The queue knows a task of this id already.  Nothing was changed."""

    task_id: str
    """The id that was refused."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f'the queue has a task {task_id!r} already')
        self.task_id = task_id

    def __reduce__(self) -> tuple[type['TorrelqueDuplicateError'], tuple[str]]:
        return type(self), (self.task_id,)


class TorrelqueFullError(TorrelqueError):
    """The queue has as many tasks as it may have.  The task was not enqueued."""

    size: int
    """Tasks in the queue when it refused, dead ones not counted."""

    def __init__(self, size: int) -> None:
        super().__init__(f'the queue is full: it has {size} tasks')
        self.size = size

    def __reduce__(self) -> tuple[type['TorrelqueFullError'], tuple[int]]:
        return type(self), (self.size,)


class TorrelqueBulkError(TorrelqueError):
    """A bulk call failed half-way.  The tasks of ``task_ids`` are in the queue; ``__cause__`` tells
    what went wrong.  The ids are those of the first tasks of the iterable, in its order, so it can be
    gone on with at ``len(task_ids)``; when the server was lost, the next few may be in as well."""

    task_ids: list[str]
    """Ids of the tasks that are known to be in the queue."""

    def __init__(self, task_ids: list[str]) -> None:
        super().__init__(f'the bulk call failed after {len(task_ids)} tasks')
        self.task_ids = task_ids

    def __reduce__(self) -> tuple[type['TorrelqueBulkError'], tuple[list[str]]]:
        return type(self), (self.task_ids,)


class TorrelqueConnectionError(TorrelqueError, redis.exceptions.ConnectionError):
    """The server could not be reached, or did not answer, for as long as the call was repeated.
    Whether the call had its effect is unknown."""


class TorrelqueServerError(TorrelqueError, redis.exceptions.ResponseError):
    """The server answered with an error, which is told as it came: as a rule, the call was not carried out.  Those of
    memory, of a right, of a read-only server and of authentication are of the client library's classes as well."""

    passing: bool = False
    """Whether time may mend it: the server takes no writes at the moment, for a replica, its disk or its memory."""


class ServerOutOfMemoryError(TorrelqueServerError, redis.exceptions.OutOfMemoryError):
    """The server's memory is full."""


class ServerReadOnlyError(TorrelqueServerError, redis.exceptions.ReadOnlyError):
    """The server takes no writes."""


class ServerPermissionError(TorrelqueServerError, redis.exceptions.NoPermissionError):
    """The user of the connection may not do that."""


class ServerAuthenticationError(TorrelqueServerError, redis.exceptions.AuthenticationError):
    """The server wants to know who is there."""


def copy_error(error: Exception) -> Exception:
    """One failure of many callers: each gets an error of its own, for the traceback that it collects."""
    try:
        copy = type(error)(*error.args)
    except TypeError:
        return TorrelqueError(str(error))
    copy.__cause__ = error.__cause__
    if isinstance(error, TorrelqueServerError):
        copy.passing = error.passing  # type: ignore[attr-defined]
    return copy
