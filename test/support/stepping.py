"""An application of functions whose calls are put together to flows."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import os
from typing import Any

from torrelque.flows import current_flow, gather
from torrelque.tasks import Tasks, current

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')
seen: list[Any] = []
broken: set[str] = set()


@dataclasses.dataclass
class Item:
    name: str
    day: dt.date


@app.task
async def make(name: str) -> Item:
    if name in broken:
        raise ValueError(f'{name} is broken')
    return Item(name, dt.date(2026, 11, 29))


@app.task
def name_of(item: Item) -> str:
    return item.name


@app.task(run_in='process')
def pid_of(item: Item) -> tuple[str, int]:
    return item.name, os.getpid()


@app.task
async def note(value: Any = None) -> Any:
    seen.append(value)
    return value


@app.task
async def numbers(count: int) -> list[int]:
    return [*range(count)]


@app.task
async def numbers_of(name: str) -> list[int]:
    return [len(name)]


@app.task
async def made_of(number: int) -> Item:
    return Item(str(number), dt.date(2026, 11, 29))


@app.task
async def fragile(number: int) -> int:
    if str(number) in broken:
        raise ValueError(f'{number} is broken')
    seen.append(number)
    return number


@app.task
async def wait() -> None:
    seen.append('waits')
    await asyncio.get_running_loop().create_future()


@app.task(max_attempts=2, retry=0)
async def adds_twice(count: int) -> list[str]:
    added = await current_flow().add(gather(*(note.s(number) for number in range(count))) >> note)
    if current().attempt == 1:
        raise ValueError('after it has added')
    return added


@app.task
async def adds_once() -> list[str]:
    return await current_flow().add(note.s('added'))


at_work: list[int] = []


@app.fifo(queue='orders')
async def in_order(number: int) -> int:
    at_work.append(number)
    await asyncio.sleep(0)
    count = len(at_work)
    at_work.remove(number)
    return count


@app.task
async def gives() -> None:
    await current_flow().push('key', {'n': [1]})


@app.task
def takes() -> Any:
    flow = current_flow()
    return [flow.wait(flow.pull('key')), flow.wait(flow.pull('none', 'default')), flow.name, flow.id]
