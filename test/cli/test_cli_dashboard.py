"""``torrelque dashboard``: what is served to whom, what is refused, and how it ends."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from support.commanding import STOP, Command, Folder
from torrelque import Torrelque
from torrelque.cli import main
from torrelque.operate import Operator, note

pytestmark = pytest.mark.first_server

LINE = r'^dashboard of (.*) at (http://\S+/) , (.*)$'
PASSWORD = 'TORRELQUE_DASHBOARD_PASSWORD'
WITHOUT = 'import sys; sys.modules[{0!r}] = None; from torrelque.cli import main; sys.exit(main())'


@contextmanager
def serving(folder: Folder, *words: str, **more: str) -> Iterator[tuple[httpx.Client, str, str]]:
    """A client of a dashboard; what is served, and what is allowed.  It ends in good order, and has said one line."""
    with folder.command('dashboard', '--bind', '127.0.0.1:0', *words, more=more) as command:
        [line] = command.wait_for(LINE)
        with httpx.Client(base_url=line[2], timeout=60) as client:
            yield client, line[1], line[3]
            _end(command)


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=60, **options)


def act(client: httpx.Client, name: str, queue: str, number: str = '', **more: str) -> httpx.Response:
    """Do an act, as the form that asks for it does."""
    words = {'act': name, 'q': queue, **more}
    if not number:
        found = re.search(r'name="number" value="(\w+)"', client.get('ask', params=words).text)
        assert found is not None
        number = found[1]
    form = {'query': urlencode(words), 'number': number}
    return client.post('act', data=form, headers={'sec-fetch-site': 'same-origin'})


def _end(command: Command) -> None:
    command.send(STOP)
    assert command.end() == ''
    assert len(command.out) == 1


async def test_a_queue_is_shown_and_cannot_be_changed(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue({'a': 1})
    with serving(folder, '-q', queue.name, '--title', 'All of it') as (client, what, allowed):
        page = client.get('')
        assert (what, allowed, page.status_code) == (repr(queue.name), 'reads only', 200)
        assert queue.name in page.text and 'All of it' in page.text
        assert act(client, 'pause', queue.name, number='0' * 16).status_code == 403
        assert client.get('', headers={'host': 'evil.example'}).status_code == 421
        # A page that is open, and live, does not keep the command from its end.
        with client.stream('GET', 'live?page=') as stream:
            assert next(stream.iter_lines()) is not None


@pytest.mark.long
async def test_all_queues_that_are_known_are_shown(queue: Torrelque, folder: Folder) -> None:
    async with Torrelque(queue.client, queue='second queue') as second:
        for one in queue, second:
            await one.enqueue(1)
            await note(one)
        with serving(folder, '--allow', 'pause,redrive') as (client, what, allowed):
            assert (what, allowed) == ('2 queues', 'allows pause, redrive')
            assert queue.name in (text := client.get('').text) and 'second queue' in text
        with serving(folder, '-q', queue.name, '-q', 'second queue', '--allow', 'all') as (_, what, allowed):
            assert what == '2 queues' and 'redrive' in allowed and 'payload' not in allowed


async def test_with_a_password_only_who_knows_it_comes_in(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    words = '-q', queue.name, '--bind', '0.0.0.0:0', '--host', 'queues.example', '--allow', 'pause'
    with folder.command('dashboard', *words, more={PASSWORD: 'secret'}) as command:
        [line] = command.wait_for(LINE)
        port = line[2].rpartition(':')[2]
        assert line[2] == f'http://queues.example:{port}'
        url = f'http://127.0.0.1:{port}'
        assert get(url).status_code == get(f'{url}live?page=').status_code == 401
        assert get(url, auth=('anna', 'wrong')).status_code == 401
        assert get(url, auth=('anna', 'secret'), headers={'host': 'queues.example'}).status_code == 200
        with httpx.Client(base_url=url, timeout=60, auth=('anna', 'secret')) as client:
            assert act(client, 'pause', queue.name).status_code == 303
        operator = Operator(queue)
        assert (await operator.overview()).paused
        assert [(done.who, done.act) for done in await operator.acts()] == [('anna', 'pause')]
        _end(command)
    assert 'secret' not in command.told


@pytest.mark.long
async def test_what_listens_is_told_as_json(queue: Torrelque, folder: Folder) -> None:
    await queue.enqueue(1)
    with folder.command('dashboard', '--bind', 'localhost:0', '-q', queue.name, '--json') as command:
        [line] = command.wait_for(r'^\{.*\}$')
        told = json.loads(line[0])
        assert (told['queues'], told['allow']) == ([queue.name], [])
        assert get(told['url']).status_code == 200
        _end(command)


@pytest.mark.long
async def test_a_browser_is_opened(queue: Torrelque, folder: Folder, tmp_path: Path) -> None:
    await queue.enqueue(1)
    seen, browser = tmp_path / 'seen', tmp_path / 'browser'
    browser.write_text(f'#!/bin/sh\necho "$1" >{seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o700)
    with serving(folder, '-q', queue.name, '--open', BROWSER=f'{browser} %s') as (client, _, _):
        while not seen.exists():
            pass
        assert seen.read_text().strip() == str(client.base_url)


@pytest.mark.long
def test_a_demo_needs_nothing_and_leaves_nothing(folder: Folder) -> None:
    with serving(folder, '--demo', REDIS_URL='redis://nowhere.invalid') as (client, what, allowed):
        assert what == 'a demo of 3 queues' and 'redrive' in allowed and 'payload' not in allowed
        text = client.get('').text
        assert all(name in text for name in ('mail', 'report', 'media'))
        text = client.get('tasks', params={'q': 'mail', 'place': 'dead'}).text
        assert 'shop.mail.send_receipt' in text
        # A token that is an argument by place has the name that its function gives it.
        tasks = client.get('tasks.json', params={'q': 'mail', 'place': 'dead'}).json()['tasks']
        assert {task['payload']['args'][3] for task in tasks if task['function'] == 'shop.mail.send_receipt'} == {'•••'}
        assert act(client, 'pause', 'media').status_code == 303
        assert client.get('acts.json', params={'q': 'media'}).text.count('"you"') == 1
    with serving(folder, '--demo', TORRELQUE_READ_ONLY='1') as (_, _, allowed):
        assert allowed == 'reads only'


@pytest.mark.parametrize(
    ('words', 'code', 'told'),
    [
        ('--demo -q mail', 2, '--demo has queues and a server of its own'),
        ('--demo --url redis://x', 2, '--demo has queues and a server of its own'),
        ('--demo --app shop:app', 2, '--demo has queues and a server of its own'),
        ('--allow pauses', 2, "--allow: there is no grant 'pauses': did you mean 'pause'?"),
        ('--allow pause --allow redrive', 2, 'is given twice'),
        ('--allow pause --read-only', 4, 'only reading is allowed here'),
        ('--bind 8765', 2, "'8765' is no address, such as 127.0.0.1:8765"),
        ('--bind 127.0.0.1:70000', 2, 'is no address'), ('--bind ::1:8765', 2, 'is no address'),
        ('--bind 0.0.0.0:0', 2, f'--bind 0.0.0.0:0 lets others in: set {PASSWORD}, or say --insecure'),
        ('--bind nowhere.invalid:0', 1, 'nothing can listen at nowhere.invalid:0: '),
        ('--password secret', 2, 'unrecognized arguments: --password'),
        ('--bind 127.0.0.1:0 --url redis://127.0.0.1:1', 3, 'redis://127.0.0.1:1/0 cannot be reached'),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told(
    words: str, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PASSWORD, 'TORRELQUE_READ_ONLY':
        monkeypatch.delenv(name, raising=False)
    try:
        ended = main(['dashboard', *words.split()])
    except SystemExit as exc:
        assert isinstance(exc.code, int)
        ended = exc.code
    shown = capsys.readouterr()
    assert (ended, shown.out) == (code, '') and told in shown.err


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert main(['dashboard', '--bind', f'127.0.0.1:{port}', '--demo']) == 1
    assert capsys.readouterr().err == f'torrelque: nothing can listen at 127.0.0.1:{port}: Address already in use\n'


@pytest.mark.long
@pytest.mark.parametrize('package', ['jinja2', 'sse_starlette', 'starlette', 'uvicorn'])
def test_a_missing_package_is_told(package: str, folder: Folder) -> None:
    said = folder.run('dashboard', '--demo', start=('-c', WITHOUT.format(package)), status=2).err
    name = package.replace('_', '-')
    assert said == [
        f"torrelque: the dashboard needs {name}, of the extra 'dashboard': pip install 'torrelque[dashboard]'"
    ]
