"""Acts at a terminal: the question before, the progress meanwhile, and the end by a key."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.acting import bury_all, recorded
from support.servers import RealServer
from support.terminal import Terminal, open_terminal
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus

pytestmark = [pytest.mark.one_server, pytest.mark.long]

LONG = pytest.mark.long
ASKED = rb'\[y/N\] $'


@contextmanager
def torrelque(server: RealServer, queue: Torrelque, *words: str) -> Iterator[Terminal]:
    environment = {**os.environ, 'TORRELQUE_URL': server.url, 'TORRELQUE_QUEUE': queue.name}
    with open_terminal(['-m', 'torrelque', *words], environment) as terminal:
        yield terminal


async def dead(queue: Torrelque) -> int:
    return (await queue.get_queue_stats()).dead


async def test_several_tasks_are_counted_and_changed_when_somebody_says_yes(
    server: RealServer, queue: Torrelque
) -> None:
    await bury_all(queue, [*range(3)])
    with torrelque(server, queue, 'redrive', '--error', 'KeyError', '--rate', '60') as terminal:
        terminal.wait_for(ASKED)
        assert b'3 of 3 dead tasks match.  At 60 a second this takes 50ms.  Are they to be red' in terminal.written
        assert await dead(queue) == 3
        terminal.type(b'y\n')
        assert terminal.end().rstrip().endswith(b'3 redriven')
    assert await dead(queue) == 0


@pytest.mark.parametrize(
    'answer', [b'n\n', *(pytest.param(keys, marks=LONG) for keys in (b'\n', b'yesterday\n', b'\x04'))]
)
async def test_nothing_is_changed_by_any_other_answer(answer: bytes, server: RealServer, queue: Torrelque) -> None:
    await bury_all(queue, [*range(2)])
    with torrelque(server, queue, 'redrive') as terminal:
        terminal.wait_for(ASKED)
        terminal.type(answer)
        assert terminal.end(1).rstrip().endswith(b'nothing was changed')
    assert await dead(queue) == 2 and await recorded(queue) == []


async def test_who_has_agreed_to_some_tasks_has_not_agreed_to_those_that_come(
    server: RealServer, queue: Torrelque
) -> None:
    first = [str(await queue.enqueue(n, group='acme')) for n in range(2)]
    with torrelque(server, queue, 'cancel', '--group', 'acme', '--older', '0.001') as terminal:
        terminal.wait_for(ASKED)
        assert b'2 of 2 pending or delayed tasks match' in terminal.written
        later = [str(await queue.enqueue(n, group='acme')) for n in range(9)]
        terminal.type(b'y\n')
        assert terminal.end().rstrip().endswith(b'2 cancelled')
    found = [(await queue.get_task_state(task_id)).status for task_id in [*first, *later]]
    assert found == [TorrelqueTaskStatus.CANCELLED] * 2 + [TorrelqueTaskStatus.PENDING] * 9


@LONG
async def test_the_default_of_all_groups_is_set_when_somebody_says_yes(server: RealServer, queue: Torrelque) -> None:
    await queue.enqueue('a')
    for answer, code, limits in ((b'n\n', 1, {}), (b'y\n', 0, {None: TorrelqueLimit(4, None)})):
        with torrelque(server, queue, 'limit', '--concurrency', '4') as terminal:
            terminal.wait_for(ASKED)
            terminal.type(answer)
            terminal.end(code)
        assert await queue.get_limits() == limits


@LONG
async def test_one_task_is_changed_without_a_question(server: RealServer, queue: Torrelque) -> None:
    await bury_all(queue, ['a'])
    with torrelque(server, queue, 'redrive') as terminal:
        assert b'[y/N]' not in terminal.end()
    assert await dead(queue) == 0


@LONG
async def test_ctrl_c_at_the_question_changes_nothing(server: RealServer, queue: Torrelque) -> None:
    await bury_all(queue, [*range(2)])
    with torrelque(server, queue, 'redrive') as terminal:
        terminal.wait_for(ASKED)
        terminal.type(b'\x03')
        terminal.end(130)
    assert await dead(queue) == 2


@pytest.mark.parametrize('how', ['key', 'SIGHUP', pytest.param('SIGTERM', marks=LONG)])
async def test_an_act_that_is_ended_tells_what_it_did_and_is_on_record(
    how: str, server: RealServer, queue: Torrelque
) -> None:
    count = 400
    await bury_all(queue, [*range(count)])
    with torrelque(server, queue, 'redrive', '--yes', '--rate', '40') as terminal:
        terminal.wait_for(rb'(?<!\d)[1-9]\d* redriven')
        assert b'^C ends it' in terminal.written
        if how == 'key':
            terminal.type(b'\x03')
        else:
            os.kill(terminal.process.pid, getattr(signal, how))
        said = terminal.end(130)
    found = re.findall(rb'(\d+) redriven\n(?:\x1b\S*)?it was ended; the same command does the rest', said)
    done = count - await dead(queue)
    assert [int(number) for number in found] == [done] and 0 < done < count
    assert await recorded(queue) == [('redrive', 'all', done)]
    with torrelque(server, queue, 'redrive', '--yes') as terminal:
        assert f'{count - done} redriven'.encode() in terminal.end()
    assert await dead(queue) == 0
