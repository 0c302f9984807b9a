"""Lines to a server that are cut, reset, half closed, muted and delayed at any moment, also in their handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from typing import Any

FATES = {
    'fine': 50.0,
    'cut at once': 4.0,
    'closed behind its handshake': 8.0,
    'cut after some replies': 14.0,
    'cut in a reply': 5.0,
    'closed by one side after some replies': 6.0,
    'mute': 2.0,
    'mute after some replies': 2.0,
    'slow': 5.0,
    'cut while it waits': 8.0,
    'cut with the ring': 5.0,
}
"""What becomes of a connection, and how often, compared with others."""
STRIKES = {
    'one cut': 6.0,
    'all of a client cut': 4.0,
    'all cut': 1.0,
    'refused for a while': 1.0,
    'all mute, then cut': 0.5,
    'all cut, and again behind their handshakes': 1.0,
}
"""What happens to what is there, and how often."""
HANDSHAKE = 2
"""Replies of a handshake that say OK: to the name and to the version of the client library."""
ILL = ('mute', 'mute after some replies', 'closed by one side after some replies')


class Cutter:
    """Forwards a number of addresses, one for each client, to the unix socket of a server."""

    def __init__(self, target: str, home: str, count: int, seed: int, is_tcp: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.chance = random.Random(f'cutter {seed}')
        self.is_raging = True
        self.refusing_until = 0.0
        self.closing_until = 0.0
        """Until then each new connection is closed right behind its handshake."""
        self.target = target
        self.addresses: list[dict[str, Any]] = []
        """How a client connects, as keywords of redis-py."""
        self.lines: set[Line] = set()
        self._home = home
        self._count = count
        self._is_tcp = is_tcp
        self._listeners: list[asyncio.AbstractServer] = []

    async def __aenter__(self) -> Cutter:
        for place in range(self._count):

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: int = place) -> None:
                await self._serve(reader, writer, place)

            if self._is_tcp:
                listener = await asyncio.start_server(serve, '127.0.0.1', 0)
                self.addresses.append({'host': '127.0.0.1', 'port': listener.sockets[0].getsockname()[1]})
            else:
                path = f'{self._home}/cutter{place}.sock'
                listener = await asyncio.start_unix_server(serve, path)
                self.addresses.append({'unix_socket_path': path})
            self._listeners.append(listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()
        for line in [*self.lines]:
            line.cut()
        while self.lines:
            await asyncio.sleep(0.01)

    async def rage(self, seconds: float, rate: float) -> None:
        """Strike for so long, so often each second."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (pause := self.chance.expovariate(rate)) < end - loop.time():
            await asyncio.sleep(pause)
            await self._strike(self.chance.choices([*STRIKES], [*STRIKES.values()])[0])
        await asyncio.sleep(max(0.0, end - loop.time()))
        if self.chance.random() < 0.4:
            # The worst that may come last.
            await self._strike('all cut, and again behind their handshakes')

    def calm(self, leaves_ill: bool) -> None:
        """Nothing more is spoilt; what is mute is cut, or left so, for its client to find out."""
        self.is_raging = False
        self.refusing_until = self.closing_until = 0.0
        for line in [*self.lines]:
            if line.fate in ILL:
                if not leaves_ill:
                    line.cut()
            else:
                line.fate = 'fine'

    async def _strike(self, kind: str) -> None:
        chance, lines = self.chance, [*self.lines]
        self.counts[kind] += 1
        if kind == 'refused for a while':
            self.refusing_until = asyncio.get_running_loop().time() + chance.random() / 2
        elif kind == 'all mute, then cut':
            for line in lines:
                line.fate = 'mute'
            await asyncio.sleep(chance.random() / 2)
        elif kind == 'all cut, and again behind their handshakes':
            self.closing_until = asyncio.get_running_loop().time() + 0.3
        elif kind == 'all of a client cut':
            place = chance.randrange(self._count)
            lines = [line for line in lines if line.place == place]
        elif kind == 'one cut':
            lines = [chance.choice(lines)] if lines else []
        for line in lines:
            line.cut()
        if kind == 'all cut, and again behind their handshakes':
            await asyncio.sleep(0.3)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: int) -> None:
        fate = 'fine'
        if self.is_raging:
            fate = self.chance.choices([*FATES], [*FATES.values()])[0]
            if asyncio.get_running_loop().time() < self.refusing_until:
                fate = 'cut at once'
            elif asyncio.get_running_loop().time() < self.closing_until:
                fate = 'closed behind its handshake'
        self.counts[fate] += 1
        if fate == 'cut at once':
            reset(writer)
            return
        try:
            server = await asyncio.open_unix_connection(self.target)
        except OSError:
            reset(writer)
            return
        line = Line(self, place, fate, (reader, writer), server)
        self.lines.add(line)
        try:
            await line.run()
        finally:
            self.lines.discard(line)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; a TCP connection so that its other side sees a reset."""
    sock = writer.get_extra_info('socket')
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    writer.transport.abort()


End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Line:
    """One connection through the cutter."""

    def __init__(self, cutter: Cutter, place: int, fate: str, client: End, server: End) -> None:
        self.place = place
        self.fate = fate
        self._chance = cutter.chance
        self._client = client
        self._server = server
        # In its handshake, right behind it, or later.
        self._fine = 0
        self._replies = cutter.chance.choice([1, 1, 2, 2, 3, 4, 6, 10])
        self._is_waiting = False
        self._is_half = False

    def cut(self) -> None:
        """Abruptly, or in order, as it happens."""
        for _, writer in (self._client, self._server):
            if self._chance.random() < 0.5:
                reset(writer)
            else:
                writer.transport.abort()

    async def run(self) -> None:
        pumps = [asyncio.ensure_future(self._pump_requests()), asyncio.ensure_future(self._pump_replies())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for _, writer in (self._client, self._server):
                # One that was closed in order stays so.
                if not writer.transport.is_closing():
                    reset(writer)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump_requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._client[0].read(1 << 20):
                await self._be_slow()
                if self.fate == 'mute' or self._is_half:
                    continue
                self._is_waiting = b'BLPOP' in data
                self._server[1].write(data)
                await self._server[1].drain()
                if self._is_waiting and self.fate == 'cut while it waits':
                    await asyncio.sleep(self._chance.choice([0, 0.001, 0.01, 0.1, 0.5]))
                    if self.fate == 'cut while it waits':
                        return

    async def _pump_replies(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._server[0].read(1 << 20):
                await self._be_slow()
                if self.fate == 'mute' or self._is_half:
                    continue
                if self.fate == 'cut with the ring' and self._is_waiting:
                    return
                self._replies -= 1
                self._fine += data.count(b'+OK\r\n')
                if self.fate == 'closed behind its handshake' and self._fine >= HANDSHAKE:
                    self._client[1].write(data)
                    self._client[1].close()
                    return
                is_last = self._replies <= 0
                if is_last and self.fate == 'cut in a reply':
                    self._client[1].write(data[: self._chance.randrange(len(data))])
                    await self._client[1].drain()
                    return
                self._client[1].write(data)
                await self._client[1].drain()
                if is_last and self.fate == 'cut after some replies':
                    await asyncio.sleep(self._chance.choice([0, 0, 0.001, 0.01]))
                    return
                if is_last and self.fate == 'mute after some replies':
                    self.fate = 'mute'
                if is_last and self.fate == 'closed by one side after some replies':
                    self._is_half = True
                    self._client[1].write_eof()

    async def _be_slow(self) -> None:
        if self.fate == 'slow':
            await asyncio.sleep(self._chance.random() / 10)
