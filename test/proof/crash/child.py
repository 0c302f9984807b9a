"""A consumer that does as it is told, in a process that may be killed or stopped at any command.

Started as a script, this is the process from which such children are forked, so that each is there in milliseconds: it
reads the numbers of runs from its standard input, a line each, and ends with it. A child connects to the socket that is
the argument, says who it is, is told what to do, and tells of each call before it is made and after it has answered.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

import redis.asyncio

from torrelque import Torrelque, TorrelqueTaskId, TorrelqueTimeoutError

PDEATHSIG = 1
Tell = Callable[..., None]


class _Warnings(logging.Handler):
    """Warnings, and refusals, which are less where the task was cancelled."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or 'does not hold it' in text:
            self.texts.append(text)

    def take(self) -> list[str]:
        texts, self.texts = self.texts, []
        return texts


class Consumer:
    """Makes the calls of a story, one after the other, with what it holds at that time."""

    def __init__(self, queue: Torrelque, tell: Tell) -> None:
        self.queue = queue
        self.tell = tell
        self.held: list[TorrelqueTaskId] = []
        self.ids: dict[int, str] = {}
        self.jobs: dict[str, int] = {}
        self.warnings = _Warnings()
        logging.getLogger('torrelque').addHandler(self.warnings)
        logging.getLogger('torrelque').setLevel(logging.INFO)

    async def run(self, calls: list[tuple[str, dict[str, Any]]]) -> None:
        for number, (verb, options) in enumerate(calls):
            with_holder = verb in ('release', 'requeue', 'bury', 'touch', 'release_many')
            if with_holder and not self.held:
                continue
            method = getattr(self, f'do_{verb}', None)
            await (method(number, **options) if method else self._plain(number, verb, options))

    async def _plain(self, number: int, verb: str, options: dict[str, Any]) -> None:
        self.tell(begun=number, verb=verb)
        await getattr(self.queue, verb)(**options)
        self.tell(ended=number)

    async def do_enqueue(self, number: int, job: int, **options: Any) -> None:
        self.tell(begun=number, verb='enqueue', jobs=[job])
        self.ids[job] = await self.queue.enqueue(job, **options)
        self.tell(ended=number, done=[True])

    async def do_enqueue_many(self, number: int, jobs: list[int], **options: Any) -> None:
        self.tell(begun=number, verb='enqueue', jobs=jobs)
        self.ids.update(zip(jobs, await self.queue.enqueue_many(jobs, **options), strict=True))
        self.tell(ended=number, done=[True] * len(jobs))

    async def do_cancel(self, number: int, job: int) -> None:
        if job in self.ids:
            self.tell(begun=number, verb='cancel', jobs=[job])
            self.tell(ended=number, done=[await self.queue.cancel(self.ids[job])])

    async def do_take(self, number: int, timeout: float, most: int) -> None:
        self.tell(begun=number, verb='take')
        try:
            deliveries = await self.queue.dequeue_many(most, timeout)
        except TorrelqueTimeoutError:
            deliveries = []
        self.jobs.update((str(task_id), job) for task_id, job in deliveries)
        self.held += [task_id for task_id, _ in deliveries]
        self.tell(ended=number, taken=[[task_id, task_id.token, job] for task_id, job in deliveries])

    async def do_release_many(self, number: int) -> None:
        held, self.held = self.held, []
        await self._settle(number, 'release', held, self.queue.release_many(held))

    async def do_touch(self, number: int, which: int, **options: Any) -> None:
        task_id = self.held[which % len(self.held)]
        await self._settle(number, 'touch', [task_id], self.queue.touch(task_id, **options))

    async def do_release(self, number: int, which: int, **options: Any) -> None:
        task_id = self.held.pop(which % len(self.held))
        await self._settle(number, 'release', [task_id], self.queue.release(task_id, **options))

    async def do_requeue(self, number: int, which: int, **options: Any) -> None:
        task_id = self.held.pop(which % len(self.held))
        await self._settle(number, 'requeue', [task_id], self.queue.requeue(task_id, **options))

    async def do_bury(self, number: int, which: int) -> None:
        task_id = self.held.pop(which % len(self.held))
        await self._settle(number, 'bury', [task_id], self.queue.bury(task_id, error='no'))

    async def _settle(self, number: int, verb: str, task_ids: list[TorrelqueTaskId], call: Any) -> None:
        tokens = [[task_id, task_id.token] for task_id in task_ids]
        self.tell(begun=number, verb=verb, tokens=tokens, jobs=[self.jobs[str(task_id)] for task_id in task_ids])
        self.warnings.take()
        done = await call
        done = done if isinstance(done, list) else [done]
        self.tell(ended=number, done=done, warnings=self.warnings.take())


async def _work(order: dict[str, Any], tell: Tell) -> None:
    async with redis.asyncio.Redis(unix_socket_path=order['path']) as client:
        async with Torrelque(client, queue=order['queue']) as queue:
            await Consumer(queue, tell).run(order['calls'])
    tell(bye=True)


def _be_child(path: str, run: int) -> None:
    # Whatever becomes of the others, this one does not stay.
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(path)

        def tell(**event: Any) -> None:
            control.sendall(json.dumps(event).encode() + b'\n')

        tell(run=run, pid=os.getpid())
        with control.makefile() as orders:
            order = json.loads(orders.readline())
            try:
                asyncio.run(_work(order, tell))
            except BaseException:
                tell(error=traceback.format_exc())


def main(path: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                _be_child(path, int(line))
            finally:
                os._exit(0)


if __name__ == '__main__':
    main(sys.argv[1])
