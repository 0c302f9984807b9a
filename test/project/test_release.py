"""A release could be made: of what git knows sdist and wheel are built, and hold what they should.

``tox -e release`` installs them, too, in clean environments.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


def load_script() -> Any:
    """The script, which is in no place where modules are looked for."""
    spec = importlib.util.spec_from_file_location('release', ROOT / '.ci' / 'release.py')
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = load_script()


class Made(NamedTuple):
    tree: Path
    """The copy of which it was built."""
    sdist: Path
    wheel: Path


@pytest.fixture(scope='session')
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What is built of this tree, without network."""
    if not (ROOT / '.git').exists() and not (ROOT / 'torrelque.egg-info').exists():
        pytest.skip('neither a checkout nor an sdist')
    # Processes of one run have a folder each in that of the run, where the first of them builds for all.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / 'release'
    folder.mkdir(exist_ok=True)
    tree, out = folder / 'tree', folder / 'out'
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'built').exists():
            release.copy_tree(tree)
            out.mkdir()
            release.build(tree, out)
            (folder / 'built').touch()
    [sdist], [wheel] = out.glob('*.tar.gz'), out.glob('*.whl')
    return Made(tree, sdist, wheel)


# What is built


@pytest.mark.long
def test_an_sdist_holds_what_git_knows(made: Made) -> None:
    release.check_sdist(made.sdist, ROOT)
    with tarfile.open(made.sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    wanted = {'.ci/run', 'docs/conf.py', 'example/fifo.py', 'test/conftest.py', 'test/model/model.py', 'tox.ini'}
    assert wanted <= names
    assert [name for name in names if '__pycache__' in name or name.endswith('.pyc')] == []


def test_a_wheel_holds_the_package_and_nothing_else(made: Made) -> None:
    release.check_wheel(made.wheel, ROOT)
    with zipfile.ZipFile(made.wheel) as archive:
        names = archive.namelist()
    assert {'torrelque/py.typed', 'torrelque/script/claim.lua', 'torrelque/worker/script/beat.lua'} <= {*names}
    assert {name.partition('/')[0] for name in names} == {'torrelque', f'torrelque-{release.version_of()}.dist-info'}


def test_metadata_say_who_and_where_and_what_changed(made: Made) -> None:
    metadata = release.check_wheel(made.wheel, ROOT)
    release.check_metadata(metadata, ROOT)
    urls = dict(url.split(', ') for url in metadata.get_all('Project-URL'))
    assert all(url.startswith(release.source_of()) for url in urls.values())
    assert metadata['Author'] == 'The Torrelque authors'


@pytest.mark.long
def test_an_sdist_can_be_built_of_an_sdist(made: Made, tmp_path: Path) -> None:
    unpacked = release.unpack(made.sdist, tmp_path / 'unpacked')
    assert release.known_files(unpacked) == release.known_files(ROOT)
    release.copy_tree(tmp_path / 'tree', unpacked)
    assert (tmp_path / 'tree' / 'README.md').read_text() == (made.tree / 'README.md').read_text()
    sdist, wheel = release.build(tmp_path / 'tree', tmp_path)
    release.check_sdist(sdist, ROOT)
    release.check_wheel(wheel, ROOT)


@pytest.mark.long
@pytest.mark.whole
def test_a_release_has_the_same_bytes_wherever_and_whenever_it_is_built(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With another umask, and other times of files.
    before = os.umask(0o077)
    try:
        release.copy_tree(tmp_path / 'tree')
        out = tmp_path / 'out'
        out.mkdir()
        for path in (tmp_path / 'tree').rglob('*'):
            os.utime(path, (1, 1))
        again = Made(tmp_path / 'tree', *release.build(tmp_path / 'tree', out))
    finally:
        os.umask(before)
    for one, other in ((made.sdist, again.sdist), (made.wheel, again.wheel)):
        assert one.read_bytes() == other.read_bytes(), one.name
    # Another day is another release.
    monkeypatch.setenv('SOURCE_DATE_EPOCH', str(release.epoch_of(ROOT) + 86400))
    release.repack(made.sdist, out / 'later.tar.gz', release.epoch_of(ROOT))
    assert (out / 'later.tar.gz').read_bytes() != made.sdist.read_bytes()


def test_a_build_that_differs_each_time_is_noticed(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, 'build', lambda tree, out: (made.wheel, made.sdist))
    with pytest.raises(release.WrongError, match=r'tar.gz has other bytes each time'):
        release.check_same_bytes((made.sdist, made.wheel), made.tree)


def test_sums_are_those_of_the_files(made: Made, tmp_path: Path) -> None:
    lines = release.write_sums([made.wheel, made.sdist], tmp_path).read_text().splitlines()
    assert lines == [
        f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}' for path in sorted((made.sdist, made.wheel))
    ]


def test_what_makes_a_release_is_pinned_with_digests() -> None:
    names = {
        re.split(r'[\[ ]', line)[0] for line in (ROOT / '.ci' / 'build.in').read_text().splitlines() if line[0] != '#'
    }
    text = (ROOT / '.ci' / 'build.txt').read_text()
    pinned = re.split(r'(?m)^(?=[a-z])', text)[1:]
    assert names == {'build', 'cyclonedx-python-lib', 'readme-renderer', 'setuptools', 'twine'}
    found = {}
    for one in pinned:
        match = re.match(r'([a-z0-9-]+)(?:\[[a-z,-]+\])?==(\S+)', one)
        assert match and len(re.findall(r'--hash=sha256:[0-9a-f]{64}', one)) > 0, one
        found[match[1]] = match[2]
    assert names <= {*found} and len(found) > 20
    assert '://' not in text
    assert re.search(r'(?m)^deps = -r \.ci/build\.txt$', (ROOT / 'tox.ini').read_text())


@pytest.mark.parametrize(
    'lost',
    [
        'tox.ini',
        pytest.param('test/conftest.py', marks=pytest.mark.long),
        pytest.param('torrelque/script/claim.lua', marks=pytest.mark.long),
    ],
)
@pytest.mark.long
def test_a_file_that_an_sdist_lacks_is_noticed(made: Made, tmp_path: Path, lost: str) -> None:
    tree = release.unpack(made.sdist, tmp_path)
    (tree / lost).unlink()
    with tarfile.open(tmp_path / made.sdist.name, 'w:gz') as archive:
        archive.add(tree, tree.name)
    with pytest.raises(release.WrongError, match=re.escape(f"lacks ['{lost}']")):
        release.check_sdist(tmp_path / made.sdist.name, ROOT)


def test_a_file_that_nobody_wants_in_a_wheel_is_noticed(made: Made, tmp_path: Path) -> None:
    wheel = Path(shutil.copy(made.wheel, tmp_path))
    with zipfile.ZipFile(wheel, 'a') as archive:
        archive.writestr('test/conftest.py', '')
    with pytest.raises(release.WrongError, match=r"nobody wants: \['test/conftest.py'\]"):
        release.check_wheel(wheel, ROOT)


@pytest.mark.parametrize(
    ('path', 'old', 'new', 'said'),
    [
        ('CHANGELOG.md', '## 1.', '## Unreleased 1.', 'the changelog does not begin with'),
        ('setup.cfg', 'version = 1.', 'version = 2.', 'the version is'),
    ],
)
def test_metadata_that_say_something_else_are_noticed(
    made: Made, tmp_path: Path, path: str, old: str, new: str, said: str
) -> None:
    metadata = release.check_wheel(made.wheel, ROOT)
    tree = release.unpack(made.sdist, tmp_path)
    text = (tree / path).read_text()
    assert old in text
    (tree / path).write_text(text.replace(old, new, 1))
    with pytest.raises(release.WrongError, match=said):
        release.check_metadata(metadata, tree)


def test_a_link_that_leads_nowhere_on_an_index_is_noticed(made: Made) -> None:
    metadata = release.check_wheel(made.wheel, ROOT)
    metadata.set_payload('Look [here](docs/index.md), [there](#limits) and `[not here](docs/sync.md)`.', 'utf-8')
    with pytest.raises(release.WrongError, match=r"\['#limits', 'docs/index.md'\]"):
        release.check_metadata(metadata, ROOT)


# The links of the README

HERE = f'{release.source_of()}/-'
TAG = release.version_of()


@pytest.mark.parametrize(
    ('text', 'absolute'),
    [
        ('[a](docs/sync.md)', f'[a]({HERE}/blob/{TAG}/docs/sync.md)'),
        ('[a](docs/sync.md#x) [b](LICENSE)', f'[a]({HERE}/blob/{TAG}/docs/sync.md#x) [b]({HERE}/blob/{TAG}/LICENSE)'),
        ('[a](#layers)', f'[a]({HERE}/blob/{TAG}/README.md#layers)'),
        ('[a](docs)', f'[a]({HERE}/tree/{TAG}/docs)'),
        ('![a](docs/image/benchmark.svg)', f'![a]({HERE}/raw/{TAG}/docs/image/benchmark.svg)'),
        ('<img src="docs/image/a.png" width="600">', f'<img src="{HERE}/raw/{TAG}/docs/image/a.png" width="600">'),
        ('<source srcset="docs/image/a.png">', f'<source srcset="{HERE}/raw/{TAG}/docs/image/a.png">'),
        ('[a]: docs/sync.md', f'[a]: {HERE}/blob/{TAG}/docs/sync.md'),
        ('[a](https://example.org/docs/x.md) <a href="mailto:a@example.org">', None),
        ('`[a](docs/sync.md)`', None),
        ('```python\nnames[0](docs, 1)\ntext = "[a](docs/sync.md)"\n```', None),
    ],
)
def test_links_of_the_readme_become_those_of_the_tag(text: str, absolute: str | None) -> None:
    assert release.with_absolute_links(text) == (absolute or text)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as the places make them that show it."""
    text = re.sub(r'(?ms)^```.*?^```$', '', page.read_text('utf-8'))
    titles = (re.sub(r'[`*]|\]\([^)]*\)|\[', '', title) for title in re.findall(r'(?m)^#+ (.*)$', text))
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_links_of_the_readme_lead_to_what_is_there() -> None:
    targets = list(release.links_of((ROOT / 'README.md').read_text('utf-8')))
    relative = [link for link in targets if not release.is_absolute(link) and not link.startswith(HERE)]
    if not (ROOT / '.git').exists():
        # An sdist has them absolute already.
        relative = [link.partition(f'/{TAG}/')[2] for link in targets if link.startswith(HERE)]
    assert len(relative) > 10
    for link in relative:
        path, _, heading = link.partition('#')
        page = ROOT / (path or 'README.md')
        assert page.exists(), link
        assert not heading or heading in headings(page), link


def test_interpreters_are_looked_for_where_they_are() -> None:
    found = release.pythons()
    assert found[sys.version_info[1]] == sys.executable
    assert {*found} <= {*release.MINORS}
