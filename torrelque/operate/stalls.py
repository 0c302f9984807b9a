"""Why a task waits for others, and why a flow has not ended."""

import asyncio
from collections.abc import Iterable, Sequence

from torrelque import TorrelqueQueue, TorrelqueTaskStatus as Status

from . import remedies
from .flows import Edges, Item, Part, name_of, read_edges, read_part
from .looking import Seen
from .reading import instant_of, text_of, whole_of
from .reasons import broken
from .values import Holder, Reason

SHOWN = 10
"""Tasks that a reason has at the most."""
PAGES = 100
"""Pages of some hundred tasks that are looked at for what a flow does."""
MOMENT = 0.1
"""s after which what was put off, and is still there, counts as left."""
ERRANDS = ('away', 'outbox')
"""Keys of what other queues are to be told, by the instants at which it is due."""
KINDS = {'then': 'complete', 'end': 'end', 'fail': 'fail'}
_DOING = {
    Status.WORKING: 'working', Status.DELAYED: 'delayed', Status.PENDING: 'pending', Status.WAITING: 'waiting',
    Status.DEAD: 'dead', Status.CANCELLED: 'working',
}  # fmt: skip
_MOVING = (Status.WORKING, Status.PENDING, Status.DELAYED)
_ORDER = ('dead', 'working', 'delayed', 'pending', 'waiting', 'unknown')


def is_of_flow(seen: Seen) -> bool:
    """Whether it waits for other tasks, or is a flow that has not ended."""
    if seen.raw.get('gives_up') is None:
        return False
    return seen.status is Status.WAITING or seen.status is Status.CANCELLED and seen.state.get('total') is not None


async def of_spread(queue: TorrelqueQueue, moment: float = MOMENT) -> list[Reason]:
    """Work of flows that was put off, and that nobody has done in a moment (s)."""
    key = queue.keys['spread'].encode()
    first = await queue.command('LINDEX', key, 0)
    if first is None:
        return []
    await asyncio.sleep(moment)
    if await queue.command('LINDEX', key, 0) != first:
        return []
    words = 'work of flows was put off, and nobody does it: no consumer waits, and nobody sweeps'
    count = int(await queue.command('LLEN', key))
    return [Reason('overdue', words, count=count, command=remedies.command(queue, 'sweep'))] if count else []


async def of_errands(queue: TorrelqueQueue, moment: float) -> list[Reason]:
    """What other queues are to be told of tasks of flows, and nobody has told them for a moment (s)."""
    seconds, micros = await queue.command('TIME')
    bound = int(seconds) * 1000 + int(micros) // 1000 - moment * 1000
    several = [await queue.command('ZCOUNT', queue.keys[key].encode(), '-inf', f'{bound:.0f}') for key in ERRANDS]
    count = sum(map(int, several))
    words = 'other queues are to be told of tasks of flows, and nobody does it: no consumer waits, and nobody sweeps'
    return [Reason('overdue', words, count=count, command=remedies.command(queue, 'sweep'))] if count else []


# A task


async def of_task(seen: Seen) -> list[Reason] | None:
    """Why a task of a flow waits; None where it does not any more."""
    assert seen.id is not None
    queue, task_id, flow_id = seen.queue, seen.id, text_of(seen.state['flow'] or b'')
    left = await of_spread(queue) if seen.count('spread') else []
    edges = await read_edges(queue, flow_id) or {}
    waits_for = dict(edges.get(task_id, ()))
    part = await read_part(queue, flow_id, ids=[task_id, *[*waits_for][: 250]])
    own, others = part.items[0], _sorted(part.items[1:])
    if own.status is not Status.WAITING or own.left is None:
        return None
    if part.flow['total'] is None:
        return [*left, broken(seen, f'the state of its flow {flow_id} is lost')]
    if part.flow['draft'] is not None and not others:
        return [*left, _draft(part, f'its flow {flow_id} is being made, and begins when that is done')]
    found = await _of_dead(queue, flow_id, part, task_id, edges)
    if others:
        found.append(_of_others(queue, flow_id, own, others, waits_for))
    elif not left:
        found.append(broken(seen, f'it waits, and no task of its flow {flow_id} is known for which'))
    return [*left, *found]


def _of_others(queue: TorrelqueQueue, flow_id: str, own: Item, others: Sequence[Item], kinds: dict[str, str]) -> Reason:
    """For whom it waits."""
    left = (own.left or b'').decode('ascii', 'replace')
    count = whole_of(left.removeprefix('a').encode()) or len(others)
    what = {KINDS[kinds[item.id]] for item in others}
    ends = what.pop() if len(what) == 1 else 'end'
    if len(others) == 1 and count == 1:
        words = f'it waits for task {name_of(flow_id, others[0].id)} to {ends}'
    elif left.startswith('a'):
        words = f'it waits for the first of {count:,} tasks to {ends}'
    else:
        words = f'it waits for {count:,} tasks to {ends}'
    command = remedies.command(queue, 'show', flow_id)
    return Reason('waiting', f'{words}, in flow {flow_id}', count=count, holders=_holders(others), command=command)


async def _of_dead(queue: TorrelqueQueue, flow_id: str, part: Part, task_id: str, edges: Edges) -> list[Reason]:
    """The dead tasks that it waits for, or that those wait for."""
    if not whole_of(part.flow['dead']):
        return []
    met, ahead = {task_id}, [task_id]
    while ahead:
        others = {other for one in ahead for other, _ in edges.get(one, ())} - met
        met |= others
        ahead = [*others]
    items: list[Item] = []
    ids = sorted(met)
    for start in range(0, len(ids), 250):
        items += (await read_part(queue, flow_id, ids=ids[start : start + 250])).items
    dead = [item for item in items if item.left == b'dead']
    if task_id not in _stuck(items, edges):
        return []
    names = _named(flow_id, dead)
    is_are = 'is' if len(dead) == 1 else 'are'
    words = f'{names} {is_are} dead, and it cannot begin before {"that is" if len(dead) == 1 else "they are"} redriven'
    return [_stalled(queue, flow_id, words, dead)]


def _stuck(items: Sequence[Item], edges: Edges) -> set[str]:
    """Those of some tasks that cannot end before one is redriven.  What an end of any kind, or a failure, is enough for
    was told of a death, and its edge is gone."""
    found = {item.id for item in items if item.left == b'dead'}
    below: dict[str, list[str]] = {}
    for item in items:
        for other, _ in edges.get(item.id, ()):
            below.setdefault(other, []).append(item.id)
    one_is_enough = {item.id for item in items if (item.left or b'').startswith(b'a')}
    coming = [*found]
    while coming:
        for task_id in below.get(coming.pop(), ()):
            open_to_it = task_id in one_is_enough and any(other not in found for other, _ in edges[task_id])
            if task_id not in found and not open_to_it:
                found.add(task_id)
                coming.append(task_id)
    return found


# A flow


async def of_flow(seen: Seen) -> list[Reason]:
    """Why a flow has not ended: what stands in its way, and what goes on."""
    assert seen.id is not None
    queue, flow_id = seen.queue, seen.id
    part = await read_part(queue, flow_id)
    found = await of_spread(queue) if seen.count('spread') else []
    gives_up = instant_of(part.gives_up)
    if part.flow['draft'] is not None and seen.status is Status.WAITING:
        return [*found, _draft(part, 'it is being made, and begins with the last call of whoever makes it')]
    items, whole = await read_unended(queue, flow_id)
    left = whole_of(part.flow['left']) or len(items)
    if gives_up is not None and gives_up <= part.now:
        words = 'its time is over, and nobody has cancelled it: no consumer waits, and nobody sweeps'
        found.append(Reason('overdue', words, since=gives_up, command=remedies.command(queue, 'sweep')))
    if seen.status is Status.CANCELLED:
        words = f'it was cancelled{_why(part)}, and {_tasks(left)} not ended'
        words += ': what cleans up, and what is worked on still'
        return [*found, Reason('cancelled', words, count=left, holders=_holders(_sorted(items)))]
    dead = [item for item in items if item.left == b'dead']
    moving = [item for item in items if item.status in _MOVING and item.left != b'dead']
    waiting = sum(item.status is Status.WAITING for item in items)
    if dead:
        has = _tasks(max(len(dead), whole_of(part.flow['dead']) or 0), 'is dead', 'are dead')
        more = f', and {_tasks(waiting, "waits", "wait")}' if waiting else ''
        words = f'{"it cannot end" if moving else "it stands still"}: {has}{more}'
        found.append(_stalled(queue, flow_id, words, _sorted(dead)))
    if moving or not dead:
        found.append(_going_on(queue, flow_id, part, moving, waiting, gives_up, whole))
    if not items and not found:
        found.append(broken(seen, 'none of its tasks is left, and it has not ended'))
    return found


def _going_on(
    queue: TorrelqueQueue, flow_id: str, part: Part, moving: Sequence[Item], waiting: int, gives_up: float | None,
    whole: bool,
) -> Reason:  # fmt: skip
    """What a flow does."""
    total, left = whole_of(part.flow['total']) or 0, whole_of(part.flow['left']) or 0
    counts = {
        words: sum(item.status is status for item in moving)
        for status, words in (
            (Status.WORKING, 'at work'), (Status.PENDING, 'pending'), (Status.DELAYED, 'delayed'),
        )
    }  # fmt: skip
    counts['waiting'] = waiting
    sign = '' if whole else '≥ '
    told = ', '.join(f'{sign}{count:,} {word}' for word, count in counts.items() if count)
    words = f'it goes on: {total - left:,} of {total:,} tasks have ended' + (f'; {told}' if told else '')
    command = remedies.command(queue, 'show', flow_id)
    if not counts['at work'] and counts['pending']:
        # Why the next one does not run is why the flow does not go on.
        first = next(item for item in moving if item.status is Status.PENDING)
        command = remedies.command(queue, 'why', first.id)
    return Reason(
        'waiting', words, until=gives_up, count=left, holders=_holders(_sorted(moving)), command=command
    )


async def read_unended(queue: TorrelqueQueue, flow_id: str) -> tuple[list[Item], bool]:
    """Tasks that have not ended, and whether these are all."""
    found: dict[str, Item] = {}
    cursor: bytes = b'0'
    for _ in range(PAGES):
        part = await read_part(queue, flow_id, 'needs', cursor)
        found.update((item.id, item) for item in part.items)
        cursor = part.cursor
        if cursor == b'0':
            break
    return [*found.values()], cursor == b'0'


def _draft(part: Part, words: str) -> Reason:
    more = '; without one more call of that in a minute it is taken back'
    return Reason('draft', words + more, since=instant_of(part.flow['enqueue_time']), until=instant_of(part.gives_up))


def _stalled(queue: TorrelqueQueue, flow_id: str, words: str, dead: Sequence[Item]) -> Reason:
    since = [item.score for item in dead if item.score is not None]
    error = dead[0].fields['error']
    return Reason(
        'stalled', words, since=min(since, default=None), count=len(dead), holders=_holders(dead),
        error=None if error is None or len(dead) > 1 else error.decode('utf-8', 'backslashreplace'),
        command=remedies.command(queue, 'redrive', flow_id),
    )  # fmt: skip


# Words


def _why(part: Part) -> str:
    error = part.flow['error']
    return '' if error is None else f' ({error.decode("utf-8", "backslashreplace")[:200]})'


def _tasks(count: int, one: str = 'has', several: str = 'have') -> str:
    return f'{count:,} of its tasks {one if count == 1 else several}'


def _named(flow_id: str, items: Sequence[Item]) -> str:
    names = [name_of(flow_id, item.id) for item in items[:3]]
    more = len(items) - len(names)
    if more:
        return f'tasks {", ".join(names)} and {more:,} more'
    return f'task {names[0]}' if len(names) == 1 else f'tasks {", ".join(names[:-1])} and {names[-1]}'


def _sorted(items: Iterable[Item]) -> list[Item]:
    """Those first that are in the way."""
    return sorted(items, key=lambda item: _ORDER.index(_doing(item)))


def _doing(item: Item) -> str:
    if item.left == b'dead':
        return 'dead'
    return 'unknown' if item.status is None else _DOING.get(item.status, 'unknown')


def _holders(items: Sequence[Item]) -> tuple[Holder, ...]:
    return tuple(_holder(item) for item in items[:SHOWN])


def _holder(item: Item) -> Holder:
    error = item.fields['error']
    return Holder(
        item.id, _doing(item), None, None, item.since, None,
        item.score if item.status in (Status.WORKING, Status.DELAYED) else None,
        None if error is None else error.decode('utf-8', 'backslashreplace'),
    )  # fmt: skip
