"""The states of rules, beside a model of them: whatever is measured, whoever looks, tells, dies, and clocks do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st

from support.alerting import standing_still
from support.servers import RealServer
from support.standing import CLOCK, START
from torrelque.monitor import scripts
from torrelque.protocol.keys import make_keys

pytestmark = pytest.mark.one_server

KEYS = make_keys('looked at')
TEXT, _ = standing_still(scripts.load)('alert')
RISE, FALL, AGAIN, RIGHT = 30, 45, 200, 30
ABOVE, BELOW = 10, 5


# The model


@dataclass
class Rule:
    """A rule as it is to be: it fires or not, and `edge` is since when the value has said otherwise."""

    fires: bool = False
    edge: float | None = None
    seen: float | None = None
    turned: float = 0.0
    """When it began to fire, or ended it, or came back from falling."""
    owed: str | None = None
    told: float | None = None
    ever: bool = False
    """Whether anybody had the right to tell that it fires."""
    holder: tuple[str, str] | None = None
    free_at: float | None = None
    tries: int = 0
    done: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Its name."""
        return ('firing', 'falling')[self.edge is not None] if self.fires else ('calm', 'rising')[self.edge is not None]

    def look(self, now: float, value: float | None) -> None:
        """It was measured."""
        high, low = value is not None and value >= ABOVE, value is None or value < BELOW
        gap = self.seen is not None and abs(now - self.seen) > 60
        self.seen = now
        if not (low if self.fires else high):
            self.turned = now if self.fires and self.edge is not None else self.turned
            self.edge = None
        elif self.edge is None or gap:
            self.edge = now
        if self.edge is not None and now - self.edge >= (FALL if self.fires else RISE):
            self.fires, self.edge, self.turned = not self.fires, None, now
            if self.fires:
                self.told, self.ever = None, False
                self._owe('firing')
            else:
                self._owe('resolved' if self.ever else None)
        elif self.state == 'firing' and self.owed is None:
            last = self.turned if self.told is None else self.told
            if now - last >= AGAIN or last - now > 60:
                self._owe('repeat')

    def _owe(self, what: str | None) -> None:
        self.owed, self.tries, self.done = what, 0, []
        if self.holder is None:
            self.free_at = None

    def give(self, now: float, token: str) -> str:
        """What somebody may tell."""
        if self.owed is None or self.free_at is not None and 0 < self.free_at - now <= 960:
            return ''
        self.tries += 1
        if self.tries > 10:
            self.owed = self.holder = self.free_at = None
            self.tries, self.done, self.told = 0, [], now
            return ''
        self.holder, self.free_at, self.ever = (token, self.owed), now + RIGHT, True
        return self.owed

    def confirm(self, now: float, token: str, whole: bool, names: list[str]) -> str:
        """Somebody has told, or could not."""
        if self.holder is None or self.holder[0] != token:
            return 'late'
        what = self.holder[1]
        self.holder = None
        if what != 'resolved' and (whole or names):
            self.told = now
        if what != self.owed:
            self.free_at = None
        elif whole:
            self.owed = self.free_at = None
            self.tries, self.done = 0, []
        else:
            self.done += names
            self.free_at = now + min(RIGHT * 2 ** (self.tries - 1), 960)
        return 'ok'


# What is done


class Look(NamedTuple):
    seconds: float
    value: float | None


class Told(NamedTuple):
    seconds: float
    whole: bool
    names: list[str]
    who: int
    """Which of those that had the right before: 0 is the last."""


SECONDS = st.sampled_from([0, 1, 15, 15, 29, 30, 31, 45, 59, 60, 61, 200, 5000, -1, -59, -61, -100_000])
VALUES = st.sampled_from([None, 0, 4, 5, 9, 10, 11])
TOLD = st.builds(
    Told, st.sampled_from([0, 0, 1, 29, 30, 31]), st.booleans(), st.lists(st.sampled_from('ab'), max_size=2),
    st.sampled_from([0, 0, 1, 2]),
)  # fmt: skip
PARTS = (
    st.builds(Look, SECONDS, VALUES).map(lambda look: [look])
    | st.tuples(st.integers(2, 5), st.sampled_from([15, 15, 29, 45, 60]), st.sampled_from([0, 0, 7, 11, 11, 11]))
    .map(lambda drawn: [Look(drawn[1], drawn[2])] * drawn[0])
    | TOLD.map(lambda told: [told])
    | st.just([Look(15, 11), Look(30, 11), Told(0, False, [], 0)])
)
"""Looks of all kinds, some alike in a row, and what is told."""
STEPS = st.lists(PARTS, max_size=20).map(lambda parts: [step for part in parts for step in part])


@pytest.fixture(scope='module')
def own(shared_server: RealServer) -> Iterator[redis.Redis]:
    with shared_server.sync_client() as client:
        yield client


class Real:
    """The script."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._call = client.register_script(TEXT)
        client.delete(KEYS['alerts'])

    def set(self, now: float) -> None:
        self._client.set(CLOCK, round(now * 1000))

    def look(self, token: str, value: float | None) -> tuple[dict[str, Any], str, list[str]]:
        _, (state, what, done) = self._run(
            'look', token, 'r:1', '' if value is None else value, 'words', ABOVE, 1000 * RISE, BELOW, 1000 * FALL,
            1000 * AGAIN,
        )  # fmt: skip
        return json.loads(state), what.decode(), [*json.loads(done)]

    def told(self, token: str, whole: bool, names: list[str]) -> str:
        return str(self._run('told', token, 'r:1', int(whole), *names).decode())

    def _run(self, *words: Any) -> Any:
        return self._call([KEYS['pending'], KEYS['never']], words)


def check(client: redis.Redis, steps: list[Look | Told]) -> None:
    real, model, now, tokens = Real(client), Rule(), float(START), ['nobody']
    for number, step in enumerate(steps):
        now += step.seconds
        real.set(now)
        if isinstance(step, Look):
            token = f't{number}'
            model.look(now, step.value)
            given = model.give(now, token)
            state, what, done = real.look(token, step.value)
            assert (state['state'], what, done) == (model.state, given, model.done), (number, step)
            assert state.get('owed') == model.owed
            assert state['seen'] == now * 1000
            if what:
                tokens.append(token)
                # The reply was lost, so the same call comes once more.
                assert real.look(token, step.value)[1] == what
        else:
            token = tokens[max(-len(tokens), -1 - step.who)]
            expected = model.confirm(now, token, step.whole, step.names)
            assert real.told(token, step.whole, step.names) == expected, (number, step)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_states_are_those_of_the_model(own: redis.Redis, steps: list[Look | Told]) -> None:
    check(own, steps)


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_states_are_those_of_the_model_however_long_one_looks(own: redis.Redis, steps: list[Look | Told]) -> None:
    check(own, steps)


def run(client: redis.Redis, values: list[float | None], pause: float = 15, tell: bool = True) -> list[tuple[int, str]]:
    """What was told at which look."""
    real, found, now = Real(client), [], float(START)
    for number, value in enumerate(values):
        real.set(now)
        _, what, _ = real.look(str(number), value)
        if what:
            found.append((number, what))
            assert not tell or real.told(str(number), True, []) == 'ok'
        now += pause
    return found


def test_what_rises_long_enough_fires_once_and_is_over_once(own: redis.Redis) -> None:
    assert run(own, [0, 11, 11, 11, 11, 11, 0, 0, 0, 0, 0, 0]) == [(3, 'firing'), (9, 'resolved')]


def test_what_flaps_fires_never_and_what_fires_and_flaps_fires_once(own: redis.Redis) -> None:
    assert run(own, [11, 0] * 100) == []
    assert run(own, [11, 11, 11, *[0, 7, 11] * 4]) == [(2, 'firing')]


def test_between_the_two_bounds_it_stays_as_it_is(own: redis.Redis) -> None:
    assert run(own, [7] * 20) == []
    assert run(own, [11, 11, 11, *[7] * 10]) == [(2, 'firing')]


def test_it_is_told_again_while_it_lasts(own: redis.Redis) -> None:
    found = run(own, [11] * 40)
    assert found[0] == (2, 'firing') and {what for _, what in found[1:]} == {'repeat'}
    assert [number for number, _ in found] == [2, 16, 30]


def test_where_looks_are_far_apart_nothing_fires(own: redis.Redis) -> None:
    assert run(own, [11] * 20, pause=61) == []
    assert run(own, [11] * 3, pause=60) == [(1, 'firing')]


def test_a_call_that_is_sent_again_is_answered_as_before(own: redis.Redis) -> None:
    real = Real(own)
    for seconds in (0, 30):
        real.set(START + seconds)
        answers = [real.look('a', 11)[1] for _ in range(2)]
    assert answers == ['firing', 'firing']
    assert real.look('b', 11)[1] == ''


def test_who_has_lost_the_right_changes_nothing(own: redis.Redis) -> None:
    real = Real(own)
    for seconds, token in ((0, 'a'), (30, 'a'), (60, 'b')):
        real.set(START + seconds)
        real.look(token, 11)
    assert [real.told(token, True, []) for token in ('a', 'c', 'b', 'b')] == ['late', 'late', 'ok', 'late']


def test_what_nobody_could_be_told_of_is_not_told_to_be_over(own: redis.Redis) -> None:
    real, found = Real(own), []
    # Fires, is over, and fires again while the first sender still has the right to tell that it is over.
    values = ((0, 11), (30, 11), (31, 0), (76, 0), (77, 11), (107, 11), (108, 0), (153, 0))
    for seconds, value in values:
        real.set(START + seconds)
        found.append(real.look(str(seconds), value)[1])
        if seconds == 30:
            real.told('30', True, [])
        if seconds == 76:
            # It may tell for longer than half a minute.
            state = json.loads(own.hget(KEYS['alerts'], 'r:1') or b'')
            own.hset(KEYS['alerts'], 'r:1', json.dumps({**state, 'until': 1000 * (START + 150)}))
    assert found == ['', 'firing', '', 'resolved', '', '', '', '']


def test_what_nobody_writes_down_is_given_to_another_after_half_a_minute(own: redis.Redis) -> None:
    assert run(own, [11] * 8, tell=False) == [(2, 'firing'), (4, 'firing'), (6, 'firing')]
