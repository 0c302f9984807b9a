"""All commands that look, on values of which each field is hostile, one after the other in this process.

``python -m support.hostility`` is what `test_cli_hostile` runs in a pseudo-terminal.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from support.made import HOSTILE, NOW, MadeOperator, hostile, install
from torrelque import TorrelqueTaskState, TorrelqueTaskStatus
from torrelque.cli import main
from torrelque.operate import (
    Act,
    Attempt,
    Errors,
    Finding,
    FlowView,
    Found,
    FunctionView,
    Groups,
    GroupView,
    Overview,
    Page,
    Reason,
    Record,
    ScheduleView,
    TaskView,
    Totals,
    WorkerView,
)

MARK = '== '
"""What begins a line of ours, with the command that follows."""
LARGE = 300_000
"""Characters of the texts in one task."""

LIVE = 'watch f'
"""A command that draws what it shows anew, on a terminal."""
COMMANDS = (
    'stats', 'stats --history 8h', 'queues', 'queues --scan', 'tasks', 'tasks --payload', 'tasks dead', 'show a',
    'show a --payload', 'show large', 'why', 'why a', 'why --group a', 'errors', 'errors --by function',
    'errors --by group', 'functions', 'groups', 'groups x', 'workers', 'workers --lost', 'watch a', 'acts', 'check',
    'show f', 'show f --mermaid', LIVE,
    'doctor', 'schedules', 'schedules x', 'schedules --payload', 'show nope', 'stats nope', 'tasks nope',
    'stats --history nope',
)  # fmt: skip


def operator_of(several: bool) -> MadeOperator:
    """An operator whose answers are hostile."""
    error = 'Traceback:\n' + HOSTILE + '\n  KeyError: ' + HOSTILE
    whole = HOSTILE * (LARGE // len(HOSTILE))
    large: dict[str, Any] = {'error': 'e' * LARGE, 'payload': whole, 'raw': None, 'result': 'r' * LARGE}
    flow = hostile(TaskView, id='f', status=TorrelqueTaskStatus.WAITING, broken=None)
    tasks = [*_tasks('a', error), next(_tasks('large', **large)), flow]
    states = [_state(TorrelqueTaskStatus.WORKING), _state(TorrelqueTaskStatus.COMPLETED)]
    overviews = [
        hostile(Overview, error=None, probe=NOW + 1, newest_dead=NOW - 1, oldest=NOW - 400),
        hostile(Overview, broken=(), paused=False), hostile(Overview, error=None, workers=0, exact=('oldest',)),
    ]  # fmt: skip
    return MadeOperator(
        [HOSTILE] * (2 if several else 1), states, overviews=overviews[: 3 if several else 1],
        history=[hostile(Record, start=NOW - 60, length=60.0, functions=((HOSTILE, Totals(5, 1)),))],
        tasks=tasks, page=Page(HOSTILE, HOSTILE, NOW, tuple(tasks), None, 2**63, (HOSTILE,)),
        functions=[hostile(FunctionView)] * 2, groups=hostile(Groups, groups=(hostile(GroupView),) * 2),
        group=hostile(GroupView), flow=hostile(FlowView, id='f', status=TorrelqueTaskStatus.WAITING),
        workers=[hostile(WorkerView, state=state, started=NOW) for state in ('running', 'stuck', 'lost')],
        acts=[hostile(Act)] * 2, errors=hostile(Errors), explain=[hostile(Reason, code='at-limit'), *_reasons()],
        examine=[hostile(Finding)] * 2, stalled=[hostile(Finding)], schedules=[hostile(ScheduleView)] * 2,
    )  # fmt: skip


def _tasks(task_id: str, error: Any, **given: Any) -> Iterator[TaskView]:
    """A task in each status; the first has the id that is asked for."""
    for status in (*TorrelqueTaskStatus, None):
        first = status == TorrelqueTaskStatus.PENDING
        given = {'history': (Attempt(2**63, NOW, NOW, HOSTILE),), 'error': error, 'total': None, **given}
        name = {'id': task_id} if first else {}
        broken = HOSTILE if status is None else None
        yield hostile(TaskView, **{**given, **name, 'status': status, 'broken': broken})


def _state(status: TorrelqueTaskStatus) -> TorrelqueTaskState:
    plain: dict[str, Any] = dict.fromkeys(TorrelqueTaskState._fields)
    more = {'status': status, 'dequeue_count': 1, 'requeue_count': 0, 'error': HOSTILE, 'progress': HOSTILE}
    return TorrelqueTaskState(**{**plain, **more})


def _reasons() -> Iterator[Reason]:
    one = hostile(Reason)
    for doing in ('working', 'delayed', 'next', 'unknown', HOSTILE):
        holders = tuple(dataclasses.replace(holder, doing=doing) for holder in one.holders)
        yield dataclasses.replace(one, holders=holders, command=f'torrelque {HOSTILE}')
    yield dataclasses.replace(one, holders=())


def run() -> None:
    """Carry all of them out, with one queue and with several, as text and as JSON."""
    found = [hostile(Found), hostile(Found)]
    with pytest.MonkeyPatch.context() as patch:
        for words in COMMANDS:
            for more in ([], ['--utc'], ['--json']):
                install(patch, operator_of(several=more == ['--utc']), found)
                os.write(1, f'\n{MARK}{words} {" ".join(more)}\n'.encode())
                given = [HOSTILE if word in ('nope', 'x') else word for word in shlex.split(words)]
                try:
                    code = main([*given, *more])
                except SystemExit as exc:
                    code = exc.code  # type: ignore[assignment]
                os.write(1, f'{MARK}ended with {code}\n'.encode())


if __name__ == '__main__':
    run()
