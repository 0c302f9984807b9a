"""``torrelque redrive``, ``cancel``, ``requeue`` and ``bury``: what is done to tasks of a selection, or to some by id.

More than one task is only changed when somebody at the terminal has said yes, or the command line has.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torrelque.operate import Outcome, Selection, TaskView

from .amounts import pace
from .consent import answer_act, ask, interruptible, may_ask
from .failure import Exit, Failure
from .filters import add_filters, selection_of
from .options import count
from .out import Column, ago, number
from .progress import following
from .session import Session, add_common

EXAMPLES = 5
"""Tasks that a dry run shows."""

COLUMNS = (
    Column('ID', whole=True), Column('STATUS'), Column('FUNCTION'), Column('GROUP'), Column('ATTEMPT', True),
    Column('ERROR'),
)  # fmt: skip


class Verb(NamedTuple):
    """An act."""

    name: str
    done: str
    """What its tasks are then."""
    place: str | None
    """Where its tasks are, where nothing else is said; None is anywhere."""
    open: bool = False
    """Whether it needs neither ids nor filters: then it is about its whole place, as of now."""


REDRIVE = Verb('redrive', 'redriven', 'dead', True)
CANCEL = Verb('cancel', 'cancelled', None)
REQUEUE = Verb('requeue', 'requeued', 'working')
BURY = Verb('bury', 'buried', 'working')


def arguments_of(verb: Verb) -> Callable[[argparse.ArgumentParser], None]:
    """What adds the arguments of an act."""
    return functools.partial(_add_arguments, verb)


def call_of(verb: Verb) -> Callable[[argparse.Namespace], int]:
    """What carries an act out."""
    return functools.partial(_carry_out, verb)


def _add_arguments(verb: Verb, parser: argparse.ArgumentParser) -> None:
    parser.add_argument('ids', metavar='ID', nargs='*',
        help='these tasks; - reads ids from standard input, one a line; behind -- ids may begin with a -')  # fmt: skip
    parser.add_argument('--all', action='store_true',
        help='all dead tasks, as without any filter' if verb.open else 'all tasks: without ids and filters this is '
        'needed')  # fmt: skip
    if verb.name == 'bury':
        parser.add_argument('--reason', metavar='TEXT', help='why, for the state of the tasks')
    parser.add_argument('--limit', metavar='N', type=count, help='tasks at the most')
    parser.add_argument('--rate', metavar='N', type=pace, help='tasks a second; or 50/s, 100/m')
    parser.add_argument('--dry-run', action='store_true', help='change nothing; tell how many match, and some of them')
    parser.add_argument('--yes', action='store_true', help='do not ask')
    add_filters(parser)
    add_common(parser)


def _carry_out(verb: Verb, found: argparse.Namespace) -> int:
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
    if selection.status is None and not ids:
        selection = dataclasses.replace(selection, status=verb.place)
    one = ids is not None and len({*ids}) == 1
    if not (one or found.yes or found.dry_run or may_ask(found)):
        raise Failure(
            f'more than one task may match, and nobody can be asked: --yes has them {verb.done}, --dry-run counts them'
        )
    return answer_act(found, functools.partial(_act, verb=verb, selection=selection, one=one))


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
    if found.dry_run:
        return await _dry_run(session, verb, selection)
    total = 1 if one else None
    if not one and (not found.yes or out.error.is_terminal):
        counts = await _run(session, verb, selection, dry_run=True, total=None)
        if counts is None:
            out.tell('nothing was changed')
            return Exit.INTERRUPTED
        total = sum(outcome.matched for outcome in counts)
        if not total:
            return _tell(session, verb, selection, counts)
        if total > 1 and not found.yes and not await _agreed(session, verb, selection, counts):
            return Exit.ILL
    so_far: dict[str, Outcome] = {}
    outcomes = await _run(session, verb, selection, dry_run=False, total=total, so_far=so_far)
    if outcomes is None:
        _tell(session, verb, selection, [*so_far.values()])
        out.tell('it was ended; the same command goes on with the rest')
        return Exit.INTERRUPTED
    return _tell(session, verb, selection, outcomes)


async def _run(session: Session, verb: Verb, selection: Selection, *, dry_run: bool, total: int | None,
               so_far: dict[str, Outcome] | None = None) -> list[Outcome] | None:  # fmt: skip
    """The act in each queue; None where a signal has ended it."""
    found, kept = session.found, {} if so_far is None else so_far
    call = getattr(session.operator, verb.name)
    options: dict[str, Any] = {'limit': found.limit, 'dry_run': dry_run}
    if not dry_run:
        options['rate'] = found.rate
    if verb.name == 'bury':
        options['error'] = found.reason

    def reached(_: Outcome) -> int:
        return sum(outcome.seen if dry_run else outcome.done for outcome in kept.values())

    async def run() -> list[Outcome]:
        left = found.limit
        for queue in session.queues:
            if left is not None and left <= 0:
                break
            with following(session.out, 'looked at' if dry_run else verb.done, total, reached) as tell:

                def keep(outcome: Outcome, name: str = queue.name, tell: Callable[[Outcome], None] = tell) -> None:
                    kept[name] = outcome
                    tell(outcome)

                kept[queue.name] = outcome = await call(
                    selection, queue=queue.name, on_progress=keep, **{**options, 'limit': left}
                )
            if left is not None:
                left -= outcome.matched if dry_run else outcome.done
        return [*kept.values()]

    return await interruptible(run())


async def _agreed(session: Session, verb: Verb, selection: Selection, counts: Sequence[Outcome]) -> bool:
    """Whether whoever sits there wants it."""
    found, matched = session.found, sum(outcome.matched for outcome in counts)
    question = f'{_how_many(selection, counts)}.  '
    if found.rate:
        question += f'At {found.rate:g} a second this takes {ago(matched / found.rate)}.  '
    if await ask(session.out, f'{question}Are they to be {verb.done}?'):
        return True
    session.out.tell('nothing was changed')
    return False


async def _dry_run(session: Session, verb: Verb, selection: Selection) -> int:
    """Tell how many match, and some of them."""
    out = session.out
    counts = await _run(session, verb, selection, dry_run=True, total=None)
    if counts is None:
        return Exit.INTERRUPTED
    examples: list[TaskView] = []
    if any(outcome.matched for outcome in counts):
        async for task in session.operator.tasks(selection, most=EXAMPLES):
            examples.append(task)
    if out.as_json:
        for outcome in counts:
            mine = [task.as_json() for task in examples if task.queue == outcome.queue]
            out.json({**outcome.as_json(), 'examples': mine})
    else:
        out.line(f'{_how_many(selection, counts)}; nothing was changed')
        if examples:
            out.table(COLUMNS, [_row(task) for task in examples])
    return Exit.WELL if any(outcome.matched for outcome in counts) else Exit.ILL


def _row(task: TaskView) -> tuple[str, ...]:
    status = '-' if task.status is None else task.status.name.lower()
    return (task.id, status, task.function or '-', task.group or '-', number(task.attempt), task.error_line or '-')


# What is told


def _how_many(selection: Selection, counts: Sequence[Outcome]) -> str:
    matched, seen = sum(outcome.matched for outcome in counts), sum(outcome.seen for outcome in counts)
    kind = f'{selection.status} ' if selection.status else ''
    if not all(outcome.finished for outcome in counts):
        return f'{number(matched)} {kind}tasks match, and maybe more'
    return f'{number(matched)} of {number(seen)} {kind}tasks match'


def _tell(session: Session, verb: Verb, selection: Selection, outcomes: Sequence[Outcome]) -> int:
    """Tell what became of it; the exit code."""
    out = session.out
    if out.as_json:
        for outcome in outcomes:
            # A count that found nothing ends the command, which was no dry run.
            out.json(dataclasses.replace(outcome, dry_run=False))
    done, matched = sum(outcome.done for outcome in outcomes), sum(outcome.matched for outcome in outcomes)
    refused: dict[str, int] = {}
    for outcome in outcomes:
        for reason, many in outcome.refused:
            refused[reason] = refused.get(reason, 0) + many
    if not out.as_json:
        if not matched:
            out.line('no task matches' if selection.ids is None else 'there is no such task')
        else:
            out.line(f'{number(done)} {verb.done}')
        for reason, many in sorted(refused.items()):
            out.line(f'{number(many)} not: {REASONS.get(reason, reason)}')
    return Exit.ILL if not done or refused and selection.ids is not None else Exit.WELL


REASONS = {
    'not_dead': 'not dead (any more)', 'unknown': 'the queue does not know it', 'final': 'finished',
    'lease_lost': 'not worked on (any more)', 'not_working': 'not worked on (any more)',
}  # fmt: skip
"""Words of the scripts."""
