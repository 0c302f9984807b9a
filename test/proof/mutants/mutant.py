"""What a hand-made fault is: texts that are replaced, what that breaks, and which tests see it."""

from __future__ import annotations

from typing import NamedTuple

BEYOND = 0
"""A promise of the data model that is none of the twelve invariants."""


class Edit(NamedTuple):
    """A text that occurs once in a file, and what stands there instead."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A fault."""

    name: str
    breaks: int
    """Number of the invariant that no longer holds, or `BEYOND`."""
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """Which tests see it: module, without its ``test_``, and function."""


def script(name: str, old: str, new: str) -> Edit:
    return Edit(f'torrelque/script/{name}.lua', old, new)


def client(name: str, old: str, new: str) -> Edit:
    return Edit(f'torrelque/{name}.py', old, new)
