"""The public calls of a queue object, each in the situations in which it waits for something different."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import redis.asyncio

from torrelque import Torrelque, TorrelqueClosedError, TorrelqueTaskStatus, TorrelqueTimeoutError

PENDING, WORKING, DELAYED, DEAD = 'pending', 'working', 'delayed', 'dead'

# What may be there after a call that was cancelled. A settle call is sent all the same once it has begun; any other has
# its whole effect or none; one that is cut into several calls has it for each task; what was taken goes back.
READ, TAKE, SETTLE, WHOLE, EACH = 'read', 'take', 'settle', 'whole', 'each'


class Bench:
    """What one run of a call has to do with: the queue object under test, and another that nobody cancels."""

    def __init__(self, client: redis.asyncio.Redis, queue: Torrelque, other: Torrelque) -> None:
        self.client = client
        self.queue = queue
        self.other = other
        self.held: dict[str, str] = {}
        """Ids that were handed out, with their tokens."""
        self.beside: list[asyncio.Task[Any]] = []
        """Calls that nobody cancels."""

    async def put(self, *task_ids: str, **options: Any) -> None:
        """Tasks whose payloads are their ids."""
        for task_id in task_ids:
            await self.other.enqueue(task_id, task_id=task_id, **options)

    async def take(self, *task_ids: str, **options: Any) -> None:
        """Tasks that are with the caller."""
        await self.put(*task_ids, **options)
        for task_id, _ in await self.other.dequeue_many(1 + len(task_ids), 1):
            self.held[task_id] = task_id

    async def kill(self, *task_ids: str) -> None:
        """Tasks that are dead."""
        await self.put(*task_ids)
        for task_id, _ in await self.other.dequeue_many(1 + len(task_ids), 1):
            await self.other.bury(task_id)


Doing = Callable[[Bench], Awaitable[Any]]


async def nothing(bench: Bench) -> None:
    pass


class Case(NamedTuple):
    """A call in a situation."""

    verb: str
    """The public name that it is about."""
    about: str
    call: Doing
    effect: str
    prepare: Doing = nothing
    act: Doing | None = None
    """What ends the waiting of a call that waits; it is cancelled at all turns from then on."""
    waits: bool = False
    """Whether it waits for ever."""
    raises: type[Exception] | None = None
    """How it ends by itself, when not with a result."""
    closes: bool = False
    """Whether the queue object is closed by it."""
    begins: int = 1
    """Turns until it has begun."""

    @property
    def name(self) -> str:
        return f'{self.verb}, {self.about}' if self.about else self.verb


def _ids(count: int) -> list[str]:
    return [f't{k}' for k in range(count)]


def putting(count: int, **options: Any) -> Doing:
    async def prepare(bench: Bench) -> None:
        await bench.put(*_ids(count), **options)

    return prepare


def taking(count: int, **options: Any) -> Doing:
    async def prepare(bench: Bench) -> None:
        await bench.take(*_ids(count), **options)

    return prepare


def killing(count: int) -> Doing:
    async def prepare(bench: Bench) -> None:
        await bench.kill(*_ids(count))

    return prepare


async def _unseen(bench: Bench) -> None:
    """Deaths that nobody saw."""
    await bench.take(*_ids(3), max_attempts=1)
    for task_id in bench.held.values():
        await bench.other.requeue(task_id)


async def _scheduled(bench: Bench) -> None:
    """A schedule that fires long after."""
    await bench.other.set_schedule('s', 'fired', times=[4e9])


async def _schedules(bench: Bench) -> list[str]:
    return [schedule.name async for schedule in bench.queue.get_schedules()]


async def _groups(bench: Bench) -> None:
    for k in range(6):
        await bench.put(f't{k}', group=f'g{k}')


async def _strict(bench: Bench) -> None:
    await bench.other.set_limit('g', concurrency=1)
    await bench.put('t0', 't1', group='g')


async def _strict_taken(bench: Bench) -> None:
    await bench.other.set_limit('g', concurrency=1)
    await bench.put('t0', 't1', group='g')
    task_id, _ = await bench.other.dequeue(1)
    bench.held[task_id] = task_id


async def _limited(bench: Bench) -> None:
    await bench.other.set_limit(concurrency=3)
    await bench.other.set_limit('g', concurrency=2)


async def _paused(bench: Bench) -> None:
    await bench.other.pause()
    await bench.put('t0')


async def _probing(bench: Bench) -> None:
    await bench.other.pause(probe=60)
    await bench.put('t0')


async def _overdue(bench: Bench) -> None:
    await bench.put(*_ids(5), delay=0.001)
    await asyncio.sleep(0.005)


async def _finished(bench: Bench) -> None:
    await bench.take('t0')
    await bench.other.release(bench.held.pop('t0'), result=1)


async def _waited_before(bench: Bench) -> None:
    """Somebody has waited at the bell, and the server still blocks for it."""
    waiting = asyncio.ensure_future(bench.queue.dequeue())
    while not any(client['cmd'] == 'blpop' for client in await bench.client.client_list()):
        await asyncio.sleep(0.001)
    waiting.cancel()
    await asyncio.wait([waiting])


# Calls that are several


async def _enqueue_five(bench: Bench) -> None:
    await asyncio.gather(*(bench.queue.enqueue(f'new{k}') for k in range(5)))


async def _release_behind(bench: Bench) -> None:
    """One that waits for another of its kind to return."""
    bench.beside.append(asyncio.ensure_future(bench.queue.release(bench.held['t1'])))
    await asyncio.sleep(0)
    await bench.queue.release(bench.held['t0'])


async def _release_five(bench: Bench) -> None:
    await asyncio.gather(*(bench.queue.release(task_id) for task_id in bench.held.values()))


async def _among_others(bench: Bench) -> Any:
    """The second of three who wait; the others go on."""
    bench.beside.append(asyncio.ensure_future(bench.queue.dequeue()))
    own = bench.queue.dequeue()
    asyncio.get_running_loop().call_soon(lambda: bench.beside.append(asyncio.ensure_future(bench.queue.dequeue())))
    return await own


async def _slowly(count: int) -> AsyncIterator[str]:
    for k in range(count):
        await asyncio.sleep(0)
        yield f'new{k}'


async def _names(bench: Bench) -> list[str]:
    return [name async for name in bench.queue.groups()]


async def _first_state(bench: Bench) -> Any:
    return await bench.queue.watch('t0').__anext__()


async def _all_states(bench: Bench) -> list[Any]:
    return [state async for state in bench.queue.watch('t0')]


async def _sweeping(bench: Bench) -> None:
    bench.queue.schedule_sweep(0.05)
    try:
        await asyncio.Event().wait()
    finally:
        bench.queue.unschedule_sweep()


async def _acknowledge(bench: Bench) -> None:
    ids: Any = bench.held.values()
    await bench.queue.acknowledge_deaths(ids)


async def _in_pipeline(bench: Bench, verb: str, *args: Any, **options: Any) -> None:
    async with bench.client.pipeline() as pipeline:
        await getattr(bench.queue, verb)(*args, pipeline=pipeline, **options)


async def _in_block(bench: Bench) -> None:
    async with bench.queue as queue:
        await queue.enqueue('new')


async def _entered(bench: Bench) -> None:
    assert await bench.queue.__aenter__() is bench.queue


async def _left(bench: Bench) -> None:
    await bench.queue.enqueue('new')
    await bench.queue.__aexit__(None, None, None)


def closing_with(*others: Callable[[Torrelque], Awaitable[Any]]) -> Doing:
    """Closing while other calls of the queue object are on their way."""

    async def call(bench: Bench) -> None:
        bench.beside += [asyncio.ensure_future(other(bench.queue)) for other in others]
        await asyncio.sleep(0)
        await bench.queue.aclose()

    return call


async def _expect_closed(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except TorrelqueClosedError:
        return None


async def _watch_all(queue: Torrelque) -> Any:
    return [state async for state in queue.watch('t0')]


# What ends the waiting


async def _put_for_two(bench: Bench) -> None:
    """Somebody else waits behind, who is to have what the cancelled call has not."""
    bench.beside.append(asyncio.ensure_future(bench.other.dequeue()))
    for _ in range(2):
        # Behind its claim, which finds nothing.
        await bench.other.get_queue_stats()
    # It rings once.
    await bench.other.enqueue_many(_ids(2))


async def _put_five(bench: Bench) -> None:
    await bench.other.enqueue_many(_ids(5))


async def _finish(bench: Bench) -> None:
    await bench.other.touch(bench.held['t0'], progress=1)
    await bench.other.release(bench.held.pop('t0'), result=1)


def _held(bench: Bench) -> str:
    return bench.held['t0']


CASES = [
    # Producers
    Case('enqueue', 'plain', lambda b: b.queue.enqueue('new'), WHOLE),
    Case('enqueue', 'own id', lambda b: b.queue.enqueue('new', task_id='new'), WHOLE),
    Case('enqueue', 'delayed', lambda b: b.queue.enqueue('new', delay=60), WHOLE),
    Case('enqueue', 'grouped', lambda b: b.queue.enqueue('new', group='g', priority=1), WHOLE, _strict),
    Case('enqueue', 'five at once', _enqueue_five, EACH),
    Case('enqueue', 'in a pipeline', lambda b: _in_pipeline(b, 'enqueue', 'new'), READ),
    Case('enqueue_many', 'some calls', lambda b: b.queue.enqueue_many(f'new{k}' for k in range(10)), EACH),
    Case('enqueue_many', 'asynchronous', lambda b: b.queue.enqueue_many(_slowly(10), group='g'), EACH),
    Case('cancel', 'pending', lambda b: b.queue.cancel('t0'), SETTLE, putting(2)),
    Case('cancel', 'delayed', lambda b: b.queue.cancel('t0'), SETTLE, putting(1, delay=60)),
    Case('cancel', 'working', lambda b: b.queue.cancel('t0'), SETTLE, taking(1)),
    Case('cancel', 'a head', lambda b: b.queue.cancel('t0'), SETTLE, _strict),
    # Consumers
    Case('dequeue', 'work is there', lambda b: b.queue.dequeue(), TAKE, putting(3)),
    Case('dequeue', 'with a timeout', lambda b: b.queue.dequeue(5), TAKE, putting(3)),
    Case('dequeue', 'not waiting', lambda b: b.queue.dequeue(0), TAKE, putting(3)),
    Case('dequeue_many', 'some', lambda b: b.queue.dequeue_many(3), TAKE, putting(5)),
    Case('dequeue_many', 'grouped', lambda b: b.queue.dequeue_many(3), TAKE, _strict),
    Case('dequeue', 'nothing is there', lambda b: b.queue.dequeue(0), TAKE, raises=TorrelqueTimeoutError),
    Case('dequeue', 'a short wait', lambda b: b.queue.dequeue(0.01), TAKE, raises=TorrelqueTimeoutError),
    Case('dequeue', 'at the bell', lambda b: b.queue.dequeue(), TAKE, waits=True),
    Case('dequeue', 'paused', lambda b: b.queue.dequeue(), TAKE, _paused, waits=True),
    Case('dequeue', 'the bell rings', lambda b: b.queue.dequeue(), TAKE, act=_put_five),
    Case('dequeue_many', 'it rings for some', lambda b: b.queue.dequeue_many(3, 9), TAKE, act=_put_five),
    Case('dequeue', 'it rings again', lambda b: b.queue.dequeue(), TAKE, _waited_before, _put_five),
    Case('dequeue', 'it rings for two', lambda b: b.queue.dequeue(), TAKE, act=_put_for_two),
    Case('dequeue', 'after a wait', lambda b: b.queue.dequeue(), TAKE, _waited_before, waits=True),
    Case('dequeue', 'something is due', lambda b: b.queue.dequeue(), TAKE, putting(3, delay=0.02)),
    Case('dequeue', 'among others', _among_others, TAKE, putting(5)),
    Case('requeue', 'now', lambda b: b.queue.requeue(_held(b)), SETTLE, taking(2)),
    Case('requeue', 'later', lambda b: b.queue.requeue(_held(b), 60, error='no'), SETTLE, taking(2)),
    Case('requeue', 'forgiven', lambda b: b.queue.requeue(_held(b), forgive=True), SETTLE, taking(2)),
    Case('requeue', 'grouped', lambda b: b.queue.requeue(_held(b), 60), SETTLE, _strict_taken),
    Case('requeue', 'in a pipeline', lambda b: _in_pipeline(b, 'requeue', _held(b)), READ, taking(1)),
    Case('release', 'forgotten', lambda b: b.queue.release(_held(b)), SETTLE, taking(2)),
    Case('release', 'with a result', lambda b: b.queue.release(_held(b), result=1, result_ttl=60), SETTLE, taking(2)),
    Case(
        'release', 'rejected', lambda b: b.queue.release(_held(b), status=TorrelqueTaskStatus.REJECTED), SETTLE,
        taking(2),
    ),
    Case('release', 'grouped', lambda b: b.queue.release(_held(b)), SETTLE, _strict_taken),
    Case('release', 'five at once', _release_five, EACH, taking(5)),
    Case('release', 'behind another', _release_behind, SETTLE, taking(2), begins=2),
    Case('release', 'in a pipeline', lambda b: _in_pipeline(b, 'release', _held(b)), READ, taking(1)),
    Case('release_many', '', lambda b: b.queue.release_many(b.held.values()), EACH, taking(10)),
    Case('touch', '', lambda b: b.queue.touch(_held(b), progress=1), SETTLE, taking(2)),
    Case('touch_many', '', lambda b: b.queue.touch_many(b.held.values()), EACH, taking(10)),
    Case('bury', '', lambda b: b.queue.bury(_held(b), error='no'), SETTLE, taking(2)),
    # Watching
    Case('watch', 'the first state', _first_state, READ, taking(1)),
    Case('watch', 'for ever', _all_states, READ, taking(1), waits=True),
    Case('watch', 'to the end', _all_states, READ, taking(1), _finish),
    Case('wait', 'at once', lambda b: b.queue.wait('t0'), READ, _finished),
    Case('wait', 'with a timeout', lambda b: b.queue.wait('t0', timeout=9), READ, taking(1), waits=True),
    Case('wait', 'to the end', lambda b: b.queue.wait('t0', timeout=9), READ, taking(1), _finish),
    # Operators
    Case('redrive', 'all', lambda b: b.queue.redrive(), EACH, killing(10)),
    Case('redrive', 'some', lambda b: b.queue.redrive('t0', 't1', 't2', 't3', 't4', 't5'), EACH, killing(10)),
    Case('take_deaths', '', lambda b: b.queue.take_deaths(), READ, _unseen),
    Case('acknowledge_deaths', '', _acknowledge, READ, _unseen),
    Case('command', '', lambda b: b.queue.command('PING'), READ, taking(1)),
    Case('sweep', '', lambda b: b.queue.sweep(), EACH, _overdue),
    Case('schedule_sweep', '', _sweeping, EACH, _overdue, waits=True),
    Case('unschedule_sweep', '', _sweeping, EACH, waits=True),
    Case('set_limit', 'of a group', lambda b: b.queue.set_limit('g', concurrency=2, rate=(9, 1)), WHOLE, _strict),
    Case('set_limit', 'for all', lambda b: b.queue.set_limit(concurrency=2), WHOLE, _groups),
    Case('get_limits', '', lambda b: b.queue.get_limits(), READ, _limited),
    Case('pause', 'the queue', lambda b: b.queue.pause(), WHOLE, putting(2)),
    Case('pause', 'a group', lambda b: b.queue.pause('g'), WHOLE, _strict),
    Case('resume', '', lambda b: b.queue.resume(), WHOLE, _paused),
    Case('resume', 'by a probe', lambda b: b.queue.resume(probing=True), WHOLE, _probing),
    Case('get_group_stats', '', lambda b: b.queue.get_group_stats('g'), READ, _strict),
    Case('groups', '', _names, READ, _groups),
    # Schedules
    Case('set_schedule', '', lambda b: b.queue.set_schedule('s', 1, every=3600), WHOLE),
    Case('extend_schedule', '', lambda b: b.queue.extend_schedule('s', [5e9], after=4e9), WHOLE, _scheduled),
    Case('remove_schedule', '', lambda b: b.queue.remove_schedule('s'), WHOLE, _scheduled),
    Case('pause_schedule', '', lambda b: b.queue.pause_schedule('s'), WHOLE, _scheduled),
    Case('resume_schedule', '', lambda b: b.queue.resume_schedule('s'), WHOLE, _scheduled),
    Case('fire', '', lambda b: b.queue.fire('s', 3e9), EACH, _scheduled),
    Case('get_schedule', '', lambda b: b.queue.get_schedule('s'), READ, _scheduled),
    Case('get_schedules', '', _schedules, READ, _scheduled),
    Case('get_queue_stats', '', lambda b: b.queue.get_queue_stats(), READ, putting(2)),
    Case('get_task_state', '', lambda b: b.queue.get_task_state('t0'), READ, putting(2)),
    # Beginning and end
    Case('__aenter__', '', _entered, READ),
    Case('__aexit__', '', _left, WHOLE, closes=True),
    Case('__aexit__', 'with a block', _in_block, WHOLE, closes=True),
    Case('aclose', 'idle', lambda b: b.queue.aclose(), READ, _waited_before, closes=True),
    Case(
        'aclose', 'a claim is on its way', closing_with(lambda q: _expect_closed(q.dequeue())), TAKE, putting(3),
        closes=True,
    ),
    Case(
        'aclose', 'somebody waits', closing_with(lambda q: _expect_closed(q.dequeue())), TAKE, _waited_before,
        closes=True,
    ),
    Case('aclose', 'calls are on their way', closing_with(lambda q: q.enqueue('new')), EACH, closes=True),
    Case(
        'aclose', 'somebody watches', closing_with(lambda q: _expect_closed(_watch_all(q))), READ, taking(1),
        closes=True,
    ),
]  # fmt: skip
