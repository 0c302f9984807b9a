"""What all spans and metrics of a queue say alike."""

import weakref
from typing import Any

from torrelque import TorrelqueQueue
from torrelque.worker.places import clients_of

from . import words

Attributes = dict[str, Any]


class Place:
    """A queue on its server, as spans and metrics name it."""

    def __init__(self, queue: TorrelqueQueue) -> None:
        self.queue = queue.name
        server = server_of(queue)
        common: Attributes = {words.MESSAGING_SYSTEM: words.SYSTEM, words.DESTINATION: queue.name, **server}
        self._names = {operation: f'{operation} {queue.name}' for operation in words.TYPES}
        self._attributes: dict[str, Attributes] = {
            operation: {**common, words.OPERATION: operation, words.OPERATION_TYPE: kind}
            for operation, kind in words.TYPES.items()
        }

    def name(self, operation: str) -> str:
        """The name of a span."""
        return self._names[operation]

    def attributes(self, operation: str) -> Attributes:
        """What a span or a metric of an operation begins with; not to be changed."""
        return self._attributes[operation]


class Places:
    """The places of queues, each made once."""

    def __init__(self) -> None:
        self._places: weakref.WeakKeyDictionary[TorrelqueQueue, Place] = weakref.WeakKeyDictionary()

    def of(self, queue: TorrelqueQueue) -> Place:
        """That of a queue."""
        place = self._places.get(queue)
        if place is None:
            place = self._places[queue] = Place(queue)
        return place


def server_of(queue: TorrelqueQueue) -> Attributes:
    """Address and port of the server of a queue, as far as its client has one: a Cluster and a Sentinel have
    several, and so may a queue with shards.
    """
    first, *others = clients_of(queue)
    if others:
        return {}
    given = getattr(getattr(first, 'connection_pool', None), 'connection_kwargs', {})
    if path := given.get('path'):
        return {words.ADDRESS: path}
    if host := given.get('host'):
        return {words.ADDRESS: host, words.PORT: int(given.get('port') or 6379)}
    return {}


def kind_of(error: BaseException) -> str:
    """The class of an error, as ``error.type`` has it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__qualname__}'
