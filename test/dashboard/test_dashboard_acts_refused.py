"""What is refused before anything is done: without the grant, from elsewhere, twice, or what is no form of ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from support.burying import die
from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque
from torrelque.dashboard import GRANTS
from torrelque.dashboard.acting import ACTS
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server

NUMBER = '0123456789abcdef' * 2
FORM = 'application/x-www-form-urlencoded'


async def dump(client: Any) -> dict[bytes, bytes]:
    """All that the server has, but what a queue object remembers for some seconds of its own calls."""
    return {key: await client.dump(key) for key in sorted(await client.keys('*')) if b':claim:' not in key}


@pytest.fixture
async def ids(queue: Torrelque) -> list[str]:
    """A task of each kind, and a schedule: dead, working, pending."""
    await die(queue, 1)
    [dead] = (await Operator(queue).page('dead')).tasks
    working = await queue.enqueue(1)
    assert await queue.dequeue(timeout=60) is not None
    await queue.set_schedule('nightly', 1, every=3600)
    await queue.pause('acme')
    return [dead.id, str(working), str(await queue.enqueue(2, group='acme'))]


def queries(ids: list[str]) -> dict[str, dict[str, Any]]:
    """What would change something, of each act."""
    dead, working, pending = ids
    found: dict[str, dict[str, Any]] = {
        'redrive': {'id': dead}, 'requeue': {'id': working}, 'bury': {'id': working}, 'cancel': {'id': pending},
        'pause': {}, 'resume': {'group': 'acme'}, 'limit': {'group': 'acme'}, 'sweep': {}, 'copy': {'id': pending},
        'pause-schedule': {'name': 'nightly'}, 'resume-schedule': {'name': 'nightly'}, 'fire': {'name': 'nightly'},
        'remove-schedule': {'name': 'nightly'}, 'stop': {'number': NUMBER},
    }  # fmt: skip
    return {act: {'act': act, **query} for act, query in found.items()}


async def test_each_act_without_its_grant_is_refused_and_changes_nothing(
    client: redis.asyncio.Redis, queue: Torrelque, ids: list[str]
) -> None:
    assert {*queries(ids)} == {*ACTS}
    before = await dump(client)
    for act, query in queries(ids).items():
        for allow in ((), tuple(grant for grant in GRANTS if grant != ACTS[act].grant)):
            async with Look(queue, *allow) as look:
                response = await look.post(query, {'number': NUMBER})
                assert response.status_code == (403 if act != 'stop' else 404), (act, allow)
                await look.get('ask', 403 if act != 'stop' else 404, **query)
    assert await dump(client) == before


async def test_an_act_is_stopped_only_by_whoever_may_do_it(queue: Torrelque) -> None:
    await die(queue, 30)
    async with Look(queue, 'redrive') as look:
        response = await look.act({'act': 'redrive', 'status': 'dead'}, rate='5/s')
        number = response.headers['location'].rpartition('number=')[2]
        look.visitor = type(look.visitor)('bob', {'cancel', 'pause'})
        page = await look.get(response.headers['location'])
        assert 'on its way by anna' in page.text and page.all('form', method='post') == []
        query = {'act': 'stop', 'number': number}
        assert (await look.post(query, {'number': NUMBER})).status_code == 403
        await look.get('ask', 403, **query)
        assert 'on its way by anna' in (await look.get(response.headers['location'])).text


@pytest.mark.parametrize('headers', [
    {'origin': 'http://elsewhere.test'},
    {'origin': 'https://queues.test.elsewhere.test', 'referer': 'http://queues.test/'},
    {'origin': 'null'},
    {'referer': 'http://elsewhere.test/queues.test'},
    {'sec-fetch-site': 'cross-site'},
    {'sec-fetch-site': 'same-site'},
    {'sec-fetch-site': 'none'},
    {'sec-fetch-site': 'cross-site', 'origin': 'http://queues.test'},
    {},
    {'sec-fetch-site': 'same-origin', 'content-type': 'application/json'},
    {'sec-fetch-site': 'same-origin', 'content-type': 'text/plain'},
    {'sec-fetch-site': 'same-origin', 'content-type': 'multipart/form-data; boundary=x'},
])  # fmt: skip
async def test_what_comes_from_elsewhere_or_is_no_form_is_refused(
    client: redis.asyncio.Redis, queue: Torrelque, headers: dict[str, str]
) -> None:
    await queue.enqueue(1)
    before = await dump(client)
    async with Look(queue, 'all') as look:
        response = await look.post({'act': 'pause'}, {'number': NUMBER}, headers)
        assert response.status_code == 403 and 'Nothing was done' in response.text
    assert await dump(client) == before


@pytest.mark.parametrize('headers', [
    {'sec-fetch-site': 'same-origin'},
    {'origin': 'http://queues.test'},
    {'origin': 'https://QUEUES.test'},
    {'referer': 'http://queues.test/ask?act=pause'},
    {'origin': 'https://outer.test'},
    {'origin': 'https://outer.test', 'sec-fetch-site': 'same-site'},
])  # fmt: skip
async def test_what_comes_from_the_own_host_or_a_known_origin_is_done(
    queue: Torrelque, headers: dict[str, str]
) -> None:
    async with Look(queue, 'pause', origins=['https://outer.test']) as look:
        response = await look.post({'act': 'pause'}, {'number': NUMBER}, headers)
        assert response.status_code == 303, Html(response.text).text
    assert [act.act for act in await Operator(queue).acts()] == ['pause']


async def test_an_act_is_no_page(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    async with Look(queue, 'all') as look:
        for method in ('GET', 'HEAD', 'PUT', 'DELETE'):
            response = await look.ask(method, 'act', {'act': 'pause', 'number': NUMBER})
            assert response.status_code == 405
    assert await client.keys('*') == []


async def test_what_is_too_large_is_not_read_to_its_end(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b'x' * 65536

    headers = {'sec-fetch-site': 'same-origin', 'content-type': FORM}
    async with Look(queue, 'all') as look:
        response = await look.client.post('/act', content=b'a=' + b'x' * 2_000_000, headers=headers)
        assert response.status_code == 413
        response = await look.client.post('/act', content=endless(), headers=headers)
        assert response.status_code == 413 and sent < 2_000_000
    assert await client.keys('*') == []


@pytest.mark.parametrize('body', [
    b'', b'number=' + NUMBER.encode(), b'query=act%3Dpause', b'query=act%3Dpause&number=',
    b'query=act%3Dpause&number=1',
    b'query=act%3Dpause&number=' + NUMBER.upper().encode(), b'query=act%3Dnothing&number=' + NUMBER.encode(),
    b'query=act%3D__class__&number=' + NUMBER.encode(), b'\xff\x00=%ff&;;&&query=%00', b'[' * 1000,
    b'query=act%3Dredrive&matched=-1&begun=1&number=' + NUMBER.encode(),
    b'query=act%3Dredrive&matched=1&begun=nan&number=' + NUMBER.encode(),
    b'query=act%3Dcopy&number=' + NUMBER.encode(), b'query=act%3Dfire&number=' + NUMBER.encode(),
    b'query=act%3Dpause%26q%3Dother&number=' + NUMBER.encode(),
    b'query=act%3Dcancel%26older%3Dyesterday&number=' + NUMBER.encode(),
])  # fmt: skip
async def test_what_is_no_form_of_ours_is_refused_in_words(
    client: redis.asyncio.Redis, queue: Torrelque, body: bytes
) -> None:
    headers = {'sec-fetch-site': 'same-origin', 'content-type': FORM}
    async with Look(queue, 'all') as look:
        response = await look.client.post('/act', content=body, headers=headers)
        assert response.status_code == 400
        Html(response.text).check_harmless()
    assert await client.keys('*') == []


async def test_a_text_of_payloads_is_not_looked_for_without_the_grant(queue: Torrelque) -> None:
    await queue.enqueue({'password': 'x'})
    query = {'act': 'cancel', 'status': 'pending', 'text': 'password'}
    async with Look(queue, 'cancel') as look:
        page = await look.get('ask', 400, **query)
        assert 'it needs the grant payload' in page.text
        assert (await look.post(query, {'number': NUMBER})).status_code == 400
        assert (await queue.get_queue_stats()).pending == 1
    async with Look(queue, 'cancel', 'payload') as look:
        assert 'Cancel 1 pending task with “password” in the payload' in (await look.get('ask', **query)).text


# Once


async def test_a_form_that_is_sent_again_says_so_and_does_nothing(queue: Torrelque) -> None:
    task_id = str(await queue.enqueue(1))
    query = {'act': 'copy', 'id': task_id}
    async with Look(queue, 'enqueue') as look:
        fields = (await look.get('ask', **query)).fields
        first, again = [await look.post(query, {'number': fields['number']}) for _ in range(2)]
        page = await look.get(again.headers['location'])
        assert again.headers['location'] == f'{first.headers["location"]}&again=1'
        assert 'This form was sent before, so nothing was done again.' in page.text
        assert 'The copy is enqueued.' in page.text
    assert (await queue.get_queue_stats()).pending == 2


async def test_a_form_that_is_sent_to_two_processes_is_done_once(queue: Torrelque) -> None:
    await queue.set_schedule('nightly', 1, every=3600)
    query = {'act': 'fire', 'name': 'nightly'}
    async with Look(queue, 'schedule') as look, Look(queue, 'schedule') as other:
        fields = (await look.get('ask', **query)).fields
        await look.post(query, {'number': fields['number']})
        there = (await other.post(query, {'number': fields['number']})).headers['location']
        page = await other.get(there)
        assert 'nothing was done again' in page.text and 'fire' in page.text
        assert (await other.json(there))['state'] == 'on record'
    assert (await queue.get_queue_stats()).pending == 1


async def test_an_act_of_another_process_that_has_not_ended_is_told_as_that(queue: Torrelque) -> None:
    await die(queue, 30)
    async with Look(queue, 'redrive') as look, Look(queue) as other:
        there = (await look.act({'act': 'redrive', 'status': 'dead'}, rate='5/s')).headers['location']
        assert 'Another process of the application does it.' in (await other.get(there)).text
        await other.get('done', 404, number=NUMBER)
        await other.get('done', 400, number='1')


# Hostile texts


async def test_names_that_are_markup_or_no_text_do_no_harm_and_arrive_as_they_are(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    odd = 'x\udcff\udc80/?&=%+;\n\u202e'
    task_id = str(await queue.enqueue({'task': FOREIGN}, task_id=FOREIGN, group=FOREIGN))
    [(_, _)] = await queue.dequeue_many(1, timeout=60)
    assert await queue.bury(task_id, error=FOREIGN)
    async with Look(queue, 'all', name=FOREIGN) as look:
        for query in (
            {'act': 'redrive', 'id': [task_id, odd]}, {'act': 'redrive', 'error': FOREIGN, 'function': odd},
            {'act': 'cancel', 'group': odd, 'status': 'pending'}, {'act': 'pause', 'group': FOREIGN},
            {'act': 'limit', 'group': FOREIGN}, {'act': 'copy', 'id': FOREIGN},
        ):  # fmt: skip
            page = await look.get('ask', **query)
            if 'query' in (page.fields if page.all('form', method='post') else {}):
                response = await look.act(query)
                assert response.status_code == 303
                await look.get(response.headers['location'])
                json.dumps(await look.json(response.headers['location']))
        await look.get('ask', 400, act=FOREIGN)
        await look.get('ask', 404, act='fire', name=FOREIGN)
        await look.get('ask', 400, act='copy', id=odd)
        assert FOREIGN in (await look.get('acts')).text
        assert (await look.get('ask', act='redrive', id=[task_id, odd])).all('form') == []
    assert FOREIGN in [act.who for act in await Operator(queue).acts()]


async def test_a_task_whose_id_is_no_text_is_told_and_left_alone(
    client: Any, queue: Torrelque
) -> None:
    await die(queue, 1)
    [task_id] = await client.zrange(queue.keys['dead'], 0, -1)
    await client.rename(f'{queue.keys["task"]}:{task_id.decode()}', queue.keys['task'].encode() + b':\xff\xfe')
    await client.zadd(queue.keys['dead'], {b'\xff\xfe': 1.0})
    await client.zrem(queue.keys['dead'], task_id)
    async with Look(queue, 'redrive') as look:
        page = await look.get('ask', act='redrive', status='dead', id='\udcff\udcfe')
        assert 'of an id that is no text' in page.text and page.all('form', method='post') == []
