"""The pages of schedules: in which order, what is told of each, which acts are offered."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque

pytestmark = pytest.mark.one_server

MAY = datetime(datetime.now(timezone.utc).year + 1, 5, 1, 9, 30, tzinfo=timezone.utc)
"""An instant that is to come."""
ACTS = ('pause-schedule', 'resume-schedule', 'fire', 'remove-schedule')


def names(page: Html) -> list[str]:
    return [one.all('a')[0].text for one in page.all('th', scope='row')]


def acts(page: Html) -> list[str]:
    """The acts that are offered, in their order."""
    return [href.partition('act=')[2].partition('&')[0] for href in hrefs(page) if href.startswith('./ask?')]


def hrefs(page: Html) -> list[str]:
    return [one.attrs.get('href', '') for one in page.all('a')]


async def test_no_schedule_is_set(queue: Torrelque) -> None:
    async with Look(queue) as look:
        assert 'No schedule is set.' in (await look.get('schedules')).text
        assert (await look.json('schedules'))['schedules']['schedules'] == []
        page = await look.get('schedule', 404, name='nope')
        assert "there is no schedule 'nope'" in page.text


async def test_schedules_are_told_in_the_order_in_which_they_fire(queue: Torrelque) -> None:
    await queue.set_schedule('late', 1, times=[MAY + timedelta(days=1)])
    await queue.set_schedule('soon', 1, times=[MAY], group='acme', overlap='allow')
    await queue.set_schedule('often', 1, every=90, source='code:mail')
    await queue.pause_schedule('late')
    async with Look(queue) as look:
        page = await look.get('schedules')
        assert names(page) == ['often', 'soon', 'late']
        often, soon, late = (one.text for one in page.all('tr')[1:])
        assert 'code:mail on ' in often and 'every 1 m 30 s' in often and 'skip, latest' in often
        assert '1 instant' in soon and 'acme' in soon
        assert 'allow, latest' in soon and ' paused ' in f'{late} '
        assert '3 of 3 shown' in page.text and acts(page) == []
        found = (await look.json('schedules'))['schedules']
        assert [one['name'] for one in found['schedules']] == names(page) and found['total'] == 3
        assert {one['payload'] for one in found['schedules']} == {None}


async def test_many_schedules_are_paged_and_found_by_the_beginning_of_their_names(queue: Torrelque) -> None:
    for n in range(105):
        await queue.set_schedule(f's{n}', n, times=[MAY + timedelta(seconds=n)])
    async with Look(queue) as look:
        first = await look.get('schedules')
        assert names(first) == [f's{n}' for n in range(100)] and '100 of 105 shown' in first.text
        second = await look.get(first.links['More'])
        assert names(second) == [f's{n}' for n in range(100, 105)] and 'More' not in second.links
        assert names(await look.get(second.links['Before'])) == names(first)
        found = await look.get('schedules', prefix='s10')
        assert names(found) == ['s10', *(f's{n}' for n in range(100, 105))] and '6 of 6 shown' in found.text
        assert 'No schedule begins with that.' in (await look.get('schedules', prefix='*')).text
        await look.get('./schedules?page=0', 400)


async def test_acts_are_offered_to_whoever_may_do_them(queue: Torrelque) -> None:
    await queue.set_schedule('on', 1, every=60)
    await queue.set_schedule('paused', 1, every=3600)
    await queue.pause_schedule('paused')
    async with Look(queue, 'schedule') as look:
        page = await look.get('schedules')
        assert acts(page) == ['pause-schedule', 'fire', 'remove-schedule', 'resume-schedule', 'fire', 'remove-schedule']
        assert acts(await look.get('schedule', name='on')) == ['pause-schedule', 'fire', 'remove-schedule']
        assert acts(await look.get('schedule', name='paused')) == ['resume-schedule', 'fire', 'remove-schedule']
        for href in [href for href in hrefs(page) if href.startswith('./ask?')]:
            [name] = [name for name in ('on', 'paused') if href.endswith(f'name={name}')]
            asked = await look.get(href)
            assert name in asked.one('h1').text and asked.fields
    async with Look(queue, 'redrive', 'cancel', 'pause', 'enqueue') as look:
        assert acts(await look.get('schedules')) == acts(await look.get('schedule', name='on')) == []


async def test_a_schedule_is_told_whole(queue: Torrelque) -> None:
    await queue.set_schedule(
        'close', {'task': 'shop.close', 'kwargs': {'month': 5, 'api_key': 'hunter2'}}, group='acme', priority=3,
        max_attempts=4, times=[MAY + timedelta(hours=n) for n in range(30)], grace=60, missed='all',
        overlap='replace',
    )  # fmt: skip
    [task_id] = await queue.fire('close')
    async with Look(queue) as look:
        page = await look.get('schedule', name='close')
        instants = [one.text for one in page.all('td') if one.text.startswith(str(MAY.year))]
        assert instants == [f'{MAY + timedelta(hours=n):%Y-%m-%d %H:%M:%S}' for n in range(10)]
        assert '30 are known, the last one is' in page.text and task_id[:13] in page.text
        facts = {one.one('dt').text: one.one('dd').text for one in page.all('dl')[1].all('div')}
        assert facts == {
            'function': 'shop.close', 'group': 'acme', 'priority': '3', 'attempts': '4 at the most', 'lease': '5 m',
            'while the one before is unfinished, it': 'cancels that one',
            'of several that are due': 'all fire, up to 1 m late',
        }  # fmt: skip
        assert '"month": 5' in page.one('pre').text and 'hunter2' not in page.source
        found = await look.json('schedule', name='close')
        assert 'hunter2' not in str(found) and found['schedule']['left'] == 30
    async with Look(queue, 'payload') as look:
        assert 'hunter2' in (await look.get('schedule', name='close')).one('pre').text


async def test_a_schedule_is_paused_resumed_fired_and_removed(queue: Torrelque) -> None:
    await queue.set_schedule('tidy', {'task': 'shop.tidy'}, times=[MAY])
    async with Look(queue, 'schedule') as look:
        for act, text in (('pause-schedule', 'It is paused'), ('resume-schedule', 'tidy'), ('fire', 'tidy')):
            assert (await look.act({'act': act, 'q': queue.name, 'name': 'tidy'})).status_code == 303
            while (await look.json('schedule', name='tidy'))['schedule']['paused'] != (act == 'pause-schedule'):
                await asyncio.sleep(0.01)
            assert text in (await look.get('schedule', name='tidy')).text
        while (await queue.get_queue_stats()).pending != 1:
            await asyncio.sleep(0.01)
        await look.act({'act': 'remove-schedule', 'q': queue.name, 'name': 'tidy'})
        while [one async for one in queue.get_schedules()]:
            await asyncio.sleep(0.01)


async def test_what_is_wrong_with_a_schedule_is_told(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await queue.set_schedule('over', 1, times=[datetime(2001, 1, 1, tzinfo=timezone.utc)], missed='none')
    await queue.set_schedule('lost', 1, every=60)
    base = queue.keys['schedules'].removesuffix('schedules')
    await client.hdel(f'{base}schedule:lost', 'payload')
    await queue.set_schedule('due', 1, every=60)
    await client.zadd(queue.keys['schedules'], {'due': 1_000_000_000_000})
    async with Look(queue, 'schedule') as look:
        page = await look.get('schedules')
        rows = {one.all('a')[0].text: one.text for one in page.all('tr')[1:]}
        assert ' broken ' in rows['lost'] and 'late' in rows['due']
        assert 'It is broken: no payload' in (lost := await look.get('schedule', name='lost')).text
        assert acts(lost) == ['remove-schedule']
        assert 'nobody sweeps' in (await look.get('schedule', name='due')).text
    await client.set(queue.keys['schedules'], 'x')
    async with Look(queue) as look:
        told = 'Schedules may be missing, because keys hold something else than they should: schedules'
        assert told in (await look.get('schedules')).text


async def test_names_of_somebody_do_no_harm(queue: Torrelque) -> None:
    for name in (FOREIGN, 'x' * 200, 'a/../b?c=d&e', 'ends\nhere\x1b[2J'):
        await queue.set_schedule(name, {'task': FOREIGN, 'x': FOREIGN}, every=60, group=FOREIGN, source=FOREIGN)
    async with Look(queue, 'all') as look:
        page = await look.get('schedules')
        assert FOREIGN in names(page) and 'ends\\nhere\\x1b[2J' in names(page)
        for href in [one.all('a')[0].attrs['href'] for one in page.all('th', scope='row')]:
            one = await look.get(href)
            assert one.one('h1').text in {FOREIGN, 'x' * 200, 'a/../b?c=d&e', 'ends\\nhere\\x1b[2J'}
            assert FOREIGN in one.text
        await look.get('schedules', prefix=FOREIGN)
        await look.json('schedule', name=FOREIGN)
