"""Has other queues told of tasks of flows: the calls go over the client of the own queue."""

import math
from collections.abc import Sequence
from typing import Any

import redis.exceptions

from torrelque import TorrelqueError
from torrelque.error import of_queue
from torrelque.protocol.abroad import carry
from torrelque.protocol.calls import Calls
from torrelque.protocol.steps import Walk
from torrelque.protocol.transition import Arg

from .client import Client, leave_link, share_link
from .link import Link


class Carrier:
    """What a queue object has to do with other queues; nothing is made before there is something to carry."""

    def __init__(self, client: Client, calls: Calls, link: Link) -> None:
        self._client = client
        self._calls = calls
        self._link = link
        self._others: dict[str, tuple[Calls, Link]] = {}
        """Builders of calls and the link of each other queue."""

    def carry(self, until: float = math.inf) -> None:
        """Carry what is due; what could not be carried is due again later.

        :param until: when calls are to be over, by `time.monotonic`.
        """
        walk, reply = Walk(carry(self._calls)), None
        while walk.go_on(reply):
            reply = self.call(walk.abroad or '', str(walk.name), walk.args, until)

    def call(self, queue: str, name: str, args: Sequence[Arg], until: float = math.inf) -> Any:
        """A call of a script of another queue, '' being the own one; its reply, or the error that it came to."""
        calls, link = self._find(queue) if queue else (self._calls, self._link)
        try:
            return link.call(calls.transitions[name], [*calls.heads[name], *args], until=until)
        except TorrelqueError as exc:
            return of_queue(calls.name, exc)
        except redis.exceptions.RedisError as exc:
            return exc

    def leave(self) -> None:
        """Give up the links to other queues."""
        others, self._others = self._others, {}
        for _, link in others.values():
            leave_link(link, self)

    # Parts

    def _find(self, queue: str) -> tuple[Calls, Link]:
        found = self._others.get(queue)
        if found is None:
            calls = self._calls.of_queue(queue)
            link = share_link(self._client, calls.keys['pending'], self, calls.bounds)
            # Threads that ask at the same time get the same, because `setdefault` keeps the first.
            found = self._others.setdefault(queue, (calls, link))
        return found
