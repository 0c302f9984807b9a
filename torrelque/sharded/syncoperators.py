"""The verbs of operators, and those of schedules, of the synchronous queue with shards."""

import functools
import logging
import random
from collections.abc import Generator, Iterable
from typing import Any

from torrelque import (
    Duration,
    TorrelqueConnectionError,
    TorrelqueDeath,
    TorrelqueError,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueQueueStats,
    TorrelqueSchedule,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_count, check_iterable

from . import inside, shards
from .common import PATIENCE
from .schedules import Instant
from .syncgrow import Following
from .takers import at_once

logger = logging.getLogger(__package__)


class Operators(Following):
    """What a queue object has for operators."""

    # Groups

    def set_limit(
        self,
        group: str | None = None,
        *,
        concurrency: float | None = None,
        rate: tuple[int, Duration] | float | None = None,
    ) -> None:
        """Set both limits of a group, or the default of all groups, as the asynchronous one."""
        if group is None:
            self._everywhere(lambda shard: shard.set_limit(None, concurrency=concurrency, rate=rate), changes=True)
        else:
            self._with_group(group, lambda shard: shard.set_limit(group, concurrency=concurrency, rate=rate))

    def get_limits(self) -> dict[str | None, TorrelqueLimit]:
        """All limits as they were set, by group; the default, which has the key None, is that of the home shard."""
        every = self._everywhere(lambda shard: shard.get_limits())
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

    def pause(self, group: str | None = None, *, probe: Duration | None = None) -> None:
        """Hand out no more tasks, of a group or of the whole queue, as the asynchronous one."""
        if group is None:
            self._everywhere(lambda shard: shard.pause(None, probe=probe), changes=True)
        else:
            self._with_group(group, lambda shard: shard.pause(group, probe=probe))

    def resume(self, group: str | None = None, *, probing: bool = False) -> bool:
        """End a ``pause``, as the asynchronous one; whether it is not paused any more."""
        if group is None:
            return all(self._everywhere(lambda shard: shard.resume(None, probing=probing), changes=True))
        return self._with_group(group, lambda shard: shard.resume(group, probing=probing))

    def get_group_stats(self, group: str) -> TorrelqueGroupStats:
        """How many tasks of a group wait, its slots and limits, as the asynchronous one."""
        return self._of_group(group).get_group_stats(group)

    def groups(self) -> Generator[str, None, None]:
        """Names of the groups that have tasks, as the asynchronous one; the generator is a plain one."""
        for number in range(len(self._all())):
            yield from self._at(number).groups()

    # Tasks

    def redrive(self, *task_ids: str, limit: int | None = None) -> int:
        """Bring dead tasks back, as the asynchronous one."""
        count = len(self._all())
        if task_ids:
            named: dict[int, list[str]] = {}
            for task_id in task_ids:
                number, certain = self._number_of_id(task_id, now=True)
                # Where nobody knows which shard has it, it is named to all: it is dead in one.
                for one in [number] if certain else range(count):
                    named.setdefault(one, []).append(task_id)
        else:
            named = {number: [] for number in range(count)}
        done = 0
        for number, some in sorted(named.items()):
            if limit is not None and done >= check_count(limit, 'limit'):
                break
            left = None if limit is None else limit - done
            done += self._at(number).redrive(*some, limit=left)
            self._carry(number)
        return done

    def take_deaths(self, max_tasks: int = 50, *, again_after: Duration = 60) -> list[TorrelqueDeath]:
        """Learn of tasks that died where nobody saw it, as the asynchronous one."""
        count, most = len(self._all()), min(50, check_count(max_tasks, 'max_tasks'))
        found: list[TorrelqueDeath] = []
        silent: TorrelqueConnectionError | None = None
        answered = False
        for number in random.sample(range(count), count):
            if count > 1 and number in self._probed:
                silent = TorrelqueConnectionError(f'shard {number} is away')
                continue
            try:
                some = self._at(number).take_deaths(most - len(found), again_after=again_after)
                answered = True
            except TorrelqueConnectionError as exc:
                silent = exc
                continue
            for death in some:
                inside.mark(death.id, number)
            found += some
            if len(found) >= most:
                break
        if silent is not None and not answered:
            raise silent
        return found

    def acknowledge_deaths(self, task_ids: Iterable[TorrelqueTaskId]) -> None:
        """Say that nobody needs to be told of these deaths any more, as the asynchronous one."""
        ids = [*check_iterable(task_ids)]
        for task_id in ids:
            if not isinstance(task_id, TorrelqueTaskId) or not task_id.token:
                raise TorrelqueValueError(f'a death is acknowledged by the id of its delivery, not by {task_id!r}')

        for number, places in self._by_shard(ids).items():
            some: Any = [ids[place] for place in places]
            self._at(number).acknowledge_deaths(some)

    def sweep(self) -> TorrelqueSweepResult:
        """Bring back all tasks that are due and those whose lease has run out, as the asynchronous one."""
        every = self._everywhere(lambda shard: shard.sweep())
        return TorrelqueSweepResult(*map(sum, zip(*every, strict=True)))

    def get_queue_stats(self) -> TorrelqueQueueStats:
        """How many tasks there are and in which place: sums of all shards, as the asynchronous one."""
        every = self._everywhere(lambda shard: shard.get_queue_stats())
        return TorrelqueQueueStats(*map(sum, zip(*every, strict=True)))

    def stats_of_shards(self) -> list[TorrelqueQueueStats | None]:
        """How many tasks each shard has and in which place, by its number; None where it does not answer.

        All are asked at once for a sign of life, and one that is away is waited for a second.
        """
        found: list[TorrelqueQueueStats | None] = []
        count = len(self._all())
        up = at_once([functools.partial(self._answers, number) for number in range(count)])
        for number in range(count):
            try:
                found.append(self._at(number).get_queue_stats() if up[number] else None)
            except TorrelqueConnectionError:
                found.append(None)
        return found

    def _answers(self, number: int) -> bool:
        shard = self._shards[number]
        try:
            inside.ask(shard, ('GET', shards.key_of(shard.name)), PATIENCE)
        except TorrelqueConnectionError:
            return False
        except TorrelqueError:
            # It says no, but it is there; of what it is asked next it says so again.
            pass
        return True

    def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        """What the queue knows of a task, as the asynchronous one."""
        return self._seek(task_id, lambda shard: shard.get_task_state(task_id))

    # The servers

    def command(self, *words: str | bytes | float) -> Any:
        """Send a command of the caller's own to the server of the home shard, as the asynchronous one."""
        return self._at(0).command(*words)

    # Schedules

    def set_schedule(
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
        """Have a task enqueued at some instants, again and again, as the asynchronous one."""
        self._all()

        def set_it() -> bool:
            shape = self._shape
            if group is not None and shards.of_group(group, shape.keyed) != 0:
                raise self._told(TorrelqueValueError(
                    f'schedules are in the first shard, and group {group!r} is in another: let the task of the '
                    'schedule enqueue one of the group'
                ))  # fmt: skip
            its_group = None if group is None else inside.Routed(group, shape.keyed)
            return self._at(0).set_schedule(
                name, task, times=times, every=every, phase=phase, task_timeout=task_timeout,
                max_attempts=max_attempts, group=its_group, priority=priority, overlap=overlap, missed=missed,
                grace=grace, until=until, spec=spec, source=source, revision=revision,
            )  # fmt: skip

        return self._heeding(set_it)

    def extend_schedule(
        self, name: str, times: Iterable[Instant], *, after: Instant | None, spec: Any = None
    ) -> bool:
        """Append instants to a schedule, as the asynchronous one."""
        return self._at(0).extend_schedule(name, times, after=after, spec=spec)

    def remove_schedule(self, name: str, *, source: str | None = None, revision: int | None = None) -> bool:
        """Forget a schedule, as the asynchronous one."""
        return self._at(0).remove_schedule(name, source=source, revision=revision)

    def pause_schedule(self, name: str) -> bool:
        """Pass over what is due from now on, as the asynchronous one."""
        return self._at(0).pause_schedule(name)

    def resume_schedule(self, name: str) -> bool:
        """Have a schedule fire again, as the asynchronous one."""
        return self._at(0).resume_schedule(name)

    def fire(self, name: str, *times: Instant) -> list[TorrelqueTaskId]:
        """Enqueue the task of a schedule now, or for some instants, as the asynchronous one."""
        return self._at(0).fire(name, *times)

    def get_schedule(self, name: str) -> TorrelqueSchedule:
        """A schedule, as the asynchronous one."""
        return self._at(0).get_schedule(name)

    def get_schedules(self, prefix: str = '') -> Generator[TorrelqueSchedule, None, None]:
        """The schedules whose names begin with a text, as the asynchronous one; the generator is a plain one."""
        yield from self._at(0).get_schedules(prefix)
