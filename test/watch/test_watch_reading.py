"""Watching without notifications: they are off, or switched off, or forbidden, or the server does not say."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support import watching
from support.bounding import Bound
from support.proxy import Proxy
from support.servers import MakeServer, RealServer
from support.topology import Cluster, Sentinel
from support.watching import READ, begin, channels, reads_of, statuses
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.aio.reading import Budget, Schedule
from torrelque.aio.setting import NAME, Mode, are_enough, flags_of
from torrelque.aio.watcher import Task
from torrelque.protocol.bounds import BOUNDS
from torrelque.protocol.replies import read_states
from torrelque.tasks import Tasks
from torrelque.worker import Worker

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.first_server

still, faulty, fast, as_it_is = watching.still, watching.faulty, watching.fast, watching.as_it_is


@pytest.fixture
def server(plain_server: RealServer) -> RealServer:
    """One that sends no notifications."""
    return plain_server


@pytest.fixture
def never(bound: Bound) -> None:
    """No second look at anything."""
    bound(paces=(3600,) * len(BOUNDS.paces))


@pytest.fixture
def at_once(bound: Bound) -> None:
    """Looks follow each other without a pause."""
    rates = dict.fromkeys(('idle_looks_per_second', 'looks_per_second', 'look_bytes_per_second'), 10**12)
    bound(paces=(0,) * len(BOUNDS.paces), min_look=0, **rates)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def until_mode(queue: Torrelque, mode: Mode) -> None:
    assert queue._session is not None
    while queue._session.hub._setting.mode is not mode:
        await asyncio.sleep(0.005)


async def until_settled(queue: Torrelque) -> None:
    """Wait until nothing is read any more but by the schedule."""
    await until_mode(queue, Mode.READING)
    assert queue._session is not None
    its = queue._session.hub
    while its._reading or its._marked or not all(its._listener._channels.values()):
        await asyncio.sleep(0.005)


async def until_asked(queue: Torrelque, times: int) -> None:
    """Wait until the server has been asked for its setting so many times more."""
    for _ in range(times):
        assert queue._session is not None
        before = queue._session.hub._setting._answered
        while queue._session.hub._setting._answered == before:
            await asyncio.sleep(0.005)


async def see_an_end(queue: Torrelque) -> None:
    """Watch a task from its beginning to its end."""
    task_id = await queue.enqueue(1)
    watched, state = await begin(queue, task_id)
    assert state.status is Status.PENDING
    taken, _ = await queue.dequeue()
    while (state := await asyncio.wait_for(anext(watched), 20)).status is not Status.WORKING:
        pass
    waiting = asyncio.ensure_future(queue.wait(task_id))
    await queue.release(taken, result='r')
    assert (await asyncio.wait_for(waiting, 20)).result == 'r'
    assert await asyncio.wait_for(statuses(watched), 20) == [Status.COMPLETED]


# The server's setting


@pytest.mark.parametrize('flags', ['', 'K', 'EA', 'Kgh', 'Khx', 'Kg$'])
async def test_what_is_not_notified_is_looked_at_with_one_warning(
    server: RealServer,
    client: redis.asyncio.Redis,
    queue: Torrelque,
    queue_name: str,
    caplog: pytest.LogCaptureFixture,
    flags: str,
) -> None:
    await client.config_set(NAME, flags)
    ids = await queue.enqueue_many(range(50))
    waiting = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids]
    await queue.dequeue(max_tasks=50)
    await queue.release_many(ids, result_ttl=60)
    assert {state.status for state in await asyncio.gather(*waiting)} == {Status.COMPLETED}
    await see_an_end(queue)
    (warning,) = warnings_of(caplog)
    has = (await client.config_get(NAME))[NAME]
    assert NAME in warning and repr(has) in warning and repr(queue_name) in warning and 'KA' in warning


def test_what_the_server_says_of_its_setting() -> None:
    name = NAME.encode()
    assert flags_of({name: b'AK'}) == flags_of([name, b'AK']) == 'AK'
    assert flags_of([name, b'']) == ''
    strange = [None, 7, b'OK', 'KA', [], {}, [b'KA'], [b'x', b'KA'], [name, 1], [[name, b'KA']], {name: [b'KA']}]
    assert [flags_of(reply) for reply in strange] == [None] * len(strange)


@pytest.mark.parametrize(
    ('flags', 'enough'),
    [('AK', True), ('AKE', True), ('ghxK', True), ('xghE', False), ('', False), ('Kgx', False), ('A', False)],
)
def test_which_notifications_are_needed(flags: str, enough: bool) -> None:
    assert are_enough(flags) is enough


async def test_watches_follow_the_setting_in_both_directions(
    fast: None, client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture, bound: Bound
) -> None:
    bound(watch_ask_ticks=2)
    await client.config_set(NAME, 'KA')
    task_id = await queue.enqueue(1)
    watched, _ = await begin(queue, task_id)
    await until_mode(queue, Mode.TOLD)
    for number in (1, 2):
        await client.config_set(NAME, '')
        taken, _ = await queue.dequeue()
        while (await asyncio.wait_for(anext(watched), 20)).status is not Status.WORKING:
            pass
        await until_mode(queue, Mode.READING)
        await until_asked(queue, 3)
        assert len(warnings_of(caplog)) == number
        await client.config_set(NAME, 'Kghx')
        await queue.requeue(taken)
        while (await asyncio.wait_for(anext(watched), 20)).status is not Status.PENDING:
            pass
        await until_mode(queue, Mode.TOLD)
        assert queue._session is not None
        assert queue._session.hub._schedule.when() is None
    await watched.aclose()


async def test_what_changed_before_notifications_were_on_is_seen(
    never: None, fast: None, client: redis.asyncio.Redis, queue: Torrelque, bound: Bound
) -> None:
    bound(watch_safety_ticks=10**6, watch_silence_ticks=10**6)
    watched, _ = await begin(queue, await queue.enqueue(1))
    await until_settled(queue)
    await queue.dequeue()
    await client.config_set(NAME, 'KA')
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING


async def test_a_change_that_nobody_told_of_has_the_setting_asked_for(
    fast: None, client: redis.asyncio.Redis, queue: Torrelque, bound: Bound
) -> None:
    bound(watch_ask_ticks=10**6, watch_silence_ticks=10**6)
    await client.config_set(NAME, 'KA')
    watched, _ = await begin(queue, await queue.enqueue(1))
    await until_mode(queue, Mode.TOLD)
    await client.config_set(NAME, '')
    await queue.dequeue()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    await asyncio.wait_for(until_mode(queue, Mode.READING), 20)


async def test_the_next_watch_after_a_while_asks_again(
    client: redis.asyncio.Redis, queue: Torrelque, bound: Bound
) -> None:
    await client.config_set(NAME, 'KA')
    await see_an_end(queue)
    await client.config_set(NAME, '')
    await until_mode(queue, Mode.TOLD)
    bound(setting_age=0)
    await see_an_end(queue)
    assert queue._session is not None
    assert queue._session.hub._setting.mode is Mode.READING


# Who may not see


async def user(client: redis.asyncio.Redis, *rules: str) -> dict[str, str]:
    await client.execute_command('ACL', 'SETUSER', 'someone', 'reset', 'on', '>secret', '~*', '+@all', *rules)
    return {'username': 'someone', 'password': 'secret'}


@pytest.mark.parametrize('flags', ['', 'KA'])
async def test_a_server_that_does_not_say_is_read_and_listened_to(
    server: RealServer,
    client: redis.asyncio.Redis,
    caplog: pytest.LogCaptureFixture,
    flags: str,
    request: pytest.FixtureRequest,
) -> None:
    await client.config_set(NAME, flags)
    async with server.client(**await user(client, '&*', '-config')) as other, Torrelque(other) as queue:
        await see_an_end(queue)
        assert queue._session is not None
        assert queue._session.hub._setting.mode is Mode.READING
        (warning,) = warnings_of(caplog)
        assert NAME in warning and 'does not say' in warning and 'permission' in warning.lower()


async def test_what_is_heard_is_read_at_once_where_the_server_does_not_say(
    never: None, server: RealServer, client: redis.asyncio.Redis
) -> None:
    await client.config_set(NAME, 'KA')
    async with server.client(**await user(client, '&*', '-config')) as other, Torrelque(other) as queue:
        await see_an_end(queue)


async def test_a_server_that_has_renamed_its_command_is_read(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server({NAME: '""', 'rename-command': 'CONFIG ""'})
    async with server.client() as client, Torrelque(client) as queue:
        await see_an_end(queue)
        (warning,) = warnings_of(caplog)
        assert NAME in warning and 'unknown command' in warning


@pytest.mark.parametrize('flags', ['', 'KA'])
async def test_who_may_not_listen_reads(
    fast: None, server: RealServer, client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture, flags: str
) -> None:
    await client.config_set(NAME, flags)
    async with server.client(**await user(client, 'resetchannels')) as other, Torrelque(other) as queue:
        await see_an_end(queue)
        watched, _ = await begin(queue, await queue.enqueue(1))
        await until_asked(queue, 3)
        assert len(warnings_of(caplog)) == 1
        if flags:
            assert NAME in warnings_of(caplog)[0] and 'listen' in warnings_of(caplog)[0]
            # Allowed now, it listens, and looks at nothing any more.
            await user(client, '&*')
            while not await channels(client):
                await asyncio.sleep(0.01)
            assert queue._session is not None
            while queue._session.hub._schedule.when() is not None:
                await asyncio.sleep(0.01)
        await queue.dequeue()
        assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
        await watched.aclose()


async def test_who_may_not_listen_to_one_task_reads_that_one(server: RealServer, client: redis.asyncio.Redis) -> None:
    await client.config_set(NAME, 'KA')
    rules = await user(client, 'resetchannels', '&__keyspace@0__:{trq}:task:mine*')
    async with server.client(**rules) as other, Torrelque(other) as queue:
        for task_id in ('mine', 'yours'):
            await queue.enqueue(1, task_id=task_id)
        mine, _ = await begin(queue, 'mine')
        yours, _ = await begin(queue, 'yours')
        await until_mode(queue, Mode.TOLD)
        for task_id, watched in (('yours', yours), ('mine', mine)):
            task = watched._watcher.task
            while task.deaf is not (task_id == 'yours'):
                await asyncio.sleep(0.005)
            await queue.cancel(task_id)
            assert await asyncio.wait_for(statuses(watched), 20) == [Status.CANCELLED]


# What is promised all the same


async def test_an_end_just_before_the_timeout_is_seen(never: None, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    waiting = asyncio.ensure_future(queue.wait(task_id, timeout=0.5))
    watched, _ = await begin(queue, task_id, timeout=0.5)
    await until_settled(queue)
    taken, _ = await queue.dequeue()
    await queue.release(taken, result='r')
    assert (await waiting).result == 'r'
    assert await statuses(watched) == [Status.COMPLETED]


async def test_an_id_that_is_enqueued_again_between_two_looks_is_another_task(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    await queue.enqueue(1, task_id='own')
    watched, _ = await begin(queue, 'own')
    await until_mode(queue, Mode.READING)
    async with client.pipeline(transaction=True) as pipeline:
        for name in ('task', 'tasks', 'pending'):
            pipeline.delete(queue.keys[name] + (':own' if name == 'task' else ''))
        await queue.enqueue(2, task_id='own', pipeline=pipeline)
        await pipeline.execute()
    assert await asyncio.wait_for(statuses(watched), 20) == []
    assert (await begin(queue, 'own'))[1].status is Status.PENDING


async def test_a_fresh_watch_does_not_wait_for_the_looks_at_others(
    at_once: None, proxy: Proxy, faulty: Torrelque, queue: Torrelque
) -> None:
    ids = await queue.enqueue_many(range(3000))
    watched = await asyncio.gather(*[begin(faulty, task_id) for task_id in ids])
    for _ in range(5):
        task_id = await queue.enqueue(1)
        before = reads_of(proxy)
        await begin(faulty, task_id)
        # One that was on its way, its own, and what went out before it was heard.
        assert reads_of(proxy) - before <= 5
    del watched


async def test_a_change_of_one_among_many_is_seen(queue: Torrelque) -> None:
    ids = await queue.enqueue_many(range(10_000))
    watched = [queue.watch(task_id) for task_id in ids]
    await asyncio.gather(*map(anext, watched))
    waiting = [asyncio.ensure_future(queue.wait(task_id)) for task_id in ids[:10]]
    taken = await queue.dequeue(max_tasks=10)
    await queue.release_many([task_id for task_id, _ in taken], result_ttl=60)
    states = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert {state.status for state in states} == {Status.COMPLETED}
    assert queue._session is not None
    assert queue._session.hub._schedule.when() is not None
    del watched


async def test_large_progress_is_looked_at_in_several_calls(queue: Torrelque) -> None:
    await queue.enqueue_many(range(7))
    taken = await queue.dequeue(max_tasks=7)
    watched = []
    for n, (task_id, _) in enumerate(taken):
        await queue.touch(task_id, progress=str(n) * 400_000)
        watched.append((await begin(queue, task_id))[0])
    await queue.release_many([task_id for task_id, _ in taken], result_ttl=60)
    for each in watched:
        assert (await asyncio.wait_for(statuses(each), 20))[-1] is Status.COMPLETED


async def test_looks_go_on_when_the_server_is_back(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server({NAME: '""', 'appendfsync': 'always'}, directory=tmp_path)
    async with server.client() as client, Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        taken, _ = await queue.dequeue()
        watched, _ = await begin(queue, task_id)
        await until_mode(queue, Mode.READING)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await queue.release(taken, result=1)
        assert await asyncio.wait_for(statuses(watched), 20) == [Status.COMPLETED]


async def test_looks_follow_a_slot_of_a_cluster(as_it_is: None, cluster: Cluster) -> None:
    for node in cluster.nodes:
        async with node.client() as direct:
            await direct.config_set(NAME, '')
    try:
        async with cluster.client() as client, Torrelque(client, queue='read') as queue:
            slot = cluster.slot_of(queue.keys['pending'])
            task_id = await queue.enqueue(1)
            watched, _ = await begin(queue, task_id)
            await until_mode(queue, Mode.READING)
            await asyncio.to_thread(cluster.move_slot, slot, (cluster.owner_of(slot) + 1) % 3)
            async with cluster.client() as other, Torrelque(other, queue='read') as consumer:
                await consumer.cancel(task_id)
            assert await asyncio.wait_for(statuses(watched), 20) == [Status.CANCELLED]
    finally:
        for node in cluster.nodes:
            async with node.client() as direct:
                await direct.config_set(NAME, 'KA')


@pytest.mark.long
async def test_watches_of_a_server_that_tells_follow_a_failover_to_one_that_does_not(
    as_it_is: None, sentinel: Sentinel
) -> None:
    async with sentinel.replica.client() as replica:
        await replica.config_set(NAME, '')
    client = sentinel.master_for()
    async with Torrelque(client) as queue:
        task_id = await queue.enqueue(1)
        watched, _ = await begin(queue, task_id)
        await until_mode(queue, Mode.TOLD)
        await client.wait(1, 1000)
        await asyncio.to_thread(sentinel.kill_primary)
        await asyncio.to_thread(sentinel.wait_failover)
        await asyncio.wait_for(until_mode(queue, Mode.READING), 60)
        taken, _ = await queue.dequeue()
        await queue.release(taken, result=1)
        assert (await asyncio.wait_for(statuses(watched), 20))[-1] is Status.COMPLETED
    await client.aclose()


async def test_results_and_cancellations_of_tasks_are_seen(queue: Torrelque) -> None:
    app = Tasks(queue)
    begun, ended = asyncio.Event(), []

    @app.task
    async def double(number: int) -> int:
        return number * 2

    @app.task
    async def sleep() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append('cancelled')
            raise

    serving = asyncio.ensure_future((worker := Worker(app)).run())
    assert await (await double.enqueue(21)).result(timeout=60) == 42
    handle = await sleep.enqueue()
    await begun.wait()
    # The lease is five minutes, and its renewal far away.
    await handle.cancel()
    while not ended:
        await asyncio.sleep(0.01)
    worker.stop()
    await serving


# What makes no sense

SENSELESS: list[bytes] = [
    *(b'$-1\r\n', b':7\r\n', b'+OK\r\n', b'*0\r\n', b'*1\r\n$2\r\nok\r\n', b'*2\r\n$2\r\nok\r\n:7\r\n', b'_\r\n'),
    *(b'*2\r\n$2\r\nno\r\n$6\r\nbroken\r\n', b'*2\r\n$2\r\nok\r\n*1\r\n-ERR no\r\n', b'%1\r\n$2\r\nok\r\n:5\r\n'),
    *(b'*2\r\n$2\r\nok\r\n*15\r\n' + b':1\r\n' * 15, b'*2\r\n$2\r\nok\r\n*4\r\n' + b'$1\r\n0\r\n' * 4),
]


@pytest.mark.parametrize('reply', SENSELESS)
async def test_states_that_make_no_sense_are_read_again(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes, bound: Bound
) -> None:
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    await until_mode(faulty, Mode.READING)
    for part in READ:
        proxy.spoil(part, reply)
    assert faulty._session is not None
    while faulty._session.hub._error is None:
        await asyncio.sleep(0.005)
    await queue.dequeue()
    proxy.calm()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    for part in READ:
        proxy.spoil(part, reply)
    bound(repeat=0.5)
    with pytest.raises(torrelque.TorrelqueError, match='the reply of the server to state cannot be read'):
        await asyncio.wait_for(anext(watched), 20)


@pytest.mark.parametrize('reply', SENSELESS)
async def test_a_setting_that_makes_no_sense_is_none(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.spoil(NAME.encode(), reply)
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    await until_mode(faulty, Mode.READING)
    await queue.dequeue()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    (warning,) = warnings_of(caplog)
    assert 'does not say' in warning


@pytest.mark.parametrize('reply', [b'rubbish\r\n', *SENSELESS, b'*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n'])
async def test_a_listener_that_hears_no_sense_is_made_anew(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, reply: bytes
) -> None:
    part = b'\nSUBSCRIBE\r'
    proxy.spoil(part, reply)
    task_id = await queue.enqueue(1)
    watched, _ = await begin(faulty, task_id)
    while b''.join(proxy.requests).count(part) < 3:
        await asyncio.sleep(0.01)
    assert faulty._session is not None
    assert faulty._session.hub._listener._senseless >= 2
    await queue.dequeue()
    assert (await asyncio.wait_for(anext(watched), 20)).status is Status.WORKING
    proxy.calm()
    while not await channels(queue.client):
        await asyncio.sleep(0.01)
    await watched.aclose()


def test_replies_that_make_no_sense_are_told() -> None:
    reply: Any
    long = [b'ok', [None, None], [None, None]]
    for reply in (None, 7, [], [b'ok'], {b'ok': []}, [b'ok', 7], [b'ok', [b'1']], [b'ok', [1, 2]], long):
        with pytest.raises(torrelque.TorrelqueError, match='cannot be read'):
            read_states(reply, 1, 2)
    assert read_states([b'ok', b'broken'], 1, 2) == [b'broken']
    assert read_states([b'ok', [None, b'1']], 2, 2) == [[None, b'1']]


# The schedule


class Simulation:
    """A schedule with a clock of its own, on which looks take no time."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.schedule = Schedule(Budget(BOUNDS), BOUNDS)
        self.looks: dict[Task, list[float]] = {}
        for n in range(count):
            self.join(f'{n}')

    def join(self, name: str) -> Task:
        task = Task(name, name.encode())
        self.schedule.begin(task, self.now)
        self.looks[task] = [self.now]
        return task

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (when := self.schedule.when()) is not None and when <= end:
            self.now = max(self.now, when)
            tasks = self.schedule.take(self.now)
            assert tasks and len(tasks) <= 250
            self.schedule.spent(len(tasks), 0, self.now)
            for task in tasks:
                self.looks[task].append(self.now)
                self.schedule.go_on(task, self.now)
        self.now = end

    def pauses(self, task: Task, since: float = 0.0) -> list[float]:
        times = [time for time in self.looks[task] if time >= since]
        return [after - before for before, after in itertools.pairwise(times)]


def test_looks_come_less_often_the_longer_nothing_changes() -> None:
    simulation = Simulation(1)
    simulation.run(20)
    (task,) = simulation.looks
    pauses = simulation.pauses(task)
    assert pauses[: len(BOUNDS.paces)] == pytest.approx(BOUNDS.paces) and pauses[-5:] == pytest.approx([1.0] * 5)
    simulation.schedule.begin(task, simulation.now)
    assert simulation.schedule.when() == pytest.approx(simulation.now + BOUNDS.paces[0])


def test_many_that_are_idle_are_looked_at_so_many_a_second_and_each_in_its_turn() -> None:
    simulation = Simulation(10_000)
    simulation.run(30)
    since = simulation.now
    simulation.run(30)
    looks = [sum(time >= since for time in times) for times in simulation.looks.values()]
    assert sum(looks) / 30 <= BOUNDS.idle_looks_per_second * 1.15
    longest = max(max(simulation.pauses(task, since)) for task in simulation.looks)
    assert longest <= 10_000 / BOUNDS.idle_looks_per_second * 1.1
    # Whoever comes now does not notice them.
    quick = simulation.join('quick')
    simulation.run(1)
    assert all(pause <= pace + 0.2 for pause, pace in zip(simulation.pauses(quick), BOUNDS.paces, strict=False))


def test_whatever_changes_all_the_time_leaves_room_for_others() -> None:
    simulation = Simulation(200)
    simulation.run(30)
    idle = list(simulation.looks)
    restless = [simulation.join(f'restless {n}') for n in range(3000)]
    since = simulation.now
    for n in range(1000):
        simulation.run(0.03)
        for task in restless[n % 6 :: 6]:
            simulation.schedule.begin(task, simulation.now)
    assert all(max(simulation.pauses(task, since), default=99) < 10 for task in idle)


def test_what_a_call_has_no_room_for_keeps_its_place() -> None:
    schedule, tasks = Schedule(Budget(BOUNDS), BOUNDS), [Task(f'{n}', b'') for n in range(6)]
    for task in tasks[:5]:
        schedule.begin(task, 0)
    assert schedule.take(1) == tasks[:5]
    schedule.begin(tasks[5], 0.5)
    schedule.begin(tasks[3], 0.9)  # joined meanwhile
    schedule.give_back(tasks[2:5])
    assert schedule.take(1) == [tasks[2], tasks[4], tasks[5], tasks[3]]
    assert {task.level for task in tasks} == {0}


def test_large_progress_makes_looks_rare() -> None:
    schedule = Schedule(Budget(BOUNDS), BOUNDS)
    schedule.begin(Task('x', b'x'), 7)
    schedule.spent(1, 1_000_000, 7)
    schedule.spent(1, 1_000_000, 7)
    assert schedule.when() == pytest.approx(7.1)


async def test_many_objects_of_one_client_are_one_warning(
    client: redis.asyncio.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.config_set(NAME, '')
    for n in range(5):
        async with Torrelque(client, queue=f'queue-{n}') as queue:
            task_id = await queue.enqueue(1)
            await queue.cancel(task_id)
            await queue.wait(task_id)
    (warning,) = warnings_of(caplog)
    assert NAME in warning and 'queue-0' in warning
