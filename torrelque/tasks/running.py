"""How a decorated function is run by a worker: in its event loop, in a thread, or in a process.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import contextvars
import importlib
import inspect
import pickle
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from torrelque import TorrelqueError, TorrelqueLookupError
from torrelque.protocol.check import is_async
from torrelque.worker import ChildDelivery, Delivery, Reject

__all__ = ['current', 'running_for']


class _Running:
    """A call of a function, while it runs.

    Asyncio tasks that a function makes, timers and connections copy the context of the function, and keep the copy for
    as long as they live.  So a context refers to this object, not to the delivery, and this object lets the delivery go
    when the function has ended.
    """

    __slots__ = ('delivery',)

    def __init__(self, delivery: Delivery) -> None:
        self.delivery: Delivery | None = delivery


_running: contextvars.ContextVar[_Running | None] = contextvars.ContextVar('torrelque.tasks.current', default=None)


def current() -> Delivery:
    """The delivery that the calling function is run for: its id, attempt, group, and progress.

    ``await current().touch(progress=…)`` in a coroutine function, ``current().report(…)`` in a function, in a thread or
    in a process; there it is a `torrelque.worker.ChildDelivery`, which has no queue.

    Code that the function calls gets the delivery too: behind decorators, in coroutines, in asyncio tasks, and in
    threads that get the caller's context, as those of ``asyncio.to_thread`` do.  When the function has ended the
    delivery is gone, also for asyncio tasks and threads that outlive the function.

    :raises TorrelqueError: the function was not called by a worker, or has ended.
    """
    running = _running.get()
    if running is None:
        raise TorrelqueError('no task is being run here: the function was called by itself, not by a worker')
    if running.delivery is None:
        raise TorrelqueError('the task that was run here has ended')
    return running.delivery


@contextlib.contextmanager
def running_for(delivery: Delivery) -> Iterator[None]:
    """Have `current` give a delivery in a block, and in what the block calls."""
    running, before = _Running(delivery), _running.get()
    _running.set(running)
    try:
        yield
    finally:
        running.delivery = None
        # A fixture may leave the block in another context than it has entered, where the variable's token is of no use.
        _running.set(before)


def check_fit(signature: inspect.Signature, task: Any, error: TypeError) -> None:
    """Reject a task whose arguments are not those of its function, which no further attempt will mend."""
    try:
        signature.bind(*task.get('args', ()), **task.get('kwargs', {}))
    except TypeError as exc:
        raise Reject(f'the arguments are not those of {task["task"]}{signature}: {exc}') from error


def make_call(function: Callable[..., Any], signature: inspect.Signature) -> Callable[[Delivery], Any]:
    """What a worker calls with a delivery."""
    return AsyncCall(function, signature).run if is_async(function) else PlainCall(function, signature)


class AsyncCall:
    """A call of a coroutine function."""

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        self._function = function
        self._signature = signature

    async def run(self, delivery: Delivery) -> Any:
        """Run the function with the arguments of a task."""
        running = _Running(delivery)
        _running.set(running)
        task = delivery.task
        try:
            try:
                coroutine = self._function(*task.get('args', ()), **task.get('kwargs', {}))
            except TypeError as exc:
                check_fit(self._signature, task, exc)
                raise
            return await coroutine
        finally:
            running.delivery = None


class PlainCall:
    """A call of a function that is no coroutine function.  It is pickled as the name of the function.

    Where the function makes a coroutine, as a plain wrapper of a coroutine function does, the call returns what the
    worker is to await.
    """

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        self._function = function
        self._signature = signature

    def __call__(self, delivery: Delivery) -> Any:
        running = _Running(delivery)
        _running.set(running)
        task = delivery.task
        awaitable = False
        try:
            result = self._function(*task.get('args', ()), **task.get('kwargs', {}))
            awaitable = inspect.isawaitable(result)
        except TypeError as exc:
            check_fit(self._signature, task, exc)
            raise
        finally:
            if not awaitable:
                running.delivery = None
        if not awaitable:
            return result
        # The process of a handler has no event loop, so make one there.
        rest = _rest(result, running)
        return asyncio.run(rest) if isinstance(delivery, ChildDelivery) else rest

    def __reduce__(self) -> tuple[Callable[..., 'PlainCall'], tuple[str, str]]:
        module, name = self._function.__module__, self._function.__qualname__
        if '<locals>' in name:
            raise pickle.PicklingError(f'{name} is inside another function, where no other process finds it')
        return _restore, (module, name)


async def _rest(awaitable: Awaitable[Any], running: _Running) -> Any:
    """The rest of a plain function that has returned an awaitable; it runs in the event loop."""
    _running.set(running)
    try:
        return await awaitable
    finally:
        running.delivery = None


_restored: dict[tuple[str, str], PlainCall] = {}


def _restore(module: str, name: str) -> PlainCall:
    """The call of a function in another process, which imports its module (the main program too, by its file)."""
    call = _restored.get((module, name))
    if call is None:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in name.split('.'):
            found = getattr(found, part, None)
        function = getattr(found, 'function', found)
        if not callable(function):
            raise TorrelqueLookupError(f'{module} has no function {name} in a process of its own')
        call = _restored[module, name] = PlainCall(function, inspect.signature(function))
    return call
