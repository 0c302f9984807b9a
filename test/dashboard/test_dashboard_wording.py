"""How the dashboard tells values, and that nothing in them is beyond it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from torrelque.cli import out
from torrelque.dashboard import wording

NOON = 1_764_417_909.0  # 2025-11-29 12:05:09 UTC
HARD = (None, math.nan, math.inf, -math.inf, 0, -1, 1e300, -1e300, 10**400, -(10**400), 10**5000, 253_402_300_800.0)


@pytest.mark.parametrize(('value', 'text', 'short'), [
    (0, '0', '0'), (1240, '1,240', '1,240'), (-1240, '-1,240', '-1,240'), (1_240_000, '1,240,000', '1.24 M'),
    (12_400, '12,400', '12.4 k'), (999_600, '999,600', '1.00 M'), (2**63, '9,223,372,036,854,775,808', '9.22 E'),
    (0.5, '0.5', '0.5'), (2.0, '2', '2'), (1234.5, '1,234', '1,234'), (None, '-', '-'), (math.nan, '-', '-'),
    (math.inf, '∞', '∞'), (0.001, '0', '0'), (-0.001, '0', '0'), (10**40, '1.00e+40', '1.00e+40'),
])  # fmt: skip
def test_number_is_exact_or_short(value: float | None, text: str, short: str) -> None:
    assert (wording.number(value), wording.number(value, short=True)) == (text, short)


def test_limit_that_is_none_is_told_in_words() -> None:
    assert [wording.limit(one) for one in (math.inf, 5, 1200, None)] == ['no limit', '5', '1,200', '-']


def test_rate_has_the_unit_that_fits() -> None:
    told = [wording.rate(*one) for one in ((50, 1), (20, 60), (1200, 3600.0), (10, 90), (3, 86400))]
    assert told == ['50/s', '20/m', '1,200/h', '10 in 1 m 30 s', '3/d']


@pytest.mark.parametrize(('part', 'whole', 'text'), [
    (2.1, 100, '2.1 %'), (1, 10_000, '<0.1 %'), (17, 100, '17 %'), (0, 5, '0 %'), (5, 0, '-'), (None, 1, '-'),
    (0.25, 1, '25 %'), (1, 1, '100 %'), (10**400, 1, '-'),
])  # fmt: skip
def test_percent_tells_a_part_of_a_whole(part: float | None, whole: float, text: str) -> None:
    assert wording.percent(part, whole) == text


def test_bytes_have_two_digits_at_least_above_a_thousand() -> None:
    told = [wording.size(one) for one in (0, 512, 999, 4096, 88_000_000, 1_500_000_000_000, None)]
    assert told == ['0 B', '512 B', '999 B', '4.1 kB', '88 MB', '1.5 TB', '-']


@pytest.mark.parametrize(('seconds', 'text'), [
    (0, '0 s'), (0.34, '340 ms'), (42, '42 s'), (59.9996, '1 m'), (200, '3 m 20 s'), (7500, '2 h 5 m'),
    (259_200, '3 d'), (356_400, '4 d 3 h'), (-42, '-42 s'), (None, '-'), (math.nan, '-'), (0.0001, '0 s'),
])  # fmt: skip
def test_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@settings(deadline=None)
@given(st.floats(-1e7, 1e7) | st.integers(-(10**7), 10**7))
def test_durations_and_sizes_are_those_of_the_command_line(value: float) -> None:
    def plain(text: str) -> str:
        """Without spaces, and with the zeros of the command line left out."""
        text = text.replace(' ', '')
        for zeros in ('00s', '00m', '00h'):
            text = text.removesuffix(zeros) if text.endswith(zeros) and text[:-3][-1:].isalpha() else text
        for unit in 'dhm':
            text = text.replace(f'{unit}0', unit)
        return text.replace(',', '')

    assert plain(wording.duration(value)) == plain(out.ago(value))
    assert wording.number(int(value)) == out.number(int(value))


def test_instant_is_without_its_day_where_that_is_today() -> None:
    assert wording.clock(NOON, NOON + 3600) == '12:05:09'
    assert wording.clock(NOON - 86400, NOON) == '2025-11-28 12:05:09'
    assert wording.minute(NOON) == '12:05'
    assert wording.minute(NOON - 86400, NOON) == '2025-11-28 12:05'
    assert wording.iso(NOON) == '2025-11-29T12:05:09Z'
    assert wording.age(NOON - 200, NOON) == '3 m 20 s'
    assert wording.age(NOON + 5, NOON) == '0 s'


@pytest.mark.parametrize('value', HARD, ids=lambda value: type(value).__name__)
def test_whatever_a_number_is_it_is_told(value: float | None) -> None:
    for tell in (wording.number, wording.limit, wording.duration, wording.when, wording.iso, wording.size,
                 wording.percent, wording.rate, wording.minute):  # fmt: skip
        assert len(tell(value)) < 60
    assert len(wording.number(value, short=True)) < 60
    for other in HARD:
        assert len(wording.clock(value, other or 0.0)) < 60
        assert len(wording.minute(value, other)) < 60
        assert len(wording.age(value, other or 0.0)) < 60
        assert len(wording.rate(value, other)) < 140
        assert len(wording.percent(value, other)) < 60


def test_what_could_play_tricks_is_made_visible() -> None:
    assert wording.visible('a\u202eb\x00\n\t\udcff\u200b') == 'a\\u202eb\\x00\\n\\t\\udcff\\u200b'
    assert wording.visible('Jürgen 任務 🎉') == 'Jürgen 任務 🎉'
    assert wording.visible_lines('a\tb\r\nc\rd\x1b[1m\n\u2028') == 'a\tb\nc\\rd\\x1b[1m\n\\u2028'


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_every_text_can_be_encoded_once_it_is_visible(text: str) -> None:
    assert wording.visible(text).encode().decode().isprintable()
    assert wording.visible_lines(text).encode().decode().replace('\n', '').replace('\t', '').isprintable()


def test_text_is_shortened_to_what_there_is_room_for() -> None:
    assert [wording.shorten('abcdef', most) for most in (6, 5, 1, 0)] == ['abcdef', 'abcd…', '…', '…']
