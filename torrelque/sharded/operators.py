"""The verbs of operators, of the queue with shards for coroutines."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueDeath,
    TorrelqueError,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueServerError,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_call, check_count, check_iterable, check_seconds

from . import inside
from .common import PATIENCE
from .placing import Placing

logger = logging.getLogger(__package__)

LATE = 1.0
"""For how long (s) the statistics of a shard are waited for where those of others are told without."""


class Operators(Placing):
    """What a queue object has for operators."""

    # Groups

    async def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, Duration] | float | None = None,
    ) -> None:
        """Set both limits of a group, as `torrelque.Torrelque.set_limit`, which are exact, because it has one shard.

        :param group: the group; None is the default for all groups, which all shards are given at once, and which holds
            when this has returned.  Where a shard cannot be reached, the error says which.
        """
        if group is None:
            await self._everywhere(
                lambda shard: shard.set_limit(None, concurrency=concurrency, rate=rate), changes=True
            )
        else:
            await self._with_group(group, lambda shard: shard.set_limit(group, concurrency=concurrency, rate=rate))

    async def get_limits(self) -> dict[str | None, TorrelqueLimit]:
        """All limits as they were set, by group; the default has the key None.  What was never set is not there.

        The default is that of the home shard; where others have another, because a ``set_limit`` has failed on the way,
        the log has a warning.
        """
        every = await self._everywhere(lambda shard: shard.get_limits())
        # The last shards go first: where a group has come from, what it had there stays, and counts for nothing.
        found = {group: limit for limits in every for group, limit in limits.items()}
        default = every[0].get(None)
        others = [number for number, limits in enumerate(every) if limits.get(None) != default]
        if others:
            logger.warning(
                'queue %r: shards %s have another default limit than the first: set it again', self.name,
                ', '.join(map(str, others)),
            )  # fmt: skip
        found.pop(None, None)
        return found if default is None else {**found, None: default}

    async def pause(self, group: str | None = None, *, probe: Duration | None = None) -> None:
        """Hand out no more tasks, as `torrelque.Torrelque.pause`, of a group or (None) of the whole queue.

        All shards are paused at once, and all are when this has returned.  Where one cannot be reached, the error says
        which; to repeat the call is harmless.

        :param probe: as there, and each shard lets one task through in that time, where it is the whole queue.
        """
        if group is None:
            await self._everywhere(lambda shard: shard.pause(None, probe=probe), changes=True)
        else:
            await self._with_group(group, lambda shard: shard.pause(group, probe=probe))

    async def resume(self, group: str | None = None, *, probing: bool = False) -> bool:
        """End a ``pause``, as `torrelque.Torrelque.resume`, of a group or (None) of the whole queue, at all shards.

        :return: True when the group, or no shard, is paused by its name any more; False when ``probing`` found a pause
            without probes.
        """
        if group is None:
            return all(await self._everywhere(lambda shard: shard.resume(None, probing=probing), changes=True))
        return await self._with_group(group, lambda shard: shard.resume(group, probing=probing))

    async def get_group_stats(self, group: str) -> TorrelqueGroupStats:
        """How many tasks of a group wait, its slots and limits, all at one moment; O(1)."""
        return await (await self._of_group(group)).get_group_stats(group)

    async def groups(self) -> AsyncGenerator[str, None]:
        """Names of the groups that have tasks, dead ones not counted, in no order: of one shard after the other."""
        for number in range(len(self._shards or await self._open())):
            async for name in (await self._at(number)).groups():
                yield name

    # Tasks

    async def redrive(self, *task_ids: str, limit: int | None = None) -> int:
        """Bring dead tasks back, as `torrelque.Torrelque.redrive`; how many.

        :param task_ids: which; all that are dead now when none is named.
        :param limit: how many at the most: those of one shard after the other, of each the first to die first.

        Where a shard is away, those of the others are brought back, and the error says which it is.
        """
        count = len(self._shards or await self._open())
        if task_ids:
            named: dict[int, list[str]] = {}
            for task_id in task_ids:
                number, certain = self._number_of_id(task_id, now=True)
                # Where nobody knows which shard has it, it is named to all: it is dead in one.
                for one in [number] if certain else range(count):
                    named.setdefault(one, []).append(task_id)
        else:
            named = {number: [] for number in range(count)}
        done, failed = 0, dict[int, BaseException]()
        for number, some in sorted(named.items()):
            if limit is not None and done >= check_count(limit, 'limit'):
                break

            async def redrive(
                shard: Torrelque, some: list[str] = some, left: int | None = None if limit is None else limit - done
            ) -> int:
                return await shard.redrive(*some, limit=left)

            try:
                done += await self._soon(number, redrive)
                # Those whose group is in another shard by now were taken out, to be put there.
                await self._carry(number)
            except (TorrelqueConnectionError, TorrelqueServerError) as exc:
                failed[number] = exc
        if failed:
            raise self._partly(failed, len(named))
        return done

    async def _carry(self, number: int) -> None:
        """Put the tasks on the stage of a shard where they belong."""

    async def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        """Learn of tasks that died where nobody saw it, as `torrelque.Torrelque.take_deaths`; there may be none.

        The shards are asked one after the other, in any order, until there are enough.  One that is away is passed by:
        what died there is told when it is there again.

        :param max_tasks: how many at the most; never more than 50.
        :param again_after: for how long (s) nobody else is told of them.
        """
        count, most = len(self._shards or await self._open()), min(50, check_count(max_tasks, 'max_tasks'))
        found: list[TorrelqueDeath] = []
        silent: Exception | None = None
        answered = False
        for number in random.sample(range(count), count):
            try:
                if count > 1 and not self._is_up(number):
                    raise TorrelqueConnectionError(f'shard {number} is away')
                call = (await self._at(number)).take_deaths(most - len(found), again_after=again_after)
                # Deaths that are told too late are told again.
                some = await asyncio.wait_for(call, PATIENCE if count > 1 else None)
                answered = True
            except (TorrelqueConnectionError, asyncio.TimeoutError) as exc:
                self._look_after(number)
                silent = exc
                continue
            for death in some:
                inside.mark(death.id, number)
            found += some
            if len(found) >= most:
                break
        if silent is not None and not answered:
            raise self._told(TorrelqueConnectionError('no shard answers')) from silent
        return found

    async def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None:
        """Say that nobody needs to be told of these deaths any more, as `torrelque.Torrelque.acknowledge_deaths`.

        :param task_ids: ids as `take_deaths` gave them; after ``bury`` with ``tell_after``, as `dequeue` did.
        :raises TorrelqueValueError: an id without the token of a delivery; nothing was sent.
        """
        ids = [*check_iterable(task_ids)]
        for task_id in ids:
            if not isinstance(task_id, TorrelqueTaskId) or not task_id.token:
                raise TorrelqueValueError(f'a death is acknowledged by the id of its delivery, not by {task_id!r}')

        async def acknowledge(number: int, places: list[int]) -> None:
            some: Any = [ids[place] for place in places]
            await (await self._at(number)).acknowledge_deaths(some)

        by_shard = await self._by_shard(ids)
        await asyncio.gather(*(acknowledge(number, places) for number, places in by_shard.items()))

    async def sweep(self) -> TorrelqueSweepResult:
        """Bring back all tasks that are due and those whose lease has run out, and fire schedules, at all shards at
        once; how many.

        Consumers that wait do this by themselves, within milliseconds.
        """
        every = await self._everywhere(lambda shard: shard.sweep())
        return TorrelqueSweepResult(*map(sum, zip(*every, strict=True)))

    def schedule_sweep(self, interval: Duration | None = None) -> None:
        """Sweep all shards now and every ``interval`` (s) from the running event loop, for queues whose consumers may
        all be away.

        :param interval: ``sweep_interval`` by default.  A sweep that fails is logged, and tried again in time.
        """
        if self._closed:
            raise self._told(TorrelqueClosedError('the queue was closed'))
        every = check_seconds(self.sweep_interval if interval is None else interval, 'interval', positive=True)
        if not every:
            raise TorrelqueValueError('interval must be more than 0 seconds')
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as exc:
            raise self._told(TorrelqueError('schedule_sweep needs a running event loop')) from exc
        self.unschedule_sweep()
        self._sweeping = loop.create_task(self._begin_to_sweep(every), name='torrelque sweep')

    async def _begin_to_sweep(self, interval: float) -> None:
        """Have each shard sweep by itself, so that one that is away keeps no other from it."""
        while not self._shards:
            try:
                await self._open()
            except TorrelqueClosedError:
                return
            except Exception as exc:
                logger.warning('queue %r: a scheduled sweep failed: %s', self.name, self._why(exc))
                await asyncio.sleep(interval)
        for shard in self._shards:
            shard.schedule_sweep(interval)

    def unschedule_sweep(self) -> None:
        """Stop what `schedule_sweep` began, at all shards."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
            for shard in self._shards:
                shard.unschedule_sweep()

    async def get_queue_stats(self) -> TorrelqueQueueStats:
        """How many tasks there are and in which place: sums of all shards, each at one moment, but not the same.

        :raises TorrelqueConnectionError: a shard is away, so that a sum would be too low; see `stats_of_shards`.
        """
        every = await self._everywhere(lambda shard: shard.get_queue_stats())
        return TorrelqueQueueStats(*map(sum, zip(*every, strict=True)))

    async def stats_of_shards(self) -> list[TorrelqueQueueStats | None]:
        """How many tasks each shard has and in which place, by its number; None where it does not answer.

        One that is away is waited for a second.
        """
        count = len(self._shards or await self._open())
        asked = [asyncio.ensure_future(self._stats_at(number)) for number in range(count)]
        try:
            await asyncio.wait(asked, timeout=LATE)
        finally:
            late = [one for one in asked if not one.done()]
            for one in late:
                one.cancel()
            if late:
                await asyncio.wait(late)
        return [None if one.cancelled() else one.result() for one in asked]

    async def _stats_at(self, number: int) -> TorrelqueQueueStats | None:
        try:
            return await (await self._at(number)).get_queue_stats()
        except TorrelqueConnectionError:
            return None

    async def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        """What the queue knows of a task, as `torrelque.Torrelque.get_task_state`.

        An id of the caller's own is asked for at the shard that it has without a group, then at all others at once.

        :raises TorrelqueLookupError: nothing: it never was enqueued, or is finished and forgotten.
        """
        return await self._seek(task_id, lambda shard: shard.get_task_state(task_id))

    # The servers

    async def command(self, *words: str | bytes | float) -> Any:
        """Send a command of the caller's own to the server of the ``home`` shard, whose keys ``keys`` has.

        For keys that lie beside those of another shard, ask that one: ``shard_of(…).command``.  The rest is as in
        `torrelque.Torrelque.command`.
        """
        if not self._shards:
            await self._open()
        return await (await self._at(0)).command(*words)

    @property
    def when_low(self) -> Callable[[list[str]], object] | None:
        """As of `torrelque.Torrelque`: is told of schedules that have fewer than eight instants left, by name."""
        return self._low

    @when_low.setter
    def when_low(self, call: Callable[[list[str]], object] | None) -> None:
        self._low = None if call is None else check_call(call, 'when_low', 'names')
        if self._shards:
            self._shards[0].when_low = call
