"""Aids for tests of code that uses the queue: a clock to be moved, a worker that is run until nothing is left to do.

`torrelque.testing.plugin` has fixtures for pytest.
"""

from .clock import Clock, SyncClock
from .idle import NotIdleError, repeat_until_idle, run_until_idle

__all__ = ['Clock', 'NotIdleError', 'SyncClock', 'repeat_until_idle', 'run_until_idle']
