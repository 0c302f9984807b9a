"""What `Operator`, and layers above it, are given beside names of things: queues, times of the past, and words for
the record.

Other layers may import the names in `__all__`.
"""

import asyncio
import getpass
import re
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from torrelque import Duration, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

__all__ = ['find_queues']

HISTORY = 14 * 86400.0
"""s of history that are kept at the most."""

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def length_of(length: Duration | str, what: str) -> float:
    """A time of the past in seconds; a text is a number with its unit, such as ``8h``."""
    if isinstance(length, str):
        match = re.fullmatch(r'(\d{1,9}(?:\.\d{1,9})?)([smhd])', length, re.A)
        if match is None:
            raise TorrelqueValueError(f'{what} as a text is a number and s, m, h or d, such as 8h, not {length!r}')
        length = float(match[1]) * _UNITS[match[2]]
    return check.check_seconds(length, what, positive=True, most=HISTORY)


def whoever() -> str:
    """User and host, as far as they are known."""
    name = 'unknown'
    with suppress(Exception):  # a user without a name in the system is a KeyError, or an OSError
        name = getpass.getuser()
    return f'{name}@{socket.gethostname()}'


def check_words(what: str) -> None:
    """What an act was done on, in words that can be shown."""
    if not isinstance(what, str):
        raise TorrelqueTypeError(f'what must be a str, not {type(what).__name__}')
    try:
        what.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'what must be encodable as UTF-8: {what!r}') from exc


def of_group(group: str | None, none: str = 'the queue') -> str:
    """A group in words; None is what holds for the whole queue."""
    return none if group is None else f'group {group}'


def find_queues(given: Any, what: str) -> tuple[TorrelqueQueue, ...]:
    """The queues that something is about: of queue objects and of apps, or of one of them.

    Of an app they are the objects that it uses in the running event loop; where none runs, they are those for a worker.

    :param what: what it is, for messages.
    :raises TorrelqueTypeError: there is none, or something else.
    """
    if isinstance(given, (TorrelqueQueue, str)) or _queues_of(given) is not None:
        given = [given]
    found: dict[str, TorrelqueQueue] = {}
    for one in given if isinstance(given, Iterable) else [given]:
        queues = [one] if isinstance(one, TorrelqueQueue) else _queues_of(one)
        queues = [*queues.values()] if isinstance(queues, Mapping) else queues
        if not isinstance(queues, Iterable) or isinstance(queues, str):
            raise TorrelqueTypeError(f'{what} is of queues: a Torrelque, a Tasks, or several, not {one!r}')
        for queue in queues:
            if not isinstance(queue, TorrelqueQueue):
                raise TorrelqueTypeError(f'{what} is of queues: a Torrelque, a Tasks, or several, not {queue!r}')
            found.setdefault(queue.name, queue)
    if not found:
        raise TorrelqueTypeError(f'{what} needs a queue at least')
    return tuple(found.values())


def _queues_of(given: Any) -> Any:
    """The queues of an app, or of whatever else has some; None is something else.  Those of an app for a worker are not
    asked for where they are not needed: the app would keep them for one."""
    has_loop = asyncio._get_running_loop() is not None
    return getattr(given, 'queues_here' if has_loop and hasattr(type(given), 'queues_here') else 'queues', None)
