"""The pages of the dashboard in a browser: how they look in each colour and width, for whoever sees, hears or types."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped, unused-ignore]

from support.browser import launch_or_skip
from support.serving import serving
from torrelque.dashboard import GRANTS, Dashboard, Visitor
from torrelque.dashboard.demo import Demo
from torrelque.operate import Operator

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

# One event loop for all, that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope='module'), pytest.mark.long, pytest.mark.one_server]

PAGES = {
    'overview': '', 'queue': 'queue?q=media', 'tasks': 'tasks?q=mail&place=dead', 'task': 'task?q={queue}&id={waiting}',
    'dead task': 'task?q=mail&id={dead}', 'errors': 'errors?q=mail', 'groups': 'groups?q=media',
    'group': 'group?q=media&name=globex', 'workers': 'workers', 'schedules': 'schedules?q=mail',
    'history': 'history?q=mail&length=8h', 'flows': 'flows?q=report', 'acts': 'acts', 'lost': 'nowhere',
    'ask': 'ask?act=redrive&q=mail&status=dead', 'pause': 'ask?act=pause&q=mail',
}  # fmt: skip
"""A page of each kind, of the demo."""
CONTRAST = {'runOnly': {'type': 'rule', 'values': ['color-contrast']}}
SIZES = {'runOnly': {'type': 'rule', 'values': ['color-contrast', 'target-size', 'link-name', 'button-name', 'label']}}
LIMIT = 60
"""s after which something that is waited for is missing."""


class Site:
    """The demo, its dashboard, and a browser."""

    def __init__(self, browser: Browser, url: str, words: dict[str, str]) -> None:
        self.browser = browser
        self.url = url
        self._words = words

    def address(self, page: str) -> str:
        return f'{self.url}/{PAGES[page].format(**self._words)}'

    async def open(self, page: str, **options: Any) -> tuple[Page, list[str]]:
        """A page, and what the browser complains about from now on."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(LIMIT * 1000)
        opened = await context.new_page()
        errors: list[str] = []
        opened.on('pageerror', lambda error: errors.append(str(error)))
        opened.on('console', lambda line: errors.append(line.text))
        opened.on('request', lambda it: errors.extend([] if it.url.startswith((self.url, 'data:')) else [it.url]))
        await opened.goto(self.address(page))
        return opened, errors


@pytest_asyncio.fixture(scope='module', loop_scope='module')
async def site() -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(launch_or_skip())
        demo = await stack.enter_async_context(Demo())
        dashboard = Dashboard(demo.queues, permit=lambda _: Visitor('anna', GRANTS))
        stack.push_async_callback(dashboard.aclose)
        url = await stack.enter_async_context(serving(dashboard))
        mail, _, media = (Operator(queue) for queue in demo.queues)
        [waiting, *_] = await media.page('group:globex', most=1)
        while not (found := await mail.page('dead', most=1)).tasks:
            await asyncio.sleep(0.05)
        [dead] = found
        yield Site(browser, url, {'queue': 'media', 'waiting': waiting.id, 'dead': dead.id})


@pytest.mark.parametrize('name', PAGES)
async def test_page_is_good_for_whoever_sees_it_or_hears_it(site: Site, name: str) -> None:
    page, errors = await site.open(name, viewport={'width': 1280, 'height': 800}, color_scheme='light')
    await page.locator('h1').wait_for()
    assert await page.locator('h1').count() == 1
    # All rules once; what colours and widths decide again for these.
    looks: tuple[tuple[int, Literal['light', 'dark'], Any], ...] = (
        (1280, 'light', {}), (1280, 'dark', CONTRAST), (360, 'dark', CONTRAST), (360, 'light', SIZES),
    )  # fmt: skip
    for width, scheme, options in looks:
        await page.set_viewport_size({'width': width, 'height': 800})
        await page.emulate_media(color_scheme=scheme)
        # It may be as wide as the window; what is wider scrolls in its own place.
        assert await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), (width, scheme)
        found = await Axe().run(page, options={'resultTypes': ['violations'], **options})
        assert [
            (it['id'], [node['target'] for node in it['nodes']][:5]) for it in found.response['violations']
        ] == [], (width, scheme)
    assert [error for error in errors if '404' not in error or name != 'lost'] == []
    await page.context.close()


@pytest.mark.parametrize('name', PAGES)
@pytest.mark.share(2)
async def test_page_needs_no_script(site: Site, name: str) -> None:
    page, errors = await site.open(name, java_script_enabled=False)
    text = await page.locator('main').inner_text()
    assert len(text) > 20
    # What needs a script is not there without one.
    assert await page.locator('button.copy:visible, #pause:visible, #theme:visible').count() == 0
    if name not in ('lost', 'ask', 'pause', 'history'):
        assert await page.get_by_role('link', name='again').count() == 1
    await page.context.close()
    assert [error for error in errors if '404' not in error] == []


async def test_all_can_be_reached_by_keys(site: Site) -> None:
    page, _ = await site.open('overview')
    await page.keyboard.press('Tab')
    assert await page.evaluate('document.activeElement.textContent') == 'Skip to content'
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    assert await page.evaluate("Boolean(document.activeElement.closest('main'))")
    await page.locator('summary', has_text='all queues').focus()
    await page.keyboard.press('Enter')
    await page.get_by_role('link', name='report', exact=True).first.wait_for()
    await page.keyboard.press('Escape')
    assert await page.locator('details.menu[open]').count() == 0
    assert await page.evaluate('document.activeElement.tagName') == 'SUMMARY'
    await page.context.close()


async def test_colours_can_be_chosen_and_stay(site: Site) -> None:
    page, _ = await site.open('overview', color_scheme='light')
    colour = 'getComputedStyle(document.body).backgroundColor'
    light = await page.evaluate(colour)
    await page.get_by_role('button', name='Dark or light').click()
    dark = await page.evaluate(colour)
    assert dark != light
    await page.goto(site.address('queue'))
    assert await page.evaluate(colour) == dark
    await page.context.close()


async def test_pages_have_titles_of_their_own(site: Site) -> None:
    page, _ = await site.open('overview')
    titles = []
    for name in PAGES:
        await page.goto(site.address(name))
        titles.append(await page.title())
    assert all(re.search(r'.+ · Queues$', title) for title in titles), titles
    assert len({*titles}) >= len(titles) - 1
    await page.context.close()
