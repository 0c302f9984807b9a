"""Faults by plan: what happens to the line, the server and the consumers of a run, drawn from its seed.

The plan is the same for the same seed.  What it meets is not, because servers and processes run by themselves; so a
seed that found something finds it again often, not always.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import redis

from proof.chaos.damage import DAMAGES, Vandal

LINE = {
    'cut before the server had it': 8.0,
    'cut in the request': 3.0,
    'cut when the server had run it': 8.0,
    'cut in the reply': 6.0,
    'stall in the reply': 3.0,
    'latency of 200 ms': 2.0,
    'black hole, not run': 0.2,
    'black hole, run': 0.2,
    'all lines cut': 0.4,
    'connections refused': 0.3,
}
"""Faults of the line, and how often they are, compared with others."""
SERVER = {
    'SCRIPT FLUSH': 1.5,
    'CLIENT KILL': 1.0,
    'CLIENT KILL of subscribers': 0.6,
    'CLIENT PAUSE': 0.5,
    'server stopped': 0.3,
    'memory full': 0.5,
    'server killed': 0.25,
}
CONSUMERS = {'consumer killed': 0.25, 'consumer stopped beyond its lease': 0.3}
KEYS = dict.fromkeys(DAMAGES, 0.3)
"""What is done to the keys of a task."""


class Step(NamedTuple):
    """A fault of a plan."""

    at: float
    """s from the beginning."""
    kind: str
    size: float
    """How long or how far, from 0 to 1."""


def plan(seed: int, seconds: float, rate: float, kinds: dict[str, float] | None = None) -> list[Step]:
    """Faults of so many seconds, so many each second on average."""
    chance = random.Random(f'plan {seed}')
    weights = kinds or {**LINE, **SERVER, **CONSUMERS, **KEYS}
    steps, at = [], 0.3
    while rate and (at := at + chance.expovariate(rate)) < seconds:
        kind = chance.choices([*weights], [*weights.values()])[0]
        steps.append(Step(at, kind, chance.random()))
    return steps


# The line


class FaultProxy:
    """Forwards a unix socket, or a port of this machine, to a server's socket, and does what it is ordered to.

    :param translate: what is made of what the server says.
    """

    def __init__(
        self,
        target: str,
        path: str,
        counts: Counter[str],
        port: int | None = None,
        translate: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.path = path
        self.port = port
        self.translate = translate
        self.lines: set[_Line] = set()
        self.most = 0
        """Lines that there were at once."""
        self._target = target
        self._counts = counts
        self._orders: deque[Step] = deque()
        self._refusing_until = 0.0
        self._listener: asyncio.AbstractServer | None = None

    async def __aenter__(self) -> FaultProxy:
        if self.port is None:
            self._listener = await asyncio.start_unix_server(self._serve, self.path)
        else:
            self._listener = await asyncio.start_server(self._serve, '127.0.0.1', self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for line in [*self.lines]:
            line.cut()
        while self.lines:
            await asyncio.sleep(0.01)

    def order(self, step: Step) -> None:
        """Do this, to what passes next where it is about something that passes."""
        if step.kind == 'all lines cut':
            self._counts[step.kind] += 1
            for line in [*self.lines]:
                line.cut()
        elif step.kind == 'connections refused':
            self._refusing_until = asyncio.get_running_loop().time() + 0.1 + step.size / 2
        else:
            self._orders.append(step)

    def calm(self) -> None:
        """Faults over: all that was spoilt is cut."""
        self._orders.clear()
        self._refusing_until = 0
        for line in [*self.lines]:
            if line.is_ill:
                line.cut()

    def next_order(self) -> Step | None:
        return self._orders.popleft() if self._orders else None

    def did(self, step: Step) -> None:
        """Count a fault, which has happened now."""
        self._counts[step.kind] += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._refusing_until:
            self._counts['connections refused'] += 1
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(self, reader, writer, server_reader, server_writer)
        self.lines.add(line)
        self.most = max(self.most, len(self.lines))
        try:
            await line.run()
        finally:
            self.lines.discard(line)


class _Line:
    """One connection through the proxy."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client = reader, writer
        self._server = server_reader, server_writer
        self._fate: Step | None = None
        self._hole = False
        self._slow_until = 0.0

    @property
    def is_ill(self) -> bool:
        return self._hole or self._fate is not None or self._slow_until > 0

    def cut(self) -> None:
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def run(self) -> None:
        pumps = [asyncio.ensure_future(self._pump_requests()), asyncio.ensure_future(self._pump_replies())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump_requests(self) -> None:
        writer = self._server[1]
        with contextlib.suppress(OSError):
            while data := await self._client[0].read(1 << 20):
                await self._be_slow()
                if self._hole:
                    continue
                if self._fate is None and (step := self._proxy.next_order()):
                    if step.kind == 'cut before the server had it':
                        self._proxy.did(step)
                        return
                    if step.kind == 'cut in the request':
                        self._proxy.did(step)
                        writer.write(data[: int(len(data) * step.size)])
                        await writer.drain()
                        return
                    if step.kind == 'black hole, not run':
                        self._proxy.did(step)
                        self._hole = True
                        continue
                    if step.kind == 'latency of 200 ms':
                        self._proxy.did(step)
                        self._slow_until = asyncio.get_running_loop().time() + 0.2 + 2 * step.size
                    else:
                        self._fate = step
                writer.write(data)
                await writer.drain()

    async def _pump_replies(self) -> None:
        writer = self._client[1]
        with contextlib.suppress(OSError):
            while data := await self._server[0].read(1 << 20):
                data = self._proxy.translate(data)
                await self._be_slow()
                if self._hole:
                    continue
                step, self._fate = self._fate, None
                part = b''
                if step is not None:
                    self._proxy.did(step)
                    if step.kind == 'cut when the server had run it':
                        return
                    if step.kind == 'black hole, run':
                        self._hole = True
                        continue
                    part = data[: int(len(data) * step.size)]
                    writer.write(part)
                    await writer.drain()
                    if step.kind == 'cut in the reply':
                        return
                    await asyncio.sleep(0.1 + step.size)
                writer.write(data[len(part) :])
                await writer.drain()

    async def _be_slow(self) -> None:
        if self._slow_until:
            if asyncio.get_running_loop().time() < self._slow_until:
                await asyncio.sleep(0.1)
            else:
                self._slow_until = 0


class Lines:
    """Several proxies as one: what is ordered happens to one that has lines, or to all of them."""

    def __init__(self, proxies: Sequence[FaultProxy], chance: random.Random) -> None:
        self._proxies = proxies
        self._chance = chance

    def order(self, step: Step) -> None:
        """See `FaultProxy.order`."""
        # What nothing passes would keep it until something does, as a replica's before it takes over.
        busy = [proxy for proxy in self._proxies if proxy.lines]
        if busy:
            self._chance.choice(busy).order(step)

    def calm(self) -> None:
        """See `FaultProxy.calm`."""
        for proxy in self._proxies:
            proxy.calm()


# The server, the consumers


class Server(Protocol):
    """What is done to a server; `servers.RealServer` is one."""

    @property
    def pid(self) -> int: ...
    def kill(self) -> None: ...
    def start(self) -> Any: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Prey(Protocol):
    """Consumers in processes of their own, to be killed and stopped."""

    async def kill_one(self, number: float) -> bool: ...
    def pid_of_one(self, number: float) -> int | None: ...


class Storm:
    """Carries a plan out, and leaves all in order.

    :param others: what else is done, by kinds of steps that only the caller knows.
    """

    def __init__(
        self,
        proxy: FaultProxy | Lines,
        server: Server,
        admin: Any,
        prey: Prey,
        vandal: Vandal | None,
        counts: Counter[str],
        lease: float,
        others: Mapping[str, Callable[[float], Awaitable[bool]]] | None = None,
    ) -> None:
        self._others = others or {}
        self._proxy = proxy
        self._server = server
        self._admin = admin
        self._prey = prey
        self._vandal = vandal
        self._counts = counts
        self._lease = lease
        self._server_is_ill = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def rage(self, steps: list[Step], seconds: float) -> None:
        """Do the steps at their times, for so long; at the end nothing is spoilt any more."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for step in steps:
            await asyncio.sleep(max(0.0, began + step.at - loop.time()))
            if step.kind in LINE:
                self._proxy.order(step)
            else:
                task = asyncio.ensure_future(self._strike(step))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        await asyncio.sleep(max(0.0, began + seconds - loop.time()))
        await asyncio.gather(*self._tasks)
        self._proxy.calm()
        await self._admin_says('CONFIG', 'SET', 'maxmemory', '0')

    async def _strike(self, step: Step) -> None:
        if step.kind in CONSUMERS:
            done = await self._strike_consumer(step)
        elif step.kind in KEYS:
            done = self._vandal is not None and await self._vandal.damage(step.kind)
        elif step.kind in self._others:
            done = await self._others[step.kind](step.size)
        else:
            done = await self.strike_server(step.kind, step.size)
        if done:
            self._counts[step.kind] += 1

    async def strike_server(self, kind: str, size: float) -> bool:
        """Do something to the server, unless something else is being done to it; whether it was done."""
        if self._server_is_ill.locked():
            return False
        async with self._server_is_ill:
            return await _STRIKES[kind](self, size)

    async def _strike_consumer(self, step: Step) -> bool:
        if step.kind == 'consumer killed':
            return await self._prey.kill_one(step.size)
        pid = self._prey.pid_of_one(step.size)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._lease * (1.1 + step.size))
            os.kill(pid, signal.SIGCONT)
        return True

    async def _admin_says(self, *words: str) -> bool:
        for _ in range(5):
            try:
                await self._admin.execute_command(*words)
                return True
            except redis.ConnectionError:
                await asyncio.sleep(0.05)
            except redis.ResponseError:
                return False
        return False

    async def _flush(self, size: float) -> bool:
        return await self._admin_says('SCRIPT', 'FLUSH')

    async def _kill_clients(self, size: float) -> bool:
        return await self._admin_says('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    async def _kill_subscribers(self, size: float) -> bool:
        return await self._admin_says('CLIENT', 'KILL', 'TYPE', 'pubsub')

    async def _pause(self, size: float) -> bool:
        return await self._admin_says('CLIENT', 'PAUSE', str(int(100 + 700 * size)), 'ALL')

    async def _stop(self, size: float) -> bool:
        self._server.pause()
        await asyncio.sleep(0.2 + size)
        self._server.resume()
        return True

    async def _fill_memory(self, size: float) -> bool:
        # One byte, so that all that needs memory is refused.
        done = await self._admin_says('CONFIG', 'SET', 'maxmemory', '1')
        await asyncio.sleep(0.1 + 0.4 * size)
        return await self._admin_says('CONFIG', 'SET', 'maxmemory', '0') and done

    async def _refuse_writes(self, size: float) -> bool:
        # As a primary does that has too few replicas.
        done = await self._admin_says('CONFIG', 'SET', 'min-replicas-to-write', '1')
        await asyncio.sleep(0.1 + 0.4 * size)
        return await self._admin_says('CONFIG', 'SET', 'min-replicas-to-write', '0') and done

    async def _kill_server(self, size: float) -> bool:
        await asyncio.to_thread(self._server.kill)
        await asyncio.sleep(size / 5)
        await asyncio.to_thread(self._server.start)
        return True


_STRIKES: dict[str, Callable[[Storm, float], Awaitable[bool]]] = {
    'SCRIPT FLUSH': Storm._flush,
    'CLIENT KILL': Storm._kill_clients,
    'CLIENT KILL of subscribers': Storm._kill_subscribers,
    'CLIENT PAUSE': Storm._pause,
    'server stopped': Storm._stop,
    'memory full': Storm._fill_memory,
    'writes refused': Storm._refuse_writes,
    'server killed': Storm._kill_server,
}
