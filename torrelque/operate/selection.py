"""A selection: which tasks an act, or a list, is about.  One grammar for Python, the command line and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from torrelque import Duration

from .values import TaskView, Value, plain


@dataclass(frozen=True, slots=True)
class Selection(Value):
    """Tasks for which all of these hold; what is None holds for all."""

    status: str | None = None
    """The place: 'pending', 'working', 'delayed', 'dead', 'ready', 'orphaned'; for `redrive` dead is understood, for
    `requeue` and `bury` working."""
    function: str | None = None
    """The name of the decorated function; ``*`` and ``?`` as in names of files."""
    group: str | None = None
    """Likewise; '' is tasks without one."""
    error: str | None = None
    """A fingerprint (eight hexadecimal digits, or the first four or more), or a text that the error has."""
    text: str | None = None
    """A text that the payload has."""
    older: Duration | datetime | None = None
    """In their place for longer than this, or since before this instant; for dead ones since they died."""
    newer: Duration | datetime | None = None
    attempts: int | None = None
    """At least so many attempts."""
    ids: Sequence[str] | None = None
    """These tasks only."""

    def matches(self, task: TaskView) -> bool:
        """Whether it is about a task."""
        raise NotImplementedError

    def describe(self) -> str:
        """The selection in words, as the options of the command line have them."""
        raise NotImplementedError

    def as_json(self) -> dict[str, Any]:
        """What is given, as ``json.dumps`` takes it."""
        given = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: plain(value) for name, value in given if value is not None}
