"""Slots of a Cluster of three primaries are moved under load, those of the queues among them.

    python -m proof.servers.cluster --runs 50

Two queues are at work over the same clients.  A slot stays half moved for a while, with some of the queue's keys on
either side.  Nothing may be lost, and no lease be broken: the server is to be judged as one that keeps everything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

from model.model_checks import Seen
from proof.history import now
from proof.servers import standing
from proof.servers.standing import Load, Outcome
from support.topology import SLOTS, Cluster, start_cluster

QUEUES = ('moved', 'beside')


@contextlib.asynccontextmanager
async def _cluster(kind: str) -> AsyncIterator[Cluster]:
    with contextlib.ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, start_cluster(kind))
    # A client forgets, and does not close, the nodes that it replaces when a slot has moved.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        gc.collect()


def move_half(cluster: Cluster, slot: int, to: int, chance: random.Random) -> None:
    """Begin to move a slot; some of its keys, or none, or all."""
    with cluster.nodes[cluster.owner_of(slot)].sync_client() as link:
        keys = [key.decode() for key in link.execute_command('CLUSTER', 'GETKEYSINSLOT', slot, 1000)]
    cluster.begin_move(slot, to, keys=chance.sample(keys, chance.randint(0, len(keys))))


async def _move(cluster: Cluster, queue: str | None, chance: random.Random) -> None:
    """Move the slot of a queue, or any."""
    slot = chance.randrange(SLOTS) if queue is None else cluster.slot_of(f'{{{queue}}}:pending')
    to = (await asyncio.to_thread(cluster.owner_of, slot) + chance.choice([1, 2])) % 3
    await asyncio.to_thread(move_half, cluster, slot, to, chance)
    await asyncio.sleep(chance.uniform(0.05, 0.3))
    await asyncio.to_thread(cluster.finish_move, slot, to)


async def run(chosen: argparse.Namespace, seed: int, directory: Path) -> Outcome:
    """Several moves; the queue's slot is in every second one."""
    chance = random.Random(seed)
    outcome = Outcome()
    async with _cluster(chosen.kind) as cluster, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(cluster.client()) for _ in range(3)]
        loads = [Load(directory, clients, queue, seed * 10 + n, pause=0.04) for n, queue in enumerate(QUEUES)]
        for load in loads:
            stack.push_async_callback(load.aclose)
            await load.start()
        struck = now()
        end = struck + chosen.seconds * 700
        while now() < end:
            await asyncio.sleep(chance.uniform(0, 0.2))
            queue = QUEUES[0] if outcome.disturbances % 2 == 0 else chance.choice([QUEUES[1], None])
            struck = now()
            await _move(cluster, queue, chance)
            outcome.disturbances += 1
        recovered = now()
        await asyncio.sleep(chosen.seconds * 0.3)
        for load in loads:
            await _judge(cluster, load, outcome, struck, recovered)
    # A run has two histories, and is one run.
    outcome.runs = 1
    return outcome


async def _judge(cluster: Cluster, load: Load, outcome: Outcome, struck: float, recovered: float) -> None:
    def look() -> Seen:
        owner = cluster.owner_of(cluster.slot_of(f'{{{load.queue}}}:pending'))
        with cluster.nodes[owner].sync_client() as link:
            return standing.look(link, load.queue)

    standing.judge_keys(outcome, await asyncio.to_thread(look))
    faults, seconds = await load.finish()
    outcome.faults += faults
    outcome.drained.append(seconds)
    standing.judge_keys(outcome, await asyncio.to_thread(look), empty=True)
    history = load.history()
    standing.judge_recovery(outcome, history, recovered, recovered)
    standing.judge(outcome, history)


def main(arguments: list[str]) -> int:
    return standing.drive(run, standing.options(__doc__).parse_args(arguments))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
