"""The context of a trace on all ways that a task may take, and telemetry that is switched on for a whole process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import torrelque.sync
from support.servers import RealServer
from support.traced_app import tell_of_process
from support.tracing import Traced, id_of, links_of, told, trace_of
from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.telemetry import Telemetry, TorrelqueInstrumentor
from torrelque.worker import Delivery, Worker

pytestmark = pytest.mark.first_server


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
def instrumented(traced: Traced) -> Iterator[Traced]:
    instrumentor = TorrelqueInstrumentor()
    instrumentor.instrument(tracer_provider=traced.tracers, meter_provider=traced.meters)
    yield traced
    instrumentor.uninstrument()


async def drain(app: Any, handler: Any = None, **options: Any) -> None:
    await asyncio.wait_for(Worker(app, handler, burst=True, **options).run(), 60)


async def test_threads_synchronous_code_and_steal_keep_the_context(queue: Torrelque, traced: Traced) -> None:
    app = Tasks(queue, context=traced.telemetry)

    @app.task(queue=f'{queue.name}-other')
    def tell() -> list[int]:
        with traced.tracer.start_as_current_span('inside') as span:
            return [span.get_span_context().span_id]

    def push() -> None:
        with traced.tracer.start_as_current_span('request'):
            tell.push()

    await asyncio.to_thread(push)
    await traced.drain(app.serving([queue.name], steal=[f'{queue.name}-other']))
    request, sent, done, inside = traced.spans
    assert sent.parent is not None and sent.parent.span_id == id_of(request)
    assert links_of(done) == [id_of(sent)] and told(done, 'destination.name') == [f'{queue.name}-other']
    assert inside.parent is not None and inside.parent.span_id == id_of(done)
    await asyncio.to_thread(app.close)


@pytest.mark.long
async def test_a_function_in_a_process_is_in_the_span_of_its_attempt(queue: Torrelque, traced: Traced) -> None:
    app = Tasks(queue, context=traced.telemetry)
    tell = app.task(run_in='process')(tell_of_process.function)
    seen: list[Any] = []

    async def see(delivery: Delivery, call_next: Any) -> Any:
        result = await call_next(delivery)
        seen.append(delivery)
        return result

    handle = await tell.enqueue()
    worker = Worker(app, burst=True, middleware=[traced.telemetry.middleware, see])
    await asyncio.wait_for(worker.run(), 60)
    (sent,), (done,) = traced.produced, traced.processed
    assert await handle.result() == [f'{trace_of(done):x}', f'{id_of(done):x}']
    # Hooks see the payload as it was enqueued.
    assert f'{id_of(sent):016x}' in seen[0].task['context']['traceparent']


async def test_a_worker_without_middleware_runs_functions_in_the_trace_of_the_producer(
    queue: Torrelque, traced: Traced
) -> None:
    app = Tasks(queue, context=traced.telemetry)

    @app.task
    async def note() -> None:
        traced.tracer.start_span('inside').end()

    await note.enqueue()
    await drain(app)
    sent, inside = traced.spans
    assert inside.parent is not None and inside.parent.span_id == id_of(sent)


async def test_baggage_reaches_the_function_though_the_trace_is_another(queue: Torrelque, traced: Traced) -> None:
    app = Tasks(queue, context=traced.telemetry)

    @app.task
    async def tell() -> object:
        return baggage.get_baggage('tenant')

    token = context.attach(baggage.set_baggage('tenant', 'acme'))
    handle = await tell.enqueue()
    context.detach(token)
    await traced.drain(app)
    assert await handle.result() == 'acme'


async def test_without_an_sdk_a_context_that_is_there_goes_on_and_no_other_is_made(queue: Torrelque) -> None:
    telemetry = Telemetry()
    app = Tasks(queue, context=telemetry)

    @app.task
    async def tell() -> list[int]:
        return [trace.get_current_span().get_span_context().trace_id]

    assert telemetry.idle()
    nothing = await tell.enqueue()
    foreign = NonRecordingSpan(SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1)))
    token = context.attach(trace.set_span_in_context(foreign))
    handles = [await tell.enqueue(), *await tell.options(delay=0).starmap([()])]
    context.detach(token)
    await drain(app, middleware=[telemetry.middleware])
    assert [await handle.result() for handle in (nothing, *handles)] == [[0], [7], [7]]
    with telemetry.sending(queue) as sending:
        assert sending.queue is queue


async def test_an_instrumented_process_traces_apps_plain_queues_and_workers(
    queue: Torrelque, instrumented: Traced, server: RealServer
) -> None:
    app = Tasks(queue)

    @app.task
    async def note(n: int = 0) -> None: ...

    async def handle(delivery: Delivery) -> None: ...

    await note.enqueue()
    await note.map([1, 2])
    await drain(app)
    assert len(instrumented.produced) == 2 and len(instrumented.processed) == 3
    assert [links_of(span)[0] for span in instrumented.processed] == [
        id_of(instrumented.produced[0]), *[id_of(instrumented.produced[1])] * 2,
    ]  # fmt: skip
    instrumented.exporter.clear()
    task_id = await queue.enqueue({'to': 'x'})
    await queue.enqueue_many([{'to': 'y'}, {'to': 'z'}])

    def enqueue() -> str:
        client = redis.Redis(unix_socket_path=server.socket)
        with client, torrelque.sync.Torrelque(client, queue=queue.name) as it:
            it.enqueue_many([{'to': 'v'}])
            return str(it.enqueue({'to': 'w'}))

    last = await asyncio.to_thread(enqueue)
    await drain(queue, handle)
    assert [told(span, 'message.id', 'batch.message_count') for span in instrumented.produced] == [
        [task_id, None], [None, 2], [None, 1], [last, None],
    ]  # fmt: skip
    assert not any(span.links for span in instrumented.processed)
    assert {task_id, last} < {told(span, 'message.id')[0] for span in instrumented.processed}


async def test_uninstrument_takes_all_of_it_back(queue: Torrelque, traced: Traced) -> None:
    verbs = [getattr(kind, name) for kind in (Torrelque, torrelque.sync.Torrelque)
             for name in ('enqueue', 'enqueue_many')]  # fmt: skip
    instrumentor = TorrelqueInstrumentor()
    for _ in range(2):
        instrumentor.instrument(tracer_provider=traced.tracers)
        instrumentor.uninstrument()
    app = Tasks(queue)

    @app.task
    async def note() -> None: ...

    handle = await note.enqueue()
    await drain(app)
    assert not traced.spans and (await handle.state()).status is not None
    assert verbs == [getattr(kind, name) for kind in (Torrelque, torrelque.sync.Torrelque)
                     for name in ('enqueue', 'enqueue_many')]  # fmt: skip


async def test_what_is_done_by_hand_and_by_the_instrumentor_is_traced_once(
    queue: Torrelque, instrumented: Traced
) -> None:
    own = Traced()
    app = Tasks(queue, context=own.telemetry)

    @app.task
    async def note() -> None: ...

    await note.enqueue()
    await own.drain(app)
    assert len(instrumented.spans) == 2 and not own.spans


async def test_metrics_count_and_measure_by_queue_and_operation(queue: Torrelque) -> None:
    traced = Traced(calls=True)
    app = Tasks(queue, context=traced.telemetry)

    @app.task(max_attempts=1)
    async def note(fails: bool) -> None:
        if fails:
            raise ValueError

    await note.enqueue(True)
    await note.map([False, False])
    await traced.drain(app)
    metrics = traced.metrics()
    names = ('destination.name', 'operation.name')

    def points(name: str) -> set[Any]:
        return {
            (*(point.attributes[f'messaging.{each}'] for each in names), point.attributes.get('error.type'),
             getattr(point, 'value', None) or point.count)
            for point in metrics[name]
        }  # fmt: skip

    name = queue.name
    done = {(name, 'process', 'ValueError', 1), (name, 'process', None, 2)}
    assert points('messaging.client.sent.messages') == {(name, 'enqueue', None, 3)}
    assert points('messaging.client.consumed.messages') == points('messaging.process.duration') == done
    assert points('messaging.client.operation.duration') == {(name, 'enqueue', None, 2), (name, 'settle', None, 3)}
    assert {*metrics} == {
        'messaging.client.sent.messages', 'messaging.client.consumed.messages', 'messaging.process.duration',
        'messaging.client.operation.duration',
    }  # fmt: skip
    keys = {key for points_ in metrics.values() for point in points_ for key in point.attributes}
    assert not keys & {'messaging.message.id', 'messaging.client.id', 'messaging.torrelque.group'}


async def test_figures_of_queues_are_observed(queue: Torrelque, traced: Traced) -> None:
    app = Tasks(queue)

    @app.task(queue=f'{queue.name}-other')
    async def note(n: int) -> None: ...

    traced.telemetry.observe(app)
    await note.map(range(3))
    await queue.enqueue('x', delay=60)
    metrics = await asyncio.to_thread(traced.metrics)
    tasks = {
        (point.attributes['messaging.destination.name'], point.attributes['messaging.torrelque.status']): point.value
        for point in metrics['torrelque.tasks']
    }
    assert {key: value for key, value in tasks.items() if value} == {
        (f'{queue.name}-other', 'pending'): 3, (queue.name, 'delayed'): 1,
    }  # fmt: skip
    assert {*metrics} == {
        'torrelque.tasks', 'torrelque.tasks.ready', 'torrelque.oldest_pending.age', 'torrelque.oldest_dead.age',
        'torrelque.groups', 'torrelque.paused', 'torrelque.workers', 'torrelque.worker.slots',
        'torrelque.worker.slots.busy',
    }  # fmt: skip
    await asyncio.to_thread(app.close)


def test_nothing_of_opentelemetry_is_imported_where_it_is_not_used() -> None:
    program = (
        'import sys, redis.asyncio.sentinel, redis.asyncio.cluster\n'
        # The client has some telemetry of its own.
        'before = {*sys.modules}\n'
        'import torrelque, torrelque.sync, torrelque.tasks, torrelque.worker, torrelque.operate, torrelque.flows\n'
        'import torrelque.cli\n'
        'torrelque.tasks.Tasks, torrelque.worker.Worker\n'
        "telling = ('opentelemetry', 'sentry_sdk', 'torrelque.telemetry')\n"
        'assert not [name for name in {*sys.modules} - before if name.startswith(telling)]\n'
        'import torrelque.telemetry\n'
        'torrelque.telemetry.Telemetry()\n'
        "assert not [name for name in {*sys.modules} - before if name.startswith('opentelemetry.instrumentation')]\n"
    )
    subprocess.run([sys.executable, '-c', program], check=True)


async def test_middleware_that_is_idle_is_left_out_and_is_there_when_it_is_not(queue: Torrelque) -> None:
    seen: list[str] = []

    class Sleeper:
        asleep = True

        def idle(self) -> bool:
            return self.asleep

        async def __call__(self, delivery: Delivery, call_next: Any) -> Any:
            seen.append(delivery.task)
            return await call_next(delivery)

    first, second = Sleeper(), Sleeper()
    done: asyncio.Queue[None] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        done.put_nowait(None)

    async with Worker(queue, handle, middleware=[first, second]):
        await queue.enqueue('asleep')
        await asyncio.wait_for(done.get(), 30)
        second.asleep = False
        await queue.enqueue('one is awake')
        await asyncio.wait_for(done.get(), 30)
    assert seen == ['one is awake'] * 2
