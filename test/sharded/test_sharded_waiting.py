"""Waiting for tasks of many shards: how few calls it takes, and that nothing is lost or stands still."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis.asyncio

from support.bounding import Bound
from support.proxy import Proxy
from support.servers import RealServer
from support.sharding import NAME, open_one
from support.waiting import until, until_waiting
from torrelque import Torrelque, TorrelqueClosedError, TorrelqueServerError, TorrelqueTimeoutError
from torrelque.aio.link import Link, Request
from torrelque.sharded import Sharded, dispatch
from torrelque.sharded.dispatch import ENOUGH

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.first_server

SHARDS = 12
TASKS = 40
SCRIPTS = ('enqueue', 'claim', 'release', 'requeue', 'leave', 'sweep')


class Calls:
    """What was sent, and which claims are on their way."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.away: dict[int, int] = {}
        """How many tasks each claim on its way wants."""
        self.most: list[tuple[int, int]] = []
        """How many claims were on their way, and for how many tasks, whenever one was sent."""

    def sent(self, request: Request) -> None:
        name = request.transition.name if request.transition else str(request.args[0])
        self.counts[name] += 1
        if name == 'claim':
            self.away[id(request)] = int(request.args[2])
            self.most.append((len(self.away), sum(self.away.values())))
            callback = request.callback

            def come(reply: Any, error: Exception | None) -> None:
                del self.away[id(request)]
                callback(reply, error)

            request.callback = come

    @property
    def scripts(self) -> int:
        return sum(self.counts[name] for name in SCRIPTS)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What queue objects of this process send."""
    calls, submit = Calls(), Link.submit

    def note(link: Link, request: Request) -> None:
        calls.sent(request)
        submit(link, request)

    monkeypatch.setattr(Link, 'submit', note)
    return calls


@pytest.fixture
async def many(server: RealServer) -> AsyncIterator[Sharded]:
    """A queue of many shards on one server."""
    async with open_one(server, SHARDS) as queue:
        await queue.ready()
        yield queue


@pytest.fixture
async def other(server: RealServer, many: Sharded) -> AsyncIterator[Sharded]:
    """Another object of that queue."""
    async with open_one(server, SHARDS) as queue:
        await queue.ready()
        yield queue


async def stop(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize('loops', [1, 30])
async def test_a_task_now_and_then_is_about_three_scripts(
    client: redis.asyncio.Redis, many: Sharded, other: Sharded, endless: None, calls: Calls, loops: int
) -> None:
    taken: asyncio.Queue[Any] = asyncio.Queue()

    async def consume() -> None:
        while True:
            task_id, task = await many.dequeue()
            await many.release(task_id)
            taken.put_nowait(task)

    consuming = [asyncio.ensure_future(consume()) for _ in range(loops)]
    for n in range(-1, TASKS):
        await until_waiting(client, SHARDS)
        if n == 0:
            calls.counts.clear()
        await other.enqueue(n)
        assert await asyncio.wait_for(taken.get(), 60) == n
    assert calls.scripts <= 3.3 * TASKS, calls.counts
    await stop(consuming)


async def test_an_idle_consumer_makes_two_calls_a_shard_in_the_time_of_a_block(
    client: redis.asyncio.Redis, many: Sharded, bound: Bound, calls: Calls
) -> None:
    bound(block=0.5)
    waiting = [asyncio.ensure_future(many.dequeue()) for _ in range(10)]
    await until_waiting(client, SHARDS)
    began = asyncio.get_running_loop().time()
    calls.counts.clear()
    await asyncio.sleep(2)
    blocks = (asyncio.get_running_loop().time() - began) / 0.5
    assert sum(calls.counts.values()) <= 2.2 * SHARDS * (blocks + 1), calls.counts
    await stop(waiting)


@pytest.mark.parametrize('loops', [ENOUGH - 1, 4 * ENOUGH])
async def test_no_more_is_claimed_than_is_waited_for(
    many: Sharded, other: Sharded, endless: None, calls: Calls, monkeypatch: pytest.MonkeyPatch, loops: int
) -> None:
    # On a machine that is busy, servers would seem to be away.
    monkeypatch.setattr(dispatch, 'SLOW', 1e6)
    await other.enqueue_many(range(600))
    calls.counts.clear()
    done: list[Any] = []

    async def consume() -> None:
        while len(done) < 600 - loops:
            task_id, task = await many.dequeue()
            done.append(task)
            await many.release(task_id)

    await asyncio.wait_for(asyncio.gather(*(consume() for _ in range(loops))), 60)
    assert len({*done}) == len(done)
    assert max(tasks for _, tasks in calls.most) <= loops
    # Few are not divided among shards.
    assert max(claims for claims, _ in calls.most) == 1 if loops < ENOUGH else calls.counts['claim'] < 600 / 10
    assert calls.counts['requeue'] == 0


async def test_a_call_for_many_is_given_those_of_one_shard(many: Sharded, other: Sharded) -> None:
    for shard in (3, 7):
        await other.shards[shard].enqueue_many([shard] * 20)
    for _ in range(4):
        found = await many.dequeue_many(10)
        assert len(found) == 10 and len({task for _, task in found}) == 1
        assert all(await many.release_many([task_id for task_id, _ in found]))
    with pytest.raises(TorrelqueTimeoutError):
        await many.dequeue_many(10, 0)


async def test_who_does_not_wait_is_given_what_there_is_in_any_shard(
    many: Sharded, other: Sharded, endless: None, calls: Calls
) -> None:
    for shard in range(SHARDS):
        with pytest.raises(TorrelqueTimeoutError) as caught:
            await many.dequeue(0)
        assert caught.value.replied
        await other.shards[shard].enqueue(shard)
        task_id, task = await many.dequeue(0)
        assert task == shard
        await many.release(task_id)
    calls.counts.clear()
    with pytest.raises(TorrelqueTimeoutError):
        await many.dequeue(0)
    assert calls.counts['claim'] == SHARDS


async def test_a_time_that_is_over_is_told_as_that(many: Sharded, other: Sharded) -> None:
    for _ in range(3):
        with pytest.raises(TorrelqueTimeoutError, match='no task came within') as caught:
            await many.dequeue(0.01)
        assert caught.value.replied and caught.value.queue == NAME
    await other.enqueue(1)
    assert (await many.dequeue(20))[1] == 1


# Who comes and goes


async def test_a_ring_for_who_is_busy_is_passed_on(
    client: redis.asyncio.Redis, many: Sharded, other: Sharded, server: RealServer, endless: None
) -> None:
    # Whoever waits longest at a bell is rung for: the blocks of the one that has gone stay.
    leaves = asyncio.ensure_future(many.dequeue())
    await until_waiting(client, SHARDS)
    await stop([leaves])
    async with open_one(server, SHARDS) as third:
        stays = [asyncio.ensure_future(third.dequeue()) for _ in range(SHARDS)]
        await until_waiting(client, 2 * SHARDS)
        for shard in range(SHARDS):
            await other.shards[shard].enqueue(shard)
        taken = await asyncio.wait_for(asyncio.gather(*stays), 60)
        assert sorted(task for _, task in taken) == [*range(SHARDS)]


async def test_what_is_due_in_any_shard_comes_on_time(many: Sharded, other: Sharded, endless: None) -> None:
    for shard in (1, 5):
        await other.shards[shard].enqueue(shard, delay=0.2, task_timeout=0.3)
    taken = [await asyncio.wait_for(many.dequeue(), 60) for _ in range(4)]
    assert sorted((task, task_id.attempt) for task_id, task in taken) == [(1, 1), (1, 2), (5, 1), (5, 2)]


@pytest.mark.parametrize('turns', range(8))
async def test_a_call_that_is_cancelled_at_any_turn_strands_nothing(
    many: Sharded, other: Sharded, turns: int
) -> None:
    for shard in range(3):
        await other.shards[shard].enqueue(shard)
    waiting = [asyncio.ensure_future(many.dequeue()) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    took = 0 if waiting[0].cancelled() else 1
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), 60)

    async def stands() -> tuple[int, int]:
        stats = await other.get_queue_stats()
        return stats.pending, stats.working

    while await stands() != (1 - took, 2 + took):
        await asyncio.sleep(0.005)


@pytest.mark.parametrize('turns', [0, 1, 2, 4, 8, 16])
async def test_closing_at_any_turn_gives_back_what_nobody_got(server: RealServer, other: Sharded, turns: int) -> None:
    async with open_one(server, SHARDS) as closing:
        await closing.ready()
        waiting = [asyncio.ensure_future(closing.dequeue()) for _ in range(5)]
        await asyncio.sleep(0)
        await other.enqueue_many(range(5))
        for _ in range(turns):
            await asyncio.sleep(0)
        await closing.aclose()
        await asyncio.wait(waiting)
        got = [call for call in waiting if call.exception() is None]
        assert all(isinstance(call.exception(), TorrelqueClosedError) for call in waiting if call not in got)
        with pytest.raises(TorrelqueClosedError):
            await closing.dequeue(0)
    stats = await other.get_queue_stats()
    assert (stats.pending, stats.working) == (5 - len(got), len(got))


async def test_a_shard_is_waited_at_by_itself_as_well(many: Sharded, other: Sharded, endless: None) -> None:
    own = asyncio.ensure_future(many.shards[4].dequeue())
    every = asyncio.ensure_future(many.dequeue())
    await asyncio.sleep(0)
    await other.shards[3].enqueue('any')
    assert (await asyncio.wait_for(every, 60))[1] == 'any'
    await other.shards[4].enqueue('own')
    assert (await asyncio.wait_for(own, 60))[1] == 'own'


# Servers that are away


@pytest.fixture
async def halved(server: RealServer, proxy: Proxy) -> AsyncIterator[Sharded]:
    """A queue whose shard 1 is on a server that is reached by a faulty line."""
    async with server.client(db=1) as sound, proxy.client() as faulty:
        await sound.flushdb()
        async with Sharded([sound, faulty], queue=NAME) as queue:
            await queue.ready()
            yield queue


@pytest.mark.parametrize('loops', [1, 30])
async def test_a_server_that_is_silent_stalls_nobody_at_the_others(
    halved: Sharded, proxy: Proxy, bound: Bound, monkeypatch: pytest.MonkeyPatch, loops: int
) -> None:
    # It is asked first, and nobody gives it up.
    monkeypatch.setattr(random, 'shuffle', lambda stands: stands.sort(key=lambda stand: -stand.number))
    bound(silence=1e6, repeat=1e6)
    await halved.shards[1].enqueue('behind')
    proxy.silent = True
    taken: list[Any] = []

    async def consume() -> None:
        while True:
            task_id, task = await halved.dequeue()
            taken.append(task)
            if task != 'behind':
                await halved.release(task_id)

    consuming = [asyncio.ensure_future(consume()) for _ in range(loops)]
    for n in range(20):
        await halved.shards[0].enqueue(n)
        await asyncio.wait_for(until(lambda n=n: len(taken) > n), 60)  # type: ignore[misc]
    assert taken == [*range(20)]
    proxy.silent = False
    proxy.cut()
    await asyncio.wait_for(until(lambda: len(taken) > 20), 60)
    assert taken[20:] == ['behind']
    await stop(consuming)


async def test_who_does_not_wait_is_told_when_a_server_is_silent(
    halved: Sharded, proxy: Proxy, hasty: None
) -> None:
    proxy.silent = True
    with pytest.raises(TorrelqueTimeoutError, match='no reply of the server') as caught:
        await halved.dequeue(0)
    assert not caught.value.replied
    await halved.shards[0].enqueue('there')
    assert (await halved.dequeue(0))[1] == 'there'
    proxy.silent = False
    proxy.cut()


async def spoil(shard: Torrelque) -> None:
    """Have claims at a shard refused: a key of it holds something else."""
    await shard.command('SET', shard.keys['pending'], 'spoilt')


async def test_a_shard_that_refuses_claims_is_told_of_once_and_asked_again(
    many: Sharded, other: Sharded, caplog: pytest.LogCaptureFixture
) -> None:
    await spoil(other.shards[1])
    waiting = [asyncio.ensure_future(many.dequeue()) for _ in range(2)]
    await until(lambda: 'WRONGTYPE' in caplog.text)
    await other.shards[0].enqueue('there')
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    assert [call.result()[1] for call in done] == ['there']
    await asyncio.sleep(0.5)
    assert caplog.text.count('WRONGTYPE') == 1
    await other.shards[1].command('DEL', other.shards[1].keys['pending'])
    await other.shards[1].enqueue('mended')
    assert {task for _, task in await asyncio.wait_for(asyncio.gather(*waiting), 60)} == {'there', 'mended'}


async def test_an_error_of_all_shards_is_raised(many: Sharded, other: Sharded) -> None:
    for shard in other.shards:
        await spoil(shard)
    for timeout in (None, 0):
        with pytest.raises(TorrelqueServerError, match='WRONGTYPE'):
            await asyncio.wait_for(many.dequeue(timeout), 60)
