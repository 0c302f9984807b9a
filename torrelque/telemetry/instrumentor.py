"""Switches telemetry on for all that is done in this process: by hand, or by ``opentelemetry-instrument``."""

import functools
from collections.abc import Callable, Collection
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined, unused-ignore]

from torrelque import Torrelque, TorrelqueError, TorrelqueQueue, sync
from torrelque.sharded import Sharded, sync as sync_sharded
from torrelque.tasks import Sending, share_context
from torrelque.worker import share_middleware

from .enqueueing import SENDING
from .telemetry import Telemetry


class TorrelqueInstrumentor(BaseInstrumentor):  # type: ignore[misc, unused-ignore]
    """Has all apps and plain queues of this process send spans, and all workers that are made from now on.

    ``TorrelqueInstrumentor().instrument()`` takes what `Telemetry` takes, by its names; ``uninstrument()`` takes all of
    it back, but for workers that run.
    """

    _undo: tuple[Callable[[], None], ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing but this package itself, which is there."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        names = ('tracer_provider', 'meter_provider', 'parent', 'calls', 'carrier')
        telemetry = Telemetry(**{name: kwargs[name] for name in names if name in kwargs})
        self._undo = (
            share_context(telemetry),
            share_middleware(telemetry.middleware),
            *(_wrap(telemetry, kind, name) for kind in (Torrelque, Sharded) for name in ('enqueue', 'enqueue_many')),
            *(
                _wrap_sync(telemetry, kind, name)
                for kind in (sync.Torrelque, sync_sharded.Sharded) for name in ('enqueue', 'enqueue_many')
            ),
        )

    def _uninstrument(self, **kwargs: Any) -> None:
        for undo in self._undo:
            undo()
        self._undo = ()


def _wrap(telemetry: Telemetry, kind: type[TorrelqueQueue], name: str) -> Callable[[], None]:
    """Have a verb of all queues stand in a span, where a layer above has not made one; a function that takes it back.
    """
    verb, many = getattr(kind, name), name == 'enqueue_many'

    @functools.wraps(verb)
    async def traced(self: TorrelqueQueue, *args: Any, **kwargs: Any) -> Any:
        if _is_sent(self):
            return await verb(self, *args, **kwargs)
        with telemetry.sending(self, many=many) as sending:
            told = await verb(self, *args, **kwargs)
            sending.ids = told if many else [told]
            return told

    setattr(kind, name, traced)
    return lambda: setattr(kind, name, verb)


def _wrap_sync(telemetry: Telemetry, kind: Any, name: str) -> Callable[[], None]:
    """The same for queues of synchronous code."""
    verb, many = getattr(kind, name), name == 'enqueue_many'

    @functools.wraps(verb)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_sent(self):
            return verb(self, *args, **kwargs)
        with telemetry.sending(self, many=many) as sending:
            told = verb(self, *args, **kwargs)
            sending.ids = told if many else [told]
            return told

    setattr(kind, name, traced)
    return lambda: setattr(kind, name, verb)


def _is_sent(queue: Any) -> bool:
    """Whether a layer above is just sending to a queue, or to one of which it is a shard."""
    sending = contexts.get_value(SENDING)
    if not isinstance(sending, Sending):
        return False
    above = sending.queue
    if above.name == queue.name:
        return True
    try:
        return queue in getattr(above, 'shards', ())
    except TorrelqueError:
        # The shards are not known yet, so it is none of them.
        return False
