"""The only place that sends the layer's own scripts, over the queue object's connection.

All of them only read.  So they are sent as read-only scripts where the server has these (Redis 7, Valkey), and a user
of the server who may only read can use all that looks.
"""

import functools
import hashlib
import importlib.resources
from typing import Any
from weakref import WeakKeyDictionary

from torrelque import TorrelqueQueue, TorrelqueServerError

# Whether the server of a queue has no read-only scripts, once that is known.
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
    text, digest = load(name)
    rest = [2, queue.keys['pending'].encode(), queue.keys['never'].encode(), *args]
    suffix = '' if _old.get(queue) else '_RO'
    try:
        return await queue.command(f'EVALSHA{suffix}', digest, *rest)
    except TorrelqueServerError as exc:
        message = str(exc)
        if 'NOSCRIPT' in message:
            return await queue.command(f'EVAL{suffix}', text, *rest)
        if not suffix or 'unknown command' not in message.lower():
            raise
    _old[queue] = True
    return await ask(queue, name, *args)
