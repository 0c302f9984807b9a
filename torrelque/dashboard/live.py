"""Pages that stay up to date: one sampler for all who look at the same, and a stream of server-sent events for each.

What is sent are the parts of a page that have changed, as the page has them.  A stream ends by itself before long, and
the browser opens another: so whatever has changed of what a visitor may see is heeded, no proxy has to keep it open,
and a server that is to stop does not wait.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import suppress

import redis.exceptions

from torrelque import TorrelqueError

logger = logging.getLogger('torrelque.dashboard')

LENGTH = 25.0
"""s after which a stream ends."""
ROOM = 16
"""Frames that wait for a viewer who does not take them, before the stream is cut."""
MOST = 500
"""Streams of a dashboard at the most."""
AWAY = 'The server of the queue is away. Waiting for it…'
FAILED = 'This page has failed; the log of the dashboard tells more.'

_AGE = re.compile(r'(<time\b[^>]*\bdata-since="[^"]*"[^>]*>)[^<]*')
"""An age, which the page counts on by itself."""

Parts = Mapping[str, str]
"""Parts of a page by their ids, as HTML."""


class Topic:
    """What some viewers look at: it is read again and again, for as long as there is one."""

    def __init__(self, read: Callable[[], Awaitable[tuple[float, Parts]]], every: float) -> None:
        # Legend.  _frames: queues of those who look on.  _parts: what was sent last, and how it is compared.
        # _away: why nothing comes, if so.
        self._read = read
        self._every = every
        self._frames: set[asyncio.Queue[str | None]] = set()
        self._parts: dict[str, tuple[str, str]] = {}
        self._now = 0.0
        self._away = ''
        self.task = asyncio.ensure_future(self._follow())

    @property
    def idle(self) -> bool:
        """Whether nobody looks on."""
        return not self._frames

    def add(self) -> 'asyncio.Queue[str | None]':
        """Somebody looks on: what comes is put into this, and None if it is not taken out of it."""
        frames: asyncio.Queue[str | None] = asyncio.Queue(ROOM)
        self._frames.add(frames)
        if self._away:
            frames.put_nowait(_frame(self._now, {}, self._away))
        elif self._parts:
            frames.put_nowait(_frame(self._now, {name: html for name, (html, _) in self._parts.items()}))
        return frames

    def remove(self, frames: 'asyncio.Queue[str | None]') -> None:
        """Somebody is gone."""
        self._frames.discard(frames)

    async def _follow(self) -> None:
        while True:
            try:
                self._now, parts = await self._read()
            except redis.exceptions.ConnectionError:
                self._tell(AWAY)
            except (TorrelqueError, redis.exceptions.RedisError) as exc:
                logger.debug('a page could not be read: %s', exc)
            except Exception:
                if self._away != FAILED:
                    logger.exception('a page has failed')
                self._tell(FAILED)
            else:
                back, self._away = self._away, ''
                masked = {name: (html, _AGE.sub(r'\1', html)) for name, html in parts.items()}
                known = {} if back else self._parts
                changed = {name: it[0] for name, it in masked.items() if known.get(name, ('', ''))[1] != it[1]}
                self._parts = masked
                if changed:
                    self._send(_frame(self._now, changed))
            await asyncio.sleep(self._every)

    def _tell(self, away: str) -> None:
        """Say once why nothing comes."""
        if self._away != away:
            self._away = away
            self._send(_frame(self._now, {}, away))

    def _send(self, frame: str) -> None:
        for frames in [*self._frames]:
            if frames.full():
                # Whoever does not take what comes opens another stream, and begins anew.
                self._frames.discard(frames)
                _end(frames)
            else:
                frames.put_nowait(frame)


class Sampler:
    """The topics that somebody looks at."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, Topic] = {}
        self._closed = False
        self._streams: set[asyncio.Queue[str | None]] = set()

    async def follow(
        self,
        name: Hashable,
        every: float,
        read: Callable[[], Awaitable[tuple[float, Parts]]],
        until: Callable[[], Awaitable[None]],
    ) -> AsyncGenerator[str, None]:
        """Frames of a topic, each as JSON, for a while.

        :param name: what is looked at; whoever looks at the same gets what the first one reads.
        :param every: from one look to the next (s).
        :param read: reads when it is now by the server, and the parts of the page.
        :param until: returns when the server is to stop.
        """
        if self._closed or self.full:
            # Others may have come since somebody asked whether there is room.
            return
        topic = self._topics.get(name)
        if topic is None or topic.task.done():
            topic = self._topics[name] = Topic(read, every)
        frames = topic.add()
        self._streams.add(frames)
        stop = asyncio.ensure_future(until())
        stop.add_done_callback(lambda _: _end(frames))
        end = asyncio.get_running_loop().time() + LENGTH
        try:
            while (left := end - asyncio.get_running_loop().time()) > 0:
                try:
                    frame = await asyncio.wait_for(frames.get(), left)
                except asyncio.TimeoutError:
                    return
                if frame is None:
                    return
                yield frame
        finally:
            stop.cancel()
            self._streams.discard(frames)
            topic.remove(frames)
            if topic.idle and self._topics.get(name) is topic:
                del self._topics[name]
                topic.task.cancel()

    @property
    def full(self) -> bool:
        """Whether there are as many streams as there may be."""
        return len(self._streams) >= MOST

    def close(self) -> None:
        """End all streams, and open none any more."""
        self._closed = True
        for frames in self._streams:
            _end(frames)

    async def aclose(self) -> None:
        """The same, and wait until nothing is read any more."""
        self.close()
        topics = [*self._topics.values()]
        self._topics.clear()
        for topic in topics:
            topic.task.cancel()
            with suppress(asyncio.CancelledError):
                await topic.task


def _end(frames: 'asyncio.Queue[str | None]') -> None:
    """Have a stream end, whatever waits in it."""
    while frames.full():
        frames.get_nowait()
    frames.put_nowait(None)


def _frame(now: float, parts: Parts, away: str = '') -> str:
    return json.dumps({'now': now, 'parts': parts, 'away': away}, separators=(',', ':'))
