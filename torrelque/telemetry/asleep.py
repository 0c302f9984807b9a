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
            self._may_be = _is_unset(trace, '_TRACER_PROVIDER') and _is_unset(_METERS, '_METER_PROVIDER')
        return self._may_be


_METERS = getattr(metrics, '_internal', metrics)


def _is_unset(module: Any, name: str) -> bool:
    # The functions of the API that tell read the environment each time, which would be most of what a task costs.  An
    # API that calls it otherwise is taken for one that has a provider.
    return getattr(module, name, _UNKNOWN) is None
