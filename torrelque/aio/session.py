"""What a queue object has in its event loop, made at first use: link, batch for each kind of call, shelf, hub."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torrelque.error import TorrelqueClosedError, TorrelqueConnectionError, TorrelqueError, is_untouched, of_queue
from torrelque.model import TorrelqueTaskId
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import (
    Outcome,
    read_outcomes,
    settled_or_logged,
    tell_not_buried,
    tell_not_returned,
    text,
)
from torrelque.protocol.steps import Steps, Walk
from torrelque.protocol.table import ROWS
from torrelque.protocol.transition import Arg
from torrelque.protocol.unsure import Unsure

from .batch import Batch
from .carrier import Carrier
from .client import Client, forget_link, leave_link, make_connector, notification_channel, share_link
from .hub import Hub
from .link import Link
from .shelf import Shelf
from .waiters import Waiters

T = TypeVar('T')


class Session:
    """A queue object at work in an event loop."""

    def __init__(self, client: Client, calls: Calls) -> None:
        self.loop = asyncio.get_running_loop()
        """The event loop that it belongs to."""
        self.closed = False
        """Whether the queue object is closed, or was collected: nothing is sent any more."""
        self.queue = calls.name
        """Name of the queue, for messages."""
        self.client = client
        """The caller's client, by which the shared link is found again."""
        self.calls = calls
        """The builders of calls."""
        self._link = share_link(client, calls.keys['pending'], self, calls.bounds)
        """The connection for calls, shared with other queue objects of the client."""
        self._batches: dict[str, Batch] = {}
        """Where calls of a script are put together, each made when it is first asked for."""
        self._heads: dict[str, Callable[[], list[Arg]]] = {}
        """What makes the head of a script's calls, each made when it is first asked for."""
        self._futures: set[asyncio.Future[Any]] = set()
        """Calls of their own that are on their way."""
        self._returns: set[asyncio.Future[Any]] = set()
        """Those of these calls that give tasks back for which nobody waits."""
        self._closing: asyncio.Task[None] | None = None
        """Closes it, whatever becomes of the caller of `close`; None before that."""
        self.unsure = Unsure(calls.bounds.unsure_calls)
        """Settling calls of which nobody knows whether they were carried out."""
        bell = Link(make_connector(client, calls.keys['pending']), calls.bounds)
        self.carrier = Carrier(client, calls, self.call)
        """Has other queues told of tasks of flows."""
        calls.when_out = self.carrier.carry
        self.shelf = Shelf(self._link, bell, calls, self._give_back, self._reject)
        """Takes tasks for the calls of `dequeue` that wait."""
        self.waiters = self.shelf.demand = Waiters(self.shelf)
        """These calls."""
        listening = make_connector(client, calls.keys['pending'])
        self.hub = Hub(self._link, listening, calls, notification_channel(client, f'{calls.keys["task"]}:'))
        """Reads states for the watches."""

    @property
    def established(self) -> bool:
        """Whether there ever was a connection for calls."""
        return self._link.established

    @property
    def well(self) -> bool:
        """Whether the connection for calls is up, or never was."""
        return self._link.connected or not self._link.established

    def check(self) -> None:
        """Refuse a call from another event loop, and one after the queue object was closed."""
        if self.closed:
            raise of_queue(self.queue, TorrelqueClosedError('the queue was closed'))
        if self.loop is not asyncio.get_running_loop():
            what = 'a queue object belongs to the event loop it was first used in; make one for each'
            raise of_queue(self.queue, TorrelqueError(what))

    def batch(self, name: str) -> Batch:
        """Where calls of a transition are put together."""
        batch = self._batches.get(name)
        if batch is None:
            batch = self._batches[name] = Batch(
                self._link,
                self.calls.transitions[name],
                self._make_head(name),
                self.calls.bounds,
                ROWS[name].droppable,
            )
        return batch

    async def send(self, name: str, args: Sequence[Arg], task_id: str, size: int = 0) -> Outcome:
        """One task's call, together with others of its kind; its outcome.  When cancelled, it is sent all the same."""
        batch = self.batch(name)
        try:
            return await batch.add(args, task_id, size)
        except asyncio.CancelledError:
            batch.hurry()
            raise

    async def settle(self, name: str, args: Sequence[Arg], task_id: str, size: int = 0) -> bool:
        """As `send`; whether it was done."""
        if self.unsure.calls and (again := self.unsure.again(name, args)) is not None:
            outcome = read_outcomes(name, await self.call(name, again, resent=True), 1, self.queue)[0]
            self.unsure.forget(name, args)
        else:
            # As `send`, without a coroutine of its own.
            batch = self._batches.get(name) or self.batch(name)
            try:
                outcome = await batch.add(args, task_id, size)
            except asyncio.CancelledError:
                batch.hurry()
                raise
            except TorrelqueConnectionError:
                self.unsure.note(name, args)
                raise
        return outcome == 'ok' or settled_or_logged(name, task_id, outcome, self.queue)

    def call(self, name: str, args: Sequence[Arg], resent: bool = False) -> 'asyncio.Future[Any]':
        """A call of its own, with its head."""
        call = self._link.call(self.calls.transitions[name], [*self._make_head(name)(), *args], resent)
        self._futures.add(call)
        call.add_done_callback(self._futures.discard)
        return call

    async def run(self, steps: Steps[T]) -> T:
        """Calls one after the other; what they come to."""
        walk, reply = Walk(steps), None
        try:
            while walk.go_on(reply):
                self.check()
                name, args = walk.name, walk.args
                if walk.abroad is not None and name is not None:
                    reply = await self.carrier.call(walk.abroad, name, args)
                else:
                    reply = await (self._link.call(None, args) if name is None else self.call(name, args))
        except TorrelqueError as exc:
            of_queue(self.queue, exc)
            if reply is not None and is_untouched(exc):
                # The calls before this one may have had an effect.
                exc.untouched = False
            raise
        return walk.result

    async def close(self) -> None:
        """Give back the tasks for which nobody waits, wait for calls that are on their way, let the connections go.

        Closing goes on by itself when the call is cancelled, because what a claim brings must find its way back.
        """
        if self.loop.is_closed():
            # The event loop was closed before the queue object, and its connections with it.
            self.closed = True
        if not self.closed:
            self.check()
            self.closed = True
            self.hub.close()
            self._closing = self.loop.create_task(self._close(), name='torrelque closing')
            self._closing.add_done_callback(self._leave)
        if self._closing is not None and not self._closing.done() and not self.loop.is_closed():
            await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self.shelf.close()
        await self.carrier.close()
        waiting = [self.loop.create_task(batch.drain()) for batch in self._batches.values()]
        if waiting or self._futures:
            _, late = await asyncio.wait([*waiting, *self._futures], timeout=self.calls.bounds.closing)
            for future in late:
                future.cancel()

    def _leave(self, closing: 'asyncio.Task[None]') -> None:
        if closing.cancelled():
            # The event loop has come to its end, maybe before the task's first step.
            self.shelf.abandon()
        self.carrier.leave()
        leave_link(self.client, self._link, self)

    def abandon(self) -> None:
        """Let the connections go when the queue object was collected, in whatever thread that happens."""
        if self.closed:
            return
        self.closed = True
        try:
            self.loop.call_soon_threadsafe(self._let_go)
        except RuntimeError:
            # The event loop is closed.  Nobody else drops the link, which would keep the client and the socket.
            forget_link(self.client, self._link)

    def _let_go(self) -> None:
        self.hub.close()
        self.shelf.abandon()
        self.carrier.leave()
        leave_link(self.client, self._link, self)

    def _make_head(self, name: str) -> Callable[[], list[Arg]]:
        head = self._heads.get(name)
        if head is None:
            head = self._heads[name] = self.calls.make_head(name, self.shelf.acknowledge)
        return head

    def _give_back(self, task_ids: Sequence[TorrelqueTaskId]) -> None:
        # The event loop may be about to end, so tasks are given back not by a batch but by a call that is written at
        # once.
        for args in self.calls.give_back(task_ids):
            call = self.call('requeue', args)
            self._returns.add(call)
            call.add_done_callback(functools.partial(self._returned, task_ids))

    def _returned(self, task_ids: Sequence[str], call: 'asyncio.Future[Any]') -> None:
        self._returns.discard(call)
        if not call.cancelled() and (error := call.exception()):
            tell_not_returned(self.queue, task_ids, error)

    def _reject(self, task_id: Arg, token: str, error: BaseException) -> None:
        args = self.calls.reject(task_id, token, error)
        its_id = text(task_id)
        self.batch('bury').add(args, its_id).add_done_callback(functools.partial(self._buried, its_id))

    def _buried(self, task_id: str, call: 'asyncio.Future[Any]') -> None:
        if not call.cancelled() and (error := call.exception()):
            tell_not_buried(self.queue, task_id, error)


