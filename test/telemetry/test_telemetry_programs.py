"""A trace from a request of a web application to the end of what it has enqueued, and programs without a line of it."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
import redis
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.trace import SpanKind

import torrelque.sync
from support.servers import RealServer
from support.tracing import Traced, id_of, links_of, told, trace_of
from torrelque import Torrelque
from torrelque.tasks import Tasks
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server

ROOT = Path(__file__).parents[2]

SHOP = """
import os, sys
from opentelemetry import trace
from torrelque.tasks import Tasks

app = Tasks.from_url(queue={queue!r})
tracer = trace.get_tracer('shop')


@app.task(max_attempts=2, retry=0)
async def mail() -> None:
    tracer.start_span('mailing').end()
    raise ValueError('no such address')


@app.task(run_in='process')
def draw() -> None:
    tracer.start_span('drawing').end()


if __name__ == '__main__':
    with tracer.start_as_current_span('ordering'):
        mail.push()
        draw.push()
    app.close()
"""


async def test_a_trace_leads_from_a_request_through_a_retry_to_the_end(queue: Torrelque) -> None:
    traced = Traced(parent=True)
    app, web, failures = Tasks(queue, context=traced.telemetry), fastapi.FastAPI(), [1]

    @app.task(retry=0)
    async def mail(address: str) -> str:
        if failures:
            raise ConnectionError(failures.pop())
        with traced.tracer.start_as_current_span('send'):
            return f'sent to {address}'

    @web.post('/orders')
    async def order(address: str) -> str | None:
        return (await mail.enqueue(address)).id

    FastAPIInstrumentor.instrument_app(web, tracer_provider=traced.tracers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url='http://shop') as client:
        answer = await client.post('/orders', params={'address': 'ann'})
    async with Worker(app, middleware=[traced.telemetry.middleware]):
        assert await mail.handle(answer.json()).result(30) == 'sent to ann'
    FastAPIInstrumentor.uninstrument_app(web)
    (request,) = traced.of(SpanKind.SERVER)
    (sent,), (first, second) = traced.produced, traced.processed
    (inside,) = (span for span in traced.spans if span.name == 'send')
    assert sent.parent is not None and sent.parent.span_id == id_of(request)
    assert first.parent is not None and first.parent.span_id == id_of(sent)
    assert trace_of(request) == trace_of(sent) == trace_of(first)
    assert [told(span, 'message.id', 'torrelque.outcome') for span in (first, second)] == [
        [answer.json(), 'retried'], [answer.json(), 'released'],
    ]  # fmt: skip
    assert links_of(second) == [id_of(sent)] and inside.parent and inside.parent.span_id == id_of(second)


@pytest.mark.long
async def test_the_attempt_after_one_whose_worker_was_killed_is_linked_to_the_same_call(
    queue: Torrelque, server: RealServer
) -> None:
    traced = Traced()
    app = Tasks(queue, context=traced.telemetry)

    @app.task(name='work', task_timeout=1)
    async def work() -> None: ...

    with traced.tracer.start_as_current_span('request'):
        handle = await work.enqueue()
    command = [sys.executable, '-m', 'support.doomed', server.socket, queue.name]
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT / "test"}{os.pathsep}{ROOT}'}
    killed = await asyncio.create_subprocess_exec(*command, env=environment)
    assert await asyncio.wait_for(killed.wait(), 60) == -signal.SIGKILL
    async with Worker(app, middleware=[traced.telemetry.middleware]):
        await handle.result(60)
    (sent,), (second,) = traced.produced, traced.processed
    assert told(second, 'torrelque.attempt', 'torrelque.outcome') == [2, 'released']
    assert links_of(second) == [id_of(sent)]


async def test_the_instrumentation_of_the_client_makes_no_spans_of_what_the_queue_calls(
    queue: Torrelque, server: RealServer
) -> None:
    traced = Traced()

    def enqueue() -> None:
        client = redis.Redis(unix_socket_path=server.socket)
        with client, torrelque.sync.Torrelque(client, queue=queue.name) as it:
            it.enqueue('x')
            assert not traced.spans
            client.get('x')
            assert traced.spans

    RedisInstrumentor().instrument(tracer_provider=traced.tracers)
    try:
        await queue.enqueue('z')
        await asyncio.to_thread(enqueue)
    finally:
        RedisInstrumentor().uninstrument()


def spans_of(text: str) -> list[dict[str, Any]]:
    """What the exporter to the console has written, among lines of others."""
    decoder, spans = json.JSONDecoder(), []
    while '{' in text:
        text = text[text.index('{') :]
        try:
            span, end = decoder.raw_decode(text)
        except ValueError:
            text = text[1:]
        else:
            spans.append(span)
            text = text[end:]
    return [span for span in spans if 'context' in span]


@pytest.fixture
def environment(server: RealServer, tmp_path: Path) -> Mapping[str, str]:
    """What a program finds that runs in an environment where the package is installed."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / 'setup.cfg')
    group = 'opentelemetry_instrumentor'
    entry = settings['options.entry_points'][group]
    if not [one for one in entry_points(group=group) if one.name == 'torrelque']:
        info = tmp_path / 'torrelque_of_test-1.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: torrelque-of-test\nVersion: 1\n')
        (info / 'entry_points.txt').write_text(f'[{group}]{entry}\n')
    return {
        **os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}', 'TORRELQUE_URL': server.url,
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}', 'OTEL_TRACES_EXPORTER': 'console',
        'OTEL_METRICS_EXPORTER': 'none', 'OTEL_LOGS_EXPORTER': 'none', 'OTEL_PYTHON_DISABLED_INSTRUMENTATIONS': 'redis',
    }  # fmt: skip


def run(command: Sequence[str], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ['opentelemetry-instrument', '--', *command], env=environment, capture_output=True, text=True, timeout=90
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return spans_of(done.stdout)


@pytest.mark.long
@pytest.mark.one_server
def test_a_program_without_a_line_of_it_is_traced_by_the_command_in_all_its_processes(
    environment: Mapping[str, str], queue_name: str, tmp_path: Path
) -> None:
    (tmp_path / 'traced_shop.py').write_text(SHOP.format(queue=queue_name))
    made = {span['name']: span for span in run([sys.executable, str(tmp_path / 'traced_shop.py')], environment)}
    sent = made[f'enqueue {queue_name}']
    assert sent['parent_id'] == made['ordering']['context']['span_id'] and len(made) == 2
    worked = run(['torrelque', 'run', 'traced_shop:app', '--burst', '--processes', '2', '--log', 'json'], environment)
    processed = [span for span in worked if span['name'] == f'process {queue_name}']
    assert sorted(span['attributes']['messaging.torrelque.outcome'] for span in processed) == [
        'dead', 'released', 'retried',
    ]  # fmt: skip
    by_id = {span['context']['span_id']: span for span in processed}
    functions = {
        span['name']: by_id[span['parent_id']]['attributes']['messaging.torrelque.task']
        for span in worked if span['name'] in ('mailing', 'drawing')
    }  # fmt: skip
    assert functions == {'mailing': 'traced_shop.mail', 'drawing': 'traced_shop.draw'}
    assert {span['links'][0]['context']['trace_id'] for span in processed} == {sent['context']['trace_id']}
