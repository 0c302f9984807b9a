"""Decorated functions whose calls are tasks: typed, in bulk, deferred, in strict order.

It stands on the public names of `torrelque` and `torrelque.worker`, on `torrelque.protocol.check`, and on what modules
of the worker open to other layers by an ``__all__`` of their own.
"""

from .adapters import Adapter, Types
from .app import Tasks
from .depends import Depends, injected
from .function import Enqueuer, FifoDecorator, FifoFunction, Function, TaskDecorator
from .handle import Handle, TaskFailedError
from .producing import Call, CallNext, EnqueueMiddleware
from .running import current
from .serving import Serving

__all__ = [
    'Adapter',
    'Call',
    'CallNext',
    'Depends',
    'EnqueueMiddleware',
    'Enqueuer',
    'FifoDecorator',
    'FifoFunction',
    'Function',
    'Handle',
    'Serving',
    'TaskDecorator',
    'TaskFailedError',
    'Tasks',
    'Types',
    'current',
    'injected',
]
