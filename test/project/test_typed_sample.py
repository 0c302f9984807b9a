"""The typed sample: it runs, and it leaves no public verb out."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest
import redis.asyncio

import torrelque.sync
import typed_sample
import typed_tasks
from support.servers import RealServer

# The tests of this module have little to do with the kind of the server, so the ordinary run has one kind.
pytestmark = pytest.mark.one_server


async def test_the_sample_runs(client: redis.asyncio.Redis, queue_name: str) -> None:
    await asyncio.wait_for(typed_sample.run(client, queue_name), 60)


async def test_the_sample_of_decorated_functions_runs(client: redis.asyncio.Redis, queue_name: str) -> None:
    await asyncio.wait_for(typed_tasks.run_tasks(client, queue_name), 60)


async def test_the_sample_of_schedules_runs(client: redis.asyncio.Redis, queue_name: str) -> None:
    await asyncio.wait_for(typed_tasks.run_schedules(client, queue_name), 60)


async def test_the_sample_of_tests_runs(client: redis.asyncio.Redis, queue_name: str) -> None:
    await asyncio.wait_for(typed_tasks.try_tasks(client, queue_name), 60)


def test_the_synchronous_sample_runs(server: RealServer, queue_name: str) -> None:
    with server.sync_client() as client:
        typed_sample.run_synchronously(client, queue_name)


@pytest.mark.parametrize('kind', [torrelque.Torrelque, torrelque.sync.Torrelque])
def test_the_sample_uses_every_verb(kind: type) -> None:
    verbs = {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith('_')}
    assert verbs - {*re.findall(r'queue\.(\w+)\(', inspect.getsource(typed_sample))} == set()
