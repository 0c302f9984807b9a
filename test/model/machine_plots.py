"""Steps of the machine that are several in a row, which chance alone would seldom bring together."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from model.machine_door import BULK_BYTES, BULK_TASKS, WALK
from model.machine_draws import (
    GROUPS,
    OWN_IDS,
    PLAIN,
    attempts,
    choose,
    delays,
    errors,
    group_names,
    holders,
    indexes,
    leases,
    limits,
    ms,
    priorities,
    queues,
    ranks,
    several,
    values,
)
from model.machine_schedules import Schedules
from model.model_calls import Call, Tell
from torrelque import TorrelqueTaskStatus as Status


class Plots(Schedules):
    """A beginning, and what happens to tasks one after the other."""

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
            self.bury(2, [(('current', index), None, None) for index in range(buried)])
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

    @precondition(lambda self: any(consumer.wakes is not None for consumer in self.consumers))
    @rule(place=queues, delay=delays, more=st.integers(1, 2))
    def leave_with_less(self, place: int, delay: float | None, more: int) -> None:
        """Whoever waits for several tasks goes with fewer, while somebody else goes on waiting."""
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

    @precondition(lambda self: self.grouped)
    @rule(place=queues, error=errors, times=st.integers(8, 13))
    def fail_often(self, place: int, error: str | None, times: int) -> None:
        """A task that is always the next one fails more often than its history has lines."""
        self.enqueue(place, [(0, None, None, None, None, (None, 100))])
        for number in range(times):
            self.dequeue(place, [1], False)
            if self.deliveries:
                self.requeue(place, [(('current', 0), None, None, error and f'{error}\n{number}', False)])

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

    @rule(
        place=queues,
        values=st.lists(values, min_size=1, max_size=3),
        ends=st.booleans(),
        again=delays,
        told=st.lists(indexes, max_size=3),
        back=st.booleans(),
    )
    def die_unseen(
        self, place: int, values: list[Any], ends: bool, again: float | None, told: list[int], back: bool
    ) -> None:
        """Some die of their last attempt, with others; somebody is told, and perhaps they are brought back."""
        self.enqueue(0, [(value, None, 0.5, None, 1, PLAIN) for value in values])
        self.dequeue(place, [BULK_TASKS], False)
        if ends:
            self.move_clock(self.model.now + 500)
            self.sweep(place)
        elif self.deliveries:
            self.requeue(place, [(('current', index), None, None, None, False) for index in range(BULK_TASKS)])
        self.take_deaths(place, 2, again, told)
        if back and self.model.dead:
            self.redrive(place, None, 2)

    @precondition(lambda self: self.model.untold)
    @rule(place=queues, most=st.integers(1, 6), again=delays, told=st.lists(indexes, max_size=3))
    def take_deaths(self, place: int, most: int, again: float | None, told: list[int]) -> None:
        """Learn of some deaths, and say of some that they were told of, perhaps long after."""
        hold = 60 if again is None else again
        (said,), sent = self.ask(place, lambda queue: queue.take_deaths(most, again_after=hold))
        assert sent == [Call('tell', [Tell(min(most, WALK), ms(hold), BULK_BYTES)])]
        assert [(death.id, death.id.token, death.id.group, death.error) for death in said] == [
            (task_id, token, group, 'nothing is known of it' if error is None else error)
            for task_id, token, _, error, group in self.outcomes[0]
        ]
        assert all(death.task == json.loads(self.model.payloads[death.id]) for death in said)
        self.deaths = [*self.deaths, *(death.id for death in said)][-6:]
        ids = [self.deaths[index % len(self.deaths)] for index in told if self.deaths]
        self.ask(place, lambda queue: queue.acknowledge_deaths(ids))

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
            self.bury(place, [(newest, error, delay)])
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
