"""Values of operators made by hand, and an operator that answers with them: for how answers are shown."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import pytest

import torrelque.cli.session
import torrelque.operate
from torrelque import TorrelqueLookupError, TorrelqueTaskStatus
from torrelque.cli import main
from torrelque.operate import ErrorGroup, Found, Overview, Record, ScheduleView, Sizes, TaskView, Totals, WorkerView

NOW = 1_800_000_000.0

HOSTILE = (
    '\x1b]0;owned\x07\x1b[2J\x1b[35;5m[bold]b[/bold][link=http://x]l[/link]\r\n\t\x9b1m\x85\u202eabc\u2066\u200f'
    '\u0301e\u0301 龜🐢\U0001f468\u200d\U0001f469 \ud800\udcff\x00\x7f\u2028\ufeff\u00ad redis://joe:secret@host/0 '
)
"""What no terminal is to get as it is: escape sequences, ends of lines, marks of direction, halves of characters, what
rich takes for markup, and a password."""

T = TypeVar('T')


def hostile(kind: type[T], text: str = HOSTILE, **given: Any) -> T:
    """A value of operators in which each text is hostile, each number is large, and nothing is missing."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: given[name] if name in given else _made(hint, text) for name, hint in hints.items()})


def _made(hint: Any, text: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _made(next(one for one in inner if one is not type(None)), text)
    if origin is tuple:
        return tuple(_made(one, text) for one in ((inner[0],) * 2 if inner[1:] == (...,) else inner))
    if hint is Any:
        return {text: [text, 2**63, None, {'x': text}]}
    if dataclasses.is_dataclass(hint):
        return hostile(hint, text)  # type: ignore[arg-type]
    if issubclass(hint, enum.Enum):
        return TorrelqueTaskStatus.PENDING
    found = {str: text, bytes: text.encode('utf-8', 'surrogatepass'), bool: True, int: 2**63, float: NOW}
    return found[hint]


class MadeQueue:
    """A queue that has a name, and nothing else."""

    def __init__(self, name: str, states: Sequence[Any] = ()) -> None:
        self.name = name
        self._states = states

    async def watch(self, task_id: str) -> AsyncIterator[Any]:
        for state in self._states:
            yield state


class MadeOperator:
    """Answers with what it was given, by the name of the question; what is an exception is raised.

    :param answers: of `tasks` the tasks of which `task`, `tasks` and `page` tell; of all else the answer itself.
    """

    def __init__(self, names: Sequence[str] = ('mail',), states: Sequence[Any] = (), **answers: Any) -> None:
        self.queues = [MadeQueue(name, states) for name in names]
        self.answers: Mapping[str, Any] = answers
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        """Questions and their arguments."""

    def queue(self, name: str) -> MadeQueue:
        return next(queue for queue in self.queues if queue.name == name)

    def __getattr__(self, name: str) -> Any:
        async def answer(*words: Any, **options: Any) -> Any:
            self.asked.append((name, {**options, **({'words': words} if words else {})}))
            found = self.answers[name]
            if isinstance(found, BaseException):
                raise found
            return found

        return answer

    async def task(self, task_id: str, **options: Any) -> TaskView:
        for task in self.answers['tasks']:
            if task.id == task_id and options.get('queue') in (None, task.queue):
                found: TaskView = task
                return found
        raise TorrelqueLookupError(f'there is no task {task_id!r}')

    async def flow(self, flow_id: str, **options: Any) -> Any:
        if flow := self.answers.get('flow'):
            return flow
        raise TorrelqueLookupError(f'there is no flow {flow_id!r}')

    async def tasks(self, selection: Any, **options: Any) -> AsyncIterator[TaskView]:
        self.asked.append(('tasks', {'selection': selection, **options}))
        for task in self.answers['tasks'][: options['most']]:
            yield task

    async def schedule(self, name: str, **options: Any) -> ScheduleView:
        for view in self.answers.get('schedules', ()):
            if view.name == name and options.get('queue') in (None, view.queue):
                found: ScheduleView = view
                return found
        raise TorrelqueLookupError(f'there is no schedule {name!r}')

    async def explain(self, task_id: str | None = None, **options: Any) -> Any:
        return self.answers['explain']

    async def history(self, length: float, **options: Any) -> Any:
        return self.answers['history']


def install(monkeypatch: pytest.MonkeyPatch, operator: MadeOperator, found: Sequence[Found] = ()) -> None:
    """Have commands of this process ask this operator, and no server."""

    @asynccontextmanager
    async def opened(*_: Any) -> AsyncIterator[tuple[None, list[Any]]]:
        yield None, []

    @asynccontextmanager
    async def client(*_: Any) -> AsyncIterator[None]:
        yield None

    async def known(_: Any) -> list[Found]:
        return [*found]

    async def scan(_: Any) -> AsyncIterator[Found]:
        for one in found:
            yield one

    monkeypatch.setattr(torrelque.cli.session, '_open_queues', opened)
    monkeypatch.setattr(torrelque.cli.session, '_open_client', client)
    monkeypatch.setattr(torrelque.operate, 'Operator', lambda *_, **__: operator)
    async def unknown(queue: MadeQueue) -> None:
        return None

    monkeypatch.setattr('torrelque.operate.known', known)
    monkeypatch.setattr('torrelque.cli.checking.unknown', unknown)
    monkeypatch.setattr('torrelque.cli.queues.scan', scan)


# Values that are as they should be, but for what is given


def overview(queue: str = 'mail', **given: Any) -> Overview:
    plain: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(Overview)}
    plain |= dict.fromkeys(('probe', 'oldest', 'oldest_dead', 'newest_dead', 'next_delayed', 'late_since', 'error'))
    plain |= {'overdue_since': None}
    plain |= dict.fromkeys(('broken', 'late_names', 'dry_names', 'away'), ())
    plain |= {'server_time': NOW, 'paused': False, 'exact': ('oldest',), 'workers': 1, 'slots': 10}
    return Overview(**{**plain, 'queue': queue, **given})


def task(task_id: str, **given: Any) -> TaskView:
    plain: dict[str, Any] = {field.name: None for field in dataclasses.fields(TaskView)}
    plain |= {'queue': 'mail', 'server_time': NOW, 'status': TorrelqueTaskStatus.PENDING, 'place': 'pending',
              'priority': 0, 'attempt': 0, 'forgiven': 0, 'requeue_count': 0, 'history': (),
              'token': '', 'function_known': True}  # fmt: skip
    return TaskView(**{**plain, 'id': task_id, **given})


def worker(name: str, **given: Any) -> WorkerView:
    plain: dict[str, Any] = {
        'queue': 'mail', 'state': 'running', 'host': 'web', 'pid': 1, 'version': '1', 'started': NOW - 1000,
        'seen': NOW, 'interval': 5.0, 'queues': ('mail',), 'functions': (), 'concurrency': 10, 'busy': 0, 'running': (),
        'succeeded': 0, 'failed': 0, 'dead': 0, 'lost': 0, 'hanging': 0, 'lag': 0.002, 'claimed': 0.0,
        'rss': 88_000_000, 'why': None,
    }  # fmt: skip
    return WorkerView(**{**plain, 'name': name, **given})


# Command lines on them


class Said(NamedTuple):
    """What a command has said, and how it ended."""

    code: int
    out: list[str]
    err: list[str]


Say = Callable[..., Said]


def make_say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What carries a command line out on an operator that was made, and on queues that are known; instants are UTC."""

    def call(words: str, operator: MadeOperator, found: Sequence[Found] = ()) -> Said:
        install(monkeypatch, operator, found)
        code = main([*words.split(), '--utc'])
        shown = capsys.readouterr()
        return Said(code, shown.out.splitlines(), shown.err.splitlines())

    return call


# More values


def error(fingerprint: str, count: int, dead: int, **given: Any) -> ErrorGroup:
    plain: dict[str, Any] = {
        'what': 'KeyError', 'where': 'mail.py:send', 'message': "'…'", 'first': NOW - 9000, 'last': NOW - 12,
        'functions': (), 'groups': (), 'attempts': (1, 3), 'sample': 'x', 'ids': (),
    }  # fmt: skip
    return ErrorGroup(fingerprint, count, dead, **{**plain, **given})


def minute(start: float, **given: Any) -> Record:
    plain: dict[str, Any] = {
        'queue': 'mail', 'length': 60.0, 'functions': (('send', Totals(100, 1, 0, 0, 5.0)),), 'run': (0, 9, 1),
        'wait': (10,), 'wait_time': 5.0, 'sizes': Sizes(7, 6, 5, 4, 3.0, 2, 20, 1),
    }  # fmt: skip
    return Record(**{**plain, 'start': start, **given})


BUSY = overview(
    'mail', pending=1_204_118, oldest=NOW - 854, ready=9821, working=300, delayed=1022, dead=41, workers=300,
    busy=300, slots=300, exact=(), newest_dead=NOW - 12, overdue=2, overdue_leases=1, stuck=1, lost=2, paused_groups=3,
)  # fmt: skip
PAUSED = overview('report', pending=381, oldest=NOW - 7200, ready=380, paused=True, slots=4, probe=NOW + 30)
IDLE = overview('invoice', workers=0, slots=0)
