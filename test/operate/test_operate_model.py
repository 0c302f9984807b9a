"""After any history, an operator is told what a reader of all keys computes."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Any

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given, settings, strategies as st

from support.operating import (
    Truth,
    check_overview,
    check_task,
    group_of,
    instant,
    ordered,
    orphaned,
    places,
    read_truth,
    ready_since,
    walked,
)
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTimeoutError
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server

GROUPS = st.sampled_from([None, None, 'a', 'b', 'Ä {}*'])
DELAYS = st.sampled_from([None, None, 0.001, 500])
STEPS = st.one_of(
    st.tuples(
        st.just('enqueue'), GROUPS, st.sampled_from([0, 0, 0, 7, -7]), DELAYS, st.sampled_from([0.001, 300]),
        st.integers(1, 4),
    ),
    st.tuples(st.just('claim'), st.integers(1, 4)),
    st.tuples(st.just('release'), st.sampled_from([None, 600])),
    st.tuples(st.just('fail'), DELAYS, st.booleans()),
    st.tuples(st.just('bury')),
    st.tuples(st.just('touch')),
    st.tuples(st.just('cancel'), st.integers(0, 20)),
    st.tuples(st.just('redrive'), st.integers(0, 20)),
    st.tuples(st.just('sweep')),
    st.tuples(st.just('pause'), GROUPS, st.sampled_from([None, 0.001, 500])),
    st.tuples(st.just('resume'), GROUPS),
    st.tuples(st.just('limit'), GROUPS, st.sampled_from([1, 2, None]), st.sampled_from([None, (1, 100), (5, 0.01)])),
)  # fmt: skip


class History:
    """Carries steps out by the verbs of the core."""

    def __init__(self, queue: Torrelque) -> None:
        self.queue = queue
        self.ids: list[str] = []
        self.held: list[Any] = []

    async def step(self, name: str, *args: Any) -> None:
        await getattr(self, name)(*args)

    async def enqueue(self, group: Any, priority: int, delay: Any, lease: float, times: int) -> None:
        for _ in range(times):
            self.ids.append(await self.queue.enqueue(
                {'task': f'f{len(self.ids)}'}, group=group, priority=priority, delay=delay, task_timeout=lease,
                max_attempts=3, task_id=f'{len(self.ids)}-é',
            ))  # fmt: skip

    async def claim(self, count: int) -> None:
        with contextlib.suppress(TorrelqueTimeoutError):
            self.held += [task_id for task_id, _ in await self.queue.dequeue_many(count, 0)]

    async def release(self, keep: Any) -> None:
        if self.held:
            await self.queue.release(self.held.pop(0), result=1 if keep else None, result_ttl=keep)

    async def fail(self, delay: Any, forgive: bool) -> None:
        if self.held:
            await self.queue.requeue(self.held.pop(0), delay=delay, error='it\nfailed', forgive=forgive)

    async def bury(self) -> None:
        if self.held:
            await self.queue.bury(self.held.pop(0), error='bad')

    async def touch(self) -> None:
        if self.held:
            await self.queue.touch(self.held[0], progress=[1])

    async def cancel(self, at: int) -> None:
        if at < len(self.ids):
            with contextlib.suppress(LookupError):
                await self.queue.cancel(self.ids[at])

    async def redrive(self, at: int) -> None:
        if at < len(self.ids):
            with contextlib.suppress(LookupError):
                await self.queue.redrive(self.ids[at])

    async def sweep(self) -> None:
        await self.queue.sweep()

    async def pause(self, group: Any, probe: Any) -> None:
        await self.queue.pause(group, probe=probe)

    async def resume(self, group: Any) -> None:
        await self.queue.resume(group)

    async def limit(self, group: Any, concurrency: Any, rate: Any) -> None:
        await self.queue.set_limit(group, concurrency=concurrency, rate=rate)


async def check(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    truth, operator = await read_truth(client, queue), Operator(queue)
    check_overview(truth, await operator.overview())
    told: dict[str, list[str]] = {}
    for place, expected in places(truth).items():
        tasks = await walked(queue, place, payload=100)
        told[place] = [task.id for task in tasks]
        assert sorted(told[place]) == sorted(expected), place
        assert all(task.function == f'f{task.id.partition("-")[0]}' for task in tasks)
        page = await operator.page(place, most=1000)
        assert [task.id for task in page.tasks] == told[place]
        assert page.cursor is None
        if place not in ('turns', 'pending', 'ready'):
            assert page.total == len(expected)
    check_orders(truth, told)
    lost = {task.id for task in await walked(queue, 'orphaned')}
    now = (await operator.overview()).server_time
    assert orphaned(truth, now - 60) <= lost <= orphaned(truth, now)
    for task_id in truth.seen.states:
        check_task(truth, await operator.task(task_id))
    await check_groups(truth, operator)
    # The server of the tests keeps nothing on disk, and nobody has a heart.
    found = {finding.subject for finding in await operator.examine() if finding.level in ('warning', 'error')}
    assert found <= {'clock', 'latency'}


def check_orders(truth: Truth, told: dict[str, list[str]]) -> None:
    seen = truth.seen
    for place in ('working', 'delayed', 'dead', 'priority'):
        assert told[place] == ordered(getattr(seen, place))
    for name in seen.groups:
        assert told[f'group:{name}'] == group_of(truth, name)
    assert told['turns'] == [task_id for task_id in seen.turns[::-1] if task_id in seen.heads_in_turn]


async def check_groups(truth: Truth, operator: Operator) -> None:
    seen = truth.seen
    survey = await operator.groups(by='name', most=1000)
    assert [group.name for group in survey.groups] == sorted(seen.groups)
    assert survey.total == len(seen.groups)
    for group in survey.groups:
        waiting = group_of(truth, group.name)
        first = seen.heads.get(group.name) or next(iter(waiting), None)
        assert (group.waiting, group.slots) == (len(waiting), seen.groups[group.name])
        assert (group.head, group.paused) == (seen.heads.get(group.name), group.name in seen.paused)
        assert group.limit == seen.limit(group.name)
        assert (group.rate is not None) == seen.has_rate(group.name)
        assert group.oldest == (None if first is None else ready_since(seen.states[first]))
        probe = truth.probes.get(group.name) if group.paused else None
        assert group.probe == instant(probe and probe.split()[0])
        if group.rate is not None:
            starts, period = group.rate
            left, at = seen.buckets.get(group.name, (starts, 0))
            passed = survey.server_time - at / 1000 if at else 0
            assert group.tokens is not None
            assert group.tokens >= min(starts, left + passed * starts / period) - 1e-3


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.lists(STEPS, min_size=5, max_size=30))
def test_after_any_history_all_answers_are_those_of_a_reader_of_all_keys(
    server: RealServer, steps: list[tuple[Any, ...]]
) -> None:
    async def run() -> None:
        async with server.client() as client, Torrelque(client, queue=secrets.token_hex(4)) as queue:
            history = History(queue)
            for step in steps:
                await history.step(*step)
            await check(client, queue)
            await client.flushall()

    asyncio.run(run())
