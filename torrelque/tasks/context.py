"""What goes along with a call to its handler, beside the arguments: the context of a trace, the id of a request.

It is ``context`` in the payload of the task: texts by their names.  Whoever enqueues gives it and the handler is run in
it; nobody in between looks at it.  It is an aid, so a context that fails is logged, and the call goes on without it.

Other layers may import the names in `__all__`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from torrelque import TorrelqueBulkError, TorrelqueQueue, TorrelqueTypeError
from torrelque.protocol.check import check_call

__all__ = [
    'SHARED',
    'Context',
    'Contexts',
    'Sending',
    'Taken',
    'awake',
    'check_contexts',
    'given_context',
    'sending_of',
    'share_context',
]

logger = logging.getLogger(__package__)

MOST = 2048
"""Bytes that names and texts of the context of a call have together, at the most."""


class Context(Protocol):
    """Gives what goes along with calls, and takes it where they are run; see the ``context`` of `Tasks`.

    It may have two methods more.  ``enqueueing``, called with a `Sending`, makes a context manager, in which `give` is
    called and the call is sent; None is none.  ``idle`` tells whether there is nothing to give nor to stand around now,
    so that a call is enqueued as without.
    """

    def give(self) -> Mapping[str, str] | None:
        """What goes along with a call that is enqueued now; None is nothing.  It is called where the call is made, once
        for all calls of a `Enqueuer.map` or of a flow."""
        ...

    def take(self, context: Mapping[str, str], /) -> AbstractContextManager[object] | None:
        """Makes the context manager, or none, in which the function of a task runs, in each attempt: in its thread or
        process, where it has one.

        :param context: what goes along with the call; others' texts are in it as well.
        """
        ...


@dataclass
class Sending:
    """Calls that are being enqueued."""

    queue: TorrelqueQueue
    name: str
    """Of the function; of a flow whatever it is called; empty for a task that is no call."""
    many: bool = False
    """Whether they are those of a `Enqueuer.map`, or of a flow."""
    group: str | None = None
    """The group of a single call, where that is known."""
    priority: float | None = None
    """The priority of a single call, where that is known."""
    ids: Sequence[str] = field(default_factory=tuple)
    """The ids of the tasks that are in the queue, when they are."""


def sending_of(queue: TorrelqueQueue, name: str, group: Any, priority: Any) -> Sending:
    """A single call, whose group and priority may be functions of its arguments."""
    return Sending(
        queue, name, False, None if callable(group) else group, None if callable(priority) else priority
    )


SHARED: list[Context] = []
"""Contexts of all apps of this process, see `share_context`."""

Contexts = tuple[Context, ...]


def check_contexts(context: 'Context | Sequence[Context] | None') -> Contexts:
    """Contexts of an app, the first outermost.

    :raises TorrelqueTypeError: one has not what a context has.
    """
    if context is None:
        return ()
    contexts = tuple(context) if isinstance(context, Sequence) else (context,)
    for one in contexts:
        if isinstance(one, (str, type)) or not hasattr(one, 'give') or not hasattr(one, 'take'):
            raise TorrelqueTypeError(f'a context has the methods give and take, which {one!r} has not')
        check_call(one.give, 'give of a context')
        check_call(one.take, 'take of a context', 'context')
    return contexts


def share_context(context: Context) -> Callable[[], None]:
    """Have every app of this process use a context, outside of its own, from now on.

    :return: a function that takes it back.
    """
    (checked,) = check_contexts((context,))
    SHARED.append(checked)

    def take_back() -> None:
        SHARED[:] = [one for one in SHARED if one is not checked]

    return take_back


# At the producer


def awake(own: Contexts) -> Contexts:
    """Contexts that may have something to give, of all apps and of one."""
    contexts = (*SHARED, *own) if SHARED else own
    for one in contexts:
        if (idle := getattr(one, 'idle', None)) is None or not idle():
            return contexts
    return ()


class given_context:  # noqa: N801 - it is used as a function
    """Stands around the enqueueing of calls; what goes along with them is what it gives."""

    __slots__ = ('_contexts', '_entered', '_sending')

    def __init__(self, contexts: Contexts, sending: Sending) -> None:
        self._contexts = contexts
        self._sending = sending
        self._entered: list[_Quiet] = []

    def __enter__(self) -> dict[str, str] | None:
        for one in self._contexts:
            if (around := getattr(one, 'enqueueing', None)) is not None:
                _enter(self._entered, one, around, self._sending)
        return _gather(self._contexts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, TorrelqueBulkError):
            self._sending.ids = error.task_ids
        for one in reversed(self._entered):
            one.leave(kind, error, traceback)


def _gather(contexts: Contexts) -> dict[str, str] | None:
    context: dict[str, str] = {}
    for one in contexts:
        try:
            given = one.give()
            if given:
                context.update(given)
        except Exception:
            logger.exception('%r gives no context; the call goes without', one)
    if not context:
        return None
    if not _is_texts(context):
        logger.warning('a context must be texts by their names, not %r; the call goes without', context)
        return None
    if (size := sum(map(_size, context)) + sum(map(_size, context.values()))) > MOST:
        logger.warning(
            'a context of %d bytes is left out, because %d are the most: %s', size, MOST, ', '.join(context)
        )
        return None
    return context


def _is_texts(context: object) -> bool:
    return isinstance(context, dict) and all(isinstance(each, str) for pair in context.items() for each in pair)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors='surrogatepass'))


# At the worker


class Taken:
    """Stands around a function: all contexts of the app that take what went along with its call."""

    __slots__ = ('_context', '_entered', '_own')

    def __init__(self, own: Contexts, task: Mapping[str, Any]) -> None:
        self._own = own
        self._context: Any = task.get('context')
        self._entered: list[_Quiet] = []

    def __enter__(self) -> None:
        context = self._context
        if context and _is_texts(context):
            for one in (*SHARED, *self._own):
                _enter(self._entered, one, one.take, context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for one in reversed(self._entered):
            one.leave(kind, error, traceback)


class _Quiet(NamedTuple):
    """A context manager that was entered, and neither fails nor swallows what is raised in it."""

    context: Context
    manager: AbstractContextManager[object]

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.manager.__exit__(kind, error, traceback)
        except BaseException as exc:
            if exc is not error:
                logger.exception('%r has failed at the end of a call', self.context)


def _enter(
    entered: list[_Quiet],
    context: Context,
    make: Callable[[Any], AbstractContextManager[object] | None],
    given: object,
) -> None:
    try:
        manager = make(given)
        if manager is not None:
            manager.__enter__()
            entered.append(_Quiet(context, manager))
    except Exception:
        logger.exception('%r has failed; the call goes on without', context)
