"""A delivery for functions that are called without a worker."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque, TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.tasks import Tasks, current
from torrelque.testing import RecordedDelivery, delivery
from torrelque.worker import Delivery

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')


@app.task
def resize(picture: str) -> str:
    """Of an application."""
    for percent in (50, 100):
        current().report({'percent': percent})
    return f'{picture} {current().attempt} {current().headers.get("tenant")} {current().state}'


@app.task
async def fetch(count: int) -> list[bool]:
    return [await current().touch(progress=number) for number in range(count)]


def test_a_function_is_called_directly() -> None:
    with delivery(attempt=2, headers={'tenant': 'joe'}, state='connected') as given:
        assert resize('a.png') == 'a.png 2 joe connected'
    assert given.progress == [{'percent': 50}, {'percent': 100}]


async def test_a_coroutine_function_is_called_directly() -> None:
    with delivery() as given:
        assert await fetch(3) == [True] * 3
        assert await asyncio.create_task(fetch(1)) == [True]
        assert await asyncio.to_thread(current().report, 'from a thread')
    assert given.progress == [0, 1, 2, 0, 'from a thread']


def test_it_is_a_delivery_as_of_a_first_attempt() -> None:
    with delivery() as given:
        found = current()
        assert found is given
        assert isinstance(found, Delivery) and isinstance(found, RecordedDelivery)
        assert (found.attempt, found.group, found.headers, found.state, found.task) == (1, None, {}, None, {})
        assert len(found.id) == 32 and found.id.attempt == 1 and found.id.token
        assert str(found.id) in repr(found)


def test_all_that_can_be_said_of_it_is_seen() -> None:
    with delivery(attempt=3, headers={'a': 1}, state=[], task_id='mine', group='joe', task={'task': 'shop'}) as given:
        assert (given.id, given.attempt, given.group, given.headers) == ('mine', 3, 'joe', {'a': 1})
        assert (given.state, given.task) == ([], {'task': 'shop'})
    with delivery(headers={'a': 1}) as given:
        assert given.task == {'headers': {'a': 1}}
    with delivery(task={'task': 'shop', 'headers': {'b': 2}}) as given:
        assert given.headers == {'b': 2}


def test_a_function_that_a_schedule_fires_has_the_instant_of_the_test() -> None:
    noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
    with delivery() as given:
        assert given.scheduled is None
    with delivery(task_id='daily@1767268800000') as given:
        assert given.scheduled == noon
    for hours in (0, 9):
        zone = datetime.timezone(datetime.timedelta(hours=hours))
        with delivery(task_id='daily@1', scheduled=noon.astimezone(zone)):
            assert repr(current().scheduled) == repr(noon)
    with delivery(scheduled=noon.astimezone().replace(tzinfo=None)):
        assert current().scheduled == noon


def test_progress_is_kept_as_it_was_and_a_renewal_is_none() -> None:
    progress = {'done': 0}
    with delivery() as given:
        for number in range(3):
            progress['done'] = number
            current().report(progress)
        asyncio.run(given.touch())
    assert given.progress == [{'done': 0}, {'done': 1}, {'done': 2}]
    with delivery() as given, pytest.raises(TorrelqueTypeError, match='progress'):
        given.report(threading.Lock())


async def test_a_test_may_say_that_the_task_is_lost() -> None:
    with delivery() as given:
        given.ours = False
        assert await fetch(1) == [False]
        assert current().report(1) is False


def test_the_innermost_of_several_counts_and_none_is_left_behind_the_block() -> None:
    with delivery(attempt=1) as outer:
        with pytest.raises(ZeroDivisionError), delivery(attempt=2):
            assert current().attempt == 2
            raise ZeroDivisionError
        assert current() is outer
        context = contextvars.copy_context()
    with pytest.raises(TorrelqueError, match=r'^no task is being run here'):
        current()
    with pytest.raises(TorrelqueError, match=r'^the task that was run here has ended'):
        context.run(current)


def test_a_fixture_may_leave_the_block_in_another_context() -> None:
    def make() -> Iterator[None]:
        with delivery():
            yield

    fixture = make()
    contextvars.copy_context().run(next, fixture)
    assert [*contextvars.copy_context().run(lambda: [*fixture])] == []


async def test_it_has_the_queue_that_it_was_given(client: redis.asyncio.Redis) -> None:
    queue = Torrelque(client)
    with delivery(queue=queue):
        assert current().queue is queue
    with delivery(), pytest.raises(TorrelqueError, match=r'^the delivery of this test has no queue; give it one'):
        _ = current().queue
    with delivery() as given, pytest.raises(AttributeError, match='nothing'):
        _ = given.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        ({'attempt': 0}, TorrelqueValueError),
        ({'attempt': '1'}, TorrelqueTypeError),
        ({'headers': 'a'}, TorrelqueTypeError),
        ({'headers': {1: 2}}, TorrelqueTypeError),
        ({'task_id': ''}, TorrelqueValueError),
        ({'task_id': 7}, TorrelqueTypeError),
        ({'group': 7}, TorrelqueTypeError),
        ({'queue': 'email'}, TorrelqueTypeError),
        ({'scheduled': 1e9}, TorrelqueTypeError),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error), delivery(**options):
        pass
    with pytest.raises(TorrelqueError):
        current()
