"""The pages keep their word: their code runs, what they show is what a server has, and what they list is complete.

The blocks of a page run in its order and in one namespace, as if typed into ``python -m asyncio``;
`redis.asyncio.Redis()` or `redis.Redis()` without arguments is a client of the test's server.  A console block is a
list of `redis-cli` commands with what they print, compared but for ids and times, in its place between the Python
blocks.  ``REDIS_URL`` names the test's server, too.  A picture is a text block of lines ``key  before  now``: what the
key had at the last picture that showed it, and what it has.  A comment above a block says where it is different:

    <!-- test: 30 s later -->             first the time of every delayed task and the end of every lease come nearer
    <!-- test: program -->                runs by itself, as a file, with the server's URL as REDIS_URL, to its end
    <!-- test: program until SIGTERM -->  the same, and gets the signal while it works on the tasks of queue 'email'
    <!-- test: needs NAME -->             runs alone, where the package is installed
    <!-- test: cluster -->                runs alone, RedisCluster(host=…, port=…) is a client of three nodes
    <!-- test: sentinel -->               runs alone, Sentinel([…]) is a client of a Sentinel that watches 'main'
    <!-- test: not run: WHY -->           is not run
    <!-- test: picture -->                is a picture of keys of the page's `queue`
    <!-- test: file NAME -->              is a part of a story, as whatever else `support.story` tells of
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel

import torrelque
import torrelque.sync
from support import story
from support.servers import RealServer
from support.topology import Cluster, Sentinel
from torrelque.protocol.keys import make_keys

ROOT = Path(__file__).parents[2]
FOLDERS = ('', 'howto', 'reference', 'decisions')
PAGES = [ROOT / 'README.md', *(path for folder in FOLDERS for path in sorted((ROOT / 'docs' / folder).glob('*.md')))]

_FENCE = re.compile(r'^(?:<!-- test: (?P<how>[^\n]*?) -->\n+)?```(?P<language>\w+)\n(?P<code>.*?)^```$', re.M | re.S)
_HOW = re.compile(
    r'picture|\d+ s later|program|program until SIGTERM|needs \w+|cluster|sentinel|not run: \w+ \w+ .*|'
    + story.HOW.pattern
)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    how: str
    code: str

    def __str__(self) -> str:
        return f'{name_of(self.page)}:{self.line}'


def name_of(page: Path) -> str:
    return page.relative_to(page.parent if page.parent == ROOT else ROOT / 'docs').with_suffix('').as_posix()


def read_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _FENCE.finditer(text):
        line = text.count('\n', 0, match.start('code')) + 1
        if match['how'] or match['language'] in ('python', 'console'):
            yield Block(page, line, match['language'], match['how'] or '', match['code'])


Change = Callable[[tuple[Any, ...], dict[str, Any]], None]
BLOCKS = [block for page in PAGES for block in read_blocks(page)]
RUNNING_PAGES = sorted({block.page for block in BLOCKS if not block.how or block.how.endswith('later')})
_WATCHES = re.compile(r'\.(?:watch|wait|result|wait_result|cancel)\(|Worker\(')
"""In the code of those who watch tasks; a worker watches, too."""
WATCHING_PAGES = [page for page in RUNNING_PAGES if any(_WATCHES.search(block.code) for block in read_blocks(page))]


def marked(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('block', [block for block in BLOCKS if block.how.startswith(kind)], ids=str)


async def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block; a traceback has the page's lines."""
    source = '\n' * (block.line - 1) + block.code
    code = compile(source, str(block.page), 'exec', flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        await result


async def close(namespace: dict[str, Any]) -> None:
    """What a reader does by leaving the prompt."""
    kinds = (torrelque.Torrelque, redis.asyncio.Redis, redis.asyncio.RedisCluster)
    clients = [value for kind in kinds for value in namespace.values() if isinstance(value, kind)]
    for value in namespace.values():
        if isinstance(value, redis.asyncio.sentinel.Sentinel):
            clients += value.sentinels
    for client in clients:
        await client.aclose()
    for value in namespace.values():
        if isinstance(value, (torrelque.sync.Torrelque, redis.Redis)):
            value.close()


def redirect(monkeypatch: pytest.MonkeyPatch, kind: type, change: Change) -> None:
    """Let the arguments with which a page makes its client be changed into those of the test's server."""
    init: Callable[..., None] = kind.__init__  # type: ignore[misc]

    def changed(self: object, *args: Any, **kwargs: Any) -> None:
        change(args, kwargs)
        init(self, *args, **kwargs)

    monkeypatch.setattr(kind, '__init__', changed)


@pytest.mark.first_server
@pytest.mark.parametrize('page', RUNNING_PAGES, ids=name_of)
async def test_blocks_of_a_page_run(page: Path, server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await run_page(page, server, monkeypatch)


@pytest.mark.parametrize('page', WATCHING_PAGES, ids=name_of)
@pytest.mark.long
async def test_blocks_of_a_page_run_on_a_server_that_sends_no_notifications(
    page: Path, plain_server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_page(page, plain_server, monkeypatch)


def test_pages_that_watch_are_known() -> None:
    names = {'primitive', 'tutorial', 'worker', 'tasks', 'coming-from', 'watching'}
    assert names <= {*map(name_of, WATCHING_PAGES)}


async def run_page(page: Path, server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def default(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not args and not kwargs.keys() - {'decode_responses', 'protocol', 'retry'}:
            kwargs['unix_socket_path'] = server.socket

    redirect(monkeypatch, redis.asyncio.Redis, default)
    redirect(monkeypatch, redis.Redis, default)
    monkeypatch.setenv('REDIS_URL', server.url)
    namespace: dict[str, Any] = {'__name__': '__main__'}
    shown: dict[str, str] = {}
    try:
        for block in read_blocks(page):
            if block.how.endswith('later'):
                come_nearer(server, 1000 * int(block.how.split()[0]))
            if block.how == 'picture':
                check_picture(block, server, namespace['queue'], shown)
            elif block.language == 'console' and not block.how:
                check_console(block, server, namespace)
            elif not block.how or block.how.endswith('later'):
                await run(block, namespace)
    finally:
        await close(namespace)


def come_nearer(server: RealServer, milliseconds: int) -> None:
    """Let time pass for the tasks: a test does not wait for half a minute."""
    with server.sync_client() as client:
        for key in [key for pattern in ('*:delayed', '*:working') for key in client.keys(pattern)]:
            for task_id in client.zrange(key, 0, -1):
                client.zincrby(key, -milliseconds, task_id)


# Console blocks

_VOLATILE = re.compile(r'\b(?:[0-9a-f]{32}|[0-9a-f]{15}|\d{13})\b')


def check_console(block: Block, server: RealServer, namespace: dict[str, Any]) -> None:
    """Run the commands of a console block and compare what they print."""
    for part in re.split(r'(?m)^\$ redis-cli ', block.code)[1:]:
        command, _, shown = part.partition('\n')
        words = [re.sub(r'[0-9a-f]{32}', str(namespace.get('task_id')), word) for word in shlex.split(command)]
        with server.sync_client(protocol=2) as client:
            printed = list(printed_lines(raw_reply(client, words)))
        expected = shown.splitlines()
        if words[0] == 'keys':
            # Their order is the server's affair, and a claim's record is there for a tenth of a second.
            printed = sorted(line for line in printed if ':claim:' not in line) or ['(empty array)']
            expected.sort(key=lambda line: line.partition(') ')[2])
            expected = [line.partition(') ')[2] or line for line in expected]
            expected.sort()
        else:
            expected = [re.sub(r'^ *\d+\) ', '', line) for line in expected]
        assert [steady(line) for line in printed] == [steady(line) for line in expected], f'{block}: {command}'


def raw_reply(client: Any, words: list[str]) -> Any:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def printed_lines(reply: Any) -> Iterator[str]:
    """As redis-cli prints it, without the numbers of the lines."""
    if isinstance(reply, list):
        for item in reply:
            yield from printed_lines(item)
        if not reply:
            yield '(empty array)'
    elif isinstance(reply, bytes):
        yield json.dumps(reply.decode())
    else:
        yield f'(integer) {reply}'


def steady(line: str) -> str:
    return _VOLATILE.sub(lambda match: f'<{len(match[0])}>', line)


# Pictures

_SHOWN: dict[str, Callable[[Any, str], list[str]]] = {
    'none': lambda client, key: [],
    'string': lambda client, key: [client.get(key)],
    'list': lambda client, key: client.lrange(key, 0, -1),
    'hash': lambda client, key: sorted(':'.join(item) for item in client.hgetall(key).items()),
    'zset': lambda client, key: [f'{name}:{score:.0f}' for name, score in client.zrange(key, 0, -1, withscores=True)],
}


def check_picture(block: Block, server: RealServer, queue: torrelque.Torrelque, shown: dict[str, str]) -> None:
    """Compare the lines of a picture with the keys; ``shown`` is what each had before."""
    for line in block.code.splitlines()[1:]:
        name, before, now = re.split(r' {2,}', line)
        assert before == shown.get(name, '-'), f'{block}: {line}'
        shown[name] = picture_of(server, queue, name)
        assert now == shown[name], f'{block}: {line}'


def picture_of(server: RealServer, queue: torrelque.Torrelque, name: str) -> str:
    kind, _, rest = name.partition(':')
    key = ':'.join(filter(None, [queue.keys[kind], rest]))
    with server.sync_client(decode_responses=True) as client:
        items = _SHOWN[client.type(key)](client, key)
    if name in ('working', 'delayed'):
        items = [item.rpartition(':')[0] for item in items]
    return ' '.join(items) or '-'


# Blocks that run alone


@marked('needs ')
async def test_block_that_needs_a_package(
    block: Block, server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(block.how.split()[1])
    for kind in (redis.asyncio.Redis, redis.Redis):
        redirect(monkeypatch, kind, lambda args, kwargs: kwargs.update(unix_socket_path=server.socket))
    await run_alone(block)


@pytest.mark.first_server
@marked('cluster')
async def test_block_on_a_cluster(block: Block, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect(
        monkeypatch,
        redis.asyncio.RedisCluster,
        lambda args, kwargs: kwargs.update(host='127.0.0.1', port=cluster.ports[0]),
    )
    await run_alone(block)


@pytest.mark.first_server
@marked('sentinel')
async def test_block_on_a_sentinel(block: Block, sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch) -> None:
    init: Callable[..., None] = redis.asyncio.sentinel.Sentinel.__init__

    def changed(self: Any, addresses: object, **kwargs: Any) -> None:
        init(self, [('127.0.0.1', sentinel.sentinel.port)], **kwargs)

    monkeypatch.setattr(redis.asyncio.sentinel.Sentinel, '__init__', changed)
    await run_alone(block)


async def run_alone(block: Block) -> None:
    namespace: dict[str, Any] = {'__name__': '__main__'}
    try:
        await run(block, namespace)
    finally:
        await close(namespace)


@pytest.mark.first_server
@marked('program')
def test_program(block: Block, server: RealServer, tmp_path: Path) -> None:
    path = tmp_path / 'program.py'
    path.write_text(block.code)
    places = [str(Path(torrelque.__file__).parent.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    env = {**os.environ, 'REDIS_URL': server.url, 'PYTHONPATH': os.pathsep.join(places)}
    endless = block.how.endswith('SIGTERM')
    if endless:
        asyncio.run(fill(server, 1000))
    process = subprocess.Popen([sys.executable, '-W', 'error', str(path)], env=env)
    try:
        if endless:
            wait_until_busy(server, process, 1000)
            process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    with server.sync_client(decode_responses=True) as client:
        if endless:
            # What it did not finish it gave back.
            keys = make_keys('email')
            assert client.zcard(keys['working']) == 0
            assert client.llen(keys['pending']) == client.hlen(keys['tasks']) > 0
        else:
            # Final states stay for their time.
            assert [key for key in client.keys('*') if client.ttl(key) < 0] == []


async def fill(server: RealServer, count: int) -> None:
    async with server.client() as client, torrelque.Torrelque(client, queue='email') as queue:
        await queue.enqueue_many({'addr': 'joe@doe.com'} for _ in range(count))


def wait_until_busy(server: RealServer, process: subprocess.Popen[bytes], count: int) -> None:
    deadline = time.monotonic() + 60
    with server.sync_client() as client:
        while client.hlen(make_keys('email')['tasks']) == count:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize('block', [block for block in BLOCKS if block.how], ids=str)
def test_marker_is_one_that_is_known(block: Block) -> None:
    assert _HOW.fullmatch(block.how)


def test_no_page_is_overlooked() -> None:
    found = {path for path in (ROOT / 'docs').rglob('*.md') if '_build' not in path.parts}
    assert found == {*PAGES} - {ROOT / 'README.md'}


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_no_block_and_no_marker_is_overlooked(page: Path) -> None:
    text = page.read_text()
    blocks = list(read_blocks(page))
    code = [block for block in blocks if block.language in ('python', 'console')]
    assert len(re.findall(r'(?m)^\s*(?:`{3,}|~{3,}) *(?:python|py|pycon|console)\b', text)) == len(code)
    assert text.count('<!-- test') == sum(bool(block.how) for block in blocks)
