"""The rules of the layout, read from the sources: who may import whom, and what is where."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.sources import parse
from torrelque.worker.held import Held

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'torrelque'

MODULES = sorted(PACKAGE.rglob('*.py'))
SCRIPTS = sorted(PACKAGE.rglob('*.lua'))
TESTS = sorted((ROOT / 'test').rglob('*.py'))
EXAMPLES = sorted((ROOT / 'example').rglob('*.py'))

ROOMS = {
    '': {'error', 'model', 'codec', 'base', 'protocol', 'aio'},
    'protocol': {'error', 'model', 'codec', 'protocol'},
    'aio': {'error', 'model', 'codec', 'base', 'protocol', 'aio'},
    'sync': {'error', 'model', 'codec', 'base', 'protocol', 'sync', ''},
}
"""What the modules of the core may import: theirs and what stands below them, by the first part of the dotted path."""
LAYERS = sorted({path.parent.name for path in PACKAGE.glob('*/__init__.py')} - {*ROOMS})
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
    for node in ast.walk(parse(path.read_text())):
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
    """Whether a name is in the ``__all__`` of the module that it is imported from."""
    found = importlib.import_module(f'torrelque.{module}'.rstrip('.'))
    return name in getattr(found, '__all__', ()) if name else hasattr(found, '__all__')


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_room_imports_what_stands_below_it(path: Path) -> None:
    room = name_of(path).partition('.')[0] if path.parent != PACKAGE else ''
    if room not in ROOMS or path.name == '__main__.py':
        pytest.skip('a layer, or its door')
    assert {module for module, _ in own_imports(path) if module.partition('.')[0] not in ROOMS[room]} == set()


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_layer_imports_public_names_and_checks(path: Path) -> None:
    layer = name_of(path).partition('.')[0]
    if layer not in LAYERS or path.parent == PACKAGE:
        pytest.skip('of the core')
    foreign = {
        (module, name)
        for module, name in own_imports(path)
        if module.partition('.')[0] != layer and module not in ('protocol.check', 'protocol.keys')
    }
    open_to_all = {'', 'embedded', 'sync', *LAYERS}
    foreign -= PRIVATE.get(name_of(path), set())
    assert {it for it in foreign if it[0].partition('.')[0] not in open_to_all or not is_public(*it)} == set()


EXCEPTIONS = {
    ('codec', 'JSON'), ('error', 'no_reply'), ('error', 'no_task'), ('aio.shelf', 'Delivery'), ('aio.shelf', 'Shelf'),
    ('aio.waiters', 'Waiters'), ('error', 'ServerStaleError'), ('error', 'is_untouched'), ('error', 'reason_of'),
    ('protocol.growing', ''), ('protocol.schedules', ''), ('protocol.steps', ''),
    ('protocol.calls', 'Calls'), ('protocol.routed', 'Routed'),
}  # fmt: skip
PRIVATE = {'sharded.inside': {('', f'_{it}') for it in ('calls', 'link', 'session', 'shard', 'started')} | EXCEPTIONS}
"""What a layer uses of the core that is not public, all in one module of it: attributes, and names of modules."""


def test_what_a_layer_uses_of_the_core_that_is_private_is_in_one_module_of_it() -> None:
    layers = {module.partition('.')[0] for module in PRIVATE}
    found: dict[str, set[tuple[str, str]]] = {}
    for layer in layers:
        paths = {name_of(path): path for path in sorted((PACKAGE / layer).glob('*.py'))}
        trees = {module: parse(path.read_text()) for module, path in paths.items()}
        own = {
            getattr(node, 'attr', None) or getattr(node, 'name', None)
            for tree in trees.values() for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == 'self'
        }  # fmt: skip
        for module, tree in trees.items():
            used = {
                ('', node.attr) for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and node.attr.startswith('_') and not node.attr.endswith('__')
                and node.attr not in {*own, '_replace'}
            } | {it for it in own_imports(paths[module]) if it in EXCEPTIONS}  # fmt: skip
            if used:
                found[module] = used
    assert found == PRIVATE


def circles(graph: Mapping[str, set[str]]) -> set[tuple[str, ...]]:
    """Modules of which each is reached from each other one by what they import, and more than one."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        coming = [*graph[start]]
        while coming:
            if (name := coming.pop()) not in seen:
                seen.add(name)
                coming += graph[name]
        reached[start] = seen
    both = {start: sorted(name for name in seen if start in reached[name]) for start, seen in reached.items()}
    return {tuple(names) for names in both.values() if names}


def test_a_circle_is_found() -> None:
    assert circles({'a': {'b'}, 'b': {'c'}, 'c': {'b', 'd'}, 'd': set()}) == {('b', 'c')}
    assert circles({'a': {'a'}, 'b': {'a'}}) == {('a',)}


def test_no_modules_import_one_another_in_a_circle() -> None:
    # A package's own module imports most of what is in the package, for others to import it there.
    graph = {name_of(path): {module for module, _ in own_imports(path)} for path in MODULES}
    assert circles(graph) == set()


def test_a_held_task_is_changed_by_its_own_methods_alone() -> None:
    own = {*Held.__slots__}
    written = {
        (name_of(path), node.attr)
        for path in sorted((PACKAGE / 'worker').glob('*.py'))
        for node in ast.walk(parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)) and node.attr in own
        and not (isinstance(node.value, ast.Name) and node.value.id == 'self')
    }  # fmt: skip
    assert written == set()


def lines_of(path: Path) -> int:
    """Lines of a module without those of docstrings, be it of a function, a constant or an attribute."""
    text = path.read_text()
    strings = [
        node
        for node in ast.walk(parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return len(text.splitlines()) - sum((string.end_lineno or 0) - string.lineno + 1 for string in strings)


def test_modules_are_small() -> None:
    long = [path for path in [*MODULES, *TESTS] if path.read_text().count('\n') > MAX_LINES]  # with their docstrings
    lines = {str(path.relative_to(ROOT)): lines_of(path) for path in long}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_modules_of_tests_have_names_of_their_own() -> None:
    # Folders of tests are no packages, so that two modules of one name would be one to Python, and to the mutants.
    names = Counter(path.stem for path in TESTS if path.stem.startswith('test_'))
    assert {name for name, count in names.items() if count > 1} == set()


def changes_path(node: ast.AST) -> bool:
    """Whether something writes to `sys.path`."""
    if isinstance(node, ast.Call):
        return re.match(r'sys\.path\.\w+$', ast.unparse(node.func)) is not None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    return any(re.match(r'sys\.path\b', ast.unparse(target)) for target in targets)


def test_a_change_of_the_path_is_found() -> None:
    for line in ('sys.path[:0] = [1]', 'sys.path.append(1)', 'sys.path += [1]', 'sys.path = [1]'):
        assert any(map(changes_path, ast.walk(parse(line)))), line
    assert not any(map(changes_path, ast.walk(parse('place = sys.path[0]; paths = [*sys.path]'))))


def test_nothing_changes_where_modules_are_looked_for() -> None:
    """`pythonpath` of pytest is the one entry, and `PYTHONPATH` of whatever is run by ``python -m``."""
    # A fork of this one begins as a process does that was given `PYTHONPATH`.
    forks = ROOT / 'test' / 'proof' / 'mutants' / 'nursery.py'
    for path in {*TESTS, *EXAMPLES} - {forks}:
        text = path.read_text()
        if re.search(r'\bsys\b\s*\.\s*path\b', text):
            assert [ast.unparse(node) for node in ast.walk(parse(text)) if changes_path(node)] == [], path


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


FOREIGN = {
    *('collections.abc', 'dataclasses', 'datetime', 'functools', 'graphlib', 'hashlib', 'hiredis'),
    'importlib.resources',
    *('inspect', 'itertools', 'json', 'logging', 'math', 'os', 're', 'redis.exceptions', 'time', 'typing'),
}
"""What the modules of `protocol` may import of others: nothing that waits, sends or listens."""


@pytest.mark.parametrize('path', sorted((PACKAGE / 'protocol').glob('*.py')), ids=name_of)
def test_protocol_imports_nothing_that_waits_or_sends(path: Path) -> None:
    found: set[str] = set()
    for node in ast.walk(parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= set() if node.module.startswith('torrelque') else {node.module}
            # A clock is read, and nothing sleeps.
            assert node.module != 'time' or {alias.name for alias in node.names} <= {'monotonic'}
    assert found <= FOREIGN
