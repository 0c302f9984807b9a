"""The filters: which tasks a list, or an act, is about.  They are the same for all commands.

A command adds them with `add_filters`, and has what they say from `selection_of`.
"""

import argparse
import dataclasses
import datetime
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .amounts import read_iso
from .failure import Failure
from .options import count, seconds

if TYPE_CHECKING:
    from torrelque.operate import Selection

    from .session import Session

STATUSES = ('pending', 'working', 'delayed', 'dead', 'waiting', 'ready', 'orphaned')
"""Places that a filter may name."""

LOOKED_AT = 10_000
"""The newest dead tasks, and delayed ones, among whose errors one is looked for."""

_BEGINNING = re.compile('[0-9a-f]{4,7}')
"""What may be the beginning of a fingerprint."""

TIMES = ('--older', '--newer', '--at', '--from', '--until')
"""Options whose value may begin with a minus, as an instant: ``-2h`` is two hours ago."""


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which tasks are meant."""
    group = parser.add_argument_group('which tasks; all that is given must hold')
    group.add_argument('--status', metavar='PLACE', choices=STATUSES, help='where they are: ' + ', '.join(STATUSES))
    group.add_argument('--function', metavar='NAME',
        help="the decorated function; * and ? as in names of files, [*] and [?] for themselves; '' is tasks that call "
        'none')  # fmt: skip
    group.add_argument('--group', metavar='NAME', help="the group, likewise; '' is tasks without one")
    group.add_argument('--error', metavar='TEXT',
        help='an error of torrelque errors, or the first four digits of it or more; or a text that the error '
        'has')  # fmt: skip
    group.add_argument('--text', metavar='TEXT', help='a text that the payload has')
    group.add_argument('--older', metavar='TIME', type=moment,
        help='in their place for longer than 90s, 5m, 2h, 3d, or since before an instant: 2026-11-29T14:00, '
        '-2h')  # fmt: skip
    group.add_argument('--newer', metavar='TIME', type=moment, help='the contrary')
    group.add_argument('--attempts', metavar='N', type=count, help='handed out so often, or more')


def selection_of(found: argparse.Namespace, ids: Iterable[str] | None = None) -> 'Selection':
    """What the filters, and maybe ids, say together.

    :param found: what the parser has found.
    :param ids: these tasks only; none is: no task is named.
    """
    from torrelque.operate import Selection

    named = [*(ids or ())]
    return Selection(
        status=found.status, function=found.function, group=found.group, error=found.error, text=found.text,
        older=_in_zone(found.older, found.utc), newer=_in_zone(found.newer, found.utc), attempts=found.attempts,
        ids=named or None,
    )  # fmt: skip


async def settle(session: 'Session', selection: 'Selection') -> 'Selection':
    """A selection in which the beginning of a fingerprint is the whole one, if there is one; else it is a text, and
    that is told.

    :raises Failure: several fingerprints begin so.
    """
    begin = selection.error or ''
    if _BEGINNING.fullmatch(begin) is None:
        return selection
    kinds = {
        kind.fingerprint: kind for queue in session.queues
        for kind in await session.operator.errors(most=LOOKED_AT, queue=queue.name)
        if kind.fingerprint.startswith(begin)
    }  # fmt: skip
    if len(kinds) > 1:
        told = ', '.join(f'{kind.fingerprint} ({kind.what})' for kind in kinds.values())
        raise Failure(f'--error {begin} is the beginning of {len(kinds)} errors: {told}; give more digits')
    if not kinds:
        looked = f'torrelque errors --most {LOOKED_AT}'
        session.out.tell(f"no error of '{looked}' begins with {begin}, so it is taken as a text that the error has")
        return selection
    return dataclasses.replace(selection, error=next(iter(kinds)))


def is_filtered(found: argparse.Namespace) -> bool:
    """Whether any filter is given but where the tasks are."""
    given = (found.function, found.group, found.error, found.text, found.older, found.newer, found.attempts)
    return any(value is not None for value in given)


def moment(text: str) -> float | datetime.datetime:
    """A time (s), or an instant: ``5m``; ``-5m``, which is as long ago; ``2026-11-29T14:00``, with a zone or without.

    :raises argparse.ArgumentTypeError: it is neither.
    """
    given = text.strip()
    try:
        return seconds(given.removeprefix('-'))
    except argparse.ArgumentTypeError:
        pass
    try:
        return read_iso(given)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no time, such as 90s, 5m, 2h or 3d, and no instant, such as 2026-11-29T14:00 or -2h'
        ) from None


def in_zone(given: datetime.datetime, utc: bool) -> datetime.datetime:
    """An instant; one without a zone is of the zone that instants are shown in.

    :raises Failure: the machine does not know what its zone was then.
    """
    if given.tzinfo is not None:
        return given
    try:
        return given.replace(tzinfo=datetime.timezone.utc) if utc else given.astimezone()
    except (ValueError, OverflowError):
        raise Failure(f'{given.isoformat()} is no instant of which this machine knows the zone; --utc') from None


def _in_zone(given: float | datetime.datetime | None, utc: bool) -> float | datetime.datetime | None:
    return in_zone(given, utc) if isinstance(given, datetime.datetime) else given
