"""Two workers of two kinds by one file, their metrics, an alert when one is killed, and a trace through a retry.

    python example/monitored                    # does it all by itself, in half a minute, and looks whether it was so
    cd example/monitored && torrelque run       # the workers alone, to look at them yourself

``torrelque.toml`` has an embedded server, a worker for the decorated functions of ``mails.py``, one that calls the
handler of ``images.py``, probes, and alerts by a webhook.  This program starts ``torrelque run`` with it, at ports that
are free and with the server's data in a temporary folder, and gives both workers something to do; each mail fails
once.  Prometheus' own parser reads what is told of processes and of queues.  Then a worker is killed (`kill -9`): the
webhook, which is here too, hears of it, and another process takes its place.  At last a request is sent to the FastAPI
application of ``orders.py``, and its trace is drawn: the request, the task, an attempt that fails, one that does not.

The exit code is 1 if anything of that is missing, or the webhook hears nothing for a minute.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from torrelque.config import Config
from torrelque.operate import Operator, WorkerView

T = TypeVar('T')

FOLDER = Path(__file__).parent
TORRELQUE = (sys.executable, '-m', 'torrelque')
FILE = ('-c', 'torrelque.toml')
LEASH = '"$@" & workers=$!; read _; kill $workers; wait $workers'
"""A shell that ends a command when its own input ends: so nothing outlives this process, however that ends."""
MAILS, IMAGES = 12, 8
PATIENCE = 60
"""How long (s) anything may take, the alert above all."""


def say(what: str, told: str) -> None:
    print(f'{what:<12}{told}', flush=True)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until the answer is something."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := await look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f'it was not so for {PATIENCE} s')
        await asyncio.sleep(0.1)
    return answer


# The workers, and whoever is told


def find_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in found]


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, 'queue.Queue[dict[str, Any]]']]:
    """Stands for a chat, or a pager: the address of a webhook, and what it hears."""
    heard: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers['content-length']))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            pass

    with HTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}/', heard
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def running(log: Path) -> Iterator[None]:
    """``torrelque run``, in the folder of the file."""
    with log.open('wb') as output, subprocess.Popen(
        ['sh', '-c', LEASH, 'sh', *TORRELQUE, 'run', *FILE],
        cwd=FOLDER, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
    ):  # fmt: skip
        yield


# What is looked at


class Shop:
    """The workers of the file, as whoever watches over them sees them."""

    def __init__(self, config: Config, client: httpx.AsyncClient) -> None:
        self.queues = {name: found.make() for name, found in config.queues.items()}
        self.operator = Operator(self.queues.values())
        self._client = client

    async def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await self._client.get('/ready')).is_success
        return False

    async def worker(self, name: str, but: int | None = None) -> WorkerView | None:
        """The one of a section that lives, in another process than `but`."""
        for worker in await self.operator.workers():
            if worker.name.startswith(f'{name}-') and worker.state == 'running' and worker.pid != but:
                return worker
        return None

    async def read_metrics(self) -> dict[tuple[str, ...], float]:
        """All samples, of processes and of queues, as Prometheus reads them: by their names and values of labels."""
        of_processes = (await self._client.get('/metrics')).text
        command = [*TORRELQUE, 'metrics', *FILE]
        told = await asyncio.to_thread(subprocess.run, command, cwd=FOLDER, stdout=subprocess.PIPE, check=True)
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for text in (of_processes, told.stdout.decode())
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


async def watch_work(shop: Shop) -> bool:
    """Have both workers do something; whether Prometheus is told of all of it."""
    from mails import app, send

    async with app:
        mails = [await send.enqueue(f'ann{number}@example.com') for number in range(MAILS)]
        for number in range(IMAGES):
            await shop.queues['image'].enqueue({'image': f'{number}.png'})
        for mail in mails:
            await mail.result(timeout=PATIENCE)
    say('work', f'{MAILS} mails are sent, each at its second attempt')

    # Labels in the order of their names: outcome, queue, task.  Workers tell at their next beat.
    wanted: dict[tuple[str, ...], float] = {
        ('torrelque_attempts_total', 'retried', 'mail', 'send'): MAILS,
        ('torrelque_attempts_total', 'succeeded', 'mail', 'send'): MAILS,
        ('torrelque_attempts_total', 'succeeded', 'image', '*none'): IMAGES,
        ('torrelque_workers', 'mail', 'live'): 1,
        ('torrelque_workers', 'image', 'live'): 1,
    }

    async def read() -> dict[tuple[str, ...], float] | None:
        samples = await shop.read_metrics()
        return samples if wanted.items() <= samples.items() else None

    samples = await until(read)
    names = {name for name, *_ in samples}
    say('metrics', f'{len(samples)} samples of {len(names)} names, by the parser of Prometheus; among them')
    for name, *labels in wanted:
        say('', f'  {samples[(name, *labels)]:3.0f}  {name} {" ".join(labels)}')
    return {'torrelque_process_slots', 'torrelque_oldest_pending_age_seconds'} <= names


async def watch_kill(shop: Shop, heard: 'queue.Queue[dict[str, Any]]') -> bool:
    """Kill a worker; whether the webhook hears of it in time, and another process takes its place."""
    worker = await until(lambda: shop.worker('mail'))
    os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    say('kill -9', worker.name)
    successor = await until(lambda: shop.worker('mail', worker.pid))
    say('', f'{successor.name} is in its place after {time.monotonic() - killed:.0f} s')
    while time.monotonic() - killed < PATIENCE:
        with contextlib.suppress(queue.Empty):
            notice = heard.get_nowait()
            say('webhook', notice['text'].partition('; ')[0])
            if (notice['state'], notice['rule'], notice['queue']) == ('firing', 'stuck', 'mail'):
                say('', f'that was {time.monotonic() - killed:.0f} s after it')
                return True
        await asyncio.sleep(0.1)
    say('webhook', f'has heard nothing of it for {PATIENCE} s')
    return False


# The trace


async def watch_trace() -> bool:
    """Order something; whether the trace leads from the request through a retry to the end."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    from orders import app, site

    FastAPIInstrumentor.instrument_app(site, exclude_spans=['receive', 'send'])
    async with entered(site), httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url='http://shop') as client:
        answer = await client.post('/orders', json={'thing': 'kettle'})
        say('request', f'POST /orders: {answer.status_code}, {answer.json()}')
        say('result', str(await app.handle(answer.json()['task']).result(timeout=PATIENCE)))
    drawn = [*draw(spans.get_finished_spans())]
    for number, (depth, text) in enumerate(drawn):
        say('' if number else 'trace', '  ' * depth + text)
    return drawn == [
        (0, 'POST /orders'),
        (1, 'enqueue order'),
        (2, '~ process order, attempt 1: retried, ConnectionError'),
        (3, 'ask the bank'),
        (2, '~ process order, attempt 2: released'),
        (3, 'ask the bank'),
    ]


@contextlib.asynccontextmanager
async def entered(site: Any) -> AsyncIterator[None]:
    """What a web server does around all requests: here, it is the worker of orders."""
    async with site.router.lifespan_context(site):
        yield


def draw(spans: Sequence[ReadableSpan], above: int | None = None, depth: int = 0) -> Iterator[tuple[int, str]]:
    """The spans below one, in their order: its children, and ``~`` those that have a link to it."""
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        higher = {link.context.span_id for link in span.links}
        if not (above in higher if higher else above == (span.parent.span_id if span.parent else None)):
            continue
        has = span.attributes or {}
        text = span.name
        if attempt := has.get('messaging.torrelque.attempt'):
            ended = [str(has[name]) for name in ('messaging.torrelque.outcome', 'error.type') if name in has]
            text = f'~ {text}, attempt {attempt}: {", ".join(ended)}'
        yield depth, text
        yield from draw(spans, span.context.span_id if span.context else None, depth + 1)


# All of it


async def show(heard: 'queue.Queue[dict[str, Any]]', port: int) -> bool:
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    client = httpx.AsyncClient(base_url=f'http://127.0.0.1:{port}', trust_env=False, timeout=PATIENCE)
    async with Config.load(FOLDER / 'torrelque.toml') as config, client:
        begun = time.monotonic()
        shop = Shop(config, client)
        await until(shop.is_ready)
        say('ready', f'{" and ".join(config.workers)}, after {time.monotonic() - begun:.1f} s')
        # Apps that name no server are on this one, when they are imported from here on.
        os.environ['TORRELQUE_URL'] = config.sections.server.url or ''
        looks = {
            'metrics': await watch_work(shop), 'alert': await watch_kill(shop, heard), 'trace': await watch_trace()
        }  # fmt: skip
    print()
    for name, well in looks.items():
        say(name, 'yes' if well else 'NO')
    return all(looks.values())


def main() -> None:
    argparse.ArgumentParser(
        prog='python example/monitored', description=(__doc__ or '').partition('\n')[0]
    ).parse_args()
    logging.getLogger('torrelque.worker').setLevel(logging.ERROR)  # a failure belongs to the story
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='monitored-')))
        webhook, heard = stack.enter_context(listening())
        port, probes = find_ports(2)
        # The file says it all; a server, a queue or a file of whoever starts this is not meant.
        for name in [name for name in os.environ if name == 'REDIS_URL' or name.startswith('TORRELQUE_')]:
            del os.environ[name]
        os.environ.update(PORT=str(port), HEALTH_PORT=str(probes), OPS_WEBHOOK=webhook, DATA=str(folder / 'data'))
        log = folder / 'log'
        stack.enter_context(running(log))
        say('run', f'torrelque run -c torrelque.toml; server at port {port}, probes at http://127.0.0.1:{probes}')
        try:
            well = asyncio.run(show(heard, probes))
        except Exception:
            print(log.read_text(), file=sys.stderr)
            raise
        if not well:
            sys.exit(1)
