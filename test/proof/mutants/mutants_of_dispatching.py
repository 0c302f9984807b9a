"""Hand-made faults in what serves those who wait for tasks of many shards."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

DISPATCHING = (
    Mutant(
        'asked-though-still', BEYOND, 'shards are asked that have nothing',
        (client('sharded/dispatch', 'not (self.shelf.still or self.paused) and', 'not self.paused and'),),
        ('sharded_waiting::test_a_task_now_and_then_is_about_three_scripts',),
    ),
    Mutant(
        'asked-everywhere-for-one', BEYOND, 'more is claimed than is waited for',
        (client('sharded/dispatch', 'min(wanted - self.asked, self.bounds.bulk)', 'min(wanted, self.bounds.bulk)'),),
        ('sharded_waiting::test_no_more_is_claimed_than_is_waited_for',),
    ),
    Mutant(
        'few-are-divided', BEYOND, 'those who wait are divided among the shards until each claim is for one',
        (client('sharded/dispatch', 'ENOUGH if self.asked else 1', '1'),),
        ('sharded_waiting::test_no_more_is_claimed_than_is_waited_for',),
    ),
    Mutant(
        'slow-are-waited-for', 10, 'a server that is silent keeps all from the tasks of the others',
        (client('sharded/dispatch', 'if stand.asked and stand.since <= late:', 'if False:'),),
        ('sharded_waiting::test_a_server_that_is_silent_stalls_nobody_at_the_others',),
    ),
    Mutant(
        'shelves-sleep-on', 10, 'whoever comes to shards that are all still is told of nothing',
        (client('sharded/dispatch', 'stand.shelf.wake()', 'pass'),),
        ('sharded_waiting::test_a_task_now_and_then_is_about_three_scripts',),
    ),
    Mutant(
        'looks-at-the-open-alone', BEYOND, 'whoever does not wait is told of nothing that a shard has just been given',
        (client('sharded/dispatch', 'iter(sorted(self.stands, key',
                'iter(sorted([stand for stand in self.stands if stand.is_open], key'),),
        ('sharded_waiting::test_who_does_not_wait_is_given_what_there_is_in_any_shard',),
    ),
    Mutant(
        'closing-leaves-them', 12, 'whoever waits for tasks of many shards waits on when the queue object is closed',
        (client('sharded/dispatch',
                "self.waiters.fail(TorrelqueClosedError('the queue was closed while this call waited for a task'), "
                'False)', 'pass'),),
        ('sharded_waiting::test_closing_at_any_turn_gives_back_what_nobody_got',),
    ),
    Mutant(
        'refused-untold', BEYOND, 'whoever waits for shards that all refuse waits for ever',
        (client('sharded/dispatch', 'self.waiters.fail(error, False)', 'pass'),),
        ('sharded_waiting::test_an_error_of_all_shards_is_raised',),
    ),
    Mutant(
        'shard-itself-forgotten', 10, 'whoever waits at one of the shards alone is given nothing',
        (client('sharded/dispatch', 'return self._dispatcher.waiters.waiting or self._own.waiting',
                'return self._dispatcher.waiters.waiting'),),
        ('sharded_waiting::test_a_shard_is_waited_at_by_itself_as_well',),
    ),
    Mutant(
        'refused-twice-is-untouched', BEYOND, 'what may have been carried out is put into another shard as well',
        (client('protocol/refusals', 'error.untouched = error.passing and not resent',
                'error.untouched = error.passing'),),
        ('sharded_refusing::test_what_may_have_been_carried_out_is_put_nowhere_else',),
    ),
    Mutant(
        'refused-midway-is-untouched', BEYOND, 'a flow that was begun in one shard is begun in another one as well',
        (client('aio/session', 'if reply is not None and is_untouched(exc):', 'if is_untouched(exc) and False:'),),
        ('sharded_refusing::test_a_flow_that_was_begun_in_one_shard_is_begun_in_no_other',),
    ),
    Mutant(
        'probe-without-key', BEYOND, 'plain tasks go to a primary that is back and refuses whatever is about a key',
        (client('sharded/base', "shard.command('GET', shards.key_of(shard.name))\n                    return",
                "shard.command('PING')\n                    return"),),
        ('sharded_faults::test_plain_tasks_do_not_go_to_a_primary_that_is_back_before_it_serves_its_slots',),
    ),
    Mutant(
        'given-to-strangers', BEYOND, 'a process that starts while a server is away gives it its share of plain tasks',
        (client('sharded/anywhere', 'if number not in self._known:', 'if False:'),),
        ('sharded_faults::test_plain_tasks_go_elsewhere_from_the_first_on_where_a_server_was_there_only_for_the_map',),
    ),
    Mutant(
        'given-up-looks-well', BEYOND, 'a server that hangs looks well again when somebody waits for it no more',
        (client('sharded/anywhere', 'if not chooser.is_well(number, loop.time()):', 'if False:'),),
        ('sharded_faults::test_a_call_that_was_given_up_leaves_the_next_ones_to_others',),
    ),
    Mutant(
        'thread-gives-to-strangers', BEYOND, 'threads give plain tasks to a server to which no connection comes about',
        (client('sharded/syncanywhere', 'number = self._meet(number, fresh)', 'pass'),),
        ('sharded_sync::test_plain_tasks_go_elsewhere_where_no_connection_comes_about',),
    ),
    Mutant(
        'thread-stops-at-refusal', 10, 'one shard that refuses keeps threads from the tasks of all others',
        (client('sharded/takers', 'except TorrelqueServerError as exc:', 'except ZeroDivisionError as exc:'),),
        ('sharded_sync::test_one_shard_that_refuses_keeps_nobody_from_the_tasks_of_others',),
    ),
    Mutant(
        'thread-looks-no-more', 10, 'whoever does not wait never asks a shard again that was away',
        (client('sharded/takers', ' or self._queue._is_up(number) or', ' or'),),
        ('sharded_sync::test_who_does_not_wait_is_given_tasks_of_a_server_that_is_back',),
    ),
)  # fmt: skip
