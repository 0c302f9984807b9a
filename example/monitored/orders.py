"""A web application whose orders are confirmed by tasks, with a trace from the request to their end.

On its own, beside the workers of the file, with an SDK of OpenTelemetry that sends somewhere::

    TORRELQUE_URL=redis://127.0.0.1:7399 opentelemetry-instrument uvicorn orders:site
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Body, FastAPI
from opentelemetry import trace

from torrelque.tasks import Tasks, current
from torrelque.telemetry import Telemetry
from torrelque.worker import Worker

telemetry = Telemetry()
app = Tasks.from_url(queue='order', context=telemetry)
tracer = trace.get_tracer('shop')


@app.task(name='confirm', retry=0.2)
async def confirm(thing: str) -> str:
    with tracer.start_as_current_span('ask the bank'):
        if current().attempt == 1:
            raise ConnectionError('the bank does not answer')
        return f'{thing} is paid'


@contextlib.asynccontextmanager
async def lifespan(site: FastAPI) -> AsyncIterator[None]:
    async with app, Worker(app, heartbeat=2, middleware=[telemetry.middleware]):
        yield


site = FastAPI(lifespan=lifespan)


@site.post('/orders', status_code=202)
async def order(thing: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    return {'task': (await confirm.enqueue(thing)).id}
