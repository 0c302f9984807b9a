"""The dashboard beside Django: what is whose, and how the server's words are passed on."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from torrelque.contrib.django import mount


class Inner:
    """An application that tells what it has got."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scopes: list[MutableMapping[str, Any]] = []
        self.closed = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope['type'] != 'http':
            assert scope['type'] != 'lifespan'
            return
        body = f'{self.name} {scope.get("root_path", "")} {scope["path"]}'.encode()
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': body})

    async def aclose(self) -> None:
        self.closed += 1


async def get(application: Any, path: str, root: str = '') -> httpx.Response:
    transport = httpx.ASGITransport(application, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url='http://site') as client:
        return await client.get(path)


@pytest.mark.parametrize('prefix', ['/queues', '/queues/'])
@pytest.mark.parametrize(
    ('path', 'root', 'told'),
    [
        ('/', '', 'site  /'),
        ('/queuesque', '', 'site  /queuesque'),
        ('/a/queues/', '', 'site  /a/queues/'),
        ('/queues/', '', 'board /queues /queues/'),
        ('/queues/queue?q=%2Fqueues', '', 'board /queues /queues/queue'),
        # Some servers have the root path in the path, as the specification says, and some leave it out.
        ('/shop/queues/tasks', '/shop', 'board /shop/queues /shop/queues/tasks'),
        ('/queues/tasks', '/shop', 'board /shop/queues /shop/queues/tasks'),
        ('/shop/orders', '/shop', 'site /shop /shop/orders'),
    ],
)
async def test_what_is_below_the_prefix_is_the_dashboards(prefix: str, path: str, root: str, told: str) -> None:
    application = mount(Inner('site'), Inner('board'), prefix)
    assert (await get(application, path, root)).text == told


async def test_the_prefix_alone_leads_to_the_dashboard() -> None:
    application = mount(Inner('site'), Inner('board'))
    answer = await get(application, '/queues?q=mail%20in')
    assert (answer.status_code, answer.headers['location']) == (307, '/queues/?q=mail%20in')
    answer = await get(application, '/shop%20a/queues', '/shop a')
    assert answer.headers['location'] == '/shop%20a/queues/'


@pytest.mark.parametrize('prefix', ['', '/', 'queues', '//queues'])
def test_a_prefix_that_is_no_path_below_the_root_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match='prefix'):
        mount(Inner('site'), Inner('board'), prefix)


async def live(application: Any, messages: list[str]) -> list[str]:
    told: list[str] = []

    async def receive() -> dict[str, str]:
        return {'type': f'lifespan.{messages.pop(0)}'}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message['type'])

    await application({'type': 'lifespan'}, receive, send)
    return told


async def test_the_lifespan_is_answered_and_closes_the_dashboard() -> None:
    site, board = Inner('site'), Inner('board')
    told = await live(mount(site, board), ['startup', 'shutdown'])
    assert told == ['lifespan.startup.complete', 'lifespan.shutdown.complete']
    assert (board.closed, site.scopes, board.scopes) == (1, [], [])


async def test_a_dashboard_that_cannot_be_closed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Inner):
        async def aclose(self) -> None:
            raise RuntimeError('stuck')

    told = await live(mount(Inner('site'), Stuck('board')), ['startup', 'shutdown'])
    assert told == ['lifespan.startup.complete', 'lifespan.shutdown.failed']
    assert 'could not be closed' in caplog.text


async def test_a_websocket_goes_where_its_path_says() -> None:
    site, board = Inner('site'), Inner('board')
    for path in ('/queues/live', '/chat'):
        await mount(site, board)({'type': 'websocket', 'path': path}, None, None)  # type: ignore[arg-type]
    assert [scope['path'] for scope in (*site.scopes, *board.scopes)] == ['/chat', '/queues/live']
