"""A minimal, asynchronous, reliable, distributed work-queue primitive on Redis, Valkey or KeyDB."""

from .aio.queue import Torrelque
from .codec import TorrelqueSerialiser, TorrelqueTaskSerialiser
from .error import (
    TorrelqueBulkError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueDuplicateError,
    TorrelqueError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTimeoutError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from .model import (
    TorrelqueDeath,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueWatch,
)
from .protocol.replies import read_outcome

__all__ = [
    'Torrelque',
    'TorrelqueBulkError',
    'TorrelqueClosedError',
    'TorrelqueConnectionError',
    'TorrelqueDeath',
    'TorrelqueDuplicateError',
    'TorrelqueError',
    'TorrelqueFullError',
    'TorrelqueGroupStats',
    'TorrelqueLimit',
    'TorrelqueLookupError',
    'TorrelqueQueueStats',
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
    'read_outcome',
]
