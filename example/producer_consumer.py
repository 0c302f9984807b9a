"""Producers and consumers that go on until Ctrl-C, and lose nothing.

    python example/producer_consumer.py
    python example/producer_consumer.py --url redis://localhost     # in several terminals: they share the work

Orders are produced and processed.  Processing fails at random, and a failed order is tried again later, each time
after a longer pause; some can never succeed, and are dead after `ATTEMPTS` attempts.  At Ctrl-C (or SIGTERM) the
producers stop, the consumers give back what they hold, and an account tells where every order is.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, TypeAlias, TypeVar

import redis.asyncio

from torrelque import QueueStats, Torrelque
from torrelque.embedded import Server

ATTEMPTS = 4
LEASE = 30
"""s that a consumer has for an order; when it crashes, the order goes to somebody else after this time."""

Result = TypeVar('Result')
Stop: TypeAlias = 'asyncio.Future[None]'
"""Done when it is time to stop."""


class ProcessingError(Exception):
    """An order could not be processed."""


class StoppedError(Exception):
    """It is time to stop, and what was waited for has not come to its end."""


async def unless(stop: Stop, call: Coroutine[Any, Any, Result]) -> Result:
    """What a call gives; when it is time to stop before it has ended, it is cancelled and `StoppedError` raised."""
    task = asyncio.create_task(call)
    both: list[asyncio.Future[Any]] = [stop, task]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if task.cancelled():
        raise StoppedError
    return task.result()


async def produce(queue: Torrelque, numbers: Iterator[int], pause: float, stop: Stop, count: Counter[str]) -> None:
    for number in numbers:
        order = {'number': number, 'impossible': random.random() < 0.02}
        await queue.enqueue(order, task_timeout=LEASE, max_attempts=ATTEMPTS)
        count['enqueued'] += 1
        try:
            await unless(stop, asyncio.sleep(random.uniform(0, 2 * pause)))
        except StoppedError:
            break


async def consume(queue: Torrelque, failures: float, stop: Stop, count: Counter[str]) -> None:
    while not stop.done():
        try:
            # A dequeue that is cancelled loses nothing: what was taken for it goes back.
            task_id, order = await unless(stop, queue.dequeue())
        except StoppedError:
            break

        try:
            await unless(stop, process(order, failures))
        except ProcessingError as exc:
            # Again in 0.2, 0.4, 0.8 s; the requeue after the last attempt makes the order dead, with its error.
            delay = 0.1 * 2 ** (task_id.attempt or 1)
            settled, outcome = await queue.requeue(task_id, delay, error=str(exc)), 'failed'
        except StoppedError:
            # To the head of the queue, and the attempt does not count.
            settled, outcome = await queue.requeue(task_id, forgive=True), 'given back'
        else:
            settled, outcome = await queue.release(task_id), 'completed'
        # False: the lease ran out and the order is somebody else's now, who will count it.
        count[outcome if settled else 'lease lost'] += 1


async def process(order: Any, failures: float) -> None:
    """Stands for the work."""
    await asyncio.sleep(random.uniform(0, 0.1))
    if order['impossible']:
        raise ProcessingError(f'order {order["number"]} is impossible')
    if random.random() < failures:
        raise ProcessingError('the bank does not answer')


async def report(queue: Torrelque, stop: Stop, count: Counter[str]) -> None:
    """Show figures: one line that is rewritten on a terminal, else a line each second."""
    terminal = sys.stdout.isatty()
    started = then = time.monotonic()
    completed = 0
    while not stop.done():
        stats, now = await queue.get_queue_stats(), time.monotonic()
        rate, then, completed = (count['completed'] - completed) / (now - then or 1), now, count['completed']
        figures = f'{count["enqueued"]} enqueued, {completed} completed ({rate:.0f}/s), {count["failed"]} failed'
        line = f'{now - started:3.0f} s  {figures} | {describe(stats)}'
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f'\r{line[:width]:{width}}', end='', flush=True)
        else:
            print(line, flush=True)
        await asyncio.wait([stop], timeout=0.25 if terminal else 1)
    if terminal:
        print()


async def stop_when_drained(queue: Torrelque, producers: 'list[asyncio.Task[None]]', stop: Stop) -> None:
    await asyncio.gather(*producers)
    while not stop.done():
        stats = await queue.get_queue_stats()
        if stats.tasks == stats.dead and not stop.done():
            stop.set_result(None)
        await asyncio.wait([stop], timeout=0.1)


def describe(stats: QueueStats) -> str:
    return f'{stats.pending} pending, {stats.working} working, {stats.delayed} delayed, {stats.dead} dead'


def balance(found: QueueStats, left: QueueStats, count: Counter[str]) -> bool:
    """Print the account; whether it adds up."""
    expected = found.tasks + count['enqueued'] - count['completed']
    print(f'  found at the start {found.tasks:9,d}')
    print(f'+ enqueued           {count["enqueued"]:9,d}')
    print(f'- completed          {count["completed"]:9,d}   after {count["failed"]:,d} failed attempts')
    print(f'= expected           {expected:9,d}')
    print(f'  in the queue       {left.tasks:9,d}   {describe(left)}; {count["given back"]:,d} just given back')
    print('Nothing was lost.' if left.tasks == expected else f'{left.tasks - expected:+,d} by other processes.')
    return left.tasks == expected


async def run(args: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop: Stop = loop.create_future()
    count: Counter[str] = Counter()

    def finish() -> None:
        if not stop.done():
            stop.set_result(None)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # a second Ctrl-C does not wait for anything

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, finish)

    async with contextlib.AsyncExitStack() as stack:
        url = args.url or (await stack.enter_async_context(Server())).url
        client = await stack.enter_async_context(redis.asyncio.from_url(url))
        queue = await stack.enter_async_context(Torrelque(client, queue='orders'))
        found = await queue.get_queue_stats()
        print(f'{args.producers} producers, {args.consumers} consumers on {url}; Ctrl-C stops', flush=True)
        if args.seconds is not None:
            loop.call_later(args.seconds, finish)

        numbers = itertools.count(1) if args.tasks is None else iter(range(1, args.tasks + 1))
        producers = [
            asyncio.create_task(produce(queue, numbers, args.pause, stop, count)) for _ in range(args.producers)
        ]
        # One queue object for all: their calls share round trips, and their waiting one connection.
        others = [
            *(asyncio.create_task(consume(queue, args.failures, stop, count)) for _ in range(args.consumers)),
            asyncio.create_task(report(queue, stop, count)),
        ]
        if args.tasks is not None:
            others.append(asyncio.create_task(stop_when_drained(queue, producers, stop)))
        try:
            await asyncio.gather(*producers, *others)
        finally:
            # If one of them has failed, the others end as they do at Ctrl-C.
            finish()
            await asyncio.wait([*producers, *others])
        balanced = balance(found, await queue.get_queue_stats(), count)
    # A server of our own has no other processes that could make a difference.
    return 0 if balanced or args.url else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    add('--producers', type=int, default=3, metavar='N', help='(default: %(default)s)')
    add('--consumers', type=int, default=8, metavar='N', help='(default: %(default)s)')
    add('--pause', type=float, default=0.05, metavar='S', help='mean pause of a producer (default: %(default)s s)')
    add('--failures', type=float, default=0.2, metavar='P', help='share of attempts that fail (default: %(default)s)')
    add('--seconds', type=float, metavar='S', help='stop after this time')
    add('--tasks', type=int, metavar='N', help='stop when so many are enqueued, and all in the queue done or dead')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
