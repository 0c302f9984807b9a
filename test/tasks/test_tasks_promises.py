"""Decorated tasks: what their page says in a word, and what would go unseen without a test of its own."""

from __future__ import annotations

import asyncio
import pickle

import pytest

import torrelque
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.tasks import TaskFailedError, Tasks
from torrelque.worker import Worker


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def test_health_tells_which_function_runs(app: Tasks) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @app.task(name='shop.send')
    async def send() -> None:
        begun.set()
        await go_on.wait()

    await send.enqueue()
    async with Worker(app) as worker:
        await begun.wait()
        assert [task.name for task in worker.health().running] == ['shop.send']
        go_on.set()


async def test_functions_that_say_the_group_are_called_with_all_arguments(app: Tasks) -> None:
    @app.task(group=lambda to, *, tenant='none': f'{tenant}:{to}')
    async def send(to: str, *, tenant: str = 'none') -> None: ...

    handles = [await send.enqueue('joe', tenant='acme'), *await send.map(['ann'])]
    assert [(await handle.state()).group for handle in handles] == ['acme:joe', 'none:ann']


async def test_none_is_told_for_as_long_as_the_call_says(queue: Torrelque) -> None:
    app = Tasks(queue, keep=0.001)

    @app.task
    async def nothing() -> None: ...

    queue.result_ttl = 0.001
    handle = await nothing.options(result_ttl=1000).enqueue()
    await Worker(app, burst=True).run()
    await asyncio.sleep(0.01)
    assert await app.handle(handle.id).result(60) is None


async def test_a_call_that_says_how_long_is_never_told_to_have_returned_what_is_gone(queue: Torrelque) -> None:
    app = Tasks(queue, keep=0)

    @app.task
    async def nothing() -> None: ...

    handle, other = await nothing.options(result_ttl=1000).enqueue(), await nothing.enqueue()
    while (await queue.get_queue_stats()).tasks:
        # A consumer that keeps nothing, as another version of the worker may be.
        await queue.release((await queue.dequeue())[0])
    assert await other.result(60) is None  # type: ignore[func-returns-value]
    with pytest.raises(torrelque.TorrelqueLookupError):
        await handle.result(60)


async def test_all_queue_objects_of_an_app_have_the_times_of_its_own(app: Tasks, queue: Torrelque) -> None:
    queue.task_timeout = 17

    @app.task
    def one() -> None: ...

    async def elsewhere() -> str:
        return (await one.enqueue()).id

    handles = [await one.enqueue(), await one.options(max_tasks=100).enqueue()]
    handles.append(app.handle(await asyncio.to_thread(asyncio.run, elsewhere())))
    assert [(await handle.state()).timeout for handle in handles] == [17, 17, 17]
    await app.aclose()


async def test_a_task_that_was_rejected_by_hand_has_no_result(app: Tasks, queue: Torrelque) -> None:
    @app.task
    def send(to: str) -> None: ...

    handle = await send.enqueue('joe')
    await queue.release((await queue.dequeue())[0], status=Status.REJECTED, result='no such user')
    with pytest.raises(TaskFailedError, match='is rejected') as caught:
        await handle.result(60)
    assert caught.value.status is Status.REJECTED


def test_an_error_of_a_task_travels_whole() -> None:
    error = TaskFailedError('welcome-joe', Status.DEAD, 'Traceback\nValueError: no')
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.task_id, copy.status) == (str(error), error.task_id, error.status)
    assert (copy.error, str(copy)) == (error.error, "task 'welcome-joe' is dead: ValueError: no")


async def test_a_result_is_waited_for_in_synchronous_code_as_long_as_it_says(app: Tasks) -> None:
    @app.task
    def one() -> int:
        return 1

    handle = await one.enqueue()
    waiting = asyncio.ensure_future(asyncio.to_thread(handle.wait_result, 0.01))
    try:
        done, _ = await asyncio.wait([waiting], timeout=20)
        assert done
    finally:
        await handle.cancel()
        (error,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(error, torrelque.TorrelqueTimeoutError)
