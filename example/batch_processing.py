"""A finite job for several processes: count the Python below a folder, and check the count.

    python example/batch_processing.py                              # the standard library
    python example/batch_processing.py FOLDER --processes 4 --consumers 2 --bulk 20
    python example/batch_processing.py --tasks 200000 --bulk 250    # no files: the speed of the queue alone

Each file is a task.  Consumers in several processes parse the files and count lines, classes and functions; a table
compares their sum with that of a plain loop without a queue.  Kill a worker process (`kill -9`) in the middle: the
others take over its tasks, and the sum stays right.
"""

import argparse
import ast
import asyncio
import contextlib
import multiprocessing
import os
import secrets
import signal
import sys
import sysconfig
import time
import warnings
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import redis.asyncio

from torrelque import TaskState, Torrelque
from torrelque.embedded import Server

PILL = None  # the task that ends the consumers; one is enough, because each gives it back for the next
NOTHING = ''  # a task without work
COUNTED = ('files', 'unreadable', 'unparsable', 'lines', 'classes', 'functions')


def count(path: str) -> Counter[str]:
    """The work of one task.  A file that does not parse has lines, but no classes and functions."""
    try:
        source = Path(path).read_bytes()
    except OSError:
        return Counter(files=1, unreadable=1)
    counted = Counter(files=1, lines=len(source.splitlines()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of the style of the files
            nodes: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return counted + Counter(unparsable=1)
    for node in nodes:  # which grows
        counted['classes'] += isinstance(node, ast.ClassDef)
        counted['functions'] += isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        # Not what ast.walk does: there are many more expressions than statements.
        for block in ('body', 'orelse', 'handlers', 'finalbody', 'cases'):
            nodes += getattr(node, block, ())
    return counted


# A worker process


def work(worker: int, url: str, name: str, consumers: int, bulk: int) -> None:
    asyncio.run(run_consumers(worker, url, name, consumers, bulk))


async def run_consumers(worker: int, url: str, name: str, consumers: int, bulk: int) -> None:
    # When the main process is killed, there is nobody left to work for.
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    asyncio.get_running_loop().add_reader(main_process.sentinel, os._exit, 1)

    # One queue object for all consumers: their calls share round trips, and their waiting one connection.
    async with redis.asyncio.from_url(url) as client, Torrelque(client, queue=name) as queue:
        queue.result_ttl = 24 * 3600  # longer than the job takes
        await asyncio.gather(*(consume(queue, worker, bulk) for _ in range(consumers)))


async def consume(queue: Torrelque, worker: int, bulk: int) -> None:
    while True:
        taken = await queue.dequeue_many(bulk)
        tasks = dict(taken)
        if PILL in tasks.values():
            # It came alone, because it is enqueued when all else is done.
            await asyncio.gather(*(queue.requeue(task_id, forgive=True) for task_id in tasks))
            return
        if NOTHING in tasks.values():
            await (queue.release_many(tasks) if bulk > 1 else queue.release(*tasks))
            continue
        # Counting blocks the event loop, where nobody is in a hurry here; else asyncio.to_thread would help.
        results = {task_id: {'worker': worker, **count(path)} for task_id, path in tasks.items()}
        await asyncio.gather(*(queue.release(task_id, result=result) for task_id, result in results.items()))


# The main process


async def run_job(args: argparse.Namespace, paths: list[str]) -> tuple[list[TaskState], float]:
    """Have the paths counted by worker processes: the final state of each task, with its result, and the time (s).

    A result is written by the same transition that finishes its task, and only by whoever still holds the task.  So
    there is one for each task, no more and no less, though a task is handed out again when its worker was killed.  Sums
    kept in the workers would die with them.
    """
    async with contextlib.AsyncExitStack() as stack:
        url = args.url or (await stack.enter_async_context(Server())).url
        client = await stack.enter_async_context(redis.asyncio.from_url(url, decode_responses=True))
        name = f'batch-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
        queue = await stack.enter_async_context(Torrelque(client, queue=name))
        task_ids: list[Any] = []
        states: list[TaskState] = []
        try:
            started = time.monotonic()
            task_ids += await queue.enqueue_many(paths, task_timeout=args.task_timeout)
            seconds = time.monotonic() - started
            print(f'{len(paths):,d} tasks enqueued in {seconds:.2f} s ({len(paths) / seconds:,.0f}/s) on {url}')
            seconds = await run_workers(args, url, name, queue, len(paths))
            if args.tasks is None:
                for start in range(0, len(task_ids), 1000):
                    states += await asyncio.gather(*map(queue.get_task_state, task_ids[start : start + 1000]))
            return states, seconds
        finally:
            # Leave nothing behind on a server that is not ours: results and pill, after Ctrl-C the tasks as well.
            task_ids += await client.hkeys(queue.keys['tasks'])
            await client.unlink(*queue.keys.values())
            for start in range(0, len(task_ids), 1000):
                some = task_ids[start : start + 1000]
                await client.unlink(*(f'{queue.keys["task"]}:{task_id}' for task_id in some))


async def run_workers(args: argparse.Namespace, url: str, name: str, queue: Torrelque, total: int) -> float:
    """Start worker processes, see the queue drained, and end them; the time (s) from the first claim on."""
    spawn = multiprocessing.get_context('spawn')
    options = (url, name, args.consumers, args.bulk)
    processes: list[BaseProcess] = []
    try:
        # Ctrl-C is for this process, which then ends them: they are born deaf to it, and tell nothing of it.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for worker in range(args.processes):
            processes.append(spawn.Process(target=work, args=(worker, *options), daemon=True))
            processes[-1].start()
        signal.signal(signal.SIGINT, interrupt)
        pids = ', '.join(str(process.pid) for process in processes)
        print(f'{len(processes)} processes ({pids}) with {args.consumers} consumers each', flush=True)
        bar = None
        while True:
            alive = any(process.is_alive() for process in processes)
            stats = await queue.get_queue_stats()
            if stats.pending < total:
                bar = bar or Bar('queue', total)
                bar.show(total - stats.tasks)
                if not stats.tasks:
                    break
            if not alive:
                raise ChildProcessError(f'All processes have ended, and {stats.tasks:,d} tasks are left.')
            await asyncio.sleep(0.05)

        # Not before: a task that comes back, because its worker was killed, must still find a consumer.
        await queue.enqueue(PILL, task_timeout=args.task_timeout)
        for process in processes:
            await asyncio.to_thread(process.join)
        return bar.seconds
    finally:
        for process in processes:
            process.kill()
            process.join()


class Bar:
    """Shows progress: a bar that is redrawn on a terminal, else a line for each tenth."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.tenths = 0
        self.started = time.monotonic()
        self.seconds = 0.0

    def show(self, done: int) -> None:
        self.seconds = max(0.001, time.monotonic() - self.started)
        figures = f'{done:,d} of {self.total:,d} ({done / self.seconds:,.0f}/s)'
        tenths = 10 * done // self.total
        if sys.stdout.isatty():
            bar, end = '#' * (30 * done // self.total), '\n' if done == self.total else ''
            print(f'\r{self.title:10} [{bar:.<30}] {figures:36}', end=end, flush=True)
        elif tenths > self.tenths:
            print(f'{self.title:10} {10 * tenths:3}%  {figures}', flush=True)
        self.tenths = tenths


def count_plainly(paths: list[str]) -> tuple[Counter[str], float]:
    """The same without a queue, and its time (s)."""
    counted: Counter[str] = Counter()
    bar = Bar('plain loop', len(paths))
    for done, path in enumerate(paths, 1):
        counted.update(count(path))
        if done % 10 == 0 or done == len(paths):
            bar.show(done)
    return counted, bar.seconds


def show_table(
    processes: int, states: list[TaskState], seconds: float, plain: Counter[str], plain_seconds: float
) -> bool:
    """Print who has counted what; whether the sum is what the plain loop has counted."""
    workers: list[Counter[str]] = [Counter() for _ in range(processes)]
    for state in states:
        workers[state.result.pop('worker')].update(state.result)
    total = sum(workers, Counter[str]())
    rows = [(f'process {number}', counted, seconds) for number, counted in enumerate(workers, 1)]
    print(f'\n{"":10}' + ''.join(f'{name:>11}' for name in (*COUNTED, 'share', 'seconds', 'files/s')))
    for title, counted, time_taken in [*rows, ('total', total, seconds), ('plain loop', plain, plain_seconds)]:
        row = [f'{counted[name]:,d}' for name in COUNTED]
        row += [f'{counted["files"] / len(states):.1%}', f'{time_taken:.2f}', f'{counted["files"] / time_taken:,.1f}']
        print(f'{title:10}' + ''.join(f'{figure:>11}' for figure in row))
    print(f'\nHanded out more than once: {sum(state.dequeue_count > 1 for state in states):,d} files.')
    print('The total is that of the plain loop.' if total == plain else 'The total is NOT that of the plain loop.')
    return total == plain


def find_paths(folder: str | None) -> list[str]:
    # What was installed below the standard library does not belong to it.
    strange = {'site-packages', 'dist-packages'} if folder is None else set()
    root = Path(folder or sysconfig.get_path('stdlib'))
    paths = (path for path in root.rglob('*.py') if not strange & set(path.relative_to(root).parts))
    return [str(path) for path in paths if path.is_file()]


def main() -> int | str:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('folder', nargs='?', help='whose Python files are counted (default: the standard library)')
    add('--tasks', type=int, metavar='N', help='instead of files: so many tasks without work')
    add('--processes', type=int, default=os.cpu_count() or 1, metavar='N', help='(default: %(default)s)')
    add('--consumers', type=int, default=4, metavar='N', help='coroutines of each process (default: %(default)s)')
    add('--bulk', type=int, default=10, metavar='N', help='tasks taken in one call (default: %(default)s)')
    add('--task-timeout', type=float, default=10, metavar='S', help='lease of a task (default: %(default)s s)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    args = parser.parse_args()
    paths = find_paths(args.folder) if args.tasks is None else [NOTHING] * args.tasks
    if not paths:
        parser.error('there is nothing to do')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    try:
        states, seconds = asyncio.run(run_job(args, paths))
        if args.tasks is not None:
            print(f'{args.tasks:,d} tasks without work in {seconds:.2f} s: {args.tasks / seconds:,.0f}/s')
            return 0
        return 0 if show_table(args.processes, states, seconds, *count_plainly(paths)) else 1
    except ChildProcessError as exc:
        return str(exc)
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
