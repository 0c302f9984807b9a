"""Spans and metrics of a test's own, kept in memory, and workers that make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from torrelque.telemetry import Telemetry
from torrelque.worker import Worker


class Traced:
    """A telemetry whose spans are kept; the options are its."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer('test')
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.telemetry = Telemetry(self.tracers, self.meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def of(self, kind: SpanKind) -> list[ReadableSpan]:
        """Those of one kind."""
        return [span for span in self.spans if span.kind is kind]

    @property
    def produced(self) -> list[ReadableSpan]:
        """Those of whoever has enqueued."""
        return self.of(SpanKind.PRODUCER)

    @property
    def processed(self) -> list[ReadableSpan]:
        """Those of attempts."""
        return self.of(SpanKind.CONSUMER)

    def metrics(self) -> dict[str, list[Any]]:
        """What was measured, by the names of the metrics."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: [*metric.data.data_points] for scope in scopes for metric in scope.metrics}

    async def drain(self, app: Any, handler: Callable[..., Any] | None = None, **options: Any) -> None:
        """Have all that there is worked on."""
        worker = Worker(app, handler, burst=True, middleware=[self.telemetry.middleware], **options)
        await asyncio.wait_for(worker.run(), 60)


def links_of(span: ReadableSpan) -> list[int]:
    """The spans that a span is linked to, by their ids."""
    return [link.context.span_id for link in span.links]


def id_of(span: ReadableSpan) -> int:
    """The id of a span."""
    assert span.context is not None
    return int(span.context.span_id)


def trace_of(span: ReadableSpan) -> int:
    """The trace that a span is in."""
    assert span.context is not None
    return int(span.context.trace_id)


def told(span: ReadableSpan, *names: str) -> list[Any]:
    """Attributes of the messaging conventions, by the ends of their names."""
    attributes = span.attributes or {}
    return [attributes.get(f'messaging.{name}') for name in names]
