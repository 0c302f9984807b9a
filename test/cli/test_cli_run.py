"""`torrelque run` in one process: its end, its log, its banner, what a service manager is told."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commanding import APP, STOP, Folder, Manager
from support.processes import wait_end
from support.servers import MakeServer, RealServer
from torrelque import Torrelque

pytestmark = pytest.mark.one_server


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    manager = Manager(tmp_path_factory.mktemp('m') / 's')
    yield manager
    manager.close()


async def send(queue: Torrelque, *words: str) -> None:
    await queue.enqueue_many({'task': 'shop.send', 'args': [word]} for word in words)


# The end


@pytest.mark.parametrize(
    'number',
    [
        pytest.param(number, id=number.name, marks=() if number == signal.SIGTERM else pytest.mark.long)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    ],
)
async def test_a_signal_has_it_finish_what_is_in_hand(
    queue: Torrelque, folder: Folder, manager: Manager, number: signal.Signals
) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'mail')
    with folder.command('run', 'shop:app', more=manager.environment) as command:
        command.wait_for('begun mail 1')
        command.send(number)
        manager.wait_for('STOPPING=1')
        folder.let_go()
        command.end()
    assert command.out[-1].startswith('done mail')
    assert (await queue.get_queue_stats()).tasks == 0


async def test_a_second_signal_has_it_give_back_what_is_in_hand(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await queue.enqueue({'task': 'shop.send', 'args': ['mail']}, max_attempts=1)
    with folder.command('run', 'shop:app', more=manager.environment) as command:
        command.wait_for('begun mail 1')
        command.send(STOP)
        manager.wait_for('STOPPING=1')
        command.send(STOP)
        command.end()
    # That attempt was not counted, so there is another one.
    folder.let_go()
    assert folder.run('run', 'shop:app', '--burst').out[-1].startswith('done mail')


async def test_the_end_waits_for_what_is_in_hand_as_long_as_it_was_told(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'mail')
    with folder.command('run', 'shop:app', '--shutdown-timeout', '0') as command:
        command.wait_for('begun mail 1')
        command.send(STOP)
        command.end()
    assert (await queue.get_queue_stats()).pending == 1


async def test_a_burst_leaves_what_is_delayed_and_says_so(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP.replace('@app.task', '@app.task(max_attempts=2, retry=600)', 1).replace(
        "return word", "raise OSError('away')"
    ))  # fmt: skip
    await send(queue, 'mail')
    await queue.enqueue({'task': 'shop.send', 'args': ['late']}, delay=600)
    command = folder.run('run', 'shop:app', '--burst')
    assert [line.split()[1] for line in command.out] == ['mail', 'mail']
    told = 'ends when there is nothing to take (what is delayed, for a retry too, is left)'
    assert f'burst {told}' in command.err[0]
    stats = await queue.get_queue_stats()
    assert (stats.delayed, stats.tasks) == (2, 2)
    assert told.replace('ends', 'end') in ' '.join(' '.join(folder.run('run', '--help').out).split())


async def test_a_server_in_its_default_configuration_will_do(plain_server: RealServer, tmp_path: Path) -> None:
    folder = Folder(tmp_path, plain_server, 'mail')
    folder.write('shop.py', APP)
    with folder.command('run', 'shop:app') as command:
        command.wait_for('starts')
        async with plain_server.client() as client, Torrelque(client, queue='mail') as queue:
            await send(queue, 'mail')
            command.wait_for('done mail')
        command.send(STOP)
        command.end()


# A service manager


async def test_a_service_manager_is_told_when_it_is_ready_and_that_it_is_alive(
    queue: Torrelque, folder: Folder, manager: Manager
) -> None:
    folder.write('shop.py', APP)
    more = {**manager.environment, 'WATCHDOG_USEC': '20000'}
    with folder.command('run', 'shop:app', '--log-level', 'error', more=more) as command:
        manager.wait_for('READY=1')
        for _ in range(3):
            manager.wait_for('WATCHDOG=1')
        command.send(STOP)
        manager.wait_for('STOPPING=1')
        # Nothing but the banner, although the worker's own first line was waited for.
        assert len(command.end().splitlines()) == 1


@pytest.mark.long
async def test_it_is_not_ready_before_the_server_answers(
    folder: Folder, manager: Manager, make_server: MakeServer
) -> None:
    server = make_server()
    folder.environment['REDIS_URL'] = server.url
    folder.write('shop.py', APP)
    server.pause()
    with folder.command('run', 'shop:app', more=manager.environment) as command:
        command.wait_for('no answer of the server unix://.* yet')
        server.resume()
        manager.wait_for('READY=1')
        command.send(STOP)
        command.end()


# A server that is not there, or refuses


@pytest.mark.long
@pytest.mark.one_server
async def test_a_server_that_is_away_ends_it_with_3(folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.environment['REDIS_URL'] = 'unix://:secret@/nowhere'
    for processes in ([], ['--processes', '3']):
        said = folder.run('run', 'shop:app', *processes, status=3).err
        # By the first process alone, though it takes some ten seconds.
        assert '\n'.join(said).count('cannot be reached') == 1
        assert 'torrelque: the server unix:///nowhere cannot be reached' in said[-1]
        assert 'Traceback' not in '\n'.join(said) and 'secret' not in '\n'.join(said)


async def test_a_server_that_refuses_the_password_ends_it_with_4(
    folder: Folder, make_server: MakeServer, manager: Manager
) -> None:
    server = make_server({'requirepass': 'right'}, tcp=True)
    folder.write('shop.py', APP)
    arguments = ['run', 'shop:app', '--burst']
    address = f'redis://joe:{{}}@127.0.0.1:{server.port}'
    more = {'REDIS_URL': address.format('wrong-secret'), **manager.environment}
    said = folder.run(*arguments, status=4, more=more).err
    # It was never ready.
    assert 'READY=1' not in manager.said()
    assert f'torrelque: the server redis://127.0.0.1:{server.port}/0 refuses the worker' in said[-1]
    assert 'wrong-secret' not in '\n'.join(said)
    said = folder.run(*arguments, more={'REDIS_URL': f'redis://:right@127.0.0.1:{server.port}'}).err
    assert 'right' not in '\n'.join(said)


# Exit codes


PASSWORDS = {
    'wrong': 'invalid username-password pair or user is disabled',
    'none': 'HELLO must be called with the client already authenticated',
}
"""What a server says of them."""

BROKEN_LIFESPAN = APP.replace("['QUEUE']", "['QUEUE'], lifespan=live").replace('app = Tasks', """
    import contextlib

    @contextlib.asynccontextmanager
    async def live(app):
        raise ValueError('no')
        yield

    app = Tasks""".strip())


AWAY = [pytest.mark.long, pytest.mark.one_server]
IMPORTING = 'import time; print("importing", flush=True); time.sleep(100)'


@pytest.mark.parametrize(
    ('code', 'says', 'module', 'arguments'),
    [
        (0, 'a burst found nothing more to take', APP, '--burst'),
        (0, 'the end was asked for and was graceful', APP, 'TERM'),
        (1, 'a module cannot be imported', 'import nothing_like_that', ''),
        (1, 'a lifespan raises', BROKEN_LIFESPAN, ''),
        pytest.param(1, 'processes do not stay', 'import os; os._exit(7)', '--processes 2', marks=pytest.mark.long),
        (2, 'the command line cannot be meant', APP, '--burst --reload'),
        pytest.param(3, 'the server cannot be reached', APP, 'away', marks=AWAY),
        (4, 'the server refuses it, as for a wrong password', APP, 'wrong'),
        (4, 'the server refuses it, as for a wrong password', APP, 'none'),
        (130, 'interrupted, by Ctrl-C; a worker: before there was one', IMPORTING, 'INT'),
    ],
)  # fmt: skip
async def test_an_exit_code_says_what_the_page_says(
    folder: Folder, make_server: MakeServer, code: int, says: str, module: str, arguments: str
) -> None:
    page = (Path(__file__).parents[2] / 'docs' / 'command-line.md').read_text()
    (row,) = re.findall(rf'(?m)^\| {code} \| (.*) \|$', page)
    assert says in row
    folder.write('shop.py', module)
    if arguments in PASSWORDS:
        server, password = make_server({'requirepass': 'right'}, tcp=True), ':wrong@' if arguments == 'wrong' else ''
        folder.environment['REDIS_URL'] = f'redis://{password}127.0.0.1:{server.port}'
    elif arguments == 'away':
        folder.environment['REDIS_URL'] = 'unix:///nowhere'
    if not arguments.isupper():
        said = folder.run('run', 'shop:app', *(arguments.split() if '-' in arguments else []), status=code).err[-1]
        if code == 4:
            # What the server says is on the page of messages.
            errors = (Path(__file__).parents[2] / 'docs' / 'errors.md').read_text()
            assert PASSWORDS[arguments] in said and PASSWORDS[arguments] in errors
        return
    with folder.command('run', 'shop:app') as command:
        command.wait_for('starts' if arguments == 'TERM' else 'importing')
        command.send(getattr(signal, f'SIG{arguments}'))
        command.end(code)


# The log


LOGGING = APP + """

    import logging

    log = logging.getLogger('shop')


    @app.task(name='hostile\\x1b]0;title\\x07\\nname', max_attempts=1)
    def fails():
        log.warning('a line\\nof \\x1b[31mtwo', extra={'order': object(), 'user': 'joe'})
        raise ValueError('\\u202e\\x1b[2Jredis://:secret@db')
"""


async def test_lines_of_json_are_objects_with_the_fields_of_the_task(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', LOGGING)
    await queue.enqueue({'task': 'hostile\x1b]0;title\x07\nname'}, group='acme')
    task_id = await queue.enqueue({'task': 'shop.send', 'args': ['mail']})
    said = folder.run('run', 'shop:app', '--burst', '--log', 'json', '--name', 'w').err
    lines = [json.loads(line) for line in said]
    assert all({'time', 'level', 'logger', 'message'} <= {*line} for line in lines)
    assert all(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', line['time']) for line in lines)
    assert lines[0]['target'] == 'shop:app' and lines[0]['queues'] == [queue.name]
    by_event = {line.get('event', line['logger']): line for line in lines}
    done, dead, own = by_event['task_succeeded'], by_event['task_dead'], by_event['shop']
    assert (done['task'], done['function'], done['attempt'], done['worker']) == (task_id, 'shop.send', 1, 'w')
    assert (done['queue'], done['level'], done['group']) == (queue.name, 'INFO', None)
    assert dead['exception'].startswith('Traceback') and 'fails' in dead['exception'] and 'secret' not in str(dead)
    # A line of the application itself has the fields of the task that it was written in.
    assert (own['message'], own['level'], own['user']) == ('a line\nof \x1b[31mtwo', 'WARNING', 'joe')
    assert (own['task'], own['queue'], own['group'], own['attempt']) == (dead['task'], queue.name, 'acme', 1)
    assert (own['worker'], own['function']) == ('w', 'hostile\x1b]0;title\x07\nname')


async def test_a_failure_is_a_line_of_json_too(folder: Folder) -> None:
    folder.write('shop.py', 'raise ValueError("no")\n')
    (line,) = folder.run('run', 'shop:app', '--log', 'json', status=1).err
    fields = json.loads(line)
    assert (fields['level'], fields['logger']) == ('ERROR', 'torrelque.cli')
    assert fields['message'] == 'shop could not be imported: ValueError' and 'ValueError: no' in fields['exception']


async def test_nothing_in_names_and_tasks_writes_to_the_terminal(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', LOGGING)
    hostile = 'q\x1b[2J\r\n\u202e<b>[red]\ud800'.encode('utf-8', 'replace').decode()
    folder.environment['QUEUE'] = hostile
    async with Torrelque(queue.client, queue=hostile) as other:
        await other.enqueue_many(
            [{'task': 'hostile\x1b]0;title\x07\nname'}, {'task': '\x1b[31munknown\n'}, '\x1b[31m', {'task': ['\x1b']}]
        )
        for form in ('text', 'json'):
            said = folder.run('run', 'shop:app', '--burst', '--log', form).err
            assert [line for line in said if not line.isprintable()] == [], form
    assert 'secret' not in '\n'.join(said)


@pytest.mark.parametrize('where', ['module', 'lifespan'])
async def test_the_application_may_have_its_own_log(
    queue: Torrelque, folder: Folder, manager: Manager, where: str
) -> None:
    folder.write('shop.py', APP.replace("['QUEUE']", "['QUEUE'], lifespan=lambda app: live(app)") + f"""
    import contextlib
    import logging.config

    def begin():
        logging.config.dictConfig({{
            'version': 1, 'formatters': {{'f': {{'format': 'MINE %(message)s'}}}},
            'handlers': {{'h': {{'class': 'logging.StreamHandler', 'formatter': 'f'}}}},
            'root': {{'handlers': ['h'], 'level': 'WARNING'}},
        }})
        logging.getLogger('x').warning('hello')

    @contextlib.asynccontextmanager
    async def live(app):
        {'begin()' if where == 'lifespan' else 'pass'}
        yield

    {'begin()' if where == 'module' else ''}
    """)  # fmt: skip
    # The loggers that there were are switched off by that, and the worker tells all the same that it is ready.
    with folder.command('run', 'shop:app', more=manager.environment) as command:
        manager.wait_for('READY=1')
        command.send(STOP)
        command.end()
    assert [line for line in command.err if not line.startswith('torrelque ')] == ['MINE hello']


# The terminal


async def test_on_a_terminal_a_table_says_what_is_served_and_ctrl_c_ends_it(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP + "\n    for n in range(30): app.task(name=f'[red]n{n}\\x1b[2J')(lambda: None)\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'torrelque', 'run', 'shop:app', '--processes', '2'],
        cwd=folder.path, env={**folder.environment, 'TERM': 'xterm', 'COLUMNS': '100'},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(theirs)
    text = b''
    while text.count(b' starts: ') < 2:
        text += os.read(ours, 10_000)
    os.write(ours, b'\x03')
    # Signals of the terminal go to all processes, and each ends in good order, with what is in hand finished.
    assert await asyncio.to_thread(process.wait, 90) == 0
    os.close(ours)
    shown = text.decode()
    table = shown.partition('╰')[0]
    for words in ('shop:app', 'server', queue.name, 'shop.send', '[red]n5', 'and 19 more', '10 in each of 2', 'Ctrl-C'):
        assert words in table, shown
    assert '\x1b[2J' not in shown and '\\x1b[2J' in table


@pytest.mark.long
async def test_a_terminal_that_is_gone_ends_all_processes(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    folder.hold()
    await send(queue, 'a', 'b')
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'torrelque', 'run', 'shop:app', '--processes', '2', '--concurrency', '1'],
        cwd=folder.path, env=folder.environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True,
        start_new_session=True, preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    begun = [process.stdout.readline().split() for _ in range(2)]
    os.close(ours)
    folder.let_go()
    for words in begun:
        wait_end(int(words[-1]))
    await asyncio.to_thread(process.wait, 90)
    process.stdout.close()
    assert (await queue.get_queue_stats()).tasks == 0


def _take_terminal() -> None:
    """Have the terminal that is standard input send its signals to this process, as a shell does."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
