"""A small application that uses every public verb, with the type that each value has: mypy and pyright must agree.

The tests run it too, so what it says of the values is true.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

import redis
import redis.asyncio

import torrelque.sync
from torrelque import (
    Torrelque,
    TorrelqueDeath,
    TorrelqueFlow,
    TorrelqueGroupStats,
    TorrelqueLimit,
    TorrelqueNode,
    TorrelqueOutcome,
    TorrelqueQueueStats,
    TorrelqueSchedule,
    TorrelqueSerialiser,
    TorrelqueSweepResult,
    TorrelqueTaskId,
    TorrelqueTaskSerialiser,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueWatch,
    read_outcome,
)

if TYPE_CHECKING:
    # Checkers have it in their own stubs.
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


def upper(value: Any) -> bytes:
    return json.dumps(value).upper().encode()


SERIALISERS: list[TorrelqueSerialiser] = [json, pickle, TorrelqueTaskSerialiser(upper, json.loads)]


class Plain:
    """A serialiser as a class of one's own."""

    def dumps(self, value: object) -> str:
        return json.dumps(value)

    def loads(self, data: bytes) -> object:
        return json.loads(data)


def tell(error: Exception, found: torrelque.TaskId | torrelque.Death) -> str:
    """What the names without the prefix are: the same classes."""
    assert_type(found, TorrelqueTaskId | TorrelqueDeath)
    task_id = found.id if isinstance(found, torrelque.Death) else assert_type(found, TorrelqueTaskId)
    try:
        raise error
    except torrelque.DuplicateError as exc:
        return exc.task_id
    except (torrelque.LookupError, torrelque.TimeoutError) as exc:
        assert isinstance(exc, torrelque.Error)
        return str(exc.queue)
    except torrelque.Error:
        return assert_type(torrelque.TaskStatus.PENDING, Literal[TorrelqueTaskStatus.PENDING]).name + task_id


async def produce(queue: Torrelque) -> list[TorrelqueTaskId]:
    task_id = assert_type(
        await queue.enqueue({'n': 0}, delay=0, task_timeout=60, max_attempts=3, priority=1), TorrelqueTaskId
    )
    many = await queue.enqueue_many(
        ({'n': n} for n in range(1, 12)), group=lambda task: 'a' if task['n'] % 2 else None, priority=lambda task: 0
    )
    assert_type(many, list[TorrelqueTaskId])
    assert_type(await queue.cancel(many.pop()), bool)
    return [task_id, *many]


async def consume(queue: Torrelque) -> None:
    task_id, task = await queue.dequeue(timedelta(seconds=10))
    assert_type(task_id, TorrelqueTaskId)
    assert_type((task_id.attempt, task_id.token, task_id.group), tuple[int | None, str, str | None])
    assert_type(await queue.touch(task_id, progress=task['n']), bool)
    assert_type(await queue.requeue(task_id, 0, error='again', forgive=True), bool)
    one = await queue.dequeue(0, max_tasks=1)
    assert_type(one, tuple[TorrelqueTaskId, Any])
    assert_type(await queue.release(one[0], result='done', result_ttl=60), bool)

    some = await queue.dequeue_many(3)
    assert_type(some, list[tuple[TorrelqueTaskId, Any]])
    assert len(some) == 3
    some += await queue.dequeue_many(1, timeout=0)
    ids = [task_id for task_id, _ in some]
    assert_type(await queue.touch_many(ids, task_timeout=60), list[bool])
    assert_type(await queue.release_many(ids[:2], status=TorrelqueTaskStatus.REJECTED), list[bool])
    assert_type(await queue.bury(ids[2], error='no', tell_after=0), bool)
    # Those who come from an earlier version have it so.
    for task_id, task in await queue.dequeue(max_tasks=2):
        await queue.release(task_id)
        assert task['n']


async def take_part_in_transactions(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    taken, _ = await queue.dequeue(0)
    other, _ = await queue.dequeue(0)
    async with client.pipeline(transaction=True) as pipeline:
        assert_type(await queue.enqueue({'n': 9}, pipeline=pipeline), TorrelqueTaskId)
        # mypy allows no value to be made of these: there is none.
        await queue.requeue(taken, pipeline=pipeline)
        await queue.release(other, pipeline=pipeline)
        pipeline.set(f'{queue.keys["pending"]}-mine', 1)
        *replies, _ = await pipeline.execute()
    for reply in replies:
        assert assert_type(read_outcome(reply), bool)


async def follow(queue: Torrelque, task_id: str) -> TorrelqueTaskState:
    watch = queue.watch(task_id, timeout=10)
    assert_type(watch, TorrelqueWatch)
    async with contextlib.aclosing(watch) as states:
        async for state in states:
            assert_type(state, TorrelqueTaskState)
            break
    async for state in queue.watch(task_id):
        assert_type(state.status, TorrelqueTaskStatus)
    final = await queue.wait(task_id, timeout=10)
    return assert_type(final, TorrelqueTaskState)


async def operate(queue: Torrelque) -> None:
    await queue.set_limit('a', concurrency=2, rate=(5, 1.0))
    assert_type(await queue.get_limits(), dict[str | None, TorrelqueLimit])
    await queue.pause('a', probe=60)
    assert_type(await queue.get_group_stats('a'), TorrelqueGroupStats)
    await queue.resume('a')
    async with contextlib.aclosing(queue.groups()) as groups:
        async for group in groups:
            assert_type(group, str)
    deaths = await queue.take_deaths(5, again_after=60)
    assert_type(await queue.set_schedule('nightly', 1, times=[datetime.now(timezone.utc), 4e9]), bool)
    assert_type(await queue.extend_schedule('nightly', [5e9], after=4e9), bool)
    assert_type(await queue.pause_schedule('nightly'), bool)
    assert_type(await queue.resume_schedule('nightly'), bool)
    assert_type(await queue.fire('nightly'), list[TorrelqueTaskId])
    assert_type(await queue.get_schedule('nightly'), TorrelqueSchedule)
    async with contextlib.aclosing(queue.get_schedules('n')) as schedules:
        async for schedule in schedules:
            assert_type(schedule.times, tuple[float, ...])
    assert_type(await queue.remove_schedule('nightly'), bool)
    assert_type(deaths, list[TorrelqueDeath])
    await queue.acknowledge_deaths(death.id for death in deaths)
    assert_type(await queue.redrive(limit=1), int)
    assert_type(await queue.sweep(), TorrelqueSweepResult)
    queue.schedule_sweep(timedelta(minutes=1))
    queue.task_timeout = timedelta(minutes=5)
    assert_type(queue.task_timeout, float)
    queue.unschedule_sweep()
    assert_type(await queue.get_queue_stats(), TorrelqueQueueStats)
    assert_type(await queue.get_task_state('none'), TorrelqueTaskState)
    await flow(queue)


async def flow(queue: Torrelque) -> None:
    """Tasks that wait for tasks."""
    nodes = [TorrelqueNode('a', 1), TorrelqueNode('b', 2, after={'a': 'then'}, join='any', group='g')]
    flow_id = await queue.enqueue_flow(nodes, name='ab', on_failure='skip', out=['b'], timeout=timedelta(hours=1))
    assert_type(flow_id, TorrelqueTaskId)
    assert_type(await queue.enqueue(3, depends_on=[flow_id]), TorrelqueTaskId)
    first = await queue.dequeue(10)
    while first[0] != f'{flow_id}.a':
        await queue.release(first[0])
        first = await queue.dequeue(10)
    assert_type(await queue.add_to_flow([TorrelqueNode('c', 3, before=['b'])], by=first[0]), list[TorrelqueTaskId])
    await queue.put_value('key', 'value', by=first[0])
    assert_type(await queue.get_value(flow_id, 'key'), Any)
    assert_type(await queue.graft([TorrelqueNode('d', 4)], by=first[0], last='d', on_failure='skip', timeout=5), bool)
    assert_type((queue.sibling('other'), queue.another('third')), tuple[Torrelque, Torrelque])
    await queue.ready()
    assert_type((queue.shards, queue.shard_of(group='a')), tuple[tuple[Torrelque, ...], Torrelque])
    assert_type(queue.home, Torrelque)
    results = await queue.get_results(flow_id, first[0])
    assert_type(results, list[TorrelqueOutcome])
    assert_type(results[0].how, Literal['completed', 'failed', 'skipped', 'cancelled'] | None)
    async with contextlib.aclosing(queue.get_outcomes(flow_id)) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, TorrelqueOutcome)
    assert_type(await queue.get_flow(flow_id), TorrelqueFlow)
    await queue.cancel(flow_id)


async def run(client: redis.asyncio.Redis, name: str) -> None:
    """The application, on asyncio."""
    queue = Torrelque(client, queue=name, serialiser=Plain(), max_tasks=1000)
    async with queue as entered:
        assert_type(entered, Torrelque)
        assert_type(queue.name, str)
        assert_type(queue.keys, dict[str, str])
        ids = await produce(queue)
        followed = asyncio.ensure_future(follow(queue, ids[0]))
        await asyncio.sleep(0)
        await consume(queue)
        assert (await followed).result == 'done'
        await take_part_in_transactions(client, queue)
        await queue.enqueue(None, task_id='none')
        await operate(queue)
        await queue.command('DEL', f'{queue.keys["pending"]}-mine')
    await queue.aclose()


def run_synchronously(client: redis.Redis, name: str) -> None:
    """The application, on threads."""
    with torrelque.sync.Torrelque(client, queue=name, serialiser=SERIALISERS[1]) as queue:
        assert_type(queue, torrelque.sync.Torrelque)
        assert_type(queue.enqueue(0, group='a', task_id='a'), TorrelqueTaskId)
        many = queue.enqueue_many(range(1, 9))
        assert_type(many, list[TorrelqueTaskId])
        assert_type(queue.cancel(many[-1]), bool)

        task_id, _ = queue.dequeue(10)
        assert_type(task_id, TorrelqueTaskId)
        assert_type(queue.touch(task_id, progress=0.5), bool)
        assert_type(queue.requeue(task_id, error='again'), bool)
        assert_type(queue.dequeue(0, max_tasks=1), tuple[TorrelqueTaskId, Any])
        some = queue.dequeue_many(2)
        assert_type(some, list[tuple[TorrelqueTaskId, Any]])
        some += queue.dequeue_many(1, timeout=0)
        ids = [task_id for task_id, _ in some]
        assert_type(queue.touch_many(ids), list[bool])
        assert_type(queue.release_many(ids[2:]), list[bool])
        assert_type(queue.bury(ids[0]), bool)
        assert tell(torrelque.DuplicateError(ids[0]), ids[0]) == ids[0]
        with client.pipeline() as pipeline:
            assert_type(queue.enqueue(10, pipeline=pipeline), TorrelqueTaskId)
            queue.release(ids[1], pipeline=pipeline)
            queue.requeue(queue.dequeue()[0], pipeline=pipeline)
            for reply in pipeline.execute():
                assert read_outcome(reply)
        assert_type(queue.release(queue.dequeue()[0], result=1), bool)

        queue.set_limit('a', concurrency=1)
        assert_type(queue.get_limits(), dict[str | None, TorrelqueLimit])
        queue.pause(probe=1)
        queue.resume()
        assert_type(queue.get_group_stats('a'), TorrelqueGroupStats)
        with contextlib.closing(queue.groups()) as groups:
            assert_type([*groups], list[str])
        queue.set_schedule('nightly', 1, every=timedelta(days=1))
        queue.extend_schedule('nightly', [5e9], after=None)
        queue.pause_schedule('nightly')
        queue.resume_schedule('nightly')
        assert_type(queue.fire('nightly', 4e9), list[TorrelqueTaskId])
        assert_type(queue.get_schedule('nightly'), TorrelqueSchedule)
        with contextlib.closing(queue.get_schedules()) as known:
            assert_type([*known], list[TorrelqueSchedule])
        queue.remove_schedule('nightly')
        deaths = queue.take_deaths()
        assert_type(deaths, list[TorrelqueDeath])
        queue.acknowledge_deaths([death.id for death in deaths])
        assert_type(queue.redrive(ids[0]), int)
        assert_type(queue.sweep(), TorrelqueSweepResult)
        assert_type(queue.get_queue_stats(), TorrelqueQueueStats)
        assert_type(queue.get_task_state(ids[0]), TorrelqueTaskState)
        queue.command('PING')
        flow_id = queue.enqueue_flow([TorrelqueNode('a', 1, priority=50)], task='all of it')
        first, _ = queue.dequeue(10)
        queue.put_value('key', 'value', by=first)
        assert_type(queue.add_to_flow([TorrelqueNode('b', 2)], by=first), list[TorrelqueTaskId])
        assert_type(queue.graft([TorrelqueNode('c', 3)], by=first, last='c'), bool)
        assert queue.get_value(flow_id, 'key') == 'value'
        assert_type(queue.get_results(flow_id, first), list[TorrelqueOutcome])
        with contextlib.closing(queue.get_outcomes(flow_id)) as outcomes:
            assert_type([*outcomes], list[TorrelqueOutcome])
        assert_type(queue.get_flow(flow_id), TorrelqueFlow)
        assert_type(queue.enqueue(3, depends_on=[flow_id]), TorrelqueTaskId)
        queue.cancel(flow_id)
    queue.close()
