"""Aids for tests of code that uses the queue: a clock to be moved, a worker that is run until nothing is left to do;
and for apps of decorated functions a server of the test's, calls that run at once, and a delivery without a worker.

`torrelque.testing.plugin` has fixtures for pytest.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .clock import Clock, SyncClock
from .idle import NotIdleError, repeat_until_idle, run_until_idle

if TYPE_CHECKING:
    from .eagerly import Eager, EagerTask, eager
    from .recorded import RecordedDelivery, delivery
    from .under import Using, using

__all__ = [
    'Clock',
    'Eager',
    'EagerTask',
    'NotIdleError',
    'RecordedDelivery',
    'SyncClock',
    'Using',
    'delivery',
    'eager',
    'repeat_until_idle',
    'run_until_idle',
    'using',
]

_PLACES = {
    'Eager': 'eagerly',
    'EagerTask': 'states',
    'RecordedDelivery': 'recorded',
    'Using': 'under',
    'delivery': 'recorded',
    'eager': 'eagerly',
    'using': 'under',
}
"""Modules of what needs the layers of worker and decorated functions, which most runs of pytest with the plugin do
not."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(importlib.import_module(f'.{_PLACES[name]}', __name__), name)
    return value
