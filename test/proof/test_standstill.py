"""Slow, robbed of its machine, or standing still: on made-up series, and on a queue that was made to stand still."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from proof.chaos.proxied import Run
from proof.dumps import dump, dump_all
from proof.invariants import check_progress
from proof.peers import Ours
from proof.pulse import Pulse
from proof.standstill import SLOW, STANDSTILL, STOLEN, STRANDED, Sample, Watchman, judge
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.aio.guard import Guard
from torrelque.aio.link import Link, Request

pytestmark = [pytest.mark.long, pytest.mark.one_server]


def series(*parts: tuple[int, dict[str, Any]]) -> list[Sample]:
    """So many seconds of each; 100 tasks are left of which all can be taken, and the machine runs, unless said."""
    usual = {'seconds': 1.0, 'ran': 1.0, 'handed': 0, 'left': 100, 'takeable': 100}
    return [Sample(**{**usual, **what}) for count, what in parts for _ in range(count)]


@pytest.mark.parametrize(
    ('verdict', 'samples'),
    [
        (STANDSTILL, series((5, {'handed': 9}), (10, {}))),
        (STANDSTILL, series((10, {}))),
        # Half of the time was stolen, but not that of ten seconds.
        (STANDSTILL, series((20, {'ran': 0.51}))),
        (STANDSTILL, series((30, {'ran': 0.1}), (10, {}))),
        (STRANDED, series((5, {'handed': 9}), (10, {'takeable': 0}))),
        (SLOW, series((300, {'handed': 1}))),
        (SLOW, series((5, {'handed': 9}), (9, {}))),
        (SLOW, series((9, {}), (1, {'handed': 1}), (9, {}))),
        # Others took them.
        (SLOW, [*series((9, {})), *series((9, {'left': 99}))]),
        (STOLEN, series((5, {'handed': 9}), (60, {'ran': 0.1}))),
        (STOLEN, series((9, {}), (5, {'ran': 0.0}))),
        (SLOW, series((60, {'left': 0, 'takeable': 0}))),
        (SLOW, []),
    ],
)
def test_a_series_has_a_verdict(verdict: str, samples: list[Sample]) -> None:
    found, why = judge(samples, still=10)
    assert (found, 'left' in why) == (verdict, True)


def test_slowness_and_a_stolen_machine_are_no_faults() -> None:
    assert not [*check_progress(SLOW, 'why'), *check_progress(STOLEN, 'why')]
    for verdict in (STANDSTILL, STRANDED):
        assert [fault.text for fault in check_progress(verdict, 'why')] == [f'{verdict}: why']


@pytest.mark.parametrize(
    ('look', 'stolen'),
    [
        ((0.02, 0.0, 0.0), 0.0),
        ((1.02, 0.0, 0.0), 1.0),
        # It was busy with itself.
        ((1.02, 1.0, 0.0), 0.0),
        ((1.02, 0.4, 0.0), 0.6),
        # The server waited for a processor.
        ((0.02, 0.0, 0.01), 0.01),
        ((1.02, 1.0, 0.5), 0.5),
        ((0.02, 0.0, 0.5), 0.02),
    ],
)
def test_time_in_which_somebody_could_not_run_is_stolen(
    look: tuple[float, float, float], stolen: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse()
    monkeypatch.setattr(pulse, '_look', lambda: look)
    pulse.beat()
    assert pulse.stolen == pytest.approx(stolen) and pulse.ran == pytest.approx(look[0] - stolen)


async def test_a_deadline_waits_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse, call = Pulse(), asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(pulse.wait_for(call, 0.01))
    monkeypatch.setattr(pulse, 'time', lambda: 0.0)
    for _ in range(5):
        await asyncio.sleep(0.01)
    assert not waiting.done()
    monkeypatch.setattr(pulse, 'time', lambda: 1.0)
    with pytest.raises(TimeoutError):
        await waiting
    assert call.cancelled()


class Odd:
    __slots__ = ('left', 'told')

    def __init__(self) -> None:
        self.told = self

    def __repr__(self) -> str:
        raise ValueError('no')


async def test_anything_can_be_dumped() -> None:
    async def stand() -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(stand())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    each = type('Each', (), {})()
    vars(each).update(task=task, timer=loop.call_later(9, stand), odd=Odd(), many=[1] * 9, future=loop.create_future())
    shown = json.loads(json.dumps(dump(each)))
    assert 'stand:' in shown['task'] and 'wait:' in shown['task'] and shown['timer'].startswith('timer in ')
    assert 'cannot be shown' in shown['odd'] and shown['many']['count'] == 9 and shown['future'] == 'pending'
    assert [*dump(Odd())] == ['told']
    vars(each)['timer'].cancel()
    task.cancel()


async def test_a_dump_has_who_waits_and_how_it_is_connected(queue: Torrelque, client: redis.asyncio.Redis) -> None:
    waiting = asyncio.ensure_future(queue.dequeue())
    while not await client.client_list() or 'BLPOP' not in json.dumps(dump_all()):
        await asyncio.sleep(0.01)
    state = json.loads(json.dumps(dump_all()))
    assert any('claiming' in each for name, each in state.items() if name.startswith('Shelf'))
    assert any('wanted' in json.dumps(each) for name, each in state.items() if name.startswith('Waiters'))
    assert sum(name.startswith('Link') for name in state) >= 2
    waiting.cancel()


def plant(monkeypatch: pytest.MonkeyPatch, is_dropped: Callable[[Request], bool]) -> list[Request]:
    """A fault: such requests are never sent, nor answered; those that were dropped."""
    submit, dropped = Link.submit, list[Request]()

    def lose(self: Link, request: Request) -> None:
        if is_dropped(request):
            dropped.append(request)
        else:
            submit(self, request)

    monkeypatch.setattr(Link, 'submit', lose)
    return dropped


def is_claim(request: Request) -> bool:
    return request.transition is not None and request.transition.name == 'claim'


def is_at_the_bell(request: Request) -> bool:
    return request.transition is None and request.args[0] == 'BLPOP'


@pytest.mark.parametrize('is_dropped', [is_claim, is_at_the_bell])
async def test_a_queue_that_stands_still_is_told_with_the_state_of_all(
    is_dropped: Callable[[Request], bool],
    server: RealServer,
    client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    dropped = plant(monkeypatch, is_dropped)
    # It would make up for the fault.
    monkeypatch.setattr(Guard, 'begin', lambda guard: None)
    pulse = Pulse().start()
    path = tmp_path / 'watch'
    async with Torrelque(client, queue='q') as queue, server.client() as other, Torrelque(other, queue='q') as producer:
        watchman = Watchman(path, pulse, server.socket, '{q}:', lambda: 0, still=0.5, every=0.1)
        waiting = asyncio.ensure_future(queue.dequeue())
        while not dropped:
            await asyncio.sleep(0.01)
        await producer.enqueue(1)
        watchman.start()
        assert await watchman.wait([waiting]) == {waiting}
        await watchman.stop()
        waiting.cancel()
        monkeypatch.undo()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    assert watchman.verdict()[0] == STANDSTILL
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    states = [line['state'] for line in lines if 'state' in line]
    assert states and all(any(name.startswith('Shelf') for name in state) for state in states)
    assert lines[0]['left'] == lines[0]['pending'] == 1 and lines[0]['handed'] == 0


async def test_who_makes_progress_is_waited_for(
    server: RealServer, client: redis.asyncio.Redis, queue: Torrelque, tmp_path: Path
) -> None:
    ids, done = await queue.enqueue_many(range(30)), [0]

    async def work() -> None:
        while done[0] < len(ids):
            task_id, _ = await queue.dequeue()
            await queue.release(task_id)
            done[0] += 1
            await asyncio.sleep(0.05)

    prefix = queue.keys['tasks'].removesuffix('tasks')
    # It takes longer than what would be a standstill.
    watchman = Watchman(tmp_path / 'watch', Pulse().start(), server.socket, prefix, lambda: done[0], 0.7, 0.1)
    watchman.start()
    assert not await watchman.wait([asyncio.ensure_future(work())])
    await watchman.stop()


async def test_no_pause_is_left_of_a_worker_that_is_gone(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    await queue.pause(probe=60)
    await queue.pause('g')
    peer = Ours(client, queue.name, queue)
    await peer.resume()
    assert not await client.exists(queue.keys['paused'], queue.keys['probes'])


@pytest.mark.parametrize('seed', range(1, 4))
async def test_all_comes_to_consumers_whose_connections_were_cut(seed: int, server_kind: str, tmp_path: Path) -> None:
    with RealServer(server_kind) as server:
        run = Run(server, seed, 0.7, tmp_path)
        what = await run.run()
    assert not what.startswith((STANDSTILL, STRANDED, 'lost', 'endless')), run.path.read_text()
    assert run.counts['handouts']
