"""An app in a module of its own, of which commands are told by ``--app``."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHOP = """
from torrelque.tasks import Tasks

app = Tasks.from_url(queue={queue!r})


@app.task(group='mails', queue={other!r})
async def send(addr: str, copies: int = 1) -> str: ...


@app.fifo(queue='orders')
async def book(n: int) -> None: ...
"""


def begin_anew() -> None:
    """Have the module imported again, as it is by a command in a process of its own."""
    sys.modules.pop('shop_of_test', None)


@contextmanager
def own_shop(queue: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The target of an app with a function in a queue of its own; the folder becomes the current one."""
    (folder / 'shop_of_test.py').write_text(SHOP.format(queue=queue, other=f'{queue}-other'))
    monkeypatch.chdir(folder)
    begin_anew()
    # The queue that is meant is that of the app.
    monkeypatch.delenv('TORRELQUE_QUEUE')
    yield 'shop_of_test:app'
    # What an app holds that was imported anew is left to the collector, which may come in any other test.
    begin_anew()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        gc.collect()
