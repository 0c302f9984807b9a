"""The work of the web example, and the consumers that do it: in the process of the page, or here, in one of their own.

    python example/web --consumers 0 --url redis://localhost    # the page alone
    python example/web/consumer.py --url redis://localhost      # as many of these as you like
"""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import redis.asyncio

import torrelque
from torrelque import TaskId, Torrelque

QUEUE = 'web'
ATTEMPTS = 4
KEEP = 24 * 3600
"""s that the state of a finished task is kept, so that a page that is opened again still shows it."""


class LostError(Exception):
    """The task was cancelled, or is somebody else's since its lease has ended: stop."""


class BankError(Exception):
    """The bank has not taken the payment."""


class Delivery(NamedTuple):
    """A task that a consumer holds."""

    queue: Torrelque
    task_id: TaskId
    speed: float

    async def work(self, seconds: float, progress: dict[str, int] | None = None) -> None:
        """Stands for a step of the work, after which the lease is renewed.

        Steps are short, so that a cancelled task is noticed soon.
        """
        await asyncio.sleep(random.uniform(0.7, 1.3) * seconds / self.speed)
        if not await self.queue.touch(self.task_id, progress=progress):
            raise LostError


async def send_letter(delivery: Delivery) -> str:
    for _ in range(5):
        await delivery.work(0.4)
    return 'Delivered, and signed for'


async def charge_card(delivery: Delivery) -> str:
    for _ in range(3):
        await delivery.work(0.4)
    # A redrive forgives all attempts before it.  That is when somebody has looked into it, and the bank is back.
    if (await delivery.queue.get_task_state(delivery.task_id)).forgiven < ATTEMPTS:
        raise BankError('The bank does not answer: 503 Service Unavailable')
    return 'Paid, the bank is back'


async def render_film(delivery: Delivery, frames: int = 240) -> str:
    for done in range(0, frames + 1, 10):
        await delivery.work(0.3, {'done': done, 'total': frames})
    return f'{frames} frames in 4K'


class Kind(NamedTuple):
    """What there is to do, and what tasks of this kind are called on the page."""

    work: Callable[[Delivery], Awaitable[str]]
    titles: tuple[str, ...]


KINDS = {
    'letter': Kind(send_letter, tuple(f'Letter to {name}' for name in ('Ada', 'Grace', 'Hedy', 'Edsger', 'Radia'))),
    'payment': Kind(charge_card, tuple(f'Payment of {amount} €' for amount in (7, 19, 49, 120, 480))),
    'film': Kind(render_film, ('Harbour at dawn', 'The night train', 'A year in the Alps', 'Rain, a study')),
}


def backoff(attempt: int, speed: float) -> float:
    """How long (s) a task waits after a failed attempt: 2, 4, 8 ..."""
    return min(2.0**attempt, 3600) / speed


async def consume(queue: Torrelque, speed: float) -> None:
    while True:
        try:
            await serve(queue, speed)
        except torrelque.ConnectionError:
            # The server has been away for long.  A task that was held comes back when its lease has ended.
            await asyncio.sleep(1)


async def serve(queue: Torrelque, speed: float) -> None:
    """Take one task and settle it."""
    task_id, task = await queue.dequeue()
    try:
        result = await KINDS[task['kind']].work(Delivery(queue, task_id, speed))
    except asyncio.CancelledError:
        # A shutdown, not the task's fault.  Where the server is away it comes back when its lease has ended.
        with contextlib.suppress(asyncio.TimeoutError, torrelque.ConnectionError):
            await asyncio.wait_for(queue.requeue(task_id, forgive=True), 2)
        raise
    except LostError:
        settle = queue.release(task_id)  # clears a cancelled task away, else changes nothing
    except torrelque.ConnectionError:
        raise
    except Exception as exc:
        settle = queue.requeue(task_id, delay=backoff(task_id.attempt or 1, speed), error=str(exc))
    else:
        settle = queue.release(task_id, result=result, result_ttl=KEEP)
    await asyncio.shield(settle)  # a shutdown does not stop it half-way


async def run_consumers(queue: Torrelque, consumers: int, speed: float, stop: asyncio.Event) -> None:
    """Consume until it is time to stop; then give back what is held.  One queue object for all: they share calls."""
    tasks = [asyncio.create_task(consume(queue, speed)) for _ in range(consumers)]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopping, *tasks):
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(outcome, asyncio.CancelledError) and outcome is not None:
            raise outcome  # a consumer does not end by itself


def stop_at_signals() -> asyncio.Event:
    """Set at the first Ctrl-C or SIGTERM; a second one does not wait for anything."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def finish() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, finish)
    return stop


async def run(args: argparse.Namespace) -> None:
    stop = stop_at_signals()
    if args.until_eof:
        loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

        def finish() -> None:
            loop.remove_reader(pipe)
            stop.set()

        loop.add_reader(pipe, finish)
    async with redis.asyncio.from_url(args.url) as client, Torrelque(client, queue=QUEUE) as queue:
        print(f'{args.consumers} consumers on {args.url}; Ctrl-C stops', flush=True)
        await run_consumers(queue, args.consumers, args.speed, stop)


def server_url(text: str) -> str:
    redis.asyncio.from_url(text)
    return text


def number(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def factor(text: str) -> float:
    if not 0 < float(text) < float('inf'):
        raise ValueError
    return float(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    url = os.environ.get('REDIS_URL', 'redis://localhost')
    add('--url', type=server_url, default=url, help='of the server (default: %(default)s)')
    add('--consumers', type=number, default=8, metavar='N', help='coroutines (default: %(default)s)')
    add('--speed', type=factor, default=1, metavar='X', help='so many times faster (default: %(default)s)')
    add('--until-eof', action='store_true', help='stop at the end of standard input, which is that of the parent')
    logging.basicConfig(format='%(message)s')
    asyncio.run(run(parser.parse_args()))


if __name__ == '__main__':
    main()
