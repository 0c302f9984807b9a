"""A FastAPI application that has things sent: letters, in their order to each person, and cards, in any.

It is as on one server, but for ``shards``.  ``TORRELQUE_URL`` names some primaries of a Cluster, and ``JOURNAL`` a file
in which it is written down what was sent::

    torrelque run letters:app
    uvicorn letters:site
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import torrelque
from torrelque.dashboard import Dashboard, anyone
from torrelque.tasks import Tasks

app = Tasks.from_url(queue='letter', shards=12)


@app.task(name='letter', group=lambda to, number: to)
async def send_letter(to: str, number: int) -> str:
    return note(to, number)


@app.task(name='card')
async def send_card(number: int) -> str:
    return note('', number)


def note(to: str, number: int) -> str:
    # In one piece: what several processes write does not mix.
    with open(os.environ['JOURNAL'], 'a') as journal:
        journal.write(json.dumps([to, number]) + '\n')
    return f'number {number} to {to or "anybody"}'


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with app:
        # Of each group one at a time.
        await app.queue.set_limit(concurrency=1)
        yield


site = FastAPI(lifespan=lifespan)


@site.exception_handler(torrelque.ConnectionError)
async def refuse(_: Request, error: Exception) -> JSONResponse:
    # The task may be there all the same.
    return JSONResponse({'detail': str(error)}, 503)


@site.post('/letters', status_code=202)
async def post_letter(to: str, number: int) -> dict[str, str]:
    return {'task': (await send_letter.enqueue(to, number)).id}


@site.post('/cards', status_code=202)
async def post_card(number: int) -> dict[str, str]:
    return {'task': (await send_card.enqueue(number)).id}


@site.get('/sent')
async def show(task: str) -> dict[str, str]:
    return {'sent': str(await app.handle(task).result(timeout=30))}


site.mount('/queues', Dashboard(app, permit=anyone))
