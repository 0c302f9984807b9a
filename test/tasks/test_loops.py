"""Synchronous calls and the event loops of others: none waits for one that is busy, ends, or is its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import torrelque
from support import crossing
from support.crossing import PATIENCE, add, in_thread, outcome, until
from support.servers import MakeServer, RealServer
from support.topology import Cluster, Sentinel
from torrelque import Torrelque, TorrelqueClosedError, TorrelqueError, TorrelqueTaskStatus as Status
from torrelque.tasks import Handle, Tasks
from torrelque.worker import ThreadWorker, Worker
from torrelque.worker.crossing import run_in_loop

app = crossing.app


# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.long


# Synchronous calls, and loops of other threads


def test_a_push_does_not_wait_for_a_busy_loop_of_another_thread(app: Tasks) -> None:
    using, over = threading.Event(), threading.Event()

    async def main() -> None:
        await app.enqueue('add', 1)
        using.set()
        # The loop stands still.
        assert over.wait(PATIENCE)

    with in_thread(lambda: asyncio.run(main())):
        assert using.wait(PATIENCE)
        handle = outcome(lambda: app.push('add', 2))
        assert outcome(lambda: app.call(handle.state())).status is Status.PENDING
        over.set()


async def test_a_synchronous_call_leaves_the_queue_object_to_its_owner(queue: Torrelque) -> None:
    app = Tasks(queue)
    app.task(name='add')(add)
    await asyncio.to_thread(app.push, 'add', 1)
    assert (await queue.get_queue_stats()).pending == 1
    await app.aclose()


def test_a_loop_may_wait_for_threads_that_push(app: Tasks) -> None:
    async def main() -> list[Handle[Any]]:
        await app.enqueue('add', 1)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return [*pool.map(lambda number: app.push('add', number), range(5))]

    handles = outcome(lambda: asyncio.run(main()))
    assert len({handle.id for handle in handles}) == 5


def test_a_push_outlives_the_loop_that_ran_when_it_was_made(app: Tasks, server: RealServer) -> None:
    using, paused = threading.Event(), threading.Event()

    async def main() -> None:
        await app.enqueue('add', 1)
        using.set()
        await asyncio.to_thread(paused.wait, PATIENCE)

    with server.sync_client() as admin:
        with in_thread(lambda: asyncio.run(main())):
            assert using.wait(PATIENCE)
            admin.client_pause(500)
            with in_thread(lambda: app.push('add', 2)) as pushed:
                paused.set()
        assert app.call(pushed.result().state()).status is Status.PENDING


def test_pushes_do_not_notice_workers_that_come_and_go(app: Tasks) -> None:
    over = threading.Event()
    handles: list[Handle[int]] = []

    def push() -> None:
        while not over.is_set():
            handles.append(app.push('add', len(handles)))

    with in_thread(push):
        try:
            for _ in range(5):
                ThreadWorker(app).start().stop()
        finally:
            over.set()
    with ThreadWorker(app):
        assert [handle.wait_result(PATIENCE) for handle in handles] == [*range(1, len(handles) + 1)]


@pytest.mark.one_server
@pytest.mark.parametrize('call', ['push', 'fifo', 'wait', 'sleep'])
def test_closing_ends_what_is_on_its_way_in_another_thread(
    app: Tasks, server: RealServer, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = app.fifo(queue='q', name='ordered')(add)
    handle, _ = app.push('add', 1), ordered(1)
    begun = threading.Event()
    run = run_in_loop

    def told(loop: asyncio.AbstractEventLoop, coroutine: Any) -> Any:
        begun.set()
        return run(loop, coroutine)

    monkeypatch.setattr('torrelque.tasks.loops.run_in_loop', told)
    calls: dict[str, Callable[[], Any]] = {
        'push': lambda: app.push('add', 2), 'fifo': lambda: ordered(2), 'wait': handle.wait_result,
        'sleep': lambda: app.call(asyncio.Event().wait()),
    }  # fmt: skip
    with server.sync_client() as admin:
        if call in ('push', 'fifo'):
            admin.client_pause(600_000, all=False)
        with contextlib.suppress(TorrelqueClosedError), in_thread(calls[call]) as done:
            assert begun.wait(PATIENCE)
            if call in ('push', 'fifo'):
                # The server has it, and does not carry it out.
                until(lambda: any('b' in one['flags'] for one in admin.client_list()))
            app.close()
            assert isinstance(done.exception(PATIENCE), TorrelqueClosedError)
        admin.client_unpause()
    # And may be used on.
    assert app.push('add', 3).id


async def test_the_end_of_the_app_is_waited_for_by_a_call_that_goes_through_it(app: Tasks) -> None:
    def close() -> None:
        # Whatever another test has left may be there as well.
        before = [*threading.enumerate()]
        app.push('add', 1)
        [thread] = [one for one in threading.enumerate() if one.name == 'torrelque tasks' and one not in before]
        app.call(app.aclose())
        thread.join(PATIENCE)
        assert not thread.is_alive()

    assert await asyncio.to_thread(outcome, close) is None


def test_something_that_ends_the_loop_for_synchronous_calls_is_no_end_of_them(app: Tasks) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with contextlib.suppress(SystemExit), in_thread(lambda: app.call(leave())) as done:
        assert isinstance(done.exception(PATIENCE), SystemExit)
    assert app.push('add', 3).id


def test_what_is_no_coroutine_is_not_called(app: Tasks) -> None:
    for wrong in (None, add, 3):
        with pytest.raises(torrelque.TorrelqueTypeError, match='coroutine'):
            app.call(wrong)  # type: ignore[arg-type]


async def test_a_handle_of_a_loop_that_has_ended_says_so(app: Tasks) -> None:
    ordered = app.fifo(queue='q', name='ordered')(add)

    async def main() -> Handle[int]:
        return ordered(1)

    # It is taken back by the end of its loop, or it went through before.
    handle = await asyncio.to_thread(asyncio.run, main())
    with contextlib.suppress(TorrelqueClosedError):
        await handle
        assert handle.id

    async def id_of(handle: Handle[int]) -> str:
        return (await handle).id

    loop = asyncio.new_event_loop()
    stuck = await asyncio.to_thread(loop.run_until_complete, main())
    with pytest.raises(TorrelqueClosedError, match='has ended'):
        await stuck
    # It goes on where that loop does.
    task_id = await asyncio.to_thread(loop.run_until_complete, id_of(stuck))
    assert (stuck.id, (await stuck.state()).status) == (task_id, Status.PENDING)
    await app.aclose()
    await asyncio.to_thread(loop.run_until_complete, loop.shutdown_asyncgens())
    loop.close()


PROGRAM = """
import asyncio, contextlib, os, signal, sys, threading
import redis.asyncio
from torrelque import Torrelque, TorrelqueClosedError
from torrelque.tasks import Tasks

app = Tasks(Torrelque(redis.asyncio.Redis(unix_socket_path=sys.argv[1]), queue=sys.argv[2]))

@app.task(name='one')
def one(): pass

one.push()
"""
FORKS = """
if not (pid := os.fork()):
    signal.alarm(30)
    one.push()
    app.close()
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
one.push()
app.close()
"""
LEAVES = """
redis.Redis(unix_socket_path=sys.argv[1]).client_pause(600_000, all=False)
pushing = threading.Event()

def push():
    pushing.set()
    with contextlib.suppress(TorrelqueClosedError):
        one.push()

threading.Thread(target=push, daemon=True).start()
pushing.wait()
"""


@pytest.mark.parametrize(('rest', 'tasks'), [(FORKS, 3), ('', 1)])
async def test_a_program_that_pushes_forks_and_ends(queue: Torrelque, rest: str, tasks: int) -> None:
    await run_program(queue, PROGRAM + rest)
    assert (await queue.get_queue_stats()).pending == tasks


async def test_a_program_ends_though_a_push_waits(make_server: MakeServer, queue_name: str) -> None:
    async with make_server().client() as client, Torrelque(client, queue=queue_name) as queue:
        await run_program(queue, PROGRAM + LEAVES)


async def run_program(queue: Torrelque, program: str) -> None:
    path = queue.client.connection_pool.connection_kwargs['path']  # type: ignore[union-attr]
    command = [sys.executable, '-W', 'error', '-c', program, path, queue.name]
    root = str(Path(__file__).parents[2])
    environ = {**os.environ, 'PYTHONPATH': f'{root}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'}
    done = await asyncio.to_thread(subprocess.run, command, env=environ, timeout=PATIENCE, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'', b'')


# Clients that belong to one event loop


async def test_a_client_of_one_loop_is_given_to_no_other(sentinel: Sentinel, queue_name: str) -> None:
    async with sentinel.master_for() as client:
        await check_bound(client, queue_name)


async def test_a_cluster_client_is_given_to_no_other_loop(cluster: Cluster, queue_name: str) -> None:
    async with cluster.client() as client:
        await check_bound(client, queue_name, cluster.client)


async def check_bound(client: Any, name: str, make_client: Callable[[], Any] | None = None) -> None:
    async with Torrelque(client, queue=name) as queue:
        app = Tasks(queue)
        app.task(name='add')(add)
        # Made before the app is used, and of the same loop.
        worker = Worker(app, burst=True)
        handle = await app.enqueue('add', 1)
        with pytest.raises(TorrelqueError, match='make_queue'):
            await asyncio.to_thread(app.push, 'add', 1)
        await asyncio.wait_for(worker.run(), PATIENCE)
        assert await handle.result(PATIENCE) == 2
        await app.aclose()
        if make_client is None:
            return
        clients: list[Any] = []

        def make_queue() -> Torrelque:
            clients.append(make_client())
            return Torrelque(clients[-1], queue=name)

        app = Tasks(queue, make_queue=make_queue)
        app.task(name='add')(add)
        await app.enqueue('add', 1)
        assert (await asyncio.to_thread(app.push, 'add', 2)).id
        assert len(clients) == 1
        await asyncio.to_thread(app.call, clients[0].aclose())
        await app.aclose()


async def test_what_makes_no_queue_of_the_app_is_refused(queue: Torrelque) -> None:
    for wrong in (3, queue, [queue]):
        with pytest.raises(torrelque.TorrelqueTypeError, match='make_queue'):
            Tasks(queue, make_queue=wrong)  # type: ignore[arg-type]
    makers: dict[type[Exception], list[Callable[[], Any]]] = {
        torrelque.TorrelqueTypeError: [lambda: None, lambda: 'queue'],
        torrelque.TorrelqueValueError: [lambda: queue, lambda: Torrelque(queue.client, queue='other')],
    }
    for error, wrongs in makers.items():
        for make in wrongs:
            app = Tasks(queue, make_queue=make)
            function = app.task(name='add')(add)
            await function.enqueue(1)
            with pytest.raises(error, match='make_queue'):
                await asyncio.to_thread(function.push, 1)
            await app.aclose()
