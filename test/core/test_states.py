"""Whoever waits is served: every event in every state of a shelf, and of a link, on the real classes.

The server and the link are played, and time passes at once.  Each walk is a sequence of events, all sequences of a
length are walked; then all is calm, everything is answered, and whoever waits must come to an end.  The guard, which
would help where something was forgotten, is asleep.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterable

import pytest

from support.playing import EVENTS, Walk, walk_all
from support.virtual import run_virtually
from torrelque.aio import guard


async def walk_shelf(events: Iterable[str]) -> None:
    walk = Walk()
    walk.join()
    for event in events:
        await walk.happen(event)
    await walk.end()


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard does not look, nor does its clock keep the loop from standing still."""
    monkeypatch.setattr(guard.Guard, 'begin', lambda self: None)


@pytest.mark.parametrize('length', [2, pytest.param(3, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_any_events(asleep: None, length: int) -> None:
    assert walk_all(walk_shelf, itertools.product(EVENTS, repeat=length)) == len(EVENTS) ** length


@pytest.mark.parametrize('walks', [500, pytest.param(5000, marks=pytest.mark.long)])
def test_whoever_waits_is_served_after_many_events(asleep: None, walks: int) -> None:
    chance = random.Random(walks)
    assert walk_all(walk_shelf, (chance.choices(EVENTS, k=chance.randrange(3, 30)) for _ in range(walks))) == walks


def test_what_came_due_during_a_claim_is_claimed_when_it_was_swept(asleep: None) -> None:
    """The claim was sent before the sweep, and had nothing of what it brought back; nobody listens at the bell then."""

    async def play() -> None:
        walk = Walk()
        walk.join()
        await asyncio.sleep(0)
        soon, now = 100_000, 0
        walk.at.link.tell([b'ok', b'1000.000', soon, 0, [], []])
        walk.at.the_bell_answers()
        walk.at.played.bell = True
        walk.at.the_bell_answers()
        await asyncio.sleep(0.3)
        assert [request.transition and request.transition.name for request in walk.at.link.sent] == ['claim', 'sweep']
        walk.at.link.tell([b'ok', b'1000.200', now, 0, [], []])
        assert not walk.at.bell.sent
        walk.at.link.tell([b'ok', 0, 1, 0, 0, [], [], 0, 0, 0])
        assert [request.transition and request.transition.name for request in walk.at.link.sent] == ['claim']
        await walk.calm()

    run_virtually(play())


def test_who_goes_in_the_turn_in_which_the_bell_rings_passes_it_on(asleep: None) -> None:
    """The claim was to be made at the end of the turn, for several who were likely to call, and nobody waits then."""

    async def play() -> None:
        walk = Walk()
        for _ in range(3):
            walk.join()
        await asyncio.sleep(0)
        walk.at.a_call_is_answered()
        await asyncio.sleep(0)
        walk.at.two_tasks_come()
        walk.at.the_bell_answers()
        walk.at.the_bell_answers()
        walk.at.a_call_is_answered()
        await asyncio.sleep(0)
        assert [one.done() for one in walk.waiting] == [True, True, False]
        walk.at.link.sent.clear()
        walk.waiting[-1].cancel()
        walk.at.a_task_comes()
        walk.at.the_bell_answers()
        await asyncio.sleep(0)
        assert [request.transition and request.transition.name for request in walk.at.link.sent] == ['leave']

    run_virtually(play())
