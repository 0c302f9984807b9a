"""`torrelque run`: each kind of target, and what is said of what is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.commanding import APP, Folder
from support.servers import MakeServer
from torrelque import Torrelque
from torrelque.cli import target
from torrelque.cli.building import build
from torrelque.cli.failure import Failure
from torrelque.cli.options import RunOptions
from torrelque.worker import Delivery, Worker

# Each command is a process of its own, and none has to do with the kind of the server.
pytestmark = [pytest.mark.one_server, pytest.mark.long]

KINDS = APP + """

    class holder:
        class inside:
            app = app


    other = Tasks.from_url(queue='other')
    apps = [app, other]
    view = app.serving([os.environ['QUEUE']])

    from torrelque.worker import Worker

    def make():
        return app

    async def make_later():
        await asyncio.sleep(0)
        return (app,)

    def worker():
        return Worker(app, burst=True, name='mine')

    one = Worker([app], burst=True)
"""


async def send(queue: Torrelque, word: str) -> None:
    await queue.enqueue({'task': 'shop.send', 'args': [word]})


@pytest.mark.parametrize(
    'name', ['app', 'apps', 'holder.inside.app', 'view', 'make', 'make_later', 'worker', 'one'],
)  # fmt: skip
async def test_a_target_is_served(queue: Torrelque, folder: Folder, name: str) -> None:
    folder.write('shop.py', KINDS)
    await send(queue, 'mail')
    burst = [] if name in ('worker', 'one') else ['--burst']
    command = folder.run('run', f'shop:{name}', *burst)
    assert [line.split()[:2] for line in command.out] == [['begun', 'mail'], ['done', 'mail']]
    assert (await queue.get_queue_stats()).tasks == 0
    banner = command.err[0]
    assert banner.startswith('torrelque ') and f'shop:{name}' in banner and queue.name in banner


async def test_a_handler_serves_the_queues_that_are_named(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop.py', """
        async def handle(delivery):
            print(delivery.queue.name, delivery.task)

        def blocking(delivery):
            print(delivery.queue.name, delivery.task)
    """)  # fmt: skip
    async with Torrelque(queue.client, queue='stock') as stock:
        for name in ('handle', 'blocking'):
            await queue.enqueue(1)
            await stock.enqueue(2)
            shares = ['--queues', f'{queue.name}=2,stock=1'] if name == 'handle' else []
            arguments = ['-q', queue.name, '-q', 'stock', '--burst', '--concurrency', '1', *shares]
            command = folder.run('run', f'shop:{name}', *arguments)
            assert sorted(command.out) == sorted([f'{queue.name} 1', 'stock 2'])
            assert f'functions {name};' in command.err[0]
            assert (f'{queue.name} (weight 2), stock (weight 1)' in command.err[0]) is bool(shares)


async def test_the_server_of_a_handler_is_that_of_the_option_or_of_a_variable(
    queue: Torrelque, folder: Folder, make_server: MakeServer
) -> None:
    folder.write('shop.py', 'async def handle(delivery):\n    print(delivery.task)\n')
    empty = make_server()
    arguments = ['run', 'shop:handle', '-q', queue.name, '--burst']
    await queue.enqueue(1)
    for option, out in ([], []), (['--url', folder.environment['REDIS_URL']], ['1']):
        assert folder.run(*arguments, *option, more={'TORRELQUE_URL': empty.url}).out == out


async def test_an_imported_module_brings_its_functions(queue: Torrelque, folder: Folder) -> None:
    folder.write('shop/__init__.py', '')
    folder.write('shop/base.py', APP)
    folder.write('shop/mail.py', 'from .base import app\n\n@app.task\ndef letter(word):\n    print("letter", word)\n')
    await queue.enqueue({'task': 'shop.mail.letter', 'args': ['a']})
    command = folder.run('run', 'shop.base:app', '--import', 'shop.mail', '--burst')
    assert command.out == ['letter a']


# What is no target


def complaint(found: str, name: str) -> str:
    """What is said of a target."""
    with pytest.raises(Failure) as failed:
        target.make(found, target.find(found))
    assert failed.value.code == 2 and failed.value.error is None, name
    return str(failed.value)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of its own name, so that no other test has imported it."""
    name = f'shop_{re.sub(r"[^a-z0-9]", "", tmp_path.name.lower())}'
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').touch()
    (tmp_path / name / 'tasks.py').write_text("""
import redis.asyncio
from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import ThreadWorker, Worker

queue = Torrelque(redis.asyncio.Redis(), queue='email')
app = Tasks(queue)
thread = ThreadWorker(app)
number, empty, nothing = 5, [], None
hostile = 'a\\x1b[31m\\nb' * 50

@app.task
def send(addr): ...

async def handle(delivery): ...

def wrong(): return 7

class Kind: ...

class Web:
    async def __call__(self, scope, receive, send): ...

web = Web()

def wsgi(environ, start_response): ...
""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_what_is_no_target_is_told_with_what_was_found_and_what_may_be_meant(shop: str) -> None:
    near = f'did you mean {shop}.tasks:app'
    for found, words in {
        f'{shop}.tasks:ap': ["has no 'ap'", near],
        f'{shop}.tasks:app.queu': [f"{shop}.tasks:app has no 'queu'"],
        f'{shop}.tasks:number': ['is an int: 5', 'expected is', near],
        f'{shop}.tasks:empty': ['is an empty list', 'expected is', near],
        f'{shop}.tasks:nothing': ['is None', near],
        f'{shop}.tasks:Kind': ['is a type', near],
        f'{shop}.tasks:queue': ["is a queue, 'email'", '-q email'],
        f'{shop}.tasks:thread': ['is a ThreadWorker', 'make a Worker'],
        f'{shop}.tasks:send': ['is a decorated function', near],
        f'{shop}.tasks:handle': ['takes arguments', '-q NAME', near],
        f'{shop}.tasks:web': ['is an ASGI application (Web), which a web server runs', 'name the Tasks', near],
        f'{shop}.tasks:wsgi': ['is a WSGI application (function), which a web server runs', 'name the Tasks', near],
        f'{shop}.tasks': ['is no module:name', near],
        f'{shop}.tasks.app': ['is no module:name', near],
        f'{shop}/tasks.py:app': ['is no module:name', near],
        f'{shop}.taks:app': [f"no module '{shop}.taks'", near],
        f'{shop[:-1]}.tasks:app': [f"no module '{shop[:-1]}'", near],
        'nothing_like_that:app': ["no module 'nothing_like_that'", 'where Python is installed'],
        **{text: ['is no module:name'] for text in ('', ':', 'a:', ':b', 'a b:c', 'a:b:c', '..:x', '-:-')},
    }.items():
        said = complaint(found, found)
        assert [word for word in words if word not in said] == [], said


async def test_what_a_function_makes_is_looked_at_as_well(folder: Folder) -> None:
    folder.write('shop.py', 'async def wrong():\n    return 7\n\nasync def fails():\n    raise ValueError("no")\n')
    assert 'torrelque: shop:wrong has made an int: 7; expected is' in folder.run('run', 'shop:wrong', status=2).err[-1]
    failed = folder.run('run', 'shop:fails', status=1)
    assert failed.err[-1] == 'torrelque: shop:fails has raised ValueError'
    assert failed.err[-2] == 'ValueError: no' and failed.err[0].startswith('Traceback')
    folder.write('web.py', 'async def app(scope, receive, send): ...\n')
    assert 'web:app is an ASGI application' in folder.run('run', 'web:app', '-q', 'x', status=2).err[-1]


async def test_options_that_come_too_late_for_a_worker_are_refused(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    late: list[tuple[str, Any]] = [
        *(('burst', True), ('name', 'x'), ('heartbeat', 0.0), ('queues', ['x']), ('steal', ['x'])),
        *(('shutdown_timeout', 0.0), ('url', 'redis://x')),
    ]
    for option, value in late:
        options = RunOptions('shop:one', **{option: value})
        with pytest.raises(Failure, match=f'so --{option.replace("_", "-")} comes too late'):
            build(options, Worker(queue, handle), '1')
    built = build(RunOptions('shop:one', concurrency=3), Worker(queue, handle), '1')
    assert built.worker.concurrency == built.offer.concurrency == 3
    async with (worker := Worker(queue, handle)):
        with pytest.raises(Failure, match='was started before'):
            build(RunOptions('shop:one'), worker, '1')


WRONG = """
    def f():
        import nothing_like_that

    f()
"""


@pytest.mark.parametrize('processes', [(), ('--processes', '2')])
async def test_a_wrong_import_is_shown_once_and_ends_with_1(folder: Folder, processes: tuple[str, ...]) -> None:
    folder.write('shop.py', WRONG)
    said = folder.run('run', 'shop:app', *processes, status=1).err
    text = '\n'.join(said)
    # The traceback begins with the application's own frames, and there is nothing but that and a sentence.
    assert said[0] == 'Traceback (most recent call last):' and 'shop.py", line 5' in said[1]
    assert text.count("ModuleNotFoundError: No module named 'nothing_like_that'") == 1
    assert said[-1] == 'torrelque: shop could not be imported: ModuleNotFoundError'
    assert 'importlib' not in text and 'cli' not in text


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('def f(:\n', 'SyntaxError'),
        ('raise SystemExit(0)\n', 'has ended the program: SystemExit: 0'),
        ('class E(BaseException): ...\n\nraise E\n', 'E'),
    ],
    ids=['syntax', 'exit', 'base'],
)  # fmt: skip
def test_whatever_an_import_raises_is_told(code: str, words: str, shop: str, tmp_path: Path) -> None:
    (tmp_path / shop / 'broken.py').write_text(code)
    with pytest.raises(Failure, match=words) as failed:
        target.find(f'{shop}.broken:app')
    assert failed.value.code == 1 and failed.value.error is not None


def test_a_hostile_object_is_no_target(shop: str, tmp_path: Path) -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(Failure, match='is a Hostile: \\?'):
        target.make('shop:hostile', Hostile())
