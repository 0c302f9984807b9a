"""What an app has in one event loop: queue objects, and the order of its ordered calls."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator

from torrelque import TorrelqueQueue
from torrelque.worker.places import clients_of

from .address import close_client
from .background import PATIENCE
from .ground import Ground, another
from .order import Order

_closing: set[asyncio.Task[None]] = set()


class InLoop:
    """What an app has in one event loop.  It is closed with the loop; its ``own`` queue object sooner, by `close`."""

    queue: TorrelqueQueue
    """The object of the app's own queue in the loop."""
    name: str
    """What the app calls its own queue."""

    def __init__(
        self, loops: object, name: str, ground: Ground | None, queue: TorrelqueQueue, own: bool, owns_client: bool
    ) -> None:
        # Legend.  _loops: what the app has in all event loops, while the app lives.  _own: whether the queue object was
        # made by the app.  _owns_client: whether its client was, too.  _lasting: whether the app was closed before the
        # event loop.  _variants: copies of the queue object, by name and ``max_tasks`` where these are others.
        # _orders: of ordered queues, by their groups.  _others: queue objects that are closed as well.  _ground: what
        # the app stands on, if that is not its own server.
        self._loops = weakref.ref(loops)
        self.queue = queue
        self.name = name
        self._ground = ground
        self._own = own
        self._owns_client = owns_client
        self._lasting = False
        self._variants: dict[tuple[str | None, int | None], TorrelqueQueue] = {}
        self._orders: dict[str, Order] = {}
        self._others: list[TorrelqueQueue] = []
        # A hook for the end of the event loop, which has none: asyncio remembers each asynchronous generator that was
        # begun in the loop, and `shutdown_asyncgens`, which `asyncio.run` calls, closes them.  So a generator that does
        # nothing but wait to be closed, and closes the queues in its ``finally``, closes them with the loop.  It must
        # have been begun: ``send`` drives it up to its only ``yield`` here and now, without an ``await``, and raises
        # the StopIteration by which the awaitable of ``__anext__`` returns what was yielded.
        self._end = self._wait_for_end()
        with contextlib.suppress(StopIteration):
            self._end.__anext__().send(None)

    def find(self, name: str | None, max_tasks: int | None = None) -> TorrelqueQueue:
        """The object of a queue, None being the app's own; with ``max_tasks`` one that refuses tasks when the queue has
        so many."""
        if name is None and max_tasks is None:
            return self.queue
        if name == self.name:
            return self.find(None, max_tasks)
        queue = self._variants.get((name, max_tasks))
        if queue is None:
            queue = self._variants[name, max_tasks] = another(self._ground, self.queue, name, max_tasks)
        return queue

    def adopt(self, name: str, queue: TorrelqueQueue) -> None:
        """Use the object of a queue that a worker was given, and that is in use in no other loop."""
        if self._variants.setdefault((name, None), queue) is not queue:
            self.close_too(queue)

    def order(self, group: str) -> Order:
        """The order in which calls of an ordered queue are sent."""
        if self._ground is not None:
            group = self._ground.order_of(group)
        order = self._orders.get(group)
        if order is None:
            order = self._orders[group] = Order()
        return order

    def close_too(self, queue: TorrelqueQueue) -> None:
        """Close another queue object of the loop with it."""
        self._others.append(queue)

    async def close(self, patience: float = PATIENCE) -> None:
        """Wait for the calls that are on their way, and close the queue objects but the one that the app was given.

        :param patience: how long (s) to wait while none of them comes to its end.
        """
        await self._sent(patience)
        self._lasting = True
        await self._end.aclose()

    def close_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close all queue objects in one of the next turns of the loop, which may stand still now; they are the app's
        own."""

        def begin() -> None:
            closing = loop.create_task(self._close_apart(), name='torrelque closing')
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)

        # A loop that is closed has closed them.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(begin)

    async def _close_apart(self) -> None:
        # The loop may come to its end meanwhile, and close the generator; so it is left alone here.
        await self._sent(PATIENCE)
        for queue in (*self._variants.values(), *self._others, self.queue):
            await queue.aclose()

    async def _sent(self, patience: float) -> None:
        """Wait for the calls that are on their way."""
        while sending := [task for order in self._orders.values() for task in order.tasks]:
            ended, _ = await asyncio.wait(sending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                # The server is away, and calls that wait for their turn would fail one after the other: wait no longer.
                break

    async def _wait_for_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            queues = [*self._variants.values(), *self._others]
            # The queue object that the app was given is closed at the end of its loop, when nobody can use it any more.
            # When the app was closed or collected before, its owner can still use it.
            if self._own or not self._lasting and self._loops() is not None:
                queues.append(self.queue)
            self._variants.clear()
            for queue in queues:
                await queue.aclose()
            if self._owns_client:
                for client in {client: None for queue in queues for client in clients_of(queue)}:
                    await close_client(client)
