"""The only place of this layer that uses what is private of the core; `test/project/test_layout.py` lists it."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueError, TorrelqueTaskId
from torrelque.aio.shelf import Delivery, Shelf
from torrelque.aio.waiters import Waiters
from torrelque.codec import JSON
from torrelque.error import ServerStaleError, is_untouched, no_reply, no_task, reason_of
from torrelque.protocol import growing, schedules, steps
from torrelque.protocol.calls import Calls
from torrelque.protocol.routed import Routed

if TYPE_CHECKING:
    import torrelque.sync

__all__ = [
    'JSON', 'Delivery', 'Make', 'Routed', 'ServerStaleError', 'Shelf', 'Waiters', 'ask', 'bind', 'end_ids', 'greet',
    'growing', 'is_known', 'is_untouched', 'is_up', 'mark', 'marked', 'no_reply', 'no_task', 'reason_of', 'run',
    'run_sync', 'schedules', 'shelf_of', 'steps', 'waiters_of',
]  # fmt: skip


def end_ids(shard: 'Torrelque | torrelque.sync.Torrelque', suffix: str) -> None:
    """Have a queue object be a shard from now on: the ids that it makes end with its number, and messages say it."""
    calls = shard._calls
    calls.ids.suffix, calls.is_shard = suffix, True
    calls.name = calls.transitions.queue = calls.name_of(calls.queue)


Make = Callable[[Calls], steps.Steps[Any]]
"""Makes what is done at one shard, by what that has for its calls."""


async def run(shard: Torrelque, make: Make) -> Any:
    """Do something at a shard; what it comes to."""
    return await shard._started().run(make(shard._calls))


def run_sync(shard: 'torrelque.sync.Torrelque', make: Make) -> Any:
    """The same at one of the synchronous queue."""
    return shard._run(make(shard._calls))


def bind(shard: Torrelque) -> None:
    """Have a queue object belong to the running event loop from now on, as after its first call."""
    shard._started()


def is_up(shard: Torrelque) -> bool:
    """Whether the connection of a queue object for calls is up, or never was."""
    session = shard._session
    return session is None or session.well


def is_known(shard: Torrelque) -> bool:
    """Whether there ever was a connection of a queue object for calls."""
    session = shard._session
    return session is not None and session.established


def ask(shard: 'torrelque.sync.Torrelque', words: Sequence[str], patience: float) -> Any:
    """The answer to a command of a synchronous queue object that is waited for so long (s)."""
    return shard._link.call(None, words, until=time.monotonic() + patience)


def greet(shard: 'torrelque.sync.Torrelque', key: str, patience: float) -> bool:
    """Whether a synchronous queue object has a connection that seems to be in order or, so soon (s), an answer."""
    if shard._link.has_idle():
        return True
    try:
        ask(shard, ('GET', key), patience)
    except TorrelqueConnectionError:
        return False
    except TorrelqueError:
        # It says no, but it is there.
        pass
    return True


def shelf_of(shard: Torrelque) -> Shelf:
    """Where a queue object takes its tasks from."""
    return shard._started().shelf


def waiters_of(shard: Torrelque) -> Waiters:
    """Those who wait for tasks of a queue object alone."""
    return shard._started().waiters


def mark(task_id: TorrelqueTaskId, number: int) -> None:
    """Note with a delivery which shard has made it: its id need not tell, as that of a task of a flow."""
    task_id._shard = number


def marked(task_id: TorrelqueTaskId) -> int | None:
    """The shard that has made a delivery, where that was noted."""
    number: int | None = getattr(task_id, '_shard', None)
    return number
