"""Pages of the dashboard: how long each takes, its longest call of the server, and what ten viewers cost it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import httpx
import redis.asyncio

from benchmark.operate.figures import Figure, Plan, used_by
from support.browser import MissingBrowserError, launch
from support.looks import Html
from support.serving import serving
from torrelque import Torrelque
from torrelque.dashboard import GRANTS, Dashboard, Visitor

PAGES = (
    '', 'queue', 'tasks?place=pending', 'tasks?place=dead&error=ValueError', 'tasks?place=pending&function=none',
    'tasks?place=orphaned', 'task?id={waiting}', 'errors', 'groups', 'group?name=group-7', 'workers',
    'history?length=8h', 'schedules', 'flows', 'acts', 'ask?act=redrive&status=dead',
)  # fmt: skip
FUNCTIONS, MINUTES = 50, 480
ERROR = 'Traceback (most recent call last):\n  File "shop/tasks.py", line {0}, in send\n    go()\nValueError: {0}'
VIEWERS = 10
PAINT = """() => new Promise(
    resolve => new PerformanceObserver(list => resolve(list.getEntries()[0].startTime))
        .observe({type: 'paint', buffered: true})
)"""


async def fill(queue: Torrelque, plan: Plan) -> str:
    """Plain tasks, ten of each group, dead ones, some at work, a history of many functions; an id that waits."""
    await queue.enqueue_many(
        range(min(plan.groups * 10, plan.tasks // 2)), group=lambda number: f'group-{number % plan.groups}'
    )
    ids = await queue.enqueue_many({'task': 'shop.send', 'args': [number]} for number in range(plan.tasks // 2))
    for part in range(max(1, plan.tasks // 100_000)):
        for task_id, _ in await queue.dequeue_many(250):
            await queue.bury(task_id, error=ERROR.format(part))
    await queue.dequeue_many(250)
    numbers = json.dumps([100, 3, 1, 0, 12345])
    record: dict[Any, Any] = {f'=shop.function_{number}': numbers for number in range(FUNCTIONS)}
    record |= {'*run': json.dumps([10] * 17), '*wait': json.dumps([10] * 17), '*sizes': json.dumps([1] * 8)}
    pipe = queue.client.pipeline(transaction=False)
    minute = int(time.time() // 60)
    for number in range(minute - MINUTES, minute + 1):
        pipe.hset(queue.keys['pending'].replace('pending', f'minute:{number}'), mapping=record)
    await pipe.execute()
    return str(ids[-1])


async def measure(client: redis.asyncio.Redis, plan: Plan) -> list[Figure]:
    """The figures, on an empty server."""
    async with Torrelque(client, queue='pages') as queue:
        waiting = await fill(queue, plan)
        dashboard = Dashboard(queue, permit=lambda _: Visitor('anna', GRANTS))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(dashboard.aclose)
            transport = httpx.ASGITransport(dashboard)
            visitor = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url='http://it'))
            figures = []
            for page in PAGES:
                figures += await measure_page(client, visitor, dashboard, page.format(waiting=waiting), plan)
            figures.append(await measure_first(visitor))
            figures += await measure_paint(dashboard, plan)
        figures.append(await measure_viewers(client, queue, plan))
    return figures


async def measure_page(
    client: redis.asyncio.Redis, visitor: httpx.AsyncClient, dashboard: Dashboard, page: str, plan: Plan
) -> list[Figure]:
    """How long a page takes, anew and again, and its longest call: of some rounds the best, of each call by itself."""
    await client.config_set('slowlog-log-slower-than', 0)
    await client.config_set('slowlog-max-len', 10_000)
    anew, again, longest = [], [], list[list[int]]()
    for _ in range(min(plan.rounds, 7)):
        dashboard._site.reads.forget()
        await client.slowlog_reset()
        began = time.perf_counter()
        answer = await visitor.get(f'/{page}')
        assert answer.status_code == 200, (page, answer.status_code)
        anew.append(time.perf_counter() - began)
        # A survey goes on after the page is there.
        while dashboard._site.reads.busy:
            await asyncio.sleep(0.01)
        calls = [one['duration'] for one in await client.slowlog_get(10_000) if b'EVAL' in one['command'][:4].upper()]
        longest.append(calls[::-1])
        began = time.perf_counter()
        await visitor.get(f'/{page}')
        again.append(time.perf_counter() - began)
    await client.config_set('slowlog-log-slower-than', -1)
    call = max(1, *map(min, zip(*longest, strict=False))) / 1000
    name = page.partition('=')[0] if page.startswith('task?') else page or 'overview'
    return [
        Figure(f'{name}, anew', min(anew) * 1000, 'ms', 100),
        Figure(f'{name}, again', min(again) * 1000, 'ms', 100),
        Figure(f'{name}, its longest call', call, 'ms of the server', 2),
    ]


async def measure_first(visitor: httpx.AsyncClient) -> Figure:
    """Bytes of the first page with all that it needs, as they are sent."""
    total = 0
    page = Html((await visitor.get('/')).text)
    needed = [one.attrs.get('href') or one.attrs['src'] for one in (*page.all('link'), *page.all('script'))]
    for path in ('', *needed):
        async with visitor.stream('GET', f'/{path.removeprefix("./")}', headers={'accept-encoding': 'gzip'}) as answer:
            total += sum([len(chunk) async for chunk in answer.aiter_raw()])
    return Figure('first page with all that it needs', total / 1000, 'kB', 60)


async def measure_paint(dashboard: Dashboard, plan: Plan) -> list[Figure]:
    """When a browser that has nothing of the page has painted it, after it was asked for: of some times the best.

    Where there is no browser it is left out.
    """
    paints = []
    try:
        async with serving(dashboard) as url, launch() as browser:
            for _ in range(min(plan.rounds, 7)):
                context = await browser.new_context()
                page = await context.new_page()
                await page.goto(f'{url}/')
                paints.append(await page.evaluate(PAINT))
                await context.close()
    except MissingBrowserError:
        return []
    return [Figure('first page in a browser, its first paint', min(paints), 'ms', 300)]


async def measure_viewers(client: redis.asyncio.Redis, queue: Torrelque, plan: Plan) -> Figure:
    """Processor time of the server for ten who look at the page of a queue, each over a connection of its own, while
    nothing else goes on."""
    dashboard = Dashboard(queue, permit=lambda _: Visitor('anna'))
    length = 30.0 if plan.tasks > 100_000 else 1.0

    async def view(url: str) -> None:
        async with httpx.AsyncClient(timeout=None) as visitor:
            end = time.monotonic() + length
            while time.monotonic() < end:
                async with visitor.stream('GET', f'{url}/live?of=queue') as answer:
                    assert answer.status_code == 200
                    async for _ in answer.aiter_lines():
                        if time.monotonic() > end:
                            break

    async def idle() -> None:
        await asyncio.sleep(length)

    async with serving(dashboard) as url:
        await view(url)

        async def views() -> Any:
            return await asyncio.gather(*(view(url) for _ in range(VIEWERS)))

        began = time.monotonic()
        busy = (await used_by(client, views)).processor / (time.monotonic() - began)
        rest = (await used_by(client, idle)).processor / length
    await dashboard.aclose()
    return Figure(f'{VIEWERS} viewers of a queue', max(0.001, (busy - rest) / 10_000), '% of a core of the server', 1)
