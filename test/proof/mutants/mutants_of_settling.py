"""Hand-made faults in what a worker books, and in what it says."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

FOR_A_WHILE = 'worker_settling::test_what_was_done_is_booked_when_the_server_takes_writes_again'
AS_IT_IS = 'worker_settling::test_a_cancellation_is_booked_as_what_it_is'
ITSELF = 'worker_settling::test_a_task_that_cancels_itself_is_a_failed_attempt'
REFUSED = 'worker_log::test_what_would_break_later_is_refused_when_a_worker_is_made'
TOO_LARGE = 'worker_refusals::test_a_result_that_is_too_large_for_the_server_makes_the_task_dead'
TEXTS = 'worker_refusals::test_any_text_of_an_error_is_kept'
LINES = 'worker_log::test_a_worker_tells_of_its_start_its_tasks_and_its_end'

OUTCOMES = (
    Mutant(
        'booked-by-what-came-out', BEYOND, 'a shutdown has a task fail whose library makes an error of it',
        (client('worker/settling', 'if why is None and not (asked and interrupted):',
                'if not isinstance(error, asyncio.CancelledError):'),),
        (AS_IT_IS,),
    ),
    Mutant(
        'time-limit-by-what-came-out', BEYOND, 'a task that is over its time fails with what its library made of that',
        (client('worker/settling', 'await self.failed(held, late)', 'await self.failed(held, error)'),),
        (AS_IT_IS,),
    ),
    Mutant(
        'end-of-loop-a-failure', BEYOND, 'tasks fail because their event loop ends',
        (client('worker/settling', 'and not (asked and interrupted):', 'and True:'),),
        ('worker_settling::test_the_end_of_the_event_loop_is_no_failure',),
    ),
    Mutant(
        'cancels-itself-for-nothing', BEYOND, 'a task that cancels itself goes round for ever',
        (client('worker/settling', 'and not (asked and interrupted):', 'and not asked:'),),
        (ITSELF,),
    ),
    Mutant(
        'settled-in-the-handlers-task', BEYOND, 'a timer that a handler left behind cuts off what becomes of its task',
        (client('worker/handling', 'settling.settle(held, settling.succeeded(held, result))',
                'held.settle()\n            await settling.succeeded(held, result)\n            return False'),),
        ('worker_settling::test_a_timer_that_a_handler_left_behind_does_not_meet_the_settling',),
    ),
)  # fmt: skip

REFUSALS = (
    Mutant(
        'refused-is-refused', BEYOND, 'finished work is done again where the server took no writes for a moment',
        (client('worker/telling', 'if isinstance(exc, TorrelqueServerError) and not exc.passing:',
                'if isinstance(exc, TorrelqueServerError):'),),
        (FOR_A_WHILE,),
    ),
    Mutant(
        'passing-forgotten-by-copies', BEYOND, 'one of many who share a refused call takes it for final',
        (client('error', 'copy.passing, copy.untouched = error.passing,', 'copy.passing, copy.untouched = False,'),),
        (FOR_A_WHILE,),
    ),
    Mutant(
        'gives-up-when-it-stops', BEYOND, 'a worker that stops does not book what was done',
        (client('worker/telling', 'self.stopping and now > self.until', 'self.stopping'),),
        (FOR_A_WHILE,),
    ),
    Mutant(
        'never-gives-up', BEYOND, 'a worker cannot be stopped while the server takes no writes',
        (client('worker/telling', ' or self.stopping and now > self.until', ''),
         client('worker/worker', 'await self._handling.settling.abandon(self._held)', 'pass')),
        ('worker_settling::test_a_worker_that_stops_does_not_wait_for_ever_for_a_server_that_takes_no_writes',),
    ),
    Mutant(
        'lease-left-while-unsettled', BEYOND, 'a task is done again whose success could not be told for a lease',
        (client('worker/keeper', 'if not held.needs_lease:', 'if held.settled:'),),
        ('worker_settling::test_a_lease_is_renewed_while_its_task_cannot_be_settled',),
    ),
    Mutant(
        'bulk-release-in-pieces', BEYOND, 'what was released counts as lost where a bulk release is refused half-way',
        (client('worker/bounds', ' release: int = 250', ' release: int = 1000'),),
        ('worker_settling::test_a_bulk_release_that_is_refused_half_way_loses_nothing',),
    ),
    Mutant(
        'refused-result-runs-again', BEYOND, 'a task whose result the server refuses runs again without end',
        (client('worker/settling', 'await self.failed(held, exc, hopeless=not isinstance(exc, TorrelqueFullError))',
                'raise'),),
        (TOO_LARGE,),
    ),
    Mutant(
        'poison-never-found', BEYOND, 'a result that no connection survives is sent for ever',
        (client('worker/results', 'if losses == self._bounds.result_losses:', 'if False:'),),
        (TOO_LARGE,),
    ),
    Mutant(
        'error-refused', BEYOND, 'a task whose error the server refuses stays working',
        (client('worker/settling', 'return await self.telling.repeat([held], lambda: settle(text))', 'raise'),),
        ('worker_refusals::test_an_error_that_cannot_be_kept_is_replaced',),
    ),
    Mutant(
        'error-not-encodable', BEYOND, 'a task whose error is no text stays working',
        (client('worker/trace', "return text.encode('utf-8', 'backslashreplace').decode()", 'return text'),),
        (TEXTS,),
    ),
    Mutant(
        'error-by-its-beginning', BEYOND, 'of a long error the end is cut off, which tells what it was',
        (client('worker/trace', "'…' + text[-MAX_ERROR:]", "text[:MAX_ERROR] + '…'"),),
        ('worker_refusals::test_of_a_long_error_the_end_is_kept',),
    ),
)  # fmt: skip

SAYINGS = (
    Mutant(
        'frames-of-ours', BEYOND, 'an error begins with frames that tell its author nothing',
        (client('worker/trace', 'while frames and frames[0].filename.startswith(_ABOVE):', 'while False:'),),
        ('worker_refusals::test_a_kept_error_has_none_of_our_frames_where_there_is_no_other',),
    ),
    Mutant(
        'frames-between', BEYOND, 'an error behind a middleware has frames that tell its author nothing',
        (client('worker/trace', 'if not frame.filename.startswith(_BETWEEN)', 'if True'),),
        ('worker_refusals::test_a_kept_error_begins_with_the_users_frames',),
    ),
    Mutant(
        'group-without-members', BEYOND, 'of a group the last line does not say what went wrong',
        (client('worker/trace', 'if depth and (members := _members(error)):', 'if members := ():'),),
        ('worker_refusals::test_of_a_group_its_members_are_kept',),
    ),
    Mutant(
        'dead-in-passing', BEYOND, 'a dead task is no error in the log',
        (client('worker/log', "ERROR, 'task_dead', delivery, 'is dead', trace",
                "WARNING, 'task_dead', delivery, 'is dead', trace"),),
        (LINES,),
    ),
    Mutant(
        'retry-a-failure', BEYOND, 'a handler that asks for another attempt is a warning in the log',
        (client('worker/log', 'elif isinstance(error, Retry):', 'elif False:'),),
        (LINES,),
    ),
    Mutant(
        'success-unsaid', BEYOND, 'tasks that went well are not in the log',
        (client('worker/log', 'return logger.isEnabledFor(logging.INFO)', 'return False'),),
        (LINES,),
    ),
    Mutant(
        'background-worker-ends-in-silence', BEYOND, 'nobody is told that a worker in the background has ended',
        (client('worker/worker', 'self._log.broke(exc)', 'pass'),),
        ('worker_log::test_a_worker_that_ends_by_an_error_says_so_at_once',),
    ),
    Mutant(
        'connection-lost-unsaid', BEYOND, 'a lost connection is not in the log',
        (client('aio/connection', 'self._tell_loss()\n        self._lost()', 'self._lost()'),),
        ('worker_log::test_a_connection_that_was_lost_is_told_and_that_it_is_back',),
    ),
    Mutant(
        'connection-back-unsaid', BEYOND, 'nobody is told that there is a connection again',
        (client('aio/connection', 'if self._loss_told:', 'if False:'),),
        ('worker_log::test_a_connection_that_was_lost_is_told_and_that_it_is_back',),
    ),
    Mutant(
        'no-rule-at-all', BEYOND, 'a worker without a rule fails each time that it needs one',
        (client('worker/resolving', 'if job.retry is None:', 'if False:'),
         client('worker/resolving', 'check_rule(job.retry)', 'job.retry and check_rule(job.retry)')),
        (REFUSED,),
    ),
    Mutant(
        'absurd-times', BEYOND, 'a worker takes a time that no queue takes',
        (client('protocol/check', 'if not least <= seconds <= most and', 'if not least <= seconds and'),),
        (REFUSED,),
    ),
    Mutant(
        'any-breaker', BEYOND, 'a worker takes anything for a breaker',
        (client('worker/handling', 'if breaker is not None and not isinstance(breaker, Breaker):', 'if False:'),),
        (REFUSED,),
    ),
    Mutant(
        'errors-as-they-came', BEYOND, 'a breaker with a list of errors never opens',
        (client('worker/breaker', "object.__setattr__(self, 'errors', kinds)", 'pass'),),
        ('worker_log::test_errors_of_a_breaker_may_be_any_collection_of_them',),
    ),
)  # fmt: skip

UNSURE = (
    Mutant(
        'repeated-as-new', 6, 'whoever repeats a call that was carried out late is told that the lease was lost',
        (client('aio/session', 'await self.call(name, again, resent=True)', 'await self.call(name, again)'),),
        ('unsure::test_whoever_repeats_a_call_is_told_what_became_of_the_first',),
    ),
    Mutant(
        'repeated-in-bulk-as-new', 6, 'whoever repeats a bulk release is told that the leases were lost',
        (client('aio/bulk', 'if not session.unsure:\n        return session.call(many.name, args)',
                'if session:\n        return session.call(many.name, args)'),),
        ('unsure::test_whoever_repeats_a_call_is_told_what_became_of_the_first',),
    ),
    Mutant(
        'repeated-with-another-mark', 6, 'a repeated bury is taken for one of another delivery',
        (client('protocol/unsure', 'known = ROWS[name].known_by', 'known = 2'),),
        ('unsure::test_whoever_repeats_a_call_is_told_what_became_of_the_first',),
    ),
    Mutant(
        'repeated-for-good', 6, 'a call that was answered is taken for in doubt for ever',
        (client('aio/session', '            self.unsure.forget(name, args)\n', ''),),
        ('unsure::test_whoever_repeats_a_call_is_told_what_became_of_the_first',),
    ),
    Mutant(
        'repeated-synchronously-as-new', 6, 'whoever repeats a synchronous call is told that the lease was lost',
        (client('sync/queue', 'self._call(name, again, resent=True)', 'self._call(name, again)'),),
        ('unsure::test_whoever_repeats_a_synchronous_call_is_told_what_became_of_the_first',),
    ),
    Mutant(
        'doubts-without-end', BEYOND, 'calls that nobody makes again are remembered for ever',
        (client('protocol/unsure', 'while len(self.calls) > self._most:', 'while False:'),),
        ('unsure::test_of_calls_that_are_in_doubt_the_latest_are_remembered',),
    ),
)  # fmt: skip

ODD = (
    Mutant(
        'exit-of-a-task-ends-the-loop', BEYOND, 'an asyncio task that a handler began ends the program',
        (client('worker/interrupts', 'coroutine = _Kept(coroutine)', 'pass'),),
        ('worker_interrupts::test_what_ends_an_event_loop_is_a_failed_attempt_in_tasks_that_a_handler_began',),
    ),
    Mutant(
        'exit-of-a-task-of-a-task', BEYOND, 'an asyncio task of a task of a handler ends the program',
        (client('worker/interrupts', 'return isinstance(coroutine, _Kept) or getattr(', 'return getattr('),),
        ('worker_interrupts::test_what_ends_an_event_loop_is_a_failed_attempt_in_tasks_that_a_handler_began',),
    ),
    Mutant(
        'factory-left-behind', BEYOND, 'a worker leaves its ways in the event loop of the application',
        (client('worker/interrupts', 'factory.restore(loop)', 'pass'),),
        ('worker_interrupts::test_what_ends_an_event_loop_is_a_failed_attempt_in_tasks_that_a_handler_began',),
    ),
    Mutant(
        'factory-of-others-ignored', BEYOND, 'the task factory of the application is out of work',
        (client('worker/interrupts', 'if self._before is not None:', 'if False:'),),
        ('worker_interrupts::test_a_task_factory_of_the_application_makes_those_tasks_too',),
    ),
    Mutant(
        'hook-ends-the-settling', BEYOND, 'a hook that raises something odd keeps the others from being called',
        (client('worker/chain', 'except BaseException as exc:', 'except Exception as exc:'),),
        ('worker_interrupts::test_what_a_hook_raises_is_logged_and_changes_nothing',),
    ),
    Mutant(
        'hook-fails-the-attempt', BEYOND, 'a hook that cancels itself has the attempt fail',
        (client('worker/handling', ', asked=lambda: held.stopped is not None', ''),),
        ('worker_interrupts::test_a_hook_that_cancels_its_own_task_changes_nothing',),
    ),
    Mutant(
        'cancels-itself-at-a-stop', BEYOND, 'a task that cancels itself goes round for ever where workers come and go',
        (client('worker/settling', 'if why is None and not (asked and interrupted):',
                'if why is None and not (asked and self.telling.stopping):'),),
        ('worker_interrupts::test_a_handler_that_cancels_itself_while_its_worker_stops_has_failed',),
    ),
    Mutant(
        'thread-begins-by-luck', BEYOND, 'a worker in a thread does not begin where a snapshot has failed',
        (client('worker/thread', 'if not exc.passing:', 'if True:'),),
        ('worker_interrupts::test_a_worker_in_a_thread_begins_where_the_server_takes_no_writes_for_a_while',),
    ),
)  # fmt: skip

AT_ONCE = (
    Mutant(
        'large-call-for-ever', BEYOND, 'a progress that no connection survives runs without end',
        (client('aio/link', 'first.ticks = self._give_up', 'pass'),),
        ('worker_refusals::test_a_progress_that_no_connection_survives_is_raised_in_the_handler',),
    ),
    Mutant(
        'begins-by-luck', BEYOND, 'an app with an ordered queue does not begin where a replica lags',
        (client('worker/worker', 'if not exc.passing or self._burst and self._loop.time() > end:', 'if True:'),),
        ('worker_interrupts::test_an_app_with_an_ordered_queue_begins_when_the_server_takes_writes',),
    ),
    Mutant(
        'silent-queue-asked-each-time', BEYOND, 'a queue waits for the silent server of another',
        (client('worker/source', 'if spare and self._is_spared(queue):', 'if False:'),),
        ('worker_interrupts::test_no_queue_waits_for_the_silent_server_of_another',),
    ),
    Mutant(
        'silent-queue-forgotten', BEYOND, 'a queue whose server was silent once is never asked again',
        (client(
            'worker/source',
            'return since is not None and asyncio.get_running_loop().time() < since + self._bounds.spare',
            'return since is not None',
        ),),
        ('worker_interrupts::test_no_queue_waits_for_the_silent_server_of_another',),
    ),
    Mutant(
        'message-instead-of-frames', BEYOND, 'of an error with a long message neither class nor frames are kept',
        (client('worker/trace', '_encodable(_shorten(text.rstrip(), error))', '_encodable(text.rstrip())'),),
        ('worker_refusals::test_a_long_message_leaves_room_for_the_class_and_the_frames',),
    ),
    Mutant(
        'odd-errors-break-the-log', BEYOND, 'an exception that is odd itself keeps hooks from being called',
        (client('worker/trace', 'if depth and (members', 'if (members'),),
        ('worker_refusals::test_exceptions_that_are_odd_themselves_are_failures_like_others',),
    ),
)  # fmt: skip

SETTLING = (*OUTCOMES, *REFUSALS, *SAYINGS, *UNSURE, *ODD, *AT_ONCE)
