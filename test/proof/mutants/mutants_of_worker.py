"""Hand-made faults in the worker at work: where tasks come from, leases, threads, middleware, rates."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

WORKER = (
    Mutant(
        'worker-steals-beside-its-own', BEYOND, 'tasks are stolen although the own queues have some',
        (client('worker/source', 'if count <= 0 or queue in self._steal and taken:', 'if count <= 0:'),),
        ('worker_promises_of_sources::test_nothing_is_stolen_beside_tasks_of_its_own',),
    ),
    Mutant(
        'worker-surplus-dropped', BEYOND, 'what waiting for several queues brought too much waits for its lease',
        (client('worker/source', 'await give_back(surplus)', 'pass'),),
        ('worker_promises_of_sources::test_what_waiting_for_several_queues_brought_too_much_goes_back',),
    ),
    Mutant(
        'worker-steals-first', BEYOND, 'the queues to steal from go first',
        (client(
            'worker/source',
            'for queue in self.queues:\n                if count',
            'for queue in (*self._steal, *self._queues):\n                if count',
        ),),
        ('worker_promises_of_sources::test_nothing_is_stolen_beside_tasks_of_its_own',),
    ),
    Mutant(
        'worker-last-queue-first', BEYOND, 'the last queue goes before the first',
        (client(
            'worker/source',
            'for queue in self.queues:\n                if count',
            'for queue in (*self._queues[::-1], *self._steal):\n                if count',
        ),),
        ('worker_sources::test_queues_are_served_in_order',),
    ),
    Mutant(
        'worker-weights-alike', BEYOND, 'all queues have the same weight',
        (client('worker/source', 'self._credit[queue] += weight', 'self._credit[queue] += 1'),),
        ('worker_sources::test_queues_share_a_worker_by_weight',),
    ),
    Mutant(
        'worker-weights-without-turns', BEYOND, 'the queue of the greatest weight takes all',
        (client('worker/source', 'self._credit[chosen] -= whole', 'pass'),),
        ('worker_sources::test_queues_share_a_worker_by_weight',),
    ),
    Mutant(
        'worker-given-back-in-another-order', BEYOND, 'tasks that were not begun go back the wrong way round',
        (client('worker/source', 'for task_id, _ in reversed(tasks)]', 'for task_id, _ in tasks]'),),
        ('worker_promises_of_sources::test_what_was_taken_and_not_begun_goes_back_in_its_order',),
    ),
    Mutant(
        'worker-not-begun-is-counted', BEYOND, 'giving back what was not begun costs an attempt',
        (client('worker/source', 'requeue(task_id, forgive=True)', 'requeue(task_id)'),),
        ('worker_ends::test_what_does_not_finish_is_given_back_uncounted',),
    ),
    Mutant(
        'worker-stop-strands-what-was-taken', BEYOND,
        'a worker that stops while it looks into the next queue keeps what the first gave',
        (client(
            'worker/source',
            'except BaseException:\n            await give_back(taken)',
            'except BaseException:\n            pass',
        ),),
        ('worker_promises_of_sources::test_what_was_taken_and_not_begun_goes_back_in_its_order',),
    ),
    Mutant(
        'worker-stop-strands-what-it-waited-for', BEYOND,
        'a worker that stops in the moment in which tasks come keeps them',
        (client('worker/source', 'if cancelled:\n        await give_back(taken)', 'if cancelled:\n        pass'),),
        ('worker_promises_of_sources::test_what_comes_in_the_moment_of_the_end_goes_back',),
    ),
    Mutant(
        'worker-error-of-one-of-its-queues-unheard', BEYOND,
        'an error of the server at one of several queues is not raised',
        (client('worker/source', 'raise failures[0]', 'pass'),),
        ('worker_promises_of_sources::test_an_error_of_one_of_several_queues_ends_the_worker',),
    ),
    Mutant(
        'worker-middleware-inside-out', BEYOND, 'the last middleware is the outermost',
        (client('worker/chain', 'for one in reversed(middleware):', 'for one in middleware:'),),
        ('worker_around::test_middleware_stands_around_the_handler_the_first_outermost',),
    ),
    Mutant(
        'worker-hook-fails-the-task', BEYOND, 'what a hook raises goes on',
        (client('worker/chain', "logger.exception('the hook %r failed', hook)", 'raise'),),
        ('worker_promises::test_what_hooks_raise_changes_nothing',),
    ),
    Mutant(
        'worker-hook-not-awaited', BEYOND, 'a hook that is a coroutine function does nothing',
        (client('worker/chain', 'await result', 'result.close()'),),
        ('worker_around::test_hooks_tell_and_their_failures_change_nothing',),
    ),
    Mutant(
        'worker-lease-renewed-once', BEYOND, 'a lease is renewed once, and not again',
        (client(
            'worker/keeper',
            'held.renewed(began)',
            'held.renewed(began + 3 * held.lease)',
        ),),
        ('worker_time::test_a_lease_is_renewed_at_each_third_of_it',),
    ),
    Mutant(
        'worker-renewal-not-tried-again', BEYOND, 'a renewal that fails is the last',
        (client('worker/keeper', 'await asyncio.sleep(self._bounds.renew_pause)', 'return'),),
        ('worker_time::test_a_renewal_that_fails_is_tried_again_while_the_lease_lasts',),
    ),
    Mutant(
        'worker-renewal-does-not-tell', BEYOND, 'a renewal that is refused does not end the handler',
        (client(
            'worker/keeper',
            'else:\n                            held.stop(Stop.LOST)',
            'else:\n                            pass',
        ),),
        ('worker_time::test_a_handler_that_is_told_of_the_loss_of_its_lease_is_cancelled',),
    ),
    Mutant(
        'worker-away-for-a-lease', BEYOND, 'a handler goes on whose lease ran out while the server was away',
        (client('worker/keeper', 'held.stop(Stop.EXPIRED)', 'pass'),),
        ('worker_time::test_a_renewal_that_fails_is_tried_again_while_the_lease_lasts',),
    ),
    Mutant(
        'worker-nothing-is-watched', BEYOND, 'the handler of a cancelled task runs until the next renewal',
        (client(
            'worker/keeper',
            'held.watch_by(self._call(self._follow(held)))',
            'held.watch_by(self._call(asyncio.sleep(0)))',
        ),),
        ('worker_time::test_what_runs_for_longer_than_a_second_is_watched',),
    ),
    Mutant(
        'worker-cancelled-is-lost', BEYOND, 'a cancelled task is told as a lost lease',
        (client('worker/keeper', 'if state.status is TorrelqueTaskStatus.CANCELLED:', 'if False:'),),
        ('worker_time::test_a_handler_whose_task_is_taken_away_is_cancelled_at_once',),
    ),
    Mutant(
        'worker-attempt-of-another', BEYOND, 'the task is handed to another, and the handler goes on',
        (client('worker/keeper', ' or state.dequeue_count != delivery.attempt', ''),),
        ('worker_time::test_a_handler_whose_task_is_handed_to_another_is_cancelled_at_once',),
    ),
    Mutant(
        'worker-first-renewal-too-late', BEYOND, 'the first renewal is after the end of the lease',
        (client(
            'worker/held',
            'self.renewed(now)',
            'self.renewed(now + 3 * self.lease)',
        ),),
        ('worker_time::test_a_lease_is_renewed_at_each_third_of_it',),
    ),
    Mutant(
        'worker-lease-of-the-queue', BEYOND, 'a lease of its own is renewed at the time of the queue',
        (client('worker/held', 'task_id.timeout or queue.task_timeout', 'queue.task_timeout'),),
        ('worker_time::test_a_lease_is_renewed_at_each_third_of_it',),
    ),
    Mutant(
        'worker-touch-does-not-tell', BEYOND, 'a touch that is refused does not end the handler',
        (client(
            'worker/delivery',
            'if not ours and (holder',
            'if False and (holder',
        ),),
        ('worker_time::test_a_handler_that_is_told_of_the_loss_of_its_lease_is_cancelled',),
    ),
    Mutant(
        'worker-cancels-twice', BEYOND, 'what a handler does at its end is cancelled as well',
        (client('worker/held', 'if self.stopped is None and not self.settled:', 'if not self.settled:'),),
        ('worker_time::test_a_handler_is_cancelled_once_and_may_clean_up',),
    ),
    Mutant(
        'worker-always-the-first-attempt', BEYOND, 'a handler is told that each attempt is the first',
        (client('worker/delivery', 'return self.id.attempt or 1', 'return 1'),),
        ('worker::test_forgiven_attempts_do_not_count',),
    ),
    Mutant(
        'worker-rate-not-spent', BEYOND, 'tasks begin at any rate',
        (client('worker/rate', 'self._tokens -= count', 'pass'),),
        ('worker_around::test_tasks_begin_at_a_rate',),
    ),
    Mutant(
        'worker-rate-saved-up', BEYOND, 'after an idle hour the tasks of an hour begin at once',
        (client(
            'worker/rate',
            'min(self._most, self._tokens + (now - self._since) * self._pace)',
            'self._tokens + (now - self._since) * self._pace',
        ),),
        ('worker_time::test_what_was_not_begun_in_an_idle_hour_is_not_made_up_for',),
    ),
    Mutant(
        'worker-thread-without-context', BEYOND, 'a thread does not see the context variables of the middleware',
        (client('worker/threads', 'lambda: context.run(call, *args)', 'lambda: call(*args)'),),
        ('worker_promises::test_a_thread_sees_the_context_variables_of_the_middleware',),
    ),
    Mutant(
        'worker-thread-of-each-call', BEYOND, 'each call has a thread of its own',
        (client('worker/threads', 'self._idle += 1', 'pass'),),
        ('worker_around::test_plain_functions_run_in_threads_of_their_own',),
    ),
    Mutant(
        'worker-without-bound', BEYOND, 'more tasks are in hand than places',
        (client('worker/worker', 'free = self.concurrency - len(self._held)', 'free = self.concurrency'),),
        ('worker::test_exactly_so_many_run_at_a_time',),
    ),
    Mutant(
        'worker-rate-for-one', BEYOND, 'more tasks begin than there are tokens',
        (client('worker/worker', 'free = min(free, await self._rate.wait())', 'await self._rate.wait()'),),
        ('worker_around::test_tasks_begin_at_a_rate',),
    ),
    Mutant(
        'worker-app-not-prepared', BEYOND, 'an app is not asked to prepare',
        (client('worker/worker', 'await self._insist(self._served.app.prepare)', 'pass'),),
        ('worker_around::test_an_app_brings_queues_and_jobs',),
    ),
    Mutant(
        'worker-first-renewal-late', BEYOND, 'the first renewal leaves a third of the lease, and not two',
        (client(
            'worker/held',
            'self.renewed(now)',
            'self.renewed(now + self.lease / 3)',
        ),),
        ('worker_time::test_a_lease_is_renewed_at_each_third_of_it',),
    ),
    Mutant(
        'worker-renewals-late', BEYOND, 'renewals leave a third of the lease, and not two',
        (client(
            'worker/held',
            'self.renew_at = began + self.lease / 3',
            'self.renew_at = began + self.lease * 2 / 3',
        ),),
        ('worker_time::test_a_lease_is_renewed_at_each_third_of_it',),
    ),
    Mutant(
        'worker-renews-one-by-one', BEYOND, 'leases that are due together are renewed one by one',
        (client(
            'worker/keeper',
            'if held.renew_at - now <= held.lease * bounds.renew_slack:',
            'if held.renew_at <= now:',
        ),),
        ('worker_time::test_leases_that_are_due_together_are_renewed_in_one_call',),
    ),
    Mutant(
        'worker-watches-too-late', BEYOND, 'a handler of ten seconds is not watched',
        (client('worker/bounds', 'watch_after: float = 1.0', 'watch_after: float = 10.0'),),
        ('worker_time::test_what_runs_for_longer_than_a_second_is_watched',),
    ),
    Mutant(
        'worker-watches-at-once', BEYOND, 'tasks of a moment are watched as well',
        (client('worker/keeper', 'if now - since >= bounds.watch_after:', 'if True:'),),
        ('worker_time::test_what_runs_for_longer_than_a_second_is_watched',),
    ),
)  # fmt: skip
