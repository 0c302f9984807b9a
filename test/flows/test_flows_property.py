"""Any flow of functions has the result that its functions have when they are called one in another."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from support.servers import RealServer
from torrelque import Torrelque
from torrelque.flows import first, gather
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


class Made(NamedTuple):
    """A step, and what its result is to be."""

    step: Any
    value: int


class Maker:
    """Makes steps as it is told, each of some that were made before."""

    def __init__(self) -> None:
        self.made: list[Made] = []

    def take(self, draw: Any) -> Made:
        return self.made[draw(st.integers(0, len(self.made) - 1))]

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


@given(flows())
@settings(max_examples=60, deadline=None)
def test_any_flow_has_its_result_in_memory(made: Made) -> None:
    with eager(app):
        assert made.step.push().wait_result() == made.value
    app.close()


@pytest.mark.first_server
@pytest.mark.long
def test_any_flow_has_its_result_through_workers(server: RealServer) -> None:
    found: list[Made] = []

    @given(flows())
    @settings(max_examples=300, deadline=None, database=None)
    def collect(made: Made) -> None:
        found.append(made)

    collect()

    async def run() -> list[int]:
        async with server.client() as client, Torrelque(client, queue='any') as queue, using(app, queue):
            async with Worker(app, concurrency=20), Worker(app, concurrency=1):
                handles = [await made.step.enqueue() for made in found]
                return await asyncio.gather(*(handle.result(60) for handle in handles))

    assert asyncio.run(run()) == [made.value for made in found]
