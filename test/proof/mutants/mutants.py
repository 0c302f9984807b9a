"""Mutants: each hand-made fault in scripts, client and layers is caught by the ordinary test suite.

``python -m proof.mutants`` copies the tree, makes one fault at a time in a copy, and runs the tests there that are
to see it; first of all, those tests on a copy without a fault, because a test that cannot pass catches everything.  The
last line of the output is JSON; the exit status is 1 when a fault survives.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from proof.mutants.mutant import Mutant
from proof.mutants.mutants_of_abroad import ABROAD
from proof.mutants.mutants_of_alerts import ALERTS
from proof.mutants.mutants_of_cli import COMMANDS
from proof.mutants.mutants_of_cli_acting import ACTING
from proof.mutants.mutants_of_cli_asking import ASKING
from proof.mutants.mutants_of_client import CLIENT
from proof.mutants.mutants_of_config import CONFIGURING
from proof.mutants.mutants_of_cron import CALENDARS, KEEPING
from proof.mutants.mutants_of_dashboard import DASHBOARD
from proof.mutants.mutants_of_deaths import DEATHS
from proof.mutants.mutants_of_dispatching import DISPATCHING
from proof.mutants.mutants_of_durations import DURATIONS, NAMES
from proof.mutants.mutants_of_flows import FLOWS
from proof.mutants.mutants_of_fuzzing import FUZZING
from proof.mutants.mutants_of_grafts import GRAFTS
from proof.mutants.mutants_of_growing import GROWING
from proof.mutants.mutants_of_health import HEALTHY
from proof.mutants.mutants_of_layers import LAYERS
from proof.mutants.mutants_of_loops import CALLING
from proof.mutants.mutants_of_metrics import MEASURED
from proof.mutants.mutants_of_moving import MOVING
from proof.mutants.mutants_of_objects import OBJECTS
from proof.mutants.mutants_of_one import ONE
from proof.mutants.mutants_of_operate_bulk import OPERATE_BULK
from proof.mutants.mutants_of_operate_core import ATTEMPTS
from proof.mutants.mutants_of_operate_flows import TOLD
from proof.mutants.mutants_of_operate_heart import OPERATE_HEART
from proof.mutants.mutants_of_operate_read import OPERATE_READ
from proof.mutants.mutants_of_operate_why import EXPLAINING
from proof.mutants.mutants_of_places import PLACES
from proof.mutants.mutants_of_probes import PROBES
from proof.mutants.mutants_of_schedules import SCHEDULES
from proof.mutants.mutants_of_scripts import SCRIPTS
from proof.mutants.mutants_of_settling import SETTLING
from proof.mutants.mutants_of_steps import RUNNING, STEPS
from proof.mutants.mutants_of_sync import SYNC
from proof.mutants.mutants_of_telemetry import TELEMETRY
from proof.mutants.mutants_of_turns import TURNS
from proof.mutants.mutants_of_types import CARRYING, MAKING
from proof.mutants.mutants_of_waiting import WAITING
from proof.mutants.mutants_of_watching import WATCH

ROOT = Path(__file__).parents[3]
MUTANTS = (
    *SCRIPTS, *ONE, *TURNS, *CLIENT, *WATCH, *SYNC, *OBJECTS, *WAITING, *DISPATCHING,
    *SETTLING, *DEATHS, *HEALTHY, *LAYERS, *CALLING, *PLACES, *COMMANDS, *ASKING, *ACTING, *DURATIONS, *FUZZING, *NAMES,
    *CARRYING, *MAKING, *ATTEMPTS, *OPERATE_READ, *OPERATE_HEART, *OPERATE_BULK, *EXPLAINING,
    *CALENDARS, *KEEPING, *SCHEDULES, *STEPS, *RUNNING, *FLOWS, *GRAFTS, *GROWING, *MOVING, *TOLD, *ABROAD, *DASHBOARD,
    *ALERTS, *TELEMETRY, *PROBES, *MEASURED, *CONFIGURING,
)  # fmt: skip
# A faulty tree fails the test of this very table, which proves nothing.
OWN_TEST = 'test/proof/mutants/test_mutants.py'
HANGS = re.compile(r'^E +Failed: Timeout |^\++ Timeout \++$', re.M)
FAILED = re.compile(r'^(?:FAILED|ERROR) (test\S*?::.+?)(?: - .*)?$', re.M)
# What hypothesis finds is not made small: that it found something is all that is asked.
PLUGIN = """
import hypothesis
from hypothesis import Phase
hypothesis.settings.register_profile('mutants', phases=(Phase.explicit, Phase.generate), print_blob=False)
hypothesis.settings.load_profile('mutants')
"""


class Result(NamedTuple):
    """What became of a fault."""

    name: str
    outcome: str
    """'caught' | 'hangs' (caught too) | 'survived' | 'broken' (the tests could not be run)"""
    test: str
    """The first test that failed."""
    seconds: float
    output: str


def path_of(module: str) -> Path:
    """The file of a module of tests, which the table names without folder and ``test_``."""
    paths = [*(ROOT / 'test').rglob(f'test_{module}.py')]
    if len(paths) != 1:
        raise ValueError(f'there are {len(paths)} modules of the name test_{module}')
    return paths[0]


def address_of(test: str) -> str:
    """The address of a test of the table, as pytest takes it."""
    module, colons, function = test.partition('::')
    return f'{path_of(module).relative_to(ROOT)}{colons}{function}'


def changed(mutant: Mutant) -> dict[str, str]:
    """The files of a mutant with its fault, by path; an error where what is to be changed is not there, or not once."""
    texts: dict[str, str] = {}
    for path, old, new in mutant.edits:
        text = texts.get(path) or (ROOT / path).read_text('utf-8')
        if text.count(old) != 1:
            raise ValueError(f'{mutant.name}: in {path} there is {text.count(old)} times: {old!r}')
        texts[path] = text.replace(old, new)
    return texts


def tracked() -> list[str]:
    """The files of the tree that git knows or would take."""
    command = ['git', '-C', str(ROOT), 'ls-files', '--cached', '--others', '--exclude-standard']
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def copy_tree(target: Path, names: Iterable[str]) -> None:
    """Copy files of the tree; the binaries of servers are shared."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    if (ROOT / '.servers').exists():
        (target / '.servers').symlink_to(ROOT / '.servers')
    (target / 'mutants_profile.py').write_text(PLUGIN)


def run_tests(tree: Path, tests: Sequence[str], server: str, limit: float) -> tuple[int | None, str]:
    """Run tests in a copy; the exit status, None where there was no end, and the output."""
    options = ['-x', '-q', '-n0', '-p', 'no:cacheprovider', '-p', 'mutants_profile', '--tb=short', '--timeout=30']
    command = [sys.executable, '-m', 'pytest', *options, f'--deselect={OWN_TEST}', *tests]
    path = os.pathsep.join(str(tree / folder) for folder in ('', 'test'))
    environment = {**os.environ, 'PYTHONPATH': path, 'TORRELQUE_TEST_SERVERS': server, 'PYTHONDONTWRITEBYTECODE': '1'}
    with tempfile.TemporaryFile('w+') as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        output.seek(0)
        return status, output.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    # With what it started, but for servers, which end with it.
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def judge(status: int | None, output: str) -> tuple[str, str]:
    """The outcome of a test run, and the first test that failed."""
    failed = FAILED.search(output)
    test = failed[1] if failed else ''
    if status is None or HANGS.search(output):
        return 'hangs', test
    if status == 1 and failed:
        return 'caught', test
    return ('survived' if status == 0 else 'broken'), test


def run_mutant(mutant: Mutant, server: str, limit: float, whole: bool = False) -> Result:
    """Make a fault in a copy and run the tests there: those that are to see it, then the whole suite if so wanted."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='mutant-') as folder:
        tree = Path(folder)
        copy_tree(tree, tracked())
        for path, text in changed(mutant).items():
            (tree / path).write_text(text, 'utf-8')
        status, output = run_tests(tree, [address_of(test) for test in mutant.tests], server, limit)
        outcome, test = judge(status, output)
        if outcome == 'survived' and whole:
            status, output = run_tests(tree, ['test'], server, 10 * limit)
            outcome, test = judge(status, output)
    return Result(mutant.name, outcome, test, time.monotonic() - started, output)


def run_without_fault(mutants: Sequence[Mutant], server: str, limit: float) -> Result:
    """Run all tests that the mutants name on a tree without a fault."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    return run_mutant(Mutant('no fault', 0, '', (), tuple(tests)), server, limit)


def report(result: Result, mutant: Mutant) -> None:
    if result.outcome == 'survived':
        print(f'{result.name}: SURVIVED ({mutant.why})', flush=True)
    elif result.outcome == 'broken':
        print(f'{result.name}: the tests could not be run\n{result.output}', flush=True)
    else:
        test = result.test or 'the end of time'
        print(f'{result.name}: {result.outcome} by {test} ({result.seconds:.1f} s)', flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--list', action='store_true', help='name the faults, and do nothing')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='these faults alone')
    parser.add_argument('--whole', action='store_true', help='run the whole suite where the tests named see nothing')
    parser.add_argument('--jobs', type=int, default=1, help='so many at once (1)')
    parser.add_argument('--server', default='valkey9', help='kinds of servers to run on, comma-separated (valkey9)')
    parser.add_argument('--limit', type=float, default=600, help='s for one fault; the whole suite has ten times that')
    parser.add_argument('--no-control', action='store_true', help='do not run the tests without a fault first')
    options = parser.parse_args(arguments)
    if unknown := {*(options.only or ())} - {mutant.name for mutant in MUTANTS}:
        parser.error(f'no such fault: {", ".join(sorted(unknown))}')
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    mutants = [mutant for mutant in MUTANTS if not options.only or mutant.name in options.only]
    if options.list:
        for mutant in mutants:
            print(f'{mutant.name} ({mutant.breaks or "beyond"}): {mutant.why}')
        return 0
    if not options.no_control:
        control = run_without_fault(mutants, options.server, 10 * options.limit)
        if control.outcome != 'survived':
            print(f'without a fault, too, {control.test} fails\n{control.output}')
            return 2
        print(f'without a fault all tests pass ({control.seconds:.1f} s)', flush=True)
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {
            pool.submit(run_mutant, mutant, options.server, options.limit, options.whole): mutant for mutant in mutants
        }
        for run in concurrent.futures.as_completed(runs):
            results.append(run.result())
            report(run.result(), runs[run])
    figures = {
        'mutants': len(results),
        'caught': sum(result.outcome == 'caught' for result in results),
        'hangs': sum(result.outcome == 'hangs' for result in results),
        'survived': sorted(result.name for result in results if result.outcome in ('survived', 'broken')),
        'invariants': sorted({mutant.breaks for mutant in mutants if mutant.breaks}),
        'seconds': round(sum(result.seconds for result in results)),
    }
    print(json.dumps({**figures, 'faults_found': len(figures['survived'])}))  # type: ignore[arg-type]
    return 1 if figures['survived'] else 0
