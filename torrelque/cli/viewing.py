"""The commands beside those that ask and act: the live view, the pages on the web, and what shells are told."""

import argparse

from .command import Command, of_module
from .options import Once, address, names, seconds
from .session import add_common

SHELLS = ('bash', 'zsh', 'fish')


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--every', metavar='TIME', type=seconds, default=1.0, help='from one look to the next, 1s')
    add_common(parser)


def _add_dashboard(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--bind', metavar='HOST:PORT', type=address,
        help='where it listens, 127.0.0.1:8765 if not given; port 0 is any that is free')  # fmt: skip
    add('--host', metavar='NAME', action='append', default=[],
        help='a further name of this machine that it answers for, as behind a proxy; may be repeated')  # fmt: skip
    add('--allow', metavar='NAMES', type=names, action=Once,
        help='what visitors may do beside looking: redrive, cancel, requeue, bury, pause (and resume), limit, sweep, '
        'enqueue, schedule, with commas between them, or all of these; and payload, which is to see what is '
        'redacted')  # fmt: skip
    add('--insecure', action='store_true',
        help='let others in without a password, where --bind names more than this machine')  # fmt: skip
    add('--payloads', choices=('redacted', 'hidden', 'full'),
        help='what is shown of payloads and results: all but what looks secret, which is the default; nothing; '
        'all')  # fmt: skip
    add('--title', metavar='TEXT', help='what the pages are called')
    add('--open', action='store_true', help='open it in a browser')
    add('--demo', action='store_true',
        help='show a server of its own instead, with queues, workers and failures, which is gone at the end; all acts '
        'are allowed')  # fmt: skip
    add_common(parser)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('what', metavar='WHAT', choices=('check', 'show', 'apply'), help='check, show or apply')
    parser.add_argument('--dry-run', action='store_true', help='of apply: change nothing, and show what would be')
    parser.add_argument('-y', '--yes', action='store_true', help='of apply: do not ask')
    add_common(parser)


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--serve', metavar='HOST:PORT', nargs='?', const=(), type=address,
        help='answer requests for them, instead of printing them once: at 127.0.0.1:9109 if no address is given, here '
        'or as metrics.bind of the file; :9109 is all addresses of this machine, port 0 any that is free')  # fmt: skip
    add('--group', metavar='NAME', action='append', default=[],
        help='tell of a group by name as well; may be repeated, up to 100 times')  # fmt: skip
    add_common(parser)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('shell', metavar='SHELL', choices=SHELLS, help='bash, zsh or fish')


VIEWING = (
    Command('top', 'watch queues live', 'Queues, their functions, groups, workers and dead tasks, live in the '
            'terminal; ? tells the keys. Where standard output is no terminal, it is torrelque stats --watch.',
            _add_top, of_module('.top', 'top')),
    Command('dashboard', 'show queues on the web', 'Serve pages that show queues, and all that is in them: for whoever '
            'has a browser on this machine, or knows the password in TORRELQUE_DASHBOARD_PASSWORD, with any name. '
            'Without --allow they only look. SIGTERM and Ctrl-C end it.',
            _add_dashboard, of_module('.dashboard', 'dashboard')),
    Command('config', 'check, show or apply a file of settings', 'A file that says which server, queues, workers, '
            'schedules and alerts there are. check tells all that is wrong with it, and ends with 1 then; show prints '
            'what holds by it, with all defaults and without passwords; apply sets the limits of groups and the '
            'schedules that it has, after it has shown in what they differ, and has asked. What the server has and the '
            'file has not stays.', _add_config, of_module('.config', 'config')),
    Command('metrics', 'print what Prometheus is told of queues, or serve it', 'Metrics of queues, in the text that '
            'Prometheus reads. With --serve a server answers with them at /metrics, and at /scale.json with how many '
            'slots of workers have something to do; SIGTERM and Ctrl-C end it. Run one for a queue: its figures are '
            'those of all its workers. Ends with 4 if a queue could not be read.',
            _add_metrics, of_module('.metrics', 'metrics')),
    Command('completion', 'print what has a shell complete this command', 'Print a script for a shell, which then '
            'completes commands, options and their words, without starting Python: eval "$(torrelque completion bash)" '
            'in ~/.bashrc, likewise in ~/.zshrc behind compinit, or torrelque completion fish > '
            '~/.config/fish/completions/torrelque.fish', _add_completion, of_module('.completion', 'completion')),
)  # fmt: skip
