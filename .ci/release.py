"""Make a release of what git knows, and try it: ``python .ci/release.py``, or ``tox -e release``.

In a copy of the tree the links of the README are made absolute, because a page of an index has no files beside it.  Of
the copy sdist and wheel are built, into ``dist``, and once more: the same tree gives the same bytes, whenever and
wherever it is built with what ``.ci/build.txt`` pins.  What they hold is compared with the tree; then both are set up
in clean environments of each Python from 3.10 to 3.14 that is there, in which ``.ci/smoke.py`` runs: the wheel with all
extras of users, the sdist with few, where what is missing has to be told.  Beside them lie lists of what they stand on
(``.ci/sbom.py``), and ``SHA256SUMS`` of all of it.  The last line says what was made; the exit status is 1 where
something was wrong.
"""

from __future__ import annotations

import argparse
import configparser
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MINORS = range(10, 15)
"""Minor versions of Python that the package runs on."""
OF_DEVELOPERS = {'docs', 'example', 'lint', 'test'}
"""Extras of those who work on the package, and not of those who use it."""
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
    """Copy the files of a release, with the README as an index is to show it, and with modes that are the same
    whatever the umask of this place."""
    for name in known_files(tree):
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, path)
        path.chmod(0o755 if (tree / name).stat().st_mode & 0o100 else 0o644)
    readme = to / 'README.md'
    readme.write_text(with_absolute_links(readme.read_text('utf-8'), tree), 'utf-8')


def epoch_of(tree: Path) -> int:
    """The time (s since 1970) that all files of a release bear: the day in the first heading of the changelog, if
    ``SOURCE_DATE_EPOCH`` does not say another."""
    if given := os.environ.get('SOURCE_DATE_EPOCH'):
        return int(given)
    day = re.search(r'(?m)^## .* - (\d{4}-\d\d-\d\d)$', (tree / 'CHANGELOG.md').read_text('utf-8'))
    return int(datetime.fromisoformat(day[1] if day else '2026-01-01').replace(tzinfo=timezone.utc).timestamp())


def build(tree: Path, out: Path) -> tuple[Path, Path]:
    """Build an sdist and, of that, a wheel, with the setuptools that is installed here; no network is used."""
    stem, epoch = f'torrelque-{version_of(tree)}', epoch_of(tree)
    sdist, wheel = out / f'{stem}.tar.gz', out / f'{stem}-py3-none-any.whl'
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        _build('--sdist', tree, Path(folder), epoch)
        repack(Path(folder) / sdist.name, sdist, epoch)
        _build('--wheel', unpack(sdist, Path(folder)), out, epoch)
    return sdist, wheel


def _build(what: str, tree: Path, out: Path, epoch: int) -> None:
    options = [what, '--no-isolation', '--skip-dependency-check', '--outdir', str(out)]
    run([sys.executable, '-m', 'build', *options, str(tree)], env={**os.environ, 'SOURCE_DATE_EPOCH': str(epoch)})


def repack(made: Path, to: Path, epoch: int) -> None:
    """Write an sdist anew, without what is different each time: times, owners, their order."""
    with tarfile.open(made) as source, open(to, 'wb') as file:
        with gzip.GzipFile('', 'wb', 9, file, epoch) as packed, tarfile.open(fileobj=packed, mode='w') as archive:
            for member in sorted(source.getmembers(), key=lambda one: one.name):
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, '', ''
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                archive.addfile(member, source.extractfile(member) if member.isfile() else None)


def check_same_bytes(made: Sequence[Path], tree: Path) -> None:
    """Build once more, elsewhere, and compare."""
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        for old, new in zip(made, build(tree, Path(folder)), strict=True):
            demand(old.read_bytes() == new.read_bytes(), f'{old.name} has other bytes each time that it is built')


def run(command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command; its output, which is shown where the command fails.  What it makes has the same modes whatever the
    umask of this place."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, umask=0o022
    )
    if done.returncode:
        print(done.stdout)
        raise WrongError(f'{" ".join(command)} has failed with {done.returncode}')
    return done.stdout


# What lies beside it


def write_sums(paths: Iterable[Path], out: Path) -> Path:
    """Write digests of files, as ``sha256sum -c`` reads them."""
    sums = out / 'SHA256SUMS'
    lines = [f'{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n' for path in sorted(paths)]
    sums.write_text(''.join(lines), 'utf-8')
    return sums


def write_lists(wheel: Path, metadata: Message, out: Path) -> list[Path]:
    """Write lists of what the wheel stands on, of the core and of each extra, by what pip would install now."""
    import sbom  # which needs what the environment of releases has

    paths = []
    for extra in (None, *map(str, metadata.get_all('Provides-Extra', ()))):
        path = out / f'torrelque-{version_of()}{f"-{extra}" if extra else ""}.cdx.json'
        sbom.write(sbom.resolve(wheel, extra), extra, epoch_of(ROOT), path)
        lacking = sbom.lacking(path, ROOT, extra)
        demand(not lacking, f'{path.name} lacks {sorted(lacking)}')
        paths.append(path)
    return paths


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


def try_out(python: str, made: Path, extras: Sequence[str], whole: bool) -> str:
    """Install an artefact in a clean environment, away from the tree, and run the smoke test; its last line.

    :param whole: whether these are all extras of users, so that nearly all modules can be imported.
    """
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        run([python, '-m', 'venv', f'{folder}/venv'])
        inner = f'{folder}/venv/bin/python'
        env = {name: value for name, value in os.environ.items() if not name.startswith('PYTHON')}
        what = f'torrelque[{",".join(extras)}] @ {made.resolve().as_uri()}'
        run([inner, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', what], env=env)
        run([inner, '-m', 'pip', 'check'], env=env)
        program = shutil.copy(ROOT / '.ci' / 'smoke.py', folder)
        told = run([inner, '-W', 'error', program, *(['all'] if whole else [])], cwd=Path(folder), env=env)
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
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob('torrelque-*'), *out.glob('SHA256SUMS')]:
        old.unlink()
    with tempfile.TemporaryDirectory(prefix='release') as folder:
        tree = Path(folder)
        copy_tree(tree)
        sdist, wheel = build(tree, out)
        check_same_bytes((sdist, wheel), tree)
    check_sdist(sdist, ROOT)
    metadata = check_wheel(wheel, ROOT)
    check_metadata(metadata, ROOT)
    run([sys.executable, '-m', 'twine', 'check', '--strict', str(sdist), str(wheel)])
    say(f'{sdist.name} and {wheel.name} hold what they should, and were built twice with the same bytes')
    lists = write_lists(wheel, metadata, out)
    say(f'{len(lists)} lists of what they stand on, and {write_sums([sdist, wheel, *lists], out).name}')
    extras = sorted({*map(str, metadata.get_all('Provides-Extra', ()))} - OF_DEVELOPERS)
    few = sorted({'cli', 'cron', 'embedded'} & {*extras})
    there = pythons()
    for python in there.values():
        say(f'{wheel.name}: {try_out(python, wheel, extras, True)}')
        say(f'{sdist.name}: {try_out(python, sdist, few, False)}')
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
