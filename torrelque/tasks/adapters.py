"""What an adapter is, when a value has arrived as it was given, and which annotations plain JSON carries as they are.

An adapter of an annotation makes plain JSON values of a value, and the value again of those.  Nothing here needs a
library; the adapters themselves are in `by_msgspec` and `by_pydantic`.
"""

import collections
import collections.abc
import dataclasses
import datetime
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar, Union

from torrelque.worker import ChildDelivery, Delivery


class Adapter(Protocol):
    """Carries the values of one annotation over JSON.  Any exception of its methods is a refusal."""

    def encode(self, value: Any, /) -> Any:
        """Plain JSON values of a value: what `decode` makes the same value of; it refuses one that would not arrive."""
        ...

    def decode(self, value: Any, /) -> Any:
        """The value that the annotation means, of plain JSON values, whoever has written them."""
        ...


class Types(Protocol):
    """What makes the adapters of an app, as ``Tasks(queue, types=…)``."""

    def adapter(self, annotation: Any, /) -> Adapter | None:
        """The adapter of an annotation, which is never ``Any`` or ``object``; None is no conversion.

        :raises NameError: a class of the annotation refers to a name that is not there yet; it is asked again at the
            first use.
        :raises Exception: the annotation cannot be carried.
        """
        ...


class UnfitError(Exception):
    """An annotation cannot be carried, or a value does not fit; the text is the whole reason, for a person to read."""


class PlainAdapter:
    """Carries what the serialiser takes, as it is.

    :param dumps: what writes payloads; None where nothing is sent.
    :param reason: why it carries no more than that, for the error.
    """

    def __init__(self, dumps: Callable[[Any], Any] | None, reason: str) -> None:
        self._dumps = dumps
        self._reason = reason

    def encode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        try:
            if self._dumps is not None:
                self._dumps(value)
        except Exception as exc:
            raise UnfitError(f'{exc}; {self._reason}') from exc
        return value

    def decode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        return value


class Plain(NamedTuple):
    """The kinds of values that need no conversion, where the exact kind of a value decides that."""

    out: frozenset[type]
    """When a value is sent."""
    into: frozenset[type]
    """When it has come."""


FOREIGN = ('msgspec', 'pydantic', 'pydantic_core', 'annotated_types')
"""Packages whose metadata in ``Annotated`` says more of a value than its kind."""
NONE = type(None)


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or nothing."""
    return typing.get_args(annotation) if typing.get_origin(annotation) in (Union, types.UnionType) else ()


def package_of(value: Any) -> str:
    """The package that a class, or the class of an object, comes from."""
    module = getattr(value if isinstance(value, type) else type(value), '__module__', None)
    return module.partition('.')[0] if isinstance(module, str) else ''


def is_free(annotation: Any) -> bool:
    """Whether an annotation says nothing of a value, so that it goes as it is."""
    return annotation in (Any, object) or isinstance(annotation, (typing.ParamSpecArgs, typing.ParamSpecKwargs))


def plain_kinds(annotation: Any) -> Plain | None:
    """The kinds that need no conversion, if those are all that an annotation means."""
    if isinstance(annotation, (type, NONE)) and annotation in _SCALARS:
        return _SCALARS[annotation]
    if (named := getattr(annotation, '__supertype__', None)) is not None:
        return plain_kinds(named)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return None if any(package_of(each) in FOREIGN for each in args[1:]) else plain_kinds(args[0])
    if members := members_of(annotation):
        kinds = [plain_kinds(member) for member in members]
        if any(each is None for each in kinds):
            return None
        return Plain(*(frozenset().union(*some) for some in zip(*filter(None, kinds), strict=True)))
    if origin is list and is_free(args[0]) or origin is dict and args[0] is str and is_free(args[1]):
        return _of(origin)
    return None


def is_typed_dict(annotation: Any) -> bool:
    """Whether an annotation is a typed dict, of `typing` or of ``typing_extensions``."""
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, '__required_keys__')


def is_json(annotation: Any) -> bool:
    """Whether plain JSON carries an annotation well enough to be tried without any library."""
    if is_free(annotation) or isinstance(annotation, TypeVar) or plain_kinds(annotation) is not None:
        return True
    if is_typed_dict(annotation):
        return True
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return is_json(args[0])
    if origin is typing.Literal:
        return all(isinstance(value, (str, int, float, NONE)) for value in args)
    if members_of(annotation) or (origin or annotation) in _CONTAINERS:
        return all(is_json(each) for each in args if each is not Ellipsis)
    return False


def may_be_json(annotation: Any) -> bool:
    """Whether plain JSON carries some values of an annotation, as far as can be told."""
    return _may_be_json(annotation, set())


def _may_be_json(annotation: Any, seen: set[int]) -> bool:
    if is_json(annotation) or isinstance(annotation, _NO_TYPES):
        return True
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _WRAPPERS:
        return _may_be_json(args[0], seen)
    for name in ('__supertype__', '__value__'):
        if (named := getattr(annotation, name, None)) is not None:
            if id(annotation) in seen:
                return True
            return _may_be_json(named, seen | {id(annotation)})
    if members := members_of(annotation):
        return any(_may_be_json(member, seen) for member in members)
    kind = origin or annotation
    if kind not in _CONTAINERS and kind not in _COLLECTIONS and not _has_plain_instances(kind):
        return False
    return all(_may_be_json(each, seen) for each in args if each is not Ellipsis)


def _has_plain_instances(kind: Any) -> bool:
    """Whether values of JSON are instances of a class, as of ``Hashable``."""
    try:
        return any(issubclass(plain, kind) for plain in (str, int, list, dict))
    except TypeError:
        return False


def widened(annotation: Any) -> tuple[Any, bool]:
    """An annotation in the words of the libraries, and whether it takes what can be gone through only once.

    An iterable is carried as a list.
    """
    if members := members_of(annotation):
        wider = [widened(member) for member in members]
        if any(once for _, once in wider):
            return Union[tuple(member for member, _ in wider)], True  # noqa: UP007
        return annotation, False
    if annotation is getattr(typing, 'LiteralString', None):
        return str, False
    if (typing.get_origin(annotation) or annotation) is collections.abc.Iterable:
        args = typing.get_args(annotation)
        return (list[args[0]] if args else list), True  # type: ignore[valid-type]
    return annotation, False


def advice_on(kind: Any) -> str:
    """What to do about a class that cannot be carried."""
    if kind in (Delivery, ChildDelivery):
        return 'current() gives the delivery'
    if kind is collections.abc.Callable:
        return 'send a name instead, by which the worker finds the function'
    if kind in (collections.abc.Iterable, collections.abc.Iterator, collections.abc.Generator):
        return 'annotate list, Sequence, Collection, set, dict or Mapping'
    return (
        'make it a dataclass or a msgspec.Struct, send what the worker finds it by, or have the worker make it, by '
        'Depends; Any is sent as it is'
    )


def same(arrived: Any, given: Any) -> bool:
    """Whether a value has arrived as it was given.

    Where equality does not say so, it is the same that has the same elements, as a list does in which a tuple arrives,
    or is of the same class and has the same fields.
    """
    try:
        return arrived is given or bool(arrived == given) or _looks_same(arrived, given)
    except Exception:
        # An equality of its own, such as that of arrays, may give what is no truth.
        return _looks_same(arrived, given)


def _looks_same(arrived: Any, given: Any) -> bool:
    if isinstance(given, (str, bytes, bytearray)):
        return False
    if isinstance(given, Mapping):
        return (
            isinstance(arrived, Mapping) and len(arrived) == len(given)
            and all(key in arrived and same(arrived[key], value) for key, value in given.items())
        )  # fmt: skip
    if isinstance(given, Set):
        return isinstance(arrived, list) and len(arrived) == len(given) and {*arrived} == {*given}
    if isinstance(given, Sequence):
        return (
            isinstance(arrived, Sequence) and not isinstance(arrived, str) and len(arrived) == len(given)
            and all(map(same, arrived, given))
        )  # fmt: skip
    if isinstance(given, datetime.datetime) and isinstance(arrived, datetime.datetime):
        # In an hour that a zone has twice, or not at all, times of it and of another zone are never equal.
        return arrived.replace(tzinfo=None) == given.replace(tzinfo=None) and arrived.utcoffset() == given.utcoffset()
    if type(arrived) is not type(given):
        return False
    if isinstance(given, float):
        return math.isnan(arrived) and math.isnan(given)
    if isinstance(given, Decimal):
        return bool(arrived.is_nan() and given.is_nan())
    names = [*_fields_of(given)]
    if any(getattr(arrived, part, None) != getattr(given, part, None) for part in _BESIDES):
        return False
    return bool(names) and all(same(getattr(arrived, name), getattr(given, name)) for name in names)


def _fields_of(value: Any) -> Iterator[str]:
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        yield from (field.name for field in dataclasses.fields(kind))
    else:
        yield from getattr(kind, '__struct_fields__', ())
        yield from (attribute.name for attribute in getattr(kind, '__attrs_attrs__', ()))
        yield from getattr(kind, '__pydantic_fields__', ())


def _of(*kinds: type) -> Plain:
    return Plain(frozenset(kinds), frozenset(kinds))


_SCALARS: dict[Any, Plain] = {
    str: _of(str),
    int: _of(int),
    bool: _of(bool),
    # An int is a float to type checkers.  It is written as it is, and read as the float that is meant.
    float: Plain(frozenset((float, int)), frozenset((float,))),
    None: _of(NONE),
    NONE: _of(NONE),
    list: _of(list),
    dict: _of(dict),
}
SCALARS = _of(str, int, float, bool, NONE)
"""The kinds of all simple values of JSON."""
_CONTAINERS = (
    *(list, dict, tuple, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Mapping),
    *(collections.abc.MutableMapping, collections.abc.Collection, collections.abc.Iterable),
)
_COLLECTIONS = (collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque)
_WRAPPERS = (Annotated, typing.Final)
_BESIDES = ('__pydantic_extra__', '__pydantic_private__')
"""What a model has besides its fields, whose kinds no annotation says."""
_NO_TYPES = (
    # What refers to the annotation that it is within, or to what says nothing of a value.
    *(typing.ForwardRef, str, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, list, tuple, int),
)
"""Objects that stand in annotations, and are no types."""
