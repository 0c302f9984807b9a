"""Each public class has two names, of one object: the one to use, and the one with the prefix."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import torrelque

ROOT = Path(__file__).parents[2]
PREFIX = 'Torrelque'
LONG = sorted(name for name in torrelque.__all__ if name.startswith(PREFIX) and name != PREFIX)
SHORT = [name.removeprefix(PREFIX) for name in LONG]
BUILTIN = [name for name in SHORT if hasattr(builtins, name)]


def test_there_are_as_many_as_one_knows() -> None:
    assert len(LONG) == 29
    assert BUILTIN == ['ConnectionError', 'LookupError', 'TimeoutError', 'TypeError', 'ValueError']


@pytest.mark.parametrize('name', LONG)
def test_a_public_class_has_a_name_without_the_prefix_and_is_called_as_before(name: str) -> None:
    kind = getattr(torrelque, name)
    assert getattr(torrelque, name.removeprefix(PREFIX)) is kind
    assert kind.__name__ == kind.__qualname__ == name


@pytest.mark.parametrize('name', SHORT)
def test_all_has_each_short_name_but_those_of_built_in_classes(name: str) -> None:
    assert (name in torrelque.__all__) is (name not in BUILTIN)


def test_import_of_everything_leaves_the_built_in_classes_alone() -> None:
    program = 'from torrelque import *\nimport builtins\n' + ''.join(
        f'assert {name} is builtins.{name} is not Torrelque{name}\n' for name in BUILTIN
    )
    subprocess.run([sys.executable, '-c', program + 'TaskStatus.PENDING, Torrelque, DuplicateError'], check=True)


def test_an_error_is_caught_by_either_name_and_by_that_of_the_built_in_class() -> None:
    assert issubclass(torrelque.LookupError, (torrelque.Error, LookupError))
    with pytest.raises(torrelque.DuplicateError):
        raise torrelque.TorrelqueDuplicateError('a')
    with pytest.raises(torrelque.TorrelqueTimeoutError):
        raise torrelque.TimeoutError


STATE = (torrelque.TaskStatus.PENDING, 300.0, None, 1, 0, 0.0, None, None, None, None, None, None, 0, None, 0)


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        (torrelque.TaskStatus.PENDING, '<TorrelqueTaskStatus.PENDING: 0>'),
        (torrelque.TaskState(*STATE), 'TorrelqueTaskState(status=<TorrelqueTaskStatus.PENDING: 0>, timeout=300.0, '),
        (torrelque.QueueStats(1, 1, 0, 0, 0), 'TorrelqueQueueStats(tasks=1, pending=1, '),
        (torrelque.DuplicateError('a', 'q'), "TorrelqueDuplicateError("),
    ],
    ids=['status', 'state', 'statistics', 'error'],
)
def test_a_value_is_shown_and_pickled_as_before(value: Any, shown: str) -> None:
    assert repr(value).startswith(shown)
    assert type(value).__name__.encode() in pickle.dumps(value)
    assert repr(pickle.loads(pickle.dumps(value))) == repr(copy.copy(value)) == repr(value)


def test_reference_has_both_names_of_each_class() -> None:
    pages = [*(ROOT / 'docs').glob('reference*.md'), *(ROOT / 'docs').glob('reference/*.md')]
    text = '\n'.join(map(Path.read_text, pages))
    listed = re.findall(r'(?m)^\| `torrelque\.(\w+)` \| \{any\}`torrelque\.(\w+)` \|', text)
    assert sorted(listed) == sorted(zip(SHORT, LONG, strict=True))


@pytest.mark.parametrize('path', ['README.md', 'docs', 'example'])
def test_pages_and_examples_use_the_short_names(path: str) -> None:
    """But for pages of those who change the package, the list of both, and rows that tell of version 0.9."""
    place = ROOT / path
    long = re.compile(rf'\b({"|".join(LONG)})\b')
    told = {'reference', 'reference.md', 'architecture.md', 'contributing.md', 'decisions'}
    files = [place] if place.is_file() else [file for kind in ('md', 'py') for file in sorted(place.rglob(f'*.{kind}'))]
    assert files
    found = [
        f'{file.relative_to(ROOT)}: {line.strip()}'
        for file in files
        if not told & {*file.relative_to(ROOT).parts} or path == 'example'
        for line in file.read_text().splitlines()
        if long.search(line) and not line.startswith('| `Torrelque')
    ]
    assert found == []
