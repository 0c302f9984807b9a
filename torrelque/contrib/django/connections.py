"""Connections to databases around each task, in the thread that works with them.

Django looks after its connections at both ends of a request: one that is too old or was found broken is closed.  Tasks
are no requests, so it is done here, by what `adapt` makes of the jobs of all workers of the process.

- A plain function in a thread has the connections of that thread, which goes on to the next task: they are looked after
  before and after it.
- One in a process has those of that process, where Django is set up before the function is imported.
- A coroutine function has its queries run in a thread of its own for each task, as a request has it, because a thread
  that all tasks share would make each wait for the queries of the others, and would close connections under them.  The
  thread ends with the task, and so do its connections, however long they might be kept.
"""

import asyncio
import contextlib
import functools
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import django
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import close_old_connections, connections, reset_queries

from torrelque.protocol.check import is_async
from torrelque.worker.delivery import Delivery, Job

_executors = getattr(SyncToAsync, 'context_to_thread_executor', None)
"""The threads of contexts that have one; None where asgiref does not tell, and each counts as having one."""


def adapt(job: Job) -> Job:
    """A job whose handler has the connections of Django looked after; see `torrelque.worker.adapt_jobs`."""
    if is_async(job.call):
        return job._replace(call=_in_own_thread(job.call))
    if job.run_in == 'process':
        return job._replace(call=InProcess(job.call, getattr(settings, 'SETTINGS_MODULE', None)))
    return job._replace(around_thread=functools.partial(_around, job.around_thread))


@contextlib.contextmanager
def looked_after() -> Iterator[None]:
    """Have the connections of this thread looked after, before and after a block."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@contextlib.contextmanager
def _around(inner: Callable[[Delivery], Any] | None, delivery: Delivery) -> Iterator[None]:
    with looked_after():
        if inner is None:
            yield
        else:
            with inner(delivery):
                yield


class InProcess:
    """A handler for a process: on its way there it takes along how Django is set up."""

    def __init__(self, call: Callable[[Any], Any], module: str | None) -> None:
        self._call = call
        self._module = module

    def __call__(self, delivery: Any) -> Any:
        """Call the handler."""
        with looked_after():
            return self._call(delivery)

    def __reduce__(self) -> tuple[Callable[..., 'InProcess'], tuple[str | None, bytes]]:
        # What imports the module of the function is a pickle in the pickle, so that Django comes first.
        return _restore, (self._module, pickle.dumps(self._call))


def _restore(module: str | None, call: bytes) -> InProcess:
    if not apps.ready:
        if module is not None:
            os.environ.setdefault(ENVIRONMENT_VARIABLE, module)
        django.setup()
    return InProcess(pickle.loads(call), module)


def _in_own_thread(call: Callable[[Delivery], Any]) -> Callable[[Delivery], Any]:
    async def handle(delivery: Delivery) -> Any:
        own = ThreadSensitiveContext()
        async with own:
            try:
                return await call(delivery)
            finally:
                # Most coroutine functions that ask no database have had no thread, and need not start one for its end.
                if _executors is None or own in _executors:
                    await _to_the_end(sync_to_async(connections.close_all)())

    return handle


async def _to_the_end(closing: Any) -> None:
    """Wait for a coroutine to its end, cancelled or not.

    A query goes on in its thread where the handler was cancelled, and the end of its context would have the whole event
    loop wait for that.
    """
    ending, cancelled = asyncio.ensure_future(closing), False
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            if ending.cancelled():
                raise
            cancelled = True
    if cancelled:
        ending.exception()
        raise asyncio.CancelledError
    ending.result()
