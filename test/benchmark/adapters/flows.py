"""What the adapters of flows share: their commands, and the flows that are made and worked off.

As in `child`, nothing here needs more than the standard library.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmark.adapters import child
from benchmark.adapters.child import MissingError, Payload, Served, Setting, System, handle


class Flowing(System):
    """A system in which tasks wait for tasks; what it does not have it leaves as it is here."""

    async def chain(self, payloads: list[Payload]) -> None:
        """A task for each payload, which waits for the one before."""
        raise MissingError('no chains')

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        """A task for each payload, and one that waits for all of them."""
        raise MissingError('nothing waits for many')


class ServedFlows(Served):
    """The command of the runner that is about flows."""

    async def do_flow(self, shape: str, size: int, length: int, consumers: int, patience: float) -> dict[str, Any]:
        """Make flows, then work them off: how long (s) the one took, and the other from the first task to the last.

        `chains` are as many flows as there are chains.  When the patience is over, what was handled is what counts.
        """
        system = self.system
        assert isinstance(system, Flowing)
        count = size * length if shape == 'chains' else size + 1
        handle.expect(count)
        began = time.perf_counter()
        if shape == 'chains':
            await self._chains(system, size, length)
        else:
            await system.fan_in([{'number': number} for number in range(size)], {'number': size})
        made = time.perf_counter() - began
        async with system.consumers(min(consumers, system.most)):
            with suppress(asyncio.TimeoutError):
                await handle.wait(patience)
            over = handle.done.is_set()
            ended = handle.last[0] if over else time.perf_counter()
            handled = count if over else next(handle.count) - 1
        if not handled:
            raise TimeoutError(f'nothing was handled within {patience:.0f} s')
        return {'made': made, 'worked': ended - handle.first[0], 'handled': handled, 'count': count}

    async def _chains(self, system: Flowing, size: int, length: int) -> None:
        chains = [[{'number': number} for number in range(length)] for _ in range(size)]
        if system.threads:
            for chain in chains:
                await system.chain(chain)
        else:
            await asyncio.gather(*(system.chain(chain) for chain in chains))


def serve(make: Callable[[Setting], Flowing]) -> None:
    """Answer commands until standard input ends."""
    child.serve(make, ServedFlows)
