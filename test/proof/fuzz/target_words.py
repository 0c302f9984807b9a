"""Words of command lines and files: times, rates, limits, addresses; ids, names of shards, and maps of them."""

from __future__ import annotations

import argparse
import datetime
import json
import math
from collections.abc import Callable
from typing import Any

from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt
from torrelque import TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.cli import amounts as acts, filters, options
from torrelque.config import amounts
from torrelque.protocol import check
from torrelque.protocol.flowing import homes, node_id
from torrelque.protocol.ids import Ids
from torrelque.protocol.keys import make_keys
from torrelque.protocol.routed import Called
from torrelque.sharded import shards

TEXTS = (
    '90', '90s', '1.5m', '2h', '1d', '0', '0s', '-5m', '1e3', '99999999999999999999d', '9' * 400, '1.0000000001',
    '0.0000001s', '5m ',
    ' 5 m', '٣m', '²', '1_0', 'nan', 'inf', '50/s', '50/10s', '5/0.5s', '5/0s', '0/s', '1/1d', '5/123456.789s',
    '1234567.5',
    '999999999.999999/999999999.999999d', 'none', 'default', '127.0.0.1:80', '[::1]:0', ':99999', '[::1', 'localhost',
    ':8080',
    'a:٣', '2026-11-29T14:00', '2026-11-29', '9999-12-31T23:59-23:59', '0001-01-01T00:00+23:59', '24:00', 'z', 'Z',
    '1' * 25,
)  # fmt: skip


def _text(feed: Feed) -> str:
    if feed.flag():
        return feed.pick(TEXTS)
    return ''.join(feed.some(lambda: feed.pick('0123456789.smhd/- :[]T+Zne_'), 12)) if feed.flag() else feed.text(60)


def times(feed: Feed) -> None:
    """What people write for amounts."""
    text = _text(feed)
    found = attempt(lambda: amounts.length(text), ValueError, named=repr(text))
    if not isinstance(found, Refused):
        # What is taken here is what the queue takes, and is written so that it is read as the same.
        assert check.check_seconds(found, 'it') == found
        assert amounts.length(amounts.spell(found)) == found, (text, amounts.spell(found))
    rate = attempt(lambda: amounts.rate_of(text), ValueError)
    if not isinstance(rate, Refused):
        assert amounts.rate_of(amounts.spelt(rate)) == rate, (text, amounts.spelt(rate))
        if isinstance(rate, tuple):
            starts, period = check.check_rate(rate)
            assert starts == rate[0] and period > 0 and math.isfinite(period)
    slots = attempt(lambda: amounts.concurrency(text), ValueError)
    if not isinstance(slots, Refused):
        assert amounts.concurrency(amounts.spelt(slots)) == slots
        assert slots is None or check.is_none(slots) or check.check_count(slots, 'it')  # type: ignore[arg-type]
    number = attempt(lambda: amounts.count(text), ValueError)
    assert isinstance(number, Refused) or 1 <= number < 10**9
    place = attempt(lambda: amounts.place(text), ValueError)
    assert isinstance(place, Refused) or place[0] and 0 <= place[1] < 65536
    instant = attempt(lambda: amounts.instant(text), ValueError)
    assert isinstance(instant, (Refused, datetime.datetime))
    _judge_options(text)
    for value in (feed.json(1), feed.float(), feed.number()):
        for read in (amounts.length, amounts.rate_of, amounts.concurrency_of):
            attempt(lambda read=read, value=value: read(value), ValueError)  # type: ignore[misc]


def _judge_options(text: str) -> None:
    """Options take what the file takes, and say what is wrong by argparse."""
    pace = attempt(lambda: acts.pace(text), argparse.ArgumentTypeError)
    assert isinstance(pace, Refused) or 0 < pace < math.inf, (text, pace)
    reads: tuple[Callable[[str], Any], ...] = (
        acts.instant, acts.rate, acts.concurrency, filters.moment, options.seconds, options.count, options.address,
        options.processes, options.stall, options.names, options.shares,
    )  # fmt: skip
    for read in reads:
        attempt(lambda read=read: read(text), argparse.ArgumentTypeError)  # type: ignore[misc]
    moment = attempt(lambda: filters.moment(text), argparse.ArgumentTypeError)
    if isinstance(moment, float):
        assert moment >= 0 and not math.isnan(moment)


def checks(feed: Feed) -> None:
    """Values of callers, of any kind."""
    kinds = (TorrelqueTypeError, TorrelqueValueError)
    value: Any = feed.pick((feed.json(1), feed.float(), feed.number(), datetime.timedelta(seconds=feed.byte() - 128)))
    length = attempt(lambda: check.milliseconds(value, 'a length'), *kinds, named='a length')
    assert isinstance(length, Refused) or 0 <= length <= check.MAX_SECONDS * 1000
    assert isinstance(length, Refused) or (length > 0) == (check.seconds_of(value) > 0)
    counted = attempt(lambda: check.check_count(value, 'a count'), *kinds, named='a count')
    assert isinstance(counted, Refused) or 1 <= counted < check.MAX_COUNT
    rate = attempt(lambda: check.check_rate(value if feed.flag() else (value, feed.float())), *kinds, named='rate')
    assert isinstance(rate, Refused) or 0 < rate[1] < math.inf
    for read in (check.check_name, check.check_priority, check.check_attempts, check.check_number, check.check_flag):
        more = () if read in (check.check_priority,) else ('it', 0) if read is check.check_number else ('it',)
        attempt(lambda read=read, more=more: read(value, *more), *kinds)  # type: ignore[misc]
    for some in (check.check_ids, check.check_depends_on, check.check_error):
        attempt(lambda some=some: some(value), *kinds)  # type: ignore[misc]
    attempt(lambda: check.check_statuses(value, 'it'), *kinds, named='it')


# Ids and shards


def _id(feed: Feed) -> str:
    kind = feed.byte() % 4
    if kind == 0:
        return feed.text()
    shard = feed.pick(('000', '001', '011', '191', '999', '٣٣٣', '1', feed.text(4)))
    if kind == 1:
        return f'{feed.pick(("0a" * 14, "0A" * 14, "0" * 27))}.{shard}{feed.pick(("", ".a", ".a.b", chr(10), "x"))}'
    if kind == 2:
        return f'{feed.text()}@{feed.number()}{feed.pick(("", ".0a1b2c3d"))}.flow{feed.pick(("", ".a", "x"))}'
    return feed.pick((f'{{q:{shard}}}', f'{{q:{shard}.{shard}}}', f'{{{feed.text()}:{shard}}}', '{:1}', '{q:1}x'))


def ids(feed: Feed) -> None:
    """Where a task is, by its id; what a shard is called."""
    task_id, count = _id(feed), 1 + feed.below(shards.MOST)
    keyed = 1 + feed.below(count)
    shape = shards.Shape(1, keyed, tuple(f'q:{k}' for k in range(count)), None, feed.pick(({}, {'moved': True},
        {'moving': 1})))
    named = shards.named_in(task_id, count)
    assert named is None or 0 <= named < count
    place = attempt(lambda: shards.of_id(task_id, shape, feed.flag()), TorrelqueValueError, named='task id')
    assert isinstance(place, Refused) or 0 <= place[0] < count and (named is None or place[0] == named)
    if not isinstance(place, Refused):
        before = shards.before(task_id, shape)
        assert before is None or before < keyed and before != place[0]
        assert shards.no_task_in(task_id, count).args[0]
    group = attempt(lambda: shards.of_group(task_id, keyed), TorrelqueValueError, named='group')
    assert isinstance(group, Refused) or 0 <= group < keyed
    number = shards.number_in(task_id)
    assert number is None or number >= 0
    called = Called('q')
    called.is_shard = feed.flag()
    assert called.name_of(task_id)  or not task_id
    for flow in homes(task_id):
        assert task_id.startswith(f'{flow}.') and node_id(flow, task_id[len(flow) + 1 :]) == task_id
    shard = feed.below(count)
    made = Ids(shards.suffix_of(shard)).new()
    assert shards.named_in(made, count) == shard and shards.of_id(made, shape) == (shard, 'moved' not in shape.more)
    name = attempt(lambda: make_keys(task_id), TorrelqueValueError, TorrelqueTypeError)
    if not isinstance(name, Refused):
        assert len({*name.values()}) == len(name)


def maps(feed: Feed) -> None:
    """The map of the shards of a queue."""
    count = 1 + feed.below(6)
    said: dict[str, Any] = {
        'generation': feed.pick((1, 2, feed.json(1))), 'keyed': feed.pick((1, count, feed.json(1))),
        'tags': [f'q:{number}' for number in range(count)] if feed.byte() % 4 else feed.json(2),
    }  # fmt: skip
    for name in feed.some(lambda: feed.pick(('servers', 'server', 'shard', 'before', 'moving', 'moved', 'fresh',
        'closing', 'x')), 4):
        said[name] = feed.pick((1, count, [1, count], True, 0, -1, feed.json(1)))
    text: Any = json.dumps(said).encode() if feed.byte() % 8 else feed.pick((None, feed.raw(), b'[' * 100_000))
    found = attempt(lambda: shards.read_shape(text, 'q'), TorrelqueError, named=("queue 'q'", 'map of the shards'))
    if isinstance(found, Refused):
        return
    shape, place = found
    again, the_same = shards.read_shape(shape.text(**place), 'q')
    assert (again, the_same) == (shape, place) or again != again, (shape, again)
    tags = len(shape.tags)
    assert 1 <= shape.keyed <= tags == len({*shape.tags})
    # Whoever goes by it finds a place for each task.
    for task_id in ('own', f'{"0" * 28}.{tags - 1:03}', 'a@1.flow'):
        shard, _ = shards.of_id(task_id, shape)
        assert 0 <= shard < tags and shape.server_of(shard) >= 0
        before = shards.before(task_id, shape)
        assert before is None or 0 <= before < tags
    for tag in shape.tags:
        assert 0 <= shards.slot_of(tag) < shards.SLOTS
