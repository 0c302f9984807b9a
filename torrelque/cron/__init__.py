"""Schedules: calls of decorated functions that are enqueued at the instants of a calendar, by whoever waits at the
queue.

The queue keeps a schedule with its next instants, and fires it by the server's clock; see `torrelque.Torrelque`.  What
is here computes the instants, declares schedules in code, and sees to it that a list of instants never runs out.
"""

from .ahead import Line
from .calendar import Calendar, Instants
from .plan import Missed, Overlap, When
from .schedules import Schedules
from .setting import instants_after

__all__ = ['Calendar', 'Instants', 'Line', 'Missed', 'Overlap', 'Schedules', 'When', 'instants_after']
