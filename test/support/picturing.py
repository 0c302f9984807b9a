"""Pictures of the dashboard for the documentation, of the demo, in a headless Chromium.

    cd test && python -m support.picturing      # makes docs/image/dashboard-*.png anew

The demo has the same tasks each time, and what its workers do with them differs by moments; so pictures are made to be
looked at, and compared by nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import uvicorn

from support.browser import ROOT, launch
from torrelque import TorrelqueQueue
from torrelque.dashboard import GRANTS, Dashboard, Visitor
from torrelque.dashboard.demo import Demo
from torrelque.operate import Operator

FOLDER = ROOT / 'docs' / 'image'
WIDTH = 1280
LARGEST = 150_000
"""Bytes of a picture."""
SCHEMES: tuple[Literal['light', 'dark'], ...] = ('light', 'dark')


class View(NamedTuple):
    """A page that there is a picture of."""

    name: str
    """Of its files, without the colours."""
    address: str
    """With the id of a task that waits in the place of ``ID``."""
    height: int
    unfolded: str = ''
    """What of it is unfolded before, as a selector."""


VIEWS = (
    View('dashboard', '', 760),
    View('dashboard-queue', 'queue?q=mail', 860),
    View('dashboard-task', 'task?q=media&id=ID', 680),
    View('dashboard-errors', 'errors?q=mail', 720, '.faults summary'),
)
PICTURES = [f'{view.name}-{scheme}.png' for view in VIEWS for scheme in SCHEMES]


@asynccontextmanager
async def serving(queues: Sequence[TorrelqueQueue]) -> AsyncIterator[str]:
    """The dashboard of some queues on a port of its own, for somebody who may do everything: its address."""
    dashboard = Dashboard(queues, permit=lambda request: Visitor('anna', GRANTS))
    config = uvicorn.Config(dashboard, host='127.0.0.1', port=0, log_level='critical', lifespan='off', ws='none')
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    try:
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        yield f'http://localhost:{server.servers[0].sockets[0].getsockname()[1]}/'
    finally:
        dashboard.close()
        server.should_exit = True
        await serving
        await dashboard.aclose()


async def settle(operator: Operator) -> str:
    """Wait until each queue has something to show; the id of a task that waits for a slot of its group."""
    while True:
        kinds = [(await operator.errors(queue=name)).errors for name in ('mail', 'report', 'media')]
        if all(len(some) >= 2 for some in kinds):
            for task in await operator.page('pending', queue='media', most=50):
                reasons = await operator.explain(task.id, queue='media')
                if reasons and reasons[0].code == 'at-limit':
                    return task.id
        await asyncio.sleep(0.1)


async def take_pictures(folder: Path) -> list[str]:
    """Make all pictures; what the browser had to complain about."""
    complaints: list[str] = []
    async with Demo() as demo, serving(demo.queues) as url, launch() as browser:
        context = await browser.new_context(viewport={'width': WIDTH, 'height': 800})
        page = await context.new_page()
        page.on('console', lambda message: complaints.append(message.text))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        task_id = await settle(Operator(demo.queues))
        for view in VIEWS:
            await page.set_viewport_size({'width': WIDTH, 'height': view.height})
            response = await page.goto(url + view.address.replace('ID', task_id))
            assert response is not None and response.ok, view
            await page.locator('#notice[data-state=live]').wait_for()
            if view.unfolded:
                await page.locator(view.unfolded).first.click()
                await page.mouse.move(0, 0)
            for scheme in SCHEMES:
                await page.emulate_media(color_scheme=scheme)
                await page.screenshot(path=folder / f'{view.name}-{scheme}.png', animations='disabled')
        # So that no stream is cut, which a browser complains about.
        await page.close()
    return complaints


def main() -> None:
    # The demo fails, and says so.
    logging.disable(logging.CRITICAL)
    complaints = asyncio.run(take_pictures(FOLDER))
    for name in PICTURES:
        print(name, (FOLDER / name).stat().st_size)
    if complaints:
        raise SystemExit('\n'.join(complaints))


if __name__ == '__main__':
    main()
