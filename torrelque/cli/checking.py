"""``torrelque check`` and ``torrelque doctor``: whether all is well."""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from torrelque.operate import Finding, Overview

from .failure import Exit
from .out import Column, ago, number
from .session import Session, answer
from .stats import plural
from .tables import Cell

OVERDUE = 30.0
"""s after which a delayed task that is due and was not moved is nobody's."""

STYLES = {'error': 'red', 'warning': 'yellow', 'ok': 'green'}
ILL = ('error', 'warning')


class Limits(NamedTuple):
    """What may be."""

    oldest: float = 300.0
    """s that the oldest task may wait."""
    pending: int | None = None
    dead: int | None = None
    workers: int | None = None
    """So many must live."""


# Figures against limits


def check(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _check, several=True)


async def _check(session: Session) -> int:
    found, out = session.found, session.out
    limits = Limits(found.oldest, found.pending, found.dead, found.workers)
    overviews = await session.operator.overviews()
    wrong = [finding for one in overviews for finding in judge(one, limits)]
    for finding in wrong:
        if out.as_json:
            out.json(finding)
        else:
            command = None if finding.advice is None else session.command(finding.advice, finding.queue)
            out.sentence(f'{finding.queue}: {finding.text}', command=command)
    if not wrong and not out.as_json:
        out.line(f'all is well with {", ".join(one.queue for one in overviews)}')
    return Exit.ILL if wrong else Exit.WELL


def judge(one: Overview, limits: Limits) -> Iterator[Finding]:
    """What is wrong with a queue."""

    def wrong(subject: str, text: str, advice: str | None) -> Finding:
        return Finding(one.queue, 'error', subject, text, None if advice is None else f'torrelque {advice}')

    if one.error is not None:
        yield wrong('error', f'it cannot be read: {one.error}', 'doctor')
        return
    if one.broken:
        yield wrong('broken', f'keys hold something else than they should: {", ".join(one.broken)}', 'doctor')
    age = one.oldest_age
    if age is not None and age > limits.oldest:
        paused = ', and it is paused' if one.paused else ''
        yield wrong('oldest', f'the oldest task has waited for {ago(age)} or longer, more than {ago(limits.oldest)}'
                    + paused, 'why')  # fmt: skip
    if limits.pending is not None and one.pending > limits.pending:
        yield wrong('pending', f'{number(one.pending)} tasks are pending, more than {number(limits.pending)}', 'why')
    if limits.dead is not None and one.dead > limits.dead:
        dead = plural(one.dead, 'task is', 'tasks are')
        yield wrong('dead', f'{dead} dead, more than {number(limits.dead)}', 'errors')
    if limits.workers is not None and one.workers < limits.workers:
        alive = plural(one.workers, 'worker lives', 'workers live')
        yield wrong('workers', f'{alive}, fewer than {number(limits.workers)}', 'workers')
    if one.stuck:
        yield wrong('stuck', f'{plural(one.stuck, "worker is", "workers are")} stuck', 'workers --stuck')
    late = None if one.next_delayed is None else one.server_time - one.next_delayed
    if one.overdue and late is not None and late > OVERDUE:
        due = plural(one.overdue, 'delayed task is', 'delayed tasks are')
        yield wrong('overdue', f'{due} due, for up to {ago(late)}, and nobody moves them', 'sweep')


# Queue and server


def doctor(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _doctor, several=True)


async def _doctor(session: Session) -> int:
    out = session.out
    findings = await session.operator.examine()
    if out.as_json:
        for one in findings:
            out.json(one)
    elif findings:
        columns = [Column('LEVEL'), Column('SUBJECT', whole=True, rank=2), Column('FINDING', fold=True)]
        if session.several:
            columns.insert(1, Column('QUEUE', rank=1))
        out.table(columns, [row(one, session.several) for one in findings])
    else:
        out.line('nothing was found that is wrong')
    return Exit.ILL if any(one.level in ILL for one in findings) else Exit.WELL


def row(one: Finding, several: bool) -> list[Cell]:
    """The line of a finding."""
    advice = f' ({one.advice})' if one.advice else ''
    queue: list[Cell] = [one.queue] if several else []
    return [(one.level, STYLES.get(one.level, '')), *queue, one.subject, one.text + advice]
