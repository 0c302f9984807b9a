"""What is made of a file: queues and workers, which do their tasks."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator

import pytest

from support.configuring import EXAMPLE, Desk
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueError, TorrelqueFullError
from torrelque.config import Config
from torrelque.worker import Backoff, Breaker

pytestmark = pytest.mark.first_server

APP = """
    from torrelque.tasks import Tasks

    done = []
    app = Tasks.from_url(queue={0!r})
    other = Tasks.from_url(queue='other')


    def make():
        return app


    @app.task
    async def send(word):
        done.append(word)


    @app.task(queue={0!r} + '-late')
    async def late(word):
        done.append(word)


    async def handle(delivery):
        done.append(delivery.task)
"""


@pytest.fixture
def here(desk: Desk, server: RealServer, queue_name: str) -> Iterator[Desk]:
    """A directory with an application, on the server of the test."""
    desk.monkeypatch.setenv('REDIS_URL', server.url)
    desk.write(APP.format(queue_name), 'configured.py')
    importlib.invalidate_caches()
    yield desk
    sys.modules.pop('configured', None)


async def test_a_worker_of_a_handler_does_its_tasks(here: Desk, queue_name: str) -> None:
    config = here.load(f"""
        [queues.{queue_name}]
        max_tasks = 2
        task_timeout = "1m"
        serialiser = "pickle"
        [workers.one]
        handler = "configured:handle"
        queues = {{ {queue_name} = 2, {queue_name}-more = 1 }}
        steal = ["{queue_name}-late"]
        concurrency = 3
    """)
    queue = config.queues[queue_name].make()
    assert (queue.serialiser, queue.task_timeout, queue.max_tasks) == (pickle, 60, 2)
    await queue.enqueue({'a': {1, 2}})
    await queue.enqueue(2)
    with pytest.raises(TorrelqueFullError):
        await queue.enqueue(3)
    worker = config.workers['one'].make()
    assert [one.name for one in worker.queues] == [queue_name, f'{queue_name}-more', f'{queue_name}-late']
    assert worker.concurrency == 3 and worker.name.startswith('one-')
    async with worker:
        while (await queue.get_queue_stats()).tasks:
            await queue.sweep()
    from configured import done  # type: ignore[import-not-found]

    assert done == [{'a': {1, 2}}, 2]
    assert worker.queues[0].client is queue.client
    await config.aclose()
    with pytest.raises(TorrelqueError, match='closed'):
        await queue.get_queue_stats()


@pytest.mark.parametrize('target', ['configured:app', 'configured:make'])
async def test_a_worker_of_an_app_does_its_tasks(here: Desk, target: str, queue: Torrelque) -> None:
    config = here.load(f"""
        [workers.all]
        app = "{target}"
        [workers.some]
        app = "{target}"
        queues = ["{queue.name}-late"]
        [workers.both]
        app = "configured:app, configured:other"
        [workers.no]
        app = "configured:app,configured:other"
        steal = "x"
    """)
    names = [queue.name, f'{queue.name}-late']
    some = config.workers['some'].make()
    assert [one.name for one in some.queues] == names[1:]
    assert [one.name for one in config.workers['both'].make().queues] == [*names, 'other']
    with pytest.raises(TorrelqueError, match=r'workers\.no: queues and steal are for one app alone'):
        config.workers['no'].make()
    from configured import done, late, send

    worker = config.workers['all'].make()
    async with worker:
        for handle in (await send.enqueue('a'), await late.enqueue('b')):
            await handle.result(timeout=60)
    assert sorted(done) == ['a', 'b']
    await sys.modules['configured'].app.aclose()


def test_arguments_of_a_worker_are_those_of_the_file(desk: Desk) -> None:
    workers = desk.load(EXAMPLE).workers
    mail, bulk = workers['mail'].arguments(), workers['bulk'].arguments()
    assert mail.pop('name').startswith('mail-') and bulk.pop('name').startswith('bulk-')
    assert mail == {
        'concurrency': 50, 'retry': Backoff(base=2, cap=3600), 'breaker': Breaker(failures=5, pause=30), 'heartbeat': 5,
    }  # fmt: skip
    assert bulk == {'rate': (100, 1), 'max_attempts': 5, 'timeout': 600, 'run_in': 'process', 'heartbeat': 5}


@pytest.mark.parametrize(
    'target, told',
    [
        ('app = "nowhere:app"', "nowhere:app cannot be imported: No module named 'nowhere'"),
        ('app = "configured:none"', 'configured:none cannot be imported: .* has no attribute'),
        ('app = "configured:done"', 'configured:done is no app: list'),
    ],
)
def test_what_cannot_be_made_is_told(here: Desk, target: str, told: str) -> None:
    with pytest.raises(TorrelqueError, match=told):
        here.load(f'[workers.w]\n{target}\n').workers['w'].make()


def test_a_repr_has_no_secret(desk: Desk) -> None:
    config = desk.load('[server]\nurl = "redis://a:secret@b"\n[workers.w]\napp = "a:b"\n[queues.q]\n')
    assert 'secret' not in repr([config, config.workers['w'], config.queues['q']])
    assert isinstance(config, Config)
