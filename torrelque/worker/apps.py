"""Several apps in one worker, as one app."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueValueError

from .delivery import Delivery, Job, States
from .job import App


class Apps:
    """What a worker serves that was given several apps: the queues of all, in their order.

    A queue object of one client is served once, however many apps bring it.  The first app with a queue of the name
    that knows a task has it, because apps of one queue may have a client each.
    """

    def __init__(self, apps: Sequence[App]) -> None:
        # Legend.  _all: all apps, in their order.  _apps: those with a queue of a name, by the name.  _known:
        # the queues that were brought, by client and name.
        self._all = [*apps]
        self._apps: dict[str, list[App]] = {}
        self._known: set[tuple[int, str]] = set()
        self.queues: list[Torrelque] = []
        """The queues of all apps."""
        self.steal: list[Torrelque] = []
        """The queues that are served while these have nothing."""
        shares: dict[Torrelque, int] = {}
        weighted = False
        for app in apps:
            weights: Mapping[Torrelque, int] = getattr(app, 'weights', None) or {}
            weighted = weighted or bool(weights)
            for queue in self._new(app.queues, app):
                self.queues.append(queue)
                shares[queue] = weights.get(queue, 1)
        for app in apps:
            self.steal += self._new(getattr(app, 'steal', ()), app)
        self._refuse_namesakes()
        self.weights = shares if weighted else None
        """By which the queues share the worker; in an app that says none, each has 1."""

    def _new(self, queues: Sequence[Torrelque], app: App) -> list[Torrelque]:
        """Those of an app's queues that no app before it has brought."""
        found = []
        for queue in queues:
            apps = self._apps.setdefault(queue.name, [])
            if app not in apps:
                apps.append(app)
            place = id(queue.client), queue.name
            if place not in self._known:
                self._known.add(place)
                found.append(queue)
        return found

    def _refuse_namesakes(self) -> None:
        """Refuse a function that two apps of one queue have: which of them a task means, nobody could tell."""
        for queue, apps in self._apps.items():
            known: set[str] = set()
            for app in apps:
                own = {*getattr(app, 'functions', ())}
                if both := sorted(known & own):
                    raise TorrelqueValueError(f'two apps of queue {queue!r} have a function {both[0]!r}')
                known |= own

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
        apps = self._apps[delivery.queue.name]
        for app in apps:
            try:
                job = app.find(delivery)
            except TorrelqueLookupError:
                if app is apps[-1]:
                    raise
            else:
                delivery.app = app
                return job
        raise AssertionError(f'{delivery.queue!r} is of no app')

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[States]:
        """What all apps have while the worker runs; the last is left first."""
        states = States()
        async with contextlib.AsyncExitStack() as stack:
            for app in self._all:
                if (lifespan := getattr(app, 'lifespan', None)) is not None:
                    states[app] = await stack.enter_async_context(lifespan())
            yield states
