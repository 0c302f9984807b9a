"""Each public call is cancelled at each turn of the event loop, and with each of its replies held back.

What must hold (invariant 7): `CancelledError` comes out as itself; each task is pending or delivered, or comes back
within a second, its attempt uncounted; the queue object and its client go on as if nothing had been.

A turn is one round of the event loop, which its selector counts, so the turns of a call are few and always the same
ones, however slow the server: the loop sleeps until something comes.

    python -m proof.awaits [--server KIND] [--case PART]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

import redis.asyncio

from model.model_checks import DUMP, Seen, read_dump
from model.model_groups import CANCELLED
from proof.awaits.cases import Bench, Case
from proof.awaits.cases_of_flows import ALL
from proof.awaits.judging import Run, objection, picture
from proof.awaits.loop import Noise, Turns, call_with_timeout
from proof.invariants import check_cancellation, check_connections, check_empty, check_keys
from proof.layers import Found, FoundError, describe, drive, require
from support.proxy import Proxy, open_proxy
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueTaskId, TorrelqueTimeoutError

AGES = ('cold', 'warm')
"""Whether the queue object has a connection when the call is made."""
STYLES = ('once', 'twice', 'timeout')
"""A task is cancelled; cancelled again a turn later; or its caller's own task is, which goes on, as with a timeout."""
HOLDS = ('opened', 'twice', 'late')
"""A reply comes right after the cancellation; after a second one; or when the cancelled call has ended."""
LIMIT = 30.0
"""s that anything may take to end, and until all is as it should be.  What is promised is a second, but not of a busy
machine; nor does a consumer look every two seconds at what is there in any case: see `small_calls_and_long_waits`."""
LATE = 1.0
"""s that a cancelled call may take to end while the reply is held; less than what a lost connection takes."""
MOST = 500
"""Turns of a call at the most."""


class Rig:
    """A server, an event loop whose turns are counted, and what was done with them."""

    def __init__(self, server: RealServer, turns: Turns) -> None:
        self.server = server
        self.turns = turns
        self.noise = Noise()
        self.figures: Counter[str] = Counter()
        self.slowest = 0.0
        """s until all was as it should be after a cancelled call, at the most."""

    async def start(self) -> None:
        self.plain = self.server.client()
        self.dump = self.plain.register_script(DUMP)
        self.other = Torrelque(self.plain, queue='awaits')
        with contextlib.suppress(TorrelqueTimeoutError):
            # It has its connection to the bell from now on.
            await self.other.dequeue(0.05)
        await self.look()
        self.connections = await self.count_connections()

    async def stop(self) -> None:
        await self.other.aclose()
        await self.plain.aclose()

    async def count_connections(self) -> int:
        return len(await self.plain.client_list())

    async def look(self) -> Seen:
        seen = read_dump(await self.dump(args=['{awaits}:']))
        require(check_keys(seen))
        return seen

    @contextlib.asynccontextmanager
    async def bench(self, case: Case, age: str, proxy: Proxy | None = None) -> AsyncIterator[Bench]:
        """Everything that a run needs, fresh; all of it must be gone afterwards."""
        await self.plain.flushdb()
        client: redis.asyncio.Redis = (proxy or self.server).client()
        queue = Torrelque(client, queue='awaits')
        bench = Bench(client, queue, self.other)
        async with client:
            try:
                if age == 'warm':
                    await queue.get_queue_stats()
                await case.prepare(bench)
                yield bench
            finally:
                self.turns.forget()
                await queue.aclose()
                for call in bench.beside:
                    call.cancel()
                await asyncio.gather(*bench.beside, return_exceptions=True)
        await self.eventually(self._leaks)

    async def _leaks(self) -> str:
        return ''.join(map(str, check_connections('are left', await self.count_connections(), self.connections)))

    async def eventually(self, objecting: Callable[[], Awaitable[str]]) -> float:
        """Wait until nobody objects; how long (s) that took."""
        began = time.monotonic()
        while why := await objecting():
            if time.monotonic() - began > LIMIT:
                raise FoundError(why)
            await asyncio.sleep(0.001)
        return time.monotonic() - began

    # One run

    async def measure(self, case: Case, age: str, proxy: Proxy | None = None) -> Measure:
        """Let a call be."""
        async with self.bench(case, age, proxy) as bench:
            sent = 0 if proxy is None else len(proxy.requests)
            call = asyncio.ensure_future(case.call(bench))
            if case.act is not None:
                await self.turns.quiet()
                await case.act(bench)
            if case.waits:
                await self.turns.quiet()
                call.cancel()
            await asyncio.wait([call], timeout=LIMIT)
            requests = 0 if proxy is None else len(proxy.requests) - sent
            await self.judge(case, bench, call, case.waits, {}, None)
            seen = await self.look()
            await self.finish(case, bench, seen)
        return Measure(requests, picture(seen))

    async def cancel_at(self, case: Case, age: str, turn: int, style: str, after: dict[str, Any]) -> bool:
        """Cancel a call at a turn, or when it only waits; whether it was still there."""
        async with self.bench(case, age) as bench:
            before = picture(await self.look())
            call: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            if style == 'timeout':
                task = asyncio.ensure_future(call_with_timeout(case.call(bench), call, self.turns.forget))
            else:
                call = task = asyncio.ensure_future(case.call(bench))
            if case.act is not None:
                await self.turns.quiet()
            struck: list[bool] = []
            self.turns.after(turn, *[lambda: struck.append(task.cancel())] * (2 if style == 'twice' else 1))
            if case.act is not None:
                await case.act(bench)
            await asyncio.wait([task], timeout=LIMIT)
            self.turns.forget()
            require(check_cancellation(call, any(struck)))
            await self.judge(case, bench, call, turn >= case.begins or case.act is not None, before, after)
            await self.finish(case, bench, await self.look())
            return any(struck)

    async def cancel_held(
        self, case: Case, proxy: Proxy, age: str, number: int, style: str, after: dict[str, Any]
    ) -> bool:
        """Cancel a call while the reply to a request is held; whether there was such a request."""
        async with self.bench(case, age, proxy) as bench:
            before = picture(await self.look())
            gates = [proxy.hold_reply(b'') for _ in range(number + 1)]
            for gate in gates[:-1]:
                gate.open()
            call = asyncio.ensure_future(case.call(bench))
            if case.act is not None:
                await self.turns.quiet()
                await case.act(bench)
            arrived = asyncio.ensure_future(gates[-1].arrived.wait())
            await asyncio.wait([call, arrived], timeout=1, return_when=asyncio.FIRST_COMPLETED)
            reached = arrived.done()
            arrived.cancel()
            # By now the server has carried it out.
            await self.plain.ping()
            struck = call.cancel()
            if style == 'twice':
                await asyncio.sleep(0)
                call.cancel()
            if style == 'late':
                await asyncio.wait([call], timeout=LATE)
            proxy.calm()
            for gate in gates:
                gate.open()
            await asyncio.wait([call], timeout=LIMIT)
            require(check_cancellation(call, struck))
            await self.judge(case, bench, call, True, before, after)
            await self.finish(case, bench, await self.look())
            return reached

    # Judging

    async def judge(
        self, case: Case, bench: Bench, call: asyncio.Future[Any], begun: bool, before: dict[str, Any],
        after: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        """Look at what came out of a call and what is there then; without ``after`` at the first alone."""
        if not call.done():
            raise FoundError('it does not end')
        cancelled = call.cancelled()
        error = None if cancelled else call.exception()
        if error is not None and not (case.raises and isinstance(error, case.raises)):
            raise FoundError(f'it ends with {error!r}')
        if not cancelled and error is None:
            _hold(bench, call.result())
        if case.closes:
            await bench.queue.aclose()
        if bench.beside and not (cancelled and not begun):
            _, waiting = await asyncio.wait(bench.beside, timeout=LIMIT)
            if waiting:
                raise FoundError(f'another call waits for too long: {waiting}')
            for task in bench.beside:
                # A call that was on its way is not waited for by a closing that was cancelled.
                if not (case.closes and cancelled and isinstance(task.exception(), TorrelqueConnectionError)):
                    _hold(bench, task.result())
        if after is None:
            return
        if not case.closes:
            # Behind all that was sent.
            await bench.queue.get_queue_stats()
        run = Run(case, bench, before, after, cancelled, begun)

        async def objecting() -> str:
            return objection(run, await self.look())

        self.slowest = max(self.slowest, await self.eventually(objecting))

    async def finish(self, case: Case, bench: Bench, seen: Seen) -> None:
        """Work the queue off with the same objects: all is there, once, and then nothing."""
        queue = Torrelque(bench.client, queue='awaits') if case.closes else bench.queue
        try:
            await self._work_off(queue, bench, seen)
            new = await queue.enqueue('probe')
            taken, task = await queue.dequeue(LIMIT)
            if (taken, task, taken.attempt) != (new, 'probe', 1) or not await queue.touch(taken):
                raise FoundError(f'afterwards, {taken} {task} was handed out, not {new}')
            if not await queue.release(taken) or await queue.get_queue_stats() != (0, 0, 0, 0, 0, 0):
                raise FoundError('afterwards, a task could not be released')
            if not await bench.client.ping():
                raise FoundError('afterwards, the client does not answer')
            require(check_empty(await self.look()))
        finally:
            if case.closes:
                await queue.aclose()

    async def _work_off(self, queue: Torrelque, bench: Bench, seen: Seen) -> None:
        for group in [*seen.limits, *seen.paused]:
            await queue.set_limit(group or None)
            await queue.resume(group or None)
        for schedule in [schedule async for schedule in queue.get_schedules()]:
            await queue.remove_schedule(schedule.name)
        for task_id in seen.working:
            done = await queue.release(bench.held.get(task_id, task_id))
            if done is not (seen.states[task_id]['status'] != CANCELLED):
                raise FoundError(f'release of {task_id} answered {done}')
        self.noise.heard = [text for text in self.noise.heard if 'does not hold it: cancelled' not in text]
        for task_id in [*seen.delayed, *seen.dead]:
            if not await queue.cancel(task_id):
                raise FoundError(f'{task_id} could not be cancelled')
        # A flow is handed to nobody; those of its tasks that wait are, one after the other.
        flows = {task_id for task_id, state in seen.states.items() if 'total' in state}
        others = {*seen.working, *seen.delayed, *seen.dead, *flows}
        waiting = {task_id: payload for task_id, payload in seen.payloads.items() if task_id not in others}
        got: dict[str, bytes] = {}
        while len(got) < len(waiting):
            some = await queue.dequeue_many(250, LIMIT)
            got.update((task_id, json.dumps(task).encode()) for task_id, task in some)
            if await queue.release_many(task_id for task_id, _ in some) != [True] * len(some):
                raise FoundError(f'some of {some} could not be released')
        if got != waiting:
            raise FoundError(f'{got} was handed out, not {waiting}')

    # Every run

    async def turn(self, case: Case, age: str, style: str) -> None:
        """Cancel a call at each of its turns."""
        measured = await self.measure(case, age)
        # A task that was not begun is no caller that goes on.
        for turn in range(style == 'timeout', MOST):
            self.about = f'{case.name}, {age}, cancelled ({style}) at turn {turn}'
            there = await self.cancel_at(case, age, turn, style, measured.after)
            self.figures[f'turns, {style}'] += 1
            if not there or (case.waits and self.turns.idle):
                return
        raise FoundError('it does not end')

    async def hold(self, case: Case, proxy: Proxy, age: str, style: str) -> None:
        """Cancel a call with each of its replies held back."""
        measured = await self.measure(case, age, proxy)
        for number in range(measured.requests):
            self.about = f'{case.name}, {age}, cancelled ({style}) with reply {number} held'
            if await self.cancel_held(case, proxy, age, number, style, measured.after):
                self.figures[f'replies held, {style}'] += 1
            else:
                self.figures['not reached'] += 1

    async def all_of(self, case: Case, effort: Effort) -> None:
        """Everything with one call."""
        self.about = case.name
        first = next(other for other in [*ALL, case] if other.verb == case.verb)
        with self.noise.listening():
            for age in effort.ages if effort.thorough or case is first else AGES[1:]:
                for style in STYLES if effort.thorough or age == 'warm' else STYLES[:1]:
                    await self.turn(case, age, style)
            async with open_proxy(self.server) as proxy:
                for age in effort.ages:
                    for style in HOLDS if effort.thorough or age == 'warm' else HOLDS[:1]:
                        await self.hold(case, proxy, age, style)
        self.about = case.name
        gc.collect()
        await asyncio.sleep(0)
        self.figures['calls'] += 1
        if self.noise.heard:
            raise FoundError(f'complaints: {self.noise.heard[:3]}')


class Effort(NamedTuple):
    """How much is done."""

    ages: Sequence[str] = AGES
    thorough: bool = True
    """Whether without a connection in each style and situation, too; to make one is the same in all of them."""


class Measure(NamedTuple):
    """A call that nobody cancelled."""

    requests: int
    after: dict[str, Any]


def _hold(bench: Bench, result: Any) -> None:
    """Keep what a call was given."""
    deliveries = result if isinstance(result, list) else [result]
    for delivery in deliveries:
        if isinstance(delivery, tuple) and delivery and isinstance(delivery[0], TorrelqueTaskId):
            bench.held[delivery[0]] = delivery[0]


@contextlib.contextmanager
def small_calls_and_long_waits() -> Iterator[None]:
    """Cut bulk calls and sweeps into more of them, and have nobody's block at the bell end by itself."""
    small = dataclasses.replace(
        Torrelque._bounds, block=45.0, guard_looks=45, repeat=1e6, bulk=4, grouped_tasks=4, sweep=2
    )
    with mock.patch.object(Torrelque, '_bounds', small):
        yield


def try_cases(server: RealServer, cases: Sequence[Case], effort: Effort, aloud: bool = False) -> Found:
    """Do everything with calls; figures, and what is wrong.

    :param aloud: whether it is printed when one is done, so that a run that is cut off counts for those.
    """
    turns, faults = Turns(), list[str]()
    loop = asyncio.SelectorEventLoop(turns)
    rig = Rig(server, turns)
    loop.set_exception_handler(rig.noise.complain)

    async def run() -> None:
        await rig.start()
        for case in cases:
            before = len(faults)
            try:
                await rig.all_of(case, effort)
            except Exception as exc:
                faults.append(f'{rig.about}: {describe(exc)}')
                rig.noise.heard.clear()
            if aloud:
                said = json.dumps({'row': case.name, 'faults': len(faults) - before})
                print(*faults[before:], said, sep='\n', flush=True)
        await rig.stop()

    try:
        with small_calls_and_long_waits():
            loop.run_until_complete(run())
    finally:
        loop.close()
    return {**rig.figures, 'slowest return (ms)': round(rig.slowest * 1000)}, faults


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--server', default='valkey9')
    parser.add_argument('--case', default='', help='a part of the names of the calls to try')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='the names of the calls to try')
    options = parser.parse_args(arguments)
    cases = [case for case in ALL if options.case in case.name and case.name in (options.only or [case.name])]
    return drive('await points', options.server, lambda server: try_cases(server, cases, Effort(), True))
