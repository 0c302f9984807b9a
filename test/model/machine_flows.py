"""Flows by any order of public calls, lost replies, time and crashes, beside a model of who waits for whom.

After each step the keys are looked at: F1 to F3 by themselves (`model_flows`), F4 and F5 by the table of edges
(`model_ends`), F8 where somebody comes too late; F6 and F7 at the end.  The clock stands until it is moved, and bounds
are low, so that flows of some tasks are made in several calls, and one call tells few.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import note, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model.machine_door import CLOCK, Door, Sent
from model.machine_draws import choose, indexes
from model.model_checks import DUMP, Seen, read_dump
from model.model_ends import Part, begins, takes
from model.model_flows import PARKED
from proof.invariants import check_keys
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueError, TorrelqueNode, TorrelqueTaskId, TorrelqueTaskStatus as Status
from torrelque.protocol import transition as protocol

START = 1_700_000_000_000
POLICIES = 'wait', 'skip', 'cancel'

edges = st.lists(st.tuples(indexes, st.sampled_from(['then', 'then', 'then', 'end', 'fail'])), max_size=3)
nodes = st.tuples(
    edges,
    st.sampled_from(['all', 'all', 'any']),
    st.sampled_from([None, None, None, 0.001, 2]),
    st.sampled_from([None, None, 'g']),
    st.sampled_from([0, 0, 0, 3]),
    st.sampled_from([None, None, 1, 2]),
)
"""Edges, join, delay, group, priority, attempts."""
places = st.integers(0, 1)


class Flows(RuleBasedStateMachine):
    """Two queue objects of one queue, and what is known of its flows."""

    server: RealServer
    protocol: int
    door: Door
    names = map('flows-{}'.format, itertools.count())

    def __init__(self) -> None:
        super().__init__()
        self.names_of_hypothesis = {*vars(self)}
        self.door.restart()
        self.raw = self.server.sync_client()
        self.dump_script = self.raw.register_script(DUMP)
        self.loop = asyncio.new_event_loop()
        self.clients = [self.server.client(protocol=self.protocol) for _ in range(2)]
        name = next(self.names)
        self.queues = [Torrelque(client, queue=name) for client in self.clients]
        self.prefix = self.queues[0].keys['pending'].removesuffix('pending')
        self.transitions = protocol.Transitions(self.queues[0].keys)
        self.now = START
        self.raw.set(CLOCK, START)
        self.numbers = itertools.count()
        self.ids: list[str] = []
        """Tasks of flows, by their numbers."""
        self.parts: list[Part] = []
        self.its_flow: list[str] = []
        self.ends: list[str | None] = []
        self.died: set[int] = set()
        self.policies: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.deliveries: list[TorrelqueTaskId] = []
        self.handed: list[TorrelqueTaskId] = []
        self.lost: list[Sent] = []
        """Calls whose replies may have been lost."""

    # Calling

    def ask(self, place: int, call: Callable[[Torrelque], Awaitable[Any]], calls: int | None = None) -> Any:
        """What a call gives, or the error that it raises; ``calls`` is after how many of its own it is given up."""

        async def run() -> Any:
            task = asyncio.ensure_future(call(self.queues[place]))
            self.door.when_logged = lambda: task.cancel() if len(self.door.log) == calls else None
            await asyncio.wait([task])
            self.door.when_logged = None
            # What was begun in passing goes on behind the answer.
            count = -1
            while count < len(self.door.log):
                count = len(self.door.log) + 1
                await self.queues[place].get_queue_stats()
            return None if task.cancelled() else task.exception() or task.result()

        answer = self.loop.run_until_complete(run())
        assert not isinstance(answer, Exception) or isinstance(answer, TorrelqueError), answer
        # `state` and `stats` only read.
        writing = [sent for sent in self.door.log if sent.transition.name not in ('state', 'stats')]
        self.lost = [*self.lost, *writing][-4:]
        self.door.log.clear()
        note(f'{answer}')
        return answer

    def look(self) -> Seen:
        return read_dump(self.dump_script(args=[self.prefix]))

    def hold(self, index: int) -> TorrelqueTaskId | None:
        return self.deliveries[index % len(self.deliveries)] if self.deliveries else None

    def is_held(self, task_id: TorrelqueTaskId) -> bool:
        state: list[Any] = self.raw.hmget(
            f'{self.prefix}task:{task_id}', 'status', 'dequeue_count', 'last_dequeue_time'
        )
        return None not in state and state[0] == b'1' and task_id.token == f'{state[1].decode()}-{state[2].decode()}'

    # Making

    def make_nodes(self, drawn: Sequence[Any], others: Sequence[str]) -> list[TorrelqueNode]:
        made: list[TorrelqueNode] = []
        for its_edges, join, delay, group, priority, attempts in drawn:
            names = [*others, *(node.name for node in made)]
            after: dict[str, Any] = {choose(names, index): kind for index, kind in its_edges} if names else {}
            name = f'n{next(self.numbers)}'
            made.append(TorrelqueNode(name, 1, after, join, delay=delay, group=group, priority=priority,
                                      max_attempts=attempts, task_timeout=10))  # fmt: skip
        return made

    def take_in(self, flow_id: str, made: Sequence[TorrelqueNode]) -> None:
        """Know those tasks that are there."""
        seen = self.look()
        for node in made:
            task_id = f'{flow_id}.{node.name}'
            if task_id in seen.needs.get(flow_id, {}) or task_id in seen.done.get(flow_id, {}):
                after = tuple((self.ids.index(f'{flow_id}.{name}'), kind) for name, kind in node.after.items()
                              if f'{flow_id}.{name}' in self.ids)  # fmt: skip
                self.know(task_id, flow_id, Part(after, node.join == 'any'))
                for name in node.before:
                    number = self.ids.index(f'{flow_id}.{name}')
                    held = self.parts[number]
                    self.parts[number] = held._replace(after=(*held.after, (len(self.ids) - 1, 'then')))

    def know(self, task_id: str, flow_id: str, part: Part) -> None:
        self.ids.append(task_id)
        self.parts.append(part)
        self.its_flow.append(flow_id)
        self.ends.append(None)

    @rule(
        place=places,
        drawn=st.lists(nodes, max_size=7),
        policy=st.sampled_from(POLICIES),
        timeout=st.sampled_from([None, None, None, 30]),
        calls=st.sampled_from([None, None, None, 1, 2]),
    )
    def enqueue_flow(self, place: int, drawn: list[Any], policy: Any, timeout: Any, calls: int | None) -> None:
        """Make a flow; whoever makes it may be gone before all of it is there."""
        made, flow_id = self.make_nodes(drawn, ()), f'F{next(self.numbers)}'
        self.policies[flow_id] = policy
        said = self.ask(
            place,
            lambda queue: queue.enqueue_flow(made, flow_id=flow_id, on_failure=policy, timeout=timeout, result_ttl=99),
            calls,
        )
        assert said == flow_id or calls
        self.take_in(flow_id, made)

    @rule(place=places, index=indexes, drawn=st.lists(nodes, min_size=1, max_size=3), holds=st.booleans())
    def add_to_flow(self, place: int, index: int, drawn: list[Any], holds: bool) -> None:
        by = self.hold(index)
        number = self.ids.index(by) if by in self.ids else None
        if by is None or number is None or not by.startswith(f'{self.its_flow[number]}.'):
            return
        flow_id = self.its_flow[number]
        others = [task_id.removeprefix(f'{flow_id}.') for task_id, flow in zip(self.ids, self.its_flow, strict=True)
                  if flow == flow_id and task_id.startswith(f'{flow_id}.')]  # fmt: skip
        left = self.look().needs.get(flow_id, {})
        waits = [name for name in others if left.get(f'{flow_id}.{name}', '0') not in ('0', 'dead')]
        if holds and waits:
            # Whoever is waited for must not wait itself where others are held back.
            made = self.make_nodes(drawn, [name for name in others if name not in waits])
            made[0] = made[0]._replace(before=[choose(waits, index)])
        else:
            made = self.make_nodes(drawn, others)
        fine, before = self.is_held(by), self.look()
        said = self.ask(place, lambda queue: queue.add_to_flow(made, by=by))
        if not fine:
            # F8: whoever has lost its lease adds nothing.
            assert isinstance(said, TorrelqueError) and self.look().needs == before.needs
        self.take_in(flow_id, made)

    @rule(place=places, several=st.lists(indexes, min_size=1, max_size=3))
    def depend(self, place: int, several: list[int]) -> None:
        known = [*self.ids, *map(str, self.deliveries)]
        if not known:
            return
        others = [*dict.fromkeys(choose(known, index) for index in several)]
        task_id = f'd{next(self.numbers)}'
        said = self.ask(place, lambda queue: queue.enqueue(1, task_id=task_id, task_timeout=10, depends_on=others))
        state: dict[bytes, bytes] = self.raw.hgetall(f'{self.prefix}task:{task_id}')  # type: ignore[assignment]
        assert isinstance(said, TorrelqueError) or said == task_id
        assert bool(state) == (said == task_id)
        flow_id = state.get(b'flow', b'').decode()
        if flow_id not in self.policies:
            return
        for one in others:
            if one not in self.ids and self.raw.hexists(f'{self.prefix}needs:{flow_id}', one):
                # It was of no flow, and is of that now; somebody has it, or has had it.
                self.know(one, flow_id, Part())
        if {*others} <= {*self.ids}:
            self.know(task_id, flow_id, Part(tuple((self.ids.index(one), 'then') for one in others)))

    @rule(place=places, group=st.sampled_from([None, 'g']))
    def enqueue(self, place: int, group: str | None) -> None:
        self.ask(place, lambda queue: queue.enqueue(1, task_id=f'p{next(self.numbers)}', group=group, task_timeout=10))

    # Working

    @rule(place=places, most=st.integers(1, 4))
    def dequeue(self, place: int, most: int) -> None:
        said = self.ask(place, lambda queue: queue.dequeue_many(most, 0))
        given = [] if isinstance(said, TorrelqueError) else [task_id for task_id, _ in said]
        self.handed += given
        self.deliveries = [*self.deliveries, *given][-20:]

    @rule(
        place=places,
        index=indexes,
        verb=st.sampled_from(['release', 'release', 'release', 'keep', 'reject', 'requeue', 'bury', 'touch', 'put']),
    )
    def settle(self, place: int, index: int, verb: str) -> None:
        """Settle what somebody holds, or has held once."""
        task_id = self.hold(index)
        if task_id is None:
            return
        fine, before = self.is_held(task_id), self.look()
        calls: dict[str, Callable[[Torrelque], Awaitable[Any]]] = {
            'release': lambda queue: queue.release(task_id),
            'keep': lambda queue: queue.release(task_id, result='r', result_ttl=99),
            'reject': lambda queue: queue.release(task_id, status=Status.REJECTED, result_ttl=99),
            'requeue': lambda queue: queue.requeue(task_id, error='why', delay=None if index % 2 else 0.5),
            'bury': lambda queue: queue.bury(task_id, error='boom'),
            'touch': lambda queue: queue.touch(task_id),
            'put': lambda queue: queue.put_value('k', index, by=task_id),
        }
        said = self.ask(place, calls[verb])
        after = self.look()
        if verb != 'put':
            assert said is fine, (said, fine)
        if not fine and before.states.get(task_id, {}).get('status') != '6':
            # F8: whoever has lost its lease changes nothing.
            assert (after.needs, after.done, after.states) == (before.needs, before.done, before.states)
        how = {'release': 'c', 'keep': 'c', 'reject': 'f'}.get(verb)
        number = self.ids.index(task_id) if task_id in self.ids else None
        if fine and how and number is not None and self.ends[number] is None:
            assert self.how_of(after, number) == how

    @rule(place=places, index=indexes)
    def cancel(self, place: int, index: int) -> None:
        known = [*self.ids, *map(str, self.deliveries)]
        if known:
            self.ask(place, lambda queue: queue.cancel(choose(known, index)))

    @rule(place=places, index=indexes, calls=st.sampled_from([None, None, 1, 2]))
    def cancel_flow(self, place: int, index: int, calls: int | None) -> None:
        """Cancel a flow; whoever does may be gone before all of its tasks are taken back."""
        if self.policies:
            flow_id = choose([*self.policies], index)
            self.ask(place, lambda queue: queue.cancel(flow_id), calls)

    @rule(place=places, index=indexes)
    def redrive(self, place: int, index: int) -> None:
        dead = sorted(self.look().dead)
        if dead:
            self.ask(place, lambda queue: queue.redrive(choose(dead, index)))

    @rule(place=places, index=indexes)
    def redrive_flow(self, place: int, index: int) -> None:
        going = [flow_id for flow_id in self.policies if flow_id in self.look().parked]
        if going:
            self.ask(place, lambda queue: queue.redrive(choose(going, index)))

    # Time and faults

    @rule(place=places)
    def sweep(self, place: int) -> None:
        self.ask(place, lambda queue: queue.sweep())

    @rule()
    def spread(self) -> None:
        """One piece of what is left to be done."""
        self.raw.execute_command(*self.transitions['spread'].words([], False))

    @rule(ahead=st.sampled_from([1, 500, 2000, 10_000, 61_000]))
    def pass_time(self, ahead: int) -> None:
        self.now += ahead
        self.raw.set(CLOCK, self.now)

    @precondition(lambda self: self.lost)
    @rule(count=st.integers(1, 4))
    def send_twice(self, count: int) -> None:
        """Replies were lost: the calls are sent again, in their order, perhaps behind others."""
        for sent in self.lost[-count:]:
            reply = self.raw.execute_command(*sent.transition.words(sent.args, True))
            if sent.transition.name == 'claim':
                continue
            note(f'again {sent.transition.name} {sent.args}: {reply}')

    # What must hold

    def how_of(self, seen: Seen, number: int) -> str | None:
        value = seen.done.get(self.its_flow[number], {}).get(self.ids[number])
        return None if value is None else value[1] if value.startswith('!') else 'c'

    @invariant()
    def check(self) -> None:
        self.door.steps += 1
        seen = self.look()
        for fault in check_keys(seen):
            raise AssertionError(fault)
        self.check_ends(seen)
        self.check_joins(seen)
        self.handed.clear()

    def check_ends(self, seen: Seen) -> None:
        """F3: each task ends once, and as it has ended."""
        for number, end in enumerate(self.ends):
            how = self.how_of(seen, number)
            assert how == end or end is None, (self.ids[number], end, how)
            self.ends[number] = how
            flow_id = self.its_flow[number]
            if seen.needs.get(flow_id, {}).get(self.ids[number]) == 'dead':
                self.died.add(number)
            if seen.states.get(flow_id, {}).get('status') == '6':
                self.cancelled.add(flow_id)

    def check_joins(self, seen: Seen) -> None:
        """F4 and F5: what may begin has, and nothing else; what never can is skipped, and nothing else."""
        spread = 'spread' in seen.names
        for number, part in enumerate(self.parts):
            flow_id, task_id = self.its_flow[number], self.ids[number]
            may = begins(part, self.ends, self.died)
            left = seen.needs.get(flow_id, {}).get(task_id)
            if left == '0' or task_id in self.handed:
                assert may, (task_id, part)
            elif 'skipped' in seen.done.get(flow_id, {}).get(task_id, ''):
                assert may is False, (task_id, part)
            elif left not in (None, 'dead') and not spread and 'draft' not in seen.states[flow_id]:
                assert may is None and seen.states[task_id]['status'] == PARKED, (task_id, part, left)
                found = [takes(kind, other, self.ends, self.died) for other, kind in part.after]
                count = len(found) - found.count(not part.any)
                assert left == f'{"a" * part.any}{count}', (task_id, left, found)

    # The end

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
            for name in {*vars(self)} - self.names_of_hypothesis:
                delattr(self, name)

    def finish(self) -> None:
        """F6 and F7: each flow ends, rightly, and nothing is left but what has a time to live."""
        for _ in range(30):
            if not self.raw.exists(f'{self.prefix}tasks'):
                break
            self.ask(0, lambda queue: queue.sweep())
            # A death is to be seen before it is undone.
            self.check()
            if dead := [*self.look().dead]:
                self.ask(0, lambda queue, dead=dead: queue.redrive(*dead))  # type: ignore[misc]
            self.dequeue(0, 4)
            held = [*self.deliveries]
            self.ask(0, lambda queue, held=held: queue.release_many(held))  # type: ignore[misc]
            self.deliveries.clear()
            self.check()
            self.pass_time(11_000)
        seen = self.look()
        assert not seen.payloads, seen.payloads
        assert None not in self.ends
        for flow_id, policy in self.policies.items():
            state = seen.states[flow_id]
            values = seen.done.get(flow_id, {}).values()
            failed = sum(value.startswith(('!f', '!x')) for value in values)
            assert (state['left'], int(state.get('failed', 0)), state.get('dead', '0')) == ('0', failed, '0')
            if flow_id in self.cancelled:
                assert state['status'] == '6'
            else:
                assert state['status'] == ('4' if failed else '3') or policy == 'cancel'
        for key in self.raw.scan_iter(f'{self.prefix}*'):
            assert self.raw.pttl(key) != -1, key
