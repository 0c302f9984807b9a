"""Spans and metrics of whoever enqueues and of workers, and the context that leads from the one to the other.

A span of a task begins where its handler is called and ends with the handler; what has become of the attempt is known
later, and is on the span all the same.  A claim that waits is no span.
"""

import importlib.metadata
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts, metrics, trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject

from torrelque import TorrelqueQueue, TorrelqueTypeError
from torrelque.protocol.check import check_call, check_flag
from torrelque.tasks import Sending
from torrelque.worker import Delivery, Middleware

from . import words
from .asleep import Sleep
from .attempt import PROCESSING, Attempt
from .enqueueing import Enqueueing
from .meters import Meters
from .places import Places

if TYPE_CHECKING:
    from torrelque.tasks import Tasks

CallNext = Callable[[Delivery], Awaitable[Any]]
Carrier = str | Callable[[Any], Mapping[str, str] | None]

logger = logging.getLogger(__package__)

_EMPTY = Context()


class Telemetry:
    """Traces tasks and measures them, for the producers and the workers that it is given to.

    ``Tasks(queue, context=telemetry)`` has a span of each call that is enqueued, and sends its context along;
    ``Worker(app, middleware=[telemetry.middleware])`` has a span of each attempt, with a link to that of the producer.

    :param tracer_provider: makes the spans; by default the global one.
    :param meter_provider: takes the metrics; by default the global one.
    :param parent: whether the first attempt of a task is a child of the producer's span, in one trace, instead of a
        trace of its own with a link.  Later attempts have links in any case.
    :param calls: whether there is a span of each call that settles a task, too.
    :param carrier: where the context is in plain payloads: the key of a mapping, or a function of the payload.
    :raises TorrelqueTypeError: an argument is of the wrong kind.
    """

    middleware: Middleware
    """For ``Worker(middleware=[…])``; let it be the first."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        parent: bool = False,
        calls: bool = False,
        carrier: Carrier = 'context',
    ) -> None:
        self._parent = check_flag(parent, 'parent')
        self._calls = check_flag(calls, 'calls')
        if not isinstance(carrier, str):
            check_call(carrier, 'carrier', 'task')
        self._carrier = carrier
        self._key = carrier if isinstance(carrier, str) else 'context'
        version = _own_version()
        self._tracer = trace.get_tracer(words.SYSTEM, version, tracer_provider, words.SCHEMA)
        self._meter = metrics.get_meter(words.SYSTEM, version, meter_provider, words.SCHEMA)
        self._meters = Meters(self._meter)
        self._places = Places()
        self._asleep = Sleep(tracer_provider, meter_provider).asleep
        self.middleware = _Middleware(self._asleep, self._trace)

    # Whoever enqueues

    def idle(self) -> bool:
        """Whether there is nothing to send along, and nobody who takes spans."""
        return self._asleep() and not contexts.get_current()

    def give(self) -> dict[str, str] | None:
        """The context of the current span, for a task; None where there is none."""
        if not contexts.get_current():
            return None
        carrier: dict[str, str] = {}
        inject(carrier)
        return carrier or None

    def enqueueing(self, sending: Sending) -> AbstractContextManager[Sending] | None:
        """Stands around calls that are enqueued, with a span of theirs."""
        if self._asleep():
            return None
        return Enqueueing(self._tracer, self._meters, self._places.of(sending.queue), sending)

    def sending(self, queue: TorrelqueQueue, *, many: bool = False) -> AbstractContextManager[Sending]:
        """The same for plain payloads: ``with telemetry.sending(queue): await queue.enqueue(telemetry.inject(task))``.

        :param many: whether it is a bulk.
        """
        sending = Sending(queue, '', many)
        return self.enqueueing(sending) or nullcontext(sending)

    def inject(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """A plain payload with the context of the current span, under the key of ``carrier``.

        :raises TorrelqueTypeError: the payload is no mapping.
        """
        if not isinstance(task, Mapping):
            raise TorrelqueTypeError(f'a context is put into a mapping, not into {type(task).__name__}')
        given = self.give()
        return dict(task) if given is None else {**task, self._key: given}

    # The worker

    def take(self, context: Mapping[str, str], /) -> AbstractContextManager[object] | None:
        """Stands around the function of a task: where no `middleware` has a span of it, what it does is in the trace of
        whoever has enqueued it."""
        return _Taken(context) if contexts.get_value(PROCESSING) is None else None

    async def _trace(self, delivery: Delivery, call_next: CallNext) -> Any:
        if contexts.get_value(PROCESSING) is delivery.id:
            # Another telemetry, outside of this one, has a span of it.
            return await call_next(delivery)
        attempt = Attempt(
            self._tracer, self._meters, self._places.of(delivery.queue), delivery, self._find(delivery.task),
            self._parent, self._calls,
        )  # fmt: skip
        told = delivery.when_settled(attempt.settled)
        token = attempt.enter(self._key)
        error: BaseException | None = None
        try:
            return await call_next(delivery)
        except BaseException as exc:
            error = exc
            raise
        finally:
            # What the worker does about a failure, its line in the log and its hooks above all, is in the span as well:
            # the asyncio task is for this attempt alone.
            attempt.leave(token if error is None or not told else None)
            if not told:
                attempt.settled('released' if error is None else 'retried', error)

    def _find(self, task: Any) -> Context:
        """The context in the payload of a task; empty where there is none."""
        found: Any
        if isinstance(self._carrier, str):
            found = task.get(self._carrier) if isinstance(task, dict) else None
        else:
            found = self._carrier(task)
        if not isinstance(found, Mapping):
            return _EMPTY
        # Whoever enqueues may write anything there, for which propagators are not made.
        texts = {name: text for name, text in found.items() if isinstance(name, str) and isinstance(text, str)}
        try:
            return extract(texts, _EMPTY)
        except Exception:
            logger.exception('the context of a task is left out, because it cannot be read')
            return _EMPTY

    # Figures

    def observe(self, app: 'Tasks', *queues: str) -> None:
        """Have the figures of an app's queues observed whenever metrics are collected, as gauges.

        They are those of all workers and producers together, so one process is to do it.

        :param queues: names; by default the app's own, and those of its functions.
        """
        from .gauges import Gauges

        Gauges(app, queues).make(self._meter)


def _own_version() -> str:
    try:
        return importlib.metadata.version('torrelque')
    except importlib.metadata.PackageNotFoundError:
        return ''


class _Middleware:
    """What is given to workers; where nobody takes spans, they do as without it."""

    def __init__(self, asleep: Callable[[], bool], trace: Middleware) -> None:
        self.idle = asleep
        self._trace = trace

    def __call__(self, delivery: Delivery, call_next: CallNext) -> Awaitable[Any]:
        return call_next(delivery) if self.idle() else self._trace(delivery, call_next)


class _Taken:
    def __init__(self, carrier: Mapping[str, str]) -> None:
        self._carrier = carrier

    def __enter__(self) -> None:
        self._token = contexts.attach(extract(self._carrier))

    def __exit__(self, *error: object) -> None:
        contexts.detach(self._token)
