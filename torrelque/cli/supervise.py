"""The process that starts the others, and keeps them running until it is told to stop.

It imports nothing of the application, so it cannot break by it.  Of several processes of a worker the first is started
alone: what is wrong with the application, or with its server, is shown once.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .child import Child
from .failure import Exit
from .leash import BEAT
from .notify import Notify
from .options import STALL, RunOptions
from .reload import Watcher

if TYPE_CHECKING:
    from .probes import Probes, Seen

logger = logging.getLogger(__package__)

EARLY = 5.0
"""s after its start, before which the end of a process is an early one."""
EARLY_ENDS = 3
"""Early ends, with no process that was ever ready, after which we give up."""
LONGEST = 30.0
"""s after which a process is started again, at the most; the first time it is 1."""
ALONE = 20.0
"""s after which the others are started beside a first process that has imported the application and is not ready yet:
longer than a server is waited for that is away from the first."""
RELOADING = 2.0
"""s that a process may finish what is in hand at a reload."""


def supervise(workers: Sequence[RunOptions], command: Sequence[str], probes: 'Probes | None' = None) -> int:
    """Start processes and keep them running; the exit code.

    :param workers: what each worker is told, which has so many processes.
    :param command: starts one of them, but for its number, and for the name of a worker of a file.
    :param probes: what is shown to probes, if anything is.
    """
    return asyncio.run(_Crew(workers, command, probes).run())


class _Kind:
    """A worker, of which there may be several processes."""

    def __init__(self, options: RunOptions) -> None:
        self.name = None if options.filed is None else options.filed.worker
        """Its name in a file."""
        self.words = [] if self.name is None else [f'--only={self.name}']
        """What of the command line says that it is meant."""
        self.first = asyncio.Event()
        """Set when the first process is ready, or has taken long for it, so that the others can be started."""
        self.loaded = False
        """Whether any process has ever imported the application."""
        self.was_ready = False
        """Whether any has ever been."""
        self.early = 0
        """Early ends until then."""


class _Slot:
    """The place of one process, which is filled again when that has ended."""

    def __init__(self, kind: _Kind, number: int) -> None:
        self.kind = kind
        self.number = number
        """Counted from 1, among those of the worker."""
        self.label = f'process {number}' if kind.name is None else f'process {number} of {kind.name}'
        self.child: Child | None = None
        self.next: Child | None = None
        """The process that takes the place of this one when that has ended."""
        self.tries = 0
        """How often the process was started again without having lasted."""
        self.wake = asyncio.Event()
        """Set when whatever is waited for here is not to be waited for any more."""

    @property
    def delay(self) -> float:
        """How long (s) to wait before the process is started again."""
        return min(2.0 ** min(self.tries, 10), LONGEST)


class _Crew:
    """All processes, and what is to become of them."""

    def __init__(self, workers: Sequence[RunOptions], command: Sequence[str], probes: 'Probes | None') -> None:
        # Legend.  _stops: how often we were told to stop.  _code: what to end with, if that is decided.  _loading: what
        # starts all anew, or one after the other.  _terminal: whether we began at one.  _all_ready: whether the service
        # manager was told that all are ready.  _replacing: how many are replacing them.
        self._options = options = workers[0]
        self._burst = options.burst
        self._command = command
        self._probes = probes
        self._all_ready, self._replacing = False, 0
        self._notify = Notify()
        self._stops = 0
        self._code: int | None = None
        self._loading: asyncio.Task[None] | None = None
        self._terminal = _has_terminal()
        self._kinds = [_Kind(one) for one in workers]
        self._slots = [
            _Slot(kind, number) for kind, one in zip(self._kinds, workers, strict=True)
            for number in range(1, one.processes + 1)
        ]  # fmt: skip
        self._children: set[Child] = set()
        self._watcher = Watcher(os.getcwd()) if options.reload else None
        if self._watcher is not None and options.filed is not None:
            self._watcher.add([options.filed.path])

    async def run(self) -> int:
        """Do all of it; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        beside = [asyncio.ensure_future(self._notify.keep_alive(self._is_fine))]
        beside.append(asyncio.ensure_future(self._notify.keep_status(self._status)))
        if self._options.stall is not None or self._options.probed:
            beside.append(asyncio.ensure_future(self._replace_stuck(self._options.stall or STALL)))
        if self._watcher is not None:
            beside.append(asyncio.ensure_future(self._watch(self._watcher)))
        async with self._probes.shown(self._look) if self._probes else contextlib.nullcontext():
            codes = await asyncio.gather(*(self._keep(slot) for slot in self._slots))
        if self._loading is not None:
            beside.append(self._loading)
        for one in beside:
            one.cancel()
        await asyncio.wait(beside)
        # Those that were to take the place of others, and did not come to it.
        codes += [await child.ended() for child in [*self._children]]
        if self._code is not None:
            return self._code
        # A process that was still importing the application when it was told to stop has ended by that signal.
        return Exit.ILL if {*codes} - {0, -signal.SIGTERM} else Exit.WELL

    # One place

    async def _start(self, slot: _Slot) -> Child:
        first = () if slot.kind.loaded else ('--first',)
        command = [*self._command, *slot.kind.words, '--child', str(slot.number), *first]
        child = await Child.start(command, lambda child, words: self._heard(slot.kind, child, words))
        self._children.add(child)
        child.on_end(self._children.discard)
        if self._stops:
            child.stop()
        return child

    async def _keep(self, slot: _Slot) -> int:
        """Keep a process running; the exit code of the last one, once it was told to end."""
        code = 0
        while not self._stops:
            if slot.number > 1:
                await slot.kind.first.wait()
                if self._stops:
                    break
            child, slot.next = slot.next, None
            try:
                slot.child = child = child or await self._start(slot)
            except OSError as exc:
                logger.error('%s cannot be started, and it is tried again: %s', slot.label, exc)
                await self._back_off(slot)
                continue
            slot.wake.clear()
            if slot.next is not None:
                # It was being started while another one was made for its place.
                child.stop()
            code = await child.ended()
            slot.child = None
            if child.asked or slot.next is not None:
                continue
            if self._burst and code == 0:
                # It may have ended before it could tell that it was ready.
                slot.kind.first.set()
                break
            await self._ended_unasked(slot, child, code)
            code = 0
        return code

    async def _ended_unasked(self, slot: _Slot, child: Child, code: int) -> None:
        """A process has ended: decide whether and when another one takes its place, and wait until then."""
        lasted = asyncio.get_running_loop().time() - child.began
        how = f'by signal {-code}' if code < 0 else f'with {code}'
        kind = slot.kind
        if self._stops:
            return
        if self._watcher is not None and not child.ready and child.failed != Exit.AWAY:
            logger.info('the process has ended %s; it is started again when a file changes', how)
            await slot.wake.wait()
            return
        if child.failed is not None and (self._burst or not kind.was_ready):
            self._end_all(child.failed)
            return
        if not kind.was_ready:
            kind.early += lasted < EARLY
            if kind.early >= EARLY_ENDS:
                logger.error(
                    '%d processes have ended within %g s of their start, the last %s', EARLY_ENDS, EARLY, how
                )
                self._end_all(Exit.ILL)
                return
        slot.tries = 0 if child.ready and lasted > LONGEST else slot.tries
        again = '%s (pid %d) has ended %s, and is started again in %g s'
        logger.warning(again, slot.label, child.pid, how, slot.delay)
        await self._back_off(slot)

    async def _back_off(self, slot: _Slot) -> None:
        """Wait before the next start, longer each time."""
        delay = slot.delay
        slot.tries += 1
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(slot.wake.wait(), delay)
        slot.wake.clear()

    def _heard(self, kind: _Kind, child: Child, words: Mapping[str, Any]) -> None:
        """A process has told something of itself."""
        if 'loaded' in words:
            kind.loaded = True
            asyncio.get_running_loop().call_later(ALONE, kind.first.set)
        if self._watcher is not None:
            self._watcher.add(words.get('files', ()))
        if 'ready' in words:
            kind.was_ready = True
            kind.first.set()
            if all(slot.child is not None and slot.child.ready for slot in self._slots):
                self._all_ready = True
                if not self._replacing:
                    self._notify.tell('READY=1')

    def _is_fine(self, within: float) -> bool:
        """Whether each process that was ever ready gives signs of life."""
        now = asyncio.get_running_loop().time()
        return all(now - child.heard < max(within, 3 * BEAT) for child in self._children if child.ready)

    def _look(self) -> list['Seen']:
        """How each process is, for probes."""
        from .probes import Seen, State

        now, found = asyncio.get_running_loop().time(), []
        for number, slot in enumerate(self._slots, 1):
            child = slot.child
            state = None if child is None or child.state is None else State.unpack(child.state)
            # What is still importing tells nothing for a while.
            silent = now - child.heard - BEAT if child is not None and child.ready else 0.0
            found.append(Seen(number, state, max(0.0, silent), slot.label))
        return found

    def _status(self) -> str:
        """What is told of all processes in a few words."""
        ready = sum(slot.child is not None and slot.child.ready for slot in self._slots)
        return f'{ready} of {len(self._slots)} processes are ready'

    async def _replace_stuck(self, stall: float) -> None:
        """Kill each process that was ready and has given no sign of life for so long (s); others take their places."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            if loop.time() > due + BEAT:
                continue  # it was us who stood still, and what they told meanwhile is not read yet
            for child in [*self._children]:
                # A little later than probes say so, for these to be told.
                if child.ready and not child.stuck and loop.time() - child.heard > stall + 2 * BEAT:
                    told = 'the event loop of pid %d has stood still for %.0f s, so the process is killed and replaced'
                    logger.error(told, child.pid, loop.time() - child.heard)
                    child.replace()

    # The end

    def _stop(self) -> None:
        """Have all processes end; at the second call, in a hurry."""
        self._stops += 1
        if self._stops == 1:
            self._notify.tell('STOPPING=1')
        if self._loading is not None:
            self._loading.cancel()
        for child in self._children:
            (child.stop if self._stops == 1 else child.hurry)()
        for kind in self._kinds:
            kind.first.set()
        for slot in self._slots:
            slot.wake.set()

    def _end_all(self, code: int) -> None:
        """Give up."""
        self._code = code
        self._stop()

    # Beginning anew

    def _hang_up(self) -> None:
        """SIGHUP: the terminal is gone, which is the end; or somebody wants all processes to be replaced."""
        if self._terminal and not _has_terminal():
            self._stop()
        elif not self._stops:
            self._load(self._replace())

    def _load(self, loading: Coroutine[Any, Any, None]) -> None:
        """Begin to start all anew; what was begun so before goes on no more."""
        if self._loading is not None:
            self._loading.cancel()
        self._loading = asyncio.ensure_future(loading)

    async def _replace(self) -> None:
        """Replace the processes one by one, as the service manager is told."""
        self._replacing += 1
        self._notify.reloading()
        try:
            await self._replace_each()
        finally:
            # Another hang-up may have begun it anew before this has ended.
            self._replacing -= 1
            if self._all_ready and not self._replacing and not self._stops:
                self._notify.tell('READY=1')

    async def _replace_each(self) -> None:
        """Do so: a new process is ready before the old one is told to stop.  Where it does not become ready, the old
        ones stay."""
        for slot in self._slots:
            if slot.child is None:
                slot.wake.set()
                continue
            try:
                new = await self._start(slot)
            except OSError as exc:
                logger.error('no new process can be started, so the others stay: %s', exc)
                return
            try:
                await new.up.wait()
            except asyncio.CancelledError:
                new.hurry()
                raise
            if not new.ready:
                logger.error('the new process has ended before it was ready, so no further one is replaced')
                return
            # Meanwhile another one may have come to its place, or be about to, by a hang-up before this one.
            before = [child for child in (slot.child, slot.next) if child is not None]
            slot.next = new
            slot.wake.set()
            others = ' and '.join(f'pid {child.pid}' for child in before) or 'none'
            logger.info('%s (pid %d) takes over from %s', slot.label, new.pid, others)
            for child in before:
                child.stop()
            for child in before:
                await child.ended()
        logger.info('all processes are replaced')

    async def _watch(self, watcher: Watcher) -> None:
        """Start all anew at each change of a file."""
        while True:
            changed = await watcher.wait()
            if self._stops:
                return
            logger.info('%s has changed; starting again', changed)
            self._load(self._reload())

    async def _reload(self) -> None:
        """Have all processes end, in a hurry after a moment; their places are filled again as they end."""
        for kind in self._kinds:
            kind.first.clear()
            kind.early = 0
        children = [*self._children]
        for child in children:
            child.stop()
        for slot in self._slots:
            slot.tries = 0
            slot.wake.set()
        if children:
            await asyncio.wait([asyncio.ensure_future(child.ended()) for child in children], timeout=RELOADING)
        for child in children:
            if child.alive:
                child.hurry()


def _has_terminal() -> bool:
    """Whether this process has a terminal that can send it signals."""
    try:
        os.close(os.open('/dev/tty', os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
