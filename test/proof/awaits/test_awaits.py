"""Calls that are cancelled at any await point lose nothing and poison nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from proof.awaits import awaits
from proof.awaits.awaits import AGES, Effort, try_cases
from proof.awaits.cases import TAKE, Bench, Case, putting
from proof.awaits.cases_of_flows import ALL
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTimeoutError

# Each is many tests, and has bounds of its own.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]


def test_each_public_call_is_tried() -> None:
    public = {name for name in dir(Torrelque) if not name.startswith('_') and callable(getattr(Torrelque, name))}
    # A sibling, or another object, makes no call until it is used, and then as any other queue; a queue is its own only
    # shard.
    silent = {'sibling', 'another', 'shard_of', 'ready'}
    assert {case.verb for case in ALL} == public - silent | {'__aenter__', '__aexit__'}
    assert len({case.name for case in ALL}) == len(ALL)


QUICK = {
    'enqueue', 'enqueue_many', 'cancel', 'dequeue', 'dequeue_many', 'requeue', 'release', 'release_many', 'touch',
    'bury', 'watch', 'sweep', 'aclose',
}  # fmt: skip


def _quick_and_long() -> Iterator[Any]:
    # In every run, the first situation of each verb that moves tasks.
    verbs = {case.verb for case in ALL} - QUICK
    for case in ALL:
        yield pytest.param(case, marks=pytest.mark.long) if case.verb in verbs else case
        verbs.add(case.verb)


@pytest.mark.share(4)
@pytest.mark.one_server
@pytest.mark.parametrize('case', [*_quick_and_long()], ids=lambda case: case.name)
def test_a_call_may_be_cancelled_at_any_await_point(server: RealServer, case: Case) -> None:
    figures, faults = try_cases(server, [case], Effort(AGES, thorough=False))
    assert not faults
    assert figures['turns, once'] > 0


# The rig sees


async def _take_and_lose(bench: Bench) -> object:
    """As if somebody took a task, and waited before giving it on."""
    taken = await bench.queue.dequeue()
    await asyncio.sleep(0)
    return taken


async def _swallow(bench: Bench) -> object:
    try:
        return await bench.queue.dequeue()
    except asyncio.CancelledError:
        raise TorrelqueTimeoutError from None


async def _leave_behind(bench: Bench) -> object:
    asyncio.get_running_loop().create_future().set_exception(ValueError('seen by nobody'))
    return await bench.queue.get_queue_stats()


@pytest.mark.parametrize(
    ('call', 'complaint'),
    [(_take_and_lose, 'with nobody'), (_swallow, 'it ends with'), (_leave_behind, 'never retrieved')],
)
def test_a_call_that_is_not_safe_is_found(
    server: RealServer, monkeypatch: pytest.MonkeyPatch, call: object, complaint: str
) -> None:
    monkeypatch.setattr(awaits, 'LIMIT', 1)
    case = Case('dequeue', 'broken', call, TAKE, putting(1))  # type: ignore[arg-type]
    _, faults = try_cases(server, [case], Effort(['warm'], thorough=False))
    assert len(faults) == 1 and complaint in faults[0]
