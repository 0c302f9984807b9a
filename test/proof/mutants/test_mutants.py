"""The faults are still faults: what they change is there, and what runs them sees them and tells what it does not."""

from __future__ import annotations

import ast
import contextlib
import importlib.resources
import json
import shutil
from collections import Counter
from pathlib import Path
from types import CodeType

import pytest

from proof.mutants import mutants
from proof.mutants.mutant import Edit, Mutant, client, script
from proof.mutants.mutants import MUTANTS, ROOT, Workshop, address_of, changed, judge, main
from support.servers import RealServer, selected_kinds
from support.sources import parse
from torrelque.protocol.scripts import load_script
from torrelque.protocol.table import ROWS

KIND = selected_kinds()[0]
SCRIPTS = 'torrelque/script/'
CAUGHT = Mutant(
    'seconds-for-milliseconds', 12, 'durations are a thousand times too short',
    (client('protocol/check', 'round(seconds * 1000)', 'round(seconds)'),),
    ('protocol::test_seconds_become_whole_milliseconds',),
)  # fmt: skip
NOTHING = Mutant(
    'nothing', 12, 'another word in a docstring',
    (client('protocol/check', 'Checks of what a caller gave', 'Checks of all that a caller gave'),),
    ('protocol::test_seconds_become_whole_milliseconds',),
)  # fmt: skip


def test_names_are_unique_and_all_invariants_are_broken() -> None:
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []
    assert {mutant.breaks for mutant in MUTANTS} == set(range(15))


def test_tests_that_are_to_see_a_fault_are_there() -> None:
    names = {}
    for path in (ROOT / 'test').rglob('test_*.py'):
        tree = parse(path.read_text('utf-8')).body
        assert path.stem not in names, f'there are two modules of the name {path.stem}'
        names[path.stem] = {node.name for node in tree if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for mutant in MUTANTS:
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            module, _, function = test.partition('::')
            assert function in names[f'test_{module}'] or not function, f'{mutant.name}: {test}'


@pytest.mark.long
def test_faults_in_the_client_compile_and_change_its_code() -> None:
    before: dict[str, CodeType] = {}
    for mutant in MUTANTS:
        for path, text in changed(mutant).items():
            if path.endswith('.py'):
                if path not in before:
                    before[path] = compile((ROOT / path).read_text('utf-8'), path, 'exec')
                assert compile(text, path, 'exec') != before[path], mutant.name


class Scripts:
    """A file or folder of scripts, which writes down what is read of it."""

    def __init__(self, path: Path, read: set[str]) -> None:
        self._path, self._read = path, read

    def __truediv__(self, name: str) -> Scripts:
        return Scripts(self._path / name, self._read)

    def read_text(self, encoding: str) -> str:
        self._read.add(self._path.name)
        return self._path.read_text(encoding)


def test_faults_in_the_scripts_load_and_change_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / 'torrelque' / 'script', tmp_path / 'script')
    read: set[str] = set()
    monkeypatch.setattr(importlib.resources, 'files', lambda package: Scripts(tmp_path, read))
    load = load_script.__wrapped__
    before, files = {}, {}
    for name in ROWS:
        read.clear()
        before[name], files[name] = load(name).sha, {*read}
    with RealServer(KIND) as server, server.sync_client() as raw:
        for mutant in MUTANTS:
            texts = {Path(path).name: text for path, text in changed(mutant).items() if path.startswith(SCRIPTS)}
            for file, text in texts.items():
                (tmp_path / 'script' / file).write_text(text, 'utf-8')
            # What is made of other files alone is what it was.
            made_of = {name: load(name) for name in ROWS if not files[name].isdisjoint(texts)}
            fresh = [made for name, made in made_of.items() if made.sha != before[name]]
            assert bool(fresh) == bool(texts), mutant.name
            for made in fresh:
                assert raw.script_load(made.text.decode()) == made.sha.decode()
            for file in texts:
                shutil.copyfile(ROOT / SCRIPTS / file, tmp_path / 'script' / file)


def test_a_text_that_is_not_there_or_there_twice_is_an_error() -> None:
    for edit in (script('touch', 'no such thing', ''), script('touch', 'local', '')):
        with pytest.raises(ValueError, match='times'):
            changed(NOTHING._replace(edits=(edit,)))


def test_edits_of_one_file_are_all_made() -> None:
    path = 'torrelque/protocol/keys.py'
    edits = (Edit(path, "'limits',", "'bounds',"), Edit(path, "'never',", "'ever',"))
    (text,) = changed(NOTHING._replace(edits=edits)).values()
    assert "'bounds'," in text and "'ever'," in text


@pytest.mark.long
def test_a_fault_is_caught_and_a_survivor_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (ROOT / '.git').exists():
        pytest.skip('not a checkout')
    monkeypatch.setattr(mutants, 'MUTANTS', (CAUGHT, NOTHING))
    assert main(['--server', KIND]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    figures = json.loads(last)
    assert (figures['mutants'], figures['caught'], figures['survived']) == (2, 1, ['nothing'])
    assert figures['faults_found'] == 1
    assert any('caught by test/core/test_protocol.py::test_seconds_become_whole' in line for line in lines)


@pytest.mark.long
def test_tests_without_an_end_are_ended_and_a_fault_is_mended_for_the_next() -> None:
    module = 'test/proof/__init__.py'
    text = (ROOT / module).read_text()
    fault = NOTHING._replace(edits=(Edit(module, text, f'{text}# a fault'),))
    with contextlib.closing(Workshop([module, 'test/proof/unshrunk.py'])) as workshop:
        (workshop.tree / 'test_sleep.py').write_text('import time\ndef test_sleep(): time.sleep(600)\n')
        (workshop.tree / 'test_fault.py').write_text(f'def test_it(): assert "fault" not in open("{module}").read()')
        status, output = workshop.run_tests(['test_sleep.py'], KIND, 0.5)
        assert judge(status, output) == ('hangs', '')
        with workshop.fault(fault):
            assert judge(*workshop.run_tests(['test_fault.py'], KIND, 60)) == ('caught', 'test_fault.py::test_it')
        assert judge(*workshop.run_tests(['test_fault.py'], KIND, 60)) == ('survived', '')


@pytest.mark.parametrize(
    ('status', 'output', 'outcome'),
    [
        (0, '1 passed in 0.01s', ('survived', '')),
        (1, 'FAILED test/a.py::b[valkey9-1 2] - assert 1', ('caught', 'test/a.py::b[valkey9-1 2]')),
        (1, 'ERROR test/test_a.py::test_b - OSError', ('caught', 'test/test_a.py::test_b')),
        (1, 'E   Failed: Timeout (>30.0s) from pytest-timeout.\nFAILED test/a.py::b - F', ('hangs', 'test/a.py::b')),
        (None, '..', ('hangs', '')),
        (4, 'ERROR: not found: test/test_a.py::test_b', ('broken', '')),
        (5, 'no tests ran in 0.01s', ('broken', '')),
    ],
)
def test_runs_of_tests_are_judged(status: int | None, output: str, outcome: tuple[str, str]) -> None:
    assert judge(status, output) == outcome


def test_addresses_of_tests() -> None:
    assert address_of('verbs::test_a') == 'test/core/test_verbs.py::test_a'
    assert address_of('model') == 'test/model/test_model.py'
