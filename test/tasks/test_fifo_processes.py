"""Strict order among threads and processes, one of which is killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from support import ordering
from support.ordering import Log, ended
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.tasks import Handle, Tasks
from torrelque.tasks.order import Order
from torrelque.worker import ThreadWorker, Worker

pytestmark = pytest.mark.long

app = ordering.app


CHILD = Path(__file__).parent / 'fifo_child.py'


# The order of calls


async def test_an_order_starts_calls_in_turn_whatever_becomes_of_them() -> None:
    order, began = Order(), list[int]()
    gates = [asyncio.Event() for _ in range(8)]

    def call(number: int) -> Callable[[], Any]:
        async def run() -> int:
            began.append(number)
            if number == 0:
                order.open()
            await gates[number].wait()
            if number == 3:
                raise ValueError
            return number

        return run

    tasks = [order.add(call(number), 'x', alone=number == 5) for number in range(8)]
    tasks[2].cancel()
    await asyncio.sleep(0.01)
    assert began == [0]
    gates[0].set()
    await tasks[0]
    await asyncio.sleep(0.01)
    assert began == [0, 1, 3, 4]
    tasks[6].cancel()
    for number in (4, 3, 1):
        assert 5 not in began
        gates[number].set()
        await asyncio.wait([tasks[number]])
    await asyncio.sleep(0.01)
    assert began == [0, 1, 3, 4, 5]
    late = order.add(call(7), 'late')
    gates[5].set()
    gates[7].set()
    await late
    assert began == [0, 1, 3, 4, 5, 7, 7]
    assert isinstance(tasks[3].exception(), ValueError)
    assert not order.tasks


# Threads and processes


@pytest.mark.parametrize('embedded', [True, False])
def test_threads_keep_their_own_order(server: RealServer, queue_name: str, embedded: bool) -> None:
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    log = Log()

    @app.fifo(queue='q')
    def work(caller: int, number: int) -> None:
        with log.of((caller, number)):
            pass

    handles: list[Handle[Any]] = []

    def call(caller: int) -> None:
        handles.extend([work(caller, number) for number in range(50)])

    worker = ThreadWorker(app, concurrency=10)
    if embedded:
        worker.start()
    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not embedded:
        worker.start()
    for handle in handles:
        handle.wait_result(60)
    worker.stop()
    app.close()
    assert log.most == 1
    assert sorted(log.begun) == [(caller, number) for caller in range(4) for number in range(50)]
    for caller in range(4):
        assert [number for one, number in log.begun if one == caller] == [*range(50)]


async def test_synchronous_and_other_callers_share_a_queue(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def work(caller: str, number: int) -> None:
        with log.of((caller, number)):
            pass

    def call(caller: str) -> list[Handle[None]]:
        return [work(caller, number) for number in range(50)]

    async def acall(caller: str) -> list[Handle[None]]:
        return [await work(caller, number) for number in range(50)]

    async with Worker(app):
        threads = [asyncio.to_thread(call, caller) for caller in 'ac']
        groups = await asyncio.gather(*threads, acall('b'), acall('d'))
        await ended([handle for group in groups for handle in group] + call('e'))
    for caller in 'abcde':
        assert [number for one, number in log.begun if one == caller] == [*range(50)]
    assert log.most == 1


def test_a_task_calls_the_next_from_its_thread(server: RealServer, queue_name: str) -> None:
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    over = threading.Event()
    log = Log()

    @app.fifo(queue='q')
    def work(number: int) -> None:
        with log.of(number):
            if number == 5:
                over.set()
            else:
                work(number + 1)

    with ThreadWorker(app):
        work(0)
        assert over.wait(60)
    app.close()
    assert (log.begun, log.most) == ([*range(6)], 1)


async def start(server: RealServer, queue: Torrelque, *args: str) -> asyncio.subprocess.Process:
    path = f'{CHILD.parents[2]}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    environ = {**os.environ, 'FIFO_URL': server.url, 'FIFO_QUEUE': queue.name, 'PYTHONPATH': path}
    return await asyncio.create_subprocess_exec(
        sys.executable, '-W', 'error', str(CHILD), *args, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.mark.one_server
async def test_processes_keep_the_order_when_one_is_killed_in_the_middle(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    callers, calls = 'xyz', 60
    total = len(callers) * calls
    workers = {child.pid: child for child in [await start(server, queue, 'work') for _ in range(3)]}
    for child in workers.values():
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b'ready\n'
    calling = [await start(server, queue, 'call', caller, str(calls)) for caller in callers]

    async def lines() -> list[list[str]]:
        found: list[Any] = await client.lrange('log', 0, -1)
        return [line.decode().split() for line in found]

    killed = 0
    log: list[list[str]] = []
    async with asyncio.timeout(90) if sys.version_info >= (3, 11) else contextlib.nullcontext():
        while sum(line[0] == 'end' for line in log) < total:
            log = await lines()
            if not killed and len(log) > total // 2 and log[-1][0] == 'begin':
                # Whoever works now, maybe just done.
                killed = int(log[-1][3])
                os.kill(killed, signal.SIGKILL)
            await asyncio.sleep(0.002)
    for child in calling:
        assert await asyncio.wait_for(child.wait(), 60) == 0
    for pid, worker in workers.items():
        await asyncio.wait_for(worker.communicate(b''), 60)
        assert worker.returncode == (-signal.SIGKILL if pid == killed else 0)
    assert killed
    log = await lines()
    begun = [(caller, int(number)) for what, caller, number, _ in log if what == 'begin']
    # The task of the dead is run again, at once after itself.
    runs = [one for one, _ in itertools.groupby(begun)]
    assert len(begun) - len(runs) <= 1
    assert sorted(runs) == [(caller, number) for caller in callers for number in range(calls)]
    for caller in callers:
        assert [number for one, number in runs if one == caller] == [*range(calls)]
    # One at a time: who begins ends before another begins, unless it was killed.
    for before, after in itertools.pairwise(log):
        if after[0] == 'begin':
            assert before[0] == 'end' or before[3] == str(killed)
        else:
            assert before == ['begin', *after[1:]]
    assert len({pid for *_, pid in log}) > 1
    assert (await queue.get_group_stats('fifo:log')).limit == 1
    assert (await queue.get_queue_stats()).tasks == 0
    assert math.isclose(await client.llen('log'), 2 * total + len(begun) - len(runs), abs_tol=1)
