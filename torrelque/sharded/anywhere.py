"""The shard that something is sent to which any can take: the one whose turn it is, if it is there and has room.

What was given to the connection of a shard goes nowhere else, because it may have arrived.  So before anything is sent
over a connection that there never was, the shard is asked for a sign of life, and others are while it is silent.
"""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from torrelque import (
    Torrelque,
    TorrelqueBulkError,
    TorrelqueConnectionError,
    TorrelqueFullError,
    TorrelqueServerError,
)

from . import inside, shards
from .base import PATIENCE, Base
from .choose import SLOW

FIRST = asyncio.FIRST_COMPLETED
T = TypeVar('T')


class Anywhere(Base):
    """The ways to any shard."""

    async def _anywhere(self, call: Callable[[Torrelque], Awaitable[T]], fresh: bool = False) -> T:
        """Carry out what any shard can: at the one whose turn it is, or, where that is full, at another."""
        if not self._shards:
            await self._open()
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began > self._known_until:
            await self._catch_up()
        chooser = self._chooser
        number = chooser.choose(began, fresh)
        if not chooser.held:
            chooser.held = True
            loop.call_soon(chooser.let_go)
        if number not in self._known:
            number = await self._meet(number, fresh)
            began = loop.time()
        chooser.sent(number, began)
        replied = False
        try:
            done = await call(await self._at(number) if self._unproven else self._shards[number])
            replied = True
            return done
        except TorrelqueFullError as exc:
            size, first = exc.size, exc
        except (TorrelqueConnectionError, TorrelqueBulkError) as exc:
            self._notice(number, exc)
            raise
        except asyncio.CancelledError:
            # What is not waited for any more would no longer tell that the shard is silent.
            if not chooser.is_well(number, loop.time()):
                self._look_after(number)
            raise
        finally:
            chooser.returned(number, began, loop.time(), replied)
        return await self._elsewhere(number, call, size, first)

    async def _meet(self, number: int, fresh: bool) -> int:
        """A shard that has answered: the one that was chosen or, while that is silent, others."""
        loop = asyncio.get_running_loop()
        met: dict[asyncio.Future[None], int] = {}
        while number not in self._known:
            if inside.is_known(self._shards[number]):
                self._known.add(number)
                break
            last = number in met.values()
            met.setdefault(self._greet(number), number)
            if silent := [each for each in met if not each.done()]:
                await asyncio.wait(silent, timeout=PATIENCE if last else SLOW, return_when=FIRST)
            found = [each for each in met.values() if each in self._known]
            if found or last:
                # Where nobody has answered, it is any of them, and the call waits as others do.
                return found[0] if found else number
            self._look_after(number)
            number = self._chooser.choose(loop.time(), fresh)
        return number

    def _greet(self, number: int) -> 'asyncio.Future[None]':
        """Have a shard say anything; all who want to know wait for one call."""
        greeting = self._greetings.get(number)
        if greeting is None:
            greeting = self._greetings[number] = asyncio.ensure_future(self._have_answer(number))
            greeting.add_done_callback(functools.partial(self._greeted, number))
        return greeting

    def _greeted(self, number: int, greeting: 'asyncio.Future[None]') -> None:
        del self._greetings[number]
        if not greeting.cancelled():
            # Whoever needs the shard is told by a call of their own.
            greeting.exception()

    async def _have_answer(self, number: int) -> None:
        shard = await self._at(number)
        try:
            await shard.command('GET', shards.key_of(shard.name))
        except TorrelqueServerError:
            # It says no, but it is there.
            pass
        self._known.add(number)

    async def _elsewhere(
        self, number: int, call: Callable[[Torrelque], Awaitable[T]], size: int, first: TorrelqueFullError
    ) -> T:
        """Carry out what one shard was too full for."""
        others = [other for other in range(self._chooser.count) if other != number and self._is_up(other)]
        for other in random.sample(others, len(others)):
            try:
                return await call(self._shards[other])
            except TorrelqueFullError as exc:
                size += exc.size
            except (TorrelqueConnectionError, TorrelqueBulkError) as exc:
                self._notice(other, exc)
                raise
        raise TorrelqueFullError(size, self.name) from first

    async def _catch_up(self) -> None:
        """Have the map be the newest, as far as it can be read."""

    def _notice(self, number: int, error: Exception) -> None:
        """A call has failed at a shard, maybe because that is away."""
        if isinstance(error, TorrelqueConnectionError) or isinstance(error.__cause__, TorrelqueConnectionError):
            self._look_after(number)
