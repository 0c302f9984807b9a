"""Connections of probes: uvicorn's protocol, with bounds, because it lives in the event loop of a worker.

Where there are as many connections as there may be, and one more comes, the oldest is cut: so a probe is answered
whatever others do.
"""

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

CONNECTIONS = 100
"""Connections at the most."""
LIFE = 5.0
"""s that a connection lasts at the most."""
HEAD = 8192
"""Bytes that the head of a request has at the most."""

# Whatever a stranger sends is worth no line of the log; what fails here is.
_log = logging.getLogger(f'{__package__}.http')
_log.setLevel(logging.ERROR)


class Connections:
    """All connections of a server.

    :param app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._config = Config(
            app, http='h11', ws='none', lifespan='off', log_config=None, proxy_headers=False,
            h11_max_incomplete_event_size=HEAD,
        )  # fmt: skip
        self._config.load()
        self._state = ServerState()
        self._open: dict[_Connection, None] = {}

    def make(self) -> asyncio.Protocol:
        """Begin a connection."""
        return _Connection(self._config, self._state, self._open)

    def cut(self) -> None:
        """End all of them."""
        for one in [*self._open]:
            one.cut()


class _Connection(H11Protocol):
    def __init__(self, config: Config, state: ServerState, connections: 'dict[_Connection, None]') -> None:
        super().__init__(config, state, {})
        # An application may have a server of its own in this process, whose log is as it was.
        self.logger, self.access_log = _log, False
        self._open = connections
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self._open) >= CONNECTIONS:
            next(iter(self._open)).cut()
        self._open[self] = None
        self._end = self.loop.call_later(LIFE, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def cut(self) -> None:
        """End it at once."""
        self._open.pop(self, None)
        self.transport.abort()
