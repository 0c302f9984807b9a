"""Where values are in a chart, and which of them are written beside it: round numbers, times and instants of UTC."""

import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import wording

__all__ = ['HEIGHT', 'Grid', 'Scale', 'Tick', 'day_of', 'linear', 'logarithmic', 'steps_of']

HEIGHT = 1000
"""Units of a plot from its ground to its top; whole ones are exact enough."""

_TIMES = (
    *(0.001 * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)), 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
    *(60.0 * n for n in (1, 2, 5, 10, 15, 30)), *(3600.0 * n for n in (1, 2, 3, 6, 12)),
    *(86400.0 * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20000)),
)  # fmt: skip
_DECADES = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0, 864000.0, 8640000.0)
_INSTANTS = tuple(60.0 * n for n in (1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 5760, 10080, 20160, 40320))
_MONTHS = ('Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec')
MOST_TICKS = 9
"""Instants that are written below a wide chart; below a narrow one each second is."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A value that is written beside a chart."""

    at: str
    """Where, as a percentage of the width, or of the height from the top."""
    text: str
    anchor: str = 'middle'
    """Which end of the text is there, as ``text-anchor`` has it."""
    minor: bool = False
    """Whether it is left out where there is little room."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How high values are."""

    ticks: tuple[Tick, ...]
    top: float
    low: float = 0.0
    """What is at the ground: above 0 the scale is logarithmic."""

    def height(self, value: float) -> int:
        """Units above the ground."""
        if self.low > 0:
            part = math.log(max(value, self.low) / self.low) / math.log(self.top / self.low)
        else:
            part = value / self.top
        return round(HEIGHT * min(1.0, max(0.0, part)))

    def y(self, value: float) -> int:
        """Units below the top."""
        return HEIGHT - self.height(value)


@dataclass(frozen=True, slots=True)
class Grid:
    """Times of one length, one after the other, of which each has a place in a chart."""

    start: float
    """When the first one begins (Unix time, s)."""
    length: float
    """How long each is (s)."""
    count: int

    def place(self, instant: float) -> int | None:
        """The number of the time that begins then; None where it is outside."""
        number = round((instant - self.start) / self.length)
        return number if 0 <= number < self.count else None

    def begin(self, number: int) -> float:
        """When a time begins."""
        return self.start + number * self.length

    def groups(self, most: int) -> Iterator[range]:
        """The times, some together where there are more than that; these begin at round instants."""
        size = next((int(step // self.length) for step in _INSTANTS
                     if step >= self.length and self.count * self.length / step <= most), self.count)  # fmt: skip
        number = 0
        while number < self.count:
            behind = (int(self.begin(number) // self.length)) % size
            end = min(self.count, number + size - behind)
            yield range(number, end)
            number = end

    def ticks(self) -> tuple[Tick, ...]:
        """Instants that are written below."""
        span = self.count * self.length
        step = next((one for one in _INSTANTS if span / one <= MOST_TICKS), span)
        first = math.ceil(self.start / step)
        found = []
        for number in range(first, int((self.start + span) // step) + 1):
            part = (number * step - self.start) / span
            text = wording.minute(number * step) if number * step % 86400 else day_of(number * step)
            anchor = 'middle' if part < 0.99 else 'end'
            found.append(Tick(f'{part * 100:.5g}%', text, anchor, minor=number % 2 == 1))
        return tuple(found)


def day_of(instant: float) -> str:
    """The day of an instant (UTC), without its year."""
    try:
        day = datetime.datetime.fromtimestamp(instant, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return wording.when(instant)
    return f'{day.day} {_MONTHS[day.month - 1]}'


def steps_of(most: float, count: int, is_time: bool = False) -> float:
    """A round step of which so many at the most reach a value; of numbers at least 1."""
    least = most / count
    if is_time:
        return next((step for step in _TIMES if step >= least), least)
    if least <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= least)


def linear(most: float, tell: Callable[[float], str], is_time: bool = False, count: int = 4) -> Scale:
    """A scale from 0 on that has room for a value."""
    step = steps_of(most if most > 0 else 1.0, count, is_time)
    parts = max(1, math.ceil(most / step - 1e-9))
    return Scale(
        tuple(Tick(f'{(1 - number / parts) * 100:.5g}%', tell(number * step)) for number in range(parts + 1)),
        parts * step,
    )


def logarithmic(values: Sequence[float], tell: Callable[[float], str]) -> Scale:
    """A scale of times on which each is so much higher as it is longer by a part."""
    least, most = max(0.001, min(values)), max(values)
    low = max((one for one in _DECADES if one <= least), default=_DECADES[0])
    top = next((one for one in _DECADES if one >= most and one > low), max(most, low * 10))
    scale = Scale((), top, low)
    shown = [one for one in _DECADES if low <= one <= top]
    return Scale(tuple(Tick(f'{scale.y(one) / HEIGHT * 100:.5g}%', tell(one)) for one in shown), top, low)
