"""Make a release of what git knows, and try it: ``python .ci/release.py``, or ``tox -e release``.

In a copy of the tree the links of the README are made absolute, because a page of an index has no files beside it.  Of
the copy sdist and wheel are built, into ``dist``.  What they hold is compared with the tree; then both are installed in
clean environments of each Python from 3.10 to 3.14 that is there, in which ``.ci/smoke.py`` runs.  The last line says
what was made; the exit status is 1 where something was wrong.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MINORS = range(10, 15)
"""Minor versions of Python that the package runs on."""
PICTURES = {'.gif', '.jpg', '.png', '.svg'}
# Code, of which nothing is a link; and where links are: behind a text in brackets, and in tags of HTML.
_LINK = re.compile(
    r'(?P<code>^ *```.*?^ *```$|`[^`\n]+`)'
    r'|(?P<before>\]\(|^\[[^]\n]+\]: +|\b(?:href|src|srcset)=")(?P<target>[^)"\s]+)',
    re.M | re.S,
)


class WrongError(Exception):
    """The release cannot be made so."""


def demand(condition: object, what: str) -> None:
    """Refuse to go on where something is wrong."""
    if not condition:
        raise WrongError(what)


def settings(tree: Path = ROOT) -> configparser.ConfigParser:
    """What the package is."""
    parser = configparser.ConfigParser()
    parser.read(tree / 'setup.cfg', 'utf-8')
    return parser


def version_of(tree: Path = ROOT) -> str:
    """The version, which is the name of the release's tag, too."""
    return settings(tree)['metadata']['version']


def source_of(tree: Path = ROOT) -> str:
    """The address of the repository, as the metadata say."""
    urls = dict(line.split(' = ') for line in settings(tree)['metadata']['project_urls'].strip().splitlines())
    return urls['Source']


def known_files(tree: Path = ROOT) -> list[str]:
    """The files of a release: those that git knows; in a tree that was unpacked from an sdist, those of its list."""
    if (tree / '.git').exists():
        listed = subprocess.run(['git', '-C', str(tree), 'ls-files', '-z'], check=True, stdout=subprocess.PIPE).stdout
        return sorted(name for name in listed.decode().split('\0') if name and (tree / name).is_file())
    sources = (tree / 'torrelque.egg-info' / 'SOURCES.txt').read_text('utf-8').splitlines()
    return sorted(name for name in sources if not name.startswith('torrelque.egg-info/'))


# Links of the README


def links_of(text: str) -> Iterator[str]:
    """Where the links and pictures of a page lead."""
    return (match['target'] for match in _LINK.finditer(text) if match['target'])


def is_absolute(target: str) -> bool:
    """Whether a link leads to the same place wherever the page is."""
    return re.match(r'[a-z][a-z0-9+.-]*:', target) is not None


def with_absolute_links(text: str, tree: Path = ROOT) -> str:
    """The text of the README with links to the tree of the release's tag, its own headings included."""
    base, tag = source_of(tree), version_of(tree)

    def absolute(match: re.Match[str]) -> str:
        target = match['target']
        if target is None or is_absolute(target):
            return match[0]
        path, _, heading = target.partition('#')
        place = 'raw' if PurePosixPath(path).suffix in PICTURES else 'tree' if (tree / path).is_dir() else 'blob'
        place = 'blob' if not path else place
        return f'{match["before"]}{base}/-/{place}/{tag}/{path or "README.md"}{"#" if heading else ""}{heading}'

    return _LINK.sub(absolute, text)


# Building


def copy_tree(to: Path, tree: Path = ROOT) -> None:
    """Copy the files of a release, with the README as an index is to show it."""
    for name in known_files(tree):
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, path)
        shutil.copymode(tree / name, path)
    readme = to / 'README.md'
    readme.write_text(with_absolute_links(readme.read_text('utf-8'), tree), 'utf-8')


def build(tree: Path, out: Path, isolated: bool = True) -> tuple[Path, Path]:
    """Build sdist and, of that, wheel.

    :param isolated: whether setuptools is fetched for it; otherwise it must be installed here, and no network is used.
    """
    options = [] if isolated else ['--no-isolation', '--skip-dependency-check']
    run([sys.executable, '-m', 'build', *options, '--outdir', str(out), str(tree)])
    stem = f'torrelque-{version_of(tree)}'
    return out / f'{stem}.tar.gz', out / f'{stem}-py3-none-any.whl'


def run(command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command; its output, which is shown where the command fails."""
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout)
        raise WrongError(f'{" ".join(command)} has failed with {done.returncode}')
    return done.stdout


# Checking what was built


def check_sdist(sdist: Path, tree: Path) -> None:
    """Compare an sdist with the tree: all files are there, and none besides, but for what setuptools adds."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition('/')[2] for member in archive if member.isfile()}
    added = {name for name in names if name.startswith('torrelque.egg-info/')} | {'PKG-INFO'}
    _check_same('the sdist', names - added, {*known_files(tree)})


def check_wheel(wheel: Path, tree: Path) -> Message:
    """Compare a wheel with the package in the tree, and read its metadata."""
    stem = f'torrelque-{version_of(tree)}.dist-info'
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(f'{stem}/METADATA'))
    ours = {name for name in known_files(tree) if name.startswith('torrelque/')}
    _check_same('the wheel', {name for name in names if not name.startswith(f'{stem}/')}, ours)
    demand(f'{stem}/licenses/LICENSE' in names, 'the wheel has no licence')
    return metadata


def _check_same(what: str, found: set[str], wanted: set[str]) -> None:
    demand(not wanted - found, f'{what} lacks {sorted(wanted - found)}')
    demand(not found - wanted, f'{what} has what nobody wants: {sorted(found - wanted)}')


def check_metadata(metadata: Message, tree: Path) -> None:
    """Refuse metadata that say too little, or something else than the changelog."""
    version = version_of(tree)
    demand(metadata['Version'] == version, f'the version is {metadata["Version"]}, and not {version}')
    for field in ('Author', 'License-Expression', 'Requires-Python', 'Summary'):
        demand(metadata[field], f'the metadata have no {field}')
    labels = {str(url).partition(',')[0] for url in metadata.get_all('Project-URL', ())}
    demand(labels >= {'Changelog', 'Documentation', 'Issues', 'Source'}, f'the metadata have the addresses {labels}')
    heading = re.search(r'(?m)^## (.*)$', (tree / 'CHANGELOG.md').read_text('utf-8'))
    begins = heading and re.fullmatch(rf'{re.escape(version)} - \d{{4}}-\d\d-\d\d', heading[1])
    demand(begins, f'the changelog does not begin with {version} and its day')
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    relative = sorted({link for link in links_of(text.decode()) if not is_absolute(link)})
    demand(not relative, f'links of the README lead nowhere: {relative}')


# Trying it


def pythons() -> dict[int, str]:
    """The interpreters that are there, by their minor version: on PATH, of pyenv, or this one."""
    found: dict[int, str] = {}
    home = Path(os.environ.get('PYENV_ROOT') or Path.home() / '.pyenv')
    for minor in MINORS:
        named = [shutil.which(f'python3.{minor}'), *map(str, sorted(home.glob(f'versions/3.{minor}.*/bin/python')))]
        here = [sys.executable] if sys.version_info[:2] == (3, minor) else []
        for python in (*here, *filter(None, named)):
            # A stand-in of pyenv is there for a version that is not chosen, too, and says so when it is called.
            told = subprocess.run([python, '-c', 'import sys, venv; print(sys.version_info[1])'], capture_output=True)
            if told.stdout.split() == [str(minor).encode()]:
                found[minor] = python
                break
    return found


def unpack(sdist: Path, to: Path) -> Path:
    """Unpack an sdist; its tree."""
    # Not all versions of 3.10 and 3.11 know filters.
    options: dict[str, Any] = {'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}
    with tarfile.open(sdist) as archive:
        archive.extractall(to, **options)
    return to / sdist.name.removesuffix('.tar.gz')


def try_out(python: str, made: Path, extras: Sequence[str]) -> str:
    """Install an artefact in a clean environment, away from the tree, and run the smoke test; its last line."""
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        run([python, '-m', 'venv', f'{folder}/venv'])
        inner = f'{folder}/venv/bin/python'
        env = {name: value for name, value in os.environ.items() if not name.startswith('PYTHON')}
        what = f'torrelque[{",".join(extras)}] @ {made.resolve().as_uri()}'
        run([inner, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', what], env=env)
        run([inner, '-m', 'pip', 'check'], env=env)
        program = shutil.copy(ROOT / '.ci' / 'smoke.py', folder)
        told = run([inner, '-W', 'error', program], cwd=Path(folder), env=env)
        command = Path(folder, 'venv', 'bin', 'torrelque')
        if command.exists():
            version = run([str(command), '--version'], cwd=Path(folder), env=env)
            demand(version_of() in version, f'torrelque --version says {version!r}')
        return told.splitlines()[-1]


def run_tests(sdist: Path) -> str:
    """Run the quick part of the tests in an unpacked sdist; the closing line of pytest."""
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        tree = unpack(sdist, Path(folder))
        run([sys.executable, '-m', 'venv', f'{folder}/venv'])
        python = f'{folder}/venv/bin/python'
        run([python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '.[test]'], cwd=tree)
        run([python, 'test/support/servers.py', 'install'], cwd=tree)
        told = run([python, '-m', 'pytest', '-q', '-n', '4', '--dist', 'worksteal', '-m', 'not long'], cwd=tree)
        return told.splitlines()[-1]


# All of it


def release(out: Path, tests: bool, say: Callable[[str], None] = print) -> None:
    """Make and try a release.

    :raises WrongError: something is wrong with it.
    """
    if (ROOT / '.git').exists():
        changed = run(['git', '-C', str(ROOT), 'status', '--short', '--untracked-files=no'])
        if changed:
            say(f'not committed, and in the release all the same:\n{changed.rstrip()}')
    for old in [*out.glob('torrelque-*.tar.gz'), *out.glob('torrelque-*.whl')]:
        old.unlink()
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        tree = Path(folder)
        copy_tree(tree)
        sdist, wheel = build(tree, out)
    check_sdist(sdist, ROOT)
    metadata = check_wheel(wheel, ROOT)
    check_metadata(metadata, ROOT)
    run([sys.executable, '-m', 'twine', 'check', '--strict', str(sdist), str(wheel)])
    say(f'{sdist.name} and {wheel.name} hold what they should')
    extras = sorted({'cli', 'cron', 'embedded'} & {*map(str, metadata.get_all('Provides-Extra', ()))})
    there = pythons()
    for python in there.values():
        for made in (wheel, sdist):
            say(f'{made.name}: {try_out(python, made, extras)}')
    if tests:
        say(f'tests of the sdist: {run_tests(sdist)}')
    missing = [f'3.{minor}' for minor in MINORS if minor not in there]
    besides = f'; not tried, because they are not here: {", ".join(missing)}' if missing else ''
    say(f'made in {out}, and tried with Python {", ".join(f"3.{minor}" for minor in there)}{besides}')


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Build sdist and wheel, check them, and try them out.')
    parser.add_argument('--out', type=Path, default=ROOT / 'dist', help='where to put them (default: dist)')
    parser.add_argument('--tests', action='store_true', help="run the quick part of the sdist's own tests, too")
    arguments = parser.parse_args()
    try:
        release(arguments.out.resolve(), arguments.tests, lambda line: print(line, flush=True))
    except WrongError as exc:
        sys.exit(f'no release: {exc}')


if __name__ == '__main__':
    main()
