"""Adapters that pydantic is behind: its models, and whatever else it knows."""

import collections.abc
import inspect
import json
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import pydantic
import pydantic.json_schema
import pydantic_core

from .adapters import UnfitError, advice_on, same

CONFIG = pydantic.ConfigDict(ser_json_bytes='base64', val_json_bytes='base64', ser_json_inf_nan='strings')
"""What JSON is like, where the annotation is no model that says so itself."""
WHOLE = True, False
WAYS = ((True, True), WHOLE, (False, True), (False, False))
"""How a model is written: by aliases, without fields that were not set.  The first is taken that it arrives by.

Fields of an argument that were not set are not written, so that they are not set when it has arrived.  Those whose
defaults are others each time must be.  A result is written whole, where it arrives so: whoever looks at the state of
the task sees all of it.  An alias that is for writing, or for reading only, is none by which a model arrives; its name
is written then.
"""
EXPECTED = re.compile('Expected (`.*?`) - serialized')
"""What pydantic says of a value that is not what the annotation says."""
SHOWN = 3
"""How many faults of a value are told at the most."""
UNDEFINED = 'class-not-fully-defined'
"""The code of pydantic's error for a model that refers to a name that is not there yet."""


class PydanticAdapter:
    """An `Adapter` of whatever pydantic knows.

    Values are validated as JSON is, because what pydantic makes of a text depends on whether it is JSON: a model that
    is strict takes a date that is a text in JSON only.

    :raises UnfitError: values of the annotation cannot be carried.
    :raises NameError: the annotation refers to a name that is not there yet.
    """

    def __init__(self, annotation: Any) -> None:
        if annotation is pydantic.BaseModel:
            raise UnfitError('a BaseModel has no fields; annotate a model that extends it')
        if typing.get_origin(annotation) is collections.abc.Set:
            # Pydantic takes it for a frozenset, and no set.
            (element,) = typing.get_args(annotation)
            annotation = set[element] | frozenset[element]  # type: ignore[valid-type]
        try:
            self._adapter = _make(annotation)
            self._adapter.json_schema(schema_generator=_Survey)
        except pydantic.errors.PydanticUndefinedAnnotation as exc:
            raise NameError(_short(exc)) from exc
        except pydantic.PydanticUserError as exc:
            if exc.code == UNDEFINED:
                raise NameError(_short(exc)) from exc
            raise UnfitError(f'{_short(exc)}; {advice_on(annotation)}') from exc

    def encode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        return self._encode(value, WAYS)

    def encode_result(self, value: Any, /) -> Any:
        """As `encode`, for those who read JSON alone, too."""
        return self._encode(value, (WHOLE, *WAYS))

    def _encode(self, value: Any, ways: Sequence[tuple[bool, bool]]) -> Any:
        refusals: list[UnfitError] = []
        for way in ways:
            try:
                return json.loads(self._write(value, *way))
            except UnfitError as exc:
                refusals.append(exc)
        raise refusals[ways.index(WHOLE)]

    def decode(self, value: Any, /) -> Any:
        """See `Adapter`."""
        return self._read(json.dumps(value))

    def _write(self, value: Any, by_alias: bool, exclude_unset: bool) -> bytes:
        try:
            data = self._adapter.dump_json(
                value, by_alias=by_alias, exclude_unset=exclude_unset, round_trip=True, warnings='error'
            )
        except pydantic_core.PydanticSerializationError as exc:
            found = EXPECTED.search(str(exc))
            raise UnfitError(_short(exc) if found is None else f'it is no {found[1]}') from exc
        arrived = self._read(data)
        if not same(arrived, value):
            raise UnfitError(f'it would arrive as {arrived!r}')
        return data

    def _read(self, data: bytes | str) -> Any:
        try:
            return self._adapter.validate_json(data, by_alias=True, by_name=True)
        except pydantic.ValidationError as exc:
            places = ('.'.join(map(str, error['loc'])) for error in exc.errors(include_url=False))
            texts = (error['msg'] for error in exc.errors(include_url=False))
            found = [f'{place}: {text}' if place else text for place, text in zip(places, texts, strict=True)]
            # Pydantic's own error, which would be kept with a task, shows values, some of which may be secret.
            raise UnfitError('; '.join(found[:SHOWN])) from None


class _Survey(pydantic.json_schema.GenerateJsonSchema):
    """Looks for what has no JSON.  What pydantic cannot describe otherwise, such as the work of a validator, may."""

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Nobody reads the schema, so nobody is warned of what it lacks."""

    def generator_schema(self, schema: Any) -> Any:
        raise UnfitError('an Iterable within something else is read only once; annotate list, Sequence or Collection')

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
        kind = schema['type']
        if kind in ('callable', 'is-instance', 'is-subclass'):
            cls = schema.get('cls', Callable)
            raise UnfitError(f'JSON does not carry a {inspect.formatannotation(cls)}; {advice_on(cls)}')
        return {}


def _make(annotation: Any) -> 'pydantic.TypeAdapter[Any]':
    try:
        return pydantic.TypeAdapter(annotation, config=CONFIG)
    except pydantic.PydanticUserError as exc:
        if exc.code != 'type-adapter-config-unused':
            raise
        # Models, dataclasses and typed dicts have settings of their own.
        return pydantic.TypeAdapter(annotation)


def _short(error: Exception) -> str:
    """The reason without pydantic's link."""
    return str(error).partition('\n\nFor further information')[0].replace('\n', ' ')
