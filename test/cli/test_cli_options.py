"""The command line: what is read from it, what is refused, and what help, page and installation say of it."""

from __future__ import annotations

import argparse
import configparser
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from support.commanding import APP, Folder
from torrelque import Torrelque
from torrelque.cli import main
from torrelque.cli.banner import one_line
from torrelque.cli.building import build
from torrelque.cli.clean import shown, shown_lines
from torrelque.cli.failure import Exit, Failure
from torrelque.cli.options import RunOptions, count, names, seconds, shares
from torrelque.cli.parser import EXTRA, make_parser
from torrelque.cli.server import connect, describe
from torrelque.tasks import Tasks

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'command-line.md'


def test_values_are_read_as_they_are_written() -> None:
    assert [seconds(text) for text in ('90', '90s', '1.5m', '2h', '1d', '0')] == [90, 90, 90, 7200, 86400, 0]
    assert (count('1'), count('007')) == (1, 7)
    assert names('a,b') == names(' a, b ') == shares('a,b') == shares('a ,\tb') == ['a', 'b']
    assert shares('a=3,b=1') == shares(' a = 3, b =1') == {'a': 3, 'b': 1} and shares('a=b=2') == {'a=b': 2}


@pytest.mark.parametrize(
    ('read', 'text'),
    [
        *((seconds, text) for text in ('', '-1', 'x', '1y', 'nan', 'inf', '1e3', '1 s s')),
        *((count, text) for text in ('', '0', '-1', '1.0', 'x', '9' * 10, '\u0661')),
        *((names, text) for text in ('', ',', 'a,', 'a,a', 'a, a', 'a, ')),
        *((shares, text) for text in ('', 'a=', 'a=0', 'a=1,b', 'a,b=1', 'a=x', 'a=1,a=2', '=1', ' =1', 'a=1, a =2')),
    ],
)
def test_values_that_cannot_be_meant_are_refused(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    'words',
    [
        '', 'walk', 'run', 'run a:b c:d', 'run a:b --processes 0', 'run a:b --processes 1001', 'run a:b --queues a,b=1',
        'run a:b --log xml', 'run a:b --log-level loud', 'run a:b --proc 2', 'run a:b --burst --reload',
        'run a:b --queues x --steal x', 'run a:b --queues x --queues y', 'run a:b --steal x --steal x',
    ],
)  # fmt: skip
def test_a_command_line_that_cannot_be_meant_ends_with_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words.split())
    except SystemExit as exc:
        assert isinstance(exc.code, int)
        code = exc.code
    shown = capsys.readouterr()
    # What is wrong is the command line, not that there is no such target.
    assert (code, shown.out) == (2, '') and shown.err and 'there is no module' not in shown.err


# An app's queues, by name


def chosen(made: object, **options: Any) -> tuple[list[str], list[str], dict[str, int]]:
    """Queues, those to steal from, and weights."""
    offer = build(RunOptions('shop:app', **options), made, '1').offer
    return [*offer.queues], [*offer.steal], dict(offer.weights)


def make_apps() -> tuple[Tasks, Tasks]:
    mail, stock = Tasks.from_url('redis://nowhere', queue='mail'), Tasks.from_url('redis://nowhere', queue='stock')
    for app, queue in (mail, 'urgent'), (stock, 'orders'):

        @app.task(name=f'of {queue}', queue=queue)
        def function() -> None: ...

    return mail, stock


def test_the_queues_of_an_app_are_chosen_by_name_and_weight() -> None:
    mail, _ = make_apps()
    assert chosen(mail) == (['mail', 'urgent'], [], {})
    assert chosen(mail, queues=['urgent']) == (['urgent'], [], {})
    assert chosen(mail, queues={'urgent': 3, 'mail': 1}) == (['urgent', 'mail'], [], {'urgent': 3, 'mail': 1})
    assert chosen(mail, steal=['urgent']) == (['mail'], ['urgent'], {})
    assert chosen(mail, queues=['none of its'], steal=['mail']) == (['none of its'], ['mail'], {})


def test_a_queue_that_an_app_knows_nothing_of_is_told_with_what_may_be_meant() -> None:
    app = Tasks.from_url('redis://nowhere', queue='mail', queues=['bulk'])
    app.task(name='alarm', queue='urgent')(lambda: None)
    app.fifo(name='book', queue='orders')(lambda: None)

    def doubts(**options: Any) -> list[str]:
        return [*build(RunOptions('shop:app', **options), app, '1').doubts]

    said = 'no function of the app is in queue {!r}, and its queues= does not name it; '
    assert doubts() == doubts(queues={'urgent': 1, 'bulk': 2}, steal=['mail']) == []
    assert doubts(queues=['urgnt', 'mail']) == [said.format('urgnt') + "did you mean 'urgent'?"]
    assert doubts(steal=['zzz']) == [said.format('zzz') + "its queues are 'bulk', 'mail', 'urgent'"]
    (ordered,) = doubts(queues=['orders'])
    assert ordered == said.format('orders') + "what app.fifo calls so is the group 'fifo:orders' of queue 'mail'"
    # The banner shows such groups, where their queue is served.
    for queues, groups in (None, ['fifo:orders (a group of mail)']), (['urgent'], []):
        offer = build(RunOptions('shop:app', queues=queues), app, '1').offer
        assert [*offer.ordered] == groups
        assert ('ordered' in one_line(offer, 1)) is bool(groups)


async def test_a_queue_that_may_not_be_meant_is_told_by_one_process(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    said = folder.run('run', 'shop:app', '--queues', 'nowhere', '--burst', '--processes', '2').err
    (line,) = [line for line in said if 'no function of the app' in line]
    assert ' WARNING torrelque.cli: ' in line and repr(queue.name) in line


def test_each_of_several_apps_has_the_queues_of_its_functions() -> None:
    mail, stock = apps = make_apps()
    assert chosen([*apps]) == (['mail', 'urgent', 'stock', 'orders'], [], {})
    assert chosen(apps, queues=['orders', 'urgent', 'mail']) == (['orders', 'urgent', 'mail'], [], {})
    assert chosen(apps, queues=['orders']) == (['orders'], [], {})
    assert chosen(apps, queues={'mail': 1, 'stock': 2, 'urgent': 3}) == (
        ['mail', 'urgent', 'stock'], [], {'mail': 1, 'urgent': 3, 'stock': 2}
    )  # fmt: skip
    assert chosen(apps, steal=['orders']) == (['mail', 'urgent', 'stock'], ['orders'], {})
    refused: list[tuple[dict[str, Any], str]] = [
        ({'queues': ['urgent', 'orders', 'mail']}, 'beside each other'),
        ({'queues': ['nowhere']}, "none of them has a function for queue 'nowhere'"),
        ({'queues': ['mail'], 'steal': ['stock']}, "no queue of the app of 'stock' is served"),
        ({'steal': ['stock', 'orders']}, "no queue of the app of 'stock' is served"),
        ({'url': 'redis://x'}, 'has a server of its own'),
        ({'queue': ['x']}, 'has queues of its own'),
    ]
    for options, words in refused:
        with pytest.raises(Failure, match=words):
            chosen(apps, **options)
    with pytest.raises(Failure, match='has its queues already'):
        chosen(mail.serving(), queues=['mail'])
    with pytest.raises(Failure, match='cannot be served so: a queue is named twice'):
        chosen(stock, queues=['stock'], steal=['stock'])


# What is shown


async def test_a_server_is_named_without_its_password() -> None:
    for url, named in {
        'redis://joe:secret@db:7000/3': 'redis://db:7000/3',
        'rediss://:secret@db': 'rediss://db:6379/0',
        'unix://:secret@/run/redis.sock?db=2': 'unix:///run/redis.sock?db=2',
        'redis://:secret@[::1]:7000': 'redis://[::1]:7000/0',
        'redis+sentinel://:secret@a:1,b:2/main/4': 'redis+sentinel://a:1,b:2/main/4',
        'redis+cluster://:secret@a:1': 'redis+cluster://a:1',
    }.items():
        client = connect(url)
        assert describe(client) == named
        await client.aclose()


@pytest.mark.parametrize('url', ['redis://:sec/ret@db', 'http://:secret@db', 'redis://db:secret', 'secret', '', 'a b'])
def test_an_address_that_cannot_be_meant_is_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('REDIS_URL', raising=False)
    monkeypatch.setenv('TORRELQUE_URL', 'nowhere')
    with pytest.raises(Failure, match=r'^(--url|TORRELQUE_URL) is no address') as failed:
        connect(url)
    assert 'sec' not in str(failed.value).removeprefix('--url').replace('redis', '')


def test_what_is_shown_has_neither_passwords_nor_control_characters() -> None:
    for text, safe in {
        "from_url('redis://:sec/ret@db/0')": "from_url('redis://***@db/0')",
        'redis://joe:se:cr@et@db/0 joe@doe.com': 'redis://***@db/0 joe@doe.com',
        'unix://a:b@/x': 'unix://***@/x',
        'http://joe:secret@db/x?a=joe@doe.com': 'http://***@db/x?a=joe@doe.com',
        'https://doe.com/joe@doe.com': 'https://doe.com/joe@doe.com',
        'redis://db?password=secret&db=1': 'redis://db?password=***&db=1',
        'joe@doe.com': 'joe@doe.com',
        '\x1b[2J\x07\r\n\x9b1m': '\\x1b[2J\\x07\\r\\n\\x9b1m',
        'a\u202eb\u2028c\ud800d\xa0e': 'a\\u202eb\\u2028c\\ud800d\\xa0e',
        'żółw 龜 🐢': 'żółw 龜 🐢',
    }.items():
        assert shown(text) == safe
    assert shown_lines('a\tb\n\x1b[0m\r\n') == 'a   b\n\\x1b[0m\\r\n'


# Help, page, installation


def test_command_lines_of_the_pages_are_understood() -> None:
    pages = [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]
    spelt = re.compile(r'(?m)^(?:ExecStart=\S*/)?(torrelque run \S+:.*)$')
    lines = [line for page in pages for line in spelt.findall(page.read_text())]
    assert len(lines) > 5
    for line in lines:
        assert make_parser().parse_args(shlex.split(line, comments=True)[1:]).command.name == 'run', line


@pytest.mark.one_server
async def test_the_application_of_the_page_is_served_as_it_says(queue: Torrelque, folder: Folder) -> None:
    found = re.search(r'(?s)```python\n# (\S+)\n(.*?)```', PAGE.read_text())
    assert found
    folder.write(found[1], found[2])
    async with Torrelque(queue.client, queue='email') as email, Torrelque(queue.client, queue='urgent') as urgent:
        await email.enqueue({'task': 'shop.tasks.send', 'args': ['joe@doe.com']})
        await urgent.enqueue({'task': 'shop.tasks.alarm', 'args': ['joe@doe.com']})
    command = folder.run('run', 'shop.tasks:app', '--burst')
    assert sorted(command.out) == ['alarming joe@doe.com', 'sending a mail to joe@doe.com']


def test_the_page_has_all_exit_codes() -> None:
    page = PAGE.read_text()
    assert {int(code) for code in re.findall(r'(?m)^\| (\d+) \|', page)} == {*map(int, Exit)}


def test_the_package_brings_the_command() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / 'setup.cfg')
    name, _, place = settings['options.entry_points']['console_scripts'].strip().partition(' = ')
    module, _, function = place.partition(':')
    assert (name, getattr(importlib.import_module(module), function)) == ('torrelque', main)
    assert 'rich' in settings['options.extras_require']['cli']


WITHOUT = 'import sys; sys.modules[{0!r}] = None; from torrelque.cli import main; sys.exit(main())'


@pytest.mark.one_server
async def test_without_the_extra_there_are_help_and_version_and_a_sentence(folder: Folder) -> None:
    start = ('-c', WITHOUT.format('rich'))
    assert re.fullmatch(r'torrelque \S.*', ''.join(folder.run('--version', start=start).out))
    said = folder.run('run', 'shop:app', start=start, status=2).err
    (line,) = said
    assert line == f'torrelque: {EXTRA}' and "pip install 'torrelque[cli]'" in line


@pytest.mark.one_server
async def test_a_missing_loop_is_told_in_a_sentence(folder: Folder) -> None:
    start = ('-c', WITHOUT.format('uvloop'))
    said = folder.run('run', 'shop:app', '--uvloop', start=start, status=2).err
    assert said == ['torrelque: --uvloop needs the package uvloop: pip install uvloop']


@pytest.mark.one_server
async def test_a_worker_works_though_nobody_can_read_what_it_says(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', APP)
    again = 'import sys; from torrelque.cli import main; sys.exit(main())'
    for n, spoil in enumerate(['os.close(1); os.close(2)', 'os.dup2(os.open("/dev/full", os.O_WRONLY), 2)']):
        # Streams are made when Python begins, so it begins once more.
        code = f'import os, sys; {spoil}; os.execv(sys.executable, [sys.executable, "-c", "{again}", *sys.argv[1:]])'
        task_id = await queue.enqueue({'task': 'shop.send', 'args': [f'{n}']})
        folder.run('run', 'shop:app', '--burst', start=('-c', code))
        assert (await queue.get_task_state(task_id)).result == f'{n}'


def test_a_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    assert main(['run', 'shop:app']) == 2
    assert capsys.readouterr().err == 'torrelque: the current directory cannot be read: No such file or directory\n'


@pytest.mark.one_server
async def test_a_reader_that_has_seen_enough_ends_the_command_quietly(folder: Folder) -> None:
    start = ('-c', 'import os, sys; from torrelque.cli import main; r, w = os.pipe(); os.close(r); os.dup2(w, 1); '
             'os.close(w); sys.exit(main())')  # fmt: skip
    assert folder.run('run', '--help', start=start).err == []
