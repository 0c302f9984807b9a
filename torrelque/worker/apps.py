"""Several apps in one worker, as one app."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from torrelque import TorrelqueLookupError, TorrelqueQueue, TorrelqueValueError

from .delivery import Delivery, Job, States
from .job import App
from .places import clients_of, identity, is_one


class Apps:
    """What a worker serves that was given several apps: the queues of all, in their order.

    A queue object of one client is served once, however many apps bring it.  A task is of the first app that knows it,
    of those that have its queue on its server, because apps of one queue may have a client each.
    """

    def __init__(self, apps: Sequence[App]) -> None:
        # Legend.  _all: all apps, in their order.  _apps: those with a queue, by its server and name.  _known: the
        # queues that were brought, by client and name.
        self._all = [*apps]
        self._apps: dict[tuple[object, str], list[App]] = {}
        self._known: set[object] = set()
        self.queues: list[TorrelqueQueue] = []
        """The queues of all apps."""
        self.steal: list[TorrelqueQueue] = []
        """The queues that are served while these have nothing."""
        shares: dict[TorrelqueQueue, int] = {}
        weighted = False
        for app in apps:
            weights: Mapping[TorrelqueQueue, int] = getattr(app, 'weights', None) or {}
            weighted = weighted or bool(weights)
            for queue in self._new(app.queues, app):
                self.queues.append(queue)
                shares[queue] = weights.get(queue, 1)
        for app in apps:
            self.steal += self._new(getattr(app, 'steal', ()), app)
        self._refuse_namesakes()
        self.weights = shares if weighted else None
        """By which the queues share the worker; in an app that says none, each has 1."""

    def _new(self, queues: Sequence[TorrelqueQueue], app: App) -> list[TorrelqueQueue]:
        """Those of an app's queues that no app before it has brought."""
        found = []
        for queue in queues:
            apps = self._apps.setdefault(_place_of(queue), [])
            if app not in apps:
                apps.append(app)
            place = identity(queue)
            if place not in self._known:
                self._known.add(place)
                found.append(queue)
        return found

    def _refuse_namesakes(self) -> None:
        """Refuse a function that two apps of one queue have: which of them a task means, nobody could tell."""
        for (_, queue), apps in self._apps.items():
            known: dict[str, object] = {}
            for app in apps:
                for name in getattr(app, 'functions', ()):
                    if known.setdefault(name, _whole(app)) is not _whole(app):
                        raise TorrelqueValueError(f'two apps of queue {queue!r} have a function {name!r}')

    @property
    def functions(self) -> list[str]:
        """Names of what the apps have jobs for."""
        return [name for app in self._all for name in getattr(app, 'functions', ())]

    @property
    def has_on_dead(self) -> bool:
        """Whether any app may have a job with an ``on_dead``."""
        return any(bool(getattr(app, 'has_on_dead', True)) for app in self._all)

    async def prepare(self) -> None:
        """Have all apps prepare."""
        for app in self._all:
            await app.prepare()

    def find(self, delivery: Delivery) -> Job:
        """The job of a task, of the first app that has one.

        :raises Exception: what the last of the apps has raised that serve the queue.
        """
        apps = self._apps[_place_of(delivery.queue)]
        for app in apps:
            try:
                job = app.find(delivery)
            except TorrelqueLookupError:
                if app is apps[-1]:
                    raise
            else:
                delivery.app = _whole(app)
                return job
        raise AssertionError(f'{delivery.queue!r} is of no app')

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[States]:
        """What all apps have while the worker runs; the last is left first."""
        states = States()
        async with contextlib.AsyncExitStack() as stack:
            for app in self._all:
                lifespan, whole = getattr(app, 'lifespan', None), _whole(app)
                if lifespan is not None and whole not in states:
                    states[whole] = await stack.enter_async_context(lifespan())
            yield states


def _whole(app: App) -> object:
    """The app that another one is a view of, or the app itself."""
    return getattr(app, 'whole', app)


def _place_of(queue: TorrelqueQueue) -> tuple[object, str]:
    """The servers of a queue, as far as its clients tell, and the name.  What is spelt otherwise is another server."""
    return (is_one(queue), *map(_server_of, clients_of(queue))), queue.name


def _server_of(client: Any) -> object:
    pool = getattr(client, 'connection_pool', None)
    if pool is None:
        # A Cluster forgets the nodes that it was made with; so each client of one is a server of its own.
        return id(client)
    said = pool.connection_kwargs
    return getattr(pool, 'service_name', None), *(said.get(name) for name in ('host', 'port', 'path', 'db'))
