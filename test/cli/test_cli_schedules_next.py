"""The next instants of schedules by command, and those of an expression that is not set anywhere."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any

import pytest
import redis.asyncio

from support.acting import Commands
from support.schemas import read_as
from torrelque import Torrelque, TorrelqueTypeError
from torrelque.cli.answers import InstantAnswer
from torrelque.cron import Calendar
from torrelque.operate import Operator, note

pytestmark = pytest.mark.one_server

MAY = datetime(datetime.now(timezone.utc).year + 1, 5, 1, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
async def _known(queue: Torrelque) -> None:
    """The name of the queue is on the list of those that are known."""
    await note(queue)


@pytest.fixture
def _without_cronsim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not there."""
    for name in [*sys.modules]:
        if name.startswith('torrelque.cron'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'cronsim', None)


async def told(command: Commands, *words: str) -> list[InstantAnswer]:
    return [read_as(InstantAnswer, line) for line in (await command('schedules', *words, '--json')).lines]


async def test_the_next_instants_are_those_of_the_list_and_then_of_the_calendar(
    queue: Torrelque, command: Commands
) -> None:
    before = datetime.now(timezone.utc)
    await command('schedule', 'x', '--cron', '@daily', '--jitter', '1h', '1')
    found = [one['instant'] for one in await told(command, 'x', '--next', '50')]
    record = await queue.get_schedule('x')
    assert record.left == 32 and found[:10] == [*record.times] and len(found) == 50
    assert {round(later - earlier) for earlier, later in pairwise(found)} == {86400}
    assert found[0] > before.timestamp()
    await command('schedule', 'y', '--cron', '@daily', '--until', '40d', '1')
    assert len(await told(command, 'y', '--next', '100')) == 40


async def test_what_does_not_fire_is_told_with_its_instants(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await command('schedule', 'x', '--cron', '@daily', '1')
    await queue.pause_schedule('x')
    said = await command('schedules', '--next', '40')
    assert len(said.lines) == 41 and said.err == "'x' is paused: it passes these instants over\n"
    await queue.resume_schedule('x')
    await client.zadd(queue.keys['schedules'], {'x': 'inf'})
    await client.delete(queue.keys['schedules'].removesuffix('schedules') + 'times:x')
    said = await command('schedules', '--next', '40', code=1)
    assert said.out == '' and said.err.startswith("'x' is dry: no instant is left")


async def test_a_period_a_list_and_an_end_are_kept_to(queue: Torrelque, command: Commands) -> None:
    times = [MAY + timedelta(days=n) for n in range(30)]
    await queue.set_schedule('list', 1, times=times)
    await queue.set_schedule('period', 1, every=60)
    await queue.set_schedule('ends', 1, every=86400, until=datetime.now(timezone.utc) + timedelta(days=3))
    found = await told(command, '--next', '20')
    assert [one['instant'] for one in found if one['name'] == 'list'] == [it.timestamp() for it in times[:20]]
    period = [one['instant'] for one in found if one['name'] == 'period']
    assert len(period) == 20 and period[19] == period[0] + 19 * 60
    assert len([one for one in found if one['name'] == 'ends']) == 3
    assert {one['queue'] for one in found} == {queue.name}
    assert len(await told(command, 'list', '--next', '100')) == 30
    head, *rows = (await command('schedules', 'list', '--next', '2', '--utc')).lines
    assert head.split() == ['NAME', 'INSTANT', 'IN']
    assert [row.split()[:3] for row in rows] == [
        ['list', f'{it:%Y-%m-%d}', '00:00:00Z'] for it in times[:2]
    ]  # fmt: skip
    assert (await command('schedules', 'none', '--next', '2', code=1)).err == "no schedule begins with 'none'\n"


@pytest.mark.usefixtures('_without_cronsim')
async def test_without_the_extra_what_is_stored_is_told(queue: Torrelque, command: Commands) -> None:
    times = [MAY + timedelta(days=n) for n in range(12)]
    await queue.set_schedule('x', 1, times=times, spec={'cron': '@daily', 'timezone': 'UTC'})
    said = await command('schedules', '--next', '20')
    assert len(said.lines) == 13
    assert said.err.startswith('what is stored is told; more needs cronsim, of the extra ')
    assert (await command('schedules', '--next', '12')).err == ''
    said = await command('fire', 'x', '--from', '-2d', code=2)
    assert said.err.startswith('torrelque: --from needs cronsim')
    said = await command('schedules', '--cron', '@daily', code=2)
    assert said.err.startswith('torrelque: cron expressions need cronsim')


async def test_a_calendar_of_others_ends_with_what_is_stored(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('x', 1, times=[MAY], spec={'calendar': 'moons'})
    said = await command('schedules', '--next', '5')
    assert len(said.lines) == 2 and "'x'" in said.err and 'calendar' in said.err


async def test_an_expression_is_previewed_without_a_server(
    command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORRELQUE_URL', 'redis://localhost:1')
    now = datetime.now(timezone.utc)
    words = ('--cron', '30 2 * * *', '--timezone', 'Europe/Berlin')
    found = await told(command, *words, '--next', '400')
    known = [it.timestamp() for it in islice(Calendar('30 2 * * *', 'Europe/Berlin').after(now), 401)]
    assert [one['instant'] for one in found] in (known[:400], known[1:])
    assert {(one['queue'], one['name']) for one in found} == {(None, None)}
    head, *rows = (await command('schedules', *words, '--utc')).lines
    assert head.split() == ['Europe/Berlin', 'UTC', 'IN'] and len(rows) == 10
    assert all(' 02:30:00+0' in row and ':30:00Z' in row for row in rows)
    assert len((await command('schedules', '--cron', '@daily', '--utc')).lines[0].split()) == 2


@pytest.mark.parametrize(('words', 'says'), [
    (['--cron', '61 * * * *'], 'minute'), (['x', '--cron', '@daily'], 'no PREFIX'),
    (['--timezone', 'Europe/Berlin'], '--timezone is that of --cron'), (['--next', '0'], 'is no number from 1 on'),
    (['--cron', '@daily', '--timezone', 'Mars'], 'no time zone'),
])  # fmt: skip
async def test_what_cannot_be_meant_is_refused(words: list[str], says: str, command: Commands) -> None:
    assert says in (await command('schedules', *words, code=2)).err


async def test_an_operator_is_told_as_many_instants_as_it_asks_for(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    times = [MAY + timedelta(hours=n) for n in range(900)]
    await queue.set_schedule('x', 1, times=times)
    operator: Any = Operator(queue)
    [view] = await operator.schedules(instants=1000)
    assert view.times == tuple(it.timestamp() for it in times)
    assert len((await operator.schedules())[0].times) == 10
    with pytest.raises(TorrelqueTypeError):
        await operator.schedules(instants='5')
