"""Mutants: each hand-made fault in scripts, client and layers is caught by the ordinary test suite.

``python -m proof.mutants`` copies the tree, makes one fault at a time in a copy, and runs the tests there
that are to see it; first of all, those tests on a copy without a fault, because a test that cannot pass catches
everything.  Each run is a fork of a process that has imported libraries, and nothing of the tree.  The last line of the
output is JSON; the exit status is 1 when a fault survives.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
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
from proof.mutants.mutants_of_rights import RIGHTS
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
from proof.mutants.nursery import Nursery

ROOT = Path(__file__).parents[3]
MUTANTS = (
    *SCRIPTS, *ONE, *TURNS, *CLIENT, *WATCH, *SYNC, *OBJECTS, *WAITING, *DISPATCHING,
    *SETTLING, *DEATHS, *HEALTHY, *LAYERS, *CALLING, *PLACES, *COMMANDS, *ASKING, *ACTING, *DURATIONS, *FUZZING, *NAMES,
    *CARRYING, *MAKING, *ATTEMPTS, *OPERATE_READ, *OPERATE_HEART, *OPERATE_BULK, *EXPLAINING,
    *CALENDARS, *KEEPING, *SCHEDULES, *STEPS, *RUNNING, *FLOWS, *GRAFTS, *GROWING, *MOVING, *TOLD, *ABROAD, *DASHBOARD,
    *ALERTS, *TELEMETRY, *PROBES, *MEASURED, *CONFIGURING, *RIGHTS,
)  # fmt: skip
# A faulty tree fails the test of this very table, which proves nothing.
OWN_TEST = 'test/proof/mutants/test_mutants.py'
HANGS = re.compile(r'^E +Failed: Timeout |^\++ Timeout \++$', re.M)
FAILED = re.compile(r'^(?:FAILED|ERROR) (test\S*?::.+?)(?: - .*)?$', re.M)
WARNING = 'ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning'
"""What pytest says of plugins that the nursery has imported."""


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


def changed(mutant: Mutant, root: Path = ROOT) -> dict[str, str]:
    """The files of a mutant with its fault, by path; an error where what is to be changed is not there, or not once."""
    texts: dict[str, str] = {}
    for path, old, new in mutant.edits:
        text = texts.get(path) or (root / path).read_text('utf-8')
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


class Workshop:
    """A copy of the tree, in which one fault at a time is made, and the process whose forks run the tests there.

    A test writes into directories of its own, so a copy serves for many faults.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._home = tempfile.TemporaryDirectory(prefix='mutant-')
        self.tree = Path(self._home.name).resolve() / 'tree'
        self.tree.mkdir()
        copy_tree(self.tree, names)
        self._nursery = Nursery()

    @contextlib.contextmanager
    def fault(self, mutant: Mutant) -> Iterator[None]:
        """Make a fault, and mend it."""
        texts = changed(mutant, self.tree)
        before = {path: (self.tree / path).read_bytes() for path in texts}
        try:
            for path, text in texts.items():
                (self.tree / path).write_text(text, 'utf-8')
            yield
        finally:
            for path, old in before.items():
                (self.tree / path).write_bytes(old)

    def run_tests(self, tests: Sequence[str], server: str, limit: float, most: int = 1) -> tuple[int | None, str]:
        """Run tests until so many fail, 0 is all; the exit status, None where there was no end, and the output."""
        options = [f'--maxfail={most}', '-q', '-n0', '--tb=short', '--timeout=30']
        plugins = ['-p', 'no:cacheprovider', '-p', 'proof.unshrunk', '-W', WARNING, f'--deselect={OWN_TEST}']
        path = os.pathsep.join(str(self.tree / folder) for folder in ('', 'test'))
        environ = {**os.environ, 'PYTHONPATH': path, 'TORRELQUE_TEST_SERVERS': server, 'PYTHONDONTWRITEBYTECODE': '1'}
        output = self.tree.with_name('output')
        status = self._nursery.run([*options, *plugins, *tests], self.tree, environ, output, limit)
        return status, output.read_text('utf-8', errors='replace')

    def close(self) -> None:
        self._nursery.close()
        self._home.cleanup()


def judge(status: int | None, output: str) -> tuple[str, str]:
    """The outcome of a test run, and the first test that failed."""
    failed = FAILED.search(output)
    test = failed[1] if failed else ''
    if status is None or HANGS.search(output):
        return 'hangs', test
    if status == 1 and failed:
        return 'caught', test
    return ('survived' if status == 0 else 'broken'), test


def run_mutant(workshop: Workshop, mutant: Mutant, server: str, limit: float, whole: bool = False) -> Result:
    """Make a fault in a copy and run the tests there: those that are to see it, then the whole suite if so wanted."""
    started = time.monotonic()
    with workshop.fault(mutant):
        status, output = workshop.run_tests([address_of(test) for test in mutant.tests], server, limit)
        outcome, test = judge(status, output)
        if outcome == 'survived' and whole:
            status, output = workshop.run_tests(['test'], server, 10 * limit)
            outcome, test = judge(status, output)
    return Result(mutant.name, outcome, test, time.monotonic() - started, output)


def run_without_fault(
    workshop: Workshop, mutants: Sequence[Mutant], server: str, limit: float
) -> tuple[list[Mutant], str]:
    """Run all tests that mutants name on a tree without a fault; those whose tests all pass, and the output."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    status, output = workshop.run_tests([address_of(test) for test in tests], server, limit, most=0)
    failing = {address.partition('[')[0] for address in FAILED.findall(output)}
    if status != 0 and not failing:
        return [], output

    def passes(mutant: Mutant) -> bool:
        addresses = [address_of(test) for test in mutant.tests]
        # A module is named as a whole, too.
        return not any(address in (failed, failed.partition('::')[0]) for address in addresses for failed in failing)

    return [mutant for mutant in mutants if passes(mutant)], output


def report(result: Result, mutant: Mutant) -> None:
    if result.outcome == 'survived':
        print(f'{result.name}: SURVIVED ({mutant.why})', flush=True)
    elif result.outcome == 'broken':
        print(f'{result.name}: the tests could not be run\n{result.output}', flush=True)
    else:
        test = result.test or 'the end of time'
        print(f'{result.name}: {result.outcome} by {test} ({result.seconds:.1f} s)', flush=True)


def control(
    mutants: Sequence[Mutant], workshops: Sequence[Workshop], options: argparse.Namespace
) -> list[Mutant]:  # fmt: skip
    """The faults whose tests pass without any; of the others it is said that they do not."""
    shares = [mutants[place :: len(workshops)] for place in range(len(workshops))]

    def run(workshop: Workshop, share: Sequence[Mutant]) -> tuple[list[Mutant], str]:
        return run_without_fault(workshop, share, options.server, 10 * options.limit)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [*pool.map(run, workshops, shares)]
    sound = {mutant.name for passing, _ in runs for mutant in passing}
    for (passing, output), share in zip(runs, shares, strict=True):
        if len(passing) < len(share):
            print(f'without a fault, too, tests fail\n{output}')
    print(f'{len(sound)} of {len(mutants)} faults have tests that pass without one', flush=True)
    return [mutant for mutant in mutants if mutant.name in sound]


def run_all(mutants: Sequence[Mutant], workshops: Iterable[Workshop], options: argparse.Namespace) -> list[Result]:
    """Make all faults, in each workshop one after the other."""
    free, results = queue.SimpleQueue[Workshop](), list[Result]()
    for workshop in workshops:
        free.put(workshop)

    def run(mutant: Mutant) -> Result:
        workshop = free.get()
        try:
            return run_mutant(workshop, mutant, options.server, options.limit, options.whole)
        finally:
            free.put(workshop)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {pool.submit(run, mutant): mutant for mutant in mutants}
        for done in concurrent.futures.as_completed(runs):
            results.append(done.result())
            report(done.result(), runs[done])
    return results


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
    names = tracked()
    with contextlib.ExitStack() as stack:
        workshops = [stack.enter_context(contextlib.closing(Workshop(names))) for _ in range(options.jobs)]
        sound = mutants if options.no_control else control(mutants, workshops, options)
        results = run_all(sound, workshops, options)
    figures = {
        'mutants': len(results),
        'without_proof': len(mutants) - len(results),
        'caught': sum(result.outcome == 'caught' for result in results),
        'hangs': sum(result.outcome == 'hangs' for result in results),
        'survived': sorted(result.name for result in results if result.outcome in ('survived', 'broken')),
        'invariants': sorted({mutant.breaks for mutant in mutants if mutant.breaks}),
        'seconds': round(sum(result.seconds for result in results)),
    }
    print(json.dumps({**figures, 'faults_found': len(figures['survived'])}))  # type: ignore[arg-type]
    return 1 if figures['survived'] else 2 * bool(figures['without_proof'])
