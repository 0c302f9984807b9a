"""Other limits and times for queue objects, those that are there already too."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any, Protocol

import torrelque.sync
from torrelque import Torrelque
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.calls import Calls

CLASSES = (Torrelque, torrelque.sync.Torrelque)


class Bound(Protocol):
    """Gives the queue objects of a test other limits and times."""

    def __call__(self, **limits: Any) -> None: ...


def bind(monkeypatch: Any, **limits: Any) -> None:
    """Have the queue objects that are made from now on other bounds, until ``monkeypatch`` is undone."""
    for one in CLASSES:
        monkeypatch.setattr(one, '_bounds', dataclasses.replace(one._bounds, **limits))


def rebind(**limits: Any) -> None:
    """Give the queue objects that there are, and their parts, other bounds."""
    for part in gc.get_objects():
        if not type(part).__module__.startswith('torrelque.'):
            continue
        for name, value in [*getattr(part, '__dict__', {}).items()]:
            if isinstance(value, Bounds):
                setattr(part, name, dataclasses.replace(value, **limits))
        if isinstance(part, Calls):
            part.heads.words['block'] = part.bounds.block_ms
            part.heads.clear()
