"""The schedules of a queue in plain Python, for `model.py`: what is due of them, and what comes of it."""

from __future__ import annotations

import json
import math
from typing import Any

from model.model_calls import BLOCK, Extend, Fire, Hold, Schedule, Schedules as Asked, Unschedule
from model.model_groups import CANCELLED, DELAYED, PENDING, WORKING
from model.model_places import Places

MOST_DUE = 3
"""Schedules, and instants, of one call at the most; the test lowers it in the scripts."""
FEW = 2
"""Instants that are few; likewise."""
REVOKED = 'by-its-schedule'


def _with_mark(marks: str, mark: str) -> str:
    return ' '.join([mark, *marks.split()][:4])


class Scheduled(Places):
    """The part of the model that is about schedules.  Fields of their hashes are text as in Redis."""

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.schedules: dict[str, float] = {}
        """When each fires next; infinite where no instant is known, or it is over."""
        self.plans: dict[str, dict[str, str]] = {}
        self.times: dict[str, list[int]] = {}
        """Only of those that have some."""

    def firing(self) -> list[int]:
        """When schedules fire."""
        return [int(instant) for instant in self.schedules.values() if instant < math.inf]

    # Firing

    def fire_due(self, fresh: list[str]) -> tuple[int, bool, list[str]]:
        """Fire what is due: how many tasks came of it, whether more is due, names of those with few instants left."""
        due = [name for name in self.in_order(self.schedules) if self.schedules[name] <= self.now][:MOST_DUE]
        left, more, came, low = MOST_DUE, len(due) == MOST_DUE, 0, []
        for name in due:
            if left <= 0:
                more = True
                break
            fired, used, goes_on, few = self.fire_one(name, fresh, left)
            came, left, more = came + fired, left - used, more or goes_on
            low += [name] * few
        return came, more, low

    def fire_one(self, name: str, fresh: list[str], most: int = MOST_DUE) -> tuple[int, int, bool, bool]:
        plan, first = self.plans[name], self.schedules[name]
        if first > self.now:
            return 0, 0, False, False
        until = int(plan['until']) if plan['until'] else math.inf
        end = int(min(self.now, until))
        every = int(plan['every'] or 0)
        due: Any = range(int(first), end + 1, every) if every else [t for t in self.times.get(name, []) if t <= end]
        each = plan['missed'] == 'all'
        due = due[:most] if each else due
        if every:
            following: float = first + len(due) * every
        else:
            self.times[name] = self.times.get(name, [])[len(due) :]
            following = next(iter(self.times[name]), math.inf)
            if not self.times[name]:
                del self.times[name]
        ended = until <= self.now or until < following < math.inf
        self.schedules[name] = following if following <= until else math.inf
        instants = list(due if each else due[-1:])
        fired = sum(self.decide(name, instant, len(due) - len(instants), fresh) for instant in instants)
        if instants:
            plan['last'] = str(instants[-1])
            plan.setdefault('last_id', '')
        self._count(plan, 'fired', fired)
        self._count(plan, 'skipped', len(due) - fired)
        few = not every and not ended and self.known(name) < FEW
        return fired, max(1, len(instants)), self.schedules[name] <= end, few

    def decide(self, name: str, instant: int, passed: int, fresh: list[str]) -> bool:
        """What comes of an instant that is due, others having been passed over for it: whether it fires."""
        plan = self.plans[name]
        late = plan['grace'] and self.now - instant > int(plan['grace'])
        if 'paused' in plan or late or plan['missed'] == 'none' and passed:
            return False
        return self.start(name, f'{name}@{instant}', fresh)

    def start(self, name: str, task_id: str, fresh: list[str]) -> bool:
        """Have a task come next of a schedule, by its overlap; whether it does."""
        plan = self.plans[name]
        last = plan.get('last_id', '')
        going_on = bool(last) and self.is_unfinished(last)
        if plan['overlap'] == 'skip' and going_on or not self.enter(plan, task_id, fresh):
            return False
        if plan['overlap'] == 'replace' and going_on and self.status(last) != CANCELLED:
            if last in fresh:
                fresh.remove(last)
                self._end(last)
            else:
                self._revoke(last)
            self._mark(self.states[last], REVOKED)
        plan['last_id'] = task_id
        return True

    def is_unfinished(self, task_id: str) -> bool:
        status = self.status(task_id)
        return status in (PENDING, WORKING, DELAYED) or status == CANCELLED and task_id in self.working

    def enter(self, plan: dict[str, str], task_id: str, fresh: list[str]) -> bool:
        """Take a task in, where its id is not known; whether that is so."""
        if task_id in self.states:
            return False
        given = json.loads(plan['options'])
        state = {'status': PENDING, 'timeout': str(given['timeout']), 'enqueue_time': str(self.now)}
        state |= {name: str(given[name]) for name in ('max_attempts', 'group', 'priority') if name in given}
        if 'group' in given:
            state['tied'] = '1'
        if 'group' in given or 'priority' in given:
            self.seq = (self.seq or 0) + 2
            state['order'] = str(self.seq - given.get('priority', 0) * 2**45)
        self.states[task_id], self.payloads[task_id] = state, plan['payload'].encode()
        self._place(task_id, fresh)
        return True

    def known(self, name: str) -> int:
        """How many instants are known."""
        return len(self.times.get(name, []))

    @staticmethod
    def _count(plan: dict[str, str], field: str, more: int) -> None:
        if more:
            plan[field] = str(int(plan.get(field, 0)) + more)

    # Calls

    def _schedule(self, items: list[Schedule], resent: bool) -> list[str]:
        ((mark, name, said, most, times),) = items
        plan = self.plans.get(name, {})
        if mark in plan.get('mark', '').split():
            return ['ok']
        if plan.get('revision') and said['revision'] and int(said['revision']) < int(plan['revision']):
            return ['older']
        owner = {'source': said['source'], 'revision': said['revision']}
        content = {field: value for field, value in said.items() if field not in owner}
        same = plan and (said['spec'] or said['every']) and content.items() <= plan.items()
        ready: list[str] = []
        fired = 0
        if same:
            behind = max(int(plan['since']), int(plan.get('last', 0)), *self.times.get(name, []))
            plan |= owner
        else:
            if plan:
                fired, _, more, _ = self.fire_one(name, ready)
                if more:
                    self._end_firing(ready, fired)
                    return ['due']
            plan = self.plans[name] = {
                **plan, **said, 'mark': _with_mark(plan.get('mark', ''), mark), 'since': str(self.now)
            }  # fmt: skip
            self.times.pop(name, None)
            behind = max(self.now, int(plan.get('last', 0)))
            if said['overlap'] == 'queue':
                plan['queued'] = '1'
                self.limits[f'schedule:{name}'] = '{"concurrency":1}'
        self.extend(name, [instant for instant in times if instant > behind][: max(0, most - self.known(name))])
        self.plan(name, bool(same))
        self._end_firing(ready, fired)
        return ['same' if same else 'ok']

    def extend(self, name: str, times: list[int]) -> None:
        if times:
            self.times[name] = [*self.times.get(name, []), *times]

    def plan(self, name: str, stays: bool) -> None:
        """Note when a schedule fires next."""
        plan = self.plans[name]
        if plan['every'] and stays:
            return
        following: float = next(iter(self.times.get(name, [])), math.inf)
        if plan['every']:
            every, phase = int(plan['every']), int(plan['phase'])
            behind = max(self.now, int(plan.get('last', 0)))
            following = behind + every - (behind - phase) % every
        if plan['until'] and following > int(plan['until']):
            following = math.inf
        self.schedules[name] = following
        self.bell |= following - self.now <= BLOCK

    def _end_firing(self, ready: list[str], fired: int) -> None:
        self._append(ready)
        self._settle()
        self.bell |= fired > 0

    def _extend(self, items: list[Extend], resent: bool) -> list[str]:
        ((mark, name, after, spec, most, times),) = items
        plan = self.plans.get(name, {'every': '1'})
        if plan['every']:
            return ['unknown']
        if mark in plan.get('extended', '').split():
            return ['ok']
        if plan['spec'] != spec or after != (self.times[name][-1] if self.known(name) else None):
            return ['changed']
        behind = max(after or 0, int(plan.get('last', 0)), int(plan['since']))
        self.extend(name, [instant for instant in times if instant > behind][: max(0, most - self.known(name))])
        plan['extended'] = _with_mark(plan.get('extended', ''), mark)
        self.plan(name, True)
        return ['ok']

    def _unschedule(self, items: list[Unschedule], resent: bool) -> list[str]:
        ((name, source, revision),) = items
        plan = self.plans.get(name)
        if plan is None:
            return ['ok' if resent else 'unknown']
        if source and plan['source'] != source:
            return ['other']
        if revision and plan['revision'] and int(revision) < int(plan['revision']):
            return ['older']
        group = f'schedule:{name}'
        if 'queued' in plan and group not in self.groups:
            self.limits.pop(group, None)
        del self.plans[name], self.schedules[name]
        self.times.pop(name, None)
        if not self.plans:
            self._forget()
        return ['ok']

    def _hold(self, items: list[Hold], resent: bool) -> list[str]:
        ((mark, name, held),) = items
        plan = self.plans.get(name)
        if plan is None:
            return ['unknown']
        if mark in plan.get('held', '').split():
            return ['ok']
        if ('paused' in plan) == held:
            return ['same']
        ready: list[str] = []
        fired, _, more, _ = self.fire_one(name, ready)
        if held and not more:
            plan['paused'] = str(self.now)
        elif not more:
            del plan['paused']
        if not more:
            plan['held'] = _with_mark(plan.get('held', ''), mark)
        self._end_firing(ready, fired)
        return ['due' if more else 'ok']

    def _fire(self, items: list[Fire], resent: bool) -> list[str] | None:
        ((mark, name, instants),) = items
        plan = self.plans.get(name)
        if plan is None:
            return None
        before = [one.split() for one in plan.get('manual', '').split(';') if one]
        for other, *done in before:
            if other == mark:
                return [f'{name}@{instant}' for instant in done]
        ready: list[str] = []
        if instants:
            done = [i for i in instants if self.enter(plan, f'{name}@{i}', ready)]
        else:
            now = f'{self.now}.{mark[:8]}'
            done = [now] * self.start(name, f'{name}@{now}', ready)
        if done:
            plan['manual'] = ';'.join(map(' '.join, [[mark, *done], *before][:4]))
        self._count(plan, 'fired', len(done))
        self._end_firing(ready, len(done))
        return [f'{name}@{instant}' for instant in done]

    def _schedules(self, items: list[Asked], resent: bool) -> list[Any]:
        ((most, names),) = items
        return [
            (name, self.schedules[name], times, self.plans[name])
            for name in names
            if name in self.plans
            for times in [(self.known(name), [*self.times.get(name, [])][-1:], self.times.get(name, [])[:most])]
        ]
