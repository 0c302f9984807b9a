"""What a process has its workers do to all jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from torrelque import Torrelque, TorrelqueTaskStatus, TorrelqueTypeError, testing
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, Job, Worker, adapt_jobs


@contextlib.contextmanager
def adapting(adapt: Callable[[Job], Job]) -> Iterator[None]:
    take_back = adapt_jobs(adapt)
    try:
        yield
    finally:
        take_back()


def wrapped(word: str, told: list[str]) -> Callable[[Job], Job]:
    """Has coroutine functions tell a word around them."""

    def adapt(job: Job) -> Job:
        async def call(delivery: Delivery) -> Any:
            told.append(f'{word} begins')
            result = await job.call(delivery)
            told.append(f'{word} ends')
            return result

        return job._replace(call=call)

    return adapt


async def drain(*args: Any, **options: Any) -> None:
    await asyncio.wait_for(Worker(*args, burst=True, **options).run(), 60)


async def test_every_worker_adapts_its_jobs_and_the_last_is_outermost(queue: Torrelque) -> None:
    told: list[str] = []
    app = Tasks(queue)

    @app.task
    async def say(word: str) -> str:
        told.append(word)
        return word

    async def handle(delivery: Delivery) -> None:
        told.append(delivery.task)

    handle_of = await say.enqueue('function')
    with adapting(wrapped('inner', told)), adapting(wrapped('outer', told)):
        await drain(app)
        assert told == ['outer begins', 'inner begins', 'function', 'inner ends', 'outer ends']
        assert await handle_of.result() == 'function'
        told.clear()
        await queue.enqueue('handler')
        await drain(queue, handle)
        assert told == ['outer begins', 'inner begins', 'handler', 'inner ends', 'outer ends']
    told.clear()
    await queue.enqueue('as before')
    await drain(queue, handle)
    assert told == ['as before']


async def test_a_job_is_adapted_with_the_defaults_of_its_worker_once(queue: Torrelque) -> None:
    seen: list[tuple[str, Any, Any]] = []
    app = Tasks(queue)

    @app.task(name='plain')
    def plain() -> None: ...

    def look(job: Job) -> Job:
        seen.append((job.name, job.run_in, job.max_attempts))
        return job

    for _ in range(3):
        await plain.enqueue()
    with adapting(look):
        await drain(app, max_attempts=7)
    assert seen[1:] == [('plain', 'thread', 7)]


async def test_what_adapting_raises_has_the_task_dead(queue: Torrelque) -> None:
    app = Tasks(queue)

    @app.task(name='send')
    async def send() -> None: ...

    def refuse(job: Job) -> Job:
        if job.name == 'send':
            raise RuntimeError('no such thing here')
        return job

    handle = await send.enqueue()
    with adapting(refuse):
        await drain(app)
    state = await handle.state()
    assert (state.status, state.dequeue_count) == (TorrelqueTaskStatus.DEAD, 1)
    assert str(state.error).endswith('RuntimeError: no such thing here')


async def test_tasks_of_an_eager_block_run_as_they_are(queue: Torrelque) -> None:
    told: list[str] = []
    app = Tasks(queue)

    @app.task
    async def say() -> None:
        told.append('said')

    with adapting(wrapped('around', told)):
        async with testing.eager(app):
            await say.enqueue()
    assert told == ['said']


def test_what_cannot_be_called_with_a_job_is_refused() -> None:
    with pytest.raises(TorrelqueTypeError, match='adapt is called with job'):
        adapt_jobs(lambda: None)  # type: ignore[arg-type, misc]
