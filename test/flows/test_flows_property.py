"""Any flow of functions has the result that its functions have when they are called one in another."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from model.model_ends import Ends, Part, outcomes
from support.servers import RealServer
from torrelque import Torrelque
from torrelque.flows import any_failed, first, gather
from torrelque.tasks import Tasks
from torrelque.testing import eager, using
from torrelque.worker import Worker

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')


@app.task
async def const(value: int) -> int:
    return value


@app.task
def double(value: int) -> int:
    return 2 * value


@app.task
async def add(values: list[int]) -> int:
    return sum(values)


@app.task
async def upto(value: int) -> list[int]:
    return [*range(value % 4)]


@app.task
async def weigh(parts: dict[str, list[int]]) -> int:
    return sum(len(name) * value for name, values in parts.items() for value in values)


WAYS = ('const', 'double', 'arrow', 'add', 'bars', 'map', 'mapped', 'weigh', 'first', 'order')


@app.task
async def act(fails: bool) -> None:
    if fails:
        raise ValueError('as it was told')


class Made(NamedTuple):
    """A step, and what its result is to be."""

    step: Any
    value: int


class Maker:
    """Makes steps as it is told, each of some that were made before."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def take(self, draw: Any) -> Made:
        place: int = draw(st.integers(0, len(self.made) - 1))
        return self.made[place]

    def make(self, draw: Any) -> None:
        way = draw(st.sampled_from(WAYS))
        if not self.made or way == 'const':
            value = draw(st.integers(0, 9))
            self.made.append(Made(const.s(value), value))
            return
        one, other = self.take(draw), self.take(draw)
        steps: dict[str, Any] = {
            'double': lambda: Made(double.s(one.step.result), 2 * one.value),
            'arrow': lambda: Made(one.step >> double, 2 * one.value),
            'add': lambda: Made(add.s([one.step.result, 5, other.step.result]), one.value + other.value + 5),
            'bars': lambda: Made((one.step | other.step) >> add, one.value + other.value),
            'map': lambda: Made(
                upto.s(one.step.result).map(double, limit=2) >> add, 2 * sum(range(one.value % 4))
            ),
            'mapped': lambda: Made(gather(one.step, other.step).map(double) >> add, 2 * (one.value + other.value)),
            'weigh': lambda: Made(
                weigh.s({'a': [one.step.result], 'bb': [other.step.result, 1]}), one.value + 2 * other.value + 2
            ),
            'first': lambda: Made(first(one.step) >> double, 2 * one.value),
            'order': lambda: Made(one.step >> const.s(7), 7),
        }
        self.made.append(steps[way]())


@st.composite
def flows(draw: Any) -> Made:
    maker = Maker()
    for _ in range(draw(st.integers(1, 9))):
        maker.make(draw)
    return maker.made[-1]


def collect_all(drawn: st.SearchStrategy[Any], found: list[Any]) -> None:
    """Have some hundred drawn, to be tried together."""

    @given(drawn)
    @settings(max_examples=300, deadline=None, database=None)
    def collect(each: Any) -> None:
        found.append(each)

    collect()


class Row(NamedTuple):
    """A task of a flow in which anything may fail: whether it does, for whom it waits, and how."""

    fails: bool
    others: list[tuple[int, str]]
    """Numbers of earlier tasks, each with the kind of its edge."""
    join: str


@st.composite
def rows(draw: Any) -> list[Row]:
    found: list[Row] = []
    for number in range(draw(st.integers(1, 8))):
        others = draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        join = draw(st.sampled_from(('all', 'all', 'then', 'fail')))
        kinds = st.sampled_from(('then', 'then', 'end', 'fail')) if join == 'all' else st.just(join)
        found.append(Row(draw(st.booleans()), [(other, draw(kinds)) for other in others], join))
    return found


def flow_of(found: list[Row]) -> Any:
    """A flow of such tasks, all of which are its ends."""
    steps: list[Any] = []
    for number, row in enumerate(found):
        step = act.s(row.fails).named(f't{number}')
        if row.join == 'then' and row.others:
            first(*(steps[other] for other, _ in row.others)) >> step
        elif row.join == 'fail' and row.others:
            any_failed(*(steps[other] for other, _ in row.others))(step)
        else:
            for other, kind in row.others:
                if kind == 'then':
                    steps[other] >> step
                elif kind == 'end':
                    steps[other].at_end(step)
                else:
                    steps[other].if_failed(step)
        steps.append(step)
    return gather(*steps)


ENDED = {'completed': 'c', 'failed': 'f', 'skipped': 'n', None: None}


async def ends_of(handle: Any) -> Ends:
    """How the tasks of a flow have ended, in their order."""
    found = {outcome.name: ENDED[outcome.how] async for outcome in handle.outcomes()}
    return tuple(found[f't{number}'] for number in range(len(found)))


def outcomes_of(found: list[Row], on_failure: str) -> set[Ends]:
    """What may become of such tasks."""
    parts = [Part(tuple((other, kind) for other, kind in row.others), row.join != 'all') for row in found]
    failure = 'd' if on_failure == 'wait' else 'f'
    return outcomes(parts, [failure if row.fails else 'c' for row in found])


@pytest.mark.one_server
@pytest.mark.long
@pytest.mark.parametrize('on_failure', ['wait', 'skip'])
def test_what_fails_in_memory_fails_on_a_server(server: RealServer, on_failure: Any) -> None:
    """As a rule, one end is possible of each task.  A task that is skipped has failed or is not needed by whoever is
    the first of all that keep it from running, which depends on who is faster; so does what waits for its failure."""
    found: list[list[Row]] = []
    collect_all(rows(), found)
    possible = [outcomes_of(each, on_failure) for each in found]
    assert sum(len(each) == 1 for each in possible) > len(found) * 0.5

    async def in_memory() -> list[Ends]:
        with eager(app, max_attempts=1):
            return [await ends_of(await flow_of(each).options(on_failure=on_failure).enqueue()) for each in found]

    async def on_server() -> list[Ends]:
        async with server.client() as client, Torrelque(client, queue='any') as queue, using(app, queue):
            handles = [await flow_of(each).options(on_failure=on_failure).enqueue() for each in found]
            await asyncio.gather(*(Worker(app, burst=True, max_attempts=1).run() for _ in range(2)))
            return [await ends_of(handle) for handle in handles]

    logging.disable(logging.CRITICAL)
    try:
        ends = [asyncio.run(on_server()), asyncio.run(in_memory())]
    finally:
        logging.disable(logging.NOTSET)
    for rows_of_it, may_be, *were in zip(found, possible, *ends, strict=True):
        assert {*were} <= may_be, rows_of_it


@given(flows())
@settings(max_examples=60, deadline=None)
def test_any_flow_has_its_result_in_memory(made: Made) -> None:
    with eager(app):
        assert made.step.push().wait_result() == made.value
    app.close()


@pytest.mark.one_server
@pytest.mark.long
def test_any_flow_has_its_result_through_workers(server: RealServer) -> None:
    found: list[Made] = []
    collect_all(flows(), found)

    async def run() -> list[int]:
        async with server.client() as client, Torrelque(client, queue='any') as queue, using(app, queue):
            async with Worker(app, concurrency=20), Worker(app, concurrency=1):
                handles = [await made.step.enqueue() for made in found]
                return [await handle.result(60) for handle in handles]

    assert asyncio.run(run()) == [made.value for made in found]
