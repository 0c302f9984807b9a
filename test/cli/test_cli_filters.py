"""The filters of the command line: what is read, what is refused, and the selection that they say."""

from __future__ import annotations

import argparse
import datetime
import shlex
import time

import pytest

from torrelque.cli import main
from torrelque.cli.filters import add_filters, is_filtered, moment, selection_of
from torrelque.cli.out import Out
from torrelque.cli.parser import _joined
from torrelque.operate import Selection

UTC = datetime.timezone.utc


def parse(*words: str, utc: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_filters(parser)
    return parser.parse_args(_joined(words), argparse.Namespace(utc=utc))


def test_no_filter_is_a_selection_of_all() -> None:
    assert selection_of(parse()) == Selection() == selection_of(parse(), [])
    assert not is_filtered(parse()) and not is_filtered(parse('--status', 'dead'))


def test_each_filter_is_a_field_of_the_selection() -> None:
    found = parse(
        '--status', 'dead', '--function', 'mail.*', '--group', '', '--error', '4f1a', '--text', 'x y',
        '--older', '2h', '--newer', '3d', '--attempts', '4',
    )  # fmt: skip
    assert is_filtered(found)
    assert selection_of(found, ['a', 'b']) == Selection(
        status='dead', function='mail.*', group='', error='4f1a', text='x y', older=7200.0, newer=259200.0,
        attempts=4, ids=['a', 'b'],
    )  # fmt: skip


@pytest.mark.parametrize('attempts', [None, 1, 10**9, 2**53 - 1])
def test_what_a_selection_takes_the_filters_take_as_it_is_described(attempts: int) -> None:
    selection = Selection(attempts=attempts)
    assert selection_of(parse(*shlex.split(selection.describe()))) == selection


@pytest.mark.parametrize('text', ['0', '-1', '1.5', '', '٣', '9007199254740992', '9' * 5000, '0' * 5000 + '1'])
def test_what_is_no_number_of_attempts_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(f'--attempts={text}')
    assert 'is no number from 1 on' in capsys.readouterr().err


@pytest.mark.parametrize(('words', 'older'), [
    (('--older', '90'), 90.0),
    (('--older', '-2h'), 7200.0),
    (('--older=-2h',), 7200.0),
    (('--older', '2026-11-29T14:00Z'), datetime.datetime(2026, 11, 29, 14, tzinfo=UTC)),
    (('--older', '2026-11-29 14:00:01.500+02:00'),
     datetime.datetime(2026, 11, 29, 12, 0, 1, 500000, tzinfo=UTC)),
    (('--older', '2026-11-29'), datetime.datetime(2026, 11, 29, tzinfo=UTC)),
])  # fmt: skip
def test_times_and_instants_are_read_as_they_are_written(words: list[str], older: object) -> None:
    assert selection_of(parse(*words, utc=True)).older == older


def test_an_instant_without_a_zone_is_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv('TZ', 'Asia/Kolkata')
        time.tzset()
        newer = selection_of(parse('--newer', '2026-11-29T14:00')).newer
        assert Out().when(1_800_000_000) == '2027-01-15 13:30:00'
    time.tzset()
    assert newer == datetime.datetime(2026, 11, 29, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize('text', ['', '-', 'x', '--2h', '2y', '14:00', '2026-13-01', '-', 'nan'])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match='is no time'):
        moment(text)


@pytest.mark.parametrize('words', ['--status lost', '--attempts 0', '--attempts x', '--older x', '--newer 2026-1'])
def test_filters_that_cannot_be_meant_are_refused(words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*words.split())
    assert ended.value.code == 2


def test_an_instant_is_joined_to_its_option_only() -> None:
    assert _joined(['--older', '-2h', '-q', '-2h', 'x', '--newer', '--older', '-x']) == [
        '--older=-2h', '-q', '-2h', 'x', '--newer', '--older', '-x'
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        main(['stats', '--older'])
