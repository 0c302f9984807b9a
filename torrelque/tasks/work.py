"""What is made and not enqueued: a call, or a flow of calls.

Other layers may import the names in `__all__`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torrelque.worker.delivery import Instead

__all__ = ['Packed', 'Work']

T_co = TypeVar('T_co', covariant=True)


@dataclass(frozen=True)
class Packed:
    """A call as a queue is given it, by whoever enqueues it when it is time."""

    name: str
    """The name of the function."""
    queue: str
    """The name of the queue that the call is for."""
    payload: Mapping[str, Any]
    """The task: function, arguments, and what else its worker must know."""
    options: Mapping[str, Any]
    """Those of ``group``, ``priority``, ``task_timeout`` (s) and ``max_attempts`` that are said."""
    fifo: str | None
    """The group of its ordered queue, if it has one, of which one task runs at a time."""


class Work(Instead, ABC, Generic[T_co]):
    """What can be enqueued, and gives a result: a call that `Enqueuer.s` has made, or a flow of such calls.

    So a schedule is given work, and a flow is made of it, see `torrelque.flows`.  A function may return work, too: then
    that takes the place of the function's task, and its result is that of the function.
    """

    gives_list: ClassVar[bool] = False
    """Whether the result is a list of what the class is annotated with."""

    @abstractmethod
    def pack(self) -> Packed:
        """The one task that a schedule fires for it.

        :raises TorrelqueTypeError: an option of it is of one call at one time, such as a ``delay``.
        :raises TorrelqueValueError: it is a flow that cannot be meant.
        """

    @abstractmethod
    def portable(self) -> Instead:
        """What can be pickled, and takes the place of a task as this work does.

        :raises TorrelqueTypeError: it is of several apps.
        :raises TorrelqueValueError: it is a flow that cannot be meant.
        """
