"""The state of all in a process that fetches and connects, as JSON: whatever its attributes are called."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Iterator
from typing import Any

SHOWN = ('Fetcher', 'Shelf', 'Waiters', 'Connection')
"""Classes of the package of whose objects one would like to know; one that has another name is not found."""
FEW = 5
"""Items of a collection that are shown."""
LONG = 120
"""Characters of a value that are shown."""


def dump_all() -> dict[str, Any]:
    """Each shelf with those who wait for its tasks, and each connection, that is not closed."""
    # One that is being made has no attributes yet.
    found = [each for each in gc.get_objects() if is_shown(each) and vars(each)]
    found = [each for each in found if not getattr(getattr(each, '_shelf', each), '_closed', False)]
    state: dict[str, Any] = {'turns of the loop': len(getattr(asyncio.get_running_loop(), '_ready', ()))}
    for each in found:
        state[f'{type(each).__name__} {id(each):x}'] = dump(each)
    return state


def is_shown(each: object) -> bool:
    """Whether it fetches or connects; by its name, because the queue that was there before has no such classes."""
    return any(kind.__name__ in SHOWN and kind.__module__.startswith('torrelque') for kind in type(each).__mro__)


def dump(each: object, depth: int = 2) -> dict[str, Any]:
    """The attributes of an object, each as short as may be."""
    return {name: shorten(value, depth - 1) for name, value in attributes_of(each)}


def attributes_of(each: object) -> Iterator[tuple[str, Any]]:
    """Those of a class with slots, too."""
    for kind in type(each).__mro__:
        slots = vars(kind).get('__slots__', ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(each, name):
                yield name, getattr(each, name)
    yield from getattr(each, '__dict__', {}).items()


def shorten(value: Any, depth: int) -> Any:
    """A value as JSON that says what one would like to know of it."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, asyncio.Task):
        return _describe_task(value)
    if isinstance(value, asyncio.Future):
        return _state_of(value)
    if isinstance(value, asyncio.TimerHandle):
        left = value.when() - asyncio.get_running_loop().time()
        what = getattr(value, '_callback', None)
        name = _cut(getattr(what, '__qualname__', what))
        return f'{"cancelled" if value.cancelled() else "timer"} in {left:.2f} s: {name}'
    if is_shown(value):
        return f'{type(value).__name__} {id(value):x}'
    if isinstance(value, asyncio.BaseTransport):
        return f'{type(value).__name__}, {"closing" if value.is_closing() else "open"}'
    if isinstance(value, (list, deque, tuple, set, frozenset)):
        return {'count': len(value), 'first': [shorten(item, depth) for item in [*value][:FEW]]} if value else []
    if isinstance(value, dict):
        return {_cut(key): shorten(item, depth) for key, item in [*value.items()][:FEW]}
    if depth > 0 and type(value).__module__.startswith('torrelque') and not callable(value):
        return dump(value, depth)
    return _cut(value)


def _state_of(future: asyncio.Future[Any]) -> str:
    if not future.done():
        return 'pending'
    return 'cancelled' if future.cancelled() else f'done: {_cut(future.exception() or future.result())}'


def _describe_task(task: asyncio.Task[Any]) -> str:
    """Its name, its state, and where it is: what it awaits, from the outside to the inside."""
    lines: list[str] = []
    waiting: Any = task.get_coro()
    while waiting is not None and len(lines) < 2 * FEW:
        frame = getattr(waiting, 'cr_frame', None)
        if frame is not None:
            lines.append(f'{frame.f_code.co_name}:{frame.f_lineno}')
        waiting = getattr(waiting, 'cr_await', None)
    return f'{task.get_name()}, {_state_of(task)}, {" > ".join(lines)}'


def _cut(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as exc:
        text = f'{type(value).__name__}, which cannot be shown: {exc!r}'
    return text if len(text) <= LONG else f'{text[:LONG]}…'
