"""The commands that look, on values made by hand: figures and lists."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from support.made import BUSY, IDLE, NOW, PAUSED, MadeOperator, Say, make_say, minute, overview, task, worker
from support.schemas import read_as
from torrelque import TorrelqueConnectionError, TorrelqueTaskStatus
from torrelque.operate import (
    Act,
    Found,
    FunctionView,
    Groups,
    GroupView,
    Overview,
    Page,
    RunningView,
    Selection,
    Totals,
)

ID = '42956eda000000000000000000000000'


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return make_say(monkeypatch, capsys)


# Stats


def test_stats_has_a_line_for_each_queue(say: Say) -> None:
    operator = MadeOperator(['mail', 'report', 'invoice'], overviews=[BUSY, PAUSED, IDLE], history=[])
    said = say('stats', operator)
    assert (said.code, said.err) == (0, [])
    assert said.out[4:] == [
        '',
        # What is wrong, the gravest of each; that nobody counts is no reason to look.
        'mail: 3 groups are paused, and 6 more:  torrelque stats -q mail',
        'report: the queue is paused, with a probe in 30s, and 1 more:  torrelque stats -q report',
    ]
    assert [' '.join(line.split()) for line in said.out[:4]] == [
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
        '41 tasks are dead, the newest 12s ago:  torrelque errors -q mail',
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
    assert said.code == 1 and len(said.out) == 6
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


def test_it_is_told_where_nothing_that_is_pending_can_be_handed_out(say: Say) -> None:
    for pending, words in {
        12: 'none of the 12 tasks that are pending can be handed out now',
        1: 'the task that is pending cannot be handed out now',
    }.items():
        said = say('stats', MadeOperator(overviews=[overview(pending=pending)], history=[]))
        assert said.out[3:] == [
            f'{words}: groups are paused, at their limits, or wait for their rates:  torrelque why -q mail'
        ]


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


def test_a_watch_of_figures_waits_for_a_server_that_is_away(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(MadeOperator):
        looks = 0

        async def overviews(self) -> Any:
            self.looks += 1
            if self.looks in (2, 3):
                raise TorrelqueConnectionError('no answer')
            if self.looks == 5:
                raise KeyboardInterrupt
            return [BUSY]

    said = say('stats --watch 0.1', Away(history=[]))
    assert (said.code, len(said.out), said.err) == (130, 3, ['no answer; it is asked again'])


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
    assert say('tasks --json --most 1', MadeOperator(tasks=[task('a'), task('b')])).err == said.err


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
        'tasks dead --error 4f1a9c02': Selection(status='dead', error='4f1a9c02'),
        'tasks --status ready --older 5m': Selection(status='ready', older=300.0),
        'tasks group:acme --attempts 2': Selection(status='pending', group='acme', attempts=2),
    }.items():
        say(words, operator)
        (name, options) = operator.asked.pop()
        told = {key: value for key, value in options.items() if key != 'on_progress'}
        assert (name, told) == ('tasks', {'selection': selection, 'most': 50, 'payload': 4096})
    for words, complaint in {
        'tasks dead --status working': 'torrelque: dead and --status working contradict each other',
        'tasks turns --text x': 'torrelque: filters go with pending, working, delayed, dead, waiting, ready, orphaned, '
        'not with turns',
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
        f'acme 118 1m00s 3/3 50/s 0.5 {ID}',
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
        worker('web-4', state='lost', seen=NOW - 360, busy=41, why='silent for 360 s, without a goodbye'),
        worker('web-5', state='lost', seen=NOW - 5),
    ]  # fmt: skip
    operator = MadeOperator(workers=crew, overviews=[overview()])
    said = say('workers', operator)
    assert (said.code, [' '.join(line.split()) for line in said.out]) == (0, [
        'WORKER STATE UP BUSY CLAIMED LAG MEMORY DONE FAILED LONGEST',
        'web-1 running 16m40s 10/10 0s 2ms 88 MB 9,100,000 0.2% render 1m02s',
        'web-3 stuck - 0/10 4m11s 4m00s 88 MB 0 - its event loop stands still',
        '',
        'web-4 lost: silent for 360 s, without a goodbye; it had 41 tasks in hand when it was heard last, and was '
        'killed, or its event loop is blocked: see pid 1 on host web',
        'web-5 lost: silent for 5s; it had nothing in hand when it was heard last, and was killed, or its event loop '
        'is blocked: see pid 1 on host web',
    ])  # fmt: skip
    both = say('workers', MadeOperator(['mail', 'news'], workers=crew, overviews=[overview()])).out
    assert both[0].split()[:2] == ['WORKER', 'QUEUE']
    assert both[-1].startswith('web-5 of queue mail  lost: silent for 5s')
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


# In a terminal of 80 columns


def test_what_is_decisive_is_there_in_80_columns(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torrelque.cli.out.Out.space', 80)
    narrow = 'left out, because the terminal is narrow: {}; in a pipe, or with --json, all are there'
    busy = dataclasses.replace(BUSY, queue='notifications', pending=5384, workers=3, slots=30, busy=3)
    said = say('stats', MadeOperator(['mail'], overviews=[busy], history=[minute(NOW - 60)]))
    assert said.err == [] and max(map(len, said.out[:2])) <= 80
    assert said.out[0].split() == [
        'QUEUE', 'PENDING', 'OLDEST', 'READY', 'WORK', 'DELAY', 'DEAD', 'WORKERS', 'BUSY', '/MIN', 'FAILED'
    ]  # fmt: skip
    plain: dict[str, Any] = {'queue': 'mail', 'waiting': 5, 'slots': 1, 'limit': 2.0, 'rate': (50, 1.0), 'tokens': 50.0,
                             'own_limit': True, 'own_rate': False, 'probe': None, 'oldest': NOW - 60}  # fmt: skip
    views = (
        GroupView(**{**plain, 'name': 'a-tenant-with-a-name-of-' + 'x' * 39, 'head': ID, 'paused': False}),
        GroupView(**{**plain, 'name': 'b', 'head': None, 'paused': True}),
    )
    said = say('groups', MadeOperator(groups=Groups('mail', NOW, 0.1, views, 2)))
    assert said.out[0].split() == ['GROUP', 'WAITING', 'OLDEST', 'SLOTS', 'RATE', 'TOKENS', 'STATE']
    assert said.out[2].split()[-2:] == ['50', 'paused'] and '…' in said.out[1] and max(map(len, said.out)) <= 80
    assert ' '.join(said.err) == narrow.format('NEXT')
    function: dict[str, Any] = {'function': 'plant.of_a_long_name', 'last_dequeue_time': NOW - 100, 'attempt': 3}
    working = task(ID, status=TorrelqueTaskStatus.WORKING, lease_end=NOW + 240, worker='web-1', group='a' * 30,
                   **function)  # fmt: skip
    said = say('tasks working', MadeOperator(page=Page('mail', 'working', NOW, (working,), None, 1)))
    assert {'ID', 'FUNCTION', 'FOR', 'DUE', 'WORKER'} <= {*said.out[0].split()} and 'web-1' in said.out[1]
    assert said.out[1].startswith(ID) and 'in 4m00s' in said.out[1] and 'STATUS' in ''.join(said.err)
    error = 'Traceback\nTimeoutError: no answer of the other side within thirty seconds'
    delayed = task(ID, status=TorrelqueTaskStatus.DELAYED, due=NOW + 1800, error=error, **function)
    said = say('tasks delayed', MadeOperator(page=Page('mail', 'delayed', NOW, (delayed,), None, 1)))
    assert 'in 30m00s' in said.out[1] and 'TimeoutError:' in said.out[1]
