"""Operating queues: what there is, what failed, why a task waits, and acts on many tasks at a time.

It stands on the public names of `torrelque` and `torrelque.worker`.
"""

from torrelque.protocol.keys import BUCKETS

from .alerting import AlertView, read_alerts
from .codes import CODES
from .figures import Overview
from .flowing import Flows, FlowTaskView, FlowView
from .measures import Counts, FunctionCounts, Scale
from .operator import Operator
from .plan import Plan
from .recurring import Schedules, ScheduleView
from .registry import known, note, scan
from .selection import Selection
from .values import (
    Act,
    Attempt,
    AwayShard,
    ErrorGroup,
    Errors,
    Finding,
    Found,
    FunctionView,
    Groups,
    GroupView,
    Holder,
    Outcome,
    Page,
    Reason,
    Record,
    RunningView,
    Sizes,
    TaskView,
    Totals,
    WorkerView,
)

__all__ = [
    'BUCKETS',
    'CODES',
    'Act',
    'AlertView',
    'Attempt',
    'AwayShard',
    'Counts',
    'ErrorGroup',
    'Errors',
    'Finding',
    'FlowTaskView',
    'FlowView',
    'Flows',
    'Found',
    'FunctionCounts',
    'FunctionView',
    'GroupView',
    'Groups',
    'Holder',
    'Operator',
    'Outcome',
    'Overview',
    'Page',
    'Plan',
    'Reason',
    'Record',
    'RunningView',
    'Scale',
    'ScheduleView',
    'Schedules',
    'Selection',
    'Sizes',
    'TaskView',
    'Totals',
    'WorkerView',
    'known',
    'note',
    'read_alerts',
    'scan',
]
