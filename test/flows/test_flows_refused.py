"""Steps that cannot be meant: what is refused before anything is sent, and what says so."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.flows import any_failed, first, gather
from torrelque.tasks import Tasks

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')


@app.task
async def a(value: Any = None) -> int:
    return 1


@app.task
async def b(value: Any = None) -> int:
    return 2


@app.task
async def c(value: Any = None) -> int:
    return 3


@app.task
async def d(value: Any = None) -> int:
    return 4


@app.task(name='shop.tasks.many')
async def many(value: Any = None) -> list[int]:
    return [1, 2]


@app.task(group='g')
async def grouped(value: Any = None) -> int:
    return 5


@app.task(group=lambda value: str(value))
async def chosen(value: Any) -> int:
    return 6


@app.task
async def at(when: dt.date, *others: Any) -> None: ...


@app.fifo(queue='orders')
async def ordered(value: Any = None) -> None: ...


@app.task(queue='urgent')
async def urgent(value: Any = None) -> None: ...


wild: Any = SimpleNamespace(
    a=a, b=b, many=many, at=at, grouped=grouped, chosen=chosen, gather=gather, first=first, any_failed=any_failed
)
"""What type checkers do not look at."""

other_app = Tasks.from_url('redis://elsewhere.invalid', queue='shop')


@other_app.task
async def foreign(value: Any = None) -> None: ...


def test_steps_that_wait_for_one_another_are_refused_with_the_circle() -> None:
    one, two, three = a.s(), b.s(), c.s()
    one >> two >> three >> one
    with pytest.raises(TorrelqueValueError, match=r'the steps of a flow wait for one another: \w -> \w -> \w -> \w'):
        (three >> d).draw()
    alone = a.s()
    with pytest.raises(TorrelqueValueError, match='a -> a'):
        (alone >> alone).draw()


def test_a_flow_is_of_one_server_and_at_home_where_all_of_it_is_or_its_app() -> None:
    assert (a.options(queue='urgent').s() >> urgent).pack().queue == 'urgent'
    assert (a.s() >> urgent).pack().queue == many.s().map(urgent).pack().queue == 'shop'
    for flow in (a.s() >> foreign, a.s() >> (urgent | foreign), many.s().map(foreign)):
        with pytest.raises(TorrelqueTypeError, match='the steps of a flow are for one server'):
            flow.draw()


def test_who_begins_at_one_of_several_ends_waits_for_nothing_else() -> None:
    one, two = a.s(), b.s()
    with pytest.raises(TorrelqueValueError, match='d begins when one of several steps has ended, so it cannot wait'):
        d.s([first(one, two).result, c.s().result]).draw()
    with pytest.raises(TorrelqueValueError, match='nor take the result of a certain one'):
        d.s([first(one, two).result, two.result]).draw()
    handler = d.s(one.result)
    with pytest.raises(TorrelqueValueError, match='d cannot wait for both, that a has completed, and that it has fail'):
        any_failed(one, two)(handler)
    late = d.s()
    first(one, two) >> late
    with pytest.raises(TorrelqueValueError, match='d already begins when one of some other steps has ended'):
        first(one, c.s()) >> late
    c.s() >> late
    with pytest.raises(TorrelqueValueError, match='so it cannot wait for others as well'):
        late.draw()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: wild.a.s() >> 5, 'behind a step stands a step, or a function of the app, and not 5'),
        (lambda: wild.a.s() >> print, 'behind a step stands a step'),
        (lambda: wild.a.s() << wild.b, r'what is before a step must be a step, not <Function .*function.s\('),
        (lambda: wild.a << 5, 'what is before a function must be a step, not 5'),
        (lambda: wild.a | 5, 'beside a function stands another one, and not 5'),
        (lambda: wild.a | wild.b.s(), 'beside a function stands another one, and not <Step b>'),
        (lambda: wild.gather(wild.a), 'what is gathered must be a step'),
        (lambda: wild.first(), 'first needs a step'),
        (lambda: wild.any_failed(), 'any_failed needs a step'),
        (lambda: wild.any_failed(wild.a), 'what any_failed waits for must be a step'),
        (lambda: wild.a.s().at_end(wild.b), 'what runs at the end must be a step'),
        (lambda: wild.a.s().if_failed(5), 'what runs after a failure must be a step, not 5'),
        (lambda: wild.many.s().map(5), 'what is called for each element is a function of the app, and not 5'),
        (lambda: wild.many.s().map(wild.at.options(eta=1)), 'eta is for one call'),
        (lambda: wild.many.s().map(wild.chosen), 'its group is chosen by the argument, which is not there yet'),
        (lambda: wild.many.s().map(wild.grouped, limit=3), "has the group 'g'; set the limit of that"),
        (lambda: wild.first(wild.many.s().map(wild.a)), 'first cannot wait for the calls of a map one by one'),
        (lambda: wild.chosen.s(wild.a.s().result), 'its group is chosen by the arguments, of which some are results'),
        (lambda: wild.a.options(task_id='x').s(), 'task_id is for one call'),
        (lambda: wild.a.options(depends_on=['x']).s(), 'depends_on is for one call'),
        (lambda: wild.a.s({1: wild.b.s().result}), 'a dict with a result in it has texts as its keys, not 1'),
        (lambda: wild.a.options(depends_on='x'), "depends_on must be ids of tasks, not 'x'"),
        (lambda: wild.a.s().options(on_failure=5), 'on_failure must be one of'),
        (lambda: wild.a.s().options(flow_id=5), 'flow_id must be'),
        (lambda: wild.a.s().options(flow_id='x').pack(), 'a flow_id is that of one flow'),
        (lambda: wild.a.options(delay=1).s().pack(), 'delay is for one call'),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TorrelqueTypeError, match=message):
        make()


@pytest.mark.parametrize(
    'make',
    [
        lambda: wild.many.s().map(wild.a, limit=0), lambda: wild.a.s().options(on_failure='stop'),
        lambda: wild.a.s().options(timeout=0), lambda: wild.a.s().options(name=''),
        lambda: wild.a.s().options(result_ttl=1e11),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(TorrelqueValueError):
        make()


def test_an_app_without_flows_loads_nothing_of_them() -> None:
    code = (
        'import sys, torrelque.tasks, torrelque.worker\n'
        "app = torrelque.tasks.Tasks.from_url('redis://nowhere.invalid')\n"
        "app.task(name='f')(lambda: None).options(delay=1)\n"
        "assert not [name for name in sys.modules if name.startswith('torrelque.flows')]\n"
        "app.functions['f'].s()\n"
        "assert 'torrelque.flows' in sys.modules\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
