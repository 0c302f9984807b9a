"""What `explain` tells is compared with what claims do, over random histories on a real server.

For each task that a claim made now does not give there is a reason, and doing what the decisive one says has the task
handed out in the end: its command is carried out, its time is waited for, those that it names are finished, those that
go first are taken.  For a task that the claim gives there is none, but for those about workers.

`TORRELQUE_HISTORIES` is how many histories are played on each server, `TORRELQUE_SEED` the number of the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.obeying import Snapshot, claim, obey
from support.servers import RealServer, selected_kinds
from torrelque import Torrelque
from torrelque.operate import Operator, Reason
from torrelque.testing import Clock

pytestmark = pytest.mark.first_server

FULL = int(os.environ.get('TORRELQUE_HISTORIES', '0'))
HISTORIES = [FULL] if FULL else [8, pytest.param(60, marks=pytest.mark.long)]
ELSEWHERE = FULL or 20
"""Histories on another server than the first of the run, where most is the same."""
FIRST = int(os.environ.get('TORRELQUE_SEED', '0'))
GROUPS = ['a', '-b', "c d'$(x)"]
WORKERS = ('no-worker', 'not-known', 'all-busy', 'stuck')
OVER = ('unknown', 'finished', 'cancelled')
STEPS = 120
"""Things that are done for a task at the most until it is handed out."""

Step = tuple[Any, ...]


def draw_step(draw: random.Random) -> Step:
    """Anything that may happen to a queue."""
    name = draw.choice([
        *['enqueue'] * 8, *['claim'] * 6, *['requeue'] * 3, *['limit'] * 3, *['pause'] * 2, *['move'] * 2,
        'release', 'forgive', 'bury', 'cancel', 'redrive', 'crash', 'resume', 'sweep',
    ])  # fmt: skip
    group = draw.choice([None, None, GROUPS[0], *GROUPS])
    if name == 'enqueue':
        plain = draw.random() < 0.5
        return (
            name, group, 0 if plain else draw.choice([0, 1, -1]), None if plain else draw.choice([None, 100, 3600]),
            None if plain else draw.choice([None, 1, 2]),
        )  # fmt: skip
    others: dict[str, tuple[Any, ...]] = {
        'claim': (draw.choice([1, 1, 2, 3]),),
        'requeue': (draw.randrange(30), draw.choice([None, 200, 200]), draw.choice([None, 'bad\nworse'])),
        'limit': (group, draw.choice([None, 1, 1, 2]), draw.choice([None, None, (1, 100), (2, 60)])),
        'pause': (group, draw.choice([None, 500])),
        'resume': (group,),
        'move': (draw.choice([10, 150, 350, 4000]),),
        'crash': (),
        'sweep': (),
    }
    return name, *others.get(name, (draw.randrange(30),))


def draw_history(number: int) -> list[Step]:
    draw = random.Random(number)
    begin: list[Step] = [('enqueue', draw.choice([None, *GROUPS]), 0, None, None) for _ in range(draw.randrange(8))]
    return begin + [draw_step(draw) for _ in range(draw.randrange(4, 30))]


RUBBISH = [b'', b'x', b'-1', b'nan', b'1e300', b'{"concurrency": 0.5}', b'{"rate": [1]}', b'[[', b'\xff\xfe', b'7 7 7']


class World:
    """A queue, and what was done to it."""

    def __init__(self, client: redis.asyncio.Redis, queue: Torrelque, draw: random.Random) -> None:
        self.client = client
        self.queue = queue
        self.operator = Operator(queue, read_only=True)
        self.clock = Clock(queue)
        self.draw = draw
        self.ids: list[str] = []
        self.held: list[str] = []
        self.spoilt: list[tuple[str, bytes]] = []

    async def play(self, step: Step) -> None:
        with contextlib.suppress(torrelque.TorrelqueLookupError):
            await getattr(self, step[0])(*step[1:])

    async def enqueue(self, group: str | None, priority: int, delay: float | None, attempts: int | None) -> None:
        task_id = f'{"-" if len(self.ids) % 3 == 2 else ""}t{len(self.ids)}'
        self.ids.append(task_id)
        await self.queue.enqueue(
            {'task': 'f', 'args': [task_id]}, task_id=task_id, group=group, priority=priority, delay=delay,
            max_attempts=attempts,
        )  # fmt: skip

    async def claim(self, count: int) -> None:
        # The queue object's own consumer would go on in the background, with a sweep for instance.
        given = [await claim(self.client, self.queue) for _ in range(count)]
        self.held += [task_id for task_id in given if task_id is not None]

    def one(self, number: int) -> str:
        if not self.held:
            raise torrelque.TorrelqueLookupError
        return self.held.pop(number % len(self.held))

    async def release(self, number: int) -> None:
        await self.queue.release(self.one(number))

    async def requeue(self, number: int, delay: float | None, error: str | None) -> None:
        await self.queue.requeue(self.one(number), delay=delay, error=error)

    async def forgive(self, number: int) -> None:
        await self.queue.requeue(self.one(number), forgive=True)

    async def bury(self, number: int) -> None:
        await self.queue.bury(self.one(number), error='no')

    async def cancel(self, number: int) -> None:
        if self.ids:
            await self.queue.cancel(self.ids[number % len(self.ids)])

    async def redrive(self, number: int) -> None:
        if self.ids:
            await self.queue.redrive(self.ids[number % len(self.ids)])

    async def crash(self) -> None:
        self.held.clear()
        await self.clock.move(301)

    async def pause(self, group: str | None, probe: float | None) -> None:
        await self.queue.pause(group, probe=probe)

    async def resume(self, group: str | None) -> None:
        await self.queue.resume(group)

    async def limit(self, group: str | None, concurrency: int | None, rate: tuple[int, float] | None) -> None:
        await self.queue.set_limit(group, concurrency=concurrency, rate=rate)

    async def move(self, seconds: float) -> None:
        await self.clock.move(seconds)

    async def sweep(self) -> None:
        await self.queue.sweep()

    # What is proven

    async def states(self, *task_id: str, group: str | None = None) -> list[Reason]:
        """Reasons, without those about workers, which come last."""
        found = await self.operator.explain(*task_id, group=group)
        codes = [reason.code for reason in found]
        assert codes == sorted(codes, key=torrelque.operate.CODES.index), codes
        return [reason for reason in found if reason.code not in WORKERS]

    async def prove(self) -> None:
        now = await Snapshot.take(self.client)
        # The order of a hash may be another once it is restored.
        await now.restore(self.client)
        given = await claim(self.client, self.queue)
        owner = await self.client.hget(f'{self.queue.keys["task"]}:{given}', 'group') if given else None
        await now.restore(self.client)
        assert (await self.states() == []) == (given is not None)
        for group in GROUPS:
            found = await self.states(group=group)
            assert (found == []) == (owner == group.encode()), (group, given, found)
        for task_id in [*self.ids, 'never', '-never']:
            reasons = await self.states(task_id)
            assert (reasons == []) == (given == task_id), (task_id, given, reasons)
            if reasons and reasons[0].code not in OVER:
                await self.bring(task_id)
                await now.restore(self.client)

    async def bring(self, task_id: str) -> None:
        """Do what the decisive reasons say until the task is handed out."""
        done: list[Reason] = []
        for _ in range(STEPS):
            reasons = await self.states(task_id)
            if not reasons:
                assert await claim(self.client, self.queue) == task_id, done
                return
            done.append(reasons[0])
            if reasons[0].code in OVER:
                # A cancelled task that was held is gone by now.
                assert done[0].code in ('cancelled', 'overdue', 'finished')
                return
            if reasons[0].code == 'behind':
                if await self.take_those_before(task_id, reasons[0]):
                    return
            else:
                await self.do(task_id, reasons[0])
        raise AssertionError([(one.code, one.text, one.count, one.command) for one in done])

    async def do(self, task_id: str, reason: Reason) -> None:
        """Do what a reason says: one of the ways, where there are several."""
        ways: list[Callable[[], Coroutine[Any, Any, Any]]] = []
        if reason.command:
            ways.append(lambda: obey(self.queue, str(reason.command)))
        if reason.until is not None:
            ways.append(lambda: self.wait_until(reason.until or 0))
        working = [holder.id for holder in reason.holders if holder.doing == 'working' and holder.id != task_id]
        if working:
            ways.append(lambda: self.queue.release(self.draw.choice(working)))
        assert ways, reason
        await self.draw.choice(ways)()

    async def wait_until(self, instant: float) -> None:
        seconds, micros = await self.client.time()
        # Steps of a history follow one another within milliseconds, and what they set is due so as well: all of it is
        # to be over when it is looked at.
        await self.clock.move(max(0.0, instant - seconds - micros / 1e6) + 1)

    async def take_those_before(self, task_id: str, reason: Reason) -> bool:
        """Take what goes first, one by one, and finish it: whether the task came, so that the count was right."""
        assert reason.count is not None
        assert reason.most is not None
        count = 0
        while (given := await claim(self.client, self.queue)) is not None:
            if given == task_id:
                assert reason.count <= count <= reason.most, (count, reason)
                return True
            await self.queue.release(given)
            count += 1
            assert count <= reason.most, (count, reason)
        # A pause, a rate or the like has come between.
        assert count, reason
        return False


    # Whatever is lost, or spoilt

    async def spoil(self) -> None:
        """Take a key or a part of it away, put something else there, or write what cannot be read."""
        keys: list[Any] = await self.client.keys('*')
        if not keys:
            return
        key = self.draw.choice(sorted(keys))
        kind = await self.client.type(key)
        way = self.draw.choice(['lose', 'other', 'part', 'write', 'write'])
        self.spoilt.append((way, key))
        if way in ('lose', 'other'):
            await self.client.delete(key)
        if way == 'other':
            await (self.client.lpush(key, 'x') if kind == b'string' else self.client.set(key, 'x'))
        elif way != 'lose' and kind == b'hash':
            field = self.draw.choice(sorted(await self.client.hkeys(key)))
            await self.client.hdel(key, field)
            if way == 'write':
                await self.client.hset(key, field, self.draw.choice(RUBBISH))
        elif way != 'lose' and kind == b'zset':
            members: list[Any] = await self.client.zrange(key, 0, -1)
            member = self.draw.choice(members)
            await self.client.zrem(key, member)
            if way == 'write':
                await self.client.zadd(key, {member: self.draw.choice([-1, 1.5, 1e300, float('inf')])})
        elif way != 'lose' and kind == b'list':
            await self.client.rpop(key)
            if way == 'write':
                await self.client.rpush(key, self.draw.choice(RUBBISH))
        elif way != 'lose' and kind == b'set':
            await self.client.sadd(key, self.draw.choice([*RUBBISH, *(one.encode() for one in self.ids)]))
        elif way != 'lose':
            await self.client.set(key, self.draw.choice(RUBBISH))

    async def prove_that_nothing_is_without_reason(self) -> None:
        now = await Snapshot.take(self.client)
        # The order of a hash may be another once it is restored.
        await now.restore(self.client)
        try:
            given = await claim(self.client, self.queue)
        except redis.exceptions.ResponseError:
            given = None
        await now.restore(self.client)
        for group in [None, *GROUPS, 'never']:
            await self.operator.explain(group=group)
        for task_id in [*self.ids, 'never']:
            found = await self.states(task_id)
            assert found or given == task_id, (task_id, given, self.spoilt, found)


async def play(server: RealServer, history: list[Step], number: int, spoilt: bool) -> None:
    async with server.client() as client:
        await client.flushdb()
        async with Torrelque(client, queue='-q r') as queue:
            world = World(client, queue, random.Random(number))
            for step in history:
                await world.play(step)
            for _ in range(world.draw.randrange(1, 3) if spoilt else 0):
                await world.spoil()
            await (world.prove_that_nothing_is_without_reason() if spoilt else world.prove())


async def fails(server: RealServer, history: list[Step], number: int, spoilt: bool) -> bool:
    try:
        await play(server, history, number, spoilt)
    except Exception:
        return True
    return False


async def shrink(server: RealServer, history: list[Step], number: int, spoilt: bool) -> list[Step]:
    """A short history that fails."""
    position = 0
    while position < len(history):
        shorter = history[:position] + history[position + 1 :]
        if await fails(server, shorter, number, spoilt):
            history = shorter
        else:
            position += 1
    return history


async def prove(server: RealServer, histories: int, spoilt: bool) -> None:
    if server.kind != selected_kinds()[0]:
        histories = min(histories, ELSEWHERE)
    for number in range(FIRST, FIRST + histories):
        history = draw_history(number)
        try:
            await play(server, history, number, spoilt)
        except Exception as exc:
            print(f'history {number}:', *await shrink(server, history, number, spoilt), sep='\n')
            raise AssertionError(f'history {number} fails') from exc
    print(f'\n{json.dumps({"histories": histories, "first": FIRST, "last": FIRST + histories - 1})}')


@pytest.mark.timeout(0 if FULL else 1800)  # what fails is made short first
@pytest.mark.parametrize('histories', HISTORIES)
async def test_who_does_what_it_says_has_the_task_handed_out(server: RealServer, histories: int) -> None:
    await prove(server, histories, spoilt=False)


@pytest.mark.timeout(0 if FULL else 1800)
@pytest.mark.parametrize('histories', HISTORIES)
async def test_whatever_is_lost_or_spoilt_a_task_that_is_not_given_has_a_reason(
    server: RealServer, histories: int
) -> None:
    await prove(server, histories, spoilt=True)
