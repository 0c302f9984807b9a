"""Schedules by a cron expression, and of calls of an app, set by command: as the app itself would set them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import redis.asyncio

from support.acting import Commands, recorded
from support.shop import begin_anew, own_shop
from torrelque import Torrelque
from torrelque.cron import Calendar
from torrelque.operate import note
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server


@pytest.fixture(autouse=True)
async def _known(queue: Torrelque) -> None:
    """The name of the queue is on the list of those that are known."""
    await note(queue)


async def test_an_expression_is_stored_as_the_app_itself_stores_it(queue: Torrelque, command: Commands) -> None:
    app = Tasks(queue)

    @app.task(name='send')
    async def send() -> None:
        pass

    await app.schedules.add('a', '30  2 * * mon-fri', send.s(), timezone='Europe/Berlin')
    words = ('--cron', '30  2 * * mon-fri', '--timezone', 'Europe/Berlin', '--task', 'send')
    said = await command('schedule', 'b', *words)
    assert 'is set: next ' in said.lines[0] and said.err.startswith('32 instants are known, the last ')
    one, other = await queue.get_schedule('a'), await queue.get_schedule('b')
    assert one._replace(name='b') == other
    # Neither takes the other's for another one.
    assert 'was set already' in (await command('schedule', 'a', *words)).lines[0]
    assert not await app.schedules.add('b', '30 2 * * mon-fri', send.s(), timezone='Europe/Berlin')
    assert await recorded(queue) == [('schedule', 'b', 0)]
    [row] = (await command('schedules', 'a')).lines[1:]
    assert '30 2 * * mon-fri Europe/Berlin' in row


async def test_jitter_is_that_of_the_app_by_name(queue: Torrelque, command: Commands) -> None:
    app = Tasks(queue)

    @app.task(name='send')
    async def send() -> None:
        pass

    for jitter in '90', '2.5':
        await app.schedules.add('a', '@hourly', send.s(), jitter=float(jitter))
        await app.schedules.every('b', 3600, send.s(), phase=60, jitter=float(jitter))
        said = await command('schedule', 'a', '--cron', '@hourly', '--jitter', jitter, '--task', 'send')
        assert 'was set already' in said.out
        said = await command(
            'schedule', 'b', '--every', '1h', '--phase', '1m', '--jitter', f'{jitter}s', '--task', 'send'
        )
        assert 'was set already' in said.out
    assert (await queue.get_schedule('a')).spec == {'cron': '@hourly', 'timezone': 'UTC', 'jitter': 2.5}
    assert 'up to 2.5s later' in (await command('schedules', 'a')).out
    said = await command('schedule', 'c', '--at', '2h', '--jitter', '1m', '1', code=2)
    assert '--jitter goes with --cron and --every' in said.err


@pytest.mark.parametrize(('expression', 'many'), [
    ('0 0 1 1 *', 32), ('@daily', 32), ('0 * * * *', 7 * 24 + 1), ('* * * * *', 1000), ('* * * * * *', 1000),
])  # fmt: skip
async def test_a_list_is_for_a_week_within_bounds(
    expression: str, many: int, queue: Torrelque, command: Commands
) -> None:
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    await command('schedule', 'x', '--cron', expression, '1')
    found = await queue.get_schedule('x')
    # The server's clock may go on over an instant while they are computed.
    assert found.left is not None and many - 2 <= found.left <= many + 1
    known = {instant.timestamp() for instant, _ in zip(Calendar(expression).after(before), range(1100), strict=False)}
    assert {*found.times} <= known and found.spec == Calendar(expression).spec


async def test_workers_that_know_calendars_fill_it_up(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await command('schedule', 'x', '--cron', '0 * * * *', '1')
    known = await queue.get_schedule('x')
    times = queue.keys['schedules'].removesuffix('schedules') + 'times:x'
    await client.ltrim(times, 0, 4)
    assert (await queue.get_schedule('x')).left == 5
    app = Tasks(queue, name='shop')

    @app.task
    async def send() -> None:
        pass

    async def wait() -> None:
        while (await queue.get_schedule('x')).left == 5:
            await asyncio.sleep(0.01)

    async with Worker(app, signals=False):
        await asyncio.wait_for(wait(), 60)
    found = await queue.get_schedule('x')
    assert found.spec == known.spec and found.end is not None and known.end is not None
    assert found.end >= known.end and found.times[:5] == known.times[:5]


async def test_nothing_is_computed_behind_the_end(queue: Torrelque, command: Commands) -> None:
    await command('schedule', 'x', '--cron', '@hourly', '--until', '5h', '1')
    schedule = await queue.get_schedule('x')
    # The one behind tells that no more is needed.
    assert len(schedule.times) in (4, 5) and schedule.left == len(schedule.times) + 1
    said = await command('schedule', 'y', '--cron', '@yearly', '--until', '1m', '1', code=None)
    assert said.code == 2 and 'its first instant is behind --until' in said.err


async def test_what_a_shell_has_changed_stays_until_it_is_declared_again(
    queue: Torrelque, command: Commands
) -> None:
    def app(declares: bool) -> Tasks:
        made = Tasks(queue, name='shop')

        @made.task(name='send')
        async def send() -> None:
            pass

        if declares:
            made.cron(every=3600, name='tidy')(send)
        return made

    await app(True).schedules.prepare()
    assert 'which removes it no more' in (await command('schedule', 'tidy', '--every', '2h', '1')).err
    await app(False).schedules.prepare()
    assert (await queue.get_schedule('tidy')).every == 7200
    await app(True).schedules.prepare()
    assert (await queue.get_schedule('tidy')).every == 3600
    await app(False).schedules.prepare()
    assert [record async for record in queue.get_schedules()] == []


@pytest.mark.parametrize(('words', 'says'), [
    (['61 * * * *'], 'minute'), (['* * *'], 'five fields'), (['0 0 30 2 *'], 'never fires'),
    (['@daily', '--timezone', 'Berlin'], "near it: Europe/Berlin"), (['@daily', '--timezone', '+01:00'], 'has a name'),
])  # fmt: skip
async def test_an_expression_that_cannot_be_meant_sets_nothing(
    words: list[str], says: str, queue: Torrelque, command: Commands
) -> None:
    said = await command('schedule', 'x', '1', '--cron', *words, code=2)
    assert says in said.err and [one async for one in queue.get_schedules()] == []


async def test_where_the_extra_is_missing_a_sentence_says_so(
    queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.startswith('torrelque.cron'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'cronsim', None)
    said = await command('schedule', 'x', '--cron', '@daily', '1', code=2)
    assert said.err.startswith('torrelque: cron expressions need cronsim, of the extra ')
    said = await command('schedule', 'x', '--every', '5m', '--jitter', '1m', '1', code=2)
    assert said.err.startswith('torrelque: --jitter needs cronsim, of the extra ')
    await command('schedule', 'x', '--every', '5m', '1')


# Calls of an app


@pytest.fixture
def shop(queue: Torrelque, command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with own_shop(queue.name, tmp_path, monkeypatch) as target:
        yield target


@pytest.mark.parametrize('when', [('--cron', '@daily'), ('--every', '1h'), ('--at', '1h')], ids=' '.join)
async def test_a_call_is_that_of_the_app_and_in_its_function_s_queue(
    when: tuple[str, ...], shop: str, queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever queue the environment names.
    monkeypatch.setenv('TORRELQUE_QUEUE', queue.name)
    words = ('--app', shop, '--task', 'shop_of_test.send', '--args', '["joe@doe.com"]', '--priority', '4')
    await command('schedule', 'daily', *when, *words)
    async with Torrelque(queue.client, queue=f'{queue.name}-other') as other:
        found = await other.get_schedule('daily')
        assert found.task == {'task': 'shop_of_test.send', 'args': ['joe@doe.com']}
        assert (found.group, found.priority, found.source) == ('mails', 4, 'api')
        assert await recorded(other) == [('schedule', 'daily', 0)]
    assert [one async for one in queue.get_schedules()] == []


async def test_calls_of_an_ordered_function_stay_in_order(shop: str, queue: Torrelque, command: Commands) -> None:
    await queue.set_limit('fifo:orders', concurrency=5, rate=(3, 1.0))
    await command('schedule', 'book', '--every', '1h', '--app', shop, '--task', 'shop_of_test.book', '--args', '[1]')
    limit = (await queue.get_limits())['fifo:orders']
    assert (limit.concurrency, limit.rate) == (1, (3, 1.0))
    assert (await queue.get_schedule('book')).group == 'fifo:orders'


async def test_an_app_refuses_a_call_that_does_not_fit(shop: str, queue: Torrelque, command: Commands) -> None:
    for words, says in {
        ('--task', 'shop_of_test.sned'): "has no function 'shop_of_test.sned'; did you mean 'shop_of_test.send'?",
        ('--task', 'shop_of_test.send', '--args', '[1, 2, 3]'): 'too many positional arguments',
    }.items():
        begin_anew()
        said = await command('schedule', 'x', '--every', '1h', *words, '--app', shop, code=2)
        assert said.out == '' and says in said.err
    assert [one async for one in queue.get_schedules()] == []
