"""The graph of a flow: in which layers tasks stand, which edges there are, what has no graph."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

from support.looks import FOREIGN
from torrelque import TorrelqueTaskStatus
from torrelque.dashboard.graph import HEIGHT, MOST, WIDTH, Graph, draw
from torrelque.operate import FlowTaskView

WAITING = TorrelqueTaskStatus.WAITING


def task(name: str, *after: str | tuple[str, str], **given: Any) -> FlowTaskView:
    plain: dict[str, Any] = {
        'id': f'F.{name}', 'status': WAITING, 'how': None, 'error': None, 'attempts': 0, 'max_attempts': None,
        'since': None, 'until': None, 'group': None, 'function': None, 'each': False, 'waits': None, 'any': False,
    }  # fmt: skip
    pairs = tuple((one, 'then') if isinstance(one, str) else one for one in after)
    return FlowTaskView(name=name, after=pairs, **{**plain, **given})


def columns(graph: Graph | None) -> list[set[str]]:
    """Names by layers."""
    assert graph is not None
    found: dict[int, set[str]] = {}
    for box in graph.boxes:
        found.setdefault(box.x, set()).add(box.name)
    return [found[x] for x in sorted(found)]


def check(graph: Graph | None) -> Graph:
    """Boxes are within the graph and apart from one another, and edges lead from left to right."""
    assert graph is not None
    for box in graph.boxes:
        assert 0 <= box.x <= graph.width - WIDTH and 0 <= box.y <= graph.height - HEIGHT
    places = sorted((box.x, box.y) for box in graph.boxes)
    for one, other in itertools.pairwise(places):
        assert one[0] != other[0] or other[1] - one[1] >= HEIGHT
    for edge in graph.edges:
        numbers = [int(one) for one in re.findall(r'-?\d+', edge.path.partition('m-')[0])]
        assert numbers[-2] > numbers[0]
    return graph


def test_tasks_stand_behind_all_that_they_wait_for() -> None:
    graph = check(draw([
        task('a'), task('b', 'a'), task('c', 'b'), task('d', 'a', ('c', 'end')), task('e', ('d', 'fail')), task('f'),
    ]))  # fmt: skip
    assert columns(graph) == [{'a', 'f'}, {'b'}, {'c'}, {'d'}, {'e'}]
    assert sorted(edge.kind for edge in graph.edges) == ['end', 'fail', 'then', 'then', 'then']
    assert graph.kinds == ('then', 'end', 'fail') and graph.title == '6 tasks: 6 waiting'


def test_an_edge_that_passes_layers_has_a_lane_there() -> None:
    graph = check(draw([task('a'), task('b', 'a'), task('c', 'b'), task('d', 'c', 'a')]))
    [long] = [edge.path for edge in graph.edges if edge.path.count('C') > 1]
    lanes = [int(y) for y in re.findall(r' (\d+)H', long)]
    for box in graph.boxes:
        if box.name in 'bc':
            assert all(not box.y <= y <= box.y + HEIGHT for y in lanes)


def test_many_calls_of_a_map_are_one_box() -> None:
    calls = [task(f'all.{n}', status=None, how='completed' if n else 'failed', error='Boom') for n in range(9)]
    whole = [task('list'), task('all', 'list', each=True, how='grafted'), *calls]
    graph = check(draw([*whole, task('sum', 'all', *(call.name for call in calls))]))
    assert columns(graph) == [{'list'}, {'all'}, {'all \N{MULTIPLICATION SIGN} 9'}, {'sum'}]
    [box] = [box for box in graph.boxes if box.task_id is None]
    assert (box.word, box.told) == ('failed', '9 ended, 1 failed')
    assert box.title == 'all.*: 1 failed, 8 completed' and len(graph.edges) == 3
    few = check(draw([*whole[:4], task('sum', 'all', 'all.0', 'all.1')]))
    assert columns(few)[2] == {'all.0', 'all.1'} and len(few.edges) == 5


def test_a_circle_and_what_refers_to_nothing_are_drawn_all_the_same() -> None:
    graph = check(draw([task('a', 'b', 'a', 'gone'), task('b', 'c'), task('c', 'a'), task('d', 'c')]))
    assert {box.name for box in graph.boxes} == {*'abcd'} and len(graph.edges) == 3


def test_a_flow_of_none_or_too_many_tasks_has_no_graph() -> None:
    assert draw([]) is None
    assert draw([task(f'n{n}') for n in range(MOST + 1)]) is None
    check(draw([task('a'), *(task(f'n{n}', 'a') for n in range(MOST - 1))]))
    check(draw([task(f'n{n}', *(f'n{k}' for k in range(n))) for n in range(MOST)]))


def test_any_graph_is_drawn_apart_from_left_to_right() -> None:
    chance = random.Random(11)
    for _ in range(30):
        count = chance.randint(1, MOST)
        tasks = [
            task(f'n{n}', *{f'n{chance.randrange(n)}' for _ in range(chance.randint(0, 3)) if n}) for n in range(count)
        ]
        chance.shuffle(tasks)
        graph = check(draw(tasks))
        layer = {box.name: box.x for box in graph.boxes}
        assert all(layer[other] < layer[one.name] for one in tasks for other, _ in one.after)
        assert len(graph.edges) == sum(len(one.after) for one in tasks)


def test_long_and_wide_names_are_cut() -> None:
    graph = check(draw([task('x' * 200), task('漢' * 30), task(FOREIGN), task('a\nb\x1b')]))
    names = [box.name for box in graph.boxes]
    assert names[0] == 'x' * 19 + '…' and names[1] == '漢' * 9 + '…'
    assert names[3] == 'a\\nb\\x1b' and graph.boxes[2].title.startswith(FOREIGN)
