"""An exporter within other applications, and a collector within a registry."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import fastapi
import httpx
import prometheus_client
import pytest
import starlette.applications

from support.measuring import OPEN, lasting, samples_of, value
from support.servers import RealServer
from support.serving import serving
from support.topology import Cluster
from torrelque import Torrelque, TorrelqueError
from torrelque.monitor import Metrics
from torrelque.operate import Operator
from torrelque.tasks import Tasks

pytestmark = pytest.mark.first_server


async def test_it_answers_wherever_it_is_mounted(queue: Torrelque) -> None:
    await queue.enqueue(1)
    app, metrics = fastapi.FastAPI(), Metrics(queue)
    app.mount('/metrics', metrics)
    app.mount('/ops', metrics)
    app.add_route('/exact', metrics)  # type: ignore[arg-type]

    @app.get('/else')
    def other() -> str:
        return 'else'

    async with serving(app) as url, httpx.AsyncClient(base_url=url, follow_redirects=True) as reader:
        for path in '/metrics', '/metrics/', '/metrics/metrics', '/ops/metrics', '/ops':
            answer = await reader.get(path)
            assert value(samples_of(answer.content), 'up', queue=queue.name) == 1, path
            assert answer.headers['content-type'].startswith('text/plain; version=0.0.4')
            assert answer.headers['cache-control'] == 'no-store'
        answer = await reader.get('/metrics', headers={'accept': OPEN})
        assert answer.headers['content-type'].startswith('application/openmetrics-text; version=1.0.0')
        assert value(samples_of(answer.content, OPEN), 'up', queue=queue.name) == 1
        for strange in 'application/openmetrics-text;version=x', 'nothing', '*/*':
            assert (await reader.get('/metrics/', headers={'accept': strange})).status_code == 200
        told = (await reader.get('/ops/scale.json')).json()
        assert told == {**told, 'pending': 1, 'working': 0, 'ready': 1, 'useful': 1, 'slots': 0, 'exact': True}
        assert (await reader.get('/ops/scale.json?q=nope')).status_code == 404
        assert (await reader.get('/ops/nope')).status_code == 404
        assert (await reader.post('/metrics/')).status_code == 405
        assert (await reader.get('/else')).json() == 'else'
    await metrics.aclose()


async def test_it_ends_with_the_server_that_it_is_the_application_of(server: RealServer, queue_name: str) -> None:
    made: list[Torrelque] = []

    def make() -> Torrelque:
        made.append(Torrelque(server.client(), queue=queue_name))
        return made[-1]

    metrics = Metrics(make)
    messages = [{'type': 'lifespan.startup'}, {'type': 'lifespan.shutdown'}]
    sent: list[str] = []

    async def receive() -> Any:
        if len(messages) == 1:
            await metrics.exposition()
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message['type'])

    await metrics({'type': 'lifespan'}, receive, send)
    assert sent == ['lifespan.startup.complete', 'lifespan.shutdown.complete']
    [queue] = made
    with pytest.raises(TorrelqueError, match='closed'):
        await queue.enqueue(1)
    # Whoever asks again has it begin anew.
    await metrics.exposition()
    await metrics.aclose()
    assert len(made) == 2
    for one in made:
        await one.client.aclose()


async def test_a_starlette_application_has_it_as_a_route(queue: Torrelque) -> None:
    app = starlette.applications.Starlette()
    app.add_route('/metrics', Metrics(queue))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://it') as reader:
        assert b'torrelque_up' in (await reader.get('/metrics')).content


async def test_a_collector_reads_beside_an_event_loop_and_its_exporter(queue: Torrelque) -> None:
    await queue.enqueue(1)
    metrics = Metrics(queue, groups=['acme'])
    collector = metrics.collector()
    registry = prometheus_client.CollectorRegistry(auto_describe=True)
    registry.register(collector)
    with pytest.raises(ValueError, match='torrelque_up'):
        registry.register(metrics.collector())
    # In the thread of the event loop that the queue object belongs to, which stands still meanwhile; and in another.
    here = samples_of(prometheus_client.generate_latest(registry))
    there = samples_of(await asyncio.to_thread(prometheus_client.generate_latest, registry))
    text, _ = await metrics.exposition()
    assert lasting(here) == lasting(there) == lasting(samples_of(text))
    collector.close()
    assert samples_of(prometheus_client.generate_latest(registry))
    collector.close()
    collector.close()
    await metrics.aclose()


async def test_an_app_and_what_it_shares_a_queue_with(server: RealServer, queue_name: str) -> None:
    app = Tasks.from_url(server.url, queue=queue_name)

    @app.task
    def send(word: str) -> str:
        return word

    async with server.client() as client, Torrelque(client, queue='other') as other:
        before = len(await client.client_list())
        metrics = Metrics(iter([app, other]))
        await send.enqueue('a')
        told = samples_of((await metrics.exposition())[0])
        assert value(told, 'tasks', queue=queue_name, status='pending') == 1
        assert value(told, 'up', queue='other') == 1
        assert (await metrics.scale()).useful == 1
        assert (await metrics.scale('other')).useful == 0
        await metrics.aclose()
        await app.aclose()
        await other.aclose()
        # It has used the app's own objects, which the app has closed.
        while len(await client.client_list()) > before:
            await asyncio.sleep(0.01)


def test_an_app_of_which_it_was_made_before_there_was_a_loop_is_closed_with_all_of_it(
    server: RealServer, queue_name: str
) -> None:
    app = Tasks.from_url(server.url, queue=queue_name)
    metrics = Metrics(app)

    async def main() -> None:
        async with server.client() as client:
            before = len(await client.client_list())
            for _ in range(2):
                assert f'torrelque_up{{queue="{queue_name}"}} 1.0' in (await metrics.exposition())[0].decode()
                await metrics.aclose()
                await app.aclose()
                while len(await client.client_list()) > before:
                    await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))


PROGRAM = """
import os
import sys
import threading

{without}
import prometheus_client
from torrelque.monitor import Metrics
from torrelque.tasks import Tasks

app = Tasks.from_url(queue={queue!r})


@app.task
def send(word):
    return word


send.push('a')
collector = Metrics(app).collector()
prometheus_client.REGISTRY.register(collector)


def pending():
    found = [s.value for m in collector.collect() for s in m.samples
             if s.name == 'torrelque_tasks' and s.labels['status'] == 'pending']
    return found


print('parent', pending(), *sorted(thread.name for thread in threading.enumerate()), flush=True)
if not (pid := os.fork()):
    try:
        print('child', pending(), flush=True)
        text = prometheus_client.generate_latest()
        print('child', text.count(b'torrelque_up{{'), b'process_' in text, flush=True)
    finally:
        os._exit(0)
os.waitpid(pid, 0)
print('again', pending(), flush=True)
"""


@pytest.mark.long
def test_a_synchronous_program_and_its_fork_have_a_collector_without_starlette(
    server: RealServer, queue_name: str
) -> None:
    without = "for name in ('starlette', 'uvicorn', 'jinja2', 'fastapi'):\n    sys.modules[name] = None"
    program = PROGRAM.format(queue=queue_name, without=without)
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-W', 'ignore::DeprecationWarning', '-c', program], capture_output=True,
        text=True, env={'REDIS_URL': server.url, 'PYTHONPATH': '.'}, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ''
    parent, *rest = done.stdout.splitlines()
    assert parent == 'parent [1.0] MainThread torrelque metrics torrelque tasks'
    assert rest == ['child [1.0]', 'child 1 True', 'again [1.0]']


@pytest.mark.long
async def test_a_cluster_is_read_by_a_function_that_makes_the_queues(cluster: Cluster) -> None:
    async with cluster.client() as client, Torrelque(client, queue='mail') as queue:
        await queue.enqueue(1)
        with pytest.raises(TorrelqueError, match='give Metrics a function that makes the queues'):
            Metrics(queue).collector()
        collector = Metrics(lambda: Torrelque(cluster.client(), queue='mail')).collector()
        told = samples_of(await asyncio.to_thread(
            lambda: prometheus_client.generate_latest(_registry(collector))
        ))  # fmt: skip
        assert value(told, 'tasks', queue='mail', status='pending') == 1
        assert (await Operator(queue).scale()).useful == 1
        collector.close()


def _registry(collector: Any) -> prometheus_client.CollectorRegistry:
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)
    return registry
