"""What must have become of a flow, whatever happened to those who worked on it."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.model_ends import fits
from proof.chaos.flows_app import value_of
from proof.invariants import Fault
from torrelque import TorrelqueOutcome, TorrelqueTaskState, TorrelqueTaskStatus as Status

HOWS = {'completed': 'c', 'failed': 'f', 'skipped': 'n', 'cancelled': 'x'}
SKIPPED = 'skipped: '


@dataclass
class Sent:
    """A flow that somebody has enqueued, or has tried to."""

    id: str
    tasks: list[Mapping[str, Any]]
    """As the plan has them, see `torrelque.flows.plan`."""
    out: list[str]
    on_failure: str
    timeout: float | None = None
    is_sure: bool = False
    """Whether its enqueuing was acknowledged."""
    cancels: int = 0
    """How often somebody has tried to cancel it."""
    cancelled: set[str] = field(default_factory=set)
    """Its tasks that somebody has tried to cancel."""
    joined: dict[str, str] = field(default_factory=dict)
    """Tasks from outside that somebody has tried to have wait for one of its tasks."""
    told: list[Any] = field(default_factory=list)
    """What those were told who waited for its result."""


class Journals:
    """What functions have written down."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.claims: dict[str, list[float]] = defaultdict(list)
        """When (ms, by the clock of the server) a task was handed out for whom its function has begun."""
        self.ended: dict[str, list[Any]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        handed: Counter[tuple[str, str]] = Counter()
        for path in files:
            for line in path.read_text().splitlines():
                word, task_id, token, what = json.loads(line)
                self.counts[word] += 1
                if word == 'begins':
                    self.claims[task_id].append(float(token.partition('-')[2]))
                    handed[task_id, token] += 1
                elif word == 'ends':
                    self.ended[task_id].append(what)
                elif word == 'trouble':
                    self.troubles.append(f'{task_id}: {what}')
        self.twice = [f'{task_id} {token}' for (task_id, token), count in handed.items() if count > 1]

    def begins_behind(self, task_id: str, other: str) -> bool:
        """Whether a task was handed out only after the other one was for the last time, as far as is known."""
        mine, its = self.claims.get(task_id), self.claims.get(other)
        return not mine or not its or min(mine) > max(its)


class Ended:
    """A flow that has ended, with what became of its tasks."""

    def __init__(
        self, sent: Sent, state: TorrelqueTaskState, outcomes: Iterable[TorrelqueOutcome], journals: Journals
    ) -> None:
        self.sent = sent
        self.state = state
        self.outcomes = {str(one.id).removeprefix(f'{sent.id}.'): one for one in outcomes}
        self.tasks = {task['name']: task for task in sent.tasks}
        self.journals = journals

    def _id(self, name: str) -> str:
        return name if name in self.sent.joined else f'{self.sent.id}.{name}'

    def how(self, name: str) -> str | None:
        return HOWS.get(str(self.outcomes[name].how)) if name in self.outcomes else None

    def check(self) -> Iterator[Fault]:
        """All that is wrong with it."""
        for text in itertools.chain(self._check_counts(), self._check_told()):
            yield Fault(14, None, f'flow {self.sent.id}: {text}')
        for name in self.outcomes:
            for text in self._check_task(name):
                yield Fault(14, None, f'{self.sent.id}.{name}: {text}; {self._show(name)}')

    def _show(self, name: str) -> str:
        around = {other: self.outcomes.get(other) for other in self._edges(name)}
        return f'{self.outcomes[name]}, behind {around}, {self.sent.on_failure}, cancelled {self.sent.cancels} times'

    # The flow

    def _check_counts(self) -> Iterator[str]:
        state, sent = self.state, self.sent
        hows = Counter(self.how(name) for name in self.outcomes)
        # One that goes in several calls may have been cancelled before the last of them.
        is_part = len(self.tasks) > 250 and self._cancels() > 0
        if (missing := {*self.tasks} - {*self.outcomes}) and not is_part:
            yield f'nothing is known of {sorted(missing)}'
        if hows[None] or state.left or state.dead or state.total != len(self.outcomes) and not is_part:
            yield f'{hows[None]} of {len(self.outcomes)} have not ended, and its state is {state}'
        # Of one whose place others have taken it is their end that counts.
        failed = sum(self.how(name) in ('f', 'x') and not self._gave_its_place(name) for name in self.outcomes)
        if state.failed != failed:
            yield f'{failed} of its tasks have failed, and it counts {state.failed}'
        may = {Status.REJECTED if failed else Status.COMPLETED}
        if sent.cancels or sent.timeout or sent.on_failure == 'cancel' and failed:
            may.add(Status.CANCELLED)
        if state.status not in may:
            yield f'it is {state.status.name}, with {failed} failures'

    def _check_told(self) -> Iterator[str]:
        expected = [self.outcomes[name].result for name in self.sent.out if name in self.outcomes]
        for told in self.sent.told:
            if self.state.status is not Status.COMPLETED or expected not in (told, [told]):
                yield f'somebody was told {told}, and it is {self.state.status.name} with {expected}'

    # A task

    def _edges(self, name: str) -> dict[str, str]:
        """Those that a task waits for, also those that have come while the flow ran."""
        if name in self.sent.joined:
            return {self.sent.joined[name]: 'then'}
        if name not in self.tasks:
            parent, _, last = name.rpartition('.')
            rest = self._added(parent) if last == 'total' else []
            return dict.fromkeys((one for one in rest if one != name), 'then')
        edges: dict[str, str] = dict(self.tasks[name].get('after', {}))
        for other, kind in [*edges.items()]:
            if self.tasks[other]['payload']['task'] == 'torrelque.map':
                edges |= dict.fromkeys(self._added(other), kind)
            elif self.tasks[other]['payload']['task'] in ('grows', 'splits'):
                edges |= dict.fromkeys([one for one in self._added(other) if one.endswith('.total')], kind)
        return edges

    def _gave_its_place(self, name: str) -> bool:
        return self._function(name) == 'splits' and f'{name}.total' in self.outcomes

    def _added(self, name: str) -> list[str]:
        return [other for other in self.outcomes if other.startswith(f'{name}.')]

    def _check_task(self, name: str) -> Iterator[str]:
        outcome, how, edges = self.outcomes[name], self.how(name), self._edges(name)
        task_id, journals = self._id(name), self.journals
        claims, error = journals.claims.get(task_id), outcome.error or ''
        is_any = self.tasks.get(name, {}).get('join') == 'any'
        function = self._function(name)
        fit = [fits(kind, self.how(other)) for other, kind in edges.items()]
        # One that has died before it was redriven was an end for those who wait for a failure, or for any.
        may = [one or kind != 'then' for one, kind in zip(fit, edges.values(), strict=True)]
        if error.startswith(SKIPPED):
            if claims:
                yield 'it was skipped, and has begun'
            if True in fit if is_any else False not in fit:
                yield 'it was skipped, though it could begin'
        elif (how == 'c' or claims) and fit and not (any(may) if is_any else all(may)):
            yield 'it has begun before it could'
        if how == 'c' and function != 'torrelque.map' and not journals.ended.get(task_id):
            yield 'it has completed, and its function has not'
        if how == 'c' and (why := self._check_value(name, function)):
            yield why
        if how == 'f' and error == 'cancelled' and name not in self.sent.cancelled:
            yield 'it was cancelled by nobody'
        if how == 'x' and self.state.status is not Status.CANCELLED:
            yield 'it was cancelled with a flow that was not'
        if how == 'x' and edges and {*edges.values()} == {'end'} and self._cancels() < 2:
            yield 'it was to clean up, and was cancelled'
        if not is_any:
            for other, kind in edges.items():
                is_last = kind == 'then' or self.sent.on_failure == 'skip' and self.how(other) == 'c'
                if is_last and not journals.begins_behind(task_id, f'{self.sent.id}.{other}'):
                    yield f'it was handed out before {other} was for the last time'

    def _cancels(self) -> int:
        """How often it may have been cancelled."""
        return self.sent.cancels + (self.sent.on_failure == 'cancel') + (self.sent.timeout is not None)

    def _function(self, name: str) -> str:
        if name in self.sent.joined:
            return 'alone'
        if name in self.tasks:
            return str(self.tasks[name]['payload']['task'])
        last = name.rpartition('.')[2]
        return 'each' if last.isdecimal() else last.partition('-')[0]

    def _check_value(self, name: str, function: str) -> str:
        """Whether a task has returned what follows from the results of those before it."""
        found, task = self.outcomes[name].result, self.tasks.get(name)
        if function == 'alone':
            values = [2]
        elif task is None:
            parent, _, last = name.rpartition('.')
            if function == 'each':
                [source] = [source for _, source in self.tasks[parent]['from']]
                values = [value_of('each', [self.outcomes[source].result[int(last)]])]
            elif function == 'total':
                rest = [self.outcomes[one].result for one in self._added(parent) if not one.endswith('.total')]
                values = [value_of('total', [rest])]
            else:
                place = int(last.partition('-')[2] or 1) - 1
                number = self.tasks[parent]['payload']['args'][0]['n']
                values = [value_of('work', [{'n': number + place}])]
        elif function == 'torrelque.map':
            values = [len(self.outcomes[source].result) for _, source in task['from']]
        else:
            values = [value_of(function, args) for args in self._args(task)]
        return '' if found in values else f'it was to return one of {values}'

    def _args(self, task: Mapping[str, Any]) -> Iterator[list[Any]]:
        """What a function may have been given."""
        payload = json.loads(json.dumps(task['payload']['args']))
        entries = task.get('from', [])
        for places in itertools.product(*(self._given(entry) for entry in entries)):
            args = json.loads(json.dumps(payload))
            for (path, *_), value in zip(entries, places, strict=True):
                place = args
                for key in path[1:-1]:
                    place = place[key]
                place[path[-1]] = value
            yield args

    def _given(self, entry: list[Any]) -> list[Any]:
        _, source, *how = entry
        if how == ['first']:
            return [self.outcomes[one].result for one in source if self.how(one) == 'c']
        if how == ['all']:
            return [[value for one in source for value in self._results(one)]]
        [value] = [self._results([source, *how] if how else source)]
        return [value if how else value[0]]

    def _results(self, one: Any) -> list[Any]:
        if isinstance(one, str):
            return [self.outcomes[one].result]
        return [self.outcomes[f'{one[0]}.{number}'].result for number in range(self.outcomes[one[0]].result)]
