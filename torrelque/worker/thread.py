"""A worker in a thread of a synchronous application."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from torrelque import TorrelqueError

from .delivery import run_in_loop
from .health import WorkerHealth
from .worker import Worker

T = TypeVar('T')
Self = TypeVar('Self', bound='ThreadWorker')


class ThreadWorker:
    """Runs a `Worker` in a thread and an event loop of its own; it takes the same arguments.

    The queues, which nothing may have been done with in another event loop, belong to that loop from then on, and are
    closed when it stops.  Call them from other threads with `call`, or use `torrelque.sync`.
    """

    loop: asyncio.AbstractEventLoop | None
    """The event loop, while the worker runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._worker = Worker(*args, **{**kwargs, 'signals': False})
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.loop = None

    def __repr__(self) -> str:
        return f'<ThreadWorker of {self._worker!r}>'

    def start(self: Self) -> Self:
        """Begin to work; when this returns the event loop is there."""
        if self._thread is not None:
            raise TorrelqueError('a worker runs once; make another')
        # A daemon: an application that ends without stop() is not kept; leases bring the tasks back.
        self._thread = threading.Thread(target=self._run, name=f'torrelque {self._worker.name}', daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def stop(self, timeout: float | None = None) -> None:
        """Take no more, let what is running end as `Worker.run` says, and wait for it.

        :param timeout: how long to wait (s); when it is over the worker goes on ending in its thread.
        :raises Exception: what the worker failed with, if it did.
        """
        thread = self._thread
        if thread is None:
            return
        self._worker.stop()
        thread.join(timeout)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of a worker that ends by itself, in a burst; whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.is_alive()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def health(self) -> WorkerHealth:
        """As `Worker.health`."""
        return self._worker.health()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, as one of the queue's verbs makes, in the worker's event loop, and wait for its result."""
        if self.loop is None:
            coroutine.close()
            raise TorrelqueError('the worker does not run')
        return run_in_loop(self.loop, coroutine)

    def __enter__(self: Self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as exc:
            self._error = exc
        finally:
            self.loop = None
            self._ready.set()

    async def _work(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.call_soon(self._ready.set)
        try:
            await self._worker.run()
        finally:
            for queue in self._worker.queues:
                await queue.aclose()
