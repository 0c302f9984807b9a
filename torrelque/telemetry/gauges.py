"""The figures of queues as observable gauges; each collection reads them once."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from torrelque import TorrelqueError
from torrelque.operate import Operator, Overview
from torrelque.tasks import Tasks

from . import words

logger = logging.getLogger(__package__)

FRESH = 1.0
"""s for which figures that were read are told again: those that one collection asks for, one gauge after the other."""

Figures = Iterable[tuple[float | int | None, dict[str, str]]]


def _tasks(it: Overview) -> Figures:
    for status in ('pending', 'working', 'delayed', 'dead', 'waiting'):
        yield getattr(it, status), {words.STATUS: status}


def _groups(it: Overview) -> Figures:
    return (it.groups, {words.STATE: 'all'}), (it.paused_groups, {words.STATE: 'paused'}), (
        it.rated, {words.STATE: 'rated'},
    )  # fmt: skip


def _workers(it: Overview) -> Figures:
    return (it.workers, {words.STATE: 'live'}), (it.stuck, {words.STATE: 'stuck'}), (it.lost, {words.STATE: 'lost'})


def _dead_age(it: Overview) -> float:
    return 0.0 if it.oldest_dead is None else max(0.0, it.server_time - it.oldest_dead)


GAUGES: tuple[tuple[str, str, str, Callable[[Overview], Figures]], ...] = (
    ('torrelque.tasks', '{task}', 'Tasks by their status', _tasks),
    ('torrelque.tasks.ready', '{task}', 'Tasks that could be handed out at once', lambda it: [(it.ready, {})]),
    ('torrelque.oldest_pending.age', 's', 'For how long the longest-waiting task has been ready',
     lambda it: [(it.oldest_age or 0.0, {})]),
    ('torrelque.oldest_dead.age', 's', 'For how long the task that died first has been dead',
     lambda it: [(_dead_age(it), {})]),
    ('torrelque.groups', '{group}', 'Groups that have a task', _groups),
    ('torrelque.paused', '1', 'Whether the whole queue is paused', lambda it: [(int(it.paused), {})]),
    ('torrelque.workers', '{worker}', 'Workers with a heartbeat', _workers),
    ('torrelque.worker.slots', '{task}', 'Tasks that these can have in hand', lambda it: [(it.slots, {})]),
    ('torrelque.worker.slots.busy', '{task}', 'Tasks that they have in hand', lambda it: [(it.busy, {})]),
)  # fmt: skip
"""Name, unit, description, and what is told of a queue."""


class Gauges:
    """What reads the figures of the queues of an app, in the event loop that the app keeps for synchronous code."""

    def __init__(self, app: Tasks, queues: Iterable[str]) -> None:
        # Legend.  _lock: for what follows.  _read: the figures that were read last, and until when they are told.
        self._app = app
        self._queues = [*queues]
        self._lock = threading.Lock()
        self._read: tuple[float, list[Overview]] = (0.0, [])

    def make(self, meter: Meter) -> None:
        """Make the gauges."""
        for name, unit, description, tell in GAUGES:
            meter.create_observable_gauge(name, [self._callback(tell)], unit, description)

    def _callback(self, tell: Callable[[Overview], Figures]) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            for overview in self._overviews():
                place = {words.MESSAGING_SYSTEM: words.SYSTEM, words.DESTINATION: overview.queue}
                for value, attributes in tell(overview):
                    if value is not None:
                        yield Observation(value, {**place, **attributes})

        return observe

    def _overviews(self) -> list[Overview]:
        with self._lock:
            until, overviews = self._read
            if time.monotonic() > until:
                overviews = self._read_now()
                self._read = time.monotonic() + FRESH, overviews
            return overviews

    def _read_now(self) -> list[Overview]:
        # The thread that collects may be one with an event loop, which the app would refuse to block.
        found: list[Overview] = []
        thread = threading.Thread(target=self._call, args=(found,), name='torrelque-gauges', daemon=True)
        thread.start()
        thread.join()
        return [overview for overview in found if overview.error is None]

    def _call(self, found: list[Overview]) -> None:
        try:
            found += self._app.call(self._ask)
        except TorrelqueError as exc:
            logger.warning('the figures of %r cannot be observed: %s', self._app, exc)

    async def _ask(self) -> list[Overview]:
        app: Any = self._app
        names = self._queues or [app.queue.name, *(function.queue_name for function in app.functions.values())]
        return await Operator([app.queue_named(name) for name in dict.fromkeys(names)]).overviews()
