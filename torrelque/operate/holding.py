"""Who is in the way: the tasks that hold the slots of a group, and the workers that have them in hand."""

from collections.abc import Sequence
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueServerError, TorrelqueTaskStatus as Status, TorrelqueValueError

from . import crew as hearts
from .asking import ask
from .hearts import Crew, find_crew
from .looking import Seen, lease_of
from .reading import bytes_of, instant_of, text_of
from .values import Holder
from .viewing import function_of, load

SHOWN = 20
"""Holders that are told of at the most."""
PAGE, PAGES = 1000, 10
"""Fields of `holders` that are read in a call, and calls, at the most."""
PAYLOAD = 4096


async def read_crew(seen: Seen) -> Crew:
    """The workers, as far as they tell why the task that was looked at does not run: of those that have it, or know its
    function, all; of the others what is small.  None where they are nothing to it."""
    queue, status, nobody = seen.queue, seen.status, Crew(seen.queue.name)
    if not seen.raw['workers']:
        return nobody
    if seen.id is None or status == Status.DELAYED:
        return Crew(queue.name, tuple(await hearts.read_workers(queue, False)))
    if status == Status.PENDING:
        function = function_of(load(queue, seen.raw.get('payload')))
        return await find_crew(queue, [] if function is None else [function], most=1)
    return nobody if seen.told('lease_end') is None else await find_crew(queue, [seen.id])


async def find_holders(seen: Seen) -> tuple[Holder, ...]:
    """Tasks that hold a slot of the group, some twenty at the most: those that hearts tell of, else by a search of
    all slots in use, which ends after 10,000."""
    group, queue = seen.group, seen.queue
    if group is None:
        return ()
    wanted = min(group.slots, SHOWN)
    ids = dict.fromkeys([group.head] if group.head is not None else [])
    beating, crew = bool(seen.raw['workers']), Crew(queue.name)
    if beating:
        crew = await find_crew(queue, [group.name], SHOWN)
    ids.update(dict.fromkeys(task.id for _, task in crew.running() if task.group == group.name and _is_id(task.id)))
    found = await _tell(seen, crew, list(ids)[:SHOWN])
    if len(found) < wanted:
        ids.update(dict.fromkeys(await _search(queue, group.name, wanted)))
        some = list(ids)[: 2 * SHOWN]
        if beating:
            crew = await find_crew(queue, some)
        found = await _tell(seen, crew, some)
    order = ('working', 'delayed', 'next', 'unknown')
    return tuple(sorted(found, key=lambda one: (order.index(one.doing), one.since or 0, one.id))[:SHOWN])


def _is_id(text: str) -> bool:
    """Whether what a heart tells can be an id: whatever is in JSON may have no bytes."""
    try:
        return bool(bytes_of(text))
    except TorrelqueValueError:
        return False


async def _search(queue: TorrelqueQueue, group: str, wanted: int) -> list[str]:
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
    elif status == b'%d' % Status.DELAYED and due is not None:
        doing, until = 'delayed', instant_of(due)
    elif status == b'%d' % Status.PENDING:
        if task_id != group.head:
            return None
        doing = 'next'
    elif status is not None:
        return None
    since, length = instant_of(claimed), lease_of(lease)
    worker = crew.holder(task_id, since) if doing == 'working' else None
    renewed = None if doing != 'working' or until is None else until - length
    return Holder(
        task_id, doing, crew.function(task_id) or function_of(load(seen.queue, payload)),
        None if worker is None else worker.name, since if doing != 'next' else None, renewed, until,
        None if error is None else error.decode('utf-8', 'backslashreplace'),
        # Whoever was told of a cancellation gives the slot back; to take the task away would not.
        status == b'%d' % Status.WORKING and crew.is_orphaned(task_id, since, renewed, length, seen.now),
    )  # fmt: skip
