"""A server of its own for an application that is asked by machines.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

__all__ = ['host']

CLOSING = 1
"""s after which, at the end, requests are cut that have not ended by then."""


class _Server(uvicorn.Server):
    """A server that leaves signals to `host`, because it would raise them again at its end."""

    on_ready: Callable[[], object]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """End."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()


async def host(app: ASGIApp, listener: socket.socket, on_ready: Callable[[], object]) -> None:
    """Serve an application until SIGINT or SIGTERM comes, in the main thread; the listener is closed then.

    :param on_ready: is called once it answers.
    """
    config = uvicorn.Config(
        app, lifespan='off', ws='none', log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=CLOSING,
    )  # fmt: skip
    server = _Server(config)
    server.on_ready = on_ready
    loop = asyncio.get_running_loop()
    signals = signal.SIGINT, signal.SIGTERM
    for sign in signals:
        loop.add_signal_handler(sign, server.stop)
    try:
        await server.serve([listener])
    finally:
        for sign in signals:
            loop.remove_signal_handler(sign)
