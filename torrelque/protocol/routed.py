"""Names that say more than themselves: by how many shards their place was found, so that a shard can refuse who goes by
too few; and which shard of which queue is called so, for messages."""

import re

from torrelque.error import ShardName

_SHARD = re.compile(r'\{([^{}]+):(\d+)(?:\.\d+)?\}')
"""Names of shards as queues: the queue, the number, and by which try they came to their part of the slots."""


class Routed(str):
    """A group, or an id of a caller's own, of a queue with shards."""

    __slots__ = ('keyed',)

    keyed: int
    """Among how many shards groups and ids were divided when its shard was looked for."""

    def __new__(cls, value: str, keyed: int) -> 'Routed':
        """A name, and among how many shards."""
        self = str.__new__(cls, value)
        self.keyed = keyed
        return self


def keyed_of(name: str | None) -> int | None:
    """Among how many shards the place of a name was looked for; None where it was not."""
    return name.keyed if type(name) is Routed else None


class Called:
    """What messages call a queue, and others that it has to do with."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        """The name of the queue."""
        self.name = queue
        """What messages call it."""
        self.is_shard = False
        """Whether it is a shard, so that groups may come to be in another one."""

    def name_of(self, queue: str) -> str:
        """What messages call a queue: those that a shard has to do with may be shards."""
        shard = _SHARD.fullmatch(queue) if self.is_shard else None
        return queue if shard is None else ShardName(shard[1], int(shard[2]))
