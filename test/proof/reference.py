"""The queue that was published before, torrelque 0.9.0, judged by the same chaos: it must fail, so that one knows that
the checker can see.

    python -m proof.reference --seeds 10 --seconds 15

makes an environment of its own, installs the reference into it by its name, and runs the crowd there; ours goes first.
Line, server and checker are those of `proof.chaos`.  The adapter uses what the package documents, and leaves out what
it does not have: groups, priorities, attempts, own ids, leases that are renewed, cancelling.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from proof.peers import PLAIN, Kind, Taken, is_whole, make_task
from torrelque import Torrelque

VERSION = '0.9.0'
HOME = Path(__file__).resolve().parents[2] / '.servers' / f'reference-{VERSION}'

OTHERS = ('hiredis', 'hypothesis')


def install() -> Path:
    """The Python of an environment that has the reference."""
    python = HOME / 'bin' / 'python'
    if not (HOME / 'hypothesis').exists():
        subprocess.run([sys.executable, '-m', 'venv', '--clear', str(HOME)], check=True)
        options = ('--quiet', '--disable-pip-version-check')
        subprocess.run([str(python), '-m', 'pip', 'install', *options, f'torrelque=={VERSION}', *OTHERS], check=True)
        (HOME / 'hypothesis').touch()
    return python


class Reference:
    """Torrelque 0.9.0."""

    has_own_ids = False

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._queue: Any = Torrelque(client, queue=name)
        self._queue.schedule_sweep(1)

    async def enqueue(
        self, jobs: Sequence[int], *, group: str | None = None, lease: float, kind: Kind = PLAIN
    ) -> list[str]:
        tasks = [make_task(job, kind) for job in jobs]
        if len(tasks) == 1:
            return [await self._queue.enqueue(tasks[0], task_timeout=lease, delay=kind.delay)]
        async with self._client.pipeline(transaction=True) as pipeline:
            ids = [
                await self._queue.enqueue(task, task_timeout=lease, delay=kind.delay, pipeline=pipeline)
                for task in tasks
            ]
            await pipeline.execute()
        return ids

    async def dequeue(self, count: int, timeout: float) -> list[Taken]:
        found = await self._queue.dequeue(max(1, round(timeout)), max_tasks=count)
        items = [found] if count == 1 else found
        return [Taken(task_id, task['job'], None, None, is_whole(task)) for task_id, task in items]

    async def settle(self, verb: str, task_ids: Sequence[str], delay: float | None = None) -> list[bool | None]:
        """It tells nobody whether they hold their tasks: a call that does not raise is one that was done."""
        if verb == 'release' and len(task_ids) > 1:
            async with self._client.pipeline(transaction=True) as pipeline:
                for task_id in task_ids:
                    await self._queue.release(task_id, pipeline=pipeline)
                await pipeline.execute()
            return [True] * len(task_ids)
        if verb == 'release':
            await self._queue.release(task_ids[0])
            return [True]
        if verb == 'requeue':
            await self._queue.requeue(task_ids[0], delay)
            return [True]
        return [None]

    async def cancel(self, task_id: str) -> bool | None:
        return None

    async def redrive(self) -> list[str]:
        return []

    async def resume(self) -> None:
        """It knows no pause."""

    async def left(self) -> int:
        return int((await self._queue.get_queue_stats()).tasks)

    async def occupy(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def losses(self) -> None:
        """Nobody knows what the client library sends again."""

    async def watch(self, task_id: str, timeout: float | None) -> AsyncIterator[tuple[int, int, int]]:
        """Status, hand-outs and returns of a task, after each change."""
        async for state in self._queue.watch(task_id, timeout=timeout):
            yield int(state.status), state.dequeue_count, state.requeue_count

    async def wait(self, task_id: str, timeout: float | None) -> tuple[int, int, int]:
        """The last state of a task."""
        *_, last = [state async for state in self.watch(task_id, timeout)]
        return last

    def judge(self, exc: BaseException, count: int, again: bool) -> list[bool | None]:
        """What is known of the tasks of an enqueue that raised."""
        return [None] * count

    async def aclose(self) -> None:
        self._queue.unschedule_sweep()


def main(arguments: list[str] | None = None) -> int:
    """The same seeds with ours and with the reference, figures side by side; 0 where only the latter fails."""
    from proof.chaos import chaos

    options = chaos.parse(arguments)
    ours = asyncio.run(chaos.run_seeds(options, 'ours', sys.executable))
    reference = asyncio.run(chaos.run_seeds(options, 'reference', str(install())))
    rows = {name: json.loads(figures.as_json()) for name, figures in (('ours', ours), ('reference', reference))}
    for name in rows['ours']:
        if name != 'faults_by_kind':
            print(f'{name:>14} {rows["ours"][name]:>10} {rows["reference"][name]:>10}')
    print(json.dumps(rows))
    return 0 if reference.found and not ours.found else 1


if __name__ == '__main__':
    sys.exit(main())
