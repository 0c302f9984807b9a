"""The application that is served: functions of each kind, which write down when they run.

`torrelque run proof.chaos.apps.app:app` serves it, and producers import it.  Where its servers are, and the folder of
the journals, says the variable ``CHAOS_APP``.  What a function returns follows from its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from proof.chaos.apps.journal import Journal, now
from torrelque.sharded import Sharded
from torrelque.tasks import Tasks, current
from torrelque.tasks.address import make_client
from torrelque.worker import Backoff, Delivery

SETTINGS: dict[str, Any] = json.loads(os.environ.get('CHAOS_APP', '{}'))
QUEUE, SIDE = 'main', 'side'
LEASE = 1.5
"""s."""
KEEP = 3600.0
"""s for which ends are known; no run takes so long."""
PRIME = 1_000_003
LIMITS = {'one': 1, 'few': 3}
"""Groups, and how many of each run at a time."""
OPTIONS: dict[str, Any] = {'task_timeout': LEASE, 'max_attempts': -1, 'retry': Backoff(base=0.05, cap=0.3)}
PAUSE = 0.1
"""s between two lines of a function that takes its time."""

journal = Journal(Path(SETTINGS['journals']) if SETTINGS else None)


Overlap: TypeAlias = Literal['skip', 'allow', 'replace', 'queue']
Missed: TypeAlias = Literal['latest', 'all', 'none']


class Plan(NamedTuple):
    """What a schedule says."""

    period: int
    """ms."""
    overlap: Overlap
    missed: Missed
    lasts: float
    """s that its task takes at the most."""


SCHEDULES = {
    'each': Plan(1000, 'allow', 'all', 0.05),
    'cron': Plan(1000, 'allow', 'all', 0.05),
    'lone': Plan(1000, 'skip', 'latest', 1.5),
    'line': Plan(1000, 'queue', 'all', 0.8),
    'last': Plan(2000, 'replace', 'latest', 2.5),
}


def value_of(number: int) -> int:
    """What a function returns."""
    return (31 * number + 7) % PRIME


def _make_app() -> Tasks:
    urls = SETTINGS.get('urls', ['redis://nowhere.invalid'])
    options: dict[str, Any] = {'keep': KEEP, 'name': 'chaos', 'queues': [QUEUE, SIDE]}
    if len(urls) > 1:
        def make_queue() -> Sharded:
            return Sharded([make_client(url) for url in urls], queue=QUEUE)

        return Tasks(make_queue(), make_queue=make_queue, **options)
    return Tasks.from_url(urls[0], queue=QUEUE, shards=SETTINGS.get('shards'), **options)


def tell_released(delivery: Delivery, result: Any) -> None:
    """The queue has said that a task was released."""
    journal.write('released', id=str(delivery.id), token=delivery.id.token)


def tell_dead(delivery: Delivery, error: BaseException) -> None:
    """A task is dead."""
    journal.write('dead', id=str(delivery.id), error=str(error)[-300:])


OPTIONS |= {'on_success': tell_released}
app = _make_app()


class Attempt:
    """One that runs here; what it tells goes to the journal."""

    def __init__(self) -> None:
        delivery: Any = current()
        self._about = {'id': str(delivery.id), 'token': delivery.id.token}
        self._go = Path(SETTINGS['go'])

    def tell(self, word: str, **what: Any) -> None:
        journal.write(word, **self._about, **what)

    async def touch(self, progress: int) -> None:
        """Renew the lease, and write down whether that was done, and from when on."""
        began = now()
        if await current().touch(progress=progress):
            self.tell('touched', began=began)

    async def last(self, seconds: float, touches: bool = False) -> None:
        """Take so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, PAUSE))
            self.tell('goes on')
            if touches and left > PAUSE:
                await self.touch(round(1000 * left))

    def last_here(self, seconds: float, touches: bool = False) -> None:
        """Take so long, in a thread or a process."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, PAUSE))
            self.tell('goes on')
            began = now()
            if touches and left > PAUSE and current().report(round(1000 * left)):
                self.tell('touched', began=began)

    def is_held(self) -> bool:
        """Whether functions that are held back are to go on being so."""
        return not self._go.exists()


@contextlib.contextmanager
def attempt(function: str, number: int | None, fails: int = 0, lasts: float = 0) -> Iterator[Attempt]:
    """Write down that an attempt begins, and how it ends; the first ones fail, if they are to."""
    one = Attempt()
    worker = multiprocessing.parent_process()
    parent = os.getppid() if worker is None else worker.pid
    one.tell('begins', fn=function, n=number, parent=parent, no=current().attempt, lasts=lasts)
    try:
        yield one
        if current().attempt <= fails:
            raise ValueError(f'{number} is to fail')
    except BaseException as exc:
        one.tell('raises', error=type(exc).__name__)
        raise
    one.tell('ends')


# Plain tasks


@app.task(name='quick', **OPTIONS)
async def quick(n: int, lasts: float = 0, fails: int = 0, touches: bool = False) -> int:
    with attempt('quick', n, fails, lasts) as one:
        await one.last(lasts, touches)
    return value_of(n)


@app.task(name='blocks', **OPTIONS)
def blocks(n: int, lasts: float = 0, fails: int = 0, touches: bool = False) -> int:
    """In a thread."""
    with attempt('blocks', n, fails, lasts) as one:
        one.last_here(lasts, touches)
    return value_of(n)


@app.task(name='computes', run_in='process', **OPTIONS)
def computes(n: int, lasts: float = 0, fails: int = 0, touches: bool = False) -> int:
    """In a process."""
    with attempt('computes', n, fails, lasts) as one:
        one.last_here(lasts, touches)
    return value_of(n)


@app.task(name='perishes', on_dead=tell_dead, **OPTIONS)
async def perishes(n: int, lasts: float = 0, fails: int = 0) -> int:
    """Of no use later."""
    with attempt('perishes', n, fails, lasts) as one:
        await one.last(lasts)
    return value_of(n)


# In order

ORDER: dict[str, Any] = {'task_timeout': LEASE, 'retry_wait': 0.05, 'on_success': tell_released}


@app.fifo(queue='line', name='orders', **ORDER)
async def orders(n: int, lasts: float = 0, fails: int = 0) -> int:
    with attempt('orders', n, fails, lasts) as one:
        await one.last(lasts)
    return value_of(n)


@app.fifo(queue='line', name='waits', **ORDER)
def waits(n: int, lasts: float = 0, fails: int = 0) -> int:
    """Among those of `orders`, in a thread."""
    with attempt('waits', n, fails, lasts) as one:
        one.last_here(lasts)
    return value_of(n)


@app.fifo(queue='row', name='rows', run_in='process', **ORDER)
def rows(n: int, lasts: float = 0, fails: int = 0) -> int:
    """In a row of their own, in a process."""
    with attempt('rows', n, fails, lasts) as one:
        one.last_here(lasts)
    return value_of(n)


# Flows


@app.task(name='total', **OPTIONS)
async def total(n: int, values: list[int]) -> int:
    """The join of a flow."""
    with attempt('total', n):
        return (value_of(n) + sum(values)) % PRIME


# Held back, while workers and queue are compared


@app.task(name='holds', **OPTIONS)
async def holds(n: int) -> int:
    with attempt('holds', n) as one:
        while one.is_held():
            await asyncio.sleep(0.02)
    return value_of(n)


@app.task(name='holds_thread', **OPTIONS)
def holds_thread(n: int) -> int:
    with attempt('holds_thread', n) as one:
        while one.is_held():
            time.sleep(0.02)
    return value_of(n)


@app.task(name='holds_process', run_in='process', **OPTIONS)
def holds_process(n: int) -> int:
    with attempt('holds_process', n) as one:
        while one.is_held():
            time.sleep(0.02)
    return value_of(n)


# Schedules


def _have_called(name: str, plan: Plan) -> None:
    when: dict[str, Any] = {'when': '* * * * * *'} if name == 'cron' else {'every': plan.period / 1000}

    @app.cron(**when, name=name, overlap=plan.overlap, missed=plan.missed)
    @app.task(name=name, **OPTIONS)
    async def called() -> None:
        with attempt(name, None) as one:
            await one.last(random.uniform(0, plan.lasts))


if SETTINGS.get('schedules', True):
    for _name, _plan in SCHEDULES.items():
        _have_called(_name, _plan)
