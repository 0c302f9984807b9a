"""Flows of the chaos: functions that write down when they run, and flows of them by chance.

What a function returns follows from what it is given, so that a result tells whether those behind it were given the
right ones.  `app` stands on the queue of its process by `torrelque.testing.using`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proof.actors import LEASE
from torrelque import TorrelqueValueError
from torrelque.flows import Step, any_failed, current_flow, first, gather
from torrelque.tasks import Tasks, current
from torrelque.worker import Backoff, Reject

QUEUE = 'chaos'
PRIME = 1_000_003
GROUP = 'few'
"""A group of which three run at a time."""
app = Tasks.from_url('redis://nowhere.invalid', queue=QUEUE)
OPTIONS: dict[str, Any] = {'task_timeout': LEASE, 'max_attempts': 4, 'retry': Backoff(base=0.02, cap=0.2)}


WAYS = ('alone', 'data', 'data', 'join', 'order', 'map', 'first', 'fail', 'end', 'grow', 'split')
"""How a step comes to a flow."""


class Journal:
    """Where functions write down what they do, a line for each word."""

    def __init__(self) -> None:
        self._file = -1
        self.mended = Path('never')
        """While there is no such file, what is broken fails."""

    def open(self, path: Path, mended: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.mended = mended

    def tell(self, word: str, what: Any = None) -> None:
        """Write down what the function does that is run here."""
        task_id: Any = current().id
        self.write(word, str(task_id), task_id.token, what)

    def write(self, *words: Any) -> None:
        os.write(self._file, json.dumps(words).encode() + b'\n')


journal = Journal()


def flat(inputs: Any) -> Iterator[int]:
    """The numbers in lists of lists."""
    if isinstance(inputs, list):
        for one in inputs:
            yield from flat(one)
    elif inputs is not None:
        yield inputs


def value_of(function: str, args: list[Any]) -> Any:
    """What a function returns."""
    if function == 'each':
        return (7 * args[0] + 1) % PRIME
    if function == 'total':
        return sum(flat(args)) % PRIME
    spec, *inputs = args
    if function == 'splits':
        return sum(value_of('work', [one]) for one in parts_of(spec)) % PRIME
    value = (31 * spec['n'] + sum(flat(inputs))) % PRIME
    return [value + place for place in range(spec['n'] % 6)] if function == 'many' else value


def parts_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that a function adds to its flow."""
    return [{'n': spec['n'] + place, 'ms': 1} for place in range(spec['adds'])]


def _check(spec: dict[str, Any]) -> None:
    if current().attempt <= spec.get('fails', 0) or spec.get('broken') and not journal.mended.exists():
        journal.tell('raises')
        raise ValueError(f'{spec["n"]} is to fail')
    if spec.get('rejects') and not journal.mended.exists():
        journal.tell('raises')
        raise Reject('it is dead at once')


async def _share(spec: dict[str, Any]) -> None:
    """Keep a named value, or look for one."""
    flow = current_flow()
    if 'push' in spec:
        await flow.push(spec['push'], spec['n'])
    for key, value in spec.get('pull', {}).items():
        if (found := await flow.pull(key)) != value:
            journal.tell('trouble', f'{key} is {found}, and not {value}')


@app.task(name='work', **OPTIONS)
async def work(spec: dict[str, Any], inputs: Any = None) -> int:
    journal.tell('begins')
    await asyncio.sleep(spec.get('ms', 0) / 1000)
    _check(spec)
    await _share(spec)
    value: int = value_of('work', [spec, inputs])
    journal.tell('ends', value)
    return value


@app.task(name='block', **OPTIONS)
def block(spec: dict[str, Any], inputs: Any = None) -> int:
    """As `work`, in a thread."""
    journal.tell('begins')
    time.sleep(spec.get('ms', 0) / 1000)
    _check(spec)
    current_flow().wait(_share(spec))
    value: int = value_of('block', [spec, inputs])
    journal.tell('ends', value)
    return value


@app.task(name='grows', **OPTIONS)
async def grows(spec: dict[str, Any], inputs: Any = None) -> int:
    """As `work`; it adds others to its flow first, for which those are to wait that wait for this."""
    journal.tell('begins')
    _check(spec)
    try:
        await current_flow().add(gather(*map(work.s, parts_of(spec))) >> total, before=spec['before'])
    except TorrelqueValueError:
        journal.tell('refused')  # Those behind were cancelled meanwhile.
    value: int = value_of('grows', [spec, inputs])
    journal.tell('ends', value)
    return value


@app.task(name='splits', **OPTIONS)
async def splits(spec: dict[str, Any], inputs: Any = None) -> Step[int]:
    """Gives its place to others."""
    journal.tell('begins')
    _check(spec)
    journal.tell('ends')
    return gather(*map(work.s, parts_of(spec))) >> total


@app.task(name='many', **OPTIONS)
async def many(spec: dict[str, Any], inputs: Any = None) -> list[int]:
    journal.tell('begins')
    _check(spec)
    values: list[int] = value_of('many', [spec, inputs])
    journal.tell('ends', values)
    return values


@app.task(name='each', **OPTIONS)
async def each(value: int) -> int:
    journal.tell('begins')
    await asyncio.sleep(0.002)
    journal.tell('ends', value_of('each', [value]))
    return int(value_of('each', [value]))


@app.task(name='total', **OPTIONS)
def total(values: Any) -> int:
    journal.tell('begins')
    value: int = value_of('total', [values])
    journal.tell('ends', value)
    return value


@app.task(name='alone', **OPTIONS)
async def alone(number: int) -> int:
    """A task that is enqueued by itself, or waits for such."""
    journal.tell('begins')
    await asyncio.sleep(0.003)
    journal.tell('ends', number)
    return number


class Maker:
    """Makes a flow by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._steps: list[Any] = []
        """Those that others may wait for."""
        self._specs: list[dict[str, Any]] = []
        self._above: list[set[int]] = []
        """For each of them, the places of those that have completed before it begins."""
        self._leaves: set[int] = set()
        self._count = 0

    def make(self) -> Any:
        """A flow."""
        if self._chance.random() < 0.03:
            return gather(*(work.s({'n': place}) for place in range(300))) >> total
        for _ in range(self._chance.choice([1, 2, 3, 5, 8, 12])):
            self._make_one()
        return gather(*(self._steps[place] for place in sorted(self._leaves)))

    def _spec(self) -> dict[str, Any]:
        chance = self._chance
        spec: dict[str, Any] = {'n': chance.randrange(1000), 'ms': chance.choice([0, 0, 2, 5, 30])}
        if chance.random() < 0.2:
            spec['fails'] = chance.choice([1, 1, 2, 5])
        if chance.random() < 0.07:
            spec['broken'] = True
        if chance.random() < 0.03:
            spec['rejects'] = True
        if chance.random() < 0.2:
            spec['push'] = f'key{self._count}'
        return spec

    def _some(self) -> list[int]:
        places = [*range(len(self._steps))]
        return sorted(self._chance.sample(places, min(len(places), self._chance.choice([1, 2, 2, 3, 4]))))

    def _function(self) -> Any:
        function: Any = block if self._chance.random() < 0.25 else work
        options: dict[str, Any] = {}
        if self._chance.random() < 0.15:
            options['group'] = GROUP
        if self._chance.random() < 0.1:
            options['priority'] = self._chance.choice([1, -1, 50])
        if self._chance.random() < 0.1:
            options['delay'] = 0.05
        return function.options(**options) if options else function

    def _name(self, step: Any) -> Any:
        self._count += 1
        return step.named(f's{self._count}')

    def _make_one(self) -> None:
        ways = WAYS if self._steps else WAYS[:1]
        way, spec, places = self._chance.choice(ways), self._spec(), self._some()
        some = [self._steps[place] for place in places]
        function = self._function()
        if way in ('fail', 'end'):
            self._put_beside(way, some)
            return
        if way == 'alone':
            step = self._name(function.s(spec))
        elif way == 'data':
            places = places[:1]
            self._pull(spec, places)
            step = self._name(function.s(spec, some[0].result))
        elif way == 'join':
            self._pull(spec, places)
            step = self._name(function.s(spec, [[one.result] for one in some]))
        elif way == 'order':
            self._pull(spec, places)
            step = gather(*some) >> self._name(function.s(spec))
        elif way == 'map':
            places = places[:1]
            mapped = self._name(many.s({'n': spec['n']}, some[0].result)).map(
                each, limit=self._chance.choice([None, 2])
            )
            step = self._name(function.s(spec, mapped.results))
        elif way == 'first':
            step = first(*some) >> self._name(function.s(spec))
        elif way == 'split':
            spec = {name: value for name, value in spec.items() if name != 'push'}
            adds = {**spec, 'adds': self._chance.choice([0, 1, 4])}
            step = gather(*some) >> self._name(splits.s(adds))
        else:
            places = places[:1]
            adds = {'n': spec['n'], 'adds': self._chance.choice([0, 1, 4]), 'before': [f's{self._count + 2}']}
            step = self._name(function.s(spec, self._name(grows.s(adds, some[0].result)).result))
        self._add(step, spec, [] if way == 'first' else places)
        self._leaves -= {*([] if way == 'alone' else places)}

    def _add(self, step: Any, spec: dict[str, Any], places: list[int]) -> None:
        place = len(self._steps)
        self._steps.append(step)
        self._specs.append(spec)
        self._above.append({*places}.union(*(self._above[one] for one in places)))
        self._leaves.add(place)

    def _pull(self, spec: dict[str, Any], places: list[int]) -> None:
        """Have a step look for the values that those have kept which have completed before it."""
        above = {*places}.union(*(self._above[place] for place in places))
        keys = {self._specs[place]['push']: self._specs[place]['n'] for place in above if 'push' in self._specs[place]}
        if keys:
            spec['pull'] = keys

    def _put_beside(self, way: str, some: list[Any]) -> None:
        """What runs where others fail, or in any case; nothing waits for it."""
        row = self._name(work.s(self._spec()))
        if self._chance.random() < 0.3:
            row = row >> self._name(work.s(self._spec()))
        if way == 'end':
            gather(*some).at_end(row)
        elif len(some) == 1:
            some[0].if_failed(row)
        else:
            any_failed(*some)(row)
