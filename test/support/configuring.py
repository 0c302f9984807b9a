"""A file of settings as the design has it, and folders to read files in."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from torrelque.config import Config, ConfigError

EXAMPLE = """
    [server]
    url = "${REDIS_URL:-redis://localhost}"

    [queues.mail]
    max_tasks = 1_000_000
    [queues.mail.limits]
    "*" = { concurrency = 5 }              # default of all groups
    acme = { concurrency = 20, rate = "50/s" }

    [workers.mail]
    app = "shop.tasks:app"
    concurrency = 50
    processes = 2
    retry = { base = 2, cap = "1h" }
    breaker = { failures = 5, pause = "30s" }

    [workers.bulk]
    handler = "shop.bulk:work"
    queues = { bulk = 3, mail = 1 }        # weights
    steal = ["report"]
    rate = "100/s"
    max_attempts = 5
    timeout = "10m"
    run_in = "process"

    [health]
    bind = "0.0.0.0:8080"

    [alerts.backlog]
    queue = "mail"                # or ["mail", "invoice"], or all that the file has
    when = "oldest"
    above = "5m"
    for = "2m"                    # so long without a break
    below = "1m"                  # ends when below this …
    clear_for = "2m"              # … so long
    repeat = "1h"                 # tell again while it lasts
    to = ["log", "ops"]

    [sinks.ops]
    webhook = "${OPS_WEBHOOK:-https://hooks.example.com/in/secret}"

    [dashboard]
    bind = "127.0.0.1:8765"
    allow = ["redrive", "pause"]
"""


class Desk:
    """A current directory, without variables that would name a server or a file."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.monkeypatch = monkeypatch
        monkeypatch.chdir(path)
        monkeypatch.syspath_prepend(path)
        for name in ('TORRELQUE_URL', 'REDIS_URL', 'TORRELQUE_CONFIG', 'TORRELQUE_QUEUE', 'TORRELQUE_READ_ONLY'):
            monkeypatch.delenv(name, raising=False)

    def write(self, text: str, name: str = 'torrelque.toml') -> Path:
        """Write a file."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text), 'utf-8')
        return path

    def load(self, text: str) -> Config:
        """The settings of a file of this text."""
        self.write(text)
        return Config.load()

    def problems(self, text: str) -> list[str]:
        """What is wrong with a file of this text, without its name."""
        self.write(text)
        try:
            Config.load()
        except ConfigError as exc:
            return [str(one).removeprefix('torrelque.toml:') for one in exc.problems]
        return []
