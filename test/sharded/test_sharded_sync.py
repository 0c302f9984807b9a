"""The synchronous queue with shards: the verbs, threads, and servers that go."""

from __future__ import annotations

import inspect
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

import torrelque
import torrelque.sync
from support.bounding import Bound
from support.servers import MakeServer, RealServer
from support.sharding import NAME, group_of, open_one
from torrelque import TorrelqueNode as Node
from torrelque.sharded.sync import Sharded

pytestmark = pytest.mark.first_server

VERBS = sorted(name for name in dir(torrelque.sync.Torrelque) if not name.startswith('_'))


@pytest.fixture
def queue(server: RealServer) -> Iterator[Sharded]:
    with server.sync_client() as client, Sharded(client, queue=NAME, shards=3) as queue:
        yield queue


@pytest.mark.one_server
@pytest.mark.parametrize('name', VERBS)
def test_every_public_name_of_a_queue_is_there_with_the_same_parameters(name: str) -> None:
    own, theirs = inspect.getattr_static(Sharded, name), inspect.getattr_static(torrelque.sync.Torrelque, name)
    if callable(theirs):
        mine, others = inspect.signature(own).parameters.values(), inspect.signature(theirs).parameters.values()
        assert [(one.name, one.kind, one.default) for one in mine] == [
            (one.name, one.kind, one.default) for one in others
        ]


def test_a_task_goes_through_all_that_may_become_of_it(queue: Sharded) -> None:
    for how in ({}, {'group': 'shop'}, {'task_id': 'invoice-17'}, {'group': 'shop', 'task_id': 'invoice-18'}):
        options: dict[str, Any] = how
        task_id = queue.enqueue('a', **options)
        first, task = queue.dequeue(20)
        assert (first, task, first.group) == (task_id, 'a', how.get('group'))
        assert queue.touch(first, progress=0.5)
        assert queue.get_task_state(str(task_id)).progress == 0.5
        assert queue.requeue(first)
        second, _ = queue.dequeue(20)
        assert queue.bury(second, error='oh')
        assert queue.redrive(str(task_id)) == 1
        third, _ = queue.dequeue(20)
        assert queue.release(third, result='done')
        assert queue.get_task_state(str(task_id)).result == 'done'
        assert not queue.release(third) and not queue.cancel(str(task_id))
    assert queue.get_queue_stats().tasks == 0
    with pytest.raises(torrelque.LookupError):
        queue.get_task_state('unknown')
    for timeout in (0, 0.01):
        with pytest.raises(torrelque.TimeoutError, match=f"queue 'email': no task came within {timeout:g} s") as info:
            queue.dequeue(timeout)
        assert info.value.replied


def test_many_tasks(queue: Sharded) -> None:
    task_ids = queue.enqueue_many(range(600))
    assert len({*task_ids}) == 600 and {task_id[-4:] for task_id in task_ids} == {'.000', '.001', '.002'}
    task_ids += queue.enqueue_many(range(100), group=lambda k: None if k % 5 == 4 else f'g{k % 5}')
    task_ids += queue.enqueue_many(range(10), group='shop')
    found: dict[str, Any] = {}
    while len(found) < 710:
        some = queue.dequeue_many(100, 20)
        assert queue.touch_many([task_id for task_id, _ in some]) == [True] * len(some)
        assert all(queue.release_many([task_id for task_id, _ in some]))
        found.update(some)
    assert [found[task_id] for task_id in task_ids] == [*range(600), *range(100), *range(10)]

    def tasks() -> Iterator[int]:
        yield from range(270)
        raise RuntimeError('no more')

    for group in (None, lambda k: f'g{k % 7}'):
        with pytest.raises(torrelque.BulkError) as info:
            queue.enqueue_many(tasks(), group=group)
        assert isinstance(info.value.__cause__, RuntimeError) and len(info.value.task_ids) == 270
    with pytest.raises(torrelque.TypeError):
        queue.enqueue_many(7)  # type: ignore[arg-type]
    with pytest.raises(torrelque.ValueError):
        queue.enqueue_many([1], priority=1000)


def test_operators(queue: Sharded) -> None:
    queue.set_limit(concurrency=2)
    queue.set_limit('shop', concurrency=1)
    assert queue.get_limits() == {None: torrelque.Limit(2, None), 'shop': torrelque.Limit(1, None)}
    for number in range(3):
        queue.enqueue(number, group=group_of(number, 3), delay=0.001, max_attempts=1)
    assert {*queue.groups()} == {group_of(number, 3) for number in range(3)}
    delayed = 0
    while delayed < 3:
        delayed += queue.sweep().delayed
    queue.pause()
    with pytest.raises(torrelque.TimeoutError):
        queue.dequeue(0)
    assert queue.get_group_stats('shop').paused and queue.resume()
    for _ in range(3):
        task_id, _ = queue.dequeue(20)
        queue.requeue(task_id)
    deaths = queue.take_deaths()
    assert len(deaths) == 3
    queue.acknowledge_deaths(death.id for death in deaths)
    assert queue.take_deaths() == []
    assert queue.redrive(limit=2) == 2
    assert [stats and stats.dead for stats in queue.stats_of_shards()] == [0, 0, 1]
    assert queue.command('TYPE', queue.keys['limits']) == b'hash'
    assert queue.set_schedule('daily', 'a', every=86400) and [one.name for one in queue.get_schedules()] == ['daily']
    [task_id] = queue.fire('daily')
    assert queue.cancel(task_id) and queue.remove_schedule('daily')


def test_flows(queue: Sharded) -> None:
    nodes = [Node(f'n{k}', k, group=group_of(k, 3)) for k in range(3)]
    made = queue.enqueue_flow([*nodes, Node('last', 'x', {f'n{k}': 'then' for k in range(3)})], out=['last'])
    found = []
    for _ in range(4):
        task_id, task = queue.dequeue(20)
        found.append(task)
        assert queue.release(task_id, result=task)
        queue.sweep()
    assert found[-1] == 'x' and queue.get_flow(made).state.result == 'x'
    first = queue.enqueue('first')
    queue.enqueue('second', depends_on=[first])
    assert [queue.release(queue.dequeue(20)[0]) for _ in range(2)] == [True, True]


def test_a_thread_that_waits_is_given_what_comes_into_any_shard(queue: Sharded) -> None:
    found: list[Any] = []
    for number in range(3):
        thread = threading.Thread(target=lambda: found.append(queue.dequeue(20)))
        thread.start()
        task_id = queue.enqueue('a', group=group_of(number, 3))
        thread.join()
        assert found[-1][0] == task_id and queue.release(found[-1][0])


def test_many_threads_share_an_object(queue: Sharded) -> None:
    done: list[Any] = []
    left = threading.Semaphore(0)

    def work() -> None:
        while True:
            task_id, task = queue.dequeue(20)
            if task is None:
                queue.release(task_id)
                return
            assert queue.release(task_id)
            done.append(task)
            left.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()

    def produce(start: int) -> None:
        for k in range(start, start + 50):
            queue.enqueue(k)

    producers = [threading.Thread(target=produce, args=(start,)) for start in range(0, 200, 50)]
    for thread in producers:
        thread.start()
    for _ in range(200):
        assert left.acquire(timeout=30)
    queue.enqueue_many([None] * len(threads))
    for thread in threads:
        thread.join()
    assert Counter(done) == Counter(range(200))
    assert queue.get_queue_stats().tasks == 0


def test_closing_ends_the_waiting_of_other_threads(queue: Sharded) -> None:
    queue.ready()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            queue.dequeue()
        except torrelque.ClosedError as exc:
            errors.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    while not queue._takers._waiters:
        time.sleep(0.001)
    queue.close()
    thread.join()
    assert len(errors) == 1
    with pytest.raises(torrelque.ClosedError):
        queue.enqueue('a')


async def test_both_queues_are_one(server: RealServer, queue: Sharded) -> None:
    async with open_one(server) as other:
        task_id = await other.enqueue('a')
        found, _ = queue.dequeue(20)
        assert found == task_id and queue.release(found)
        task_id = queue.enqueue('b', group='shop')
        found, _ = await other.dequeue(20)
        assert found == task_id and await other.release(found)
    with pytest.raises(torrelque.ValueError, match='the queue has 3 shards, not 4'):
        with server.sync_client() as client, Sharded(client, queue=NAME, shards=4) as wrong:
            wrong.enqueue('a')


def test_one_shard_that_refuses_keeps_nobody_from_the_tasks_of_others(
    queue: Sharded, server: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    queue.ready()
    with server.sync_client() as client:
        client.set(queue.shards[1].keys['working'], 'spoilt')
        for number in (0, 2, 0, 2):
            queue.enqueue(number, group=group_of(number, 3))
            assert queue.release(queue.dequeue(0)[0])
        with pytest.raises(torrelque.TimeoutError):
            queue.dequeue(0.5)
        assert caplog.text.count("queue 'email': shard 1 refuses to hand out tasks: ") <= 1
        for number in (0, 2):
            client.set(queue.shards[number].keys['working'], 'spoilt')
        with pytest.raises(torrelque.ServerError, match='WRONGTYPE'):
            queue.dequeue(0)


@pytest.mark.long
def test_who_does_not_wait_is_given_tasks_of_a_server_that_is_back(
    make_server: MakeServer, bound: Bound, hasty: None, tmp_path: Path
) -> None:
    bound(repeat=1.0)
    servers = [make_server(), make_server({'appendfsync': 'always'}, directory=tmp_path)]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.sync_client()) for server in servers]
        queue = stack.enter_context(Sharded(clients, queue=NAME))
        task_id = queue.enqueue('a', group=group_of(1, 2))
        servers[1].kill()
        with pytest.raises(torrelque.TimeoutError) as info:
            queue.dequeue(0)
        assert not info.value.replied
        servers[1].start()
        while True:
            try:
                assert queue.dequeue(0)[0] == task_id
                break
            except torrelque.TimeoutError:
                time.sleep(0.01)


@pytest.mark.long
def test_plain_tasks_go_on_where_a_server_is_killed(make_server: MakeServer, bound: Bound, hasty: None) -> None:
    bound(repeat=1.0)
    servers = [make_server() for _ in range(3)]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.sync_client()) for server in servers]
        queue = stack.enter_context(Sharded(clients, queue=NAME))
        queue.sweep()
        servers[1].kill()
        with pytest.raises(torrelque.ConnectionError):
            queue.enqueue('a', group=group_of(1, 3))
        with pytest.raises(torrelque.ConnectionError, match='it is done at 2 of 3 shards, and not at 1: '):
            queue.set_limit(concurrency=3)
        lost = 0
        for k in range(600):
            try:
                assert queue.enqueue(k)[-1] in '02'
            except torrelque.ConnectionError:
                lost += 1
        assert lost <= 1
        assert len(queue.dequeue_many(10, 20)) == 10
        assert [stats is None for stats in queue.stats_of_shards()] == [False, True, False]
        servers[1].start()
        while queue.enqueue('more')[-1] != '1':
            time.sleep(0.001)


@pytest.mark.long
@pytest.mark.first_server
@pytest.mark.parametrize(('stop', 'used'), [('kill', False), ('kill', True), ('pause', False)])
def test_plain_tasks_go_elsewhere_where_no_connection_comes_about(
    make_server: MakeServer, bound: Bound, hasty: None, stop: str, used: bool
) -> None:
    # Whoever is sent to it stays there.
    bound(repeat=1e6)
    servers = [make_server() for _ in range(3)]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.sync_client()) for server in servers]
        queue = stack.enter_context(Sharded(clients, queue=NAME))
        queue.ready()
        if used:
            queue.sweep()
        getattr(servers[1], stop)()
        try:
            assert {queue.enqueue(k)[-1] for k in range(600)} == {*'02'}
        finally:
            servers[1].resume() if stop == 'pause' else servers[1].start()


@pytest.mark.long
def test_shards_in_a_cluster(cluster: Any) -> None:
    with redis.RedisCluster(host='127.0.0.1', port=cluster.ports[0]) as client:
        with Sharded(client, queue=NAME, shards=12) as queue:
            queue.enqueue_many(range(1500))
            queue.ready()
            assert [stats is not None and stats.tasks > 0 for stats in queue.stats_of_shards()].count(True) == 6
            shard = queue.shard_of(group='shop')
            pipeline = client.pipeline(transaction=True)
            pipeline.set(f'{shard.name}:paid', 1)
            task_id = queue.enqueue('a', group='shop', pipeline=pipeline)
            pipeline.execute()
            assert queue.get_task_state(task_id).group == 'shop'
