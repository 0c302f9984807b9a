"""How answers are shown: tables that fit, times and numbers for people, and what stands in them."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence

import pytest
from rich.cells import cell_len

from torrelque.cli.out import Column, Out, ago, number, share, shortened, size
from torrelque.cli.tables import fit

ID = '7c1f0000000000000000000000000001'


def written(out: Out, capsys: pytest.CaptureFixture[str], *rows: Sequence[str], columns: Sequence[Column]) -> list[str]:
    out.table(columns, rows)
    return capsys.readouterr().out.splitlines()


def test_times_are_told_in_two_units() -> None:
    for seconds, told in {
        0: '0s', 0.0004: '0s', 0.34: '340ms', 0.9994: '999ms', 0.9996: '1s', 3.0: '3s', 59.9999: '1m00s', 192: '3m12s',
        3599: '59m59s', 7500: '2h05m', 86400 * 4 + 3 * 3600: '4d03h', -3: '-3s', 10**12: '11574074d01h',
    }.items():  # fmt: skip
        assert ago(seconds) == told
    assert ago(None) == ago(math.nan) == ago(math.inf) == '-'


def test_numbers_have_commas_and_are_exact() -> None:
    assert [number(it) for it in (0, 1204118, 2**63, -5, 118220.4, None, math.nan)] == [
        '0', '1,204,118', '9,223,372,036,854,775,808', '-5', '118,220', '-', '-'
    ]  # fmt: skip
    assert number(2**53 + 1) == '9,007,199,254,740,993'
    assert [share(*it) for it in ((0, 0), (0, 9), (1, 9999), (2, 1000), (1, 6), (1, 1))] == [
        '-', '-', '<0.1%', '0.2%', '17%', '100%'
    ]  # fmt: skip
    assert [size(it) for it in (None, 0, 999, 88_000_000, 10**17)] == ['-', '0 B', '999 B', '88 MB', '100,000 TB']


def test_a_long_text_says_how_much_more_there_is() -> None:
    assert shortened('x' * 10, 10) == 'x' * 10
    assert shortened('x' * 10 + 'ü' * 1_000_000, 10) == 'x' * 10 + '… and 2,000,000 more bytes'
    assert shortened('x' * 100_000, None) == 'x' * 100_000
    assert shortened('x\ud800', 1) == 'x… and 3 more bytes'


def test_columns_of_least_importance_go_first_and_ids_stay_whole() -> None:
    columns = [Column('ID', whole=True), Column('WHAT', rank=1), Column('N', True), Column('WHERE', rank=2)]
    widths = [32, 40, 5, 30]
    assert fit(columns, widths, 120) == {0: 32, 1: 40, 2: 5, 3: 30}
    # What may be cut shares what is left.
    assert fit(columns, widths, 80) == {0: 32, 1: 19, 2: 5, 3: 18}
    assert fit(columns, widths, 60) == {0: 32, 1: 19, 2: 5}
    assert fit(columns, widths, 63) == {0: 32, 1: 10, 2: 5, 3: 10}
    assert fit(columns, widths, 48) == {0: 32, 2: 5}
    assert fit(columns, widths, 10) == {0: 32, 2: 5}
    assert fit([Column('A', rank=1)], [30], 5) == {0: 10}


@pytest.mark.parametrize('width', [20, 40, 60, 80, 100, 132])
def test_a_table_fits_and_says_where_it_was_cut(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    columns = [Column('ID', whole=True, rank=1), Column('NUMBER', True), Column('WORDS', rank=2)]
    rows = [('a', '1', 'one two three ' * 9), ('龜龜龜', '1,000', '龜' * 90), ('e\u0301' * 9, '9', '')]
    lines = written(Out(width=width), capsys, *rows, columns=columns)
    assert len(lines) == 4 and all(cell_len(line) <= width for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert ('WORDS' in lines[0]) is (width >= 40)
    if width >= 40:
        assert lines[1].endswith('…') and lines[2].endswith('…')


def test_numbers_are_aligned_at_the_right_whatever_the_width_of_what_is_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [('mail', '1'), ('龜🐢', '1,000'), ('e\u0301\u0301', '20')]
    lines = written(Out(width=80), capsys, *rows, columns=[Column('QUEUE'), Column('TASKS', True)])
    assert {cell_len(line) for line in lines} == {12}


def test_in_a_pipe_nothing_is_cut_and_nothing_is_coloured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '40')
    long = 'w' * 900
    out = Out()
    out.table([Column('ID', whole=True), Column('WORDS', rank=1)], [(ID, (long, 'red')), ('x' * 5000, long)])
    assert capsys.readouterr().out.splitlines()[1:] == [f'{ID}{" " * 4968}  {long}', f'{"x" * 5000}  {long}']


def test_a_cell_of_a_megabyte_says_how_much_more_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    _, line = written(Out(), capsys, ('x' * 1_000_000,), columns=[Column('ERROR')])
    assert line == 'x' * 1000 + '… and 999,000 more bytes'


def test_colour_is_there_where_it_is_asked_for_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TERM', 'xterm-256color')
    said = []
    for force, no in ('', ''), ('1', ''), ('1', '1'):
        monkeypatch.setenv('FORCE_COLOR', force)
        monkeypatch.setenv('NO_COLOR', no)
        Out().line('words', 'red')
        said.append(capsys.readouterr().out)
    assert said == ['words\n', '\x1b[31mwords\x1b[0m\n', 'words\n']


def test_details_stand_below_their_rows_and_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Out(width=20).table([Column('ID')], [('a',), ('b',)], ['{"x": ' + '1' * 50 + '}', ''])
    assert capsys.readouterr().out.splitlines() == ['ID', 'a', '  {"x": ' + '1' * 50 + '}', 'b']


def test_sentences_are_broken_at_words_and_commands_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = 'one two three four five six seven'
    for width, lines in {
        None: [f'  1  {words}:  torrelque why -q mail'],
        80: [f'  1  {words}:  torrelque why -q mail'],
        30: ['  1  one two three four five', '     six seven:', '       torrelque why -q mail'],
        20: [f'  1  {words}:  torrelque why -q mail'],
    }.items():
        Out(width=width).sentence(words, '  1  ', 'torrelque why -q mail')
        said = capsys.readouterr().out.splitlines()
        assert said == lines
    Out(width=40).sentence('x' * 100 + '\x1b', '- ')
    assert capsys.readouterr().out.splitlines() == [
        '- ' + 'x' * 38, '  ' + 'x' * 38, '  ' + 'x' * 24 + '\\x1b'
    ]  # fmt: skip


def test_what_is_folded_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(Out(width=20), capsys, ('x', 'y' * 30), columns=[Column('A', whole=True), Column('B', fold=True)])
    assert lines == ['A  B', 'x  ' + 'y' * 17, '   ' + 'y' * 13]


def test_an_output_without_such_characters_gets_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), 'ascii', 'strict')
    monkeypatch.setattr(sys, 'stdout', stream)
    out = Out(width=40)
    out.table([Column('ID', whole=True), Column('OLDEST', True), Column('WORDS', rank=1)], [
        ('żółw', '≥ 3s', 'w' * 50), ('🐢', '1', 'ü')])  # fmt: skip
    out.line('… and more')
    out.block('é\nb', most=1)
    stream.flush()
    assert stream.buffer.getvalue().decode('ascii').splitlines() == [
        'ID                 OLDEST  WORDS',
        '\\u017c\\xf3\\u0142w   >= 3s  ' + 'w' * 13,
        '\\U0001f422              1  \\xfc',
        '... and more',
        '  \\xe9... and 2 more bytes',
    ]


def test_instants_are_local_time_or_utc() -> None:
    out, utc = Out(), Out(utc=True)
    assert utc.when(1_800_000_000.7) == '2027-01-15 08:00:00Z' and out.when(None) == '-'
    assert utc.clock(1_800_000_060.0, 1_800_000_000.0) == '08:01:00Z'
    assert utc.clock(1_800_086_400.0, 1_800_000_000.0) == '2027-01-16 08:00:00Z'
    assert out.when(1e300) == f'{1e300:.0f}' and out.clock(1e300, 0.0) == f'{1e300:.0f}'
    assert out.when(math.nan) == 'nan'
