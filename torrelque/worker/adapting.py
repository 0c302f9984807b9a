"""What all workers of this process do to their jobs, before they run a task of one, and what is around their handlers.

A framework has to be set up, and its connections looked after, around whatever code of the user runs, however its
worker was made and started.  So that is said once for the process, where the framework itself begins.

Other layers may import the names in `__all__`.
"""

from collections.abc import Callable

from torrelque.protocol.check import check_call

from .chain import Middleware
from .delivery import Job

__all__ = ['adapt_jobs', 'share_middleware']

_adapts: list[Callable[[Job], Job]] = []
SHARED: list[Middleware] = []
"""Middleware of all workers."""


def adapt_jobs(adapt: Callable[[Job], Job]) -> Callable[[], None]:
    """Have every worker of this process put its jobs through a function; what was said last is outermost.

    Each job goes through it once for each worker, before the first of its tasks, with the defaults of the worker filled
    in: so its ``run_in`` tells where the handler will run, and ``around_thread`` is what will be around it there.
    Workers that run have put some of their jobs through already, so call it before they begin.  The blocks of
    `torrelque.testing.eager` run their tasks where the caller is, and have none of it.

    :param adapt: called with a job, and returns another one, or the same; of a handler that is to run in a process, the
        other one can be pickled as well.  What it raises has the task dead.
    :return: a function that takes it back.
    """
    check_call(adapt, 'adapt', 'job')
    _adapts.append(adapt)

    def take_back() -> None:
        if adapt in _adapts:
            _adapts.remove(adapt)

    return take_back


def share_middleware(middleware: Middleware) -> Callable[[], None]:
    """Give every worker that is made in this process from now on a middleware, outside of its own.

    :return: a function that takes it back; workers that have it keep it.
    """
    check_call(middleware, 'middleware', 'delivery', 'call_next')
    SHARED.append(middleware)

    def take_back() -> None:
        if middleware in SHARED:
            SHARED.remove(middleware)

    return take_back


def adapted(job: Job) -> Job:
    """A job as all functions of `adapt_jobs` make it, one after the other."""
    for adapt in _adapts:
        job = adapt(job)
    return job
