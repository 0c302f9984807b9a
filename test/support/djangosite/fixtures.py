"""Fixtures of tests that need Django."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import djangosite


@pytest.fixture
def site() -> Iterator[Any]:
    """Django is set up, its database empty but for what migrations have put there, and workers look after it."""
    config = djangosite.set_up()
    from django.db import connections
    from django.db.backends.signals import connection_created

    made: list[Any] = []

    def note(connection: Any, **_: Any) -> None:
        made.append(connection.connection)

    config.ready()
    connection_created.connect(note)
    own = connections.settings['default']
    before = {**own}
    yield config
    config.take_back()
    own.update(before)
    _empty()
    connections.close_all()
    _close_of_coroutines()
    connection_created.disconnect(note)
    for raw in made:
        # Some are kept in threads that have ended with their worker.
        raw.close()


def _close_of_coroutines() -> None:
    """Close the connections of the thread that coroutines share where none has one of its own."""
    from asgiref.sync import sync_to_async
    from django.db import connections

    closing = threading.Thread(target=lambda: asyncio.run(sync_to_async(connections.close_all)()))
    closing.start()
    closing.join()


def _empty() -> None:
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth import get_user_model
    from django.contrib.sessions.models import Session

    from support.djangosite.models import Order

    for model in (LogEntry, Session, Order, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture
def keep(site: Any) -> Callable[..., None]:
    """Say how long connections are kept, and whether they are looked at before they are used."""
    from django.db import connections

    def keep(seconds: float | None, checks: bool = False) -> None:
        connections.settings['default'].update(CONN_MAX_AGE=seconds, CONN_HEALTH_CHECKS=checks)

    return keep
