"""A shelf, or several, whose server and links are played, and time that passes at once.

A test says which events come, in any order; then all is calm, everything is answered, and whoever waits must come to an
end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import pytest

from support.virtual import StandstillError, run_virtually
from torrelque import TorrelqueConnectionError, TorrelqueTaskId, TorrelqueTimeoutError
from torrelque.aio.link import Link, Request
from torrelque.aio.shelf import Shelf
from torrelque.aio.waiters import Waiters
from torrelque.codec import JSON
from torrelque.protocol.calls import Calls
from torrelque.protocol.refusals import server_error

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


class PlayedLink:
    """A link of which the test says what becomes of each request; they come to the server in their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connected = self.established = True
        self.silence = 0
        self.trouble = TimeoutError('played')
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

    def __init__(self, number: int = 0) -> None:
        self.tasks: list[int] = []
        self.due: list[int] = []
        self.bell = False
        self.number = number
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


class PlayedShard:
    """A shelf, those who wait for its tasks, and what happens to both; it is as good as a queue object for whoever asks
    for these."""

    def __init__(self, number: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.link, self.bell, self.played = PlayedLink(loop), PlayedLink(loop), Played(1000 * number)
        self.shelf = Shelf(
            cast(Link, self.link), cast(Link, self.bell), Calls('q', JSON, None), self.give_back,
            lambda task_id, token, error: None,
        )  # fmt: skip
        self.waiters = self.shelf.demand = Waiters(self.shelf)

    def _started(self) -> PlayedShard:
        return self

    def give_back(self, task_ids: Sequence[TorrelqueTaskId]) -> None:
        self.played.tasks += [int(task_id[1:]) for task_id in task_ids]
        self.played.bell = True

    def step(self, blocked: float) -> float:
        """Answer what is on its way, and the bell where it rings or has been listened at for a block."""
        while self.link.sent:
            self.a_call_is_answered()
        if not self.bell.sent:
            return 0
        if self.played.bell or blocked >= BLOCK or self.bell.sent[0].args[0] == 'COMMAND':
            self.the_bell_answers()
        return blocked + STEP

    # What may happen

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


class Walk:
    """What happens to those who wait for the tasks of some shards, and to these."""

    def __init__(self, count: int = 1, front: Callable[[Any], Any] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.shards = [PlayedShard(number) for number in range(count)]
        self.at = self.shards[0]
        """The shard to which something happens."""
        self.front = self.at.waiters if front is None else front(self.shards)
        self.waiting: list[asyncio.Task[Any]] = []

    def join(self, timeout: float | None = None, wanted: int = 1) -> None:
        self.waiting.append(self.loop.create_task(self.front.fetch(timeout, wanted)))

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

    async def happen(self, event: str, number: int = 0) -> None:
        """Have something happen, at a shard if it is not to those who wait."""
        self.at = self.shards[number]
        if event == PASSING:
            await asyncio.sleep(0.3)
        else:
            await asyncio.sleep(0)
            getattr(self if hasattr(self, event) else self.at, event)()
        await asyncio.sleep(0)

    async def end(self) -> None:
        """All is answered; for a while nothing is there, then there is a task for each who waits."""
        if all(one.done() for one in self.waiting):
            # Else nobody comes any more, whose call would make up for what was forgotten.
            self.join()
            await asyncio.sleep(0)
        await self.calm()
        taken = [str(task_id) for one in self.waiting for task_id in _taken_by(one)]
        assert len(taken) == len(set(taken)), 'a task was handed out twice'

    async def calm(self) -> None:
        end, blocked, comes = self.loop.time() + 5, [0.0] * len(self.shards), 0
        while self.loop.time() < end or any(not one.done() for one in self.waiting):
            assert self.loop.time() < end + 30, 'somebody waits for ever'
            if self.loop.time() >= end and not any(shard.played.tasks for shard in self.shards):
                comes += 1
                self.shards[comes % len(self.shards)].played.put()
            for k, shard in enumerate(self.shards):
                blocked[k] = shard.step(blocked[k])
            await asyncio.sleep(STEP)


def _taken_by(one: asyncio.Task[Any]) -> list[TorrelqueTaskId]:
    if one.cancelled() or isinstance(one.exception(), (TorrelqueTimeoutError, TorrelqueConnectionError)):
        return []
    if one.exception() is not None:
        assert 'ERR no' in str(one.exception())
        return []
    return [task_id for task_id, _ in one.result()]


def walk_all(walk: Callable[[Any], Any], walks: Iterable[Sequence[Any]]) -> int:
    count = 0
    bad: list[tuple[Sequence[Any], str]] = []
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
