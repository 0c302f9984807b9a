"""Which flows there are is told of so many that wait, and no more of a flow than is asked for."""

from __future__ import annotations

import pytest

from support.diamond import DIAMOND
from torrelque import Torrelque, TorrelqueValueError
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server



async def test_flows_are_found_among_what_waits(queue: Torrelque) -> None:
    operator = Operator(queue)
    empty = await operator.flows()
    assert (empty.flows, empty.seen, empty.total, empty.cursor) == ((), 0, 0, None)
    for n in range(3):
        await queue.enqueue_flow(DIAMOND, flow_id=f'F{n}', name=f'no. {n}', timeout=3600)
    found = await operator.flows()
    assert (found.seen, found.total, found.cursor) == (12, 12, None)
    assert {flow.id: flow.name for flow in found} == {f'F{n}': f'no. {n}' for n in range(3)}
    one = next(flow for flow in found if flow.id == 'F1')
    whole = await operator.flow('F1')
    assert (one.total, one.left, one.dead, one.status, one.gives_up, one.started, one.on_failure) == (
        whole.total, whole.left, whole.dead, whole.status, whole.gives_up, whole.started, whole.on_failure,
    )  # fmt: skip
    assert (one.tasks, one.task) == ((), None)
    with pytest.raises(TorrelqueValueError, match='cursor'):
        await operator.flows(after='needs 0')


async def test_flows_are_found_some_at_a_time(queue: Torrelque) -> None:
    for n in range(300):
        await queue.enqueue_flow(DIAMOND, flow_id=f'F{n}')
    operator, after, found = Operator(queue), None, set[str]()
    while True:
        part = await operator.flows(after=after, most=1)
        found |= {flow.id for flow in part}
        after = part.cursor
        if after is None:
            break
        assert part.seen < part.total == 1200
    assert found == {f'F{n}' for n in range(300)}


async def test_of_a_large_flow_it_is_not_looked_for_who_waits_for_whom(queue: Torrelque) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    operator = Operator(queue)
    known = {task.name: task.after for task in (await operator.flow('F', edges_of=4)).tasks}
    assert known['d'] == (('b', 'then'), ('c', 'end'))
    assert {task.after for task in (await operator.flow('F', edges_of=3)).tasks} == {()}
