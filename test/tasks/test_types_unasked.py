"""Annotations that no library carries, where nobody has asked for one: what plain JSON carries, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.carried import MAY_BE_JSON, NOON, Unprintable, echo
from torrelque import Torrelque, TorrelqueTaskStatus as Status, TorrelqueTypeError
from torrelque.tasks import Handle, TaskFailedError, Tasks
from torrelque.worker import Delivery, Worker

# What is tested here has little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server

LOG = logging.getLogger()


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


async def drain(app: Tasks, **options: Any) -> Worker:
    worker = Worker(app, burst=True, **options)
    await asyncio.wait_for(worker.run(), 60)
    return worker


@pytest.mark.parametrize('hint', [Callable[[], int], socket.socket, Unprintable, list[Delivery], dt.date | dt.datetime])
def test_what_must_be_given_and_nothing_carries_is_refused_unasked(app: Tasks, hint: Any) -> None:
    with pytest.raises(TorrelqueTypeError, match=r"shop: parameter 'it' is annotated .*, which cannot be carried: "):
        app.task(name='shop')(echo(hint))
    assert not app.functions


@pytest.mark.parametrize(('hint', 'value', 'wrong'), MAY_BE_JSON)
async def test_what_plain_json_may_carry_needs_no_library_to_do_so(
    app: Tasks, queue: Torrelque, hint: Any, value: Any, wrong: Any
) -> None:
    function = app.task(name='shop')(echo(hint))
    handle = await function.enqueue(value)
    task_id, task = await queue.dequeue()
    assert task['args'] == [value]
    await queue.requeue(task_id)
    await drain(app)
    assert await handle.result(10) == value
    with pytest.raises(TorrelqueTypeError, match=r"(?s)shop: argument 'it' must be .*is not JSON serializable; ."):
        await function.enqueue(wrong)
    with pytest.raises(TorrelqueTypeError, match=r'shop: .* cannot be carried'):
        Tasks(queue, types='msgspec').task(name='shop')(echo(hint))


async def test_what_need_not_be_sent_is_refused_when_it_is(app: Tasks) -> None:
    @app.task(name='shop')
    async def send(
        size: int, log: logging.Logger = LOG, back: Callable[[], int] = int, *more: Unprintable,
        session: socket.socket | None = None, **others: socket.socket,
    ) -> Iterator[int]:  # fmt: skip
        return [size]  # type: ignore[return-value]

    handle: Handle[Any] = await send.enqueue(3)
    await drain(app)
    assert await handle.result(10) == [3]
    call: Any = send.enqueue
    wrong = [((3, LOG), {}), ((3, None, len), {}), ((3, None, None, NOON), {}), ((3,), {'b': NOON})]
    for args, kwargs in wrong:
        with pytest.raises(TorrelqueTypeError, match=r"shop: argument '.* is not JSON serializable; JSON does not "):
            await call(*args, **kwargs)


async def test_a_result_that_nothing_carries_is_told_when_it_is_there(app: Tasks) -> None:
    @app.task(name='shop')
    async def find(size: int) -> Unprintable | None:
        return Unprintable() if size else None

    handles = await find.map([0, 1])
    await drain(app)
    assert await handles[0].result(10) is None
    with pytest.raises(TaskFailedError, match=r'shop: the result must be .*Unprintable is not JSON serializable'):
        await handles[1].result(10)


def uses_never(it: Never, on: dt.date) -> None:  # type: ignore[name-defined] # noqa: F821
    ...


def test_an_annotation_that_is_no_type_is_told(queue: Torrelque) -> None:
    function = Tasks(queue, types='msgspec').task(name='shop')(echo('where it goes'))
    with pytest.raises(TorrelqueTypeError, match=r"parameter 'it', where it goes, cannot be .*; it must be a type$"):
        function._pack(('a',), {})


async def test_what_a_name_that_is_never_there_annotates_is_plain_json(app: Tasks, queue: Torrelque) -> None:
    never = app.task(name='never')(uses_never)
    date = dt.date(2026, 1, 1)
    handle = await never.enqueue({'a': [1]}, date)
    task_id, task = await queue.dequeue()
    assert task == {'task': 'never', 'args': [{'a': [1]}, '2026-01-01']}
    await queue.requeue(task_id)
    await drain(app)
    assert (await handle.state()).status is Status.COMPLETED
    with pytest.raises(TorrelqueTypeError, match=r"argument 'it' must be 'Never', not .* serializable; the annotation"):
        await never.enqueue(date, date)
    with pytest.raises(TorrelqueTypeError, match="argument 'on' must be"):
        await never.enqueue(1, 'today')  # type: ignore[arg-type]
