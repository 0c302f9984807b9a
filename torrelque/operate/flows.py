"""Flows as an operator sees them, read some tasks at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from torrelque import TorrelqueLookupError, TorrelqueQueue, TorrelqueTaskStatus, TorrelqueTypeError, TorrelqueValueError

from .asking import ask, read
from .flowing import Flows, FlowTaskView, FlowView
from .reading import bytes_of, instant_of, text_of, whole_of
from .viewing import load

PART = 100
"""Tasks of one call, about."""
ERROR = 400
"""Bytes of the error of a task that are read."""
ROOM = 4_000_000
"""Bytes of the payload of a flow that is read."""
EDGES = 100
"""Lists of successors of one call, about."""
MOST_EDGES = 100_000
"""Tasks whose successors are read for one answer, at the most."""
LOOKED = 250
"""What waits that is looked at for flows by one call, about."""
KINDS = ('then', 'end', 'fail')

Edges = dict[str, list[tuple[str, str]]]
"""Ids of tasks, and what each waits for: ids of others that have not ended, and the kind of end."""

_HOWS = {b'f': 'failed', b'n': 'skipped', b'x': 'cancelled'}
_STATUSES = {
    'completed': TorrelqueTaskStatus.COMPLETED, 'grafted': TorrelqueTaskStatus.COMPLETED,
    'failed': TorrelqueTaskStatus.REJECTED,
    'skipped': TorrelqueTaskStatus.CANCELLED, 'cancelled': TorrelqueTaskStatus.CANCELLED,
}  # fmt: skip
_OF_FLOW = (
    'status', 'total', 'left', 'dead', 'failed', 'on_failure', 'error', 'enqueue_time', 'release_time', 'name', 'draft',
    'flow', 'out',
)  # fmt: skip
_OF_ONE = _OF_FLOW[:-1]
"""Fields that are told of each of several flows."""
_FIELDS = (
    'status', 'dequeue_count', 'max_attempts', 'forgiven', 'error', 'enqueue_time', 'ready_time', 'last_dequeue_time',
    'last_requeue_time', 'release_time', 'group', 'total', 'left', 'queue', 'told_time',
)  # fmt: skip


class Item(NamedTuple):
    """What the script tells of one task."""

    id: str
    left: bytes | None
    """Its field of ``needs:F``."""
    ended: bytes | None
    """What ``done:F`` has of it, without a result."""
    score: float | None
    fields: Mapping[str, bytes | None]

    @property
    def status(self) -> TorrelqueTaskStatus | None:
        """As its state has it; None where that was lost."""
        with suppress(ValueError):
            return TorrelqueTaskStatus(int(self.fields['status'] or b''))
        return None

    def instant(self, name: str) -> float | None:
        """A field that is an instant, in seconds."""
        return instant_of(self.fields[name])

    @property
    def since(self) -> float | None:
        """Since when it is what it is."""
        status, instant = self.status, self.instant
        if status is None:
            return None
        if status is TorrelqueTaskStatus.PENDING:
            found = [it for name in ('enqueue_time', 'ready_time', 'last_requeue_time') if (it := instant(name))]
            return max(found, default=None)
        return {
            TorrelqueTaskStatus.WORKING: instant('last_dequeue_time') or instant('told_time'),
            TorrelqueTaskStatus.DELAYED: instant('last_requeue_time') or instant('ready_time'),
            TorrelqueTaskStatus.DEAD: self.score,
            TorrelqueTaskStatus.WAITING: instant('enqueue_time'),
        }.get(status, instant('release_time'))


class Part(NamedTuple):
    """A reply of the script."""

    now: float
    broken: tuple[str, ...]
    flow: Mapping[str, bytes | None]
    """Fields of the flow's state."""
    gives_up: bytes | None
    payload: bytes | None
    cursor: bytes
    items: list[Item]


async def read_part(
    queue: TorrelqueQueue, flow_id: str, key: str = 'needs', cursor: bytes | str = '', ids: Sequence[str] = (),
    room: int = 0
) -> Part:  # fmt: skip
    """The flow itself, and a page of its tasks, or those of some ids.

    :param room: bytes of the flow's payload that is told, at the most.
    """
    words = bytes_of(flow_id), key, cursor, PART, ERROR, room, *map(bytes_of, ids)
    stamp, broken, fields, gives_up, payload, following, *items = await ask(queue, 'flow', *words)
    return Part(
        int(stamp) / 1000, tuple(map(text_of, broken)), dict(zip(_OF_FLOW, fields, strict=True)), gives_up,
        payload, following, [*map(_item, items)],
    )  # fmt: skip


def _item(words: Sequence[Any]) -> Item:
    task_id, left, ended, score, *fields = words
    return Item(text_of(task_id), left, ended, instant_of(score), dict(zip(_FIELDS, fields, strict=True)))


async def read_edges(queue: TorrelqueQueue, flow_id: str) -> Edges | None:
    """What tasks of a flow wait for, as far as it has not ended; by whom it has not been told yet.

    None is that their key holds something else.
    """
    found: Edges = {}
    key, cursor, seen = f'{queue.keys["edges"]}:{flow_id}'.encode('utf-8', 'surrogateescape'), b'0', 0
    while seen < MOST_EDGES:
        page = await read(queue, 'HSCAN', key, cursor, 'COUNT', EDGES)
        if page is None:
            return None
        cursor, words = page
        seen += len(words) // 2
        for word, text in zip(words[::2], words[1::2], strict=True):
            for successor, kind in _successors(text):
                found.setdefault(successor, []).append((text_of(word), kind))
        if cursor == b'0':
            break
    return found


def _successors(text: bytes) -> Iterator[tuple[str, str]]:
    with suppress(ValueError, RecursionError):
        edges = json.loads(text)
        for kind in KINDS if isinstance(edges, dict) else ():
            successors = edges.get(kind)
            yield from ((it, kind) for it in successors or () if isinstance(it, str))


# The whole


async def read_flow(
    queue: TorrelqueQueue, flow_id: str, after: str | None, most: int, edges_of: int = MOST_EDGES
) -> FlowView:
    """A flow with so many of its tasks.

    :param edges_of: of a flow of more tasks it is not read which of them wait for which.
    :raises TorrelqueLookupError: the queue knows no flow of this id.
    :raises TorrelqueValueError: the cursor is none of a flow.
    """
    key, cursor = _read_cursor(after)
    part = await read_part(queue, flow_id, room=ROOM)
    if part.flow['total'] is None:
        raise TorrelqueLookupError(f'the queue has no flow {flow_id!r}')
    items: dict[str, Item] = {}
    broken = {*part.broken}
    while len(items) < most and key:
        page = await read_part(queue, flow_id, key, cursor)
        broken |= {*page.broken}
        # What has ended since is told as such.
        items.update((item.id, item) for item in page.items)
        key, cursor = (key, page.cursor) if page.cursor != b'0' else ('done' if key == 'needs' else '', b'0')
    task = load(queue, part.payload)
    nodes = nodes_of(task)
    names = {item.id: name_of(flow_id, item.id) for item in items.values()}
    begun = (None, b'0', b'dead')
    told = all(names[item.id] in nodes for item in items.values() if item.left not in begun)
    large = (whole_of(part.flow['total']) or 0) > edges_of
    edges = {} if told or large or not items else await read_edges(queue, flow_id)
    if edges is None:
        broken.add(f'edges:{flow_id}')
    tasks = [_view(flow_id, item, names[item.id], nodes, edges or {}) for item in items.values()]
    end, following = instant_of(part.gives_up), f'{key} {cursor.decode()}' if key else None
    return _flow(queue, flow_id, part.now, part.flow, end, task, tasks, following, broken)


async def read_flows(queue: TorrelqueQueue, after: str | None, most: int) -> Flows:
    """The flows among so many of what waits, about.

    :raises TorrelqueValueError: the cursor is none.
    """
    cursor = _check_cursor(after or '0')
    found: dict[str, FlowView] = {}
    seen, total, now, broken = 0, 0, 0.0, set[str]()
    while seen < most:
        stamp, spoilt, cursor, count, total, *items = await ask(queue, 'flows', cursor, LOOKED)
        now, seen = int(stamp) / 1000, seen + count
        broken |= {text_of(key) for key in spoilt}
        for task_id, score, *fields in items:
            known: dict[str, bytes | None] = dict(zip(_OF_ONE, fields, strict=True))
            found[text_of(task_id)] = _flow(
                queue, text_of(task_id), now, known, instant_of(score), None, (), None, set()
            )
        if cursor == b'0':
            break
    return Flows(
        queue.name, now, tuple(found.values()), seen, total, None if cursor == b'0' else cursor.decode(),
        tuple(sorted(broken)),
    )  # fmt: skip


def _flow(
    queue: TorrelqueQueue, flow_id: str, now: float, fields: Mapping[str, bytes | None], gives_up: float | None,
    task: Any, tasks: Sequence[FlowTaskView], cursor: str | None, broken: set[str],
) -> FlowView:  # fmt: skip
    count = {name: whole_of(fields[name]) or 0 for name in ('total', 'left', 'dead', 'failed')}
    status = None
    with suppress(ValueError):
        status = TorrelqueTaskStatus(int(fields['status'] or b''))
    return FlowView(
        queue=queue.name,
        id=flow_id,
        server_time=now,
        name=_text(fields['name']),
        status=status,
        on_failure=_text(fields['on_failure']) or 'wait',
        error=_text(fields['error']),
        started=instant_of(fields['enqueue_time']),
        ended=instant_of(fields['release_time']),
        gives_up=gives_up,
        draft=fields['draft'] is not None,
        flow=_text(fields['flow']),
        task=task,
        tasks=tuple(tasks),
        cursor=cursor,
        broken=tuple(sorted(broken)),
        **count,
    )


def _view(flow_id: str, item: Item, name: str, nodes: Mapping[str, 'Node'], edges: Edges) -> FlowTaskView:
    node, how, error = nodes.get(name), None, _text(item.fields['error'])
    if item.ended is not None:
        how, error = _end(item.ended)
    left = item.left.decode('ascii', 'replace') if item.left is not None else ''
    digits = left.removeprefix('a')
    known = node.after if node is not None else ()
    others = tuple((name_of(flow_id, other), kind) for other, kind in edges.get(item.id, ()))
    return FlowTaskView(
        name=name,
        id=item.id,
        status=_STATUSES[how] if how is not None else TorrelqueTaskStatus.DEAD if left == 'dead' else item.status,
        how=how,
        error=error,
        attempts=whole_of(item.fields['dequeue_count']) or 0,
        max_attempts=whole_of(item.fields['max_attempts']),
        since=item.since,
        until=item.score if item.status in (TorrelqueTaskStatus.WORKING, TorrelqueTaskStatus.DELAYED) else None,
        group=_text(item.fields['group']),
        function=None if node is None else node.function,
        each=node is not None and node.each,
        waits=int(digits) if digits.isascii() and digits.isdecimal() else None,
        any=left.startswith('a'),
        # Those that were added while it ran are not in the payload.
        after=tuple(dict.fromkeys((*known, *others))),
        away=_text(item.fields['queue']) if item.ended is None else None,
    )


def _end(value: bytes) -> tuple[str, str | None]:
    """How a task has ended, and why, if it has not completed."""
    if value[:1] != b'!':
        return 'grafted' if value[:1] == b'>' else 'completed', None
    how, rest = _HOWS.get(value[1:2], 'failed'), value[2:]
    return how, 'it was rejected' if rest[:1] == b'=' else rest[1:].decode('utf-8', 'replace') or None


def name_of(flow_id: str, task_id: str) -> str:
    """The name of a task in its flow; of one that was enqueued to wait for others, its id."""
    return task_id.removeprefix(f'{flow_id}.') or task_id


def _text(data: bytes | None) -> str | None:
    return text_of(data) if data else None


def _read_cursor(after: str | None) -> tuple[str, bytes]:
    if after is None:
        return 'needs', b'0'
    if not isinstance(after, str):
        raise TorrelqueTypeError(f'a cursor must be a str, not {type(after).__name__}')
    key, _, cursor = after.partition(' ')
    if key not in ('needs', 'done'):
        raise TorrelqueValueError('the cursor is not of a flow')
    return key, _check_cursor(cursor)


def _check_cursor(text: str) -> bytes:
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise TorrelqueValueError('the cursor is not of a flow')
    return text.encode()


# What the payload of a flow tells


class Node(NamedTuple):
    """A task of a flow, as its payload has it."""

    name: str
    after: tuple[tuple[str, str], ...]
    function: str | None
    each: bool


def nodes_of(task: Any) -> dict[str, Node]:
    """The tasks that the payload of a flow tells of, in their order; {} where it is none of `torrelque.flows`."""
    nodes = task.get('nodes') if isinstance(task, Mapping) else None
    found: dict[str, Node] = {}
    with suppress(TypeError, ValueError, LookupError):
        for name, edges, function, *how in nodes if isinstance(nodes, Sequence) else ():
            after = tuple((other, kind) for other, kind in edges if isinstance(other, str) and kind in KINDS)
            if isinstance(name, str):
                found[name] = Node(name, after, function if isinstance(function, str) else None, 'each' in how)
    return found
