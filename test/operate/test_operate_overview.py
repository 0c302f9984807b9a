"""The overview: ages by the ends of the lists, keys of another type, several queues, hearts."""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import Any

import pytest
import redis.asyncio

from support.explaining import worker
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueServerError
from torrelque.operate import Operator, Overview, WorkerView, crew
from torrelque.operate.overview import add

KEYS = (
    'pending', 'turns', 'priority', 'working', 'delayed', 'dead', 'tasks', 'groups', 'heads', 'rated', 'paused',
    'workers',
)  # fmt: skip


async def age(client: redis.asyncio.Redis, queue: Torrelque, task_id: str, instant: int) -> None:
    """Have a task be ready since then (ms)."""
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'enqueue_time', instant)


async def test_an_empty_queue_is_told_with_zeros(queue: Torrelque) -> None:
    told = await Operator(queue).overview()
    assert (told.tasks, told.ready, told.oldest, told.oldest_age, told.broken) == (0, 0, None, None, ())
    assert 'oldest' in told.exact


@pytest.mark.parametrize('place', [0, 1, 2, 66, 258])
async def test_the_oldest_is_found_at_the_ends_of_the_list(
    queue: Torrelque, client: redis.asyncio.Redis, place: int
) -> None:
    """The first that go next, and one 64 and one 256 places before, behind what a shutdown gave back."""
    ids = [*await queue.enqueue_many(range(400))]
    await age(client, queue, ids[place], 1000)
    taken = await queue.dequeue_many(place, timeout=60) if place else []
    assert await asyncio.gather(*(queue.requeue(task_id, forgive=True) for task_id, _ in taken)) == [True] * place
    told = await Operator(queue).overview()
    assert told.oldest == 1
    assert told.oldest_age == told.server_time - 1
    assert 'oldest' not in told.exact


async def test_the_oldest_by_priority_is_the_first_of_all_or_the_first_of_the_lowest(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    ids = {priority: [*await queue.enqueue_many(range(20), priority=priority)] for priority in (100, 1, -1, -100)}
    for instant, task_id in ((3000, ids[1][0]), (2000, ids[-100][0]), (1000, ids[-100][1]), (1500, ids[100][0])):
        await age(client, queue, task_id, instant)
    operator = Operator(queue)
    assert (await operator.overview()).oldest == 1.5
    await queue.cancel(ids[100][0])
    assert (await operator.overview()).oldest == 2
    await queue.cancel(ids[-100][0])
    assert (await operator.overview()).oldest == 1


async def test_the_oldest_head_is_found(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    ids = [await queue.enqueue(number, group=f'g{number}') for number in range(10)]
    await age(client, queue, ids[2], 1000)
    assert (await Operator(queue).overview()).oldest == 1


@pytest.mark.parametrize('by', ['pause', 'limit', 'rate'])
async def test_the_oldest_is_found_in_groups_where_nothing_else_waits(
    queue: Torrelque, client: redis.asyncio.Redis, by: str
) -> None:
    # These have nothing that waits.
    await queue.enqueue_many(range(4), group=lambda number: f'g{number}')
    await queue.dequeue_many(4)
    await queue.enqueue(1, group='late')
    await queue.dequeue(0)
    if by == 'pause':
        await queue.pause('late')
    await queue.set_limit('late', concurrency=1 if by == 'limit' else None, rate=(1, 600) if by == 'rate' else None)
    ids = await queue.enqueue_many(range(3), group='late')
    await age(client, queue, ids[0], 1000)
    told = await Operator(queue).overview()
    assert (told.pending, told.oldest, 'oldest' in told.exact) == (3, 1, False)
    await queue.cancel(ids[1])
    await queue.cancel(ids[2])
    told = await Operator(queue).overview()
    assert (told.pending, told.oldest, 'oldest' in told.exact) == (1, 1, True)
    if by != 'limit':
        # What is paused, or waits for a token, is looked at before others.
        await client.hset(queue.keys['groups'], mapping={f'h{number}': 1 for number in range(2000)})
        assert (await Operator(queue).overview()).oldest == 1


async def test_what_is_no_longer_pending_is_not_the_oldest(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    ids = [*await queue.enqueue_many(range(600))]
    await age(client, queue, ids[0], 1000)
    await age(client, queue, ids[1], 2000)
    await queue.cancel(ids[0])  # stays in the list, as a hole
    assert (await Operator(queue).overview()).oldest == 2


@pytest.mark.parametrize('name', KEYS)
async def test_a_key_of_another_type_is_named_and_harms_its_own_figures_alone(
    queue: Torrelque, client: redis.asyncio.Redis, name: str
) -> None:
    await queue.enqueue(1)
    await queue.enqueue(1, priority=1)
    await queue.enqueue(1, delay=50)
    await queue.enqueue_many(range(3), group='g')
    await queue.dequeue()
    before = await Operator(queue).overview()
    wrong = 'list' if name != 'pending' and name != 'turns' else 'string'
    await client.delete(queue.keys[name])
    await (client.rpush if wrong == 'list' else client.set)(queue.keys[name], 'x')
    told = await Operator(queue).overview()
    assert told.broken == (name,)
    assert told.error is None
    for figure in told.exact:
        assert getattr(told, figure) == getattr(before, figure), figure
    # Of `turns` nothing is counted; it is only looked at for the oldest.  Workers are no figure that can be exact.
    assert {*before.exact} - {*told.exact} or name in ('turns', 'workers')


async def test_a_queue_that_the_server_refuses_has_an_error_in_its_place(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.enqueue(1)
    async with Torrelque(client, queue='other') as other:
        async def refuse(*words: Any) -> Any:
            raise TorrelqueServerError('NOPERM no')

        monkeypatch.setattr(other, 'command', refuse)
        [fine, bad] = await Operator([queue, other]).overviews()
        assert (fine.tasks, fine.error) == (1, None)
        assert (bad.queue, bad.tasks, bad.exact, bad.error) == ('other', 0, (), 'NOPERM no')
        both = await Operator([queue, other]).overview()
        assert (both.tasks, both.exact, both.error) == (1, (), 'NOPERM no')

        async def be_away(*words: Any) -> Any:
            raise TorrelqueConnectionError('away')

        monkeypatch.setattr(other, 'command', be_away)
        with pytest.raises(TorrelqueConnectionError):
            await Operator([queue, other]).overview()


async def test_several_queues_are_added(queue: Torrelque, client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=f'{queue_name}-2') as other:
        await queue.enqueue_many(range(3))
        await other.enqueue(1, priority=1)
        await other.enqueue(1, delay=60)
        await other.pause()
        operator = Operator([queue, other])
        [one, two] = await operator.overviews()
        both = await operator.overview()
        assert both.queue == f'{queue_name}, {queue_name}-2'
        assert (both.tasks, both.pending, both.ready, both.priority, both.delayed) == (5, 4, 4, 1, 1)
        assert (both.paused, both.oldest, both.next_delayed) == (True, one.oldest, two.next_delayed)
        assert {*both.exact} == {*one.exact} & {*two.exact}
        await client.set(other.keys['groups'], 'x')
        assert (await operator.overview()).broken == (f'{queue_name}-2: groups',)


def test_what_is_added_is_a_sum_the_least_or_the_most() -> None:
    numbers = {field.name: 1 for field in fields(Overview)}
    texts = {'queue': 'a', 'exact': (), 'broken': (), 'error': None, 'paused': False, 'late_names': ('x',),
             'dry_names': (), 'away': ()}  # fmt: skip
    one = Overview(**{**numbers, **texts})  # type: ignore[arg-type]
    two = replace(
        one, queue='b', oldest=0.5, newest_dead=9.0, oldest_dead=None, probe=None, server_time=7.0, late_since=0.25,
        dry_names=('y',),
    )  # fmt: skip
    both = add([one, two], [])
    summed = {name for name in numbers if name not in texts and getattr(both, name) == 2}
    assert summed == {
        'tasks', 'pending', 'working', 'delayed', 'dead', 'ready', 'priority', 'groups', 'rated', 'paused_groups',
        'overdue', 'overdue_leases', 'schedules', 'late_schedules', 'dry_schedules', 'paused_schedules',
        'waiting',
    }  # fmt: skip
    assert (both.oldest, both.newest_dead, both.oldest_dead, both.probe, both.server_time) == (0.5, 9, 1, 1, 7)
    assert (both.late_since, both.late_names, both.dry_names) == (0.25, ('a: x', 'b: x'), ('b: y',))
    assert add([one], []) is one


async def test_workers_are_counted_where_any_has_a_heart(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker:
        def __init__(self, state: str, concurrency: int, busy: int) -> None:
            self.name, self.state, self.concurrency, self.busy = state, state, concurrency, busy

    asked = []

    async def read(queue: Torrelque, running: bool = True) -> list[Any]:
        asked.append(running)
        return [Worker('running', 5, 3), Worker('stuck', 2, 1), Worker('stopping', 1, 1), Worker('lost', 50, 50)]

    monkeypatch.setattr(crew, 'read_workers', read)
    operator = Operator(queue)
    assert ((await operator.overview()).workers, asked) == (0, [])
    await client.zadd(queue.keys['workers'], {'w': 1})
    told = await operator.overview()
    assert (told.workers, told.lost, told.stuck, told.slots, told.busy) == (3, 1, 1, 8, 5)
    assert asked == [False]

    async def refuse(queue: Torrelque, running: bool = True) -> list[WorkerView]:
        raise TorrelqueServerError('WRONGTYPE')

    monkeypatch.setattr(crew, 'read_workers', refuse)
    told = await operator.overview()
    assert (told.workers, told.broken) == (0, ('workers',))


async def test_a_worker_of_several_queues_is_counted_once(
    queue: Torrelque, client: redis.asyncio.Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {queue_name: {'a': 'running', 'b': 'lost', 'c': 'lost'}}
    states[f'{queue_name}-2'] = {'a': 'stuck', 'b': 'stopping'}

    async def read(one: Torrelque, running: bool = True) -> list[WorkerView]:
        assert not running
        return [worker(name, state=state, busy=1) for name, state in states[one.name].items()]

    monkeypatch.setattr(crew, 'read_workers', read)
    async with Torrelque(client, queue=f'{queue_name}-2') as other:
        for one in (queue, other):
            await client.zadd(one.keys['workers'], {'any': 1})
        told = await Operator([queue, other]).overview()
    assert (told.workers, told.lost, told.stuck, told.slots, told.busy) == (2, 1, 1, 4, 2)


async def test_the_probe_of_a_paused_queue_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    operator = Operator(queue)
    await queue.pause(probe=100)
    told = await operator.overview()
    assert told.paused
    assert told.probe is not None
    assert 0 < told.probe - told.server_time <= 100
    # As a claim does: further ahead than probes are apart, the clock went back.
    await client.hset(queue.keys['probes'], '', '9000000000000 1000')
    told = await operator.overview()
    assert told.probe == told.server_time
    await client.hset(queue.keys['probes'], '', 'rubbish')
    assert (await operator.overview()).probe is None
    await queue.resume()
    await client.hset(queue.keys['probes'], '', '9000000000000 9000000000000')
    assert (await operator.overview()).probe is None
