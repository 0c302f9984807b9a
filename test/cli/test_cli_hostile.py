"""Hostile data: nothing of it reaches a terminal as it is, whatever field it is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.hostility import COMMANDS, LIVE, MARK
from support.made import HOSTILE
from support.terminal import open_terminal, strange

pytestmark = pytest.mark.long

TEST = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, 'PYTHONPATH': f'{TEST}{os.pathsep}{TEST.parent}'}


def test_what_is_strange_to_a_terminal_is_found() -> None:
    assert strange(b'words \x1b[1;31mred\x1b[0m\n\xe9\xbe\x9c') == []
    written = HOSTILE.encode('utf-8', 'surrogatepass')
    assert {'0x1b', '0x7', '0xd', '0x9', '0x0', r"'\x9b'", r"'\x85'", r"'\u202e'", r"'\u2066'", r"'\udced'", r"'\x7f'",
            r"'\u200d'", r"'\u2028'", r"'\ufeff'"} <= {*strange(written)}  # fmt: skip
    assert strange(b'\x1b[2K\x1b[1A\x1b[?25l\r') and not strange(b'\x1b[2K\x1b[1A\x1b[?25l\r', live=True)


@pytest.mark.parametrize('columns', [80, 2000, pytest.param(30, marks=pytest.mark.long)])
def test_nothing_hostile_reaches_a_terminal(columns: int) -> None:
    with open_terminal(['-m', 'support.hostility'], ENVIRONMENT, columns=columns) as terminal:
        parts = terminal.end().split(f'\n{MARK}'.encode())
    told = [part for part in parts if not part.startswith(b'ended')]
    assert len(told) == 3 * len(COMMANDS) + 1
    for part in told[1:]:
        words = part.partition(b'\n')[0].decode()
        assert strange(part, live=words.startswith(LIVE) and not words.endswith('--json')) == [], words
        assert b'Traceback (most' not in part, words
        if words.endswith('--json'):
            continue
        assert b'secret' not in part, words
        # What rich would take for markup is there as it is, unless it was cut, or stands in several lines.
        assert b'[bold]b[/bold]' in b''.join(part.split()) or columns < 2000 or 'history 8h' in words, words
    ends = [int(part.split()[2]) for part in parts if part.startswith(b'ended')]
    assert len(ends) == 3 * len(COMMANDS) and {*ends} == {0, 1, 2}
