"""The text of an error, as it is kept with a task: the user's frames first, the members of a group, its end last.

Other layers may import the names in `__all__`.
"""

import asyncio
import concurrent.futures
import importlib
import os
import threading
import traceback

__all__ = ['trace_of']

MAX_ERROR = 4000
"""Characters of a traceback that are kept with a task, at the most: its last lines."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ABOVE = (
    _PACKAGE,
    os.path.dirname(asyncio.__file__) + os.sep,
    os.path.dirname(concurrent.futures.__file__) + os.sep,
    threading.__file__,
    os.path.dirname(importlib.__file__) + os.sep,
    '<frozen importlib.',
)
"""Files whose frames stand above a handler, or above a module that is imported by its name, in any traceback, and tell
its author nothing."""
_BETWEEN = tuple(
    _PACKAGE + os.path.join(*parts)
    for parts in (
        *(('worker', name) for name in ('handling.py', 'chain.py', 'child.py', 'threads.py')),
        *(('tasks', name) for name in ('running.py', 'incontext.py')),
        ('telemetry', 'telemetry.py'),
    )
)
"""Files whose frames stand between a middleware and the handler."""


def error_text(error: BaseException) -> str:
    """The last lines of an exception's traceback, as they are kept with the task."""
    # An error that came from another process brings the text of the traceback that it had there.
    there = getattr(error.__cause__, 'trace', None)
    if isinstance(there, str) and there:
        text = there.rstrip()
        last = traceback.format_exception_only(type(error), error)[-1].rstrip()
        if last not in text:
            # The error stands for another one, which was raised in the process; so both are named.
            text = f'{text}\n\nThe above exception was the direct cause of the following exception:\n\n{last}'
    else:
        text = trace_of(error)
    text = _encodable(_shorten(text.rstrip(), error))
    return text if len(text) <= MAX_ERROR else '…' + text[-MAX_ERROR:]


def _shorten(text: str, error: BaseException) -> str:
    """Cut the middle out of a long message, so that it does not take the place of all else."""
    try:
        last = ''.join(traceback.format_exception_only(type(error), error)).rstrip()
    except Exception:
        return text
    if len(last) > MAX_ERROR // 2 and text.endswith(last):
        half = MAX_ERROR // 4
        text = f'{text[: -len(last)]}{last[:half]} … {last[-half:]}'
    return text


def trace_of(error: BaseException) -> str:
    """An exception's traceback that begins with the user's frames; the last line of a group's names its members."""
    try:
        trace = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _trim(trace, set())
        text = ''.join(trace.format())
    except Exception as exc:
        # Formatting may call code of the exception itself, which may fail.
        return f'{type(error).__name__}, of which no traceback can be made: {type(exc).__name__}'
    members = _members(error)
    return f'{text}{summary(error)}\n' if members else text


def summary(error: BaseException, depth: int = 3) -> str:
    """Class and message in one line; of a group its members, too, so many levels deep."""
    try:
        text = _encodable(' '.join(str(error).split()))
    except Exception:
        text = '(its message cannot be shown)'
    line = f'{type(error).__name__}: {text}' if text else type(error).__name__
    if depth and (members := _members(error)):
        line += ': ' + '; '.join(summary(member, depth - 1) for member in members[:10])
    return line if len(line) <= MAX_ERROR else line[:MAX_ERROR] + '…'


def reason(error: BaseException, queue: str) -> str:
    """The text of an error for a line that names the queue itself."""
    return (str(error) or repr(error)).removeprefix(f'queue {queue!r}: ')


def _encodable(text: str) -> str:
    return text.encode('utf-8', 'backslashreplace').decode()


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """The members of an exception group, also of the one that fills in for it before Python 3.11."""
    try:
        members = getattr(error, 'exceptions', ())
    except Exception:
        return ()
    fine = isinstance(members, (tuple, list)) and all(isinstance(member, BaseException) for member in members)
    return tuple(members) if fine else ()


def _trim(trace: traceback.TracebackException, seen: set[int]) -> None:
    """Take the frames out that are not the user's."""
    if id(trace) in seen:
        return
    seen.add(id(trace))
    if trace.stack is not None:
        frames = [frame for frame in trace.stack if not frame.filename.startswith(_BETWEEN)]
        while frames and frames[0].filename.startswith(_ABOVE):
            del frames[0]
        # Without a stack the text is the message alone, without a heading for frames.
        trace.stack = traceback.StackSummary.from_list(frames) if frames else None  # type: ignore[assignment]
    for other in (trace.__cause__, trace.__context__, *(getattr(trace, 'exceptions', None) or ())):
        if other is not None:
            _trim(other, seen)

