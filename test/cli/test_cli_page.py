"""The page on the command line is made of the parser, and what it shows can be meant."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from torrelque.cli import main
from torrelque.cli.parser import COMMANDS, make_parser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'command-line.md'
MAKER = runpy.run_path(str(ROOT / 'docs' / 'commands.py'))


def test_the_page_has_what_the_parser_has() -> None:
    """Where it is red: ``python docs/commands.py`` writes it anew."""
    assert MAKER['write'](PAGE.read_text('utf-8')) == PAGE.read_text('utf-8')


@pytest.mark.long
def test_the_page_is_written_by_its_program(tmp_path: Path) -> None:
    target = tmp_path / 'page.md'
    subprocess.run([sys.executable, ROOT / 'docs' / 'commands.py', target], check=True)
    assert target.read_text('utf-8') == PAGE.read_text('utf-8')


def test_each_option_of_each_command_is_told_of_once() -> None:
    page = PAGE.read_text('utf-8')
    for name, parser in MAKER['parsers']().items():
        assert page.count(f'### `torrelque {name}`\n') == 1
        for group in MAKER['groups'](parser):
            assert all(row in page for row in group.rows)
            assert not [row for row in group.rows if row.endswith('|  |')], f'{name} has an option without a word'
    for group in MAKER['shared']():
        assert page.count(group.rows[0]) == 1


def test_commands_that_act_are_not_listed_where_only_reading_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acts = {command.name for command in COMMANDS if command.acts}
    assert acts >= {'enqueue', 'redrive', 'cancel', 'requeue', 'bury', 'pause', 'resume', 'sweep'}

    def listed() -> set[str]:
        words = (line.split()[:1] for line in make_parser().format_help().splitlines())
        return {word[0] for word in words if word} & {command.name for command in COMMANDS}

    monkeypatch.delenv('TORRELQUE_READ_ONLY', raising=False)
    assert listed() == {command.name for command in COMMANDS}
    monkeypatch.setenv('TORRELQUE_READ_ONLY', '1')
    assert listed() == {command.name for command in COMMANDS} - acts
    # They are understood all the same, and say why they do nothing.  Nobody talks to a server for that.
    for words in ('pause', 'sweep', 'redrive x', 'enqueue 1', 'limit x --rate 1'):
        assert main([*words.split(), '-q', 'mail', '--url', 'redis://nowhere.invalid']) == 4
        assert 'only reading is allowed here' in capsys.readouterr().err


def written() -> list[str]:
    """Command lines that the pages tell readers to use: those of shell blocks, and in running text and tables."""
    found = []
    for page in [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]:
        if page.name == 'performance.md':  # which calls systems of the benchmark so
            continue
        text = page.read_text('utf-8')
        for block in re.findall(r'(?ms)^```shell\n(.*?)^```', text):
            found += re.findall(r'(?m)(?:^|\| |\$\()(torrelque [a-z]+\b[^\n|<>)]*)', block)
        found += re.findall(r'`(torrelque [a-z]+\b[^`\n]*)`', text)
    # What has a gap, or choices, stands for several.
    return [line for line in found if not re.search(r'[…|\[\]<>]|\.\.\.| N\b', line)]


def test_all_command_lines_of_the_pages_are_understood() -> None:
    lines = written()
    assert len(lines) > 40
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if len(words) == 1:  # it stands for the command with whatever that needs
            assert words[0] in MAKER['parsers'](), line
            continue
        try:
            assert make_parser().parse_args(words).command.name == words[0], line
        except SystemExit as exc:
            assert exc.code == 0, line
