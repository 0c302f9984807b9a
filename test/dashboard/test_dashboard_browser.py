"""The dashboard as its visitors know it: pages that stay up to date, stand still, and act; in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from support.browser import launch_or_skip
from support.looks import FOREIGN
from support.servers import RealServer
from support.serving import serving
from torrelque import Torrelque
from torrelque.dashboard import GRANTS, Dashboard, Visitor, live
from torrelque.operate import Operator

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

# One event loop for all, that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope='module'), pytest.mark.long, pytest.mark.one_server]

LIMIT = 90
"""s after which something that is waited for is missing."""


@pytest_asyncio.fixture(scope='module', loop_scope='module')
async def browser() -> AsyncIterator[Browser]:
    async with launch_or_skip() as browser:
        yield browser


class World:
    """A queue, its dashboard, and pages that are open."""

    def __init__(self, queue: Torrelque, browser: Browser) -> None:
        self.queue = queue
        self.browser = browser
        self.visitor: Visitor | None = Visitor('anna', GRANTS)
        self.dashboard = Dashboard(queue, permit=lambda _: self.visitor, title='World')
        self.url = ''
        self.streams: list[str] = []

    async def open(self, path: str = 'queue', page: Page | None = None) -> Page:
        if page is None:
            context = await self.browser.new_context()
            context.set_default_timeout(LIMIT * 1000)
            page = await context.new_page()
            page.on('request', lambda it: self.streams.extend([it.url] if 'live?' in it.url else []))
        await page.goto(f'{self.url}/{path}')
        return page


@pytest_asyncio.fixture(loop_scope='module')
async def world(browser: Browser, shared_server: RealServer) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(shared_server.client())
        await client.flushall()
        queue = Torrelque(client, queue='world')
        stack.push_async_callback(queue.aclose)
        world = World(queue, browser)
        stack.push_async_callback(world.dashboard.aclose)
        world.url = await stack.enter_async_context(serving(world.dashboard))
        yield world
        for context in browser.contexts:
            await context.close()


def place(page: Page, status: str) -> Locator:
    """The figure of a place on the page of a queue."""
    return page.locator(f'.places [data-status={status}] b')


async def see(locator: Locator, text: str) -> None:
    await locator.filter(has_text=text).first.wait_for()


async def is_live(page: Page) -> None:
    await page.locator('#notice[data-state=live]').wait_for()


# What stays up to date


async def test_page_tells_what_has_changed(world: World) -> None:
    page = await world.open()
    await is_live(page)
    assert await place(page, 'pending').text_content() == '0'
    await world.queue.enqueue(1)
    await see(place(page, 'pending'), '1')


async def test_whoever_may_not_look_any_more_is_told(world: World) -> None:
    page = await world.open()
    await is_live(page)
    anna, world.visitor = world.visitor, None
    # The stream of before ends by itself; a tab that is looked at again opens another.
    await page.evaluate("dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('pageshow'))")
    await see(page.locator('#notice'), 'you may not look any more')
    world.visitor = anna
    await is_live(page)


async def test_page_of_a_task_follows_it_to_its_end(world: World) -> None:
    task_id = await world.queue.enqueue(1)
    page = await world.open(f'task?id={task_id}')
    await see(page.locator('.status').first, 'pending')
    got, _ = await world.queue.dequeue()
    await see(page.locator('.status').first, 'working')
    await world.queue.bury(got, error='Traceback\nValueError: no')
    await see(page.locator('.status').first, 'dead')
    await see(page.locator('.line'), 'ValueError: no')


async def test_pause_stands_still_and_goes_on(world: World) -> None:
    page = await world.open()
    await is_live(page)
    await page.get_by_role('button', name='pause').click()
    await see(page.locator('#notice'), 'paused')
    await world.queue.enqueue(1)
    other = await world.open()
    await see(place(other, 'pending'), '1')
    assert await place(page, 'pending').text_content() == '0'
    await page.get_by_role('button', name='go on').click()
    await see(place(page, 'pending'), '1')


async def test_nothing_moves_while_text_is_selected(world: World) -> None:
    page = await world.open()
    await is_live(page)
    await page.evaluate('getSelection().selectAllChildren(document.querySelector("h1"))')
    await see(page.locator('#notice'), 'text is selected')
    await world.queue.enqueue(1)
    other = await world.open()
    await see(place(other, 'pending'), '1')
    assert await place(page, 'pending').text_content() == '0'
    await page.evaluate('getSelection().removeAllRanges()')
    await see(place(page, 'pending'), '1')


async def test_nothing_moves_while_tasks_are_chosen_or_a_menu_is_open(world: World) -> None:
    first = await world.queue.enqueue(1)
    page = await world.open('tasks?place=pending')
    await is_live(page)
    await page.locator(f'input[name=id][value="{first}"]').check()
    await see(page.locator('#notice'), 'tasks are chosen')
    second = await world.queue.enqueue(2)
    other = await world.open('tasks?place=pending')
    await other.locator(f'input[value="{second}"]').wait_for()
    assert await page.locator('.pick input[name=id]').count() == 1
    await page.locator('#all').check()
    await page.locator('#all').uncheck()
    await page.locator(f'input[value="{second}"]').wait_for()


async def hide(page: Page, hidden: bool) -> None:
    """Have a page believe that its tab is hidden, which a headless browser never does."""
    await page.evaluate(
        '''hidden => {
          Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
          document.dispatchEvent(new Event('visibilitychange'))
        }''',
        hidden,
    )


async def test_a_hidden_tab_has_no_stream(world: World) -> None:
    page = await world.open()
    await is_live(page)
    sampler = world.dashboard._site.sampler
    await hide(page, True)
    while sampler._streams:
        await asyncio.sleep(0.01)
    await world.queue.enqueue(1)
    count = len(world.streams)
    await hide(page, False)
    await see(place(page, 'pending'), '1')
    assert len(world.streams) == count + 1


async def test_a_stream_that_ends_is_opened_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, 'LENGTH', 2.5)
    page = await world.open()
    while len(world.streams) < 3:
        await asyncio.sleep(0.05)
    await world.queue.enqueue(1)
    await see(place(page, 'pending'), '1')
    assert len({*world.streams}) == 1


async def test_back_shows_the_page_as_it_is_now(world: World) -> None:
    page = await world.open()
    await is_live(page)
    await page.get_by_role('link', name='Tasks', exact=True).click()
    await page.get_by_role('heading', name='Tasks').wait_for()
    await world.queue.enqueue(1)
    await page.go_back()
    await see(place(page, 'pending'), '1')
    await is_live(page)


async def test_ages_are_counted_on(world: World) -> None:
    await world.queue.enqueue(1)
    page = await world.open()
    age = page.locator('.figures time').first
    first = await age.text_content()
    while await age.text_content() == first:
        await asyncio.sleep(0.05)


# Acts


async def test_a_queue_is_paused_and_resumed_and_it_is_told_who_did_it(world: World) -> None:
    page = await world.open()
    await page.get_by_role('link', name='Pause', exact=True).click()
    await page.get_by_role('button', name='Pause', exact=True).click()
    await page.wait_for_url('**/done?*')
    await world.open(page=page)
    await see(page.locator('#live-state'), 'paused')
    await see(page.locator('main'), 'by anna')
    await page.get_by_role('link', name='Resume', exact=True).first.click()
    await page.get_by_role('button', name='Resume', exact=True).click()
    await page.wait_for_url('**/done?*')
    await world.open('acts', page)
    rows = page.locator('tbody tr')
    await see(rows.nth(0), 'resume')
    await see(rows.nth(1), 'pause')
    await see(rows.nth(1), 'anna')


async def kill(queue: Torrelque, count: int, error: str) -> None:
    for number in range(count):
        await queue.enqueue(number)
        got, _ = await queue.dequeue()
        await queue.bury(got, error=error)


async def test_one_kind_of_failure_is_redriven(world: World) -> None:
    await kill(world.queue, 3, 'Traceback (most recent call last):\nValueError: no')
    await kill(world.queue, 2, 'Traceback (most recent call last):\nOSError: away')
    page = await world.open('errors')
    await page.locator('details', has_text='ValueError').locator('summary').first.click()
    await page.locator('details', has_text='ValueError').get_by_role('link', name='Redrive').first.click()
    await see(page.locator('h1, main'), '3')
    await page.get_by_role('button', name='Redrive', exact=True).click()
    await page.wait_for_url('**/done?*')
    stats = await world.queue.get_queue_stats()
    assert (stats.dead, stats.pending) == (2, 3)


async def test_a_button_that_is_pressed_twice_acts_once(world: World) -> None:
    task_id = await world.queue.enqueue(1)
    page = await world.open(f'task?id={task_id}')
    await page.get_by_role('link', name='Enqueue a copy').click()
    await page.locator('main form[method=post] button').first.dblclick()
    await page.wait_for_url('**/done?*')
    assert (await world.queue.get_queue_stats()).pending == 2


async def test_a_page_that_comes_back_as_it_was_left_can_be_sent(world: World) -> None:
    page = await world.open('ask?act=pause')
    await page.evaluate(
        '''() => {
          const form = document.querySelector('form[method=post]')
          addEventListener('submit', event => event.preventDefault(), true)
          form.requestSubmit()
        }'''
    )
    await page.locator('main form[method=post] button:disabled').wait_for()
    # A browser without a window keeps no page, so it is told that this one was kept.
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await page.locator('main form[method=post] button:enabled').wait_for()


async def test_whoever_may_only_look_sees_no_button(world: World) -> None:
    await kill(world.queue, 1, 'ValueError: no')
    await world.queue.enqueue(1)
    world.visitor = Visitor('bela')
    page = await world.open()
    for path in ('', 'queue', 'tasks?place=pending', 'tasks?place=dead', 'errors', 'groups', 'schedules', 'flows'):
        await world.open(path, page)
        assert await page.locator('a[href*="./ask"], form[method=post], button[name=act]').count() == 0, path
    await world.open('ask?act=pause', page)
    await see(page.locator('h1'), 'Not allowed')


async def test_a_page_of_another_site_can_do_nothing(world: World) -> None:
    await kill(world.queue, 1, 'ValueError: no')
    done: list[int] = []

    async def evil(scope: Any, receive: Any, send: Any) -> None:
        body = (
            f'<form method=post action="{world.url}/act"><input name=query value="act=pause">'
            '<input name=number value=1><button>win</button></form>'
        ).encode()
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/html')]})
        await send({'type': 'http.response.body', 'body': body})

    async with serving(evil) as url:
        context = await world.browser.new_context()
        page = await context.new_page()
        page.on('response', lambda it: done.extend([it.status] if it.request.method == 'POST' else []))
        # Another port of this machine is the same site, and another origin; another name is another site.
        for host in (url, url.replace('127.0.0.1', 'localhost')):
            await page.goto(host)
            await page.get_by_role('button', name='win').click()
            await see(page.locator('main'), 'Nothing was done')
        await context.close()
    assert done == [403, 403]
    [overview] = await Operator(world.queue).overviews()
    assert not overview.paused


# What goes wrong


async def test_a_server_that_is_away_is_told_and_comes_back(world: World) -> None:
    page = await world.open()
    await is_live(page)
    client: Any = world.queue.client
    # It answers nobody for a while, as one that has stopped.
    await client.execute_command('CLIENT', 'PAUSE', 8000, 'ALL')
    await page.locator('#notice[data-state=away]').wait_for()
    await is_live(page)


async def test_markup_in_names_payloads_and_errors_stays_text(world: World) -> None:
    task_id = await world.queue.enqueue({FOREIGN: FOREIGN}, task_id=FOREIGN, group=FOREIGN)
    got, _ = await world.queue.dequeue()
    await world.queue.bury(got, error=f'Traceback\n{FOREIGN}: {FOREIGN}')
    page = await world.open()
    alarms: list[str] = []
    page.on('dialog', lambda it: alarms.append(it.message))
    page.on('console', lambda it: alarms.append(it.text))
    for link in ('', 'queue', 'tasks?place=dead', 'errors', 'groups'):
        await world.open(link, page)
        await is_live(page)
        assert await page.locator('main img, main script').count() == 0
    await world.open('tasks?place=dead', page)
    await page.locator('tbody th a').click()
    await see(page.locator('main'), FOREIGN)
    assert alarms == [] and task_id == FOREIGN


async def test_five_open_pages_do_not_hold_up_a_server_that_is_to_stop(
    browser: Browser, shared_server: RealServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Streams that ended by themselves would outlast the test.
    monkeypatch.setattr(live, 'LENGTH', 10_000.0)
    async with shared_server.client() as client:
        queue = Torrelque(client, queue='world')
        world = World(queue, browser)
        async with serving(world.dashboard) as world.url:
            pages = [await world.open(path) for path in ('queue', 'tasks', 'errors', 'workers', 'acts')]
            for page in pages:
                await is_live(page)
        for page in pages:
            await page.locator('#notice[data-state=away]').wait_for()
        await world.dashboard.aclose()
        await queue.aclose()
    for context in browser.contexts:
        await context.close()
