"""The only place where bytes become values: the same bytes are the same values, with atheris and without it.

What is over gives zeros, which stand for the first, the fewest and the plainest, so that each input has an end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar('T')

WORDS = (
    '', 'a', 'b', '0', '1', '-1', '1.5', 'q', 'one', 'null', 'true', 'nan', 'inf', '-inf', '1e999', '9' * 25, '{', '}',
    '[]', '{}', '[1]', '"x"', ' ', '\n', '\x00', '\x7f', 'ä', 'é', '٣', '²', '\U0001f422', '\ud800', '\udcff', '\u202e',
    '*', '?', '[*]', '$', '${A}', '$$', '${', '-', '--', ':', '.', '/', '@', '%', '\\', "'", '"', '#', '=', ',',
    'a' * 300,
)  # fmt: skip
"""Texts that something may stumble over."""
NUMBERS = (
    0, 1, -1, 2, 3, 10, 255, 1000, 60_000, 1_800_000_000_000, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, -(2**63),
    10**25,
)  # fmt: skip
FLOATS = (0.0, -0.0, 0.5, 1.5, -1.0, 1e-9, 1e10, 1e15, 1e18, 1e300, float('inf'), float('-inf'), float('nan'))
DEEPEST = 4
"""Values are in one another so often at the most, where nothing else is said."""


class Feed:
    """Values out of bytes, from the first to the last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """The next byte, or 0."""
        if self._at >= len(self._data):
            return 0
        found = self._data[self._at]
        self._at += 1
        return found

    def flag(self) -> bool:
        """A choice of two, False where nothing is left."""
        return bool(self.byte() & 1)

    def below(self, end: int) -> int:
        """A number from 0 to below an end."""
        if end <= 256:
            return self.byte() % end
        return int.from_bytes(self.take(8), 'little') % end

    def pick(self, some: Sequence[T]) -> T:
        """One of some."""
        return some[self.below(len(some))]

    def take(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        found = self._data[self._at : self._at + count]
        self._at += len(found)
        return found

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def raw(self, most: int = 255) -> bytes:
        """Bytes, so many at the most as one byte can say."""
        return self.take(self.below(most + 1))

    def some(self, make: Callable[[], T], most: int = 6) -> list[T]:
        """A few of what is made."""
        return [make() for _ in range(self.below(most + 1))]

    # Of kinds

    def number(self) -> int:
        """A whole number."""
        kind = self.byte() % 4
        if kind == 0:
            return self.byte()
        return self.pick(NUMBERS) if kind == 1 else int.from_bytes(self.take(kind * 4 - 4), 'little', signed=True)

    def float(self) -> float:
        """A float, of any kind."""
        if self.flag():
            return self.pick(FLOATS)
        data = self.take(8)
        found: float = struct.unpack('<d', data.ljust(8, b'\0'))[0]
        return found

    def text(self, most: int = 40) -> str:
        """A text, halves of characters too."""
        kind = self.byte() % 3
        if kind == 0:
            return self.pick(WORDS)[:most]
        if kind == 1:
            return self.raw(most).decode('utf-8', 'surrogateescape')
        return ''.join(self.pick(WORDS) for _ in range(self.below(5)))[:most]

    def word(self, most: int = 40) -> str:
        """A text that has bytes: halves of characters left out."""
        return self.text(most).encode('utf-8', 'ignore').decode()

    def tree(self, leaves: Sequence[Callable[[], Any]], depth: int = DEEPEST) -> Any:
        """A value that may have others within it, in lists and in tables whose keys are texts."""
        kind = self.below(len(leaves) + 2)
        if kind < len(leaves) or depth == 0:
            return leaves[kind % len(leaves)]()
        if kind == len(leaves):
            return self.some(lambda: self.tree(leaves, depth - 1), 4)
        return {self.text(): self.tree(leaves, depth - 1) for _ in range(self.below(4))}

    def json(self, depth: int = DEEPEST) -> Any:
        """A value as JSON has it."""
        leaves: list[Callable[[], Any]] = [lambda: None, self.flag, self.number, self.float, self.text]
        return self.tree(leaves, depth)
