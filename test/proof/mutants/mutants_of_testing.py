"""Hand-made faults in the aids for tests: the moved clock, the worker that is run until nothing is left, fixtures."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client


def move(old: str, new: str) -> Edit:
    return Edit('torrelque/testing/script/move.lua', old, new)


TESTING = (
    Mutant(
        'testing-delayed-not-moved', BEYOND, 'when the clock is moved delayed tasks come no sooner',
        (move("{'delayed', 'working', 'rated', 'untold'}", "{'working', 'rated', 'untold'}"),),
        ('testing::test_task_that_was_delayed_comes_to_who_waits',),
    ),
    Mutant(
        'testing-working-not-moved', BEYOND, 'when the clock is moved leases do not end',
        (move("{'delayed', 'working', 'rated', 'untold'}", "{'delayed', 'rated', 'untold'}"),),
        ('testing::test_lease_that_ended_is_lost',),
    ),
    Mutant(
        'testing-rated-not-moved', BEYOND, 'when the clock is moved groups get no tokens',
        (move("{'delayed', 'working', 'rated', 'untold'}", "{'delayed', 'working', 'untold'}"),),
        ('testing::test_group_has_its_tokens_again',),
    ),
    Mutant(
        'testing-bucket-not-moved', BEYOND, 'when the clock is moved the bucket of a group is not fuller',
        (move("tokens .. ' ' .. sooner(since)", "tokens .. ' ' .. since"),),
        ('testing::test_group_has_its_tokens_again',),
    ),
    Mutant(
        'testing-probes-not-moved', BEYOND, 'when the clock is moved no probe comes',
        (move("sooner(instant) .. ' ' .. every", "instant .. ' ' .. every"),),
        ('testing::test_pause_lets_a_probe_through_at_its_time',),
    ),
    Mutant(
        'testing-ttl-not-moved', BEYOND, 'when the clock is moved results are kept as long as before',
        (move("redis.call('PEXPIRE', key, string.format('%.0f', left - far))", 'local _ = key'),),
        ('testing::test_kept_state_is_gone_after_its_time',),
    ),
    Mutant(
        'testing-bell-not-rung', BEYOND, 'whoever waits does not hear that the clock was moved',
        (move("redis.call('LPUSH', base .. 'bell', '1')", 'local _ = base'),),
        ('testing::test_clock_of_a_queue_with_tasks_rings_once',),
    ),
    Mutant(
        'testing-rings-each-time', BEYOND, 'each move rings',
        (move(" and redis.call('EXISTS', base .. 'bell') == 0", ''),),
        ('testing::test_clock_of_a_queue_with_tasks_rings_once',),
    ),
    Mutant(
        'testing-moves-other-queues', BEYOND, 'the clock of a queue moves those whose names its own matches',
        (move("string.gsub(base, '[*?%[%]\\\\]', '\\\\%0') .. '*'", "base .. '*'"),),
        ('testing::test_another_queue_is_not_moved',),
    ),
    Mutant(
        'testing-moves-a-thousand', BEYOND, 'the clock moves a thousand tasks and leaves the others',
        (move('until #items < 2000', 'until true'),),
        ('testing_clock::test_many_tasks_keep_their_order',),
    ),
    Mutant(
        'testing-probe-of-the-queue-unseen', BEYOND, 'the clock does not know when the probe of a paused queue is due',
        (move('nearest = math.min(nearest, tonumber(probe) or math.huge)', 'local _ = probe'),),
        ('testing::test_pause_lets_a_probe_through_at_its_time',),
    ),
    Mutant(
        'testing-moved-too-little', BEYOND, 'a clock that was moved to the next time is a millisecond short of it',
        (client('testing/clock', 'math.ceil(round(1000 * seconds, 6))', 'int(1000 * seconds)'),),
        ('testing_clock::test_a_clock_is_moved_by_whole_milliseconds_and_by_no_less_than_was_said',),
    ),
    Mutant(
        'testing-one-queue-moved-twice', BEYOND, 'two objects of one queue move it twice',
        (client(
            'testing/clock',
            "return list({shard.keys['pending']: shard for shard in every}.values())",
            'return self.queues',
        ),),
        ('testing_clock::test_objects_of_one_queue_are_moved_once',),
    ),
    Mutant(
        'testing-moves-not-added-up', BEYOND, 'a clock does not know how far it was moved',
        (client(
            'testing/clock',
            'await self._move(seconds)\n        self.moved += seconds',
            'await self._move(seconds)\n        self.moved = seconds',
        ),),
        ('testing_clock::test_clock_is_moved_to_the_next_time',),
    ),
    Mutant(
        'testing-sync-moves-not-added-up', BEYOND, 'a synchronous clock does not know how far it was moved',
        (client(
            'testing/clock',
            '        self._move(seconds)\n        self.moved += seconds',
            '        self._move(seconds)\n        self.moved = seconds',
        ),),
        ('testing_clock::test_clock_without_an_event_loop_is_the_same',),
    ),
    Mutant(
        'testing-moved-back', BEYOND, 'what is due moves the clock back',
        (client('testing/clock', 'wait = max(0.0, wait)\n        await self.move(wait)', 'await self.move(wait)'),),
        ('testing_clock::test_what_is_due_needs_no_move',),
    ),
    Mutant(
        'testing-moved-by-anything', BEYOND, 'a clock may be moved back',
        (client('testing/clock', "check_seconds(move, 'the move of a clock', most=FURTHEST)", 'seconds_of(move)'),
         client('testing/clock', 'import check_seconds', 'import seconds_of'),),
        ('testing_clock::test_clock_without_an_event_loop_is_the_same',),
    ),
    Mutant(
        'testing-dead-tasks-are-waited-for', BEYOND, 'dead tasks are not done with',
        (client(
            'testing/idle',
            'if all(map(_is_idle, stats)):',
            'if not any(each.tasks for each in stats):',
        ),),
        ('testing_idle::test_dead_tasks_are_done_with',),
    ),
    Mutant(
        'testing-pause-untold', BEYOND, 'tasks that no time brings are waited for',
        (client('testing/idle', 'elif now == last:', 'elif False:'),),
        ('testing_idle::test_pause_is_told',),
    ),
    Mutant(
        'testing-clock-without-its-queues', BEYOND, 'a clock that is given does not move all queues',
        (client('testing/idle', 'clock.queues += [', '_ = ['),),
        ('testing_idle::test_several_queues_share_a_clock',),
    ),
    Mutant(
        'testing-loop-outlives-its-time', BEYOND, 'a loop that does not end is left running',
        (client(
            'testing/idle',
            '            running.cancel()\n            await asyncio.wait([running])',
            '            pass',
        ),),
        ('testing_idle::test_worker_that_does_not_end_is_told',),
    ),
    Mutant(
        'testing-counts-moves-of-others', BEYOND, 'how far the clock was moved before is told as well',
        (client('testing/idle', 'return clock.moved - begun', 'return clock.moved'),),
        ('testing_clock::test_only_its_own_moves_are_told',),
    ),
    Mutant(
        'testing-clock-moved-all-the-same', BEYOND, 'the clock is moved although it is not to be',
        (client('testing/idle', 'if move:', 'if True:'),),
        ('testing_idle::test_clock_need_not_be_moved',),
    ),
    Mutant(
        'testing-takes-signals', BEYOND, 'a test cannot be interrupted',
        (client('testing/idle', "{'signals': False, **options}", 'options'),),
        ('testing_idle::test_signals_are_left_to_the_test',),
    ),
    Mutant(
        'testing-tells-all', BEYOND, 'all of a million tasks are told',
        (client('testing/idle', 'if shown == SHOWN:', 'if False:'),),
        ('testing_idle::test_pause_is_told',),
    ),
    Mutant(
        'testing-error-of-the-loop-unheard', BEYOND, 'what a loop raises is not raised',
        (client('testing/idle', 'running.result()', 'pass'),),
        ('testing_idle::test_error_of_the_loop_is_raised',),
    ),
    Mutant(
        'testing-options-go-before-arguments', BEYOND, 'options of the test go before the arguments of a queue',
        (client('testing/plugin', '**torrelque_options, **options}', '**options, **torrelque_options}'),),
        ('testing_plugin::test_queues_with_options',),
    ),
    Mutant(
        'testing-keys-stay', BEYOND, 'what a test leaves is not removed',
        (client('testing/plugin', 'client.unlink(key)', 'pass'),),
        ('testing_plugin::test_with_pytest_asyncio_in_strict_mode',),
    ),
    Mutant(
        'testing-clock-of-one-queue', BEYOND, 'the clock of a test moves its first queue only',
        (client('testing/plugin', 'clock.queues = _torrelque_queues', 'pass'),),
        ('testing_plugin::test_queues_with_options',),
    ),
    Mutant(
        'testing-queues-of-one-name', BEYOND, 'further queues of a test have the name of the first',
        (client(
            'testing/plugin',
            "f'{torrelque_queue_name}-{number + 1}' if number else torrelque_queue_name",
            'torrelque_queue_name',
        ),),
        ('testing_plugin::test_queues_with_options',),
    ),
    Mutant(
        'testing-queues-not-closed', BEYOND, 'queues of a test are not closed',
        (client('testing/plugin', '_torrelque_closing.push_async_callback(queue.aclose)', 'pass'),),
        ('testing_plugin::test_with_pytest_asyncio_in_strict_mode',),
    ),
)  # fmt: skip
