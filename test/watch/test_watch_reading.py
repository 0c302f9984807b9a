"""Watching without notifications: they are off, or switched off, or forbidden, or the server does not say."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from support import watching
from support.bounding import Bound
from support.reading import until_mode, until_settled, warnings_of
from support.servers import MakeServer, RealServer
from support.watching import begin, channels, statuses
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.aio.setting import NAME, Mode, are_enough, flags_of
from torrelque.protocol.bounds import BOUNDS

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
@pytest.mark.long
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
