"""An adapter as a child process: a command goes in, an answer comes out, and who does not answer in time is killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from typing import Any

from benchmark.speed.systems import ROOT, System
from support.processes import environment


class FailedError(Exception):
    """The adapter failed; the message says why."""


class MissingError(Exception):
    """The system has nothing of the kind."""


class Child:
    """The process of one adapter, started when it is asked for the first time, and again after a failure."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._process: subprocess.Popen[bytes] | None = None
        self._log = system.environment / 'stderr.log'
        self._rest = b''

    def ask(self, do: str, *, timeout: float = 120, **fields: Any) -> dict[str, Any]:
        """The answer to a command; `MissingError`, or `FailedError`, after which the process is gone."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({'do': do, **fields}).encode() + b'\n')
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(process, timeout))
        except (OSError, ValueError) as exc:
            status = self.stop()
            raise FailedError(f'{do}: ended with status {status}: {self._last_words()}') from exc
        except FailedError:
            self.stop()
            raise
        if 'missing' in answer:
            raise MissingError(answer['missing'])
        if 'error' in answer:
            self.stop()
            raise FailedError(f'{do}: {answer["error"]}')
        return answer

    @property
    def running(self) -> bool:
        return self._process is not None

    def stop(self) -> int | None:
        process, self._process = self._process, None
        self._rest = b''
        if process is None:
            return None
        if process.poll() is None:
            time.sleep(0.05)  # it may be about to end by itself, with a status that tells
        process.kill()
        # What was not written yet nobody will read.
        with contextlib.suppress(OSError), process:
            return process.wait()
        return process.returncode

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            places = [str(ROOT)] if self.system.is_ours else []
            with self._log.open('wb') as log:
                self._process = subprocess.Popen(
                    self.system.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**environment(*places), 'PYTHONUNBUFFERED': '1'},
                    cwd=self.system.environment,
                )
        return self._process

    def _line(self, process: subprocess.Popen[bytes], timeout: float) -> bytes:
        assert process.stdout is not None
        until = time.monotonic() + timeout
        while b'\n' not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise FailedError(f'no answer within {timeout:.0f} s')
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                raise OSError('ended')
            self._rest += data
        line, _, self._rest = self._rest.partition(b'\n')
        return line

    def _last_words(self) -> str:
        lines = self._log.read_text(errors='replace').strip().splitlines()
        return lines[-1][:200] if lines else 'it said nothing'
