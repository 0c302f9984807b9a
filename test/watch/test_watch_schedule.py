"""Watching without notifications: when each task is looked at."""

from __future__ import annotations

import itertools

import pytest

from torrelque.aio.reading import Budget, Schedule
from torrelque.aio.watcher import Task
from torrelque.protocol.bounds import BOUNDS

# The ordinary run has these tests on one kind of server, and the long one on all.
pytestmark = pytest.mark.first_server


# The schedule


class Simulation:
    """A schedule with a clock of its own, on which looks take no time."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.schedule = Schedule(Budget(BOUNDS), BOUNDS)
        self.looks: dict[Task, list[float]] = {}
        for n in range(count):
            self.join(f'{n}')

    def join(self, name: str) -> Task:
        task = Task(name, name.encode())
        self.schedule.begin(task, self.now)
        self.looks[task] = [self.now]
        return task

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (when := self.schedule.when()) is not None and when <= end:
            self.now = max(self.now, when)
            tasks = self.schedule.take(self.now)
            assert tasks and len(tasks) <= 250
            self.schedule.spent(len(tasks), 0, self.now)
            for task in tasks:
                self.looks[task].append(self.now)
                self.schedule.go_on(task, self.now)
        self.now = end

    def pauses(self, task: Task, since: float = 0.0) -> list[float]:
        times = [time for time in self.looks[task] if time >= since]
        return [after - before for before, after in itertools.pairwise(times)]


def test_looks_come_less_often_the_longer_nothing_changes() -> None:
    simulation = Simulation(1)
    simulation.run(20)
    (task,) = simulation.looks
    pauses = simulation.pauses(task)
    assert pauses[: len(BOUNDS.paces)] == pytest.approx(BOUNDS.paces) and pauses[-5:] == pytest.approx([1.0] * 5)
    simulation.schedule.begin(task, simulation.now)
    assert simulation.schedule.when() == pytest.approx(simulation.now + BOUNDS.paces[0])


def test_many_that_are_idle_are_looked_at_so_many_a_second_and_each_in_its_turn() -> None:
    simulation = Simulation(10_000)
    simulation.run(30)
    since = simulation.now
    simulation.run(30)
    looks = [sum(time >= since for time in times) for times in simulation.looks.values()]
    assert sum(looks) / 30 <= BOUNDS.idle_looks_per_second * 1.15
    longest = max(max(simulation.pauses(task, since)) for task in simulation.looks)
    assert longest <= 10_000 / BOUNDS.idle_looks_per_second * 1.1
    # Whoever comes now does not notice them.
    quick = simulation.join('quick')
    simulation.run(1)
    assert all(pause <= pace + 0.2 for pause, pace in zip(simulation.pauses(quick), BOUNDS.paces, strict=False))


def test_whatever_changes_all_the_time_leaves_room_for_others() -> None:
    simulation = Simulation(200)
    simulation.run(30)
    idle = list(simulation.looks)
    restless = [simulation.join(f'restless {n}') for n in range(3000)]
    since = simulation.now
    for n in range(1000):
        simulation.run(0.03)
        for task in restless[n % 6 :: 6]:
            simulation.schedule.begin(task, simulation.now)
    assert all(max(simulation.pauses(task, since), default=99) < 10 for task in idle)


def test_what_a_call_has_no_room_for_keeps_its_place() -> None:
    schedule, tasks = Schedule(Budget(BOUNDS), BOUNDS), [Task(f'{n}', b'') for n in range(6)]
    for task in tasks[:5]:
        schedule.begin(task, 0)
    assert schedule.take(1) == tasks[:5]
    schedule.begin(tasks[5], 0.5)
    schedule.begin(tasks[3], 0.9)  # joined meanwhile
    schedule.give_back(tasks[2:5])
    assert schedule.take(1) == [tasks[2], tasks[4], tasks[5], tasks[3]]
    assert {task.level for task in tasks} == {0}


def test_large_progress_makes_looks_rare() -> None:
    schedule = Schedule(Budget(BOUNDS), BOUNDS)
    schedule.begin(Task('x', b'x'), 7)
    schedule.spent(1, 1_000_000, 7)
    schedule.spent(1, 1_000_000, 7)
    assert schedule.when() == pytest.approx(7.1)
