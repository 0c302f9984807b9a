"""What it costs to keep leases: a worker with very many handlers that just wait, and the CPU time of both sides.

    python -m benchmark.speed.renew [--deliveries 10000] [--leases 30,300] [--periods 2] [--json FILE]

On a server of its own.  A lease is renewed at a third of its length; the time is taken over so many of these periods,
from when all handlers have begun and each is watched.  The share is of one core; `renewals` is how many were counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis.asyncio

from benchmark.tables import Table, as_markdown, as_text
from support.servers import RealServer, free_port
from torrelque import Torrelque
from torrelque.worker import Delivery, Worker

BEGUN = 3.0
"""s after the last handler has begun, in which those that run for long begin to be watched."""
GOAL = 0.05
"""Of a core, that the worker's process may use for 10,000 leases of 30 s."""


class Counted(Torrelque):
    """Counts the leases that are renewed."""

    renewed = lost = 0

    async def touch_many(self, task_ids: Iterable[str], **options: Any) -> list[bool]:
        held = await super().touch_many(task_ids, **options)
        self.renewed += sum(held)
        self.lost += len(held) - sum(held)
        return held


async def measure(url: str, deliveries: int, lease: float, periods: float) -> dict[str, float]:
    """The CPU time, as shares of a core, that the leases of so many deliveries take."""
    begun, enough = 0, asyncio.Event()
    over = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        nonlocal begun
        begun += 1
        if begun == deliveries:
            enough.set()
        await over.wait()

    async with redis.asyncio.from_url(url) as client, Counted(client, queue='bench') as queue:
        await client.flushall()
        await queue.enqueue_many(({'n': n} for n in range(deliveries)), task_timeout=lease)
        async with Worker(queue, wait, concurrency=deliveries):
            await enough.wait()
            await asyncio.sleep(BEGUN)
            renewed, began = queue.renewed, time.monotonic()
            own, its = time.process_time(), await _server_time(client)
            await asyncio.sleep(periods * lease / 3)
            spent = time.process_time() - own
            server, seconds = await _server_time(client) - its, time.monotonic() - began
            renewed = queue.renewed - renewed
            over.set()
    return {
        'deliveries': deliveries,
        'lease': lease,
        'seconds': seconds,
        'renewals': renewed,
        'lost': queue.lost,
        'worker': spent / seconds,
        'server': server / seconds,
    }


async def _server_time(client: Any) -> float:
    info: dict[str, Any] = await client.info('cpu')
    return float(info['used_cpu_user'] + info['used_cpu_sys'])


def table_of(figures: list[dict[str, float]]) -> Table:
    rows = [
        [
            f'{found["deliveries"]:,.0f} leases of {found["lease"]:g} s',
            f'{found["seconds"]:.0f}',
            f'{found["renewals"]:,.0f}',
            f'{found["worker"]:.1%}',
            f'{found["server"]:.1%}',
        ]
        for found in figures
    ]
    return Table('Keeping leases, shares of a core', ['', 's', 'renewals', 'worker', 'server'], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--deliveries', type=int, default=10_000, help='at a time')
    parser.add_argument('--leases', default='30,300', help='their lengths (s), one after the other')
    parser.add_argument('--periods', type=float, default=2.0, help='thirds of a lease, over which it is measured')
    parser.add_argument('--json', metavar='FILE', type=Path, help='the figures')
    parser.add_argument('--markdown', metavar='FILE', type=Path, help='the table as Markdown')
    options = parser.parse_args()
    figures = []
    with RealServer('valkey9', {'port': str(free_port())}) as server:
        for lease in options.leases.split(','):
            url = f'redis://127.0.0.1:{server.port}'
            figures.append(asyncio.run(measure(url, options.deliveries, float(lease), options.periods)))
    table = table_of(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    if options.markdown:
        options.markdown.write_text('\n'.join([*as_markdown([table]), '']))
    print('\n'.join(as_text([table])))
    bad = [found for found in figures if found['lost'] or found['worker'] > GOAL]
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
