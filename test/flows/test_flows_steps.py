"""Steps: what operators put before what, names, references, and what is refused before anything is sent."""

from __future__ import annotations

import copy
import datetime as dt
import json
import operator
from collections.abc import Callable
from typing import Any

import pytest

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.flows import Flow, any_failed, first, gather
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


@app.task
async def at(when: dt.date, *others: Any) -> None: ...


@app.fifo(queue='orders')
async def ordered(value: Any = None) -> None: ...


def tasks_of(flow: Flow[Any]) -> list[dict[str, Any]]:
    """The tasks of a flow, as a schedule keeps them."""
    return json.loads(json.dumps([*flow._plan().tasks]))  # type: ignore[no-any-return]


def edges_of(flow: Flow[Any]) -> dict[str, str]:
    """For each task those that it waits for, and how where it is not by `then`."""
    return {
        task['name']: ' '.join(
            name if kind == 'then' else f'{name}:{kind}' for name, kind in task.get('after', {}).items()
        )
        for task in tasks_of(flow)
    }


def taken_by(flow: Flow[Any], name: str) -> Any:
    """What a task takes of others."""
    return next(task.get('from') for task in tasks_of(flow) if task['name'] == name)


# What is before what


def test_a_call_is_ordered_and_a_function_gets_the_result() -> None:
    assert edges_of(a.s() >> b.s()) == {'a': '', 'b': 'a'}
    assert taken_by(a.s() >> b.s(), 'b') is None
    assert edges_of(a.s() >> b) == {'a': '', 'b': 'a'}
    assert taken_by(a.s() >> b, 'b') == [[['args', 0], 'a']]
    assert taken_by(b << a.s(), 'b') == [[['args', 0], 'a']]


def test_the_other_side_says_the_same() -> None:
    assert edges_of(d.s() << b.s() << a.s()) == edges_of(a.s() >> b.s() >> d.s()) == {'a': '', 'b': 'a', 'd': 'b'}
    assert edges_of(d.s() << (b.s() | c.s()) << a.s()) == edges_of(a.s() >> (b.s() | c.s()) >> d.s())
    assert edges_of((b.s() | c.s()) << a.s()) == {'a': '', 'b': 'a', 'c': 'a'}


def test_functions_beside_each_other_get_the_same_result_and_the_next_one_gets_a_list() -> None:
    flow = a.s() >> (b | c | b) >> d
    assert edges_of(flow) == {'a': '', 'b': 'a', 'c': 'a', 'b-2': 'a', 'd': 'b c b-2'}
    assert taken_by(flow, 'b-2') == [[['args', 0], 'a']]
    assert taken_by(flow, 'd') == [[['args', 0], ['b', 'c', 'b-2'], 'all']]


def test_calls_beside_each_other_are_ordered() -> None:
    flow = a.s() >> (b.s(1) | c.s(2)) >> d.s(3)
    assert edges_of(flow) == {'a': '', 'b': 'a', 'c': 'a', 'd': 'b c'}
    assert taken_by(flow, 'd') is None
    both = (a.s() | b.s()) >> (c | d)
    assert edges_of(both) == {'a': '', 'b': '', 'c': 'a b', 'd': 'a b'}
    assert taken_by(both, 'c') == [[['args', 0], ['a', 'b'], 'all']]


def test_what_binds_first_is_the_arrow() -> None:
    flow = a.s() >> b.s() | c.s()
    assert edges_of(flow) == {'a': '', 'b': 'a', 'c': ''}
    assert edges_of(a.s() >> (b.s() | c.s())) == {'a': '', 'b': 'a', 'c': 'a'}
    # Where something else was meant, a function and a step beside each other say so.
    with pytest.raises(TypeError):
        a.s() >> b | c  # type: ignore[operator]
    with pytest.raises(TorrelqueTypeError, match='beside a step stands another one, and not <Function'):
        _ = a.s() | b  # type: ignore[operator]


def test_what_is_put_before_a_row_is_put_before_its_beginning() -> None:
    row = b.s() >> c.s()
    assert edges_of(a.s() >> row) == {'a': '', 'b': 'a', 'c': 'b'}
    rows = (a.s() >> b.s()) | (c.s() >> d.s())
    assert edges_of(many.s() >> rows >> a.s()) == {
        'many': '', 'a': 'many', 'b': 'a', 'c': 'many', 'd': 'c', 'a-2': 'b d',
    }  # fmt: skip


def test_a_step_stands_for_all_that_it_comes_after_and_for_nothing_else() -> None:
    start = a.s()
    left, right = b.s(start.result), c.s(start.result)
    assert edges_of(left) == {'a': '', 'b': 'a'}
    assert edges_of(d.s([left.result, right.result])) == {'a': '', 'b': 'a', 'c': 'a', 'd': 'b c'}
    assert edges_of(gather(left, right, left)) == {'a': '', 'b': 'a', 'c': 'a'}
    assert taken_by(gather(left, right, left) >> d, 'd') == [[['args', 0], ['b', 'c', 'b'], 'all']]


def test_an_arrow_changes_the_step_that_it_points_to() -> None:
    one, two = a.s(), b.s()
    one >> two
    one >> two
    assert edges_of(two) == {'a': '', 'b': 'a'}


# Failures and ends


def test_steps_beside_belong_to_the_flow() -> None:
    flow = a.s() >> b.s().if_failed(c.s()).at_end(d.s())
    assert edges_of(flow) == {'a': '', 'b': 'a', 'c': 'b:fail', 'd': 'b:end'}
    row = (a.s() >> b.s()).at_end(c.s() >> d.s())
    assert edges_of(row) == {'a': '', 'b': 'a', 'c': 'b:end', 'd': 'c'}
    ends = gather(a.s(), b.s()).at_end(c.s())
    assert edges_of(ends) == {'a': '', 'b': '', 'c': 'a:end b:end'}
    assert 'join' not in tasks_of(ends)[-1]


def test_one_of_several_failures_is_enough() -> None:
    one, two = a.s(), b.s()
    done = any_failed(one, two)(c.s())
    flow = d.s([one.result, two.result])
    assert edges_of(flow)['c'] == 'a:fail b:fail'
    assert [task.get('join') for task in tasks_of(flow) if task['name'] == 'c'] == ['any']
    assert edges_of(done) == {'a': '', 'b': '', 'c': 'a:fail b:fail'}
    # Of one step there is nothing to choose.
    assert 'join' not in tasks_of(a.s().if_failed(b.s()))[-1]
    assert tasks_of((a.s() | b.s()).if_failed(c.s()))[-1]['join'] == 'any'


def test_the_first_of_several_results_is_taken() -> None:
    flow = first(a.s(), b.s() >> c.s()) >> d
    assert edges_of(flow) == {'a': '', 'b': '', 'c': 'b', 'd': 'a c'}
    assert tasks_of(flow)[-1]['join'] == 'any'
    assert taken_by(flow, 'd') == [[['args', 0], ['a', 'c'], 'first']]
    assert taken_by(d.s({'x': first(a.s(), b.s()).result}), 'd') == [[['args', 0, 'x'], ['a', 'b'], 'first']]
    ordered_only = first(a.s(), b.s()) >> d.s()
    assert tasks_of(ordered_only)[-1]['join'] == 'any' and taken_by(ordered_only, 'd') is None
    # What is before it is before all that may be the first.
    assert edges_of(many.s() >> flow) == {'many': '', 'a': 'many', 'b': 'many', 'c': 'b', 'd': 'a c'}


def test_an_edge_that_ends_gives_way_to_one_that_says_more() -> None:
    one = a.s()
    assert edges_of(one >> b.s(one.result).if_failed(c.s())) == {'a': '', 'b': 'a', 'c': 'b:fail'}
    two = b.s(one.result)
    one.at_end(two)
    three = c.s()
    one.at_end(three)
    one >> three
    assert edges_of(two >> three) == {'a': '', 'b': 'a', 'c': 'a b'}


# Maps


def test_a_map_holds_back_whatever_comes_behind_it() -> None:
    flow = many.s().map(a.options(max_attempts=2, priority=3)) >> b
    tasks = {task['name']: task for task in tasks_of(flow)}
    assert edges_of(flow) == {'many': '', 'a': 'many', 'b': 'a'}
    assert tasks['a']['payload'] == {
        'task': 'torrelque.map', 'args': [None],
        'kwargs': {'call': {'payload': {'task': a.name}, 'options': {'max_attempts': 2, 'priority': 3}}},
    }  # fmt: skip
    assert tasks['a']['before'] == {'b': 'then'} and tasks['a']['from'] == [[['args', 0], 'many']]
    assert taken_by(flow, 'b') == [[['args', 0], 'a', 'each']]


def test_a_map_of_results_beside_each_other_and_among_others() -> None:
    flow = (a.s() | b.s()).map(c) >> d
    assert taken_by(flow, 'c') == [[['args', 0], ['a', 'b'], 'all']]
    mixed = (many.s().map(c) | a.s()) >> d
    assert taken_by(mixed, 'd') == [[['args', 0], [['c', 'each'], 'a'], 'all']]
    assert mixed.draw().count('[["c"]]') == 1


def test_a_limit_is_that_of_a_group() -> None:
    call = tasks_of(many.s().map(a, limit=3))[-1]['payload']['kwargs']['call']
    assert call['limit'] == 3 and call['options'] == {'group': f'map:{a.name}'}
    # Where the worker of a map was killed, it comes back as soon as one of its calls would.
    assert tasks_of(many.s().map(a.options(task_timeout=7)))[-1]['options'] == {'task_timeout': 7}
    assert tasks_of(many.s().map(grouped))[-1]['payload']['kwargs']['call']['options'] == {'group': 'g'}


def test_options_of_functions_count() -> None:
    flow = grouped.options(delay=1, priority=2, max_attempts=3, task_timeout=4, headers={'x': '1'}, expires=9).s(1)
    [task] = tasks_of(flow.options(name='n'))
    assert task['options'] == {'delay': 1, 'priority': 2, 'max_attempts': 3, 'task_timeout': 4, 'group': 'g'}
    assert task['payload'] == {'task': grouped.name, 'expires': 9, 'headers': {'x': '1'}, 'args': [1]}
    of_value = a.options(group=lambda value: f'of {value}', priority=lambda value: value)
    assert [task['options'] for task in tasks_of(gather(of_value.s(1), of_value.s(2)))] == [
        {'group': 'of 1', 'priority': 1}, {'group': 'of 2', 'priority': 2},
    ]  # fmt: skip
    assert tasks_of(ordered.s())[0]['options'] == {'group': 'fifo:orders'}


# Names


def test_steps_have_the_short_names_of_their_functions_in_the_order_in_which_they_were_made() -> None:
    second, start = many.s(), many.s()
    assert [*edges_of(start >> second)] == ['many-2', 'many']
    assert [*edges_of(gather(many.s().named('many-2'), many.s(), many.s()))] == ['many-2', 'many', 'many-3']


def test_two_steps_cannot_have_one_name() -> None:
    with pytest.raises(TorrelqueValueError, match="two steps of a flow are called 'x'"):
        gather(a.s().named('x'), b.s().named('x')).draw()
    with pytest.raises(TorrelqueValueError, match='the name of a step has no dot'):
        a.s().named('x.1')
    with pytest.raises(TorrelqueTypeError, match='the name of a step must be'):
        a.s().named(1)  # type: ignore[arg-type]


def test_many_steps_of_one_function_are_named_in_time() -> None:
    names = [*edges_of(gather(*(a.s() for _ in range(3000))))]
    assert names[-1] == 'a-3000' and len({*names}) == 3000


# References


def test_a_result_goes_anywhere_into_the_arguments() -> None:
    one, two = a.s(), b.s()
    flow = c.s({'x': [1, (one.result, 2)], 'y': {'z': two.result}})
    [call] = [task for task in tasks_of(flow) if task['name'] == 'c']
    assert call['payload']['args'] == [{'x': [1, [None, 2]], 'y': {'z': None}}]
    assert call['from'] == [[['args', 0, 'x', 1, 0], 'a'], [['args', 0, 'y', 'z'], 'b']]
    assert taken_by(c.s(value=[one.result]), 'c') == [[['kwargs', 'value', 0], 'a']]


def test_other_arguments_are_converted_and_checked_beside_a_result() -> None:
    [_, call] = tasks_of(at.s(dt.date(2026, 11, 29), a.s().result))
    assert call['payload']['args'] == ['2026-11-29', None]
    with pytest.raises(TorrelqueTypeError, match="argument 'when' must be datetime"):
        at.s(5, a.s().result)  # type: ignore[arg-type]
    with pytest.raises(TorrelqueTypeError, match='missing a required argument'):
        at.s(value=a.s().result)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    'use',
    [
        bool, len, iter, str, int, float, hash, list, abs, copy.copy, copy.deepcopy, json.dumps, next, format,
        operator.neg, lambda it: it.field, lambda it: it[0], lambda it: it(), lambda it: it + 1, lambda it: 1 + it,
        lambda it: it == 1, lambda it: it != 1, lambda it: it < 1, lambda it: 1 in it, lambda it: f'{it}',
        lambda it: it | 1, lambda it: it >> a, lambda it: {it: 1}, lambda it: setattr(it, 'x', 1), lambda it: it @ 1,
    ],
)  # fmt: skip
def test_a_result_that_is_not_there_can_only_be_passed_on(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        use(a.s().result)


def test_a_misused_result_says_what_it_is() -> None:
    with pytest.raises(TorrelqueTypeError, match='<the result of a> is not there before its flow runs: it can be an'):
        assert a.s().result
    assert repr(gather(a.s(), b.s()).results) == '<the results of a, b>'
    assert isinstance(a.s().result, object) and not hasattr(a.s().result, '__len__x')


def test_nothing_is_gathered() -> None:
    flow = gather() >> a
    assert edges_of(flow) == {'a': ''}
    assert taken_by(flow, 'a') == [[['args', 0], [], 'all']]
    with pytest.raises(TorrelqueTypeError, match='a flow needs a step'):
        gather().draw()


# What a schedule is given


def test_a_call_alone_is_its_own_task_for_a_schedule_and_a_flow_has_one_that_starts_it() -> None:
    alone = grouped.options(priority=2, max_attempts=3).s(1).pack()
    assert (alone.name, alone.queue, alone.payload) == (grouped.name, 'shop', {'task': grouped.name, 'args': [1]})
    assert alone.options == {'group': 'g', 'priority': 2, 'max_attempts': 3} and alone.fifo is None
    assert ordered.s().pack().fifo == 'fifo:orders'
    whole = (a.s() >> b).options(on_failure='skip', timeout=dt.timedelta(minutes=1), result_ttl=5, name='n').pack()
    assert (whole.name, whole.queue, whole.options, whole.fifo) == ('torrelque.start', 'shop', {}, None)
    [start] = whole.payload['args']
    assert start['options'] == {'name': 'n', 'on_failure': 'skip', 'timeout': 60, 'result_ttl': 5}
    assert json.loads(json.dumps(whole.payload)) == whole.payload


# Drawing


def test_a_flow_is_drawn() -> None:
    flow = a.s() >> (b | c) >> d
    flow.if_failed(a.s()).at_end(b.s())
    assert flow.draw() == (
        'flowchart LR\n'
        '    n0["a"]\n    n1["b"]\n    n2["c"]\n    n3["d"]\n    n4["a-2"]\n    n5["b-2"]\n'
        '    n0 --> n1\n    n0 --> n2\n    n1 --> n3\n    n2 --> n3\n'
        '    n3 -. if failed .-> n4\n    n3 -. at end .-> n5\n'
    )
    assert '["#quot;#lt;b#gt; x"]' in a.s().named('"<b>\nx').draw()


def test_a_flow_that_is_too_large_is_not_drawn() -> None:
    with pytest.raises(TorrelqueValueError, match='nothing is kept of the tasks of this flow'):
        gather(*(a.s() for _ in range(1001))).draw()
