"""What threads share: event loops of one client, a synchronous queue, a worker that is told to stop, forks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis.asyncio

import torrelque.sync
from support.servers import RealServer
from support.waiting import until_free
from torrelque import Torrelque
from torrelque.aio.client import leave_link, share_link
from torrelque.aio.link import Link
from torrelque.protocol.bounds import BOUNDS
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

THREADS = 8
# What event loops take along that were ended while something was open in them.
UNCLOSED = pytest.mark.filterwarnings('ignore::ResourceWarning')


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], Any]) -> None:
    """Do something in several threads at once; what goes wrong in one is raised here."""
    errors: list[BaseException] = []
    together = threading.Barrier(THREADS)

    def run(number: int) -> None:
        together.wait()
        try:
            work(number)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# The event loops of one client


class AskedLoop(asyncio.SelectorEventLoop):
    """Something happens whenever another thread asks whether it is closed."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self.happens, self.owner = happens, threading.current_thread()
        super().__init__()

    def is_closed(self) -> bool:
        if threading.current_thread() is not self.owner:
            self.happens()
        return super().is_closed()


@contextlib.contextmanager
def asked(client: redis.asyncio.Redis, happens: Callable[[], object]) -> Iterator[None]:
    """One of the client's event loops does something when it is asked by those that come and go."""

    async def share() -> Link:
        return share_link(client, 'key', client, BOUNDS)

    async def leave(link: Link) -> None:
        leave_link(client, link, client)

    loop = AskedLoop(happens)
    link = loop.run_until_complete(share())
    try:
        yield
    finally:
        loop.run_until_complete(leave(link))
        loop.close()


def test_event_loops_of_one_client_share_and_leave_links_in_their_threads(server: RealServer, restless: None) -> None:
    client = server.client()

    async def come_and_go() -> None:
        for _ in range(20):
            users = [object() for _ in range(3)]
            link, *others = [share_link(client, 'key', user, BOUNDS) for user in users]
            assert others == [link, link]
            for user in users:
                leave_link(client, link, user)

    def work(number: int) -> None:
        for _ in range(5):
            asyncio.run(come_and_go())

    with asked(client, lambda: time.sleep(0.0001)):
        # Others have their turn while one looks.
        in_threads(work)


@UNCLOSED
def test_queues_of_one_client_open_and_close_in_many_threads(
    server: RealServer, queue_name: str, restless: None
) -> None:
    client = server.client()

    async def come_and_go(number: int) -> None:
        for n in range(10):
            async with Torrelque(client, queue=f'{queue_name}-{number}') as queue:
                await queue.enqueue(n)
                task_id, task = await queue.dequeue(20)
                assert task == n and await queue.release(task_id)
        # Some do not close theirs.
        await Torrelque(client, queue=queue_name).enqueue(number)

    with asked(client, lambda: time.sleep(0.0001)):
        in_threads(lambda number: asyncio.run(come_and_go(number)))
    with server.sync_client() as raw, torrelque.sync.Torrelque(raw, queue=queue_name) as left:
        assert left.get_queue_stats().tasks == THREADS
    with server.sync_client() as raw:
        assert not [key for key in raw.keys('*') if f'{queue_name}-'.encode() in key and b':claim:' not in key]
    gc.collect()


@UNCLOSED
def test_a_queue_may_be_collected_by_the_thread_that_shares_a_link(server: RealServer, queue_name: str) -> None:
    client = server.client()

    async def use() -> None:
        # A cycle, that only the collector takes.
        holder: list[Any] = [Torrelque(client, queue=queue_name)]
        holder.append(holder)
        await holder[0].enqueue(1)
        gone.append(weakref.ref(holder[0]))

    async def come_and_go() -> None:
        leave_link(client, share_link(client, 'key', client, BOUNDS), client)

    def another() -> None:
        asyncio.run(come_and_go())
        done.set()

    gone: list[weakref.ref[Torrelque]] = []
    done = threading.Event()
    gc.disable()
    try:
        with asked(client, gc.collect):
            asyncio.run(use())
            threading.Thread(target=another, daemon=True).start()
            assert done.wait(20)
        assert [ref() for ref in gone] == [None]
    finally:
        gc.enable()
        gc.collect()


FORKED = """
import asyncio, os, signal, sys, threading
import redis.asyncio
import torrelque, torrelque.aio.client
from torrelque.tasks import Tasks

queue = torrelque.Torrelque(redis.asyncio.Redis(unix_socket_path=sys.argv[1]), queue=sys.argv[2])
app = Tasks(queue)

@app.task(name='one')
def one(): pass

async def enqueue():
    async with torrelque.Torrelque(queue.client, queue=queue.name) as other:
        await other.enqueue(1)

locks = [torrelque.aio.client._sharing, app._loops._lock]
held, over = threading.Event(), threading.Event()

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    over.wait()
    for lock in locks:
        lock.release()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
if not (pid := os.fork()):
    signal.alarm(20)
    # In this thread: another could have the name of the parent's that holds them.
    asyncio.run(enqueue())
    one.push()
    app.close()
    os._exit(0)
over.set()
holder.join()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


async def test_a_fork_in_the_middle_of_what_another_thread_does_is_no_lock_for_ever(queue: Torrelque) -> None:
    path = queue.client.connection_pool.connection_kwargs['path']  # type: ignore[union-attr]
    command = [sys.executable, '-W', 'ignore', '-c', FORKED, path, queue.name]
    await asyncio.to_thread(subprocess.run, command, check=True)
    assert (await queue.get_queue_stats()).pending == 2


# The synchronous queue


def test_threads_of_one_synchronous_queue_name_their_calls_differently(server: RealServer, restless: None) -> None:
    marks: list[str] = []
    with server.sync_client() as client, torrelque.sync.Torrelque(client) as queue:

        def work(number: int) -> None:
            mine = [str(queue._calls.cancel('a').args[1]) for _ in range(5000)]
            marks.extend(mine)

        in_threads(work)
    assert len({*marks}) == len(marks) == THREADS * 5000
    assert {len(mark) for mark in marks} == {15}


# The worker


class Hesitant(Worker):
    """Another thread that stops it looks before it begins, and goes on when it works."""

    _where: asyncio.AbstractEventLoop | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.looked, self.working = threading.Event(), threading.Event()
        super().__init__(*args, **kwargs)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop | None:
        seen = self._where
        if threading.current_thread() is not threading.main_thread() and not self.looked.is_set():
            self.looked.set()
            assert self.working.wait(20)
        return seen

    @_loop.setter
    def _loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._where = loop


async def test_a_worker_that_is_told_to_stop_while_it_begins_stops(queue: Torrelque) -> None:
    finish = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        worker.working.set()
        await finish.wait()

    await queue.enqueue(1)
    worker = Hesitant(queue, handle, signals=False)
    stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
    await asyncio.to_thread(worker.looked.wait, 20)
    running = asyncio.create_task(worker.run())
    await stopping
    while worker.health().state != 'stopping':
        await asyncio.sleep(0.005)
    # It was told once: what is running may end.
    finish.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 20)
    assert (worker.health().succeeded, (await queue.get_queue_stats()).tasks) == (1, 0)


async def test_a_fork_shares_nothing(server: RealServer, client: redis.asyncio.Redis, queue: Torrelque) -> None:
    with server.sync_client() as sync_client:
        with torrelque.sync.Torrelque(sync_client, queue=queue.name) as sync:
            sync.enqueue(1)
            assert sync.release(sync.dequeue()[0])

            def work(k: int | str) -> None:
                for n in range(100):
                    task_id = sync.enqueue([k, n], task_id=f'{k}-{n}')
                    taken, _ = sync.dequeue(60)
                    assert taken.attempt == 1 and sync.release(taken), task_id

            context = multiprocessing.get_context('fork')
            children = [context.Process(target=work, args=(k,)) for k in range(3)]
            for child in children:
                child.start()
            await asyncio.to_thread(work, 'parent')
            for child in children:
                await asyncio.to_thread(child.join)
                assert child.exitcode == 0
    await until_free(client, queue)
