"""Tells the hooks of tasks that died where nobody saw it: the worker was killed, and `on_dead` is to be called all the
same.

The queue keeps note of such deaths, and hands each out for a minute, to one worker that asks.  Unless that worker
acknowledges the death, the queue hands it out again.  So the hooks are called at least once, and by one worker only,
unless that worker is killed or takes longer than a minute.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from torrelque import TorrelqueClosedError, TorrelqueDeath, TorrelqueError, TorrelqueQueue, TorrelqueTaskId

from .bounds import Bounds
from .chain import call_hooks_apart
from .delivery import Common, Delivery
from .job import App, Resolved
from .log import Log
from .resolving import Resolver
from .trace import reason

logger = logging.getLogger(__package__)


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
    """The delivery in which a task died, as far as the queue knows of it.  No worker holds the task any more."""

    __slots__ = ()

    def __init__(self, queue: TorrelqueQueue, death: TorrelqueDeath, resolved: Resolved, common: Common) -> None:
        super().__init__(queue, death.id, death.task, resolved.job, common.loop.time(), common, lambda: None)

    async def touch(self, progress: Any = None) -> bool:
        """False: the task is not ours."""
        return False

    def report(self, progress: Any) -> bool:
        """False: the task is not ours."""
        return False


class Deaths:
    """Looks for deaths in the queues of a worker now, and again and again until it is to end; then once more."""

    def __init__(
        self, queues: Sequence[TorrelqueQueue], app: App | None, resolver: Resolver, log: Log, bounds: Bounds
    ) -> None:
        self._queues = queues
        self._app = app
        self._resolver = resolver
        self._log = log
        self._bounds = bounds
        # Legend.  _over: resolved when it is to end.  _locks: of each queue, so that two looks do not take turns in it.
        # _tasks: looks and hooks that are on their way.  _called: whether a hook was called since `look` was asked.
        self._over: asyncio.Future[None] | None = None
        self._locks: dict[TorrelqueQueue, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._called = False
        self._common: Common | None = None

    def begin(self, common: Common) -> None:
        """Begin to look; the deliveries of deaths have in common what those of the worker have."""
        self._common = common
        self._over = asyncio.get_running_loop().create_future()
        self._locks = {queue: asyncio.Lock() for queue in self._queues}
        if self._app is not None or self._is_heard:
            for queue in self._queues:
                self._start(self._watch(queue))

    async def look(self) -> bool:
        """Look at all queues now; whether a hook was called since the last call of this, or since the beginning.

        A caller that is cancelled meanwhile waits no longer; the hooks go on.
        """
        looks = [self._start(self._try(queue)) for queue in self._queues if self._is_heard]
        if looks:
            await asyncio.wait(looks)
        called, self._called = self._called, False
        return called

    @property
    def busy(self) -> bool:
        """Whether a look or a hook is still on its way."""
        return bool(self._tasks)

    def end(self, ended: Callable[[], None]) -> None:
        """Look for the last time, and come to an end; ``ended`` is called whenever a look or a hook has ended."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        for task in self._tasks:
            task.add_done_callback(lambda task: ended())

    async def close(self, timeout: float) -> None:
        """Cancel what is still on its way, and wait for that (s).  Deaths of which no hook was told are left to another
        worker."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    # Parts

    @property
    def _is_heard(self) -> bool:
        """Whether there is a hook to call, as far as worker and app can tell."""
        return self._resolver.defaults.on_dead is not None or (
            self._app is not None and bool(getattr(self._app, 'has_on_dead', True))
        )

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> 'asyncio.Task[Any]':
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch(self, queue: TorrelqueQueue) -> None:
        assert self._over is not None
        over, bounds = False, self._bounds
        while not over:
            over = self._over.done()
            if self._is_heard:
                await self._try(queue)
            if not over:
                spread = bounds.deaths_spread
                pause = bounds.deaths_look * random.uniform(1 - spread, 1 + spread)
                await asyncio.wait([self._over], timeout=pause)

    async def _try(self, queue: TorrelqueQueue) -> None:
        """Look at a queue; what fails is logged, and tried again by the next look."""
        async with self._locks[queue]:
            try:
                await self._look(queue)
            except TorrelqueClosedError as exc:
                logger.debug('queue %r is not looked at: %s', queue.name, reason(exc, queue.name))
            except Exception as exc:
                logger.warning('deaths in queue %r are not told of yet: %s', queue.name, reason(exc, queue.name))

    async def _look(self, queue: TorrelqueQueue) -> None:
        assert self._over is not None
        loop, more = asyncio.get_running_loop(), True
        while more:
            since = loop.time()
            deaths = await self._take(queue)
            more = bool(deaths) and not self._over.done()
            for death in deaths:
                await self._tell(queue, death)
                await acknowledge(queue, death.id)
                if loop.time() - since > self._bounds.death_hold / 2:
                    # The hooks are slow, so the minute may be over before the other deaths are told of.  Leave those to
                    # whichever worker asks next.
                    break

    async def _take(self, queue: TorrelqueQueue) -> list[TorrelqueDeath]:
        assert self._over is not None
        bounds = self._bounds
        call = asyncio.ensure_future(queue.take_deaths(bounds.deaths, again_after=bounds.death_hold))
        # asyncio complains of an error that nobody has looked at.  So look at it also where nobody waits for the call
        # any more.
        call.add_done_callback(lambda call: call.cancelled() or call.exception())
        either: list[asyncio.Future[Any]] = [call, self._over]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                await asyncio.wait([call], timeout=bounds.deaths_closing)
            if not call.done():
                raise TorrelqueError('the server does not answer')
            return call.result()
        finally:
            call.cancel()

    async def _tell(self, queue: TorrelqueQueue, death: TorrelqueDeath) -> None:
        assert self._common is not None
        delivery = DeadDelivery(queue, death, self._resolver.default, self._common)
        resolved = self._resolve(delivery, death)
        delivery.job = resolved.job
        error = DeathError(death.error)
        error.__cause__ = death.unreadable
        self._log.died(delivery, death.error)
        self._called = True
        await call_hooks_apart(resolved.on_dead, delivery, error, start=self._start)

    def _resolve(self, delivery: Delivery, death: TorrelqueDeath) -> Resolved:
        if self._app is not None and death.unreadable is None:
            try:
                return self._resolver.resolve(self._app.find(delivery))
            except Exception as exc:
                logger.debug('%r has no job: %s', delivery, exc)
        return self._resolver.default


async def acknowledge(queue: TorrelqueQueue, task_id: TorrelqueTaskId) -> None:
    """Tell the queue that the hooks know of a death.  Where that fails they will be told again, which is logged."""
    try:
        await queue.acknowledge_deaths([task_id])
    except Exception as exc:
        logger.warning('the death of task %r was told of, and will be again: %s', str(task_id), exc)
