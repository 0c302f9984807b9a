"""Two queues of one server, over which a flow goes, on a clock that stands still."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis.asyncio

from model.model_checks import DUMP, read_dump
from proof.invariants import check_keys
from support.standing import Either, StandingClock


class Pair(NamedTuple):
    """Two queues of one server."""

    home: Either
    other: Either
    client: redis.asyncio.Redis
    clock: StandingClock

    async def carry(self, whole: bool = True) -> None:
        """Have all that is due carried, by whoever sweeps; what always holds of queues holds before and after, unless
        a test has spoilt something."""
        if whole:
            await self.check()
        await self.other.sweep()
        await self.home.sweep()
        await self.check()

    async def check(self) -> None:
        for queue in (self.home, self.other):
            dump = await self.client.eval(DUMP, 0, queue.keys['pending'].removesuffix('pending'))
            faults = [*check_keys(read_dump(dump))]
            assert not faults, faults

    async def work(
        self, queue: Either, name: str, result: Any = None, flow_id: str = 'f', whole: bool = True
    ) -> None:
        """Take a task, which is to be this one, and finish it."""
        [(task_id, _)] = await queue.take()
        assert task_id == f'{flow_id}.{name}'
        assert await queue.release(task_id, result=result)
        await self.carry(whole)

    async def how(self, name: str, flow_id: str = 'f') -> Any:
        [outcome] = await self.home.get_results(flow_id, f'{flow_id}.{name}')
        return outcome.how, outcome.error if outcome.result is None else outcome.result

    async def left(self) -> set[str]:
        """Keys that no time to live ends, but for the clock and the bell."""
        keys = [key async for key in self.client.scan_iter()]
        return {key.decode() for key in keys if await self.client.pttl(key) == -1} - {'the clock'}


async def state(queue: Either, name: str) -> Any:
    return await queue.get_task_state(f'f.{name}')


async def evaluate(pair: Pair, queue: Either, name: str, args: list[Any], resent: bool = False) -> Any:
    """A call of a script, as a client sends it that is then seen no more."""
    call = queue.queue._calls.transitions[name].words(args, resent)
    return await pair.client.execute_command(*call)
