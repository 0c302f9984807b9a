"""The command line as that of another program, and targets that name several apps."""

from __future__ import annotations

import json

import pytest

from support.commanding import Folder

pytestmark = pytest.mark.first_server

TWO = """
    from torrelque.tasks import Tasks

    mail = Tasks.from_url(queue='mail')
    shop = Tasks.from_url(queue='shop', queues=['shop', 'mail'])
    both = [shop]


    @mail.task(name='post')
    async def post(word):
        print('posted', word, flush=True)


    @shop.task(name='pack')
    def pack(word):
        print('packed', word, flush=True)
"""
PROGRAM = """
    import sys

    from torrelque.cli import Program, main

    program = Program('my queues', app='two:mail', command=[sys.executable, *sys.argv])
    sys.exit(main(sys.argv[1:], program))
"""


@pytest.fixture
def two(folder: Folder) -> Folder:
    folder.write('two.py', TWO)
    folder.write('program.py', PROGRAM)
    return folder


def run(two: Folder, *words: str, status: int = 0) -> list[str]:
    return two.run(*words, status=status, start=('program.py',)).out


def test_several_targets_with_commas_are_served_together(two: Folder) -> None:
    target = 'two:mail,two:both'
    for name, task in (('post', 'a'), ('pack', 'b')):
        two.run('enqueue', '--app', target, '--task', name, '--args', f'["{task}"]')
    stats = two.run('stats', '--json', '--app', target)
    assert [(json.loads(line)['queue'], json.loads(line)['tasks']) for line in stats.out] == [('mail', 1), ('shop', 1)]
    assert sorted(two.run('run', target, '--burst').out) == ['packed b', 'posted a']


def test_a_part_of_several_targets_that_is_not_there_is_told(two: Folder) -> None:
    told = two.run('run', 'two:mail,two:nothing', status=2)
    assert told.wait_for("two has no 'nothing'")


def test_a_program_brings_what_the_line_does_not_say(two: Folder) -> None:
    run(two, 'enqueue', '--task', 'post', '--args', '["a"]')
    assert run(two, 'run', '--burst') == ['posted a']
    run(two, 'pause')
    run(two, 'enqueue', '{}', '--id', 'one')
    told = run(two, 'why', 'one')
    assert [line for line in told if 'my queues resume -q mail' in line]
    assert [json.loads(line)['queue'] for line in run(two, 'stats', '--json', '--app', 'two:shop')] == ['shop', 'mail']
    assert run(two, 'stats', '--help')[0].startswith('usage: my queues stats [')


@pytest.mark.long
def test_a_demo_is_of_no_app(two: Folder) -> None:
    with two.command('dashboard', '--demo', '--bind', '127.0.0.1:0', start=('program.py',)) as demo:
        demo.wait_for('dashboard of a demo')


@pytest.mark.long
def test_processes_are_started_by_the_command_of_the_program(two: Folder) -> None:
    run(two, 'enqueue', '--task', 'post', '--args', '["a"]')
    assert run(two, 'run', '--burst', '--processes', '2') == ['posted a']
