"""A worker in a thread of a synchronous application."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

import redis.exceptions

from torrelque import Duration, TorrelqueConnectionError, TorrelqueError, TorrelqueQueue, TorrelqueServerError
from torrelque.protocol.check import check_seconds

from .breaker import Breaker
from .chain import Middleware
from .child import ChildDelivery
from .crossing import close_coroutine, run_in_loop
from .delivery import Delivery, Place
from .health import WorkerHealth
from .options import Servable
from .retry import Backoff, RetryRule
from .worker import Worker

logger = logging.getLogger(__package__)

T = TypeVar('T')
Self = TypeVar('Self', bound='ThreadWorker')


class _Starting(Worker):
    """A worker that tells when all is ready, and it is about to take tasks."""

    ready: Callable[[], None]
    """Called then, in the worker's thread."""

    async def _serve_until_stopped(self) -> None:
        asked = [asyncio.ensure_future(_ask(queue)) for queue in self.queues]
        done, late = await asyncio.wait(asked, timeout=self._bounds.first_answer)
        for one in late:
            one.cancel()
        # asyncio complains of an error that nobody has looked at, so look at all of them.
        if errors := [error for one in done if (error := one.exception())]:
            raise errors[0]
        self.ready()
        await super()._serve_until_stopped()


async def _ask(queue: TorrelqueQueue) -> None:
    """Find out what time does not mend: a queue object that is closed or of another event loop, or a server that
    refuses us."""
    try:
        await queue.command('PING')
    except (TorrelqueConnectionError, redis.exceptions.NoPermissionError):
        # A server that is away is waited for later.  A user without the right to ask may have all that the work needs.
        pass
    except TorrelqueServerError as exc:
        # A server that refuses writes for a while may refuse this question as well.
        if not exc.passing:
            raise


def _patience(timeout: Duration | None) -> float | None:
    """How long (s) to wait for a thread, as `threading.Thread.join` takes it."""
    return None if timeout is None else min(check_seconds(timeout, 'timeout'), threading.TIMEOUT_MAX)


class ThreadWorker:
    """Runs a `Worker` in a thread and an event loop of its own.

    It takes the arguments of `Worker`; ``signals`` change nothing, because Python hands signals to the main thread
    only.

    The queues, which nothing may have been done with in another event loop, belong to that loop from then on, and are
    closed when it stops.  Call them from other threads with `call`, or use `torrelque.sync`.
    """

    loop: asyncio.AbstractEventLoop | None
    """The event loop, while the worker runs."""

    def __init__(
        self,
        queue: Servable,
        handler: Callable[[Delivery], Any] | Callable[[ChildDelivery], Any] | None = None,
        *,
        concurrency: int = 10,
        steal: Sequence[TorrelqueQueue] = (),
        max_attempts: int | None = None,
        retry: RetryRule = Backoff(),  # noqa: B008 - it is frozen
        timeout: Duration | None = None,
        middleware: Sequence[Middleware] = (),
        on_start: Callable[[Delivery], Any] | None = None,
        on_success: Callable[[Delivery, Any], Any] | None = None,
        on_error: Callable[[Delivery, BaseException], Any] | None = None,
        on_dead: Callable[[Delivery, BaseException], Any] | None = None,
        breaker: Breaker | None = None,
        rate: tuple[int, Duration] | None = None,
        run_in: Place = 'thread',
        around_thread: Callable[[Delivery], AbstractContextManager[Any]] | None = None,
        result_ttl: Duration | None = None,
        shutdown_timeout: Duration = 30,
        burst: bool = False,
        heartbeat: Duration | None = None,
        name: str | None = None,
        signals: bool = True,
    ) -> None:
        self._worker = _Starting(
            queue, handler, concurrency=concurrency, steal=steal, max_attempts=max_attempts, retry=retry,
            timeout=timeout, middleware=middleware, on_start=on_start, on_success=on_success, on_error=on_error,
            on_dead=on_dead, breaker=breaker, rate=rate, run_in=run_in, around_thread=around_thread,
            result_ttl=result_ttl, shutdown_timeout=shutdown_timeout, burst=burst, heartbeat=heartbeat, name=name,
            signals=False,
        )  # fmt: skip
        self._worker.ready = self._take_up
        # Legend.  _thread: where the worker runs, once it was started.  _ready: set when the worker is about to take
        # tasks, or has failed.  _begun: which of the two.  _error: what the worker failed with, until it was raised.
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._begun = False
        self._error: BaseException | None = None
        self.loop = None

    def __repr__(self) -> str:
        return f'<ThreadWorker of {self._worker!r}>'

    def start(self: Self) -> Self:
        """Begin to work; when this returns the worker is about to take its first tasks.

        A server that is away is waited for two seconds, or ten where an app has something to prepare.

        :raises Exception: what the worker failed with before that.
        :raises TorrelqueError: it was started before.
        """
        if self._thread is not None:
            raise TorrelqueError('a worker runs once; make another')
        # A daemon does not keep an application that ends without `stop`; then the leases bring the tasks back.
        thread = threading.Thread(target=self._run, name=f'torrelque {self._worker.name}', daemon=True)
        thread.start()
        self._thread = thread
        self._ready.wait()
        if not self._begun:
            thread.join()
            self._raise_error()
        return self

    def stop(self, timeout: Duration | None = None) -> None:
        """Take no more, let what is running end as `Worker.run` says, and wait for it.

        :param timeout: how long to wait (s); when it is over the worker goes on ending in its thread.
        :raises TorrelqueError: it is called in the worker's own event loop, by a coroutine function or a hook, where it
            cannot be waited for; ``stop(timeout=0)`` only tells the worker.
        :raises Exception: what the worker failed with, if it did.
        """
        patience = _patience(timeout)
        if self._thread is None:
            return
        if patience != 0:
            self._refuse_in_own_thread()
        self._worker.stop()
        if patience != 0:
            self._thread.join(patience)
        self._raise_error()

    def join(self, timeout: Duration | None = None) -> bool:
        """Wait for the end of a worker that ends by itself, in a burst; whether it has ended.

        :param timeout: how long to wait (s), for ever by default.
        :raises TorrelqueError: it is called in the worker's own event loop, by a coroutine function or a hook.
        """
        patience = _patience(timeout)
        if self._thread is not None:
            self._refuse_in_own_thread()
            self._thread.join(patience)
        return not self.is_alive()

    def is_alive(self) -> bool:
        """Whether the worker runs."""
        return self._thread is not None and self._thread.is_alive()

    def health(self) -> WorkerHealth:
        """As `Worker.health`."""
        return self._worker.health()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, as one of the queue's verbs makes, in the worker's event loop, and wait for its result.

        :raises TorrelqueError: the worker does not run; or the call is made in its own event loop, by a coroutine
            function or a hook, which it would block for ever.
        :raises TorrelqueClosedError: the worker has ended meanwhile.
        """
        loop = self.loop
        if loop is None:
            close_coroutine(coroutine)
            raise TorrelqueError('the worker does not run')
        return run_in_loop(loop, coroutine)

    def __enter__(self: Self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _take_up(self) -> None:
        self._begun = True
        self._ready.set()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _refuse_in_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise TorrelqueError('this call would block the event loop whose end it waits for')

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
        try:
            await self._worker.run()
        except BaseException:
            # An error of closing would follow from this one, and must not take its place.
            await self._close(quiet=True)
            raise
        await self._close()

    async def _close(self, quiet: bool = False) -> None:
        self.loop = None
        errors: list[Exception] = []
        for queue in self._worker.queues:
            try:
                await queue.aclose()
            except Exception as exc:
                errors.append(exc)
        if errors and not quiet:
            raise errors[0]
        for error in errors:
            logger.debug('a queue of a worker that failed was not closed: %s', error)
