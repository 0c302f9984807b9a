"""What layers of the proof have in common that are run from the command line: how they tell what they came to."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from support.servers import RealServer

Found = tuple[dict[str, Any], list[str]]
"""Figures, and what is wrong."""


class FoundError(Exception):
    """Something that must not be."""


def require(faults: Iterable[object]) -> None:
    """That nothing was found; else the first is raised."""
    for fault in faults:
        raise FoundError(str(fault))


def describe(exc: Exception) -> str:
    """What ended a run, in its own words where it was found; anything else that is raised is a fault, too."""
    return str(exc) if isinstance(exc, FoundError) else repr(exc)


def conclude(figures: Mapping[str, Any], faults: Sequence[object]) -> int:
    """Print faults, a line each, and the figures last, as JSON; the exit status."""
    for fault in faults:
        print(fault)
    print(json.dumps({**figures, 'faults_found': len(faults)}))
    return 1 if faults else 0


def in_time(numbers: Iterable[int], seconds: float | None) -> Iterator[int]:
    """Numbers, one after the other, until so many seconds are over; all of them, where that is None."""
    end = None if seconds is None else time.monotonic() + seconds
    for number in numbers:
        if end is not None and time.monotonic() > end:
            return
        yield number


def drive(layer: str, kind: str, run: Callable[[RealServer], Found]) -> int:
    """Run a layer on a server of its own, and tell what came out; the exit status."""
    logging.getLogger('torrelque').addHandler(logging.NullHandler())
    began = time.monotonic()
    with RealServer(kind) as server:
        figures, faults = run(server)
    return conclude({'layer': layer, **figures, 'seconds': round(time.monotonic() - began, 1)}, faults)
