"""Hand-made faults in tests of apps: the queue of a test under an app, calls that run at once, a delivery alone."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

USING = (
    Mutant(
        'using-one-queue-for-all', BEYOND, 'all queues of an app are that of the test',
        (client('testing/under', "else f'{self._queue.name}.{name}'", 'else self._queue.name'),),
        ('using::test_other_queues_of_the_app_are_beside_that_of_the_test',),
    ),
    Mutant(
        'using-options-of-the-test', BEYOND, 'an app on the queue of a test has its serialiser and options',
        (client('testing/under', 'copy_queue(self._like,', 'copy_queue(self._queue,'),),
        ('using::test_options_and_serialiser_stay_those_of_the_app',),
    ),
    Mutant(
        'using-each-app-its-own', BEYOND, 'each of several apps has its own queue in the place of that of the test',
        (client('testing/under', 'self._queue, self._apps[0]._loops.name)', 'self._queue, app._loops.name)'),),
        ('using::test_several_apps_share_the_queues',),
    ),
    Mutant(
        'using-name-of-the-server', BEYOND, 'middleware is told the name that a queue has in the test',
        (client('tasks/function', 'self._queue or here.name)\n        return',
                'self._queue or here.queue.name)\n        return'),),
        ('using::test_middleware_is_told_the_name_that_the_app_has_for_the_queue',),
    ),
    Mutant(
        'using-under-a-worker', BEYOND, 'an app gets another server while a worker serves it',
        (client('tasks/loops', 'if self._workers:', 'if False:'),),
        ('using::test_an_app_that_a_worker_serves_is_refused',),
    ),
    Mutant(
        'using-workers-are-not-counted', BEYOND, 'an app does not know of the worker that serves it',
        (client('tasks/app', 'stack.enter_context(self._loops.served())', 'pass'),),
        ('using::test_an_app_that_a_worker_in_a_thread_serves_is_refused',),
    ),
    Mutant(
        'using-half-entered', BEYOND, 'where one of several apps is refused the others stay on the queue of the test',
        (client('testing/under', '            self._leave()\n            raise', '            raise'),),
        ('using::test_an_app_that_a_worker_serves_is_refused',),
    ),
    Mutant(
        'using-left-in-any-order', BEYOND, 'a block that is left too early takes the ground of the inner one away',
        (client('tasks/loops', 'if self.ground is not ground:', 'if False:'),),
        ('using::test_a_block_that_is_left_before_the_one_in_it_is_refused',),
    ),
    Mutant(
        'using-given-object-used', BEYOND, 'the first loop of a block gets the queue object of the old server',
        (client('tasks/loops', 'aside.ground, aside._spent = ground, True', 'aside.ground = ground'),),
        ('using::test_an_app_of_a_module_uses_the_queue_of_the_test',),
    ),
    Mutant(
        'using-keeps-connections', BEYOND, 'a block without async leaves connections behind',
        (client('testing/under', 'each.close_soon()', 'pass'),),
        ('using::test_a_block_without_async_closes_in_the_next_turns_of_the_loop',),
    ),
    Mutant(
        'using-hides-errors', BEYOND, 'an error of the block is hidden by that of its end',
        (client('testing/under', 'each.close_soon()\n        if errors and exc is None:',
                'each.close_soon()\n        if errors:'),),
        ('using::test_an_error_of_the_block_goes_before_that_of_its_end',),
    ),
    Mutant(
        'using-clock-knows-one-queue', BEYOND, 'the clock of a test does not move the other queues of an app',
        (client('testing/plugin', '_torrelque_queues.extend(queue for app in apps for queue in app.queues)', 'pass'),),
        ('using_plugin::test_the_fixture_puts_the_queue_under_an_app',),
    ),
)  # fmt: skip

EAGER = (
    Mutant(
        'eager-waits-out-of-order', BEYOND, 'what is tried again in strict order comes behind the next',
        (client('testing/memory', 'self._run.pending.appendleft(task)', 'self._run.pending.append(task)'),),
        ('eager_attempts::test_a_retry_goes_before_what_an_ordered_task_has_put_behind_itself',),
    ),
    Mutant(
        'eager-any-thread', BEYOND, 'a plain function that was pushed runs in another thread than its caller',
        (client('testing/caller', 'if caller is None:', 'if True:'),),
        ('eager_places::test_a_plain_function_runs_in_the_thread_that_pushes',),
    ),
    Mutant(
        'eager-no-turns', BEYOND, 'calls of an ordered queue of several loops run at the same time',
        (client('testing/eagerly', 'if limit is None or limit.concurrency != 1:', 'if True:'),),
        ('eager_places::test_event_loops_of_other_threads_share_the_order_of_an_ordered_queue',),
    ),
    Mutant(
        'eager-keeps-the-value', BEYOND, 'a result is not gone through the serialiser',
        (client('testing/memory', 'value = self._load(data[1:]) if data else None', 'value = result'),),
        ('eager::test_arguments_and_results_are_what_the_serialiser_makes_of_them',),
    ),
    Mutant(
        'eager-forgets-nothing', BEYOND, 'a task of which nothing is kept can be looked up',
        (client('testing/memory', "if kept == ['']:", 'if False:'),),
        ('eager::test_what_nobody_keeps_is_forgotten',),
    ),
    Mutant(
        'eager-ids-again', BEYOND, 'an id of the own is taken twice',
        (client('testing/memory', 'if known is not None and known.state.status is not CANCELLED:', 'if False:'),),
        ('eager::test_ids_of_the_callers_own_are_refused_twice',),
    ),
    Mutant(
        'eager-stays-stuck', BEYOND, 'behind a task that is tried for ever nothing runs any more',
        (client('testing/eagerly', 'stuck, book.stuck = book.stuck, None', 'stuck = book.stuck'),),
        ('eager_attempts::test_a_task_that_is_tried_for_ever_is_an_error',),
    ),
    Mutant(
        'eager-without-end', BEYOND, 'a task that enqueues itself again and again is run again and again',
        (client('testing/eagerly', 'if len(_above.get()) >= DEEPEST and', 'if False and'),),
        ('eager_attempts::test_a_task_that_enqueues_itself_again_and_again_is_an_error',),
    ),
    Mutant(
        'eager-lifespan-for-each', BEYOND, 'a task that another one enqueues has resources of its own',
        (client('testing/eagerly', 'if place in above:', 'if False:'),),
        ('eager_places::test_resources_of_the_app_are_there_for_a_call_and_what_it_enqueues',),
    ),
    Mutant(
        'eager-not-around', BEYOND, 'a plain function runs without what is to be around it in its thread',
        (client('testing/eagerly', 'None if portable else job.around_thread or delivery.job.around_thread', 'None'),),
        ('eager_places::test_a_plain_function_runs_in_the_thread_that_pushes',),
    ),
    Mutant(
        'eager-any-function-in-a-process', BEYOND, 'a function that no process could find passes',
        (client('testing/eagerly', '            _check_portable(job.call)', '            pass'),),
        ('eager_places::test_a_function_for_a_process_runs_in_this_one_and_must_be_found_by_its_name',),
    ),
    Mutant(
        'eager-token-of-any-attempt', BEYOND, 'whoever had a cancelled task can go on with it',
        (client('testing/memory', 'task.state.status is not WORKING or ', ''),),
        ('eager_places::test_a_task_is_followed_and_cancelled_while_it_runs',),
    ),
    Mutant(
        'delivery-keeps-the-object', BEYOND, 'what a function has reported changes with the object that it reported',
        (client('testing/recorded', 'progress = copy.deepcopy(progress)', 'copy.deepcopy(progress)'),),
        ('delivery::test_progress_is_kept_as_it_was_and_a_renewal_is_none',),
    ),
    Mutant(
        'delivery-outlives-its-block', BEYOND, 'the delivery of a test is there behind its block',
        (client('tasks/running', '        running.delivery = None\n        # A fixture', '        # A fixture'),),
        ('delivery::test_the_innermost_of_several_counts_and_none_is_left_behind_the_block',),
    ),
)  # fmt: skip
