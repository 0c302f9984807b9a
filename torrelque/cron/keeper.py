"""The keeper of calendars of a worker's event loop: no list of instants runs out while it is there.

It sets what is declared when the worker begins.  Then it fills lists up: those of which a sweep says that they run low,
and those of which half is used up, by one timer for the nearest.  Each minute it looks for lists that run low of which
it knows nothing, because they are new, or somebody else has swept.  Every some minutes it looks whether the server was
emptied, or has come back with an older declaration, and sets anew what is declared.
"""

import asyncio
import contextlib
import functools
import hashlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from torrelque import (
    Schedule,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueValueError,
)

from .ahead import ENOUGH, FEW, LASTING, Line
from .asking import Time, ask_time, look_declared, look_for_low
from .plan import Plan
from .setting import fill_up, find_line, put

logger = logging.getLogger(__package__)

CODE = 'code:'
"""What the ``source`` of a schedule begins with that is declared in code; the name of the app follows."""
SECOND_LOOK = 300.0
"""How long (s) until it is looked again whether what is declared is in place."""
ROUNDS = 3
"""How often what is declared is set at the most where others set theirs at the same time."""
SOONEST = 1.0
"""How long (s) a list is left alone at least that was filled up by the timer."""
LOW_LOOK = 60.0
"""How long (s) until it is looked which lists run low."""
PAGE, PAGES = 500, 4
"""How many schedules one script looks at, about, and how many scripts there are in a look."""
AGAIN = 10.0
"""After how long (s) is tried again what has failed."""


class Owner:
    """Which app declares schedules.

    :param name: the app's name; an app without one owns nothing, so that what it does not declare any more stays.
    :param process: what tells this process from others.
    """

    def __init__(self, name: str | None, revision: int | None, process: str) -> None:
        self.name = name
        self.revision = revision
        self.process = process
        self.warned = False
        """Whether it was told what is left over."""

    @property
    def source(self) -> str:
        """The ``source`` of the schedules."""
        return CODE + (self.name or '')


class Ear:
    """Hears which schedules of a queue run low, beside whoever else does: several apps may have one queue object."""

    def __init__(self, queue: TorrelqueQueue, hear: Callable[[Sequence[str]], object]) -> None:
        self._queue = queue
        self._hear = hear
        known: Any = queue.when_low
        self._ears: Ears = known if isinstance(known, Ears) else Ears(known)
        self._ears.open.append(hear)
        queue.when_low = self._ears

    def close(self) -> None:
        """Hear no more."""
        self._ears.open.remove(self._hear)
        if not self._ears.open and self._queue.when_low is self._ears:
            self._queue.when_low = self._ears.before


class Ears:
    """All that hear of one queue object: `Torrelque.when_low`."""

    def __init__(self, before: Callable[[list[str]], object] | None) -> None:
        self.open: list[Callable[[Sequence[str]], object]] = []
        self.before = before
        """What the owner of the queue object has set."""

    def __call__(self, names: list[str]) -> None:
        for hear in self.open:
            hear(names)
        if self.before is not None:
            self.before(names)


class Keeper:
    """Keeps the schedules of some queues in one event loop."""

    def __init__(self, queues: Mapping[str, TorrelqueQueue], declared: Mapping[str, Plan], owner: Owner) -> None:
        # Legend.  _queues: by what the app calls them.  _declared: plans by names, which may still grow.  _owner: who
        # declares them.  _due: when half of a list will be used up, by the clock of the event loop.  _idle: until when
        # nothing can be done for a list.  _pages: where the next look for low lists goes on, for each queue.  _starts:
        # when the app has begun, for each queue, and the note that was found there.  _wake: that there is something to
        # do.  _keeping: what keeps the lists filled.  _ears: what hears of lists that run low.  _told: schedules of
        # which the log has that their calendar is not understood.
        self._queues = queues
        self._declared = declared
        self._owner = owner
        self._due: dict[tuple[str, str], float] = {}
        self._idle: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()
        self._pages: dict[str, bytes] = {}
        self._starts: dict[str, tuple[bytes, bytes]] = {}
        self._wake = asyncio.Event()
        self.users = 0
        """Workers that have it keep the lists now."""
        self._keeping: asyncio.Task[None] | None = None
        self._ears: list[Ear] = []

    # The beginning

    async def begin(self) -> None:
        """Set what is declared, remove what the app does not declare any more, and fill up all lists.

        :raises TorrelqueError: the server could not be reached, or refused it.
        """
        for place, queue in self._queues.items():
            self._starts.pop(place, None)
            counts = await self._look(place) != 'newer'
            if not counts:
                logger.info(
                    'queue %r: the schedules are left as a higher revision than %s of %r has set them', queue.name,
                    self._owner.revision, self._owner.name or '',
                )  # fmt: skip
            await self._settle(place, counts)

    async def _settle(self, place: str, counts: bool) -> None:
        for _ in range(ROUNDS):
            await self._set(place, counts)
            if not counts or await self._look(place, done=True) != 'older':
                break

    async def _set(self, place: str, counts: bool) -> None:
        """Where the app's declaration counts, set it, and remove what it has not; fill up all lists."""
        queue, plans = self._queues[place], self._plans_of(place)
        for plan in plans.values() if counts else ():
            await put(queue, plan, self._owner.source, self._owner.revision)
        left: list[str] = []
        time = await ask_time(queue)
        async for record in queue.get_schedules():
            if counts and record.source == self._owner.source and record.name not in plans:
                if await self._remove(queue, record):
                    continue
                left.append(record.name)
            await self._fill_another(place, record, time)
        if left and self._owner.name is None and not self._owner.warned:
            self._owner.warned = True
            logger.warning(
                'queue %r: an app without a name has declared schedules that this one does not: %s; that may be '
                'another app, which needs them, or what is left of an earlier version; Tasks(…, name=…) tells apps '
                'apart, and has each remove its own', queue.name, ', '.join(sorted(left)),
            )  # fmt: skip

    async def _remove(self, queue: TorrelqueQueue, record: Schedule) -> bool:
        owner = self._owner
        if owner.name is None or not await queue.remove_schedule(
            record.name, source=owner.source, revision=owner.revision
        ):
            return False
        logger.info(
            'queue %r: the schedule %r is removed, because %r does not declare it', queue.name, record.name, owner.name
        )
        return True

    async def _look(self, place: str, done: bool = False) -> str:
        """Whose declaration is in place, or, when it is ``done``, note that it is this one."""
        owner, plans = self._owner, self._plans_of(place)
        if not plans and owner.name is None:
            return 'own'
        # Apps without a name are told apart by what they declare.
        names = '' if owner.name is not None else hashlib.sha256('\n'.join(sorted(plans)).encode()).hexdigest()[:16]
        start, note = self._starts.get(place, (b'', b''))
        word, start, note = await look_declared(
            self._queues[place], owner.source + names, owner.process, owner.revision, start, note if done else None
        )
        self._starts[place] = start, note
        return word

    def _plans_of(self, place: str) -> dict[str, Plan]:
        return {name: plan for name, plan in self._declared.items() if plan.work.queue == place}

    # While the worker runs

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the lists filled in a block; several workers of an event loop may be in one at once."""
        if not self.users:
            ears = [Ear(queue, functools.partial(self.tell_low, place)) for place, queue in self._queues.items()]
            self._ears = ears
            self._keeping = asyncio.create_task(self._keep(), name='torrelque calendars')
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            if not self.users and self._keeping is not None:
                for ear in self._ears:
                    ear.close()
                self._keeping.cancel()
                await asyncio.wait([self._keeping])

    def tell_low(self, place: str, names: Sequence[str]) -> None:
        """A sweep has fired schedules of a queue that have few instants left."""
        for name in names:
            self._due[place, name] = -math.inf
        self._wake.set()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        look, low = loop.time() + SECOND_LOOK, loop.time() + LOW_LOOK
        while True:
            timer = loop.call_at(min(look, low, *self._due.values()), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            if loop.time() >= look:
                done = await self._try(self._look_again)
                look = loop.time() + (SECOND_LOOK if done else min(SECOND_LOOK, AGAIN))
            if loop.time() >= low:
                await self._try(self._look_for_low)
                low = loop.time() + LOW_LOOK
            for each in [each for each, due in self._due.items() if due <= loop.time()]:
                # What fails, or is there again in no time, is left alone for a while.
                self._due[each] = loop.time() + AGAIN
                await self._try(functools.partial(self._fill_one, *each))

    async def _try(self, act: Callable[[], Any]) -> bool:
        try:
            await act()
            return True
        except TorrelqueError as exc:
            logger.warning('calendars could not be filled up, and are tried again in some seconds: %s', exc)
        except Exception:
            logger.exception('calendars could not be filled up, and are tried again in some seconds')
        return False

    async def _look_again(self) -> None:
        """Set what is declared where the server was emptied, or has a declaration that does not count beside it."""
        for place, queue in self._queues.items():
            word = await self._look(place)
            if word == 'lost':
                logger.warning('queue %r: the server has lost the schedules, and they are set again', queue.name)
            elif word == 'older':
                logger.info(
                    'queue %r: the schedules of %r are set again, because those of an older process, or of a snapshot, '
                    'are in place', queue.name, self._owner.name or '',
                )  # fmt: skip
            if word in ('lost', 'older'):
                await self._settle(place, True)

    async def _look_for_low(self) -> None:
        """Find lists that run low of which no sweep of this process has told, because somebody else has swept, or they
        were used up before.  However many schedules there are, a look has its bounds, and the next one goes on."""
        now = asyncio.get_running_loop().time()
        for each in [each for each, end in self._idle.items() if end <= now]:
            del self._idle[each]
        for place, queue in self._queues.items():
            for _ in range(PAGES):
                start = self._pages.get(place, b'0')
                self._pages[place], names = await look_for_low(queue, start, PAGE, ENOUGH, FEW, LASTING)
                low = [name for name in names if (place, name) not in self._idle]
                self._due.update(dict.fromkeys([(place, name) for name in low], now))
                if self._pages[place] == b'0':
                    break

    def _find_line(self, place: str, record: Schedule) -> Line | None:
        try:
            return find_line(record, self._declared.get(record.name))
        except TorrelqueValueError as exc:
            if (place, record.name) not in self._told:
                self._told.add((place, record.name))
                logger.warning('queue %r: %s', self._queues[place].name, exc)
            return None

    async def _fill_one(self, place: str, name: str) -> None:
        queue = self._queues[place]
        try:
            record = await queue.get_schedule(name)
        except TorrelqueLookupError:
            self._due.pop((place, name), None)
            return
        await self._fill(place, record, await ask_time(queue))

    async def _fill_another(self, place: str, record: Schedule, time: Time) -> None:
        """As `_fill`, at the beginning: what others have set, or spoilt, keeps no worker from its work."""
        try:
            await self._fill(place, record, time)
        except TorrelqueConnectionError:
            raise
        except Exception as exc:
            logger.warning(
                'queue %r: the list of the schedule %r could not be filled up: %s', self._queues[place].name,
                record.name, exc, exc_info=not isinstance(exc, TorrelqueError),
            )  # fmt: skip

    async def _fill(self, place: str, record: Schedule, time: Time) -> None:
        line = None if record.every is not None else self._find_line(place, record)
        wait = None if line is None else await fill_up(self._queues[place], record, line, time)
        if wait is None:
            self._due.pop((place, record.name), None)
            self._idle[place, record.name] = asyncio.get_running_loop().time() + SECOND_LOOK
        else:
            self._due[place, record.name] = asyncio.get_running_loop().time() + max(SOONEST, wait)
