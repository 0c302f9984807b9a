"""Names of any text: groups, ids and queues that look like patterns, numbers, keys of ours, or like nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis.asyncio

import torrelque
import torrelque.sync
from support.servers import RealServer
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus as Status
from torrelque.tasks import Tasks
from torrelque.testing import Clock, run_until_idle
from torrelque.worker import Breaker, Delivery, Worker, get_workers

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.first_server

HOUR = 3600.0
NAMES = [
    # As long as what made a hash large.
    *('-' * 65, '-' * 64, '\0' * 65, 'ÿ' * 65, 'x' * 500, '\U0001f600' * 100),
    # Numbers and values of several languages.
    *('0', '1', '-1', '1e3', 'nan', 'inf', 'true', 'false', 'null', 'nil', 'None', '1 2', '2 1000'),
    # Keys and fields of ours.
    *('status', 'pending', 'working', 'heads', 'groups', 'tasks', 'group', 'seq', 'bell', 'task:', 'rate:a', 'fifo:'),
    # Patterns, formats, tags.
    *('*', '?', '[', '[a-z]', ']', '^', '\\', 'a\\', '\\*', '%', '%s', '%0', '%d+', '.', '(.)', '$'),
    *('{', '}', '{}', '{0}', '{a}'),
    # White space, quotes, what a protocol has between words.
    *(' ', '\t', '\n', '\r\n', '$5\r\nhello\r\n', '\0', 'a\0b', '\x7f', '"', "'"),
    *('"group"', '\\u0000', '/', ':', 'a:b'),
    # More than a byte for each character.
    *('é', 'e\u0301', '\uffff', '\u2028', '\U0001f600', '{"a":1}', '[]', '<b>', '\ufeff'),
]
QUEUES = [
    *('-' * 65, '*', '[a-z]?', 'a\\', '{*}', '{[}mail', '{\\', '{a', 'x{\n}y', ' ', '\r\n', '\0', '%s%0', ':'),
    *('a:pending', '"', '0', 'nan', '\U0001f600', 'é' * 500),
]


def some_quick(names: Sequence[str], quick: int) -> pytest.MarkDecorator:
    """Queues of these names, of which the first are in each run."""
    marks = [() if number < quick else pytest.mark.long for number in range(len(names))]
    parameters = [pytest.param(name, id=str(number), marks=marks[number]) for number, name in enumerate(names)]
    return pytest.mark.parametrize('queue_name', parameters)


NASTY = some_quick(QUEUES, 3)


class InThreads:
    """A synchronous queue, awaited."""

    def __init__(self, queue: torrelque.sync.Torrelque) -> None:
        self.queue = queue

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(getattr(self.queue, name), *args, **kwargs)

        return call

    async def groups(self) -> Any:
        for name in await asyncio.to_thread(lambda: [*self.queue.groups()]):
            yield name


async def take(queue: Any) -> dict[str, Any]:
    """What can be taken, by group; of each group one, or the test is told."""
    taken = {}
    with contextlib.suppress(torrelque.TorrelqueTimeoutError):
        while True:
            for task_id, task in await queue.dequeue(0, max_tasks=250):
                assert task_id.group not in taken
                assert task[0] == task_id.group
                taken[task_id.group] = task_id
    return taken


async def each(call: Callable[..., Any], *args: Any, **options: Any) -> list[Any]:
    """Call with each name, some at a time."""
    results = []
    for start in range(0, len(NAMES), 20):
        some = NAMES[start : start + 20]
        results += await asyncio.gather(*(call(name, *args, **options) for name in some))
    return results


async def live(queue: Any, clock: Clock) -> dict[str, Any]:
    """Two tasks of each group, of which one has the same name as the group, through all that they can go through; the
    first are left, taken, and the others cancelled."""
    await each(queue.set_limit, concurrency=1)
    assert await queue.get_limits() == dict.fromkeys(NAMES, TorrelqueLimit(1, None))

    async def enqueue(name: str) -> None:
        for task_id in (name, f'{name}!'):
            assert await queue.enqueue([name], task_id=task_id, group=name, task_timeout=1e6) == task_id
            with pytest.raises(torrelque.TorrelqueDuplicateError):
                await queue.enqueue([name], task_id=task_id)

    await each(enqueue)
    assert sorted([name async for name in queue.groups()]) == sorted(NAMES)
    assert {(stats.waiting, stats.slots) for stats in await each(queue.get_group_stats)} == {(2, 1)}
    taken = await take(queue)
    assert taken == {name: name for name in NAMES}
    assert await take(queue) == {}
    assert {state.group for state in await each(queue.get_task_state)} == {*NAMES}

    # Given back, and delayed: nothing overtakes.
    assert all(await asyncio.gather(*(queue.requeue(task_id) for task_id in taken.values())))
    taken = await take(queue)
    assert taken == {name: name for name in NAMES}
    assert all(await asyncio.gather(*(queue.requeue(task_id, delay=HOUR) for task_id in taken.values())))
    assert await take(queue) == {}
    await clock.move(HOUR)
    await queue.sweep()
    taken = await take(queue)
    assert taken == {name: name for name in NAMES}

    # Paused, with a probe.
    await each(queue.pause, probe=HOUR)
    assert all(await asyncio.gather(*(queue.requeue(task_id) for task_id in taken.values())))
    assert await take(queue) == {}
    await clock.move(HOUR)
    await queue.sweep()
    taken = await take(queue)
    assert taken == {name: name for name in NAMES} and all(task_id.probe for task_id in taken.values())
    await each(queue.resume)

    # Dead, and back.
    assert all(await asyncio.gather(*(queue.bury(task_id) for task_id in taken.values())))
    assert {*await take(queue)} == {*NAMES}
    assert await queue.redrive(*NAMES) == len(NAMES)
    assert (await queue.get_queue_stats())[1:] == (len(NAMES), len(NAMES), 0, 0, 0)
    for name in NAMES:
        assert await queue.cancel(f'{name}!') and (await queue.get_task_state(f'{name}!')).status is Status.CANCELLED
        # By the plain id, as an operator does.
        assert await queue.release(f'{name}!') is False
    await clock.move(1e6)
    await queue.sweep()
    taken = await take(queue)
    assert taken == {name: name for name in NAMES}

    return taken


async def live_rated(queue: Any, clock: Clock) -> None:
    """Two tasks of each group, of which one may begin in an hour."""
    await each(queue.set_limit, rate=(1, HOUR))
    for _ in range(2):
        await each(lambda name: queue.enqueue([name], group=name))
    for _ in range(2):
        taken = await take(queue)
        assert {*taken} == {*NAMES}
        assert all(await queue.release_many([*taken.values()]))
        assert await take(queue) == {}
        await clock.move(HOUR)
        await queue.sweep()
    await each(queue.set_limit)


@NASTY
@pytest.mark.share(3)
async def test_a_life_with_names_of_any_text(server: RealServer, queue_name: str) -> None:
    async with server.client() as client, Torrelque(client, queue=queue_name) as queue:
        clock = Clock(queue)
        taken = await live(queue, clock)
        waits = [asyncio.create_task(queue.wait(name)) for name in NAMES]
        for wait in waits:
            # The first state was read.
            while wait.get_coro().cr_await is None:  # type: ignore[union-attr]
                await asyncio.sleep(0)
        released = [queue.release(task_id, result=name) for name, task_id in taken.items()]
        assert all(await asyncio.gather(*released))
        states = await asyncio.gather(*waits)
        assert [(state.status, state.result) for state in states] == [(Status.COMPLETED, name) for name in NAMES]
        await clock.move(HOUR)
        await live_rated(queue, clock)
        assert await nothing_left(client, queue)


@some_quick(QUEUES[::2], 3)
async def test_a_life_with_names_of_any_text_in_synchronous_code(server: RealServer, queue_name: str) -> None:
    async with server.client() as client, Torrelque(client, queue=queue_name) as look:
        with server.sync_client() as sync_client, torrelque.sync.Torrelque(sync_client, queue=queue_name) as sync:
            queue, clock = InThreads(sync), Clock(look)
            taken = await live(queue, clock)
            assert all(await queue.release_many([*taken.values()]))
            await live_rated(queue, clock)
        await clock.move(HOUR)
        assert await nothing_left(client, look)


@some_quick(QUEUES[1::2], 3)
async def test_layers_with_names_of_any_text(server: RealServer, queue_name: str) -> None:
    async with server.client() as client, Torrelque(client, queue=queue_name) as queue, Tasks(queue) as app:
        begun: dict[str, list[int]] = {name: [] for name in NAMES}

        def decorate(name: str) -> Any:
            @app.fifo(queue=name, name=name, max_retries=1, retry_wait=HOUR)
            async def run(n: int) -> str:
                begun[name].append(n)
                if begun[name] == [0]:
                    raise ValueError(name)
                return name

            return run

        functions = [decorate(name) for name in NAMES]
        handles = [await function(n) for n in range(3) for function in functions]
        assert await queue.get_limits() == {f'fifo:{name}': TorrelqueLimit(1, None) for name in NAMES}
        await run_until_idle(app, concurrency=100)
        assert begun == {name: [0, 0, 1, 2] for name in NAMES}
        assert [await handle.result() for handle in handles[-len(NAMES) :]] == NAMES


@some_quick(QUEUES[::3], 3)
@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1', 'ascii'])
@pytest.mark.share(3)
async def test_a_worker_and_its_breaker_with_names_of_any_text(
    server: RealServer, queue_name: str, encoding: str
) -> None:
    """By a client that encodes text otherwise, too: names are UTF-8."""
    async with server.client(encoding=encoding) as client, Torrelque(client, queue=queue_name) as queue:
        well: dict[str | None, int] = dict.fromkeys(NAMES, 0)

        async def handle(delivery: Delivery) -> None:
            well[delivery.group] += 1
            if well[delivery.group] == 1:
                raise ConnectionError(delivery.group)

        await each(lambda name: queue.enqueue([name], group=name))
        options: dict[str, Any] = {'breaker': Breaker(failures=1, pause=HOUR, per='group'), 'retry': 0}
        await run_until_idle(queue, handle, concurrency=100, **options)
        assert well == dict.fromkeys(NAMES, 2)
        assert {stats.paused for stats in await each(queue.get_group_stats)} == {False}

        workers = queue.keys['workers'].encode()
        for name in NAMES[:: len(NAMES) // 8]:
            async with Worker(queue, handle, name=name, heartbeat=60):
                # The end of a beat.
                while await client.pttl(workers) <= 0:
                    await asyncio.sleep(0.005)
                assert [health.name for health in await get_workers(queue)] == [name]
            assert await get_workers(queue) == []
        async with server.client() as plain:
            assert await nothing_left(plain, queue, counted=True)


@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1'])
async def test_a_transaction_has_the_ids_of_a_call(server: RealServer, queue_name: str, encoding: str) -> None:
    async with server.client(encoding=encoding) as client, Torrelque(client, queue=queue_name) as queue:
        async with client.pipeline(transaction=True) as pipeline:
            for name in NAMES:
                await queue.enqueue([name], task_id=name, group=name, pipeline=pipeline)
            assert [torrelque.read_outcome(result) for result in await pipeline.execute()] == [True] * len(NAMES)
        assert {name: name for name in NAMES} == await take(queue)


async def test_names_of_another_client_that_are_no_text_are_let_be(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    """As long as what makes a hash large, and the same."""
    long = b'\xff' * 65
    enqueue = queue._calls.transitions['enqueue']
    options = b'{"timeout":60000,"mark":"123456789abcdef","group":"%b"}' % long
    for task_id in (long, b'other'):
        words: list[Any] = enqueue.words(['', '2000', task_id, b'[1]', options], False)
        assert await client.execute_command(*words) == b'ok'
    assert await client.hgetall(queue.keys['groups']) == {long: b'1'}
    assert await client.hgetall(queue.keys['heads']) == {long: long}
    assert await client.hgetall(queue.keys['holders']) == {long: long}


class Own(str, enum.Enum):
    """Names that call themselves something else."""

    QUEUE = 'queue'
    ID = 'id'
    GROUP = 'group'


async def test_members_of_an_enumeration_are_the_text_that_they_have(client: redis.asyncio.Redis) -> None:
    async with Torrelque(client, queue=Own.QUEUE) as queue, Torrelque(client, queue='queue') as other:
        assert queue.keys == other.keys
        assert await queue.enqueue(1, task_id=Own.ID, group=Own.GROUP) == 'id'
        assert (await queue.get_task_state(Own.ID)).group == 'group'
        taken, _ = await other.dequeue(0)
        assert (taken, taken.group) == ('id', 'group')
        assert await queue.cancel(Own.ID) and not await other.release(taken)
        with pytest.raises(torrelque.TorrelqueLookupError):
            await queue.get_task_state('Own.ID')


def test_what_utf_8_cannot_encode_is_refused_where_it_is_said(client: redis.asyncio.Redis) -> None:
    queue = Torrelque(client)
    app = Tasks(queue)
    for wrong in ('\ud800', 'a\udfff'):
        with pytest.raises(torrelque.TorrelqueValueError, match='UTF-8'):
            app.fifo(queue=wrong)
        with pytest.raises(torrelque.TorrelqueValueError, match='UTF-8'):
            app.task(group=wrong)
        with pytest.raises(torrelque.TorrelqueValueError, match='UTF-8'):
            Torrelque(client, queue=wrong)


async def test_a_task_of_another_client_without_a_name_finds_its_way_back(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    """Its id could not be given here; it is taken for a caller who has gone, together with others."""
    await queue.get_queue_stats()
    enqueue = queue._calls.transitions['enqueue']
    words = enqueue.words([*queue._calls.heads['enqueue'], '', b'1', '300000', 'named', b'2', '300000'], False)
    assert await client.execute_command(*words) == b'ok'
    taken = await queue.dequeue_many(2)
    assert [task_id for task_id, _ in taken] == ['', 'named']
    assert queue._session is not None
    queue._session._give_back([task_id for task_id, _ in reversed(taken)])
    assert (await queue.get_queue_stats()).working == 0
    assert [(task_id, task_id.attempt, task) for task_id, task in await queue.dequeue_many(2)] == [
        ('', 2, 1), ('named', 2, 2),
    ]  # fmt: skip
