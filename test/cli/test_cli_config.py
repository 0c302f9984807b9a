"""``torrelque config``, and what other commands take of a file of settings."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
from typing import Any

import pytest

from support.acting import Commands, recorded
from support.commanding import PACKAGES, STOP, Folder
from support.configuring import EXAMPLE, Desk
from support.schemas import TYPES, read_as
from support.servers import RealServer
from support.terminal import open_terminal
from torrelque import Torrelque, TorrelqueLimit

pytestmark = pytest.mark.one_server

tomllib = importlib.import_module('tomllib' if sys.version_info >= (3, 11) else 'tomli')

LIMITS = """
    [server]
    url = "redis://nowhere"
    [queues.{q}]
    [queues.{q}.limits]
    "*" = {{ concurrency = 5 }}
    acme = {{ concurrency = 20, rate = "50/s" }}
    free = {{ concurrency = "none", rate = "none" }}
    [schedules.tick]
    queue = "{q}"
    payload = {{ a = 1 }}
    every = "5m"
    missed = "all"
    [schedules.report]
    queue = "{q}"
    task = "shop.report"
    args = ["all"]
    cron = "0 9 * * mon-fri"
    timezone = "Europe/Berlin"
    max_attempts = 3
    [schedules.once]
    queue = "{q}"
    payload = "hello"
    at = ["2099-01-01T00:00", 2099-01-02T00:00:00+01:00]
    [schedules.over]
    queue = "{q}"
    payload = "hello"
    at = "2001-01-01T00:00"
"""
CHANGES = ['all groups', 'group acme', 'group free', 'schedule tick', 'schedule report', 'schedule once']


@pytest.fixture
def filed(desk: Desk, command: Commands, queue_name: str, server: RealServer) -> Commands:
    """Commands in a directory with a file, which names the queue."""
    desk.write(LIMITS.format(q=queue_name))
    desk.monkeypatch.setenv('TORRELQUE_URL', server.url)
    desk.monkeypatch.delenv('TORRELQUE_QUEUE', raising=False)
    return command


# Check


async def test_check_says_that_a_file_is_well(desk: Desk, command: Commands) -> None:
    desk.write(EXAMPLE)
    said = await command('config', 'check')
    assert said.out == 'torrelque.toml is well: 2 workers, 3 queues, 1 alert\n' and said.err == ''
    assert (await command('config', 'check', '--json')).out == ''
    desk.write('')
    assert (await command('config', 'check')).out == 'torrelque.toml is well: there is nothing in it\n'
    desk.write('[dashboard]\n')
    assert (await command('config', 'check')).out == 'torrelque.toml is well: there is no worker and no queue in it\n'


async def test_check_tells_all_that_is_wrong_and_ends_with_1(desk: Desk, command: Commands) -> None:
    path = desk.write('[queues.a]\nmax_taks = 1\nmax_tasks = -1\n', 'other.toml')
    said = await command('config', 'check', '-c', 'other.toml', code=1)
    assert said.lines == [
        'other.toml:2: queues.a.max_taks: there is no such key; did you mean max_tasks?',
        'other.toml:3: queues.a.max_tasks: expected a whole number from 1 on, not -1',
    ]
    desk.monkeypatch.setenv('TORRELQUE_CONFIG', str(path))
    said = await command('config', 'check', '--json', code=1)
    for line in said.lines:
        read_as(TYPES['problem'], line)
    assert [(one['line'], one['key']) for one in said.json] == [(2, 'queues.a.max_taks'), (3, 'queues.a.max_tasks')]
    path.write_text('[queues.a')
    assert (await command('config', 'check', code=1)).out.startswith(f'{path}:1: it is no TOML: ')


async def test_a_file_that_is_not_there_is_told(desk: Desk, command: Commands) -> None:
    told = 'torrelque: there is no torrelque.toml here, and none is named: -c FILE\n'
    assert (await command('config', 'check', code=2)).err == told
    for words in (['config', 'check'], ['config', 'show'], ['config', 'apply'], ['stats'], ['run']):
        said = await command(*words, '-c', 'no.toml', code=2)
        assert said.err == 'torrelque: no.toml: it cannot be read: No such file or directory\n'
    assert 'there is nothing to run: name a TARGET' in (await command('run', code=2)).err


@pytest.mark.parametrize('rule', ['[alerts]\ndefaults = true', '[alerts.gone]\nwhen = "no_worker"'])
async def test_check_warns_where_nobody_would_see_that_all_workers_are_gone(
    rule: str, desk: Desk, command: Commands
) -> None:
    desk.write(f'[queues.a]\n{rule}\n')
    said = await command('config', 'check')
    assert 'looks for no_worker, and nothing in this file but workers looks at alerts' in said.err
    desk.write(f'[queues.a]\n{rule}\n[dashboard]\n')
    assert (await command('config', 'check')).err == ''


async def test_check_warns_where_two_would_listen_at_one_place(desk: Desk, command: Commands) -> None:
    desk.write('[health]\nbind = ":8080"\n[metrics]\nbind = "localhost:8080"\n[dashboard]\nbind = "[::1]:8080"\n')
    told = 'metrics.bind and health.bind have port 8080: on one machine, only one of them can listen there'
    assert (await command('config', 'check')).err == f'torrelque.toml: {told}\n'


async def test_check_warns_where_the_server_of_the_file_is_not_the_one_that_is_used(
    desk: Desk, command: Commands
) -> None:
    desk.write('[server]\nurl = "redis://other"\n')
    told = 'torrelque.toml: server.url is not used: the variable TORRELQUE_URL names another server\n'
    assert (await command('config', 'check')).err == told


# Show


async def test_show_prints_what_holds_and_where_it_is_from(desk: Desk, command: Commands) -> None:
    desk.write(EXAMPLE)
    desk.monkeypatch.setenv('TORRELQUE_URL', 'redis://joe:s3cret@host/1?password=s3cret')
    said = await command('config', 'show')
    assert said.lines[0] == '# torrelque.toml, found as torrelque.toml of this directory'
    assert said.lines[2] == 'url = "redis://***@host/1?password=***"  # of the variable TORRELQUE_URL'
    assert 's3cret' not in said.out and 'hooks.example.com/in' not in said.out
    assert 'run_in = "thread"  # by default' in said.lines and 'run_in = "process"' in said.lines
    shown = tomllib.loads(said.out)
    assert shown['workers']['mail']['retry'] == {'base': '2s', 'factor': 2, 'cap': '1h', 'jitter': True}
    said = await command('config', 'show', '--json')
    read_as(TYPES['config'], said.lines[0])
    [value] = said.json
    assert value['file'] == 'torrelque.toml' and value['config']['workers'] == shown['workers']


async def test_show_of_a_file_with_problems_ends_with_2(desk: Desk, command: Commands) -> None:
    desk.write('[queues.a]\nmax_taks = 1\nmax_tasks = -1\n')
    said = await command('config', 'show', code=2)
    assert said.out == '' and said.err.splitlines()[-1] == 'torrelque: torrelque.toml has 2 problems'
    assert said.err.startswith('torrelque.toml:2: queues.a.max_taks: ')


# Apply


async def state(queue: Torrelque) -> dict[str, Any]:
    names = [one.name async for one in queue.get_schedules()]
    return {'limits': await queue.get_limits(), 'schedules': sorted(names)}


async def test_apply_sets_what_differs_and_nothing_the_second_time(queue: Torrelque, filed: Commands) -> None:
    said = await filed('config', 'apply', '--dry-run', '--json')
    assert await state(queue) == {'limits': {}, 'schedules': []}
    for line in said.lines:
        read_as(TYPES['change'], line)
    assert [one['name'] for one in said.json] == [None, 'acme', 'free', 'tick', 'report', 'once']
    said = await filed('config', 'apply', '-y')
    assert said.lines[-1] == '3 limits and 3 schedules set'
    assert [line.split('  ')[1].strip() for line in said.lines[1:-1]] == CHANGES
    assert said.err == "schedule 'over' is over, and is left as it is\n"
    assert await state(queue) == {
        'limits': {
            None: TorrelqueLimit(5, None), 'acme': TorrelqueLimit(20, (50, 1)),
            'free': TorrelqueLimit(math.inf, math.inf),
        },
        'schedules': ['once', 'report', 'tick'],
    }  # fmt: skip
    report = await queue.get_schedule('report')
    assert report.task == {'task': 'shop.report', 'args': ['all']} and report.max_attempts == 3
    assert (await queue.get_schedule('tick')).missed == 'all'
    said = await filed('config', 'apply')
    assert said.lines == ['nothing is to be changed: the server has what the file says']
    assert (await filed('config', 'apply', '--json')).out == ''
    acts = await recorded(queue)
    assert [act for act, _, _ in acts] == ['limit'] * 3 + ['schedule'] * 3
    assert acts[1][1] == 'group acme: concurrency 20, rate 50/s'


async def test_apply_shows_what_operators_have_changed_meanwhile(
    desk: Desk, queue: Torrelque, filed: Commands
) -> None:
    await filed('config', 'apply', '-y')
    await queue.set_limit('acme', concurrency=3)
    await queue.set_limit('beta', concurrency=1)
    await queue.pause('acme')
    await queue.pause_schedule('tick')
    await queue.set_schedule('report', 'other', every=60, group='g')
    said = await filed('config', 'apply', '--dry-run', '--json')
    acme, report = said.json
    assert (acme['now'], acme['file']) == ('concurrency 3', 'concurrency 20, rate 50/s')
    assert report['now'] == 'every 1m, group g, no max_attempts, a payload'
    assert report['file'] == 'cron 0 9 * * mon-fri Europe/Berlin, no group, max_attempts 3, a call of shop.report'
    assert f"queue '{queue.name}' has limits that are not in the file, and stay: beta" in said.err
    await filed('config', 'apply', '-y')
    assert (await queue.get_limits())['acme'] == TorrelqueLimit(20, (50, 1))
    # Pauses are an operator's affair.
    assert (await queue.get_schedule('tick')).paused and (await queue.get_group_stats('acme')).paused
    assert (await filed('config', 'apply', '--dry-run', '--json')).out == ''


async def test_apply_sets_both_limits_of_a_group(queue: Torrelque, filed: Commands) -> None:
    await filed('config', 'apply', '-y')
    await queue.set_limit('acme', concurrency=20)
    await queue.set_limit(concurrency=5, rate=(1, 1))
    said = await filed('config', 'apply', '-y', '--json')
    assert [(one['name'], one['now'], one['file']) for one in said.json] == [
        (None, 'concurrency 5, rate 1/s', 'concurrency 5'), ('acme', 'concurrency 20', 'concurrency 20, rate 50/s')
    ]  # fmt: skip
    limits = await queue.get_limits()
    assert (limits[None], limits['acme']) == (TorrelqueLimit(5, None), TorrelqueLimit(20, (50, 1)))


async def test_apply_asks_nobody_in_a_pipe_and_does_nothing_then(queue: Torrelque, filed: Commands) -> None:
    for words in ([], ['--json']):
        said = await filed('config', 'apply', *words, code=2)
        assert 'nobody can be asked, and nothing was changed' in said.err
    assert 'only reading is allowed here' in (await filed('config', 'apply', '-y', '--read-only', code=4)).err
    assert 'concurrency 5' in (await filed('config', 'apply', '--dry-run', '--read-only')).out
    assert await state(queue) == {'limits': {}, 'schedules': []}


@pytest.mark.long
async def test_apply_asks_at_a_terminal(desk: Desk, queue: Torrelque, filed: Commands) -> None:
    with open_terminal(['-m', 'torrelque', 'config', 'apply'], {**os.environ, 'PYTHONPATH': str(PACKAGES)}) as terminal:
        terminal.wait_for(rb'This sets 3 limits and 3 schedules.  Is that meant\? \[y/N\] $')
        assert (await state(queue))['limits'] == {}
        terminal.type(b'y\n')
        assert terminal.end().rstrip().endswith(b'3 limits and 3 schedules set')
    assert (await state(queue))['limits']


async def test_apply_is_for_queues_of_the_file(filed: Commands, queue: Torrelque) -> None:
    said = await filed('config', 'apply', '-q', 'other', code=2)
    assert said.err == f"torrelque: torrelque.toml has no queue 'other'; it has {queue.name}\n"
    assert '--app is for others' in (await filed('config', 'apply', '--app', 'a:b', code=2)).err


# Other commands


async def test_commands_take_server_and_queue_of_the_file(
    desk: Desk, command: Commands, queue: Torrelque, server: RealServer
) -> None:
    desk.monkeypatch.delenv('TORRELQUE_URL')
    desk.monkeypatch.delenv('TORRELQUE_QUEUE')
    desk.write(f"""
        [server]
        url = "{server.url}"
        [queues.{queue.name}]
        max_tasks = 1
        [workers.broken]
    """)
    await command('enqueue', '1')
    assert 'is full' in (await command('enqueue', '2', code=1)).err
    assert [one['queue'] for one in (await command('tasks', '--json')).json] == [queue.name]
    assert (await queue.get_queue_stats()).tasks == 1
    desk.monkeypatch.setenv('TORRELQUE_QUEUE', 'elsewhere')
    assert (await command('tasks', '--json', code=1)).out == ''
    desk.monkeypatch.delenv('TORRELQUE_QUEUE')
    # What is named goes before the file, of which nothing is needed then.
    desk.write('[server]\nurl = "${NOBODY}"\n')
    assert (await command('tasks', '--json', '--url', server.url, '-q', queue.name)).json
    said = await command('tasks', code=2)
    assert said.err == (
        'torrelque: torrelque.toml:2: server.url: the variable NOBODY is not set; ${NOBODY:-…} has a default\n'
    )


async def test_what_a_queue_is_written_with_is_that_of_the_file(
    desk: Desk, command: Commands, queue: Torrelque
) -> None:
    desk.write(f'[queues.{queue.name}]\nserialiser = "shouting"\n')
    said = await command('tasks', code=1)
    assert said.err == "torrelque: torrelque.toml: shouting cannot be imported: No module named 'shouting'\n"
    desk.write('import json\nloads = json.loads\n\n\ndef dumps(value):\n    return b"[9]"\n', 'shouting.py')
    importlib.invalidate_caches()
    await command('enqueue', '1')
    assert (await queue.dequeue(timeout=60))[1] == [9]


async def test_an_act_wants_a_name_where_the_file_has_several_queues(
    desk: Desk, command: Commands, queue: Torrelque
) -> None:
    desk.monkeypatch.delenv('TORRELQUE_QUEUE')
    desk.write(f'[queues.{queue.name}]\n[queues.other]\n')
    said = await command('pause', code=2)
    assert said.err == f'torrelque: name the queue with -q; torrelque.toml has {queue.name}, other\n'
    # What only tells is about all of them; and a queue that the file has is no slip.
    said = await command('stats', '--json')
    assert [one['queue'] for one in said.json] == [queue.name, 'other'] and said.err == ''
    assert (await command('pause', '-q', 'other')).out.startswith("queue 'other' is paused")
    assert 'torrelque.toml' not in (await command('resume', '-q', 'other')).out


async def test_queues_of_an_app_are_found_once_they_are_known(desk: Desk, command: Commands, queue: Torrelque) -> None:
    """The file names none of them, because they are in the code of the app."""
    desk.monkeypatch.delenv('TORRELQUE_QUEUE')
    desk.write('[queues.other]\n[workers.mail]\napp = "shop:app"\n')
    assert [one['queue'] for one in (await command('stats', '--json')).json] == ['other']
    await queue.enqueue(1)
    await command('stats', '-q', queue.name)  # which notes that it is there
    assert [one['queue'] for one in (await command('stats', '--json')).json] == ['other', queue.name]
    said = await command('pause', code=2)
    assert said.err == f'torrelque: name the queue with -q; there are other, {queue.name}\n'


@pytest.mark.long
async def test_a_dashboard_is_as_the_file_says(
    desk: Desk, folder: Folder, queue: Torrelque
) -> None:
    folder.write('torrelque.toml', f"""
        [queues.{queue.name}]
        [queues.other]
        [dashboard]
        bind = "127.0.0.1:0"
        allow = ["pause", "redrive"]
        title = "Shop"
    """)
    for words, allowed in (
        (['-q', queue.name], ['pause', 'redrive']), (['--read-only'], []),
    ):  # fmt: skip
        with folder.command('dashboard', '--json', *words) as command:
            [line] = command.wait_for('^{.*}$')
            told = json.loads(line[0])
            assert told['allow'] == allowed
            assert told['queues'] == [queue.name, *(['other'] if '-q' not in words else [])]
            assert ':8765' not in told['url']
            command.send(STOP)
            command.end()


async def test_check_warns_where_what_reads_expressions_is_missing(
    desk: Desk, command: Commands
) -> None:
    desk.write('[queues.a]\n[schedules.s]\nqueue = "a"\npayload = 1\ncron = "@daily"\n')
    assert (await command('config', 'check')).err == ''
    find = importlib.util.find_spec
    desk.monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'cronsim' else find(name))
    assert 'schedules.s was not looked at: cron and jitter need cronsim' in (await command('config', 'check')).err


@pytest.mark.long
def test_a_command_with_a_file_loads_no_worker_and_nothing_of_the_web(folder: Folder) -> None:
    folder.write('torrelque.toml', EXAMPLE)
    program = 'import sys; from torrelque.cli import main; print(main(sys.argv[1:])); print(*sys.modules)'
    [*_, code, modules] = folder.run('stats', '--json', start=('-c', program)).out
    assert code == '0' and 'torrelque.config.config' in modules.split()
    assert not {'torrelque.worker.worker', 'torrelque.tasks.app', 'starlette'}.intersection(modules.split())


# Workers, before any of them is started

WORKERS = """
    [workers.app]
    app = "shop:app"
    processes = 2
    [workers.plain]
    handler = "plain:handle"
    queues = ["bulk"]
"""
REFUSED = [
    ('shop:app -c torrelque.toml', 'a TARGET, or a file with -c and --only: give one of them'),
    ('--only other', "torrelque.toml has no worker 'other': it has app, plain"),
    ('--concurrency 3', '--concurrency is of one worker, and torrelque.toml has 2: name it with --only'),
    ('-q mail', '-q and --url are for a TARGET; the workers of a file have the queues and the server of that'),
    ('--only plain --steal bulk', 'a queue is served, or it is stolen from; --steal names one that is served'),
]


async def test_workers_that_cannot_be_meant_are_refused(desk: Desk, command: Commands) -> None:
    desk.write(WORKERS)
    for words, told in REFUSED:
        assert (await command('run', *words.split(), code=2)).err == f'torrelque: {told}\n'
    desk.write('[queues.a]\n')
    told = 'torrelque: torrelque.toml has no workers: there is no [workers.NAME]\n'
    assert (await command('run', code=2)).err == told
    desk.write('[workers.a]\napp = "shop"\nconcurrency = 0\n')
    assert (await command('run', code=2)).err.splitlines() == [
        "torrelque.toml:2: workers.a.app: 'shop' is no module:name, such as shop.tasks:app",
        'torrelque.toml:3: workers.a.concurrency: expected a whole number from 1 on, not 0',
        'torrelque: torrelque.toml has 2 problems',
    ]
