"""``torrelque errors``: what failed, grouped by error, by function or by group."""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from torrelque.operate import ErrorGroup, Errors

from .failure import Exit
from .listing import age
from .out import Column, Out, number
from .session import Session, answer, is_read_only
from .tables import Cell

COLUMNS = (
    Column('ERROR', whole=True), Column('COUNT', True), Column('LAST', True, rank=3), Column('WHAT', rank=1),
    Column('WHERE', rank=4), Column('MESSAGE', rank=2, fold=True, lines=2, kept=26),
)  # fmt: skip
RATE = 50
"""Tasks a second that are brought back by the command that is shown: what failed before is not to be drowned."""
MOST = 10_000
"""Tasks that can be looked at."""


def errors(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _errors)


async def _errors(session: Session) -> int:
    found, out = session.found, session.out
    seen = False
    for queue in session.queues:
        answered = await session.operator.errors(most=found.most, queue=queue.name)
        seen = seen or bool(answered.errors)
        if out.as_json:
            out.json(answered)
            continue
        if session.several:
            out.line(queue.name, 'bold')
        if answered.errors:
            _write(session, answered)
        else:
            out.tell('no task is dead, and none waits for another attempt')
    return Exit.WELL if seen else Exit.ILL


def _write(session: Session, answered: Errors) -> None:
    out, found = session.out, session.found
    by = found.by
    out.sentence(window(answered))
    if by is None:
        out.table(COLUMNS, [row(one, answered.server_time, is_whole(answered)) for one in answered.errors])
    else:
        _write_shares(out, by, answered)
    first = next((one for one in answered.errors if one.dead), None)
    if first is not None and not is_read_only(found):
        command = f'torrelque redrive --error {first.fingerprint} --rate {RATE}'
        out.sentence('To bring them back', command=session.command(command, answered.queue))


def window(answered: Errors) -> str:
    """What was looked at, of all; and how more are, where there are more."""
    dead, seen = number(answered.dead), number(answered.dead_seen)
    first = f'of all {dead} dead' if answered.dead_seen >= answered.dead else f'of the newest {seen} of {dead} dead'
    if answered.delayed:
        delayed, seen = number(answered.delayed), number(answered.delayed_seen)
        first += f', and {delayed if answered.delayed_seen >= answered.delayed else f"{seen} of {delayed}"} delayed'
    if is_whole(answered):
        return first
    wanted = max(answered.dead, answered.delayed)
    more = f'--most {wanted} looks at all' if wanted <= MOST else f'--most {MOST} looks at more'
    return f'{first}, so older ones are not counted here; {more}'


def is_whole(answered: Errors) -> bool:
    """Whether all tasks were looked at that there are."""
    return answered.dead_seen >= answered.dead and answered.delayed_seen >= answered.delayed


def row(one: ErrorGroup, now: float, whole: bool = True) -> list[Cell]:
    """The line of an error.

    :param whole: whether all were looked at, so that the count is exact.
    """
    count = number(one.count) if whole else f'≥ {number(one.count)}'
    # Where no line of the application's own is known, its functions tell more than nothing.
    where = one.where or ', '.join(one.functions[:3])
    return [one.fingerprint, count, f'{age(one.last, now)} ago', one.what, where, one.message]


# By function or group


class Share(NamedTuple):
    """What failed of a function or of a group."""

    name: str | None
    tasks: int
    kinds: int
    """How many errors there are that differ."""
    most: ErrorGroup
    """The most frequent of them."""


def shares(answered: Errors, by: str) -> list[Share]:
    """What failed by 'function' or 'group', the most first."""
    found: dict[str | None, list[tuple[int, ErrorGroup]]] = {}
    for name, count, one in _counts(answered, by):
        found.setdefault(name, []).append((count, one))
    rows = [
        Share(name, sum(count for count, _ in pairs), len(pairs), max(pairs, key=lambda pair: pair[0])[1])
        for name, pairs in found.items()
    ]
    return sorted(rows, key=lambda it: (-it.tasks, it.name or ''))


def _counts(answered: Errors, by: str) -> Iterator[tuple[str | None, int, ErrorGroup]]:
    for one in answered.errors:
        for name, count in one.by_function if by == 'function' else one.by_group:
            yield name, count, one


def _write_shares(out: Out, by: str, answered: Errors) -> None:
    columns = (
        Column(by.upper(), kept=20), Column('COUNT', True), Column('ERRORS', True, rank=2),
        Column('MOST', rank=1, whole=True), Column('WHAT', rank=3), Column('MESSAGE', rank=4, fold=True, lines=2),
    )  # fmt: skip
    bound = '' if is_whole(answered) else '≥ '
    out.table(columns, [
        [f'(no {by})' if it.name is None else it.name, bound + number(it.tasks), number(it.kinds), it.most.fingerprint,
         it.most.what, it.most.message]
        for it in shares(answered, by)
    ])  # fmt: skip
