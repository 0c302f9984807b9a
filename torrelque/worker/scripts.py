"""The layer's own scripts, which go over the queue object's connection, in its event loop."""

import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

from torrelque import Torrelque


@functools.cache
def _load(name: str) -> str:
    return (importlib.resources.files('torrelque.worker') / 'script' / f'{name}.lua').read_text('utf-8')


async def run_script(queue: Torrelque, name: str, keys: Sequence[str | bytes], *args: str | bytes | int) -> Any:
    """The reply of a script.  When the reply was lost the script is sent again, so it may be carried out twice."""
    return await queue.command('EVAL', _load(name), len(keys), *keys, *args)
