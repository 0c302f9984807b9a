"""Whole lives of tasks in a queue with a shard on each of some servers: what the busiest of them has to do for a task.

A server that does nothing else gives as many tasks a second as that time goes into one, so it is what throughput is
bounded by; on a machine with few cores the rate itself tells nothing, because clients and servers share them.
"""

from __future__ import annotations

import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from benchmark import meter
from benchmark.scale import goals
from benchmark.scale.crew import Crew, start_crew
from benchmark.scale.primaries import Primaries, start_primaries
from benchmark.scale.work import LOOPS, MOST, Figures, Plan, Tally
from benchmark.speed.run import progress
from benchmark.tables import Row, Table

GOAL = 0.8
"""Of so many times what one queue has."""
WAYS = {'in bulk': 0, f'{LOOPS} loops': LOOPS}
"""How tasks are enqueued and drained, by so many loops or in bulk."""
CORE = 0
"""In place of how many servers: a queue without shards, on one."""
Taken = dict[str, dict[int, list[Figures]]]
"""By way and number of servers, what was measured in each round."""


def measure(plan: Plan, tally: Tally) -> Figures:
    numbers = (CORE, *plan.sharding.primaries)
    taken: Taken = {way: {number: [] for number in numbers} for way in WAYS}
    with start_primaries(max(numbers)) as primaries, ExitStack() as stack:
        crews = {}
        for number in numbers:
            place = primaries.many(f'over-{number}', number) if number else primaries.one('single')
            crews[number] = stack.enter_context(start_crew([place], tally))
        for turn in range(plan.sharding.rounds):
            progress(f'growth: round {turn + 1} of {plan.sharding.rounds}')
            for way, loops in WAYS.items():
                # What is compared takes turns in another order each time.
                for number in (*numbers[turn % len(numbers) :], *numbers[: turn % len(numbers)]):
                    life = _live(primaries, crews[number], plan.sharding.lives, loops, tally)
                    taken[way][number].append(life)
        primaries.forget_maps()
        for client in primaries.clients:
            tally.look_for_keys(client)
    return {
        'lives': plan.sharding.lives,
        'rounds': plan.sharding.rounds,
        'figures': goals.told(_figures(taken)),
        'costs': {way: {str(number): _costs(lives) for number, lives in each.items()} for way, each in taken.items()},
        'growth': {way: _growth(each) for way, each in taken.items()},
    }


def _live(primaries: Primaries, crew: Crew, count: int, loops: int, tally: Tally) -> Figures:
    """So many tasks through one queue; µs for each of them."""
    before = primaries.used()
    [answer] = crew.ask(1, do='life', count=count, loops=loops)
    used = primaries.used().since(before)
    tally.put(count)
    tally.take(answer['count'])
    return {
        'busiest': max(used.processor) / count * 1e6,
        'all': sum(used.processor) / count * 1e6,
        'process': answer['process'] / count * 1e6,
        'scripts': used.scripts / count,
        'commands': max(used.commands) / count,
    }


def _ratios(each: dict[int, list[Figures]], number: int, what: str) -> list[float]:
    """How much more one queue costs its server than the busiest of so many has to do, in each round."""
    both = zip(each[CORE], each[number], strict=True)
    return [one[what] / several[what] for one, several in both]


def _figures(taken: Taken) -> list[goals.Figure]:
    figures = []
    for what, name in (('busiest', 'server time'), ('commands', 'commands')):
        for way, each in taken.items():
            for number in each:
                if number != CORE:
                    title = f"one queue's {name} a task, by the busiest of {number}: {way}"
                    goal = GOAL * number if number > 1 else None
                    figures.append(goals.of_rounds(title, _ratios(each, number, what), 'times', goal, least=True))
    return figures


def _growth(each: dict[int, list[Figures]]) -> dict[str, float]:
    """What the picture shows, in multiples of one queue without shards."""
    times = {number: statistics.median(_ratios(each, number, 'busiest')) for number in each if number > 1}
    return {'1': 1, **{str(number): round(several, 2) for number, several in times.items()}}


def _costs(lives: list[Figures]) -> Figures:
    least = min(one['busiest'] for one in lives)
    return {**{name: statistics.median(one[name] for one in lives) for name in lives[0]}, 'least': least}


def show(figures: Figures, where: Figures, versions: dict[str, str], file: Path) -> None:
    """Have a file say how throughput grows, for the picture."""
    data, today = json.loads(file.read_text()), time.strftime('%Y-%m-%d', time.gmtime())
    how = f'python -m benchmark.scale --only growth; {figures["lives"]:,} tasks of 60 bytes, one process, a shard on '
    how += f'each primary; {meter.about(where, versions, today, figures["rounds"])}, of their ratios'
    data['measured'] |= {'when': today, 'how': how, 'figures': figures['growth']}
    file.write_text(json.dumps(data, indent=1) + '\n')


def tables(figures: Figures) -> list[Table]:
    rows: list[Row] = []
    for way, each in figures['costs'].items():
        for number, cost in each.items():
            name = f'{number} primaries' if number != str(CORE) else 'one queue, without shards'
            cells = [f'{cost[what]:.1f}' for what in ('all', 'busiest', 'least', 'process')]
            rows.append([f'{way}, {name}', *cells, f'{cost["scripts"]:.3f}', f'{cost["commands"]:.2f}'])
    lives, rounds = figures['lives'], figures['rounds']
    title = f'{lives:,} tasks, enqueued and drained by one process, in calls of {MOST} or by {LOOPS} loops: µs a task'
    head = ['', 'all servers', 'the busiest', 'the best round', 'the process', 'scripts', 'commands of the busiest']
    return [
        goals.table(f'Growth with primaries, a shard on each: medians of {rounds} rounds', figures['figures']),
        Table(title, head, rows),
    ]
