"""The rules of the layout, read from the sources: who may import whom, and what is where."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import torrelque

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'torrelque'

CORE = sorted(path for path in PACKAGE.glob('*.py'))
LAYERS = sorted(path.parent.name for path in PACKAGE.glob('*/__init__.py'))
MODULES = sorted(PACKAGE.rglob('*.py'))
SCRIPTS = sorted(PACKAGE.rglob('*.lua'))

# Modules that may import no others of ours than these.
FOUNDATIONS = {
    'error': set[str](),
    'model': set[str](),
    'keys': {'error'},
    'check': {'error', 'model'},
    'lua': set[str](),
    'protocol': {'check', 'error', 'keys', 'lua', 'model'},
    'replies': {'error', 'model', 'protocol'},
    'calls': {'check', 'keys', 'model', 'protocol', 'replies'},
    'steps': {'calls', 'check', 'error', 'model', 'protocol', 'replies'},
    'patience': {'replies'},
    'unsure': {'protocol'},
    'embedded': {'error'},
}
MAX_LINES = 400

ENTRIES = re.compile(
    r'(setup\.cfg|pyproject\.toml|tox\.ini|MANIFEST\.in|\.gitlab-ci\.yml|\.gitignore|\.ci'
    r'|torrelque|test|example|docs|README.*|CHANGELOG.*|LICENSE)'
)


def own_imports(path: Path) -> Iterator[str]:
    """Names right below `torrelque` that a module imports, inside functions too."""

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ('torrelque', *path.relative_to(PACKAGE).parts)[: -node.level] if node.level else ()
            module = '.'.join(filter(None, [*above, node.module]))
            names = [f'{module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition('.')
            if first == 'torrelque':
                yield rest.partition('.')[0]


@pytest.mark.parametrize('path', CORE, ids=lambda path: path.stem)
def test_core_imports_no_layer(path: Path) -> None:
    assert not set(own_imports(path)) & set(LAYERS)


@pytest.mark.parametrize('path', [path for name in LAYERS for path in sorted((PACKAGE / name).rglob('*.py'))], ids=str)
def test_layer_imports_public_names_and_layers_only(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0]
    allowed = {*torrelque.__all__, *LAYERS, 'embedded'}
    if layer == 'sync':
        # The same calls, sent another way.
        allowed |= FOUNDATIONS.keys()
    assert set(own_imports(path)) <= allowed


@pytest.mark.parametrize('name', FOUNDATIONS)
def test_foundation_imports_only_what_is_below_it(name: str) -> None:
    assert set(own_imports(PACKAGE / f'{name}.py')) <= FOUNDATIONS[name]


def test_modules_are_small() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
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
