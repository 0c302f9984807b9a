"""A worker that is killed in the middle of a task, with telemetry: ``python -m support.doomed SOCKET QUEUE``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import redis.asyncio

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.telemetry import Telemetry
from torrelque.worker import Worker


async def main(socket: str, queue: str) -> None:
    async with redis.asyncio.Redis(unix_socket_path=socket) as client, Torrelque(client, queue=queue) as it:
        telemetry = Telemetry()
        app = Tasks(it, context=telemetry)

        @app.task(name='work')
        async def work() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        await Worker(app, middleware=[telemetry.middleware]).run()


if __name__ == '__main__':
    asyncio.run(main(*sys.argv[1:]))
