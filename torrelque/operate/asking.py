"""The only place that sends the layer's own scripts, over the queue object's connection.

All of them only read.  So they are sent as read-only scripts where the server has these (Redis 7, Valkey), and a user
of the server who may only read can use all that looks.  Where the server has none, or the user may not send them, they
are sent as any other script.
"""

import functools
import hashlib
import importlib.resources
from typing import Any
from weakref import WeakKeyDictionary

import redis.exceptions

from torrelque import TorrelqueQueue, TorrelqueServerError

# Whether the server of a queue has no read-only scripts, or has none for its user, once that is known.
_old: WeakKeyDictionary[TorrelqueQueue, bool] = WeakKeyDictionary()


@functools.cache
def load(name: str) -> tuple[str, str]:
    """The text of a script, behind what all of them begin with, without lines that are comments; and its digest."""
    folder = importlib.resources.files('torrelque.operate') / 'script'
    lines = ''.join((folder / f'{file}.lua').read_text('utf-8') for file in ('_begin', name)).splitlines(True)
    text = ''.join(line for line in lines if not line.lstrip().startswith('--'))
    return text, hashlib.sha1(text.encode()).hexdigest()


async def ask(queue: TorrelqueQueue, name: str, *args: str | bytes | float) -> Any:
    """The reply of a script, texts as bytes.  It may be cancelled, and be repeated.

    :raises TorrelqueServerError: the server refused it.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    suffix = '' if _old.get(queue) else '_RO'
    try:
        return await _send(queue, suffix, name, args)
    except TorrelqueServerError as exc:
        message = str(exc).lower()
        denied = isinstance(exc, redis.exceptions.NoPermissionError) and "_ro'" in message
        if not suffix or not (denied or 'unknown command' in message):
            raise
        refused = exc
    try:
        reply = await _send(queue, '', name, args)
    except redis.exceptions.NoPermissionError as exc:
        # Of a server without read-only scripts, that these are missing is not why.  Of a user who may send neither, the
        # first is to be told.
        if denied and "'evalsha" in str(exc).lower():
            raise refused from None
        raise exc from None
    _old[queue] = True
    return reply


async def read(queue: TorrelqueQueue, *words: str | bytes | float) -> Any:
    """The reply of a command that reads a key, texts as bytes; None where the key holds something else.

    :raises TorrelqueServerError: the server refused it.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    try:
        return await queue.command(*words)
    except TorrelqueServerError as exc:
        if 'WRONGTYPE' in str(exc):
            return None
        raise


async def _send(queue: TorrelqueQueue, suffix: str, name: str, args: tuple[str | bytes | float, ...]) -> Any:
    text, digest = load(name)
    rest = [2, queue.keys['pending'].encode(), queue.keys['never'].encode(), *args]
    try:
        return await queue.command(f'EVALSHA{suffix}', digest, *rest)
    except TorrelqueServerError as exc:
        if 'NOSCRIPT' not in str(exc):
            raise
    return await queue.command(f'EVAL{suffix}', text, *rest)
