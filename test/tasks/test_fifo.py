"""Strict order: calls of one ordered queue run one at a time, in the order in which they were made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.proxy import Proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus as Status
from torrelque.tasks import Handle, TaskFailedError, Tasks, current
from torrelque.tasks.order import Order
from torrelque.worker import Backoff, Reject, ThreadWorker, Worker

CHILD = Path(__file__).parent / 'fifo_child.py'


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


class Log:
    """What began and ended, in its order."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.running = 0
        self.most = 0

    @contextlib.contextmanager
    def of(self, what: Any) -> Iterator[None]:
        self.begun.append(what)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
        finally:
            self.running -= 1


async def ended(handles: list[Handle[Any]]) -> None:
    for handle in handles:
        await handle.result(60)


async def test_calls_of_a_queue_run_one_at_a_time_in_their_order(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def one(number: int) -> None:
        with log.of(number):
            await asyncio.sleep(0.001)

    @app.fifo(queue='q')
    def other(number: int) -> None:
        with log.of(number):
            pass

    # None is awaited, and the first must make the order.
    handles: list[Handle[Any]] = [(one if n % 3 else other)(n) for n in range(30)]
    assert 'being enqueued' in repr(handles[0])
    with pytest.raises(torrelque.TorrelqueError, match='await the handle'):
        handles[0].id  # noqa: B018
    async with Worker(app, concurrency=10), Worker(app, concurrency=10):
        await ended(handles)
    assert (log.begun, log.most) == ([*range(30)], 1)
    assert await handles[0] is handles[0]


async def test_queues_do_not_wait_for_each_other(app: Tasks) -> None:
    both = [asyncio.Event(), asyncio.Event()]

    def make(mine: int) -> Any:
        @app.fifo(queue=f'q{mine}', name=f'f{mine}')
        async def meet() -> None:
            both[mine].set()
            await both[1 - mine].wait()

        return meet

    handles = [make(0)(), make(1)()]
    async with Worker(app):
        await ended(handles)


async def test_every_way_to_enqueue_keeps_the_order(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def note(number: int) -> None:
        with log.of(number):
            await asyncio.sleep(0)

    numbers = itertools.count()
    note(next(numbers))
    note(next(numbers))
    many = [asyncio.ensure_future(note.map([next(numbers) for _ in range(300)]))]
    await asyncio.sleep(0)
    note(next(numbers))
    await note.enqueue(next(numbers))
    note(next(numbers))
    await note.options(task_timeout=60).enqueue(next(numbers))
    note(next(numbers))
    (last,) = await note.map([next(numbers)])
    await many[0]
    # Synchronous calls have another event loop.
    await note(next(numbers))
    pushed = await asyncio.to_thread(note, next(numbers))
    async with Worker(app, concurrency=10):
        await pushed.result(60)
    assert log.begun == [*range(next(numbers))]
    assert last.id != pushed.id


async def test_the_limit_is_set_before_the_first_task_and_its_rate_is_kept(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    def ordered() -> None: ...

    @app.fifo(queue='other')
    def other() -> None: ...

    await queue.set_limit('fifo:q', concurrency=7, rate=(100, 1))
    await ordered()
    assert (await queue.get_limits()) == {'fifo:q': TorrelqueLimit(1, (100, 1))}
    async with Worker(app):
        for _ in range(1000):
            if 'fifo:other' in await queue.get_limits():
                break
            await asyncio.sleep(0.01)
    assert (await queue.get_limits())['fifo:other'] == TorrelqueLimit(1, None)
    await ordered.options(task_timeout=3).enqueue()
    state = await (await other()).state()
    assert (state.group, state.max_attempts) == ('fifo:other', None)


@pytest.mark.parametrize('kind', ['coroutine', 'thread'])
async def test_one_that_fails_blocks_its_queue_until_it_succeeds(app: Tasks, kind: str) -> None:
    log = Log()
    seen: list[Any] = []

    def work(number: int) -> int:
        with log.of((number, current().attempt)):
            if number == 1 and current().attempt < 4:
                raise ConnectionError('not yet')
            return number

    async def awork(number: int) -> int:
        return work(number)

    function: Any = app.fifo(
        queue='q', retry_wait=0.01, on_error=lambda delivery, error: seen.append(str(error)),
        on_success=lambda delivery, result: seen.append(result),
    )(awork if kind == 'coroutine' else work)  # fmt: skip
    handles = [function(number) for number in range(3)]
    async with Worker(app, max_attempts=2):
        assert [await handle.result(60) for handle in handles] == [0, 1, 2]
    assert log.begun == [(0, 1), (1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    assert seen == [0, 'not yet', 'not yet', 'not yet', 1, 2]


@pytest.mark.parametrize('retries', [0, 2])
async def test_when_its_retries_are_used_up_it_is_dead_and_the_next_begins(app: Tasks, retries: int) -> None:
    log = Log()
    dead: list[str] = []

    @app.fifo(
        queue='q', max_retries=retries, retry_wait=Backoff(base=0.01), on_dead=lambda one, error: dead.append(one.id)
    )
    async def work(number: int) -> None:
        with log.of(number):
            if number == 1:
                raise ValueError('never')

    handles = [work(number) for number in range(3)]
    async with Worker(app):
        await handles[2].result(60)
        with pytest.raises(TaskFailedError, match='ValueError: never'):
            await handles[1].result(60)
    assert log.begun == [0, *[1] * (retries + 1), 2]
    assert dead == [handles[1].id]


async def test_a_rejected_one_is_dead_at_once(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def work(number: int) -> None:
        with log.of(number):
            if number == 0:
                raise Reject('no')

    handles = [work(number) for number in range(2)]
    async with Worker(app):
        await handles[1].result(60)
    assert log.begun == [0, 1]
    assert (await handles[0].state()).status is Status.DEAD


async def test_a_cancelled_one_is_left_out(app: Tasks) -> None:
    log = Log()

    @app.fifo(queue='q')
    async def work(number: int) -> None:
        with log.of(number):
            pass

    handles = [work(number) for number in range(4)]
    assert await handles[1].cancel()
    async with Worker(app):
        await handles[3].result(60)
    assert log.begun == [0, 2, 3]


@pytest.mark.parametrize(
    'options',
    [{'queue': ''}, {'queue': 1}, {'max_retries': -2}, {'max_retries': 1.5}, {'retry_wait': -1}, {'timeout': 0}],
)
def test_a_decorator_refuses_what_cannot_be_meant(app: Tasks, options: Any) -> None:
    with pytest.raises((torrelque.TorrelqueTypeError, torrelque.TorrelqueValueError)):
        app.fifo(**{'queue': 'q', **options})
    function: Any = app.fifo(queue='q')(len)
    with pytest.raises(torrelque.TorrelqueTypeError, match='ordered'):
        function.options(group='other')
    with pytest.raises(torrelque.TorrelqueTypeError, match='ordered'):
        function.options(priority=1)


# Errors


async def test_an_error_of_enqueueing_is_raised_where_it_is_awaited(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    async def work(value: object) -> None: ...

    good, bad, other = work(1), work(object()), work(2)
    with pytest.raises(torrelque.TorrelqueTypeError, match='cannot be serialised'):
        await bad
    with pytest.raises(torrelque.TorrelqueTypeError):
        bad.id  # noqa: B018
    with pytest.raises(torrelque.TorrelqueTypeError):
        await bad.result()
    await other
    assert [task['args'] for _, task in [await queue.dequeue(0)]] == [[1]]
    assert (await good.state()).status is Status.WORKING


async def test_an_error_of_enqueueing_that_nobody_awaits_is_logged(
    app: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    @app.fifo(queue='q')
    async def work(value: object) -> None: ...

    work(object())
    await work(1)
    gc.collect()
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(0)
    (record,) = [record for record in caplog.records if record.name == 'asyncio']
    assert 'enqueueing test_fifo.' in record.getMessage() and 'never retrieved' in record.getMessage()


async def test_the_first_call_fails_and_the_second_makes_the_order(
    server: RealServer, proxy: Proxy, queue_name: str
) -> None:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        app = Tasks(queue)

        @app.fifo(queue='q')
        async def work(value: object) -> None: ...

        bad, good = work(object()), work(2)
        await good
        with pytest.raises(torrelque.TorrelqueTypeError):
            await bad
        assert (await queue.get_limits())['fifo:q'].concurrency == 1


async def test_who_is_cancelled_does_not_take_the_call_back(app: Tasks) -> None:
    @app.fifo(queue='q')
    async def work() -> int:
        return 1

    handle = work()

    async def wait() -> None:
        await handle

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    async with Worker(app):
        assert await handle.result(60) == 1
    assert waiting.cancelled()


async def test_a_handle_that_is_on_its_way_is_awaited_in_another_loop(app: Tasks) -> None:
    @app.fifo(queue='q')
    async def noop() -> None: ...

    handle = noop()

    async def wait() -> str:
        return (await handle).id

    task_id = await asyncio.to_thread(asyncio.run, wait())
    assert (await handle.state()).status is Status.PENDING
    assert handle.id == task_id


async def test_closing_waits_for_calls_that_are_on_their_way(app: Tasks, queue: Torrelque) -> None:
    @app.fifo(queue='q')
    async def work(number: int) -> None: ...

    for number in range(500):
        work(number)
    await app.aclose()
    assert (await queue.get_queue_stats()).tasks == 500


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


@pytest.mark.first_server
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
