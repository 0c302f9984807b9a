"""A user of the server who lacks a right is told which, of which queue, by an error of its own class."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.exceptions

import torrelque
import torrelque.sync
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueNode as Node, TorrelqueTaskStatus as Status
from torrelque.error import ServerPermissionError
from torrelque.operate import Operator

pytestmark = pytest.mark.long

ALL = ('~{q}:*', '+@all', 'resetchannels')


@contextlib.asynccontextmanager
async def limited(server: RealServer, admin: redis.asyncio.Redis, *rules: str) -> AsyncIterator[Torrelque]:
    """The queue 'q', for a user with these rights."""
    await admin.execute_command('ACL', 'SETUSER', 'limited', 'reset', 'on', '>secret', *rules)
    try:
        async with server.client(username='limited', password='secret') as client, Torrelque(client, queue='q') as one:
            yield one
    finally:
        await admin.execute_command('ACL', 'DELUSER', 'limited')


@contextlib.contextmanager
def in_thread(server: RealServer) -> Iterator[torrelque.sync.Torrelque]:
    """The same for synchronous code."""
    with server.sync_client(username='limited', password='secret') as client:
        with torrelque.sync.Torrelque(client, queue='q') as queue:
            yield queue


REFUSALS = [
    (('~{q}:*', '+@all', '-hset'), "(enqueue: if redis.call('HSET', tasks, id, ARGV[5]) == 1 then)"),
    (('~{q}:pending', '~{q}:never', '+@all'), "(enqueue: if redis.call('HSET', tasks, id, ARGV[5]) == 1 then)"),
    (('~{q}:tasks', '+@all'), '(enqueue: {q}:pending, {q}:never)'),
    (('~{q}:*', '+@all', '-eval', '-evalsha'), '(enqueue: {q}:pending, {q}:never)'),
]
"""Rights, and how what is told of a missing one ends."""


@pytest.mark.parametrize(('rules', 'told'), REFUSALS, ids=['command', 'key', 'declared', 'scripts'])
async def test_what_lacks_a_right_is_told_with_the_queue_and_the_place(
    server: RealServer, client: redis.asyncio.Redis, rules: tuple[str, ...], told: str
) -> None:
    async with limited(server, client, *rules) as queue:
        with pytest.raises(ServerPermissionError) as raised:
            await queue.enqueue(1)
        with in_thread(server) as other, pytest.raises(ServerPermissionError) as of_thread:
            other.enqueue(1)
    for exc in (raised.value, of_thread.value):
        assert isinstance(exc, redis.exceptions.NoPermissionError)
        assert exc.queue == 'q' and str(exc).startswith("queue 'q': ") and str(exc).endswith(told)
    assert await client.keys('*') == []


async def test_a_command_is_told_with_its_key(server: RealServer, client: redis.asyncio.Redis) -> None:
    async with limited(server, client, *ALL) as queue:
        for words, told in ((('GET', 'x'), '(GET x)'), (('EVAL', 'return 1', 1, 'x'), '(EVAL x)')):
            with pytest.raises(ServerPermissionError) as raised:
                await queue.command(*words)
            assert raised.value.queue == 'q' and str(raised.value).endswith(told)


@pytest.mark.parametrize('rule', ['-blpop', '-@blocking'])
async def test_who_may_not_wait_is_told_and_does_not_ask_again_and_again(
    server: RealServer, client: redis.asyncio.Redis, rule: str
) -> None:
    async with limited(server, client, *ALL, rule) as queue:
        with pytest.raises(ServerPermissionError, match=r"^queue 'q': .*\(BLPOP \{q\}:bell\)$"):
            await queue.dequeue(60)
        with in_thread(server) as other:
            with pytest.raises(ServerPermissionError, match=r"^queue 'q': .*\(BLPOP \{q\}:bell\)$"):
                other.dequeue(60)
        # What is there is taken all the same: that needs no waiting.
        task_id = await queue.enqueue(1)
        assert await queue.dequeue(60) == (task_id, 1)


@pytest.mark.parametrize(
    'rules', [('~*', '+@all', '-hincrby'), ('~{q}:[^d]*', '~{q}:d[^o]*', '+@all')], ids=['command', 'key']
)
async def test_a_right_that_is_missing_is_no_damage_of_a_flow(
    server: RealServer, client: redis.asyncio.Redis, rules: tuple[str, ...]
) -> None:
    async with limited(server, client, *rules) as queue, Torrelque(client, queue='q') as free:
        await free.enqueue_flow([Node('a', 1), Node('b', 2), Node('c', 3, {'a': 'then', 'b': 'then'})], flow_id='f')
        held, _ = await queue.dequeue(60)
        with pytest.raises(ServerPermissionError):
            await queue.release(held)
        state = await queue.get_task_state('f')
        assert (state.status, state.error) == (Status.WAITING, None)


@pytest.mark.parametrize(
    ('rules', 'told'),
    [
        (('~{q}:[^w]*', '~{q}:wa*', '~{q}:worki*', '+@all'), 'EXISTS {q}:workers'),
        (('~*', '+@all', '-hstrlen'), 'HSTRLEN {q}:'),
    ],
    ids=['key', 'command'],
)
async def test_who_looks_without_a_right_is_told_it_and_no_damage(
    server: RealServer, client: redis.asyncio.Redis, rules: tuple[str, ...], told: str
) -> None:
    async with limited(server, client, *rules) as queue:
        dying = await queue.enqueue(1)
        assert await queue.bury((await queue.dequeue(60))[0], error='ValueError: no')
        operator = Operator(queue)
        looks: list[Callable[[], Awaitable[Any]]] = [lambda: operator.task(dying), lambda: operator.page('dead')]
        for look in looks if told[0] == 'E' else [*looks, operator.errors]:
            with pytest.raises(ServerPermissionError) as raised:
                await asyncio.wait_for(look(), 60)
            assert told in str(raised.value) and str(raised.value).startswith("queue 'q': ")
