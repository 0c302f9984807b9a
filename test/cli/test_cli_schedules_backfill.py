"""Instants of the past that are fired by command: each once, counted before, and on record."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

import torrelque.cli.consent
import torrelque.cli.firing
from support.acting import Commands, recorded
from torrelque import Torrelque, TorrelqueServerError
from torrelque.tasks import Tasks

pytestmark = pytest.mark.one_server

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAYS = ('--from', '2026-03-01T00:00Z', '--until', '2026-03-05T00:00Z')


def ids_of(name: str, count: int, start: datetime = START) -> list[str]:
    return [f'{name}@{round((start + timedelta(days=n)).timestamp() * 1000)}' for n in range(count)]


async def test_the_instants_of_a_time_are_fired_as_the_app_itself_does_it(queue: Torrelque, command: Commands) -> None:
    app = Tasks(queue)

    @app.task(name='send')
    async def send() -> None:
        pass

    for name in 'a', 'b':
        await app.schedules.add(name, '0 9 * * *', send.s(), timezone='Europe/Berlin', jitter=600)
        await app.schedules.every(f'{name}2', 86400, send.s(), overlap='skip')
    said = await command('fire', 'a', *DAYS, '--yes')
    assert await app.schedules.backfill('b', START, START + timedelta(days=4)) == 4 == len(said.lines)
    assert [it.split('@')[0] for it in said.lines] == ['a'] * 4 and said.err == ''
    said = await command('fire', 'a2', *DAYS, '--yes')
    assert said.lines == ids_of('a2', 4)
    # What is due at the end is not among them, and what the queue knows is not enqueued again.
    assert await app.schedules.backfill('a2', START, START + timedelta(days=5)) == 1
    said = await command('fire', 'a2', '--from', '2026-03-01T00:00Z', '--until', '2026-03-07', '--utc', '--yes')
    assert said.lines == ids_of('a2', 6)[5:]
    assert said.err == '1 of 6 instants was fired; the queue knows the tasks of the others\n'
    said = await command('fire', 'a2', *DAYS, '--yes', code=1)
    assert said.err == 'torrelque: nothing was fired: the queue knows the tasks of all 4 instants\n'
    assert [act for act in await recorded(queue) if act[0] == 'fire'] == [
        ('fire', 'schedule a', 4), ('fire', 'schedule a2', 4), ('fire', 'schedule a2', 1)
    ]  # fmt: skip


async def test_more_than_one_is_only_fired_once_somebody_has_said_yes(
    queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.set_schedule('x', 1, every=86400)
    said = await command('fire', 'x', *DAYS, code=2)
    assert said.err == (
        'torrelque: 4 instants of the schedule are in that time, and nobody can be asked: --yes fires them\n'
    )
    assert (await queue.get_queue_stats()).tasks == 0 and await recorded(queue) == []
    asked: list[str] = []

    async def ask(_: object, question: str) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr(torrelque.cli.firing, 'may_ask', lambda _: True)
    monkeypatch.setattr(torrelque.cli.consent, 'ask', ask)
    assert (await command('fire', 'x', *DAYS, code=1)).err == 'nothing was changed\n'
    assert (await command('fire', 'x', *DAYS)).lines == ids_of('x', 4)
    assert asked == [
        f"4 instants of schedule 'x' of queue {queue.name!r} are in that time.  Are those to be fired whose tasks the "
        'queue does not know?'
    ] * 2
    # One alone is what was said.
    one = ('--from', '2026-04-01T00:00Z', '--until', '2026-04-01T00:01Z')
    assert (await command('fire', 'x', *one)).lines == ids_of('x', 1, datetime(2026, 4, 1, tzinfo=timezone.utc))
    assert len(asked) == 2


async def test_a_time_may_be_told_from_now_and_ends_now(queue: Torrelque, command: Commands) -> None:
    # Half a day from now, so that no instant comes meanwhile.
    await queue.set_schedule('x', 1, every=86400, phase=(time.time() + 43200) % 86400)
    assert len((await command('fire', 'x', '--from', '-3d', '--yes')).lines) == 3
    assert len((await command('fire', 'x', '--from', '-5d', '--until', '-2d', '--yes')).lines) == 2
    said = await command('fire', 'x', '--from=-1s', '--until', '-0.5s', '--json', code=None)
    assert said.code == 1 and 'no instant' in said.err


@pytest.mark.parametrize(('words', 'says'), [
    (['--until', '-2d'], '--until goes with --from'),
    (['--from', '-2d', '--until', '2999-01-01'], 'a time of the past is fired again, and --until is to come'),
    (['--from', '-2d', '--until', '-3d'], '--from is not before --until'),
    (['--from', '1970-01-01', '--utc'], 'more than 100,000 instants'),
    (['--from', 'yesterday'], 'no instant'),
])  # fmt: skip
async def test_what_cannot_be_meant_fires_nothing(
    words: list[str], says: str, queue: Torrelque, command: Commands
) -> None:
    await queue.set_schedule('x', 1, every=60)
    said = await command('fire', 'x', *words, '--yes', code=2)
    assert says in said.err and not said.out
    assert (await queue.get_queue_stats()).tasks == 0


async def test_instants_that_were_given_one_by_one_are_known_to_nobody(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('x', 1, times=[datetime.now(timezone.utc) + timedelta(days=1)])
    said = await command('fire', 'x', '--from', '-2d', '--yes', code=2)
    assert "the calendar of the schedule 'x' is not known here" in said.err


async def test_what_was_done_before_it_failed_is_on_record(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.set_schedule('x', 1, every=3600)
    calls = 0
    fire = Torrelque.fire

    async def failing(self: Torrelque, name: str, *times: datetime | float) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise TorrelqueServerError('OOM')
        return [*await fire(self, name, *times)]

    monkeypatch.setattr(Torrelque, 'fire', failing)
    said = await command('fire', 'x', '--from', '2026-03-01', '--until', '2026-03-09', '--utc', '--yes', code=4)
    assert len(said.lines) == 100 and 'OOM' in said.err
    assert await recorded(queue) == [('fire', 'schedule x', 100)]
