"""Calls of an app from threads and event loops of others."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.servers import RealServer
from torrelque import Torrelque, TorrelqueError
from torrelque.tasks import Tasks

PATIENCE = 60.0


def add(left: int, right: int = 1) -> int:
    return left + right


@pytest.fixture
def app(server: RealServer, queue_name: str) -> Iterator[Tasks]:
    """An app whose client is of no event loop of the test's."""
    app = Tasks(Torrelque(server.client(), queue=queue_name))
    app.task(name='add')(add)
    yield app
    if not any(thread.name == 'torrelque tasks' for thread in threading.enumerate()):
        return
    thread = threading.Thread(target=app.close)
    thread.start()
    thread.join(PATIENCE)


@contextlib.contextmanager
def in_thread(work: Callable[[], Any]) -> Iterator[concurrent.futures.Future[Any]]:
    """Do something in another thread, which is waited for, but not for ever."""
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as exc:
            done.set_exception(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield done
    done.result(PATIENCE)


def outcome(work: Callable[[], Any]) -> Any:
    """What something comes to in a thread of its own: its result or its error, in time."""
    with contextlib.suppress(TorrelqueError), in_thread(work) as done:
        done.exception(PATIENCE)
    return done.exception() or done.result()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
