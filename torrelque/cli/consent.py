"""Whether an act may go on: it is refused where only reading is allowed, and asks whoever sits at the terminal."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from .failure import Exit, Failure
from .out import Out
from .session import Session, answer, is_read_only

T = TypeVar('T')

HANGUP = [signal.SIGHUP] if hasattr(signal, 'SIGHUP') else []

READ_ONLY = 'only reading is allowed here, by --read-only or TORRELQUE_READ_ONLY; nothing was changed'


def answer_act(
    found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], *, new: bool | None = False
) -> int:
    """Carry a command out that changes something, as `torrelque.cli.session.answer` does.

    :param new: whether it is fine with a queue that nothing is known of, as an enqueue is; None is to be asked.
    :raises Failure: only reading is allowed, and nobody has talked to a server; or no queue of this name is known.
    """
    refuse_to_act(found)
    return answer(found, call) if new else answer_known(found, call, new=new)


def answer_known(
    found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], *, new: bool | None = False
) -> int:
    """Carry a command out on queues that there are, as `answer_act` does: a slip of the pen is no queue without tasks.
    """

    async def checked(session: Session) -> int:
        unknown = await _find_unknown(session)
        if unknown is None:
            return await call(session)
        if new is not None:
            raise Failure(unknown, Exit.ILL)
        sentence = unknown if unknown.endswith('?') else f'{unknown}.'
        if not may_ask(found):
            raise Failure(f'{sentence}  --yes does it all the same', Exit.ILL)
        return await call(session) if await agree(session.out, f'{sentence}  Is it meant all the same?') else Exit.ILL

    return answer(found, checked)


async def agree(out: Out, question: str) -> bool:
    """Ask as `ask` does, and say what no comes to."""
    if await ask(out, question):
        return True
    out.tell('nothing was changed')
    return False


async def _find_unknown(session: Session) -> str | None:
    """What is to be said of a queue that has no key and is on no list, if there is one."""
    from .filed import declares
    from .naming import unknown

    if session.found.app is not None:
        return None  # an app has no other queues than its own
    for queue in session.queues:
        if not declares(session.found, queue.name) and (complaint := await unknown(queue)) is not None:
            return complaint
    return None


def refuse_to_act(found: argparse.Namespace) -> None:
    """Raise where only reading is allowed."""
    if is_read_only(found):
        raise Failure(READ_ONLY, Exit.REFUSED)


def may_ask(found: argparse.Namespace) -> bool:
    """Whether somebody is there to be asked."""
    return not found.json and sys.stdin.isatty() and sys.stderr.isatty()


async def ask(out: Out, question: str) -> bool:
    """Ask on standard error, and wait for the answer; all but yes is no."""
    from rich.text import Text

    from .clean import shown

    out.error.print(Text(f'{shown(question)} [y/N] '), end='', soft_wrap=True)
    loop, answered = asyncio.get_running_loop(), asyncio.Event()
    # A thread that waits for a line would keep the process from its end at Ctrl-C.
    loop.add_reader(sys.stdin.fileno(), answered.set)
    try:
        await answered.wait()
    except asyncio.CancelledError:
        out.tell('')
        raise
    finally:
        loop.remove_reader(sys.stdin.fileno())
    # The terminal gives a line at a time, and reading one byte after the other leaves what is behind it to others.
    line = b''
    while not line.endswith(b'\n') and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    if not line.endswith(b'\n'):
        out.tell('')
    return line.decode(errors='replace').strip().lower() in ('y', 'yes')


async def interruptible(work: Coroutine[Any, Any, T]) -> T | None:
    """The result of some work; None where a signal, Ctrl-C, SIGTERM or the end of the terminal, ended it before.  A
    second signal ends the process."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    told: list[int] = []

    def end(number: int) -> None:
        told.append(number)
        for one in taken:
            loop.remove_signal_handler(one)
        task.cancel()

    taken: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM, *HANGUP):
        with suppress(ValueError, RuntimeError, NotImplementedError):  # only the main thread is told of signals
            loop.add_signal_handler(number, end, number)
            taken.append(number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        return None
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
