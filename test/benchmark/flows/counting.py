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
from benchmark.speed.instructions import Clocked, Counted, counted_server
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
CLOCKED = ('ms of the server', 10.0)
LINEAR = 1.1
"""What a task of a flow ten times as large may take, by comparison."""
PIECE, PAGE = 200, 100
"""Successors that one call tells, and tasks that it takes back, about."""
LOOKS = 10
"""Calls of each kind that are counted of a large flow, from its first to its last."""


class Flows:
    """Calls of flows to a server whose instructions are counted."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
        self._made = itertools.count()

    def calls(self, nodes: Iterable[TorrelqueNode]) -> list[Callable[[], None]]:
        """Calls that make a flow."""
        plan = flowing.Plan(f'flow-{next(self._made)}', 'mark', JSON, BOUNDS, 300, '')
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

    def costs(self, calls: Sequence[Callable[[], object]], most: int | None = None) -> list[float]:
        """What each of some calls costs, or so many of them: the first, the last, and others at equal distances."""
        step, found = max(1, len(calls) // (most or len(calls))), []
        for number, call in enumerate(calls):
            if number % step and number < len(calls) - 1:
                call()
            else:
                found.append(self.cost(call))
        return found

    def cost(self, *calls: Callable[[], object]) -> float:
        """What calls cost on average, which are not made twice: thousands of instructions, or ms."""
        with self.counted.counting():
            for call in calls:
                call()
        return self.counted.counted() / len(calls) / (0.001 if isinstance(self.counted, Clocked) else 1000)

    def pieces(self, about: int, most: int | None = None) -> list[float]:
        """What it costs to go on until nothing is left, in about so many calls."""
        # There may be one more or less, because a cursor does not always give as many.
        return [*self.costs([self.spread] * max(1, about - 2), most), *self.costs([self.spread] * 4)]

    def fan_in(self, size: int, most: int | None = None) -> dict[str, list[float]]:
        """What calls cost that make a fan-in and work it off, by script."""
        counted, bulk = self.counted, BOUNDS.bulk
        costs = {'flow': self.costs(self.calls(fan_in(size)), most), 'spread': self.pieces(size // PIECE, most)}
        claims = [functools.partial(counted.claim, min(bulk, size - start)) for start in range(0, size, bulk)]
        releases = [functools.partial(counted.release, *claim.args) for claim in claims]
        step = max(1, len(claims) // (most or len(claims)))
        costs |= {'claim': [], 'release': []}
        for number, both in enumerate(zip(claims, releases, strict=True)):
            for name, call in zip(('claim', 'release'), both, strict=True):
                if number % step and number < len(claims) - 1:
                    call()
                else:
                    costs[name].append(self.cost(call))
        counted.client.flushall()
        counted.forget()
        return costs

    def fan_out(self, size: int, most: int | None = None) -> dict[str, list[float]]:
        """What calls cost that make a fan-out and begin it, by what they do."""
        costs = {'making it': self.costs(self.calls(fan_out(size)), most)}
        while self.spread():
            pass
        self.counted.claim(1)
        costs['release of its root'] = [self.cost(functools.partial(self.counted.release, 1))]
        costs['a piece of it'] = self.pieces(size // PIECE, most)
        self.counted.client.flushall()
        return costs

    def cancel(self, size: int, most: int | None = None) -> dict[str, list[float]]:
        """What calls cost that cancel a fan-in, by what they do."""
        flow = self.make(fan_in(size))
        costs = {'its first call': [self.cost(lambda: self.counted.call('cancel', [flow, 'mark', '']))]}
        costs['a piece of it'] = self.pieces(size // PAGE, most)
        self.counted.client.flushall()
        return costs


def count(plan: Plan, before: Path | None = None) -> list[Figure]:
    """Plain calls, beside those of another checkout if there is one, and calls of flows."""
    now, figures = plain.measure(plan.counts, plan.rounds), []
    then = _of(before, plan) if before else {}
    for title, cost in now.items():
        figures.append(Figure(title, cost / 1000, UNIT))
        if title in then:
            goal = None if title == plain.SWEEP else FREE
            figures.append(Figure(f'{title}, by comparison with before', cost / then[title], '', goal))
    with counted_server('flow', 'spread', 'cancel') as counted:
        flows = Flows(counted)
        return [*figures, *_links(flows, plan), *_large(flows, plan)]


def _of(checkout: Path, plan: Plan) -> dict[str, float]:
    command = [sys.executable, '-m', 'benchmark.flows.plain', str(plan.counts), str(plan.rounds)]
    # The folder where a program runs goes before all else that it imports from.
    ran = subprocess.run(
        command, cwd=checkout, env=environment(str(checkout)), check=True, stdout=subprocess.PIPE
    )
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
    """The largest calls of large flows, and whether a task of one ten times as large takes the same."""
    counted, bulk = flows.counted, BOUNDS.bulk
    figures = [Figure(f'making {bulk} tasks with 3 edges each', flows.cost(*flows.calls(web(bulk))), UNIT, LONG)]
    counted.client.flushall()
    figures += _largest(f'a fan-out of {plan.out:,}', flows.fan_out(plan.out, LOOKS), UNIT, LONG)
    figures += _largest(f'cancel of {plan.cancelled:,}', flows.cancel(plan.cancelled, LOOKS), UNIT, LONG)
    each: dict[str, list[float]] = {}
    for size in plan.counted:
        costs = flows.fan_in(size, LOOKS)
        figures += _largest(f'a fan-in of {size:,}', costs, UNIT, LONG)
        for name, several in costs.items():
            # All but the last are full.
            full = several[:-1] or several
            each.setdefault(name, []).append(sum(full) / len(full))
    for name in ('flow', 'claim', 'release'):
        title = f'{name} of {bulk}: of {plan.counted[-1]:,} by comparison with {plan.counted[0]:,}'
        figures.append(Figure(title, each[name][-1] / each[name][0], '', LINEAR))
    return figures


def _largest(title: str, costs: dict[str, list[float]], unit: str, goal: float) -> list[Figure]:
    return [Figure(f'{title}: the largest of {name}', max(several), unit, goal) for name, several in costs.items()]


def clock(plan: Plan) -> list[Figure]:
    """The longest of all calls of large flows, in processor time of the server, of some rounds the best."""
    best: dict[str, Figure] = {}
    with counted_server('flow', 'spread', 'cancel', clocked=True) as counted:
        flows = Flows(counted)
        for _ in range(plan.rounds):
            costs = {'making them': [flows.cost(*flows.calls(web(BOUNDS.bulk)))]}
            figures = _largest(f'{BOUNDS.bulk} tasks with 3 edges each', costs, *CLOCKED)
            counted.client.flushall()
            figures += _largest(f'a fan-out of {plan.out:,}', flows.fan_out(plan.out), *CLOCKED)
            figures += _largest(f'cancel of {plan.cancelled:,}', flows.cancel(plan.cancelled), *CLOCKED)
            for size in plan.fans:
                figures += _largest(f'a fan-in of {size:,}', flows.fan_in(size), *CLOCKED)
            for one in figures:
                if one.name not in best or one.value < best[one.name].value:
                    best[one.name] = one
    return [*best.values()]
