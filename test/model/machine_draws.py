"""What the steps of the machine are drawn from, and what is made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from torrelque import TorrelqueTaskStatus as Status

OWN_IDS = ['a', 'b', 'c', 'ü 1']
GROUPS = ['a', 'b', 'ü:1']
ONLY = {'p': [Status.PENDING, Status.DELAYED], 'w': [Status.WORKING, Status.DEAD]}
"""Statuses that a task is to have that is cancelled, by the kind of the call; of others it may have any."""

values = st.one_of(st.integers(0, 9), st.text('xyz', max_size=25))
leases = st.sampled_from([None, None, 0, 0.001, 0.5, 2, 2.001, 10, 300, 1e6])
delays = st.sampled_from([None, None, 0, 0.001, 0.5, 2, 2.001, 30])
attempts = st.sampled_from([None, None, 1, 2, 3])
errors = st.sampled_from([None, '', 'bad', 'wörse', 'Traceback:\n  1\n\r\tE: a\0b\r\n\n ', '\n', f'\n{"é" * 100}'])
final = st.sampled_from([Status.COMPLETED, Status.REJECTED, Status.CANCELLED])
lives = st.sampled_from([None, 0, 600, 7200])
indexes = st.integers(0, 40)
holders = st.tuples(st.sampled_from(['current'] * 5 + ['stale'] * 2 + ['working', 'plain']), indexes)
queues = st.integers(0, 2)
group_names = st.sampled_from(GROUPS)
priorities = st.sampled_from([0] * 6 + [1, 1, -1, -1, 7, 100, -100])
ranks = st.tuples(st.one_of(st.none(), group_names, group_names), priorities)
limits = st.tuples(
    st.sampled_from([None, 1, 1, 2, math.inf]),
    st.sampled_from([None, None, (1, 1), (2, 0.5), (3, 1), (1, 0.001), (1, 100), (2, 100), math.inf]),
)
PLAIN = (None, 0)


def several(*fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Mostly one task, else some whose calls are made at once."""
    item = st.tuples(*fields)
    return st.one_of(st.lists(item, min_size=1, max_size=1), st.lists(item, min_size=1, max_size=4))


def choose(ids: Sequence[str], index: int) -> str:
    return ids[-1 - index % len(ids)]


def ms(seconds: float | None, default: int = 0) -> int:
    return default if seconds is None else round(seconds * 1000)


def ms_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else ms(seconds)


def attempts_of(history: str) -> tuple[tuple[int, float, float, str], ...]:
    """Failed attempts as a state has them: number, start, end, error."""
    lines = [line.split(' ', 3) for line in history.split('\n')[:-1]]
    return tuple((int(number), int(start) / 1000, int(end) / 1000, error) for number, start, end, error in lines)
