"""``torrelque alerts`` and ``torrelque check -c``: rules of a file, who is told, and what the exit code says."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import redis.asyncio

from support.acting import Commands
from support.commanding import STOP, Folder
from support.hooking import Hook, open_hook
from support.schemas import read_as
from torrelque import Torrelque
from torrelque.monitor import Alerts, Rule
from torrelque.operate import AlertView
from torrelque.worker import get_workers

pytestmark = pytest.mark.first_server

FILE = """
[queues."QUEUE"]

[alerts.some]
when = "pending"
above = 2
for = 0
clear_for = 0

[alerts.backlog]
queue = "QUEUE"
when = "oldest"
above = "1h"
to = "log"

[sinks.ops]
webhook = "${HOOK:-http://127.0.0.1:1/}"
"""


@pytest.fixture
def file(tmp_path: Path, queue_name: str) -> str:
    path = tmp_path / 'rules.toml'
    path.write_text(FILE.replace('QUEUE', queue_name))
    return str(path)


def send_to(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOOK', hook.url)


async def test_one_look_tells_the_sinks_and_shows_the_rules(
    command: Commands, queue: Torrelque, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_hook() as hook:
        send_to(hook, monkeypatch)
        said = await command('alerts', '-c', file, '--once')
        assert [line.split()[:2] for line in said.lines] == [['RULE', 'STATE'], ['some', 'calm'], ['backlog', 'calm']]
        await queue.enqueue(1)
        await queue.enqueue(2)
        said = await command('alerts', '-c', file, '--once', '--json', code=1)
        assert [read_as(AlertView, line).state for line in said.lines] == ['firing', 'calm']
        assert [said.json[0][name] for name in ('rule', 'state', 'value')] == ['some', 'firing', 2.0]
        await command('alerts', '-c', file, '--once', code=1)
        assert [(body['rule'], body['state']) for body in hook.wait()] == [('some', 'firing')]
    # Whoever has no file sees what others have found.
    said = await command('alerts', code=1)
    assert [line.split()[:2] for line in said.lines[1:]] == [['backlog', 'calm'], ['some', 'firing']]
    said = await command('alerts', '-c', file, '--show', '--json', code=1)
    assert {one['rule']: one['state'] for one in said.json} == {'some': 'firing', 'backlog': 'calm'}


async def test_a_rule_of_another_queue_is_left_out_and_that_is_told(
    command: Commands, queue: Torrelque, tmp_path: Path
) -> None:
    path = tmp_path / 'rules.toml'
    path.write_text('[queues.mial]\n[alerts.oldest]\nwhen = "oldest"\n[alerts.late]\nwhen = "late"\nqueue = "mial"\n')
    await queue.enqueue(1)
    said = await command('alerts', '-c', str(path), '--once')
    assert [line.split()[0] for line in said.lines] == ['RULE', 'oldest']
    assert said.err == f'left out, because they are about none of {queue.name}: late\n'


async def test_without_rules_it_says_that_nobody_looks(command: Commands, queue: Torrelque) -> None:
    said = await command('alerts')
    assert said.lines == [f'nobody looks at rules of {queue.name}, or has in the last day']
    assert (await command('alerts', '--json')).lines == []


async def test_a_test_says_what_came_of_it(
    command: Commands, queue: Torrelque, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_hook() as hook:
        send_to(hook, monkeypatch)
        said = await command('alerts', '-c', file, '--test', 'some')
        assert said.lines == ['log: told', 'ops: told']
        [body] = hook.wait()
        assert (body['state'], body['rule'], body['value']) == ('test', 'some', 0.0)
        hook.answers = [404]
        said = await command('alerts', '-c', file, '--test', 'some', '--json', code=1)
        assert said.json == [
            {'sink': 'log', 'error': None},
            {'sink': 'ops', 'error': f'127.0.0.1:{hook.port} has not taken it: its answer, 404'},
        ]
        assert 'SECRET' not in said.out + said.err
        assert (await command('alerts', '-c', file, '--test', 'backlog')).lines == ['log: told']
        said = await command('alerts', '-c', file, '--test', 'other', code=2)
        assert said.err == "torrelque: there is no rule 'other': some, backlog\n"


async def test_it_runs_until_it_is_told_to_end(folder: Folder, queue: Torrelque, file: str) -> None:
    await queue.enqueue(1)
    await queue.enqueue(2)
    more = {'TORRELQUE_QUEUE': queue.name, 'HOOK': 'http://127.0.0.1:1/'}
    with folder.command('alerts', '-c', file, more=more) as command:
        command.wait_for(rf'^looks at 2 rules of {queue.name}, each 15 s; tells log, ops$')
        command.wait_for(rf'^20\S+ \S+ {queue.name}: some is firing: 2 tasks are pending$')
        command.wait_for(rf'^WARNING torrelque.monitor: FIRING: some on {queue.name}: 2 tasks are pending; since ')
        command.send(STOP)
        command.end()


async def test_check_says_what_rules_say_of_now_and_keeps_no_state(
    command: Commands, queue: Torrelque, file: str
) -> None:
    await queue.enqueue(1)
    assert (await command('check', '-c', file)).lines == []
    await queue.enqueue(2)
    said = await command('check', '-c', file, code=1)
    assert said.lines == [f'{queue.name}: some: 2 tasks are pending:  torrelque why -q {queue.name} -c {file}']
    [finding] = (await command('check', '-c', file, '--json', code=1)).json
    assert (finding['subject'], finding['level']) == ('some', 'error')
    assert (await command('check')).lines == []
    assert (await command('alerts')).lines == [f'nobody looks at rules of {queue.name}, or has in the last day']


async def test_states_of_rules_that_nobody_looks_at_are_told_as_such(
    command: Commands, queue: Torrelque, alert_clock: object
) -> None:
    await queue.enqueue(1)
    await Alerts(queue, [Rule('some', 'pending', above=1, for_=0)]).look()
    # That look was long ago.
    said = await command('alerts')
    assert said.lines[1].startswith('some  firing, not looked at  ')


@pytest.mark.parametrize(('text', 'words', 'message'), [
    ('[alerts.a]\nwhen = "oldst"', (), "PATH:2: alerts.a.when: nothing is called 'oldst'; did you mean oldest?"),
    ('[alerts.a]\nwhen = "oldest"\nto = "ops"', ('--once',), "PATH:3: alerts.a.to: there is no sink 'ops'"),
    ('', ('--once',), 'there are no rules: name a file that has [alerts.NAME]'),
    ('[alerts.oldest]\nwhen = "oldest"', ('--read-only',), 'only reading is allowed here'),
])  # fmt: skip
async def test_a_file_that_cannot_be_meant_is_refused(
    command: Commands, queue: Torrelque, tmp_path: Path, text: str, words: tuple[str, ...], message: str
) -> None:
    path = tmp_path / 'rules.toml'
    path.write_text(text)
    said = await command('alerts', '-c', str(path), *words, code=4 if '--read-only' in words else 2)
    assert said.err.startswith('torrelque: ' + message.replace('PATH', str(path)))


async def test_a_file_that_is_not_there_is_told(command: Commands, queue: Torrelque) -> None:
    for name in ('alerts', 'check', 'dashboard'):
        said = await command(name, '-c', 'nowhere.toml', code=2)
        assert said.err == 'torrelque: nowhere.toml: it cannot be read: No such file or directory\n'


RUN = """
[queues."QUEUE"]

[workers.mail]
handler = "handlers:handle"
queues = ["QUEUE"]
heartbeat = 0.2
processes = 2

[alerts.stuck]
when = "stuck"

[sinks.ops]
webhook = "${HOOK}"
"""
HANDLERS = """
    import asyncio, os

    async def handle(delivery):
        os.write(1, b'has %d\\n' % os.getpid())
        await asyncio.sleep(600)
"""


@pytest.mark.long
async def test_of_the_workers_of_a_file_one_tells_that_another_was_killed(
    folder: Folder, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    folder.write('handlers.py', HANDLERS)
    folder.write('torrelque.toml', RUN.replace('QUEUE', queue.name))
    await queue.enqueue(1)
    with open_hook() as hook, folder.command('run', '-c', 'torrelque.toml', more={'HOOK': hook.url}) as command:
        [line] = command.wait_for(r'^has (\d+)$')
        while len(await get_workers(queue)) < 2:
            await asyncio.sleep(0.01)
        os.kill(int(line[1]), signal.SIGKILL)
        while not hook.taken:
            # As a quarter of a minute later.
            await client.delete(queue.keys['sampled'])
            await asyncio.sleep(0.1)
        [body, *_] = hook.wait()
        assert body['text'].startswith(f'FIRING: stuck on {queue.name}: 0 workers are stuck, and 1 was lost in the ')
        command.send(STOP)
        command.end()
    assert f'FIRING: stuck on {queue.name}: ' in command.told
