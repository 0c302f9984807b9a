"""Beats as a worker sends them, and what they have left."""

from __future__ import annotations

from typing import Any

from support.proxy import Part
from torrelque import Torrelque
from torrelque.operate import records
from torrelque.protocol.keys import BUCKETS
from torrelque.worker import Delivery
from torrelque.worker.counts import write
from torrelque.worker.scripts import _load, run_script


def calls_of_script(name: str) -> Part:
    """What each call of a script of the layer has in it."""
    text, digest = _load(name)
    return digest.encode(), text.encode()


async def handle(delivery: Delivery) -> None: ...


async def beat(queue: Torrelque, name: str = 'a', number: int = 1, **given: Any) -> list[Any]:
    """A beat as a worker sends it."""
    options: dict[str, Any] = {'start': 's', 'state': 'running', 'heartbeat': 5000, 'functions': {}, 'wait': ()} | given
    flat = [word for function, counts in options['functions'].items() for word in (function, write(counts))]
    reply: list[Any] = await run_script(
        queue, 'beat', (queue.keys['pending'], queue.keys['never']), name, options['start'], number, options['state'],
        options['heartbeat'], 10, 3, 2, '0.5', '{}', '', write(options['wait']), *flat,
    )  # fmt: skip
    return reply


def counts(succeeded: int = 1) -> list[float]:
    return [succeeded, 0, 0, 0, 1.5, succeeded, *[0] * (len(BUCKETS) - 1)]


async def done(queue: Torrelque) -> int:
    """How many successes the totals have, all functions together."""
    return sum(view.totals.succeeded for view in await records.read_functions(queue, None))
