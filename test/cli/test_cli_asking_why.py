"""The commands that look, on values made by hand: what failed, why nothing moves, one task, whether all is well."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from support.made import NOW, MadeOperator, Say, error, make_say, overview, task
from support.schemas import read_as
from torrelque import TorrelqueTaskState, TorrelqueTaskStatus
from torrelque.cli.checking import Limits, More, judge
from torrelque.operate import Attempt, Errors, Finding, Groups, GroupView, Holder, Reason, TaskView

ID = '42956eda000000000000000000000000'


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return make_say(monkeypatch, capsys)


# Errors


def test_errors_end_with_the_command_that_brings_them_back(say: Say) -> None:
    groups = (error('b07d2e11', 900, 0), error('4f1a9c02', 100, 99, what='TimeoutError', message='', where='',
                                                          functions=('send',)))  # fmt: skip
    answered = Errors('mail', NOW, groups, 1000, 194_681, 212, 212)
    said = say('errors', MadeOperator(errors=answered))
    assert said == (0, [
        'of the newest 1,000 of 194,681 dead, and 212 delayed, so older ones are not counted here; --most 10000 looks '
        'at more',
        "ERROR     COUNT     LAST  WHAT          WHERE         MESSAGE",
        "b07d2e11  ≥ 900  12s ago  KeyError      mail.py:send  '…'",
        '4f1a9c02  ≥ 100  12s ago  TimeoutError  send',
        'To bring them back:  torrelque redrive --error 4f1a9c02 --rate 50 -q mail',
    ], [])  # fmt: skip
    whole = Errors('mail', NOW, groups, 1000, 1000, 0, 0)
    said = say('errors', MadeOperator(errors=whole))
    assert said.out[0] == 'of all 1,000 dead' and said.out[2].startswith('b07d2e11    900')
    # Whoever may only read is told of no command that is refused.
    assert len(say('errors --read-only', MadeOperator(errors=whole)).out) == len(said.out) - 1
    # What is delayed comes back by itself.
    only = Errors('mail', NOW, (error('b07d2e11', 9, 0),), 3, 3, 1000, 2000)
    assert [say('errors', MadeOperator(errors=only)).out[place] for place in (0, -1)] == [
        'of all 3 dead, and 1,000 of 2,000 delayed, so older ones are not counted here; --most 2000 looks at all',
        "b07d2e11    ≥ 9  12s ago  KeyError  mail.py:send  '…'",
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
        Holder('c3d0', 'delayed', None, None, None, None, NOW + 60, 'Traceback:\n  File "x"\nTimeoutError\n'),
        Holder('f', 'working', 'render', 'web-1', NOW - 99, NOW - 90, NOW + 273, None, True),
        Holder('g', 'working', None, None, NOW - 99, NOW - 90, NOW + 9, None, True),
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
        Reason('at-limit', 'x', command='torrelque requeue --group acme --status orphaned -q mail'),
        Reason('dead', 'it is dead', error='Traceback\nKeyError: 1\n', command='torrelque redrive x'),
    ]  # fmt: skip
    said = say(f'why {ID}', MadeOperator(tasks=[one], explain=reasons))
    assert said == (0, [
        "pending for 14m03s, of group 'acme' in queue 'mail'",
        '',
        '  1  the group is at its limit: 12 of 12 slots are in use',
        '       7c1f  render  worker web-2  for 22m10s, renewed 4s ago',
        '       c3d0  delayed for a retry until 08:01:00Z (TimeoutError); it keeps its slot',
        '       f  render  worker web-1, silent; its lease was renewed 1m30s ago, and ends in 4m33s',
        '       g  no worker tells of it; its lease was renewed 1m30s ago, and ends in 9s',
        '       d  its turn is next',
        '       e  has a slot, and nothing more is known of it',
        *(f'       more-{place}  at work' for place in range(4)),
        '       and 4 more',
        '  2  then 118 tasks of the group go first (until 08:01:30Z, in 1m30s)',
        '  3  all are busy',
        '       workers web-1, web-2',
        '  4  x',
        '  5  it is dead',
        '       KeyError: 1',
        '  To let more run:  torrelque limit acme --concurrency 13 -q mail',
        '  To bring it back now:  torrelque requeue --group acme --status orphaned -q mail',
        '  To bring it back:  torrelque redrive x -q mail',
    ], [])  # fmt: skip


def test_what_is_in_nobodys_way_is_told_so(say: Say) -> None:
    figures = [overview('a', pending=1), overview('b')]
    operator = MadeOperator(['a', 'b'], tasks=[task(ID, queue='b')], explain=[], overviews=figures)
    nothing = '  nothing is in its way: a claim made now would have it handed out'
    assert say(f'why {ID}', operator) == (0, ["pending in queue 'b'", nothing], [])
    assert say('why', operator) == (0, [
        "queue 'a': 1 pending, 0 at work", nothing, "queue 'b': 0 pending, 0 at work", nothing], [])  # fmt: skip
    assert say(f'why {ID} --group g', operator) == (
        2, [], ['torrelque: why is about a task or about a group, not both']
    )  # fmt: skip
    unknown = MadeOperator(tasks=[], explain=[Reason('unknown', 'nobody knows it')])
    assert say('why nope', unknown) == (1, ['', '  1  nobody knows it'], ["there is no task 'nope'"])


def test_a_task_is_told_of_in_each_queue_that_knows_its_id(say: Say) -> None:
    done = task(ID, queue='a', status=TorrelqueTaskStatus.COMPLETED, place=None, release_time=NOW - 9)
    operator = MadeOperator(
        ['a', 'b', 'c'], tasks=[done, task(ID, queue='c')], explain=[Reason('behind', 'others go first', queue='c')]
    )
    assert say(f'why {ID}', operator) == (0, [
        "completed for 9s in queue 'a'", '', '  1  others go first', '',
        "pending in queue 'c'", '', '  1  others go first',
    ], [])  # fmt: skip
    assert [json.loads(line)['queue'] for line in say(f'why {ID} --json', operator).out] == ['c', 'c']
    said = say(f'show {ID}', operator)
    assert [line.split()[1] for line in said.out if line.startswith('  queue')] == ['a', 'c']
    assert said.out.count(ID) == 2 and said.out.count('   1  others go first') == 1
    assert [json.loads(line)['queue'] for line in say(f'show {ID} --json', operator).out] == ['a', 'c']


def test_a_group_is_told_with_its_own_counts_and_a_slip_with_what_may_be_meant(say: Say) -> None:
    def group(name: str, **given: Any) -> GroupView:
        plain: dict[str, Any] = {
            'waiting': 0, 'slots': 0, 'limit': math.inf, 'rate': None, 'tokens': None, 'own_limit': False,
            'own_rate': False, 'paused': False, 'probe': None, 'head': None, 'oldest': None,
        }  # fmt: skip
        return GroupView(**{**plain, 'queue': 'mail', 'name': name, **given})

    full = group('acme', waiting=3, slots=2, limit=2.0)
    figures = [overview(pending=12, working=10)]
    operator = MadeOperator(group=full, explain=[Reason('at-limit', 'it is full')], overviews=figures)
    said = say('why --group acme', operator)
    assert said == (0, ["group 'acme' in queue 'mail': 3 pending, 2/2 slots in use", '', '  1  it is full'], [])
    none = Reason('unknown', 'the group has no tasks')
    groups = Groups('mail', NOW, 0.0, (full, group('globex')), 2)
    operator = MadeOperator(group=group('acne'), explain=[none], overviews=figures, groups=groups)
    assert say('why --group acne', operator) == (
        1, [], ["queue 'mail': no group 'acne' is known; did you mean 'acme'?"]
    )  # fmt: skip
    said = say('why --group acne --json', operator)
    assert said.code == 1 and read_as(Reason, said.out[0]) == none
    # One that has no tasks, and is paused or has a limit of its own, is known.
    operator = MadeOperator(group=group('acne', paused=True), explain=[none], overviews=figures)
    assert say('why --group acne', operator).out[0] == "group 'acne' in queue 'mail': 0 pending, 0 slots in use"


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
    # What JSON is read as may say less than what is stored.
    twice = task(ID, raw=b'{"a":1,"a":1e400}', payload={'a': math.inf}, size=17, status=TorrelqueTaskStatus.DEAD)
    assert '  {"a":1,"a":1e400}' in say(f'show {ID} --payload', MadeOperator(tasks=[twice], explain=[])).out
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

        async def task(self, task_id: str, **options: Any) -> TaskView:
            if self.known:
                self.known = False
                return task(ID)
            return await super().task(task_id, **options)

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
    ({}, {'oldest': NOW - 3599, 'pending': 10**9, 'dead': 10**9, 'workers': 0, 'lost': 1}, []),
    ({}, {'oldest': NOW - 3601}, ['oldest']),
    ({'oldest': 300.0}, {'oldest': NOW - 301}, ['oldest']),
    ({}, {'paused': True}, []),
    ({}, {'paused': True, 'pending': 1}, ['paused']),
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


@pytest.mark.parametrize(('limits', 'given', 'more', 'subjects'), [
    ({}, {}, {'unknown': "no queue 'mial' is known"}, ['unknown']),
    ({}, {'pending': 5, 'paused_groups': 1}, {}, []),
    ({}, {'pending': 5, 'paused_groups': 1}, {'paused': ['acme']}, ['paused']),
    ({}, {'lost': 1, 'working': 1}, {}, []),
    ({}, {'lost': 1, 'working': 1}, {'orphaned': 1}, ['lost']),
    ({}, {'overdue_leases': 1}, {'ended': 29.0}, []),
    ({}, {'overdue_leases': 1}, {'ended': 31.0}, ['overdue']),
    ({}, {'workers': 0, 'ready': 1, 'oldest': NOW - 61}, {}, []),
    ({}, {'workers': 0, 'ready': 1, 'oldest': NOW - 61}, {'served': True}, ['workers']),
    ({}, {'workers': 0, 'ready': 1, 'oldest': NOW - 59}, {'served': True}, []),
    ({}, {'workers': 1, 'ready': 1, 'oldest': NOW - 61}, {'served': True}, []),
    ({'workers': 0}, {'workers': 0, 'ready': 1, 'oldest': NOW - 61}, {'served': True}, []),
])  # fmt: skip
def test_what_figures_do_not_tell_is_judged_too(
    limits: dict[str, Any], given: dict[str, Any], more: dict[str, Any], subjects: list[str]
) -> None:
    found = [finding.subject for finding in judge(overview(**given), Limits(**limits), More(**more))]
    assert found == subjects


def test_check_ends_with_1_where_something_is_wrong(say: Say) -> None:
    assert say('check', MadeOperator(['mail', 'news'], overviews=[overview('mail'), overview('news')])) == (
        0, [], []
    )  # fmt: skip
    assert say('check -v', MadeOperator(overviews=[overview('mail')])).err[-1] == 'all is well with mail'
    bad = overview(oldest=NOW - 400, dead=1, paused=True, pending=1)
    said = say('check --dead 0 --oldest 5m', MadeOperator(overviews=[bad, overview('news')]))
    assert said == (1, [
        'mail: the queue is paused, and 1 task is pending:  torrelque resume -q mail',
        'mail: the oldest task has waited for 6m40s or longer, more than 5m00s:  torrelque why -q mail',
        'mail: 1 task is dead, more than 0:  torrelque errors -q mail',
    ], [])  # fmt: skip
    said = say('check --dead 0 --json', MadeOperator(overviews=[bad]))
    assert [read_as(Finding, line).subject for line in said.out] == ['paused', 'dead'] and said.code == 1
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
