"""What is wrong with a queue now, in words, and the page that tells more."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torrelque.operate import Act, AlertView, Overview

from .links import link
from .wording import duration, number

LONG = 300.0
"""s that the oldest task may wait before it is worth a word."""
LATE = 1.0
"""s that a schedule may be late before that is worth a word."""


class Doubt(NamedTuple):
    """Something that is wrong, or worth a word."""

    queue: str
    level: str
    """'bad' or 'warn'."""
    text: str
    href: str
    more: str
    """What the page behind it is called."""


def pauses_of(acts: Iterable[Act]) -> dict[str, Act]:
    """By whom the queues were paused last, as far as that is on record."""
    found: dict[str, Act] = {}
    over: set[str] = set()
    for act in acts:
        if act.act in ('pause', 'resume') and act.what.startswith('the queue') and act.queue not in over:
            over.add(act.queue)
            if act.act == 'pause':
                found[act.queue] = act
    return found


def find_troubles(one: Overview, pause: Act | None = None, alerts: Iterable[AlertView] = ()) -> list[Doubt]:
    """What is wrong with a queue; the gravest first.

    :param alerts: those that fire.
    """
    told = [Doubt(one.queue, 'bad', _of_alert(alert), link('acts', q=one.queue), 'since when') for alert in alerts]
    return told + [
        Doubt(one.queue, level, text, link(page, q=one.queue, **query), more)
        for level, text, page, query, more in _find(one, pause)
    ]


def _of_alert(alert: AlertView) -> str:
    lasts = duration(max(0.0, alert.server_time - (alert.began or alert.since)))
    return f'has an alert, {alert.rule}, for {lasts}: {alert.words}'


def _find(one: Overview, pause: Act | None) -> Iterator[tuple[str, str, str, dict[str, str], str]]:
    now = one.server_time
    if one.error is not None:
        yield 'bad', f'cannot be read: {one.error}', 'queue', {}, 'the queue'
        return
    for shard in one.away:
        yield 'bad', f'lacks {shard}, which is away: {shard.why}', 'queue', {}, 'the queue'
    if one.broken:
        yield 'bad', f'has keys that hold something else: {", ".join(one.broken)}', 'queue', {}, 'the queue'
    if one.paused:
        by = '' if pause is None else f' for {duration(max(0.0, now - pause.time))}, by {pause.who}'
        probe = '' if one.probe is None else f'; the next probe goes in {duration(max(0.0, one.probe - now))}'
        yield 'warn', f'is paused{by}{probe}', 'queue', {}, 'resume it'
    if one.stuck:
        yield 'bad', f'{plural(one.stuck, "worker is", "workers are")} stuck', 'workers', {}, 'workers'
    if one.lost:
        text = f'{plural(one.lost, "worker was", "workers were")} lost in the last hour'
        yield 'warn', text, 'workers', {}, 'workers'
    if one.pending and not one.ready and not one.paused and not one.broken:
        yield 'warn', f'none of {number(one.pending)} pending tasks can be handed out now', 'queue', {}, 'why'
    if (age := one.oldest_age) is not None and age >= LONG:
        yield 'warn', f'the oldest task has waited for {duration(age)} or longer', 'queue', {}, 'why'
    if one.paused_groups:
        text = f'{plural(one.paused_groups, "group is", "groups are")} paused'
        yield 'warn', text, 'groups', {}, 'groups'
    if one.overdue_leases:
        text = f'{plural(one.overdue_leases, "lease has", "leases have")} ended, and nobody brings the tasks back'
        yield 'warn', text, 'tasks', {'place': 'working'}, 'tasks'
    if one.overdue:
        text = f'{plural(one.overdue, "delayed task is", "delayed tasks are")} due, and nobody sweeps'
        yield 'warn', text, 'tasks', {'place': 'delayed'}, 'tasks'
    yield from _of_schedules(one)
    if one.dead:
        last = '' if one.newest_dead is None else f', the newest {duration(max(0.0, now - one.newest_dead))} ago'
        yield 'bad', f'{plural(one.dead, "task is", "tasks are")} dead{last}', 'errors', {}, 'errors'


def _of_schedules(one: Overview) -> Iterator[tuple[str, str, str, dict[str, str], str]]:
    if one.late_schedules and one.late_by > LATE:
        text = f'{plural(one.late_schedules, "schedule is", "schedules are")} late, by up to {duration(one.late_by)}'
        yield 'warn', text, 'schedules', {}, 'schedules'
    if one.dry_schedules:
        yield 'warn', f'{plural(one.dry_schedules, "schedule is", "schedules are")} dry', 'schedules', {}, 'schedules'


def plural(count: int, one: str, many: str) -> str:
    """A number and its noun."""
    return f'{number(count)} {one if count == 1 else many}'
