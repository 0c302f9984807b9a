"""A duration is a number of seconds or a `datetime.timedelta`, which do the same wherever one is taken."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio
from hypothesis import example, given, strategies as st

import torrelque
import torrelque.sync
from support.servers import RealServer
from torrelque import Duration, Torrelque
from torrelque.codec import JSON
from torrelque.protocol import check
from torrelque.protocol.calls import Calls

QUEUE = Calls('q', JSON, None)
TASK = torrelque.TaskId('a', 1, '1:2', None, 300.0)
TIMES = st.timedeltas() | st.timedeltas(timedelta(0), timedelta(minutes=1))
STATUS = torrelque.TaskStatus.COMPLETED


def plain(words: Iterable[Any]) -> list[Any]:
    """What is said, without what is drawn anew for each call."""
    return [word for word in words if not (isinstance(word, str) and len(word) in (15, 32) and word.isalnum())]


def outcome(build: Callable[[Any], Any], duration: Duration) -> Any:
    """What a builder makes of a duration, or the class of its refusal."""
    try:
        return build(duration)
    except torrelque.Error as exc:
        return type(exc)


BUILDERS: dict[str, Callable[[Any], Any]] = {
    'milliseconds': lambda time: check.milliseconds(time, 'it'),
    'seconds': lambda time: check.check_seconds(time, 'it'),
    'seconds from, positive': lambda time: check.check_seconds(time, 'it', 0.5, True, 1000),
    'rate': lambda time: check.check_rate((2, time)),
    'enqueue: lease': lambda time: plain(QUEUE.enqueue(1, time, None, None, None, None, 0).args[2:]),
    'enqueue: lease and more': lambda time: plain(QUEUE.enqueue(1, time, None, None, 3, 'g', 1).args[2:]),
    'enqueue: delay': lambda time: plain(QUEUE.enqueue(1, 300, time, None, None, None, 0).args[2:]),
    'enqueue_many': lambda time: QUEUE.enqueue_many(time, time, None, None, 0)._of_all,
    'touch': lambda time: QUEUE.touch('a', time, None).args,
    'touch_many': lambda time: QUEUE.touch_many(['a'], time),
    'requeue: delay': lambda time: plain(QUEUE.requeue('a', time, None, None, False).args),
    'requeue: lease': lambda time: plain(QUEUE.requeue('a', None, time, None, False).args),
    'release': lambda time: QUEUE.release('a', 1, time, STATUS, 3600).args,
    'release: the default': lambda time: QUEUE.release('a', 1, None, STATUS, time).args,
    'release_many': lambda time: QUEUE.release_many(['a'], time, STATUS, 3600),
    'bury': lambda time: plain(QUEUE.bury('a', None, time).args),
    'tell': lambda time: QUEUE.tell(5, time),
    'pause': lambda time: QUEUE.pause('g', time),
    'limit': lambda time: QUEUE.limit('g', None, (2, time)),
}


@pytest.mark.parametrize('builder', BUILDERS)
@given(time=TIMES)
@example(time=timedelta(0))
@example(time=timedelta(microseconds=1))
@example(time=timedelta(microseconds=-1))
@example(time=timedelta.max)
@example(time=timedelta(seconds=check.MAX_SECONDS))
def test_a_timedelta_is_sent_as_so_many_seconds_and_refused_as_they_are(builder: str, time: timedelta) -> None:
    build = BUILDERS[builder]
    assert outcome(build, time) == outcome(build, time.total_seconds())


def test_a_time_that_cannot_be_meant_is_shown_as_it_was_given() -> None:
    with pytest.raises(torrelque.ValueError, match=r'^delay must be from 0 to 10000000000 seconds, not datetime'):
        QUEUE.enqueue(1, 300, timedelta(days=-1), None, None, None, 0)
    with pytest.raises(torrelque.TypeError, match=r'^delay must be a number of seconds or a timedelta, not str$'):
        QUEUE.enqueue(1, 300, '5', None, None, None, 0)  # type: ignore[arg-type]


async def test_verbs_take_a_timedelta(queue: Torrelque) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    task_id = await queue.enqueue(1, delay=hour, task_timeout=day)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.timeout) == (torrelque.TaskStatus.DELAYED, 86400)
    (many,) = await queue.enqueue_many([2], task_timeout=day)
    taken, _ = await queue.dequeue(timedelta(minutes=1))
    assert (taken, taken.timeout) == (many, 86400)
    assert await queue.touch(taken, task_timeout=hour)
    assert await queue.touch_many([taken], task_timeout=hour) == [True]
    assert await queue.requeue(taken, timedelta(0), task_timeout=hour)
    ((again, _),) = await queue.dequeue_many(3, timeout=timedelta(minutes=1))
    assert (again, again.timeout) == (many, 3600)
    assert await queue.bury(again, tell_after=timedelta(0))
    (death,) = await queue.take_deaths(again_after=hour)
    assert await queue.take_deaths(again_after=hour) == []
    await queue.acknowledge_deaths([death.id])
    assert await queue.redrive() == 1
    last, _ = await queue.dequeue(timedelta(minutes=1))
    assert await queue.release(last, result=1, result_ttl=hour)
    assert (await queue.wait(last, timeout=timedelta(minutes=1))).result == 1
    with pytest.raises(torrelque.TimeoutError, match='within 0 s'):
        await queue.dequeue(timedelta(0))
    with pytest.raises(torrelque.TimeoutError):
        await queue.wait(task_id, timeout=timedelta(milliseconds=1))


async def test_a_kept_result_and_a_pause_and_a_rate_have_the_time_of_a_timedelta(
    client: redis.asyncio.Redis, queue: Torrelque
) -> None:
    hour = timedelta(hours=1)
    for release in (queue.release, lambda task_id, **kwargs: queue.release_many([task_id], **kwargs)):
        task_id = await queue.enqueue(1)
        await queue.dequeue(60)
        await release(task_id, result_ttl=2 * hour)
        assert 7000 < await client.ttl(f'{queue.keys["task"]}:{task_id}') <= 7200
    await queue.set_limit('g', rate=(3, hour))
    assert await queue.get_limits() == {'g': (None, (3, 3600.0))}
    await queue.pause('g', probe=hour)
    assert await queue.resume('g', probing=True)


async def test_a_scheduled_sweep_comes_again_after_a_timedelta(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(queue, 'sweep', lambda: sweeps.put(None))
    queue.schedule_sweep(timedelta(milliseconds=1))
    for _ in range(3):
        await asyncio.wait_for(sweeps.get(), 60)
    queue.unschedule_sweep()


def test_the_synchronous_verbs_take_a_timedelta(server: RealServer, queue_name: str) -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    with server.sync_client() as client, torrelque.sync.Torrelque(client, queue=queue_name) as queue:
        task_id = queue.enqueue(1, delay=hour, task_timeout=day)
        assert queue.get_task_state(task_id).timeout == 86400
        queue.enqueue_many([2], task_timeout=day)
        taken, _ = queue.dequeue(timedelta(minutes=1))
        assert taken.timeout == 86400
        assert queue.touch(taken, task_timeout=hour) and queue.touch_many([taken], task_timeout=hour) == [True]
        assert queue.requeue(taken, timedelta(0), task_timeout=hour)
        ((taken, _),) = queue.dequeue_many(3, timeout=timedelta(minutes=1))
        assert taken.timeout == 3600
        assert queue.bury(taken, tell_after=hour)
        assert queue.take_deaths(again_after=hour) == []
        assert queue.redrive() == 1
        taken, _ = queue.dequeue(timedelta(minutes=1))
        assert queue.release(taken, result_ttl=2 * hour)
        assert 7000 < client.ttl(f'{queue.keys["task"]}:{taken}') <= 7200
        queue.set_limit(rate=(3, hour))
        assert queue.get_limits() == {None: (None, (3, 3600.0))}
        queue.pause(probe=hour)
        assert queue.resume(probing=True)
        with pytest.raises(torrelque.TimeoutError, match='within 0 s'):
            queue.dequeue(timedelta(0))


# The times that a queue object has


@pytest.mark.parametrize('kind', [torrelque.Torrelque, torrelque.sync.Torrelque])
def test_a_time_of_a_queue_object_is_set_as_a_timedelta_and_read_in_seconds(server: RealServer, kind: Any) -> None:
    client = server.client() if kind is Torrelque else server.sync_client()
    queue = kind(client)
    assert (queue.task_timeout, queue.result_ttl) == (300, 3600) == (kind.task_timeout, kind.result_ttl)
    queue.task_timeout, queue.result_ttl = timedelta(minutes=1), timedelta(hours=2)
    assert (queue.task_timeout / 3, queue.result_ttl) == (20.0, 7200.0)
    queue.task_timeout = 5
    assert type(queue.task_timeout) is int
    # What is not the queue's is left as it is.
    queue.of_the_application = timedelta(minutes=1)
    assert queue.of_the_application == timedelta(minutes=1)


async def test_the_times_of_a_queue_object_go_for_its_calls(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    queue.task_timeout, queue.result_ttl = timedelta(minutes=1), timedelta(hours=2)
    queue.sweep_interval = timedelta(minutes=5)
    assert queue.sweep_interval == 300.0
    task_id = await queue.enqueue(1)
    taken, _ = await queue.dequeue(60)
    assert taken.timeout == 60
    await queue.release(taken, result=1)
    assert 7000 < await client.ttl(f'{queue.keys["task"]}:{task_id}') <= 7200


async def test_a_class_may_have_another_time(client: redis.asyncio.Redis, queue_name: str) -> None:
    class Short(Torrelque):
        task_timeout = timedelta(minutes=1)  # type: ignore[assignment]

    async with Short(client, queue=queue_name) as queue:
        assert (await queue.get_task_state(await queue.enqueue(1))).timeout == 60


# What this process knows of a lease


async def test_a_lease_that_was_renewed_by_a_timedelta_is_known_to_hold_as_long(queue: Torrelque) -> None:
    await queue.enqueue(1)
    (taken, _), beginning = await queue.dequeue(60), asyncio.get_running_loop().time()
    await queue.touch(taken, task_timeout=timedelta(hours=1))
    assert 3600 <= taken._held_until - beginning < 3900
    await queue.touch_many([taken], task_timeout=timedelta(hours=2))
    assert 7200 <= taken._held_until - beginning < 7500


def test_what_is_no_timedelta_is_left_to_whoever_checks_it() -> None:
    assert check.seconds_of(timedelta(milliseconds=1500)) == 1.5
    assert check.seconds_of(7) == 7 and math.isinf(check.seconds_of(math.inf))
