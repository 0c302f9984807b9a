"""Tasks, some at a time, by cursors: a walk misses no task that stays where it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from torrelque import TorrelqueLookupError, TorrelqueQueue, TorrelqueTaskStatus

from .asking import ask
from .grouping import read_group
from .hearts import Watch
from .overview import read_figures
from .places import PLACES, Walk
from .reading import bytes_of, check_unique, instant_of, text_of
from .values import Page, TaskView
from .viewing import FINAL, Item, item_of, view_of

__all__ = ['PLACES', 'find_task', 'read_page', 'read_tasks', 'walk']

CALL = 32
"""Tasks of one call at the most."""
REPLY = 1_000_000
"""Bytes of one reply, about, at the most."""
PART = 250
"""Tasks that a walk gives at a time."""
FOR_NAMES = 65536
"""Bytes of a payload up to which it is read for the name of its function."""


async def read_page(
    queue: TorrelqueQueue, place: str, after: str | None, most: int, look: int, payload: int, newest_first: bool = False
) -> Page:
    """A page; of payloads up to so many bytes.  Places are also 'orphaned' and 'ready'.

    :param look: tasks that are looked at at the most: where most of a place are passed over, a page is short.
    """
    way = Walk(queue, place, newest_first=newest_first)
    if after is not None:
        way.load(after)
    found: list[TaskView] = []
    watch, looked_at = Watch(queue), 0
    while not way.over and len(found) < most and looked_at < look:
        ids, names = await way.read(min(most - len(found), look - looked_at))
        looked_at += max(1, len(ids))
        tasks = await read_ids(queue, ids, payload, True, watch)
        found += [task for task in tasks if belongs(task, names, place, watch)]
    now, total = await count(queue, place)
    return Page(
        queue=queue.name,
        place=place,
        server_time=now,
        tasks=tuple(found),
        cursor=way.save(),
        total=total,
        looked_at=looked_at,
        broken=way.broken,
    )


async def count(queue: TorrelqueQueue, place: str) -> tuple[float, int]:
    """The time of the server, and how many tasks are in a place."""
    figures = await read_figures(queue)
    one = await read_group(queue, place[6:]) if place.startswith('group:') else None
    return figures.now, figures.count(place) if one is None else one.waiting


async def read_tasks(
    queue: TorrelqueQueue, ids: Sequence[str], payload: int, function: bool = True, watch: Watch | None = None
) -> list[TaskView]:
    """What there is of these tasks, in their order; one that the queue does not know has no status and no payload.

    :param payload: bytes of a payload that is told, at the most.
    :param function: whether payloads up to 64 kB are read for the name of their function, told or not.
    :param watch: what tells by whom they are worked on.
    """
    return await read_ids(queue, [bytes_of(task_id) for task_id in ids], payload, function, watch or Watch(queue))


async def walk(
    queue: TorrelqueQueue,
    place: str,
    payload: int = 0,
    *,
    since: float | None = None,
    until: float | None = None,
    group: str | None = None,
    newest_first: bool = False,
    function: bool = False,
    watch: Watch | None = None,
) -> AsyncIterator[list[TaskView]]:
    """All tasks of a place, 250 at a time.  A task that leaves it meanwhile may be told, one that stays is.  None is
    told twice, but one that was told, has moved within its place, and was met again a thousand tasks later.

    :param payload: bytes of a payload that is told, at the most; with 0 none is read.
    :param since: of dead, delayed and working tasks, when they died, are due or their lease ends, at the earliest.
    :param until: the same, at the latest.
    :param group: only tasks of this group; of pending ones, no others are looked at.
    :param newest_first: of these places, the latest first.
    :param function: whether payloads up to 64 kB are read for the name of their function.
    :param watch: what tells by whom tasks are worked on; kept over a whole act.
    """
    if group is not None and place in ('pending', 'group'):
        place = f'group:{group}'
    way, watch = Walk(queue, place, newest_first=newest_first, since=since, until=until), watch or Watch(queue)
    while not way.over:
        ids, names = await way.read(PART)
        tasks = [
            task
            for task in await read_ids(queue, ids, payload, function, watch)
            if belongs(task, names, place, watch) and (group is None or task.group == group)
        ]
        if tasks:
            yield tasks


async def read_ids(
    queue: TorrelqueQueue, ids: Sequence[bytes], payload: int, function: bool, watch: Watch
) -> list[TaskView]:
    """Some tasks by their ids; hearts are asked once for all of them."""
    room = max(payload, FOR_NAMES) if function else payload or -1
    found: list[tuple[str, float, Item, list[str]]] = []
    heard = False
    while len(found) < len(ids):
        part = ids[len(found) : len(found) + CALL]
        now, broken, beating, *items = await ask(queue, 'page', room, REPLY, *part)
        heard = heard or bool(beating) or queue.home is not queue
        keys = [text_of(name) for name in broken]
        found += [
            (text_of(task_id), int(now) / 1000, item_of(words), keys)
            for task_id, words in zip(part, items, strict=False)
        ]
    at_work = [task_id for task_id, _, item, _ in found if item.place == b'working']
    if heard and at_work:
        await watch.read(at_work)
    return [_view(queue, *one, watch, payload, function) for one in found]


def _view(
    queue: TorrelqueQueue, task_id: str, now: float, item: Item, keys: Sequence[str], watch: Watch, room: int,
    function: bool
) -> TaskView:  # fmt: skip
    worker = None
    if item.place == b'working':
        worker = watch.crew.holder(task_id, instant_of(item.fields['last_dequeue_time']))
    name = None if worker is None else worker.name
    return view_of(queue, task_id, now, item, worker=name, room=room or -1, function=function, keys=keys)


def belongs(task: TaskView, names: Sequence[str], place: str, watch: Watch) -> bool:
    """Whether a task is where it was met: it may have left in between, and a list has ids of those that did."""
    if task.place is None:
        return task.broken is not None and task.status not in FINAL and place != 'orphaned'
    if task.place not in names:
        return False
    return place != 'orphaned' or _is_orphaned(task, watch)


def _is_orphaned(task: TaskView, watch: Watch) -> bool:
    claimed, renewed = task.last_dequeue_time, task.renewed
    return task.status is TorrelqueTaskStatus.WORKING and watch.crew.is_orphaned(
        task.id, claimed, renewed, task.timeout, task.server_time
    )


async def find_task(queues: Sequence[TorrelqueQueue], task_id: str, room: int) -> TaskView:
    """A task of the one queue that knows it; of one that has ended within a flow, what that tells.

    :raises TorrelqueLookupError: no queue knows it.
    :raises TorrelqueValueError: several know it.
    """
    views = [(queue, view) for queue in queues for view in await read_tasks(queue, [task_id], room)]
    found = [view for _, view in views if view.status is not None or view.broken]
    if not found:
        for queue, view in views:
            with suppress(TorrelqueLookupError):
                state = await queue.get_task_state(task_id)
                end = {'status': state.status, 'result': state.result, 'error': state.error, 'flow': state.flow}
                found.append(replace(view, **end))
    if not found:
        raise TorrelqueLookupError(
            f'the queue has no task {task_id!r}' if len(queues) == 1 else f'none of the queues has a task {task_id!r}'
        )
    check_unique({task_id: [view.queue for view in found]})
    return found[0]
