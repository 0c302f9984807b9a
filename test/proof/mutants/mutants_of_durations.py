"""Hand-made faults in durations, which are seconds or a timedelta, and in the names of the package."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

DURATIONS = (
    Mutant(
        'duration-without-its-days', BEYOND, 'a delay of two days is none',
        (client('protocol/check', 'duration.total_seconds()', 'duration.seconds'),),
        ('durations::test_a_timedelta_is_sent_as_so_many_seconds_and_refused_as_they_are',),
    ),
    Mutant(
        'duration-of-a-rate', BEYOND, 'a rate in a timedelta is refused by an error that is none of ours',
        (client('protocol/check', 'round(seconds_of(rate[1]) * 1000, 9)', 'round(rate[1] * 1000, 9)'),),
        ('durations::test_a_timedelta_is_sent_as_so_many_seconds_and_refused_as_they_are',),
    ),
    Mutant(
        'duration-of-a-plain-lease', BEYOND, 'a plain task whose lease is a timedelta is sent as one with options',
        (client('protocol/options', "        return str(milliseconds(task_timeout, 'task_timeout'))\n    # Written",
                '    # Written'),),
        ('durations::test_a_timedelta_is_sent_as_so_many_seconds_and_refused_as_they_are',),
    ),
    Mutant(
        'duration-of-a-renewal', BEYOND, 'a lease cannot be renewed by a timedelta',
        (client('protocol/lease', 'else seconds_of(task_timeout)', 'else task_timeout'),),
        ('durations::test_a_lease_that_was_renewed_by_a_timedelta_is_known_to_hold_as_long',),
    ),
    Mutant(
        'duration-of-a-queue-object', BEYOND, 'the time of a queue object is read as what it was set to',
        (client('base', 'seconds_of(value) if name in TIMES else value', 'value'),),
        ('durations::test_a_time_of_a_queue_object_is_set_as_a_timedelta_and_read_in_seconds',),
    ),
    Mutant(
        'duration-of-another-attribute', BEYOND, 'a timedelta that an application keeps at a queue object is changed',
        (client('base', 'seconds_of(value) if name in TIMES else value', 'seconds_of(value)'),),
        ('durations::test_a_time_of_a_queue_object_is_set_as_a_timedelta_and_read_in_seconds',),
    ),
    Mutant(
        'duration-between-sweeps', BEYOND, 'a sweep at intervals of a timedelta ends after the first',
        (client('aio/sweeper', 'self._run(seconds_of(interval))', 'self._run(interval)'),),
        ('durations::test_a_scheduled_sweep_comes_again_after_a_timedelta',),
    ),
    Mutant(
        'duration-of-a-function', BEYOND, 'a retry rule that returns a timedelta has failed',
        (client('worker/retry', 'None if chosen is None else seconds_of(chosen)', 'chosen'),),
        ('worker_durations::test_a_rule_of_a_timedelta_is_that_of_so_many_seconds',),
    ),
    Mutant(
        'duration-of-a-time-limit', BEYOND, 'no task begins whose time limit is a timedelta',
        (client('worker/handling', 'call_later(timeout, held.stop', 'call_later(job.timeout, held.stop'),),
        ('worker_durations::test_what_a_handler_raises_and_a_job_says_may_be_a_timedelta',),
    ),
    Mutant(
        'duration-of-a-call', BEYOND, 'a result_ttl that is a timedelta does not fit into a payload',
        (client('tasks/options', 'object.__setattr__(self, name, check_seconds(duration, name, **bounds))',
                'check_seconds(duration, name, **bounds)'),),
        ('tasks_durations::test_a_call_and_a_decorator_take_timedeltas',),
    ),
    Mutant(
        'duration-of-a-move', BEYOND, 'a clock that was moved by a timedelta does not know how far',
        (client('testing/clock', 'seconds = _distance(seconds)\n        await', '_distance(seconds)\n        await'),),
        ('testing_clock::test_clock_is_moved_by_a_timedelta',),
    ),
    Mutant(
        'duration-of-a-thread', BEYOND, 'a worker in a thread that is to be told only is waited for',
        (client('worker/thread', 'patience = _patience(timeout)\n        if self._thread is None',
                '_patience(timeout)\n        patience = timeout\n        if self._thread is None'),),
        ('worker_durations::test_a_worker_in_a_thread_is_waited_for_by_a_timedelta',),
    ),
)  # fmt: skip

NAMES = (
    Mutant(
        'name-of-another-class', BEYOND, 'torrelque.Death is another class than it was',
        (client('__init__', 'Death = TorrelqueDeath', 'Death = TorrelqueLimit'),),
        ('aliases::test_a_public_class_has_a_name_without_the_prefix_and_is_called_as_before',),
    ),
    Mutant(
        'name-of-a-built-in-class', BEYOND, 'whoever imports everything catches less than the code says',
        (client('__init__', "    'TaskId',\n", "    'TaskId',\n    'TimeoutError',\n"),),
        ('aliases::test_import_of_everything_leaves_the_built_in_classes_alone',),
    ),
)  # fmt: skip
