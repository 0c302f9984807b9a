"""Sinks of alerts: one that fails, hangs or is slow harms nobody else, and is told again by itself."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from support.alerting import AT_ONCE, AlertClock, Told, drain, states, until_states
from torrelque import Torrelque, TorrelqueError
from torrelque.monitor import Alerts, Notice, Rule, Sink, alerts, sinks

pytestmark = pytest.mark.first_server


async def test_a_sink_that_raises_is_told_again_later_and_the_others_are_not(
    queue: Torrelque, alert_clock: AlertClock, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = Told('good'), Told('bad')
    bad.errors = [OSError('no net')] * 2
    looker = Alerts(queue, [AT_ONCE], [good, bad])
    await queue.enqueue(1)
    for seconds, count in ((0, 0), (29, 0), (1, 0), (59, 0), (1, 1), (1000, 1)):
        await alert_clock.move(seconds)
        await looker.look()
        assert len(bad.words) == count, seconds
    assert good.words == bad.words == [('some', 'firing')]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 3
    told = "the alert 'some' could not be told by the sink 'bad': it raised OSError: no net"
    assert f'queue {queue.name!r}: {told}' in lines


async def test_what_cannot_be_told_ten_times_is_given_up(queue: Torrelque, alert_clock: AlertClock) -> None:
    bad = Told()
    bad.errors = [OSError()] * 100
    looker = Alerts(queue, [AT_ONCE], bad)
    await queue.enqueue(1)
    for _ in range(20):
        await looker.look()
        await alert_clock.move(960)
    assert len(bad.errors) == 90


async def test_a_sink_that_hangs_holds_nobody_up(
    queue: Torrelque, alert_clock: AlertClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, 'PATIENCE', 0.05)
    free, calls, told = threading.Event(), [0, 0], Told()

    def blocks(_: Notice) -> None:
        calls[0] += 1
        free.wait(60)

    async def swallows(_: Notice) -> None:
        calls[1] += 1
        while not free.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    looker = Alerts(queue, [AT_ONCE], dict[str, Sink](blocks=blocks, swallows=swallows, told=told))
    try:
        await queue.enqueue(1)
        await looker.look()
        assert told.words == [('some', 'firing')]
        await alert_clock.move(31)
        await drain(queue)
        await looker.look()
        # What still goes on is not begun once more.
        assert (told.words, calls) == ([('some', 'firing'), ('some', 'resolved')], [1, 1])
    finally:
        free.set()


async def test_notices_of_one_look_wait_in_a_line_for_a_sink_that_takes_its_time(
    queue: Torrelque, alert_clock: AlertClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def slow(notice: Notice) -> None:
        threading.Event().wait(0.02)
        told.append(notice.rule)

    rules = [Rule(f'rule {number}', 'pending', above=1, for_=0, to='slow') for number in range(5)]
    await queue.enqueue(1)
    await Alerts(queue, rules, slow).look()
    assert told == [rule.name for rule in rules]
    assert not [record for record in caplog.records if 'could not be told' in record.getMessage()]


async def test_looks_go_on_while_a_sink_hangs(
    queue: Torrelque, alert_clock: AlertClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, 'PAUSE', 0.01)
    monkeypatch.setattr(alerts, 'CLOSING', 0.05)
    told = Told()

    async def hangs(_: Notice) -> None:
        await asyncio.sleep(60)

    rules = [AT_ONCE, Rule('dead', 'dead', above=1, for_=0, clear_for=0, to='told')]
    running = asyncio.ensure_future(Alerts(queue, rules, dict[str, Sink](hangs=hangs, told=told)).run())
    await queue.enqueue(1)
    await until_states(queue, some='firing', dead='calm')
    [(task_id, _)] = await queue.dequeue_many(1)
    await queue.bury(task_id)
    while ('dead', 'firing') not in told.words:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_at_the_end_who_is_being_told_has_a_moment(queue: Torrelque, alert_clock: AlertClock) -> None:
    told, begun, go_on = Told(), asyncio.Event(), asyncio.Event()

    async def slow(notice: Notice) -> None:
        begun.set()
        await go_on.wait()
        await told(notice)

    await queue.enqueue(1)
    running = asyncio.ensure_future(Alerts(queue, [AT_ONCE], slow).run())
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert told.words == [('some', 'firing')]
    await alert_clock.move(31)
    await Alerts(queue, [AT_ONCE], told).look()
    assert len(told.words) == 1


async def test_functions_of_all_kinds_are_told(queue: Torrelque, alert_clock: AlertClock) -> None:
    told = Told()
    threads: list[str] = []

    def plain(_: Notice) -> None:
        threads.append(threading.current_thread().name)

    await queue.enqueue(1)
    await Alerts(queue, [AT_ONCE], dict[str, Sink](plain=plain, made=lambda notice: told(notice))).look()
    assert (threads, told.words) == (['torrelque sink'], [('some', 'firing')])


async def test_a_rule_tells_those_that_it_names(queue: Torrelque, alert_clock: AlertClock) -> None:
    one, two = Told('one'), Told('two')
    rules = [Rule('a', 'pending', above=1, for_=0, to='one'), Rule('b', 'pending', above=1, for_=0, to=['log', 'two'])]
    await queue.enqueue(1)
    await Alerts(queue, rules, [one, two]).look()
    assert (one.words, two.words) == ([('a', 'firing')], [('b', 'firing')])


async def test_a_test_tells_the_sinks_and_changes_no_state(queue: Torrelque, alert_clock: AlertClock) -> None:
    good, bad = Told('good'), Told('bad')
    bad.errors = [TorrelqueError('no')]
    looker = Alerts(queue, [AT_ONCE], [good, bad])
    assert await looker.test('some') == {'log': None, 'good': None, 'bad': 'no'}
    assert good.notices[0].text.startswith(f'TEST of some on {queue.name}: nothing is wrong; now 0 tasks are pending.')
    assert await states(queue) == {}
    with pytest.raises(ValueError, match="there is no rule 'other': some"):
        await looker.test('other')
    with pytest.raises(ValueError, match="rule 'some' is about none of"):
        await looker.test('some', 'elsewhere')
