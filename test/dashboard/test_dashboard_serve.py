"""The dashboard as a server of its own: who is answered, where it listens, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

import torrelque
import torrelque.sync
from support.servers import RealServer
from torrelque import TorrelqueValueError
from torrelque.dashboard.serve import VISITOR, Guard, is_local, listen, name_of, permit_all, url_of

PACKAGES = Path(torrelque.__file__).parent.parent
Headers = list[tuple[bytes, bytes]]


# Who is answered


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': str(scope.get(VISITOR)).encode()})


async def ask(guard: Guard, headers: Headers, address: str = '127.0.0.1', kind: str = 'http') -> tuple[int, str]:
    """What is answered to a request that came in at an address."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {'type': 'http.request', 'body': b'', 'more_body': False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {'type': kind, 'method': 'GET', 'path': '/', 'headers': headers, 'server': (address, 8765)}
    await guard(scope, receive, send)
    if kind != 'http':
        return int(sent[0]['code']), ''
    return int(sent[0]['status']), b''.join(message.get('body', b'') for message in sent[1:]).decode()


@pytest.mark.parametrize(
    'host',
    [
        'localhost', 'LocalHost:8765', '127.0.0.1', '127.0.0.1:80', '[::1]', '[::1]:8765', '[0:0:0:0:0:0:0:1]',
        '[::ffff:127.0.0.1]', 'queues.example', 'Queues.Example:443', '[fd00::7]:1', '192.168.1.5:8765',
    ],
)  # fmt: skip
async def test_a_request_for_this_server_is_answered(host: str) -> None:
    guard = Guard(greet, ['queues.example', 'fd00::7'])
    assert (await ask(guard, [(b'host', host.encode())], '192.168.1.5'))[0] == 200


@pytest.mark.parametrize(
    'host',
    [
        'evil.example', 'evil.example:8765', 'localhost.evil.example', 'queues.example.evil', '10.0.0.1', '[::2]',
        '127.0.0.1.nip.io', '0x7f.1', '2130706433', 'localhost.', '0.0.0.0', '[::]',
    ],
)  # fmt: skip
async def test_a_request_for_another_name_is_refused_and_says_how_it_could_be_meant(host: str) -> None:
    status, text = await ask(Guard(greet, ['queues.example']), [(b'host', host.encode())])
    assert status == 421 and '--host NAME' in text


@pytest.mark.parametrize(
    'hosts', [[], ['localhost', 'localhost'], [''], ['a b'], ['x@localhost'], ['[localhost]'], ['::1'], ['[::1'],
              ['localhost:80:80'], ['localhost/'], ['[127.0.0.1]'], ['\xff\n<b>']],
)  # fmt: skip
async def test_a_request_that_names_no_host_is_refused(hosts: list[str]) -> None:
    status, text = await ask(Guard(greet), [(b'host', host.encode('latin-1')) for host in hosts])
    assert status in (400, 421) and '<' not in text and 'None' not in text


def test_names_are_compared_without_their_port() -> None:
    assert [name_of(host) for host in ('A:1', '[FE80::1]:2', '127.0.0.1:', '[::ffff:7f00:1]')] == [
        'a', 'fe80::1', '127.0.0.1', '127.0.0.1',
    ]  # fmt: skip


def basic(name: str, password: str, kind: str = 'Basic') -> Headers:
    word = base64.b64encode(f'{name}:{password}'.encode()).decode()
    return [(b'host', b'localhost'), (b'authorization', f'{kind} {word}'.encode())]


@pytest.mark.parametrize(
    ('headers', 'visitor'),
    [
        (basic('anna', 'se:cret ä'), 'anna'), (basic('', 'se:cret ä', 'basic'), ''),
        (basic('x' * 999, 'se:cret ä'), 'x' * 200), (basic('Ä\n\x1b[1m', 'se:cret ä'), 'Ä\ufffd\ufffd[1m'),
        (basic('anna', 'se:cret'), None), (basic('anna', ''), None), (basic('anna', 'se:cret ä '), None),
        (basic('anna', 'se:cret ä', 'Bearer'), None), ([(b'host', b'localhost')], None),
        ([(b'host', b'localhost'), (b'authorization', b'Basic')], None),
        ([(b'host', b'localhost'), (b'authorization', b'Basic !!!')], None),
        ([(b'host', b'localhost'), (b'authorization', b'Basic \xff\xfe')], None),
        ([(b'host', b'localhost'), (b'authorization', b'Basic ' + base64.b64encode(b'no colon'))], None),
        ([*basic('anna', 'se:cret ä'), *basic('anna', 'se:cret ä')[1:]], None),
    ],
)  # fmt: skip
async def test_with_a_password_only_who_knows_it_is_answered(headers: Headers, visitor: str | None) -> None:
    guard = Guard(greet, password='se:cret ä')
    status, text = await ask(guard, headers)
    assert (status, text) == (200, visitor) if visitor is not None else status == 401 and 'secret' not in text


async def test_nothing_is_said_of_the_password_to_who_asks_for_another_host() -> None:
    headers = [(b'host', b'evil.example'), *basic('anna', 'secret')[1:]]
    assert (await ask(Guard(greet, password='secret'), headers))[0] == 421


async def test_a_websocket_is_refused() -> None:
    assert (await ask(Guard(greet), [(b'host', b'localhost')], kind='websocket'))[0] == 1008


def test_visitors_have_the_name_that_they_give_and_what_all_may_do() -> None:
    permit = permit_all('joe@here', ['pause', 'redrive'])
    named, nameless = (permit(Request({'type': 'http', **more})) for more in ({VISITOR: 'anna'}, {VISITOR: ''}))
    assert (named.name, nameless.name) == ('anna', 'joe@here') and named.allow == nameless.allow == {'pause', 'redrive'}
    with pytest.raises(TorrelqueValueError, match='there is no grant'):
        permit_all('joe', ['pauses'])


# Where it listens


@pytest.mark.parametrize(
    ('host', 'names', 'local', 'shown'),
    [
        ('127.0.0.1', [], True, '127.0.0.1'), ('localhost', ['x'], True, None), ('0.0.0.0', [], False, 'localhost'),
        ('0.0.0.0', ['queues.example'], False, 'queues.example'), ('::1', [], True, '[::1]'),
        ('::', ['fd00::7'], False, '[fd00::7]'),
    ],
)  # fmt: skip
def test_it_is_told_what_to_type_into_a_browser(host: str, names: list[str], local: bool, shown: str | None) -> None:
    if ':' in host and not _has_ipv6():
        pytest.skip('the machine has no IPv6')
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert is_local(listener) is local
        assert shown is None or url_of(listener, names) == f'http://{shown}:{port}/'
        with pytest.raises(OSError, match='in use'):
            listen(host, port)


def _has_ipv6() -> bool:
    try:
        with socket.create_server(('::1', 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


# What it shows

APP = """
from torrelque.tasks import Tasks

app = Tasks.from_url(queue='shop')


@app.task(name='shop.send')
async def send(to, api_key):
    pass
"""


@pytest.mark.one_server
def test_arguments_by_place_are_hidden_by_the_names_that_an_app_has(server: RealServer, tmp_path: Path) -> None:
    (tmp_path / 'shop.py').write_text(APP)
    payload = '{"task": "shop.send", "args": ["joe@doe.com", "hunter2"]}'
    places = os.pathsep.join([str(PACKAGES), str(tmp_path)])
    environment = {**os.environ, 'PYTHONPATH': places, 'REDIS_URL': server.url}
    base = [sys.executable, '-m', 'torrelque']
    with server.sync_client() as client:
        torrelque.sync.Torrelque(client, queue='shop').enqueue(json.loads(payload))
    for words, expected in ((['--app', 'shop:app'], '•••'), (['-q', 'shop'], 'hunter2')):
        command = [*base, 'dashboard', '--bind', '127.0.0.1:0', '--json', *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            try:
                assert process.stdout is not None
                url = json.loads(process.stdout.readline())['url']
                found = httpx.get(f'{url}tasks.json', params={'q': 'shop', 'place': 'pending'}).json()
                assert found['tasks'][0]['payload']['args'] == ['joe@doe.com', expected]
            finally:
                process.terminate()


# How it ends

SERVER = """
import asyncio, sys
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from torrelque.dashboard.serve import Service, listen, serve, url_of

async def ticks():
    while True:
        yield {'data': 'tick'}
        await asyncio.sleep(1000)

async def much():
    while True:
        yield b'x' * 100_000

async def still():
    yield b'begun'
    await asyncio.sleep(1000)

async def act(request):
    print('act', len(await request.body()), flush=True)
    await asyncio.sleep(0.2)
    return PlainTextResponse('done')

async def hang(request):
    print('hangs', flush=True)
    await asyncio.sleep(1000)

app = Starlette(routes=[
    Route('/hang', hang),
    Route('/sse', lambda request: EventSourceResponse(ticks())), Route('/act', act, methods=['POST']),
    Route('/much', lambda request: StreamingResponse(much())),
    Route('/still', lambda request: StreamingResponse(still())),
])
listener = listen('127.0.0.1', 0)
asyncio.run(serve(Service(app, listener, on_ready=lambda: print(url_of(listener), flush=True))))
print('ended')
"""


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of several kinds of streams, and its address."""
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGES)}
    command = [sys.executable, '-W', 'error', '-c', SERVER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize('sign', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
@pytest.mark.long
def test_open_streams_do_not_keep_it_from_its_end(sign: signal.Signals) -> None:
    with running() as (process, url), httpx.Client(base_url=url, timeout=60) as client, socket.socket() as deaf:
        host, port = url.removeprefix('http://').strip('/').split(':')
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.sendall(b'GET /much HTTP/1.1\r\nhost: localhost\r\n\r\n')
        with client.stream('GET', '/sse') as events, client.stream('GET', '/still') as bytes_:
            lines, chunks = events.iter_lines(), bytes_.iter_raw()
            assert next(line for line in lines if line) == 'data: tick' and next(chunks) == b'begun'
            process.send_signal(sign)
            # They end as any response does, and are not cut.
            assert ([*lines], [*chunks]) == ([''], [])
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, 'ended\n', '')


@pytest.mark.long
def test_a_request_that_hangs_does_not_keep_it_from_its_end() -> None:
    with running() as (process, url), socket.socket() as visitor:
        host, port = url.removeprefix('http://').strip('/').split(':')
        visitor.connect((host, int(port)))
        visitor.sendall(b'GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n')
        assert process.stdout is not None and process.stdout.readline() == 'hangs\n'
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, 'ended\n')
    assert err == 'Cancel 1 running task(s), timeout graceful shutdown exceeded\n'


def test_an_act_that_was_begun_is_answered_before_the_end() -> None:
    with running() as (process, url):
        with subprocess.Popen(
            [sys.executable, '-c', f'import httpx; print(httpx.post({url + "act"!r}, content="four").text)'],
            stdout=subprocess.PIPE, text=True,
        ) as visitor:  # fmt: skip
            assert process.stdout is not None and process.stdout.readline() == 'act 4\n'
            process.send_signal(signal.SIGTERM)
            assert visitor.communicate(timeout=60)[0] == 'done\n'
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, 'ended\n', '')
