"""A selection: which tasks an act, or a list, is about.  One grammar for Python, the command line and JSON."""

import difflib
import fnmatch
import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from torrelque import Duration, TorrelqueTaskStatus, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from .faults import find_fault
from .values import TaskView, Value

STATUSES = ('pending', 'working', 'delayed', 'dead', 'waiting', 'ready', 'orphaned')
"""What `Selection.status` may be."""

_FINGERPRINT = re.compile(r'[0-9a-f]{8}')
_LONGEST_PATTERN = 1000
_SIGN = re.compile(r'\[(?P<itself>[*?[])\]|[*?[]')
"""What may stand for something else in a pattern of names, or for itself."""
_MEANT = re.compile(r'[*?]|\[(?=[*?[]\])')
"""What would, of a name."""


@dataclass(frozen=True, slots=True)
class Selection(Value):
    """Tasks for which all of these hold; what is None holds for all."""

    status: str | None = None
    """The place: 'pending', 'working', 'delayed', 'dead', 'waiting', 'ready', 'orphaned'; for ``redrive`` dead is
    understood, for ``requeue`` and ``bury`` working, for ``cancel`` pending and delayed."""
    function: str | None = None
    """The name of the decorated function.  ``*`` stands for any text and ``?`` for one character, and ``[*]``, ``[?]``
    and ``[[]`` for a star, a question mark and a bracket; all else stands for itself, other brackets too, and case
    counts.  '' is tasks that are no call of a function.  Whatever cannot be told is
    neither: a payload that is gone, or that the queue's serialiser cannot read, and one above 64 kB whose beginning
    (one above 16 MB is not read) does not have the name, as the envelope of a call does."""
    group: str | None = None
    """Likewise; '' is tasks without one."""
    error: str | None = None
    """A text that the error has, or its fingerprint: eight hexadecimal digits in lower case."""
    text: str | None = None
    """A text that the payload has, as it is written there, or as JSON escapes it."""
    older: Duration | datetime | None = None
    """In their place for so long (s) or longer, by the server's clock when the call begins; or since this instant, or
    before.  Dead ones are there since they died, pending ones since they are ready, those worked on since they were
    handed out, waiting ones since they were enqueued, delayed ones likewise, or since their attempt has failed.  When
    a delayed one was given back without an error is not known, but that it was after it was handed out: no ``older``
    selects it, and ``newer`` only what was handed out since.  A datetime without a zone is local time."""
    newer: Duration | datetime | None = None
    """Likewise, for so long or shorter; or since this instant, or later."""
    attempts: int | None = None
    """At least so many attempts."""
    ids: Sequence[str] | None = None
    """These tasks only."""

    def matches(self, task: TaskView) -> bool:
        """Whether it is about a task; what is so and so long ago is taken from when the task was looked at.

        :raises TorrelqueError: something of the selection cannot be meant.
        """
        return check_selection(self).matcher(task.server_time)(task)

    def matcher(self, now: float) -> Callable[[TaskView], bool]:
        """A function that tells whether the selection is about a task, where it is now a Unix time (s) of the server.

        The selection is one that was checked.
        """
        tests: list[Callable[[TaskView], bool]] = []
        oldest, newest = self.since(now)
        if self.status is not None:
            tests.append(_of_status(self.status))
        if self.function is not None:
            tests.append(lambda task: task.function_known)
            tests.append(_of_name(self.function, lambda task: task.function))
        if self.group is not None:
            tests.append(_of_name(self.group, lambda task: task.group))
        if self.error is not None:
            tests.append(_of_error(self.error))
        if self.text is not None:
            tests.append(_of_text(self.text))
        if self.older is not None or self.newer is not None:
            tests.append(lambda task: (it := in_place_since(task)) is not None and oldest <= it[0] and it[1] <= newest)
        if (least := self.attempts) is not None:
            tests.append(lambda task: task.attempt >= least)
        if self.ids is not None:
            tests.append(lambda task, ids=frozenset(self.ids): task.id in ids)  # type: ignore[misc]
        return lambda task: all(test(task) for test in tests)

    def since(self, now: float) -> tuple[float, float]:
        """The first and the last instant since when a task may be in its place; infinite where nothing is said."""
        newer, older = _instant(self.newer, now), _instant(self.older, now)
        return -math.inf if newer is None else newer, math.inf if older is None else older

    def describe(self) -> str:
        """The selection as the command line has it, quoted for a shell; '' is all tasks."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            # All tasks have had 0 attempts at the least, which no command line says.
            if value is not None and field.name != 'ids' and (field.name, value) != ('attempts', 0):
                # A word that begins with a hyphen would be taken for an option, so it is tied to its own.
                word = _word(field.name, value)
                words += [f'--{field.name}={word}'] if word.startswith('-') else [f'--{field.name}', word]
        ids = [*(self.ids or ())]
        if any(task_id.startswith('-') for task_id in ids):
            words.append('--')
        return shlex.join([*words, *ids])

    def as_json(self) -> dict[str, Any]:
        """What is given, as ``json.dumps`` takes it: a duration as seconds, an instant as a text in ISO 8601."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: _plain(value) for name, value in given if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> 'Selection':
        """What `as_json` has made, checked; null is as if it was not there.

        :raises TorrelqueTypeError: it is no object, or a value is of another kind.
        :raises TorrelqueValueError: it has a field that is none, or a value that cannot be meant.
        """
        if not isinstance(data, Mapping):
            raise TorrelqueTypeError(f'a selection is an object, not {type(data).__name__}')
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f'did you mean {near[0]!r}?' if near else f'it has {", ".join(known)}'
                raise TorrelqueValueError(f'a selection has no {str(name)!r}: {hint}')
        given = {name: value for name, value in data.items() if value is not None}
        for name in ('older', 'newer'):
            if isinstance(given.get(name), str):
                given[name] = _read_instant(given[name], name)
        return check_selection(cls(**given))


def check_selection(selection: Selection) -> Selection:
    """A selection that can be meant.

    :raises TorrelqueTypeError: it is none, or one of its values is of another kind.
    :raises TorrelqueValueError: one of its values cannot be meant.
    """
    if not isinstance(selection, Selection):
        raise TorrelqueTypeError(f'tasks are selected by a Selection, not by {selection!r}')
    if selection.status is not None:
        _check_text(selection.status, 'status')
        if selection.status not in STATUSES:
            near = difflib.get_close_matches(selection.status, STATUSES, 1)
            hint = f'did you mean {near[0]!r}?' if near else f'it is {", ".join(STATUSES)}'
            raise TorrelqueValueError(f'there is no status {selection.status!r}: {hint}')
    for name in ('function', 'group'):
        pattern = getattr(selection, name)
        if pattern is not None and len(_check_text(pattern, name)) > _LONGEST_PATTERN:
            raise TorrelqueValueError(f'{name} must have at most {_LONGEST_PATTERN} characters, not {len(pattern)}')
    for name in ('error', 'text'):
        if getattr(selection, name) is not None and not _check_text(getattr(selection, name), name):
            raise TorrelqueValueError(f'{name} must not be empty')
    for name in ('older', 'newer'):
        age = getattr(selection, name)
        if isinstance(age, datetime):
            _timestamp(age, name)
        elif age is not None:
            check.check_seconds(age, name)
    if selection.attempts is not None:
        check.check_count(selection.attempts, 'attempts', 0)
    if selection.ids is not None:
        _check_ids(selection.ids)
    return selection


def _check_text(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(text).__name__}')
    try:
        text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'{what} must be encodable as UTF-8: {text!r}') from exc
    return text


def _check_ids(ids: Sequence[str]) -> None:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence):
        raise TorrelqueTypeError(f'ids must be a list of task ids, not {type(ids).__name__}')
    if not ids:
        raise TorrelqueValueError('ids must not be empty: that would be no task at all')
    for task_id in ids:
        # An id may be one of somebody else's making, whose bytes are no text: it can be looked at.
        if not _check_text(task_id, 'a task id'):
            check.check_id(task_id)


# Instants


def in_place_since(task: TaskView) -> tuple[float, float] | None:
    """Since when a task is where it is, at the earliest and at the latest; None where that is not known.

    Nothing tells when a task was given back with a delay, unless the attempt has failed.
    """
    if task.died is not None and (task.status == TorrelqueTaskStatus.DEAD or task.place == 'dead'):
        since: float | None = task.died
    elif task.status == TorrelqueTaskStatus.PENDING:
        since = task.ready_since
    elif task.status == TorrelqueTaskStatus.WORKING:
        since = task.last_dequeue_time
    elif task.status == TorrelqueTaskStatus.WAITING:
        since = task.enqueue_time
    elif task.status != TorrelqueTaskStatus.DELAYED:
        since = task.release_time
    elif task.attempt and task.history and task.history[-1].number == task.attempt:
        since = task.history[-1].ended
    elif task.attempt:
        return None if task.last_dequeue_time is None else (task.last_dequeue_time, math.inf)
    else:
        since = task.enqueue_time
    return None if since is None else (since, since)


def _instant(given: Duration | datetime | None, now: float) -> float | None:
    if given is None:
        return None
    return given.timestamp() if isinstance(given, datetime) else now - check.seconds_of(given)


def _timestamp(instant: datetime, what: str) -> float:
    try:
        return instant.timestamp()
    except (OverflowError, OSError, ValueError) as exc:
        raise TorrelqueValueError(f'{what} is no instant of this clock: {instant}') from exc


def _read_instant(text: str, what: str) -> datetime:
    try:
        return datetime.fromisoformat(text[:-1] + '+00:00' if text.endswith(('Z', 'z')) else text)
    except ValueError as exc:
        raise TorrelqueValueError(f'{what} must be seconds, or an instant in ISO 8601, not {text!r}') from exc


# One condition each


def _of_status(status: str) -> Callable[[TaskView], bool]:
    # Which tasks are ready, or orphaned, the walk of their place knows, and not the task alone.
    wanted = {'ready': TorrelqueTaskStatus.PENDING, 'orphaned': TorrelqueTaskStatus.WORKING}.get(status)
    wanted = TorrelqueTaskStatus[status.upper()] if wanted is None else wanted
    dead = wanted == TorrelqueTaskStatus.DEAD
    # What has lost its state and lies among the dead can be redriven as well.
    return lambda task: task.status == wanted or dead and task.status is None and task.place == 'dead'


def _of_name(pattern: str, get: Callable[[TaskView], str | None]) -> Callable[[TaskView], bool]:
    if not pattern:
        return lambda task: not get(task)
    if (exact := exact_name(pattern)) is not None:
        return lambda task: get(task) == exact
    match = re.compile(fnmatch.translate(_SIGN.sub(_one_of, pattern))).match
    return lambda task: (name := get(task)) is not None and match(name) is not None


def exact_name(pattern: str | None) -> str | None:
    """The name that a pattern stands for, and for no other; None where it may be several, or none."""
    if not pattern or any(sign[0] in '*?' for sign in _SIGN.finditer(pattern)):
        return None
    return _SIGN.sub(lambda sign: sign['itself'] or sign[0], pattern)


def escape_name(name: str) -> str:
    """A pattern that stands for a name, and for no other."""
    return _MEANT.sub(r'[\g<0>]', name)


def _one_of(sign: re.Match[str]) -> str:
    """A sign as `fnmatch` has it, for which each bracket begins a set of characters."""
    return '[[]' if sign[0] == '[' else sign[0]


def _of_error(error: str) -> Callable[[TaskView], bool]:
    if _FINGERPRINT.fullmatch(error) is None:
        return lambda task: task.error is not None and error in task.error

    def alike(task: TaskView) -> bool:
        # A dead task without an error is a case of none; a task that never failed is no case.
        if task.error is None and task.died is None:
            return False
        return find_fault(task.error or '').fingerprint == error or error in (task.error or '')

    return alike


def _of_text(text: str) -> Callable[[TaskView], bool]:
    ways = {text.encode('utf-8', 'surrogateescape'), json.dumps(text)[1:-1].encode()}
    ways.add(json.dumps(text, ensure_ascii=False)[1:-1].encode('utf-8', 'surrogateescape'))
    return lambda task: task.raw is not None and any(way in task.raw for way in ways)


# How it is written


def _word(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        return _iso(value)
    return _duration(check.seconds_of(value)) if name in ('older', 'newer') else str(value)


def _iso(instant: datetime) -> str:
    """An instant in local time or, where that would be beyond the calendar, in its own zone."""
    try:
        return instant.astimezone().isoformat()
    except OverflowError:
        return instant.isoformat()


def _duration(seconds: float) -> str:
    whole = round(seconds * 1000)
    for unit, length in (('d', 86_400_000), ('h', 3_600_000), ('m', 60_000)):
        if whole and whole % length == 0:
            return f'{whole // length}{unit}'
    return f'{whole / 1000:.3f}'.rstrip('0').rstrip('.') + 's'


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _iso(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if isinstance(value, (str, int, float)) else [*value]
