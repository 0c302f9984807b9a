"""``torrelque config check | show | apply``: a file of settings, and what of it is state of the server."""

import argparse
import importlib.util
import itertools
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from .answers import ChangeAnswer, ConfigAnswer, ProblemAnswer
from .applying import Change, differences
from .consent import agree, may_ask, refuse_to_act
from .failure import Exit, Failure
from .filed import failure_of, load
from .out import Column, Out, number
from .session import answer_alone, answer_of_server, is_read_only

if TYPE_CHECKING:
    from torrelque.config import Config

CHANGES = (
    Column('QUEUE'), Column('WHAT', whole=True), Column('NOW', fold=True), Column('FILE', fold=True)
)  # fmt: skip

ANY = '0.0.0.0'
"""All addresses of a machine, but for those of IPv6."""


def config(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: there is no file, or something is wrong with it.
    """
    return {'check': _check, 'show': _show, 'apply': _apply}[found.what](found)


# Check


def _check(found: argparse.Namespace) -> int:
    from torrelque.config import Config, ConfigError
    from torrelque.config.finding import NAME, find

    if find(found.config) is None:
        raise Failure(f'there is no {NAME} here, and none is named: -c FILE')

    async def check(out: Out) -> int:
        try:
            config = Config.load(found.config)
        except ConfigError as exc:
            if any(not one.key and one.line is None for one in exc.problems):
                raise failure_of(exc) from None
            for one in exc.problems:
                if out.as_json:
                    out.json(ProblemAnswer(file=one.file, line=one.line, key=one.key, text=one.text))
                else:
                    out.line(str(one))
            return Exit.ILL
        for warning in warnings(config):
            out.tell(f'{config.path}: {warning}')
        if not out.as_json:
            out.line(f'{config.path} is well: {_counts(config)}')
        return Exit.WELL

    return answer_alone(found, check)


def _counts(config: 'Config') -> str:
    said = config.sections
    counts = {'worker': said.workers, 'queue': config.queues, 'schedule': said.schedules, 'alert': said.alerts.rules}
    found = [f'{number(len(one))} {name}{"" if len(one) == 1 else "s"}' for name, one in counts.items() if one]
    return ', '.join(found) or f'there is {"no worker and no queue" if config.given else "nothing"} in it'


def warnings(config: 'Config') -> list[str]:
    """What can be meant, and may not be."""
    found = []
    said = config.sections
    watching = [f'alerts.{name}' for name, rule in said.alerts.rules.items() if rule.when == 'no_worker']
    if said.alerts.defaults:
        watching.append('alerts.defaults')
    if watching and ('dashboard',) not in config.given:
        found.append(
            f'{watching[0]} looks for no_worker, and nothing in this file but workers looks at alerts: where all of '
            'them are gone, nobody does. Run torrelque alerts, or torrelque dashboard, elsewhere'
        )
    found += _shared_ports(config)
    timed = [name for name, one in said.schedules.items() if one.cron is not None or one.jitter]
    if timed and importlib.util.find_spec('cronsim') is None:
        found.append(
            f'schedules.{timed[0]} was not looked at: cron and jitter need cronsim, of the extra cron, for apply too'
        )
    own = said.server.url is not None and ('server', 'url') not in config.written
    if own and config.variable is not None and said.server.url != config.url:
        found.append(f'server.url is not used: the variable {config.variable} names another server')
    return found


def _shared_ports(config: 'Config') -> list[str]:
    said = config.sections
    places = [('health', said.health.bind), ('metrics', said.metrics.bind), ('dashboard', said.dashboard.bind)]
    return [
        f'{later}.bind and {name}.bind have port {place[1]}: on one machine, only one of them can listen there'
        for (name, place), (later, other) in itertools.combinations(places, 2)
        if place and other and place[1] == other[1] != 0 and _share(place[0], other[0])
    ]


def _share(host: str, other: str) -> bool:
    return host == other or ANY in (host, other) and ':' not in host + other


# Show


def _show(found: argparse.Namespace) -> int:
    config = load(found.config)

    async def show(out: Out) -> int:
        from torrelque.config.writing import as_json, as_toml

        if out.as_json:
            out.json(ConfigAnswer(file=config.path, found=config.found, config=as_json(config)))
            return Exit.WELL
        out.line(f'# {config.path}, found {config.found}')
        for line in as_toml(config).split('\n'):
            out.line(line)
        return Exit.WELL

    return answer_alone(found, show)


# Apply


def _apply(found: argparse.Namespace) -> int:
    if not found.dry_run:
        refuse_to_act(found)
    config = load(found.config)
    if unknown := [name for name in found.queue if name not in config.queues]:
        raise Failure(f'{config.path} has no queue {unknown[0]!r}; it has {", ".join(config.queues)}')
    if found.app is not None:
        raise Failure('--app is for others: the queues are those of the file')
    if found.url is None and config.variable is None:
        found.url = config.url

    async def apply(client: Any, out: Out) -> int:
        return await _apply_to(config, client, found, out)

    return answer_of_server(found, apply)


async def _apply_to(config: 'Config', client: Any, found: argparse.Namespace, out: Out) -> int:
    from torrelque.operate import Operator

    names = found.queue or [*config.queues]
    if not names:
        out.tell(f'{config.path} has no queue, so there is nothing to set')
        return Exit.WELL
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(config.queues[name].make(client)) for name in names]
        operator = Operator(queues, read_only=is_read_only(found))
        changes, left = await differences(config, operator)
        _tell_changes(out, changes)
        for sentence in left:
            out.tell(sentence)
        if not changes:
            if not out.as_json:
                out.line('nothing is to be changed: the server has what the file says')
            return Exit.WELL
        if found.dry_run:
            return Exit.WELL
        if not await _may(found, out, changes):
            return Exit.ILL
        for change in changes:
            await change.do()
        if not out.as_json:
            out.line(f'{_sum(changes)} set')
        return Exit.WELL


async def _may(found: argparse.Namespace, out: Out, changes: list[Change]) -> bool:
    if found.yes:
        return True
    if not may_ask(found):
        raise Failure('nobody can be asked, and nothing was changed: --yes does it, --dry-run shows it')
    return await agree(out, f'This sets {_sum(changes)}.  Is that meant?')


def _sum(changes: list[Change]) -> str:
    parts = []
    for kind in ('limit', 'schedule'):
        if count := sum(change.kind == kind for change in changes):
            parts.append(f'{number(count)} {kind}{"" if count == 1 else "s"}')
    return ' and '.join(parts)


def _tell_changes(out: Out, changes: list[Change]) -> None:
    if out.as_json:
        for one in changes:
            out.json(ChangeAnswer(kind=one.kind, queue=one.queue, name=one.name, now=one.now, file=one.file))
    elif changes:
        out.table(CHANGES, [(one.queue, one.what, one.now, one.file) for one in changes])
