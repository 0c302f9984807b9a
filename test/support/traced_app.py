"""Functions of a process of its own, for an app that is traced there."""

from __future__ import annotations

import redis.asyncio
from opentelemetry import trace

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.telemetry import Telemetry

app = Tasks(Torrelque(redis.asyncio.Redis()), context=Telemetry())
"""What a process finds that imports this module; nothing connects."""


@app.task(run_in='process')
def tell_of_process() -> list[str]:
    """Trace and span that the function is called in."""
    known = trace.get_current_span().get_span_context()
    return [f'{known.trace_id:x}', f'{known.span_id:x}']
