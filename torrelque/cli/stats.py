"""``torrelque stats``: how much there is, and how long it waits, in a line for each queue."""

import argparse

from .failure import Exit
from .out import Column, ago, number
from .session import Session, add_common, answer

COLUMNS = (
    Column('QUEUE'), Column('PENDING', True), Column('OLDEST', True), Column('READY', True), Column('WORKING', True),
    Column('DELAYED', True), Column('DEAD', True), Column('WORKERS', True), Column('BUSY', True),
)  # fmt: skip


def add_stats_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser)


def stats(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _stats, several=True)


async def _stats(session: Session) -> int:
    overviews = await session.operator.overviews()
    if session.out.as_json:
        for one in overviews:
            session.out.json(one)
    else:
        rows = [
            (one.queue + ('  paused' if one.paused else ''), number(one.pending), ago(one.oldest_age),
             number(one.ready), number(one.working), number(one.delayed), number(one.dead), number(one.workers),
             f'{one.busy}/{one.slots}')
            for one in overviews
        ]  # fmt: skip
        session.out.table(COLUMNS, rows)
    return Exit.ILL if any(one.error for one in overviews) else Exit.WELL
