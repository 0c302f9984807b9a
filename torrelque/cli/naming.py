"""Which queues are known by name, and what is told of a name that nothing is known of: a slip must not look well."""

import contextlib
import difflib
from typing import TYPE_CHECKING, Any

from .failure import Exit, Failure

if TYPE_CHECKING:
    from torrelque import TorrelqueQueue
    from torrelque.operate import Found


async def read_names(client: Any) -> 'list[Found]':
    """The queues of the registry.

    :raises Failure: the user of the server may not read it, or there is something else in its place.
    """
    from torrelque import TorrelqueServerError
    from torrelque.operate import known

    try:
        return await known(client)
    except TorrelqueServerError as exc:
        if 'WRONGTYPE' in str(exc):
            raise Failure(
                'the key torrelque:queues of the server holds something else than the names of queues: delete it, and '
                'workers write it anew; or name the queue with -q', Exit.REFUSED
            ) from exc  # fmt: skip
        if 'NOPERM' not in str(exc):
            raise
        raise Failure(
            'this user of the server may not read the names of queues: grant %R~torrelque:queues (Redis 6.2: '
            '~torrelque:queues), or name the queue with -q', Exit.REFUSED
        ) from exc  # fmt: skip


async def is_there(queue: 'TorrelqueQueue') -> bool:
    """Whether the server has anything of a queue."""
    return bool(await queue.command('EXISTS', *map(str.encode, queue.keys.values())))


async def unknown(queue: 'TorrelqueQueue') -> str | None:
    """What is told of a queue that the server has nothing of, and whose name nobody has noted; None of others, and
    where the names cannot be read."""
    if await is_there(queue):
        return None
    with contextlib.suppress(Failure):
        names = [one.name for one in await read_names(queue.client)]
        return None if queue.name in names else not_known('queue', queue.name, names)
    return None


def not_known(what: str, name: str, names: list[str]) -> str:
    """That nothing is known of a name, and which may be meant."""
    near = difflib.get_close_matches(name, names, 3)
    meant = f'; did you mean {" or ".join(map(repr, near))}?' if near else ''
    return f'no {what} {name!r} is known{meant}'
