"""Adapters that msgspec is behind: standard types, dataclasses, structs, attrs."""

import collections.abc
import datetime
import fractions
import functools
import inspect as std_inspect
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect

from .adapters import UnfitError, advice_on, same
from .mending import has_unnumbers, mend

BY_TEXT = (
    *(pathlib.PurePath, fractions.Fraction, zoneinfo.ZoneInfo, complex),
    *(ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface),
    *(ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface),
)
"""Classes besides those of msgspec whose objects are made of their text."""
SHOWN = re.compile('(Invalid (?:enum )?value) .*( - at )')
"""Where msgspec shows a value that is within another one, and may be secret."""
ASIDES = re.compile(r' \((?:[^()]|\([^()]*\))*\)| - type .*')
"""What msgspec says of a type besides the reason."""
SIMPLE = (str, int, float)
"""Classes of JSON whose subclasses are carried, too: as what they extend, and made of that again."""
KEYS = (
    *(inspect.AnyType, inspect.StrType, inspect.IntType, inspect.FloatType, inspect.EnumType, inspect.LiteralType),
    *(inspect.UUIDType, inspect.DecimalType, inspect.BytesType, inspect.DateTimeType, inspect.DateType),
    *(inspect.TimeType, inspect.TimeDeltaType),
)

PLAIN = (
    *(inspect.StrType, inspect.IntType, inspect.BoolType, inspect.NoneType, inspect.LiteralType),
    *(inspect.ListType, inspect.DictType, inspect.UnionType, inspect.Metadata),
)
"""Types whose values JSON has as they are, if it has those within them."""


class MsgspecAdapter:
    """An `Adapter` of whatever msgspec knows.

    :raises UnfitError: values of the annotation cannot be carried.
    :raises NameError: the annotation refers to a name that is not there yet.
    """

    def __init__(self, annotation: Any) -> None:
        try:
            self._kind = inspect.type_info(annotation)
        except (TypeError, NotImplementedError) as exc:
            raise UnfitError(_refusal(str(exc))) from exc
        self._annotation = annotation
        survey = Survey()
        survey.look(self._kind, '')
        self._has_floats = survey.floats
        self.is_plain = survey.plain
        """Whether JSON has the values as they are."""
        # Options cost msgspec as long as a small value itself, so only those are given that the annotation needs.
        self._out: dict[str, Any] = {'str_keys': True} if survey.keys else {}
        self._into: dict[str, Any] = {**self._out, 'dec_hook': _decode_other} if survey.others else self._out
        self.is_direct = not self._into
        """Whether `msgspec.convert` alone makes the values of what is in JSON."""

    def encode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        if self.is_plain:
            try:
                arrived = msgspec.convert(value, self._annotation)
                if arrived == value:
                    return arrived
            except Exception:
                # What does not fit may be mended, and is told below where it may not.
                pass
        try:
            built = msgspec.to_builtins(value, **self._out)
        except TypeError:
            built = msgspec.to_builtins(value, str_keys=True, enc_hook=_encode_other)
        if self._has_floats and has_unnumbers(built):
            built = mend(built, self._kind, sending=True)
        try:
            arrived = msgspec.convert(built, self._annotation, **self._into)
        except msgspec.ValidationError:
            built = mend(built, self._kind, sending=True)
            arrived = self.decode(built)
        if not same(arrived, value):
            raise UnfitError(f'it would arrive as {arrived!r}')
        return built

    def decode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        try:
            return msgspec.convert(value, self._annotation, **self._into)
        except msgspec.ValidationError as exc:
            try:
                return msgspec.convert(mend(value, self._kind, sending=False), self._annotation, **self._into)
            except msgspec.ValidationError:
                raise UnfitError(SHOWN.sub(r'\1\2', str(exc))) from None


def together(annotations: Iterable[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What makes values of as many annotations in one go, where each is direct."""
    return functools.partial(msgspec.convert, type=tuple.__class_getitem__((*annotations,)))


class Survey:
    """What is in a type: whether it can be carried at all, and what that takes."""

    def __init__(self) -> None:
        self.floats = False
        """Whether there are floats."""
        self.keys = False
        """Whether some dict has keys that are no text in Python."""
        self.others = False
        """Whether there are classes that msgspec does not know, and that this module makes of a text or a number."""
        self.plain = True
        """Whether all values are those of JSON, lists and dicts of them among them, but no floats."""
        self._seen: dict[int, inspect.Type] = {}

    def look(self, kind: inspect.Type, where: str) -> None:
        """Look at a type and all within it; ``where`` leads to it, for the error.

        :raises UnfitError: there is something that cannot be carried.
        """
        if id(kind) in self._seen:
            return
        self._seen[id(kind)] = kind
        self.plain &= isinstance(kind, PLAIN)
        if isinstance(kind, inspect.CustomType):
            self._look_at_class(kind.cls, where)
        elif isinstance(kind, (inspect.RawType, inspect.ExtType)):
            raise UnfitError(f'{where}{type(kind).__name__.removesuffix("Type")} is no JSON that others can read')
        elif isinstance(kind, inspect.FloatType):
            self.floats = True
        elif isinstance(kind, inspect.Metadata):
            self.look(kind.type, where)
        elif isinstance(kind, inspect.UnionType):
            self._look_at_all(kind.types, where)
        elif isinstance(kind, inspect.TupleType):
            self._look_at_all(kind.item_types, where)
        elif isinstance(kind, inspect.CollectionType):
            self.look(kind.item_type, where)
        elif isinstance(kind, inspect.DictType):
            self._look_at_key(kind.key_type, where)
            self.look(kind.key_type, where)
            self.look(kind.value_type, where)
        else:
            for field in getattr(kind, 'fields', ()):
                name = getattr(kind.cls, '__name__', kind.cls)  # type: ignore[attr-defined]  # what has fields is one
                self.look(field.type, f'field {field.name!r} of {name}: ')

    def _look_at_all(self, kinds: Any, where: str) -> None:
        for kind in kinds:
            self.look(kind, where)

    def _look_at_class(self, cls: Any, where: str) -> None:
        if cls is object:
            return
        if not isinstance(cls, type) or not _is_made_of_json(cls):
            what = std_inspect.formatannotation(cls)
            raise UnfitError(f'{where}JSON does not carry a {what}; {advice_on(cls)}')
        self.others = True

    def _look_at_key(self, key: inspect.Type, where: str) -> None:
        if isinstance(key, inspect.Metadata):
            return self._look_at_key(key.type, where)
        members = key.types if isinstance(key, inspect.UnionType) else (key,)
        texts = all(map(_is_text, members))
        if not isinstance(key, KEYS) and not texts:
            raise UnfitError(
                f'{where}keys of a dict are texts in JSON, of which these cannot be made; annotate keys of one simple '
                'type, such as str, int or UUID, or send a list of pairs'
            )
        if not texts:
            self.keys, self.plain = True, False
        return None


def _is_text(key: inspect.Type) -> bool:
    if isinstance(key, inspect.LiteralType):
        return all(isinstance(value, str) for value in key.values)
    return isinstance(key, inspect.StrType)


def _is_made_of_json(cls: type) -> bool:
    """Whether `_decode_other` makes objects of a class."""
    return issubclass(cls, BY_TEXT) or issubclass(cls, SIMPLE) and not issubclass(cls, Enum)


def _refusal(text: str) -> str:
    """Why msgspec does not know a type, and what to do."""
    reason, advice = ASIDES.sub('', text), 'annotate something else, or Any, which is sent as it is'
    if 'unions' in text:
        advice = 'annotate one of them, or a msgspec.Struct with a tag for each, or give Tasks types="pydantic"'
    if 'Integer values' in text:
        reason, advice = 'msgspec carries no enum and no Literal of ints beyond 64 bits', 'annotate int'
    return f'{reason}; {advice}'


def _encode_other(value: Any) -> Any:
    """What msgspec knows of a value that it does not know itself."""
    if isinstance(value, SIMPLE):
        base: Any = next(base for base in SIMPLE if isinstance(value, base))
        return base.__add__(value, base())
    if isinstance(value, BY_TEXT):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value.date(), value.timetz())
    if isinstance(value, datetime.date):
        return datetime.date.fromordinal(value.toordinal())
    if isinstance(value, datetime.timedelta):
        return datetime.timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, uuid.UUID):
        return uuid.UUID(int=value.int)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, collections.abc.Mapping):
        return {**value}
    if isinstance(value, (collections.abc.Sequence, collections.abc.Set)):
        return [*value]
    raise UnfitError(f'JSON does not carry a {std_inspect.formatannotation(type(value))}')


def _decode_other(cls: Any, value: Any) -> Any:
    """An object of a class that msgspec does not know, of what is in JSON."""
    if cls is object:
        return value
    if issubclass(cls, complex) and type(value) in (int, float):
        # A type checker takes them for a complex number.
        return cls(value)
    wanted: Any = next((base for base in SIMPLE if issubclass(cls, base)), str)
    if wanted is float and type(value) is int or type(value) is wanted:
        return cls(value)
    raise ValueError(f'Expected `{wanted.__name__}`, got `{type(value).__name__}`')
