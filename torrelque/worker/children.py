"""Runs plain functions in processes, one for each call at a time, which are killed when they do not end in time."""

import asyncio
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

from torrelque import TorrelqueError, TorrelqueTaskId

from .delivery import Delivery
from .retry import Reject
from .threads import Threads


class ChildError(TorrelqueError):
    """The process of a handler died, or its answer cannot be read."""


class ChildDelivery:
    """What a handler in a process is called with: `Delivery` without its queue."""

    def __init__(self, task_id: TorrelqueTaskId, task: Any, pipe: 'multiprocessing.connection.Connection') -> None:
        self.id = task_id
        self.task = task
        self._pipe = pipe

    @property
    def attempt(self) -> int:
        """Which hand-out of the task this is, 1 at the first."""
        return self.id.attempt or 1

    @property
    def group(self) -> str | None:
        """The task's group, if it has one."""
        return self.id.group

    def report(self, progress: Any) -> bool:
        """Write down how far the work is; False when the task is not ours any more."""
        self._pipe.send(('report', progress, ''))
        held: bool = self._pipe.recv()
        return held


class _Child:
    def __init__(self) -> None:
        # A fork of a process with threads and an event loop may hang.
        spawn = multiprocessing.get_context('spawn')
        self.pipe, other = spawn.Pipe()
        # Ctrl-C is for the worker, which ends the child in its time; it is born deaf to it.
        self.process = spawn.Process(target=_serve, args=(other,), daemon=True)
        if hasattr(signal, 'pthread_sigmask'):
            # The tracker would unblock what is blocked here, when it is started.
            multiprocessing.resource_tracker.ensure_running()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self.process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        else:
            self.process.start()
        other.close()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Children:
    """A process for each call that runs at the same time; each is used again, until it dies or is killed.

    Handler, task and result travel by pickle, between a process and its own child only.
    """

    def __init__(self) -> None:
        self._threads = Threads('torrelque-child')
        self._idle: list[_Child] = []
        self._closed = False

    async def run(self, call: Callable[[Any], Any], delivery: Delivery) -> Any:
        """Run a handler in a process; when cancelled, the process is killed."""
        child = self._idle.pop() if self._idle else await self._start()
        fine = False
        try:
            # Shielded: a thread that is still at it is not free for another call.
            error, value, trace = await asyncio.shield(self._threads.run(_ask, child, call, delivery))
            fine = not self._closed
        except (EOFError, OSError) as exc:
            await self._threads.run(child.process.join, 1)
            raise ChildError(f'the process of the handler died (exit code {child.process.exitcode})') from exc
        finally:
            if fine:
                self._idle.append(child)
            else:
                child.process.kill()
                self._threads.run(child.end)
        if error is not None:
            raise error from ChildError(f'in the process of the handler:\n{trace}')
        return value

    async def _start(self) -> _Child:
        child = self._threads.run(_Child)
        try:
            return await asyncio.shield(child)
        except asyncio.CancelledError:
            child.add_done_callback(lambda child: child.exception() or child.result().end())
            raise

    def close(self) -> None:
        """Kill the idle processes, and the others when their call ends."""
        self._closed = True
        for child in self._idle:
            child.end()
        self._idle.clear()
        self._threads.close()


def _ask(child: _Child, call: Callable[[Any], Any], delivery: Delivery) -> tuple[BaseException | None, Any, str]:
    """In a thread of the worker: have a child work, and wait for its answer: the error, or the result."""
    child.pipe.send((call, delivery.id, delivery.task))
    while True:
        kind, value, rest = child.pipe.recv()
        if kind == 'report':
            child.pipe.send(delivery.report(value))
        else:
            return (value, None, rest) if kind == 'error' else (None, value, '')


def _serve(pipe: 'multiprocessing.connection.Connection') -> None:
    """In the child: work until the worker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    while True:
        try:
            call, task_id, task = pipe.recv()
        except EOFError:
            return
        try:
            result = call(ChildDelivery(task_id, task, pipe))
        except BaseException as exc:
            data = _pack_error(exc)
        else:
            data = _pack_result(result)
        pipe.send_bytes(data)


def _pack_result(result: Any) -> bytes:
    try:
        return pickle.dumps(('result', result, ''))
    except Exception as exc:
        # To do it all again would not help.
        return _pack_error(Reject(f'the result cannot be pickled: {exc}'))


def _pack_error(error: BaseException) -> bytes:
    trace = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        # Many exceptions can be pickled and not be read again.
        pickle.loads(data := pickle.dumps(('error', error, trace)))
    except Exception:
        text = traceback.format_exception_only(type(error), error)[-1].rstrip()
        data = pickle.dumps(('error', ChildError(text), trace))
    return data
