"""The page of acts, what stands in forms, and what is told when the server is away."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from support.bounding import Bound
from support.burying import die
from support.looks import FOREIGN, Look
from support.proxy import Proxy, calls_of
from torrelque import Torrelque, TorrelqueValueError
from torrelque.dashboard.doing import MOST, Doing, Doings
from torrelque.dashboard.fields import (
    KEEP,
    Field,
    read_concurrency,
    read_fields,
    read_pace,
    read_probe,
    read_rate,
    read_reason,
    spell,
)
from torrelque.dashboard.reads import Reads
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server


# The page


async def test_acts_are_shown_the_newest_first_a_page_at_a_time(queue: Torrelque) -> None:
    for number in range(60):
        await Operator(queue, who=f'who-{number % 2}').record('enqueue', f'task {number}', number)
    async with Look(queue) as look:
        page = await look.get('acts')
        rows = [one.text for one in page.all('td', data_label='On what')]
        assert rows == [f'task {number}' for number in reversed(range(10, 60))]
        assert '50 shown, 60 on record' in page.text and 'Newer' not in page.links
        page = await look.get(page.links['Older'])
        assert page.all('td', data_label='On what')[-1].text == 'task 0' and 'Older' not in page.links
        assert page.links['Newer'] == './acts'
        found = await look.json('acts', who='WHO-1', what='task 5', act='enqueue')
        assert [act['count'] for act in found['acts']] == [59, 57, 55, 53, 51, 5] and found['total'] == 6
        page = await look.get('acts', who='nobody')
        assert 'None of 60 acts matches.' in page.text and page.links['Clear'] == './acts'
        assert 'There are no more.' in (await look.get('acts', nth=7)).text
        await look.get('acts', 400, nth='x')


async def test_where_nobody_did_anything_it_says_so(queue: Torrelque) -> None:
    async with Look(queue) as look:
        assert 'No act is on record.' in (await look.get('acts')).text
        assert await look.json('acts') == {'acts': [], 'total': 0}


async def test_texts_of_acts_are_texts(queue: Torrelque) -> None:
    await Operator(queue, who=FOREIGN).record(FOREIGN, f'{FOREIGN} token=4f1a9c02aabbccdd\n\x1b[31m', 10**15)
    async with Look(queue) as look:
        page = await look.get('acts')
        assert page.text.count('<script>alert(1)</script>') >= 3 and '1,000,000,000,000,000' in page.text
        assert [one['act'] for one in (await look.json('acts'))['acts']] == [FOREIGN]


async def test_acts_of_several_queues_stand_together_and_name_theirs(queue: Torrelque) -> None:
    async with Torrelque(queue.client, queue=f'{queue.name}-b') as other, Look([queue, other], 'pause') as look:
        for one in (queue, other):
            response = await look.act({'act': 'pause', 'q': one.name})
            assert response.status_code == 303
            assert f'Queue {one.name} is paused.' in (await look.get(response.headers['location'])).text
        assert [one.text for one in (await look.get('acts')).all('td', data_label='Queue')] == [other.name, queue.name]
        assert len((await look.json('acts', q=other.name))['acts']) == 1
        await look.get('ask', 400, act='pause')


# Fields


@pytest.mark.parametrize(('read', 'text', 'meant'), [
    (read_pace, '', None), (read_pace, '50', 50), (read_pace, '50/s', 50), (read_pace, '120/m', 2),
    (read_pace, '5 / 10 s', 0.5), (read_pace, '1/9d', 0.001),
    (read_probe, '', None), (read_probe, '30s', 30), (read_probe, '2h', 7200),
    (read_reason, '', None), (read_reason, FOREIGN, FOREIGN),
    (read_concurrency, '', KEEP), (read_concurrency, '3', 3), (read_concurrency, 'none', math.inf),
    (read_concurrency, 'default', None),
    (read_rate, '', KEEP), (read_rate, '5/10s', (5, 10)), (read_rate, '100/m', (100, 60)), (read_rate, 'default', None),
    (read_rate, 'none', math.inf),
])  # fmt: skip
def test_what_stands_in_a_field_is_read(read: Callable[[str], Any], text: str, meant: Any) -> None:
    assert read(text) == meant


@pytest.mark.parametrize('text', ['0', '-1', 'x', '٣', '1/0s', '1/x', '9' * 11, '\udcff', '0/s', '1//s', 'None'])
@pytest.mark.parametrize('read', [read_pace, read_probe, read_concurrency, read_rate])
def test_what_cannot_be_meant_is_refused(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(TorrelqueValueError, match='this '):
        read(text)


def test_all_that_is_wrong_with_a_form_is_told_at_once() -> None:
    fields = (Field('rate', '', read_pace), Field('probe', '', read_probe), Field('reason', '', read_reason))
    found, wrong = read_fields(fields, {'rate': ' 5 ', 'probe': 'x', 'reason': 'x' * 1001})
    assert found == {'rate': 5} and {*wrong} == {'probe', 'reason'}


@pytest.mark.parametrize('value', [None, math.inf, 3, (50, 1), (100, 60), (5, 10), (3, 7200), (1, 0.5), (2, 86400)])
def test_a_limit_is_written_as_it_is_read(value: Any) -> None:
    read = read_rate if isinstance(value, tuple) else read_concurrency
    assert read(spell(value)) == value


# What goes wrong


async def test_a_server_that_goes_away_during_an_act_is_told_with_what_was_done(
    bound: Bound, proxy: Proxy, queue_name: str, queue: Torrelque
) -> None:
    bound(repeat=1.0)
    await die(queue, 40)
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as far:
        async with Look(far, 'redrive') as look:
            there = (await look.act({'act': 'redrive', 'status': 'dead'}, rate='20/s')).headers['location']
            proxy.refusing = True
            proxy.cut()
            [doing] = look.dashboard._site.doings.running()
            assert doing.task is not None
            await doing.task
            assert doing.state == 'failed' and 'went away' in doing.error
            proxy.refusing = False
            page = await look.get(there)
            assert 'failed by anna' in page.text and 'went away' in page.text
            outcome = (await look.json(there))['outcome']
    assert 0 < outcome['done'] <= 40 - (await queue.get_queue_stats()).dead < 40


async def test_what_the_server_refuses_is_told(proxy: Proxy, queue_name: str, queue: Torrelque) -> None:
    await queue.enqueue(1)
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as far, Look(far, 'cancel') as look:
        query = {'act': 'cancel', 'status': 'pending'}
        fields = (await look.get('ask', **query)).fields
        proxy.spoil(calls_of('cancel')[0], b'-MISCONF the disk is full\r\n')
        proxy.spoil(calls_of('cancel')[1], b'-MISCONF the disk is full\r\n')
        response = await look.post(query, {'number': fields['number']})
        page = await look.get(response.headers['location'])
        assert 'failed by anna' in page.text and 'the disk is full' in page.text
    assert await Operator(queue).acts() == []


# What is remembered


async def test_acts_that_have_ended_are_forgotten_where_there_are_too_many_and_others_are_not() -> None:
    doings = Doings()
    first = Doing('first', 'pause', 'mail', 'anna', 'Pause')
    doings.add(first)
    for number in range(MOST + 5):
        doing = Doing(f'{number}', 'pause', 'mail', 'anna', 'Pause')
        doing.ended = 1.0
        doings.add(doing)
    assert 'first' in doings and f'{MOST + 4}' in doings and '5' not in doings
    assert doings.running() == doings.running('mail') == [first] and doings.running('other') == []


async def test_an_answer_that_was_on_its_way_when_something_changed_is_not_kept() -> None:
    reads, value, begun, going = Reads(), 'old', asyncio.Event(), asyncio.Event()

    async def read() -> str:
        found = value
        begun.set()
        await going.wait()
        return found

    before = asyncio.ensure_future(reads.get('name', 60, read))
    await begun.wait()
    value = 'new'
    reads.forget()
    going.set()
    after = asyncio.ensure_future(reads.get('name', 60, read))
    assert [await before, await after, await reads.get('name', 60, read)] == ['old', 'new', 'new']
    await reads.aclose()
