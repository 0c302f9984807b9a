"""The JSON of operators: schemas that are made of the values, and lines that are read into these.

``python -m support.schemas`` writes ``docs/schema``, where a value has changed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from torrelque import TorrelqueTaskStatus
from torrelque.cli.answers import (
    ChangeAnswer,
    ConfigAnswer,
    EndAnswer,
    EnqueueAnswer,
    InstantAnswer,
    LimitAnswer,
    PauseAnswer,
    ProblemAnswer,
    ScheduleAnswer,
    ShardAnswer,
    SinkAnswer,
    SweepAnswer,
)
from torrelque.operate import (
    Act,
    AlertView,
    Errors,
    Finding,
    FlowView,
    Found,
    FunctionView,
    GroupView,
    Outcome,
    Overview,
    Reason,
    Record,
    ScheduleView,
    TaskView,
    WorkerView,
)

FOLDER = Path(__file__).parents[2] / 'docs' / 'schema'

TYPES: dict[str, type] = {
    'act': Act, 'alert': AlertView, 'change': ChangeAnswer, 'config': ConfigAnswer,
    'end': EndAnswer, 'enqueue': EnqueueAnswer, 'errors': Errors, 'finding': Finding,
    'flow': FlowView, 'found': Found,
    'function': FunctionView, 'group': GroupView, 'instant': InstantAnswer, 'limit': LimitAnswer,
    'outcome': Outcome, 'overview': Overview,
    'pause': PauseAnswer, 'problem': ProblemAnswer,
    'reason': Reason, 'record': Record, 'schedule': ScheduleView, 'scheduled': ScheduleAnswer,
    'shard': ShardAnswer,
    'sink': SinkAnswer, 'sweep': SweepAnswer, 'task': TaskView,
    'worker': WorkerView,
}  # fmt: skip
"""What commands write with ``--json``, by the names of the files."""

NO_LIMIT = {'GroupView': ('limit',)}
"""Numbers for which no limit is infinite, which JSON does not have: null stands for it."""

T = TypeVar('T')


def schema_of(kind: type) -> str:
    """The schema of a value, as text."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template='#/$defs/{name}')
    for name, part in parts.items():
        properties = part.get('properties', {})
        for field in NO_LIMIT.get(name, ()):
            properties[field]['anyOf'] = [{'type': properties[field].pop('type')}, {'type': 'null'}]
        for field in properties.values():
            # Bytes are a text: what is no UTF-8 stands there as escapes.
            for one in (field, *field.get('anyOf', ())):
                one.pop('contentEncoding', None)
    if 'TorrelqueTaskStatus' in parts:
        parts['TorrelqueTaskStatus']['enum'] = [status.name.lower() for status in TorrelqueTaskStatus]
    whole = {'$schema': 'https://json-schema.org/draft/2020-12/schema', **schema, '$defs': parts}
    return json.dumps(whole, indent=2) + '\n'


def read_as(kind: type[T], line: str) -> T:
    """A value of a line of JSON; a field that is missing, or of another type, fails."""
    data = json.loads(line)
    missing = {*get_type_hints(kind)} - {*data}
    assert not missing, f'{kind.__name__} without {missing}'
    for name in NO_LIMIT.get(kind.__name__, ()):
        data[name] = math.inf if data[name] is None else data[name]
    for view in [data] if kind is ScheduleView else ():
        view['raw'] = None if view['raw'] is None else view['raw'].encode('utf-8', 'surrogatepass')
    for task in [data] if kind is TaskView else data.get('examples', ()):
        task['status'] = task['status'] and TorrelqueTaskStatus[task['status'].upper()].value
        task['raw'] = None if task['raw'] is None else task['raw'].encode('utf-8', 'surrogatepass')
    for one in [data, *data['tasks']] if kind is FlowView else ():
        one['status'] = one['status'] and TorrelqueTaskStatus[one['status'].upper()].value
    found: Any = msgspec.convert(data, kind)
    return found  # type: ignore[no-any-return]


if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for name, kind in TYPES.items():
        (FOLDER / f'{name}.json').write_text(schema_of(kind))
