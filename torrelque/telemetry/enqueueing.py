"""The span of whoever enqueues: one for a call, one for a bulk."""

import time
from typing import Any

from opentelemetry import context as contexts, trace
from opentelemetry.trace import SpanKind, StatusCode

from torrelque.tasks import Sending

from . import words
from .meters import Meters
from .places import Place, kind_of

SENDING = contexts.create_key('torrelque-sending')
"""What is being sent, in the context in which it is sent."""


class Enqueueing:
    """Stands around the sending of tasks."""

    def __init__(self, tracer: trace.Tracer, meters: Meters, place: Place, sending: Sending) -> None:
        self._tracer = tracer
        self._meters = meters
        self._place = place
        self._sending = sending
        self._token: Any = None

    def __enter__(self) -> Sending:
        sending = self._sending
        if contexts.get_value(SENDING) is sending:
            # Another telemetry has a span of it.
            return sending
        attributes = self._place.attributes(words.ENQUEUE).copy()
        if sending.name:
            attributes[words.TASK] = sending.name
        if sending.group is not None:
            attributes[words.GROUP] = sending.group
        if sending.priority is not None:
            attributes[words.PRIORITY] = sending.priority
        self._span = self._tracer.start_span(
            self._place.name(words.ENQUEUE), kind=SpanKind.PRODUCER, attributes=attributes
        )
        self._token = contexts.attach(contexts.set_value(SENDING, sending, trace.set_span_in_context(self._span)))
        self._began = time.perf_counter()
        return sending

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._token is None:
            return
        seconds = time.perf_counter() - self._began
        contexts.detach(self._token)
        span, sending, attributes = self._span, self._sending, self._place.attributes(words.ENQUEUE)
        ids = sending.ids
        if span.is_recording():
            if sending.many:
                span.set_attribute(words.COUNT, len(ids))
            elif ids:
                span.set_attribute(words.MESSAGE_ID, str(ids[0]))
        if error is not None:
            attributes = {**attributes, words.ERROR: kind_of(error)}
            span.set_attribute(words.ERROR, attributes[words.ERROR])
            span.record_exception(error)
            span.set_status(StatusCode.ERROR, str(error))
        span.end()
        if count := len(ids) or error is not None:
            self._meters.sent.add(count, attributes)
        self._meters.operation.record(seconds, attributes)
