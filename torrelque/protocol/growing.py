"""What is done at one shard while groups and ids come to new ones, as generators like those of `steps`.

Each step may be repeated, by anybody and at any time; `torrelque.sharded` says in which order they are done.
"""

from collections.abc import Sequence

from .calls import Calls
from .replies import read_left, text
from .steps import Steps
from .transition import Arg
from .words import read_words

GROUPS, WAITING, AWAY, TASKS, KEPT = 'groups', 'waiting', 'away', 'tasks', 'kept'
"""Places that `left` looks at."""


def fence(calls: Calls, keyed: int, number: int) -> Steps[None]:
    """Have whoever goes by fewer shards refused."""
    yield 'fence', calls.fence(keyed, number)


def shut(calls: Calls) -> Steps[None]:
    """Have no group handed out, unless that has begun already."""
    yield 'shut', calls.shut()


def open_groups(calls: Calls) -> Steps[None]:
    """Have groups handed out, and those looked at that wait."""
    cursor: Arg = b'0'
    while True:
        cursor = yield 'open', calls.open(cursor)
        if cursor == b'0':
            return


def read_inherited(calls: Calls) -> Steps[list[tuple[str, Arg, Arg, Arg]]]:
    """Of each group that has limits of its own or is paused: its name, limits, '1' where it is paused, its probe."""
    limits: dict[bytes, bytes] = {}
    probes: dict[bytes, bytes] = {}
    paused: set[bytes] = set()
    cursor: Arg = b'0'
    while True:
        cursor, page = yield None, ['HSCAN', calls.keys['limits'], cursor, 'COUNT', str(calls.bounds.bulk)]
        words = read_words(page)
        limits.update(zip(words[::2], words[1::2], strict=True))
        if cursor == b'0':
            break
    while True:
        cursor, page = yield None, ['SSCAN', calls.keys['paused'], cursor, 'COUNT', str(calls.bounds.bulk)]
        paused.update(read_words(page))
        if cursor == b'0':
            break
    while True:
        cursor, page = yield None, ['HSCAN', calls.keys['probes'], cursor, 'COUNT', str(calls.bounds.bulk)]
        words = read_words(page)
        probes.update(zip(words[::2], words[1::2], strict=True))
        if cursor == b'0':
            break
    names = {*limits, *paused} - {b'', b'\xff'}
    found: list[tuple[str, Arg, Arg, Arg]] = []
    for name in sorted(names):
        is_paused = name in paused
        found.append((text(name), limits.get(name, b''), '1' if is_paused else '', probes.get(name, b'')))
    return found


def inherit(calls: Calls, items: Sequence[tuple[str, Arg, Arg, Arg]]) -> Steps[None]:
    """Take over limits and pauses of groups; these are all that come."""
    most = calls.bounds.grouped_tasks
    for start in range(0, len(items) or 1, most):
        words = [word for item in items[start : start + most] for word in item]
        yield 'inherit', calls.inherit(words, start + most >= len(items))


def take_delayed(calls: Calls) -> Steps[None]:
    """Take tasks out whose first delay has not ended, and whose group is in another shard by now."""
    cursor: Arg = b'0'
    while True:
        cursor, page = yield None, ['ZSCAN', calls.keys['delayed'], cursor, 'COUNT', str(calls.bounds.grouped_tasks)]
        ids = read_words(page)[::2]
        # A small key gives all of it at once.
        for start in range(0, len(ids), calls.bounds.grouped_tasks):
            yield 'take', calls.take(ids[start : start + calls.bounds.grouped_tasks])
        if cursor == b'0':
            return


def read_stage(calls: Calls) -> Steps[list[bytes]]:
    """Some of the tasks that were taken out, id and what is known of it by turns; none where there is none."""
    cursor: Arg = b'0'
    while True:
        cursor, page = yield None, ['HSCAN', calls.keys['stage'], cursor, 'COUNT', str(calls.bounds.grouped_tasks)]
        words = read_words(page)
        if words or cursor == b'0':
            return words[: 2 * calls.bounds.grouped_tasks]


def put(calls: Calls, words: Sequence[Arg]) -> Steps[None]:
    """Put tasks in that were taken out elsewhere."""
    yield 'put', calls.put(words)


def strike(calls: Calls, task_ids: Sequence[Arg]) -> Steps[None]:
    """Strike tasks from the stage that were put elsewhere."""
    yield None, ['HDEL', calls.keys['stage'], *task_ids]


def left(calls: Calls, place: str) -> Steps[list[str]]:
    """Groups, or ids, of other shards that are in a place here, some of them at the most."""
    cursor: Arg = b'0'
    while True:
        cursor, found = read_left((yield 'left', calls.left(place, cursor)))
        if found or cursor == b'0':
            return found
