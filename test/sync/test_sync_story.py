"""The synchronous queue: each verb beside the asynchronous one, told as one story."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

import torrelque
import torrelque.sync
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.protocol import ids

NO_SYNC = {
    'aclose', 'another', 'home', 'ready', 'schedule_sweep', 'shard_of', 'shards', 'sibling', 'sweep_interval',
    'unschedule_sweep', 'wait', 'watch',
}  # fmt: skip

# A name, or a name with the number of the delivery whose id it is called with, arguments, options.
STORY: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ('enqueue', ('a',), {'task_id': 'a'}),
    ('enqueue', ('a',), {'task_id': 'a'}),
    ('enqueue', ({'b': [1, None]},), {'task_id': 'b', 'delay': 1000, 'max_attempts': 3, 'task_timeout': 7}),
    ('enqueue', ('c',), {'task_id': 'c', 'group': 'g', 'priority': -3}),
    ('enqueue', ('d',), {'task_id': 'd', 'priority': 5}),
    ('enqueue', (object(),), {}),
    ('enqueue', ('x',), {'delay': -1}),
    ('enqueue', ('x',), {'group': ''}),
    ('enqueue', ('x',), {'task_id': 3}),
    ('get_queue_stats', (), {}),
    ('get_task_state', ('b',), {}),
    ('get_task_state', ('nobody',), {}),
    ('groups', (), {}),
    ('set_limit', (), {'concurrency': 2}),
    ('set_limit', ('g',), {'concurrency': 3, 'rate': (10, 0.5)}),
    ('set_limit', ('g',), {'concurrency': 0}),
    ('get_limits', (), {}),
    ('get_group_stats', ('g',), {}),
    ('pause', ('g',), {}),
    ('get_group_stats', ('g',), {}),
    ('dequeue', (0,), {'max_tasks': 10}),
    ('resume', ('g',), {'probing': True}),
    ('resume', ('g',), {}),
    ('set_limit', ('g',), {}),
    ('set_limit', (), {}),
    ('dequeue', (0,), {}),
    ('dequeue', (0,), {}),
    ('dequeue', (-1,), {}),
    ('dequeue', (0,), {'max_tasks': 0}),
    ('dequeue_many', (0, 0), {}),
    ('dequeue_many', (1, -1), {}),
    ('touch', (0,), {'progress': {'done': 0.5}}),
    ('touch_many', ([0, 1, 'b', 'nobody'],), {'task_timeout': 60}),
    ('get_task_state', ('d',), {}),
    ('requeue', (0,), {'delay': 0, 'error': 'again', 'task_timeout': 9}),
    ('requeue', (0,), {}),
    ('release', (0,), {}),
    ('release', ('nobody',), {}),
    ('release', (1,), {'result': [1], 'result_ttl': 100, 'status': Status.REJECTED}),
    ('release', (1,), {'status': Status.PENDING}),
    ('get_task_state', ('a',), {}),
    ('dequeue', (0,), {'max_tasks': 5}),
    ('bury', (3,), {'error': 'no'}),
    ('redrive', (), {'limit': 0}),
    ('redrive', (), {}),
    ('redrive', ('nobody', 'd'), {}),
    ('dequeue', (0,), {}),
    ('cancel', ('d',), {}),
    ('touch', (4,), {}),
    ('release', (4,), {}),
    ('cancel', ('b',), {}),
    ('cancel', ('b',), {}),
    ('release_many', ([2, 'b', 2],), {}),
    ('release_many', ('abc',), {}),
    ('sweep', (), {}),
    ('pause', (), {'probe': 60}),
    ('pause', (), {'probe': 0}),
    ('resume', (), {'probing': True}),
    ('resume', (), {}),
    ('enqueue', (5,), {'task_id': 'dies', 'max_attempts': 1, 'priority': 100}),
    ('dequeue', (0,), {}),
    ('requeue', (-1,), {'error': 'no more'}),
    ('take_deaths', (), {'again_after': 0}),
    ('acknowledge_deaths', ([-1],), {}),
    ('take_deaths', (0,), {}),
    ('acknowledge_deaths', (['dies'],), {}),
    ('acknowledge_deaths', ('dies',), {}),
    ('redrive', ('dies',), {}),
    ('dequeue', (0,), {}),
    ('bury', (-1,), {'tell_after': 0}),
    ('take_deaths', (), {'again_after': -1}),
    ('take_deaths', (1,), {}),
    ('cancel', ('dies',), {'only': [Status.PENDING]}),
    ('cancel', ('dies',), {'only': [Status.DEAD, Status.WORKING]}),
    ('set_schedule', ('s', 1), {'times': [4e9, 4e9 + 10], 'spec': {'a': 1}, 'overlap': 'allow', 'max_attempts': 2}),
    ('set_schedule', ('s', 1), {'times': [4e9, 4e9 + 10], 'spec': {'a': 1}, 'overlap': 'allow', 'max_attempts': 2}),
    ('set_schedule', ('t', 1), {'every': 1e9, 'overlap': 'queue', 'source': 'a', 'revision': 2, 'until': 5e9}),
    ('set_schedule', ('t', 1), {'every': 1e9, 'revision': 1}),
    ('set_schedule', ('u', 1), {}),
    ('extend_schedule', ('s', [4e9 + 20]), {'after': 4e9 + 10, 'spec': {'a': 1}}),
    ('extend_schedule', ('s', [4e9 + 20]), {'after': 4e9 + 10, 'spec': {'a': 1}}),
    ('extend_schedule', ('s', [2, 1]), {'after': None}),
    ('fire', ('s',), {}),
    ('fire', ('s', 1, 2), {}),
    ('fire', ('s', 2, 3), {}),
    ('fire', ('nobody',), {}),
    ('get_schedule', ('s',), {}),
    ('get_schedules', ('s',), {}),
    ('get_schedules', (5,), {}),
    ('pause_schedule', ('s',), {}),
    ('pause_schedule', ('s',), {}),
    ('resume_schedule', ('s',), {}),
    ('resume_schedule', ('nobody',), {}),
    ('remove_schedule', ('t',), {'source': 'b'}),
    ('remove_schedule', ('t',), {'revision': 2}),
    ('remove_schedule', ('s',), {}),
    ('get_schedule', ('s',), {}),
    ('enqueue_many', (['e', 'f', 'e', object()],), {'group': lambda task: task, 'priority': 1}),
    ('enqueue_many', (3,), {}),
    ('get_queue_stats', (), {}),
)


def plain(value: object) -> str:
    """A reply, or the keys of a queue, without what differs from one run to the next."""
    text = re.sub(r'0x[0-9a-f]+', '0x', repr(value))
    # A mark may begin as a time does.
    text = re.sub(r'\b[0-9a-f]{15}\b', 'MARK', text)
    return re.sub(r'\b1\d{9,}(\.\d+)?\b', 'TIME', text)


async def dump(client: Any, prefix: str) -> dict[Any, Any]:
    """All keys of a queue with what is in them, but for records of claims, which go by themselves."""
    found = {}
    for key in sorted(await client.keys('*')):
        if not key.startswith(prefix.encode()) or key.startswith(f'{prefix}claim:'.encode()):
            continue
        kind = await client.type(key)
        read = {
            b'hash': client.hgetall,
            b'string': client.get,
            b'set': client.smembers,
            b'list': lambda key: client.lrange(key, 0, -1),
            b'zset': lambda key: client.zrange(key, 0, -1, withscores=True),
        }[kind]
        value = await read(key)
        found[key.decode().removeprefix(prefix)] = sorted(value.items()) if kind == b'hash' else value
    return found


def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(os, 'urandom', lambda size: hashlib.shake_128(b'%d' % next(numbers)).digest(size))
    ids.forget()


async def tell(queue: Any, call: Any, client: redis.asyncio.Redis) -> list[Any]:
    """What comes of each call of the story, and what is in the queue after it."""
    deliveries: list[Any] = []
    told: list[Any] = []

    def known(argument: Any) -> Any:
        if isinstance(argument, list):
            return [known(one) for one in argument]
        return deliveries[argument] if isinstance(argument, int) else argument

    for name, args, options in STORY:
        settles = name in ('touch', 'touch_many', 'requeue', 'release', 'release_many', 'bury')
        settles = settles or name == 'acknowledge_deaths'
        try:
            reply = await call(getattr(queue, name), *(map(known, args) if settles else args), **options)
        except torrelque.TorrelqueError as exc:
            reply = [type(exc), str(exc), repr(exc.__cause__), getattr(exc, 'task_ids', None)]
        else:
            if name == 'dequeue':
                taken = reply if isinstance(reply, list) else [reply]
                deliveries += [task_id for task_id, _ in taken]
                reply = [(task_id, task, task_id.attempt, task_id.group, task_id.timeout) for task_id, task in taken]
        told.append((name, args if name != 'enqueue' else '', plain(reply)))
        told.append(plain(await dump(client, queue.keys['pending'].removesuffix('pending'))))
    return told


async def call_async(verb: Any, *args: Any, **options: Any) -> Any:
    if inspect.isasyncgenfunction(verb):
        return [item async for item in verb(*args, **options)]
    return await verb(*args, **options)


async def call_sync(verb: Any, *args: Any, **options: Any) -> Any:
    if inspect.isgeneratorfunction(verb):
        return await asyncio.to_thread(lambda: list(verb(*args, **options)))
    return await asyncio.to_thread(verb, *args, **options)


@pytest.mark.parametrize(
    ('protocol', 'decode'),
    [
        (3, False), *(pytest.param(*it, marks=pytest.mark.long) for it in ((2, True), (2, False), (3, True))),
    ],
)  # fmt: skip
async def test_a_story_is_the_same_told_by_both(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    decode: bool,
    protocol: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same_ids(monkeypatch)
    expected = await tell(queue, call_async, client)
    warned = [record.getMessage() for record in caplog.records]
    await client.flushall()
    caplog.clear()
    same_ids(monkeypatch)
    with server.sync_client(decode_responses=decode, protocol=protocol) as sync_client:
        try:
            sync_client.ping()
        except ValueError as exc:
            pytest.skip(f'the client library itself cannot connect: {exc}')
        with torrelque.sync.Torrelque(sync_client, queue=queue.name) as sync:
            told = await tell(sync, call_sync, client)
    for one, other in zip(told, expected, strict=True):
        if isinstance(one, tuple) and one[0] == 'enqueue_many' and 'must be' in one[2]:
            continue  # the message names an asynchronous iterable too
        assert one == other
    assert [record.getMessage() for record in caplog.records] == warned and len(warned) > 5


def test_signatures_are_those_of_the_asynchronous_queue() -> None:
    for name, verb in inspect.getmembers(torrelque.Torrelque):
        if name.startswith('_') or name in NO_SYNC:
            continue
        ours = getattr(torrelque.sync.Torrelque, name)
        if callable(verb):
            theirs, mine = inspect.signature(verb).parameters, inspect.signature(ours).parameters
            assert [(p.name, p.kind, p.default) for p in mine.values()] == [
                (p.name, p.kind, p.default) for p in theirs.values()
            ], name
            assert ours.__doc__
        else:
            assert ours == verb
    public = {name for name in dir(torrelque.sync.Torrelque) if not name.startswith('_')}
    assert public - set(dir(torrelque.Torrelque)) == {'close'}
    assert inspect.signature(torrelque.sync.Torrelque).parameters.keys() == (
        inspect.signature(torrelque.Torrelque).parameters.keys()
    )


@pytest.fixture
def sync(server: RealServer, queue_name: str) -> Iterator[torrelque.sync.Torrelque]:
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue=queue_name) as queue:
        yield queue
