"""Flows whose tasks are in several queues, by the verbs of both kinds of queue objects."""

from __future__ import annotations

from typing import Any

import pytest

import torrelque
from support.abroad import Pair, evaluate, state
from torrelque import Node, TorrelqueTaskStatus as Status
from torrelque.protocol.carrying import read_collect

pytestmark = pytest.mark.first_server


async def test_a_chain_goes_through_both_queues_with_its_results_and_leaves_nothing(pair: Pair) -> None:
    home, other = pair.home, pair.other
    chain = [
        Node('a', 'A', queue='other'), Node('b', 'B', {'a': 'then'}, queue='home'),
        Node('c', 'C', {'b': 'then'}, queue='other'), Node('d', 'D', {'c': 'then'}),
    ]  # fmt: skip
    await home.enqueue_flow(chain, flow_id='f', out=['d', 'a'], result_ttl=60)
    assert await home.get_queue_stats() == (5, 0, 1, 0, 0, 4) and await other.get_queue_stats() == (1, 1, 0, 0, 0, 0)
    stands, guest = await state(home, 'a'), await state(other, 'a')
    assert (stands.status, stands.flow, stands.queue) == (Status.WORKING, 'f', 'other')
    assert (guest.status, guest.flow, guest.queue) == (Status.PENDING, 'f', None)
    assert await home.take() == []

    await pair.work(other, 'a', 'of a')
    assert (await pair.how('a'), (await home.get_task_state('f')).left) == (('completed', 'of a'), 3)
    assert await other.get_queue_stats() == (0,) * 6
    await pair.work(home, 'b')
    await pair.work(other, 'c', ['of', 'c'])
    assert await pair.how('c') == ('completed', ['of', 'c'])
    await pair.work(home, 'd', 'of d')
    ended = await home.get_task_state('f')
    assert (ended.status, ended.result, ended.left) == (Status.COMPLETED, ['of d', 'of a'], 0)
    assert not await pair.left()


async def test_a_task_of_another_queue_has_its_options_there_and_spends_its_delay_at_home(pair: Pair) -> None:
    home, other = pair.home, pair.other
    node = Node('a', 1, delay=10, group='g', priority=5, max_attempts=3, task_timeout=7, queue='other')
    await home.enqueue_flow([node], flow_id='f')
    assert (await other.get_queue_stats()).tasks == 0
    await pair.clock.move(9)
    await pair.carry()
    assert (await other.get_queue_stats()).tasks == 0
    await pair.clock.move(1)
    await pair.carry()
    its = await state(other, 'a')
    assert (its.status, its.group, its.priority, its.max_attempts, its.timeout) == (Status.PENDING, 'g', 5, 3, 7)
    assert (await other.get_group_stats('g')).waiting == 1 and (await home.get_group_stats('g')).waiting == 0
    await pair.work(other, 'a')
    assert (await home.get_task_state('f')).status is Status.COMPLETED and not await pair.left()


async def test_a_death_over_there_stalls_the_flow_and_a_redrive_there_resumes_it(pair: Pair) -> None:
    home, other = pair.home, pair.other
    nodes = [Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'}), Node('c', 3, {'a': 'fail'})]
    await home.enqueue_flow(nodes, flow_id='f')
    [(task_id, _)] = await other.take()
    await other.bury(task_id, error='boom\n')
    await pair.carry()
    stalled = await home.get_task_state('f')
    assert (stalled.status, stalled.dead, stalled.error) == (Status.WAITING, 1, 'f.a: boom')
    assert (await state(home, 'a')).error == 'boom\n' and await home.ids() == ['f.c']

    assert await other.redrive('f.a') == 1
    await pair.carry()
    resumed = await home.get_task_state('f')
    assert (resumed.dead, resumed.error, (await state(home, 'a')).error) == (0, None, None)
    await pair.work(other, 'a')
    assert await home.ids() == ['f.b'] and await pair.how('a') == ('completed', None)


async def test_a_task_that_ends_before_anybody_has_told_of_its_redrive_is_not_dead(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'})], flow_id='f')
    [(task_id, _)] = await other.take()
    await other.bury(task_id)
    await pair.carry()
    assert (await home.get_task_state('f')).dead == 1
    await other.redrive('f.a')
    # Somebody has collected that, and is slow.
    await evaluate(pair, other, 'collect', ['50', '1000000'])
    await pair.work(other, 'a')
    assert ((await home.get_task_state('f')).dead, await home.ids()) == (0, ['f.b'])


async def test_a_redrive_of_the_flow_reaches_its_dead_tasks_in_other_queues(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other', max_attempts=1), Node('b', 2, queue='other')], flow_id='f')
    await other.take()
    await pair.clock.move(1000)
    await pair.carry()
    await pair.carry()
    assert (await home.get_task_state('f')).dead == 1
    assert await home.redrive('f') == 1
    await pair.carry()
    assert (await home.get_task_state('f')).dead == 0
    assert await other.ids() == ['f.b', 'f.a']


@pytest.mark.parametrize('policy', ['skip', 'cancel'])
async def test_a_death_over_there_is_what_the_flow_says(pair: Pair, policy: Any) -> None:
    home, other = pair.home, pair.other
    nodes = [Node('a', 1, queue='other'), Node('b', 2, {'a': 'then'}, queue='other'), Node('c', 3)]
    await home.enqueue_flow(nodes, flow_id='f', on_failure=policy, result_ttl=60)
    [(task_id, _)] = await other.take()
    await other.bury(task_id, error='boom')
    await pair.carry()
    assert await pair.how('a') == ('failed', 'boom')
    if policy == 'skip':
        await pair.work(home, 'c')
    await pair.carry()
    ended = await home.get_task_state('f')
    assert (ended.status, ended.left) == (Status.REJECTED if policy == 'skip' else Status.CANCELLED, 0)
    # A person may still look at it there, and run it for itself.
    assert (await other.get_queue_stats()).dead == 1
    assert await other.redrive('f.a') == 1
    await pair.work(other, 'a')
    assert not await pair.left() and await home.get_task_state('f') == ended


async def test_a_rejected_task_and_one_that_was_cancelled_there_have_failed(pair: Pair) -> None:
    home, other = pair.home, pair.other
    nodes = [Node('a', 1, queue='other'), Node('b', 2, queue='other'), Node('c', 3, {'a': 'then'}, queue='other')]
    await home.enqueue_flow(nodes, flow_id='f', result_ttl=60)
    first, _ = await other.dequeue(0)
    await other.release(first, status=Status.REJECTED, result='why')
    assert await other.cancel('f.b')
    await pair.carry()
    assert await pair.how('a') == ('failed', 'why') and await pair.how('b') == ('failed', 'cancelled')
    assert (await home.get_task_state('f')).status is Status.REJECTED and not await pair.left()


# Cancelling


async def test_a_cancelled_flow_takes_its_tasks_back_from_other_queues_before_it_cleans_up(pair: Pair) -> None:
    home, other = pair.home, pair.other
    nodes = [
        Node('a', 1, queue='other'), Node('b', 2, queue='other'), Node('c', 3, {'a': 'then'}),
        Node('z', 9, {'a': 'end', 'b': 'end'}, queue='other'),
    ]  # fmt: skip
    await home.enqueue_flow(nodes, flow_id='f', result_ttl=60)
    held, _ = await other.dequeue(0)
    assert await home.cancel('f')
    await pair.carry()
    assert await pair.how('b') == ('cancelled', 'cancelled')
    assert await other.take() == [] and (await state(home, 'a')).status is Status.CANCELLED
    assert (await state(other, 'a')).status is Status.CANCELLED and not await other.touch(held)
    # Whoever holds it lets it go, and then the clean-up begins.
    await other.release(held, result='late')
    await pair.carry()
    assert await pair.how('a') == ('cancelled', 'cancelled')
    await pair.work(other, 'z')
    assert (await home.get_task_state('f')).status is Status.CANCELLED and not await pair.left()


async def test_one_task_is_cancelled_from_home(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('b', 2, {'a': 'fail'})], flow_id='f', result_ttl=60)
    assert await home.cancel('f.a') and not await home.cancel('f.a')
    await pair.carry()
    assert await other.take() == [] and await pair.how('a') == ('failed', 'cancelled')
    await pair.work(home, 'b')
    assert (await home.get_task_state('f')).status is Status.REJECTED and not await pair.left()


async def test_what_was_cancelled_before_it_came_does_not_come(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other', delay=5)], flow_id='f', result_ttl=60)
    calls = other.queue._calls
    await pair.clock.move(5)
    # Somebody has collected it, and is slow.
    words = await evaluate(pair, home, 'collect', ['50', '1000000'])
    assert await home.cancel('f')
    assert await pair.how('a') == ('cancelled', 'cancelled')
    late = calls.host(read_collect(words), 'home')
    assert await evaluate(pair, other, 'host', ['', *late]) == [b'gone']
    assert (await other.get_queue_stats()).tasks == 0 and not await pair.left()


async def test_an_errand_that_was_changed_on_its_way_goes_again(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other', delay=5)], flow_id='f', result_ttl=60)
    await pair.clock.move(5)
    [errand] = read_collect(await evaluate(pair, home, 'collect', ['50', '1000000']))
    await evaluate(pair, other, 'host', ['', *other.queue._calls.host([errand], 'home')])
    await evaluate(pair, home, 'cancel', home.queue._calls.cancel('f.a').args)
    await evaluate(pair, home, 'carried', home.queue._calls.carried([(errand, True)]))
    await pair.carry()
    assert await other.take() == [] and await pair.how('a') == ('failed', 'cancelled')


async def test_a_flow_whose_time_is_over_takes_its_tasks_back_everywhere(pair: Pair) -> None:
    await pair.home.enqueue_flow([Node('a', 1, queue='other')], flow_id='f', timeout=60, result_ttl=60)
    await pair.clock.move(60)
    await pair.carry()
    await pair.carry()
    assert (await pair.home.get_task_state('f')).status is Status.CANCELLED
    assert await pair.other.take() == [] and not await pair.left()


# What a task over there does with its flow


async def test_a_task_over_there_adds_to_its_flow_and_keeps_values_with_it(pair: Pair) -> None:
    home, other = pair.home, pair.other
    await home.enqueue_flow([Node('a', 1, queue='other'), Node('z', 9, {'a': 'then'})], flow_id='f')
    [(first, _)] = await other.take()
    await home.put_value('key', 1, by=first)
    await pair.clock.move(400)
    [(second, _)] = await other.take()
    assert second.attempt == 2
    await home.put_value('key', 2, by=second)
    with pytest.raises(torrelque.TorrelqueLeaseLostError):
        await home.put_value('key', 3, by=first)
    with pytest.raises(torrelque.TorrelqueLeaseLostError):
        await home.add_to_flow([Node('b', 1)], by=first)
    assert await home.get_value('f', 'key') == 2
    for _ in range(2):
        added = await home.add_to_flow([Node('b', 1, before=['z'], queue='other'), Node('c', 2)], by=second)
        assert added == ['f.b', 'f.c']
    assert (await home.get_task_state('f')).total == 4
    assert await other.ids() == ['f.b'] and await home.ids() == ['f.c']
    # In the queue where it is worked on there is no such flow.
    with pytest.raises(torrelque.TorrelqueError):
        await other.put_value('key', 4, by=second)
    with pytest.raises(torrelque.TorrelqueError):
        await other.add_to_flow([Node('d', 1)], by=second)


async def test_any_number_of_tasks_goes_out_and_comes_home(pair: Pair) -> None:
    home, other = pair.home, pair.other
    names = [str(number) for number in range(130)]
    nodes = [Node('first', 0), *(Node(name, name, {'first': 'then'}, queue='other') for name in names)]
    await home.enqueue_flow([*nodes, Node('last', 1, dict.fromkeys(names, 'then'))], flow_id='f', out=names)
    await pair.work(home, 'first')
    await pair.carry()
    taken = await other.take()
    assert sorted(task for _, task in taken) == sorted(names)
    for task_id, task in taken:
        await other.release(task_id, result=task)
    await pair.carry()
    await pair.work(home, 'last')
    assert (await home.get_task_state('f')).result == names


BAD: list[Any] = [5, '', b'other', '}', '\ud800', ['other']]


async def test_a_queue_that_cannot_be_meant_is_refused_before_anything_is_written(pair: Pair) -> None:
    for queue in BAD:
        with pytest.raises((TypeError, ValueError)) as caught:
            await pair.home.enqueue_flow([Node('a', 1), Node('b', 2, queue=queue)])
        assert isinstance(caught.value, torrelque.Error)
    assert not await pair.left()
