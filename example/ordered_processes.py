"""Accounts whose operations are applied in strict order by three processes, one of which is killed; and the proof.

    python example/ordered_processes.py

Decorated functions do what `example/ordered.py` does by hand.  Each account has three of them, `deposit`, `withdraw`
and `add_interest`, which share an ordered queue: their calls run one at a time, in the order of the calls, whoever runs
them.  Some fail at random, and are tried again; the rest of the account waits.  One process is killed (`kill -9`) in
the middle of an operation, and another one takes over when its lease has ended.  At the end the history of every
account has to be its operations, in the order of the calls, each once; else the exit code is 1.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import random
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server
from torrelque.tasks import FifoFunction, Tasks, current
from torrelque.worker import Worker

KINDS: dict[str, Callable[[int, int], int]] = {
    'deposit': lambda balance, amount: balance + amount,
    'withdraw': lambda balance, amount: balance - amount if amount <= balance else balance,
    'add_interest': lambda balance, percent: balance + balance * percent // 100,
}


class BankError(Exception):
    pass


class Bank:
    """Accounts, and for each kind of operation on each a function that is called as usual, and runs elsewhere."""

    def __init__(self, client: 'redis.asyncio.Redis', queue: Torrelque, args: argparse.Namespace) -> None:
        self.client = client
        self.args = args
        self.app = Tasks(queue)
        self.functions: dict[tuple[int, str], FifoFunction[[int, int], Any, None]] = {}
        for account in range(args.accounts):
            for kind in KINDS:
                self.functions[account, kind] = self.make_function(account, kind)

    def make_function(self, account: int, kind: str) -> FifoFunction[[int, int], Any, None]:
        # The lease is how long it takes until somebody takes over from a process that was killed.
        @self.app.fifo(queue=f'account-{account}', name=f'{account}.{kind}', retry_wait=0.05, task_timeout=1)
        async def apply(number: int, amount: int) -> None:
            await self.work(account, number)
            await self.write(account, number, kind, amount)

        return apply

    async def work(self, account: int, number: int) -> None:
        """Stands for the work."""
        args, attempt = self.args, current().attempt
        chance = random.Random(f'{args.seed} {account} {number} {attempt}')
        await self.client.rpush(self.key('attempts', account), number)
        await asyncio.sleep(chance.uniform(0.5, 1.5) * args.work)
        if (account, number, attempt) == (0, args.operations // 2, 1):
            await self.client.rpush(self.key('hung'), os.getpid())
            await asyncio.Event().wait()  # to be killed
        if chance.random() < args.failures:
            raise BankError('the bank does not answer')

    async def write(self, account: int, number: int, kind: str, amount: int) -> None:
        """Append to the history, unless it is there: whoever was killed may have written it before.  WATCH makes that
        one step, also beside somebody who comes too late."""
        key = self.key('history', account)
        async with self.client.pipeline() as pipe:
            while True:
                await pipe.watch(key)
                history = await read_list(self.client, key)
                if any(done == number for done, _, _ in history):
                    return
                pipe.multi()
                pipe.rpush(key, json.dumps([number, KINDS[kind](balance_of(history), amount), os.getpid()]))
                with contextlib.suppress(redis.WatchError):
                    await pipe.execute()
                    return

    def key(self, *parts: object) -> str:
        return ':'.join([f'{{{self.args.queue}}}', *map(str, parts)])


async def read_list(client: 'redis.asyncio.Redis', key: str) -> list[Any]:
    return [json.loads(entry) for entry in await client.lrange(key, 0, -1)]


def balance_of(history: list[Any]) -> int:
    return history[-1][1] if history else 0


# A worker process


def work(args: argparse.Namespace) -> None:
    logging.getLogger('torrelque.worker').setLevel(logging.ERROR)  # operations fail here all the time
    asyncio.run(run_worker(args))


async def run_worker(args: argparse.Namespace) -> None:
    # When the main process is killed, there is nobody left to work for.
    main_process = multiprocessing.parent_process()
    assert main_process is not None
    asyncio.get_running_loop().add_reader(main_process.sentinel, os._exit, 1)
    async with redis.asyncio.from_url(args.url) as client, Torrelque(client, queue=args.queue) as queue:
        # The same functions, by the same names.
        await Worker(Bank(client, queue, args).app, concurrency=4).run()  # until SIGTERM


# The main process


async def call_functions(bank: Bank) -> list[tuple[int, int, str, int]]:
    """Call functions as operations come in, each with its account's next number."""
    args = bank.args
    choice = random.Random(args.seed)
    accounts = [account for account in range(args.accounts) for _ in range(args.operations)]
    choice.shuffle(accounts)
    numbers: Counter[int] = Counter()
    operations, handles = [], []
    for account in accounts:
        kind = choice.choice([*KINDS])
        amount = choice.randint(1, 5) if kind == 'add_interest' else choice.randint(1, 100_00)
        operations.append((account, numbers[account], kind, amount))
        handles.append(bank.functions[account, kind](numbers[account], amount))
        numbers[account] += 1
    for handle in handles:
        await handle  # it is in the queue
    return operations


async def run_processes(bank: Bank, queue: Torrelque, total: int) -> int:
    """Have all operations applied, and kill the process that hangs; its id."""
    args = bank.args
    spawn = multiprocessing.get_context('spawn')
    processes: list[BaseProcess] = []
    killed, tenths = 0, 0
    try:
        # They are born deaf to Ctrl-C, and tell nothing of it while they start.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for _ in range(args.processes):
            processes.append(spawn.Process(target=work, args=(args,), daemon=True))
            processes[-1].start()
        signal.signal(signal.SIGINT, interrupt)
        print(f'{len(processes)} processes ({", ".join(str(process.pid) for process in processes)})', flush=True)
        while left := (await queue.get_queue_stats()).tasks:
            for pid in await read_list(bank.client, bank.key('hung')) if not killed else ():
                os.kill(pid, signal.SIGKILL)
                killed = pid
                print(f'process {pid} killed in the middle of an operation', flush=True)
            if not any(process.is_alive() for process in processes):
                raise ChildProcessError(f'All processes have ended, and {left:,d} operations are left.')
            if 10 * (total - left) // total > tenths:
                tenths = 10 * (total - left) // total
                print(f'{total - left:,d} of {total:,d} operations done', flush=True)
            await asyncio.sleep(0.02)
        return killed
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await asyncio.to_thread(process.join, 10)
            process.kill()
            process.join()


async def prove(bank: Bank, operations: list[tuple[int, int, str, int]]) -> bool:
    """Compare what was written with what was called, and print it; whether all is as it has to be."""
    shares: Counter[int] = Counter()
    proven = True
    print(f'\n{"account":>10}{"operations":>12}{"attempts":>10}{"balance":>12}  {"in order":10}balances')
    for account in range(bank.args.accounts):
        history = await read_list(bank.client, bank.key('history', account))
        attempts = await read_list(bank.client, bank.key('attempts', account))
        own = [operation[1:] for operation in operations if operation[0] == account]
        balances = [0]
        for _, kind, amount in own:
            balances.append(KINDS[kind](balances[-1], amount))
        verdicts = [
            [number for number, _, _ in history] == [number for number, _, _ in own] and attempts == sorted(attempts),
            [balance for _, balance, _ in history] == balances[1:],
        ]
        words = ''.join(f'{"yes" if verdict else "NO":10}' for verdict in verdicts).rstrip()
        balance = balance_of(history) / 100
        print(f'{account:10}{len(history):12,d}{len(attempts):10,d}{balance:12,.2f}  {words}')
        shares.update(pid for _, _, pid in history)
        proven = proven and all(verdicts)
    print('\nby process: ' + ', '.join(f'{pid} {count}' for pid, count in sorted(shares.items())))
    return proven


async def run(args: argparse.Namespace) -> int | str:
    main_task = asyncio.current_task()
    assert main_task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, main_task.cancel)
    try:
        async with contextlib.AsyncExitStack() as stack:
            args.url = args.url or (await stack.enter_async_context(Server())).url
            args.queue = f'bank-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
            client = await stack.enter_async_context(redis.asyncio.from_url(args.url))
            stack.push_async_callback(clean, client, args.queue)
            queue = await stack.enter_async_context(Torrelque(client, queue=args.queue))
            bank = Bank(client, queue, args)
            await stack.enter_async_context(bank.app)
            operations = await call_functions(bank)
            print(f'{len(operations):,d} operations on {args.accounts} accounts on {args.url}', flush=True)
            killed = await run_processes(bank, queue, len(operations))
            proven = await prove(bank, operations) and killed > 0
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
    add('--accounts', type=int, default=8, metavar='N', help='(default: %(default)s)')
    add('--operations', type=int, default=40, metavar='N', help='of each account (default: %(default)s)')
    add('--processes', type=int, default=3, metavar='N', help='(default: %(default)s)')
    add('--failures', type=float, default=0.1, metavar='P', help='share of attempts that fail (default: %(default)s)')
    add('--work', type=float, default=0.02, metavar='S', help='mean time of an operation (default: %(default)s s)')
    add('--seed', type=int, default=1, metavar='N', help='of operations and failures (default: %(default)s)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
