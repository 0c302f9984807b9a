"""The process of a handler, seen from within: it calls handlers for one worker, and ends with it."""

import datetime
import multiprocessing
import os
import pickle
import select
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from multiprocessing import spawn
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from torrelque import TorrelqueError, TorrelqueTaskId

from .deaf import be_deaf, hear_in_forks, unblock
from .delivery import headers_of, instant_of
from .retry import Reject
from .threads import as_failure
from .trace import trace_of

REPORT, ANSWER = b'r', b'a'
"""The first byte of a message of the process; the rest is a pickle: a progress, or an `Answer`."""


class ChildError(TorrelqueError):
    """The process of a handler died or could not be started, or the handler's exception cannot be pickled.

    As the cause of a handler's exception it has the traceback that this had in the process.
    """

    trace: str = ''
    """The traceback in the process, if there was one."""


class Answer(NamedTuple):
    """What came of a call of a handler, or of a report."""

    error: Exception | None
    value: Any = None
    trace: str = ''
    """The traceback that the error had in the process: an exception that is pickled loses its own."""
    usable: bool = True
    """Whether the process can be called again."""


class ChildDelivery:
    """What a handler in a process is called with: `Delivery` without its queue."""

    def __init__(self, task_id: TorrelqueTaskId, task: Any, pipe: 'Connection[Any, Any]') -> None:
        self.id = task_id
        self.task = task
        self._pipe = pipe
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._ended = False
        self._unanswered = False

    @property
    def attempt(self) -> int:
        """Which hand-out of the task this is, 1 at the first."""
        return self.id.attempt or 1

    @property
    def group(self) -> str | None:
        """The task's group, if it has one."""
        return self.id.group

    @property
    def scheduled(self) -> datetime.datetime | None:
        """As `Delivery.scheduled`."""
        return instant_of(self.id)

    @property
    def headers(self) -> Mapping[str, Any]:
        """As `Delivery.headers`."""
        return headers_of(self.task)

    def report(self, progress: Any) -> bool:
        """Write down how far the work is, from any thread of the process, and wait for the answer.

        :param progress: any value but None that can be pickled, and that the queue's serialiser takes.
        :return: False when the task is not ours any more, or the handler has ended.
        :raises Exception: as `Delivery.report`, when the queue or its server refuses the progress; and what pickle
            raises.
        :raises ChildError: this is another process, which the handler has forked.
        """
        data = REPORT + pickle.dumps(progress)
        if os.getpid() != self._process:
            raise ChildError('a report comes from the process of the handler, not from one that it has forked')
        with self._lock:
            if self._ended:
                return False
            self._unanswered = True
            self._pipe.send_bytes(data)
            answer = Answer(*pickle.loads(self._pipe.recv_bytes()))
            self._unanswered = False
        if answer.error is not None:
            raise answer.error
        return bool(answer.value)

    def _end(self) -> bool:
        """Have no more reports sent; whether all were answered.  One that a signal handler of the handler has
        interrupted was not."""
        with self._lock:
            self._ended = True
        return not self._unanswered


class Seed:
    """What a process begins with: `multiprocessing.spawn.spawn_main` reads it there, and calls its ``_bootstrap``."""

    def __init__(self, pipe: int, main: Mapping[str, str], parent: int) -> None:
        self._pipe = pipe
        self._main = dict(main)
        self._parent = parent

    def _bootstrap(self, sentinel: int) -> int:
        # The pipe, like the sentinel, is for this process alone: the programs of a handler inherit neither.
        os.set_inheritable(self._pipe, False)
        process: Any = multiprocessing.Process(
            target=serve, args=(Connection(self._pipe), self._main), name='torrelque-child'
        )
        process._parent_pid = self._parent
        code: int = process._bootstrap(sentinel)
        return code


def serve(pipe: 'Connection[Any, Any]', main: Mapping[str, str]) -> None:
    """In the process: work until the worker is gone."""
    be_deaf()
    unblock()
    hear_in_forks()
    # `multiprocessing` refuses children to its daemons; a handler may start some.
    multiprocessing.current_process().daemon = False
    end_with_parent()
    failed = _import_main(main)
    try:
        while True:
            data = pipe.recv_bytes()
            answer = _handle(data, pipe) if failed is None else _cannot_load('the main program', failed)
            _flush()
            be_deaf()
            pipe.send_bytes(ANSWER + _pack(answer))
            if not answer.usable:
                while pipe.recv_bytes():
                    pass
    except (EOFError, OSError):
        return


def end_with_parent() -> None:
    """Have this process, and what it started, be killed when its worker's process ends, whatever it does by then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    try:
        import fcntl

        # While a handler is in code that does not let go of the interpreter, no thread of this process has its turn.
        # So the system is asked to kill the process when the other end of the pipe is closed.
        sentinel = parent.sentinel
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    except (ImportError, AttributeError, OSError):  # not Linux
        threading.Thread(target=_wait_for, args=(parent,), name='torrelque-parent', daemon=True).start()
    else:
        if select.select([sentinel], [], [], 0)[0]:
            _kill_group()


def is_imported() -> bool:
    """Whether the main program is just being imported in a process of handlers, or of `multiprocessing`."""
    return getattr(multiprocessing.current_process(), '_inheriting', False)


def as_answer(error: BaseException) -> Answer:
    """The answer of a call that has failed."""
    return Answer(as_failure(error), None, trace_of(error))


def hopeless(what: str, error: BaseException) -> Answer:
    """The answer of a call that has failed and will fail again; an error that time may mend stays what it is."""
    if isinstance(error, (OSError, MemoryError)):
        return as_answer(error)
    return Answer(Reject(f'{what}: {last_line(error)}'), None, trace_of(error))


def last_line(error: BaseException) -> str:
    """An exception's class and message, without its traceback."""
    return traceback.format_exception_only(type(error), error)[-1].rstrip()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    _kill_group()


def _kill_group() -> None:
    if hasattr(os, 'killpg') and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _import_main(main: Mapping[str, str]) -> BaseException | None:
    process = multiprocessing.current_process()
    # While the attribute is there, `multiprocessing` refuses to start processes, as it does in its own processes.
    setattr(process, '_inheriting', True)  # noqa: B010
    try:
        spawn.prepare(dict(main))
    except BaseException as exc:
        return exc
    finally:
        delattr(process, '_inheriting')
    return None


def _flush() -> None:
    """Write out what was printed, because a process that is killed loses what it has in its buffers."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # closed, or None
        pass


def _handle(data: bytes, pipe: 'Connection[Any, Any]') -> Answer:
    try:
        call, task_id, task = pickle.loads(data)
    except BaseException as exc:
        return _cannot_load('the handler, or its task,', exc)
    # A module that was just imported may have set signal handlers of its own.
    be_deaf()
    delivery = ChildDelivery(task_id, task, pipe)
    process = os.getpid()
    try:
        answer = Answer(None, call(delivery))
    except BaseException as exc:
        answer = as_answer(exc)
    if os.getpid() != process:
        # This is a fork that the handler has made, and that has returned from it.  The pipe is its parent's, so it has
        # nobody to answer to.
        _flush()
        os._exit(0 if answer.error is None else 1)
    return answer if delivery._end() else answer._replace(usable=False)


def _cannot_load(what: str, error: BaseException) -> Answer:
    answer = hopeless(f'{what} cannot be loaded in a process', error)
    # Where time may mend the error, the next attempt is to be made by a process that has not tried before.
    return answer._replace(usable=isinstance(answer.error, Reject))


def _pack(answer: Answer) -> bytes:
    if answer.error is None:
        try:
            return pickle.dumps(tuple(answer))
        except BaseException as exc:
            answer = hopeless('the result cannot be pickled', exc)._replace(usable=answer.usable)
    return pack_failure(answer)


def pack_failure(answer: Answer) -> bytes:
    """Pickle the answer of a call that has failed, with another exception where its own cannot be sent."""
    assert answer.error is not None
    try:
        data = pickle.dumps(tuple(answer))
        # Many exceptions can be pickled and not be unpickled, so try both.
        if isinstance(pickle.loads(data)[0], Exception):
            return data
    except BaseException:
        pass
    return pickle.dumps((ChildError(last_line(answer.error)), *answer[1:]))
