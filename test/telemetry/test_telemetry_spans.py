"""Spans of producers and workers: their names, kinds, links, attributes, and what has become of an attempt."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from support.tracing import Traced, id_of, links_of, told, trace_of
from torrelque import Torrelque, TorrelqueBulkError, TorrelqueDuplicateError, TorrelqueTypeError
from torrelque.cli.logs import JsonFormatter
from torrelque.tasks import Tasks
from torrelque.worker import Reject, Retry, Worker

pytestmark = pytest.mark.first_server


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
def app(queue: Torrelque, traced: Traced) -> Tasks:
    return Tasks(queue, context=traced.telemetry)


async def test_a_call_and_its_attempt_have_a_span_each_and_the_second_is_linked_to_the_first(
    app: Tasks, traced: Traced
) -> None:
    @app.task(name='shop.add', group='a', priority=None)
    async def add(a: int, b: int) -> int:
        with traced.tracer.start_as_current_span('inside'):
            return a + b

    with traced.tracer.start_as_current_span('request') as request:
        handle = await add.enqueue(1, 2)
    await traced.drain(app)
    assert await handle.result() == 3
    asked, sent, done, inside = traced.spans
    name = app.queue.name
    assert [sent.name, done.name] == [f'enqueue {name}', f'process {name}']
    assert [sent.kind, done.kind] == [SpanKind.PRODUCER, SpanKind.CONSUMER]
    assert sent.parent is not None and sent.parent.span_id == request.get_span_context().span_id == id_of(asked)
    assert links_of(done) == [id_of(sent)] and done.parent is None and trace_of(done) != trace_of(sent)
    assert inside.parent is not None and inside.parent.span_id == id_of(done)
    for span, operation, kind in (sent, 'enqueue', 'send'), (done, 'process', 'process'):
        assert told(span, 'system', 'destination.name', 'operation.name', 'operation.type') == [
            'torrelque', name, operation, kind,
        ]  # fmt: skip
        assert told(span, 'message.id', 'torrelque.task', 'torrelque.group') == [handle.id, 'shop.add', 'a']
        assert span.attributes and {'server.address', 'error.type'} & {*span.attributes} == {'server.address'}
    assert told(done, 'torrelque.attempt', 'torrelque.outcome') == [1, 'released']
    assert told(done, 'client.id')[0] and done.status.status_code is StatusCode.UNSET


async def test_a_parent_is_that_of_the_first_attempt_and_later_ones_are_linked(queue: Torrelque) -> None:
    traced = Traced(parent=True)
    app = Tasks(queue, context=traced.telemetry)
    failures = [1]

    @app.task(retry=0.001)
    async def flaky() -> None:
        if failures:
            raise ValueError(failures.pop())

    await flaky.enqueue()
    async with Worker(app, middleware=[traced.telemetry.middleware]):
        while len(traced.processed) < 2:
            await asyncio.sleep(0.01)
    (sent,), (first, second) = traced.produced, traced.processed
    assert first.parent is not None and first.parent.span_id == id_of(sent) and trace_of(first) == trace_of(sent)
    assert not first.links
    assert second.parent is None and links_of(second) == [id_of(sent)]
    assert [told(span, 'torrelque.attempt', 'torrelque.outcome') for span in (first, second)] == [
        [1, 'retried'], [2, 'released'],
    ]  # fmt: skip


async def test_many_calls_have_one_span_whose_context_all_have(app: Tasks, traced: Traced) -> None:
    @app.task
    async def note(n: int) -> None: ...

    await note.map(range(3))
    await traced.drain(app)
    (sent,) = traced.produced
    assert told(sent, 'batch.message_count', 'message.id') == [3, None]
    assert [links_of(span) for span in traced.processed] == [[id_of(sent)]] * 3


async def test_a_failure_is_recorded_once_and_the_death_is_told(app: Tasks, traced: Traced) -> None:
    @app.task(max_attempts=1)
    async def fail() -> None:
        raise LookupError('no such customer')

    await fail.enqueue()
    await traced.drain(app)
    (done,) = traced.processed
    assert told(done, 'torrelque.outcome') == ['dead']
    assert done.attributes and done.attributes['error.type'] == 'LookupError'
    assert done.status.status_code is StatusCode.ERROR and done.status.description == 'no such customer'
    (event,) = done.events
    assert event.name == 'exception' and event.attributes
    assert 'raise LookupError' in str(event.attributes['exception.stacktrace'])


@pytest.mark.parametrize(('error', 'outcome', 'kind'), [
    (Retry(60), 'retried', None),
    (Reject('never'), 'dead', 'torrelque.worker.retry.Reject'),
])  # fmt: skip
async def test_what_a_function_asks_for_is_its_outcome(
    app: Tasks, traced: Traced, error: Exception, outcome: str, kind: str | None
) -> None:
    @app.task
    async def ask() -> None:
        raise error

    await ask.enqueue()
    await traced.drain(app)
    (done,) = traced.processed
    assert told(done, 'torrelque.outcome') == [outcome] and (done.attributes or {}).get('error.type') == kind


async def test_a_function_past_its_time_has_failed_by_that(app: Tasks, traced: Traced) -> None:
    @app.task(timeout=0.05, max_attempts=1)
    async def hang() -> None:
        await asyncio.Event().wait()

    await hang.enqueue()
    await traced.drain(app)
    (done,) = traced.processed
    assert told(done, 'torrelque.outcome') == ['dead'] and (done.attributes or {})['error.type'] == 'TimeoutError'


async def test_an_attempt_whose_lease_was_lost_tells_so_and_the_next_is_linked_to_the_same_call(
    app: Tasks, traced: Traced
) -> None:
    begun, queue = asyncio.Event(), app.queue

    @app.task(task_timeout=60)
    async def work() -> None:
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()

    handle = await work.enqueue()
    async with Worker(app, middleware=[traced.telemetry.middleware]):
        await asyncio.wait_for(begun.wait(), 30)
        # As a sweep does with the task of a worker that is gone.
        await queue.requeue(str(handle.id))
        while len(traced.processed) < 2:
            await asyncio.sleep(0.01)
    (sent,) = traced.produced
    by_attempt = sorted(traced.processed, key=lambda span: told(span, 'torrelque.attempt'))
    assert [told(span, 'torrelque.attempt', 'torrelque.outcome') for span in by_attempt] == [
        [1, 'lost'], [2, 'released'],
    ]  # fmt: skip
    assert [links_of(span) for span in by_attempt] == [[id_of(sent)]] * 2
    lost = by_attempt[0]
    assert lost.status.status_code is StatusCode.ERROR and (lost.attributes or {})['error.type'] == 'lease_lost'


async def test_a_cancelled_attempt_and_one_that_is_given_back_are_no_errors(app: Tasks, traced: Traced) -> None:
    begun: asyncio.Queue[None] = asyncio.Queue()

    @app.task
    async def work() -> None:
        begun.put_nowait(None)
        await asyncio.Event().wait()

    handle = await work.enqueue()
    async with Worker(app, middleware=[traced.telemetry.middleware], shutdown_timeout=0):
        await asyncio.wait_for(begun.get(), 30)
        await app.queue.cancel(str(handle.id))
        while not traced.processed:
            await asyncio.sleep(0.01)
        await work.enqueue()
        await asyncio.wait_for(begun.get(), 30)
    outcomes = [told(span, 'torrelque.outcome')[0] for span in traced.processed]
    assert outcomes == ['cancelled', 'returned']
    assert {span.status.status_code for span in traced.processed} == {StatusCode.UNSET}


async def test_a_call_that_could_not_be_enqueued_is_an_error(app: Tasks, traced: Traced) -> None:
    @app.task
    async def note(n: int) -> None: ...

    await note.options(task_id='a').enqueue(1)
    with pytest.raises(TorrelqueDuplicateError):
        await note.options(task_id='a').enqueue(1)
    with pytest.raises(TorrelqueBulkError):
        await note.options(max_tasks=2).map([2, 3, 4])
    _, refused, some = traced.produced
    assert refused.status.status_code is some.status.status_code is StatusCode.ERROR
    assert len(refused.events) == len(some.events) == 1 and told(some, 'batch.message_count') == [1]


async def test_with_calls_there_is_a_span_of_the_settling(queue: Torrelque) -> None:
    traced = Traced(calls=True)
    app = Tasks(queue, context=traced.telemetry)

    @app.task
    async def note() -> None: ...

    await note.enqueue()
    await traced.drain(app)
    (settled,), (done,) = traced.of(SpanKind.CLIENT), traced.processed
    assert settled.name == f'settle {queue.name}' and settled.parent and settled.parent.span_id == id_of(done)
    assert settled.start_time == done.end_time


async def test_a_plain_payload_has_the_context_where_it_was_injected(queue: Torrelque) -> None:
    traced = Traced(carrier='trace')

    async def handle(delivery: object) -> None: ...

    with traced.telemetry.sending(queue) as sending:
        sending.ids = [await queue.enqueue(traced.telemetry.inject({'to': 'x'}))]
    await queue.enqueue({'to': 'y'})
    await queue.enqueue('no mapping')
    await traced.drain(queue, handle)
    (sent,), (with_it, *without) = traced.produced, traced.processed
    assert links_of(with_it) == [id_of(sent)] and told(with_it, 'message.id') == told(sent, 'message.id')
    assert not any(span.links for span in without) and len(without) == 2
    with pytest.raises(TorrelqueTypeError, match='mapping'):
        traced.telemetry.inject('text')  # type: ignore[arg-type]


async def test_a_function_finds_the_context_of_a_payload(queue: Torrelque) -> None:
    traced = Traced(carrier=lambda task: {'traceparent': task[1]})

    async def handle(delivery: object) -> None: ...

    await queue.enqueue(['x', f'00-{1:032x}-{2:016x}-01'])
    await traced.drain(queue, handle)
    assert links_of(traced.processed[0]) == [2]


async def test_two_telemetries_make_one_span_of_each(queue: Torrelque) -> None:
    outer, inner = Traced(), Traced()
    app = Tasks(queue, context=[outer.telemetry, inner.telemetry])

    @app.task
    async def note() -> None: ...

    await note.enqueue()
    await outer.drain(app, name='it')
    await note.enqueue()
    middleware = [outer.telemetry.middleware, inner.telemetry.middleware]
    await asyncio.wait_for(Worker(app, burst=True, middleware=middleware).run(), 60)
    assert len(outer.spans) == 4 and not inner.spans


async def test_hooks_and_lines_of_the_log_of_a_failure_are_in_its_span(
    app: Tasks, traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    caplog.handler.setFormatter(JsonFormatter())

    @app.task(max_attempts=1, on_dead=lambda delivery, error: seen.append(span_now()))
    async def fail() -> None:
        raise ValueError

    @app.task
    async def note() -> None: ...

    await fail.enqueue()
    await note.enqueue()
    await traced.drain(app)
    assert span_now() == 0
    (failed,) = (span for span in traced.processed if told(span, 'torrelque.outcome') == ['dead'])
    assert seen == [id_of(failed)]
    lines = [json.loads(line) for line in caplog.text.splitlines()]
    (line,) = (line for line in lines if line.get('event') == 'task_dead')
    assert (line['trace_id'], line['span_id']) == (f'{trace_of(failed):032x}', f'{id_of(failed):016x}')
    assert not any('trace_id' in line for line in lines if line.get('event') == 'worker_stopped')


def span_now() -> int:
    return int(trace.get_current_span().get_span_context().span_id)
