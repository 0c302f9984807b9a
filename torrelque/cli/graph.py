"""Small graphs of characters: two columns and four rows of dots in each by Braille, or plain marks."""

import math
from collections.abc import Sequence

_LEFT, _RIGHT = (0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)
"""Dots of a cell, from below."""


def braille(values: Sequence[float | None], height: int) -> list[str]:
    """Bars, from the left; lines from above.  A gap is empty, nothing is one dot, and the most is all of them."""
    tall = _heights(values, 4 * height)
    tall += [0] * (len(tall) % 2)
    lines = []
    for line in reversed(range(height)):
        cells = []
        for left, right in zip(tall[::2], tall[1::2], strict=True):
            dots = sum(dot for n, dot in enumerate(_LEFT) if left > 4 * line + n)
            dots += sum(dot for n, dot in enumerate(_RIGHT) if right > 4 * line + n)
            cells.append(chr(0x2800 + dots))
        lines.append(''.join(cells))
    return lines


def marks(values: Sequence[float | None], height: int) -> list[str]:
    """The same in ASCII, where a column is a value."""
    tall = _heights(values, 2 * height)
    return [
        ''.join(' .#'[max(0, min(2, one - 2 * line))] for one in tall) for line in reversed(range(height))
    ]


def _heights(values: Sequence[float | None], most: int) -> list[int]:
    """How many dots each has."""
    top = max((value for value in values if value is not None), default=0)
    return [
        0 if value is None else 1 if value <= 0 or not top else max(2, math.ceil(value / top * most))
        for value in values
    ]
