"""Each reason that lies in the task itself, and what is told of names, lost keys and servers."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import torrelque
from support.explaining import UNSEEN, Hire, brief, by, first, running, why, worker, working
from support.obeying import claim, parse
from support.servers import RealServer
from torrelque import Torrelque, TorrelqueTaskStatus as Status
from torrelque.cli.amounts import KEEP
from torrelque.operate import CODES, Reason
from torrelque.testing import Clock

ROOT = Path(__file__).parents[2]


# A task by itself


async def test_task_that_nobody_knows(queue: Torrelque) -> None:
    text = 'the queue knows no such task: it was never enqueued, or is finished and forgotten'
    assert await why(queue, 'x') == [Reason('unknown', text, queue=queue.name)]


async def test_task_that_is_finished_and_kept(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.dequeue(0)
    await queue.release(task_id, status=Status.REJECTED, result_ttl=600)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('finished', 'it is rejected, and its state is kept for a while')
    assert reason.since == state.release_time
    assert reason.until is not None
    assert 500 < reason.until - (reason.since or 0) <= 600.1


async def test_task_that_was_cancelled_is_finished(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1)
    await queue.cancel(task_id)
    assert brief(await why(queue, task_id)) == [('finished', 'it is cancelled, and its state is kept for a while')]


async def test_task_that_somebody_works_on(queue: Torrelque) -> None:
    task_id, _ = await working(queue)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert reason.code == 'working'
    assert reason.text == f'it is worked on; by whom is not known {UNSEEN}'
    assert reason.since == pytest.approx(state.last_dequeue_time, abs=0.001)
    [holder] = reason.holders
    assert (holder.id, holder.doing, holder.worker, holder.until) == (task_id, 'working', None, reason.until)
    assert holder.renewed == pytest.approx(reason.since, abs=0.002)
    assert reason.until == pytest.approx((holder.renewed or 0) + 300)


async def test_task_that_a_worker_works_on(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await working(queue)
    hire(worker('web-1', busy=1, running=running(task_id, queue)))
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text, reason.workers) == ('working', 'it is worked on, by worker web-1', ('web-1',))
    assert [(holder.worker, holder.function) for holder in reason.holders] == [('web-1', 'shop.send')]
    assert reason.command is None


async def test_task_whose_worker_was_lost(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await working(queue)
    lost = worker('web-1', state='lost', busy=1, running=running(task_id, queue), seen=time.time())
    hire(lost, worker('web-2'))
    [reason] = await why(queue, task_id)
    text = (
        'perhaps nobody works on it: worker web-1, which had it in hand, has been silent for N s, and has not '
        'renewed its lease since; it comes back when that ends'
    )
    told = re.sub(r'\d+ s', 'N s', reason.text)
    assert (reason.code, told, reason.workers) == ('orphaned', text, ('web-1',))
    assert reason.command == by(queue, f'requeue {task_id}')


async def test_task_that_no_worker_names_and_whose_lease_was_not_renewed_for_half_of_it(
    queue: Torrelque, hire: Hire
) -> None:
    task_id, _ = await working(queue)
    hire(worker('web-1', busy=1, running=running('other', queue)))
    await Clock(queue).move(100)
    assert (await first(queue, task_id)).code == 'working'
    await Clock(queue).move(60)
    reason = await first(queue, task_id)
    text = 'perhaps nobody works on it: no worker that lives tells of it, and its lease was not renewed for half its '
    assert (reason.code, reason.text) == ('orphaned', text + f'length; it comes back when that ends {UNSEEN}')
    # Whoever has more in hand than it names may have this one.
    hire(worker('web-1', busy=101, running=running('other', queue)))
    assert (await first(queue, task_id)).code == 'working'


async def test_task_whose_lease_has_ended(queue: Torrelque) -> None:
    task_id, _ = await working(queue)
    await Clock(queue).move(301)
    reason, *others = await why(queue, task_id)
    text = 'it was worked on, its lease has ended, and nobody has brought it back: no consumer waits, and nobody sweeps'
    assert (reason.code, reason.text, reason.command) == ('overdue', text, by(queue, 'sweep'))
    assert reason.since == pytest.approx(time.time() - 1, abs=60)
    assert [one.code for one in others] == ['no-worker']


async def test_task_that_is_dead(queue: Torrelque) -> None:
    task_id, _ = await working(queue)
    await queue.bury(task_id, error='one\ntwo')
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text, reason.error) == ('dead', 'it is dead after 1 attempt', 'one\ntwo')
    assert reason.command == by(queue, f'redrive {task_id}')
    assert reason.since == pytest.approx(time.time(), abs=60)


async def test_task_that_was_cancelled_and_is_held_still(queue: Torrelque, hire: Hire) -> None:
    task_id, _ = await working(queue)
    await queue.cancel(task_id)
    text = 'it was cancelled while it was worked on, and {} holds it still: it is gone when that is over'
    assert brief(await why(queue, task_id)) == [('cancelled', text.format('somebody'))]
    hire(worker('web-1', busy=1, running=running(task_id, queue)))
    [reason] = await why(queue, task_id)
    assert (reason.text, reason.workers) == (text.format('worker web-1'), ('web-1',))
    assert reason.until is not None
    await Clock(queue).move(301)
    assert (await first(queue, task_id)).code == 'overdue'
    assert (await first(queue, task_id)).text.startswith('it was cancelled, the lease of its holder has ended, ')


async def test_task_that_was_enqueued_for_later(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    state = await queue.get_task_state(task_id)
    [reason] = await why(queue, task_id)
    assert (reason.code, reason.text) == ('delayed', 'it was enqueued for later')
    assert (reason.since, reason.until, reason.command) == (state.enqueue_time, state.enqueue_time + 3600, None)


async def test_task_that_waits_for_a_retry(queue: Torrelque) -> None:
    task_id, _ = await working(queue, group='acme')
    await queue.requeue(task_id, delay=3600, error='no\nanswer')
    [reason] = await why(queue, task_id)
    text = 'it has failed and waits for its next time, after 1 attempt; it keeps its slot of the group'
    assert (reason.code, reason.text, reason.error, reason.count) == ('retry', text, 'no\nanswer', 1)
    assert reason.until == pytest.approx(time.time() + 3600, abs=60)


async def test_task_that_was_given_back_for_later(queue: Torrelque) -> None:
    task_id, _ = await working(queue)
    await queue.requeue(task_id, delay=3600)
    assert brief(await why(queue, task_id)) == [('retry', 'it waits for its next time, after 1 attempt')]


async def test_task_that_is_due_and_that_nobody_has_swept(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    await Clock(queue).move(3601)
    reason, *_ = await why(queue, task_id)
    text = 'it is due, and nobody has brought it back: no consumer waits, and nobody sweeps'
    assert (reason.code, reason.text, reason.command) == ('overdue', text, by(queue, 'sweep'))
    assert reason.since == pytest.approx(time.time() - 1, abs=60)


async def test_pause_of_the_queue_is_told_of_a_task_that_is_delayed(queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, delay=3600)
    await queue.pause()
    assert brief(await why(queue, task_id)) == [
        ('delayed', 'it was enqueued for later'),
        ('queue-paused', 'the queue is paused'),
    ]


# What is lost


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (lambda c, q, i: c.delete(f'{q.keys["task"]}:{i}'), 'its state is lost'),
        (
            lambda c, q, i: c.set(f'{q.keys["task"]}:{i}', 'x'),
            'its state cannot be read: its key holds something else',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '9'),
            'its state cannot be read: it has a status that does not exist',
        ),
        (lambda c, q, i: c.hdel(q.keys['tasks'], i), 'its payload is lost'),
        (
            lambda c, q, i: c.lrem(q.keys['pending'], 0, i),
            'it stands nowhere: it is pending, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.sadd(q.keys['holes'], i),
            'it stands nowhere: it is pending, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '1'),
            'it stands nowhere: it is working, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'status', '5'),
            'it stands nowhere: it is dead, and not in the place of such tasks',
        ),
        (
            lambda c, q, i: c.hset(f'{q.keys["task"]}:{i}', 'timeout', 'nan'),
            'its state cannot be read: the length of its leases is no number, so claims fail',
        ),
        (
            lambda c, q, i: c.set(q.keys['priority'], 'x'),
            'keys of the queue hold something else than the queue wrote, so claims fail: priority',
        ),
    ],
)
async def test_task_of_which_something_is_lost(
    client: redis.asyncio.Redis, queue: Torrelque, spoil: Any, text: str
) -> None:
    task_id = await queue.enqueue(1)
    await spoil(client, queue, task_id)
    reason = await first(queue, task_id)
    assert (reason.code, reason.text, reason.command) == ('broken', text, by(queue, 'doctor'))


async def test_group_whose_head_has_no_turn(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.enqueue(1, group='beta')
    await client.lrem(queue.keys['turns'], 0, one)
    text = 'the next task of the group has no turn, so no claim comes to it'
    assert brief(await why(queue, one)) == brief(await why(queue, other)) == [('broken', text)]


async def test_group_whose_head_is_spoilt(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    one, other = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await client.hset(f'{queue.keys["task"]}:{one}', 'status', 'x')
    text = 'the task of the group whose turn is next is lost or spoilt, and stands before it'
    assert brief(await why(queue, other)) == [('broken', text)]


async def test_keys_that_claims_read_past_are_no_reason(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    task_id = await queue.enqueue(1, group='acme')
    for name in ('limits', 'probes', 'dead'):
        await client.set(queue.keys[name], 'x')
    await client.lpush(f'{queue.keys["rate"]}:acme', 'x')
    found = await why(queue, task_id)
    assert [reason.code for reason in found if reason.code != 'no-worker'] == []
    assert await claim(client, queue) == task_id


async def test_turns_that_were_lost_are_found_again_by_the_claim(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    ids = [await queue.enqueue(1, group=f'g{number}') for number in range(5)]
    await client.delete(queue.keys['turns'])
    for task_id in ids:
        assert brief(await why(queue, task_id))[0] == ('behind', 'perhaps other tasks go first, 4 at the most')
    for task_id in ids[1:]:
        await queue.cancel(task_id)
    await client.delete(queue.keys['turns'])
    assert [found.code for found in await why(queue, ids[0])] == ['no-worker']
    assert await claim(client, queue) == ids[0]


# Names and servers


@pytest.mark.parametrize('part', ['decode', 'probe'])
def test_limits_and_probes_are_read_as_the_core_reads_them(part: str) -> None:
    scripts = ROOT / 'torrelque' / 'script' / f'_{part}.lua', ROOT / 'torrelque' / 'operate' / 'script' / 'look.lua'
    core, own = ('\n'.join(line for line in _code(path)) for path in scripts)
    [function] = re.findall(rf'(?ms)^local function {part}(?:_of)?\(.*?^end$', core)
    assert function in own


def _code(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.lstrip().startswith('--')]


HOSTILE = ['a b', "it's", '-rf', '-', '--x', '$(x)', '`x`', 'a;b', '*', 'ü', '\x1b[31m', 'a\nb', '"']


@pytest.mark.parametrize('name', HOSTILE)
async def test_commands_are_safe_whatever_is_in_a_name(client: redis.asyncio.Redis, name: str) -> None:
    async with Torrelque(client, queue=name) as queue:
        await queue.set_limit(name, concurrency=1)
        ids = [await queue.enqueue(1, group=name, task_id=f'{name}{number}') for number in range(2)]
        task_id, _ = await queue.dequeue(0)
        await queue.pause(name)
        paused, at_limit, *_ = await why(queue, ids[1])
        said = parse(paused.command or '')
        assert (said.command.name, said.group, said.queue) == ('resume', name, [name])
        said = parse(at_limit.command or '')
        assert (said.command.name, said.group, said.queue) == ('limit', name, [name])
        assert (said.concurrency, said.rate) == (2, KEEP)
        await queue.bury(task_id)
        dead = await first(queue, ids[0])
        said = parse(dead.command or '')
        assert (said.command.name, said.ids, said.queue) == ('redrive', [ids[0]], [name])


@pytest.mark.parametrize('name', ['a\0b', '--'])
async def test_name_that_no_command_line_can_have_is_in_none(queue: Torrelque, name: str) -> None:
    task_id = await queue.enqueue(1, group=name)
    await queue.pause(name)
    assert (await first(queue, task_id)).command is None


async def test_ids_and_groups_that_are_no_text_are_explained(client: redis.asyncio.Redis, queue: Torrelque) -> None:
    raw = b'\xff\xfe'
    await queue.enqueue(1, task_id='x', group='y')
    await client.rename(f'{queue.keys["task"]}:x', queue.keys['task'].encode() + b':' + raw)
    await client.hset(queue.keys['tasks'], raw, '1')
    await client.hset(queue.keys['task'].encode() + b':' + raw, 'group', raw)
    await client.hset(queue.keys['heads'], raw, raw)
    await client.lpush(queue.keys['turns'], raw)
    await client.sadd(queue.keys['paused'], raw)
    name = raw.decode('utf-8', 'surrogateescape')
    assert [one.code for one in await why(queue, name)] == ['group-paused', 'no-worker']
    assert [one.code for one in await why(queue, group=name)] == ['group-paused', 'no-worker']


async def test_user_who_may_only_read_is_told_why(server: RealServer, queue: Torrelque, server_kind: str) -> None:
    await queue.set_limit('acme', concurrency=1)
    ids = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    async with server.client() as admin:
        may = ('+@scripting',) if server_kind == 'redis6' else ('+evalsha_ro', '+eval_ro')
        reads = (f'~{queue.keys["never"][:-5]}*', '+@read', '+time', '+@connection', *may)
        await admin.execute_command('ACL', 'SETUSER', 'looker', 'reset', 'on', '>pass', *reads)
    async with server.client(username='looker', password='pass') as client, Torrelque(client, queue=queue.name) as one:
        assert [reason.code for reason in await why(one, ids[1])] == ['at-limit', 'no-worker']
        with pytest.raises(torrelque.TorrelqueServerError):
            await one.pause()


async def test_reasons_are_json(queue: Torrelque) -> None:
    await queue.set_limit('acme', concurrency=math.inf, rate=(1, 60))
    ids = [await queue.enqueue(1, group='acme') for _ in range(2)]
    await queue.dequeue(0)
    [no_token, _] = [reason.as_json() for reason in await why(queue, ids[1])]
    assert (no_token['code'], no_token['limit'], no_token['most']) == ('no-token', 1.0, None)
    assert no_token['code'] in CODES
