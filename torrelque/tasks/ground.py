"""What an app stands on for a while in the place of its own server, as in a test.

Other layers may import the names in `__all__`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

from torrelque import Torrelque, TorrelqueQueue
from torrelque.sharded import Sharded
from torrelque.worker.crossing import run_in_loop

__all__ = ['Ground', 'copy_queue']

T = TypeVar('T')


class Ground(ABC):
    """Makes the queue objects that an app uses, see `Loops.stand_on`."""

    fires = True
    """Whether there are schedules, which fire when it is time."""

    @abstractmethod
    def make(self, name: str | None, max_tasks: int | None) -> TorrelqueQueue:
        """A new queue object, which the app closes.

        :param name: what the app calls the queue; None is its own one.
        :param max_tasks: another one than the app's, of a call.
        """

    def name_of(self, name: str) -> str:
        """What a queue is called there.

        :param name: what the app calls it.
        """
        return name

    @property
    @abstractmethod
    def server(self) -> object:
        """Where the queues are: what two apps have in common that stand on the same."""

    def order_of(self, group: str) -> str:
        """Among which calls one of an ordered queue, of this group, goes by its turn; by any name."""
        return group

    def wait(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop for synchronous code, and wait for it in the thread of the caller."""
        return run_in_loop(loop, coroutine)


def copy_queue(
    queue: TorrelqueQueue, max_tasks: int | None = None, name: str | None = None, there: TorrelqueQueue | None = None
) -> TorrelqueQueue:
    """Another object of the same queue, for another event loop, or for another ``max_tasks``; or one of another queue
    on the same server.

    :param there: a queue on whose server it is to be, and which says whether it has shards.
    """
    copy = (queue if there is None else there).another(
        name or queue.name, serialiser=queue.serialiser, max_tasks=queue.max_tasks if max_tasks is None else max_tasks
    )
    copy.task_timeout, copy.result_ttl = queue.task_timeout, queue.result_ttl
    return copy


def new_queue(client: Any, shards: int | None, **options: Any) -> TorrelqueQueue:
    """A queue in one place of the server of a client, or of so many shards."""
    return Torrelque(client, **options) if shards is None else Sharded(client, shards=shards, **options)


def another(
    ground: Ground | None, queue: TorrelqueQueue, name: str | None, max_tasks: int | None = None
) -> TorrelqueQueue:
    """The object of another queue of an app, or of the same one for another ``max_tasks``.

    :param ground: what the app stands on, if that is not the server of ``queue``.
    """
    return copy_queue(queue, max_tasks, name) if ground is None else ground.make(name, max_tasks)
