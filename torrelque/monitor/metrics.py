"""Metrics of queues: an ASGI application, and a collector for a registry.

The figures of a queue are those of all its workers, so one process exports for all.  Counters are what workers have
added up in the server: they go on where workers, and whoever exports, begin anew.
"""

import asyncio
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torrelque import Duration, TorrelqueError, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, Scale
from torrelque.operate.given import find_queues
from torrelque.protocol import check
from torrelque.tasks.ground import copy_queue
from torrelque.tasks.loops import is_bound
from torrelque.worker.places import clients_of

if importlib.util.find_spec('prometheus_client') is None:
    raise TorrelqueError(
        "metrics need prometheus-client, of the extra 'monitor' or 'prometheus': pip install 'torrelque[monitor]'"
    )

from .collecting import Collector
from .exposing import Exposition, families
from .reading import Reader, Shared

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

GROUPS = 100
"""Groups that may be told of by name."""


class Metrics:
    """An ASGI application that tells Prometheus of some queues, to be mounted under any path, or to be served alone.

    ``/`` and ``/metrics`` are the text, ``/scale.json`` is for whoever starts and stops workers.  It starts with the
    first request, and needs no lifespan.  It uses the queue objects in the event loop that they are used in elsewhere,
    and does not close them.  What is read is shared for a second.

    Run one for a queue: its figures are those of all workers, so two make sums too large.

    :param queues: a `torrelque.Torrelque`, an app (`torrelque.tasks.Tasks`), or several; or a function that makes the
        queue objects, in each event loop that needs some: these are closed with it.  So are, by a collector, their
        clients of a Sentinel or of a Cluster; other clients are left open.
    :param groups: up to 100 names of groups that are told of one by one.
    :param timeout: for how long (s) a queue whose server does not answer is waited for.
    :raises TorrelqueError: something of these cannot be meant.
    """

    def __init__(self, queues: Any, *, groups: Iterable[str] = (), timeout: Duration = 5) -> None:
        if isinstance(groups, str) or not isinstance(groups, Iterable):
            raise TorrelqueTypeError(f'groups must be names of groups, not {groups!r}')
        self._groups = [*dict.fromkeys(check.check_name(name, 'a group') for name in groups)]
        if len(self._groups) > GROUPS:
            number = len(self._groups)
            raise TorrelqueValueError(f'metrics tell of {GROUPS} groups by name at the most, not of {number}')
        self._patience = check.check_seconds(timeout, 'timeout', 0.01, True, 3600)
        # Legend.  _queues: what was given, where it is queue objects and apps; _given: the objects that it had then, or
        # None where _make makes them.  _parts: what there is in the event loop that was asked in last.  _app: what
        # answers requests, once there was one.
        self._queues = [*queues] if isinstance(queues, Iterator) else queues
        self._given: Sequence[TorrelqueQueue] | None = None
        self._make: Callable[[], Any] | None = None
        if callable(queues) and not hasattr(type(queues), 'queues'):
            self._make = check.check_call(queues, 'queues')
        else:
            self._given = self._find(self._queues)
        self._exposition = Exposition()
        self._parts: _Parts | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: 'Scope', receive: 'Receive', send: 'Send') -> None:
        """Answer a request, or take part in the lifespan of a server.

        :raises TorrelqueError: Starlette is missing.
        """
        if self._app is None:
            from .answering import make_app

            self._app = make_app(self)
        await self._app(scope, receive, send)

    async def exposition(self, accept: str = '') -> tuple[bytes, str]:
        """The text, and what its type is called: what a request gets.

        :param accept: the header of the request; '' is the classic text.
        """
        return self._exposition.of(await self._here().reader.snapshot.get(), accept)

    async def samples(self) -> list[dict[str, Any]]:
        """The same as values: each with its name, its labels, and its metric's type."""
        return [
            {'name': sample.name, 'type': metric.type, 'labels': dict(sample.labels), 'value': sample.value}
            for metric in families(await self._here().reader.snapshot.get())
            for sample in metric.samples
        ]

    async def silent(self) -> list[str]:
        """Names of the queues that could not be read, whose ``torrelque_up`` is 0."""
        return [seen.queue for seen in (await self._here().reader.snapshot.get()).queues if seen.overview is None]

    async def scale(self, *names: str) -> Scale:
        """How many slots of workers have something to do, see `torrelque.operate.Scale`.

        :param names: of the queues that are meant; none is all.
        :raises TorrelqueValueError: there is no such queue.
        :raises TorrelqueError: one could not be read: a sum without it would have workers stopped.
        """
        return await self._here().scale(names)

    def collector(self) -> Collector:
        """A collector for a registry of prometheus-client: ``REGISTRY.register(Metrics(app).collector())``.

        It reads by itself in a thread of its own, beside an event loop or without one, when the registry asks; it has
        ``close()``, and needs none.  After a fork, the child has a thread of its own.

        :raises TorrelqueError: a client of a Sentinel or of a Cluster belongs to one event loop; give a function.
        """
        if self._make is None:
            bound = [queue.name for queue in self._given or () if any(map(is_bound, clients_of(queue)))]
            if bound:
                raise TorrelqueError(
                    f'queue {bound[0]!r}: the client of a Sentinel or of a Cluster belongs to one event loop, and a '
                    'collector has another; give Metrics a function that makes the queues'
                )
        return Collector(self._copy, self._groups, self._patience)

    async def aclose(self) -> None:
        """End what is being read.  Queues that were given stay open; those that a function has made are closed."""
        parts, self._parts = self._parts, None
        if parts is not None and parts.reader.loop is asyncio.get_running_loop():
            await parts.aclose(self._make is not None)

    # Parts

    def _here(self) -> '_Parts':
        """What there is in the running event loop."""
        parts = self._parts
        if parts is None or parts.reader.loop is not asyncio.get_running_loop():
            queues = self._find(self._queues if self._make is None else self._make())
            parts = self._parts = _Parts(Reader(queues, self._groups, self._patience), self._patience)
        return parts

    def _find(self, given: Any) -> Sequence[TorrelqueQueue]:
        """The queue objects, of an app those that it uses in the running event loop."""
        return check_several(find_queues(given, 'an exporter'))

    def _copy(self) -> Sequence[TorrelqueQueue]:
        """Objects of the queues for another event loop."""
        if self._make is not None:
            return self._find(self._make())
        return [copy_queue(queue) for queue in self._given or ()]


class _Parts:
    """What an exporter has in one event loop."""

    def __init__(self, reader: Reader, patience: float) -> None:
        self.reader = reader
        self._patience = patience
        self._operators = {queue.name: Operator(queue) for queue in reader.queues}
        self._scales: dict[tuple[str, ...], Shared[Scale]] = {}

    async def scale(self, names: Iterable[str]) -> Scale:
        """What some queues have to do, or all."""
        wanted = tuple(sorted({*names})) or tuple(self._operators)
        if unknown := [name for name in wanted if name not in self._operators]:
            known = ', '.join(map(repr, self._operators))
            raise TorrelqueValueError(f'there is no queue {unknown[0]!r} here: {known}')
        shared = self._scales.get(wanted)
        if shared is None:
            operator = Operator([self._operators[name].queues[0] for name in wanted])
            shared = Shared(lambda: asyncio.wait_for(operator.scale(), self._patience))
            # One for each queue, and for all; what else is asked for together is not kept.
            if len(wanted) in (1, len(self._operators)):
                self._scales[wanted] = shared
        return await shared.get()

    async def aclose(self, with_queues: bool) -> None:
        """End what is being read, and close the queues where they are the exporter's own."""
        await self.reader.aclose()
        for shared in self._scales.values():
            await shared.aclose()
        for queue in self.reader.queues if with_queues else ():
            await queue.aclose()


def check_several(queues: Sequence[TorrelqueQueue]) -> Sequence[TorrelqueQueue]:
    """Refuse names of queues that would be the same as labels.

    :raises TorrelqueValueError: two queues have one name.
    """
    Operator(queues)
    return queues
