"""Flows over two queues by random calls of the scripts, which are carried by clients that may die on the way."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Sequence
from typing import Any

import redis

from model.model_checks import DUMP, read_dump
from model.model_ends import fits
from proof.invariants import check_keys
from torrelque import TorrelqueConnectionError, TorrelqueNode, TorrelqueTaskId, TorrelqueTaskStatus as Status
from torrelque.codec import JSON
from torrelque.protocol import flows, steps
from torrelque.protocol.abroad import carry
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import read_claim
from torrelque.protocol.scripts import load_script
from torrelque.protocol.steps import Steps, Walk

from .flowing import BUDGET

TIMES = (('local LEASE = 15000', 'local LEASE = 3'), ('1000 * 2 ^', '1 * 2 ^'))
"""How long what was collected is left alone, and how long what could not be carried: for a storm, a moment."""


class Wandering:
    """Two queues, what is done there, and what must hold between two scripts."""

    def __init__(self, client: redis.Redis, seed: int) -> None:
        self.client = client
        client.set_response_callback('HSCAN', lambda reply, **options: reply)
        self.random = random.Random(seed)
        self.budget = str(self.random.choice([1, 3, 200]))
        self.loss = self.random.choice([0.0, 0.1, 0.3])
        """How likely it is that a reply is lost, that a call does not arrive, that whoever carries dies."""
        names = f'home{seed}', f'other{seed}'
        self.queues = {name: Calls(name, JSON, None) for name in names}
        self.home = self.queues[names[0]]
        self.scripts: dict[str, Any] = {}
        self.late: list[tuple[Calls, str, Sequence[Any]]] = []
        self.held: dict[str, list[TorrelqueTaskId]] = {name: [] for name in names}
        self.nodes: dict[str, TorrelqueNode] = {}
        self.flows: dict[str, str] = {}
        self.results: dict[str, set[str]] = {}
        """What each task was released with, by whoever held it."""
        self.died: set[str] = set()
        self.numbers = itertools.count()

    # Calls

    def send(self, calls: Calls, name: str, args: Sequence[Any], resent: bool = False) -> Any:
        if name not in self.scripts:
            text = load_script(name).text.decode().replace(BUDGET, BUDGET.replace('200', self.budget))
            for old, new in TIMES:
                text = text.replace(old, new)
            self.scripts[name] = self.client.register_script(text)
        keys = [calls.keys['pending'], calls.keys['never']]
        return self.scripts[name](keys, ['1' if resent else '', *calls.heads[name], *args])

    def call(self, calls: Calls, name: str, args: Sequence[Any]) -> Any:
        """Make a call, which may be made again at once, or behind others."""
        reply = self.send(calls, name, args)
        if self.random.random() < self.loss:
            if self.random.random() < 0.5:
                reply = self.send(calls, name, args, True)
            else:
                self.late.append((calls, name, args))
        if self.late and self.random.random() < 0.3:
            self.send(*self.late.pop(self.random.randrange(len(self.late))), True)
        return reply

    def run(self, calls: Calls, verb: Steps[Any]) -> Any:
        """Calls of a verb; what is carried in it may get lost, or end where whoever carries dies."""
        walk, reply = Walk(verb), None
        while walk.go_on(reply):
            if walk.abroad is None:
                name, words = walk.name, walk.args
                reply = self.client.execute_command(*words) if name is None else self.call(calls, name, words)
            elif self.random.random() < self.loss / 3:
                return None
            else:
                reply = self._abroad(self.queues[walk.abroad or calls.name], str(walk.name), walk.args)
        return walk.result

    def _abroad(self, calls: Calls, name: str, args: Sequence[Any]) -> Any:
        lost = TorrelqueConnectionError('nobody knows what became of it')
        if self.random.random() < self.loss:
            if self.random.random() < 0.5:
                # It arrives late, maybe when others have done it.
                self.late.append((calls, name, args))
            return lost
        reply = self.send(calls, name, args)
        return lost if self.random.random() < self.loss else reply

    # What happens

    def any_queue(self) -> Calls:
        return self.random.choice([*self.queues.values()])

    def make(self) -> None:
        count = self.random.choice([1, 3, 8, 20])
        nodes: list[TorrelqueNode] = []
        for number in range(count):
            after: dict[str, Any] = {}
            names = [node.name for node in nodes]
            for name in self.random.sample(names, min(len(names), self.random.choice([0, 1, 1, 2, 3]))):
                after[name] = self.random.choices(['then', 'end', 'fail'], [8, 1.5, 1.5])[0]
            nodes.append(
                TorrelqueNode(
                    f'{number}', number, after, 'any' if self.random.random() < 0.15 else 'all',
                    group=self.random.choice([None, None, None, 'g']), priority=self.random.choice([0, 0, 0, 2]),
                    delay=self.random.choice([None, None, None, 0.002]),
                    max_attempts=self.random.choice([None, 1, 2]), queue=self.random.choice([None, *self.queues]),
                )
            )  # fmt: skip
        flow_id = f'F{next(self.numbers)}'
        policy = self.random.choice(['wait', 'wait', 'skip', 'cancel'])
        self.flows[flow_id] = policy
        self.nodes.update((f'{flow_id}.{node.name}', node) for node in nodes)
        flow = flows.new_flow(self.home, nodes, 60, None, flow_id, None, policy, (), None, 60)
        self.run(self.home, flows.make_flow(self.home, flow))

    def claim(self) -> None:
        calls = self.any_queue()
        record = f'{calls.keys["claim"]}:x:{next(self.numbers)}'
        reply = self.call(calls, 'claim', calls.claim('', record, self.random.choice([1, 3]), 0))
        self.client.delete(record)
        for task_id, _ in read_claim(reply).tasks:
            self.held[calls.name].append(task_id)
            self.check_begun(task_id)

    def check_begun(self, task_id: str) -> None:
        """F4: nothing is handed out before its join is satisfied."""
        node, flow_id = self.nodes[task_id], task_id.partition('.')[0]
        done, needs = self.text(f'done:{flow_id}'), self.text(f'needs:{flow_id}')
        found = []
        for name, kind in node.after.items():
            other = f'{flow_id}.{name}'
            if needs.get(other) == 'dead':
                self.died.add(other)
            value = done.get(other)
            how = None if value is None else value[1] if value.startswith('!') else 'c'
            found.append(any(fits(kind, end) is True for end in (how, 'd' if other in self.died else None)))
        assert not found or (any(found) if node.join == 'any' else all(found)), (task_id, node, done)

    def settle(self, ends: bool = False) -> None:
        calls = self.any_queue()
        held = self.held[calls.name]
        if not held:
            return
        task_id = held.pop(self.random.randrange(len(held)))
        how = self.random.choices(['release', 'reject', 'requeue', 'bury', 'drop'], [8, 1, 1, 1, 1])[0]
        if ends or how == 'release':
            value = f'{task_id} {next(self.numbers)}'
            self.results.setdefault(str(task_id), set()).add(value)
            self.call(calls, 'release', calls.release(task_id, value, None, Status.COMPLETED, 60).args)
        elif how == 'reject':
            self.call(calls, 'release', calls.release(task_id, None, None, Status.REJECTED, 60).args)
        elif how == 'requeue':
            self.call(calls, 'requeue', calls.requeue(task_id, None, None, 'why', False).args)
        elif how == 'bury':
            self.call(calls, 'bury', calls.bury(task_id, 'boom', None).args)

    def note_deaths(self) -> None:
        for flow_id in self.flows:
            self.died |= {task_id for task_id, left in self.text(f'needs:{flow_id}').items() if left == 'dead'}

    def cancel(self) -> None:
        calls = self.any_queue()
        flow_id = self.random.choice([*self.flows])
        if calls is self.home and self.random.random() < 0.4:
            self.call(calls, 'cancel', calls.cancel(flow_id).args)
        else:
            mine = [task_id for task_id in self.nodes if task_id.startswith(f'{flow_id}.')]
            self.call(calls, 'cancel', calls.cancel(self.random.choice(mine)).args)

    def redrive(self) -> None:
        self.note_deaths()
        calls = self.any_queue()
        if self.random.random() < 0.5:
            self.run(self.home, steps.redrive(self.home, [self.random.choice([*self.flows])], None))
            return
        dead: list[bytes] = self.client.zrange(calls.keys['dead'], 0, -1)  # type: ignore[assignment]
        if dead:
            self.call(calls, 'redrive', calls.redrive([self.random.choice(dead)]))

    def sweep(self) -> None:
        calls = self.any_queue()
        self.note_deaths()
        self.call(calls, 'sweep', [str(self.random.choice([1, 50]))])
        self.note_deaths()

    def spread(self) -> None:
        self.call(calls := self.any_queue(), 'spread', calls.spread())

    def carry(self) -> None:
        calls = self.any_queue()
        self.run(calls, carry(calls))
        self.note_deaths()

    # What must hold

    def text(self, key: str) -> dict[str, str]:
        base = self.home.keys['pending'].removesuffix('pending')
        found: dict[bytes, bytes] = self.client.hgetall(base + key)  # type: ignore[assignment]
        return {name.decode(): value.decode() for name, value in found.items()}

    def check(self) -> None:
        for calls in self.queues.values():
            dump = self.client.eval(DUMP, 0, calls.keys['pending'].removesuffix('pending'))
            faults = [*check_keys(read_dump(dump))]
            assert not faults, (calls.name, faults)

    def blow(self, count: int) -> None:
        """All of it: random calls, then on to the end of everything."""
        verbs = {
            self.make: 0.8, self.claim: 6, self.settle: 8, self.cancel: 0.3, self.redrive: 0.6, self.sweep: 2,
            self.spread: 1, self.carry: 4,
        }  # fmt: skip
        self.make()
        for _ in range(count):
            if len(self.flows) >= 4:
                verbs[self.make] = 0
            self.random.choices([*verbs], [*verbs.values()])[0]()
            if self.random.random() < 0.2:
                self.check()
        self.finish()
        self.check_end()

    def finish(self) -> None:
        self.loss = 0
        while self.late:
            self.send(*self.late.pop(), True)
        for turn in range(4000):
            for verb in (self.sweep, self.spread, self.redrive, self.carry, self.claim):
                verb()
            self.settle(ends=True)
            if turn % 20 == 19:
                self.check()
                tasks = [self.client.exists(calls.keys[key]) for calls in self.queues.values()
                         for key in ('tasks', 'outbox')]  # fmt: skip
                if not any(tasks):
                    return
                time.sleep(0.003)
                for calls in self.queues.values():
                    working: list[bytes] = self.client.zrange(calls.keys['working'], 0, -1)  # type: ignore[assignment]
                    for word in working:
                        if word.decode() not in {*self.held[calls.name]}:
                            # Its holder is gone: the lease is over.
                            self.client.zadd(calls.keys['working'], {word: 0})
        raise AssertionError(json.dumps([self.text(f'task:{flow_id}') for flow_id in self.flows], indent=1))

    def check_end(self) -> None:
        """Each flow has ended, with results that its tasks were released with; nothing stays without an end."""
        for calls in self.queues.values():
            for key in self.client.scan_iter(f'{calls.keys["pending"].removesuffix("pending")}*'):
                # A ring that nobody has heard.
                assert self.client.pttl(key) != -1 or key.endswith(b':bell'), key
        for flow_id in self.flows:
            state, done = self.text(f'task:{flow_id}'), self.text(f'done:{flow_id}')
            mine = {task_id for task_id in self.nodes if task_id.startswith(f'{flow_id}.')}
            assert (state['left'], {*done}, state.get('dead', '0')) == ('0', mine, '0'), (state, done)
            failed = [task_id for task_id, value in done.items() if value[:2] in ('!f', '!x')]
            assert int(state.get('failed', 0)) == len(failed)
            for task_id, value in done.items():
                if value.startswith('='):
                    assert json.loads(value[1:]) in self.results[task_id], (task_id, value)
