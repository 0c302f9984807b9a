"""What a worker serves of an app: some of its queues, in an order or by weights."""

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from torrelque import TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import check_count, check_name
from torrelque.worker import Delivery, Job

Queues = Sequence[str] | Mapping[str, int]
"""Names of queues, of which the first that has tasks goes first; or their weights."""


def check_queues(queues: Queues, what: str = 'queues') -> Queues:
    """Names of queues, each once.

    :raises TorrelqueTypeError: they are no names.
    :raises TorrelqueValueError: a name or a weight cannot be meant, or a name is there twice.
    """
    if isinstance(queues, (str, bytes)) or not isinstance(queues, (Sequence, Mapping)):
        raise TorrelqueTypeError(f'{what} must be names of queues, or a mapping of these to weights, not {queues!r}')
    for name in queues:
        check_name(name, 'the name of a queue')
    if isinstance(queues, Mapping):
        for weight in queues.values():
            check_count(weight, 'a weight')
    elif len(set(queues)) < len(queues):
        raise TorrelqueValueError(f'{what} has a name twice: {", ".join(queues)}')
    return queues


def without(queues: Queues, left_out: Container[str]) -> Queues:
    """The queues but for some."""
    if isinstance(queues, Mapping):
        return {name: weight for name, weight in queues.items() if name not in left_out}
    return [name for name in queues if name not in left_out]


class Whole(Protocol):
    """An app, as far as a view of it has to know it."""

    @property
    def functions(self) -> Mapping[str, Any]: ...

    @property
    def has_on_dead(self) -> bool: ...

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[Any]] | None: ...

    def lend(self, name: str) -> TorrelqueQueue: ...

    async def prepare(self) -> None: ...

    def find(self, delivery: Delivery) -> Job: ...


class Serving:
    """An app for a worker (`torrelque.worker.App`), with some of its queues; made by `Tasks.serving`."""

    def __init__(self, app: Whole, queues: Queues, steal: Sequence[str]) -> None:
        if not queues:
            raise TorrelqueValueError('a worker needs a queue')
        if isinstance(steal, Mapping):
            raise TorrelqueTypeError(f'steal must be names of queues, not {steal!r}')
        check_queues(queues)
        check_queues(steal, 'steal')
        if both := [name for name in steal if name in queues]:
            raise TorrelqueValueError(f'a queue is named twice: {both[0]!r}')
        self.whole = app
        """What this is a view of."""
        self._app = app
        self._queues = queues
        self._steal = steal

    def __repr__(self) -> str:
        return f'<Serving {", ".join(map(repr, self._queues))} of {self._app!r}>'

    @property
    def queues(self) -> tuple[TorrelqueQueue, ...]:
        """The queues, as objects for one worker."""
        return tuple(map(self._app.lend, self._queues))

    @property
    def weights(self) -> dict[TorrelqueQueue, int] | None:
        """By which the queues share the worker while all have tasks, if that is said."""
        if not isinstance(self._queues, Mapping):
            return None
        return {self._app.lend(name): weight for name, weight in self._queues.items()}

    @property
    def steal(self) -> tuple[TorrelqueQueue, ...]:
        """Queues that are served while the others have nothing."""
        return tuple(map(self._app.lend, self._steal))

    @property
    def functions(self) -> Mapping[str, Any]:
        """As `Tasks.functions`."""
        return self._app.functions

    @property
    def has_on_dead(self) -> bool:
        """As `Tasks.has_on_dead`."""
        return self._app.has_on_dead

    @property
    def lifespan(self) -> Callable[[], AbstractAsyncContextManager[Any]] | None:
        """As `Tasks.lifespan`."""
        return self._app.lifespan

    async def prepare(self) -> None:
        """As `Tasks.prepare`."""
        await self._app.prepare()

    def find(self, delivery: Delivery) -> Job:
        """As `Tasks.find`."""
        return self._app.find(delivery)
