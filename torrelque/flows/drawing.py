"""Draws a flow as text of Mermaid, from what is kept of it."""

from collections.abc import Mapping
from typing import Any

from torrelque import TorrelqueValueError

__all__ = ['draw']

_COLOURS = {'completed': '#3aa981', 'failed': '#d1495b', 'skipped': '#9aa4ae', 'cancelled': '#9aa4ae'}
_ARROWS = {'then': '-->', 'end': '-. at end .->', 'fail': '-. if failed .->'}
_ESCAPED = str.maketrans({'#': '#35;', '"': '#quot;', '<': '#lt;', '>': '#gt;', '\n': ' ', '\\': '#92;', '`': '#96;'})


def draw(task: Mapping[str, Any], states: Mapping[str, str] | None = None) -> str:
    """A flow as text.

    :param task: what people see of a flow, see `torrelque.flows.plan.Plan`.
    :param states: how tasks stand, by their names: a word for each, which is a class of the picture.
    :raises TorrelqueValueError: the flow is so large that nothing is kept of its tasks, or it was made otherwise.
    """
    nodes = task.get('nodes')
    if not isinstance(nodes, (list, tuple)):
        raise TorrelqueValueError('nothing is kept of the tasks of this flow, so it cannot be drawn')
    lines = ['flowchart LR']
    numbers = {node[0]: number for number, node in enumerate(nodes)}
    for number, (name, _, _, *how) in enumerate(nodes):
        # What is called for each element of a list has a frame that is double.
        left, right = ('[[', ']]') if 'each' in how else ('[', ']')
        state = f':::{states[name]}' if states and name in states else ''
        lines.append(f'    n{number}{left}"{name.translate(_ESCAPED)}"{right}{state}')
    for number, (_, edges, *_) in enumerate(nodes):
        lines += [f'    n{numbers[other]} {_ARROWS.get(kind, _ARROWS["then"])} n{number}' for other, kind in edges]
    seen = {*(states or {}).values()}
    lines += [f'    classDef {name} fill:{colour}' for name, colour in _COLOURS.items() if name in seen]
    return '\n'.join(lines) + '\n'
