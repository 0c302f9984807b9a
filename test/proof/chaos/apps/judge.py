"""What must hold of a run, rule by rule; each is tested on made-up tales, and is missed where it is left out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from proof.chaos.apps.app import LIMITS, SCHEDULES
from proof.chaos.apps.tale import Attempt, Firing, Send, Tale
from proof.invariants import Fault

ROUNDING = 3.0
"""ms by which instants of the server, and those that are written down, may be off."""
GRACE, ORPHANED = 3000.0, 1500.0
"""ms within which who has lost a lease, or whose worker was killed, has ended, on a machine that has other things to
do."""
MOST_LOST = 10
"""Leases of one task that a busy machine may cost it."""
FIFO = 'fifo:'
WHERE_IT_WAITS = ('PENDING', 'WORKING', 'DELAYED', 'WAITING')


# Tasks


def check_lost(tale: Tale) -> Iterator[Fault]:
    """What was acknowledged has come to its end."""
    for send in tale.sends.values():
        if not send.is_sure or send.id is None or tale.is_forgiven(send.at, send.until):
            continue
        status = tale.finals.get(send.id, '')
        if tale.is_late and status in WHERE_IT_WAITS:
            continue
        if status != 'COMPLETED' and not (send.kind == 'perishes' and status in ('DEAD', 'CANCELLED')):
            yield Fault(5, send.n, f'{send.id} was acknowledged, and is {status or "not known"} in the end')


def check_done(tale: Tale) -> Iterator[Fault]:
    """What has completed was done, and nothing is released before."""
    for send in tale.sends.values():
        ids = [*send.parts, f'{send.id}.total'] if send.parts else [send.id]
        if send.id and tale.finals.get(send.id) == 'COMPLETED':
            for one in ids:
                if not any(attempt.has_returned for attempt in tale.attempts.get(str(one), [])):
                    yield Fault(5, send.n, f'{one} has completed, and no function has returned')
    for attempt in tale.all_attempts():
        if attempt.released + ROUNDING < attempt.ended and attempt.released < math.inf:
            yield Fault(3, attempt.n, f'{attempt.id} was released, and its function had not returned')


def check_once(tale: Tale) -> Iterator[Fault]:
    """However often a call is sent, it is one task; and each hand-out is to one."""
    ids: dict[int, set[str]] = defaultdict(set)
    for attempt in tale.all_attempts():
        if attempt.n is not None:
            ids[attempt.n].add(attempt.id)
    for n, found in ids.items():
        if len(found) > 1:
            yield Fault(6, n, f'it is {len(found)} tasks: {sorted(found)}')
    for text in tale.twice:
        yield Fault(4, None, f'{text} has begun twice')


def check_over(tale: Tale) -> Iterator[Fault]:
    """What is known to have been released is handed out no more."""
    for attempts in tale.attempts.values():
        end = min(attempt.released for attempt in attempts)
        for attempt in attempts:
            if attempt.claimed > end + ROUNDING and not tale.is_forgiven(end, attempt.claimed):
                yield Fault(4, attempt.n, f'{attempt.id} was handed out {attempt.claimed - end:.0f} ms after its end')


def check_alone(tale: Tale) -> Iterator[Fault]:
    """A task is handed out again only when its lease has ended, or was given back."""
    for attempts in tale.attempts.values():
        for one, other in pairwise(attempts):
            # What has returned is released, or nobody does anything about it until its lease is over.
            ended = math.inf if one.has_returned else one.ended
            free = min(one.leased, ended, tale.was_given_back(one))
            early = free - other.claimed
            if early > ROUNDING and not tale.is_forgiven(one.claimed, other.claimed):
                yield Fault(4, one.n, f'{one.id} was handed out {early:.0f} ms too early, beside {one.token}')


def check_ending(tale: Tale) -> Iterator[Fault]:
    """Who has lost the lease, or the worker, does not go on for long."""
    for attempts in tale.attempts.values():
        for one, other in pairwise(attempts):
            end = tale.could_run((one.pid, one.parent), other.began) + GRACE
            if one.fn not in ('blocks', 'waits', 'holds_thread') and one.last > end:
                yield Fault(4, one.n, f'{one.id} {one.token} goes on {one.last - other.began:.0f} ms beside another')
    for one in tale.all_attempts():
        killed = tale.kills.get(one.parent, math.inf)
        if one.is_in_child and one.last > killed + ORPHANED:
            yield Fault(4, one.n, f'{one.id} went on for {one.last - killed:.0f} ms after its worker was killed')
        for at in tale.stops_beyond_lease(one):
            if one.last > at + GRACE:
                yield Fault(4, one.n, f'{one.id} went on for {one.last - at:.0f} ms after its worker could end it')


def check_endless(tale: Tale) -> Iterator[Fault]:
    """With the faults over a lease is not lost again and again.  What had one is handed out anew, though its function
    has not failed: it is not over, or was ended, or has returned too late."""
    for task_id, attempts in tale.attempts.items():
        lost = [one for one in attempts[:-1] if tale.calm < one.claimed and not one.has_failed]
        if len(lost) > MOST_LOST:
            yield Fault(10, lost[0].n, f'{task_id} has lost {len(lost)} leases with no fault about')


def check_limits(tale: Tale) -> Iterator[Fault]:
    """No more tasks of a group run than may."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    limits: Mapping[str, int] = LIMITS
    for attempt in tale.all_attempts():
        send = tale.sends.get(attempt.n) if attempt.n is not None else None
        if send is None or send.group is None or tale.gaps:
            continue
        end = min(attempt.leased, attempt.ended, tale.was_given_back(attempt))
        if end - ROUNDING > attempt.claimed + ROUNDING:
            groups[send.queue, send.group].append((attempt.claimed + ROUNDING, end - ROUNDING))
    for (queue, group), spans in groups.items():
        most = 1 if group.startswith(FIFO) else limits[group]
        edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
        at_once = 0
        for at, step in edges:
            at_once += step
            if at_once > most:
                yield Fault(9, None, f'{at_once} of {group!r} in {queue!r} at {at:.0f}, and not {most} at the most')
                break


def check_order(tale: Tale) -> Iterator[Fault]:
    """Who was enqueued behind another in strict order begins when that has ended."""
    orders: dict[str, list[Send]] = defaultdict(list)
    for send in tale.sends.values():
        if send.order and send.is_sure and tale.attempts.get(str(send.id)) and not tale.gaps:
            orders[send.order].append(send)
    for order, sends in orders.items():
        # Those that were acknowledged before this one was sent, of which the last claim counts.
        before = sorted(sends, key=lambda send: send.until)
        place, last, whose = 0, 0.0, ''
        for send in sorted(sends, key=lambda send: send.at):
            while before[place].until < send.at:
                attempts = tale.attempts[str(before[place].id)]
                over = min((one.ended for one in attempts if one.has_returned), default=math.inf)
                if (end := max(over, attempts[-1].claimed)) > last:
                    last, whose = end, str(before[place].id)
                place += 1
            begin = tale.attempts[str(send.id)][0].claimed
            if begin + ROUNDING < last:
                text = f'in {order!r} {send.id} was handed out {last - begin:.0f} ms before {whose} was over'
                yield Fault(9, send.n, text)


def check_expiry(tale: Tale) -> Iterator[Fault]:
    """What has expired does not begin, and what has not is not taken to have."""
    dead = {task_id: at for task_id, at, error in tale.dead if 'expired' in error}
    for send in tale.sends.values():
        if send.expires is None or send.id is None:
            continue
        for attempt in tale.attempts.get(send.id, []):
            late = attempt.claimed - send.until - send.expires * 1000
            if late > ROUNDING:
                yield Fault(12, send.n, f'{send.id} was handed out {late:.0f} ms after it had expired, and has begun')
        if send.id in dead and dead[send.id] + ROUNDING < send.at + send.expires * 1000:
            yield Fault(12, send.n, f'{send.id} had not expired, and was taken to')


# Flows


def check_joins(tale: Tale) -> Iterator[Fault]:
    """A join begins when all before it have ended, and has their results."""
    for send in tale.sends.values():
        joins = tale.attempts.get(f'{send.id}.total') if send.parts else None
        if not joins:
            continue
        for part in send.parts:
            attempts = tale.attempts.get(part, [])
            over = min((one.ended for one in attempts if one.has_returned), default=math.inf)
            last = max((one.claimed for one in attempts), default=math.inf)
            if joins[0].claimed + ROUNDING < max(over, last):
                yield Fault(14, send.n, f'{send.id}.total was handed out before {part} was over')


# Schedules


def check_schedules(tale: Tale) -> Iterator[Fault]:
    """Each instant is decided once; each one that was to fire has, and no other."""
    for firing in tale.firings:
        plan = SCHEDULES[firing.name]
        firings = _firings_of(tale, firing.name)
        instants = [*firings]
        if odd := [instant for instant in instants if instant % plan.period]:
            yield Fault(13, None, f'{firing.name} has fired at {odd[0]}, which is no instant of it')
            continue
        if plan.overlap == 'allow' and instants:
            missing = {*range(instants[0], instants[-1] + 1, plan.period)} - {*instants}
            if missing:
                yield Fault(13, None, f'{firing.name} has not fired at {sorted(missing)[:5]}')
        if len(instants) > firing.fired or len(instants) < firing.fired and plan.overlap != 'replace':
            yield Fault(13, None, f'{firing.name} says that it has fired {firing.fired}, and {len(instants)} have run')
        yield from _check_instants(firing, plan.period)
        if plan.overlap in ('skip', 'queue'):
            yield from _check_one_by_one(firing.name, firings)


def _firings_of(tale: Tale, name: str) -> dict[int, list[Attempt]]:
    found: dict[int, list[Attempt]] = {}
    for task_id, attempts in tale.attempts.items():
        schedule, _, instant = task_id.rpartition('@')
        if schedule == name:
            # Something else is no instant.
            found[int(instant) if instant.isdecimal() else -1] = attempts
    return dict(sorted(found.items()))


def _check_instants(firing: Firing, period: int) -> Iterator[Fault]:
    """From when it was set, each instant was fired or passed over."""
    first = firing.last - (firing.fired + firing.skipped - 1) * period
    if not firing.before - ROUNDING <= first <= firing.after + period + ROUNDING:
        off = (first - firing.after) / period
        yield Fault(13, None, f'{firing.name} was set by {firing.after:.0f}; by what it counts {off:.1f} periods later')


def _check_one_by_one(name: str, firings: Mapping[int, list[Attempt]]) -> Iterator[Fault]:
    for (_, attempts), (instant, others) in pairwise(firings.items()):
        over = min((one.ended for one in attempts if one.has_returned), default=math.inf)
        if others[0].claimed + ROUNDING < max(over, attempts[-1].claimed):
            yield Fault(13, None, f'{name}@{instant} was handed out before the one before it was over')


# What workers say


def check_counts(tale: Tale) -> Iterator[Fault]:
    """What workers have counted is what was done, but for what those took along that were killed."""
    most: dict[str, int] = defaultdict(int)
    least: dict[str, int] = defaultdict(int)
    for attempt in tale.all_attempts():
        most[attempt.fn] += attempt.has_returned
        worker = attempt.parent if attempt.is_in_child else attempt.pid
        least[attempt.fn] += attempt.released < math.inf and tale.has_said_goodbye(worker)
    for fn, count in tale.counted.items():
        if count > most[fn]:
            yield Fault(6, None, f'workers have counted {count} of {fn!r}, of which {most[fn]} have returned')
    for fn, count in least.items():
        if tale.counted and tale.counted.get(fn, 0) < count:
            yield Fault(6, None, f'workers have counted {tale.counted.get(fn, 0)} of {fn!r}, and {count} were released')


def check_troubles(tale: Tale) -> Iterator[Fault]:
    """Nothing else went wrong."""
    for text in tale.troubles:
        yield Fault(7, None, text)


RULES: dict[str, Callable[[Tale], Iterator[Fault]]] = {
    'lost': check_lost, 'done': check_done, 'once': check_once, 'over': check_over, 'alone': check_alone,
    'ending': check_ending, 'endless': check_endless, 'limits': check_limits, 'order': check_order,
    'expiry': check_expiry, 'joins': check_joins, 'schedules': check_schedules, 'counts': check_counts,
    'troubles': check_troubles,
}  # fmt: skip


def check_tale(tale: Tale, without: str = '') -> list[Fault]:
    """All that is wrong with a run."""
    return [fault for name, rule in RULES.items() if name != without for fault in rule(tale)]
