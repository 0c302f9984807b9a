"""Ids of new tasks: no two are the same, whatever threads and forks there are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from torrelque.codec import JSON
from torrelque.protocol import ids
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.calls import Calls
from torrelque.protocol.ids import Ids

THREADS, EACH = 8, 5_000
forks = pytest.mark.skipif(not hasattr(os, 'fork'), reason='there are no forks')

# Some ids of this process; then it forks, and both go on and make more.  Each prints what it has made as one line.
FORK = """
import os
from torrelque.protocol import ids

def show(count):
    os.write(1, (' '.join(new.new() for _ in range(count)) + '\\n').encode())

def fork():
    if os.fork():
        os.wait()

new = ids.Ids()
show(10)
"""
AT_ONCE = """
fork()
"""
# As where the handler of a signal forks just when the pool is being filled, and both come back from it.
WHILE_DRAWING = """
draw = ids.draw

def draw_and_fork():
    ids.draw, fresh = draw, draw()
    fork()
    return fresh

ids.draw = draw_and_fork
ids.forget()
"""
END = """
show(2 * ids.MANY)
"""


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_an_id_has_32_hexadecimal_digits_or_28_and_what_it_ends_with() -> None:
    plain, ending = Ids().new(), Ids('.07').new()
    assert len(plain) == 32 and len(ending) == 28 + 3 and ending.endswith('.07')
    assert int(plain, 16) and int(ending[:28], 16)
    assert (plain.attempt, plain.token, plain.group, plain.timeout, plain.probe) == (None, '', None, None, False)


def test_all_that_a_queue_object_makes_ends_as_its_ids_do() -> None:
    calls = Calls('q', JSON, None)
    calls.ids.suffix = '-3'
    task = calls.enqueue('task', 300, None, None, None, None, 0)
    many = calls.enqueue_many(300, None, None, None, 0)
    many.add('task')
    made = [task.task_id, calls.depend(task, ['other']).args[0], many.take_call()[0]]
    assert [str(one)[28:] for one in made] == ['-3'] * 3
    assert calls.enqueue('task', 300, None, 'own', None, None, 0).task_id == 'own'


def test_no_two_of_a_thousand_draws_are_the_same() -> None:
    new = Ids()
    assert len({new.new() for _ in range(1000 * ids.MANY)}) == 1000 * ids.MANY


@pytest.mark.usefixtures('restless')
def test_no_two_threads_get_the_same_id() -> None:
    found: list[list[str]] = []
    together = threading.Barrier(THREADS)

    def make() -> None:
        new = Ids()
        together.wait()
        found.append([new.new() for _ in range(EACH)])

    threads = [threading.Thread(target=make) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for some in found for one in some}) == THREADS * EACH


@forks
@pytest.mark.parametrize('program', [AT_ONCE, WHILE_DRAWING], ids=['at once', 'while drawing'])
def test_a_fork_has_no_id_of_the_process_that_it_came_from(program: str) -> None:
    ran = subprocess.run(
        [sys.executable, '-c', FORK + program + END], check=True, stdout=subprocess.PIPE, timeout=60,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )  # fmt: skip
    first, *both = (line.split() for line in ran.stdout.decode().splitlines())
    assert len(both) == 2 and all(len(some) == 2 * ids.MANY for some in both)
    assert len({*first, *both[0], *both[1]}) == 10 + 4 * ids.MANY


def test_nothing_of_the_pool_is_used_once_it_is_forgotten() -> None:
    Ids().new()
    left = set(ids._pool)
    ids.forget()
    assert left and not left & {Ids().new() for _ in range(2 * BOUNDS.bulk)}
