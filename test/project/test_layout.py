"""The rules of the layout, read from the sources: who may import whom, and what is where."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'torrelque'

MODULES = sorted(PACKAGE.rglob('*.py'))
SCRIPTS = sorted(PACKAGE.rglob('*.lua'))

ROOMS = {
    '': {'error', 'model', 'codec', 'base', 'protocol', 'aio'},
    'protocol': {'error', 'model', 'codec', 'protocol'},
    'aio': {'error', 'model', 'codec', 'base', 'protocol', 'aio'},
    'sync': {'error', 'model', 'codec', 'base', 'protocol', 'sync', ''},
}
"""What the modules of the core may import: theirs and what stands below them, by the first part of the dotted path."""
LAYERS = sorted({path.parent.name for path in PACKAGE.glob('*/__init__.py')} - {*ROOMS})
OWED = {'worker.check', 'worker.delivery', 'worker.retry'}
"""Modules of the worker of which `tasks` still takes what is not public."""
MAX_LINES = 400

ENTRIES = re.compile(
    r'(setup\.cfg|pyproject\.toml|tox\.ini|MANIFEST\.in|\.gitlab-ci\.yml|\.gitignore|\.ci'
    r'|torrelque|test|example|docs|README.*|CHANGELOG.*|LICENSE)'
)


def name_of(path: Path) -> str:
    """The dotted path of a module, without `torrelque`."""
    return '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('__init__').rstrip('.')


NAMES = {name_of(path) for path in MODULES}


def own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """What a module imports of the package, inside functions too: dotted paths of modules, and names in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, '') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ('torrelque', *path.relative_to(PACKAGE).parts)[: -node.level] if node.level else ()
            module = '.'.join(filter(None, [*above, node.module]))
            pairs = [(module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in pairs:
            first, _, rest = module.partition('.')
            if first == 'torrelque':
                inner = f'{rest}.{name}'.lstrip('.')
                yield (inner, '') if inner in NAMES else (rest, name)


def is_public(module: str, name: str) -> bool:
    """Whether a name is one of those that a package, or the module of the embedded server, says that it has."""
    return not name or name in importlib.import_module(f'torrelque.{module}'.rstrip('.')).__all__


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_room_imports_what_stands_below_it(path: Path) -> None:
    room = name_of(path).partition('.')[0] if path.parent != PACKAGE else ''
    if room not in ROOMS:
        pytest.skip('a layer')
    assert {module for module, _ in own_imports(path) if module.partition('.')[0] not in ROOMS[room]} == set()


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_layer_imports_public_names_and_checks(path: Path) -> None:
    layer = name_of(path).partition('.')[0]
    if layer not in LAYERS or path.parent == PACKAGE:
        pytest.skip('of the core')
    foreign = {
        (module, name)
        for module, name in own_imports(path)
        if module.partition('.')[0] != layer and module not in ('protocol.check', *OWED)
    }
    open_to_all = {'', 'embedded', 'sync', *LAYERS}
    assert {it for it in foreign if it[0] not in open_to_all or not is_public(*it)} == set()


def lines_of(path: Path) -> int:
    """Lines of a module without those of docstrings."""
    text = path.read_text()
    strings = [
        node.body[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant) and isinstance(node.body[0].value.value, str)
    ]  # fmt: skip
    return len(text.splitlines()) - sum((string.end_lineno or 0) - string.lineno + 1 for string in strings)


def test_modules_are_small() -> None:
    lines = {str(path.relative_to(ROOT)): lines_of(path) for path in MODULES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_commands_in_scripts_only() -> None:
    sources = [path for folder in ('torrelque', 'example') for path in (ROOT / folder).rglob('*') if path.is_file()]
    callers = {path.suffix for path in sources if b'redis.call' in path.read_bytes()}
    assert callers - {'.pyc'} == {'.lua'}


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_script_opens_with_its_arrow_or_with_what_it_is(path: Path) -> None:
    assert re.fullmatch(r'-- (\S.* -> \S.*|[A-Z].+)', path.read_text().partition('\n')[0])


def test_top_level_has_only_what_belongs_there() -> None:
    command = ['git', '-C', str(ROOT), 'ls-files', '--cached', '--others', '--exclude-standard']
    if not (ROOT / '.git').exists():
        pytest.skip('not a checkout')
    files = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert {entry for entry in {file.partition('/')[0] for file in files} if not ENTRIES.fullmatch(entry)} == set()


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    commands = re.findall(r'python3 -m venv .*tox\b.*', (ROOT / '.ci' / 'run').read_text())
    assert len(commands) == 1
    (readme,) = ROOT.glob('README*')
    assert commands[0] in readme.read_text()
