"""What a server may answer: as the scripts do, with something wrong now and then, or anything that RESP2 and RESP3
have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import redis.exceptions

from proof.fuzz.feed import Feed
from torrelque.model import TorrelqueTaskStatus
from torrelque.protocol.replies import STATE_FIELDS
from torrelque.protocol.table import ROWS, WITH_VALUE

DEEP = b'[' * 100_000
"""JSON that no reader goes to the end of."""
NUMERALS = (
    b'0', b'1', b'2', b'-1', b'60000', b'1800000000000', b'1800000000000.25', b'', b' 1', b'1_0', b'+1', b'0x1', b'1e3',
    b'nan', b'inf', b'-inf', b'9' * 25, b'9' * 400, b'9' * 5000, b'1e999', b'\xd9\xa3', b'\xff', b'253402300800000',
)  # fmt: skip
"""Numbers as a hash has them, and what is none."""
INSTANTS = ('enqueue_time', 'last_dequeue_time', 'last_requeue_time', 'release_time', 'ready_time', 'due_time')
VALUES = ('result', 'progress')
TEXTS = ('error', 'group', 'flow', 'queue')


def numeral(feed: Feed) -> bytes:
    """The bytes of a number."""
    return feed.pick(NUMERALS) if feed.flag() else b'%d' % feed.number()


def word(feed: Feed) -> bytes:
    """A text as a server has it: any bytes."""
    return feed.raw(20) if feed.flag() else feed.text(20).encode('utf-8', 'surrogatepass')


def value(feed: Feed) -> bytes:
    """What a serialiser is to read."""
    kind = feed.byte() % 8
    if kind < 4:
        return json.dumps(feed.json(2)).encode()
    return (feed.raw(30), DEEP, b'{"a":1}', b'9' * 5000)[kind - 4]


def history(feed: Feed) -> bytes:
    """Failed attempts, a line each."""
    lines = feed.some(lambda: b' '.join([*(numeral(feed) for _ in range(3)), word(feed)]), 12)
    return b'\n'.join(lines)


def field(feed: Feed, name: str) -> bytes | None:
    """A field of a state hash, or none."""
    kind = feed.byte() % 8
    if kind == 0:
        return None
    if kind == 1:
        return feed.raw(20)
    if name == 'status':
        return b'%d' % feed.pick([*TorrelqueTaskStatus])
    if name == 'history':
        return history(feed)
    if name in VALUES:
        return value(feed)
    if name in TEXTS:
        return word(feed)
    return b'%d' % (1_800_000_000_000 + feed.byte()) if name in INSTANTS and kind > 4 else numeral(feed)


def fields(feed: Feed, names: Sequence[str] = STATE_FIELDS) -> list[bytes | None]:
    """A state: the values of its fields."""
    return [field(feed, name) for name in names]


def anything(feed: Feed, depth: int = 3) -> Any:
    """What a reply may be of: of a proxy at fault, or another make; maps, floats and booleans are of RESP3."""
    leaves: list[Callable[[], Any]] = [
        lambda: None, lambda: feed.pick((b'ok', b'', b'0', b'1')), lambda: word(feed), feed.number, feed.flag,
        lambda: feed.text(10), feed.float, lambda: redis.exceptions.ResponseError('WRONGTYPE of a key'),
    ]  # fmt: skip
    return feed.tree(leaves, depth)


def _outcomes(feed: Feed, name: str) -> Any:
    words = feed.some(lambda: feed.pick(ROWS[name].outcomes).encode(), 4)
    if not words:
        return b'ok'
    return [[one, feed.number() if one == b'full' else word(feed)] if one.decode() in WITH_VALUE else one
            for one in words]  # fmt: skip


def _claim(feed: Feed) -> list[Any]:
    count = feed.below(4)
    tasks: list[Any] = []
    for _ in range(count):
        tasks += [word(feed), value(feed), feed.number(), feed.number()]
    groups: list[Any] = []
    for number in range(1, count + 1):
        if feed.flag():
            groups += [number if feed.flag() else -number, word(feed)]
    wait = None if feed.flag() else feed.number()
    return [b'ok', numeral(feed), wait, feed.below(2), troubles(feed), groups or None, *tasks]


def troubles(feed: Feed) -> list[bytes]:
    """Ids and what was lost of each."""
    return [one for pair in feed.some(lambda: (word(feed), word(feed)), 2) for one in pair]


def _tell(feed: Feed) -> list[Any]:
    def death() -> list[bytes | None]:
        more = [numeral(feed), numeral(feed), value(feed), word(feed), word(feed)]
        return [word(feed), *(one if feed.byte() % 4 else None for one in more)]

    return [b'ok', *(one for death in feed.some(death, 3) for one in death)]


def _sweep(feed: Feed) -> list[Any]:
    numbers = [feed.number() for _ in range(3)]
    low = feed.some(lambda: word(feed), 2)
    return [b'ok', *numbers, feed.below(2), troubles(feed), low, feed.number(), feed.below(2), feed.below(2)]


def limits(feed: Feed) -> bytes | None:
    """Limits of a group as they stand in a hash."""
    if feed.byte() % 4 == 0:
        return None if feed.flag() else value(feed)
    rate = feed.pick((None, 0, [3, 1000], [feed.number(), feed.number()], [float('inf'), 1], [1], 'x'))
    return json.dumps({'concurrency': feed.pick((None, 0, 1, feed.number(), 'x')), 'rate': rate}).encode()


def schedule(feed: Feed) -> list[Any]:
    """What is told of one schedule."""
    options = {'timeout': feed.number(), 'group': feed.word(), 'priority': feed.number()}
    pairs: dict[bytes, bytes] = {
        b'options': json.dumps(options).encode() if feed.byte() % 4 else value(feed), b'payload': value(feed),
        b'overlap': b'skip', b'missed': b'latest',
    }  # fmt: skip
    for name in feed.some(lambda: feed.pick(('every', 'phase', 'grace', 'until', 'revision', 'last', 'fired', 'paused',
                                             'source', 'spec', 'last_id', 'skipped', 'overlap', 'missed'))):
        pairs[name.encode()] = value(feed) if name == 'spec' else numeral(feed)
    times = feed.some(lambda: numeral(feed), 3)
    words = [one for pair in pairs.items() for one in pair]
    return [word(feed), numeral(feed), feed.number(), numeral(feed), times, words]


def _errand(feed: Feed) -> list[bytes]:
    what = feed.pick((b'host', b'redrive', b'cancel', b'ended', b'died', b'revived', b'x'))
    return [word(feed), numeral(feed), what, *(word(feed) for _ in range(5))]


MADE: dict[str, Callable[[Feed], Any]] = {
    'claim': _claim,
    'tell': _tell,
    'sweep': _sweep,
    'spread': lambda feed: [b'ok', feed.below(3), feed.below(2)],
    'collect': lambda feed: [b'ok', *(one for errand in feed.some(lambda: _errand(feed), 3) for one in errand)],
    'arrive': lambda feed: [b'ok', feed.below(2), feed.below(2)],
    'carried': lambda feed: [b'ok', None if feed.flag() else feed.number()],
    'fire': lambda feed: [b'ok', feed.below(2), *feed.some(lambda: word(feed), 3)],
    'stats': lambda feed: [b'ok', *(feed.number() for _ in range(5))],
    'group': lambda feed: [b'ok', feed.number(), feed.number(), limits(feed), limits(feed), feed.below(2),
        feed.below(2)],
    'schedules': lambda feed: [b'ok', *feed.some(lambda: schedule(feed), 2)],
    'open': lambda feed: [b'ok', numeral(feed)],
    'left': lambda feed: [numeral(feed), *feed.some(lambda: word(feed), 3)],
    'state': lambda feed: [b'ok', *feed.some(lambda: fields(feed), 2)],
}  # fmt: skip
"""What the scripts answer that have more to say than outcomes."""


def reply(feed: Feed, name: str) -> Any:
    """The reply of a script."""
    kind = feed.byte() % 4
    if kind == 0:
        return anything(feed)
    plain = _outcomes(feed, name) if ROWS[name].outcomes else b'ok'
    made = MADE[name](feed) if name in MADE else plain
    return spoilt(feed, made) if kind == 1 else made


def spoilt(feed: Feed, made: Any) -> Any:
    """A reply of which something is missing, too much, or something else."""
    if not isinstance(made, list):
        return anything(feed)
    made, at, how = [*made], feed.below(len(made) + 1), feed.byte() % 4
    if how == 0:
        return made[:at]
    if how == 1:
        return [*made[:at], anything(feed), *made[at:]]
    if how == 2 and at < len(made) and isinstance(made[at], list):
        return [*made[:at], spoilt(feed, made[at]), *made[at + 1 :]]
    return [*made[:at], anything(feed), *made[at + 1 :]]


def answer(feed: Feed, words: Sequence[Any]) -> Any:
    """The reply to a command that reads."""
    if feed.byte() % 8 == 0:
        return anything(feed)
    name = words[0]
    if name == 'HMGET':
        asked = [one if isinstance(one, str) else '' for one in words[2:]]
        found = [field(feed, one) if one in STATE_FIELDS else _done(feed, one) for one in asked]
        return found if feed.byte() % 8 else spoilt(feed, found)
    if name in ('HSCAN', 'ZSCAN', 'SSCAN'):
        pairs = [one for pair in feed.some(lambda: (word(feed), feed.pick((b'dead', b'w', limits(feed), word(feed)))),
            3)
                 for one in pair]  # fmt: skip
        return [feed.pick((b'0', b'0', b'7', numeral(feed))), pairs]
    if name in ('EXISTS', 'ZCARD', 'SCARD', 'HLEN'):
        return feed.below(3)
    if name in ('ZRANGE', 'SMEMBERS', 'LRANGE'):
        return feed.some(lambda: word(feed), 3)
    return feed.pick((None, numeral(feed), value(feed), word(feed)))


def _done(feed: Feed, task_id: str) -> bytes | None:
    """How a task of a flow has ended, as its flow has it."""
    kinds = (None, b'', b'=' + value(feed), b'!f why', b'!n', b'!x late', b'!f=' + value(feed), b'!?',
             b'>' + task_id.encode('utf-8', 'surrogatepass') + b'.x', b'>' + word(feed), word(feed))  # fmt: skip
    return feed.pick(kinds)
