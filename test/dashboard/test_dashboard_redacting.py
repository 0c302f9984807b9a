"""What a visitor may see of payloads, results and errors."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from torrelque import TorrelqueTaskStatus, operate
from torrelque.dashboard.redacting import CUT, DOTS, Shield, first_bytes, parameters_of

SHIELD = Shield()
LEAK = 'password=hunter2'
SAFE = f'password={DOTS}'


def made(cls: type[Any], **fields: Any) -> Any:
    """A value of `torrelque.operate`, with what is not given empty or None."""
    empty = dict.fromkeys(inspect.signature(cls).parameters)
    return cls(**{**empty, **fields})


def task(**fields: Any) -> operate.TaskView:
    view: operate.TaskView = made(operate.TaskView, **{
        'queue': 'mail', 'id': '1', 'server_time': 0.0, 'status': TorrelqueTaskStatus.DEAD, 'history': (), **fields
    })  # fmt: skip
    return view


@pytest.mark.parametrize(('value', 'shown'), [
    ({'password': 'a', 'user': 'b'}, {'password': DOTS, 'user': 'b'}),
    ({'a': [{'apiKey': ['x', 'y']}, {'Set-Cookie': {'a': 'b'}}]}, {'a': [{'apiKey': DOTS}, {'Set-Cookie': DOTS}]}),
    ({'token': None, 'has_password': True, 'card': 4111}, {'token': None, 'has_password': True, 'card': DOTS}),
    ({b'secret': b'x', b'a': b'b'}, {'secret': DOTS, 'a': 'b'}),
    ([['authorization', 'x'], ['host', 'y']], [['authorization', DOTS], ['host', 'y']]),
    ([(b'x-api-key', b'x')], [['x-api-key', DOTS]]),
    (['x', '--password', 'y', '-v'], ['x', '--password', DOTS, '-v']),
    ([{'name': 'DB_PASSWORD', 'value': 'x'}, {'name': 'A', 'value': 'x'}],
     [{'name': 'DB_PASSWORD', 'value': DOTS}, {'name': 'A', 'value': 'x'}]),
    ('{"a": "[{\\"password\\": \\"x\\"}]"}', '{"a": "[{\\"password\\": \\"' + DOTS + '\\"}]"}'),
    ({'body': '{"a":  1}'}, {'body': '{"a":  1}'}),
    (LEAK, SAFE), ({LEAK: 1}, {SAFE: DOTS}), (LEAK.encode(), SAFE),
    (b'\xff\xfe', '<2 bytes>'), ({1: 2, 1.5: None, (1, 2): 3}, {1: 2, 1.5: None, '<tuple>': 3}),
    ((1, 'a'), [1, 'a']), (math.nan, None), (2**63, 2**63), (1 << 9000, '<a number of 9,001 bits>'),
    (datetime.date(2026, 1, 2), '2026-01-02'), (decimal.Decimal('1.50'), '1.50'), (int, '<int>'),
    (object(), '<object>'),
])  # fmt: skip
def test_value_is_redacted_by_keys_and_looks(value: Any, shown: Any) -> None:
    assert SHIELD.value(value) == shown


def test_objects_that_a_serialiser_makes_are_redacted_by_their_fields() -> None:
    @dataclasses.dataclass
    class Login:
        user: str
        password: str

    class Plain:
        def __init__(self) -> None:
            self.token, self.note = 'x', LEAK

    class Kind(enum.Enum):
        A = 'a'

    shown = SHIELD.value([Login('joe', 'hunter2'), Plain(), Kind.A])
    assert shown == [{'user': 'joe', 'password': DOTS}, {'token': DOTS, 'note': SAFE}, 'a']


def test_names_of_the_application_are_secret_too() -> None:
    assert Shield(keys=['Geheim-Zahl']).value({'geheimZahl': 1, 'a': 2}) == {'geheimZahl': DOTS, 'a': 2}
    assert Shield(keys='pin').value({'pin': 1, 'p': 2}) == {'pin': DOTS, 'p': 2}


def test_what_refers_to_itself_or_fails_is_bounded() -> None:
    ring: dict[str, Any] = {}
    ring['again'] = [ring, ring]
    deep: Any = LEAK
    for _ in range(2000):
        deep = [deep]

    class Failing(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise ValueError(LEAK)

        def __iter__(self) -> Any:
            raise KeyError(LEAK)

        def __len__(self) -> int:
            raise TypeError(LEAK)

    for value in (ring, deep, Failing(), {'a': Failing()}, [0] * 10**6, {n: n for n in range(10**6)},
                  'x' * 10**7, '[' * 60_000, '[' * 60_000 + LEAK, '\ud800' * 100, ['x' * 60_000] * 100):  # fmt: skip
        shown = json.dumps(SHIELD.value(value))
        assert 'hunter2' not in shown
        assert len(shown) < 8_000_000
    assert SHIELD.value(Failing()) == CUT
    assert SHIELD.value({'a': 1, 'deep': deep})['a'] == 1


def test_arguments_by_place_are_known_by_their_parameters() -> None:
    def charge(user: str, card_number: str, note: str, *tokens: str, amount: int = 0) -> None: ...

    def find(name: str) -> tuple[str, ...]:
        return {'charge': parameters_of(charge)}[name]

    assert parameters_of(charge) == ('user', 'card_number', 'note', '*tokens')
    call = {'task': 'charge', 'args': ['joe', '4111', 'hi', 'x', 'y'], 'kwargs': {'amount': 5}}
    known = Shield(parameters=find)
    assert known.value(call) == {**call, 'args': ['joe', DOTS, 'hi', DOTS, DOTS]}
    assert known.value({'nested': [call]}) == {'nested': [{**call, 'args': ['joe', DOTS, 'hi', DOTS, DOTS]}]}
    assert known.value({'task': 'other', 'args': ['a', LEAK, 1, 2]}) == {'task': 'other', 'args': ['a', SAFE, 1, 2]}
    assert known.value({'task': 'charge', 'args': 5}) == {'task': 'charge', 'args': 5}
    assert parameters_of(int) in ((), ('x', 'base')) or parameters_of(int)


def test_task_has_nothing_left_of_what_is_secret() -> None:
    view = task(
        payload={'task': 'a', 'kwargs': {'password': 'hunter2'}}, raw=b'{"password": "hunter2"}', size=23,
        result={'secret': 'hunter2'}, progress={'note': LEAK}, error=f'Traceback\nValueError: {LEAK}',
        history=(operate.Attempt(1, 0.0, 1.0, LEAK),), function='a',
    )  # fmt: skip
    shown = SHIELD.task(view)
    assert 'hunter2' not in json.dumps(shown.as_json()) + repr(shown)
    assert (shown.raw, shown.size, shown.error_line) == (None, 23, f'ValueError: {SAFE}')
    assert shown.payload == {'task': 'a', 'kwargs': {'password': DOTS}}
    assert Shield('full').task(view) == view == SHIELD.open().task(view) == Shield('hidden').open().task(view)


def test_hidden_is_all_but_a_number_of_progress() -> None:
    view = task(payload=[1], raw=b'[1]', size=3, result=5, progress=0.4, error=LEAK)
    shown = Shield('hidden').task(view)
    assert (shown.payload, shown.raw, shown.result, shown.progress, shown.error) == (None, None, None, 0.4, SAFE)
    assert Shield('hidden').task(task(progress='half')).progress is None
    assert Shield('hidden').value('x') is None


def test_result_of_a_function_that_gives_secrets_is_hidden() -> None:
    assert SHIELD.task(task(function='auth.issue_token', result='a8f3')).result == DOTS
    assert SHIELD.task(task(function='auth.issue_token', result={'ok': True})).result == {'ok': True}
    assert SHIELD.task(task(function='token.send_mail', result='sent')).result == 'sent'


def test_schedule_flow_and_what_stands_in_the_way_have_nothing_left_either() -> None:
    schedule = made(operate.ScheduleView, payload={'token': 'hunter2'}, raw=b'hunter2', spec={'password': 'hunter2'})
    member = made(operate.FlowTaskView, name='a', error=LEAK)
    flow = made(operate.FlowView, task={'secret': 'hunter2'}, tasks=(member,), error=LEAK)
    holder = made(operate.Holder, id='1', doing='delayed', error=LEAK)
    reason = made(operate.Reason, code='x', text=LEAK, error=LEAK, holders=(holder,))
    group = made(operate.ErrorGroup, what=LEAK, message=LEAK, sample=LEAK)
    away = operate.AwayShard('q', 1, 'q:1', 'redis://here', LEAK)
    shown = [
        SHIELD.schedule(schedule), SHIELD.flow(flow), SHIELD.reason(reason), SHIELD.act(made(operate.Act, what=LEAK)),
        SHIELD.errors(operate.Errors('q', 0.0, (group,), 1, 1, 0, 0)),
        SHIELD.overview(made(operate.Overview, away=(away,), error=LEAK)),
        SHIELD.page(operate.Page('q', 'dead', 0.0, (task(error=LEAK),), None, 1)),
    ]  # fmt: skip
    assert 'hunter2' not in repr(shown) + json.dumps([one.as_json() for one in shown])
    assert repr(shown).count(DOTS) == 15
    assert Shield('full').flow(flow) == flow


def test_what_an_application_shows_of_its_own_format_is_redacted_too() -> None:
    def show(view: Any) -> Any:
        return {'length': len(view.raw), 'password': 'hunter2', 'note': LEAK}

    def fail(view: Any) -> Any:
        raise ValueError(view.raw)

    view = task(raw=b'\x80\x04hunter2', size=9)
    assert Shield(show=show).task(view).payload == {'length': 9, 'password': DOTS, 'note': SAFE}
    assert Shield('full', show=show).task(view).payload == {'length': 9, 'password': 'hunter2', 'note': LEAK}
    assert Shield('hidden', show=show).task(view).payload is None
    assert Shield(show=fail).task(task(raw=b'1', payload=1)).payload == 1
    assert Shield(show=lambda _: None).task(task(raw=b'1', payload=1)).payload == 1
    assert Shield(show=fail).task(task()).payload is None


def test_bytes_of_an_unknown_format_are_seen_by_open_shields_alone() -> None:
    view = task(raw=b'\x80\x04\x95', size=3)
    assert SHIELD.task(view).raw is None
    assert (raw := SHIELD.open().task(view).raw) is not None
    assert first_bytes(raw) == '80 04 95'
    assert first_bytes(bytes(100), 2) == '00 00 …'


def test_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="payloads must be one of hidden, redacted, full, not 'none'"):
        Shield('none')


def test_no_text_of_a_view_was_forgotten() -> None:
    """A field that comes to a value of `operate` and may have a text of the application must be thought of here."""
    fields = {cls.__name__: {one.name for one in dataclasses.fields(cls) if 'Any' in str(one.type)}
              for cls in (operate.TaskView, operate.ScheduleView, operate.FlowView, operate.FlowTaskView)}  # fmt: skip
    assert fields == {
        'TaskView': {'progress', 'result', 'payload'}, 'ScheduleView': {'spec', 'payload'}, 'FlowView': {'task'},
        'FlowTaskView': set(),
    }  # fmt: skip
    told = {
        cls.__name__ for cls in map(operate.__dict__.get, operate.__all__)
        if isinstance(cls, type) and dataclasses.is_dataclass(cls)
        and {'error', 'history', 'sample', 'raw'} & {*typing.get_type_hints(cls)}
    }  # fmt: skip
    assert told == {
        'TaskView', 'ScheduleView', 'FlowView', 'FlowTaskView', 'ErrorGroup', 'Holder', 'Reason', 'Attempt', 'Overview',
        'Selection',  # whose error is a fingerprint
    }  # fmt: skip


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
VALUES = st.recursive(LEAVES, lambda it: st.lists(it, max_size=4) | st.dictionaries(st.text(max_size=10), it,
max_size=4))


@settings(deadline=None)
@given(VALUES, st.sampled_from(['password', 'X-Api-Key', 'userToken']), st.integers(0, 4))
def test_secret_is_hidden_wherever_it_is(value: Any, key: str, wraps: int) -> None:
    inner: Any = {'before': value, key: 'hunter2-hunter2', 'after': [value]}
    for wrap in range(wraps):
        inner = [inner, value] if wrap % 2 else {'a': inner}
    assert 'hunter2' not in json.dumps(SHIELD.value(inner))
    try:
        text = json.dumps(inner)
    except TypeError:
        return
    assert 'hunter2' not in json.dumps(SHIELD.value({'body': text}))
    assert 'hunter2' not in SHIELD.text(f'refused: {text}')
    assert 'hunter2' not in SHIELD.text(f'refused: {inner!r}')


def test_module_reads_no_pickles() -> None:
    source = Path(inspect.getfile(Shield)).read_text()
    assert 'pickle' not in source
