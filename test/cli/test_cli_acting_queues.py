"""Commands that enqueue, pause, limit and sweep."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.acting import Commands, recorded
from support.shop import begin_anew, own_shop
from torrelque import Torrelque, TorrelqueLimit, TorrelqueTaskStatus
from torrelque.cli.amounts import KEEP, concurrency, pace, rate, spelt
from torrelque.cli.out import Out

pytestmark = pytest.mark.one_server

# Enqueueing


async def taken(queue: Torrelque, count: int = 1) -> list[Any]:
    return [task for _, task in await queue.dequeue_many(count, timeout=60)]


async def test_a_task_is_enqueued_and_its_id_is_printed(queue: Torrelque, command: Commands) -> None:
    said = await command('enqueue', '{"addr": "joe@doe.com", "n": 9007199254740993}')
    task_id, task = await queue.dequeue(timeout=60)
    assert said.lines == [task_id] and task == {'addr': 'joe@doe.com', 'n': 2**53 + 1}
    assert await recorded(queue) == [('enqueue', f'task {task_id}', 1)]
    [answer] = (await command('enqueue', 'null', '--json')).json
    assert answer == {'queue': queue.name, 'id': (await queue.dequeue(timeout=60))[0]}


@pytest.mark.one_server
@pytest.mark.parametrize(
    ('words', 'given', 'task'),
    [
        (['-5'], '', -5), (['"é 龜"'], '', 'é 龜'), (['-'], '{"a":\n 1}\n', {'a': 1}),
        (['-', '--text'], 'a\nb\n', 'a\nb'),
        (['--text', '{"a"'], '', '{"a"'), (['--text', ''], '', ''),
        (['--task', 'f'], '', {'task': 'f'}),
        (['--task', 'f', '--args', '[1, "a"]', '--kwargs', '{"b": null}'], '',
         {'task': 'f', 'args': [1, 'a'], 'kwargs': {'b': None}}),
    ],
)  # fmt: skip
async def test_what_is_enqueued_is_what_was_written(
    words: list[str], given: str, task: Any, queue: Torrelque, command: Commands
) -> None:
    await command('enqueue', *words, given=given)
    assert await taken(queue) == [task]


async def test_options_are_those_of_the_queue(queue: Torrelque, command: Commands) -> None:
    await command('enqueue', '1', '--id', 'mine', '--group', 'acme', '--priority', '-7', '--delay', '10m',
                  '--max-attempts', '3', '--lease', '90s')  # fmt: skip
    state = await queue.get_task_state('mine')
    assert (state.status, state.timeout, state.group, state.priority, state.max_attempts) == (
        TorrelqueTaskStatus.DELAYED, 90, 'acme', -7, 3
    )  # fmt: skip
    said = await command('enqueue', '1', '--id', 'mine', code=1)
    assert said.out == '' and "has a task 'mine' already" in said.err


async def test_each_line_is_a_task(queue: Torrelque, command: Commands) -> None:
    count = 600
    lines = [json.dumps({'n': n}) for n in range(count)]
    said = await command('enqueue', '--lines', '--group', 'acme', given='\n'.join(lines) + '\n\n')
    got = [one for _ in range(6) for one in await queue.dequeue_many(100, timeout=60)]
    assert [task for _, task in got] == [{'n': n} for n in range(count)]
    assert [task_id for task_id, _ in got] == said.lines
    assert await recorded(queue) == [('enqueue', f'{count} tasks', count)]
    assert len((await command('enqueue', '-', '--lines', '--json', given='1\n2')).json) == 2
    assert (await command('enqueue', '--lines', code=1)).out == ''


async def test_all_lines_are_read_before_the_first_is_enqueued(queue: Torrelque, command: Commands) -> None:
    said = await command('enqueue', '--lines', given='1\n2\n{\n4', code=2)
    assert said.out == '' and said.err.startswith('torrelque: line 3 is no JSON: ')
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.one_server
@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'there is nothing to enqueue'), (['{"a"'], 'PAYLOAD is no JSON: '), (['NaN'], 'NaN is no number of JSON'),
        (['[' * 100_000], 'PAYLOAD is no JSON: '), (['1', '--task', 'f'], 'and no PAYLOAD'),
        (['1', '--args', '[]'], 'name its function with --task'),
        (['--task', 'f', '--args', '{}'], '--args is a JSON list'),
        (['--task', 'f', '--kwargs', '[]'], '--kwargs a JSON object'),
        (['--task', 'f', '--args', 'x'], '--args is no JSON: '),
        (['1', '--lines'], '--lines reads standard input'), (['--lines', '--id', 'x'], '--lines is for many tasks'),
        (['1', '--priority', '101'], 'priority'), (['1', '--delay', 'x'], 'is no time'), (['1', '--id', ''], 'id'),
        (['1', '--group', ''], 'group'), (['1', '-q', 'a', '-q', 'b'], "name one of 'a', 'b'"),
        (['1', '--max-attempts', '0'], 'is no number from 1 on'),
    ],
)  # fmt: skip
async def test_a_task_that_cannot_be_meant_is_not_enqueued(
    words: list[str], said: str, queue: Torrelque, command: Commands
) -> None:
    answer = await command('enqueue', *words, code=2)
    assert answer.out == '' and said in answer.err
    assert (await queue.get_queue_stats()).tasks == 0


@pytest.mark.one_server
async def test_the_end_of_a_task_can_be_waited_for(queue: Torrelque, command: Commands) -> None:
    async def work(call: Any, **options: Any) -> None:
        task_id, _ = await queue.dequeue(timeout=60)
        await asyncio.sleep(0.3)  # the command has seen it at work
        await call(task_id, **options)

    for call, options, code, out, err in (
        (queue.release, {'result': {'a': [1]}, 'result_ttl': 60}, 0, '{"a": [1]}', ''),
        (queue.release, {}, 0, 'null', ''),
        (queue.bury, {'error': 'Traceback\nKeyError: 1'}, 1, '', 'is dead: KeyError: 1'),
        (queue.release, {'status': TorrelqueTaskStatus.REJECTED}, 1, '', 'is rejected'),
    ):
        worker = asyncio.create_task(work(call, **options))
        said = await command('enqueue', '1', '--wait', '60s', code=code)
        await worker
        assert said.lines[1:] == [out] * bool(out) and err in said.err
    worker = asyncio.create_task(work(queue.release, result=7, result_ttl=60))
    [answer] = (await command('enqueue', '1', '--wait', '60s', '--json')).json
    await worker
    assert (answer['status'], answer['result'], answer['error']) == ('completed', 7, None)
    said = await command('enqueue', '1', '--wait', '0.1', code=1)
    assert len(said.lines) == 1 and 'has not ended' in said.err


@pytest.fixture
def shop(
    queue: Torrelque, command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The target of an app with a function in a queue of its own."""
    with own_shop(queue.name, tmp_path, monkeypatch) as target:
        yield target


@pytest.mark.one_server
async def test_an_app_enqueues_calls_as_its_own_code_would(shop: str, queue: Torrelque, command: Commands) -> None:
    words = ('enqueue', '--task', 'shop_of_test.send', '--app', shop)
    async with Torrelque(queue.client, queue=f'{queue.name}-other') as other:
        said = await command(*words, '--args', '["joe@doe.com"]', '--kwargs', '{"copies": 2}')
        task_id, task = await other.dequeue(timeout=60)
        assert said.lines == [task_id]
        assert task == {'task': 'shop_of_test.send', 'args': ['joe@doe.com'], 'kwargs': {'copies': 2}}
        assert (await other.get_task_state(task_id)).group == 'mails'
        assert await recorded(other) == [('enqueue', f'task {task_id}, a call of shop_of_test.send', 1)]
        begin_anew()
        await command(*words, '--args', '["joe@doe.com"]', '-q', queue.name, '--id', 'mine')
        assert (await queue.dequeue(timeout=60))[0] == 'mine'
        assert (await other.get_queue_stats()).pending == 0
    begin_anew()
    await command('enqueue', '--task', 'shop_of_test.book', '--args', '[1]', '--app', shop)
    assert (await queue.get_group_stats('fifo:orders')).waiting == 1


@pytest.mark.one_server
async def test_a_call_goes_to_the_queue_of_its_function_whatever_queue_the_environment_names(
    shop: str, queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORRELQUE_QUEUE', queue.name)
    words = ('enqueue', '--app', shop, '--task', 'shop_of_test.send', '--args', '["a"]')
    said = await command(*words)
    async with Torrelque(queue.client, queue=f'{queue.name}-other') as other:
        assert (await other.get_task_state(said.lines[0])).status is TorrelqueTaskStatus.PENDING
        assert [count for _, _, count in await recorded(other)] == [1]
        begin_anew()
        said = await command(*words, '-q', queue.name, '-q', other.name, code=2)
        assert 'a call goes to one queue' in said.err and (await other.get_queue_stats()).pending == 1


@pytest.mark.one_server
async def test_an_app_refuses_calls_that_do_not_fit(shop: str, queue: Torrelque, command: Commands) -> None:
    for words, said in {
        ('--task', 'shop_of_test.sned'): "has no function 'shop_of_test.sned'; did you mean 'shop_of_test.send'?",
        ('--task', 'shop_of_test.send'): "missing a required argument: 'addr'",
        ('--task', 'shop_of_test.send', '--args', '[1, 2, 3]'): 'too many positional arguments',
        ('--task', 'shop_of_test.book', '--args', '[1]', '--group', 'x'): 'ordered queue',
        ('1',): 'name one of',
    }.items():
        begin_anew()
        answer = await command('enqueue', *words, '--app', shop, code=2)
        assert answer.out == '' and said in answer.err
    assert (await queue.get_queue_stats()).tasks == 0


# Pauses


async def test_a_queue_is_paused_and_goes_on(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a')
    assert (await command('pause')).lines == [f'queue {queue.name!r} is paused: no task is handed out any more']
    assert (await command('pause')).lines == [f'queue {queue.name!r} was paused before']
    assert (await command('resume')).lines == [f'queue {queue.name!r} goes on: its tasks are handed out']
    assert (await command('resume', code=1)).lines == [f'queue {queue.name!r} is not paused']
    assert await taken(queue) == ['a']
    assert await recorded(queue) == [('pause', 'the queue', 0)] * 2 + [('resume', 'the queue', 0)]


async def test_a_group_is_paused_and_goes_on(queue: Torrelque, command: Commands) -> None:
    words = ('--group', 'acme', '--json')
    await queue.enqueue('a')
    assert (await command('pause', *words, '--probe', '30s')).json == [
        {'queue': queue.name, 'group': 'acme', 'schedule': None, 'paused': True, 'was_paused': False, 'probe': 30.0}
    ]
    assert (await queue.get_group_stats('acme')).paused
    assert 'each 30s' in (await command('pause', '--group', 'acme', '--probe', '30s')).out
    assert (await command('resume', *words)).json == [
        {'queue': queue.name, 'group': 'acme', 'schedule': None, 'paused': False, 'was_paused': True, 'probe': None}
    ]
    assert (await command('resume', *words, code=1)).json[0]['was_paused'] is False
    # Where the whole queue is paused, that is said as well.
    await command('pause')
    await command('pause', '--group', 'acme')
    said = await command('resume', '--group', 'acme')
    assert said.lines[1] == f'the whole queue {queue.name!r} is paused, so nothing is handed out all the same'


@pytest.mark.one_server
async def test_queues_are_paused_together(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a')
    said = await command('pause', '-q', 'a', '-q', 'b', '--json', '--yes')
    assert [answer['queue'] for answer in said.json] == ['a', 'b']
    said = await command('resume', '-q', 'a', '-q', queue.name, '--json', code=1)
    assert [answer['was_paused'] for answer in said.json] == [True, False]


# Limits


@pytest.mark.parametrize(
    ('text', 'value'),
    [('50', (50, 1.0)), ('50/s', (50, 1.0)), ('100/m', (100, 60.0)), ('5/10s', (5, 10.0)), ('1/2h', (1, 7200.0)),
     ('none', math.inf), ('default', None)],
)  # fmt: skip
def test_a_rate_is_read_as_it_is_written(text: str, value: Any) -> None:
    assert rate(text) == value
    assert rate(spelt(value)) == value


def test_other_amounts_are_read_as_they_are_written() -> None:
    assert [pace(text) for text in ('50', '50/s', '30/m', '0.5', '1/2s')] == [50, 50, 0.5, 0.5, 0.5]
    assert [concurrency(text) for text in ('4', 'none', 'default')] == [4, math.inf, None]
    assert [spelt(value) for value in (4, (3, 0.5), (1, 86400.0), (2, 90.0))] == ['4', '3/0.5s', '1/d', '2/90s']
    refused: dict[Any, list[str]] = {
        pace: ['', 'x', '0', '-1', '1/0s', '1/y', 'inf', '1e3', '\u0661'],
        rate: ['0.5/s', '', 'None', '0/s', '5/'], concurrency: ['0', '1.5', '-1', 'nothing'],
    }  # fmt: skip
    for read, texts in refused.items():
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError, match=r'is no (rate|number)'):
                read(text)


async def test_limits_are_set_one_by_one_and_shown(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a')
    assert (await command('limit')).lines == ['no limit is set']
    assert [line.split() for line in (await command('limit', 'acme', '--concurrency', '4')).lines] == [
        ['QUEUE', 'GROUP', 'CONCURRENCY', 'RATE'], [queue.name, 'acme', '4', 'default']
    ]  # fmt: skip
    await command('limit', 'acme', '--rate', '100/m')
    await command('limit', 'acme', '--concurrency', '5')
    await command('limit', '--concurrency', '2', '--yes')
    assert await queue.get_limits() == {'acme': TorrelqueLimit(5, (100, 60.0)), None: TorrelqueLimit(2, None)}
    await command('limit', 'acme', '--concurrency', 'none', '--rate', 'default')
    assert (await command('limit', '--json')).json == [
        {'queue': queue.name, 'group': None, 'concurrency': 2, 'rate': 'default'},
        {'queue': queue.name, 'group': 'acme', 'concurrency': 'none', 'rate': 'default'},
    ]
    assert [line.split() for line in (await command('limit')).lines][1:] == [
        [queue.name, '(all', 'groups)', '2', 'none'], [queue.name, 'acme', 'none', 'default']
    ]  # fmt: skip
    assert (await command('limit', 'nobody', '--json')).json[0]['concurrency'] == 'default'
    assert [(act, what) for act, what, _ in await recorded(queue)] == [
        ('limit', 'group acme: concurrency 4, rate default'), ('limit', 'group acme: concurrency 4, rate 100/m'),
        ('limit', 'group acme: concurrency 5, rate 100/m'), ('limit', 'all groups: concurrency 2, rate default'),
        ('limit', 'group acme: concurrency none, rate default'),
    ]  # fmt: skip


@pytest.mark.one_server
async def test_the_default_of_all_groups_is_not_set_by_who_forgets_the_group(
    queue: Torrelque, command: Commands
) -> None:
    await queue.enqueue('a', group='acme')
    said = await command('limit', '--concurrency', '1', code=2)
    assert said.err == (
        'torrelque: without a GROUP the default of all groups is set, and nobody can be asked: --yes does it\n'
    )
    assert await queue.get_limits() == {} and await recorded(queue) == []
    await command('limit', '--concurrency', '1', '--yes')
    assert await queue.get_limits() == {None: TorrelqueLimit(1, None)}
    # What a file of settings calls the default is no group here either.
    assert (await command('limit', '*', '--concurrency', '2', code=2)).err == said.err
    await command('limit', '*', '--concurrency', '2', '--yes')
    assert await queue.get_limits() == {None: TorrelqueLimit(2, None)}
    assert (await command('limit', '*', '--json')).json[0]['concurrency'] == 2


@pytest.mark.one_server
async def test_limits_may_be_read_where_only_reading_is_allowed(
    queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.set_limit('acme', concurrency=4)
    monkeypatch.setenv('TORRELQUE_READ_ONLY', '1')
    assert len((await command('limit')).lines) == 2
    await command('limit', 'acme', '--concurrency', '5', code=4)
    assert (await queue.get_limits())['acme'].concurrency == 4


@pytest.mark.one_server
async def test_limits_that_cannot_be_meant_change_nothing(queue: Torrelque, command: Commands) -> None:
    await queue.set_limit('acme', concurrency=4)
    for words in ('acme --concurrency 0', 'acme --concurrency -1', 'acme --rate x', 'acme --rate 0', '--rate 5/s x y'):
        assert (await command('limit', *words.split(), code=2)).out == ''
    assert await queue.get_limits() == {'acme': TorrelqueLimit(4, None)}
    assert KEEP is not None


# What is due


async def test_a_sweep_tells_what_it_has_moved(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a', delay=0.001)
    await asyncio.sleep(0.01)
    [answer] = (await command('sweep', '--json')).json
    assert answer == {'queue': queue.name, 'stale': 0, 'delayed': 1, 'dead': 0, 'fired': 0}
    assert (await command('sweep')).lines == [
        f'queue {queue.name!r}: 0 were due and are pending; the leases of 0 had ended: 0 are pending again, 0 are dead'
    ]
    assert await recorded(queue) == [('sweep', '', 1), ('sweep', '', 0)]


@pytest.mark.one_server
async def test_all_lines_are_enqueued_though_nobody_reads_the_ids(
    queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Out, text: str = '', style: str = '') -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Out, 'line', refuse)
    said = await command('enqueue', '--lines', given='1\n' * 600)
    assert said.err == '600 tasks are enqueued, though nobody has read all of their ids\n'
    assert (await queue.get_queue_stats()).pending == 600
    assert [(act, count) for act, _, count in await recorded(queue)] == [('enqueue', 600)]


@pytest.mark.one_server
async def test_a_number_that_is_too_large_is_refused(queue: Torrelque, command: Commands) -> None:
    assert '1e400 is too large a number' in (await command('enqueue', '{"n": 1e400}', code=2)).err
