"""Operations of accounts, each account's in strict order, with retries and a killed worker; and the proof.

    python example/ordered.py
    python example/ordered.py --concurrency 4   # what the limit is for: without it the proof fails

Each account is a group, and one operation of a group is worked on at once.  Four worker processes share the accounts.
Operations fail at random, and are tried again at once or after a delay; the rest of the account waits.  One worker is
killed (SIGKILL) in the middle of an operation, and one operation outlives its lease and comes too late.  At the end
the history of every account has to be its operations, in the order of enqueueing, each once; else the exit code is 1.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from typing import Any

import redis.asyncio

from torrelque import TaskId, Torrelque, read_outcome
from torrelque.embedded import Server

PILL = None  # the task that ends the consumers; one is enough, because each gives it back for the next

Operation = dict[str, Any]


def make_operations(args: argparse.Namespace) -> list[Operation]:
    """Operations of all accounts as they come in; each has its account's next number."""
    choice = random.Random(args.seed)
    accounts = [account for account in range(args.accounts) for _ in range(args.operations)]
    choice.shuffle(accounts)
    numbers: Counter[int] = Counter()
    operations = []
    for account in accounts:
        kind = choice.choice(['deposit', 'withdraw', 'interest'])
        amount = choice.randint(1, 5) if kind == 'interest' else choice.randint(1, 100_00)
        operations.append({'account': account, 'number': numbers[account], 'kind': kind, 'amount': amount})
        numbers[account] += 1
    return operations


def new_balance(balance: int, operation: Operation) -> int:
    """In cents.  The order matters: an account is not overdrawn, and interest is on what is there."""
    amount: int = operation['amount']
    if operation['kind'] == 'deposit':
        return balance + amount
    if operation['kind'] == 'withdraw':
        return balance - amount if amount <= balance else balance
    return balance + balance * amount // 100


# A worker process


class Worker:
    def __init__(self, number: int, client: 'redis.asyncio.Redis', queue: Torrelque, args: argparse.Namespace) -> None:
        self.number = number
        self.client = client
        self.queue = queue
        self.args = args

    async def consume(self) -> None:
        while True:
            task_id, operation = await self.queue.dequeue()
            if operation is PILL:
                await self.queue.requeue(task_id, forgive=True)
                return
            account, entry = operation['account'], [operation['number'], task_id.attempt]
            await self.client.rpush(self.key('journal', account), json.dumps(['taken', *entry]))
            outcome = await self.work(task_id, operation)
            if outcome == 'applied':
                settled = await self.apply(task_id, operation)
            else:
                async with self.client.pipeline() as pipe:
                    pipe.rpush(self.key('journal', account), json.dumps([outcome, *entry]))
                    delay = 0.1 if outcome == 'delayed' else None
                    await self.queue.requeue(task_id, delay, error='the bank does not answer', pipeline=pipe)
                    settled = read_outcome((await pipe.execute())[-1])
            if not settled:
                await self.client.rpush(self.key('journal', account), json.dumps(['refused', *entry]))

    async def work(self, task_id: TaskId, operation: Operation) -> str:
        """Stands for the work: what is to become of the operation."""
        args, account, number = self.args, operation['account'], operation['number']
        chance = random.Random(f'{args.seed} {account} {number} {task_id.attempt}')
        await asyncio.sleep(chance.uniform(0.5, 1.5) * args.work)
        if (account, number, task_id.attempt) == (0, args.operations // 3, 1):
            await self.client.rpush(self.key('hung'), self.number)
            await asyncio.Event().wait()  # to be killed
        if (account, number, task_id.attempt) == (0, args.operations * 2 // 3, 1):
            for _ in range(50):
                await asyncio.sleep(0.1 * args.lease)
                if is_in(await self.read('history', account), number):
                    break  # somebody else had it when our lease had run out, and is done with it
            return 'applied'
        if chance.random() < args.failures:
            return chance.choice(['repeated', 'delayed'])
        return 'applied'

    async def apply(self, task_id: TaskId, operation: Operation) -> bool:
        """Write the history and finish the task in one transaction; whether the task was still ours.

        Killed before it, we have changed nothing, and the operation is another's when our lease has run out; killed
        after it, all is done.  But when we come too late, only the release is refused: Redis has no rollback, and the
        rest of the transaction is carried out.  That `read_outcome` tells us then is too late for the history.  So
        the history itself has to say whether the operation is in it, and WATCH makes looking and writing one step.
        """
        account, number = operation['account'], operation['number']
        async with self.client.pipeline() as pipe:
            while True:
                await pipe.watch(self.key('history', account))
                history = await self.read('history', account)
                pipe.multi()
                if not is_in(history, number):
                    balance = new_balance(history[-1][1] if history else 0, operation)
                    pipe.rpush(self.key('history', account), json.dumps([number, balance, self.number]))
                pipe.rpush(self.key('journal', account), json.dumps(['applied', number, task_id.attempt]))
                await self.queue.release(task_id, pipeline=pipe)
                try:
                    return read_outcome((await pipe.execute())[-1])
                except redis.WatchError:
                    continue  # somebody else has written; look again

    async def read(self, name: str, account: int) -> list[Any]:
        return await read_list(self.client, self.key(name, account))

    def key(self, *parts: object) -> str:
        return make_key(self.args.queue, *parts)


def make_key(queue: str, *parts: object) -> str:
    """A key in the slot of the queue, as a transaction needs it on a Cluster."""
    return ':'.join([f'{{{queue}}}', *map(str, parts)])


async def read_list(client: 'redis.asyncio.Redis', key: str) -> list[Any]:
    return [json.loads(entry) for entry in await client.lrange(key, 0, -1)]


def is_in(history: list[Any], number: int) -> bool:
    return any(done == number for done, _, _ in history)


def work(number: int, args: argparse.Namespace) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)  # they are for the main process, which then ends this one
    asyncio.run(run_consumers(number, args))


async def run_consumers(number: int, args: argparse.Namespace) -> None:
    # When the main process is killed, there is nobody left to work for.
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    asyncio.get_running_loop().add_reader(main_process.sentinel, os._exit, 1)
    async with redis.asyncio.from_url(args.url) as client, Torrelque(client, queue=args.queue) as queue:
        worker = Worker(number, client, queue, args)
        await asyncio.gather(*(worker.consume() for _ in range(args.consumers)))


# The main process


async def run_workers(args: argparse.Namespace, client: 'redis.asyncio.Redis', queue: Torrelque, total: int) -> int:
    """Have all operations worked on, and kill the worker that hangs; its process id."""
    spawn = multiprocessing.get_context('spawn')
    processes: list[BaseProcess] = []
    killed = 0
    shown = 0.0
    try:
        # They are born deaf to Ctrl-C, and tell nothing of it while they start.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in range(args.processes):
            processes.append(spawn.Process(target=work, args=(number, args), daemon=True))
            processes[-1].start()
        signal.signal(signal.SIGINT, interrupt)
        print(f'{len(processes)} processes ({", ".join(str(process.pid) for process in processes)})', flush=True)
        while left := (await queue.get_queue_stats()).tasks:
            for number in await read_list(client, make_key(args.queue, 'hung')) if not killed else ():
                process = processes[number]
                process.kill()
                await asyncio.to_thread(process.join)
                killed = process.pid or 0
            if not any(process.is_alive() for process in processes):
                raise ChildProcessError(f'All processes have ended, and {left:,d} operations are left.')
            if sys.stdout.isatty() or time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                show(f'{total - left:,d} of {total:,d} operations done' + (f', process {killed} killed' * bool(killed)))
            await asyncio.sleep(0.05)
        show(f'{total:,d} of {total:,d} operations done', end='\n')
        # Whoever has come too late, and does not know it yet, comes to the pill as well.
        await queue.enqueue(PILL)
        for process in processes:
            await asyncio.to_thread(process.join)
        return killed
    finally:
        for process in processes:
            process.kill()
            process.join()


def show(text: str, end: str = '') -> None:
    """Progress: one line that is rewritten on a terminal, else a line each time."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f'\r{text[:width]:{width}}', end=end, flush=True)
    else:
        print(text, flush=True)


async def prove(args: argparse.Namespace, client: 'redis.asyncio.Redis', operations: list[Operation]) -> bool:
    """Compare what was written with what was enqueued, and print it; whether all is as it has to be."""
    events: Counter[str] = Counter()
    workers: Counter[int] = Counter()
    proven = True
    titles = f'{"in order":10}{"balances":10}one at a time'
    print(f'\n{"account":>10}{"operations":>12}{"attempts":>10}{"balance":>12}  {titles}')
    for account in range(args.accounts):
        own = [operation for operation in operations if operation['account'] == account]
        history = await read_list(client, make_key(args.queue, 'history', account))
        journal = await read_list(client, make_key(args.queue, 'journal', account))
        alone, attempts = read_journal(journal)
        balances = list(itertools.accumulate(own, new_balance, initial=0))[1:]
        verdicts = (
            [number for number, _, _ in history] == list(range(len(own))),
            [balance for _, balance, _ in history] == balances,
            alone,
        )
        balance = history[-1][1] if history else 0
        words = ''.join(f'{"yes" if verdict else "NO":10}' for verdict in verdicts).rstrip()
        print(f'{account:10}{len(history):12,d}{attempts:10,d}{balance / 100:12,.2f}  {words}')
        events.update(event for event, _, _ in journal)
        events['attempts'] += attempts
        workers.update(worker for _, _, worker in history)
        proven = proven and all(verdicts)

    retries = events['repeated'] + events['delayed']
    over = events['attempts'] - (events['applied'] + retries - events['refused'])
    shares = ', '.join(str(workers[number]) for number in range(args.processes))
    print(f'\noperations   {workers.total():7,d}   by process: {shares}')
    print(f'retries      {retries:7,d}   {events["repeated"]} at once, {events["delayed"]} after a delay')
    print(f'leases over  {over:7,d}   before their operations, which others took then')
    print(f'refused      {events["refused"]:7,d}   too late, and nothing was applied twice')
    return proven


def read_journal(journal: list[Any]) -> tuple[bool, int]:
    """Whether no operation was handed out before the end of the one before, and the number of attempts.

    The same operation may be handed out before its end, when its lease has run out; its former holder holds nothing.
    """
    alone, holder = True, None
    attempts: Counter[int] = Counter()
    for event, number, attempt in journal:
        if event == 'taken' and attempt > attempts[number]:
            alone = alone and (holder is None or holder[0] == number)
            holder, attempts[number] = (number, attempt), attempt
        elif holder == (number, attempt):
            holder = None
    return alone, attempts.total()


async def run(args: argparse.Namespace) -> int | str:
    main_task = asyncio.current_task()
    assert main_task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, main_task.cancel)
    try:
        async with contextlib.AsyncExitStack() as stack:
            args.url = args.url or (await stack.enter_async_context(Server())).url
            args.queue = f'ordered-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
            client = await stack.enter_async_context(redis.asyncio.from_url(args.url))
            stack.push_async_callback(clean, client, args.queue)
            queue = await stack.enter_async_context(Torrelque(client, queue=args.queue))
            operations = make_operations(args)
            await queue.set_limit(concurrency=args.concurrency)  # 1 is strict order
            await queue.enqueue_many(
                operations, group=lambda operation: f'account-{operation["account"]}', task_timeout=args.lease
            )
            print(f'{len(operations):,d} operations on {args.accounts} accounts on {args.url}', flush=True)
            killed = await run_workers(args, client, queue, len(operations))
            proven = await prove(args, client, operations)
            print(f'killed       {killed:7}   (process) with SIGKILL')
            print('The proof holds.' if proven else 'The proof FAILS.')
            return 0 if proven else 1
    except ChildProcessError as exc:
        return str(exc)
    except asyncio.CancelledError:
        print('\nStopped before the end; nothing is proven.')
        return 0


async def clean(client: 'redis.asyncio.Redis', name: str) -> None:
    """Leave nothing behind on a server that is not ours."""
    async for key in client.scan_iter(match=f'{{{name}}}:*', count=1000):
        await client.unlink(key)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--accounts', type=int, default=12, metavar='N', help='(default: %(default)s)')
    add('--operations', type=int, default=100, metavar='N', help='of each account (default: %(default)s)')
    add('--concurrency', type=int, default=1, metavar='N', help='of an account at once (default: %(default)s)')
    add('--processes', type=int, default=4, metavar='N', help='(default: %(default)s)')
    add('--consumers', type=int, default=4, metavar='N', help='coroutines of each process (default: %(default)s)')
    add('--failures', type=float, default=0.2, metavar='P', help='share of attempts that fail (default: %(default)s)')
    add('--lease', type=float, default=1, metavar='S', help='of an operation (default: %(default)s s)')
    add('--work', type=float, default=0.02, metavar='S', help='mean time of an operation (default: %(default)s s)')
    add('--seed', type=int, default=1, metavar='N', help='of operations and failures (default: %(default)s)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
