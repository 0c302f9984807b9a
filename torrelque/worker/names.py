"""The names that this package gives to all."""

from .adapting import adapt_jobs, share_middleware
from .breaker import Breaker
from .chain import Middleware
from .child import ChildDelivery, ChildError
from .deaths import DeathError
from .delivery import Delivery, Job
from .health import RunningTask, WorkerHealth, get_workers
from .job import App
from .retry import Backoff, Reject, Retry, RetryRule
from .thread import ThreadWorker
from .worker import Worker

__all__ = [
    'App',
    'Backoff',
    'Breaker',
    'ChildDelivery',
    'ChildError',
    'DeathError',
    'Delivery',
    'Job',
    'Middleware',
    'Reject',
    'Retry',
    'RetryRule',
    'RunningTask',
    'ThreadWorker',
    'Worker',
    'WorkerHealth',
    'adapt_jobs',
    'get_workers',
    'share_middleware',
]
