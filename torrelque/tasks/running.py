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
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, TypeVar

from torrelque import TorrelqueError, TorrelqueLookupError
from torrelque.worker import ChildDelivery, Delivery

from .adapters import Types
from .callee import Callee
from .context import Contexts
from .converting import Kinds, kinds_of
from .injecting import call_async, call_plain
from .work import Work

__all__ = ['current', 'kept_with_call', 'running_for']

T = TypeVar('T')


class _Running:
    """A call of a function, while it runs.

    Asyncio tasks that a function makes, timers and connections copy the context of the function, and keep the copy for
    as long as they live.  So a context refers to this object, not to the delivery, and this object lets the delivery go
    when the function has ended.
    """

    __slots__ = ('delivery', 'kept')

    kept: Any
    """What another layer keeps with the call, if it does."""

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


def kept_with_call(make: Callable[[Delivery], T]) -> T:
    """What is made once of the delivery that the calling function is run for, and kept while it runs.

    :raises TorrelqueError: as `current`.
    """
    delivery, running = current(), _running.get()
    try:
        kept: T = running.kept  # type: ignore[union-attr]  # `current` has raised where there is none
    except AttributeError:
        kept = running.kept = make(delivery)  # type: ignore[union-attr]
    return kept


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


def make_call(callee: Callee) -> Callable[[Delivery], Any]:
    """What a worker calls with a delivery."""
    return AsyncCall(callee).run if callee.is_async else PlainCall(callee)


Decode = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]


def _make_decode(callee: Callee) -> tuple[Decode | None, Collection[Kinds]]:
    """What makes the arguments of a task, if anything must, and kinds of arguments that need none of that."""
    converter, check = callee.converter, callee.check_task
    if not callee.needs and not callee.spreads:
        return (None, ()) if converter is None else (converter.decode, converter.taken)

    def decode(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        # Nothing is made for arguments that do not fit, nor would a function of any names miss them.
        check(args, kwargs)
        return (args, kwargs) if converter is None else converter.decode(args, kwargs)

    return decode, ()


class AsyncCall:
    """A call of a coroutine function."""

    def __init__(self, callee: Callee) -> None:
        self._callee = callee
        self._function = callee.function
        self._decode, self._taken = _make_decode(callee)

    async def run(self, delivery: Delivery) -> Any:
        """Run the function with the arguments of a task."""
        running = _Running(delivery)
        _running.set(running)
        task = delivery.task
        args, kwargs = task.get('args', ()), task.get('kwargs', {})
        try:
            if self._decode is not None and (
                kinds_of(args, kwargs) if kwargs else (*map(type, args),)
            ) not in self._taken:
                args, kwargs = self._decode(args, kwargs)
            if self._callee.needs:
                return await call_async(self._function, args, kwargs, self._callee.needs, delivery)
            try:
                coroutine = self._function(*args, **kwargs)
            except TypeError as exc:
                self._callee.check_task(args, kwargs, exc)
                raise
            return await coroutine
        finally:
            running.delivery = None


class PlainCall:
    """A call of a function that is no coroutine function.  It is pickled as the name of the function.

    Where the function makes a coroutine, as a plain wrapper of a coroutine function does, the call returns what the
    worker is to await.
    """

    def __init__(self, callee: Callee) -> None:
        self._callee = callee
        self._function = callee.function
        self._decode, self._taken = _make_decode(callee)
        self.contexts: Contexts = ()
        """Those of the app that the function was found in, in another process."""

    def __call__(self, delivery: Delivery) -> Any:
        running = _Running(delivery)
        _running.set(running)
        task = delivery.task
        args, kwargs = task.get('args', ()), task.get('kwargs', {})
        awaitable = False
        try:
            if self._decode is not None and (
                kinds_of(args, kwargs) if kwargs else (*map(type, args),)
            ) not in self._taken:
                args, kwargs = self._decode(args, kwargs)
            if self._callee.needs:
                result = call_plain(self._function, args, kwargs, self._callee.needs, delivery)
            else:
                result = self._function(*args, **kwargs)
            awaitable = inspect.isawaitable(result)
        except TypeError as exc:
            self._callee.check_task(args, kwargs, exc)
            raise
        finally:
            if not awaitable:
                running.delivery = None
        if not awaitable:
            return result.portable() if isinstance(delivery, ChildDelivery) and isinstance(result, Work) else result
        # The process of a handler has no event loop, so make one there.
        rest = _rest(result, running)
        if not isinstance(delivery, ChildDelivery):
            return rest
        result = asyncio.run(rest)
        return result.portable() if isinstance(result, Work) else result

    def __reduce__(self) -> tuple[Callable[..., 'PlainCall'], tuple[str, str, str, Types | None]]:
        module, name = self._function.__module__, self._function.__qualname__
        if '<locals>' in name:
            raise pickle.PicklingError(f'{name} is inside another function, where no other process finds it')
        return _restore, (module, name, self._callee.name, self._callee.types)


async def _rest(awaitable: Awaitable[Any], running: _Running) -> Any:
    """The rest of a plain function that has returned an awaitable; it runs in the event loop."""
    _running.set(running)
    try:
        return await awaitable
    finally:
        running.delivery = None


_restored: dict[tuple[str, str], PlainCall] = {}


def _restore(module: str, name: str, known_as: str, types: Types | None) -> PlainCall:
    """The call of a function in another process, which imports its module (the main program too, by its file)."""
    call = _restored.get((module, name))
    if call is None:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in name.split('.'):
            found = getattr(found, part, None)
        function = getattr(found, 'function', found)
        if not callable(function):
            raise TorrelqueLookupError(f'{module} has no function {name} in a process of its own')
        callee = Callee(function, known_as, types)
        callee.complete()
        call = _restored[module, name] = PlainCall(callee)
        definition = getattr(found, '_definition', None)
        call.contexts = () if definition is None else definition.contexts
    return call
