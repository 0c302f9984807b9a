"""The roles of the page on security: each user has the rights of its lines alone, and does all that is its business."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
import redis.asyncio.sentinel
import redis.exceptions

import torrelque
import torrelque.sync
from support.acting import Commands
from support.looks import Look
from support.moving import hurry
from support.rights import SPARED, Users, asked_by, core_texts, lines_of, names_of, open_users, rules_of
from support.servers import RealServer
from support.topology import Cluster, Sentinel
from torrelque import Torrelque, TorrelqueNode
from torrelque.dashboard.pages import PAGES
from torrelque.monitor import Alerts, Metrics, Rule
from torrelque.operate import Operator, Selection
from torrelque.operate.asking import load
from torrelque.protocol.keys import DECLARED, PREFIXES
from torrelque.sharded import Sharded
from torrelque.tasks import Tasks, current
from torrelque.worker import Worker

pytestmark = pytest.mark.long

QUEUE = 'shop'
KINDS = pytest.mark.parametrize('sharded', [False, True], ids=['plain', 'sharded'])


@pytest.fixture
async def users(server: RealServer, server_kind: str) -> AsyncIterator[Users]:
    async with open_users(server, server_kind) as users:
        yield users


@contextlib.asynccontextmanager
async def opened(client: redis.asyncio.Redis, sharded: bool) -> AsyncIterator[torrelque.Queue]:
    """The queue, as a user has it."""
    made: Any = Sharded(client, queue=QUEUE, shards=2) if sharded else Torrelque(client, queue=QUEUE)
    async with made as queue:
        await queue.ready()
        yield queue


def make_app(queue: torrelque.Queue) -> Tasks:
    """Functions of all kinds."""
    app = Tasks(queue)

    @app.task(name='double')
    async def double(n: int) -> int:
        return 2 * n

    @app.task(name='fail', max_attempts=2, retry=0.05)
    def fail() -> None:
        raise ValueError('no')

    @app.task(name='more')
    async def more(n: int) -> Any:
        assert current().attempt == 1
        return double.s(double.s(n).result)

    @app.fifo(queue='line', name='line')
    async def line(n: int) -> int:
        return n

    return app


# Stories


async def produce(users: Users, role: str, sharded: bool) -> None:
    """All that a producer does, by a queue object of each kind and by decorated functions."""
    async with users.client(role) as client, opened(client, sharded) as queue:
        await queue.enqueue('plain')
        late = await queue.enqueue('late', delay=100, group='acme', priority=3)
        own = await queue.enqueue('own', task_id='own')
        with pytest.raises(torrelque.DuplicateError):
            await queue.enqueue('own', task_id='own')
        await queue.enqueue_many(range(5), group=lambda k: f'g{k % 2}')
        async with contextlib.aclosing(queue.watch(late, timeout=60)) as watch:
            async for state in watch:
                if state.status.name == 'DELAYED':
                    while not await users.admin.pubsub_channels('*:task:*'):
                        await asyncio.sleep(0.01)
                    await queue.cancel(late)
        assert (await queue.wait(late, timeout=60)).status.name == 'CANCELLED'
        flow_id = await queue.enqueue_flow([TorrelqueNode('a', 1), TorrelqueNode('b', 2, {'a': 'then'})])
        assert (await queue.get_flow(flow_id)).id == flow_id
        await queue.cancel(flow_id)
        await queue.enqueue('behind', depends_on=[own])
        async with client.pipeline(transaction=True) as pipe:
            await queue.enqueue('within', group='acme', pipeline=pipe)
            assert torrelque.read_outcome((await pipe.execute())[0]) is True
        await queue.set_schedule('hourly', 1, every=3600)
        await queue.fire('hourly')
        await queue.remove_schedule('hourly')
        await queue.set_limit('acme', concurrency=2, rate=(5, 1))
        await queue.pause('acme')
        await queue.resume('acme')
        await queue.get_group_stats('acme')
        assert (await queue.get_queue_stats()).tasks > 5
        await asyncio.to_thread(produce_in_a_thread, users, role, sharded)


def produce_in_a_thread(users: Users, role: str, sharded: bool) -> None:
    """The same by synchronous code, in short."""
    if sharded:
        return
    with users.server.sync_client(username=role, password=f'{role}s-word') as client:
        with torrelque.sync.Torrelque(client, queue=QUEUE) as queue:
            task_id = queue.enqueue('thread', group='acme')
            assert queue.cancel(task_id)
            assert queue.get_task_state(task_id).status.name == 'CANCELLED'


async def work(users: Users, role: str, sharded: bool) -> None:
    """All that workers of functions do, with hearts, alerts, schedules, flows, ends of all kinds."""
    async with users.client(role) as client, opened(client, sharded) as queue:
        await queue.sweep()
        while (await queue.get_queue_stats()).pending:
            some = await queue.dequeue_many(10, 60)
            await queue.touch_many([task_id for task_id, _ in some])
            await queue.requeue(some[0][0], delay=0.01)
            await queue.release_many([task_id for task_id, _ in some[1:]])
        for died in await queue.take_deaths():
            await queue.acknowledge_deaths([died.id])
        app = make_app(queue)
        double, fail, more, line = (app.functions[name] for name in ('double', 'fail', 'more', 'line'))
        await queue.set_schedule('often', {'task': 'double', 'args': [4]}, every=0.2)
        looker = Alerts([queue], [Rule('dead', 'dead', above=0.5)], lambda notice: None)
        async with Worker(app, heartbeat=0.1):
            handles = [await double.enqueue(2), await more.enqueue(3), await line.enqueue(4)]
            assert [await handle.result(60) for handle in handles] == [4, 12, 4]
            flow = await double.s(double.s(1).result).enqueue()
            assert await flow.result(60) == 4
            dying = await fail.enqueue()
            while (await dying.state()).status.name != 'DEAD':
                await asyncio.sleep(0.01)
            await looker.look()
            await asyncio.sleep(0.3)  # a beat or two
        await looker.aclose()
        await queue.remove_schedule('often')
        await app.aclose()


async def operate(users: Users, role: str, sharded: bool) -> None:
    """What operators do."""
    async with users.client(role) as client, opened(client, sharded) as queue:
        operator = Operator(queue)
        await queue.enqueue({'task': 'double'}, group='acme')
        await operator.explain()
        await operator.errors()
        await operator.groups()
        await operator.functions()
        await operator.redrive(Selection(status='dead'))
        await operator.cancel(Selection(status='pending'))
        await operator.pause('acme')
        await operator.resume('acme')
        await operator.sweep()
        assert [act.act for act in await operator.acts()][-1] == 'redrive'
        notes = await operator.examine()
        assert [note for note in notes if note.level == 'error' or 'not allowed' in note.text] == []
        if sharded:
            assert isinstance(queue, Sharded)
            with contextlib.suppress(torrelque.TimeoutError):  # tasks of groups that move may be left
                await queue.grow(4, keyed=True, timeout=1)


# A role does all of its business


@KINDS
@pytest.mark.parametrize('role', ['producer', 'worker', 'operator'])
async def test_a_role_may_do_what_is_its_business_and_has_no_right_that_nothing_needs(
    users: Users, role: str, sharded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    await users.add(role, QUEUE, 'line', sharded=sharded)
    await users.begin()
    await produce(users, role, sharded)
    if role != 'producer':
        await work(users, role, sharded)
    if role == 'operator':
        await operate(users, role, sharded)
    assert await users.denied() == set()
    commands, texts = await users.used()
    allowed = {rule[1:] for rule in rules_of(role, users.kind, QUEUE, sharded) if rule[0] == '+'}
    # A script that is refused in its midst leaves half of its work: so the texts count, and not what a story has done.
    core = {text for name, text in core_texts().items() if role == 'operator' or name not in OF_OPERATORS}
    if role == 'worker':
        # A rule may be about whatever operators see.
        core |= {load(name)[0] for name in names_of('torrelque.operate') if name != 'act'}
    needed = frozenset[str]().union(*(asked_by(text).commands for text in texts | core))
    assert needed - allowed == set()
    assert allowed - needed - commands - SELDOM == set()


OF_OPERATORS = {'left'}
"""Scripts that nobody else sends."""
SELDOM = {'select', 'ping', 'lpushx', 'config|get'}
"""What stories do without: another database than the first; a client that looks whether its connection lives; a shard
that takes no writes."""


def test_keys_of_a_producer_are_those_that_scripts_of_transitions_name() -> None:
    named = {key for text in core_texts().values() for key in asked_by(text).keys}
    words = [word for line in lines_of('producer', 'valkey9') for word in line if word[0] == '~']
    patterns = (f'~{{shop}}:{name}{":*" * (name in PREFIXES)}' for name in {*named, *DECLARED, 'claim'})
    assert sorted(words) == sorted(patterns)


# What a role may not do


SERVER = [
    ('FLUSHALL',), ('KEYS', '*'), ('CONFIG', 'SET', 'save', ''), ('SCRIPT', 'FLUSH'), ('ACL', 'LIST'), ('SHUTDOWN',),
]  # fmt: skip
"""What nobody may do but whoever has the server."""
BEYOND = {
    'producer': [('BLPOP', '{shop}:bell', 1), ('LRANGE', '{shop}:acts', 0, 1), ('HSET', '{shop}:worker:x', 'seen', 1),
                 ('DEL', '{shop}:minute:1'), ('GET', '{shop}:shards'), ('SCAN', 0), ('CONFIG', 'GET', '*'), ('INFO',),
                 ('ZADD', 'torrelque:queues', 1, 'x'), ('HSET', '{shop}:alerts', 'x', 1)],
    'worker': [('SCAN', 0), ('CONFIG', 'GET', '*'), ('INFO',), ('SET', '{shop}:shards', 1)],
    'operator': [],
    'reader': [('DEL', '{shop}:tasks'), ('HSET', '{shop}:task:x', 'status', 1), ('LPUSH', '{shop}:acts', 'x'),
               ('SCAN', 0), ('CONFIG', 'GET', '*'), ('INFO',), ('SUBSCRIBE', '__keyspace@0__:{shop}:task:x')],
}  # fmt: skip
"""What a role may not do, whatever it may."""


@pytest.mark.parametrize('role', ['producer', 'worker', 'operator', 'reader'])
async def test_what_a_role_may_not_do_is_refused_and_told_with_the_queue_and_the_right(
    users: Users, role: str
) -> None:
    await users.add(role, QUEUE)
    async with users.client(role) as client, Torrelque(client, queue=QUEUE) as queue:
        for words in [*SERVER, ('GET', 'other'), ('HSET', '{other}:tasks', 1, 1), *BEYOND[role]]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.execute_command(*words)
        # Scripts have the rights of whoever sends them.
        script = 'EVAL' if role != 'reader' or users.kind == 'redis6' else 'EVAL_RO'
        with pytest.raises(torrelque.ServerError, match=r'ACL failure|executing the script') as raised:
            await queue.command(script, "return redis.call('GET', 'other')", 0)
        assert raised.value.queue == QUEUE and isinstance(raised.value, redis.exceptions.NoPermissionError)
        async with Torrelque(client, queue='other') as other:
            for call in (other.enqueue(1), other.dequeue(60), other.get_queue_stats(), other.pause()):
                with pytest.raises(redis.exceptions.NoPermissionError, match=r"^queue 'other': NOPERM") as refused:
                    await call
                assert isinstance(refused.value, torrelque.ServerError)
    assert await users.admin.keys('*') == []


async def test_a_producer_cannot_wait_nor_have_its_acts_on_record_and_is_told(
    users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    await users.add('producer', QUEUE)
    async with users.client('producer') as client, Torrelque(client, queue=QUEUE) as queue:
        refused = r"^queue 'shop': NOPERM .*\(BLPOP \{shop\}:bell\)$"
        with pytest.raises(redis.exceptions.NoPermissionError, match=refused):
            await queue.dequeue(60)
        operator = Operator(queue)
        await operator.record('redrive', 'all', 1)
        [line] = [it.getMessage() for it in caplog.records if it.levelname == 'WARNING']
        assert line.startswith("queue 'shop': an act could not be put on record: ERR")
        with pytest.raises(redis.exceptions.NoPermissionError, match=r"^queue 'shop': .*\(LRANGE \{shop\}:acts\)$"):
            await operator.acts()
        # What the page says: rights hold queues apart, and not what is done in one.
        task_id = await queue.enqueue('secret of another')
        assert await queue.dequeue(60) == (task_id, 'secret of another')
        assert await queue.cancel(await queue.enqueue('of another')) is True


VERBS: dict[str, Callable[[Any], Any]] = {
    'enqueue': lambda queue: queue.enqueue(1), 'enqueue_many': lambda queue: queue.enqueue_many([1, 2]),
    'cancel': lambda queue: queue.cancel('own'), 'release': lambda queue: queue.release('own'),
    'requeue': lambda queue: queue.requeue('own'), 'bury': lambda queue: queue.bury('own'),
    'touch': lambda queue: queue.touch('own'), 'redrive': lambda queue: queue.redrive(),
    'sweep': lambda queue: queue.sweep(), 'pause': lambda queue: queue.pause(),
    'set_limit': lambda queue: queue.set_limit('acme', concurrency=1), 'dequeue': lambda queue: queue.dequeue(60),
    'set_schedule': lambda queue: queue.set_schedule('x', 1, every=60), 'deaths': lambda queue: queue.take_deaths(),
    'enqueue_flow': lambda queue: queue.enqueue_flow([TorrelqueNode('a', 1)]),
    'cancel_all': lambda queue: Operator(queue).cancel(Selection()),
}
NOTHING = {'sweep', 'deaths', 'redrive'}
"""Verbs that may have nothing to do."""


@KINDS
async def test_a_reader_sees_all_and_changes_nothing(
    users: Users, sharded: bool, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(users.admin, sharded) as queue:
        await queue.enqueue({'task': 'double', 'args': [1]}, group='acme', task_id='own')
        await queue.enqueue({'task': 'later'}, delay=600)
        dying = await queue.enqueue({'task': 'fail'}, priority=1)
        for task_id, _ in await queue.dequeue_many(2, 60):
            if task_id == dying:
                await queue.bury(task_id, error='ValueError: no')
        await queue.set_schedule('hourly', 1, every=3600)
        await queue.enqueue_flow([TorrelqueNode('a', 1)], flow_id='flow')
        await Operator(queue).pause('acme')
    url = await users.add('reader', QUEUE, sharded=sharded)
    monkeypatch.setenv('TORRELQUE_QUEUE', QUEUE)
    await users.denied()
    before = await dump(users.admin)
    looks = 'stats', 'queues', 'tasks', 'show own', 'why', 'why own', 'errors', 'groups', 'schedules', 'shards', 'check'
    for words in looks:
        said = await command(*words.split(), '--url', url, code=None)
        assert said.code in (0, 1) and 'refuses' not in said.err, (words, said)
    async with users.client('reader') as client, opened(client, sharded) as queue:
        async with Look(queue, 'all') as look:
            for page in PAGES:
                known = {'task': {'id': 'own'}, 'group': {'name': 'acme'}, 'flow': {'id': 'flow'},
                         'schedule': {'name': 'hourly'}}.get(page.name)  # fmt: skip
                if known is not None or page.name not in ('ask', 'done', 'act', 'live'):
                    answer = await look.ask('GET', page.name, known or {})
                    assert answer.status_code in (200, 404), page.name
                    assert 'permission' not in answer.text, page.name
        metrics = Metrics(queue)
        text, _ = await metrics.exposition()
        assert b'torrelque_up{queue="shop"} 1.0' in text
        await metrics.aclose()
        told = await users.denied()
        for name, verb in VERBS.items():
            try:
                await verb(queue)
            except torrelque.Error as exc:
                assert exc.queue == QUEUE and str(exc).startswith("queue 'shop': "), name
                # Of a call for many, and of one at all shards, it is the cause.
                causes = (exc, exc.__cause__)
                assert any(isinstance(one, redis.exceptions.NoPermissionError) for one in causes), (name, exc)
            else:
                assert name in NOTHING, name
    assert await dump(users.admin) == before
    # It notes no name either, and is not told of changes.
    assert {what for what, _ in told} <= {'info', 'zadd', 'evalsha', 'eval', 'torrelque:queues'}, told


async def dump(client: redis.asyncio.Redis) -> dict[Any, Any]:
    keys: list[Any] = await client.keys('*')
    return {key: await client.dump(key) for key in keys}


# Servers that work together


async def test_a_cluster_needs_what_the_page_says(cluster: Cluster, server_kind: str) -> None:
    rules = [rule for name in (QUEUE, 'line') for rule in rules_of('worker', server_kind, name, sharded=True)]
    rules += [word for line in lines_of('worker', server_kind, 'clusters') for word in line]
    rules = ['>word' if rule[0] == '>' else rule for rule in dict.fromkeys(rules) if rule != 'reset']
    async with contextlib.AsyncExitStack() as stack:
        admins = [await stack.enter_async_context(node.client()) for node in cluster.nodes]
        for admin in admins:
            await admin.execute_command('ACL', 'SETUSER', 'worker', 'reset', *rules)
            await admin.acl_log_reset()
        try:
            async with cluster.client(username='worker', password='word') as client:
                made: tuple[Any, ...] = Torrelque(client, queue=QUEUE), Sharded(client, queue='line', shards=3)
                for queue in made:
                    async with queue:
                        await queue.ready()
                        app = Tasks(queue)
                        double = app.task(name='double')(lambda n: 2 * n)
                        async with Worker(app, heartbeat=0.1):
                            assert await (await double.enqueue(2)).result(60) == 4
            denied = {str(one['object']) for admin in admins for one in await admin.acl_log()}
            assert denied - (SPARED - {'command'}) == set()
        finally:
            for admin in admins:
                await admin.execute_command('ACL', 'DELUSER', 'worker')


async def test_a_sentinel_needs_what_the_page_says(sentinel: Sentinel, server_kind: str) -> None:
    [line] = lines_of('finder', server_kind, 'sentinels')
    rules = ['>word' if rule.startswith('>') else rule for rule in line]
    async with sentinel.sentinel.client() as admin:
        await admin.execute_command('ACL', 'SETUSER', 'finder', *rules)
        try:
            finder = redis.asyncio.sentinel.Sentinel(
                [('127.0.0.1', sentinel.sentinel.port)], sentinel_kwargs={'username': 'finder', 'password': 'word'}
            )
            async with finder.master_for(sentinel.name) as client, Torrelque(client, queue=QUEUE) as queue:
                task_id = await queue.enqueue(1)
                assert await queue.dequeue(60) == (task_id, 1)
            for one in finder.sentinels:
                await one.aclose()
            denied = {str(one['object']) for one in await admin.acl_log()}
            assert denied - SPARED == set()
        finally:
            await admin.execute_command('ACL', 'DELUSER', 'finder')
