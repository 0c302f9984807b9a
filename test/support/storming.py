"""Random calls of the scripts of flows: a storm, and then on to the end of all of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from support.flowing import Node, Watched
from torrelque import TorrelqueError, TorrelqueNode, TorrelqueTaskId, TorrelqueTaskStatus
from torrelque.protocol import flows
from torrelque.protocol.replies import read_claim

FINAL = {'3', '4', '6'}
SETTLED = {'release': 'c', 'keep': 'c', 'reject': 'f'}


class Storm(Watched):
    """Random calls."""

    # What happens

    def make_nodes(self, count: int, others: Sequence[str] = ()) -> list[TorrelqueNode]:
        """Nodes that wait for each other, and for others that are there."""
        made: list[TorrelqueNode] = []
        for number in range(count):
            names = [*others, *(node.name for node in made)]
            after: dict[str, Any] = {}
            if names and self.random.random() < 0.85:
                for name in self.random.sample(names, min(len(names), self.random.choice([1, 1, 2, 3, 5]))):
                    after[name] = self.random.choices(['then', 'end', 'fail'], [8, 1.5, 1.5])[0]
            made.append(
                TorrelqueNode(
                    f'{next(self.numbers)}.{number}',
                    number,
                    after,
                    'any' if self.random.random() < 0.2 else 'all',
                    delay=self.random.choice([None] * 6 + [0.001, 0.005]),
                    group=self.random.choice([None] * 5 + ['g', 'h']),
                    priority=self.random.choice([0] * 7 + [3]),
                    max_attempts=self.random.choice([None, None, 1, 2]),
                    task_timeout=self.random.choice([0.001, 60, 60, 60]),
                )
            )
        return made

    def take_in(self, flow_id: str, nodes: Sequence[TorrelqueNode]) -> None:
        for node in nodes:
            after: dict[str, str] = {f'{flow_id}.{name}': kind for name, kind in node.after.items()}
            known = Node(f'{flow_id}.{node.name}', flow_id, after, node.join == 'any')
            self.nodes.setdefault(known.id, known)
            for name in node.before:
                self.nodes[f'{flow_id}.{name}'].held_back_by.add(known.id)

    def make(self) -> None:
        nodes = self.make_nodes(self.random.choice([0, 1, 2, 5, 12, 30]))
        flow_id = f'F{next(self.numbers)}'
        policy = self.random.choice(['wait', 'wait', 'skip', 'cancel'])
        self.random.shuffle(nodes)
        self.flows[flow_id] = policy
        self.take_in(flow_id, nodes)
        flow = flows.new_flow(self.calls, nodes, 60, None, flow_id, None, policy, (), None, 100)
        self.run(flows.make_flow(self.calls, flow))

    def add(self) -> None:
        """Whoever works on a task adds others to its flow."""
        mine = [task_id for task_id in self.held.values() if task_id in self.nodes]
        if not mine:
            return
        by = self.random.choice(mine)
        flow_id = self.nodes[by].flow
        if flow_id not in self.flows:
            return
        there = [node for node in self.nodes.values() if node.flow == flow_id]
        names = [node.id.removeprefix(f'{flow_id}.') for node in there if node.id.startswith(f'{flow_id}.')]
        nodes = self.make_nodes(self.random.choice([1, 2, 6]), self.random.sample(names, min(3, len(names))))
        left = self.text(f'needs:{flow_id}')
        waits = [name for name in names if left.get(f'{flow_id}.{name}', '0') not in ('0', 'dead')]
        if waits and self.random.random() < 0.5:
            # Whatever is to be waited for must not wait itself, where others are held back.
            nodes = [node._replace(after={name: kind for name, kind in node.after.items() if name not in waits})
                     for node in nodes]  # fmt: skip
            nodes[0] = nodes[0]._replace(before=self.random.sample(waits, min(2, len(waits))))
        try:
            self.run(flows.add_to_flow(self.calls, nodes, by, 60))
        except TorrelqueError:
            # Its lease is over, or its flow was cancelled: some of the parts may be in.
            pass
        known = {*self.text(f'needs:{flow_id}'), *self.text(f'done:{flow_id}')}
        self.take_in(flow_id, [node for node in nodes if f'{flow_id}.{node.name}' in known])

    def graft(self) -> None:
        """Others take the place of a task of a flow, or of one that was enqueued alone, which becomes a flow."""
        found = sorted(task_id for task_id in self.held if self.state(task_id).get('tied') in (None, '1', '2', '4'))
        if not found:
            return
        by = self.held[self.random.choice(found)]
        known = self.nodes.get(by)
        if (known is None) == ('flow' in self.state(by)) or known is not None and known.flow not in self.flows:
            return
        nodes = self.make_nodes(self.random.choice([1, 2, 3] if known is None else [1, 2, 3, 9]))
        last, policy = self.random.choice(nodes).name, self.random.choice(['wait', 'skip', 'cancel'])
        try:
            ours = self.run(flows.graft(self.calls, nodes, by, last, 60, None, None, policy, None, 100))
        except TorrelqueError:
            # Some of the parts may be in, and the lease be over since.
            ours = False
        del self.held[by]
        flow_id = str(by) if known is None else known.flow
        if ours and known is None:
            self.flows[flow_id] = policy
        named = [
            node._replace(
                name=f'{by}.{node.name}'.removeprefix(f'{flow_id}.'),
                after={f'{by}.{name}'.removeprefix(f'{flow_id}.'): kind for name, kind in node.after.items()},
            )
            for node in nodes
        ]
        there = {*self.text(f'needs:{flow_id}'), *self.text(f'done:{flow_id}')}
        self.take_in(flow_id, [node for node in named if f'{flow_id}.{node.name}' in there])
        self.look()

    def depend(self) -> None:
        """A task that waits for others, of any kind."""
        others = [*self.nodes, *self.text('tasks')]
        if not others:
            return
        chosen = self.random.sample(sorted({*others}), min(len({*others}), self.random.choice([1, 1, 2])))
        task_id = f'd{next(self.numbers)}'
        call = flows.depend(self.calls, self.calls.enqueue(1, 60, None, task_id, None, None, 0), chosen)
        try:
            self.run(flows.send_depend(self.calls, call))
        except TorrelqueError:
            assert not self.client.exists(f'{self.base}task:{task_id}')
            return
        state = self.state(task_id)
        flow_id = state.get('flow', '')
        if flow_id in self.flows:
            after: dict[str, str] = dict.fromkeys(chosen, 'then')
            self.nodes[task_id] = Node(task_id, flow_id, after, False)

    def enqueue(self) -> None:
        call = self.calls.enqueue(1, 60, None, f'p{next(self.numbers)}', None, self.random.choice([None, 'g']), 0)
        self.call('enqueue', call.args)

    def claim(self) -> None:
        record = f'{self.calls.keys["claim"]}:x:{next(self.numbers)}'
        reply = self.call('claim', self.calls.claim('', record, self.random.choice([1, 2, 10]), 0))
        for task_id, _ in read_claim(reply).tasks:
            self.held[task_id] = task_id
            node = self.nodes.get(task_id)
            if node is not None:
                node.runs += 1
                self.look()
                self.check_begun(node)
        self.client.delete(record)

    def settle(self, buries: bool = True) -> None:
        if not self.held:
            return
        task_id = self.held[self.random.choice(sorted(self.held))]
        how = self.random.choices(
            ['release', 'keep', 'reject', 'requeue', 'bury', 'stale', 'drop', 'value'],
            [8, 3, 0.5, 1, 1 if buries else 0, 0.5, 1 if buries else 0, 0.5],
        )[0]
        state = self.state(task_id)
        mine = f'{state.get("dequeue_count")}-{state.get("last_dequeue_time")}' == task_id.token
        status = state.get('status') if mine else None
        if how == 'stale':
            self.be_stale(task_id)
            return
        self.look()
        if how == 'value':
            args = self.calls.give(task_id, 'key', how)
            kept = self.call('give', args) == b'ok'
            assert kept or status != '1' or 'flow' not in state or task_id in self.ended
            return
        del self.held[task_id]
        if how == 'drop':
            return
        # A task that was skipped over runs for itself when it is redriven.
        node = self.nodes.get(task_id) if task_id not in self.ended else None
        if node is not None and status == '6':
            self.expected.setdefault(task_id, 'x' if self.state(node.flow).get('status') == '6' else 'f')
        elif node is not None and status == '1' and how in SETTLED:
            self.expected.setdefault(task_id, SETTLED[how])
        if how in SETTLED:
            final = TorrelqueTaskStatus.REJECTED if how == 'reject' else TorrelqueTaskStatus.COMPLETED
            result = 'r' if how == 'keep' else None
            self.call('release', self.calls.release(task_id, result, self.random.choice([None, 0, 50]), final, 50).args)
        elif how == 'requeue':
            delay = self.random.choice([None, 0.002])
            self.call('requeue', self.calls.requeue(task_id, delay, None, 'why', False).args)
        else:
            self.call('bury', self.calls.bury(task_id, 'boom', None).args)
        self.look()

    def be_stale(self, task_id: TorrelqueTaskId) -> None:
        """F8: whoever has lost its lease changes nothing."""
        state = self.state(task_id)
        if 'flow' not in state or state['status'] in FINAL:
            return
        flow_id = state['flow']
        keys = [f'task:{task_id}', *(f'{key}:{flow_id}' for key in ('task', 'needs', 'edges', 'done', 'values'))]
        before = [self.text(key) for key in keys]
        stale = TorrelqueTaskId(task_id, 1, '0-1.000')
        for name, args in (
            ('release', self.calls.release(stale, 1, None, TorrelqueTaskStatus.COMPLETED, 50).args),
            ('bury', self.calls.bury(stale, None, None).args),
            ('requeue', self.calls.requeue(stale, None, None, None, False).args),
            ('give', self.calls.give(stale, 'key', 'value')),
        ):
            assert self.send(name, args) != b'ok'
        # None of the calls that are late is to come in between.
        late, loss = self.late, self.loss
        self.late, self.loss = [], 0
        node = TorrelqueNode(f'stale{next(self.numbers)}', 1)
        assert not self.run(flows.graft(self.calls, [node], stale, node.name, 60, None, None, 'wait', None, 1))
        try:
            self.run(flows.add_to_flow(self.calls, [node], stale, 60))
        except TorrelqueError:
            self.late, self.loss = late, loss
            assert [self.text(key) for key in keys] == before
        else:
            raise AssertionError('a stale token has added a task')

    def cancel(self) -> None:
        """Cancel a task, or once in a while a flow."""
        if self.flows and self.random.random() < 0.3:
            flow_id = self.random.choice(sorted(self.flows))
            if self.send('cancel', self.calls.cancel(flow_id).args) == [b'flow']:
                self.cancelled.add(flow_id)
        elif self.nodes:
            self.call('cancel', self.calls.cancel(self.random.choice(sorted(self.nodes))).args)
        self.look()

    def redrive(self) -> None:
        if dead := sorted(self.ids('dead')):
            self.call('redrive', self.calls.redrive([self.random.choice(dead)]))

    def sweep(self) -> None:
        self.call('sweep', [str(self.random.choice([1, 50]))])
        self.look()

    def spread(self) -> None:
        self.call('spread', [])
        self.look()

    def blow(self, steps: int) -> None:
        """All of it: random calls, then on to the end of everything."""
        verbs = {
            self.make: 1.0,
            self.add: 0.7,
            self.graft: 0.7,
            self.depend: 0.5,
            self.enqueue: 0.3,
            self.claim: 6,
            self.settle: 8,
            self.cancel: 0.4,
            self.redrive: 0.5,
            self.sweep: 2,
            self.spread: 1,
        }
        self.make()
        for _ in range(steps):
            if len(self.flows) >= 4:
                verbs[self.make] = 0
            self.random.choices([*verbs], [*verbs.values()])[0]()
            if self.random.random() < 0.4:
                self.check()
        self.finish()
        self.check_end()

    def finish(self) -> None:
        for turn in range(10_000):
            for verb in (self.sweep, self.spread, self.redrive, self.claim):
                verb()
            self.settle(buries=False)
            if turn % 10 == 9:
                self.check()
                if not self.client.exists(self.base + 'tasks'):
                    return
                time.sleep(0.002)
                for task_id in self.ids('working') - {*self.held}:
                    # Its holder is gone: the lease is over.
                    self.client.zadd(self.base + 'working', {task_id: 0})
        raise AssertionError(json.dumps({name: self.state(name) for name in self.text('tasks')}, indent=1))
