"""A call that was made and is not enqueued.

Other layers may import the names in `__all__`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torrelque import TorrelqueTypeError

from .definition import Definition
from .options import Options

__all__ = ['Work']

T = TypeVar('T')


@dataclass(frozen=True)
class Work(Generic[T]):
    """A call of a function, with its options, which others enqueue when it is time: `Enqueuer.s` makes it."""

    name: str
    """The name of the function."""
    queue: str
    """The name of the queue that the call is for."""
    payload: dict[str, Any]
    """The task: function, arguments, and what else its worker must know."""
    options: Mapping[str, Any]
    """Those of ``group``, ``priority``, ``task_timeout`` (s) and ``max_attempts`` that are said."""
    fifo: str | None
    """The group of its ordered queue, if it has one, of which one task runs at a time."""


def make_work(
    definition: Definition, options: Options, queue: str, payload: dict[str, Any], given: Mapping[str, Any]
) -> Work[Any]:
    """A call of which payload and options are known, but for groups and priorities that are functions of arguments.

    :raises TorrelqueTypeError: an option is of one call at one time.
    """
    single = {
        'delay': options.delay, 'eta': options.eta, 'task_id': options.task_id, 'max_tasks': options.max_tasks,
        'an instant for expires': options.deadline,
    }  # fmt: skip
    if said := [name for name, value in single.items() if value is not None]:
        raise TorrelqueTypeError(f'{definition.name}: {said[0]} is for one call; work that others enqueue has none')
    kept = dict(given)
    for name in ('group', 'priority'):
        choose: Callable[..., Any] | Any = kept.get(name)
        if callable(choose):
            args, kwargs = definition.unpack(payload)
            if (chosen := choose(*args, **kwargs)) is None:
                del kept[name]
            else:
                kept[name] = chosen
    return Work(definition.name, queue, payload, kept, definition.fifo)
