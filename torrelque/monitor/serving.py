"""The server for probes, which lives in an event loop that has other things to do.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import importlib.util
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from torrelque import Duration, TorrelqueError, TorrelqueTypeError
from torrelque.protocol.check import check_seconds
from torrelque.worker import Worker

from .judging import STALL, Look, Seen
from .listening import listen, parse_address, url_of
from .pulse import Pulse

if TYPE_CHECKING:
    from .metrics import Metrics

__all__ = ['HealthServer', 'check_extra', 'serve_health', 'serve_probes']

NEEDED = ('starlette', 'uvicorn')


class HealthServer:
    """Answers probes; `serve_health` makes one."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = url_of(listener)
        """Where it is, as ``http://127.0.0.1:8080/``."""
        self.port: int = listener.getsockname()[1]
        """Its port, also where it was to be any that is free."""

    def __repr__(self) -> str:
        return f'<HealthServer {self.url}>'


def check_extra() -> None:
    """Look whether there is what the server needs.

    :raises TorrelqueError: a package is missing.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        names = ' and '.join(missing)
        raise TorrelqueError(f"health pages need {names}, of the extra 'monitor': pip install 'torrelque[monitor]'")


@contextlib.asynccontextmanager
async def serve_health(
    worker: Worker, bind: str | tuple[str, int], *, stall: Duration = STALL, metrics: 'Metrics | None' = None
) -> AsyncIterator[HealthServer]:
    """Answer probes about a worker for the length of the block, in the event loop that the worker runs in.

    Enter it before the worker runs; the port is taken then, or the block is not entered.  An event loop that stands
    still answers nothing, so give the probe a time limit.

    :param bind: where to listen: ``'0.0.0.0:8080'``, ``'[::]:8080'``, ``'127.0.0.1:0'`` for any port that is free.
    :param stall: for how long (s) the event loop may stand still; after that, ``/live`` is 503 for a minute.
    :param metrics: of queues: ``/metrics`` tells of these as well, and there is ``/scale.json``.  It is for the only
        process that does so of a queue.
    :raises OSError: there is no such address, or its port is taken.
    :raises TorrelqueError: Starlette or uvicorn is missing.
    """
    if not isinstance(worker, Worker):
        raise TorrelqueTypeError(f'worker must be a Worker, not {type(worker).__name__}')
    longest = check_seconds(stall, 'stall')
    check_extra()
    listener = listen(*parse_address(bind))
    pulse = Pulse(worker)
    try:
        async with serve_probes(listener, lambda: [Seen(1, pulse.state())], longest, metrics) as server:
            yield server
    finally:
        pulse.stop()


@contextlib.asynccontextmanager
async def serve_probes(
    listener: socket.socket, look: Look, stall: float, metrics: 'Metrics | None' = None
) -> AsyncIterator[HealthServer]:
    """Answer probes about some processes for the length of the block; the listener is closed at its end.

    :param stall: for how long (s) an event loop may stand still.
    :param metrics: of queues, which are told of as well.
    """
    try:
        from .connection import Connections
        from .site import make_site

        connections = Connections(make_site(look, stall, metrics))
        server = await asyncio.get_running_loop().create_server(connections.make, sock=listener)
    except BaseException:
        listener.close()
        raise
    try:
        yield HealthServer(listener)
    finally:
        server.close()
        connections.cut()
        if metrics is not None:
            await metrics.aclose()
