"""What hearts have counted: minutes for 8 hours, hours for 14 days, totals by function.

Run times are counted in buckets, of which only the bounds are known.  So a percentile is read off as if the times were
spread evenly in their bucket: it is as exact as its bucket is wide.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from torrelque import TorrelqueQueue
from torrelque.protocol.keys import BUCKETS

from .asking import ask
from .measures import Counts, FunctionCounts
from .values import FunctionView, Record, Sizes, Totals

__all__ = ['percentile', 'read_functions', 'read_history']

MINUTE, HOUR = 60.0, 3600.0
MINUTES, HOURS = 8 * HOUR, 14 * 24 * HOUR
"""For how long (s) records of a minute and of an hour are kept."""
PAGE = 25
"""Records that one call reads: 1.5 ms of the server where each has 50 functions."""
MOST = 1e15
"""What a number of a record is below, if it is to be believed."""

Fields = Mapping[bytes, bytes]


async def read_history(queue: TorrelqueQueue, length: float) -> list[Record]:
    """Records of so many seconds, the oldest first: minutes up to 8 hours, else hours.

    The record of this minute, or hour, is the last.  A time in which nothing was written has no record.
    """
    kind, one = ('minute', MINUTE) if length <= MINUTES else ('hour', HOUR)
    found = await _read(queue, kind, int(-(-length // one)) + 1)
    return [_record(queue.name, number * one, one, fields) for number, fields in found]


async def read_functions(
    queue: TorrelqueQueue, since: float | None, minutes: Sequence[Record] | None = None
) -> list[FunctionView]:
    """Functions over the last seconds, or since the totals began; those that ran most often first.

    Up to 8 hours the counts are those of whole minutes, and run times by bucket those of whole hours, which minutes do
    not have by function.

    :param minutes: the records of these minutes, where they were read already.
    """
    if since is None:
        _, _, (_, flat) = await ask(queue, 'records', 'totals', 1, '', 1)
        hours = [_pairs(flat)]
    else:
        hours = [fields for _, fields in await _read(queue, 'hour', int(-(-since // HOUR)) + 1)]
        if since <= MINUTES and minutes is None:
            minutes = await read_history(queue, since)
    whole = _sum(hours, 5 + len(BUCKETS))
    by_name = {name: _totals(numbers) for name, numbers in whole.items()} if minutes is None else _add(minutes)
    views = []
    for name, totals in by_name.items():
        buckets = [int(number) for number in whole[name][5:]] if name in whole else []
        ran = sum(buckets) if minutes is None else totals.succeeded + totals.failed
        mean = totals.run_time / ran if ran and totals.run_time else None
        views.append(
            FunctionView(queue.name, name, totals, mean, percentile(buckets, 0.5), percentile(buckets, 0.95))
        )
    return sorted(views, key=lambda view: (-view.totals.succeeded - view.totals.failed, view.name))


async def read_counts(queue: TorrelqueQueue) -> Counts:
    """All that was counted since the totals began, in one call.  What has not changed since the last one is not read
    anew."""
    _, _, (_, flat) = await ask(queue, 'records', 'totals', 1, '', 1)
    fields, before = _pairs(flat), _counted.get(queue, {})
    changed = {name: text for name, text in fields.items() if name not in before or before[name][0] != text}
    anew = {
        name.encode('utf-8', 'surrogateescape'): FunctionCounts(name, _totals(row), tuple(map(int, row[5:])))
        for name, row in _rows(changed, 5 + len(BUCKETS)).items()
    }
    counted = _counted[queue] = {
        name: (text, anew[name[1:]]) if name in changed else before[name]
        for name, text in sorted(fields.items()) if name[:1] == b'='
    }  # fmt: skip
    wait = _numbers(fields.get(b'*wait'), 1 + len(BUCKETS))
    functions = tuple(function for _, function in counted.values())
    return Counts(queue.name, functions, tuple(map(int, wait[:-1])), wait[-1] / 1000)


# Of a queue object, by field of its totals: the text, and what it came to.
_counted: WeakKeyDictionary[TorrelqueQueue, dict[bytes, tuple[bytes, FunctionCounts]]] = WeakKeyDictionary()


def percentile(buckets: Sequence[int], part: float) -> float | None:
    """Below what time (s) this part of the runs has been, 0.5 for the median; None where nothing ran.

    It lies in the bucket that the run at this place is in, between the bounds by how many of the bucket's runs are
    before it.  In the last bucket, which has no upper bound, it is the lower one: so long, or longer.
    """
    whole = sum(buckets)
    if not whole:
        return None
    wanted, before, lower = part * whole, 0, 0.0
    for count, upper in zip(buckets, BUCKETS, strict=True):
        if count and before + count >= wanted:
            if upper == float('inf'):
                return lower
            return lower + (upper - lower) * (wanted - before) / count
        before, lower = before + count, upper
    return lower


# Parts


async def _read(queue: TorrelqueQueue, kind: str, count: int) -> list[tuple[int, dict[bytes, bytes]]]:
    """The last so many records that are there, by their numbers."""
    found: list[tuple[int, dict[bytes, bytes]]] = []
    first, end = '', None
    while True:
        # The server says which the first one is, by its own clock.
        _, start, *records = await ask(queue, 'records', kind, count, first, PAGE)
        end = start + count if end is None else end
        found += [(number, _pairs(flat)) for number, flat in records]
        if start + PAGE >= end:
            return found
        first = str(start + PAGE)


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _record(queue: str, start: float, length: float, fields: Fields) -> Record:
    functions = _rows(fields, 5)
    run, wait = _numbers(fields.get(b'*run'), 17), _numbers(fields.get(b'*wait'), 17)
    return Record(
        queue, start, length,
        tuple(sorted(((name, _totals(numbers)) for name, numbers in functions.items()), key=lambda pair: pair[0])),
        tuple(int(number) for number in run[:16]), tuple(int(number) for number in wait[:16]), wait[16] / 1000,
        _sizes(fields.get(b'*sizes')),
    )  # fmt: skip


def _sizes(text: bytes | None) -> Sizes | None:
    numbers = _list(text, 8, 8)
    if numbers is None:
        return None
    pending, working, delayed, dead, oldest, workers, slots, busy = numbers
    return Sizes(
        int(pending), int(working), int(delayed), int(dead), oldest / 1000, int(workers), int(slots), int(busy)
    )


def _sum(records: Iterable[Fields], width: int) -> dict[str, Sequence[float]]:
    """The numbers of each function, of all records together."""
    found: dict[str, list[Sequence[float]]] = {}
    for fields in records:
        for name, numbers in _rows(fields, width).items():
            found.setdefault(name, []).append(numbers)
    return {name: [*map(sum, zip(*rows, strict=True))] for name, rows in found.items()}


def _add(records: Iterable[Record]) -> dict[str, Totals]:
    """The totals of each function, of all records together."""
    found: dict[str, list[Totals]] = {}
    for record in records:
        for name, one in record.functions:
            found.setdefault(name, []).append(one)
    return {name: Totals.together(several) for name, several in found.items()}


def _totals(numbers: Sequence[float]) -> Totals:
    succeeded, failed, dead, lost, run = numbers[:5]
    return Totals(int(succeeded), int(failed), int(dead), int(lost), run / 1000)


def _rows(fields: Fields, width: int) -> dict[str, Sequence[float]]:
    """The numbers of each function of a record."""
    names = [field for field in fields if field[:1] == b'=']
    # A history has ten thousands of these lists, and those of a record are read at once, if they are as they should be.
    try:
        rows = json.loads(b'[%b]' % b','.join([fields[name] for name in names]))
    except (ValueError, RecursionError):
        rows = []
    if len(rows) != len(names) or not _are_good(rows):
        rows = [_numbers(fields[name], width) for name in names]
    elif {*map(len, rows)} != {width}:
        rows = [[*row[:width], *[0] * (width - len(row))] for row in rows]
    return {name[1:].decode('utf-8', 'surrogateescape'): row for name, row in zip(names, rows, strict=True)}


def _are_good(rows: Sequence[Any]) -> bool:
    """Whether these are lists of numbers, as `_list` would find each of them."""
    if {*map(type, rows)} != {list} or not all(rows):
        return False
    numbers = [*itertools.chain.from_iterable(rows)]
    # Of what is no number, or infinite, the sum is as well; the least of such numbers could be any.
    fine = {*map(type, numbers)} <= {int, float} and math.isfinite(sum(numbers))
    return fine and min(numbers) >= 0 and max(numbers) < MOST


def _numbers(text: bytes | None, width: int) -> list[float]:
    """The first numbers of a list as a field has it, which may leave out the last ones that are 0; zeros where it is no
    such list."""
    return _list(text, width, 1) or [0.0] * width


def _list(text: bytes | None, width: int, least: int) -> list[Any] | None:
    """So many numbers, of a list that has at least some of them; None where it is no such list."""
    # There are thousands of these in a history.
    try:
        found = json.loads((text or b'').decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) < least:
        return None
    numbers = found[:width]
    kinds = {*map(type, numbers)}
    if kinds == {int}:
        good = min(numbers) >= 0 and max(numbers) < MOST
    else:
        good = kinds <= {int, float} and all(0 <= one < MOST for one in numbers)
    return [*numbers, *[0] * (width - len(numbers))] if good else None
