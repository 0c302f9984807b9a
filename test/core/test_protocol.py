"""Calls are values: what is built and parsed without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

import torrelque
from torrelque import codec
from torrelque.codec import JSON
from torrelque.protocol import check, options, refusals, replies
from torrelque.protocol.calls import Calls
from torrelque.protocol.keys import DECLARED, make_keys
from torrelque.protocol.transition import Transition


def test_a_call_is_packed_once_and_the_same_in_both_forms() -> None:
    keys = make_keys('q')
    transition = Transition('stats', keys)
    packed = transition.pack(['ü', b'\xff'], False, False)
    words = transition.words(['ü', b'\xff'], False)
    assert packed.startswith(b'*%d\r\n$7\r\nEVALSHA\r\n$40\r\n' % len(words))
    assert packed.endswith(b'$0\r\n\r\n$2\r\n\xc3\xbc\r\n$1\r\n\xff\r\n')
    assert transition.pack([], True, True).endswith(b'$1\r\n1\r\n')
    assert words[3:-3] == [keys[name].encode() for name in DECLARED] and words[-3:] == ['', 'ü'.encode(), b'\xff']


@pytest.mark.parametrize('fast', [True, False])
def test_json_is_that_of_the_standard_library(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    if not fast:
        monkeypatch.setattr(json.encoder, 'c_make_encoder', None)
    dumps = codec._make_dumps()
    for value in (None, True, -1, 1.5, 'ü"\n', [], {}, {'a': [{'b': ()}], 1: None}, [[1, 2], 'x' * 1000], 10**30):
        assert dumps(value) == json.dumps(value, separators=(',', ':')).encode()
        for text in (json.dumps(value), f' \n{json.dumps(value)}', f'{json.dumps(value)}\t '):
            assert JSON.loads(text.encode()) == json.loads(text)
    circle: list[Any] = []
    circle.append(circle)
    bad: tuple[Any, ...] = (circle, {1: object()}, {(1,): 2})
    for value in bad:
        with pytest.raises((TypeError, ValueError, RecursionError)):
            dumps(value)
    for data in (b'', b' ', b'{', b'1 2', b'\xff'):
        with pytest.raises(ValueError, match=r'Expecting|Extra|utf-8'):
            JSON.loads(data)


def test_seconds_become_whole_milliseconds() -> None:
    assert [check.milliseconds(s, 't') for s in (0, 0.0, 0.00001, 0.0015, 1, 2.5)] == [0, 0, 1, 2, 1000, 2500]


def test_options_are_short_where_nothing_is_special() -> None:
    assert options.enqueue_options(300, None, None, None) == '300000'
    assert options.enqueue_options(1, 0.5, 3, 'm') == '{"timeout":1000,"delay":500,"max_attempts":3,"mark":"m"}'
    assert options.enqueue_options(1, 0, None, None) == '{"timeout":1000}'


def test_marks_are_short_and_all_different() -> None:
    both = [Calls('q', JSON, None) for _ in range(2)]
    some = [its_calls.mark() for its_calls in both for _ in range(1000)]
    assert {len(mark) for mark in some} == {15} and len(set(some)) == 2000


@pytest.mark.parametrize(
    ('message', 'code'),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:1.", 'OOM'),
        ('ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed', 'OOM'),
        ('ERR Error running script (call to f_1): @user_script:3: -READONLY You can', 'READONLY'),
        ('NOSCRIPT No matching script. Please use EVAL.', 'NOSCRIPT'),
        ('MOVED 1 127.0.0.1:1', 'MOVED'),
        ('ERR unknown', 'ERR'),
    ],
)
def test_errors_of_servers_old_and_new_are_told_apart(message: str, code: str) -> None:
    assert refusals.error_code(message) == code


@pytest.mark.parametrize('reply', [b'ok', 'ok', [b'ok'], ['ok'], b'dead', [b'dead']])
def test_done_outcomes(reply: Any) -> None:
    assert torrelque.read_outcome(reply) is True


@pytest.mark.parametrize('reply', [[b'lease_lost'], ['unknown'], [b'cancelled'], ['not_working']])
def test_refused_outcomes(reply: Any) -> None:
    assert torrelque.read_outcome(reply) is False


def test_a_state_is_read_from_its_values() -> None:
    known = {'status': b'1', 'timeout': b'1500', 'enqueue_time': b'1700000000123', 'dequeue_count': b'2'}
    state = replies.read_state([known.get(name) for name in replies.STATE_FIELDS], torrelque.codec.JSON)
    assert state
    assert (state.timeout, state.enqueue_time, state.dequeue_count) == (1.5, 1700000000.123, 2)
    assert state.status is torrelque.TorrelqueTaskStatus.WORKING
    assert replies.read_state([None] * len(replies.STATE_FIELDS), torrelque.codec.JSON) is None
