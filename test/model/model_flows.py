"""What always holds of flows, seen in the keys of a queue by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.model_groups import CANCELLED, DEAD, DELAYED, PENDING, WORKING

if TYPE_CHECKING:
    from model.model_checks import Seen

PARKED = '7'
"""The status of a task of a flow that waits for others, and of a flow that goes on."""


def check_waiting(seen: Seen) -> None:
    """F1: a task that waits is in ``needs`` of its flow, with how many ends it still waits for."""
    for task_id, state in seen.states.items():
        if state['status'] == PARKED and 'total' not in state:
            left = seen.needs[state['flow']][task_id].removeprefix('a')
            assert left.isdecimal() and int(left) > 0
    for task_id in seen.away:
        assert 'queue' in seen.states[task_id] and task_id in seen.needs[seen.states[task_id]['flow']]


def check_begun(seen: Seen) -> None:
    """F2: a task of ``needs`` that has begun is with somebody, or waits for somebody; one that is dead is dead."""
    for flow, members in seen.needs.items():
        assert flow in seen.parked
        for task_id, left in members.items():
            state = seen.states[task_id]
            if left == 'dead':
                assert state['status'] == DEAD or task_id in seen.away
            elif left == '0':
                held = state['status'] == CANCELLED and task_id in {**seen.working, **seen.away}
                assert state['status'] in (PENDING, WORKING, DELAYED) or held or 'total' in state


def check_counted(seen: Seen) -> None:
    """F3: a flow counts the tasks that have not ended, and its dead ones; none of them has an end."""
    for task_id, state in seen.states.items():
        if 'total' in state and task_id in seen.parked:
            left_of_it = seen.needs.get(task_id, {})
            # One that was cancelled before it had tasks, or when none was left of a draft, is finished by `spread`.
            ends = state['status'] == CANCELLED and 'spread' in seen.names
            assert int(state['left']) == len(left_of_it) and (left_of_it or 'draft' in state or ends)
            assert int(state.get('dead', 0)) == [*left_of_it.values()].count('dead')
            assert not {*left_of_it} & {*seen.done.get(task_id, {})}
