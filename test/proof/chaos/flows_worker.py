"""Workers of flows, one after the other, in a process that is killed at any moment.

    python -m proof.chaos.flows_worker JSON

works until its standard input is closed, and writes down what its functions do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

from proof.chaos.flows_app import QUEUE, app, journal
from proof.chaos.workload import read_input
from proof.peers import FAILURES, connect
from torrelque import Torrelque
from torrelque.testing import using
from torrelque.worker import Worker


class Listener(logging.Handler):
    """What is logged with a traceback is a fault, unless the faults of the run explain it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one."""
        exc = record.exc_info and record.exc_info[1]
        if getattr(record, 'event', '') in ('task_failed', 'task_dead', 'task_lost'):
            return  # of an attempt that was to fail
        if exc and not isinstance(exc, FAILURES):
            journal.write('trouble', '', '', f'{record.getMessage()!r}: {exc!r}')


async def live(chance: random.Random, stopped: asyncio.Event) -> None:
    """One worker, to its end."""
    worker = Worker(
        app, concurrency=chance.choice([1, 5, 30]), shutdown_timeout=chance.choice([0.0, 0.3, 30.0]), signals=False
    )
    running = asyncio.ensure_future(worker.run())
    ending = asyncio.ensure_future(stopped.wait())
    await asyncio.wait([running, ending], timeout=chance.choice([0.3, 2.0, 5.0]), return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if chance.random() < 0.3:
        running.cancel()
    else:
        worker.stop()
    await asyncio.wait([running])
    if not running.cancelled() and (error := running.exception()) and not isinstance(error, FAILURES):
        journal.write('trouble', '', '', f'a worker ended by {error!r}')


async def run(what: dict[str, Any]) -> None:
    logger = logging.getLogger('torrelque')
    logger.addHandler(Listener())
    logger.propagate = False
    logging.getLogger('asyncio').propagate = False
    journal.open(Path(what['history']), Path(what['mended']))
    stopped, reader, chance = asyncio.Event(), await read_input(), random.Random(what['seed'])

    async def listen() -> None:
        await reader.read()
        stopped.set()

    listener = asyncio.ensure_future(listen())
    client = connect(what['address'])
    async with Torrelque(client, queue=QUEUE) as queue, using(app, queue):
        while not stopped.is_set():
            await live(chance, stopped)
    await listener
    await client.aclose()


if __name__ == '__main__':
    asyncio.run(run(json.loads(sys.argv[1])))
