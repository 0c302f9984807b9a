"""Waiting for tasks: the doorbell, the timer, many waiters, and waiters that go away."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
import warnings

import pytest

import torrelque
from proxy import calls_of, has_part, open_proxy
from torrelque import Torrelque


async def idle(queue, tasks=0):
    """Wait until the queue has so many tasks and nobody holds one."""
    while (stats := await queue.get_queue_stats()).working or stats.tasks != tasks:
        await asyncio.sleep(0.005)


async def until_waiting(client, server_side='blpop', count=1):
    while sum(c['cmd'] == server_side for c in await client.client_list()) < count:
        await asyncio.sleep(0.005)


async def test_waiters_get_tasks_in_the_order_of_their_calls(client, queue):
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(10)]
    await until_waiting(client)
    await queue.enqueue_many(range(10))
    assert [task for _, task in await asyncio.gather(*waiting)] == list(range(10))


async def test_a_bulk_waiter_gets_what_is_there_at_least_one(client, queue):
    await queue.enqueue_many(range(3))
    assert [n for _, n in await queue.dequeue(max_tasks=5)] == [0, 1, 2]
    waiting = asyncio.ensure_future(queue.dequeue(max_tasks=5))
    await until_waiting(client)
    await queue.enqueue('one')
    assert [n for _, n in await waiting] == ['one']
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0, max_tasks=2)


async def test_timeout_is_kept(queue):
    loop = asyncio.get_running_loop()
    for timeout in (0, 0.05, 0.2):
        started = loop.time()
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(timeout)
        assert timeout - 0.001 <= loop.time() - started < timeout + 1
    await queue.enqueue(1)
    assert (await queue.dequeue(0.000001))[1] == 1


async def test_a_waiter_outlives_blocks_and_socket_timeouts(server, queue, queue_name):
    async with server.client(socket_timeout=0.2) as client, Torrelque(client, queue=queue_name) as waiter:
        waiting = asyncio.ensure_future(waiter.dequeue())
        await asyncio.sleep(2.5)
        assert not waiting.done()
        await queue.enqueue(1)
        assert (await waiting)[1] == 1


async def test_due_and_expired_tasks_come_by_themselves_to_who_waits(queue):
    loop = asyncio.get_running_loop()
    for prepare in (
        lambda: queue.enqueue(1, delay=0.3),
        lambda: queue.enqueue(1, delay=2.4),
    ):
        started = loop.time()
        await prepare()
        task_id, _ = await queue.dequeue()
        late = loop.time() - started
        assert await queue.requeue(task_id, 0.3)
        task_id, _ = await queue.dequeue()
        await queue.touch(task_id, task_timeout=0.2)
        again, _ = await queue.dequeue()
        assert again.attempt == 3
        await queue.release(again)
        assert late >= 0.299


async def test_a_waiter_of_another_process_learns_of_a_nearer_deadline(client, queue, queue_name, server):
    loop = asyncio.get_running_loop()
    async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
        waiting = asyncio.ensure_future(other.dequeue())
        await until_waiting(client)
        started = loop.time()
        await queue.enqueue(1, delay=0.1)
        task_id, _ = await waiting
        assert 0.1 <= loop.time() - started < 1.5
        # The lease of one who does not wait.
        waiting = asyncio.ensure_future(queue.dequeue())
        await until_waiting(client)
        started = loop.time()
        await other.touch(task_id, task_timeout=0.1)
        assert (await waiting)[0].attempt == 2
        assert 0.099 <= loop.time() - started < 1.5


async def test_due_tasks_come_under_a_backlog_too(queue):
    await queue.enqueue_many(range(500))
    await queue.enqueue('due', delay=0.01)
    await asyncio.sleep(0.02)
    seen = []
    while 'due' not in seen:
        task_id, task = await queue.dequeue(1)
        seen.append(task)
        await queue.release(task_id)
    assert len(seen) == 501


async def test_a_million_is_not_needed_to_see_that_all_due_tasks_come(queue):
    await queue.enqueue_many(range(3000), delay=0.001)
    got = []
    while len(got) < 3000:
        some = await queue.dequeue(5, max_tasks=1000)
        got += [n for _, n in some]
    assert sorted(got) == list(range(3000))


@pytest.mark.parametrize('turns', range(12))
async def test_a_waiter_cancelled_at_any_turn_strands_nothing(queue, turns):
    await queue.enqueue_many(range(3))
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    cancelled = isinstance(results[1], asyncio.CancelledError)
    await asyncio.sleep(0.02)
    stats = await queue.get_queue_stats()
    assert (stats.working, stats.pending) == ((2, 1) if cancelled else (3, 0))
    if cancelled:
        task_id, _ = await queue.dequeue(0)
        state = await queue.get_task_state(task_id)
        assert state.dequeue_count - state.forgiven == 1


@pytest.mark.parametrize('turns', range(12))
@pytest.mark.parametrize('verb', ['enqueue', 'release', 'requeue', 'touch', 'bury', 'cancel'])
async def test_a_call_cancelled_at_any_turn_is_whole_and_poisons_nothing(queue, turns, verb):
    await queue.enqueue(0)
    taken, _ = await queue.dequeue()
    call = asyncio.ensure_future(queue.enqueue(1) if verb == 'enqueue' else getattr(queue, verb)(taken))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled() or call.result()
    stats = await queue.get_queue_stats()
    assert stats.tasks == stats.pending + stats.working + stats.delayed + stats.dead
    await queue.enqueue(2)
    assert 2 in [n for _, n in await queue.dequeue(0, max_tasks=5)]


async def test_a_claim_for_waiters_that_are_gone_goes_back_to_the_head(server, queue, queue_name, client):
    async with open_proxy(server) as proxy, proxy.client() as slow, Torrelque(slow, queue=queue_name) as waiter:
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await waiter.dequeue(0)
        ids = await queue.enqueue_many(range(4))
        before = len(proxy.requests)
        proxy.silent = True
        waiting = [asyncio.ensure_future(waiter.dequeue()) for _ in range(3)]
        while (await queue.get_queue_stats()).working < 1:
            await asyncio.sleep(0.002)
        assert has_part(b''.join(proxy.requests[before:]), calls_of('claim'))
        for call in waiting:
            call.cancel()
        proxy.silent = False
        proxy.cut()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await idle(queue, 4)
        got = await queue.dequeue(max_tasks=10)
        assert got == list(zip(ids, range(4), strict=True))


async def test_wait_for_loses_nothing(queue):
    for n in range(200):
        waiting = asyncio.ensure_future(asyncio.wait_for(queue.dequeue(), n * 0.00002))
        await asyncio.sleep(0)
        await queue.enqueue(n)
        try:
            task_id, task = await waiting
        except asyncio.TimeoutError:
            task_id, task = await queue.dequeue(1)
        assert task == n
        await queue.release(task_id)
    await idle(queue)


async def test_consumers_share_work_that_was_rung_for_once(client, server, queue, queue_name):
    others = []
    clients = [server.client() for _ in range(4)]
    for other in clients:
        others.append(Torrelque(other, queue=queue_name))
    waiting = [asyncio.ensure_future(other.dequeue()) for other in others]
    await until_waiting(client, count=4)
    started = time.monotonic()
    await queue.enqueue_many(range(4))
    assert sorted(n for _, n in await asyncio.gather(*waiting)) == list(range(4))
    assert time.monotonic() - started < 1
    for other in [*others, *clients]:
        await other.aclose()


async def test_a_hundred_waiters_need_two_connections(server, client, queue_name):
    before = len(await client.client_list())
    async with server.client(max_connections=1) as few, Torrelque(few, queue=queue_name) as queue:
        waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(100)]
        await until_waiting(client)
        assert len(await client.client_list()) - before <= 2
        assert await few.ping()
        await queue.enqueue_many(range(100))
        assert len(await asyncio.gather(*waiting)) == 100


async def test_queues_of_one_client_share_the_connection_for_calls(server, client):
    before = len(await client.client_list())
    async with server.client() as shared:
        queues = [Torrelque(shared, queue=f'q{n}') for n in range(10)]
        for queue in queues:
            await queue.enqueue(1)
        assert len(await client.client_list()) - before == 1
        for queue in queues[:-1]:
            await queue.aclose()
        assert await queues[-1].dequeue(0)
        await queues[-1].aclose()
        while len(await client.client_list()) > before:
            await asyncio.sleep(0.01)


async def test_aclose_ends_waiting_calls_and_leaves_the_client(client, queue_name):
    queue = Torrelque(client, queue=queue_name)
    waiting = [asyncio.ensure_future(queue.dequeue()) for _ in range(3)]
    await until_waiting(client)
    await queue.aclose()
    for call in waiting:
        with pytest.raises(torrelque.TorrelqueError, match='closed'):
            await call
    for call in (queue.enqueue(1), queue.dequeue(0), queue.sweep(), queue.release('x'), queue.enqueue_many([1])):
        with pytest.raises(torrelque.TorrelqueError, match='closed'):
            await call
    await queue.aclose()
    assert await client.ping()
    assert await client.keys('*') == []


async def test_aclose_gives_back_what_was_claimed_meanwhile(client, queue_name):
    for turns in range(10):
        await client.flushdb()
        queue = Torrelque(client, queue=queue_name)
        await queue.enqueue(1)
        waiting = asyncio.ensure_future(queue.dequeue())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(queue.aclose())
        results = await asyncio.gather(waiting, return_exceptions=True)
        await closing
        async with Torrelque(client, queue=queue_name) as other:
            stats = await other.get_queue_stats()
        assert stats.pending == isinstance(results[0], torrelque.TorrelqueError)
        assert not [key for key in await client.keys('*') if b':claim:' in key]


async def test_another_loop_is_refused(server):
    client = server.client()
    queue = Torrelque(client)
    await queue.enqueue(1)

    def elsewhere():
        async def call():
            with pytest.raises(torrelque.TorrelqueError, match='event loop'):
                await queue.enqueue(2)

        asyncio.run(call())

    await asyncio.to_thread(elsewhere)
    assert (await queue.dequeue(0))[1] == 1
    await queue.aclose()
    await client.aclose()


async def test_a_killed_consumer_that_took_the_ring_delays_nobody_for_long(client, server, queue, queue_name):
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
        try:
            assert await asyncio.to_thread(process.stdout.readline) == b'took\n'
            waiting = asyncio.ensure_future(queue.dequeue())
            await asyncio.sleep(0.05)
        finally:
            process.kill()
        task_id, task = await asyncio.wait_for(waiting, 5)
        assert (task, task_id.attempt) == ('mine', 2)


async def test_idle_consumers_are_quiet(client, queue):
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    before = (await client.info('stats'))['total_commands_processed']
    await asyncio.sleep(1.5)
    assert (await client.info('stats'))['total_commands_processed'] - before < 30
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_objects_made_before_a_fork_are_told_apart(server, queue, queue_name):
    code = (
        'import asyncio, os, sys, redis.asyncio, torrelque\n'
        'client = redis.asyncio.Redis(unix_socket_path=sys.argv[1])\n'
        'queue = torrelque.Torrelque(client, queue=sys.argv[2])\n'
        'queue._plan.mark()\n'
        'async def main():\n'
        '    try:\n'
        '        await queue.enqueue(1, task_id="own")\n'
        '    except torrelque.TorrelqueDuplicateError:\n'
        '        os._exit(7)\n'
        '    os._exit(0)\n'
        'children = []\n'
        'for n in range(3):\n'
        '    if not (pid := os.fork()):\n'
        '        asyncio.run(main())\n'
        '    children.append(pid)\n'
        'codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)\n'
        'assert codes == [0, 7, 7], codes\n'
    )
    process = await asyncio.create_subprocess_exec(sys.executable, '-c', code, server.socket, queue_name)
    assert await process.wait() == 0


async def test_objects_that_are_not_closed_leave_no_connection(server, client, queue_name):
    async def use(other):
        queue = Torrelque(other, queue=queue_name)
        await queue.enqueue(1)
        await queue.dequeue()
        with contextlib.suppress(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0.01)

    before = len(await client.client_list())
    async with server.client() as other:
        for _ in range(20):
            await use(other)
        while len(await client.client_list()) > before:
            gc.collect()
            await asyncio.sleep(0.01)


def test_an_object_can_be_closed_after_its_loop(server):
    client = server.client()
    queue = Torrelque(client)

    async def use():
        await queue.enqueue(1)
        await client.aclose()

    async def close():
        await queue.aclose()
        with pytest.raises(torrelque.TorrelqueError):
            await queue.enqueue(1)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        asyncio.run(use())
        asyncio.run(close())
        gc.collect()


async def test_what_came_due_while_nobody_waited_is_there_now(queue):
    for _ in range(3):
        await queue.enqueue(1, delay=0.02)
        await asyncio.sleep(0.03)
        task_id, _ = await queue.dequeue(0)
        await queue.touch(task_id, task_timeout=0.02)
        await asyncio.sleep(0.03)
        (again, _), *_ = await queue.dequeue(0, max_tasks=2)
        assert again.attempt == 2
        await queue.release(again)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0)


async def test_a_settle_call_that_is_cancelled_before_it_is_sent_is_sent(queue):
    ids = await queue.enqueue_many(range(10))
    taken = [task_id for task_id, _ in await queue.dequeue(max_tasks=10)]
    assert taken == ids
    calls = [asyncio.ensure_future(queue.release(task_id)) for task_id in taken]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await idle(queue)


def test_consumers_that_end_with_their_loop_strand_nothing(server):
    async def main(turns):
        client = server.client()
        queue = Torrelque(client)

        async def consume():
            while True:
                task_id, _ = await queue.dequeue()
                await queue.release(task_id)

        consumers = [asyncio.ensure_future(consume()) for _ in range(10)]
        await queue.enqueue_many(range(300))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()
        assert consumers
        return queue

    async def look():
        async with server.client() as client, Torrelque(client) as queue:
            for _ in range(100):
                stats = await queue.get_queue_stats()
                if not stats.working:
                    return stats
                await asyncio.sleep(0.01)
            raise AssertionError(stats)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        for turns in range(0, 40, 3):
            asyncio.run(main(turns))
            gc.collect()
            asyncio.run(look())
            with server.sync_client() as client:
                client.flushall()


@pytest.mark.parametrize('leaves', [False, True])
async def test_a_ring_during_a_claim_is_not_lost(server, client, queue, queue_name, monkeypatch, leaves):
    first = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    fetcher, loop = queue._session.fetcher, asyncio.get_running_loop()
    submit, held = fetcher._link.submit, asyncio.Event()

    def hold(request):
        # The claim is carried out at once, its reply comes late.
        callback, request.callback = request.callback, lambda *reply: loop.create_task(come(callback, reply))
        submit(request)

    async def come(callback, reply):
        await held.wait()
        callback(*reply)

    monkeypatch.setattr(fetcher._link, 'submit', hold)
    second = asyncio.ensure_future(queue.dequeue())
    await asyncio.sleep(0)
    monkeypatch.setattr(fetcher._link, 'submit', submit)
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0)
    await queue.enqueue(1)
    while fetcher._listening:
        await asyncio.sleep(0.001)
    if leaves:
        # Another one waits, at a bell of its own connection.
        async with server.client() as other_client, Torrelque(other_client, queue=queue_name) as other:
            await client.rename(queue.keys['pending'], 'aside')
            third = asyncio.ensure_future(other.dequeue())
            while not (other._session and other._session.fetcher._bell._in_flight):
                await asyncio.sleep(0.001)
            await client.rename('aside', queue.keys['pending'])
            first.cancel()
            second.cancel()
            held.set()
            assert (await asyncio.wait_for(third, 1.5))[1] == 1
        await asyncio.wait([first, second])
        return
    held.set()
    # Well before the next block at the bell would end.
    assert (await asyncio.wait_for(first, 1.5))[1] == 1
    second.cancel()
    await asyncio.wait([second])


async def test_who_keeps_the_time_of_a_task_does_not_ring_for_it(client, queue):
    """Else it would wake itself again and again until the task is due."""
    await queue.enqueue(1, delay=1)
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    before = (await client.info('stats'))['total_commands_processed']
    await waiting
    assert (await client.info('stats'))['total_commands_processed'] - before < 60


@pytest.mark.parametrize('wanted', [1, 5])
async def test_who_leaves_while_it_keeps_the_time_wakes_another(server, client, queue, queue_name, monkeypatch, wanted):
    # Nobody's block at the bell ends by itself.
    monkeypatch.setattr('torrelque.fetch.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK_MS', '60000')
    async with server.client() as one_client, server.client() as two_client:
        async with Torrelque(one_client, queue=queue_name) as one, Torrelque(two_client, queue=queue_name) as two:
            # Whoever waits longest at the bell is rung for.
            leaves = asyncio.ensure_future(one.dequeue(max_tasks=wanted))
            await until_waiting(client)
            stays = asyncio.ensure_future(two.dequeue())
            await until_waiting(client, count=2)
            await queue.enqueue(1, delay=1)
            while one._session.fetcher._timer is None:
                await asyncio.sleep(0.005)
            assert two._session.fetcher._timer is None
            leaves.cancel()
            await asyncio.wait([leaves])
            assert (await asyncio.wait_for(stays, 10))[1] == 1


async def test_a_bulk_waiter_that_is_served_in_part_hands_the_time_on(server, client, queue, queue_name, monkeypatch):
    monkeypatch.setattr('torrelque.fetch.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK_MS', '60000')
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
            assert (await asyncio.wait_for(stays, 10))[1] == 'later'


def test_a_settle_call_that_is_cancelled_with_its_loop_is_sent(make_server):
    server = make_server()

    async def main():
        client = server.client()
        queue = Torrelque(client)
        await queue.enqueue_many(range(3))
        # The server does not know the script yet, and nobody will be there to send it again, whole.
        taken = [task_id for task_id, _ in await queue.dequeue(max_tasks=3)]
        # No reply comes before the loop ends.
        server.pause()
        calls = [asyncio.ensure_future(queue.release(task_id)) for task_id in taken]
        await asyncio.sleep(0)
        await client.aclose()
        assert calls
        return queue

    async def look():
        async with server.client() as client, Torrelque(client) as queue:
            await asyncio.wait_for(idle(queue), 10)

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        try:
            asyncio.run(main())
        finally:
            server.resume()
        gc.collect()
        asyncio.run(look())


async def test_closing_waits_for_calls_that_are_on_their_way(client, queue_name):
    queue = Torrelque(client, queue=queue_name)
    await queue.get_queue_stats()
    calls = [asyncio.ensure_future(call) for call in (queue.enqueue(1), queue.enqueue(2), queue.get_queue_stats())]
    await asyncio.sleep(0)
    await queue.aclose()
    assert len(await asyncio.gather(*calls)) == 3


async def test_a_ring_that_is_lost_costs_seconds(client, queue):
    waiting = asyncio.ensure_future(queue.dequeue())
    await until_waiting(client)
    async with client.pipeline(transaction=True) as pipeline:
        await queue.enqueue(1, pipeline=pipeline)
        pipeline.delete(queue.keys['bell'])
        await pipeline.execute()
    # As long as one block at the bell.
    assert (await asyncio.wait_for(waiting, 4))[1] == 1


@pytest.fixture
def endless(monkeypatch):
    """Nobody's block at the bell ends by itself."""
    monkeypatch.setattr('torrelque.fetch.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK', 60.0)
    monkeypatch.setattr('torrelque.session.BLOCK_MS', '60000')


async def test_a_ring_for_who_has_gone_is_passed_on(server, client, queue, queue_name, endless):
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
            assert (await asyncio.wait_for(stays, 10))[1] == 1


@pytest.mark.parametrize('end', ['closed', 'collected'])
async def test_who_ends_with_a_ring_on_its_way_passes_it_on(server, client, queue, queue_name, endless, end):
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
            assert (await asyncio.wait_for(stays, 10))[1] == 1
            gate.open()


async def test_a_claim_is_acknowledged_by_itself(client, queue):
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()

    async def acknowledged():
        while await client.keys(f'{queue.keys["claim"]}:*'):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(acknowledged(), 5)
    assert await queue.release(taken)


async def test_a_cancelled_caller_takes_nobody_along(queue):
    await queue.get_queue_stats()
    first, *calls = [asyncio.ensure_future(queue.enqueue(n)) for n in range(4)]
    await first
    while (batch := queue._session.batch('enqueue'))._waiting:
        await asyncio.sleep(0)
    # They are on their way together.
    assert batch._away
    calls[0].cancel()
    ids = await asyncio.wait_for(asyncio.gather(*calls[1:]), 5)
    assert calls[0].cancelled() and len(set(ids)) == 2
    assert await queue.get_queue_stats() == (4, 4, 0, 0, 0)


@pytest.mark.parametrize('wanted', [1, 5])
async def test_a_waiter_cancelled_when_it_was_just_served_gives_back(queue, monkeypatch, wanted):
    await queue.get_queue_stats()
    fetcher = queue._session.fetcher
    resolve = fetcher._resolve

    def serve(waiter, error=None):
        resolve(waiter, error)
        waiting.cancel()

    monkeypatch.setattr(fetcher, '_resolve', serve)
    waiting = asyncio.ensure_future(queue.dequeue(max_tasks=wanted))
    task_id = await queue.enqueue(1)
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await asyncio.wait_for(idle(queue, 1), 5)
    state = await queue.get_task_state(task_id)
    assert (state.dequeue_count, state.forgiven) == (1, 1)


@pytest.mark.parametrize('verb', ['stats', 'enqueue'])
async def test_a_cancelled_call_costs_no_connection(queue, verb):
    await queue.get_queue_stats()
    before = queue._session._link._transport
    call = asyncio.ensure_future(queue.get_queue_stats() if verb == 'stats' else queue.enqueue(1))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await queue.get_queue_stats()
    assert queue._session._link._transport is before


async def test_closing_gives_back_what_a_claim_that_is_sent_again_brings(server, queue, queue_name):
    async with open_proxy(server) as proxy, proxy.client() as client:
        closing = Torrelque(client, queue=queue_name)
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await closing.dequeue(0)  # from now on the server knows the script
        await queue.enqueue(1)
        proxy.lose_reply(calls_of('claim'))
        waiting = asyncio.ensure_future(closing.dequeue())
        await asyncio.sleep(0)
        proxy.refusing = True
        while closing._session._link.connected:
            await asyncio.sleep(0.001)
        end = asyncio.ensure_future(closing.aclose())
        await asyncio.sleep(0.1)
        proxy.refusing = False
        await end
        with pytest.raises(torrelque.TorrelqueClosedError):
            await waiting
        assert await queue.get_queue_stats() == (1, 1, 0, 0, 0)


@pytest.mark.parametrize('again', [False, True])
async def test_closing_that_is_cancelled_goes_on_by_itself(server, queue, queue_name, again):
    await queue.enqueue(1)
    async with open_proxy(server) as proxy, proxy.client() as client:
        closing = Torrelque(client, queue=queue_name)
        await closing.get_queue_stats()
        gate = proxy.hold_reply(calls_of('claim'))
        waiting = asyncio.ensure_future(closing.dequeue())
        await gate.arrived.wait()
        end = asyncio.ensure_future(closing.aclose())
        await asyncio.sleep(0.01)
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        gate.open()
        if again:
            await closing.aclose()
            assert await queue.get_queue_stats() == (1, 1, 0, 0, 0)
        with pytest.raises(torrelque.TorrelqueClosedError):
            await waiting
        taken, _ = await queue.dequeue(5)
        assert await queue.release(taken)


async def test_what_is_due_comes_on_time_to_who_waits(queue, endless):
    await queue.enqueue(1, delay=0.3, task_timeout=0.3)
    first, _ = await asyncio.wait_for(queue.dequeue(), 10)
    again, _ = await asyncio.wait_for(queue.dequeue(), 10)
    assert (first.attempt, again.attempt) == (1, 2)


LIMITED = ['limit', 'default limit', 'release', 'bury', 'cancel']
HELD = ['requeue', 'retry', 'touch', 'sweep', 'redrive']


@pytest.mark.parametrize(
    'verb', [*LIMITED, *HELD, 'enqueue', 'priority', 'group', 'delay', 'resume', 'resume group']
)
async def test_what_makes_work_available_wakes_who_waits(server, client, queue, queue_name, endless, verb):
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
        waiting = asyncio.ensure_future(waiter.dequeue())
        await until_waiting(client)
        if verb == 'sweep':
            await client.zadd(queue.keys['working'], {held: 1})
        elif verb == 'cancel':
            await queue.cancel(held)
        acts = {
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
        # Nobody's block at the bell ends by itself.
        assert (await asyncio.wait_for(waiting, 10))[1] == 1
