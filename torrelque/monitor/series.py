"""Which metrics there are, and their values out of what was read: the table that the documentation repeats.

A label never tells a worker, a host, a task or a group: each would make as many series as there are of these.  Groups
are told of by name where somebody has chosen them.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torrelque.operate import BUCKETS, GroupView, Overview

from .labels import clean
from .reading import Seen, Snapshot

Series = tuple[tuple[str, ...], tuple[float, ...]]
"""Values of labels, and the value; of a histogram the counts of its buckets, each with those before, and the sum; of a
metric that is split a value for each value of its last label."""


class Row(NamedTuple):
    """A metric."""

    name: str
    """Of a counter without ``_total``."""
    kind: str
    """'gauge', 'counter' or 'histogram'."""
    labels: tuple[str, ...]
    help: str
    series: Callable[[Snapshot], Iterable[Series]]
    split: tuple[str, ...] = ()
    """Values of the last label, where all of them are always there."""


BOUNDS = tuple('+Inf' if bound == float('inf') else repr(bound) for bound in BUCKETS)
"""What the buckets of all histograms are called."""


# What is told of a queue


def _each(tell: Callable[[Seen, Overview], Iterable[Series]]) -> Callable[[Snapshot], Iterator[Series]]:
    """The series of all queues that could be read, with the queue as the first label."""

    def series(snapshot: Snapshot) -> Iterator[Series]:
        for seen in snapshot.queues:
            if seen.overview is not None:
                name = clean(seen.queue)
                for labels, values in tell(seen, seen.overview):
                    yield (name, *labels), values

    return series


def _figure(name: str, value: Callable[[Overview], float]) -> Callable[[Snapshot], Iterator[Series]]:
    """One figure of the overview.  Where its key holds something else nothing is told, and not 0."""
    return _each(lambda _, one: [((), (value(one),))] if _is_known(one, name) else [])


def _figures(names: Mapping[str, str]) -> Callable[[Snapshot], Iterator[Series]]:
    """Several, with what tells them apart as a label."""

    def tell(_: Seen, one: Overview) -> Iterator[Series]:
        for label, name in names.items():
            if _is_known(one, name):
                yield (label,), (float(getattr(one, name)),)

    return _each(tell)


_CREW = frozenset(('workers', 'stuck', 'lost', 'slots', 'busy'))
_ABOUT = {'oldest': 'pending', 'late_schedules': 'schedules', 'dry_schedules': 'schedules',
          'paused_schedules': 'schedules'}  # fmt: skip
"""Figures that are bounds, and what is exact where they are known."""


def _is_known(one: Overview, name: str) -> bool:
    if name in _CREW:
        return one.workers_known
    return _ABOUT.get(name, name) in one.exact


def _age(one: Overview, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, one.server_time - since)


def _up(snapshot: Snapshot) -> Iterator[Series]:
    for seen in snapshot.queues:
        yield (clean(seen.queue),), (float(seen.overview is not None),)


def _shards(_: Seen, one: Overview) -> Iterator[Series]:
    for shard in one.away:
        yield (str(shard.number),), (1.0,)


def _broken(_: Seen, one: Overview) -> Iterator[Series]:
    yield (), (float(len(one.broken)),)


def _alerts(seen: Seen, _: Overview) -> Iterator[Series]:
    for name, fires in {clean(name): fires for name, fires in seen.alerts}.items():
        yield (name,), (float(fires),)


def _group(value: Callable[[GroupView, Overview], float]) -> Callable[[Snapshot], Iterator[Series]]:
    def tell(seen: Seen, one: Overview) -> Iterator[Series]:
        for group in seen.groups:
            yield (clean(group.name),), (value(group, one),)

    return _each(tell)


# What was counted


OUTCOMES = ('succeeded', 'retried', 'dead', 'lost')
"""What an attempt can come to; each is in one of them."""


def _attempts(seen: Seen, _: Overview) -> Iterator[Series]:
    for one in seen.functions:
        totals = one.totals
        yield (one.name,), (totals.succeeded, max(0, totals.failed - totals.dead), totals.dead, totals.lost)


def histogram(counts: Sequence[int], total: float) -> tuple[float, ...]:
    """Counts of buckets, each with those before, and the sum (s)."""
    return *itertools.accumulate(counts), total


def _runs(seen: Seen, _: Overview) -> Iterator[Series]:
    for one in seen.functions:
        yield (one.name,), histogram(one.run, one.totals.run_time)


def _waits(seen: Seen, _: Overview) -> Iterator[Series]:
    if seen.counts is not None:
        yield (), histogram(seen.counts.wait, seen.counts.wait_time)


_STATUS = ('pending', 'working', 'delayed', 'dead', 'waiting')
Q = ('queue',)

ROWS = (
    Row('torrelque_up', 'gauge', Q, 'Whether the queue could be read (1), or not (0).', _up),
    Row('torrelque_shard_away', 'gauge', (*Q, 'shard'),
        'A shard of the queue that has not answered, by its number: other figures are those of the rest (1).',
        _each(_shards)),
    Row('torrelque_tasks', 'gauge', (*Q, 'status'),
        'Tasks by status; waiting are tasks of flows that wait for others, and flows that go on.',
        _figures({name: name for name in _STATUS})),
    Row('torrelque_tasks_ready', 'gauge', Q,
        'Pending tasks that could be handed out at once, of each group one.', _figure('ready', lambda one: one.ready)),
    Row('torrelque_tasks_priority', 'gauge', Q,
        'Pending tasks that have a priority and no group.', _figure('priority', lambda one: one.priority)),
    Row('torrelque_tasks_overdue', 'gauge', Q,
        'Delayed tasks that are due, and were not moved by a sweep.', _figure('overdue', lambda one: one.overdue)),
    Row('torrelque_oldest_pending_age_seconds', 'gauge', Q,
        'How long the longest-waiting pending task has been ready, at least; 0 if none is pending.',
        _figure('oldest', lambda one: _age(one, one.oldest))),
    Row('torrelque_oldest_dead_age_seconds', 'gauge', Q,
        'How long the task that died first has been dead; 0 if none is.',
        _figure('oldest_dead', lambda one: _age(one, one.oldest_dead))),
    Row('torrelque_oldest_lease_overdue_seconds', 'gauge', Q,
        'How long ago the first lease ended whose task was not brought back by a sweep; 0 if there is none.',
        _figure('overdue_leases', lambda one: _age(one, one.overdue_since))),
    Row('torrelque_groups', 'gauge', (*Q, 'state'),
        'Groups that have a task or a slot in use (all), are paused, or wait for a token or a probe (rated).',
        _figures({'all': 'groups', 'paused': 'paused_groups', 'rated': 'rated'})),
    Row('torrelque_paused', 'gauge', Q,
        'Whether the whole queue is paused.', _figure('paused', lambda one: one.paused)),
    Row('torrelque_schedules', 'gauge', (*Q, 'state'),
        'Schedules (all), and those that are late, dry (their instants are used up), or paused.',
        _figures({'all': 'schedules', 'late': 'late_schedules', 'dry': 'dry_schedules',
                  'paused': 'paused_schedules'})),
    Row('torrelque_schedule_late_seconds', 'gauge', Q,
        'How long nobody has fired the schedule that is the latest; 0 if none is late.',
        _figure('late_schedules', lambda one: one.late_by)),
    Row('torrelque_workers', 'gauge', (*Q, 'state'),
        'Workers with a heartbeat: that live, that are stuck (among the living), that were lost in the last hour.',
        _figures({'live': 'workers', 'stuck': 'stuck', 'lost': 'lost'})),
    Row('torrelque_worker_slots', 'gauge', Q,
        'Tasks that living workers can have in hand at a time.', _figure('slots', lambda one: one.slots)),
    Row('torrelque_worker_slots_busy', 'gauge', Q,
        'Tasks that living workers have in hand.', _figure('busy', lambda one: one.busy)),
    Row('torrelque_attempts', 'counter', (*Q, 'task', 'outcome'),
        'Attempts by function and by what they came to.', _each(_attempts), OUTCOMES),
    Row('torrelque_run_seconds', 'histogram', (*Q, 'task'),
        'Run times of handlers by function.', _each(_runs)),
    Row('torrelque_wait_seconds', 'histogram', Q,
        'How long tasks had been ready when they were taken: a sample, so its count is no throughput.', _each(_waits)),
    Row('torrelque_group_waiting', 'gauge', (*Q, 'group'),
        'Pending tasks of a group that was chosen.', _group(lambda group, _: group.waiting)),
    Row('torrelque_group_oldest_age_seconds', 'gauge', (*Q, 'group'),
        'How long the first task of a group that was chosen has been ready; 0 if none is pending.',
        _group(lambda group, one: _age(one, group.oldest))),
    Row('torrelque_alert_firing', 'gauge', (*Q, 'rule'),
        'Whether a rule fires, of those that were looked at in the last five minutes.', _each(_alerts)),
    Row('torrelque_broken_keys', 'gauge', Q,
        'Keys of the queue that hold something else; figures that need them are left out.', _each(_broken)),
    Row('torrelque_scrape_seconds', 'gauge', (),
        'How long it took to read all queues.', lambda snapshot: [((), (snapshot.took,))]),
)  # fmt: skip
"""All metrics, in the order in which they are told."""
