"""Schedules as an operator sees them, made of what the server has of them, be they whole or not."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from torrelque import TorrelqueLookupError, TorrelqueQueue

from .asking import ask, read
from .reading import bytes_of, instant_of, text_of, whole_of
from .recurring import Schedules, ScheduleView
from .viewing import function_of, load

PART = 100
"""Schedules of one call, about."""
FEW = 25
"""Schedules of one call where nobody waits for all."""
NAMES_AT_ONCE = 1000
"""Names of one call, about, that are looked at for a beginning."""
INSTANTS = 10
"""Instants that are told of each."""
LOOKED_AT = 100
"""Schedules of those that are due, to come, or without an instant, that are looked at for what becomes of all."""
NAMES = 10
"""Names of these that are told."""
WETTING = 'start a worker of an app that has the extra cron, or knows its calendar, or set it again'
"""What has a schedule go on that is dry."""
LONGEST = 10**15
"""A time (ms) that is longer counts as unreadable."""


class Timetable(NamedTuple):
    """What becomes of all schedules of a queue, at one moment; each name as in `Overview`."""

    now: float
    broken: tuple[str, ...]
    """Short names of keys that hold something else."""
    total: int
    late: int
    since: float | None
    late_names: tuple[str, ...]
    dry: int
    dry_names: tuple[str, ...]
    paused: int
    next: float | None
    """When the first fires of those that are neither late nor paused; None where none is known."""
    next_name: str | None
    whole: bool
    """Whether all of them were looked at."""


async def read_timetable(queue: TorrelqueQueue) -> Timetable:
    """What becomes of all schedules of a queue; it takes no longer where there are many."""
    now, broken, total, late, since, late_names, dry, dry_names, paused, following, whose, whole = await ask(
        queue, 'timetable', LOOKED_AT, NAMES
    )
    return Timetable(
        int(now) / 1000, tuple(sorted(map(text_of, broken))), total, late, instant_of(since),
        tuple(map(text_of, late_names)), dry, tuple(map(text_of, dry_names)), paused, instant_of(following),
        None if whose is None else text_of(whose), bool(whole),
    )  # fmt: skip


async def read_schedules(
    queue: TorrelqueQueue, prefix: str, room: int, instants: int = INSTANTS
) -> list[ScheduleView]:
    """The schedules whose names begin with a text; one that is there all the time is there once.

    :param room: bytes of a payload that is told, at the most.
    :param instants: of each that are told, at the most.
    """
    # A call has about as many instants, however many each schedule tells.
    part = max(1, PART * INSTANTS // max(INSTANTS, instants))
    found: dict[str, ScheduleView] = {}
    cursor, seen = b'0', set[bytes]()
    while True:
        stamp, spoilt, cursor, *items = await ask(
            queue, 'schedules', cursor, part, bytes_of(prefix, 'a prefix'), instants, room
        )
        found.update((view.name, view) for view in _views(queue, stamp, spoilt, items, instants))
        # A cursor that comes again would lead around for ever.
        if cursor == b'0' or cursor in seen:
            return [*found.values()]
        seen.add(cursor)


async def read_some(queue: TorrelqueQueue, prefix: str, skip: int, most: int, room: int) -> Schedules:
    """Some of the schedules whose names begin with a text, those first that fire next; as many of them as there are
    before these are not read.

    :param room: bytes of a payload that is told, at the most.
    """
    names, total = await (_names_with(queue, prefix, skip, most) if prefix else _names(queue, skip, most))
    found: list[ScheduleView] = []
    start, now = 0, 0.0
    while start == 0 or start < len(names):
        stamp, spoilt, _, *items = await ask(queue, 'schedules', '', 1, '', 1, room, *names[start : start + FEW])
        found += _views(queue, stamp, spoilt, items, 1)
        start, now = start + FEW, int(stamp) / 1000
    # One that fires meanwhile has another place than its name had.
    found.sort(key=lambda view: view.order)
    broken = ('schedules',) if total is None else ()
    return Schedules(queue.name, now, tuple(found), skip, total or 0, broken)


async def _names(queue: TorrelqueQueue, skip: int, most: int) -> tuple[list[bytes], int | None]:
    """Names of schedules in their order, and how many there are; None is that their key holds something else."""
    key = queue.keys['schedules']
    return await read(queue, 'ZRANGE', key, skip, skip + most - 1) or [], await read(queue, 'ZCARD', key)


async def _names_with(queue: TorrelqueQueue, prefix: str, skip: int, most: int) -> tuple[list[bytes], int | None]:
    """The same of those that begin with a text: only their names and instants are looked at."""
    pattern = re.sub(rb'[\\*?\[\]]', rb'\\\g<0>', bytes_of(prefix, 'a prefix')) + b'*'
    found: dict[bytes, float] = {}
    cursor, seen = b'0', set[bytes]()
    while cursor not in seen:
        seen.add(cursor)
        words = 'MATCH', pattern, 'COUNT', NAMES_AT_ONCE
        page = await read(queue, 'ZSCAN', queue.keys['schedules'], cursor, *words)
        if page is None:
            return [], None
        cursor, pairs = page
        found.update(zip(pairs[::2], map(float, pairs[1::2]), strict=True))
        if cursor == b'0':
            break
    names = sorted(found, key=lambda name: (found[name], name))
    return names[skip : skip + most], len(names)


async def read_schedule(queue: TorrelqueQueue, name: str, room: int) -> ScheduleView:
    """One schedule.

    :raises TorrelqueLookupError: there is none of this name.
    """
    data = bytes_of(name, 'the name of a schedule')
    stamp, spoilt, _, *items = await ask(queue, 'schedules', '', 1, '', INSTANTS, room, data)
    if not items:
        raise TorrelqueLookupError(f'queue {queue.name!r}: there is no schedule {name!r}')
    return _views(queue, stamp, spoilt, items)[0]


def _views(
    queue: TorrelqueQueue, stamp: Any, spoilt: Sequence[bytes], items: Sequence[Any], instants: int = INSTANTS
) -> list[ScheduleView]:  # fmt: skip
    keys = {text_of(key) for key in spoilt}
    return [_view(queue, int(stamp) / 1000, keys, instants, *item) for item in items]


def _view(
    queue: TorrelqueQueue,
    now: float,
    keys: set[str],
    instants: int,
    word: bytes,
    score: bytes,
    left: int,
    end: bytes | None,
    times: Sequence[bytes],
    size: int,
    raw: bytes | None,
    words: Sequence[bytes],
) -> ScheduleView:
    fields = {key.decode(): value for key, value in zip(words[::2], words[1::2], strict=True)}
    name, following = text_of(word), instant_of(score)
    every, until, task = _seconds(fields.get('every')), instant_of(fields.get('until')), load(queue, raw)
    options, spec = _json(fields.get('options')), _json(fields.get('spec'))
    options = options if isinstance(options, dict) else {}
    broken = _trouble(name, score, size, keys)
    if every:
        ahead = () if following is None else tuple(round(following + k * every, 3) for k in range(instants))
    else:
        ahead = tuple(it for one in times if (it := instant_of(one)) is not None)
    known = tuple(one for one in ahead if until is None or one <= until)
    ends = every or until is not None and (until <= now or left) or spec is None
    idle = None if following is not None else 'over' if ends else 'dry'
    return ScheduleView(
        queue=queue.name,
        name=name,
        server_time=now,
        state='broken' if broken else idle or ('paused' if 'paused' in fields else 'on'),
        function=function_of(task),
        next=following,
        times=known,
        left=None if every else left,
        end=None if every else instant_of(end),
        every=every,
        phase=_seconds(fields.get('phase')) or 0.0,
        overlap=_text(fields.get('overlap')),
        missed=_text(fields.get('missed')),
        grace=_seconds(fields.get('grace')),
        until=until,
        spec=spec,
        source=_text(fields.get('source')),
        revision=whole_of(fields.get('revision')),
        paused='paused' in fields,
        last=instant_of(fields.get('last')),
        last_id=_text(fields.get('last_id')),
        fired=whole_of(fields.get('fired')) or 0,
        skipped=whole_of(fields.get('skipped')) or 0,
        timeout=None if (lease := _whole(options.get('timeout'))) is None else lease / 1000,
        max_attempts=_whole(options.get('max_attempts')),
        group=group if isinstance(group := options.get('group'), str) else None,
        priority=_whole(options.get('priority')) or 0,
        payload=task,
        raw=raw,
        size=None if size < 0 else size,
        broken=broken,
    )


def _trouble(name: str, score: bytes, size: int, keys: set[str]) -> str | None:
    """What is wrong with what the server has of a schedule, in words."""
    spoilt = [key for key in ('schedules', f'schedule:{name}', f'times:{name}') if key in keys]
    if spoilt:
        return f'the key {spoilt[0]} holds something else'
    return 'no payload' if size < 0 else 'it is not in the key schedules, so it never fires' if score == b'' else None


def _seconds(data: bytes | None) -> float | None:
    number = whole_of(data)
    return None if number is None or not 0 <= number <= LONGEST else number / 1000


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) <= LONGEST else None


def _text(data: bytes | None) -> str | None:
    return text_of(data) if data else None


def _json(data: bytes | None) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(data) if data else None
    return None
