"""What is wrong with sections that are well by themselves: what does not go together, and names that nobody has."""

import difflib
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import structs

from torrelque import TorrelqueError
from torrelque.tasks.address import DEFAULT

from .problems import Keys, nearest
from .reading import Reading
from .sections import (
    BreakerConfig,
    FileConfig,
    RetryConfig,
    RuleConfig,
    ScheduleConfig,
    WorkerConfig,
)

if TYPE_CHECKING:
    from torrelque.worker import Backoff, Breaker

Found = Iterator[tuple[Keys, str]]
"""Keys, and what is wrong with each."""

GRANTS = (
    'redrive', 'cancel', 'requeue', 'bury', 'pause', 'limit', 'sweep', 'enqueue', 'schedule', 'payload', 'all',
)  # fmt: skip
"""What ``allow`` may name; `torrelque.dashboard.GRANTS` has them, but needs the extra ``dashboard``."""
TIMES = ('oldest', 'dead_age', 'running', 'overdue', 'group_oldest', 'late')
"""What is a time, of what a rule may look at."""
NUMBERS = (
    'pending', 'ready', 'dead_new', 'stuck', 'tasks', 'working', 'delayed', 'dead', 'priority', 'groups', 'rated',
    'paused_groups', 'overdue_leases', 'workers', 'lost', 'slots', 'busy', 'waiting', 'schedules', 'late_schedules',
    'dry_schedules', 'paused_schedules', 'dry', 'shards_away',
)  # fmt: skip
"""What is a number: of the overview, any count."""
FLAGS = ('no_worker', 'stalled', 'paused')
"""What is so or is not: 1 or 0."""
WHENS = (*TIMES, *NUMBERS, *FLAGS, 'failed_share')
ALONE = ('oldest', 'failed_share', 'dead_new', 'no_worker', 'stalled', 'stuck', 'overdue', 'paused',
         'shards_away', 'late', 'dry')  # fmt: skip
"""What has a value from which on it is ill, without being told."""
LOG = 'log'
"""The sink that is always there."""
LONGEST_NAME = 100
"""Of rules and sinks."""
_SLIP = 0.75
"""How alike a name is to one that is declared, when it is taken for a slip of the pen."""


def find_problems(reading: Reading, wanted: Collection[str] | None) -> Found:
    """All that is wrong with these sections; None is all."""
    file, given = reading.file, reading.given
    if file.server.embedded is not None and not _is_plain_and_here(file.server.url or DEFAULT):
        why = 'is at an address like redis://localhost:6400: of this machine, and without a password'
        yield ('server', 'embedded'), f'an embedded server {why}'
    if wanted is None or 'workers' in wanted:
        for name, worker in file.workers.items():
            yield from _of_worker(worker, ('workers', name), given, [*file.queues])
    queues = queues_of(file)
    sinks = [keys[1] for keys in sorted(given) if keys[0] == 'sinks' and len(keys) == 2]
    for name, schedule in file.schedules.items():
        yield from _of_schedule(name, schedule, ('schedules', name), given, queues)
    for name in sinks:
        if name == LOG:
            yield ('sinks', name), f'the sink {LOG} is there already, and writes to the log: take another name'
        elif len(name) > LONGEST_NAME:
            yield ('sinks', name), f'a name has {LONGEST_NAME} characters at the most'
    for name, sink in file.sinks.items():
        if name != LOG and len(name) <= LONGEST_NAME:
            yield from _as_made(('sinks', name), 'sinks_of', {'webhook': sink.webhook})
    for name, rule in file.alerts.rules.items():
        if len(name) > LONGEST_NAME or not name.isprintable():
            yield ('alerts', name), f'a name has {LONGEST_NAME} characters at the most, all of which can be printed'
            continue
        keys = ('alerts', name)
        found = [*_of_rule(rule, keys, given, queues, sinks)]
        yield from found
        if not found and not any(one[:2] == keys for one, _ in reading.problems):
            told = {'for' if field == 'for_' else field: value for field, value in structs.asdict(rule).items()}
            yield from _as_made(keys, 'rules_of', told)
    for name in file.queues:
        if (file.queues[name].shards or file.queues[name].servers) and ('{' in name or '}' in name):
            yield ('queues', name), 'the name of a queue with shards has no braces, which its shards have'
        for group in file.queues[name].limits:
            if not group:
                yield ('queues', name, 'limits'), 'a group has a name of one character at least; * is all groups'
    for grant in file.dashboard.allow:
        if grant not in GRANTS:
            yield ('dashboard', 'allow'), f'there is no act {grant!r}; {nearest(grant, GRANTS)}'


def _is_plain_and_here(url: str) -> bool:
    parts = urlsplit(url)
    here = parts.hostname in ('localhost', '127.0.0.1') and parts.password is None
    return parts.scheme == 'redis' and here


def queues_of(file: FileConfig) -> list[str]:
    """The queues that a file names: those of ``[queues]``, and those that its workers serve."""
    found = [*file.queues]
    for worker in file.workers.values():
        found += [*(worker.queues or ()), *worker.steal]
    return [*dict.fromkeys(found)]


# Workers


def _of_worker(worker: WorkerConfig, keys: Keys, given: set[Keys], declared: list[str]) -> Found:
    has_app, has_handler = (*keys, 'app') in given, (*keys, 'handler') in given
    if has_app and has_handler:
        yield keys, 'it has an app or a handler, and not both'
    elif not has_app and not has_handler:
        yield keys, 'it needs app = "module:name", or handler = "module:name" and queues'
    if has_handler and (*keys, 'queues') not in given:
        yield keys, 'a handler needs queues, whose tasks it is given'
    for key, names in (('queues', [*(worker.queues or ())]), ('steal', [*worker.steal])):
        for name in names:
            if name not in declared and (near := _slip_of(name, declared)) is not None:
                yield (*keys, key), f'there is no queue {name!r}; did you mean {near}? If not, add [queues.{name}]'
    if both := {*(worker.queues or ())} & {*worker.steal}:
        yield (*keys, 'steal'), f'{sorted(both)[0]!r} is one of its queues; a queue is served, or stolen from'
    if isinstance(worker.retry, RetryConfig) and (*keys, 'retry') in given:
        yield from _of_value((*keys, 'retry'), lambda: backoff_of(worker.retry))
    if worker.breaker is not None:
        breaker = worker.breaker
        yield from _of_value((*keys, 'breaker'), lambda: breaker_of(breaker))


def _slip_of(name: str, declared: list[str]) -> str | None:
    """The declared name of which this one seems to be a slip of the pen.  Names that differ by what they end with, mail
    and mail-late, eu-1 and eu-2, are meant so."""
    for near in difflib.get_close_matches(name, declared, 1, _SLIP):
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(near, name, strict=False)))
        if same < min(len(near), len(name)) - 1:
            return near
    return None


def _of_value(keys: Keys, make: Callable[[], Any]) -> Found:
    try:
        make()
    except TorrelqueError as exc:
        yield keys, str(exc)


def backoff_of(retry: RetryConfig | float) -> 'Backoff | float':
    """The rule by which tasks are tried again."""
    from torrelque.worker import Backoff

    if isinstance(retry, RetryConfig):
        return Backoff(base=retry.base, factor=retry.factor, cap=retry.cap, jitter=retry.jitter)
    return retry


def breaker_of(breaker: BreakerConfig) -> 'Breaker':
    """When a worker pauses its queue."""
    from torrelque.worker import Breaker

    return Breaker(breaker.failures, breaker.share, breaker.window, breaker.pause, breaker.per)


def _as_made(keys: Keys, make: str, given: dict[str, Any]) -> Found:
    """What those say of a rule or a sink who make it: bounds, and what goes with a default."""
    from torrelque import monitor

    try:
        getattr(monitor, make)({keys[1]: given})
    except TorrelqueError as exc:
        yield keys, str(exc).partition(f' {keys[1]!r}: ')[2] or str(exc)


# Schedules


def _of_schedule(name: str, schedule: ScheduleConfig, keys: Keys, given: set[Keys], queues: Iterable[str]) -> Found:
    if (*keys, 'queue') in given:
        yield from _unknown_queues([schedule.queue], (*keys, 'queue'), queues)
    has = {key for key in ('cron', 'every', 'at', 'task', 'payload') if (*keys, key) in given}
    if len(has & {'cron', 'every', 'at'}) != 1:
        yield keys, 'when it fires is said by one of cron, every and at'
    if len(has & {'task', 'payload'}) != 1:
        yield keys, 'what it enqueues is said by one of task, with args and kwargs, and payload'
    for key, other in (('phase', 'every'), ('args', 'task'), ('kwargs', 'task')):
        if (*keys, key) in given and other not in has:
            yield (*keys, key), f'it goes with {other}'
    if (*keys, 'jitter') in given and 'at' in has:
        yield (*keys, 'jitter'), 'it goes with cron and every'
    if schedule.overlap == 'queue' and schedule.group is not None:
        yield (*keys, 'overlap'), 'firings that queue are in a group of their own, so there is no other group'
    for key, value in (('args', schedule.args), ('kwargs', schedule.kwargs), ('payload', schedule.payload)):
        if not _is_json(value):
            yield (*keys, key), 'a task is JSON, which has no dates, times, inf or nan: write a text'
    if schedule.timezone is not None and not _is_zone(schedule.timezone):
        yield (*keys, 'timezone'), f'there is no time zone {schedule.timezone!r}, such as Europe/Berlin'
    elif schedule.cron is not None:
        yield from _of_cron(name, schedule, keys)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
    return True


def _of_cron(name: str, schedule: ScheduleConfig, keys: Keys) -> Found:
    try:
        from torrelque.cron import When
    except ImportError:
        return  # without the extra, whoever sets it says so
    try:
        When(schedule.cron, None, schedule.timezone or 'UTC', 0, schedule.jitter or 0).due(name)
    except TorrelqueError as exc:
        yield (*keys, 'cron'), str(exc)


def _unknown_queues(names: Iterable[str], keys: Keys, queues: Iterable[str]) -> Found:
    known = [*queues]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            yield keys, f'there is no queue {name!r} in this file, which [queues.{name}] would be; {near}'


# Alerts


def _of_rule(rule: RuleConfig, keys: Keys, given: set[Keys], queues: Iterable[str], sinks: list[str]) -> Found:
    if rule.queue is not None:
        yield from _unknown_queues(rule.queue, (*keys, 'queue'), queues)
    for sink in rule.to or ():
        if sink not in (LOG, *sinks):
            near = nearest(sink, (LOG, *sinks))
            yield (*keys, 'to'), f'there is no sink {sink!r}, which [sinks.{sink}] would be; {near}'
    if rule.to is not None and not rule.to:
        yield (*keys, 'to'), 'nobody would be told; without this key all sinks are'
    if rule.when not in WHENS:
        yield (*keys, 'when'), f'nothing is called {rule.when!r}; {nearest(rule.when, WHENS)}'
        return
    if rule.when not in ALONE and (*keys, 'above') not in given:
        yield keys, f'above is missing: {rule.when} has no value of its own from which on it is ill'
    if rule.when == 'failed_share':
        for key, value in (('above', rule.above), ('below', rule.below)):
            if value is not None and not 0 <= value <= 1:
                yield (*keys, key), f'a share is a number from 0 to 1, not {value:g}'
    elif rule.at_least is not None:
        yield (*keys, 'at_least'), 'it goes with failed_share'
    if rule.above is not None and rule.below is not None and rule.below > rule.above:
        yield (*keys, 'below'), 'it is more than above, so the alert would end where it begins'
