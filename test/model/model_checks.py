"""What must hold of a queue by its keys alone, whatever came before, and that they are as the model has them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from model.model_flows import PARKED
from model.model_groups import CANCELLED, COMPLETED, DEAD, DELAYED, PENDING, REJECTED, WORKING

# In an environment of another queue there is none of this.
if TYPE_CHECKING:
    from model.model import Model
    from torrelque import TorrelqueTaskId

# All keys of a queue in one call: name, type, content, time to live.
DUMP = """
local dump = {}
local read = {hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, set = {'SMEMBERS'}, string = {'GET'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'}}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local words = read[kind]
  dump[#dump + 1] = {string.sub(key, #ARGV[1] + 1), kind, redis.call(words[1], key, unpack(words, 2)),
    redis.call('PTTL', key)}
end
return dump
"""
FIRING = re.compile('.*@[0-9]+')
"""Ids of tasks that are due by a schedule."""
BUCKET_LIFE = 60_000
"""ms that a group's bucket lives longer than it would; added in the script, so that none ends by the real clock."""
TOLD = {'done', 'values', 'letter', 'guests', 'outbox'}
LASTING = {'limits', 'paused', 'probes', 'schedules', 'schedule', 'times'}
"""What stays for ever."""


class Seen(NamedTuple):
    """The keys of a queue, ids and fields as text."""

    names: set[str]
    pending: list[str]
    turns: list[str]
    priority: dict[str, int]
    groups: dict[str, int]
    heads: dict[str, str]
    holders: dict[str, str]
    later: dict[str, int]
    waiting: dict[str, dict[str, int]]
    rated: dict[str, int]
    buckets: dict[str, tuple[float, int]]
    limits: dict[str, str]
    paused: set[str]
    seq: int | None
    working: dict[str, int]
    delayed: dict[str, int]
    dead: dict[str, int]
    untold: dict[str, int]
    payloads: dict[str, bytes]
    states: dict[str, dict[str, str]]
    holes: set[str]
    bell: list[bytes]
    records: dict[str, dict[str, Any]]
    lives: dict[str, int]
    schedules: dict[str, float]
    plans: dict[str, dict[str, str]]
    times: dict[str, list[int]]
    parked: dict[str, float]
    needs: dict[str, dict[str, str]]
    done: dict[str, dict[str, str]]
    away: dict[str, float]

    # What is where

    def is_plain(self, task_id: str) -> bool:
        """Whether an id in `pending` is of a task there, and no hole."""
        state = self.states.get(task_id, {})
        return state.get('status') == PENDING and 'order' not in state

    def is_head(self, task_id: str) -> bool:
        """Whether an id in `turns` is of a group's head, and no hole."""
        state = self.states.get(task_id, {})
        return state.get('status') == PENDING and 'group' in state and self.heads.get(state['group']) == task_id

    @property
    def plain(self) -> list[str]:
        return [task_id for task_id in self.pending if self.is_plain(task_id)]

    @property
    def heads_in_turn(self) -> set[str]:
        return {task_id for task_id in self.turns if self.is_head(task_id)}

    def group_of(self, task_id: str) -> str | None:
        return self.states.get(task_id, {}).get('group')

    def was_given(self, task_id: TorrelqueTaskId) -> bool:
        """Whether the task was handed out with that token last, and is still known."""
        state = self.states.get(task_id, {})
        return task_id.token == f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}'

    def held(self, group: str) -> int:
        """How many tasks of a group are with somebody."""
        return sum(self.group_of(task_id) == group for task_id in self.working)

    # What holds for a group

    def limit(self, group: str) -> float:
        return float(self._limit(group, 'concurrency') or math.inf)

    def has_rate(self, group: str) -> bool:
        return bool(self._limit(group, 'rate'))

    def _limit(self, group: str, name: str) -> Any:
        for key in (group, ''):
            value = json.loads(self.limits.get(key, '{}')).get(name)
            if value is not None:
                return value
        return None


def _pairs(items: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((key.decode(), value) for key, value in zip(items[::2], items[1::2], strict=True))


def read_dump(dump: list[Any]) -> Seen:
    content: dict[str, Any] = {}
    lives = {}
    for name, kind, value, ttl in dump:
        content[name.decode()] = dict(_pairs(value)) if kind in (b'hash', b'zset') else value
        if ttl != -1:
            lives[name.decode()] = ttl

    def numbers(name: str) -> dict[str, int]:
        return {key: int(number) for key, number in content.get(name, {}).items()}

    def texts(name: str) -> dict[str, str]:
        return {key: text.decode() for key, text in content.get(name, {}).items()}

    def ids(name: str) -> list[str]:
        return [task_id.decode() for task_id in reversed(content.get(name, []))]

    def named(prefix: str) -> dict[str, str]:
        return {name.removeprefix(prefix): name for name in content if name.startswith(prefix)}

    def bucket(text: bytes) -> tuple[float, int]:
        left, at = text.split()
        return float(left), int(at)

    return Seen(
        names={name.partition(':')[0] for name in content},
        pending=ids('pending'),
        turns=ids('turns'),
        priority=numbers('priority'),
        groups=numbers('groups'),
        heads=texts('heads'),
        holders=texts('holders'),
        later=numbers('later'),
        waiting={group: numbers(name) for group, name in named('group:').items()},
        rated=numbers('rated'),
        buckets={group: bucket(content[name]) for group, name in named('rate:').items()},
        limits=texts('limits'),
        paused={*ids('paused')},
        seq=int(content['seq']) if 'seq' in content else None,
        working=numbers('working'),
        delayed=numbers('delayed'),
        dead=numbers('dead'),
        untold=numbers('untold'),
        payloads=content.get('tasks', {}),
        states={task_id: texts(name) for task_id, name in named('task:').items()},
        holes={*ids('holes')},
        bell=content.get('bell', []),
        records={name: json.loads(content[name]) for name in named('claim:').values()},
        lives=lives,
        schedules={name: float(instant) for name, instant in content.get('schedules', {}).items()},
        plans={schedule: texts(name) for schedule, name in named('schedule:').items()},
        times={schedule: [*map(int, content[name])] for schedule, name in named('times:').items()},
        parked={task_id: float(until) for task_id, until in content.get('waiting', {}).items()},
        needs={flow: texts(name) for flow, name in named('needs:').items()},
        done={flow: texts(name) for flow, name in named('done:').items()},
        away={task_id: float(instant) for task_id, instant in content.get('away', {}).items()},
    )


# Places


def check_one_place(seen: Seen) -> None:
    """Each id is in the one place that its state tells; in the two lists there are holes besides."""
    assert len(seen.pending) == len(set(seen.pending))
    plain = seen.plain
    assert set(seen.pending) - set(plain) <= seen.holes <= set(seen.pending) - set(plain)
    grouped = [task_id for members in seen.waiting.values() for task_id in members]
    waiting = [*plain, *seen.priority, *seen.heads_in_turn, *grouped]
    places = [*waiting, *seen.working, *seen.delayed, *seen.dead, *seen.parked, *seen.away]
    assert len(places) == len(set(places))
    for task_id, state in seen.states.items():
        found = {
            name
            for name, place in (
                (PENDING, waiting), (WORKING, {**seen.working, **seen.away}), (DELAYED, seen.delayed),
                (DEAD, seen.dead), (PARKED, seen.parked),
            )
            if task_id in place
        }  # fmt: skip
        if state['status'] == CANCELLED:
            assert found <= {WORKING} or 'total' in state
        else:
            assert found == {state['status']} - {COMPLETED, REJECTED}
    assert set(places) <= set(seen.states)


def check_order(seen: Seen) -> None:
    """Whoever has an order waits by it: in its group, or among those without one."""
    for group, members in seen.waiting.items():
        assert all(seen.group_of(task_id) == group for task_id in members)
    for members in (seen.priority, *seen.waiting.values()):
        assert {task_id: str(order) for task_id, order in members.items()} == {
            task_id: seen.states[task_id]['order'] for task_id in members
        }
    assert all(seen.group_of(task_id) is None for task_id in seen.priority)
    orders = [state['order'] for task_id, state in seen.states.items() if task_id in seen.payloads and 'order' in state]
    assert len(orders) == len(set(orders))


def check_payloads(seen: Seen) -> None:
    """There is a payload for each task in a place, and for no other."""
    waiting = {*seen.plain, *seen.priority, *seen.heads_in_turn}.union(*seen.waiting.values())
    assert set(seen.payloads) == {*waiting, *seen.working, *seen.delayed, *seen.dead, *seen.parked, *seen.away}


def check_untold(seen: Seen) -> None:
    """Only a death may be told of."""
    assert {*seen.untold} <= {*seen.dead}


def check_lives(seen: Seen) -> None:
    """Only what is final ends by itself, and it does; claim records and buckets that are full too."""
    ending = {name.removeprefix('task:') for name in seen.lives if name.startswith('task:')}
    assert ending == {
        task_id
        for task_id, state in seen.states.items()
        if state['status'] in (COMPLETED, REJECTED)
        or state['status'] == CANCELLED and not {task_id} & {*seen.working, *seen.parked, *seen.away}
    }
    assert {name for name in seen.lives if not name.startswith(('task:', 'done:', 'values:', 'letter:'))} == {
        *seen.records,
        *map('rate:{}'.format, seen.buckets),
    }


def check_nothing_else(seen: Seen) -> None:
    """An empty queue is no key at all but for final states, claim records, what was set, buckets, and the bell where
    schedules are to fire."""
    assert seen.names <= {
        *('pending', 'working', 'delayed', 'dead', 'untold', 'tasks', 'task', 'holes', 'bell', 'claim'),
        *('turns', 'priority', 'groups', 'heads', 'holders', 'later', 'group', 'rated', 'rate', 'seq', *LASTING),
        *('waiting', 'spread', 'needs', 'edges', 'done', 'gate', 'values', 'away', 'outbox', 'guests', 'letter'),
    }
    if not seen.payloads:
        rings = ['bell'] if 'outbox' in seen.names or seen.schedules else []
        assert seen.names <= {'task', 'claim', 'rate', *LASTING, *TOLD, *rings}


# Groups


def check_heads(seen: Seen) -> None:
    """A group has one head at the most, in `turns`, which `heads` names."""
    in_turn = seen.heads_in_turn
    groups = [seen.states[task_id]['group'] for task_id in in_turn]
    assert len(groups) == len(set(groups))
    assert seen.heads == {seen.states[task_id]['group']: task_id for task_id in in_turn}


def check_slots(seen: Seen) -> None:
    """Heads, those with somebody, and those that wait for a retry hold a slot each; no other does."""
    retried = {task_id for task_id in seen.delayed if 'dequeue_count' in seen.states[task_id]}
    holding = {task_id: seen.group_of(task_id) for task_id in {*seen.heads_in_turn, *seen.working, *retried}}
    assert seen.holders == {task_id: group for task_id, group in holding.items() if group is not None}
    assert seen.groups == {group: [*seen.holders.values()].count(group) for group in seen.groups}
    first = [seen.group_of(task_id) for task_id in {*seen.delayed} - retried]
    assert seen.later == {group: first.count(group) for group in {*first} - {None}}


def check_known_groups(seen: Seen) -> None:
    """A group is known while it has tasks that are not dead, and do not wait for others."""
    counted = {*seen.payloads} - {*seen.dead, *seen.parked, *seen.away}
    assert {*seen.groups} == {seen.group_of(task_id) for task_id in counted} - {None}
    assert all(seen.waiting.values())


def check_none_forgotten(seen: Seen) -> None:
    """Where tasks of a group wait and one may go on, there is a head, or the group waits for a token."""
    for group in seen.waiting:
        if group not in seen.paused and seen.groups[group] < seen.limit(group):
            assert group in seen.heads or seen.has_rate(group) and group in seen.rated
    # Whoever waits for a token has something to begin with it.
    assert {*seen.rated} <= {*seen.waiting} - {*seen.heads}


def check_limits(before: Seen, seen: Seen) -> None:
    """Never more of a group at once than its limit, but for those that began before it was lowered."""
    for group in seen.groups:
        limit = max(before.limit(group), seen.limit(group))
        assert seen.groups[group] <= max(limit, before.groups.get(group, 0))
        assert seen.held(group) <= max(limit, before.held(group))


def check_one_at_a_time(before: Seen, seen: Seen, handed: list[TorrelqueTaskId]) -> None:
    """With a limit of one, whoever begins is alone, as nobody else had begun."""
    for task_id in handed:
        group = seen.group_of(task_id)
        if group is not None and seen.was_given(task_id) and before.limit(group) == 1 == seen.limit(group):
            assert before.held(group) > 1 or seen.held(group) <= 1


def check_handed_out(before: Seen, seen: Seen, handed: list[TorrelqueTaskId]) -> None:
    """Nobody was handed out while a better one of its group, or of those without, waited all the time."""
    all_the_time = {
        task_id: int(state['order'])
        for task_id, state in before.states.items()
        if state['status'] == PENDING and 'order' in state and seen.states.get(task_id) == state
    }
    for task_id in handed:
        # A claim that is repeated tells again of whom it took before, when a better one need not have been there.
        begun = seen.was_given(task_id) and not before.was_given(task_id)
        if begun and 'order' in seen.states[task_id]:
            for other, order in all_the_time.items():
                if before.group_of(other) == seen.group_of(task_id):
                    assert order > int(seen.states[task_id]['order'])


# Schedules


def check_next(seen: Seen) -> None:
    """A schedule fires next at the head of its times, or at one of its multiples; it is over where that is too late."""
    assert {*seen.schedules} == {*seen.plans} >= {*seen.times}
    for name, plan in seen.plans.items():
        times, score = seen.times.get(name, []), seen.schedules[name]
        assert times == sorted({*times})
        if plan['every']:
            assert score == math.inf or (score - int(plan['phase'])) % int(plan['every']) == 0
            assert score <= float(plan['until'] or math.inf) or score == math.inf
        else:
            first = times[0] if times else math.inf
            assert score == (first if first <= float(plan['until'] or math.inf) else math.inf)
        # Whatever was due is over.
        assert score > int(plan.get('last', 0))


def check_fired(before: Seen, seen: Seen, fired: set[str], filled: set[str]) -> set[str]:
    """An instant fires at most once, unless by hand; those that have in this step."""
    fresh = {task_id for task_id in {*seen.states} - {*before.states} if FIRING.fullmatch(task_id)} - filled
    assert not fresh & fired
    for name in {*before.plans} & {*seen.plans}:
        last, other = (int(one.plans[name].get('last', 0)) for one in (before, seen))
        # It was removed and set anew, or goes on.
        assert last <= other or other == 0
        own = [int(task_id.rpartition('@')[2]) for task_id in fresh if task_id.startswith(f'{name}@')]
        assert last == 0 or all(instant > last for instant in own)
    return fresh


def check_overlap(before: Seen, seen: Seen, replanned: set[str]) -> None:
    """Nothing follows, by a schedule that skips, a task that is not finished."""
    for name in {*before.plans} & {*seen.plans}:
        plan, other = before.plans[name], seen.plans[name]
        last = plan.get('last_id', '')
        if last and plan['overlap'] == 'skip' and name not in replanned and other.get('last_id', '') not in (last, ''):
            old, new = before.states.get(last, {}), seen.states.get(last, {})
            brought_back = old.get('ready_time') != new.get('ready_time')
            assert brought_back or new.get('status') not in (PENDING, WORKING, DELAYED) and last not in seen.working


# The model


def check_prediction(seen: Seen, model: Model, slack: float) -> None:
    """All is as the model has it."""
    parts = (
        *('pending', 'holes', 'turns', 'heads', 'waiting', 'priority', 'working', 'delayed', 'dead', 'untold'),
        *('payloads', 'states', 'groups', 'holders', 'later', 'limits', 'paused', 'rated', 'seq'),
        *('schedules', 'plans', 'times'),
    )
    for name in parts:
        found, predicted = getattr(seen, name), getattr(model, name)
        assert found == predicted, (name, found, predicted)
    assert seen.bell == [b'1'] * model.bell, (seen.bell, model.bell)
    assert {group: at for group, (_, at) in seen.buckets.items()} == {
        group: bucket.at for group, bucket in model.buckets.items()
    }
    for group, (left, _) in seen.buckets.items():
        assert abs(left - model.buckets[group].left) < 1e-6, (group, left, model.buckets[group])
    assert {name: (record['time'], record['ids']) for name, record in seen.records.items()} == {
        record[record.index('claim:') :]: value for record, value in model.records.items()
    }
    for name, left in seen.lives.items():
        kind, _, rest = name.partition(':')
        if kind == 'rate':
            ttl = model.buckets[rest].ttl + BUCKET_LIFE
        else:
            ttl = 60_000 if kind == 'claim' else model.lives[rest][1]
        assert ttl - slack <= left <= ttl
