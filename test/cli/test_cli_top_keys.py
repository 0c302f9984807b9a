"""What keys make of what the live view shows, and which acts come of them."""

from __future__ import annotations

import pytest

from support.pressing import pressed
from torrelque.cli.keys import Keys
from torrelque.cli.topkeys import SORTS, Act, Row, Spot, State, index_of, press
from torrelque.operate import Plan


def test_keys_are_cut_out_of_what_a_terminal_sends() -> None:
    for sent, keys in {
        b'j': ['j'], b'\x1b[A\x1bOB': ['up', 'down'], b'\x1b[5~\x1b[6~': ['page-up', 'page-down'],
        b'\r\n\t\x7f': ['enter', 'enter', 'tab', 'backspace'], b'\x1b[Z': ['back-tab'],
        b'\x1b[H\x1b[4~': ['home', 'end'],
        'żółw'.encode(): [*'żółw'], b'\x1b\x1b[A': ['escape', 'up'], b'\x1bx': ['escape', 'x'],
        b'\x00\x01\xffa': ['\ufffd', 'a'], b'\x1b[1;5C\x1b[200~a': ['a'], b'\x1b[<0;1;1Ma': ['a'],
    }.items():  # fmt: skip
        assert Keys().feed(sent) == keys, sent


def test_keys_may_come_in_pieces() -> None:
    keys = Keys()
    assert keys.feed(b'\x1b') == [] and keys.pending
    assert keys.feed(b'[') == [] and keys.feed(b'A') == ['up'] and not keys.pending
    assert keys.feed('ż'.encode()[:1]) == [] and keys.feed('ż'.encode()[1:]) == ['ż']
    # Nothing comes behind it, so it was a key of its own.
    assert keys.feed(b'\x1b') == [] and keys.flush() == ['escape'] and not keys.pending
    assert keys.flush() == []


def test_a_row_is_marked_by_its_name_and_stays_marked_when_rows_move() -> None:
    rows = ['a', 'b', 'c']
    assert index_of(Spot('queues'), [Row(row) for row in rows]) == 0
    state = pressed(State(), 'down', rows)
    assert state.spot.chosen == 'b'
    assert index_of(state.spot, [Row('b'), Row('a')]) == 0
    assert index_of(state.spot, [Row('c')]) == 0
    assert pressed(state, 'j j j', rows).spot.chosen == 'c'
    assert pressed(state, 'up k page-up', rows).spot.chosen == 'a'
    assert pressed(state, 'G', rows).spot.chosen == pressed(state, 'page-down', rows).spot.chosen == 'c'
    assert pressed(state, 'end g', rows).spot.chosen == 'a'
    assert pressed(State(), 'down enter', []).spot == Spot('queues')


def test_enter_goes_on_and_escape_comes_back() -> None:
    state = pressed(State(), 'down enter', ['a', 'b'])
    assert state.spot == Spot('functions', 'b')
    assert pressed(state, 'escape', []).spot == Spot('queues', chosen='b')
    for keys, view in {'tab': 'groups', 'tab tab tab': 'dead', '4': 'dead', '3': 'workers', 'left': 'dead',
                       'tab back-tab': 'functions', 'l l h': 'groups'}.items():  # fmt: skip
        assert pressed(state, keys).spot == Spot(view, 'b')
    task = pressed(state, '4 enter', ['x'])
    assert task.spot == Spot('task', 'b', 'x') and len(task.spots) == 3
    assert pressed(task, 'down down up').spot.scroll == 1 and pressed(task, 'up').spot.scroll == 0
    assert pressed(task, 'escape escape escape', []).spots == pressed(State(), 'down', ['a', 'b']).spots
    for key, view in (('1', 'function'), ('2', 'group'), ('3', 'worker')):
        deeper = pressed(pressed(state, key), 'enter', ['g'])
        assert deeper.spot == Spot(view, 'b', of='g') and pressed(deeper, 'escape').spot.chosen == 'g'
        assert pressed(deeper, 'enter', ['x']).spot == Spot('task', 'b', 'x')
        # A worker may have tasks of other queues in hand.
        assert press(deeper, 'enter', [Row('x', queue='c')])[0].spot == Spot('task', 'c', 'x')


def test_orders_go_round() -> None:
    state = State()
    for n in range(len(SORTS['queues'])):
        assert state.spot.sort == n
        state = pressed(state, 's')
    assert state.spot.sort == 0
    assert pressed(State(spots=(Spot('task', 'a', 'x'),)), 's').spot.sort == 0


def test_a_filter_takes_letters_until_it_is_kept_or_ended() -> None:
    typing = pressed(State(), '/ q r p ?')
    assert typing.typing and typing.spot.filter == 'qrp?' and not typing.over and typing.question is None
    assert pressed(typing, 'backspace up').spot.filter == 'qrp'
    assert pressed(typing, 'clear').spot.filter == ''
    kept = pressed(typing, 'enter')
    assert not kept.typing and kept.spot.filter == 'qrp?'
    # Escape ends the filter first, and leaves the view then.
    assert pressed(kept, 'escape').spot.filter == '' and pressed(typing, 'escape').spot.filter == ''
    assert len(pressed(State(), '/ ' + ' '.join('x' * 200)).spot.filter) == 100


def test_help_and_the_end() -> None:
    helped = pressed(State(), '?')
    assert helped.help and not pressed(helped, 'j').help
    assert pressed(State(), 'q').over and pressed(helped, 'q').over and not pressed(State(), 'escape').over


@pytest.mark.parametrize(
    ('spot', 'key', 'act', 'words'),
    [
        (Spot('queues'), 'p', Act('pause', 'a'), "pause queue 'a'"),
        (Spot('queues', chosen='b'), 'p', Act('resume', 'b'), "resume queue 'b'"),
        (Spot('groups', 'mail'), 'p', Act('pause', 'mail', 'a'), "pause group 'a' of queue 'mail'"),
        (Spot('groups', 'mail', chosen='b'), 'p', Act('resume', 'mail', 'b'), "resume group 'b' of queue 'mail'"),
        (Spot('workers', 'mail'), 'p', Act('pause', 'mail'), "pause queue 'mail'"),
        (Spot('dead', 'mail', chosen='b'), 'r', Act('redrive', 'mail', task='b'), "redrive task b of queue 'mail'"),
        (Spot('function', 'mail', of='f'), 'r', Act('redrive', 'mail', task='a'), "redrive task a of queue 'mail'"),
        (Spot('task', 'mail', 'x'), 'r', Act('redrive', 'mail', task='x'), "redrive task x of queue 'mail'"),
    ],
)
def test_an_act_is_done_when_it_was_agreed_to(spot: Spot, key: str, act: Act, words: str) -> None:
    rows = [Row('a'), Row('b', paused=True)]
    asked, none = press(State(spots=(spot,)), key, rows)
    assert none is None and asked.question == act and act.describe() == words
    for no in ('n', 'enter', 'escape', 'q', 'x'):
        left, none = press(asked, no, rows)
        assert none is None and left.question is None and left.message == 'nothing was changed' and not left.over
    for yes in ('y', 'Y'):
        done, found = press(asked, yes, rows)
        assert found == act and done.question is None
    refused, none = press(State(spots=(spot,), read_only=True), key, rows)
    assert none is None and refused.question is None and refused.message == 'only reading is allowed here'


def test_all_dead_tasks_are_counted_before_anything_is_asked() -> None:
    state, act = press(State(), 'r', [Row('a')])
    assert act == Act('count', 'a') and state.question is None and state.message == 'counting ...'
    for many, words in {
        1: "redrive 1 dead task of queue 'a'", 50: "redrive 50 dead tasks of queue 'a'",
        5500: "redrive 5,500 dead tasks of queue 'a' at 50 a second, in 1m50s",
    }.items():  # fmt: skip
        assert Act('redrive', 'a', plan=Plan(matched=many)).describe() == words
    assert press(State(read_only=True), 'r', [Row('a')])[1] is None


def test_what_cannot_be_meant_asks_nothing() -> None:
    assert press(State(), 'p', [])[0].question is None
    assert press(State(spots=(Spot('groups', 'a'),)), 'r', [Row('x')])[0].question is None
    assert press(State(spots=(Spot('workers', 'a'),)), 'p', [], True)[0].question == Act('resume', 'a')
