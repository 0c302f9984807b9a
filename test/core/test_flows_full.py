"""Flows on a server whose memory is full: what makes tasks is refused whole, and all that ends goes on to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
import redis.asyncio

import torrelque
from model.model_checks import DUMP, read_dump
from proof.invariants import check_keys
from support.looking import dump
from support.servers import MakeServer
from support.standing import START, Either, StandingClock, open_either
from torrelque import Node, TorrelqueTaskStatus as Status

pytestmark = pytest.mark.first_server
PREFIX = '{full}:'


class Full:
    """A queue on a server of the test's own, whose memory may be full, and whose clock stands."""

    def __init__(self, either: Either, client: redis.asyncio.Redis, clock: StandingClock) -> None:
        self.queue = either
        self.client = client
        self._clock = clock

    async def fill(self) -> None:
        # One byte, so that all that needs memory is refused.
        await self.client.config_set('maxmemory', 1)

    async def empty(self) -> None:
        await self.client.config_set('maxmemory', 0)

    async def move(self, seconds: float) -> None:
        await self.empty()
        await self._clock.move(seconds)
        await self.fill()

    async def refused(self, call: Awaitable[Any]) -> None:
        """A call is refused, and has changed nothing."""
        before = await dump(self.client)
        with pytest.raises(torrelque.ServerError, match='OOM'):
            await call
        assert await dump(self.client) == before

    async def check(self) -> None:
        assert [*check_keys(read_dump(await self.client.eval(DUMP, 0, PREFIX)))] == []


@pytest.fixture(params=['aio', pytest.param('sync', marks=pytest.mark.long)])
async def full(
    request: pytest.FixtureRequest, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Full]:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client:
        clock = StandingClock(client, monkeypatch)
        await clock.set(START)
        async for either in open_either(request.param, server, client, 'full'):
            yield Full(either, client, clock)


async def test_a_flow_comes_to_its_end_though_the_memory_is_full_all_the_time(full: Full) -> None:
    queue = full.queue
    await queue.set_limit('g', concurrency=3)
    wide = [
        Node(f'{number}', number, {'first': 'then'}, group='g' if number % 3 == 0 else None, priority=number % 7)
        for number in range(450)
    ]
    last = Node('last', 0, {node.name: 'then' for node in wide})
    await queue.enqueue_flow([Node('first', 0), *wide, last], flow_id='f', out=['last'], result_ttl=60)
    await full.fill()
    [(first, _)] = await queue.take()
    assert await queue.release(first, result='first')
    await full.check()
    done = 0
    while done < 450:
        taken = [task_id for task_id, _ in await queue.take(50)]
        # One in ten is tried again.
        again, rest = taken[::10] if done < 300 else [], [*taken]
        for task_id in again:
            assert await queue.requeue(task_id, error='why')
            rest.remove(task_id)
        assert await queue.release_many(rest) == [True] * len(rest)
        done += len(rest)
        await queue.sweep()
        await full.check()
    [(task_id, _)] = await queue.take()
    assert task_id == 'f.last' and await queue.release(task_id, result='all')
    state = await queue.get_task_state('f')
    assert (state.status, state.left, state.result) == (Status.COMPLETED, 0, 'all')
    await full.refused(queue.enqueue_flow([Node('a', 1)]))
    await full.empty()
    await queue.enqueue_flow([Node('a', 1)])


@pytest.mark.parametrize(
    'policy', ['wait', pytest.param('skip', marks=pytest.mark.long), pytest.param('cancel', marks=pytest.mark.long)]
)
async def test_deaths_and_leases_and_times_end_a_flow_though_the_memory_is_full(full: Full, policy: Any) -> None:
    queue = full.queue
    nodes = [
        *(Node(name, 1, max_attempts=1, task_timeout=10) for name in ('buries', 'gives back', 'loses')),
        *(Node(name, 1, task_timeout=1000) for name in ('rejects', 'holds')),
        *(Node(f'behind{number}', 2, {'loses': 'then'}, group='g') for number in range(300)),
        Node('told', 3, {'buries': 'fail', 'gives back': 'fail', 'loses': 'fail'}),
        Node('any', 3, {'rejects': 'then', 'holds': 'then'}, 'any'),
        Node('clean', 4, {'holds': 'end'}),
    ]
    await queue.enqueue_flow(nodes, flow_id='f', on_failure=policy, timeout=100)
    await queue.sweep()
    await queue.enqueue('plain', task_id='plain')
    held = {task_id.removeprefix('f.'): task_id for task_id, _ in await queue.take()}
    await full.fill()
    assert await queue.release(held['plain'], result='r', result_ttl=60)
    assert await queue.bury(held['buries'], error='why')
    await queue.sweep()
    assert await queue.requeue(held['gives back']) is (policy != 'cancel')
    await full.move(11)
    await queue.sweep()
    await full.check()
    assert await queue.release(held['rejects'], status=Status.REJECTED) is (policy != 'cancel')
    if policy == 'wait':
        assert (await queue.get_task_state('f')).dead == 3
        assert await queue.redrive('f') == 3
        await full.check()
        assert {*await queue.ids()} == {'f.buries', 'f.gives back', 'f.loses', 'f.told'}
        await full.move(90)
        await queue.sweep()
    elif policy == 'skip':
        assert await queue.ids() == ['f.told']
        assert {outcome.how for outcome in await queue.get_results('f', 'f.behind0', 'f.behind299')} == {'failed'}
        await full.move(90)
        await queue.sweep()
    state = await queue.get_task_state('f')
    assert state.status is Status.CANCELLED
    assert await queue.release(held['holds']) is False
    await full.check()
    taken = [task_id for task_id, _ in await queue.take()]
    assert 'f.clean' in taken and await queue.release(taken[-1])
    await queue.cancel('f')
    await full.move(1000)
    await queue.sweep()
    await full.check()
    assert (await queue.get_task_state('f')).left == 0


@pytest.mark.long
async def test_a_large_flow_that_the_memory_has_no_room_for_is_given_up_whole(full: Full) -> None:
    queue = full.queue
    nodes = [Node(f'{number}', 'x' * 3000) for number in range(600)]
    await full.fill()
    await full.refused(queue.enqueue_flow(nodes, flow_id='f'))
    await full.empty()
    # There is room for its first call, or for two.
    used = (await full.client.info('memory'))['used_memory']
    await full.client.config_set('maxmemory', used + 1_300_000)
    with pytest.raises(torrelque.ServerError, match='OOM'):
        await queue.enqueue_flow(nodes, flow_id='f')
    assert 0 < (await queue.get_task_state('f')).left < 600
    assert await queue.ids() == []
    await full.move(61)
    await queue.sweep()
    assert (await queue.get_task_state('f')).status is Status.CANCELLED
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    await full.check()
    await full.empty()
    await queue.enqueue_flow(nodes, flow_id='f')
    assert len(await queue.take()) == 600


@pytest.mark.long
async def test_a_cancelled_flow_is_taken_back_though_the_memory_is_full(full: Full) -> None:
    queue = full.queue
    nodes = [
        *(Node(f'{number}', 1, group='g' if number % 2 else None, delay=number % 3 or None) for number in range(300)),
        *(Node(f'w{number}', 2, {'0': 'then'}) for number in range(300)),
        Node('clean', 3, {'0': 'end'}),
    ]
    await queue.enqueue_flow(nodes, flow_id='f')
    await queue.enqueue_flow([Node('a', 1)], flow_id='inner')
    await queue.enqueue(1, task_id='behind', depends_on=['f', 'inner'])
    held = {str(task_id): task_id for task_id, _ in await queue.take(50)}
    await full.fill()
    assert await queue.cancel('f')
    await full.check()
    assert await queue.cancel('inner')
    await queue.release_many([*held.values()])
    await full.check()
    for task_id, _ in await queue.take():
        assert task_id == 'f.clean' and await queue.release(task_id)
    await queue.sweep()
    assert await queue.get_queue_stats() == (0, 0, 0, 0, 0, 0)
    assert (await queue.get_task_state('behind')).status is Status.CANCELLED
    assert [key for key in await full.client.keys(f'{PREFIX}*') if await full.client.pttl(key) < 0] == []
