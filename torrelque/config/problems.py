"""What is wrong with a file: all of it at once, each with its place."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torrelque import TorrelqueError

Keys = tuple[str, ...]
"""The names that lead to a key."""


class Problem(NamedTuple):
    """Something that cannot be meant."""

    file: str
    line: int | None
    """Where the key is, or the table that it is in; None where that was not found."""
    key: str
    """The path of the key, with dots between its names; '' is the whole file."""
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f'{self.file}:{self.line}'
        return ': '.join(filter(None, [place, self.key, self.text]))


class ConfigError(TorrelqueError):
    """A file of settings cannot be used; nothing was done by it.  Its text has a line for each problem."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__('\n'.join(map(str, self.problems)))

    def __reduce__(self) -> 'tuple[type[ConfigError], tuple[tuple[Problem, ...]]]':
        return type(self), (self.problems,)


def hidden(text: str) -> str:
    """A text without what may be secret in an address: name and password of a server, the path of a webhook."""
    text = re.sub(r'(\w://)[^\s\'"]*@', r'\1…@', text)
    return re.sub(r'(https?://[^\s\'"/}]+/)[^\s\'"}]+', r'\1…', text)


def dotted(keys: Sequence[str]) -> str:
    """The path of a key, as TOML has it."""
    return '.'.join(key if is_bare(key) else f'"{key}"' for key in keys)


def is_bare(key: str) -> bool:
    """Whether a key needs no quotes."""
    return key.isascii() and key.replace('-', '_').isidentifier() or key.isascii() and key.isalnum()


def nearest(name: str, known: Iterable[str]) -> str:
    """What may be meant instead of a name, or what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f'did you mean {near[0]}?'
    return f'there {"is" if len(names) == 1 else "are"} {", ".join(names)}' if names else 'there is none'
