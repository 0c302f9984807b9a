"""The queue in plain Python: what each call answers, and all that is in Redis after it.

Written from the design, not from the scripts, and as simply as may be: a list, some dictionaries, a clock.  A call is
read from the arguments that went over the line, so a test also sees what the public functions made of theirs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from model_groups import CANCELLED, COMPLETED, DEAD, DELAYED, PENDING, REJECTED, WORKING, Groups

BLOCK = 2000
"""ms that consumers block at the bell."""
SHORT_LIST = 3
"""Ids in a list that a cancelled one is still taken out of; the test lowers it in the script."""
SHORT_TURNS = 1
"""The same for the list of heads."""
HOLES = 2
"""Holes after which a claim stops; the test lowers it in the script."""
MINUTE = 60_000


class Enqueue(NamedTuple):
    task_id: str
    payload: bytes
    timeout: int
    delay: int = 0
    max_attempts: int | None = None
    mark: str | None = None
    group: str | None = None
    priority: int = 0


class Requeue(NamedTuple):
    task_id: str
    token: str
    mark: str
    delay: int
    timeout: int | None
    forgive: bool
    error: str


class Release(NamedTuple):
    task_id: str
    token: str
    status: str | None = None
    ttl: int = 0
    result: bytes | None = None


class Touch(NamedTuple):
    task_id: str
    token: str
    timeout: int | None
    progress: bytes | None


class Bury(NamedTuple):
    task_id: str
    token: str
    mark: str
    error: str


class Cancel(NamedTuple):
    task_id: str
    mark: str


class Redrive(NamedTuple):
    task_id: str
    mark: str


class Claim(NamedTuple):
    record: str
    wanted: int
    stays: int
    """Who gets fewer than that stays, and keeps the time."""
    most_bytes: int


class Sweep(NamedTuple):
    most: int


class Limit(NamedTuple):
    group: str
    value: str


class Call(NamedTuple):
    """One call of a script."""

    name: str
    items: list[Any]
    acknowledged: str = ''
    limit: int | None = None


class Record(NamedTuple):
    """What a claim gave, until its reply is acknowledged."""

    time: str
    ids: list[str]


class Given(NamedTuple):
    """Reply of a claim: id, payload, attempt and token of each task, ms to the next deadline, whether more is there."""

    tasks: list[tuple[str, bytes, int, str]]
    wait: int | None
    more: bool


# Reading calls


def _text(arg: str | bytes) -> str:
    # Plain, without the token of an id.
    return arg.decode() if isinstance(arg, bytes) else str(arg)


def _data(arg: str | bytes) -> bytes:
    return arg if isinstance(arg, bytes) else arg.encode()


def _number(arg: str | bytes) -> int | None:
    return int(arg) if arg else None


def _value(arg: str | bytes) -> bytes | None:
    data = _data(arg)
    assert data[:1] in (b'', b'=')
    return data[1:] if data else None


def _read_enqueue(task_id: str | bytes, payload: str | bytes, options: str | bytes) -> Enqueue:
    given = json.loads(_text(options))
    if isinstance(given, int):
        given = {'timeout': given}
    return Enqueue(_text(task_id), _data(payload), **given)


def _read_releases(args: Sequence[str | bytes]) -> Iterable[Release]:
    rest = list(args)
    while rest:
        task_id, token, keep = (_text(rest.pop(0)) for _ in range(3))
        if keep:
            status, ttl = keep.split()
            yield Release(task_id, token, status, int(ttl), _value(rest.pop(0)))
        else:
            yield Release(task_id, token)


def read_call(name: str, args: Sequence[str | bytes]) -> Call:
    """A call by the arguments behind `resent`."""

    def several(start: int, width: int, read: Callable[..., Any]) -> list[Any]:
        assert (len(args) - start) % width == 0
        return [read(*args[i : i + width]) for i in range(start, len(args), width)]

    first = _text(args[0]) if args else ''
    if name in ('enqueue', 'requeue', 'touch', 'leave'):
        assert int(args[1]) == BLOCK
    if name == 'enqueue':
        return Call(name, several(2, 3, _read_enqueue), limit=_number(first))
    if name == 'requeue':
        return Call(
            name,
            several(
                2,
                7,
                lambda i, token, mark, delay, lease, forgive, error: Requeue(
                    _text(i), _text(token), _text(mark), int(delay), _number(lease), forgive == '1', _text(error)
                ),
            ),
            first,
        )
    if name == 'release':
        return Call(name, list(_read_releases(args[1:])), first)
    if name == 'touch':
        return Call(
            name,
            several(2, 4, lambda i, token, lease, value: Touch(_text(i), _text(token), _number(lease), _value(value))),
            first,
        )
    if name == 'bury':
        return Call(name, several(1, 4, lambda *words: Bury(*map(_text, words))), first)
    if name == 'cancel':
        return Call(name, several(0, 2, lambda *words: Cancel(*map(_text, words))))
    if name == 'redrive':
        return Call(name, several(1, 1, lambda i: Redrive(_text(i), first)))
    if name == 'claim':
        record, wanted, stays, block, most = map(_text, args[1:])
        assert int(block) == BLOCK
        return Call(name, [Claim(record, int(wanted), int(stays), int(most))], first)
    if name == 'sweep':
        return Call(name, [Sweep(int(first))])
    if name == 'leave':
        return Call(name, [], first)
    if name == 'limit':
        return Call(name, [Limit(*map(_text, args))])
    if name in ('advance', 'pause', 'resume', 'group'):
        return Call(name, [*map(_text, args)])
    assert name == 'stats' and not args
    return Call(name, [])


# The queue


class Model(Groups):
    """A queue.  Times are ms, ids are `str`, fields of a state are text as in Redis."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.now = now
        self.pending: list[str] = []
        """The head first."""
        self.working: dict[str, int] = {}
        self.delayed: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.priority: dict[str, int] = {}
        """Order of those that have one and no group."""
        self.payloads: dict[str, bytes] = {}
        self.states: dict[str, dict[str, str]] = {}
        self.holes: set[str] = set()
        self.bell = False
        self.seq: int | None = None
        """Number of the last task that has an order, and whose turn it is."""
        self.records: dict[str, Record] = {}
        self.lives: dict[str, tuple[int, int]] = {}
        """When the state of an id is gone, and how long its time to live was when it was set."""
        self.record_ends: dict[str, int] = {}

    def run(self, call: Call, resent: bool = False) -> Any:
        """Carry a call out: the outcome of each task, or what the call replies else."""
        self._forget_record(call.acknowledged)
        if call.name == 'enqueue':
            return self._enqueue(call.items, call.limit, resent)
        return getattr(self, f'_{call.name}')(call.items, resent)

    # What a test asks

    @property
    def stats(self) -> tuple[int, int, int, int, int]:
        counts = len(self.working), len(self.delayed), len(self.dead)
        return len(self.payloads), len(self.payloads) - sum(counts), *counts

    def status(self, task_id: str) -> str | None:
        return self.states.get(task_id, {}).get('status')

    def token(self, task_id: str) -> str:
        state = self.states.get(task_id, {})
        return f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}'

    def deadline(self) -> int | None:
        """When the next lease ends, the next delayed task is due, or the next group gets a token."""
        return min((*self.working.values(), *self.delayed.values(), *self.rated.values()), default=None)

    def in_order(self, place: dict[str, int]) -> list[str]:
        return sorted(place, key=lambda task_id: (place[task_id], task_id.encode()))

    def is_hole(self, task_id: str) -> bool:
        """Whether an id in `pending` is of no task there."""
        return task_id in self.holes or self.status(task_id) != PENDING or 'order' in self.states[task_id]

    @property
    def work_is_left(self) -> bool:
        return '' not in self.paused and bool(self.pending or self.turns or self.priority)

    def ready(self) -> list[str]:
        """Tasks that a claim of enough would give for certain."""
        if '' in self.paused:
            return []
        plain = [task_id for task_id in self.pending if not self.is_hole(task_id)]
        return [*plain, *self.priority, *filter(self.may_go, self.ring.values())]

    def pass_time(self, now: int) -> tuple[list[str], list[str], list[str]]:
        """Move the clock; the ids, the records and the groups' buckets whose time to live has ended with it."""
        self.now = now
        ids = [task_id for task_id, (end, _) in self.lives.items() if end <= now]
        records = [record for record, end in self.record_ends.items() if end <= now]
        full = [group for group, bucket in self.buckets.items() if bucket.end <= now]
        for task_id in ids:
            self._drop(task_id)
        for record in records:
            self._forget_record(record)
        for group in full:
            del self.buckets[group]
        return ids, records, full

    # Producers

    def _enqueue(self, items: list[Enqueue], limit: int | None, resent: bool) -> list[Any]:
        size = len(self.payloads) - len(self.dead)
        outcomes: list[Any] = []
        new = []
        accepted: list[Enqueue] = []
        for item in items:
            state = self.states.get(item.task_id)
            freed = 0
            if state and (resent or item.mark is not None):
                # Nobody else has an id that was made here: it is the same call again.
                if item.mark is None or self._marked(state, item.mark):
                    outcomes.append('ok')
                    continue
                if state['status'] != CANCELLED:
                    outcomes.append(['duplicate', item.task_id])
                    continue
                freed = item.task_id in self.working
            if limit is not None and size - freed >= limit:
                outcomes.append(['full', size])
                continue
            size += 1 - freed
            accepted.append(item)
            outcomes.append('ok')
            if item.mark is None and item.task_id in self.payloads:
                # It comes after its own repetition.
                continue
            if freed:
                self._meet(item.task_id)
            self.working.pop(item.task_id, None)
            self._drop(item.task_id)
            state = self.states[item.task_id] = {
                'status': DELAYED if item.delay else PENDING,
                'timeout': str(item.timeout),
                'enqueue_time': str(self.now),
            }
            if item.max_attempts is not None:
                state['max_attempts'] = str(item.max_attempts)
            if item.mark is not None:
                state['mark'] = item.mark
            self.payloads[item.task_id] = item.payload
            new.append(item)
        self._rank(new, accepted)
        ready: list[str] = []
        for item in new:
            if item.delay:
                self.delayed[item.task_id] = self.now + item.delay
                self.bell |= item.delay <= BLOCK
                self._meet(item.task_id)
            else:
                self._place(item.task_id, ready)
        self._append(ready)
        self._settle()
        return outcomes

    def _rank(self, items: list[Enqueue], accepted: list[Enqueue]) -> None:
        """Give those of a group or with a priority their order.  The numbers of the others of the call are not used."""

        def is_ranked(item: Enqueue) -> bool:
            return item.group is not None or item.priority != 0

        for place, item in enumerate(filter(is_ranked, items), 1):
            state = self.states[item.task_id]
            state['order'] = str((self.seq or 0) + 2 * place - item.priority * 2**45)
            if item.group is not None:
                state['group'] = item.group
            if item.priority:
                state['priority'] = str(item.priority)
        if any(map(is_ranked, accepted)):
            self.seq = (self.seq or 0) + 2 * len(accepted)

    def _cancel(self, items: list[Cancel], resent: bool) -> list[str]:
        outcomes = []
        for task_id, _ in items:
            self._meet(task_id)
        for task_id, mark in items:
            state = self.states.get(task_id)
            if not state:
                outcomes.append('unknown')
                continue
            status = state['status']
            if status in (COMPLETED, REJECTED, CANCELLED):
                outcomes.append('ok' if self._marked(state, mark) else 'final')
                continue
            if status == WORKING:
                state.pop('progress', None)
            else:
                del self.payloads[task_id]
                if status == DELAYED:
                    del self.delayed[task_id]
                elif status == DEAD:
                    del self.dead[task_id]
                else:
                    self._take_out(task_id)
                self._finish(task_id, MINUTE)
            state['status'] = CANCELLED
            self._mark(state, mark)
            outcomes.append('ok')
        self._settle()
        self._forget()
        return outcomes

    def _take_out(self, task_id: str) -> None:
        if self.group_of(task_id) is not None:
            if self.leave_group(task_id) and len(self.turns) <= SHORT_TURNS:
                # Holes of it, too.
                self.turns[:] = [other for other in self.turns if other != task_id]
        elif task_id in self.priority:
            del self.priority[task_id]
        elif len(self.pending) > SHORT_LIST:
            self.holes.add(task_id)
        else:
            self.pending.remove(task_id)

    # Consumers

    def _claim(self, items: list[Claim], resent: bool) -> Given:
        (claim,) = items
        record = self.records.get(claim.record)
        if record:
            ids = [
                task_id
                for task_id in record.ids
                if self.status(task_id) == WORKING and self.states[task_id]['last_dequeue_time'] == record.time
            ]
        else:
            ids = Taking(self, claim).take()
            self.settle_groups()
            if ids:
                self.records[claim.record] = Record(str(self.now), ids)
                self.record_ends[claim.record] = self.now + MINUTE
        wait = self._tend(len(ids) < claim.stays)
        tasks = [
            (task_id, self.payloads[task_id], int(self.states[task_id]['dequeue_count']), self.token(task_id))
            for task_id in ids
        ]
        return Given(tasks, wait, self.work_is_left)

    def _requeue(self, items: list[Requeue], resent: bool) -> list[str]:
        outcomes = []
        cleared = False
        tail: list[str] = []
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and self._marked(state, item.mark):
                outcome = 'dead' if state['status'] == DEAD else 'ok'
            elif state and outcome == 'ok':
                outcome = self._give_back(item, state, tail)
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._append(tail)
        self._settle()
        if cleared:
            self._forget()
        return outcomes

    def _give_back(self, item: Requeue, state: dict[str, str], tail: list[str]) -> str:
        del self.working[item.task_id]
        self._mark(state, item.mark)
        if item.timeout is not None:
            state['timeout'] = str(item.timeout)
        if item.forgive:
            state['forgiven'] = str(int(state.get('forgiven', 0)) + 1)
        if item.error:
            state['error'] = item.error
        if self._used_up(state):
            self._meet(item.task_id)
            self._lay(item.task_id, 'its attempts are used up')
            return 'dead'
        if item.delay:
            state['status'] = DELAYED
            self.delayed[item.task_id] = self.now + item.delay
            self.bell |= item.delay <= BLOCK
        else:
            self._return(state)
            if item.forgive and 'order' not in state:
                self._append([item.task_id], head=True)
            else:
                self._place(item.task_id, tail)
        return 'ok'

    def _release(self, items: list[Release], resent: bool) -> list[str]:
        outcomes = []
        released: dict[str, str] = {}
        for item in items:
            state = self.states.get(item.task_id)
            outcome = 'unknown' if item.task_id in released else self._judge(state, item.token)
            if outcome == 'ok':
                released[item.task_id] = item.token
                self._meet(item.task_id)
                del self.working[item.task_id]
                del self.payloads[item.task_id]
                if item.status is None:
                    self._drop(item.task_id)
                else:
                    assert state
                    state['status'] = item.status
                    if item.result is not None:
                        state['result'] = item.result.decode()
                    self._finish(item.task_id, item.ttl)
            elif resent and released.get(item.task_id) != item.token and self._seems_released(item, outcome):
                released[item.task_id] = item.token
                outcome = 'ok'
            elif outcome == 'cancelled':
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._settle()
        self._forget()
        return outcomes

    def _seems_released(self, item: Release, outcome: str) -> bool:
        """Whether a task may have been released by the first sending of a call."""
        if self.status(item.task_id) == CANCELLED and outcome in ('cancelled', 'not_working'):
            return item.status == CANCELLED and item.task_id not in self.working
        return outcome == 'unknown' or outcome == 'not_working' and self.status(item.task_id) in (COMPLETED, REJECTED)

    def _touch(self, items: list[Touch], resent: bool) -> list[str]:
        outcomes = []
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and outcome == 'ok':
                lease = int(state['timeout']) if item.timeout is None else item.timeout
                self.working[item.task_id] = self.now + lease
                self.bell |= lease <= BLOCK
                if item.progress is not None:
                    state['progress'] = item.progress.decode()
            outcomes.append(outcome)
        return outcomes

    def _bury(self, items: list[Bury], resent: bool) -> list[str]:
        outcomes = []
        cleared = False
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and self._marked(state, item.mark):
                outcome = 'ok'
            elif state and outcome == 'ok':
                del self.working[item.task_id]
                self._mark(state, item.mark)
                if item.error:
                    state['error'] = item.error
                self._meet(item.task_id)
                self._lay(item.task_id)
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._settle()
        if cleared:
            self._forget()
        return outcomes

    def _leave(self, items: list[Any], resent: bool) -> None:
        self._tend(False)

    # Operators

    def _redrive(self, items: list[Redrive], resent: bool) -> list[str]:
        outcomes = []
        brought = set()
        ready: list[str] = []
        for task_id, mark in items:
            state = self.states.get(task_id)
            if not state:
                outcomes.append('unknown')
            elif task_id in brought:
                outcomes.append('not_dead')
            elif resent and self._marked(state, mark):
                brought.add(task_id)
                outcomes.append('ok')
            elif state['status'] != DEAD:
                outcomes.append('not_dead')
            else:
                brought.add(task_id)
                del self.dead[task_id]
                state['status'] = PENDING
                state['forgiven'] = state.get('dequeue_count', '0')
                self._mark(state, mark)
                self._place(task_id, ready)
                outcomes.append('ok')
        self._append(ready)
        self._settle()
        return outcomes

    def _sweep(self, items: list[Sweep], resent: bool) -> tuple[int, int, int, bool]:
        most = items[0].most
        leases = [task_id for task_id in self.in_order(self.working) if self.working[task_id] <= self.now][:most]
        delays = [task_id for task_id in self.in_order(self.delayed) if self.delayed[task_id] <= self.now][:most]
        tokens = [group for group in self.in_order(self.rated) if self.rated[group] <= self.now][:most]
        died = 0
        ready: list[str] = []
        for task_id in leases:
            state = self.states[task_id]
            if state['status'] == CANCELLED:
                self._clear(task_id)
                continue
            del self.working[task_id]
            if self._used_up(state):
                self._meet(task_id)
                self._lay(task_id, 'its lease ran out, its attempts are used up')
                died += 1
            else:
                self._return(state)
                self._place(task_id, ready)
        for task_id in delays:
            del self.delayed[task_id]
            self._return(self.states[task_id])
            self._place(task_id, ready)
        for group in tokens:
            del self.rated[group]
            self.met.append(group)
        self._append(ready)
        self._settle()
        self._forget()
        return len(leases) - died, len(delays), died, most in (len(leases), len(delays), len(tokens))

    def _limit(self, items: list[Limit], resent: bool) -> None:
        ((group, value),) = items
        if value:
            self.limits[group] = value
        else:
            self.limits.pop(group, None)
        if group:
            self._advance([group], resent)

    def _advance(self, items: list[str], resent: bool) -> None:
        for group in items:
            self.rated.pop(group, None)
            self.met.append(group)
            rate = self.rate(group)
            if rate and self.tokens(group) < rate[0]:
                # It lives as long as the new rate needs.
                self.take_tokens(group, 0)
        self._settle()

    def _pause(self, items: list[str], resent: bool) -> None:
        self.paused |= {*items}

    def _resume(self, items: list[str], resent: bool) -> None:
        (group,) = items
        self.paused.discard(group)
        if group:
            self.met.append(group)
        elif self.payloads:
            self.bell = True
        self._settle()

    def _group(self, items: list[str], resent: bool) -> tuple[int, int, str, str, int, int]:
        (group,) = items
        return (
            len(self.waiting.get(group, {})) + (group in self.ring),
            self.groups.get(group, 0),
            self.limits.get(group, ''),
            self.limits.get('', ''),
            group in self.paused,
            '' in self.paused,
        )

    def _stats(self, items: list[Any], resent: bool) -> tuple[int, int, int, int]:
        return len(self.payloads), len(self.working), len(self.delayed), len(self.dead)

    # Parts

    def _judge(self, state: dict[str, str] | None, token: str) -> str:
        if not state:
            return 'unknown'
        if not token:
            return 'ok' if state['status'] == WORKING else 'not_working'
        if token != f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}':
            return 'lease_lost'
        return {WORKING: 'ok', CANCELLED: 'cancelled'}.get(state['status'], 'not_working')

    def _used_up(self, state: dict[str, str]) -> bool:
        counted = int(state['dequeue_count']) - int(state.get('forgiven', 0))
        return 'max_attempts' in state and counted >= int(state['max_attempts'])

    def _lay(self, task_id: str, why: str | None = None) -> None:
        self.dead[task_id] = self.now
        self.states[task_id]['status'] = DEAD
        if why is not None:
            self.states[task_id].setdefault('error', why)

    def _return(self, state: dict[str, str]) -> None:
        state['status'] = PENDING
        if 'dequeue_count' in state:
            state['requeue_count'] = str(int(state.get('requeue_count', 0)) + 1)
            state['last_requeue_time'] = str(self.now)

    def _place(self, task_id: str, plain: list[str]) -> None:
        """Put a task that is ready where it waits."""
        state = self.states[task_id]
        if 'group' in state:
            self.join(task_id)
        elif 'order' in state:
            self.priority[task_id] = int(state['order'])
            self.bell = True
        else:
            plain.append(task_id)

    def _meet(self, task_id: str) -> None:
        """Something of a task changes on which its group depends."""
        group = self.group_of(task_id)
        if group is not None:
            self.met.append(group)

    def _settle(self) -> None:
        self.bell |= self.settle_groups()

    def _append(self, ids: Iterable[str], head: bool = False) -> None:
        for task_id in ids:
            self.bell = True
            if task_id in self.holes:
                self.holes.remove(task_id)
            else:
                self.pending.insert(0 if head else len(self.pending), task_id)

    def _tend(self, stays: bool) -> int | None:
        deadline = self.deadline()
        wait = None if deadline is None else deadline - self.now
        self.bell = self.work_is_left or wait is not None and wait <= BLOCK and not stays
        return wait

    def _clear(self, task_id: str) -> None:
        if task_id in self.working:
            self._meet(task_id)
            del self.working[task_id]
            del self.payloads[task_id]
            self._finish(task_id, MINUTE)

    def _finish(self, task_id: str, ttl: int) -> None:
        self.states[task_id]['release_time'] = str(self.now)
        self.lives[task_id] = self.now + ttl, ttl

    def _drop(self, task_id: str) -> None:
        self.states.pop(task_id, None)
        self.lives.pop(task_id, None)

    def _forget(self) -> None:
        if not self.payloads:
            self.bell = False
            self.seq = None
            # What is left in them are holes.
            self.pending.clear()
            self.turns.clear()
            self.holes.clear()

    def _forget_record(self, record: str) -> None:
        self.records.pop(record, None)
        self.record_ends.pop(record, None)

    @staticmethod
    def _marked(state: dict[str, str], mark: str) -> bool:
        return mark in state.get('mark', '').split()

    @staticmethod
    def _mark(state: dict[str, str], mark: str) -> None:
        state['mark'] = ' '.join([mark, *state.get('mark', '').split()][:4])


class Taking:
    """A claim on its way: what it takes, and from where."""

    def __init__(self, model: Model, claim: Claim) -> None:
        self.model = model
        self.claim = claim
        self.given: list[str] = []
        self.bytes = self.holes = 0
        self.full = False
        self.all_had_turns = False
        """Whether `turns` gave fewer than it was asked for: whoever came up since is next."""

    def take(self) -> list[str]:
        model, wanted = self.model, self.claim.wanted
        if '' in model.paused:
            return []
        self.ranked(min(wanted, sum(order < 0 for order in model.priority.values())))
        if model.turns and model.pending:
            self.by_turns()
        elif model.turns:
            self.heads(wanted)
        else:
            self.plain(wanted)
        if self.holes < HOLES:
            self.ranked(wanted)
        return self.given

    def by_turns(self) -> None:
        """Half from the side whose turn it is, the rest from the other, and what is still wanted from the first."""
        wanted, before = self.claim.wanted, len(self.given)
        number = self.model.seq or 0
        first, second = (self.plain, self.heads) if number % 2 else (self.heads, self.plain)
        first(before + math.ceil((wanted - before) / 2))
        middle = len(self.given)
        second(wanted)
        if middle - before > len(self.given) - middle:
            self.model.seq = number + (-1 if number % 2 else 1)
        first(wanted)

    def goes_on(self, goal: int) -> bool:
        return len(self.given) < goal and not self.full and self.holes < HOLES

    def plain(self, goal: int) -> None:
        model = self.model
        while model.pending and self.goes_on(goal):
            # The script pops as many as are wanted, and counts the holes behind the last of them.
            for task_id in model.pending[: goal - len(self.given)]:
                if model.is_hole(task_id):
                    model.holes.discard(task_id)
                    self.holes += 1
                elif not self.give(task_id):
                    break
                model.pending.remove(task_id)
                if self.full:
                    break

    def ranked(self, goal: int) -> None:
        priority = self.model.priority
        for task_id in self.model.in_order(priority)[: max(0, goal - len(self.given))]:
            if self.full or not self.give(task_id):
                break
            del priority[task_id]

    def heads(self, goal: int) -> None:
        model = self.model
        while self.goes_on(goal):
            # As many holes as there were may come again.
            wanted = goal - len(self.given) + self.holes
            line = model.came_up if self.all_had_turns else model.turns
            batch = line[:wanted]
            self.all_had_turns |= len(batch) < wanted
            if not batch and line is model.came_up:
                break
            del line[:wanted]
            for task_id in batch:
                if model.status(task_id) == PENDING:
                    model._meet(task_id)
            while batch:
                head = self.head(batch[0]) if len(self.given) < goal else batch[0]
                if head is None:
                    self.holes += 1
                elif len(self.given) == goal or not self.give(head):
                    # It goes back to where it was, with those behind it.
                    line[:0] = [head, *batch[1:]]
                    self.all_had_turns &= line is model.came_up
                    return
                else:
                    group = model.states[head]['group']
                    model.take_tokens(group, 1)
                    del model.ring[group]
                    model.come_up(group)
                del batch[0]

    def head(self, task_id: str) -> str | None:
        """Whom to hand out for an id of `turns`: the best of its group, or nobody."""
        if not self.model.is_head(task_id):
            return None
        if not self.model.may_go(task_id):
            self.model.step_back(task_id)
            return None
        return self.model.best(task_id)

    def give(self, task_id: str) -> bool:
        """Hand a task out; False where the bytes do not allow for it."""
        model, state = self.model, self.model.states[task_id]
        size = len(model.payloads[task_id])
        if self.bytes and self.bytes + size > self.claim.most_bytes:
            self.full = True
            return False
        state['status'] = WORKING
        state['dequeue_count'] = str(int(state.get('dequeue_count', 0)) + 1)
        state['last_dequeue_time'] = str(model.now)
        model.working[task_id] = model.now + int(state['timeout'])
        self.given.append(task_id)
        self.bytes += size
        self.full = self.bytes >= self.claim.most_bytes
        return True
