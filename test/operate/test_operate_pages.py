"""Pages and walks: places, orders, cursors, and who is told to have a task in hand."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.operating import walked
from torrelque import Torrelque
from torrelque.operate import Operator, Page, RunningView, Selection, WorkerView, crew, pages
from torrelque.operate.asking import ask
from torrelque.operate.pages import read_tasks, walk
from torrelque.operate.places import REMEMBERED, Memory, digest

WORKER = WorkerView(
    name='w', queue='', state='running', host='h', pid=1, version='1', started=1.0, seen=2e9, interval=5.0, queues=(),
    functions=(), concurrency=3, busy=1, running=(), succeeded=0, failed=0, dead=0, lost=0, hanging=0, lag=None,
    claimed=None, rss=None, why=None,
)  # fmt: skip


async def fill(queue: Torrelque, count: int = 300) -> None:
    """Pending tasks of all kinds: plain, with a priority, of groups that are short and long."""
    await queue.enqueue_many(range(count))
    for number in range(count // 10):
        await queue.enqueue(number, priority=random.choice([-5, 5]))
        await queue.enqueue(number, group=f'short-{number}')
    await queue.enqueue_many(range(count), group='long')


async def paged(operator: Operator, place: str, most: int, **options: Any) -> list[Page]:
    found = [await operator.page(place, most=most, **options)]
    while found[-1].cursor is not None:
        found.append(await operator.page(place, most=most, after=found[-1].cursor, **options))
        assert len(found) < 1000
    return found


# Places and cursors


@pytest.mark.parametrize('most', [1, 50, *(pytest.param(it, marks=pytest.mark.long) for it in (7, 1000))])
async def test_pages_by_their_cursors_have_each_task_once(queue: Torrelque, most: int) -> None:
    await fill(queue, 100)
    operator = Operator(queue)
    for place in ('pending', 'ready', 'group', 'group:long', 'priority', 'turns'):
        found = await paged(operator, place, most)
        ids = [task.id for page in found for task in page.tasks]
        assert ids == [task.id for task in await walked(queue, place)]
        assert len(ids) == len({*ids}) == found[0].total
        assert all(len(page.tasks) <= most or place in ('group', 'pending') for page in found)


async def test_pages_go_on_within_the_groups_that_were_named_together(queue: Torrelque) -> None:
    """More than a cursor remembers."""
    for number in range(8):
        await queue.enqueue_many(range(60), group=f'g{number}')
    found = [task.id for page in await paged(Operator(queue), 'group', 50) for task in page.tasks]
    assert len(found) == len({*found}) == 480


async def test_a_walk_gives_250_at_a_time(queue: Torrelque) -> None:
    await queue.enqueue_many(range(600))
    assert [len(part) async for part in walk(queue, 'pending')] == [250, 250, 100]


def test_a_walk_remembers_no_more_than_it_says() -> None:
    memory = Memory()
    marks = [digest(b'%d' % number) for number in range(3000)]
    assert all(memory.add(mark) for mark in marks)
    assert len(memory.order) == len(memory.known) == REMEMBERED
    assert not memory.add(marks[-REMEMBERED])
    assert memory.add(marks[-REMEMBERED - 1])


@pytest.mark.parametrize('newest_first', [False, True])
async def test_tasks_of_one_instant_are_told_once_each(
    queue: Torrelque, client: redis.asyncio.Redis, newest_first: bool
) -> None:
    await queue.enqueue_many(range(500), delay=50)
    ids: list[Any] = [*await client.zrange(queue.keys['delayed'], 0, -1)]
    await client.zadd(queue.keys['delayed'], dict.fromkeys(ids, 2e12))
    found = await paged(Operator(queue), 'delayed', 30, newest_first=newest_first)
    told = [task.id.encode() for page in found for task in page.tasks]
    assert told == sorted(ids, reverse=newest_first)
    assert [task.id.encode() for task in await walked(queue, 'delayed', newest_first=newest_first)] == told


@pytest.mark.parametrize('newest_first', [False, True])
async def test_a_cursor_whose_task_is_gone_keeps_its_place(
    queue: Torrelque, client: redis.asyncio.Redis, newest_first: bool
) -> None:
    await queue.enqueue_many(range(100), delay=50)
    members: list[Any] = [*await client.zrange(queue.keys['delayed'], 0, -1)]
    ids = sorted(members, reverse=newest_first)
    await client.zadd(queue.keys['delayed'], dict.fromkeys(ids, 2e12))
    operator = Operator(queue)
    page = await operator.page('delayed', most=40, newest_first=newest_first)
    for task in page.tasks:
        await queue.cancel(task.id)
    found = [await operator.page('delayed', most=100, after=page.cursor, newest_first=newest_first)]
    assert [task.id.encode() for task in found[0].tasks] == ids[40:]


async def test_a_walk_by_instants_looks_at_no_others(queue: Torrelque) -> None:
    for delay in (100, 200, 300):
        await queue.enqueue(delay, delay=delay)
    due = [task.due or 0.0 for task in await walked(queue, 'delayed')]
    assert due == sorted(due)
    first, second, third = due
    for since, until, expected in (
        (None, second, [first, second]), (second, None, [second, third]), (second, second, [second]),
        (third + 0.001, None, []), (None, first - 0.001, []), (first + 0.001, third - 0.001, [second]),
    ):  # fmt: skip
        for newest_first in (False, True):
            tasks = await walked(queue, 'delayed', since=since, until=until, newest_first=newest_first)
            assert [task.due for task in tasks] == expected[:: -1 if newest_first else 1]
    with pytest.raises(torrelque.TorrelqueValueError, match='no instant'):
        await walked(queue, 'pending', since=1.0)


async def test_a_walk_of_a_group_looks_at_its_tasks_alone(queue: Torrelque) -> None:
    await fill(queue, 50)
    await queue.dequeue_many(40, 0)
    for place in ('pending', 'group'):
        assert {task.group for task in await walked(queue, place, group='long')} == {'long'}
        assert [task.id for task in await walked(queue, place, group='none')] == []
    working = await walked(queue, 'working')
    expected = [task.id for task in working if task.group == 'long']
    assert len(working) > len(expected) > 0
    assert [task.id for task in await walked(queue, 'working', group='long')] == expected


async def test_an_unknown_place_and_a_cursor_of_another_are_refused(queue: Torrelque, queue_name: str) -> None:
    await fill(queue, 60)
    operator = Operator(queue)
    with pytest.raises(torrelque.TorrelqueValueError, match="no place 'somewhere'"):
        await operator.page('somewhere')
    with pytest.raises(torrelque.TorrelqueValueError, match="no place 'group:'"):
        await operator.page('group:')
    cursor = (await operator.page('pending', most=10)).cursor
    assert cursor is not None
    damaged = cursor[:-3] + ('AAA' if cursor[-3:] != 'AAA' else 'BBB')
    for place, after in (
        ('ready', cursor), ('priority', cursor), ('pending', damaged), ('pending', ''), ('pending', 'é'),
        ('pending', '\ud800'), ('pending', 'A' * 100_000), ('pending', cursor + 'A'),
    ):  # fmt: skip
        with pytest.raises(torrelque.TorrelqueValueError, match='the cursor is not of a page of this place'):
            await operator.page(place, after=after)
    async with Torrelque(queue.client, queue=f'{queue_name}-2') as other:
        with pytest.raises(torrelque.TorrelqueValueError, match='cursor'):
            await Operator(other).page('pending', after=cursor)


async def test_holes_are_no_tasks(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    ids = [*await queue.enqueue_many(range(700))]
    for task_id in ids[::3]:
        await queue.cancel(task_id)
    assert await client.scard(queue.keys['holes']) > 30
    assert {task.id for task in await walked(queue, 'pending')} == {*ids} - {*ids[::3]}
    await client.delete(*(f'{queue.keys["task"]}:{task_id}' for task_id in ids[::3]))  # as after a minute
    assert {task.id for task in await walked(queue, 'pending')} == {*ids} - {*ids[::3]}
    found = await paged(Operator(queue), 'pending', 50)
    assert {task.id for page in found for task in page.tasks} == {*ids} - {*ids[::3]}
    # An id that has a hole may be pending elsewhere, behind the head of its group.
    await queue.enqueue(1, group='g')
    await queue.enqueue(2, group='g', task_id=ids[0])
    assert ids[0] not in {task.id for task in await walked(queue, 'ready')}
    assert [task.place for task in await walked(queue, 'pending') if task.id == ids[0]] == ['group']


# Tasks


async def test_a_payload_is_told_up_to_a_length_and_its_function_further(queue: Torrelque) -> None:
    [short, long, larger] = [
        await queue.enqueue({'task': 'mail', 'args': ['x' * length]}) for length in (1, 5000, 70_000)
    ]
    tasks = {task.id: task for task in (await Operator(queue).page('pending')).tasks}
    assert tasks[short].payload == {'task': 'mail', 'args': ['x']}
    assert (tasks[long].payload, tasks[long].raw, tasks[long].function) == (None, None, 'mail')
    assert (tasks[larger].raw, tasks[larger].function) == (None, 'mail')
    assert [tasks[task_id].size for task_id in (short, long, larger)] == [28, 5027, 70027]
    [told] = await read_tasks(queue, [larger], 100_000)
    assert (told.function, told.size) == ('mail', 70027)
    for options, function in (({}, None), ({'function': True}, 'mail')):
        [task] = [task for task in await walked(queue, 'pending', **options) if task.id == short]
        assert (task.function, task.payload, task.raw) == (function, None, None)
        assert task.function_known is (function is not None)


LARGE: dict[str, tuple[bytes, str | None, bool]] = {
    'a call': (b'{"task":"mail","args":["%s"]}', 'mail', True),
    'a call with spaces': (b' { "task" : "ma\\u0069l", "args": ["%s"]}', 'mail', True),
    'a call that names its function late': (b'{"args":["%s"],"task":"mail"}', None, False),
    'another object': (b'{"addr":"%s"}', None, False),
    'a function without a text for a name': (b'{"task":5,"args":["%s"]}', None, False),
    'a text': (b'"%s"', None, True),
    'a list': (b' ["%s"]', None, True),
}


@pytest.mark.parametrize('case', LARGE)
async def test_the_beginning_of_a_large_payload_tells_its_function_or_that_it_is_not_known(
    client: redis.asyncio.Redis, queue: Torrelque, case: str
) -> None:
    payload, function, known = LARGE[case]
    task_id = await queue.enqueue(1)
    await client.hset(queue.keys['tasks'], task_id, payload % (b'x' * 70_000))
    operator = Operator(queue)
    [task] = await read_tasks(queue, [task_id], 0)
    assert (task.function, task.function_known, task.raw) == (function, known, None)
    for pattern in ('', 'mail', '*'):
        selected = [one.id async for one in operator.tasks(Selection(function=pattern))]
        assert (selected == [task_id]) is (known and bool(function) is bool(pattern))
    # Whoever reads all of it knows.
    [whole] = await read_tasks(queue, [task_id], 100_000)
    assert whole.function_known and whole.function == ('mail' if 'late' in case else function)


async def test_a_payload_that_is_gone_or_of_another_serialiser_is_no_call_and_no_other_task(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    rubbish, large, gone = await queue.enqueue_many(['x'] * 3)
    await client.hset(queue.keys['tasks'], rubbish, b'\x80\x04.')
    await client.hset(queue.keys['tasks'], large, b'\x80\x04' * 40_000)
    await client.hdel(queue.keys['tasks'], gone)
    tasks = await read_tasks(queue, [rubbish, large, gone], 0)
    assert [task.function_known for task in tasks] == [False, False, False]
    pickling = Torrelque(client, queue=queue.name, serialiser=pickle)
    tasks = await read_tasks(pickling, [rubbish, large, gone], 0)
    assert [task.function_known for task in tasks] == [False, False, False]
    assert [one.id async for one in Operator(pickling).tasks(Selection(function=''))] == []
    await pickling.aclose()


async def test_payloads_beyond_sixteen_megabytes_are_not_read_for_a_name(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    fits, beyond = await queue.enqueue_many([1, 2])
    head = b'{"task":"mail","args":["'
    for task_id, size in ((fits, 2**24), (beyond, 2**24 + 1)):
        await client.hset(queue.keys['tasks'], task_id, head + b'x' * (size - len(head) - 3) + b'"]}')
    tasks = await read_tasks(queue, [fits, beyond], 0)
    assert [(task.function, task.function_known, task.size) for task in tasks] == [
        ('mail', True, 2**24),
        (None, False, 2**24 + 1),
    ]


async def test_a_page_of_large_payloads_comes_in_several_replies(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(8):
        await queue.enqueue('x' * 400_000)
    replies = []

    async def note(queue: Torrelque, name: str, *args: Any) -> Any:
        reply = await ask(queue, name, *args)
        if name == 'page':
            replies.append(len(reply) - 3)
        return reply

    monkeypatch.setattr(pages, 'ask', note)
    page = await Operator(queue).page('pending', payload=1_000_000)
    assert [len(task.payload) for task in page.tasks] == [400_000] * 8
    # A reply has a million bytes at the most, or one task.
    assert replies == [2] * 4
    for _ in range(2):
        await queue.enqueue('x' * 2_000_000, priority=1)
    replies.clear()
    assert len((await Operator(queue).page('priority', payload=10**7)).tasks) == 2
    assert replies == [1, 1]


async def test_tasks_are_read_in_the_order_of_their_ids_and_an_unknown_one_is_nothing(queue: Torrelque) -> None:
    ids = [await queue.enqueue(number) for number in range(120)]
    random.shuffle(ids)
    asked = [*ids[:60], 'nobody', *ids[60:]]
    tasks = await read_tasks(queue, asked, 10)
    assert [task.id for task in tasks] == asked
    nobody = tasks[60]
    assert (nobody.status, nobody.place, nobody.size, nobody.broken) == (None, None, None, None)
    with pytest.raises(torrelque.TorrelqueLookupError, match="the queue has no task 'nobody'"):
        await Operator(queue).task('nobody')


async def test_what_is_final_is_told_with_its_end(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    await queue.release(taken, result={'a': 1}, result_ttl=500)
    task = await Operator(queue).task(task_id)
    assert (task.status, task.place, task.result) == (torrelque.TaskStatus.COMPLETED, None, {'a': 1})
    assert (task.size, task.broken) == (None, None)
    assert task.kept_until is not None
    assert 300 < task.kept_until - task.server_time <= 500


async def test_history_is_told_as_far_as_it_can_be_read(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    task_id = await queue.enqueue(1)
    key = f'{queue.keys["task"]}:{task_id}'
    await client.hset(key, 'history', b'1 1000 2500 Boom: it\n\nrubbish\n2 3000 4000 \n3 x 4 y\n4 5000 6000 \xff\n')
    history = (await Operator(queue).task(task_id)).history
    assert [(one.number, one.started, one.ended, one.error) for one in history] == [
        (1, 1.0, 2.5, 'Boom: it'), (2, 3.0, 4.0, ''), (4, 5.0, 6.0, '\ufffd'),
    ]  # fmt: skip
    await client.hset(key, 'history', b''.join(b'%d 1 2 e\n' % number for number in range(1, 100_000)))
    assert [one.number for one in (await Operator(queue).task(task_id)).history][:2] == [1, 92]


async def test_since_when_a_task_is_ready_is_the_latest_of_three(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    task_id = await queue.enqueue(1)
    for field, value in (('enqueue_time', 1000), ('last_requeue_time', 3000), ('ready_time', 2000)):
        await client.hset(f'{queue.keys["task"]}:{task_id}', field, value)
    operator = Operator(queue)
    assert (await operator.task(task_id)).ready_since == (await operator.overview()).oldest == 3
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'ready_time', 4000)
    assert (await operator.task(task_id)).ready_since == (await operator.overview()).oldest == 4


# Who has a task in hand


@pytest.fixture
def hearts(monkeypatch: pytest.MonkeyPatch) -> list[WorkerView]:
    """What hearts tell; filled by the test."""
    workers: list[WorkerView] = []

    async def read(queue: Torrelque, running: bool = True) -> list[WorkerView]:
        return workers

    async def find(queue: Torrelque, texts: object, most: int = 0) -> crew.Found:
        return workers, frozenset()

    monkeypatch.setattr(crew, 'read_workers', read)
    monkeypatch.setattr(crew, 'find_workers', find)
    return workers


async def test_the_worker_that_has_a_task_is_told_and_what_is_with_nobody(
    queue: Torrelque, client: redis.asyncio.Redis, hearts: list[WorkerView]
) -> None:
    [held, lost, alone, fresh, young] = await queue.enqueue_many(range(5), task_timeout=200)
    await queue.dequeue_many(5)
    now = (await Operator(queue).overview()).server_time
    # Its lease was not renewed for more than half of its length.
    await client.zadd(queue.keys['working'], dict.fromkeys([held, lost, alone], (now + 90) * 1000))
    await client.zadd(queue.keys['workers'], {'w': 1})

    def running(task_id: str, name: str = queue.name) -> RunningView:
        return RunningView(task_id, name, 'f', None, 1, 1.0)

    had = running(lost), running(young), running(alone, 'another')
    gone = replace(WORKER, name='gone', state='lost', running=had)
    hearts[:] = [replace(WORKER, running=(running(held),)), gone]
    told = {task.id: task.worker for task in await walked(queue, 'working')}
    assert told == {held: 'w', lost: 'gone', alone: None, fresh: None, young: 'gone'}
    assert {task.id for task in await walked(queue, 'orphaned')} == {lost, alone, young}
    page = await Operator(queue).page('orphaned')
    assert ({task.id for task in page.tasks}, page.total) == ({lost, alone, young}, 5)
    assert (await Operator(queue).task(held)).worker == 'w'
    # A worker that was lost before the task was handed out does not have it.
    hearts[:] = [replace(gone, seen=now - 1000)]
    assert (await Operator(queue).task(lost)).worker is None
    assert {task.id for task in await walked(queue, 'orphaned')} == {held, lost, alone}


async def test_hearts_are_asked_only_where_something_is_worked_on_and_somebody_has_one(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def read(queue: Torrelque, running: bool = True) -> list[WorkerView]:
        asked.append(running)
        return []

    monkeypatch.setattr(crew, 'read_workers', read)
    await queue.enqueue_many(range(600))
    await client.zadd(queue.keys['workers'], {'w': 1})
    await walked(queue, 'pending')
    assert asked == []
    await queue.dequeue_many(200)
    await walked(queue, 'working')
    assert asked == [True]
    await client.delete(queue.keys['workers'])
    await walked(queue, 'working')
    assert asked == [True]


async def test_a_page_looks_at_no_more_than_it_is_told(queue: Torrelque) -> None:
    await queue.enqueue_many(range(250))
    await queue.dequeue_many(250)
    found = await paged(Operator(queue), 'orphaned', 50, look=100)
    assert [page.tasks for page in found] == [()] * len(found)
    assert 3 <= len(found) <= 4 and max(page.looked_at for page in found) <= 100
    assert sum(page.looked_at for page in found) == 250
    with pytest.raises(ValueError, match='look'):
        await Operator(queue).page('orphaned', look=0)
