"""``torrelque top``: the loop of the live view.  It asks the server, hears keys and signals, and draws.

What is shown is a value (`torrelque.cli.topkeys`), how it looks is a function of it (`torrelque.cli.topview`).  The
terminal is as it was before at any end.
"""

import argparse
import asyncio
import contextlib
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import redis.exceptions

from torrelque import TorrelqueError
from torrelque.operate import Outcome, Plan, Selection

from .failure import Exit
from .keys import Keys
from .out import number
from .server import describe
from .session import Session, answer, is_read_only
from .stats import stats
from .topkeys import RATE, Act, Row, State, press
from .toplook import Look
from .toptables import lines_of, rows_of

ESCAPE = 0.05
"""s after which an escape is a key of its own, and not the beginning of a sequence."""

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end it."""

LATE = 5.0
"""s above two looks, after which it is told that there is no answer."""

LEAST = 0.2
"""s between two questions, at the least."""


def top(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    try:
        import termios  # noqa: F401 - where there is none, as on Windows, there is no view
    except ImportError:
        seen = False
    else:
        seen = sys.stdin.isatty() and sys.stdout.isatty() and not found.json
    if not seen:
        found.history, found.watch = None, max(found.every, LEAST)
        return stats(found)
    return answer(found, _top, several=True)


async def _top(session: Session) -> int:
    view = View(session)
    async with view:
        return await view.run()


class View:
    """The live view, on the terminal of the process."""

    def __init__(self, session: Session) -> None:
        # Legend.  _moved: that something else is looked at, so that it is asked for at once.  _ended: the exit code, or
        # what went wrong in a callback.  _act: what is being done, if anything.
        from rich.live import Live

        self._operator = session.operator
        self._out = session.out
        self._every = max(session.found.every, LEAST)
        self._server = describe(session.client)
        self._state = State(read_only=is_read_only(session.found))
        self._look = Look(self._every)
        self._dots = 'utf' in (sys.stdout.encoding or '').lower()
        self._terminal = _Terminal()
        self._live = Live(console=session.out.console, screen=True, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False)  # fmt: skip
        self._keys = Keys()
        self._flush: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._act: asyncio.Task[None] | None = None
        self._skew, self._began = 0.0, time.monotonic()

    # The terminal

    async def __aenter__(self) -> 'View':
        loop = asyncio.get_running_loop()
        logging.disable(logging.CRITICAL)  # a line of the log would stand in the middle of the screen
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors='replace')  # names may have characters that the terminal has not
        try:
            self._show()
            loop.add_reader(self._terminal.input, self._guarded(self._read))
            for sign in ENDS:
                loop.add_signal_handler(sign, self._end, Exit.INTERRUPTED)
            for sign, does in self._signals():
                loop.add_signal_handler(sign, self._guarded(does))
        except BaseException:
            self._hide()
            raise
        return self

    def _signals(self) -> list[tuple[signal.Signals, Callable[[], None]]]:
        return [(signal.SIGWINCH, self._draw), (signal.SIGTSTP, self._suspend), (signal.SIGCONT, self._again)]

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for sign in (*ENDS, *(sign for sign, _ in self._signals())):
            loop.remove_signal_handler(sign)
        loop.remove_reader(self._terminal.input)
        if self._flush is not None:
            self._flush.cancel()
        self._hide()
        logging.disable(logging.NOTSET)
        if self._act is not None and not self._act.done():
            self._act.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._act
            self._out.tell(self._state.message)

    def _show(self) -> None:
        self._terminal.take()
        self._live.start()

    def _hide(self) -> None:
        # The terminal may be gone, and its settings are set back all the same.
        with contextlib.suppress(OSError):
            self._live.stop()
        self._terminal.give_back()

    def _suspend(self) -> None:
        """Stop the process as a shell expects it at Ctrl-Z; on from here when it goes on."""
        self._hide()
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._guarded(self._suspend))
        self._show()
        self._draw()

    def _again(self) -> None:
        """The process was stopped by somebody, and whoever had the terminal meanwhile may have changed it."""
        self._hide()
        self._show()
        self._draw()

    def _guarded(self, call: Callable[[], object]) -> Callable[[], None]:
        """A callback of the event loop whose error ends the view."""

        def guarded() -> None:
            try:
                call()
            except BaseException as exc:
                if not self._ended.done():
                    self._ended.set_exception(exc)

        return guarded

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    # What goes on

    async def run(self) -> int:
        """Show it until somebody ends it; the exit code."""
        tasks = [asyncio.create_task(self._ask()), asyncio.create_task(self._tick())]
        for task in tasks:
            task.add_done_callback(self._asked)
        try:
            return await self._ended
        finally:
            for task in tasks:
                task.cancel()

    def _asked(self, task: 'asyncio.Task[None]') -> None:
        """One of the tasks, which are without end, has ended."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def _tick(self) -> None:
        """Have ages grow, though the server takes its time."""
        while True:
            await asyncio.sleep(max(1.0, self._every))
            self._draw()

    async def _ask(self) -> None:
        while True:
            self._moved.clear()
            try:
                await self._look.ask(self._operator, self._state.spot, self._queue())
            except (TorrelqueError, redis.exceptions.RedisError, OSError) as exc:
                self._look.problem = str(exc) or type(exc).__name__
            if self._look.overviews:
                self._skew = max(one.server_time for one in self._look.overviews) - time.time()
            self._draw()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._moved.wait(), self._every)

    def _queue(self) -> str:
        """The queue that is looked at, or marked."""
        spot, rows = self._state.spot, self._rows()
        if spot.queue or not rows:
            return spot.queue
        return next((row.key for row in rows if row.key == spot.chosen), rows[0].key)

    def _rows(self) -> list[Row]:
        return rows_of(lines_of(self._state.spot, self._look, self._now()))

    def _now(self) -> float:
        return time.time() + self._skew

    def _draw(self) -> None:
        from rich.console import ConsoleDimensions

        from .topview import Frame, screen

        since = time.monotonic() - (self._began if self._look.answered is None else self._look.answered)
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
            # The variables COLUMNS and LINES, where they are there, do not follow a terminal that is resized.
            self._out.console.size = ConsoleDimensions(width or 80, height or 24)
            silent = since if self._look.problem is not None or since > LATE + 2 * self._every else None
            frame = Frame(width or 80, height or 24, self._server, self._now(), silent, self._dots)
            self._live.update(screen(self._state, self._look, frame, self._out), refresh=True)
        except OSError:
            self._end(Exit.INTERRUPTED)  # the terminal is gone

    # Keys

    def _read(self) -> None:
        try:
            data = os.read(self._terminal.input, 4096)
        except OSError:
            data = b''
        if not data:
            self._end(Exit.INTERRUPTED)  # the terminal is gone
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._press(self._keys.feed(data))
        if self._keys.pending:
            flush = self._guarded(lambda: self._press(self._keys.flush()))
            self._flush = asyncio.get_running_loop().call_later(ESCAPE, flush)

    def _press(self, keys: list[str]) -> None:
        for key in keys:
            before = self._state.spot
            one = self._look.of(before.queue)
            self._state, act = press(self._state, key, self._rows(), one is not None and one.paused)
            if act is not None:
                self._begin(act)
            if self._state.spot.place != before.place:
                self._moved.set()
        if self._state.over:
            self._end(Exit.WELL)
        if keys:
            self._draw()

    # Acts

    def _begin(self, act: Act) -> None:
        if self._act is not None and not self._act.done():
            self._tell('something is being done; wait for it')
            return
        self._act = asyncio.create_task(self._carry_out(act))

    async def _carry_out(self, act: Act) -> None:
        try:
            self._tell(await self._do(act))
        except (TorrelqueError, redis.exceptions.RedisError, OSError) as exc:
            self._tell(f'{act.describe()}: {exc}')
        except Exception as exc:
            if not self._ended.done():
                self._ended.set_exception(exc)
        self._look.again()
        self._moved.set()

    def _do(self, act: Act) -> Coroutine[Any, Any, str]:
        if act.name == 'count':
            return self._count(act)
        if act.name == 'redrive':
            return self._redrive(act)
        return self._switch(act)

    async def _switch(self, act: Act) -> str:
        if act.name == 'pause':
            await self._operator.pause(act.group, queue=act.queue)
        else:
            await self._operator.resume(act.group, queue=act.queue)
        return f'{act.describe()}: done'

    async def _count(self, act: Act) -> str:
        """Count what would be redriven, and ask whether it is to be, unless somebody does something else by now."""
        plan, spot = Plan(), self._state.spot
        await self._operator.redrive(Selection(status='dead'), queue=act.queue, dry_run=True, plan=plan)
        state = self._state
        if not plan.matched:
            return f'no task of queue {act.queue!r} is dead'
        if state.spot != spot or state.typing or state.help or state.question is not None:
            return 'nothing was changed'
        self._state = state.but(question=Act('redrive', act.queue, plan=plan))
        return ''

    async def _redrive(self, act: Act) -> str:
        if act.plan is None:
            selection, options = Selection(ids=[act.task or '']), {}
        else:
            selection, options = Selection(status='dead'), {'plan': act.plan, 'rate': RATE}
        of = '' if act.plan is None else f' of {number(act.plan.matched)}'

        def told(outcome: Outcome) -> None:
            self._tell(f'{number(outcome.done)}{of} redriven so far; q ends it')

        outcome = await self._operator.redrive(selection, queue=act.queue, on_progress=told, **options)
        why = ''.join(f'; {many} not: {reason}' for reason, many in outcome.refused)
        return f'{number(outcome.done)} redriven{why}'

    def _tell(self, text: str) -> None:
        self._state = self._state.but(message=text)
        if not self._ended.done():
            self._draw()


class _Terminal:
    """The terminal's settings: keys come one by one and are not echoed, while it is taken."""

    def __init__(self) -> None:
        import termios

        self.input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self.input)

    def take(self) -> None:
        """Have keys come one by one; Ctrl-C and Ctrl-Z are signals as before."""
        import tty

        tty.setcbreak(self.input)

    def give_back(self) -> None:
        """Set everything back."""
        import termios

        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self.input, termios.TCSADRAIN, self._before)
