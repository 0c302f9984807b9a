"""The worker in a time that passes at once: when leases are renewed, what is watched, when limits are over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

import pytest
import redis.asyncio

from support.virtual import run_virtually
from torrelque import (
    Duration,
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueTaskId,
    TorrelqueTaskState,
    TorrelqueTaskStatus as Status,
    TorrelqueTimeoutError,
    TorrelqueWatch,
)
from torrelque.worker import Delivery, Worker


class Clockwork(Torrelque):
    """A queue without a server, which notes when it is called."""

    def __init__(self, name: str = 'clockwork') -> None:
        super().__init__(redis.asyncio.Redis(), queue=name)
        self.calls: list[tuple[str, float, Any]] = []
        self.status, self.attempts = Status.WORKING, 1
        self.held = True
        """What `touch` and `touch_many` answer."""
        self.away = False
        """Whether renewals fail."""
        self.refusals = 0
        """So many calls that settle a task fail."""
        self._ready: list[tuple[TorrelqueTaskId, Any]] = []
        self._changed = asyncio.Event()

    def put(self, *tasks: Any, lease: float = 300) -> None:
        """Have tasks handed out."""
        self._ready += [(TorrelqueTaskId(str(task), 1, '1-0', None, lease), task) for task in tasks]
        self.change()

    def change(self, status: Status | None = None) -> None:
        """Tell those who wait."""
        self.status = self.status if status is None else status
        self._changed.set()
        self._changed = asyncio.Event()

    def times(self, verb: str) -> list[float]:
        """When a verb was called."""
        return [time for name, time, _ in self.calls if name == verb]

    @property
    def given_back(self) -> list[tuple[float, str, float | None, bool]]:
        """What was given back: when, what, for how long, and whether the attempt does not count."""
        return [(time, *what) for name, time, what in self.calls if name == 'requeue']

    def _note(self, verb: str, what: Any) -> None:
        self.calls.append((verb, asyncio.get_running_loop().time(), what))

    async def dequeue_many(self, max_tasks: int, timeout: Duration | None = None) -> list[tuple[TorrelqueTaskId, Any]]:
        while not self._ready:
            if timeout == 0:
                raise TorrelqueTimeoutError
            await self._changed.wait()
        got, self._ready = self._ready[:max_tasks], self._ready[max_tasks:]
        return got

    async def touch(self, task_id: str, *, task_timeout: Duration | None = None, progress: Any = None) -> bool:
        self._note('touch', task_id)
        return self.held

    async def touch_many(self, task_ids: Iterable[str], *, task_timeout: Duration | None = None) -> list[bool]:
        ids = sorted(task_ids)
        self._note('renew', ids)
        if self.away:
            raise TorrelqueConnectionError('the server is away')
        return [self.held] * len(ids)

    def _settled(self, verb: str, what: Any) -> bool:
        if self.refusals:
            self.refusals -= 1
            raise TorrelqueConnectionError('the server is away')
        self._note(verb, what)
        return True

    async def release(self, task_id: str, **options: Any) -> Any:
        return self._settled('release', task_id)

    async def release_many(self, task_ids: Iterable[str], **options: Any) -> list[bool]:
        return [await self.release(task_id) for task_id in task_ids]

    async def requeue(self, task_id: str, delay: Duration | None = None, **options: Any) -> Any:
        return self._settled('requeue', (task_id, delay, bool(options.get('forgive'))))

    async def bury(self, task_id: str, *, error: str | None = None, tell_after: Duration | None = None) -> bool:
        return self._settled('bury', task_id)

    async def get_task_state(self, task_id: str) -> TorrelqueTaskState:
        nothing = (None, None, None, None, None)
        return TorrelqueTaskState(self.status, 300, None, self.attempts, 0, 0, 0, *nothing, 0, None, 0)

    def watch(self, task_id: str, *, timeout: Duration | None = None) -> TorrelqueWatch:
        self._note('watch', task_id)
        return self._follow(task_id)

    async def _follow(self, task_id: str) -> AsyncGenerator[TorrelqueTaskState, None]:
        while True:
            yield await self.get_task_state(task_id)
            await self._changed.wait()


def run(
    handler: Callable[[Delivery], Any], script: Callable[[Clockwork, Worker], Any], **options: Any
) -> tuple[Clockwork, Worker]:
    """Have a worker run, with a script beside it; at its end the worker is stopped, once."""

    async def main() -> tuple[Clockwork, Worker]:
        queue = Clockwork()
        worker = Worker(queue, handler, signals=False, **options)
        running = asyncio.ensure_future(worker.run())
        await script(queue, worker)
        worker.stop()
        await running
        return queue, worker

    return run_virtually(main())


def sleeper(ended: list[Any]) -> Callable[[Delivery], Any]:
    """A handler that runs for as many seconds as its task says; notes when it ended, and whether by itself."""

    async def handle(delivery: Delivery) -> None:
        fine = False
        try:
            await asyncio.sleep(delivery.task)
            fine = True
        finally:
            ended.append((asyncio.get_running_loop().time(), fine))

    return handle


# Leases


@pytest.mark.parametrize('lease', [3, 300])
def test_a_lease_is_renewed_at_each_third_of_it(lease: float) -> None:
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(lease * 2.2, lease=lease)
        await asyncio.sleep(lease * 3)

    queue, worker = run(sleeper(ended), script)
    assert queue.times('renew') == pytest.approx([lease / 3 * n for n in range(1, 7)])
    assert ended == [(pytest.approx(lease * 2.2), True)]
    assert worker.health().succeeded == 1


def test_leases_that_are_due_together_are_renewed_in_one_call() -> None:
    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(150)
        await asyncio.sleep(10)
        queue.put(151)
        await asyncio.sleep(40)
        queue.put(152)
        await asyncio.sleep(300)

    queue, _ = run(sleeper([]), script)
    assert [(time, ids) for name, time, ids in queue.calls if name == 'renew'] == [
        (100, ['150', '151']), (150, ['152']),
    ]  # fmt: skip


@pytest.mark.parametrize('where', ['renewal', 'touch'])
def test_a_handler_that_is_told_of_the_loss_of_its_lease_is_cancelled(where: str) -> None:
    ended: list[float] = []

    async def handle(delivery: Delivery) -> None:
        try:
            if where == 'touch':
                assert not await delivery.touch()
            await asyncio.sleep(1000)
        finally:
            ended.append(asyncio.get_running_loop().time())

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.held = False
        queue.put('task')
        await asyncio.sleep(500)

    _, worker = run(handle, script)
    assert ended == [0 if where == 'touch' else 100]
    assert worker.health().lost == 1


def test_a_renewal_that_fails_is_tried_again_while_the_lease_lasts() -> None:
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.away = True
        queue.put(1000)
        await asyncio.sleep(290)
        assert worker.health().running
        queue.away = False
        await asyncio.sleep(200)
        # And then until its end.
        queue.away = True
        await asyncio.sleep(600)

    queue, worker = run(sleeper(ended), script)
    assert (len(ended), worker.health().lost) == (1, 1)
    # After the last renewal that came through, which was at 390.
    assert ended == [(pytest.approx(690, abs=1), False)]
    assert len(queue.times('renew')) > 100


@pytest.mark.parametrize('what', ['nothing', 'result', 'error', 'death'])
def test_what_a_handler_came_to_is_settled_when_the_server_is_back(what: str) -> None:
    calls: list[Any] = []

    async def handle(delivery: Delivery) -> Any:
        calls.append(delivery.id)
        if what in ('error', 'death'):
            raise ValueError(what)
        return None if what == 'nothing' else what

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.refusals = 3
        queue.put('task')
        await asyncio.sleep(60)

    queue, worker = run(handle, script, retry=7, max_attempts=1 if what == 'death' else None)
    verb = {'error': 'requeue', 'death': 'bury'}.get(what, 'release')
    assert (len(calls), len(queue.times(verb)), queue.refusals) == (1, 1, 0)
    health = worker.health()
    assert (health.succeeded, health.failed, health.lost) == ((0, 1, 0) if what in ('error', 'death') else (1, 0, 0))


# Watching


def test_what_runs_for_longer_than_a_second_is_watched() -> None:
    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(0.9, 5)
        await asyncio.sleep(0.95)
        queue.put(0.8)
        await asyncio.sleep(10)

    queue, _ = run(sleeper([]), script)
    assert [(time, task_id) for name, time, task_id in queue.calls if name == 'watch'] == [(1, '5')]


@pytest.mark.parametrize(
    ('status', 'reason'),
    [
        (Status.CANCELLED, 'was cancelled'),
        (Status.DELAYED, 'its lease is lost'),
        (Status.DEAD, 'its lease is lost'),
    ],
)
def test_a_handler_whose_task_is_taken_away_is_cancelled_at_once(
    caplog: pytest.LogCaptureFixture, status: Status, reason: str
) -> None:
    caplog.set_level(logging.INFO, 'torrelque')
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(1000)
        await asyncio.sleep(7)
        queue.change(status)
        await asyncio.sleep(1)

    _, worker = run(sleeper(ended), script)
    assert ended == [(7, False)]
    assert reason in caplog.text
    assert (worker.health().lost, worker.health().failed) == (1, 0)


def test_a_handler_whose_task_is_handed_to_another_is_cancelled_at_once() -> None:
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(1000)
        await asyncio.sleep(7)
        queue.attempts = 2
        queue.change()
        await asyncio.sleep(1)

    _, worker = run(sleeper(ended), script)
    assert ended == [(7, False)]
    assert worker.health().lost == 1


# Limits and the end


def test_a_time_limit_is_over_in_its_time() -> None:
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(59, 61)
        await asyncio.sleep(70)

    queue, worker = run(sleeper(ended), script, timeout=60, retry=5)
    assert ended == [(59, True), (60, False)]
    assert queue.given_back == [(60, '61', 5, False)]
    assert (worker.health().succeeded, worker.health().failed) == (1, 1)


def test_a_handler_is_cancelled_once_and_may_clean_up() -> None:
    cleaned: list[float] = []

    async def handle(delivery: Delivery) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            cleaned.append(asyncio.get_running_loop().time())

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put('task')
        await asyncio.sleep(61)
        # The end of the worker would cancel it as well.
        worker.stop()
        await asyncio.sleep(1)

    queue, worker = run(handle, script, timeout=60, retry=7)
    assert cleaned == [63]
    assert queue.given_back == [(63, 'task', 7, False)]
    assert worker.health().failed == 1


@pytest.mark.parametrize(('second', 'end'), [(None, 30), (10, 10)])
def test_what_runs_may_end_until_the_patience_of_the_worker_is_over(second: float | None, end: float) -> None:
    ended: list[Any] = []

    async def script(queue: Clockwork, worker: Worker) -> None:
        queue.put(5, 40, 41)
        await asyncio.sleep(0.5)
        assert worker.health().healthy
        worker.stop()
        await asyncio.sleep(0)
        assert (worker.health().state, worker.health().healthy) == ('stopping', False)
        if second is not None:
            await asyncio.sleep(second - 0.5)
            worker.stop()
            await asyncio.sleep(0.5)
        else:
            await asyncio.sleep(30)

    queue, worker = run(sleeper(ended), script, shutdown_timeout=29.5)
    assert sorted(ended) == [(5, True), (end, False), (end, False)]
    # To the head of the queue, the last first.
    assert queue.given_back == [(end, '41', None, True), (end, '40', None, True)]
    assert (worker.health().succeeded, worker.health().failed) == (1, 0)


def test_a_worker_that_is_stopped_before_it_begins_does_nothing() -> None:
    async def main() -> None:
        queue = Clockwork()
        queue.put(1)
        worker = Worker(queue, sleeper([]), signals=False)
        worker.stop()
        await worker.run()
        assert (worker.health().state, queue.calls) == ('stopped', [])

    run_virtually(main())


# Rates


def test_what_was_not_begun_in_an_idle_hour_is_not_made_up_for() -> None:
    begun: list[float] = []

    async def handle(delivery: Delivery) -> None:
        begun.append(asyncio.get_running_loop().time())

    async def script(queue: Clockwork, worker: Worker) -> None:
        for _ in range(3):
            await asyncio.sleep(3600)
            queue.put(*range(12))
        await asyncio.sleep(100)

    run(handle, script, rate=(5, 10), concurrency=20)
    # Five at once, then one each two seconds.
    expected = [0, 0, 0, 0, 0, 2, 4, 6, 8, 10, 12, 14]
    assert begun == pytest.approx([3600 * n + instant for n in (1, 2, 3) for instant in expected], abs=0.01)
