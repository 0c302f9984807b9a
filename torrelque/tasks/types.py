"""Chooses the adapter of an annotation: by pydantic, by msgspec, or by none."""

import dataclasses
import importlib.util
import json
import sys
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

from torrelque import TorrelqueSerialiser, TorrelqueTypeError

from .adapters import (
    Adapter,
    Plain,
    PlainAdapter,
    Types,
    UnfitError,
    is_free,
    is_json,
    is_typed_dict,
    may_be_json,
    package_of,
    plain_kinds,
)

Choice = Literal['auto', 'msgspec', 'pydantic']
NAMES = typing.get_args(Choice)
INSTALLS = {'msgspec': "pip install 'torrelque[msgspec]'", 'pydantic': "pip install 'torrelque[pydantic]'"}
LACKING = f'the extra msgspec carries what JSON lacks: {INSTALLS["msgspec"]}'
PROBE = {'task': ['é', 1, -2.5, None, True, {}]}


class Library:
    """Adapters of a library, or by what an annotation is.

    :param choice: ``'auto'``, ``'msgspec'`` or ``'pydantic'``.
    :param dumps: what the app's queue writes payloads with.
    """

    def __init__(self, choice: Choice, dumps: Callable[[Any], Any] | None = None) -> None:
        self._choice = choice
        self._dumps = dumps
        self._checks = choice != 'auto' or is_installed('msgspec')

    def __reduce__(self) -> tuple[Callable[..., 'Library'], tuple[str]]:
        # The processes of handlers decode only.
        return type(self), (self._choice,)

    def plain(self, annotation: Any) -> Plain | None:
        """The kinds of values that need no adapter."""
        return plain_kinds(annotation) if self._checks else None

    def adapter(self, annotation: Any, /) -> Adapter | None:
        """See `Types`."""
        if self._checks and (variable := _open_variable(annotation)) is not None:
            raise UnfitError(f'{variable} may stand for anything; annotate what it stands for, or Any')
        if self._choice == 'pydantic' or self._choice == 'auto' and mentions_pydantic(annotation):
            from .by_pydantic import PydanticAdapter

            return PydanticAdapter(annotation)
        if self._checks:
            from .by_msgspec import MsgspecAdapter

            return MsgspecAdapter(annotation)
        return None if self._dumps is None or is_json(annotation) else PlainAdapter(self._dumps, LACKING)

    def together(self, annotations: Iterable[Any]) -> Callable[[Any], tuple[Any, ...]]:
        """What makes values of as many annotations in one go, where adapters say of each that they are direct."""
        from .by_msgspec import together

        return together(annotations)

    def leniently(self, annotation: Any, reason: str, required: bool) -> Adapter | None:
        """What carries an annotation all the same, that nobody has asked a library for.

        A function that was decorated before msgspec was there has to be decorated with it, too.  So plain JSON carries
        what it may, and what need not be sent; values that it does not take are refused when they are sent.

        :param reason: why the annotation cannot be carried, for the error then.
        :returns: None where the annotation is refused.
        """
        if self._choice != 'auto' or required and not may_be_json(annotation):
            return None
        return PlainAdapter(self._dumps, reason)


def make_types(types: Choice | Types | None, serialiser: TorrelqueSerialiser) -> Types | None:
    """What makes the adapters of an app whose queue has a serialiser.

    A serialiser that does not write JSON carries more, or less, in its own way.  So ``'auto'`` leaves that to it.

    :raises TorrelqueTypeError: there is no such choice, or its library is not installed.
    """
    if types is None or types == 'auto' and not _writes_json(serialiser):
        return None
    if isinstance(types, str):
        if types not in NAMES:
            raise TorrelqueTypeError(f'types must be {", ".join(map(repr, NAMES))}, None or an object, not {types!r}')
        if types != 'auto' and not is_installed(types):
            raise TorrelqueTypeError(f'types={types!r} needs the extra {types}: {INSTALLS[types]}')
        return Library(types, serialiser.dumps)
    if not callable(getattr(types, 'adapter', None)):
        raise TorrelqueTypeError(f'types must have a method adapter(annotation): {types!r}')
    return types


def is_installed(name: str) -> bool:
    """Whether there is a package, which is not imported for that."""
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


def mentions_pydantic(annotation: Any) -> bool:
    """Whether a model or a type of pydantic is anywhere in an annotation.  One that is there was imported."""
    return 'pydantic' in sys.modules and _mentions(annotation, {})


def _mentions(annotation: Any, seen: dict[int, Any]) -> bool:
    if is_free(annotation) or id(annotation) in seen:
        return False
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated and any(package_of(each) in ('pydantic', 'annotated_types') for each in args[1:]):
        return True
    if origin is Literal:
        return False
    inner = [*args]
    for name in ('__supertype__', '__value__'):
        inner += [value] if (value := getattr(annotation, name, None)) is not None else []
    for cls in (annotation, origin):
        if isinstance(cls, type):
            if package_of(cls) == 'pydantic' or hasattr(cls, '__get_pydantic_core_schema__'):
                return True
            if dataclasses.is_dataclass(cls) or hasattr(cls, '_fields') or is_typed_dict(cls):
                inner += _fields_of(cls)
    # What was seen is kept, because another object might get the id of one that is gone.
    seen[id(annotation)] = annotation
    return any(_mentions(each, seen) for each in inner)


def _open_variable(annotation: Any) -> TypeVar | None:
    """A type variable in an annotation that neither a bound nor a choice of types says anything of."""
    if isinstance(annotation, TypeVar):
        return None if annotation.__bound__ or annotation.__constraints__ else annotation
    return next(filter(None, map(_open_variable, typing.get_args(annotation))), None)


def _fields_of(cls: type) -> list[Any]:
    """The annotations of a class; none where a name is not there yet, which msgspec will say."""
    try:
        return [*typing.get_type_hints(cls, include_extras=True).values()]
    except Exception:
        return []


def _writes_json(serialiser: TorrelqueSerialiser) -> bool:
    try:
        return bool(json.loads(serialiser.dumps(PROBE)) == PROBE)
    except Exception:
        return False
