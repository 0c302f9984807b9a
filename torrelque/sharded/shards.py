"""Which shards a queue has, what they are called, and which of them has a task: the only place that spells these.

Nothing here waits or sends.  What is to be asked of servers is a generator, which the queue for coroutines and the
synchronous one drive, each in its way.

A shard is a whole queue under a tag of its own.  In a Cluster the tags are such that shard i of n lies in the i-th of n
equal ranges of the slots.  So primaries with equal ranges, which is what all tools make, have equally many shards,
whenever their number divides that of the shards: 12 is divided by most small ones.
"""

import itertools
import json
import re
import zlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

import redis.crc

from torrelque import (
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueTaskId,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.protocol.check import check_count, check_name
from torrelque.protocol.keys import make_keys

from .inside import marked

SLOTS = 16384
"""Slots of a Cluster."""
DEFAULT = 12
"""How many shards a queue is given where nobody says how many."""
FEW = (2, 3, 4, 6)
"""Numbers of shards that are tried as well where the map is away and nobody says how many there are."""
MOST = 192
"""How many shards a queue has at the most: beyond that, consumers that ask in vain would be most of the load."""
BEFORE = 'before'
"""Among what a map has beside the rest: numbers of shards that the queue has had, which processes may still say."""
MOVING, MOVED = 'moving', 'moved'
"""Likewise: among how many shards groups and ids were divided, while some of them come to others; and whether any ever
have, so that the number in an id is where its task was enqueued, and may not be where it is."""
FRESH, CLOSING = 'fresh', 'closing'
"""Likewise: the number of the first shard that not everybody may know yet, and of the first that gets no tasks more."""
AT_HOME = 'schedule:'
"""What the names of groups begin with that schedules have of their own; they are where the schedules are."""

_NAMED = re.compile(r'[0-9a-f]{28}\.(\d{3})(?:\.|\Z)')
"""Ids that were made here, and ids of the tasks of a flow with such an id: 28 digits of chance, and the shard."""

_FIRED = re.compile(r'.+@\d+(?:\.[0-9a-f]{8})?\.flow(?:\..*)?', re.DOTALL)
"""Ids of flows that firings have enqueued, and of their tasks: see `torrelque.flows.own.start`."""

_SHARD = re.compile(r'\{[^{}]+:(\d+)(?:\.\d+)?\}')
"""Names of shards as queues."""

Ask = tuple[int, str, tuple[str, ...]]
"""Something to send: the number of the server (0 in a Cluster), the name of a queue there, the words of a command."""
Asking = Generator[Sequence[Ask], list[Any], 'Opened']
"""Yields what is to be sent, all at once, and is given the replies, or the errors that came in their stead."""


class Shape(NamedTuple):
    """The shards of a queue, as the map in Redis has them."""

    generation: int
    """Counts the changes of the map."""
    keyed: int
    """Among how many of the shards, the first ones, groups and ids of callers' own are divided."""
    tags: tuple[str, ...]
    """Hash tags of the shards, by their numbers."""
    servers: int | None = None
    """How many unrelated servers there are; shard i is on server i modulo this.  None in a Cluster."""
    more: Mapping[str, Any] = {}
    """What else the map has."""

    def text(self, **place: int) -> str:
        """The map as it is in Redis, and in a copy of it."""
        known = {'generation': self.generation, 'keyed': self.keyed, 'tags': self.tags}
        servers = {} if self.servers is None else {'servers': self.servers}
        return json.dumps({**known, **servers, **self.more, **place})

    def server_of(self, shard: int) -> int:
        """The number of the server that has a shard."""
        return 0 if self.servers is None else shard % self.servers


class Opened(NamedTuple):
    """What is known of a queue when the servers were asked."""

    shape: Shape
    away: frozenset[int]
    """Numbers of the servers that could not be asked: whether each is the right one is not known yet."""


# Names


def check_queue(queue: str) -> str:
    """The name of a queue that has shards."""
    make_keys(queue)
    if '{' in queue or '}' in queue:
        raise TorrelqueValueError(f'the name of a queue with shards has no braces, which its shards have: {queue!r}')
    return queue


def check_shards(shards: int | None) -> int | None:
    """How many shards there are to be; None is as many as there are."""
    if shards is not None and check_count(shards, 'shards') > MOST:
        raise TorrelqueValueError(f'shards must be at most {MOST}, not {shards}')
    return shards


def queue_of(tag: str) -> str:
    """What the queue is called that is the shard of a tag."""
    return f'{{{tag}}}'


def suffix_of(shard: int) -> str:
    """What the ids end with that are made for a shard."""
    return f'.{shard:03}'


def number_in(queue: str) -> int | None:
    """The number of a shard, by what it is called as a queue; None where that is no shard."""
    found = _SHARD.fullmatch(queue) if isinstance(queue, str) else None
    return int(found[1]) if found else None


def slot_of(tag: str) -> int:
    """The slot of a tag."""
    return redis.crc.key_slot(tag.encode())


def spread_tags(queue: str, count: int, old: Sequence[str] = ()) -> tuple[str, ...]:
    """Tags for so many shards, each in a range of its own; the old ones stay the first."""
    taken = {slot_of(tag) * count // SLOTS for tag in old}
    free = [place for place in range(count) if place not in taken]
    tags = [*old]
    for number, place in zip(range(len(old), count), free, strict=True):
        tags.append(next(tag for tag in _tries(queue, number) if slot_of(tag) * count // SLOTS == place))
    return tuple(tags)


def _tries(queue: str, number: int) -> Generator[str, None, None]:
    yield f'{queue}:{number}'
    for k in itertools.count(1):
        yield f'{queue}:{number}.{k}'


def _first_tags(queue: str) -> Generator[str, None, None]:
    """The tags that the first shard has, by how many there are: the more, the fewer slots are its range."""
    least = SLOTS
    for tag in _tries(queue, 0):
        slot = slot_of(tag)
        if slot < least:
            least = slot
            yield tag
        if slot * MOST < SLOTS:
            return


def likely_tags(queue: str, count: int = DEFAULT) -> list[str]:
    """Tags that the shards of a queue may have: those of so many, or of few, and of any number of them the first."""
    few = (tag for number in FEW for tag in spread_tags(queue, number))
    return [*dict.fromkeys((*spread_tags(queue, count), *_first_tags(queue), *few))]


# Where a task is


def named_in(task_id: str, count: int) -> int | None:
    """The shard that an id names, if it names one."""
    found = _NAMED.match(task_id)
    return int(found[1]) if found and int(found[1]) < count else None


def no_task_in(task_id: str, count: int) -> TorrelqueLookupError:
    """The error of a task that no shard of so many knows; of one that was in a shard that is gone, it says so."""
    found = _NAMED.match(task_id)
    if found and int(found[1]) >= count:
        return TorrelqueLookupError(
            f'the queue has no task {str(task_id)!r}: its shard, {int(found[1])}, is no more, nor what was kept there'
        )
    return TorrelqueLookupError(f'the queue has no task {str(task_id)!r}')


def keyed_by(word: str, keyed: int) -> int:
    """The shard of a group, or of an id of a caller's own, as a rule.  CRC32 is in every language."""
    return zlib.crc32(word.encode()) % keyed


def _of_own_id(task_id: str, keyed: int) -> int:
    """The shard of an id of a caller's own.  Flows of schedules are where these are, whose firings look at them."""
    return 0 if _FIRED.fullmatch(task_id) else keyed_by(task_id, keyed)


def of_group(group: str, keyed: int) -> int:
    """The shard of a group."""
    return 0 if check_name(group, 'a group').startswith(AT_HOME) else keyed_by(group, keyed)


def of_id(task_id: str, shape: Shape, now: bool = False) -> tuple[int, bool]:
    """The shard that has handed a task out, or where it is ``now``, as far as its id tells, and whether it is certainly
    that one: an id of a caller's own may have been enqueued with a group, and then it is where that is."""
    if isinstance(task_id, TorrelqueTaskId):
        shard = marked(task_id)
        if shard is not None and shard < len(shape.tags):
            return shard, not now or MOVED not in shape.more
        if task_id.group is not None:
            return of_group(task_id.group, shape.keyed), MOVED not in shape.more
    named = named_in(check_name(task_id, 'a task id'), len(shape.tags))
    return (_of_own_id(task_id, shape.keyed), False) if named is None else (named, MOVED not in shape.more)


def before(word: str, shape: Shape) -> int | None:
    """The shard that had an id of a caller's own, and may know it still; None where that is the one that has it."""
    if MOVING not in shape.more or named_in(word, len(shape.tags)) is not None:
        return None
    old = _of_own_id(word, shape.more[MOVING])
    return None if old == _of_own_id(word, shape.keyed) else old


# The map


def key_of(queue: str) -> str:
    """The key of the map of a queue, or of the copy in a shard."""
    return make_keys(queue)['shards']


def read_shape(text: Any, queue: str) -> tuple[Shape, Mapping[str, Any]]:
    """The map, and what a copy of it says of its place."""
    try:
        found = json.loads(text)
        known = {name: found.pop(name) for name in ('generation', 'keyed', 'tags')}
        servers = found.pop('servers', None)
        place = {name: found.pop(name) for name in ('server', 'shard') if name in found}
        shape = Shape(known['generation'], known['keyed'], tuple(known['tags']), servers, found)
        if not isinstance(known['tags'], list):
            raise ValueError(text)
        _check_shape(shape, text)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise _of(queue, TorrelqueError(f'the map of the shards cannot be read: {text!r:.200}')) from exc
    return shape, place


def _check_shape(shape: Shape, text: Any) -> None:
    """Refuse a map by which tasks would be put where nobody looks for them.

    :raises ValueError: it is none.
    """
    tags = shape.tags
    numbers = [shape.generation, shape.keyed, 1 if shape.servers is None else shape.servers]
    said = [shape.more[name] for name in (MOVING, FRESH, CLOSING) if name in shape.more]
    if not all(type(number) is int and number > 0 for number in (*numbers, *shape.more.get(BEFORE, ()), *said)):
        raise ValueError(text)
    if max(shape.keyed, shape.more.get(MOVING, 1)) > len(tags):
        raise ValueError(text)
    if len({*tags}) < len(tags) or not all(isinstance(tag, str) and tag and not {*'{}'} & {*tag} for tag in tags):
        raise ValueError(text)
    for tag in tags:
        key_of(queue_of(tag))


def open_cluster(queue: str, shards: int | None, default: int) -> Asking:
    """Read the map of a queue in a Cluster, or write it where there is none."""
    key = key_of(queue)
    [text] = yield [(0, queue, ('GET', key))]
    if text is None or isinstance(text, TorrelqueConnectionError):
        # The primary that has the map is away, or was emptied: any other can tell it.
        copy = yield from read_copy(queue, shards or default)
        if copy is None and text is not None:
            # It was late only, maybe.
            [text] = yield [(0, queue, ('GET', key))]
        elif copy is not None:
            if text is None:
                yield from send((0, queue, ('SET', key, copy.text(), 'NX')))
                yield from send(*_copies(copy))
            text = copy.text()
    if text is None:
        made = Shape(1, shards or default, spread_tags(queue, shards or default))
        yield from send((0, queue, ('SET', key, made.text(), 'NX')))
        [text] = yield from send((0, queue, ('GET', key)))
        shape, _ = read_shape(text, queue)
        if shape == made:
            yield from send(*_copies(shape))
    if isinstance(text, BaseException):
        raise text
    shape, _ = read_shape(text, queue)
    _check(queue, shape, shards, None)
    return Opened(shape, frozenset())


def read_copy(queue: str, shards: int) -> Generator[Sequence[Ask], list[Any], Shape | None]:
    """The newest map among the copies in a Cluster; None where there is none.

    They are looked for where they are if there are so many shards, or few, and where the first shard is of any number.

    :raises TorrelqueConnectionError: nobody who is there knows the queue; one who is away may.
    """
    tags = likely_tags(queue, shards)
    copies = yield [(0, queue_of(tag), ('GET', key_of(queue_of(tag)))) for tag in tags]
    shapes = [read_shape(copy, queue)[0] for copy in copies if isinstance(copy, bytes)]
    if shapes:
        return max(shapes, key=lambda shape: shape.generation)
    for copy in copies:
        if isinstance(copy, BaseException):
            raise _unknown(queue, copy)
    return None


def _unknown(queue: str, error: BaseException) -> BaseException:
    """The error of a queue that nobody who is there knows, because of which it is not made anew."""
    if not isinstance(error, TorrelqueConnectionError):
        return error
    what = f'no server that answers knows the queue, and one that is away may: {error.args[0]}'
    told: BaseException = _of(queue, TorrelqueConnectionError(what))
    told.__cause__ = error
    return told


def open_servers(queue: str, servers: int, shards: int | None, default: int) -> Asking:
    """Read the map of a queue on unrelated servers, of which each has it with its own number; or write it."""
    key = key_of(queue)
    texts = yield [(server, queue, ('GET', key)) for server in range(servers)]
    away = {server for server, text in enumerate(texts) if isinstance(text, TorrelqueConnectionError)}
    for server, text in enumerate(texts):
        if isinstance(text, BaseException) and (server not in away or len(away) == servers):
            raise text
    found = {server: text for server, text in enumerate(texts) if isinstance(text, bytes)}
    created, first = not found, None
    if created:
        if away:
            raise _unknown(queue, texts[min(away)])
        tags = tuple(f'{queue}:{number}' for number in range(shards or default))
        # The first server decides whose map it is, if several come at the same time.
        made = Shape(1, len(tags), tags, servers)
        [first] = yield from send((0, queue, ('SET', key, made.text(server=0), 'NX')))
        [found[0]] = yield from send((0, queue, ('GET', key)))
    shape = _newest(queue, servers, shards, found)
    fresh = [server for server in range(servers) if server not in found and server not in away]
    if fresh:
        # They are new, or were emptied.
        done = yield from send(*((server, queue, ('SET', key, shape.text(server=server), 'NX')) for server in fresh))
        texts = yield from send(*((server, queue, ('GET', key)) for server in fresh))
        try:
            shape = _newest(queue, servers, shards, {**found, **dict(zip(fresh, texts, strict=True))})
        except TorrelqueValueError:
            # Two of the list are one server.  A map that was made of it now would refuse a list that is right.
            own = [server for server, wrote in zip(fresh, done, strict=True) if wrote is not None]
            if first is not None:
                yield [(server, queue, ('DEL', key)) for server in [0, *own]]
            raise
    if created or fresh:
        yield from send(*(ask for ask in _copies(shape) if created or ask[0] in fresh))
    return Opened(shape, frozenset(away))


def prove_server(queue: str, server: int, shape: Shape) -> Generator[Sequence[Ask], list[Any], None]:
    """Look whether a server that was away is the one that it is to be."""
    key = key_of(queue)
    [text] = yield from send((server, queue, ('GET', key)))
    if text is None:
        yield from send((server, queue, ('SET', key, shape.text(server=server), 'NX')))
        [text] = yield from send((server, queue, ('GET', key)))
        yield from send(*(ask for ask in _copies(shape) if ask[0] == server))
    _newest(queue, shape.servers or 0, None, {server: text})


def send(*asked: Ask) -> Generator[Sequence[Ask], list[Any], list[Any]]:
    """The replies, where none is an error."""
    replies = yield asked
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return replies


def _copies(shape: Shape) -> list[Ask]:
    """The copies of the map, one in each shard with its number, so that any server that lives can tell it."""
    return [
        (shape.server_of(shard), queue_of(tag), ('SET', key_of(queue_of(tag)), shape.text(shard=shard), 'NX'))
        for shard, tag in enumerate(shape.tags)
    ]


def _newest(queue: str, servers: int, shards: int | None, found: Mapping[int, Any]) -> Shape:
    """The map of the highest generation, where each server is the one that its own says."""
    shapes = {server: read_shape(text, queue) for server, text in sorted(found.items())}
    for server, (shape, place) in shapes.items():
        _check(queue, shape, shards, servers)
        if place.get('server') != server:
            raise _of(queue, TorrelqueValueError(
                f'server {server} of the list, counted from 0, is server {place.get("server")} of the queue: give its '
                f'{servers} servers in their order'
            ))  # fmt: skip
    return max((shape for shape, _ in shapes.values()), key=lambda shape: shape.generation)


def _check(queue: str, shape: Shape, shards: int | None, servers: int | None) -> None:
    if shape.servers != servers:
        is_on, given = _told(shape.servers), _told(servers)
        raise _of(queue, TorrelqueValueError(f'the queue is on {is_on}, and was given {given}'))
    if shards is not None and shards != len(shape.tags) and shards not in shape.more.get(BEFORE, ()):
        raise _of(queue, TorrelqueValueError(
            f'the queue has {len(shape.tags)} shards, not {shards}; shards=None takes as many as there are'
        ))  # fmt: skip


def _told(servers: int | None) -> str:
    return 'a Cluster' if servers is None else 'one server' if servers == 1 else f'{servers} servers'


def _of(queue: str, error: Any) -> Any:
    error.queue = queue
    return error


def check_clients(clients: Sequence[object], cluster: type) -> None:
    """Refuse clients that cannot be those of unrelated servers."""
    if not clients:
        raise TorrelqueValueError('a queue with shards needs a client, or a list of some')
    if any(isinstance(client, cluster) for client in clients):
        raise TorrelqueTypeError('a list is of clients of single servers; the client of a Cluster is given alone')
    if len({id(client) for client in clients}) < len(clients):
        raise TorrelqueValueError('the list has a client twice; say by shards= how many shards there are')
