"""A headless Chromium for the pages, driven by Playwright; and the pictures of the web example in the documentation.

    python test/support/browser.py      # makes docs/image/web-light.png and web-dark.png anew

`TORRELQUE_CHROMIUM` names the browser's binary; else one is looked for on PATH, then Playwright's own is taken
(`playwright install chromium`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).parents[2]
NAMES = ('chromium', 'chromium-browser', 'google-chrome')
# It must run in a container, as root, without a graphics card, and leave the network alone.
ARGUMENTS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)


class MissingBrowserError(Exception):
    """There is no browser to drive; the message says what is missing."""


def find_browser(of_playwright: str) -> str:
    """Path of a browser's binary, or `MissingBrowserError`."""
    if path := os.environ.get('TORRELQUE_CHROMIUM'):
        if Path(path).exists():
            return path
        raise MissingBrowserError(f'TORRELQUE_CHROMIUM is {path}, which is not there')
    for path in (*map(shutil.which, NAMES), of_playwright):
        if path and Path(path).exists():
            return path
    ways = f'put {" or ".join(NAMES)} on PATH, set TORRELQUE_CHROMIUM to its path, or run playwright install chromium'
    raise MissingBrowserError(f'there is no browser: {ways}')


@asynccontextmanager
async def launch() -> AsyncIterator[Browser]:
    """A browser, or `MissingBrowserError`."""
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise MissingBrowserError('playwright is not installed: pip install playwright') from None
    async with async_playwright() as playwright:
        path = find_browser(playwright.chromium.executable_path)
        try:
            browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        except Error as exc:
            raise MissingBrowserError(f'{path} does not start: {exc.message.splitlines()[0]}') from exc
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def launch_or_skip() -> AsyncIterator[Browser]:
    """A browser; without one the test is skipped."""
    import pytest

    async with AsyncExitStack() as stack:
        try:
            browser = await stack.enter_async_context(launch())
        except MissingBrowserError as exc:
            pytest.skip(str(exc))
        yield browser


# Pictures


async def make_lively(page: Page) -> None:
    """Start tasks so that there is one in each state, and wait for that moment."""
    async def start(kind: str, times: int = 1) -> None:
        for _ in range(times):
            async with page.expect_response('**/tasks?**'):
                await page.locator(f'.kinds [data-kind={kind}]').click()

    async def see(status: str, kind: str = '') -> None:
        await page.locator(f'.task[data-status={status}]{kind and f"[data-kind={kind}]"}').first.wait_for()

    await start('payment')
    await see('dead')
    await start('film')
    await see('working', 'film')
    await page.locator('.task [data-verb=cancel]:visible').first.click()
    await see('cancelled')
    await start('letter')
    await see('completed', 'letter')
    await start('payment')
    await page.locator('.task[data-status=delayed]:has-text("attempt 2 of 4")').wait_for()
    await start('payment')
    await start('film')
    await page.locator('.task[data-status=delayed]:has-text("attempt 3 of 4")').wait_for()
    # Of three consumers one is on the film.
    await start('letter', times=3)
    await page.mouse.move(0, 0)


async def take_pictures(url: str, folder: Path) -> None:
    schemes: tuple[Literal['light', 'dark'], ...] = ('light', 'dark')
    async with launch() as browser:
        context = await browser.new_context(viewport={'width': 1200, 'height': 800})
        page = await context.new_page()
        await page.goto(url)
        await make_lively(page)
        for scheme in schemes:
            await page.emulate_media(color_scheme=scheme)
            await page.wait_for_timeout(350)  # colours change smoothly
            await page.screenshot(path=folder / f'web-{scheme}.png', full_page=True)


def main() -> None:
    folder = ROOT / 'docs' / 'image'
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / 'example' / 'web'), '--port', '0', '--consumers', '3']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[4]
        try:
            asyncio.run(take_pictures(url, folder))
        finally:
            process.terminate()


if __name__ == '__main__':
    main()
