"""Tasks, some at a time, by cursors: a walk misses no task that stays where it is."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from torrelque import Torrelque, TorrelqueTaskStatus

from . import crew
from .asking import ask
from .grouping import read_group
from .overview import read_figures
from .places import PLACES, Walk
from .reading import bytes_of, text_of
from .values import Page, TaskView
from .viewing import FINAL, Item, item_of, view_of

__all__ = ['PLACES', 'read_page', 'read_tasks', 'walk']

CALL = 50
"""Tasks of one call at the most."""
REPLY = 1_000_000
"""Bytes of one reply, about, at the most."""
PART = 250
"""Tasks that a walk gives at a time."""
FOR_NAMES = 65536
"""Bytes of a payload up to which it is read for the name of its function."""
LOOKED_AT = 10_000
"""Tasks that are looked at for one page, at the most: where most of a place is passed over, a page is short."""
HEARTS = 5.0
"""For how long (s) a walk takes what hearts have told for true."""


class Holders:
    """Who has which task in hand, as far as hearts tell."""

    def __init__(self, queue: Torrelque) -> None:
        self._queue = queue
        self._read: float | None = None
        self._live: dict[str, str] = {}
        # Of lost workers: name, and when it was seen last.
        self._lost: dict[str, tuple[str, float]] = {}

    async def read(self) -> None:
        """Ask hearts, where they were not asked just now."""
        if self._read is not None and time.monotonic() < self._read + HEARTS:
            return
        self._live, self._lost = {}, {}
        for worker in await crew.read_workers(self._queue, running=True):
            for running in worker.running:
                if running.queue != self._queue.name:
                    continue
                if worker.state == 'lost':
                    self._lost[running.id] = worker.name, worker.seen
                else:
                    self._live[running.id] = worker.name
        self._read = time.monotonic()

    def find(self, task_id: str, claimed: bytes | None) -> str | None:
        """The worker that has a task in hand, or had it when it was lost.

        :param claimed: when the task was handed out last (ms): a worker that was lost before has it no more.
        """
        if task_id in self._live:
            return self._live[task_id]
        name, seen = self._lost.get(task_id, (None, 0.0))
        return name if name is not None and float(claimed or 0) / 1000 <= seen + 1 else None

    def lives(self, task: TaskView) -> bool:
        """Whether a worker that lives has a task in hand."""
        return task.id in self._live


async def read_page(
    queue: Torrelque, place: str, after: str | None, most: int, payload: int, newest_first: bool = False
) -> Page:
    """A page; of payloads up to so many bytes.  Places are also 'orphaned' and 'ready'."""
    way = Walk(queue, place, newest_first=newest_first)
    if after is not None:
        way.load(after)
    found: list[TaskView] = []
    holders, looked_at = Holders(queue), 0
    while not way.over and len(found) < most and looked_at < LOOKED_AT:
        ids, names = await way.read(most - len(found))
        looked_at += max(1, len(ids))
        tasks = await _read(queue, ids, payload, True, holders)
        found += [task for task in tasks if _belongs(task, names, place, holders)]
    figures = await read_figures(queue)
    one = await read_group(queue, place[6:]) if place.startswith('group:') else None
    total = figures.count(place) if one is None else one.waiting
    return Page(
        queue=queue.name,
        place=place,
        server_time=figures.now,
        tasks=tuple(found),
        cursor=way.save(),
        total=total,
        broken=way.broken,
    )


async def read_tasks(queue: Torrelque, ids: Sequence[str], payload: int, function: bool = True) -> list[TaskView]:
    """What there is of these tasks, in their order; one that the queue does not know has no status and no payload.

    :param payload: bytes of a payload that is told, at the most.
    :param function: whether payloads up to 64 kB are read for the name of their function, told or not.
    """
    return await _read(queue, [bytes_of(task_id) for task_id in ids], payload, function, Holders(queue))


async def walk(
    queue: Torrelque,
    place: str,
    payload: int = 0,
    *,
    since: float | None = None,
    until: float | None = None,
    group: str | None = None,
    newest_first: bool = False,
    function: bool = False,
) -> AsyncIterator[list[TaskView]]:
    """All tasks of a place, 250 at a time.  A task that leaves it meanwhile may be told, one that stays is.  None is
    told twice, but one that was told, has moved within its place, and was met again a thousand tasks later.

    :param payload: bytes of a payload that is told, at the most; with 0 none is read.
    :param since: of dead, delayed and working tasks, when they died, are due or their lease ends, at the earliest.
    :param until: the same, at the latest.
    :param group: only tasks of this group; of pending ones, no others are looked at.
    :param newest_first: of these places, the latest first.
    :param function: whether payloads up to 64 kB are read for the name of their function.
    """
    if group is not None and place in ('pending', 'group'):
        place = f'group:{group}'
    way, holders = Walk(queue, place, newest_first=newest_first, since=since, until=until), Holders(queue)
    while not way.over:
        ids, names = await way.read(PART)
        tasks = [
            task
            for task in await _read(queue, ids, payload, function, holders)
            if _belongs(task, names, place, holders) and (group is None or task.group == group)
        ]
        if tasks:
            yield tasks


async def _read(
    queue: Torrelque, ids: Sequence[bytes], payload: int, function: bool, holders: Holders
) -> list[TaskView]:
    tasks: list[TaskView] = []
    room = max(payload, FOR_NAMES) if function else payload or -1
    at = 0
    while at < len(ids):
        now, broken, beating, *items = await ask(queue, 'page', room, REPLY, *ids[at : at + CALL])
        some = [item_of(words) for words in items]
        if beating and any(item.place == b'working' for item in some):
            await holders.read()
        keys = [text_of(name) for name in broken]
        for task_id, item in zip(ids[at : at + CALL], some, strict=False):
            tasks.append(_view(queue, text_of(task_id), int(now) / 1000, item, holders, payload, function, keys))
        at += len(some)
    return tasks


def _view(queue: Torrelque, task_id: str, now: float, item: Item, holders: Holders, *more: Any) -> TaskView:
    room, function, keys = more
    worker = holders.find(task_id, item.fields['last_dequeue_time']) if item.place == b'working' else None
    return view_of(queue, task_id, now, item, worker=worker, room=room or -1, function=function, keys=keys)


def _belongs(task: TaskView, names: Sequence[str], place: str, holders: Holders) -> bool:
    """Whether a task is where it was met: it may have left in between, and a list has ids of those that did."""
    if task.place is None:
        return task.broken is not None and task.status not in FINAL and place != 'orphaned'
    if task.place not in names:
        return False
    return place != 'orphaned' or _is_orphaned(task, holders)


def _is_orphaned(task: TaskView, holders: Holders) -> bool:
    """Whether a task is with nobody, as far as is known: the worker that had it is lost; or no worker that lives names
    it, and its lease was not renewed for half of its length."""
    if task.status is not TorrelqueTaskStatus.WORKING or task.timeout is None or task.renewed is None:
        return False
    # Of a task with a worker that does not live, the worker is a lost one.
    silent = task.worker is not None or task.server_time - task.renewed > task.timeout / 2
    return silent and not holders.lives(task)
