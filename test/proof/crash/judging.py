"""What must hold when a consumer was killed, or refused: fencing, leases, and what is handed out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from model.model_checks import Seen
from model.model_groups import CANCELLED, WORKING
from proof.crash.commands import Command
from torrelque import TorrelqueTaskId

Deliveries = list[tuple[TorrelqueTaskId, Any]]


def view(seen: Seen, task_id: str) -> tuple[Any, ...]:
    """All bytes of one task."""
    places = (seen.working, seen.delayed, seen.dead, seen.payloads, seen.states, seen.holders, seen.priority)
    waiting = [members.get(task_id) for members in seen.waiting.values()]
    return (*(place.get(task_id) for place in places), waiting, task_id in seen.pending, task_id in seen.turns)


def check_refusals(command: Command, outcomes: Sequence[Any], before: Seen, after: Seen) -> Iterator[str]:
    """Fencing: whether a call of a holder was done for the tasks that are its own, and did nothing to others."""
    own: set[str] = set()
    refused: dict[str, Any] = {}
    cleared = False
    for (task_id, token), outcome in zip(command.tasks, outcomes, strict=True):
        state = before.states.get(task_id, {})
        is_last = token == f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}' and task_id not in own
        is_own = is_last and state['status'] == WORKING
        if is_own is not (outcome in ('ok', 'dead')):
            yield f'{command.name} of {task_id} with {token} answered {outcome}, its state was {state}'
        if is_own:
            own.add(task_id)
        elif is_last and state['status'] == CANCELLED:
            cleared = True
        else:
            refused[task_id] = outcome
    for task_id, outcome in refused.items():
        # One who was handed the same task again may hold it by one token and not by the other.
        then, now = view(before, task_id), view(after, task_id)
        if task_id not in own and then != now:
            yield f'{command.name} of {task_id} was refused ({outcome}), and changed {then} to {now}'
    if not own and not cleared and _lasting(before) != _lasting(after):
        yield f'{command.name}, refused, changed {_lasting(before)} to {_lasting(after)}'


def _lasting(seen: Seen) -> Seen:
    # A call may take the record of a claim along, whose reply has come; and the bell is popped by who waits.
    names = seen.names - {'bell', 'claim'}
    return seen._replace(bell=[], records={}, lives={}, names=names)


def _claimed(task_id: TorrelqueTaskId) -> float:
    """The server's time (ms) when a task was handed out."""
    return float(task_id.token.partition('-')[2])


def check_leases(seen: Seen, got: Iterable[tuple[TorrelqueTaskId, Any]]) -> Iterator[str]:
    """Nothing is handed out before the lease of the one before has ended."""
    for task_id, _ in got:
        end = seen.working.get(task_id)
        is_next = end is not None and task_id.attempt == int(seen.states[task_id]['dequeue_count']) + 1
        if end is not None and is_next and _claimed(task_id) < end:
            yield f'{task_id} was handed out {end - _claimed(task_id)} ms before its lease had ended'


def check_work_off(seen: Seen, got: Deliveries, died: set[str]) -> Iterator[str]:
    """What was there was handed out, once, as it was, and in the order of its group where that is strict."""
    expected = {task_id: int(payload) for task_id, payload in seen.payloads.items()}
    for task_id in seen.working:
        if seen.states[task_id]['status'] == CANCELLED:
            del expected[task_id]
    if sorted((str(task_id), job) for task_id, job in got) != sorted(expected.items()):
        yield f'{got} was handed out of {expected}'
    yield from check_leases(seen, got)
    for group in {state.get('group') for state in seen.states.values()} - {None}:
        assert group is not None
        if seen.limit(group) == 1:
            # A task that was dead, or delayed before it was ever handed out, comes when it may.
            away = {*died, *seen.dead, *(i for i in seen.delayed if 'dequeue_count' not in seen.states[i])}
            orders = [int(seen.states[i]['order']) for i, _ in got if seen.group_of(i) == group and i not in away]
            if orders != sorted(orders):
                yield f'out of the order of group {group}: {got}'
