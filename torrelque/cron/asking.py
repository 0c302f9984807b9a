"""The only place that sends the layer's own scripts, over the queue object's connection."""

import functools
import importlib.resources
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from torrelque import TorrelqueQueue

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Time(NamedTuple):
    """What time it is for the schedules of a queue: the server's, but in a test that has moved a clock."""

    now: datetime
    """The time by which calendars are asked."""
    moved: timedelta
    """By how much what is stored is earlier than what the calendar says."""

    def stored(self, instant: datetime) -> float:
        """An instant of a calendar as it is stored: a Unix time (s) of whole milliseconds."""
        return (instant - self.moved - EPOCH) // timedelta(milliseconds=1) / 1000

    def phase(self, phase: float, every: float | None) -> float:
        """By how much (s) what is stored of a period is later than its multiples."""
        moved = self.moved // timedelta(milliseconds=1)
        return (round(phase * 1000) - moved) % round(every * 1000) / 1000 if every and moved else phase

    def instant(self, stored: float) -> datetime:
        """The instant of a calendar that is stored so."""
        return EPOCH + timedelta(milliseconds=round(stored * 1000)) + self.moved


async def ask_time(queue: TorrelqueQueue) -> Time:
    """What time it is for the schedules of a queue.

    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    now, moved = await _run(queue, 'now')
    return Time(EPOCH + timedelta(milliseconds=now + moved), timedelta(milliseconds=moved))


async def look_declared(
    queue: TorrelqueQueue, app: str, process: str, revision: int | None, start: bytes, done: bytes | None = None
) -> tuple[str, bytes, bytes]:
    """Look whether the schedules of an app are as a process has declared them, or, when that is done, note that they
    are.

    :param start: when the process has begun, as this has told it at the beginning; at the beginning it is empty.
    :param done: the note that was there before what is done; None is to look.
    :return: the word of the script, when the process has begun, and the note.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    act = ('look', b'') if done is None else ('done', done)
    words = app, process, '' if revision is None else revision, start, *act
    word, since, note = await _run(queue, 'declare', *words)
    return word.decode(), since, note


async def look_for_low(
    queue: TorrelqueQueue, start: bytes, count: int, enough: int, few: int, span: timedelta
) -> tuple[bytes, list[str]]:
    """Which lists of instants run low, or are used up, among some of the schedules of a queue.

    :param start: where to go on; at the beginning, and at the end, ``b'0'``.
    :param count: how many schedules are looked at, about.
    :param enough: so many instants are always enough; less than ``few`` never are, and in between the list is to last
        for a span.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    start, *names = await _run(queue, 'low', start, count, enough, few, span // timedelta(milliseconds=1))
    return start, [name.decode('utf-8', 'surrogateescape') for name in names]


async def read_times(queue: TorrelqueQueue, name: str) -> list[float]:
    """All instants of a schedule that are stored, as they are stored.  Those that are none, because they were changed
    by hand, are 0.

    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    await queue.ready()
    home = queue.home
    found = await home.command('LRANGE', f'{home.keys["times"]}:{name}', 0, -1)
    return [int(instant) / 1000 if instant.isdigit() else 0.0 for instant in found]


@functools.cache
def _load(name: str) -> str:
    text = (importlib.resources.files('torrelque.cron') / 'script' / f'{name}.lua').read_text('utf-8')
    return ''.join(line for line in text.splitlines(True) if not line.startswith('--'))


async def _run(queue: TorrelqueQueue, name: str, *args: str | bytes | float) -> Any:
    # These are short, and sent once in a while: they need no digest.
    await queue.ready()
    home = queue.home
    keys = home.keys['pending'].encode(), home.keys['never'].encode()
    return await home.command('EVAL', _load(name), 2, *keys, *args)
