"""``manage.py torrelque``: the command line with Django set up, and server and app of the settings."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commanding import Command, Folder
from support.servers import RealServer

pytestmark = pytest.mark.one_server

SETTINGS = """
    import os
    from pathlib import Path

    SECRET_KEY = 'nothing that is kept'
    INSTALLED_APPS = ['shop', 'torrelque.contrib.django', 'django.contrib.auth', 'django.contrib.contenttypes']
    DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': Path(__file__).parent / 'db.sqlite3'}}
    TORRELQUE = {'URL': os.environ['SHOP_URL'], 'APP': 'shop.tasks:app'}
    USE_TZ = True
"""
MANAGE = """
    import os
    import sys

    from django.core.management import execute_from_command_line

    if __name__ == '__main__':
        os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
        execute_from_command_line(sys.argv)
"""
MODELS = """
    from django.db import models


    class Order(models.Model):
        name = models.TextField()
"""
TASKS = """
    import os

    from django.conf import settings
    from django.db import connection
    from torrelque.tasks import Tasks, current

    from shop.models import Order

    app = Tasks.from_url(settings.TORRELQUE['URL'], queue='shop', queues=['shop', 'mail'])


    def tell(*words):
        os.write(1, (' '.join(map(str, words)) + '\\n').encode())


    @app.task
    def place(name):
        had = connection.connection is not None
        Order.objects.create(name=name)
        tell('placed', name, had, os.getpid())


    @app.task(run_in='process')
    def place_apart(name):
        place(name)


    @app.task
    async def place_async(name):
        await Order.objects.acreate(name=name)
        tell('placed', name)
"""


@pytest.fixture
def project(tmp_path: Path, server: RealServer, queue_name: str) -> Folder:
    folder = Folder(tmp_path, None, queue_name)
    # Nothing but the settings tells the server.
    folder.environment.pop('REDIS_URL', None)
    folder.environment['SHOP_URL'] = server.url
    for name, code in {
        'settings.py': SETTINGS, 'manage.py': MANAGE, 'shop/__init__.py': '', 'shop/models.py': MODELS,
        'shop/tasks.py': TASKS,
    }.items():  # fmt: skip
        folder.write(name, code)
    return folder


def manage(project: Folder, *words: str, status: int = 0, **more: Any) -> Command:
    return project.run(*words, status=status, start=('manage.py', 'torrelque'), **more)


def migrate(project: Folder) -> None:
    project.run('migrate', '--run-syncdb', '-v', '0', start=('manage.py',))


def test_the_worker_serves_the_app_of_the_settings(project: Folder) -> None:
    migrate(project)
    manage(project, 'enqueue', '--task', 'shop.tasks.place', '--args', '["one"]')
    assert manage(project, 'run', '--burst').out[0].startswith('placed one False')


@pytest.mark.long
def test_each_kind_of_function_has_its_connections_looked_after(project: Folder) -> None:
    migrate(project)
    for name in ('place', 'place_apart', 'place_async'):
        for number in range(2):
            manage(project, 'enqueue', '--task', f'shop.tasks.{name}', '--args', json.dumps([f'{name}-{number}']))
    told = manage(project, 'run', '--burst', '--concurrency', '1')
    placed = sorted(line for line in told.out if line.startswith('placed'))
    assert [line.split()[1] for line in placed] == [
        f'{name}-{number}' for name in ('place', 'place_apart', 'place_async') for number in range(2)
    ]
    # Each begins without a connection, in the worker's process and in the others.
    assert [line.split()[2] for line in placed if len(line.split()) > 2] == ['False'] * 4
    stats = manage(project, 'stats', '--json')
    assert {json.loads(line)['queue']: json.loads(line)['tasks'] for line in stats.out} == {'shop': 0, 'mail': 0}


@pytest.mark.long
def test_processes_of_the_worker_are_set_up_as_well(project: Folder) -> None:
    migrate(project)
    project.hold()
    with project.command('run', '--processes', '2', '--settings=settings', start=('manage.py', 'torrelque')) as worker:
        worker.wait_for(r'shop\.tasks:app')
        for number in range(8):
            manage(project, 'enqueue', '--task', 'shop.tasks.place', '--args', f'[{number}]')
        placed = worker.wait_for('^placed', 8)
        assert len(placed) == 8
        worker.send(signal.SIGTERM)
        worker.end()


@pytest.mark.long
def test_a_worker_that_is_started_by_torrelque_looks_after_connections_too(project: Folder) -> None:
    migrate(project)
    project.write('config.py', """
        import os

        import django

        os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
        django.setup()

        from shop.tasks import app
    """)
    for number in range(2):
        manage(project, 'enqueue', '--task', 'shop.tasks.place', '--args', f'[{number}]')
    told = project.run('run', 'config:app', '--burst', '--concurrency', '1')
    assert [line.split()[2] for line in told.out if line.startswith('placed')] == ['False', 'False']


@pytest.mark.long
def test_the_line_goes_before_the_settings(project: Folder, server: RealServer) -> None:
    project.write('shop/other.py', """
        from django.conf import settings
        from torrelque.tasks import Tasks

        app = Tasks.from_url(settings.TORRELQUE['URL'], queue='other')
    """)
    other = manage(project, 'stats', '--json', '--app', 'shop.other:app')
    assert [json.loads(line)['queue'] for line in other.out] == ['other']
    named = manage(project, 'stats', '--json', '--url', server.url, '-q', 'third')
    assert [json.loads(line)['queue'] for line in named.out] == ['third']
    assert manage(project, 'run', 'shop.other:app', '--burst').wait_for('shop.other:app')


@pytest.mark.long
def test_several_apps_are_served_together(project: Folder) -> None:
    migrate(project)
    project.write('shop/other.py', """
        from django.conf import settings
        from torrelque.tasks import Tasks

        app = Tasks.from_url(settings.TORRELQUE['URL'], queue='other')

        @app.task
        def say(word):
            print('said', word, flush=True)
    """)
    settings = project.path / 'settings.py'
    settings.write_text(settings.read_text().replace("'shop.tasks:app'", "['shop.tasks:app', 'shop.other:app']"))
    manage(project, 'enqueue', '--task', 'shop.tasks.place', '--args', '["one"]')
    manage(project, 'enqueue', '--task', 'shop.other.say', '--args', '["two"]')
    stats = manage(project, 'stats', '--json')
    assert sorted(json.loads(line)['queue'] for line in stats.out) == ['mail', 'other', 'shop']
    told = manage(project, 'run', '--burst')
    assert sorted(line.split()[0] for line in told.out) == ['placed', 'said']


@pytest.mark.long
def test_queues_of_the_settings_are_what_commands_are_about(project: Folder) -> None:
    settings = project.path / 'settings.py'
    settings.write_text(settings.read_text().replace("'APP': 'shop.tasks:app'", "'QUEUES': ['a', 'b']"))
    stats = manage(project, 'stats', '--json')
    assert [json.loads(line)['queue'] for line in stats.out] == ['a', 'b']
    assert manage(project, 'run', status=2).wait_for('there is nothing to run: name a TARGET')


@pytest.mark.long
def test_help_and_hints_are_of_manage(project: Folder) -> None:
    for words in ([], ['run'], ['stats'], ['redrive']):
        told = manage(project, *words, '--help').out
        assert re.match(rf'usage: python manage\.py torrelque{"".join(f" {word}" for word in words)} \[', told[0])
    told = project.run('help', 'torrelque', start=('manage.py',)).out
    assert told[0].startswith('usage: python manage.py torrelque [')
    assert any('torrelque' in line for line in project.run('help', start=('manage.py',)).out)
    manage(project, 'pause', '-q', 'shop')
    manage(project, 'enqueue', '{}', '-q', 'shop', '--id', 'one')
    told = manage(project, 'why', 'one').out
    assert [line for line in told if 'python manage.py torrelque resume -q shop' in line]


@pytest.mark.long
def test_exit_codes_are_those_of_torrelque(project: Folder) -> None:
    assert manage(project, 'show', 'nothing', '-q', 'shop', status=1)
    assert manage(project, 'no-such-command', status=2)
    away = manage(project, 'stats', status=3, more={'SHOP_URL': 'redis://127.0.0.1:1'})
    assert away.wait_for('cannot be reached')
    settings = project.path / 'settings.py'
    settings.write_text(settings.read_text().replace("'APP'", "'APPS'"))
    wrong = manage(project, 'stats', status=2)
    assert wrong.wait_for("TORRELQUE has an unknown key 'APPS'; did you mean 'APP'")
    assert project.run('check', start=('manage.py',), status=1).wait_for(r'torrelque\.E002')


def test_a_check_of_the_site_reaches_for_no_server(project: Folder) -> None:
    # Nothing listens at this port, and no app is imported.
    (project.path / 'shop' / 'tasks.py').unlink()
    project.run('check', start=('manage.py',), more={'SHOP_URL': 'redis://127.0.0.1:1'})


@pytest.mark.long
def test_it_is_called_from_programs(project: Folder) -> None:
    project.write('program.py', """
        import os

        import django
        from django.core.management import CommandError, call_command

        os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
        django.setup()
        try:
            call_command('torrelque', *os.environ['WORDS'].split())
        except CommandError as exc:
            print('it has ended with', exc.returncode)
    """)
    told = project.run(start=('program.py',), more={'WORDS': 'stats --json'})
    assert [json.loads(line)['queue'] for line in told.out] == ['shop', 'mail']
    told = project.run(start=('program.py',), more={'WORDS': 'show nothing -q shop'})
    assert told.out == ['it has ended with 1']


@pytest.mark.long
def test_the_dashboard_alone_shows_the_queues_of_the_settings(project: Folder) -> None:
    with project.command('dashboard', '--bind', '127.0.0.1:0', start=('manage.py', 'torrelque')) as dashboard:
        url = dashboard.wait_for(r'dashboard of 2 queues at (http://\S+) ')[0][1]
        page = httpx.get(url, timeout=60)
        assert page.status_code == 200
        assert 'shop' in page.text
        dashboard.send(signal.SIGTERM)
        dashboard.end()


@pytest.mark.long
@pytest.mark.skipif(sys.version_info < (3, 12), reason='tasks are of Django 6')
def test_tasks_of_django_are_served(project: Folder) -> None:
    migrate(project)
    settings = project.path / 'settings.py'
    settings.write_text(
        settings.read_text() + "TASKS = {'default': {'BACKEND': 'torrelque.contrib.django.Backend'}}\n"
    )
    project.write('shop/jobs.py', """
        from django.tasks import task

        @task
        def say(word):
            print('said', word, flush=True)
    """)
    project.write('program.py', """
        import os

        import django

        os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
        django.setup()
        from shop.jobs import say

        say.enqueue('hello')
        say.get_backend().app.close()
    """)
    project.run(start=('program.py',))
    stats = manage(project, 'stats', '--json')
    assert {json.loads(line)['queue']: json.loads(line)['tasks'] for line in stats.out} == {
        'shop': 0, 'mail': 0, 'default': 1
    }  # fmt: skip
    told = manage(project, 'run', '--burst')
    assert told.out == ['said hello']
    assert told.wait_for(r'torrelque\.contrib\.django\.served:default')
