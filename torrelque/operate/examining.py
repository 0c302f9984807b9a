"""Whether a queue and its server are sound: settings, versions, clocks, and the queue's keys, by bounded scans."""

from torrelque import Torrelque

from .values import Finding


async def examine(queue: Torrelque) -> list[Finding]:
    """What was found, the gravest first."""
    raise NotImplementedError
