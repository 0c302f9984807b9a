"""One queue over many servers: class `Sharded`, with the verbs of `torrelque.Torrelque`."""

from .queue import Sharded

__all__ = ['Sharded']
