"""An operator of a queue with shards: it is one queue to them, whichever shard has what they ask for."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import torrelque
from support.sharding import group_of, numbers_of
from torrelque import TorrelqueNode as Node
from torrelque.operate import Operator, Plan, Selection, spread
from torrelque.sharded import Sharded
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server


async def fill(queue: Sharded) -> None:
    """Three of each kind, one in each shard, and three tasks more in the last one."""
    await queue.ready()
    groups = [group_of(shard, 3) for shard in range(3)]
    for group in groups:
        await queue.enqueue({'task': 'dead'}, group=group, max_attempts=1)
    while (await queue.get_queue_stats()).pending:
        task_id, _ = await queue.dequeue(20)
        await queue.bury(task_id, error='ValueError: no such address')
    for group in groups:
        await queue.enqueue({'task': 'ready'}, group=group, priority=1)
        await queue.enqueue({'task': 'later'}, group=group, delay=1000)
    for _ in range(3):
        await queue.enqueue({'task': 'more'}, group=groups[2])


async def test_the_overview_is_a_sum_under_the_name_of_the_queue(sharded: Sharded) -> None:
    await fill(sharded)
    operator = Operator(sharded)
    for found in (await operator.overview(), *await operator.overviews()):
        assert (found.queue, found.tasks, found.pending, found.delayed, found.dead) == ('email', 12, 6, 3, 3)
        assert (found.groups, found.working, found.paused, found.error) == (3, 0, False, None)
        assert {'tasks', 'pending', 'dead', 'delayed'} <= {*found.exact}
        assert found.oldest is not None and found.next_delayed is not None
    scale = await operator.scale()
    assert (scale.pending, scale.useful, scale.exact) == (6, 6, True)
    await sharded.pause()
    assert (await operator.overview()).paused


@pytest.mark.parametrize('place', ['pending', 'dead', 'delayed'])
async def test_pages_go_through_all_shards_and_tell_each_task_once(sharded: Sharded, place: str) -> None:
    await fill(sharded)
    operator = Operator(sharded)
    wanted = {'pending': 6, 'dead': 3, 'delayed': 3}[place]
    found: list[str] = []
    after = None
    while True:
        page = await operator.page(place, after=after, most=2)
        assert (page.queue, page.total, {task.queue for task in page} <= {'email'}) == ('email', wanted, True)
        found += [task.id for task in page]
        after = page.cursor
        if after is None:
            break
    assert len(found) == len({*found}) == wanted
    assert {*numbers_of(sharded, found)} == {0, 1, 2}
    for cursor in ('', 'x', '7:', '-1:', '0', '0:x'):
        with pytest.raises(torrelque.ValueError):
            await operator.page(place, after=cursor)


@pytest.mark.parametrize('newest_first', [False, True])
async def test_tasks_that_have_an_instant_are_told_in_one_order_over_all_shards(
    sharded: Sharded, newest_first: bool
) -> None:
    for k in (3, 9, 1, 5, 7, 4, 2, 8, 6, 0):
        await sharded.enqueue(k, delay=1000 + k, group=group_of(k * k % 3, 3))
    operator = Operator(sharded)
    found, sizes, after = list[int](), list[int](), None
    while after is not None or not found:
        page = await operator.page('delayed', after=after, most=4, newest_first=newest_first)
        found += [task.payload for task in page]
        sizes.append(len(page))
        after = page.cursor
    assert (found, sizes) == (sorted(range(10), reverse=newest_first), [4, 4, 2])


def test_what_is_looked_at_is_shared_out_by_how_much_each_shard_has() -> None:
    assert spread.share_out({'a': 2, 'b': 1000, 'c': 50}, 100) == {'a': 2, 'c': 49, 'b': 49}
    assert spread.share_out({'a': 2, 'b': 1000, 'c': 5}, 100) == {'a': 2, 'c': 5, 'b': 93}
    assert spread.share_out({}, 100) == {}


async def test_tasks_are_found_by_their_id_wherever_they_are(sharded: Sharded) -> None:
    await fill(sharded)
    operator = Operator(sharded)
    ids = [task.id async for task in operator.tasks(Selection())]
    assert len(ids) == 12
    for task_id in ids:
        task = await operator.task(task_id)
        assert (task.id, task.queue, task.function) == (task_id, 'email', (task.payload or {})['task'])
    own = await sharded.enqueue(1, task_id='own', group=group_of(1, 3))
    assert (await operator.task(own)).group == group_of(1, 3)
    with pytest.raises(torrelque.LookupError, match="the queue has no task 'none'"):
        await operator.task('none')
    matched = [task.function async for task in operator.tasks(Selection(function='later'))]
    assert matched == ['later'] * 3


async def test_groups_errors_and_limits(sharded: Sharded) -> None:
    await fill(sharded)
    operator = Operator(sharded)
    for shard in range(3):
        group = group_of(shard, 3)
        await operator.set_limit(group, concurrency=shard + 1)
        view = await operator.group(group)
        assert (view.queue, view.limit, view.waiting) == ('email', shard + 1, 4 if shard == 2 else 1)
    found = await operator.groups()
    assert (found.queue, found.total, next(iter(found)).name) == ('email', 3, group_of(2, 3))
    assert [group.waiting for group in found] == [4, 1, 1]
    assert [view.limit for view in await operator.groups_of([group_of(2, 3), group_of(0, 3)])] == [3, 1]
    errors = await operator.errors()
    [one] = errors
    assert (errors.queue, errors.dead, errors.dead_seen, errors.delayed) == ('email', 3, 3, 3)
    assert (one.count, one.dead, one.what, len(one.ids)) == (3, 3, 'ValueError', 3)
    assert dict(one.by_function) == {'dead': 3}
    assert {*one.groups} == {group_of(shard, 3) for shard in range(3)}
    assert await operator.examine()
    assert {finding.queue for finding in await operator.examine()} == {'email'}
    assert not [finding for finding in await operator.examine() if finding.level == 'error']


async def test_why_a_task_a_group_and_the_queue_do_not_move(sharded: Sharded) -> None:
    operator = Operator(sharded)
    assert [reason.code for reason in await operator.explain()] == ['unknown']
    await fill(sharded)
    assert {reason.code for reason in await operator.explain()} <= {'no-worker'}
    for shard in range(3):
        page = await operator.page(f'group:{group_of(shard, 3)}')
        assert {reason.code for reason in await operator.explain(page.tasks[0].id)} <= {'no-worker'}
    [dead] = {task.group async for task in operator.tasks(Selection(status='dead', group=group_of(1, 3)))}
    assert dead == group_of(1, 3)
    async for task in operator.tasks(Selection(status='dead')):
        reason = (await operator.explain(task.id))[0]
        assert (reason.code, reason.queue) == ('dead', 'email')
        assert reason.command == f'torrelque redrive {task.id} -q email'
    await operator.pause(group_of(2, 3))
    assert (await operator.explain(group=group_of(2, 3)))[0].code == 'group-paused'
    await operator.pause()
    assert (await operator.explain())[0].code == 'queue-paused'
    assert [reason.code for reason in await operator.explain('none')] == ['unknown']
    assert (await operator.acts())[0].act == 'pause'
    assert {act.queue for act in await operator.acts()} == {'email'}
    assert [await shard.command('EXISTS', shard.keys['acts']) for shard in sharded.shards] == [1, 0, 0]


async def test_what_shards_have_where_nothing_is_pending_is_added_up(sharded: Sharded) -> None:
    groups = [group_of(shard, 3) for shard in (0, 1, 1, 1, 2)]
    for group in groups:
        await sharded.enqueue('dies', group=group)
    for task_id, _ in await sharded.dequeue_many(5, 60):
        await sharded.bury(task_id)
    while (await sharded.get_queue_stats()).dead < 5:
        for task_id, _ in await sharded.dequeue_many(5, 60):
            await sharded.bury(task_id)
    [reason] = await Operator(sharded).explain()
    assert (reason.code, reason.text, reason.count) == ('dead', 'nothing is pending: 5 tasks are dead', 5)
    for k, group in enumerate(groups):
        await sharded.enqueue('later', group=group, delay=100 + k)
    [reason] = await Operator(sharded).explain()
    assert (reason.text, reason.count) == ('nothing is pending: 5 tasks wait for a time', 5)
    firsts = [await shard.command('ZRANGE', shard.keys['delayed'], 0, 0, 'WITHSCORES') for shard in sharded.shards]
    scores = [word for one in firsts for word in (one[0] if isinstance(one[0], list) else one)][1::2]
    assert reason.until == min(map(float, scores)) / 1000


async def test_acts_change_tasks_of_all_shards_and_are_on_record_once(sharded: Sharded) -> None:
    await fill(sharded)
    operator = Operator(sharded, who='me')
    plan = Plan()
    selection = Selection(status='dead')
    dry = await operator.redrive(selection, dry_run=True, plan=plan)
    assert (dry.queue, dry.matched, dry.done) == ('email', 3, 0)
    outcome = await operator.redrive(selection, plan=plan)
    assert (outcome.queue, outcome.matched, outcome.done, outcome.finished) == ('email', 3, 3, True)
    [act] = await operator.acts()
    assert (act.act, act.count, act.who) == ('redrive', 3, 'me')
    outcome = await operator.cancel(Selection(function='later'), dry_run=True, plan=plan)
    outcome = await operator.cancel(Selection(function='later'), plan=plan)
    assert outcome.done == 3
    ids = [task.id async for task in operator.tasks(Selection(function='ready'))]
    outcome = await operator.cancel(Selection(ids=[*ids, 'none']))
    assert (outcome.done, outcome.refused) == (3, (('unknown', 1),))
    outcome = await operator.cancel(Selection(), limit=4)
    assert outcome.done == 4
    assert (await operator.overview()).tasks == 2
    await operator.forget()
    assert await operator.acts() == []


async def test_workers_are_seen_and_their_tasks_are_not_orphans(sharded: Sharded) -> None:
    release = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await release.wait()

    for shard in range(3):
        await sharded.enqueue({'task': 'work'}, group=group_of(shard, 3))
        await sharded.set_limit(group_of(shard, 3), concurrency=1)
        await sharded.enqueue({'task': 'behind'}, group=group_of(shard, 3))
    operator = Operator(sharded)
    async with Worker(sharded, handle, concurrency=10, heartbeat=1, name='one'):
        while not (workers := await operator.workers()) or workers[0].busy < 3:
            await asyncio.sleep(0.02)
        assert [(worker.name, worker.queue, worker.queues) for worker in workers] == [('one', 'email', ('email',))]
        page = await operator.page('working')
        assert [task.worker for task in page] == ['one'] * 3
        assert len(await operator.page('orphaned')) == 0
        for shard in range(3):
            reason = (await operator.explain(group=group_of(shard, 3)))[0]
            assert (reason.code, [holder.worker for holder in reason.holders]) == ('at-limit', ['one'])
        overview = await operator.overview()
        assert (overview.workers, overview.busy, overview.slots, overview.working) == (1, 3, 10, 3)
        release.set()
        while (await sharded.get_queue_stats()).tasks:
            await asyncio.sleep(0.02)
    [functions] = [view async for view in _aiter(await operator.functions())]
    assert functions.totals.succeeded == 6
    history = await operator.history()
    # A minute may have ended meanwhile.
    assert any(record.sizes is not None for record in history)
    assert sum(one.totals.succeeded for counts in await operator.counts() for one in counts.functions) == 6


async def test_a_worker_is_stuck_that_leaves_what_is_ready_in_any_shard(sharded: Sharded) -> None:
    await sharded.ready()
    home = sharded.home
    heart = {'seen': f'{int((await home.command("TIME"))[0]) * 1000}', 'interval': '5000', 'state': 'running',
             'slots': '10', 'busy': '3', 'lag': '2', 'claimed': '60', 'health': '{}'}  # fmt: skip
    words = [word for pair in heart.items() for word in pair]
    await home.command('HSET', f'{home.keys["worker"]}:idle', *words)
    await home.command('ZADD', home.keys['workers'], heart['seen'], 'idle')
    operator = Operator(sharded)
    assert [worker.state for worker in await operator.workers()] == ['running']
    await sharded.enqueue('a', group=group_of(1, 3))
    await sharded.enqueue('b', group=group_of(2, 3))
    assert [worker.why for worker in await operator.workers()] == [
        '7 of its 10 places are free, 2 tasks are ready, and it has claimed none for 60 s'
    ]
    assert (await operator.overview()).stuck == 1
    await sharded.pause()
    assert (await operator.overview()).stuck == 0


async def _aiter(values: Any) -> Any:
    for value in values:
        yield value


async def test_flows_and_schedules(sharded: Sharded) -> None:
    operator = Operator(sharded)
    made = [await sharded.enqueue_flow([Node('a', k), Node('b', k, {'a': 'then'})]) for k in range(6)]
    found: list[str] = []
    after = None
    while True:
        some = await operator.flows(after=after, most=2)
        assert (some.queue, some.total) == ('email', 12)
        found += [flow.id for flow in some]
        after = some.cursor
        if after is None:
            break
    assert sorted(found) == sorted(made)
    for flow_id in made:
        flow = await operator.flow(flow_id)
        assert (flow.id, flow.queue, flow.total) == (flow_id, 'email', 2)
        assert (await operator.explain(f'{flow_id}.b'))[0].code == 'waiting'
    with pytest.raises(torrelque.LookupError):
        await operator.flow('none')
    assert await operator.stalled() == []
    await operator.set_schedule('daily', 'task', every=3600)
    assert [view.name for view in await operator.schedules()] == ['daily']
    assert (await operator.schedule('daily')).queue == 'email'
    assert (await operator.schedule_page()).total == 1
    assert await operator.fire('daily')
    assert await operator.pause_schedule('daily') and await operator.resume_schedule('daily')
    assert Counter(act.act for act in await operator.acts()) == {'schedule': 1, 'fire': 1, 'pause': 1, 'resume': 1}


async def test_an_act_of_a_number_is_done_once(sharded: Sharded) -> None:
    one, other = Operator(sharded, number='7'), Operator(sharded, number='7')
    assert [await one.claim(), await other.claim(), await other.is_claimed()] == [True, False, True]
