"""The fixture that puts a test's queue under an app, in runs of its own."""

from __future__ import annotations

import pytest

from support import plugged
from support.plugged import Run

run = plugged.run

APP = """
import asyncio
import pytest
from torrelque.tasks import Tasks, current
from torrelque.testing import run_until_idle
from torrelque.worker import ThreadWorker

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')

@app.task(queue='urgent')
def where():
    return current().queue.name

@pytest.fixture(autouse=True)
def under(torrelque_using):
    torrelque_using(app)

def tell(server, queue):
    with open('told', 'a') as file:
        print(server.pid, queue.name, file=file)
"""
ASYNCHRONOUS = """
{mark}

@pytest.mark.parametrize('number', range(3))
async def test_asynchronous(torrelque_server, torrelque_queue, torrelque_clock, number):
    tell(torrelque_server, torrelque_queue)
    handle = await where.options(delay=3600).enqueue()
    await torrelque_clock.move(3600)
    assert await run_until_idle(app, clock=torrelque_clock) == 0
    assert await handle.result(60) == torrelque_queue.name + '.urgent'
"""
SYNCHRONOUS = """
def test_synchronous(torrelque_server, torrelque_queue):
    tell(torrelque_server, torrelque_queue)
    handle = where.push()
    with ThreadWorker(app):
        assert handle.wait_result(60) == torrelque_queue.name + '.urgent'

def test_nothing_is_left(torrelque_server):
    assert app._loops.ground is not None
    with torrelque_server.sync_client() as client:
        assert [key for key in client.keys() if b'urgent' in key] == []
"""
BACKEND = """
@pytest.fixture
def anyio_backend():
    return 'asyncio'
"""


@pytest.mark.parametrize(
    ('mark', 'plugins', 'options'),
    [
        ('', ('pytest_asyncio.plugin',), ('asyncio_mode=auto',)),
        pytest.param(
            '@pytest.mark.asyncio(loop_scope="session")', ('pytest_asyncio.plugin',), (), marks=pytest.mark.long
        ),
        (f'{BACKEND}\n@pytest.mark.anyio', ('anyio.pytest_plugin',), ()),
    ],
    ids=['asyncio', 'loop of the session', 'anyio'],
)
@pytest.mark.long
def test_the_fixture_puts_the_queue_under_an_app(
    run: Run, mark: str, plugins: tuple[str, ...], options: tuple[str, ...]
) -> None:
    if 'anyio' in mark:
        pytest.importorskip('anyio')
    else:
        options = (*options, 'asyncio_default_fixture_loop_scope=function')
    words = [word for option in options for word in ('-o', option)]
    run(APP + ASYNCHRONOUS.format(mark=mark) + SYNCHRONOUS, *words, plugins=plugins, passed=5)
    assert len({*run.told()[1]}) == 4


def test_the_fixture_in_tests_that_are_not_asynchronous(run: Run) -> None:
    run(APP + SYNCHRONOUS, passed=2)


@pytest.mark.long
def test_tests_at_the_same_time_have_queues_of_their_own(run: Run) -> None:
    pytest.importorskip('xdist')
    run(APP + SYNCHRONOUS.replace('():', '(n):'), '-n', '2', plugins=('xdist.plugin',), passed=2)
