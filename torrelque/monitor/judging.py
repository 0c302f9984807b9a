"""Whether processes live, are ready, have started: by what they tell, and by how long they have told nothing.

Each answer is a list of what is amiss, one sentence for a process; where it is empty, all is well.  No answer asks the
server: to start workers again is no cure for a server that is away.

Other layers may import the names in `__all__`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .pulse import State

__all__ = ['STALL', 'Look', 'Seen', 'not_live', 'not_ready', 'not_started']

CLAIM = 30.0
"""s within which a worker that has free places hears an answer to a claim."""
STALL = 60.0
"""s for which an event loop may stand still, where nothing else is said."""


@dataclass(frozen=True)
class Seen:
    """A process, as whoever answers for it sees it."""

    process: int
    """Its number, from 1 on."""
    state: State | None
    """What it has told last; None where it has told nothing, or there is no process at this moment."""
    silent: float = 0.0
    """For how long (s) it has given no sign of life, once it had given some."""
    name: str = ''
    """What it is called, where it is one of several workers."""

    @property
    def label(self) -> str:
        """What it is called in sentences."""
        return self.name or f'process {self.process}'


Look = Callable[[], Sequence[Seen]]
"""Tells how all processes are now."""


def not_live(seen: Sequence[Seen], stall: float = STALL) -> list[str]:
    """Which event loops stand still, or stood still for long in the last minute.  Where there is no process, another
    one is about to be started."""
    found = []
    for one in seen:
        late = max(one.silent, one.state.stall if one.state else 0.0)
        if late >= stall:
            found.append(f'{one.label}: its event loop has stood still for {late:.0f} s')
    return found


def not_started(seen: Sequence[Seen]) -> list[str]:
    """Which workers have not begun."""
    return [f'{one.label}: the worker has not begun' for one in seen if not (one.state and one.state.begun)]


def not_ready(seen: Sequence[Seen]) -> list[str]:
    """Which workers take no tasks, or could take some and hear no answer."""
    return [f'{one.label}: {why}' for one in seen if (why := _not_ready(one))]


def _not_ready(seen: Seen) -> str:
    state = seen.state
    if state is None or not state.begun:
        return 'the worker has not begun'
    if state.health['state'] != 'running':
        return f'the worker is {state.health["state"]}'
    if not state.health['healthy']:
        return 'threads that hang have all places of the worker'
    if state.idle is None:
        return 'no claim of the worker was answered yet'
    if max(state.idle, seen.silent) > CLAIM:
        return f'no claim of the worker was answered for {max(state.idle, seen.silent):.0f} s'
    return ''
