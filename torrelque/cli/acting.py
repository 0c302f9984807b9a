"""The commands that change something."""

from .command import Command
from .enqueuing import add_enqueue_arguments, enqueue
from .mass import BURY, CANCEL, REDRIVE, REQUEUE, arguments_of, call_of
from .session import add_common
from .switching import add_limit_arguments, add_pause_arguments, add_resume_arguments, limit, pause, resume, sweep

ACTING = (
    Command('enqueue', 'enqueue a task', 'Enqueue a task, or a call of a decorated function, and print its id. With '
            '--lines each line of standard input is a task; all of them are read before the first is enqueued.',
            add_enqueue_arguments, enqueue, True),
    Command('redrive', 'bring dead tasks back', 'Bring dead tasks back; their attempts begin anew. Without ids and '
            'filters it is about all that are dead now. Before more than one task is changed, they are counted, and '
            'you are asked.', arguments_of(REDRIVE), call_of(REDRIVE), True),
    Command('cancel', 'cancel tasks', 'Cancel tasks, wherever they are; a worker that has one in hand is told. Before '
            'more than one task is changed, they are counted, and you are asked.',
            arguments_of(CANCEL), call_of(CANCEL), True),
    Command('requeue', 'take tasks away from their workers', 'Take tasks that are worked on away from whoever holds '
            'them, and make them pending. What the worker makes of them counts for nothing then. Before more than one '
            'task is changed, they are counted, and you are asked.', arguments_of(REQUEUE), call_of(REQUEUE), True),
    Command('bury', 'take tasks out of the flow', 'Take tasks that are worked on out of the flow: they are dead, until '
            'they are redriven or cancelled. Before more than one task is changed, they are counted, and you are '
            'asked.', arguments_of(BURY), call_of(BURY), True),
    Command('pause', 'hand nothing out', 'Hand out no more tasks, of a group or of the whole queue, until it is '
            'resumed. Tasks are taken in as before, and those that are worked on go on.',
            add_pause_arguments, pause, True),
    Command('resume', 'hand tasks out again', 'End a pause. The exit code is 1 where there was none.',
            add_resume_arguments, resume, True),
    Command('limit', 'show or set the limits of groups', 'Set how many tasks of a group are worked on at a time, and '
            'how many begin in a time; what nothing is said of stays as it is. Without values, show the limits.',
            add_limit_arguments, limit),
    Command('sweep', 'move what is due', 'Make delayed tasks pending that are due, and take up tasks whose leases have '
            'ended. Consumers do this all the time; it is for a queue that has none.', add_common, sweep, True),
)  # fmt: skip
