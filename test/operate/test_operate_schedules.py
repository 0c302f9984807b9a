"""Schedules as an operator sees them: each once, in order, and whatever is spoilt of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from support.acting import recorded
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueError, TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator

MAY = datetime(datetime.now(timezone.utc).year + 1, 5, 1, 9, 30, tzinfo=timezone.utc)
"""An instant that is to come."""



async def test_many_schedules_are_read_each_once_in_order(queue: Torrelque) -> None:
    for n in range(350):
        await queue.set_schedule(f's{n}', n, times=[MAY + timedelta(seconds=n * 7 % 350)])
    found = await Operator(queue).schedules()
    assert len({view.name for view in found}) == len(found) == 350
    assert [view.next for view in found] == sorted(view.next or 0 for view in found)
    assert {view.name for view in await Operator(queue).schedules('s34')} == {'s34', *(f's34{n}' for n in range(10))}


async def test_long_payloads_are_left_out(queue: Torrelque) -> None:
    await queue.set_schedule('long', 'x' * 5000, every=60)
    operator = Operator(queue)
    [view] = await operator.schedules()
    assert (view.payload, view.raw, view.size) == (None, None, 5002)
    assert (await operator.schedule('long')).payload == 'x' * 5000
    assert (await operator.schedule('long', payload=5001)).raw is None


async def test_an_operator_refuses_what_cannot_be_meant(queue: Torrelque) -> None:
    operator: Any = Operator(queue)
    with pytest.raises(TorrelqueLookupError, match="there is no schedule 'x'"):
        await operator.schedule('x')
    for name in 5, None, b'x':
        with pytest.raises(TorrelqueTypeError):
            await operator.schedule(name)
        with pytest.raises(TorrelqueTypeError):
            await operator.schedules(name)
    with pytest.raises(TorrelqueValueError):
        await operator.schedules('\ud800')
    with pytest.raises(TorrelqueValueError):
        await operator.schedules(queue='other')
    with pytest.raises(TorrelqueTypeError):
        await operator.set_schedule('x', 1)
    assert json.loads(json.dumps([view.as_json() for view in await operator.schedules()])) == []


async def test_who_may_only_read_sees_schedules(
    server: RealServer, queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.set_schedule('tidy', {'n': 1}, every=60)
    own_keys = f'~{queue.keys["pending"].removesuffix("pending")}*'
    await client.execute_command(
        'ACL', 'SETUSER', 'sees', 'reset', 'on', '>secret', own_keys, '+@read', '+@connection', '+@scripting', '+time'
    )
    try:
        async with server.client(username='sees', password='secret') as own, Torrelque(own, queue=queue.name) as seen:
            [view] = await Operator(seen, read_only=True).schedules()
            assert (view.name, view.payload) == ('tidy', {'n': 1})
            assert (await Operator(seen, read_only=True).overview()).schedules == 1
            assert [reason.code for reason in await Operator(seen, read_only=True).explain()] == ['delayed']
    finally:
        await client.execute_command('ACL', 'DELUSER', 'sees')


async def test_what_is_spoilt_is_told_and_the_rest_is_shown(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.set_schedule('fine', 1, every=60)
    base = queue.keys['schedules'].removesuffix('schedules')
    for name in 'no-hash', 'hash-is-text', 'times-are-text', 'nonsense', 'raw':
        await client.zadd(f'{base}schedules', {name: 1.8e12})
    await client.set(f'{base}schedule:hash-is-text', 'x')
    await client.hset(f'{base}schedule:times-are-text', mapping={'payload': '1', 'options': '{}'})
    await client.set(f'{base}times:times-are-text', 'x')
    numbers = ('every', 'phase', 'until', 'grace', 'revision', 'last', 'fired', 'skipped')
    nonsense: dict[Any, Any] = dict.fromkeys(numbers, 'x')
    await client.hset(f'{base}schedule:nonsense', mapping={**nonsense, 'payload': '{', 'options': '[', 'spec': '{'})
    await client.hset(f'{base}schedule:raw', mapping={'payload': b'\xff\x00', 'options': '{"timeout": "x"}'})
    await client.hset(f'{base}schedule:lost', mapping={'payload': '1', 'options': '{}'})
    operator = Operator(queue)
    views = {view.name: view for view in await operator.schedules()}
    assert views['fine'].state == 'on' and (views['raw'].payload, views['raw'].raw) == (None, b'\xff\x00')
    assert views['nonsense'].times == () and views['no-hash'].state == 'broken'
    assert {name: view.broken for name, view in views.items()} == {
        'fine': None, 'nonsense': None, 'raw': None, 'no-hash': 'no payload',
        'hash-is-text': 'the key schedule:hash-is-text holds something else',
        'times-are-text': 'the key times:times-are-text holds something else',
    }  # fmt: skip
    assert (await operator.schedule('lost')).broken == 'it is not in the key schedules, so it never fires'
    await client.delete(f'{base}schedules')
    await client.set(f'{base}schedules', 'x')
    assert await operator.schedules() == []
    for prefix in '', 'fi':
        page = await operator.schedule_page(prefix)
        assert (page.schedules, page.total, page.broken) == ((), 0, ('schedules',))


async def test_acts_on_schedules_are_on_record_where_they_change_something(queue: Torrelque) -> None:
    operator = Operator(queue)
    for changed in True, False:
        assert await operator.set_schedule('tidy', 1, every=3600, source='api') is changed
        assert await operator.pause_schedule('tidy') is changed
    for changed in True, False:
        assert await operator.resume_schedule('tidy') is changed
        assert len(await operator.fire('tidy')) == changed
    instants = [MAY, MAY + timedelta(hours=1)]
    assert len(await operator.fire('tidy', *instants)) == 2
    assert await operator.remove_schedule('tidy', source='other') is False
    for changed in True, False:
        assert await operator.remove_schedule('tidy') is changed
    assert await recorded(queue) == [
        ('schedule', 'tidy', 0), ('pause', 'schedule tidy', 0), ('resume', 'schedule tidy', 0),
        ('fire', 'schedule tidy', 1), ('fire', 'schedule tidy', 2), ('unschedule', 'tidy', 0),
    ]  # fmt: skip


async def test_an_operator_that_may_only_read_changes_no_schedule(queue: Torrelque) -> None:
    await queue.set_schedule('tidy', 1, every=3600)
    before = await queue.get_schedule('tidy')
    operator = Operator(queue, read_only=True)
    for call in (operator.set_schedule('tidy', 2, every=60), operator.remove_schedule('tidy'), operator.fire('tidy'),
                 operator.pause_schedule('tidy'), operator.resume_schedule('tidy')):  # fmt: skip
        with pytest.raises(TorrelqueError, match='this operator may only read'):
            await call
    assert await queue.get_schedule('tidy') == before and await recorded(queue) == []


async def test_some_of_many_schedules_are_read_in_order(queue: Torrelque) -> None:
    for n in range(130):
        await queue.set_schedule(f's{n}', n, times=[MAY + timedelta(seconds=n * 7 % 130)])
    await queue.set_schedule('*[s]?\\', 1, every=60)
    operator = Operator(queue)
    everything = [view.name for view in await operator.schedules()]
    parts = [await operator.schedule_page(skip=skip, most=60) for skip in (0, 60, 120, 180)]
    assert [view.name for part in parts for view in part] == everything
    assert [(len(part), part.skipped, part.total) for part in parts] == [
        (60, 0, 131), (60, 60, 131), (11, 120, 131), (0, 180, 131),
    ]  # fmt: skip
    assert parts[3].server_time > 0 and all(len(view.times) <= 1 for view in parts[0])
    some = await operator.schedule_page('s12', skip=1, most=5)
    assert [view.name for view in some] == [name for name in everything if name.startswith('s12')][1:6]
    assert some.total == 11
    # What would be a pattern is a name.
    for prefix, names in (('*[s]?\\', ['*[s]?\\']), ('*', ['*[s]?\\']), ('?', []), ('[s]', [])):
        assert [view.name for view in await operator.schedule_page(prefix)] == names
