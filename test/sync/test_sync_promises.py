"""The synchronous queue: what its page says in a word, and what would go unseen without a test of its own."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import socket
import threading
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sync
import torrelque.sync.fetcher
import torrelque.sync.link
from support.bounding import Bound
from support.proxy import Part, Proxy, calls_of, has_part
from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque, read_outcome
from torrelque.protocol.scripts import load_script
from torrelque.protocol.table import ROWS
from torrelque.sync import Torrelque as SyncTorrelque


@pytest.fixture(autouse=True)
def known_scripts(server: RealServer) -> None:
    """No reply is one that asks for the script."""
    with server.sync_client() as client:
        for name in ROWS:
            client.script_load(load_script(name).text)


@pytest.fixture
def faulty(proxy: Proxy, queue_name: str) -> Iterator[SyncTorrelque]:
    """A queue whose requests can be counted, and whose connections can be cut."""
    with redis.Redis(unix_socket_path=proxy.path) as client:
        with SyncTorrelque(client, queue=queue_name) as queue:
            yield queue


def count(proxy: Proxy, part: Part) -> int:
    """How many requests have that in them."""
    return sum(has_part(request, part) for request in proxy.requests)


# Waiting


async def test_what_is_due_at_the_end_of_a_block_is_swept_before_it_is_asked_for(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: SyncTorrelque
) -> None:
    parts: dict[str, Part] = {'bell': b'BLPOP', 'claim': calls_of('claim'), 'sweep': calls_of('sweep')}

    def was_swept() -> bool:
        names = [name for request in proxy.requests for name, part in parts.items() if has_part(request, part)]
        return ('bell', 'sweep') in itertools.pairwise(names)

    # On a busy machine a task may be due before it is waited for.
    for _ in range(10):
        proxy.requests.clear()
        waiting = asyncio.ensure_future(asyncio.to_thread(faulty.dequeue))
        await until_waiting(client)
        await queue.enqueue(1, delay=0.3)
        await queue.release((await waiting)[0])
        if was_swept():
            break
    assert was_swept()


async def test_nobody_waits_for_longer_than_they_said(
    proxy: Proxy, faulty: SyncTorrelque, bound: Bound
) -> None:
    bound(block=200)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await asyncio.to_thread(faulty.dequeue, 0.05)
    assert count(proxy, b'BLPOP') >= 1


async def test_no_time_to_wait_is_one_look(proxy: Proxy, faulty: SyncTorrelque) -> None:
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await asyncio.to_thread(faulty.dequeue, 0)
    assert (count(proxy, calls_of('claim')), count(proxy, b'BLPOP')) == (1, 0)


async def test_a_sweep_that_fails_is_not_tried_all_the_time(
    queue: Torrelque, proxy: Proxy, faulty: SyncTorrelque
) -> None:
    proxy.lie, proxy.lie_to = b'-ERR no sweeping here\r\n', load_script('sweep').sha
    await queue.enqueue(1, delay=0.001)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await asyncio.to_thread(faulty.dequeue, 0.7)
    # A busy machine makes fewer.
    assert 1 <= count(proxy, calls_of('sweep')) < 10


async def test_a_queue_that_is_closed_while_somebody_begins_to_wait_ends_that(
    faulty: SyncTorrelque, monkeypatch: pytest.MonkeyPatch, bound: Bound
) -> None:
    bound(block=200)

    def close(fetcher: object, until: float) -> bool:
        faulty.close()
        return False

    monkeypatch.setattr(torrelque.sync.fetcher.Fetcher, 'is_endless', close)
    with pytest.raises(torrelque.TorrelqueClosedError):
        await asyncio.to_thread(faulty.dequeue, 100)


async def test_a_child_that_closes_the_queue_leaves_the_waiting_of_its_parent(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def blocked() -> list[str]:
        return [one['id'] for one in await client.client_list() if one['cmd'] == 'blpop']

    with server.sync_client() as sync_client:
        with SyncTorrelque(sync_client, queue=queue.name) as sync:
            waiting = asyncio.ensure_future(asyncio.to_thread(sync.dequeue))
            await until_waiting(client)
            before = await blocked()
            child = multiprocessing.get_context('fork').Process(target=sync.close)
            child.start()
            await asyncio.to_thread(child.join)
            assert child.exitcode == 0
            # When it answers the second time the server has seen what the child did.
            assert [await blocked(), await blocked()] == [before, before]
            await queue.enqueue('task')
            assert (await waiting)[1] == 'task'


# Calls


async def test_a_server_that_is_busy_is_asked_again(queue: Torrelque, proxy: Proxy, faulty: SyncTorrelque) -> None:
    proxy.lie, proxy.lie_to = b'-BUSY Redis is busy running a script\r\n', b'EVAL'
    going = asyncio.ensure_future(asyncio.to_thread(faulty.enqueue, 1))
    while not count(proxy, calls_of('enqueue')):
        await asyncio.sleep(0.005)
    proxy.lie = None
    await going
    assert (await queue.get_queue_stats()).tasks == 1


async def test_a_lost_connection_takes_those_along_that_are_likely_to_be_lost(
    client: redis.asyncio.Redis, proxy: Proxy, queue_name: str
) -> None:
    async def connected() -> set[str]:
        return {one['id'] for one in await client.client_list() if one['name'] == 'ours'}

    with redis.Redis(unix_socket_path=proxy.path, client_name='ours') as own:
        with SyncTorrelque(own, queue=queue_name) as queue:
            waiting = asyncio.ensure_future(asyncio.to_thread(queue.dequeue))
            await until_waiting(client)
            await asyncio.to_thread(queue.enqueue, 1)
            await waiting
            before = await connected()
            assert len(before) == 2
            proxy.lose_reply(calls_of('release'))
            assert await asyncio.to_thread(queue.release, waiting.result()[0])
            while len(after := await connected()) > 1:
                await asyncio.sleep(0.005)
            assert not before & after


async def test_nothing_is_sent_behind_a_call_that_failed(queue: Torrelque, proxy: Proxy, faulty: SyncTorrelque) -> None:
    proxy.spoil(b'"first', b'-ERR no\r\n')
    large = 'x' * 700_000
    with pytest.raises(torrelque.TorrelqueBulkError):
        await asyncio.to_thread(faulty.enqueue_many, ['first' + large, 'second' + large])
    # Only the reply was spoilt.
    assert (await queue.get_queue_stats()).tasks == 1


def test_a_transaction_that_is_repeated_enqueues_once(server: RealServer, queue_name: str) -> None:
    with server.sync_client() as client, SyncTorrelque(client, queue=queue_name) as queue:
        with client.pipeline() as pipe:
            queue.enqueue(1, pipeline=pipe)
            queue.enqueue(2, task_id='own', pipeline=pipe)
            words = [command[0] for command in pipe.command_stack]
            pipe.execute()
        # As the client library does where it has lost the reply.
        assert [read_outcome(client.execute_command(*command)) for command in words] == [True, True]
        assert queue.get_queue_stats().tasks == 2
        for task_id, _ in queue.dequeue(0, max_tasks=2):
            assert queue.release(task_id, result='kept')
        assert [read_outcome(client.execute_command(*command)) for command in words] == [True, True]
        assert queue.get_queue_stats().tasks == 0


# A server that hardly speaks


async def test_a_reply_that_drips_is_none(
    proxy: Proxy, faulty: SyncTorrelque, bound: Bound
) -> None:
    bound(repeat=0.5, silence=0.3)
    proxy.lie, proxy.lie_to, proxy.drip = b'$100000\r\n' + b'x' * 100_000, b'EVAL', 0.05
    going = asyncio.ensure_future(asyncio.to_thread(faulty.enqueue, 1))
    try:
        done, _ = await asyncio.wait([going], timeout=20)
        assert done
    finally:
        proxy.lie = None
        proxy.cut()
        (error,) = await asyncio.gather(going, return_exceptions=True)
    assert isinstance(error, torrelque.TorrelqueConnectionError)


@pytest.fixture
def dripping(queue_name: str) -> Iterator[SyncTorrelque]:
    """A queue at a server that says no more than a byte now and then."""
    listener = socket.create_server(('127.0.0.1', 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b'$1000000\r\n')
                while not over.wait(0.05):
                    connection.sendall(b'x')
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with redis.Redis(port=listener.getsockname()[1], protocol=3) as client:
        with SyncTorrelque(client, queue=queue_name) as queue:
            yield queue
    over.set()
    listener.close()


def test_a_handshake_that_drips_comes_to_an_end(dripping: SyncTorrelque, bound: Bound) -> None:
    bound(repeat=0.5, connect=0.3)
    with pytest.raises(torrelque.TorrelqueConnectionError):
        dripping.enqueue(1)
