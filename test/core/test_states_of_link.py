"""Every request has its end: every event in every state of a link, on the real class, with a transport that is played.

Each walk is a sequence of events; then all is calm: connections are made, and what was sent is answered.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import hiredis
import pytest

from support.playing import walk_all
from support.virtual import run_virtually
from torrelque.aio.link import Link, Request
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.keys import make_keys
from torrelque.protocol.transition import Transition

NOTHING = object()
KEYS = make_keys('q')


class Transport:
    """What the link writes to; the other side is the test."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.closing = False
        self.parser = hiredis.Reader(notEnoughData=NOTHING)
        self.asked = 0
        """Commands that have no reply yet."""

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def resume_reading(self) -> None:
        """It is never paused."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def write(self, data: bytes) -> None:
        self.parser.feed(data)
        while self.parser.gets() is not NOTHING:
            self.asked += 1


class Attempt:
    """A connection of the client library, whose handshake ends as the test says."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.stream = SimpleNamespace(_buffer=bytearray(), _eof=False, exception=lambda: None)
        self._reader: Any = self.stream
        self._writer: Any = SimpleNamespace(transport=self.transport)
        self.made = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        await self.made


class Walk:
    """One link, and what happens to it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.attempts: list[Attempt] = []
        self.cluster = True
        self.client = None
        self.link = Link(self, BOUNDS)
        self.answers: Counter[int] = Counter()
        self.count = 0
        self.is_calm = False
        self.script = Transition('stats', KEYS)

    async def make(self, anew: bool) -> Attempt:
        """As a connector."""
        self.attempts.append(Attempt())
        return self.attempts[-1]

    @property
    def attempt(self) -> Attempt | None:
        last = self.attempts[-1] if self.attempts else None
        return last if last and not last.made.done() else None

    @property
    def transport(self) -> Transport | None:
        transport = self.link._transport
        return cast(Transport, transport) if transport is not None else None

    def submit(self, repeat: bool, scripted: bool) -> None:
        number, self.count = self.count, self.count + 1

        def told(reply: Any, error: Exception | None) -> None:
            self.answers[number] += 1
            if number % 3 == 2:
                raise RuntimeError('a callback that fails harms no other')

        transition, args = (self.script, ['x']) if scripted else (None, ['PING'])
        self.link.submit(Request(transition, args, told, repeat=repeat))

    def say(self, data: bytes) -> None:
        if self.transport and self.transport.asked:
            self.transport.asked -= 1
            self.transport.protocol.data_received(data)

    def connect(self, closing: bool = False, eof: bool = False, rest: bytes = b'') -> None:
        if self.attempt:
            self.attempt.transport.closing = closing
            self.attempt.stream._eof = eof
            self.attempt.stream._buffer += rest
            self.attempt.made.set_result(None)

    # What may happen

    def a_call_comes(self) -> None:
        self.submit(True, True)

    def commands_come(self) -> None:
        """In one turn of the loop: they share a write, but for the first."""
        for _ in range(3):
            number, self.count = self.count, self.count + 1
            self.link.call(None, ['PING']).add_done_callback(functools.partial(self._ended, number))

    def _ended(self, number: int, call: asyncio.Future[Any]) -> None:
        call.exception()
        self.answers[number] += 1

    def commands_come_and_it_is_lost(self) -> None:
        self.commands_come()
        self.it_is_lost()

    def a_block_comes(self) -> None:
        self.submit(False, False)

    def it_connects(self) -> None:
        self.connect()

    def it_connects_and_is_closing(self) -> None:
        self.connect(closing=True)

    def it_connects_and_is_at_its_end(self) -> None:
        self.connect(eof=True)

    def it_does_not_connect(self) -> None:
        if self.attempt:
            self.attempt.made.set_exception(OSError('refused'))

    def a_reply_comes(self) -> None:
        self.say(b'$2\r\nok\r\n')

    def a_part_of_a_reply_comes(self) -> None:
        self.say(b'$2\r\no')

    def an_error_comes(self) -> None:
        self.say(b'-ERR no\r\n')

    def noscript_comes(self) -> None:
        self.say(b'-NOSCRIPT no\r\n')

    def loading_comes(self) -> None:
        self.say(b'-LOADING no\r\n')

    def moved_comes(self) -> None:
        self.say(b'-MOVED 1 a:1\r\n')

    def readonly_comes(self) -> None:
        self.say(b'-READONLY no\r\n')

    def rubbish_comes(self) -> None:
        self.say(b'\x00\xff\r\n')

    def a_reply_too_many_comes(self) -> None:
        self.say(b'+a\r\n' * 9)

    def it_is_lost(self) -> None:
        if self.transport:
            transport = self.transport
            transport.closing = True
            transport.protocol.connection_lost(None)

    # How it ends

    async def calm(self) -> None:
        """Connections are made, and what was sent is answered."""
        if len(self.answers) == self.count:
            # Else nobody comes any more, whose call would make up for what was forgotten.
            self.submit(True, True)
        end = self.loop.time() + 30
        while len(self.answers) < self.count:
            assert self.loop.time() < end, 'a request has no end'
            self.it_connects()
            await asyncio.sleep(0)
            while self.transport and self.transport.asked:
                self.a_reply_comes()
            await asyncio.sleep(0.05)


MOMENT, LONG = 'a moment passes', 'a long time passes'
EVENTS = [
    *(MOMENT, LONG, 'a_call_comes', 'commands_come', 'commands_come_and_it_is_lost'),
    *('a_block_comes', 'it_connects', 'it_connects_and_is_closing'),
    *('it_connects_and_is_at_its_end', 'it_does_not_connect', 'a_reply_comes', 'a_part_of_a_reply_comes'),
    *('an_error_comes', 'noscript_comes', 'loading_comes', 'moved_comes', 'readonly_comes', 'rubbish_comes'),
    *('a_reply_too_many_comes', 'it_is_lost'),
]


async def walk_link(events: Sequence[str]) -> None:
    walk = Walk()
    walk.a_call_comes()
    if len(events) % 2:
        await asyncio.sleep(0)
        walk.it_connects()
    for event in events:
        if event in (MOMENT, LONG):
            await asyncio.sleep(0.3 if event == MOMENT else 4)
        else:
            for _ in range(3):
                await asyncio.sleep(0)
            getattr(walk, event)()
    await walk.calm()
    walk.a_call_comes()
    walk.commands_come()
    walk.link.close()
    await asyncio.sleep(1)
    assert walk.answers == Counter(range(walk.count)), 'a request was answered twice, or not at all'


def test_commands_of_one_turn_share_a_write_but_for_the_first() -> None:
    async def main() -> None:
        walk = Walk()
        walk.a_call_comes()
        while walk.transport is None:
            await asyncio.sleep(0.1)
            walk.it_connects()
        assert walk.transport is not None
        writes, write = [], walk.transport.write
        walk.transport.write = lambda data: writes.append(data) or write(data)  # type: ignore[method-assign, func-returns-value]
        for _ in range(2):
            writes.clear()
            walk.commands_come()
            assert len(writes) == 1
            await asyncio.sleep(0)
            assert writes == [writes[0], 2 * writes[0]]
        await walk.calm()

    run_virtually(main())


@pytest.mark.parametrize('length', [2, pytest.param(3, marks=pytest.mark.long)])
def test_each_request_has_one_end_after_any_events(length: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('CRITICAL')
    assert walk_all(walk_link, itertools.product(EVENTS, repeat=length)) == len(EVENTS) ** length


@pytest.mark.parametrize('walks', [500, pytest.param(5000, marks=pytest.mark.long)])
def test_each_request_has_one_end_after_many_events(walks: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('CRITICAL')
    chance = random.Random(walks)
    assert walk_all(walk_link, (chance.choices(EVENTS, k=chance.randrange(3, 30)) for _ in range(walks))) == walks
