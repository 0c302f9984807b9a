"""Plain tasks go to any shard: to the one whose turn it is and, where that surely has not taken them, to another.

A shard that is full says so.  A server that takes no writes refuses a call as a whole; it is passed by until it takes
some again, and what has no other place is sent to it all the same.  A call that may have been carried out is never made
elsewhere: so before anything is sent over a connection that there never was, the shard is asked for a sign of life, and
others are while it is silent.
"""

import asyncio
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from torrelque import (
    Torrelque,
    TorrelqueBulkError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueFullError,
    TorrelqueServerError,
)

from . import base, common, inside, shards
from .choose import SLOW

T = TypeVar('T')

logger = logging.getLogger(__package__)

WARNED = 60.0
"""For how long (s) the log is not told again that a shard refuses writes."""
FIRST = asyncio.FIRST_COMPLETED
FAILURES = (TorrelqueFullError, TorrelqueConnectionError, TorrelqueServerError, TorrelqueBulkError)
"""Errors that tell something of the shard at which a call has failed."""


class Anywhere(base.Base):
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
        except FAILURES as exc:
            if not self._notice(number, exc):
                raise
            first = exc
        except asyncio.CancelledError:
            # What is not waited for any more would no longer tell that the shard is silent.
            if not chooser.is_well(number, loop.time()):
                self._look_after(number)
            raise
        finally:
            chooser.returned(number, began, loop.time(), replied)
        return await self._elsewhere(number, call, first)

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
                await asyncio.wait(silent, timeout=common.PATIENCE if last else SLOW, return_when=FIRST)
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
        self, number: int, call: Callable[[Torrelque], Awaitable[T]], first: TorrelqueError
    ) -> T:
        """Carry out what one shard has not taken, and surely nothing of it."""
        chooser, refused = self._chooser, [first]
        others = [other for other in range(chooser.count) if other != number and chooser.is_up(other)]
        for other in random.sample(others, len(others)):
            try:
                return await call(self._shards[other])
            except FAILURES as exc:
                if not self._notice(other, exc):
                    raise
                refused.append(exc)
        raise refusal(self.name, refused)

    def _notice(self, number: int, error: TorrelqueError) -> bool:
        """A call has failed at a shard, maybe because that is away or takes no writes; whether it surely was not
        carried out, and may be elsewhere."""
        if isinstance(error, TorrelqueConnectionError) or isinstance(error.__cause__, TorrelqueConnectionError):
            self._look_after(number)
        untouched = inside.is_untouched(error)
        if untouched and (isinstance(error, TorrelqueServerError) or isinstance(error.__cause__, TorrelqueServerError)):
            self._pass_by(number, error)
        return untouched or isinstance(error, TorrelqueFullError)

    def _pass_by(self, number: int, error: TorrelqueError) -> None:
        """Have plain tasks go to other shards until one takes writes again; what has no other place asks it."""
        now = asyncio.get_running_loop().time()
        if now > self._warned.get(number, now - 1):
            self._warned[number] = now + WARNED
            logger.warning('queue %r: tasks go to other shards: %s', self.name, self._why(error))
        if number not in self._refusing and not self._closed:
            self._refusing[number] = asyncio.ensure_future(self._ask_until_it_takes(number))
            self._chooser.is_up = self._takes

    def _takes(self, number: int) -> bool:
        return number not in self._refusing and self._is_up(number)

    async def _ask_until_it_takes(self, number: int) -> None:
        """Come to an end when a shard takes writes."""
        try:
            taken = False
            while not self._closed and not taken:
                await asyncio.sleep(common.AGAIN)
                if number >= len(self._shards):
                    return
                shard = self._shards[number]
                try:
                    # Nothing is there to be added to, but it would be a write that needs memory.
                    await shard.command('LPUSHX', shard.keys['never'], '')
                    taken = True
                except TorrelqueConnectionError:
                    pass
                except TorrelqueError as exc:
                    # Where this may not be asked, the next task asks.
                    taken = not inside.is_untouched(exc)
        finally:
            self._refusing.pop(number, None)
            if not self._refusing:
                self._chooser.is_up = self._is_up


def refusal(queue: str, refused: Sequence[TorrelqueError]) -> TorrelqueError:
    """The error of what no shard has taken: that they are full, where any is, or what the first one said."""
    full = [error.size for error in refused if isinstance(error, TorrelqueFullError)]
    if not full:
        return refused[0]
    error = TorrelqueFullError(sum(full), queue)
    error.__cause__ = refused[0]
    return error
