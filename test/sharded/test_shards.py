"""Names, hashes and the choice of shards, without a server."""

from __future__ import annotations

import json
import pickle
import random
import zlib
from collections import Counter

import pytest

from torrelque import TorrelqueError, TorrelqueTaskId, TorrelqueValueError
from torrelque.sharded import inside
from torrelque.sharded.choose import SLOW, STICK, TURN, Chooser
from torrelque.sharded.shards import (
    SLOTS,
    Shape,
    check_queue,
    check_shards,
    number_in,
    of_group,
    of_id,
    queue_of,
    read_shape,
    slot_of,
    spread_tags,
    suffix_of,
)

pytestmark = pytest.mark.one_server


def busiest(tags: tuple[str, ...], primaries: int) -> float:
    """Shards of the busiest of some primaries with equal ranges of slots, against an even share."""
    counts = Counter(slot_of(tag) * primaries // SLOTS for tag in tags)
    return max(counts.values()) * primaries / len(tags)


@pytest.mark.parametrize('queue', ['email', 'a', 'orders-2025', 'größe'])
@pytest.mark.parametrize(
    ('count', 'shares'),
    [
        (12, {2: 1.0, 3: 1.0, 4: 1.0, 6: 1.0, 12: 1.0}),
        (16, {2: 1.0, 3: 1.12, 4: 1.0, 6: 1.12, 12: 1.5, 16: 1.0}),
        (24, {2: 1.0, 3: 1.0, 4: 1.0, 6: 1.0, 12: 1.0, 16: 1.33}),
        (48, {2: 1.0, 3: 1.0, 4: 1.0, 6: 1.0, 12: 1.0, 16: 1.0}),
    ],
)
def test_shards_are_spread_over_primaries_with_equal_ranges(queue: str, count: int, shares: dict[int, float]) -> None:
    tags = spread_tags(queue, count)
    assert {primaries: busiest(tags, primaries) for primaries in shares} == pytest.approx(shares, abs=0.01)


@pytest.mark.parametrize('count', [1, 3, 12, 48, 192])
def test_each_shard_is_in_the_range_of_its_number(count: int) -> None:
    tags = spread_tags('email', count)
    assert [slot_of(tag) * count // SLOTS for tag in tags] == [*range(count)]
    assert [number_in(queue_of(tag)) for tag in tags] == [*range(count)]


def test_names_as_they_come_would_not_be_spread() -> None:
    assert busiest(tuple(f'email:{number}' for number in range(12)), 12) > 1


def test_doubling_keeps_all_tags_and_spreads_the_new_ones() -> None:
    old = spread_tags('email', 12)
    new = spread_tags('email', 24, old)
    assert new[:12] == old
    assert sorted(slot_of(tag) * 24 // SLOTS for tag in new) == [*range(24)]


def test_an_id_names_its_shard_and_so_do_those_of_the_tasks_of_a_flow() -> None:
    shape = Shape(1, 12, spread_tags('email', 12))
    task_id = '0123456789abcdef0123456789ab' + suffix_of(7)
    assert of_id(task_id, shape) == of_id(f'{task_id}.paint', shape) == (7, True)
    # Another number of digits, or a shard that is not there, is an id of somebody's own.
    for own in ('invoice-17', task_id[1:], task_id[:-1], task_id[:-3] + '012', task_id + '0', 'user.007'):
        assert of_id(own, shape) == (zlib.crc32(own.encode()) % 12, False)


def test_a_group_has_a_shard_by_its_name_and_those_of_schedules_are_in_the_first() -> None:
    assert {of_group(f'group-{k}', 12) for k in range(100)} == {*range(12)}
    assert of_group('größe', 12) == zlib.crc32('größe'.encode()) % 12
    assert {of_group(f'schedule:{k}', 12) for k in range(20)} == {0}


def test_an_id_of_a_delivery_knows_its_shard_for_good() -> None:
    shape = Shape(1, 3, spread_tags('email', 3))
    task_id = TorrelqueTaskId('invoice-17', 1, '1-5', 'shop')
    assert of_id(task_id, shape) == (of_group('shop', 3), True)
    for number in range(3):
        inside.mark(task_id, number)
        assert of_id(task_id, shape) == of_id(pickle.loads(pickle.dumps(task_id)), shape) == (number, True)
    assert pickle.loads(pickle.dumps(task_id)) == 'invoice-17'
    assert of_id(TorrelqueTaskId('invoice-17'), shape) == (zlib.crc32(b'invoice-17') % 3, False)


def test_the_map_is_read_as_it_was_written_with_what_others_know_of_it() -> None:
    shape = Shape(3, 12, spread_tags('email', 24), None, {'state': 'moving'})
    assert read_shape(shape.text(shard=4).encode(), 'email') == (shape, {'shard': 4})
    servers = Shape(1, 3, ('email:0', 'email:1', 'email:2'), 3)
    assert read_shape(servers.text(server=2), 'email') == (servers, {'server': 2})
    assert json.loads(servers.text()) == {'generation': 1, 'keyed': 3, 'tags': [*servers.tags], 'servers': 3}
    for text in (b'', b'[]', b'{}', b'{"generation": 1, "keyed": 0, "tags": ["a"]}', b'\xff', b'null'):
        with pytest.raises(TorrelqueError, match="queue 'email': the map of the shards cannot be read"):
            read_shape(text, 'email')


# The choice


def make(count: int) -> tuple[Chooser, set[int]]:
    away: set[int] = set()
    return Chooser(count, lambda shard: shard not in away), away


def test_tasks_stick_to_a_shard_by_count_and_each_comes_once_before_any_comes_again() -> None:
    chooser, _ = make(6)
    chosen = [chooser.choose(0.0) for _ in range(12 * STICK)]
    runs = [chosen[start : start + STICK] for start in range(0, len(chosen), STICK)]
    assert all(len({*run}) == 1 for run in runs)
    for half in (runs[:6], runs[6:]):
        assert sorted(run[0] for run in half) == [*range(6)]


def test_a_shard_that_was_slow_when_its_turn_came_has_it_later() -> None:
    chooser, away = make(6)
    for _ in range(20):
        away.add(slow := random.randrange(6))
        chosen = [chooser.choose(0.0, fresh=True) for _ in range(3)]
        away.clear()
        assert slow not in chosen
        chosen += [chooser.choose(0.0, fresh=True) for _ in range(3)]
        assert sorted(chosen) == [*range(6)]


def test_one_that_is_away_for_longer_is_passed_over_each_time() -> None:
    chooser, away = make(3)
    away.add(1)
    chosen = [chooser.choose(0.0, fresh=True) for _ in range(20)]
    assert (chosen.count(0), chosen.count(2)) == (10, 10)
    away.clear()
    assert 1 in [chooser.choose(0.0, fresh=True) for _ in range(3)]


def test_a_shard_is_kept_for_some_time_and_for_the_turn_of_the_loop() -> None:
    chooser, _ = make(6)
    first = chooser.choose(0.0)
    assert chooser.choose(TURN * 0.9) == first
    chooser.held = True
    assert chooser.choose(TURN * 5) == first
    chooser.let_go()
    assert chooser.choose(TURN * 5) != first


def test_permutations_differ() -> None:
    orders = set()
    for _ in range(10):
        chooser, _ = make(6)
        orders.add(tuple(chooser.choose(0.0, fresh=True) for _ in range(6)))
    assert len(orders) > 1


def test_a_shard_that_is_away_is_passed_by_and_any_is_chosen_where_all_are() -> None:
    chooser, away = make(3)
    first = chooser.choose(0.0)
    away.add(first)
    assert {chooser.choose(0.0, fresh=True) for _ in range(30)} == {0, 1, 2} - {first}
    away |= {0, 1, 2}
    assert {chooser.choose(0.0, fresh=True) for _ in range(30)} == {0, 1, 2}


def test_a_shard_without_a_reply_is_passed_by_until_there_is_one() -> None:
    chooser, _ = make(2)
    chooser.sent(0, 1.0)
    assert chooser.is_well(0, 1.0 + SLOW * 0.9)
    assert not chooser.is_well(0, 1.0 + SLOW * 1.1)
    assert {chooser.choose(1.0 + SLOW * 1.1, fresh=True) for _ in range(10)} == {1}
    chooser.returned(0, 1.0, 2.0, True)
    assert chooser.is_well(0, 2.0)


def test_a_shard_whose_replies_usually_take_long_is_given_that_time() -> None:
    chooser, _ = make(2)
    for _ in range(50):
        chooser.sent(0, 0.0)
        chooser.returned(0, 0.0, 0.1, True)
    chooser.sent(0, 1.0)
    assert chooser.is_well(0, 1.5)
    assert not chooser.is_well(0, 2.0)


def test_replies_to_others_keep_a_shard_well_while_one_call_is_out() -> None:
    chooser, _ = make(2)
    chooser.sent(0, 0.0)
    chooser.sent(0, 0.0)
    chooser.returned(0, 0.0, 0.04, True)
    assert chooser.is_well(0, 0.08)


def test_names_with_braces_and_too_many_shards_are_refused() -> None:
    for queue in ('{shop}mail', 'a{b', 'a}b'):
        with pytest.raises(TorrelqueValueError):
            check_queue(queue)
    with pytest.raises(TorrelqueValueError, match='shards must be at most 192, not 193'):
        check_shards(193)
    assert check_shards(192) == 192
    assert check_shards(None) is None
