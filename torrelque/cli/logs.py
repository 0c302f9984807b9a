"""What a command writes to standard error: lines of the log, as text or as JSON, and why it ends.

A record of the worker has fields of its own, see `torrelque.worker`; one of the application's own loggers, written
while a decorated function runs, gets those of the function's task.
"""

import contextlib
import datetime
import json
import logging
import sys
import types
from collections.abc import Mapping
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueError

from .clean import shown, shown_lines, without_secrets
from .failure import Failure

logger = logging.getLogger(__package__)

LEVELS = ('debug', 'info', 'warning', 'error', 'critical')
FORMS = ('text', 'json')

_PLAIN = {*vars(logging.LogRecord('', 0, '', 0, '', (), None)), 'message', 'asctime', 'taskName'}
"""Attributes that each record has; all others were given as ``extra``."""


def configure(level: str, form: str) -> None:
    """Have all loggers write to standard error, from a level on; before the application is imported, which may
    configure them in its own way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == 'json' else TextFormatter())
    handler.addFilter(_is_told)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)


def tell(failure: Failure, form: str) -> None:
    """Say why a command ends."""
    if form == 'json':
        more = {'lines': [*failure.lines]} if failure.lines else {}
        logger.error('%s', failure, exc_info=failure.error, extra=more)
        return
    with contextlib.suppress(OSError):
        if failure.error is not None:
            from torrelque.worker.trace import trace_of

            print(shown_lines(trace_of(failure.error).rstrip()), file=sys.stderr)
        for line in failure.lines:
            print(shown(line), file=sys.stderr)
        print(f'torrelque: {shown(str(failure))}', file=sys.stderr)


def _is_told(record: logging.LogRecord) -> bool:
    """Whether a record is written.  That a worker ends because its server is away is said once, in the last line."""
    error = record.exc_info[1] if record.exc_info else None
    return not (getattr(record, 'event', '') == 'worker_failed' and isinstance(error, TorrelqueConnectionError))


class TextFormatter(logging.Formatter):
    """``2026-08-01 12:00:00.123 WARNING torrelque.worker: …``, then the traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        when = datetime.datetime.fromtimestamp(record.created).isoformat(' ', 'milliseconds')
        lines = [f'{when} {record.levelname} {record.name}: {shown(record.getMessage())}']
        if trace := _trace(record):
            lines.append(shown_lines(trace))
        return '\n'.join(lines)


class JsonFormatter(logging.Formatter):
    """A JSON object a line: ``time``, ``level``, ``logger``, ``message``; ``worker``, ``queue``, ``task``,
    ``function``, ``attempt`` and ``group`` where they are known; ``trace_id`` and ``span_id`` where OpenTelemetry is in
    use; ``exception``; and whatever else a record was given.
    """

    worker: str | None = None
    """The name of the worker of this process, for records that do not name it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; what JSON has no words for is in it as its ``repr``."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        fields: dict[str, Any] = {
            'time': when.isoformat(timespec='milliseconds').replace('+00:00', 'Z'),
            'level': record.levelname,
            'logger': record.name,
            'message': record.getMessage(),
        }
        if self.worker is not None:
            fields['worker'] = self.worker
        given = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if 'task_id' not in given:
            fields.update(_task())
        fields.update(given)
        if (task_id := fields.pop('task_id', None)) is not None:
            fields['task'] = task_id
        fields.update(_span())
        if trace := _trace(record):
            fields['exception'] = trace
        # What is not of ASCII is escaped: a lone surrogate could not be written at all, and marks of direction would
        # turn the line round.
        return json.dumps(_fit(fields))


def _trace(record: logging.LogRecord) -> str:
    """The traceback, and the stack, of a record."""
    from torrelque.worker.trace import trace_of

    error = record.exc_info[1] if record.exc_info else None
    parts = [trace_of(error).rstrip()] if error is not None else []
    if record.stack_info:
        parts.append(record.stack_info)
    return '\n'.join(parts)


def _task() -> Mapping[str, Any]:
    """The fields of the task that the caller's code is run for, if that is known."""
    from torrelque.tasks import current

    try:
        delivery = current()
    except TorrelqueError:
        return {}
    fields = {'task_id': str(delivery.id), 'attempt': delivery.attempt, 'group': delivery.group}
    # A delivery in a process of its own has neither.
    queue, job = getattr(delivery, 'queue', None), getattr(delivery, 'job', None)
    if queue is not None and job is not None:
        fields |= {'queue': queue.name, 'function': job.name}
    return fields


def _span() -> Mapping[str, str]:
    """Where in a trace the caller's code is, if that is known."""
    # Nothing is imported for it: without the module nobody has begun a span.
    if (tracing := sys.modules.get('opentelemetry.trace')) is None:
        return {}
    known = tracing.get_current_span().get_span_context()
    return {'trace_id': f'{known.trace_id:032x}', 'span_id': f'{known.span_id:016x}'} if known.is_valid else {}


def _fit(value: Any, depth: int = 8) -> Any:
    """A value that JSON has words for."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, float):
        return value if value - value == 0 else repr(value)
    if depth and isinstance(value, (dict, types.MappingProxyType)):
        return {without_secrets(str(name)): _fit(one, depth - 1) for name, one in value.items()}
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return [_fit(one, depth - 1) for one in value]
    try:
        return without_secrets(repr(value))
    except Exception:
        return f'<{type(value).__name__}>'
