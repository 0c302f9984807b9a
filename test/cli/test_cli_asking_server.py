"""The commands that look, on real servers: a queue in trouble, which queue is meant, and who may look."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from support.acting import Commands
from support.schemas import TYPES, read_as
from support.servers import MakeServer, RealServer, free_port
from support.topology import Cluster, Sentinel
from torrelque import Torrelque, TorrelqueTaskStatus
from torrelque.operate import Operator, Reason, TaskView, known, note
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server

LOOKING = (
    ('stats', 'overview'), ('stats --history 1h', 'record'), ('queues --scan', 'found'), ('tasks', 'task'),
    ('tasks dead --payload', 'task'), ('tasks --error KeyError', 'task'), ('why', 'reason'), ('errors', 'errors'),
    ('errors --by group', 'errors'), ('functions', 'function'), ('groups', 'group'), ('workers', 'worker'),
    ('acts', 'act'), ('check --dead 0', 'finding'), ('doctor', 'finding'),
)  # fmt: skip
"""Commands that look, and what each writes as JSON."""


@pytest.fixture
def say(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(server, queue_name, monkeypatch, capsys)


async def make_trouble(queue: Torrelque) -> dict[str, str]:
    """A limited group, a paused one, a dead task, a delayed one, and one at work; their ids."""
    await queue.set_limit('acme', concurrency=1)
    ids = {'holding': await queue.enqueue({'task': 'send', 'args': [1]}, group='acme')}
    await queue.dequeue(timeout=60)
    ids['limited'] = await queue.enqueue({'task': 'send', 'args': [2]}, group='acme')
    ids['dead'] = await queue.enqueue({'task': 'send', 'args': [3]})
    [(delivery, _)] = await queue.dequeue_many(1, timeout=60)
    assert await queue.bury(delivery, error='Traceback (most recent call last):\nKeyError: 3')
    ids['delayed'] = await queue.enqueue({'task': 'later'}, delay=600)
    await queue.pause('globex')
    ids['paused'] = await queue.enqueue('plain', group='globex')
    await note(queue)
    return {name: str(task_id) for name, task_id in ids.items()}


async def test_somebody_finds_what_is_wrong_with_a_queue_in_one_command_each(say: Commands, queue: Torrelque) -> None:
    ids = await make_trouble(queue)
    figures = (await say('stats')).lines
    assert figures[0].split()[::6] == ['QUEUE', 'DEAD'] and figures[1].split()[::6] == [queue.name, '1']
    assert f'1 group is paused:  torrelque groups -q {queue.name}' in figures
    assert any(re.match(r'1 task is dead, the newest .* ago:  torrelque errors', line) for line in figures)
    assert 'no worker of this queue has a heartbeat, so throughput is not known' in figures
    why = (await say('why', ids['limited'])).lines
    assert why[0].startswith('pending for ') and "of group 'acme'" in why[0] and '1 of 1 slots' in why[2]
    assert ids['holding'] in why[3]
    assert f'  To let more run:  torrelque limit acme --concurrency 2 -q {queue.name}' in why
    assert 'paused' in (await say('why', '--group', 'globex')).out
    assert [line.split()[0] for line in (await say('tasks', 'working')).lines] == ['ID', ids['holding']]
    shown = (await say('show', ids['dead'])).lines
    assert '  KeyError: 3' in shown and f'  To bring it back:  torrelque redrive {ids["dead"]}' in '\n'.join(shown)
    assert 'paused' in next(line for line in (await say('groups')).lines if line.startswith('globex'))
    assert f'{queue.name}: 1 task is dead, more than 0' in (await say('check', '--dead', '0', code=1)).out
    command = f'torrelque groups -q {queue.name}'
    paused = f'{queue.name}: 1 group that has tasks is paused: globex:  {command}\n'
    assert (await say('check', code=1)).out == paused
    await queue.resume('globex')
    assert (await say('check')) == (0, '', '')
    await queue.pause('globex')
    assert ids['delayed'] in (await say('tasks', 'delayed')).out
    assert 'later' not in (await say('tasks', 'dead', '--payload')).out
    errors = (await say('errors')).lines
    assert errors[0].startswith('of all 1 dead') and 'KeyError' in errors[2]
    command = rf'To bring them back:  torrelque redrive --error \w{{8}} --rate 50 -q {queue.name}'
    assert re.fullmatch(command, errors[-1])
    by_group = (await say('errors', '--by', 'group')).lines
    assert by_group[2].split()[:3] == ['(no', 'group)', '1']
    assert ids['dead'] in (await say('tasks', '--error', 'KeyError')).out


@pytest.mark.first_server
@pytest.mark.parametrize(('words', 'name'), LOOKING)
async def test_each_line_of_json_is_a_value(words: str, name: str, say: Commands, queue: Torrelque) -> None:
    await make_trouble(queue)
    said = await say(*words.split(), '--json', code=None)
    assert said.out.isascii() and said.code in (0, 1)
    values: list[Any] = [read_as(TYPES[name], line) for line in said.lines]
    assert values or words in ('stats --history 1h', 'functions', 'workers', 'acts')
    if name == 'overview':
        (seen,) = values
        now = await Operator(queue).overview()
        assert (seen.pending, seen.dead, seen.oldest_dead) == (2, 1, now.oldest_dead)


async def test_workers_are_seen_with_what_they_do(say: Commands, queue: Torrelque) -> None:
    app = Tasks(queue)
    begun, held = asyncio.Event(), asyncio.Event()

    @app.task(name='hold')
    async def hold() -> None:
        begun.set()
        await held.wait()

    handle = await hold.enqueue()
    async with Worker(app, heartbeat=0.05, name='web-1'):
        await begun.wait()
        while not (await Operator(queue).workers() and (await Operator(queue).workers())[0].running):
            await asyncio.sleep(0.01)
        line = (await say('workers')).lines[1].split()
        assert line[:2] == ['web-1', 'running'] and '1/10' in line and 'hold' in line
        assert (await say('tasks', 'working')).lines[1].split()[-1] == 'web-1'
        assert 'worker web-1' in (await say('why', handle.id)).out
        assert re.search(r'(?m)^ *worker +web-1$', (await say('show', handle.id)).out)
        held.set()
        await handle.result()
    assert (await say('workers', code=1)).out == ''


# Which queue


async def test_without_a_name_it_is_the_only_queue_that_is_known(
    say: Commands, queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv('TORRELQUE_QUEUE')
    said = await say('why', code=2)
    assert said.err.startswith('torrelque: name the queue with -q: none is known here')
    await queue.enqueue(1)
    await note(queue)
    assert (await say('why')).out.startswith(f'queue {queue.name!r}: 1 pending')
    async with Torrelque(client, queue='other') as other:
        await other.enqueue(1)
        await note(other)
        # What somebody else has put there is no queue, and takes none of the others away.
        await client.zadd('torrelque:queues', {'no}queue': 1, '': 3})
        await client.zadd('torrelque:queues', {b'\xff': 2})
        said = await say('why', code=0)
        assert f'queue {queue.name!r}: 1 pending' in said.out and "queue 'other': 1 pending" in said.out
        names = ', '.join(sorted([queue.name, 'other']))
        for words in ('tasks', 'errors', 'groups'):
            said = await say(words, code=2)
            assert said.err == f'torrelque: name the queue with -q; known are {names}\n'
        assert [line.split()[0] for line in (await say('stats')).lines[1:]] == sorted([queue.name, 'other'])
        monkeypatch.setenv('TORRELQUE_QUEUE', f'other,{queue.name}')
        assert [line.split()[0] for line in (await say('stats')).lines[1:]] == ['other', queue.name]
        assert [line.split()[0] for line in (await say('stats', '-q', 'other')).lines[1:2]] == ['other']
        assert (await say('tasks', '-q', 'other', '-q', queue.name)).lines[0].split()[:2] == ['ID', 'QUEUE']
        monkeypatch.delenv('TORRELQUE_QUEUE')
        await client.set('torrelque:queues', 'x')
        assert 'holds something else than the names of queues' in (await say('stats', code=4)).err
        assert (await say('stats', '-q', 'other')).lines[1].split()[0] == 'other'


async def test_a_queue_that_nothing_is_known_of_is_told_with_the_one_that_may_be_meant(
    say: Commands, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    async with Torrelque(client, queue='plant') as plant:
        task_id = await plant.enqueue(1)
        await note(plant)
        told = "no queue 'plamt' is known; did you mean 'plant'?"
        for words in ('stats', 'why', 'tasks', 'errors', 'groups', 'workers', 'acts', 'doctor', 'functions'):
            said = await say(words, '-q', 'plamt', code=None)
            assert said.err.splitlines()[-1] == told, words
        said = await say('check', '-q', 'plamt', code=1)
        assert (said.out, said.err) == (f'plamt: {told}\n', '')
        assert read_as(TYPES['finding'], (await say('check', '-q', 'plamt', '--json', code=1)).out).subject == 'unknown'
        assert (await say('stats', '-q', 'nothing')).err == "no queue 'nothing' is known\n"
        assert [one.name for one in await known(client)] == ['plant']
        # One that is empty now is known all the same.
        await plant.cancel(task_id)
        await plant.sweep()
        assert (await say('check', '-q', 'plant')) == (0, '', '') == (await say('check', '-q', 'plant', '--read-only'))
        assert (await say('stats', '-q', 'plant')).err == ''


async def test_the_check_looks_closer_where_figures_give_reason_to(
    say: Commands, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.pause('idle')
    await queue.enqueue(1)
    await note(queue)
    assert (await say('check')).out == ''
    [(delivery, _)] = await queue.dequeue_many(1, timeout=60)
    base = queue.keys['pending'].removesuffix('pending')
    # A lease that ended a minute ago, and nobody has seen to.
    now = (await client.time())[0] * 1000
    await client.zadd(base + 'working', {str(delivery): now - 60_000})
    said = (await say('check', code=1)).out
    ended = r'1 lease has ended, up to \d+m\d\ds ago, and nobody brings the tasks back'
    assert re.fullmatch(rf'.*: {ended}:  torrelque sweep.*\n', said)


async def test_a_queue_is_noted_when_it_is_used_and_a_slip_is_not(
    say: Commands, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await say('stats')
    await say('stats', '-q', 'nowhere')
    assert await known(client) == []
    await queue.enqueue(1)
    await say('stats', '--read-only')
    assert await known(client) == []
    await say('stats')
    assert [one.name for one in await known(client)] == [queue.name]


async def test_an_app_brings_its_queues(say: Commands, queue: Torrelque, folder: Any, monkeypatch: Any) -> None:
    name = f'app_{queue.name[-6:]}'
    folder.write(f'{name}.py', f"""
        from torrelque.tasks import Tasks

        app = Tasks.from_url(queue={queue.name!r}, queues=['news'])
        other = 5
    """)
    monkeypatch.chdir(folder.path)
    monkeypatch.delenv('TORRELQUE_QUEUE')
    await queue.enqueue(1)
    app = f'{name}:app'
    # Queue objects that were closed are of no more use; a command line has a process of its own.
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert {line.split()[0] for line in (await say('stats', '--app', app)).lines[1:]} == {queue.name, 'news'}
    del sys.modules[name]
    only = await say('stats', '--app', app, '-q', queue.name)
    assert only.lines[-1].endswith('throughput is not known') and only.lines[1].split()[:2] == [queue.name, '1']
    assert 'has no queue nowhere; it has' in (await say('stats', '--app', app, '-q', 'nowhere', code=2)).err
    assert 'other is no Tasks: int' in (await say('stats', '--app', f'{name}:other', code=2)).err


# Which server, and who may look


@pytest.mark.first_server
async def test_a_server_that_is_away_is_told_within_seconds(
    say: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.cli.session.CONNECTING', 0.3)
    port = free_port()
    silent = socket.create_server(('127.0.0.1', 0))
    deaf = silent.getsockname()[1]
    for url, reason in {
        f'redis://:secret@127.0.0.1:{port}': f'redis://127.0.0.1:{port}/0 cannot be reached: ',
        'unix:///nowhere': 'unix:///nowhere cannot be reached: ',
        f'redis+sentinel://:secret@127.0.0.1:{port}/main':
            f'redis+sentinel://127.0.0.1:{port}/main/0 cannot be reached: its Sentinels name no primary',
        f'redis+cluster://:secret@127.0.0.1:{port}': f'redis+cluster://127.0.0.1:{port} cannot be reached: ',
        f'redis://:secret@127.0.0.1:{deaf}': f'redis://127.0.0.1:{deaf}/0 cannot be reached: no answer in 0.3 s',
    }.items():  # fmt: skip
        said = await say('stats', '--url', url, code=3)
        assert said.err.startswith(f'torrelque: {reason}') and 'secret' not in said.err and said.out == ''
        assert 'names another' not in said.err
    silent.close()
    # Where nobody has named a server, it is told how one is.
    monkeypatch.delenv('TORRELQUE_URL')
    monkeypatch.delenv('REDIS_URL', raising=False)
    monkeypatch.setattr('torrelque.tasks.address.DEFAULT', f'redis://127.0.0.1:{port}')
    for words in ('stats', 'redrive --yes'):
        said = await say(*words.split(), code=3)
        assert said.err.endswith('; --url or TORRELQUE_URL names another\n')


@pytest.mark.first_server
async def test_a_password_is_used_and_never_shown(
    say: Commands, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server({'requirepass': 'right'}, tcp=True)
    right, wrong, none = (f'redis://{word}127.0.0.1:{server.port}/1' for word in (':right@', ':wrong@', ''))
    for url, code in (right, 0), (wrong, 4), (none, 4):
        said = await say('stats', '-v', '--url', url, code=code)
        told = {right: '', wrong: 'refuses the user or the password: ', none: 'wants a password: '}[url]
        assert told in said.err and (not told or 'TORRELQUE_URL=redis://:PASSWORD@HOST' in said.err)
        assert not re.search('right|wrong', said.out + said.err)
    monkeypatch.setenv('TORRELQUE_URL', right)
    assert 'right' not in (await say('stats', '-v')).out


@contextlib.asynccontextmanager
async def user(server: RealServer, client: redis.asyncio.Redis, *rights: str) -> AsyncIterator[str]:
    """The address of the server for a user with these rights."""
    await client.execute_command('ACL', 'SETUSER', 'reader', 'reset', 'on', '>secret', *rights)
    yield server.url.replace('unix://', 'unix://reader:secret@')
    await client.execute_command('ACL', 'DELUSER', 'reader')


def reader_looks(clients: Any) -> bool:
    """Whether the user who may only read is connected, and has asked for something."""
    return any(one['user'] == 'reader' and 'eval' in one['cmd'] for one in clients)


async def test_a_user_who_may_only_read_can_do_all_that_looks(
    say: Commands, server: RealServer, server_kind: str, client: redis.asyncio.Redis, queue: Torrelque,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ids = await make_trouble(queue)
    await queue.cancel(ids['delayed'])
    base = queue.keys['pending'].removesuffix('pending')
    rights = (
        [f'~{base}*', '+@read', '+@scripting', '+time'] if server_kind == 'redis6' else
        [f'%R~{base}*', '+@read', '+evalsha_ro', '+eval_ro', '+time']
    )  # fmt: skip
    async with user(server, client, *rights) as url:
        before = await client.keys('*')
        more = [('show ' + ids['dead'], 'task'), ('why ' + ids['limited'], 'reason')]
        for words, _ in [*LOOKING, *more]:
            said = await say(*words.split(), '--url', url, code=None)
            assert said.code in (0, 1) and 'secret' not in said.out + said.err, said
            if words not in ('stats --history 1h', 'functions', 'workers', 'acts'):
                assert said.out, said
        assert {*await client.keys('*')} == {*before}
        # It cannot wait for changes, so it looks again and again.
        watching = asyncio.ensure_future(say('watch', ids['limited'], '--json', '--url', url, code=1))
        while not watching.done() and not reader_looks(await client.client_list()):
            await asyncio.sleep(0.01)
        await queue.cancel(ids['limited'])
        statuses = [read_as(TaskView, line).status for line in (await watching).lines]
        assert statuses[-1] == TorrelqueTaskStatus.CANCELLED
        # The names of queues are of another key.
        monkeypatch.delenv('TORRELQUE_QUEUE')
        for words in 'queues', 'stats', 'why':
            said = await say(words, '--url', url, code=4)
            assert 'may not read the names of queues: grant %R~torrelque:queues' in said.err
    registry = '~torrelque:queues' if server_kind == 'redis6' else '%R~torrelque:queues'
    async with user(server, client, *rights, registry) as url:
        assert (await say('queues', '--url', url)).lines[1].split()[0] == queue.name
        assert (await say('stats', '--url', url)).lines[1].split()[0] == queue.name
    monkeypatch.setenv('TORRELQUE_QUEUE', queue.name)
    async with user(server, client, '~other', '+@read', '+@scripting') as url:
        for words in ('tasks dead', 'why', 'groups'):
            said = await say(*words.split(), '--url', url, code=4)
            assert said.err.startswith('torrelque: the server refuses it: ') and said.out == ''
        said = await say('stats', '--url', url, code=1)
        assert 'cannot be read' in said.lines[1]
    said = await say('stats', '--url', url, code=4)  # the user is gone


@pytest.mark.first_server
async def test_all_kinds_of_servers_are_looked_at(say: Commands, cluster: Cluster, sentinel: Sentinel) -> None:
    urls: dict[str, Callable[[], Any]] = {
        f'redis+cluster://127.0.0.1:{cluster.ports[0]}': cluster.client,
        f'redis+sentinel://127.0.0.1:{sentinel.sentinel.port}/{sentinel.name}': sentinel.master_for,
    }
    for url, make in urls.items():
        async with make() as client, Torrelque(client, queue='mail') as queue:
            await queue.enqueue(1)
            assert (await say('stats', '--url', url, '-q', 'mail')).lines[1].split()[:2] == ['mail', '1']
            assert (await say('queues', '--url', url)).lines[1].split()[0] == 'mail'
            assert (await say('queues', '--scan', '--url', url)).lines == ['mail']


# A task, as it goes


async def test_the_states_of_a_task_are_told_as_they_come(
    say: Commands, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    task_id = await queue.enqueue({'task': 'send'})
    watching = asyncio.ensure_future(say('watch', task_id, '--json'))
    while not (watching.done() or any(one['sub'] + one['psub'] != '00' for one in await client.client_list())):
        await asyncio.sleep(0.01)
    delivery, _ = await queue.dequeue(timeout=60)
    assert await queue.release(delivery, result={'x': 2**63}, result_ttl=60)
    said = await watching
    views = [read_as(TaskView, line) for line in said.lines]
    assert views[-1].result == {'x': 2**63} and [view.status.name for view in views if view.status][-1] == 'COMPLETED'
    last = await say('watch', task_id)
    assert 'completed' in last.lines[0] and len(last.lines) == 1
    assert (await say('watch', 'nope', code=1)).err.endswith("no task 'nope'\n")


async def test_an_answer_that_nobody_has_is_an_exit_code(say: Commands, queue: Torrelque) -> None:
    for words in ('tasks dead', 'show nope', 'why nope', 'errors', 'groups', 'functions', 'workers', 'acts'):
        said = await say(*words.split(), code=1)
        assert said.err or said.out
        assert (await say(*words.split(), '--json', code=1)).out.count('\n') <= 1
    reason = read_as(Reason, (await say('why', 'nope', '--json', code=1)).out)
    assert reason.code == 'unknown'


def test_a_command_that_asks_loads_no_worker_and_no_decorator(server: RealServer, queue_name: str) -> None:
    program = 'import sys; from torrelque.cli import main; print(main(sys.argv[1:])); print(*sys.modules)'
    words = [sys.executable, '-c', program, 'stats', '--json', '-q', queue_name, '--url', server.url]
    answer = subprocess.run(words, check=True, capture_output=True, text=True)
    *_, code, modules = answer.stdout.splitlines()
    assert code == '0' and 'torrelque.operate.operator' in modules.split()
    heavy = {'torrelque.worker.worker', 'torrelque.tasks.app', 'torrelque.operate.bulk', 'torrelque.operate.explaining',
             'prometheus_client', 'torrelque.monitor', 'torrelque.config.config'}  # fmt: skip
    assert not heavy.intersection(modules.split())
