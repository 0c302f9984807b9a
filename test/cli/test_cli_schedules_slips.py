"""Schedules by command: what is said of slips, and of times, in words that help."""

from __future__ import annotations

import pytest

from support.acting import Commands
from torrelque import Torrelque
from torrelque.operate import note

pytestmark = pytest.mark.one_server


@pytest.fixture(autouse=True)
async def _known(queue: Torrelque) -> None:
    """The name of the queue is on the list of those that are known."""
    await note(queue)


@pytest.mark.parametrize(('every', 'phase', 'says'), [
    ('5m', '0', 'every 5m'), ('1d', '9h', 'every 1d, 9h behind'), ('3600', '90', 'every 1h, 1m30s behind'),
    ('0.25', '0', 'every 250ms'), ('1.5s', '0', 'every 1.5s'), ('90061', '0', 'every 1d1h1m1s'),
])  # fmt: skip
async def test_a_period_is_told_exactly_and_without_zeros(
    every: str, phase: str, says: str, queue: Torrelque, command: Commands
) -> None:
    await command('schedule', 'x', '--every', every, '--phase', phase, '1')
    assert f'  {says}  ' in (await command('schedules')).lines[1]


async def test_what_is_said_of_a_name_and_of_an_instant_that_cannot_be_meant(
    queue: Torrelque, command: Commands
) -> None:
    said = await command('schedule', '', '--every', '1h', '1', code=2)
    assert 'the name of a schedule must not be empty' in said.err
    await queue.enqueue(1)
    assert 'the name of a schedule must not be empty' in (await command('fire', '', code=2)).err
    for until in ['--until=-2h'], ['--until', '-2h']:
        said = await command('schedule', 'x', '--every', '1h', *until, '1', code=2)
        assert "'-2h' is over: a schedule takes an instant to come, 2026-11-29T14:00, or 2h from now" in said.err


async def test_a_slip_of_an_option_shows_the_usage_of_its_command(queue: Torrelque, command: Commands) -> None:
    said = await command('schedules', '--paylod', code=2)
    assert said.err.startswith('usage: torrelque schedules ')
    assert said.err.endswith('torrelque schedules: error: unrecognized arguments: --paylod\n')


async def test_a_slip_of_a_queue_is_told_as_all_else_is(queue: Torrelque, command: Commands) -> None:
    said = await command('schedule', 'x', '--every', '1h', '1', '-q', f'{queue.name}-slip', code=1)
    assert said.err.startswith(f"torrelque: no queue '{queue.name}-slip' is known; did you mean '{queue.name}'?")
    assert said.err.endswith('  --yes does it all the same\n')
    for words in (['unschedule', 'x'], ['fire', 'x'], ['sweep']):
        said = await command(*words, '-q', f'{queue.name}-slip', code=1)
        assert said.err.endswith(f"-slip' is known; did you mean '{queue.name}'?\n")


async def test_a_queue_that_is_new_is_made_where_it_is_meant(queue: Torrelque, command: Commands) -> None:
    await command('schedule', 'x', '--every', '1h', '1', '-q', f'{queue.name}-new', '--yes')
    async with Torrelque(queue.client, queue=f'{queue.name}-new') as new:
        assert (await new.get_schedule('x')).every == 3600
        await new.remove_schedule('x')
