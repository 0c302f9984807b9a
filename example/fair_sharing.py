"""One tenant has thousands of tasks, the others a few: see who is served, and how limits, rates and pauses act.

    python example/fair_sharing.py
    python example/fair_sharing.py --noisy 10000 --small 12 --consumers 40

All tenants share one queue and its consumers; each tenant is a group.  There are four acts:

1. The noisy tenant comes first.  In one plain list all others wait behind it; with groups they take turns with it.
2. Limits: two tasks of a tenant at once, four where that was paid for.  Other consumers stay free.
3. A rate for the noisy tenant: so many starts in a second, after a first burst.
4. A pause of the noisy tenant, which loses nothing by it, and its end.

On a terminal each tenant has a bar (`#` done, `>` in work, `.` waiting), else a line tells each half second.  After
each act what was measured stands beside what was promised; the exit code is 1 when a promise was not kept.
"""

import argparse
import asyncio
import contextlib
import math
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server

NOISY = 'noisy'
PAID = 'small-1'
"""The tenant that has paid for a higher limit."""


class Act:
    """Tasks of some tenants, all enqueued at once, and what is counted while they are worked on."""

    def __init__(self, queue: Torrelque, tasks: dict[str, int], work: float, grouped: bool = True) -> None:
        self.queue = queue
        self.tasks = tasks
        self.work = work
        self.grouped = grouped
        self.done: Counter[str] = Counter()
        self.in_work: Counter[str] = Counter()
        self.most_in_work: Counter[str] = Counter()
        self.most_slots: Counter[str] = Counter()
        self.handed_out: list[str] = []
        """The tenant of each task, in the order in which they came."""
        self.starts: list[float] = []
        """When tasks of the noisy tenant were handed out (s), by the clock of the server."""
        self.started = time.monotonic()

    async def enqueue(self) -> None:
        tenants = (tenant for tenant, count in self.tasks.items() for _ in range(count))
        # The task is no more than its tenant's name here, and the group is made of the task.
        await self.queue.enqueue_many(tenants, group=(lambda tenant: str(tenant)) if self.grouped else None)

    async def serve(self, consumers: int, count: int | None = None) -> None:
        """Have so many tasks worked on, by default all that there are, and show it."""
        left = sum(self.tasks.values()) - len(self.handed_out)
        turns = iter(range(left if count is None else count))  # shared: each dequeue takes one
        finished = asyncio.Event()

        async def consume_all() -> None:
            await asyncio.gather(*(self.consume(turns) for _ in range(consumers)))
            finished.set()

        await asyncio.gather(consume_all(), self.show(finished))

    async def consume(self, turns: Iterator[int]) -> None:
        for _ in turns:
            task_id, tenant = await self.queue.dequeue()
            self.handed_out.append(tenant)
            self.in_work[tenant] += 1
            self.most_in_work[tenant] = max(self.most_in_work[tenant], self.in_work[tenant])
            if self.grouped:
                slots = (await self.queue.get_group_stats(tenant)).slots
                self.most_slots[tenant] = max(self.most_slots[tenant], slots)
            if tenant == NOISY:
                self.starts.append((await self.queue.get_task_state(task_id)).last_dequeue_time or 0)
            await asyncio.sleep(random.uniform(0.5, 1.5) * self.work)  # stands for the work
            self.in_work[tenant] -= 1
            self.done[tenant] += 1
            await self.queue.release(task_id)

    # The view

    async def show(self, finished: asyncio.Event) -> None:
        """Show figures until it is finished: bars that are redrawn on a terminal, else a line now and then."""
        terminal = sys.stdout.isatty()
        height = 0
        while True:
            last = finished.is_set()
            rows = await asyncio.gather(*map(self.describe, self.tasks))
            if terminal:
                size = shutil.get_terminal_size()
                lines = [row[: size.columns - 1] for row in rows[: size.lines - 2]]
                back = f'\x1b[{height}F\x1b[J' if height else ''
                print(back + '\n'.join(lines), flush=True)
                height = len(lines)
            else:
                figures = ', '.join(f'{tenant} {self.done[tenant]}/{self.tasks[tenant]}' for tenant in self.tasks)
                print(f'{time.monotonic() - self.started:5.1f} s  {figures}', flush=True)
            if last:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(finished.wait(), 0.1 if terminal else 0.5)

    async def describe(self, tenant: str) -> str:
        done, in_work, total = self.done[tenant], self.in_work[tenant], self.tasks[tenant]
        width = 40
        some, more = width * done // total, math.ceil(width * (done + in_work) / total)
        bar = ('#' * some + '>' * (more - some)).ljust(width, '.')
        text = f'{tenant:9} [{bar}] {done:6,d} done {in_work:3} in work {total - done - in_work:6,d} waiting'
        if self.grouped:
            stats = await self.queue.get_group_stats(tenant)
            if stats.limit != math.inf:
                text += f'  {stats.slots} of {stats.limit} slots'
            if isinstance(stats.rate, tuple):
                text += f'  {stats.rate[0]} per {stats.rate[1]:g} s'
            if stats.paused:
                text += '  PAUSED'
        return text


# The acts, each with its promise: they return whether it was kept


async def share(queue: Torrelque, args: argparse.Namespace) -> bool:
    tasks = {NOISY: args.noisy, **{f'small-{n}': 10 * n for n in range(1, args.small + 1)}}
    ends: list[dict[str, int]] = []
    for grouped in (False, True):
        headline('1. With groups: tenants take turns' if grouped else '1. One plain list: the noisy tenant was first')
        act = Act(queue, tasks, args.work, grouped)
        await act.enqueue()
        await act.serve(args.consumers)
        ends.append({tenant: number for number, tenant in enumerate(act.handed_out, 1)})
    plain, fair = ends
    print('\ndone after ... dequeues     tasks  plain list  with groups')
    for tenant, count in tasks.items():
        print(f'{tenant:21} {count:11,d} {plain[tenant]:11,d} {fair[tenant]:12,d}')
    last_plain, last_fair = (max(end[tenant] for tenant in tasks if tenant != NOISY) for end in ends)
    print(f'The small tenants were done after {last_fair:,d} dequeues, not after {last_plain:,d}.')
    # As long as a tenant has tasks, each other one gets one for each of its own, give or take the turn it has now.
    return all(
        fair[tenant] <= sum(min(other, count) for other in tasks.values()) + len(tasks)
        for tenant, count in tasks.items()
    )


async def limit(queue: Torrelque, args: argparse.Namespace) -> bool:
    headline('2. Limits: two tasks of a tenant at once, four where that was paid for')
    await queue.set_limit(concurrency=2)  # the default of all
    await queue.set_limit(PAID, concurrency=4)
    act = Act(queue, dict.fromkeys(tenants(args), args.noisy // 20), args.work)
    await act.enqueue()
    await act.serve(args.consumers)
    print('\nat once                 limit  most in work  most slots')
    limits = {tenant: 4 if tenant == PAID else 2 for tenant in act.tasks}
    for tenant, most in limits.items():
        print(f'{tenant:21} {most:7} {act.most_in_work[tenant]:13} {act.most_slots[tenant]:11}')
    return all(max(act.most_in_work[tenant], act.most_slots[tenant]) <= most for tenant, most in limits.items())


async def rate(queue: Torrelque, args: argparse.Namespace) -> bool:
    headline(f'3. A rate: {args.rate} starts of the noisy tenant in a second')
    # No limit for this one, whatever the default, but a rate: a bucket of tokens, which is full at first.
    await queue.set_limit(NOISY, concurrency=math.inf, rate=(args.rate, 1.0))
    act = Act(queue, {**dict.fromkeys(tenants(args), args.noisy // 20), NOISY: 3 * args.rate}, args.work)
    await act.enqueue()
    await act.serve(args.consumers)
    starts = sorted(act.starts)
    seconds = Counter(int(start - starts[0]) for start in starts)
    mean = (len(starts) - args.rate) / (starts[-1] - starts[0])
    print(f'\nstarts in each second    {", ".join(str(seconds[n]) for n in range(max(seconds) + 1))}')
    print(f'per second, on average   {mean:.1f}, after a first burst of {args.rate}')
    # The promise of a token bucket: in any w seconds, wherever they begin, rate * (1 + w) starts at the most.
    most = max(sum(first <= start < first + 1 for start in starts) for first in starts)
    print(f'most in any second       {most} of {2 * args.rate} that may be')
    return all(
        i - j + 1 <= args.rate * (1 + starts[i] - starts[j] + 0.001) + 1e-6
        for i in range(len(starts))
        for j in range(i + 1)
    )


async def pause(queue: Torrelque, args: argparse.Namespace) -> bool:
    headline('4. A pause of the noisy tenant, and its end')
    await queue.set_limit(NOISY)  # as the default again
    act = Act(queue, dict.fromkeys(tenants(args), args.noisy // 20), args.work)
    await act.enqueue()
    first = sum(act.tasks.values()) // 4
    await act.serve(args.consumers, first)
    await queue.pause(NOISY)
    print(f'\nafter {first} dequeues: paused')
    # All that the others have.  Were one of the noisy tenant's handed out instead, it would show below.
    others = sum(act.tasks[tenant] - act.done[tenant] for tenant in act.tasks if tenant != NOISY)
    await act.serve(args.consumers, others)
    meanwhile = act.handed_out[first:].count(NOISY)
    await queue.resume(NOISY)
    print(f'\nafter {first + others} dequeues: resumed')
    await act.serve(args.consumers)
    print(f'\nhanded out in the pause  {meanwhile} of the noisy tenant, {others - meanwhile} of the others')
    print(f'done in the end          {act.done[NOISY]} of the noisy tenant, {act.done.total() - act.done[NOISY]} more')
    return meanwhile == 0 and act.done == act.tasks


def tenants(args: argparse.Namespace) -> list[str]:
    return [NOISY, *(f'small-{n}' for n in range(1, args.small + 1))]


def headline(text: str) -> None:
    print(f'\n{text}\n', flush=True)


async def run(args: argparse.Namespace) -> int:
    main_task = asyncio.current_task()
    assert main_task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, main_task.cancel)
    try:
        async with contextlib.AsyncExitStack() as stack:
            url = args.url or (await stack.enter_async_context(Server())).url
            print(f'{args.consumers} consumers on {url}; Ctrl-C stops', flush=True)
            client = await stack.enter_async_context(redis.asyncio.from_url(url))
            name = f'fair-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
            stack.push_async_callback(clean, client, name)
            queue = await stack.enter_async_context(Torrelque(client, queue=name))
            kept = True
            for act in (share, limit, rate, pause):
                act_kept = await act(queue, args)
                print('The promise was kept.' if act_kept else 'The promise was NOT kept.', flush=True)
                kept = kept and act_kept
            return 0 if kept else 1
    except asyncio.CancelledError:
        print('\nStopped.')
        return 0


async def clean(client: 'redis.asyncio.Redis', name: str) -> None:
    """Leave nothing behind on a server that is not ours: limits, after Ctrl-C the tasks as well."""
    async for key in client.scan_iter(match=f'{{{name}}}:*', count=1000):
        await client.unlink(key)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    add('--noisy', type=int, default=3000, metavar='N', help='tasks of the noisy tenant (default: %(default)s)')
    add('--small', type=int, default=5, metavar='N', help='small tenants (default: %(default)s)')
    add('--consumers', type=int, default=20, metavar='N', help='(default: %(default)s)')
    add('--work', type=float, default=0.02, metavar='S', help='mean time of a task (default: %(default)s s)')
    add('--rate', type=int, default=50, metavar='N', help='starts per second, in act 3 (default: %(default)s)')
    args = parser.parse_args()
    if min(args.noisy // 20, args.small, args.consumers, args.rate) < 1:
        parser.error('there must be 20 tasks, and one of all else, at least')
    return args


if __name__ == '__main__':
    sys.exit(asyncio.run(run(parse_arguments())))
