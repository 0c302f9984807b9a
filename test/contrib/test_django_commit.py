"""Calls that are enqueued on the commit of a transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from support.djangosite import fixtures
from support.servers import RealServer
from torrelque import TorrelqueTypeError, testing
from torrelque.contrib.django import aenqueue_on_commit, enqueue_on_commit
from torrelque.tasks import Tasks

site = fixtures.site

pytestmark = [pytest.mark.usefixtures('site'), pytest.mark.one_server]


@pytest.fixture
def app(server: RealServer, queue_name: str) -> Iterator[Tasks]:
    with contextlib.closing(Tasks.from_url(server.url, queue=queue_name)) as app:

        @app.task(name='send')
        def send(order: int, *, to: str = 'joe') -> str:
            return f'{order} to {to}'

        yield app


def pending(app: Tasks) -> int:
    return app.call(lambda: app.queue.get_queue_stats()).tasks


def test_a_call_is_enqueued_at_the_commit_and_not_before(app: Tasks) -> None:
    from django.db import transaction

    send: Any = app.functions['send']
    with transaction.atomic():
        enqueue_on_commit(send, 1, to='ann')
        enqueue_on_commit(send.options(task_id='own', delay=600), 2)
        assert pending(app) == 0
    assert pending(app) == 2
    assert app.call(app.handle('own').state()).status.name == 'DELAYED'


def test_outside_of_a_transaction_a_call_is_enqueued_at_once(app: Tasks) -> None:
    enqueue_on_commit(app.functions['send'], 1)
    assert pending(app) == 1


def test_what_is_rolled_back_is_not_enqueued(app: Tasks) -> None:
    from django.db import transaction

    send: Any = app.functions['send']
    with transaction.atomic():
        enqueue_on_commit(send.options(task_id='kept'), 1)
        with contextlib.suppress(ValueError), transaction.atomic():
            enqueue_on_commit(send, 2)
            raise ValueError
    with contextlib.suppress(ValueError), transaction.atomic():
        enqueue_on_commit(send, 3)
        raise ValueError
    assert pending(app) == 1
    assert app.call(app.handle('kept').state()).status.name == 'PENDING'


def test_wrong_arguments_are_refused_where_they_are_given(app: Tasks) -> None:
    from django.db import transaction

    send: Any = app.functions['send']
    with transaction.atomic():
        with pytest.raises(TorrelqueTypeError, match='order'):
            enqueue_on_commit(send)
        with pytest.raises(TorrelqueTypeError, match='nobody'):
            enqueue_on_commit(send, 1, nobody=2)
    assert pending(app) == 0


def test_a_refusal_at_the_commit_is_logged_and_the_rest_goes_on(
    app: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    from django.db import transaction

    from support.djangosite.models import Order

    send: Any = app.functions['send']
    send.options(task_id='twice').push(0)
    with transaction.atomic():
        Order.objects.create(name='committed')
        enqueue_on_commit(send.options(task_id='twice'), 1)
        enqueue_on_commit(send.options(task_id='once'), 2)
    assert Order.objects.get().name == 'committed'
    assert pending(app) == 2
    [record] = [one for one in caplog.records if one.name.startswith('django.db')]
    assert 'push of send' in record.getMessage()
    assert 'twice' in record.getMessage()


def test_a_coroutine_enqueues_on_commit_as_well(app: Tasks) -> None:
    async def view() -> None:
        await aenqueue_on_commit(app.functions['send'], 1, to='ann')
        with pytest.raises(TorrelqueTypeError, match='order'):
            await aenqueue_on_commit(app.functions['send'])

    asyncio.run(view())
    assert pending(app) == 1


def test_a_transaction_in_a_thread_of_a_coroutine_is_waited_for(app: Tasks) -> None:
    from asgiref.sync import sync_to_async
    from django.db import transaction

    found: list[int] = []

    def work() -> None:
        with transaction.atomic():
            enqueue_on_commit(app.functions['send'], 1)
            found.append(pending(app))
        found.append(pending(app))

    async def view() -> None:
        await sync_to_async(work)()

    asyncio.run(view())
    assert found == [0, 1]


def test_an_eager_block_runs_the_call_at_the_commit(app: Tasks) -> None:
    from django.db import transaction

    with testing.eager(app) as ran:
        with transaction.atomic():
            enqueue_on_commit(app.functions['send'], 1)
            assert ran.tasks == []
        assert [task.name for task in ran.tasks] == ['send']
