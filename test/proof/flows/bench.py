"""Many runs of flows at once, in one queue: a step of each, in calls of many, then a look at all of them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, cast

import redis

from proof.flows.judge import View, compare, expect, settle
from proof.flows.runs import MANY, NAMES, Rules, Run, Step
from proof.flows.shapes import Shape
from proof.layers import FoundError
from support.flowing import BUDGET
from torrelque import TorrelqueNode
from torrelque.codec import JSON
from torrelque.protocol import flows
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import read_claim
from torrelque.protocol.scripts import load_script
from torrelque.protocol.steps import Walk

WIDTH = 600
"""Runs at once."""
TOGETHER = 40
"""Tasks of a call."""
LOOK = """
local found = {}
for k, flow in ipairs(ARGV) do
  local base = KEYS[1]
  found[k] = {redis.call('HGETALL', base .. 'needs:' .. flow), redis.call('HGETALL', base .. 'done:' .. flow),
    redis.call('HMGET', base .. 'task:' .. flow, 'status', 'left', 'dead', 'failed'),
    {redis.call('EXISTS', base .. 'edges:' .. flow), redis.call('EXISTS', base .. 'gate:' .. flow),
      redis.call('ZSCORE', base .. 'waiting', flow) and 1 or 0, redis.call('HEXISTS', base .. 'tasks', flow)}}
end
return cjson.encode(found)
"""
Args = list[Any]


class Bench:
    """A queue in which flows run."""

    def __init__(self, client: redis.Redis, rules: Rules) -> None:
        self.rules = rules
        self.figures = collections.Counter[str]()
        self.faults: list[str] = []
        self._client = client
        bulk = 1 if rules.made in ('draft', 'resent') else 250
        self._calls = Calls(f'bench{os.urandom(4).hex()}', JSON, None, dataclasses.replace(BOUNDS, bulk=bulk))
        self._base = self._calls.keys['pending'].removesuffix('pending')
        self._runs: dict[str, Run] = {}
        self._numbers = itertools.count()
        self._shas: dict[str, str] = {}
        self._patterns: dict[Any, list[Args]] = {}
        self._late: list[tuple[str, Args]] = []
        self._look: str = client.script_load(LOOK)

    def walk(self, runs: Iterable[Run]) -> None:
        """Make all runs that begin with these."""
        coming, begun = iter(runs), list[Run]()
        while True:
            while len(self._runs) < WIDTH and (run := begun.pop() if begun else next(coming, None)) is not None:
                self._runs[f'k{next(self._numbers)}'] = run
            if not self._runs:
                break
            self._make()
            self._go_on()
            self._claim()
            for run in self._see():
                begun += [Run(run.shape, run.policy, run.rules, choices) for choices in run.others()]
                self.figures['runs'] += 1
                self.figures['steps'] += len(run.steps)
            self._act()
        self._send_late()
        self._check_empty()

    def give_up(self, shape: Shape, policy: str) -> None:
        """Begin to make a flow, in each call of which there is a task, and leave it, behind each call but the last: in
        time nothing of it was handed out, and all that was there is cancelled."""
        for count in range(1, len(shape)):
            run = Run(shape, policy, self.rules)
            run.flow_id = f'k{next(self._numbers)}'
            self._send('flow', [self._filled(words, run) for words in self._pattern(run)[:count]])
            self._claim()
            self._client.zadd(self._base + 'waiting', {run.flow_id: 0}, xx=True)
            self._send('sweep', [['100']])
            self._go_on()
            self._claim()
            view = self._look_at([run.flow_id])[0]
            ends = {task_id: value[:2] for task_id, value in view.done.items()}
            if view.needs or len(ends) != count or {*ends.values()} != {'!x'} or view.state[:2] != ['6', '0']:
                self.faults.append(f'{run}, given up behind {count} calls: {view}')
            self.figures['given up'] += 1
            run.ends = []
            self._forget([run])

    # Calls

    def _send(self, name: str, several: Sequence[Args], resent: bool = False) -> list[Any]:
        """Make some calls of one script."""
        if not several:
            return []
        if name not in self._shas:
            text = load_script(name).text.decode().replace(BUDGET, BUDGET.replace(str(MANY), str(self.rules.budget)))
            self._shas[name] = self._client.script_load(text)
        self.figures['calls'] += len(several)
        with self._client.pipeline(transaction=False) as pipeline:
            for args in several:
                pipeline.execute_command(
                    'EVALSHA', self._shas[name], 2, self._base + 'pending', self._base + 'never',
                    '1' if resent else '', *self._calls.heads[name], *args,
                )  # fmt: skip
            replies: list[Any] = pipeline.execute()
        return replies

    def _bulk(self, name: str, items: Iterable[tuple[Args, str]], fine: Any = b'ok', head: Args | None = None) -> None:
        """Settle some, each with what goes wrong; those with the same go in calls of many."""
        by_crash: dict[str, list[Args]] = collections.defaultdict(list)
        for words, crash in items:
            by_crash[crash].append(words)
        for crash, several in by_crash.items():
            calls = [
                [*(head or []), *itertools.chain(*several[start : start + TOGETHER])]
                for start in range(0, len(several), TOGETHER)
            ]
            for reply in self._send(name, calls):
                if reply != fine and {*reply} != {fine}:
                    raise FoundError(f'{name}: {reply}')
            if crash == 'again':
                self._send(name, calls, True)
            elif crash == 'late':
                self._late += [(name, call) for call in calls]

    def _send_late(self) -> None:
        late, self._late = self._late, []
        for name, args in late:
            self._send(name, [args], True)

    # A flow begins

    def _make(self) -> None:
        new = [(flow_id, run) for flow_id, run in self._runs.items() if not run.flow_id]
        several: list[list[Args]] = []
        for flow_id, run in new:
            run.flow_id = flow_id
            run.begun |= {number for number, part in enumerate(run.shape) if not part.after}
            several.append([self._filled(words, run) for words in self._pattern(run)])
        for part in itertools.zip_longest(*several):
            calls = [call for call in part if call is not None]
            if any(reply != b'ok' for reply in self._send('flow', calls)):
                raise FoundError('a flow was not made')
            if self.rules.made in ('twice', 'resent'):
                self._send('flow', calls, True)

    @staticmethod
    def _filled(words: Args, run: Run) -> Args:
        return [word.replace('FLOW', run.flow_id) if isinstance(word, str) else word for word in words]

    def _pattern(self, run: Run) -> list[Args]:
        """The calls that make a flow of the name of FLOW."""
        key = run.shape, run.policy
        if key not in self._patterns:
            nodes = [
                TorrelqueNode(
                    NAMES[number], None, {NAMES[other]: cast(Any, kind) for other, kind in part.after},
                    'any' if part.any else 'all', max_attempts=None if run.rules.way == 'bury' else 1,
                )
                for number, part in enumerate(run.shape)
            ]  # fmt: skip
            flow = flows.new_flow(self._calls, nodes, 60, None, 'FLOW', None, run.policy, (), None, 600)
            walk = Walk(flows.make_flow(self._calls, flow))
            found: list[Args] = []
            more = walk.go_on(None)
            while more:
                if walk.name == 'flow':
                    found.append([*walk.args])
                more = walk.go_on(b'ok' if walk.name == 'flow' else [b'ok', 0, 0])
            self._patterns[key] = found
            if len(self._patterns) > 100:
                del self._patterns[next(iter(self._patterns))]
        return self._patterns[key]

    # What is handed out, and what the server has of all

    def _claim(self) -> None:
        """Take all that is there: what has begun, each once, and nothing else."""
        while True:
            record = f'{self._calls.keys["claim"]}:bench:{next(self._numbers)}'
            args = self._calls.claim('', record, 200, 0)
            [reply] = self._send('claim', [args])
            if self.rules.crashes:
                # The reply is lost.
                again = self._send('claim', [args], True)[0]
                if read_claim(again).tasks != read_claim(reply).tasks:
                    raise FoundError('a claim that was sent again gives others')
            claimed = read_claim(reply)
            self._client.delete(record)
            for task_id, _ in claimed.tasks:
                flow_id, _, name = task_id.rpartition('.')
                run, number = self._runs.get(flow_id), NAMES.index(name)
                if run is None:
                    raise FoundError(f'{task_id} was handed out, whose flow is over')
                if number in run.held or run.ends[number] is not None:
                    self._find(run, f'{name} was handed out again')
                run.held[number] = task_id
            # A claim that has met many holes gives nothing, and says that there is more.
            if not claimed.tasks and not claimed.more:
                return

    def _see(self) -> Iterator[Run]:
        """Compare all with what they are to be; those that are over."""
        over: list[Run] = []
        runs = [*self._runs.values()]
        for run, view in zip(runs, self._look_at([*self._runs]), strict=True):
            try:
                if run.steps:
                    settle(run, run.steps[-1], view)
                if {*run.held} != run.begun:
                    raise FoundError(f'{run.begun} have begun, and {[*run.held]} were handed out')
                compare(run, view)
            except FoundError as exc:
                self._find(run, str(exc))
                continue
            if run.is_over:
                over.append(run)
        self._forget(over)
        return iter(over)

    def _look_at(self, ids: Sequence[str]) -> list[View]:
        found: list[Any] = []
        for start in range(0, len(ids), 100):
            text: Any = self._client.evalsha(self._look, 1, self._base, *ids[start : start + 100])
            found += json.loads(text)
        return [View(_pairs(needs), _pairs(done), state, rest) for needs, done, state, rest in found]

    def _find(self, run: Run, what: str) -> None:
        self.faults.append(f'{run}: {what}')
        self._runs.pop(run.flow_id, None)
        if len(self.faults) >= 10:
            raise FoundError('\n'.join(self.faults))

    def _forget(self, over: Sequence[Run]) -> None:
        """Remove what is left of flows that are over: final states, and dead tasks that they have gone over."""
        left = [run.task_id(number) for run in over for number in run.left_dead]
        self._bulk('cancel', [([task_id, self._calls.mark(), ''], '') for task_id in left])
        gone = [f'{self._base}{key}:{run.flow_id}' for run in over for key in ('task', 'done')]
        gone += [f'{self._base}task:{run.task_id(number)}' for run in over for number in range(len(run.shape))]
        if gone:
            self._client.unlink(*gone)
        for run in over:
            self._runs.pop(run.flow_id, None)

    # What happens

    def _act(self) -> None:
        chosen: dict[str, list[tuple[Run, Step]]] = collections.defaultdict(list)
        for run in self._runs.values():
            if run.flow_id:
                chosen[(step := run.choose()).act].append((run, step))
        late, self._late = self._late, []
        for act, several in chosen.items():
            self._acts[act](self, several)
            for run, step in several:
                expect(run, step)
        self._go_on()
        for name, args in late:
            self._send(name, [args], True)

    def _go_on(self) -> None:
        """Do what is left to be done of flows."""
        while self._send('spread', [[]])[0][1]:
            pass

    def _held(self, several: Sequence[tuple[Run, Step]], *words: str) -> list[tuple[Args, str]]:
        return [([task_id, task_id.token, *words], step.crash)
                for run, step in several for task_id in [run.held[step.number]]]  # fmt: skip

    def _complete(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._bulk('release', self._held(several, ''))

    def _reject(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._bulk('release', self._held(several, '4 60000', ''))

    def _let_go(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._bulk('release', self._held(several, ''), b'cancelled')

    def _cancel(self, several: Sequence[tuple[Run, Step]]) -> None:
        items = [([run.task_id(step.number), self._calls.mark(), ''], step.crash) for run, step in several]
        self._bulk('cancel', items)

    def _withdraw(self, several: Sequence[tuple[Run, Step]]) -> None:
        """Give it back, so that it waits for somebody, and cancel it."""
        self._give_back(several, forgive=True)
        self._cancel(several)

    def _clear(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._cancel([(run, step._replace(crash='')) for run, step in several])
        self._let_go(several)

    def _give_back(self, several: Sequence[tuple[Run, Step]], forgive: bool) -> None:
        words = ['1', ''] if forgive else ['', 'boom']
        items = [([*ids, self._calls.mark(), '0', '', *words], '' if forgive else crash)
                 for ids, crash in self._held(several)]  # fmt: skip
        self._bulk('requeue', items, b'ok' if forgive else b'dead')

    def _die(self, several: Sequence[tuple[Run, Step]]) -> None:
        if self.rules.way == 'bury':
            self._bulk('bury', [([*ids, self._calls.mark(), 'boom', ''], crash) for ids, crash in self._held(several)])
        elif self.rules.way == 'requeue':
            self._give_back(several, forgive=False)
        else:
            self._vanish(several)

    def _vanish(self, several: Sequence[tuple[Run, Step]]) -> None:
        """Nobody has heard of the holder until the lease ends."""
        self._client.zadd(self._base + 'working', {run.held[step.number]: 0 for run, step in several}, xx=True)
        while self._send('sweep', [['100']])[0][1:5] != [0, 0, 0, 0]:
            pass

    def _redrive(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._bulk('redrive', [([run.task_id(step.number)], step.crash) for run, step in several],
                   head=self._calls.redrive([]))  # fmt: skip

    def _stop(self, several: Sequence[tuple[Run, Step]]) -> None:
        self._bulk('cancel', [([run.flow_id, self._calls.mark(), ''], step.crash) for run, step in several], b'flow')

    _acts: ClassVar[dict[str, Callable[[Bench, Sequence[tuple[Run, Step]]], None]]] = {
        'complete': _complete, 'reject': _reject, 'let go': _let_go, 'cancel': _cancel, 'withdraw': _withdraw,
        'clear': _clear, 'die': _die, 'vanish': _vanish, 'redrive': _redrive, 'stop': _stop,
    }  # fmt: skip

    def _check_empty(self) -> None:
        """Nothing is left of a queue whose flows are over."""
        left = [key for key in self._client.scan_iter(f'{self._base}*', 1000) if self._client.ttl(key) < 0]
        if left and not self.faults:
            self.faults.append(f'left when all flows are over: {left}')


def _pairs(words: Any) -> dict[str, str]:
    # An empty table is an object in JSON.
    return dict(zip(words[::2], words[1::2], strict=True)) if words else {}
