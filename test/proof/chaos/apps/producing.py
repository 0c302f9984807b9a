"""Producers of the application, in a process that is killed as any other: by asyncio, and in threads.

    python -m proof.chaos.apps.producing JSON

enqueues calls until SIGTERM, and writes down each before it is sent, and what is known of it afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from proof.chaos.apps import app as own
from proof.chaos.apps.app import LIMITS, QUEUE, SIDE, app, journal
from proof.chaos.apps.hosts import Lines
from proof.peers import FAILURES
from torrelque import TorrelqueDuplicateError

ROOM = 80
"""Tasks in the queue from which on producers wait."""
KINDS = {'quick': 8.0, 'blocks': 3.0, 'computes': 3.0, 'perishes': 2.0, 'orders': 1.5, 'waits': 1.0, 'rows': 1.0,
         'flow': 2.0, 'map': 0.5}  # fmt: skip
"""How often each kind is, compared with others."""
ORDERED = {'orders': 'line', 'waits': 'line', 'rows': 'row'}
LONG = 12.0
"""s that few tasks take, so that who goes on without a lease, or a worker, is seen to."""


@dataclass
class Call:
    """What is to be enqueued, and what is written down of it."""

    kind: str
    n: int
    arguments: dict[str, Any]
    options: dict[str, Any]

    @property
    def said(self) -> dict[str, Any]:
        """Of it, for the journal."""
        order = ORDERED.get(self.kind)
        group = f'fifo:{order}' if order else self.options.get('group')
        return {'n': self.n, 'kind': self.kind, 'group': group, 'order': order, 'id': self.options.get('task_id'),
                'expires': self.options.get('expires'), 'queue': self.options.get('queue', QUEUE)}  # fmt: skip


def draw(chance: random.Random, n: int) -> Call:
    """A call by chance."""
    kind = chance.choices([*KINDS], [*KINDS.values()])[0]
    lasts = chance.choice([0, 0, 0, 0.02, 0.02, 0.02, 0.1, 0.1, 0.1, 0.1, 0.5, 2 * own.LEASE])
    options: dict[str, Any] = {}
    if kind in ORDERED:
        lasts = min(lasts, 0.1)
    elif kind in ('quick', 'computes') and chance.random() < (0.2 if kind == 'computes' else 0.01):
        lasts = LONG
    elif chance.random() < 0.25:
        options['group'] = chance.choice([*LIMITS])
        lasts = min(lasts, 0.1)
    arguments: dict[str, Any] = {'lasts': lasts, 'fails': chance.choice([0, 0, 0, 0, 1, 2])}
    if kind in ('quick', 'blocks', 'computes'):
        arguments['touches'] = chance.random() < 0.5
    if kind in ('quick', 'blocks', 'computes', 'perishes'):
        options |= {'queue': SIDE} if chance.random() < 0.25 else {}
        options |= {'priority': chance.choice([1, 5, -1])} if chance.random() < 0.15 else {}
        options |= {'delay': chance.choice([0.05, 0.5])} if chance.random() < 0.1 else {}
        options |= {'task_id': f'own-{n}'} if chance.random() < 0.3 else {}
    if kind == 'perishes':
        options['expires'] = chance.choice([0.2, 0.5, 1.0, 3.0])
    return Call(kind, n, arguments, options)


class Producer:
    """One of them, by asyncio."""

    def __init__(self, chance: random.Random, numbers: Iterator[int], is_over: Callable[[], bool]) -> None:
        self._chance = chance
        self._numbers = numbers
        self._is_over = is_over

    async def run(self) -> None:
        while not self._is_over():
            try:
                stats = [await app.queue_named(name).get_queue_stats() for name in (QUEUE, SIDE)]
                if sum(one.tasks - one.dead for one in stats) > ROOM:
                    await asyncio.sleep(0.05)
                    continue
            except FAILURES:
                continue
            await self._produce(draw(self._chance, next(self._numbers)))
            await asyncio.sleep(self._chance.expovariate(1 / 0.01))

    async def _produce(self, call: Call) -> None:
        if call.kind == 'flow':
            await self._produce_flow(call)
        elif call.kind == 'map':
            await self._produce_many()
        else:
            await self._produce_one(call)

    async def _produce_one(self, call: Call) -> None:
        function = app.functions[call.kind]
        journal.write('sends', **call.said)
        for _ in range(3):
            try:
                # With an id of its own it may be tried again, until one knows.
                asked: Any = function.options(**call.options) if call.options else function
                handle = await asked.enqueue(call.n, **call.arguments)
                journal.write('sent', n=call.n, id=str(handle.id))
            except TorrelqueDuplicateError:
                journal.write('sent', n=call.n, id=call.options['task_id'])
            except FAILURES as exc:
                journal.write('unsure', n=call.n, error=repr(exc)[:200])
                if 'task_id' in call.options and self._chance.random() < 0.5:
                    continue
            return

    async def _produce_many(self) -> None:
        numbers = [next(self._numbers) for _ in range(self._chance.choice([2, 10, 40]))]
        for n in numbers:
            journal.write('sends', **Call('quick', n, {}, {}).said)
        try:
            handles = await own.quick.map(numbers)
        except FAILURES as exc:
            for n in numbers:
                journal.write('unsure', n=n, error=repr(exc)[:200])
        else:
            for n, handle in zip(numbers, handles, strict=True):
                journal.write('sent', n=n, id=str(handle.id))

    async def _produce_flow(self, call: Call) -> None:
        """Some parts, and a join of them."""
        chance, n = self._chance, call.n
        numbers = [next(self._numbers) for _ in range(chance.choice([1, 2, 3, 6]))]
        functions: list[Any] = [chance.choice([own.quick, own.quick, own.blocks, own.computes]) for _ in numbers]
        parts = [
            function.s(number, chance.choice([0, 0.02, 0.1]), chance.choice([0, 0, 0, 1])).named(f'p{place}')
            for place, (function, number) in enumerate(zip(functions, numbers, strict=True))
        ]
        flow_id = f'flow-{n}'
        flow = own.total.s(n, [part.result for part in parts]).named('total').options(flow_id=flow_id)
        ids = {f'{flow_id}.p{place}': number for place, number in enumerate(numbers)}
        journal.write('sends', **{**Call('flow', n, {}, {}).said, 'id': flow_id, 'parts': ids})
        try:
            await flow.enqueue()
            journal.write('sent', n=n, id=flow_id)
        except FAILURES as exc:
            journal.write('unsure', n=n, error=repr(exc)[:200])


def produce_here(chance: random.Random, numbers: Iterator[int], is_over: Callable[[], bool]) -> None:
    """As `Producer`, in a thread."""
    while not is_over():
        call = draw(chance, next(numbers))
        time.sleep(chance.expovariate(1 / 0.1))
        if call.kind in ('flow', 'map'):
            continue
        function: Any = app.functions[call.kind]
        journal.write('sends', **call.said)
        try:
            if call.kind in ORDERED:
                handle = function(call.n, **call.arguments)
            else:
                asked = function.options(**call.options) if call.options else function
                handle = asked.push(call.n, **call.arguments)
            journal.write('sent', n=call.n, id=str(handle.id))
        except FAILURES as exc:
            journal.write('unsure', n=call.n, error=repr(exc)[:200])


async def run(what: dict[str, Any]) -> None:
    stopped, numbers = threading.Event(), itertools.count(what['first'])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    chances = [random.Random(f'{what["name"]} {what["first"]} {place}') for place in range(6)]
    threads = [
        threading.Thread(target=produce_here, args=(chance, numbers, stopped.is_set)) for chance in chances[:2]
    ]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(Producer(chance, numbers, stopped.is_set).run() for chance in chances[2:]))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await app.aclose()


if __name__ == '__main__':
    Lines.listen()
    asyncio.run(run(json.loads(sys.argv[1])))
