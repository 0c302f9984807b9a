"""Workers by their hearts: those that live, that are stuck, and that were lost in the last hour.

A worker that lives is stuck where it could take what is ready and does not, or its event loop stands still.  A key that
holds something else hides no worker: what is known of it is told, and what is wrong with it.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from torrelque import TorrelqueQueue

from .asking import ask
from .parts import AwayError, ask_parts, others_of
from .reading import text_of
from .values import RunningView, WorkerView

PAGE, LARGE_PAGE = 250, 50
"""Workers that one call looks at: by what is small, and with all that they have in hand."""
FEW = 8
"""Texts that are looked for as they are; more must be ids."""
ALL = 10**9
"""More workers than there are."""

Found = tuple[list[WorkerView], frozenset[str]]
"""Workers, and the names of those that were read whole."""
MISSED = 3
"""Intervals after which a worker does not live."""
KEPT = 3600.0
"""For how long (s) a worker that was lost is told of."""
LAG = 10.0
"""How late (s) an event loop is that stands still."""
UNCLAIMED = 30.0
"""After what time (s) without a claim a worker is stuck that has free places, while tasks are ready."""
LATE = 10.0
"""How late (s) a beat is, at the least, to say so; and later than twice the interval."""


async def read_workers(queue: TorrelqueQueue, running: bool = True) -> list[WorkerView]:
    """The workers of a queue, lost ones too, in order of their names; without ``running`` only what is small."""
    return [view for view, _ in await _read(queue, '1' if running else '0', LARGE_PAGE if running else PAGE)]


async def find_workers(queue: TorrelqueQueue, texts: Iterable[str], most: int = ALL) -> Found:
    """The workers of a queue, in order of their names, and the names of those that were read whole: of the others only
    what is small.  They are those, so many at the most, that name one of some texts: an id, a group, a function,
    themselves.  Of many texts, each must be an id.
    """
    named = [json_of(text) for text in texts]
    if not named:
        return await read_workers(queue, False), frozenset()
    found = await _read(queue, 'named', PAGE if len(named) <= FEW else LARGE_PAGE, named, most)
    return [view for view, _ in found], frozenset(view.name for view, more in found if more is not None)


async def longest(queue: TorrelqueQueue) -> dict[str, float]:
    """Of workers that have a task in hand, by name, since when the longest runs, by the clock of the worker."""
    found = await _read(queue, 'longest', PAGE)
    return {view.name: since for view, more in found if (since := _number(more)) is not None}


def json_of(text: str) -> bytes:
    """A text as it stands in a health."""
    return json.dumps(text, ensure_ascii=False).encode('utf-8', 'backslashreplace')


async def _read(
    queue: TorrelqueQueue, which: str, page: int, texts: Sequence[bytes] = (), most: int = 0
) -> list[tuple[WorkerView, bytes | None]]:
    """Workers, and what the script was to look for."""
    found: dict[bytes, tuple[WorkerView, bytes | None]] = {}
    passed = whole = 0
    while True:
        try:
            now, count, ready, paused, *hearts = await ask(
                queue.home, 'crew', passed, page, which, most - whole, *texts
            )
        except AwayError:
            if queue.home is queue:
                raise
            # Tasks of a shard can be told of where nothing is known of workers.
            return []
        passed += count
        ready = 0 if paused else ready
        if not ready and any(_is_idle(kind, fields) for _, _, kind, *fields in hearts):
            # What it leaves may be in another shard.
            ready = await _ready_elsewhere(queue)
        for name, score, kind, *fields in hearts:
            more = fields[-1] if fields else None
            if kind == b'heart' and (which == 'longest' or which == 'named' and more is None):
                fields.pop()
            whole += which == 'named' and kind == b'heart' and more is not None
            view = _view(queue.name, now / 1000, name, _number(score), kind, fields, ready)
            if view is not None:
                found[name] = view, more
        if count < page:
            return sorted(found.values(), key=lambda one: one[0].name)


def _is_idle(kind: bytes, fields: Sequence[Any]) -> bool:
    """Whether a worker has free places, and has claimed nothing for long."""
    if kind != b'heart':
        return False
    slots, busy, claimed = (_number(fields[place]) or 0 for place in (3, 4, 6))
    return busy < slots and claimed >= UNCLAIMED


async def _ready_elsewhere(queue: TorrelqueQueue) -> int:
    """How many tasks are ready in the other parts that answer, where these are not paused."""
    others = others_of(queue.home)
    if not others:
        return 0
    try:
        told, _ = await ask_parts(others, lambda part: ask(part, 'crew', ALL, 1, '0', 0))
    except AwayError:
        return 0
    return sum(ready for _, _, ready, paused in told if not paused)


def _view(
    queue: str, now: float, name: bytes, score: float | None, kind: bytes, fields: Sequence[Any], ready: int
) -> WorkerView | None:
    """A worker; None where nothing is left of it but its name, for longer than lost ones are told of."""
    beat = None if score is None else score / 1000
    if kind == b'heart':
        seen, interval, state, slots, busy, lag, claimed, *rest = fields
        times = _number(seen), _number(interval)
        at = now if times[0] is None and beat is None else beat if times[0] is None else times[0] / 1000
        health, broken = _read_health(rest[0]) if rest else ({}, False)
        small = {
            'state': None if state is None else state.decode('utf-8', 'backslashreplace'),
            'concurrency': _number(slots), 'busy': _number(busy), 'lag': _scaled(lag), 'claimed': _number(claimed),
        }  # fmt: skip
        given = health | {key: value for key, value in small.items() if value is not None}
        length = None if times[1] is None else times[1] / 1000
        lives = now - (at or 0.0) < MISSED * length if length else now - (at or 0.0) < KEPT
        trouble = 'its health cannot be read' if broken else None
        return _make(queue, name, now, min(now, at or 0.0), length or 0.0, given, lives, ready, trouble)
    if kind == b'text':
        health, broken = _read_health(fields[0])
        # Another version's score says until when it counts as alive, and its key is gone when it does not live.
        trouble = 'its health cannot be read' if broken else None
        return _make(queue, name, now, now, 0.0, health, True, 0, trouble)
    seen_at = min(now, beat or 0.0)
    if kind == b'none' and now - seen_at >= KEPT:
        return None
    what = 'its key holds something else' if kind == b'broken' else 'nothing is left of what it told of itself'
    return _make(queue, name, now, seen_at, 0.0, {}, kind == b'broken' and now - seen_at < KEPT, 0, what)


def _make(
    queue: str, name: bytes, now: float, seen: float, interval: float, given: dict[str, Any], lives: bool, ready: int,
    trouble: str | None,
) -> WorkerView:  # fmt: skip
    # What the worker tells by its own clock is moved to that of the server.
    told = _float(given.get('seen'))
    ahead = 0.0 if told is None else told - seen
    started = _float(given.get('started'))
    slots, busy = _count(given.get('concurrency')), _count(given.get('busy'))
    tasks = given.get('running')
    lag, claimed = _float(given.get('lag')), _float(given.get('claimed'))
    hanging = _count(given.get('hanging'))
    state = given.get('state')
    state = state if state in ('new', 'running', 'stopping', 'stopped') else 'running'
    why = trouble
    if not lives:
        state = 'lost'
        gone = f'silent for {now - seen:.0f} s, without a goodbye'
        why = f'{gone}; {trouble}' if trouble else gone
    elif state == 'running' and (stuck := _stuck(now - seen, interval, slots, busy, hanging, lag, claimed, ready)):
        state, why = 'stuck', stuck
    return WorkerView(
        name=text_of(name), queue=queue, state=state,
        host=_text(given.get('host')), pid=_count(given.get('pid')), version=_text(given.get('version')),
        started=None if started is None else started - ahead, seen=seen, interval=interval,
        queues=_texts(given.get('queues')), functions=_texts(given.get('functions')), concurrency=slots, busy=busy,
        running=tuple(_running(task, ahead) for task in tasks if isinstance(task, dict))
        if isinstance(tasks, list) else (),
        succeeded=_count(given.get('succeeded')), failed=_count(given.get('failed')), dead=_count(given.get('dead')),
        lost=_count(given.get('lost')), hanging=hanging, lag=lag, claimed=claimed,
        rss=_count(given.get('rss')) or None, why=why, functions_cut=given.get('functions_cut') is True,
    )  # fmt: skip


def _stuck(
    silent: float, interval: float, slots: int, busy: int, hanging: int, lag: float | None, claimed: float | None,
    ready: int,
) -> str | None:  # fmt: skip
    """Why a worker that lives is stuck; None where it is not."""
    if lag is not None and lag >= LAG:
        return f'its event loop stood still for {lag:.0f} s'
    if interval and silent >= max(LATE, 2 * interval):
        return f'its last beat is {silent:.0f} s old, and one is due each {interval:g} s'
    if slots and hanging >= slots:
        return f'all its {slots} places are taken by threads that hang'
    if claimed is not None and claimed >= UNCLAIMED and ready and busy < slots:
        free = f'{slots - busy} of its {slots} places are free, {ready} tasks are ready'
        return f'{free}, and it has claimed none for {claimed:.0f} s'
    return None


def _read_health(text: bytes | None) -> tuple[dict[str, Any], bool]:
    """What a health has in it, and whether it is none."""
    try:
        fields = json.loads(text or b'')
    except (ValueError, RecursionError):
        return {}, True
    return (fields, False) if isinstance(fields, dict) else ({}, True)


def _running(task: dict[str, Any], ahead: float) -> RunningView:
    group, since = task.get('group'), _float(task.get('since'))
    return RunningView(
        id=_text(task.get('id')), queue=_text(task.get('queue')), name=_text(task.get('name')),
        group=group if isinstance(group, str) else None, attempt=_count(task.get('attempt')),
        since=0.0 if since is None else since - ahead,
    )  # fmt: skip


def _number(text: bytes | None) -> float | None:
    """A number as a text has it, if it is one that can be believed."""
    try:
        return None if text is None else _float(float(text))
    except ValueError:
        return None


def _scaled(text: bytes | None) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e18 < value < 1e18:
        return None
    return float(value)


def _count(value: Any) -> int:
    number = _float(value)
    return 0 if number is None or number < 0 or not math.isfinite(number) else int(number)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ''


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
