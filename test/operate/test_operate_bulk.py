"""Bulk acts: each task that is selected is done once, whatever happens meanwhile, and whatever was not is told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest
import redis.asyncio

from support.burying import bury, die, hand_out, work_on
from torrelque import (
    Torrelque,
    TorrelqueLookupError,
    TorrelqueTaskStatus as Status,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.operate import Operator, Outcome, Selection, TaskView, bulk
from torrelque.testing import Clock

pytestmark = pytest.mark.first_server


@pytest.fixture
def operator(queue: Torrelque) -> Operator:
    return Operator(queue, who='ann')


def figures(outcome: Outcome) -> tuple[int, int, int, dict[str, int]]:
    return outcome.seen, outcome.matched, outcome.done, dict(outcome.refused)


async def statuses(queue: Torrelque, ids: Sequence[str]) -> list[str]:
    async def status(task_id: str) -> str:
        try:
            return (await queue.get_task_state(task_id)).status.name.lower()
        except TorrelqueLookupError:
            return 'unknown'

    return await asyncio.gather(*map(status, ids))


async def attempts(queue: Torrelque, ids: Sequence[str]) -> set[int]:
    """How often tasks were handed out."""
    return {state.dequeue_count for state in await asyncio.gather(*map(queue.get_task_state, ids))}


async def count(queue: Torrelque) -> tuple[int, int, int, int]:
    return (await queue.get_queue_stats())[1:5]


# Which tasks


async def test_redrive_brings_back_the_dead_that_are_selected(queue: Torrelque, operator: Operator) -> None:
    keys = await die(queue, 3, "KeyError: 'a'")
    values = await die(queue, 4)
    outcome = await operator.redrive(Selection(error='KeyError'))
    assert (outcome.act, outcome.queue, outcome.dry_run, outcome.finished) == ('redrive', queue.name, False, True)
    assert figures(outcome) == (7, 3, 3, {}) and outcome.took > 0
    assert await statuses(queue, keys) == ['pending'] * 3 and await statuses(queue, values) == ['dead'] * 4
    assert {*map(str, await hand_out(queue, 3))} == {*keys}


async def test_cancel_takes_what_waits_and_leaves_what_is_worked_on(queue: Torrelque, operator: Operator) -> None:
    dead = await die(queue, 1)
    working = [*map(str, await work_on(queue, [1, 2]))]
    waiting = await queue.enqueue_many(range(5))
    waiting += [await queue.enqueue(1, priority=5), await queue.enqueue(1, delay=3600)]
    waiting += await queue.enqueue_many(range(3), group='acme')
    outcome = await operator.cancel(Selection())
    assert figures(outcome) == (10, 10, 10, {})
    assert {*await statuses(queue, waiting)} == {'cancelled'}
    assert await statuses(queue, dead + working) == ['dead', 'working', 'working']
    assert figures(await operator.cancel(Selection(status='working'))) == (2, 2, 2, {})
    assert figures(await operator.cancel(Selection(status='dead'))) == (1, 1, 1, {})
    assert {*await statuses(queue, dead + working)} == {'cancelled'}


@pytest.mark.parametrize('size', [1, 249, 250, 500, 501, 750, 1300])
async def test_cancel_misses_none_of_a_list_of_any_length(queue: Torrelque, operator: Operator, size: int) -> None:
    await queue.enqueue_many(range(size))
    outcome = await operator.cancel(Selection(), paced=False)
    assert figures(outcome)[1:] == (size, size, {})
    assert await count(queue) == (0, 0, 0, 0)


async def test_cancel_misses_none_of_many_groups_and_priorities(queue: Torrelque, operator: Operator) -> None:
    await queue.enqueue_many(range(1200), group=lambda n: f'g{n % 70}' if n % 3 else None, priority=lambda n: n % 5)
    outcome = await operator.cancel(Selection(), paced=False)
    assert figures(outcome)[1:] == (1200, 1200, {})
    assert await count(queue) == (0, 0, 0, 0)


async def test_cancel_of_a_group_leaves_the_others(queue: Torrelque, operator: Operator) -> None:
    await queue.enqueue_many(range(300), group=lambda n: f'g{n % 3}')
    assert figures(await operator.cancel(Selection(group='g1'))) == (100, 100, 100, {})
    assert [(await queue.get_group_stats(f'g{n}')).waiting for n in range(3)] == [100, 0, 100]
    assert (await operator.cancel(Selection(group='g*'))).done == 200


async def test_requeue_and_bury_take_tasks_from_their_holders(queue: Torrelque, operator: Operator) -> None:
    held = await work_on(queue, [*range(6)])
    waiting = await queue.enqueue('waits')
    assert figures(await operator.bury(Selection(ids=held[:2]), error='by hand')) == (2, 2, 2, {})
    state = await queue.get_task_state(held[0])
    assert (state.status, state.error) == (Status.DEAD, 'by hand')
    assert figures(await operator.requeue(Selection())) == (4, 4, 4, {})
    assert await statuses(queue, [*held, waiting]) == ['dead'] * 2 + ['pending'] * 5
    assert not await queue.release(held[5])


async def test_orphans_alone_are_taken_where_the_selection_says_so(queue: Torrelque, operator: Operator) -> None:
    old = await work_on(queue, [*range(3)], task_timeout=100)
    await Clock(queue).move(60)
    young = await work_on(queue, [*range(2)], task_timeout=100)
    assert (await operator.requeue(Selection(status='orphaned'))).done == 3
    assert await statuses(queue, [*old, *young]) == ['pending'] * 3 + ['working'] * 2
    assert (await operator.bury(Selection(status='orphaned', ids=young))).done == 0


async def test_a_selection_by_age_goes_by_the_time_of_the_server(queue: Torrelque, operator: Operator) -> None:
    old, new = await die(queue, 3), await die(queue, 2)
    for task_id in old:
        await queue.command('ZINCRBY', queue.keys['dead'], -3_600_000, task_id)
    assert {task.id async for task in operator.tasks(Selection(status='dead', newer=1800))} == {*new}
    assert {task.id async for task in operator.tasks(Selection(status='dead', older=1800))} == {*old}
    assert figures(await operator.redrive(Selection(older=1800))) == (3, 3, 3, {})
    assert await statuses(queue, old + new) == ['pending'] * 3 + ['dead'] * 2


async def test_all_that_is_not_final_is_walked_through_where_no_status_is_given(
    queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 2)
    ids += map(str, await work_on(queue, [1]))
    ids += [await queue.enqueue(1), await queue.enqueue(2, delay=60), await queue.enqueue(3, group='acme')]
    found = [task.id async for task in operator.tasks(Selection())]
    assert sorted(found) == sorted(ids)
    assert [task.id async for task in operator.tasks(Selection(), most=4)] == found[:4]


async def test_a_text_is_found_in_a_payload_of_any_length(
    queue: Torrelque, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, 'PAYLOAD', 1000)
    ids = await die(queue, [{'to': 'ann'}, {'to': 'bob'}, ['x' * 5000, 'ann'], 'Zoë "ann'])
    assert figures(await operator.redrive(Selection(text='ann'), dry_run=True)) == (4, 3, 0, {})
    for text, wanted in (('ann', [0, 2, 3]), ('bob', [1]), ('Zoë', [3]), ('"ann', [0, 2, 3]), ('nobody', [])):
        found = [task async for task in operator.tasks(Selection(status='dead', text=text), payload=20)]
        assert {task.id for task in found} == {ids[n] for n in wanted}
        assert all(task.raw is None or len(task.raw) <= 20 for task in found)


async def test_functions_are_selected_whatever_the_length_of_the_payload(queue: Torrelque, operator: Operator) -> None:
    await die(queue, [{'task': 'send'}, {'task': 'send', 'args': ['x' * 5000]}, {'task': 'take'}, 'send'])
    assert (await operator.redrive(Selection(function='send'), dry_run=True)).matched == 2
    assert (await operator.redrive(Selection(function='*'), dry_run=True)).matched == 3
    assert (await operator.redrive(Selection(function=''), dry_run=True)).matched == 1


# What is refused


async def test_named_tasks_that_an_act_is_nothing_for_are_counted_by_why(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    [dead] = await die(queue, 1)
    [working] = await work_on(queue, [1])
    [done] = await work_on(queue, [1])
    await queue.release(done, result=1, result_ttl=60)
    pending = await queue.enqueue(1)
    broken = 'spoilt'
    await client.set(f'{queue.keys["task"]}:{broken}', 'no hash')
    ids = Selection(ids=[dead, working, done, pending, broken, 'nobody', '\udcff', dead])
    common = {'broken': 1, 'unknown': 1, 'no_text': 1}
    assert figures(await operator.redrive(ids, dry_run=True)) == (7, 7, 0, {'not_dead': 3, **common})
    assert figures(await operator.redrive(ids)) == (7, 7, 1, {'not_dead': 3, **common})
    await bury(queue, await hand_out(queue, 1))
    assert figures(await operator.requeue(ids)) == (7, 7, 1, {'not_working': 3, **common})
    [again] = await hand_out(queue, 1)
    assert figures(await operator.bury(ids)) == (7, 7, 1, {'not_working': 3, **common})
    assert figures(await operator.cancel(ids)) == (7, 7, 3, {'final': 1, **common})
    assert figures(await operator.requeue(Selection(ids=[again]))) == (1, 1, 0, {'cancelled': 1})


async def test_conditions_besides_ids_hold_as_well(queue: Torrelque, operator: Operator) -> None:
    keys = await die(queue, 2, 'KeyError: 1')
    values = await die(queue, 2)
    outcome = await operator.redrive(Selection(ids=[*keys, *values], error='KeyError'))
    assert figures(outcome) == (4, 2, 2, {})
    assert figures(await operator.redrive(Selection(ids=keys, status='dead'))) == (2, 0, 0, {})


async def test_damaged_tasks_are_no_obstacle(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 600)
    await client.set(f'{queue.keys["task"]}:{ids[1]}', 'no hash')
    await client.delete(f'{queue.keys["task"]}:{ids[300]}')
    await client.zadd(queue.keys['dead'], {b'ghost': 1, b'\xff\xfe': 2})
    outcome = await operator.redrive(Selection())
    assert outcome.matched == 602 and outcome.done + sum(dict(outcome.refused).values()) == 602
    assert outcome.done >= 598 and dict(outcome.refused)['no_text'] == 1
    assert {*await statuses(queue, [one for n, one in enumerate(ids) if n not in (1, 300)])} == {'pending'}


# Once each


async def test_tasks_that_died_at_one_moment_are_all_brought_back(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 1300, lambda n: 'KeyError: 1' if n % 2 else 'ValueError: 1')
    await client.zadd(queue.keys['dead'], dict.fromkeys(ids, 1_700_000_000_000))
    assert figures(await operator.redrive(Selection(error='KeyError'), paced=False)) == (1300, 650, 650, {})
    assert figures(await operator.redrive(Selection(), paced=False)) == (650, 650, 650, {})
    assert await count(queue) == (1300, 0, 0, 0)


async def test_tasks_that_have_died_in_the_future_of_the_server_are_dead_too(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 3)
    await client.zadd(queue.keys['dead'], {ids[1]: 4_000_000_000_000})
    assert figures(await operator.redrive(Selection())) == (3, 3, 3, {})


@pytest.mark.parametrize('rate', [None, 3000])
@pytest.mark.long
async def test_what_dies_again_meanwhile_is_not_brought_back_in_a_circle(
    queue: Torrelque, operator: Operator, rate: float | None
) -> None:
    ids = await die(queue, 1500)
    fresh: list[str] = []

    async def fail_again() -> None:
        while True:
            held = [task_id for task_id, _ in await queue.dequeue_many(100)]
            await bury(queue, held, 'ValueError: again')
            fresh.extend(await die_fresh())

    async def die_fresh() -> list[str]:
        await queue.enqueue_many(range(5), priority=5)
        held = [task_id for task_id, task in await queue.dequeue_many(5) if isinstance(task, int)]
        await bury(queue, held, 'ValueError: fresh')
        return [*map(str, held)]

    failing = asyncio.ensure_future(fail_again())
    try:
        outcome = await operator.redrive(Selection(), paced=False, rate=rate)
        assert figures(outcome)[1:] == (1500, 1500, {})
        while (await count(queue))[:3] != (0, 0, 0) or await attempts(queue, ids) != {2}:
            await asyncio.sleep(0.01)
    finally:
        failing.cancel()
        await asyncio.wait({failing})
    assert await attempts(queue, ids) == {2}
    assert fresh and await attempts(queue, [one for one in fresh if one not in {*ids}]) <= {1}


async def test_two_operators_at_once_bring_each_back_once(queue: Torrelque, operator: Operator) -> None:
    ids = await die(queue, 900)
    one, other = await asyncio.gather(*(operator.redrive(Selection(), paced=False) for _ in range(2)))
    assert one.done + other.done == 900
    for outcome in (one, other):
        assert outcome.matched == outcome.done + sum(dict(outcome.refused).values())
        assert {*dict(outcome.refused)} <= {'not_dead'}
    assert [*map(str, sorted(await hand_out(queue, 900)))] == sorted(ids)
    assert await attempts(queue, ids) == {2}


# How many, how fast


@pytest.mark.parametrize('limit', [1, 249, 251, 600, 700])
async def test_a_limit_counts_what_is_changed(queue: Torrelque, operator: Operator, limit: int) -> None:
    await die(queue, 600)
    outcome = await operator.redrive(Selection(), limit=limit, paced=False)
    assert outcome.done == min(limit, 600) == (await count(queue))[0]
    assert outcome.finished == (limit > 600)


async def test_a_limit_does_not_count_what_is_refused(queue: Torrelque, operator: Operator) -> None:
    ids = await die(queue, 4)
    await queue.redrive(*ids[:2])
    outcome = await operator.redrive(Selection(ids=ids), limit=2)
    assert (outcome.matched, outcome.done, dict(outcome.refused)) == (4, 2, {'not_dead': 2})


async def test_a_dry_run_counts_and_changes_nothing(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 600, lambda n: f'KeyError: {n}' if n % 3 else 'ValueError')
    outcome = await operator.redrive(Selection(error='KeyError'), dry_run=True)
    assert figures(outcome) == (600, 400, 0, {}) and outcome.dry_run and outcome.finished
    assert await count(queue) == (0, 0, 0, 600)
    outcome = await operator.redrive(Selection(error='KeyError'), dry_run=True, limit=10)
    assert outcome.matched == 10 and not outcome.finished


async def test_a_place_is_counted_without_a_look_at_each_task(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 600)
    await client.zadd(queue.keys['dead'], {one: 1_600_000_000_000 + n for n, one in enumerate(ids[:200])})
    await client.zadd(queue.keys['dead'], {ids[-1]: 4_000_000_000_000})
    await work_on(queue, [*range(40)], priority=1)
    await client.config_resetstat()
    assert figures(await operator.redrive(Selection(), dry_run=True)) == (600, 600, 0, {})
    assert figures(await operator.redrive(Selection(status='dead'), dry_run=True, limit=30)) == (600, 30, 0, {})
    assert figures(await operator.redrive(Selection(older=3600), dry_run=True)) == (200, 200, 0, {})
    assert figures(await operator.redrive(Selection(newer=3600), dry_run=True)) == (400, 400, 0, {})
    assert figures(await operator.bury(Selection(), dry_run=True)) == (40, 40, 0, {})
    assert not [name for name in await client.info('commandstats') if name.startswith('cmdstat_eval')]
    # What is told of them is what is done to them.
    assert (await operator.redrive(Selection(newer=3600))).done == 400
    assert (await operator.redrive(Selection(older=3600))).done == 200


async def test_progress_is_told_after_each_step_and_each_portion(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 600)
    told: list[Outcome] = []
    outcome = await operator.redrive(Selection(), on_progress=told.append, paced=False)
    assert {one.done for one in told} >= {250, 500, 600} and not any(one.finished for one in told)
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1].seen == outcome.seen == 600
    ids = await hand_out(queue, 600)
    await bury(queue, ids[:30])
    told.clear()
    await operator.redrive(Selection(), on_progress=told.append, rate=100)
    assert {one.done for one in told} >= {10, 20, 30}


async def test_a_rate_is_not_exceeded(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 60)
    loop = asyncio.get_running_loop()
    seen: list[tuple[float, int]] = []
    outcome = await operator.redrive(
        Selection(), rate=50, on_progress=lambda outcome: seen.append((loop.time(), outcome.done))
    )
    assert outcome.done == 60 and outcome.took >= (60 - 5) / 50 - 0.01
    begun = seen[0][0]
    # Besides the first portion, and what is made up for after a late one, no more than the rate.
    assert all(done <= 5 + (now - begun + 0.6) * 50 for now, done in seen)


@pytest.mark.long
async def test_few_tasks_are_kept_in_memory(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 5000)
    most: list[int] = []

    def look(outcome: Outcome) -> None:
        if outcome.done % 1000 == 0:
            most.append(sum(issubclass(type(one), TaskView) for one in gc.get_objects()))

    await operator.redrive(Selection(), on_progress=look, paced=False)
    assert len(most) >= 5 and max(most) <= 2 * bulk.CALL


async def test_a_walk_tells_how_far_it_is(queue: Torrelque, operator: Operator) -> None:
    await queue.enqueue_many([{'task': 'rare' if n == 555 else 'often'} for n in range(600)])
    told: list[Outcome] = []
    found = [task async for task in operator.tasks(Selection(function='rare'), on_progress=told.append)]
    assert len(found) == 1
    assert [(one.act, one.queue, one.dry_run, one.finished) for one in told[:1]] == [('tasks', queue.name, True, False)]
    assert [one.seen for one in told] == sorted({one.seen for one in told}) and len(told) >= 3
    assert (told[-1].seen, told[-1].matched, told[-1].done) == (600, 1, 0)

    async def wrong(_: Outcome) -> None: ...

    with pytest.raises(TorrelqueTypeError, match='on_progress must be a plain function'):
        await operator.tasks(Selection(), on_progress=wrong).__anext__()


# Several queues


async def test_an_act_goes_through_all_queues_unless_one_is_named(client: redis.asyncio.Redis, queue_name: str) -> None:
    queues = [Torrelque(client, queue=f'{queue_name}-{n}') for n in range(3)]
    try:
        ids = [await die(queue, 10 * (n + 1)) for n, queue in enumerate(queues)]
        operator = Operator(queues)
        outcome = await operator.redrive(Selection(), queue=queues[1].name, limit=5)
        assert (outcome.queue, outcome.done) == (queues[1].name, 5)
        outcome = await operator.redrive(Selection(), limit=12)
        assert (outcome.queue, outcome.done) == (', '.join(queue.name for queue in queues), 12)
        assert [(await count(queue))[0] for queue in queues] == [10, 7, 0]
        assert [(act.queue, act.count) for act in await operator.acts()] == [
            (queues[1].name, 2), (queues[0].name, 10), (queues[1].name, 5),
        ]  # fmt: skip
        still = [one for one in ids[1] if (await queues[1].get_task_state(one)).status == Status.DEAD]
        some = Selection(ids=[ids[2][0], ids[0][0], 'nobody', still[0]])
        assert figures(await operator.redrive(some)) == (4, 4, 2, {'not_dead': 1, 'unknown': 1})
    finally:
        for queue in queues:
            await queue.aclose()


async def test_a_queue_that_there_is_not_is_refused(operator: Operator) -> None:
    with pytest.raises(TorrelqueValueError, match='there is no queue'):
        await operator.redrive(Selection(), queue='other')
