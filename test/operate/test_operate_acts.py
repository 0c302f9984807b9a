"""The record of what operators did: what is kept of it, who is told, and that it never stands in the way."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import redis.asyncio

from support.burying import die
from support.proxy import Proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Act, Operator, Selection
from torrelque.operate.acts import KEPT, LONGEST, MOST, read_acts, write_act

pytestmark = pytest.mark.first_server


@pytest.fixture
def operator(queue: Torrelque) -> Operator:
    return Operator(queue, who='ann')


def shown(acts: list[Act]) -> list[tuple[str, str, str, int]]:
    return [(act.act, act.who, act.what, act.count) for act in acts]


async def test_each_act_is_on_record_the_newest_first(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    await die(queue, 3)
    await operator.redrive(Selection(error='ValueError'))
    await operator.pause('acme', probe=30)
    await operator.resume('acme')
    await operator.set_limit('acme', concurrency=3)
    await operator.sweep()
    await operator.cancel(Selection(), limit=2)
    acts = await operator.acts()
    assert shown(acts) == [
        ('cancel', 'ann', 'all', 2),
        ('sweep', 'ann', '', 0),
        ('limit', 'ann', 'group acme: concurrency 3', 0),
        ('resume', 'ann', 'group acme', 0),
        ('pause', 'ann', 'group acme, probe 30s', 0),
        ('redrive', 'ann', '--error ValueError', 3),
    ]
    seconds, _ = await client.time()
    times = [act.time for act in acts]
    assert times == sorted(times, reverse=True) and abs(times[0] - seconds) < 600
    assert {act.queue for act in acts} == {queue.name}
    assert KEPT - 600 < await client.ttl(queue.keys['acts']) <= KEPT


async def test_what_has_changed_nothing_is_not_on_record(queue: Torrelque, operator: Operator) -> None:
    await die(queue, 3)
    await operator.redrive(Selection(error='KeyError'))
    await operator.redrive(Selection(), dry_run=True)
    assert await operator.acts() == []


async def test_no_more_than_so_many_are_kept(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await client.lpush(queue.keys['acts'], *(json.dumps({'id': f'{n}', 'time': n, 'who': 'x', 'act': 'y', 'what': 'z',
                                                         'count': n}) for n in range(MOST)))  # fmt: skip
    await write_act(queue, 'redrive', 'ann', 'all', 7, None)
    acts = await read_acts(queue)
    assert len(acts) == MOST == await client.llen(queue.keys['acts'])
    assert (acts[0].count, acts[1].count, acts[-1].count) == (7, MOST - 1, 1)


@pytest.mark.parametrize('text', ['', '"', "it's\n\x1b[31m\u202e", '😀', '\udcff', 'x' * 10**6, '{"id": "', '%s %d'])
async def test_any_text_is_kept_as_it_is_up_to_some_length(queue: Torrelque, text: str) -> None:
    heard: list[Act] = []
    await write_act(queue, 'redrive', text, text, 1, heard.append)
    [act] = await read_acts(queue)
    assert act.who == act.what == (text if len(text) <= LONGEST else text[: LONGEST - 1] + '…')
    assert heard[0] == act
    json.dumps(act.as_json())


async def test_what_cannot_be_a_text_is_refused_and_made_visible_where_it_stands(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator
) -> None:
    wrong: list[tuple[Any, type[Exception]]] = [
        (5, TorrelqueTypeError),
        (None, TorrelqueTypeError),
        (b'x', TorrelqueTypeError),
        ('x\ud800', TorrelqueValueError),
    ]
    for what, kind in wrong:
        with pytest.raises(kind, match='what must'):
            await operator.record('enqueue', what)
    assert await operator.acts() == []
    line = {'id': '5', 'time': 1, 'who': 'a\udcff', 'act': 'b', 'what': 'c\ud800', 'count': 2}
    await client.lpush(queue.keys['acts'], json.dumps(line))
    assert shown(await operator.acts()) == [('b', 'a\udcff', 'c\\ud800', 2)]


@pytest.mark.parametrize('option', ['foo', 'counts', 'limits'])
async def test_an_option_that_there_is_not_is_refused(queue: Torrelque, operator: Operator, option: str) -> None:
    task_id = await queue.enqueue(1)
    for act in ('redrive', 'cancel', 'requeue', 'bury'):
        with pytest.raises(TorrelqueTypeError, match=f"{act} has no option '{option}': it has limit, rate"):
            await getattr(operator, act)(Selection(ids=[task_id]), **{option: 1})
    assert (await queue.get_queue_stats()).pending == 1


async def test_an_act_whose_reply_is_lost_is_on_record_once(
    server: RealServer, proxy: Proxy, queue_name: str, queue: Torrelque
) -> None:
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as faulty:
        await faulty.get_queue_stats()
        proxy.lose_reply(b'LPUSH')
        await write_act(faulty, 'redrive', 'ann', 'all', 1, None)
        assert proxy.lossless
        assert len(await queue.command('LRANGE', queue.keys['acts'], 0, -1)) == 1
        await write_act(faulty, 'redrive', 'ann', 'all', 1, None)
    assert len(await read_acts(queue)) == 2


async def test_an_act_that_stands_there_twice_is_told_once(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await write_act(queue, 'redrive', 'ann', 'all', 1, None)
    [line] = await client.lrange(queue.keys['acts'], 0, -1)
    await client.lpush(queue.keys['acts'], line)
    assert len(await read_acts(queue)) == 1


RUBBISH = [
    b'', b'null', b'5', b'[]', b'"x"', b'{}', b'\xff', b'{', b'[' * 100_000, b'{"time":1}',
    b'{"time":true,"who":"a","act":"b","what":"c","count":1}',
    b'{"time":"1","who":"a","act":"b","what":"c","count":1}',
    b'{"time":1e999,"who":"a","act":"b","what":"c","count":1}',
    b'{"time":NaN,"who":"a","act":"b","what":"c","count":1}',
    b'{"time":1' + b'0' * 400 + b',"who":"a","act":"b","what":"c","count":1}',
    b'{"time":1,"who":5,"act":"b","what":"c","count":1}',
    b'{"time":1,"who":"a","act":"b","what":null,"count":1}',
    b'{"time":1,"who":"a","act":"b","what":"c","count":-1}',
    b'{"time":1,"who":"a","act":"b","what":"c","count":1.5}',
]  # fmt: skip


async def test_rubbish_is_passed_over(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    good = b'{"id":5,"time":1,"who":"a","act":"b","what":"c","count":2,"new":1}'
    await client.rpush(queue.keys['acts'], *RUBBISH, good, *RUBBISH)
    assert await read_acts(queue) == [Act(queue=queue.name, time=1.0, who='a', act='b', what='c', count=2)]
    await write_act(queue, 'redrive', 'ann', 'all', 1, None)
    assert len(await read_acts(queue)) == 2


async def test_a_key_that_holds_something_else_is_left_alone(
    client: redis.asyncio.Redis, queue: Torrelque, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    await client.set(queue.keys['acts'], 'spoilt')
    await die(queue, 1)
    assert (await operator.redrive(Selection())).done == 1
    assert await operator.acts() == [] and await client.get(queue.keys['acts']) == b'spoilt'
    assert 'an act could not be put on record: ' in caplog.text


async def test_a_user_who_may_not_write_the_record_acts_all_the_same(
    server: RealServer, client: redis.asyncio.Redis, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rights: Any = {'keys': ['*'], 'categories': ['+@all'], 'commands': ['-expire']}
    await client.acl_setuser('worker', enabled=True, nopass=True, **rights)
    heard: list[Act] = []
    try:
        async with server.client(username='worker', password='x') as own, Torrelque(own, queue=queue_name) as queue:
            await die(queue, 2)
            assert (await Operator(queue, on_act=heard.append).redrive(Selection())).done == 2
    finally:
        await client.acl_deluser('worker')
    assert [(act.act, act.count) for act in heard] == [('redrive', 2)]
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith(f"queue '{queue_name}': an act could not be put on record: ")
    assert line.count(f"'{queue_name}'") == 1


# Who is told


async def test_an_act_is_logged_in_one_line(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque.operate')
    await write_act(queue, 'redrive', 'ann\n', '--text \x1b[31m', 12, None)
    [record] = [record for record in caplog.records if record.name == 'torrelque.operate']
    assert record.levelno == logging.INFO
    assert record.getMessage() == f"queue '{queue.name}': redrive of 12 tasks by 'ann\\n': '--text \\x1b[31m'"


async def test_whoever_is_to_be_told_is_told_by_a_function_or_a_coroutine(queue: Torrelque) -> None:
    heard: list[Act] = []

    async def hear(act: Act) -> None:
        heard.append(act)

    for on_act in (heard.append, hear):
        operator = Operator(queue, who='ann', on_act=on_act)
        await operator.pause()
    assert shown(heard) == [('pause', 'ann', 'the queue', 0)] * 2
    assert sorted(await operator.acts(), key=lambda act: act.time) == heard


async def test_a_failure_of_whoever_is_told_is_logged(queue: Torrelque, caplog: pytest.LogCaptureFixture) -> None:
    def fail(act: Act) -> Any:
        raise LookupError('nobody')

    async def fail_later(act: Act) -> Any:
        raise LookupError('nobody')

    for on_act in (fail, fail_later):
        await Operator(queue, on_act=on_act).pause()
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.getMessage() for line in lines] == [f"queue '{queue.name}': the function on_act failed"] * 2
    assert all(line.exc_info is not None for line in lines)
    assert len(await Operator(queue).acts()) == 2


async def test_acts_of_several_queues_are_told_by_time(client: redis.asyncio.Redis, queue_name: str) -> None:
    async with Torrelque(client, queue=f'{queue_name}-a') as one, Torrelque(client, queue=f'{queue_name}-b') as other:
        operator = Operator([one, other])
        for queue in (one, other, one):
            await operator.pause(queue=queue.name)
        acts = await operator.acts()
        assert [act.queue for act in acts] == [one.name, other.name, one.name]
