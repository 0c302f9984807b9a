"""A collector for a registry of prometheus-client: it reads by itself, in a thread of its own.

A registry asks in whatever thread, and waits for the answer; that may be the thread of an event loop.  So queues are
read in another one, by objects of its own, which a child of a fork makes anew.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import Metric

from torrelque import TorrelqueQueue
from torrelque.tasks.background import Background
from torrelque.tasks.loops import is_bound
from torrelque.worker.crossing import run_in_loop
from torrelque.worker.places import clients_of

from .exposing import describe, families
from .reading import Reader, Snapshot


class Collector:
    """A collector for a registry of prometheus-client; `Metrics.collector` makes it."""

    def __init__(self, make: Callable[[], Sequence[TorrelqueQueue]], groups: Sequence[str], patience: float) -> None:
        # Legend.  _make: makes the queue objects, in the event loop that they are used in.  _lock: for what is below,
        # which several threads ask for.  _background: the event loop, once it is needed.  _reader: what reads in it,
        # which only that loop touches.  _pid: the process that both are of.
        self._make = make
        self._groups = groups
        self._patience = patience
        self._lock = threading.Lock()
        self._background: Background | None = None
        self._reader: Reader | None = None
        self._pid = os.getpid()
        _all.add(self)

    def describe(self) -> Iterable[Metric]:
        """The families, without series: a registry that is given the collector reads nothing."""
        return describe()

    def collect(self) -> Iterable[Metric]:
        """The families with what is read now, or was within a second."""
        return families(run_in_loop(self._begin().loop, self._read()))

    def close(self) -> None:
        """End the thread, and close the connections.  Whoever asks then has them begun anew."""
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            background.stop(self._end)
            background.join()

    def _begin(self) -> Background:
        with self._lock:
            if self._pid != os.getpid():
                # The loop of the parent has no thread here, and its connections are the parent's; collected, the loop
                # would take its files out of the parent's selector.
                _of_parents.append((self._background, self._reader))
                self._background = self._reader = None
                self._pid = os.getpid()
            if self._background is None:
                self._background = Background('torrelque metrics')
                self._finish = weakref.finalize(self, self._background.stop)
            return self._background

    async def _read(self) -> Snapshot:
        reader = self._reader
        if reader is None or reader.loop is not asyncio.get_running_loop():
            reader = self._reader = Reader(self._make(), self._groups, self._patience)
        return await reader.snapshot.get()

    async def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.aclose()
            for queue in reader.queues:
                await queue.aclose()
                for client in filter(is_bound, clients_of(queue)):
                    # The client of a Sentinel or of a Cluster belongs to one event loop, so it was made for this one.
                    await client.aclose()

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, and is not here to let it go."""
        self._lock = threading.Lock()


_all: 'weakref.WeakSet[Collector]' = weakref.WeakSet()
_of_parents: list[object] = []


def _renew_locks() -> None:
    for collector in [*_all]:
        collector.renew_lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew_locks)
