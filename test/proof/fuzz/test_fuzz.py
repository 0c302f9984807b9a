"""What fuzzing has found is well now: the corpora, without atheris, with the steps of each input counted."""

from __future__ import annotations

import base64

import pytest

from proof.fuzz import targets
from proof.fuzz.feed import Feed
from proof.fuzz.targets import CORPUS, TARGETS, TooLongError, counted, found_before, kept, pack, replay, unpack
from torrelque.config import amounts

pytestmark = pytest.mark.one_server


@pytest.mark.parametrize('name', TARGETS)
def test_what_was_sought_out_before_is_judged_well(name: str) -> None:
    inputs = kept(name)
    assert inputs
    assert 0 < replay(name, inputs) <= TARGETS[name].steps


def test_corpora_are_small_and_sorted_and_each_input_is_there_once() -> None:
    files = sorted(CORPUS.iterdir())
    assert {path.stem for path in files} == {*TARGETS, 'found'}
    assert sum(path.stat().st_size for path in files) < 400_000
    for name in TARGETS:
        text = (CORPUS / f'{name}.txt').read_text('ascii')
        assert pack(unpack(text)) == text
    assert {name for name, _, _ in found_before()} <= {*TARGETS}
    assert all(what for _, _, what in found_before())


def test_the_same_bytes_are_the_same_values_and_have_an_end() -> None:
    data = bytes(range(256)) * 4
    first, second = Feed(data), Feed(data)
    assert repr([first.json() for _ in range(50)]) == repr([second.json() for _ in range(50)])
    empty = Feed(b'')
    assert (empty.json(), empty.text(), empty.number(), empty.some(empty.text), empty.rest()) == (None, '', 0, [], b'')
    assert empty.over


def test_what_takes_too_many_steps_is_ended() -> None:
    with pytest.raises(TooLongError), counted(10):
        for _ in range(10):
            amounts.seconds('5m')


def test_a_fault_is_told_with_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(feed: Feed) -> None:
        if feed.byte() == 7:
            raise KeyError('what')

    monkeypatch.setattr(targets, 'find', lambda name: fail)
    with pytest.raises(KeyError, match=f'times {base64.b64encode(bytes([7])).decode()}: '):
        replay('times', [b'\0', b'\7'])
