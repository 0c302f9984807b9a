"""What the demo has of the past: records of minutes and hours, as hearts write them, and acts.

There was no past, so it is made up: a shop that sleeps at night and is quiet at weekends; a server of mails that hung
up for half an hour; films that nobody took for some minutes.  It is written once, at the beginning, and hearts add to
it.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque import TorrelqueQueue
from torrelque.protocol.keys import BUCKETS

MINUTES, HOURS = 8 * 60, 14 * 24
"""Records that are written."""
SPREAD = 0.7
"""By how much run times differ: the standard deviation of their logarithm."""
WORST = 170, 200
"""Minutes ago, the server of mails hung up: from the later to the earlier."""
GAP = 300, 312
"""Minutes ago, no worker took films."""
LOST = 220, 227
"""Hours ago, likewise."""


class Habit(NamedTuple):
    """How a function was called."""

    name: str
    often: float
    """Calls of a minute, now."""
    took: float
    """s, the median."""
    failed: float = 0.0
    """Which part of its attempts failed; a third of these were the last ones."""


class Past(NamedTuple):
    """How a queue was."""

    habits: tuple[Habit, ...]
    workers: int
    slots: int
    waits: float
    """For how long (s) tasks waited, the median."""


PASTS = {
    'mail': Past((
        Habit('shop.mail.send_receipt', 74, 0.12, 0.02), Habit('shop.mail.send_newsletter', 45, 0.3, 0.02),
        Habit('shop.mail.send_password_reset', 10, 0.05), Habit('shop.mail.remind_of_cart', 6, 0.2),
        Habit('shop.mail.collect_bounces', 4, 0.3),
    ), 2, 12, 0.04),
    'report': Past((
        Habit('shop.report.export_csv', 16, 1.4, 0.03), Habit('shop.report.extract', 5, 6.0),
        Habit('shop.report.clean', 5, 9.0), Habit('shop.report.audit', 5, 1.0, 0.01),
        Habit('shop.report.load', 5, 4.0), Habit('shop.report.refresh_rates', 0.2, 0.4, 0.1),
    ), 3, 15, 0.4),
    'media': Past((
        Habit('shop.media.make_thumbnail', 41, 0.25), Habit('shop.media.transcode', 15, 4.5, 0.03),
        Habit('shop.media.probe', 3, 1.0), Habit('shop.media.publish', 3, 1.0),
        Habit('shop.media.render_film', 0.4, 240.0),
    ), 2, 12, 1.5),
}  # fmt: skip

ACTS = (
    (0.4, 'mail', 'anna', 'pause', 'group initech', 0),
    (0.6, 'media', 'anna', 'limit', 'group globex: concurrency 2', 0),
    (2.7, 'mail', 'anna', 'resume', 'the queue', 0),
    (2.75, 'mail', 'anna', 'redrive', '--error 4c463ade', 412),
    (3.2, 'mail', 'anna', 'pause', 'the queue', 0),
    (5.0, 'media', 'tom@media-1', 'sweep', '', 3),
    (26.0, 'report', 'bela', 'cancel', '--group wayne', 37),
    (27.5, 'report', 'bela', 'limit', 'all groups: concurrency 4', 0),
    (51.0, 'report', 'deploy@ci', 'resume', 'the queue', 0),
    (51.2, 'report', 'deploy@ci', 'pause', 'the queue', 0),
    (99.0, 'media', 'carla', 'redrive', '--function shop.media.transcode', 58),
    (146.0, 'mail', 'carla', 'bury', '9f2c6f0e', 1),
    (240.0, 'mail', 'bela', 'limit', 'group hooli: rate 20/m', 0),
)
"""Hours ago, queue, who, what they did, on what, to how many tasks; the latest first."""

_ENCODE = json.JSONEncoder(separators=(',', ':')).encode

Fields = dict[str, list[float]]
Shares = Sequence[tuple[int, float]]


async def write_past(queues: Iterable[TorrelqueQueue], client: Any, seed: int) -> None:
    """Write the past of queues, by one pipeline of a client of their server."""
    pipe = client.pipeline(transaction=False)
    now, chance = time.time(), random.Random(seed)
    for queue in queues:
        for key, fields in _records_of(PASTS[queue.name], queue.name, now, chance):
            short, colon, number = key.partition(':')
            name = queue.keys[short] + colon + number
            # Nothing of it expires, because the server ends with the demo.
            pipe.hset(name, mapping={field: _ENCODE(numbers) for field, numbers in fields.items()})
        pipe.rpush(queue.keys['acts'], *_acts_of(queue.name, now))
        await pipe.execute()


def _acts_of(queue: str, now: float) -> list[str]:
    found = []
    for place, (hours, name, who, act, what, count) in enumerate(ACTS):
        if name == queue:
            about = {'id': f'demo-{place}', 'time': now - hours * 3600, 'who': who, 'act': act, 'what': what}
            found.append(json.dumps({**about, 'count': count}))
    return found


# Records


def _records_of(past: Past, queue: str, now: float, chance: random.Random) -> Iterable[tuple[str, Fields]]:
    """All that is written, by short key.  Hours are the sums of their minutes, as far as there are minutes."""
    shares = {habit.name: _shares(habit.took) for habit in past.habits}
    # Waits differ from one time to another.
    waits = [_shares(past.waits * factor) for factor in (0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6)]
    minute, hour = int(now // 60), int(now // 3600)
    hours: dict[int, Fields] = {}
    totals: Fields = {}
    begin = (minute - MINUTES) // 60 + 1
    for ago in range(MINUTES, 0, -1):
        fields = _fields(past, shares, waits, _Time(queue, now, 60.0 * ago), 1, chance)
        if fields:
            yield f'minute:{minute - ago}', {name: _of_minute(name, numbers) for name, numbers in fields.items()}
            if (minute - ago) // 60 >= begin:
                _add(hours.setdefault((minute - ago) // 60, {}), fields)
    for number in range(hour - HOURS, begin):
        fields = _fields(past, shares, waits, _Time(queue, now, now - 3600.0 * number - 1800), 60, chance)
        if fields:
            hours[number] = fields
    for number, fields in hours.items():
        yield f'hour:{number}', fields
        _add(totals, {name: numbers for name, numbers in fields.items() if name != '*sizes'})
    yield 'totals', totals


def _of_minute(name: str, numbers: list[float]) -> list[float]:
    # Minutes have no buckets by function.
    return numbers[:5] if name[0] == '=' else numbers


def _add(fields: Fields, more: Fields) -> None:
    """Add up; of sizes the most counts."""
    for name, numbers in more.items():
        choose: Callable[[float, float], float] = max if name == '*sizes' else float.__add__
        known = fields.get(name)
        fields[name] = list(numbers) if known is None else [*map(choose, map(float, known), map(float, numbers))]


class _Time:
    """An instant of the past of a queue, and how it was then."""

    def __init__(self, queue: str, now: float, ago: float) -> None:
        self.load = _load_at(queue, now - ago) / _load_at(queue, now)
        """How much happened, as a multiple of what happens now, so that one goes on where the other ends."""
        minutes = ago / 60
        self.bad = queue == 'mail' and WORST[0] <= minutes <= WORST[1]
        """Whether the server of mails hung up."""
        self.gone = queue == 'media' and (
            GAP[0] <= minutes <= GAP[1] or LOST[0] <= minutes / 60 <= LOST[1]
        )
        """Whether nobody worked, so that there is no record."""
        self.jam = max(0.0, 1 - abs(minutes - WORST[0]) / 30) if queue == 'mail' else 0.0
        """How much was still to be done of what had failed."""


def _load_at(queue: str, instant: float) -> float:
    """How much there is to do at an instant, by the clock of this machine: 1 at noon of a working day."""
    at = time.localtime(instant)
    hour = at.tm_hour + at.tm_min / 60
    day = 0.35 + 0.65 * max(0.0, math.sin((hour - 6) / 16 * math.pi))
    # What the books want is made at night.
    peak = 1.6 if queue == 'report' and 1.5 <= hour < 3.5 else 0.0
    return (day + peak) * (0.55 if at.tm_wday > 4 else 1.0)


def _fields(
    past: Past, shares: Mapping[str, Shares], waits: Sequence[Shares], at: _Time, minutes: int,
    chance: random.Random,
) -> Fields:  # fmt: skip
    """A record of so many minutes; nothing where nobody worked."""
    if at.gone:
        return {}
    fields: Fields = {}
    run = [0.0] * (len(BUCKETS) + 1)
    calls = 0.0
    for habit in past.habits:
        mean = habit.often * at.load * minutes
        ran = max(0, round(chance.gauss(mean, math.sqrt(mean) + 0.05 * mean)))
        if not ran:
            continue
        failed = min(ran, int(ran * (0.4 if at.bad and habit.took < 1 else habit.failed) + chance.random()))
        ms = round(1000 * ran * habit.took * math.exp(SPREAD**2 / 2) * chance.uniform(0.92, 1.08))
        buckets = _parted(ran, shares[habit.name])
        fields[f'={habit.name}'] = [ran - failed, failed, (failed + 1) // 3, 0, ms, *buckets]
        run = [one + more for one, more in zip(run, [*buckets, ms], strict=True)]
        calls += ran
    # Of the waits some were looked at only.
    slow = 1 + 400 * at.jam
    samples = round(min(calls, 40.0 * minutes))
    buckets = _parted(samples, _shares(past.waits * slow) if at.jam else chance.choice(waits))
    fields['*run'] = run
    fields['*wait'] = [*buckets, round(1000 * samples * past.waits * slow * math.exp(SPREAD**2 / 2))]
    fields['*sizes'] = _sizes(past, at, calls / minutes, chance)
    return fields


def _sizes(past: Past, at: _Time, calls: float, chance: random.Random) -> list[float]:
    busy = min(past.slots, round(past.slots * 0.3 * at.load * chance.uniform(0.6, 1.4)))
    pending = round(calls / 60 * past.waits * 5 + chance.uniform(0, 14) + 900 * at.jam)
    oldest = round(1000 * (past.waits * chance.uniform(3, 9) + 540 * at.jam))
    delayed = round(20 * at.load * chance.uniform(0.8, 1.2) + 120 * at.jam)
    return [pending, busy, delayed, round(30 + 380 * at.jam), oldest, past.workers, past.slots, busy]


def _shares(median: float) -> Shares:
    """Where times with this median are: buckets in which there are some, and which part is in these and all below."""
    below = [0.5 * (1 + math.erf(math.log(bound / median) / SPREAD / math.sqrt(2))) for bound in BUCKETS]
    last = next(place for place, part in enumerate(below) if part > 0.995)
    return [(place, part if place < last else 1.0) for place, part in enumerate(below[: last + 1]) if part > 0.001]


def _parted(count: int, shares: Shares) -> list[float]:
    """So many in buckets, by their shares: none is lost."""
    found = [0.0] * len(BUCKETS)
    given = 0
    for place, part in shares:
        upto = round(count * part)
        found[place] = upto - given
        given = upto
    return found
