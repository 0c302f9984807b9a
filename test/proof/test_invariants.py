"""The checks of calls and of damage can pass, and can fail; each invariant has some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model.model_checks import DUMP, Seen, read_dump
from proof.chaos.damage import PAYLOAD_BROKEN, PAYLOAD_LOST, STATE_LOST, Vandal
from proof.history import History, Recorder
from proof.history_checks import CHECKS, check_history
from proof.invariants import (
    INVARIANTS,
    Fault,
    check_all_came,
    check_cancellation,
    check_connections,
    check_deadline,
    check_keys,
    check_lateness,
    check_with_somebody,
)
from support.servers import RealServer
from torrelque import Torrelque


def test_each_invariant_has_checks() -> None:
    assert {*CHECKS} == {*INVARIANTS} and all(CHECKS.values())


def _future(ending: Callable[[asyncio.Future[int]], object] | None) -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.Future()
    if ending is not None:
        ending(future)
    return future


async def test_who_was_cancelled_ends_so() -> None:
    def cancelled(future: asyncio.Future[int]) -> None:
        future.cancel()

    def raised(future: asyncio.Future[int]) -> None:
        future.set_exception(TimeoutError())

    assert not [*check_cancellation(_future(cancelled), True)]
    assert not [*check_cancellation(_future(lambda future: future.set_result(1)), False)]
    for ending in (raised, lambda future: future.set_result(1), None):
        assert [fault.invariant for fault in check_cancellation(_future(ending), True)] == [7]


@pytest.mark.parametrize(
    ('check', 'good', 'bad', 'invariant'),
    [
        (check_deadline, ('a call', 1.5, 1, 1), ('a call', 2.5, 1, 1), 12),
        (check_lateness, ('a task', 0.9, 1), ('a task', 1.1, 1), 10),
        (check_all_came, (0, 30), (1, 30), 10),
        (check_connections, ('of ten watches', 3, 3), ('of ten watches', 4, 3), 11),
    ],
)
def test_figures_have_bounds(
    check: Callable[..., Iterator[Fault]], good: tuple[Any, ...], bad: tuple[Any, ...], invariant: int
) -> None:
    assert not [*check(*good)]
    assert [fault.invariant for fault in check(*bad)] == [invariant]


async def _look(client: Any) -> Seen:
    return read_dump(await client.eval(DUMP, 0, '{q}:'))


async def test_what_is_worked_on_is_with_somebody(server: RealServer) -> None:
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        await queue.enqueue(1)
        task_id, _ = await queue.dequeue()
        seen = await _look(client)
        assert not [*check_with_somebody(seen, {task_id})]
        assert [fault.invariant for fault in check_with_somebody(seen, set())] == [7]
        await queue.release(task_id)


@pytest.mark.parametrize('kind', [PAYLOAD_LOST, PAYLOAD_BROKEN, STATE_LOST])
async def test_who_is_damaged_is_overlooked_and_has_to_be_reported(
    kind: str, server: RealServer, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path / 'storm', 'storm')
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        vandal = Vandal(client, '{q}:', recorder)
        assert not await vandal.damage(kind)
        task_id = await queue.enqueue({'job': 7})
        recorder.end(recorder.begin('enqueue', [7]), [True])
        assert await vandal.damage(kind) and not await vandal.damage(kind)

        seen = await _look(client)
        assert bool([*check_keys(seen)]) == (kind != PAYLOAD_BROKEN)
        assert not [*check_keys(vandal.overlook(seen))]
    assert [fault.invariant for fault in check_history(History.read([tmp_path / 'storm']))] == [8]
    recorder.report(task_id)
    assert not [*check_history(History.read([tmp_path / 'storm']))]
    recorder.close()


async def test_who_was_not_damaged_is_not_overlooked(server: RealServer, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / 'storm', 'storm')
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        vandal = Vandal(client, '{q}:', recorder)
        await queue.enqueue({'job': 7}, group='g')
        assert not await vandal.damage(STATE_LOST)
        seen = vandal.overlook(await _look(client))
        assert seen.payloads and not [*check_keys(seen)]
    recorder.close()
