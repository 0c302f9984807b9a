"""A process that is supervised, as the one that supervises it sees it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Listener = Callable[['Child', Mapping[str, Any]], None]

GRACE = 15.0
"""s that a process has to end after it was told to hurry: longer than a worker takes to give back what it has."""

SHOWING = 0.5
"""s in which a process that is about to be killed shows where it stands still."""

MOST = 2**26
"""Bytes of what a process tells at a time, at the most: the names of all files of an application are one line."""


class Child:
    """A process, from its start to its end; `start` makes one."""

    pid: int
    began: float
    """When it was started, by the event loop's clock."""
    heard: float
    """When it has told something for the last time."""
    asked: bool
    """Whether it was told to stop."""
    ready: bool
    """Whether it has told that it takes tasks."""
    failed: int | None
    """The exit code of a failure that the process itself has seen and shown, if there was one."""
    state: Mapping[str, Any] | None
    """What it has told last of its worker, if it was to tell of it."""
    stuck: bool
    """Whether it is about to be killed, because its event loop stands still."""
    up: asyncio.Event
    """Set when it is ready, or has ended."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listener: Listener,
    ) -> None:
        self.pid, self.began = process.pid, asyncio.get_running_loop().time()
        self.heard = self.began
        self.asked, self.ready, self.stuck = False, False, False
        self.failed, self.state = None, None
        self.up = asyncio.Event()
        self._process, self._reader, self._writer, self._listener = process, reader, writer, listener
        self._end = asyncio.ensure_future(self._live())

    @classmethod
    async def start(cls, command: Sequence[str], listener: Listener) -> 'Child':
        """Start a process.  When this is cancelled there is none, or it ends by itself, as it is held by nobody.

        :param listener: called with each thing that the process tells of itself.
        """
        ours, theirs = socket.socketpair()
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MOST)
            try:
                process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno())
            except BaseException:
                writer.close()
                raise
        finally:
            theirs.close()
        return cls(process, reader, writer, listener)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return not self._end.done()

    async def ended(self) -> int:
        """Wait for its end, as several may; the exit code, negative where a signal has ended it."""
        return await asyncio.shield(self._end)

    def on_end(self, call: 'Callable[[Child], object]') -> None:
        """Have a function called with this when the process has ended."""
        self._end.add_done_callback(lambda _: call(self))

    def stop(self) -> None:
        """Have it finish what is in hand, and end."""
        self.asked = True
        self._say(b'stop\n')

    def hurry(self) -> None:
        """Have it give back what is in hand, and end; it is killed where it does not."""
        self.asked = True
        self._say(b'hurry\n')
        asyncio.get_running_loop().call_later(GRACE, self._kill)

    def replace(self) -> None:
        """Kill it, because its event loop stands still, when it has written down where."""
        self.stuck = True
        self._say(b'stuck\n')
        asyncio.get_running_loop().call_later(SHOWING, self._kill)

    def _say(self, word: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(word)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _live(self) -> int:
        """Hear what it tells until it ends."""
        listening = asyncio.ensure_future(self._listen())
        try:
            code = await self._process.wait()
            # What it has told last is in the socket, whose other end is closed.
            await asyncio.wait([listening], timeout=1)
        finally:
            listening.cancel()
            self._writer.close()
            self.up.set()
        return code

    async def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while line := await self._reader.readline():
                self.heard = asyncio.get_running_loop().time()
                try:
                    words = json.loads(line)
                except ValueError:
                    continue  # signs of life, of which one was cut because there was no room for it
                if 'ready' in words:
                    self.ready = True
                    self.up.set()
                self.failed = words.get('failed', self.failed)
                self.state = words.get('state', self.state)
                self._listener(self, words)
