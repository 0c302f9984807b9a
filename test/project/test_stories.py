"""Pages that tell a story keep their word: what they say is saved, started and asked for, and answers as they show."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.servers import RealServer
from support.story import Story, commands_of, read_steps
from torrelque.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
STORIES = [page for page in PAGES if '_build' not in page.parts and read_steps(page)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix('').as_posix()


LONG = (
    *('docs/flows', 'docs/howto/django', 'docs/howto/fastapi', 'docs/howto/flask'),
    *('docs/operating', 'docs/tutorial-tasks'),
)
"""Pages whose stories take longest."""


def marked(page: Path) -> Any:
    return pytest.param(page, marks=[pytest.mark.long, pytest.mark.one_server] if name_of(page) in LONG else [])


@pytest.mark.one_server
@pytest.mark.parametrize('page', [marked(page) for page in STORIES], ids=name_of)
def test_story_of_a_page_comes_out_as_it_is_told(page: Path, plain_server: RealServer, tmp_path: Path) -> None:
    """On a server in its default configuration."""
    if shutil.which('curl') is None and any('$ curl ' in step.code for step in read_steps(page)):
        pytest.skip('there is no curl')
    Story(page, plain_server.url, tmp_path).tell()


def test_stories_are_found() -> None:
    assert {'README'} <= {*map(name_of, STORIES)}


# Commands that no story carries out, such as those of service managers


def written_commands(page: Path) -> list[list[str]]:
    """The command lines of ``torrelque run`` in a page, as words without the first one."""
    text = page.read_text()
    lines = re.findall(r'(?m)(?<![\w-])torrelque (run [\w.]+:[\w.]+(?: +(?:-+\w[\w-]*|[\w.:,=/]+))*)', text)
    lists = re.findall(r'\["torrelque".*\]', text)
    return [line.split() for line in lines] + [json.loads(found)[1:] for found in lists]


WRITTEN = [(page, words) for page in PAGES if '_build' not in page.parts for words in written_commands(page)]


@pytest.mark.parametrize(('page', 'words'), WRITTEN, ids=lambda part: part.stem if isinstance(part, Path) else None)
def test_a_command_of_a_page_is_one_that_the_parser_takes(page: Path, words: list[str]) -> None:
    assert make_parser().parse_args(words).target == words[1]


def test_commands_of_pages_are_found() -> None:
    found = [words for _, words in WRITTEN]
    assert ['run', 'shop:app'] in found and ['run', 'shop.tasks:app', '--queues', 'urgent', '--steal', 'bulk'] in found
    assert any(words[-2:] == ['--log', 'json'] for words in found)


# Commands that show the dashboard

_SHOWN = re.compile(r'(?<![\w-])torrelque (dashboard(?: +--?[a-z][\w-]*(?: +[\w.:,/]+)?)*)')
SHOWN = sorted({line for page in PAGES if '_build' not in page.parts for line in _SHOWN.findall(page.read_text())})
OPTIONS = re.findall(r'(?m)^\| `(--[^`]+)` \|', (ROOT / 'docs' / 'dashboard.md').read_text())


@pytest.mark.parametrize('line', [*SHOWN, *(f'dashboard {option}' for option in OPTIONS)])
def test_a_command_that_shows_the_dashboard_is_one_that_the_parser_takes(line: str) -> None:
    assert make_parser().parse_args(shlex.split(line)).command.name == 'dashboard'


def test_commands_that_show_the_dashboard_are_found() -> None:
    assert {'dashboard --demo', 'dashboard -q mail -q invoice', 'dashboard --host queues.example.com'} <= {*SHOWN}
    assert len(OPTIONS) > 6


# The teller itself


def write(tmp_path: Path, text: str) -> Path:
    page = tmp_path / 'page.md'
    page.write_text(text.replace('~~~', '```'))
    return page


TEXT = """
<!-- test: file a/b.py -->
~~~python
print('0123456789abcdef0123456789abcdee and more')
~~~

<!-- test: run -->
~~~console
$ python a/b.py
0123456789abcdef0123456789abcdef …
$ echo 0123456789abcdef0123456789abcdef
0123456789abcdef0123456789abcdef
~~~
"""


def test_what_is_shown_is_compared_and_ids_are_those_of_the_run(tmp_path: Path) -> None:
    Story(write(tmp_path, TEXT), 'redis://localhost', tmp_path).tell()


@pytest.mark.parametrize(
    ('told', 'instead'),
    [
        ('abcdef …', 'abcdef'),
        ('abcdef …', 'abcdef … then'),
        ('$ echo 0123456789abcdef0123456789abcdef', '$ echo 0123456789abcdef0123456789abcd00'),
        ('$ echo', '$ false && echo'),
        ('b.py', 'c.py'),
    ],
    ids=['more', 'less', 'another', 'error', 'lost'],
)
def test_a_story_that_is_not_true_is_noticed(tmp_path: Path, told: str, instead: str) -> None:
    before, step, after = TEXT.partition('<!-- test: run -->')
    page = write(tmp_path, before + step + after.replace(told, instead))
    with pytest.raises(AssertionError):
        Story(page, 'redis://localhost', tmp_path).tell()


def test_a_program_that_fails_in_its_terminal_is_noticed(tmp_path: Path) -> None:
    code = 'import time\nprint("here")\ntry:\n    time.sleep(99)\nexcept KeyboardInterrupt:\n    raise SystemExit(3)\n'
    steps = '<!-- test: terminal 1 -->\n~~~console\n$ python a.py\nhere\n~~~\n'
    page = write(tmp_path, f'<!-- test: file a.py -->\n~~~python\n{code}~~~\n\n{steps}')
    with pytest.raises(AssertionError, match='ends with 3'):
        Story(page, 'redis://localhost', tmp_path).tell()


def test_commands_are_read_with_what_they_print() -> None:
    code = '$ a \\\n    b\nc\n^C\n$ d\n'
    assert [*commands_of(code)] == [('a \\\n    b', 'c\n'), ('^C', ''), ('d', '')]
