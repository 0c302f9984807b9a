"""The names that this package gives to all."""

from .adapters import Adapter, Types
from .app import Tasks
from .context import Context, Sending, share_context
from .depends import Depends, injected
from .function import Enqueuer, FifoDecorator, FifoFunction, Function, TaskDecorator
from .handle import Handle, TaskFailedError
from .producing import Call, CallNext, EnqueueMiddleware
from .running import current
from .serving import Serving
from .work import Packed, Work

__all__ = [
    'Adapter',
    'Call',
    'CallNext',
    'Context',
    'Depends',
    'EnqueueMiddleware',
    'Enqueuer',
    'FifoDecorator',
    'FifoFunction',
    'Function',
    'Handle',
    'Packed',
    'Sending',
    'Serving',
    'TaskDecorator',
    'TaskFailedError',
    'Tasks',
    'Types',
    'Work',
    'current',
    'injected',
    'share_context',
]
