"""A dashboard that is served on a port of its own, for browsers and for others that need a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """The address of an application, which is served in this event loop by uvicorn."""
    config = uvicorn.Config(app, port=0, log_level='error', lifespan='off', **options)
    server = Server(config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not running.done(), 'the server has not started'
            await asyncio.sleep(0.01)
        [socket, *_] = server.servers[0].sockets
        yield f'http://127.0.0.1:{socket.getsockname()[1]}'
    finally:
        close = getattr(app, 'close', None)
        if close is not None:
            close()
        server.should_exit = True
        await running


class Server(uvicorn.Server):
    """A server that leaves the signals of the process alone."""

    def install_signal_handlers(self) -> None:
        """Install none."""
