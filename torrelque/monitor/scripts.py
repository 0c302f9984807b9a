"""The only place that sends the layer's own script, over the queue object's connection."""

import functools
import hashlib
import importlib.resources
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueServerError
from torrelque.operate.parts import home_of


@functools.cache
def load(name: str) -> tuple[str, str]:
    """The text of a script without lines that are comments, and its digest."""
    lines = (importlib.resources.files('torrelque.monitor') / 'script' / f'{name}.lua').read_text('utf-8')
    text = ''.join(line for line in lines.splitlines(True) if not line.lstrip().startswith('--'))
    return text, hashlib.sha1(text.encode()).hexdigest()


async def run_script(queue: TorrelqueQueue, name: str, *args: str | bytes | float) -> Any:
    """The reply of a script.  When the reply was lost the script is sent again, so it may be carried out twice.

    :raises TorrelqueServerError: the server refused it.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    text, digest = load(name)
    queue = await home_of(queue)
    rest = [2, queue.keys['pending'].encode(), queue.keys['never'].encode(), *args]
    try:
        return await queue.command('EVALSHA', digest, *rest)
    except TorrelqueServerError as exc:
        # A server that was restarted, or is another one by now, does not know the script yet.
        if 'NOSCRIPT' not in str(exc):
            raise
    return await queue.command('EVAL', text, *rest)
