"""The worker: what stands around a handler, options that cannot be meant, and workers in threads."""

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
from torrelque.worker import App, Backoff, Delivery, Job, ThreadWorker, Worker

NOW = Backoff(base=0, jitter=False)


async def drain(queue: Any, handler: Any = None, **options: Any) -> Worker:
    worker = Worker(queue, handler, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


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
