"""Calls of an ordered queue, and what they write down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from torrelque import Torrelque
from torrelque.tasks import Handle, Tasks


@pytest.fixture
def app(queue: Torrelque) -> Tasks:
    return Tasks(queue)


class Log:
    """What began and ended, in its order."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.running = 0
        self.most = 0

    @contextlib.contextmanager
    def of(self, what: Any) -> Iterator[None]:
        self.begun.append(what)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
        finally:
            self.running -= 1


async def ended(handles: list[Handle[Any]]) -> None:
    for handle in handles:
        await handle.result(60)
