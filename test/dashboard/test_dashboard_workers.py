"""The page of workers: those that live, that are stuck, that were lost, and what nobody works on."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio

from support.hearts import write_heart
from support.looks import FOREIGN, Element, Html, Look
from torrelque import Torrelque
from torrelque.operate import Operator
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.one_server


def query_of(href: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(href).query).items()}


def rows(page: Html) -> dict[str, Element]:
    """Rows of workers by their names, in order."""
    found = [row for table in page.all('table', class_='crew') for row in table.all('tr')[1:]]
    return {row.all('th')[0].text.split(' ')[0]: row for row in found}


def link_of(part: Element, text: str) -> str:
    return next(one.attrs['href'] for one in part.all('a') if one.text == text)


async def test_no_worker_is_seen(queue: Torrelque) -> None:
    async with Look(queue) as look:
        page = await look.get('workers')
        assert 'Loops and workers without a heartbeat are not seen here' in page.text
        assert page.all('table') == []
        assert (await look.json('workers'))['workers'] == []


async def test_a_worker_that_lives_is_told_with_what_it_does(queue: Torrelque) -> None:
    async def hold(_: Delivery) -> None:
        await gate.wait()

    gate = asyncio.Event()
    task_id = await queue.enqueue(1, group='acme')
    async with Worker(queue, hold, concurrency=3, name='anna-1', heartbeat=0.05), Look(queue) as look:
        while not any(worker.running for worker in await Operator(queue).workers()):
            await asyncio.sleep(0.005)
        page, [found] = await look.get('workers'), (await look.json('workers'))['workers']
        gate.set()
    row = rows(page)['anna-1']
    assert row.one('svg', class_='slots').text == '1 of 3 slots are busy'
    assert f'{task_id[:13]}… acme for ' in row.text and ' running ' in row.text
    assert (found['name'], found['busy'], found['running'][0]['id']) == ('anna-1', 1, task_id)
    assert 'all 1' in page.links and 'live 1' in page.links


async def test_the_stuck_come_first_then_the_lost_then_the_living(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    given: Any = {'functions': ('shop.send', 'shop.bill'), 'rss': 52_000_000}
    await write_heart(client, queue, 'a', ['id-1', 'id-2'], group='acme', **given)
    await write_heart(client, queue, 'b', ago=60, host='there')
    await write_heart(client, queue, 'c', lag=14)
    async with Look(queue) as look:
        page = await look.get('workers')
        assert [*rows(page)] == ['c', 'b', 'a']
        assert [*rows(await look.get('workers', state='lost'))] == ['b']
        assert [*rows(await look.get('workers', state='live'))] == ['a']
        await look.get('workers', 400, state='ill')
    texts = {name: row.text for name, row in rows(page).items()}
    assert 'its event loop stood still for 14 s' in texts['c'] and ' stuck ' in texts['c']
    assert 'there, pid 1' in texts['b'] and 'without a goodbye lost' in texts['b']
    for text in (' 2 of 10 slots are busy 2 of 10 ', ' running ', ' 52 MB ', ' id-1 shop.send acme for 1 m '):
        assert text in texts['a']
    assert '1 more, 2 functions id-2 shop.send' in texts['a'] and 'knows shop.send, shop.bill' in texts['a']
    assert query_of(link_of(rows(page)['a'], 'id-1')) == {'q': queue.name, 'id': 'id-1'}
    assert {'all 3', 'stuck 1', 'lost 1', 'live 1'} <= {*page.links}


async def test_of_many_tasks_in_hand_those_that_run_longest_are_told(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await write_heart(client, queue, 'a', [f'id-{n}' for n in range(40)], concurrency=200, busy=150)
    async with Look(queue) as look:
        row = rows(await look.get('workers'))['a'].text
        assert len((await look.json('workers'))['workers'][0]['running']) == 40
    assert '150 of 200' in row and '149 more' in row and 'id-9 ' in row and 'id-10 ' not in row
    assert 'and 140 that began later' in row


async def test_many_workers_are_on_pages(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.dashboard.pages.workers.ROWS', 2)
    for name in 'abcde':
        await write_heart(client, queue, name)
    async with Look(queue) as look:
        seen, page = [], await look.get('workers')
        while True:
            seen += [*rows(page)]
            if 'More' not in page.links:
                break
            page = await look.get(page.links['More'])
        assert seen == [*'abcde']
        assert [*rows(await look.get(page.links['From the beginning']))] == ['a', 'b']
        assert 'There are no more.' in (await look.get('workers', **{'from': 9})).text


async def test_a_worker_of_several_queues_is_told_once(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue='other') as other:
        for one in (queue, other):
            await write_heart(client, one, 'a', queues=(queue.name, 'other'))
        await write_heart(client, other, 'b', host=queue.name)
        async with Look([queue, other]) as look:
            page = await look.get('workers')
            assert [*rows(page)] == ['a', 'b'] and 'all 2' in page.links
            assert [one['queue'] for one in (await look.json('workers'))['workers']] == [queue.name, 'other']
            assert [*rows(await look.get('workers', q=queue.name))] == ['a']


async def test_workers_of_a_queue_that_cannot_be_read_do_not_hide_the_others(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async with Torrelque(client, queue='other') as other:
        await write_heart(client, queue, 'a')
        await client.set(other.keys['workers'], 'no set')
        async with Look([queue, other]) as look:
            assert [*rows(await look.get('workers'))] == ['a']


async def test_tasks_that_nobody_works_on_are_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for n in range(3):
        await queue.enqueue({'task': 'shop.send', 'args': [n], 'kwargs': {}}, task_timeout=600)
    taken = [(await queue.dequeue(1))[0] for _ in range(3)]
    seconds, _ = await client.time()
    for task_id in taken[:2]:
        # Neither renewed for more than half of the lease, nor told of by anybody.
        await client.zadd(queue.keys['working'], {task_id: (seconds + 200) * 1000})
        await client.hset(f'{queue.keys["task"]}:{task_id}', 'last_dequeue_time', round((seconds - 400) * 1000))
    await write_heart(client, queue, 'a', taken[2:])
    async with Look(queue) as look:
        await look.json('workers')
        page = await look.get('workers')
        [section] = [one for one in page.all('section') if one.attrs['aria-label'] == f'Orphaned tasks of {queue.name}']
        found = (await look.json('workers'))['orphaned'][queue.name]
    assert '2 of 3 that are worked on' in section.text and 'shop.send not known' in section.text
    assert query_of(link_of(section, 'all')) == {'q': queue.name, 'place': 'orphaned'}
    assert {task['id'] for task in found['tasks']} == {*taken[:2]} and found['working'] == 3


async def test_what_workers_say_of_themselves_is_text(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    given: Any = {'host': FOREIGN, 'version': FOREIGN, 'functions': (FOREIGN,), 'queues': (FOREIGN, queue.name)}
    await write_heart(client, queue, FOREIGN, [FOREIGN, 'x' * 300], function=FOREIGN, group=FOREIGN, **given)
    await write_heart(client, queue, '\x1b[2J\u202e', [FOREIGN], ago=60, function='f' * 300, host='h' * 300)
    async with Look(queue, 'all') as look:
        page = await look.get('workers')
    assert page.text.count(FOREIGN) >= 6
    assert '\x1b' not in page.source and '\u202e' not in page.source
