"""The rules and the sinks of a file of settings."""

import argparse
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .failure import Failure

if TYPE_CHECKING:
    from torrelque.monitor import Rule, Sink

VARIABLE = 'TORRELQUE_CONFIG'
NAME = 'torrelque.toml'

_GAP = re.compile(r'\$\{([A-Za-z_][A-Za-z_0-9]*)(?::-([^}]*))?\}')


class Watched(NamedTuple):
    """What a file says of alerts."""

    rules: 'list[Rule]'
    sinks: 'dict[str, Sink]'

    @property
    def queues(self) -> list[str]:
        """Names of the queues, if each rule names some."""
        named = [rule.queues for rule in self.rules]
        return [*dict.fromkeys(name for names in named for name in names)] if all(named) else []


def add_file(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option that names the file.

    :param what: what is taken of it.
    """
    parser.add_argument('-c', '--config', metavar='FILE', help=f'{what} of this file, [alerts.NAME] and [sinks.NAME]')


def read_watched(found: argparse.Namespace, always: bool = False) -> Watched:
    """What the file says that is named; nothing where none is.

    :param always: whether the file of the environment, or of this folder, is taken where none is named.
    :raises Failure: it is not there, or something of it cannot be meant.
    """
    from torrelque import TorrelqueError
    from torrelque.monitor import rules_of, sinks_of

    path = found.config
    if path is None and always:
        path = os.environ.get(VARIABLE) or (NAME if os.path.exists(NAME) else None)
    if path is None:
        return Watched([], {})
    table = _load(path)
    try:
        filled = _filled({name: table.get(name, {}) for name in ('alerts', 'sinks')})
        return Watched(rules_of(filled['alerts']), sinks_of(filled['sinks']))
    except TorrelqueError as exc:
        raise Failure(f'{path}: {exc}') from None


def _load(path: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:
        raise Failure('a file of settings needs Python 3.11') from None
    try:
        with open(path, 'rb') as file:
            return tomllib.load(file)
    except OSError as exc:
        raise Failure(f'{path} cannot be read: {exc.strerror}') from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Failure(f'{path} is no TOML: {exc}') from None


def _filled(value: Any) -> Any:
    """What a file has, with variables of the environment in its texts."""
    if isinstance(value, Mapping):
        return {name: _filled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one) for one in value]
    return _GAP.sub(_variable, value) if isinstance(value, str) else value


def _variable(match: 're.Match[str]') -> str:
    found = os.environ.get(match[1], match[2])
    if found is None:
        from torrelque import TorrelqueValueError

        raise TorrelqueValueError(f'the variable {match[1]} is not set')
    return found
