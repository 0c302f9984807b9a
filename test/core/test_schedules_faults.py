"""Schedules where something goes wrong: bad input, spoilt keys, a full memory, lost replies, a clock that jumps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import torrelque
from support.looking import dump
from support.proxy import Proxy, calls_of, has_part
from support.servers import MakeServer, RealServer
from support.standing import START, Either, StandingClock, ahead, firing, open_either
from support.waiting import until_waiting
from torrelque import Torrelque

pytestmark = pytest.mark.long

HOUR = 3600


# Bad input

NAMES: list[Any] = ['', None, 1, b'x', '\ud800']
INSTANTS: list[Any] = ['1', None, True, float('nan'), float('inf'), -1, 1e12, b'1', [], 10**400]
WORDS: list[Any] = ['', 'Skip', 'ALL', None, 1, b'skip', b'all', []]
LENGTHS: list[Any] = ['1', True, float('nan'), -1, [], 1e300]

SET: list[dict[str, Any]] = [
    {}, {'times': [1], 'every': 1}, {'times': 5}, {'times': '12'}, {'times': b'12'},
    {'times': [START + 2, START + 1]}, {'times': [START, START]}, {'times': [START, START + 0.0001]},
    {'times': range(START, START + 1001)}, *({'times': [instant]} for instant in INSTANTS),
    {'every': 0}, *({'every': length} for length in LENGTHS),
    *({'every': 1, 'phase': length} for length in [None, *LENGTHS]), {'times': [1], 'phase': 1},
    *({'every': 1, name: length} for name in ('grace', 'task_timeout') for length in LENGTHS),
    *({'every': 1, 'until': instant} for instant in INSTANTS if instant is not None),
    *({'every': 1, name: word} for name in ('overlap', 'missed') for word in WORDS),
    *({'every': 1, 'group': name} for name in NAMES if name is not None),
    {'every': 1, 'group': 'g', 'overlap': 'queue'},
    *({'every': 1, 'max_attempts': count} for count in [0, -1, 1.0, True, '1']),
    *({'every': 1, 'priority': count} for count in [101, -101, 1.0, True, '1', None]),
    *({'every': 1, 'spec': spec} for spec in [object(), float('nan'), {1: b'x'}, {(1, 2): 3}]),
    *({'every': 1, 'source': name} for name in NAMES if name is not None),
    *({'every': 1, 'revision': count} for count in [1.0, True, '1', -1, 2**63]),
]  # fmt: skip


async def refused(call: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(torrelque.TorrelqueError) as caught:
        await call(*args, **options)
    assert isinstance(caught.value, (TypeError, ValueError)), caught.value


@pytest.mark.first_server
async def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    either: Either, client: redis.asyncio.Redis
) -> None:
    await either.set_schedule('s', 1, every=10)
    before = await dump(client)
    for options in SET:
        await refused(either.set_schedule, 's', 2, **options)
    await refused(either.set_schedule, 's', object(), every=1)
    for name in NAMES:
        await refused(either.set_schedule, name, 1, every=1)
        await refused(either.extend_schedule, name, [], after=None)
        for verb in ('remove_schedule', 'pause_schedule', 'resume_schedule', 'fire', 'get_schedule'):
            await refused(getattr(either, verb), name)
        if name:
            await refused(either.remove_schedule, 's', source=name)
    for name in NAMES[1:4]:
        await refused(either.get_schedules, name)
    for times in ([2, 1], [1, 1], 'ab', 5, range(START, START + 1001), *([instant] for instant in INSTANTS)):
        await refused(either.extend_schedule, 's', times, after=None)
    for instant in INSTANTS:
        await refused(either.fire, 's', instant)
        if instant is not None:
            await refused(either.extend_schedule, 's', [], after=instant)
    await refused(either.fire, 's', 2, 1)
    await refused(either.fire, 's', [1])
    for revision in (1.0, True, '1', -1):
        await refused(either.remove_schedule, 's', revision=revision)
    assert await dump(client) == before


# Spoilt by hand

SPOILS: dict[str, list[tuple[Any, ...]]] = {
    'deleted': [('DEL', 'schedule:bad')],
    'a text': [('DEL', 'schedule:bad'), ('SET', 'schedule:bad', 'x')],
    'no payload': [('HDEL', 'schedule:bad', 'payload')],
    'no options': [('HDEL', 'schedule:bad', 'options')],
    'options that are no JSON': [('HSET', 'schedule:bad', 'options', '{')],
    **{
        f'options {text}': [('HSET', 'schedule:bad', 'options', text)]
        for text in (
            '[]', '5', 'null', '{"timeout":{}}', '{"timeout":5,"group":[]}', '{"timeout":5,"priority":null}',
            '{"timeout":5,"max_attempts":"x"}',
        )
    },
    'times that are a text': [('DEL', 'times:bad'), ('SET', 'times:bad', 'x')],
    'times that are no numbers': [('DEL', 'times:bad'), ('RPUSH', 'times:bad', 'x', 'y')],
    'no times': [('DEL', 'times:bad')],
    **{f'every {text}': [('HSET', 'schedule:bad', 'every', text)] for text in ('x', '0', '-5', '1e-300', 'nan', 'inf')},
    'the rest': [('HSET', 'schedule:bad', name, 'x') for name in ('overlap', 'missed', 'grace', 'until', 'phase')],
    'counts': [('HSET', 'schedule:bad', 'fired', 'x', 'skipped', 'y')],
    'a last one that is a text': [('HSET', 'schedule:bad', 'last_id', 'odd'), ('SET', 'task:odd', 'x')],
    'a place': [('ZADD', 'schedules', '-5', 'bad')],
    **{
        f'a place {text} and a period': [('ZADD', 'schedules', text, 'bad'), ('HSET', 'schedule:bad', 'every', '1000')]
        for text in ('-inf', '-1e300', '5', 'inf')
    },
    'times that are none': [('DEL', 'times:bad'), ('RPUSH', 'times:bad', '-inf', 'nan', '-nan', 'inf')],
}  # fmt: skip


@pytest.mark.parametrize('overlap', ['skip', 'replace'])
@pytest.mark.parametrize('spoil', SPOILS)
@pytest.mark.share(3)
async def test_a_schedule_that_was_spoilt_by_hand_stops_no_other_and_no_sweep(
    client: redis.asyncio.Redis, standing: StandingClock, either: Either, spoil: str, overlap: str
) -> None:
    for name in ('a', 'bad', 'z'):
        await either.set_schedule(name, name, times=ahead(10, 20), overlap=overlap, missed='all')
    await either.enqueue('leased', task_timeout=5)
    await either.take()
    prefix = either.keys['pending'].removesuffix('pending')
    for command, key, *words in SPOILS[spoil]:
        await client.execute_command(command, f'{prefix}{key}', *words)
    await standing.move(10)
    await asyncio.wait_for(either.sweep(), 60)
    await standing.move(10)
    await asyncio.wait_for(either.sweep(), 60)
    found = [task for task_id, task in await either.take() if not task_id.startswith('bad')]
    assert sorted(found) == ['a', 'leased', 'z']
    # It is due no more, so nobody comes back for it again and again.
    score = await client.zscore(either.keys['schedules'], 'bad')
    assert [one.name for one in await either.get_schedules() if one.name != 'bad'] in (['a', 'z'], ['z', 'a'])
    assert score is None or score > standing.now * 1000
    assert await either.remove_schedule('bad') is True
    assert not [*await client.keys('*:bad')]


# A full memory


@pytest.mark.parametrize('kind', ['aio', 'sync'])
async def test_a_full_memory_refuses_a_schedule_whole_and_lets_what_is_there_go_on(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server({'maxmemory-policy': 'noeviction'})
    async with server.client() as client:
        async for either in open_either(kind, server, client, 'scheduled'):
            soon, far = time.time() + 0.1, time.time() + HOUR
            await either.set_schedule('a', 1, times=[soon])
            await either.set_schedule('b', 1, times=[soon], overlap='queue')
            await either.set_schedule('far', 1, times=[far])
            await either.enqueue('leased', task_timeout=0.05)
            await either.take()
            await client.config_set('maxmemory', '100kb')
            before = await dump(client)
            for verb, args, options in (
                (either.set_schedule, ['new', 1], {'every': HOUR}),
                (either.set_schedule, ['far', 2], {'every': HOUR}),
                (either.extend_schedule, ['far', [far + HOUR]], {'after': far}),
                (either.fire, ['far'], {}),
                (either.fire, ['far', far - HOUR], {}),
            ):
                with pytest.raises(redis.exceptions.OutOfMemoryError):
                    await verb(*args, **options)
            assert await dump(client) == before
            tasks: list[str] = []
            while len(tasks) < 3:
                for task_id, task in await either.take():
                    tasks.append(str(task))
                    await either.release(task_id)
            assert sorted(tasks) == ['1', '1', 'leased']
            # What is due alone does not keep consumers from waiting.
            await client.config_set('maxmemory', '0')
            await either.set_schedule('alone', 1, times=[time.time() + 0.05])
            await client.config_set('maxmemory', '100kb')
            assert (await either.dequeue(60))[0].startswith('alone@')
            for verb in (either.pause_schedule, either.resume_schedule, either.remove_schedule):
                assert await verb('far') is True


# Lost replies


@pytest.mark.parametrize('loss', ['lose_request', 'lose_reply'])
async def test_each_verb_has_the_effect_of_once_and_answers_as_it_would_have(
    proxy: Proxy, client: redis.asyncio.Redis, standing: StandingClock, loss: str
) -> None:
    async def run(queue: Torrelque, losing: bool) -> list[Any]:
        said: list[Any] = []

        async def ask(script: str, verb: str, *args: Any, **options: Any) -> None:
            if losing:
                getattr(proxy, loss)(calls_of(script))
            answer = await getattr(queue, verb)(*args, **options)
            # What a sweep has done whose reply was lost is not counted.
            said.extend([] if verb == 'sweep' else [answer])
            assert not losing or proxy.lossless
            said.append(await queue.get_schedule('s') if await client.exists(f'{queue.keys["schedule"]}:s') else None)

        await standing.set(START)
        await queue.sweep()
        await ask('schedule', 'set_schedule', 's', 1, times=ahead(10, 20), overlap='allow', spec='x')
        await ask('schedule', 'set_schedule', 's', 1, times=ahead(10, 20), overlap='allow', spec='x')
        await ask('extend', 'extend_schedule', 's', ahead(30), after=START + 20, spec='x')
        await ask('extend', 'extend_schedule', 's', ahead(40), after=START + 20, spec='x')
        await standing.move(10)
        await ask('sweep', 'sweep')
        await ask('hold', 'pause_schedule', 's')
        await ask('hold', 'resume_schedule', 's')
        await ask('fire', 'fire', 's', *ahead(-20, 10, 20))
        await standing.move(10)
        await ask('schedule', 'set_schedule', 's', 2, every=100, overlap='allow')
        await ask('unschedule', 'remove_schedule', 's')
        said.append(await queue.dequeue(0, max_tasks=10))
        return said

    async with Torrelque(client, queue='calm') as calm:
        expected = await run(calm, False)
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue='faulty') as faulty:
        assert await run(faulty, True) == expected


@pytest.mark.parametrize('loss', ['lose_request', 'lose_reply'])
async def test_a_firing_by_hand_is_once(
    proxy: Proxy, queue: Torrelque, queue_name: str, client: redis.asyncio.Redis, loss: str
) -> None:
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue=queue_name) as faulty:
        await faulty.set_schedule('s', 1, every=HOUR, overlap='allow')
        known, *others = [START, START + 1, START + 2]
        await faulty.fire('s', known)
        for times in ([], [known, *others]):
            getattr(proxy, loss)(calls_of('fire'))
            ids = await faulty.fire('s', *times)
            assert proxy.lossless and len(ids) == (2 if times else 1)
        assert (await queue.get_schedule('s')).fired == 4
        assert len(await queue.dequeue(0, max_tasks=10)) == 4


async def test_a_call_that_is_sent_again_has_no_effect_after_that_of_somebody_else(
    proxy: Proxy, queue: Torrelque, queue_name: str
) -> None:
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue=queue_name) as faulty:

        async def lose(
            script: str, lost: Coroutine[Any, Any, Any], effect: dict[str, Any], between: Coroutine[Any, Any, Any]
        ) -> Any:
            reply = proxy.hold_reply(calls_of(script))
            call = asyncio.create_task(lost)
            # The request has come to the proxy, and then has its effect.
            await reply.arrived.wait()
            while not effect.items() <= (await queue.get_schedule('s'))._asdict().items():
                await asyncio.sleep(0.002)
            await between
            proxy.cut()
            reply.open()
            return await call

        now = time.time()
        await queue.set_schedule('s', 1, times=[now + HOUR], spec='x', overlap='allow')
        assert len(await lose('fire', faulty.fire('s'), {'fired': 1}, queue.fire('s'))) == 1
        assert (await queue.get_schedule('s')).fired == 2
        assert await lose('hold', faulty.pause_schedule('s'), {'paused': True}, queue.resume_schedule('s')) is True
        assert (await queue.get_schedule('s')).paused is False
        more, other = [now + 2 * HOUR], [now + 3 * HOUR]
        extending = faulty.extend_schedule('s', more, after=now + HOUR, spec='x')
        extending_too = queue.extend_schedule('s', other, after=more[0], spec='x')
        assert await lose('extend', extending, {'left': 2}, extending_too) is True
        assert (await queue.get_schedule('s')).left == 3
        setting = faulty.set_schedule('s', 2, every=HOUR)
        assert await lose('schedule', setting, {'task': 2}, queue.set_schedule('s', 3, every=HOUR)) is True
        assert (await queue.get_schedule('s')).task == 3


async def test_a_call_that_arrives_after_its_repetition_has_no_effect_any_more(
    proxy: Proxy, server: RealServer, queue: Torrelque, queue_name: str, client: redis.asyncio.Redis
) -> None:
    async with proxy.client() as faulty_client, Torrelque(faulty_client, queue=queue_name) as faulty:

        async def come_late(script: str, call: Coroutine[Any, Any, Any], between: Coroutine[Any, Any, Any]) -> None:
            """Have the first sending of a call arrive when it was carried out by the second, and not alone since."""
            proxy.requests.clear()
            proxy.lose_request(calls_of(script))
            await call
            (first, *_) = [sent for sent in proxy.requests if has_part(sent, calls_of(script))]
            await between
            before = await dump(client)
            reader, writer = await asyncio.open_unix_connection(server.socket)
            writer.write(first)
            assert await reader.readline() in (b'+OK\r\n', b'$2\r\n', b'*1\r\n', b'*2\r\n')
            writer.close()
            await writer.wait_closed()
            assert await dump(client) == before

        now = time.time()
        await come_late('schedule', faulty.set_schedule('s', 1, times=[]), queue.get_queue_stats())
        await come_late('schedule', faulty.set_schedule('s', 2, every=HOUR), queue.set_schedule('s', 3, every=HOUR))
        await come_late('hold', faulty.pause_schedule('s'), queue.resume_schedule('s'))
        await queue.set_schedule('s', 4, times=[now + HOUR], spec='x')
        extending = faulty.extend_schedule('s', [], after=now + HOUR, spec='x')
        await come_late('extend', extending, queue.get_queue_stats())
        task_id = await queue.enqueue(1, task_id='own', max_attempts=1)
        await queue.bury((await queue.dequeue())[0])

        async def bury_again() -> None:
            await queue.bury((await queue.dequeue())[0])

        await come_late('redrive', faulty.redrive(task_id), bury_again())


# A server that has lost all, and a clock that jumps


async def test_a_flushed_server_has_no_schedule_and_one_that_is_set_again_fires(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, endless: None
) -> None:
    async with server.client() as other_client, Torrelque(other_client, queue=queue.name) as other:
        await queue.set_schedule('s', 1, every=50)
        consumer = asyncio.create_task(other.dequeue())
        await until_waiting(client)
        await client.flushall()
        with pytest.raises(torrelque.TorrelqueLookupError):
            await queue.get_schedule('s')
        assert await queue.set_schedule('s', 2, every=0.2) is True
        assert (await consumer)[1] == 2


@pytest.mark.parametrize(
    'by', [{'every': 600, 'phase': START % 600}, {'times': [START + 600 * k for k in range(1, 20)]}], ids=[*'et']
)
async def test_nothing_fires_twice_where_the_clock_goes_an_hour_back_and_forth(
    either: Either, standing: StandingClock, by: dict[str, Any]
) -> None:
    async def fired() -> list[str]:
        await either.sweep()
        ids = [str(task_id) for task_id, _ in await either.take()]
        for task_id in ids:
            await either.release(task_id)
        return ids

    await either.set_schedule('s', 1, missed='all', overlap='allow', **by)
    found: list[str] = []
    for _ in range(6):
        await standing.move(600)
        found += await fired()
    assert found == [firing('s', 600 * k) for k in range(1, 7)]
    await standing.move(-HOUR)
    # Set anew, as by a process that starts, it does not begin at the earlier time either.
    await either.set_schedule('s', 2, missed='all', overlap='allow', **by)
    for _ in range(6):
        await standing.move(600)
        assert await fired() == []
    await standing.move(2 * HOUR)
    assert await fired() == [firing('s', 600 * k) for k in range(7, 19)]
