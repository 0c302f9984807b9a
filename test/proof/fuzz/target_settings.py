"""Files of settings of any text: what they say holds, or all that is wrong is told with its file, line and key."""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proof.fuzz.feed import WORDS, Feed
from proof.fuzz.judging import Refused, attempt, strict_json
from torrelque.config import Config, ConfigError
from torrelque.config.sections import LimitConfig
from torrelque.config.writing import as_json, as_toml

NAMED = ('A', 'B_2', 'NUMBER', 'SECRET')
VARIABLES = ('TORRELQUE_URL', 'REDIS_URL')
SECRET = 'hush-hush-hush'
"""What the variable of that name has: no message may show it."""

VALUES = (
    '1', '0', '-1', '1.5', 'true', '"5m"', '"50/s"', '"none"', '"default"', '"mail"', '["mail", "news"]', '[]', '{}',
    '{ mail = 3, news = 1 }', '"shop.tasks:app"', '"redis://joe:pass@localhost/0"', '["redis://one", "redis://two"]',
    '"https://hooks.example.com/in/secret"', '"127.0.0.1:8765"', '"[::1]:0"', '":99999"', '2026-11-29T14:00:00Z',
    '2026-11-29',
    '14:00:00', '"2026-11-29T14:00"', '"0001-01-01T00:00+23:59"', '"*/5 * * * *"', '"Europe/Berlin"', '"skip"',
    '"oldest"',
    '"failed_share"', '"dead_new"', '"1e3s"', '"1000000000d"', '1e300', 'inf', 'nan', '-0.0', '9007199254740993',
    '0x' + 'f' * 4000, '9' * 5000, '"${A}"', '"${SECRET}"', '"x${SECRET}y"', '"${NUMBER}"', '"${NONE:-7}"', '"${NONE}"',
    '"${"', '"$$"', '"${A B}"', '"\\u0000"', '"\\uD800"', '"""', "'''x'''", '"""a\nb"""', '[[1], [2]]',
    '{ a = { b = 1 } }',
    '{ base = 2, cap = "1h" }', '{ failures = 5, pause = "30s" }', '{ concurrency = 5, rate = "5/10s" }', '["all"]',
)  # fmt: skip
"""Values of all kinds, as TOML has them."""


@functools.cache
def _keys() -> dict[str, list[str]]:
    """The keys of each kind of table, by the name that leads to it."""
    from msgspec import structs

    from torrelque.config import sections

    kinds: dict[str, type[sections.Section]] = {
        'server': sections.ServerConfig, 'queues.NAME': sections.QueueConfig,
        'queues.NAME.limits.NAME': sections.LimitConfig,
        'workers.NAME': sections.WorkerConfig, 'workers.NAME.retry': sections.RetryConfig,
        'workers.NAME.breaker': sections.BreakerConfig, 'schedules.NAME': sections.ScheduleConfig,
        'health': sections.HealthConfig, 'metrics': sections.MetricsConfig, 'alerts': sections.AlertsConfig,
        'alerts.NAME': sections.RuleConfig, 'sinks.NAME': sections.SinkConfig, 'dashboard': sections.DashboardConfig,
    }  # fmt: skip
    return {table: [one.encode_name for one in structs.fields(kind)] for table, kind in kinds.items()}


def _name(feed: Feed) -> str:
    return feed.pick(('mail', 'mail', 'news', 'maill', 'log', '"*"', '"a.b"', '"{x}"', '""', "'quo ted'",
        f'"{"n" * 101}"', '"ä"'))


def _value(feed: Feed) -> str:
    kind = feed.byte() % 4
    if kind:
        return feed.pick(VALUES)
    return f'"{feed.text(20)}"' if feed.flag() else json.dumps(feed.json(2))


def _text(feed: Feed) -> str:
    if feed.byte() % 8 == 0:
        return feed.rest().decode('utf-8', 'replace')
    lines: list[str] = []
    for _ in range(feed.below(6)):
        table = feed.pick([*_keys()])
        lines.append(f'[{re.sub("NAME", lambda _: _name(feed), table)}]' if feed.byte() % 16 else feed.text())
        for _ in range(feed.below(6)):
            key = feed.pick(_keys()[table]) if feed.byte() % 8 else feed.pick(WORDS)
            lines.append(f'{key} = {_value(feed)}' + ('  # said' if feed.byte() % 8 == 1 else ''))
    return feed.pick(('\n', '\n', '\r\n')).join(lines)


@contextmanager
def _environment(feed: Feed) -> Iterator[None]:
    """Variables, for as long as the file is read."""
    before = {name: os.environ.pop(name, None) for name in (*NAMED, *VARIABLES, 'TORRELQUE_CONFIG')}
    os.environ.update(A=feed.pick(('mail', '', '5m', 'a"b')), NUMBER=feed.pick(('3', '-1', '1_0', '9' * 30, '٣')),
        SECRET=SECRET)
    if feed.byte() % 8 == 0:
        os.environ['REDIS_URL'] = feed.pick(('redis://localhost:6400', 'x', 'redis://u:p@h/1'))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@functools.cache
def _folder() -> str:
    return tempfile.mkdtemp(prefix='torrelque-fuzz-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)


def settings(feed: Feed) -> None:
    """A file."""
    path = os.path.join(_folder(), feed.pick(('torrelque.toml', 'torrelque.toml', 'pyproject.toml')))
    with _environment(feed):
        text = _text(feed)
        data = text.encode('utf-8', 'surrogatepass' if feed.flag() else 'replace')
        if path.endswith('pyproject.toml') and feed.flag():
            data = re.sub(rb'^\[', b'[tool.torrelque.', data, flags=re.M)
        with open(path, 'wb') as file:
            file.write(data)
        config = attempt(lambda: Config.load(path), ConfigError, named=path)
        if isinstance(config, Refused):
            _judge_problems(config, path, data)
        else:
            _judge_settings(config)


def _judge_problems(refused: Refused, path: str, data: bytes) -> None:
    error = refused.__cause__
    assert isinstance(error, ConfigError) and error.problems
    lines = data.decode('utf-8', 'replace').removeprefix('\ufeff').replace('\r\n', '\n').replace('\r', '\n').split('\n')
    for problem in error.problems:
        assert problem.file == path and problem.text
        assert SECRET not in str(problem), f'a variable is shown: {problem}'
        assert 'joe:pass' not in str(problem) and '/in/secret' not in str(problem), f'a secret is shown: {problem}'
        if problem.line is None:
            continue
        assert 1 <= problem.line <= len(lines), f'there is no line {problem.line} of {len(lines)}: {problem}'
    assert [one.line or 0 for one in error.problems] == sorted(one.line or 0 for one in error.problems)
    # Each is told once.
    assert len({*error.problems}) == len(error.problems), error


def _judge_settings(config: Config) -> None:
    repr(config), strict_json(as_json(config))
    for worker in config.workers.values():
        worker.arguments()
    for queue in config.queues.values():
        attempt(lambda queue=queue: queue.name, ConfigError)  # type: ignore[misc]
    written = as_toml(config)
    if config.written or config.variable or '…' in written:
        return
    path = os.path.join(_folder(), 'again.toml')
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(written)
    again = attempt(lambda: Config.load(path), ConfigError)
    assert not isinstance(again, Refused), f'what was written is refused: {again}\n{written}'
    assert _said(again) == _said(config), f'what was written says something else: {written}'
    assert _without_notes(as_toml(again)) == _without_notes(written)


def _said(config: Config) -> Any:
    """What a file says, but where the server is, which is written in any case, and groups of which nothing is said."""
    from msgspec import structs

    said = config.sections
    queues = {
        name: structs.replace(queue, limits={group: one for group, one in queue.limits.items() if one != LimitConfig()})
        for name, queue in said.queues.items()
    }
    return structs.replace(said, server=structs.replace(said.server, url=None), queues=queues)


def _without_notes(text: str) -> str:
    return text.replace('  # by default', '')

