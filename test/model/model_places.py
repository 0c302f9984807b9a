"""The places of a queue in plain Python, for `model.py`: what is where, and the steps that calls have in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from model.model_calls import BLOCK, State, Tell, Told
from model.model_groups import CANCELLED, DEAD, DELAYED, PENDING, WORKING, Groups

MINUTE = 60_000
SHORT_LIST = 3
"""Ids in a list that a cancelled one is still taken out of; the test lowers it in the script."""
SHORT_TURNS = 1
"""The same for the list of heads."""
SILENT = ''.join(map(chr, [*range(33), 127]))
"""What says nothing: white space and control characters."""
MOST_LINES, MOST_BYTES = 10, 160
"""Of a history, and of the error in one of its lines."""


class Record(NamedTuple):
    """What a claim gave, until its reply is acknowledged."""

    time: str
    ids: list[str]


class Places(Groups):
    """What there is of a queue.  Times are ms, ids are `str`, fields of a state are text as in Redis."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.now = now
        self.pending: list[str] = []
        """The head first."""
        self.working: dict[str, int] = {}
        self.delayed: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.untold: dict[str, int] = {}
        """When somebody may be told of a death that nobody saw."""
        self.priority: dict[str, int] = {}
        """Order of those that have one and no group."""
        self.payloads: dict[str, bytes] = {}
        self.states: dict[str, dict[str, str]] = {}
        self.holes: set[str] = set()
        self.bell = False
        self.unheard = False
        """Whether the bell was forgotten, with the last task, before anybody heard it."""
        self.seq: int | None = None
        """Number of the last task that has an order, and whose turn it is."""
        self.records: dict[str, Record] = {}
        self.lives: dict[str, tuple[int, int]] = {}
        """When the state of an id is gone, and how long its time to live was when it was set."""
        self.record_ends: dict[str, int] = {}

    # What a test asks

    @property
    def stats(self) -> tuple[int, int, int, int, int, int]:
        counts = len(self.working), len(self.delayed), len(self.dead)
        return len(self.payloads), len(self.payloads) - sum(counts), *counts, 0

    def status(self, task_id: str) -> str | None:
        return self.states.get(task_id, {}).get('status')

    def token(self, task_id: str) -> str:
        state = self.states.get(task_id, {})
        return f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}'

    @property
    def exact(self) -> str:
        """The time to the microsecond, of which the machine's clock knows nothing."""
        return f'{self.now}.000'

    def deadline(self) -> int | None:
        """When the next lease ends, the next delayed task is due, the next group gets a token or a schedule fires."""
        places = self.working.values(), self.delayed.values(), self.rated.values(), self.firing()
        return min(itertools.chain(*places), default=None)

    def firing(self) -> list[int]:
        """When schedules fire."""
        raise NotImplementedError

    def in_order(self, place: Mapping[str, float]) -> list[str]:
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
        return [*plain, *self.priority, *filter(self.may_go, self.heads.values())]

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

    # Deaths that nobody saw

    def _tell(self, items: list[Tell], resent: bool) -> list[tuple[Any, ...]]:
        (asked,) = items
        due = [task_id for task_id in self.in_order(self.untold) if self.untold[task_id] <= self.now]
        told = []
        size = 0
        for task_id in due[: asked.most]:
            if size >= asked.most_bytes:
                break
            state = self.states[task_id]
            size += len(self.payloads[task_id])
            self.untold[task_id] = self.now + asked.again
            told.append((task_id, self.token(task_id), self.payloads[task_id], state.get('error'), state.get('group')))
        return told

    def _told(self, items: list[Told], resent: bool) -> None:
        for task_id, token in items:
            if self.token(task_id) == token:
                self.untold.pop(task_id, None)

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
            self.untold[task_id] = self.now

    def _raise(self, task_id: str) -> None:
        del self.dead[task_id]
        self.untold.pop(task_id, None)

    def _return(self, state: dict[str, str]) -> None:
        state['status'] = PENDING
        if 'dequeue_count' in state:
            state['requeue_count'] = str(int(state.get('requeue_count', 0)) + 1)
            state['last_requeue_time'] = str(self.now)
        else:
            state['ready_time'] = str(self.now)

    def _remember(self, state: dict[str, str], error: str) -> None:
        """An attempt has failed."""
        line = error.strip(SILENT).rpartition('\n')[2].strip(SILENT)
        line = ''.join(' ' if sign in SILENT else sign for sign in line)
        line = line.encode()[:MOST_BYTES].decode(errors='ignore')
        start = state['last_dequeue_time'].partition('.')[0]
        lines = [*state.get('history', '').split('\n')[:-1], f'{state["dequeue_count"]} {start} {self.now} {line}']
        if len(lines) > MOST_LINES:
            del lines[1]
        state['history'] = ''.join(f'{line}\n' for line in lines)

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
        if self.rated and min(self.rated.values()) - self.now > 1000 and self.is_late():
            self.rated = dict.fromkeys(self.rated, 0)
            deadline = min((self.now, *self.working.values(), *self.delayed.values(), *self.firing()))
        wait = None if deadline is None else deadline - self.now
        self.bell = self.work_is_left or wait is not None and wait <= BLOCK and not stays
        return wait

    def _revoke(self, task_id: str) -> None:
        """A task that is not final is taken back."""
        state = self.states[task_id]
        if state['status'] == WORKING:
            state.pop('progress', None)
            state['status'] = CANCELLED
            return
        self._meet(task_id)
        if state['status'] == DELAYED:
            del self.delayed[task_id]
        elif state['status'] == DEAD:
            self._raise(task_id)
        else:
            self._take_out(task_id)
        self._end(task_id)

    def _end(self, task_id: str) -> None:
        """A task that is in no place any more is cancelled."""
        del self.payloads[task_id]
        self._finish(task_id, MINUTE)
        self.states[task_id]['status'] = CANCELLED

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
            self.unheard |= self.bell
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

    # Reading

    def _group(self, items: list[str], resent: bool) -> tuple[int, int, str, str, int, int]:
        (group,) = items
        return (
            len(self.waiting.get(group, {})) + (group in self.heads),
            self.groups.get(group, 0),
            self.limits.get(group, ''),
            self.limits.get('', ''),
            group in self.paused,
            '' in self.paused,
        )

    def _state(self, items: list[State], resent: bool) -> list[list[str | None]]:
        found = []
        for task_id, fields in items:
            state = {**self.states.get(task_id, {})}
            if state.get('status') == DELAYED:
                state['due_time'] = str(self.delayed[task_id])
            found.append([state.get(field) for field in fields])
        return found

    def _stats(self, items: list[Any], resent: bool) -> tuple[int, int, int, int]:
        return len(self.payloads), len(self.working), len(self.delayed), len(self.dead)
