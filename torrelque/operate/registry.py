"""Which queues there are: names that hearts and operators note, and a scan of the keys, which is slow."""

from collections.abc import AsyncIterator
from typing import Any

from torrelque import Torrelque

from .values import Found


async def note(queue: Torrelque) -> None:
    """Note that a queue was seen, at most once a minute in a process.  A refusal is passed over."""
    raise NotImplementedError


async def known(client: Any) -> list[Found]:
    """The queues of the registry, in order of their names."""
    raise NotImplementedError


def scan(client: Any) -> AsyncIterator[Found]:
    """Queues by their keys: walks all keys of the server."""
    raise NotImplementedError


async def forget(queue: Torrelque) -> None:
    """Delete all that hearts and operators have written of a queue: records, totals, acts, its name in the registry."""
    raise NotImplementedError
