"""The examples on a server in its default configuration, as Redis and Valkey are packaged: nothing is notified."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import examples
from support.examples import ROOT, Run
from support.servers import RealServer, selected_kinds
from test_example_groups import FAIR, ORDERED
from test_example_layers import BANK, DOWN, FEW_IMAGES, Visitor

run = examples.run

RUNS = {
    'batch_processing': (('--tasks', 200, '--processes', 1), '200 tasks without work in'),
    'fair_sharing': (FAIR, 'The promise was kept.'),
    'fifo': (('--orders', 1), 'flowers  got   3 webhooks, in order'),
    'gallery': (FEW_IMAGES, 'The proof holds.'),
    'ordered': (ORDERED, 'The proof holds.'),
    'ordered_processes': (BANK, 'The proof holds.'),
    'producer_consumer': (('--tasks', 40, '--pause', 0, '--failures', 0), 'Nothing was lost.'),
    'worker': ((*DOWN, '--tasks', 100), 'Every task is done.'),
}
"""Arguments of a short run, and what it says at its end."""
QUICK = {'batch_processing', 'worker'}
"""Those that are run on such a server every time."""


@pytest.fixture(scope='module')
def module_server() -> Iterator[RealServer]:
    """One kind is enough here."""
    with RealServer(selected_kinds()[-1], {'notify-keyspace-events': '""'}) as server:
        yield server


@pytest.fixture
def server(module_server: RealServer) -> RealServer:
    with module_server.sync_client() as client:
        client.flushall()
    return module_server


def count_keys(server: RealServer) -> int:
    with server.sync_client() as client:
        return int(client.dbsize())


def warns_of_the_setting_only(errors: str) -> bool:
    """Whether a program that was started on such a server has nothing else to complain of."""
    return all('notify-keyspace-events' in line for line in errors.splitlines())


def test_each_example_is_run() -> None:
    files = {path.stem for path in (ROOT / 'example').glob('*.py')}
    # The one whose clock is moved has a server of its own.
    assert files == {*RUNS, 'signup', 'nightly_report'}


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in RUNS]
)
def test_an_example_needs_no_setting(run: Run, server: RealServer, name: str) -> None:
    arguments, end = RUNS[name]
    example = run(name, '--url', server.url, *arguments)
    assert end in example.finish()
    assert warns_of_the_setting_only(example.errors)
    # In one of them a task may fail whatever is done, and is dead then.
    assert count_keys(server) == 0 or name == 'producer_consumer'


@pytest.mark.long
def test_the_example_of_a_sign_up_needs_no_setting(run: Run, server: RealServer, tmp_path: Path) -> None:
    pytest.importorskip('fastapi')
    example = run('signup', '--port', 0, '--mails', tmp_path, '--url', server.url)
    visitor = Visitor(example)
    visitor.wait_for(visitor.sign_up('joe@doe.com'), 'completed')
    example.process.send_signal(signal.SIGTERM)
    example.finish()
    assert warns_of_the_setting_only(example.errors)
