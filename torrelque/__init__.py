"""A minimal, asynchronous, reliable, distributed work-queue primitive on Redis, Valkey or KeyDB."""

from .aio.common import TorrelqueQueue
from .aio.queue import Torrelque
from .codec import TorrelqueSerialiser, TorrelqueTaskSerialiser
from .error import (
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueFullError,
    TorrelqueLeaseLostError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from .model import (
    Duration,
    TorrelqueAttempt,
    TorrelqueDeath,
    TorrelqueFlow,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueQueueStats,
    TorrelqueSchedule,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueWatch,
)
from .protocol.replies import read_outcome

# The names to use: each is the class of the same name with the prefix, which stays, and by which tracebacks, reprs and
# pickles call it.  Five of them are those of built-in classes as well.  A module that took them by ``import *`` would
# mean other errors by its ``except TimeoutError`` than it says, so they are not in ``__all__``: write
# ``torrelque.TimeoutError``.
Attempt = TorrelqueAttempt
BulkError = TorrelqueBulkError
ClosedError = TorrelqueClosedError
ConnectionError = TorrelqueConnectionError
Death = TorrelqueDeath
DuplicateError = TorrelqueDuplicateError
Error = TorrelqueError
Flow = TorrelqueFlow
FullError = TorrelqueFullError
GroupStats = TorrelqueGroupStats
LeaseLostError = TorrelqueLeaseLostError
Limit = TorrelqueLimit
LookupError = TorrelqueLookupError
Node = TorrelqueNode
Outcome = TorrelqueOutcome
Queue = TorrelqueQueue
QueueStats = TorrelqueQueueStats
Schedule = TorrelqueSchedule
Serialiser = TorrelqueSerialiser
ServerError = TorrelqueServerError
SweepResult = TorrelqueSweepResult
TaskId = TorrelqueTaskId
TaskSerialiser = TorrelqueTaskSerialiser
TaskState = TorrelqueTaskState
TaskStatus = TorrelqueTaskStatus
TimeoutError = TorrelqueTimeoutError
TypeError = TorrelqueTypeError
ValueError = TorrelqueValueError
Watch = TorrelqueWatch

__all__ = [
    'Attempt',
    'BulkError',
    'ClosedError',
    'Death',
    'DuplicateError',
    'Duration',
    'Error',
    'Flow',
    'FullError',
    'GroupStats',
    'LeaseLostError',
    'Limit',
    'Node',
    'Outcome',
    'Queue',
    'QueueStats',
    'Schedule',
    'Serialiser',
    'ServerError',
    'SweepResult',
    'TaskId',
    'TaskSerialiser',
    'TaskState',
    'TaskStatus',
    'Torrelque',
    'TorrelqueAttempt',
    'TorrelqueBulkError',
    'TorrelqueClosedError',
    'TorrelqueConnectionError',
    'TorrelqueDeath',
    'TorrelqueDuplicateError',
    'TorrelqueError',
    'TorrelqueFlow',
    'TorrelqueFullError',
    'TorrelqueGroupStats',
    'TorrelqueLeaseLostError',
    'TorrelqueLimit',
    'TorrelqueLookupError',
    'TorrelqueNode',
    'TorrelqueOutcome',
    'TorrelqueQueue',
    'TorrelqueQueueStats',
    'TorrelqueSchedule',
    'TorrelqueSerialiser',
    'TorrelqueServerError',
    'TorrelqueSweepResult',
    'TorrelqueTaskId',
    'TorrelqueTaskSerialiser',
    'TorrelqueTaskState',
    'TorrelqueTaskStatus',
    'TorrelqueTimeoutError',
    'TorrelqueTypeError',
    'TorrelqueValueError',
    'TorrelqueWatch',
    'Watch',
    'read_outcome',
]
