"""The layer's own scripts, which go over the queue object's connection, in its event loop."""

import functools
import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueServerError

BEGINNINGS = {'beat': '_sizes', 'sizes': '_sizes'}
"""What some scripts begin with."""


@functools.cache
def _load(name: str) -> tuple[str, str]:
    """The text of a script, and its digest."""
    folder, files = importlib.resources.files('torrelque.worker') / 'script', filter(None, [BEGINNINGS.get(name), name])
    text = ''.join((folder / f'{file}.lua').read_text('utf-8') for file in files)
    return text, hashlib.sha1(text.encode()).hexdigest()


async def run_script(queue: TorrelqueQueue, name: str, keys: Sequence[str | bytes], *args: str | bytes | int) -> Any:
    """The reply of a script.  When the reply was lost the script is sent again, so it may be carried out twice."""
    text, digest = _load(name)
    rest = len(keys), *keys, *args
    try:
        return await queue.command('EVALSHA', digest, *rest)
    except TorrelqueServerError as exc:
        # A server that was restarted, or is another one by now, does not know the script yet.
        if 'NOSCRIPT' not in str(exc):
            raise
    return await queue.command('EVAL', text, *rest)
