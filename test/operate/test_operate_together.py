"""What operators are told of workers that are there: real ones, with a heartbeat."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskStatus, TorrelqueValueError
from torrelque.operate import Operator, Plan, Selection
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server


async def test_a_worker_with_a_heartbeat_is_counted_and_named_by_its_tasks(queue: Torrelque) -> None:
    operator, over = Operator(queue), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await over.wait()

    ids = [*await queue.enqueue_many(range(3))]
    async with Worker(queue, handle, name='w', heartbeat=0.02, concurrency=2):
        while (told := await operator.overview()).busy < 2:
            await asyncio.sleep(0.01)
        assert (told.workers, told.lost, told.slots, told.working, told.pending) == (1, 0, 2, 2, 1)
        while [task.worker for task in (await operator.page('working')).tasks] != ['w', 'w']:
            await asyncio.sleep(0.01)
        assert (await operator.page('orphaned')).tasks == ()
        assert (await operator.task(ids[0])).worker == 'w'
        texts = [it.text for it in await operator.examine() if it.subject == 'workers']
        assert [text for text in texts if 'version' in text] == [], texts
        over.set()
    told = await operator.overview()
    assert (told.workers, told.lost) == (0, 0)


# One id in several queues


@pytest.fixture
async def two(client: redis.asyncio.Redis, queue_name: str) -> AsyncIterator[list[Torrelque]]:
    """Two queues: an order that is completed in the first, and dead in the second, and others that are in one only."""
    queues = [Torrelque(client, queue=f'{queue_name}-{name}') for name in ('a', 'b')]
    for queue in queues:
        await queue.enqueue(1, task_id='order-7')
        taken, _ = await queue.dequeue(0)
        await (queue.release(taken, result_ttl=500) if queue is queues[0] else queue.bury(taken))
    for queue, name in zip(queues, ('one', 'other'), strict=True):
        await queue.enqueue(1, task_id=name)
        taken, _ = await queue.dequeue(0)
        await queue.bury(taken)
    yield queues
    for queue in queues:
        await queue.aclose()


async def test_a_task_that_several_queues_know_is_told_of_where_one_is_named(two: list[Torrelque]) -> None:
    operator, (a, b) = Operator(two), two
    refusal = re.escape(f"task 'order-7' is in queues {a.name!r} and {b.name!r}: name one of them")
    for call in operator.task, operator.explain:
        with pytest.raises(TorrelqueValueError, match=refusal):
            await call('order-7')
    for queue, status, code in (a, TorrelqueTaskStatus.COMPLETED, 'finished'), (b, TorrelqueTaskStatus.DEAD, 'dead'):
        assert (await operator.task('order-7', queue=queue.name)).status == status
        [reason] = await operator.explain('order-7', queue=queue.name)
        assert (reason.code, reason.queue) == (code, queue.name)
    assert [(await operator.task(name)).queue for name in ('one', 'other')] == [a.name, b.name]
    assert [(await operator.explain(name))[0].queue for name in ('one', 'other')] == [a.name, b.name]
    with pytest.raises(TorrelqueLookupError, match=r"^none of the queues has a task 'nobody'"):
        await operator.task('nobody')
    assert [reason.code for reason in await operator.explain('nobody')] == ['unknown']


@pytest.mark.parametrize('dry_run', [True, False])
async def test_an_act_by_an_id_that_several_queues_know_changes_nothing(two: list[Torrelque], dry_run: bool) -> None:
    operator, (a, b) = Operator(two), two
    refusal = re.escape(f"task 'order-7' is in queues {a.name!r} and {b.name!r}: name one of them")
    for ids in ['order-7'], ['one', 'other', 'nobody', 'order-7']:
        with pytest.raises(TorrelqueValueError, match=refusal):
            await operator.redrive(Selection(ids=ids), dry_run=dry_run)
    await a.enqueue(1, task_id='other')
    where = f"'order-7' in {a.name!r} and {b.name!r}"
    refusal = re.escape(f'2 of the tasks are in several queues, such as {where}: name one queue')
    with pytest.raises(TorrelqueValueError, match=refusal):
        await operator.redrive(Selection(ids=['one', 'order-7', 'other']), dry_run=dry_run)
    assert await operator.acts() == []
    assert [one.dead for one in await operator.overviews()] == [1, 2]
    outcome = await operator.redrive(Selection(ids=['order-7']), queue=b.name)
    assert (outcome.queue, outcome.done) == (b.name, 1)


async def test_an_act_by_ids_finds_each_in_its_queue(two: list[Torrelque]) -> None:
    operator, ids = Operator(two), Selection(ids=['other', 'nobody', 'one'])
    plan = Plan()
    assert (await operator.redrive(ids, dry_run=True, plan=plan)).matched == 3
    outcome = await operator.redrive(ids, plan=plan)
    assert (outcome.done, outcome.refused) == (2, (('unknown', 1),))
    assert sorted(act.queue for act in await operator.acts()) == [queue.name for queue in two]
