"""What Sentry is told of tasks, by the SDK's own ways: a dead one once, with its traceback; others not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.transport import Transport

from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Retry, Worker

pytestmark = pytest.mark.first_server


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)


@pytest.fixture
async def events() -> AsyncIterator[list[Any]]:
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            'http://key@localhost/1', transport=Kept, before_send=name_the_task, integrations=[AsyncioIntegration()]
        )  # fmt: skip
        client = sentry_sdk.get_client()
        transport: Any = client.transport
        yield transport.events
        client.close()
    sentry_sdk.init()


def name_the_task(event: Any, hint: Any) -> Any:
    """As the page says it."""
    extra = event.get('extra', {})
    if 'task_id' in extra:
        for name in ('queue', 'function', 'event'):
            event.setdefault('tags', {})[name] = extra[name]
        event['transaction'] = extra['function']
    return event


async def drain(app: Tasks) -> None:
    await asyncio.wait_for(Worker(app, burst=True).run(), 60)


async def test_a_dead_task_arrives_once_with_traceback_function_attempt_and_queue(
    queue: Torrelque, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = Tasks(queue)

    @app.task(name='shop.mail', max_attempts=2, retry=0, group='acme')
    async def mail(address: str) -> None:
        raise LookupError(f'no such address: {address}')

    caplog.set_level(logging.INFO)
    handle = await mail.enqueue('ann')
    await drain(app)
    (event,) = events
    assert event['extra'].items() >= {
        'function': 'shop.mail', 'attempt': 2, 'queue': queue.name, 'task_id': handle.id, 'event': 'task_dead',
        'group': 'acme',
    }.items()  # fmt: skip
    (error,) = event['exception']['values']
    assert (error['type'], error['value']) == ('LookupError', 'no such address: ann')
    assert error['stacktrace']['frames'][-1]['function'] == 'mail'
    assert event['level'] == 'error' and event['transaction'] == 'shop.mail'
    assert event['tags'].items() >= {'function': 'shop.mail', 'queue': queue.name}.items()
    # The attempt before is what has led to it.
    assert any('attempt 1' in crumb['message'] for crumb in event['breadcrumbs']['values'])


async def test_what_is_tried_again_or_done_sends_nothing(queue: Torrelque, events: list[Any]) -> None:
    app, tries = Tasks(queue), [Retry(0), ValueError('once')]

    @app.task(retry=0)
    async def flaky() -> None:
        if tries:
            raise tries.pop()

    await flaky.enqueue()
    await drain(app)
    assert not tries and not events


async def test_a_dead_task_of_a_thread_arrives_once_as_well(queue: Torrelque, events: list[Any]) -> None:
    app = Tasks(queue)

    @app.task(max_attempts=1)
    def mail() -> None:
        raise LookupError

    await mail.enqueue()
    await drain(app)
    (event,) = events
    assert event['exception']['values'][-1]['stacktrace']['frames'][-1]['function'] == 'mail'
