"""Decorated tasks: what a handle tells, processes, event loops and threads, and the types that a checker sees."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import fifo_child
import torrelque
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError
from torrelque.tasks import TaskFailedError, Tasks
from torrelque.worker import ThreadWorker, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


def add(left: int, right: int = 1, *, sign: int = 1) -> int:
    return sign * (left + right)


# In a process


@pytest.fixture
def child_app(server: RealServer, queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    app = Tasks(queue)
    for function in (fifo_child.pid_and, fifo_child.exact, fifo_child.wrapped):
        app.task(run_in='process', max_attempts=1, result_ttl=60)(function.function)
    return app


async def test_a_function_runs_in_a_process(child_app: Tasks) -> None:
    good = await child_app.enqueue('fifo_child.pid_and', 7, 8)
    bad = await child_app.enqueue('fifo_child.pid_and', fail=True)
    # Another version of the function may have other arguments.
    unfit = await child_app.queue.enqueue({'task': 'fifo_child.exact', 'args': [1, 2]})
    await drain(child_app, concurrency=1)
    pid, *rest = await good.result(60)
    assert pid != os.getpid() and rest == [1, 7, 8]
    assert (await good.state()).progress == {'values': 2}
    with pytest.raises(TaskFailedError, match='ValueError: as told'):
        await bad.result(60)
    wrapped = await child_app.enqueue('fifo_child.wrapped', 9)
    await drain(child_app, concurrency=1)
    assert await wrapped.result(60) == [1, 9]
    error = (await child_app.queue.get_task_state(unfit)).error or ''
    assert 'the arguments are not those of fifo_child.exact' in error


async def test_a_function_that_no_process_finds_is_refused(app: Tasks) -> None:
    @app.task(run_in='process', max_attempts=1)
    def inside() -> None: ...

    handle = await inside.enqueue()
    await drain(app)
    with pytest.raises(TaskFailedError, match='must be a function of a module'):
        await handle.result(60)


@pytest.mark.parametrize('how', [['fifo_child.py'], ['-m', 'fifo_child']])
async def test_a_main_program_runs_its_functions_in_a_process(
    server: RealServer, queue: Torrelque, how: list[str]
) -> None:
    environ = {**os.environ, 'FIFO_URL': server.url, 'FIFO_QUEUE': queue.name}
    folder = Path(__file__).parent
    environ['PYTHONPATH'] = f'{folder.parents[1]}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    child = await asyncio.create_subprocess_exec(
        sys.executable, '-W', 'error', *how, 'here', cwd=folder, env=environ, stdout=subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, out) == (0, b'fifo_child.pid_and 1 1 2\n')


# Handles


async def test_a_task_that_returned_nothing_is_known_to_its_caller(queue: Torrelque) -> None:
    app = Tasks(queue, keep=0)

    @app.task
    async def nothing() -> None: ...

    handle = await nothing.enqueue()
    waiting = asyncio.ensure_future(handle.result(60))
    await drain(app)
    assert await waiting is None  # type: ignore[func-returns-value]
    assert await handle.result() is None  # type: ignore[func-returns-value]
    with pytest.raises(torrelque.TorrelqueLookupError):
        await app.handle(handle.id).result()
    with pytest.raises(torrelque.TorrelqueLookupError):
        await handle.state()


@pytest.mark.parametrize('keep', [0, 0.001])
async def test_a_result_that_may_be_gone_is_not_told_to_be_none(queue: Torrelque, keep: float) -> None:
    queue.result_ttl = 0.001
    app = Tasks(queue, keep=keep)
    function = app.task(add)
    handle = await function.enqueue(1)
    waiting = asyncio.ensure_future(handle.result(60))
    await asyncio.sleep(0)
    # What watches later has read the state no sooner.
    await anext(queue.watch(handle.id))
    await drain(app)
    await waiting
    with pytest.raises(torrelque.TorrelqueLookupError):
        for _ in range(1000):
            await handle.result(0)
            await asyncio.sleep(0.01)


async def test_a_result_is_waited_for_so_long(app: Tasks) -> None:
    handle = await app.task(add).enqueue(1)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await handle.result(0.01)
    waiting = asyncio.ensure_future(handle.result(60))
    await drain(app)
    assert await waiting == 2
    assert await app.handle(handle.id).result() == 2


async def test_who_waits_is_told_of_death_and_cancellation(app: Tasks) -> None:
    @app.task(max_attempts=2, retry=0)
    async def fail() -> None:
        raise ConnectionError('the mail server is away')

    dead, cancelled = await fail.enqueue(), await fail.options(delay=60).enqueue()
    waiting = [asyncio.ensure_future(handle.result(60)) for handle in (dead, cancelled)]
    await asyncio.sleep(0)
    assert await cancelled.cancel()
    assert not await cancelled.cancel()
    async with Worker(app):
        with pytest.raises(TaskFailedError) as caught:
            await waiting[0]
        with pytest.raises(TaskFailedError, match='is cancelled'):
            await waiting[1]
    error = caught.value
    assert (error.task_id, error.status) == (dead.id, Status.DEAD)
    name = app.queues[0].name
    assert error.queue == name
    assert str(error) == f'queue {name!r}: task {dead.id!r} is dead: ConnectionError: the mail server is away'
    assert (error.error or '').startswith('Traceback')
    states = [state.status async for state in cancelled.watch()]
    assert states == [Status.CANCELLED]


async def test_a_running_task_is_cancelled(app: Tasks) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def long() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    handle = await long.enqueue()
    async with Worker(app):
        await asyncio.wait_for(began.wait(), 60)
        assert await handle.cancel()
        await asyncio.wait_for(ended.wait(), 60)
    with pytest.raises(TaskFailedError):
        await handle.result(60)


async def test_many_are_enqueued_in_bulk(app: Tasks, queue: Torrelque) -> None:
    function = app.task(add)
    handles = [*await function.map(iter(range(700))), *await function.starmap([(1, 2), (3, 4), (5,)])]
    await drain(app, concurrency=100)
    assert [await handle.result(60) for handle in handles] == [*range(1, 701), 3, 7, 6]


async def test_a_bad_one_ends_the_bulk_and_the_others_are_told(app: Tasks, queue: Torrelque) -> None:
    function: Any = app.task(add)
    with pytest.raises(torrelque.TorrelqueBulkError) as caught:
        await function.starmap([(1,), (2, 3), (), (4,)])
    assert len(caught.value.task_ids) == 2
    assert isinstance(caught.value.__cause__, TorrelqueTypeError)
    assert (await queue.get_queue_stats()).tasks == 2


# Event loops and threads


def test_synchronous_code_enqueues_and_waits_without_a_loop_of_its_own(server: RealServer, queue_name: str) -> None:
    before = {*threading.enumerate()}
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    function = app.task(add)
    first = function.push(1)
    assert app.call(first.state()).status is Status.PENDING
    # Twice: a worker takes the event loop along, and the queue object of that loop.
    for _ in range(2):
        with ThreadWorker(app):
            assert function.push(2, sign=-1).wait_result(60) == -3
            assert app.push('test_tasks_handles.add', 5).wait_result(60) == 6
            assert [one.wait_result(60) for one in app.call(function.map([1, 2]))] == [2, 3]
            assert function.options(max_tasks=1000).push(7).wait_result(60) == 8
    assert first.wait_result(60) == 2
    last = function.push(3)
    assert app.call(last.cancel())
    app.close()
    assert not {*threading.enumerate()} - before


async def test_blocking_calls_are_refused_in_an_event_loop(app: Tasks) -> None:
    function = app.task(add)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        function.push(1)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        app.call(function.enqueue(1))
    handle = await function.enqueue(1)
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        handle.wait_result()
    with pytest.raises(torrelque.TorrelqueError, match='await'):
        app.close()
    with pytest.raises(TorrelqueTypeError):
        await asyncio.to_thread(function.push)  # type: ignore[call-arg]


async def test_a_thread_goes_through_a_loop_of_its_own_beside_that_of_the_application(app: Tasks) -> None:
    function = app.task(add)
    loops: list[Any] = []

    @app.task(name='where')
    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    before = {*threading.enumerate()}
    async with Worker(app):
        handle = await asyncio.to_thread(function.push, 1)
        assert await asyncio.to_thread(handle.wait_result, 60) == 2
        await (await where.enqueue()).result(60)
        await asyncio.to_thread(app.call, where.function())
    await app.aclose()
    assert not [thread for thread in {*threading.enumerate()} - before if thread.name == 'torrelque tasks']
    assert loops[0] is asyncio.get_running_loop() is not loops[1]


def test_an_app_goes_from_loop_to_loop(server: RealServer, queue_name: str) -> None:
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    function = app.task(add)

    async def main(number: int) -> int:
        async with Worker(app):
            return await (await function.options(max_tasks=100).enqueue(number)).result(60)

    assert [asyncio.run(main(number)) for number in range(3)] == [1, 2, 3]
    worker = Worker(app, burst=True)
    handle = function.push(5)
    asyncio.run(worker.run())
    assert handle.wait_result(60) == 6
    app.close()
    assert function.push(1).id
    app.close()


async def test_the_callers_queue_outlives_the_app(queue: Torrelque) -> None:
    for close in (False, True):
        app: Tasks | None = Tasks(queue)
        assert app is not None
        function: Any = app.task(add)
        await function.options(max_tasks=10).enqueue(1)
        if close:
            await app.aclose()
            # And may be used on.
            await function.enqueue(1)
        del app, function
        gc.collect()
        await asyncio.sleep(0.01)
        assert (await queue.dequeue(60))[1] == {'task': 'test_tasks_handles.add', 'args': [1]}


async def test_a_worker_of_a_thread_is_made_beside_a_loop_that_the_app_is_used_in(app: Tasks) -> None:
    function = app.task(add)
    worker = ThreadWorker(app)
    # Not used yet: the queue object is the worker's, and this loop gets another.
    handle = await function.enqueue(1)
    worker.start()
    assert await handle.result(60) == 2
    await asyncio.to_thread(worker.stop)
    await app.aclose()


# Types

GOOD = """
import asyncio
from torrelque.tasks import Handle, Tasks

def check(app: Tasks) -> None:
    @app.task
    async def send(to: str, copies: int = 1) -> int:
        return copies

    @app.task(max_attempts=3)
    def plain(to: str) -> bytes:
        return b''

    @app.fifo(queue='q')
    def ordered(number: int) -> str:
        return ''

    @app.fifo(queue='q')
    async def also(number: int) -> str:
        return ''

    async def use() -> None:
        handle: Handle[int] = await send.enqueue('joe', copies=2)
        number: int = await handle.result(60)
        number = await send('joe')
        data: bytes = plain('joe')
        data = (await plain.options(delay=3).enqueue('joe')).wait_result()
        many: list[Handle[bytes]] = await plain.map(['joe'])
        text: str = await ordered(3).result()
        one: Handle[str] = await also(3)
        one = also.push(3)
        text = ordered.function(3)
        reveal_type(send.enqueue)
"""
BAD = {
    'await send.enqueue(3)': 'arg-type',
    "await send.enqueue('joe', copy=1)": 'call-arg',
    "await send('joe', 'two')": 'arg-type',
    'plain.push()': 'call-arg',
    "await plain.options(delay=3).enqueue('joe', 4)": 'call-arg',
    "number: str = await (await send.enqueue('joe')).result()": 'assignment',
    "ordered('three')": 'arg-type',
    "count: int = await also(3).result()": 'assignment',
    "app.task(max_attempts='3')": 'call-overload',
}


@pytest.mark.long
def test_types_are_kept_for_the_checker(tmp_path: Path) -> None:
    api = pytest.importorskip('mypy.api')
    head = GOOD.partition('        handle: Handle')[0]
    (tmp_path / 'good.py').write_text(GOOD)
    (tmp_path / 'bad.py').write_text(head + ''.join(f'        {line}\n' for line in BAD))
    root = Path(__file__).parents[2]
    config = tmp_path / 'mypy.ini'
    config.write_text(f'[mypy]\nstrict = true\nuntyped_calls_exclude = redis\nmypy_path = {root}\n')
    out, err, _ = api.run(
        ['--config-file', str(config), '--cache-dir', str(tmp_path / 'cache'), *map(str, tmp_path.glob('*.py'))]
    )
    assert not err
    lines = out.splitlines()
    assert not [line for line in lines if 'good.py' in line and ' error: ' in line]
    assert re.search(r'def \(to: (builtins\.)?str, copies: (builtins\.)?int =\)', out)
    first = head.count('\n') + 1
    found = {int(line.split(':')[1]) - first: line for line in lines if 'bad.py' in line and ' error: ' in line}
    assert sorted(found) == [*range(len(BAD))], out
    for line, code in zip((found[k] for k in sorted(found)), BAD.values(), strict=True):
        assert line.endswith(f'[{code}]'), line
