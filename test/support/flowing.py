"""Flows by random calls of the scripts, beside a model that knows who waits for whom and how each task has ended."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Sequence
from typing import Any

import redis

from model.model_checks import DUMP, read_dump
from model.model_ends import fits
from proof.invariants import check_keys
from torrelque import TorrelqueTaskId
from torrelque.codec import JSON
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.calls import Calls
from torrelque.protocol.scripts import load_script
from torrelque.protocol.steps import Steps, Walk

BUDGET = 'local budget, ends, touched, blamed, new_ones, rings = 200,'
"""Where a script has how many successors one call tells."""
NO_REPETITION = {'enqueue', 'depend'}
"""Calls that carry an id which nobody remembers once its task is finished, so that they are repeated at once or not."""


@dataclasses.dataclass
class Node:
    """What the model knows of a task of a flow."""

    id: str
    flow: str
    after: dict[str, str]
    any: bool
    held_back_by: set[str] = dataclasses.field(default_factory=set)
    """Those that were added later, and that it was made to wait for."""
    runs: int = 0

    @property
    def edges(self) -> dict[str, str]:
        return self.after | dict.fromkeys(self.held_back_by, 'then')


class Watched:
    """A queue of its own, calls of its scripts that may lose their replies, and what must hold between them."""

    def __init__(self, client: redis.Redis, seed: int) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.budget = self.random.choice([1, 2, 5, 200])
        self.loss = self.random.choice([0, 0.2, 0.5])
        bounds = dataclasses.replace(BOUNDS, bulk=self.random.choice([4, 250]), grouped_tasks=50)
        self.calls = Calls(f'storm{seed}', JSON, None, bounds)
        self.base = self.calls.keys['pending'].removesuffix('pending')
        self.late: list[tuple[str, list[Any]]] = []
        self.held: dict[str, TorrelqueTaskId] = {}
        self.nodes: dict[str, Node] = {}
        self.flows: dict[str, str] = {}
        """Policies, by flow."""
        self.ended: dict[str, str] = {}
        """How each task has ended, as ``done`` has it."""
        self.expected: dict[str, str] = {}
        """How it is to have ended, where a caller has decided that."""
        self.has_died: set[str] = set()
        """Tasks that were dead once, in flows that wait for a redrive."""
        self.cancelled: set[str] = set()
        self.numbers = itertools.count()
        self.scripts: dict[str, Any] = {}
        self.sent = 0

    # Calls

    def send(self, name: str, args: Sequence[Any], resent: bool = False) -> Any:
        self.sent += 1
        if name not in self.scripts:
            text = load_script(name).text.decode()
            if name in ('flow', 'add', 'depend', 'graft', 'spread', 'release', 'sweep'):
                assert BUDGET in text
            small = text.replace(BUDGET, BUDGET.replace('200', str(self.budget)))
            self.scripts[name] = self.client.register_script(small)
        keys = [self.base + 'pending', self.base + 'never']
        return self.scripts[name](keys, ['1' if resent else '', *self.calls.heads[name], *args])

    def call(self, name: str, args: Sequence[Any]) -> Any:
        """Make a call, whose reply may be lost: then it is made again, at once or behind others."""
        reply = self.send(name, args)
        if self.random.random() < self.loss:
            if name in NO_REPETITION or self.random.random() < 0.5:
                return self.send(name, args, True)
            self.late.append((name, [*args]))
        if self.late and self.random.random() < 0.3:
            self.send(*self.late.pop(self.random.randrange(len(self.late))), True)
        return reply

    def run(self, steps: Steps[Any]) -> Any:
        walk, reply = Walk(steps), None
        while walk.go_on(reply):
            reply = self.client.execute_command(*walk.args) if walk.name is None else self.call(walk.name, walk.args)
        return walk.result

    def text(self, key: str) -> dict[str, str]:
        found: dict[bytes, bytes] = self.client.hgetall(self.base + key)  # type: ignore[assignment]
        return {name.decode(): value.decode() for name, value in found.items()}

    def ids(self, key: str) -> set[str]:
        found: list[bytes] = self.client.zrange(self.base + key, 0, -1)  # type: ignore[assignment]
        return {task_id.decode() for task_id in found}

    def state(self, task_id: str) -> dict[str, str]:
        return self.text(f'task:{task_id}')

    # What must hold

    def check_begun(self, node: Node) -> None:
        """F4: nothing is handed out before its join is satisfied."""
        found = [self.may(kind, other) for other, kind in node.edges.items()]
        fine = any(one is True for one in found) if node.any and node.after else all(one is True for one in found)
        assert fine, (node, found, {other: self.ended.get(other) for other in node.edges})

    def may(self, kind: str, other: str) -> bool | None:
        ends = [self.ended.get(other), 'd' if other in self.has_died else None]
        found = [fits(kind, end) for end in ends]
        return True if True in found else False if False in found else None

    def look(self) -> None:
        """Learn how tasks have ended, and compare with how they were to."""
        for flow_id, policy in self.flows.items():
            done = self.text(f'done:{flow_id}')
            died = {task_id for task_id, left in self.text(f'needs:{flow_id}').items() if left == 'dead'}
            for task_id, value in done.items():
                heir = task_id
                while value.startswith('>'):
                    heir = value[1:]
                    value = done.get(heir, '')
                if heir != task_id and heir in died | self.has_died and policy == 'wait':
                    self.has_died.add(task_id)
                if heir not in done:
                    # Others have taken its place, who have not ended.
                    continue
                how = value[1] if value.startswith('!') else 'c'
                assert self.ended.setdefault(task_id, how) == how, (task_id, value)
                assert self.expected.get(task_id, how) == how, (task_id, value, self.expected[task_id])
            if policy == 'wait':
                self.has_died |= died

    def check(self) -> None:
        """F1, F2 and F3, and what holds of all queues, between any two scripts."""
        faults = [*check_keys(read_dump(self.client.eval(DUMP, 0, self.base)))]
        assert not faults, faults

    def check_end(self) -> None:
        """F5, F6 and F7: each flow has ended, rightly, and nothing is left but what has a time to live."""
        keys: list[bytes] = self.client.keys(f'{self.base}*')  # type: ignore[assignment]
        for key in keys:
            assert self.client.pttl(key) != -1, key
        for flow_id in self.flows:
            state, done = self.state(flow_id), self.text(f'done:{flow_id}')
            mine = [node for node in self.nodes.values() if node.flow == flow_id]
            assert (state['left'], len(done)) == ('0', int(state['total'])), (state, len(done))
            assert {node.id for node in mine} <= {*done} and state.get('dead', '0') == '0'
            failed = [value for value in done.values() if value[:2] in ('!f', '!x')]
            assert int(state.get('failed', 0)) == len(failed)
            assert state['status'] == '6' if flow_id in self.cancelled else state['status'] == '34'[bool(failed)] or (
                state['status'] == '6' and self.flows[flow_id] == 'cancel'
            ), (state, flow_id)
            for node in mine:
                if 'skipped' in done[node.id]:
                    self.check_skipped(node)
                elif not done[node.id].startswith('!'):
                    assert node.runs > 0, node

    def check_skipped(self, node: Node) -> None:
        assert node.runs == 0, node
        found = [fits(kind, self.ended[other]) for other, kind in node.edges.items() if other in self.ended]
        assert True not in found if node.any and node.after else False in found, (node, found)
