"""What the pages list is complete: commands, keys, scripts, public names, events, files."""

from __future__ import annotations

import importlib
import importlib.resources
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import torrelque
import torrelque.contrib
import torrelque.sync
from torrelque.protocol.keys import DECLARED, FIXED, PREFIXES, WORKERS
from torrelque.protocol.table import TABLE
from torrelque.worker.log import EVENTS

ROOT = Path(__file__).parents[2]

RUN = 'python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox'
SHOW = "python3 -m venv .venv && .venv/bin/pip install -q '.[embedded]' && .venv/bin/python example/batch_processing.py"
KEPT = (
    'client = redis.asyncio.Redis()',
    "queue = torrelque.Torrelque(client, queue='email')",
    'queue.schedule_sweep()          # to make due requeued tasks available again',
    "task_id = await queue.enqueue({'addr': 'joe@doe.com'})",
    'task_id, task_data = await queue.dequeue()',
    'await queue.requeue(task_id, delay=30)      # or',
    'await queue.release(task_id)',
)


# What the pages list


def test_readme_opens_with_its_commands() -> None:
    title, rest = (ROOT / 'README.md').read_text().split('\n', 1)
    assert title == '# Torrelque'
    assert rest.startswith(f'\n```shell\n{SHOW}\n{RUN}\n```\n')


def test_test_command_of_the_readme_is_what_continuous_integration_runs() -> None:
    commands = re.findall(r'(?m)^\s*(python3 -m venv .*)$', (ROOT / '.ci' / 'run').read_text())
    assert commands == [RUN]


def test_readme_has_the_lines_of_the_quickstart() -> None:
    lines = (ROOT / 'README.md').read_text().splitlines()
    places = [lines.index(line) for line in KEPT]
    assert places == sorted(places)


def test_table_of_keys_names_each_key_once() -> None:
    assert sorted(named_keys((ROOT / 'docs' / 'data-model.md').read_text())) == sorted(FIXED + PREFIXES)


@pytest.mark.parametrize('page', ['docs/data-model.md', 'docs/worker.md'])
def test_table_of_the_keys_of_workers_names_each_key_once(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r'(?m)^\| `\{q\}:(\w+)(?::N(?:AME)?)?` ', text) == [*WORKERS]


def named_keys(text: str) -> list[str]:
    table = re.search(r'(?m)^\| key \|.*\n\|[-|]+\n((?:\|.*\n)+)', text)
    assert table
    cells = [row.split('|')[1] for row in table[1].splitlines()]
    return [name.partition(':')[0] for cell in cells for name in re.findall(r'`([^`]+)`', cell)]


SCRIPTS = sorted(
    path.name.removesuffix('.lua')
    for path in importlib.resources.files('torrelque').joinpath('script').iterdir()
    if path.name.endswith('.lua')
)


@pytest.mark.parametrize('name', SCRIPTS)
def test_script_is_in_the_data_model(name: str) -> None:
    assert f'\n```{{lua-header}} {name}\n```\n' in (ROOT / 'docs' / 'data-model.md').read_text()


def test_declared_keys_are_in_the_data_model_in_their_order() -> None:
    text = (ROOT / 'docs' / 'data-model.md').read_text()
    listed = re.findall(r'(?m)^KEYS\[(\d+)\] +\{q\}:(\w+)$', text)
    assert listed == [(str(number), name) for number, name in enumerate(DECLARED, 1)]


REFERENCE = ROOT / 'docs' / 'reference'


def public_modules() -> list[str]:
    """The module of the package itself, and each right below it, or below `contrib`, that has names for all."""
    places = {'torrelque': torrelque.__path__, 'torrelque.contrib': torrelque.contrib.__path__}
    below = [
        f'{place}.{info.name}' for place, path in places.items() for info in pkgutil.iter_modules(path)
        if info.name[0] != '_'
    ]  # fmt: skip
    return ['torrelque', *(name for name in below if hasattr(importlib.import_module(name), '__all__'))]


def documented(module: str) -> tuple[str, set[str]]:
    """The text of the page of a module, and the names that it documents."""
    text = (REFERENCE / f'{module.rpartition(".")[2]}.md').read_text()
    assert f'\n.. module:: {module}\n' in text
    names = re.findall(rf'(?m)^\.\. auto(?:class|exception|function|data):: {re.escape(module)}\.(\w+)\b(?!\.)', text)
    assert len({*names}) == len(names), f'{module}: a name is there twice'
    return text, {*names}


def aliases(module: str) -> set[str]:
    """Public names that stand for what has another name, such as the one that it had before."""
    found = importlib.import_module(module)
    named = {name: getattr(getattr(found, name), '__name__', name) for name in found.__all__}
    return {name for name, own in named.items() if name != own and own in found.__all__}


@pytest.mark.parametrize('module', public_modules())
def test_reference_has_every_public_name_of_a_module(module: str) -> None:
    text, names = documented(module)
    public = {*importlib.import_module(module).__all__}
    assert names - public == set()
    others = public - names
    assert others - aliases(module) == set()
    assert {name for name in others if f'`{name}`' not in text and f'`{module}.{name}`' not in text} == set()


def test_public_modules_are_found() -> None:
    layers = {f'torrelque.{name}' for name in ('worker', 'tasks', 'sync', 'testing', 'embedded', 'contrib.django')}
    assert {'torrelque', *layers} <= {*public_modules()}
    assert not {'torrelque.aio', 'torrelque.protocol'} & {*public_modules()}


def test_index_of_the_reference_names_every_page() -> None:
    text = (REFERENCE / 'index.md').read_text()
    pages = {path.stem for path in REFERENCE.glob('*.md')} - {'index'}
    assert pages == {module.rpartition('.')[2] for module in public_modules()}
    tree = re.search(r'(?s)```{toctree}\n:hidden:\n\n(.*?)```', text)
    assert tree and {*tree[1].split()} == pages
    assert {*re.findall(r'(?m)^\| \[`[\w.]+`\]\((\w+)\.md\)', text)} == pages


def test_reference_has_every_verb() -> None:
    members = re.search(r'autoclass:: torrelque\.Torrelque\n +:members: ((?:.+\n)+)', documented('torrelque')[0])
    assert members
    public = {name for name in dir(torrelque.Torrelque) if not name.startswith('_')}
    assert set(re.findall(r'\w+', members[1])) == public | {'client', 'keys', 'max_tasks', 'name', 'serialiser'}


def test_page_of_the_worker_has_every_event_of_its_log() -> None:
    text = (ROOT / 'docs' / 'worker.md').read_text()
    table = re.search(r'(?m)^\| event \|.*\n\|[-|]+\n((?:\|.*\n)+)', text)
    assert table
    cells = [row.split('|')[1] for row in table[1].splitlines()]
    assert sorted(name for cell in cells for name in re.findall(r'`(\w+)`', cell)) == sorted(EVENTS)
    written = re.findall(r"'((?:worker|task)_[a-z]+)'", (ROOT / 'torrelque' / 'worker' / 'log.py').read_text())
    assert {*written} - {'task_id'} == {*EVENTS}


# The comparison with others

COMPARISON = ROOT / 'docs' / 'comparison.md'
NOTHING_FOUND = re.compile(r'(none|no|not said|not found out|one)\b.*|\u2013')


def test_what_the_comparison_says_of_others_tells_how_it_was_found() -> None:
    text = COMPARISON.read_text().partition('## When a worker is killed')[2]
    rows = [row.strip('| ').split(' | ') for row in re.findall(r'(?m)^\| .+', text)]
    others = [row for row in rows if row[0] not in ('system', 'Torrelque')]
    assert len(others) == 10 * text.count('\n| system |')
    found = [f'{row[0]}: {cell}' for row in others for cell in row[1:] if not re.search('[ᵗˢᵈ]', cell)]
    assert [cell for cell in found if not NOTHING_FOUND.fullmatch(cell.partition(': ')[2])] == []


def test_pages_about_others_name_the_same_versions() -> None:
    table = COMPARISON.read_text().partition('## Versions')[2].partition('\n## ')[0]
    versions = dict(re.findall(r'(?m)^\| (\w+) \| (\d+\.\d+\.\d+)', table))
    coming = ' '.join((ROOT / 'docs' / 'coming-from.md').read_text().split('```')[0].split())
    assert len(versions) == 10
    told = {name: version for name, version in versions.items() if f'{name} ' in coming}
    assert len(told) == 8
    assert {name for name, version in told.items() if f'{name} {version}' not in coming} == set()


# The page of the architecture

_FILE = re.compile(r'[\w/.-]+\.(?:py|lua|md)\b')
ARCHITECTURE = ROOT / 'docs' / 'architecture.md'
FOR_CONTRIBUTORS = [
    *(ARCHITECTURE, ROOT / 'docs' / 'contributing.md', ROOT / 'test' / 'README.md'),
    *(ROOT / 'docs').glob('decisions/*.md'),
]


def named_files(page: Path) -> set[str]:
    """Files that a page names in code spans; under a heading of a folder, the names of those in it are enough."""
    names: set[str] = set()
    folder = ''
    for line in page.read_text().splitlines():
        if heading := re.match('#+ (?:`([a-z]+/)`)?', line):
            folder = heading[1] or ''
        for span in re.findall('`([^`]+)`', line):
            names.update(name if '/' in name else folder + name for name in _FILE.findall(span))
    return {name for name in names if 'NAME' not in name}


@pytest.mark.parametrize('page', FOR_CONTRIBUTORS, ids=lambda page: page.stem)
def test_files_that_a_page_for_contributors_names_are_there(page: Path) -> None:
    places = (ROOT / 'torrelque', ROOT, page.parent)
    assert {name for name in named_files(page) if not any([*place.glob(name)] for place in places)} == set()


def test_architecture_has_every_module_of_the_core_and_every_script() -> None:
    package = ROOT / 'torrelque'
    modules = [path for room in ('', 'protocol', 'aio', 'sync') for path in (package / room).glob('*.py')]
    scripts = [path for path in (package / 'script').glob('*.lua') if not path.name.startswith('_')]
    rooms = {f'{room}/__init__.py' for room in ('protocol', 'aio', 'sync')}
    core = {path.relative_to(package).as_posix() for path in [*modules, *scripts]} - rooms
    assert core - named_files(ARCHITECTURE) == set()


# Pictures

IMAGES = ROOT / 'docs' / 'image'


@pytest.mark.parametrize('name', ['alert', 'flow', 'overview', 'rooms', 'runs', 'states', 'throughput', 'trace'])
def test_picture_is_what_its_script_draws(name: str, tmp_path: Path) -> None:
    """Where it is red: ``python docs/image/NAME.py`` draws it anew."""
    subprocess.run([sys.executable, str(IMAGES / f'{name}.py'), str(tmp_path)], check=True)
    assert {path.name for path in tmp_path.iterdir()} == {f'{name}-light.svg', f'{name}-dark.svg'}
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text() == (IMAGES / path.name).read_text(), path.name


def transitions() -> set[tuple[str, str, str]]:
    """Script, from, to, by the arrows of the table."""
    found = set()
    for row in TABLE:
        for arrow in row.arrow.split(', ') if ' -> ' in row.arrow else []:
            sources, targets = (side.split(' | ') for side in arrow.split(' -> '))
            found |= {(row.name, source, target) for source in sources for target in targets}
    return found


def test_picture_of_the_states_has_every_state_and_every_transition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(IMAGES))
    states = importlib.import_module('states')
    assert {name.upper() for name in states.STATES} == {*torrelque.TorrelqueTaskStatus.__members__}
    shown = [transition for arrow in states.ARROWS for transition in arrow.shows]
    assert {*shown} == transitions()
    assert len({*shown}) == len(shown)


@pytest.mark.parametrize('name', ['alert', 'flow', 'overview', 'runs', 'states', 'throughput', 'trace'])
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_picture_can_be_read_aloud(name: str, theme: str) -> None:
    tree = ElementTree.parse(IMAGES / f'{name}-{theme}.svg').getroot()
    assert tree.get('role') == 'img'
    told = {part.get('id'): part.text for part in tree if part.get('id')}
    assert [bool(told[name]) for name in str(tree.get('aria-labelledby')).split()] == [True, True]
