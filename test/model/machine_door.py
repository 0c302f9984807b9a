"""The line of the machine: what goes over it is kept, ids and the clock are its own, and bounds are lowered."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from model.model_calls import Call, read_call
from model.model_checks import BUCKET_LIFE
from model.model_places import SHORT_LIST, SHORT_TURNS
from model.model_schedules import FEW, MOST_DUE
from model.model_taking import HOLES
from support.bounding import bind
from support.servers import RealServer
from torrelque.aio.link import Link, Request
from torrelque.protocol import ids, scripts as lua, transition as protocol
from torrelque.protocol.table import ROWS

CLOCK = 'clock'
"""The key that has the time."""

# Bounds of calls and claims, lowered.
BULK_TASKS = 4
BULK_BYTES = 30
SWEEP_TASKS = 2
WALK = 2
GROUPED = BULK_BYTES // WALK
INSTANTS = 6
TOLD_INSTANTS = 3
TOLD = 3
"""Successors that one call tells."""

SCRIPT_CHANGES = {
    "local time = redis.call('TIME')": (
        f"local clock = redis.call('GET', '{CLOCK}') "
        'local time = {math.floor(clock / 1000), clock % 1000 * 1000}'
    ),
    "redis.call('LLEN', pending) <= 500": f"redis.call('LLEN', pending) <= {SHORT_LIST}",
    "redis.call('LLEN', turns) <= 500": f"redis.call('LLEN', turns) <= {SHORT_TURNS}",
    'holed < 200': f'holed < {HOLES}',
    'MOST_DUE, FEW, AT_FIRST, BYTES = 100, 8, 10,': f'MOST_DUE, FEW, AT_FIRST, BYTES = {MOST_DUE}, {FEW}, 2,',
    'fire(name, ready, 100)': f'fire(name, ready, {MOST_DUE})',
    'local budget, ends, touched, blamed, new_ones, rings = 200,': (
        f'local budget, ends, touched, blamed, new_ones, rings = {TOLD},'
    ),
    "'PX', full)": f"'PX', full + {BUCKET_LIFE})",
}


class Sent(NamedTuple):
    """A call that was sent, and what came back."""

    transition: protocol.Transition
    args: Sequence[str | bytes]
    reply: Any

    def read(self) -> Call:
        return read_call(self.transition.name, self.args)


class Door:
    """What the test has changed in the package while it runs."""

    def __init__(self) -> None:
        self.log: list[Sent] = []
        self.when_logged: Callable[[], object] | None = None
        """What is called with each reply, before whoever waits for that has it."""
        self.steps = 0
        self.restart()

    def restart(self) -> None:
        self.log.clear()
        self._ids = itertools.count()
        ids.forget()

    def urandom(self, size: int) -> bytes:
        return hashlib.shake_128(b'%d' % next(self._ids)).digest(size)

    def open(self, server: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
        load, submit = lua.load_script, Link.submit
        missing = set(SCRIPT_CHANGES)

        @functools.cache
        def load_script(name: str) -> lua.Script:
            text = load(name).text.decode()
            for old, new in SCRIPT_CHANGES.items():
                if old in text:
                    missing.discard(old)
                    text = text.replace(old, new)
            return lua.Script(text.encode(), hashlib.sha1(text.encode()).hexdigest().encode())

        def record(link: Link, request: Request) -> None:
            callback = request.callback

            def called(reply: Any, error: Exception | None) -> None:
                if request.transition is not None and error is None:
                    self.log.append(Sent(request.transition, request.args, reply))
                    if self.when_logged is not None:
                        self.when_logged()
                callback(reply, error)

            request.callback = called
            submit(link, request)

        monkeypatch.setattr(protocol, 'load_script', load_script)
        with server.sync_client() as client:
            for name in ROWS:
                # A server that does not know a script makes a call late, behind what was sent after it.
                client.script_load(load_script(name).text)
        assert not missing
        monkeypatch.setattr(Link, 'submit', record)
        # Ids, and so their order, are the same in each run of a machine.
        monkeypatch.setattr(os, 'urandom', self.urandom)
        bind(
            monkeypatch,
            bulk=BULK_TASKS, bulk_bytes=BULK_BYTES, grouped_tasks=WALK, sweep=SWEEP_TASKS,
            instants=INSTANTS, told_instants=TOLD_INSTANTS,
            # Nothing shall happen by real time.
            grace=1e6, acknowledge=1e6,
        )  # fmt: skip
        monkeypatch.setattr(logging.getLogger('torrelque'), 'disabled', True)
