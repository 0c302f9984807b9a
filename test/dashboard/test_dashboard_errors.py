"""The page of errors: what is alike, of which window, how it unfolds, and what may be done with a kind of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.looks import FOREIGN, Element, Html, Look
from torrelque import Torrelque

pytestmark = pytest.mark.one_server

TRACE = """Traceback (most recent call last):
  File "/srv/shop/mail.py", line 7, in send
    connect({0})
shop.MailError: cannot reach {0}"""


async def die(queue: Torrelque, error: str, count: int = 1, group: str | None = None, task: Any = None) -> list[str]:
    """Have some tasks die of an error."""
    task = {'task': 'shop.send', 'args': [1], 'kwargs': {}} if task is None else task
    ids = [str(await queue.enqueue(task, group=group)) for _ in range(count)]
    for _ in range(count):
        taken, _ = await queue.dequeue(1)
        assert await queue.bury(taken, error=error)
    return ids


def kinds(page: Html) -> list[Element]:
    """What can be unfolded, in order."""
    return [one for one in page.all('details') if one.attrs.get('id', '').startswith('e-')]


def query_of(href: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(href).query).items()}


async def test_nothing_has_failed(queue: Torrelque) -> None:
    async with Look(queue) as look:
        page = await look.get('errors')
        assert 'Nothing has failed.' in page.text
        assert 'Of 0 dead tasks and 0 delayed tasks: 0 errors of 0 kinds.' in page.text
        assert (await look.json('errors'))['errors']['errors'] == []


async def test_errors_that_are_alike_are_one_with_what_they_have(queue: Torrelque) -> None:
    ids = await die(queue, TRACE.format(17), 3, 'acme')
    await die(queue, 'KeyError: 7')
    await queue.enqueue({'task': 'shop.bill', 'args': [], 'kwargs': {}})
    taken, _ = await queue.dequeue(1)
    assert await queue.requeue(taken, 60, error=TRACE.format(4))
    async with Look(queue) as look:
        page = await look.get('errors')
        found = await look.json('errors')
    first, second = kinds(page)
    assert 'Of 4 dead tasks and 1 delayed task: 5 errors of 2 kinds.' in page.text
    told = '4 80 % of the errors 80 % shop.MailError mail.py:send cannot reach N'
    for text in (told, '3 dead 1 delayed', 'shop.send 3', 'acme 3'):
        assert text in first.text
    assert 'Traceback (most recent call last):' in first.one('pre').text
    assert {*ids} <= {query_of(link.attrs['href'])['id'] for link in first.all('a', class_='id')[1:]}
    assert '1 20 % of the errors 20 % KeyError N 1 dead last' in second.text
    assert [one['count'] for one in found['errors']['errors']] == [4, 1]
    assert (found['total'], found['from']) == (2, 1)


async def test_the_window_is_stated_and_more_can_be_looked_at(queue: Torrelque) -> None:
    await die(queue, 'KeyError', 3)
    async with Look(queue) as look:
        page = await look.get('errors', most=2)
        assert 'Of the newest 2 of 3 dead tasks and 0 delayed tasks: 2 errors of 1 kind.' in page.text
        link = page.links['Look at 10,000']
        assert query_of(link)['most'] == '10000'
        wider = await look.get(link)
    assert 'Of 3 dead tasks and' in wider.text
    assert 'Look at 10,000' not in wider.links


async def test_the_error_that_is_asked_for_comes_first_and_is_unfolded(queue: Torrelque) -> None:
    await die(queue, 'KeyError', 2)
    await die(queue, 'ValueError: x')
    async with Look(queue) as look:
        rare = (await look.json('errors'))['errors']['errors'][1]['fingerprint']
        assert [('open' in one.attrs) for one in kinds(await look.get('errors'))] == [False, False]
        first, second = kinds(await look.get('errors', error=rare))
    assert first.attrs['id'] == f'e-{rare}' and 'open' in first.attrs and 'open' not in second.attrs


async def test_an_error_that_is_asked_for_and_is_not_there_is_told_of(queue: Torrelque) -> None:
    await die(queue, 'KeyError')
    async with Look(queue) as look:
        page = await look.get('errors', error=FOREIGN)
    assert f'None of these errors has the fingerprint {FOREIGN}' in page.text
    assert query_of(page.links['Look among the dead tasks'])['error'] == FOREIGN


async def test_a_long_error_is_whole_where_it_is_asked_for(queue: Torrelque) -> None:
    await die(queue, TRACE.format(1) + ' ' + 'x ' * 9000 + 'end')
    async with Look(queue) as look:
        page = await look.get('errors')
        cut = kinds(page)[0].one('pre').text
        whole = kinds(await look.get(page.links['The whole of it']))[0].one('pre').text
    assert '…' in cut and cut.endswith('x x end') and len(cut) < 8100
    assert '…' not in whole and len(whole) > 18_000


async def test_more_kinds_than_fit_are_on_pages(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torrelque.dashboard.pages.errors.ROWS', 2)
    for name in 'ABCDE':
        await die(queue, f'{name}Error')
    async with Look(queue) as look:
        seen, page = [], await look.get('errors')
        while True:
            seen += [one.attrs['id'] for one in kinds(page)]
            if 'More' not in page.links:
                break
            page = await look.get(page.links['More'])
        assert len(seen) == len({*seen}) == 5
        assert len(kinds(await look.get(page.links['From the beginning']))) == 2
        # The one that is asked for is on the first page, beside two others.
        last = seen[-1].removeprefix('e-')
        assert [one.attrs['id'] for one in kinds(await look.get('errors', error=last))] == [seen[-1], *seen[:2]]
        assert seen[-1] not in (await look.get('errors', error=last, **{'from': 3})).source
        await look.get('errors', 400, **{'from': 'x'})


async def test_acts_on_a_kind_are_offered_to_whoever_may(queue: Torrelque) -> None:
    await die(queue, 'KeyError')
    async with Look(queue) as look:
        assert not [text for text in (await look.get('errors')).links if 'all of it' in text]
    async with Look(queue, 'redrive') as look:
        links = (await look.get('errors')).links
        finger = (await look.json('errors'))['errors']['errors'][0]['fingerprint']
        assert 'Cancel all of it' not in links
        asked = query_of(links['Redrive all of it'])
        assert asked == {'act': 'redrive', 'q': queue.name, 'status': 'dead', 'error': finger}
        assert query_of(links['Dead tasks']) == {'q': queue.name, 'place': 'dead', 'error': finger}
        assert len((await look.json(links['Dead tasks']))['tasks']) == 1
    async with Look(queue, 'cancel') as look:
        assert query_of((await look.get('errors')).links['Cancel all of it'])['act'] == 'cancel'


async def test_what_looks_secret_in_an_error_is_seen_by_whoever_may(queue: Torrelque) -> None:
    await die(queue, 'shop.MailError: no login by password=hunter2hunter2')
    async with Look(queue) as look:
        assert 'hunter2' not in (await look.get('errors')).source
        assert 'hunter2' not in str(await look.json('errors'))
        # The grant is looked at with each request, though answers are shared.
        look.visitor = type(look.visitor)('anna', {'payload'})
        assert 'hunter2' in (await look.get('errors')).source


async def test_names_and_errors_of_somebody_are_texts(queue: Torrelque) -> None:
    await die(queue, f'{FOREIGN}\n{FOREIGN}', group=FOREIGN, task={'task': FOREIGN, 'args': [], 'kwargs': {}})
    await queue.enqueue(1, task_id=FOREIGN)
    taken, _ = await queue.dequeue(1)
    await queue.bury(taken, error=f'Traceback (most recent call last):\n  File "{FOREIGN}.py", line 1, in {FOREIGN}\n')
    async with Look(queue, 'all') as look:
        page = await look.get('errors')
        for one in kinds(page):
            assert FOREIGN in one.one('pre').text
        assert FOREIGN in page.links and page.text.count(FOREIGN) >= 5
