"""The dashboard as an application: who may look, what goes wrong, where it is mounted, what browsers are told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import redis.asyncio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from support.looks import BASE, FOREIGN, Html, Look
from torrelque import Torrelque, TorrelqueError
from torrelque.dashboard import Dashboard, Redirect, Visitor, anyone
from torrelque.tasks import Tasks

pytestmark = pytest.mark.one_server

PAGES = ('', 'queue', 'tasks', 'errors', 'groups', 'workers', 'schedules', 'flows', 'history', 'acts')


def client_of(app: ASGIApp, base: str = BASE) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


@contextlib.asynccontextmanager
async def opened(queue: Any, permit: Any, **options: Any) -> Any:
    dashboard = Dashboard(queue, permit=permit, **options)
    async with client_of(dashboard) as client:
        yield client
    await dashboard.aclose()


# Who may look


async def test_a_dashboard_needs_to_be_told_who_may_look(queue: Torrelque) -> None:
    with pytest.raises(TypeError, match='permit'):
        Dashboard(queue)  # type: ignore[call-arg]
    with pytest.raises(TorrelqueError, match='permit must be a function'):
        Dashboard(queue, permit=True)  # type: ignore[arg-type]


async def test_whoever_is_not_permitted_sees_nothing(queue: Torrelque) -> None:
    async with opened(queue, lambda _: None) as client:
        for path in (*PAGES, 'live?of=queue', 'nowhere', 'ask?act=pause', 'queue.json'):
            answer = await client.get(f'/{path}')
            assert answer.status_code == 403, path
            assert queue.name not in answer.text
        assert (await client.post('/act')).status_code == 403


async def test_somebody_may_be_sent_elsewhere_to_log_in(queue: Torrelque) -> None:
    async with opened(queue, lambda request: Redirect(f'/login?next={request.url.path}')) as client:
        answer = await client.get('/queue')
    assert (answer.status_code, answer.headers['location']) == (303, '/login?next=/queue')


async def test_permit_may_be_a_coroutine_function_and_is_asked_each_time(queue: Torrelque) -> None:
    asked: list[str] = []

    async def permit(request: Request) -> Visitor | None:
        asked.append(request.url.path)
        return Visitor('anna') if len(asked) == 1 else None

    async with opened(queue, permit) as client:
        assert [(await client.get('/')).status_code for _ in range(2)] == [200, 403]
    assert asked == ['/', '/']


async def test_permit_that_answers_something_else_lets_nobody_in(queue: Torrelque) -> None:
    async with opened(queue, lambda _: True) as client:
        with pytest.raises(TorrelqueError, match='permit must answer a Visitor'):
            await client.get('/')


@pytest.mark.parametrize('allow', ['redrive', ['redrvie'], 7])
def test_a_grant_that_there_is_not_is_refused(allow: Any) -> None:
    with pytest.raises(TorrelqueError, match=r'redrive|names of grants'):
        Visitor('anna', allow)


async def test_anyone_may_look_and_change_nothing(queue: Torrelque) -> None:
    async with opened(queue, anyone) as client:
        page = Html((await client.get('/queue')).text)
    assert not [href for href in page.links.values() if href.startswith('./ask')]


# What is given


@pytest.mark.parametrize(('options', 'match'), [
    ({'payloads': 'none'}, 'payloads must be one of'),
    ({'origins': 'https://a.example'}, 'origins must be'),
    ({'origins': ['https://a.example/']}, 'is no origin'),
    ({'links': {'log': 'javascript:alert(1)'}}, 'must be an address'),
    ({'links': {'log': 'https://a/{nothing}'}}, 'may have'),
    ({'redact': [1]}, 'redact must be'),
    ({'show': 1}, 'show must be'),
    ({'title': ''}, 'title'),
])  # fmt: skip
def test_an_option_that_cannot_be_meant_is_refused(queue: Torrelque, options: Any, match: str) -> None:
    with pytest.raises(TorrelqueError, match=match):
        Dashboard(queue, permit=anyone, **options)


@pytest.mark.parametrize('given', [None, [], 'mail', [1], {}])
def test_something_else_than_queues_is_refused(given: Any) -> None:
    with pytest.raises(TorrelqueError, match='a dashboard'):
        Dashboard(given, permit=anyone)


async def test_an_app_brings_its_queues_and_names_of_arguments(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task
    async def log_in(user: str, pin_secret: str) -> None: ...

    task_id = await log_in.enqueue('anna', '1234')
    async with Look([app]) as look:
        page = await look.get('task', id=task_id.id)
    assert 'anna' in page.text and '1234' not in page.source
    await app.aclose()


# What goes wrong


async def test_what_is_not_there_or_cannot_be_meant_is_told(queue: Torrelque) -> None:
    async with opened(queue, anyone) as client:
        for path, status in (
            ('nowhere', 404), ('task?id=none', 404), ('queue?q=none', 400), ('tasks?place=none', 400),
            ('tasks?older=x', 400), ('tasks?after=x', 400), ('live?of=none', 404), ('tasks?attempts=-1', 400),
        ):  # fmt: skip
            answer = await client.get(f'/{path}')
            assert (answer.status_code, 'to the overview' in Html(answer.text).text.lower()) == (status, True), path
            told = await client.get(f'/{path}', headers={'accept': 'application/json'})
            assert (told.status_code, [*told.json()]) == (status, ['error']), path


async def test_what_is_not_there_is_told_below_the_tabs_of_its_queue(client: redis.asyncio.Redis) -> None:
    async with (
        Torrelque(client, queue='a') as one, Torrelque(client, queue='b') as other, opened([one, other], anyone) as it,
    ):  # fmt: skip
        page = Html((await it.get('/task?q=b&id=none')).text)
        assert {link.attrs['href'] for link in page.one('nav', class_='tabs').all('a')} > {'./queue?q=b', './tasks?q=b'}
        assert (await it.get('/task?q=none&id=none')).status_code == 400


async def test_a_place_that_is_passed_over_is_looked_at_part_by_part(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.dashboard.pages.tasks.ENOUGH', 0)  # as where the first look takes long
    await queue.enqueue_many(range(60))
    await queue.dequeue_many(60)
    async with opened(queue, anyone) as client:
        page = Html((await client.get('/tasks?place=orphaned')).text)
        assert 'None of 50 tasks looked at is orphaned.' in page.text
        page = Html((await client.get('/' + page.one('a', rel='next').attrs['href'])).text)
        assert 'None of 10 tasks looked at is orphaned.' in page.text and not page.all('a', rel='next')
        # What a place has is told beside its name.
        [working] = [it.text for it in page.one('nav', aria_label='Place').all('a') if it.text.startswith('working')]
        assert working == 'working 60'


async def test_a_server_that_is_away_is_told_and_comes_back(queue: Torrelque) -> None:
    away = Torrelque(redis.asyncio.Redis(port=1), queue='away')
    async with opened([away], anyone) as client:
        answer = await client.get('/')
        posted = await client.post('/act', headers={'sec-fetch-site': 'same-origin'})
    assert (answer.status_code, answer.headers['retry-after']) == (503, '2')
    assert 'is away' in answer.text
    # The page asks again by itself, but not for what was posted: that would be asked for as something else.
    assert Html(answer.text).one('meta', http_equiv='refresh').attrs['content'] == '5'
    assert not Html(posted.text).all('meta', http_equiv='refresh')
    await away.aclose()
    await away.client.aclose()


async def test_one_queue_that_is_broken_hides_no_other(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    other = Torrelque(client, queue='other')
    await queue.enqueue(1)
    await client.set(queue.keys['working'], 'no set')
    async with opened([queue, other], anyone) as visitor:
        page = Html((await visitor.get('/')).text)
    assert 'hold something else' in page.text and 'other' in page.text
    await other.aclose()


# Where it is


def mounted_in_starlette(dashboard: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Mount('/in/queues', dashboard)])


def mounted_in_fastapi(dashboard: ASGIApp) -> ASGIApp:
    app = FastAPI()
    app.mount('/in/queues', dashboard)
    return app


def behind_a_proxy_that_strips(dashboard: ASGIApp) -> ASGIApp:
    """What an application sees where it is told of no prefix."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await dashboard({**scope, 'path': scope['path'].removeprefix('/in/queues')}, receive, send)

    return proxy


def with_a_root_path(dashboard: ASGIApp) -> ASGIApp:
    """What uvicorn makes of --root-path."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await dashboard({**scope, 'root_path': '/in/queues'}, receive, send)

    return serve


@pytest.mark.parametrize(
    'put', [mounted_in_starlette, mounted_in_fastapi, behind_a_proxy_that_strips, with_a_root_path]
)
async def test_pages_link_each_other_wherever_they_are(
    queue: Torrelque, put: Callable[[ASGIApp], ASGIApp]
) -> None:
    await queue.enqueue(1)
    dashboard = Dashboard(queue, permit=anyone)
    seen: set[str] = set()
    async with client_of(put(dashboard)) as client:
        coming = [f'{BASE}/in/queues/']
        while coming:
            url = httpx.URL(coming.pop())
            if str(url) in seen:
                continue
            seen.add(str(url))
            answer = await client.get(url)
            assert answer.status_code == 200, url
            assert url.path.startswith('/in/queues/')
            if answer.headers['content-type'].startswith('text/html'):
                page = Html(answer.text)
                found = [*page.all('a'), *page.all('link'), *page.all('script')]
                urls = [url.join(one.attrs.get('href') or one.attrs.get('src', '')) for one in found]
                coming += [str(one.copy_with(fragment=None)) for one in urls if one.path.rpartition('/')[2] != 'ask']
    assert {httpx.URL(url).path.rpartition('/')[2] for url in seen} > {'', 'queue', 'tasks', 'task'}
    await dashboard.aclose()


@pytest.mark.parametrize('put', [mounted_in_starlette, mounted_in_fastapi, with_a_root_path])
async def test_a_name_without_its_slash_is_completed(
    queue: Torrelque, put: Callable[[ASGIApp], ASGIApp]
) -> None:
    async with client_of(put(Dashboard(queue, permit=anyone))) as client:
        answer = await client.get('/in/queues')
    assert 300 < answer.status_code < 400
    assert httpx.URL(f'{BASE}/in/queues').join(answer.headers['location']) == f'{BASE}/in/queues/'


# What browsers are told


async def test_every_answer_binds_the_browser(queue: Torrelque) -> None:
    async with opened(queue, anyone) as client:
        page = await client.get('/')
        asset = next(it.attrs['href'] for it in Html(page.text).all('link', rel='stylesheet'))
        answers = [page, await client.get(asset), await client.get('/nowhere'), await client.post('/act'),
                   await client.get('/queue.json')]  # fmt: skip
    for answer in answers:
        assert "default-src 'none'" in answer.headers['content-security-policy']
        assert "frame-ancestors 'none'" in answer.headers['content-security-policy']
        assert answer.headers['x-content-type-options'] == 'nosniff'
        assert answer.headers['referrer-policy'] == 'no-referrer'
    kept = [answer.headers['cache-control'] for answer in answers]
    assert kept == ['no-store', 'public, max-age=31536000, immutable', 'no-store', 'no-store', 'no-store']


async def test_first_page_is_small(queue: Torrelque) -> None:
    async with opened(queue, anyone) as client:
        page = await client.get('/')
        total = int(page.headers.get('content-length', 0))
        html = Html(page.text)
        for one in (*html.all('link'), *html.all('script')):
            asset = await client.get(one.attrs.get('href') or one.attrs['src'])
            total += int(asset.headers['content-length'])
    assert 0 < total < 60_000


@pytest.mark.parametrize(
    'name', [FOREIGN, '../..', 'a/b%2e', 'a b&q=c#d', 'ü\u202ex', '☃' * 60],
    ids=['markup', 'dots', 'percent', 'query', 'direction', 'snow'],
)  # fmt: skip
async def test_any_name_of_a_queue_is_shown_and_linked(client: redis.asyncio.Redis, name: str) -> None:
    queue, other = Torrelque(client, queue=name), Torrelque(client, queue='other')
    await queue.enqueue(1, task_id=FOREIGN)
    async with Look([queue, other]) as look:
        for path in ('', *dict.fromkeys(link for link in (await look.get('')).links.values() if link.startswith('./'))):
            page = await look.get(path.removeprefix('./'))
            page.check_harmless()
        page = await look.get(next(link for link in (await look.get('')).links.values() if 'place=pending' in link)[2:])
        page.check_harmless()
        page = await look.get(next(link for link in page.links.values() if link.startswith('./task?'))[2:])
        page.check_harmless()
    await queue.aclose()
    await other.aclose()
