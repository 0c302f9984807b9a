"""Run a worker until nothing is left to do, without waiting for what is delayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torrelque import (
    Duration,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueQueueStats,
    TorrelqueTaskStatus,
    TorrelqueTypeError,
)
from torrelque.protocol.check import seconds_of

from .clock import Clock

if TYPE_CHECKING:
    from torrelque.worker import App, Delivery

SHOWN = 10
"""Tasks of a queue that an error tells of."""


class NotIdleError(TorrelqueError, AssertionError):
    """Some tasks did not come to an end.  They are still in their queues; the message tells which, and why."""

    left: dict[str, TorrelqueQueueStats]
    """The statistics of the queues that are not idle, by their names."""

    def __init__(self, message: str, left: dict[str, TorrelqueQueueStats]) -> None:
        super().__init__(message)
        self.left = left

    def __reduce__(self) -> tuple[type[NotIdleError], tuple[str, dict[str, TorrelqueQueueStats]]]:
        return type(self), (str(self), self.left)


async def run_until_idle(
    queue: TorrelqueQueue | Sequence[TorrelqueQueue] | Mapping[TorrelqueQueue, int] | App,
    handler: Callable[[Delivery], Any] | None = None,
    *,
    clock: Clock | None = None,
    move: bool = True,
    max_rounds: int = 1000,
    within: Duration = 60,
    **options: Any,
) -> float:
    """Work on tasks until none is pending, working or delayed any more; how far the clock was moved for it (s).

    Workers with ``burst`` do it, one after the other; here they wait for no token, and for nobody else.  Whenever there
    is nothing to do, the clock is moved to the next time for which something waits: a delay, the end of a lease that
    nobody renews, a token of a rate, a probe.  So retries with hours between them take no time, and the tasks, their
    attempts and errors are as they would be with waiting.  Moving the clock also ends leases of tasks that other
    processes work on.  Schedules that are due by then fire, too; to the next firing of a schedule alone the clock is
    not moved, because that would have no end.

    :param queue: as that of ``torrelque.worker.Worker``: a queue, several, or decorated tasks.
    :param handler: as that of ``torrelque.worker.Worker``.
    :param clock: the clock to be moved, by default a new one.  Queues that the clock has not are added to it.
    :param move: False is to wait for the next time instead of moving the clock.
    :param max_rounds: how many workers are run at the most.
    :param within: how long all of this may take, by the time of the test.
    :param options: other arguments of the workers.
    :raises NotIdleError: rounds or time are used up, for instance by a task that is tried again for ever; or tasks are
        left alone, and no time will change that, for instance because of a pause.

    Dead tasks count as done, and so does what waits for them in a flow.  Each round has a new worker, which knows
    nothing of those before: a breaker counts its failures anew in each round.
    """
    from torrelque.worker import Worker

    def make() -> Worker:
        worker = Worker(queue, handler, burst=True, **{'signals': False, **options})
        # The worker must not wait for a token, or for somebody else's work: the clock brings these nearer when it has
        # ended.
        worker._source.looks_out = False
        return worker

    return await repeat_until_idle(
        lambda: make().run(), make().queues, clock=clock, move=move, max_rounds=max_rounds, within=within
    )


async def repeat_until_idle(
    run: Callable[[], Awaitable[object]],
    queues: TorrelqueQueue | Iterable[TorrelqueQueue],
    *,
    clock: Clock | None = None,
    move: bool = True,
    max_rounds: int = 1000,
    within: Duration = 60,
) -> float:
    """`run_until_idle` with a loop of your own.

    :param run: works on what is there now, and returns.  It is called again and again.  A `TorrelqueTimeoutError` whose
        ``replied`` is False is no reason to return: the server was slow, or is away.
    :param queues: the queues that are to be idle.

    The other parameters, and what is raised, are as in `run_until_idle`.
    """
    served, within = _checked(queues), seconds_of(within)
    clock = Clock(*served) if clock is None else clock
    clock.queues += [queue for queue in served if queue.name not in {known.name for known in clock.queues}]
    begun, deadline = clock.moved, asyncio.get_running_loop().time() + within
    last: object = None
    for _ in range(max_rounds):
        if not await _finish(run, deadline):
            raise await _left_by(served, f'the worker is not done with them after {within:g} s')
        stats = [await queue.get_queue_stats() for queue in served]
        if all(map(_is_idle, stats)):
            return clock.moved - begun
        dues = await clock.look()
        # A schedule is due for ever, so only what the tasks that are there wait for counts.
        wait = min((due.task_wait for due in dues if due.task_wait is not None), default=None)
        now: object = stats, [due.task for due in dues]
        if wait is not None and wait > 0:
            now = None
            if move:
                await clock.move(wait)
            else:
                await asyncio.sleep(max(0, min(wait, deadline - asyncio.get_running_loop().time())))
        elif now == last:
            raise await _left_by(served, 'the worker leaves them alone, and no time will change that')
        last = now
    raise await _left_by(served, f'the worker was run {max_rounds} times, and is not done with them')


async def _finish(run: Callable[[], Awaitable[object]], deadline: float) -> bool:
    """Run to the end; at the deadline the run is cancelled.  Whether it has ended in time."""
    running = asyncio.ensure_future(run())
    try:
        await asyncio.wait([running], timeout=max(0, deadline - asyncio.get_running_loop().time()))
        in_time = running.done()
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
    if in_time or not running.cancelled():
        running.result()
    return in_time


def _checked(queues: TorrelqueQueue | Iterable[TorrelqueQueue]) -> list[TorrelqueQueue]:
    served = [queues] if isinstance(queues, TorrelqueQueue) else list(queues) if isinstance(queues, Iterable) else []
    if not served or not all(isinstance(queue, TorrelqueQueue) for queue in served):
        raise TorrelqueTypeError('a queue, or several, must be named that are to be idle')
    return served


# What is left


def _is_idle(stats: TorrelqueQueueStats) -> bool:
    """Whether nothing is left to do in a queue, but for what is dead, or waits for that."""
    return not (stats.pending or stats.working or stats.delayed or stats.waiting and not stats.dead)


async def _left_by(queues: Sequence[TorrelqueQueue], why: str) -> NotIdleError:
    left, lines = {}, []
    for queue in queues:
        stats = await queue.get_queue_stats()
        if not _is_idle(stats):
            left[queue.name] = stats
            counts = (
                (stats.pending, 'pending'), (stats.working, 'working'), (stats.delayed, 'delayed'),
                (stats.waiting, 'waiting'),
            )  # fmt: skip
            lines.append(f'  queue {queue.name!r}: ' + ', '.join(f'{count} {word}' for count, word in counts if count))
            lines += [line async for line in _tasks_of(queue)]
    return NotIdleError('\n'.join([f'tasks are left: {why}', *lines]), left)


async def _fields_of(queue: TorrelqueQueue) -> AsyncIterator[Any]:
    await queue.ready()
    for shard in queue.shards:
        async for field in shard.client.hscan_iter(shard.keys['tasks'], count=SHOWN):
            yield field


async def _tasks_of(queue: TorrelqueQueue) -> AsyncIterator[str]:
    """What is known of some tasks of a queue, a line for each."""
    shown = 0
    async for field in _fields_of(queue):
        task_id = field[0].decode(errors='replace') if isinstance(field[0], bytes) else field[0]
        try:
            state = await queue.get_task_state(task_id)
        except TorrelqueLookupError:
            continue
        if state.status in (TorrelqueTaskStatus.PENDING, TorrelqueTaskStatus.WORKING, TorrelqueTaskStatus.DELAYED):
            group = f', of group {state.group!r}' if state.group else ''
            # The last line of a traceback names the error.
            error = ': ' + state.error.strip().splitlines()[-1] if state.error and state.error.strip() else ''
            yield f'    {task_id} {state.status.name}{group}, attempts: {state.dequeue_count}{error}'
            shown += 1
            if shown == SHOWN:
                yield '    …'
                return
