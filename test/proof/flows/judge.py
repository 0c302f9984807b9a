"""What must have become of a flow after a step, by the table, and whether that is what the server has of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from model.model_ends import begins, takes
from proof.flows.runs import MANY, NAMES, Run, Step
from proof.layers import FoundError


class View(NamedTuple):
    """What the server has of a flow."""

    needs: dict[str, str]
    done: dict[str, str]
    state: list[Any]
    """status, left, dead, failed."""
    rest: list[int]
    """Whether there are edges, a gate, and the flow among those that wait, and among the payloads."""


def expect(run: Run, step: Step) -> None:
    """Note what a step does by itself."""
    act, number = step.act, step.number
    run.fresh.clear()
    if act == 'stop':
        run.cancelled = True
        _withdraw(run)
    elif act == 'vanish':
        del run.held[number]
    elif act == 'redrive':
        run.dead.remove(number)
        run.begun.add(number)
    elif act == 'die' and run.policy == 'wait':
        del run.held[number]
        run.begun.remove(number)
        run.dead.add(number)
        run.died.add(number)
    else:
        if act == 'die':
            run.left_dead.add(number)
        how = 'c' if act == 'complete' else 'x' if act in ('clear', 'let go') and run.cancelled else 'f'
        _end(run, number, how)


def _end(run: Run, number: int, how: str) -> None:
    run.ends[number] = how
    run.fresh.add(number)
    run.held.pop(number, None)
    for several in (run.begun, run.marked, run.dead):
        several.discard(number)


def _withdraw(run: Run) -> None:
    """What has not ended is taken back with the flow, but for what is to run at its end."""
    for number in range(len(run.shape)):
        if run.ends[number] is None and not run.is_last(number):
            if number in run.held:
                run.marked.add(number)
            else:
                _end(run, number, 'x')


def settle(run: Run, step: Step, view: View) -> None:
    """Note what comes of a step, each task behind those that it waits for.  As what a task is skipped depends on whom
    it is told of first, so that is taken from the server, where it is one of those that may be."""
    ends_it = step.act == 'die' and run.policy == 'cancel' and not run.cancelled
    run.cancelled |= ends_it
    for number, part in enumerate(run.shape):
        if not run.waits(number):
            continue
        may = begins(part, run.ends, run.died)
        barred = {
            how if how in ('f', 'x') else 'n'
            for other, kind in part.after
            if takes(kind, other, run.ends, run.died) is False and other in run.fresh
            if (how := run.ends[other]) is not None
        }
        if ends_it and not run.is_last(number):
            # Whatever the death itself does not skip is taken back.
            without = [None if end == 'x' else end for end in run.ends]
            taken_back = begins(part, without, run.died) is not False
            barred = {'x'} if taken_back else barred - {'x'}
            # Where a call tells of few, the flow is cancelled before all are told.
            barred |= {'x'} if run.rules.budget < MANY else set()
            may = False
        if may is False:
            how = view.done.get(run.task_id(number), '')[1:2]
            if how not in barred:
                raise FoundError(f'{NAMES[number]} is to be skipped as one of {barred}, and has {how!r}')
            _end(run, number, how)
        elif may:
            run.begun.add(number)
    if ends_it:
        _withdraw(run)


def compare(run: Run, view: View) -> None:
    """Compare what has become of a flow with what the server has of it."""
    needs, done = {}, {}
    for number, end in enumerate(run.ends):
        task_id = run.task_id(number)
        if end is None:
            needs[task_id] = _needs(run, number)
        else:
            done[task_id] = '' if end == 'c' else f'!{end}'
    found = {task_id: value[:2] for task_id, value in view.done.items()}
    failed = sum(end in ('f', 'x') for end in run.ends)
    status = '6' if run.cancelled else '7' if needs else '4' if failed else '3'
    state = [status, len(needs), len(run.dead), failed]
    its = [view.state[0], *(int(word or 0) for word in view.state[1:])]
    if (view.needs, found, its) != (needs, done, state):
        raise FoundError(f'{(view.needs, found, its)} instead of {(needs, done, state)}')
    if not needs and any(view.rest):
        raise FoundError(f'left of a flow that is over: {view.rest}')


def _needs(run: Run, number: int) -> str:
    if number in run.dead:
        return 'dead'
    if number in run.begun:
        return '0'
    part = run.shape[number]
    found = [takes(kind, other, run.ends, run.died) for other, kind in part.after]
    return f'a{len(found) - found.count(False)}' if part.any else str(len(found) - found.count(True))
