"""Pages of a worker's health: what they say of it, and that nobody who asks does it any harm."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from support.bounding import Bound
from support.pages import Page, fetch, get, get_until
from support.servers import MakeServer, RealServer
from support.waiting import until
from torrelque import Torrelque, TorrelqueTypeError, TorrelqueValueError
from torrelque.monitor import Metrics, serve_health
from torrelque.worker import Delivery, ThreadWorker, Worker

pytestmark = pytest.mark.one_server
ANY = '127.0.0.1:0'
OPEN = 'application/openmetrics-text'


async def well(delivery: Delivery) -> None:
    pass


def hurried(monkeypatch: pytest.MonkeyPatch, bound: Bound) -> None:
    """Have a worker ask often, and be not ready soon."""
    bound(claim_patience=0.05)
    monkeypatch.setattr('torrelque.monitor.judging.CLAIM', 0.5)


async def test_a_worker_is_ready_once_it_has_begun_and_a_claim_was_answered(queue: Torrelque) -> None:
    worker = Worker(queue, well)
    async with serve_health(worker, ANY) as server:
        assert await get(server.url + 'live') == (200, 'ok\n')
        for path in ('ready', 'started'):
            assert await get(server.url + path) == (503, 'process 1: the worker has not begun\n')
        async with worker:
            assert await get_until(server.url + 'ready', 200) == (200, 'ok\n')
            assert await get(server.url + 'started') == (200, 'ok\n')
        assert await get(server.url + 'ready') == (503, 'process 1: the worker is stopped\n')
        assert (await get(server.url + 'live')).status == 200
    assert await get(server.url + 'live') == Page(0)


async def test_a_worker_that_waits_for_tasks_hears_that_it_is_answered(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    hurried(monkeypatch, worker_bound)
    worker = Worker(queue, well)
    async with serve_health(worker, ANY) as server, worker:
        await get_until(server.url + 'ready', 200)
        await asyncio.sleep(0.6)
        assert (await get(server.url + 'ready')).status == 200


@pytest.mark.long
async def test_a_worker_that_claims_nothing_is_live_and_not_ready(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    hurried(monkeypatch, worker_bound)
    server = make_server()
    async with server.client() as client, Torrelque(client) as queue:
        worker = Worker(queue, well)
        async with serve_health(worker, ANY) as pages, worker:
            await get_until(pages.url + 'ready', 200)
            server.pause()
            page = await get_until(pages.url + 'ready', 503)
            assert 'process 1: no claim of the worker was answered for' in page.text
            assert [(await get(pages.url + path)).status for path in ('live', 'started')] == [200, 200]
            server.resume()
            await get_until(pages.url + 'ready', 200)


@pytest.mark.long
async def test_a_server_that_is_restarted_makes_nobody_less_live(
    durable_server: RealServer, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    hurried(monkeypatch, worker_bound)
    async with durable_server.client() as client, Torrelque(client) as queue:
        worker = Worker(queue, well)
        async with serve_health(worker, ANY) as pages, worker:
            await get_until(pages.url + 'ready', 200)
            durable_server.kill()
            await get_until(pages.url + 'ready', 503)
            assert (await get(pages.url + 'live')).status == 200
            durable_server.start()
            await get_until(pages.url + 'ready', 200)


async def test_a_worker_all_of_whose_places_are_in_use_is_ready(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    hurried(monkeypatch, worker_bound)
    done = asyncio.Event()

    async def wait(delivery: Delivery) -> None:
        await done.wait()

    worker = Worker(queue, wait, concurrency=1)
    async with serve_health(worker, ANY) as pages, worker:
        await queue.enqueue(1)
        await until(lambda: worker.health().busy)
        await asyncio.sleep(0.6)
        assert await get(pages.url + 'ready') == (200, 'ok\n')
        # Its place is free from now on, and the first claim since then is not answered yet.
        done.set()
        await until(lambda: not worker.health().busy)
        assert await get(pages.url + 'ready') == (200, 'ok\n')


async def test_a_worker_that_waits_for_its_own_rate_is_ready(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, worker_bound: Bound
) -> None:
    hurried(monkeypatch, worker_bound)
    worker = Worker(queue, well, rate=(1, 100))
    async with serve_health(worker, ANY) as pages, worker:
        await queue.enqueue(1)
        await until(lambda: worker.health().succeeded and worker.health().throttled)
        await asyncio.sleep(0.6)
        assert (await get(pages.url + 'ready')).status == 200


async def test_an_event_loop_that_stood_still_is_not_live_for_a_while(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.monitor.pulse.LOOK', 0.02)
    monkeypatch.setattr('torrelque.monitor.pulse.MEMORY', 1.0)
    worker = Worker(queue, well)
    async with serve_health(worker, ANY, stall=0.5) as pages, worker:
        asking = asyncio.get_running_loop().run_in_executor(None, fetch, pages.url + 'live', 0.2)
        time.sleep(0.6)  # noqa: ASYNC251 - it is what is tested
        # Whoever asked meanwhile has given up.
        assert await asking == Page(0)
        page = await get(pages.url + 'live')
        assert page == (503, 'process 1: its event loop has stood still for 1 s\n')
        assert (await get_until(pages.url + 'live', 200)).text == 'ok\n'


async def test_health_json_tells_all_that_is_known(queue: Torrelque) -> None:
    worker = Worker(queue, well, name='mine', concurrency=3)
    async with serve_health(worker, ANY) as pages, worker:
        await queue.enqueue(1)
        await until(lambda: worker.health().succeeded)
        told: dict[str, Any] = json.loads((await get(pages.url + 'health.json')).text)
        assert (told['live'], told['ready'], told['started'], told['amiss']) == (True, True, True, [])
        (process,) = told['processes']
        health = process.pop('health')
        assert {name: health[name] for name in ('name', 'state', 'healthy', 'concurrency', 'queues')} == {
            'name': 'mine', 'state': 'running', 'healthy': True, 'concurrency': 3, 'queues': [queue.name],
        }  # fmt: skip
        assert health['claimed'] is not None
        assert process.keys() == {'process', 'silent', 'begun', 'stall', 'idle', 'attempts', 'name'}
        assert process['attempts'] == {'': [1, 0, 0, 0]}


@pytest.mark.parametrize('heartbeat', [None, pytest.param(0.05, marks=pytest.mark.long)])
async def test_metrics_are_those_of_the_process(queue: Torrelque, heartbeat: float | None) -> None:
    async def handle(delivery: Delivery) -> None:
        if delivery.task == 'dies' or delivery.task == 'comes again' and delivery.attempt == 1:
            raise ValueError(delivery.task)

    worker = Worker(queue, handle, concurrency=3, heartbeat=heartbeat, retry=lambda error, attempt: 0.0)
    async with serve_health(worker, ANY) as pages, worker:
        await queue.enqueue('well')
        await queue.enqueue('comes again')
        await queue.enqueue('dies', max_attempts=1)
        await until(lambda: worker.health().succeeded == 2 and worker.health().dead == 1)
        if heartbeat is not None:
            await asyncio.sleep(3 * heartbeat)  # what is sent to the server is counted here all the same
        text = (await get(pages.url + 'metrics')).text
    found = {(sample.name, sample.labels.get('outcome')): sample for one in parse(text) for sample in one.samples}
    assert {name.removeprefix('torrelque_process_') for name, _ in found} == {
        'slots', 'busy', 'lag_seconds', 'claim_age_seconds', 'resident_bytes', 'attempts_total',
    }  # fmt: skip
    assert {sample.labels['process'] for sample in found.values()} == {'1'}
    # As in the metrics of queues.
    assert {sample.labels['task'] for (_, outcome), sample in found.items() if outcome} == {'*none'}
    assert found['torrelque_process_slots', None].value == 3
    counts = {outcome: sample.value for (_, outcome), sample in found.items() if outcome}
    assert counts == {'succeeded': 2, 'retried': 1, 'dead': 1, 'lost': 0}


@pytest.mark.parametrize('accept', ['*/*', f'{OPEN}; version=1.0.0', f'{OPEN};version=x'])
async def test_metrics_of_queues_stand_beside_those_of_the_process(queue: Torrelque, accept: str) -> None:
    worker = Worker(queue, well, concurrency=3)
    async with serve_health(worker, ANY, metrics=Metrics(queue)) as pages, worker:
        await queue.enqueue_many([1, 2], delay=60)
        text = (await get(pages.url + 'metrics', accept=accept)).text
        scale = json.loads((await get(pages.url + 'scale.json')).text)
    read = parse_open if text.endswith('# EOF\n') else parse
    samples = [sample for one in read(text) for sample in one.samples]
    found = {one.name: one.value for one in samples if one.labels.get('status') in (None, 'delayed')}
    assert (read is parse_open) == accept.endswith('1.0.0')
    assert (found['torrelque_process_slots'], found['torrelque_up'], found['torrelque_tasks']) == (3, 1, 2)
    assert scale['useful'] == 0


async def test_metrics_say_which_package_they_need(queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_health(Worker(queue, well), ANY) as pages:
        assert (await get(pages.url + 'metrics')).status == 200
        monkeypatch.setitem(sys.modules, 'prometheus_client', None)
        page = await get(pages.url + 'metrics')
    assert page == (501, "metrics need prometheus-client, of the extra 'monitor': pip install 'torrelque[monitor]'\n")


# Whoever asks


async def test_only_what_reads_is_answered(queue: Torrelque) -> None:
    async with serve_health(Worker(queue, well), ANY) as pages:
        for path in ('live', 'health.json', 'metrics'):
            assert (await get(pages.url + path, method='HEAD')) == (200, '')
            assert (await get(pages.url + path, method='POST')).status == 405
        assert (await get(pages.url + 'nothing')).status == 404
        assert '/health.json' in (await get(pages.url)).text


async def raw(port: int, text: bytes) -> bytes:
    """What comes until the connection ends."""
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    try:
        writer.write(text)
        return await reader.read()
    except ConnectionError:
        return b''
    finally:
        writer.close()


async def test_a_client_that_is_slow_or_sends_too_much_is_cut(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr('torrelque.monitor.connection.LIFE', 0.3)
    async with serve_health(Worker(queue, well), ANY) as pages:
        assert await raw(pages.port, b'GET /live HTTP/1.1\r\nHost: x\r\n') == b''
        assert (await raw(pages.port, b'GET /' + b'x' * 100_000)).partition(b'\r\n')[0][:12] in (b'', b'HTTP/1.1 400')
        assert (await raw(pages.port, b'\0\r\n\r\n')).startswith(b'HTTP/1.1 400')
        # An answer is the last of its connection, whatever was asked for.
        twice = b'GET /live HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n' * 2
        assert (await raw(pages.port, twice)).count(b'HTTP/1.1 200') == 1
        assert (await get(pages.url + 'live')).status == 200
    assert [record for record in caplog.records if record.name != 'asyncio'] == []


async def test_a_probe_is_answered_however_many_connections_others_hold(
    queue: Torrelque, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('torrelque.monitor.connection.CONNECTIONS', 5)
    async with serve_health(Worker(queue, well), ANY) as pages:
        held = [await asyncio.open_connection('127.0.0.1', pages.port) for _ in range(20)]
        assert (await get(pages.url + 'live')).status == 200
        # The oldest were cut for those that came after them.
        assert await held[0][0].read() == b''
        for _, writer in held:
            writer.close()


async def test_a_port_that_is_taken_is_an_error_before_anything_begins(queue: Torrelque) -> None:
    async with serve_health(Worker(queue, well), ANY) as pages:
        other = Worker(queue, well)
        with pytest.raises(OSError, match='in use'):
            async with serve_health(other, f'127.0.0.1:{pages.port}'):
                raise AssertionError('it was entered')
        assert other.on_ready is None


@pytest.mark.parametrize('bind', ['8080', 'here', '127.0.0.1:70000', '[::1:80', 80])
async def test_what_is_no_address_is_refused(queue: Torrelque, bind: Any) -> None:
    with pytest.raises((TorrelqueValueError, TorrelqueTypeError), match='bind must be an address'):
        async with serve_health(Worker(queue, well), bind):
            pass


async def test_only_a_worker_of_an_event_loop_is_served(queue: Torrelque) -> None:
    worker: Any = ThreadWorker(queue, well)
    with pytest.raises(TorrelqueTypeError, match='worker must be a Worker, not ThreadWorker'):
        async with serve_health(worker, ANY):
            pass


async def test_what_was_to_be_called_when_the_worker_begins_is_called(queue: Torrelque) -> None:
    worker, begun = Worker(queue, well), asyncio.Event()
    worker.on_ready = begun.set
    async with serve_health(worker, ANY) as pages, worker:
        await begun.wait()
        assert (await get(pages.url + 'started')).status == 200


def test_nothing_is_imported_that_is_not_asked_for() -> None:
    program = (
        'import sys, torrelque.monitor; dir(torrelque.monitor); import torrelque.worker, torrelque.tasks; '
        'print(*sorted({"starlette", "uvicorn", "prometheus_client"} & {*sys.modules}), '
        '*[name for name in sys.modules if name.startswith("torrelque.monitor.")])'
    )
    told = subprocess.run([sys.executable, '-c', program], check=True, capture_output=True, text=True).stdout
    assert told.split() == []


def test_a_name_that_is_not_there_is_an_error() -> None:
    import torrelque.monitor

    assert {'serve_health', 'HealthServer'} <= {*dir(torrelque.monitor)}
    with pytest.raises(AttributeError, match=r"module 'torrelque\.monitor' has no attribute 'nothing'"):
        torrelque.monitor.nothing  # noqa: B018
