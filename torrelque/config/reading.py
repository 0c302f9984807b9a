"""Makes sections of what a file has, and finds all that is wrong with their keys and values.

msgspec checks one value at a time here: by itself it would stop at the first that it finds wrong.
"""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from .problems import Keys, nearest
from .sections import FileConfig, Section
from .variables import Filled

NOTHING: Any = object()
"""Stands for a value that could not be read."""
_SHOWN = 60
"""Characters of a value that are shown."""


class Reading:
    """The sections of a file, and what is wrong with it."""

    def __init__(self, filled: Filled) -> None:
        self.problems: list[tuple[Keys, str]] = [*filled.missing]
        """Keys, and what is wrong with each."""
        self.given: set[Keys] = set()
        """The keys that the file has."""
        self._filled = filled
        found = self._section(FileConfig, filled.data, ())
        self.file: FileConfig = FileConfig() if found is NOTHING else found

    # Tables

    def _section(self, kind: type[Section], table: dict[str, Any], keys: Keys) -> Any:
        """A section; with what of it can be read, where it can be made without the others."""
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        rest = getattr(kind, 'REST', None)
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in table.items():
            here = (*keys, name)
            self.given.add(here)
            if name in fields and name != rest:
                found = self._value(hints[fields[name].name], value, here)
                if found is not NOTHING:
                    values[fields[name].name] = found
            elif rest is not None and isinstance(value, dict):
                others[name] = value
            else:
                more = f', and tables [{".".join(keys)}.NAME]' if rest is not None else ''
                self.problems.append((here, f'there is no such key; {nearest(name, {*fields} - {rest})}{more}'))
        if rest is not None:
            values[rest] = self._value(hints[rest], others, keys)
        missing = [field for field in fields.values() if field.required and field.name not in values]
        for field in missing:
            if field.encode_name not in table:
                self.problems.append((keys, f'{field.encode_name} is missing'))
        return NOTHING if missing else kind(**values)

    def _table_of(self, kind: type[Section], table: dict[str, Any], keys: Keys) -> dict[str, Any]:
        """Sections by their names."""
        found = {}
        for name, value in table.items():
            here = (*keys, name)
            self.given.add(here)
            if not name:
                self.problems.append((here, 'a name has one character at least'))
            elif not isinstance(value, dict):
                self.problems.append((here, f'expected a table, [{".".join(here)}], not {self._shown(value, here)}'))
            elif (section := self._section(kind, value, here)) is not NOTHING:
                found[name] = section
        return found

    # Values

    def _value(self, kind: Any, value: Any, keys: Keys) -> Any:
        if self._filled.is_missing(keys) and not isinstance(value, dict):
            return NOTHING
        words = ''
        for one in members(kind):
            if is_section(one):
                if isinstance(value, dict):
                    return self._section(one, value, keys)
                words = words or f'expected a table, [{".".join(keys)}], not {self._shown(value, keys)}'
            elif (section := sections_in(one)) is not None:
                if isinstance(value, dict):
                    return self._table_of(section, value, keys)
                words = words or f'expected a table, [{".".join(keys)}.NAME], not {self._shown(value, keys)}'
            else:
                try:
                    return self._plain(one, value, keys)
                except ValueError as exc:
                    # Of a value that may be a table too, what is said of the value tells more.
                    words = str(exc)
        self.problems.append((keys, words))
        return NOTHING

    def _plain(self, kind: Any, value: Any, keys: Keys) -> Any:
        """A value that is no section.

        :raises ValueError: it is none of this kind.
        """
        meta = meta_of(kind)
        read = (meta.extra or {}).get('read') if meta is not None else None
        written = self._filled.was_written(keys)
        if read is not None:
            try:
                # A number of the environment is a text.
                return read(_as_number(value) if written is not None else value)
            except ValueError as exc:
                raise ValueError(str(exc) if written is None else f'{written!r} does not fit: what the variable has is '
                                 'nothing for this key') from None  # fmt: skip
        try:
            return msgspec.convert(value, kind, strict=written is None)
        except msgspec.ValidationError:
            raise ValueError(f'expected {_words(kind)}, not {self._shown(value, keys)}') from None

    def _shown(self, value: Any, keys: Keys) -> str:
        """A value in a message: as it was written, so that what a variable has is not shown."""
        text = repr(self._filled.was_written(keys) or value)
        return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}…'


def _as_number(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip('-').isdecimal() and value.isascii():
        return int(value)
    return value


# Kinds


def members(kind: Any) -> list[Any]:
    """What a value may be, without None."""
    if get_origin(kind) in (Union, types.UnionType):
        return [one for one in get_args(kind) if one is not types.NoneType]
    return [kind]


def is_section(kind: Any) -> bool:
    """Whether it is a struct of ours."""
    return isinstance(kind, type) and issubclass(kind, Section)


def sections_in(kind: Any) -> type[Section] | None:
    """The struct of which it is a table of several."""
    if get_origin(kind) is dict and is_section(get_args(kind)[1]):
        section: type[Section] = get_args(kind)[1]
        return section
    return None


def meta_of(kind: Any) -> msgspec.Meta | None:
    """What is said of a kind."""
    for one in members(kind):
        if get_origin(one) is Annotated:
            return next(iter(_metas(one)), None)
    return None


def _metas(kind: Any) -> Iterator[msgspec.Meta]:
    return (one for one in kind.__metadata__ if isinstance(one, msgspec.Meta))


def _words(kind: Any) -> str:
    """What is expected, in words."""
    meta = meta_of(kind)
    if meta is not None and meta.description:
        return meta.description
    if get_origin(kind) is Literal:
        return f'one of {", ".join(get_args(kind))}'
    return {'list': 'a list', 'dict': 'a table'}.get(getattr(get_origin(kind), '__name__', ''), 'another value')
