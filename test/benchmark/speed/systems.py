"""The systems that are compared, and the environment of each, made from the registry that pip is configured for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
ADAPTERS = ROOT / 'test' / 'benchmark' / 'adapters'

OURS = 'torrelque'
WORKER = 'torrelque worker'
DECORATED = 'torrelque tasks'
SYNC = 'torrelque sync'
BEFORE = 'torrelque 0.9'
FLOOR = 'floor'


class System(NamedTuple):
    """A system: its adapter, what pip installs for it, and what is known of it."""

    name: str
    adapter: str
    requirements: tuple[str, ...]
    crash: str = ''
    """What becomes of a task whose consumer is killed, by its documentation."""
    consumers: str = 'worker'
    """What the columns of the drains are: plain loops, or a worker of that concurrency."""
    note: str = ''
    options: tuple[str, ...] = ()
    extra: bool = False
    """Measured only where it is named."""
    figures: tuple[str, ...] = ()
    """Keys of what is measured; nothing is all."""

    @property
    def is_ours(self) -> bool:
        """Whether it is of this checkout."""
        return self.name.startswith(OURS) and self.name != BEFORE

    @property
    def environment(self) -> Path:
        return ROOT / '.servers' / f'bench-{self.name.replace(" ", "-")}'

    @property
    def python(self) -> Path:
        return self.environment / 'bin' / 'python'

    @property
    def command(self) -> list[str]:
        return [str(self.python), '-m', f'benchmark.adapters.{self.adapter}', *self.options]

    @property
    def making(self) -> list[list[str]]:
        """The commands that make its environment."""
        return [
            [sys.executable, '-m', 'venv', str(self.environment)],
            [str(self.python), '-m', 'pip', 'install', '--quiet', '--upgrade', *self.requirements],
        ]


class NodeSystem(System):
    """A package of Node, whose environment is a folder of npm."""

    @property
    def command(self) -> list[str]:
        return ['node', str(ADAPTERS / self.adapter), *self.options]

    @property
    def making(self) -> list[list[str]]:
        return [['npm', 'install', '--silent', '--prefix', str(self.environment), *self.requirements]]


WORKED = ('drain_1', 'drain_100', 'pickup', 'late')
"""What a worker changes; its tasks are those of the primitive."""
CALLED = ('enqueue_one', 'enqueue_100', 'enqueue_bulk', 'drain_1', 'drain_100', 'pickup', 'late')

# Plain asyncio for all: uvloop where the name says so.  The client library's C parser for all.
CLIENT = ('redis', 'hiredis')

SYSTEMS = (
    System(OURS, 'on_torrelque', CLIENT, 'keeps', 'loops'),
    System(f'{OURS} uvloop', 'on_torrelque', (*CLIENT, 'uvloop'), 'keeps', 'loops', options=('--uvloop',)),
    *(
        System(f'{OURS} {name}', 'on_torrelque', (*CLIENT, name), 'keeps', 'loops', options=(f'--{name}',), extra=True)
        for name in ('orjson', 'msgspec')
    ),
    System(WORKER, 'on_torrelque_worker', CLIENT, 'keeps', figures=WORKED),
    System(DECORATED, 'on_torrelque_tasks', CLIENT, 'keeps', figures=(*CALLED, 'pending')),
    System(SYNC, 'on_torrelque_sync', CLIENT, 'keeps', 'threads', figures=CALLED),
    System(BEFORE, 'on_torrelque_0_9', ('torrelque==0.9.0', *CLIENT), 'keeps', 'loops', 'delays need its sweep (1 s)'),
    System('kew', 'on_kew', ('kew', *CLIENT), 'pops and forgets', note='its worker starts with the queue'),
    System('pyfiq', 'on_pyfiq', ('pyfiq', *CLIENT), 'pops and forgets', 'threads', 'no delays'),
    System('huey', 'on_huey', ('huey', *CLIENT), 'pops and forgets', 'threads', 'its scheduler looks every second'),
    # typing_extensions: imported, but not required by saq itself on Python 3.11.
    System('saq', 'on_saq', ('saq[redis]', 'typing_extensions', *CLIENT), 'keeps', note='delays in whole seconds'),
    System('arq', 'on_arq', ('arq', *CLIENT), 'keeps', note='polls every 0.5 s'),
    System('streaq', 'on_streaq', ('streaq', 'hiredis'), 'keeps', note='another client library, coredis'),
    System('bullmq', 'on_bullmq', ('bullmq', *CLIENT), 'keeps'),
    System('taskiq-redis', 'on_taskiq', ('taskiq-redis', *CLIENT), 'keeps', note='streams; delays need its scheduler'),
    System('pydocket', 'on_pydocket', ('pydocket', *CLIENT), 'keeps'),
    System('dramatiq', 'on_dramatiq', ('dramatiq[redis]', *CLIENT), 'keeps', 'threads'),
    System('rq', 'on_rq', ('rq', *CLIENT), 'marks as failed', note='one job at a time; delays in whole seconds'),
    System('celery', 'on_celery', ('celery[redis]', *CLIENT), 'pops and forgets', 'threads', 'early acknowledgement'),
    System(FLOOR, 'on_floor', CLIENT),
)

PLOT = System('plot', '', ('matplotlib',))


def prepare(system: System, *, fresh: bool = False) -> str | None:
    """Make the environment unless it is there; why not, if it cannot be made."""
    stamp = system.environment / 'requirements.txt'
    wanted = '\n'.join(system.requirements)
    if not fresh and stamp.exists() and stamp.read_text() == wanted:
        return None
    shutil.rmtree(system.environment, ignore_errors=True)
    system.environment.mkdir(parents=True)
    print(f'{system.name}: installing {" ".join(system.requirements)}', file=sys.stderr)
    for command in system.making:
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return f'not installed: there is no {command[0]}'
        if made.returncode:
            said = (made.stderr or made.stdout).strip().splitlines()
            return f'not installed: {said[-1] if said else made.returncode}'
    stamp.write_text(wanted)
    return None
