"""Acts on tasks by command: which are meant, what is asked before, what becomes of them, and what is told."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import redis.asyncio

from support.acting import Commands, bury_all, recorded
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueServerError, TorrelqueTaskStatus

pytestmark = pytest.mark.first_server

DEAD, PENDING, WORKING = TorrelqueTaskStatus.DEAD, TorrelqueTaskStatus.PENDING, TorrelqueTaskStatus.WORKING
CANCELLED = TorrelqueTaskStatus.CANCELLED

SCRIPTED = '--yes'
"""Says what nobody can be asked in a test without a terminal."""


async def statuses(queue: Torrelque, ids: list[str]) -> list[TorrelqueTaskStatus]:
    return [(await queue.get_task_state(task_id)).status for task_id in ids]


# By id


async def test_a_task_is_brought_back_without_a_question(queue: Torrelque, command: Commands) -> None:
    one, other = await bury_all(queue, ['a', 'b'])
    assert (await command('redrive', one)).lines == ['1 redriven']
    assert await statuses(queue, [one, other]) == [PENDING, DEAD]
    assert await recorded(queue) == [('redrive', one, 1)]
    [answer] = (await command('redrive', other, '--json')).json
    assert (answer['act'], answer['queue'], answer['done'], answer['refused']) == ('redrive', queue.name, 1, [])


async def test_what_is_not_changed_is_told_with_why_and_ends_with_1(queue: Torrelque, command: Commands) -> None:
    [dead] = await bury_all(queue, ['a'])
    alive = await queue.enqueue('b')
    said = await command('redrive', dead, alive, 'nobody', SCRIPTED, code=1)
    assert said.lines[0] == '1 redriven'
    assert {*said.lines[1:]} == {'1 not: not dead (any more)', '1 not: the queue does not know it'}
    assert (await command('cancel', 'nobody', code=1)).lines == ['0 cancelled', '1 not: the queue does not know it']
    assert (await command('requeue', alive, code=1)).lines == ['0 requeued', '1 not: not worked on (any more)']


async def test_each_act_does_what_it_says(queue: Torrelque, command: Commands) -> None:
    ids = [str(await queue.enqueue(n)) for n in range(3)]
    taken = [str(task_id) for task_id, _ in await queue.dequeue_many(2, timeout=60)]
    assert (await command('requeue', taken[0])).lines == ['1 requeued']
    assert (await command('bury', taken[1], '--reason', 'it hangs')).lines == ['1 buried']
    assert (await command('cancel', ids[2])).lines == ['1 cancelled']
    assert await statuses(queue, [*taken, ids[2]]) == [PENDING, DEAD, CANCELLED]
    assert (await queue.get_task_state(taken[1])).error == 'it hangs'
    assert await recorded(queue) == [('requeue', taken[0], 1), ('bury', taken[1], 1), ('cancel', ids[2], 1)]


async def test_ids_are_read_from_standard_input(queue: Torrelque, command: Commands) -> None:
    ids = await bury_all(queue, [*'abc'])
    given = '\n'.join(ids[:2]) + '\n\n'
    assert (await command('redrive', '-', SCRIPTED, given=given)).lines == ['2 redriven']
    # One that comes so needs no more than one that is named.
    assert (await command('redrive', '-', given=ids[2])).lines == ['1 redriven']
    said = await command('redrive', '-', SCRIPTED, given='\n', code=1)
    assert said.err == 'torrelque: standard input has no id; nothing was changed\n'


async def test_an_id_may_begin_with_a_hyphen(queue: Torrelque, command: Commands) -> None:
    await queue.enqueue('a', task_id='--all')
    await queue.enqueue('b', task_id='-x')
    assert (await command('cancel', SCRIPTED, '--', '--all', '-x')).lines == ['2 cancelled']


# By what they are


async def test_a_selection_is_about_what_its_filters_let_through(queue: Torrelque, command: Commands) -> None:
    call = {'task': 'shop.send', 'args': [1]}
    ours = await bury_all(queue, [call, call], 'ConnectionRefusedError: [Errno 111] no', group='acme')
    others = await bury_all(queue, [call, {'task': 'shop.buy'}], 'KeyError: 2')
    for filters, many in {
        ('--error', 'ConnectionRefused'): 2, ('--group', 'ac*'): 2, ('--function', 'shop.send'): 3,
        ('--function', 'shop.*', '--error', 'KeyError'): 2, ('--group', ''): 2, ('--older', '1h'): 0,
        ('--newer', '1h', '--group', 'acme'): 2, ('--attempts', '2'): 0, ('--text', '"args":[1]'): 3,
    }.items():  # fmt: skip
        [answer] = (await command('redrive', *filters, '--dry-run', '--json', code=0 if many else 1)).json
        assert (answer['matched'], answer['done'], answer['dry_run']) == (many, 0, True), filters
        assert len(answer['examples']) == many
        # What is in payloads may be secret, and was not asked for.
        assert all(task['payload'] is None and task['raw'] is None for task in answer['examples'])
    assert (await command('redrive', '--group', 'acme', SCRIPTED)).lines == ['2 redriven']
    assert await statuses(queue, ours + others) == [PENDING, PENDING, DEAD, DEAD]
    assert await recorded(queue) == [('redrive', '--group acme', 2)]


@pytest.mark.first_server
async def test_a_dry_run_changes_nothing_and_shows_some(queue: Torrelque, command: Commands) -> None:
    ids = await bury_all(queue, [{'task': f'f{n}'} for n in range(7)], 'ValueError: no\n')
    said = await command('redrive', '--dry-run')
    assert said.lines[0] == '7 of 7 dead tasks match; nothing was changed'
    assert said.lines[1].split() == ['ID', 'STATUS', 'FUNCTION', 'GROUP', 'ATTEMPT', 'ERROR']
    assert len(said.lines) == 7 and all(line.split()[0] in ids and 'ValueError: no' in line for line in said.lines[2:])
    assert await statuses(queue, ids) == [DEAD] * 7 and await recorded(queue) == []
    waiting = await queue.enqueue('x')
    said = await command('cancel', '--all', '--dry-run')
    assert said.lines[0] == '1 of 1 pending or delayed tasks match; nothing was changed'
    assert said.lines[2].split()[:2] == [waiting, 'pending']
    assert (await command('cancel', '--all', '--dry-run', '--limit', '1')).lines[0].startswith('1 pending or delayed ')
    assert (await command('requeue', '--group', 'x', '--dry-run', code=1)).lines == [
        '0 of 0 working tasks match; nothing was changed'
    ]


@pytest.mark.first_server
async def test_no_more_than_the_limit_are_changed(queue: Torrelque, command: Commands) -> None:
    ids = await bury_all(queue, [*range(5)])
    assert (await command('redrive', '--limit', '2', SCRIPTED)).lines == ['2 redriven']
    assert sorted(await statuses(queue, ids)) == sorted([PENDING] * 2 + [DEAD] * 3)
    assert (await command('redrive', SCRIPTED, '--rate', '600/m')).lines == ['3 redriven']
    assert (await command('redrive', SCRIPTED, code=1)).lines == ['no task matches']


async def test_an_id_that_several_queues_know_is_told_of_in_each_and_not_acted_on(
    queue: Torrelque, client: redis.asyncio.Redis, command: Commands
) -> None:
    other = Torrelque(client, queue=f'{queue.name}-b')
    for one in queue, other:
        await one.enqueue(1, task_id='order-7')
        taken, _ = await one.dequeue(0)
        await one.bury(taken)
    both = '-q', queue.name, '-q', other.name
    said = await command('why', 'order-7', *both)
    assert [line.split()[-1] for line in said.lines if line.startswith('dead for')] == [
        repr(queue.name), repr(other.name)
    ]  # fmt: skip
    for one in queue, other:
        assert any(line.endswith(f'torrelque redrive order-7 -q {one.name}') for line in said.lines)
    refusal = f"task 'order-7' is in queues {queue.name!r} and {other.name!r}: name one of them"
    for words in ('redrive', 'order-7'), ('redrive', 'order-7', '--dry-run'), ('watch', 'order-7'):
        said = await command(*words, *both, code=2)
        assert (said.out, said.err) == ('', f'torrelque: {refusal}\n')
    assert (await command('redrive', 'order-7', '-q', other.name)).lines == ['1 redriven']
    assert [(await one.get_task_state('order-7')).status for one in (queue, other)] == [DEAD, PENDING]
    await other.aclose()


async def test_several_queues_are_acted_on_together(
    queue: Torrelque, command: Commands
) -> None:
    other = Torrelque(queue.client, queue=f'{queue.name}-2')
    async with other:
        ids = await bury_all(queue, ['a', 'b']), await bury_all(other, ['c'])
        words = ('redrive', SCRIPTED, '-q', queue.name, '-q', other.name)
        [answer] = (await command(*words, '--json')).json
        assert (answer['done'], answer['queue']) == (3, f'{queue.name}, {other.name}')
        assert await statuses(queue, ids[0]) + await statuses(other, ids[1]) == [PENDING] * 3
        assert [count for _, _, count in await recorded(queue) + await recorded(other)] == [2, 1]


# What is asked before


@pytest.mark.first_server
@pytest.mark.parametrize('words', ['redrive', 'cancel --all', 'requeue --group x', 'bury a b', 'redrive --json'])
async def test_several_tasks_are_not_changed_unasked(words: str, queue: Torrelque, command: Commands) -> None:
    [dead] = await bury_all(queue, ['a'])
    said = await command(*words.split(), code=2)
    assert said.out == '' and 'nobody can be asked: --yes has them' in said.err
    assert await statuses(queue, [dead]) == [DEAD] and await recorded(queue) == []


@pytest.mark.first_server
@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ('cancel', 'say which tasks: ids, filters, or --all; see torrelque cancel --help'),
        ('requeue --yes', 'say which tasks: ids, filters, or --all; see torrelque requeue --help'),
        ('bury --yes --limit 3', 'say which tasks: ids, filters, or --all; see torrelque bury --help'),
        ('cancel --all x', '--all is for all tasks; it does not go with ids or filters'),
        ('cancel --all --group x --yes', '--all is for all tasks; it does not go with ids or filters'),
    ],
)
async def test_what_may_be_all_tasks_is_to_be_said(
    words: str, said: str, queue: Torrelque, command: Commands
) -> None:
    task_id = await queue.enqueue('a')
    assert (await command(*words.split(), code=2)).err == f'torrelque: {said}\n'
    assert await statuses(queue, [task_id]) == [PENDING]


async def test_all_may_be_meant(queue: Torrelque, command: Commands) -> None:
    dead = await bury_all(queue, ['a'])
    delayed = await queue.enqueue('b', delay=600)
    waiting = await queue.enqueue('c')
    assert (await command('cancel', '--all', SCRIPTED)).lines == ['2 cancelled']
    # What is dead is not meant by all; whoever wants that says it.
    assert await statuses(queue, [delayed, waiting, *dead]) == [CANCELLED, CANCELLED, DEAD]
    assert (await command('cancel', '--status', 'dead', SCRIPTED)).lines == ['1 cancelled']


@pytest.mark.first_server
@pytest.mark.parametrize(
    'words',
    [
        'redrive --limit 0', 'redrive --limit x', 'redrive --rate 0', 'redrive --rate x', 'redrive --rate 5/y',
        'redrive --older nonsense', 'cancel --status nowhere', 'redrive --status working --yes',
        'requeue --status dead --yes', 'redrive --error= --yes', 'bury x --reason', 'redrive --nothing',
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_ends_with_2_and_changes_nothing(
    words: str, queue: Torrelque, command: Commands
) -> None:
    ids = await bury_all(queue, ['a'])
    said = await command(*words.split(), code=2)
    assert said.out == '' and said.err
    assert await statuses(queue, ids) == [DEAD] and await recorded(queue) == []


# Who may not


@pytest.mark.first_server
@pytest.mark.parametrize(
    'words', ['redrive x', 'cancel x', 'requeue x', 'bury x', 'pause', 'resume', 'sweep', 'enqueue 1', 'limit --rate 1']
)
async def test_an_act_is_refused_where_only_reading_is_allowed(
    words: str, queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await command(*words.split(), '--read-only', code=4)).out == ''
    monkeypatch.setenv('TORRELQUE_READ_ONLY', '1')
    said = await command(*words.split(), code=4)
    assert said.err == (
        'torrelque: only reading is allowed here, by --read-only or TORRELQUE_READ_ONLY; nothing was changed\n'
    )
    assert not [key async for key in queue.client.scan_iter('*')]


@pytest.mark.first_server
async def test_a_dry_run_is_carried_out_where_only_reading_is_allowed(
    queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury_all(queue, ['a', 'b'])
    monkeypatch.setenv('TORRELQUE_READ_ONLY', '1')
    assert (await command('redrive', '--dry-run')).lines[0] == '2 of 2 dead tasks match; nothing was changed'
    await command('redrive', '--yes', code=4)
    assert (await queue.get_queue_stats()).dead == 2


@pytest.mark.first_server
async def test_a_refusal_of_the_server_ends_with_4(
    server: RealServer, queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await bury_all(queue, ['a'])
    # Servers differ in what such a user needs for scripts that only read, and acts want more than that in any case.
    await queue.client.execute_command('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '+@read', '+@connection',
                                       '+time')  # fmt: skip
    try:
        monkeypatch.setenv('TORRELQUE_URL', server.url.replace('://', '://reader:secret@'))
        for words in (['redrive', *ids], ['pause'], ['enqueue', '1'], ['limit', 'a', '--concurrency', '1']):
            said = await command(*words, code=4)
            assert 'secret' not in said.err and said.err.startswith('torrelque: the server refuses it: ')
    finally:
        await queue.client.execute_command('ACL', 'DELUSER', 'reader')
    assert await statuses(queue, ids) == [DEAD]


@pytest.mark.first_server
async def test_a_server_that_is_away_ends_with_3(command: Commands) -> None:
    for words in ('redrive x', 'pause', 'enqueue 1', 'limit', 'sweep'):
        assert 'cannot be reached' in (await command(*words.split(), '--url', 'redis://127.0.0.1:1', code=3)).err


@pytest.mark.first_server
async def test_what_was_done_before_a_refusal_is_told(
    server: RealServer, queue: Torrelque, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await bury_all(queue, [*range(3)])
    done = 0

    async def redrive(self: Torrelque, *task_ids: str, **_: Any) -> int:
        nonlocal done
        if done:
            raise TorrelqueServerError('OOM command not allowed')
        done = await real(self, *task_ids)
        return done

    real = Torrelque.redrive
    monkeypatch.setattr(Torrelque, 'redrive', redrive)
    said = await command('redrive', *ids, SCRIPTED, '--rate', '2', code=4)
    assert re.match(r'\d redriven, and then:\ntorrelque: the server refuses it: OOM', said.err)
    assert [act for act, _, _ in await recorded(queue)] == ['redrive']
    done = 0
    [answer] = (await command('redrive', *ids, SCRIPTED, '--rate', '2', '--json', code=4)).json
    assert (answer['done'], answer['finished']) == (done, False) and done


@pytest.mark.first_server
async def test_hostile_data_is_made_visible(queue: Torrelque, command: Commands) -> None:
    bad = '\x1b[2J[red]x[/] \u202e\r'
    [task_id] = await bury_all(queue, [{'task': bad}], bad, task_id=f'id{bad}', group=bad)
    said = await command('redrive', '--dry-run')
    assert '[red]x[/]' in said.out and said.out.replace('\n', '').isprintable()
    [answer] = (await command('redrive', '--dry-run', '--json')).json
    assert answer['examples'][0]['id'] == task_id and '\x1b' not in json.dumps(answer)
    said = await command('enqueue', '1', '--id', task_id, code=1)
    assert said.err.replace('\n', '').isprintable()
    for act in ('pause', 'resume'):
        assert (await command(act, '--group', bad)).out.replace('\n', '').isprintable()
    assert (await command('limit', bad, '--concurrency', '1')).out.replace('\n', '').isprintable()
