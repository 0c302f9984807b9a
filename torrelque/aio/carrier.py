"""Has other queues told of tasks of flows: the calls go over the client of the own queue."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from torrelque.error import TorrelqueError, of_queue, reason_of
from torrelque.protocol.abroad import carry
from torrelque.protocol.calls import Calls
from torrelque.protocol.steps import Walk
from torrelque.protocol.transition import Arg

from .client import Client, leave_link, share_link
from .link import Link

logger = logging.getLogger('torrelque')


class Carrier:
    """What a queue object at work has to do with other queues; nothing is made before there is something to carry."""

    def __init__(self, client: Client, calls: Calls, call: Callable[[str, Sequence[Arg]], Awaitable[Any]]) -> None:
        self._client = client
        self._calls = calls
        self._call = call
        """Sends a call of the own queue."""
        self._closed = False
        self._others: dict[str, tuple[Calls, Link]] = {}
        """Builders of calls and the link of each other queue."""
        self._carrying: asyncio.Task[float | None] | None = None
        """Carries what is due; None when nothing is."""
        self._again = False
        """Whether something has become due since that began."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs out when what could not be carried is to be tried again."""

    def carry(self) -> None:
        """Carry what is due, by and by."""
        self._stop_timer()
        if self._carrying is not None:
            self._again = True
        elif not self._closed:
            self._carrying = asyncio.get_running_loop().create_task(self._carry(), name='torrelque carrying')
            self._carrying.add_done_callback(self._carried)

    async def call(self, queue: str, name: str, args: Sequence[Arg]) -> Any:
        """A call of a script of another queue, '' being the own one; its reply, or the error that it came to."""
        try:
            if not queue:
                return await self._call(name, args)
            calls, link = self._find(queue)
            return await link.call(calls.transitions[name], [*calls.heads[name], *args])
        except TorrelqueError as exc:
            return of_queue(self._calls.name_of(queue or self._calls.queue), exc)

    async def close(self) -> None:
        """Have what is being carried come to its end, for some seconds at the most; and carry what is due now, where
        there ever was something."""
        self._closed = True
        self._stop_timer()
        if self._carrying is None and self._others:
            self._carrying = asyncio.ensure_future(self._carry())
            self._carrying.add_done_callback(self._carried)
        if self._carrying is not None:
            await asyncio.wait([self._carrying], timeout=self._calls.bounds.closing)

    def leave(self) -> None:
        """Give up the links to other queues, and what is not carried yet."""
        self._closed = True
        self._stop_timer()
        if self._carrying is not None:
            self._carrying.cancel()
        others, self._others = self._others, {}
        for _, link in others.values():
            leave_link(self._client, link, self)

    # Parts

    def _find(self, queue: str) -> tuple[Calls, Link]:
        found = self._others.get(queue)
        if found is None:
            calls = self._calls.of_queue(queue)
            link = share_link(self._client, calls.keys['pending'], self, calls.bounds)
            found = self._others[queue] = calls, link
        return found

    async def _carry(self) -> float | None:
        walk, reply = Walk(carry(self._calls)), None
        while walk.go_on(reply):
            reply = await self.call(walk.abroad or '', str(walk.name), walk.args)
        return walk.result

    def _carried(self, carrying: 'asyncio.Task[float | None]') -> None:
        self._carrying = None
        again, self._again = self._again, False
        if carrying.cancelled():
            return
        if error := carrying.exception():
            logger.warning('queue %r: telling other queues failed: %s', self._calls.name, reason_of(error))
            wait: float | None = 1.0
        else:
            wait = carrying.result()
        if self._closed:
            return
        if again:
            self.carry()
        elif wait is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.05, wait), self.carry)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
