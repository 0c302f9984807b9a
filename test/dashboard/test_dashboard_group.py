"""The page of a group: its figures, why it does not move, who holds its slots, its tasks in their order."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import redis.asyncio

from support.hearts import write_heart
from support.looks import FOREIGN, Html, Look
from torrelque import Torrelque

pytestmark = pytest.mark.one_server


def query_of(href: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(href).query).items()}


def part(page: Html, label: str) -> str:
    """The text of a section."""
    return ''.join(one.text for one in page.all('section') if one.attrs.get('aria-label') == label)


def tasks(page: Html) -> list[str]:
    """Ids of the tasks of the group that are shown, in order."""
    [section] = (one for one in page.all('section') if one.attrs.get('aria-label') == 'Its tasks in order')
    return [one.attrs['title'] for one in section.all('a', class_='id')]


async def test_a_group_is_to_be_named(queue: Torrelque) -> None:
    async with Look(queue) as look:
        assert 'name a group' in (await look.get('group', 400)).text
        assert 'name a group' in (await look.json('group', 400))['error']


async def test_a_group_that_has_nothing_says_so(queue: Torrelque) -> None:
    async with Look(queue) as look:
        page = await look.get('group', name='gone')
        assert page.one('h1').text == 'group gone'
        assert 'the group has no tasks' in page.text and 'No task of it is pending.' in page.text
        assert (await look.json('group', name='gone'))['group']['waiting'] == 0


async def test_a_group_that_may_go_on_shows_its_tasks_in_order(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.dashboard.pages.group.ROWS', 2)
    ids = [str(await queue.enqueue({'n': n}, group='acme', priority=0 if n else 5)) for n in range(5)]
    await queue.set_limit('acme', concurrency=7, rate=(9, 60))
    async with Look(queue) as look:
        page = await look.get('group', name='acme')
        seen = tasks(page)
        slots = 'slots, own limit1 of 7 slots are busy 1 of 7'
        for text in ('waiting5', slots, 'rate, own9/m 9 may start now', 'staterunning'):
            assert text in page.text
        assert '{"n": 0}' in page.text and '2 shown, 5 waiting' in page.text
        while 'More' in page.links:
            page = await look.get(page.links['More'])
            seen += tasks(page)
        assert sorted(seen) == sorted(ids) and len(seen) == 5
        assert seen == [task['id'] for task in (await queue_order(look))]
        assert tasks(await look.get(page.links['From the beginning'])) == seen[:2]
        await look.get('group', 400, name='acme', after='x')


async def queue_order(look: Look) -> list[dict[str, str]]:
    return (await look.json('tasks', place='group:acme'))['tasks']  # type: ignore[no-any-return]


async def test_a_group_at_its_limit_tells_who_holds_its_slots(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=2)
    await queue.enqueue_many([{'task': 'shop.send', 'args': [n], 'kwargs': {}} for n in range(4)], group='acme')
    held = [(await queue.dequeue(1))[0] for _ in range(2)]
    await queue.requeue(held[1], 60, error='KeyError: 1')
    async with Look(queue) as look:
        page = await look.get('group', name='acme')
        found = await look.json('group', name='acme')
    assert 'at-limit the group is at its limit: 2 of 2 slots are in use' in part(page, 'Why it does not move')
    holders = part(page, 'Who holds its slots')
    assert 'working shop.send' in holders and 'delayed shop.send' in holders and 'KeyError: 1' in holders
    assert [(one['id'], one['doing']) for one in found['holders']] == [(held[0], 'working'), (held[1], 'delayed')]
    assert found['reasons'][0]['code'] == 'at-limit'


async def test_workers_tell_who_holds_slots_of_a_group_below_its_limit(
    queue: Torrelque, client: redis.asyncio.Redis
) -> None:
    await queue.enqueue_many([1, 2], group='acme')
    taken, _ = await queue.dequeue(1)
    async with Look(queue) as look:
        page = await look.get('group', name='acme')
        assert ' next ' in part(page, 'Who holds its slots')
        assert '1 of 2 are told here: loops without a heartbeat are not seen.' in page.text
    await write_heart(client, queue, 'w', [taken], group='acme')
    async with Look(queue) as look:
        holders = part(await look.get('group', name='acme'), 'Who holds its slots')
    assert 'working shop.send w' in holders and 'next' in holders and 'told here' not in holders


async def test_a_group_that_is_paused_can_be_resumed_by_whoever_may(queue: Torrelque) -> None:
    await queue.enqueue_many([1], group='a*')
    await queue.pause('a*', probe=3600)
    async with Look(queue, 'all') as look:
        page = await look.get('group', name='a*')
        links = {text: query_of(href) for text, href in page.links.items()}
    assert 'paused next probe in' in page.text and 'group-paused' in page.text
    assert links['Resume'] == {'act': 'resume', 'q': queue.name, 'name': 'a*'}
    assert links['Limits'] == {'act': 'limit', 'q': queue.name, 'name': 'a*'}
    # A selection has a pattern, in which a star would be any text.
    assert links['Redrive its dead'] == {'act': 'redrive', 'q': queue.name, 'status': 'dead', 'group': 'a[*]'}
    assert links['Cancel all of it'] == {'act': 'cancel', 'q': queue.name, 'group': 'a[*]'}
    assert links['dead'] == {'q': queue.name, 'place': 'dead', 'group': 'a[*]'}
    async with Look(queue, 'limit') as look:
        links = {text: {} for text in (await look.get('group', name='a*')).links}
    assert 'Limits' in links and not {'Resume', 'Redrive its dead', 'Cancel all of it'} & {*links}


async def test_a_pause_can_be_asked_for(queue: Torrelque) -> None:
    await queue.enqueue(1, group='acme')
    async with Look(queue, 'pause') as look:
        page = await look.get('group', name='acme')
    assert query_of(page.links['Pause']) == {'act': 'pause', 'q': queue.name, 'name': 'acme'}


@pytest.mark.parametrize('name', [FOREIGN, 'g' * 300, '\x1b[2J\u202e/../%2e&q=x#'])
async def test_a_name_of_a_group_is_a_text(queue: Torrelque, client: redis.asyncio.Redis, name: str) -> None:
    call = {'task': FOREIGN, 'args': [FOREIGN], 'kwargs': {}}
    await queue.set_limit(name, concurrency=1)
    await queue.enqueue_many([call] * 2, group=name)
    taken, _ = await queue.dequeue(1)
    await queue.requeue(taken, 60, error=FOREIGN)
    await queue.enqueue(call, group=name, task_id=FOREIGN)
    async with Look(queue, 'all') as look:
        page = await look.get('group', name=name)
        assert (await look.json('group', name=name))['group']['name'] == name
        assert query_of(page.links['Limits'])['name'] == name
    assert '\x1b' not in page.source and '\u202e' not in page.source
    assert FOREIGN in part(page, 'Its tasks in order') and FOREIGN in part(page, 'Who holds its slots')
