"""What failed, grouped: of a real queue, whatever is in it."""

from __future__ import annotations

import asyncio
import pickle

import pytest
import redis.asyncio

from support.burying import die, hand_out, traceback_of, work_on
from torrelque import Torrelque
from torrelque.operate import ErrorGroup, Errors, Operator, Selection
from torrelque.operate.faults import WHOLE, find_fault, shorten

pytestmark = [pytest.mark.first_server, pytest.mark.long]

SEND = traceback_of(('/srv/app/mail.py', 'send'), error='ConnectionRefusedError: [Errno 111] no 1')
TAKE = traceback_of(('/srv/app/mail.py', 'take'), error="KeyError: 'ann'")


@pytest.fixture
def operator(queue: Torrelque) -> Operator:
    return Operator(queue)


def counts(errors: Errors) -> dict[tuple[str, str], int]:
    return {(group.what, group.where): group.count for group in errors.errors}


async def test_errors_that_are_alike_are_counted_together_the_most_frequent_first(
    queue: Torrelque, operator: Operator
) -> None:
    first = await die(queue, 2, TAKE)
    more = await die(queue, 5, lambda n: SEND.replace(' no 1', f' no {n}').replace('line 7', f'line {n}'), group='acme')
    errors = await operator.errors()
    assert [(group.what, group.where, group.message, group.count, group.dead) for group in errors.errors] == [
        ('ConnectionRefusedError', 'mail.py:send', '[Errno 111] no N', 5, 5),
        ('KeyError', 'mail.py:take', "'…'", 2, 2),
    ]
    assert (errors.dead_seen, errors.dead, errors.delayed_seen, errors.delayed) == (7, 7, 0, 0)
    send, take = errors.errors
    assert {*send.ids} == {*more} and {*take.ids} == {*first}
    assert send.groups == ('acme',) and take.groups == ()
    assert send.functions == take.functions == ('send',)
    assert send.by_group == (('acme', 5),) and take.by_group == ((None, 2),)
    assert send.by_function == (('send', 5),)
    assert send.attempts == (1, 1)
    assert send.sample in {SEND.replace(' no 1', f' no {n}').replace('line 7', f'line {n}') for n in range(5)}
    assert take.first <= take.last <= send.first <= send.last <= errors.server_time
    assert send.fingerprint == find_fault(SEND).fingerprint


async def test_the_newest_case_is_the_sample_and_its_id_is_the_first(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 30, lambda n: f'ValueError: {n}')
    await client.zadd(queue.keys['dead'], {task_id: 1_700_000_000_000 + n for n, task_id in enumerate(ids)})
    [group] = (await operator.errors()).errors
    assert group.sample == 'ValueError: 29' and group.ids == tuple(reversed(ids[20:]))
    assert (group.first, group.last) == (1_700_000_000, 1_700_000_000.029)


async def test_a_task_that_is_tried_again_later_counts_by_when_it_failed(queue: Torrelque, operator: Operator) -> None:
    [held] = await work_on(queue, [{'task': 'send'}])
    await queue.requeue(held, 3600, error=SEND)
    await queue.enqueue('waits for its first time', delay=3600)
    [never] = await work_on(queue, ['given back'])
    await queue.requeue(never, 3600)
    errors = await operator.errors()
    [group] = errors.errors
    assert (group.count, group.dead, group.ids) == (1, 0, (held,))
    assert abs(group.last - errors.server_time) < 600
    assert (errors.delayed_seen, errors.delayed) == (3, 3)


async def test_a_death_without_an_error_is_told_as_such(queue: Torrelque, operator: Operator) -> None:
    ids = await die(queue, 3, None)
    [group] = (await operator.errors()).errors
    assert (group.what, group.count, group.sample) == ('no error', 3, '')
    found = [task.id async for task in operator.tasks(Selection(status='dead', error=group.fingerprint))]
    assert {*found} == {*ids}


@pytest.mark.parametrize('most', [1, 249, 250, 251, 700, 1000, 10_000])
async def test_a_window_has_the_newest(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator, most: int
) -> None:
    ids = await die(queue, 1100, lambda n: f'ValueError: {n}')
    # All have died at the same moment but for one, which has died before.
    await client.zadd(queue.keys['dead'], dict.fromkeys(ids, 1_700_000_000_000) | {ids[0]: 1_600_000_000_000})
    errors = await operator.errors(most=most)
    seen = min(most, 1100)
    assert (errors.dead_seen, errors.dead) == (seen, 1100)
    assert sum(group.count for group in errors.errors) == seen
    assert (min(group.first for group in errors.errors) == 1_600_000_000) == (most >= 1100)


async def test_the_delayed_that_are_due_first_are_looked_at(queue: Torrelque, operator: Operator) -> None:
    held = await work_on(queue, [*range(4)])
    for n, task_id in enumerate(held):
        await queue.requeue(task_id, 3600 * (4 - n), error=f'ValueError: {n}')
    errors = await operator.errors(most=2)
    assert (errors.delayed_seen, errors.delayed) == (2, 4)
    assert {task_id for group in errors.errors for task_id in group.ids} == {held[3], held[2]}


async def test_errors_of_any_length_are_read_in_bounded_replies(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    far = [('/srv/lib/python3.12/site-packages/x.py', 'é' * 997)]
    long = traceback_of(*far * 1100, ('/srv/app/mail.py', 'send'), *far * 5, error='KeyError: 1')
    assert len(long.encode()) > 2_000_000
    ids = await die(queue, 7, lambda n: long + str(n))
    ids += await die(queue, 400, 'ValueError: 1')
    errors = await operator.errors()
    assert (errors.dead_seen, errors.dead) == (407, 407)
    assert sorted(group.count for group in errors.errors) == [7, 400]
    [group] = [group for group in errors.errors if group.count == 7]
    assert (group.what, group.where) == ('KeyError', 'mail.py:send') and len(group.sample.encode()) <= WHOLE
    # Whoever reads it whole comes to the same.
    found = [task.id async for task in operator.tasks(Selection(status='dead', error=group.fingerprint))]
    assert {*found} == {*ids[:7]}


@pytest.mark.parametrize('text', ['a', 'é', '€', '😀', 'a€', '\n', 'aé€😀'])
async def test_the_server_cuts_a_long_error_as_whoever_reads_it_whole_does(
    queue: Torrelque, operator: Operator, text: str
) -> None:
    texts = ['x' * n + text * (40_000 // len(text.encode())) for n in range(8)]
    for long in texts:
        await die(queue, 1, long)
        [newest] = [group.sample for group in (await operator.errors(most=1)).errors]
        assert newest == shorten(long)
        await operator.cancel(Selection(status='dead'))


async def test_functions_are_told_whatever_the_length_of_the_payload(queue: Torrelque, operator: Operator) -> None:
    lengths = {'short': 1, 'lo"ng': 5000, 'huge': 10**5}
    await die(queue, [{'task': name, 'args': ['x' * length]} for name, length in lengths.items()])
    await die(queue, ['plain', {'job': 'x'}, {'task': 5}, [1], None, {'args': ['x' * 5000], 'task': 'behind'}])
    [group] = (await operator.errors()).errors
    assert group.count == 9 and {*group.functions} == {'short', 'lo"ng'}
    assert group.by_function[0] == (None, 7) and {*group.by_function[1:]} == {('short', 1), ('lo"ng', 1)}


async def test_functions_of_another_serialiser_are_told(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, serialiser=pickle) as queue:
        await die(queue, [{'task': 'send'}, {'task': 'long', 'args': ['x' * 5000]}])
        [group] = (await Operator(queue).errors()).errors
        assert group.functions == ('send',)


async def test_hostile_tasks_take_the_answer_not_down(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    ids = await die(queue, 6, SEND)
    await client.hset(queue.keys['tasks'], ids[0], b'{"task":"\xff\x00')
    await client.hset(f'{queue.keys["task"]}:{ids[1]}', mapping={
        'error': b'\xff\x1b[31m\n\xfe', 'dequeue_count': b'many', 'last_dequeue_time': b'nan', 'history': b'\n \n1 x',
        'group': b'\xff\n',
    })  # fmt: skip
    await client.delete(f'{queue.keys["task"]}:{ids[2]}')
    await client.set(f'{queue.keys["task"]}:{ids[3]}', 'no hash')
    await client.zadd(queue.keys['dead'], {ids[4].encode(): float('inf'), b'\xff\xfe': 5})
    errors = await operator.errors()
    assert errors.dead == errors.dead_seen == 7
    assert counts(errors)['no error', ''] == 3 and counts(errors)['ConnectionRefusedError', 'mail.py:send'] == 3
    assert {task_id for group in errors.errors for task_id in group.ids} == {*ids, '\udcff\udcfe'}
    assert all(isinstance(group.as_json(), dict) for group in errors.errors)


@pytest.mark.parametrize('place', ['dead', 'delayed', 'tasks'])
async def test_a_key_that_holds_something_else_takes_the_answer_not_down(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator, place: str
) -> None:
    await die(queue, 3, SEND)
    [held] = await work_on(queue, [1])
    await queue.requeue(held, 3600, error=TAKE)
    await client.set(queue.keys[place], 'spoilt')
    errors = await operator.errors()
    assert {group.count for group in errors.errors} == {'dead': {1}, 'delayed': {3}, 'tasks': {3, 1}}[place]


async def test_nothing_failed_is_an_answer(operator: Operator) -> None:
    errors = await operator.errors()
    assert errors.errors == () and (errors.dead, errors.delayed) == (0, 0) and errors.server_time > 1e9


@pytest.mark.long
async def test_tasks_that_die_meanwhile_are_counted_once(queue: Torrelque, operator: Operator) -> None:
    ids = {*await die(queue, 2000, SEND)}
    held = await work_on(queue, [*range(500)])

    async def go_on() -> None:
        for task_id in held:
            await queue.bury(task_id, error=SEND)

    dying = asyncio.ensure_future(go_on())
    while not dying.done():
        errors = await operator.errors(most=10_000)
        [group] = errors.errors
        assert isinstance(group, ErrorGroup) and group.count <= errors.dead_seen <= errors.dead
        assert group.count >= 2000
    await dying
    [group] = (await operator.errors(most=10_000)).errors
    assert group.count == 2500 and len(ids) == 2000


async def test_a_task_with_a_history_counts_by_the_end_of_its_last_attempt(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    await queue.enqueue(1)
    [held] = await hand_out(queue, 1)
    await queue.requeue(held, 3600, error=SEND)
    lines = b'1 1600000000000 1600000001000 older\n1 1700000000000 1700000001500 no 1\n'
    await client.hset(f'{queue.keys["task"]}:{held}', 'history', lines)
    [group] = (await operator.errors()).errors
    assert group.first == group.last == 1_700_000_001.5
