"""``torrelque redrive``, ``cancel``, ``requeue`` and ``bury``: what is done to tasks of a selection, or to some by id.

More than one task is only changed when somebody at the terminal has said yes, or the command line has.
"""

import argparse
import contextlib
import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torrelque import TorrelqueConnectionError, TorrelqueError
from torrelque.operate import Outcome, Plan, Selection, TaskView

from .consent import agree, answer_act, answer_known, interruptible, may_ask
from .failure import Exit, Failure
from .filters import selection_of, settle
from .out import Column, ago, number
from .progress import Course, following, total_of
from .session import Session

EXAMPLES = 5
"""Tasks that a dry run shows."""

COLUMNS = (
    Column('ID', whole=True), Column('STATUS', rank=2), Column('FUNCTION'), Column('GROUP', rank=3),
    Column('ATTEMPT', True, rank=1), Column('ERROR', rank=4),
)  # fmt: skip


class Verb(NamedTuple):
    """An act."""

    name: str
    done: str
    """What its tasks are then."""
    places: tuple[str, ...]
    """Where its tasks are, where nothing else is said."""
    open: bool = False
    """Whether it needs neither ids nor filters: then it is about its whole place, as of now."""


REDRIVE = Verb('redrive', 'redriven', ('dead',), True)
CANCEL = Verb('cancel', 'cancelled', ('pending', 'delayed'))
REQUEUE = Verb('requeue', 'requeued', ('working',))
BURY = Verb('bury', 'buried', ('working',))

REASONS = {
    'not_dead': 'not dead (any more)', 'not_working': 'not worked on (any more)', 'final': 'finished',
    'cancelled': 'cancelled', 'unknown': 'the queue does not know it', 'broken': 'its state is spoilt',
    'no_text': 'its id is no text', 'lease_lost': 'given back, or with somebody else now',
    'changed': 'not what was selected any more',
}  # fmt: skip
"""Why a task was not changed, in words."""


def redrive(found: argparse.Namespace) -> int:
    """Carry ``redrive`` out; its exit code."""
    return carry_out(REDRIVE, found)


def cancel(found: argparse.Namespace) -> int:
    """Carry ``cancel`` out; its exit code."""
    return carry_out(CANCEL, found)


def requeue(found: argparse.Namespace) -> int:
    """Carry ``requeue`` out; its exit code."""
    return carry_out(REQUEUE, found)


def bury(found: argparse.Namespace) -> int:
    """Carry ``bury`` out; its exit code."""
    return carry_out(BURY, found)


def carry_out(verb: Verb, found: argparse.Namespace) -> int:
    """Carry an act out; its exit code.

    :raises Failure: nothing says which tasks are meant, or that they are; nothing was changed.
    """
    ids = _read_ids(found.ids)
    if found.ids and not ids:
        raise Failure('standard input has no id; nothing was changed', Exit.ILL)
    selection = selection_of(found, ids)
    narrow = selection != Selection()
    if found.all and narrow:
        raise Failure('--all is for all tasks; it does not go with ids or filters')
    if not (narrow or found.all or verb.open):
        raise Failure(f'say which tasks: ids, filters, or --all; see torrelque {verb.name} --help')
    one = ids is not None and len({*ids}) == 1
    if not (one or found.yes or found.dry_run or may_ask(found)):
        raise Failure(
            f'more than one task may match, and nobody can be asked: --yes has them {verb.done}, --dry-run counts them'
        )
    call = functools.partial(_act, verb=verb, selection=selection, one=one)
    return answer_known(found, call) if found.dry_run else answer_act(found, call)


def _read_ids(given: Sequence[str]) -> list[str] | None:
    """Ids of the command line, and those of standard input in the place of a ``-``."""
    if '-' not in given:
        return [*given] or None
    read = sys.stdin.buffer.read().decode('utf-8', 'surrogateescape').split('\n')
    lines = [line for line in read if line]
    return [task_id for one in given for task_id in (lines if one == '-' else [one])]


# The act


async def _act(session: Session, *, verb: Verb, selection: Selection, one: bool) -> int:
    found, out = session.found, session.out
    selection = await settle(session, selection)
    if found.dry_run:
        return await _dry_run(session, verb, selection)
    plan = None
    total = 1 if one else None
    if one and verb in (REDRIVE, CANCEL) and (flow := await _flow_of(session, selection)) is not None:
        total = flow.dead if verb is REDRIVE else flow.left
        if not await _agreed_of_flow(session, verb, flow):
            return Exit.ILL
    if not one and not found.yes:
        # What is agreed to is what was counted, and not what has come meanwhile.
        plan = Plan()
        counts, whole = await _run(session, verb, selection, dry_run=True, plan=plan)
        if not whole:
            out.tell('nothing was changed')
            return Exit.INTERRUPTED
        total = counts.matched
        if not total:
            return _tell(session, verb, selection, replace(counts, dry_run=False))
        if total > 1 and not await _agreed(session, verb, selection, counts):
            return Exit.ILL
    outcome, whole = await _run(session, verb, selection, total=total, plan=plan)
    if whole:
        return _tell(session, verb, selection, outcome)
    if out.as_json:
        out.json(outcome)
    else:
        out.line(f'{number(outcome.done)} {verb.done}')
    out.tell('it was ended; the same command does the rest')
    return Exit.INTERRUPTED


async def _run(
    session: Session, verb: Verb, selection: Selection, *, dry_run: bool = False, total: int | None = None,
    plan: Plan | None = None,
) -> tuple[Outcome, bool]:  # fmt: skip
    """What the act came to, and whether no signal has ended it before.

    :param total: how many tasks it is about; None is not known, and then it is told how many were looked at.
    :param plan: what a dry run finds, or has found.
    """
    found = session.found
    # Where nothing was told before it was ended, nothing was done.
    queues = ', '.join(queue.name for queue in session.queues)
    last = Outcome(verb.name, queues, 0, 0, 0, (), dry_run, False, 0.0)
    options: dict[str, Any] = {'error': found.reason} if verb is BURY else {}
    if found.rate is not None and not dry_run:
        options['rate'] = found.rate
    if plan is not None:
        options['plan'] = plan
    course = Course(verb.done, total)
    if dry_run or total is None:
        course = Course(None if dry_run else verb.done, await total_of(session, selection, verb.places), looking=True)
    with following(session.out, course) as tell:

        def keep(outcome: Outcome) -> None:
            nonlocal last
            last = outcome
            tell(outcome)

        call = getattr(session.operator, verb.name)
        try:
            outcome = await interruptible(
                call(selection, limit=found.limit, dry_run=dry_run, on_progress=keep, **options)
            )
        except Exception:
            # What was done is done, whatever has ended it.
            if session.out.as_json and not dry_run:
                session.out.json(last)
            elif last.done:
                session.out.tell(f'{number(last.done)} {verb.done}, and then:')
            raise
    return (last, False) if outcome is None else (outcome, True)


async def _flow_of(session: Session, selection: Selection) -> TaskView | None:
    """The flow of this id, if it is one that has not ended."""
    [task_id] = {*(selection.ids or ())}
    try:
        task = await session.operator.task(task_id, payload=1)
    except TorrelqueError:
        # What is wrong with it is told by the act.
        return None
    return task if task.total is not None and task.place == 'waiting' else None


async def _agreed_of_flow(session: Session, verb: Verb, flow: TaskView) -> bool:
    """Whether whoever sits there wants it, where it is about several tasks.

    :raises Failure: nobody can be asked.
    """
    found = session.found
    count = (flow.dead if verb is REDRIVE else flow.left) or 0
    if found.yes or count <= 1:
        return True
    if not may_ask(found):
        are = 'are dead' if verb is REDRIVE else 'have not ended'
        raise Failure(f'{number(count)} tasks of the flow {are}, and nobody can be asked: --yes has them {verb.done}')
    which = 'that are dead' if verb is REDRIVE else 'that have not ended'
    return await agree(session.out, f'The flow has {number(count)} tasks {which}.  Are they to be {verb.done}?')


async def _agreed(session: Session, verb: Verb, selection: Selection, counts: Outcome) -> bool:
    """Whether whoever sits there wants it."""
    found = session.found
    question = f'{_how_many(verb, selection, counts)}.  '
    if found.rate:
        question += f'At {found.rate:g} a second this takes {ago(counts.matched / found.rate)}.  '
    return await agree(session.out, f'{question}Are they to be {verb.done}?')


async def _dry_run(session: Session, verb: Verb, selection: Selection) -> int:
    """Tell how many match, and some of them."""
    out = session.out
    counts, whole = await _run(session, verb, selection, dry_run=True)
    if not whole:
        return Exit.INTERRUPTED
    examples = await _examples(session, verb, selection) if counts.matched else []
    if out.as_json:
        out.json(replace(counts, examples=tuple(examples)))
    else:
        out.line(f'{_how_many(verb, selection, counts)}; nothing was changed')
        if examples:
            out.table(COLUMNS, [_row(task) for task in examples])
    if counts.away:
        # Which shards these are is told behind all answers.
        return Exit.AWAY
    return Exit.WELL if counts.matched else Exit.ILL


async def _examples(session: Session, verb: Verb, selection: Selection) -> list[TaskView]:
    most = min(EXAMPLES, session.found.limit or EXAMPLES)
    some: list[TaskView] = []
    places = verb.places if selection.status is None and selection.ids is None else (selection.status,)
    for place in places:
        if len(some) < most:
            which = replace(selection, status=place)
            # Where a shard is away, those of the others are told before it is.
            with contextlib.suppress(TorrelqueConnectionError):
                async for task in session.operator.tasks(which, most=most - len(some), payload=0):
                    some.append(task)
    return some


def _row(task: TaskView) -> tuple[str, ...]:
    status = '-' if task.status is None else task.status.name.lower()
    return (task.id, status, task.function or '-', task.group or '-', number(task.attempt), task.error_line or '-')


# What is told


def _how_many(verb: Verb, selection: Selection, counts: Outcome) -> str:
    kind = '' if selection.ids is not None else f'{selection.status or " or ".join(verb.places)} '
    if not counts.finished:
        return f'{number(counts.matched)} {kind}tasks match, and maybe more'
    return f'{number(counts.matched)} of {number(counts.seen)} {kind}tasks match'


def _tell(session: Session, verb: Verb, selection: Selection, outcome: Outcome) -> int:
    """Tell what became of it; the exit code."""
    out = session.out
    if out.as_json:
        out.json(outcome)
    elif not outcome.matched:
        out.line('no task matches')
    else:
        out.line(f'{number(outcome.done)} {verb.done}')
        for reason, many in outcome.refused:
            out.line(f'{number(many)} not: {REASONS.get(reason, reason)}')
    return Exit.ILL if not outcome.done or outcome.refused and selection.ids is not None else Exit.WELL
