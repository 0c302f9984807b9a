"""The commands that change something: their arguments, and where each is carried out.

What carries a command out is imported when it is called.
"""

import argparse
from collections.abc import Callable

from .amounts import KEEP, concurrency, instant, pace, rate
from .command import Command, of_module
from .filters import add_filters, moment
from .options import count, seconds
from .payloads import add_call, add_payload
from .session import add_common


def _add_enqueue(parser: argparse.ArgumentParser) -> None:
    add_payload(parser)
    parser.add_argument('--lines', action='store_true', help='each line of standard input is a task')
    add_call(parser)
    parser.add_argument('--group', metavar='NAME', help='the group')
    parser.add_argument('--priority', metavar='N', type=int, help='from -100 to 100, the higher first')
    parser.add_argument('--delay', metavar='TIME', type=seconds, help='time until it can be taken')
    parser.add_argument('--id', metavar='ID', help='an id of your own, which is refused if the queue knows it')
    parser.add_argument('--max-attempts', metavar='N', type=count, help='how often it is handed out before it is dead')
    parser.add_argument('--lease', metavar='TIME', type=seconds,
        help='length of its leases: how long it takes until a task whose worker was killed comes back')  # fmt: skip
    parser.add_argument('--wait', metavar='TIME', type=seconds,
        help='wait so long for its end, and print its result; 1 where it fails, or does not end in time')  # fmt: skip
    add_common(parser)


def _of_mass(all_of_them: str, more: Callable[[argparse.ArgumentParser], None] | None = None) -> Callable[
    [argparse.ArgumentParser], None
]:  # fmt: skip
    """The arguments of an act on tasks of a selection.

    :param all_of_them: what ``--all`` is about.
    """

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument('ids', metavar='ID', nargs='*',
            help='these tasks; - reads ids from standard input, one a line; behind -- they may begin with '
            'a -')  # fmt: skip
        parser.add_argument('--all', action='store_true', help=all_of_them)
        if more is not None:
            more(parser)
        parser.add_argument('--limit', metavar='N', type=count, help='tasks at the most')
        parser.add_argument('--rate', metavar='N', type=pace, help='tasks a second; or 50/s, 100/m')
        parser.add_argument('--dry-run', action='store_true',
            help='change nothing; tell how many match, and some of them')  # fmt: skip
        parser.add_argument('--yes', action='store_true', help='do not ask')
        add_filters(parser)
        add_common(parser)

    return add_arguments


def _add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--reason', metavar='TEXT', help='why, for the state of the tasks')


def _add_pause(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--group', metavar='NAME', help='the group; else the whole queue')
    parser.add_argument('--schedule', metavar='NAME', help='instead, have this schedule fire nothing')
    parser.add_argument('--probe', metavar='TIME', type=seconds,
        help='let one task through every so often, to see how it goes')  # fmt: skip
    parser.add_argument('--yes', action='store_true', help='do not ask: a queue that nothing is known of is meant')
    add_common(parser)


def _add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--group', metavar='NAME', help='the group; else the whole queue')
    parser.add_argument('--schedule', metavar='NAME', help='instead, have this schedule fire again')
    add_common(parser)


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', metavar='NAME', help='by which it is known; its tasks have the ids NAME@MILLISECONDS')
    add_payload(parser)
    add_call(parser)
    when = parser.add_argument_group('when; one of --cron, --every and --at')
    one = when.add_mutually_exclusive_group(required=True)
    one.add_argument('--cron', metavar='EXPRESSION',
        help="a cron expression: '30 2 * * mon-fri', @daily; needs the extra cron")  # fmt: skip
    one.add_argument('--every', metavar='TIME', type=seconds, help='from one to the next: 90s, 5m, 2h, 1d')
    one.add_argument('--at', metavar='INSTANT', type=instant, action='append',
        help='an instant, 2026-11-29T14:00, or so long from now, 2h; several by several --at')  # fmt: skip
    when.add_argument('--timezone', metavar='ZONE',
        help='the name of the time zone of --cron: Europe/Berlin; UTC, if not given')  # fmt: skip
    when.add_argument('--phase', metavar='TIME', type=seconds,
        help='with --every, so much behind its multiples since 1970')  # fmt: skip
    when.add_argument('--jitter', metavar='TIME', type=seconds,
        help='with --cron or --every, up to so much later: always the same time for a name; needs the extra '
        'cron')  # fmt: skip
    when.add_argument('--until', metavar='INSTANT', type=instant, help='the last instant that may fire')
    when.add_argument('--overlap', choices=('skip', 'allow', 'replace', 'queue'), default='skip',
        help='while the task of the firing before is not finished: pass the instant over (if not given), enqueue '
        'another, cancel the one before, or have one behind the other')  # fmt: skip
    when.add_argument('--missed', choices=('latest', 'all', 'none'), default='latest',
        help='of several that are due at once, because nobody was there: fire the last (if not given), each, or '
        'none')  # fmt: skip
    when.add_argument('--grace', metavar='TIME', type=seconds, help='pass over an instant that is late by more')
    tasks = parser.add_argument_group('of its tasks')
    tasks.add_argument('--group', metavar='NAME', help='the group')
    tasks.add_argument('--priority', metavar='N', type=int, help='from -100 to 100, the higher first')
    tasks.add_argument('--max-attempts', metavar='N', type=count, help='how often one is handed out before it is dead')
    tasks.add_argument('--lease', metavar='TIME', type=seconds, help='length of their leases')
    parser.add_argument('--yes', action='store_true', help='do not ask: a queue that nothing is known of is meant')
    parser.set_defaults(lines=False)
    add_common(parser)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', metavar='NAME', help='the name of the schedule')
    add_common(parser)


def _add_fire(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', metavar='NAME', help='the name of the schedule')
    parser.add_argument('--from', metavar='INSTANT', type=moment, dest='start',
        help='instead, its instants from this one on, 2026-11-29T14:00 or -2h, as its period or its expression has '
        'them; needs the extra cron')  # fmt: skip
    parser.add_argument('--until', metavar='INSTANT', type=moment, help='and before this one; now, if not given')
    parser.add_argument('--yes', action='store_true', help='do not ask')
    add_common(parser)


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('group', metavar='GROUP', nargs='?',
        help="the group; else, or as '*', the default of all groups")  # fmt: skip
    parser.add_argument('--concurrency', metavar='N', type=concurrency, default=KEEP,
        help="tasks of the group that are worked on at a time; 'none' is no limit, 'default' as that of all "
        'groups')  # fmt: skip
    parser.add_argument('--rate', metavar='N/TIME', type=rate, default=KEEP,
        help='starts in a time, such as 50/s, 100/m, 5/10s; none and default likewise')  # fmt: skip
    parser.add_argument('--yes', action='store_true',
        help='do not ask: the default of all groups is meant, or a queue that nothing is known of')  # fmt: skip
    add_common(parser)


COUNTED = 'Before more than one task is changed, they are counted, and you are asked.'

ACTING = (
    Command('enqueue', 'enqueue a task', 'Enqueue a task, or a call of a decorated function, and print its id. With '
            '--lines each line of standard input is a task; all of them are read before the first is enqueued.',
            _add_enqueue, of_module('.enqueuing', 'enqueue'), True),
    Command('redrive', 'bring dead tasks back', 'Bring dead tasks back; their attempts begin anew. Without ids and '
            f'filters it is about all that are dead now. {COUNTED}', _of_mass('all dead tasks, as without any filter'),
            of_module('.mass', 'redrive'), True),
    Command('cancel', 'cancel tasks', 'Cancel tasks: those that are pending or delayed, and with --status or by their '
            f'ids others too; a worker that has one in hand is told. {COUNTED}',
            _of_mass('all tasks that are pending or delayed'), of_module('.mass', 'cancel'), True),
    Command('requeue', 'take tasks away from their workers', 'Take tasks that are worked on away from whoever holds '
            f'them, and make them pending. What the worker makes of them counts for nothing then. {COUNTED}',
            _of_mass('all tasks that are worked on'), of_module('.mass', 'requeue'), True),
    Command('bury', 'take tasks out of the flow', 'Take tasks that are worked on out of the flow: they are dead, until '
            f'they are redriven or cancelled. {COUNTED}', _of_mass('all tasks that are worked on', _add_reason),
            of_module('.mass', 'bury'), True),
    Command('pause', 'hand nothing out', 'Hand out no more tasks, of a group or of the whole queue, until it is '
            'resumed. Tasks are taken in as before, and those that are worked on go on. A paused schedule passes over '
            'what is due meanwhile.',
            _add_pause, of_module('.switching', 'pause'), True),
    Command('resume', 'hand tasks out again', 'End a pause. The exit code is 1 where there was none.',
            _add_resume, of_module('.switching', 'resume'), True),
    Command('limit', 'show or set the limits of groups', 'Set how many tasks of a group are worked on at a time, and '
            'how many begin in a time; what nothing is said of stays as it is. Without values, show the limits. '
            'Before the default of all groups is set, you are asked.',
            _add_limit, of_module('.switching', 'limit')),
    Command('schedule', 'have a task enqueued again and again', 'Set a schedule, which is kept in Redis: it enqueues a '
            'task at its instants, by whoever waits for tasks then. One of the same name is changed from now on; what '
            'was due is fired first.', _add_schedule, of_module('.scheduling', 'schedule'), True, mixed=True),
    Command('unschedule', 'remove a schedule', 'Remove a schedule; tasks that it has enqueued stay. One that is '
            'declared in code comes back with the next worker that begins; a pause lasts.',
            _add_name, of_module('.scheduling', 'unschedule'), True),
    Command('fire', 'fire a schedule now', 'Enqueue the task of a schedule now, paused or not, and print its id; its '
            'next instant stays as it is. Ends with 1 where the task of the firing before is not finished, and the '
            'schedule is set to skip those that overlap. With --from it fires instants of the past instead, each '
            'whose task the queue does not know, whatever overlaps; before more than one, they are counted, and you '
            'are asked.',
            _add_fire, of_module('.firing', 'fire'), True),
    Command('sweep', 'move what is due', 'Make delayed tasks pending that are due, take up tasks whose leases have '
            'ended, and fire schedules that are due. Consumers do this all the time; it is for a queue that has none.',
            add_common, of_module('.switching', 'sweep'), True),
)  # fmt: skip
