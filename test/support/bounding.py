"""Other limits and times for queue objects and workers, those that are there already too."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any, Protocol

import torrelque.sync
from torrelque import Torrelque
from torrelque.protocol.bounds import Bounds
from torrelque.protocol.calls import Calls
from torrelque.worker import Worker
from torrelque.worker.bounds import Bounds as WorkerBounds

CLASSES = (Torrelque, torrelque.sync.Torrelque)


class Bound(Protocol):
    """Gives the queue objects of a test, or its workers, other limits and times."""

    def __call__(self, **limits: Any) -> None: ...


def bind(monkeypatch: Any, **limits: Any) -> None:
    """Have the queue objects that are made from now on other bounds, until ``monkeypatch`` is undone."""
    for one in CLASSES:
        monkeypatch.setattr(one, '_bounds', dataclasses.replace(one._bounds, **limits))


def bind_workers(monkeypatch: Any, **limits: Any) -> None:
    """Have the workers that are made from now on other bounds, until ``monkeypatch`` is undone."""
    monkeypatch.setattr(Worker, '_bounds', dataclasses.replace(Worker._bounds, **limits))


def rebind(kind: type[Bounds] | type[WorkerBounds], **limits: Any) -> None:
    """Give whatever has bounds of this kind, such as the queue objects that there are, and their parts, others."""
    for part in gc.get_objects():
        # Of some classes of others it is no text.
        if not str(type(part).__module__).startswith('torrelque.'):
            continue
        for name, value in [*getattr(part, '__dict__', {}).items()]:
            if isinstance(value, kind):
                setattr(part, name, dataclasses.replace(value, **limits))
        # One that was refused what it was to be made with has none, and is in the traceback of that.
        if isinstance(part, Calls) and hasattr(part, 'heads'):
            part.heads.words['block'] = part.bounds.block_ms
            part.heads.clear()
