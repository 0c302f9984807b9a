"""The metrics of the conventions: how many were sent and consumed, and how long operations took."""

from typing import Any

from opentelemetry.metrics import Meter

from . import words


class Meters:
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self.sent = meter.create_counter(
            'messaging.client.sent.messages', '{message}', 'Tasks that were enqueued, or were to be'
        )
        self.consumed = meter.create_counter(
            'messaging.client.consumed.messages', '{message}', 'Attempts whose handler was called'
        )
        self.processing = _make_histogram(meter, 'messaging.process.duration', 'How long handlers ran')
        self.operation = _make_histogram(
            meter, 'messaging.client.operation.duration', 'How long calls of the queue took'
        )


def _make_histogram(meter: Meter, name: str, description: str) -> Any:
    try:
        return meter.create_histogram(
            name, 's', description, explicit_bucket_boundaries_advisory=words.BOUNDARIES
        )
    except TypeError:
        # Of an API older than 1.23, whose instruments take no advice.
        return meter.create_histogram(name, 's', description)
