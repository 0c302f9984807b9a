"""Faults that fuzzing has found, each by itself."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context

from proof.fuzz.feed import Feed
from proof.fuzz.judging import drive
from proof.fuzz.server import DEEP
from proof.fuzz.target_payloads import Results
from torrelque import TorrelqueError, TorrelqueTaskId, TorrelqueValueError
from torrelque.codec import JSON
from torrelque.config import Config, ConfigError, amounts
from torrelque.cron import Calendar
from torrelque.flows.inputs import fill_in
from torrelque.operate import Selection
from torrelque.protocol import check, flows, steps
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import READERS, STATE_FIELDS, read_limit
from torrelque.protocol.words import UnreadableError
from torrelque.sharded.shards import read_shape
from torrelque.telemetry import Telemetry
from torrelque.worker import Delivery, Job, Reject
from torrelque.worker.bounds import Bounds
from torrelque.worker.delivery import Common

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize('value', [
    b'{"rate": [Infinity, 1000]}', b'{"rate": [1, NaN]}', b'{"concurrency": NaN}', b'{"concurrency": "x"}',
    b'[' * 100_000,
])  # fmt: skip
def test_limits_that_are_no_numbers_are_told(value: bytes) -> None:
    with pytest.raises(TorrelqueError, match='limits cannot be read') as told:
        read_limit(value)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(('name', 'reply'), [
    ('stats', [b'ok', 1, 2, None, 4, 5]), ('group', [b'ok', None, 1, None, None, 0, 0]), ('open', [b'ok', b'x']),
])  # fmt: skip
def test_a_number_of_a_reply_that_is_none_is_told_by_its_reader(name: str, reply: list[Any]) -> None:
    with pytest.raises(UnreadableError, match=f'to {name} cannot be read'):
        READERS[name](reply)


def test_a_value_of_a_flow_that_is_nested_too_deeply_is_told() -> None:
    calls = Calls('q', JSON, None)
    walk = steps.Walk(flows.get_value(calls, 'one', 'key'))
    assert walk.go_on()
    with pytest.raises(TorrelqueError, match="the value 'key' of flow 'one' cannot be read: RecursionError") as told:
        walk.go_on(DEEP)
    assert not isinstance(told.value, UnreadableError)
    # Of a flow itself the ids of those that have its results are read as well.
    walk = steps.Walk(flows.get_task_state(calls, 'one'))
    walk.go_on()
    final = dict.fromkeys(STATE_FIELDS) | {'status': b'3', 'total': b'1', 'left': b'0'}
    assert walk.go_on([*final.values()])
    with pytest.raises(UnreadableError):
        walk.go_on(DEEP)


def test_a_rate_in_hardly_any_time_is_refused() -> None:
    with pytest.raises(TorrelqueValueError, match='the seconds of a rate must be more than 0'):
        check.check_rate((5, 1e-300))


@pytest.mark.parametrize('found', [
    {'traceparent': 5}, {'traceparent': True}, {'baggage': ['x']}, {5: 'x'}, {'baggage': 'a=\ud800'},
])  # fmt: skip
def test_a_context_that_is_no_text_is_left_out(found: dict[Any, Any]) -> None:
    # The attempt would fail, and not by its function.
    assert isinstance(Telemetry()._find({'context': found}), Context)


@pytest.mark.parametrize('text', ['[queues.mail]\nmax_tasks = ' + '9' * 5000, 'a = 1\nb = -' + '1' * 4400])
def test_a_number_of_thousands_of_digits_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'torrelque.toml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=f'{path}: it is no TOML: .*digits'):
        Config.load(path)


def test_a_time_that_no_queue_takes_is_no_time_of_a_file() -> None:
    assert amounts.length(1e10) == 1e10
    for value in (1.1e10, '999999d', '99999999999999999999d'):
        with pytest.raises(ValueError, match=f'{value!r} is no time'.replace('+', '.')):
            amounts.length(value)


@pytest.mark.parametrize('length', [1234567.5, 1e-06, 0.0000001, 1.0000000001, 0.0, 90.0, 86400.0, 9999999999.5])
def test_a_time_is_written_so_that_it_is_read_as_the_same(length: float) -> None:
    assert amounts.length(amounts.spell(length)) == length
    if 1e-6 <= length < 1e9 and round(length, 6) == length:
        assert amounts.rate_of(amounts.spelt((5, length))) == (5, length)


@pytest.mark.parametrize('moving', [0, -1, 'x', 2.5, None, [1], 4])
def test_a_map_that_says_nothing_of_a_division_is_refused(moving: Any) -> None:
    said = {'generation': 1, 'keyed': 2, 'tags': ['q:0', 'q:1', 'q:2'], 'moving': moving}
    with pytest.raises(TorrelqueError, match='the map of the shards cannot be read'):
        read_shape(json.dumps(said), 'q')
    assert read_shape(json.dumps({**said, 'moving': 3}), 'q')[0].keyed == 2


@pytest.mark.parametrize('instant', ['0001-01-01T00:00:00+23:59', '9999-12-31T23:59:59-23:59'])
def test_instants_at_the_ends_of_the_calendar_are_written(instant: str) -> None:
    selection = Selection.from_json({'older': instant})
    assert selection.as_json() == {'older': instant}
    assert instant in selection.describe()


@pytest.mark.parametrize('zone', ['UTC', 'Europe/Berlin', 'America/New_York'])
def test_a_calendar_ends_with_the_year_9999(zone: str) -> None:
    last = datetime.max.replace(tzinfo=timezone.utc)
    assert [*Calendar('0 0 * * *', zone).after(last)] == []
    found = [*Calendar('0 0 * * *', zone).after(last - timedelta(days=4))]
    assert 2 < len(found) < 6
    first = datetime.min.replace(tzinfo=timezone.utc)
    assert len([*itertools.islice(Calendar('0 0 1 1 *', zone).after(first), 2)]) in (0, 2)


@pytest.mark.parametrize('entry', [
    [['args', 0], ['f.a']], [['args', 0], ['f.a'], 'one'], [['args', 0], [['f.a']], 'each'], [['args', 0], 'f.a', {}],
])  # fmt: skip
def test_a_task_that_does_not_say_what_it_takes_is_rejected(entry: list[Any]) -> None:
    task = {'task': 'one', 'args': [None], 'flow': 'f', 'from': [entry]}
    common = Common(None, Bounds())  # type: ignore[arg-type]
    queue: Any = Results(Feed(b''))
    delivery = Delivery(queue, TorrelqueTaskId('f.x', 1, '1-1'), task, Job(print), math.inf, common, lambda: None)
    with pytest.raises(Reject):
        drive(fill_in(delivery))
