"""What calls of flows cost the server in instructions, which are the same each time, however busy the machine is."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmark.flows import plain
from benchmark.flows.figures import Figure, Plan, chains, fan_in, fan_out, web
from benchmark.speed.instructions import Counted, counted_server
from support.processes import environment
from torrelque import TorrelqueNode
from torrelque.codec import JSON
from torrelque.protocol import flowing
from torrelque.protocol.bounds import BOUNDS

UNIT = 'k instructions'
FREE = 1.01
"""What a plain call may cost now, by comparison with before."""
LONG = 56_000.0
"""Thousands of instructions that a call may take: about 10 ms."""
LINEAR = 1.1
"""What a task of a flow ten times as large may take, by comparison."""
LOOKS = 40
"""Calls of each kind that are counted of a large flow, from its first to its last."""


class Flows:
    """Calls of flows to a server whose instructions are counted."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
        self._made = itertools.count()

    def calls(self, nodes: Iterable[TorrelqueNode]) -> list[Callable[[], None]]:
        """Calls that make a flow."""
        plan = flowing.Plan(f'flow-{next(self._made)}', 'mark', JSON, BOUNDS, 300)
        plan.take(nodes, False)
        parts = plan.parts(False)
        calls: list[Callable[[], None]] = []
        for k, part in enumerate(parts):
            said = flowing.meta_of(plan, 'wait', None, (), None, 60) if k == 0 else {}
            if len(parts) > 1:
                said |= {'draft': True} if k == 0 else {'open': True} if k == len(parts) - 1 else {}
            words = ['', plan.flow_id, plan.mark, b'null' if k == 0 else b'', json.dumps(said), *part.words]
            calls.append(functools.partial(self._flow, words))
        return calls

    def _flow(self, words: list[str | bytes]) -> None:
        reply = self.counted.call('flow', words)
        assert reply == b'ok', reply

    def make(self, nodes: Iterable[TorrelqueNode]) -> str:
        """Make a flow; its id."""
        for call in self.calls(nodes):
            call()
        while self.spread():
            pass
        return f'flow-{next(self._made) - 1}'

    def spread(self) -> int:
        """Go on with one piece of what is left; how much there is then."""
        left: int = self.counted.call('spread', [])[1]
        return left

    def costs(self, calls: Sequence[Callable[[], object]], most: int = LOOKS) -> list[float]:
        """Thousands of instructions of each of some calls: the first, the last, and others at equal distances."""
        step, found = max(1, len(calls) // most), []
        for number, call in enumerate(calls):
            if number % step and number < len(calls) - 1:
                call()
            else:
                found.append(self.cost(call))
        return found

    def cost(self, *calls: Callable[[], object]) -> float:
        """Thousands of instructions of calls, on average, which are not made twice."""
        with self.counted.counting():
            for call in calls:
                call()
        return self.counted.counted() / len(calls) / 1000


def count(plan: Plan, before: Path | None = None) -> list[Figure]:
    """Plain calls, beside those of another checkout if there is one, and calls of flows."""
    now, figures = plain.measure(plan.counts), []
    then = _of(before, plan.counts) if before else {}
    for title, cost in now.items():
        figures.append(Figure(title, cost / 1000, UNIT))
        if title in then:
            goal = None if title == plain.SWEEP else FREE
            figures.append(Figure(f'{title}, by comparison with before', cost / then[title], '', goal))
    with counted_server('flow', 'spread', 'cancel') as counted:
        flows = Flows(counted)
        return [*figures, *_links(flows, plan), *_large(flows, plan), *_fans(flows, plan)]


def _of(checkout: Path, calls: int) -> dict[str, float]:
    command = [sys.executable, '-m', 'benchmark.flows.plain', str(calls)]
    ran = subprocess.run(command, env=environment(str(checkout)), check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def _links(flows: Flows, plan: Plan) -> list[Figure]:
    """Links of chains beside plain tasks, one in a call."""
    counted, costs = flows.counted, {}
    many = plan.counts + 5
    claim, release = functools.partial(counted.claim, 1), functools.partial(counted.release, 1)
    for kind in ('plain', 'link'):
        for _ in range(many if kind == 'plain' else 0):
            counted.enqueue(1)
        if kind == 'link':
            flows.make(chains(many, 3))
        costs[f'{kind} claim'] = counted.count(claim, plan.counts)
        # The release of a link begins the next one.
        costs[f'{kind} release'] = counted.count(release, plan.counts)
        counted.client.flushall()
    figures = [Figure(f'{what} of a {kind}', costs[f'{kind} {what}'] / 1000, UNIT)
               for what in ('claim', 'release') for kind in ('plain', 'link')]  # fmt: skip
    ratio = costs['link release'] / costs['plain release']
    return [*figures, Figure('release of a link, by comparison with a plain task', ratio, '', 4)]


def _large(flows: Flows, plan: Plan) -> list[Figure]:
    """Calls that do much, and their shares of large flows."""
    counted, figures = flows.counted, []
    bulk = BOUNDS.bulk

    def figure(name: str, *costs: float) -> None:
        figures.append(Figure(name, max(costs), UNIT, LONG))

    def pieces() -> list[float]:
        costs, more = [], True
        while more:
            with counted.counting():
                more = bool(flows.spread())
            costs.append(counted.counted() / 1000)
        return costs

    figure(f'making {bulk} tasks with 3 edges each', flows.cost(*flows.calls(web(bulk))))
    counted.client.flushall()
    flows.make(fan_in(bulk))
    counted.claim(bulk)
    figure(f'release of {bulk} of one fan-in', flows.cost(functools.partial(counted.release, bulk)))
    counted.client.flushall()
    title = f'a fan-out of {plan.out:,}'
    figure(f'{title}: the largest call that makes it', *flows.costs(flows.calls(fan_out(plan.out))))
    flows.spread()
    counted.claim(1)
    figure(f'{title}: release of its root', flows.cost(functools.partial(counted.release, 1)))
    figure(f'{title}: its largest piece', *pieces())
    counted.client.flushall()
    flow = flows.make(fan_in(plan.cancelled))
    title = f'cancel of {plan.cancelled:,}'
    figure(f'{title}: its first call', flows.cost(lambda: counted.call('cancel', [flow, 'mark', ''])))
    figure(f'{title}: its largest piece', *pieces())
    counted.client.flushall()
    return figures


def _fans(flows: Flows, plan: Plan) -> list[Figure]:
    """Fan-ins, each ten times the one before: whether a task takes the same, and the largest call of each kind."""
    counted, figures = flows.counted, []
    bulk = BOUNDS.bulk
    each: dict[str, list[float]] = {}
    for size in plan.fans:
        costs = {'flow': flows.costs(flows.calls(fan_in(size)))}
        while flows.spread():
            pass
        calls: list[Callable[[], None]] = []
        for start in range(0, size, bulk):
            some = min(bulk, size - start)
            calls += [functools.partial(counted.claim, some), functools.partial(counted.release, some)]
        both: tuple[list[float], list[float]] = [], []
        step = max(1, len(calls) // 2 // LOOKS) * 2
        for number, call in enumerate(calls):
            if number % step < 2 or number >= len(calls) - 2:
                both[number % 2].append(flows.cost(call))
            else:
                call()
        costs |= {'claim': both[0], 'release': both[1]}
        for name, several in costs.items():
            figures.append(Figure(f'a fan-in of {size:,}: its largest {name}', max(several), UNIT, LONG))
            # Full calls, of which all but the last are, because what they begin with is shared by their tasks.
            each.setdefault(name, []).append(sum(several[:-1] or several) / len(several[:-1] or several))
        counted.client.flushall()
    for name, means in each.items():
        title = f'{name} of {bulk}: of {plan.fans[-1]:,} by comparison with {plan.fans[0]:,}'
        figures.append(Figure(title, means[-1] / means[0], '', LINEAR))
    return figures
