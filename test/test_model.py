"""Any order of calls, time, lost replies and crashes, on a real server, beside a model of the queue.

The calls go through the public door.  What they send is seen on the line, carried out by the model too, and compared
with what the server replies; after each step all keys of the queue are compared with those of the model.  The server's
clock is replaced in the scripts, at their one line that reads it, so time stands still until the machine moves it, and
hours cost nothing.  Bounds that are in the hundreds are lowered, so that a few tasks reach them.

`TORRELQUE_STEPS` is how many steps are taken on each server, from random seeds then; `TORRELQUE_SEED` is the first.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import logging
import math
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, note, seed, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import torrelque
from invariants import check_keys
from model import (
    BLOCK,
    HOLES,
    SHORT_LIST,
    SHORT_TURNS,
    Bury,
    Call,
    Cancel,
    Enqueue,
    Given,
    Limit,
    Model,
    Release,
    Requeue,
    Sweep,
    Touch,
    read_call,
)
from model_checks import (
    BUCKET_LIFE,
    DUMP,
    Seen,
    check_handed_out,
    check_limits,
    check_one_at_a_time,
    check_prediction,
    read_dump,
)
from model_groups import WORKING
from servers import RealServer
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskStatus as Status, bulk, fetch, protocol, sweep
from torrelque.link import Link, Request
from torrelque.session import Plan

FULL = int(os.environ.get('TORRELQUE_STEPS', '0'))
STEPS = FULL or 20_000
EXAMPLES = 100
EXAMPLE_STEPS = 50
START = 1_700_000_000_000
CLOCK = 'clock'
OWN_IDS = ['a', 'b', 'c', 'ü 1']
GROUPS = ['a', 'b', 'ü:1']

# Bounds of calls and claims, lowered.
BULK_TASKS = 4
BULK_BYTES = 30
SWEEP_TASKS = 2
WALK = 2
GROUPED = 5

SCRIPT_CHANGES = {
    "local time = redis.call('TIME')": (
        f"local clock = redis.call('GET', '{CLOCK}') "
        'local time = {math.floor(clock / 1000), clock % 1000 * 1000}'
    ),
    "redis.call('LLEN', pending) <= 500": f"redis.call('LLEN', pending) <= {SHORT_LIST}",
    "redis.call('LLEN', turns) <= 500": f"redis.call('LLEN', turns) <= {SHORT_TURNS}",
    'holed < 200': f'holed < {HOLES}',
    "'PX', full)": f"'PX', full + {BUCKET_LIFE})",
}


def check_once(call: Call, before: Seen, after: Seen, first: Any, again: Any, late: bool) -> None:
    """Sent again before anything else happened, a call changes nothing but the bell, and answers as it did."""
    if call.name == 'touch':
        # The deadline is the same where the clock stood still; a lease may have been moved twice in the call.
        assert after._replace(bell=[], working={}, lives={}) == before._replace(bell=[], working={}, lives={})
    else:
        if late and call.name == 'enqueue' and after.seq and before.seq and (after.seq - before.seq) % 2 == 0:
            # Numbers were drawn once more, and not used; it is the same side's turn.
            after = after._replace(seq=before.seq)
        assert after._replace(bell=[], lives={}) == before._replace(bell=[], lives={})
    if late:
        return  # Nobody reads its answer.
    if call.name == 'claim':
        assert again.tasks == first.tasks
    elif call.name == 'release':
        for one, other in zip(first, again, strict=True):
            # What is gone was released by the first sending, as far as one can tell.
            assert answer(other) or not answer(one)
    elif call.name != 'leave':
        assert again == first


# The line


class Sent(NamedTuple):
    """A call that was sent, and what came back."""

    transition: protocol.Transition
    args: Sequence[str | bytes]
    reply: Any

    def read(self) -> Call:
        return read_call(self.transition.name, self.args)


class Door:
    """What the test has changed in the package while it runs."""

    def __init__(self) -> None:
        self.log: list[Sent] = []
        self.steps = 0
        self.restart()

    def restart(self) -> None:
        self.log.clear()
        self._ids = itertools.count()

    def urandom(self, size: int) -> bytes:
        return hashlib.sha1(b'%d' % next(self._ids)).digest()[:size]

    def open(self, server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
        load, submit = protocol.load_script, Link.submit
        missing = set(SCRIPT_CHANGES)

        @functools.cache
        def load_script(name: str) -> protocol.Script:
            text = load(name).text.decode()
            for old, new in SCRIPT_CHANGES.items():
                if old in text:
                    missing.discard(old)
                    text = text.replace(old, new)
            return protocol.Script(text.encode(), hashlib.sha1(text.encode()).hexdigest().encode())

        def record(link: Link, request: Request) -> None:
            callback = request.callback

            def called(reply: Any, error: Exception | None) -> None:
                if request.transition is not None and error is None:
                    self.log.append(Sent(request.transition, request.args, reply))
                callback(reply, error)

            request.callback = called
            submit(link, request)

        monkeypatch.setattr(protocol, 'load_script', load_script)
        with server.sync_client() as client:
            for name in Plan.NAMES:
                # A server that does not know a script makes a call late, behind what was sent after it.
                client.script_load(load_script(name).text)
        assert not missing
        monkeypatch.setattr(Link, 'submit', record)
        # Ids, and so their order, are the same in each run of a machine.
        monkeypatch.setattr(os, 'urandom', self.urandom)
        monkeypatch.setattr(protocol, 'FEW', WALK)
        for module in (protocol, bulk):
            monkeypatch.setattr(module, 'GROUPED', GROUPED)
        monkeypatch.setattr(bulk, 'BULK', BULK_TASKS)
        monkeypatch.setattr(bulk, 'BULK_BYTES', BULK_BYTES)
        monkeypatch.setattr(fetch, 'BULK', BULK_TASKS)
        monkeypatch.setattr(fetch, 'BULK_BYTES', BULK_BYTES)
        monkeypatch.setattr(fetch, 'SWEEP', SWEEP_TASKS)
        monkeypatch.setattr(sweep, 'SWEEP', SWEEP_TASKS)
        # Nothing shall happen by real time.
        monkeypatch.setattr(fetch, 'GRACE', 1e6)
        monkeypatch.setattr(fetch, 'ACKNOWLEDGE', 1e6)
        monkeypatch.setattr(logging.getLogger('torrelque'), 'disabled', True)


# Who calls


class Consumer:
    """A consumer on a line of its own that may wait at the bell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.unacknowledged = ''
        self.wakes: int | None = None
        """When it wakes by itself, where it waits at the bell."""


# What is drawn

values = st.one_of(st.integers(0, 9), st.text('xyz', max_size=25))
leases = st.sampled_from([None, None, 0, 0.001, 0.5, 2, 2.001, 10, 300, 1e6])
delays = st.sampled_from([None, None, 0, 0.001, 0.5, 2, 2.001, 30])
attempts = st.sampled_from([None, None, 1, 2, 3])
errors = st.sampled_from([None, '', 'bad', 'wörse'])
final = st.sampled_from([Status.COMPLETED, Status.REJECTED, Status.CANCELLED])
lives = st.sampled_from([None, 0, 600, 7200])
indexes = st.integers(0, 40)
holders = st.tuples(st.sampled_from(['current'] * 5 + ['stale'] * 2 + ['working', 'plain']), indexes)
queues = st.integers(0, 2)
group_names = st.sampled_from(GROUPS)
priorities = st.sampled_from([0] * 6 + [1, 1, -1, -1, 7, 100, -100])
ranks = st.tuples(st.one_of(st.none(), group_names, group_names), priorities)
limits = st.tuples(
    st.sampled_from([None, 1, 1, 2, math.inf]),
    st.sampled_from([None, None, (1, 1), (2, 0.5), (3, 1), (1, 0.001), (1, 100), (2, 100), math.inf]),
)
PLAIN = (None, 0)


def several(*fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Mostly one task, else some whose calls are made at once."""
    item = st.tuples(*fields)
    return st.one_of(st.lists(item, min_size=1, max_size=1), st.lists(item, min_size=1, max_size=4))


def ms(seconds: float | None, default: int = 0) -> int:
    return default if seconds is None else round(seconds * 1000)


def choose(ids: Sequence[str], index: int) -> str:
    return ids[-1 - index % len(ids)]


def ms_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else ms(seconds)


def token(task_id: str) -> str:
    return task_id.token if isinstance(task_id, TorrelqueTaskId) else ''


def answer(outcome: Any) -> bool:
    """What a call that settles or cancels answers."""
    return outcome in ('ok', 'dead')


class Machine(RuleBasedStateMachine):
    """Draws the steps."""

    server: RealServer
    protocol: int
    door: Door
    names = map('model-{}'.format, itertools.count())

    def __init__(self) -> None:
        super().__init__()
        self.names_of_hypothesis = {*vars(self)}
        self.name = next(self.names)
        self.door.restart()
        server = self.server
        self.raw = server.sync_client()
        self.dump_script = self.raw.register_script(DUMP)
        self.model = Model(START)
        self.raw.set(CLOCK, START)
        self.started = time.monotonic()
        self.loop = asyncio.new_event_loop()
        self.troubles: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.troubles.append(context))
        self.clients = [server.client(protocol=self.protocol), server.client(protocol=self.protocol)]
        self.queues = [self.make_queue(place) for place in range(3)]
        self.keys = self.queues[0].keys
        self.prefix = self.keys['pending'].removesuffix('pending')
        self.transitions = {name: protocol.Transition(name, self.keys) for name in Plan.NAMES}
        self.consumers = [Consumer(f'{self.keys["claim"]}:consumer{n}') for n in range(2)]
        self.deliveries: list[TorrelqueTaskId] = []
        self.ids: list[str] = [*OWN_IDS, 'no such']
        self.history: dict[str, list[Sent]] = {}
        self.last_line = ''
        self.last_outcome: Any = None
        self.claimed_twice = False
        self.grouped = False
        """Whether tasks have groups and priorities; a third of the machines go without."""
        self.before = read_dump([])
        """What was there after the step before."""
        self.handed: list[TorrelqueTaskId] = []
        """What was handed out in this step."""
        self.limits_set = 0
        """How often limits were set in this step."""
        self.rung_awake = False
        """Whether somebody was woken, or died, who has not claimed since."""

    def make_queue(self, place: int) -> Torrelque:
        client = self.clients[place // 2]
        return Torrelque(client, queue=self.name, max_tasks=5 if place == 1 else None)

    # Calling, and following what was called

    def ask(self, place: int, *calls: Callable[[Torrelque], Awaitable[Any]]) -> tuple[list[Any], list[Call]]:
        """Make calls at once; their answers, and what went over the line, which the model was led through."""
        queue = self.queues[place]

        async def run() -> tuple[list[Any], Any]:
            answers = await asyncio.gather(*(call(queue) for call in calls), return_exceptions=True)
            # Behind all that was sent in passing.
            return answers, await queue.get_queue_stats()

        answers, stats = self.loop.run_until_complete(run())
        sent = self.follow(place)
        assert stats == self.model.stats
        self.outcomes = self.replies[:-1]
        return answers, [call.read() for call in sent[:-1]]

    def follow(self, place: int) -> list[Sent]:
        sent = self.door.log[:]
        self.door.log.clear()
        self.replies = [self.compare(call, resent=False) for call in sent]
        for call, outcome in zip(sent, self.replies, strict=True):
            self.remember_call(f'client{place // 2}', call, outcome)
        assert not self.troubles, self.troubles
        return sent

    def remember_call(self, line: str, call: Sent, outcome: Any) -> None:
        if call.transition.name not in ('stats', 'group'):
            self.history[line] = [*self.history.get(line, [])[-5:], call]
            self.last_line, self.last_outcome = line, outcome

    def compare(self, sent: Sent, resent: bool) -> Any:
        """Lead the model through a call, and compare what it says with the reply."""
        call = sent.read()
        note(f'{self.model.now - START}: {call}{" again" if resent else ""} -> {sent.reply}')
        expected = self.model.run(call, resent)
        if call.name == 'claim':
            self.rung_awake = False
            claimed = protocol.read_claimed(sent.reply)
            given = Given(
                [(task_id, payload, task_id.attempt or 0, task_id.token) for task_id, payload in claimed.tasks],
                None if claimed.wait is None else round(claimed.wait * 1000),
                claimed.more,
            )
            assert not claimed.troubles
            assert all(task_id.group == self.model.group_of(task_id) for task_id, _ in claimed.tasks)
            assert given == expected
            self.handed += [task_id for task_id, _ in claimed.tasks]
            self.deliveries += [task_id for task_id, _ in claimed.tasks]
            del self.deliveries[:-40]
        elif call.name == 'sweep':
            word, *counts, more, troubles = sent.reply
            assert (word, (*counts, bool(more)), troubles) == (b'ok', expected, [])
        elif call.name == 'stats':
            assert sent.reply == [b'ok', *expected]
        elif call.name == 'group':
            assert sent.reply == [b'ok', *(word.encode() if isinstance(word, str) else word for word in expected)]
        elif call.name in ('leave', 'limit', 'advance', 'pause', 'resume'):
            self.limits_set += call.name == 'limit'
            assert sent.reply == b'ok'
        else:
            outcomes = protocol.read_outcomes(sent.reply, len(call.items))
            assert [
                [word.decode() if isinstance(word, bytes) else word for word in outcome]
                if isinstance(outcome, list)
                else outcome
                for outcome in outcomes
            ] == expected
        return expected

    def items(self, name: str, calls: list[Call]) -> tuple[list[Any], list[Any]]:
        """The tasks of all calls, which must be of that transition, and their outcomes."""
        assert {call.name for call in calls} <= {name}
        outcomes = [outcome for reply in self.outcomes for outcome in reply]
        return [item for call in calls for item in call.items], outcomes

    def settle(self, place: int, name: str, expected: list[Any], *calls: Callable[[Torrelque], Awaitable[Any]]) -> None:
        """Settle tasks; ``expected`` is what should go over the line, without marks."""
        answers, sent = self.ask(place, *calls)
        items, outcomes = self.items(name, sent)
        assert [item._replace(mark='') if hasattr(item, 'mark') else item for item in items] == expected
        assert answers == [answer(outcome) for outcome in outcomes]

    def hold(self, holder: tuple[str, int]) -> str:
        """An id as somebody may have it: with the token that counts, with one that may not, with none."""
        kind, index = holder
        ids: list[str] = []
        if kind == 'current':
            ids = [
                task_id
                for task_id in self.deliveries
                if self.model.token(task_id) == task_id.token and task_id in self.model.working
            ]
        elif kind == 'stale':
            ids = [task_id for task_id in self.deliveries if self.model.token(task_id) != task_id.token]
        elif kind == 'working':
            ids = list(self.model.working)
        ids = ids or ([*self.deliveries] if kind != 'plain' else [])
        return choose(ids or self.ids, index)

    @initialize(
        buried=st.integers(0, 6),
        tasks=several(values, leases, attempts),
        delayed=several(values, delays),
        taken=st.integers(0, 5),
        waiting=st.integers(0, 9),
        cancelled=st.integers(0, 6),
        grouped=st.sampled_from([True, True, False]),
        limited=st.lists(st.tuples(st.one_of(st.none(), group_names), limits), max_size=3),
        members=st.lists(ranks, max_size=8),
    )
    def begin(
        self,
        buried: int,
        tasks: list[Any],
        delayed: list[Any],
        taken: int,
        waiting: int,
        cancelled: int,
        grouped: bool,
        limited: list[Any],
        members: list[Any],
    ) -> None:
        """Some tasks in some places, whichever rules come after."""
        self.grouped = grouped
        if grouped:
            for group, limit in limited:
                self.set_limit(0, group, limit)
            self.enqueue(0, [(0, None, None, None, None, rank) for rank in members])
        if buried:
            self.enqueue_many(0, [0] * buried, None, None, None)
            self.dequeue(2, [buried], False)
            self.bury(2, [(('current', index), None) for index in range(buried)])
        options: list[dict[str, Any]] = [
            {'task': value, 'task_timeout': lease, 'max_attempts': most} for value, lease, most in tasks
        ]
        options += [
            {'task': value, 'task_id': own, 'delay': delay}
            for own, (value, delay) in zip(OWN_IDS, delayed, strict=False)
        ]
        _, sent = self.ask(0, *(lambda queue, given=given: queue.enqueue(**given) for given in options))
        for item in self.items('enqueue', sent)[0]:
            self.remember(item.task_id)
        if taken:
            self.dequeue(2, [taken], False)
        if waiting:
            # A long list, in which those that are cancelled leave holes.
            self.enqueue_many(0, [0] * waiting, None, None, 2)
            self.cancel(0, [(index * 2 % waiting, 'k') for index in range(min(cancelled, waiting))])

    # Producers

    def rank(self, rank: tuple[str | None, int]) -> tuple[str | None, int]:
        """A group and a priority, where this machine has some."""
        return rank if self.grouped else PLAIN

    @rule(place=queues, items=several(values, st.one_of(st.none(), indexes), leases, delays, attempts, ranks))
    def enqueue(self, place: int, items: list[Any]) -> None:
        specs = [
            (value, None if own is None else OWN_IDS[own % len(OWN_IDS)], lease, delay, most, *self.rank(rank))
            for value, own, lease, delay, most, rank in items
        ]
        answers, sent = self.ask(
            place,
            *(
                lambda queue, spec=spec: queue.enqueue(
                    spec[0],
                    task_id=spec[1],
                    task_timeout=spec[2],
                    delay=spec[3],
                    max_attempts=spec[4],
                    group=spec[5],
                    priority=spec[6],
                )
                for spec in specs
            ),
        )
        assert all(call.limit == (5 if place == 1 else None) for call in sent)
        found, outcomes = self.items('enqueue', sent)
        for (value, own, lease, delay, most, group, priority), item, outcome, said in zip(
            specs, found, outcomes, answers, strict=True
        ):
            task_id = own or item.task_id
            assert (item.mark is None) == (own is None)
            payload = json.dumps(value).encode()
            assert item == Enqueue(task_id, payload, ms(lease, 300_000), ms(delay), most, item.mark, group, priority)
            if outcome == 'ok':
                assert said == task_id and said.attempt is None
                self.remember(task_id)
            elif outcome[0] == 'full':
                assert isinstance(said, torrelque.TorrelqueFullError) and said.size == outcome[1] >= 5
            else:
                assert isinstance(said, torrelque.TorrelqueDuplicateError) and said.task_id == own

    def remember(self, task_id: str) -> None:
        """Know an id, as the newest."""
        if task_id in self.ids:
            self.ids.remove(task_id)
        self.ids.append(task_id)
        del self.ids[:-25]

    @rule(
        place=queues,
        tasks=st.lists(values, max_size=10),
        lease=leases,
        delay=delays,
        most=attempts,
        some=st.lists(ranks, min_size=1, max_size=4),
    )
    def enqueue_many(
        self, place: int, tasks: list[Any], lease: Any, delay: Any, most: Any, some: Sequence[Any] = (PLAIN,)
    ) -> None:
        def group(task: Any) -> str | None:
            return self.rank(some[len(str(task)) % len(some)])[0]

        def priority(task: Any) -> int:
            return self.rank(some[len(str(task)) % len(some)])[1]

        alike = len(some) == 1
        (said,), sent = self.ask(
            place,
            lambda queue: queue.enqueue_many(
                tasks,
                task_timeout=lease,
                delay=delay,
                max_attempts=most,
                group=group('') if alike else group,
                priority=priority('') if alike else priority,
            ),
        )
        found, outcomes = self.items('enqueue', sent)
        assert all(len(call.items) <= BULK_TASKS for call in sent)
        for value, item in zip(tasks, found, strict='full' not in str(outcomes)):
            payload = json.dumps(value).encode()
            assert item == Enqueue(
                item.task_id, payload, ms(lease, 300_000), ms(delay), most, None, group(value), priority(value)
            )
        ids = [item.task_id for item, outcome in zip(found, outcomes, strict=True) if outcome == 'ok']
        if len(ids) == len(tasks):
            assert said == ids
        else:
            assert isinstance(said, torrelque.TorrelqueBulkError) and said.task_ids == ids
            assert isinstance(said.__cause__, torrelque.TorrelqueFullError)
        for task_id in ids:
            self.remember(task_id)

    @rule(place=queues, items=several(indexes, st.sampled_from('knnn')))
    def cancel(self, place: int, items: list[Any]) -> None:
        there = [*self.model.payloads] or self.ids
        ids = [choose(there if kind == 'n' else self.ids, index) for index, kind in items]
        self.settle(
            place,
            'cancel',
            [Cancel(task_id, '') for task_id in ids],
            *(lambda queue, task_id=task_id: queue.cancel(task_id) for task_id in ids),
        )

    # Consumers

    @rule(place=queues, wanted=st.lists(st.integers(1, 6), min_size=1, max_size=3), stay=st.booleans())
    def dequeue(self, place: int, wanted: list[int], stay: bool) -> None:
        ready = self.model.ready()
        # Who waits would wait for real time: only where there is something for each.
        timeout = 60 if stay and len(ready) >= sum(wanted[:-1]) + 1 else 0
        answers, sent = self.ask(
            place, *(lambda queue, most=most: queue.dequeue(timeout, max_tasks=most) for most in wanted)
        )
        expected: list[Any] = []
        left = sum(wanted)
        emptied = empty = False
        for call, given in zip(sent, self.outcomes, strict=True):
            assert call.name in ('claim', 'sweep', 'leave')
            if call.name == 'claim':
                (claim,) = call.items
                assert timeout or not claim.stays
                assert not timeout or wanted != [1] or claim.stays
                assert 1 <= claim.wanted <= min(left, BULK_TASKS) and claim.most_bytes == BULK_BYTES
                expected += [(task_id, json.loads(payload)) for task_id, payload, _, _ in given.tasks]
                left -= len(given.tasks)
                empty = not given.more
                emptied |= empty
        if any(reply.wait is not None and reply.wait <= 0 for reply in self.outcomes if isinstance(reply, Given)):
            assert 'sweep' in [call.name for call in sent]
        got: list[Any] = []
        for most, said in zip(wanted, answers, strict=True):
            if isinstance(said, torrelque.TorrelqueTimeoutError):
                deadline = self.model.deadline()
                assert empty and (deadline is None or deadline > self.model.now)
            else:
                some = [said] if most == 1 else said
                assert 1 <= len(some) <= most and (len(some) == most or emptied)
                got += some
        assert got == expected

    @precondition(lambda self: any(consumer.wakes is not None for consumer in self.consumers))
    @rule(place=queues, delay=delays, more=st.integers(1, 2))
    def leave_with_less(self, place: int, delay: float | None, more: int) -> None:
        """Who waits for several tasks goes with fewer, while somebody else goes on waiting."""
        self.enqueue(place, [(0, None, None, delay, None, PLAIN), (0, None, None, None, None, PLAIN)])
        self.dequeue(place, [len(self.model.ready()) + more], True)

    @rule(
        place=queues,
        index=indexes,
        value=values,
        delay=delays,
        ahead=st.integers(0, 1),
        stale=holders,
        ranked=st.one_of(st.none(), st.tuples(ranks, ranks, ranks)),
    )
    def renew(
        self, place: int, index: int, value: Any, delay: float | None, ahead: int, stale: tuple[str, int], ranked: Any
    ) -> None:
        """An id of the caller's own is cancelled and used anew at once; who had it comes back."""
        first, second, _ = ranked or (PLAIN, PLAIN, PLAIN)
        if ranked:
            self.enqueue(0, [(value, index, None, None, None, first)])
            self.dequeue(place, [BULK_TASKS], False)
        there = [own for own in OWN_IDS if own in self.model.payloads]
        if not there:
            return
        own = choose(there, index)
        self.remember(own)
        self.cancel(place, [(0, 'k')])
        items: list[Any] = [(value, OWN_IDS.index(own), None, delay, None, second)]
        if ranked:
            # The first call goes alone, the others together.
            items = [(0, None, None, None, None, PLAIN), *items, (value, None, None, 2, None, ranked[2])]
        self.enqueue(place, items)
        if ahead:
            self.move_clock(self.model.now + ahead)
            self.dequeue(place, [BULK_TASKS], False)
        if self.deliveries:
            self.touch(place, [(('stale', stale[1]), None, None)])

    @rule(place=queues, error=errors, ends=st.booleans())
    def use_up(self, place: int, error: str | None, ends: bool) -> None:
        """A task fails until it is dead, with an error or without, or by the end of its lease."""
        self.dequeue(place, [1], False)
        if self.deliveries:
            self.requeue(place, [(('current', 0), None, 0.5, error, False)])
            self.dequeue(place, [4], False)
            if ends:
                self.move_clock(self.model.now + 500)
                self.sweep(place)
            else:
                self.requeue(place, [(('current', 0), None, None, None, False)])

    @precondition(lambda self: self.deliveries)
    @rule(
        place=queues,
        items=several(holders, delays, leases, errors, st.booleans()),
    )
    def requeue(self, place: int, items: list[Any]) -> None:
        specs = [(self.hold(holder), *rest) for holder, *rest in items]
        self.settle(
            place,
            'requeue',
            [
                Requeue(task_id, token(task_id), '', ms(delay), ms_or_none(lease), forgive, error or '')
                for task_id, delay, lease, error, forgive in specs
            ],
            *(
                lambda queue, spec=spec: queue.requeue(
                    spec[0], spec[1], task_timeout=spec[2], error=spec[3], forgive=spec[4]
                )
                for spec in specs
            ),
        )

    @rule(
        place=queues,
        verb=st.sampled_from(['requeue', 'requeue', 'bury', 'redrive', 'release', 'touch', 'cancel']),
        delay=delays,
        lease=leases,
        error=errors,
        flag=st.booleans(),
        twice=st.booleans(),
    )
    def consume(
        self, place: int, verb: str, delay: Any, lease: Any, error: str | None, flag: bool, twice: bool
    ) -> None:
        """Take a task, and do something with it; perhaps the reply was lost."""
        self.dequeue(place, [1], False)
        if not self.deliveries:
            return
        newest = 'current', 0
        if verb == 'requeue':
            self.requeue(place, [(newest, delay, lease, error, flag)])
        elif verb in ('bury', 'redrive'):
            self.bury(place, [(newest, error)])
            if verb == 'redrive' and self.model.dead:
                self.redrive(place, None, 1 if flag else None)
        elif verb == 'release':
            self.release(place, [(newest, Status.COMPLETED, error, 600 if flag else None)])
        else:
            self.touch(place, [(newest, lease, error)])
            if verb == 'cancel':
                self.remember(str(self.deliveries[-1]))
                self.cancel(place, [(0, 'k')])
        if twice:
            self.send_twice('last', 1, flag)

    @staticmethod
    def released(task_id: str, status: Status, result: Any, life: float | None) -> Release:
        if life == 0 or life is None and result is None and status is not Status.REJECTED:
            return Release(task_id, token(task_id))
        data = None if result is None else json.dumps(result).encode()
        return Release(task_id, token(task_id), str(int(status)), ms(life, 3_600_000), data)

    @precondition(lambda self: self.deliveries)
    @rule(place=queues, items=several(holders, final, st.one_of(st.none(), values), lives))
    def release(self, place: int, items: list[Any]) -> None:
        specs = [(self.hold(holder), *rest) for holder, *rest in items]
        self.settle(
            place,
            'release',
            [self.released(*spec) for spec in specs],
            *(
                lambda queue, spec=spec: queue.release(spec[0], status=spec[1], result=spec[2], result_ttl=spec[3])
                for spec in specs
            ),
        )

    @precondition(lambda self: self.deliveries)
    @rule(place=queues, some=st.lists(holders, max_size=7), status=final, life=lives)
    def release_many(self, place: int, some: list[tuple[str, int]], status: Status, life: float | None) -> None:
        ids = [self.hold(holder) for holder in some]
        (said,), sent = self.ask(place, lambda queue: queue.release_many(ids, status=status, result_ttl=life))
        items, outcomes = self.items('release', sent)
        assert items == [self.released(task_id, status, None, life) for task_id in ids]
        assert said == [answer(outcome) for outcome in outcomes]

    @precondition(lambda self: self.deliveries)
    @rule(place=queues, items=several(holders, leases, st.one_of(st.none(), values)))
    def touch(self, place: int, items: list[Any]) -> None:
        specs = [(self.hold(holder), *rest) for holder, *rest in items]
        self.settle(
            place,
            'touch',
            [
                Touch(task_id, token(task_id), ms_or_none(lease), None if value is None else json.dumps(value).encode())
                for task_id, lease, value in specs
            ],
            *(
                lambda queue, spec=spec: queue.touch(spec[0], task_timeout=spec[1], progress=spec[2])
                for spec in specs
            ),
        )

    @precondition(lambda self: self.deliveries)
    @rule(place=queues, items=several(holders, errors))
    def bury(self, place: int, items: list[Any]) -> None:
        specs = [(self.hold(holder), error) for holder, error in items]
        self.settle(
            place,
            'bury',
            [Bury(task_id, token(task_id), '', error or '') for task_id, error in specs],
            *(lambda queue, spec=spec: queue.bury(spec[0], error=spec[1]) for spec in specs),
        )

    # Operators

    @precondition(lambda self: self.model.dead)
    @rule(
        place=queues,
        named=st.one_of(st.none(), st.lists(st.tuples(st.booleans(), indexes), min_size=1, max_size=6)),
        limit=st.one_of(st.none(), st.integers(0, 6)),
    )
    def redrive(self, place: int, named: list[tuple[bool, int]] | None, limit: int | None) -> None:
        dead = self.model.in_order(self.model.dead)
        ids = [
            choose(dead if is_dead else self.ids, index) for is_dead, index in named or []
        ]
        (said,), sent = self.ask(place, lambda queue: queue.redrive(*ids, limit=limit))
        items, outcomes = self.items('redrive', sent)
        assert [item.task_id for item in items] == (ids or dead)[:limit]
        assert said == outcomes.count('ok') == len({*(ids or dead)[:limit]} & {*dead})

    @precondition(lambda self: self.model.deadline())
    @rule(place=queues)
    def sweep(self, place: int) -> None:
        (said,), sent = self.ask(place, lambda queue: queue.sweep())
        assert all(call == Call('sweep', [Sweep(SWEEP_TASKS)]) for call in sent)
        assert said == tuple(map(sum, zip(*(reply[:3] for reply in self.outcomes), strict=True)))
        deadline = self.model.deadline()
        assert deadline is None or deadline > self.model.now

    @rule(place=queues, index=indexes)
    def get_task_state(self, place: int, index: int) -> None:
        task_id = choose(self.ids, index)
        (said,), _ = self.ask(place, lambda queue: queue.get_task_state(task_id))
        state = self.model.states.get(task_id)
        if state is None:
            assert isinstance(said, torrelque.TorrelqueLookupError)
            return

        def number(name: str) -> int | None:
            return int(state[name]) if name in state else None

        def instant(name: str) -> float | None:
            return int(state[name]) / 1000 if name in state else None

        assert said == (
            int(state['status']),
            int(state['timeout']) / 1000,
            json.loads(state.get('result', 'null')),
            number('dequeue_count') or 0,
            number('requeue_count') or 0,
            instant('enqueue_time'),
            instant('last_dequeue_time'),
            instant('last_requeue_time'),
            instant('release_time'),
            state.get('error'),
            json.loads(state.get('progress', 'null')),
            number('max_attempts'),
            number('forgiven') or 0,
            state.get('group'),
            number('priority') or 0,
        )

    # Groups

    @precondition(lambda self: self.grouped)
    @rule(place=queues, group=st.one_of(st.none(), group_names), limit=limits)
    def set_limit(self, place: int, group: str | None, limit: tuple[Any, Any]) -> None:
        concurrency, rate = limit
        known = {*self.model.groups}
        _, sent = self.ask(place, lambda queue: queue.set_limit(group, concurrency=concurrency, rate=rate))
        given: dict[str, Any] = {}
        if concurrency is not None:
            given['concurrency'] = 0 if concurrency == math.inf else concurrency
        if rate is not None:
            given['rate'] = 0 if rate == math.inf else [rate[0], ms(rate[1])]
        value = json.dumps(given, separators=(',', ':')) if given else ''
        assert sent[0] == Call('limit', [Limit(group or '', value)])
        assert all(call.name == 'advance' and len(call.items) <= WALK for call in sent[1:])
        assert {name for call in sent[1:] for name in call.items} == (set() if group else known)

    @precondition(lambda self: '' not in self.model.paused)
    @rule(place=queues, group=st.sampled_from([*GROUPS * 2, None]))
    def pause(self, place: int, group: str | None) -> None:
        _, sent = self.ask(place, lambda queue: queue.pause(group))
        assert sent == [Call('pause', [group or ''])]

    @precondition(lambda self: self.model.paused)
    @rule(place=queues, index=indexes, other=st.one_of(st.none(), st.none(), group_names))
    def resume(self, place: int, index: int, other: str | None) -> None:
        group = other or ('' if '' in self.model.paused else choose(sorted(self.model.paused), index))
        _, sent = self.ask(place, lambda queue: queue.resume(group or None))
        assert sent == [Call('resume', [group])]

    @precondition(lambda self: self.grouped)
    @rule(place=queues)
    def look_at_groups(self, place: int) -> None:
        async def list_groups(queue: Torrelque) -> list[str]:
            return [group async for group in queue.groups()]

        model = self.model
        (listed, limits, *stats), _ = self.ask(
            place,
            list_groups,
            lambda queue: queue.get_limits(),
            *(lambda queue, group=group: queue.get_group_stats(group) for group in GROUPS),
        )
        assert sorted(listed) == sorted(model.groups)
        assert {group or '': value for group, value in limits.items()} == {
            group: (
                math.inf if given.get('concurrency') == 0 else given.get('concurrency'),
                math.inf if given.get('rate') == 0 else self.seconds(given.get('rate')),
            )
            for group, given in ((group, json.loads(text)) for group, text in model.limits.items())
        }
        assert stats == [
            (
                len(model.waiting.get(group, ())) + (group in model.ring),
                model.groups.get(group, 0),
                model.concurrency(group),
                self.seconds(model.rate(group)) or math.inf,
                bool(model.paused & {group, ''}),
            )
            for group in GROUPS
        ]

    @staticmethod
    def seconds(rate: Sequence[int] | None) -> tuple[int, float] | None:
        return None if rate is None else (rate[0], rate[1] / 1000)

    @precondition(lambda self: self.grouped)
    @rule(
        place=queues,
        group=st.one_of(group_names, st.none()),
        limit=limits,
        value=values,
        change=st.one_of(st.none(), st.just('pause'), limits),
        some=st.lists(priorities, min_size=1, max_size=6),
        taken=st.integers(1, 5),
        others=st.integers(0, 2),
        delay=delays,
        swept=st.booleans(),
    )
    def crowd(
        self,
        place: int,
        group: str | None,
        limit: Any,
        value: Any,
        change: Any,
        some: list[int],
        taken: int,
        others: int,
        delay: float | None,
        swept: bool,
    ) -> None:
        """Tasks of a group, or of all, come, are taken, fail; limits change; who waits for a token gets it."""
        members = [group] if group else GROUPS
        self.ask(place, *(lambda queue, name=name: queue.resume(name) for name in members))
        self.set_limit(place, group, limit)
        ranked = zip(members * len(some), some, strict=False)
        self.enqueue(0, [(value, None, None, None, None, rank) for rank in ranked])
        self.enqueue_many(0, [0] * others, None, None, None)
        self.dequeue(place, [taken], False)
        if self.deliveries:
            self.requeue(place, [(('current', 0), delay, None, None, False)])
        if change == 'pause':
            self.pause(place, members[0])
        elif change:
            self.set_limit(place, group, change)
        self.dequeue(place, [taken], False)
        waiting = [self.model.rated[name] for name in members if name in self.model.rated]
        if waiting:
            self.move_clock(max(waiting))
            if swept:
                self.sweep(place)
            else:
                self.dequeue(place, [1], False)

    @rule(place=queues)
    def reopen(self, place: int) -> None:
        """Close an object, and go on with a new one."""
        queue = self.queues[place]
        self.loop.run_until_complete(queue.aclose())
        assert {call.transition.name for call in self.follow(place)} <= {'leave'}
        self.history.pop(f'client{place // 2}', None)
        self.queues[place] = self.make_queue(place)

    # Consumers that wait at the bell, each on a line of its own

    def send(self, consumer: Consumer, name: str, args: list[str | bytes]) -> Any:
        transition = self.transitions[name]
        sent = Sent(transition, args, self.raw.execute_command(*transition.words(args, False)))
        outcome = self.compare(sent, resent=False)
        self.remember_call(consumer.name.rpartition(':')[2], sent, outcome)
        return outcome

    def claim(self, consumer: Consumer, wanted: int) -> None:
        """Claim, and wait at the bell where there is nothing, as the fetcher does."""
        got = 0
        while True:
            consumer.number += 1
            record = f'{consumer.name}:{consumer.number}'
            left = str(wanted - got)
            args: list[str | bytes] = [consumer.unacknowledged, record, left, left, str(BLOCK), '1000']
            given = self.send(consumer, 'claim', args)
            consumer.unacknowledged = record if given.tasks else ''
            due = given.wait is not None and given.wait <= 0
            if due:
                self.send(consumer, 'sweep', [str(SWEEP_TASKS)])
            got += len(given.tasks)
            if got == wanted:
                consumer.wakes = None
                return
            if not due and not given.more:
                # Who got less than wanted, and stays, is one who asks for several others too.
                consumer.wakes = self.model.now + min(BLOCK, BLOCK if given.wait is None else given.wait)
                return

    @rule(which=st.integers(0, 1), wanted=st.integers(1, 3))
    def wait(self, which: int, wanted: int) -> None:
        self.claim(self.consumers[which], wanted)

    @rule(place=queues, which=st.integers(0, 1), wanted=st.integers(1, 3), again=st.booleans())
    def lose_claim(self, place: int, which: int, wanted: int, again: bool) -> None:
        """The reply of a claim comes late; somebody has given back, or taken, some of its tasks meanwhile."""
        consumer = self.consumers[which]
        self.claim(consumer, wanted)
        if self.deliveries:
            self.requeue(place, [(('current', 0), None, None, None, True)])
        if again:
            self.move_clock(self.model.now + 1)
            self.dequeue(place, [1], False)
        self.send_twice(f'consumer{which}', 1, False)

    @precondition(lambda self: self.model.bell and any(consumer.wakes is not None for consumer in self.consumers))
    @rule(dies=st.booleans())
    def hear(self, dies: bool) -> None:
        """The bell wakes one who waits; it claims again, or dies with the ring."""
        consumer = min((c for c in self.consumers if c.wakes is not None), key=lambda c: c.number)
        assert self.raw.lpop(self.keys['bell']) == b'1'
        self.model.bell = False
        self.last_line = ''
        self.rung_awake = True
        consumer.wakes = None
        if not dies:
            self.claim(consumer, 1)

    @precondition(lambda self: any(consumer.number for consumer in self.consumers))
    @rule(which=st.integers(0, 1))
    def leave(self, which: int) -> None:
        """A consumer leaves the bell and says so."""
        consumer = self.consumers[which]
        acknowledged, consumer.unacknowledged = consumer.unacknowledged, ''
        consumer.wakes = None
        self.send(consumer, 'leave', [acknowledged, str(BLOCK)])
        self.rung_awake = False

    # Faults and time

    @rule(
        line=st.sampled_from([*['last'] * 4, 'client0', 'client1', 'consumer0', 'consumer1']),
        count=st.integers(1, 3),
        late=st.booleans(),
    )
    def send_twice(self, line: str, count: int, late: bool) -> None:
        """Replies were lost with a connection: what was on its way is sent again, in its order.

        Or ``late``: a call arrives after its own repetition, from the connection that was given up.
        """
        at_once = line == 'last'
        again = self.history.get(self.last_line if at_once else line, [])[-1 if at_once else -count :]
        assume(again)
        before = self.look()
        for sent in again:
            reply = self.raw.execute_command(*sent.transition.words(sent.args, not late))
            outcome = self.compare(sent._replace(reply=reply), resent=not late)
            # Who claims may have gone meanwhile.
            self.rung_awake |= sent.transition.name == 'claim'
            self.claimed_twice |= sent.transition.name == 'claim'
        if not at_once and any(sent.transition.name == 'limit' and not sent.args[0] for sent in again):
            # Who set the default goes on to the groups.
            self.send(self.consumers[0], 'advance', [*GROUPS])
        if at_once and sent.transition.name != 'sweep':
            check_once(sent.read(), before, self.look(), self.last_outcome, outcome, late)
        self.last_line = ''

    @rule(ahead=st.sampled_from([1, 1, 1, 2, 3, 499, 1999, 2000, 2001, 10_000, 60_000, 300_000, 3_600_000]))
    def pass_time(self, ahead: int) -> None:
        self.move_clock(self.model.now + ahead)

    @precondition(lambda self: (self.model.deadline() or 0) > self.model.now)
    @rule(less=st.integers(0, 1))
    def pass_time_to_the_deadline(self, less: int) -> None:
        deadline = self.model.deadline()
        assert deadline is not None
        self.move_clock(deadline - less)

    def move_clock(self, now: int) -> None:
        self.last_line = ''
        ids, records, full = self.model.pass_time(now)
        self.raw.set(CLOCK, now)
        gone = [*(f'{self.keys["task"]}:{task_id}' for task_id in ids), *records]
        gone += [f'{self.keys["rate"]}:{group}' for group in full]
        if gone:
            # Their time to live runs by the real clock.
            self.raw.delete(*gone)
        for consumer in self.consumers:
            if consumer.wakes is not None and consumer.wakes <= now:
                consumer.wakes = None
                self.rung_awake = True

    @precondition(lambda self: len(self.deliveries) > 2)
    @rule(keep=st.integers(1, 4))
    def crash(self, keep: int) -> None:
        """Consumers die; what they held comes back when its lease ends."""
        del self.deliveries[:-keep]
        for consumer in self.consumers:
            consumer.wakes = None

    # After each step

    def look(self) -> Seen:
        return read_dump(self.dump_script(args=[self.prefix]))

    @invariant()
    def check(self) -> None:
        self.door.steps += 1
        seen = self.look()
        for fault in check_keys(seen):
            raise AssertionError(fault)
        if self.limits_set < 2:
            check_limits(self.before, seen)
            check_one_at_a_time(self.before, seen, self.handed)
        check_handed_out(self.before, seen, self.handed)
        self.check_bell(seen)
        check_prediction(seen, self.model, (time.monotonic() - self.started) * 1000 + 1)
        self.before, self.limits_set = seen, 0
        self.handed.clear()

    def check_bell(self, seen: Seen) -> None:
        """Whoever waits learns in time of what is there, and of what will be."""
        assert len(seen.bell) <= 1
        if seen.bell or self.rung_awake:
            return
        assert '' in seen.paused or not (seen.plain or seen.heads or seen.priority)
        waking = [consumer.wakes for consumer in self.consumers if consumer.wakes is not None]
        places = seen.working, seen.delayed, seen.rated
        deadline = min((instant for place in places for instant in place.values()), default=None)
        if waking and deadline is not None:
            assert min(waking) <= deadline

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            for queue in self.queues:
                self.loop.run_until_complete(queue.aclose())
            for client in self.clients:
                self.loop.run_until_complete(client.aclose())
            self.loop.close()
            self.raw.delete(*self.raw.keys(f'{self.prefix}*'), CLOCK)
            self.raw.close()
            # Hypothesis keeps the machine, and all that it would have, as long as the process lives.
            for name in {*vars(self)} - self.names_of_hypothesis:
                delattr(self, name)

    def finish(self) -> None:
        """Finish all tasks: nothing of the queue remains."""
        held = [task_id for task_id in self.model.working if self.model.status(task_id) == WORKING]
        cancelled = [task_id for task_id in self.model.working if task_id not in held]
        others = [task_id for task_id in self.model.payloads if task_id not in self.model.working]
        calls = [
            *(lambda queue, task_id=task_id: queue.release(task_id) for task_id in held),
            *(lambda queue, task_id=task_id: queue.cancel(task_id) for task_id in others),
        ]
        answers, _ = self.ask(0, *calls)
        assert all(answers)
        if cancelled:
            # A task that comes and goes rings: there is a bell to be forgotten.
            self.ask(0, lambda queue: queue.enqueue(0, task_id='last'))
            self.ask(0, lambda queue: queue.cancel('last'))
            self.move_clock(max(self.model.working.values()))
            self.ask(0, lambda queue: queue.sweep())
        assert not self.model.payloads
        # There is nothing to ring for.
        self.ask(0, lambda queue: queue.resume())
        for place, queue in enumerate(self.queues):
            self.loop.run_until_complete(queue.aclose())
            self.follow(place)
        self.check()
        # All claims but those of consumers that crashed were acknowledged.
        assert self.claimed_twice or all(':consumer' in record for record in self.model.records)


@pytest.mark.timeout(0 if FULL else 900)  # what fails is made small first
@pytest.mark.parametrize('protocol', [2, 3])
def test_any_order_of_calls_and_faults_is_as_the_model_has_it(
    server: RealServer, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door()
    door.open(server, monkeypatch)
    Machine.server, Machine.protocol, Machine.door = server, protocol, door
    first = int(os.environ.get('TORRELQUE_SEED') or (random.randrange(2**32) if FULL else protocol))
    for number in itertools.count(first, 2):
        # A run of hypothesis keeps all it has drawn: many short ones need less memory.
        machine = seed(number)(type('Machine', (Machine,), {}))
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=EXAMPLE_STEPS,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
        if door.steps >= STEPS / 2:
            break
    print(f'{{"steps": {door.steps}, "first_seed": {first}, "last_seed": {number}, "resp": {protocol}}}')
