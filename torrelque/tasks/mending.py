"""Mends what msgspec is stricter about than type checkers and JSON are.

A type checker takes a bool for an int or a float, msgspec does not; it becomes the number.  JSON has no number that is
none, nor an infinite one, so floats that are such go as the text that JSON's relatives use: "NaN", "Infinity",
"-Infinity".  Both may be anywhere in a value, so values are walked through beside their type.
"""

import math
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

NAMES = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}
TEXTS = (inspect.StrType, inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType, inspect.DateTimeType,
         inspect.DateType, inspect.TimeType, inspect.TimeDeltaType, inspect.UUIDType, inspect.DecimalType,
         inspect.EnumType, inspect.LiteralType)  # fmt: skip
"""Types whose values are texts in JSON, or may be."""
ARRAYS = (inspect.CollectionType, inspect.TupleType, inspect.NamedTupleType)
OBJECTS = (inspect.DictType, inspect.TypedDictType, inspect.DataclassType)


def has_unnumbers(value: Any) -> bool:
    """Whether there is a float in plain values that JSON has no number for."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(has_unnumbers, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_unnumbers, value))


def mend(value: Any, kind: inspect.Type, sending: bool) -> Any:
    """Plain values as msgspec wants them for a type; ``sending`` is whether floats are to be named, or have come."""
    kind = _chosen(value, kind)
    if isinstance(value, bool):
        return int(value) if isinstance(kind, (inspect.IntType, inspect.FloatType)) else value
    if isinstance(kind, inspect.FloatType):
        if sending and isinstance(value, float) and not math.isfinite(value):
            return 'NaN' if math.isnan(value) else 'Infinity' if value > 0 else '-Infinity'
        return NAMES.get(value, value) if not sending and isinstance(value, str) else value
    if isinstance(value, dict):
        return _mend_object(value, kind, sending)
    if isinstance(value, (list, tuple)):
        return [mend(each, inner, sending) for each, inner in zip(value, _inner(kind, value), strict=False)]
    return value


def _mend_object(value: dict[Any, Any], kind: inspect.Type, sending: bool) -> dict[Any, Any]:
    if isinstance(kind, inspect.DictType):
        return {key: mend(each, kind.value_type, sending) for key, each in value.items()}
    fields = {field.encode_name: field.type for field in getattr(kind, 'fields', ())}
    return {key: mend(each, fields[key], sending) if key in fields else each for key, each in value.items()}


def _inner(kind: inspect.Type, value: Sequence[Any]) -> list[inspect.Type]:
    """The types of the elements of an array; elements behind those that the type knows have none."""
    unknown: list[inspect.Type] = [inspect.AnyType()] * len(value)
    if isinstance(kind, inspect.CollectionType):
        return [kind.item_type] * len(value)
    if isinstance(kind, inspect.TupleType):
        return [*kind.item_types, *unknown]
    fields = [field.type for field in getattr(kind, 'fields', ())]
    tagged = isinstance(kind, inspect.StructType) and kind.tag is not None
    return [*([inspect.AnyType()] if tagged else []), *fields, *unknown]


def _chosen(value: Any, kind: inspect.Type) -> inspect.Type:
    """The member of a union that a value is of; the union where none is, or where it stays what it is."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if not isinstance(kind, inspect.UnionType):
        return kind
    members = [_chosen(value, member) for member in kind.types]
    if isinstance(value, bool):
        wanted: Any = (inspect.BoolType,) if _has(members, inspect.BoolType) else (inspect.IntType, inspect.FloatType)
    elif isinstance(value, (float, str)):
        # A text that is one of the names would be taken for the text.
        wanted = () if _has(members, TEXTS) else inspect.FloatType
    else:
        structs = [each for each in members if isinstance(each, inspect.StructType)]
        if len(structs) > 1:
            return next((each for each in structs if _tag_of(value, each) == each.tag), kind)
        wanted = (*(OBJECTS if isinstance(value, dict) else ARRAYS), inspect.StructType)
    return next((each for each in members if isinstance(each, wanted)), kind)


def _tag_of(value: Any, kind: inspect.StructType) -> Any:
    if isinstance(value, dict):
        return value.get(kind.tag_field)
    return value[0] if isinstance(value, (list, tuple)) and value and kind.array_like else None


def _has(members: Sequence[inspect.Type], kinds: Any) -> bool:
    return any(isinstance(member, kinds) for member in members)
