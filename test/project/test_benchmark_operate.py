"""The benchmark of what operators cost, with small counts: each figure is there."""

from __future__ import annotations

import pytest

from benchmark.operate.figures import SMALL, Figure
from benchmark.operate.operate import GROUPS, measure, tables_of
from benchmark.tables import as_text


@pytest.mark.parametrize('name', GROUPS)
@pytest.mark.long
def test_each_figure_is_measured(name: str) -> None:
    where, found = measure(SMALL, [name])
    assert 'Valkey' in where['server']
    assert [*found] == [name]
    assert found[name]
    assert all(one.value > 0 for one in found[name])
    text = '\n'.join(as_text(tables_of(found)))
    assert all(one.name in text and one.unit in text for one in found[name])


def test_a_goal_is_reached_by_what_is_smaller() -> None:
    assert Figure('it', 5, 's', 5).reached
    assert Figure('it', 5, 's').reached
    assert not Figure('it', 5.1, 's', 5).reached
