"""Generations of the map: which shards plain tasks may be put into, and how a newer map is written.

Nothing here waits or sends, as in `shards`.  A map with more shards says of the new ones that they are *fresh*:
whoever reads it takes tasks from them at once, and puts some into them only after a time in which everybody else has
read it as well.  A map with fewer says from which shard on they are *closing*: nothing is put into these any more.
Both are always the last shards, because ids name shards by their numbers.
"""

import functools
import importlib.resources
from collections.abc import Generator, Sequence
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueError, TorrelqueValueError
from torrelque.protocol.check import check_count

from . import shards
from .shards import BEFORE, CLOSING, FRESH, MOVED, MOVING, Ask, Shape


@functools.cache
def _script() -> str:
    return (importlib.resources.files('torrelque.sharded') / 'script' / 'map.lua').read_text('utf-8')


def used(shape: Shape, settled: bool) -> int:
    """So many shards, the first ones, plain tasks are put into.

    :param settled: whether everybody takes from fresh ones by now.
    """
    count = len(shape.tags)
    least: int = min(count, shape.more.get(CLOSING, count), count if settled else shape.more.get(FRESH, count))
    return least


def with_more(queue: str, shape: Shape, count: int) -> Shape:
    """The next map, with fresh shards, if there are to be more.

    :raises TorrelqueValueError: the shards of a Cluster would not be spread over its slots, or some are closing.
    """
    present = len(shape.tags)
    check_count(count, 'shards')
    if count > shards.MOST or count < present:
        raise TorrelqueValueError(f'shards must be from {present} to {shards.MOST}, not {count}')
    if CLOSING in shape.more:
        raise TorrelqueValueError(f'shards from {shape.more[CLOSING]} on are closing: let that be over first')
    if MOVING in shape.more:
        raise TorrelqueValueError('groups are moving: let that be over first')
    if shape.servers is None and count % present:
        raise TorrelqueValueError(f'shards must be a multiple of {present}, to be spread as evenly, not {count}')
    if shape.servers is None:
        tags = shards.spread_tags(queue, count, shape.tags)
    else:
        tags = (*shape.tags, *(f'{queue}:{number}' for number in range(present, count)))
    more = {**shape.more, FRESH: shape.more.get(FRESH, present), BEFORE: _before(shape)}
    return shape._replace(generation=shape.generation + 1, tags=tags, more=more)


def with_closing(shape: Shape, count: int) -> Shape:
    """The next map, in which all shards but so many are closing.

    :raises TorrelqueValueError: there are groups in them.
    """
    present = len(shape.tags)
    if not shape.keyed <= check_count(count, 'shards') < present:
        raise TorrelqueValueError(
            f'shards must be from {shape.keyed}, which have the groups and ids, to {present - 1}, not {count}'
        )
    return shape._replace(generation=shape.generation + 1, more={**_rest(shape), CLOSING: count})


def check_keyed(shape: Shape, count: int) -> None:
    """Refuse a number of shards that groups and ids cannot be divided among."""
    present = shape.more.get(MOVING) and shape.keyed
    if present and present != count:
        raise TorrelqueValueError(f'groups are moving to {present} shards: let that be over first')
    if CLOSING in shape.more:
        raise TorrelqueValueError(f'shards from {shape.more[CLOSING]} on are closing: let that be over first')
    if check_count(count, 'shards') % shape.keyed:
        raise TorrelqueValueError(
            f'groups and ids are in {shape.keyed} shards, and may come to a multiple of these, not to {count}'
        )


def with_keyed(shape: Shape) -> Shape:
    """The next map, in which groups and ids are divided among all shards; those that have moved are on their way."""
    more = {**shape.more, MOVING: shape.keyed, MOVED: 1}
    return shape._replace(generation=shape.generation + 1, keyed=len(shape.tags), more=more)


def with_moved(shape: Shape) -> Shape:
    """The next map, in which nothing of the groups and ids that have moved is where they were."""
    more = {name: value for name, value in shape.more.items() if name != MOVING}
    return shape._replace(generation=shape.generation + 1, more=more)


def with_all_known(shape: Shape) -> Shape:
    """The next map, when everybody takes from fresh shards."""
    return shape._replace(generation=shape.generation + 1, more=_rest(shape))


def without_closed(shape: Shape) -> Shape:
    """The next map, when those that were closing have no tasks."""
    more = {**_rest(shape), BEFORE: _before(shape)}
    return shape._replace(generation=shape.generation + 1, tags=shape.tags[: shape.more[CLOSING]], more=more)


def _rest(shape: Shape) -> dict[str, Any]:
    return {name: value for name, value in shape.more.items() if name not in (FRESH, CLOSING)}


def _before(shape: Shape) -> list[int]:
    return sorted({*shape.more.get(BEFORE, ()), len(shape.tags)})


def write(queue: str, shape: Shape) -> Generator[Sequence[Ask], list[Any], Shape]:
    """Write a newer map; the one that is there then, which is another one if somebody has written at the same time."""
    [text] = yield from shards.send(_asked(0, queue, shape, **({} if shape.servers is None else {'server': 0})))
    return shards.read_shape(text, queue)[0]


def restore(queue: str, shape: Shape) -> Generator[Sequence[Ask], list[Any], Shape | None]:
    """Write a map again that a server has lost, and its copies; a newer one, if that is there.

    Else whoever comes next would find none, and write another one.
    """
    found = yield from write(queue, shape)
    if found != shape:
        return _same(queue, found, shape)
    yield from spread(queue, shape)
    return None


def spread(queue: str, shape: Shape) -> Generator[Sequence[Ask], list[Any], bool]:
    """Write the copies of a map, where they are older; whether all are there now.

    Anybody may do so, and again: that of the home shard, by which others learn of it, is the last.
    """
    roots = range(1, shape.servers or 0)
    asked = [_asked(server, queue, shape, server=server) for server in roots]
    asked += [_copy(shape, number) for number in range(1, len(shape.tags))]
    replies = yield asked
    whole = True
    for reply in [*replies, *(yield [_copy(shape, 0)])]:
        if isinstance(reply, TorrelqueConnectionError):
            whole = False
        elif isinstance(reply, BaseException):
            raise reply
    return whole


def _copy(shape: Shape, number: int) -> Ask:
    return _asked(shape.server_of(number), shards.queue_of(shape.tags[number]), shape, shard=number)


def _asked(server: int, queue: str, shape: Shape, /, **place: int) -> Ask:
    words = ('EVAL', _script(), '1', shards.key_of(queue), str(shape.generation), shape.text(**place))
    return server, queue, words


def newer(queue: str, text: Any, shape: Shape) -> Shape | None:
    """The map in a copy, if it is newer than the one that is known."""
    if text is None:
        return None
    return _same(queue, shards.read_shape(text, queue)[0], shape)


def _same(queue: str, found: Shape, shape: Shape) -> Shape | None:
    """A map that was found, if it is newer than the one that is known."""
    if found.servers != shape.servers or found.generation == shape.generation and found.tags != shape.tags:
        error = TorrelqueError(f'the map of the shards is that of another queue: {found.text():.200}')
        error.queue = queue
        raise error
    return found if found.generation > shape.generation else None
