"""The web example, as its visitors and its operator know it: in a browser, by plain HTTP, by signals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio.client import Pipeline

import torrelque
from support.browser import MissingBrowserError, launch
from support.processes import is_alive, wait_end
from support.proxy import open_proxy
from support.servers import RealServer
from torrelque import Torrelque

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Locator, Page

WEB = Path(__file__).parents[2] / 'example' / 'web'
PACKAGE = Path(torrelque.__file__).parent
# Attempts last a tenth of a second, the payment's back-off is 0.2, 0.4 and 0.8 s.
FAST = ('--speed', 10)
# There is time to do something in the middle of a task.
SLOW = ('--speed', 5)
LIMIT = 90
"""s after which something that is waited for is missing."""

# One event loop for all, that of the browser.
pytestmark = pytest.mark.asyncio(loop_scope='module')


class Program:
    """A running program of the example; it ends with the test, if not before."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Any) -> None:
        self.process = process
        self._errors = errors

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that matches."""

        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if match := re.search(pattern, line.decode()):
                return match
        raise AssertionError(f'no line matches {pattern!r}: {self.errors}')

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it as an operator does; it has nothing to complain about."""

        self.process.send_signal(number)
        assert await asyncio.wait_for(self.process.wait(), LIMIT) == 0, self.errors
        assert 'Traceback' not in self.errors

    @property
    def errors(self) -> str:
        self._errors.seek(0)
        return str(self._errors.read())


class Web(Program):
    """The web process."""

    port: int


Run = Callable[..., Awaitable[Web]]


@asynccontextmanager
async def running(*arguments: object) -> AsyncIterator[Program]:
    # The package that this process has imported, be it installed or the working tree.
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get('PYTHONPATH')]))
    environment = {**os.environ, 'PYTHONPATH': path}
    environment.pop('REDIS_URL', None)
    with tempfile.TemporaryFile('w+') as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, '-W', 'error', *map(str, arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            yield Web(process, errors)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            # To the end of its output, or the event loop has something left of it.
            await process.communicate()


@pytest_asyncio.fixture(loop_scope='module')
async def run() -> AsyncIterator[Run]:
    """Start the web process; `arguments` follow the port, which is a free one if it is 0."""

    async with AsyncExitStack() as stack:

        async def start(*arguments: object, port: int = 0) -> Web:
            web = await stack.enter_async_context(running(WEB, '--port', port, *arguments))
            assert isinstance(web, Web)
            web.port = int((await web.wait_for(r'page is at http://127\.0\.0\.1:(\d+)/'))[1])
            return web

        yield start


# By plain HTTP


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Visitor:
    """Somebody with a cookie and without a browser."""

    def __init__(self, web: Web, cookie: str = '') -> None:
        self.web = web
        self.cookie = cookie

    async def ask(self, method: str, path: str) -> Answer:
        async with self._requesting(method, path, 'close') as (status, headers, reader):
            return Answer(status, headers, await asyncio.wait_for(reader.read(), LIMIT))

    async def come(self) -> Visitor:
        self.cookie = (await self.ask('GET', '/')).headers['set-cookie'].partition(';')[0]
        return self

    async def start(self, kind: str, count: int = 1) -> list[str]:
        answer = await self.ask('POST', f'/tasks?kind={kind}&count={count}')
        assert answer.status == 201, answer
        return list(answer.json['ids'])

    async def frames(self) -> AsyncGenerator[dict[str, Any], None]:
        """What a page would be told."""

        async with self._requesting('GET', '/events', 'keep-alive') as (status, headers, reader):
            assert (status, headers['content-type']) == (200, 'text/event-stream; charset=utf-8')
            while size := int(await asyncio.wait_for(reader.readuntil(b'\r\n'), LIMIT), 16):
                event = (await reader.readexactly(size + 2)).decode()
                for data in re.findall(r'^data: (.*?)\r?$', event, re.M):
                    yield json.loads(data)

    async def follow(self, until: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, list[dict[str, Any]]]:
        """The views of each task, in their order, until the last ones are as wanted."""

        views: dict[str, list[dict[str, Any]]] = {}

        def read(frame: dict[str, Any]) -> bool:
            for task in frame.get('tasks', ()):
                views.setdefault(task['id'], []).append(task)
            return until({task_id: seen[-1] for task_id, seen in views.items()})

        await self.hear(read)
        return views

    async def hear(self, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame that is as wanted."""

        async def read() -> dict[str, Any]:
            async with aclosing(self.frames()) as frames:
                async for frame in frames:
                    if until(frame):
                        return frame
            raise AssertionError('the stream has ended')

        return await asyncio.wait_for(read(), 2 * LIMIT)

    @asynccontextmanager
    async def _requesting(
        self, method: str, path: str, connection: str
    ) -> AsyncIterator[tuple[int, dict[str, str], asyncio.StreamReader]]:
        reader, writer = await asyncio.open_connection('127.0.0.1', self.web.port)
        try:
            host = f'127.0.0.1:{self.web.port}'
            head = [f'{method} {path} HTTP/1.1', f'host: {host}', f'cookie: {self.cookie}', f'connection: {connection}']
            writer.write('\r\n'.join([*head, 'content-length: 0', '', '']).encode())
            status, *lines = (await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), LIMIT)).decode().splitlines()
            headers = dict(line.split(': ', 1) for line in lines if line)
            yield int(status.split()[1]), {name.lower(): value for name, value in headers.items()}, reader
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def all_in(*statuses: str, count: int = 1) -> Callable[[dict[str, dict[str, Any]]], bool]:
    return lambda tasks: len(tasks) >= count and all(task['status'] in statuses for task in tasks.values())


async def test_page_needs_nothing_from_elsewhere(run: Run, server: RealServer) -> None:
    visitor = Visitor(await run('--url', server.url))
    page = await visitor.ask('GET', '/')
    assert page.status == 200
    assert page.headers['content-type'].startswith('text/html')
    assert "default-src 'none'" in page.headers['content-security-policy']
    assert 'unsafe' not in page.headers['content-security-policy']
    assert re.fullmatch(r'torrelque_web=[\w-]{22}; HttpOnly; .*; SameSite=lax', page.headers['set-cookie'])
    assets = set(re.findall(r'(?:href|src)="(?!#)(.*?)"', page.body.decode())) - {'/'}
    assert assets == {'/page/style.css', '/page/page.js', '/page/icon.svg'}
    for path in assets:
        asset = await visitor.ask('GET', path)
        assert asset.status == 200
        assert not re.search(rb'@import|url\(|\bimport ', asset.body)
    assert 'style="' not in page.body.decode()
    assert '<script>' not in page.body.decode()


@pytest.mark.first_server
async def test_stream_tells_each_task_until_it_is_done(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, *FAST)).come()
    ids = {kind: (await visitor.start(kind))[0] for kind in ('letter', 'payment', 'film')}
    views = await visitor.follow(all_in('completed', 'dead', count=3))
    letter, payment, film = (views[ids[kind]] for kind in ids)

    assert letter[-1]['status'] == 'completed'
    assert letter[-1]['result'] == 'Delivered, and signed for'

    assert payment[-1]['status'] == 'dead'
    assert payment[-1]['error'] == 'The bank does not answer: 503 Service Unavailable'
    attempts = [view['attempt'] for view in payment]
    assert attempts == sorted(attempts)
    assert attempts[-1] == payment[-1]['attempts'] == 4
    waits = [view for view in payment if view['retry_in'] is not None]
    assert {view['status'] for view in waits} == {'delayed'}
    assert all(0 <= view['retry_in'] <= view['retry_after'] for view in waits)
    assert {view['attempt']: view['retry_after'] for view in waits} == {1: 0.2, 2: 0.4, 3: 0.8}

    done = [view['progress']['done'] for view in film if view['progress']]
    assert done == sorted(done)
    assert done[-1] == film[-1]['progress']['total'] == 240
    assert len(set(done)) > 2


async def test_tasks_of_a_visitor_are_his_own(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, '--consumers', 0)
    one, other = await Visitor(web).come(), await Visitor(web).come()
    (task_id,) = await one.start('letter')
    async with aclosing(other.frames()) as frames:
        first = await anext(frames)
        assert first['reset']
        assert first['tasks'] == []
    for verb in ('cancel', 'redrive'):
        answer = await other.ask('POST', f'/tasks/{task_id}/{verb}')
        assert (answer.status, answer.json) == (404, {'error': 'There is no such task on your list.'})
        assert (await one.ask('POST', f'/tasks/unknown/{verb}')).status == 404
    for method, path in (('POST', '/tasks?kind=letter'), ('POST', f'/tasks/{task_id}/cancel'), ('GET', '/events')):
        for cookie in ('', 'torrelque_web=x', one.cookie + '*'):
            assert (await Visitor(web, cookie).ask(method, path)).status == 403
    assert (await one.ask('POST', f'/tasks/{task_id}/cancel')).status == 200


async def test_requests_that_make_no_sense_are_told_why(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, *FAST)).come()
    for query in ('', 'kind=', 'kind=war', 'kind=letter&count=0', 'kind=letter&count=51', 'kind=letter&count=x'):
        answer = await visitor.ask('POST', f'/tasks?{query}')
        assert answer.status == 400
        assert re.match('There is no kind|The count must be', answer.json['error'])
    assert (await visitor.ask('GET', '/tasks')).status == 405
    assert (await visitor.ask('GET', '/nothing')).status == 404
    (task_id,) = await visitor.start('letter')
    assert (await visitor.ask('POST', f'/tasks/{task_id}/redrive')).status == 409
    await visitor.follow(all_in('completed'))
    answer = await visitor.ask('POST', f'/tasks/{task_id}/cancel')
    assert (answer.status, answer.json['error']) == (409, 'It is finished already, there is nothing left to cancel.')


async def test_list_has_room_for_so_many_and_no_more(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    for _ in range(10):
        await visitor.start('mix', 50)
    answer = await visitor.ask('POST', '/tasks?kind=letter')
    assert (answer.status, answer.json['error']) == (
        409,
        'Your list has room for 500 tasks. Clear the finished ones first.',
    )
    views = await visitor.follow(all_in('pending', count=500))
    await asyncio.gather(*(visitor.ask('POST', f'/tasks/{task_id}/cancel') for task_id in list(views)[:20]))
    assert len((await visitor.ask('POST', '/tasks/clear')).json['ids']) == 20
    await visitor.start('letter')


async def test_list_has_no_more_than_that_however_many_come_at_once(run: Run, server: RealServer) -> None:
    webs = [await run('--url', server.url, '--consumers', 0) for _ in range(2)]
    visitor = await Visitor(webs[0]).come()
    requests = [Visitor(webs[n % 2], visitor.cookie).ask('POST', '/tasks?kind=letter&count=20') for n in range(60)]
    answers = await asyncio.gather(*requests)
    started = [answer for answer in answers if answer.status == 201]
    assert sorted({answer.status for answer in answers}) == [201, 409]
    assert len(started) == 25
    ids = {task_id for answer in started for task_id in answer.json['ids']}
    assert len(ids) == 500
    with server.sync_client() as client:
        token = visitor.cookie.partition('=')[2]
        assert {key.decode() for key in client.hkeys(f'visitor:{{web}}:{token}')} == ids
        assert client.hlen('{web}:tasks') == 500


async def test_list_that_another_process_fills_between_the_look_and_the_write_takes_no_more(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import ListFullError, Lists

    hlen = Pipeline.hlen
    async with server.client(decode_responses=True) as client, Torrelque(client, queue=queue_name) as queue:
        one, other = Lists(client, queue, 1), Lists(client, queue, 1)

        async def look_and_wait(pipeline: Pipeline, key: str) -> Any:
            monkeypatch.setattr(Pipeline, 'hlen', hlen)
            length = await pipeline.hlen(key)
            await other.start('ada', ['letter'] * 300)
            return length

        monkeypatch.setattr(Pipeline, 'hlen', look_and_wait)
        with pytest.raises(ListFullError):
            await one.start('ada', ['letter'] * 300)
        assert len(await one.load('ada')) == (await queue.get_queue_stats()).tasks == 300


@pytest.mark.parametrize('lose', ['lose_reply', 'lose_request'])
async def test_tasks_are_started_once_though_the_reply_is_lost(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch, lose: str
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists

    async with open_proxy(server) as proxy, proxy.client(decode_responses=True) as client:
        async with Torrelque(client, queue=queue_name) as queue:
            lists = Lists(client, queue, 1)
            getattr(proxy, lose)(b'EXEC')
            records = await lists.start('ada', ['letter', 'film'])
            assert proxy.lossless
            assert (await lists.load('ada')) == records
            assert (await queue.get_queue_stats()).tasks == len(records) == 2


async def test_a_record_that_was_cleared_away_does_not_come_back_with_a_cancellation(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists

    async with open_proxy(server) as proxy, proxy.client(decode_responses=True) as client:
        async with Torrelque(client, queue=queue_name) as queue:
            lists = Lists(client, queue, 1)
            (task_id,) = await lists.start('ada', ['letter'])
            gate = proxy.hold_reply(b'\r\nHGET\r\n')
            cancelling = asyncio.ensure_future(lists.cancel('ada', task_id))
            await gate.arrived.wait()
            assert await lists.clear('ada') == [task_id]
            gate.open()
            assert await cancelling == {}
            assert await lists.load('ada') == {}


async def test_cancelled_task_is_listed_after_the_queue_has_forgotten_it(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, '--consumers', 0)
    visitor = await Visitor(web).come()
    ids = await visitor.start('letter', 2)
    await visitor.ask('POST', f'/tasks/{ids[0]}/cancel')
    with server.sync_client() as client:
        assert client.delete(*(f'{{web}}:task:{task_id}' for task_id in ids)) == 2
    views = await visitor.follow(all_in('cancelled', 'forgotten', count=2))
    assert [views[task_id][-1]['status'] for task_id in ids] == ['cancelled', 'forgotten']
    assert sorted((await visitor.ask('POST', '/tasks/clear')).json['ids']) == sorted(ids)


async def test_end_comes_also_with_the_last_change(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation is lost on Python 3.11 when what is waited for with a timeout comes at the same moment."""

    monkeypatch.syspath_prepend(WEB)
    from lists import Lists
    from live import Live

    async with server.client(decode_responses=True) as client, Torrelque(client, queue=queue_name) as queue:
        live = await Live(queue, Lists(client, queue, 1), 1).__aenter__()
        async with aclosing(live.frames('ada')) as frames:
            await anext(frames)
            await asyncio.sleep(0.5)  # nothing changes, and the next change is waited for
            live._changed.set()
            await asyncio.wait_for(live.__aexit__(), LIMIT)


@pytest.mark.first_server
@pytest.mark.timeout(2 * LIMIT)
async def test_slow_page_is_told_the_last_state_only(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists
    from live import Live

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client(decode_responses=True))
        queue = await stack.enter_async_context(Torrelque(client, queue=queue_name))
        lists = Lists(client, queue, 1)
        live = await stack.enter_async_context(Live(queue, lists, 1))
        slow = await stack.enter_async_context(aclosing(live.frames('ada')))
        quick = await stack.enter_async_context(aclosing(live.frames('ada')))
        for frames in (slow, quick):
            assert (await anext(frames))['tasks'] == []
        records = await lists.start('ada', ['film'])
        live.add('ada', records)
        delivery, _ = await queue.dequeue()
        told: list[dict[str, Any]] = []
        for done in range(10):
            await queue.touch(delivery, progress={'done': done, 'total': 10})
            while not told or (told[-1]['progress'] or {}).get('done') != done:
                told += (await anext(quick))['tasks']
        await queue.release(delivery, result='seen')
        while told[-1]['status'] != 'completed':
            told += (await anext(quick))['tasks']
        (view,) = (await anext(slow))['tasks']
        assert view == told[-1]
        assert [view['id']] == list(records)


async def test_pages_are_live_on_a_server_that_sends_no_notifications(run: Run, plain_server: RealServer) -> None:
    web = await run('--url', plain_server.url, *FAST)
    visitor = await Visitor(web).come()
    await visitor.start('letter', 3)
    await visitor.follow(all_in('completed', count=3))
    assert 'notify-keyspace-events' in web.errors


async def test_stream_says_what_cannot_be_read(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    (task_id,) = await visitor.start('letter')
    await visitor.follow(all_in('pending'))
    with server.sync_client() as client:
        (key,) = client.keys(f'*:task:{task_id}')
        timeout = client.hget(key, 'timeout')
        client.hset(key, 'timeout', '9' * 400)
        frame = await visitor.hear(lambda frame: bool(frame['trouble']))
        assert 'cannot be read' in frame['trouble']
        client.hset(key, 'timeout', timeout)
    await visitor.follow(all_in('pending'))


# By signals


@pytest.mark.first_server
async def test_page_that_takes_nothing_does_not_keep_the_process(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *FAST, '--consumers', 20)
    visitor = await Visitor(web).come()
    with socket.socket() as page:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page.connect(('127.0.0.1', web.port))
        page.sendall(f'GET /events HTTP/1.1\r\nhost: x\r\ncookie: {visitor.cookie}\r\n\r\n'.encode())
        await visitor.start('film', 20)
        await visitor.follow(all_in('completed', count=20))
        await web.stop()
    assert web.errors == ''


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_open_streams_and_the_server(run: Run, number: signal.Signals) -> None:
    web = await run(*SLOW)
    visitor = await Visitor(web).come()
    async with aclosing(visitor.frames()) as frames:
        await anext(frames)
        await visitor.start('film', 10)
        async for frame in frames:
            if any(task['progress'] for task in frame['tasks']):
                break
        await web.stop(number)
        with suppress(asyncio.IncompleteReadError):  # else the stream's proper end
            async for _ in frames:
                pass
    assert web.errors == ''
    with pytest.raises(OSError):
        await asyncio.open_connection('127.0.0.1', web.port)


@pytest.mark.first_server
async def test_consumers_give_back_what_they_hold(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *SLOW)
    visitor = await Visitor(web).come()
    (task_id,) = await visitor.start('film')
    await visitor.follow(lambda tasks: any(task['progress'] for task in tasks.values()))
    await web.stop()
    assert web.errors == ''
    with server.sync_client() as client:
        state = client.hgetall(f'{{web}}:task:{task_id}')
        assert client.lrange('{web}:pending', 0, -1) == [task_id.encode()]
    assert (state[b'dequeue_count'], state[b'forgiven'], state[b'status']) == (b'1', b'1', b'0')


async def test_port_that_is_taken_is_a_message() -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        async with running(WEB, '--port', port) as web:
            assert await asyncio.wait_for(web.process.wait(), LIMIT) == 1
            assert web.errors == (
                f'Cannot listen on port {port} of 127.0.0.1: Address already in use; '
                f'choose another one with --port, such as --port {port + 1}.\n'
            )


@pytest.mark.parametrize('option', ['--url=http://localhost', '--speed=0', '--consumers=-1', '--port=99999'])
async def test_option_that_makes_no_sense_is_a_message(option: str) -> None:
    async with running(WEB, option) as web:
        assert await asyncio.wait_for(web.process.wait(), LIMIT) == 2
        name, _, value = option.partition('=')
        assert re.search(f"argument {name}: invalid \\w+ value: '{value}'\\n", web.errors)


@pytest.mark.first_server
async def test_consumers_in_other_processes_end_with_the_first(run: Run, server: RealServer) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        web = await run('--url', server.url, *FAST, '--processes', 2)
        pids = [int((await web.wait_for(r'process (\d+) has started'))[1]) for _ in range(2)]
        visitor = await Visitor(web).come()
        await visitor.start('letter', 10)
        await visitor.follow(all_in('completed', count=10))
        assert all(map(is_alive, pids))
        if number == signal.SIGTERM:
            await web.stop()
        else:
            web.process.kill()
            await web.process.wait()
        for pid in pids:
            await asyncio.to_thread(wait_end, pid)


@pytest.mark.first_server
async def test_task_of_a_killed_consumer_goes_to_another(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, *SLOW, '--processes', 1)
    pid = int((await web.wait_for(r'process (\d+) has started'))[1])
    visitor = await Visitor(web).come()
    (task_id,) = await visitor.start('letter')
    await visitor.follow(all_in('working'))
    os.kill(pid, signal.SIGKILL)
    await web.wait_for(rf'process {pid} has ended \(-9\)')
    # Its lease ends now rather than in some seconds.
    with server.sync_client() as client:
        client.zadd('{web}:working', {task_id: 1})
    views = await visitor.follow(all_in('completed'))
    assert views[task_id][-1]['attempt'] == 2


@pytest.mark.first_server
async def test_consumers_can_be_started_by_hand(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    await visitor.start('letter', 3)
    await visitor.follow(all_in('pending', count=3))
    async with running(WEB / 'consumer.py', '--url', server.url, *FAST) as consumer:
        await consumer.wait_for('8 consumers on')
        await visitor.follow(all_in('completed', count=3))
        await consumer.stop()
        assert consumer.errors == ''


# In a browser

# Writes down what is to be seen of each task, and each text of the notice.
OBSERVE = """
window.seen = {}
window.notices = []
new MutationObserver(() => {
  const notice = document.getElementById('notice')?.textContent
  if (notice && window.notices.at(-1) !== notice) window.notices.push(notice)
  for (const task of document.querySelectorAll('.task')) {
    const view = {
      status: task.dataset.status,
      label: task.querySelector('.status').textContent,
      detail: task.querySelector('.detail').textContent,
      attempt: task.querySelector('.attempt').textContent,
      error: task.querySelector('.error').textContent,
      done: task.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') ?? null,
      width: task.querySelector('.progress .fill')?.getBoundingClientRect().width ?? null,
    }
    const views = window.seen[task.dataset.id] ??= []
    if (JSON.stringify(views.at(-1)) !== JSON.stringify(view)) views.push(view)
  }
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
"""


@pytest_asyncio.fixture(scope='module', loop_scope='module')
async def browser() -> AsyncIterator[Browser]:
    async with AsyncExitStack() as stack:
        try:
            browser = await stack.enter_async_context(launch())
        except MissingBrowserError as exc:
            pytest.skip(str(exc))
        yield browser


@pytest_asyncio.fixture(loop_scope='module')
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A visitor, with pages that may have no errors."""

    context = await browser.new_context()
    context.set_default_timeout(LIMIT * 1000)
    await context.add_init_script(OBSERVE)
    errors: list[str] = []
    context.on('weberror', lambda error: errors.append(str(error.error)))
    context.on('console', lambda line: errors.append(line.text))
    try:
        yield context
        # The browser reports on its own what cannot be reached, and what is answered with an error.
        assert [error for error in errors if not error.startswith('Failed to load')] == []
    finally:
        await context.close()


async def open_page(context: BrowserContext, web: Web) -> Page:
    page = await context.new_page()
    await page.goto(f'http://127.0.0.1:{web.port}/')
    return page


async def start_on(page: Page, kind: str) -> Locator:
    """Start a task by its button; its place in the list."""

    async with page.expect_response('**/tasks?**') as answer:
        await page.locator(f'button[data-kind={kind}]').click()
    (task_id,) = (await (await answer.value).json())['ids']
    return page.locator(f'.task[data-id="{task_id}"]')


async def reaches(task: Locator, status: str) -> None:
    await task.page.locator(f'.task[data-id="{await id_of(task)}"][data-status={status}]').wait_for()


async def id_of(task: Locator) -> str:
    return str(await task.get_attribute('data-id'))


async def views_of(task: Locator) -> list[dict[str, Any]]:
    """What was to be seen of it, in its order."""

    views: list[dict[str, Any]] = await task.page.evaluate('id => window.seen[id]', await id_of(task))
    return views


async def notices_on(page: Page) -> list[str]:
    notices: list[str] = await page.evaluate('window.notices')
    return notices


def unrepeated(values: list[Any]) -> list[Any]:
    return [value for k, value in enumerate(values) if k == 0 or value != values[k - 1]]


async def test_letter_is_seen_until_it_is_delivered(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    await page.get_by_text('Nothing here yet').wait_for()
    task = await start_on(page, 'letter')
    await reaches(task, 'completed')
    assert not await page.get_by_text('Nothing here yet').is_visible()
    views = await views_of(task)
    statuses = unrepeated([view['status'] for view in views])
    assert statuses[-1] == 'completed'
    assert statuses in (['pending', 'working', 'completed'], ['working', 'completed'])
    assert re.fullmatch(r'Delivered, and signed for · \d\.\d s', views[-1]['detail'])
    assert await task.locator('button').filter(visible=True).count() == 0

    await page.get_by_role('button', name='Clear finished').click()
    await task.wait_for(state='detached')
    await page.get_by_text('Nothing here yet').wait_for()


async def test_payment_is_tried_until_it_is_dead_and_comes_back(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    task = await start_on(page, 'payment')
    await reaches(task, 'dead')
    views = await views_of(task)
    statuses = unrepeated([view['status'] for view in views if view['status'] != 'pending'])
    # What is over between two frames may not be seen, on a machine that has more to do.
    assert statuses[-1] == 'dead'
    assert set(statuses) == {'delayed', 'working', 'dead'}
    attempts = unrepeated([view['attempt'] for view in views if view['attempt']])
    assert attempts == sorted(attempts) and len(attempts) > 2
    assert attempts[-1] == 'attempt 4 of 4' and set(attempts) <= {f'attempt {number} of 4' for number in (1, 2, 3, 4)}
    assert any(re.fullmatch(r'next attempt in \d s', view['detail']) for view in views if view['status'] == 'delayed')
    assert views[-1]['error'] == 'The bank does not answer: 503 Service Unavailable'
    await page.locator('[data-status=dead] >> text="1"').wait_for()

    await task.get_by_role('button', name='Redrive').click()
    await reaches(task, 'completed')
    later = (await views_of(task))[len(views) :]
    assert {view['status'] for view in later} <= {'pending', 'working', 'completed'}
    assert later[-1]['detail'].startswith('Paid, the bank is back')
    assert later[-1]['error'] == ''
    await page.locator('[data-status=dead] >> text="0"').wait_for()


async def test_film_shows_how_far_it_is(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    task = await start_on(page, 'film')
    await reaches(task, 'completed')
    views = [view for view in await views_of(task) if view['done']]
    done = [int(view['done']) for view in views]
    assert done == sorted(done)
    assert len(set(done)) > 2
    assert all(view['detail'] == f'{view["done"]} of 240 frames' for view in views)
    widths = [view['width'] for view in views]
    assert widths[-1] > widths[0]


async def test_working_task_that_is_cancelled_is_let_go(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    # A film takes longer than what is waited for here.
    page = await open_page(context, await run('--url', server.url, '--speed', 0.5))
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    await film.get_by_role('button', name='Cancel').click()
    await reaches(film, 'cancelled')
    await page.locator('#stats [data-status=working] >> text="0"').wait_for()
    async with server.client() as client:
        assert await client.exists('{web}:working', '{web}:tasks') == 0


async def test_delayed_and_dead_tasks_can_be_cancelled(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    for status in ('delayed', 'dead'):
        payment = await start_on(page, 'payment')
        await reaches(payment, status)
        await payment.get_by_role('button', name='Cancel').click()
        await reaches(payment, 'cancelled')
        last = (await views_of(payment))[-1]
        assert (last['error'], last['attempt']) == ('', '')
    await page.locator('#stats [data-status=dead] >> text="0"').wait_for()
    assert await page.get_by_role('button', name=re.compile('^(Cancel|Redrive)')).count() == 0


async def test_buttons_say_why_they_had_no_effect(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, '--consumers', 0))
    task = await start_on(page, 'letter')
    await page.route('**/cancel', lambda route: route.fulfill(status=409, json={'error': 'It is finished already.'}))
    await task.get_by_role('button', name='Cancel').click()
    await page.get_by_role('alert').get_by_text('It is finished already.').wait_for()
    await page.route('**/tasks?**', lambda route: route.abort())
    await page.locator('button[data-kind=film]').click()
    await page.get_by_role('alert').get_by_text('The request did not get through.').wait_for()


async def test_reload_and_a_second_page_show_everything_live(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', server.url, '--speed', 4)
    page = await open_page(context, web)
    letter = await start_on(page, 'letter')
    payment = await start_on(page, 'payment')
    film = await start_on(page, 'film')
    await reaches(letter, 'completed')
    await reaches(payment, 'delayed')
    await film.locator('[role=progressbar]').wait_for()
    order = await page.locator('.task').evaluate_all('tasks => tasks.map(task => task.dataset.id)')
    assert order == [await id_of(task) for task in (film, payment, letter)]

    await page.reload()
    other = await open_page(context, web)
    for shown in (page, other):
        await shown.locator('.task').nth(2).wait_for()
        assert await shown.locator('.task').evaluate_all('tasks => tasks.map(task => task.dataset.id)') == order
    await reaches(letter, 'completed')
    for shown in (page, other):
        await reaches(shown.locator(f'.task[data-id="{order[0]}"]'), 'completed')
        await shown.locator(f'.task[data-id="{order[1]}"]').get_by_text(re.compile('attempt [234] of 4')).wait_for()
    views = await views_of(film)
    assert len(unrepeated([view['done'] for view in views])) > 3

    another = await start_on(other, 'letter')
    await reaches(page.locator(f'.task[data-id="{await id_of(another)}"]'), 'completed')


async def test_many_tasks_at_once(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, '--speed', 20, '--consumers', 40))
    button = page.get_by_role('button', name='Start ten')
    await button.evaluate('button => { for (let k = 0; k < 20; k++) button.click() }')
    await page.locator('.task').nth(199).wait_for()
    busy = ', '.join(f'[data-status={status}]' for status in ('pending', 'working', 'delayed'))
    await page.locator(f'#tasks:not(:has({busy}))').wait_for()
    dead = await page.locator('.task[data-status=dead]').count()
    # The figures are read a few times a second, so they may come after the tasks.
    for status, number in (('pending', 0), ('working', 0), ('delayed', 0), ('dead', dead)):
        await page.locator(f'#stats [data-status={status}] >> text="{number}"').wait_for()
    stats = await page.locator('#stats dd').all_inner_texts()
    assert stats == ['0', '0', '0', str(dead)]


# Connections that are lost


async def test_killed_connections_of_the_queue_are_not_noticed(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *SLOW))
    film, payment = await start_on(page, 'film'), await start_on(page, 'payment')
    await film.locator('[role=progressbar]').wait_for()
    with server.sync_client() as client:
        for kind in ('pubsub', 'normal'):
            assert client.execute_command('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes') > 0
            await film.get_by_text(re.compile('of 240 frames')).wait_for()
    letter = await start_on(page, 'letter')
    await reaches(letter, 'completed')
    await reaches(film, 'completed')
    await payment.get_by_text(re.compile('attempt [234] of 4')).wait_for()
    done = [int(view['done']) for view in await views_of(film) if view['done']]
    assert done == sorted(done)
    assert await notices_on(page) == []


async def test_page_goes_on_when_the_web_process_is_started_again(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', server.url, *SLOW)
    page = await open_page(context, web)
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    await web.stop()
    await page.get_by_text('Connection lost. Reconnecting…').wait_for()
    await run('--url', server.url, *FAST, port=web.port)
    await reaches(film, 'completed')
    assert await notices_on(page) == ['Connection lost. Reconnecting…']
    await page.locator('#notice').wait_for(state='hidden')
    # The attempt that the end of the process had interrupted does not count.
    assert {view['attempt'] for view in await views_of(film)} <= {'', 'attempt 1 of 4'}
    await reaches(await start_on(page, 'letter'), 'completed')


async def test_page_goes_on_when_the_server_is_back(
    run: Run, durable_server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', durable_server.url, *SLOW)
    page = await open_page(context, web)
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    durable_server.stop()
    await page.get_by_text('The server of the queue is away.').wait_for()
    await page.locator('button[data-kind=letter]').click()
    await page.get_by_role('alert').get_by_text('The server of the queue is away.').wait_for()
    # Who comes now is told as well.
    other = await open_page(context, web)
    await other.get_by_text('The server of the queue is away.').wait_for()
    durable_server.start()
    for shown in (page, other):
        await reaches(shown.locator(f'.task[data-id="{await id_of(film)}"]'), 'completed')
        await shown.locator('#notice').wait_for(state='hidden')


# What it looks like


async def test_page_fits_screens_and_fingers(run: Run, server: RealServer, browser: Browser) -> None:
    web = await run('--url', server.url, '--speed', 30)
    visitor = await Visitor(web).come()
    name, _, value = visitor.cookie.partition('=')
    schemes: tuple[Literal['light', 'dark'], ...] = ('light', 'dark')
    cookie: Any = {'name': name, 'value': value, 'url': f'http://127.0.0.1:{web.port}'}
    async with AsyncExitStack() as stack:
        pages = []
        for phone in (False, True):
            context = await browser.new_context(has_touch=phone, is_mobile=phone)
            stack.push_async_callback(context.close)
            await context.add_cookies([cookie])
            pages.append(await open_page(context, web))

        async def check() -> None:
            for page, widths, target in zip(pages, ((768, 1200), (320, 390)), (30, 44), strict=True):
                for width in widths:
                    await page.set_viewport_size({'width': width, 'height': 800})
                    for scheme in schemes:
                        await page.emulate_media(color_scheme=scheme)
                        await check_fit(page, width, scheme == 'light', target)

        for page in pages:
            await page.locator('#empty').wait_for()
        await check()
        await visitor.start('payment')
        await visitor.start('letter')
        for page in pages:
            await page.locator('.task[data-status=completed]').wait_for()
            error = page.locator('.task[data-status=dead] .error')
            await error.evaluate("error => { error.textContent = 'x'.repeat(999) }")
        await check()


async def check_fit(page: Page, width: int, light: bool, target: int) -> None:
    assert await page.evaluate('document.documentElement.scrollWidth') == width
    background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', background))) > 380) == light
    buttons = await page.locator('button:visible, a:visible').evaluate_all("""
        targets => targets.map((target) => {
          const { left, right, width, height } = target.getBoundingClientRect()
          return { left, right, width, height, name: target.ariaLabel ?? target.innerText }
        })""")
    assert len(buttons) >= 5
    for button in buttons:
        assert button['name']
        assert min(button['width'], button['height']) >= target, button
        assert 0 <= button['left'] < button['right'] <= width, button
