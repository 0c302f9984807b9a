"""Annotations of decorated functions: values that are carried, what is in JSON of them, and what is refused."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime as dt
import enum
import ipaddress
import numbers
import os
import pathlib
import socket
import threading
import types
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from torrelque.worker import Delivery

UTC = dt.timezone.utc
T = TypeVar('T')


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError('no text')


class Colour(enum.Enum):
    RED = 'red'


class Size(enum.IntEnum):
    BIG = 3


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


class Name(str, enum.Enum):
    JOE = 'joe'


class UserId(str):
    pass


class Stamp(dt.datetime):
    pass


class Place(NamedTuple):
    x: int
    y: float = 0.0


class Settings(TypedDict, total=False):
    size: int
    since: dt.date


class Named(TypedDict):
    name: str


Json = typing.Union[dict[str, 'Json'], list['Json'], str, int, float, bool, None]  # noqa: UP007


@dataclasses.dataclass
class Item:
    number: int
    price: Decimal = Decimal(0)
    weight: float = 0.0
    parts: list[Item] = dataclasses.field(default_factory=list)
    checked: bool = dataclasses.field(default=False, init=False)


@dataclasses.dataclass
class Gift(Item):
    to: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    content: T


@dataclasses.dataclass(eq=False)
class Unequal:
    number: float


class Cat(msgspec.Struct, tag=True):
    name: str


class Dog(msgspec.Struct, tag=True):
    name: str
    born: dt.date | None = None
    weight: float = 0.0


class Pair(msgspec.Struct, array_like=True, tag='pair'):
    left: int
    right: float


@dataclasses.dataclass
class Locked:
    lock: threading.Event


NOON = dt.datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = uuid.UUID('12345678-1234-5678-1234-567812345678')
NAN = float('nan')

CARRIED: list[tuple[Any, Any, Any]] = [
    (str, 'é', 'é'),
    (str, Name.JOE, 'joe'),
    (str, UserId('joe'), 'joe'),
    (int, 1, 1),
    (int, True, 1),
    (int, Size.BIG, 3),
    (int, 2**70, 2**70),
    (float, 1.5, 1.5),
    (float, 3, 3),
    (float, True, 1),
    (float, 2**53, 2**53),
    (int | float, 2**53 + 1, 2**53 + 1),
    (float, NAN, 'NaN'),
    (float, float('-inf'), '-Infinity'),
    (bool, True, True),
    (None, None, None),
    (Optional[int], None, None),  # noqa: UP045
    (int | str | None, 'a', 'a'),
    (int | float, 1, 1),
    (float | str, NAN, NAN),
    (bool | float, True, True),
    (Literal['a', 'b'], 'a', 'a'),
    (Literal[1, 2], 1, 1),
    (dict, {'a': [1]}, {'a': [1]}),
    (dict[str, Any], {'a': None}, {'a': None}),
    (list, [1, 'a'], [1, 'a']),
    (list[Any], (1, 'a'), [1, 'a']),
    (list[object], [1], [1]),
    (list[int], [1, True], [1, 1]),
    (list[float], [1, NAN, True], [1, 'NaN', 1]),
    (list[str], [UserId('joe')], ['joe']),
    (tuple[int, ...], (1, 2), [1, 2]),
    (tuple[int, str], (1, 'a'), [1, 'a']),
    (tuple, (1, 'a'), [1, 'a']),
    (set[int], {3}, [3]),
    (frozenset[Colour], frozenset([Colour.RED]), ['red']),
    (Sequence[int], (1, 2), [1, 2]),
    (Sequence[int], range(2), [0, 1]),
    (Iterable[int], [1], [1]),
    (Iterable[int], {1: 2}.keys(), [1]),
    (Iterable[int] | None, (1, 2), [1, 2]),
    (Collection[int], {1}, [1]),
    (collections.abc.Set[int], {1}, [1]),
    (Mapping[str, int], types.MappingProxyType({'a': 1}), {'a': 1}),
    (dict[int, str], {1: 'a'}, {'1': 'a'}),
    (dict[Literal[1, 2], str], {1: 'a'}, {'1': 'a'}),
    (dict[Literal['a'], int], {'a': 1}, {'a': 1}),
    (dict[uuid.UUID, Item], {ID: Item(1)}, {str(ID): {'number': 1, 'price': '0', 'weight': 0.0, 'parts': []}}),
    (dict[Colour, int], {Colour.RED: 1}, {'red': 1}),
    (dt.datetime, NOON, '2026-01-01T12:00:00Z'),
    (dt.datetime, dt.datetime(2026, 1, 1), '2026-01-01T00:00:00'),
    (dt.datetime, dt.datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Berlin')), '2026-07-01T00:00:00+02:00'),
    (dt.datetime, Stamp(2026, 1, 1, tzinfo=UTC), '2026-01-01T00:00:00Z'),
    (dt.date, dt.date(2026, 1, 1), '2026-01-01'),
    (dt.time, dt.time(1, 2, 3), '01:02:03'),
    (dt.timedelta, dt.timedelta(days=-1, microseconds=5), '-PT86399.999995S'),
    (uuid.UUID, ID, '12345678-1234-5678-1234-567812345678'),
    (Decimal, Decimal('1.10'), '1.10'),
    (Decimal, Decimal('NaN'), 'NaN'),
    (bytes, b'\xff', '/w=='),
    (bytearray, bytearray(b'a'), 'YQ=='),
    (pathlib.Path, pathlib.Path('a/b'), 'a/b'),
    (pathlib.PurePosixPath, pathlib.PurePosixPath('a'), 'a'),
    (ipaddress.IPv4Address, ipaddress.IPv4Address('1.2.3.4'), '1.2.3.4'),
    (Fraction, Fraction(1, 3), '1/3'),
    (ZoneInfo, ZoneInfo('Europe/Berlin'), 'Europe/Berlin'),
    (complex, 1 + 2j, '(1+2j)'),
    (complex, 1.5, 1.5),
    (list[complex], [1, 2j], [1, '2j']),
    (UserId, UserId('joe'), 'joe'),
    (Colour, Colour.RED, 'red'),
    (Size, Size.BIG, 3),
    (Rights, Rights.READ | Rights.WRITE, 3),
    (Name, Name.JOE, 'joe'),
    (typing.NewType('Count', int), 3, 3),
    (Annotated[int, msgspec.Meta(gt=5)], 6, 6),
    (Annotated[list[int], 'what it is'], [6], [6]),
    (Place, Place(True, NAN), [1, 'NaN']),
    (Settings, {'size': True, 'since': dt.date(2026, 1, 1)}, {'size': 1, 'since': '2026-01-01'}),
    (Item, Item(True, Decimal('1.10'), NAN, [Item(2, weight=True)]),
     {'number': 1, 'price': '1.10', 'weight': 'NaN',
      'parts': [{'number': 2, 'price': '0', 'weight': 1, 'parts': []}]}),
    (Box[dt.date], Box(dt.date(2026, 1, 1)), {'content': '2026-01-01'}),
    (Unequal, Unequal(1.5), {'number': 1.5}),
    (Cat | Dog, Dog('rex', dt.date(2026, 1, 1), NAN),
     {'type': 'Dog', 'name': 'rex', 'born': '2026-01-01', 'weight': 'NaN'}),
    (list[Pair], [Pair(True, NAN)], [['pair', 1, 'NaN']]),
]  # fmt: skip
"""Annotations with a value, and what is in JSON of it."""

REFUSED: list[tuple[Any, Any, str]] = [
    (int, '1', "argument 'it' must be int, not '1' (str): Expected `int`, got `str`"),
    (int, 1.5, 'Expected `int`, got `float`'),
    (int, None, 'must be int, not None (NoneType)'),
    (str, b'a', "it would arrive as 'YQ=='"),
    (str, NOON, 'it would arrive as '),
    (float, 'NaN', 'it would arrive as nan'),
    (float, 2**53 + 1, 'it would arrive as 9007199254740992.0'),
    (float, 10**400, 'out of range'),
    (list[float], [2**53 + 1], 'it would arrive as [9007199254740992.0]'),
    (bool, 1, 'Expected `bool`, got `int`'),
    (list[int], [1, 'a'], 'Expected `int`, got `str` - at `$[1]`'),
    (list[str], [NOON], "it would arrive as ['2026-01-01T12:00:00Z']"),
    (list[Any], [NOON], ''),
    (dt.datetime, '2026-01-01', 'Invalid RFC3339 encoded datetime'),
    (dt.datetime, '2026-01-01T00:00:00Z', 'it would arrive as '),
    (dt.date, NOON, 'Invalid RFC3339 encoded date'),
    (Decimal, 0.1, "it would arrive as Decimal('0.1')"),
    (uuid.UUID, str(ID), 'it would arrive as UUID('),
    (pathlib.Path, 'a', "it would arrive as PosixPath('a')"),
    (Colour, 'red', 'it would arrive as <Colour.RED'),
    (Literal['a'], 'b', "Invalid enum value 'b'"),
    (Annotated[int, msgspec.Meta(gt=5)], 5, 'Expected `int` >= 6'),
    (Item, {'number': 1}, 'it would arrive as Item(number=1'),
    (Item, Item('a'), 'Expected `int`, got `str` - at `$.number`'),  # type: ignore[arg-type]
    (Item, Gift(1, to='joe'), 'it would arrive as Item(number=1'),
    (list[Item], [Gift(1, to='joe')], 'it would arrive as [Item(number=1'),
    (Settings, {'size': 1, 'more': 2}, "it would arrive as {'size': 1}"),
    (dict[int, str], {True: 'a'}, 'Only dicts with str-like or number-like keys are supported'),
    (set[int], [1, 1], 'it would arrive as {1}'),
    (Cat | Dog, Place(1), 'Expected `object`, got `array`'),
]  # fmt: skip
"""Annotations with a value that is refused at the call, and what the error says."""

UNFIT: list[tuple[Any, str]] = [
    (Callable[[], int], 'JSON does not carry a collections.abc.Callable; send a name'),
    (socket.socket, 'JSON does not carry a socket.socket; make it a dataclass'),
    (Unprintable, 'Depends'),
    (Delivery, 'current() gives the delivery'),
    (list[socket.socket], 'JSON does not carry a socket.socket'),
    (Locked, "field 'lock' of Locked: JSON does not carry a threading.Event"),
    (str | uuid.UUID, 'more than one str-like type; annotate one of them, or a msgspec.Struct with a tag'),
    (dt.date | dt.datetime, 'more than one str-like type'),
    (Item | Box[int], 'more than one dataclass'),
    (list[int] | tuple[int, ...], 'more than one array-like'),
    (pathlib.Path | int, 'unions'),
    (T, '~T may stand for anything'),
    (list[T], '~T may stand for anything'),  # type: ignore[valid-type]
    (dict[tuple[int, int], int], 'keys of a dict are texts in JSON'),
    (dict[int | str, int], 'keys of a dict are texts in JSON'),
    (dict[bool, int], 'keys of a dict are texts in JSON'),
    (dict[pathlib.Path, int], 'keys of a dict are texts in JSON'),
    (Iterator[int], 'annotate list, Sequence, Collection'),
    (list[Iterable[int]], 'annotate list, Sequence, Collection'),
    (type[int], 'JSON does not carry a type'),
    (msgspec.Raw, 'Raw is no JSON that others can read'),
    (Literal[2**64], 'no Literal of ints beyond 64 bits; annotate int'),
    (list[int] | Pair, 'more than one array-like type; annotate one of them'),
    (enum.Enum('Half', {'HALF': 0.5}), 'Enums must contain either all str or all int values'),
    (int | Callable[[], int], 'unions'),
]
"""Annotations that the decorator refuses, and what its error says."""

MAY_BE_JSON: list[tuple[Any, Any, Any]] = [
    (T, [{}], NOON),
    (list[T], [1], [NOON]),  # type: ignore[valid-type]
    (list[int] | list[str], ['a'], [ID]),
    (list[int] | tuple[int, ...], [1], {1}),
    (str | uuid.UUID, 'a', ID),
    (str | os.PathLike[str], 'a', pathlib.Path('a')),
    (str | dt.datetime, 'a', NOON),
    (int | Callable[[], int], 1, len),
    (socket.socket | None, None, ID),
    (Settings | Named, {'size': 1}, {'since': NOON}),
    (Settings | dict[str, Any], {'size': 1}, {'since': NOON}),
    (Json, {'a': [1, None, {'b': 'c'}]}, {'a': [NOON]}),
    (collections.abc.Hashable, 'a', NOON),
    (typing.SupportsInt, 1, Fraction(1)),
    (numbers.Number, 1, 1j),
    (collections.OrderedDict[str, int], {'a': 1}, {'a': NOON}),
    (collections.Counter[str], collections.Counter('a'), {'a': NOON}),
    (collections.deque[int], [1], collections.deque([1])),
    (dict[str, int | list[str] | list[int]], {'a': ['b']}, {'a': ID}),
    (any, 1, NOON),
]
"""Annotations that msgspec does not carry, with a value that JSON has, and one that it has not."""

SEEN: list[Any] = []
"""What the functions of `echo` were given."""


def echo(annotation: Any, result: Any = None) -> Callable[..., Any]:
    """A function of one argument, with an annotation, which it returns."""

    async def function(it: Any) -> Any:
        SEEN.append(it)
        return it

    function.__annotations__ = {'it': annotation, 'return': annotation if result is None else result}
    return function


def leaves(value: Any) -> Any:
    """A value taken apart: equal lists for values that a type checker takes for the same."""
    if value != value:
        return 'no number'
    if isinstance(value, Mapping):
        return [[leaves(key), leaves(each)] for key, each in value.items()]
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray, enum.Enum)):
        return [leaves(each) for each in value]
    names: Any = getattr(value, '__struct_fields__', getattr(value, '__dataclass_fields__', ()))
    return [leaves(getattr(value, name)) for name in names] or value
