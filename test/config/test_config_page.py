"""The page on files of settings has each key with its default, and what stands there is as it says."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from support.commanding import STOP, Folder
from support.configuring import Desk
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.config import (
    AlertsConfig,
    Config,
    DashboardConfig,
    FileConfig,
    HealthConfig,
    LimitConfig,
    MetricsConfig,
    QueueConfig,
    RuleConfig,
    ScheduleConfig,
    ServerConfig,
    SinkConfig,
    WorkerConfig,
)
from torrelque.config.sections import Section
from torrelque.config.writing import spelt_default

pytestmark = pytest.mark.one_server

DOCS = Path(__file__).parents[2] / 'docs'
PAGE = (DOCS / 'configuration.md').read_text('utf-8')
SECTIONS: dict[str, list[type[Section]]] = {
    '[server]': [ServerConfig], '[queues.NAME]': [QueueConfig], '[queues.NAME.limits]': [LimitConfig],
    '[workers.NAME]': [WorkerConfig], '[schedules.NAME]': [ScheduleConfig], '[health]': [HealthConfig],
    '[metrics]': [MetricsConfig], '[alerts]': [AlertsConfig, RuleConfig], '[sinks.NAME]': [SinkConfig],
    '[dashboard]': [DashboardConfig],
}  # fmt: skip


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    """The tables of keys, each with the first code of its heading."""
    for part in re.split(r'(?m)^### ', PAGE.partition('\n## All keys\n')[2])[1:]:
        heading = re.findall('`([^`]+)`', part.partition('\n')[0])[0]
        for table in re.findall(r'(?m)^\| key \| default \| \|\n\|[-|]+\n((?:\|.*\n)+)', part):
            yield heading, [[cell.strip() for cell in row.split('|')[1:-1]] for row in table.splitlines()]


def rows_of(kind: type[Section]) -> list[tuple[str, str]]:
    """The keys of a section, each with its default as the page has it."""
    hints = get_type_hints(kind, include_extras=True)
    rest = getattr(kind, 'REST', None)
    fields = [field for field in msgspec.structs.fields(kind) if field.name != rest]
    defaults = [(field.encode_name, spelt_default(hints[field.name], field)) for field in fields]
    return [(name, '' if default is None else f'`{default}`') for name, default in defaults]


def test_each_key_is_there_once_with_its_default() -> None:
    found: dict[str, list[list[tuple[str, str]]]] = {}
    for heading, rows in tables():
        found.setdefault(heading, []).append([(row[0].strip('`'), row[1]) for row in rows])
    assert [*found] == [*SECTIONS]
    for heading, kinds in SECTIONS.items():
        assert list(map(sorted, found[heading])) == [sorted(rows_of(kind)) for kind in kinds], heading
    named = {heading.strip('[]').partition('.')[0] for heading in SECTIONS}
    assert named == {field.name for field in msgspec.structs.fields(FileConfig)}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf'(?ms)^```{language}\n(.*?)^```$', page)


@pytest.mark.parametrize('name', ['configuration', 'coming-from'])
def test_each_file_on_a_page_is_well(name: str, desk: Desk) -> None:
    found = blocks((DOCS / f'{name}.md').read_text('utf-8'), 'toml')
    assert found
    for text in found:
        assert desk.problems(text) == []


def test_messages_on_the_page_are_those_of_the_commands(desk: Desk) -> None:
    [told] = re.findall(r'(?ms)^  ```text\n  \$ torrelque config check\n(.*?)^  ```$', PAGE)
    text = blocks(PAGE, 'toml')[0].replace('concurrency = 50', 'concurency = 50', 1).replace('"100/s"', '"fast"', 1)
    text = text.replace('"ops"]', '"opps"]', 1)
    lines = [re.sub(r':\d+:', ':', line.strip()) for line in told.splitlines()]
    assert lines == [re.sub(r'^\d+', 'torrelque.toml', line) for line in desk.problems(text)]


@pytest.mark.long
async def test_the_example_of_the_page_runs(folder: Folder, server: RealServer) -> None:
    folder.write('torrelque.toml', blocks(PAGE, 'toml')[0].replace('0.0.0.0:8080', '127.0.0.1:0'))
    for code in blocks(PAGE, 'python')[:2]:
        folder.write(code.partition('\n')[0].removeprefix('# '), code)
    async with server.client() as client, Torrelque(client, queue='thumbnails') as queue:
        with folder.command('run') as command:
            command.wait_for('worker (mail|bulk)-.* starts', 3)
            folder.run('config', 'apply', '-y')
            folder.run('fire', 'digest', '-q', 'mail')
            command.wait_for(r'shop\.tasks\.digest, task .* has succeeded')
            await queue.enqueue('a picture')
            command.wait_for('work, task .* has succeeded')
            command.send(STOP)
            command.end()


def test_the_package_does_not_load_all_that_it_has_for_a_spelling() -> None:
    before = {name for name in sys.modules if name.startswith('torrelque.config.')}
    package = importlib.import_module('torrelque.config')
    with pytest.raises(AttributeError, match=r"module 'torrelque\.config' has no attribute 'nothing'"):
        _ = package.nothing
    assert Config is package.Config and {*package.__all__} <= {*dir(package)}
    assert before <= {*sys.modules}
