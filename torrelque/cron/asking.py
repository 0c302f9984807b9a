"""The only place that sends the layer's own scripts, over the queue object's connection."""

import functools
import importlib.resources
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from torrelque import Torrelque

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

    def instant(self, stored: float) -> datetime:
        """The instant of a calendar that is stored so."""
        return EPOCH + timedelta(milliseconds=round(stored * 1000)) + self.moved


async def ask_time(queue: Torrelque) -> Time:
    """What time it is for the schedules of a queue.

    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    now, moved = await _run(queue, 'now')
    return Time(EPOCH + timedelta(milliseconds=now + moved), timedelta(milliseconds=moved))


async def note_declared(queue: Torrelque, app: str, process: str, revision: int | None, begins: bool) -> str:
    """Note that a process has declared the schedules of an app, or look whether that is known: the word of the script.

    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    words = app, process, '' if revision is None else revision, 'begin' if begins else 'look'
    return str((await _run(queue, 'declare', *words)).decode())


@functools.cache
def _load(name: str) -> str:
    text = (importlib.resources.files('torrelque.cron') / 'script' / f'{name}.lua').read_text('utf-8')
    return ''.join(line for line in text.splitlines(True) if not line.startswith('--'))


async def _run(queue: Torrelque, name: str, *args: str | bytes | float) -> Any:
    # These are short, and sent once in a while: they need no digest.
    keys = queue.keys['pending'].encode(), queue.keys['never'].encode()
    return await queue.command('EVAL', _load(name), 2, *keys, *args)
