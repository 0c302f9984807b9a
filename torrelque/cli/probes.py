"""What ``torrelque run`` shows to probes: pages at an address, and a file that is touched while event loops turn."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from torrelque import TorrelqueError
from torrelque.monitor.judging import Look, Seen, not_live
from torrelque.monitor.pulse import Pulse, State

from .failure import Exit, Failure
from .listening import listen_at
from .options import STALL, RunOptions

if TYPE_CHECKING:
    from torrelque.monitor import Metrics

__all__ = ['Probes', 'Pulse', 'Seen', 'State']

logger = logging.getLogger(__package__)

TOUCH = 5.0
"""s from one touch of the file to the next."""


class Probes:
    """The address and the file, taken before any worker begins, until it is closed.

    :raises Failure: the address, or the file, cannot be had; or the packages are missing that the pages need.
    """

    def __init__(self, options: RunOptions) -> None:
        self._file = options.health_file
        self._stall = STALL if options.stall is None else options.stall
        self._listener = None if options.health is None else _listen(*options.health)
        self._told = False
        if self._file is not None:
            try:
                _touch(self._file)
            except OSError as exc:
                raise Failure(f'the file {self._file} cannot be touched: {exc.strerror}', Exit.ILL) from None

    def close(self) -> None:
        """Let go of the address, and remove the file."""
        if self._listener is not None:
            self._listener.close()
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file)

    @contextlib.asynccontextmanager
    async def shown(self, look: Look, metrics: 'Metrics | None' = None) -> AsyncIterator[None]:
        """Show how processes are, for the length of the block.

        :param metrics: of queues, which are told of as well.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._listener is not None:
                from torrelque.monitor.serving import serve_probes

                server = await stack.enter_async_context(serve_probes(self._listener, look, self._stall, metrics))
                logger.info('health is told at %s', server.url)
            if self._file is not None:
                touching = asyncio.ensure_future(self._keep_touching(self._file, look))
                stack.callback(touching.cancel)
            yield

    async def _keep_touching(self, file: str, look: Look) -> None:
        while True:
            if not not_live(look(), self._stall):
                try:
                    _touch(file)
                    self._told = False
                except OSError as exc:
                    if not self._told:
                        logger.error('the file %s cannot be touched: %s', file, exc.strerror)
                    self._told = True
            await asyncio.sleep(TOUCH)


def _touch(file: str) -> None:
    # A link that somebody else has put there is not followed.
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        os.utime(handle)
    finally:
        os.close(handle)


def _listen(host: str, port: int) -> socket.socket:
    from torrelque.monitor.serving import check_extra

    try:
        check_extra()
    except TorrelqueError as exc:
        raise Failure(f'--health: {exc}') from None
    return listen_at(host, port)
