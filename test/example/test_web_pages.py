"""The web example, as its visitors know it: in a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio

from support import visiting
from support.browser import launch_or_skip
from support.servers import RealServer
from support.visiting import FAST, LIMIT, SLOW, Run, Visitor, Web

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Locator, Page

run = visiting.run


# One event loop for all, that of the browser.  What the page is sent is tested without one, on each kind of server.
pytestmark = [pytest.mark.asyncio(loop_scope='module'), pytest.mark.long, pytest.mark.one_server]


# In a browser

# Writes down what is to be seen of each task, and each text of the notice.
OBSERVE = """
window.seen = {}
window.notices = []
new MutationObserver(() => {
  const notice = document.getElementById('notice')?.textContent
  if (notice && window.notices.at(-1) !== notice) window.notices.push(notice)
  for (const task of document.querySelectorAll('.task')) {
    const view = {
      status: task.dataset.status,
      label: task.querySelector('.status').textContent,
      detail: task.querySelector('.detail').textContent,
      attempt: task.querySelector('.attempt').textContent,
      error: task.querySelector('.error').textContent,
      done: task.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') ?? null,
      width: task.querySelector('.progress .fill')?.getBoundingClientRect().width ?? null,
    }
    const views = window.seen[task.dataset.id] ??= []
    if (JSON.stringify(views.at(-1)) !== JSON.stringify(view)) views.push(view)
  }
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
"""


@pytest_asyncio.fixture(scope='module', loop_scope='module')
async def browser() -> AsyncIterator[Browser]:
    async with launch_or_skip() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope='module')
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A visitor, with pages that may have no errors."""
    context = await browser.new_context()
    context.set_default_timeout(LIMIT * 1000)
    await context.add_init_script(OBSERVE)
    errors: list[str] = []
    context.on('weberror', lambda error: errors.append(str(error.error)))
    context.on('console', lambda line: errors.append(line.text))
    try:
        yield context
        # The browser reports on its own what cannot be reached, and what is answered with an error.
        assert [error for error in errors if not error.startswith('Failed to load')] == []
    finally:
        await context.close()


async def open_page(context: BrowserContext, web: Web) -> Page:
    page = await context.new_page()
    await page.goto(f'http://127.0.0.1:{web.port}/')
    return page


async def start_on(page: Page, kind: str) -> Locator:
    """Start a task by its button; its place in the list."""
    async with page.expect_response('**/tasks?**') as answer:
        await page.locator(f'button[data-kind={kind}]').click()
    (task_id,) = (await (await answer.value).json())['ids']
    return page.locator(f'.task[data-id="{task_id}"]')


async def reaches(task: Locator, status: str) -> None:
    await task.page.locator(f'.task[data-id="{await id_of(task)}"][data-status={status}]').wait_for()


async def id_of(task: Locator) -> str:
    return str(await task.get_attribute('data-id'))


async def views_of(task: Locator) -> list[dict[str, Any]]:
    """What was to be seen of it, in its order."""
    views: list[dict[str, Any]] = await task.page.evaluate('id => window.seen[id]', await id_of(task))
    return views


async def notices_on(page: Page) -> list[str]:
    notices: list[str] = await page.evaluate('window.notices')
    return notices


def unrepeated(values: list[Any]) -> list[Any]:
    return [value for k, value in enumerate(values) if k == 0 or value != values[k - 1]]


async def test_letter_is_seen_until_it_is_delivered(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    await page.get_by_text('Nothing here yet').wait_for()
    task = await start_on(page, 'letter')
    await reaches(task, 'completed')
    assert not await page.get_by_text('Nothing here yet').is_visible()
    views = await views_of(task)
    statuses = unrepeated([view['status'] for view in views])
    assert statuses[-1] == 'completed'
    assert statuses in (['pending', 'working', 'completed'], ['working', 'completed'])
    assert re.fullmatch(r'Delivered, and signed for · \d\.\d s', views[-1]['detail'])
    assert await task.locator('button').filter(visible=True).count() == 0

    await page.get_by_role('button', name='Clear finished').click()
    await task.wait_for(state='detached')
    await page.get_by_text('Nothing here yet').wait_for()


async def test_payment_is_tried_until_it_is_dead_and_comes_back(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    task = await start_on(page, 'payment')
    await reaches(task, 'dead')
    views = await views_of(task)
    statuses = unrepeated([view['status'] for view in views if view['status'] != 'pending'])
    # What is over between two frames may not be seen, on a machine that has more to do.
    assert statuses[-1] == 'dead'
    assert set(statuses) == {'delayed', 'working', 'dead'}
    attempts = unrepeated([view['attempt'] for view in views if view['attempt']])
    assert attempts == sorted(attempts) and len(attempts) > 2
    assert attempts[-1] == 'attempt 4 of 4' and set(attempts) <= {f'attempt {number} of 4' for number in (1, 2, 3, 4)}
    assert any(re.fullmatch(r'next attempt in \d s', view['detail']) for view in views if view['status'] == 'delayed')
    assert views[-1]['error'] == 'The bank does not answer: 503 Service Unavailable'
    await page.locator('[data-status=dead] >> text="1"').wait_for()

    await task.get_by_role('button', name='Redrive').click()
    await reaches(task, 'completed')
    later = (await views_of(task))[len(views) :]
    assert {view['status'] for view in later} <= {'pending', 'working', 'completed'}
    assert later[-1]['detail'].startswith('Paid, the bank is back')
    assert later[-1]['error'] == ''
    await page.locator('[data-status=dead] >> text="0"').wait_for()


async def test_film_shows_how_far_it_is(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    task = await start_on(page, 'film')
    await reaches(task, 'completed')
    views = [view for view in await views_of(task) if view['done']]
    done = [int(view['done']) for view in views]
    assert done == sorted(done)
    assert len(set(done)) > 2
    assert all(view['detail'] == f'{view["done"]} of 240 frames' for view in views)
    widths = [view['width'] for view in views]
    assert widths[-1] > widths[0]


async def test_working_task_that_is_cancelled_is_let_go(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    # A film takes longer than what is waited for here.
    page = await open_page(context, await run('--url', server.url, '--speed', 0.5))
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    await film.get_by_role('button', name='Cancel').click()
    await reaches(film, 'cancelled')
    await page.locator('#stats [data-status=working] >> text="0"').wait_for()
    async with server.client() as client:
        assert await client.exists('{web}:working', '{web}:tasks') == 0


async def test_delayed_and_dead_tasks_can_be_cancelled(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *FAST))
    for status in ('delayed', 'dead'):
        payment = await start_on(page, 'payment')
        await reaches(payment, status)
        await payment.get_by_role('button', name='Cancel').click()
        await reaches(payment, 'cancelled')
        last = (await views_of(payment))[-1]
        assert (last['error'], last['attempt']) == ('', '')
    await page.locator('#stats [data-status=dead] >> text="0"').wait_for()
    assert await page.get_by_role('button', name=re.compile('^(Cancel|Redrive)')).count() == 0


async def test_buttons_say_why_they_had_no_effect(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, '--consumers', 0))
    task = await start_on(page, 'letter')
    await page.route('**/cancel', lambda route: route.fulfill(status=409, json={'error': 'It is finished already.'}))
    await task.get_by_role('button', name='Cancel').click()
    await page.get_by_role('alert').get_by_text('It is finished already.').wait_for()
    await page.route('**/tasks?**', lambda route: route.abort())
    await page.locator('button[data-kind=film]').click()
    await page.get_by_role('alert').get_by_text('The request did not get through.').wait_for()


async def test_reload_and_a_second_page_show_everything_live(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', server.url, '--speed', 4)
    page = await open_page(context, web)
    letter = await start_on(page, 'letter')
    payment = await start_on(page, 'payment')
    film = await start_on(page, 'film')
    await reaches(letter, 'completed')
    await reaches(payment, 'delayed')
    await film.locator('[role=progressbar]').wait_for()
    order = await page.locator('.task').evaluate_all('tasks => tasks.map(task => task.dataset.id)')
    assert order == [await id_of(task) for task in (film, payment, letter)]

    await page.reload()
    other = await open_page(context, web)
    for shown in (page, other):
        await shown.locator('.task').nth(2).wait_for()
        assert await shown.locator('.task').evaluate_all('tasks => tasks.map(task => task.dataset.id)') == order
    await reaches(letter, 'completed')
    for shown in (page, other):
        await reaches(shown.locator(f'.task[data-id="{order[0]}"]'), 'completed')
        await shown.locator(f'.task[data-id="{order[1]}"]').get_by_text(re.compile('attempt [234] of 4')).wait_for()
    views = await views_of(film)
    assert len(unrepeated([view['done'] for view in views])) > 3

    another = await start_on(other, 'letter')
    await reaches(page.locator(f'.task[data-id="{await id_of(another)}"]'), 'completed')


async def test_many_tasks_at_once(run: Run, server: RealServer, context: BrowserContext) -> None:
    page = await open_page(context, await run('--url', server.url, '--speed', 20, '--consumers', 40))
    button = page.get_by_role('button', name='Start ten')
    await button.evaluate('button => { for (let k = 0; k < 20; k++) button.click() }')
    await page.locator('.task').nth(199).wait_for()
    busy = ', '.join(f'[data-status={status}]' for status in ('pending', 'working', 'delayed'))
    await page.locator(f'#tasks:not(:has({busy}))').wait_for()
    dead = await page.locator('.task[data-status=dead]').count()
    # The figures are read a few times a second, so they may come after the tasks.
    for status, number in (('pending', 0), ('working', 0), ('delayed', 0), ('dead', dead)):
        await page.locator(f'#stats [data-status={status}] >> text="{number}"').wait_for()
    stats = await page.locator('#stats dd').all_inner_texts()
    assert stats == ['0', '0', '0', str(dead)]


# Connections that are lost


async def test_killed_connections_of_the_queue_are_not_noticed(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    page = await open_page(context, await run('--url', server.url, *SLOW))
    film, payment = await start_on(page, 'film'), await start_on(page, 'payment')
    await film.locator('[role=progressbar]').wait_for()
    with server.sync_client() as client:
        for kind in ('pubsub', 'normal'):
            assert client.execute_command('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes') > 0
            await film.get_by_text(re.compile('of 240 frames')).wait_for()
    letter = await start_on(page, 'letter')
    await reaches(letter, 'completed')
    await reaches(film, 'completed')
    await payment.get_by_text(re.compile('attempt [234] of 4')).wait_for()
    done = [int(view['done']) for view in await views_of(film) if view['done']]
    assert done == sorted(done)
    assert await notices_on(page) == []


async def test_page_goes_on_when_the_web_process_is_started_again(
    run: Run, server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', server.url, *SLOW)
    page = await open_page(context, web)
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    await web.stop()
    await page.get_by_text('Connection lost. Reconnecting…').wait_for()
    await run('--url', server.url, *FAST, port=web.port)
    await reaches(film, 'completed')
    assert await notices_on(page) == ['Connection lost. Reconnecting…']
    await page.locator('#notice').wait_for(state='hidden')
    # The attempt that the end of the process had interrupted does not count.
    assert {view['attempt'] for view in await views_of(film)} <= {'', 'attempt 1 of 4'}
    await reaches(await start_on(page, 'letter'), 'completed')


async def test_page_goes_on_when_the_server_is_back(
    run: Run, durable_server: RealServer, context: BrowserContext
) -> None:
    web = await run('--url', durable_server.url, *SLOW)
    page = await open_page(context, web)
    film = await start_on(page, 'film')
    await film.locator('[role=progressbar]').wait_for()
    durable_server.stop()
    await page.get_by_text('The server of the queue is away.').wait_for()
    await page.locator('button[data-kind=letter]').click()
    await page.get_by_role('alert').get_by_text('The server of the queue is away.').wait_for()
    # Whoever comes now is told as well.
    other = await open_page(context, web)
    await other.get_by_text('The server of the queue is away.').wait_for()
    durable_server.start()
    for shown in (page, other):
        await reaches(shown.locator(f'.task[data-id="{await id_of(film)}"]'), 'completed')
        await shown.locator('#notice').wait_for(state='hidden')


# What it looks like


async def test_page_fits_screens_and_fingers(run: Run, server: RealServer, browser: Browser) -> None:
    web = await run('--url', server.url, '--speed', 30)
    visitor = await Visitor(web).come()
    name, _, value = visitor.cookie.partition('=')
    schemes: tuple[Literal['light', 'dark'], ...] = ('light', 'dark')
    cookie: Any = {'name': name, 'value': value, 'url': f'http://127.0.0.1:{web.port}'}
    async with AsyncExitStack() as stack:
        pages = []
        for phone in (False, True):
            context = await browser.new_context(has_touch=phone, is_mobile=phone)
            stack.push_async_callback(context.close)
            await context.add_cookies([cookie])
            pages.append(await open_page(context, web))

        async def check() -> None:
            for page, widths, target in zip(pages, ((768, 1200), (320, 390)), (30, 44), strict=True):
                for width in widths:
                    await page.set_viewport_size({'width': width, 'height': 800})
                    for scheme in schemes:
                        await page.emulate_media(color_scheme=scheme)
                        await check_fit(page, width, scheme == 'light', target)

        for page in pages:
            await page.locator('#empty').wait_for()
        await check()
        await visitor.start('payment')
        await visitor.start('letter')
        for page in pages:
            await page.locator('.task[data-status=completed]').wait_for()
            error = page.locator('.task[data-status=dead] .error')
            await error.evaluate("error => { error.textContent = 'x'.repeat(999) }")
        await check()


async def check_fit(page: Page, width: int, light: bool, target: int) -> None:
    assert await page.evaluate('document.documentElement.scrollWidth') == width
    background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, re.findall(r'\d+', background))) > 380) == light
    buttons = await page.locator('button:visible, a:visible').evaluate_all("""
        targets => targets.map((target) => {
          const { left, right, width, height } = target.getBoundingClientRect()
          return { left, right, width, height, name: target.ariaLabel ?? target.innerText }
        })""")
    assert len(buttons) >= 5
    for button in buttons:
        assert button['name']
        assert min(button['width'], button['height']) >= target, button
        assert 0 <= button['left'] < button['right'] <= width, button
