"""The example of workers by a file: what it promises holds, and nothing of it goes on, however it ends."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import pytest

from support import examples
from support.examples import ROOT, Example, Run, server_of
from support.processes import wait_end
from torrelque.config import Config

run = examples.run

FOLDER = ROOT / 'example' / 'monitored'
TRACE = """
trace       POST /orders
              enqueue order
                ~ process order, attempt 1: retried, ConnectionError
                  ask the bank
                ~ process order, attempt 2: released
                  ask the bank
"""


def find_server(example: Example) -> int:
    """Process id of the embedded server, when both workers are there."""
    port = example.wait_for(r'server at port (\d+)')[1]
    example.wait_for('^ready .* mail and images')
    return server_of(f'redis://127.0.0.1:{port}')


def test_its_file_needs_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('PORT', 'HEALTH_PORT', 'OPS_WEBHOOK', 'DATA'):
        monkeypatch.delenv(name, raising=False)
    config = Config.load(FOLDER / 'torrelque.toml')
    assert [*config.workers] == ['mail', 'images']
    assert config.sections.server.url == 'redis://127.0.0.1:7399'
    # Whoever follows the example has the data there, and commits none of it.
    assert f'\n/example/monitored/{config.sections.server.embedded}/\n' in (ROOT / '.gitignore').read_text()


@pytest.mark.long
def test_workers_are_measured_a_killed_one_is_told_of_and_a_trace_leads_to_the_end(run: Run) -> None:
    example = run('monitored/__main__')
    server = find_server(example)
    told = example.finish()
    assert re.search(r'^ +12  torrelque_attempts_total retried mail send$', told, re.M)
    assert re.search(r'^ +8  torrelque_attempts_total succeeded image \*none$', told, re.M)
    killed, successor = re.findall(r'(mail-\S+)(?:$| is in its place)', told, re.M)
    assert killed != successor
    assert re.search(r'^webhook +FIRING: stuck on mail: .* 1 was lost', told, re.M)
    assert TRACE in told
    assert example.lines[-3:] == ['metrics     yes', 'alert       yes', 'trace       yes']
    assert example.errors == ''
    wait_end(server)


@pytest.mark.long
@pytest.mark.whole
def test_a_trace_that_breaks_off_is_told(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / 'monitored', ignore=shutil.ignore_patterns('data', '__pycache__'))
    orders = copy / 'orders.py'
    right, wrong = 'middleware=[telemetry.middleware]', 'middleware=[]'
    assert right in orders.read_text()
    orders.write_text(orders.read_text().replace(right, wrong))
    example = run(copy / '__main__')
    assert example.finish(1).endswith('metrics     yes\nalert       yes\ntrace       NO')


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_it_has_started(run: Run, number: signal.Signals) -> None:
    example = run('monitored/__main__')
    server = find_server(example)
    example.process.send_signal(number)
    example.finish()
    assert example.errors == ''
    wait_end(server)
