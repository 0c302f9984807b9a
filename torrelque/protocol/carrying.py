"""What is carried from queue to queue, of flows whose tasks are in several: how calls and replies say it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .transition import Arg
from .words import UNREADABLE, text, unreadable


class Errand(NamedTuple):
    """What one queue has for another."""

    task_id: bytes
    number: bytes
    """How many the queue has had of this task, with this one."""
    what: str
    """To the queue where a task is worked on: 'host', 'redrive', 'cancel'; to its home: 'ended', 'died', 'revived'."""
    queue: str
    """The name of the other queue; '' is the same one."""
    flow: bytes
    stay: bytes
    """By which the task is told from others that had its id before."""
    body: bytes
    """The task, or how it has ended, or why it is dead."""
    options: bytes

    @property
    def goes_home(self) -> bool:
        """Whether it is for the queue of the flow."""
        return self.what not in ('host', 'redrive', 'cancel')

    def words(self, sender: str) -> list[Arg]:
        """As the other queue takes it."""
        return [
            *(self.task_id, self.number, self.what, sender.encode(), self.flow, self.stay, self.body, self.options)
        ]

    def receipt(self, arrived: bool) -> list[Arg]:
        """As the queue is told that it has arrived, or is to be tried again."""
        return [self.task_id, self.number, self.what, self.stay, '1' if arrived else '']


WIDTH = len(Errand._fields)
WHATS = frozenset({'host', 'redrive', 'cancel', 'ended', 'died', 'revived'})


def read_collect(reply: Any) -> list[Errand]:
    """What is to be carried."""
    if not isinstance(reply, list) or reply[:1] != [b'ok'] or len(reply) % WIDTH != 1:
        raise unreadable('collect', reply)
    words = reply[1:]
    if not all(type(word) is bytes for word in words):
        raise unreadable('collect', reply)
    found = [_read_errand(words[k : k + WIDTH]) for k in range(0, len(words), WIDTH)]
    if not {errand.what for errand in found} <= WHATS:
        raise unreadable('collect', reply)
    return found


def _read_errand(words: Sequence[bytes]) -> Errand:
    task_id, number, what, queue, *rest = words
    return Errand(task_id, number, text(what), queue.decode('utf-8', 'surrogateescape'), *rest)


class Spread(NamedTuple):
    """The reply of spread."""

    left: int
    """How much is left to go on with."""
    out: bool
    """Whether there is something to carry to other queues."""


def read_spread(reply: Any) -> Spread:
    """How much is left, and whether other queues are to be told."""
    if not isinstance(reply, list) or len(reply) != 3 or reply[0] != b'ok':
        raise unreadable('spread', reply)
    try:
        return Spread(int(reply[1]), bool(reply[2]))
    except UNREADABLE:
        raise unreadable('spread', reply) from None


class Arrived(NamedTuple):
    """The reply of arrive."""

    spread: bool
    """Whether there may be work for `spread`."""
    out: bool
    """Whether there is something to carry to other queues."""


def read_arrive(reply: Any) -> Arrived:
    """What the home of tasks has to do next."""
    if not isinstance(reply, list) or len(reply) != 3 or reply[0] != b'ok':
        raise unreadable('arrive', reply)
    try:
        return Arrived(int(reply[1]) > 0, int(reply[2]) > 0)
    except UNREADABLE:
        raise unreadable('arrive', reply) from None


def read_carried(reply: Any) -> float | None:
    """In how many seconds something is to be carried; None is nothing."""
    if not isinstance(reply, list) or not 1 <= len(reply) <= 2 or reply[0] != b'ok':
        raise unreadable('carried', reply)
    try:
        return None if reply[1:] in ([], [None]) else int(reply[1]) / 1000
    except UNREADABLE:
        raise unreadable('carried', reply) from None


class Abroad(str):
    """The script of a call of another queue, as `steps` yields it; what is sent back is the reply, or the error by
    which the call has failed."""

    queue: str
    """The name of the queue; '' is the same one."""

    def __new__(cls, name: str, queue: str) -> 'Abroad':
        made = super().__new__(cls, name)
        made.queue = queue
        return made
