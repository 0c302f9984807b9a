"""Decorated functions on a queue with shards: each event loop has an object of the same shards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import torrelque
from support.servers import RealServer
from support.sharding import group_of, numbers_of, open_one
from support.tracing import Traced
from torrelque import Torrelque
from torrelque.flows import gather
from torrelque.sharded import Sharded, sync
from torrelque.tasks import Tasks, current
from torrelque.telemetry import TorrelqueInstrumentor
from torrelque.testing import Clock, NotIdleError, delivery, eager, run_until_idle, using
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server


def make(queue: torrelque.Queue, **options: Any) -> Tasks:
    app = Tasks(queue, **options)

    @app.task(name='double')
    async def double(n: int) -> int:
        return 2 * n

    @app.task(name='place')
    async def place() -> tuple[str, str]:
        return current().queue.name, str(current().id)

    @app.fifo(queue='line', name='line')
    async def line(n: int) -> int:
        return n

    return app


async def test_calls_are_spread_and_their_results_are_there(sharded: Sharded) -> None:
    app = make(sharded)
    double: Any = app.functions['double']
    handles = await double.map(range(40))
    handles += [await double.enqueue(40 + k) for k in range(3)]
    handles += [await double.options(group=group_of(k, 3)).enqueue(50 + k) for k in range(3)]
    assert {*numbers_of(sharded, [handle.id for handle in handles])} == {0, 1, 2}
    async with Worker(app):
        found = [await handle.result(60) for handle in handles]
        assert found == [2 * n for n in (*range(43), 50, 51, 52)]
        assert [state.status.name async for state in (await double.enqueue(1)).watch()][-1] == 'COMPLETED'
        again: Any = app.handle(handles[0].id)
        assert await again.result(60) == 0
    await app.aclose()


async def test_another_queue_of_the_app_has_shards_as_well(sharded: Sharded) -> None:
    app = make(sharded, queues={'email': 1, 'urgent': 2})
    place: Any = app.functions['place']
    async with Worker(app) as worker:
        assert {type(queue) for queue in worker.queues} == {Sharded}
        own, _ = await (await place.enqueue()).result(60)
        other, task_id = await (await place.options(queue='urgent').enqueue()).result(60)
        assert (own, other) == ('email', 'urgent')
        assert task_id[-4:-1] == '.00'
        urgent = next(queue for queue in worker.queues if queue.name == 'urgent')
        assert len(urgent.shards) == 3
    await app.aclose()


async def test_synchronous_code_and_other_loops_have_objects_of_the_same_shards(sharded: Sharded) -> None:
    # Nobody has opened the queue so far, so the copy of another loop writes the map.
    app = make(sharded)
    double: Any = app.functions['double']
    if not isinstance(sharded.client, list):
        pytest.skip('the client of a Cluster belongs to one event loop')

    def call() -> int:
        handle = double.push(21)
        stats = app.call(lambda: app.queue.get_queue_stats())
        assert stats.tasks == 1
        return int(handle.wait_result(60))

    async def serve() -> None:
        while not (await sharded.get_queue_stats()).tasks:
            await asyncio.sleep(0.01)
        await Worker(app, burst=True).run()

    done, _ = await asyncio.gather(asyncio.to_thread(call), serve())
    assert done == 42
    assert len(sharded.shards) == 3
    await app.aclose()


async def test_a_client_of_a_cluster_is_refused_in_a_second_loop(sharded: Sharded) -> None:
    if isinstance(sharded.client, list):
        pytest.skip('it is in no Cluster')
    app = make(sharded)
    double: Any = app.functions['double']
    await double.enqueue(1)
    with pytest.raises(torrelque.Error, match='belongs to one event loop'):
        await asyncio.to_thread(double.push, 1)
    await app.aclose()


async def test_the_queue_that_make_queue_makes_has_shards_as_well(sharded: Sharded, server: RealServer) -> None:
    app = make(sharded, make_queue=lambda: Torrelque(server.client(), queue='email'))
    await sharded.enqueue(1)
    assert app.queue is sharded
    double: Any = app.functions['double']
    with pytest.raises(torrelque.ValueError, match="make_queue must make another object of the queue 'email'"):
        await asyncio.to_thread(double.push, 1)
    await app.aclose()


async def test_calls_of_an_ordered_queue_keep_their_order(sharded: Sharded) -> None:
    app = make(sharded)
    line: Any = app.functions['line']
    seen: list[int] = []

    async def note(delivery: Any, call_next: Any) -> Any:
        seen.append(delivery.task['args'][0])
        return await call_next(delivery)

    handles = [line(n) for n in range(50)]
    async with Worker(app, middleware=[note]):
        assert [await handle.result(60) for handle in handles] == [*range(50)]
    assert seen == [*range(50)]
    [group] = await sharded.get_limits()
    assert group is not None and (await sharded.get_group_stats(group)).limit == 1
    await app.aclose()


async def test_schedules_are_declared_set_and_fired(sharded: Sharded) -> None:
    app = make(sharded, name='app')
    double: Any = app.functions['double']
    app.cron('0 9 * * *', name='daily')(app.functions['place'])
    async with Worker(app):
        await app.schedules.every('often', 0.5, double.s(3))
        while 'daily' not in {record.name async for record in sharded.get_schedules()}:
            await asyncio.sleep(0.01)
        firing = await app.schedules.fire('daily')
        assert (await firing.result(60))[0] == 'email'
        assert {record.name async for record in sharded.home.get_schedules()} == {'daily', 'often'}
        while not (often := await sharded.get_schedule('often')).last:
            await asyncio.sleep(0.02)
        assert await app.schedules.remove('often')
        assert often.name == 'often'
    await app.aclose()


async def test_a_flow_of_a_schedule_is_with_it_and_its_steps_are_with_their_groups(server: RealServer) -> None:
    began, gate, places = asyncio.Event(), asyncio.Event(), list[str]()
    async with open_one(server) as queue:
        app = Tasks(queue)

        @app.task
        async def first() -> int:
            places.append(queue.shard_of(group=current().group).name)
            began.set()
            await gate.wait()
            return 3

        @app.task
        async def second(number: int) -> int:
            return number + 1

        async with Worker(app):
            handles = []
            for name in 'abcdef':
                began.clear()
                await app.schedules.add(name, '0 0 1 1 *', first.options(group=group_of(1, 3, name)).s() >> second)
                handles.append(await app.schedules.fire(name))
                await began.wait()
                # The flow is on its way, and the schedule sees it.
                with pytest.raises(torrelque.DuplicateError):
                    await app.schedules.fire(name)
            gate.set()
            assert [await app.flow(await handle.result(60)).result(60) for handle in handles] == [4] * 6
        assert {*places} == {'{email:1}'}
        await app.aclose()


async def test_flows_run_with_their_maps_and_what_steps_add(sharded: Sharded) -> None:
    app = make(sharded)
    double: Any = app.functions['double']

    @app.task(name='numbers')
    async def numbers(n: int) -> list[int]:
        return [*range(n)]

    @app.task(name='total')
    async def total(values: list[int]) -> int:
        return sum(values)

    @app.task(name='more')
    async def more(n: int) -> Any:
        return total.s(numbers.s(n).map(double).results)

    rows = numbers.s(5)
    flow = total.s(gather(double.s(1), double.s(2), double.options(queue='urgent').s(3)).results)
    async with Worker(app.serving(['email', 'urgent'])):
        handles = [await flow.enqueue() for _ in range(6)]
        assert [await handle.result(60) for handle in handles] == [12] * 6
        assert {*numbers_of(sharded, [handle.id for handle in handles])} <= {0, 1, 2}
        own = await flow.options(flow_id='own').enqueue()
        assert await own.result(60) == 12
        with pytest.raises(torrelque.DuplicateError):
            await flow.options(flow_id='own').enqueue()
        assert await (await more.enqueue(4)).result(60) == 12
        assert await (await total.s(rows.result).enqueue()).result(60) == 10
    await app.aclose()


async def test_steps_of_a_flow_with_groups_are_where_their_groups_are(sharded: Sharded) -> None:
    app = make(sharded)
    double: Any = app.functions['double']
    await sharded.ready()
    first = double.s(1)
    steps = [double.options(group=group_of(k, 3)).s(first.result) for k in range(3)]
    flow = gather(*steps)
    if isinstance(sharded.client, list) and len(sharded.client) > 1:
        with pytest.raises(torrelque.ValueError, match='another server'):
            await flow.enqueue()
    else:
        async with Worker(app):
            assert await (await flow.enqueue()).result(60) == [4, 4, 4]
    await app.aclose()


# Testing


async def test_a_clock_moves_all_shards_until_the_queue_is_idle(sharded: Sharded) -> None:
    app = make(sharded, keep=100_000)
    double: Any = app.functions['double']
    handles = [await double.options(group=group_of(k, 3), delay=1000 * (k + 1)).enqueue(k) for k in range(3)]
    clock = Clock(sharded)
    wait = await clock.get_wait()
    assert wait is not None and 900 < wait <= 1000
    assert await run_until_idle(app, clock=clock) == pytest.approx(3000, abs=60)
    assert [await handle.result(10) for handle in handles] == [0, 2, 4]
    await sharded.pause(group_of(1, 3))
    task_id = await sharded.enqueue({'task': 'double', 'args': [1]}, group=group_of(1, 3))
    with pytest.raises(NotIdleError, match=f"queue 'email': 1 pending\n    {task_id} PENDING"):
        await run_until_idle(app)
    await app.aclose()


async def test_apps_are_put_on_shards_and_on_memory(sharded: Sharded, queue: Torrelque) -> None:
    await sharded.ready()
    plain, spread = make(queue), make(sharded)
    double: Any = plain.functions['double']
    async with using(plain, sharded) as block:
        assert type(block.queue()) is Sharded and block.queue('more').name == 'email.more'
        handle = await double.enqueue(4)
        assert numbers_of(sharded, [handle.id])[0] in range(3)
        await run_until_idle(plain)
        assert await handle.result(60) == 8
    place: Any = spread.functions['place']
    async with using(spread, queue) as block:
        assert type(block.queue()) is Torrelque
        handle = await place.enqueue()
        await run_until_idle(spread)
        assert (await handle.result(60))[0] == queue.name
    async with eager(spread):
        assert (await (await place.enqueue()).result(60))[0] == 'email'
    with delivery(task={'task': 'place'}, queue=sharded) as made:
        assert made.queue is sharded
    await plain.aclose()
    await spread.aclose()


async def test_an_app_of_an_address_has_shards(server: RealServer) -> None:
    app = Tasks.from_url(server.url, queue='email', shards=4)

    @app.task(name='double')
    async def double(n: int) -> int:
        return 2 * n

    await double.enqueue(4)
    async with open_one(server, 4) as queue:
        assert (await queue.get_queue_stats()).tasks == 1
        assert len(app.queue.shards) == 4
        async with Worker(app):
            assert await (await double.enqueue(3)).result(60) == 6
    await app.aclose()


async def test_spans_are_of_the_queue_and_not_of_its_shards(sharded: Sharded, server: RealServer) -> None:
    traced = Traced()
    instrumentor = TorrelqueInstrumentor()
    instrumentor.instrument(tracer_provider=traced.tracers, meter_provider=traced.meters)
    try:
        app = make(sharded)
        double: Any = app.functions['double']
        await sharded.enqueue(1)
        await sharded.enqueue_many([1, 2, 3], group='g')
        await double.enqueue(1)
        with server.sync_client() as client, sync.Sharded(client, queue='other', shards=3) as other:
            other.enqueue(1)
    finally:
        instrumentor.uninstrument()
    assert [span.name for span in traced.spans] == [*['enqueue email'] * 3, 'enqueue other']
    counts = [dict(span.attributes or {}).get('messaging.batch.message_count') for span in traced.spans]
    assert counts == [None, 3, None, None]
    await app.aclose()
