"""The pages of flows: which there are, how far each is, its graph and its tasks, why it does not go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from support.diamond import DIAMOND
from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque, TorrelqueNode, TorrelqueTaskStatus
from torrelque.dashboard import visit
from torrelque.dashboard.pages import flow as flow_page, flows as flows_page

pytestmark = pytest.mark.one_server

Node = TorrelqueNode


def rows(page: Html) -> list[str]:
    """What stands at the beginning of each row."""
    return [one.all('a')[0].text for one in page.all('th', scope='row')]


def acts(page: Html) -> list[str]:
    return [one.attrs['href'] for one in page.one('div', class_='acts').all('a')]


async def bury(queue: Torrelque, flow_id: str, error: str = 'Boom: it broke') -> None:
    """Have the first task of a flow die."""
    await queue.enqueue_flow(DIAMOND, flow_id=flow_id, name=f'no. {flow_id}')
    task_id, _ = await queue.dequeue(1)
    await queue.bury(task_id, error=error)


async def all_tasks(look: Look, queue: Torrelque, flow_id: str) -> list[str]:
    """The tasks of a flow, of all pages of it."""
    page = await look.get('flow', q=queue.name, id=flow_id)
    found = rows(page)
    while 'More' in page.links:
        page = await look.get(page.links['More'])
        found += rows(page)
    return found


# Which there are


async def test_no_flow_is_under_way(queue: Torrelque) -> None:
    async with Look(queue) as look:
        assert 'No flow is under way.' in (await look.get('flows')).text
        found = await look.json('flows')
        assert (found['flows'], found['cursor']) == ([], None) and not found['stalled']
        page = await look.get('flow', 404, id='nope')
        assert "no flow 'nope'" in page.text


async def test_flows_that_need_somebody_come_first(queue: Torrelque) -> None:
    await bury(queue, 'F')
    for name in ('first', 'second'):
        await queue.enqueue_flow(DIAMOND, flow_id=name, timeout=3600)
        # Another millisecond of the server's, by which they have an order.
        await asyncio.sleep(0.005)
    async with Look(queue) as look:
        while (await look.json('flows'))['stalled'] is None:
            await asyncio.sleep(0.01)
        page = await look.get('flows')
        assert rows(page) == ['no. F', 'second', 'first']
        dead, second = (one.text for one in page.all('tr')[1:3])
        assert dead.startswith('no. F F stands still 0 of 4 1 0') and second.startswith('second waiting 0 of 4 0 0')
        assert '1 flow has dead tasks (1)' in page.text and f'torrelque redrive F -q {queue.name}' in page.text
        assert '3 of 3 shown; 12 of 12 that wait were looked at' in page.text
        found = await look.json('flows')
        assert [(one['id'], one['dead'], one['tasks']) for one in found['flows']] == [
            ('F', 1, []), ('second', 0, []), ('first', 0, []),
        ]  # fmt: skip


async def test_many_flows_are_paged_and_looked_for_further(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows_page, 'ROWS', 20)
    monkeypatch.setattr(flows_page, 'LOOKED', 1)
    for n in range(210):
        await queue.enqueue_flow(DIAMOND, flow_id=f'F{n}')
    async with Look(queue) as look:
        page, found = await look.get('flows'), set[str]()
        assert len(rows(page)) == 20 and '20 of ' in page.text and 'of 840 that wait were looked at' in page.text
        assert 'From the beginning' not in page.links
        further = 0
        while True:
            found |= {*rows(page)}
            further += 'Look further' in page.links
            onward = page.links.get('More') or page.links.get('Look further')
            if onward is None:
                break
            page = await look.get(onward)
        assert found == {f'F{n}' for n in range(210)} and further
        assert rows(await look.get(page.links['From the beginning'])) == rows(await look.get('flows'))


# One


async def test_a_flow_is_told_with_its_graph_and_its_tasks(queue: Torrelque) -> None:
    drawn = {'nodes': [[node.name, [*(node.after or {}).items()], 'shop.f'] for node in DIAMOND]}
    await queue.enqueue_flow(DIAMOND, flow_id='F', task=drawn, name='the report', timeout=3600)
    task_id, _ = await queue.dequeue(1)
    await queue.release(task_id)
    async with Look(queue) as look:
        page = await look.get('flow', id='F')
        assert page.one('h1').text.startswith('the report F') and '1 of 4 tasks ended' in page.text
        assert rows(page) == [*'abcd']
        graph = page.one('svg', class_='graph')
        assert graph.all('title')[0].text == '4 tasks: 2 pending, 1 waiting, 1 completed'
        boxes = graph.all('svg', class_='box')
        assert [(one.all('text')[0].text, one.attrs['data-status']) for one in boxes] == [
            ('a', 'completed'), ('b', 'pending'), ('c', 'pending'), ('d', 'waiting'),
        ]  # fmt: skip
        hrefs = [one.attrs['href'] for one in graph.all('a')]
        assert hrefs == [f'./task?q={queue.name}&id=F.{name}' for name in 'abcd']
        kinds = [one.attrs['class'] for one in graph.all('path', class_='edge')]
        assert sorted(kinds) == ['edge end', *['edge then'] * 3]
        assert 'it goes on: 1 of 4 tasks have ended' in page.text and 'at its end' in page.text
        assert '2: b, the end of c' in page.all('tr')[4].text
        found = await look.json('flow', id='F')
        assert found['flow']['task'] is None and [one['name'] for one in found['flow']['tasks']] == [*'abcd']
        assert acts(page) == []


async def test_a_flow_that_stands_still_says_why_and_what_would_help(queue: Torrelque) -> None:
    await bury(queue, 'F', 'token=hunter2\nBoom: it broke')
    async with Look(queue, 'redrive', 'cancel') as look:
        page = await look.get('flow', id='F')
        assert 'Why it does not go on' in page.text and 'it stands still: 1 of its tasks is dead' in page.text
        assert 'Boom: it broke' in page.all('tr')[1].text and 'hunter2' not in page.source
        assert page.all('svg', class_='box')[0].attrs['data-status'] == 'dead'
        assert acts(page) == [f'./ask?act={act}&q={queue.name}&id=F' for act in ('redrive', 'cancel')]
        for href in acts(page):
            assert (await look.get(href)).fields
        assert (await look.act({'act': 'redrive', 'q': queue.name, 'id': 'F'})).status_code == 303
        while (await queue.get_queue_stats()).dead:
            await asyncio.sleep(0.01)
    async with Look(queue, 'schedule', 'pause') as look:
        assert acts(await look.get('flow', id='F')) == []


async def test_a_flow_that_has_ended_is_told_while_it_is_kept(queue: Torrelque) -> None:
    await queue.enqueue_flow([Node('a', 1)], flow_id='F', result_ttl=60)
    task_id, _ = await queue.dequeue(1)
    await queue.release(task_id, status=TorrelqueTaskStatus.REJECTED)
    async with Look(queue, 'all') as look:
        page = await look.get('flow', id='F')
        assert '1 of 1 tasks ended 1 failed' in page.text and 'took' in page.text
        assert page.one('dl', class_='facts').one('span', class_='status').text == 'rejected'
        assert acts(page) == [] and 'What it waits for' not in page.text
        assert 'No flow is under way.' in (await look.get('flows')).text


async def test_a_large_flow_is_paged_without_a_graph(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, 'LARGE', 500)
    count = 600
    nodes = [Node('first', 1), *(Node(f'n{n}', n, {'first': 'then'}) for n in range(count - 1))]
    await queue.enqueue_flow(nodes, flow_id='F')
    async with Look(queue) as look:
        page = await look.get('flow', id='F')
        assert not page.all('svg', class_='graph') and 'of 600 tasks shown' in page.text
        assert {*await all_tasks(look, queue, 'F')} == {'first', *(f'n{n}' for n in range(count - 1))}
        # Why it does not go on takes longer than a page waits, and is there before long.
        while (reasons := (await look.json('flow', id='F'))['reasons']) is None:
            await asyncio.sleep(0.01)
        assert reasons[0]['text'].startswith('it goes on: 0 of 600 tasks have ended')


async def test_what_takes_too_long_is_looked_for_meanwhile(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        await gate.wait()
        return []

    monkeypatch.setattr('torrelque.operate.Operator.stalled', slow)
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    async with Look(queue) as look:
        page = await look.get('flows')
        assert asked.is_set() and 'Whether some stand still is being looked for.' in page.text and rows(page) == ['F']
        assert (await look.json('flows'))['stalled'] is None
        gate.set()
        while 'No flow stands still.' not in (await look.get('flows')).text:
            await asyncio.sleep(0.01)


# What somebody has made


async def test_names_of_somebody_do_no_harm(queue: Torrelque) -> None:
    names = [FOREIGN.replace('.', ''), 'x' * 200, 'ends\nhere\x1b[2J', 'a/../b?c=d&e']
    others = [Node(name, {'task': FOREIGN}, {'a': 'then'}, group=FOREIGN) for name in names]
    nodes = [Node('a', {'task': FOREIGN}), *others]
    payload = {'nodes': [['a', [], FOREIGN], *([name, [['a', 'then']], FOREIGN] for name in names)]}
    await queue.enqueue_flow(nodes, flow_id=FOREIGN, task=payload, name=FOREIGN)
    task_id, _ = await queue.dequeue(1)
    await queue.bury(task_id, error=FOREIGN)
    async with Look(queue, 'all') as look:
        page = await look.get('flows')
        assert rows(page) == [FOREIGN]
        page = await look.get(page.all('th', scope='row')[0].all('a')[0].attrs['href'])
        boxes = page.all('svg', class_='box')
        assert len(boxes) == 5 and FOREIGN in boxes[0].one('title').text
        assert 'ends\\nhere\\x1b[2J' in rows(page) and FOREIGN in page.one('h1').text
        assert (await look.json('flow', id=FOREIGN))['flow']['name'] == FOREIGN


async def test_a_flow_whose_keys_are_spoilt_is_told_as_far_as_it_is_there(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.enqueue_flow(DIAMOND, flow_id='F')
    base = queue.keys['pending'].removesuffix('pending')
    await client.delete(f'{base}needs:F', f'{base}task:F.b')
    await client.set(f'{base}needs:F', 'x')
    async with Look(queue, 'all') as look:
        page = await look.get('flow', id='F')
        assert 'Tasks may be missing' in page.text and 'None of its tasks is known any more.' in page.text
    await client.delete(f'{base}needs:F', f'{base}edges:F')
    await client.hset(f'{base}needs:F', 'F.c', '1')
    await client.set(f'{base}edges:F', 'x')
    async with Look(queue, 'all') as look:
        page = await look.get('flow', id='F')
        assert 'Tasks may be missing, because keys hold something else than they should: edges:F' in page.text
        await client.delete(queue.keys['waiting'])
        await client.set(queue.keys['waiting'], 'x')
    async with Look(queue, 'all') as look:
        assert 'Flows may be missing' in (await look.get('flows')).text
        await look.get('./flows?after=needs', 400)
        await look.get('./flow?id=F&after=x', 400)


def test_tasks_are_told_in_the_order_in_which_a_flow_was_made() -> None:
    assert sorted(['n10', 'n9', 'a', 'n1.2', 'n1.10'], key=flow_page.natural) == ['a', 'n1.2', 'n1.10', 'n9', 'n10']
