"""The figures of a queue at one moment: one script, whose cost does not grow with the queue, and the hearts.

Other layers may import the names in `__all__`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torrelque import TorrelqueQueue, TorrelqueServerError

from . import crew, scheduled
from .asking import ask
from .figures import Overview
from .parts import AwayError, ask_parts, parts_of
from .reading import instant_of, probe_of, text_of
from .values import WorkerView

__all__ = ['Figures', 'counts_of_shards']

_CREW = ('workers', 'lost', 'stuck', 'slots', 'busy')
_COUNTS = ('tasks', 'pending', 'working', 'delayed', 'dead', 'ready', 'priority', 'groups', 'rated', 'paused_groups')
_SCHEDULES = ('late_schedules', 'dry_schedules', 'paused_schedules')
_SUMS = ('waiting', 'overdue', 'overdue_leases', 'schedules', *_SCHEDULES)
_STATES = ('lost', 'stopped', 'stopping', 'new', 'running', 'stuck')
"""What a worker can be; of what several hearts tell of one, the last of these counts."""
_NEEDS = {
    'tasks': ('tasks',),
    'pending': ('tasks', 'working', 'delayed', 'dead', 'waiting'),
    'working': ('working',),
    'delayed': ('delayed',),
    'dead': ('dead',),
    'ready': ('pending', 'holes', 'priority', 'heads'),
    'priority': ('priority',),
    'groups': ('groups',),
    'rated': ('rated',),
    'paused': ('paused',),
    'probe': ('paused', 'probes'),
    'paused_groups': ('paused',),
    'oldest_dead': ('dead',),
    'newest_dead': ('dead',),
    'next_delayed': ('delayed',),
    'overdue': ('delayed',),
    'overdue_leases': ('working',),
    'schedules': ('schedules',),
    'waiting': ('waiting',),
}
"""Figures that are exact, with short names of the keys that they are made of."""


class Figures(NamedTuple):
    """The reply of the script."""

    now: float
    broken: tuple[str, ...]
    beating: bool
    """Whether any worker has a heartbeat."""
    tasks: int
    working: int
    delayed: int
    dead: int
    priority: int
    length: int
    """Of the list of plain tasks."""
    holes: int
    heads: int
    groups: int
    rated: int
    paused: int
    """Groups that are paused, the queue itself counted as one."""
    halted: bool
    overdue: int
    overdue_leases: int
    probe: bytes | None
    oldest: bytes | None
    looked_at: int
    first_dead: bytes | None
    last_dead: bytes | None
    first_delayed: bytes | None
    schedules: int
    waiting: int
    first_ended: bytes | None

    @property
    def pending(self) -> int:
        """Tasks that are in no other place."""
        return max(0, self.tasks - self.working - self.delayed - self.dead - self.waiting)

    @property
    def ready(self) -> int:
        """Plain tasks, those with a priority, heads of groups."""
        return max(0, self.length - self.holes) + self.priority + self.heads

    def count(self, place: str) -> int:
        """How many tasks are in a place, holes of lists counted."""
        if place in ('turns', 'group', 'orphaned'):
            grouped = max(0, self.pending - max(0, self.length - self.holes) - self.priority)
            return {'turns': self.heads, 'group': grouped, 'orphaned': self.working}[place]
        found: int = getattr(self, place)
        return found


async def read_figures(queue: TorrelqueQueue) -> Figures:
    """The figures of one queue, without hearts."""
    now, broken, beating, *rest = await ask(queue, 'overview')
    names = tuple(sorted(text_of(name) for name in broken))
    figures = Figures(int(now) / 1000, names, bool(beating), *rest)
    return figures._replace(halted=bool(figures.halted))


async def counts_of_shards(queue: TorrelqueQueue) -> list[Figures | None]:
    """The figures of each shard, by its number; None of one that does not answer.

    :raises TorrelqueServerError: a server refused it.
    """
    parts = await parts_of(queue)

    async def count(part: TorrelqueQueue) -> tuple[TorrelqueQueue, Figures]:
        return part, await read_figures(part)

    try:
        found = dict((await ask_parts(parts, count))[0])
    except AwayError:
        return [None] * len(parts)
    return [found.get(part) for part in parts]


async def read_overview(queue: TorrelqueQueue) -> Overview:
    """The overview of one queue; one that the server refuses has an ``error``."""
    found, _ = await _read_whole(queue)
    return found


async def read_together(queues: Iterable[TorrelqueQueue]) -> Overview:
    """Several queues as one.  A worker that serves several of them is counted once."""
    found = [await _read_whole(queue) for queue in queues]
    return add([one for one, _ in found], [workers for _, workers in found])


async def _read_whole(queue: TorrelqueQueue) -> tuple[Overview, Sequence[WorkerView]]:
    """The overview of one queue, and its workers.  Of a queue of several parts it is a sum, without those that do not
    answer."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await _read(parts[0])
    found, away = await ask_parts(parts, _read)
    crews = [workers for _, workers in found]
    whole = add([one for one, _ in found], crews, queue.name)
    if away and away[0].number == 0:
        # Schedules and hearts are there.
        whole = replace(whole, exact=tuple(name for name in whole.exact if 'schedules' not in name))
    return replace(whole, away=away), crews[0]


async def _read(queue: TorrelqueQueue) -> tuple[Overview, Sequence[WorkerView]]:
    """The overview of one queue in one place, and its workers."""
    workers: Sequence[WorkerView] = ()
    try:
        figures = await read_figures(queue)
    except TorrelqueServerError as exc:
        return _make(queue.name, {}, error=str(exc)), workers
    broken = list(figures.broken)
    values: dict[str, Any] = {
        'server_time': figures.now,
        'paused': figures.halted,
        'probe': probe_of(figures.probe, figures.now) if figures.halted else None,
        'paused_groups': max(0, figures.paused - figures.halted),
        'oldest': instant_of(figures.oldest),
        'oldest_dead': instant_of(figures.first_dead),
        'newest_dead': instant_of(figures.last_dead),
        'next_delayed': instant_of(figures.first_delayed),
        'overdue': figures.overdue,
        'overdue_leases': figures.overdue_leases,
        'overdue_since': instant_of(figures.first_ended),
        'schedules': figures.schedules,
        'waiting': figures.waiting,
        **{name: getattr(figures, name) for name in _COUNTS if name != 'paused_groups'},
    }
    exact = [name for name, keys in _NEEDS.items() if not set(keys) & set(broken)]
    if figures.looked_at >= figures.pending and not broken:
        exact.append('oldest')
    if figures.schedules:
        timetable = await scheduled.read_timetable(queue)
        values |= _of_schedules(timetable)
        exact += _SCHEDULES if timetable.whole and not timetable.broken else ()
        broken += [name for name in timetable.broken if name not in broken]
    else:
        exact += _SCHEDULES if 'schedules' in exact else ()
    if figures.beating:
        try:
            workers = await crew.read_workers(queue, running=False)
        except TorrelqueServerError:
            broken.append('workers')
    values |= {'exact': tuple(exact), 'broken': tuple(broken), **_count_workers([workers])}
    return _make(queue.name, values), workers


def _of_schedules(timetable: scheduled.Timetable) -> dict[str, Any]:
    return {
        'schedules': timetable.total,
        'late_schedules': timetable.late,
        'late_since': timetable.since,
        'late_names': timetable.late_names,
        'dry_schedules': timetable.dry,
        'dry_names': timetable.dry_names,
        'paused_schedules': timetable.paused,
    }


def _make(name: str, values: dict[str, Any], error: str | None = None) -> Overview:
    none: dict[str, Any] = dict.fromkeys((*_COUNTS, *_CREW, 'overdue', 'overdue_leases'), 0)
    none |= dict.fromkeys(('probe', 'oldest', 'oldest_dead', 'newest_dead', 'next_delayed'))
    none |= {'server_time': 0.0, 'paused': False, 'exact': (), 'broken': ()}
    return Overview(queue=name, error=error, **{**none, **values})


def _count_workers(crews: Iterable[Sequence[WorkerView]]) -> dict[str, int]:
    """The workers of some queues, each once: one that lives by the heart of one queue lives."""
    # Names of workers are unique.  Where they are not, it seldom happens that so much else is the same.
    found: dict[tuple[str, int], WorkerView] = {}
    for workers in crews:
        for worker in workers:
            key = worker.name, worker.concurrency
            known = found.get(key)
            if known is None or _STATES.index(worker.state) > _STATES.index(known.state):
                found[key] = worker
    live = [worker for worker in found.values() if worker.state != 'lost']
    return {
        'workers': len(live),
        'lost': len(found) - len(live),
        'stuck': sum(worker.state == 'stuck' for worker in live),
        'slots': sum(worker.concurrency for worker in live),
        'busy': sum(worker.busy for worker in live),
    }


def add(
    overviews: Sequence[Overview], crews: Sequence[Sequence[WorkerView]], name: str | None = None
) -> Overview:
    """Several queues as one, with the workers of each.  Where one has an error, the figures are those of the others,
    and none is exact.

    :param name: of the queue, where they are its parts.
    """
    if len(overviews) == 1:
        return overviews[0]
    fine = [one for one in overviews if one.error is None]
    errors = [one.error for one in overviews if one.error is not None]

    def first(name: str, which: Any = min) -> float | None:
        found: Iterable[float | None] = [getattr(one, name) for one in fine]
        return which((it for it in found if it is not None), default=None)  # type: ignore[no-any-return]

    def of_each(field: str) -> tuple[str, ...]:
        pairs = [(one.queue, text) for one in fine for text in getattr(one, field)]
        return tuple(dict.fromkeys(text if name is not None else f'{queue}: {text}' for queue, text in pairs))

    return Overview(
        queue=', '.join(one.queue for one in overviews) if name is None else name,
        server_time=max((one.server_time for one in fine), default=0.0),
        paused=any(one.paused for one in fine),
        probe=first('probe'),
        oldest=first('oldest'),
        oldest_dead=first('oldest_dead'),
        newest_dead=first('newest_dead', max),
        next_delayed=first('next_delayed'),
        exact=tuple(
            name
            for name in (*_NEEDS, 'oldest', *_SCHEDULES)
            if not errors and all(name in one.exact for one in fine)
        ),
        broken=of_each('broken'),
        error='; '.join(errors) or None,
        away=tuple(shard for one in overviews for shard in one.away),
        late_since=first('late_since'),
        overdue_since=first('overdue_since'),
        late_names=of_each('late_names'),
        dry_names=of_each('dry_names'),
        **{name: sum(getattr(one, name) for one in fine) for name in (*_COUNTS, *_SUMS)},
        **_count_workers(crews),
    )
