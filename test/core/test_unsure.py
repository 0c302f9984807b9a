"""A settling call of which nobody knows whether it was carried out, and that is made again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis

import torrelque
import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy
from support.servers import MakeServer, RealServer
from torrelque import Torrelque, TorrelqueTaskId
from torrelque.protocol.unsure import Unsure
from torrelque.worker import Delivery, Worker

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.long

QUICK = ('release', 'release_many')
VERBS: dict[str, Callable[[Any, Any], Any]] = {
    'release': lambda queue, ids: queue.release(ids[0]),
    'release with a result': lambda queue, ids: queue.release(ids[0], result=1),
    'release_many': lambda queue, ids: queue.release_many(ids),
    'requeue': lambda queue, ids: queue.requeue(ids[0], error='no'),
    'requeue later': lambda queue, ids: queue.requeue(ids[0], 3600),
    'bury': lambda queue, ids: queue.bury(ids[0], error='no'),
}


@pytest.fixture
def impatient(bound: Bound) -> None:
    """Calls that could not be carried out fail soon."""
    bound(repeat=0.5, silence=0.3)


def stop(server: RealServer) -> None:
    """Have a server take what is sent, and do it later."""
    os.kill(server.pid, signal.SIGSTOP)


def go_on(server: RealServer) -> None:
    os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize('verb', VERBS)
async def test_whoever_repeats_a_call_is_told_what_became_of_the_first(
    make_server: MakeServer, impatient: None, verb: str
) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='q') as queue, Torrelque(client, queue='q') as other:
        await queue.enqueue_many(range(3))
        ids = [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
        stop(server)
        try:
            with pytest.raises(torrelque.TorrelqueConnectionError):
                await VERBS[verb](queue, ids)
        finally:
            go_on(server)
        before = await other.get_queue_stats()
        done = await VERBS[verb](queue, ids)
        assert done == ([True] * 3 if verb == 'release_many' else True)
        # It was carried out once.
        assert await other.get_queue_stats() == before
        assert not queue._started().unsure
        # A call that is no repetition is told the truth.
        assert await other.release(ids[0]) is False


@pytest.mark.parametrize(
    'verb', [verb if verb in QUICK else pytest.param(verb, marks=pytest.mark.long) for verb in VERBS]
)
async def test_whoever_repeats_a_synchronous_call_is_told_what_became_of_the_first(
    proxy: Proxy, queue: Torrelque, impatient: None, verb: str
) -> None:
    with redis.Redis(unix_socket_path=proxy.path) as client:
        with torrelque.sync.Torrelque(client, queue=queue.name) as faulty:
            await asyncio.to_thread(faulty.enqueue_many, range(3))
            ids = [task_id for task_id, _ in await asyncio.to_thread(faulty.dequeue_many, 3)]
            # The server carries the calls out, and its replies do not come.
            proxy.silent = True
            with pytest.raises(torrelque.TorrelqueConnectionError):
                await asyncio.to_thread(VERBS[verb], faulty, ids)
            proxy.silent = False
            proxy.cut()
            done = await asyncio.to_thread(VERBS[verb], faulty, ids)
            assert done == ([True] * 3 if verb == 'release_many' else True)
            assert not faulty._unsure


async def test_a_repetition_that_was_not_carried_out_before_is_carried_out(
    durable_server: RealServer, impatient: None
) -> None:
    async with durable_server.client() as client, Torrelque(client, queue='q') as queue:
        await queue.enqueue_many(range(2))
        ids = [task_id for task_id, _ in await queue.dequeue(max_tasks=2)]
        await asyncio.to_thread(durable_server.kill)
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await queue.release(ids[0], result='first')
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await queue.bury(ids[1])
        await asyncio.to_thread(durable_server.start)
        assert await queue.release(ids[0], result='second') is True
        assert (await queue.get_task_state(ids[0])).result == 'second'
        assert await queue.bury(ids[1]) is True
        assert (await queue.get_queue_stats()).dead == 1


async def test_a_worker_counts_what_was_carried_out_late_as_done(
    make_server: MakeServer, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    done: list[Any] = []
    go = asyncio.Event()
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        await queue.enqueue_many(['plain', 'plain', 'result', 'fail'], max_attempts=1)

        async def handle(delivery: Delivery) -> Any:
            await go.wait()
            if delivery.task == 'fail':
                raise ValueError('no')
            return 1 if delivery.task == 'result' else None

        async with Worker(queue, handle, on_dead=lambda delivery, error: done.append(error)) as worker:
            while len(worker.health().running) < 4:
                await asyncio.sleep(0.01)
            stop(server)
            go.set()
            while 'not settled yet' not in caplog.text:
                await asyncio.sleep(0.01)
            go_on(server)
            while worker.health().running:
                await asyncio.sleep(0.01)
        health = worker.health()
        assert (health.succeeded, health.failed, health.dead, health.lost) == (3, 1, 1, 0)
        assert [type(error) for error in done] == [ValueError]
        assert not [record for record in caplog.records if record.levelno == logging.WARNING and 'ours' in record.msg]


def test_of_calls_that_are_in_doubt_the_latest_are_remembered() -> None:
    unsure = Unsure(2)
    for k in range(3):
        unsure.note('release', [TorrelqueTaskId(str(k)), f'1-{k}', ''])
    assert unsure.again('release', ['0', '1-0', '']) is None
    assert unsure.again('release', ['2', '1-2?5', 'x']) == ['2', '1-2', 'x']
    assert unsure.again('bury', ['2', '1-2', 'mark', 'x']) is None
    # An id that is not fenced may be about another delivery.
    unsure.note('bury', ['plain', '', 'mark', 'x'])
    assert unsure.again('bury', ['plain', '', 'other', 'x']) is None
