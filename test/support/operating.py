"""What an operator must be told, computed by a reader of its own from all keys of a queue."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis.asyncio

from model.model_checks import DUMP, Seen, read_dump
from torrelque import Torrelque
from torrelque.operate import Overview, TaskView
from torrelque.operate.pages import walk

CANCELLED, PENDING, WORKING = '6', '0', '1'


class Truth(NamedTuple):
    """All keys of a queue, and the text of what the model has no need of."""

    seen: Seen
    probes: dict[str, str]


async def read_truth(client: redis.asyncio.Redis, queue: Torrelque) -> Truth:
    base = queue.keys['pending'].removesuffix('pending')
    probes: dict[bytes, bytes] = await client.hgetall(queue.keys['probes'])  # type: ignore[assignment]
    return Truth(
        read_dump(await client.eval(DUMP, 0, base)),
        {name.decode(): text.decode() for name, text in probes.items()},
    )


def instant(text: str | float | None) -> float | None:
    return None if text is None else float(text) / 1000


def ready_since(state: dict[str, str]) -> float:
    return max(float(state.get(name, 0)) for name in ('enqueue_time', 'last_requeue_time', 'ready_time')) / 1000


# Where tasks are


def ordered(scores: dict[str, Any]) -> list[str]:
    return [task_id for task_id, _ in sorted(scores.items(), key=lambda item: (float(item[1]), item[0].encode()))]


def group_of(truth: Truth, name: str) -> list[str]:
    """Tasks of a group that are pending, in their order; its head is one of them."""
    seen = truth.seen
    orders = dict(seen.waiting.get(name, {}))
    if name in seen.heads:
        orders[seen.heads[name]] = int(seen.states[seen.heads[name]]['order'])
    return ordered(orders)


def grouped(truth: Truth) -> set[str]:
    return {task_id for name in truth.seen.groups for task_id in group_of(truth, name)}


def places(truth: Truth) -> dict[str, set[str]]:
    """Ids by place, as `torrelque.operate.pages.PLACES` has them and more."""
    seen = truth.seen
    return {
        'pending': {*seen.plain, *seen.priority, *grouped(truth)},
        'ready': {*seen.plain, *seen.priority, *seen.heads_in_turn},
        'priority': {*seen.priority},
        'turns': seen.heads_in_turn,
        'group': grouped(truth),
        'working': {*seen.working},
        'delayed': {*seen.delayed},
        'dead': {*seen.dead},
        **{f'group:{name}': {*group_of(truth, name)} for name in seen.groups},
    }


def orphaned(truth: Truth, now: float) -> set[str]:
    """Of a queue without hearts."""
    return {
        task_id
        for task_id, end in truth.seen.working.items()
        if truth.seen.states[task_id]['status'] == WORKING
        and now - (end - int(truth.seen.states[task_id]['timeout'])) / 1000
        > int(truth.seen.states[task_id]['timeout']) / 2000
    }


# Answers


def check_overview(truth: Truth, told: Overview) -> None:
    seen, now = truth.seen, told.server_time
    pending = places(truth)['pending']
    figures = {
        'tasks': len(seen.payloads),
        'pending': len(pending),
        'working': len(seen.working),
        'delayed': len(seen.delayed),
        'dead': len(seen.dead),
        'ready': len(places(truth)['ready']),
        'priority': len(seen.priority),
        'groups': len(seen.groups),
        'rated': len(seen.rated),
        'paused': '' in seen.paused,
        'paused_groups': len(seen.paused - {''}),
        'oldest_dead': instant(min(seen.dead.values(), default=None)),
        'newest_dead': instant(max(seen.dead.values(), default=None)),
        'next_delayed': instant(min(seen.delayed.values(), default=None)),
        'overdue': sum(due / 1000 <= now for due in seen.delayed.values()),
        'overdue_leases': sum(end / 1000 <= now for end in seen.working.values()),
        'broken': (),
        'error': None,
    }
    assert {name: getattr(told, name) for name in figures} == figures
    check_oldest({ready_since(seen.states[task_id]) for task_id in pending}, told)
    # Where nothing is ready, all that is pending waits in groups that are paused or at their limits.
    assert told.oldest is not None or not places(truth)['ready']
    probe = truth.probes.get('') if '' in seen.paused else None
    assert told.probe == (None if probe is None else int(probe.split()[0]) / 1000)


def check_oldest(times: set[float], told: Overview) -> None:
    """A pending task is as old as that, and none is told to be older than the oldest."""
    assert told.oldest is None or told.oldest in times
    if 'oldest' in told.exact:
        assert told.oldest == min(times, default=None)


def check_task(truth: Truth, told: TaskView) -> None:
    """A task is told as its keys are."""
    seen, task_id = truth.seen, told.id
    state, payload = seen.states.get(task_id, {}), seen.payloads.get(task_id)
    found = {name for name, ids in places(truth).items() if task_id in ids and ':' not in name}
    names = [name for name in ('working', 'delayed', 'dead', 'priority', 'turns', 'group') if name in found]
    place = names[0] if names else 'pending' if 'pending' in found else None
    scores = {'working': seen.working, 'delayed': seen.delayed, 'dead': seen.dead}
    end, timeout = seen.working.get(task_id), int(state['timeout'])
    claimed = state.get('last_dequeue_time')
    expected = {
        'status': int(state['status']),
        'place': place,
        'group': state.get('group'),
        'priority': int(state.get('priority', 0)),
        'attempt': int(state.get('dequeue_count', 0)),
        'forgiven': int(state.get('forgiven', 0)),
        'max_attempts': None if 'max_attempts' not in state else int(state['max_attempts']),
        'requeue_count': int(state.get('requeue_count', 0)),
        'timeout': timeout / 1000,
        'enqueue_time': instant(state['enqueue_time']),
        'ready_since': ready_since(state) if state['status'] == PENDING else None,
        'last_dequeue_time': instant(claimed),
        'last_requeue_time': instant(state.get('last_requeue_time')),
        'due': instant(scores['delayed'].get(task_id)),
        'lease_end': instant(end),
        'died': instant(scores['dead'].get(task_id)),
        'release_time': instant(state.get('release_time')),
        'error': state.get('error'),
        'raw': payload,
        'size': None if payload is None else len(payload),
        'broken': None,
        'worker': None,
    }
    assert {name: getattr(told, name) for name in expected} == expected
    assert (told.renewed is None) == (end is None)
    assert end is None or abs((told.renewed or 0) - (end - timeout) / 1000) < 1e-3
    life = seen.lives.get(f'task:{task_id}')
    assert (told.kept_until is None) == (life is None)
    assert life is None or abs((told.kept_until or 0) - told.server_time - life / 1000) < 60


async def walked(queue: Torrelque, place: str, **options: Any) -> list[TaskView]:
    return [task for part in [part async for part in walk(queue, place, **options)] for task in part]
