"""What calls and replies say of flows: their tasks in order, in parts that go in a call; how tasks have ended."""

import graphlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torrelque.codec import TorrelqueSerialiser, serialise
from torrelque.error import TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.model import Duration, TorrelqueNode, TorrelqueOutcome, TorrelqueTaskState, TorrelqueTaskStatus

from .bounds import Bounds
from .check import check_id, check_name, milliseconds
from .ids import Ids
from .keys import make_keys
from .options import enqueue_options
from .routed import keyed_of
from .transition import Arg

KINDS = ('then', 'end', 'fail')
"""Which ends of another task a task may wait for: that it completes, any, that it fails or is dead."""
JOINS = ('all', 'any')
"""Whether it waits for all of them, or for one."""
POLICIES = ('wait', 'skip', 'cancel')
"""What becomes of a flow one of whose tasks is dead."""
MOST_SUCCESSORS = 10_000
"""Tasks that wait for the same one, at the most: the script reads their list for each piece of it."""


def node_id(flow_id: str, name: str) -> str:
    """The id of a task of a flow."""
    return f'{flow_id}.{name}'


def homes(task_id: str) -> list[str]:
    """Flows that a task may be of, by its id: as a rule, that begins with the flow's, and a full stop."""
    return [task_id[:k] for k, letter in enumerate(task_id) if letter == '.' and k]


class Part(NamedTuple):
    """Tasks of a flow that go in one call."""

    words: list[Arg]
    """What is said of them, behind what a call has once."""
    names: list[str]


class Plan:
    """The tasks of a flow as a call has them, each behind those that it waits for.

    All is checked here, before anything is sent.
    """

    def __init__(
        self, flow_id: str, mark: str, serialiser: TorrelqueSerialiser, bounds: Bounds, lease: Duration, own: str
    ) -> None:
        self.flow_id = flow_id
        self.mark = mark
        """The name of the call."""
        self._serialiser, self._bounds, self._lease = serialiser, bounds, lease
        self.nodes: list[TorrelqueNode] = []
        """In their order."""
        self.names: list[str] = []
        """In the order in which they were given."""
        self._successors: dict[str, dict[str, list[str]]] = {}
        self._own = own
        self.goes_out = False
        """Whether there are some for other queues than that of the flow, whose key ``pending`` is ``own``."""

    def take(self, nodes: Iterable[TorrelqueNode], growing: bool) -> None:
        """Take nodes; ``growing`` where they are added to a flow that may have others."""
        if isinstance(nodes, (str, bytes)) or not isinstance(nodes, Iterable):
            raise TorrelqueTypeError(f'nodes must be an iterable of TorrelqueNode, not {type(nodes).__name__}')
        by_name: dict[str, TorrelqueNode] = {}
        for node in nodes:
            _check_node(node, growing)
            if node.name in by_name:
                raise TorrelqueValueError(f'two tasks of the flow have the name {node.name!r}')
            by_name[node.name] = node
        self.names = [*by_name]
        for node in by_name.values():
            for other, kind in node.after.items():
                if other in by_name:
                    self._successors.setdefault(other, {}).setdefault(kind, []).append(node.name)
                elif not growing:
                    raise TorrelqueValueError(f'{node.name!r} waits for {other!r}, which is no task of the flow')
            for other in node.before:
                if other in by_name:
                    what = f'{other!r} is new itself: say that it waits for {node.name!r} by its after'
                    raise TorrelqueValueError(what)
        for name, kinds in self._successors.items():
            if sum(map(len, kinds.values())) > MOST_SUCCESSORS:
                raise TorrelqueValueError(f'more than {MOST_SUCCESSORS} tasks wait for {name!r}')
        graph = {name: [other for other in node.after if other in by_name] for name, node in by_name.items()}
        try:
            self.nodes = [by_name[name] for name in graphlib.TopologicalSorter(graph).static_order()]
        except graphlib.CycleError as exc:
            # Each is there behind the one that waits for it.
            circle = ' -> '.join(map(repr, exc.args[1]))
            raise TorrelqueValueError(f'tasks of the flow wait for each other in a circle: {circle}') from None

    def parts(self, growing: bool) -> list[Part]:
        """The nodes in calls, each with the number of words that the script of the call expects."""
        found: list[Part] = []
        words: list[Arg] = []
        names: list[str] = []
        size = edges = 0
        make = self._added if growing else self._made
        for node in self.nodes:
            its = make(node)
            its_size = sum(map(len, its))
            its_edges = len(node.after) + len(node.before)
            full = len(names) >= self._bounds.bulk or size + its_size > self._bounds.bulk_bytes
            if names and (full or edges + its_edges > self._bounds.edges):
                found.append(Part(words, names))
                words, names, size, edges = [], [], 0, 0
            words += its
            names.append(node.name)
            size, edges = size + its_size, edges + its_edges
        return [*found, Part(words, names)]

    def _of_any(self, node: TorrelqueNode) -> list[Arg]:
        lease = self._lease if node.task_timeout is None else node.task_timeout
        queue = node.queue if node.queue is not None and make_keys(node.queue)['pending'] != self._own else None
        self.goes_out = self.goes_out or queue is not None
        of_all = lease, node.delay, node.max_attempts, None, node.group, node.priority, queue
        options = enqueue_options(*of_all, keyed_of(node.group))
        payload = serialise(self._serialiser, node.task, f'the task of node {node.name!r}')
        return [node_id(self.flow_id, node.name), payload, options]

    def _made(self, node: TorrelqueNode) -> list[Arg]:
        waits = ('a' if node.after and node.join == 'any' else '') + str(len(node.after))
        last = '1' if node.after and all(kind == 'end' for kind in node.after.values()) else ''
        kinds = self._successors.get(node.name, {})
        lists = {kind: [node_id(self.flow_id, name) for name in names] for kind, names in kinds.items()}
        return [*self._of_any(node), waits, last, _dump(lists) if lists else '']

    def _added(self, node: TorrelqueNode) -> list[Arg]:
        after = [word for name, kind in node.after.items() for word in (node_id(self.flow_id, name), kind)]
        kinds = kinds_before(node)
        before = [word for name, kind in kinds.items() for word in (node_id(self.flow_id, name), kind)]
        return [*self._of_any(node), '1' if node.join == 'any' else '', _dump(after), _dump(before)]


def kinds_before(node: TorrelqueNode) -> Mapping[str, str]:
    """Who is to wait for a node as well, and for which ends of it."""
    return node.before if isinstance(node.before, Mapping) else dict.fromkeys(node.before, 'then')


def _check_node(node: TorrelqueNode, growing: bool) -> None:
    if not isinstance(node, TorrelqueNode):
        raise TorrelqueTypeError(f'a node must be a TorrelqueNode, not {type(node).__name__}')
    check_name(node.name, 'the name of a node')
    if not isinstance(node.after, Mapping):
        what = f'after of node {node.name!r} must be a mapping of names to kinds, not {type(node.after).__name__}'
        raise TorrelqueTypeError(what)
    for other, kind in node.after.items():
        check_name(other, 'the name of a node')
        _check_word(kind, KINDS, f'what {node.name!r} waits for of {other!r}')
    _check_word(node.join, JOINS, f'join of node {node.name!r}')
    if isinstance(node.before, (str, bytes)) or not isinstance(node.before, (Sequence, Mapping)):
        what = f'before of node {node.name!r} must be a list of names, not {type(node.before).__name__}'
        raise TorrelqueTypeError(what)
    for other, word in kinds_before(node).items():
        check_name(other, 'the name of a node')
        _check_word(word, KINDS, f'what {other!r} waits for of {node.name!r}')
    if node.queue is not None:
        make_keys(check_name(node.queue, f'the queue of node {node.name!r}'))
    if node.before and not growing:
        raise TorrelqueValueError(f'node {node.name!r} has before, which is for tasks that are added to a flow')


def _check_word(word: str, words: Sequence[str], what: str) -> str:
    if not isinstance(word, str):
        raise TorrelqueTypeError(f'{what} must be a str, not {type(word).__name__}')
    if word not in words:
        named = ', '.join(map(repr, words[:-1])) + f' or {words[-1]!r}'
        raise TorrelqueValueError(f'{what} must be {named}, not {word!r}')
    return word


def new_flow_id(flow_id: str | None, ids: Ids) -> str:
    """The id of a flow that is to be made."""
    if flow_id is None:
        return str.__str__(ids.new())
    return check_id(flow_id) if keyed_of(flow_id) is not None else str.__str__(check_id(flow_id))


def meta_of(
    plan: Plan,
    on_failure: str,
    name: str | None,
    out: Sequence[str],
    timeout: Duration | None,
    ttl: Duration,
) -> dict[str, Any]:
    """What the first call says of a flow besides its tasks."""
    if isinstance(out, (str, bytes)) or not isinstance(out, Sequence):
        raise TorrelqueTypeError(f'out must be a list of names, not {type(out).__name__}')
    for one in out:
        if check_name(one, 'the name of a node') not in plan.names:
            raise TorrelqueValueError(f'out has {one!r}, which is no task of the flow')
    meta: dict[str, Any] = {
        'total': len(plan.nodes),
        'ttl': milliseconds(ttl, 'result_ttl'),
        'on_failure': _check_word(on_failure, POLICIES, 'on_failure'),
    }
    if (keyed := keyed_of(plan.flow_id)) is not None:
        meta['keyed'] = keyed
    if name is not None:
        meta['name'] = check_name(name, 'the name of a flow')
    if out:
        meta['out'] = _dump([node_id(plan.flow_id, one) for one in out])
    if timeout is not None:
        meta['timeout'] = milliseconds(timeout, 'timeout')
        if not meta['timeout']:
            raise TorrelqueValueError('timeout must be more than 0 seconds')
    return meta


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(',', ':'))


# What replies say


def read_counts(fields: Mapping[str, bytes | None]) -> dict[str, Any]:
    """The fields of a state that only flows have."""
    if fields['total'] is None:
        return {}
    return {name: int(fields[name] or 0) for name in ('total', 'left', 'dead', 'failed')}


_HOWS: dict[bytes, Literal['failed', 'skipped', 'cancelled']] = {b'f': 'failed', b'n': 'skipped', b'x': 'cancelled'}


GRAFTED = 'its graft has failed: '
"""What the error of a task begins with that others have taken the place of."""


def heir_of(task_id: str, value: Any) -> str | None:
    """Who has taken the place of a task, by what ``done:F`` has of it; None where nobody has.

    The id of an heir begins with that of the task, so nobody is his own heir.
    """
    if type(value) is not bytes or value[:1] != b'>':
        return None
    heir = value[1:].decode('utf-8', 'surrogateescape')
    if not heir.startswith(f'{task_id}.'):
        raise ValueError(value)
    return heir


def read_heir(task_id: str, outcome: TorrelqueOutcome) -> TorrelqueOutcome:
    """How a task has ended, by how its heir has."""
    error = outcome.error
    if outcome.how in ('failed', 'cancelled'):
        error = f'{GRAFTED}{outcome.id}: {error}'
    return outcome._replace(id=task_id, error=error)


def read_done(task_id: str, value: Any, serialiser: TorrelqueSerialiser) -> TorrelqueOutcome:
    """What ``done:F`` has of a task: '', '=' and a result, or '!', how, and then ' ' and why or '=' and a result."""
    if value is None:
        return TorrelqueOutcome(task_id, None, None, None)
    if type(value) is not bytes:
        raise ValueError(value)
    if value[:1] != b'!':
        return TorrelqueOutcome(task_id, 'completed', _load(task_id, value, serialiser), None)
    how, rest = _HOWS[value[1:2]], value[2:]
    if rest[:1] == b'=':
        return TorrelqueOutcome(task_id, how, _load(task_id, rest, serialiser), 'it was rejected')
    return TorrelqueOutcome(task_id, how, None, rest[1:].decode('utf-8', 'replace'))


def _load(task_id: str, value: bytes, serialiser: TorrelqueSerialiser) -> Any:
    return load_with(serialiser, value[1:], 'result', f'task {task_id!r}') if value else None


def load_with(serialiser: TorrelqueSerialiser, data: bytes, what: str, whose: str) -> Any:
    """A value; an error says what it is that cannot be read."""
    try:
        return serialiser.loads(data)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:
        raise TorrelqueError(f'the {what} of {whose} cannot be read: {type(exc).__name__}: {exc}') from exc


_STATUSES = {
    'completed': TorrelqueTaskStatus.COMPLETED,
    'failed': TorrelqueTaskStatus.REJECTED,
    'skipped': TorrelqueTaskStatus.CANCELLED,
    'cancelled': TorrelqueTaskStatus.CANCELLED,
}
_NOTHING = TorrelqueTaskState(
    TorrelqueTaskStatus.COMPLETED, 0, None, 0, 0, 0, None, None, None, None, None, None, 0, None, 0
)


def ended_state(state: TorrelqueTaskState | None, outcome: TorrelqueOutcome, flow_id: str) -> TorrelqueTaskState:
    """The state of a task that has ended within a flow, by its last one, where that is known."""
    return (state or _NOTHING)._replace(
        status=_STATUSES[outcome.how or 'completed'], result=outcome.result, error=outcome.error, flow=flow_id
    )
