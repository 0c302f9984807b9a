"""How many tasks a worker begins in a time."""

import asyncio


class StartRate:
    """A token bucket: in any w seconds at most ``starts * (1 + w / seconds)`` tasks begin."""

    def __init__(self, starts: int, seconds: float) -> None:
        self._most = starts
        self._pace = starts / seconds
        self._tokens = float(starts)
        self._since: float | None = None

    async def wait(self) -> int:
        """Wait until a task may begin; how many tasks may."""
        if self._left() < 1:
            await asyncio.sleep((1 - self._tokens) / self._pace)
        return max(1, self._left())

    def spend(self, count: int) -> None:
        """Take a token for each of so many tasks that have begun."""
        # While the worker waited for tasks the bucket went on filling, but never beyond full; so bring it up to date
        # before tokens are taken.
        self._left()
        self._tokens -= count

    def _left(self) -> int:
        now = asyncio.get_running_loop().time()
        if self._since is not None:
            self._tokens = min(self._most, self._tokens + (now - self._since) * self._pace)
        self._since = now
        return int(self._tokens + 1e-9)
