"""Which queues are known by name, and what is told of a name that nothing is known of: a slip must not look well."""

import asyncio
import contextlib
import difflib
from typing import TYPE_CHECKING, Any

from torrelque.worker.places import is_one

from .failure import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torrelque import TorrelqueQueue
    from torrelque.operate import Found
    from torrelque.sharded import Sharded

SOON = 3.0
"""s that are waited for the answer whether a queue has shards, before it is served."""


async def read_names(client: Any) -> 'list[Found]':
    """The queues of the registry.

    :raises Failure: the user of the server may not read it, or there is something else in its place.
    """
    import redis.exceptions

    from torrelque import TorrelqueConnectionError, TorrelqueServerError
    from torrelque.operate import known

    try:
        return await known(client)
    except TorrelqueConnectionError as exc:
        raise Failure(
            f'the server that has the names of queues cannot be reached: name the queue with -q; {exc}', Exit.AWAY
        ) from exc  # fmt: skip
    except redis.exceptions.NoPermissionError as exc:
        raise Failure(
            'this user of the server may not read the names of queues: grant %R~torrelque:queues (Redis 6.2: '
            '~torrelque:queues), or name the queue with -q', Exit.REFUSED
        ) from exc  # fmt: skip
    except TorrelqueServerError as exc:
        if 'WRONGTYPE' not in str(exc):
            raise
        raise Failure(
            'the key torrelque:queues of the server holds something else than the names of queues: delete it, and '
            'workers write it anew; or name the queue with -q', Exit.REFUSED
        ) from exc  # fmt: skip


async def is_there(queue: 'TorrelqueQueue') -> bool:
    """Whether the server has anything of a queue."""
    import redis.exceptions

    from torrelque.protocol.keys import FIXED, PREFIXES

    await queue.ready()
    for shard in queue.shards:
        names = [name for name in shard.keys if name not in PREFIXES]
        try:
            found = await shard.command('EXISTS', *(shard.keys[name].encode() for name in names))
        except redis.exceptions.NoPermissionError:
            # The user of a producer, or of a worker.
            found = await shard.command('EXISTS', *(shard.keys[name].encode() for name in FIXED))
        if found:
            return True
    return False


async def as_it_is(queue: 'TorrelqueQueue') -> 'TorrelqueQueue':
    """A queue that was named, as the server has it: one with shards, where there is a map of them; it is asked once."""
    from torrelque import TorrelqueServerError
    from torrelque.sharded.finding import find_map

    if not is_one(queue):
        # The file says that it has shards; one that cannot be so is refused here, where nothing was told yet.
        await queue.ready()
        return queue
    try:
        found = await find_map(queue)
    except TorrelqueServerError:
        # A user who may not read it has to do with queues of one place alone.
        found = None
    if found is None:
        return queue
    await queue.aclose()
    whole = with_shards(queue)
    await whole.ready()
    return whole


def with_shards(queue: 'TorrelqueQueue', shards: int | None = None) -> 'Sharded':
    """A queue of the same name and settings that has shards, so many or as many as there are."""
    from torrelque.sharded import Sharded

    whole = Sharded(
        queue.client, queue=queue.name, serialiser=queue.serialiser, max_tasks=queue.max_tasks, shards=shards
    )
    whole.task_timeout, whole.result_ttl = queue.task_timeout, queue.result_ttl
    return whole


async def find_sharded(names: 'Sequence[str]', url: str | None) -> frozenset[str]:
    """Which queues of a server have shards: their tasks are elsewhere than those of queues in one place.

    A server that does not answer soon is left to whoever waits for it.

    :raises Failure: one is on several servers, or there is no such address.
    """
    from torrelque import Torrelque, TorrelqueError
    from torrelque.sharded.finding import find_map
    from torrelque.tasks.address import close_client

    from .server import connect

    client, found = connect(url), dict[str, Any]()
    try:
        for name in names:
            async with Torrelque(client, queue=name) as queue:
                with contextlib.suppress(TorrelqueError, ValueError, asyncio.TimeoutError):
                    known = await asyncio.wait_for(find_map(queue), SOON)
                    found.update({} if known is None else {name: known.get('servers')})
    finally:
        await close_client(client)
    for name, servers in found.items():
        if servers is not None and servers > 1:
            raise Failure(
                f'queue {name!r} is on {servers} servers: name them in a file, as servers = […] of [queues.{name}]'
            )
    return frozenset(found)


async def unknown(queue: 'TorrelqueQueue') -> str | None:
    """What is told of a queue that the server has nothing of, and whose name nobody has noted; None of others, and
    where the names cannot be read."""
    if await is_there(queue):
        return None
    from torrelque.worker.places import clients_of

    with contextlib.suppress(Failure):
        names = [one.name for one in await read_names(clients_of(queue)[0])]
        return None if queue.name in names else not_known('queue', queue.name, names)
    return None


def not_known(what: str, name: str, names: list[str]) -> str:
    """That nothing is known of a name, and which may be meant."""
    near = difflib.get_close_matches(name, names, 3)
    meant = f'; did you mean {" or ".join(map(repr, near))}?' if near else ''
    return f'no {what} {name!r} is known{meant}'
