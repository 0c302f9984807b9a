"""Hand-made faults in the rules of the worker: retries, attempts, what is counted, and the circuit breaker."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

RULES = (
    Mutant(
        'worker-retry-at-once', BEYOND, 'Retry(delay=0) is taken for one without a delay',
        (client(
            'worker/retry',
            'isinstance(error, Retry) and error.delay is not None',
            'isinstance(error, Retry) and error.delay',
        ),),
        ('worker_promises::test_a_handler_that_asks_for_another_attempt_at_once_gets_it',),
    ),
    Mutant(
        'worker-no-jitter', BEYOND, 'tasks that failed together come back together',
        (client('worker/retry', 'random.uniform(0, most) if self.jitter else most', 'most'),),
        ('worker::test_a_back_off_grows_to_its_cap_and_is_drawn_evenly',),
    ),
    Mutant(
        'worker-half-jitter', BEYOND, 'waits are drawn from their upper half',
        (client('worker/retry', 'random.uniform(0, most)', 'random.uniform(most / 2, most)'),),
        ('worker::test_a_back_off_grows_to_its_cap_and_is_drawn_evenly',),
    ),
    Mutant(
        'worker-backoff-without-cap', BEYOND, 'waits grow without end',
        (client(
            'worker/retry',
            'min(cap, base * self.factor ** (attempt - 1))',
            'base * self.factor ** (attempt - 1)',
        ),),
        ('worker::test_a_back_off_grows_to_its_cap_and_is_drawn_evenly',),
    ),
    Mutant(
        'worker-backoff-one-step-ahead', BEYOND, 'the first wait is that before the second retry',
        (client('worker/retry', '** (attempt - 1)', '** attempt'),),
        ('worker::test_rules_by_exception',),
    ),
    Mutant(
        'worker-backoff-overflows', BEYOND, 'after some thousand attempts there is no wait but an error',
        (client('worker/retry', 'except OverflowError:', 'except ZeroDivisionError:'),),
        ('worker_promises::test_a_back_off_has_its_cap_also_where_the_numbers_end',),
    ),
    Mutant(
        'worker-rule-of-the-farthest-class', BEYOND, 'the rule of a base class goes before that of the class',
        (client('worker/retry', 'rule[own[0]]', 'rule[own[-1]]'),),
        ('worker::test_rules_by_exception',),
    ),
    Mutant(
        'worker-rule-for-named-errors-only', BEYOND, 'an error that the rules do not name makes the task dead',
        (client('worker/retry', 'if own else Backoff()', 'if own else None'),),
        ('worker_promises::test_an_error_that_the_rules_do_not_name_is_tried_again',),
    ),
    Mutant(
        'worker-reject-is-tried-again', BEYOND, 'what a handler rejects is tried again',
        (client('worker/retry', 'if isinstance(error, Reject):', 'if False:'),),
        ('worker::test_a_handler_may_ask_for_another_attempt_or_reject_the_task',),
    ),
    Mutant(
        'worker-retry-forgets-its-delay', BEYOND, 'a Retry that comes out of a process has no delay',
        (client('worker/retry', '(self.delay, str(self))', '(None, str(self))'),),
        ('worker_promises::test_a_process_may_ask_for_an_attempt_at_another_time',),
    ),
    Mutant(
        'worker-breaker-counts-retries', BEYOND, 'a Retry is taken for a failure of the service',
        (client('worker/breaker', 'isinstance(error, (Retry, Reject))', 'isinstance(error, Reject)'),),
        ('worker_promises::test_what_a_handler_asks_for_is_no_failure_of_a_service',),
    ),
    Mutant(
        'worker-breaker-counts-rejects', BEYOND, 'a Reject is taken for a failure of the service',
        (client('worker/breaker', 'isinstance(error, (Retry, Reject))', 'isinstance(error, Retry)'),),
        ('worker_promises::test_what_a_handler_asks_for_is_no_failure_of_a_service',),
    ),
    Mutant(
        'worker-breaker-counts-any-error', BEYOND, 'errors that are not of the service open the breaker',
        (client('worker/breaker', ' or not isinstance(error, self._breaker.errors)', ''),),
        ('breaker::test_what_is_no_failure_of_a_service_does_not_count',),
    ),
    Mutant(
        'worker-breaker-one-failure-late', BEYOND, 'the breaker opens a failure too late',
        (client('worker/breaker', 'few >= breaker.failures', 'few > breaker.failures'),),
        ('worker_promises::test_a_success_that_came_too_late_tells_a_breaker_nothing',),
    ),
    Mutant(
        'worker-breaker-row-goes-on', BEYOND, 'a success does not end the row of failures',
        (client(
            'worker/breaker',
            'if self._breaker.share is None:\n                del self._gates[key]',
            'if self._breaker.share is None:\n                pass',
        ),),
        ('breaker::test_a_success_in_between_begins_the_row_anew',),
    ),
    Mutant(
        'worker-breaker-window-without-end', BEYOND, 'failures of long ago are of the share',
        (client('worker/breaker', 'gate.failed -= gate.outcomes[0]', 'pass'),),
        ('breaker::test_a_share_of_the_last_tasks_opens_it',),
    ),
    Mutant(
        'worker-breaker-without-share', BEYOND,
        'a breaker with a share opens after so many failures, whatever the share',
        (client('worker/breaker', 'few >= breaker.failures and full', 'few >= breaker.failures'),),
        ('breaker::test_a_share_of_the_last_tasks_opens_it',),
    ),
    Mutant(
        'worker-breaker-share-of-few', BEYOND, 'a share opens the breaker after fewer failures than it asks for',
        (client(
            'worker/breaker',
            'if breaker.share is None else gate.failed\n',
            'if breaker.share is None else breaker.failures\n',
        ),),
        ('worker_promises::test_a_share_asks_for_so_many_failures_at_least',),
    ),
    Mutant(
        'worker-breaker-of-groups-counts-the-queue', BEYOND, 'the failures of one group are those of the queue',
        (client('worker/breaker', "delivery.group if self._breaker.per == 'group' else None", 'None'),),
        ('breaker::test_it_may_pause_the_group_alone',),
    ),
    Mutant(
        'worker-breaker-of-a-group-pauses-all', BEYOND, 'the breaker of a group pauses the queue',
        (client(
            'worker/breaker',
            'await queue.pause(group, probe=breaker.pause)',
            'await queue.pause(None, probe=breaker.pause)',
        ),),
        ('breaker::test_it_may_pause_the_group_alone',),
    ),
    Mutant(
        'worker-breaker-without-probe', BEYOND, 'a queue that a breaker paused stays paused',
        (client('worker/breaker', 'await queue.pause(group, probe=breaker.pause)', 'await queue.pause(group)'),),
        ('breaker::test_failures_in_a_row_pause_the_queue_for_all_until_a_probe_succeeds',),
    ),
    Mutant(
        'worker-breaker-stays-open', BEYOND, 'a probe that succeeds does not end the pause',
        (client('worker/breaker', 'await queue.resume(group, probing=True)', 'False'),),
        ('breaker::test_failures_in_a_row_pause_the_queue_for_all_until_a_probe_succeeds',),
    ),
    Mutant(
        'worker-breaker-ends-the-pause-of-an-operator', BEYOND,
        'a probe that succeeds ends the pause that an operator has set meanwhile',
        (client('worker/breaker', 'resume(group, probing=True)', 'resume(group)'),),
        ('breaker::test_the_pause_of_an_operator_stays',),
    ),
    Mutant(
        'worker-breaker-looks-then-resumes', BEYOND,
        'a probe that succeeds ends the pause that an operator sets in this moment',
        (client(
            'worker/breaker',
            'if await queue.resume(group, probing=True):',
            "if await queue.command('HEXISTS', queue.keys['probes'], group or '') and await queue.resume(group):",
        ),),
        ('breaker::test_a_probe_that_succeeds_leaves_the_pause_that_an_operator_sets_in_this_moment',),
    ),
    Mutant(
        'worker-breaker-remembers-too-long', BEYOND, 'after an operator ended its pause one failure is enough',
        (client('worker/breaker', 'del self._gates[key]\n            why', 'why'),),
        ('worker_promises::test_a_breaker_begins_anew_when_an_operator_has_ended_its_pause',),
    ),
    Mutant(
        'worker-breaker-error-ends-the-delivery', BEYOND, 'a queue that cannot be paused keeps the task',
        (client('worker/breaker', "logger.warning('the circuit breaker failed: %s', exc)", 'raise'),),
        ('breaker::test_a_breaker_that_cannot_pause_does_not_keep_the_task',),
    ),
    Mutant(
        'worker-queue-named-twice', BEYOND, 'a queue may be named twice',
        (client(
            'worker/options',
            "if len({identity(one) for one in (*queues, *steal)}) < len(queues) + len(steal):",
            'if False:',
        ),),
        ('worker_around::test_queues_that_cannot_be_meant_are_refused',),
    ),
    Mutant(
        'worker-weights-unchecked', BEYOND, 'a weight may be 0',
        (client('worker/options', "check.check_count(weight, 'a weight')", 'pass'),),
        ('worker_around::test_queues_that_cannot_be_meant_are_refused',),
    ),
    Mutant(
        'worker-attempts-unchecked', BEYOND, 'a task may be tried 0 times',
        (client(
            'protocol/check',
            'return check_count(attempts, what, least)',
            'return attempts',
        ),),
        ('worker_around::test_options_that_cannot_be_meant_are_refused',),
    ),
    Mutant(
        'worker-lost-success-counts', BEYOND, 'a success that came too late is told as one',
        (client('worker/settling', 'self.released([held], [ours])', 'self.released([held], [True])'),),
        ('worker_promises::test_a_success_that_came_too_late_is_none',),
    ),
    Mutant(
        'worker-lost-success-told', BEYOND, 'a success that came too late is told to the hooks',
        (client(
            'worker/settling',
            '[ours])\n        if not ours:\n            return',
            '[ours])\n'
            '        if not ours:\n'
            '            await call_hooks_apart(held.resolved.on_success, delivery, result)\n'
            '            return',
        ),),
        ('worker_promises::test_a_success_that_came_too_late_is_none',),
    ),
    Mutant(
        'worker-lost-success-resets-the-breaker', BEYOND, 'a success that came too late ends the row of failures',
        (client(
            'worker/settling',
            '[ours])\n        if not ours:\n            return',
            '[ours])\n'
            '        if not ours:\n'
            '            if self._gates is not None:\n'
            '                await self._gates.count(delivery, None)\n'
            '            return',
        ),),
        ('worker_promises::test_a_success_that_came_too_late_tells_a_breaker_nothing',),
    ),
    Mutant(
        'worker-lost-success-counts-in-bulk', BEYOND,
        'a success that came too late is counted as one, where several are released together',
        (client(
            'worker/releasing',
            'self._released(held, ours)',
            'self._released(held, [True] * len(ours))',
        ),),
        ('worker_promises::test_a_success_that_came_too_late_is_none',),
    ),
    Mutant(
        'worker-goes-before-the-job', BEYOND, 'what the worker says goes before what the function says',
        (client('worker/resolving', "default if own in (None, '') else own",
                "own if default in (None, '') else default"),),
        ('tasks_run::test_what_the_decorator_says_goes_before_the_worker',),
    ),
    Mutant(
        'worker-hooks-after-the-job', BEYOND, "the worker's hooks are called after those of the job",
        (client('worker/resolving', 'else (defaults, job)', 'else (job, defaults)'),),
        ('worker_promises::test_what_hooks_raise_changes_nothing',),
    ),
    Mutant(
        'worker-time-limit-forgiven', BEYOND, 'an attempt that was over its time does not count',
        (client('worker/settling', 'if why is Stop.TIMEOUT:', 'if False:'),),
        ('worker_limits::test_a_time_limit_cancels_a_coroutine',),
    ),
    Mutant(
        'worker-killed-attempts-do-not-count', BEYOND, 'a task that kills its workers kills workers for ever',
        (client('worker/handling', ' and await settling.was_used_up(held, most)', ' and False'),),
        ('worker::test_a_task_that_kills_its_workers_is_dead_without_being_tried_again',),
    ),
    Mutant(
        'worker-attempts-before-those-of-the-task', BEYOND, "the worker's number of attempts goes before the task's",
        (client(
            'worker/settling',
            '(state and state.max_attempts) or delivery.job.max_attempts',
            'delivery.job.max_attempts or (state and state.max_attempts)',
        ),),
        ('worker::test_attempts_are_used_up',),
    ),
    Mutant(
        'worker-forgiven-attempts-count', BEYOND, 'attempts that were forgiven are counted',
        (client('worker/settling', 'else state.dequeue_count - state.forgiven\n', 'else state.dequeue_count\n'),),
        ('worker::test_forgiven_attempts_do_not_count',),
    ),
    Mutant(
        'worker-result-without-serialiser-tried-again', BEYOND,
        'a task whose result cannot be kept is done again and again',
        (client(
            'worker/settling',
            'hopeless=not isinstance(exc, TorrelqueFullError))\n            return\n',
            'hopeless=False)\n            return\n',
        ),),
        ('worker::test_a_result_that_cannot_be_kept_makes_the_task_dead',),
    ),
    Mutant(
        'worker-none-not-kept', BEYOND, 'a result of None is not kept although it is to be',
        (client('worker/settling', 'key = held.delivery.queue, held.resolved.ttl', 'key = held.delivery.queue, None'),),
        ('worker::test_what_a_handler_returns_is_the_result',),
    ),
    Mutant(
        'worker-thread-over-its-time-gives-its-place-up', BEYOND, 'more threads run than there are places',
        (client('worker/settling', 'await asyncio.wait([held.thread])', 'pass'),),
        ('worker_limits::test_a_thread_that_is_over_its_time_keeps_its_place',),
    ),
    Mutant(
        'worker-wait-longer-than-a-queue-takes', BEYOND, 'a wait that no queue takes keeps the task',
        (client(
            'worker/settling',
            "min(check_number(delay, 'a wait before a retry', 0), longest)",
            "check_number(delay, 'a wait before a retry', 0)",
        ),),
        ('worker_ends::test_times_that_no_queue_takes_do_not_keep_a_task',),
    ),
    Mutant(
        'worker-failing-rule-kills-the-task', BEYOND, 'a task whose rule fails is dead',
        (client('worker/settling', 'return Backoff().delay(max(1, used))', 'return None'),),
        ('worker::test_a_rule_may_be_a_function_and_may_fail',),
    ),
    Mutant(
        'worker-shutdown-counts', BEYOND, 'an attempt that a shutdown ended is counted',
        (client('worker/settling', 'requeue(delivery.id, forgive=True)', 'requeue(delivery.id)'),),
        ('worker_time::test_what_runs_may_end_until_the_patience_of_the_worker_is_over',),
    ),
    Mutant(
        'worker-gives-up-at-once', BEYOND,
        'a task whose worker cannot reach the server when it has ended is done again',
        (client(
            'worker/telling',
            'if now > max(each.valid for each in held) or self.stopping and now > self.until:',
            'if True:',
        ),),
        ('worker_time::test_what_a_handler_came_to_is_settled_when_the_server_is_back',),
    ),
    Mutant(
        'worker-starts-unheard', BEYOND, 'nobody is told that a task begins',
        (client('worker/handling', 'if self._on_start is not None:', 'if False:'),),
        ('worker_promises::test_what_hooks_raise_changes_nothing',),
    ),
)  # fmt: skip
