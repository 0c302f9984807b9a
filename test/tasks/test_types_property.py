"""Any value of any annotation that is carried arrives as it was, over JSON that every parser reads."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Optional

import msgspec
from hypothesis import given, settings, strategies as st

from support.carried import Colour, Place, Rights, Size
from torrelque.tasks.adapters import same
from torrelque.tasks.by_msgspec import MsgspecAdapter

Values = st.SearchStrategy[Any]


class Sample(NamedTuple):
    """An annotation, and what its values are."""

    hint: Any
    values: Values


ZONES: Any = st.none() | st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
KEYS = [
    Sample(str, st.text(max_size=5)),
    Sample(int, st.integers()),
    Sample(bytes, st.binary(max_size=5)),
    Sample(dt.date, st.dates()),
    Sample(dt.datetime, st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=ZONES)),
    Sample(dt.time, st.times()),
    Sample(dt.timedelta, st.timedeltas()),
    Sample(uuid.UUID, st.uuids()),
    Sample(Decimal, st.decimals(allow_nan=False)),
    Sample(Colour, st.sampled_from(Colour)),
    Sample(Size, st.sampled_from(Size)),
]
"""What a dict may have for keys, and a set for elements."""
LEAVES = [
    *KEYS,
    Sample(None, st.none()),
    Sample(bool, st.booleans()),
    Sample(float, st.floats()),
    Sample(Rights, st.integers(0, 3).map(Rights)),
    Sample(Decimal, st.decimals(allow_nan=True)),
    Sample(PurePosixPath, st.lists(st.sampled_from('ab.'), max_size=4).map(lambda parts: PurePosixPath(*parts))),
    Sample(Place, st.builds(Place, st.integers(), st.floats())),
]


def _list(inner: Sample) -> Sample:
    return Sample(list[inner.hint], st.lists(inner.values, max_size=3))  # type: ignore[name-defined]


def _tuple(inner: Sample) -> Sample:
    return Sample(tuple[inner.hint, ...], st.lists(inner.values, max_size=3).map(tuple))  # type: ignore[name-defined]


def _optional(inner: Sample) -> Sample:
    hint: Any = Optional
    return Sample(hint[inner.hint], st.none() | inner.values)


def _pair(inner: Sequence[Sample]) -> Sample:
    hint: Any = tuple
    return Sample(hint[inner[0].hint, inner[1].hint], st.tuples(inner[0].values, inner[1].values))


def _dict(inner: tuple[Sample, Sample]) -> Sample:
    key, value = inner
    return Sample(dict[key.hint, value.hint], st.dictionaries(key.values, value.values, max_size=3))  # type: ignore[name-defined]


def _set(inner: Sample) -> Sample:
    return Sample(frozenset[inner.hint], st.frozensets(inner.values, max_size=3))  # type: ignore[name-defined]


def _dataclass(inner: Sequence[Sample]) -> Sample:
    made = dataclasses.make_dataclass('Made', [('a', inner[0].hint), ('b', inner[1].hint)])
    return Sample(made, st.builds(made, inner[0].values, inner[1].values))


def _struct(inner: Sequence[Sample]) -> Sample:
    made = msgspec.defstruct('Made', [('a', inner[0].hint), ('b', inner[1].hint)], array_like=True, tag=True)
    return Sample(made, st.builds(made, inner[0].values, inner[1].values))


def _extend(inner: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        inner.map(_list), inner.map(_tuple), inner.map(_optional), pairs.map(_pair), pairs.map(_dataclass),
        pairs.map(_struct), st.tuples(st.sampled_from(KEYS), inner).map(_dict), st.sampled_from(KEYS).map(_set),
    )  # fmt: skip


SAMPLES = st.recursive(st.sampled_from(LEAVES), _extend, max_leaves=6)


def kinds_of(value: Any) -> Any:
    """The classes of a value and of what is in it, since an int equals a float."""
    if isinstance(value, dict):
        return dict, sorted(repr((kinds_of(key), kinds_of(each))) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), [*map(kinds_of, value)]
    if isinstance(value, frozenset):
        return type(value), sorted(map(repr, map(kinds_of, value)))
    names: Any = getattr(value, '__struct_fields__', getattr(value, '__dataclass_fields__', ()))
    return type(value), [kinds_of(getattr(value, name)) for name in names]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_value_arrives_as_it_was(data: st.DataObject) -> None:
    sample = data.draw(SAMPLES)
    adapter = MsgspecAdapter(sample.hint)
    value = data.draw(sample.values)
    # No parser but some Python ones reads NaN and Infinity, so they must not be there.
    text = json.dumps(adapter.encode(value), allow_nan=False)
    arrived = adapter.decode(json.loads(text))
    assert same(arrived, value)
    assert kinds_of(arrived) == kinds_of(value)
