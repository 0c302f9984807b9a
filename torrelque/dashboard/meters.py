"""Bars of one value, for cells of tables: a share, busy slots, progress."""

from dataclasses import dataclass
from typing import Any

from . import wording
from .paths import rounded

__all__ = ['Bar', 'progress', 'progress_of', 'share', 'slots']

CELLS = 32
"""Slots that are drawn one by one at the most."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One horizontal bar, of 100 units."""

    title: str
    kind: str
    width: str
    """How much of it is filled."""
    cells: tuple[str, ...] = ()
    """Where lines divide it."""


def share(part: float, whole: float = 1.0, what: str = '') -> Bar:
    """A part of a whole."""
    title = ' '.join(filter(None, [wording.percent(part, whole), what]))
    return Bar(title, 'share', _hundred(part / whole if whole else 0.0))


def slots(busy: int, count: int) -> Bar:
    """Slots that are busy, of all."""
    cells = tuple(rounded(100 * n / count) for n in range(1, count)) if 1 < count <= CELLS else ()
    kind = 'slots full' if busy >= count > 0 else 'slots'
    title = f'{wording.number(busy)} of {wording.number(count)} slots are busy'
    return Bar(title, kind, _hundred(busy / count if count else 0.0), cells)


def progress(value: Any) -> Bar | None:
    """How far a task is, where its progress tells."""
    part = progress_of(value)
    return None if part is None else Bar(f'{part * 100:.0f} % done', 'progress', _hundred(part))


def progress_of(value: Any) -> float | None:
    """How far (0 to 1) by a progress that is a share; a number of percent above 1; or how many of how many, as a list,
    or an object such as ``{"done": 3, "total": 10}``.  None is any other, which has no bar."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _of(*value)
    if isinstance(value, dict):
        done = next((value[name] for name in ('done', 'current', 'completed', 'position') if name in value), None)
        whole = next((value[name] for name in ('total', 'of', 'all') if name in value), None)
        if whole is None:
            return next((progress_of(value[name]) for name in ('percent', 'share', 'progress')
                         if name in value and not isinstance(value[name], dict)), None)  # fmt: skip
        return _of(done, whole)
    return _of(value, 1 if isinstance(value, (int, float)) and value <= 1 else 100)


def _of(done: Any, whole: Any) -> float | None:
    if not _is_number(done) or not _is_number(whole) or not 0 <= done <= whole or not whole:
        return None
    return float(done / whole)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 10**300


def _hundred(part: float) -> str:
    return rounded(100 * min(1.0, max(0.0, part))) if part == part else '0'
