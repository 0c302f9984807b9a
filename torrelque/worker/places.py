"""Where queues are: their clients, and which queue objects mean the same queue.

Other layers may import the names in `__all__`.
"""

from collections.abc import Hashable
from typing import Any

from torrelque import Torrelque, TorrelqueQueue
from torrelque.protocol.keys import make_keys

__all__ = ['clients_of', 'identity', 'is_one']


def clients_of(queue: TorrelqueQueue) -> tuple[Any, ...]:
    """The clients that a queue object was made with: one, or one for each of several servers."""
    client: Any = queue.client
    return (*client,) if isinstance(client, (list, tuple)) else (client,)


def is_one(queue: TorrelqueQueue) -> bool:
    """Whether a queue is in one place of one server, and not made of shards; one with shards is another queue than that
    of the same name."""
    return isinstance(queue, Torrelque)


def identity(queue: TorrelqueQueue) -> Hashable:
    """What queue objects have in common that mean the same queue, as far as their clients tell."""
    return is_one(queue), tuple(map(id, clients_of(queue))), make_keys(queue.name)['pending']
