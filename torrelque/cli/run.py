"""``torrelque run``: its arguments, and which process does what."""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from . import logs
from .failure import Failure
from .hosting import hosted
from .options import BURST, Once, RunOptions, add_file, address, count, names, processes, seconds, shares, stall

if TYPE_CHECKING:
    from .probes import Probes

METRICS = ('process', 'queue')
TARGET = (
    'MODULE:NAME of a Tasks, a list of them, a Worker that was not started, a function without arguments that makes '
    'one of these, or a handler with -q; the current directory is looked in first; or several apps, with commas '
    'between them; without one, the workers of a file are started'
)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add('target', metavar='TARGET', nargs='?', default=None, help=TARGET)
    add_file(parser)
    add('--only', metavar='NAME', help='of the workers of that file, this one')
    add('--processes', metavar='N', type=processes, help='start N processes and keep them running')
    add('--concurrency', metavar='N', type=count, help='tasks in hand at a time in each process, 10 if not given')
    add('--queues', metavar='NAMES', type=shares, action=Once,
        help='serve these queues only, in this order (a,b) or by weight (a=3,b=1)')  # fmt: skip
    add('--steal', metavar='NAMES', type=names, default=[], action=Once,
        help='queues to serve while those have nothing')  # fmt: skip
    add('--burst', action='store_true', help=BURST)
    add('--reload', action='store_true',
        help='start again when a .py file changes; tasks in hand go back, and the attempt does not count')  # fmt: skip
    add('--import', dest='imports', metavar='MODULE', action='append', default=[],
        help='import this module first, so that its functions are there; may be repeated')  # fmt: skip
    handler = parser.add_argument_group('a handler')
    handler.add_argument('-q', dest='queue', metavar='NAME', action='append', default=[],
        help='the target is the handler of this queue; may be repeated')  # fmt: skip
    handler.add_argument('--url', metavar='URL',
        help='its server; else TORRELQUE_URL, REDIS_URL, redis://localhost. Other users of the machine see '
        'arguments, so a password is better in a variable')  # fmt: skip
    handler.add_argument('--shards', metavar='N', type=count,
        help='how many shards the queues of -q have that have none yet; those that have some are found to')  # fmt: skip
    worker = parser.add_argument_group('the worker')
    worker.add_argument('--shutdown-timeout', metavar='TIME', type=seconds,
        help='how long to wait at the end for what is in hand, 30s if not given')  # fmt: skip
    worker.add_argument('--heartbeat', metavar='TIME', type=seconds,
        help='how often it writes its health into its queues, 5s if not given; 0 is never')  # fmt: skip
    worker.add_argument('--name', metavar='NAME', help='its name, with -1, -2 and so on for several processes')
    worker.add_argument('--uvloop', action='store_true', help='use the event loop of uvloop')
    health = parser.add_argument_group('its health, for probes')
    health.add_argument('--health', metavar='HOST:PORT', type=address,
        help='answer probes here: /live, /ready, /started, /health.json, /metrics; :8080 is all addresses of this '
        'machine, port 0 any that is free')  # fmt: skip
    health.add_argument('--health-file', metavar='FILE',
        help='touch this file each 5s while the event loop turns, of several processes those of all; it is removed '
        'at the end')  # fmt: skip
    health.add_argument('--metrics', choices=METRICS,
        help="what /metrics tells there: 'process', of this worker (the default), or 'queue', of its queues too, with "
        '/scale.json; that is for the only worker of a queue, in one process')  # fmt: skip
    health.add_argument('--stall', metavar='TIME', type=stall,
        help='how long an event loop may stand still, 60s if not given; after that /live is 503, and of several '
        'processes that one is replaced, where --health, --health-file or this option is given')  # fmt: skip
    log = parser.add_argument_group('the log')
    log.add_argument('--log-level', metavar='LEVEL', choices=logs.LEVELS, default='info', type=str.lower,
        help='lines from this level on: debug, info (the default), warning, error, critical')  # fmt: skip
    log.add_argument('--log', choices=logs.FORMS, default='text', help='text (the default), or a JSON object a line')
    # What a supervising process gives to those that it starts.
    parser.add_argument('--child', type=count, help=argparse.SUPPRESS)
    parser.add_argument('--first', action='store_true', help=argparse.SUPPRESS)


def run(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: the command line cannot be meant, or there is nothing to serve.
    """
    workers = _workers(found)
    options = workers[0]
    for one in workers:
        if one.uvloop and importlib.util.find_spec('uvloop') is None:
            raise Failure('--uvloop needs the package uvloop: pip install uvloop')
        if (one.queues is not None or one.steal) and {*one.steal} & {*(one.queues or one.queue)}:
            raise Failure('a queue is served, or it is stolen from; --steal names one that is served')
    if options.metrics == 'queue':
        _check_metrics(workers)
    if options.reload and options.burst:
        raise Failure('--burst ends, and --reload goes on; give one of them')
    try:
        here = os.getcwd()
    except OSError as exc:
        raise Failure(f'the current directory cannot be read: {exc.strerror}') from None
    logs.configure(options.log_level, options.log)
    with hosted(options), contextlib.ExitStack() as stack:
        probes = None
        if options.child is None and options.probed:
            from .probes import Probes

            probes = Probes(options)
            stack.callback(probes.close)
        return _run(workers, found, probes, here)


def _check_metrics(workers: list[RunOptions]) -> None:
    """Refuse to tell of queues from each of several processes, or from one that has none."""
    one = workers[0]
    if one.health is None:
        raise Failure('--metrics queue is told where --health listens; give it an address')
    if len(workers) > 1 or one.processes > 1 or one.reload:
        raise Failure(
            '--metrics queue is for one process that serves by itself; beside several of them, or --reload, run '
            "'torrelque metrics --serve'"
        )
    if importlib.util.find_spec('prometheus_client') is None:
        raise Failure("--metrics needs prometheus-client, of the extra 'monitor': pip install 'torrelque[monitor]'")


def _run(workers: list[RunOptions], found: argparse.Namespace, probes: 'Probes | None', here: str) -> int:
    """Start what does it all.

    :param here: the current directory.
    """
    options = workers[0]
    if options.child is None and (sum(one.processes for one in workers) > 1 or options.reload):
        from .supervise import supervise

        return supervise(workers, _command(found), probes)
    if here not in sys.path:
        sys.path.insert(0, here)
    if options.filed is not None and options.filed.server is not None:
        # An app that is told no server looks there, and has that of the file so.
        os.environ['TORRELQUE_URL'] = options.filed.server
    from .leash import Leash
    from .serve import serve

    if options.child is None:
        return serve(options, None, probes)
    leash = Leash()
    try:
        return serve(options, leash)
    except Failure as exc:
        leash.tell(failed=exc.code)
        raise


def _workers(found: argparse.Namespace) -> list[RunOptions]:
    """What each of the workers is told: one, of a target, or those of a file."""
    options = RunOptions.of(found)
    given = found.config is not None or found.only is not None
    if options.target and given:
        raise Failure('a TARGET, or a file with -c and --only: give one of them')
    if not options.target and not given and found.program.app is not None:
        options = dataclasses.replace(options, target=found.program.app)
    if not options.target:
        from .filed import read_workers

        return read_workers(found, options)
    if options.shards is not None and not options.queue:
        raise Failure('--shards is for the queues of -q; those of an app, or of a file, say so themselves')
    if options.queue and options.url is None:
        from .filed import url_of

        options = dataclasses.replace(options, url=found.program.url or url_of(found))
    return [options]


def _command(found: argparse.Namespace) -> list[str]:
    """What starts this program again: this Python, the same arguments, those of Python too."""
    if found.program.command is not None:
        return [*found.program.command]
    if found.arguments is None:
        return [sys.executable, *sys.orig_argv[1:]]
    return [sys.executable, '-m', 'torrelque', *found.arguments]
