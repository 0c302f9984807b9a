"""Schedules that are late, dry or paused: what commands that tell how a queue is say of them."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

import pytest
import redis.asyncio

from support.acting import Commands
from support.made import NOW, MadeOperator, Say, make_say, overview
from support.schemas import read_as
from torrelque import Torrelque
from torrelque.cli.answers import SweepAnswer
from torrelque.cli.checking import Limits, judge
from torrelque.cli.stats import doubts
from torrelque.operate import Finding, Overview, Reason

pytestmark = pytest.mark.one_server

MAY = datetime(datetime.now(timezone.utc).year + 1, 5, 1, tzinfo=timezone.utc)


say = pytest.fixture(make_say)


async def make_late(queue: Torrelque, client: redis.asyncio.Redis, *names: str, seconds: float = 300) -> None:
    for name in names:
        await queue.set_schedule(name, 1, every=3600)
        await client.zadd(queue.keys['schedules'], {name: round(time.time() * 1000 - seconds * 1000)})


async def make_dry(queue: Torrelque, client: redis.asyncio.Redis, name: str) -> None:
    await queue.set_schedule(name, 1, times=[MAY], spec={'cron': '@daily', 'timezone': 'UTC'})
    await client.zadd(queue.keys['schedules'], {name: 'inf'})
    await client.delete(queue.keys['schedules'].removesuffix('schedules') + f'times:{name}')


@pytest.mark.parametrize(('given', 'subjects'), [
    ({'schedules': 5, 'paused_schedules': 2}, []),
    ({'late_schedules': 1, 'late_since': NOW - 59}, []),
    ({'late_schedules': 1, 'late_since': NOW - 61}, ['late']),
    ({'dry_schedules': 1}, ['dry']),
    ({'dry_schedules': 1, 'late_schedules': 1, 'late_since': NOW - 61}, ['late', 'dry']),
])  # fmt: skip
def test_late_and_dry_ones_are_wrong_and_paused_ones_are_not(given: dict[str, Any], subjects: list[str]) -> None:
    assert [finding.subject for finding in judge(overview(**given), Limits())] == subjects


async def test_check_fails_for_them_by_name_and_with_what_helps(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await queue.set_schedule('held', 1, every=3600)
    await queue.pause_schedule('held')
    assert (await command('check')).out == ''
    assert f'{queue.name}: 1 schedule is paused' in (await command('check', '-v')).err
    await make_late(queue, client, 'a', 'b', 'c', 'd')
    await make_dry(queue, client, 'e')
    said = await command('check', code=1)
    late, dry = said.lines
    assert late.startswith(f'{queue.name}: 4 schedules are late, by up to 5m0')
    assert late.endswith(
        f', and nobody waits for tasks, or sweeps: a, b, c and 1 more:  torrelque sweep -q {queue.name}'
    )
    assert dry == (
        f'{queue.name}: 1 schedule is dry, so that nothing more fires: e:  torrelque schedules -q {queue.name}'
    )
    found = [read_as(Finding, line) for line in (await command('check', '--json', code=1)).lines]
    assert [one.subject for one in found] == ['late', 'dry']
    await command('sweep')
    assert len((await command('check', code=1)).lines) == 1


async def test_stats_has_a_line_for_each(queue: Torrelque, client: redis.asyncio.Redis, command: Commands) -> None:
    await queue.set_schedule('held', 1, every=3600)
    await queue.pause_schedule('held')
    await make_late(queue, client, 'a', 'b')
    await make_dry(queue, client, 'e')
    out = (await command('stats')).out
    assert '\n2 schedules are late, by up to 5m' in out and f':  torrelque sweep -q {queue.name}\n' in out
    assert f'\n1 schedule is dry:  torrelque schedules -q {queue.name}\n' in out
    assert f'\n1 schedule is paused:  torrelque schedules -q {queue.name}\n' in out
    [found] = [read_as(Overview, line) for line in (await command('stats', '--json')).lines]
    assert (found.late_names, found.dry_names, found.paused_schedules) == (('a', 'b'), ('e',), 1)


def test_what_is_due_this_moment_is_not_worth_a_word() -> None:
    assert [*doubts(overview(late_schedules=1, late_since=NOW - 0.5))] == []
    [(words, _)] = doubts(overview(paused_schedules=3, exact=()))
    assert words == '≥ 3 schedules are paused'


async def test_why_names_them(queue: Torrelque, client: redis.asyncio.Redis, command: Commands) -> None:
    await make_dry(queue, client, 'e')
    out = (await command('why')).out
    assert '  1  the schedule e is dry' in out and f'To see more:  torrelque schedules -q {queue.name}' in out
    await make_late(queue, client, 'tidy')
    out = (await command('why')).out
    assert '  1  the schedule tidy is late, by up to 30' in out
    assert f'To move it now:  torrelque sweep -q {queue.name}' in out


@pytest.mark.parametrize('words', [('why', 'tidy'), ('show', 'tidy')])
async def test_a_name_that_is_a_schedule_s_is_told_as_that(
    words: tuple[str, str], queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    async def told() -> str:
        said = await command(*words, '--utc', code=1)
        assert said.err == '' and len(said.lines) == 1
        return said.out.removeprefix(f"'tidy' is no task, but a schedule of queue {queue.name!r}: ").strip()

    show, q = 'torrelque schedules tidy', f'-q {queue.name}'
    await queue.set_schedule('tidy', 1, times=[MAY])
    found = await told()
    assert found.startswith(f'it fires next {MAY:%Y-%m-%d} 00:00:00Z, in ') and found.endswith(f':  {show} {q}')
    await queue.pause_schedule('tidy')
    found = await told()
    assert found == f'it is paused, and fires nothing:  torrelque resume --schedule tidy {q}'
    await queue.resume_schedule('tidy')
    await client.zadd(queue.keys['schedules'], {'tidy': 'inf'})
    assert await told() == f'it is over:  {show} {q}'
    await make_late(queue, client, 'tidy')
    found = await told()
    assert found.startswith('it is late by 5m0')
    assert found.endswith(f's, because no consumer waits, and nobody sweeps:  torrelque sweep {q}')
    await make_dry(queue, client, 'tidy')
    assert (await told()).startswith('it is dry: no instant is left')


async def test_json_tells_of_it_as_well(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    said = await command('why', 'tidy', '--json', code=1)
    [reason] = [read_as(Reason, line) for line in said.lines]
    assert (reason.code, reason.command) == ('unknown', f'torrelque schedules tidy -q {queue.name}')
    assert 'has no task' in said.err
    assert 'has no task' in (await command('show', 'tidy', '--json', code=1)).err
    assert 'has no task' in (await command('why', 'other', code=1)).err


async def test_a_name_with_a_hyphen_has_a_command_that_can_be_copied(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('-x', 1, every=3600)
    said = await command('why', '--', '-x', code=1)
    assert said.out.endswith(f':  torrelque schedules -q {queue.name}\n')


async def test_the_table_shows_how_late_a_schedule_is_and_what_is_not_as_usual(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await queue.set_schedule('plain', 1, every=3600)
    assert not {'OVERLAP', 'MISSED', 'GRACE', 'UNTIL'} & {*(await command('schedules')).lines[0].split()}
    await make_late(queue, client, 'late')
    await queue.set_schedule('other', 1, every=3600, overlap='queue', missed='all', grace=90, until=MAY)
    head, late, *rest = (await command('schedules', '--utc')).lines
    assert [*head.split()][-4:] == ['UNTIL', 'OVERLAP', 'MISSED', 'GRACE'] and 'due 5m0' in late and 's ago' in late
    [other] = [line for line in rest if line.startswith('other')]
    assert other.split()[-5:] == [f'{MAY:%Y-%m-%d}', '00:00:00Z', 'queue', 'all', '1m30s']


async def test_doctor_tells_of_them(queue: Torrelque, client: redis.asyncio.Redis, command: Commands) -> None:
    await make_late(queue, client, 'a')
    await make_dry(queue, client, 'e')
    out = (await command('doctor', code=1)).out
    assert "1 late, the first by 30" in out and "1 dry, so that they do not fire: 'e'" in out


def test_several_queues_are_told_with_theirs(say: Say) -> None:
    mail, news = overview('mail', dry_schedules=2, dry_names=('a', 'b')), overview('news')
    said = say('check', MadeOperator(['mail', 'news'], overviews=[mail, news]))
    assert said.out == ['mail: 2 schedules are dry, so that nothing more fires: a, b:  torrelque schedules -q mail']


async def test_a_sweep_tells_what_schedules_have_enqueued(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await make_late(queue, client, 'a', 'b')
    said = await command('sweep')
    assert said.lines == [
        f'queue {queue.name!r}: schedules have enqueued 2; 0 were due and are pending; the leases of 0 had ended: '
        '0 are pending again, 0 are dead'
    ]
    await make_late(queue, client, 'c')
    [line] = (await command('sweep', '--json')).lines
    assert read_as(SweepAnswer, line) == {'queue': queue.name, 'stale': 0, 'delayed': 0, 'dead': 0, 'fired': 1}
    assert (await command('sweep')).out.startswith(f'queue {queue.name!r}: 0 were due and are pending')
