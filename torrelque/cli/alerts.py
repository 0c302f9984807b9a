"""``torrelque alerts``: looks at rules and tells of those that fire, or shows how they are."""

import argparse
import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from .alertfile import Watched
from .answers import SinkAnswer
from .failure import Exit, Failure
from .filed import read_watched
from .out import Column, number
from .session import Session, answer, is_read_only
from .tables import Cell

if TYPE_CHECKING:
    from torrelque.monitor import Alerts
    from torrelque.operate import AlertView

STYLES = {'firing': 'red', 'falling': 'yellow', 'rising': 'yellow'}


def alerts(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: it cannot be meant.
    """
    watched = Watched() if found.show else read_watched(found)
    if not watched.rules:
        if found.once or found.test is not None:
            raise Failure('there are no rules: name a file that has [alerts.NAME], -c torrelque.toml')
        return answer(found, _show, several=True)
    if is_read_only(found) and found.test is None:
        raise Failure('only reading is allowed here, and whoever looks at rules keeps their states', Exit.REFUSED)
    if found.app is None and not found.queue and watched.queues:
        found.queue = watched.queues

    async def call(session: Session) -> int:
        from torrelque.monitor import Alerts

        # What is told to the log is what the command is for.
        logging.getLogger('torrelque.monitor').setLevel(logging.INFO)
        looker = Alerts(session.queues, watched.rules, watched.sinks)
        _tell_idle(session, watched)
        if found.test is not None:
            return await _test(session, looker)
        return await (_look_once(session, looker) if found.once else _run(session, looker, watched))

    return answer(found, call, several=True)


def _tell_idle(session: Session, watched: Watched) -> None:
    """Say which rules are about no queue that is looked at: that may be a slip."""
    names = [queue.name for queue in session.queues]
    idle = [rule.name for rule in watched.rules if not any(map(rule.is_of, names))]
    if idle:
        session.out.tell(f'left out, because they are about none of {", ".join(names)}: {", ".join(idle)}')


# Without rules


async def _show(session: Session) -> int:
    """How the rules are at which others look."""
    from torrelque.operate import read_alerts

    views = [view for queue in session.queues for view in await read_alerts(queue)]
    if not views and not session.out.as_json:
        names = ', '.join(queue.name for queue in session.queues)
        session.out.line(f'nobody looks at rules of {names}, or has in the last day')
    _tell(session, views)
    return Exit.ILL if any(one.firing and one.current for one in views) else Exit.WELL


# With rules


async def _look_once(session: Session, looker: 'Alerts') -> int:
    views = await looker.look()
    _tell(session, views)
    missing = {queue.name for queue in session.queues} - {one.queue for one in views}
    blind = [name for name in missing if any(rule.is_of(name) for rule in looker.rules)]
    if blind:
        raise Failure(f'alerts of {", ".join(sorted(blind))} could not be looked at', Exit.REFUSED)
    return Exit.ILL if any(one.firing for one in views) else Exit.WELL


async def _test(session: Session, looker: 'Alerts') -> int:
    found, out = session.found, session.out
    told = await looker.test(found.test, found.queue[0] if len(found.queue) == 1 else None)
    for name, error in told.items():
        if out.as_json:
            out.json(SinkAnswer(sink=name, error=error))
        else:
            out.line(f'{name}: told' if error is None else f'{name}: not told: {error}')
    return Exit.ILL if any(told.values()) else Exit.WELL


async def _run(session: Session, looker: 'Alerts', watched: Watched) -> int:
    out, before = session.out, dict[tuple[str, str], str]()
    names = ', '.join(queue.name for queue in session.queues)
    out.tell(f'looks at {number(len(watched.rules))} rules of {names}, each 15 s; tells log'
             + ''.join(f', {name}' for name in watched.sinks))  # fmt: skip

    def tell(views: 'list[AlertView]') -> None:
        changed = [one for one in views if before.get((one.queue, one.rule), 'calm') != one.state]
        before.update(((one.queue, one.rule), one.state) for one in views)
        for one in changed:
            if out.as_json:
                out.json(one)
            else:
                out.line(f'{out.when(one.seen)} {one.queue}: {one.rule} is {one.state}: {one.words}')

    loop, running = asyncio.get_running_loop(), asyncio.ensure_future(looker.run(tell))
    signals = signal.SIGINT, signal.SIGTERM
    for one in signals:
        loop.add_signal_handler(one, running.cancel)
    try:
        await asyncio.wait([running])
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
        running.cancel()
    if not running.cancelled():
        running.result()
    return Exit.WELL


# How it is told


def _tell(session: Session, views: 'list[AlertView]') -> None:
    out = session.out
    if out.as_json:
        for one in views:
            out.json(one)
    elif views:
        columns = [Column('RULE', whole=True), Column('STATE', whole=True), Column('SINCE', rank=2),
                   Column('VALUE', fold=True)]  # fmt: skip
        if session.several:
            columns.insert(0, Column('QUEUE', rank=1))
        out.table(columns, [_row(session, one) for one in views])


def _row(session: Session, one: 'AlertView') -> list[Cell]:
    state = one.state if one.current else f'{one.state}, not looked at'
    since = session.out.when(one.began if one.firing and one.began else one.since)
    queue: list[Cell] = [one.queue] if session.several else []
    return [*queue, one.rule, (state, STYLES.get(one.state, '')), since, one.words]
