"""The life of a process's worker: its application is imported, it is made, it runs, and ends."""

import asyncio
import contextlib
import importlib
import inspect
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from torrelque import TorrelqueConnectionError, TorrelqueServerError
from torrelque.worker import Worker, WorkerHealth
from torrelque.worker.version import version

from . import target
from .banner import say
from .building import Built, build
from .failure import Exit, Failure
from .leash import Leash
from .logs import JsonFormatter
from .naming import find_sharded
from .notify import Notify
from .options import RunOptions

if TYPE_CHECKING:
    from torrelque.monitor import Metrics

    from .probes import Probes

logger = logging.getLogger(__package__)

SLOW = 2.0
"""s without an answer of the server after which the log says so."""
PAUSE = 0.5
"""s from one question to the next."""


def serve(options: RunOptions, leash: Leash | None, probes: 'Probes | None' = None) -> int:
    """Run a worker to its end; the exit code.

    :param leash: what holds this process to the one that supervises it, if there is one.
    :param probes: what is shown to probes from here, if anything is.
    :raises Failure: there is nothing to serve, or no server.
    """
    for module in options.imports:
        target.import_module(module)
    found = target.find(options.target)
    if not options.queue:
        # What is no coroutine function may begin an event loop of its own, so it is called before there is one.
        found = target.make(options.target, found)
    _run(_serve(options, leash, probes, found), options.uvloop)
    return Exit.WELL


def _run(coroutine: Coroutine[Any, Any, None], with_uvloop: bool) -> None:
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    if with_uvloop:
        run = importlib.import_module('uvloop').run
    run(coroutine)


async def _serve(options: RunOptions, leash: Leash | None, probes: 'Probes | None', found: Any) -> None:
    if not options.queue and inspect.isawaitable(found):
        found = await _made(options.target, found)
    sharded = await find_sharded([*options.queue, *options.steal], options.url) if options.queue else frozenset()
    built = build(options, found, version(), sharded)
    worker, notify = built.worker, Notify()
    JsonFormatter.worker = worker.name
    if leash is None or options.first:
        say(built.offer, options.processes, options.log)
        for doubt in built.doubts:
            logger.warning('%s', doubt)
    if leash is not None:
        leash.tell(loaded=True, files=_foreign_files() if options.reload else [])
    ending = _Ending(worker, notify, leash is not None)
    began, own = asyncio.Event(), worker.on_ready

    def begin() -> None:
        ending.take_signals()
        began.set()
        if own is not None:
            own()

    worker.on_ready = begin
    if leash is not None:
        leash.hold(ending.hear, built.patience)
    state, shown = _health(options, worker, probes)
    beside = [asyncio.ensure_future(_tell_when_ready(built, began, notify, leash, state))]
    if leash is not None:
        beside.append(asyncio.ensure_future(leash.beat(state)))
    else:
        beside.append(asyncio.ensure_future(notify.keep_alive()))
        beside.append(asyncio.ensure_future(notify.keep_status(lambda: _status(worker.health()))))
    try:
        async with shown, _looking(options, worker):
            await _run_worker(worker, built.offer.servers)
    finally:
        ending.leave()
        for one in beside:
            one.cancel()
        await asyncio.wait(beside)
        await built.close()
        if leash is not None:
            leash.end()


def _health(
    options: RunOptions, worker: Worker, probes: 'Probes | None'
) -> tuple[Callable[[], Mapping[str, Any]], AbstractAsyncContextManager[None]]:
    """What tells a supervising process how the worker is, and in which block probes are shown that from here."""
    if not options.probed:
        return dict, contextlib.nullcontext()
    from .probes import Pulse, Seen

    pulse = Pulse(worker)
    shown: AbstractAsyncContextManager[None] = contextlib.nullcontext()
    if probes is not None:
        shown = probes.shown(lambda: [Seen(1, pulse.state())], _metrics(options, worker))
    return lambda: {'state': pulse.state().pack()}, shown


def _metrics(options: RunOptions, worker: Worker) -> 'Metrics | None':
    """What tells of the queues of the worker, but not of those that it steals from, if that is wanted."""
    if options.metrics != 'queue':
        return None
    from torrelque.monitor import Metrics

    return Metrics(worker.queues[: len(worker.health().queues)])


def _status(health: WorkerHealth) -> str:
    """What is told of a worker in a few words."""
    used = f'{health.state}, {health.busy} of {health.concurrency} slots in use'
    return f'{used}; {health.succeeded} succeeded, {health.failed} failed, {health.dead} dead'


async def _made(name: str, awaitable: Awaitable[Any]) -> Any:
    """What a coroutine function of the application makes."""
    try:
        return await awaitable
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as exc:
        raise Failure(f'{name} has raised {type(exc).__name__}', Exit.ILL, exc) from None


@contextlib.asynccontextmanager
async def _looking(options: RunOptions, worker: Worker) -> AsyncIterator[None]:
    """Have the worker look at the rules of its file, if there are any."""
    watched = None if options.filed is None else options.filed.read_watched()
    if watched is None or not watched.rules:
        yield
        return
    from torrelque.monitor import Alerts

    async with Alerts.of_worker(worker, watched.rules, watched.sinks):
        yield


async def _run_worker(worker: Worker, servers: Any) -> None:
    try:
        await worker.run()
    except TorrelqueConnectionError as exc:
        raise Failure(f'the server {", ".join(servers)} cannot be reached: {exc}', Exit.AWAY) from None
    except TorrelqueServerError as exc:
        raise Failure(f'the server {", ".join(servers)} refuses the worker: {exc}', Exit.REFUSED) from None
    except Exception as exc:
        # The worker's log has the traceback.
        raise Failure(f'the worker has ended by an error: {type(exc).__name__}: {exc}', Exit.ILL) from None


async def _tell_when_ready(
    built: Built, began: asyncio.Event, notify: Notify, leash: Leash | None, state: Callable[[], Mapping[str, Any]]
) -> None:
    """Say that the worker takes tasks, once it has begun and the server of each of its queues has answered, and has
    not refused."""
    await began.wait()
    worker, servers = built.worker, ', '.join(built.offer.servers)
    while True:
        # What the question needs, connection, password and rights to the keys of a queue, the worker needs as well.
        asking = [asyncio.ensure_future(queue.get_queue_stats()) for queue in worker.queues]
        try:
            _, late = await asyncio.wait(asking, timeout=SLOW)
            if late:
                logger.warning('no answer of the server %s yet; it is waited for', servers)
                await asyncio.wait(asking)
        finally:
            for one in asking:
                one.cancel()
        refused = [error for one in asking if not one.cancelled() and (error := one.exception())]
        # A worker that is refused has ended by now, or is about to, and says so itself.
        if not refused and worker.health().state == 'running':
            break
        await asyncio.sleep(PAUSE)
    notify.tell('READY=1')
    if leash is not None:
        leash.tell(ready=True, **state())


def _foreign_files() -> list[str]:
    """Files of the application's modules that are not below the current directory, nor where packages are installed."""
    here = os.getcwd() + os.sep
    installed = tuple(os.path.join(os.path.realpath(place), '') for place in (sys.prefix, sys.base_prefix))
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    files = {getattr(module, '__file__', None) for module in [*sys.modules.values()]}
    return sorted(
        file
        for file in files
        if isinstance(file, str) and file.endswith('.py') and not file.startswith((here, package))
        and not os.path.realpath(file).startswith(installed) and f'{os.sep}site-packages{os.sep}' not in file
    )  # fmt: skip


class _Ending:
    """Stops the worker when it is told to: at a signal, or by the leash.

    A worker that is held by a leash hears ``stop`` and ``hurry`` from there.  Signals that reach it as well, because
    they were sent to all processes, then say no more than ``stop``.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self, worker: Worker, notify: Notify, held: bool) -> None:
        self._worker = worker
        self._notify = notify
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._stops = 0

    def take_signals(self) -> None:
        """Have signals come here, instead of to the worker."""
        for number in self.SIGNALS:
            # What this process was told to ignore, as by `nohup`, it ignores.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._signalled, number)

    def leave(self) -> None:
        """The worker has ended; a signal that comes late is no reason to end in a bad way."""
        for number in self.SIGNALS:
            self._loop.remove_signal_handler(number)
            if self._held:
                signal.signal(number, signal.SIG_IGN)

    def hear(self, word: str) -> None:
        """Do as the leash says; from any thread."""
        with contextlib.suppress(RuntimeError):  # the event loop is over
            self._loop.call_soon_threadsafe(self._stop, 2 if word == 'hurry' else 1)

    def _signalled(self, number: int) -> None:
        self._stop(1 if self._held or number == signal.SIGHUP else self._stops + 1)

    def _stop(self, times: int) -> None:
        """Have the worker told to stop so many times, those before included."""
        self._notify.tell('STOPPING=1')
        while self._stops < times:
            self._stops += 1
            self._worker.stop()
