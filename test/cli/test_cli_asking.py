"""The commands that look, on values made by hand: what each says, where it says it, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from support.made import NOW, MadeOperator, install, overview, task, worker
from support.schemas import FOLDER, TYPES, read_as, schema_of
from torrelque import TorrelqueServerError, TorrelqueTaskState, TorrelqueTaskStatus
from torrelque.cli import main
from torrelque.cli.asking import ASKING
from torrelque.cli.checking import Limits, judge
from torrelque.cli.session import quoted
from torrelque.operate import (
    Act,
    Attempt,
    ErrorGroup,
    Errors,
    Finding,
    Found,
    FunctionView,
    Groups,
    GroupView,
    Holder,
    Overview,
    Page,
    Reason,
    Record,
    RunningView,
    Selection,
    Sizes,
    Totals,
)

ID = '42956eda000000000000000000000000'


class Said(NamedTuple):
    """What a command has said, and how it ended."""

    code: int
    out: list[str]
    err: list[str]


Say = Callable[..., Said]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Carry out a command line on an operator that was made; instants are UTC."""

    def call(words: str, operator: MadeOperator, found: Sequence[Found] = ()) -> Said:
        install(monkeypatch, operator, found)
        code = main([*words.split(), '--utc'])
        shown = capsys.readouterr()
        return Said(code, shown.out.splitlines(), shown.err.splitlines())

    return call


# Stats


def minute(start: float, **given: Any) -> Record:
    plain: dict[str, Any] = {
        'queue': 'mail', 'length': 60.0, 'functions': (('send', Totals(100, 1, 0, 0, 5.0)),), 'run': (0, 9, 1),
        'wait': (10,), 'wait_time': 5.0, 'sizes': Sizes(7, 6, 5, 4, 3.0, 2, 20, 1),
    }  # fmt: skip
    return Record(**{**plain, 'start': start, **given})


BUSY = overview(
    'mail', pending=1_204_118, oldest=NOW - 854, ready=9821, working=300, delayed=1022, dead=41, workers=300,
    busy=300, slots=300, exact=(), newest_dead=NOW - 12, overdue=2, overdue_leases=1, stuck=1, lost=2, paused_groups=3,
)  # fmt: skip
PAUSED = overview('report', pending=381, oldest=NOW - 7200, ready=380, paused=True, slots=4, probe=NOW + 30)
IDLE = overview('invoice', workers=0, slots=0)


def test_stats_has_a_line_for_each_queue(say: Say) -> None:
    operator = MadeOperator(['mail', 'report', 'invoice'], overviews=[BUSY, PAUSED, IDLE], history=[])
    said = say('stats', operator)
    assert (said.code, said.err) == (0, [])
    assert [' '.join(line.split()) for line in said.out] == [
        'QUEUE PENDING OLDEST READY WORKING DELAYED DEAD WORKERS BUSY DONE/MIN FAILED',
        'mail 1,204,118 ≥ 14m14s 9,821 300 1,022 41 300 300/300 - -',
        'report paused 381 2h00m 380 0 0 0 1 0/4 - -',
        'invoice 0 - 0 0 0 0 - - - -',
    ]


def test_stats_of_one_queue_says_what_is_wrong_and_which_command_tells_more(say: Say) -> None:
    said = say('stats', MadeOperator(overviews=[BUSY], history=[minute(NOW - 120), minute(NOW - 60)]))
    assert said.out[1].split()[-2:] == ['100', '1.0%']
    assert said.out[2:] == [
        '',
        '3 groups are paused:  torrelque groups -q mail',
        'the oldest task has waited for 14m14s or longer:  torrelque why -q mail',
        '1 lease has ended, and the tasks were not brought back:  torrelque sweep -q mail',
        '2 delayed tasks are due, and not pending yet:  torrelque sweep -q mail',
        '1 worker is stuck:  torrelque workers --stuck -q mail',
        '2 workers were lost in the last hour:  torrelque workers --lost -q mail',
        '41 tasks are dead, the newest since 12s:  torrelque errors -q mail',
    ]
    said = say('stats', MadeOperator(['report'], overviews=[dataclasses.replace(PAUSED, workers=0)], history=[]))
    assert said.out[3:] == [
        'the queue is paused, with a probe in 30s:  torrelque resume -q report',
        'the oldest task has waited for 2h00m or longer:  torrelque why -q report',
        'no worker of this queue has a heartbeat, so throughput is not known',
    ]
    assert len(say('stats', MadeOperator(overviews=[overview()], history=[])).out) == 2


def test_a_queue_that_cannot_be_read_does_not_take_the_others_away(say: Say) -> None:
    bad = overview('bad', error='NOPERM no', broken=())
    said = say('stats', MadeOperator(['mail', 'bad'], overviews=[BUSY, bad], history=[]))
    assert said.code == 1 and len(said.out) == 5
    assert said.out[2].split() == ['bad', 'cannot', 'be', 'read', *'---------']
    assert said.out[4] == 'bad: it cannot be read: NOPERM no:  torrelque doctor -q bad'
    assert say('stats --json', MadeOperator(overviews=[bad], history=[])).code == 1


def test_history_is_told_in_so_few_lines_that_it_can_be_read(say: Say) -> None:
    start = NOW // 600 * 600
    records = [minute(start + 60 * place) for place in range(15)] + [minute(start + 60 * 45, sizes=None)]
    said = say('stats --history 8h', MadeOperator(history=records))
    assert [' '.join(line.split()) for line in said.out] == [
        'FROM DONE FAILED DEAD LOST RUN P95 WAITED PENDING OLDEST WORKERS BUSY',
        '2027-01-15 08:00 1,000 10 0 0 25ms 500ms 7 3s 2 1/20',
        '2027-01-15 08:10 500 5 0 0 25ms 500ms 7 3s 2 1/20',
        '2027-01-15 08:20' + ' -' * 10,
        '2027-01-15 08:30' + ' -' * 10,
        '2027-01-15 08:40 100 1 0 0 25ms 500ms - - - -',
    ]
    assert said.err == ['each line is 10m00s; pending, oldest, workers and busy are the most in it']
    said = say('stats --history 1h', MadeOperator(['a', 'b'], history=[]))
    assert said == (1, ['a', 'b'], [
        f'queue {name}: no worker with a heartbeat has written anything in 1h00m' for name in 'ab'])  # fmt: skip


class Enough(Exception):  # noqa: N818
    """Ends what would go on for ever."""


def test_a_watch_of_figures_writes_a_line_each_time(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr('torrelque.cli.stats.asyncio.sleep', sleep)
    said = say('stats --watch 2', MadeOperator(overviews=[BUSY], history=[]))
    assert said.code == 130
    assert [line[:20] for line in said.out] == ['TIME                ', *['2027-01-15 08:00:00Z'] * 3]
    assert len({len(line) for line in said.out}) == 1 and 0 < slept[0] <= 2
    slept.clear()
    said = say('stats --watch 2 --json', MadeOperator(overviews=[BUSY], history=[]))
    assert [read_as(Overview, line) for line in said.out] == [BUSY] * 3


# Lists


def test_tasks_have_what_one_of_them_has(say: Say) -> None:
    tasks = [
        task(ID, function='send', ready_since=NOW - 3),
        task('b', status=TorrelqueTaskStatus.WORKING, lease_end=NOW + 20, last_dequeue_time=NOW - 70, attempt=2,
             worker='web-1', group='acme', priority=-5),
        task('c', status=TorrelqueTaskStatus.DELAYED, due=NOW - 2, last_requeue_time=NOW - 10, attempt=1,
             error='Traceback:\n\nKeyError: 1\n\n'),
        task('d', status=TorrelqueTaskStatus.DEAD, died=NOW - 86400),
        task('e', status=None, broken='no state', size=5),
    ]  # fmt: skip
    said = say('tasks', MadeOperator(tasks=tasks))
    assert (said.code, said.err) == (0, []) and [' '.join(line.split()) for line in said.out] == [
        'ID STATUS FUNCTION GROUP PRIORITY FOR DUE ATTEMPT WORKER ERROR',
        f'{ID} pending send 3s',
        'b working acme -5 1m10s in 20s 2 web-1',
        'c delayed 10s 2s ago 1 KeyError: 1',
        'd dead 1d00h',
        'e broken: no state -',
    ]
    said = say('tasks --payload --most 1', MadeOperator(tasks=[task('a', raw=b'{"x": "\xff"}', size=9)]))
    assert said.out == ['ID  STATUS   FOR', 'a   pending    -', r'  {"x": "\\xff"}'.replace(r'\\', '\\')]
    assert said.err == ['the first 1; --most N shows more']


def test_a_list_of_tasks_is_a_page_or_a_selection(say: Say) -> None:
    pages = Page('mail', 'dead', NOW, (task('a'), task('b')), None, 9)
    operator = MadeOperator(['mail', 'news'], tasks=[task('a')], page=pages)
    assert [line.split()[0] for line in say('tasks dead --most 3', operator).out] == ['ID', 'a', 'b', 'a', 'b']
    assert operator.asked == [
        ('page', {'words': ('dead',), 'after': None, 'most': most, 'payload': 4096, 'newest_first': True,
                  'queue': queue})
        for most, queue in ((3, 'mail'), (1, 'news'))
    ]  # fmt: skip
    operator.asked.clear()
    for words, selection in {
        'tasks': Selection(),
        'tasks dead --error 4f1a': Selection(status='dead', error='4f1a'),
        'tasks --status ready --older 5m': Selection(status='ready', older=300.0),
        'tasks group:acme --attempts 2': Selection(status='pending', group='acme', attempts=2),
    }.items():
        say(words, operator)
        assert operator.asked.pop() == ('tasks', {'selection': selection, 'most': 50, 'payload': 4096})
    for words, complaint in {
        'tasks dead --status working': 'torrelque: dead and --status working contradict each other',
        'tasks turns --text x': 'torrelque: filters go with pending, working, delayed, dead, ready, orphaned, not with '
        'turns',
    }.items():
        assert say(words, operator) == (2, [], [complaint])
    assert say('tasks --text x', MadeOperator(tasks=[])) == (1, [], ['no task matches'])
    assert say('tasks', MadeOperator(tasks=[])) == (1, [], ['no task is there'])
    broken = Page('mail', 'pending', NOW, (), None, 0, ('turns',))
    assert say('tasks pending', MadeOperator(page=broken)).err == [
        'queue mail: tasks may be missing, for keys hold something else than they should: turns; '
        "'torrelque doctor' tells more", 'no task is there'
    ]  # fmt: skip


def test_a_list_goes_on_through_pages_that_are_short(say: Say) -> None:
    class Paged(MadeOperator):
        async def page(self, place: str, **options: Any) -> Page:
            self.asked.append((place, options))
            after = int(options['after'] or 0)
            tasks = () if after == 1 else (task(f't{after}'),)
            return Page('mail', place, NOW, tasks, str(after + 1) if after < 3 else None, 9)

    operator = Paged()
    said = say('tasks working --json', operator)
    assert [json.loads(line)['id'] for line in said.out] == ['t0', 't2', 't3']
    assert [options['after'] for _, options in operator.asked] == [None, '1', '2', '3']


def test_payloads_are_told_where_they_are_asked_for_only(say: Say) -> None:
    secret = task('a', payload={'card': 1}, raw=b'{"card": 1}', size=11)
    operator = MadeOperator(tasks=[secret])
    assert 'card' not in ''.join(say('tasks --json', operator).out + say('tasks', operator).out)
    for words in 'tasks --json --payload', 'tasks --payload':
        assert 'card' in ''.join(say(words, operator).out)


def test_functions_are_told_with_how_often_they_fail(say: Say) -> None:
    views = [
        FunctionView('mail', 'send', Totals(9990, 10, 2, 1, 50.0), 0.005, 0.0025, math.inf),
        FunctionView('mail', '', Totals(1), None, None, None),
        FunctionView('mail', '*other', Totals(0, 1), 3.0, 2.5, 5.0),
    ]
    said = say('functions --since 24h', MadeOperator(functions=views))
    assert (said.code, [' '.join(line.split()) for line in said.out]) == (0, [
        'FUNCTION DONE FAILED SHARE DEAD LOST MEAN P50 P95',
        'send 9,990 10 0.1% 2 1 5ms 2ms > 30m',
        '(no function) 1 0 - 0 0 - - -',
        '(others) 0 1 100% 0 0 3s 2s 5s',
    ])  # fmt: skip
    assert say('functions', MadeOperator(functions=[])).code == 1


def test_groups_are_told_with_what_limits_them(say: Say) -> None:
    plain: dict[str, Any] = {'queue': 'mail', 'own_limit': True, 'own_rate': False, 'probe': None, 'oldest': None,
                             'rate': None, 'tokens': None, 'head': None, 'paused': False}  # fmt: skip
    views = (
        GroupView(**{**plain, 'name': 'acme', 'waiting': 118, 'slots': 3, 'limit': 3.0, 'rate': (50, 1.0),
                     'tokens': 0.5, 'oldest': NOW - 60, 'head': ID}),
        GroupView(**{**plain, 'name': 'b', 'waiting': 1, 'slots': 2, 'limit': math.inf, 'paused': True,
                     'probe': NOW + 5}),
    )  # fmt: skip
    operator = MadeOperator(groups=Groups('mail', NOW, 0.11, views, 10_000))
    said = say('groups a* --by oldest --most 2', operator)
    assert operator.asked == [('groups', {'by': 'oldest', 'most': 2, 'pattern': 'a*', 'queue': 'mail'})]
    assert [' '.join(line.split()) for line in said.out] == [
        'GROUP WAITING OLDEST SLOTS RATE TOKENS STATE NEXT',
        f'acme 118 1m00s 3/3 50/1s 0.5 {ID}',
        'b 1 - 2 paused, probe in 5s',
    ]
    assert (said.code, said.err) == (0, ['2 of 10,000 groups, looked at in 110ms'])
    none = Groups('mail', NOW, 0.0, (), 0)
    assert say('groups', MadeOperator(groups=none)) == (1, [], ['no group has a task or a slot in use'])
    assert say('groups x', MadeOperator(groups=none)) == (1, [], ['no group matches'])


def test_workers_are_told_with_what_is_wrong_with_them(say: Say) -> None:
    crew = [
        worker('web-1', busy=10, running=(RunningView(ID, 'mail', 'render', None, 1, NOW - 62),), succeeded=9_100_000,
               failed=18_000),
        worker('web-3', state='stuck', claimed=251.0, lag=240.0, why='its event loop stands still', started=None),
        worker('web-4', state='lost', seen=NOW - 360, busy=41, why='their leases end within 2m'),
        worker('web-5', state='lost', seen=NOW - 5),
    ]  # fmt: skip
    operator = MadeOperator(workers=crew, overviews=[overview()])
    said = say('workers', operator)
    assert (said.code, [' '.join(line.split()) for line in said.out]) == (0, [
        'WORKER STATE UP BUSY CLAIMED LAG MEMORY DONE FAILED LONGEST',
        'web-1 running 16m40s 10/10 0s 2ms 88 MB 9,100,000 0.2% render 1m02s',
        'web-3 stuck - 0/10 4m11s 4m00s 88 MB 0 - its event loop stands still',
        '',
        'web-4 lost 6m00s ago, with 41 tasks in hand; their leases end within 2m',
        'web-5 lost 5s ago, with nothing in hand',
    ])  # fmt: skip
    assert [line.split()[0] for line in say('workers --stuck --lost', operator).out if line] == [
        'WORKER', 'web-3', 'web-4', 'web-5'
    ]  # fmt: skip
    assert len(say('workers --lost', operator).out) == 2
    assert say('workers --stuck', MadeOperator(workers=[])) == (1, [], ['no worker is stuck'])
    assert say('workers', MadeOperator(workers=[])).err == [
        'no worker has a heartbeat; loops of your own, and workers without one, are not seen'
    ]


def test_acts_are_told_with_whoever_did_them(say: Say) -> None:
    acts = [
        Act('mail', NOW, 'anna@web', 'redrive', 'dead, error 4f1a', 1204),
        Act('mail', NOW, 'bob@x', 'pause', 'all', 0),
    ]
    said = say('acts', MadeOperator(acts=acts))
    assert (said.code, said.out) == (0, [
        'TIME                  WHO       ACT      TASKS  WHAT',
        '2027-01-15 08:00:00Z  anna@web  redrive  1,204  dead, error 4f1a',
        '2027-01-15 08:00:00Z  bob@x     pause           all',
    ])  # fmt: skip
    assert say('acts', MadeOperator(acts=[])) == (1, [], ['no act is on record'])


def test_queues_are_told_with_when_they_were_seen(say: Say) -> None:
    found = [Found('invoice', NOW), Found('mail', None)]
    said = say('queues', MadeOperator(), found)
    assert said == (0, ['QUEUE    SEEN', 'invoice  2027-01-15 08:00:00Z', 'mail     -'], [])
    assert say('queues --scan', MadeOperator(), found) == (
        0, ['invoice', 'mail'], ['looking at all keys of the server']
    )  # fmt: skip
    assert say('queues', MadeOperator()).code == say('queues --scan', MadeOperator()).code == 1


# Errors


def error(fingerprint: str, count: int, dead: int, **given: Any) -> ErrorGroup:
    plain: dict[str, Any] = {
        'what': 'KeyError', 'where': 'mail.py:send', 'message': "'…'", 'first': NOW - 9000, 'last': NOW - 12,
        'functions': (), 'groups': (), 'attempts': (1, 3), 'sample': 'x', 'ids': (),
    }  # fmt: skip
    return ErrorGroup(fingerprint, count, dead, **{**plain, **given})


def test_errors_end_with_the_command_that_brings_them_back(say: Say) -> None:
    groups = (error('b07d2e11', 900, 0), error('4f1a9c02', 100, 99, what='TimeoutError', message='', where=''))
    answered = Errors('mail', NOW, groups, 1000, 194_681, 212, 212)
    said = say('errors', MadeOperator(errors=answered))
    assert said == (0, [
        'of the newest 1,000 of 194,681 dead, and 212 delayed',
        "ERROR     COUNT     LAST  WHAT          WHERE         MESSAGE",
        "b07d2e11    900  12s ago  KeyError      mail.py:send  '…'",
        'b07d2e11'.replace('b07d2e11', '4f1a9c02') + '    100  12s ago  TimeoutError',
        'To bring them back:  torrelque redrive --error 4f1a9c02 --rate 50 -q mail',
    ], [])  # fmt: skip
    # What is delayed comes back by itself.
    only = Errors('mail', NOW, (error('b07d2e11', 9, 0),), 3, 3, 1000, 2000)
    assert [say('errors', MadeOperator(errors=only)).out[place] for place in (0, -1)] == [
        'of all 3 dead, and 1,000 of 2,000 delayed', "b07d2e11      9  12s ago  KeyError  mail.py:send  '…'"
    ]  # fmt: skip
    none = Errors('mail', NOW, (), 0, 0, 0, 0)
    assert say('errors', MadeOperator(errors=none)) == (1, [], ['no task is dead, and none waits for another attempt'])


def test_errors_are_counted_by_function_and_by_group(say: Say) -> None:
    groups = (
        error('b07d2e11', 9, 9, by_function=(('send', 6), (None, 3)), by_group=((None, 9),)),
        error('4f1a9c02', 4, 4, what='TimeoutError', message='', by_function=(('send', 4),), by_group=(('acme', 4),)),
    )
    operator = MadeOperator(errors=Errors('mail', NOW, groups, 13, 13, 0, 0))
    assert say('errors --by function', operator).out[1:3] == [
        'FUNCTION       COUNT  ERRORS  MOST      WHAT      MESSAGE',
        "send              10       2  b07d2e11  KeyError  '…'",
    ]
    assert [line.split()[:3] for line in say('errors --by group', operator).out[1:4]] == [
        ['GROUP', 'COUNT', 'ERRORS'], ['(no', 'group)', '9'], ['acme', '4', '1']
    ]  # fmt: skip


# Why


def test_reasons_are_numbered_with_whoever_is_in_the_way_and_the_command_last(say: Say) -> None:
    one = task(ID, group='acme', ready_since=NOW - 843)
    holders = (
        Holder('7c1f', 'working', 'render', 'web-2', NOW - 1330, NOW - 4, NOW + 9, None),
        Holder('c3d0', 'delayed', None, None, None, None, NOW + 60, 'TimeoutError'),
        Holder('d', 'next', None, None, None, None, None, None),
        Holder('e', 'unknown', None, None, None, None, None, None),
        *(Holder(f'more-{place}', 'working', None, None, None, None, None, None) for place in range(8)),
    )
    reasons = [
        Reason('at-limit', 'the group is at its limit: 12 of 12 slots are in use', holders=holders, count=12,
               limit=12.0, command='torrelque limit acme --concurrency 13 -q mail'),
        Reason('behind', 'then 118 tasks of the group go first', until=NOW + 90),
        Reason('all-busy', 'all are busy', workers=('web-1', 'web-2'), command='torrelque limit acme --concurrency 13 '
               '-q mail'),
        Reason('dead', 'it is dead', error='Traceback\nKeyError: 1\n', command='torrelque redrive x'),
    ]  # fmt: skip
    said = say(f'why {ID}', MadeOperator(tasks=[one], explain=reasons))
    assert said == (0, [
        "pending for 14m03s, of group 'acme' in queue 'mail'",
        '',
        '  1  the group is at its limit: 12 of 12 slots are in use',
        '       7c1f  render  worker web-2  for 22m10s, renewed 4s ago',
        '       c3d0  delayed for a retry until 08:01:00Z (TimeoutError); it keeps its slot',
        '       d  its turn is next',
        '       e  has a slot, and nothing more is known of it',
        *(f'       more-{place}  at work' for place in range(6)),
        '       and 2 more',
        '  2  then 118 tasks of the group go first (until 08:01:30Z, in 1m30s)',
        '  3  all are busy',
        '       workers web-1, web-2',
        '  4  it is dead',
        '       KeyError: 1',
        '  To let more run:  torrelque limit acme --concurrency 13 -q mail',
        '  To bring it back:  torrelque redrive x -q mail',
    ], [])  # fmt: skip


def test_what_is_in_nobodys_way_is_told_so(say: Say) -> None:
    figures = [overview('a', pending=1), overview('b')]
    operator = MadeOperator(['a', 'b'], tasks=[task(ID)], explain=[], overviews=figures)
    nothing = '  nothing is in its way: a claim made now would have it handed out'
    assert say(f'why {ID}', operator) == (0, ["pending in queue 'mail'", nothing], [])
    assert say('why', operator) == (0, [
        "queue 'a': 1 pending, 0 at work", nothing, "queue 'b': 0 pending, 0 at work", nothing], [])  # fmt: skip
    assert say('why --group acme', operator).out[0] == "group 'acme' in queue 'a': 1 pending, 0 at work"
    assert say(f'why {ID} --group g', operator) == (
        2, [], ['torrelque: why is about a task or about a group, not both']
    )  # fmt: skip
    unknown = MadeOperator(tasks=[], explain=[Reason('unknown', 'nobody knows it')])
    assert say('why nope', unknown) == (1, ['', '  1  nobody knows it'], ["there is no task 'nope'"])


# One task


def test_all_of_a_task_is_shown_and_why_it_does_not_run(say: Say) -> None:
    one = task(
        ID, function='send', group='acme', priority=5, attempt=3, forgiven=1, max_attempts=5, timeout=30.0, size=11,
        enqueue_time=NOW - 60, ready_since=NOW - 5, due=NOW + 60, payload={'é': [1]}, raw=b'{"\xc3\xa9": [1]}',
        error='Traceback\n  x\nKeyError: 1', history=(Attempt(1, NOW - 50, NOW - 49.5, 'KeyError: 1'),), progress=0.5,
    )  # fmt: skip
    said = say(f'show {ID} nope', MadeOperator(tasks=[one], explain=[Reason('behind', 'others go first')]))
    assert said.code == 1 and said.err == ["there is no task 'nope'"] and [line.rstrip() for line in said.out] == [
        ID,
        '  queue        mail',
        '  status       pending for 5s',
        '  place        pending',
        '  function     send',
        '  group        acme',
        '  priority     5',
        '  attempts     3 of 5, of which 1 do not count',
        '  enqueued     2027-01-15 07:59:00Z, 1m00s ago',
        '  ready since  2027-01-15 07:59:55Z, 5s ago',
        '  due          2027-01-15 08:01:00Z, in 1m00s',
        '  leases of    30s',
        '  payload      11 bytes',
        'payload', '  {', '    "é": [', '      1', '    ]', '  }',
        'progress', '  0.5',
        'error', '  Traceback', '    x', '  KeyError: 1',
        'failed attempts',
        'ATTEMPT  BEGAN                 AFTER  ERROR',
        '      1  2027-01-15 07:59:10Z  500ms  KeyError: 1',
        'why',
        '   1  others go first',
    ]  # fmt: skip


def test_a_long_payload_is_cut_unless_it_is_asked_for(say: Say) -> None:
    one = task(ID, payload='x' * 1_000_000, raw=b'"' + b'x' * 1_000_000 + b'"', size=1_000_002,
               status=TorrelqueTaskStatus.COMPLETED, release_time=NOW - 1)  # fmt: skip
    operator = MadeOperator(tasks=[one])
    assert say(f'show {ID}', operator).out[-1] == '  "' + 'x' * 4095 + '… and 995,906 more bytes'
    assert say(f'show {ID} --payload', operator).out[-1] == '  "' + 'x' * 1_000_000 + '"'
    [line] = say(f'show {ID} --json', operator).out
    assert json.loads(line)['payload'] == 'x' * 1_000_000
    far = task(ID, size=5_000_000, status=TorrelqueTaskStatus.DEAD)
    assert '  payload   5,000,000 bytes; --payload shows it' in say(
        f'show {ID}', MadeOperator(tasks=[far], explain=[])).out  # fmt: skip
    # Bytes of another serialiser are shown as they are.
    raw = task(ID, raw=b'\x80\x04K\x01.', size=5, status=TorrelqueTaskStatus.REJECTED)
    assert say(f'show {ID}', MadeOperator(tasks=[raw])).out[-1] == r'  \x80\x04K\x01.'


def state(status: TorrelqueTaskStatus, **given: Any) -> TorrelqueTaskState:
    plain: dict[str, Any] = dict.fromkeys(TorrelqueTaskState._fields)
    return TorrelqueTaskState(**{**plain, 'status': status, 'dequeue_count': 1, 'requeue_count': 0, **given})


@pytest.mark.parametrize(('until', 'last', 'code', 'lines'), [
    ('final', TorrelqueTaskStatus.COMPLETED, 0, 3),
    ('final', TorrelqueTaskStatus.CANCELLED, 1, 3),
    ('final', TorrelqueTaskStatus.REJECTED, 1, 3),
    ('dead', TorrelqueTaskStatus.DEAD, 0, 3),
    ('dead', TorrelqueTaskStatus.COMPLETED, 1, 3),
    ('working', TorrelqueTaskStatus.COMPLETED, 0, 2),
    ('final', None, 0, 2),
    ('working', None, 0, 2),
    ('delayed', None, 1, 2),
])  # fmt: skip
def test_a_watch_of_a_task_ends_where_it_was_told_to(
    until: str, last: TorrelqueTaskStatus | None, code: int, lines: int, say: Say
) -> None:
    states = [state(TorrelqueTaskStatus.PENDING, dequeue_count=0), state(TorrelqueTaskStatus.WORKING)]
    if last is not None:
        states.append(state(last, release_time=NOW, result='x'))

    class Forgetful(MadeOperator):
        known = True

        async def task(self, task_id: str, *, payload: int = 0) -> Any:
            if self.known:
                self.known = False
                return task(ID)
            return await super().task(task_id, payload=payload)

    said = say(f'watch {ID} --until {until}', Forgetful(states=states, tasks=[]))
    assert (said.code, len(said.out)) == (code, lines)
    assert [line.split()[2] for line in said.out] == [
        it.status.name.lower() for it in states[:lines]
    ]  # fmt: skip
    gone = last is None and until != 'working'
    assert said.err == (['it has ended, and nothing is kept of it'] if gone else [])


# Check, and doctor


@pytest.mark.parametrize(('limits', 'given', 'subjects'), [
    ({}, {}, []),
    ({}, {'oldest': NOW - 299, 'pending': 10**9, 'dead': 10**9, 'workers': 0, 'lost': 1}, []),
    ({}, {'oldest': NOW - 301}, ['oldest']),
    ({'oldest': 3600.0}, {'oldest': NOW - 301}, []),
    ({'pending': 1}, {'pending': 1}, []),
    ({'pending': 1}, {'pending': 2}, ['pending']),
    ({'dead': 0}, {'dead': 1}, ['dead']),
    ({'workers': 2}, {'workers': 1}, ['workers']),
    ({'workers': 1}, {'workers': 1}, []),
    ({}, {'stuck': 1}, ['stuck']),
    ({}, {'overdue': 5, 'next_delayed': NOW - 20}, []),
    ({}, {'overdue': 5, 'next_delayed': NOW - 31}, ['overdue']),
    ({}, {'broken': ('turns',)}, ['broken']),
    ({}, {'error': 'NOPERM', 'oldest': NOW - 301}, ['error']),
])  # fmt: skip
def test_what_is_wrong_is_judged_by_limits(limits: dict[str, Any], given: dict[str, Any], subjects: list[str]) -> None:
    assert [finding.subject for finding in judge(overview(**given), Limits(**limits))] == subjects


def test_check_ends_with_1_where_something_is_wrong(say: Say) -> None:
    assert say('check', MadeOperator(['mail', 'news'], overviews=[overview('mail'), overview('news')])) == (
        0, ['all is well with mail, news'], []
    )  # fmt: skip
    bad = overview(oldest=NOW - 400, dead=1, paused=True)
    said = say('check --dead 0', MadeOperator(overviews=[bad, overview('news')]))
    assert said == (1, [
        'mail: the oldest task has waited for 6m40s or longer, more than 5m00s, and it is paused:  '
        'torrelque why -q mail',
        'mail: 1 task is dead, more than 0:  torrelque errors -q mail',
    ], [])  # fmt: skip
    said = say('check --dead 0 --json', MadeOperator(overviews=[bad]))
    assert [read_as(Finding, line).subject for line in said.out] == ['oldest', 'dead'] and said.code == 1
    assert say('check --json', MadeOperator(overviews=[overview()])) == (0, [], [])


@pytest.mark.parametrize(('level', 'code'), [('ok', 0), ('note', 0), ('warning', 1), ('error', 1)])
def test_doctor_ends_with_1_where_a_finding_is_a_warning(level: str, code: int, say: Say) -> None:
    findings = [
        Finding('mail', 'ok', 'version', 'Valkey 9', None),
        Finding('mail', level, 'aof', 'it is off', 'turn it on'),
    ]
    said = say('doctor', MadeOperator(examine=findings))
    assert said.code == code and [line.split()[0] for line in said.out] == ['LEVEL', 'ok', level]
    assert said.out[2].endswith('it is off (turn it on)')
    assert say('doctor', MadeOperator(examine=[])) == (0, ['nothing was found that is wrong'], [])


# JSON, and how commands end


@pytest.mark.parametrize('name', TYPES)
def test_the_schemas_are_those_of_the_values(name: str) -> None:
    """Where it is red: a field must not be renamed or taken away; then ``python -m support.schemas`` writes it."""
    assert (FOLDER / f'{name}.json').read_text() == schema_of(TYPES[name])


def test_each_value_is_one_line_of_json(say: Say) -> None:
    one = task(ID, history=(Attempt(1, 1.0, 2.0, 'x'),), raw=b'\xff', payload=2**63, status=TorrelqueTaskStatus.DEAD)
    group = GroupView('mail', 'acme', 1, 1, math.inf, (5, 1.0), 0.5, True, False, False, None, None, None)
    function = FunctionView('mail', 'send', Totals(1), 1.0, 1.0, 2.5)
    operator = MadeOperator(
        overviews=[BUSY, PAUSED], history=[minute(NOW), minute(NOW)], tasks=[one], functions=[function],
        groups=Groups('mail', NOW, 0.1, (group,), 1), workers=[worker('a')], acts=[Act('mail', 1.0, 'a', 'b', 'c', 1)],
        errors=Errors('mail', NOW, (error('4f1a', 2**63, 1, by_function=((None, 1),)),), 1, 1, 1, 1),
        explain=[Reason('behind', 'x', holders=(Holder('a', 'next', None, None, None, None, None, None),))],
        examine=[Finding('mail', 'ok', 'a', 'b', None)], page=Page('mail', 'dead', NOW, (one,), None, 1),
    )  # fmt: skip
    for words, name, count in (
        ('stats', 'overview', 2), ('stats --history 1h', 'record', 2), ('tasks --payload', 'task', 1),
        ('tasks dead', 'task', 1), (f'show {ID}', 'task', 1), (f'why {ID}', 'reason', 1), ('why', 'reason', 1),
        ('errors', 'errors', 1), ('functions', 'function', 1), ('groups', 'group', 1), ('workers', 'worker', 1),
        ('acts', 'act', 1), ('doctor', 'finding', 1), ('queues', 'found', 2), ('queues --scan', 'found', 2),
    ):  # fmt: skip
        said = say(f'{words} --json', operator, [Found('a', 1.0), Found('b', None)])
        assert said.code == 0 and len(said.out) == count, words
        for line in said.out:
            assert line.isascii()
            read_as(TYPES[name], line)
    assert read_as(GroupView, say('groups --json', operator).out[0]) == group
    assert json.loads(say('tasks --payload --json', operator).out[0])['payload'] == 2**63


def test_each_command_tells_an_error_by_its_exit_code(say: Say) -> None:
    for words in ('stats', 'tasks dead', 'errors', 'functions', 'groups', 'workers', 'acts', 'check', 'doctor'):
        name = {'stats': 'overviews', 'tasks dead': 'page', 'check': 'overviews', 'doctor': 'examine'}.get(words, words)
        answers: dict[str, Any] = {name: TorrelqueServerError('NOPERM of \x1b[2J')}
        refused = say(words, MadeOperator(**answers))
        assert (refused.code, refused.out) == (4, []) and refused.err == [
            r'torrelque: the server refuses it: NOPERM of \x1b[2J'], words  # fmt: skip
        answers = {name: RuntimeError('\x1b[2J')}
        broken = say(words, MadeOperator(**answers))
        assert broken.code == 1 and broken.err[-1] == 'torrelque: the command has failed: RuntimeError'
        assert r'RuntimeError: \x1b[2J' in broken.err[-2] and '\x1b' not in ''.join(broken.err)


def test_commands_are_copied_whatever_is_in_a_name(say: Say) -> None:
    for text, word in {
        'mail': 'mail', 'a b': "'a b'", "it's": '\'it\'"\'"\'s\'', '-x': '-x', '': "''", 'żółw': "'żółw'",
        'a\n\x1b': r"$'a\n\x1b'", "\t'\\": r"$'\t\'\\'", '\u202e': r"$'\u202e'", 'a\udcff': r"$'a\xff'",
    }.items():  # fmt: skip
        assert quoted(text) == word
    bad = MadeOperator(['a b'], overviews=[overview('a b', dead=1)], history=[])
    assert say('stats --url redis://db:7000', bad).out[-1].endswith("torrelque errors -q 'a b' --url redis://db:7000")
    said = say('stats --url redis://:secret@db', bad)
    assert 'db' not in said.out[-1] and 'secret' not in ''.join(said.out)


def test_each_command_has_help_and_can_be_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ASKING:
        with pytest.raises(SystemExit) as ended:
            main([command.name, '--help'])
        shown = capsys.readouterr()
        assert ended.value.code == 0 and re.search(rf'usage: torrelque {command.name} ', shown.out)
        assert '--json' in shown.out and not command.acts
