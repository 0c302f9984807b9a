"""The table of transitions: what each script does, and what a call of it is.

Everything that depends on which script it is stands here, in the order of ``docs/data-model.md``; a test compares the
table with that page and with the headers of the scripts.  Builders of the calls are in `calls`, readers of the replies
in `replies`, each under the script's name.
"""

from typing import NamedTuple

_REFUSALS = ('cancelled', 'lease_lost', 'not_working', 'unknown', 'broken')
"""What becomes of a task that its caller does not hold."""


class Row(NamedTuple):
    """One script: its arrow, and what a call of it has once, before the arguments of its tasks."""

    name: str
    arrow: str
    """The first sentence of the Lua file: between which states it moves tasks, or what it does."""
    head: tuple[str, ...] = ()
    """What each call has once: ``max_tasks``, ``acknowledged`` (a claim's record that may be deleted), ``block``."""
    droppable: bool = False
    """Whether a task is left out whose caller is gone before the call was sent."""
    known_by: int = 0
    """How many of a task's arguments tell a settling call from others: id, token and, where it has one, mark.  By these
    it is repeated when nobody knows whether it was carried out; 0 where that may be done as often as you like."""
    outcomes: tuple[str, ...] = ()
    """What may become of a task, or of a pause, where the script answers for each."""
    width: int | None = None
    """Length of the reply, 1 being ``ok`` alone; None where it depends."""


TABLE = (
    # The life of a task.
    Row(
        'enqueue',
        'new -> pending | delayed',
        head=('max_tasks', 'block'),
        droppable=True,
        outcomes=('ok', 'duplicate', 'full', 'stale', 'broken'),
    ),
    Row(
        'flow',
        'new -> waiting | pending | delayed',
        head=('max_tasks',),
        outcomes=('ok', 'duplicate', 'full', 'over', 'stale', 'broken'),
    ),
    Row(
        'add',
        'new -> waiting | pending | delayed',
        head=('max_tasks',),
        outcomes=(
            *('ok', 'not_held', 'no_flow', 'over', 'away', 'duplicate', 'full'),
            *('missing', 'begun', 'cycle', 'many', 'stale', 'broken'),
        ),
    ),
    Row(
        'depend',
        'new -> waiting | pending | delayed',
        head=('max_tasks',),
        outcomes=(
            *('ok', 'duplicate', 'full', 'missing', 'apart', 'circle'),
            *('withdrawn', 'foreign', 'many', 'stale', 'broken'),
        ),
    ),
    Row('claim', 'pending -> working'),
    Row('touch', 'working -> working', head=('acknowledged', 'block'), outcomes=('ok', *_REFUSALS)),
    Row(
        'requeue',
        'working -> pending | delayed | dead',
        head=('acknowledged', 'block'),
        known_by=3,
        outcomes=('ok', 'dead', *_REFUSALS),
    ),
    Row(
        'release',
        'working -> completed | rejected',
        head=('acknowledged',),
        known_by=2,
        outcomes=('ok', *_REFUSALS),
    ),
    Row('bury', 'working -> dead', head=('acknowledged',), known_by=3, outcomes=('ok', *_REFUSALS)),
    Row('tell', 'Deaths that nobody saw: hand some out to be told of.'),
    Row(
        'told', 'Deaths that nobody saw: somebody was told of some of them, so they are not handed out again.', width=1
    ),
    Row(
        'redrive',
        'dead -> pending',
        outcomes=('ok', 'state_lost', 'lost', 'flow', 'not_dead', 'staged', 'stale', 'unknown', 'broken'),
    ),
    Row(
        'cancel',
        'waiting | pending | delayed | dead -> cancelled, working -> marked',
        outcomes=('ok', 'flow', 'final', 'changed', 'unknown', 'broken'),
    ),
    Row('sweep', 'working -> pending | dead, delayed -> pending, new -> pending, waiting -> cancelled', width=10),
    Row(
        'spread',
        'Spread: go on with what calls before had no room for, of flows: ends to tell, tasks to begin or to cancel.',
        width=3,
    ),
    Row('collect', 'Collect: what is to be carried to other queues, of tasks of flows.'),
    Row(
        'host',
        'Host: take in tasks of flows of other queues, as pending ones.',
        head=('max_tasks',),
        outcomes=('ok', 'gone', 'duplicate', 'full', 'broken'),
    ),
    Row('arrive', 'Arrive: news of tasks of flows that are worked on in other queues come home.', width=3),
    Row('carried', 'Carried: what was collected has come to other queues, or is to be tried again later.', width=2),
    Row('fire', 'new -> pending'),
    Row(
        'graft',
        'working -> waiting | completed',
        head=('max_tasks',),
        outcomes=('ok', *_REFUSALS, 'no_flow', 'duplicate', 'full', 'missing', 'many', 'stale'),
    ),
    Row(
        'give',
        'Give: keep a named value with a flow, for its other tasks, by a task of it that its caller holds.',
        outcomes=('ok', 'not_held', 'no_flow', 'over', 'away', 'broken'),
    ),
    # What operators read and set.
    Row('stats', 'Statistics: how many tasks are in each place, read at one moment.', width=6),
    Row('limit', 'Limits: how many tasks of a group are worked on at once, and how many begin in a time.', width=1),
    Row('advance', 'Groups: look at some of them anew, because the default of their limits was changed.', width=1),
    Row('pause', 'Pause: hand nothing out, of a group or of the whole queue, or a probe every so often.', width=1),
    Row('resume', 'Resume: hand tasks out again, of a group or of the queue.', outcomes=('ok', 'paused')),
    Row('group', 'Group: its tasks, slots, limits and pause, read at one moment.', width=7),
    Row(
        'schedule',
        'Schedule: set one, or change it, from now on.',
        head=('block',),
        outcomes=('ok', 'due', 'same', 'older', 'stale'),
    ),
    Row(
        'extend',
        'Extend a schedule by instants behind the last one that is known.',
        head=('block',),
        outcomes=('ok', 'changed', 'unknown'),
    ),
    Row('unschedule', 'Unschedule: forget a schedule.', outcomes=('ok', 'unknown', 'other', 'older')),
    Row(
        'hold',
        'Hold a schedule, so that what is due is passed over, or let it go on.',
        outcomes=('ok', 'due', 'same', 'unknown'),
    ),
    Row('schedules', 'Schedules: read some of them, each with its next instants.'),
    # What watchers read, and what a consumer says that goes.
    Row('state', 'States: read those of some tasks, for whoever watches them.'),
    Row(
        'leave', 'The bell: a consumer leaves it, and has somebody else hear.', head=('acknowledged', 'block'), width=1
    ),
    # What groups and ids need that come to a new shard.
    Row('fence', 'Fence: refuse, from now on, whoever goes by fewer shards for groups and ids.', width=1),
    Row(
        'shut', 'Shut: hand out nothing of any group until the queue is opened, which it is once in its life.', width=1
    ),
    Row(
        'inherit',
        'Inherit: take over limits and pauses of groups that come to this queue, until all of them are there.',
        width=1,
    ),
    Row(
        'take',
        'Take: tasks whose first delay has not ended, and whose group is in another shard by now, come onto a stage.',
        width=1,
    ),
    Row('put', 'Put: tasks that were taken out of another shard come into this one.', width=1),
    Row('open', 'Open: hand out tasks of groups, and look at some of these anew.', width=2),
    Row('left', 'Left: look for what is here, or is to come here, of groups and ids that are of other shards by now.'),
)
"""One row a script."""

ROWS = {row.name: row for row in TABLE}
"""The same, by the script's name."""

DONE = frozenset({'ok', 'dead', 'flow'})
"""Outcomes with which a call has done what it was made for."""
REFUSALS = {
    'missing': 'there is no task {!r} to wait for',
    'begun': 'task {!r} does not wait any more, so it cannot wait for another one',
    'cycle': 'task {!r} still waits, so a new one that waits for it must not have others wait, too',
    'many': 'more than 10000 tasks would wait for task {!r}',
    'apart': 'task {!r} is of another flow than the others that are to be waited for',
    'circle': 'flow {!r} would go on until a task has ended that waits for it',
    'withdrawn': 'the flow of task {!r} was cancelled',
    'foreign': 'the flow of task {!r} is of another queue, where a new one can wait for it',
}
"""What is said of a task that is to wait for others, or of others that are to wait for it, by its outcome."""
WITH_VALUE = frozenset({'duplicate', 'full', *REFUSALS})
"""Outcomes that are a list of a word and a value."""
