"""Any order of calls at a queue of three shards, beside a small model: each task is in one place, of one shard; groups
keep their order, their limits and their pauses; what is refused changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, seed, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

import torrelque
from support.servers import RealServer
from torrelque.sharded import Sharded

T = TypeVar('T')
GROUPS = ['a', 'b', 'c', 'd', 'e']
IDS = ['one', 'two', 'three', 'four']
groups, own_ids = st.sampled_from([None, *GROUPS]), st.sampled_from([None, None, *IDS])


class Known:
    """What the model knows of a task."""

    def __init__(self, group: str | None, place: str) -> None:
        self.group = group
        self.place = place
        self.delivery: torrelque.TaskId | None = None


class Machine(RuleBasedStateMachine):
    server: RealServer
    loop: asyncio.AbstractEventLoop

    tasks = Bundle('tasks')
    taken = Bundle('taken')

    def __init__(self) -> None:
        super().__init__()
        with self.server.sync_client() as client:
            client.flushall()
        self.client = self.server.client()
        self.queue = Sharded(self.client, queue='email', shards=3)
        self.run(self.queue.ready())
        self.known: dict[tuple[int, str], Known] = {}
        """Tasks by shard and id."""
        self.order: dict[str, list[str]] = {group: [] for group in GROUPS}
        """Ids of pending tasks of each group, in their order."""
        self.limits: dict[str, int] = {}
        self.paused: set[str] = set()
        self.stopped = False

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        self.run(self.queue.aclose())
        self.run(self.client.aclose())

    def number_of(self, task_id: str, group: str | None = None) -> int:
        return self.queue.shards.index(self.queue.shard_of(task_id, group))

    def add(self, task_id: torrelque.TaskId, group: str | None) -> tuple[int, str]:
        key = self.number_of(task_id, group), str(task_id)
        assert key not in self.known
        self.known[key] = Known(group, 'pending')
        if group:
            self.order[group].append(str(task_id))
        return key

    # Producers

    @rule(target=tasks, group=groups, own=own_ids)
    def enqueue(self, group: str | None, own: str | None) -> tuple[int, str]:
        key = None if own is None else (self.number_of(own, group), own)
        if key is not None and key in self.known:
            with pytest.raises(torrelque.DuplicateError):
                self.run(self.queue.enqueue('task', group=group, task_id=own))
            return key
        return self.add(self.run(self.queue.enqueue('task', group=group, task_id=own)), group)

    @rule(some=st.lists(groups, min_size=1, max_size=6))
    def enqueue_many(self, some: list[str | None]) -> None:
        task_ids = self.run(self.queue.enqueue_many(some, group=lambda group: group))
        assert len(task_ids) == len(some)
        for task_id, group in zip(task_ids, some, strict=True):
            self.add(task_id, group)

    @rule(key=tasks)
    def cancel(self, key: tuple[int, str]) -> None:
        place = next(iter(self.places(key[1])), None)
        if place is not None and self.known[place].place == 'working':
            # Its holder is told, and the core's own machine has what follows.
            return
        done = self.run(self.queue.cancel(key[1]))
        assert done == (place is not None)
        if place is not None:
            self.forget(place)

    # Consumers

    @rule(target=taken, most=st.integers(1, 4))
    def dequeue(self, most: int) -> list[torrelque.TaskId]:
        free = [key for key, one in self.known.items() if one.place == 'pending' and self.may_run(key, one)]
        try:
            found = self.run(self.queue.dequeue_many(most, 0))
        except torrelque.TimeoutError as exc:
            assert exc.replied and not free
            return []
        assert 0 < len(found) <= most
        [number] = {self.number_of(task_id) for task_id, _ in found}
        for task_id, _ in found:
            one = self.known[number, str(task_id)]
            assert one.place == 'pending' and one.group == task_id.group
            assert self.may_run((number, str(task_id)), one)
            if one.group:
                self.order[one.group].remove(str(task_id))
            one.place, one.delivery = 'working', task_id
        return [task_id for task_id, _ in found]

    def may_run(self, key: tuple[int, str], one: Known) -> bool:
        """Whether a pending task may be handed out."""
        if self.stopped or one.group in self.paused:
            return False
        if one.group is None:
            return True
        at_work = sum(other.group == one.group and other.place == 'working' for other in self.known.values())
        return self.order[one.group][0] == key[1] and at_work < self.limits.get(one.group, 1000)

    @rule(task_ids=consumes(taken))
    def release_many(self, task_ids: list[torrelque.TaskId]) -> None:
        held = [self.holds(task_id) for task_id in task_ids]
        assert self.run(self.queue.release_many(task_ids)) == [key is not None for key in held]
        for key in held:
            if key is not None:
                self.forget(key)

    @rule(task_ids=taken, forgive=st.booleans())
    def requeue(self, task_ids: list[torrelque.TaskId], forgive: bool) -> None:
        for task_id in task_ids:
            key = self.holds(task_id)
            assert self.run(self.queue.requeue(task_id, forgive=forgive)) == (key is not None)
            if key is not None:
                self.bring_back(key)

    @rule(task_ids=taken)
    def bury_and_touch(self, task_ids: list[torrelque.TaskId]) -> None:
        held = [self.holds(task_id) for task_id in task_ids]
        assert self.run(self.queue.touch_many(task_ids)) == [key is not None for key in held]
        for task_id, key in zip(task_ids, held, strict=True):
            assert self.run(self.queue.bury(task_id)) == (key is not None)
            if key is not None:
                self.known[key].place, self.known[key].delivery = 'dead', None

    # Operators

    @rule(limit=st.none() | st.integers(1, 3))
    def redrive(self, limit: int | None) -> None:
        dead = [key for key, one in self.known.items() if one.place == 'dead']
        assert self.run(self.queue.redrive(limit=limit)) == min(len(dead), limit or len(dead))
        for key in dead:
            state = self.run(self.queue.shards[key[0]].get_task_state(key[1]))
            if state.status is torrelque.TaskStatus.PENDING:
                self.bring_back(key)

    @rule(group=st.sampled_from(GROUPS), most=st.integers(1, 2))
    def set_limit(self, group: str, most: int) -> None:
        self.run(self.queue.set_limit(group, concurrency=most))
        self.limits[group] = most

    @rule(group=groups)
    def pause(self, group: str | None) -> None:
        self.run(self.queue.pause(group))
        if group is None:
            self.stopped = True
        else:
            self.paused.add(group)

    @rule(group=groups)
    def resume(self, group: str | None) -> None:
        assert self.run(self.queue.resume(group))
        if group is None:
            self.stopped = False
        self.paused.discard(group or '')

    # The model

    def places(self, task_id: str) -> list[tuple[int, str]]:
        """Where an id is, first where it is looked for first."""
        first = self.number_of(task_id)
        found = [key for key in self.known if key[1] == task_id]
        return sorted(found, key=lambda key: key[0] != first)

    def holds(self, task_id: torrelque.TaskId) -> tuple[int, str] | None:
        key = self.number_of(task_id), str(task_id)
        return key if key in self.known and self.known[key].delivery is task_id else None

    def forget(self, key: tuple[int, str]) -> None:
        one = self.known.pop(key)
        if one.place == 'pending' and one.group:
            self.order[one.group].remove(key[1])

    def bring_back(self, key: tuple[int, str]) -> None:
        one = self.known[key]
        one.place, one.delivery = 'pending', None
        if one.group:
            # A group has the order of enqueueing, which the ids of the model keep.
            self.order[one.group] = [
                other for (_, other), it in self.known.items() if it.group == one.group and it.place == 'pending'
            ]

    @invariant()
    def each_task_is_in_one_place(self) -> None:
        stats = self.run(self.queue.get_queue_stats())
        counted = {place: sum(one.place == place for one in self.known.values()) for place in PLACES}
        assert (stats.pending, stats.working, stats.dead, stats.tasks) == (*counted.values(), len(self.known))
        for number, shard in enumerate(self.run(self.queue.stats_of_shards())):
            assert shard is not None and shard.tasks == sum(key[0] == number for key in self.known)


PLACES = ('pending', 'working', 'dead')


@pytest.mark.first_server
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('examples', [4, pytest.param(60, marks=pytest.mark.long)])
def test_any_order_of_calls_is_as_the_model_has_it(server: RealServer, examples: int) -> None:
    loop = asyncio.new_event_loop()
    Machine.server, Machine.loop = server, loop
    machine: Any = seed(examples)(type('Machine', (Machine,), {}))
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=50, database=None, deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        loop.close()
