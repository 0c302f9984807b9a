"""The record of what operators did."""

from collections.abc import Callable
from typing import Any

from torrelque import Torrelque

from .values import Act


async def write_act(
    queue: Torrelque, name: str, who: str, what: str, count: int, on_act: Callable[[Act], Any] | None
) -> None:
    """Put an act on record, log it, and tell ``on_act``.  A refusal of the server is logged, and passed over."""
    raise NotImplementedError


async def read_acts(queue: Torrelque) -> list[Act]:
    """The last 500 acts, the newest first."""
    raise NotImplementedError
