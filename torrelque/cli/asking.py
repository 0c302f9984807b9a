"""The commands that only look: their arguments, and where each is carried out.

What carries a command out is imported when it is called.
"""

import argparse
from collections.abc import Callable

from .command import Command, of_module
from .filters import add_filters
from .options import count, seconds
from .session import add_common

PLACES = ('pending', 'priority', 'group', 'turns', 'working', 'delayed', 'dead', 'waiting', 'ready', 'orphaned')
"""Where a list may look."""

Add = Callable[[argparse.ArgumentParser], None]


def _with(add: Add | None = None) -> Add:
    """Arguments of a command, and those that all have."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        if add is not None:
            add(parser)
        add_common(parser)

    return add_arguments


def _add_stats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--history', metavar='TIME', type=seconds,
        help='how it was: minutes up to 8h, hours up to 14d, as workers with a heartbeat have counted')  # fmt: skip
    parser.add_argument('--watch', metavar='TIME', type=interval,
        help='again each second, or so many: in place on a terminal, else line by line')  # fmt: skip


def _add_shards(parser: argparse.ArgumentParser) -> None:
    change = parser.add_mutually_exclusive_group()
    change.add_argument('--grow', metavar='N', type=count,
        help='have N shards for tasks without a group; of a Cluster a multiple of how many there are. It takes some '
        'forty seconds')  # fmt: skip
    change.add_argument('--shrink', metavar='N', type=count,
        help='have only the first N, no fewer than have the groups; it takes until the others have been empty for half '
        'a minute')  # fmt: skip
    parser.add_argument('--keyed', action='store_true',
        help='with --grow, have groups and ids of your own come to them as well; they wait there until the old shards '
        'have none of them left')  # fmt: skip
    parser.add_argument('--timeout', metavar='TIME', type=seconds,
        help='with --shrink or --keyed, how long to wait for that; the same command goes on with it')  # fmt: skip
    parser.add_argument('--dry-run', action='store_true', help='only say what would be changed')
    parser.add_argument('--yes', action='store_true', help='do not ask')


def _add_queues(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--scan', action='store_true',
        help='look at all keys of the server instead of the names that were noted; slow where it has many')  # fmt: skip


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('place', metavar='PLACE', nargs='?', type=place,
        help=f'{", ".join(PLACES)}, or group:NAME; all of them, if not given')  # fmt: skip
    parser.add_argument('--most', metavar='N', type=count, default=50, help='tasks at the most, 50 if not given')
    parser.add_argument('--payload', action='store_true', help='what was enqueued as well, which may be secret')
    add_filters(parser)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('ids', metavar='ID', nargs='+', help='the id of a task, or of a flow')
    parser.add_argument('--payload', action='store_true',
        help='all of the payload, as it is stored, and of the result, however long')  # fmt: skip
    parser.add_argument('--mermaid', action='store_true', help='instead, a flow as text of Mermaid, which pages draw')


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('id', metavar='ID', nargs='?',
        help='the id of a task or a flow; without one, why nothing moves')  # fmt: skip
    parser.add_argument('--group', metavar='NAME', help='why this group does not move')


def _add_errors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--most', metavar='N', type=count, default=1000,
        help='look at the newest N dead tasks, and N that are delayed, 1000 if not given')  # fmt: skip
    parser.add_argument('--by', choices=('function', 'group'), help='count by the function or the group instead')


def _add_functions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--since', metavar='TIME', type=seconds,
        help='the last 24h, say, at most 14d; since the counts began, if not given')  # fmt: skip


def _add_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('pattern', metavar='PATTERN', nargs='?', help='names, with *')
    parser.add_argument('--by', choices=('waiting', 'oldest', 'slots', 'name'), default='waiting',
        help='what comes first: most that wait (if not given), the oldest, most slots in use')  # fmt: skip
    parser.add_argument('--most', metavar='N', type=count, default=20, help='groups at the most, 20 if not given')


def _add_schedules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('prefix', metavar='PREFIX', nargs='?', default='', help='those whose names begin so')
    parser.add_argument('--payload', action='store_true', help='what they enqueue as well, which may be secret')
    parser.add_argument('--next', metavar='N', type=count,
        help='the next N instants of each: those that are stored, and behind them, with the extra cron, those of the '
        'expression')  # fmt: skip
    parser.add_argument('--cron', metavar='EXPRESSION',
        help='instead, the instants of an expression that is set nowhere, 10 if --next is not given; no server is '
        'asked')  # fmt: skip
    parser.add_argument('--timezone', metavar='ZONE', help='the name of its time zone; UTC, if not given')


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--lost', action='store_true', help='those that went without saying goodbye in the last hour')
    parser.add_argument('--stuck', action='store_true', help='those that live and take nothing')


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('id', metavar='ID', help='the id of a task or a flow')
    parser.add_argument('--until', metavar='STATUS', default='final',
        choices=('waiting', 'pending', 'working', 'delayed', 'dead', 'final'),
        help='end at this status: waiting, pending, working, delayed, dead, final (if not given); of a flow, dead is '
        'that one of its tasks is')  # fmt: skip


def _add_check(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--oldest', metavar='TIME', type=seconds, help='the oldest task may wait for so long, 1h if not given')
    add('--pending', metavar='N', type=whole, help='so many tasks may be pending; any number, if not given')
    add('--dead', metavar='N', type=whole, help='so many may be dead; any number, if not given')
    add('--workers', metavar='N', type=whole,
        help='so many workers with a heartbeat must live, or more; one, if not given, where tasks are ready and '
        'workers with a heartbeat were there before')  # fmt: skip


def _add_alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--show', action='store_true', help='only show the rules, as those who look have left them')
    parser.add_argument('--once', action='store_true', help='look once, tell whoever is to be told, and show the rules')
    parser.add_argument('--test', metavar='RULE', help='instead, tell the sinks of a rule how it is, as a test')


def place(text: str) -> str:
    """A place, or ``group:NAME``.

    :raises argparse.ArgumentTypeError: it is none.
    """
    if text not in PLACES and not (text.startswith('group:') and text != 'group:'):
        raise argparse.ArgumentTypeError(f'{text!r} is no place: {", ".join(PLACES)}, group:NAME')
    return text


def interval(text: str) -> float:
    """A time that is at least a tenth of a second, and at most a day."""
    if not 0.1 <= (found := seconds(text)) <= 86400:
        raise argparse.ArgumentTypeError(f'{text!r} is no time from 0.1s to 1d')
    return found


def whole(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == '0' else count(text)


ASKING = (
    Command('stats', 'how much there is, and how long it waits',
        'How many tasks are in each place, for how long the oldest has waited, and how many workers there are: a line '
        'for each queue. Then what is wrong with it, and the command that tells more; of several queues the gravest of '
        'each.',
        _with(_add_stats), of_module('.stats', 'stats')),
    Command('queues', 'which queues there are', 'Names of queues, and when something was heard of them. Workers with a '
        'heartbeat note the names of theirs, and so does this command.',
        _with(_add_queues), of_module('.queues', 'queues')),
    Command('tasks', 'the tasks of a place, or those that match',
        'Tasks, in the order of their place; of dead ones the newest first.',
        _with(_add_tasks), of_module('.listing', 'tasks')),
    Command('show', 'all of a task', 'All that is known of tasks: what was enqueued, what became of each attempt, and '
        'why they do not run; of a flow its tasks as a tree. What has ended within a flow is shown as long as that is '
        'kept.', _with(_add_show), of_module('.telling', 'show')),
    Command('why', 'why a task, a group or a queue does not move',
        'What is in the way of a task, of a group, or of all: the decisive reason first, who it is, until when, and '
        'the command that changes it. Of a schedule it says how that is, and ends with 1.',
        _with(_add_why), of_module('.reasons', 'why')),
    Command('errors', 'what failed, grouped by error', 'Errors that are alike, and how often each came, of the newest '
        'tasks that are dead or wait for another attempt.', _with(_add_errors), of_module('.errors', 'errors')),
    Command('functions', 'how often functions ran, failed, and for how long', 'What became of the attempts of each '
        'decorated function, as workers with a heartbeat have counted.',
        _with(_add_functions), of_module('.listing', 'functions')),
    Command('groups', 'groups of tasks: what waits, what limits them',
        'The first groups by what waits, after a look at all of them.',
        _with(_add_groups), of_module('.listing', 'groups')),
    Command('shards', 'how a queue is spread over its shards', 'The shards of a queue: the hash tag and the slot of '
        'each, the server that has it, and how many tasks are there. Ends with 1 where one does not answer. With '
        '--grow or --shrink it has others, while all goes on, after you were asked.',
        _with(_add_shards), of_module('.shards', 'shards')),
    Command('schedules', 'what is enqueued again and again, and when', 'Schedules, those first that fire next: what '
        'they were made from, when they were due last, how many tasks they have enqueued, how many instants they have '
        'passed over. One that is dry has no instants left, and waits for a worker that knows its calendar. Ends with '
        '1 where there are none.',
        _with(_add_schedules), of_module('.timetable', 'schedules')),
    Command('workers', 'which workers live, and what they have in hand',
        'Workers that have a heartbeat, and those that were lost in the last hour. Loops of your own, and workers '
        'without a heartbeat, are not seen.',
        _with(_add_workers), of_module('.crew', 'workers')),
    Command('watch', 'the states of a task, as they come', 'A line for each change of a task; of a flow, how far it '
        'is, on a terminal as a tree that is drawn again in its place. Ends with 0 if the '
        'status is the one that was waited for and the task is not rejected or cancelled.',
        _with(_add_watch), of_module('.telling', 'watch')),
    Command('acts', 'who did what to the queue', 'The last 500 acts of operators, the newest first.',
        _with(), of_module('.listing', 'acts')),
    Command('check', 'whether all is well, by the exit code', 'Says nothing and ends with 0 where all is well; '
        'else ends with 1, with a line for whatever is wrong: a key that is broken, a queue of which nothing is known, '
        'a pause of what has tasks that wait, the oldest task, no worker though tasks are ready, workers that are '
        'stuck or were lost with tasks in hand, what is due and nobody moves, flows that stand still, and schedules '
        'that are late by more than a minute, or dry. With a file, the rules of its alerts besides, as they are '
        'at this moment.',
        _with(_add_check), of_module('.checking', 'check')),
    Command('alerts', 'look at rules, and tell of those that fire', 'Look each 15 s at the rules of a file, and tell '
        'the sinks that they name when one fires, and when it is over. SIGTERM and Ctrl-C end it. Any number of '
        'processes may look at the same rules: one of them tells. With --show, or without a file, show the rules as '
        'those who look have left them, and end with 1 if one fires.',
        _with(_add_alerts), of_module('.alerts', 'alerts')),
    Command('doctor', 'whether queue and server are sound',
        'Settings and version of the server, its clock, and the keys of the queue. Ends with 1 if something is '
        'wrong.', _with(), of_module('.checking', 'doctor')),
)  # fmt: skip
