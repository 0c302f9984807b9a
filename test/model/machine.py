"""Objects of a queue beside a model of it: each call leads the model along, and after each step all keys are compared.

The steps are elsewhere: calls in `machine_calls`, faults and time in `machine_faults`, several in a row in
`machine_plots`.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, invariant

from model.machine_door import CLOCK, Door, Sent
from model.machine_draws import OWN_IDS, PLAIN, choose
from model.model import Model
from model.model_calls import Call, Given
from model.model_checks import (
    DUMP,
    Seen,
    check_fired,
    check_handed_out,
    check_limits,
    check_one_at_a_time,
    check_overlap,
    check_prediction,
    read_dump,
)
from model.model_groups import WORKING
from proof.invariants import check_keys
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskId
from torrelque.protocol import replies, transition as protocol

START = 1_700_000_000_000


class Consumer:
    """A consumer on a line of its own that may wait at the bell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.unacknowledged = ''
        self.wakes: int | None = None
        """When it wakes by itself, where it waits at the bell."""


def answer(outcome: Any) -> bool:
    """What a call that settles or cancels answers."""
    return outcome in ('ok', 'dead')


def token(task_id: str) -> str:
    return task_id.token if isinstance(task_id, TorrelqueTaskId) else ''


class Machine(RuleBasedStateMachine):
    """What all steps have in common."""

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
        self.transitions = protocol.Transitions(self.keys)
        self.consumers = [Consumer(f'{self.keys["claim"]}:consumer{n}') for n in range(2)]
        self.deliveries: list[TorrelqueTaskId] = []
        self.ids: list[str] = [*OWN_IDS, 'no such']
        self.deaths: list[TorrelqueTaskId] = []
        """Those that somebody was told of, last."""
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
        self.filled: set[str] = set()
        """Ids of instants that somebody has fired by hand."""
        self.replanned: set[str] = set()
        """Schedules that were changed in this step."""
        self.fired: set[str] = set()
        """Ids of instants that have fired."""
        self.rung_awake = False
        """Whether somebody was woken, or died, who has not claimed since."""

    def make_queue(self, place: int) -> Torrelque:
        client = self.clients[place // 2]
        return Torrelque(client, queue=self.name, max_tasks=5 if place == 1 else None)

    # Calling, and following what was called

    def ask(self, place: int, *calls: Callable[[Torrelque], Awaitable[Any]]) -> tuple[list[Any], list[Call]]:
        """Make calls at once; their answers, and what was sent, which the model was led through."""
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
        if call.transition.name not in ('stats', 'group', 'state'):
            self.history[line] = [*self.history.get(line, [])[-5:], call]
            self.last_line, self.last_outcome = line, outcome

    def compare(self, sent: Sent, resent: bool) -> Any:
        """Lead the model through a call, and compare what it says with the reply."""
        call = sent.read()
        note(f'{self.model.now - START}: {call}{" again" if resent else ""} -> {sent.reply}')
        expected = self.model.run(call, resent)
        if call.name == 'claim':
            self.rung_awake = False
            claimed = replies.read_claim(sent.reply)
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
            word, *counts, more, troubles, low, fired, spread, out = sent.reply
            assert spread == out == 0
            found = *counts, bool(more), [name.decode() for name in low], fired
            assert (word, found, troubles) == (b'ok', expected, [])
        elif call.name == 'stats':
            assert sent.reply == [b'ok', *expected, 0]
        elif call.name == 'state':
            assert sent.reply == [b'ok', *([word and word.encode() for word in values] for values in expected)]
        elif call.name == 'group':
            assert sent.reply == [b'ok', *(word.encode() if isinstance(word, str) else word for word in expected)]
        elif call.name == 'tell':
            words = [word for death in expected for word in self.words_of(*death)]
            assert sent.reply == [b'ok', *words]
        elif call.name == 'fire':
            ids = expected or []
            assert sent.reply == [b'ok', expected is not None, *(task_id.encode() for task_id in ids)]
        elif call.name == 'schedules':
            word, *found = sent.reply
            assert word == b'ok' and [*map(self.read_schedule, found)] == expected
        elif call.name in ('leave', 'limit', 'advance', 'pause', 'told'):
            self.limits_set += call.name == 'limit'
            assert sent.reply == b'ok'
        else:
            if call.name == 'schedule' and expected == ['ok']:
                self.replanned |= {item.name for item in call.items}
            outcomes = replies.read_outcomes(call.name, sent.reply, len(call.items))
            assert [
                [word.decode() if isinstance(word, bytes) else word for word in outcome]
                if isinstance(outcome, list)
                else outcome
                for outcome in outcomes
            ] == expected
        return expected

    @staticmethod
    def read_schedule(item: list[Any]) -> tuple[str, float, tuple[int, list[int], list[int]], dict[str, str]]:
        """A schedule of the reply."""
        name, score, left, last, times, words = item
        texts = [word.decode() for word in words]
        known = left, [int(last)] if last else [], [*map(int, times)]
        return name.decode(), float(score), known, dict(zip(texts[::2], texts[1::2], strict=True))

    @staticmethod
    def words_of(task_id: str, token: str, payload: bytes, error: str | None, group: str | None) -> list[bytes | None]:
        """A death as the reply has it."""
        attempt, _, claimed = token.partition('-')
        words = task_id, attempt, claimed, payload, error, group
        return [word.encode() if isinstance(word, str) else word for word in words]

    def items(self, name: str, calls: list[Call]) -> tuple[list[Any], list[Any]]:
        """The tasks of all calls, which must be of that transition, and their outcomes."""
        assert {call.name for call in calls} <= {name}
        outcomes = [outcome for reply in self.outcomes for outcome in reply]
        return [item for call in calls for item in call.items], outcomes

    def settle(self, place: int, name: str, expected: list[Any], *calls: Callable[[Torrelque], Awaitable[Any]]) -> None:
        """Settle tasks; ``expected`` is what should be sent, without marks."""
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

    def remember(self, task_id: str) -> None:
        """Know an id, as the newest."""
        if task_id in self.ids:
            self.ids.remove(task_id)
        self.ids.append(task_id)
        del self.ids[:-25]

    def rank(self, rank: tuple[str | None, int]) -> tuple[str | None, int]:
        """A group and a priority, where this machine has some."""
        return rank if self.grouped else PLAIN

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
        self.fired |= check_fired(self.before, seen, self.fired, self.filled)
        check_overlap(self.before, seen, self.replanned)
        self.check_bell(seen)
        check_prediction(seen, self.model, (time.monotonic() - self.started) * 1000 + 1)
        self.before, self.limits_set = seen, 0
        self.handed.clear()
        self.replanned.clear()

    def check_bell(self, seen: Seen) -> None:
        """Whoever waits learns in time of what is there, and of what will be."""
        assert len(seen.bell) <= 1
        if seen.bell or self.rung_awake:
            return
        assert '' in seen.paused or not (seen.plain or seen.heads_in_turn or seen.priority)
        waking = [consumer.wakes for consumer in self.consumers if consumer.wakes is not None]
        places: list[Mapping[str, float]] = [seen.working, seen.delayed, seen.rated]
        if not self.model.unheard:
            # Else one that was set just before may be late by the length of a block.
            places.append(seen.schedules)
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
        """Remove all schedules and finish all tasks: nothing of the queue remains."""
        gone, _ = self.ask(0, *(lambda queue, name=name: queue.remove_schedule(name) for name in self.model.plans))
        assert all(gone)
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
