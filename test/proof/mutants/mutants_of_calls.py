"""Hand-made faults in what stands around calls: queues, apps, names, headers, middleware, expiry, resources."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

CALLS = (
    Mutant(
        'queues-of-functions-forgotten', BEYOND, 'tasks of a function with a queue of its own are never worked on',
        (client('tasks/app', 'own = [definition.options.queue or self._name for definition',
                'own = [self._name for _'),),
        ('tasks_queues::test_a_worker_serves_all_queues_of_an_app_in_their_order',),
    ),
    Mutant(
        'weights-of-an-app-ignored', BEYOND, 'a queue with little weight gets as much of the worker as others',
        (client('worker/options', "weights = dict(given) if (given := getattr(queue, 'weights', None)) else None",
                'weights = None'),),
        ('tasks_queues::test_queues_share_a_worker_by_their_weights',),
    ),
    Mutant(
        'queue-of-a-handle-forgotten', BEYOND, 'a handle looks for its task in another queue',
        (client('tasks/function', 'None, self._queue, self._decode)\n\n    async def _enqueue_otherwise',
                'None, None, self._decode)\n\n    async def _enqueue_otherwise'),),
        ('tasks_queues::test_handles_know_the_queue_of_their_task',),
    ),
    Mutant(
        'lent-queues-not-adopted', BEYOND, 'a queue object of a worker is used in two event loops, and never closed',
        (client('tasks/loops', 'here.adopt(str(name), other)', 'pass'),),
        ('tasks_queues::test_queue_objects_that_a_worker_was_given_are_closed_with_its_event_loop',),
    ),
    Mutant(
        'own-client-left-open', BEYOND, 'an app leaves connections behind that nobody else can close',
        (client('tasks/loops', 'self._spent = None, True\n        return background', 'self._spent = None, False\n'
                '        return background'),),
        ('tasks_queues::test_an_app_of_an_address_owns_its_clients',),
    ),
    Mutant(
        'password-shown', BEYOND, 'a message has the password of the server',
        (client('tasks/address', 'words, at, place = base.rpartition', 'place, at, words = base.partition'),),
        ('tasks_queues::test_an_address_is_shown_without_its_password',),
    ),
    Mutant(
        'second-app-not-asked', BEYOND, 'a worker buries, or leaves, what its second app knows',
        (client('worker/apps', 'if app is apps[-1]:', 'if True:'),),
        ('tasks_apps::test_a_worker_serves_several_apps_each_with_its_own_functions',),
    ),
    Mutant(
        'state-of-the-wrong-app', BEYOND, 'a function is given what another app has opened',
        (client('worker/apps', 'delivery.app = _whole(app)', 'delivery.app = self._all[0]'),),
        ('tasks_apps::test_a_worker_serves_several_apps_each_with_its_own_functions',),
    ),
    Mutant(
        'unknown-counted', BEYOND, 'workers of an old version use up the attempts of a new call',
        (client('worker/settling', 'delay, error=text, forgive=True)\n        )\n',
                'delay, error=text)\n        )\n'),),
        ('tasks_apps::test_a_worker_of_an_old_version_leaves_new_calls_to_others',),
    ),
    Mutant(
        'unknown-for-ever', BEYOND, 'a call that no version knows is handed out for ever',
        (client('worker/settling', 'if times >= bounds.unknown:', 'if False:'),),
        ('tasks_apps::test_a_call_that_no_worker_knows_is_dead_in_the_end',),
    ),
    Mutant(
        'unknown-buried', BEYOND, 'a rolling deployment buries what the new version does',
        (client('worker/handling', 'settling.settle(held, settling.unknown(held, exc))',
                'settling.settle(held, settling.failed(held, exc, hopeless=True))'),),
        ('tasks_apps::test_a_worker_of_an_old_version_leaves_new_calls_to_others',),
    ),
    Mutant(
        'headers-replaced', BEYOND, 'headers of a call take those of its function away',
        (client('tasks/options', "changes['headers'] = {**self.headers, **check_headers(changes['headers'])}",
                'pass'),),
        ('tasks_producing::test_headers_travel_to_the_function',),
    ),
    Mutant(
        'middleware-inside-out', BEYOND, 'the first middleware is the innermost',
        (client('tasks/producing', 'for one in reversed(middleware):\n        last',
                'for one in middleware:\n        last'),),
        ('tasks_producing::test_a_call_goes_through_the_middleware_of_its_app',),
    ),
    Mutant(
        'bulk-goes-on-behind-an-error', BEYOND, 'the ids of a bulk error are not those of the first calls',
        (client('tasks/producing', 'ready = sorted(number for number in self.through if number < bad)',
                'ready = sorted(self.through)'),),
        ('tasks_producing::test_bulk_calls_go_through_the_middleware_together',),
    ),
    Mutant(
        'ordered-calls-overtake-in-middleware', BEYOND, 'a middleware that waits changes a strict order',
        (client('tasks/function', "f'enqueueing {self.name}', alone=alone)", "f'enqueueing {self.name}')"),),
        ('tasks_producing::test_ordered_calls_keep_their_order_through_a_middleware_that_waits',),
    ),
    Mutant(
        'expired-is-run', BEYOND, 'a task is run that is of no use any more',
        (client('tasks/expiry', 'if age >= expires and not (', 'if False and not ('),),
        ('tasks_expiry::test_a_task_that_is_handed_out_too_late_is_dead_and_never_run',),
    ),
    Mutant(
        'expiry-of-bulk-calls-forgotten', BEYOND, 'calls that are enqueued in bulk never expire at their instant',
        (client('tasks/function', 'pack = self._pack_dated if options.deadline is not None else',
                'pack ='),),
        ('tasks_expiry::test_a_task_that_is_handed_out_too_late_is_dead_and_never_run',),
    ),
    Mutant(
        'lifespan-left-early', BEYOND, 'resources are closed while tasks use them',
        (client('worker/worker', 'self._common.state = await self._lifespan.enter(stack, lifespan)',
                'async with lifespan() as self._common.state:\n                                pass'),),
        ('tasks_around::test_a_lifespan_is_left_after_the_last_task_however_the_worker_ends',),
    ),
    Mutant(
        'thread-without-its-context', BEYOND, 'what belongs to a thread is neither opened nor closed',
        (client('worker/handling', 'with around(delivery):\n        return call(delivery)', 'return call(delivery)'),),
        ('tasks_around::test_a_plain_function_runs_inside_the_context_manager_of_its_thread',),
    ),
    Mutant(
        'admission-not-asked', BEYOND, 'a task is handled that its job refuses',
        (client('worker/resolving', 'direct = coroutine and full.admit is None', 'direct = coroutine'),),
        ('tasks_expiry::test_a_task_that_is_handed_out_too_late_is_dead_and_never_run',),
    ),
    Mutant(
        'result-not-encoded', BEYOND, 'a result is kept that is not what the job says',
        (client('worker/settling', 'kept = encode or _unchanged', 'kept = _unchanged'),),
        ('tasks_around::test_a_job_may_refuse_a_task_and_keep_something_else_than_its_result',),
    ),
    Mutant(
        'all-returns-count-as-unknown', BEYOND, 'a task that shutdowns gave back is buried by the first old worker',
        (client('worker/settling', 'times = int(before[1]) if before else 0', 'times = state.forgiven'),),
        ('tasks_apps::test_what_went_back_for_other_reasons_does_not_count_as_unknown',),
    ),
    Mutant(
        'apps-told-apart-by-name-alone', BEYOND, 'a task is run by the app of another server',
        (client('worker/apps', 'return (is_one(queue), *map(_server_of, clients_of(queue))), queue.name',
                'return None, queue.name'),),
        ('tasks_apps::test_apps_of_one_name_on_two_databases_keep_apart',),
    ),
    Mutant(
        'lifespan-of-each-view', BEYOND, 'what an app opens once is opened for each view of it',
        (client('worker/apps', 'if lifespan is not None and whole not in states:', 'if lifespan is not None:'),),
        ('tasks_apps::test_views_of_one_app_have_one_lifespan',),
    ),
    Mutant(
        'bulk-waits-for-all', BEYOND, 'a middleware that lets some pass at a time stops a bulk call for ever',
        (client('tasks/producing', 'elif not await self._moves():', 'elif not await self._moved.wait():'),),
        ('tasks_producing::test_a_middleware_may_let_only_so_many_calls_of_a_bulk_pass_at_a_time',),
    ),
    Mutant(
        'ids-of-results-alone', BEYOND, 'a task that is in the queue is not told of',
        (client('tasks/producing', 'ids = {**others, **self._ids}', 'ids = others'),),
        ('tasks_producing::test_a_middleware_that_fails_behind_the_sending_loses_no_id',),
    ),
    Mutant(
        'lifespan-waited-for', BEYOND, 'a worker whose database is away cannot be stopped',
        (client('worker/worker', '        self._lifespan.stop(self._stops)\n', ''),),
        ('tasks_around::test_a_lifespan_that_waits_does_not_keep_a_worker_that_is_to_stop',),
    ),
    Mutant(
        'lent-client-left-open', BEYOND, 'an app leaves the connection behind that its worker was lent',
        (client('tasks/loops', 'if self._owns_clients:\n                    here.close_too(queue)', 'pass'),),
        ('tasks_queues::test_a_client_that_a_worker_was_lent_before_the_app_was_used_is_closed',),
    ),
    Mutant(
        'admission-not-repeated', BEYOND, 'a server that is away for a moment costs an attempt before it began',
        (client('worker/handling', 'await self.settling.telling.repeat([held], lambda: admit(held.delivery))',
                'await admit(held.delivery)'),),
        ('tasks_around::test_a_server_that_is_away_for_a_moment_is_no_reason_to_refuse_a_task',),
    ),
)  # fmt: skip
