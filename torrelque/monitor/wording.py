"""Times, numbers and names as people read them in an alert."""

import datetime
import re
import shlex

from torrelque import Duration, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
_TIME = re.compile(r'([0-9]{1,12}(?:\.[0-9]{1,9})?) *([smhd])')


def seconds_of(given: Duration | str, what: str) -> float:
    """A time in seconds; a text is a number with its unit, such as ``5m``.

    :raises TorrelqueError: it is none.
    """
    if isinstance(given, str):
        match = _TIME.fullmatch(given.strip())
        if match is None:
            raise TorrelqueValueError(f'{what} as a text is a number and s, m, h or d, such as 5m, not {given!r}')
        given = float(match[1]) * _UNITS[match[2]]
    return check.check_seconds(given, what)


def duration(seconds: float) -> str:
    """A time: ``0.5s``, ``12s``, ``7m``, ``2h05m``, ``4d03h``."""
    if seconds < 10:
        return f'{seconds:.1f}'.removesuffix('.0') + 's'
    whole = round(seconds)
    for size, small, unit, below in ((86400, 3600, 'd', 'h'), (3600, 60, 'h', 'm'), (60, 1, 'm', 's')):
        if whole >= size:
            rest = whole % size // small
            return f'{whole // size}{unit}' + (f'{rest:02}{below}' if rest else '')
    return f'{whole}s'


def plural(count: float, one: str, many: str) -> str:
    """A number and its noun: ``1,204 tasks are``."""
    return f'{count:,.0f} {one if count == 1 else many}'


def instant(when: float) -> str:
    """An instant, in UTC."""
    try:
        moment = datetime.datetime.fromtimestamp(when, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return f'{when:.0f}'
    return moment.strftime('%Y-%m-%d %H:%M:%SZ')


def visible(text: str) -> str:
    """A text in one line, whatever is in it: a sign that cannot be shown stands as its number."""
    if text.isprintable():
        return text
    return ''.join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def command(verb: str, queue: str) -> str:
    """A command line about a queue, to be copied."""
    option = f'-q{queue}' if queue.startswith('-') else queue
    return f'torrelque {verb} ' + (shlex.quote(option) if queue.startswith('-') else f'-q {shlex.quote(queue)}')


def names_of(given: object, what: str) -> tuple[str, ...]:
    """A name, or several.

    :raises TorrelqueError: it is none.
    """
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, (list, tuple, set, frozenset)):
        raise TorrelqueTypeError(f'{what} must be a name or a list of names, not {given!r}')
    return tuple(dict.fromkeys(check.check_name(one, what) for one in found))
