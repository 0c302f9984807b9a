"""A line that fails: every call has the effect of once, and answers as it would have."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.bounding import Bound
from support.proxy import Proxy, calls_of
from support.servers import MakeServer, RealServer
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskStatus as Status
from torrelque.aio import link
from torrelque.aio.client import make_connector
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.transition import Transition


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.get_queue_stats()
        yield queue


LOSSES = ['lose_request', 'lose_reply']


def lose(proxy: Proxy, loss: str, name: str) -> None:
    getattr(proxy, loss)(calls_of(name))


@pytest.mark.parametrize('loss', LOSSES)
async def test_enqueue_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    await queue.enqueue('warm')
    for options in ({}, {'task_id': 'own'}, {'delay': 60}, {'task_id': 'late', 'delay': 60}):
        lose(proxy, loss, 'enqueue')
        await faulty.enqueue(1, **options)
        assert proxy.lossless
    assert await queue.get_queue_stats() == (5, 3, 0, 2, 0)
    for task_id in ('own', 'late'):
        with pytest.raises(torrelque.TorrelqueDuplicateError):
            await faulty.enqueue(2, task_id=task_id)
    assert len(await queue.dequeue(0, max_tasks=10)) == 3


@pytest.mark.parametrize('loss', LOSSES)
async def test_enqueue_many_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    lose(proxy, loss, 'enqueue')
    ids = await faulty.enqueue_many(range(600))
    assert proxy.lossless
    assert await queue.dequeue(0, max_tasks=700) == list(zip(ids, range(600), strict=True))


@pytest.mark.parametrize('loss', LOSSES)
async def test_enqueue_into_a_full_queue_is_once(proxy: Proxy, queue: Torrelque, queue_name: str, loss: str) -> None:
    await queue.enqueue(1)
    async with proxy.client() as client, Torrelque(client, queue=queue_name, max_tasks=2) as faulty:
        lose(proxy, loss, 'enqueue')
        await faulty.enqueue(2)
        with pytest.raises(torrelque.TorrelqueFullError):
            await faulty.enqueue(3)
        assert proxy.lossless


@pytest.mark.parametrize('loss', LOSSES)
async def test_dequeue_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    ids = await queue.enqueue_many(range(4))
    lose(proxy, loss, 'claim')
    taken, task = await faulty.dequeue(60)
    assert (taken, task, taken.attempt) == (ids[0], 0, 1)
    lose(proxy, loss, 'claim')
    got = await faulty.dequeue(60, max_tasks=10)
    assert [(task, task_id.attempt) for task_id, task in got] == [(1, 1), (2, 1), (3, 1)]
    assert proxy.lossless
    assert await faulty.release_many([taken, *(task_id for task_id, _ in got)]) == [True] * 4
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(
    ('name', 'options', 'status'),
    [
        ('release', {}, None),
        ('release', {'result': 1}, Status.COMPLETED),
        ('release', {'status': Status.REJECTED}, Status.REJECTED),
        ('requeue', {}, Status.PENDING),
        ('requeue', {'delay': 60, 'error': 'x'}, Status.DELAYED),
        ('requeue', {'forgive': True}, Status.PENDING),
        ('touch', {'progress': 1}, Status.WORKING),
        ('bury', {'error': 'x'}, Status.DEAD),
        ('cancel', {}, Status.CANCELLED),
    ],
)
@pytest.mark.parametrize('plain', [False, True])
async def test_settling_is_once(
    proxy: Proxy,
    faulty: Torrelque,
    queue: Torrelque,
    loss: str,
    name: str,
    options: dict[str, Any],
    status: Status | None,
    plain: bool,
) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    lose(proxy, loss, name)
    assert await getattr(faulty, name)(str(taken) if plain else taken, **options) is True
    assert proxy.lossless
    if status is None:
        with pytest.raises(torrelque.TorrelqueLookupError):
            await queue.get_task_state(taken)
    else:
        state = await queue.get_task_state(taken)
        assert state.status is status
        assert state.requeue_count == (status is Status.PENDING)
        assert state.forgiven == (options == {'forgive': True})
    if name not in ('cancel', 'touch'):
        assert await getattr(faulty, name)(str(taken) if plain else taken, **options) is False


@pytest.mark.parametrize('loss', LOSSES)
async def test_the_rest_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    ids = await queue.enqueue_many(range(3), max_attempts=1)
    for task_id, _ in await queue.dequeue(max_tasks=3):
        await queue.requeue(task_id)
    lose(proxy, loss, 'redrive')
    assert await faulty.redrive(*ids[:2]) == 2
    lose(proxy, loss, 'redrive')
    assert await faulty.redrive() == 1
    got = await queue.dequeue(max_tasks=3)
    lose(proxy, loss, 'release')
    assert await faulty.release_many([task_id for task_id, _ in got]) == [True] * 3
    lose(proxy, loss, 'stats')
    assert await faulty.get_queue_stats() == (0, 0, 0, 0, 0)
    lose(proxy, loss, 'sweep')
    assert await faulty.sweep() == (0, 0, 0)
    assert proxy.lossless


@pytest.mark.parametrize('lost', [False, True])
async def test_an_owner_that_has_two_deliveries_of_a_task_is_told_so_of_the_last(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, lost: bool
) -> None:
    await queue.enqueue(1, task_timeout=0.03)
    first, _ = await queue.dequeue()
    second, _ = await queue.dequeue(60)
    assert await queue.touch(second, task_timeout=600)
    if lost:
        lose(proxy, 'lose_reply', 'release')
    assert await faulty.release_many([first, second]) == [False, True]
    assert proxy.lossless


async def test_requeue_whose_reply_is_lost_is_done_even_if_somebody_took_the_task_since(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, server: RealServer
) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    proxy.lose_reply(calls_of('requeue'))
    call = asyncio.ensure_future(faulty.requeue(taken))
    proxy.refusing = True
    again, _ = await queue.dequeue()
    await queue.requeue(again)
    again, _ = await queue.dequeue()
    proxy.refusing = False
    assert await call is True
    assert again.attempt == 3 and (await queue.get_task_state(taken)).requeue_count == 2
    assert await queue.release(again) is True


async def test_scripts_that_the_server_forgot_are_sent_again(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.enqueue(1)
    for _ in range(3):
        await client.script_flush()
        taken, _ = await queue.dequeue()
        await client.script_flush()
        await queue.requeue(taken)
    await client.script_flush()
    assert len(await queue.enqueue_many(range(600))) == 600


async def test_calls_at_once_survive_cut_connections(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, hasty: None
) -> None:
    async def produce(n: int) -> list[TorrelqueTaskId]:
        return [await faulty.enqueue([n, k], task_id=f'{n}.{k}') for k in range(20)]

    async def consume() -> None:
        while len(done) < 400:
            try:
                task_id, task = await faulty.dequeue(0.2)
            except torrelque.TorrelqueTimeoutError:
                continue
            if await faulty.release(task_id):
                done.append(tuple(task))

    async def cut() -> None:
        while len(done) < 400:
            before = len(proxy.requests)
            await asyncio.sleep(0.02)
            # A machine that takes longer than that to connect would never come to a call.
            if any(b'EVAL' in request for request in proxy.requests[before:]):
                proxy.cut()

    done: list[tuple[int, int]] = []
    await asyncio.gather(*(produce(n) for n in range(20)), *(consume() for _ in range(10)), cut())
    assert sorted(done) == [(n, k) for n in range(20) for k in range(20)]
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0)


async def test_an_idle_consumer_outlives_a_restart_of_the_server(durable_server: RealServer) -> None:
    async with durable_server.client() as client, Torrelque(client) as queue:
        await queue.enqueue('before')
        assert (await queue.dequeue())[1] == 'before'
        waiting = asyncio.ensure_future(queue.dequeue())
        await asyncio.sleep(0.05)
        durable_server.kill()
        await asyncio.sleep(0.3)
        durable_server.start()
        await queue.enqueue('after')
        assert (await waiting)[1] == 'after'
        assert await queue.get_queue_stats() == (2, 0, 2, 0, 0)


async def test_a_deadline_is_a_deadline(proxy: Proxy, faulty: Torrelque, bound: Bound, hasty: None) -> None:
    bound(repeat=1e6)
    loop = asyncio.get_running_loop()
    proxy.silent = True
    for timeout in (0, 0.3):
        started = loop.time()
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await faulty.dequeue(timeout)
        assert timeout <= loop.time() - started < timeout + 60
    proxy.silent = False
    proxy.cut()


async def test_a_claim_of_nobody_is_found_again(proxy: Proxy, faulty: Torrelque, queue: Torrelque, hasty: None) -> None:
    await queue.enqueue(1)
    proxy.silent = True
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await faulty.dequeue(0)
    assert (await queue.get_queue_stats()).working == 1
    proxy.silent = False
    proxy.cut()
    taken, _ = await faulty.dequeue(60)
    assert (taken.attempt or 0) <= 2


@pytest.mark.first_server
async def test_a_lost_server_is_an_error_in_the_end(
    proxy: Proxy, faulty: Torrelque, monkeypatch: pytest.MonkeyPatch, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    bound(repeat=0.5)
    proxy.refusing = True
    proxy.cut()
    for call in (faulty.enqueue(1), faulty.release('x'), faulty.get_queue_stats(), faulty.sweep()):
        with pytest.raises(torrelque.TorrelqueConnectionError) as caught:
            await call
        assert isinstance(caught.value, redis.exceptions.ConnectionError)
    with pytest.raises(torrelque.TorrelqueBulkError) as bulk:
        await faulty.enqueue_many(range(1000))
    assert bulk.value.task_ids == [] and isinstance(bulk.value.__cause__, torrelque.TorrelqueConnectionError)
    waiting = asyncio.ensure_future(faulty.dequeue())
    while not any('waiting for the server' in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.05)
    monkeypatch.undo()
    proxy.refusing = False
    await faulty.enqueue('again')
    assert (await waiting)[1] == 'again'


async def test_a_server_that_never_was_there_is_an_error_of_dequeue_too(bound: Bound, tmp_path: Path) -> None:
    bound(repeat=0.5)
    async with redis.asyncio.Redis(unix_socket_path=f'{tmp_path}/none') as client, Torrelque(client) as queue:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await queue.dequeue()


async def test_silence_of_the_server_cuts_the_line(proxy: Proxy, faulty: Torrelque, bound: Bound) -> None:
    bound(link_tick=0.02)
    await faulty.enqueue(1)
    proxy.silent = True
    call = asyncio.ensure_future(faulty.enqueue(2))
    await asyncio.sleep(0.1)
    proxy.silent = False
    await call
    assert len(await faulty.dequeue(max_tasks=5)) == 2


async def test_wrong_password_is_told_at_once(make_server: MakeServer) -> None:
    server = make_server({'requirepass': 'secret'})
    async with server.client(password='wrong') as client, Torrelque(client) as queue:
        for call in (queue.enqueue(1), queue.dequeue()):
            with pytest.raises(redis.exceptions.AuthenticationError):
                await call
    async with server.client(password='secret') as client, Torrelque(client) as queue:
        await queue.enqueue(1)


async def test_full_memory_refuses_tasks_and_lets_leases_go_on(make_server: MakeServer, endless: None) -> None:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue_many(range(30), max_attempts=100)
        await queue.enqueue(99, delay=0.01)
        async with Torrelque(client, queue='other') as other:
            await other.enqueue(1, delay=150)
        got = await queue.dequeue(max_tasks=20)
        await client.config_set('maxmemory', '100kb')
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await queue.enqueue(1)
        with pytest.raises(torrelque.TorrelqueBulkError) as caught:
            await queue.enqueue_many([1])
        assert isinstance(caught.value.__cause__, redis.exceptions.OutOfMemoryError)
        async with Torrelque(client, queue='other') as other:
            with pytest.raises(torrelque.TorrelqueTimeoutError):
                await other.dequeue(0.01)
        ids = [task_id for task_id, _ in got]
        assert await queue.touch(ids[0], progress='x') is True
        assert await queue.requeue(ids[0], 10) is True
        assert await queue.requeue(ids[1], error='x') is True
        assert await queue.requeue(ids[2], forgive=True) is True
        assert await queue.bury(ids[3]) is True
        assert await queue.redrive() == 1
        assert await queue.release(ids[4], result='x') is True
        assert await queue.release(ids[5]) is True
        assert await queue.cancel(ids[6]) is True
        assert await queue.release(ids[6]) is False
        assert await queue.cancel(ids[0]) is True
        for group in ('g', None):
            await queue.pause(group, probe=10)
            assert await client.smembers(queue.keys['paused']) == {(group or '').encode()}
            await queue.pause(group)
            assert not await client.exists(queue.keys['probes'])
            await queue.resume(group)
            await queue.pause(group)
            assert await client.smembers(queue.keys['paused']) == {(group or '').encode()}
            await queue.resume(group)
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                await queue.set_limit(group, concurrency=1)
            await queue.set_limit(group)
        await asyncio.sleep(0.02)
        await queue.sweep()
        assert len(await queue.dequeue(0, max_tasks=100)) == 14
        await client.config_set('maxmemory', '0')
        await queue.enqueue(1)


async def test_without_its_replicas_a_server_refuses_and_who_waits_goes_on(
    make_server: MakeServer, hasty: None
) -> None:
    server = make_server()
    async with server.client() as client, Torrelque(client) as queue:
        await queue.enqueue(1)
        held, _ = await queue.dequeue()
        waiting = asyncio.ensure_future(queue.dequeue(60))
        await client.config_set('min-replicas-to-write', 1)
        before = await queue.get_task_state(held)
        for call in (queue.enqueue(2), queue.touch(held), queue.requeue(held), queue.bury(held), queue.release(held)):
            with pytest.raises(redis.exceptions.ResponseError, match='NOREPLICAS'):
                await call
        with pytest.raises(torrelque.TorrelqueTimeoutError):
            await queue.dequeue(0)
        assert await queue.get_task_state(held) == before and await queue.get_queue_stats() == (1, 0, 1, 0, 0)
        await client.config_set('min-replicas-to-write', 0)
        assert await queue.release(held) is True
        await queue.enqueue(2)
        assert (await waiting)[1] == 2


async def test_an_evicted_hash_of_payloads_is_reported(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await queue.enqueue_many(range(3))
    await client.delete(queue.keys['tasks'])
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert all(any(task_id in message for message in messages) for task_id in ids)
    await queue.enqueue('new')
    assert (await queue.dequeue(0))[1] == 'new'


async def test_a_bell_that_became_read_only_or_moved_is_connected_anew(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.ensure_future(faulty.dequeue())
    assert faulty._session is not None
    while not (bell := faulty._session.fetcher._bell.link)._in_flight:
        await asyncio.sleep(0.005)
    before = bell._transport
    # What a demoted primary says to who blocks, and then to who comes back.
    bell._refused(bell._in_flight.popleft(), 'READONLY You can not write against a read only replica.')
    assert bell._transport is None
    await asyncio.sleep(0.5)
    assert bell._transport is not None and bell._transport is not before
    await queue.enqueue(1)
    assert (await waiting)[1] == 1


async def test_what_is_on_its_way_when_the_link_closes_fails(proxy: Proxy, faulty: Torrelque) -> None:
    proxy.silent = True
    assert faulty._session is not None
    call = faulty._session._link.call(None, ['PING'])
    await asyncio.sleep(0.01)
    faulty._session._link.close()
    with pytest.raises(torrelque.TorrelqueConnectionError):
        await call
    with pytest.raises(torrelque.TorrelqueConnectionError):
        await faulty._session._link.call(None, ['PING'])
    proxy.silent = False


async def test_a_link_closed_while_it_connects_leaves_no_connection(
    server: RealServer, client: redis.asyncio.Redis
) -> None:
    before = len(await client.client_list())
    for turns in range(60):
        link_ = link.Link(make_connector(client, 'x'), BOUNDS)
        call = link_.call(None, ['PING'])
        for _ in range(turns):
            await asyncio.sleep(0)
        link_.close()
        await asyncio.wait([call])
        assert call.exception() is None or isinstance(call.exception(), torrelque.TorrelqueConnectionError)
    while len(await client.client_list()) > before:
        await asyncio.sleep(0.01)


@pytest.mark.long
async def test_a_handshake_that_was_reset_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    # What is left in cycles may be finalised in an order that has asyncio complain of an error nobody retrieved.
    resets = 0

    # Not of streams, of which only those of the queue are to be counted.
    class Reset(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            nonlocal resets
            resets += 1
            transport.abort()

    def handshakes() -> int:
        return sum(type(thing) is asyncio.StreamReaderProtocol for thing in gc.get_objects())

    loop = asyncio.get_running_loop()
    listener = await loop.create_unix_server(Reset, str(tmp_path / 'socket'))
    async with listener, redis.asyncio.Redis(unix_socket_path=str(tmp_path / 'socket'), protocol=3) as client:
        queue = Torrelque(client)
        gc.collect()
        before = handshakes()
        gc.disable()
        try:
            waiter = asyncio.ensure_future(queue.dequeue())
            while resets < 5:
                await asyncio.sleep(0.01)
            waiter.cancel()
            await asyncio.wait([waiter])
            await queue.aclose()
            end = time.monotonic() + 60
            while handshakes() > before and time.monotonic() < end:
                await asyncio.sleep(0.01)
            assert handshakes() == before
        finally:
            gc.enable()


async def test_a_call_that_arrives_after_its_own_repetition_changes_nothing(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    """The server may read a connection that was given up last."""
    keys, plan = queue.keys, queue._calls
    enqueue, claim = plan.transitions['enqueue'], plan.transitions['claim']

    async def send(transition: Transition, args: Sequence[Any], resent: bool) -> Any:
        return await client.execute_command(*transition.words(args, resent))

    for options in ('300000', '{"timeout":300000,"mark":"abcdefgh1234567"}'):
        args = ['', '2000', f'id{len(options)}', b'1', options]
        assert await send(enqueue, args, True) == b'ok'
        taken, _ = await queue.dequeue(0)
        assert await send(enqueue, args, False) == b'ok'
        assert await queue.get_queue_stats() == (1, 0, 1, 0, 0)
        assert await queue.release(taken) is True

    await queue.enqueue_many(range(4))
    args = ['', f'{keys["claim"]}:other:1', '2', '0', '2000', '1000000']
    first = await send(claim, args, True)
    assert (await send(claim, args, False))[5:] == first[5:]
    assert (await queue.get_queue_stats()).working == 2


@pytest.mark.parametrize('damage', ['none', 'state', 'both'])
async def test_an_id_that_is_no_text_harms_no_other(
    client: redis.asyncio.Redis, queue: Torrelque, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    foreign = b'\xff\xfe'
    await queue.enqueue(1)
    if damage != 'both':
        await client.hset(queue.keys['tasks'], foreign, b'2')
    if damage == 'none':
        key = queue.keys['task'].encode() + b':' + foreign
        await client.hset(key, mapping={'status': 0, 'timeout': 1000, 'enqueue_time': 1})
    await client.lpush(queue.keys['pending'], foreign)
    await queue.enqueue(3)
    assert [task for _, task in await queue.dequeue(0, max_tasks=5)] == [1, 3]
    assert any('xff' in record.getMessage() for record in caplog.records)
    await queue.sweep()
    if damage != 'both':
        while not await client.zscore(queue.keys['dead'], foreign):
            await asyncio.sleep(0.001)
        assert await queue.redrive() == 1


@pytest.mark.parametrize('loss', LOSSES)
async def test_a_release_as_cancelled_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    lose(proxy, loss, 'release')
    assert await faulty.release(taken, status=Status.CANCELLED, result=1) is True
    assert await faulty.release(taken, status=Status.CANCELLED, result=1) is False
    assert (await queue.get_task_state(taken)).result == 1


async def test_a_state_that_makes_no_sense_is_an_error_of_ours(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await client.hset(f'{queue.keys["task"]}:{task_id}', 'status', 'x')
    with pytest.raises(torrelque.TorrelqueError):
        await queue.get_task_state(task_id)


@pytest.mark.parametrize('hours', [-1, 1])
async def test_a_clock_that_is_wrong_moves_no_deadline(
    server: RealServer, queue: Torrelque, queue_name: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Time is the server's: what the clock of a client says has no part in it."""
    now, now_ns = time.time, time.time_ns
    async with server.client() as client, Torrelque(client, queue=queue_name) as wrong:
        await queue.enqueue('held', task_timeout=60)
        held, _ = await queue.dequeue()
        await queue.enqueue('later', delay=60)
        with monkeypatch.context() as patch:
            patch.setattr(time, 'time', lambda: now() + hours * 3600)
            patch.setattr(time, 'time_ns', lambda: now_ns() + hours * 3600 * 10**9)
            assert await wrong.sweep() == (0, 0, 0)
            await wrong.enqueue('soon', delay=0.1)
            taken, task = await wrong.dequeue(60)
            assert task == 'soon' and await wrong.touch(taken, task_timeout=60)
            await wrong.enqueue('latest', delay=60)
        assert await queue.sweep() == (0, 0, 0)
        assert await queue.get_queue_stats() == (4, 0, 2, 2, 0)
        assert await wrong.release(taken) is True and await queue.release(held) is True


@pytest.mark.parametrize('place', ['working', 'delayed'])
async def test_a_broken_key_among_what_is_due_stops_no_sweep(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    ids = await queue.enqueue_many(range(3), task_timeout=0.05, delay=0.05 if place == 'delayed' else None)
    if place == 'working':
        assert len(await queue.dequeue(max_tasks=3)) == 3
    await client.set(f'{queue.keys["task"]}:{ids[1]}', 'rubbish')
    await asyncio.sleep(0.06)
    assert sorted(n for _, n in await queue.dequeue(60, max_tasks=3)) == [0, 2]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(ids[1] in message for message in warnings)
    assert (await queue.get_task_state(ids[1])).status is Status.DEAD


@pytest.mark.parametrize('name', ['release', 'requeue', 'touch', 'bury', 'cancel'])
async def test_a_broken_key_fails_no_other_settle_call(
    client: redis.asyncio.Redis, queue: Torrelque, name: str
) -> None:
    await queue.enqueue_many(range(4))
    ids = [task_id for task_id, _ in await queue.dequeue(max_tasks=4)]
    await client.set(f'{queue.keys["task"]}:{ids[2]}', 'rubbish')
    outcomes = await asyncio.gather(*(getattr(queue, name)(task_id) for task_id in ids), return_exceptions=True)
    assert type(outcomes[2]) is torrelque.TorrelqueError and ids[2] in str(outcomes[2])
    assert outcomes[:2] + outcomes[3:] == [True] * 3


async def test_a_claim_that_was_given_up_is_asked_for_again(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound
) -> None:
    bound(repeat=0.5)
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await faulty.dequeue(0)  # from now on the server knows the script
    await queue.enqueue(1)
    proxy.silent = True
    waiting = asyncio.ensure_future(faulty.dequeue())
    while not (await queue.get_queue_stats()).working:
        await asyncio.sleep(0.005)
    proxy.refusing = True
    proxy.cut()
    assert faulty._session is not None
    while faulty._session.fetcher._error is None:
        await asyncio.sleep(0.005)
    proxy.silent = proxy.refusing = False
    taken, task = await asyncio.wait_for(waiting, 60)
    assert (task, taken.attempt) == (1, 1)


async def test_calls_behind_one_that_was_given_up_fail_with_it(proxy: Proxy, faulty: Torrelque, bound: Bound) -> None:
    bound(repeat=0.5)
    proxy.refusing = True
    proxy.cut()
    calls = [asyncio.ensure_future(faulty.enqueue(n)) for n in range(3)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(5):
        await asyncio.sleep(0)
    assert all(call.done() for call in calls)
    for call in calls:
        with pytest.raises(torrelque.TorrelqueConnectionError):
            await call


async def test_a_scheduled_sweep_outlives_an_error(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = await queue.enqueue(1, delay=0.02)
    await client.set(queue.keys['working'], 'x')
    queue.schedule_sweep(0.02)
    while not any('scheduled sweep failed' in record.getMessage() for record in caplog.records):
        await asyncio.sleep(0.005)
    await client.delete(queue.keys['working'])

    async def swept() -> None:
        while (await queue.get_task_state(task_id)).status is not Status.PENDING:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(swept(), 60)
    queue.unschedule_sweep()


@pytest.mark.parametrize('group', [None, 'g'])
@pytest.mark.parametrize('last', ['release', 'cancel', 'sweep'])
async def test_a_task_that_lost_its_payload_is_told_of_though_it_is_the_last(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, group: str | None, last: str
) -> None:
    ours = await queue.enqueue(1, task_id='ours')
    taken, _ = await queue.dequeue(0)
    lost = await queue.enqueue(2, task_id='lost', group=group)
    await client.hdel(queue.keys['tasks'], lost)
    if last == 'release':
        assert await queue.release(taken)
    elif last == 'cancel':
        assert await queue.requeue(taken, delay=600)
        assert await queue.cancel(ours)
    else:
        assert await queue.cancel(ours)
        await client.zadd(queue.keys['working'], {ours: 1})
        assert (await queue.sweep()).stale == 1
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        await queue.dequeue(0)
    assert f"task '{lost}'" in caplog.text and 'payload_lost' in caplog.text
    assert (await queue.get_task_state(lost)).status is Status.REJECTED
    await queue.enqueue('new')
    assert (await queue.dequeue(0))[1] == 'new'
