"""What a producer sends who means ill: it is dead or set aside, and workers go on with what others have sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = [pytest.mark.long, pytest.mark.first_server]

DEAD = [
    b'', b'\xff\xfe', b'[' * 100_000, b'9' * 100_000, b'{"task": ', b'\x80\x04\x95\x05\x00\x00\x00.', b'null', b'5',
    b'[1]', b'{}', b'{"task": 5, "args": [], "kwargs": {}}', b'{"task": null}', b'{"task": "double", "args": {"n": 1}}',
    b'{"task": "double", "args": [1], "kwargs": [1]}', b'{"task": "double", "args": [[[1]]]}',
    b'{"task": "double", "args": ["\\u001b[31m\\n"]}', b'{"task": "double", "args": [1, 2, 3]}',
    b'{"task": "double", "args": [], "kwargs": {"__class__": 1}}', b'{"task": "double", "args": [NaN]}',
    b'{"task": "double", "kwargs": {"n": 1, "self": 2}}',
]  # fmt: skip
"""Payloads that nobody can work on."""
FOREIGN = [
    b'{"task": "os.system", "args": ["true"]}', b'{"task": "__import__", "args": ["os"]}',
    b'{"task": "\\u001b[2J\\n"}',
]  # fmt: skip
"""Calls of functions that the app does not have."""


class Raw:
    """Sends bytes as they are."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        return bytes(value)

    @staticmethod
    def loads(data: bytes) -> Any:
        return data


async def test_whoever_means_ill_keeps_no_worker_from_its_work(
    client: redis.asyncio.Redis, queue: Torrelque, caplog: pytest.LogCaptureFixture
) -> None:
    app, called = Tasks(queue), list[int]()

    @app.task(name='double', max_attempts=1)
    async def double(n: int) -> int:
        called.append(n)
        return 2 * n

    async with Torrelque(client, queue=queue.name, serialiser=Raw) as enemy:
        ids = [await enemy.enqueue(payload, group='\x1b]0;x\x07\n', max_attempts=1) for payload in DEAD]
        foreign = [await enemy.enqueue(payload, task_id=f'\x1b[2J\n{n}') for n, payload in enumerate(FOREIGN)]
    async with Worker(app, concurrency=3):
        handles = [await double.enqueue(n) for n in (1, 2, 3)]
        assert [await handle.result(60) for handle in handles] == [2, 4, 6]
        while (await queue.get_queue_stats()).dead < len(ids):
            await asyncio.sleep(0.01)
        while not all([(await queue.get_task_state(one)).requeue_count for one in foreign]):
            await asyncio.sleep(0.01)
    assert sorted(called) == [1, 2, 3]
    for one in ids:
        state = await queue.get_task_state(one)
        assert state.status.name == 'DEAD' and state.error
    # What was sent stands in no line of the log as it is.
    lines = [record.getMessage() for record in caplog.records]
    assert lines and all('\x1b' not in line and '\n' not in line for line in lines)
