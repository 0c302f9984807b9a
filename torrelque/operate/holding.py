"""Who is in the way: the tasks that hold the slots of a group, and the workers that have them in hand."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torrelque import Torrelque, TorrelqueServerError, TorrelqueTaskStatus

from . import crew
from .asking import ask
from .looking import Seen, lease_of
from .reading import bytes_of, instant_of, text_of
from .values import Holder, RunningView, WorkerView
from .viewing import function_of, load

SHOWN = 20
"""Holders that are told of at the most."""
PAGE, PAGES = 1000, 10
"""Fields of `holders` that are read in a call, and calls, at the most."""
PAYLOAD = 4096


@dataclass(frozen=True)
class Crew:
    """The workers of a queue that have a heartbeat."""

    queue: str
    workers: tuple[WorkerView, ...] = ()

    @property
    def live(self) -> tuple[WorkerView, ...]:
        """Those that live; one that stops is among them."""
        return tuple(worker for worker in self.workers if worker.state != 'lost')

    @property
    def lost(self) -> tuple[WorkerView, ...]:
        """Those that went without saying goodbye."""
        return tuple(worker for worker in self.workers if worker.state == 'lost')

    def running(self) -> Iterable[tuple[WorkerView, RunningView]]:
        """What they have in hand of this queue, the living first."""
        for worker in (*self.live, *self.lost):
            for task in worker.running:
                if task.queue == self.queue:
                    yield worker, task

    def holder(self, task_id: str) -> WorkerView | None:
        """The worker that has a task in hand, or had it when it was lost."""
        return next((worker for worker, task in self.running() if task.id == task_id), None)

    @property
    def whole(self) -> bool:
        """Whether the living tell of all that they have in hand: they name a hundred tasks at the most."""
        return all(worker.busy <= len(worker.running) for worker in self.live)


async def read_crew(seen: Seen) -> Crew:
    """The workers, where there is any trace of one."""
    queue = seen.queue
    return Crew(queue.name, tuple(await crew.read_workers(queue)) if seen.raw['workers'] else ())


async def find_holders(seen: Seen, crew: Crew) -> tuple[Holder, ...]:
    """Tasks that hold a slot of the group, some twenty at the most: those that hearts tell of, else by a search of
    all slots in use, which ends after 10,000."""
    group, queue = seen.group, seen.queue
    if group is None:
        return ()
    wanted = min(group.slots, SHOWN)
    ids = dict.fromkeys([group.head] if group.head is not None else [])
    ids.update(dict.fromkeys(task.id for _, task in crew.running() if task.group == group.name))
    found = await _tell(seen, crew, list(ids)[:SHOWN])
    if len(found) < wanted:
        ids.update(dict.fromkeys(await _search(queue, group.name, wanted)))
        found = await _tell(seen, crew, list(ids)[: 2 * SHOWN])
    order = ('working', 'delayed', 'next', 'unknown')
    return tuple(sorted(found, key=lambda one: (order.index(one.doing), one.since or 0, one.id))[:SHOWN])


async def _search(queue: Torrelque, group: str, wanted: int) -> list[str]:
    """Ids of tasks that hold a slot of a group, by `holders`; where that holds something else, none."""
    name, cursor, found = bytes_of(group), b'0', list[str]()
    key = queue.keys['holders'].encode()
    for _ in range(PAGES):
        try:
            cursor, fields = await queue.command('HSCAN', key, cursor, 'COUNT', PAGE)
        except TorrelqueServerError:
            break
        found += [text_of(task_id) for task_id, owner in zip(fields[::2], fields[1::2], strict=True) if owner == name]
        if len(found) >= wanted or cursor in (b'0', 0):
            break
    return found


async def _tell(seen: Seen, crew: Crew, ids: Sequence[str]) -> list[Holder]:
    """What tasks do that may hold a slot; those that do not are left out."""
    if not ids:
        return []
    reply = await ask(seen.queue, 'who', PAYLOAD, *map(bytes_of, ids))
    told = [_holder(seen, crew, *pair) for pair in zip(ids, reply[1:], strict=True)]
    return [holder for holder in told if holder is not None]


def _holder(seen: Seen, crew: Crew, task_id: str, known: Sequence[Any]) -> Holder | None:
    status, lease, claimed, owner, error, end, due, payload = known
    group = seen.group
    assert group is not None
    if status is not None and owner != bytes_of(group.name):
        return None
    doing, until = 'unknown', None
    if end is not None:
        doing, until = 'working', instant_of(end)
    elif status == b'%d' % TorrelqueTaskStatus.DELAYED and due is not None:
        doing, until = 'delayed', instant_of(due)
    elif status == b'%d' % TorrelqueTaskStatus.PENDING:
        if task_id != group.head:
            return None
        doing = 'next'
    elif status is not None:
        return None
    worker = crew.holder(task_id) if doing == 'working' else None
    name = next((task.name for _, task in crew.running() if task.id == task_id and task.name), None)
    return Holder(
        task_id, doing, name or function_of(load(seen.queue, payload)), None if worker is None else worker.name,
        instant_of(claimed) if doing != 'next' else None,
        None if doing != 'working' or until is None else until - lease_of(lease), until,
        None if error is None else error.decode('utf-8', 'backslashreplace'),
    )  # fmt: skip
