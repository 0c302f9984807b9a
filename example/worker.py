"""Workers that call a service which goes down: retries, a circuit breaker, and a live view of it all.

    python example/worker.py
    python example/worker.py --no-breaker   # what the breaker is for: see the calls that the service did not answer

Two worker processes call a small service over TCP, a call for each task.  Now and then a call fails, and is tried again
later, each time later.  After some hundred calls the service is down for some seconds.  The worker that first sees five
failures in a row pauses the queue, for both processes, and the service is left alone but for one task every half
second, the probe.  The probe that succeeds resumes the queue.  At the end every task is done; else the exit code is 1.
"""

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import sys
import time
from multiprocessing.process import BaseProcess

import redis.asyncio

from torrelque import QueueStats, Torrelque
from torrelque.embedded import Server
from torrelque.worker import Backoff, Breaker, Delivery, Worker, WorkerHealth, get_workers

HEARTBEAT = 0.2  # s


class ServiceError(Exception):
    pass


class Service:
    """Answers a line with a line after some work; it is down for a time once it has answered often enough."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.answered = 0
        self.failed = 0
        self.unanswered = 0
        self.port = 0
        self._back: float | None = None
        self._chance = random.Random(args.seed)

    @property
    def is_down(self) -> bool:
        if self._back is None and self.answered >= self.args.down_after:
            self._back = time.monotonic() + self.args.down
        return self._back is not None and time.monotonic() < self._back

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await reader.readline()
            if self.is_down:
                self.unanswered += 1
                return
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * self.args.work)
            if self._chance.random() < self.args.failures:
                self.failed += 1
                writer.write(b'sorry\n')
            else:
                self.answered += 1
                writer.write(b'done\n')
            await writer.drain()


# A worker process


def work(number: int, port: int, args: argparse.Namespace) -> None:
    # The view tells of failures; lines in between would break it.
    logging.getLogger('torrelque.worker').setLevel(logging.ERROR)
    asyncio.run(run_worker(number, port, args))


async def run_worker(number: int, port: int, args: argparse.Namespace) -> None:
    # When the main process is killed, there is nobody left to work for.
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    asyncio.get_running_loop().add_reader(main_process.sentinel, os._exit, 1)

    async def call_service(delivery: Delivery) -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        with contextlib.closing(writer):
            writer.write(f'{delivery.task}\n'.encode())
            answer = await reader.readline()
        if answer != b'done\n':
            raise ServiceError('the service is sorry' if answer else 'the service does not answer')

    async with redis.asyncio.from_url(args.url) as client, Torrelque(client, queue=args.queue) as queue:
        await Worker(
            queue,
            call_service,
            concurrency=args.concurrency,
            retry=Backoff(base=0.2, cap=2),
            timeout=10,
            breaker=Breaker(failures=5, pause=args.pause) if args.breaker else None,
            heartbeat=HEARTBEAT,
            name=f'worker-{number}',
        ).run()  # until SIGTERM


# The main process


class View:
    """A few lines that are redrawn on a terminal; elsewhere a line for what changes, and for each tenth."""

    def __init__(self, service: Service, total: int) -> None:
        self.service = service
        self.total = total
        self._height = 0
        self._before = (False, False)
        self._tenths = 0

    def show(self, stats: QueueStats, paused: bool, workers: list[WorkerHealth]) -> None:
        if sys.stdout.isatty():
            self._redraw([*self._head(stats, paused), *map(self._line, workers)])
            return
        down = self.service.is_down
        for now, before, words in zip(
            (down, paused), self._before, (('down', 'up again'), ('paused', 'resumed')), strict=True
        ):
            if now != before:
                print(f'{"service" if words[0] == "down" else "queue"} {words[0] if now else words[1]}', flush=True)
        self._before = (down, paused)
        tenths = 10 * (self.total - stats.tasks) // self.total
        if tenths > self._tenths:
            done = ', '.join(f'{worker.name} has done {worker.succeeded:,d}' for worker in workers)
            print(f'{10 * tenths}%  {done}', flush=True)
        self._tenths = tenths

    def _head(self, stats: QueueStats, paused: bool) -> list[str]:
        service = self.service
        state = '\x1b[31mdown\x1b[0m' if service.is_down else '\x1b[32mup\x1b[0m  '
        gate = '\x1b[33mpaused, one task at times as a probe\x1b[0m' if paused else ''
        return [
            f'service    {state}     {service.answered:6,d} answered {service.failed:4,d} failed '
            f'{service.unanswered:4,d} unanswered',
            f'queue    {stats.pending:6,d} pending {stats.working:4,d} working {stats.delayed:4,d} delayed   {gate}',
        ]

    def _line(self, worker: WorkerHealth) -> str:
        tasks = [
            f'{worker.seen - task.since:.2f} s' + f' ({task.attempt}.)' * (task.attempt > 1) for task in worker.running
        ]
        return f'{worker.name} {worker.state:8} {worker.succeeded:6,d} done {worker.failed:4,d} failed   in hand: ' + (
            ', '.join(tasks) or 'nothing'
        )

    def _redraw(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size().columns - 1 + len('\x1b[31m\x1b[0m')
        up = f'\x1b[{self._height}A' * bool(self._height)
        # A worker that has gone leaves a line behind, which is cleared.
        lines += [''] * (self._height - len(lines))
        print(up + ''.join(f'\x1b[2K{line[:width]}\n' for line in lines), end='', flush=True)
        self._height = len(lines)


async def run_workers(args: argparse.Namespace, queue: Torrelque, service: Service) -> None:
    """Start worker processes, show what happens until all tasks are done, and stop them."""
    spawn = multiprocessing.get_context('spawn')
    processes: list[BaseProcess] = []
    view = View(service, args.tasks)
    try:
        # They are born deaf to Ctrl-C, and tell nothing of it while they start.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in range(1, args.processes + 1):
            processes.append(spawn.Process(target=work, args=(number, service.port, args), daemon=True))
            processes[-1].start()
        signal.signal(signal.SIGINT, interrupt)
        print(f'{len(processes)} processes ({", ".join(str(process.pid) for process in processes)})', flush=True)
        while True:
            stats = await queue.get_queue_stats()
            # Of whatever group: it is paused with its queue.
            paused = (await queue.get_group_stats('any')).paused
            view.show(stats, paused, await get_workers(queue))
            if not stats.tasks and not paused:
                break
            if not any(process.is_alive() for process in processes):
                raise ChildProcessError(f'All processes have ended, and {stats.tasks:,d} tasks are left.')
            await asyncio.sleep(0.05)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await asyncio.to_thread(process.join, 10)
            process.kill()
            process.join()


async def run(args: argparse.Namespace) -> int | str:
    main_task = asyncio.current_task()
    assert main_task is not None
    async with contextlib.AsyncExitStack() as stack:
        args.url = args.url or (await stack.enter_async_context(Server())).url
        args.queue = f'service-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
        client = await stack.enter_async_context(redis.asyncio.from_url(args.url))
        stack.push_async_callback(clean, client, args.queue)
        queue = await stack.enter_async_context(Torrelque(client, queue=args.queue))
        service = Service(args)
        listener = await stack.enter_async_context(await asyncio.start_server(service.answer, '127.0.0.1', 0))
        service.port = listener.sockets[0].getsockname()[1]
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, main_task.cancel)
        try:
            await queue.enqueue_many(range(args.tasks))
            print(f'{args.tasks:,d} tasks on {args.url}', flush=True)
            await run_workers(args, queue, service)
        except ChildProcessError as exc:
            return str(exc)
        except asyncio.CancelledError:
            print('\nStopped before the end.')
            return 0
        print(f'\ntasks        {args.tasks:7,d}')
        print(f'answered     {service.answered:7,d}   calls of the service')
        print(f'failed       {service.failed:7,d}   and tried again')
        print(f'unanswered   {service.unanswered:7,d}   while it was down for {args.down:g} s')
        print('Every task is done.' if service.answered == args.tasks else 'NOT every task is done once.')
        return 0 if service.answered == args.tasks else 1


async def clean(client: 'redis.asyncio.Redis', name: str) -> None:
    """Leave nothing behind on a server that is not ours."""
    async for key in client.scan_iter(match=f'{{{name}}}:*', count=1000):
        await client.unlink(key)
    # The heartbeats have noted that there is such a queue.
    await client.zrem('torrelque:queues', name)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--tasks', type=int, default=2000, metavar='N', help='(default: %(default)s)')
    add('--processes', type=int, default=2, metavar='N', help='(default: %(default)s)')
    add('--concurrency', type=int, default=5, metavar='N', help='tasks of a process at a time (default: %(default)s)')
    add('--no-breaker', dest='breaker', action='store_false', help='retries only')
    add('--pause', type=float, default=0.5, metavar='S', help='from one probe to the next (default: %(default)s s)')
    add('--down-after', type=int, default=600, metavar='N', help='calls (default: %(default)s)')
    add('--down', type=float, default=3, metavar='S', help='how long (default: %(default)s s)')
    add('--failures', type=float, default=0.02, metavar='P', help='share of other calls (default: %(default)s)')
    add('--work', type=float, default=0.02, metavar='S', help='mean time of a call (default: %(default)s s)')
    add('--seed', type=int, default=1, metavar='N', help='of times and failures (default: %(default)s)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
