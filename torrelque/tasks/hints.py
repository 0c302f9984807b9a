"""The annotations of a function, each resolved by itself, so that one that cannot be resolved yet waits alone."""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

RETURN = 'return'
QUALIFIERS = {'Required': True, 'NotRequired': False}
"""What says in a typed dict whether a key must be there."""


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, where Python 3.14 too leaves a name alone that is defined later in the module.

    :raises TypeError: what is called has none.
    :raises ValueError: the interpreter does not tell it.
    """
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


class Hints:
    """The annotations of the parameters of a function, and of its result by the name ``return``.

    Names are looked up in the module of the function, and for a function within another in what the function around it
    has by then.
    """

    found: dict[str, Any]
    """What is resolved; a parameter without an annotation is not there."""
    missing: dict[str, Exception]
    """What is not, and why."""

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature) -> None:
        self.found = {}
        self.missing = {}
        target = _target_of(function)
        self._globals = getattr(inspect.unwrap(target), '__globals__', {})
        pairs = [(parameter.name, parameter.annotation) for parameter in signature.parameters.values()]
        pairs.append((RETURN, signature.return_annotation))
        self._raw = {name: annotation for name, annotation in pairs if annotation is not inspect.Parameter.empty}
        if self._raw:
            self._look(self._raw, _locals_around(function, self._globals))

    def look_again(self) -> None:
        """Resolve what is missing, by what the module has now."""
        missing, self.missing = self.missing, {}
        self._look(missing, {})

    def _look(self, names: Mapping[str, Any], around: Mapping[str, Any]) -> None:
        for name in names:
            try:
                self.found[name] = _resolve(self._raw[name], self._globals, around)
            except Exception as exc:
                self.missing[name] = exc

    def text_of(self, name: str) -> str:
        """An annotation as it was written; the name of what has none in the signature, as a key of a typed dict."""
        raw = self._raw.get(name, name)
        return raw if isinstance(raw, str) else inspect.formatannotation(raw)


class _LeftOut:
    """The default of a key that need not be given, as signatures show it."""

    def __repr__(self) -> str:
        return '...'


LEFT_OUT = _LeftOut()


class Key(NamedTuple):
    """A keyword argument that a typed dict has."""

    annotation: Any
    required: bool


def unpacked(hint: Any) -> dict[str, Key] | None:
    """The keyword arguments of ``**kwargs: Unpack[…]``; None where the annotation is another.

    :raises NameError: the typed dict refers to a name that is not there yet.
    """
    if _name_of(typing.get_origin(hint)) != 'Unpack':
        return None
    (kind,) = typing.get_args(hint)
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: _key(each, name in kind.__required_keys__) for name, each in hints.items()}


def spread(signature: inspect.Signature, found: Mapping[str, Any]) -> inspect.Signature:
    """A signature that has the keys of an unpacked typed dict one by one, as far as they are known."""
    parameters = [*signature.parameters.values()]
    last = parameters[-1] if parameters else None
    if last is None or last.kind is not last.VAR_KEYWORD:
        return signature
    try:
        keys = unpacked(found.get(last.name))
    except NameError:
        return signature
    # A parameter that is given by its place only may have the name of a key.
    if keys is None or keys.keys() & signature.parameters.keys():
        return signature
    named = [inspect.Parameter(name, last.KEYWORD_ONLY) for name in keys]
    named = [each if keys[each.name].required else each.replace(default=LEFT_OUT) for each in named]
    return signature.replace(parameters=[*parameters[:-1], *named])


def _key(annotation: Any, required: bool) -> Key:
    while (name := _name_of(typing.get_origin(annotation))) in ('Required', 'NotRequired', 'ReadOnly'):
        required = QUALIFIERS.get(name, required)
        (annotation,) = typing.get_args(annotation)
    return Key(annotation, required)


def _name_of(origin: Any) -> str:
    """The name of a special form, of `typing` or of ``typing_extensions``."""
    return str(getattr(origin, '__name__', origin)).rpartition('.')[2]


def _target_of(function: Callable[..., Any]) -> Any:
    """What has the annotations: a function, also of a part of its arguments; a class's or an object's method."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return getattr(target, '__init__')  # noqa: B009 - it is looked at, not called
    return target if inspect.isroutine(target) else target.__call__


def _resolve(raw: Any, globalns: Mapping[str, Any], localns: Mapping[str, Any]) -> Any:
    if isinstance(raw, type) and not isinstance(raw, types.GenericAlias):
        return raw
    holder = types.SimpleNamespace(__annotations__={RETURN: raw})
    scopes: dict[str, Any] = {'globalns': globalns, 'localns': localns}
    return typing.get_type_hints(holder, **scopes, include_extras=True)[RETURN]


def _locals_around(function: Callable[..., Any], globalns: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the function around a function has by now, while that is decorated within it."""
    outer, inside, _ = getattr(function, '__qualname__', '').rpartition('.<locals>.')
    frame = sys._getframe(1) if inside else None
    while frame is not None:
        if frame.f_globals is globalns and frame.f_code.co_name == outer.rpartition('.')[2]:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}
