"""The worker: how many at a time, what becomes of a task, where tasks come from."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.waiting import nothing_left
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import App, Backoff, Delivery, Job, Reject, Retry, ThreadWorker, Worker

NOW = Backoff(base=0, jitter=False)


async def drain(queue: Any, handler: Any = None, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


async def test_a_handler_is_called_with_each_task_and_nothing_is_left(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    seen: list[tuple[Any, int, str | None, str]] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.task, delivery.attempt, delivery.group, delivery.queue.name))

    await queue.enqueue_many(range(500))
    await queue.enqueue('grouped', group='g')
    worker = await drain(queue, handle, concurrency=30)
    assert sorted(task for task, *_ in seen if task != 'grouped') == [*range(500)]
    assert ('grouped', 1, 'g', queue.name) in seen
    assert len(seen) == 501
    assert worker.health().succeeded == 501
    assert worker.health().state == 'stopped'
    assert await nothing_left(client, queue)


@pytest.mark.parametrize('concurrency', [1, 7])
async def test_exactly_so_many_run_at_a_time(queue: Torrelque, concurrency: int) -> None:
    running = most = 0
    full = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == concurrency:
            full.set()
        await full.wait()
        await asyncio.sleep(0.001)
        running -= 1

    await queue.enqueue_many(range(50))
    await drain(queue, handle, concurrency=concurrency)
    assert most == concurrency
    stats = await queue.get_queue_stats()
    assert stats.tasks == 0


async def test_what_a_handler_returns_is_the_result(queue: Torrelque) -> None:
    task_id = await queue.enqueue({'n': 20})
    plain = await queue.enqueue({'n': 21})

    async def handle(delivery: Delivery) -> int | None:
        return delivery.task['n'] + 1 if delivery.id == task_id else None

    await drain(queue, handle)
    state = await queue.wait(task_id)
    assert (state.status, state.result) == (Status.COMPLETED, 21)
    with pytest.raises(torrelque.TorrelqueLookupError):
        await queue.get_task_state(plain)
    kept = await queue.enqueue(None)
    await drain(queue, handle, result_ttl=60)
    assert (await queue.get_task_state(kept)).status is Status.COMPLETED


async def test_a_result_that_cannot_be_kept_makes_the_task_dead(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)

    async def handle(delivery: Delivery) -> object:
        return object()

    worker = await drain(queue, handle)
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD
    assert 'the result cannot be serialised' in (state.error or '')
    assert worker.health().dead == 1


async def test_a_failed_task_is_tried_again_until_it_succeeds(queue: Torrelque) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> str:
        attempts.append(delivery.attempt)
        if delivery.attempt < 4:
            raise ConnectionError(f'not at attempt {delivery.attempt}')
        state = await queue.get_task_state(delivery.id)
        assert 'ConnectionError: not at attempt 3' in (state.error or '')
        return 'done'

    task_id = await queue.enqueue(1)
    worker = await drain(queue, handle, retry=NOW)
    assert attempts == [1, 2, 3, 4]
    assert (await queue.get_task_state(task_id)).result == 'done'
    assert (worker.health().failed, worker.health().succeeded) == (3, 1)


@pytest.mark.parametrize(
    ('own', 'workers', 'expected'), [(None, 3, 3), (2, 3, 2), (4, 3, 4), (2, -1, 2), (2, None, 2)]
)
async def test_attempts_are_used_up(queue: Torrelque, own: int | None, workers: int | None, expected: int) -> None:
    task_id = await queue.enqueue(1, max_attempts=own)
    attempts = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError('never')

    dead: list[str] = []
    await drain(
        queue, handle, max_attempts=workers, retry=NOW, on_dead=lambda delivery, error: dead.append(str(delivery.id))
    )
    assert attempts == expected
    assert dead == [task_id]
    state = await queue.get_task_state(task_id)
    assert state.status is Status.DEAD
    assert (state.error or '').startswith('Traceback') and (state.error or '').endswith('ValueError: never')


async def test_a_failed_task_whose_state_cannot_be_read_is_tried_again(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None:
        await client.hset(f'{queue.keys["task"]}:{delivery.id}', 'progress', 'rubbish')
        if delivery.attempt < 3:
            raise ValueError('not yet')

    await queue.enqueue(1, max_attempts=3)
    worker = await drain(queue, handle, retry=NOW)
    assert (worker.health().failed, worker.health().succeeded) == (2, 1)


@pytest.mark.parametrize('workers', [None, -1])
async def test_attempts_without_end(queue: Torrelque, workers: int | None) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.attempt < 50:
            raise ValueError('not yet')

    await queue.enqueue(1)
    worker = await drain(queue, handle, max_attempts=workers, retry=NOW)
    assert worker.health().succeeded == 1


async def test_forgiven_attempts_do_not_count(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    for _ in range(5):
        await queue.requeue((await queue.dequeue())[0], forgive=True)
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise ValueError('never')

    await drain(queue, handle, max_attempts=2, retry=NOW)
    assert attempts == [6, 7]
    assert (await queue.get_task_state(task_id)).status is Status.DEAD


async def test_a_task_that_kills_its_workers_is_dead_without_being_tried_again(queue: Torrelque) -> None:
    # As killed consumers leave it.
    task_id = await queue.enqueue(1, task_timeout=0.05)
    for _ in range(3):
        await queue.dequeue()
    called = False

    async def handle(delivery: Delivery) -> None:
        nonlocal called
        called = True

    async with Worker(queue, handle, max_attempts=3):
        async for state in queue.watch(task_id, timeout=60):
            if state.status is Status.DEAD:
                break
    assert not called
    assert 'its attempts are used up' in (state.error or '')


async def test_a_handler_may_ask_for_another_attempt_or_reject_the_task(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'retry' and delivery.attempt == 1:
            raise Retry(delay=1000)
        if delivery.task == 'reject':
            raise Reject('no such address')

    retried = await queue.enqueue('retry', max_attempts=2)
    rejected = await queue.enqueue('reject')
    await drain(queue, handle)
    due = await client.zscore(queue.keys['delayed'], retried)
    seconds, _ = await client.time()
    assert due is not None and 900 < due / 1000 - seconds < 1100
    state = await queue.get_task_state(rejected)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert (state.error or '').endswith('Reject: no such address')


async def test_rules_by_exception(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    rules: Any = {OSError: 500, ConnectionError: Backoff(base=100, jitter=False), ValueError: None}
    errors: dict[str, Exception] = {
        'os': OSError('x'), 'refused': ConnectionRefusedError('x'), 'value': UnicodeError('x'), 'other': KeyError('x'),
    }  # fmt: skip

    async def handle(delivery: Delivery) -> None:
        raise errors[delivery.task]

    ids = {name: await queue.enqueue(name) for name in errors}
    seconds, _ = await client.time()
    worker = Worker(queue, handle, retry=rules, concurrency=4)
    async with worker:
        while worker.health().failed < 4:
            await asyncio.sleep(0.01)
    due = {name: await client.zscore(queue.keys['delayed'], task_id) for name, task_id in ids.items()}
    assert abs((due['os'] or 0) / 1000 - seconds - 500) < 60
    assert abs((due['refused'] or 0) / 1000 - seconds - 100) < 50
    assert (due['other'] or 0) / 1000 - seconds < 40
    assert (await queue.get_task_state(ids['value'])).status is Status.DEAD


async def test_a_rule_may_be_a_function_and_may_fail(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(error: BaseException, attempt: int) -> float | None:
        if attempt == 1:
            return 0
        return None if attempt == 2 else float('nan')

    async def handle(delivery: Delivery) -> None:
        raise ValueError('x')

    task_id = await queue.enqueue(1)
    await drain(queue, handle, retry=rule)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 2)

    def broken(error: BaseException, attempt: int) -> float | None:
        raise ZeroDivisionError

    task_id = await queue.enqueue(2)
    async with Worker(queue, handle, retry=broken):
        async for state in queue.watch(task_id, timeout=60):
            if state.requeue_count or state.status is Status.DELAYED:
                break
    assert 'the retry rule failed' in caplog.text


def test_a_back_off_grows_to_its_cap_and_is_drawn_evenly() -> None:
    assert [Backoff(jitter=False).delay(n) for n in (1, 2, 3, 9, 10, 100_000)] == [1, 2, 4, 256, 300, 300]
    drawn = [Backoff(base=2).delay(3) for _ in range(1000)]
    assert 0 <= min(drawn) < 1 and 7 < max(drawn) <= 8
    assert 3 < sum(drawn) / 1000 < 5
    for options in ({'base': -1}, {'factor': 0.5}, {'cap': float('nan')}, {'cap': float('inf')}):
        with pytest.raises(torrelque.TorrelqueValueError):
            Backoff(**options)
    with pytest.raises(torrelque.TorrelqueTypeError):
        Backoff(base='1')  # type: ignore[arg-type]


async def test_queues_are_served_in_order(client: redis.asyncio.Redis, queue_name: str) -> None:
    first, second = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if delivery.task == 'b' and seen.count('b') == 1:
            await first.enqueue('a')

    async with first, second:
        await second.enqueue_many(['b'] * 3)
        await first.enqueue_many(['a'] * 3)
        await drain([first, second], handle, concurrency=1)
    assert ''.join(seen) == 'aaababb'


@pytest.mark.parametrize('mapping', [True, False])
async def test_queues_share_a_worker_by_weight(client: redis.asyncio.Redis, queue_name: str, mapping: bool) -> None:
    heavy, light = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)

    async with heavy, light:
        await heavy.enqueue_many(['h'] * 300)
        await light.enqueue_many(['l'] * 300)
        await drain({heavy: 3, light: 1} if mapping else [(heavy, 3), (light, 1)], handle, concurrency=8)
    assert abs(seen[:200].count('h') - 150) <= 8
    assert len(seen) == 600


async def test_others_are_served_only_while_its_own_are_empty(client: redis.asyncio.Redis, queue_name: str) -> None:
    own, other = (Torrelque(client, queue=f'{queue_name}-{n}') for n in (1, 2))
    seen: list[str] = []
    both = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        if len(seen) == 8:
            both.set()

    async with own, other:
        await other.enqueue_many(['other'] * 2)
        await own.enqueue_many(['own'] * 3)
        async with Worker(own, handle, steal=[other], concurrency=1):
            while len(seen) < 5:
                await asyncio.sleep(0.01)
            # Now it waits for all of them.
            await other.enqueue('other')
            while len(seen) < 6:
                await asyncio.sleep(0.01)
            await own.enqueue_many(['own'] * 2)
            await both.wait()
        assert seen == ['own'] * 3 + ['other'] * 3 + ['own'] * 2
        assert await nothing_left(client, own) and await nothing_left(client, other)


async def test_an_app_brings_queues_and_jobs(queue: Torrelque) -> None:
    told: list[Any] = []

    class Mine:
        queues = (queue,)

        def __init__(self) -> None:
            self.job = Job(self.work, 'mine', max_attempts=2, retry=NOW, on_dead=lambda *_: told.append('j'))

        async def prepare(self) -> None:
            told.append('prepared')

        def find(self, delivery: Delivery) -> Job:
            if delivery.task == 'unknown':
                raise LookupError('no such job')
            return self.job

        async def work(self, delivery: Delivery) -> None:
            assert delivery.job.name == 'mine'
            raise ValueError('never')

    app: App = Mine()
    known, unknown = await queue.enqueue_many(['known', 'unknown'])
    worker = await drain(app, on_dead=lambda delivery, error: told.append(type(error).__name__))
    assert told[0] == 'prepared'
    # The worker's hooks go before the job's.
    assert sorted(told[1:]) == ['LookupError', 'ValueError', 'j']
    assert told.index('ValueError') < told.index('j')
    assert (await queue.get_task_state(known)).dequeue_count == 2
    state = await queue.get_task_state(unknown)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 1)
    assert worker.health().dead == 2


async def test_middleware_stands_around_the_handler_the_first_outermost(queue: Torrelque) -> None:
    seen: list[Any] = []

    async def outer(delivery: Delivery, call_next: Any) -> Any:
        seen.append('outer')
        try:
            return await call_next(delivery)
        except ValueError as exc:
            seen.append(exc)
            return 'rescued'

    async def inner(delivery: Delivery, call_next: Any) -> Any:
        seen.append('inner')
        result = await call_next(delivery)
        return result * 2

    async def handle(delivery: Delivery) -> int:
        if delivery.task == 'fail':
            raise ValueError('x')
        return 21

    fine, failing = await queue.enqueue('fine'), await queue.enqueue('fail')
    await drain(queue, handle, middleware=[outer, inner], concurrency=1)
    assert (await queue.get_task_state(fine)).result == 42
    assert (await queue.get_task_state(failing)).result == 'rescued'
    assert [str(item) for item in seen] == ['outer', 'inner', 'outer', 'inner', 'x']


async def test_hooks_tell_and_their_failures_change_nothing(
    queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []

    async def start(delivery: Delivery) -> None:
        told.append(('start', delivery.task))

    def success(delivery: Delivery, result: Any) -> None:
        told.append(('success', result))
        raise ZeroDivisionError

    def error(delivery: Delivery, error: BaseException) -> None:
        told.append(('error', str(error)))

    async def dead(delivery: Delivery, error: BaseException) -> None:
        told.append(('dead', str(error)))

    async def handle(delivery: Delivery) -> str:
        if delivery.task == 'bad':
            raise ValueError('no')
        return 'yes'

    await queue.enqueue('good')
    await queue.enqueue('bad', max_attempts=2)
    hooks: Any = {'on_start': start, 'on_success': success, 'on_error': error, 'on_dead': dead}
    worker = await drain(queue, handle, concurrency=1, retry=NOW, **hooks)
    assert told == [
        ('start', 'good'), ('success', 'yes'),
        ('start', 'bad'), ('error', 'no'), ('start', 'bad'), ('error', 'no'), ('dead', 'no'),
    ]  # fmt: skip
    assert (worker.health().succeeded, worker.health().dead) == (1, 1)
    assert 'failed' in caplog.text and 'ZeroDivisionError' in caplog.text


async def test_tasks_begin_at_a_rate(queue: Torrelque) -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def handle(delivery: Delivery) -> None:
        begun.append(loop.time())

    await queue.enqueue_many(range(20))
    started = loop.time()
    await drain(queue, handle, rate=(5, 0.25), concurrency=10)
    assert len(begun) == 20
    # Five at once, and the others at 20 a second. Each may be late, and none is early.
    assert all(instant - started >= (place - 4) / 20 - 0.001 for place, instant in enumerate(begun))


async def test_a_burst_handles_what_its_handlers_enqueue(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.task)
        await asyncio.sleep(0.02)
        if delivery.task < 5:
            await queue.enqueue(delivery.task + 1)

    await queue.enqueue(0)
    await drain(queue, handle)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert await nothing_left(client, queue)


async def test_a_worker_runs_once(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        raise AssertionError

    worker = await drain(queue, handle)
    with pytest.raises(torrelque.TorrelqueError, match='once'):
        await worker.run()


@pytest.mark.parametrize(
    'options',
    [
        {'concurrency': 0}, {'concurrency': 2.5}, {'concurrency': True}, {'max_attempts': 0}, {'max_attempts': -2},
        {'timeout': 0}, {'timeout': float('nan')}, {'timeout': float('inf')}, {'shutdown_timeout': -1}, {'rate': 5},
        {'rate': (0, 1)}, {'rate': (1, 0)}, {'run_in': 'moon'}, {'result_ttl': -1}, {'heartbeat': 0}, {'retry': 'x'},
        {'retry': {'x': 1}}, {'retry': {ValueError: -1}}, {'middleware': [5]}, {'on_start': 5}, {'steal': [5]},
    ],
    ids=repr,
)  # fmt: skip
async def test_options_that_cannot_be_meant_are_refused(queue: Torrelque, options: dict[str, Any]) -> None:
    async def handle(delivery: Delivery) -> None: ...

    with pytest.raises((torrelque.TorrelqueValueError, torrelque.TorrelqueTypeError)):
        Worker(queue, handle, **options)


async def test_queues_that_cannot_be_meant_are_refused(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None: ...

    for queues, handler in (
        ([], handle), (None, handle), ('queue', handle), ([queue, queue], handle), (queue, None), (queue, 5),
        ({queue: 0}, handle), ({queue: 'x'}, handle), ([5], handle),
    ):  # fmt: skip
        with pytest.raises((torrelque.TorrelqueValueError, torrelque.TorrelqueTypeError)):
            Worker(queues, handler)  # type: ignore[arg-type]


async def test_plain_functions_run_in_threads_of_their_own(queue: Torrelque) -> None:
    main = threading.current_thread()
    together = threading.Barrier(4, timeout=60)
    threads: set[str] = set()

    def handle(delivery: Delivery) -> int:
        assert threading.current_thread() is not main
        threads.add(threading.current_thread().name)
        together.wait()
        assert delivery.report({'half': delivery.task})
        return 2 * int(delivery.task)

    ids = await queue.enqueue_many(range(8))
    await drain(queue, handle, concurrency=4)
    states = [await queue.get_task_state(task_id) for task_id in ids]
    assert [state.result for state in states] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert [state.progress for state in states] == [{'half': n} for n in range(8)]
    assert len(threads) == 4


# In a thread


def test_a_worker_in_a_thread_has_the_signature_of_a_worker() -> None:
    assert inspect.signature(ThreadWorker) == inspect.signature(Worker)


def test_a_worker_in_a_thread_passes_each_argument_on_but_for_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}

    class Taken:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            taken.update(inspect.signature(Worker).bind(*args, **kwargs).arguments)

    monkeypatch.setattr('torrelque.worker.thread._Starting', Taken)
    given: dict[str, Any] = {name: object() for name in inspect.signature(Worker).parameters}
    ThreadWorker(**given)
    assert taken == {**given, 'signals': False}
