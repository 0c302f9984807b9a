"""How groups and ids of callers' own come to new shards, in an order in which whoever does it may die after any step.

A step is something that is done at one shard, or the next map.  Each may be repeated: by anybody, by several at once,
and by one that stood still.  Nothing here waits or sends: the queue for coroutines and the synchronous one take the
steps, each in its way.  `test/proof/growth` is a model of it, with every interleaving.

1. New shards are shut: they take tasks in, and hand none of a group out.
2. The map is written.  Whoever reads it sends to the new shards; others read it late.
3. All shards are fenced: they refuse who goes by the old map, enqueues, limits and pauses alike.
4. New shards are given limits and pauses.
5. Tasks whose first delay has not ended are taken out of the old shards, which keep them on a stage; then they are put
   into the new ones, and struck from the stage.
6. Where an old shard has nothing more of the groups, and nothing on its stage, the new ones are opened.
7. When the old shards know none of the ids any more, the map says so.  Until then they are fenced, and asked, before an
   id is enqueued in its new shard.
"""

import json
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple, TypeVar

from torrelque import TorrelqueError, TorrelqueLimit, TorrelqueTimeoutError, TorrelqueValueError

from . import generations, inside, shards
from .inside import growing
from .shards import MOVING, Shape

T = TypeVar('T')


class At(NamedTuple):
    """Something to be done at a shard; the answer is what it comes to."""

    number: int
    make: inside.Make


class Write(NamedTuple):
    """A map to write, and to go by; the answer is the same."""

    shape: Shape


class Spread(NamedTuple):
    """Copies of a map to write where they are older."""

    shape: Shape


class Newest(NamedTuple):
    """The map to be read; it is the answer."""


class Wait(NamedTuple):
    """A time to wait (s); the answer is how long it has been since the first step (s)."""

    seconds: float


Steps = Generator[At | Write | Spread | Newest | Wait, Any, T]


def grow(queue: str, count: int, known_after: float, keyed: bool, look: float, limit: float | None) -> Steps[None]:
    """Have more shards, for plain tasks, or for all.

    :param known_after: after how long (s) everybody has read a map.
    :param look: how long (s) to wait between two looks at what is left.
    :param limit: how long (s) to wait for what is left; None is for ever.
    """
    shape: Shape = yield Newest()
    if keyed:
        generations.check_keyed(shape, count)
        if shape.keyed != count:
            yield from _check_schedules(count)
    if count != len(shape.tags) or shards.CLOSING in shape.more:
        shape = yield Write(generations.with_more(queue, shape, count))
    yield Spread(shape)
    yield from _equip(range(1, count))
    if shards.FRESH in shape.more:
        yield Wait(known_after)
        shape = yield Write(generations.with_all_known(shape))
        yield Spread(shape)
    if keyed:
        yield from _move(shape, count, look, limit)


def _move(shape: Shape, count: int, look: float, limit: float | None) -> Steps[None]:
    if shape.keyed != count:
        for number in range(shape.keyed, count):
            yield At(number, growing.shut)
        shape = yield Write(generations.with_keyed(shape))
        yield Spread(shape)
    if MOVING not in shape.more:
        return
    old = shape.more[MOVING]
    for number in range(len(shape.tags)):
        yield At(number, _fence(shape.keyed, number))
    for number in range(old):
        items = yield At(number, growing.read_inherited)
        for new in range(number + old, shape.keyed, old):
            its = [item for item in items if shards.of_group(item[0], shape.keyed) == new]
            yield At(new, _inherit(its))
    for number in range(old):
        yield At(number, growing.take_delayed)
        yield from carry(number, shape)
    yield from _open_all(shape, old, look, limit)
    yield from _see_ids_out(old, look, limit)
    yield Spread((yield Write(generations.with_moved(shape))))


def _fence(keyed: int, number: int) -> inside.Make:
    return lambda calls: growing.fence(calls, keyed, number)


def _inherit(items: list[Any]) -> inside.Make:
    return lambda calls: growing.inherit(calls, items)


def _left(place: str) -> inside.Make:
    return lambda calls: growing.left(calls, place)


def fence(shape: Shape, number: int) -> inside.Make:
    """What has a shard refuse who goes by an older map."""
    return _fence(shape.keyed, number)


def carry(number: int, shape: Shape) -> Steps[None]:
    """Put the tasks that are on the stage of a shard where they belong."""
    before: list[bytes] = []
    while words := (yield At(number, growing.read_stage)):
        if words == before:
            raise TorrelqueError(f'tasks that are on the stage of shard {number} belong to it: its map is too old')
        before = words
        by_shard: dict[int, list[bytes]] = {}
        for task_id, text in zip(words[::2], words[1::2], strict=True):
            new = shards.of_group(_group_in(text), shape.keyed)
            if new != number:
                by_shard.setdefault(new, []).extend((task_id, text))
        for new, some in by_shard.items():
            yield At(new, _put(some))
            yield At(number, _strike(some[::2]))


def _put(words: list[bytes]) -> inside.Make:
    return lambda calls: growing.put(calls, words)


def _strike(task_ids: list[bytes]) -> inside.Make:
    return lambda calls: growing.strike(calls, task_ids)


def _group_in(text: bytes) -> str:
    """The group of a task on a stage.  Its payload may be any bytes, which are no text; so each is a character here."""
    words = json.loads(text.decode('latin-1'))[0]
    return str(dict(zip(words[::2], words[1::2], strict=True))['group']).encode('latin-1').decode()


def _open_all(shape: Shape, old: int, look: float, limit: float | None) -> Steps[None]:
    """Open the new shards, each when nothing is left of its groups where they were."""
    yield from _check_schedules(shape.keyed)
    shut = {*range(old)}
    passed = 0.0
    while True:
        left = yield from _left_of_flows(shape)
        for number in [] if left else sorted(shut):
            # Those of flows come here from where they wait; what is looked at last is where they come to.
            some = yield At(number, _left(growing.GROUPS))
            left += some
            if not some:
                # Nothing comes to the stage any more but dead tasks.
                yield from carry(number, shape)
                for new in range(number + old, shape.keyed, old):
                    yield At(new, growing.open_groups)
                shut.discard(number)
        if not shut:
            return
        if limit is not None and passed > limit:
            raise TorrelqueTimeoutError(
                f'groups that have moved still have tasks where they were: {_named(left)}; all goes on, and the call '
                'may be repeated'
            )
        passed = yield Wait(look)


def _left_of_flows(shape: Shape) -> Steps[list[str]]:
    """Groups of tasks of flows that are to be worked on where the groups were."""
    for place in (growing.WAITING, growing.AWAY):
        for number in range(len(shape.tags)):
            if found := (yield At(number, _left(place))):
                return [*found]
    return []


def _see_ids_out(old: int, look: float, limit: float | None) -> Steps[None]:
    """Wait until no id of a caller's own is known where it was."""
    # Those that are kept are found by going through all keys, so not too often.
    pause, most = look, 60 * look
    passed = 0.0
    for number in range(old):
        for place in (growing.TASKS, growing.KEPT):
            while found := (yield At(number, _left(place))):
                if limit is not None and passed > limit:
                    raise TorrelqueTimeoutError(
                        f'ids that have moved are still known where they were: {_named(found)}; all goes on, and the '
                        'call may be repeated'
                    )
                passed = yield Wait(pause)
                pause = min(most, 2 * pause)


def _named(names: Iterable[str]) -> str:
    first, *others = [*dict.fromkeys(names)]
    return f'{first!r} and others' if others else repr(first)


def _check_schedules(count: int) -> Steps[None]:
    """Refuse schedules whose groups would come to another shard than the first, where all schedules are."""

    def read(calls: Any) -> inside.steps.Steps[list[Any]]:
        scan, found = inside.schedules.ScheduleScan(calls, ''), []
        while not scan.over:
            found += yield from scan.read()
        return found

    for schedule in (yield At(0, read)):
        group = schedule.group
        if group is not None and shards.of_group(group, count) != 0:
            raise TorrelqueValueError(
                f'schedule {schedule.name!r} is in the first shard, and its group {group!r} would come to another: let '
                'the task of the schedule enqueue one of the group'
            )


General = tuple[bool, Any, Any]
"""Of all groups: whether it is paused, by which probes, and the default limit."""


def _general(calls: Any) -> inside.steps.Steps[General]:
    paused = yield None, ['SISMEMBER', calls.keys['paused'], '']
    probes = yield None, ['HGET', calls.keys['probes'], '']
    limits = yield from inside.steps.get_limits(calls)
    return bool(paused), probes, limits.get(None)


def _equip(numbers: range) -> Steps[None]:
    """Have shards go by the default limit of the home shard, and be paused where that is.

    This is after the map was written.  Whoever changes these for all shards reads the map afterwards, and does so again
    where it is a newer one: so what is set last is set everywhere, whoever comes first.
    """
    while True:
        before: General = yield At(0, _general)
        for number in numbers:
            if (yield At(number, _general)) != before:
                yield from _set(number, *before)
        if (yield At(0, _general)) == before:
            return


def _set(number: int, paused: bool, probes: Any, limit: TorrelqueLimit | None) -> Steps[None]:
    verbs = inside.steps
    if paused:
        every = None if probes is None else int(probes.split()[1]) / 1000
        yield At(number, lambda calls: verbs.pause(calls, None, every))
    else:
        yield At(number, lambda calls: verbs.resume(calls, None, False))
    both = (None, None) if limit is None else (limit.concurrency, limit.rate)
    yield At(number, lambda calls: verbs.set_limit(calls, None, *both))


def shrink(count: int, known_after: float, look: float, limit: float | None) -> Steps[None]:
    """Have fewer shards for plain tasks; arguments as of `grow`."""
    shape: Shape = yield Newest()
    if shape.more.get(shards.CLOSING) != count:
        if len(shape.tags) == count:
            return
        shape = yield Write(generations.with_closing(shape, count))
    yield Spread(shape)
    empty, passed = (yield Wait(0)), 0.0
    # A look that begins after that time ends it, because whoever did not know of it may have been the last to enqueue:
    # a process that stood still meanwhile has not looked.
    while passed - empty < known_after:
        passed = yield Wait(min(look, known_after / 4))
        stats = []
        for number in range(count, len(shape.tags)):
            stats.append((yield At(number, inside.steps.get_queue_stats)))
        if any(any(one) for one in stats):
            empty = yield Wait(0)
            if limit is not None and empty > limit:
                left = sum(one.tasks for one in stats)
                raise TorrelqueTimeoutError(f'{left} tasks are left in the shards that are closing')
    yield Spread((yield Write(generations.without_closed(shape))))
