"""Steps of the machine that are one public call, or several of one kind at once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any
from unittest.mock import ANY

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import torrelque
from model.machine import Machine, answer, token
from model.machine_door import BULK_BYTES, BULK_TASKS, SWEEP_TASKS, WALK
from model.machine_draws import (
    GROUPS,
    ONLY,
    OWN_IDS,
    PLAIN,
    attempts,
    attempts_of,
    choose,
    delays,
    errors,
    final,
    group_names,
    holders,
    indexes,
    leases,
    limits,
    lives,
    ms,
    ms_or_none,
    queues,
    ranks,
    several,
    values,
)
from model.model_calls import Bury, Call, Cancel, Enqueue, Given, Limit, Release, Requeue, Resume, Sweep, Touch
from model.model_groups import DELAYED
from torrelque import Torrelque, TorrelqueTaskStatus as Status


class Calls(Machine):
    """Each public call."""

    # Producers

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

    @rule(place=queues, items=several(indexes, st.sampled_from('knnnpw')))
    def cancel(self, place: int, items: list[Any]) -> None:
        there = [*self.model.payloads] or self.ids
        ids = [choose(self.ids if kind == 'k' else there, index) for index, kind in items]
        each = [(task_id, ONLY.get(kind)) for task_id, (_, kind) in zip(ids, items, strict=True)]
        calls = [Cancel(task_id, '', ''.join(str(int(one)) for one in only or ())) for task_id, only in each]
        self.settle(place, 'cancel', calls, *(lambda queue, i=i, one=one: queue.cancel(i, only=one) for i, one in each))

    # Consumers

    @rule(place=queues, wanted=st.lists(st.integers(1, 6), min_size=1, max_size=3), stay=st.booleans())
    def dequeue(self, place: int, wanted: list[int], stay: bool) -> None:
        ready = self.model.ready()
        # Whoever waits would wait for real time: only where there is something for each.
        timeout = 60 if stay and len(ready) >= sum(wanted[:-1]) + 1 else 0

        async def take(queue: Torrelque, most: int) -> Any:
            # Where an object is still, whoever comes listens without a claim, and is served by its timer here; the bell
            # would go on to be listened at, and be heard in any step that follows.  `proof.spec` has the still rule.
            queue._started().shelf.still = False
            return await queue.dequeue_many(most, timeout)

        answers, sent = self.ask(place, *(lambda queue, most=most: take(queue, most) for most in wanted))
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
                assert 1 <= len(said) <= most and (len(said) == most or emptied)
                got += said
        assert got == expected

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

    @staticmethod
    def released(task_id: str, status: Status, result: Any, life: float | None) -> Release:
        kept = result is not None or status is Status.REJECTED if life is None else life > 0
        # A flow has to know of another end, and of a result, though nothing is kept.
        told = life == 0 and (status is not Status.COMPLETED or result is not None and '.' in task_id)
        if not kept and not told:
            return Release(task_id, token(task_id), held=ANY)
        data = None if result is None else json.dumps(result).encode()
        return Release(task_id, token(task_id), str(int(status)), ms(life, 3_600_000), data, ANY)

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
    @rule(place=queues, items=several(holders, errors, delays))
    def bury(self, place: int, items: list[Any]) -> None:
        specs = [(self.hold(holder), *rest) for holder, *rest in items]
        self.settle(
            place,
            'bury',
            [Bury(task_id, token(task_id), '', error or '', ms_or_none(after)) for task_id, error, after in specs],
            *(lambda queue, spec=spec: queue.bury(spec[0], error=spec[1], tell_after=spec[2]) for spec in specs),
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
        assert said == tuple(map(sum, zip(*((*reply[:3], reply[5]) for reply in self.outcomes), strict=True)))
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
            return int(state[name].partition('.')[0]) / 1000 if name in state else None

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
            *(state.get('group'), number('priority') or 0, instant('ready_time')),
            self.model.delayed[task_id] / 1000 if state['status'] == DELAYED else None,
            attempts_of(state.get('history', '')),
            *(None,) * 6,
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
    @rule(place=queues, index=indexes, other=st.one_of(st.none(), st.none(), group_names), probing=st.booleans())
    def resume(self, place: int, index: int, other: str | None, probing: bool) -> None:
        group = other or ('' if '' in self.model.paused else choose(sorted(self.model.paused), index))
        stays = probing and group in self.model.paused
        (resumed,), sent = self.ask(place, lambda queue: queue.resume(group or None, probing=probing))
        assert sent == [Call('resume', [Resume(group, probing)])]
        assert resumed is not stays

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
                len(model.waiting.get(group, ())) + (group in model.heads),
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

    @rule(place=queues)
    def reopen(self, place: int) -> None:
        """Close an object, and go on with a new one."""
        queue = self.queues[place]
        self.loop.run_until_complete(queue.aclose())
        assert {call.transition.name for call in self.follow(place)} <= {'leave'}
        self.history.pop(f'client{place // 2}', None)
        self.queues[place] = self.make_queue(place)
