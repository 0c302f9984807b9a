"""Programs that the tests of tasks and of strict order start: an app of a module, worked on in a process of its own."""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import Any

import redis
import redis.asyncio

from torrelque import Torrelque
from torrelque.tasks import Tasks, current
from torrelque.worker import ThreadWorker

URL = os.environ.get('FIFO_URL', 'redis://localhost')

app = Tasks(Torrelque(redis.asyncio.from_url(URL), queue=os.environ.get('FIFO_QUEUE', 'fifo')))


@app.task(run_in='process', result_ttl=60)
def pid_and(*values: int, fail: bool = False) -> list[int]:
    if fail:
        raise ValueError('as told')
    current().report({'values': len(values)})
    return [os.getpid(), current().attempt, *values]


@app.task(run_in='process', max_attempts=1)
def exact(one: int) -> int:
    return one


def plain(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@app.task(run_in='process', max_attempts=1)
@plain
async def wrapped(value: int) -> list[int]:
    return [current().attempt, value]


@app.fifo(queue='log', retry_wait=0, task_timeout=1)
def write(caller: str, number: int) -> None:
    with redis.Redis.from_url(URL) as client:
        client.rpush('log', f'begin {caller} {number} {os.getpid()}')
        time.sleep(0.005)
        client.rpush('log', f'end {caller} {number} {os.getpid()}')


def main(role: str, *args: str) -> None:
    """Work until the standard input ends, or make calls."""
    if role == 'work':
        with ThreadWorker(app, concurrency=5):
            print('ready', flush=True)
            sys.stdin.read()
    elif role == 'call':
        for number in range(int(args[1])):
            write(args[0], number)
    elif role == 'here':
        handle: Any = pid_and.push(1, 2)
        with ThreadWorker(app):
            print(pid_and.name, *handle.wait_result(60)[1:])
    app.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
