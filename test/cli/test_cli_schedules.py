"""Schedules by command: what is shown, set, changed, paused, fired and removed by whoever knows no Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

from support.acting import Commands, recorded
from support.made import HOSTILE, MadeOperator, hostile, make_say
from support.schemas import read_as
from support.terminal import strange
from torrelque import Torrelque, TorrelqueTaskStatus
from torrelque.cli.answers import ScheduleAnswer
from torrelque.operate import ScheduleView, note

pytestmark = pytest.mark.one_server


@pytest.fixture(autouse=True)
async def _known(queue: Torrelque) -> None:
    """The name of the queue is on the list of those that are known."""
    await note(queue)

YEAR = datetime.now(timezone.utc).year + 1
MAY = datetime(YEAR, 5, 1, 9, 30, tzinfo=timezone.utc)
"""An instant that is to come, in a time of the year of which nobody's clocks are changed."""


async def times_of(queue: Torrelque, name: str) -> list[datetime]:
    return [datetime.fromtimestamp(one, timezone.utc) for one in (await queue.get_schedule(name)).times]


# What is set


async def test_a_schedule_by_a_period_is_set_once_and_is_the_api_s(queue: Torrelque, command: Commands) -> None:
    words = ('schedule', 'tidy', '--every', '5m', '--phase', '30s', '{"n": 1}')
    said = await command(*words)
    assert said.lines[0].startswith(f"schedule 'tidy' of queue {queue.name!r} is set: next ")
    found = await queue.get_schedule('tidy')
    assert (found.task, found.every, found.phase, found.source) == ({'n': 1}, 300.0, 30.0, 'api')
    assert (found.overlap, found.missed, found.grace, found.until) == ('skip', 'latest', None, None)
    assert 'was set already: next ' in (await command(*words)).lines[0]
    assert 'is changed: next ' in (await command(*words, '--overlap', 'allow')).lines[0]
    # What has changed nothing is no act.
    assert await recorded(queue) == [('schedule', 'tidy', 0)] * 2


async def test_all_that_may_be_said_of_a_schedule_is_kept(queue: Torrelque, command: Commands) -> None:
    until = MAY + timedelta(days=1)
    await command(
        'schedule', 'send', '--every', '90', '--overlap', 'replace', '--missed', 'all', '--grace', '2m', '--until',
        until.isoformat(), '--group', 'acme', '--priority', '7', '--max-attempts', '3', '--lease', '1m', '--task',
        'shop.send', '--args', '[1]', '--kwargs', '{"to": "a"}',
    )  # fmt: skip
    found = await queue.get_schedule('send')
    assert found.task == {'task': 'shop.send', 'args': [1], 'kwargs': {'to': 'a'}}
    assert (found.every, found.overlap, found.missed, found.grace) == (90.0, 'replace', 'all', 120.0)
    assert (found.until, found.group, found.priority) == (until.timestamp(), 'acme', 7)
    assert (found.max_attempts, found.task_timeout) == (3, 60.0)


async def test_instants_come_in_any_order_and_with_any_zone(queue: Torrelque, command: Commands) -> None:
    later = MAY + timedelta(hours=5)
    given = later.astimezone(timezone(timedelta(hours=-8))).isoformat()
    zulu = MAY.isoformat().replace('+00:00', 'Z')
    said = await command('schedule', 'twice', '--at', given, '--at', zulu, '--at', '1999-01-01', '[]', '--utc')
    assert await times_of(queue, 'twice') == [MAY, later]
    assert f'next {YEAR}-05-01 09:30:00Z, in ' in said.lines[0]


@pytest.fixture
def _in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own time zone is one that is not UTC, as far as this process knows."""
    with monkeypatch.context() as patch:
        patch.setenv('TZ', 'America/New_York')
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures('_in_new_york')
async def test_an_instant_without_a_zone_is_read_as_instants_are_shown(queue: Torrelque, command: Commands) -> None:
    local = MAY.replace(tzinfo=None)
    await command('schedule', 'utc', '--at', local.isoformat(), '[]', '--utc')
    await command('schedule', 'local', '--at', local.isoformat(), '[]')
    assert await times_of(queue, 'utc') == [MAY]
    assert await times_of(queue, 'local') == [MAY + timedelta(hours=4)]
    assert f'{YEAR}-05-01 09:30:00  ' in (await command('schedules', 'local')).out


async def test_a_time_from_now_is_by_the_server_s_clock(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    before = (await client.time())[0]
    await command('schedule', 'soon', '--at', '2h', '--until', '3h', '"x"')
    after = (await client.time())[0] + 1
    found = await queue.get_schedule('soon')
    assert found.next is not None and before <= found.next - 7200 <= after
    assert found.until is not None and before <= found.until - 10800 <= after


@pytest.mark.parametrize(('words', 'says'), [
    (['--every', '5m'], 'nothing to enqueue'),
    (['--every', '5m', '{'], 'no JSON'),
    (['--every', '0', '1'], 'every must be more than 0'),
    (['--every', '5m', '--timezone', 'Europe/Berlin', '1'], '--timezone is that of --cron'),
    (['--at', '2h', '--phase', '1s', '1'], '--phase goes with --every'),
    (['--at', '1999-01-01', '1'], 'it would never fire'),
    (['--at', '2h', '--until', '1h', '1'], 'it would never fire'),
    (['--every', '300d', '--until', '1s', '1'], 'it would never fire: its first instant is behind --until'),
    (['--every', '1d', '--phase', '1d', '--until', '1999-01-01', '1'], 'it would never fire'),
    (['--at', '9999-12-31T23:59+00:00', '--until', '-1', '1'], 'argument'),
    (['--at', '1800000000', '1'], 'is no instant'),
    (['--at', 'tomorrow', '1'], "'tomorrow' is no instant"),
    (['1'], 'one of the arguments'),
    (['--every', '1', '--at', '2h', '1'], 'not allowed with'),
    (['--every', '1', '--task', 'f', '1'], 'and no PAYLOAD'),
    (['--every', '1', '--args', '[]', '1'], 'name its function'),
    (['--every', '1', '--overlap', 'queue', '--group', 'g', '1'], 'give no other'),
    (['--every', '1', '--overlap', 'never', '1'], 'invalid choice'),
])  # fmt: skip
async def test_what_cannot_be_meant_sets_nothing(
    words: list[str], says: str, queue: Torrelque, command: Commands
) -> None:
    said = await command('schedule', 'x', *words, code=2)
    assert says in said.err and not said.out
    assert [one async for one in queue.get_schedules()] == [] and await recorded(queue) == []


async def test_it_fires_and_its_task_is_taken(queue: Torrelque, command: Commands) -> None:
    await command('schedule', 'quick', '--every', '1', '{"n": 7}')
    task_id, task = await queue.dequeue(timeout=60)
    assert task == {'n': 7} and task_id.startswith('quick@')


async def test_names_and_tasks_may_begin_with_a_hyphen_and_stand_anywhere(
    queue: Torrelque, command: Commands
) -> None:
    every = ('--every', '1h')
    for words in (['--', '-a', '-1'], ['b', '--', '-1'], ['c', '-1', *every], [*every, 'd', '-1'],
                  ['e', *every, '-1', '--utc']):  # fmt: skip
        await command('schedule', *([] if '--every' in words else every), *words)
    await command('schedule', '--task', 'f', *every, '--', '--f')
    found = {one.name: one.task async for one in queue.get_schedules()}
    assert found == {**dict.fromkeys(['-a', *'bcde'], -1), '--f': {'task': 'f'}}
    assert 'unrecognized arguments: 2' in (await command('schedule', 'x', '1', *every, '2', code=2)).err
    await command('unschedule', '--', '--f')
    assert len([one async for one in queue.get_schedules()]) == 5


# What is shown


async def test_schedules_are_a_table_those_first_that_fire_next(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('weekly', {'task': 'shop.report'}, times=[MAY, MAY + timedelta(days=7)],
                             spec={'cron': '30 9 * * 5', 'timezone': 'UTC'}, source='code:shop')  # fmt: skip
    await queue.set_schedule('tidy', {'task': 'shop.tidy'}, every=3600)
    await queue.set_schedule('some', 1, times=[MAY - timedelta(days=1), MAY + timedelta(days=1)])
    await queue.pause_schedule('some')
    said = await command('schedules', '--utc')
    title, *rows = said.lines
    assert title.split() == ['NAME', 'NEXT', 'IN', 'STATE', 'FROM', 'TASK', 'FIRED', 'SKIPPED', 'SOURCE']
    assert [row.split()[0] for row in rows] == ['tidy', 'some', 'weekly']
    assert 'every 1h  ' in rows[0] and 'shop.tidy' in rows[0]
    assert 'paused' in rows[1] and '2 instants' in rows[1] and f'{YEAR}-04-30 09:30:00Z' in rows[1]
    assert '30 9 * * 5 UTC' in rows[2] and 'code:shop' in rows[2] and 'paused' not in rows[2]
    assert [row.split()[0] for row in (await command('schedules', 'we')).lines[1:]] == ['weekly']
    assert said.err == ''


async def test_what_has_happened_is_shown(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('now', 1, every=0.05)
    await queue.dequeue(timeout=60)
    await command('pause', '--schedule', 'now')
    found = await queue.get_schedule('now')
    [view] = [read_as(ScheduleView, line) for line in (await command('schedules', '--json')).lines]
    assert (view.fired, view.last_id, view.state) == (found.fired, found.last_id, 'paused') and view.fired > 0
    assert view.last is not None and found.last is not None and view.last >= found.last
    title, row = (await command('schedules', '--utc')).lines
    assert 'LAST' in title and len(row.split()) > 8


async def test_where_there_are_none_a_sentence_says_so_and_the_end_is_1(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a')
    assert (await command('schedules', code=1)).err == 'no schedule is set\n'
    await queue.set_schedule('tidy', 1, every=60)
    said = await command('schedules', 'x', code=1)
    assert (said.out, said.err) == ('', "no schedule begins with 'x'\n")


async def test_json_has_all_and_the_payload_where_it_is_asked_for(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('a', {'task': 'f', 'args': ['secret']}, times=[MAY], spec={'cron': 'x'}, revision=4,
                             source='code:shop', grace=5, until=MAY, priority=-3, max_attempts=2)  # fmt: skip
    known = await queue.get_schedule('a')
    [line] = (await command('schedules', '--json')).lines
    assert 'secret' not in line
    [line] = (await command('schedules', '--json', '--payload')).lines
    view = read_as(ScheduleView, line)
    assert (view.payload, view.function) == ({'task': 'f', 'args': ['secret']}, 'f')
    for name in ('name', 'next', 'times', 'left', 'end', 'every', 'phase', 'overlap', 'missed', 'grace', 'until',
                 'spec', 'source', 'revision', 'paused', 'last', 'last_id', 'fired', 'skipped', 'max_attempts', 'group',
                 'priority'):  # fmt: skip
        assert getattr(view, name) == getattr(known, name), name
    assert view.timeout == known.task_timeout
    said = await command('schedules', '--payload')
    assert said.lines[2].strip() == '{"task":"f","args":["secret"]}'


async def test_a_schedule_without_instants_is_dry_or_over(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    await queue.set_schedule('dry', 1, times=[1.0], spec={'cron': '* * * * *', 'timezone': 'UTC'})
    await queue.set_schedule('over', 1, times=[1.0])
    await queue.set_schedule('until', 1, times=[1.0], spec={'cron': '* * * * *'}, until=2.0)
    said = await command('schedules', '--json')
    assert {view['name']: view['state'] for view in said.json} == {'dry': 'dry', 'over': 'over', 'until': 'over'}
    said = await command('schedules')
    assert 'dry: no instant is left' in said.err
    assert (await queue.get_schedule('dry')).dry


async def test_what_a_schedule_was_made_from_is_told_in_words(queue: Torrelque, command: Commands) -> None:
    for name, spec, words in (
        ('a', {'cron': '@daily', 'timezone': 'Asia/Tokyo', 'jitter': 90}, '@daily Asia/Tokyo, up to 1m30s later'),
        ('b', {'calendar': 'shop.Tides'}, 'calendar shop.Tides'), ('c', ['x', 'é'], '["x", "é"]'),
        ('d', None, '1 instant'),
    ):  # fmt: skip
        await queue.set_schedule(name, 1, times=[MAY], spec=spec)
        assert f'  {words}  ' in (await command('schedules', name)).lines[1]
    await queue.set_schedule('e', 1, every=90, phase=5)
    assert '  every 1m30s, 5s behind  ' in (await command('schedules', 'e')).lines[1]


async def test_several_queues_are_shown_together(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    other = Torrelque(client, queue=f'{queue.name}-b')
    await queue.set_schedule('same', 1, every=60)
    await other.set_schedule('same', 1, every=60)
    await other.set_schedule('only', 1, every=60)
    both = ('-q', queue.name, '-q', other.name)
    said = await command('schedules', *both)
    assert said.lines[0].split()[:2] == ['NAME', 'QUEUE']
    assert sorted(row.split()[1] for row in said.lines[1:]) == [queue.name, other.name, other.name]
    assert 'name one of them' in (await command('fire', 'same', *both, code=2)).err
    assert (await command('fire', 'only', *both)).lines[0].startswith('only@')
    assert (await other.get_queue_stats()).tasks == 1 and (await queue.get_queue_stats()).tasks == 0
    await other.aclose()


# What is paused, fired, removed


async def test_a_schedule_is_paused_and_goes_on(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    named = ('--schedule', 'tidy')
    assert 'is paused' in (await command('pause', *named)).lines[0]
    assert (await queue.get_schedule('tidy')).paused
    assert 'was paused before' in (await command('pause', *named)).lines[0]
    [answer] = (await command('pause', *named, '--json')).json
    assert answer == {'queue': queue.name, 'group': None, 'schedule': 'tidy', 'paused': True, 'was_paused': True,
                      'probe': None}  # fmt: skip
    assert 'torrelque resume --schedule tidy' in (await command('schedule', 'tidy', '--every', '1h', '1')).err
    assert 'goes on' in (await command('resume', *named)).lines[0]
    assert not (await queue.get_schedule('tidy')).paused
    assert 'is not paused' in (await command('resume', *named, code=1)).lines[0]
    [answer] = (await command('resume', *named, '--json', code=1)).json
    assert (answer['paused'], answer['was_paused']) == (False, False)
    for act in 'pause', 'resume':
        assert 'a pause is of' in (await command(act, *named, '--group', 'a', code=2)).err
    assert [act for act in await recorded(queue) if act[0] != 'schedule'] == [
        ('pause', 'schedule tidy', 0), ('resume', 'schedule tidy', 0)
    ]  # fmt: skip


async def test_a_schedule_is_fired_now_unless_it_skips(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('tidy', {'n': 1}, every=3600)
    following = (await queue.get_schedule('tidy')).next
    [task_id] = (await command('fire', 'tidy')).lines
    assert (await queue.get_task_state(task_id)).status is TorrelqueTaskStatus.PENDING
    said = await command('fire', 'tidy', code=1)
    assert said.out == '' and f'task {task_id} is not finished' in said.err
    await queue.cancel(task_id)
    [answer] = (await command('fire', 'tidy', '--json')).json
    assert answer['queue'] == queue.name and answer['id'].startswith('tidy@')
    assert (await queue.get_schedule('tidy')).next == following
    assert await recorded(queue) == [('fire', 'schedule tidy', 1)] * 2


async def test_a_schedule_is_removed_and_its_tasks_stay(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    await queue.fire('tidy')
    said = await command('unschedule', 'tidy')
    assert 'is removed; tasks that it has enqueued stay' in said.lines[0] and said.err == ''
    assert (await queue.get_queue_stats()).tasks == 1
    assert await recorded(queue) == [('unschedule', 'tidy', 0)]
    await command('unschedule', 'tidy', code=1)
    assert len(await recorded(queue)) == 1


async def test_what_code_declares_comes_back_and_that_is_told(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('tidy', 1, every=3600, source='code:shop')
    said = await command('schedule', 'tidy', '--every', '2h', '1')
    assert said.err == (
        'it was of code:shop, which removes it no more when it declares it no longer; the next worker that begins and '
        'declares it sets it as declared\n'
    )
    # The very same that is set by hand is as much in the hands of whoever has set it.
    await queue.set_schedule('tidy', 1, every=3600, source='code:shop')
    said = await command('schedule', 'tidy', '--every', '1h', '1')
    assert 'was set already' in said.lines[0] and said.err.startswith('it was of code:shop, ')
    assert (await command('schedule', 'tidy', '--every', '1h', '1')).err == ''
    await queue.set_schedule('tidy', 1, every=3600, source='code:shop')
    said = await command('unschedule', 'tidy')
    assert 'code:shop' in said.err and 'torrelque pause --schedule tidy' in said.err


async def test_a_slip_is_no_schedule(queue: Torrelque, command: Commands) -> None:
    await queue.set_schedule('nightly', 1, every=3600)
    for words in (['fire', 'nigthly'], ['unschedule', 'nigthly'], ['pause', '--schedule', 'nigthly'],
                  ['resume', '--schedule', 'nigthly']):  # fmt: skip
        said = await command(*words, code=1)
        assert said.err == "torrelque: no schedule 'nigthly' is known; did you mean 'nightly'?\n"
    assert await recorded(queue) == []


async def test_what_is_set_and_removed_is_told_as_it_is_described(queue: Torrelque, command: Commands) -> None:
    told = [
        read_as(ScheduleAnswer, line)
        for words in ('schedule a --every 1h 1', 'schedule a --every 1h 1', 'unschedule a')
        for line in (await command(*words.split(), '--json')).lines
    ]
    assert [(one['queue'], one['name'], one['changed']) for one in told] == [
        (queue.name, 'a', True), (queue.name, 'a', False), (queue.name, 'a', True)
    ]  # fmt: skip
    assert told[0]['next'] == told[1]['next'] is not None and told[2]['next'] is None


@pytest.mark.parametrize('words', [
    'schedule x --every 1h 1', 'unschedule tidy', 'fire tidy', 'pause --schedule tidy', 'resume --schedule tidy',
])  # fmt: skip
async def test_nothing_is_changed_where_only_reading_is_allowed(
    words: str, queue: Torrelque, command: Commands
) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    said = await command(*words.split(), '--read-only', code=4)
    assert 'only reading is allowed' in said.err
    assert [one.name async for one in queue.get_schedules()] == ['tidy']
    assert (await queue.get_queue_stats()).tasks == 0
    assert (await command('schedules', '--read-only')).lines[1].split()[0] == 'tidy'


# What nobody has meant


async def test_nothing_hostile_is_written_as_it_is(queue: Torrelque, command: Commands) -> None:
    name = HOSTILE.encode('utf-8', 'replace').decode()
    await queue.set_schedule(name, {'task': name}, times=[MAY], spec={'cron': name, 'timezone': name}, source=name)
    shown = [await command('schedules', '--payload'), await command('schedules', name, '--json', '--payload'),
             await command('pause', '--schedule', name), await command('schedule', name, '--every', '1h', '1'),
             await command('fire', name), await command('fire', name, code=1),
             await command('resume', '--schedule', name), await command('unschedule', name),
             await command('unschedule', name, code=1), await command('schedules', name, code=1)]  # fmt: skip
    for said in shown:
        assert strange(said.out.encode('utf-8', 'surrogatepass')) == [], said.out
        assert strange(said.err.encode('utf-8', 'surrogatepass')) == [], said.err


async def test_one_schedule_that_cannot_be_read_keeps_no_other_from_being_told(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    for name in 'fine', 'spoilt':
        await queue.set_schedule(name, 1, times=[MAY], spec={'cron': '0 8 * * *'})
    key = queue.keys['schedules'].removesuffix('schedules') + 'schedule:spoilt'
    await client.hset(key, mapping=dict.fromkeys(await client.hkeys(key), '1.5'))
    said = await command('schedules', '--next', '3', '--json')
    assert [one['name'] for one in said.json].count('fine') == 3
    assert "what is stored is told; queue" in said.err and "the schedule 'spoilt' cannot be read" in said.err


def test_values_that_are_hostile_throughout_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say = make_say(monkeypatch, capsys)
    for more in '', ' --payload', ' --json --payload':
        said = say(f'schedules{more}', MadeOperator(schedules=[hostile(ScheduleView)] * 2))
        assert said.code == 0 and [strange(line.encode('utf-8', 'surrogatepass')) for line in said.out if strange(
            line.encode('utf-8', 'surrogatepass'))] == []  # fmt: skip
