"""Jobs: `App`, which brings them, and `Resolved`, which a worker makes of one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torrelque import TorrelqueQueue

from .delivery import Delivery, Job, Place

__all__ = ['App', 'Job', 'Place', 'Resolved']


class Resolved(NamedTuple):
    """A job with the worker's defaults in it: what is really done with its tasks."""

    source: Job
    """The job as it was given.  Resolved jobs are found by the ``id`` of their source.  If the source were collected,
    another job might get its id and be taken for it; so the source is kept alive here, though nobody reads it."""
    job: Job
    """The same job with no field left open."""
    is_async: bool
    """Whether the handler is a coroutine function, which runs in the event loop."""
    on_success: tuple[Callable[..., Any], ...]
    """The hooks of the worker, then those of the job."""
    on_error: tuple[Callable[..., Any], ...]
    on_dead: tuple[Callable[..., Any], ...]
    ttl: float | None
    """How long (s) the final state is kept; None is as the queue says, and without a result not at all."""
    timeout: float | None
    """How long (s) the handler may run; None is for ever."""
    direct: bool
    """Whether nothing is awaited before the handler, which runs in the event loop."""
    quiet: bool
    """Whether a success without a result needs nothing but the release: no hook and no breaker is to be told."""


class App(Protocol):
    """What a worker can serve: some queues, and a job for each of their tasks.

    An app may say more by attributes that not every app has:

    - ``has_on_dead``, whether any of its jobs has an ``on_dead``.  If none has, and the worker has none either, the
      worker does not ask the queue for deaths that nobody saw.
    - ``weights``, a mapping of its queues to ints by which they share the worker while all have tasks; None is in their
      order.
    - ``steal``, further queues, which are served while those in ``queues`` have nothing.
    - ``functions``, names of what it has jobs for, which the worker logs.
    - ``lifespan``, a function that makes an asynchronous context manager: entered once the app has prepared, and left
      when nothing is in hand any more.  What it yields is `Delivery.state`.
    """

    @property
    def queues(self) -> Sequence[TorrelqueQueue]:
        """The queues whose tasks the app knows."""
        ...

    async def prepare(self) -> None:
        """What must be done before the first task is taken."""
        ...

    def find(self, delivery: Delivery) -> Job:
        """The job of a task.

        An exception says that there is none, and the task is dead with it as its error.  A `TorrelqueLookupError` says
        that there may be one in another version of the app: the task is given back uncounted, some sixty times over
        some quarter of an hour, and is dead then.
        """
        ...
