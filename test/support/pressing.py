"""Keys that are pressed in the live view, without a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torrelque.cli.topkeys import Row, State, press


def pressed(state: State, keys: str, rows: Sequence[str] = (), **given: Any) -> State:
    """What keys with blanks between them make of it, where none of them acts."""
    for key in keys.split(' '):
        state, act = press(state, key, [Row(row) for row in rows], **given)
        assert act is None
    return state
