"""Where the file is: the one that is named, or the first of those that are looked for."""

import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .lines import lines_of
from .problems import ConfigError, Keys, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ['NAME', 'VARIABLE', 'find']

VARIABLE = 'TORRELQUE_CONFIG'
"""The variable that names a file."""
NAME = 'torrelque.toml'
PROJECT = 'pyproject.toml'
TABLE: Keys = ('tool', 'torrelque')
"""Where the settings are in a file of a project."""
_DEEPEST = 100
_TOO_DEEP = f'its values are nested more than {_DEEPEST} deep'


class Place(NamedTuple):
    """A file that there is, or that is named."""

    path: str
    how: str
    """How it was found, in words."""

    @property
    def table(self) -> Keys:
        """What the keys of the settings begin with."""
        return TABLE if os.path.basename(self.path) == PROJECT else ()


class Source(NamedTuple):
    """What a file says, and where."""

    place: Place
    data: dict[str, Any]
    lines: dict[Keys, int]


def find(
    path: str | os.PathLike[str] | None = None, environment: Mapping[str, str] = os.environ, folder: str = ''
) -> Place | None:
    """The file: the one of a path; else that of ``TORRELQUE_CONFIG``; else ``torrelque.toml`` of the current directory;
    else its ``pyproject.toml``, if that has a table ``[tool.torrelque]``.

    :param folder: another directory.
    """
    if path is not None:
        return Place(os.fspath(path), 'as it was named')
    if named := environment.get(VARIABLE):
        return Place(named, f'by the variable {VARIABLE}')
    own, project = os.path.join(folder, NAME), os.path.join(folder, PROJECT)
    if os.path.isfile(own):
        return Place(own, f'as {NAME} of this directory')
    # Without the word in it there is no need to read it as TOML.
    if os.path.isfile(project) and b'torrelque' in Path(project).read_bytes() and _has_table(project):
        return Place(project, f'as [tool.torrelque] of {PROJECT} of this directory')
    return None


def _has_table(path: str) -> bool:
    try:
        return isinstance(_at(tomllib.loads(Path(path).read_text('utf-8')), TABLE), dict)
    except (ValueError, RecursionError):
        return False  # whatever is wrong with it, it is none of ours


def _at(data: Any, keys: Keys) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _is_deep(data: Any) -> bool:
    """Whether values are in one another more than `_DEEPEST` times; what reads them calls itself for each."""
    level = [data]
    for _ in range(_DEEPEST):
        tables = [[*one.values()] if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [*itertools.chain.from_iterable(tables)]
    return bool(level)


def read(place: Place) -> Source:
    """What a file says.

    :raises ConfigError: it cannot be read, or is no TOML.
    """
    try:
        text = Path(place.path).read_text('utf-8')
    except OSError as exc:
        raise ConfigError([Problem(place.path, None, '', f'it cannot be read: {exc.strerror}')]) from None
    except UnicodeDecodeError as exc:
        raise ConfigError([Problem(place.path, None, '', f'it is no UTF-8, at byte {exc.start}')]) from None
    # Editors of Windows begin a file with a mark that TOML has no place for.
    text = text.removeprefix('\ufeff')
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ConfigError([Problem(place.path, None, '', _TOO_DEEP)]) from None
    except tomllib.TOMLDecodeError as exc:
        words, _, at = str(exc).partition(' (at line ')
        # What is missing at the end is told without a line.
        line = at.partition(',')[0] if at else str(text.count('\n') + 1)
        raise ConfigError([
            Problem(place.path, int(line) if line.isdecimal() else None, '', f'it is no TOML: {words}')
        ]) from None  # fmt: skip
    except ValueError as exc:
        # Python writes and reads whole numbers of some thousand digits at the most.
        raise ConfigError([Problem(place.path, None, '', f'it is no TOML: {exc}')]) from None
    found = _at(data, place.table)
    if not isinstance(found, dict):
        raise ConfigError([Problem(place.path, None, '', 'it has no table [tool.torrelque]')])
    skipped = len(place.table)
    if _is_deep(found):
        raise ConfigError([Problem(place.path, None, '', _TOO_DEEP)])
    lines = {keys[skipped:]: line for keys, line in lines_of(text).items() if keys[:skipped] == place.table}
    return Source(place, found, lines)
