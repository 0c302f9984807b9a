"""What may be there after a call that was cancelled."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from model.model_checks import Seen
from model.model_groups import DELAYED, PENDING, WORKING
from proof.awaits.cases import READ, SETTLE, TAKE, WHOLE, Bench, Case
from proof.invariants import check_with_somebody


def name_of(seen: Seen, task_id: str) -> str:
    """What a test calls a task; its payload, where the id is not the test's own."""
    return task_id if len(task_id) < 32 else str(json.loads(seen.payloads[task_id]))


def picture(seen: Seen) -> dict[str, Any]:
    """What a call may have changed, without what is new each time.  A return that does not count is none."""
    places = {'working': seen.working, 'delayed': seen.delayed, 'dead': seen.dead}
    seen_in = {task_id: name for name, place in places.items() for task_id in place}
    named: dict[str, Any] = {}
    for task_id, state in seen.states.items():
        name = name_of(seen, task_id)
        attempts = int(state.get('dequeue_count', 0)) - int(state.get('forgiven', 0))
        kept = ('status', 'timeout', 'group', 'priority', 'error', 'progress', 'result')
        named[name] = (*(state.get(field) for field in kept), attempts, seen_in.get(task_id), task_id in seen.payloads)
    return {**named, 'limits of': seen.limits, 'paused are': seen.paused, 'wait for': seen.needs, 'ended': seen.done}


class Run(NamedTuple):
    """What is needed to judge a call that has ended."""

    case: Case
    bench: Bench
    before: dict[str, Any]
    after: dict[str, Any]
    """What is there when nobody cancels it."""
    cancelled: bool
    begun: bool


def objection(run: Run, seen: Seen) -> str:
    """What is wrong with what is there, '' if nothing is."""
    case, now = run.case, picture(seen)
    if case.effect == TAKE:
        stranded = [*check_with_somebody(seen, run.bench.held)]
        return str(stranded[0]) if stranded else _taken_wrongly(run, seen, now)
    if not run.cancelled or (case.effect == SETTLE and run.begun) or (case.effect == READ and case.act):
        return _differences(now, run.after)
    if case.effect == READ or case.effect == SETTLE and case.begins == 1:
        return _differences(now, run.before)
    if case.effect == WHOLE:
        return _differences(now, run.before) and _differences(now, run.after)
    odd = {
        name: now.get(name)
        for name in {*now, *run.before, *run.after}
        if now.get(name) not in (run.before.get(name), run.after.get(name))
    }
    added = sorted(name for name in now if name.startswith('new'))
    if case.verb == 'enqueue_many' and added != [f'new{k}' for k in range(len(added))]:
        return f'not a beginning: {added}'
    return f'neither as before nor as after: {odd}' if odd else ''


def _differences(now: dict[str, Any], then: dict[str, Any]) -> str:
    odd = {name: (now.get(name), then.get(name)) for name in {*now, *then} if now.get(name) != then.get(name)}
    return f'not as it should be: {odd}' if odd else ''


def _taken_wrongly(run: Run, seen: Seen, now: dict[str, Any]) -> str:
    if {*now} != {*run.after}:
        return f'there are {sorted(now)}, not {sorted(run.after)}'
    held = {name_of(seen, task_id) for task_id in run.bench.held}
    for name, task in now.items():
        status, attempts, payload = (task[0], task[-3], task[-1]) if isinstance(task, tuple) else (None, 0, True)
        expected = (WORKING,) if name in held else (PENDING, DELAYED, None)
        if status not in expected or attempts != (name in held) or not payload:
            return f'{name}, {"delivered" if name in held else "not delivered"}: {task}'
    waiting = [name_of(seen, task_id) for task_id in seen.plain]
    # One that is next to be taken is the last.
    if waiting != sorted(waiting):
        return f'out of order: {waiting}'
    return ''
