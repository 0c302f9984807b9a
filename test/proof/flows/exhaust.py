"""Every flow of a few tasks on a real server, beside what the table of edges says.

Each shape of so many tasks (who waits for whom, the kinds of edges, joins) runs with each policy, in all ways in which
its tasks may end; after each step the keys of each flow are what they must be, and what has begun is handed out, once.
Of a few tasks, there are besides: all orders of ends, cancellations at any time, of tasks and of the flow, tasks that
die again, flows that are made in several calls, calls that tell of one successor, and at each step a reply that is
lost, so that the call is sent again, at once or behind others, or a consumer that is gone with its task, or a producer
with half of its flow.

    python -m proof.flows                                        # three tasks and less, then four
    python -m proof.flows --tasks 4 --only plain --at-once 2
    python -m proof.flows --tasks 4 --sample 50 --only crashes --first 7
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from proof.flows.bench import Bench
from proof.flows.runs import Rules, Run
from proof.flows.shapes import Shape, shapes
from proof.layers import FoundError, conclude
from support.servers import RealServer

POLICIES = ('wait', 'skip', 'cancel')
ALL_ENDS = ('complete', 'reject', 'die', 'withdraw', 'clear')
ALL_CRASHES = ('again', 'late', 'vanish')
RULES = {
    'plain': Rules(),
    'last': Rules(order='last', budget=1),
    'ends': Rules(ends=ALL_ENDS, order='last'),
    'deaths': Rules(deaths=2),
    'orders': Rules(order='all'),
    'stops': Rules(stops=True),
    'stops and deaths': Rules(ends=('complete', 'reject', 'die', 'clear'), order='last', deaths=2, stops=True),
    'crashes': Rules(crashes=ALL_CRASHES, order='last'),
    'stops and crashes': Rules(('complete', 'die'), crashes=ALL_CRASHES, stops=True, budget=1),
    'drafts': Rules(way='requeue', made='draft', budget=1),
    'drafts and crashes': Rules(
        ('complete', 'die', 'clear'), 'last', way='lease', made='resent', crashes=('again', 'late'), budget=1
    ),
    'twice': Rules(way='lease', made='twice', stops=True),
}
SAMPLES = {
    1: {},
    2: {},
    3: {'stops and crashes': 20},
    4: {
        'last': 400, 'ends': 100, 'deaths': 100, 'orders': 4, 'stops': 20, 'stops and deaths': 4, 'crashes': 40,
        'stops and crashes': 2, 'drafts': 400, 'drafts and crashes': 20, 'twice': 20,
    },
}  # fmt: skip
"""Of how many shapes, by the number of tasks, where they are not all tried."""
Plan = tuple[str, list[Shape]]
"""A name of rules, and shapes."""


def plans(count: int, only: Sequence[str], sample: int, first: int) -> list[Plan]:
    """What is to be tried with so many tasks.

    :param sample: of how many shapes; 0 is all, but where that would take days.
    """
    all_shapes = shapes(count, count < 4)
    found = []
    for name in only or RULES:
        some = sample or SAMPLES[count].get(name, 0)
        chosen = random.Random(f'{first} {name}').sample(all_shapes, some) if 0 < some < len(all_shapes) else all_shapes
        found.append((name, chosen))
    return found


def try_all(server: RealServer, tried: Iterable[Plan]) -> tuple[dict[str, Any], list[str]]:
    """Try all of it on a server; the figures, and what was found."""
    figures, faults = collections.Counter[str](), list[str]()
    with server.sync_client() as client:
        for name, several in tried:
            bench = Bench(client, RULES[name])
            try:
                bench.walk(Run(shape, policy, RULES[name]) for shape in several for policy in POLICIES)
                if name == 'drafts':
                    for shape in several:
                        bench.give_up(shape, 'wait')
            except FoundError as exc:
                bench.faults.append(str(exc))
            figures += bench.figures
            figures['flows'] += len(several) * len(POLICIES)
            faults += bench.faults
    return dict(figures), faults


def _try(kind: str, plan: Plan) -> tuple[dict[str, Any], list[str]]:
    with RealServer(kind) as server:
        return try_all(server, [plan])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='proof.flows', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--tasks', type=int, choices=(1, 2, 3, 4), help='of how many tasks alone; 1 to 4 by default')
    parser.add_argument('--only', action='append', choices=RULES, default=[], help='some of what may happen')
    parser.add_argument('--sample', type=int, default=0, help='some shapes only')
    parser.add_argument('--first', type=int, default=1, help='the seed of the sample')
    parser.add_argument('--server', default='valkey9', help='the kind of server')
    parser.add_argument('--at-once', type=int, default=1, help='processes, each with a server')
    parser.add_argument('--begin', type=int, default=1, help='with which piece of all')
    parser.add_argument('--pieces', type=int, help='so many pieces alone')
    args = parser.parse_args(argv)
    began = time.monotonic()
    tried = [
        (name, several[start : start + 200])
        for count in ([args.tasks] if args.tasks else [1, 2, 3, 4])
        for name, several in plans(count, args.only, args.sample, args.first)
        for start in range(0, len(several), 200)
    ][args.begin - 1 :][: args.pieces]
    figures, faults = collections.Counter[str](), list[str]()
    with ProcessPoolExecutor(args.at_once) as pool:
        pieces = enumerate(pool.map(functools.partial(_try, args.server), tried), args.begin)
        for piece, (its_figures, its_faults) in pieces:
            figures.update(its_figures)
            faults += its_faults
            print(f'piece {piece} {json.dumps({**its_figures, "faults_found": len(its_faults)})}', flush=True)
    seconds = round(time.monotonic() - began, 1)
    asked = {'layer': 'flows', 'server': args.server, 'pieces': len(tried)}
    return conclude({**asked, **figures, 'seconds': seconds}, faults)
