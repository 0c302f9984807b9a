"""A worker alone with its queue, and what is logged meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from support.servers import MakeServer
from torrelque import Torrelque

# What the server refuses for a moment


@pytest.fixture
async def alone(make_server: MakeServer) -> AsyncIterator[tuple[redis.asyncio.Redis, Torrelque]]:
    """A server of the test's own, whose settings it may change."""
    server = make_server()
    async with server.client() as client, Torrelque(client, queue='q') as queue:
        yield client, queue


# What a worker says


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.levelname, getattr(record, 'event', '')) for record in caplog.records]
    return [(level, event) for level, event in found if event]
