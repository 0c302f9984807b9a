"""Sweeping for queues without a waiting consumer, which would do it in passing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from torrelque.error import TorrelqueClosedError, TorrelqueError, TorrelqueValueError, of_queue, reason_of
from torrelque.model import Duration
from torrelque.protocol.check import milliseconds, seconds_of

logger = logging.getLogger('torrelque')


class Sweeper:
    """Sweeps now and at intervals from the running event loop, until it is stopped."""

    def __init__(self, queue: str, sweep: Callable[[], Awaitable[object]], interval: Duration) -> None:
        if not milliseconds(interval, 'interval'):
            raise TorrelqueValueError('interval must be more than 0 seconds')
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as exc:
            raise of_queue(queue, TorrelqueError('schedule_sweep needs a running event loop')) from exc
        self._queue = queue
        self._sweep = sweep
        self._task = loop.create_task(self._run(seconds_of(interval)), name='torrelque sweep')

    def stop(self) -> None:
        """Stop; a sweep that is on its way has its effect."""
        self._task.cancel()

    async def _run(self, interval: float) -> None:
        while True:
            try:
                await self._sweep()
            except TorrelqueClosedError:
                return
            except Exception as exc:
                logger.warning('queue %r: a scheduled sweep failed: %s', self._queue, reason_of(exc))
            await asyncio.sleep(interval)
