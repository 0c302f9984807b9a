"""An act that was counted before changes what was counted, and no more, however long that was ago."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.burying import die, hand_out
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, Plan, Selection, plan as planning

pytestmark = pytest.mark.one_server


@pytest.fixture
def operator(queue: Torrelque) -> Operator:
    return Operator(queue, who='ann')


@pytest.fixture(params=['ids', 'no ids'])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether ids are kept, or were too many for that."""
    if request.param == 'no ids':
        monkeypatch.setattr(planning, 'KEPT', 0)


async def count(operator: Operator, name: str, selection: Selection, **options: Any) -> Plan:
    found = Plan()
    await getattr(operator, name)(selection, dry_run=True, plan=found, **options)
    # The time of the server goes on by milliseconds.
    await asyncio.sleep(0.002)
    return found


async def statuses(queue: Torrelque, ids: list[str]) -> list[Status]:
    return [(await queue.get_task_state(task_id)).status for task_id in ids]


@pytest.mark.usefixtures('kept')
@pytest.mark.parametrize('selection', [Selection(), Selection(error='Error'), Selection(newer=3600)])
async def test_what_dies_while_somebody_thinks_is_not_brought_back(
    selection: Selection, queue: Torrelque, operator: Operator
) -> None:
    first = await die(queue, 3)
    plan = await count(operator, 'redrive', selection)
    later = await die(queue, 5)
    outcome = await operator.redrive(selection, plan=plan)
    assert (plan.matched, outcome.matched, outcome.done, outcome.finished) == (3, 3, 3, True)
    assert await statuses(queue, first + later) == [Status.PENDING] * 3 + [Status.DEAD] * 5


@pytest.mark.usefixtures('kept')
async def test_what_is_enqueued_while_somebody_thinks_is_not_cancelled(queue: Torrelque, operator: Operator) -> None:
    first = [str(await queue.enqueue(n, group='acme')) for n in range(2)]
    taken = str(await queue.enqueue('taken', group='acme'))
    plan = await count(operator, 'cancel', Selection(group='acme'))
    assert plan.matched == 3
    # One was handed out since, and others came.
    await hand_out(queue, 1)
    later = [str(await queue.enqueue(n, group='acme')) for n in range(9)]
    outcome = await operator.cancel(Selection(group='acme'), plan=plan)
    assert outcome.done == 2
    assert await statuses(queue, [*first, taken]) == [Status.WORKING, Status.CANCELLED, Status.CANCELLED]
    assert await statuses(queue, later) == [Status.PENDING] * 9


@pytest.mark.usefixtures('kept')
async def test_an_age_is_taken_from_when_it_was_counted(queue: Torrelque, operator: Operator) -> None:
    for age in (0.05, 0.5, 5.0):
        old = str(await queue.enqueue('old'))
        await asyncio.sleep(age)
        young = str(await queue.enqueue('young'))
        selection = Selection(older=age)
        plan = await count(operator, 'cancel', selection)
        if plan.matched == 1:
            break
        # The machine was away for longer than that: both are old by now.
        assert (await operator.cancel(Selection())).done == 2
    assert plan.matched == 1
    await asyncio.sleep(age * 1.2)
    assert (await operator.cancel(selection, plan=plan)).done == 1
    assert await statuses(queue, [old, young]) == [Status.CANCELLED, Status.PENDING]


@pytest.mark.usefixtures('kept')
async def test_nothing_that_was_found_is_nothing_that_is_done(queue: Torrelque, operator: Operator) -> None:
    plan = await count(operator, 'redrive', Selection(error='Error'))
    ids = await die(queue, 2)
    outcome = await operator.redrive(Selection(error='Error'), plan=plan)
    assert (outcome.matched, outcome.done) == (0, 0) and await statuses(queue, ids) == [Status.DEAD] * 2


async def test_the_limit_holds_beside_the_plan(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 5)
    plan = await count(operator, 'redrive', Selection())
    outcome = await operator.redrive(Selection(), plan=plan, limit=2)
    assert (outcome.done, outcome.finished) == (2, False)
    # A plan may be used again: what is left of it is done.
    assert (await operator.redrive(Selection(), plan=plan)).done == 3


async def test_tasks_that_are_named_are_meant_whatever_becomes_of_them(queue: Torrelque, operator: Operator) -> None:
    ids = [str(await queue.enqueue(n)) for n in range(2)]
    plan = await count(operator, 'cancel', Selection(ids=ids))
    await hand_out(queue, 1)
    assert (await operator.cancel(Selection(ids=ids), plan=plan)).done == 2


async def test_what_was_found_is_not_looked_for_again(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 300)
    [last] = await die(queue, 1, 'KeyError: 1')
    plan = await count(operator, 'redrive', Selection(error='KeyError'))
    assert plan.ids == {queue.name: [last]}
    outcome = await operator.redrive(Selection(error='KeyError'), plan=plan)
    assert (outcome.seen, outcome.done) == (1, 1)


async def test_a_plan_that_is_none_is_refused(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 1)
    with pytest.raises(TorrelqueValueError, match='the plan is none of queue'):
        await operator.redrive(Selection(), plan=Plan())
    with pytest.raises(TorrelqueTypeError, match='a plan is a Plan'):
        await operator.redrive(Selection(), plan='all')
    assert (await queue.get_queue_stats()).dead == 1


async def test_a_dry_run_is_for_those_who_may_only_read(queue: Torrelque) -> None:
    await die(queue, 2)
    outcome = await Operator(queue, read_only=True).redrive(Selection(), dry_run=True)
    assert (outcome.matched, outcome.done) == (2, 0)
