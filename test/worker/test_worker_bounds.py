"""The limits and times of a worker: where they stand, and who has them."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest

import torrelque.worker
from support.bounding import Bound
from support.dying import ignore
from support.sources import parse
from torrelque import Torrelque
from torrelque.worker import Worker
from torrelque.worker.bounds import BOUNDS, Bounds

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

ELSEWHERE = {
    'breaker.MANY': 'an argument is checked against it',
    'retry.MOST_FACTOR': 'an argument is checked against it',
    'source.PAGE': 'the script has the same number',
    'trace.MAX_ERROR': 'the text of an error is made in the process of a handler, too',
}


def test_limits_and_times_stand_in_one_place() -> None:
    numbers = {
        f'{path.stem}.{ast.unparse(node.targets[0])}'
        for path in Path(torrelque.worker.__file__).parent.glob('*.py')
        for node in parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int | float)
    }  # fmt: skip
    assert numbers == {*ELSEWHERE}


def bounds_in_use() -> set[tuple[str, int]]:
    """Which parts of workers have bounds, and one of these."""
    return {
        (type(part).__name__, value.deaths)
        for part in gc.get_objects()
        if type(part).__module__.startswith('torrelque.worker.')
        for value in getattr(part, '__dict__', {}).values()
        if isinstance(value, Bounds)
    }


async def test_a_worker_that_runs_is_given_other_bounds_with_all_its_parts(
    queue: Torrelque, worker_bound: Bound
) -> None:
    gc.collect()
    async with Worker(queue, ignore, heartbeat=60) as worker:
        before = bounds_in_use()
        worker_bound(deaths=BOUNDS.deaths + 1)
        assert worker._bounds.deaths == BOUNDS.deaths + 1
        assert bounds_in_use() == {(name, BOUNDS.deaths + 1) for name, _ in before}
        assert {name for name, _ in before} >= {'Common', 'Deaths', 'Heart', 'Keeper', 'Settling', 'Source', 'Telling'}
