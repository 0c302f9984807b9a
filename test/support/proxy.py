"""A faulty line to a server: connections that are cut, requests and replies that are lost, silence."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hiredis
import redis.asyncio

if TYPE_CHECKING:
    from support.servers import RealServer

_MISSING = object()

Part = bytes | tuple[bytes, ...]
"""What a request has in it, or one of several."""


def has_part(data: bytes, part: Part) -> bool:
    return any(one in data for one in ((part,) if isinstance(part, bytes) else part))


def calls_of(name: str) -> tuple[bytes, bytes]:
    """What each call of a transition has in it: the hash of its script, or the text."""
    from torrelque.protocol.scripts import load_script

    script = load_script(name)
    return script.sha, script.text


class Gate:
    """Something on its way that is held until the gate opens."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    def open(self) -> None:
        self.opened.set()


class Proxy:
    """Forwards a unix socket to a server's; made by `open_proxy`."""

    def __init__(self, server: RealServer, path: str) -> None:
        self.path = path
        self.silent = False
        """Whether replies are held back, for ever."""
        self.refusing = False
        """Whether new connections are closed at once."""
        self.lie: bytes | None = None
        """What is said to each request in the server's stead, if anything is; the server does not see it."""
        self.lie_to = b''
        """What a request has in it that is lied to; all are."""
        self.drip = 0.0
        """s from one byte of a lie to the next."""
        self.requests: list[bytes] = []
        """All chunks that clients sent."""
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._muted: list[Part] = []
        self._hold_request: list[Gate] = []
        self._hold_reply: list[Gate] = []
        self._lose_request: list[Part] = []
        self._lose_reply: list[Part] = []
        self._spoilt: list[tuple[Part, bytes]] = []

    def client(self, **options: Any) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(unix_socket_path=self.path, **options)

    def lose_request(self, part: Part) -> None:
        """Cut the connection of the next request that has this part, before the server sees it."""
        self._lose_request.append(part)

    def lose_reply(self, part: Part) -> None:
        """Cut the connection of the next request that has this part, when the server has carried it out."""
        self._lose_reply.append(part)

    def hold_request(self, part: Part) -> Gate:
        """Keep the next request that has this part from the server until the gate is opened."""
        self._hold_request.append(Gate(part))
        return self._hold_request[-1]

    def hold_reply(self, part: Part) -> Gate:
        """Keep the reply to the next request that has this part from the client until the gate is opened."""
        self._hold_reply.append(Gate(part))
        return self._hold_reply[-1]

    def mute(self, part: Part) -> None:
        """Say nothing more, without closing it, over the connection of the next request that has this part."""
        self._muted.append(part)

    def spoil(self, part: Part, reply: bytes) -> None:
        """Answer each request that has this part by these bytes, and not by what the server says."""
        self._spoilt.append((part, reply))

    @property
    def lossless(self) -> bool:
        """Whether all that was to be lost, or muted, was."""
        return not self._lose_request and not self._lose_reply and not self._muted

    def calm(self) -> None:
        """Nothing more is to be lost, or held."""
        for ordered in (self._lose_request, self._lose_reply, self._hold_request, self._hold_reply):
            ordered.clear()
        self._spoilt.clear()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._server.socket)
        line = _Line(self)
        self._writers |= {writer, server_writer}
        tasks = [
            asyncio.ensure_future(line.forward(reader, server_writer, True, writer)),
            asyncio.ensure_future(line.forward(server_reader, writer, False, server_writer)),
        ]
        self._tasks |= set(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, server_writer):
            end.transport.abort()
        await asyncio.wait(tasks)
        self._tasks -= set(tasks)
        self._writers -= {writer, server_writer}

    def take(self, parts: list[Part], data: bytes) -> bool:
        for part in parts:
            if has_part(data, part):
                parts.remove(part)
                return True
        return False

    def take_gate(self, gates: list[Gate], data: bytes) -> Gate | None:
        for gate in gates:
            if has_part(data, gate.part):
                gates.remove(gate)
                gate.arrived.set()
                return gate
        return None


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.doomed = False
        self.muted = False
        self.gate: Gate | None = None
        self.spoilt = b''

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bool, back: asyncio.StreamWriter
    ) -> None:
        parser = hiredis.Reader(notEnoughData=_MISSING)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                if request:
                    self.proxy.requests.append(data)
                    if self.proxy.lie is not None and self.proxy.lie_to in data:
                        parser.feed(data)
                        while parser.gets() is not _MISSING:
                            await self.lie(self.proxy.lie, back)
                        continue
                    if self.proxy.take(self.proxy._lose_request, data):
                        return
                    self.doomed = self.doomed or self.proxy.take(self.proxy._lose_reply, data)
                    self.muted = self.muted or self.proxy.take(self.proxy._muted, data)
                    self.gate = self.proxy.take_gate(self.proxy._hold_reply, data) or self.gate
                    for part, reply in self.proxy._spoilt:
                        if has_part(data, part):
                            self.spoilt = reply
                    if gate := self.proxy.take_gate(self.proxy._hold_request, data):
                        await gate.opened.wait()
                elif self.doomed:
                    return
                elif self.gate is not None:
                    await self.gate.opened.wait()
                    self.gate = None
                elif self.proxy.silent or self.muted:
                    await asyncio.Event().wait()
                if not request and self.spoilt:
                    data, self.spoilt = self.spoilt, b''
                writer.write(data)
                await writer.drain()


    async def lie(self, lie: bytes, writer: asyncio.StreamWriter) -> None:
        if not self.proxy.drip:
            writer.write(lie)
        for n in range(len(lie) if self.proxy.drip else 0):
            writer.write(lie[n : n + 1])
            await asyncio.sleep(self.proxy.drip)


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
