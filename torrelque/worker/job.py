"""What a worker does with a task: its handler and the rules for it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from torrelque import Torrelque

from .delivery import Delivery
from .retry import RetryRule

Place = Literal['thread', 'process']
"""Where a handler that is no coroutine function runs."""


class Job(NamedTuple):
    """A handler, and what goes for its tasks instead of what goes for the worker's others."""

    call: Callable[[Any], Any]
    """A coroutine function, or a function, which then runs in a thread or in a process."""
    name: str = ''
    max_attempts: int | None = None
    """How often a task is tried; -1 is without end, None is as the worker says.  The task's own goes before both."""
    retry: RetryRule | None = None
    """When a failed task is tried again; None is as the worker says."""
    timeout: float | None = None
    """How long (s) it may run; None is as the worker says."""
    result_ttl: float | None = None
    """How long (s) the result can be read; None is as the worker says."""
    run_in: Place | None = None
    """Where a plain function runs; None is as the worker says."""
    on_success: Callable[[Delivery, Any], Any] | None = None
    """The hooks are called behind those of the worker, with the same."""
    on_error: Callable[[Delivery, BaseException], Any] | None = None
    on_dead: Callable[[Delivery, BaseException], Any] | None = None
    keep: float | None = None
    """How long (s) the final state stays, with a result or none, where nothing else says a ``result_ttl``."""


class App(Protocol):
    """What a worker can serve: some queues, and a job for each of their tasks.

    One that has an attribute ``has_on_dead`` says by it whether any of its jobs has an ``on_dead``; where none has, and
    the worker neither, nobody asks the queue for deaths that nobody saw.
    """

    @property
    def queues(self) -> Sequence[Torrelque]:
        """The queues whose tasks it knows."""
        ...

    async def prepare(self) -> None:
        """What must be done before the first task is taken."""
        ...

    def find(self, delivery: Delivery) -> Job:
        """The job of a task; an exception says that there is none, and the task is dead with it as its error."""
        ...
