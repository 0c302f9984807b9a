"""What always holds of attempts, seen in the keys of a queue by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.model_groups import WORKING

if TYPE_CHECKING:
    from model.model_checks import Seen


def check_counts(seen: Seen) -> None:
    """A task comes back, and is forgiven, at most as often as it was handed out, and never beyond its attempts."""
    for task_id, state in seen.states.items():
        handed_out, back, forgiven = (
            int(state.get(field, 0)) for field in ('dequeue_count', 'requeue_count', 'forgiven')
        )
        assert 0 <= back <= handed_out
        assert 0 <= forgiven <= handed_out
        assert handed_out - forgiven <= int(state.get('max_attempts', handed_out))
        if state['status'] == WORKING:
            assert handed_out > forgiven or task_id in seen.away and not handed_out


def check_history(seen: Seen) -> None:
    """Failed attempts are ten at the most, each once, in their order, and none of them is yet to come."""
    for state in seen.states.values():
        lines = [line.split(' ', 3) for line in state.get('history', '').split('\n')]
        assert lines.pop() == [''] and len(lines) <= 10
        assert all(len(line) == 4 and len(line[3].encode()) <= 160 for line in lines)
        numbers = [int(line[0]) for line in lines]
        assert numbers == sorted({*numbers})
        # Those that are left out are behind the first.
        assert len(lines) == 10 or not lines or len(lines) <= numbers[-1]
        ended = max(0, int(state.get('dequeue_count', 0)) - (state['status'] == WORKING))
        assert all(1 <= number <= ended for number in numbers)
