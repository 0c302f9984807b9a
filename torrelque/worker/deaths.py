"""Tells of tasks that died where nobody saw it: their worker was killed, and `on_dead` is to be called all the same.

The queue keeps note of such deaths, and hands each out for a minute, to one worker that asks; it is told of anew unless
that one says that it was told.  So the hooks are called at least once, and by one worker but for the case that it is
killed, or takes longer than a minute.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from torrelque import Torrelque, TorrelqueClosedError, TorrelqueDeath, TorrelqueError, TorrelqueTaskId

from .chain import call_hooks
from .delivery import Delivery
from .job import App
from .trace import reason

if TYPE_CHECKING:
    from .handling import Handling, Plan

logger = logging.getLogger(__package__)

EVERY = 2.0
"""s from one look to the next, less or more by a quarter, so that workers do not look together."""
HOLD = 60.0
"""s that a worker has to tell of a death, before another one tells of it."""
MANY = 10
"""Deaths that are taken at a time."""
LAST = 2.0
"""s that the end waits for the answer to a look."""


class DeathError(TorrelqueError):
    """The task of the delivery is dead, and its worker could not tell: it was killed, lost its lease, could not read
    the task, or found nothing but its payload.

    Where the task cannot be read, the cause says why.
    """

    error: str
    """What the state of the task says: why it is dead, or what its last attempt failed with."""

    def __init__(self, error: str) -> None:
        super().__init__(f'the task died where nobody saw it: {error}')
        self.error = error

    def __reduce__(self) -> 'tuple[type[DeathError], tuple[str]]':
        return type(self), (self.error,)


class DeadDelivery(Delivery):
    """The delivery in which a task died, as far as the queue knows of it.  It can be settled no more."""

    __slots__ = ()

    async def touch(self, progress: Any = None) -> bool:
        """False: the task is not ours."""
        return False

    def report(self, progress: Any) -> bool:
        """False: the task is not ours."""
        return False


class Deaths:
    """Looks for deaths in the queues of a worker now, and again and again until it is to end; then once more."""

    def __init__(self, queues: Sequence[Torrelque], app: App | None, handling: 'Handling') -> None:
        self._queues = queues
        self._app = app
        self._handling = handling
        self._over: asyncio.Future[None] | None = None
        self._locks: dict[Torrelque, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._called = False

    def begin(self) -> None:
        """Begin to look."""
        self._over = asyncio.get_running_loop().create_future()
        self._locks = {queue: asyncio.Lock() for queue in self._queues}
        if self._app is not None or self._is_heard:
            for queue in self._queues:
                self._start(self._watch(queue))

    async def look(self) -> bool:
        """Look at all queues now; whether a hook was called since the last of such looks, or the beginning.

        Whoever is cancelled meanwhile waits no longer; the hooks go on.
        """
        looks = [self._start(self._try(queue)) for queue in self._queues if self._is_heard]
        if looks:
            await asyncio.wait(looks)
        called, self._called = self._called, False
        return called

    @property
    def busy(self) -> bool:
        """Whether something is still on its way."""
        return bool(self._tasks)

    def end(self, ended: Callable[[], None]) -> None:
        """Look for the last time, and come to an end; ``ended`` is called when something has."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        for task in self._tasks:
            task.add_done_callback(lambda task: ended())

    async def close(self, timeout: float) -> None:
        """Cancel what is still on its way, and wait for that (s); a death that was not told of is another worker's."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    # Parts

    @property
    def _is_heard(self) -> bool:
        """Whether there is a hook to call, as far as one can tell."""
        return self._handling.defaults.on_dead is not None or (
            self._app is not None and bool(getattr(self._app, 'has_on_dead', True))
        )

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> 'asyncio.Task[Any]':
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch(self, queue: Torrelque) -> None:
        assert self._over is not None
        over = False
        while not over:
            over = self._over.done()
            if self._is_heard:
                await self._try(queue)
            if not over:
                await asyncio.wait([self._over], timeout=EVERY * random.uniform(0.75, 1.25))

    async def _try(self, queue: Torrelque) -> None:
        """Look at a queue; what fails is logged, and tried again by the next look."""
        async with self._locks[queue]:
            try:
                await self._look(queue)
            except TorrelqueClosedError as exc:
                logger.debug('queue %r is not looked at: %s', queue.name, reason(exc, queue.name))
            except Exception as exc:
                logger.warning('deaths in queue %r are not told of yet: %s', queue.name, reason(exc, queue.name))

    async def _look(self, queue: Torrelque) -> None:
        assert self._over is not None
        loop, more = asyncio.get_running_loop(), True
        while more:
            since = loop.time()
            deaths = await self._take(queue)
            more = bool(deaths) and not self._over.done()
            for death in deaths:
                await self._tell(queue, death)
                await acknowledge(queue, death.id)
                if loop.time() - since > HOLD / 2:
                    # Hooks are slow: there may be no time left for the others, which are told of by whoever asks then.
                    break

    async def _take(self, queue: Torrelque) -> list[TorrelqueDeath]:
        assert self._over is not None
        call = asyncio.ensure_future(queue.take_deaths(MANY, again_after=HOLD))
        # The error is looked at also where nobody waits for the call any more: asyncio would complain of it.
        call.add_done_callback(lambda call: call.cancelled() or call.exception())
        either: list[asyncio.Future[Any]] = [call, self._over]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                await asyncio.wait([call], timeout=LAST)
            if not call.done():
                raise TorrelqueError('the server does not answer')
            return call.result()
        finally:
            call.cancel()

    async def _tell(self, queue: Torrelque, death: TorrelqueDeath) -> None:
        delivery = DeadDelivery(queue, death.id, death.task, self._handling.plan, asyncio.get_running_loop().time())
        delivery._settled = True
        delivery._plan = self._plan_of(delivery, death)
        error = DeathError(death.error)
        error.__cause__ = death.unreadable
        self._handling.log.died(delivery, death.error)
        self._called = True
        # The hooks have an asyncio task of their own: one that cancels itself is told from the end of this.
        call = self._start(call_hooks(delivery._plan.on_dead, delivery, error))
        await asyncio.wait([call])
        if call.cancelled():
            logger.error('a hook that was told of the death of %r has cancelled itself', delivery)

    def _plan_of(self, delivery: Delivery, death: TorrelqueDeath) -> 'Plan':
        if self._app is not None and death.unreadable is None:
            try:
                return self._handling._plan_of(self._app.find(delivery))
            except Exception as exc:
                logger.debug('%r has no job: %s', delivery, exc)
        return self._handling.plan


def tell_after(hooks: Sequence[Callable[..., Any]]) -> float | None:
    """When others are to tell of a death of which these hooks are about to be told, should that fail."""
    return HOLD if hooks else None


async def acknowledge(queue: Torrelque, task_id: TorrelqueTaskId) -> None:
    """Say that a death was told of.  Where that fails it is told of again, which is said in the log."""
    try:
        await queue.acknowledge_deaths([task_id])
    except Exception as exc:
        logger.warning('the death of task %r was told of, and will be again: %s', str(task_id), exc)
