"""The page of groups: which come first, how one is found, how old the survey is."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque

pytestmark = pytest.mark.one_server


async def fill(queue: Torrelque, **counts: int) -> None:
    """Tasks in groups, as many as each is to have."""
    for name, count in counts.items():
        await queue.enqueue_many(range(count), group=name)
        # Groups whose first tasks came in one millisecond are equally old.
        await asyncio.sleep(0.002)


def names(page: Html) -> list[str]:
    """The groups that are shown, in order."""
    rows = [one for one in page.all('th') if one.attrs.get('scope') == 'row']
    return [one.all('a')[0].text for one in rows]


def query_of(href: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(href).query).items()}


async def test_no_group_has_a_task(queue: Torrelque) -> None:
    async with Look(queue) as look:
        page = await look.get('groups')
        assert 'No group has a task.' in page.text
        assert (await look.json('groups'))['groups']['groups'] == []


async def test_groups_are_told_with_their_figures(queue: Torrelque) -> None:
    await fill(queue, acme=4, initech=2)
    await queue.set_limit(concurrency=3)
    await queue.set_limit('acme', concurrency=2, rate=(5, 60))
    await queue.pause('initech')
    await queue.dequeue(1)
    async with Look(queue) as look:
        page = await look.get('groups')
        found = (await look.json('groups'))['groups']
    acme, initech = (one.text for one in page.all('tr')[1:])
    assert acme.startswith('acme 3 ') and '2 of 2 5/m 4 own' in acme
    assert initech.startswith('initech paused 2 ') and ' 1 of 3 ' in initech and initech.endswith(' default')
    assert page.all('svg', class_='slots')[0].text == '2 of 2 slots are busy'
    assert '2 groups have tasks, or slots in use; the survey is' in page.text
    assert [(one['name'], one['waiting']) for one in found['groups']] == [('acme', 3), ('initech', 2)]


async def test_groups_come_in_the_order_that_is_asked_for(queue: Torrelque) -> None:
    await fill(queue, b=1, c=4, a=2)
    for _ in range(2):
        await queue.dequeue(1)
    async with Look(queue) as look:
        assert names(await look.get('groups')) == ['c', 'a', 'b']
        assert names(await look.get('groups', by='oldest')) == ['c', 'a', 'b']
        assert names(await look.get('groups', by='slots')) == ['c', 'a', 'b']
        page = await look.get('groups', by='name')
        assert names(page) == ['a', 'b', 'c']
        await look.get('groups', 400, by='colour')
    assert query_of(page.links['most waiting']) == {'by': 'waiting'}


async def test_a_group_is_found_by_a_part_of_its_name_or_a_pattern(queue: Torrelque) -> None:
    await fill(queue, **{'acme': 1, 'acme-eu': 1, 'a*': 1, 'a[b]?': 1, 'initech': 1})
    async with Look(queue) as look:
        for find, found in {
            'acme': ['acme', 'acme-eu'], 'cm': ['acme', 'acme-eu'], 'acme*': ['acme', 'acme-eu'],
            '*-eu': ['acme-eu'], 'a*e*u': ['acme-eu'], '[b]?': ['a[b]?'], '[ab]': [], ' init ': ['initech'],
        }.items():  # fmt: skip
            page = await look.get('groups', by='name', find=find)
            assert names(page) == found, find
        assert 'No group fits.' in (await look.get('groups', find='no')).text
        assert 'Open the group acme' not in (await look.get('groups', find='acme')).links
        page = await look.get('groups', find='gone')
        link = page.links['Open the group gone']
    assert query_of(link) == {'q': queue.name, 'name': 'gone'} and link.startswith('./group?')


async def test_one_survey_serves_all_who_look(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(queue, acme=2)
    async with Look(queue) as look:
        first = (await look.json('groups'))['groups']
        await fill(queue, acme=1)
        for query in ({'by': 'oldest'}, {'find': 'acme'}, {'again': 1}):
            found = (await look.json('groups', **query))['groups']
            assert (found['server_time'], found['groups'][0]['waiting']) == (first['server_time'], 2), query
        # A survey is made anew every few seconds at the most.
        monkeypatch.setattr('torrelque.dashboard.pages.groups.AGAIN', 0.0)
        link = (await look.get('groups')).links['New survey']
        await look.get(link)
        assert (await look.json('groups'))['groups']['groups'][0]['waiting'] == 3


async def test_a_page_that_stays_up_to_date_does_not_ask_for_a_new_survey_each_time(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    async with Look(queue) as look:
        sampler = look.dashboard._site.sampler
        follow = sampler.follow

        def listen(name: tuple[object, ...], *rest: object) -> object:
            asked.extend(str(one) for one in name)
            sampler.close()
            return follow(name, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(sampler, 'follow', listen)
        page = await look.get('groups', by='name', again=1)
        await look.client.get(page.one('body').attrs['data-live'])
    assert "('by', 'name')" in asked and "('again', '1')" not in asked


async def test_more_groups_than_are_kept_are_looked_at_for_each_question(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(queue, b=1, c=3, a=2)
    monkeypatch.setattr('torrelque.dashboard.visit.KEPT', 2)
    async with Look(queue) as look:
        assert names(await look.get('groups')) == ['c', 'a', 'b']
        assert names(await look.get('groups', by='name', find='*')) == ['a', 'b', 'c']


async def test_only_the_first_groups_are_shown(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torrelque.dashboard.pages.groups.ROWS', 2)
    await fill(queue, b=1, c=3, a=2)
    async with Look(queue) as look:
        page = await look.get('groups')
    assert names(page) == ['c', 'a']
    assert 'The first 2 of 3 groups are shown; others are found by their names.' in page.text


async def test_limits_of_all_are_changed_by_whoever_may(queue: Torrelque) -> None:
    async with Look(queue, 'limit') as look:
        assert query_of((await look.get('groups')).links['Limits of all groups']) == {'act': 'limit', 'q': queue.name}
    async with Look(queue, 'pause') as look:
        assert 'Limits of all groups' not in (await look.get('groups')).links


async def test_names_of_groups_are_texts(queue: Torrelque) -> None:
    long = 'g' * 300
    await fill(queue, **{FOREIGN: 2, long: 1, '\x1b[2J\u202e': 1})
    async with Look(queue, 'all') as look:
        page = await look.get('groups', find='')
        assert names(page)[0] == FOREIGN and query_of(page.links[FOREIGN])['name'] == FOREIGN
        assert {one[:199] for one in names(page)} >= {'g' * 199}
        assert '\x1b' not in page.source and '\u202e' not in page.source
        assert names(await look.get('groups', find=FOREIGN)) == [FOREIGN]
        assert 'No group fits.' in (await look.get('groups', find=f'*{FOREIGN}x*')).text
