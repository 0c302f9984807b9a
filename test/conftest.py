"""Fixtures: a real server of each selected kind, clients and a queue of the test's own on it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import logging
import os
import re
import secrets
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.utils

from support.abroad import Pair
from support.acting import Commands
from support.alerting import AlertClock
from support.bounding import Bound, bind, bind_workers, rebind
from support.commanding import Folder
from support.configuring import Desk
from support.explaining import Hire
from support.processes import hear_signals_in_children
from support.proxy import Proxy, open_proxy
from support.servers import MakeServer, MissingServerError, RealServer, binary_of, free_port, selected_kinds
from support.sharding import open_cluster, open_servers
from support.standing import START, Either, StandingClock, open_either
from support.topology import Cluster, Sentinel, start_cluster, start_sentinel
from torrelque import Torrelque
from torrelque.operate import WorkerView
from torrelque.operate.crew import Found
from torrelque.protocol.bounds import BOUNDS, Bounds
from torrelque.sharded import Sharded
from torrelque.worker.bounds import Bounds as WorkerBounds

pytest_plugins = ['pytester', 'support.choosing']
# The assertions of the machine tell what differs, as those of a test do.
pytest.register_assert_rewrite('model.machine', 'model.machine_calls', 'model.machine_door', 'model.machine_faults')


def pytest_configure() -> None:
    """A server that is asked for and missing fails the run: a skip would go unseen."""
    hear_signals_in_children()
    # Each client asks, and redis-py reads a file each time: a fifth of what a test costs before it begins.
    redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)
    # Until all tests are collected: there are very many, and none of them is garbage.
    gc.disable()
    try:
        for kind in selected_kinds():
            binary_of(kind)
    except MissingServerError as exc:
        raise pytest.UsageError(str(exc)) from exc


def pytest_collection(session: pytest.Session) -> None:
    """Where all is collected, each worker of pytest-xdist begins with a share of the modules of its own.

    In a fresh checkout a module is compiled then by one of them, and the others find what it was compiled to.
    """
    worker: dict[str, Any] | None = getattr(session.config, 'workerinput', None)
    if worker and [Path(arg).resolve() for arg in session.config.args] == [Path(__file__).parent]:
        paths = sorted(Path(__file__).parent.rglob('test_*.py'))
        for path in paths[int(worker['workerid'].removeprefix('gw')) :: worker['workercount']]:
            with suppress(pytest.Collector.CollectError, pytest.skip.Exception):  # which the collection tells
                _ = pytest.Module.from_parent(session, path=path).obj


def pytest_collection_finish() -> None:
    """From here on the garbage collector, and whoever asks it for all objects, sees those of the tests that run alone.

    What was collected is some 400,000 objects, which would be looked through each time.
    """
    gc.freeze()
    gc.enable()


if os.environ.get('TORRELQUE_TEST_LOOP') == 'uvloop':
    import uvloop

    def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
        return {'uvloop': uvloop.new_event_loop}


@pytest.fixture(scope='session', params=selected_kinds())
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='session')
def shared_server(server_kind: str) -> Iterator[RealServer]:
    """One process for each kind and each worker of pytest-xdist; `server` is how a test gets it."""
    with RealServer(server_kind) as server:
        yield server


@pytest.fixture(scope='session')
def _flushing_client(shared_server: RealServer) -> Iterator[redis.Redis]:
    with shared_server.sync_client() as client:
        yield client


@pytest.fixture
def server(shared_server: RealServer, _flushing_client: redis.Redis) -> RealServer:
    """The shared server, emptied.  Leave its process and settings alone: that is what `make_server` is for."""
    _flushing_client.flushall()
    return shared_server


@pytest.fixture(scope='session')
def _shared_plain_server(server_kind: str) -> Iterator[RealServer]:
    with RealServer(server_kind, {'notify-keyspace-events': '""'}) as server:
        yield server


class _Lines(logging.Handler):
    """Keeps the lines of the package's log that break its rules."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        named = re.findall(r"queue '[^']*'", line)
        # Layers, whose loggers are children of this one, have lines that are about no queue.
        nameless = record.name == 'torrelque' and not (named or re.search(r'\bthe server\b(?! is back| to come)', line))
        if nameless or len({*named}) < len(named):
            self.bad.append(line)


@pytest.fixture(autouse=True)
def _lines_name_their_queue() -> Iterator[None]:
    """Each line that the core logs in a test names its queue or its server, and no line names a queue twice."""
    handler, logger = _Lines(), logging.getLogger('torrelque')
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert handler.bad == []


@pytest.fixture
def plain_server(_shared_plain_server: RealServer) -> RealServer:
    """As `server`, one that sends no notifications, as in its default configuration.  Its setting may be changed."""
    with _shared_plain_server.sync_client() as client:
        client.flushall()
        client.config_set('notify-keyspace-events', '')
    return _shared_plain_server


@pytest.fixture
def make_server(server_kind: str) -> Iterator[MakeServer]:
    with ExitStack() as stack:

        def make(
            config: Mapping[str, str] | None = None,
            *,
            directory: Path | None = None,
            tcp: bool = False,
        ) -> RealServer:
            port = {'port': str(free_port())} if tcp else {}
            return stack.enter_context(RealServer(server_kind, {**port, **(config or {})}, directory=directory))

        yield make


@pytest.fixture
def durable_server(make_server: MakeServer, tmp_path: Path) -> RealServer:
    """A server of the test's own that keeps all that it has acknowledged when it is killed."""
    return make_server({'appendfsync': 'always'}, directory=tmp_path)


@pytest.fixture
async def client(server: RealServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with server.client() as client:
        yield client


@pytest.fixture
def queue_name(request: pytest.FixtureRequest) -> str:
    """Tells the test's name, for whoever looks at the keys."""
    return f'{request.node.originalname}-{secrets.token_hex(3)}'


@pytest.fixture
async def queue(client: redis.asyncio.Redis, queue_name: str) -> AsyncIterator[Torrelque]:
    async with Torrelque(client, queue=queue_name) as queue:
        yield queue


@pytest.fixture
async def standing(client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """A clock of the server that stands still, for the queue objects that are made after it."""
    clock = StandingClock(client, monkeypatch)
    await clock.set(START)
    return clock


@pytest.fixture
async def alert_clock(client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> AlertClock:
    """A clock of alerts that stands still; what they measure has the server's own."""
    clock = AlertClock(client, monkeypatch)
    await clock.set(START)
    return clock


@pytest.fixture(params=['aio', 'sync'])
async def either(
    request: pytest.FixtureRequest, server: RealServer, client: redis.asyncio.Redis, standing: StandingClock
) -> AsyncIterator[Either]:
    """A queue 'scheduled' on that clock: once the asynchronous one, once the synchronous one."""
    async for either in open_either(request.param, server, client, 'scheduled'):
        yield either


@pytest.fixture(params=['aio', pytest.param('sync', marks=pytest.mark.long)])
async def pair(
    request: pytest.FixtureRequest, server: RealServer, client: redis.asyncio.Redis, standing: StandingClock
) -> AsyncIterator[Pair]:
    """The queues 'home' and 'other' on that clock, of one kind."""
    async for home in open_either(request.param, server, client, 'home'):
        async for other in open_either(request.param, server, client, 'other'):
            yield Pair(home, other, client, standing)


@pytest.fixture
def folder(server: RealServer, queue_name: str, tmp_path: Path) -> Folder:
    """A folder for an application that is started by command, on the server and the queue of the test."""
    return Folder(tmp_path, server, queue_name)


@pytest.fixture
def command(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    """Commands of the command line in the process of the test, on its server and its queue."""
    return Commands(server, queue_name, monkeypatch, capsys)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A current directory, for files of settings."""
    return Desk(tmp_path, monkeypatch)


@pytest.fixture
async def hire(client: redis.asyncio.Redis, queue: Torrelque, monkeypatch: pytest.MonkeyPatch) -> Hire:
    """A function that has workers of the test's making tell of themselves, to whoever explains; none at first."""
    await client.zadd(queue.keys['workers'], {'any': 1})

    def change(*workers: WorkerView) -> None:
        async def read(_queue: Torrelque, _running: bool = True) -> list[WorkerView]:
            return [dataclasses.replace(one, queue=queue.name) for one in workers]

        async def find(_queue: Torrelque, _texts: object, _most: int = 0) -> Found:
            found = await read(_queue)
            return found, frozenset(one.name for one in found)

        async def longest(_queue: Torrelque) -> dict[str, float]:
            return {one.name: one.running[0].since for one in await read(_queue) if one.running}

        monkeypatch.setattr('torrelque.operate.crew.read_workers', read)
        monkeypatch.setattr('torrelque.operate.crew.find_workers', find)
        monkeypatch.setattr('torrelque.operate.crew.longest', longest)

    change()
    return change


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not wait for tasks waits for the answer of a server that a busy machine keeps from answering.

    In a test of a server that does not answer, `hasty` sets this back.
    """
    bind(monkeypatch, grace=20.0)


@pytest.fixture
def bound(_patient: None, monkeypatch: pytest.MonkeyPatch) -> Bound:
    """A function that gives the queue objects of the test other limits and times, those that it has already too."""
    def change(**limits: Any) -> None:
        bind(monkeypatch, **limits)
        rebind(Bounds, **limits)

    return change


@pytest.fixture
def worker_bound(monkeypatch: pytest.MonkeyPatch) -> Bound:
    """A function that gives the workers of the test other limits and times, those that it has already too.

    They are those of the process of the test: a worker in another process has its own.
    """
    def change(**limits: Any) -> None:
        bind_workers(monkeypatch, **limits)
        rebind(WorkerBounds, **limits)

    return change


@pytest.fixture
def hasty(bound: Bound) -> None:
    """Whoever does not wait for tasks gives up a server that does not answer, as it is outside tests."""
    bound(grace=BOUNDS.grace)


@pytest.fixture
def endless(bound: Bound) -> None:
    """Nobody's block at the bell ends by itself: whoever is served within any test's patience was woken.

    Shorter than a lease, because whoever blocks is told of what is due before the block ends.  Nor is a connection
    given up on which a call goes unanswered for long.
    """
    bound(block=200.0, guard_looks=200, repeat=1e6)


@pytest.fixture
async def proxy(server: RealServer) -> AsyncIterator[Proxy]:
    """A faulty line to the server."""
    async with open_proxy(server) as proxy:
        yield proxy


@pytest.fixture(scope='session')
def _shared_cluster(server_kind: str) -> Iterator[Cluster]:
    with start_cluster(server_kind) as cluster:
        yield cluster


@pytest.fixture
async def cluster(_shared_cluster: Cluster) -> AsyncIterator[Cluster]:
    """Three primaries, shared by the tests of one worker, emptied.  A slot that is moved stays where it is."""
    _shared_cluster.flush()
    yield _shared_cluster
    # A cluster client forgets, and does not close, the nodes that it replaces when a slot has moved.  Collected here,
    # their complaints do not hit another test.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ResourceWarning)
        gc.collect()


@pytest.fixture
async def sentinel(server_kind: str) -> AsyncIterator[Sentinel]:
    """A primary, a replica and a Sentinel of the test's own."""
    with start_sentinel(server_kind) as sentinel:
        yield sentinel
        await sentinel.aclose()


@pytest.fixture(scope='session')
def _other_servers(server_kind: str) -> Iterator[list[RealServer]]:
    with RealServer(server_kind) as second, RealServer(server_kind) as third:
        yield [second, third]


@pytest.fixture(params=['one', *(pytest.param(kind, marks=pytest.mark.long) for kind in ('servers', 'cluster'))])
async def sharded(request: pytest.FixtureRequest, server: RealServer) -> AsyncIterator[Sharded]:
    """A queue of three shards: on one server, on three that know nothing of each other, in a Cluster of three."""
    if request.param == 'cluster':
        cluster: Cluster = request.getfixturevalue('_shared_cluster')
        cluster.flush()
        async with open_cluster(cluster) as queue:
            yield queue
    else:
        servers = [server]
        if request.param == 'servers':
            servers += request.getfixturevalue('_other_servers')
            for other in servers[1:]:
                with other.sync_client() as client:
                    client.flushall()
        async with open_servers(servers, shards=3) as queue:
            yield queue
