"""A faulty line to a server: connections that are cut, requests and replies that are lost, silence."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio

from servers import RealServer


class Proxy:
    """Forwards a unix socket to a server's; made by `open_proxy`."""

    def __init__(self, server: RealServer, path: str) -> None:
        self.path = path
        self.silent = False
        """Whether replies are held back, for ever."""
        self.refusing = False
        """Whether new connections are closed at once."""
        self.requests: list[bytes] = []
        """All chunks that clients sent."""
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lose_request: list[bytes] = []
        self._lose_reply: list[bytes] = []

    def client(self, **options: Any) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(unix_socket_path=self.path, **options)

    def lose_request(self, part: bytes) -> None:
        """Cut the connection of the next request that has this part, before the server sees it."""
        self._lose_request.append(part)

    def lose_reply(self, part: bytes) -> None:
        """Cut the connection of the next request that has this part, when the server has carried it out."""
        self._lose_reply.append(part)

    @property
    def lossless(self) -> bool:
        """Whether all that was to be lost was lost."""
        return not self._lose_request and not self._lose_reply

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._server.socket)
        line = _Line(self, writer, server_writer)
        self._writers |= {writer, server_writer}
        tasks = [
            asyncio.ensure_future(line.forward(reader, server_writer, True)),
            asyncio.ensure_future(line.forward(server_reader, writer, False)),
        ]
        self._tasks |= set(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, server_writer):
            end.transport.abort()
        await asyncio.wait(tasks)
        self._tasks -= set(tasks)
        self._writers -= {writer, server_writer}

    def take(self, parts: list[bytes], data: bytes) -> bool:
        for part in parts:
            if part in data:
                parts.remove(part)
                return True
        return False


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.doomed = False

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                if request:
                    self.proxy.requests.append(data)
                    if self.proxy.take(self.proxy._lose_request, data):
                        return
                    self.doomed = self.doomed or self.proxy.take(self.proxy._lose_reply, data)
                elif self.doomed:
                    return
                elif self.proxy.silent:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def open_proxy(server: RealServer) -> AsyncIterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix='trq') as home:
        proxy = Proxy(server, str(Path(home) / 'proxy.sock'))
        listener = await asyncio.start_unix_server(proxy.serve, proxy.path)
        try:
            yield proxy
        finally:
            listener.close()
            proxy.cut()
            for task in list(proxy._tasks):
                task.cancel()
            await asyncio.sleep(0.01)
