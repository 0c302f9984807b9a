"""The synchronous queue when something breaks, and what it leaves behind when it goes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.servers import MakeServer, RealServer
from support.waiting import nothing_left, until_free, until_waiting
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.protocol.scripts import load_script
from torrelque.protocol.table import ROWS

pytestmark = pytest.mark.first_server


def connect(proxy: Proxy, **options: Any) -> redis.Redis:
    return redis.Redis(unix_socket_path=proxy.path, **options)


@pytest.fixture(autouse=True)
def known_scripts(server: RealServer) -> None:
    """The reply that is lost or held shall be that of the call, not one that asks for the script."""
    with server.sync_client() as client:
        for name in ROWS:
            client.script_load(load_script(name).text)


@pytest.fixture
def faulty(proxy: Proxy, queue_name: str) -> Iterator[torrelque.sync.Torrelque]:
    """A queue whose connections can be cut."""
    with connect(proxy) as client, torrelque.sync.Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.mark.parametrize('lose', ['lose_reply', 'lose_request'])
async def test_calls_whose_connection_is_cut_are_done_once(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque, lose: str
) -> None:
    getattr(proxy, lose)(calls_of('enqueue'))
    first = await asyncio.to_thread(faulty.enqueue, 1)
    assert (await queue.get_queue_stats()).tasks == 1
    getattr(proxy, lose)(calls_of('enqueue'))
    await asyncio.to_thread(faulty.enqueue, 2, task_id='own')
    assert (await queue.get_queue_stats()).tasks == 2

    getattr(proxy, lose)(calls_of('claim'))
    taken, task = await asyncio.to_thread(faulty.dequeue)
    assert (taken, task, taken.attempt) == (first, 1, 1)
    assert (await queue.get_queue_stats()).working == 1

    getattr(proxy, lose)(calls_of('requeue'))
    assert await asyncio.to_thread(faulty.requeue, taken) is True
    assert (await queue.get_task_state(first)).requeue_count == 1

    getattr(proxy, lose)(calls_of('enqueue'))
    ids = await asyncio.to_thread(faulty.enqueue_many, range(600))
    assert len(ids) == 600 and (await queue.get_queue_stats()).tasks == 602

    getattr(proxy, lose)(calls_of('claim'))
    many = [task_id for task_id, _ in await asyncio.to_thread(faulty.dequeue, max_tasks=602)]
    assert len(many) == 602
    getattr(proxy, lose)(calls_of('release'))
    assert await asyncio.to_thread(faulty.release, many[0]) is True
    getattr(proxy, lose)(calls_of('release'))
    assert await asyncio.to_thread(faulty.release_many, many[1:]) == [True] * 601
    assert proxy.lossless
    await until_free(client, queue)


async def test_who_lost_the_lease_is_told_though_the_reply_was_lost(
    queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque
) -> None:
    await asyncio.to_thread(faulty.enqueue, 1)
    taken, _ = await asyncio.to_thread(faulty.dequeue)
    assert await queue.requeue(str(taken))
    again, _ = await queue.dequeue()
    proxy.lose_reply(calls_of('release'))
    assert await asyncio.to_thread(faulty.release, taken) is False
    assert await queue.release(again)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str
) -> None:
    with server.sync_client() as sync_client, torrelque.sync.Torrelque(sync_client, queue=queue_name) as queue:
        queue.enqueue(1)
        await client.client_kill_filter(_type='normal', skipme=True)
        while len(await client.client_list()) > 1:
            await asyncio.sleep(0.005)
        # As a repetition it would be told from a new call.
        assert queue.release('nobody') is False
        assert queue.get_queue_stats().tasks == 1


async def test_scripts_that_the_server_forgot_are_sent_again(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque, proxy: Proxy
) -> None:
    for n in range(2):
        await client.script_flush()
        await asyncio.to_thread(faulty.enqueue, n)
    assert (await queue.get_queue_stats()).tasks == 2
    assert sum(calls_of('enqueue')[1] in request for request in proxy.requests) == 2
    await asyncio.to_thread(faulty.enqueue, 2)
    assert sum(calls_of('enqueue')[1] in request for request in proxy.requests) == 2


@pytest.mark.first_server
async def test_a_server_that_is_away_is_told(make_server: MakeServer, bound: Bound, hasty: None) -> None:
    bound(repeat=0.5)
    server = make_server()
    with server.sync_client() as client, torrelque.sync.Torrelque(client) as queue:
        queue.enqueue(1)
        server.kill()
        with pytest.raises(torrelque.TorrelqueConnectionError):
            queue.enqueue(2)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            queue.dequeue(0)
        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            queue.enqueue_many(range(3))
        assert isinstance(caught.value.__cause__, torrelque.TorrelqueConnectionError)
    with server.sync_client() as client, torrelque.sync.Torrelque(client) as queue:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            queue.dequeue(60)


@pytest.mark.first_server
async def test_a_server_that_is_silent_is_left(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque
) -> None:
    await asyncio.to_thread(faulty.enqueue, 1)
    proxy.mute(calls_of('release'))
    taken, _ = await asyncio.to_thread(faulty.dequeue)
    assert await asyncio.to_thread(faulty.release, taken) is True
    assert proxy.lossless
    await until_free(client, queue)


async def test_errors_of_the_server_are_the_client_librarys(make_server: MakeServer) -> None:
    server = make_server({'maxmemory': '3mb', 'maxmemory-policy': 'noeviction', 'requirepass': 'x'})
    with server.sync_client(password='y') as client, torrelque.sync.Torrelque(client) as queue:
        with pytest.raises(redis.exceptions.RedisError) as caught:
            queue.enqueue(1)
        assert 'WRONGPASS' in str(caught.value) or 'invalid' in str(caught.value)
    with server.sync_client(password='x') as client, torrelque.sync.Torrelque(client) as queue:
        with pytest.raises(redis.exceptions.OutOfMemoryError, match='OOM'):
            for _ in range(100):
                queue.enqueue('x' * 100_000)
        client.config_set('maxmemory', 0)
        client.delete(queue.keys['tasks'])
        client.set(queue.keys['tasks'], 'x')
        with pytest.raises(redis.exceptions.ResponseError, match='WRONGTYPE'):
            queue.enqueue(1)
        with pytest.raises(redis.exceptions.ResponseError, match='WRONGTYPE'):
            queue.dequeue(5)


async def test_a_claim_that_was_given_up_is_asked_for_again(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque, hasty: None
) -> None:
    await asyncio.to_thread(faulty.enqueue_many, range(5))
    gate = proxy.hold_reply(calls_of('claim'))
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await asyncio.to_thread(faulty.dequeue, 0, max_tasks=3)
    gate.open()
    assert (await queue.get_queue_stats()).working == 3
    _, task = await asyncio.to_thread(faulty.dequeue)
    assert task == 0
    stats = await queue.get_queue_stats()
    assert (stats.working, stats.pending) == (1, 4)
    rest = await asyncio.to_thread(faulty.dequeue, max_tasks=10)
    assert [task for _, task in rest] == [1, 2, 3, 4]
    assert [task_id.attempt for task_id, _ in rest] == [2, 2, 1, 1]


async def test_who_waits_is_woken_and_waits_on_when_the_line_is_cut(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque
) -> None:
    waiting = asyncio.ensure_future(asyncio.to_thread(faulty.dequeue))
    await until_waiting(client)
    proxy.cut()
    await until_waiting(client)
    await queue.enqueue(1)
    taken, task = await asyncio.wait_for(waiting, 60)
    assert task == 1
    assert await asyncio.to_thread(faulty.release, taken)
    await until_free(client, queue)


async def test_who_waits_goes_on_waiting_while_the_server_is_away(
    durable_server: RealServer, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    bound(repeat=0.3)
    with durable_server.sync_client() as client, torrelque.sync.Torrelque(client) as queue:
        waiting = asyncio.ensure_future(asyncio.to_thread(queue.dequeue))
        async with durable_server.client() as other:
            await until_waiting(other)
        durable_server.kill()
        while not any('waiting for the server to come back' in text for text in caplog.messages):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(durable_server.start)
        await asyncio.to_thread(queue.enqueue, 1)
        assert (await asyncio.wait_for(waiting, 60))[1] == 1


async def test_a_delayed_task_comes_when_it_is_due(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque, bound: Bound
) -> None:
    # Longer than the test, so that only the deadline is what it can come by.
    bound(block=200)
    waiting = asyncio.ensure_future(asyncio.to_thread(faulty.dequeue))
    await until_waiting(client)
    before = time.monotonic()
    await queue.enqueue(1, delay=0.4)
    await asyncio.wait_for(waiting, 60)
    assert time.monotonic() - before > 0.39
    await queue.requeue((await waiting)[0], delay=0.3)
    taken, _ = await asyncio.wait_for(asyncio.to_thread(faulty.dequeue, 60), 60)
    assert taken.attempt == 2
    # One whose lease runs out comes back as well.
    await queue.touch(taken, task_timeout=0.2)
    assert (await asyncio.wait_for(asyncio.to_thread(faulty.dequeue, 60), 60))[0].attempt == 3


async def test_who_waits_beside_asynchronous_consumers_loses_no_ring(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque
) -> None:
    got = []

    async def take() -> None:
        task_id, n = await queue.dequeue()
        got.append(n)
        await queue.release(task_id)

    async def take_in_thread() -> None:
        task_id, n = await asyncio.to_thread(faulty.dequeue)
        got.append(n)
        await asyncio.to_thread(faulty.release, task_id)

    for round_ in range(5):
        waiting = [asyncio.ensure_future(take() if k % 2 else take_in_thread()) for k in range(6)]
        await until_waiting(client, 4)
        await queue.enqueue_many(range(round_ * 6, round_ * 6 + 6))
        await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert sorted(got) == list(range(30))
    await until_free(client, queue)


async def test_closing_ends_the_waiting(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque, bound: Bound
) -> None:
    bound(block=200)
    waiting = [asyncio.ensure_future(asyncio.to_thread(faulty.dequeue)) for _ in range(3)]
    await until_waiting(client, 3)
    faulty.close()
    for one in waiting:
        with pytest.raises(torrelque.TorrelqueClosedError):
            await asyncio.wait_for(one, 60)
    await queue.enqueue(1)
    assert (await queue.dequeue(0))[1] == 1


class Interrupted:
    """A serialiser in whose middle Ctrl-C is pressed."""

    dumps = staticmethod(torrelque.codec.JSON.dumps)

    @staticmethod
    def loads(data: bytes) -> Any:
        if data == b'2':
            raise KeyboardInterrupt
        return torrelque.codec.JSON.loads(data)


async def test_what_was_taken_when_interrupted_goes_back(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str
) -> None:
    await queue.enqueue_many(range(5))
    with server.sync_client() as sync_client:
        with torrelque.sync.Torrelque(sync_client, queue=queue_name, serialiser=Interrupted()) as sync:
            with pytest.raises(KeyboardInterrupt):
                sync.dequeue(max_tasks=10)
    assert await queue.get_queue_stats() == (5, 5, 0, 0, 0, 0)
    taken = await queue.dequeue(0, max_tasks=10)
    assert [task for _, task in taken] == list(range(5))
    assert (await queue.get_task_state(taken[0][0])).forgiven == 1


async def test_a_payload_that_cannot_be_read_is_dead_and_the_next_is_taken(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = await queue.enqueue_many([1, 2])
    await client.hset(queue.keys['tasks'], bad, '{')
    assert (await asyncio.to_thread(faulty.dequeue))[0] == good
    state = await queue.get_task_state(bad)
    assert state.status is Status.DEAD and 'cannot be read' in (state.error or '')
    assert any('is dead' in text for text in caplog.messages)


PROGRAM = """
import sys, redis, torrelque.sync
with redis.Redis(unix_socket_path=sys.argv[1]) as client, torrelque.sync.Torrelque(client, queue=sys.argv[2]) as queue:
    try:
        print(queue.dequeue(), flush=True)
    except KeyboardInterrupt:
        print('interrupted', flush=True)
"""


async def interrupt(path: str, name: str, ready: Callable[[], Awaitable[object]]) -> None:
    child = subprocess.Popen([sys.executable, '-c', PROGRAM, path, name], stdout=subprocess.PIPE, text=True)
    try:
        await ready()
        child.send_signal(signal.SIGINT)
        output, _ = await asyncio.to_thread(child.communicate, timeout=60)
    finally:
        child.kill()
        child.wait()
    assert output == 'interrupted\n' and child.returncode == 0


async def test_ctrl_c_at_the_bell(server: RealServer, client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await interrupt(server.socket, queue.name, lambda: until_waiting(client))
    assert await nothing_left(client, queue)


async def test_ctrl_c_in_the_middle_of_a_claim_gives_the_task_back(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy
) -> None:
    await queue.enqueue(1)
    gate = proxy.hold_reply(calls_of('claim'))

    async def claimed() -> None:
        await gate.arrived.wait()
        while not (await queue.get_queue_stats()).working:
            await asyncio.sleep(0.005)

    await interrupt(proxy.path, queue.name, claimed)
    gate.open()
    assert await queue.get_queue_stats() == (1, 1, 0, 0, 0, 0)
    task_id, _ = await queue.dequeue(0)
    assert (await queue.get_task_state(task_id)).forgiven == 1


async def test_a_claim_leaves_no_record(
    client: redis.asyncio.Redis, queue: Torrelque, faulty: torrelque.sync.Torrelque
) -> None:
    await queue.enqueue(1)
    taken, _ = await asyncio.to_thread(faulty.dequeue)
    for _ in range(2000):
        if not await client.keys('*:claim:*'):
            break
        await asyncio.sleep(0.005)
    assert await client.keys('*:claim:*') == []
    assert await asyncio.to_thread(faulty.release, taken)


async def test_who_goes_passes_the_ring_on(
    client: redis.asyncio.Redis, queue: Torrelque, proxy: Proxy, faulty: torrelque.sync.Torrelque, bound: Bound
) -> None:
    bound(block=200)
    gate = proxy.hold_reply(queue.keys['bell'].encode())
    going = asyncio.ensure_future(asyncio.to_thread(faulty.dequeue))
    await until_waiting(client)
    # It takes the ring, and does not hear of it.
    await queue.enqueue(1)
    while await client.exists(queue.keys['bell']) or not gate.arrived.is_set():
        await asyncio.sleep(0.005)
    faulty.close()
    with pytest.raises(torrelque.TorrelqueClosedError):
        await going
    gate.open()
    assert await client.exists(queue.keys['bell'])


async def test_an_error_at_the_bell_ends_no_waiting(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str
) -> None:
    """It is what a primary that is demoted says to who blocks."""
    with server.sync_client() as own, torrelque.sync.Torrelque(own, queue=queue_name) as faulty:
        waiting = asyncio.ensure_future(asyncio.to_thread(faulty.dequeue))
        for _ in range(3):
            await until_waiting(client)
            (blocked,) = [one['id'] for one in await client.client_list() if one['cmd'] == 'blpop']
            await client.execute_command('CLIENT', 'UNBLOCK', blocked, 'ERROR')
            while [one['id'] for one in await client.client_list() if one['cmd'] == 'blpop'] == [blocked]:
                await asyncio.sleep(0.005)
        await queue.enqueue(1)
        assert (await asyncio.wait_for(waiting, 60))[1] == 1
