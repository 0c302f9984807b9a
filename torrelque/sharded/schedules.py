"""The verbs of schedules, of the queue with shards for coroutines: all are in the home shard."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any

from torrelque import Duration, TorrelqueSchedule, TorrelqueTaskId, TorrelqueValueError

from .placing import Placing

Instant = float | datetime
"""A moment, as `torrelque.Torrelque.set_schedule` takes it."""


class Schedules(Placing):
    """What a queue object has for tasks that come again and again."""

    async def set_schedule(
        self,
        name: str,
        task: Any,
        *,
        times: Iterable[Instant] | None = None,
        every: Duration | None = None,
        phase: Duration = 0,
        task_timeout: Duration | None = None,
        max_attempts: int | None = None,
        group: str | None = None,
        priority: int = 0,
        overlap: str = 'skip',
        missed: str = 'latest',
        grace: Duration | None = None,
        until: Instant | None = None,
        spec: Any = None,
        source: str | None = None,
        revision: int | None = None,
    ) -> bool:
        """Have a task enqueued at some instants, again and again, as `torrelque.Torrelque.set_schedule`.

        All schedules are in the home shard, and so are the tasks that they enqueue: some thousand a second are no
        burden for it.  A task that is to have a group of another shard is enqueued by a task of the schedule.

        :param group: only one whose tasks are in the home shard; ``overlap='queue'`` needs none.
        :raises TorrelqueValueError: the group is of another shard, or something else cannot be meant; nothing was sent.
        """
        if not self._shards:
            await self._open()

        async def set_it() -> bool:
            if group is not None and self._number_of_group(group) != 0:
                raise self._told(TorrelqueValueError(
                    f'schedules are in the first shard, and group {group!r} is in another: let the task of the '
                    'schedule enqueue one of the group'
                ))  # fmt: skip
            its_group = None if group is None else self._routed(group)
            return await (await self._at(0)).set_schedule(
                name, task, times=times, every=every, phase=phase, task_timeout=task_timeout,
                max_attempts=max_attempts, group=its_group, priority=priority, overlap=overlap, missed=missed,
                grace=grace, until=until, spec=spec, source=source, revision=revision,
            )  # fmt: skip

        return await self._heeding(set_it)

    async def extend_schedule(
        self, name: str, times: Iterable[Instant], *, after: Instant | None, spec: Any = None
    ) -> bool:
        """Append instants to a schedule, as `torrelque.Torrelque.extend_schedule`."""
        await self.ready()
        return await (await self._at(0)).extend_schedule(name, times, after=after, spec=spec)

    async def remove_schedule(self, name: str, *, source: str | None = None, revision: int | None = None) -> bool:
        """Forget a schedule, as `torrelque.Torrelque.remove_schedule`; tasks that it has enqueued stay."""
        await self.ready()
        return await (await self._at(0)).remove_schedule(name, source=source, revision=revision)

    async def pause_schedule(self, name: str) -> bool:
        """Pass over what is due from now on, until ``resume_schedule``; whether that has changed it."""
        await self.ready()
        return await (await self._at(0)).pause_schedule(name)

    async def resume_schedule(self, name: str) -> bool:
        """Have a schedule fire again, from now on; whether that has changed it."""
        await self.ready()
        return await (await self._at(0)).resume_schedule(name)

    async def fire(self, name: str, *times: Instant) -> list[TorrelqueTaskId]:
        """Enqueue the task of a schedule now, as `torrelque.Torrelque.fire`, paused or not."""
        await self.ready()
        return await (await self._at(0)).fire(name, *times)

    async def get_schedule(self, name: str) -> TorrelqueSchedule:
        """A schedule, as `torrelque.Torrelque.get_schedule`."""
        await self.ready()
        return await (await self._at(0)).get_schedule(name)

    async def get_schedules(self, prefix: str = '') -> AsyncGenerator[TorrelqueSchedule, None]:
        """The schedules whose names begin with a text, in no order, as `torrelque.Torrelque.get_schedules`."""
        await self.ready()
        async for schedule in (await self._at(0)).get_schedules(prefix):
            yield schedule
