"""Whoever moves groups to new shards is killed again and again, while tasks come and go.

`TORRELQUE_STORMS` is how many storms there are on each server, `TORRELQUE_SEED` the number of the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random

import pytest

import torrelque
from support.moving import DeathError, after, deafen, goes, hurry, mortal, stays, together
from support.servers import RealServer
from support.sharding import NAME, open_one
from torrelque.sharded import Sharded, moving

pytestmark = pytest.mark.first_server

STORMS = int(os.environ.get('TORRELQUE_STORMS', '2'))
FIRST = int(os.environ.get('TORRELQUE_SEED', '0'))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.long
async def test_whoever_moves_groups_may_die_behind_each_step(server: RealServer) -> None:
    """The first one dies after one step, the second after two, and so on, while tasks come and go."""
    groups = [goes(f'g{k}') for k in range(2)] + [stays()]
    sent = dict.fromkeys(groups, 0)
    found: dict[str, list[int]] = {group: [] for group in groups}
    async with open_one(server, 2) as queue, open_one(server, 2) as producer:
        over = asyncio.Event()

        async def produce(group: str) -> None:
            while not over.is_set():
                await producer.enqueue(sent[group], group=group)
                sent[group] += 1
                await asyncio.sleep(0.002)

        async def consume() -> None:
            while not over.is_set() or sum(map(len, found.values())) < sum(sent.values()):
                with contextlib.suppress(torrelque.TimeoutError):
                    task_id, task = await producer.dequeue(0.05)
                    assert isinstance(task_id.group, str)
                    found[task_id.group].append(task)
                    assert await producer.release(task_id)

        delayed = await queue.enqueue('delayed', group=goes('delayed'), delay=1000)
        await queue.enqueue('mine', task_id=goes('mine'), delay=1000)
        async with together() as begin:
            for group in groups:
                begin(produce(group))
            begin(consume())
            begin(consume())
            for lives in range(1, 200):
                steps = moving.grow(NAME, 4, 0.0, True, 0.001, None)
                try:
                    await queue._take_steps(mortal(steps, after(lives)))
                except DeathError:
                    if lives == 40:
                        assert await queue.cancel(goes('mine'))
                else:
                    break
            assert lives > 30
            over.set()
        assert queue._shape.keyed == 4
        assert found == {group: [*range(sent[group])] for group in groups}
        assert (await queue.get_task_state(delayed)).status is torrelque.TaskStatus.DELAYED
        assert [(await shard.get_queue_stats()).tasks for shard in queue.shards] == [0, 0, 1, 0]


class Storm:
    """Tasks that come and go while groups move, and what became of them."""

    def __init__(self, queues: list[Sharded]) -> None:
        self.queues = queues
        self.over = asyncio.Event()
        self.sent = {goes(f's{k}') if k % 2 else stays(f's{k}'): 0 for k in range(6)}
        self.found: dict[str, list[int]] = {group: [] for group in self.sent}
        self.others: dict[str, int] = {}
        """How often each task without a promised order was finished."""
        self.expected: set[str] = set()
        self.taken: dict[str, int] = {}
        """How often each id was taken."""

    async def produce(self, queue: Sharded, group: str) -> None:
        while not self.over.is_set():
            if self.sent[group] % 5 == 4:
                ids = await queue.enqueue_many([('in order', self.sent[group] + k) for k in range(3)], group=group)
                assert len(ids) == 3
                self.sent[group] += 3
            else:
                await queue.enqueue(('in order', self.sent[group]), group=group)
                self.sent[group] += 1
            await asyncio.sleep(random.uniform(0, 0.1))

    async def produce_others(self, queue: Sharded, name: str) -> None:
        """Tasks with a first delay, and some that die."""
        for k in itertools.count():
            if self.over.is_set():
                return
            text = f'{name}-{k}'
            self.expected.add(text)
            delay = random.choice((None, 0.01, 0.05, 0.5))
            await queue.enqueue((random.choice(('dies', 'lives')), text), group=goes(f'{name}{k % 3}'), delay=delay)
            await asyncio.sleep(random.uniform(0, 0.1))

    async def produce_ids(self, queue: Sharded) -> None:
        for k in range(1000):
            if self.over.is_set():
                return
            task_id = f'id-{k}'
            with contextlib.suppress(torrelque.DuplicateError):
                await queue.enqueue(('own', task_id), task_id=task_id)
                self.taken[task_id] = self.taken.get(task_id, 0) + 1
                self.expected.add(task_id)
            await asyncio.sleep(random.uniform(0, 0.1))

    async def consume(self, queue: Sharded) -> None:
        while not (self.over.is_set() and self.is_empty()):
            with contextlib.suppress(torrelque.TimeoutError):
                for task_id, (kind, what) in await queue.dequeue_many(3, 0.05):
                    if kind == 'in order':
                        if random.random() < 0.05:
                            assert await queue.requeue(task_id, random.choice((None, 0.01)))
                            continue
                        assert isinstance(task_id.group, str)
                        self.found[task_id.group].append(what)
                    elif kind == 'dies' and task_id.attempt == 1:
                        assert await queue.bury(task_id)
                        continue
                    else:
                        self.others[what] = self.others.get(what, 0) + 1
                    kept = 1000 if kind == 'own' else None
                    assert await queue.release(task_id, result=kept and 'done', result_ttl=kept)

    async def redrive(self, queue: Sharded) -> None:
        while not (self.over.is_set() and self.is_empty()):
            await queue.redrive()
            await asyncio.sleep(random.uniform(0, 0.1))

    def is_empty(self) -> bool:
        return sum(map(len, self.found.values())) >= sum(self.sent.values()) and {*self.others} >= self.expected


@pytest.mark.long
@pytest.mark.timeout(1800)  # what goes on, on a busy machine, stays far below
@pytest.mark.parametrize('seed', range(FIRST, FIRST + STORMS))
async def test_whoever_moves_groups_may_be_killed_at_any_time(server: RealServer, seed: int) -> None:
    random.seed(seed)
    async with contextlib.AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(open_one(server, 2)) for _ in range(4)]
        for queue in queues:
            await queue.ready()
        # One learns of new maps by being refused alone.
        await deafen(queues[1])
        storm = Storm(queues)
        for group in storm.sent:
            await queues[0].set_limit(group, concurrency=1)
        async with together() as begin:
            for k, group in enumerate(storm.sent):
                begin(storm.produce(queues[k % 3], group))
            for k in range(3):
                begin(storm.produce_others(queues[k], f'other{k}'))
                begin(storm.produce_ids(queues[k]))
                begin(storm.consume(queues[k]))
            begin(storm.redrive(queues[1]))
            begin(storm.redrive(queues[0]))
            for life in range(25):
                task = asyncio.ensure_future(random.choice(queues).grow(4, keyed=True))
                await asyncio.wait([task], timeout=random.uniform(0, 0.006 * life))
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled() and (error := task.exception()) is not None:
                    # Two have written a map at the same time.
                    assert 'somebody else' in str(error)
            # At the end, one that lives waits for the groups; the ids are kept for longer than that.
            left = 'groups'
            while left.startswith('groups'):
                with pytest.raises(torrelque.TimeoutError) as caught:
                    await queues[3].grow(4, keyed=True, timeout=1)
                left = str(caught.value).partition(': ')[2]
            assert left.startswith('ids that have moved')
            await asyncio.sleep(0.5)
            storm.over.set()
        assert storm.found == {group: [*range(count)] for group, count in storm.sent.items()}
        assert {*storm.others.values()} == {1}
        assert {*storm.taken.values()} == {1}
        assert {*storm.others} == storm.expected
        assert (await queues[3].get_queue_stats()).tasks == 0
        assert [await shard.command('EXISTS', shard.keys['stage']) for shard in queues[3].shards] == [0] * 4
    print(f'\n{json.dumps({"storms": 1, "first": seed, "last": seed})}')
