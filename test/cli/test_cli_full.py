"""Standard output on a disk that is full: each command says so in a line, and ends with a status that is not 0."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from support.acting import Commands, bury_all
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.operate import Operator, note

FULL = Path('/dev/full')

pytestmark = [pytest.mark.one_server, pytest.mark.skipif(not FULL.exists(), reason='Linux')]

SAID = 'torrelque: standard output cannot be written: No space left on device\n'
COMMANDS = (
    'stats', 'stats --json', 'stats --watch 0.1s', 'queues', 'tasks', 'tasks --json',
    'show one', 'show one --json', 'why', 'why one', 'why --json', 'errors', 'groups', 'acts', 'check --dead 0',
    'doctor', 'doctor --json', 'pause', 'limit', 'limit acme --concurrency 3', 'sweep', 'enqueue [1]',
    'redrive --yes', 'redrive --yes --json', 'redrive --dry-run', 'cancel one', 'requeue one', 'bury one',
    'watch one', 'completion bash', '--version', '--help', 'tasks --help',
)  # fmt: skip


@pytest.fixture
def full() -> Iterator[TextIO]:
    with FULL.open('w') as file:
        yield file
        # What could not be written is not to be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


@pytest.mark.parametrize('words', COMMANDS)
async def test_what_cannot_be_written_is_said_in_a_line(
    words: str, queue: Torrelque, command: Commands, full: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury_all(queue, [1], 'KeyError: 1', task_id='one', group='acme')
    await queue.enqueue(2, group='acme')
    await Operator(queue).record('enqueue', 'something', 1)
    await note(queue)
    monkeypatch.setattr(sys, 'stdout', full)
    assert (await command(*words.split(), code=1)).err == SAID


async def test_all_lines_are_enqueued_though_their_ids_cannot_be_written(
    queue: Torrelque, command: Commands, full: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'stdout', full)
    said = await command('enqueue', '--lines', given='1\n' * 700, code=1)
    assert said.err == '700 tasks are enqueued, though nobody has read all of their ids\n' + SAID
    assert (await queue.get_queue_stats()).tasks == 700


@pytest.mark.parametrize('words', ['stats', 'stats --json', 'enqueue 1', '--help'])
@pytest.mark.long
def test_python_has_nothing_to_add(words: str, server: RealServer, queue_name: str) -> None:
    environment = {**os.environ, 'TORRELQUE_URL': server.url, 'TORRELQUE_QUEUE': queue_name}
    call = [sys.executable, '-m', 'torrelque', *words.split()]
    with FULL.open('w') as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 1 and done.stderr.endswith(SAID)
    assert len(done.stderr.splitlines()) <= 2
