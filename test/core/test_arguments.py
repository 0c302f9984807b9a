"""Bad input gets a clear, typed error before anything is written."""

from __future__ import annotations

import decimal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.servers import RealServer
from torrelque import Torrelque

TIMES = [float('nan'), float('inf'), -float('inf'), -1, -0.001, 1e300, '1', b'1', True, [], decimal.Decimal(1), 1j]
COUNTS = [0, -1, 1.0, float('nan'), '1', True, None, [], 2**63]
IDS: list[object] = ['', None, 1, b'x', [], '\ud800']


async def refused(call: Callable[..., Awaitable[object]], *args: object, **kwargs: object) -> None:
    with pytest.raises(torrelque.TorrelqueError) as caught:
        await call(*args, **kwargs)
    assert isinstance(caught.value, (TypeError, ValueError)), caught.value
    assert len(str(caught.value)) > 10


@pytest.fixture
async def checked(client: redis.asyncio.Redis, queue: Torrelque) -> AsyncIterator[Torrelque]:
    """A queue whose keys do not change in the test."""
    await queue.enqueue(1, task_id='there')
    yield queue
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)
    assert len(await client.keys('*')) == 4


@pytest.mark.parametrize('time', TIMES, ids=repr)
async def test_times(checked: Torrelque, time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for call, kwargs in (
        (lambda **kw: checked.enqueue(1, **kw), ('delay', 'task_timeout')),
        (lambda **kw: checked.enqueue_many([1], **kw), ('delay', 'task_timeout')),
        (lambda **kw: checked.requeue('there', **kw), ('delay', 'task_timeout')),
        (lambda **kw: checked.release('there', **kw), ('result_ttl',)),
        (lambda **kw: checked.release_many(['there'], **kw), ('result_ttl',)),
        (lambda **kw: checked.touch('there', **kw), ('task_timeout',)),
        (lambda **kw: checked.touch_many(['there'], **kw), ('task_timeout',)),
        (checked.dequeue, ('timeout',)),
        (lambda **kw: checked.dequeue_many(1, **kw), ('timeout',)),
    ):
        for name in kwargs:
            await refused(call, **{name: time})
    with pytest.raises(torrelque.TorrelqueError):
        checked.schedule_sweep(time)
    monkeypatch.setattr(checked, 'task_timeout', time)
    await refused(checked.enqueue, 1)


@pytest.mark.parametrize('count', COUNTS, ids=repr)
async def test_counts(checked: Torrelque, count: Any) -> None:
    await refused(checked.dequeue, 0, max_tasks=count)
    await refused(checked.dequeue_many, count, 0)
    if count is not None:
        await refused(checked.enqueue, 1, max_attempts=count)
        await refused(checked.enqueue_many, [1], max_attempts=count)
        with pytest.raises(torrelque.TorrelqueError):
            Torrelque(checked.client, max_tasks=count)
        if count != 0 or isinstance(count, bool):
            await refused(checked.redrive, limit=count)


GROUPS: list[object] = ['', 1, b'x', [], '\ud800', 1.5, True]
PRIORITIES = [101, -101, 1.0, '1', True, False, None, float('nan'), float('inf'), []]
RATES = [
    *(5, '5', (), (1,), (1, 2, 3), (0, 1), (1, 0), (-1, 1), (1, -1), (1.5, 1), ('1', 1), (1, '1'), (True, 1), [], {}),
    *((1, float('nan')), (1, float('inf')), (float('inf'), 1), (float('nan'), 1), (2**60, 1), -float('inf')),
]


@pytest.mark.parametrize('group', GROUPS, ids=repr)
async def test_groups(checked: Torrelque, group: Any) -> None:
    await refused(checked.enqueue, 1, group=group)
    await refused(checked.enqueue_many, [1], group=group)
    for call in (checked.set_limit, checked.pause, checked.resume, checked.get_group_stats):
        await refused(call, group)
    await refused(checked.get_group_stats, None)
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await checked.enqueue_many([1], group=lambda task: group)
    assert isinstance(caught.value.__cause__, (torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError))


@pytest.mark.parametrize('priority', PRIORITIES, ids=repr)
async def test_priorities(checked: Torrelque, priority: Any) -> None:
    for group in (None, 'g'):
        await refused(checked.enqueue, 1, priority=priority, group=group)
        await refused(checked.enqueue_many, [1], priority=priority, group=group)
    with pytest.raises(torrelque.TorrelqueBulkError):
        await checked.enqueue_many([1], priority=lambda task: priority)


async def test_limits(checked: Torrelque) -> None:
    for rate in RATES:
        await refused(checked.set_limit, 'g', rate=rate)
        await refused(checked.set_limit, rate=rate)
    for count in COUNTS:
        if count is not None:
            await refused(checked.set_limit, 'g', concurrency=count)
    await refused(checked.set_limit, 'g', concurrency=-float('inf'))


@pytest.mark.parametrize('task_id', IDS, ids=repr)
async def test_ids(checked: Torrelque, task_id: Any) -> None:
    calls: list[Callable[..., Awaitable[object]]] = [checked.requeue, checked.release, checked.touch, checked.bury]
    calls += [checked.cancel, checked.redrive, checked.get_task_state]
    for call in calls:
        await refused(call, task_id)
    await refused(checked.release_many, ['there', task_id])
    await refused(checked.touch_many, ['there', task_id])
    if task_id is not None:
        await refused(checked.enqueue, 1, task_id=task_id)


async def test_payloads(checked: Torrelque) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for task in (object(), {1, 2}, b'bytes', circle, {'a': object()}):
        await refused(checked.enqueue, task)
        await refused(checked.release, 'there', result=task)
        await refused(checked.touch, 'there', progress=task)


async def test_the_rest(checked: Torrelque, client: redis.asyncio.Redis) -> None:
    for status in (torrelque.TorrelqueTaskStatus.PENDING, torrelque.TorrelqueTaskStatus.DEAD, 1, 17, 'x', None):
        await refused(checked.release, 'there', status=status)
        await refused(checked.release_many, ['there'], status=status)
    for error in (1, b'x', ValueError('x')):
        await refused(checked.bury, 'there', error=error)
        await refused(checked.requeue, 'there', error=error)
    for ids in ('there', b'there', 5, None):
        await refused(checked.release_many, ids)
        await refused(checked.touch_many, ids)
    for tasks in (5, None, object()):
        await refused(checked.enqueue_many, tasks)
    serialisers: list[Any] = [None, object(), torrelque.TorrelqueTaskSerialiser(None, None)]  # type: ignore[arg-type]
    for serialiser in serialisers:
        with pytest.raises(TypeError):
            Torrelque(client, serialiser=serialiser)
    wrong = torrelque.TorrelqueTaskSerialiser(lambda task: 5, bytes)  # type: ignore[arg-type]
    async with Torrelque(client, serialiser=wrong) as queue:
        await refused(queue.enqueue, 1)


def test_a_scheduled_sweep_needs_a_loop(server: RealServer) -> None:
    client = server.client()
    with pytest.raises(torrelque.TorrelqueError, match='event loop'):
        Torrelque(client).schedule_sweep()
