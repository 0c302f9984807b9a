"""Whoever waits is served: every event in every state of a shelf, and of a link, on the real classes.

The server and the link are played, and time passes at once.  Each walk is a sequence of events, all sequences of a
length are walked; then all is calm, everything is answered, and whoever waits must come to an end.  The guard, which
would help where something was forgotten, is asleep.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import pytest

from support.virtual import StandstillError, run_virtually
from torrelque import TorrelqueConnectionError, TorrelqueTaskId, TorrelqueTimeoutError
from torrelque.aio import guard
from torrelque.aio.link import Link, Request
from torrelque.aio.shelf import Shelf
from torrelque.aio.waiters import Waiters
from torrelque.codec import JSON
from torrelque.protocol.calls import Calls
from torrelque.protocol.refusals import server_error


class PlayedLink:
    """A link of which the test says what becomes of each request; they come to the server in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connected = self.established = True
        self.silence = 0
        self.sent: list[Request] = []

    def submit(self, request: Request) -> None:
        self.sent.append(request)

    def keep_watch(self) -> None:
        """There is no timer."""

    def has(self, request: Request) -> bool:
        return request in self.sent

    def close(self) -> None:
        sent, self.sent = self.sent, []
        for request in sent:
            self.loop.call_soon(request.callback, None, TorrelqueConnectionError('closed'))

    def tell(self, reply: Any, error: Exception | None = None) -> None:
        self.sent.pop(0).callback(reply, error)


class Played:
    """A queue, as far as a shelf can tell: tasks that are there, tasks that are due, the bell, records of claims."""

    def __init__(self) -> None:
        self.tasks: list[int] = []
        self.due: list[int] = []
        self.bell = False
        self.number = 0
        self.records: dict[str, list[int]] = {}

    def put(self) -> None:
        self.number += 1
        self.tasks.append(self.number)
        self.bell = True

    def fall_due(self) -> None:
        self.number += 1
        self.due.append(self.number)

    def run(self, request: Request) -> Any:
        """Carry a call out; its reply."""
        if request.transition is None:
            if request.args[0] == 'COMMAND':
                return [None]
            return 1
        if request.transition.name == 'sweep':
            moved, self.due = self.due, []
            self.tasks += moved
            self.bell = self.bell or bool(moved)
            return [b'ok', 0, len(moved), 0, 0, []]
        if request.transition.name == 'leave':
            self.bell = bool(self.tasks or self.due)
            return b'ok'
        record, wanted = str(request.args[1]), int(request.args[2])
        if request.resent and record in self.records:
            given = self.records[record]
        else:
            given, self.tasks = self.tasks[:wanted], self.tasks[wanted:]
            if given:
                self.records[record] = given
        self.bell = bool(self.tasks)
        reply: list[Any] = [b'ok', b'1000.000', 0 if self.due else None, int(bool(self.tasks)), [], []]
        for number in given:
            reply += [f't{number}'.encode(), b'1', 1, 60_000]
        return reply


class Walk:
    """One shelf, those who wait for its tasks, and what happens to both."""

    def __init__(self) -> None:
        self.loop = loop = asyncio.get_running_loop()
        self.link, self.bell, self.played = PlayedLink(loop), PlayedLink(loop), Played()
        self.taken: list[str] = []
        self.waiters = Waiters(Shelf(
            cast(Link, self.link), cast(Link, self.bell), Calls('q', JSON, None), self.give_back,
            lambda task_id, token, error: None,
        ))  # fmt: skip
        self.waiting: list[asyncio.Task[Any]] = []

    def give_back(self, task_ids: Sequence[TorrelqueTaskId]) -> None:
        self.played.tasks += [int(task_id[1:]) for task_id in task_ids]
        self.played.bell = True

    def join(self, timeout: float | None = None, wanted: int = 1) -> None:
        self.waiting.append(self.loop.create_task(self.waiters.fetch(timeout, wanted)))

    # What may happen

    def joins(self) -> None:
        self.join()

    def joins_for_a_moment(self) -> None:
        self.join(0.25)

    def looks(self) -> None:
        self.join(0)

    def wants_many(self) -> None:
        self.join(None, 3)

    def leaves(self) -> None:
        for one in self.waiting:
            if not one.done():
                one.cancel()
                return

    def a_task_comes(self) -> None:
        self.played.put()

    def two_tasks_come(self) -> None:
        self.played.put()
        self.played.put()

    def a_task_is_due(self) -> None:
        self.played.fall_due()

    def a_call_is_answered(self) -> None:
        if self.link.sent:
            self.link.tell(self.played.run(self.link.sent[0]))

    def a_reply_is_lost(self) -> None:
        if self.link.sent:
            self.played.run(self.link.sent[0])
            self.link.tell(None, TorrelqueConnectionError('lost'))

    def a_call_is_refused(self) -> None:
        if self.link.sent:
            self.link.tell(None, server_error('NOREPLICAS not enough'))

    def a_call_fails(self) -> None:
        if self.link.sent:
            self.link.tell(None, server_error('ERR no'))

    def rubbish_is_answered(self) -> None:
        if self.link.sent:
            self.played.run(self.link.sent[0])
            self.link.tell([b'ok', 1])

    def the_bell_answers(self) -> None:
        if self.bell.sent:
            if self.bell.sent[0].args[0] == 'COMMAND':
                self.bell.tell([None])
            elif self.played.bell:
                self.played.bell = False
                self.bell.tell([b'bell', b'1'])
            else:
                self.bell.tell(None)

    def the_bell_is_lost(self) -> None:
        if self.bell.sent:
            self.bell.tell(None, TorrelqueConnectionError('lost'))

    def the_bell_is_lost_with_its_ring(self) -> None:
        if self.bell.sent:
            self.played.bell = False
            self.bell.tell(None, TorrelqueConnectionError('lost'))

    def the_bell_tells_rubbish(self) -> None:
        if self.bell.sent:
            self.bell.tell(b'what')

    # How it ends

    async def calm(self) -> None:
        """All is answered; for a while nothing is there, then there is a task for each who waits."""
        end, blocked = self.loop.time() + 5, 0.0
        while self.loop.time() < end or any(not one.done() for one in self.waiting):
            assert self.loop.time() < end + 30, 'somebody waits for ever'
            if self.loop.time() >= end and not self.played.tasks:
                self.played.put()
            while self.link.sent:
                self.a_call_is_answered()
                await asyncio.sleep(0)
            blocked = blocked + STEP if self.bell.sent else 0.0
            if self.bell.sent and (self.played.bell or blocked >= BLOCK or self.bell.sent[0].args[0] == 'COMMAND'):
                self.the_bell_answers()
            await asyncio.sleep(0 if self.link.sent else STEP)


STEP = 0.1
BLOCK = 2.0
PASSING = 'some time passes'
EVENTS = [
    PASSING,
    *('joins', 'joins_for_a_moment', 'looks', 'wants_many', 'leaves'),
    *('a_task_comes', 'two_tasks_come', 'a_task_is_due', 'a_call_is_answered', 'a_reply_is_lost', 'a_call_is_refused'),
    *('a_call_fails', 'rubbish_is_answered', 'the_bell_answers', 'the_bell_is_lost', 'the_bell_is_lost_with_its_ring'),
    'the_bell_tells_rubbish',
]


async def walk_shelf(events: Iterable[str]) -> None:
    walk = Walk()
    walk.join()
    for event in events:
        if event == PASSING:
            await asyncio.sleep(0.3)
        else:
            await asyncio.sleep(0)
            getattr(walk, event)()
        await asyncio.sleep(0)
    if all(one.done() for one in walk.waiting):
        # Else nobody comes any more, whose call would make up for what was forgotten.
        walk.join()
        await asyncio.sleep(0)
    await walk.calm()
    taken = [str(task_id) for one in walk.waiting for task_id in _taken_by(one)]
    assert len(taken) == len(set(taken)), 'a task was handed out twice'


def _taken_by(one: asyncio.Task[Any]) -> list[TorrelqueTaskId]:
    if one.cancelled() or isinstance(one.exception(), (TorrelqueTimeoutError, TorrelqueConnectionError)):
        return []
    if one.exception() is not None:
        assert 'ERR no' in str(one.exception())
        return []
    return [task_id for task_id, _ in one.result()]


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard does not look, nor does its clock keep the loop from standing still."""
    monkeypatch.setattr(guard.Guard, 'begin', lambda self: None)


def walk_all(walk: Callable[[Sequence[str]], Any], walks: Iterable[Sequence[str]]) -> int:
    count = 0
    bad: list[tuple[Sequence[str], str]] = []
    for events in walks:
        count += 1
        try:
            run_virtually(walk(events))
        except StandstillError:
            bad.append((events, 'somebody waits for ever'))
        except Exception as exc:
            bad.append((events, repr(exc)))
    if bad:
        pytest.fail(f'{len(bad)} of {count} walks, first {bad[0]}', pytrace=False)
    return count


@pytest.mark.parametrize('length', [2, pytest.param(3, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_any_events(asleep: None, length: int) -> None:
    assert walk_all(walk_shelf, itertools.product(EVENTS, repeat=length)) == len(EVENTS) ** length


@pytest.mark.parametrize('walks', [500, pytest.param(5000, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_many_events(asleep: None, walks: int) -> None:
    chance = random.Random(walks)
    assert walk_all(walk_shelf, (chance.choices(EVENTS, k=chance.randrange(3, 30)) for _ in range(walks))) == walks


def test_what_came_due_during_a_claim_is_claimed_when_it_was_swept(asleep: None) -> None:
    """The claim was sent before the sweep, and had nothing of what it brought back; nobody listens at the bell then."""

    async def play() -> None:
        walk = Walk()
        walk.join()
        await asyncio.sleep(0)
        soon, now = 100_000, 0
        walk.link.tell([b'ok', b'1000.000', soon, 0, [], []])
        walk.the_bell_answers()
        walk.played.bell = True
        walk.the_bell_answers()
        await asyncio.sleep(0.3)
        assert [request.transition and request.transition.name for request in walk.link.sent] == ['claim', 'sweep']
        walk.link.tell([b'ok', b'1000.200', now, 0, [], []])
        assert not walk.bell.sent
        walk.link.tell([b'ok', 0, 1, 0, 0, [], [], 0, 0, 0])
        assert [request.transition and request.transition.name for request in walk.link.sent] == ['claim']
        await walk.calm()

    run_virtually(play())
