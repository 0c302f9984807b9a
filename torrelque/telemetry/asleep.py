"""Whether anybody takes spans or metrics: with the API alone, and no SDK, telemetry is to cost next to nothing."""

import os
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.environment_variables import OTEL_PYTHON_METER_PROVIDER, OTEL_PYTHON_TRACER_PROVIDER

_UNKNOWN: Any = object()


class Sleep:
    """Tells whether all that is made goes nowhere, until it does not any more."""

    def __init__(self, tracers: trace.TracerProvider | None, meters: metrics.MeterProvider | None) -> None:
        # The API sets up what a variable names when somebody asks for it.
        named = OTEL_PYTHON_TRACER_PROVIDER in os.environ or OTEL_PYTHON_METER_PROVIDER in os.environ
        self._may_be = not named and tracers is None and meters is None

    def asleep(self) -> bool:
        """Whether no provider is there, neither given nor global."""
        if self._may_be:
            # The functions of the API that tell read the environment each time, which would be most of what a task
            # costs.  An API that calls it otherwise is taken for one that has a provider.
            tracers, meters = _TRACES.get('_TRACER_PROVIDER', _UNKNOWN), _METERS.get('_METER_PROVIDER', _UNKNOWN)
            self._may_be = tracers is None and meters is None
        return self._may_be


_TRACES, _METERS = vars(trace), vars(getattr(metrics, '_internal', metrics))
"""Where the API has its global providers."""
