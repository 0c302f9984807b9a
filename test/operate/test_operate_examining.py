"""What the doctor finds, of a server and of the keys of a queue."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
import redis.asyncio

from support.servers import MakeServer
from torrelque import Torrelque, TorrelqueServerError
from torrelque.operate import Finding, Operator, WorkerView, crew
from torrelque.operate.parts import limits_of
from torrelque.operate.server import look_at_server

pytestmark = pytest.mark.first_server


async def found(queue: Torrelque, *levels: str) -> dict[str, str]:
    """Texts of findings of some levels by their subjects."""
    texts: dict[str, str] = {}
    for it in await Operator(queue).examine():
        if it.level in (levels or ('error', 'warning')):
            texts[it.subject] = f'{texts[it.subject]}; {it.text}' if it.subject in texts else it.text
    return texts


async def test_a_sound_queue_is_told_to_be_so(queue: Torrelque) -> None:
    await queue.enqueue_many(range(30), group='g')
    await queue.enqueue(1, priority=1, delay=50)
    await queue.dequeue_many(5)
    told = await Operator(queue).examine()
    assert {finding.level for finding in told} <= {'note', 'ok'}
    assert 'nothing is wrong' in {it.subject: it.text for it in told}['queue']
    assert {finding.queue for finding in told} == {queue.name}
    assert [field.name for field in fields(Finding)] == ['queue', 'level', 'subject', 'text', 'advice']


async def test_the_gravest_come_first_and_a_command_names_the_queue(
    client: redis.asyncio.Redis, queue_name: str
) -> None:
    async with Torrelque(client, queue=f"{queue_name} 'x'") as queue:
        await client.set(queue.keys['dead'], 'x')
        await queue.pause()
        told = await Operator(queue).examine()
        levels = ['error', 'warning', 'note', 'ok']
        assert [finding.level for finding in told] == sorted((it.level for it in told), key=levels.index)
        assert (told[0].subject, told[0].text) == ('keys', "the key 'dead' holds a string, and not a sorted set")
        [pause] = [finding for finding in told if finding.subject == 'pause']
        assert pause.advice == f"torrelque resume -q '{queue_name} '\"'\"'x'\"'\"''"


@pytest.mark.parametrize('place', ['pending', 'turns', 'priority', 'working', 'delayed', 'dead'])
@pytest.mark.parametrize('lost', ['state', 'payload', 'both', 'status', 'type', 'life'])
async def test_what_is_wrong_in_a_place_is_found(
    queue: Torrelque, client: redis.asyncio.Redis, place: str, lost: str
) -> None:
    kinds = {'priority': {'priority': 1}, 'delayed': {'delay': 60}, 'turns': {'group': 'g'}}
    options: dict[str, dict[str, Any]] = kinds  # type: ignore[assignment]
    task_id = await queue.enqueue(1, **options.get(place, {}))
    if place in ('working', 'dead'):
        taken, _ = await queue.dequeue()
        if place == 'dead':
            await queue.bury(taken)
    assert await found(queue) == {}
    key = f'{queue.keys["task"]}:{task_id}'
    if lost in ('state', 'both', 'type'):
        await client.delete(key)
    if lost in ('payload', 'both'):
        await client.hdel(queue.keys['tasks'], task_id)
    if lost == 'type':
        await client.set(key, 'x')
    if lost == 'status':
        await client.hset(key, 'status', 3)
    if lost == 'life':
        await client.pexpire(key, 100_000)
    words = {
        'state': 'it has no state', 'payload': 'it has no payload', 'both': 'it has neither state nor payload',
        'status': 'its status is that of another place', 'type': 'its state is no hash',
        'life': 'its state has a time to live',
    }  # fmt: skip
    told = await found(queue)
    if place == 'turns' and lost in ('both', 'status') or place == 'pending' and lost == 'status':
        # Such an id may be a hole; in `pending` holes are known by a set, so that one is found.
        assert (place in told) == (place == 'pending')
        return
    expected = 'it has no task' if place == 'pending' and lost == 'both' else words[lost]
    assert expected in told[place]
    assert task_id in told[place]


async def test_holes_are_nothing_that_is_wrong(queue: Torrelque) -> None:
    ids = [*await queue.enqueue_many(range(600))]
    for task_id in ids[:50]:
        await queue.cancel(task_id)
    assert await found(queue) == {}


async def test_slots_that_nobody_holds_are_found(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.enqueue_many(range(10), group='g')
    taken, _ = await queue.dequeue()
    await client.hset(queue.keys['groups'], 'g', 7)
    assert "the group 'g' counts 7 slots in use, and 2 tasks hold one" in (await found(queue))['groups']
    await client.hset(queue.keys['groups'], 'g', 2)
    assert await found(queue) == {}
    await client.hset(queue.keys['holders'], 'nobody', 'h')
    told = [it for it in await Operator(queue).examine() if it.level == 'warning']
    assert [it.subject for it in told] == ['groups', 'groups']
    assert "the group 'h' counts none slots" in told[0].text
    assert "held by tasks that do not run: 'nobody'" in told[1].text
    await client.hdel(queue.keys['holders'], 'nobody')
    await client.hset(f'{queue.keys["task"]}:{taken}', 'status', 3)
    assert 'do not run' in (await found(queue))['groups']


async def test_limits_that_cannot_be_read_are_told_and_set_anew(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    groups: dict[Any, Any] = {'fine': '{"concurrency":2,"rate":[5,1000]}', 'none': '{"rate":0,"concurrency":0}'}
    spoilt: dict[Any, Any] = {'lost': 'nan', 'half': '{"concurrency":3,"rate":"x"}', '': '[]'}
    await client.hset(queue.keys['limits'], mapping={**groups, **spoilt})
    operator = Operator(queue)
    told = {finding.text: finding.advice for finding in await operator.examine() if finding.level == 'warning'}
    assert told == {
        "limits of groups that cannot be read count as the default: 'lost', 'half'":
            f'torrelque limit lost --concurrency N --rate N/s -q {queue.name}',
        'the default limits of all groups cannot be read, so there are none':
            f"torrelque limit '*' --concurrency N --rate N/s -q {queue.name}",
    }  # fmt: skip
    assert await limits_of(queue) == {
        'fine': (2, (5, 1.0)), 'none': (math.inf, math.inf), 'lost': (None, None), 'half': (3, None), None: (None, None)
    }  # fmt: skip
    for group in 'lost', 'half', None:
        await operator.set_limit(group, concurrency=4)
    assert [finding.level for finding in await operator.examine() if finding.subject == 'groups'] == []
    await client.set(queue.keys['limits'], 'x')
    assert await limits_of(queue) == {}


async def test_tasks_in_no_place_are_found(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    for options in ({}, {'priority': 1}, {'group': 'g'}, {'group': 'g'}):
        await queue.enqueue(1, **options)
    await client.delete(queue.keys['pending'], f'{queue.keys["group"]}:g')
    assert '2 tasks are in no place' in (await found(queue))['pending']
    await client.rpush(queue.keys['pending'], *'abcd')
    assert '2 ids wait that have no payload' in {it.text for it in await Operator(queue).examine()}


async def test_what_is_due_and_nobody_sweeps_is_found(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    [task_id] = [await queue.enqueue(1, delay=60)]
    await queue.enqueue(2)
    taken, _ = await queue.dequeue()
    await client.zadd(queue.keys['delayed'], {task_id: 1000})
    await client.zadd(queue.keys['working'], {taken: 1000})
    told = await found(queue)
    assert '1 delayed tasks are due' in told['delayed']
    assert '1 leases have ended' in told['working']
    await queue.sweep()
    assert await found(queue) == {}


async def test_a_large_payload_is_told(queue: Torrelque) -> None:
    task_id = await queue.enqueue('x' * 1_000_000)
    assert f"the payload of '{task_id}' has 1000002 bytes" in (await found(queue, 'note'))['payloads']


async def test_workers_that_are_lost_or_stuck_or_of_another_version_are_told(
    queue: Torrelque, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker:
        def __init__(self, name: str, state: str, version: str) -> None:
            self.name, self.state, self.version = name, state, version

    async def read(queue: Torrelque, running: bool = True) -> list[Any]:
        return [Worker('a', 'running', '0.0.1'), Worker('b', 'lost', '0.0.2'), Worker('c', 'stuck', '0.0.1')]

    await client.zadd(queue.keys['workers'], {'a': 1})
    monkeypatch.setattr(crew, 'read_workers', read)
    told = [it for it in await Operator(queue).examine() if it.subject == 'workers']
    assert [it.level for it in told] == ['warning', 'warning', 'note']
    assert ["'b'" in told[0].text, "'c'" in told[1].text, "'0.0.1'" in told[2].text] == [True] * 3
    assert told[0].advice == f'torrelque workers --lost -q {queue.name}'

    async def refuse(queue: Torrelque, running: bool = True) -> list[WorkerView]:
        raise TorrelqueServerError('no')

    monkeypatch.setattr(crew, 'read_workers', refuse)
    assert (await found(queue, 'note'))['hearts'] == 'not allowed to look: no'


# Servers


async def test_a_server_that_throws_keys_away_is_an_error(make_server: MakeServer) -> None:
    with make_server({'maxmemory': '100mb'}) as server:
        async with server.client() as client, Torrelque(client) as queue:
            for policy, level in (
                ('allkeys-lru', 'error'), ('volatile-ttl', 'warning'), ('noeviction', 'ok'),
            ):  # fmt: skip
                await client.config_set('maxmemory-policy', policy)
                [told] = [it for it in await Operator(queue).examine() if it.subject == 'maxmemory-policy']
                assert told.level == level
                assert told.text.startswith(f'{policy}:')
                assert (told.advice is None) == (level == 'ok')
            assert ' of 104.9 MB are used' in (await found(queue, 'ok'))['memory']


async def test_settings_of_the_server_are_told(make_server: MakeServer, tmp_path: Any) -> None:
    with make_server({'notify-keyspace-events': '""'}) as server:
        async with server.client() as client, Torrelque(client) as queue:
            told = await found(queue, 'note')
            assert 'looked at again and again' in told['notify-keyspace-events']
            assert 'appendonly is off' in told['persistence']
            await client.config_set('notify-keyspace-events', 'Kghx')
            assert 'notify-keyspace-events' in await found(queue, 'ok')
    with make_server(directory=tmp_path) as server:
        async with server.client() as client, Torrelque(client) as queue:
            assert (await found(queue, 'ok'))['persistence'] == 'appendonly is on'


async def test_the_kind_of_server_is_told(queue: Torrelque, server_kind: str) -> None:
    kind = {'valkey': 'Valkey ', 'redis': 'Redis ', 'keydb': 'KeyDB '}[server_kind.rstrip('0123456789')]
    assert (await found(queue, 'ok'))['version'].startswith(kind)


def answer(queue: Torrelque, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
    """Have the server answer some commands otherwise."""
    ask = queue.command

    async def command(*words: Any) -> Any:
        reply = answers.get(words[0])
        if isinstance(reply, Exception):
            raise reply
        return await ask(*words) if reply is None else reply

    monkeypatch.setattr(queue, 'command', command)


async def test_what_cannot_be_had_of_a_real_server_here_is_told_as_well(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = (
        b'# Server\r\nredis_version:6.0.9\r\nrole:slave\r\nmaster_link_status:down\r\nmaxmemory:0\r\nused_memory:5\r\n'
        b'rdb_last_bgsave_status:err\r\naof_enabled:1\r\nconnected_clients:95\r\nmaxclients:100\r\nrubbish\r\n\xff:\xff\r\n'
    )
    answer(queue, monkeypatch, {'INFO': info, 'TIME': [b'1000', b'0']})
    told = {note.subject: (note.level, note.text) for note in await look_at_server(queue)}
    assert told['version'] == ('error', 'Redis 6.0.9 is too old: scripts need Redis 6.2')
    assert told['role'][0] == 'error'
    assert told['role'][1].endswith('and its primary is away')
    assert told['clients'][0] == told['clock'][0] == 'warning'
    assert 'behind this machine' in told['clock'][1]
    assert told['maxmemory-policy'] == ('note', 'the server does not tell')
    texts = [note.text for note in await look_at_server(queue) if note.subject == 'persistence']
    assert texts == ['the server could not write its data down: rdb_last_bgsave_status', 'appendonly is on']


@pytest.mark.parametrize('used, level', [(10, 'ok'), (84, 'ok'), (85, 'warning'), (97, 'warning'), (98, 'error')])
async def test_a_server_that_is_nearly_full_is_told_in_time(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, used: int, level: str
) -> None:
    answer(queue, monkeypatch, {'INFO': b'maxmemory:100000000\r\nused_memory:%d000000\r\n' % used})
    [note] = [note for note in await look_at_server(queue) if note.subject == 'memory']
    assert (note.level, note.text) == (level, f'{used}.0 of 100.0 MB are used, {used}%')


async def test_a_refused_part_is_told_and_the_others_are_looked_at(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    no = TorrelqueServerError('NOPERM no')
    answer(queue, monkeypatch, {'INFO': no, 'CONFIG': no, 'TIME': no})
    told = await found(queue, 'note')
    assert all(told[name].startswith('not allowed to look') for name in ('server', 'notify-keyspace-events', 'clock'))
    answer(queue, monkeypatch, {'EVALSHA_RO': no, 'EVALSHA': no})
    assert (await found(queue, 'error'))['queue'] == 'not allowed to look at the queue: NOPERM no'
