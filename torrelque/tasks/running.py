"""How a decorated function is run by a worker: in its event loop, in a thread, or in a process."""

import contextvars
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable
from typing import Any

from torrelque import TorrelqueError, TorrelqueLookupError
from torrelque.worker import Delivery, Reject

_delivery: contextvars.ContextVar[Delivery] = contextvars.ContextVar('torrelque.tasks.current')


def current() -> Delivery:
    """The delivery that the calling function is run for: its id, attempt, group, and progress.

    ``await current().touch(progress=…)`` in a coroutine function, ``current().report(…)`` in a function, in a thread or
    in a process; there it is a `torrelque.worker.ChildDelivery`, which has no queue.

    :raises TorrelqueError: the function was not called by a worker.
    """
    try:
        return _delivery.get()
    except LookupError:
        raise TorrelqueError('no task is being run here: the function was called by itself, not by a worker') from None


def check_fit(signature: inspect.Signature, task: Any, error: TypeError) -> None:
    """Reject a task whose arguments are not those of its function, which no further attempt will mend."""
    try:
        signature.bind(*task.get('args', ()), **task.get('kwargs', {}))
    except TypeError as exc:
        raise Reject(f'the arguments are not those of {task["task"]}{signature}: {exc}') from error


def make_call(function: Callable[..., Any], signature: inspect.Signature) -> Callable[[Delivery], Any]:
    """What a worker calls with a delivery."""
    return _AsyncCall(function, signature).run if inspect.iscoroutinefunction(function) else Call(function, signature)


class _AsyncCall:
    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        self._function = function
        self._signature = signature

    async def run(self, delivery: Delivery) -> Any:
        """Run it."""
        # Not left in the context, which the asyncio task keeps, which the delivery keeps.
        token = _delivery.set(delivery)
        task = delivery.task
        try:
            try:
                coroutine = self._function(*task.get('args', ()), **task.get('kwargs', {}))
            except TypeError as exc:
                check_fit(self._signature, task, exc)
                raise
            return await coroutine
        finally:
            _delivery.reset(token)


class Call:
    """A call of a function that is no coroutine function.  It is pickled as the name of the function."""

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        self._function = function
        self._signature = signature

    def __call__(self, delivery: Delivery) -> Any:
        token = _delivery.set(delivery)
        task = delivery.task
        try:
            return self._function(*task.get('args', ()), **task.get('kwargs', {}))
        except TypeError as exc:
            check_fit(self._signature, task, exc)
            raise
        finally:
            _delivery.reset(token)

    def __reduce__(self) -> tuple[Callable[..., 'Call'], tuple[str, str]]:
        module, name = self._function.__module__, self._function.__qualname__
        if '<locals>' in name:
            raise pickle.PicklingError(f'{name} is inside another function, where no other process finds it')
        return _restore, (module, name)


_restored: dict[tuple[str, str], Call] = {}


def _restore(module: str, name: str) -> Call:
    """The call of a function in another process, which imports its module (the main program too, by its file)."""
    call = _restored.get((module, name))
    if call is None:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in name.split('.'):
            found = getattr(found, part, None)
        function = getattr(found, 'function', found)
        if not callable(function):
            raise TorrelqueLookupError(f'{module} has no function {name} in a process of its own')
        call = _restored[module, name] = Call(function, inspect.signature(function))
    return call
