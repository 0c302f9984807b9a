"""What somebody sends who wants a page to fail, or an act to be about more than it says."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import redis.exceptions
from starlette.exceptions import HTTPException
from starlette.requests import Request

from support.burying import die
from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque, TorrelqueError, TorrelqueLookupError, TorrelqueNode, TorrelqueServerError
from torrelque.dashboard import GRANTS, Dashboard, Visitor
from torrelque.dashboard.access import RefusalError
from torrelque.dashboard.pages import PAGES
from torrelque.operate import Operator, Selection

pytestmark = pytest.mark.first_server

FIELDS = (
    'q', 'id', 'name', 'place', 'status', 'function', 'group', 'error', 'text', 'older', 'newer', 'attempts', 'after',
    'order', 'most', 'from', 'by', 'find', 'again', 'length', 'none', 'prefix', 'page', 'nth', 'who', 'act', 'what',
    'state', 'number', 'schedule', 'rate', 'reason', 'probe', 'concurrency', 'of', 'query', 'self', 'more', 'visit',
    '_Context__self', '_Context__obj', '_loop_vars', '_block_vars',
)  # fmt: skip
"""Names of fields of queries, and some that a template could mistake for its own."""
TEXTS = (
    '', '0', '1', '-1', '1e308', '9999999999', '9' * 30, 'nan', 'inf', '²', '٣', '\0', '\udcff', '*', '[*', '((', '?',
    'x' * 4001, 'dead', 'working', 'group:', 'group:\udcff', '1h', '5m', 'function', 'redrive', 'cancel', 'bury',
    'pause', 'limit', 'copy', 'fire', 'stop', 'a' * 32, 'deadbeef', '\r\nx: y', '<b>"&\'', 'none', '{{ 7 }}', '..',
)  # fmt: skip


@pytest.mark.parametrize(('seed', 'many'), [(1, 150), pytest.param(2, 4000, marks=pytest.mark.long)])
async def test_rubbish_in_queries_is_told_and_fails_nothing(queue: Torrelque, seed: int, many: int) -> None:
    [dead] = await die(queue, 1)
    await queue.set_schedule('nightly', 1, every=3600)
    chance = random.Random(seed)
    async with Look(queue, 'all') as look:
        for _ in range(many):
            page = chance.choice(PAGES)
            fields = [*chance.sample(FIELDS, chance.randint(0, 3)), *(['id'] if page.name in ('task', 'ask') else [])]
            query = {name: chance.choice((*TEXTS, dead, 'nightly')) for name in fields}
            asked = await look.ask('GET', chance.choice((page.name, f'{page.name or "overview"}.json')), query)
            assert asked.status_code in (200, 400, 404), (page.name, query)


@pytest.mark.parametrize('name', ['_Context__self', '_Context__obj', '_loop_vars', '_block_vars', 'page', 'query'])
async def test_names_of_fields_are_those_of_nothing_in_a_template(queue: Torrelque, name: str) -> None:
    await die(queue, 1)
    async with Look(queue, 'all') as look:
        for page in PAGES:
            if page.name in ('', 'queue', 'tasks', 'errors', 'groups', 'flows', 'schedules', 'history', 'workers'):
                await look.get(page.name, place='dead', error='ValueError', **{name: '1'})


async def test_a_page_further_on_is_live_too(queue: Torrelque) -> None:
    async with Look(queue) as look:
        for name in ('flows', 'schedules'):
            address = (await look.get(name, page=2)).one('body').attrs['data-live']
            assert address == f'./live?page=2&of={name}'


async def test_a_query_turns_no_button_into_another(queue: Torrelque) -> None:
    await die(queue, 1)
    async with Look(queue, 'all') as look:
        page = await look.get('tasks', place='dead', error='ValueError', act='bury')
    assert 'act=redrive' in page.links['Redrive all that match']
    assert 'bury' not in page.links['Redrive all that match']


@pytest.mark.parametrize(
    'headers',
    [{'origin': 'http://['}, {'origin': 'null', 'host': ''}, {'origin': 'file://', 'host': ''},
     {'origin': '//queues.test'}, {'origin': 'queues.test'}],
)  # fmt: skip
async def test_what_is_no_origin_is_another_site(queue: Torrelque, headers: dict[str, str]) -> None:
    async with Look(queue, 'pause') as look:
        answer = await look.post({'act': 'pause'}, {'number': 'a' * 32}, headers)
    assert answer.status_code == 403
    assert not (await Operator(queue).overviews())[0].paused


class AwayError(TorrelqueError):
    """What an application's own call may raise."""


@pytest.mark.parametrize(
    'error',
    [AwayError('dsn=postgres://me:hunter2@db'), TorrelqueLookupError('hunter2'), TorrelqueServerError('hunter2'),
     redis.exceptions.ResponseError('hunter2'), redis.exceptions.ConnectionError('hunter2'), ValueError('hunter2'),
     RefusalError(200, 'hunter2')],
)  # fmt: skip
async def test_a_permit_that_fails_lets_nobody_in_and_tells_nobody_why(queue: Torrelque, error: Exception) -> None:
    def permit(_: object) -> Visitor:
        raise error

    dashboard = Dashboard(queue, permit=permit)
    transport = httpx.ASGITransport(dashboard, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url='http://queues.test') as browser:
        for path in ('/', '/queue.json', '/live?of=queue', '/nowhere'):
            answer = await browser.get(path)
            assert (answer.status_code, answer.text) == (500, 'Internal Server Error')
        assert (await browser.post('/act')).status_code == 500
    await dashboard.aclose()


async def test_a_permit_refuses_as_applications_do(queue: Torrelque) -> None:
    def permit(_: object) -> Visitor:
        raise HTTPException(401, 'log in', {'www-authenticate': 'Bearer'})

    dashboard = Dashboard(queue, permit=permit)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard), base_url='http://queues.test') as browser:
        for path in ('/', '/queue.json', '/live?of=queue', '/nowhere'):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers['www-authenticate']) == (401, 'Bearer')
            assert 'log in' in answer.text and 'Overview' not in answer.text
            assert 'default-src' in answer.headers['content-security-policy']
    await dashboard.aclose()


async def test_a_permit_may_read_the_form_of_an_act(queue: Torrelque) -> None:
    seen: list[object] = []

    async def permit(request: Request) -> Visitor | None:
        if request.method == 'POST':
            seen.append(dict(parse_qsl((await request.body()).decode()))['number'])
        return Visitor('anna', GRANTS)

    dashboard = Dashboard(queue, permit=permit)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard), base_url='http://queues.test') as browser:
        headers = {'sec-fetch-site': 'same-origin'}
        form = {'query': f'act=pause&q={queue.name}', 'number': '0123456789abcdef' * 2}
        answer = await browser.post('/act', data=form, headers=headers)
        assert answer.status_code == 303, Html(answer.text).text
    assert seen == [form['number']] and [act.act for act in await Operator(queue).acts()] == ['pause']
    await dashboard.aclose()


async def test_no_task_chosen_is_not_all_of_them(queue: Torrelque) -> None:
    ids = await die(queue, 3)
    async with Look(queue, 'all') as look:
        form = next(one for one in (await look.get('tasks', place='dead')).all('form') if one.all('table'))
        chosen = {one.attrs['name']: one.attrs['value'] for one in form.all('input', type='hidden')}
        for query in (chosen, {'id': ''}, {'id': ['', '']}):
            await look.get('ask', 400, **{**query, 'act': 'redrive'})
            answer = await look.post({**query, 'act': 'redrive'}, {'number': 'a' * 32})
            assert answer.status_code == 400, query
        page = await look.get('ask', **{**chosen, 'act': 'redrive', 'id': [chosen['id'], ids[0]]})
        assert page.one('h1').text == f'Redrive task {ids[0]}'
        assert page.links['Back'].endswith(f'id={ids[0]}')
    assert (await Operator(queue).overviews())[0].dead == 3


async def test_what_is_done_is_what_was_asked_even_of_empty_fields(queue: Torrelque) -> None:
    await queue.set_schedule('acme', 1, every=3600)
    async with Look(queue, 'pause', 'schedule') as look:
        query = {'act': 'pause', 'schedule': '', 'name': 'acme'}
        assert (await look.get('ask', **query)).one('h1').text == 'Pause schedule acme'
        answer = await look.act(query)
        assert answer.status_code == 303
        assert (await Operator(queue).schedule('acme')).paused
        assert not (await Operator(queue).group('acme')).paused


async def test_a_filter_finds_no_more_of_an_error_than_is_shown(queue: Torrelque) -> None:
    [task_id] = await die(queue, 1, 'ValueError: cannot log in, token=deadbeef99')
    async with Look(queue, 'redrive') as look, Look(queue, 'redrive', 'payload') as trusted:
        for n, text in enumerate(('deadbeef', 'token=deadb', 'beef99')):
            assert (await look.json('tasks', place='dead', error=text))['tasks'] == []
            asked = await look.json('ask', act='redrive', error=text)
            assert (asked['outcome']['matched'], asked['possible'], asked['tasks']) == (0, False, [])
            answer = await look.post({'act': 'redrive', 'error': text}, {'number': f'{n:032x}'})
            assert 'done?' in answer.headers['location']
            assert (await Operator(queue).overviews())[0].dead == 1
            assert (await trusted.json('ask', act='redrive', error=text))['outcome']['matched'] == 1
        [group] = (await look.json('errors'))['errors']['errors']
        for text in ('cannot log in', 'token=', group['fingerprint']):
            assert [one['id'] for one in (await look.json('tasks', place='dead', error=text))['tasks']] == [task_id]
        assert (await look.act({'act': 'redrive', 'error': group['fingerprint'], 'status': 'dead'})).status_code == 303
    assert (await Operator(queue).overviews())[0].dead == 0


async def test_a_text_that_was_looked_for_is_told_to_nobody_else(queue: Torrelque) -> None:
    await die(queue, ['hunter2'])
    for text in ("it's hunter2", '-hunter2', 'hunter2'):
        await Operator(queue).record('redrive', Selection(text=text).describe(), 1)
    async with Look(queue, 'all') as look:
        there = (await look.act({'act': 'redrive', 'text': 'hunter2', 'status': 'dead'})).headers['location']
        for visitor, is_told in ((look.visitor, True), (Visitor('bob', {'redrive'}), False)):
            look.visitor = visitor
            for page in (there, 'acts', 'acts.json'):
                assert ('hunter2' in (await look.ask('GET', page, {})).text) is is_told, page


async def test_it_is_told_that_of_a_flow_all_tasks_are_meant(queue: Torrelque) -> None:
    flow_id = await queue.enqueue_flow([TorrelqueNode('a', 1), TorrelqueNode('b', 2, {'a': 'then'})])
    task_id = await queue.enqueue(1)
    note = 'Of a flow, all tasks that have not ended are meant.'
    async with Look(queue, 'all') as look:
        for query in ({'id': [str(task_id), flow_id]}, {'status': 'waiting'}):
            page = await look.get('ask', act='cancel', **query)
            assert note in page.text and ' to cancel' not in page.one('h1').text
        for query in ({'id': [str(task_id), 'none']}, {'status': 'pending'}, {}):
            assert note not in (await look.get('ask', act='cancel', **query)).text
        page = await look.get('ask', act='redrive', id=[str(task_id), flow_id])
        assert 'Of a flow, all tasks that are dead are meant.' in page.text


async def test_a_form_that_does_not_come_whole_does_nothing_and_is_no_error(queue: Torrelque) -> None:
    messages = iter([{'type': 'http.request', 'body': b'query=act%3Dpause&', 'more_body': True}])
    sent = []

    async def receive() -> Any:
        return next(messages, {'type': 'http.disconnect'})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b'sec-fetch-site', b'same-origin'), (b'content-type', b'application/x-www-form-urlencoded')]
    scope = {'type': 'http', 'method': 'POST', 'path': '/act', 'query_string': b'', 'headers': headers}
    async with Look(queue, 'pause') as look:
        await look.dashboard(scope, receive, send)
    assert sent[0]['status'] == 400 and not (await Operator(queue).overviews())[0].paused


async def test_markup_in_a_query_in_names_and_in_settings_stays_text(queue: Torrelque) -> None:
    await die(queue, 1, FOREIGN)
    links = {FOREIGN: 'https://logs.test/{task_id}'}
    async with Look(queue, 'all', name=FOREIGN, title=FOREIGN, links=links) as look:
        [dead] = (await Operator(queue).page('dead')).tasks
        for page in PAGES:
            known = {'task': {'id': dead.id}, 'ask': {'act': 'redrive'}, 'group': {'name': 'a'}}.get(page.name, {})
            for name in ('function', 'error', 'find', 'prefix', 'who', 'what', 'place', 'number', 'after'):
                answer = await look.ask('GET', page.name, {**known, name: FOREIGN})
                html = Html(answer.text)
                html.check_harmless()
                assert FOREIGN in html.one('span', class_='who').text


async def test_dead_tasks_of_no_function_are_not_all_dead_tasks(queue: Torrelque) -> None:
    await die(queue, [1])
    await die(queue, [{'task': '[a]*'}])
    async with Look(queue) as look:
        for query, function in (({'none': 'function'}, None), ({'function': '[a]*'}, '[a]*')):
            page = await look.get('history', **query)
            found = await look.json(page.links['Its dead tasks'])
            assert [task['function'] for task in found['tasks']] == [function]
