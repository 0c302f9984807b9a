"""The queue in plain Python: what each call answers, and all that is in Redis after it.

Written from the design, not from the scripts, and as simply as may be: a list, some dictionaries, a clock.  A call is
read from the arguments that went over the line, so a test also sees what the public functions made of theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

PENDING, WORKING, DELAYED, COMPLETED, REJECTED, DEAD, CANCELLED = '0123456'

BLOCK = 2000
"""ms that consumers block at the bell."""
SHORT_LIST = 3
"""Ids in a list that a cancelled one is still taken out of; the test lowers it in the script."""
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
    assert name == 'stats' and not args
    return Call(name, [])


# The queue


class Model:
    """A queue.  Times are ms, ids are `str`, fields of a state are text as in Redis."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.pending: list[str] = []
        """The head first."""
        self.working: dict[str, int] = {}
        self.delayed: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.payloads: dict[str, bytes] = {}
        self.states: dict[str, dict[str, str]] = {}
        self.holes: set[str] = set()
        self.bell = False
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
        """When the next lease ends or the next delayed task is due."""
        return min((*self.working.values(), *self.delayed.values()), default=None)

    def in_order(self, place: dict[str, int]) -> list[str]:
        return sorted(place, key=lambda task_id: (place[task_id], task_id.encode()))

    def is_hole(self, task_id: str) -> bool:
        return task_id in self.holes or self.status(task_id) != PENDING

    def pass_time(self, now: int) -> tuple[list[str], list[str]]:
        """Move the clock; the ids and the records whose time to live has ended with it."""
        self.now = now
        ids = [task_id for task_id, (end, _) in self.lives.items() if end <= now]
        records = [record for record, end in self.record_ends.items() if end <= now]
        for task_id in ids:
            self._drop(task_id)
        for record in records:
            self._forget_record(record)
        return ids, records

    # Producers

    def _enqueue(self, items: list[Enqueue], limit: int | None, resent: bool) -> list[Any]:
        size = len(self.payloads) - len(self.dead)
        outcomes: list[Any] = []
        ready = []
        for item in items:
            state = self.states.get(item.task_id)
            freed = 0
            if state:
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
            if item.delay:
                self.delayed[item.task_id] = self.now + item.delay
                self.bell |= item.delay <= BLOCK
            else:
                ready.append(item.task_id)
            outcomes.append('ok')
        self._append(ready)
        self.bell |= bool(ready)
        return outcomes

    def _cancel(self, items: list[Cancel], resent: bool) -> list[str]:
        outcomes = []
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
                self.delayed.pop(task_id, None)
                self.dead.pop(task_id, None)
                if status == PENDING and len(self.pending) > SHORT_LIST:
                    self.holes.add(task_id)
                elif status == PENDING:
                    self.pending.remove(task_id)
                self._finish(task_id, MINUTE)
            state['status'] = CANCELLED
            self._mark(state, mark)
            outcomes.append('ok')
        self._forget()
        return outcomes

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
            ids = self._take(claim)
            if ids:
                self.records[claim.record] = Record(str(self.now), ids)
                self.record_ends[claim.record] = self.now + MINUTE
        wait = self._tend(len(ids) < claim.stays)
        tasks = [
            (task_id, self.payloads[task_id], int(self.states[task_id]['dequeue_count']), self.token(task_id))
            for task_id in ids
        ]
        return Given(tasks, wait, bool(self.pending))

    def _take(self, claim: Claim) -> list[str]:
        given: list[str] = []
        size = holes = 0
        full = False
        while self.pending and not full and len(given) < claim.wanted and holes < HOLES:
            # The script pops as many as are wanted, and counts the holes behind the last of them.
            for task_id in self.pending[: claim.wanted - len(given)]:
                if self.is_hole(task_id):
                    self.holes.discard(task_id)
                    self.pending.remove(task_id)
                    holes += 1
                    continue
                payload = self.payloads[task_id]
                full = bool(size) and size + len(payload) > claim.most_bytes
                if full:
                    break
                self.pending.remove(task_id)
                state = self.states[task_id]
                state['status'] = WORKING
                state['dequeue_count'] = str(int(state.get('dequeue_count', 0)) + 1)
                state['last_dequeue_time'] = str(self.now)
                self.working[task_id] = self.now + int(state['timeout'])
                given.append(task_id)
                size += len(payload)
                full = size >= claim.most_bytes
                if full:
                    break
        return given

    def _requeue(self, items: list[Requeue], resent: bool) -> list[str]:
        outcomes = []
        cleared = False
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and self._marked(state, item.mark):
                outcome = 'dead' if state['status'] == DEAD else 'ok'
            elif state and outcome == 'ok':
                outcome = self._give_back(item, state)
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        if cleared:
            self._forget()
        return outcomes

    def _give_back(self, item: Requeue, state: dict[str, str]) -> str:
        del self.working[item.task_id]
        self._mark(state, item.mark)
        if item.timeout is not None:
            state['timeout'] = str(item.timeout)
        if item.forgive:
            state['forgiven'] = str(int(state.get('forgiven', 0)) + 1)
        if item.error:
            state['error'] = item.error
        if self._used_up(state):
            self._lay(item.task_id, 'its attempts are used up')
            return 'dead'
        if item.delay:
            state['status'] = DELAYED
            self.delayed[item.task_id] = self.now + item.delay
            self.bell |= item.delay <= BLOCK
        else:
            self._return(state)
            self._append([item.task_id], head=item.forgive)
            self.bell = True
        return 'ok'

    def _release(self, items: list[Release], resent: bool) -> list[str]:
        outcomes = []
        released = set()
        for item in items:
            state = self.states.get(item.task_id)
            outcome = 'unknown' if item.task_id in released else self._judge(state, item.token)
            if outcome == 'ok':
                released.add(item.task_id)
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
            elif resent and item.task_id not in released and self._seems_released(item, outcome):
                released.add(item.task_id)
                outcome = 'ok'
            elif outcome == 'cancelled':
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._forget()
        return outcomes

    def _seems_released(self, item: Release, outcome: str) -> bool:
        """Whether a task may have been released by the first sending of a call."""
        if outcome == 'cancelled':
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
                self._lay(item.task_id)
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        if cleared:
            self._forget()
        return outcomes

    def _leave(self, items: list[Any], resent: bool) -> None:
        self._tend(False)

    # Operators

    def _redrive(self, items: list[Redrive], resent: bool) -> list[str]:
        outcomes = []
        brought = set()
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
                self._append([task_id])
                self.bell = True
                outcomes.append('ok')
        return outcomes

    def _sweep(self, items: list[Sweep], resent: bool) -> tuple[int, int, int, bool]:
        most = items[0].most
        leases = [task_id for task_id in self.in_order(self.working) if self.working[task_id] <= self.now][:most]
        delays = [task_id for task_id in self.in_order(self.delayed) if self.delayed[task_id] <= self.now][:most]
        died = 0
        ready = []
        for task_id in leases:
            state = self.states[task_id]
            if state['status'] == CANCELLED:
                self._clear(task_id)
                continue
            del self.working[task_id]
            if self._used_up(state):
                self._lay(task_id, 'its lease ran out, its attempts are used up')
                died += 1
            else:
                self._return(state)
                ready.append(task_id)
        for task_id in delays:
            del self.delayed[task_id]
            self._return(self.states[task_id])
            ready.append(task_id)
        self._append(ready)
        self.bell |= bool(ready)
        self._forget()
        return len(leases) - died, len(delays), died, most in (len(leases), len(delays))

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

    def _append(self, ids: Iterable[str], head: bool = False) -> None:
        for task_id in ids:
            if task_id in self.holes:
                self.holes.remove(task_id)
            else:
                self.pending.insert(0 if head else len(self.pending), task_id)

    def _tend(self, stays: bool) -> int | None:
        deadline = self.deadline()
        wait = None if deadline is None else deadline - self.now
        self.bell = bool(self.pending) or wait is not None and wait <= BLOCK and not stays
        return wait

    def _clear(self, task_id: str) -> None:
        if task_id in self.working:
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
            # What is left in it are holes.
            self.pending.clear()
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
