"""Bulk acts that are disturbed: cut off, cancelled, killed, overtaken.  What is done is done once, and is told."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from support.bounding import Bound
from support.burying import bury, die, hand_out, work_on
from support.proxy import Proxy, calls_of
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueServerError
from torrelque.operate import Operator, Outcome, Selection, bulk

pytestmark = [pytest.mark.first_server, pytest.mark.long]

VERBS = {'redrive': 'redrive', 'cancel': 'cancel', 'requeue': 'requeue', 'bury': 'bury'}


@pytest.fixture
async def faulty(proxy: Proxy, queue_name: str) -> AsyncIterator[Torrelque]:
    """The queue of the test, behind a line that fails."""
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        yield queue


async def prepare(queue: Torrelque, act: str, size: int) -> list[str]:
    """Tasks for an act."""
    if act == 'redrive':
        return await die(queue, size)
    if act == 'cancel':
        return [*map(str, await queue.enqueue_many(range(size)))]
    return [*map(str, await work_on(queue, [*range(size)]))]


async def check_all_done_once(queue: Torrelque, act: str, ids: list[str]) -> None:
    stats = await queue.get_queue_stats()
    if act in ('redrive', 'requeue'):
        assert stats.pending == stats.tasks == len(ids)
        assert sorted(map(str, await hand_out(queue, len(ids)))) == sorted(ids)
        states = await asyncio.gather(*map(queue.get_task_state, ids))
        assert {state.dequeue_count for state in states} == {2}
    elif act == 'bury':
        assert stats.dead == stats.tasks == len(ids)
    else:
        assert stats.tasks == 0


# A line that fails


@pytest.mark.parametrize('act', VERBS)
@pytest.mark.parametrize('fault', ['lose_reply', 'lose_request'])
async def test_an_act_whose_calls_are_lost_does_each_task_once(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, act: str, fault: str
) -> None:
    ids = await prepare(queue, act, 600)
    told: list[Outcome] = []

    def lose(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) < 40:
            getattr(proxy, fault)(calls_of(VERBS[act]))

    getattr(proxy, fault)(calls_of(VERBS[act]))
    outcome = await getattr(Operator(faulty), act)(Selection(), paced=False, on_progress=lose)
    assert (outcome.done, outcome.refused, outcome.finished) == (600, (), True)
    await check_all_done_once(queue, act, ids)


async def test_an_act_whose_connections_are_cut_again_and_again_does_each_task_once(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy
) -> None:
    ids = await prepare(queue, 'redrive', 2000)
    running = asyncio.ensure_future(Operator(faulty).redrive(Selection(), paced=False, rate=4000))
    requests = 0
    while not running.done():
        while len(proxy.requests) < requests + 15 and not running.done():
            await asyncio.sleep(0.001)
        requests = len(proxy.requests)
        proxy.cut()
    assert figures(await running) == (2000, 2000, {})
    await check_all_done_once(queue, 'redrive', ids)


def figures(outcome: Outcome) -> tuple[int, int, dict[str, int]]:
    return outcome.matched, outcome.done, dict(outcome.refused)


@pytest.mark.long
async def test_a_server_that_is_gone_ends_the_act_and_the_same_act_finds_the_rest(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await prepare(queue, 'redrive', 700)
    bound(repeat=1.0)
    told: list[Outcome] = []

    def go(outcome: Outcome) -> None:
        told.append(outcome)
        if outcome.done == 500:
            proxy.refusing = True
            proxy.cut()

    with pytest.raises(TorrelqueConnectionError):
        await Operator(faulty).redrive(Selection(), paced=False, on_progress=go)
    assert told[-1].done == 500
    assert 'an act could not be put on record' in caplog.text
    proxy.refusing = False
    outcome = await Operator(faulty).redrive(Selection())
    assert figures(outcome) == (200, 200, {})
    await check_all_done_once(queue, 'redrive', ids)


async def test_a_refusal_of_the_server_ends_the_act_with_what_was_done_on_record(
    server: RealServer, queue: Torrelque
) -> None:
    await prepare(queue, 'redrive', 600)
    pending = queue.keys['pending']
    with server.sync_client() as client:

        def spoil(outcome: Outcome) -> None:
            if outcome.done == 250 and client.type(pending) == b'list':
                client.delete(pending)
                client.set(pending, 'spoilt')

        operator = Operator(queue)
        with pytest.raises(TorrelqueServerError):
            await operator.redrive(Selection(), on_progress=spoil)
    assert [(act.act, act.count) for act in await operator.acts()] == [('redrive', 250)]


# What changes meanwhile


@pytest.mark.parametrize(
    ('act', 'spoil', 'refused'),
    [
        ('redrive', 'cancel', {'not_dead': 3}),
        ('redrive', 'redrive', {'not_dead': 3}),
        ('redrive', 'forget', {'unknown': 3}),
        ('redrive', 'break', {'broken': 3}),
        ('cancel', 'cancel', {'final': 3}),
        ('cancel', 'forget', {'unknown': 3}),
        ('cancel', 'break', {'broken': 3}),
        ('requeue', 'cancel', {'cancelled': 3}),
        ('requeue', 'requeue', {'not_working': 3}),
        ('requeue', 'forget', {'unknown': 3}),
        ('requeue', 'break', {'broken': 3}),
        ('bury', 'bury', {'not_working': 3}),
        ('bury', 'cancel', {'cancelled': 3}),
        ('bury', 'forget', {'unknown': 3}),
    ],
)
async def test_a_task_that_changes_between_look_and_act_is_refused_by_why(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, client: redis.asyncio.Redis,
    act: str, spoil: str, refused: dict[str, int],
) -> None:  # fmt: skip
    ids = await prepare(queue, act, 40)
    gate = proxy.hold_request(calls_of(VERBS[act]))
    running = asyncio.ensure_future(getattr(Operator(faulty), act)(Selection()))
    await gate.arrived.wait()
    for task_id in ids[3:6]:
        if spoil == 'forget':
            await queue.cancel(task_id)
            if act in ('requeue', 'bury'):
                await client.zrem(queue.keys['working'], task_id)
            await client.delete(f'{queue.keys["task"]}:{task_id}')
        elif spoil == 'break':
            # No place is left in which a script would look after it.
            await client.zrem(queue.keys['dead'], task_id)
            await client.set(f'{queue.keys["task"]}:{task_id}', 'no hash')
        else:
            assert await getattr(queue, spoil)(task_id)
    gate.open()
    outcome = await running
    assert figures(outcome) == (40, 37, refused)


# Whoever ends it


async def test_what_is_on_its_way_counts_when_the_act_is_cancelled(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy
) -> None:
    ids = await prepare(queue, 'redrive', 600)
    told: list[Outcome] = []
    operator = Operator(faulty, who='ann')
    running: asyncio.Future[Outcome] = asyncio.ensure_future(
        operator.redrive(Selection(), paced=False, on_progress=told.append)
    )
    while not any(outcome.done >= 250 for outcome in told):
        await asyncio.sleep(0)
    gate = proxy.hold_reply(calls_of('redrive'))
    await gate.arrived.wait()
    running.cancel()
    await asyncio.sleep(0)
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await running
    done = (await queue.get_queue_stats()).pending
    assert told[-1].done == done and 250 < done <= 600
    assert [(act.act, act.count) for act in await operator.acts()] == [('redrive', done)]
    assert (await operator.redrive(Selection())).done == 600 - done
    await check_all_done_once(queue, 'redrive', ids)


async def test_an_act_that_is_cancelled_while_the_server_is_silent_ends(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, 'SETTLE', 0.05)
    await prepare(queue, 'cancel', 10)
    gate = proxy.hold_request(calls_of('cancel'))
    running = asyncio.ensure_future(Operator(faulty).cancel(Selection()))
    await gate.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.open()
    while (await queue.get_queue_stats()).pending:
        await asyncio.sleep(0.005)


async def test_an_act_that_is_cancelled_while_it_looks_ends_at_once(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy
) -> None:
    await prepare(queue, 'redrive', 10)
    await Operator(faulty).redrive(Selection(), dry_run=True)
    gate = proxy.hold_request(b'EVALSHA')
    running = asyncio.ensure_future(Operator(faulty).redrive(Selection()))
    await gate.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.open()
    assert (await queue.get_queue_stats()).dead == 10


async def test_whoever_raises_in_the_progress_ends_the_act_with_what_was_done_on_record(queue: Torrelque) -> None:
    await prepare(queue, 'redrive', 600)

    def refuse(outcome: Outcome) -> None:
        if outcome.done >= 250:
            raise LookupError('enough')

    operator = Operator(queue)
    with pytest.raises(LookupError, match='enough'):
        await operator.redrive(Selection(), on_progress=refuse)
    assert [(act.act, act.count) for act in await operator.acts()] == [('redrive', 250)]
    assert (await queue.get_queue_stats()).pending == 250


@pytest.mark.parametrize('part', ['redrive', 'look'])
async def test_progress_is_told_while_nothing_comes_back(
    queue: Torrelque, faulty: Torrelque, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(bulk, 'REPORT', 0.01)
    await prepare(queue, 'redrive', 10)
    told: list[Outcome] = []
    gate = proxy.hold_reply(calls_of('redrive') if part == 'redrive' else b'EVAL')
    running = asyncio.ensure_future(Operator(faulty).redrive(Selection(), on_progress=told.append))
    await gate.arrived.wait()
    while len(told) < 5:
        await asyncio.sleep(0.005)
    assert {outcome.done for outcome in told} == {0}
    gate.open()
    assert (await running).done == 10


async def test_progress_is_told_while_the_rate_wants_to_wait(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, 'REPORT', 0.01)
    await prepare(queue, 'redrive', 2)
    told: list[Outcome] = []
    outcome = await Operator(queue).redrive(Selection(), rate=5, on_progress=told.append)
    assert outcome.done == 2 and sum(one.done == 1 for one in told) >= 5
    assert [one.took for one in told] == sorted(one.took for one in told)


PROGRAM = """
import asyncio, sys
import redis.asyncio
from torrelque import Torrelque
from torrelque.operate import Operator, Selection

async def main(path, name):
    async with redis.asyncio.Redis(unix_socket_path=path) as client, Torrelque(client, queue=name) as queue:
        await Operator(queue).redrive(
            Selection(error='KeyError'), rate=1000, on_progress=lambda outcome: print(outcome.done, flush=True)
        )

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.long
async def test_an_act_of_a_killed_process_is_gone_on_with(
    server: RealServer, queue: Torrelque, queue_name: str, tmp_path: Path
) -> None:
    ids = await die(queue, 1500, lambda n: 'KeyError: 1' if n < 1200 else 'ValueError: 1')
    file = tmp_path / 'act.py'
    file.write_text(PROGRAM)
    for goal in (100, 300):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(file), server.socket, queue_name, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        while int(await process.stdout.readline()) < goal:
            pass
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert process.returncode == -signal.SIGKILL
    before = (await queue.get_queue_stats()).pending
    assert 400 <= before < 1200
    outcome = await Operator(queue).redrive(Selection(error='KeyError'))
    assert figures(outcome) == (1200 - before, 1200 - before, {})
    assert sorted(map(str, await hand_out(queue, 1200))) == sorted(ids[:1200])
    assert (await queue.get_queue_stats()).dead == 300


async def test_deaths_and_redrives_of_others_meanwhile_lose_and_double_nothing(queue: Torrelque) -> None:
    ids = await die(queue, 1200)
    held = await work_on(queue, [*range(400)])

    async def meddle() -> None:
        for n, task_id in enumerate(held):
            await bury(queue, [task_id])
            await queue.redrive(ids[3 * n])

    meddling: list[asyncio.Future[None]] = []

    def begin(outcome: Outcome) -> None:
        if not meddling:
            meddling.append(asyncio.ensure_future(meddle()))

    outcome = await Operator(queue).redrive(Selection(), paced=False, rate=5000, on_progress=begin)
    await meddling[0]
    assert outcome.done + sum(dict(outcome.refused).values()) == outcome.matched <= 1200
    assert {*dict(outcome.refused)} <= {'not_dead'}
    stats = await queue.get_queue_stats()
    assert (stats.pending, stats.dead) == (1200, 400)
    assert sorted(map(str, await hand_out(queue, 1200))) == sorted(ids)
