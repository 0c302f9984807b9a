"""The annotations of a function, each resolved by itself, so that one that cannot be resolved yet waits alone."""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

RETURN = 'return'


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
