"""Selections of tasks as the queries of pages have them: the grammar of `torrelque.operate.Selection`."""

import functools
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torrelque import TorrelqueValueError
from torrelque.operate import Selection, TaskView

from .links import Query
from .visit import Visit

FILTERS = ('function', 'group', 'error', 'text', 'older', 'newer', 'attempts')
"""What a list can be filtered by."""
_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


def selection_of(visit: Visit, status: str | None = None) -> Selection:
    """The tasks that a query is about; ids are its fields ``id``.

    A text of the payload can be looked for by whoever may see payloads, because asking again and again would tell what
    is hidden.  A text of an error is found where the visitor sees it.

    :raises TorrelqueValueError: something of it cannot be meant, or not by this visitor.
    """
    given: dict[str, Any] = {'status': status or visit.text('status') or None}
    for name in ('function', 'group', 'error', 'text'):
        if name in visit.query and visit.text(name) != '':
            given[name] = visit.text(name)
    if visit.query.get('none') in ('function', 'group'):
        given[visit.query['none']] = ''
    if 'text' in given and not visit.shield.is_open:
        raise TorrelqueValueError('text looks into payloads, which you may not see: it needs the grant payload')
    for name in ('older', 'newer'):
        if text := visit.text(name).strip():
            given[name] = seconds_of(text, name)
    if visit.text('attempts').strip():
        given['attempts'] = visit.number('attempts', 0, 10**9)
    if 'id' in visit.query:
        given['ids'] = chosen(visit.query)
        if not given['ids']:
            raise TorrelqueValueError('no task was chosen')
    kind = Selection if visit.shield.is_open else _seen_by(visit.shield.text)
    return kind.from_json(given)


@functools.lru_cache(maxsize=16)
def _seen_by(hide: Callable[[str], str]) -> type[Selection]:
    """Selections of whoever sees errors as `hide` has them."""

    class Seen(Selection):
        __slots__ = ()

        def matcher(self, now: float) -> Callable[[TaskView], bool]:
            matches, text = super().matcher(now), self.error

            def is_seen(task: TaskView) -> bool:
                # One that has not the text in it was found by its fingerprint.
                error = task.error or ''
                return matches(task) and (text is None or text not in error or text in hide(error))

            return is_seen

    return Seen


def chosen(query: Query) -> list[str]:
    """Ids of tasks that a query names.

    A form of which tasks are chosen has an empty one besides, so that none is not all.
    """
    return [one for one in query.all('id') if one]


def has_filters(selection: Selection) -> bool:
    """Whether it is about less than all of a place."""
    return any(getattr(selection, field.name) is not None for field in fields(selection) if field.name != 'status')


def seconds_of(text: str, what: str) -> float:
    """A time such as ``90``, ``90s``, ``2h`` or ``1d`` in seconds.

    :raises TorrelqueValueError: it is none.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, 's')
    try:
        # Digits of other scripts are numbers to Python.
        seconds = float(number) * _UNITS[unit] if number.isascii() else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e10:
        raise TorrelqueValueError(f'{what} is a time such as 90s, 5m, 2h or 1d, not {text[:40]!r}')
    return seconds


def exactly(name: str) -> str:
    """A pattern, as `Selection.group` and `Selection.function` have it, that stands for a name and for no other."""
    return re.sub(r'[*?]|\[(?=[*?[]\])', r'[\g<0>]', name)
