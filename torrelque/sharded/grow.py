"""More shards, and fewer again, while all goes on.

Groups and ids of callers' own are among the `keyed` first shards; how they come to more is in `moving`.  Each process
reads the map every ten seconds.  There is no clock in it: a process puts tasks into new shards half a minute after it
has read of them itself, and by then all others take from them.
"""

import asyncio
import logging
import random
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from torrelque import Duration, Torrelque, TorrelqueError
from torrelque.protocol.check import check_seconds

from . import generations, inside, moving, shards
from .common import PATIENCE
from .operators import Operators
from .shards import Shape

T = TypeVar('T')

logger = logging.getLogger(__package__)

EVERY = 10.0
"""s between two looks at the map."""
KNOWN = 3 * EVERY
"""s after which everybody has read a map."""
LOOK = 1.0
"""s between two looks at what is left of shards that are closing."""


class Growth(Operators):
    """Has the shards of a queue object be those of the newest map."""

    _timer: asyncio.TimerHandle | None = None
    """When the map is read again."""
    _looking: 'asyncio.Task[None] | None' = None
    """Reads it."""
    _settling: asyncio.TimerHandle | None = None
    """When fresh shards are used as well."""

    # What the map says

    async def _read_map(self) -> tuple[Torrelque, ...]:
        found = await super()._read_map()
        self._closed_shards: dict[int, Torrelque] = {}
        self._heed()
        self._known_until = asyncio.get_running_loop().time() + 2 * EVERY
        self._follow()
        return found

    def _follow(self) -> None:
        """Read the map again in some time; a queue object that nobody has any more is let go."""
        # Processes that were started together do not read it all at once.
        pause = EVERY * random.uniform(0.8, 1.0)
        self._timer = asyncio.get_running_loop().call_later(pause, _call, weakref.WeakMethod(self._begin_to_look))

    def _begin_to_look(self) -> None:
        if not self._closed:
            self._looking = asyncio.ensure_future(self._look_again())

    async def _look_again(self) -> None:
        try:
            await self._catch_up()
        finally:
            if not self._closed:
                self._follow()

    async def _catch_up(self) -> None:
        # One who stood still for an hour must not put tasks into a shard that is gone; one who cannot read the map goes
        # by what is known.
        self._known_until = asyncio.get_running_loop().time() + 2 * EVERY
        try:
            await self._look()
        except TorrelqueError as exc:
            logger.warning('queue %r: the map of its shards was not read again: %s', self.name, self._why(exc))
        if shards.MOVED in self._shape.more and not self._closed:
            await self._carry_some()

    async def _carry_some(self) -> None:
        """Put what somebody has left on a stage where it belongs: whoever redrives a task may have died meanwhile."""
        number = random.randrange(len(self._shards))
        try:
            if self._is_up(number):
                await asyncio.wait_for(self._carry(number), PATIENCE)
        except (asyncio.TimeoutError, TorrelqueError) as exc:
            why = inside.reason_of(exc)
            logger.debug('queue %r: the stage of shard %d was not looked at: %s', self.name, number, why)

    async def _carry(self, number: int) -> None:
        """Put the tasks on the stage of a shard where they belong, which the newest map says."""
        if not await inside.run(await self._at(number), inside.growing.read_stage):
            return
        await self._learn()
        await self._take_steps(moving.carry(number, self._shape))

    async def _look(self) -> bool:
        """Read the map, in the home shard, or in another one where that is away; whether it was a newer one."""
        error: Exception = TorrelqueError('no shard tells it')
        others = [shard for shard in self._shuffled() if shard is not self._shards[0]]
        for shard in [self._shards[0], *others[:2]] if self._is_up(0) else others[:3] or self._shards[:1]:
            try:
                text = await asyncio.wait_for(shard.command('GET', shards.key_of(shard.name)), PATIENCE)
                break
            except (asyncio.TimeoutError, TorrelqueError) as exc:
                error = exc if isinstance(exc, TorrelqueError) else error
        else:
            raise error
        if text is None:
            shape = await self._drive(generations.restore(self.name, self._shape))
        else:
            shape = generations.newer(shard.name, text, self._shape)
        if shape is None or shape.generation <= self._shape.generation:
            return False
        self._adopt(shape)
        # Whoever wrote it may be dead.
        await self._drive(generations.spread(self.name, shape))
        return True

    def _adopt(self, shape: Shape) -> None:
        """Go by a newer map."""
        old, count = self._shards, len(shape.tags)
        found = [*old[:count]]
        for number in range(len(old), count):
            known = self._closed_shards.pop(number) if number in self._closed_shards else None
            found.append(known or self._make_shard(shape, number))
        # Objects of shards that are gone stay until the queue object is closed: a delivery may know its shard.
        self._closed_shards.update({number: old[number] for number in range(count, len(old))})
        self._shape, self._shards = shape, tuple(found)
        if self._dispatcher is not None:
            self._dispatcher.add(self._shards)
        self._heed()

    def _heed(self, settled: bool = False) -> None:
        """Have plain tasks go to the shards that the map says."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        self._chooser.use(generations.used(self._shape, settled), len(self._shards))
        if shards.FRESH in self._shape.more and not settled:
            heed = weakref.WeakMethod(self._heed)
            self._settling = asyncio.get_running_loop().call_later(KNOWN, _call, heed, True)

    async def _stop_following(self) -> None:
        """Of a queue object that is closed."""
        for timer in (self._timer, self._settling):
            if timer is not None:
                timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        if self._shards:
            await asyncio.gather(*(shard.aclose() for shard in self._closed_shards.values()))

    # Operators

    async def grow(self, count: int, *, keyed: bool = False, timeout: Duration | None = None) -> None:
        """Have more shards, while all goes on: for plain tasks it takes about forty seconds.

        Processes that were started before take from the new shards within ten seconds, and put tasks into them half a
        minute later.  To repeat the call is harmless, by anybody, and goes on with one that has failed on the way, or
        whose process has died.  Processes that say how many shards there are may say as many as there were.

        :param count: how many there are to be, up to 192; of a Cluster, a multiple of how many there are, so that they
            are spread as evenly over its slots.
        :param keyed: whether groups and ids of callers' own come to the new shards as well, each half of a doubled
            queue.  Tasks that wait stay where they are, and those that come meanwhile wait in the new shard until
            nothing of the moved groups is left in the old one.
        :param timeout: how long to wait (s) for what is left of these groups, and of these ids, where they were; None
            is for ever.
        :raises TorrelqueValueError: there are more, or some are closing, or a schedule has a group that would move;
            nothing was changed.
        :raises TorrelqueTimeoutError: something is left; tasks are taken as ever, and the call may be repeated.
        """
        limit = None if timeout is None else check_seconds(timeout, 'timeout')
        await self._take_steps(moving.grow(self.name, count, KNOWN + EVERY, keyed, LOOK, limit))

    async def shrink(self, count: int, timeout: Duration | None = None) -> None:
        """Have fewer shards for plain tasks: nothing goes into the last ones any more, and when nothing has been in
        them for half a minute, they are no more.

        Dead and delayed tasks, and flows, keep a shard until they are over: redrive these, or cancel them.  What is
        kept of finished tasks, such as results, cannot be asked for any more in the end.  To repeat the call is
        harmless, and goes on with one that has failed on the way.

        :param count: how many are to stay, no fewer than have the groups.
        :param timeout: how long to wait (s); None is for ever.
        :raises TorrelqueTimeoutError: there are tasks in them still; they are closing, and tasks are taken from them.
        """
        limit = None if timeout is None else check_seconds(timeout, 'timeout')
        await self._take_steps(moving.shrink(count, KNOWN, LOOK, limit))

    async def _take_steps(self, steps: 'moving.Steps[T]') -> T:
        """Do what a generator says, step by step; what it comes to."""
        loop = asyncio.get_running_loop()
        began, answer = loop.time(), None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, moving.At):
                    answer = await inside.run(await self._at(step.number), step.make)
                elif isinstance(step, moving.Wait):
                    await asyncio.sleep(step.seconds)
                    answer = loop.time() - began
                elif isinstance(step, moving.Spread):
                    answer = await self._drive(generations.spread(self.name, step.shape))
                else:
                    answer = await (self._newest() if isinstance(step, moving.Newest) else self._write(step.shape))
        except StopIteration as over:
            result: T = over.value
            return result
        except TorrelqueError as exc:
            raise self._told(exc) from exc.__cause__

    async def _learn(self) -> None:
        try:
            await asyncio.wait_for(self._newest(), PATIENCE)
        except (asyncio.TimeoutError, TorrelqueError):
            await self._catch_up()

    async def _newest(self) -> Shape:
        """The map as it is now."""
        if not self._shards:
            await self._open()
        [text] = await self._drive(shards.send((0, self.name, ('GET', shards.key_of(self.name)))))
        shape = generations.newer(self.name, text, self._shape)
        if shape is not None:
            self._adopt(shape)
            # Whoever wrote it may be dead.
            await self._drive(generations.spread(self.name, shape))
        found: Shape = self._shape
        return found

    async def _write(self, shape: Shape) -> Shape:
        """Write a map, and go by it.

        :raises TorrelqueError: somebody has written another one meanwhile.
        """
        found = await self._drive(generations.write(self.name, shape))
        if found != shape:
            raise self._told(TorrelqueError('the map of the shards was changed by somebody else meanwhile: look again'))
        self._adopt(shape)
        return shape

    async def _everywhere(self, call: Callable[[Torrelque], Awaitable[T]], changes: bool = False) -> list[T]:
        done = await super()._everywhere(call)
        while changes and await self._look():
            done = await super()._everywhere(call)
        return done


def _call(known: 'weakref.WeakMethod[Any]', *args: bool) -> None:
    """Call a method, where its object is there still."""
    method = known()
    if method is not None:
        method(*args)

