"""What a state tells of failed attempts: which they are, what of their errors is kept, how many, and each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.failing import fail, take, told
from support.proxy import Proxy, calls_of
from support.servers import MakeServer
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskStatus as Status
from torrelque.protocol.scripts import load_script

pytestmark = pytest.mark.first_server

Fail = Callable[[Torrelque, TorrelqueTaskId], Awaitable[Any]]

FAILURES: dict[str, tuple[Fail, str]] = {
    'requeue': (lambda queue, task_id: queue.requeue(task_id, error='x'), 'x'),
    'requeue with a delay': (lambda queue, task_id: queue.requeue(task_id, 60, error='x'), 'x'),
    'requeue by its plain id': (lambda queue, task_id: queue.requeue(str(task_id), error='x'), 'x'),
    'bury': (lambda queue, task_id: queue.bury(task_id, error='x'), 'x'),
    'bury without an error': (lambda queue, task_id: queue.bury(task_id), ''),
    'bury by its plain id': (lambda queue, task_id: queue.bury(str(task_id), error='x'), 'x'),
}
NO_FAILURES: dict[str, Fail] = {
    'requeue': lambda queue, task_id: queue.requeue(task_id),
    'requeue with an empty error': lambda queue, task_id: queue.requeue(task_id, error=''),
    'requeue that forgives': lambda queue, task_id: queue.requeue(task_id, forgive=True),
    'requeue that forgives an error': lambda queue, task_id: queue.requeue(task_id, error='x', forgive=True),
}
LINES = {
    'one line': ('bad', 'bad'),
    'a traceback': ('Traceback (most recent call last):\n  File "x.py"\nValueError: no\n', 'ValueError: no'),
    'white space at the end': ('a\nb \t\r\n\n  \x0b\x0c\n', 'b'),
    'an indented line': ('a\n    b', 'b'),
    'nothing that says something': (' \n\t\r\n\x00', ''),
    'a lot of nothing behind it': ('a\nb' + '\n' * 5000, 'b'),
    'control characters': ('a\nb\x00c\x1b[31md\re\x7ff', 'b c [31md e f'),
    'other ends of lines': ('a\nb\x85\u2028\u2029c', 'b\x85\u2028\u2029c'),
    'as long as may be': ('x' * 160, 'x' * 160),
    'longer': ('a\n' + 'x' * 161, 'x' * 160),
    'two bytes': ('x' + 'é' * 100, 'x' + 'é' * 79),
    'three bytes': ('€' * 100, '€' * 53),
    'four bytes': ('x' * 157 + '😀😀', 'x' * 157),
    'four bytes that fit': ('x' * 156 + '😀😀', 'x' * 156 + '😀'),
    'a megabyte': ('y\n' + 'x' * 1_000_000, 'x' * 160),
    'a megabyte of lines': ('\n' * 1_000_000 + 'z', 'z'),
    'more than is read first': ('a\n' + 'b' * 3000 + '\n' * 900, 'b' * 160),
    'spaces in front': ('a\n' + ' ' * 2000 + 'b', 'b'),
}


async def history_of(client: redis.asyncio.Redis, queue: Torrelque, task_id: str) -> bytes | None:
    found: Any = await client.hget(f'{queue.keys["task"]}:{task_id}', 'history')
    assert found is None or isinstance(found, bytes)
    return found


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.get_queue_stats()
        yield queue


# What is a failed attempt


@pytest.mark.parametrize('how', FAILURES)
async def test_a_failed_attempt_is_in_the_history(client: redis.asyncio.Redis, queue: Torrelque, how: str) -> None:
    call, error = FAILURES[how]
    task_id = await queue.enqueue(1)
    taken = await take(queue)
    assert (await queue.get_task_state(task_id)).history == ()
    assert await call(queue, taken)
    state = await queue.get_task_state(task_id)
    (attempt,) = state.history
    assert type(attempt) is torrelque.Attempt
    assert (attempt.number, attempt.error) == (1, error)
    assert attempt.start == state.last_dequeue_time
    assert attempt.start <= attempt.end <= attempt.start + 60
    start, end = (round(instant * 1000) for instant in (attempt.start, attempt.end))
    assert await history_of(client, queue, task_id) == f'1 {start} {end} {error}\n'.encode()


@pytest.mark.parametrize('how', NO_FAILURES)
@pytest.mark.parametrize('most', [None, 1])
async def test_what_is_given_back_without_a_failure_has_no_history(
    client: redis.asyncio.Redis, queue: Torrelque, how: str, most: int | None
) -> None:
    task_id = await queue.enqueue(1, max_attempts=most)
    assert await NO_FAILURES[how](queue, await take(queue))
    assert (await queue.get_task_state(task_id)).history == ()
    assert await history_of(client, queue, task_id) is None


async def test_a_task_that_dies_by_its_last_attempt_has_it_in_its_history(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, max_attempts=2)
    await fail(queue, 'first')
    await fail(queue, 'second')
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and state.error == 'second'
    assert told(state) == [(1, 'first'), (2, 'second')]


async def test_a_consumer_that_crashed_shows_in_the_history(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.001, max_attempts=2)
    for number in (1, 2):
        taken = await take(queue)
        assert taken.attempt == number
        await asyncio.sleep(0.002)
        await queue.sweep()
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD and state.error == 'its lease ran out, its attempts are used up'
    assert told(state) == [(1, 'its lease ran out'), (2, 'its lease ran out')]
    assert state.history[0].end == state.last_requeue_time


async def test_a_cancelled_task_that_was_held_has_no_failure(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.001)
    await take(queue)
    await queue.cancel(task_id)
    await asyncio.sleep(0.002)
    await queue.sweep()
    assert (await queue.get_task_state(task_id)).history == ()


async def test_who_lost_the_lease_adds_nothing(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    stale = await fail(queue)
    await take(queue)
    assert not await queue.requeue(stale, error='late')
    assert not await queue.bury(stale, error='late')
    assert told(await queue.get_task_state(task_id)) == [(1, 'x')]


async def test_each_task_of_a_call_has_a_history_of_its_own(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(300))
    taken = [task_id for task_id, _ in await queue.dequeue_many(300)]
    assert all(await asyncio.gather(*(queue.requeue(task_id, error=f'e{n}') for n, task_id in enumerate(taken))))
    states = await asyncio.gather(*map(queue.get_task_state, ids))
    assert [told(state) for state in states] == [[(1, f'e{number}')] for number in range(300)]


# What a line has


@pytest.mark.parametrize('how', LINES)
async def test_last_line_that_says_something_is_kept(
    client: redis.asyncio.Redis, queue: Torrelque, how: str
) -> None:
    error, line = LINES[how]
    task_id = await queue.enqueue(1)
    await fail(queue, error)
    await fail(queue, 'next')
    state = await queue.get_task_state(task_id)
    assert told(state) == [(1, line), (2, 'next')]
    assert (await history_of(client, queue, task_id) or b'').count(b'\n') == 2


async def test_an_error_that_is_no_text_is_cut_and_read_all_the_same(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    taken = await take(queue)
    text, keys = load_script('bury').text.decode(), (queue.keys['pending'], queue.keys['never'])
    words: list[str | bytes] = ['', '', str(taken), taken.token, 'm' * 15, b'a\n' + b'\x80' * 300, '']
    assert await client.eval(text, 2, *keys, *words) == b'ok'
    assert told(await queue.get_task_state(task_id)) == [(1, '\ufffd' * 157)]


# How many


@pytest.mark.parametrize('times', [9, 10, 11, 12, 25])
async def test_first_and_the_last_nine_are_kept(queue: Torrelque, times: int) -> None:
    task_id = await queue.enqueue(1)
    for number in range(1, times + 1):
        await fail(queue, f'e{number}')
    every = [(number, f'e{number}') for number in range(1, times + 1)]
    assert told(await queue.get_task_state(task_id)) == (every if times <= 10 else [every[0], *every[-9:]])


async def test_ten_long_lines_are_kept_whole(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    for _ in range(12):
        await fail(queue, '😀' * 50)
    assert told(await queue.get_task_state(task_id)) == [
        (number, '😀' * 40) for number in (1, *range(4, 13))
    ]
    assert len(await history_of(client, queue, task_id) or b'') < 2500


async def test_redrive_keeps_the_history_and_the_numbers_go_on(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, max_attempts=1)
    for number in range(1, 4):
        await fail(queue, f'e{number}')
        assert (await queue.get_task_state(task_id)).status is Status.DEAD
        assert await queue.redrive(task_id) == 1
    state = await queue.get_task_state(task_id)
    assert state.status is Status.PENDING
    assert told(state) == [(1, 'e1'), (2, 'e2'), (3, 'e3')]


async def test_an_id_that_is_used_anew_has_a_history_of_its_own(queue: Torrelque) -> None:
    await queue.enqueue(1, task_id='own')
    await fail(queue)
    await queue.cancel('own')
    await queue.enqueue(2, task_id='own', delay=60)
    state = await queue.get_task_state('own')
    assert state.history == () and state.ready_time is None


# Once


@pytest.mark.parametrize('loss', ['lose_request', 'lose_reply'])
@pytest.mark.parametrize('how', FAILURES)
async def test_a_call_whose_reply_is_lost_adds_one_line(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, how: str, loss: str
) -> None:
    task_id = await queue.enqueue(1)
    taken = await take(queue)
    getattr(proxy, loss)(calls_of(how.partition(' ')[0]))
    call, error = FAILURES[how]
    assert await call(faulty, taken)
    assert proxy.lossless
    assert told(await queue.get_task_state(task_id)) == [(1, error)]


@pytest.mark.parametrize('loss', ['lose_request', 'lose_reply'])
async def test_a_sweep_whose_reply_is_lost_adds_one_line(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str
) -> None:
    task_id = await queue.enqueue(1, task_timeout=0.001)
    late = await queue.enqueue(2, delay=0.001)
    await take(queue)
    await asyncio.sleep(0.002)
    getattr(proxy, loss)(calls_of('sweep'))
    await faulty.sweep()
    assert proxy.lossless
    await faulty.sweep()
    assert told(await queue.get_task_state(task_id)) == [(1, 'its lease ran out')]
    assert (await queue.get_task_state(late)).ready_time


async def test_a_redrive_whose_reply_is_lost_makes_it_ready_once(
    client: redis.asyncio.Redis, proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    task_id = await queue.enqueue(1)
    await queue.bury(await take(queue))
    proxy.lose_reply(calls_of('redrive'))
    assert await faulty.redrive(task_id) == 1
    assert proxy.lossless
    state = await queue.get_task_state(task_id)
    assert told(state) == [(1, '')] and state.ready_time is not None
    assert state.ready_time >= state.history[0].end


# By hand


@pytest.mark.parametrize(
    ('history', 'seen'),
    [
        (b'', []),
        (b'nonsense', []),
        (b'nonsense\n\n\n', []),
        (b'1 2 3', []),
        (b'1 2 3 whole', [(1, 'whole')]),
        (b'\xff\x00\xfe 1 2 3\n7 1 2 \xff\n', [(7, '\ufffd')]),
        (b'a b c d\n5 1000 2000 five\n', [(5, 'five')]),
        (b'9' * 5000 + b' 1 2 x\n', []),
        (b'1 ' + b'9' * 400 + b' 2 x\n', []),
        (b'nan inf 1 x\n', []),
        (b'\n' * 2500, []),
        (b'x' * 2501, []),
        (b'x' * 1_000_000, []),
    ],
)
async def test_a_history_that_was_written_by_hand_breaks_nothing(
    client: redis.asyncio.Redis, queue: Torrelque, history: bytes, seen: list[Any]
) -> None:
    task_id = await queue.enqueue(1)
    taken = await take(queue)
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'history', history)
    assert told(await queue.get_task_state(task_id)) == seen
    assert await queue.requeue(taken, error='new')
    assert told(await queue.get_task_state(task_id)) == [*seen, (1, 'new')]
    assert len(await history_of(client, queue, task_id) or b'') < 2600
    for number in range(2, 14):
        await fail(queue, f'e{number}')
    assert told(await queue.get_task_state(task_id))[-9:] == [(number, f'e{number}') for number in range(5, 14)]


@pytest.mark.parametrize('field', ['dequeue_count', 'last_dequeue_time'])
@pytest.mark.parametrize('value', ['', 'nan', '-inf', '1e300', 'x\ny', '9' * 400])
async def test_an_attempt_whose_fields_are_damaged_is_buried_all_the_same(
    client: redis.asyncio.Redis, queue: Torrelque, field: str, value: str
) -> None:
    task_id = await queue.enqueue(1)
    await take(queue)
    key = f'{queue.keys["task"]}:{task_id}'
    await client.hset(key, field, value)
    assert await queue.bury(str(task_id), error='x')
    assert (await history_of(client, queue, task_id) or b'').endswith(b' x\n')
    await client.hset(key, field, '1')
    assert (await queue.get_task_state(task_id)).status is Status.DEAD


async def test_a_full_memory_keeps_no_line_away(make_server: MakeServer) -> None:
    async with make_server({'maxmemory': '0'}).client() as client, Torrelque(client, queue='full') as queue:
        await queue.enqueue_many(range(3))
        await queue.enqueue(3, delay=0.001, task_id='late')
        taken = [task_id for task_id, _ in await queue.dequeue_many(3)]
        await client.zadd(queue.keys['working'], {taken[2]: 1})
        await client.config_set('maxmemory', '1')
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await client.set('some', 'thing')
        assert await queue.requeue(taken[0], error='no')
        assert await queue.bury(taken[1], error='no')
        await asyncio.sleep(0.002)
        await queue.sweep()
        assert await queue.redrive(taken[1]) == 1
        states = [await queue.get_task_state(task_id) for task_id in (*taken, 'late')]
    assert [told(state) for state in states] == [[(1, 'no')], [(1, 'no')], [(1, 'its lease ran out')], []]
    assert states[1].ready_time and states[3].ready_time
