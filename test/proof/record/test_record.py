"""What is run next, what counts of it, and what the record makes of two branches; the page is what the record says."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from proof.record.campaign import BEGIN, Campaign, Rows, Seeds
from proof.record.campaigns import CAMPAIGNS
from proof.record.here import Here
from proof.record.part import RECORD, ROOT, Part, Record, Tally, Verdict, spans
from proof.record.reading import Outcome, read_mutants, read_rows, read_seeds, read_tests
from proof.record.running import Result, choose, go_on

SEEDS = Seeds(
    name='seeds', about='', command='toy --first {first} --seeds {count}', goals={'seeds': 100}, counts=('tasks',),
    each=10,
)  # fmt: skip
NAMES = {'a': '', 'b': '', 'c': ''}
ROWS = Rows(name='rows', about='', command='toy {rows}', names=lambda: NAMES, each=10, most=3)
TOY = """
import json, pathlib, sys, time

first = int(sys.argv[sys.argv.index('--first') + 1])
for seed in range(first, first + 3):
    print('seed', seed, 'valkey9', json.dumps({'tasks': 10, 'faults_found': 0}), flush=True)
"""
STILL = f'{TOY}\npathlib.Path("printed").touch()\ntime.sleep(600)\n'
FINDS = f"""{TOY}
print('seed 2: lost, see /tmp/somewhere/history')
print(json.dumps({{'seeds': 3, 'faults_found': 1}}))
"""


class Toys(Here):
    """A machine that has all that is asked for."""

    servers: Mapping[str, str] = {'valkey9': '9.1', 'redis6': '6.2'}

    def __init__(self) -> None:
        pass

    def python(self, version: str = '') -> str:
        return sys.executable

    def describe(self, kinds: Iterable[str], python: str) -> dict[str, Any]:
        return {}


HERE = Toys()


@pytest.fixture(autouse=True)
def _toys_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Campaign, 'missing', lambda campaign, here: '')


def seeds(first: int, last: int, *, name: str = 'seeds', when: str = '2026-01-01', **what: Any) -> Part:
    count = last - first + 1
    return Part(name, when, 10.0 * count, {'tasks': 10 * count}, seeds=(first, last), **what)


def rows(*names: str, when: str, **what: Any) -> Part:
    return Part('rows', when, 10.0 * len(names), {}, rows=names, of=3, **what)


def record_of(path: Path, *lines: Part | Verdict) -> Record:
    record = Record(path / 'runs.jsonl')
    for line in lines:
        record.add(line)
    return Record(path / 'runs.jsonl')


# What is run next


def test_seeds_go_on_behind_those_that_were_run() -> None:
    order = SEEDS.plan([seeds(1, 8), seeds(17, 20)], 1000, HERE)
    assert order and order.first == 21 and order.words[:3] == ('toy', '--first', '21')
    stepping = dataclasses.replace(SEEDS, begin=1000, step=50, each=1)
    order = stepping.plan([seeds(1000, 1017)], 1000, HERE)
    assert order and order.first == 1050 and int(order.words[-1]) % 50 == 0
    few = dataclasses.replace(SEEDS, last=22)
    order = few.plan([seeds(1, 20)], 1000, HERE)
    assert order and order.words[-1] == '2'
    assert few.plan([seeds(1, 22)], 1000, HERE) is None


def test_nothing_is_planned_that_cannot_end_in_time() -> None:
    order = SEEDS.plan([], 100, HERE)
    assert order and int(order.words[-1]) * 10 <= 100 - BEGIN
    assert SEEDS.plan([], 25, HERE) is None
    # One takes ten times as long as was thought.
    slow = [dataclasses.replace(seeds(1, 1), seconds=100.0)]
    assert SEEDS.plan(slow, 100, HERE) is None
    assert ROWS.plan([], 30, HERE) is None
    timed = dataclasses.replace(SEEDS, command='toy --until {until}')
    order = timed.plan([], 100, HERE)
    assert order and 0 < int(order.words[-1]) <= 100 - BEGIN - 10
    assert timed.plan([], 45, HERE) is None


def test_rows_that_were_never_run_are_first_and_then_those_of_long_ago() -> None:
    order = ROWS.plan([rows('a', when='2026-01-02'), rows('b', when='2026-01-01')], 40, HERE)
    assert order and order.rows == ('c',)
    order = ROWS.plan([rows('a', 'c', when='2026-01-02'), rows('b', when='2026-01-01')], 1000, HERE)
    assert order and order.rows == ('b', 'a', 'c') and order.words == ('toy', 'b', 'a', 'c')


def test_a_row_that_is_too_long_gives_way_to_one_that_is_not() -> None:
    alone = dataclasses.replace(ROWS, most=1, command='toy {row}', names=lambda: {'a': '', 'b': '--with this'})
    order = alone.plan([dataclasses.replace(rows('a', when='2026-01-01'), seconds=3000.0)], 60, HERE)
    assert order and order.rows == ('b',) and order.words == ('toy', '--with', 'this')
    # One that was run already is not run instead of it.
    slow = dataclasses.replace(alone, each=1000)
    assert slow.plan([rows('a', when='2026-01-01')], 60, HERE) is None
    assert slow.plan([rows('a', 'b', when='2026-01-01')], 60, HERE)
    # It is run where there is time for it.
    both = [rows('b', when='2026-01-03'), dataclasses.replace(rows('a', when='2026-01-01'), seconds=3000.0)]
    order = alone.plan(both, 6000, HERE)
    assert order and order.rows == ('a',)


def test_the_least_complete_campaign_is_next_and_among_complete_ones_that_of_the_older_tree(tmp_path: Path) -> None:
    other = dataclasses.replace(SEEDS, name='other')

    def chosen(*parts: Part, busy: Iterable[str] = ()) -> str:
        record = record_of(tmp_path, *parts)
        order = choose([SEEDS, other], record, 1000, HERE, 'new', {*busy})
        assert order
        return order.campaign.name

    assert chosen(seeds(1, 2, tree='new')) == 'other'
    assert chosen(busy=['other']) == 'seeds'
    assert chosen(seeds(1, 3, name='other', tree='old')) == 'seeds'
    assert chosen(seeds(3, 100, tree='new'), seeds(4, 100, name='other', tree='old')) == 'other'


@pytest.mark.long
def test_every_campaign_has_a_part_that_fits_into_an_hour_or_so() -> None:
    assert len({campaign.name for campaign in CAMPAIGNS}) == len(CAMPAIGNS)
    for campaign in CAMPAIGNS:
        if isinstance(campaign, Rows) and not campaign.names():
            continue
        order = campaign.plan([], 3900, HERE)
        assert order, campaign.name
        assert not [word for word in (*order.words, *order.environ.values()) if '{' in word], order
        assert campaign.name == 'soak' or campaign.plan([], 55 * 60 - 30, HERE), campaign.name


# What is run


def go(path: Path, source: str, over: threading.Event | None = None) -> tuple[Record, list[Campaign]]:
    (path / 'toy.py').write_text(source)
    record = Record(path / 'runs.jsonl')
    over = over or threading.Event()
    told: list[Result] = []

    def tell(result: Result) -> None:
        told.append(result)
        over.set()

    failed = go_on([SEEDS], record, HERE, 5, over=over, tell=tell, folder=path)
    assert len(told) == 1
    return Record(path / 'runs.jsonl'), failed


def test_what_a_part_has_found_is_kept_and_the_next_one_goes_on(tmp_path: Path) -> None:
    record, failed = go(tmp_path, FINDS)
    [part] = record.parts
    assert not failed and part.found == ['seed 2: lost, see …/history'] and part.seeds == [1, 3] and not part.cut
    order = SEEDS.plan(record.parts, 1000, HERE)
    assert order and order.first == 4


def test_what_a_part_that_is_cut_off_has_done_counts_as_far_as_it_is_sure(tmp_path: Path) -> None:
    class Printed(threading.Event):
        def is_set(self) -> bool:
            return (tmp_path / 'printed').exists()

    record, failed = go(tmp_path, STILL, Printed())
    [part] = record.parts
    assert not failed and part.cut and part.seeds == [1, 3] and part.counts == {'tasks': 30}


def test_what_cannot_be_run_is_no_part_and_is_told(tmp_path: Path) -> None:
    (tmp_path / 'toy.py').write_text('raise SystemExit("no such thing")')
    record, told = Record(tmp_path / 'runs.jsonl'), list[Result]()
    failed = go_on([SEEDS], record, HERE, 5, over=threading.Event(), tell=told.append, folder=tmp_path)
    assert failed == [SEEDS] and not record.parts and 'no such thing' in told[0].output


# What is read


SEED_2 = 'seed 2 redis6 {"tasks": 5, "faults_found": 0}\n'


@pytest.mark.parametrize(
    ('text', 'status', 'outcome'),
    [
        ('{"seeds": 2, "tasks": 7, "faults_found": 0}', 0, Outcome({'tasks': 7}, [], (2, 3))),
        ('{"seeds": 2, "faults_found": 3}', 1, Outcome({}, ['3 faults'], (2, 3))),
        (f'{SEED_2}seed 4 redis6 {{"tasks": 5}}\nno', None, Outcome({'tasks': 5}, [], (2, 2))),
        (SEED_2.replace('0}', '1}') + 'seed 2: twice', None, Outcome({'tasks': 5}, ['seed 2: twice'], (2, 2))),
        ('lost\n  how\n\ntwice\n{"seeds": 2, "faults_found": 2}', 1, Outcome({}, ['lost', 'twice'], (2, 3))),
        (
            '\n'.join('abcdefg') + '\n{"seeds": 2, "faults_found": 7}', 1,
            Outcome({}, [*'abcd', 'and 3 more'], (2, 3)),
        ),
        ('Traceback', 1, Outcome({}, [])),
    ],
)  # fmt: skip
def test_figures_of_seeds_are_read(text: str, status: int | None, outcome: Outcome) -> None:
    assert read_seeds(text, status, 2, 'seeds', ['tasks']) == outcome


@pytest.mark.parametrize(
    ('text', 'status', 'outcome'),
    [
        ('.{"steps": 9, "first": 2, "last": 7}\n{"steps": 1, "last": 4}\n', 0, Outcome({'steps': 10}, [], (2, 7))),
        (
            'FAILED test/a.py::b - AssertionError: seed 5 fails\n{"steps": 9, "last": 7}', 1,
            Outcome({'steps': 9}, ['test/a.py::b - AssertionError: seed 5 fails'], (2, 5)),
        ),
        ('{"steps": 9, "last": 7}\n', None, Outcome({}, [])),
    ],
)  # fmt: skip
def test_figures_of_tests_are_read(text: str, status: int | None, outcome: Outcome) -> None:
    assert read_tests(text, status, 2, ['steps']) == outcome


def test_rows_are_read() -> None:
    assert read_rows('{"points": 3, "faults_found": 0}', 0, ['a'], ['points']) == Outcome({'points': 3}, [], rows=['a'])
    assert read_rows('FAILED test/a.py::b - no', 1, ['a'], []).found == ['test/a.py::b - no']
    assert read_rows('..', None, ['a'], []) == Outcome({}, [])
    cut = '{"row": "a", "faults": 0}\nit does not end\n{"row": "b", "faults": 1}\n{"row": "c", "fau'
    assert read_rows(cut, None, ['a', 'b', 'c'], []) == Outcome({}, ['it does not end'], rows=('a', 'b'))
    text = 'a: caught by test/x.py::y (3.1 s)\nb: SURVIVED (nobody sees it)\nc: the tests could not be run\n'
    outcome = Outcome({'caught': 1, 'survived': 1}, ['b: SURVIVED (nobody sees it)'], rows=['a', 'b'])
    assert read_mutants(text, ['a', 'b', 'c']) == outcome


# What counts


def test_what_two_have_run_counts_once() -> None:
    tally = Tally([seeds(1, 4), seeds(3, 6), seeds(1, 4)])
    assert tally.reached('seeds') == 6 and tally.reached('tasks') == 60
    assert tally.share({'seeds': 12, 'tasks': 600}) == 0.1
    assert [*spans([1, 2, 3, 7, 9, 10])] == [(1, 3), (7, 7), (9, 10)]


def test_a_fault_is_found_until_it_is_mended_and_none_where_it_was_not_of_the_queue(tmp_path: Path) -> None:
    parts = [seeds(k, k, when=f'2026-01-0{k}', found=['lost']) for k in (1, 2, 3)]
    verdicts = Verdict(parts[0].id, mended='0123abcd'), Verdict(parts[1].id, why='the disk was full')
    record = record_of(tmp_path, *parts, *verdicts)
    assert record.finds(record.parts) == (2, 1)


def test_lines_of_two_branches_are_merged_and_none_is_lost(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ('-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'commit.gpgsign=false')
        subprocess.run(['git', *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git('init', '-q', '-b', 'trunk')
    shutil.copyfile(RECORD.with_name('.gitattributes'), tmp_path / '.gitattributes')
    both = seeds(5, 8, when='2026-01-02')
    record_of(tmp_path, seeds(1, 4))
    git('add', '.')
    git('commit', '-qm', 'one')
    for branch, own in (('left', seeds(9, 12, when='2026-01-04')), ('right', seeds(7, 10, when='2026-01-03'))):
        git('checkout', '-q', '-b', branch, 'trunk')
        record_of(tmp_path, both, own)
        git('commit', '-qam', branch)
    git('merge', '-q', '-m', 'both', 'left')
    record = Record(tmp_path / 'runs.jsonl')
    assert [[*part.seeds] for part in record.parts] == [[1, 4], [5, 8], [7, 10], [9, 12]]
    assert Tally(record.parts).reached('seeds') == 12


# The page


def test_the_record_is_in_order_and_the_page_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is red: ``python docs/proof_runs.py`` writes it anew."""
    for line in RECORD.read_text('utf-8').splitlines():
        assert json.dumps(json.loads(line), sort_keys=True) == line
    monkeypatch.syspath_prepend(str(ROOT / 'docs'))
    made = importlib.import_module('proof_runs')
    assert made.write(Record()) == made.PAGE.read_text('utf-8')


def test_the_page_tells_what_was_found_and_what_is_of_an_older_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / 'docs'))
    made = importlib.import_module('proof_runs')
    on = {'servers': {}, 'python': '3.11', 'redis-py': '8', 'processor': 'P', 'processors': 2, 'load': 1}
    parts = [
        Part('proxied', f'2026-01-0{day}', 60.0, {'tasks': 1000}, found, (first, first + 99), on=on, tree=tree)
        for day, first, tree, found in ((1, 1, 'old', ['lost']), (2, 101, 'new', []), (2, 201, 'new', []))
    ]
    page = made.write(record_of(tmp_path, *parts, Verdict(parts[0].id, mended='0123abcd')))
    assert '| 500 seeds | 300 seeds, 3,000 tasks | 60% | 40% | 1 | 1 | 2026-01-02 |' in page
    assert '`lost`: mended in 0123abcd.' in page
    assert '| seeds 101 to 300 in 2 parts | 2,000 tasks | 2 | 0 | new |' in page
