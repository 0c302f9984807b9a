"""The only place that decides what a visitor sees of data: no payload, result or error reaches a page but through it.

Of values of JSON, and what else a serialiser may make, those are hidden whose key says that they are secret, and texts
that look like a secret, see `looks`.  Arguments that were given by their place have no key in the payload of a call:
they are hidden by their parameter's name where the function is known to this process, see `Shield`, and else only by
their looks.  So what is secret should be given by name; it is better still to enqueue where it is found.
"""

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import shlex
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import (
    Act,
    ErrorGroup,
    Errors,
    FlowTaskView,
    FlowView,
    Holder,
    Overview,
    Page,
    Reason,
    ScheduleView,
    TaskView,
)

from .looks import DOTS, KEYS, LEAST, Looks

__all__ = ['DOTS', 'KEYS', 'MODES', 'Shield', 'first_bytes', 'parameters_of']

MODES = ('hidden', 'redacted', 'full')

DEEPEST = 40
"""How deep values may be nested before the rest is left out."""
MOST = 20_000
"""Values in a value, before the rest is left out."""
LONGEST = 1 << 16
"""Characters of a text in a value that are shown; one that is longer is not read as JSON either."""
LONG_KEY = 1000
"""The same of a key."""
CUT = '…'
"""Stands for what is left out."""

_PLAIN = (bool, int, float, type(None))
_TOLD = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
_NAMES, _VALUES = ('name', 'key', 'field', 'header'), ('value', 'values')
_ViewT = TypeVar('_ViewT', TaskView, ScheduleView)


class Shield:
    """What visitors see of values and texts.

    :param mode: 'hidden', no payload, result or progress that is not a number; 'redacted', what is secret is hidden in
        them; 'full', all.  Of errors what looks like a secret is hidden in 'hidden', too.
    :param keys: names whose values are secret, besides those of `KEYS`.
    :param show: answers a text, or fields, for the payload of a task, which is given as a `TaskView` or a
        `ScheduleView`; what it answers is redacted as a payload is.  None, and where it fails, is the payload itself.
    :param parameters: answers the names of the parameters of a function, of whose name it is given; () is unknown.
    """

    def __init__(
        self,
        mode: str = 'redacted',
        keys: Iterable[str] = (),
        show: Callable[[Any], Any] | None = None,
        parameters: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        if mode not in MODES:
            raise TorrelqueValueError(f'payloads must be one of {", ".join(MODES)}, not {mode!r}')
        self.mode = mode
        self._keys = (keys,) if isinstance(keys, str) else tuple(keys)
        for key in self._keys:
            if not isinstance(key, str):
                raise TorrelqueTypeError(f'redact must be names of fields, not {key!r}')
        if show is not None and not callable(show):
            raise TorrelqueTypeError(f'show must be a function that is given a task, not {show!r}')
        self._show = show
        self._parameters = parameters
        self._looks = Looks(self._keys)

    def __repr__(self) -> str:
        return f'<Shield {self.mode}>'

    def open(self) -> 'Shield':
        """The shield for visitors with the grant 'payload', who see all, whatever the mode is."""
        return self if self.mode == 'full' else Shield('full', self._keys, self._show, self._parameters)

    @property
    def is_open(self) -> bool:
        """Whether all is seen, bytes of an unknown format too."""
        return self.mode == 'full'

    # Texts and values

    def text(self, text: str) -> str:
        """A text without what looks like a secret in it."""
        return text if self.is_open else self._looks.hide(text)

    def value(self, value: Any) -> Any:
        """A value as the mode has it; redacted, it is made of what JSON has, and bounded."""
        if self.mode == 'full':
            return value
        if self.mode == 'hidden':
            return None
        return self._redacted(value)

    def _redacted(self, value: Any) -> Any:
        try:
            return _Walk(self._looks, self._parameters).value(value, 0)
        except Exception:
            # A value of somebody else's making may fail however it is looked at.
            return CUT

    # Values of `torrelque.operate`

    def task(self, view: TaskView) -> TaskView:
        """A task without what is not to be seen."""
        shown = self._shown(view)
        if self.is_open:
            return shown
        progress, result = view.progress, view.result
        if self.mode != 'hidden' or type(progress) not in (int, float):
            progress = self.value(progress)
        if isinstance(result, (str, bytes)) and view.function and self._looks.is_name(view.function.rpartition('.')[2]):
            # What `issue_token` gives has no looks that could be known.
            result = DOTS
        return dataclasses.replace(
            shown, progress=progress, result=self.value(result), error=self._maybe(view.error),
            history=tuple(dataclasses.replace(one, error=self.text(one.error)) for one in view.history),
        )  # fmt: skip

    def schedule(self, view: ScheduleView) -> ScheduleView:
        """A schedule without what is not to be seen."""
        shown = self._shown(view)
        return shown if self.is_open else dataclasses.replace(shown, spec=self._redacted(view.spec))

    def flow(self, view: FlowView) -> FlowView:
        """A flow without what is not to be seen."""
        if self.is_open:
            return view
        tasks = tuple(map(self.flow_task, view.tasks))
        return dataclasses.replace(view, task=self.value(view.task), error=self._maybe(view.error), tasks=tasks)

    def flow_task(self, view: FlowTaskView) -> FlowTaskView:
        """A task of a flow."""
        return view if not view.error else dataclasses.replace(view, error=self.text(view.error))

    def page(self, page: Page) -> Page:
        """A page of tasks."""
        return dataclasses.replace(page, tasks=tuple(map(self.task, page.tasks)))

    def errors(self, errors: Errors) -> Errors:
        """Groups of errors."""
        return dataclasses.replace(errors, errors=tuple(map(self.error_group, errors.errors)))

    def error_group(self, group: ErrorGroup) -> ErrorGroup:
        """Failures that are alike."""
        what, message, sample = self.text(group.what), self.text(group.message), self.text(group.sample)
        return dataclasses.replace(group, what=what, message=message, sample=sample)

    def reason(self, reason: Reason) -> Reason:
        """Why something does not move."""
        holders = tuple(map(self.holder, reason.holders))
        text, error = self.text(reason.text), self._maybe(reason.error)
        return dataclasses.replace(reason, text=text, error=error, holders=holders)

    def holder(self, holder: Holder) -> Holder:
        """What holds a slot."""
        return dataclasses.replace(holder, error=self._maybe(holder.error))

    def overview(self, overview: Overview) -> Overview:
        """A queue at one moment."""
        away = tuple(dataclasses.replace(shard, why=self.text(shard.why)) for shard in overview.away)
        return dataclasses.replace(overview, error=self._maybe(overview.error), away=away)

    def act(self, act: Act) -> Act:
        """What somebody did."""
        return act if self.is_open else dataclasses.replace(act, what=self.text(_without_text(act.what)))

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _shown(self, view: _ViewT) -> _ViewT:
        """A task or a schedule with the payload that is to be seen, and without its bytes unless all is."""
        if self.mode == 'hidden':
            return dataclasses.replace(view, payload=None, raw=None)
        payload = self.value(view.payload)
        if self._show is not None and (view.payload is not None or view.raw is not None):
            try:
                answer = self._show(view)
            except Exception:
                answer = None
            payload = payload if answer is None else self.value(answer)
        return dataclasses.replace(view, payload=payload, raw=view.raw if self.is_open else None)


class _Walk:
    """One walk through a value, of whatever it is made."""

    def __init__(self, looks: Looks, parameters: Callable[[str], Sequence[str]] | None) -> None:
        self._looks = looks
        self._parameters = parameters
        self._left = MOST

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        kind = type(value)
        if kind is str and len(value) < LEAST and value.isalnum() or kind is float and math.isfinite(value):
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value), depth)
        if isinstance(value, _PLAIN):
            return _number(value)
        if depth >= DEEPEST or self._left <= 0:
            return CUT
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(value), depth)
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._sequence(value, depth + 1)
        return self._other(value, depth)

    def _text(self, text: str, depth: int) -> str:
        if len(text) > LONGEST:
            return self._looks.hide(text)[:LONGEST] + CUT
        if text[:1] in '{[" \t\r\n' and len(text) > 6 and depth < DEEPEST:
            try:
                inside = json.loads(text)
            except (ValueError, RecursionError):
                pass
            else:
                hidden = self.value(inside, depth + 1)
                return text if hidden == inside else json.dumps(hidden, ensure_ascii=False)
        return self._looks.hide(text)

    def _bytes(self, data: bytes, depth: int) -> str:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return f'<{len(data):,} bytes>'
        return self._text(text, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        names = self._names(value) if self._parameters is not None else ()
        shown_name = self._looks.shown_name
        for key, one in value.items():
            if self._left <= 0:
                found[CUT] = CUT
                break
            name = key if type(key) is str and len(key) < LONG_KEY else self._key(key)
            if type(name) is not str:
                found[name] = self.value(one, depth)
            elif (shown := shown_name(name)) is None:
                found[self._looks.hide(name)] = _hidden(one)
            elif names and name == 'args' and isinstance(one, (list, tuple)):
                found[name] = self._arguments(one, names, depth)
            else:
                found[shown] = self.value(one, depth)
        if 'value' in found or 'values' in found:
            self._hide_named(value, found)
        return found

    def _key(self, key: Any) -> Any:
        if isinstance(key, str):
            return str.__str__(key)[:LONG_KEY]
        if isinstance(key, bytes):
            return key[:LONG_KEY].decode('utf-8', 'backslashreplace')
        if isinstance(key, _PLAIN):
            return _number(key)
        return f'<{type(key).__name__}>'

    def _hide_named(self, value: Mapping[Any, Any], found: dict[Any, Any]) -> None:
        """Hide what has its name beside it: ``{"name": "API_KEY", "value": "…"}``."""
        names = [value.get(name) for name in _NAMES]
        if any(isinstance(name, str) and self._looks.is_name(name) for name in names):
            found.update((key, _hidden(found[key])) for key in _VALUES if key in found)

    def _names(self, value: Mapping[Any, Any]) -> Sequence[str]:
        """Names of the parameters, where it is a call of a function that is known."""
        name = value.get('task')
        if self._parameters is None or not isinstance(name, str):
            return ()
        try:
            return tuple(self._parameters(name))
        except Exception:
            return ()

    def _arguments(self, values: Sequence[Any], names: Sequence[str], depth: int) -> list[Any]:
        """Arguments by place; the last name is that of ``*args`` where it begins with a star."""
        found = []
        for place, one in enumerate(values):
            name = names[min(place, len(names) - 1)]
            fits = place < len(names) or name.startswith('*')
            found.append(_hidden(one) if fits and self._looks.is_name(name) else self.value(one, depth))
        return found

    def _sequence(self, values: Collection[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        hides = False
        for one in values:
            if self._left <= 0:
                found.append(CUT)
                break
            found.append(_hidden(one) if hides else self.value(one, depth))
            hides = isinstance(one, (str, bytes)) and self._names_next(one, len(values) == 2)
        return found

    def _names_next(self, text: str | bytes, is_pair: bool) -> bool:
        """Whether the next element is secret: a command line has values behind names, and headers may be pairs."""
        if not is_pair and text[:1] not in ('-', b'-'):
            return False
        name = text if isinstance(text, str) else text.decode('utf-8', 'replace')
        return len(name) < LONG_KEY and '=' not in name and self._looks.is_name(name)

    def _other(self, value: Any, depth: int) -> Any:
        """What no JSON has, and some serialisers make."""
        if isinstance(value, enum.Enum):
            return self.value(value.value, depth + 1)
        if isinstance(value, _TOLD):
            return self._looks.hide(str(value))
        if isinstance(value, type):
            return f'<{value.__name__}>'
        names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else None
        if names is None:
            names = getattr(type(value), '__struct_fields__', None) or getattr(value, '__dict__', None)
        if not names:
            return f'<{type(value).__name__}>'
        return self._mapping({name: getattr(value, name, None) for name in names}, depth + 1)


def _without_text(what: str) -> str:
    """What an act was about, without the text that payloads had to have: how many had it is told beside."""
    if '--text' not in what:
        return what
    try:
        words = shlex.split(what)
    except ValueError:
        # It was cut.
        return CUT
    shown = [DOTS if before == '--text' else word for before, word in zip(['', *words], words, strict=False)]
    return shlex.join(f'--text={DOTS}' if word.startswith('--text=') else word for word in shown)


def _hidden(value: Any) -> Any:
    """What stands for a secret: whether there is one is told."""
    return value if value is None or value is True or value is False else DOTS


def _number(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4096:
        return f'<a number of {value.bit_length():,} bits>'
    return None if isinstance(value, float) and not math.isfinite(value) else value


def first_bytes(data: bytes, most: int = 64) -> str:
    """Bytes of an unknown format in hexadecimal, with `CUT` where there are more.  They are for open shields alone."""
    return data[:most].hex(' ') + (f' {CUT}' if len(data) > most else '')


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters of a function by their places, and ``*args`` last where it has that; () is unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [one.name for one in parameters if one.kind in places]
    return (*names, *(f'*{one.name}' for one in parameters if one.kind is one.VAR_POSITIONAL))
