"""The page of history: what was counted, of which time, of all functions and of one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis.asyncio

from support.looks import FOREIGN, Element, Html, Look
from torrelque import Torrelque
from torrelque.protocol.keys import BUCKETS

pytestmark = pytest.mark.one_server

SIZES = [7, 1, 0, 0, 5000, 2, 12, 3]
"""Pending, working, delayed, dead, the age of the oldest (ms), workers, slots, busy."""
CHARTS = ['Attempts', 'Run time', 'Wait', 'Pending', 'Oldest', 'Workers', 'Slots']


def counts(done: int, failed: int = 0, dead: int = 0) -> list[float]:
    """Of a function: what became of attempts, how long (ms) they ran, and how many ran how long."""
    return [done, failed, dead, 0, 100 * (done + failed), *([done + failed] + [0] * (len(BUCKETS) - 1))]


async def write(
    client: redis.asyncio.Redis, queue: Torrelque, ago: int, functions: dict[str, list[float]], kind: str = 'minute'
) -> None:
    """A record of so many minutes, or hours, ago."""
    length = {'minute': 60, 'hour': 3600}[kind]
    number = int((await client.time())[0]) // length - ago
    ran = sum(int(one[0] + one[1]) for one in functions.values())
    fields = {f'={name}': json.dumps(numbers) for name, numbers in functions.items()}
    fields |= {'*sizes': json.dumps(SIZES), '*run': json.dumps([ran]), '*wait': json.dumps([ran])}
    await client.hset(f'{queue.keys[kind]}:{number}', mapping=fields)  # type: ignore[arg-type]


def charts(page: Html) -> list[str]:
    """The names of the charts."""
    return [one.attrs['aria-label'].partition(':')[0] for one in page.all('section') if one.all('figure')]


def figures(page: Html) -> dict[str, str]:
    return {one.one('dt').text: one.one('dd').text for one in page.one('dl', class_='figures').all('div')}


def table(page: Html) -> list[Element]:
    """The rows of functions."""
    return page.one('section', aria_label='Functions').all('tr')[1:]


def rows(page: Html) -> list[str]:
    return [one.one('th').text for one in table(page)]


async def test_a_time_without_records_says_why(queue: Torrelque) -> None:
    async with Look(queue) as look:
        page = await look.get('history')
        assert 'No worker with a heartbeat has counted anything in this time.' in page.text and charts(page) == []
        assert 'No function has run in this time.' in page.text
        found = await look.json('history')
        assert (found['history'], found['functions']) == ([], [])


async def test_what_was_counted_is_told_by_figures_charts_and_functions(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    for ago in (1, 2, 30):
        await write(client, queue, ago, {'mail.send': counts(90, 10, 2), 'mail.remind': counts(30)})
    await write(client, queue, 0, {'mail.send': counts(900, 100, 20), 'mail.remind': counts(300)}, 'hour')
    async with Look(queue) as look:
        page = await look.get('history')
        assert charts(page) == CHARTS
        assert figures(page) == {
            'done': '360', 'failed': '30 7.7 %', 'dead': '6', 'done a minute': '120', 'mean run time': '100 ms',
            'run time in all': '39 s', 'most pending': '7', 'oldest at most': '5 s',
        }  # fmt: skip
        # Times of which there is no record are gaps, and none is told of them.
        assert 'no records' in page.one('section', aria_label='Attempts: how many succeeded, and failed').text
        assert all(len(one.one('table').all('tr')) == 4 for one in page.all('details', class_='behind'))
        assert [[cell.text for cell in row.all('td')][:4] for row in table(page)] == [
            ['300', '', '10 %', '6'], ['90', '', '0 %', '0'],
        ]  # fmt: skip
        found = await look.json('history')
        assert [record['length'] for record in found['history']] == [60.0] * 3


async def test_a_function_has_charts_of_its_own(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await write(client, queue, 1, {'mail.send': counts(90, 10), '': counts(5)})
    async with Look(queue) as look:
        page = await look.get('history')
        one = await look.get(page.links['mail.send'])
        assert figures(one)['done'] == '90' and charts(one) == ['Attempts']
        assert one.one('h1').text == 'History mail.send' and len(rows(one)) == 2
        # What is no call of a function has an empty name.
        rest = await look.get(page.links['no function'])
        assert figures(rest)['done'] == '5'
        assert charts(await look.get(rest.links['All functions'])) == CHARTS
        assert figures(await look.get('history', function='nobody'))['done'] == '0'


@pytest.mark.parametrize(('length', 'count'), [('1h', 1), ('8h', 2), ('3d', 1), ('14d', 2)])
async def test_a_time_is_told_by_minutes_or_by_hours(
    queue: Torrelque, client: redis.asyncio.Redis, length: str, count: int
) -> None:
    for ago in (1, 100):
        for kind in ('minute', 'hour'):
            await write(client, queue, ago, {'f': counts(1)}, kind)
    async with Look(queue) as look:
        page = await look.get('history', length=length)
        assert figures(page)['done'] == str(count) and charts(page) == CHARTS
        [chosen] = page.one('nav', class_='choice').all('a', aria_current='true')
        assert chosen.attrs['href'].endswith(f'length={length}')
        await look.get('history', 400, length='9h')


async def test_the_first_page_and_that_of_a_queue_have_bars(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    await write(client, queue, 1, {'f': counts(3, 1)})
    async with Look(queue) as look:
        assert '3 done and 1 failed' in (await look.get('')).one('svg', class_='spark').text
        assert '3 done and 1 failed' in (await look.get('queue')).one('figure').text


async def test_names_of_somebody_do_no_harm(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    hostile: dict[str, Any] = {name: counts(5) for name in (FOREIGN, 'x' * 200, 'ends\nhere\x1b[2J')}
    await write(client, queue, 1, hostile)
    async with Look(queue) as look:
        page = await look.get('history')
        assert FOREIGN in rows(page) and 'ends\\nhere\\x1b[2J' in page.text
        for name in hostile:
            assert figures(await look.get('history', function=name))['done'] == '5'
        await look.get('queue')
