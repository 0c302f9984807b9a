"""What reasons are asked by, and workers that only say that they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torrelque import Torrelque
from torrelque.operate import Operator, Reason, RunningView, WorkerView

NO_WORKER = 'no worker lives that has a heartbeat, and no other consumer waits for tasks'
UNSEEN = '(consumers without a heartbeat are not seen)'

Hire = Callable[..., None]


def worker(name: str, **fields: Any) -> WorkerView:
    """A worker that lives and has places free."""
    given: dict[str, Any] = {
        'name': name, 'queue': '', 'state': 'running', 'host': 'h', 'pid': 1, 'version': '1', 'started': 1.0,
        'seen': 2.0, 'interval': 5.0, 'queues': (), 'functions': (), 'concurrency': 2, 'busy': 0, 'running': (),
        'succeeded': 0, 'failed': 0, 'dead': 0, 'lost': 0, 'hanging': 0, 'lag': None, 'claimed': None, 'rss': None,
        'why': None,
    }  # fmt: skip
    return WorkerView(**{**given, **fields})


def running(task_id: str, queue: Torrelque, group: str | None = None, since: float = 3.0) -> tuple[RunningView, ...]:
    return (RunningView(task_id, queue.name, 'shop.send', group, 1, since),)


async def working(queue: Torrelque, **options: Any) -> tuple[str, Any]:
    await queue.enqueue({'task': 'shop.send'}, **options)
    task_id, task = await queue.dequeue(0)
    return str(task_id), task


async def why(queue: Torrelque, task_id: str | None = None, *, group: str | None = None) -> list[Reason]:
    return await Operator(queue).explain(task_id, group=group)


def brief(reasons: list[Reason]) -> list[tuple[str, str]]:
    return [(reason.code, reason.text) for reason in reasons]


async def first(queue: Torrelque, task_id: str | None = None, *, group: str | None = None) -> Reason:
    return (await why(queue, task_id, group=group))[0]


def by(queue: Torrelque, words: str) -> str:
    return f'torrelque {words} -q {queue.name}'
