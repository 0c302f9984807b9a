"""Schedules are told of: what was said, which are there, and which have few instants left; by either queue."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import torrelque
from support.standing import START, Either, StandingClock, ahead, firing
from support.waiting import until


async def test_all_that_was_said_is_told(either: Either, standing: StandingClock) -> None:
    options: dict[str, Any] = {
        'task_timeout': 5, 'max_attempts': 3, 'group': 'g', 'priority': 2, 'overlap': 'allow', 'missed': 'all',
        'grace': 60, 'until': START + 900, 'spec': {'b': 'ü', 'a': [1]}, 'source': 'code:a', 'revision': 3,
    }  # fmt: skip
    await either.set_schedule('s', 1, times=ahead(10, 20), **options)
    await standing.move(10)
    await either.sweep()
    schedule = await either.get_schedule('s')
    assert schedule == torrelque.Schedule(
        name='s', task=1, next=START + 20, times=(START + 20,), left=1, end=START + 20, every=None, phase=0,
        paused=False, last=START + 10, last_id=torrelque.TaskId(firing('s', 10)), fired=1, skipped=0,
        **options,
    )  # fmt: skip
    await either.set_schedule('t', 1, every=4, until=START + 20)
    assert (await either.get_schedule('t')).times == (START + 12, START + 16, START + 20)


async def test_schedules_are_listed_by_a_prefix_each_once(either: Either) -> None:
    names = [f'n{number:03}' for number in range(230)]
    for name in [*names, 'ü', 'n*', 'nx']:
        await either.set_schedule(name, name, every=60)
    listed = await either.get_schedules('n')
    assert sorted(schedule.name for schedule in listed) == sorted([*names, 'n*', 'nx'])
    assert [schedule.task for schedule in await either.get_schedules('ü')] == ['ü']
    assert [schedule.name for schedule in await either.get_schedules('n*')] == ['n*']
    assert len(await either.get_schedules()) == 233 and await either.get_schedules('no') == []


@pytest.mark.parametrize(
    ('options', 'dry'),
    [
        ({'times': []}, True), ({'times': ahead(1)}, False), ({'every': 9}, False),
        ({'times': ahead(50), 'until': START + 20}, False), ({'times': [], 'until': START + 20}, True),
        ({'every': 100, 'until': START + 2}, False),
    ],
)  # fmt: skip
async def test_a_schedule_is_dry_where_its_times_are_used_up_and_nothing_else_says_so(
    either: Either, standing: StandingClock, options: dict[str, Any], dry: bool
) -> None:
    await either.set_schedule('s', 1, **options)
    assert (await either.get_schedule('s')).dry is dry


# Few instants


async def test_whoever_sweeps_is_told_of_schedules_with_few_instants(
    either: Either, standing: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[list[str]] = []
    either.queue.when_low = told.append
    await either.set_schedule('few', 1, times=ahead(*range(10, 90, 10)))
    await either.set_schedule('enough', 1, times=ahead(*range(10, 100, 10)))
    await either.set_schedule('over', 1, times=ahead(10, 20), until=START + 10)
    await either.set_schedule('over now', 1, times=ahead(10), until=START + 10)
    await either.set_schedule('used up', 1, times=ahead(10), until=START + 1000)
    await either.set_schedule('every', 1, every=10)
    await either.set_schedule('later', 1, times=ahead(1000))
    await standing.move(10)
    await either.sweep()
    assert [sorted(names) for names in told] == [['few', 'used up']]
    # By whoever waits for tasks as well.
    await standing.move(10)
    assert len(await either.take()) == 6
    await until(lambda: len(told) == 2)
    assert [sorted(names) for names in told] == [['few', 'used up'], ['enough', 'few']]

    def fail(names: list[str]) -> None:
        raise ValueError('not now')

    either.queue.when_low = fail
    await standing.move(10)
    await either.sweep()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert 'not now' in caplog.text and "'scheduled'" in caplog.text
    either.queue.when_low = None
    await standing.move(10)
    await either.sweep()
    assert len(caplog.records) == 1
    with pytest.raises(torrelque.TorrelqueTypeError):
        either.queue.when_low = 3  # type: ignore[assignment]
