"""Alerts: who is told, by whom, and what becomes of it when somebody dies, hangs, or has other rules."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from support.alerting import AT_ONCE, AlertClock, Told, drain, states, states_of, until_states
from support.bounding import Bound
from support.commanding import PACKAGES
from support.processes import environment, running
from support.proxy import Proxy
from support.servers import RealServer
from support.standing import START
from torrelque import Torrelque, TorrelqueError
from torrelque.monitor import Alerts, Notice, Rule
from torrelque.operate import Operator

pytestmark = pytest.mark.first_server

LATER = Rule('many', 'pending', above=1, for_=30, clear_for=30, repeat='1h')


async def test_it_is_told_that_a_rule_fires_and_that_it_is_over(queue: Torrelque, alert_clock: AlertClock) -> None:
    told = Told()
    looker = Alerts(queue, [LATER], told)
    await queue.enqueue(1)
    assert states_of(await looker.look()) == {'many': 'rising'}
    await alert_clock.move(30)
    assert states_of(await looker.look()) == {'many': 'firing'}
    await alert_clock.move(15)
    await looker.look()
    await drain(queue)
    assert states_of(await looker.look()) == {'many': 'falling'}
    await alert_clock.move(30)
    assert states_of(await looker.look()) == {'many': 'calm'}
    assert told.words == [('many', 'firing'), ('many', 'resolved')]
    fires, over = told.notices
    assert (fires.queue, fires.value) == (queue.name, 1.0)
    assert (fires.since, fires.time, over.time) == (START, START + 30, START + 75)
    assert fires.text == (
        f'FIRING: many on {queue.name}: 1 task is pending; since 2023-11-14 22:13:20Z, 30s ago. '
        f'torrelque why -q {queue.name}'
    )
    assert over.text.startswith(f'OVER: many on {queue.name}: 0 tasks are pending; it began at 2023-11-14 22:13:20Z')
    assert [(act.who, act.act, act.what) for act in await Operator(queue).acts()] == [
        ('alerts', 'resolved', 'many: 0 tasks are pending'), ('alerts', 'firing', 'many: 1 task is pending')
    ]  # fmt: skip


async def test_of_many_who_look_one_tells(queue: Torrelque, alert_clock: AlertClock) -> None:
    told = Told()
    lookers = [Alerts(queue, [AT_ONCE], told) for _ in range(10)]
    await queue.enqueue(1)
    await asyncio.gather(*(one.look() for one in lookers))
    await alert_clock.move(31)
    await asyncio.gather(*(one.look() for one in lookers))
    assert told.words == [('some', 'firing')]


CHILD = """
    import asyncio, sys
    import redis.asyncio
    from support import alerting
    from torrelque import Torrelque
    from torrelque.monitor import Alerts, Rule, scripts

    scripts.load = alerting.standing_still(scripts.load)

    async def hang(notice):
        print(notice.rule, flush=True)
        await asyncio.sleep(600)

    async def main():
        async with redis.asyncio.Redis.from_url(sys.argv[1]) as client, Torrelque(client, queue=sys.argv[2]) as queue:
            await Alerts(queue, [Rule('some', 'pending', above=1, for_=0, clear_for=0, repeat=0)], hang).look()

    asyncio.run(main())
"""


async def test_what_a_killed_process_has_not_told_another_one_tells(
    server: RealServer, queue: Torrelque, alert_clock: AlertClock, tmp_path: Path
) -> None:
    await queue.enqueue(1)
    (tmp_path / 'child.py').write_text('\n'.join(line[4:] for line in CHILD.splitlines()))
    command = [sys.executable, str(tmp_path / 'child.py'), server.url, queue.name]
    with running(command, stdout=subprocess.PIPE, env=environment(str(PACKAGES))) as child:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == 'some\n'
        child.send_signal(signal.SIGKILL)
    told = Told()
    looker = Alerts(queue, [AT_ONCE], told)
    await looker.look()
    await alert_clock.move(29.9)
    await looker.look()
    assert told.words == []
    await alert_clock.move(0.1)
    await looker.look()
    assert told.words == [('some', 'firing')]


async def test_who_comes_too_late_with_what_was_told_changes_nothing(
    queue: Torrelque, alert_clock: AlertClock
) -> None:
    first, second = Told(), Told()
    go_on = asyncio.Event()

    async def slow(notice: Notice) -> None:
        await go_on.wait()
        await first(notice)

    await queue.enqueue(1)
    looking = asyncio.ensure_future(Alerts(queue, [AT_ONCE], slow).look())
    await until_states(queue, some='firing')
    await alert_clock.move(30)
    await Alerts(queue, [AT_ONCE], second).look()
    go_on.set()
    await looking
    # Twice, because nobody can know whether the first one was dead; and then no more.
    assert (first.words, second.words) == ([('some', 'firing')], [('some', 'firing')])
    await alert_clock.move(31)
    await Alerts(queue, [AT_ONCE], second).look()
    assert len(second.words) == 1


async def test_a_rule_that_is_changed_begins_calm(queue: Torrelque, alert_clock: AlertClock) -> None:
    told = Told()
    await queue.enqueue(1)
    await Alerts(queue, [AT_ONCE], told).look()
    changed = Rule('some', 'pending', above=1, for_=60, repeat=0)
    assert states_of(await Alerts(queue, [changed], told).look()) == {'some': 'rising'}
    # Whom it tells, and how often again, is no other rule.
    again = Rule('some', 'pending', above=1, for_=60, repeat=10, to='told')
    await alert_clock.move(60)
    assert states_of(await Alerts(queue, [again], told).look()) == {'some': 'firing'}


async def test_old_and_new_rules_do_not_keep_one_another_from_firing(
    queue: Torrelque, alert_clock: AlertClock
) -> None:
    old, new = Told('old'), Told('new')
    rules = [Rule('many', 'pending', above=1, for_=30), Rule('many', 'pending', above=1, for_=45)]
    lookers = [Alerts(queue, [rule], told) for rule, told in zip(rules, (old, new), strict=True)]
    await queue.enqueue(1)
    for _ in range(5):
        for one in lookers:
            await one.look()
        await alert_clock.move(15)
    assert (old.words, new.words) == ([('many', 'firing')], [('many', 'firing')])
    assert await states(queue) == {'many': 'firing'}


async def test_rules_that_nobody_looks_at_are_forgotten_after_a_day(
    queue: Torrelque, alert_clock: AlertClock, client: redis.asyncio.Redis
) -> None:
    await Alerts(queue, [AT_ONCE, LATER]).look()
    await alert_clock.move(86401)
    await Alerts(queue, [AT_ONCE]).look()
    assert await states(queue) == {'some': 'calm'}
    assert 0 < await client.pttl(queue.keys['alerts']) <= 86_400_000


@pytest.mark.parametrize(
    'rubbish',
    ['', 'x', '[]', '{}', '[[[', '1e999', '{"state": "firing"}', '{"state": "firing", "since": -1, "seen": "x"}',
     '{"state": 1, "since": 1, "seen": 1}', 'null', '"\\ud800"', '[' * 2000],
)  # fmt: skip
async def test_rubbish_in_the_state_is_calm(
    queue: Torrelque, alert_clock: AlertClock, client: redis.asyncio.Redis, rubbish: str
) -> None:
    await client.hset(queue.keys['alerts'], mapping={LATER.field: rubbish, 'other:1': rubbish, rubbish: rubbish})
    assert await states(queue) == {}
    assert states_of(await Alerts(queue, [LATER]).look()) == {'many': 'calm'}
    assert await states(queue) == {'many': 'calm'}
    assert await client.hlen(queue.keys['alerts']) == 1


async def test_rubbish_beside_the_state_is_passed_over(
    queue: Torrelque, alert_clock: AlertClock, client: redis.asyncio.Redis
) -> None:
    told, now = Told(), round(alert_clock.now * 1000)
    fires = {
        'state': 'firing', 'since': now, 'seen': now, 'began': 'x', 'value': {}, 'words': [], 'told': True, 'owed': 'x',
        'sender': 1, 'sending': 'firing', 'until': 1e99, 'tries': 'many', 'done': [1, {'a': 2}], 'given': 1,
    }  # fmt: skip
    await client.hset(queue.keys['alerts'], LATER.field, json.dumps(fires))
    assert await states(queue) == {'many': 'firing'}
    await queue.enqueue(1)
    assert states_of(await Alerts(queue, [LATER], told).look()) == {'many': 'firing'}
    await alert_clock.move(3600)
    assert states_of(await Alerts(queue, [LATER], told).look()) == {'many': 'firing'}
    assert told.words == [('many', 'again')]


@pytest.mark.parametrize('value', ['text', ['list']])
async def test_a_key_that_is_something_else_is_made_anew(
    queue: Torrelque, alert_clock: AlertClock, client: redis.asyncio.Redis, value: str | list[str]
) -> None:
    key = queue.keys['alerts']
    await (client.set(key, value) if isinstance(value, str) else client.lpush(key, *value))
    assert await states(queue) == {}
    assert states_of(await Alerts(queue, [LATER]).look()) == {'many': 'calm'}


async def test_a_restart_of_the_server_is_a_beginning(
    queue: Torrelque, alert_clock: AlertClock, client: redis.asyncio.Redis
) -> None:
    told = Told()
    looker = Alerts(queue, [AT_ONCE], told)
    await queue.enqueue(1)
    await looker.look()
    await client.script_flush()
    assert states_of(await looker.look()) == {'some': 'firing'}
    await client.flushall()
    await alert_clock.move(0)
    assert states_of(await looker.look()) == {'some': 'calm'}
    await queue.enqueue(1)
    await looker.look()
    assert told.words == [('some', 'firing')] * 2


# Queues


async def test_rules_are_of_the_queues_that_they_name(
    queue: Torrelque, client: redis.asyncio.Redis, alert_clock: AlertClock
) -> None:
    async with Torrelque(client, queue='{a} <b>\n') as other:
        rules = [AT_ONCE, Rule('here', 'pending', queues=queue.name, above=1, for_=0)]
        told = Told()
        await other.enqueue(1)
        found = await Alerts([queue, other], rules, told).look()
        assert [(view.queue, view.rule) for view in found] == [
            (queue.name, 'some'), (queue.name, 'here'), (other.name, 'some')
        ]  # fmt: skip
        assert [one.queue for one in told.notices] == [other.name]
        assert told.notices[0].text.isprintable()


async def test_a_server_that_is_away_is_logged_once_and_asked_again(
    proxy: Proxy, queue: Torrelque, bound: Bound, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'torrelque.monitor')
    async with proxy.client() as own, Torrelque(own, queue=queue.name) as far:
        looker = Alerts(far, [LATER])
        bound(repeat=0.1)
        assert states_of(await looker.look()) == {'many': 'calm'}
        proxy.refusing = True
        proxy.cut()
        assert [await looker.look(), await looker.look()] == [[], []]
        proxy.refusing = False
        while not await looker.look():
            await asyncio.sleep(0.01)
    lines = [record.getMessage() for record in caplog.records if record.name == 'torrelque.monitor']
    assert len(lines) == 2
    assert lines[0].startswith(f'queue {queue.name!r}: alerts cannot be looked at, and nobody is told: ')
    assert lines[1] == f'queue {queue.name!r}: alerts are looked at again'


CANNOT: tuple[tuple[Any, Any, str], ...] = (
    ([AT_ONCE, AT_ONCE], (), 'two rules have the same name'),
    (['some'], (), 'alerts are made with rules'),
    ([Rule('a', 'pending', above=1, to='ops')], (), "rule 'a' tells ops, and there is no such sink: log"),
    ([], {'log': print}, "sink 'log' is there already"),
    ([], {'a': 1}, "sink 'a' must be a function"),
    ([], {'a' * 101: print}, 'the name of a sink must be 100 characters'),
    ([], [Told(), Told()], 'two sinks have the same name'),
)


@pytest.mark.parametrize(('rules', 'to', 'message'), CANNOT)
async def test_what_cannot_be_meant_is_refused(queue: Torrelque, rules: Any, to: Any, message: str) -> None:
    with pytest.raises(TorrelqueError, match=message):
        Alerts(queue, rules, to)
