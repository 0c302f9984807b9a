"""Acts that have a number: that it stands with them on record, and is taken once, whoever asks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis.asyncio

from support.burying import die
from support.proxy import Proxy
from torrelque import Torrelque, TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Act, Operator, Selection
from torrelque.operate.acts import TAKEN

pytestmark = pytest.mark.first_server


async def test_a_number_stands_with_each_act_on_record_and_is_told(queue: Torrelque) -> None:
    heard: list[Act] = []
    await die(queue, 1)
    operator = Operator(queue, who='ann', number='4f1a', on_act=heard.append)
    await operator.redrive(Selection())
    await operator.pause()
    await Operator(queue, who='ann').resume()
    acts = await operator.acts()
    assert [(act.act, act.number) for act in acts] == [('resume', ''), ('pause', '4f1a'), ('redrive', '4f1a')]
    assert [act.as_json()['number'] for act in acts] == ['', '4f1a', '4f1a']
    assert [act.number for act in heard] == ['4f1a', '4f1a']


async def test_an_act_with_a_number_is_on_record_though_it_has_changed_nothing(queue: Torrelque) -> None:
    operator = Operator(queue, number='4f1a')
    await operator.redrive(Selection(), dry_run=True)
    with pytest.raises(TorrelqueValueError):
        await operator.redrive(Selection(status='pending'))
    assert await operator.acts() == []
    await operator.redrive(Selection())
    assert [(act.act, act.count, act.number) for act in await operator.acts()] == [('redrive', 0, '4f1a')]


@pytest.mark.parametrize('number', [5, None, '', 'x\ud800'])
async def test_a_number_that_is_no_text_is_passed_over_on_record_and_refused_here(
    client: redis.asyncio.Redis, queue: Torrelque, number: Any
) -> None:
    line = {'time': 1, 'who': 'a', 'act': 'b', 'what': 'c', 'count': 2, 'number': number}
    await client.lpush(queue.keys['acts'], json.dumps(line))
    [act] = await Operator(queue).acts()
    assert act.number == ('x\\ud800' if number == 'x\ud800' else '')
    if number != '':
        with pytest.raises((TorrelqueTypeError, TorrelqueValueError), match='number must'):
            Operator(queue, number=number)


async def test_a_number_is_taken_once(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    one, same, other = (Operator(queue, number=number) for number in ('4f1a', '4f1a', '4f1b'))
    assert not await one.is_claimed()
    assert sorted(await asyncio.gather(one.claim(), same.claim(), other.claim())) == [False, True, True]
    assert await one.is_claimed() and not await one.claim()
    assert TAKEN - 600 < await client.ttl(f'{queue.keys["acts"]}:4f1a') <= TAKEN
    assert await one.acts() == []


async def test_a_number_is_taken_once_though_the_reply_is_lost(
    proxy: Proxy, queue_name: str, queue: Torrelque
) -> None:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as faulty:
        await faulty.get_queue_stats()
        proxy.lose_reply(b'SET')
        assert await Operator(faulty, number='4f1a').claim()
        assert proxy.lossless
    assert not await Operator(queue, number='4f1a').claim()


async def test_numbers_of_several_queues_are_their_own(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=f'{queue_name}-a') as one, Torrelque(client, queue=f'{queue_name}-b') as other:
        operator = Operator([one, other], number='4f1a')
        assert [await operator.claim(queue=queue.name) for queue in (one, other, one)] == [True, True, False]
        with pytest.raises(TorrelqueValueError, match='name one of'):
            await operator.claim()


async def test_without_a_number_none_is_taken_nor_by_whoever_may_only_read(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    with pytest.raises(TorrelqueValueError, match='no number'):
        await Operator(queue).claim()
    with pytest.raises(TorrelqueValueError, match='no number'):
        await Operator(queue).is_claimed()
    reader = Operator(queue, number='4f1a', read_only=True)
    with pytest.raises(TorrelqueError, match='may only read'):
        await reader.claim()
    assert not await reader.is_claimed()
    assert await client.keys('*') == []
