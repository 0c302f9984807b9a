"""A flow as it is enqueued: its tasks, and what people see of it.

It is made in two steps.  A plan has the tasks by their names, as plain values, so that a schedule can keep it; the ids,
which begin with that of the flow, are put in when the flow is enqueued, by a producer or by the task that a schedule
has fired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torrelque import Duration, TorrelqueNode, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import MIN_SECONDS, check_name, check_seconds
from torrelque.tasks.loops import Loops
from torrelque.tasks.work import Packed

from .graph import Made, Mapped, Node, name_all
from .references import Reference, take_references

__all__ = ['Choices', 'OnFailure', 'Plan', 'make_nodes', 'make_plan', 'map_node', 'options_of']

OnFailure = Literal['wait', 'skip', 'cancel']
ON_FAILURE = ('wait', 'skip', 'cancel')

MAP = 'torrelque.map'
"""The function that enqueues a call for each element of a list."""
GATHER = 'torrelque.gather'
"""The function that returns a list of results, where steps beside each other take the place of a task."""
START = 'torrelque.start'
"""The function that enqueues a flow, for a schedule."""
DRAWN = 1000
"""Tasks that the payload of a flow tells of at the most; of larger flows it has their number only."""


@dataclass(frozen=True)
class Choices:
    """What is said of a flow.

    :raises TorrelqueTypeError: something is of the wrong kind.
    :raises TorrelqueValueError: it cannot be meant.
    """

    flow_id: str | None = None
    name: str | None = None
    on_failure: OnFailure = 'wait'
    timeout: Duration | None = None
    result_ttl: Duration | None = None

    def __post_init__(self) -> None:
        for what in ('flow_id', 'name'):
            if getattr(self, what) is not None:
                check_name(getattr(self, what), what)
        if self.on_failure not in ON_FAILURE:
            kind = TorrelqueValueError if isinstance(self.on_failure, str) else TorrelqueTypeError
            raise kind(f'on_failure must be one of {", ".join(map(repr, ON_FAILURE))}, not {self.on_failure!r}')
        if self.timeout is not None:
            seconds = check_seconds(self.timeout, 'timeout', least=MIN_SECONDS, positive=True)
            object.__setattr__(self, 'timeout', seconds)
        if self.result_ttl is not None:
            object.__setattr__(self, 'result_ttl', check_seconds(self.result_ttl, 'result_ttl', least=MIN_SECONDS))

    @property
    def said(self) -> dict[str, Any]:
        """Those that `torrelque.Torrelque.enqueue_flow` has, without the id and without what is as usual."""
        usual = Choices()
        names = ('name', 'on_failure', 'timeout', 'result_ttl')
        return {name: value for name in names if (value := getattr(self, name)) != getattr(usual, name)}


@dataclass(frozen=True)
class Plan:
    """A flow before it has an id."""

    loops: Loops
    """What its app has in event loops."""
    queue: str
    """The name of its queue, as the app calls it."""
    choices: Choices
    tasks: Sequence[Mapping[str, Any]]
    """Its tasks in an order in which each is behind those that it waits for: plain values, see `make_nodes`."""
    task: Mapping[str, Any]
    """What people see of the flow: ``flow`` is its name; ``nodes`` has of each task its name, its edges, the name of
    its function, and ``each`` where that is called for each element of a list; ``out`` has the names of those whose
    results are the flow's, and, where ``nodes`` would be too long, ``functions`` has those by their functions."""
    decoders: Mapping[str, Any]
    """What makes the results of tasks, or of the calls of maps, of what is kept of them, by their names; None where
    nothing must."""
    maps: frozenset[str]
    """The names of those that map."""
    alone: Node | None
    """The only task, of a flow of which nothing was said."""
    orders: Sequence[tuple[str, str]]
    """Groups of ordered queues, whose limits must be set before, each with the name of its queue on the server."""

    @property
    def out(self) -> list[str]:
        """Names of tasks whose results are the flow's."""
        names: list[str] = [name if isinstance(name, str) else name[0] for name in self.task['out']]
        return names

    def pack(self) -> Packed:
        """The task that a schedule fires for the flow.

        :raises TorrelqueTypeError: an option is of one call at one time.
        """
        if self.choices.flow_id is not None:
            raise TorrelqueTypeError('a flow_id is that of one flow; one that a schedule starts has that of the firing')
        if self.alone is None:
            start = {'flow': self.task, 'tasks': self.tasks, 'options': self.choices.said}
            return Packed(START, self.queue, {'task': START, 'args': [start]}, {}, None)
        made, options = self.alone.made, dict(self.alone.made.options)
        if options.pop('delay', None) is not None:
            raise TorrelqueTypeError(f'{made.function}: delay is for one call; work that others enqueue has none')
        return Packed(made.function, made.queue, {**made.head, **self.alone.payload}, options, made.fifo)


def make_plan(
    nodes: Sequence[Node], ends: Sequence[Node], choices: Choices | None, single: bool, home: str | None = None
) -> Plan:
    """The plan of a flow of some tasks, each behind those that it waits for.

    :param home: the name on the server of the queue of the flow.  By default it is that of all tasks, if they have one
        in common, or else the own one of the app that the last step is of.
    :raises TorrelqueTypeError: there are none.
    """
    if not nodes:
        raise TorrelqueTypeError('a flow needs a step')
    loops = ends[0].called.loops
    places = {node.called.place for node in nodes}
    queue = ends[0].called.queue if len(places) == 1 else loops.name
    home = loops.name_of(queue) if home is None else home
    names = name_all(nodes)
    before = _successors_of_maps(nodes, names)
    tasks = [_describe(node, names, before.get(node), home) for node in nodes]
    out: list[Any] = [names[end] if end.mapped is None else [names[end], 'each'] for end in ends]
    task: dict[str, Any] = {'flow': choices and choices.name, 'total': len(nodes), 'out': out, 'list': not single}
    if len(nodes) <= DRAWN:
        task['nodes'] = [
            [
                names[node], [[names[other], kind] for other, kind in node.after.items()], node.function,
                *(['each'] if node.mapped is not None else []),
            ]
            for node in nodes
        ]  # fmt: skip
    else:
        functions: dict[str, list[str]] = {}
        for end in dict.fromkeys(ends):
            functions.setdefault(end.function, []).append(names[end])
        task['functions'] = functions
    made = [node.called for node in nodes]
    orders = [*dict.fromkeys((each.place, each.fifo) for each in made if each.fifo is not None)]
    alone = nodes[0] if len(nodes) == 1 and choices is None and nodes[0].mapped is None and single else None
    decoders = {names[node]: node.called.decode for node in nodes}
    maps = frozenset(names[node] for node in nodes if node.mapped is not None)
    return Plan(loops, queue, choices or Choices(), tasks, task, decoders, maps, alone, orders)


def map_node(mapped: Mapped, argument: Reference) -> Node:
    """The step that calls a function for each element of a result."""
    each = mapped.each
    call: dict[str, Any] = {'payload': dict(each.head), 'options': options_of(each, mapped.limit)}
    if mapped.limit is not None:
        call['limit'] = mapped.limit
    # The lease is that of a call, so that a map whose worker was killed comes back as soon as a call does.
    lease = {name: value for name, value in each.options.items() if name == 'task_timeout'}
    made = Made(each.loops, MAP, each.queue, {'task': MAP}, lease, None, None)
    found: list[Any] = []
    payload = {'args': take_references([argument], ['args'], found), 'kwargs': {'call': call}}
    return Node(made, payload, found, mapped)


def options_of(made: Made, limit: int | None = None) -> dict[str, Any]:
    """The options of a call; with a limit it has a group that is named after the function.

    :raises TorrelqueTypeError: it has a group of its own as well.
    """
    options = dict(made.options)
    if limit is not None:
        if options.get('group') is not None:
            raise TorrelqueTypeError(f'{made.function} has a group, {options["group"]!r}; set the limit of that')
        options['group'] = f'map:{made.function}'
    return options


def make_nodes(
    tasks: Sequence[Mapping[str, Any]],
    flow_id: str,
    home: str,
    renamed: Mapping[str, str] | None = None,
    context: Mapping[str, str] | None = None,
) -> Iterator[TorrelqueNode]:
    """The tasks of a flow with their ids in their payloads.

    :param home: the name of its queue.
    :param renamed: other names of all of them, if they are to have others.
    :param context: what goes along with each, see `torrelque.tasks.Context`.
    """
    names = {task['name']: task['name'] for task in tasks} if renamed is None else renamed
    ids = {name: f'{flow_id}.{known_as}' for name, known_as in names.items()}
    for task in tasks:
        name = names[task['name']]
        options = task.get('options', {})
        payload = {**task['payload'], 'flow': flow_id, 'name': name}
        if context is not None:
            payload['context'] = context
        if 'queue' in options:
            # Whoever runs it finds there what belongs to the flow.
            payload['home'] = home
        if before := task.get('before'):
            call = {**payload['kwargs']['call'], 'before': {names[other]: kind for other, kind in before.items()}}
            payload['kwargs'] = {'call': call}
        if entries := task.get('from'):
            payload['from'] = [_with_ids(entry, ids) for entry in entries]
        after = {names[other]: kind for other, kind in task.get('after', {}).items()}
        yield TorrelqueNode(name, payload, after, task.get('join', 'all'), **options)


# Parts


def _describe(
    node: Node, names: Mapping[Node, str], before: Mapping[str, str] | None, home: str
) -> dict[str, Any]:
    """A task as plain values: ``name``, ``payload``, and, where they are not empty, ``before``, ``from``, ``after``,
    ``join`` and ``options``; these have ``queue``, if that is another one than the flow's."""
    payload, options = {**node.made.head, **node.payload}, dict(node.made.options)
    if node.called.place != home and node.mapped is None:
        options['queue'] = node.called.place
    elif node.called.place != home:
        # The task that maps is the flow's own; what it adds is for the other queue.
        call = payload['kwargs']['call']
        payload['kwargs'] = {'call': {**call, 'options': {**call['options'], 'queue': node.called.place}}}
    entries = [_entry(path, sources, kind, names) for path, sources, kind in node.found]
    described = {
        'name': names[node],
        'payload': payload,
        'before': before,
        'from': entries,
        'after': {names[other]: kind for other, kind in node.after.items()},
        'join': 'any' if node.one_of is not None else None,
        'options': options,
    }
    return {key: value for key, value in described.items() if value}


def _entry(path: Any, sources: Sequence[Node], kind: str, names: Mapping[Node, str]) -> list[Any]:
    """What a payload says of a result: where it goes, of whom it is, and how, if that is not the usual way."""
    if kind == 'one':
        return [path, names[sources[0]]]
    if kind == 'all' and len(sources) == 1 and sources[0].mapped is not None:
        return [path, names[sources[0]], 'each']
    return [path, [names[each] if each.mapped is None else [names[each], 'each'] for each in sources], kind]


def _with_ids(entry: Sequence[Any], ids: Mapping[str, str]) -> list[Any]:
    path, source, *how = entry
    if isinstance(source, str):
        return [path, ids[source], *how]
    return [path, [ids[one] if isinstance(one, str) else [ids[one[0]], *one[1:]] for one in source], *how]


def _successors_of_maps(nodes: Sequence[Node], names: Mapping[Node, str]) -> dict[Node, dict[str, str]]:
    """For each map the names of those that wait for it, and how: they have to wait for its calls, too."""
    found: dict[Node, dict[str, str]] = {}
    for node in nodes:
        for other, kind in node.after.items():
            if other.mapped is not None:
                found.setdefault(other, {})[names[node]] = kind
    return found
