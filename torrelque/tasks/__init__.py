"""Decorated functions whose calls are tasks: typed, in bulk, deferred, in strict order.

It stands on the public names of `torrelque` and `torrelque.worker`.
"""

from .app import Tasks
from .function import Enqueuer, FifoDecorator, FifoFunction, Function, TaskDecorator
from .handle import Handle, TaskFailedError
from .running import current

__all__ = [
    'Enqueuer',
    'FifoDecorator',
    'FifoFunction',
    'Function',
    'Handle',
    'TaskDecorator',
    'TaskFailedError',
    'Tasks',
    'current',
]
