"""How fast an act goes, by a clock that is moved."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.operate.pace import LAG, MOST, Pace

pytestmark = pytest.mark.first_server


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def send(pace: Pace, clock: Clock, count: int, work: float = 0.0, late: float = 0.0) -> list[tuple[float, int]]:
    """Send so many tasks, each portion of which takes some time, and is woken late: when how many had gone."""
    sent: list[tuple[float, int]] = []
    done = 0
    while done < count:
        wait = pace.due()
        clock.now += wait + (late if wait else 0.0)
        some = min(pace.portion, count - done)
        done += some
        sent.append((clock.now, done))
        clock.now += work
        pace.sent(some)
    return sent


@pytest.mark.parametrize(
    ('rate', 'portion'),
    [(0.1, 1), (1, 1), (10, 1), (50, 5), (100, 10), (1000, 100), (10_000, MOST), (None, MOST)],
)
def test_a_portion_is_a_tenth_of_a_second(rate: float | None, portion: int) -> None:
    assert Pace(rate, True).portion == portion


@given(st.floats(0.1, 20_000), st.floats(0, 0.02))
def test_a_rate_is_kept_over_time_however_late_each_portion_is_woken(rate: float, late: float) -> None:
    clock = Clock()
    pace = Pace(rate, False, clock)
    count = 40 * pace.portion
    sent = send(pace, clock, count, late=late)
    for now, done in sent:
        # Never ahead, and never further behind than the last portion was late.
        assert done - pace.portion <= (now - 1000) * rate + 1e-6 * count
        assert now - 1000 <= (done - pace.portion) / rate + late + 1e-6 * count


@given(st.floats(1, 5000), st.floats(0, 60))
def test_after_a_standstill_no_more_is_made_up_for_than_half_a_second(rate: float, pause: float) -> None:
    clock = Clock()
    pace = Pace(rate, False, clock)
    send(pace, clock, 10 * pace.portion)
    clock.now += pause
    begun = clock.now
    later = send(pace, clock, 40 * pace.portion)
    for now, done in later:
        assert done - pace.portion <= (now - begun + LAG) * rate + 1e-3


def test_a_step_is_rested_from_three_times_as_long_as_it_took() -> None:
    clock = Clock()
    pace = Pace(None, True, clock, lambda: 0.0)
    for took in (0.002, 0.5):
        pace.begin()
        clock.now += took
        assert pace.rest() == pytest.approx(3 * took)
    assert pace.due() == 0.0


def test_what_the_client_itself_has_worked_is_rest_for_the_server() -> None:
    clock, own = Clock(), Clock()
    pace = Pace(None, True, clock, own)
    for took, worked, rest in ((0.4, 0.3, 0.0), (0.4, 0.1, 0.8), (0.4, 0.0, 1.2), (0.1, 0.2, 0.0)):
        pace.begin()
        clock.now += took
        own.now += worked
        assert pace.rest() == pytest.approx(rest)


def test_what_a_rate_made_it_wait_is_rest_too() -> None:
    clock = Clock()
    pace = Pace(10, True, clock, lambda: 0.0)
    pace.begin()
    clock.now += 0.01
    for _ in range(3):
        clock.now += pace.due()
        clock.now += 0.01
        pace.sent(1)
    # It took 0.04 s, and has waited for some 0.18 s.
    assert pace.rest() == 0.0
    pace.begin()
    clock.now += 1.0
    assert pace.rest() == pytest.approx(3.0)


def test_without_pacing_there_is_no_rest() -> None:
    clock = Clock()
    pace = Pace(None, False, clock)
    pace.begin()
    clock.now += 5
    assert pace.rest() == 0.0


@pytest.mark.parametrize('rate', [0, -1, float('nan'), float('inf'), True, '5', 1e-9])
def test_a_rate_that_cannot_be_meant_is_refused(rate: Any) -> None:
    with pytest.raises((TorrelqueTypeError, TorrelqueValueError), match='rate'):
        Pace(rate, True)
