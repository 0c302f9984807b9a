"""Traces and metrics by OpenTelemetry, for whoever enqueues and for workers.

It needs ``opentelemetry-api``, of the extra ``otel``; the instrumentor alone needs ``opentelemetry-instrumentation``,
which whoever runs ``opentelemetry-instrument`` has.  It stands on the public names of the other layers.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .telemetry import Telemetry

if TYPE_CHECKING:
    from .instrumentor import TorrelqueInstrumentor

__all__ = ['Telemetry', 'TorrelqueInstrumentor']


def __getattr__(name: str) -> Any:
    if name == 'TorrelqueInstrumentor':
        return importlib.import_module('.instrumentor', __package__).TorrelqueInstrumentor
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
