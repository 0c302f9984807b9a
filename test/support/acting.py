"""Commands in the process of the test, as far as they need no terminal: what they say, and how they end."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from support.servers import RealServer
from torrelque import Torrelque
from torrelque.cli import main
from torrelque.operate import Operator


class Said(NamedTuple):
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of its answer."""
        return self.out.splitlines()

    @property
    def json(self) -> list[Any]:
        """The same, each of which is a JSON object."""
        return [json.loads(line) for line in self.lines]


class Commands:
    """Commands on the server and the queue of a test, which has an event loop of its own meanwhile."""

    def __init__(
        self, server: RealServer, queue: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv('TORRELQUE_URL', server.url)
        monkeypatch.setenv('TORRELQUE_QUEUE', queue)
        monkeypatch.delenv('TORRELQUE_READ_ONLY', raising=False)

    async def __call__(self, *words: str, given: str | bytes = b'', code: int | None = 0) -> Said:
        """Carry a command out, in a thread.

        :param given: its standard input.
        :param code: how it has to end; None is anyhow.
        """
        data = given if isinstance(given, bytes) else given.encode()
        self._monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(data)))
        self._capsys.readouterr()
        ended = await asyncio.to_thread(_carry_out, words)
        said = Said(ended, *self._capsys.readouterr())
        assert code in (None, ended), said
        return said


def _carry_out(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as exc:
        assert isinstance(exc.code, int)
        return exc.code


async def bury_all(queue: Torrelque, tasks: Sequence[Any], error: str = 'KeyError: 1', **options: Any) -> list[str]:
    """Have tasks die, in a queue that has no others that wait; their ids, in order."""
    ids = [str(await queue.enqueue(task, **options)) for task in tasks]
    for task_id, _ in await queue.dequeue_many(len(ids), timeout=60):
        assert task_id in ids and await queue.bury(task_id, error=error)
    return ids


async def recorded(queue: Torrelque) -> list[tuple[str, str, int]]:
    """The acts on record, the oldest first."""
    return [(act.act, act.what, act.count) for act in reversed(await Operator(queue).acts())]
