"""What is done from the dashboard: asked for in words, done on the server, told, and on record."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio

from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque, TorrelqueNode, TorrelqueTaskStatus
from torrelque.operate import Act, Operator

pytestmark = pytest.mark.first_server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks waits for a busy machine to count."""
    monkeypatch.setattr('torrelque.dashboard.masses.COUNTED', 30.0)
    monkeypatch.setattr('torrelque.dashboard.masses.SOUGHT', 30.0)


async def bury(queue: Torrelque, count: int, error: str = 'KeyError: 1', **options: Any) -> list[str]:
    ids = [str(await queue.enqueue({'task': 'shop.send', 'args': [n]}, **options)) for n in range(count)]
    for task_id, _ in await queue.dequeue_many(count, timeout=60):
        assert await queue.bury(task_id, error=error)
    return ids


async def told(look: Look, query: dict[str, Any], **fields: Any) -> Html:
    """The page that tells what an act came to."""
    response = await look.act(query, **fields)
    assert response.status_code == 303, Html(response.text).text
    return await look.get(response.headers['location'])


async def status_of(queue: Torrelque, task_id: str) -> str:
    return (await queue.get_task_state(task_id)).status.name.lower()


# Tasks of a selection


async def test_dead_tasks_of_a_function_are_counted_then_redriven_and_on_record(queue: Torrelque) -> None:
    ids = await bury(queue, 3)
    other = await bury(queue, 1, 'ValueError: 2')
    heard: list[Act] = []
    async with Look(queue, 'redrive', on_act=heard.append) as look:
        query = {'act': 'redrive', 'status': 'dead', 'function': 'shop.send', 'error': 'KeyError'}
        page = await look.get('ask', **query)
        assert page.one('h1').text == 'Redrive 3 dead tasks of function shop.send with error KeyError'
        assert page.one('button', class_='main').text == 'Redrive'
        assert 'They are 3 of 4 that were looked at.' in page.text
        done = await told(look, query)
        assert 'done by anna' in done.text and '3 redriven' in done.text
        assert 'place=pending' in done.links['Pending tasks'] and 'errors?' in done.links['Errors']
        assert (await look.json('acts'))['acts'][0]['what'] == '--status dead --function shop.send --error KeyError'
    assert [await status_of(queue, one) for one in ids + other] == ['pending'] * 3 + ['dead']
    assert [(act.act, act.who, act.count, bool(act.number)) for act in heard] == [('redrive', 'anna', 3, True)]


@pytest.mark.parametrize(('act', 'status', 'after'), [
    ('cancel', 'pending', 'cancelled'), ('requeue', 'working', 'pending'), ('bury', 'working', 'dead'),
])  # fmt: skip
async def test_tasks_by_their_ids_are_acted_on_and_shown(
    queue: Torrelque, act: str, status: str, after: str
) -> None:
    queue.result_ttl = 60
    ids = [str(await queue.enqueue(n)) for n in range(3)]
    if status == 'working':
        await queue.dequeue_many(3, timeout=60)
    async with Look(queue, act) as look:
        query = {'act': act, 'status': status, 'id': ids[:2]}
        page = await look.get('ask', **query)
        assert page.one('h1').text == f'{act.capitalize()} 2 {status} chosen tasks'
        done = await told(look, query, **({'reason': 'why not'} if act == 'bury' else {}))
        assert [one.attrs['data-status'] for one in done.all('span', class_='status')] == [after] * 2
    assert await status_of(queue, ids[2]) == status
    if act == 'bury':
        assert (await queue.get_task_state(ids[0])).error == 'why not'


async def test_what_does_not_match_has_no_button(queue: Torrelque) -> None:
    await bury(queue, 2)
    async with Look(queue, 'all') as look:
        page = await look.get('ask', act='redrive', status='dead', error='ValueError')
        assert page.one('h1').text == 'There are no dead tasks with error ValueError to redrive'
        assert page.all('button', class_='main') == [] and page.all('form', method='post') == []
        page = await look.get('ask', act='requeue', id='nobody')
        assert page.all('form', method='post') == [] and 'not known to the queue' in page.text


async def test_what_dies_after_somebody_was_asked_is_not_brought_back(queue: Torrelque) -> None:
    before = await bury(queue, 2)
    async with Look(queue, 'redrive') as look:
        query = {'act': 'redrive', 'status': 'dead', 'function': 'shop.*'}
        fields = (await look.get('ask', **query)).fields
        after = await bury(queue, 2)
        response = await look.post(query, {name: fields[name] for name in ('number', 'begun', 'matched')})
        assert '2 redriven' in (await look.get(response.headers['location'])).text
    assert [await status_of(queue, one) for one in before + after] == ['pending'] * 2 + ['dead'] * 2


async def test_an_act_on_many_goes_on_beyond_the_request_and_is_stopped(queue: Torrelque) -> None:
    await bury(queue, 40)
    async with Look(queue, 'redrive') as look:
        response = await look.act({'act': 'redrive', 'status': 'dead'}, rate='10/s')
        there = response.headers['location']
        page = await look.get(there)
        assert 'on its way by anna' in page.text and ' of 40 redriven' in page.text
        assert page.one('button', class_='button').text == 'Stop'
        assert page.one('meta', http_equiv='refresh').attrs['content'] == '3'
        stop = page.fields
        acts = await look.get('acts')
        assert 'Redrive 40 dead tasks' in acts.text
        response = await look.client.post('/act', data=stop, headers={'sec-fetch-site': 'same-origin'})
        assert response.headers['location'] == there
        page = await look.get(there)
        assert 'stopped by anna' in page.text and page.all('form', method='post') == []
    done, stop_act = (await Operator(queue).acts())[::-1]
    assert (done.act, stop_act.act, stop_act.what) == ('redrive', 'stop', 'redrive by anna')
    assert 0 < done.count < 40 and (await queue.get_queue_stats()).dead == 40 - done.count


async def test_a_dashboard_that_is_closed_ends_its_acts_where_they_are(queue: Torrelque) -> None:
    await bury(queue, 40)
    async with Look(queue, 'redrive') as look:
        await look.act({'act': 'redrive', 'status': 'dead'}, rate='10/s')
    [act] = await Operator(queue).acts()
    assert act.count == 40 - (await queue.get_queue_stats()).dead < 40


async def test_more_tasks_than_are_counted_in_time_are_told_as_at_least(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(queue, 3)
    monkeypatch.setattr('torrelque.dashboard.masses.COUNTED', 0.0)
    async with Look(queue, 'redrive') as look:
        query = {'act': 'redrive', 'status': 'dead', 'function': 'shop.send'}
        page = await look.get('ask', **query)
        assert page.one('h1').text == 'Redrive all dead tasks of function shop.send'
        assert '3 redriven' in (await told(look, query)).text


async def test_more_ids_than_a_page_has_rows_are_all_meant(queue: Torrelque) -> None:
    ids = [str(task_id) for task_id in await queue.enqueue_many(range(250))]
    async with Look(queue, 'cancel') as look:
        page = await look.get('ask', q=queue.name, status='pending', id=ids, act='cancel')
        assert page.one('h1').text == 'Cancel 250 pending chosen tasks'


async def test_a_flow_is_cancelled_with_its_tasks(queue: Torrelque) -> None:
    flow_id = await queue.enqueue_flow([TorrelqueNode('a', 1), TorrelqueNode('b', 2, {'a': 'then'})])
    async with Look(queue, 'cancel', 'redrive') as look:
        page = await look.get('ask', act='cancel', id=flow_id)
        assert page.one('h1').text == f'Cancel flow {flow_id}: 2 tasks that are left'
        await told(look, {'act': 'cancel', 'id': flow_id})
        assert (await queue.get_queue_stats()).pending == 0


# A queue, a group, a schedule


async def test_a_queue_and_a_group_are_paused_and_resumed(queue: Torrelque) -> None:
    async with Look(queue, 'pause') as look:
        for query, name in (({}, f'queue {queue.name}'), ({'group': 'acme/ü'}, 'group acme/ü')):
            page = await look.get('ask', act='pause', **query)
            assert page.one('h1').text == f'Pause {name}'
            done = await told(look, {'act': 'pause', **query}, probe='30s')
            assert f'{name[0].upper()}{name[1:]} is paused. A task is let through each 30 s.' in done.text
            assert 'paused already' in (await look.get('ask', act='pause', **query)).text
            assert 'goes on' in (await told(look, {'act': 'resume', **query})).text
            page = await look.get('ask', act='resume', **query)
            assert page.all('form', method='post') == [] and 'is not paused' in page.text
    assert [act.what for act in await Operator(queue).acts()][::-1] == [
        'the queue, probe 30s', 'the queue', 'group acme/ü, probe 30s', 'group acme/ü',
    ]  # fmt: skip


async def test_limits_are_shown_as_they_are_and_set(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=3, rate=(5, 10))
    async with Look(queue, 'limit') as look:
        page = await look.get('ask', act='limit', group='acme')
        assert (page.fields['concurrency'], page.fields['rate']) == ('3', '5/10s')
        done = await told(look, {'act': 'limit', 'group': 'acme'}, concurrency='none', rate='100/m')
        assert 'The limits of group acme are: no limit, 100/m.' in done.text or '100/m' in done.text
        assert (await look.get('ask', act='limit', group='acme')).fields['rate'] == '100/m'
        await told(look, {'act': 'limit', 'group': 'acme'}, concurrency='', rate='default')
        page = await look.get('ask', act='limit')
        assert (page.fields['concurrency'], page.fields['rate']) == ('none', 'none')
        await told(look, {'act': 'limit'}, concurrency='7')
    limits = await queue.get_limits()
    assert limits['acme'] == (float('inf'), None) and limits[None].concurrency == 7


async def test_what_cannot_be_meant_is_told_beside_its_field_and_nothing_is_done(queue: Torrelque) -> None:
    async with Look(queue, 'limit', 'redrive') as look:
        response = await look.act({'act': 'limit', 'group': 'acme'}, concurrency='many', rate='5/s')
        page = await look.get(response.headers['location'])
        assert "This is a whole number from 1 on, none or default, not 'many'" in page.text
        assert (page.fields['concurrency'], page.fields['rate']) == ('many', '5/s')
        assert page.fields['query'] == 'act=limit&group=acme'
        assert (await queue.get_limits()) == {}
        await bury(queue, 2)
        response = await look.act({'act': 'redrive', 'status': 'dead'}, rate=FOREIGN)
        page = await look.get(response.headers['location'])
        assert 'This is a rate such as 50' in page.text and page.fields['rate'] == FOREIGN
    assert await Operator(queue).acts() == []


async def test_a_queue_is_swept(queue: Torrelque) -> None:
    async with Look(queue, 'sweep') as look:
        assert 'delayed tasks are due' in (await look.get('ask', act='sweep')).text
        assert '0 were due and are pending' in (await told(look, {'act': 'sweep'})).text
    [act] = await Operator(queue).acts()
    assert act.act == 'sweep'


async def test_a_schedule_is_paused_resumed_fired_and_removed(queue: Torrelque) -> None:
    await queue.set_schedule('nightly <b>', 1, every=3600, overlap='skip')
    query = {'name': 'nightly <b>'}
    async with Look(queue, 'schedule') as look:
        for act, words in (('pause-schedule', 'is paused'), ('resume-schedule', 'goes on'), ('fire', 'has fired')):
            assert f'Schedule nightly <b> {words}.' in (await told(look, {'act': act, **query})).text
        assert 'Nothing was fired' in (await told(look, {'act': 'fire', **query})).text
        assert 'It is not paused.' in (await look.get('ask', act='resume-schedule', **query)).text
        page = await look.get('ask', act='remove-schedule', **query)
        assert 'danger' in page.one('button', class_='main').attrs['class']
        assert 'is removed' in (await told(look, {'act': 'remove-schedule', **query})).text
        await look.get('ask', 404, act='fire', **query)
    assert (await queue.get_queue_stats()).pending == 1


# A copy


@pytest.mark.parametrize('payload', [b'{"task": "shop.send", "args": [1]}', b'\xff\x00no JSON', b''])
async def test_a_copy_has_the_same_bytes_and_options_and_an_id_of_its_own(
    client: redis.asyncio.Redis, queue: Torrelque, payload: bytes
) -> None:
    task_id = str(await queue.enqueue(1, group='acme', priority=7, max_attempts=3, task_timeout=11))
    await client.hset(queue.keys['tasks'], task_id, payload)
    heard: list[Act] = []
    async with Look(queue, 'enqueue', on_act=heard.append) as look:
        page = await told(look, {'act': 'copy', 'id': task_id})
        assert 'The copy' in page.links, page.text
        new_id = dict(pair.split('=') for pair in page.links['The copy'].partition('?')[2].split('&'))['id']
    one, other = await client.hgetall(queue.keys['tasks']), await Operator(queue).task(new_id)
    assert one[new_id.encode()] == payload and new_id != task_id
    assert (other.group, other.priority, other.max_attempts, other.timeout) == ('acme', 7, 3, 11)
    assert [(act.act, act.what) for act in heard] == [('enqueue', f'task {new_id}, a copy of {task_id}')]


async def test_a_flow_and_what_is_gone_are_not_copied(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    flow_id = await queue.enqueue_flow([TorrelqueNode('a', 1)])
    task_id = str(await queue.enqueue(1))
    async with Look(queue, 'enqueue') as look:
        page = await look.get('ask', act='copy', id=flow_id)
        assert page.all('form', method='post') == [] and 'It is a flow' in page.text
        fields = (await look.get('ask', act='copy', id=task_id)).fields
        await client.hdel(queue.keys['tasks'], task_id)
        response = await look.post({'act': 'copy', 'id': task_id}, {'number': fields['number']})
        assert 'nothing was enqueued' in (await look.get(response.headers['location'])).text
        await look.get('ask', 404, act='copy', id='nobody')


async def test_a_full_queue_takes_no_copy_and_says_so(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=queue_name, max_tasks=1) as queue:
        task_id = await queue.enqueue(1)
        async with Look(queue, 'enqueue') as look:
            page = await told(look, {'act': 'copy', 'id': task_id})
            assert 'failed' in page.text and 'full' in page.text
        assert await Operator(queue).acts() == []
        assert (await queue.get_task_state(task_id)).status is TorrelqueTaskStatus.PENDING
