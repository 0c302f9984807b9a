"""Runs plain functions in processes, one for each call at a time, which are killed when they do not end in time."""

import asyncio
import pickle
import signal
from collections.abc import Callable
from typing import Any

from torrelque import TorrelqueError

from .bounds import Bounds
from .child import ANSWER, Answer, ChildError, as_answer, hopeless, is_imported, last_line, pack_failure
from .delivery import Delivery
from .process import Process, end_all
from .threads import Threads, result_of


class _DiedError(Exception):
    """A process has died during a call."""

    def __init__(self, begun: bool) -> None:
        super().__init__()
        self.begun = begun
        """Whether it may have begun to work."""


class Children:
    """A process for each call that runs at the same time; each is used again, until it dies or is killed.

    Handler, task and result travel by pickle, between a process and its own child only.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._threads = Threads('torrelque-child')
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._closed = False

    async def run(self, call: Callable[[Any], Any], delivery: Delivery) -> Any:
        """Run a handler in a process; when cancelled, the process is killed, and what it started.

        :raises ChildError: the process died, or could not be started.
        :raises Reject: handler, task or result cannot be pickled, or not be read on the other side.
        """
        while self._idle:
            child = self._idle.pop()
            if not child.dead:
                try:
                    return await self._call(child, call, delivery)
                except _DiedError as exc:
                    if exc.begun:
                        raise _death_of(child) from exc
                    # The process was killed while it had nothing to do, so call another one.
                    break
            else:
                self._all.discard(child)
                child.pipe.close()
        child = await self._start()
        try:
            return await self._call(child, call, delivery)
        except _DiedError as exc:
            raise _death_of(child) from exc

    async def _call(self, child: Process, call: Callable[[Any], Any], delivery: Delivery) -> Any:
        asking = self._threads.run(_ask, child, call, delivery)
        usable = False
        try:
            answer = await result_of(asking)
            usable = answer.usable and not self._closed
        finally:
            if usable:
                self._idle.append(child)
            else:
                self._all.discard(child)
                child.kill()
                # The next attempt must not begin while something of this one still runs, so wait for its end.
                await asyncio.wait([asking], timeout=self._bounds.killed)
                if asking.done():
                    child.pipe.close()
        if answer.error is None:
            return answer.value
        if answer.trace:
            cause = ChildError(f'in the process of the handler:\n{answer.trace}')
            cause.trace = answer.trace
            raise answer.error from cause
        raise answer.error

    async def _start(self) -> Process:
        starting = self._threads.run(self._make)
        try:
            return await result_of(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise
        except Exception as exc:
            raise ChildError(f'no process could be started for the handler: {last_line(exc)}') from exc

    def _make(self) -> Process:
        child = Process(self._bounds)
        self._all.add(child)
        if self._closed:
            child.kill()
        return child

    def _keep(self, starting: 'asyncio.Future[Process]') -> None:
        if starting.exception() is None:
            self._idle.append(starting.result())

    async def close(self) -> None:
        """End the processes, also when cancelled; idle processes have time to end in their own way."""
        self._closed = True
        idle, self._idle = self._idle, []
        try:
            if self._all:
                await result_of(self._threads.run(end_all, self._all, self._bounds, idle))
        finally:
            self._threads.close()


def check_not_imported() -> None:
    """Refuse to work in a process of handlers that just imports the main program: it would be the worker once more."""
    if is_imported():
        raise TorrelqueError(
            "the main program runs a worker while a process imports it: it needs its if __name__ == '__main__'"
        )


def _ask(child: Process, call: Callable[[Any], Any], delivery: Delivery) -> Answer:
    """In a thread of the worker: have a process work, and wait for its answer."""
    try:
        data = pickle.dumps((call, delivery.id, delivery.task))
    except Exception as exc:
        return hopeless('the task cannot be pickled', exc)
    sent = heard = False
    try:
        child.pipe.send_bytes(data)
        sent = True
        while (data := child.pipe.recv_bytes())[:1] != ANSWER:
            heard = True
            child.pipe.send_bytes(_report(delivery, data[1:]))
    except (EOFError, OSError) as exc:
        child.kill()
        child.join()
        # By a reset the system tells that the other end was closed before it had read everything; here, the call.
        unread = not sent or isinstance(exc, ConnectionResetError)
        raise _DiedError(begun=heard or not unread) from exc
    try:
        return Answer(*pickle.loads(data[1:]))
    except Exception as exc:
        return hopeless('the result cannot be read', exc)


def _report(delivery: Delivery, progress: bytes) -> bytes:
    try:
        answer = Answer(None, delivery.report(pickle.loads(progress)))
    except BaseException as exc:
        # Raise the error in the handler, whose report it is.
        return pack_failure(as_answer(exc))
    return pickle.dumps(tuple(answer))


def _death_of(child: Process) -> ChildError:
    code = child.exit_code
    if code is None:
        how = 'it is not known how'
    elif code >= 0:
        how = f'exit code {code}'
    else:
        try:
            how = f'killed by {signal.Signals(-code).name}'
        except ValueError:
            how = f'killed by signal {-code}'
        if how.endswith('SIGKILL'):
            how += ', which the system sends where memory runs out'
    return ChildError(f'the process of the handler died ({how})')
