"""Each line that an acting command writes with ``--json`` is one that ``docs/schema`` has."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from support.acting import Commands, bury_all
from support.schemas import TYPES, read_as
from torrelque import Torrelque
from torrelque.cli.answers import EndAnswer
from torrelque.operate import Outcome

pytestmark = pytest.mark.one_server

ACTING = (
    ('pause', 'pause'), ('pause --group acme --probe 30s', 'pause'), ('resume', 'pause'), ('limit', 'limit'),
    ('limit acme', 'limit'), ('limit acme --concurrency 3 --rate 50/s', 'limit'), ('limit beta --rate none', 'limit'),
    ('limit --concurrency 5 --yes', 'limit'), ('sweep', 'sweep'), ('enqueue [1]', 'enqueue'),
    ('redrive --yes', 'outcome'), ('redrive --dry-run', 'outcome'), ('cancel --group acme --yes', 'outcome'),
    ('requeue --older 1h --yes', 'outcome'), ('bury --older 1h --yes', 'outcome'),
)  # fmt: skip
"""Commands that act, and what each writes as JSON."""


@pytest.mark.parametrize(('words', 'name'), ACTING)
async def test_each_line_of_json_is_a_value(words: str, name: str, queue: Torrelque, command: Commands) -> None:
    await bury_all(queue, [{'task': 'send'}])
    await queue.set_limit('acme', concurrency=2)
    said = await command(*words.split(), '--json', code=None)
    assert said.out.isascii() and said.code in (0, 1) and said.lines
    for line, found in zip(said.lines, said.json, strict=True):
        value: Any = read_as(TYPES[name], line)
        known = value if isinstance(value, dict) else value.as_json()
        assert {*found} == {*known}


async def test_a_dry_run_has_some_of_the_tasks_as_examples(queue: Torrelque, command: Commands) -> None:
    [dead] = await bury_all(queue, [{'task': 'send'}])
    [line] = (await command('redrive', '--dry-run', '--json')).lines
    assert [task.id for task in read_as(Outcome, line).examples] == [dead]
    [line] = (await command('redrive', '--yes', '--json')).lines
    assert read_as(Outcome, line).examples == ()


async def test_the_end_of_a_task_is_told_as_it_is_described(queue: Torrelque, command: Commands) -> None:
    async def work() -> None:
        task_id, _ = await queue.dequeue(timeout=60)
        await queue.release(task_id, result=[1], result_ttl=60)

    worker = asyncio.create_task(work())
    [line] = (await command('enqueue', '1', '--wait', '60s', '--json')).lines
    await worker
    end = read_as(EndAnswer, line)
    assert (end['status'], end['result'], end['error']) == ('completed', [1], None) and {*end} == {*json.loads(line)}
