"""In which line of a TOML file a key is.  The parser does not tell; what is not found here is told without a line."""

import re

from .problems import Keys

_PART = r'(?:[\w-]+|"[^"\n]*"|\'[^\'\n]*\')'
_KEY = rf'{_PART}(?:\s*\.\s*{_PART})*'
_TABLE = re.compile(rf'\s*\[\[?\s*({_KEY})\s*\]\]?\s*(?:#.*)?')
_PAIR = re.compile(rf'\s*({_KEY})\s*=\s*(.*)')
_QUOTES = re.compile('"""|\'\'\'')


def lines_of(text: str) -> dict[Keys, int]:
    """The line of each key and table, counted from 1; of what stands within a line, its beginning."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    within = ''
    for number, line in enumerate(text.split('\n'), 1):
        if within:
            if within in line:
                within = ''
            continue
        if (match := _TABLE.fullmatch(line)) is not None:
            table = _names(match[1])
            _note(found, table, number)
        elif (match := _PAIR.match(line)) is not None:
            _note(found, (*table, *_names(match[1])), number)
            marks = _QUOTES.findall(match[2])
            if len(marks) % 2:
                within = marks[0]
    return found


def line_of(lines: dict[Keys, int], keys: Keys) -> int | None:
    """The line of a key, or of the table that it is in."""
    while keys:
        if keys in lines:
            return lines[keys]
        keys = keys[:-1]
    return None


def _names(key: str) -> Keys:
    return tuple(part.strip('"\'') for part in re.findall(_PART, key))


def _note(found: dict[Keys, int], keys: Keys, number: int) -> None:
    for length in range(1, len(keys) + 1):
        found.setdefault(keys[:length], number)
