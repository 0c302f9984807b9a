"""The bell: whoever waits learns of work, whoever else comes, goes, or dies with a ring."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from support.bounding import Bound
from support.proxy import open_proxy
from support.servers import RealServer
from support.waiting import until, until_waiting
from torrelque import Torrelque, TorrelqueTimeoutError
from torrelque.aio.link import Link, Request
from torrelque.aio.shelf import Shelf

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.first_server


@pytest.mark.parametrize('wanted', [1, 2])
async def test_consumers_share_work_that_was_rung_for_once(
    client: redis.asyncio.Redis, server: RealServer, queue: Torrelque, queue_name: str, endless: None, wanted: int
) -> None:
    others = []
    clients = [server.client() for _ in range(4)]
    for other in clients:
        others.append(Torrelque(other, queue=queue_name))
    waiting = [asyncio.ensure_future(other.dequeue_many(wanted)) for other in others]
    await until_waiting(client, count=4)
    await queue.enqueue_many(range(4 * wanted))
    got = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert sorted(n for tasks in got for _, n in tasks) == list(range(4 * wanted))
    for waiter in others:
        await waiter.aclose()
    for other in clients:
        await other.aclose()


async def test_a_killed_consumer_that_took_the_ring_delays_nobody_for_long(
    server: RealServer, queue: Torrelque, queue_name: str
) -> None:
    code = (
        'import asyncio, sys, redis.asyncio, torrelque\n'
        'async def main():\n'
        '    client = redis.asyncio.Redis(unix_socket_path=sys.argv[1])\n'
        '    queue = torrelque.Torrelque(client, queue=sys.argv[2], )\n'
        '    await queue.enqueue("mine", task_timeout=0.3)\n'
        '    await queue.dequeue()\n'
        '    print("took", flush=True)\n'
        '    await asyncio.sleep(60)\n'
        'asyncio.run(main())\n'
    )
    with subprocess.Popen([sys.executable, '-c', code, server.socket, queue_name], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert await asyncio.to_thread(process.stdout.readline) == b'took\n'
            waiting = asyncio.ensure_future(queue.dequeue())
            await asyncio.sleep(0.05)
        finally:
            process.kill()
        task_id, task = await asyncio.wait_for(waiting, 60)
        assert (task, task_id.attempt) == ('mine', 2)


async def test_idle_consumers_are_quiet(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    before = (await client.info('stats'))['total_commands_processed']
    await asyncio.sleep(1.5)
    assert (await client.info('stats'))['total_commands_processed'] - before < 30
    waiting.cancel()
    await asyncio.wait([waiting])


@contextlib.contextmanager
def holding_replies(shelf: Shelf) -> Iterator[asyncio.Event]:
    """Claims that are made are carried out at once, and their replies come when the event is set."""
    submit, held, loop = shelf._link.submit, asyncio.Event(), asyncio.get_running_loop()

    def hold(request: Any) -> None:
        callback, request.callback = request.callback, lambda *reply: loop.create_task(come(callback, reply))
        submit(request)

    async def come(callback: Any, reply: Any) -> None:
        await held.wait()
        callback(*reply)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf._link, 'submit', hold)
        yield held


@pytest.mark.parametrize('then', ['waits', 'leaves', 'served'])
async def test_a_ring_during_a_claim_is_not_lost(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    endless: None,
    then: str,
) -> None:
    first = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    if then == 'served':
        # There is a task for the claim, and nobody was rung for it.
        async with client.pipeline(transaction=True) as pipeline:
            await queue.enqueue(0, pipeline=pipeline)
            pipeline.delete(queue.keys['bell'])
            await pipeline.execute()
    assert queue._session is not None
    shelf = queue._session.shelf
    with holding_replies(shelf) as held:
        second = asyncio.ensure_future(queue.dequeue())
        await asyncio.sleep(0)
        shelf.pump()
    assert (await queue.get_queue_stats()).working == (then == 'served')
    await queue.enqueue(1)
    while shelf._bell.call:
        await asyncio.sleep(0.001)
    if then != 'waits':
        # Another one waits, at a bell of its own connection.
        async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
            await client.rename(queue.keys['pending'], 'aside')
            third = asyncio.ensure_future(other.dequeue())
            while not (other._session and other._session.shelf._bell.link._in_flight):
                await asyncio.sleep(0.001)
            await client.rename('aside', queue.keys['pending'])
            if then == 'leaves':
                first.cancel()
            second.cancel()
            held.set()
            assert (await asyncio.wait_for(third, 60))[1] == 1
        await asyncio.wait([first, second])
        return
    held.set()
    assert (await asyncio.wait_for(first, 60))[1] == 1
    second.cancel()
    await asyncio.wait([second])


async def test_who_leaves_while_its_claim_is_on_its_way_keeps_no_time(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None
) -> None:
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        leaves = asyncio.ensure_future(queue.dequeue())
        await until_waiting(client)
        stays = asyncio.ensure_future(other.dequeue())
        await until_waiting(client, count=2)
        assert queue._session is not None
        with holding_replies(queue._session.shelf) as held:
            await other.enqueue(1, delay=1)
            await until(lambda: queue._session and queue._session.shelf.claiming)
        # The server was told that whoever claims goes on waiting, and keeps the time of the task.
        leaves.cancel()
        await asyncio.wait([leaves])
        held.set()
        assert (await asyncio.wait_for(stays, 60))[1] == 1


async def test_who_keeps_the_time_of_a_task_does_not_ring_for_it(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    """Else it would wake itself again and again until the task is due."""
    await queue.enqueue(1, delay=1)
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    before = (await client.info('stats'))['total_commands_processed']
    await waiting
    assert (await client.info('stats'))['total_commands_processed'] - before < 60


@pytest.mark.parametrize('wanted', [1, 5])
async def test_who_leaves_while_it_keeps_the_time_wakes_another(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None, wanted: int
) -> None:
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            # Whoever waits longest at the bell is rung for.
            leaves = asyncio.ensure_future(one.dequeue(max_tasks=wanted))
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            await queue.enqueue(1, delay=1)
            assert one._session is not None
            while one._session.shelf._timer is None:
                await asyncio.sleep(0.005)
            assert two._session is not None
            assert two._session.shelf._timer is None
            leaves.cancel()
            await asyncio.wait([leaves])
            assert (await asyncio.wait_for(stays, 60))[1] == 1


async def test_a_bulk_waiter_that_is_served_in_part_hands_the_time_on(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None
) -> None:
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            leaves = asyncio.ensure_future(one.dequeue(max_tasks=5))
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            async with client.pipeline(transaction=True) as pipeline:
                await queue.enqueue('now', pipeline=pipeline)
                await queue.enqueue('later', delay=1, pipeline=pipeline)
                await pipeline.execute()
            assert [task for _, task in await leaves] == ['now']
            assert (await asyncio.wait_for(stays, 60))[1] == 'later'


async def test_a_ring_that_is_lost_costs_seconds(client: redis.asyncio.Redis, queue: Torrelque, bound: Bound) -> None:
    # Nor is the connection given up, or thought silent.
    bound(repeat=1e6, silence=1e6, guard_looks=10**6)
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    async with client.pipeline(transaction=True) as pipeline:
        await queue.enqueue(1, pipeline=pipeline)
        pipeline.delete(queue.keys['bell'])
        await pipeline.execute()
    # As long as one block at the bell.
    assert (await asyncio.wait_for(waiting, 60))[1] == 1


async def test_a_ring_for_who_has_gone_is_passed_on(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None
) -> None:
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            # Whoever waits longest at the bell is rung for.
            leaves = asyncio.ensure_future(one.dequeue())
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            leaves.cancel()
            await asyncio.wait([leaves])
            await queue.enqueue(1)
            assert (await asyncio.wait_for(stays, 60))[1] == 1


@pytest.mark.parametrize('end', ['closed', 'collected'])
async def test_who_ends_with_a_ring_on_its_way_passes_it_on(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, queue_name: str, endless: None, end: str
) -> None:
    async with open_proxy(server) as proxy, proxy.client() as one_client, server.client() as two_client:
        async with Torrelque(two_client, queue=queue_name) as two:
            gate = proxy.hold_reply(b'BLPOP')
            one = Torrelque(one_client, queue=queue_name)
            leaves = asyncio.ensure_future(one.dequeue())
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            leaves.cancel()
            await asyncio.wait([leaves])
            await queue.enqueue(1)
            while await client.exists(queue.keys['bell']):
                await asyncio.sleep(0.001)
            if end == 'closed':
                await one.aclose()
            del one, leaves
            gc.collect()
            assert (await asyncio.wait_for(stays, 60))[1] == 1
            gate.open()


async def test_what_is_due_comes_on_time_to_who_waits(queue: Torrelque, endless: None) -> None:
    await queue.enqueue(1, delay=0.3, task_timeout=0.3)
    first, _ = await asyncio.wait_for(queue.dequeue(), 60)
    again, _ = await asyncio.wait_for(queue.dequeue(), 60)
    assert (first.attempt, again.attempt) == (1, 2)


LIMITED = ['limit', 'default limit', 'release', 'bury', 'cancel']
HELD = ['requeue', 'retry', 'touch', 'sweep', 'redrive']


async def test_a_sweep_that_fails_is_not_tried_again_at_once(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: collections.Counter[str] = collections.Counter()
    submit, sweeps = Link.submit, []

    def submit_or_fail(link: Link, request: Request) -> None:
        name = request.transition.name if request.transition else ''
        sent[name] += 1
        if name == 'sweep':
            sweeps.append(link.loop.time())
        if name == 'sweep' and len(sweeps) < 3:
            link.loop.call_soon(request.callback, None, redis.exceptions.ResponseError('ERR out of order'))
        else:
            submit(link, request)

    monkeypatch.setattr(Link, 'submit', submit_or_fail)
    await queue.enqueue('later', delay=0.05)
    _, task = await queue.dequeue(60)
    assert task == 'later'
    assert sent['claim'] <= 10, sent
    assert sweeps[1] - sweeps[0] > 0.5 and sweeps[2] - sweeps[1] > 0.5
    assert 'a sweep failed: ERR out of order' in caplog.text


@pytest.mark.parametrize('comes', ['before', 'after'])
@pytest.mark.parametrize(
    'verb', [*LIMITED, *HELD, 'enqueue', 'priority', 'group', 'delay', 'resume', 'resume group']
)
async def test_what_makes_work_available_wakes_who_waits_and_who_comes_without_a_claim(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    endless: None,
    verb: str,
    comes: str,
) -> None:
    if verb in LIMITED:
        await queue.set_limit(None if verb == 'default limit' else 'g', concurrency=1)
        await queue.enqueue_many([0, 1], group='g')
    elif verb in HELD:
        await queue.enqueue(1)
    elif verb.startswith('resume'):
        group = 'g' if verb == 'resume group' else None
        await queue.pause(group)
        await queue.enqueue(1, group=group)
    held = (await queue.dequeue(0))[0] if verb in LIMITED + HELD else ''
    if verb == 'redrive':
        await queue.bury(held)
    async with server.client() as other, Torrelque(other, queue=queue_name) as waiter:
        if comes == 'before':
            waiting = asyncio.ensure_future(waiter.dequeue())
            await until_waiting(client)
        else:
            with pytest.raises(TorrelqueTimeoutError):
                await waiter.dequeue(0)
        if verb == 'sweep':
            await client.zadd(queue.keys['working'], {held: 1})
        elif verb == 'cancel':
            await queue.cancel(held)
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            'limit': lambda: queue.set_limit('g', concurrency=2),
            'default limit': lambda: queue.set_limit(concurrency=2),
            'release': lambda: queue.release(held),
            'bury': lambda: queue.bury(held),
            'cancel': lambda: queue.release(held),
            'requeue': lambda: queue.requeue(held),
            'retry': lambda: queue.requeue(held, 0.2),
            'touch': lambda: queue.touch(held, task_timeout=0.2),
            'sweep': queue.sweep,
            'redrive': queue.redrive,
            'enqueue': lambda: queue.enqueue(1),
            'priority': lambda: queue.enqueue(1, priority=-1),
            'group': lambda: queue.enqueue(1, group='g'),
            'delay': lambda: queue.enqueue(1, delay=0.2),
            'resume': queue.resume,
            'resume group': lambda: queue.resume('g'),
        }
        await acts[verb]()
        if comes == 'after':
            assert waiter._started().shelf.still
            waiting = asyncio.ensure_future(waiter.dequeue())
        # Nobody's block at the bell ends by itself.
        assert (await asyncio.wait_for(waiting, 60))[1] == 1
