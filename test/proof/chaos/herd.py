"""Consumers in processes of their own, which a storm kills and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proof.chaos.workload import Child


class Herd:
    """As many as there were at the beginning; who is killed is followed by another."""

    def __init__(self, start: Callable[[str], Awaitable[Child]]) -> None:
        self._start = start
        """Starts one by its name."""
        self._children: list[Child] = []
        self._count = 0

    async def grow(self, number: int) -> None:
        """Start so many more."""
        for _ in range(number):
            self._count += 1
            self._children.append(await self._start(f'prey{self._count}'))

    async def kill_one(self, number: float) -> bool:
        """Kill one, which a number from 0 to 1 tells."""
        child = self._children.pop(int(number * len(self._children)))
        await child.kill()
        await self.grow(1)
        return True

    def pid_of_one(self, number: float) -> int | None:
        return self._children[int(number * len(self._children))].process.pid if self._children else None

    async def stop(self, seconds: float) -> list[str]:
        """Let all come to their ends, each within so many seconds; what is wrong with how they did."""
        wrong = []
        for child in self._children:
            try:
                status = await asyncio.wait_for(child.stop(), seconds)
                if status:
                    wrong.append(f'a consumer process ended with status {status}')
            except asyncio.TimeoutError:
                wrong.append('a consumer process did not end')
                await child.kill()
        return wrong

    async def kill(self) -> None:
        """End all that are left."""
        for child in self._children:
            await child.kill()
