"""Charts as values, and what the macros make of them."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import pytest
from hypothesis import given, settings, strategies as st

import torrelque
from torrelque.dashboard import charts, meters
from torrelque.dashboard.scales import HEIGHT, Grid, linear, logarithmic
from torrelque.operate import BUCKETS, Record, Sizes, Totals

FOLDER = Path(torrelque.__file__).parent / 'dashboard'
NOW = 1_764_417_909.0  # 2025-11-29 12:05:09 UTC
HOUR = 3600.0
NONE = (0,) * 16
SVG = '{http://www.w3.org/2000/svg}'


def record(ago: int, done: int = 0, failed: int = 0, *, length: float = 60.0, run: Any = NONE,
**sizes: float) -> Record:
    """A record of the minute, or hour, that was so many before this one."""
    start = (NOW // length - ago) * length
    found = Sizes(**{**dict.fromkeys(Sizes.__dataclass_fields__, 0),
    **sizes}) if sizes else None  # type: ignore[arg-type]
    return Record('mail', start, length, (('f', Totals(done, failed)),), run, run, 0.0, found)


@functools.cache
def macros() -> Any:
    loader = jinja2.FileSystemLoader(FOLDER / 'template')
    return jinja2.Environment(loader=loader, autoescape=True,
    undefined=jinja2.StrictUndefined).get_template('chart.html').module


def drawn(chart: charts.Chart, name: str = '') -> ElementTree.Element:
    """The chart as HTML that is XML as well, with the name space of SVG."""
    text = str(macros().chart(chart, name)).replace('<svg class="plot"',
    '<svg xmlns="http://www.w3.org/2000/svg" class="plot"')
    return ElementTree.fromstring(text)


def points_of(path: str) -> Sequence[float]:
    return [float(word) for word in re.findall(r'-?\d*\.?\d+', path)]


# Bars


def test_bars_tell_their_gist_and_each_tells_its_values() -> None:
    chart = charts.bars([record(2, 5, 1), record(1, 60, 1), record(0, 1175, 10)], NOW, HOUR)
    assert chart.title == '1,240 done and 12 failed in 60 minutes, most at 12:05: 1,185.'
    assert [slot.title for slot in chart.slots] == [
        '12:03: 5 done, 1 failed', '12:04: 60 done, 1 failed', '12:05: 1,175 done, 10 failed so far',
    ]  # fmt: skip
    assert chart.slots[0].cells == ('12:03', '5', '1')
    assert [tick.text for tick in chart.rows] == ['0', '500', '1,000', '1,500']
    assert [tick.text for tick in chart.columns] == ['11:10', '11:20', '11:30', '11:40', '11:50', '12:00']


def test_time_without_a_record_is_a_gap_and_no_zero() -> None:
    chart = charts.bars([record(3, 5), record(1, 0), record(0, 5)], NOW, 240.0)
    (gap,) = (shape for shape in chart.shapes if shape.kind == 'gap')
    assert gap.path == f'M1 {HEIGHT}V0h1V{HEIGHT}z'
    assert json.loads(chart.points) == [[5, None, 0, 5], [0, None, 0, 0]]
    assert len(chart.slots) == 3
    assert chart.keys[-1] == ('gap', 'no records')
    assert 'gap' not in {kind for kind, _ in charts.bars([record(n, 5) for n in range(4)][::-1], NOW, 240.0).keys}


def test_bars_stand_on_one_another_and_the_least_is_seen() -> None:
    (ok, bad) = charts.bars([record(0, 999_999, 1)], NOW, 60.0).shapes
    assert (ok.kind, bad.kind) == ('bar ok', 'bar bad')
    top = points_of(ok.path)[2]
    assert points_of(bad.path)[1] == HEIGHT + top
    assert points_of(bad.path)[2] == -15


def test_eight_hours_are_at_most_12_kilobytes() -> None:
    records = [record(n, 40_000 + n * 37 % 9973, n * 31 % 89) for n in reversed(range(480))]
    text = str(macros().chart(charts.bars(records, NOW, 8 * HOUR), 'Attempts'))
    assert len(text.encode()) <= 12_000
    assert text.count('<path') == 2


def test_many_times_are_told_in_parts_that_begin_at_round_instants() -> None:
    records = [record(n, 1, 0) for n in reversed(range(480))]
    chart = charts.bars(records, NOW, 8 * HOUR)
    first, second, *_ = (slot.title for slot in chart.slots)
    assert (first, second) == ('04:06 to 04:29: 24 done, 0 failed', '04:30 to 04:59: 30 done, 0 failed')
    assert chart.slots[-1].title == '12:00 to 12:05: 6 done, 0 failed so far'
    assert sum(float(slot.width[:-1]) for slot in chart.slots) == pytest.approx(100, abs=0.1)


def test_days_are_told_by_their_date() -> None:
    records = [record(n, 10, 0, length=HOUR) for n in reversed(range(14 * 24))]
    chart = charts.bars(records, NOW, 14 * 24 * HOUR)
    assert chart.title == '3,360 done and 0 failed in 14 days, most at 15 Nov 13:00: 10.'
    assert [tick.text for tick in chart.columns] == [f'{day} Nov' for day in range(16, 29, 2)]
    assert chart.slots[0].title == '15 Nov 13:00 to 15 Nov 23:00: 110 done, 0 failed'


def test_no_records_are_told_in_words() -> None:
    for chart in (charts.bars([], NOW, HOUR), charts.lines([], NOW, HOUR, ['oldest']), charts.bands([], NOW, HOUR),
                  charts.histogram(NONE), charts.bars([record(100)], NOW, HOUR), charts.bands([record(0)], NOW, HOUR),
                  charts.lines([record(0)], NOW, HOUR, ['pending'])):  # fmt: skip
        assert chart.is_empty
        assert ''.join(drawn(chart).itertext()).strip() == 'no records'
        assert str(macros().chart_table(chart)).strip() == ''
    assert charts.spark([], NOW).shapes == ()


# Lines, bands, histograms


def test_line_goes_from_one_to_the_next_and_stops_at_a_gap() -> None:
    ages = [(5, 10.0), (4, 20.0), (2, 0.0), (0, 15.0)]
    chart = charts.lines([record(n, oldest=age) for n, age in ages], NOW, 360.0, ['oldest'], what='oldest age',
    of='seconds')
    assert chart.title == 'Oldest age: 0 s to 20 s in 6 minutes, most at 12:01.'
    assert [tick.text for tick in chart.rows] == ['0 s', '5 s', '10 s', '15 s', '20 s']
    paths = {shape.kind: shape.path for shape in chart.shapes}
    assert paths['line one'] == f'M0.5 500l1-500M3.5 {HEIGHT}h.01M5.5 250h.01'
    assert paths['area one'] == f'M0.5 500l1-500 0 {HEIGHT}-1 0z'
    assert chart.slots[0].title == '12:00: 10 s oldest'


def test_lines_of_one_unit_share_a_scale() -> None:
    chart = charts.lines([record(0, busy=3, slots=16)], NOW, 60.0, ['busy', 'slots'])
    assert [shape.kind for shape in chart.shapes] == ['line two', 'line one']
    assert (chart.keys, chart.title) == ((('one', 'busy'), ('two', 'slots')), 'Busy: 3 in 1 minutes.')
    assert chart.slots[0].cells == ('12:05', '3', '16')


def test_bands_are_between_the_median_and_95_of_a_hundred() -> None:
    run = (0, 0, 0, 0, 90, 10, *(0,) * 10)
    chart = charts.bands([record(1, run=run), record(0, run=run)], NOW, 120.0)
    assert chart.title == 'Half of 200 ran up to 78 ms, 95 % up to 175 ms, in 2 minutes.'
    assert chart.note == ''
    assert {shape.kind for shape in chart.shapes} == {'band', 'line high', 'line one'}
    wide = charts.bands([record(0, run=(90, *(0,) * 13, 10, 0))], NOW, 60.0, 'wait')
    assert (wide.note, [tick.text for tick in wide.rows]) == ('logarithmic', ['1 ms', '10 ms', '100 ms', '1 s',
    '10 s', '1 m',
                                                                              '10 m', '1 h'])  # fmt: skip
    assert wide.slots[0].title == '12:05: median 3 ms, 95 % 17 m 30 s so far'


def test_histogram_tells_each_bucket() -> None:
    counts = (75, *(0,) * 14, 25)
    chart = charts.histogram(counts)
    assert chart.title == '100 runs: half up to 3 ms, 95 % up to 30 m.'
    assert len(chart.slots) == len(BUCKETS)
    assert (chart.slots[0].title, chart.slots[1].title) == ('up to 5 ms: 75, 75 %', '5 ms to 10 ms: 0, 0 %')
    assert chart.slots[-1].title == 'above 30 m: 25, 25 %'


def test_spark_has_the_bars_of_sixty_minutes() -> None:
    spark = charts.spark([record(n, 5, n % 2) for n in reversed(range(60))], NOW)
    assert spark.box == f'0 0 60 {HEIGHT}'
    assert spark.title.startswith('300 done and 30 failed in 60 minutes')
    root = ElementTree.fromstring(str(macros().spark(spark)))
    assert (root.get('role'), root.get('viewBox'), len(root.findall('path'))) == ('img', spark.box, 2)


# Bars of one value


@pytest.mark.parametrize(('value', 'part'), [
    (0.25, 0.25), (1, 1.0), (40, 0.4), (0, 0.0), ([3, 10], 0.3), ({'done': 3, 'total': 12}, 0.25),
    ({'percent': 50}, 0.5),
    (101, None), (-1, None), (True, None), ('x', None), ([3, 0], None), ([5, 3], None), ({'done': 3}, None),
    (None, None),
    (math.nan, None), (math.inf, None), (10**400, None), ({'total': 5}, None), ([1, 2, 3], None),
    ({'percent': {}}, None),
])  # fmt: skip
def test_progress_is_drawn_where_it_tells_how_far(value: Any, part: float | None) -> None:
    assert meters.progress_of(value) == part
    bar = meters.progress(value)
    assert (None if bar is None else bar.title) == (None if part is None else f'{part * 100:.0f} % done')


def test_meters_fill_what_is_filled() -> None:
    assert meters.share(0.021, what='of all').title == '2.1 % of all'
    assert [meters.share(*one).width for one in ((1, 4), (5, 4), (0, 0))] == ['25', '100', '0']
    assert (meters.slots(3, 4).width, meters.slots(3, 4).cells) == ('75', ('25', '50', '75'))
    assert (meters.slots(4, 4).kind, meters.slots(0, 0).kind, meters.slots(3, 400).cells) == ('slots full', 'slots', ())
    root = ElementTree.fromstring(str(macros().bar(meters.slots(3, 4))))
    assert [rect.get('width') for rect in root.findall('rect')] == ['100', '75']
    assert root.findtext('title') == '3 of 4 slots are busy'


# Scales


@settings(deadline=None)
@given(st.floats(0, 1e15), st.booleans())
def test_scale_has_few_round_values_and_room_for_the_most(most: float, is_time: bool) -> None:
    scale = linear(most, str, is_time)
    assert most <= scale.top * 1.000001
    assert 2 <= len(scale.ticks) <= 5
    assert 0 <= scale.y(most) <= HEIGHT


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e7), min_size=1))
def test_logarithmic_scale_has_a_place_for_each_time(values: list[float]) -> None:
    scale = logarithmic(values, str)
    assert all(0 <= scale.y(value) <= HEIGHT for value in values)
    assert scale.y(max(values)) <= scale.y(min(values))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([60.0, 3600.0]), st.integers(1, 500), st.integers(1, 100))
def test_groups_of_times_are_all_times_once(start: int, length: float, count: int, most: int) -> None:
    grid = Grid(start * length, length, count)
    groups = [*grid.groups(most)]
    assert [n for group in groups for n in group] == [*range(count)]
    assert len(groups) <= most + 1
    assert len(grid.ticks()) <= 11


LISTS = st.lists(st.integers(0, 10**15) | st.none(), min_size=1, max_size=130)


@settings(max_examples=40, deadline=None)
@given(LISTS, st.sampled_from([60.0, 3600.0]))
def test_any_records_are_drawn_within_the_plot(counts: list[int | None], length: float) -> None:
    records = [
        record(n, one, one % 7, length=length, run=(one, *(0,) * 14, one % 3), pending=one, oldest=one / 7)
        for n, one in reversed([*enumerate(counts)]) if one is not None
    ]  # fmt: skip
    span = len(counts) * length
    for chart in (charts.bars(records, NOW, span), charts.lines(records, NOW, span, ['pending', 'oldest']),
                  charts.bands(records, NOW, span), charts.spark(records, NOW)):  # fmt: skip
        for shape in chart.shapes:
            assert re.fullmatch(r'[MmLlVvHhz0-9 .-]+', shape.path)
        if isinstance(chart, charts.Chart) and not chart.is_empty:
            assert len(drawn(chart).findall(f'.//{SVG}rect')) == len(chart.slots)
            assert {len(one) for one in json.loads(chart.points)} == {len(counts)}


# What is written


def test_what_is_written_is_escaped_and_has_no_style() -> None:
    name = '<b>"\'&'
    chart = charts.lines([record(0, busy=1)], NOW, 60.0, ['busy'], what=name)
    root = drawn(chart, name)
    assert root.findtext('figcaption/b') == name
    assert root.findtext(f'{SVG}svg/{SVG}title') == '<b>"\'&: 1 in 1 minutes.'
    source = (FOLDER / 'template' / 'chart.html').read_text()
    assert not re.search(r'style=|\|\s*safe|Markup|<script', source)
    assert [element.get('role') for element in root.iter(f'{SVG}svg')] == ['img', None]
    assert root.find(f'{SVG}svg/{SVG}svg').get('viewBox') == f'0 0 1 {HEIGHT}'  # type: ignore[union-attr]


def test_table_behind_has_a_row_for_each_part() -> None:
    chart = charts.bars([record(1, 5, 1), record(0, 7, 2)], NOW, HOUR)
    root = ElementTree.fromstring(str(macros().chart_table(chart)))
    assert root.findtext('summary') == 'as a table'
    assert [[cell.text for cell in row] for row in root.iter('tr')] == [
        ['time (UTC)', 'succeeded', 'failed'], ['12:04', '5', '1'], ['12:05', '7', '2'],
    ]  # fmt: skip
    assert root.findtext('table/caption') == chart.title


def test_each_class_that_is_drawn_has_a_colour() -> None:
    css = (FOLDER / 'asset' / 'chart.css').read_text()
    assert set(re.findall(r'var\((--[\w-]+)\)', css)) <= {
        '--ink', '--muted', '--line', '--accent', '--ok', '--bad', '--warn', '--surface', '--paper',
    }  # fmt: skip
    assert not re.search(r'#[0-9a-f]{3,6}\b|url\(|@import', css)
    run = (5, *(0,) * 13, 5, 0)
    made = [charts.bars([record(1, 5, 1)], NOW, HOUR), charts.lines([record(0, busy=1, slots=2, dead=3)], NOW, HOUR,
    ['busy']),
            charts.lines([record(0, busy=1)], NOW, HOUR, ['busy', 'slots', 'dead']), charts.bands([record(0,
            run=run)], NOW, HOUR),
            charts.histogram(run)]  # fmt: skip
    kinds = {kind for chart in made for shape in chart.shapes for kind in shape.kind.split()}
    for kind in kinds - {'bar', 'one'} | {kind for chart in made for kind, _ in chart.keys}:
        assert f'.{kind}' in css, kind
