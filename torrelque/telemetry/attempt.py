"""The span of an attempt: from the call of the handler to its end, with what has become of it."""

import time
from typing import Any

from opentelemetry import context as contexts, trace
from opentelemetry.context import Context
from opentelemetry.propagate import inject
from opentelemetry.trace import Link, SpanKind, StatusCode

from torrelque.protocol.check import is_async
from torrelque.worker import Delivery, Retry
from torrelque.worker.trace import trace_of

from . import words
from .meters import Meters
from .places import Place, kind_of

PROCESSING = contexts.create_key('torrelque-processing')
"""The id of the task that is worked on, in the context of its handler."""


class Attempt:
    """One attempt of a task, to be entered, left, and settled; the last two in any order."""

    def __init__(
        self,
        tracer: trace.Tracer,
        meters: Meters,
        place: Place,
        delivery: Delivery,
        origin: Context,
        parent: bool,
        calls: bool,
    ) -> None:
        # Legend.  _calls: whether the settling has a span, too.  _ended: when the handler has ended (ns since 1970), 0
        # before that.  _seconds: how long it ran.
        self._tracer, self._meters, self._place = tracer, meters, place
        self._delivery = delivery
        self._calls = calls
        self._ended = 0
        self._seconds = 0.0
        self._task: Any = None
        producer = trace.get_current_span(origin)
        links = None
        if (known := producer.get_span_context()).is_valid and not (parent and delivery.attempt == 1):
            links = (Link(known),)
            # What else travels with the task, such as baggage, goes on; the trace does not.
            origin = trace.set_span_in_context(trace.INVALID_SPAN, origin)
        attributes = place.attributes(words.PROCESS).copy()
        attributes[words.MESSAGE_ID] = str(delivery.id)
        attributes[words.CLIENT_ID] = delivery.worker
        attributes[words.ATTEMPT] = delivery.attempt
        if name := delivery.job.name:
            attributes[words.TASK] = name
        if (group := delivery.id.group) is not None:
            attributes[words.GROUP] = group
        self._span = tracer.start_span(
            place.name(words.PROCESS), origin, SpanKind.CONSUMER, attributes, links
        )
        self._context = contexts.set_value(PROCESSING, delivery.id, trace.set_span_in_context(self._span, origin))

    def enter(self, key: str) -> Any:
        """The handler is about to be called; what `leave` is given.

        :param key: where the payload has the context.
        """
        delivery = self._delivery
        task, job = delivery.task, delivery.job
        if job.run_in == 'process' and isinstance(task, dict) and key in task and not is_async(job.call):
            # The process of the handler has no other way to know of this span.
            carrier: dict[str, str] = {}
            inject(carrier, self._context)
            if carrier:
                self._task, delivery.task = task, {**task, key: carrier}
        self._began = time.perf_counter()
        return contexts.attach(self._context)

    def leave(self, token: Any) -> None:
        """The handler has ended; without a token the caller stays in the span."""
        if token is not None:
            contexts.detach(token)
        self._end()
        if self._task is not None:
            self._delivery.task = self._task

    def settled(self, outcome: str, error: BaseException | None) -> None:
        """What has become of the attempt is known."""
        self._end()
        span, attributes = self._span, self._place.attributes(words.PROCESS)
        # That a function asks to be called again is no failure.
        if isinstance(error, Retry) and outcome == 'retried':
            error = None
        failure = 'lease_lost' if outcome == 'lost' and error is None else None if error is None else kind_of(error)
        if failure is not None:
            attributes = {**attributes, words.ERROR: failure}
        if span.is_recording():
            span.set_attribute(words.OUTCOME, outcome)
            if failure is not None:
                span.set_attribute(words.ERROR, failure)
                span.set_status(StatusCode.ERROR, failure if error is None else str(error))
            if error is not None:
                # The stack that the queue keeps with a dead task, too: without frames that are no user's.
                span.record_exception(error, {'exception.stacktrace': trace_of(error)}, self._ended)
        if self._calls:
            settling = self._tracer.start_span(
                self._place.name(words.SETTLE), self._context, SpanKind.CLIENT,
                {**self._place.attributes(words.SETTLE), words.MESSAGE_ID: str(self._delivery.id)},
                start_time=self._ended,
            )  # fmt: skip
            settling.end()
            took = (time.time_ns() - self._ended) / 1e9
            self._meters.operation.record(max(0.0, took), self._place.attributes(words.SETTLE))
        span.end(self._ended)
        self._meters.consumed.add(1, attributes)
        self._meters.processing.record(self._seconds, attributes)

    def _end(self) -> None:
        if not self._ended:
            self._ended = time.time_ns()
            self._seconds = time.perf_counter() - self._began
