"""The worker: time limits, of coroutines, threads and processes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

import torrelque
from support.waiting import until
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.worker import Backoff, ChildDelivery, Delivery, Worker

NOW = Backoff(base=0, jitter=False)


# Time limits


async def test_a_time_limit_cancels_a_coroutine(queue: Torrelque) -> None:
    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(60)

    task_id = await queue.enqueue(1, max_attempts=2)
    async with Worker(queue, handle, timeout=0.05, retry=NOW) as worker:
        await until(lambda: worker.health().dead == 1)
    state = await queue.get_task_state(task_id)
    assert (state.status, state.dequeue_count) == (Status.DEAD, 2)
    assert 'TimeoutError: the time limit of 0.05 s is over' in (state.error or '')
    assert 'await asyncio.sleep(60)' in (state.error or '')


async def test_a_thread_that_is_over_its_time_keeps_its_place(queue: Torrelque) -> None:
    go_on = threading.Event()
    begun: list[int] = []

    def handle(delivery: Delivery) -> None:
        begun.append(delivery.task)
        if delivery.task == 1:
            go_on.wait(60)

    task_id = await queue.enqueue(1, max_attempts=1)
    await queue.enqueue(2)
    async with Worker(queue, handle, timeout=0.5, concurrency=1) as worker:
        await until(lambda: worker.health().dead == 1)
        assert (await queue.get_task_state(task_id)).status is Status.DEAD
        await asyncio.sleep(0.1)
        assert begun == [1]
        go_on.set()
        await until(lambda: worker.health().succeeded == 1)
    assert begun == [1, 2]


def work_in_process(delivery: ChildDelivery) -> Any:
    task = delivery.task
    if task == 'pid':
        return os.getpid()
    if task == 'hang':
        time.sleep(60)
    if task == 'die':
        os._exit(7)
    if task == 'raise':
        raise ValueError('in the child')
    if task == 'strange':
        raise StrangeError(1, 2)
    if task == 'report':
        return delivery.report('half')
    if task == 'unpicklable':
        return lambda: None
    return task


class StrangeError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f'{one} {two}')


@pytest.mark.one_server
async def test_plain_functions_may_run_in_processes(queue: Torrelque) -> None:
    names = ['pid', 'die', 'raise', 'strange', 'report', 'unpicklable', 'pid']
    ids = {name: await queue.enqueue(name, max_attempts=5 if name == 'unpicklable' else 1) for name in names}
    worker = Worker(queue, work_in_process, run_in='process', concurrency=2, timeout=60, burst=True)
    await worker.run()
    ids['hang'] = await queue.enqueue('hang', max_attempts=1)
    hasty = Worker(queue, work_in_process, run_in='process', timeout=1, burst=True)
    await hasty.run()
    states = {name: await queue.get_task_state(task_id) for name, task_id in ids.items()}
    errors = {name: state.error or '' for name, state in states.items()}
    assert states['pid'].result not in (None, os.getpid())
    assert 'the process of the handler died (exit code 7)' in errors['die']
    assert 'ValueError: in the child' in errors['raise'] and 'work_in_process' in errors['raise']
    assert 'StrangeError: 1 2' in errors['strange']
    assert (states['report'].result, states['report'].progress) == (True, 'half')
    assert 'the time limit of 1 s is over' in errors['hang']
    assert 'the result cannot be pickled' in errors['unpicklable'] and states['unpicklable'].dequeue_count == 1
    assert (worker.health().succeeded, worker.health().dead, hasty.health().dead) == (3, 4, 1)


async def test_a_handler_for_processes_must_be_a_function_of_a_module(queue: Torrelque) -> None:
    with pytest.raises(torrelque.TorrelqueTypeError, match='function of a module'):
        Worker(queue, lambda delivery: None, run_in='process')
