"""Steps of the machine that are about schedules."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import torrelque
from model.machine_calls import Calls
from model.machine_door import BULK_TASKS, INSTANTS, TOLD_INSTANTS, WALK
from model.machine_draws import (
    attempts,
    group_names,
    leases,
    ms,
    ms_or_none,
    priorities,
    queues,
    several,
    values,
)
from model.machine_faults import Faults
from model.model_calls import Fire, Hold, Schedule, Unschedule
from torrelque import Torrelque, TorrelqueSchedule, TorrelqueTaskStatus as Status

NAMES = ['s', 't', 'ü 1']

names = st.sampled_from(NAMES)
distances = st.sampled_from([-60_000, -1, 0, 1, 2, 499, 1999, 2000, 2001, 10_000, 60_000, 300_000, 3_600_000])
ahead = st.lists(distances, max_size=INSTANTS, unique=True).map(sorted)
everies = st.sampled_from([0.001, 0.5, 2, 60, 3600])
"""s from one instant to the next."""
slow = st.sampled_from([600, 3600])
"""The same, where each is to fire of those that are due after an hour."""
overlaps = st.sampled_from(['skip', 'skip', 'allow', 'replace', 'queue'])
untils = st.sampled_from([None, None, None, -1, 0, 1, 2000, 60_000, 3_600_000])
graces = st.sampled_from([None, None, 0, 0.001, 2, 60])
specs = st.sampled_from([None, 1, 1, 1, {'b': 'ü', 'a': [2]}])
sources = st.sampled_from([None, None, 'a', 'b'])
revisions = st.sampled_from([None, None, 1, 2])
whens = st.one_of(
    st.tuples(ahead, st.none(), st.sampled_from(['latest', 'latest', 'all', 'none'])),
    st.tuples(st.none(), everies, st.sampled_from(['latest', 'none'])),
    st.tuples(st.none(), slow, st.just('all')),
)
"""Distances of instants from now (ms), or the time (s) from one to the next; and which of several that are due fire."""


class Schedules(Calls, Faults):
    """Each public call of schedules, and what becomes of their tasks."""

    @rule(
        place=queues,
        name=names,
        value=values,
        when=whens,
        overlap=overlaps,
        until=untils,
        grace=graces,
        spec=specs,
        owner=st.tuples(sources, revisions),
        options=st.tuples(leases, attempts, st.one_of(st.none(), group_names), priorities),
        phase=st.sampled_from([0, 0.001, 0.3, 100_000]),
    )
    def set_schedule(
        self,
        place: int,
        name: str,
        value: Any,
        when: tuple[list[int] | None, float | None, str],
        overlap: str = 'skip',
        until: int | None = None,
        grace: float | None = None,
        spec: Any = None,
        owner: tuple[str | None, int | None] = (None, None),
        options: tuple[Any, int | None, str | None, int] = (None, None, None, 0),
        phase: float = 0,
    ) -> None:
        distances, every, missed = when
        lease, most, group, priority = options
        group, priority = self.rank((group, priority))
        group = None if overlap == 'queue' else group
        times = None if distances is None else [self.model.now + distance for distance in distances]
        end = None if until is None else self.model.now + until
        phase = phase if every else 0
        (said,), calls = self.ask(
            place,
            lambda queue: queue.set_schedule(
                name,
                value,
                times=None if times is None else [instant / 1000 for instant in times],
                every=every,
                phase=phase,
                task_timeout=lease,
                max_attempts=most,
                group=group,
                priority=priority,
                overlap=overlap,
                missed=missed,
                grace=grace,
                until=None if end is None else end / 1000,
                spec=spec,
                source=owner[0],
                revision=owner[1],
            ),
        )
        (item,) = calls[-1].items
        assert all(call.items == [item] for call in calls) and self.outcomes[:-1] == [['due']] * (len(calls) - 1)
        given: dict[str, Any] = {'timeout': ms(lease, 300_000), 'max_attempts': most, 'priority': priority or None}
        given['group'] = f'schedule:{name}' if overlap == 'queue' else group
        assert json.loads(item.said.pop('options')) == {key: one for key, one in given.items() if one is not None}
        texts = {
            'payload': json.dumps(value),
            'overlap': overlap,
            'missed': missed,
            'grace': ms_or_none(grace),
            'until': end,
            'every': ms_or_none(every),
            'phase': ms(phase) if every else None,
            'spec': spec and json.dumps(spec, sort_keys=True, separators=(',', ':')),
            'source': owner[0],
            'revision': owner[1],
        }
        said_of_it = {key: '' if one is None else str(one) for key, one in texts.items()}
        assert item == Schedule(item.mark, name, said_of_it, INSTANTS, times or [])
        assert said is (self.outcomes[-1] == ['ok'])

    @rule(place=queues, name=names, distances=ahead, knows=st.sampled_from([True, True, True, False]), spec=specs)
    def extend_schedule(self, place: int, name: str, distances: list[int], knows: bool, spec: Any) -> None:
        known = self.model.times.get(name, [])
        after = known[-1] if known and knows else None
        if knows and name in self.model.plans:
            spec = json.loads(self.model.plans[name]['spec'] or 'null')
        times = [(self.model.now + distance) / 1000 for distance in distances]
        (said,), (call,) = self.ask(
            place,
            lambda queue: queue.extend_schedule(
                name, times, after=None if after is None else after / 1000, spec=spec
            ),
        )
        (item,) = call.items
        assert (item.name, item.after, item.most) == (name, after, INSTANTS)
        assert item.times == [self.model.now + distance for distance in distances]
        assert said is (self.outcomes == [['ok']])

    @rule(place=queues, name=names, owner=st.one_of(st.just((None, None)), st.tuples(sources, revisions)))
    def remove_schedule(self, place: int, name: str, owner: tuple[str | None, int | None] = (None, None)) -> None:
        source, revision = owner
        (said,), (call,) = self.ask(
            place, lambda queue: queue.remove_schedule(name, source=source, revision=revision)
        )
        assert call.items == [Unschedule(name, source or '', str(revision or ''))]
        assert said is (self.outcomes == [['ok']])

    @rule(place=queues, name=names, held=st.booleans())
    def hold_schedule(self, place: int, name: str, held: bool) -> None:
        (said,), calls = self.ask(
            place, lambda queue: queue.pause_schedule(name) if held else queue.resume_schedule(name)
        )
        mark = calls[0].items[0].mark
        assert all(call.items == [Hold(mark, name, held)] for call in calls)
        if name in self.model.plans:
            assert self.outcomes[:-1] == [['due']] * (len(calls) - 1)
            assert said is (self.outcomes[-1] == ['ok'])
        else:
            assert isinstance(said, torrelque.TorrelqueLookupError)

    @rule(place=queues, name=names, distances=st.one_of(st.just([]), ahead))
    def fire(self, place: int, name: str, distances: list[int]) -> None:
        times = [self.model.now + distance for distance in distances]
        (said,), calls = self.ask(place, lambda queue: queue.fire(name, *(instant / 1000 for instant in times)))
        sent = [item for call in calls for item in call.items]
        if name not in self.model.plans:
            assert isinstance(said, torrelque.TorrelqueLookupError)
            return
        parts = [[str(one) for one in times[i : i + WALK]] for i in range(0, len(times), WALK)] or [[]]
        assert sent == [Fire(item.mark, name, part) for item, part in zip(sent, parts, strict=True)]
        assert said == [task_id for outcome in self.outcomes for task_id in outcome]
        self.filled |= {f'{name}@{instant}' for instant in times}
        for task_id in said:
            self.remember(task_id)

    @rule(place=queues, prefix=st.sampled_from(['', 's', 'ü', 'x']))
    def look_at_schedules(self, place: int, prefix: str) -> None:
        async def read(queue: Torrelque) -> list[TorrelqueSchedule]:
            return [schedule async for schedule in queue.get_schedules(prefix)]

        (found, *each), _ = self.ask(
            place, read, *(lambda queue, name=name: queue.get_schedule(name) for name in NAMES)
        )
        known = {name: self.as_told(name) for name in NAMES if name in self.model.plans}
        assert sorted(found) == sorted(one for name, one in known.items() if name.startswith(prefix))
        for name, one in zip(NAMES, each, strict=True):
            assert one == known[name] if name in known else isinstance(one, torrelque.TorrelqueLookupError)

    def as_told(self, name: str) -> TorrelqueSchedule:
        """A schedule of the model, as it is told of."""
        plan, times, score = self.model.plans[name], self.model.times.get(name, []), self.model.schedules[name]
        options = json.loads(plan['options'])

        def number(field: str) -> int | None:
            return int(plan[field]) if plan.get(field) else None

        def seconds(field: str) -> float | None:
            found = number(field)
            return None if found is None else found / 1000

        every, until = number('every'), number('until')
        known: list[int] = times[:TOLD_INSTANTS]
        if every:
            known = [] if score == math.inf else [int(score) + k * every for k in range(10)]
        known = [instant for instant in known if until is None or instant <= until]
        return TorrelqueSchedule(
            name=name,
            task=json.loads(plan['payload']),
            next=None if score == math.inf else score / 1000,
            times=tuple(instant / 1000 for instant in known),
            left=None if every else len(times),
            end=times[-1] / 1000 if times else None,
            every=seconds('every'),
            phase=seconds('phase') or 0,
            overlap=plan['overlap'],
            missed=plan['missed'],
            grace=seconds('grace'),
            until=seconds('until'),
            spec=json.loads(plan['spec'] or 'null'),
            source=plan['source'] or None,
            revision=number('revision'),
            paused='paused' in plan,
            last=seconds('last'),
            last_id=plan.get('last_id') or None,  # type: ignore[arg-type]  # a str is equal
            fired=number('fired') or 0,
            skipped=number('skipped') or 0,
            task_timeout=options['timeout'] / 1000,
            max_attempts=options.get('max_attempts'),
            group=options.get('group'),
            priority=options.get('priority', 0),
        )

    # Several in a row

    @precondition(lambda self: self.model.firing())
    @rule(place=queues, less=st.integers(0, 1), swept=st.booleans(), twice=st.booleans())
    def pass_time_to_a_firing(self, place: int, less: int, swept: bool, twice: bool) -> None:
        """The next schedule fires, by a sweep or by whoever claims; perhaps the reply was lost."""
        self.move_clock(max(self.model.now, min(self.model.firing()) - less))
        if swept:
            self.ask(place, lambda queue: queue.sweep())
            if twice:
                self.send_twice('last', 1, False)
        else:
            self.dequeue(place, [1], False)

    @rule(
        place=queues,
        name=names,
        overlap=overlaps,
        missed=st.sampled_from(['latest', 'all', 'all']),
        ranked=st.tuples(st.one_of(st.none(), group_names), priorities),
        waiting=st.integers(0, 4),
        rounds=st.lists(st.sampled_from(['pass', 'take', 'give', 'delay', 'bury', 'release', 'cancel']), max_size=8),
    )
    def overlap(
        self, place: int, name: str, overlap: str, missed: str, ranked: Any, waiting: int, rounds: list[str]
    ) -> None:
        """A schedule fires again and again while its tasks go on, with others before them."""
        when: Any = (None, 600, missed) if missed == 'all' else (None, 2, missed)
        self.set_schedule(place, name, 0, when, overlap, options=(None, 2, *ranked))
        self.enqueue_many(place, [0] * waiting, None, None, None)
        newest = ('current', 0)
        for what in rounds:
            if what == 'pass':
                self.move_clock(self.model.now + (1_200_000 if missed == 'all' else 2000))
                self.ask(place, lambda queue: queue.sweep())
            elif what == 'take':
                self.dequeue(place, [BULK_TASKS], False)
            elif what == 'cancel':
                self.cancel(place, [(0, 'n')])
            elif self.deliveries:
                if what == 'bury':
                    self.bury(place, [(newest, None, None)])
                elif what == 'release':
                    self.release(place, [(newest, Status.COMPLETED, None, None)])
                else:
                    self.requeue(place, [(newest, 5 if what == 'delay' else None, None, None, False)])

    @rule(
        place=queues,
        name=names,
        changes=several(whens, overlaps, untils, specs, st.integers(0, 3)),
        distance=st.sampled_from([0, 1, 2, 2000, 60_000, 3_600_000]),
    )
    def change(self, place: int, name: str, changes: list[Any], distance: int) -> None:
        """A schedule is set, and set again, when some of it is due or not."""
        for when, overlap, until, spec, again in changes:
            for _ in range(1 + again // 2):
                self.set_schedule(place, name, 0, when, overlap, until, spec=spec)
            if again % 2:
                self.send_twice('last', 1, False)
            self.move_clock(self.model.now + distance)

    @rule(place=queues, name=names, other=names, held=st.booleans())
    def lose_firings(self, place: int, name: str, other: str, held: bool) -> None:
        """Calls that fire are on their way, one behind the other, and all replies are lost."""
        self.fire(place, name, [])
        self.fire(place, other, [1, 2])
        self.hold_schedule(place, other, held)
        self.send_twice(f'client{place // 2}', 3, False)
