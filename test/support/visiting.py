"""The web example in processes of its own, and a visitor who speaks plain HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest_asyncio

import torrelque

WEB = Path(__file__).parents[2] / 'example' / 'web'
PACKAGE = Path(torrelque.__file__).parent
# Attempts last a tenth of a second, the payment's back-off is 0.2, 0.4 and 0.8 s.
FAST = ('--speed', 10)
# There is time to do something in the middle of a task.
SLOW = ('--speed', 5)
LIMIT = 90
"""s after which something that is waited for is missing."""


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
