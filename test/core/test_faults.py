"""A line that fails: every call has the effect of once, and answers as it would have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTaskStatus as Status
from torrelque.protocol.transition import Transition

pytestmark = pytest.mark.first_server


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
    assert await queue.get_queue_stats() == (5, 3, 0, 2, 0, 0)
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
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


async def test_a_claim_of_any_id_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque) -> None:
    for own_id in ('say "x"', 'a\\b', 'a\tb', 'ä/ö', 'a-b', 'plain'):
        await queue.enqueue(own_id, task_id=own_id)
        lose(proxy, 'lose_reply', 'claim')
        taken, task = await faulty.dequeue(60)
        assert (taken, task, taken.attempt) == (own_id, own_id, 1)
        assert await faulty.release(taken)
    assert proxy.lossless


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
    assert await faulty.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    lose(proxy, loss, 'sweep')
    assert await faulty.sweep() == (0, 0, 0, 0)
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
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)


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
        assert await queue.get_queue_stats() == (2, 0, 2, 0, 0, 0)


async def test_a_call_that_arrives_after_its_own_repetition_changes_nothing(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    """The server may read a connection that was given up last."""
    keys, transitions = queue.keys, queue._calls.transitions
    enqueue, claim = transitions['enqueue'], transitions['claim']

    async def send(transition: Transition, args: Sequence[Any], resent: bool) -> Any:
        return await client.execute_command(*transition.words(args, resent))

    for options in ('300000', '{"timeout":300000,"mark":"abcdefgh1234567"}'):
        args = ['', '2000', f'id{len(options)}', b'1', options]
        assert await send(enqueue, args, True) == b'ok'
        taken, _ = await queue.dequeue(0)
        assert await send(enqueue, args, False) == b'ok'
        assert await queue.get_queue_stats() == (1, 0, 1, 0, 0, 0)
        assert await queue.release(taken) is True

    await queue.enqueue_many(range(4))
    args = ['', f'{keys["claim"]}:other:1', '2', '0', '2000', '1000000']
    first = await send(claim, args, True)
    assert (await send(claim, args, False))[5:] == first[5:]
    assert (await queue.get_queue_stats()).working == 2


@pytest.mark.parametrize('loss', LOSSES)
async def test_a_release_as_cancelled_is_once(proxy: Proxy, faulty: Torrelque, queue: Torrelque, loss: str) -> None:
    await queue.enqueue(1)
    taken, _ = await queue.dequeue()
    lose(proxy, loss, 'release')
    assert await faulty.release(taken, status=Status.CANCELLED, result=1) is True
    assert await faulty.release(taken, status=Status.CANCELLED, result=1) is False
    assert (await queue.get_task_state(taken)).result == 1
