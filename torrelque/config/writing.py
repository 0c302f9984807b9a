"""Writes what holds by a file as TOML again, with all defaults, and without what is secret."""

import datetime
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_type_hints

import msgspec

from torrelque.tasks.address import shown as shown_address

from . import amounts
from .checks import TIMES
from .config import Config
from .problems import Keys, dotted, hidden, is_bare
from .reading import members, meta_of, sections_in
from .sections import Section

__all__ = ['as_json', 'as_toml', 'spelt_default']


def as_toml(config: Config) -> str:
    """The sections as TOML: each key that holds, a comment where the file does not have it."""
    lines: list[str] = []
    for keys, pairs in _tables(config, config.sections, ()):
        head = [''] if lines else []
        lines += [*head, f'[{dotted(keys)}]']
        for name, value in pairs:
            note = _note(config, (*keys, name))
            lines.append(f'{_key(name)} = {_written(value)}{note}')
    return '\n'.join(lines)


def as_json(config: Config) -> dict[str, Any]:
    """The sections as JSON has them: as TOML, with values as they are spelt there."""
    found: dict[str, Any] = {}
    for keys, pairs in _tables(config, config.sections, ()):
        place = found
        for name in keys:
            place = place.setdefault(name, {})
        place.update({name: _as_plain(value) for name, value in pairs})
    return found


def _note(config: Config, keys: Keys) -> str:
    """Where a value is from, unless it is the file's."""
    if keys == ('server', 'url') and config.variable is not None:
        return f'  # of the variable {config.variable}'
    return '' if keys in config.given else '  # by default'


def _tables(config: Config, section: Section, keys: Keys) -> Iterator[tuple[Keys, list[tuple[str, Any]]]]:
    """Each table with its keys and values, those that say nothing left out."""
    hints = get_type_hints(type(section), include_extras=True)
    plain: list[tuple[str, Any]] = []
    inner: list[tuple[Keys, Section]] = []
    rest = getattr(section, 'REST', None)
    for field in msgspec.structs.fields(type(section)):
        here = (*keys, field.encode_name)
        value: Any = config.url if here == ('server', 'url') else getattr(section, field.name)
        if sections_in(hints[field.name]) is not None:
            above = keys if field.name == rest else here
            inner += [((*above, name), one) for name, one in value.items()]
        elif isinstance(value, Section) and not keys:
            inner.append((here, value))
        elif value is not None and value not in ((), {}):
            timed = getattr(section, 'when', None) in TIMES and field.name in ('above', 'below')
            value = cast(Any, value)
            spelt = amounts.spell(value) if timed else _spelt(config, hints[field.name], value, here)
            plain.append((field.encode_name, spelt))
    if plain and keys:
        yield keys, plain
    for below, one in inner:
        yield from _tables(config, one, below)


def spelt_default(kind: Any, field: msgspec.structs.FieldInfo) -> str | None:
    """The default of a field as the file would have it; None where it says nothing."""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if value is msgspec.NODEFAULT or value is None or value in ((), {}):
        return None
    return _written(_spelt(None, kind, value, ('',)))


def _spelt(config: Config | None, kind: Any, value: Any, keys: Keys) -> Any:
    """A value as the file has it."""
    if isinstance(value, Section):
        hints = get_type_hints(type(value), include_extras=True)
        fields = msgspec.structs.fields(type(value))
        pairs = [(field, getattr(value, field.name)) for field in fields]
        return {
            field.encode_name: _spelt(config, hints[field.name], one, (*keys, field.encode_name))
            for field, one in pairs if one is not None
        }  # fmt: skip
    metas = [meta for one in members(kind) if (meta := meta_of(one)) is not None]
    extra: Mapping[str, Any] = next((meta.extra for meta in metas if meta.extra), {})
    written = None if config is None else config.written.get(keys)
    if 'secret' in extra:
        if isinstance(value, tuple):
            return tuple(map(shown_address, value))
        return shown_address(value) if extra['secret'] == 'url' else hidden(written or value)
    if config is not None and keys[0] == 'schedules' and isinstance(value, (dict, list)):
        return _as_written(config, value, keys)
    return extra.get('spell', _same)(value)


def _same(value: Any) -> Any:
    return value


def _as_written(config: Config, value: Any, keys: Keys) -> Any:
    """What a schedule enqueues, which nobody knows whether it is secret: variables stay as they are written."""
    if isinstance(value, dict):
        return {name: _as_written(config, one, (*keys, name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_written(config, one, (*keys, str(place))) for place, one in enumerate(value)]
    return config.written.get(keys, value)


def _key(name: str) -> str:
    return name if is_bare(name) else json.dumps(name)


def _written(value: Any) -> str:
    """A value of TOML."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, str):
        # The escapes of JSON are some of TOML's, but for the one of DEL.
        return json.dumps(value, ensure_ascii=False).replace('\x7f', '\\u007F')
    if isinstance(value, dict):
        return f'{{ {", ".join(f"{_key(name)} = {_written(one)}" for name, one in value.items())} }}' if value else '{}'
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(map(_written, value))}]'
    if isinstance(value, float):
        return f'{value:g}' if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value)


def _as_plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, dict):
        return {name: _as_plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value
